"""The relay: takes messages, has them kept, hands them to the carrier of the other side, and settles what became of them."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import cast

import structlog

from gateway.core.address import SipAddress
from gateway.core.envelope import Envelope
from gateway.core.errors import Refusal, SyntaxFault
from gateway.core.outcome import Outcome, Verdict
from gateway.core.ports import Answered, Carrier, Delivery, Entry, Keys, Settlement, Store, Trace
from gateway.core.settings import Limits

from . import report
from .alarms import Alarms
from .intake import Intake
from .keeper import Keeper
from .lane import Lane, Message, backoff
from .masks import log_fate
from .spellings import KIND as SPELLING
from .spellings import Spellings

_MOST_HELD = 2000
_READ_AHEAD = 64
_RETRY_READ_SECONDS = 1.0
_EXPIRY_SWEEP_SECONDS = 5.0
_MOST_DUE_SECONDS = 3600.0
_SPREAD_LANES = 500
_MOST_VOLATILE = 16
_LINK_DOWN = Outcome(Verdict.FAILED, 480, "The link to the other side is down")
_UNREADABLE = "the stored record is damaged"
_UNSENDABLE = "it cannot be sent: see the log"

log = structlog.get_logger("relay")


class Relay:
    """Implements the Sink port. `start` sets the carriers; everything runs on the loop.

    lanes: by their key. parked: what was put aside, by seq.
    """

    def __init__(self, store: Store, limits: Limits, spellings: Spellings) -> None:
        self._store, self._limits, self._spellings = store, limits, spellings
        self._loop: asyncio.AbstractEventLoop = None  # type: ignore[assignment]
        self._keeper: Keeper = None  # type: ignore[assignment]
        self._intake: Intake = None  # type: ignore[assignment]
        self._alarms: Alarms = None  # type: ignore[assignment]
        self._to_sip: Carrier = None  # type: ignore[assignment]
        self._to_xmpp: Carrier = None  # type: ignore[assignment]
        self.lanes: dict[str, Lane] = {}
        self.parked: dict[int, Entry] = {}
        self.age: Callable[[int], float | None] = store.age
        self._stalled: dict[tuple[str, bool], dict[str, Lane]] = {}
        self._sweep_handle: asyncio.TimerHandle | None = None
        self._telling: set[int] = set()
        self._held = 0
        self._holding = False
        self.counters = {"accepted": 0, "delivered": 0, "failed": 0, "retried": 0, "refused": 0, "parked": 0}

    # -- life ----------------------------------------------------------------------------------------------------------
    def start(self, to_sip: Carrier, to_xmpp: Carrier, entries: Iterable[Entry]) -> None:
        """Take up where the last run ended. Call on the loop, before anything is offered."""
        self._loop = asyncio.get_running_loop()
        self._keeper = Keeper(self._store, self._kept, self._lost)
        self._alarms = Alarms(self._rung)
        self._to_sip, self._to_xmpp = to_sip, to_xmpp
        self._intake = Intake(self._store, self._limits.queue_age_hours, self._spellings, self._carrier, self._ended)
        wall, now = time.time(), self._loop.time()
        for entry in entries:
            self._keeper.count(entry.seq, entry.octets)
            if entry.parked:
                self.parked[entry.seq] = entry
                continue
            lane = self.lane(entry.lane)
            if not lane.waiting:
                # A clock that was set back must not hold messages for longer than a retry would.
                lane.due_at = now + min(max(entry.due_at - wall, 0.0), _MOST_DUE_SECONDS)
            lane.waiting.append(self.unread(entry))
        spread = len(self.lanes) / _SPREAD_LANES
        for lane in list(self.lanes.values()):
            lane.due_at += random.uniform(0, spread) if spread > 1 else 0.0  # noqa: S311 - spreads load, hides nothing
            self.pump(lane)
        self._sweep_handle = self._loop.call_later(_EXPIRY_SWEEP_SECONDS, self._sweep_expired)

    def hold(self) -> None:
        """Send nothing more. What is on its way may end; what still comes is kept for the next start."""
        self._holding = True

    @property
    def is_busy(self) -> bool:
        """Whether anything is on its way to the store or to a carrier, other than what waits for a retry."""
        return self.is_committing or self.is_sending

    @property
    def is_sending(self) -> bool:
        """Whether anything is on its way to a carrier."""
        return any(lane.flying for lane in self.lanes.values())

    @property
    def is_committing(self) -> bool:
        """Whether anything is on its way to the store."""
        return self._keeper.is_busy

    @property
    def size(self) -> tuple[int, int]:
        """(messages, octets) kept now."""
        return self._keeper.messages, self._keeper.octets

    def stop(self) -> None:
        """Set no more timers. What is not settled is in the store."""
        self._keeper.stop()
        self._alarms.stop()
        if self._sweep_handle:
            self._sweep_handle.cancel()

    # -- taking (the Sink port) ----------------------------------------------------------------------------------------
    def offer(self, envelope: Envelope, answered: Answered, keys: Keys | None = None) -> None:
        """Translate, check the bounds, and put the message into the next commit."""
        try:
            if envelope.volatile:
                self._offer_volatile(self._carrier(envelope), envelope)
                answered(None)
                return
            self._refuse_when_full()
            message = self._intake.message(envelope, keys, answered)
            lane = self._admitted(message)
        except Refusal as refusal:
            self.counters["refused"] += 1
            answered(refusal)
            return
        lane.coming += 1
        self._keeper.keep(message)

    def failed_later(self, trace: Trace, failure: Outcome) -> None:
        """Tell the sender of a message that had been delivered; each is told once, and only when the gateway knows it (SEC-43)."""
        key = self._intake.trace_key(trace)
        if key in self._telling:
            return
        self._telling.add(key)

        def recalled(facts: str) -> None:
            message = self._told(lambda: report.late_failure(facts, failure, secrets.token_hex(8), time.time()), key) if facts else None
            if message is None:
                self._telling.discard(key)
                log.info("error for no known message", status=failure.status)
                return
            self._keeper.postpone(Settlement(0, follow_up=message.acceptance), message)

        self._store.recall("request", key, recalled)

    def _admitted(self, message: Message) -> Lane:
        """The lane of a message that it has room for. Raises Refusal."""
        lane, parcel = self._lane_of(message), message.parcel
        if len(lane.waiting) + lane.coming >= self._limits.per_recipient:
            raise Refusal("queue-full-recipient")
        if parcel and parcel.once and (lane.due_at > self._loop.time() or not lane.carrier.ready(parcel.gate, retry=False)):
            raise Refusal("link-down")
        return lane

    def _refuse_when_full(self) -> None:
        keeper, limits = self._keeper, self._limits
        if keeper.is_overloaded or self._store.full():
            raise Refusal("overloaded")
        if keeper.messages >= limits.queue_messages or keeper.octets >= limits.queue_octets:
            raise Refusal("queue-full")

    def _told(self, tell: Callable[[], Envelope | None], forgets: int = 0) -> Message | None:
        """A failure message, ready to be kept; None when nobody is to be told, or it cannot be said."""
        message = self._intake.failure(tell, forgets)
        if message:
            self._lane_of(message).coming += 1
        return message

    # -- what the keeper says ------------------------------------------------------------------------------------------
    def _kept(self, messages: Sequence[Message]) -> None:
        """These are on disk now: each waits in its lane; beyond the read-ahead only its place in the order is held."""
        touched: dict[str, Lane] = {}
        for message in messages:
            for fact in message.acceptance.recollections if message.acceptance else ():
                if fact.kind == SPELLING:
                    self._spellings.learn(fact.key, fact.facts)
            lane = self._arrived(message)
            touched[lane.key] = lane
            if self._held >= _MOST_HELD or (lane.waiting and lane.waiting[-1].parcel is None):
                message.envelope = message.parcel = None
            else:
                self._held += 1
            lane.waiting.append(message)
        self.counters["accepted"] += len(messages)
        for lane in touched.values():
            self.pump(lane)

    def _lost(self, message: Message) -> None:
        """The store did not take it."""
        self.counters["refused"] += 1
        self._forget_idle(self._arrived(message))

    def _arrived(self, message: Message) -> Lane:
        acceptance, message.acceptance = message.acceptance, None
        assert acceptance is not None  # what is offered has one
        if acceptance.forgets:
            self._telling.discard(acceptance.forgets)
        lane = self.lanes[acceptance.lane]
        lane.coming -= 1
        return lane

    # -- delivering ----------------------------------------------------------------------------------------------------
    def link_up(self, gate: str) -> None:
        """Go on with what waited for this link or next hop, first come first served, as long as it has room."""
        for retry in (False, True):
            stalled = self._stalled.get((gate, retry))
            while stalled:
                key, lane = next(iter(stalled.items()))
                if not lane.carrier.ready(gate, retry=retry):
                    break
                del stalled[key]
                lane.stalled = None
                self.pump(lane)

    def pump(self, lane: Lane) -> None:
        """Send what may be sent now."""
        if self._holding:
            return
        now, wall = self._loop.time(), time.time()
        while lane.waiting and lane.has_room(now):
            head = lane.waiting[0]
            parcel = head.parcel
            if parcel is None:
                if not lane.stalled or lane.carrier.ready(lane.stalled[0], retry=lane.stalled[1]):
                    self._read_ahead(lane)
                return
            if head.expires_at <= wall:
                self._fail(lane.waiting.popleft(), head.last_word)
                continue
            retry = head.attempts > 0
            if not lane.carrier.ready(parcel.gate, retry=retry):
                lane.stalled = (parcel.gate, retry)
                self._stalled.setdefault(lane.stalled, {})[lane.key] = lane
                self._rest(lane)
                return
            lane.waiting.popleft()
            self._send(lane, head)
        if lane.waiting:
            if lane.due_at > now:
                self._alarms.set(lane)
                self._rest(lane)
        elif not lane.flying:
            if lane.volatile:
                self._send_volatile(lane)
            self._forget_idle(lane)

    def _send(self, lane: Lane, message: Message) -> None:
        lane.flying[message.seq] = message
        try:
            lane.carrier.send(cast("Delivery", message))
        except Exception:
            log.exception("cannot be sent", seq=message.seq)
            if lane.flying.pop(message.seq, None):
                self.park(message, lane.key, _UNSENDABLE)

    def _ended(self, message: Message, outcome: Outcome) -> None:
        """A carrier says what became of one try."""
        parcel, verdict = message.parcel, outcome.verdict
        assert parcel is not None  # it was sent
        lane = self.lanes[parcel.lane]
        del lane.flying[message.seq]
        if verdict is Verdict.DELIVERED:
            self.counters["delivered"] += 1
            log_fate("delivered", message)
            self._release(message)
            self._keeper.settle(message.seq)
        elif verdict is Verdict.FAILED:
            self._fail(message, outcome)
            if outcome.retry_after:
                # Not this message, but whatever comes next for the same recipient (MSG-49).
                lane.due_at = max(lane.due_at, self._loop.time() + min(outcome.retry_after, _MOST_DUE_SECONDS))
        elif verdict is Verdict.MOVED:
            self._move(lane, message)
        elif verdict is Verdict.POISON:
            self.park(message, lane.key, outcome.reason)
        elif parcel.once:
            self._fail(message, outcome if outcome.status else _LINK_DOWN)
        elif verdict is Verdict.LOST:
            lane.put_back(message)
        else:
            self._try_later(lane, message, outcome)
        self.pump(lane)

    def _move(self, lane: Lane, message: Message) -> None:
        """Send it to where it was redirected, once the commit that contains its new number is done; until then the lane is taken."""
        lane.flying[message.seq] = message
        message.number, message.repeat = self._store.number(), False
        log_fate("redirected", message)

        def numbered() -> None:
            del lane.flying[message.seq]
            lane.put_back(message)
            self.pump(lane)

        self._keeper.renumber(Settlement(message.seq, time.time(), message.number, message.attempts), numbered)

    def _try_later(self, lane: Lane, message: Message, outcome: Outcome) -> None:
        message.attempts += 1
        message.status, message.reason = outcome.status, outcome.reason
        message.repeat = outcome.verdict is Verdict.UNKNOWN
        if not message.repeat:
            message.number = self._store.number()
            message.start_over()
        pause = min(outcome.retry_after or 0.0, _MOST_DUE_SECONDS)
        delay = backoff(message.attempts, pause, random.random())  # noqa: S311 - spreads load, hides nothing
        lane.put_back(message)
        lane.due_at = self._loop.time() + delay
        self.counters["retried"] += 1
        log_fate("later", message, status=outcome.status, seconds=round(delay, 1))
        self._keeper.postpone(Settlement(message.seq, time.time() + delay, message.number, message.attempts))

    def _fail(self, message: Message, outcome: Outcome) -> None:
        """Settle for good; the sender is told in the same commit."""
        envelope = message.envelope
        assert envelope is not None  # it was read
        self.counters["failed"] += 1
        log_fate("failed", message, status=outcome.status, reason=outcome.reason)
        self._release(message)
        follow_up = self._told(lambda: report.failure(envelope, outcome, secrets.token_hex(8), time.time()))
        self._keeper.postpone(Settlement(message.seq, follow_up=follow_up.acceptance if follow_up else None), follow_up)

    def park(self, message: Message, lane: str, reason: str) -> None:
        """Put a message aside that cannot be delivered and must not stop the others (REL-18)."""
        self.counters["parked"] += 1
        log.error("parked", seq=message.seq, reason=reason, trace_id=message.envelope.trace_id if message.envelope else "")
        self._release(message)
        self.parked[message.seq] = Entry(
            message.seq, lane, message.octets, 0.0, message.expires_at, 0.0, message.number, message.attempts, reason
        )
        self._keeper.postpone(Settlement(message.seq, number=message.number, attempts=message.attempts, parked=reason))

    def forget(self, message: Message) -> None:
        """Take a message that waits no more out of the store; its sender is not told."""
        self._release(message)
        self._keeper.settle(message.seq)

    def postpone(self, settlement: Settlement) -> None:
        """Write down when a message is tried again."""
        self._keeper.postpone(settlement)

    def _carrier(self, envelope: Envelope) -> Carrier:
        return self._to_sip if isinstance(envelope.recipient, SipAddress) else self._to_xmpp

    def _rest(self, lane: Lane) -> None:
        """A lane that has to wait keeps its messages in memory only while there is room for them."""
        if self._held > _MOST_HELD:
            lane.ahead = 1
            for message in lane.waiting:
                self._release(message)

    def _release(self, message: Message) -> None:
        if message.parcel is not None:
            self._held -= 1
            message.envelope = message.parcel = message.first = None

    # -- volatile ------------------------------------------------------------------------------------------------------
    def _offer_volatile(self, carrier: Carrier, envelope: Envelope) -> None:
        """Kept in memory only, one a sender, behind everything kept; dropped when the link is down or the lane has enough of them."""
        parcel = carrier.translate(envelope, 0)
        lane = self.lane(parcel.lane)
        sender = str(envelope.sender)
        if carrier.ready(parcel.gate, retry=False) and (sender in lane.volatile or len(lane.volatile) < _MOST_VOLATILE):
            lane.volatile[sender] = (envelope, parcel)
        self.pump(lane)

    def _send_volatile(self, lane: Lane) -> None:
        envelope, parcel = lane.volatile.pop(next(iter(lane.volatile)))
        if lane.carrier.ready(parcel.gate, retry=False):
            number = self._store.number()
            message = Message(-number, 0, 0.0, number, self._volatile_ended, envelope, parcel)
            lane.flying[message.seq] = message
            lane.carrier.send(cast("Delivery", message))
        else:
            lane.volatile.clear()

    def _volatile_ended(self, message: Message, _outcome: Outcome) -> None:
        assert message.parcel is not None  # it was sent
        lane = self.lanes[message.parcel.lane]
        del lane.flying[message.seq]
        self.pump(lane)

    # -- lanes and time ------------------------------------------------------------------------------------------------
    def lane(self, key: str) -> Lane:
        """The lane of this key, a new one if there is none."""
        lane = self.lanes.get(key)
        if lane is None:
            lane = self.lanes[key] = Lane(key, self._to_sip if key.startswith("sip ") else self._to_xmpp)
        return lane

    def unread(self, entry: Entry) -> Message:
        """A message of which only the index is known."""
        return Message(entry.seq, entry.octets, entry.expires_at, entry.number, self._ended, attempts=entry.attempts, repeat=True)

    def _lane_of(self, message: Message) -> Lane:
        assert message.parcel is not None  # it has been translated
        return self.lane(message.parcel.lane)

    def _forget_idle(self, lane: Lane) -> None:
        if lane.idle and lane.due_at <= self._loop.time():
            self.lanes.pop(lane.key, None)

    def _rung(self, lane: Lane) -> None:
        if self.lanes.get(lane.key) is lane:
            self.pump(lane)

    # -- reading what is only in the store -----------------------------------------------------------------------------
    def _read_ahead(self, lane: Lane) -> None:
        """Have the next messages of a lane read."""
        if lane.loading:
            return
        lane.loading = True
        wanted = {message.seq: message for message in islice(lane.waiting, lane.ahead) if message.parcel is None}
        lane.ahead = min(4 * lane.ahead, _READ_AHEAD)
        self._store.load(tuple(wanted), lambda records: self._read(lane, wanted, records))

    def _read(self, lane: Lane, wanted: dict[int, Message], records: Sequence[tuple[int, bytes]] | None) -> None:
        lane.loading = False
        if records is None:
            lane.due_at = self._loop.time() + _RETRY_READ_SECONDS
            self._alarms.set(lane)
            return
        moved: dict[str, Lane] = {}
        for seq, record in records:
            message = wanted.pop(seq)
            if not self._is_readable(lane, message, record):
                lane.waiting.remove(message)
                continue
            self._held += 1
            place = self._lane_of(message)
            if place is not lane:
                # The configuration has changed since it was taken.
                lane.waiting.remove(message)
                place.put_back(message)
                moved[place.key] = place
        for message in wanted.values():
            lane.waiting.remove(message)  # somebody has dropped it meanwhile
        for each in (*moved.values(), lane):
            self.pump(each)

    def _is_readable(self, lane: Lane, message: Message, record: bytes) -> bool:
        """Whether a record could be made a message again; else it has failed, or is put aside."""
        try:
            message.envelope = Envelope.from_cpim(record)
            message.parcel = self._carrier(message.envelope).translate(message.envelope, message.number)
        except Refusal as refusal:
            # It could be said when it was taken; the configuration has changed since.
            self._fail(message, Outcome(Verdict.FAILED, 500, refusal.detail or refusal.key))
        except SyntaxFault:
            self.park(message, lane.key, _UNREADABLE)
        except Exception:
            log.exception("cannot be translated", seq=message.seq)
            self.park(message, lane.key, _UNSENDABLE)
        return message.parcel is not None

    def _sweep_expired(self) -> None:
        """What has expired is told in time, even behind a head that waits (REL-29)."""
        self._sweep_handle = self._loop.call_later(_EXPIRY_SWEEP_SECONDS, self._sweep_expired)
        wall = time.time()
        for lane in list(self.lanes.values()):
            late = [] if lane.loading else list(lane.expired(wall))
            unread = {message.seq: message for message in late if message.envelope is None}
            for message in late:
                if message.seq not in unread:
                    self._fail(message, message.last_word)
            if unread:
                self._fail_unread(lane, unread)
            self._forget_idle(lane)

    def _fail_unread(self, lane: Lane, late: dict[int, Message]) -> None:
        def read(records: Sequence[tuple[int, bytes]] | None) -> None:
            if records is None:
                for message in late.values():
                    self.lane(lane.key).put_back(message)
                return
            for seq, record in records:
                message = late[seq]
                try:
                    message.envelope = Envelope.from_cpim(record)
                except SyntaxFault:
                    self.park(message, lane.key, _UNREADABLE)
                else:
                    self._fail(message, message.last_word)

        self._store.load(tuple(late), read)
