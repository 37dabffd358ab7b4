"""What is signed or encrypted from end to end, in stanzas: what stands beside the object, what is read, and what an error says of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from xml.etree.ElementTree import Element, fromstring

import pytest

from gateway.core.canonical import entity_message, failure_message
from gateway.core.content import content_of
from gateway.core.envelope import NAMESPACE, Envelope, StanzaOrigin
from gateway.core.errors import Refusal
from gateway.core.mime import Entity
from gateway.core.ports import Outer, Parties
from gateway.core.protection import is_protected
from gateway.core.settings import RouteRule, Settings, SipSettings, SmimeSettings, XmppSettings
from gateway.core.tables import EXTENSIONS
from gateway.core.verdict import NOT_CHECKED, Status, Verdict
from gateway.translation import translation
from gateway.xmpp import stanza as xml
from gateway.xmpp.codec import XmppCodec
from gateway.xmpp.e2e import Conversion, entity_in
from gateway.xmpp.secured import ENCRYPTED_NOTICE, SIGNED_NOTICE, Readable
from gateway.xmpp.stream import MOST_STANZA_OCTETS
from tests.xmpp.lonely import DOMAIN, lonely, soon
from tests.xmpp.test_codec import CODEC, MIRA, NOW, TABLES, TOMAS, envelope, parsed, read
from tests.xmpp.test_e2e import BASE64, CPIM, DER, E16, MIME_TYPES, blob, signed

NS = "{urn:ietf:params:xml:ns:xmpp-e2e}"
EME, HINTS = "{urn:xmpp:eme:0}encryption", "{urn:xmpp:hints}store"
VALID = Verdict(Status.VALID, ("im:tomas@sip.example",), NOW, digest="sha256:00")
PART = b"Content-Type: text/plain; charset=utf-8\r\n\r\n"
IDENTITY = b"Content-Type: message/sipfrag\r\nContent-Disposition: AIB; handling=optional\r\n\r\nFrom: <sip:tomas@sip.example>\r\n"
OUTER_CPIM = b"From: <im:tomas@sip.example>\r\nTo: <im:mira@xmpp.example>\r\n\r\n"


def codec(
    *routes: RouteRule,
    smime: SmimeSettings | None = None,
    readable: Readable = lambda _: None,
    conversions: Mapping[str, Conversion] | None = None,
) -> XmppCodec:
    xmpp = XmppSettings("127.0.0.1", 5347, "hush", ("xmpp.example",))
    sip = SipSettings((), ("sip.example",))
    chosen = Settings("gateway.toml", "gw.example", Path(), None, sip, xmpp, "", routes=routes, smime=smime or SmimeSettings())
    return XmppCodec(translation(chosen, TABLES, b"k" * 32).directory, TABLES, chosen, readable, conversions)


def of(entity: Entity, **more: object) -> Envelope:
    return envelope("", message=entity_message(TOMAS, MIRA, entity, NOW), **{"verdict": NOT_CHECKED} | more)


def written(entity: Entity, by: XmppCodec = CODEC, **more: object) -> Element:
    """The stanza for this entity; the object in it is the entity to the octet."""
    stanza = parsed(by.write(of(entity, **more)))
    [found] = stanza.iter(f"{NS}e2e")
    assert entity_in(found.text or "").raw == entity.raw
    assert stanza.find(HINTS) is not None
    return stanza


def body(entity: Entity, by: XmppCodec = CODEC, **more: object) -> str | None:
    return written(entity, by, **more).findtext("body")


def names(stanza: Element) -> list[str]:
    return [each.tag for each in stanza]


def mixed(*parts: bytes) -> Entity:
    content = b"".join([b"--x\r\n" + part + b"\r\n" for part in parts]) + b"--x--\r\n"
    return Entity.compose([("Content-Type", "multipart/mixed; boundary=x")], content)


# -- to XMPP -----------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("E2E-02", "SMIME-36", "SMIME-50")
def test_the_worked_example() -> None:
    """E16, with the text beside it."""
    parcel = CODEC.write(of(signed(), thread="t1"))
    assert isinstance(parcel.wire, bytes)
    payload = E16.replace("<", "&lt;").replace(">", "&gt;")
    assert parcel.wire.decode() == (
        "<message from='tomas@sip.example' to='mira@xmpp.example' id='i1'><thread>t1</thread>"
        "<body>[signature not verified] Podpisano.</body>"
        f"<e2e xmlns='urn:ietf:params:xml:ns:xmpp-e2e'>{payload}</e2e><store xmlns='urn:xmpp:hints'/></message>"
    )


@pytest.mark.requirement("E2E-04", "SMIME-36")
@pytest.mark.parametrize(
    ("entity", "text", "encrypted"),
    [(signed(), "[signature not verified] Podpisano.", False)]
    + [(blob(kind=kind), SIGNED_NOTICE if kind == "signed-data" else ENCRYPTED_NOTICE, kind != "signed-data") for kind in MIME_TYPES],
)
def test_the_five_forms(entity: Entity, text: str, encrypted: bool) -> None:
    stanza = written(entity)
    assert stanza.findtext("body") == text
    hints = [each.attrib for each in stanza.iter(EME)]
    assert hints == ([{"namespace": "urn:ietf:params:xml:ns:xmpp-e2e", "name": "S/MIME"}] if encrypted else [])


@pytest.mark.requirement("SMIME-36", "E2E-23")
@pytest.mark.parametrize("status", Status)
def test_the_text_says_what_is_known_of_its_signature(status: Status) -> None:
    marks = {Status.VALID: "", Status.NOT_CHECKED: "[signature not verified] "}
    assert body(signed(), verdict=replace(VALID, status=status)) == marks.get(status, f"[signature: {status.value}] ") + "Podpisano."


@pytest.mark.requirement("E2E-23")
def test_a_signature_of_another_time_is_marked() -> None:
    assert body(signed(), verdict=replace(VALID, date="old timestamp")) == "[signature: old timestamp] Podpisano."
    assert body(signed(), verdict=None) == "[signature not verified] Podpisano."


@pytest.mark.requirement("SMIME-36")
@pytest.mark.parametrize(
    ("entity", "text"),
    [
        (signed(PART + b"a\r\n\xc5\xa1"), "a\n\u0161"),
        (signed(b"Content-Type: text/plain; charset=iso-8859-1\r\n\r\np\xf8"), "p\u00f8"),
        (signed(PART + b"a\x00\x1bb"), "a\ufffd\ufffdb"),
        (signed(b"Content-Type: text/html\r\n\r\n<b>rich</b>"), "rich"),
        (signed(b"Content-Type: text/uri-list\r\n\r\nhttps://x.example/"), "https://x.example/"),
        (mixed(PART + b"around", signed().raw), "around\nPodpisano."),
        (mixed(PART + b"around", signed(IDENTITY).raw), "around"),
        (Entity.compose([("Content-Type", "message/cpim")], OUTER_CPIM + signed().raw), "Podpisano."),
    ],
)  # fmt: skip
def test_what_was_signed_in_the_clear_is_shown(entity: Entity, text: str) -> None:
    assert body(entity, verdict=VALID) == text


@pytest.mark.parametrize(
    "entity",
    [
        signed(b"Content-Type: image/png\r\n\r\n\x89PNG"),
        signed(b"Content-Type: text/plain; charset=x-unknown\r\n\r\nhi"),
        signed(PART + b"\xff"),
        signed(PART),
        signed(b"Content-Type: no type\r\n\r\n"),
        signed(IDENTITY),
        Entity.compose([("Content-Type", "multipart/signed; boundary=b")], b""),
        Entity.compose([("Content-Type", "multipart/signed; boundary=b")], b"--b--"),
        Entity.compose([("Content-Type", "multipart/signed; boundary=b")], b"--b\r\nx\r\n" * 40),
        Entity.compose([("Content-Type", "multipart/signed")], b"--b\r\n\r\n"),
        Entity.compose([("Content-Type", "application/pkcs7-mime; smime-type=certs-only")], DER),
        Entity.compose([("Content-Type", "application/pkcs7-mime; smime-type=compressed-data")], DER),
        mixed(PART + b"around", b"Content-Type: application/pkcs7-mime; smime-type=signed-data\r\n\r\n" + DER),
        signed(PART + b"&" * 60_000),
    ],
)
def test_what_cannot_be_shown_crosses_beside_a_sentence(entity: Entity) -> None:
    assert body(entity, verdict=VALID) == SIGNED_NOTICE


@pytest.mark.requirement("SMIME-36", "E2E-02")
@pytest.mark.parametrize(
    "entity",
    [
        blob(kind="enveloped-data"),
        Entity.compose([("Content-Type", "application/x-pkcs7-mime")], DER),
        blob(b"MIAGCQ==", "authEnveloped-data", BASE64),
        mixed(PART + b"around", b"Content-Type: application/pkcs7-mime\r\n\r\n" + DER),
        signed(b"Content-Type: application/pkcs7-mime; smime-type=enveloped-data\r\n\r\n" + DER),
        signed(signed(mixed(PART, blob(kind="enveloped-data").raw).raw, boundary=b"b2").raw),
        Entity.compose([("Content-Type", "message/cpim")], b"From: <im:a@b>\r\n\r\n" + blob(kind="enveloped-data").raw),
    ],
)
def test_beside_what_is_encrypted_is_a_sentence(entity: Entity) -> None:
    """Whatever anybody could read of it, and however deep it is."""
    by = codec(readable=lambda _: Entity.parse(PART + b"secret"))
    stanza = written(entity, by, verdict=VALID)
    assert stanza.findtext("body") == ENCRYPTED_NOTICE
    assert stanza.find(EME) is not None
    assert "secret" not in "".join(stanza.itertext())


def test_an_opaque_signature_is_read_where_it_can_be() -> None:
    asked: list[Entity] = []

    def readable(entity: Entity) -> Entity | None:
        asked.append(entity)
        return Entity.parse(CPIM)

    by = codec(readable=readable)
    assert body(blob(), by, verdict=VALID) == "Podpisano."
    assert body(blob(), by) == "[signature not verified] Podpisano."
    wrapped = Entity.compose([("Content-Type", "message/cpim")], b"From: <im:a@b>\r\n\r\n" + blob().raw)
    assert body(wrapped, by, verdict=VALID) == "Podpisano."
    assert [each.raw for each in asked] == [blob().raw] * 3
    assert body(blob(kind="certs-only"), by) == SIGNED_NOTICE
    assert body(mixed(blob().raw, blob().raw), by) == body(mixed(blob().raw, signed().raw), by) == SIGNED_NOTICE
    assert body(blob(), codec(readable=lambda _: Entity.parse(b"Content-Type: image/png\r\n\r\n"))) == SIGNED_NOTICE
    assert body(blob(), codec(readable=lambda _: blob(kind="enveloped-data"))) == SIGNED_NOTICE


def test_the_body_can_be_switched_off() -> None:
    by = codec(smime=SmimeSettings(body=False))
    assert names(written(signed(), by)) == [f"{NS}e2e", HINTS]
    assert names(written(blob(kind="enveloped-data"), by)) == [f"{NS}e2e", EME, HINTS]


def test_the_verdict_goes_beside_it_where_that_is_wanted() -> None:
    by = codec(smime=SmimeSettings(verdict=True))
    tag = f"{{{NAMESPACE}}}verdict"
    found = written(signed(), by, verdict=replace(VALID, signers=("im:a@b", "dns:b'<"), date="repeated")).find(tag)
    assert found is not None
    assert found.attrib == {"status": "valid", "signers": "im:a@b dns:b'<", "date": "repeated"}
    found = written(blob(kind="enveloped-data"), by).find(tag)
    assert found is not None
    assert found.attrib == {"status": "not-checked"}
    assert written(signed(), by, verdict=None).find(tag) is None
    assert written(signed()).find(tag) is None
    # What the gateway has decrypted is a message like any other, of which it can say what it found.
    plain = parsed(by.write(envelope("hi", verdict=Verdict(Status.CONFIDENTIAL_UNAUTHENTICATED, encrypted=True))))
    assert (plain.findtext("body"), [each.get("status") for each in plain.iter(tag)]) == ("hi", ["confidential-unauthenticated"])


@pytest.mark.requirement("FRAG-66")
def test_of_an_identity_body_the_verdict_goes_and_it_stays_in_what_is_carried_as_it_is() -> None:
    entity = mixed(PART + b"around", signed(IDENTITY).raw)
    verdict = replace(VALID, status=Status.PARTIAL, asserted="sip:mira@sip.example")
    stanza = written(entity, codec(smime=SmimeSettings(verdict=True)), verdict=verdict)
    found = stanza.find(f"{{{NAMESPACE}}}verdict")
    assert found is not None
    assert (found.get("asserted"), found.get("status")) == ("sip:mira@sip.example", "partial")
    shown = stanza.findtext("body") or ""
    assert "From:" not in shown
    assert shown.endswith("around")


@pytest.mark.requirement("NOTE-11", "IMDN-27", "IMDN-28")
def test_nobody_is_asked_to_tell_of_what_is_encrypted() -> None:
    wishes = frozenset(("positive-delivery", "display", "negative-delivery"))
    receipt = "{urn:xmpp:receipts}request"
    assert written(signed(), asked=wishes).find(receipt) is not None
    encrypted = written(blob(kind="enveloped-data"), asked=wishes)
    assert encrypted.find(receipt) is None
    assert encrypted.find("{urn:xmpp:chat-markers:0}markable") is None


def test_subject_language_and_name_stay_outside() -> None:
    entity = Entity.compose([*signed().headers, ("Content-Language", "sl")], signed().content)
    message = entity_message(TOMAS, MIRA, entity, NOW - 100, subjects=(("s", ""),))
    stanza = parsed(CODEC.write(envelope(message=message, thread="t", sender_name="Tomas")))
    tags = ["thread", "subject", "body", f"{NS}e2e", HINTS, "{http://jabber.org/protocol/nick}nick", "{urn:xmpp:delay}delay"]
    assert (names(stanza), stanza.get(xml.XML_LANG)) == (tags, "sl")


def test_the_route_of_the_sender_names_the_way() -> None:
    by = codec(RouteRule("*", smime_carriage=("D", "E")), conversions={"D": lambda _: blob()})
    stanza = parsed(by.write(of(signed())))
    assert entity_in(stanza.findtext(f"{NS}e2e") or "").raw == blob().raw
    by = codec(RouteRule("sip.example", smime_carriage=("E",)), RouteRule("*"))
    assert " " not in (written(signed(), by).findtext(f"{NS}e2e") or " ")


@pytest.mark.requirement("SMIME-56", "SMIME-55")
def test_the_largest_that_sip_brings_has_room_and_more_has_not() -> None:
    for octet in (b"a", b"&", b"\x00"):
        stanza = CODEC.write(of(signed(PART + octet * 65_000))).wire
        assert isinstance(stanza, bytes)
        assert len(stanza) < MOST_STANZA_OCTETS
    with pytest.raises(Refusal) as caught:
        CODEC.write(of(signed(PART + b"a" * 300_000)))
    assert (caught.value.key, TABLES.refusal(caught.value.key).sip) == ("body-too-large", 413)


def test_an_entity_that_cannot_be_written_again_is_refused() -> None:
    entity = Entity.parse(b"Content-Type: multipart/signed; boundary=b\r\nContent-ID: \xc2\x85\r\n\r\n")
    with pytest.raises(Refusal) as caught:
        CODEC.write(of(entity))
    assert caught.value.key == "bad-body"


# -- from XMPP ---------------------------------------------------------------------------------------------------------
def secured(payload: str, beside: str = "") -> str:
    return f"{beside}<e2e xmlns='urn:ietf:params:xml:ns:xmpp-e2e'>{xml.text(payload)}</e2e>"


def refused(content: str, by: Callable[[str], object] = read) -> Refusal:
    with pytest.raises(Refusal) as caught:
        by(content)
    return caught.value


@pytest.mark.requirement("E2E-01", "E2E-09", "SMIME-50")
def test_the_worked_example_back() -> None:
    content = f"\n<e2e xmlns='urn:ietf:params:xml:ns:xmpp-e2e'><![CDATA[\n{E16}]]></e2e>\n"
    found = read(content, "id='sg1' type='chat'")
    assert found is not None
    assert found.message.raw == (
        b"From: <im:mira@xmpp.example>\r\nTo: <im:tomas@sip.example>\r\nDateTime: 2026-02-03T09:16:00Z\r\n\r\n" + signed().raw
    )
    assert (found.verdict, found.asked, found.expires_at, found.volatile) == (NOT_CHECKED, frozenset(), None, False)
    assert found.origin == StanzaOrigin("sg1", "chat", "mira@xmpp.example/desk", "tomas@sip.example")
    assert Envelope.from_cpim(found.to_cpim()) == found


@pytest.mark.requirement("E2E-04", "SMIME-31")
@pytest.mark.parametrize("entity", [signed(), *[blob(kind=kind) for kind in MIME_TYPES]])
def test_the_five_forms_back(entity: Entity) -> None:
    payload = written(entity).findtext(f"{NS}e2e") or ""
    found = read(secured(payload))
    assert found is not None
    assert found.message.entity.raw == entity.raw
    assert found.message.entity.content_type == entity.content_type


@pytest.mark.requirement("SMIME-36", "NOTE-11")
def test_what_stands_beside_it_is_for_who_cannot_read_it() -> None:
    beside = (
        "<body>see inside</body><subject>outside</subject><thread> t9 </thread><nick xmlns='http://jabber.org/protocol/nick'>Mira</nick>"
        "<x xmlns='jabber:x:oob'><url>https://x.example/</url></x><encryption xmlns='urn:xmpp:eme:0'/><active xmlns='http://jabber.org/protocol/chatstates'/>"
        "<request xmlns='urn:xmpp:receipts'/><markable xmlns='urn:xmpp:chat-markers:0'/>"
        "<delay xmlns='urn:xmpp:delay' stamp='2026-02-03T09:00:00Z'/>"
    )  # fmt: skip
    found = read(secured(E16, beside), "id='m1'")
    assert found is not None
    assert (found.message.entity.raw, found.message.subjects, found.message.first("DateTime")) == (signed().raw, (), "2026-02-03T09:00:00Z")
    assert (found.thread, found.sender_name, found.asked) == ("t9", "Mira", frozenset())


@pytest.mark.requirement("SMIME-55")
def test_two_objects_are_none() -> None:
    assert refused(secured(E16) * 2).key == "bad-body"
    assert refused(secured(E16).replace("</e2e>", "<x/></e2e>")).key == "bad-body"
    assert refused(secured(E16), lambda content: read(content, "type='groupchat'")).key == "groupchat"


@pytest.mark.requirement("SEC-08")
@pytest.mark.parametrize(
    "content",
    [
        f"<x xmlns='urn:x'>{secured(E16)}</x>",
        f"<forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client'>{secured(E16)}</message></forwarded>",
        f"<e2e xmlns='urn:x'>{xml.text(E16)}</e2e>",
        f"<e2e>{xml.text(E16)}</e2e>",
    ],
)
def test_only_a_direct_child_is_the_object(content: str) -> None:
    assert read(content) is None
    found = read(f"<body>mine</body>{content}")
    assert found is not None
    assert found.message.entity.text() == "mine"


@pytest.mark.requirement("E2E-06", "SMIME-53")
@pytest.mark.parametrize("payload", ["", "not one", "U2FsdGVkX18=", "Content-Type: a/b\nContent-Type: a/b\n\n"])
def test_what_is_no_object_is_refused_in_words(payload: str) -> None:
    refusal = refused(secured(payload, "<body>text</body>"))
    assert refusal.key == "bad-body"
    assert refusal.detail


@pytest.mark.requirement("E2E-24")
def test_a_route_can_switch_it_off() -> None:
    by = codec(RouteRule("sip.example", smime="never"))

    def read_by(content: str) -> Envelope | None:
        stanza = fromstring(f"<message xmlns='{xml.COMPONENT}' from='mira@xmpp.example' to='tomas@sip.example'>{content}</message>")
        return by.read(stanza, Parties(MIRA, TOMAS), "xmpp:sip.example", "t1", NOW)

    refusal = refused(secured(E16), read_by)
    assert (refusal.key, TABLES.refusal(refusal.key).sip) == ("type-unsupported", 415)
    plain = read_by(secured("Content-Type: text/plain\n\nhi"))
    assert plain is not None
    assert read(secured(E16)) is not None


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        ("Content-Type: text/plain\n\nhi", "hi"),
        ("Content-Type: Message/CPIM\n\nFrom: <im:romeo@xmpp.example>\n\nContent-Type: text/plain\n\nhi", "hi"),
        ("Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: base64\n\ncPg=\n", "p\u00f8"),
    ],
)
def test_an_object_that_nothing_protects_is_a_message_like_any_other(payload: str, text: str) -> None:
    found = read(secured(payload))
    assert found is not None
    assert content_of(found.message.entity).text == text
    assert not is_protected(found.message.entity)
    assert (found.verdict, found.message.first("From")) == (None, "<im:mira@xmpp.example>")
    assert read(secured("Content-Type: text/plain\n\n")) is None


@pytest.mark.requirement("SEC-08")
@pytest.mark.parametrize(
    "kind", ["message/sipfrag", "message/imdn+xml", "application/im-iscomposing+xml", "image/png", "application/pidf+xml"]
)
def test_nothing_that_tells_a_program_comes_in_an_object(kind: str) -> None:
    """Else anybody could write the reports of the gateway."""
    assert refused(secured(f"Content-Type: {kind}\n\nSIP/2.0 200 OK\n")).key == "type-unsupported"


@pytest.mark.requirement("E2E-16")
def test_presence_that_is_protected_is_nothing_to_the_gateway() -> None:
    """Broadcast or directed: presence is not carried, so nobody is told that it was not."""

    async def talk() -> None:
        async with lonely() as (_, relay, server):
            peer = await server.peer()
            await peer.accept()
            await relay.up()
            for to in ("", f" to='tomas@{DOMAIN}'", f" to='{DOMAIN}'"):
                peer.write(f"<presence from='mira@xmpp.example/desk'{to}>{secured(E16)}</presence>")
            peer.write("<iq type='get' from='mira@xmpp.example' to='sip.example' id='q1'><ping xmlns='urn:xmpp:ping'/></iq>")
            assert (await peer.next()).get("id") == "q1"
            assert relay.offers.empty()

    asyncio.run(talk())


# -- whoever judges it -------------------------------------------------------------------------------------------------
class Judge:
    """Implements the Security port: says yes to all but one."""

    def arrived(self, envelope: Envelope, outer: Outer | None = None) -> Envelope:
        assert outer is None
        if envelope.origin is not None and isinstance(envelope.origin, StanzaOrigin) and envelope.origin.id == "no":
            raise Refusal("signature-required")
        return replace(envelope, verdict=VALID)

    def answered(self, envelope: Envelope, *, is_kept: bool) -> None:
        """Nothing was remembered of it."""


@pytest.mark.requirement("E2E-20")
def test_what_arrives_is_judged_before_it_is_offered() -> None:
    def message(number: str, content: str) -> str:
        return f"<message from='mira@xmpp.example' to='tomas@{DOMAIN}' type='chat' id='{number}'>{content}</message>"

    async def talk() -> None:
        async with lonely() as (link, relay, server):
            link._security = Judge()
            peer = await server.peer()
            await peer.accept()
            await relay.up()
            peer.write(message("no", secured(E16)) + message("yes", secured(E16)))
            peer.write(message("t", "<composing xmlns='http://jabber.org/protocol/chatstates'/>"))
            offered, _ = await soon(relay.offers.get())
            assert (offered.message.entity.raw, offered.verdict) == (signed().raw, VALID)
            typing, _ = await soon(relay.offers.get())
            assert (typing.volatile, typing.verdict) == (True, None)
            error = await peer.next()
            assert (error.get("id"), error.get("type")) == ("no", "error")
            assert error.find(f".//{NS}unverified-signature") is not None

    asyncio.run(talk())


# -- errors ------------------------------------------------------------------------------------------------------------
SAID = {
    "bad-timestamp": ("stale-date", 400, "Incorrect Date or Time", "not-acceptable"),
    "unverified-signature": ("signature-required", 406, "Not Acceptable", "not-acceptable"),
    "decryption-failed": ("undecipherable", 493, "Undecipherable", "bad-request"),
}


def error_from(content: str, sender: str = "mira@xmpp.example/desk") -> Element:
    ends = f"from='{sender}' to='tomas@sip.example' id='i1' type='error'"
    return fromstring(f"<message xmlns='{xml.COMPONENT}' {ends}>{secured('x')}<error type='modify'>{content}</error></message>")


@pytest.mark.requirement("E2E-20", "E2E-21")
@pytest.mark.parametrize("namespace", ["urn:ietf:params:xml:ns:xmpp-e2e", "urn:ietf:params:xml:xmpp-e2e"])
@pytest.mark.parametrize("name", [*EXTENSIONS, "signature-unverified"])
@pytest.mark.parametrize("sender", ["mira@xmpp.example/desk", "mira@xmpp.example"])
def test_an_error_of_rfc_3923_is_its_status(namespace: str, name: str, sender: str) -> None:
    _, status, reason, condition = SAID[name.replace("signature-unverified", "unverified-signature")]
    defined, own = f"<{condition} xmlns='{xml.STANZAS}'/>", f"<{name} xmlns='{namespace}'/>"
    for content in (defined + own, own + defined):
        outcome = CODEC.read_error(error_from(content, sender))
        assert (outcome.status, outcome.reason) == (status, reason)
    worded = CODEC.read_error(error_from(f"{defined}<text xmlns='{xml.STANZAS}'>too old</text>{own}"))
    assert (worded.status, worded.reason) == (status, "too old")
    # In another namespace it is nothing, nor is any other name.
    other = CODEC.read_error(error_from(f"{defined}<{name} xmlns='urn:x'/><x xmlns='{namespace}'/>"))
    assert other.status == TABLES.condition(condition).sip_full


def conditions(error: Element) -> list[str]:
    """Of the element <error/>: all that is not text."""
    return [each.tag for each in error if not each.tag.endswith("}text")]


@pytest.mark.requirement("E2E-20", "E2E-21")
@pytest.mark.parametrize("name", EXTENSIONS)
def test_our_errors_say_it_too(name: str) -> None:
    key, status, reason, condition = SAID[name]
    expected = [f"{{{xml.STANZAS}}}{condition}", f"{NS}{name}"]
    origin = StanzaOrigin("m1", "chat", "mira@xmpp.example/desk", "tomas@sip.example")
    [error] = fromstring(CODEC.refusal(origin, Refusal(key)))
    assert (error.get("type"), conditions(error)) == ("modify", expected)
    for words in (reason, reason.upper()):
        failed = failure_message(TOMAS, MIRA, NOW, status, words)
        [error] = parsed(CODEC.write(envelope(message=failed, about=origin)))
        assert (error.get("type"), conditions(error)) == ("modify", expected)


@pytest.mark.requirement("E2E-20")
@pytest.mark.parametrize(
    ("status", "reason", "expected"),
    [
        (493, "Cannot decrypt", ["bad-request", "decryption-failed"]),
        (400, "Bad Request", ["bad-request"]),
        (415, "Incorrect Date or Time", ["not-acceptable"]),
        (404, "Not Found", ["item-not-found"]),
    ],
)
def test_other_failures_say_what_they_are(status: int, reason: str, expected: list[str]) -> None:
    origin = StanzaOrigin("m1", "chat", "mira@xmpp.example/desk", "tomas@sip.example")
    [error] = parsed(CODEC.write(envelope(message=failure_message(TOMAS, MIRA, NOW, status, reason), about=origin)))
    assert [tag.rpartition("}")[2] for tag in conditions(error)] == expected


def test_success_is_no_error() -> None:
    """RFC 3923 section 7, case 2: nothing that is delivered makes a stanza back."""
    assert {row.key for row in TABLES.refusals if row.extension} == {key for key, *_ in SAID.values()}
    assert {row.sip for row in TABLES.statuses if row.extension} == {"406", "493"}
