"""The operator's desk: what is in the queue, and how to steer single messages."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gateway.core.envelope import Envelope
from gateway.core.ports import Answered, Store

from .relay import Relay


class Desk:
    """Looks at the lanes of a relay and touches what waits in them. On the loop."""

    def __init__(self, relay: Relay, store: Store, clock: Callable[[], float]) -> None:
        self._relay, self._store, self._clock = relay, store, clock

    def queue(self) -> list[dict[str, object]]:
        """Everything that is kept and not settled: seq, lane, state, attempts, octets, seconds until it is due, the last answer."""
        now = self._clock()
        rows: list[dict[str, object]] = []
        for lane in self._relay.lanes.by_key.values():
            due = round(max(0.0, lane.due_at - now), 1)
            for state, messages in (("sending", lane.flying.values()), ("waiting", lane.waiting)):
                rows += [
                    {"seq": one.seq, "lane": lane.key, "state": state, "attempts": one.attempts, "octets": one.octets, "due_in": due,
                     "status": one.status, "reason": one.reason}
                    for one in messages
                    if one.seq > 0
                ]  # fmt: skip
        rows += [
            {"seq": one.seq, "lane": one.lane, "state": "parked", "attempts": one.attempts, "octets": one.octets, "due_in": 0.0,
             "status": 0, "reason": one.parked}
            for one in self._relay.lanes.parked.values()
        ]  # fmt: skip
        return sorted(rows, key=lambda row: row["seq"])  # type: ignore[arg-type,return-value]

    def load(self, seq: int, done: Callable[[Sequence[tuple[int, bytes]] | None], None]) -> None:
        """The record of one message."""
        self._store.load((seq,), done)

    def offer(self, envelope: Envelope, answered: Answered) -> None:
        """Have a message kept and delivered."""
        self._relay.offer(envelope, answered)

    def retry(self, seq: int) -> bool:
        """Try a waiting or parked message now; for a waiting one its whole lane, so that the order stays. False when there is none."""
        dispatch = self._relay.dispatch
        if dispatch.fates.unpark(seq):
            return True
        for lane in self._relay.lanes.by_key.values():
            if any(message.seq == seq for message in lane.waiting):
                lane.due_at = 0.0
                dispatch.pump(lane)
                return True
        return False

    def drop(self, seq: int) -> bool:
        """Take a waiting or parked message out; one that is being sent cannot be taken back. Its sender is not told."""
        fates = self._relay.dispatch.fates
        if fates.forget_parked(seq):
            return True
        for lane in self._relay.lanes.by_key.values():
            message = next((one for one in lane.waiting if one.seq == seq), None)
            if message and not lane.loading:
                lane.waiting.remove(message)
                fates.forget(message)
                return True
        return False
