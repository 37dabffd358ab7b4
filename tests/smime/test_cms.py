"""SignedData as values, however it was written."""

from __future__ import annotations

import contextlib
import hashlib
from typing import Any

import pytest
from asn1crypto import cms
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.smime.asn1 import CmsFault
from gateway.smime.cms import Kind, Pss, SignedData, kind_of
from gateway.smime.oids import DATA

from .authority import NOW, TEXT, Attributes, Authority, der, openssl, openssl_sign, sign

CA = Authority("Root")
ROMEO = CA.issue("sip:romeo@sip.example")
RSA = CA.issue("sip:romeo@sip.example", kind="rsa2048")
SKI = SignedData.parse(sign(ROMEO, TEXT, by_key=True)).signers[0].sid.key_id


def test_what_a_signature_holds() -> None:
    read = SignedData.parse(sign(ROMEO, TEXT))
    (signer,) = read.signers
    assert (read.content_type, read.content, read.certificates) == (DATA, None, (ROMEO.der,))
    assert (signer.sid.serial, signer.sid.issuer) == (ROMEO.certificate.serial_number, CA.certificate.subject.public_bytes())
    assert (signer.digest, signer.algorithm, signer.pss) == ("sha256", "sha256_ecdsa", None)
    assert signer.attributes is not None
    assert signer.attributes.message_digest == hashlib.sha256(TEXT).digest()
    assert (signer.attributes.content_type, signer.attributes.signed_at) == (DATA, NOW)
    assert signer.attributes.octets.startswith(b"\x31")


def test_what_may_be_otherwise() -> None:
    assert SignedData.parse(sign(ROMEO, TEXT, detached=False)).content == TEXT
    assert SignedData.parse(sign(ROMEO, b"", detached=False)).content == b""
    assert SignedData.parse(sign(ROMEO, TEXT, attributes=False)).signers[0].attributes is None
    assert SignedData.parse(sign(ROMEO, TEXT, certificates=False)).certificates == ()
    assert len(SKI) == 20
    without = SignedData.parse(sign(ROMEO, TEXT, signed_at=None)).signers[0].attributes
    assert without is not None
    assert without.signed_at is None
    assert SignedData.parse(sign(RSA, TEXT, pss=True, digest="sha384")).signers[0].pss == Pss("sha384", "sha384", 48)


@pytest.mark.requirement("SMIME-12", "SMIME-70")
@pytest.mark.parametrize("streamed", [True, False])
def test_ber_and_der_of_openssl_say_the_same(streamed: bool) -> None:
    read = SignedData.parse(openssl_sign(RSA, TEXT * 300, detached=False, streamed=streamed, digest="sha512"))
    assert read.content == TEXT * 300
    assert (read.signers[0].digest, read.signers[0].algorithm) == ("sha512", "rsassa_pkcs1v15")


def test_a_signer_may_say_much_more_than_is_read(tmp_path: Any) -> None:
    (tmp_path / "signer.pem").write_bytes(ROMEO.pem_with_key)
    blob = openssl("cms", "-sign", "-cades", "-signer", tmp_path / "signer.pem", "-outform", "DER", "-binary", given=TEXT)
    assert SignedData.parse(blob).signers[0].attributes is not None


@pytest.mark.requirement("SMIME-06")
@pytest.mark.parametrize("kind", [kind for kind in Kind if kind.value])
def test_the_object_identifier_says_what_it_is(kind: Kind) -> None:
    identifier = cms.ContentType.map(kind.value)
    octets = cms.ObjectIdentifier(kind.value).dump() + b"\xa0\x02\x05\x00"
    assert identifier
    assert kind_of(der(0x30, octets)) is kind_of(b"\x30\x80" + octets + b"\x00\x00") is kind
    assert kind.is_encrypted == (kind in (Kind.ENVELOPED, Kind.AUTH_ENVELOPED))
    if kind is not Kind.SIGNED:
        with pytest.raises(CmsFault, match="without a signature"):
            SignedData.parse(der(0x30, octets))


def test_other_objects_are_told_and_garbage_is_none() -> None:
    assert kind_of(der(0x30, b"\x06\x03\x2a\x03\x04")) is Kind.OTHER
    for octets in (b"", b"MIME", b"\x30\x00", b"\x30\x02\x05\x00", b"\x04\x02\x06\x00"):
        with pytest.raises(CmsFault):
            kind_of(octets)


# -- signed attributes -------------------------------------------------------------------------------------------------
@pytest.mark.requirement("SMIME-13")
@pytest.mark.parametrize("name", ["content_type", "message_digest"])
@pytest.mark.parametrize("change", ["left out", "twice", "two values"])
def test_the_two_attributes_stand_once_each_with_one_value(name: str, change: str) -> None:
    def changed(attributes: Attributes) -> Attributes:
        others, mine = [each for each in attributes if each["type"] != name], next(each for each in attributes if each["type"] == name)
        if change == "left out":
            return others
        return [*attributes, mine] if change == "twice" else [*others, {"type": name, "values": mine["values"] * 2}]

    with pytest.raises(CmsFault, match="signed attributes"):
        SignedData.parse(sign(ROMEO, TEXT, change=changed))


def test_attributes_in_another_order_are_kept_and_sorted_beside() -> None:
    signed = cms.ContentInfo.load(sign(ROMEO, TEXT))
    info = signed["content"]["signer_infos"][0]
    octets = info["signed_attrs"].dump()
    there = SignedData.parse(signed.dump()).signers[0].attributes
    assert there is not None
    assert sorted(there.octets) == sorted(there.sorted) == sorted(b"\x31" + octets[1:])


# -- bounds ------------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("SMIME-09", "SMIME-74")
def test_twenty_certificates_and_no_more() -> None:
    many = [CA.issue("sip:romeo@sip.example").certificate for _ in range(21)]
    read = SignedData.parse(sign(ROMEO, TEXT, certificates=many[:20]))
    assert set(read.certificates) == {each.public_bytes(Encoding.DER) for each in many[:20]}
    with pytest.raises(CmsFault, match="certificates"):
        SignedData.parse(sign(ROMEO, TEXT, certificates=many))


BLOBS = [sign(ROMEO, TEXT), sign(RSA, TEXT, detached=False, pss=True, by_key=True), sign(ROMEO, TEXT, attributes=False)]


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_an_object_with_octets_changed_is_read_or_a_fault(data: st.DataObject) -> None:
    octets = bytearray(data.draw(st.sampled_from(BLOBS)))
    for _ in range(data.draw(st.integers(1, 4))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    octets = octets[: data.draw(st.integers(len(octets) - 3, len(octets)))]
    with contextlib.suppress(CmsFault):
        SignedData.parse(bytes(octets))


def test_every_single_octet_changed() -> None:
    """All places, the values that change a tag or a length most."""
    for blob in BLOBS:
        for at in range(len(blob)):
            for value in (0x80, blob[at] ^ 0x20):
                with contextlib.suppress(CmsFault):
                    SignedData.parse(blob[:at] + bytes((value,)) + blob[at + 1 :])
