"""What the gateway signs for a hosted account: OpenSSL, and a reader written by others, find it as it should be."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from asn1crypto import cms
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.address import SipAddress
from gateway.core.canonical import text_message
from gateway.core.errors import SyntaxFault
from gateway.core.jid import Jid
from gateway.core.mime import Entity, split_multipart
from gateway.core.protection import Protection, protection_of
from gateway.smime.signing import is_canonical, signed_clear, signed_data, signed_opaque

from .authority import NOW, TEXT, Authority, cpim, openssl_verify
from .hosted import KINDS, account, holder

CA = Authority("Signing")
CPIM = Entity.parse(cpim("im:romeo@sip.example"))
ROMEO, JULIET = SipAddress("romeo", "sip.example"), Jid("juliet", "xmpp.example")


def signed(blob: bytes) -> Any:
    """The SignedData, read strictly."""
    info = cms.ContentInfo.load(blob, strict=True)
    assert info["content_type"].native == "signed_data"
    return info["content"]


def attributes_of(blob: bytes) -> dict[str, Any]:
    (signer,) = signed(blob)["signer_infos"]
    assert all(len(each["values"]) == 1 for each in signer["signed_attrs"])
    return {each["type"].native: each["values"][0].native for each in signer["signed_attrs"]}


@pytest.mark.requirement("SMIME-70", "E2E-22")
@pytest.mark.parametrize("kind", ["p256", "rsa2048"])
def test_openssl_verifies_both_forms(kind: str) -> None:
    romeo = account(holder(CA, kind))
    opaque = signed_opaque(CPIM, romeo, NOW)
    assert openssl_verify(CA, opaque.content) == CPIM.raw
    first, second = split_multipart(signed_clear(CPIM, romeo, NOW))
    assert first.raw == CPIM.raw
    assert openssl_verify(CA, second.decoded(), first.raw) == CPIM.raw


@pytest.mark.requirement("E2E-22")
def test_ed25519_signs_with_sha_512() -> None:
    """The command line of OpenSSL 3.0 cannot check these (RFC 8419)."""
    romeo = holder(CA, "ed25519")
    (signer,) = signed(signed_data(CPIM, account(romeo), NOW))["signer_infos"]
    assert signer["digest_algorithm"]["algorithm"].native == "sha512"
    assert attributes_of(signed_data(CPIM, account(romeo), NOW))["message_digest"] == hashlib.sha512(CPIM.raw).digest()
    romeo.key.public_key().verify(signer["signature"].native, signer["signed_attrs"].untag().dump())  # type: ignore[call-arg]


@pytest.mark.requirement("E2E-22")
@pytest.mark.parametrize(
    ("kind", "signature", "digest"),
    [
        ("p256", "300a06082a8648ce3d040302", "300b0609608648016503040201"),
        ("rsa2048", "300d06092a864886f70d0101010500", "300b0609608648016503040201"),
        ("ed25519", "300506032b6570", "300b0609608648016503040203"),
    ],
)
def test_algorithm_identifiers_have_the_parameters_of_their_rfc(kind: str, signature: str, digest: str) -> None:
    """Absent but for RSA, where they are NULL: RFC 5754 section 2, RFC 5758 section 3.2, RFC 3370 section 3.2, RFC 8419 section 2."""
    blob = signed_data(CPIM, account(holder(CA, kind)), NOW)
    (signer,) = signed(blob)["signer_infos"]
    assert signer["signature_algorithm"].dump().hex() == signature
    assert signer["digest_algorithm"].dump().hex() == digest
    assert [each.dump().hex() for each in signed(blob)["digest_algorithms"]] == [digest]


@pytest.mark.requirement("SMIME-13")
def test_three_attributes_in_der_order() -> None:
    blob = signed_data(CPIM, account(holder(CA)), NOW)
    found = attributes_of(blob)
    assert set(found) == {"content_type", "message_digest", "signing_time"}
    assert found["content_type"] == "data"
    assert found["message_digest"] == hashlib.sha256(CPIM.raw).digest()
    assert found["signing_time"].timestamp() == NOW
    (signer,) = signed(blob)["signer_infos"]
    octets = [each.dump() for each in signer["signed_attrs"]]
    assert octets == sorted(octets)


def test_a_signing_time_after_2049_is_a_generalized_time() -> None:
    blob = signed_data(CPIM, account(holder(CA)), 2_524_608_000.0)
    assert b"20500101000000Z" in blob
    assert attributes_of(blob)["signing_time"].timestamp() == 2_524_608_000


@pytest.mark.requirement("SMIME-02", "SMIME-03", "E2E-15")
@pytest.mark.parametrize(("kind", "micalg"), [("p256", "sha-256"), ("rsa2048", "sha-256"), ("ed25519", "sha-512")])
def test_clear_signed(kind: str, micalg: str) -> None:
    entity = signed_clear(CPIM, account(holder(CA, kind)), NOW)
    stated = entity.header("Content-Type") or ""
    assert stated.startswith(f'multipart/signed; protocol="application/pkcs7-signature"; micalg={micalg}; boundary=')
    assert b"x-pkcs7" not in entity.raw
    first, second = split_multipart(entity)
    assert first.content_type.essence == "message/cpim"
    assert second.headers == (
        ("Content-Type", "application/pkcs7-signature; name=smime.p7s"),
        ("Content-Transfer-Encoding", "base64"),
        ("Content-Disposition", "attachment; handling=required; filename=smime.p7s"),
    )
    assert all(len(line) <= 64 for line in second.content.split(b"\r\n"))
    assert signed(second.decoded())["encap_content_info"]["content"].native is None
    assert entity.raw.endswith(b"--\r\n")


@pytest.mark.requirement("SMIME-02", "SMIME-05", "SMIME-07")
@pytest.mark.parametrize("kind", KINDS)
def test_opaque_signed(kind: str) -> None:
    entity = signed_opaque(CPIM, account(holder(CA, kind)), NOW)
    assert entity.headers == (
        ("Content-Type", "application/pkcs7-mime; smime-type=signed-data; name=smime.p7m"),
        ("Content-Transfer-Encoding", "binary"),
        ("Content-Disposition", "attachment; handling=required; filename=smime.p7m"),
    )
    assert protection_of(entity) is Protection.SIGNED
    assert signed(entity.content)["encap_content_info"]["content"].native == CPIM.raw


@pytest.mark.requirement("SMIME-27", "SMIME-39")
def test_the_certificate_goes_along_or_not_and_never_those_above_it() -> None:
    between = Authority("Between", issuer=CA)
    romeo = holder(between)
    assert romeo.chain
    with_one = signed(signed_data(CPIM, account(romeo), NOW))["certificates"]
    assert [each.chosen.dump() for each in with_one] == [romeo.der]
    without = signed(signed_data(CPIM, account(romeo), NOW, with_certificate=False))
    assert without["certificates"].native is None
    (signer,) = without["signer_infos"]
    assert signer["sid"].chosen["serial_number"].native == romeo.certificate.serial_number


@pytest.mark.requirement("SMIME-39")
@pytest.mark.parametrize(("kind", "most", "most_without"), [("p256", 931, 438), ("rsa2048", 1326, 800), ("ed25519", 931, 438)])
def test_sizes(kind: str, most: int, most_without: int) -> None:
    """Of detached signatures over 183 octets; what they had when they were measured with another implementation is the bound."""
    entity = Entity.parse(CPIM.raw + b"!" * 10)
    assert len(entity.raw) == 183
    romeo = account(holder(CA, kind))
    assert len(signed_data(entity, romeo, NOW, detached=True)) <= most
    assert len(signed_data(entity, romeo, NOW, detached=True, with_certificate=False)) <= most_without


@pytest.mark.requirement("SMIME-14")
def test_text_is_made_canonical_before_it_is_signed() -> None:
    message = text_message(ROMEO, JULIET, "Lunch?\nAt one.\n", NOW)
    entity = Entity.compose([("Content-Type", "message/cpim")], message.raw)
    first, _ = split_multipart(signed_clear(entity, account(holder(CA)), NOW))
    assert first.raw.endswith(b"Content-Type: text/plain; charset=utf-8\r\n\r\nLunch?\r\nAt one.\r\n")
    assert b"\n" not in first.raw.replace(b"\r\n", b"")


HEAD = CPIM.raw.partition(b"Content-Type: text/plain")[0]
"""Of a message/cpim, up to what is in it."""


@pytest.mark.requirement("SMIME-14")
@pytest.mark.parametrize(
    "raw",
    [
        HEAD + b"Content-Type: text/plain\n\nLunch?",
        HEAD + b"Content-Type: text/plain\r\n\r\nLunch?\nAt one.",
        HEAD + b"Content-Type: text/plain\r\n\r\nLunch?\rAt one.",
        HEAD + b"\r\nLunch?\n",
        HEAD + b"Content-Language: en\nContent-Type: text/plain\r\n\r\nLunch?",
        HEAD + b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type: text/plain\r\n\r\na\nb\r\n--x--\r\n",
        HEAD + b"Content-Type: multipart/mixed; boundary=x\r\n\r\nno delimiter\n",
        HEAD + b"Content-Type: message/cpim\r\n\r\nno headers\n",
        CPIM.raw.replace(b">\r\nTo", b">\nTo"),
        CPIM.raw.replace(b"message/cpim\r\n", b"message/cpim\n"),
    ],
)
def test_what_is_not_canonical_is_not_signed(raw: bytes) -> None:
    romeo = account(holder(CA))
    for sign in (signed_opaque, signed_clear):
        with pytest.raises(SyntaxFault, match="not in canonical form"):
            sign(Entity.parse(raw), romeo, NOW)


@pytest.mark.requirement("SMIME-22", "E2E-15")
@pytest.mark.parametrize(
    "raw",
    [
        TEXT,
        CPIM.raw.replace(b"DateTime: 2026-01-02T03:04:05Z\r\n", b""),
        CPIM.raw.replace(b"2026-01-02T03:04:05Z", b"yesterday"),
        b"Content-Type: message/cpim\r\n\r\nno headers",
        b"Content-Type: message/cpim\r\nContent-Transfer-Encoding: base64\r\n\r\n=",
        b"Content-Type: message/cpim\r\nContent-Transfer-Encoding: x\r\n\r\nx",
    ],
)
def test_what_has_no_date_is_not_signed(raw: bytes) -> None:
    romeo = account(holder(CA))
    for sign in (signed_opaque, signed_clear):
        with pytest.raises(SyntaxFault, match="does not say when it was written"):
            sign(Entity.parse(raw), romeo, NOW)


@pytest.mark.parametrize(
    "raw",
    [
        b"Content-Type: image/png\r\nContent-Transfer-Encoding: binary\r\n\r\n\x89PNG\r\n\x1a\n\0",
        b"Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\nTHVu\nY2g=\n",
        b"Content-Type: multipart/signed; boundary=x\r\n\r\n--x\r\n\r\nas\nit came\r\n--x--\r\n",
        b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type: image/png\r\n\r\n\n\r\n--x--\r\n",
    ],
)
def test_what_is_no_text_is_canonical_as_it_is(raw: bytes) -> None:
    assert is_canonical(Entity.parse(raw))
    assert openssl_verify(CA, signed_data(Entity.parse(HEAD + raw), account(holder(CA)), NOW)) == HEAD + raw


@settings(deadline=None)
@given(st.binary(max_size=400))
def test_whatever_is_inside_the_boundary_is_not(octets: bytes) -> None:
    entity = Entity.parse(HEAD + b"Content-Type: application/octet-stream\r\n\r\n" + octets)
    romeo = account(holder(CA))
    clear = signed_clear(entity, romeo, NOW)
    boundary = clear.content_type.param("boundary")
    assert boundary
    assert boundary.encode() not in entity.raw
    first, second = split_multipart(clear)
    assert first.raw == entity.raw
    assert attributes_of(second.decoded())["message_digest"] == hashlib.sha256(first.raw).digest()
    assert Entity.parse(clear.raw) == clear
    opaque = signed_opaque(entity, romeo, NOW)
    assert Entity.parse(opaque.raw) == opaque
    assert signed(opaque.content)["encap_content_info"]["content"].native == entity.raw


def test_a_boundary_is_another_one_where_it_would_be_inside() -> None:
    romeo = account(holder(CA))
    boundary = signed_clear(CPIM, romeo, NOW).content_type.param("boundary") or ""
    inside = Entity.parse(CPIM.raw + f"\r\n--{boundary}\r\n".encode())
    again = signed_clear(inside, romeo, NOW)
    assert again.content_type.param("boundary") != boundary
    assert split_multipart(again)[0].raw == inside.raw


@pytest.mark.requirement("SMIME-22")
def test_the_date_of_what_is_composed_is_under_the_signature() -> None:
    message = text_message(ROMEO, JULIET, "Lunch?", NOW)
    entity = signed_opaque(Entity.compose([("Content-Type", "message/cpim")], message.raw), account(holder(CA)), NOW)
    assert b"\r\nDateTime: 2026-01-02T03:04:05Z\r\n" in openssl_verify(CA, entity.content)
    assert attributes_of(entity.content)["signing_time"].timestamp() == NOW
