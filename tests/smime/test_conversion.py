"""Other containers around the same signed octets: OpenSSL, which knows nothing of it, says whether the signatures still hold."""

from __future__ import annotations

from subprocess import CalledProcessError
from typing import Any

import pytest
from asn1crypto import cms
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.mime import Entity, split_multipart
from gateway.core.protection import Protection, protection_of
from gateway.smime.conversion import to_clear, to_opaque, trimmed, with_text_signature
from gateway.smime.der import octet_string

from .authority import TEXT, Authority, clear_signed, cpim, opaque, openssl_sign, openssl_verify, sign
from .hosted import ROMEO

CA = Authority("Converting")
WHO = {kind: CA.issue(*ROMEO, kind=kind) for kind in ("p256", "rsa2048", "ed25519")}
AWKWARD = [
    TEXT, cpim(ROMEO[1]), TEXT + b"\nLF\rCR\0\xff\xfe", b"\r\n", TEXT + b" \t\r\n \r\n", TEXT + bytes(range(256)), TEXT + b"x" * 60_000,
]  # fmt: skip
FORMS: dict[str, dict[str, Any]] = {
    "RSA": {"holders": WHO["rsa2048"]},
    "RSA-PSS": {"holders": WHO["rsa2048"], "pss": True},
    "ECDSA": {"holders": WHO["p256"]},
    "Ed25519": {"holders": WHO["ed25519"]},
    "without attributes": {"holders": WHO["p256"], "attributes": False},
    "by key identifier": {"holders": WHO["p256"], "by_key": True},
    "two signers": {"holders": [WHO["p256"], WHO["rsa2048"]]},
    "SHA-384": {"holders": WHO["p256"], "digest": "sha384"},
}


def signers_in(blob: bytes) -> list[bytes]:
    return [each.dump() for each in cms.ContentInfo.load(blob)["content"]["signer_infos"]]


def stripped(blob: bytes) -> bytes:
    """The same without eContent, written by another library."""
    info = cms.ContentInfo.load(blob)
    info["content"]["encap_content_info"] = {"content_type": "data"}
    return bytes(info.dump(force=True))


# -- D -----------------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("SMIME-60")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("covered", AWKWARD)
def test_detached_to_opaque(form: str, covered: bytes) -> None:
    blob = sign(content=covered, **FORMS[form])
    converted = to_opaque(clear_signed(covered, blob))
    assert converted
    assert protection_of(converted) is Protection.SIGNED
    assert converted.header("Content-Transfer-Encoding") == "base64"
    new = converted.decoded()
    assert signers_in(new) == signers_in(blob)
    assert cms.ContentInfo.load(new, strict=True)["content"]["encap_content_info"]["content"].native == covered
    assert stripped(new) == blob
    if form != "Ed25519":
        assert openssl_verify(CA, new) == covered
    again = to_clear(converted)
    assert again
    first, second = split_multipart(again)
    assert (first.raw, second.decoded()) == (covered, blob)


@pytest.mark.requirement("SMIME-60")
@pytest.mark.parametrize("options", [{}, {"pss": True}, {"attributes": False}, {"by_key": True}, {"certificates": False}])
def test_detached_to_opaque_of_what_openssl_signs(options: dict[str, bool]) -> None:
    blob = openssl_sign(WHO["rsa2048"], TEXT, **options)  # type: ignore[arg-type]
    converted = to_opaque(clear_signed(TEXT, blob))
    assert converted
    assert signers_in(converted.decoded()) == signers_in(blob)
    assert stripped(converted.decoded()) == blob
    if options != {"certificates": False}:
        assert openssl_verify(CA, converted.decoded()) == TEXT


@pytest.mark.requirement("SMIME-61")
@pytest.mark.parametrize("form", FORMS)
def test_what_is_damaged_is_not_made_opaque(form: str) -> None:
    blob = sign(content=TEXT, **FORMS[form])
    assert to_opaque(clear_signed(TEXT, blob))
    for damaged in (TEXT + b"!", TEXT.replace(b"\r\n", b"\n"), b""):
        assert to_opaque(clear_signed(damaged, blob)) is None


@pytest.mark.requirement("SMIME-61")
def test_one_damaged_signature_of_two_is_enough() -> None:
    one, other = sign(WHO["p256"], TEXT), sign(WHO["rsa2048"], TEXT + b"!")
    info, second = cms.ContentInfo.load(one), cms.ContentInfo.load(other)
    info["content"]["signer_infos"] = [*info["content"]["signer_infos"], *second["content"]["signer_infos"]]
    assert to_opaque(clear_signed(TEXT, info.dump(force=True))) is None


@pytest.mark.parametrize(
    "blob",
    [
        b"", b"\x30\x00", b"text", sign(WHO["p256"], TEXT, detached=False), openssl_sign(WHO["p256"], TEXT, streamed=True, detached=False),
        sign([], TEXT), sign(WHO["p256"], TEXT, attributes=False, certificates=False), sign(WHO["p256"], TEXT) + b"\0",
    ],
)  # fmt: skip
def test_what_cannot_be_made_opaque(blob: bytes) -> None:
    """Nothing that can be read, content where none belongs, nobody who signed, or no way to say whether the signature holds."""
    assert to_opaque(clear_signed(TEXT, blob)) is None


def test_lengths_that_could_not_be_had_back() -> None:
    blob = sign(WHO["p256"], TEXT)
    assert blob[:2] == b"\x30\x82"
    assert to_opaque(clear_signed(TEXT, b"\x30\x83\0" + blob[2:])) is None


@pytest.mark.requirement("SMIME-60", "SMIME-62")
def test_other_headers_of_the_container_go_along() -> None:
    entity = clear_signed(TEXT, sign(WHO["p256"], TEXT))
    entity = Entity.compose([("Content-ID", "<1@xmpp.example>"), *entity.headers, ("Content-Disposition", "render")], entity.content)
    converted = to_opaque(entity)
    assert converted
    assert [name for name, _ in converted.headers] == ["Content-ID", "Content-Type", "Content-Transfer-Encoding", "Content-Disposition"]
    again = to_clear(converted)
    assert again
    assert [name for name, _ in again.headers] == ["Content-ID", "Content-Type"]


# -- and back ----------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("SMIME-62")
@pytest.mark.parametrize("covered", AWKWARD)
@pytest.mark.parametrize("streamed", [False, True])
def test_opaque_to_clear(covered: bytes, streamed: bool) -> None:
    """DER, and BER whose content comes in pieces."""
    blob = openssl_sign(WHO["rsa2048"], covered, detached=False, streamed=streamed)
    converted = to_clear(opaque(blob, base64_encoded=streamed))
    assert converted
    first, second = split_multipart(converted)
    assert first.raw == covered
    assert signers_in(second.decoded()) == signers_in(blob)
    assert openssl_verify(CA, second.decoded(), covered) == covered
    assert (converted.content_type.param("boundary") or "").encode() not in covered
    assert (converted.header("Content-Type") or "").startswith('multipart/signed; protocol="application/pkcs7-signature"; micalg=sha-256;')


@pytest.mark.requirement("SMIME-03", "SMIME-62")
def test_micalg_of_several_signers() -> None:
    both = sign([WHO["p256"], WHO["ed25519"]], TEXT, detached=False)
    converted = to_clear(opaque(both))
    assert converted
    assert converted.content_type.param("micalg") == "sha-256,sha-512"


@pytest.mark.requirement("SMIME-62")
def test_a_boundary_inside_the_content_is_not_taken() -> None:
    boundary = to_clear(opaque(sign(WHO["p256"], TEXT, detached=False)))
    assert boundary
    chosen = (boundary.content_type.param("boundary") or "").encode()
    covered = b"\r\n--" + chosen + b"--\r\n"
    again = to_clear(opaque(sign(WHO["p256"], covered, detached=False)))
    assert again
    assert split_multipart(again)[0].raw == covered


@pytest.mark.parametrize(
    "blob",
    [
        b"", b"x", sign(WHO["p256"], TEXT), sign([], TEXT, detached=False),
        sign(WHO["p256"], TEXT, detached=False).replace(octet_string(TEXT), octet_string(TEXT[:-1] + b"!")),
    ],
)  # fmt: skip
def test_what_cannot_be_made_clear(blob: bytes) -> None:
    assert to_clear(opaque(blob)) is None


# -- C and B0 ----------------------------------------------------------------------------------------------------------
def binary(covered: bytes, blob: bytes, *, before: bytes = b"", after: bytes = b"", close: bytes = b"\r\n--b7--\r\n") -> Entity:
    head = (
        b"Content-Type: application/pkcs7-signature; name=smime.p7s\r\nContent-Transfer-Encoding: binary\r\nContent-Description: x\r\n\r\n"
    )
    octets = b"%b--b7\r\n%b\r\n--b7 \t\r\n%b%b%b%b" % (before, covered, head, blob, close, after)
    kind = b'Content-Type: multipart/signed;\r\n protocol="application/pkcs7-signature";\r\n micalg=sha-256; boundary=b7\r\n\r\n'
    return Entity.parse(kind + octets)


@pytest.mark.requirement("SMIME-33", "SMIME-11")
@pytest.mark.parametrize("covered", AWKWARD)
def test_only_the_signature_becomes_text(covered: bytes) -> None:
    blob = sign(WHO["p256"], covered)
    for close, after in ((b"\r\n--b7--\r\n", b"\0"), (b"\r\n--b7--", b""), (b"", b"")):
        entity = binary(covered, blob, before=b"preamble\r\n", close=close, after=after)
        converted = with_text_signature(entity)
        assert converted
        first, second = split_multipart(converted)
        assert first.raw == covered
        assert second.headers == (
            ("Content-Type", "application/pkcs7-signature; name=smime.p7s"), ("Content-Description", "x"),
            ("Content-Transfer-Encoding", "base64"),
        )  # fmt: skip
        assert second.content.isascii()
        assert second.decoded() == blob
        assert openssl_verify(CA, second.decoded(), first.raw) == covered
        # All octets before and behind the second part are those that came.
        before, behind = converted.raw[: -len(second.raw + close + after)], converted.raw[len(converted.raw) - len(close + after) :]
        assert entity.raw.startswith(before)
        assert entity.raw.endswith(behind)
        assert before.endswith(b"\r\n--b7 \t\r\n")


def test_what_has_a_text_signature_or_none_is_not_touched() -> None:
    blob = sign(WHO["p256"], TEXT)
    for entity in (clear_signed(TEXT, blob), opaque(blob), Entity.parse(TEXT), clear_signed(TEXT, blob, protocol="text/plain")):
        assert with_text_signature(entity) is None


@pytest.mark.requirement("SMIME-11")
@pytest.mark.parametrize("covered", AWKWARD)
def test_preamble_and_epilogue_are_taken_off(covered: bytes) -> None:
    blob = sign(WHO["p256"], covered)
    for close in (b"\r\n--b7--\r\n", b"\r\n--b7-- \t\r\n", b"\r\n--b7--"):
        converted = trimmed(binary(covered, blob, before=b"\0preamble\r\n", after=b"epi\0logue", close=close))
        assert converted
        kind = 'multipart/signed; protocol="application/pkcs7-signature"; micalg=sha-256; boundary=b7'
        assert converted.headers == (("Content-Type", kind),)
        assert converted.raw.startswith(b"Content-Type: " + kind.encode() + b"\r\n\r\n--b7\r\n" + covered + b"\r\n--b7 \t\r\n")
        assert converted.raw.endswith(blob + b"\r\n--b7--\r\n")
        first, second = split_multipart(converted)
        assert (first.raw, second.content) == (covered, blob)
        assert trimmed(converted) == converted


def test_what_cannot_be_trimmed() -> None:
    blob = sign(WHO["p256"], TEXT)
    entity = clear_signed(TEXT, blob)
    strange = Entity.parse(b"Content-Description: \xff\r\n" + entity.raw)
    for each in (opaque(blob), Entity.parse(TEXT), strange, Entity.parse(b"Content-Type: multipart/signed\r\n\r\n")):
        assert trimmed(each) is None


@settings(deadline=None)
@given(st.binary(max_size=300), st.sampled_from([to_opaque, to_clear, trimmed, with_text_signature]))
def test_no_octets_raise_anything(octets: bytes, convert: Any) -> None:
    head = b'Content-Type: multipart/signed; protocol="application/pkcs7-signature"; micalg=sha-256; boundary=b7\r\n\r\n'
    for raw in (head + b"--b7" + octets, head + b"--b7\r\n\r\n--b7\r\nContent-Type: application/pkcs7-signature\r\n\r\n" + octets):
        convert(Entity.parse(raw))
    convert(Entity.parse(b"Content-Type: application/pkcs7-mime\r\n\r\n" + octets))


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_octets_there_and_back(octets: bytes) -> None:
    covered = b"Content-Type: text/plain\r\n\r\n" + octets
    blob = sign(WHO["p256"], covered)
    entity = clear_signed(covered, blob, boundary="a-boundary-that-is-long-enough-to-be-in-nothing")
    converted = to_opaque(entity)
    assert converted
    assert stripped(converted.decoded()) == blob
    again = to_clear(converted)
    assert again
    assert (split_multipart(again)[0].raw, split_multipart(again)[1].decoded()) == (covered, blob)


def test_content_that_is_no_entity_is_no_part() -> None:
    assert to_clear(opaque(sign(WHO["p256"], b"\0\n", detached=False))) is None


def test_openssl_says_no_to_what_is_changed() -> None:
    """That the judge in these tests can say no."""
    converted = to_opaque(clear_signed(TEXT, sign(WHO["p256"], TEXT)))
    assert converted
    with pytest.raises(CalledProcessError):
        openssl_verify(CA, converted.decoded().replace(b"Lunch?", b"Lunch!"))
