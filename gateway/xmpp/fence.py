"""What is written to the XMPP server and not known to be delivered: a state machine without a socket or a clock (REL-09, REL-18).

"Delivered" is a fence: an iq ping to our own domain that came back on the same stream behind the stanzas: the server has read and routed
them. One is outstanding at a time, unless it is late; the next covers all that was written meanwhile. Where none comes back for a minute
the link is given up, whatever else comes: what is written could never be known to be delivered.

    fence.begin("5e1f09c2", now)    a stream is up
    fence.wrote(delivery)           behind each stanza that is to be confirmed
    fence.is_due                    then write fence.ping(now)
    fence.back(iq)                  what has been delivered by that
    fence.broke(blamed=True)        what goes again, and the one that is not to
"""

from __future__ import annotations

from collections import deque
from enum import Enum, auto
from typing import NamedTuple
from xml.etree.ElementTree import Element

from gateway.core.outcome import Outcome
from gateway.core.ports import Delivery, Trace
from gateway.core.remember import learn

AGAIN_SECONDS = 5.0
"""A ping that is not back is repeated, so that one lost in a server with two links for our domain does not end this one."""
LIMIT_SECONDS = 60.0
IDLE_SECONDS = 20.0
_MOST_UNCONFIRMED = 256
"""A crash can bring so many twice to the server, and those that were confirmed and not yet settled on disk."""
_MOST_PINGS = 16
"""Outstanding at once: more than are sent before the link is given up, unless that has been put off."""
_MOST_DIGITS = 18
_POISON_AFTER = 3
_MOST_SUSPECTS = 16


class Step(Enum):
    """What is to be done after a look at the clock."""

    WAIT = auto()
    PING = auto()
    GIVE_UP = auto()


class _Ping(NamedTuple):
    """One that is not back. covers: how many stanzas were written to the stream before it."""

    serial: int
    covers: int
    asked_at: float


class Fence:
    """One link's; it outlives the streams. domain: the component's own, to and from which the pings go. Times are seconds of one clock."""

    def __init__(self, domain: str) -> None:
        self._domain = domain
        self._heard_at = self._asked_at = self._counted_from = 0.0
        # What is written and not confirmed, oldest first.
        self._unconfirmed: deque[Delivery] = deque()
        self._by_trace: dict[Trace, Delivery] = {}
        self._failed: dict[int, Outcome] = {}
        self._nonce, self._serial = "", 0
        self._pings: deque[_Ping] = deque()
        self._written = self._confirmed = 0
        # How many more messages go one at a time. After a stream error these are as many as were unconfirmed: the server may not bear one
        # of them, and a stream that breaks upon one message alone shows which.
        self._careful = 0
        # How many streams a message broke alone. Not all come again: one may be removed or expire meanwhile.
        self._breaks: dict[int, int] = {}

    # -- a stream ------------------------------------------------------------------------------------------------------
    def begin(self, nonce: str, now: float) -> None:
        """A new stream; nonce: what its pings are known by."""
        self._nonce = nonce
        self._pings.clear()
        self._written = self._confirmed = 0
        self.count_from(now)

    def broke(self, *, blamed: bool) -> tuple[deque[Delivery], Delivery | None]:
        """The stream is over: (what is lost, oldest first; the message to put aside). blamed: it ended with an error (REL-18).

        Then the server may not bear one of those that were unconfirmed: they go one by one, and what breaks three streams alone is it.
        """
        lost, self._unconfirmed = self._unconfirmed, deque()
        self._by_trace.clear()
        self._pings.clear()
        return lost, self._culprit(lost) if blamed and lost else None

    def _culprit(self, lost: deque[Delivery]) -> Delivery | None:
        self._careful = max(self._careful, len(lost))
        if len(lost) > 1:
            return None
        seq = lost[0].seq
        breaks = self._breaks.pop(seq, 0) + 1
        if breaks == _POISON_AFTER:
            return lost.popleft()
        learn(self._breaks, seq, breaks, _MOST_SUSPECTS)
        return None

    # -- what is written -----------------------------------------------------------------------------------------------
    @property
    def has_room(self) -> bool:
        """Whether a further message may be unconfirmed."""
        return len(self._unconfirmed) < (1 if self._careful else _MOST_UNCONFIRMED)

    def wrote(self, delivery: Delivery) -> None:
        """Its stanza is on its way, behind all that were before."""
        self._unconfirmed.append(delivery)
        for trace in delivery.parcel.traces:
            self._by_trace[trace] = delivery
        self._written += 1

    def failed(self, trace: Trace, outcome: Outcome) -> bool:
        """The server says what became of a message; False where none of that name is unconfirmed."""
        delivery = self._by_trace.get(trace)
        if delivery is not None:
            self._failed[delivery.seq] = outcome
        return delivery is not None

    def take_outcome(self, delivery: Delivery, otherwise: Outcome) -> Outcome:
        """What the server said of it, once; else `otherwise`."""
        return self._failed.pop(delivery.seq, otherwise)

    # -- the pings -----------------------------------------------------------------------------------------------------
    @property
    def is_due(self) -> bool:
        """Whether something is written that no ping is out for."""
        return self._written > self._confirmed and not self._pings

    def ping(self, now: float) -> bytes:
        """A ping to be written behind all that was written."""
        self._serial += 1
        if len(self._pings) == _MOST_PINGS:
            # The new one covers what the last one does; the oldest is the one that is waited for.
            self._pings.pop()
        self._pings.append(_Ping(self._serial, self._written, now))
        self._asked_at = now
        return (
            f"<iq type='get' from='{self._domain}' to='{self._domain}' id='fence-{self._nonce}-{self._serial}'>"
            "<ping xmlns='urn:xmpp:ping'/></iq>"
        ).encode()

    def back(self, iq: Element) -> list[Delivery] | None:
        """What this iq confirms, oldest first; None if it is no ping of ours. A later ping covers the earlier (XEP-0199, SEC-43)."""
        prefix, _, serial = iq.get("id", "").rpartition("-")
        if (
            prefix != f"fence-{self._nonce}"
            or not (iq.get("from") == iq.get("to") == self._domain)
            or not (serial.isascii() and serial.isdigit() and len(serial) <= _MOST_DIGITS)
        ):
            return None
        before = self._confirmed
        while self._pings and self._pings[0].serial <= int(serial):
            self._confirmed = self._pings.popleft().covers
        return [self._confirm() for _ in range(self._confirmed - before)]

    def _confirm(self) -> Delivery:
        delivery = self._unconfirmed.popleft()
        for trace in delivery.parcel.traces:
            self._by_trace.pop(trace, None)
        if self._careful:
            self._careful -= 1
            self._breaks.pop(delivery.seq, None)
        return delivery

    # -- the clock -----------------------------------------------------------------------------------------------------
    def heard(self, now: float) -> None:
        """Octets have come from the server."""
        self._heard_at = now

    def count_from(self, now: float) -> None:
        """Nothing could come back before now, for the stream is new or nobody read."""
        self._heard_at = self._asked_at = self._counted_from = now

    def step(self, now: float) -> Step:
        """Repeat a ping that is late, ask on a silent link, give up one that is dead or on which no ping comes back."""
        unanswered_since = max(self._pings[0].asked_at, self._counted_from) if self._pings else now
        if now - min(self._heard_at, unanswered_since) > LIMIT_SECONDS:
            return Step.GIVE_UP
        late = self._pings and now - self._asked_at > AGAIN_SECONDS
        return Step.PING if late or now - max(self._heard_at, self._asked_at) > IDLE_SECONDS else Step.WAIT
