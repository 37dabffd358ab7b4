"""Stanza -> Envelope and Envelope -> stanza: what is carried, what is chosen, and what never gets through."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from xml.etree.ElementTree import Element, fromstring

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.address import SipAddress
from gateway.core.canonical import failure_message, text_message
from gateway.core.cpim import CpimMessage
from gateway.core.envelope import Envelope, RequestOrigin, StanzaOrigin, home_uri
from gateway.core.errors import Refusal
from gateway.core.jid import Jid
from gateway.core.numbers import NumberPlan
from gateway.core.outcome import Outcome, Verdict
from gateway.core.ports import Parcel, Parties
from gateway.core.settings import RouteRule, Settings, SipSettings, XmppSettings
from gateway.core.tables import Tables, read_tables
from gateway.translation import translation
from gateway.xmpp import stanza as xml
from gateway.xmpp.codec import XmppCodec
from gateway.xmpp.parser import Oversized
from gateway.xmpp.reading import domain_of, read_parties, stanza_origin

TOMAS, MIRA = SipAddress("tomas", "sip.example"), Jid("mira", "xmpp.example")
NOW = datetime(2026, 2, 3, 9, 16, tzinfo=UTC).timestamp()
TABLES = read_tables()


def codec(pager_type: str = "", routes: tuple[RouteRule, ...] = (), tables: Tables = TABLES) -> XmppCodec:
    """A codec for sip.example and xmpp.example."""
    xmpp = XmppSettings("127.0.0.1", 5347, "hush", ("xmpp.example",), pager_type)
    chosen = Settings("gateway.toml", "gw.example", Path(), None, SipSettings((), ("sip.example",)), xmpp, "", routes=routes)
    return translation(chosen, tables, b"k" * 32).to_xmpp


CODEC = codec()


def read(content: str, attributes: str = "") -> Envelope | None:
    """The envelope for a stanza of mira's desk to tomas."""
    ends = "from='mira@xmpp.example/desk' to='tomas@sip.example'"
    stanza = fromstring(f"<message xmlns='{xml.COMPONENT}' {ends} {attributes}>{content}</message>")
    return CODEC.read(stanza, Parties(MIRA, TOMAS, "desk"), "xmpp:sip.example", "t1", NOW)


def read_text(content: str, attributes: str = "") -> Envelope:
    found = read(content, attributes)
    assert found is not None
    return found


def envelope(body: str = "hi", **more: object) -> Envelope:
    """An envelope from tomas to mira."""
    message = more.pop("message", None) or text_message(TOMAS, MIRA, body, NOW)
    values: dict[str, object] = {
        "id": "i1",
        "trace_id": "t1",
        "sender": TOMAS,
        "recipient": MIRA,
        "message": message,
        "received_at": NOW,
        "peer": "udp:192.0.2.7",
    } | more
    return Envelope(**values)  # type: ignore[arg-type]


def parsed(parcel: Parcel) -> Element:
    assert isinstance(parcel.wire, bytes)
    return fromstring(parcel.wire)


def written(body: str = "hi", **more: object) -> Element:
    """The stanza for an envelope."""
    return parsed(CODEC.write(envelope(body, **more)))


def cpim(*lines: str, body: bytes = b"hi", inner: str = "Content-Type: text/plain; charset=utf-8") -> CpimMessage:
    head = ["From: <im:tomas@sip.example>", "To: <im:mira@xmpp.example>", *lines, "", inner, ""]
    return CpimMessage.parse("".join(f"{line}\r\n" for line in head).encode() + body)


# -- from XMPP: what is read -------------------------------------------------------------------------------------------
@pytest.mark.requirement("ICPIM-10", "ICPIM-11", "ICPIM-16")
def test_a_stanza_becomes_message_cpim() -> None:
    found = read_text("<body>Hello\nthere</body>", "id='m1' type='chat'")
    assert found.message.raw == (
        b"From: <im:mira@xmpp.example>\r\nTo: <im:tomas@sip.example>\r\nDateTime: 2026-02-03T09:16:00Z\r\n\r\n"
        b"Content-Type: text/plain; charset=utf-8\r\n\r\nHello\r\nthere"
    )
    assert (found.sender, found.sender_device, found.recipient, found.recipient_device) == (MIRA, "desk", TOMAS, "")
    assert found.origin == StanzaOrigin("m1", "chat", "mira@xmpp.example/desk", "tomas@sip.example")
    assert (found.received_at, found.peer, found.expires_at, found.about, found.volatile) == (NOW, "xmpp:sip.example", None, None, False)


@pytest.mark.requirement("ICPIM-12", "ICPIM-13", "ICPIM-14")
def test_id_type_and_thread_stay_out_of_message_cpim() -> None:
    bare = read_text("<body>x</body>").message.raw
    assert read_text("<body>x</body><thread>t9</thread>", "id='7f6a21f0-0000-4000-8000-000000000000' type='chat'").message.raw == bare


@pytest.mark.requirement("ICPIM-17", "IMSG-08", "SEC-08")
@pytest.mark.parametrize(
    "child",
    [
        "<active xmlns='http://jabber.org/protocol/chatstates'/>",
        "<html xmlns='http://jabber.org/protocol/xhtml-im'><body xmlns='http://www.w3.org/1999/xhtml'><p>rich</p></body></html>",
        "<body xmlns='urn:x'>other</body>",
        "<x xmlns='urn:x'><body xmlns='jabber:component:accept'>deep</body></x>",
        "<forwarded xmlns='urn:xmpp:forward:0'><delay xmlns='urn:xmpp:delay' stamp='2020-01-01T00:00:00Z'/><message xmlns='jabber:client'"
        " from='romeo@xmpp.example' to='x@y'><body>old</body><subject>old</subject><thread>old</thread></message></forwarded>",
        "<received xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client'>"
        "<body>copy</body></message></forwarded></received>",
        "<result xmlns='urn:xmpp:mam:2'><forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:component:accept'><body>kept</body>"
        "</message></forwarded></result>",
        "<addresses xmlns='http://jabber.org/protocol/address'><address type='ofrom' jid='romeo@xmpp.example'/></addresses>",
    ],
    ids=["state", "html", "body", "deep", "forwarded", "carbon", "archive", "addresses"],
)
def test_other_children_change_nothing(child: str) -> None:
    plain = read_text("<body>mine</body>")
    for content in (f"{child}<body>mine</body>", f"<body>mine</body>{child}"):
        assert read_text(content) == plain
    if "xhtml-im" not in child:
        assert read(child) is None


XHTML_ALONE = (
    "<html xmlns='http://jabber.org/protocol/xhtml-im'><body xmlns='http://www.w3.org/1999/xhtml'>"
    "<p>rich &lt;<b>text</b></p>{}</body></html>"
)


@pytest.mark.requirement("XEP-10", "IMSG-19")
@pytest.mark.parametrize("body", ["", "<body/>"])
def test_markup_without_a_body_is_read_for_its_text(body: str) -> None:
    assert read_text(XHTML_ALONE.format("") + body) == read_text("<body>rich &lt;text</body>")
    assert read_text(XHTML_ALONE.format("<b/>" * 2000) + body) == read_text("<body>rich &lt;text</body>")
    ends = "from='mira@xmpp.example' to='tomas@sip.example'"
    stanza = fromstring(f"<message xmlns='{xml.COMPONENT}' {ends}>{XHTML_ALONE.format('')}</message>")
    found = codec(routes=(RouteRule("sip.example", html=True),)).read(stanza, Parties(MIRA, TOMAS), "xmpp:sip.example", "t1", NOW)
    assert found is not None
    assert found.message.entity.content_type.essence == "multipart/alternative"
    assert b"<p>rich &lt;<strong>text</strong></p>" in found.message.raw


@pytest.mark.requirement("XEP-12", "IMSG-07")
@pytest.mark.parametrize("url", ["data:text/plain,x", "https://x.example/a\tb", "file:///x"])
def test_a_link_alone_that_is_not_carried_is_refused(url: str) -> None:
    link = f"<x xmlns='jabber:x:oob'><url>{url}</url></x>"
    with pytest.raises(Refusal) as caught:
        read(link)
    assert caught.value.key == "type-unsupported"
    assert parsed_error(caught.value) == "not-acceptable"
    assert read_text(f"{link}<body>x</body>") == read_text("<body>x</body>")
    assert read("<x xmlns='jabber:x:oob'/>") is read("<x xmlns='jabber:x:oob'><url> </url></x>") is None


def parsed_error(refusal: Refusal) -> str:
    error = fromstring(CODEC.refusal(StanzaOrigin("m1", "chat", "mira@xmpp.example", "tomas@sip.example"), refusal)).find("{*}error")
    assert error is not None
    return xml.split_name(error[0].tag)[1]


@pytest.mark.requirement("IMSG-07")
@pytest.mark.parametrize("content", ["", "<body/>", "<subject/>", "<subject> \n </subject><body></body>", "<thread>t</thread>"])
def test_nothing_to_say_is_nothing(content: str) -> None:
    assert read(content) is None


@pytest.mark.requirement("IMSG-04", "ICPIM-13")
@pytest.mark.parametrize("kind", ["", "normal", "chat", "headline", "unheard-of"])
def test_these_types_are_messages(kind: str) -> None:
    found = read_text("<body>x</body>", f"type='{kind}'" if kind else "")
    assert found.message.raw == read_text("<body>x</body>").message.raw
    assert isinstance(found.origin, StanzaOrigin)
    assert found.origin.type == (kind or "normal")


@pytest.mark.requirement("IMSG-04")
def test_groupchat_is_refused() -> None:
    with pytest.raises(Refusal) as caught:
        read("<body>x</body>", "type='groupchat'")
    assert TABLES.refusal(caught.value.key).condition == "service-unavailable"


BODIES = "<body xml:lang='en'>Hello</body><body xml:lang='cs'>Ahoj</body><body xml:lang='pt-BR'>Oi</body>"


@pytest.mark.requirement("IMSG-06", "IMSG-13")
@pytest.mark.parametrize(
    ("content", "attributes", "body", "language"),
    [
        (BODIES, "", "Hello", "en"),
        (BODIES, "xml:lang='cs'", "Ahoj", "cs"),
        (BODIES, "xml:lang='PT-br'", "Oi", "pt-BR"),
        (BODIES, "xml:lang='de'", "Hello", "en"),
        (BODIES + "<body>Plain</body>", "xml:lang='cs'", "Ahoj", "cs"),
        ("<body xml:lang='cs'>Ahoj</body><body>Plain</body>", "xml:lang='en'", "Plain", "en"),
        ("<body xml:lang='en'/><body xml:lang='cs'>Ahoj</body>", "xml:lang='en'", "Ahoj", "cs"),
        ("<body>Plain</body>", "", "Plain", ""),
        ("<body>Plain</body>", "xml:lang='en'", "Plain", "en"),
        ("<body xml:lang='not a tag'>x</body>", "", "x", ""),
        ("<body>x</body>", "xml:lang='a&#10;b'", "x", ""),
        ("<body>x</body>", "xml:lang='en, cs'", "x", ""),
        ("<body>x</body>", f"xml:lang='{'x-' * 4000}y'", "x", ""),
    ],
)
def test_one_body_of_several_and_its_language(content: str, attributes: str, body: str, language: str) -> None:
    entity = read_text(content, attributes).message.entity
    assert (entity.text(), entity.header("Content-Language") or "") == (body, language)


@pytest.mark.requirement("ICPIM-15", "IMSG-09")
@pytest.mark.parametrize(
    ("content", "attributes", "subjects"),
    [
        ("<subject>Lunch</subject>", "", (("Lunch", ""),)),
        ("<subject xml:lang='fr'>Midi</subject><subject>Lunch</subject>", "xml:lang='en'", (("Lunch", ""), ("Midi", "fr"))),
        ("<subject xml:lang='fr'>Midi</subject><subject xml:lang='en'>Lunch</subject>", "xml:lang='en'", (("Lunch", "en"), ("Midi", "fr"))),
        ("<subject xml:lang='fr'>Midi</subject><subject xml:lang='en'>Lunch</subject>", "", (("Midi", "fr"), ("Lunch", "en"))),
        ("<subject/><subject xml:lang='fr'>Midi</subject>", "", (("Midi", "fr"),)),
        ("<subject> a\r\n\tb&#13;&#10;Via: x </subject>", "", (("a b Via: x", ""),)),
        ("<subject xml:lang='&#10;X: y'>s</subject>", "", (("s", ""),)),
    ],
)
def test_subjects(content: str, attributes: str, subjects: tuple[tuple[str, str], ...]) -> None:
    assert read_text(content, attributes).message.subjects == subjects


def test_a_subject_alone_is_a_message() -> None:
    found = read_text("<subject>Lunch</subject>")
    assert (found.message.entity.text(), found.message.subjects) == ("", (("Lunch", ""),))


@pytest.mark.requirement("IMSG-10", "IMSG-11")
@pytest.mark.parametrize(
    ("content", "thread"),
    [
        ("<thread>t1</thread>", "t1"),
        ("<thread> \n t 1 \t</thread>", "t 1"),
        ("<thread parent='p'>t1</thread>", "t1"),
        ("", ""),
        ("<thread/>", ""),
        ("<thread>a</thread><thread>b</thread>", "a"),
    ],
)
def test_the_thread(content: str, thread: str) -> None:
    assert read_text(f"<body>x</body>{content}").thread == thread


@pytest.mark.requirement("IMSG-15", "ICPIM-18")
@pytest.mark.parametrize(
    ("stamp", "said"),
    [
        ("2026-02-03T08:00:00Z", "2026-02-03T08:00:00Z"),
        ("2026-02-03T10:00:00+02:00", "2026-02-03T08:00:00Z"),
        ("2027-01-01T00:00:00Z", "2026-02-03T09:16:00Z"),
        ("yesterday", "2026-02-03T09:16:00Z"),
        ("", "2026-02-03T09:16:00Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
        ("0001-01-01T00:00:00+14:00", "2026-02-03T09:16:00Z"),
    ],
)
def test_when_it_was_written(stamp: str, said: str) -> None:
    found = read_text(f"<body>x</body><delay xmlns='urn:xmpp:delay' from='xmpp.example' stamp='{stamp}'/>")
    assert found.message.first("DateTime") == said


def test_line_ends_and_wide_characters_of_a_body() -> None:
    found = read_text("<body>a&#13;b&#13;&#10;c\nd \U0001f600 ]]&gt;</body>")
    assert found.message.entity.content == "a\r\nb\r\nc\r\nd \U0001f600 ]]>".encode()


@pytest.mark.requirement("SEC-18", "SEC-21")
@given(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.text(st.characters(exclude_categories=["Cs"])),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
)
@settings(deadline=None, max_examples=200)
def test_whatever_a_stanza_holds_is_kept_and_read_back(body: str, subject: str, thread: str) -> None:
    """Elements as the parser would give them, whatever is in them: the envelope is whole after the store."""
    stanza = Element(f"{{{xml.COMPONENT}}}message", {"id": thread, xml.XML_LANG: thread})
    for name, value in (("body", body), ("subject", subject), ("thread", thread)):
        child = Element(f"{{{xml.COMPONENT}}}{name}")
        child.text = value
        stanza.append(child)
    found = CODEC.read(stanza, Parties(MIRA, TOMAS), "xmpp:sip.example", "t1", NOW)
    if found is not None:
        assert Envelope.from_cpim(found.to_cpim()) == found
        assert found.message.raw.count(b"\r\nSubject: ") <= 1


@pytest.mark.requirement("SEC-35")
def test_what_was_skipped_is_too_large_and_not_empty() -> None:
    with pytest.raises(Refusal) as caught:
        CODEC.read(Oversized(f"{{{xml.COMPONENT}}}message", {}), Parties(MIRA, TOMAS), "xmpp:sip.example", "t1", NOW)
    assert caught.value.key == "message-too-large"


# -- from XMPP: who ----------------------------------------------------------------------------------------------------
def test_the_two_ends_of_a_stanza() -> None:
    assert read_parties(Element("message", {"from": "Mira@xmpp.example/a/b", "to": "sip.example"})) == (
        Jid("mira", "xmpp.example", "a/b"),
        Jid("", "sip.example"),
    )


@pytest.mark.requirement("ADDR-13")
@pytest.mark.parametrize("resource", ["", "\u1100", "x" * 1024, "\u1100/x"])
def test_a_resource_of_the_author_that_is_none_is_left_out(resource: str) -> None:
    assert read_parties(Element("message", {"from": f"mira@xmpp.example/{resource}", "to": "sip.example"}))[0] == MIRA


@pytest.mark.parametrize(
    ("address", "domain"),
    [
        ("a@B.example./c@d/e", "b.example"),
        ("\u2603 @b/\u1100", "b"),
        ("b", "b"),
        ("b/a@c", "b"),
        ("", ""),
        ("@", ""),
        ("a@", ""),
        ("/a@b", ""),
        ("a@b@c", ""),
    ],
)
def test_the_domain_of_what_only_a_server_takes_for_an_address(address: str, domain: str) -> None:
    assert domain_of(address) == domain


@pytest.mark.parametrize(
    ("attributes", "key"),
    [
        ({"to": "a@b"}, "sender-malformed"),
        ({"from": "a@b"}, "target-malformed"),
        ({"from": "@b", "to": "a@b"}, "sender-malformed"),
        ({"from": "a@b", "to": "x y@b"}, "target-malformed"),
        ({"from": "a b@b/\u1100", "to": "a@b"}, "sender-malformed"),
        ({"from": "a@b", "to": "a@b/\u1100"}, "target-malformed"),
        ({"from": "a" * 1024 + "@b", "to": "a@b"}, "sender-malformed"),
    ],
)
def test_an_end_that_is_no_jid(attributes: dict[str, str], key: str) -> None:
    with pytest.raises(Refusal) as caught:
        read_parties(Element("message", attributes))
    assert caught.value.key == key


# -- to XMPP -----------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("IMSG-04", "ICPIM-30", "ADDR-25")
def test_a_message_becomes_a_stanza() -> None:
    parcel = CODEC.write(envelope("Hello", thread="c1@sip.example", sender_device="urn:uuid:f81d4fae"))
    assert parcel.wire == (
        b"<message from='tomas@sip.example/urn:uuid:f81d4fae' to='mira@xmpp.example' id='i1'><thread>c1@sip.example</thread>"
        b"<body>Hello</body></message>"
    )
    assert (parcel.lane, parcel.gate, parcel.once) == ("xmpp mira@xmpp.example tomas@sip.example", "sip.example", False)
    assert parcel.traces == (("i1", "tomas@sip.example", "mira@xmpp.example"),)


@pytest.mark.requirement("REL-16", "REL-17")
def test_each_sender_has_a_lane_of_his_own_whichever_device_he_uses() -> None:
    first, second = (
        envelope("Hello", sender_device="desk"),
        envelope("Hello", sender=SipAddress("Tomas", "sip.example"), recipient_device="d"),
    )
    assert CODEC.write(first).lane == CODEC.write(second).lane
    assert CODEC.write(envelope("Hello", sender=SipAddress("bob", "sip.example"))).lane == "xmpp mira@xmpp.example bob@sip.example"


@pytest.mark.requirement("REL-16", "RCS-06")
def test_so_has_each_of_those_who_hide_who_they_are_and_it_does_not_name_them() -> None:
    def lane(person: SipAddress, device: str) -> str:
        origin = RequestOrigin("sip:mira@xmpp.example", "c", "1 MESSAGE", author=home_uri(person, device))
        return CODEC.write(envelope("Hello", sender=SipAddress.anonymous("sip.example"), origin=origin)).lane

    own, same, other = lane(TOMAS, "desk"), lane(SipAddress("Tomas", "sip.example"), ""), lane(SipAddress("bob", "sip.example"), "")
    assert own == same != other
    assert own.startswith("xmpp mira@xmpp.example anonymous\\40anonymous.invalid@sip.example ")
    assert "tomas" not in own


@pytest.mark.requirement("IMSG-04")
def test_the_pager_type_is_a_setting() -> None:
    assert parsed(codec("chat").write(envelope())).get("type") == "chat"


def test_a_route_without_a_store_sends_at_once_or_not_at_all() -> None:
    assert codec(routes=(RouteRule("sip.example", store=False),)).write(envelope()).once


@pytest.mark.requirement("SEC-20", "IMSG-17")
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
@settings(deadline=None)
def test_any_text_becomes_a_body_that_reads_back(body: str) -> None:
    found = written(body).findtext("body", "")
    expected = body.replace("\r\n", "\n").replace("\r", "\n")
    assert len(found) == len(expected)
    for got, meant in zip(found, expected, strict=True):
        assert got == meant or (got == "\ufffd" and (ord(meant) < 32 or meant in "\ufffe\uffff"))


@pytest.mark.requirement("IMSG-17", "SEC-20")
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("a\0b", "a\ufffdb"),
        ("\x1b[31mred", "\ufffd[31mred"),
        ("\ufffe\uffff", "\ufffd\ufffd"),
        ("one\r\ntwo\rthree", "one\ntwo\nthree"),
        ("</body><body>x", "</body><body>x"),
        ("&#0;", "&#0;"),
        ("\x85\x9f", "\x85\x9f"),
    ],
)
def test_what_xml_cannot_hold(body: str, expected: str) -> None:
    [found] = written(body).findall("body")
    assert found.text == expected


@pytest.mark.requirement("IMSG-13")
@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("cs", "cs"),
        ("pt-BR, en", "pt-BR"),
        ("not a tag, en", "en"),
        ("*", None),
        ("", None),
        ("cs' x='y", None),
        ("en-" * 40, None),
    ],
)
def test_the_first_language_that_is_one(header: str, language: str | None) -> None:
    assert written(message=text_message(TOMAS, MIRA, "x", NOW, language=header)).get(xml.XML_LANG) == language


@pytest.mark.requirement("ICPIM-24", "SEC-20")
@pytest.mark.parametrize(
    ("lines", "subjects"),
    [
        (["Subject: Lunch"], [("Lunch", None)]),
        (["Subject:;lang=fr Midi", "Subject: Lunch"], [("Midi", "fr"), ("Lunch", None)]),
        ([r"Subject: a\u0000b\nc"], [("a\ufffdb c", None)]),
        ([r'Subject:;lang="x\u0007y" s'], [("s", None)]),
        (["Subject:;lang=' s"], [("s", None)]),
        (["Subject: <b>&"], [("<b>&", None)]),
    ],
)
def test_the_subjects_of_message_cpim(lines: list[str], subjects: list[tuple[str, str | None]]) -> None:
    assert [(each.text, each.get(xml.XML_LANG)) for each in written(message=cpim(*lines)).findall("subject")] == subjects


@pytest.mark.requirement("ICPIM-20", "SEC-06")
def test_the_author_is_who_was_let_in_not_who_message_cpim_names() -> None:
    head = b"From: Mira <im:mira@xmpp.example>\r\nTo: <im:romeo@xmpp.example>\r\n\r\n"
    found = written(message=CpimMessage.parse(head + b"Content-Type: text/plain\r\n\r\nhi"))
    assert (found.get("from"), found.get("to")) == ("tomas@sip.example", "mira@xmpp.example")


# -- names -------------------------------------------------------------------------------------------------------------
def nameless() -> XmppCodec:
    """A codec whose table carries no names."""
    fields = tuple(replace(row, to_xmpp=False, to_sip=False) if row.name == "from-name" else row for row in TABLES.fields)
    return codec(tables=replace(TABLES, fields=fields))


@pytest.mark.requirement("IMSG-14", "XEP-09", "SEC-20")
def test_the_name_of_the_sender_is_a_nick() -> None:
    found = written(sender_name="Tomas <T.> & 'co' ]]>")
    assert [child.tag for child in found] == ["body", f"{{{xml.NICK}}}nick"]
    assert found.findtext(f"{{{xml.NICK}}}nick") == "Tomas <T.> & 'co' ]]>"
    assert [child.tag for child in parsed(nameless().write(envelope(sender_name="Tomas")))] == ["body"]


@pytest.mark.requirement("ICPIM-20")
def test_a_formal_name_is_no_nick() -> None:
    message = CpimMessage.parse(b"From: Mira <im:tomas@sip.example>\r\n\r\nContent-Type: text/plain\r\n\r\nhi")
    assert [child.tag for child in written(message=message)] == ["body"]
    assert [child.tag for child in written(message=text_message(TOMAS, MIRA, "hi", NOW, sender_name="Tomas"))] == ["body"]


@pytest.mark.requirement("IMSG-14", "SEC-18", "SEC-08")
@pytest.mark.parametrize(("content", "name"), [
    (f"<nick xmlns='{xml.NICK}'>Mira</nick>", "Mira"),
    (f"<nick xmlns='{xml.NICK}'> Mira&#13;&#10;Via: <x xmlns='urn:x'>y</x> </nick>", "Mira Via: y"),
    (f"<nick xmlns='{xml.NICK}'>One</nick><nick xmlns='{xml.NICK}'>Two</nick>", "One"),
    (f"<nick xmlns='{xml.NICK}'>tomas@sip.example</nick>", ""),
    (f"<nick xmlns='{xml.NICK}'>{'x' * 129}</nick>", ""),
    (f"<nick xmlns='{xml.NICK}'/>", ""),
    ("<nick>Mira</nick>", ""),
    (f"<x xmlns='urn:x'><nick xmlns='{xml.NICK}'>Mira</nick></x>", ""),
])  # fmt: skip
def test_a_nick_is_the_name_of_its_author(content: str, name: str) -> None:
    assert read_text(f"<body>x</body>{content}") == replace(read_text("<body>x</body>"), sender_name=name)


def test_a_nick_alone_is_no_message() -> None:
    assert read(f"<nick xmlns='{xml.NICK}'>Mira</nick>") is None


def test_a_table_can_leave_nicks_behind() -> None:
    stanza = fromstring(f"<message xmlns='{xml.COMPONENT}'><body>x</body><nick xmlns='{xml.NICK}'>Mira</nick></message>")
    for each, name in ((CODEC, "Mira"), (nameless(), "")):
        found = each.read(stanza, Parties(MIRA, TOMAS, "desk"), "xmpp:sip.example", "t1", NOW)
        assert found is not None
        assert found.sender_name == name


@pytest.mark.requirement("ICPIM-25", "ICPIM-26")
def test_other_headers_of_message_cpim_do_not_cross() -> None:
    message = cpim("NS: x <urn:x>", "x.Secret: s", "Require: From")
    assert [child.tag for child in written(message=message)] == ["body"]


@pytest.mark.requirement("ICPIM-23", "IMSG-15", "DATE-05")
@pytest.mark.parametrize(
    ("said", "stamp"),
    [
        ("2026-02-03T08:00:00Z", "2026-02-03T08:00:00Z"),
        ("2026-02-03T10:00:00.5+02:00", "2026-02-03T08:00:00.500Z"),
        ("2026-02-03T09:14:59Z", "2026-02-03T09:14:59Z"),
        ("2026-02-03T09:15:00Z", None),
        ("2027-01-01T00:00:00Z", None),
    ],
)
def test_an_old_message_says_when_it_was_written(said: str, stamp: str | None) -> None:
    found = written(message=cpim(f"DateTime: {said}")).find(f"{{{xml.DELAY}}}delay")
    assert (found.get("stamp") if found is not None else None) == stamp
    assert found is None or found.get("from") == "gw.example"


@pytest.mark.requirement("ICPIM-28")
def test_only_plain_text_becomes_a_body() -> None:
    with pytest.raises(Refusal) as caught:
        written(message=cpim(inner="Content-Type: text/calendar", body=b"<p>x</p>"))
    assert caught.value.key == "type-unsupported"
    stanza = written(message=cpim(inner="Content-Type: text/html", body=b"<p>x<br>y</p>"))
    assert [each.text for each in stanza if each.tag.endswith("body")] == ["x\ny"]


@pytest.mark.requirement("ICPIM-29")
@pytest.mark.parametrize(
    ("inner", "body"),
    [
        ("Content-Type: text/plain; charset=us-ascii", b"hi"),
        ("Content-Type: text/plain; charset=UTF-8", "für".encode()),
        ("Content-Type: text/plain;charset=iso-8859-1", b"f\xfcr"),
        ("Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64", b"ZsO8cg=="),
    ],
)
def test_charsets_of_message_cpim(inner: str, body: bytes) -> None:
    assert written(message=cpim(inner=inner, body=body)).findtext("body") in ("hi", "für")


@pytest.mark.requirement("SEC-35", "IMSG-28")
def test_a_stanza_has_a_bound() -> None:
    assert written("x" * 200_000).findtext("body", "").startswith("xxx")
    with pytest.raises(Refusal) as caught:
        written("&" * 60_000)
    assert caught.value.key == "body-too-large"


@pytest.mark.requirement("SEC-15", "SEC-20")
@given(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=20),
)
@settings(deadline=None)
def test_no_device_and_no_id_changes_the_stanza(device: str, number: str) -> None:
    found = written(sender_device=device, recipient_device=device, id=number)
    assert set(found.attrib) <= {"from", "to", "id"}
    assert found.get("id", "") == number
    for end, bare in (("from", "tomas@sip.example"), ("to", "mira@xmpp.example")):
        assert found.get(end, "").partition("/")[0] == bare


@pytest.mark.requirement("SEC-35")
def test_long_devices_are_not_remembered() -> None:
    ours = codec()
    for device in ("short", "x" * 300, "\u1100" * 9000):
        parcel = ours.write(envelope(sender_device=device))
        assert parsed(parcel).get("from", "").partition("/")[2] == (device if len(device) < 1024 else "")
    assert ours._ends.cache_info().currsize == 1


# -- errors ------------------------------------------------------------------------------------------------------------
ORIGIN = StanzaOrigin("m1", "chat", "mira@xmpp.example/desk", "o\\27malley@sip.example/x")


def failure(status: int, reason: str = "Because", *headers: tuple[str, str]) -> Element:
    message = failure_message(TOMAS, MIRA, NOW, status, reason, headers)
    parcel = CODEC.write(envelope(message=message, about=ORIGIN))
    assert (parcel.lane, parcel.gate, parcel.traces) == ("xmpp mira@xmpp.example o\\27malley@sip.example", "sip.example", ())
    assert not parcel.once
    return parsed(parcel)


@pytest.mark.requirement("ERR-04", "SEC-20")
def test_a_failure_goes_back_to_where_the_stanza_came_from() -> None:
    found = failure(404, "It's <gone> & \x85")
    assert found.attrib == {"from": "o\\27malley@sip.example/x", "to": "mira@xmpp.example/desk", "id": "m1", "type": "error"}
    assert found.findtext(f"error/{{{xml.STANZAS}}}text") == "It's <gone> & \ufffd"


@pytest.mark.requirement("FRAG-35")
def test_a_reason_is_no_longer_than_its_bound() -> None:
    assert failure(404, "x" * 1024).findtext(f"error/{{{xml.STANZAS}}}text") == "x" * 1024
    assert failure(404, "é" * 9999).findtext(f"error/{{{xml.STANZAS}}}text") == "é" * 1024


def test_a_failure_goes_back_to_a_resource_that_only_the_server_takes() -> None:
    about = StanzaOrigin("m1", "chat", "mira@xmpp.example/\u1100", "tomas@sip.example")
    parcel = CODEC.write(envelope(message=failure_message(TOMAS, MIRA, NOW, 404, "x", ()), about=about))
    assert parcel.lane == "xmpp mira@xmpp.example tomas@sip.example"
    assert parsed(parcel).get("to") == "mira@xmpp.example/\u1100"


def test_a_failure_that_names_no_stanza_cannot_be_told() -> None:
    with pytest.raises(Refusal):
        CODEC.write(envelope(message=failure_message(TOMAS, MIRA, NOW, 404, "x")))


@pytest.mark.requirement("ERR-11")
@pytest.mark.parametrize(("status", "kind"), [(503, "wait"), (404, "wait"), (413, "wait"), (606, "modify"), (401, "auth"), (301, "cancel")])
def test_retry_after_counts_where_it_may_come(status: int, kind: str) -> None:
    [error] = failure(status, "x", ("Retry-After", "5"))
    assert error.get("type") == kind


@pytest.mark.requirement("ERR-13", "ERR-14")
@pytest.mark.parametrize(
    ("status", "contact", "condition", "address"),
    [
        (301, "<sip:romeo@sip.example>", "gone", "xmpp:romeo@sip.example"),
        (302, "<sip:romeo@sip.example>", "redirect", "xmpp:romeo@sip.example"),
        (305, "sip:romeo@sip.example", "redirect", "xmpp:romeo@sip.example"),
        (302, "<tel:+1-201-555-0123>", "redirect", "tel:+1-201-555-0123"),
        (301, "", "item-not-found", ""),
        (302, "", "redirect", ""),
        (410, "<sip:romeo@sip.example>", "gone", ""),
        (404, "<sip:romeo@sip.example>", "item-not-found", ""),
    ],
)
def test_a_redirection_says_where_to_and_is_none_without(status: int, contact: str, condition: str, address: str) -> None:
    [error] = failure(status, "x", *([("Contact", contact)] if contact else []))
    assert (error[0].tag, error[0].text or "") == (f"{{{xml.STANZAS}}}{condition}", address)


@pytest.mark.requirement("ERR-13", "ADDR-30")
def test_a_redirection_to_a_number_says_who_that_is_here() -> None:
    message = failure_message(TOMAS, MIRA, NOW, 301, "x", (("Contact", "<tel:+1-201-555-0123>"),))
    numbers = codec(tables=replace(TABLES, numbers=NumberPlan("sip.example", "sip.example", "sip", "domains.toml:1")))
    [error] = parsed(numbers.write(envelope(message=message, about=ORIGIN)))
    assert error[0].text == "xmpp:+12015550123@sip.example"


@pytest.mark.requirement("ERR-04")
def test_a_refusal_of_ours_says_by_whom() -> None:
    found = fromstring(CODEC.refusal(ORIGIN, Refusal("groupchat", "not <here>")))
    assert (found.get("type"), found.get("id"), found.get("to")) == ("error", "m1", "mira@xmpp.example/desk")
    [error] = found
    assert (error.get("by"), error.get("type"), error.findtext(f"{{{xml.STANZAS}}}text")) == ("gw.example", "cancel", "not <here>")


def error_stanza(content: str, sender: str = "mira@xmpp.example") -> Element:
    return fromstring(f"<message xmlns='{xml.COMPONENT}' type='error' from='{sender}'>{content}</message>")


@pytest.mark.requirement("ERR-03", "ERR-08")
def test_an_error_stanza_in_sip_terms() -> None:
    content = f"<body>x</body><error><item-not-found xmlns='{xml.STANZAS}'/><text xmlns='{xml.STANZAS}'>gone\n away</text></error>"
    assert CODEC.read_error(error_stanza(content)) == Outcome(Verdict.FAILED, 604, "gone  away")
    assert CODEC.read_error(error_stanza(content, "mira@xmpp.example/a")).status == 404


@pytest.mark.requirement("ERR-13")
@pytest.mark.parametrize(
    ("error", "status", "contact"),
    [
        ("<gone xmlns='{}'>xmpp:juliet@xmpp.example</gone>", 301, "sip:juliet@xmpp.example"),
        ("<gone xmlns='{}'> xmpp:tomas@sip.example/x </gone>", 301, "sip:tomas@sip.example"),
        ("<redirect xmlns='{}'>xmpp:juliet@xmpp.example</redirect>", 302, "sip:juliet@xmpp.example"),
        ("<gone xmlns='{}'/>", 410, ""),
        ("<gone xmlns='{}'>sip:a@b</gone>", 410, ""),
        ("<redirect xmlns='{}'/>", 480, ""),
        ("<forbidden xmlns='{}'>xmpp:juliet@xmpp.example</forbidden>", 603, ""),
    ],
)
def test_an_error_that_says_where_to_go(error: str, status: int, contact: str) -> None:
    found = CODEC.read_error(error_stanza(f"<error>{error.format(xml.STANZAS)}</error>"))
    assert (found.verdict, found.status, found.contact) == (Verdict.FAILED, status, contact)


@pytest.mark.requirement("ERR-03")
def test_the_text_of_an_error_has_a_bound() -> None:
    assert len(CODEC.read_error(error_stanza(f"<error><text xmlns='{xml.STANZAS}'>{'x' * 9999}</text></error>")).reason) == 256


def test_the_origin_of_a_stanza() -> None:
    assert stanza_origin(Element("message")) == StanzaOrigin("", "normal", "", "")
