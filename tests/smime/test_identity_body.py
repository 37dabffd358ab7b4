"""Identity bodies: who says, signed, that this very request is his (RFC 3893)."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Sequence
from dataclasses import replace

import pytest

from gateway.core.mime import Entity, split_multipart
from gateway.core.ports import Outer
from gateway.core.verdict import NOT_CHECKED, Status, Verdict
from gateway.smime.identity_body import Asserted, Decrypt, IdentityBodies, identity_bodies, with_identity
from gateway.smime.judge import Judge
from gateway.smime.trust import TrustStore
from tests.smime.authority import NOW, Authority, Holder, clear_signed, openssl_verify, sign
from tests.smime.people import claim

ROMEO = "sip:romeo@sip.example"
ROWS = (
    ("from", f"Romeo <{ROMEO}>;tag=r1"),
    ("to", "<sip:juliet@xmpp.example>"),
    ("call-id", "call-1"),
    ("cseq", "7 MESSAGE"),
    ("date", "Fri, 02 Jan 2026 03:04:05 GMT"),
)
OUTER = Outer("MESSAGE", "sip:juliet@xmpp.example", ROWS)
LINES = (
    f"From: Romeo <{ROMEO}>",
    "To: <sip:juliet@xmpp.example>",
    "Date: Fri, 02 Jan 2026 03:04:05 GMT",
    "Call-ID: call-1",
    "CSeq: 7 MESSAGE",
)
CA = Authority("Root")
HOLDER = CA.issue(ROMEO)
HELD = Asserted(ROMEO)


def fragment(lines: Sequence[str] = LINES, kind: str = "message/sipfrag", disposition: str = "aib; handling=optional") -> bytes:
    """A MIME entity with an identity body in it."""
    head = f"Content-Type: {kind}\r\n" + (f"Content-Disposition: {disposition}\r\n" if disposition else "")
    return f"{head}\r\n".encode() + "".join(f"{line}\r\n" for line in lines).encode()


def signed(covered: bytes, boundary: str = "b7") -> Entity:
    return clear_signed(covered, sign(HOLDER, covered), boundary=boundary)


def beside(*parts: bytes | Entity, boundary: str = "m1") -> Entity:
    """A text with these parts beside it."""
    octets = [b"\r\nLunch?", *[part.raw if isinstance(part, Entity) else part for part in parts]]
    delimiter = f"--{boundary}".encode()
    body = b"".join(b"%b\r\n%b\r\n" % (delimiter, part) for part in octets) + delimiter + b"--\r\n"
    return Entity.compose([("Content-Type", f"multipart/mixed; boundary={boundary}")], body)


BODY = beside(signed(fragment()))


class Checks:
    """Judges a signature with OpenSSL, and takes the names of the signer as `statuses` says. claims: whom it was asked about."""

    def __init__(self, status: Status = Status.VALID) -> None:
        self.status = status
        self.claims: list[str] = []

    def __call__(self, entity: Entity, claim: str, now: float) -> Verdict:
        self.claims.append(claim)
        covered, signature = split_multipart(entity)
        try:
            openssl_verify(CA, base64.b64decode(signature.content), covered.raw)
        except subprocess.CalledProcessError:
            return Verdict(Status.INVALID)
        return Verdict(self.status)


def judged(
    body: Entity = BODY, outer: Outer = OUTER, now: float = NOW, status: Status = Status.VALID, decrypt: Decrypt = lambda _: None
) -> Asserted | None:
    return IdentityBodies(Checks(status)).judge(body, outer, now, decrypt)


def fault(body: Entity = BODY, outer: Outer = OUTER, now: float = NOW, status: Status = Status.VALID) -> str:
    found = judged(body, outer, now, status)
    assert found
    assert not found.who
    return found.fault


# -- where it is --------------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("FRAG-60")
def test_it_is_the_first_part_of_a_multipart_signed_alone_or_beside_others() -> None:
    assert judged() == judged(signed(fragment())) == HELD
    assert judged(beside(beside(signed(fragment())), boundary="n1")) == HELD
    assert judged(signed(beside(signed(fragment())).raw, "n1")) == HELD


@pytest.mark.requirement("FRAG-60")
@pytest.mark.parametrize("body", [Entity.parse(fragment()), beside(fragment()), beside(fragment(), signed(b"\r\nLunch?"))])
def test_one_that_nobody_has_signed_has_failed(body: Entity) -> None:
    assert fault(body) == "unsigned"


@pytest.mark.requirement("FRAG-60")
def test_what_does_not_say_that_it_is_one_is_none() -> None:
    for disposition in ("", "render", "aibs", "inline; x=aib"):
        assert judged(beside(signed(fragment(disposition=disposition)))) is None
    assert judged(Entity.parse(b"\r\nLunch?")) is None
    assert judged(beside(signed(fragment(disposition="AIB ;handling=required")))) == HELD
    assert judged(Entity.compose([("Content-Type", "multipart/mixed; boundary=b")], b"no part")) is None


@pytest.mark.requirement("FRAG-60")
def test_it_is_a_fragment_of_a_sip_message() -> None:
    assert fault(beside(signed(fragment(kind="text/plain")))) == "it is no message/sipfrag of disposition aib"
    assert fault(beside(signed(fragment(["From: nobody"])))) == "Bad From"
    assert fault(beside(signed(fragment(kind="message/sipfrag; version=3.0")))) == "Unsupported version"


# -- what it says -------------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("FRAG-61")
@pytest.mark.parametrize("name", ["From", "To", "Date", "Call-ID", "CSeq"])
def test_all_five_fields_are_required(name: str) -> None:
    without = [line for line in LINES if not line.startswith(f"{name}:")]
    assert fault(beside(signed(fragment(without)))) == f"{name} is missing"
    assert fault(outer=OUTER._replace(headers=tuple(row for row in ROWS if row[0] != name.lower()))) == f"{name} differs"


@pytest.mark.requirement("FRAG-61")
def test_a_contact_is_not_needed_nor_asked_about() -> None:
    assert judged() == HELD
    assert judged(beside(signed(fragment([*LINES, "Contact: <sip:romeo@192.0.2.4>"])))) == HELD


@pytest.mark.requirement("FRAG-62")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("from", "Romeo <sip:mira@sip.example>;tag=r1"),
        ("from", "<sip:romeo@other.example>"),
        ("to", "<sip:tomas@xmpp.example>"),
        ("date", "Fri, 02 Jan 2026 03:04:06 GMT"),
        ("call-id", "Call-1"),
        ("cseq", "8 MESSAGE"),
        ("cseq", "7 INFO"),
    ],
)
def test_a_field_that_the_request_has_otherwise_is_named(name: str, value: str) -> None:
    outer = OUTER._replace(headers=tuple((each, value if each == name else said) for each, said in ROWS))
    assert fault(outer=outer).lower() == f"{name} differs"


@pytest.mark.requirement("FRAG-62")
def test_what_says_the_same_is_the_same() -> None:
    rows = (*ROWS[1:2], ("from", f'"R. M." <{ROMEO};x=1>;tag=r1'), ("call-id", " call-1"), ("cseq", "07  MESSAGE"), ROWS[4])
    assert judged(outer=OUTER._replace(headers=rows)) == HELD
    with_tag = [f"f: <{ROMEO}>;tag=r1", *LINES[1:]]
    assert judged(beside(signed(fragment(with_tag)))) == HELD
    other_tag = [f"f: <{ROMEO}>;tag=r2", *LINES[1:]]
    assert fault(beside(signed(fragment(other_tag)))) == "From differs"


@pytest.mark.requirement("FRAG-62")
def test_the_signature_has_to_hold_for_who_is_in_from() -> None:
    checks = Checks()
    assert IdentityBodies(checks).judge(BODY, OUTER, NOW) == HELD
    assert checks.claims == [ROMEO]
    assert judged(status=Status.DOMAIN_SIGNED) == HELD
    for status in (Status.WRONG_IDENTITY, Status.UNTRUSTED, Status.EXPIRED, Status.WEAK, Status.NOT_CHECKED):
        assert fault(status=status) == f"its signature is {status.value}"
    other = fragment(["To: <sip:juliet@xmpp.example>;x=1", LINES[0], *LINES[2:]])
    assert fault(beside(clear_signed(other, sign(HOLDER, fragment())))) == "its signature is invalid"


@pytest.mark.requirement("FRAG-62")
def test_a_signature_is_checked_for_what_is_of_this_request_alone() -> None:
    """Third parties may be vouched for beside it (RFC 3893 section 4); and many bodies do not cost many checks."""
    checks, third = Checks(), signed(fragment([f"From: <{ROMEO}>", *LINES[1:4], "CSeq: 1 INVITE"]))
    assert IdentityBodies(checks).judge(beside(third, signed(fragment())), OUTER, NOW) == HELD
    assert len(checks.claims) == 1
    bad = Checks(Status.UNTRUSTED)
    IdentityBodies(bad).judge(beside(*[signed(fragment())] * 8), OUTER, NOW)
    assert len(bad.claims) == 4
    assert len(identity_bodies(beside(*[fragment()] * 40))) == 0


# -- with the certificates of the gateway ------------------------------------------------------------------------------------
def by_certificate(body: Entity) -> Asserted | None:
    """Judged as the gateway judges, which believes CA."""
    judge = Judge(TrustStore([CA.certificate]))
    return IdentityBodies(lambda entity, who, now: judge.judge(entity, claim(who), now).verdict).judge(body, OUTER, NOW)


@pytest.mark.requirement("FRAG-62")
def test_the_signer_is_the_sender_or_his_domain() -> None:
    covered = fragment()

    def by(holder: Holder) -> Asserted | None:
        return by_certificate(beside(clear_signed(covered, sign(holder, covered))))

    assert by(HOLDER) == by(CA.issue("dns:sip.example")) == by(CA.issue("sip:sip.example")) == HELD
    assert by(CA.issue("sip:mira@sip.example")) == by(CA.issue("dns:other.example")) == Asserted(fault="its signature is wrong-identity")
    assert by(Authority("Other").issue(ROMEO)) == Asserted(fault="its signature is untrusted")
    assert by_certificate(beside(clear_signed(covered, sign(HOLDER, fragment(LINES[:4]))))) == Asserted(fault="its signature is invalid")


# -- when ---------------------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("FRAG-64")
def test_its_date_is_near_enough_to_now() -> None:
    assert [judged(now=NOW + off) for off in (-300, 300)] == [HELD, HELD]
    assert [fault(now=NOW + off) for off in (-301, 301)] == ["future timestamp", "old timestamp"]


@pytest.mark.requirement("FRAG-64")
def test_one_that_comes_again_does_not_hold() -> None:
    it = IdentityBodies(Checks())
    assert [it.judge(BODY, OUTER, NOW + off) for off in (0, 10)] == [HELD, Asserted(fault="repeated")]
    # One conversation, one Call-ID: the next message of it has its own.
    following = OUTER._replace(headers=tuple((name, "8 MESSAGE" if name == "cseq" else value) for name, value in ROWS))
    assert it.judge(beside(signed(fragment([*LINES[:4], "CSeq: 8 MESSAGE"]))), following, NOW) == HELD
    # Its Date is older than that before it is forgotten.
    assert it.judge(BODY, OUTER, NOW + 300) == Asserted(fault="repeated")
    # Who only repeats it takes nothing back.
    it.undo(OUTER, Asserted(fault="repeated"))
    assert it.judge(BODY, OUTER, NOW + 20) == Asserted(fault="repeated")
    it.undo(OUTER, HELD)
    assert it.judge(BODY, OUTER, NOW + 20) == HELD


@pytest.mark.requirement("FRAG-64")
def test_what_does_not_hold_keeps_nobody_from_saying_it_rightly() -> None:
    it = IdentityBodies(checks := Checks(Status.UNTRUSTED))
    it.judge(BODY, OUTER, NOW)
    checks.status = Status.VALID
    assert it.judge(BODY, OUTER, NOW) == HELD


# -- encrypted ----------------------------------------------------------------------------------------------------------------
SECRET_PART = b"Content-Type: application/pkcs7-mime; smime-type=enveloped-data\r\nContent-Disposition: attachment\r\n\r\n0\x80"


def as_aib(entity: Entity) -> Entity:
    """The same, which says that an identity body is in it."""
    return Entity.compose([*entity.headers, ("Content-Disposition", "aib; handling=optional")], entity.content)


@pytest.mark.requirement("FRAG-65")
def test_one_that_was_encrypted_and_then_signed_is_opened() -> None:
    body, opened = beside(as_aib(signed(SECRET_PART))), []

    def decrypt(entity: Entity) -> Entity:
        opened.append(entity.raw)
        return Entity.parse(fragment())

    assert judged(body, decrypt=decrypt) == HELD
    assert opened == [SECRET_PART]
    assert fault(body) == "encrypted"
    assert judged(body, decrypt=lambda _: None) == Asserted(fault="encrypted")
    assert judged(body, decrypt=lambda _: Entity.parse(b"\r\nno fragment")) == Asserted(fault="it is no message/sipfrag of disposition aib")


@pytest.mark.requirement("FRAG-65")
def test_one_that_was_signed_and_then_encrypted_is_opened_too() -> None:
    outermost = SECRET_PART.replace(b"attachment", b"aib; handling=optional")
    assert judged(beside(outermost), decrypt=lambda _: signed(fragment())) == HELD
    assert judged(beside(outermost), decrypt=lambda _: Entity.parse(fragment())) == Asserted(fault="unsigned")
    assert fault(beside(outermost)) == "encrypted"


# -- what comes of it ---------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("FRAG-66")
def test_the_verdict_says_who_was_asserted_or_why_nobody_was() -> None:
    found = with_identity(NOT_CHECKED, HELD, BODY)
    assert (found.asserted, found.detail, found.status) == (ROMEO, "", Status.NOT_CHECKED)
    assert Verdict.load(found.dump()) == found
    failed = with_identity(replace(NOT_CHECKED, detail="first"), Asserted(fault="To differs"), BODY)
    assert (failed.asserted, failed.detail) == ("", "first; identity body: To differs")
    assert with_identity(NOT_CHECKED, None, BODY) is NOT_CHECKED


@pytest.mark.requirement("FRAG-63")
def test_an_identity_body_alone_makes_no_content_valid() -> None:
    swapped = Entity.compose(BODY.headers, BODY.content.replace(b"Lunch?", b"Dinner"))
    assert judged(swapped) == HELD
    for body in (swapped, signed(fragment()), as_aib(signed(SECRET_PART))):
        found = with_identity(Verdict(Status.VALID), HELD, body)
        assert (found.status, found.is_good, found.asserted) == (Status.PARTIAL, False, ROMEO)
    whole = signed(BODY.raw, "n1")
    assert with_identity(Verdict(Status.VALID), HELD, whole) == Verdict(Status.VALID, asserted=ROMEO)


def test_what_is_nested_too_deep_is_not_looked_for() -> None:
    body = signed(fragment())
    for depth in range(6):
        body = beside(body, boundary=f"{depth}n")
    assert judged(body) == HELD
    assert judged(beside(body, boundary="7n")) is None
