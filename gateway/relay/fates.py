"""What becomes of messages: delivered, tried later, sent elsewhere, failed, put aside. What lasts is counted, logged and written down."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import structlog

from gateway.core.imdn import Disposition
from gateway.core.outcome import REWRITTEN, Outcome, Verdict
from gateway.core.ports import Entry, Settlement

from .keeper import Keeper
from .lane import Lane, Message, backoff
from .lanes import Lanes
from .masks import log_fate

MOST_DUE_SECONDS = 3600.0
"""Nothing makes a lane wait longer."""
LINK_DOWN = Outcome(Verdict.FAILED, 480, "The link to the other side is down")

log = structlog.get_logger("relay")


class Fates:
    """Everything runs on the loop; clock: its time. number: the next of the one sequence. counters: where it counts.

    tell: the message that tells the sender of another about its failure, ready to be kept; None when nobody is told.
    reached: takes what can be said of a message whose sender asked for it. go_on: called when more may be sent from a lane.
    """

    def __init__(
        self,
        lanes: Lanes,
        keeper: Keeper,
        counters: dict[str, int],
        *,
        number: Callable[[], int],
        clock: Callable[[], float],
        tell: Callable[[Message, Outcome], Message | None],
        reached: Callable[[Message, Disposition], None],
        go_on: Callable[[Lane], None],
    ) -> None:
        self._lanes, self._keeper, self._counters = lanes, keeper, counters
        self._number, self._clock, self._tell, self._reached, self._go_on = number, clock, tell, reached, go_on

    def ended(self, message: Message, outcome: Outcome) -> None:
        """A carrier says what became of one try."""
        parcel, verdict = message.parcel, outcome.verdict
        assert parcel is not None  # it was sent
        lane = self._lanes.by_key[parcel.lane]
        lane.land(message)
        if verdict is Verdict.DELIVERED or (verdict is Verdict.MERGED and not message.resumed):
            self._counters["delivered"] += 1
            log_fate("delivered", message)
            self._say(message, outcome)
            self.forget(message)
        elif verdict is Verdict.FAILED:
            self.fail(message, outcome)
            if outcome.retry_after:
                # Not this message, but whatever comes next for the same recipient (MSG-49).
                lane.due_at = max(lane.due_at, self._clock() + min(outcome.retry_after, MOST_DUE_SECONDS))
        elif verdict is Verdict.MOVED:
            self._move(lane, message, outcome)
        elif verdict is Verdict.POISON:
            self.park(message, lane.key, outcome.reason)
        elif parcel.once:
            self.fail(message, outcome if outcome.status else LINK_DOWN)
        elif verdict is Verdict.LOST:
            lane.put_back(message)
        else:
            # Among them what was merged with a try of an earlier run, of which nobody knows how that ended: rather twice than never.
            self.try_later(lane, message, outcome)
        self._go_on(lane)

    def _say(self, message: Message, outcome: Outcome) -> None:
        """A 2xx and a fence prove no delivery; but where a route vouches for its 200, that is one (NOTE-05)."""
        if message.envelope and message.envelope.asked:
            self._reached(message, Disposition.DELIVERED if outcome.status else Disposition.PROCESSED)

    # -- the end -------------------------------------------------------------------------------------------------------
    def forget(self, message: Message) -> None:
        """Take a message that waits no more out of the store; its sender is told nothing."""
        self._lanes.release(message)
        self._keeper.settle(message.seq)

    def fail(self, message: Message, outcome: Outcome) -> None:
        """Settle for good; the sender is told in the same commit."""
        self._counters["failed"] += 1
        log_fate("failed", message, status=outcome.status, reason=outcome.reason)
        follow_up = self._tell(message, outcome)
        self._lanes.release(message)
        if follow_up:
            self._lanes.expect(follow_up)
        self._keeper.postpone(Settlement(message.seq, follow_up=follow_up.acceptance if follow_up else None), follow_up)

    def give_up(self, message: Message, lane: str, why: Outcome) -> None:
        """It will not be sent: put aside where that is the verdict, else failed."""
        if why.verdict is Verdict.POISON:
            self.park(message, lane, why.reason)
        else:
            self.fail(message, why)

    # -- another try ---------------------------------------------------------------------------------------------------
    def _move(self, lane: Lane, message: Message, outcome: Outcome) -> None:
        """Send it to where it was redirected, or in another form, once its new number is committed; until then the lane is taken."""
        lane.flying[message.seq] = message
        message.number, message.repeat, message.resumed = self._number(), False, False
        log_fate("rewritten" if outcome is REWRITTEN else "redirected", message)

        def numbered() -> None:
            del lane.flying[message.seq]
            lane.put_back(message)
            self._go_on(lane)

        self._keeper.renumber(Settlement(message.seq, time.time(), message.number, message.attempts), numbered)

    def try_later(self, lane: Lane, message: Message, outcome: Outcome) -> None:
        """Let the lane wait, and begin again: at the first place, under a new number, unless this try may have arrived."""
        message.status, message.reason = outcome.status, outcome.reason
        message.repeat = outcome.verdict is Verdict.UNKNOWN
        if not message.repeat:
            message.number, message.resumed = self._number(), False
            message.start_over()
        pause = min(outcome.retry_after or 0.0, MOST_DUE_SECONDS)
        delay = backoff(message.attempts + 1, pause, random.random())  # noqa: S311 - spreads load, hides nothing
        log_fate("later", message, status=outcome.status, reason=outcome.reason, seconds=round(delay, 1))
        message.attempts += 1
        lane.put_back(message)
        lane.due_at = self._clock() + delay
        self._counters["retried"] += 1
        self._keeper.postpone(Settlement(message.seq, time.time() + delay, message.number, message.attempts))

    # -- put aside, and back -------------------------------------------------------------------------------------------
    def park(self, message: Message, lane: str, reason: str) -> None:
        """Put a message aside that cannot be delivered and must not stop the others (REL-18)."""
        self._counters["parked"] += 1
        log.error("parked", seq=message.seq, reason=reason, trace_id=message.envelope.trace_id if message.envelope else "")
        self._lanes.release(message)
        self._lanes.parked[message.seq] = Entry(
            message.seq, lane, message.octets, 0.0, message.expires_at, 0.0, message.number, message.attempts, reason
        )
        self._keeper.postpone(Settlement(message.seq, number=message.number, attempts=message.attempts, parked=reason))

    def unpark(self, seq: int) -> bool:
        """What was put aside waits again, at its place in the order. False when there is none."""
        entry = self._lanes.parked.pop(seq, None)
        if entry is None:
            return False
        lane = self._lanes.lane(entry.lane)
        lane.put_back(self.unread(entry, resumed=False))
        self._keeper.postpone(Settlement(seq, time.time(), entry.number, 0))
        self._go_on(lane)
        return True

    def forget_parked(self, seq: int) -> bool:
        """Take what was put aside out of the store. False when there is none."""
        entry = self._lanes.parked.pop(seq, None)
        if entry:
            self._keeper.settle(seq)
        return entry is not None

    def unread(self, entry: Entry, *, resumed: bool) -> Message:
        """A message of which only the index is known. resumed: an earlier run may have sent it under its number."""
        return Message(
            entry.seq, entry.octets, entry.expires_at, entry.number, self.ended, attempts=entry.attempts, repeat=resumed, resumed=resumed
        )
