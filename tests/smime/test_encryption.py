"""What the gateway encrypts: OpenSSL opens it, and it is what RFC 8591 asks for."""

from __future__ import annotations

from typing import Any

import pytest
from asn1crypto import cms
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.mime import Entity
from gateway.core.protection import Protection, protection_of
from gateway.smime.decryption import decrypted
from gateway.smime.encryption import auth_enveloped_data, encrypted
from gateway.smime.fitness import may_receive
from gateway.smime.signing import signed_opaque

from .authority import AGREES, ENCIPHERS, NOW, SIGNS, TEXT, Authority, Holder, cpim, openssl_verify
from .hosted import account, certificate, holder, openssl_decrypt

CA = Authority("Encrypting")
JULIET = {kind: holder(CA, kind, "sip:juliet@xmpp.example", number=1) for kind in ("p256", "rsa2048")}
CPIM = Entity.parse(cpim("im:romeo@sip.example"))


def data_of(blob: bytes) -> Any:
    info = cms.ContentInfo.load(blob, strict=True)
    assert info["content_type"].native == "authenticated_enveloped_data"
    return info["content"]


@pytest.mark.requirement("SMIME-70", "E2E-22")
@pytest.mark.parametrize("kind", JULIET)
@pytest.mark.parametrize("content", [TEXT, b"", b"\0\r\n\n\r\xff\xfe", bytes(60_000)])
def test_openssl_opens_it(kind: str, content: bytes) -> None:
    assert openssl_decrypt(JULIET[kind], auth_enveloped_data(content, [certificate(JULIET[kind])])) == content


def test_each_of_several_recipients_can_open_it() -> None:
    blob = auth_enveloped_data(TEXT, [certificate(each) for each in JULIET.values()])
    for each in JULIET.values():
        assert openssl_decrypt(each, blob) == TEXT
        assert decrypted(blob, account(each)) == TEXT


@pytest.mark.requirement("E2E-22")
def test_algorithms_are_those_of_rfc_8591() -> None:
    """AES-128-GCM; ECDH with the X9.63 KDF on SHA-256 and AES-128 wrap; RSA PKCS #1 v1.5 (RFC 8551 section 2.3)."""
    data = data_of(auth_enveloped_data(TEXT, [certificate(JULIET["p256"])]))
    assert data["version"].native == "v0"
    assert data["auth_encrypted_content_info"]["content_encryption_algorithm"]["algorithm"].native == "aes128_gcm"
    assert data["auth_attrs"].native is None
    (info,) = data["recipient_infos"]
    assert info.name == "kari"
    assert info.chosen["key_encryption_algorithm"].dump().hex() == "301506062b8104010b01300b0609608648016503040105"
    (info,) = data_of(auth_enveloped_data(TEXT, [certificate(JULIET["rsa2048"])]))["recipient_infos"]
    assert info.chosen["key_encryption_algorithm"].dump().hex() == "300d06092a864886f70d0101010500"


@pytest.mark.requirement("SMIME-17")
def test_key_and_nonce_are_never_used_twice() -> None:
    octets = [auth_enveloped_data(TEXT, [certificate(JULIET["p256"])]) for _ in range(50)]
    sealed = [data_of(each)["auth_encrypted_content_info"] for each in octets]
    nonces = {each["content_encryption_algorithm"]["parameters"].contents[2:14] for each in sealed}
    assert len(nonces) == 50
    assert {len(each) for each in nonces} == {12}
    assert len({each["encrypted_content"].native for each in sealed}) == 50
    assert {len(data_of(each)["mac"].native) for each in octets} == {16}
    keys = {data_of(each)["recipient_infos"][0].chosen["originator"].chosen["public_key"].native for each in octets}
    assert len(keys) == 50


@pytest.mark.requirement("SMIME-06")
@pytest.mark.parametrize(("spelling", "smime_type"), [("rfc8551", "authEnveloped-data"), ("rfc8591", "auth-enveloped-data")])
def test_how_it_is_labelled_is_chosen(spelling: str, smime_type: str) -> None:
    entity = encrypted(CPIM, [certificate(JULIET["p256"])], spelling)
    assert entity.headers == (
        ("Content-Type", f"application/pkcs7-mime; smime-type={smime_type}; name=smime.p7m"),
        ("Content-Transfer-Encoding", "binary"),
        ("Content-Disposition", "attachment; handling=required; filename=smime.p7m"),
    )
    assert protection_of(entity) is Protection.ENCRYPTED
    assert openssl_decrypt(JULIET["p256"], entity.content) == CPIM.raw


@pytest.mark.requirement("SMIME-20")
def test_what_is_signed_first_is_found_signed_inside() -> None:
    romeo = account(holder(CA))
    both = encrypted(signed_opaque(CPIM, romeo, NOW), [certificate(JULIET["p256"])])
    inner = Entity.parse(openssl_decrypt(JULIET["p256"], both.content))
    assert protection_of(inner) is Protection.SIGNED
    assert openssl_verify(CA, inner.content) == CPIM.raw


@pytest.mark.requirement("SMIME-39")
@pytest.mark.parametrize(("kind", "most"), [("p256", 477), ("rsa2048", 608)])
def test_sizes(kind: str, most: int) -> None:
    """Of 183 octets; what they had when they were measured with another implementation is the bound."""
    assert len(auth_enveloped_data(bytes(183), [certificate(JULIET[kind])])) <= most


@pytest.mark.requirement("SMIME-28")
@pytest.mark.parametrize(
    ("of", "may"),
    [
        (CA.issue("sip:juliet@xmpp.example", kind="p256", usages=AGREES), True),
        (CA.issue("sip:juliet@xmpp.example", kind="p256", usages=None, uses=None), True),
        (CA.issue("sip:juliet@xmpp.example", kind="p256", usages=SIGNS), False),
        (CA.issue("sip:juliet@xmpp.example", kind="rsa2048", usages=ENCIPHERS), True),
        (CA.issue("sip:juliet@xmpp.example", kind="rsa2048", usages=SIGNS), False),
        (CA.issue("sip:juliet@xmpp.example", kind="rsa2048", usages=AGREES), False),
        (CA.issue("sip:juliet@xmpp.example", kind="rsa1024", usages=ENCIPHERS), False),
        (CA.issue("sip:juliet@xmpp.example", kind="p384", usages=AGREES), False),
        (CA.issue("sip:juliet@xmpp.example", kind="ed25519", usages=None), False),
    ],
)
def test_only_certificates_that_are_good_for_it_are_encrypted_for(of: Holder, may: bool) -> None:
    assert may_receive(certificate(of)) is may
    if not may:
        with pytest.raises(ValueError, match="none to encrypt for"):
            auth_enveloped_data(TEXT, [certificate(of)])


def test_nobody_to_encrypt_for() -> None:
    with pytest.raises(ValueError, match="nobody"):
        auth_enveloped_data(TEXT, [])


@settings(deadline=None)
@given(st.binary(max_size=2000), st.sampled_from(sorted(JULIET)))
def test_any_octets_come_back(octets: bytes, kind: str) -> None:
    assert decrypted(auth_enveloped_data(octets, [certificate(JULIET[kind])]), account(JULIET[kind])) == octets
