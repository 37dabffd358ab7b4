"""Keyed 64-bit digests, and a map of millions of them in a few octets each.

The gateway has to know again what it has seen (retransmissions, merged requests, late answers) without keeping it. A Python dict takes
about 100 octets an entry; here an entry takes 8 for the digest and 4 or 8 for the value, at a load of at most two thirds.
"""

from __future__ import annotations

from array import array
from hashlib import blake2b

_DIGEST_OCTETS = 8
_SMALLEST = 1024
_LARGEST = 1 << 20
_Segment = tuple["array[int]", "array[int]", int]


def digest(key: bytes, *parts: bytes) -> int:
    """A 64-bit digest of `parts` that nobody can compute without `key` (at most 64 octets); never 0.

    The parts are joined by LF, so all but the last must be free of it, as header values are.
    """
    return int.from_bytes(blake2b(b"\n".join(parts), digest_size=_DIGEST_OCTETS, key=key).digest(), "big") or 1


class AgingDigestMap:
    """digest -> small number. Entries live at least `seconds` and at most twice that: two generations that take turns.

    Open addressing. A generation that is full gets a further segment of twice the size instead of being copied into a larger one, so that
    no single `put` takes long (REL-28). Over `most` entries `is_full` says so; a caller that goes on all the same makes the oldest go
    early, so that memory is bounded always. `typecode`: of the values, in `array`.
    """

    __slots__ = ("_count", "_most", "_new", "_old", "_old_count", "_seconds", "_turns_at", "_typecode", "_used", "is_full")

    def __init__(self, seconds: float, most: int, now: float, typecode: str = "I") -> None:
        self._seconds, self._most, self._typecode = seconds, most, typecode
        self._new = [self._segment(_SMALLEST)]
        self._old: list[_Segment] = []
        self._count = self._used = self._old_count = 0
        self._turns_at = now + seconds
        self.is_full = False
        """Whether nothing more can be remembered for its whole time."""

    def __len__(self) -> int:
        return self._count + self._old_count

    def get(self, key: int, now: float) -> int | None:
        """The value put last, or None when it is unknown or has aged out."""
        if now >= self._turns_at:
            self._turn(now)
        for generation in (self._new, self._old):
            for keys, values, mask in generation:
                at = key & mask
                while (found := keys[at]) != key:
                    if not found:
                        break
                    at = (at + 1) & mask
                else:
                    return values[at]
        return None

    def put(self, key: int, value: int, now: float) -> None:
        """Remember from now on, or replace."""
        if now >= self._turns_at:
            self._turn(now)
        keys, values, mask = self._new[0]
        at = key & mask
        while (found := keys[at]) != key:
            if not found:
                keys[at] = key
                self._count += 1
                self._used += 1
                if self._used * 3 > mask * 2:
                    self._grow(mask + 1)
                break
            at = (at + 1) & mask
        values[at] = value

    def _grow(self, size: int) -> None:
        self._new.insert(0, self._segment(min(size * 2, _LARGEST)))
        self._used = 0
        self.is_full = self._count + self._old_count >= self._most
        if self._count >= self._most:
            self._turns_at = 0.0

    def _turn(self, now: float) -> None:
        # After a pause of two lifetimes both generations are too old.
        is_fresh = now < self._turns_at + self._seconds or not self._turns_at
        self._old, self._old_count = (self._new, self._count) if is_fresh else ([], 0)
        expected = min(max(_SMALLEST, 1 << (self._old_count * 3 // 2).bit_length()), _LARGEST)
        self._new = [self._segment(expected)]
        self._count = self._used = 0
        self._turns_at = now + self._seconds
        self.is_full = self._old_count >= self._most

    def _segment(self, size: int) -> _Segment:
        values = array(self._typecode)
        values.frombytes(bytes(size * values.itemsize))
        return array("Q", bytes(size * 8)), values, size - 1
