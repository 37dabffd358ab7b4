"""Dispatch: what waits in the lanes goes to the carriers when it may, and what has expired there goes no further."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import cast

import structlog

from gateway.core.envelope import Envelope
from gateway.core.imdn import Disposition
from gateway.core.outcome import UNSENDABLE, Outcome, Verdict
from gateway.core.ports import Delivery, Entry, Store

from .alarms import Alarms
from .fates import LINK_DOWN, MOST_DUE_SECONDS, Fates
from .keeper import Keeper
from .lane import Lane, Message
from .lanes import Lanes
from .shelf import Found, Shelf

_READ_AHEAD = 64
_RETRY_READ_SECONDS = 1.0
_EXPIRY_SWEEP_SECONDS = 5.0
_SPREAD_LANES = 500
_MOST_VOLATILE = 16
_CLOSED = Outcome(Verdict.LATER, 503, "The place that it was redirected to has closed")

log = structlog.get_logger("relay")


class Dispatch:
    """Everything runs on the loop. fates: decides what comes after each try. counters, tell, reached: see there."""

    def __init__(
        self,
        store: Store,
        lanes: Lanes,
        keeper: Keeper,
        counters: dict[str, int],
        tell: Callable[[Message, Outcome], Message | None],
        reached: Callable[[Message, Disposition], None],
    ) -> None:
        self._store, self._lanes = store, lanes
        self._loop = asyncio.get_running_loop()
        self._alarms = Alarms(self._rung)
        self._shelf = Shelf(store, lanes.carrier_of)
        self.fates = Fates(lanes, keeper, counters, number=store.number, clock=self._loop.time, tell=tell, reached=reached, go_on=self.pump)
        self._stalled: dict[tuple[str, bool], dict[str, Lane]] = {}
        self._sweep_handle: asyncio.TimerHandle | None = None
        self._holding = False

    # -- life ----------------------------------------------------------------------------------------------------------
    def start(self, entries: Iterable[Entry]) -> None:
        """Take up what the last run left."""
        wall, now, lanes = time.time(), self._loop.time(), self._lanes
        for entry in entries:
            if entry.parked:
                lanes.parked[entry.seq] = entry
                continue
            lane = lanes.lane(entry.lane)
            if not lane.waiting:
                # A clock that was set back must not hold messages for longer than a retry would.
                lane.due_at = now + min(max(entry.due_at - wall, 0.0), MOST_DUE_SECONDS)
            # Towards SIP a lane sends one message at a time, so only the first can have been on its way.
            lane.waiting.append(self.fates.unread(entry, resumed=not lane.waiting))
        spread = len(lanes.by_key) / _SPREAD_LANES
        for lane in list(lanes.by_key.values()):
            lane.due_at += random.uniform(0, spread) if spread > 1 else 0.0  # noqa: S311 - spreads load, hides nothing
            self.pump(lane)
        self._sweep_handle = self._loop.call_later(_EXPIRY_SWEEP_SECONDS, self._sweep_expired)

    def hold(self) -> None:
        """Send nothing more. What is on its way may end."""
        self._holding = True

    def stop(self) -> None:
        """Set no more timers."""
        self._alarms.stop()
        if self._sweep_handle:
            self._sweep_handle.cancel()

    # -- sending -------------------------------------------------------------------------------------------------------
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
                self.fates.fail(lane.waiting.popleft(), head.last_word)
                continue
            retry = head.attempts > 0
            if not lane.carrier.ready(parcel.gate, retry=retry):
                if parcel.once:
                    self.fates.fail(lane.waiting.popleft(), LINK_DOWN)
                    continue
                if head.first and not head.repeat:
                    # Those behind it go to the first place, which may be open.
                    self.fates.try_later(lane, lane.waiting.popleft(), _CLOSED)
                    continue
                lane.stalled = (parcel.gate, retry)
                self._stalled.setdefault(lane.stalled, {})[lane.key] = lane
                lane.volatile.clear()
                self._lanes.rest(lane)
                return
            lane.waiting.popleft()
            self._send(lane, head)
        if lane.waiting:
            if lane.due_at > now:
                self._alarms.set(lane)
                lane.volatile.clear()
                self._lanes.rest(lane)
        elif not lane.flying:
            if lane.volatile:
                self._send_volatile(lane)
            self._lanes.forget_idle(lane)

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

    def _rung(self, lane: Lane) -> None:
        if self._lanes.by_key.get(lane.key) is lane:
            self.pump(lane)

    def _send(self, lane: Lane, message: Message) -> None:
        lane.launch(message)
        try:
            lane.carrier.send(cast("Delivery", message))
        except Exception:
            log.exception("cannot be sent", seq=message.seq)
            if message.seq in lane.flying:
                lane.land(message)
                self.fates.give_up(message, lane.key, UNSENDABLE)

    # -- volatile ------------------------------------------------------------------------------------------------------
    def offer_volatile(self, envelope: Envelope) -> None:
        """Kept in memory only, one a sender, behind everything kept; dropped where the link is down, or the lane waits or has enough.

        Raises Refusal.
        """
        carrier = self._lanes.carrier_of(envelope)
        parcel = carrier.translate(envelope, 0)
        lane = self._lanes.lane(parcel.lane)
        sender = str(envelope.sender)
        if carrier.ready(parcel.gate, retry=False) and (sender in lane.volatile or len(lane.volatile) < _MOST_VOLATILE):
            lane.volatile[sender] = (envelope, parcel)
        self.pump(lane)

    def drop_volatile(self, message: Message) -> None:
        """What waits of the sender of this message in its lane is over (ISC-02)."""
        lane = self._lanes.lane_of(message)
        if lane.volatile and message.envelope:
            lane.volatile.pop(str(message.envelope.sender), None)

    def _send_volatile(self, lane: Lane) -> None:
        envelope, parcel = lane.volatile.pop(next(iter(lane.volatile)))
        if lane.due_at > self._loop.time() or not lane.carrier.ready(parcel.gate, retry=False):
            lane.volatile.clear()
            return
        number = self._store.number()
        message = Message(-number, 0, 0.0, number, self._volatile_ended, envelope, parcel)
        lane.flying[message.seq] = message
        try:
            lane.carrier.send(cast("Delivery", message))
        except Exception:
            log.exception("cannot be sent", trace_id=envelope.trace_id)
            lane.flying.pop(message.seq, None)

    def _volatile_ended(self, message: Message, _outcome: Outcome) -> None:
        assert message.parcel is not None  # it was sent
        lane = self._lanes.by_key[message.parcel.lane]
        del lane.flying[message.seq]
        self.pump(lane)

    # -- what is only in the store -------------------------------------------------------------------------------------
    def _read_ahead(self, lane: Lane) -> None:
        """Have the next messages of a lane read."""
        if lane.loading:
            return
        lane.loading = True
        wanted = [message for message in islice(lane.waiting, lane.ahead) if message.parcel is None]
        lane.ahead = min(4 * lane.ahead, _READ_AHEAD)
        self._shelf.read(wanted, lambda found: self._was_read(lane, wanted, found))

    def _was_read(self, lane: Lane, wanted: Sequence[Message], found: Found | None) -> None:
        lane.loading = False
        if found is None:
            lane.due_at = self._loop.time() + _RETRY_READ_SECONDS
            self._alarms.set(lane)
            return
        gone = set(wanted)
        moved: dict[str, Lane] = {}
        for message, fault in found:
            gone.remove(message)
            if fault:
                lane.waiting.remove(message)
                self.fates.give_up(message, lane.key, fault)
                continue
            self._lanes.held += 1
            place = self._lanes.lane_of(message)
            if place is not lane:
                # The configuration has changed since it was taken.
                lane.waiting.remove(message)
                place.put_back(message)
                moved[place.key] = place
        for message in gone:
            lane.waiting.remove(message)  # somebody has dropped it meanwhile
        for each in (*moved.values(), lane):
            self.pump(each)

    # -- what has expired ----------------------------------------------------------------------------------------------
    def _sweep_expired(self) -> None:
        """What has expired is told in time, even behind a head that waits (REL-29)."""
        self._sweep_handle = self._loop.call_later(_EXPIRY_SWEEP_SECONDS, self._sweep_expired)
        wall = time.time()
        for lane in list(self._lanes.by_key.values()):
            late = [] if lane.loading else lane.expired(wall)
            unread = [message for message in late if message.envelope is None]
            for message in late:
                if message.envelope:
                    self.fates.fail(message, message.last_word)
            if unread:
                self._fail_unread(lane, unread)
            self._lanes.forget_idle(lane)

    def _fail_unread(self, lane: Lane, late: Sequence[Message]) -> None:
        def read(found: Found | None) -> None:
            if found is None:
                for message in late:
                    self._lanes.lane(lane.key).put_back(message)
                return
            for message, fault in found:
                self.fates.give_up(message, lane.key, fault or message.last_word)

        self._shelf.read_envelopes(late, read)
