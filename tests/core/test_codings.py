"""Content-Encoding (gateway/core/codings.py)."""

from __future__ import annotations

import gzip
import zlib
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.codings import MOST_OCTETS, MOST_RATIO, undone
from gateway.core.errors import GatewayError, Refusal, SyntaxFault

TEXT = b"Gremo po stari poti. " * 40


def bare(octets: bytes) -> bytes:
    """RFC 1951, without the zlib format around it."""
    return zlib.compress(octets)[2:-4]


@pytest.mark.requirement("SEC-33")
@pytest.mark.parametrize(
    ("coded", "value"),
    [
        (gzip.compress(TEXT), "gzip"),
        (gzip.compress(TEXT), "X-GZip"),
        (zlib.compress(TEXT), "deflate"),
        (bare(TEXT), "deflate"),
        (zlib.compress(TEXT), "identity , Deflate"),
        (TEXT, "identity"),
        (TEXT, ""),
    ],
)
def test_coding_is_undone(coded: bytes, value: str) -> None:
    assert undone(coded, value) == TEXT


@pytest.mark.requirement("SEC-33")
@pytest.mark.parametrize("value", ["br", "compress", "gzip, deflate", "gzip;q=1", "x" * 300])
def test_another_coding_is_refused(value: str) -> None:
    with pytest.raises(Refusal, match="encoding-unsupported"):
        undone(gzip.compress(TEXT), value)


@pytest.mark.requirement("SEC-33")
@pytest.mark.parametrize("octets", [b"", b"plain text", gzip.compress(TEXT)[:-1], gzip.compress(TEXT) + b"x", zlib.compress(TEXT)])
def test_what_is_no_gzip_is_a_fault(octets: bytes) -> None:
    with pytest.raises(SyntaxFault):
        undone(octets, "gzip")


def random_octets(count: int) -> bytes:
    """Of which nothing is saved by coding."""
    return b"".join(zlib.crc32(b"%d" % number).to_bytes(4, "big") for number in range(count // 4))


@pytest.mark.requirement("SEC-33")
def test_octets_and_ratio_are_bounded() -> None:
    whole = random_octets(MOST_OCTETS)
    assert undone(zlib.compress(whole), "deflate") == whole
    for octets in (whole + b"x", bytes(MOST_OCTETS), bytes(10**7)):
        for coded in (zlib.compress(octets), bare(octets)):
            assert len(octets) > min(MOST_OCTETS, MOST_RATIO * len(coded))
            with pytest.raises(Refusal, match="encoding-unsupported"):
                undone(coded, "deflate")


@given(st.binary(max_size=200), st.sampled_from(["gzip", "deflate"]))
@settings(deadline=None)
def test_nothing_else_is_raised(octets: bytes, value: str) -> None:
    with suppress(GatewayError):
        undone(octets, value)
