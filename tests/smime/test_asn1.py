"""BER from outside becomes definite lengths and whole octet strings, or a CmsFault."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.smime.asn1 import MOST_ELEMENTS, MOST_OCTETS, CmsFault, checked, content_of, first_member, members, object_identifier
from tests.cost import LINEAR, growth

from .authority import TEXT, Authority, der, openssl_sign, sign

ROMEO = Authority("Root").issue("sip:romeo@sip.example")


def indefinite(tag: int, content: bytes) -> bytes:
    return bytes((tag, 0x80)) + content + b"\x00\x00"


@pytest.mark.parametrize("octets", [sign(ROMEO, TEXT), sign(ROMEO, TEXT, detached=False), b"\x05\x00", b"\x30\x00", b"\x1f\x81\x01\x00"])
def test_der_stays_the_very_same_octets(octets: bytes) -> None:
    assert checked(octets) is octets


@pytest.mark.requirement("SMIME-12")
@pytest.mark.parametrize(
    ("ber", "expected"),
    [
        (indefinite(0x30, b"\x05\x00"), der(0x30, b"\x05\x00")),
        (indefinite(0x24, b"\x04\x01A\x04\x00\x04\x02BC"), b"\x04\x03ABC"),
        (der(0x24, b"\x04\x01A" + indefinite(0x24, b"\x04\x01B" + der(0x24, b"\x04\x01C"))), b"\x04\x03ABC"),
        (indefinite(0x24, b""), b"\x04\x00"),
        (der(0x30, der(0x24, b"\x04\x01A") + b"\x04\x01B"), der(0x30, b"\x04\x01A\x04\x01B")),
        (indefinite(0xA0, indefinite(0x24, der(0x04, b"x" * 300))), der(0xA0, der(0x04, b"x" * 300))),
        (b"\x3f\x81\x01\x80\x05\x00\x00\x00", b"\x3f\x81\x01\x02\x05\x00"),
    ],
)
def test_ber_becomes_definite_and_octet_strings_become_whole(ber: bytes, expected: bytes) -> None:
    assert checked(ber) == expected


@pytest.mark.requirement("SMIME-12")
def test_a_streamed_object_of_openssl_is_read_whole() -> None:
    content = TEXT * 400
    octets = openssl_sign(ROMEO, content, detached=False, streamed=True)
    assert octets[1] == 0x80
    assert b"\x04\x82\x4d" not in octets
    assert der(0x04, content) in checked(octets)


TREES = st.recursive(
    st.builds(lambda content: (content,), st.binary(max_size=20)), lambda inner: st.lists(inner, max_size=4), max_leaves=12
)


def encoded(tree: list[object] | tuple[bytes], choices: list[bool]) -> tuple[bytes, bytes]:
    """(some BER of it, the DER of it)."""
    wild = bool(choices) and choices.pop()
    if isinstance(tree, tuple):
        (content,) = tree
        plain = der(0x04, content)
        if not wild:
            return plain, plain
        pieces = b"".join(der(0x04, content[at : at + 3]) for at in range(0, len(content), 3))
        return (indefinite if choices and choices.pop() else der)(0x24, pieces), plain
    both = [encoded(each, choices) for each in tree]  # type: ignore[arg-type]
    return (indefinite if wild else der)(0x30, b"".join(ber for ber, _ in both)), der(0x30, b"".join(plain for _, plain in both))


@settings(deadline=None)
@given(TREES, st.lists(st.booleans(), max_size=60))
def test_every_ber_of_a_value_becomes_its_der(tree: list[object] | tuple[bytes], choices: list[bool]) -> None:
    ber, plain = encoded(tree, choices)
    assert checked(ber) == plain


@settings(deadline=None)
@given(st.binary(max_size=200), st.sampled_from([b"", b"\x30", b"\x30\x80", b"\x24\x80\x04", b"\xa0\x80\x30"]))
def test_any_other_octets_are_a_fault_and_nothing_worse(octets: bytes, start: bytes) -> None:
    for read in (checked, first_member, object_identifier, lambda each: content_of(each, 0x30)):
        with contextlib.suppress(CmsFault):
            read(start + octets)


@pytest.mark.requirement("SMIME-74")
@pytest.mark.parametrize(
    ("octets", "what"),
    [
        (b"", "Empty"),
        (b"\x30", "cut off"),
        (b"\x30\x05\x05\x00", "length"),
        (b"\x30\x84\xff\xff\xff\xff", "length"),
        (b"\x30\x85\x00\x00\x00\x00\x00", "length"),
        (b"\x04\x80AB\x00\x00", "length"),
        (b"\x05\x00\x05\x00", "behind"),
        (b"\x30\x02\x05\x00\r\n", "behind"),
        (indefinite(0x30, b"\x05\x00")[:-1], "cut off"),
        (der(0x30, b"\x30\x80\x05\x00") + b"\x00\x00", "Bad|cut off"),
        (der(0x30, b"\x00\x00"), "tag"),
        (b"\x1f\xff\xff\xff\xff\xff\xff\x01\x00", "tag"),
        (indefinite(0x24, b"\x05\x00"), "in pieces"),
        (b"\x30\x80" * 1000, "deep"),
        (b"\x30\x80" * 17 + b"\x00\x00" * 17, "deep"),
        (b"\x30\x80" * 100_000 + b"\x00\x00" * 20_000, "deep"),
        (der(0x30, b"\x05\x00" * MOST_ELEMENTS), "Too many"),
        (der(0x04, b"x" * MOST_OCTETS), "too large"),
    ],
)
def test_what_is_cut_off_too_deep_or_too_large_is_refused(octets: bytes, what: str) -> None:
    with pytest.raises(CmsFault, match=what):
        checked(octets)


def nested(levels: int) -> bytes:
    octets = b"\x05\x00"
    for _ in range(levels):
        octets = der(0x30, octets)
    return octets


@pytest.mark.requirement("SMIME-74")
def test_the_depths_that_are_allowed() -> None:
    assert checked(nested(31)) == nested(31)
    assert len(members(checked(b"\x30\x80" * 16 + b"\x00\x00" * 16))) == 1
    with pytest.raises(CmsFault):
        checked(nested(32))


@pytest.mark.parametrize("piece", [b"\x05\x00", indefinite(0x30, b""), indefinite(0x24, b"\x04\x01A"), der(0x04, b"x" * 1000)])
def test_the_cost_is_linear(piece: bytes) -> None:
    def of(octets: int) -> bytes:
        return indefinite(0x30, piece * (octets // max(len(piece), 16)))

    assert growth(checked, of(20_000), of(80_000)) < LINEAR


def test_parts_of_what_was_looked_through() -> None:
    octets = der(0x30, b"\x06\x03\x2a\x03\x04" + b"\x05\x00")
    assert members(octets) == (b"\x06\x03\x2a\x03\x04", b"\x05\x00")
    assert first_member(octets) == first_member(b"\x30\x80" + octets[2:]) == b"\x06\x03\x2a\x03\x04"
    assert object_identifier(b"\x06\x03\x2a\x03\x04") == "1.2.3.4"
    assert object_identifier(bytes.fromhex("06092a864886f70d010702")) == "1.2.840.113549.1.7.2"
    assert object_identifier(bytes.fromhex("0603883703")) == "2.999.3"
    assert content_of(b"\x05\x00", 0x05) == b""
    for bad in (b"\x05\x00x", b"\x04\x00"):
        with pytest.raises(CmsFault):
            content_of(bad, 0x05)
    with pytest.raises(CmsFault):
        members(b"\x05\x00")
