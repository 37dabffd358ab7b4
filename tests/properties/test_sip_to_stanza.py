"""Any MESSAGE that is taken becomes one well-formed stanza that says the same, whatever is in it; lxml is the reader."""

from __future__ import annotations

import re
from urllib.parse import quote

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from lxml import etree

from gateway.core.address import SipAddress
from gateway.core.errors import Refusal
from gateway.core.jid import Jid
from gateway.core.ports import Peer
from gateway.core.uri import sip_uri
from gateway.sip.message import BadMessage, Request, parse
from gateway.sip.reading import read_message, stanza_id

from .world import ANY, HERE, LANGUAGES, NOW, TEXTS, TOKENS, cases, devices, flat, for_xml, jids, lines, mixed, sip_people

RAW_CONTROL = re.compile(rb"[\x00-\x08\x0b-\x1f]")
READER = etree.XMLParser(resolve_entities=False, no_network=True, recover=False)
CHARSETS = st.sampled_from(["UTF-8", "utf-8", "ISO-8859-1", "utf-16", "GB18030", "windows-1252", "koi8-r", "US-ASCII"])
ONE_LINE = mixed('abé \t\x00\x01\x0b\x1f\x7f\x85\ufffe&"\\;,', ("]]>", "<x>", "%0d%0a", "&#13;"), max_size=8)
HEADER_TEXTS = ONE_LINE | st.text(ANY, max_size=20).map(lambda text: re.sub("[\r\n]", "", text))
NICK = "{http://jabber.org/protocol/nick}nick"
FOLDS = st.sampled_from(["", "\r\n ", "\r\n\t  "])


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def request(rows: list[tuple[str, str]], target: str, body: bytes, fold: str = "") -> bytes:
    rows = [*rows, ("Content-Length", str(len(body)))]
    head = "".join(f"{name}:{fold} {value}\r\n" for name, value in rows)
    return f"MESSAGE {target} SIP/2.0\r\n{head}\r\n".encode() + body


def stanza(octets: bytes) -> tuple[Request, etree._Element]:
    """What the gateway sends for this MESSAGE, as another program reads it."""
    message = parse(octets)
    assert isinstance(message, Request)
    message.check()
    parties = HERE.guard.from_sip(Peer("test"), message.from_.uri, message.request_uri)
    envelope = read_message(message, parties, "test", "trace", NOW)
    assume(envelope is not None)
    assert envelope is not None
    written = HERE.xmpp.write(envelope).wire
    assert isinstance(written, bytes)
    assert not RAW_CONTROL.search(written)
    return message, etree.fromstring(written, READER)


@pytest.mark.requirement("SEC-18", "IMSG-17", "IMSG-16")
@cases(0.6)
@given(TEXTS, CHARSETS, sip_people(), jids(), st.tuples(devices(), devices()), st.tuples(TOKENS, TOKENS, LANGUAGES, FOLDS))
def test_it_says_the_same(
    text: str, charset: str, sender: SipAddress, recipient: Jid, ends: tuple[str, str], names: tuple[str, str, str, str]
) -> None:
    branch, call_id, language, fold = names
    try:
        body = text.encode(charset)
    except UnicodeEncodeError:
        text, charset = "?" + text.encode("ascii", "ignore").decode(), "US-ASCII"
        body = text.encode(charset)
    assume(text)
    author, whom = sip_uri(sender, ends[0]), sip_uri(HERE.directory.sip_of(recipient), ends[1])
    rows = [
        ("v", f"SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK{branch}"), ("f", f"<{author}>;tag=1"), ("To", f"<{whom}>"), ("I", call_id),
        ("CSeq", "1 MESSAGE"), ("c", f'text/plain;charset="{charset}"'),
        *([("Content-Language", language)] if language else [])]  # fmt: skip
    read, found = stanza(request(rows, whom, body, fold))
    assert found.tag == "message"
    assert [each.tag for each in found] == ["thread", "body"]
    assert found.findtext("body") == for_xml(lines(text, "\n"))
    assert found.findtext("thread") == call_id
    alias = HERE.directory.jid_of(sender)
    wanted = {"from": str(alias.with_resource(ends[0])), "to": str(recipient.with_resource(ends[1])), "id": stanza_id(read)}
    if re.fullmatch("[A-Za-z]{1,8}(-[A-Za-z0-9]{1,8})*", language):
        wanted["{http://www.w3.org/XML/1998/namespace}lang"] = language
    assert dict(found.items()) == wanted


@pytest.mark.requirement("SEC-18", "SEC-20", "IMSG-09")
@cases(0.3)
@given(HEADER_TEXTS, HEADER_TEXTS, TEXTS, sip_people(), jids())
@example("", "\x01", "", SipAddress("a", "sip.example"), Jid("b", "xmpp.example"))
def test_headers_cannot_become_markup(name: str, subject: str, thread: str, sender: SipAddress, recipient: Jid) -> None:
    whom = sip_uri(HERE.directory.sip_of(recipient))
    rows = [
        ("Via", "SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK1"), ("From", f"{quoted(name)} <{sip_uri(sender)}>;tag=1"), ("To", f"<{whom}>"),
        ("Call-ID", "xmpp-thread." + quote(f"<a>{thread}", safe="")), ("CSeq", "1 MESSAGE"), ("Subject", subject),
        ("Content-Type", "text/plain"), ("X", quoted(subject))]  # fmt: skip
    try:
        read, found = stanza(request(rows, whom, b"hi"))
    except BadMessage:
        # A control character may stand in a quoted string behind a backslash only (SEC-29).
        assert re.search("[\x00-\x08\x0a-\x1f\x7f]", name + subject)
        return
    nick = found.findtext(NICK)
    assert nick is None or nick == flat(for_xml(read.from_.display_name))
    assert [each.tag for each in found] == [
        "thread", *(["subject"] if flat(subject.strip(" \t")) else []), "body", *([NICK] if nick else [])]  # fmt: skip
    assert found.findtext("body") == "hi"
    assert (found.findtext("subject") or "") == flat(for_xml(subject.strip(" \t")))
    assert found.findtext("thread") == for_xml(f"<a>{thread}")
    assert read.from_.display_name == name or "\x7f" in name or re.search("[\x00-\x1f]", name)


@pytest.mark.requirement("IMSG-17")
@cases(0.1)
@given(st.binary(max_size=60), CHARSETS)
def test_octets_of_any_kind_are_text_or_are_refused(body: bytes, charset: str) -> None:
    assume(body)
    rows = [
        ("Via", "SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK1"), ("From", "<sip:romeo@sip.example>;tag=1"), ("To", "<sip:juliet@xmpp.example>"),
        ("Call-ID", "1"), ("CSeq", "1 MESSAGE"), ("Content-Type", f"text/plain; charset={charset}")]  # fmt: skip
    try:
        # RFC 2781 section 4.3: big-endian where no mark says otherwise.
        text = body.decode("utf-16be" if charset == "utf-16" and body[:2] not in (b"\xfe\xff", b"\xff\xfe") else charset)
    except UnicodeDecodeError:
        with pytest.raises(Refusal) as refused:
            stanza(request(rows, "sip:juliet@xmpp.example", body))
        assert refused.value.key == "bad-request-text"
        return
    assume(text)
    assert stanza(request(rows, "sip:juliet@xmpp.example", body))[1].findtext("body") == for_xml(lines(text, "\n"))
