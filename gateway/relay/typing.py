"""Who is typing to whom, in pager mode (RFC 3994, XEP-0085): which notices go on, and when one that went on has run out. Pure.

`now` is the time of the loop. Everything is in memory alone: typing is told now or never (ISC-09). What there is no room for is not told.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, replace

from gateway.core.address import SipAddress
from gateway.core.canonical import typing_message, typing_of
from gateway.core.composing import REFRESH_SECONDS, compose_composing
from gateway.core.envelope import Envelope

HEARD_SECONDS = 600.0
"""How long somebody who types to a SIP user counts as replying to him (ISC-06)."""
SPACING_SECONDS = 60.0
"""A SIP user is told at most once in this time that somebody is typing (ISC-04)."""
_MOST_HEARD, _MOST_TYPING = 100_000, 10_000


@dataclass(slots=True)
class _Told:
    """What a SIP user was told last: that somebody was typing, at this time, and whether he still believes it."""

    at: float
    is_active: bool = True


@dataclass(slots=True)
class _Shown:
    """A SIP user who is shown as typing: by which notice first, and how long that holds."""

    envelope: Envelope
    until: float


class Typing:
    """Each pair of a SIP user and an XMPP user is known by one hash, for both directions."""

    def __init__(self) -> None:
        self._heard: dict[int, float] = {}
        self._told: dict[int, _Told] = {}
        self._shown: dict[int, _Shown] = {}
        # (until, pair); one that has become later is in it again, so a pair may come up too early.
        self._due: list[tuple[float, int]] = []

    def notice(self, envelope: Envelope, now: float) -> Envelope | None:
        """A typing notice: itself where it is to go on. Raises SyntaxFault for any other message."""
        pair, said = _pair(envelope), typing_of(envelope.message)
        if isinstance(envelope.sender, SipAddress):
            goes_on = self._starts(pair, envelope, now + said.seconds) if said.is_active else self._shown.pop(pair, None) is not None
        else:
            goes_on = self._tells(pair, now) if said.is_active else self._takes_back(pair, now)
        return envelope if goes_on else None

    def content(self, envelope: Envelope, now: float) -> None:
        """What somebody was typing has been taken: that ends it without a word (ISC-02), and allows a reply."""
        pair = _pair(envelope)
        if not isinstance(envelope.sender, SipAddress):
            if pair in self._told:
                self._told[pair].is_active = False
            return
        self._shown.pop(pair, None)
        self._heard.pop(pair, None)
        self._heard[pair] = now
        oldest = next(iter(self._heard))
        if len(self._heard) > _MOST_HEARD or now - self._heard[oldest] > HEARD_SECONDS:
            del self._heard[oldest]

    def unsaid(self, envelope: Envelope) -> None:
        """This one was to go on and could not."""
        (self._shown if isinstance(envelope.sender, SipAddress) else self._told).pop(_pair(envelope), None)

    # -- to SIP --------------------------------------------------------------------------------------------------------
    def _tells(self, pair: int, now: float) -> bool:
        heard, told = self._heard.get(pair), self._told.get(pair)
        if heard is None or now - heard > HEARD_SECONDS or (told and now - told.at < SPACING_SECONDS):
            return False
        self._told.pop(pair, None)
        while self._told and now - self._told[oldest := next(iter(self._told))].at >= REFRESH_SECONDS:
            del self._told[oldest]
        if len(self._told) >= _MOST_TYPING:
            return False
        self._told[pair] = _Told(now)
        return True

    def _takes_back(self, pair: int, now: float) -> bool:
        """Only what was said and still holds (ISC-08)."""
        told = self._told.get(pair)
        if told is None or not told.is_active or now - told.at >= REFRESH_SECONDS:
            return False
        told.is_active = False
        return True

    # -- to XMPP -------------------------------------------------------------------------------------------------------
    def _starts(self, pair: int, envelope: Envelope, until: float) -> bool:
        """Whether this is the first of several, of which each holds anew (ISC-03)."""
        shown = self._shown.get(pair)
        if shown is None and len(self._shown) >= _MOST_TYPING:
            return False
        self._shown[pair] = _Shown(shown.envelope if shown else envelope, until)
        heapq.heappush(self._due, (until, pair))
        if len(self._due) > 4 * _MOST_TYPING:
            self._due = sorted((each.until, known) for known, each in self._shown.items())
        return shown is None

    def next_deadline(self) -> float | None:
        """When `on_deadline` has to be called; None while nobody is shown as typing."""
        return self._due[0][0] if self._due else None

    def on_deadline(self, now: float) -> list[Envelope]:
        """The idle notices for what has run out (ISC-02)."""
        over = []
        while self._due and self._due[0][0] <= now:
            pair = heapq.heappop(self._due)[1]
            if (shown := self._shown.get(pair)) and shown.until <= now:
                del self._shown[pair]
                over.append(_idle(shown.envelope))
        return over


def _idle(active: Envelope) -> Envelope:
    """The notice that takes another back."""
    document = compose_composing(is_active=False)
    message = typing_message(active.sender, active.recipient, active.received_at, document)
    return replace(active, id=f"{active.id}-idle", message=message)


def _pair(envelope: Envelope) -> int:
    ends = (envelope.sender, envelope.recipient)
    sip, jid = ends if isinstance(envelope.sender, SipAddress) else ends[::-1]
    return hash((sip.normal if isinstance(sip, SipAddress) else sip, jid))
