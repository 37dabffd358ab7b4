"""Keyed digests, and the map that remembers them for a while: what it holds, for how long, and that it never holds more."""

from __future__ import annotations

from hashlib import blake2b

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.digest import AgingDigestMap, digest


def test_a_digest_is_64_bits_of_keyed_blake2b_over_the_parts() -> None:
    expected = int.from_bytes(blake2b(b"a\nb", digest_size=8, key=b"secret").digest(), "big")
    assert digest(b"secret", b"a", b"b") == expected
    assert 0 < expected < 1 << 64
    assert len({digest(b"secret", b"a", b"b"), digest(b"secret", b"ab"), digest(b"other", b"a", b"b")}) == 3


def test_an_entry_is_found_with_its_last_value() -> None:
    known = AgingDigestMap(60, 100, now=0.0)
    known.put(7, 1, 0.0)
    known.put(7, 2, 1.0)
    known.put(7 + 1024, 3, 1.0)  # the same place in the table
    assert (known.get(7, 1.0), known.get(7 + 1024, 1.0), known.get(8, 1.0), len(known)) == (2, 3, None, 2)


@pytest.mark.parametrize(("asked_at", "found"), [(0.0, 5), (59.9, 5), (60.0, 5), (119.9, 5), (121.0, None), (500.0, None)])
def test_an_entry_lives_for_its_time_and_at_most_twice_that(asked_at: float, found: int | None) -> None:
    known = AgingDigestMap(60, 100, now=0.0)
    known.put(9, 5, 0.0)
    known.get(1, min(asked_at, 60.0))
    assert known.get(9, asked_at) == found
    assert len(known) == (found is not None)


def test_after_a_pause_of_two_lifetimes_nothing_is_left() -> None:
    known = AgingDigestMap(60, 100, now=0.0)
    known.put(9, 5, 0.0)
    assert known.get(9, 120.0) is None
    assert len(known) == 0


def test_an_entry_that_is_put_again_lives_anew() -> None:
    known = AgingDigestMap(60, 100, now=0.0)
    known.put(9, 5, 0.0)
    known.put(9, 6, 70.0)
    assert known.get(9, 125.0) == 6


def test_growing_loses_nothing_and_fullness_is_told() -> None:
    known = AgingDigestMap(60, 5000, now=0.0, typecode="Q")
    for key in range(1, 5001):
        known.put(key, key * 2**33, 1.0)
        assert not known.is_full or key >= 5000 * 2 // 3
    assert len(known) == 5000
    assert all(known.get(key, 2.0) == key * 2**33 for key in range(1, 5001))
    for key in range(5001, 12_000):
        known.put(key, 1, 3.0)
    assert known.is_full
    known.get(1, 200.0)
    assert not known.is_full


def test_memory_is_bounded_whatever_comes() -> None:
    known = AgingDigestMap(60, 2000, now=0.0)
    sizes = []
    for key in range(1, 60_000):
        known.put(key, 1, 1.0)
        sizes.append(len(known))
    assert max(sizes) < 4 * 2 * 2000
    assert known.get(59_999, 1.0) == 1


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(1, 40).map(lambda key: key * 1024), st.integers(0, 2**32 - 1)), max_size=80))
def test_it_says_what_a_dict_says(puts: list[tuple[int, int]]) -> None:
    known, wanted = AgingDigestMap(60, 1000, now=0.0), dict(puts)
    for key, value in puts:
        known.put(key, value, 1.0)
    assert {key: known.get(key, 1.0) for key in wanted} == wanted
    assert len(known) == len(wanted)
