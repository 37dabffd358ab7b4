"""Short names that nobody can guess and that are not used twice: for branches and traces, not for keys or secrets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from os import urandom
from uuid import UUID

_AT_ONCE = 256
_OCTETS = 8


def _tokens() -> Iterator[str]:
    # Asking the system costs more than a microsecond, however little is asked for: shared by many, that is nothing.
    while True:
        drawn = urandom(_AT_ONCE * _OCTETS).hex()
        for at in range(0, len(drawn), 2 * _OCTETS):
            yield drawn[at : at + 2 * _OCTETS]


fresh_token: Callable[[], str] = _tokens().__next__
"""64 random bits in 16 hexadecimal digits. Call from one thread only, and not on both sides of a fork: both would draw the same."""


def fresh_uuid() -> str:
    """A UUID of random numbers (RFC 4122 section 4.4)."""
    return str(UUID(bytes=urandom(16), version=4))
