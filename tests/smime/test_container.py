"""What of a MIME entity is signed, and what is not."""

from __future__ import annotations

import contextlib
import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.mime import Entity
from gateway.smime.asn1 import CmsFault
from gateway.smime.container import clear_signed, cms_octets, with_crlf
from tests.cost import LINEAR, growth

from .authority import TEXT, lines_of, opaque, signature_part
from .authority import clear_signed as composed

BLOB = b"\x30\x0b\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02"
WORKED = b"""Content-Type: multipart/signed; protocol="application/pkcs7-signature";
 micalg=sha-256; boundary=b7

--b7
Content-Type: message/cpim

From: Alice <im:alice@sip.example>
To: <im:bob@xmpp.example>
DateTime: 2026-01-02T03:04:05Z

Content-Type: text/plain; charset=utf-8

Lunch?
--b7
Content-Type: application/pkcs7-signature; name=smime.p7s
Content-Transfer-Encoding: base64
Content-Disposition: attachment; filename=smime.p7s; handling=required

MAsGCSqGSIb3DQEHAg==
--b7--
""".replace(b"\n", b"\r\n")


@pytest.mark.requirement("SMIME-10")
def test_the_worked_example_covers_what_the_specification_says() -> None:
    found = clear_signed(Entity.parse(WORKED))
    assert (len(found.covered), hashlib.sha256(found.covered).hexdigest()) == (
        176,
        "a23f8ad45e922334183251bef4814c04ed6e408d72dfd122e686bbe16f27b919",
    )
    assert (found.signature, found.micalg) == (BLOB, "sha-256")


@pytest.mark.requirement("SMIME-10")
@pytest.mark.parametrize(
    "covered",
    [
        TEXT,
        TEXT + b"\r\n",
        TEXT + b"  \r\n\r\n",
        b"\r\nno headers",
        b"X-Folded: a\r\n\tb\r\nContent-Type: text/plain\r\n\r\na\nb\rc\x00\xff]]>",
        b"Content-Type: multipart/mixed; boundary=in\r\n\r\n--in\r\n\r\none\r\n--in--\r\nepilogue",
        b"Content-Type: text/plain\r\n\r\n--b\r\n-b7 --b7",
    ],
)
def test_every_octet_between_the_delimiters_is_covered(covered: bytes) -> None:
    assert clear_signed(composed(covered, BLOB)).covered == covered


@pytest.mark.requirement("SMIME-11")
@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"--b7\r\nContent-Type: message", b"preamble\r\n--b7\r\nContent-Type: message"),
        (b"--b7--\r\n", b"--b7--\r\nepilogue\r\n--b7\r\n\r\nno part"),
        (b"--b7--\r\n", b"--b7--"),
        (b"--b7\r\n", b"--b7 \t \r\n"),
        (b"micalg=sha-256; boundary=b7", b'boundary="b7"; x=y; micalg=SHA-256'),
        (b"; name=smime.p7s\r\n", b"\r\nX-More: yes\r\n"),
        (b"MAsGCSqGSIb3DQEHAg==", b"MAsG\r\n CSqG\tSIb3\r\n\r\nDQEHAg==\r\n"),
    ],
)
def test_what_is_around_it_is_not_covered(before: bytes, after: bytes) -> None:
    changed = clear_signed(Entity.parse(WORKED.replace(before, after)))
    whole = clear_signed(Entity.parse(WORKED))
    assert before in WORKED
    assert (changed.covered, changed.signature) == (whole.covered, whole.signature)


@pytest.mark.requirement("SMIME-01")
@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"; boundary=b7", b""),
        (b" micalg=sha-256;", b""),
        (b' protocol="application/pkcs7-signature";', b""),
        (b"--b7--\r\n", b"--b7\r\nContent-Type: text/plain\r\n\r\na third\r\n--b7--\r\n"),
        (b"--b7\r\nContent-Type: application/pkcs7", b"Content-Type: application/pkcs7"),
        (b"boundary=b7", b"boundary=b8"),
        (b"boundary=b7", b"boundary=b"),
    ],
)
def test_two_parts_and_three_parameters(before: bytes, after: bytes) -> None:
    assert before in WORKED
    with pytest.raises(CmsFault):
        clear_signed(Entity.parse(WORKED.replace(before, after)))


def test_a_boundary_inside_may_not_begin_like_the_one_outside_and_may_the_other_way_round() -> None:
    """RFC 2046 section 5.1.1: a delimiter is found by how its line begins."""
    inner = b"Content-Type: multipart/mixed; boundary=%b\r\n\r\n--%b\r\n\r\none\r\n--%b--\r\n"
    with pytest.raises(CmsFault, match="more than two"):
        clear_signed(composed(inner % ((b"b77",) * 3), BLOB))
    assert clear_signed(composed(inner % ((b"b",) * 3), BLOB)).covered == inner % ((b"b",) * 3)


@pytest.mark.requirement("SMIME-02")
def test_the_protocol_is_the_type_of_the_second_part() -> None:
    for protocol in ("application/pkcs7-signature", "application/x-pkcs7-signature", "Application/PKCS7-Signature"):
        assert clear_signed(composed(TEXT, BLOB, protocol=protocol)).signature == BLOB
    unquoted = composed(TEXT, BLOB).raw.replace(b'"application/pkcs7-signature"', b"application/pkcs7-signature")
    assert clear_signed(Entity.parse(unquoted)).signature == BLOB
    for before, after in ((b"protocol=", b"x-protocol="), (b"pkcs7-signature; name", b"octet-stream; name"), (b"/pkcs7-sig", b"/pgp-sig")):
        with pytest.raises(CmsFault):
            clear_signed(Entity.parse(composed(TEXT, BLOB).raw.replace(before, after)))


@pytest.mark.requirement("SMIME-08")
def test_the_object_is_binary_or_base64_however_its_lines_are_broken() -> None:
    wide, text = lines_of(BLOB * 30).replace(b"\r\n", b""), lines_of(BLOB * 30)
    for content in (text, wide, text.replace(b"\r\n", b"\n"), b"\r\n " + text.replace(b"\r\n", b" \t\r\n\r\n") + b"\r\n"):
        kind = ("Content-Type", "application/pkcs7-mime")
        assert cms_octets(Entity.compose([kind, ("Content-Transfer-Encoding", "base64")], content)) == BLOB * 30
        assert cms_octets(Entity.compose([kind], content)) == BLOB * 30
    assert cms_octets(opaque(BLOB)) == BLOB
    second = b"Content-Type: application/pkcs7-signature\r\n\r\n" + BLOB
    binary = composed(TEXT, BLOB).raw.replace(signature_part(BLOB), second)
    assert clear_signed(Entity.parse(binary)).signature == BLOB


def test_what_cannot_be_decoded_is_a_fault() -> None:
    for encoding, content in (("base64", b"A"), ("x-uuencode", b"x"), ("7bit", b"QUJDR")):
        with pytest.raises(CmsFault):
            cms_octets(Entity.compose([("Content-Type", "application/pkcs7-mime"), ("Content-Transfer-Encoding", encoding)], content))


def test_line_ends_are_mended_only_where_one_stands_alone() -> None:
    assert with_crlf(b"a\nb\rc\r\nd\n\r\n\r") == b"a\r\nb\r\nc\r\nd\r\n\r\n\r\n"
    assert with_crlf(b"a\r\nb\r\n") is None
    assert growth(with_crlf, b"\n\r" * 30_000, b"\n\r" * 120_000) < LINEAR


PIECES = [
    b"--b7",
    b"--b7--",
    b"\r\n",
    b"\n",
    b"--",
    b"Content-Type: text/plain",
    b"\r\n\r\n",
    b"x",
    signature_part(BLOB),
    b" \t",
    b"\xff\x00",
]


@settings(deadline=None, max_examples=300)
@given(st.lists(st.sampled_from(PIECES), max_size=30))
def test_any_content_is_two_parts_or_a_fault(pieces: list[bytes]) -> None:
    head = WORKED[: WORKED.index(b"\r\n\r\n") + 4]
    entity = Entity.parse(head + b"".join(pieces))
    with contextlib.suppress(CmsFault):
        assert clear_signed(entity).covered in entity.raw


@pytest.mark.parametrize("piece", [b"\r\n--b7", b"\r\n--b", b"\r\n--b7 ", b"\r\n--b7\r\n\r\n"])
def test_the_cost_is_linear(piece: bytes) -> None:
    def read(octets: int) -> None:
        with contextlib.suppress(CmsFault):
            clear_signed(Entity.parse(WORKED[: WORKED.index(b"\r\n\r\n") + 4] + piece * (octets // len(piece))))

    assert growth(read, 60_000, 240_000) < LINEAR
