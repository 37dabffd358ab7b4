"""Which messages are protected, as their headers say it."""

from __future__ import annotations

import pytest

from gateway.core.mime import Entity
from gateway.core.protection import Protection, is_protected, protected_parts, protection_of

SIGNED = b"Content-Type: multipart/signed; boundary=s\r\n\r\n--s\r\n\r\nhi\r\n--s--"


def entity(kind: str, content: bytes = b"", *more: tuple[str, str]) -> Entity:
    return Entity.compose([("Content-Type", kind), *more], content)


def mixed(*parts: bytes, boundary: bytes = b"m") -> Entity:
    content = b"".join([b"--%b\r\n%b\r\n" % (boundary, part) for part in parts]) + b"--%b--" % boundary
    return entity(f"multipart/mixed; boundary={boundary.decode()}", content)


@pytest.mark.requirement("SMIME-06", "E2E-04")
@pytest.mark.parametrize(
    ("kind", "protection"),
    [
        ("multipart/signed; boundary=b", Protection.CLEAR_SIGNED),
        ("application/pkcs7-mime; smime-type=signed-data", Protection.SIGNED),
        ("application/x-pkcs7-mime; smime-type=Signed-Data", Protection.SIGNED),
        ("application/pkcs7-mime", Protection.ENCRYPTED),
        ("application/pkcs7-mime; smime-type=enveloped-data", Protection.ENCRYPTED),
        ("application/pkcs7-mime; smime-type=auth-enveloped-data", Protection.ENCRYPTED),
        ("application/pkcs7-mime; smime-type=certs-only", Protection.OTHER),
        ("application/pkcs7-signature", None),
        ("text/plain", None),
    ],
)
def test_the_type_says_it_and_what_is_not_said_to_be_readable_is_encrypted(kind: str, protection: Protection | None) -> None:
    assert protection_of(entity(kind)) is protection
    assert is_protected(entity(kind)) is (protection is not None)


@pytest.mark.requirement("SMIME-09")
@pytest.mark.parametrize(
    "part",
    [
        SIGNED,
        b"Content-Type: multipart\r\n /signed; boundary=s\r\n\r\n--s--",
        b"Content-Type: Multipart (of two) / (that is) SIGNED; boundary=s\r\n\r\n--s--",
        b"content-type: application/pkcs7-(not)mime\r\n\r\nx",
        mixed(SIGNED, boundary=b"n").raw,
        b"Content-Type: message/cpim\r\n\r\nFrom: <im:a@b>\r\n\r\n" + SIGNED,
        b"Content-Type: message/cpim\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        b"RnJvbTogPGltOmFAYj4NCg0KQ29udGVudC1UeXBlOiBhcHBsaWNhdGlvbi9wa2NzNy1taW1lDQoNCng=",
    ],
)
def test_it_is_found_in_whatever_holds_it(part: bytes) -> None:
    whole = mixed(b"\r\nhi", part)
    assert is_protected(whole)
    assert len(protected_parts(whole)) == 1


def test_an_encoded_message_cpim_is_looked_into() -> None:
    octets = b"RnJvbTogPGltOmFAYj4NCg0KQ29udGVudC1UeXBlOiBhcHBsaWNhdGlvbi9wa2NzNy1taW1lDQoNCng="
    assert is_protected(entity("message/cpim", octets, ("Content-Transfer-Encoding", "base64")))


@pytest.mark.requirement("SMIME-09")
def test_what_cannot_be_read_is_carried_if_it_speaks_of_it() -> None:
    deep = entity("multipart/signed; boundary=s", SIGNED)
    for level in range(9):
        deep = mixed(deep.raw, boundary=b"b%d" % level)
    for whole in (deep, mixed(*[b"\r\nhi"] * 40, SIGNED), mixed(b"no header line\r\n\r\nhi", SIGNED), entity("multipart/mixed", SIGNED)):
        assert protected_parts(whole) == ()
        assert is_protected(whole)
    for whole in (mixed(*[b"\r\nhi"] * 40), mixed(b"no header line\r\n\r\nhi"), entity("multipart/mixed", b"hi")):
        assert not is_protected(whole)


@pytest.mark.requirement("SMIME-71")
def test_what_only_speaks_of_it_is_not_protected() -> None:
    words = b"\r\nsend me a multipart/signed, or application/pkcs7-mime"
    for whole in (
        mixed(words),
        entity("message/cpim", b"From: <im:a@b>\r\n\r\n" + words),
        entity("text/plain", words),
        entity("image/png", words),
    ):
        assert not is_protected(whole)
