"""Who is typing to whom, in pager mode (RFC 3994, XEP-0085): which notices go on, and when one that went on has run out. Pure.

`now` is the time of the loop. Everything is in memory alone: typing is told now or never, and only of people who have just written to each
other (ISC-09). Towards SIP, what there is no room for is not told. Towards XMPP, where a sender makes as many names as he likes, the newest
is shown, and who would be shown for the shortest time makes room.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, replace
from math import inf

from gateway.core.address import Address, SipAddress
from gateway.core.canonical import typing_message, typing_of
from gateway.core.composing import REFRESH_SECONDS, compose_composing
from gateway.core.envelope import Envelope

HEARD_SECONDS = 600.0
"""How long somebody who types to a SIP user counts as replying to him (ISC-06), and two who have written are no strangers (ISC-09)."""
SPACING_SECONDS = 60.0
"""A SIP user is told at most once in this time that somebody is typing (ISC-04)."""
SHOWN_SPACING_SECONDS = 5.0
"""An XMPP user is shown at most once in this time that the same SIP user has begun to type, but for each of his messages once more."""
_MOST_HEARD, _MOST_TYPING, _MOST_AT_ONE = 100_000, 10_000, 32


@dataclass(slots=True)
class _Told:
    """What a SIP user was told last: that somebody was typing, at this time, and whether he still believes it."""

    at: float
    is_active: bool = True


@dataclass(slots=True)
class _Met:
    """When two have written to each other last: the SIP user, and either of them."""

    heard: float
    last: float


@dataclass(slots=True)
class _Shown:
    """A SIP user who types to an XMPP user, or has just done so: by which notice, how long that holds, when he was shown as typing last.

    is_shown: whether he is so now. wakes: when something is to be done about it; an older time in the queue is void.
    """

    envelope: Envelope
    until: float
    at: float
    is_shown: bool = True
    wakes: float = 0.0


class Typing:
    """Each pair of a SIP user and an XMPP user is known by one hash, for both directions."""

    def __init__(self) -> None:
        self._met: dict[int, _Met] = {}
        self._told: dict[int, _Told] = {}
        self._shown: dict[int, _Shown] = {}
        self._shown_to: dict[Address, set[int]] = {}
        # (wakes, pair); one that has got another time is in it again.
        self._due: list[tuple[float, int]] = []

    def notice(self, envelope: Envelope, now: float) -> list[Envelope]:
        """A typing notice: what is to go on because of it, itself among that or not. Raises SyntaxFault for any other message."""
        pair, said = _pair(envelope), typing_of(envelope.message)
        if isinstance(envelope.sender, SipAddress):
            return self._types(pair, envelope, now, now + said.seconds) if said.is_active else self._stops(pair, envelope, now)
        return [envelope] if (self._tells(pair, now) if said.is_active else self._takes_back(pair, now)) else []

    def content(self, envelope: Envelope, now: float) -> None:
        """What somebody was typing has been taken: that ends it without a word (ISC-02), and allows a reply."""
        pair, is_heard = _pair(envelope), isinstance(envelope.sender, SipAddress)
        if is_heard:
            self._forget(pair)
        elif pair in self._told:
            self._told[pair].is_active = False
        met = self._met.pop(pair, None)
        self._met[pair] = _Met(now if is_heard else met.heard if met else -inf, now)
        oldest = next(iter(self._met))
        if len(self._met) > _MOST_HEARD or now - self._met[oldest].last > HEARD_SECONDS:
            del self._met[oldest]

    def unsaid(self, envelope: Envelope) -> None:
        """This one was to go on and could not."""
        pair = _pair(envelope)
        if isinstance(envelope.sender, SipAddress):
            self._forget(pair)
        else:
            self._told.pop(pair, None)

    # -- to SIP --------------------------------------------------------------------------------------------------------
    def _tells(self, pair: int, now: float) -> bool:
        met, told = self._met.get(pair), self._told.get(pair)
        if met is None or now - met.heard > HEARD_SECONDS or (told and now - told.at < SPACING_SECONDS):
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
    def _types(self, pair: int, envelope: Envelope, now: float, until: float) -> list[Envelope]:
        """He types: shown with the first of several, of which each holds anew (ISC-03); a moment later where he has flapped."""
        met, shown = self._met.get(pair), self._shown.get(pair)
        if shown:
            shown.until = until
            if not shown.is_shown:
                shown.envelope = envelope
            self._wake(pair, shown)
            return []
        if met is None or now - met.last > HEARD_SECONDS:
            return []
        over = self._make_room(envelope.recipient)
        self._shown[pair] = shown = _Shown(envelope, until, now)
        self._shown_to.setdefault(envelope.recipient, set()).add(pair)
        self._wake(pair, shown)
        return [*over, envelope]

    def _stops(self, pair: int, envelope: Envelope, now: float) -> list[Envelope]:
        shown = self._shown.get(pair)
        if shown is None:
            return []
        was_shown, shown.is_shown, shown.until = shown.is_shown, False, now
        self._rest(pair, shown, now)
        return [envelope] if was_shown else []

    def _make_room(self, recipient: Address) -> list[Envelope]:
        """Forget who would be shown for the shortest time, of all that one XMPP user is shown, or of all; and say so where he is shown."""
        crowd = self._shown_to.get(recipient, ())
        if len(crowd) >= _MOST_AT_ONE:
            return self._take_down(min(crowd, key=lambda pair: self._shown[pair].until))
        while len(self._shown) >= _MOST_TYPING:
            wakes, pair = heapq.heappop(self._due)
            if (shown := self._shown.get(pair)) and shown.wakes == wakes:
                return self._take_down(pair)
        return []

    def _take_down(self, pair: int) -> list[Envelope]:
        shown = self._shown[pair]
        self._forget(pair)
        return [_idle(shown.envelope)] if shown.is_shown else []

    def _forget(self, pair: int) -> None:
        if shown := self._shown.pop(pair, None):
            crowd = self._shown_to[shown.envelope.recipient]
            crowd.discard(pair)
            if not crowd:
                del self._shown_to[shown.envelope.recipient]

    def _wake(self, pair: int, shown: _Shown) -> None:
        wakes = shown.until if shown.is_shown else shown.at + SHOWN_SPACING_SECONDS
        if wakes == shown.wakes:
            return
        shown.wakes = wakes
        heapq.heappush(self._due, (shown.wakes, pair))
        if len(self._due) > 4 * _MOST_TYPING:
            self._due = sorted((each.wakes, known) for known, each in self._shown.items())

    def next_deadline(self) -> float | None:
        """When `on_deadline` has to be called; None while nobody is shown as typing."""
        return self._due[0][0] if self._due else None

    def on_deadline(self, now: float) -> list[Envelope]:
        """The notices for what has run out (ISC-02), and for who has begun again too soon."""
        found: list[Envelope] = []
        while self._due and self._due[0][0] <= now:
            wakes, pair = heapq.heappop(self._due)
            if (shown := self._shown.get(pair)) and shown.wakes == wakes:
                found += self._woken(pair, shown, now)
        return found

    def _woken(self, pair: int, shown: _Shown, now: float) -> list[Envelope]:
        if not shown.is_shown and shown.until > now:
            shown.is_shown, shown.at = True, now
            self._wake(pair, shown)
            return [shown.envelope]
        was_shown, shown.is_shown = shown.is_shown, False
        self._rest(pair, shown, now)
        return [_idle(shown.envelope)] if was_shown else []

    def _rest(self, pair: int, shown: _Shown, now: float) -> None:
        """Keep in mind when he was shown, for as long as he may not be shown again."""
        if now - shown.at < SHOWN_SPACING_SECONDS:
            self._wake(pair, shown)
        else:
            self._forget(pair)


def _idle(active: Envelope) -> Envelope:
    """The notice that takes another back."""
    document = compose_composing(is_active=False)
    message = typing_message(active.sender, active.recipient, active.received_at, document)
    return replace(active, id=f"{active.id}-idle", message=message)


def _pair(envelope: Envelope) -> int:
    ends = (envelope.sender, envelope.recipient)
    sip, jid = ends if isinstance(envelope.sender, SipAddress) else ends[::-1]
    return hash((sip.normal if isinstance(sip, SipAddress) else sip, jid))
