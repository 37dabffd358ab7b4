"""What is known of next hops: which are held, which of their targets come last, and what waits until DNS has said where a hop is.

No socket and no clock: every `now` is in seconds of one steady clock.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from gateway.core.uri import Uri

from .locate import Target

MOST_WAITING = 4096
"""What may wait for the targets of one hop."""
MOST_HOLD_SECONDS = 600.0
"""The most that a message waits of our own accord (REL-10); a hop that asks for more gets the next message then."""
_AVOID_SECONDS, _MOST_AVOID_SECONDS, _MOST_AVOIDED = 30.0, 300.0, 1024

W = TypeVar("W")


@dataclass(slots=True)
class _Hop(Generic[W]):
    uri: Uri
    asking: bool = False
    waiting: list[W] = field(default_factory=list)
    held_until: float = 0.0


class Hops(Generic[W]):
    """All next hops that were asked about, by their gate, which is their URI as text. W: what waits."""

    def __init__(self) -> None:
        self._hops: dict[str, _Hop[W]] = {}
        self._avoided: dict[Target, tuple[float, float]] = {}

    @property
    def gates(self) -> list[str]:
        """Every hop that was asked about."""
        return list(self._hops)

    def uri(self, gate: str) -> Uri:
        """The URI of a hop."""
        return self._hop(gate).uri

    def _hop(self, gate: str) -> _Hop[W]:
        hop = self._hops.get(gate)
        if hop is None:
            hop = self._hops[gate] = _Hop(Uri.parse(gate))
        return hop

    # -- whole hops ----------------------------------------------------------------------------------------------------
    def is_open(self, gate: str, now: float) -> bool:
        """Whether this hop is not held, and has room for one more to wait."""
        hop = self._hop(gate)
        return hop.held_until <= now and len(hop.waiting) < MOST_WAITING

    def hold(self, gate: str, seconds: float, now: float) -> float:
        """Send nothing to this hop for so long, as a 503 with Retry-After asks (MSG-49). Returns how long that is, 10 minutes at most."""
        seconds = min(seconds, MOST_HOLD_SECONDS)
        self._hop(gate).held_until = now + seconds
        return seconds

    def wait(self, gate: str, what: W) -> bool:
        """Have this wait for the targets of a hop. Returns whether they have to be asked for: nobody is asking."""
        hop = self._hop(gate)
        hop.waiting.append(what)
        asks, hop.asking = not hop.asking, True
        return asks

    def located(self, gate: str) -> list[W]:
        """The asking is over: what has waited, oldest first."""
        hop = self._hop(gate)
        hop.asking = False
        waiting, hop.waiting = hop.waiting, []
        return waiting

    # -- targets -------------------------------------------------------------------------------------------------------
    def avoid(self, target: Target, seconds: float, now: float) -> None:
        """Try this target last for at least so long: 30 s, doubling to 5 min while it does not answer (TXN-23)."""
        until, last = self._avoided.get(target, (0.0, _AVOID_SECONDS / 2))
        if until <= now:
            if len(self._avoided) >= _MOST_AVOIDED:
                self._avoided.clear()
            doubled = min(last * 2, _MOST_AVOID_SECONDS)
            self._avoided[target] = (now + max(doubled, min(seconds, MOST_HOLD_SECONDS)), doubled)

    def answered(self, target: Target) -> None:
        """This target answers (again)."""
        if self._avoided:
            self._avoided.pop(target, None)

    def in_order(self, targets: Iterable[Target], now: float) -> tuple[Target, ...]:
        """As DNS has them, but those that did not answer last time come last."""
        given = tuple(targets)
        if not self._avoided or len(given) < 2:
            return given
        return tuple(sorted(given, key=lambda target: self._avoided.get(target, (0.0, 0.0))[0] > now))
