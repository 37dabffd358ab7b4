"""What is known of next hops: which are held, which of their targets come last, and what waits until DNS has said where a hop is.

No socket and no clock: every `now` is in seconds of one steady clock.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

from .locate import Target

MOST_WAITING = 4096
"""What may wait for the targets of one hop."""
MOST_HOLD_SECONDS = 600.0
"""The most that a message waits of our own accord (REL-10); a hop that asks for more gets the next message then."""
_AVOID_SECONDS, _MOST_AVOID_SECONDS, _MOST_AVOIDED = 30.0, 300.0, 1024

W = TypeVar("W")


class Hops(Generic[W]):
    """Next hops by their gate, which is their URI as text. W: what waits. What is only asked about is not kept."""

    def __init__(self) -> None:
        self._held_until: dict[str, float] = {}
        # A hop that is in here is being looked up.
        self._waiting: dict[str, list[W]] = {}
        self._avoided: dict[Target, tuple[float, float]] = {}

    # -- whole hops ----------------------------------------------------------------------------------------------------
    def is_held(self, gate: str, now: float) -> bool:
        """Whether nothing may be sent to this hop."""
        return self._held_until.get(gate, 0.0) > now

    def hold(self, gate: str, seconds: float, now: float) -> float:
        """Send nothing to this hop for so long, as a 503 with Retry-After asks (MSG-49), and no shorter than was asked before.

        Returns how long that is from now, 10 minutes at most.
        """
        until = self._held_until[gate] = max(self._held_until.get(gate, 0.0), now + min(seconds, MOST_HOLD_SECONDS))
        return until - now

    def has_room(self, gate: str) -> bool:
        """Whether one more may wait until this hop is found."""
        return len(self._waiting.get(gate, ())) < MOST_WAITING

    def wait(self, gate: str, what: W) -> bool:
        """Have this wait until the hop is found. Returns whether it has to be looked up: nobody does it."""
        waiting = self._waiting.get(gate)
        if waiting is None:
            self._waiting[gate] = [what]
        else:
            waiting.append(what)
        return waiting is None

    def located(self, gate: str) -> list[W]:
        """The looking-up is over: what has waited, oldest first."""
        return self._waiting.pop(gate, [])

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
