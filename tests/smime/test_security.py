"""What the bridge does with protection where `[smime]` is configured: a message in on one side, what comes out on the other.

The judge of what the gateway signs and encrypts is openssl.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, fromstring

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.core.address import SipAddress
from gateway.core.envelope import Envelope
from gateway.core.errors import ConfigFault, Refusal
from gateway.core.jid import Jid
from gateway.core.mime import Entity
from gateway.core.pairs import Pair
from gateway.core.ports import Peer
from gateway.core.settings import Limits, RouteRule, Settings, SmimeSettings
from gateway.core.verdict import Status
from gateway.sip.codec import Draft
from gateway.sip.takes import Takes
from gateway.sip.uas import Uas
from gateway.smime.keys import write_account
from gateway.translation import Translation, translation
from gateway.xmpp.e2e import entity_in
from gateway.xmpp.reading import read_parties
from gateway.xmpp.stanza import E2E
from tests.sip.rig import SECRET, header, headers, request, settings, tables
from tests.sip.sample import read

from .authority import NOW, TEXT, Authority, Holder, clear_signed, cpim, opaque, openssl_verify, sign
from .hosted import holder, openssl_decrypt, openssl_encrypt

CA = Authority("Root")
ROMEO = holder(CA, "p256", "sip:romeo@sip.example", "im:romeo@sip.example")
JULIET = holder(CA, "p256", "im:juliet@xmpp.example", "sip:juliet@xmpp.example", "xmpp:juliet@xmpp.example", number=1)
DATE = "Fri, 02 Jan 2026 03:04:05 GMT"
E2E_TAG = f"{{{E2E}}}e2e"


class Bridge:
    """The pure half of a gateway with this configuration. hosted: whose keys it has; known: whose certificates."""

    def __init__(
        self, folder: Path, *, hosted: dict[str, Holder] | None = None, known: tuple[Holder, ...] = (), rule: RouteRule | None = None,
        takes: Takes | None = None, checks: bool = True, stale_date: str = "refuse", **smime: object,
    ) -> None:  # fmt: skip
        anchors, people, keys = folder / "anchors.pem", folder / "people.pem", folder / "keys"
        anchors.write_bytes(CA.pem)
        people.write_bytes(b"".join([each.pem for each in known]))
        keys.mkdir(mode=0o700, exist_ok=True)
        for address, each in (hosted or {}).items():
            write_account(keys, address, each.pem_with_key, replace=False)
        chosen = SmimeSettings(anchors if checks else None, people if known else None, None, keys if hosted else None, **smime)  # type: ignore[arg-type]
        route = rule or RouteRule("*", "sip:127.0.0.1:5080;transport=tcp", large_messages=True)
        self.settings: Settings = replace(settings(), routes=(route,), smime=chosen, limits=Limits(stale_date=stale_date))
        self.parts: Translation = translation(self.settings, tables(), SECRET, (lambda _: takes) if takes else None)
        assert self.parts.security is not None
        self.security = self.parts.security
        self.uas = Uas(self.parts.guard, tables(), self.settings, SECRET, frozenset(("gw.example:5060",)), self.parts.security)

    def from_sip(self, entity: Entity, now: float = NOW, trace_id: str = "trace-1", **changes: str) -> Envelope:
        """What becomes of romeo's message with this body."""
        said = {name.lower().replace("-", "_"): value for name, value in entity.headers}
        data = request(body=entity.content, **{"date": DATE, **said, **changes})
        found = self.uas.message(read(data), Peer("udp:127.0.0.1"), trace_id, now)
        assert isinstance(found, Envelope)
        return Envelope.from_cpim(found.to_cpim())

    def from_xmpp(self, content: str, now: float = NOW, author: str = "juliet@xmpp.example/b") -> Envelope:
        """What becomes of a stanza, of juliet's unless another author is given, with this in it."""
        ends = f"from='{author}' to='romeo@sip.example'"
        stanza = fromstring(f"<message xmlns='jabber:component:accept' {ends} id='1'>{content}</message>")
        found = self.parts.to_xmpp.read(stanza, self.parts.guard.from_xmpp("sip.example", *read_parties(stanza)), "xmpp", "trace-2", now)
        assert found
        return Envelope.from_cpim(self.security.arrived(found).to_cpim())

    def stanza(self, message: Envelope) -> Element:
        wire = self.parts.to_xmpp.write(message).wire
        assert isinstance(wire, bytes)
        return fromstring(wire)

    def request(self, message: Envelope) -> bytes:
        wire = self.parts.to_sip.write(message, 5).wire
        assert isinstance(wire, Draft)
        return wire.octets


def body_of(octets: bytes) -> Entity:
    """The body of a MESSAGE with its headers, for openssl."""
    names = ("Content-Type", "Content-Disposition", "Content-Transfer-Encoding")
    return Entity.compose([(name, value) for name in names for value in headers(octets, name)], octets.partition(b"\r\n\r\n")[2])


def opened(entity: Entity) -> bytes:
    """What openssl finds signed in an opaque signature by the authority, or in a multipart/signed."""
    if entity.content_type.essence == "multipart/signed":
        from gateway.smime.container import clear_signed as parts_of

        found = parts_of(entity)
        return openssl_verify(CA, found.signature, found.covered)
    return openssl_verify(CA, entity.decoded())


def text(stanza: Element) -> str:
    return stanza.findtext("body") or stanza.findtext("{jabber:component:accept}body") or ""


# -- judged ---------------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("SMIME-36", "SMIME-75", "MSG-8C")
def test_what_its_author_has_signed_is_shown_unmarked_and_crosses_as_it_is(tmp_path: Path) -> None:
    bridge = Bridge(tmp_path, verdict=True)
    covered = b"Content-Type: message/cpim\r\n\r\n" + cpim("im:romeo@sip.example")
    entity = clear_signed(covered, sign(ROMEO, covered))
    message = bridge.from_sip(entity)
    assert message.verdict is not None
    assert (message.verdict.status, message.verdict.date) == (Status.VALID, "")
    stanza = bridge.stanza(message)
    assert entity_in(stanza.findtext(E2E_TAG) or "").content == entity.content
    assert text(stanza) == "Lunch?"
    verdict = next(each for each in stanza if each.tag.endswith("}verdict"))
    assert verdict.attrib == {"status": "valid", "signers": "sip:romeo@sip.example im:romeo@sip.example"}
    assert bridge.security.counters["valid"] == 1


@pytest.mark.requirement("E2E-23", "SMIME-25", "E2E-17")
def test_what_somebody_else_has_signed_crosses_marked(tmp_path: Path) -> None:
    bridge = Bridge(tmp_path)
    covered = b"Content-Type: message/cpim\r\n\r\n" + cpim("im:romeo@sip.example")
    entity = clear_signed(covered, sign(JULIET, covered))
    stanza = bridge.stanza(bridge.from_sip(entity))
    assert text(stanza) == "[signature: wrong-identity] Lunch?"
    assert entity_in(stanza.findtext(E2E_TAG) or "").content == entity.content


@pytest.mark.requirement("MSG-86", "SMIME-23")
@pytest.mark.parametrize("stale_date", ["refuse", "mark"])
def test_a_copy_is_refused_or_marked_but_not_one_of_what_was_not_kept(tmp_path: Path, stale_date: str) -> None:
    bridge = Bridge(tmp_path, stale_date=stale_date)
    covered = b"Content-Type: message/cpim\r\n\r\n" + cpim("im:romeo@sip.example")
    entity = clear_signed(covered, sign(ROMEO, covered))
    first = bridge.from_sip(entity, call_id="1")
    bridge.security.answered(first, is_kept=False)
    again = bridge.from_sip(entity, call_id="1", trace_id="trace-2")
    # That was decided, so nothing takes it back any more.
    bridge.security.answered(again, is_kept=True)
    bridge.security.answered(again, is_kept=False)
    assert [(each.verdict.status, each.verdict.date) for each in (first, again) if each.verdict] == [(Status.VALID, "")] * 2
    if stale_date == "mark":
        copied = bridge.from_sip(entity, call_id="2", trace_id="trace-3").verdict
        assert copied is not None
        assert (copied.status, copied.date) == (Status.REPLAY_RISK, "repeated")
        return
    with pytest.raises(Refusal) as refused:
        bridge.from_sip(entity, call_id="2", trace_id="trace-3")
    answer = bridge.uas.refused(refused.value)
    assert (answer.status, answer.reason) == (400, "Incorrect Date or Time")


@pytest.mark.requirement("MSG-86", "SMIME-26")
def test_what_was_signed_for_somebody_else_is_no_more_than_a_copy(tmp_path: Path) -> None:
    bridge = Bridge(tmp_path)
    covered = b"Content-Type: message/cpim\r\n\r\n" + cpim("im:romeo@sip.example", "im:mira@xmpp.example")
    message = bridge.from_sip(clear_signed(covered, sign(ROMEO, covered)))
    assert message.verdict is not None
    assert (message.verdict.status, message.verdict.detail) == (Status.REPLAY_RISK, "it was signed for im:mira@xmpp.example")
    assert text(bridge.stanza(message)) == "[signature: replay-risk] Lunch?"


@pytest.mark.requirement("MSG-86")
def test_whoever_else_it_was_signed_for_gets_it_too_and_once(tmp_path: Path) -> None:
    bridge = Bridge(tmp_path, stale_date="mark")
    whole = cpim("im:romeo@sip.example").replace(b"\r\nDateTime", b"\r\ncc: <im:mira@xmpp.example>\r\nDateTime", 1)
    covered = b"Content-Type: message/cpim\r\n\r\n" + whole
    entity, found = clear_signed(covered, sign(ROMEO, covered)), []
    for number, user in enumerate(("juliet", "mira", "mira")):
        uri = f"sip:{user}@xmpp.example"
        message = bridge.from_sip(entity, trace_id=str(number), call_id=str(number), uri=uri, to=f"<{uri}>")
        found.append(message.verdict and (message.verdict.status, message.verdict.date))
    assert found == [(Status.VALID, ""), (Status.VALID, ""), (Status.REPLAY_RISK, "repeated")]


@pytest.mark.requirement("SMIME-24", "SMIME-26")
def test_a_request_that_was_signed_for_somebody_else_and_goes_elsewhere_is_a_copy(tmp_path: Path) -> None:
    people = "From: <sip:romeo@sip.example>;tag=r1\r\nTo: <sip:mira@xmpp.example>\r\n"
    fragment = f"Content-Type: message/sipfrag\r\n\r\n{people}Call-ID: c1@h\r\nCSeq: 1 MESSAGE\r\nDate: {DATE}\r\n"
    covered = f"Content-Type: multipart/mixed; boundary=m\r\n\r\n--m\r\n{fragment}\r\n--m\r\n\r\nhi\r\n--m--".encode()
    said = {"from_": "<sip:romeo@sip.example>;tag=r1", "to": "<sip:mira@xmpp.example>", "cseq": "1 MESSAGE", "call_id": "c1@h"}
    verdict = Bridge(tmp_path).from_sip(clear_signed(covered, sign(ROMEO, covered)), **said).verdict  # type: ignore[arg-type]
    assert verdict is not None
    assert (verdict.status, verdict.detail) == (Status.REPLAY_RISK, "it was signed for sip:mira@xmpp.example")


@pytest.mark.requirement("SMIME-26")
def test_every_author_that_a_signed_object_names_is_the_one_who_signed(tmp_path: Path) -> None:
    part = b"--m\r\nContent-Type: message/cpim\r\n\r\n" + cpim("im:mercutio@sip.example") + b"\r\n--m--"
    covered = b"Content-Type: multipart/mixed; boundary=m\r\n\r\n" + part
    verdict = Bridge(tmp_path).from_sip(clear_signed(covered, sign(ROMEO, covered))).verdict
    assert verdict is not None
    assert verdict.status is Status.WRONG_IDENTITY


@pytest.mark.requirement("MSG-86")
def test_nobody_can_have_a_message_refused_by_sending_it_before_its_author(tmp_path: Path) -> None:
    bridge = Bridge(tmp_path)
    covered = b"Content-Type: message/cpim\r\n\r\n" + cpim("im:romeo@sip.example")
    entity = clear_signed(covered, sign(ROMEO, covered))
    found = []
    for name in ("mercutio", "romeo"):
        found.append(bridge.from_sip(entity, trace_id=name, call_id=name, from_=f"<sip:{name}@sip.example>;tag=1").verdict)
    assert [each.status for each in found if each] == [Status.WRONG_IDENTITY, Status.VALID]


@pytest.mark.requirement("SEC-07")
def test_beside_a_good_message_no_subject_is_shown_that_nobody_has_signed(tmp_path: Path) -> None:
    for number, (inside, shown) in enumerate((("", []), ("Subject: Midi\r\n", ["Midi"]))):
        bridge = Bridge(tmp_path)
        whole = cpim("im:romeo@sip.example").replace(b"\r\nDateTime", f"\r\n{inside}DateTime".encode(), 1)
        covered = b"Content-Type: message/cpim\r\n\r\n" + whole
        message = bridge.from_sip(clear_signed(covered, sign(ROMEO, covered)), trace_id=str(number), subject="Midi")
        assert message.verdict is not None
        assert message.verdict.is_good
        assert [each.text for each in bridge.stanza(message) if each.tag == "subject"] == shown


@pytest.mark.requirement("SMIME-24")
def test_a_signed_copy_of_another_request_makes_it_invalid(tmp_path: Path) -> None:
    bridge = Bridge(tmp_path)
    people = "From: <sip:romeo@sip.example>;tag=r1\r\nTo: <sip:juliet@xmpp.example>\r\n"
    fields = f"{people}Call-ID: c1@h\r\nCSeq: 1 MESSAGE\r\nDate: {DATE}\r\n\r\n"
    covered = b"Content-Type: message/sipfrag\r\n\r\n" + fields.encode()
    entity = clear_signed(covered, sign(ROMEO, covered))
    said = {"from_": "<sip:romeo@sip.example>;tag=r1", "to": "<sip:juliet@xmpp.example>", "cseq": "1 MESSAGE"}
    same = bridge.from_sip(entity, call_id="c1@h", **said)  # type: ignore[arg-type]
    other = Bridge(tmp_path).from_sip(entity, call_id="c2@h", **said)  # type: ignore[arg-type]
    assert same.verdict is not None
    assert other.verdict is not None
    assert (same.verdict.status, other.verdict.status) == (Status.VALID, Status.INVALID)
    assert "Call-ID" in other.verdict.detail


@pytest.mark.requirement("FRAG-34")
def test_the_headers_of_a_signed_fragment_are_covered_too(tmp_path: Path) -> None:
    bridge = Bridge(tmp_path, stale_date="mark")
    covered = b"Content-Type: message/sipfrag\r\nContent-Disposition: notification\r\n\r\nSIP/2.0 404 Not Found\r\n"
    signature = sign(ROMEO, covered)
    for octets, status in ((covered, Status.VALID), (covered.replace(b"notification", b"render"), Status.INVALID)):
        verdict = bridge.from_sip(clear_signed(octets, signature)).verdict
        assert verdict is not None
        assert verdict.status is status


@pytest.mark.requirement("DRF-13")
def test_a_signed_message_counts_whatever_its_cseq_says(tmp_path: Path) -> None:
    bridge = Bridge(tmp_path)
    for number, cseq in enumerate(("7 MESSAGE", "3 MESSAGE")):
        covered = b"Content-Type: message/cpim\r\n\r\n" + cpim("im:romeo@sip.example", date=f"2026-01-02T03:04:0{5 + number}Z")
        message = bridge.from_sip(clear_signed(covered, sign(ROMEO, covered)), NOW + number, f"t{number}", call_id="c1", cseq=cseq)
        assert message.verdict is not None
        assert message.verdict.is_good


@pytest.mark.requirement("FRAG-63", "FRAG-66")
@pytest.mark.parametrize("is_swapped", [False, True])
def test_an_identity_body_says_on_the_other_side_who_was_asserted_and_makes_no_content_valid(tmp_path: Path, is_swapped: bool) -> None:
    bridge = Bridge(tmp_path, verdict=True)
    fields = "From: <sip:romeo@sip.example>\r\nTo: <sip:juliet@xmpp.example>\r\nCall-ID: c1@h\r\nCSeq: 1 MESSAGE\r\n"
    covered = f"Content-Type: message/sipfrag\r\nContent-Disposition: aib; handling=optional\r\n\r\n{fields}Date: {DATE}\r\n\r\n".encode()
    told = b"Other" if is_swapped else b"Lunch?"
    inner = clear_signed(covered, sign(ROMEO, covered)).raw
    body = b"--b2\r\nContent-Type: text/plain\r\n\r\n" + told + b"\r\n--b2\r\n" + inner + b"\r\n--b2--"
    entity = Entity.compose([("Content-Type", "multipart/mixed; boundary=b2")], body)
    said = {"from_": "<sip:romeo@sip.example>;tag=r1", "to": "<sip:juliet@xmpp.example>", "cseq": "1 MESSAGE", "call_id": "c1@h"}
    message = bridge.from_sip(entity, **said)  # type: ignore[arg-type]
    assert message.verdict is not None
    assert (message.verdict.status, message.verdict.asserted) == (Status.PARTIAL, "sip:romeo@sip.example")
    stanza = bridge.stanza(message)
    verdict = next(each for each in stanza if each.tag.endswith("}verdict"))
    assert (verdict.get("status"), verdict.get("asserted")) == ("partial", "sip:romeo@sip.example")
    assert text(stanza) == f"[signature: partial] {told.decode()}"


@pytest.mark.requirement("E2E-20")
def test_a_domain_of_which_only_what_is_signed_is_taken(tmp_path: Path) -> None:
    bridge = Bridge(tmp_path, require=("sip.example",))
    covered = b"Content-Type: message/cpim\r\n\r\n" + cpim("im:romeo@sip.example")
    good, bad = sign(ROMEO, covered), sign(JULIET, covered)
    for entity in (clear_signed(covered, bad), Entity.compose([("Content-Type", "text/plain")], b"hi")):
        with pytest.raises(Refusal) as refused:
            bridge.from_sip(entity)
        assert bridge.uas.refused(refused.value).status == 406
    assert bridge.from_sip(clear_signed(covered, good)).verdict
    # What a hosted author has signed himself has to hold, too.
    hosting = Bridge(tmp_path, require=("sip.example",), hosted={"romeo@sip.example": ROMEO})
    with pytest.raises(Refusal, match="signature-required"):
        hosting.from_sip(clear_signed(covered, bad))
    assert hosting.from_sip(Entity.compose([("Content-Type", "text/plain")], b"hi")).verdict
    # Juliet is of another domain.
    assert bridge.from_xmpp("<body>hi</body>").verdict is None


# -- for a hosted recipient -----------------------------------------------------------------------------------------------
@pytest.mark.requirement("SMIME-20")
def test_what_is_encrypted_for_a_hosted_account_is_opened_and_what_is_signed_in_it_judged(tmp_path: Path) -> None:
    bridge = Bridge(tmp_path, hosted={"juliet@xmpp.example": JULIET})
    whole = b"Content-Type: message/cpim\r\n\r\n" + cpim("im:romeo@sip.example")
    signed = opaque(sign(ROMEO, whole, detached=False))
    sealed = opaque(openssl_encrypt(JULIET, signed.raw, "aes-128-gcm"), "authEnveloped-data")
    message = bridge.from_sip(sealed)
    assert message.verdict is not None
    assert (message.verdict.status, message.verdict.encrypted) == (Status.VALID, True)
    stanza = bridge.stanza(message)
    assert text(stanza) == "Lunch?"
    assert stanza.find(E2E_TAG) is None


@pytest.mark.requirement("SMIME-73", "SMIME-75")
def test_what_is_only_encrypted_says_that_nobody_has_signed_it(tmp_path: Path) -> None:
    bridge = Bridge(tmp_path, hosted={"juliet@xmpp.example": JULIET})
    sealed = opaque(openssl_encrypt(JULIET, TEXT, "aes-128-cbc"), "enveloped-data")
    message = bridge.from_sip(sealed)
    assert message.verdict is not None
    assert message.verdict.status is Status.CONFIDENTIAL_UNAUTHENTICATED
    assert text(bridge.stanza(message)) == "[signature: confidential-unauthenticated] Lunch?"


@pytest.mark.requirement("MSG-8B", "SMIME-72")
def test_what_cannot_be_decrypted_for_a_hosted_account_is_493_whatever_is_wrong_and_soon_not_tried_any_more(tmp_path: Path) -> None:
    bridge = Bridge(tmp_path, hosted={"juliet@xmpp.example": JULIET})
    blob = openssl_encrypt(JULIET, TEXT, "aes-128-gcm")
    wrong = [
        openssl_encrypt(ROMEO, TEXT, "aes-128-gcm"), blob[:-1] + bytes((blob[-1] ^ 1,)), blob[:-200], b"0\x80",
        openssl_encrypt(ROMEO, TEXT, "aes-128-cbc"),
    ]  # fmt: skip
    answers = []
    for each in wrong * 2:
        with pytest.raises(Refusal) as refused:
            bridge.from_sip(opaque(each, "enveloped-data"))
        answers.append(bridge.uas.refused(refused.value))
    assert {(each.status, each.reason, each.extra) for each in answers} == {(493, "Undecipherable", ())}
    # Ten failures: for a while nothing of his is tried, which is no verdict on it.
    with pytest.raises(Refusal, match="overloaded"):
        bridge.from_sip(opaque(blob, "authEnveloped-data"))
    assert bridge.from_sip(opaque(blob, "authEnveloped-data"), from_="<sip:mercutio@sip.example>;tag=1").verdict
    assert bridge.from_sip(opaque(blob, "authEnveloped-data"), NOW + 3600, call_id="later").verdict


@pytest.mark.requirement("SMIME-72", "SMIME-75")
def test_of_what_is_not_authenticated_the_sender_is_never_told_that_it_could_not_be_decrypted(tmp_path: Path) -> None:
    """He may have seen it on the way, and ask with changed blocks what is in it: 202 whatever comes of it."""
    bridge = Bridge(tmp_path, hosted={"juliet@xmpp.example": JULIET})
    blob = openssl_encrypt(JULIET, TEXT, "aes-128-cbc")
    sealed = opaque(blob[:-16] + b"\x00" * 16, "enveloped-data")
    message = bridge.from_sip(sealed)
    assert message.verdict is not None
    assert (message.verdict.status, message.verdict.encrypted) == (Status.UNDECRYPTABLE, True)
    assert text(bridge.stanza(message)) == "[signature: undecryptable] This message was encrypted, and cannot be decrypted."
    # What it is decrypted to makes no difference either.
    for content in (
        b"Content-Type: image/png\r\n\r\nx",
        b"Content-Type: text/plain; charset=none\r\n\r\nx",
        b"Content-Type: multipart/mixed\r\n\r\n",
    ):
        odd = bridge.from_sip(opaque(openssl_encrypt(JULIET, content, "aes-128-cbc"), "enveloped-data"))
        assert text(bridge.stanza(odd)) == "[signature: confidential-unauthenticated] This message has content that cannot be shown."
    # Nor that something signed is in it that has been here before.
    covered = b"Content-Type: message/cpim\r\n\r\n" + cpim("im:romeo@sip.example")
    copied = openssl_encrypt(JULIET, clear_signed(covered, sign(ROMEO, covered)).raw, "aes-128-cbc")
    for number in ("1", "2"):
        bridge.from_sip(opaque(copied, "enveloped-data"), NOW, f"t{number}", call_id=number)


@pytest.mark.requirement("SMIME-72")
def test_of_what_is_not_authenticated_nothing_inside_decides_whether_it_is_taken(tmp_path: Path) -> None:
    """Its size is asked before it is opened, and where a signature is required what is inside is none."""
    blob = openssl_encrypt(JULIET, TEXT, "aes-128-cbc")
    whole, broken = (opaque(octets, "enveloped-data") for octets in (blob, blob[:-16] + b"\x00" * 16))
    requiring = Bridge(tmp_path, hosted={"juliet@xmpp.example": JULIET}, require=("sip.example",))
    for entity in (whole, broken):
        with pytest.raises(Refusal, match="signature-required"):
            requiring.from_sip(entity)
    hosting = tmp_path / "sip"
    hosting.mkdir()
    bounded = Bridge(hosting, hosted={"romeo@sip.example": ROMEO}, rule=RouteRule("*", "sip:127.0.0.1:5080;transport=tcp"))
    long = openssl_encrypt(ROMEO, TEXT + b"x" * 600, "aes-128-cbc")
    for octets in (long, long[:-16] + b"\x00" * 16):
        payload = opaque(octets, "enveloped-data", base64_encoded=True).raw.decode()
        with pytest.raises(Refusal, match="too-large-for-sip"):
            bounded.from_xmpp(f"<e2e xmlns='{E2E}'>{payload}</e2e>")


@pytest.mark.requirement("SMIME-71", "MSG-80")
def test_what_is_encrypted_for_somebody_else_is_carried(tmp_path: Path) -> None:
    bridge = Bridge(tmp_path, hosted={"romeo@sip.example": ROMEO})
    sealed = opaque(openssl_encrypt(JULIET, TEXT, "aes-128-gcm"), "authEnveloped-data")
    stanza = bridge.stanza(bridge.from_sip(sealed))
    assert entity_in(stanza.findtext(E2E_TAG) or "").content == sealed.content
    assert "Lunch" not in text(stanza)


@pytest.mark.requirement("SMIME-71")
def test_what_is_not_for_the_gateway_alone_crosses_to_a_hosted_account_too(tmp_path: Path) -> None:
    bridge = Bridge(tmp_path, hosted={"juliet@xmpp.example": JULIET})
    sealed = opaque(openssl_encrypt(ROMEO, TEXT, "aes-128-gcm"), "authEnveloped-data")
    entity = Entity.compose([("Content-Type", "multipart/mixed; boundary=m")], b"--m\r\n\r\nhi\r\n--m\r\n" + sealed.raw + b"\r\n--m--")
    assert entity_in(bridge.stanza(bridge.from_sip(entity)).findtext(E2E_TAG) or "").content == entity.content


@pytest.mark.requirement("SMIME-71")
def test_what_is_only_signed_and_cannot_be_shown_crosses_to_a_hosted_account_as_to_anybody(tmp_path: Path) -> None:
    bridge = Bridge(tmp_path, hosted={"juliet@xmpp.example": JULIET})
    picture = b"Content-Type: image/png\r\n\r\nx"
    entity = clear_signed(picture, sign(ROMEO, picture))
    assert entity_in(bridge.stanza(bridge.from_sip(entity)).findtext(E2E_TAG) or "").content == entity.content


# -- for a hosted author --------------------------------------------------------------------------------------------------
@pytest.mark.requirement("SMIME-07", "E2E-15", "SMIME-22", "MSG-8A", "MSG-8C")
def test_what_a_hosted_author_writes_to_sip_is_signed_as_message_cpim_with_the_date_of_the_request(tmp_path: Path) -> None:
    bridge = Bridge(tmp_path, hosted={"juliet@xmpp.example": JULIET})
    octets = bridge.request(bridge.from_xmpp("<body>Prav.</body>"))
    assert header(octets, "Content-Type") == "application/pkcs7-mime; smime-type=signed-data; name=smime.p7m"
    assert header(octets, "Date") == DATE
    assert opened(body_of(octets)) == (
        b"Content-Type: message/cpim\r\n\r\nFrom: <sip:juliet@xmpp.example>\r\nTo: <sip:romeo@sip.example>\r\n"
        b"DateTime: 2026-01-02T03:04:05Z\r\n\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nPrav."
    )


@pytest.mark.requirement("SMIME-25")
def test_a_certificate_of_a_hosted_author_may_name_him_as_the_other_side_does(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    write_account(folder, "juliet@xmpp.example", CA.issue("sip:+15551230001@ims.example").pem_with_key, replace=False)
    known = replace(settings(), smime=SmimeSettings(keys=folder))
    with pytest.raises(ConfigFault, match=r"does not name juliet@xmpp\.example"):
        translation(known, tables(), SECRET)
    pair = Pair(SipAddress("+15551230001", "ims.example"), Jid("juliet", "xmpp.example"), "users.toml:1")
    assert translation(known, replace(tables(), users=(pair,)), SECRET).security


@pytest.mark.requirement("SMIME-38")
def test_nothing_is_signed_for_whoever_is_not_hosted_and_the_key_of_a_domain_is_nobodys(tmp_path: Path) -> None:
    domain = CA.issue("dns:xmpp.example", "sip:xmpp.example")
    bridge = Bridge(tmp_path, hosted={"juliet@xmpp.example": JULIET})
    octets = bridge.request(bridge.from_xmpp("<body>Prav.</body>", author="mira@xmpp.example/b"))
    assert header(octets, "Content-Type") == "text/plain;charset=UTF-8"
    assert octets.endswith(b"\r\n\r\nPrav.")
    write_account(tmp_path / "keys", "mira@xmpp.example", domain.pem_with_key, replace=False)
    with pytest.raises(ConfigFault, match=r"does not name mira@xmpp\.example; it names dns:xmpp\.example, sip:xmpp\.example"):
        translation(bridge.settings, tables(), SECRET)
    signed = sign(CA.issue("dns:sip.example"), cpim("im:romeo@sip.example"), detached=False)
    verdict = bridge.from_sip(opaque(signed)).verdict
    assert verdict
    assert verdict.status is Status.DOMAIN_SIGNED


@pytest.mark.requirement("SMIME-34")
def test_each_try_has_the_same_signature(tmp_path: Path) -> None:
    bridge = Bridge(tmp_path, hosted={"juliet@xmpp.example": JULIET})
    message = bridge.from_xmpp("<body>Prav.</body>")
    tries = [bridge.request(Envelope.from_cpim(message.to_cpim())).partition(b"\r\n\r\n")[2] for _ in range(2)]
    assert tries[0] == tries[1]


@pytest.mark.requirement("SMIME-07")
def test_a_route_may_want_it_readable(tmp_path: Path) -> None:
    rule = RouteRule("*", "sip:127.0.0.1:5080;transport=tcp", large_messages=True, smime_form="clear")
    bridge = Bridge(tmp_path, hosted={"juliet@xmpp.example": JULIET}, rule=rule)
    octets = bridge.request(bridge.from_xmpp("<body>Prav.</body>"))
    assert header(octets, "Content-Type").startswith("multipart/signed;")
    assert b"\r\n\r\nPrav.\r\n--" in octets
    assert opened(body_of(octets)).endswith(b"\r\n\r\nPrav.")


@pytest.mark.requirement("SMIME-62")
def test_a_route_that_wants_it_readable_gets_an_opaque_signature_so(tmp_path: Path) -> None:
    rule = RouteRule("*", "sip:127.0.0.1:5080;transport=tcp", large_messages=True, smime_form="clear")
    bridge = Bridge(tmp_path, rule=rule)
    blob = sign(JULIET, TEXT, detached=False)
    payload = opaque(blob, base64_encoded=True).raw.decode()
    octets = bridge.request(bridge.from_xmpp(f"<e2e xmlns='{E2E}'>{payload}</e2e>"))
    assert header(octets, "Content-Type").startswith("multipart/signed;")
    assert opened(body_of(octets)) == TEXT


@pytest.mark.requirement("SMIME-35")
def test_a_route_may_have_the_text_beside_a_signed_message_which_says_so(tmp_path: Path) -> None:
    rule = RouteRule("*", "sip:127.0.0.1:5080;transport=tcp", large_messages=True, smime_extract=True)
    bridge = Bridge(tmp_path, rule=rule)
    payload = opaque(sign(JULIET, TEXT, detached=False), base64_encoded=True)
    octets = bridge.request(bridge.from_xmpp(f"<e2e xmlns='{E2E}'>{payload.raw.decode()}</e2e>"))
    assert header(octets, "Content-Type").startswith("multipart/mixed;")
    assert b"\r\n\r\n[signature removed by the gateway; the signed message is attached]\r\nLunch?\r\n--" in octets
    assert payload.raw in octets


@pytest.mark.requirement("SMIME-06", "SMIME-20", "MSG-8A")
@pytest.mark.parametrize(("spelling", "said"), [("rfc8551", "authEnveloped-data"), ("rfc8591", "auth-enveloped-data")])
def test_for_whom_there_is_a_certificate_it_is_encrypted_too_and_nothing_of_it_is_said_outside(
    tmp_path: Path, spelling: str, said: str
) -> None:
    rule = RouteRule("*", "sip:127.0.0.1:5080;transport=tcp", large_messages=True, smime_type=spelling)
    bridge = Bridge(tmp_path, hosted={"juliet@xmpp.example": JULIET}, known=(ROMEO,), rule=rule)
    octets = bridge.request(bridge.from_xmpp("<subject>Midi</subject><body>Prav.</body>"))
    assert header(octets, "Content-Type") == f"application/pkcs7-mime; smime-type={said}; name=smime.p7m"
    assert b"Midi" not in octets
    inner = Entity.parse(openssl_decrypt(ROMEO, octets.partition(b"\r\n\r\n")[2]))
    assert b"Subject: Midi\r\n" in opened(inner)


@pytest.mark.requirement("SMIME-37")
@pytest.mark.parametrize(
    ("smime", "takes", "is_signed"),
    [("auto", None, True), ("auto", Takes(smime=True), True), ("auto", Takes(smime=False), False), ("always", Takes(smime=False), True),
     ("never", None, False)],
)  # fmt: skip
def test_only_the_operator_says_where_a_hosted_author_does_not_sign(
    tmp_path: Path, smime: str, takes: Takes | None, is_signed: bool
) -> None:
    rule = RouteRule("*", "sip:127.0.0.1:5080;transport=tcp", large_messages=True, smime=smime)
    bridge = Bridge(tmp_path, hosted={"juliet@xmpp.example": JULIET}, rule=rule, takes=takes)
    kind = header(bridge.request(bridge.from_xmpp("<body>Prav.</body>")), "Content-Type").partition(";")[0]
    assert kind == ("application/pkcs7-mime" if is_signed else "text/plain")


@pytest.mark.requirement("SMIME-37")
def test_for_whom_it_was_encrypted_it_is_not_sent_without_once_his_certificate_has_ended(tmp_path: Path) -> None:
    ended = holder(CA, "p256", "sip:romeo@sip.example", not_after=datetime.fromtimestamp(NOW - 1, UTC))
    bridge = Bridge(tmp_path, hosted={"juliet@xmpp.example": JULIET}, known=(ended,))
    with pytest.raises(Refusal, match="no-good-certificate"):
        bridge.from_xmpp("<body>Prav.</body>")


@pytest.mark.requirement("SMIME-75")
def test_what_is_signed_here_with_a_certificate_that_has_ended_says_so(tmp_path: Path) -> None:
    ended = holder(CA, "p256", "sip:romeo@sip.example", not_after=datetime.fromtimestamp(NOW - 1, UTC))
    bridge = Bridge(tmp_path, hosted={"romeo@sip.example": ended})
    stanza = bridge.stanza(bridge.from_sip(Entity.compose([("Content-Type", "text/plain")], b"hi")))
    assert text(stanza) == "[signature: expired] hi"


@pytest.mark.requirement("E2E-18")
def test_the_dates_of_one_account_rise_whatever_the_clock_does(tmp_path: Path) -> None:
    bridge = Bridge(tmp_path, hosted={"juliet@xmpp.example": JULIET})
    signed = [opened(body_of(bridge.request(bridge.from_xmpp("<body>Prav.</body>", now)))) for now in (NOW, NOW, NOW - 9, NOW + 1)]
    dates = [next(line for line in each.split(b"\r\n") if line.startswith(b"DateTime")).partition(b": ")[2] for each in signed]
    assert dates == [b"2026-01-02T03:04:05Z", b"2026-01-02T03:04:05.001Z", b"2026-01-02T03:04:05.002Z", b"2026-01-02T03:04:06Z"]


@pytest.mark.requirement("E2E-15", "SMIME-36")
def test_what_a_hosted_sip_user_writes_goes_to_xmpp_signed_with_its_text_beside_it(tmp_path: Path) -> None:
    bridge = Bridge(tmp_path, hosted={"romeo@sip.example": ROMEO})
    stanza = bridge.stanza(bridge.from_sip(Entity.compose([("Content-Type", "text/plain")], b"Lunch?\nNow?")))
    assert text(stanza) == "Lunch?\nNow?"
    signed = opened(entity_in(stanza.findtext(E2E_TAG) or ""))
    head = b"Content-Type: message/cpim\r\n\r\nFrom: <im:romeo@sip.example>\r\nTo: <im:juliet@xmpp.example>\r\nDateTime: "
    assert signed.startswith(head)
    assert signed.endswith(b"\r\n\r\nLunch?\r\nNow?")


@pytest.mark.requirement("E2E-19", "SMIME-27")
def test_the_certificate_goes_to_xmpp_once_in_five_minutes_and_to_sip_always(tmp_path: Path) -> None:
    bridge = Bridge(tmp_path, hosted={"romeo@sip.example": ROMEO, "juliet@xmpp.example": JULIET})
    mine, hers = ROMEO.certificate.public_bytes(Encoding.DER), JULIET.certificate.public_bytes(Encoding.DER)
    to_xmpp, to_sip = [], []
    for number, now in enumerate((NOW, NOW + 299, NOW + 301, NOW + 302)):
        said = Entity.compose([("Content-Type", "text/plain")], b"hi")
        stanza = bridge.stanza(bridge.from_sip(said, now, f"trace-{number}", call_id=str(number)))
        to_xmpp.append(mine in entity_in(stanza.findtext(E2E_TAG) or "").decoded())
        to_sip.append(hers in bridge.request(bridge.from_xmpp("<body>Prav.</body>", now)))
    assert (to_xmpp, to_sip) == ([True, False, True, False], [True] * 4)


@pytest.mark.requirement("SMIME-34")
def test_what_a_hosted_author_has_signed_himself_is_not_touched(tmp_path: Path) -> None:
    bridge = Bridge(tmp_path, hosted={"romeo@sip.example": ROMEO})
    entity = clear_signed(TEXT, sign(ROMEO, TEXT))
    assert entity_in(bridge.stanza(bridge.from_sip(entity)).findtext(E2E_TAG) or "").content == entity.content


# -- configuration --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("key", ["anchors", "certificates", "crls"])
def test_files_that_cannot_be_used_are_said_with_their_key(tmp_path: Path, key: str) -> None:
    good, bad = tmp_path / "anchors.pem", tmp_path / "bad.pem"
    good.write_bytes(CA.pem)
    torn = CA.crl() + CA.crl().replace(b"-----BEGIN X509 CRL-----\n", b"-----BEGIN X509 CRL-----\n-", 1)
    for octets in (b"nothing", b"", CA.pem.replace(b"MII", b"MIJ", 1), torn if key == "crls" else b"-----BEGIN CERTIFICATE-----"):
        bad.write_bytes(octets)
        named: dict[str, Any] = {"anchors": good} | {key: bad}
        with pytest.raises(ConfigFault) as fault:
            translation(replace(settings(), smime=SmimeSettings(**named)), tables(), SECRET)
        assert fault.value.key == f"smime.{key}"


def test_without_any_of_it_nothing_is_done() -> None:
    assert translation(settings(), tables(), SECRET).security is None
