"""The verdict on a message: every status that the signed side of it can have, and which one is said of several."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Callable

import pytest
from asn1crypto import cms
from cryptography import x509

from gateway.core.mime import Entity
from gateway.core.verdict import Status
from gateway.smime.certificates import Certificate
from gateway.smime.judge import PRECEDENCE, Judge, Judged, first_of
from gateway.smime.signatures import Finding
from gateway.smime.trust import TrustStore
from tests.cost import seconds

from .authority import NOW, TEXT, Authority, Holder, clear_signed, cpim, der, opaque, openssl_sign, self_signed, sign
from .people import claim

CA = Authority("Root")
STRANGER = Authority("Nobody's")
ROMEO_URI, MIRA_URI = "sip:romeo@sip.example", "sip:mira@sip.example"
ROMEO = CA.issue(ROMEO_URI, "im:romeo@sip.example")
OTHER_ROMEO = CA.issue(ROMEO_URI, kind="rsa2048", number=1)
MIRA = CA.issue(MIRA_URI, number=2)
DOMAIN = CA.issue("dns:sip.example", number=3)
SMALL = CA.issue(ROMEO_URI, kind="ed25519", number=4)
STRANGE_ROMEO = STRANGER.issue(ROMEO_URI, number=5)
EARLY_ROMEO = CA.issue(ROMEO_URI, number=6, not_after=datetime.datetime(2025, 1, 1, tzinfo=datetime.UTC))
GONE_ROMEO = CA.issue(ROMEO_URI, number=7)
STORE = TrustStore([CA.certificate], crls=[x509.load_pem_x509_crl(CA.crl(GONE_ROMEO))])
CLAIM = claim(ROMEO_URI)
MIXED = b"Content-Type: multipart/mixed; boundary=m\r\n\r\n--m\r\n%b\r\n--m\r\nContent-Type: text/plain\r\n\r\nFooter\r\n--m--\r\n"


def judged(entity: Entity, store: TrustStore = STORE, *, uri: str = ROMEO_URI, now: float = NOW, rfc822: bool = False) -> Judged:
    return Judge(store, rfc822=rfc822).judge(entity, claim(uri), now)


def status(entity: Entity, store: TrustStore = STORE, *, uri: str = ROMEO_URI, now: float = NOW) -> Status:
    return judged(entity, store, uri=uri, now=now).verdict.status


def signed(holder: Holder = ROMEO, covered: bytes = TEXT, **options: object) -> Entity:
    return clear_signed(covered, sign(holder, covered, **options))  # type: ignore[arg-type]


def enveloped() -> Entity:
    kind = bytes.fromhex("06092a864886f70d010703")
    return opaque(b"\x30\x0d" + kind + b"\xa0\x00", "enveloped-data")


LF_ONLY = TEXT.replace(b"\r\n", b"\n")
ONE_BY_MIRA = [ROMEO, MIRA]
TABLE: list[tuple[Status, str, Callable[[], Entity]]] = [
    (Status.VALID, "clear", lambda: signed()),
    (Status.VALID, "opaque", lambda: opaque(sign(ROMEO, TEXT, detached=False))),
    (Status.VALID, "two keys of the author", lambda: clear_signed(TEXT, sign([ROMEO, OTHER_ROMEO], TEXT))),
    (Status.VALID_AFTER_CANONICALISATION, "LF inside", lambda: clear_signed(LF_ONLY, sign(ROMEO, TEXT))),
    (Status.VALID_AFTER_CANONICALISATION, "LF everywhere", lambda: Entity.parse(signed().raw.replace(b"\r\n", b"\n"))),
    (Status.WEAK, "SHA-1", lambda: clear_signed(TEXT, sign(OTHER_ROMEO, TEXT, digest="sha1"), micalg="sha1")),
    (Status.PARTIAL, "one of two is somebody else's", lambda: clear_signed(TEXT, sign(ONE_BY_MIRA, TEXT))),
    (Status.PARTIAL, "a footer beside it", lambda: Entity.parse(MIXED % signed().raw)),
    (Status.DOMAIN_SIGNED, "the domain's", lambda: signed(DOMAIN)),
    (Status.WRONG_IDENTITY, "Mira's", lambda: signed(MIRA)),
    (Status.WRONG_IDENTITY, "another From inside", lambda: signed(ROMEO, cpim("im:mira@sip.example"))),
    (Status.NO_CERTIFICATE, "none came with it", lambda: signed(certificates=False)),
    (Status.UNTRUSTED, "an unknown authority", lambda: signed(STRANGE_ROMEO)),
    (Status.EXPIRED, "ran out a year ago", lambda: signed(EARLY_ROMEO)),
    (Status.EXPIRED, "signed before it was good", lambda: signed(signed_at=1.0)),
    (Status.REVOKED, "taken back", lambda: signed(GONE_ROMEO)),
    (Status.MALFORMED, "garbage for a signature", lambda: clear_signed(TEXT, b"MIME")),
    (Status.MALFORMED, "garbage for an object", lambda: opaque(b"0\x80\x00")),
    (Status.MALFORMED, "content in the signature, too", lambda: clear_signed(TEXT, sign(ROMEO, TEXT, detached=False))),
    (Status.MALFORMED, "no content anywhere", lambda: opaque(sign(ROMEO, TEXT))),
    (Status.INVALID, "other content", lambda: clear_signed(TEXT + b"!", sign(ROMEO, TEXT))),
    (Status.INVALID, "wrong micalg", lambda: clear_signed(TEXT, sign(ROMEO, TEXT), micalg="sha-512")),
    (Status.NOT_CHECKED, "plain text", lambda: Entity.parse(TEXT)),
    (Status.NOT_CHECKED, "encrypted", enveloped),
]  # fmt: skip


@pytest.mark.requirement("SMIME-75")
@pytest.mark.parametrize(("expected", "made"), [(row[0], row[2]) for row in TABLE], ids=[f"{row[0].value}: {row[1]}" for row in TABLE])
def test_every_verdict(expected: Status, made: Callable[[], Entity]) -> None:
    verdict = judged(made()).verdict
    assert (verdict.status, bool(verdict.detail)) == (expected, expected not in (Status.VALID, Status.NOT_CHECKED))


@pytest.mark.requirement("SMIME-75")
def test_every_status_has_its_place_and_the_ones_not_here_come_from_elsewhere() -> None:
    """Decryption says undecryptable and confidential-unauthenticated, freshness replay-risk: they share the order."""
    elsewhere = {Status.UNDECRYPTABLE, Status.CONFIDENTIAL_UNAUTHENTICATED, Status.REPLAY_RISK}
    assert set(PRECEDENCE) == set(Status)
    assert {row[0] for row in TABLE} == set(Status) - elsewhere


@pytest.mark.parametrize(
    ("holder", "covered", "expected"),
    [
        (STRANGE_ROMEO, TEXT + b"!", Status.INVALID),
        (STRANGER.issue(MIRA_URI, number=8), TEXT, Status.UNTRUSTED),
        (CA.issue(MIRA_URI, not_after=datetime.datetime(2025, 1, 1, tzinfo=datetime.UTC)), TEXT, Status.EXPIRED),
        (DOMAIN, LF_ONLY, Status.DOMAIN_SIGNED),
    ],
)
def test_of_several_faults_the_gravest_is_said(holder: Holder, covered: bytes, expected: Status) -> None:
    assert status(clear_signed(covered, sign(holder, TEXT))) is expected


def test_the_order_is_that_of_the_table() -> None:
    everything = [Finding(each) for each in reversed(PRECEDENCE)]
    assert first_of(everything).status is Status.MALFORMED
    assert first_of([Finding(Status.VALID), Finding(Status.WEAK), Finding(Status.DOMAIN_SIGNED)]).status is Status.DOMAIN_SIGNED


# -- what else is said -------------------------------------------------------------------------------------------------
@pytest.mark.requirement("SMIME-75")
def test_what_a_verdict_holds_and_what_further_rules_need() -> None:
    covered = cpim("im:romeo@sip.example")
    found = judged(signed(ROMEO, covered))
    assert found.verdict.signers == (ROMEO_URI, "im:romeo@sip.example")
    assert found.verdict.signed_at == NOW
    assert found.verdict.digest == f"sha256:{hashlib.sha256(covered).hexdigest()}"
    assert found.covered == covered
    assert found.signer == Certificate.of(ROMEO.certificate).key_digest != Certificate.of(MIRA.certificate).key_digest
    assert found.readable is not None
    assert found.readable.text() == "Lunch?"


def test_nobody_is_named_for_a_signature_that_does_not_hold() -> None:
    found = judged(clear_signed(TEXT + b"!", sign(ROMEO, TEXT)))
    assert (found.verdict.signers, found.signer) == ((), b"")


# -- levels of signing -------------------------------------------------------------------------------------------------
@pytest.mark.requirement("SMIME-77", "RCS-08", "SMIME-26")
@pytest.mark.parametrize("layout", ["clear", "opaque"])
def test_the_whole_message_or_its_payload_alone_may_be_signed(layout: str) -> None:
    def wrapped(covered: bytes) -> Entity:
        return signed(ROMEO, covered) if layout == "clear" else opaque(sign(ROMEO, covered, detached=False))

    head = b"Content-Type: message/cpim\r\n\r\nFrom: <im:%b@sip.example>\r\nTo: <im:juliet@xmpp.example>\r\n\r\n"
    for entity in (wrapped(cpim("im:romeo@sip.example")), Entity.parse(head % b"romeo" + wrapped(TEXT).raw)):
        found = judged(entity)
        assert found.verdict.status is Status.VALID
        assert found.readable is not None
        assert found.readable.text() == "Lunch?"
    assert status(Entity.parse(head % b"mira" + wrapped(TEXT).raw)) is Status.WRONG_IDENTITY


@pytest.mark.requirement("SEC-07")
def test_signed_by_somebody_is_said_only_of_all_and_of_who_it_is_from() -> None:
    whole, mixed = signed(ROMEO, cpim("im:romeo@sip.example")), Entity.parse(MIXED % signed(ROMEO, cpim("im:romeo@sip.example")).raw)
    assert judged(whole).verdict.is_good
    for entity, uri in ((mixed, ROMEO_URI), (whole, MIRA_URI), (signed(ROMEO, cpim("im:mira@sip.example")), ROMEO_URI)):
        assert not judged(entity, uri=uri).verdict.is_good
    assert not judged(whole, TrustStore([STRANGER.certificate])).verdict.is_good


@pytest.mark.requirement("SMIME-21")
@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (ROMEO, OTHER_ROMEO, Status.VALID),
        (ROMEO, STRANGE_ROMEO, Status.PARTIAL),
        (EARLY_ROMEO, ROMEO, Status.PARTIAL),
        (MIRA, STRANGE_ROMEO, Status.UNTRUSTED),
    ],
)
def test_of_several_signers_all_have_to_be_good(first: Holder, second: Holder, expected: Status) -> None:
    for holders in ([first, second], [second, first]):
        assert status(clear_signed(TEXT, sign(holders, TEXT))) is expected


@pytest.mark.requirement("SMIME-21", "SMIME-26")
def test_the_outermost_signature_counts_and_the_innermost_from() -> None:
    def twice(outer: Holder, inner: Holder, covered: bytes = TEXT) -> Entity:
        return signed(outer, clear_signed(covered, sign(inner, covered), boundary="inner").raw)

    assert status(twice(ROMEO, STRANGE_ROMEO)) is Status.VALID
    assert status(twice(STRANGE_ROMEO, ROMEO)) is Status.UNTRUSTED
    assert status(twice(ROMEO, ROMEO, cpim("im:mira@sip.example"))) is Status.WRONG_IDENTITY


@pytest.mark.requirement("SMIME-20")
def test_what_is_signed_around_something_encrypted_is_judged_and_handed_on() -> None:
    found = judged(opaque(sign(ROMEO, enveloped().raw, detached=False)))
    assert (found.verdict.status, found.verdict.encrypted, found.readable) == (Status.VALID, True, None)
    assert found.inside is not None
    assert found.inside.raw == enveloped().raw


# -- bounds ------------------------------------------------------------------------------------------------------------
def onion(layers: int) -> Entity:
    entity = Entity.parse(TEXT)
    for _ in range(layers):
        entity = opaque(sign(ROMEO, entity.raw, detached=False))
    return entity


@pytest.mark.requirement("SMIME-09")
def test_five_layers_of_cms_are_opened_and_no_sixth() -> None:
    five, six = judged(onion(5)), judged(onion(6))
    assert five.readable is not None
    assert five.readable.raw == TEXT
    assert (five.verdict.status, six.verdict.status, six.readable) == (Status.VALID, Status.VALID, None)


@pytest.mark.requirement("SMIME-09")
def test_eight_levels_of_mime_are_opened_and_no_ninth() -> None:
    def nested(levels: int) -> Entity:
        octets = signed().raw
        for _ in range(levels):
            octets = b"Content-Type: message/cpim\r\n\r\nFrom: <%b>\r\n\r\n%b" % (ROMEO_URI.encode(), octets)
        return Entity.parse(octets)

    assert [status(nested(levels)) for levels in (0, 6, 7, 50)] == [Status.VALID, Status.VALID, Status.MALFORMED, Status.MALFORMED]


@pytest.mark.requirement("SMIME-09", "SMIME-74")
@pytest.mark.parametrize(("signers", "expected"), [(10, Status.VALID), (11, Status.MALFORMED), (10_000, Status.MALFORMED)])
def test_ten_signers_and_no_more(signers: int, expected: Status) -> None:
    blob = _with_signers(signers)
    assert status(opaque(blob)) is expected
    assert seconds(lambda: judged(opaque(blob)), 0.1) < 0.1


def _with_signers(count: int) -> bytes:
    """An object in which one signer has signed so many times; many thousand times with next to nothing."""
    whole = cms.ContentInfo.load(sign(ROMEO, TEXT, detached=False))["content"]
    info = whole["signer_infos"][0].dump() if count < 1000 else b"\x30\x00"
    fields = [whole[name].dump() for name in ("version", "digest_algorithms", "encap_content_info", "certificates")]
    signed_data = der(0x30, b"".join([*fields, der(0x31, info * count)]))
    return der(0x30, bytes.fromhex("06092a864886f70d010702") + der(0xA0, signed_data))


# -- peculiar containers -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("holder", [ROMEO, OTHER_ROMEO])
def test_what_openssl_signs_is_valid(holder: Holder, streamed: bool) -> None:
    now = datetime.datetime.now(datetime.UTC).timestamp()
    for pss in (False, True) if holder is OTHER_ROMEO and not streamed else (False,):
        blob = openssl_sign(holder, TEXT, detached=False, streamed=streamed, pss=pss)
        assert status(opaque(blob, base64_encoded=True), now=now) is Status.VALID
    assert status(clear_signed(TEXT, openssl_sign(holder, TEXT)), now=now) is Status.VALID


@pytest.mark.requirement("SMIME-15")
def test_the_octets_as_they_came_are_tried_first() -> None:
    """Who has signed LF alone has signed that; and what was changed otherwise is not mended."""
    assert status(clear_signed(LF_ONLY, sign(ROMEO, LF_ONLY))) is Status.VALID
    assert status(clear_signed(TEXT, sign(ROMEO, LF_ONLY))) is Status.INVALID
    assert status(clear_signed(LF_ONLY + b" ", sign(ROMEO, TEXT))) is Status.INVALID
    assert status(opaque(sign(ROMEO, TEXT, detached=False).replace(TEXT, LF_ONLY + b"  "))) is Status.INVALID


@pytest.mark.requirement("SMIME-04")
def test_a_detached_signature_holds_no_content_and_an_opaque_one_does() -> None:
    both = sign(ROMEO, TEXT, detached=False)
    assert "holds content" in judged(clear_signed(TEXT, both)).verdict.detail
    assert (status(clear_signed(TEXT, both)), status(opaque(both))) == (Status.MALFORMED, Status.VALID)
    assert status(clear_signed(TEXT, sign(ROMEO, b"", detached=False))) is Status.MALFORMED


@pytest.mark.requirement("SMIME-01", "SMIME-02", "SMIME-03")
def test_layouts_that_are_not_as_they_ought_to_be() -> None:
    entity = signed().raw
    third = entity.replace(b"--b7--", b"--b7\r\n\r\na third\r\n--b7--")
    assert status(Entity.parse(third)) is Status.MALFORMED
    assert status(Entity.parse(entity.replace(b"; boundary", b"; x-boundary"))) is Status.MALFORMED
    assert status(Entity.parse(entity.replace(b"pkcs7-signature", b"x-pkcs7-signature"))) is Status.VALID
    assert status(Entity.parse(entity.replace(b"pkcs7-signature; name", b"pgp-signature; name"))) is Status.MALFORMED
    for micalg, expected in (("SHA256", Status.VALID), ("x, y", Status.VALID), ("rsa-sha1", Status.INVALID)):
        assert status(Entity.parse(entity.replace(b"micalg=sha-256", f'micalg="{micalg}"'.encode()))) is expected


@pytest.mark.requirement("SMIME-06")
@pytest.mark.parametrize("said", ["signed-data", "enveloped-data", "authEnveloped-data", "auth-enveloped-data", "certs-only", "x"])
def test_the_smime_type_decides_nothing(said: str) -> None:
    assert status(opaque(sign(ROMEO, TEXT, detached=False), said)) is Status.VALID
    found = judged(opaque(enveloped().content, said))
    assert (found.verdict.status, found.verdict.encrypted) == (Status.NOT_CHECKED, True)


def test_certificates_alone_are_not_a_signature() -> None:
    blob = _with_signers(0)
    without = cms.ContentInfo.load(blob)
    without["content"]["encap_content_info"] = {"content_type": "data"}
    assert status(opaque(without.dump(force=True), "certs-only")) is Status.NOT_CHECKED
    assert "nobody has signed" in judged(opaque(blob)).verdict.detail
    assert "without its content" in judged(opaque(sign(ROMEO, TEXT))).verdict.detail


def test_without_anything_to_check_against_it_is_opened_and_not_checked() -> None:
    found = judged(signed(), TrustStore())
    assert found.verdict.status is Status.NOT_CHECKED
    assert found.readable is not None
    assert found.readable.raw == TEXT


@pytest.mark.requirement("SMIME-27")
@pytest.mark.parametrize("by_key", [True, False])
def test_a_certificate_that_did_not_come_is_looked_up(by_key: bool) -> None:
    entity = signed(certificates=False, by_key=by_key)
    assert status(entity) is Status.NO_CERTIFICATE
    assert status(entity, TrustStore([CA.certificate], [Certificate.of(ROMEO.certificate)])) is Status.VALID


# -- continuity --------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("SMIME-29")
def test_a_pinned_certificate_is_trusted_for_its_names_and_no_other_one_is() -> None:
    mine = self_signed("sip:tomas@sip.example")
    changed = self_signed("im:tomas@sip.example", number=9)
    issued = CA.issue("sip:tomas@sip.example", number=10)
    uri = "sip:tomas@sip.example"
    store = TrustStore([CA.certificate], [Certificate.of(mine.certificate)])
    assert status(signed(mine), store, uri=uri) is Status.VALID
    assert status(signed(mine), TrustStore([CA.certificate]), uri=uri) is Status.UNTRUSTED
    assert status(signed(mine), store) is Status.WRONG_IDENTITY
    for other in (changed, issued):
        verdict = judged(signed(other), store, uri=uri).verdict
        assert verdict.status is Status.UNTRUSTED
    assert "has changed" in verdict.detail
    assert status(signed(ROMEO), store) is Status.VALID


def test_partly_signed_is_said_with_who_signed_the_part() -> None:
    found = judged(Entity.parse(MIXED % signed().raw))
    assert found.verdict.signers == (ROMEO_URI, "im:romeo@sip.example")
    assert found.covered == TEXT
    assert status(Entity.parse(MIXED % signed(STRANGE_ROMEO).raw)) is Status.UNTRUSTED
    assert status(Entity.parse(MIXED % enveloped().raw)) is Status.NOT_CHECKED


@pytest.mark.requirement("SMIME-15", "SEC-07")
def test_what_is_read_in_two_ways_is_not_mended() -> None:
    """The signed parts with bare LF where a preamble stands, and behind them a part of somebody else, which is what is shown."""
    covered = b"Content-Type: message/cpim\r\n\r\n" + cpim("im:romeo@sip.example")
    whole = clear_signed(covered, sign(ROMEO, covered))
    boundary = (whole.content_type.param("boundary") or "").encode()
    signed = whole.content.replace(b"\r\n", b"\n").removesuffix(b"--%b--\n" % boundary)
    evil = signed + b"\r\n--%b\r\n\r\nevil\r\n--%b--" % (boundary, boundary)
    head = whole.raw[: len(whole.raw) - len(whole.content)]
    assert judged(Entity.parse(head + evil)).verdict.status is Status.MALFORMED
    assert judged(Entity.parse(head + whole.content.replace(b"\r\n", b"\n"))).verdict.status is Status.VALID_AFTER_CANONICALISATION
