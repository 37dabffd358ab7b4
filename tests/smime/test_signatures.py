"""Whether a signature holds, by every algorithm that is taken; OpenSSL made half of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from asn1crypto import algos, cms
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa, x25519
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

from gateway.core.verdict import Status
from gateway.smime.cms import SignedData
from gateway.smime.oids import DATA
from gateway.smime.signatures import Finding, check, names_other_digest

from .authority import TEXT, Attributes, Authority, Holder, key, openssl_sign, raw_signature, sign

CA = Authority("Root")


def holder(kind: str) -> Holder:
    return CA.issue("sip:romeo@sip.example", kind=kind, number=20)


def found(blob: bytes, mine: Holder | PublicKeyTypes, content: bytes = TEXT) -> Finding:
    read = SignedData.parse(blob)
    public = mine.key.public_key() if isinstance(mine, Holder) else mine
    return check(read.signers[0], content if read.content is None else read.content, read.content_type, public)


def status(blob: bytes, mine: Holder | PublicKeyTypes, content: bytes = TEXT) -> Status:
    return found(blob, mine, content).status


# -- algorithms --------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("SMIME-70", "E2E-22")
@pytest.mark.parametrize(
    ("kind", "digest", "options", "expected"),
    [
        ("rsa2048", "sha256", {}, Status.VALID),
        ("rsa2048", "sha384", {}, Status.VALID),
        ("rsa2048", "sha512", {}, Status.VALID),
        ("rsa2048", "sha256", {"pss": True}, Status.VALID),
        ("rsa2048", "sha512", {"pss": True}, Status.VALID),
        ("p256", "sha256", {}, Status.VALID),
        ("p384", "sha384", {}, Status.VALID),
        ("p521", "sha512", {}, Status.VALID),
        ("ed25519", "sha512", {}, Status.VALID),
        ("rsa2048", "sha1", {}, Status.WEAK),
        ("rsa2048", "sha1", {"pss": True}, Status.WEAK),
        ("p256", "sha1", {}, Status.WEAK),
        ("rsa1024", "sha256", {}, Status.WEAK),
        ("rsa2048", "md5", {}, Status.INVALID),
        ("rsa2048", "sha224", {}, Status.INVALID),
        ("ed25519", "sha256", {}, Status.INVALID),
    ],
)
@pytest.mark.parametrize("layout", [{}, {"attributes": False}, {"by_key": True}, {"detached": False}])
def test_what_is_taken(kind: str, digest: str, options: dict[str, Any], expected: Status, layout: dict[str, Any]) -> None:
    mine = holder(kind)
    blob = sign(mine, TEXT, digest=digest, **options, **layout)
    assert status(blob, mine) is expected
    assert status(blob, CA.issue(kind=kind, number=21)) is Status.INVALID
    if "detached" not in layout:
        assert status(blob, mine, TEXT + b" ") is Status.INVALID


@pytest.mark.requirement("SMIME-13", "SMIME-70")
@pytest.mark.parametrize(("kind", "pss"), [("rsa2048", False), ("rsa2048", True), ("p256", False), ("p384", False)])
@pytest.mark.parametrize("attributes", [True, False])
@pytest.mark.parametrize("digest", ["sha256", "sha1"])
def test_what_openssl_signs_holds(kind: str, pss: bool, attributes: bool, digest: str) -> None:
    mine = holder(kind)
    blob = openssl_sign(mine, TEXT, pss=pss, attributes=attributes, digest=digest)
    assert status(blob, mine) is (Status.VALID if digest == "sha256" else Status.WEAK)
    assert status(blob, mine, TEXT.replace(b"L", b"l")) is Status.INVALID


@pytest.mark.requirement("SMIME-12")
def test_ber_and_der_have_the_same_content_and_the_same_digest() -> None:
    mine, content = holder("p256"), TEXT * 500
    for streamed in (True, False):
        blob = openssl_sign(mine, content, detached=False, streamed=streamed)
        assert SignedData.parse(blob).content == content
        assert status(blob, mine) is Status.VALID


@pytest.mark.requirement("SMIME-28", "SMIME-74")
def test_keys_that_are_not_taken() -> None:
    mine = holder("rsa2048")
    blob, elliptic = sign(mine, TEXT), sign(holder("p256"), TEXT)
    small = rsa.RSAPublicNumbers(65537, (1 << 1022) + 1).public_key()
    huge = rsa.RSAPublicNumbers(65537, (1 << 8192) + 1).public_key()
    for bits, public in ((1023, small), (8193, huge)):
        assert found(blob, public) == Finding(Status.INVALID, f"an RSA key of {bits} bits is not taken")
    other_curve = ec.generate_private_key(ec.SECP256K1()).public_key()
    strangers: list[tuple[bytes, Holder | PublicKeyTypes]] = [
        (elliptic, other_curve), (blob, x25519.X25519PrivateKey.generate().public_key()), (elliptic, mine)
    ]  # fmt: skip
    for octets, stranger in strangers:
        assert status(octets, stranger) is Status.INVALID


@pytest.mark.requirement("SMIME-28")
def test_dsa_is_not_taken() -> None:
    numbers = dsa.DSAPublicNumbers(4, dsa.DSAParameterNumbers((1 << 1023) + 1, (1 << 159) + 1, 2))
    blob = sign(holder("rsa2048"), TEXT, forced={"signature_algorithm": {"algorithm": "sha256_dsa"}})
    assert "not taken" in found(blob, holder("rsa2048")).detail
    assert status(blob, numbers.public_key()) is Status.INVALID


@pytest.mark.parametrize(
    "parameters",
    [
        {"hash_algorithm": {"algorithm": "md5"}},
        {"mask_gen_algorithm": {"algorithm": "mgf1", "parameters": {"algorithm": "md5"}}},
        {"salt_length": 31},
        {"salt_length": 10**9},
        {"hash_algorithm": {"algorithm": "sha512"}},
        {"salt_length": -1},
    ],
)
def test_other_parameters_of_pss_do_not_hold(parameters: dict[str, Any]) -> None:
    mine = holder("rsa2048")
    stated = {
        "hash_algorithm": {"algorithm": "sha256"},
        "mask_gen_algorithm": {"algorithm": "mgf1", "parameters": {"algorithm": "sha256"}},
        "salt_length": 32,
    }
    for values, expected in ((stated, Status.VALID), (stated | parameters, Status.INVALID)):
        algorithm = {"algorithm": "rsassa_pss", "parameters": algos.RSASSAPSSParams(values)}
        assert status(sign(mine, TEXT, pss=True, forced={"signature_algorithm": algorithm}), mine) is expected


def test_pss_without_parameters_is_sha1() -> None:
    mine = holder("rsa2048")
    blob = sign(mine, TEXT, pss=True, forced={"signature_algorithm": {"algorithm": "rsassa_pss"}})
    assert SignedData.parse(blob).signers[0].pss == SignedData.parse(sign(mine, TEXT, pss=True, digest="sha1")).signers[0].pss
    assert status(blob, mine) is Status.INVALID


@pytest.mark.parametrize("algorithm", ["sha256_rsa", "rsassa_pkcs1v15"])
def test_rsa_may_name_its_digest_or_not(algorithm: str) -> None:
    mine = holder("rsa2048")
    assert status(sign(mine, TEXT, forced={"signature_algorithm": {"algorithm": algorithm}}), mine) is Status.VALID
    assert status(sign(mine, TEXT, forced={"signature_algorithm": {"algorithm": "sha512_rsa"}}), mine) is Status.INVALID


@pytest.mark.parametrize(("kind", "algorithm"), [("rsa2048", "sha512_rsa"), ("p256", "sha512_ecdsa")])
def test_the_attributes_may_be_signed_by_another_digest_than_the_content(kind: str, algorithm: str) -> None:
    mine = holder(kind)
    attributes = SignedData.parse(sign(mine, TEXT)).signers[0].attributes
    assert attributes is not None
    forced = {"signature_algorithm": {"algorithm": algorithm}, "signature": raw_signature(mine.key, attributes.octets, "sha512", False)[1]}
    assert status(sign(mine, TEXT, forced=forced), mine) is Status.VALID


def test_why_it_does_not_hold() -> None:
    mine = holder("p256")
    assert found(sign(mine, TEXT), mine, b"") == Finding(Status.INVALID, "the content is not what was signed")
    assert found(sign(mine, TEXT, attributes=False), mine, b"") == Finding(Status.INVALID, "the signature does not hold")
    assert found(sign(mine, TEXT, forced={"signature": b""}), mine) == Finding(Status.INVALID, "the signature does not hold")
    assert "sha1" in found(sign(mine, TEXT, digest="sha1"), mine).detail
    assert "1024" in found(sign(holder("rsa1024"), TEXT), holder("rsa1024")).detail


# -- signed attributes -------------------------------------------------------------------------------------------------
@pytest.mark.requirement("SMIME-13")
def test_the_attributes_are_about_this_content() -> None:
    mine = holder("p256")

    def with_value(name: str, value: object) -> Callable[[Attributes], Attributes]:
        return lambda attributes: [each | {"values": [value]} if each["type"] == name else each for each in attributes]

    assert status(sign(mine, TEXT, change=with_value("message_digest", b"\x00" * 32)), mine) is Status.INVALID
    assert status(sign(mine, TEXT, change=with_value("content_type", "signed_data")), mine) is Status.INVALID
    assert status(sign(mine, TEXT, content_type="1.2.840.113549.1.9.16.1.1"), mine) is Status.INVALID


@pytest.mark.requirement("SMIME-13")
def test_the_signature_is_over_a_set_and_not_over_what_is_in_the_object() -> None:
    """The tag is replaced: [0] stands in the object, SET OF is signed."""
    mine = holder("p256")
    signed = cms.ContentInfo.load(sign(mine, TEXT))
    info = signed["content"]["signer_infos"][0]
    octets = info["signed_attrs"].dump()
    assert octets[0] == 0xA0
    info["signature"] = raw_signature(mine.key, octets, "sha256", pss=False)[1]
    assert status(signed.dump(force=True), mine) is Status.INVALID


@pytest.mark.requirement("SMIME-13")
def test_signed_attributes_do_not_pass_for_content() -> None:
    """What was signed as attributes, presented as the content of a signature without any."""
    mine = holder("p256")
    first = SignedData.parse(sign(mine, TEXT)).signers[0]
    assert first.attributes is not None
    blob = sign(mine, first.attributes.octets, attributes=False, forced={"signature": first.signature})
    assert found(blob, mine, first.attributes.octets) == Finding(Status.INVALID, "the content is signed attributes")
    other = b"1 is a name that may begin like a set: x\r\n\r\n"
    assert status(sign(mine, other, attributes=False), mine, other) is Status.VALID


def test_attributes_that_were_sent_in_another_order_than_signed() -> None:
    mine = holder("p256")
    read = SignedData.parse(sign(mine, TEXT)).signers[0]
    assert read.attributes is not None
    for octets, in_order in ((b"\x31\x00", read.attributes.octets), (read.attributes.octets, b"\x31\x00")):
        signer = replace(read, attributes=replace(read.attributes, octets=octets, sorted=in_order))
        assert check(signer, TEXT, DATA, mine.key.public_key()).status is Status.VALID
    signer = replace(read, attributes=replace(read.attributes, octets=b"\x31\x00", sorted=b"\x31\x00"))
    assert check(signer, TEXT, DATA, mine.key.public_key()).status is Status.INVALID


# -- micalg ------------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("SMIME-03")
@pytest.mark.parametrize(
    ("micalg", "digest", "is_other"),
    [
        ("sha-256", "sha256", False), ("SHA256", "sha256", False), ("sha-384,sha-256", "sha256", False), ("sha1, sha-512", "sha512", False),
        ("rsa-sha1", "sha1", False), ("unknown", "sha256", False), ("x-mine, sha-1", "sha256", False), ("", "sha256", False),
        ("sha-512", "sha256", True), ("sha1", "sha256", True), ("md5", "sha256", True), ("sha1,sha-384", "sha512", True),
    ],
)  # fmt: skip
def test_micalg_is_held_against_the_signature_where_it_says_something(micalg: str, digest: str, is_other: bool) -> None:
    signer = SignedData.parse(sign(holder("rsa2048"), TEXT, digest=digest)).signers[0]
    assert names_other_digest(micalg, signer) is is_other


def test_keys_are_made_once() -> None:
    assert key("p256", 20) is key("p256", 20) is not key("p256", 21)
