"""What a hosted account can read, and that nobody learns anything from what it cannot."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from itertools import product
from typing import Any

import pytest
from asn1crypto import cms
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.mime import Entity
from gateway.smime import decryption
from gateway.smime.decryption import Failures, Undecipherable, decrypted, tells_by_failing
from gateway.smime.der import (
    algorithm,
    attribute,
    content_info,
    explicit,
    integer,
    issuer_and_serial,
    octet_string,
    oid,
    sequence,
    set_of,
    tlv,
)
from gateway.smime.encryption import auth_enveloped_data
from gateway.smime.signing import signed_opaque

from .authority import NOW, TEXT, Authority, Holder, cpim, der, openssl_sign, openssl_verify
from .hosted import account, certificate, holder, openssl_encrypt

CA = Authority("Decrypting")
JULIET = {kind: holder(CA, kind, "sip:juliet@xmpp.example", number=2) for kind in ("p256", "rsa2048")}
TOMAS = {kind: holder(CA, kind, "sip:tomas@xmpp.example", number=3) for kind in ("p256", "rsa2048")}
SAID = "The message cannot be decrypted"
DATA, GCM128, CBC128, RSA = "1.2.840.113549.1.7.1", "2.16.840.1.101.3.4.1.6", "2.16.840.1.101.3.4.1.2", "1.2.840.113549.1.1.1"
AUTH_ENVELOPED, ENVELOPED = "1.2.840.113549.1.9.16.1.23", "1.2.840.113549.1.7.3"


def why_not(blob: bytes, to: Holder) -> tuple[str, tuple[Any, ...], Any, Any]:
    """All that a caller can see of a failure."""
    with pytest.raises(Undecipherable) as caught:
        decrypted(blob, account(to))
    return str(caught.value), caught.value.args, caught.value.__cause__, caught.value.__suppress_context__


# -- what others make --------------------------------------------------------------------------------------------------
@pytest.mark.requirement("SMIME-70", "E2E-22")
@pytest.mark.parametrize(
    ("kind", "cipher"),
    # For keys that agree OpenSSL wraps the key of 3DES with 3DES, which nobody needs any more.
    [("rsa2048", "des3"), *product(JULIET, ("aes-128-cbc", "aes-192-cbc", "aes-256-cbc", "aes-128-gcm", "aes-192-gcm", "aes-256-gcm"))],
)
def test_what_openssl_encrypts(kind: str, cipher: str) -> None:
    for content in (TEXT, b"", bytes(range(256)) * 20):
        assert decrypted(openssl_encrypt(JULIET[kind], content, cipher), account(JULIET[kind])) == content


@pytest.mark.parametrize("kind", JULIET)
@pytest.mark.parametrize("cipher", ["aes-128-cbc", "aes-128-gcm"])
def test_key_identifiers_and_streamed_ber(kind: str, cipher: str) -> None:
    for options in (("-keyid",), ("-stream",), ("-keyid", "-stream")):
        blob = openssl_encrypt(JULIET[kind], TEXT * 1000, cipher, *options)
        assert (blob[1:2] == b"\x80") is ("-stream" in options)
        assert decrypted(blob, account(JULIET[kind])) == TEXT * 1000


@pytest.mark.parametrize(
    "options",
    [
        (), ("rsa_oaep_md:sha256",), ("rsa_oaep_md:sha256", "rsa_mgf1_md:sha1"), ("rsa_oaep_md:sha512",), ("rsa_oaep_label:6c6162656c",),
    ],
)  # fmt: skip
def test_oaep(options: tuple[str, ...]) -> None:
    chosen = tuple(each for option in ("rsa_padding_mode:oaep", *options) for each in ("-keyopt", option))
    blob = openssl_encrypt(JULIET["rsa2048"], TEXT, "aes-128-gcm", recipient_options=chosen)
    assert decrypted(blob, account(JULIET["rsa2048"])) == TEXT


@pytest.mark.parametrize("digest", ["sha1", "sha224", "sha256", "sha384", "sha512"])
@pytest.mark.parametrize("cofactor", ["0", "1"])
def test_key_derivations_of_ecdh(digest: str, cofactor: str) -> None:
    chosen = ("-keyopt", f"ecdh_kdf_md:{digest}", "-keyopt", f"ecdh_cofactor_mode:{cofactor}")
    for cipher in ("aes-128-cbc", "aes-256-gcm"):
        blob = openssl_encrypt(JULIET["p256"], TEXT, cipher, recipient_options=chosen)
        assert decrypted(blob, account(JULIET["p256"])) == TEXT


@pytest.mark.requirement("SMIME-20")
def test_both_orders_are_read() -> None:
    romeo, juliet = holder(CA), JULIET["p256"]
    message = cpim("im:romeo@sip.example")
    first_signed = signed_opaque(Entity.parse(message), account(romeo), NOW).raw
    inner = Entity.parse(decrypted(openssl_encrypt(juliet, first_signed, "aes-128-gcm"), account(juliet)))
    assert openssl_verify(CA, inner.content) == message
    head = b"Content-Type: application/pkcs7-mime; smime-type=authEnveloped-data\r\n\r\n"
    last_signed = openssl_sign(romeo, head + openssl_encrypt(juliet, TEXT, "aes-128-gcm"), detached=False)
    assert decrypted(Entity.parse(openssl_verify(CA, last_signed)).content, account(juliet)) == TEXT


# -- authenticated attributes and the length of the check value --------------------------------------------------------
def named(to: Holder) -> bytes:
    return issuer_and_serial(certificate(to).issuer, certificate(to).serial)


def sealed(
    to: Holder,
    content: bytes = TEXT,
    *,
    key: bytes = b"k" * 16,
    attributes: tuple[bytes, ...] = (),
    icv: int = 16,
    stated_icv: int | None = 16,
    nonce: bytes = b"n" * 12,
    wrapped: bytes | None = None,
) -> bytes:
    """An AuthEnvelopedData for an RSA key, with everything that can be wrong."""
    public = to.certificate.public_key()
    assert isinstance(public, rsa.RSAPublicKey)
    sealing = Cipher(algorithms.AES(key), modes.GCM(nonce)).encryptor()
    if attributes:
        sealing.authenticate_additional_data(set_of(*attributes))
    octets = sealing.update(content) + sealing.finalize()
    wrapped = public.encrypt(key, padding.PKCS1v15()) if wrapped is None else wrapped
    info = sequence(
        integer(0), issuer_and_serial(certificate(to).issuer, certificate(to).serial), algorithm(RSA, b"\5\0"), octet_string(wrapped)
    )
    length = integer(stated_icv) if stated_icv is not None else b""
    cipher = algorithm(GCM128, sequence(octet_string(nonce), length))
    authenticated = explicit(1, *sorted(attributes)) if attributes else b""
    mac = octet_string(sealing.tag[:icv])
    fields = (integer(0), set_of(info), sequence(oid(DATA), cipher, tlv(0x80, octets)), authenticated, mac)
    return content_info(AUTH_ENVELOPED, sequence(*fields))


CONTENT_TYPE, SIGNING_TIME = attribute("1.2.840.113549.1.9.3", oid(DATA)), attribute("1.2.840.113549.1.9.5", tlv(0x17, b"260102030405Z"))


@pytest.mark.requirement("SMIME-16")
def test_authenticated_attributes_are_authenticated() -> None:
    juliet = JULIET["rsa2048"]
    blob = sealed(juliet, attributes=(CONTENT_TYPE, SIGNING_TIME))
    assert decrypted(blob, account(juliet)) == TEXT
    assert why_not(blob.replace(b"260102030405Z", b"260102030406Z"), juliet)[0] == SAID
    without = sealed(juliet)
    assert decrypted(without, account(juliet)) == TEXT
    put_in = cms.ContentInfo.load(without)
    put_in["content"]["auth_attrs"] = [{"type": "content_type", "values": ["data"]}]
    assert why_not(put_in.dump(force=True), juliet)[0] == SAID


@pytest.mark.requirement("SMIME-16")
def test_a_vector_of_authenticated_attributes_by_hand() -> None:
    """AAD is the DER of the attributes with the tag of a SET OF, 31, where A1 stands in the object (RFC 5083 section 2.2)."""
    juliet, key = JULIET["rsa2048"], bytes(range(16))
    aad = bytes.fromhex("311a" + "301806092a864886f70d010903310b06092a864886f70d010701")
    octets = AESGCM(key).encrypt(b"n" * 12, TEXT, aad)
    blob = sealed(juliet, key=key, attributes=(CONTENT_TYPE,))
    assert b"\xa1" + aad[1:] in blob
    assert octets[:-16] in blob
    assert octets[-16:] in blob
    assert decrypted(blob, account(juliet)) == TEXT


@pytest.mark.requirement("SMIME-16", "SMIME-17")
@pytest.mark.parametrize(
    ("icv", "stated", "opens"),
    [
        (16, 16, True), (12, 12, True), (13, 13, True), (12, None, True), (11, 11, False), (8, 8, False), (4, 4, False), (0, 0, False),
        (16, 12, False), (12, 16, False), (16, None, False), (11, None, False),
    ],
)  # fmt: skip
def test_the_length_of_the_check_value(icv: int, stated: int | None, opens: bool) -> None:
    juliet = JULIET["rsa2048"]
    blob = sealed(juliet, icv=icv, stated_icv=stated)
    if opens:
        assert decrypted(blob, account(juliet)) == TEXT
    else:
        assert why_not(blob, juliet)[0] == SAID


# -- that nobody learns anything ---------------------------------------------------------------------------------------
def enveloped(to: Holder, wrapped: bytes, octets: bytes) -> bytes:
    info = sequence(
        integer(0), issuer_and_serial(certificate(to).issuer, certificate(to).serial), algorithm(RSA, b"\5\0"), octet_string(wrapped)
    )
    content = sequence(oid(DATA), algorithm(CBC128, octet_string(bytes(16))), tlv(0x80, octets))
    return content_info(ENVELOPED, sequence(integer(0), set_of(info), content))


def wrapped_for(to: Holder, key: bytes) -> bytes:
    public = to.certificate.public_key()
    assert isinstance(public, rsa.RSAPublicKey)
    return public.encrypt(key, padding.PKCS1v15())


def in_blocks(key: bytes, octets: bytes) -> bytes:
    sealing = Cipher(algorithms.AES(key), modes.CBC(bytes(16))).encryptor()
    return sealing.update(octets) + sealing.finalize()


FAULTS: dict[str, Callable[[Holder], bytes]] = {
    "mac": lambda to: sealed(to)[:-1] + b"\0" if sealed(to)[-1] else sealed(to)[:-1] + b"\1",
    "another key": lambda to: sealed(to, key=b"k" * 16, wrapped=wrapped_for(to, b"x" * 16)),
    "PKCS #1 padding": lambda to: sealed(to, wrapped=os.urandom(255) + b"\1"),
    "a key too long": lambda to: sealed(to, wrapped=wrapped_for(to, b"k" * 17)),
    "a key too short": lambda to: sealed(to, wrapped=wrapped_for(to, b"")),
    "RSA octets too short": lambda to: sealed(to, wrapped=b"\1"),
    "RSA octets too great": lambda to: sealed(to, wrapped=b"\xff" * 256),
    "for somebody else": lambda to: sealed(TOMAS["rsa2048"]),
    "padding of the last block": lambda to: enveloped(to, wrapped_for(to, b"k" * 16), in_blocks(b"k" * 16, b"x" * 32)),
    "not whole blocks": lambda to: enveloped(to, wrapped_for(to, b"k" * 16), b"x" * 17),
    "no octets": lambda to: enveloped(to, wrapped_for(to, b"k" * 16), b""),
    "a nonce too short": lambda to: sealed(to).replace(b"\x04\x0c" + b"n" * 12, b"\x04\x0c" + b"n" * 11 + b"m"),
    "no such cipher": lambda to: sealed(to).replace(oid(GCM128), oid("2.16.840.1.101.3.4.1.99"[:-1])),
    "no such method": lambda to: sealed(to).replace(algorithm(RSA, b"\5\0"), algorithm("1.2.840.113549.1.1.9", b"\5\0")),
    "not encrypted": lambda to: openssl_sign(to, TEXT, detached=False),
    "octets behind it": lambda to: sealed(to) + b"\0",
    "half of it": lambda to: sealed(to)[:300],
    "nothing": lambda to: b"",
    "no CMS": lambda to: TEXT,
}


@pytest.mark.requirement("SMIME-72")
@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_gives_the_same_answer(fault: str) -> None:
    juliet = JULIET["rsa2048"]
    assert decrypted(sealed(juliet), account(juliet)) == TEXT
    assert why_not(FAULTS[fault](juliet), juliet) == (SAID, (SAID,), None, True)


@pytest.mark.requirement("SMIME-72")
def test_without_a_good_content_key_the_content_is_decrypted_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is wrong with the key can be told from what is wrong with the content by neither the answer nor the work."""
    seen: list[bytes] = []
    real = decryption._opened

    def watched(data: Any, stated: Any, key: bytes, content: bytes) -> bytes:
        seen.append(key)
        return real(data, stated, key, content)

    monkeypatch.setattr(decryption, "_opened", watched)
    juliet = JULIET["rsa2048"]
    for wrapped in (wrapped_for(juliet, b"x" * 16), wrapped_for(juliet, b"x" * 15), os.urandom(255) + b"\1", b"\xff" * 256, b""):
        blob = sealed(juliet, wrapped=wrapped)
        assert why_not(blob, juliet)[0] == SAID
        assert why_not(blob, juliet)[0] == SAID
    assert [len(key) for key in seen] == [16] * 10
    assert seen[::2] == seen[1::2], "asking twice must not tell one kind of fault from another"
    assert len(set(seen)) == 5


@pytest.mark.requirement("SMIME-72")
def test_the_key_in_place_of_a_bad_one_is_a_secret_of_the_account() -> None:
    one, other = account(JULIET["rsa2048"]), account(TOMAS["rsa2048"])
    assert one.blind != other.blind
    assert one.blind == account(JULIET["rsa2048"]).blind


@pytest.mark.parametrize("change", ["point", "wrapped", "curve"])
def test_faults_of_key_agreement(change: str) -> None:
    juliet = JULIET["p256"]
    blob = auth_enveloped_data(TEXT, [certificate(juliet)])
    info = cms.ContentInfo.load(blob)
    recipient = info["content"]["recipient_infos"][0].chosen
    point = recipient["originator"].chosen["public_key"].native
    new = {
        "point": (point, point[:-1] + bytes((point[-1] ^ 1,))),
        "curve": (point, b"\x04" + bytes(63) + b"\1"),
        "wrapped": (key := recipient["recipient_encrypted_keys"][0]["encrypted_key"].native, key[:-1] + bytes((key[-1] ^ 1,))),
    }[change]
    assert blob.count(new[0]) == 1
    assert why_not(blob.replace(*new), juliet) == (SAID, (SAID,), None, True)


def test_an_account_that_only_signs_reads_nothing() -> None:
    mira = holder(CA, "ed25519", "sip:mira@xmpp.example")
    assert why_not(sealed(JULIET["rsa2048"]), mira)[0] == SAID


@pytest.mark.requirement("SMIME-74")
def test_too_many_recipients() -> None:
    juliet = JULIET["rsa2048"]
    info = cms.ContentInfo.load(sealed(juliet))["content"]["recipient_infos"][0].dump()
    content = cms.ContentInfo.load(sealed(juliet))["content"]
    for count, opens in ((100, True), (101, False)):
        fields = [content[name].dump() for name in ("version", "recipient_infos", "auth_encrypted_content_info", "auth_attrs", "mac")]
        fields[1] = tlv(0x31, *[info] * count)
        blob = content_info(AUTH_ENVELOPED, sequence(*fields))
        assert (why_not(blob, juliet)[0] == SAID) if not opens else decrypted(blob, account(juliet)) is not None


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=300))
def test_no_octets_raise_anything_else(octets: bytes) -> None:
    assert why_not(octets, JULIET["rsa2048"])[0] == SAID


@settings(deadline=None, max_examples=300)
@given(st.integers(0, 700), st.integers(0, 255), st.sampled_from(["rsa2048", "p256"]))
def test_no_change_of_one_octet_raises_anything_else_or_alters_the_content(at: int, octet: int, kind: str) -> None:
    juliet = JULIET[kind]
    blob = bytearray(_SEALED[kind])
    blob[at % len(blob)] = octet
    with suppress(Undecipherable):
        assert decrypted(bytes(blob), account(juliet)) == TEXT


_SEALED = {kind: auth_enveloped_data(TEXT, [certificate(to)]) for kind, to in JULIET.items()}


# -- how often ---------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("SMIME-72")
def test_who_fails_too_often_is_not_served() -> None:
    failures = Failures(most=3, within=60, senders=2)
    for at in (0.0, 10.0, 20.0):
        assert not failures.bars("romeo", at)
        failures.note("romeo", at)
    assert failures.bars("romeo", 20.0)
    assert failures.bars("romeo", 59.9)
    assert not failures.bars("romeo", 60.0)
    assert not failures.bars("mira", 20.0)


def test_failures_take_bounded_memory() -> None:
    failures = Failures(most=1, within=60, senders=2)
    for number, sender in enumerate(["romeo", "mira", "romeo", "tomas"]):
        failures.note(sender, float(number))
    assert [failures.bars(sender, 4.0) for sender in ("romeo", "mira", "tomas")] == [True, False, True]
    for _ in range(5):
        failures.note("romeo", 5.0)
    assert len(failures._times["romeo"]) == 1


@pytest.mark.requirement("SMIME-72", "SMIME-74")
def test_more_recipients_than_are_looked_at_are_counted_and_not_read() -> None:
    romeo = holder(CA)
    blob = openssl_encrypt(romeo, TEXT, "aes-128-cbc")
    info = cms.ContentInfo.load(blob)
    infos = info["content"]["recipient_infos"]
    one = infos[0].dump()
    body = der(0x30, info["content"]["version"].dump() + der(0x31, one * 101) + info["content"]["encrypted_content_info"].dump())
    whole = der(0x30, info["content_type"].dump() + der(0xA0, body))
    assert not tells_by_failing(whole, account(romeo))
    with pytest.raises(Undecipherable):
        decrypted(whole, account(romeo))
    assert tells_by_failing(blob, account(romeo))
