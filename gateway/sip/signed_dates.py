"""Whether the Date of a request with a signed body is near enough to now (RFC 3428 section 11.4): known without any key.

Who replays an old request cannot change what is signed in it. Here only the Date of the request is looked at, and whether the request
itself came before; the date inside the signed object is for who checks the signature.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from gateway.core.dates import REPEATED, REPLAY_SECONDS, UNDATED, staleness
from gateway.core.digest import AgingDigestMap
from gateway.core.errors import Refusal
from gateway.core.mime import Entity
from gateway.core.ports import Peer
from gateway.core.protection import Protection, protected_parts, protection_of
from gateway.core.remember import learn
from gateway.core.verdict import NOT_CHECKED, Status, Verdict

MOST_REMEMBERED = 500_000
ANSWERED, ANSWERED_SECONDS = 5, 60
"""So many stale requests of one source are answered in so many seconds (MSG-82)."""
_SILENT_SECONDS = 64
_MOST_SILENT, _MOST_SOURCES = 100_000, 4096
_SIGNED = (Protection.CLEAR_SIGNED, Protection.SIGNED)
_UNDATED, _REPEATED = Verdict(Status.NOT_CHECKED, date=UNDATED), Verdict(Status.REPLAY_RISK, date=REPEATED)

log = structlog.get_logger("sip")


def is_signed(body: Entity) -> bool:
    """Whether a body is signed, or holds something that is: for all to see, not inside something encrypted."""
    return any(protection_of(part) in _SIGNED for part in protected_parts(body))


class SignedDates:
    """What is remembered of requests with signed bodies. Times are POSIX seconds, so that a clock that is set right is not held against it.

    mark: let pass what is stale, with a verdict (`[limits] stale_date`). clock_is_true: whether the clock here may be relied on (MSG-87).
    grace_until: until then what is stale may have waited for this gateway to come back (MSG-85).
    """

    def __init__(self, *, mark: bool = False, clock_is_true: Callable[[], bool] = lambda: True, grace_until: float = 0.0) -> None:
        self._mark, self._clock_is_true, self._grace_until = mark, clock_is_true, grace_until
        self._kept = AgingDigestMap(REPLAY_SECONDS, MOST_REMEMBERED, 0.0)
        self._silent = AgingDigestMap(_SILENT_SECONDS, _MOST_SILENT, 0.0)
        # Of each source, the requests that were answered last, and when.
        self._answered: dict[str, dict[int, float]] = {}
        self._is_doubted = False

    def judge(self, stated: float | None, key: int, peer: Peer, now: float) -> Verdict:
        """What a request with a signed body is marked with; NOT_CHECKED where nothing is wrong. Raises Refusal("stale-date").

        stated: its Date; None without one that can be read. key: the digest by which it is known again.
        """
        if self._kept.get(key, now) is not None:
            self._hold(peer)
            return _REPEATED
        if stated is None:
            return _UNDATED
        found = staleness(stated, now)
        if not found or peer.store_and_forward:
            return NOT_CHECKED
        if now < self._grace_until:
            return Verdict(Status.REPLAY_RISK, date=found)
        self._hold(peer)
        return Verdict(Status.NOT_CHECKED, date=found)

    def _hold(self, peer: Peer) -> None:
        if self._mark or peer.store_and_forward:
            return
        if self._clock_is_true():
            raise Refusal("stale-date")
        if not self._is_doubted:
            self._is_doubted = True
            hint = "until it is, no signed message is refused for its date"
            log.warning("the clock is not synchronised", side="sip", peer=peer.label, hint=hint)

    def keep(self, key: int, now: float) -> None:
        """A request with a signed body was taken: whoever sends it again is found out (MSG-86)."""
        self._kept.put(key, 0, now)

    def is_silent(self, source: str, key: int, now: float) -> bool:
        """Whether a stale request gets no answer: too many of that source were answered lately. So do its retransmissions (MSG-82).

        key: of its transaction.
        """
        if self._silent.get(key, now) is not None:
            return True
        answered = {each: at for each, at in self._answered.get(source, {}).items() if 0 <= now - at < ANSWERED_SECONDS}
        if key not in answered and len(answered) >= ANSWERED:
            self._silent.put(key, 0, now)
            return True
        answered.setdefault(key, now)
        learn(self._answered, source, answered, _MOST_SOURCES)
        return False
