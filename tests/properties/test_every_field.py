"""What a message carries beside its text, over either wire and back: which fields come back is read from mappings/headers.toml.

A row of the table that is switched off is a field that does not come back; everything else comes back all the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from math import ceil
from typing import Any
from xml.etree.ElementTree import Element, fromstring

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.core.address import Address, SipAddress
from gateway.core.canonical import address_uri, alternatives, entity_message, text_entity, written_at
from gateway.core.content import Content, content_of
from gateway.core.cpim import CpimMessage
from gateway.core.dates import format_rfc3339
from gateway.core.envelope import Envelope, RequestOrigin, StanzaOrigin
from gateway.core.html import clean
from gateway.core.imdn import DISPLAY, NEGATIVE, POSITIVE, WISHES, Asked
from gateway.core.jid import Jid
from gateway.core.mime import Entity
from gateway.core.tables import FieldRow
from gateway.core.uri import sip_uri
from gateway.sip.codec import PLACE_OF_BRANCH
from gateway.sip.message import Request
from gateway.sip.takes import UNKNOWN, Takes
from gateway.xmpp.stanza import split_name

from .world import (
    CHOICES,
    ENDS,
    HERE,
    JIDS_HERE,
    JIDS_THERE,
    LANGUAGES,
    NOW,
    SIP_DOMAINS,
    SIP_HERE,
    SIP_THERE,
    TEXTS,
    THERE,
    TOKENS,
    XMPP_DOMAINS,
    Gateway,
    cases,
    flat,
    for_xml,
    lines,
    mixed,
    narrowed,
    over_sip,
    over_xmpp,
)

# -- what somebody says ------------------------------------------------------------------------------------------------
URLS = st.sampled_from([
    "https://example.com/a", "http://[2001:db8::1]:8080/x?a=1&b='2'", "HTTPS://bücher.example/ü#f", "https://example.com/b"])  # fmt: skip
HTMLS = mixed("ab é\n&", (
    "<p>", "</p>", "<b>", "</b>", "<i>", "</i>", "<br>", "<ul><li>", "</ul>", "<ol>", "<li>", "</li>", "<blockquote>", "</blockquote>",
    "<div>", "</div>", "<a href='https://example.com/a'>", "</a>", "<a href='javascript:x'>", "<img src='https://example.com/i' alt='i'>",
    "<script>x</script>", "<span style='color: red; x: url(y)'>", "</span>", "<pre>a  b\n", "</pre>", "&nbsp;", "&lt;", "&#x202e;", "\x00",
    "<table><tr><td>", "<!-- x -->",
), max_size=10)  # fmt: skip
OFF = st.frozensets(st.sampled_from(CHOICES), max_size=3) | st.just(frozenset[str]())
SUBJECTS = st.lists(st.tuples(TEXTS, LANGUAGES), max_size=3).map(tuple)
NAMES = st.sampled_from(["", "Mira", 'T. "O\'Malley" \\', "Zofia Ę, <b>", "\U0001f600 é"])
AGES = st.sampled_from([0, 60, 62, 3600, 10**8]) | st.integers(0, 10**9)
LASTS = st.none() | st.sampled_from([0.25, 1.0, 59.5, 3600.0, 1e8])
"""For how long from now a message is good, in seconds."""


@dataclass(frozen=True)
class Said:
    """What somebody says, before it is an envelope. html: instead of plain text where it is not empty. urls: links beside it."""

    text: str
    html: str = ""
    urls: tuple[str, ...] = ()
    subjects: tuple[tuple[str, str], ...] = ()
    language: str = ""
    thread: str = ""
    age: int = 0
    name: str = ""
    asked: frozenset[str] = frozenset()
    lasts: float | None = None
    copies: tuple[str, ...] = ()

    def entity(self) -> Entity:
        """As it may come from SIP: text, html, both, and links beside them."""
        markup = Entity.compose([("Content-Type", "text/html; charset=utf-8")], self.html.encode())
        whole = alternatives(self.text, self.html, self.language) if self.text else markup
        whole = whole if self.html else text_entity(self.text, self.language)
        if not self.urls:
            return whole
        parts = [whole.raw, *[_named(url) for url in self.urls]]
        content = b"".join([b"--next\r\n%b\r\n" % part for part in parts]) + b"--next--\r\n"
        language = [("Content-Language", self.language)] if self.language else []
        return Entity.compose([("Content-Type", "multipart/mixed; boundary=next"), *language], content)

    def plainly(self) -> Entity:
        """As it comes from XMPP: text, or text and safe markup."""
        safe = clean(self.html).xhtml
        return alternatives(self.text, safe, self.language) if self.text and safe else text_entity(self.text, self.language)


def _named(url: str) -> bytes:
    return b'Content-Type: message/external-body; access-type=URL; URL="%b"\r\n\r\nContent-Type: image/png\r\n\r\n' % url.encode()


COPIES = st.lists(st.sampled_from(["<im:benvolio@sip.example>", "Nurse <sip:nurse@xmpp.example>"]), max_size=2).map(tuple)
SAYINGS = st.builds(
    Said, TEXTS, st.just("") | HTMLS, st.just(()) | st.lists(URLS, max_size=3).map(tuple), SUBJECTS, LANGUAGES, st.just("") | TOKENS, AGES,
    NAMES, st.just(frozenset[str]()) | st.frozensets(st.sampled_from(sorted(WISHES))), LASTS, st.just(()) | COPIES)  # fmt: skip


def envelope(said: Said, sender: Address, recipient: Address, ends: tuple[str, str], name: str, entity: Entity) -> Envelope:
    composed = entity_message(sender, recipient, entity, NOW - said.age, subjects=said.subjects)
    is_sip = isinstance(sender, SipAddress)
    message = _with_copies(composed, said.copies) if is_sip else composed
    asked = said.asked
    origin = RequestOrigin("sip:juliet@xmpp.example", "c1", "1 MESSAGE") if is_sip else StanzaOrigin("s1", "chat", "a@b/c", "d@e")
    return Envelope(
        id=name, trace_id="trace", sender=sender, recipient=recipient, message=message, received_at=NOW, peer="test", sender_device=ends[0],
        recipient_device=ends[1], expires_at=None if said.lasts is None else NOW + said.lasts, thread=said.thread, asked=asked,
        sender_name=said.name, origin=origin)  # fmt: skip


def _with_copies(message: CpimMessage, copies: tuple[str, ...]) -> CpimMessage:
    """As if it had come so: read, not composed."""
    head = message.raw[: -len(message.entity.raw) - 2]
    return CpimMessage.parse(head + b"".join([b"cc: %b\r\n" % each.encode() for each in copies]) + b"\r\n" + message.entity.raw)


# -- what an envelope says, by the rows of the table -------------------------------------------------------------------
def facts(it: Envelope) -> dict[str, Any]:
    """What an envelope says, by the rows of headers.toml."""
    content = content_of(it.message.entity)
    return {
        "body": content.body, "html": content.xhtml, "language": content.language, "subject": it.message.subjects, "thread": it.thread,
        "from-name": it.sender_name, "sent-at": written_at(it.message), "expires-at": it.expires_at, "want": it.asked,
        "cc": it.message.values("cc"), "id": it.id}  # fmt: skip


SILENCE: dict[str, Any] = {"html": "", "from-name": "", "sent-at": int(NOW), "expires-at": None, "want": frozenset(), "cc": ()}
"""What a field that is not carried says at the other end."""


def check(found: Mapping[str, Any], said: Mapping[str, Any], carried: Mapping[str, bool]) -> None:
    """Each fact comes back if its row is carried, and says nothing if not."""
    wanted = through(said, carried)
    for name in said:
        assert found[name] == wanted[name], name


def through(said: Mapping[str, Any], carried: Mapping[str, bool]) -> dict[str, Any]:
    """What a table lets through."""
    return {name: value if carried[name] else SILENCE[name] for name, value in said.items()}


def as_xmpp_says(said: dict[str, Any], content: Content) -> dict[str, Any]:
    """The same as far as a stanza can say it: characters that XML has, lines of its kind, and what an XMPP user can ask for."""
    wishes = said["want"] & {POSITIVE, DISPLAY}
    return said | {
        "body": lines(for_xml(content.body), "\n"),
        "html": said["html"] if content.body else "",
        "subject": tuple(sorted((text, tag) for subject, tag in said["subject"] if (text := flat(for_xml(subject))))),
        "thread": for_xml(said["thread"]),
        "want": wishes | {NEGATIVE} if wishes else wishes,
        "sent-at": said["sent-at"] if NOW - said["sent-at"] > 60 else int(NOW),
    }


def both_ways(writer: Gateway, reader: Gateway) -> dict[str, bool]:
    """Whether a row goes to XMPP at one gateway and from there at the other."""
    return {row.name: row.to_xmpp and reader.tables.carries(row.name, "sip") for row in writer.tables.fields}


def elements(row: FieldRow) -> set[str]:
    """The elements by which a stanza says this field, as the table has them."""
    return set(re.findall(r"<([a-z]+)", row.xmpp))


def seen(stanza: Element) -> set[str]:
    return {split_name(each.tag)[1] for each in stanza}


# -- there and back ----------------------------------------------------------------------------------------------------
FULL = Said(
    "see", "<p>see <b>this</b>", ("https://example.com/a",), (("a", "en"), ("b", "de")), "en", "t", 3600, "Mira",
    frozenset([POSITIVE, DISPLAY]), 60.0, ("<im:benvolio@sip.example>",))  # fmt: skip
ROMEO, JULIET = SipAddress("romeo", "sip.example"), Jid("juliet", "xmpp.example")


@pytest.mark.requirement("NOTE-01", "XEP-10", "XEP-12")
@cases()
@given(SAYINGS, SIP_THERE, JIDS_THERE, ENDS, TOKENS, OFF, OFF)
@example(FULL, SipAddress("romeo", "xmpp.example"), Jid("juliet", "sip.example"), ("a", "b"), "id7", frozenset(), frozenset())
def test_over_xmpp(
    said: Said, sender: SipAddress, recipient: Jid, ends: tuple[str, str], name: str, off_there: frozenset[str], off_here: frozenset[str]
) -> None:
    writer, reader = narrowed("there", off_there), narrowed("here", off_here)
    sent = envelope(said, sender, recipient, ends, name, said.entity())
    content = content_of(sent.message.entity)
    stanza, parties = over_xmpp(sent, writer, reader)
    told = as_xmpp_says(facts(sent), content)
    if not told["body"] and not told["subject"]:
        return
    for row in writer.tables.fields:
        if row.name in SILENCE or row.name == "link":
            is_said = bool(content.links) if row.name == "link" else told[row.name] not in (SILENCE[row.name], None)
            assert bool(elements(row) & seen(stanza)) is (is_said and row.to_xmpp), row.name
    back = reader.xmpp.read(stanza, parties, "test", "trace", NOW)
    assert back is not None
    check(facts(back) | {"subject": tuple(sorted(back.message.subjects)), "id": stanza.get("id")}, told, both_ways(writer, reader))
    assert (back.sender_device, back.recipient_device) == ends


@pytest.mark.requirement("XEP-12")
@cases(0.05)
@given(st.lists(URLS, min_size=1, max_size=3).map(tuple), SIP_THERE, JIDS_THERE, OFF | st.just(frozenset(["link"])))
def test_a_link_that_no_text_names(urls: tuple[str, ...], sender: SipAddress, recipient: Jid, off: frozenset[str]) -> None:
    said, reader = Said("", urls=urls), narrowed("here", off)
    stanza, parties = over_xmpp(envelope(said, sender, recipient, ("", ""), "id7", said.entity()), THERE, reader)
    for body in stanza.findall("{jabber:component:accept}body"):
        stanza.remove(body)
    back = reader.xmpp.read(stanza, parties, "test", "trace", NOW)
    assert (facts(back)["body"] if back else "") == ("" if "link" in off else "\n".join(dict.fromkeys(urls)))


@lru_cache
def sip_side(cpim: str, imdn: str, takes: Takes, html: bool) -> Gateway:
    return Gateway(SIP_DOMAINS, XMPP_DOMAINS, takes=takes, cpim=cpim, imdn=imdn, html=html)


RULES = st.sampled_from(["auto", "always", "never"])
KNOWN = st.sampled_from([
    UNKNOWN, Takes(cpim=False, imdn=False, html=False), Takes(cpim=True, imdn=False, html=True),
    Takes(cpim=True, imdn=True, html=True)])  # fmt: skip
WAYS = st.builds(sip_side, RULES, RULES, KNOWN, st.booleans())


def sends(rule: str, known: bool | None) -> bool:
    return {"always": True, "never": False, "auto": known is not False}[rule]


def as_sip_says(said: dict[str, Any], content: Content, way: Gateway, request: Request) -> dict[str, Any]:
    """The same as far as a MESSAGE can say it on this way: in message/cpim all, else one subject, without a language, and no wishes."""
    rule, takes = way.route, way.takes
    asks = bool(said["want"]) and sends(rule.imdn, takes.imdn)
    wrapped = sends(rule.cpim, takes.cpim) and (asks or rule.cpim == "always" or len(said["subject"]) > 1)
    first = flat(said["subject"][0][0]) if said["subject"] else ""
    expires_at, sent_at = said["expires-at"], said["sent-at"]
    return said | {
        "body": lines(content.body, "\n"),
        "html": content.xhtml if rule.html and takes.html is not False else "",
        "subject": tuple((text.strip(" "), tag) for text, tag in said["subject"]) if wrapped else ((first, ""),) if first else (),
        "want": said["want"] if asks and wrapped else frozenset(),
        "id": said["id"] if asks and wrapped else PLACE_OF_BRANCH[7:],
        "thread": said["thread"] or request.call_id,
        "expires-at": expires_at if expires_at is None else ceil(expires_at),
        "sent-at": sent_at if wrapped or NOW - sent_at > 60 else int(NOW),
    }


@pytest.mark.requirement("NOTE-01", "IMSG-19", "IMDN-10")
@cases()
@given(SAYINGS, JIDS_HERE, SIP_HERE, ENDS, TOKENS, WAYS)
@example(FULL, JULIET, ROMEO, ("a", "b"), "id7", sip_side("auto", "auto", UNKNOWN, True))
def test_over_sip(said: Said, sender: Jid, recipient: SipAddress, ends: tuple[str, str], name: str, way: Gateway) -> None:
    sent = envelope(said, sender, recipient, ends, name, said.plainly())
    content = content_of(sent.message.entity)
    request, back = over_sip(sent, way)
    if back is None:
        assert not content.body
        assert not any(flat(text) for text, _ in said.subjects[:1])
        return
    told = as_sip_says(facts(sent), content, way, request)
    check(facts(back), told, {row.name: row.to_sip for row in way.tables.fields})
    assert (back.sender_device, back.recipient_device) == ends
    asked = None
    if told["want"]:
        author, whom = sip_uri(HERE.directory.sip_of(sender)), sip_uri(recipient)
        asked = Asked(told["want"], name, format_rfc3339(int(NOW - said.age)), author, whom)
    assert back.origin == RequestOrigin(request.to.uri_text, request.call_id, "7 MESSAGE", asked)


@pytest.mark.requirement("NOTE-01", "MSG-56", "ICPIM-18")
@cases(0.4)
@given(SAYINGS, SIP_THERE, JIDS_THERE, ENDS, TOKENS, OFF)
@example(FULL, SipAddress("romeo", "xmpp.example"), Jid("juliet", "sip.example"), ("a", "b"), "id7", frozenset())
def test_a_stanza_over_sip(said: Said, sender: SipAddress, recipient: Jid, ends: tuple[str, str], name: str, off: frozenset[str]) -> None:
    """From one XMPP user to the next, with two gateways between them; rows are off where the message goes to SIP."""
    sent, here = envelope(said, sender, recipient, ends, name, said.entity()), narrowed("here", off)
    stanza, parties = over_xmpp(sent)
    if sent.expires_at is not None:
        stanza.append(fromstring(AMP.format(format_rfc3339(sent.expires_at))))
    told = as_xmpp_says(facts(sent), content_of(sent.message.entity))
    if not told["body"] and not told["subject"]:
        return
    between = here.xmpp.read(stanza, parties, "test", name, NOW)
    assert between is not None
    assert sorted(between.message.subjects) == list(told["subject"])
    request, back = over_sip(between, here)
    assert back is not None
    told = through(told | {"subject": between.message.subjects, "id": name}, {row.name: row.to_sip for row in here.tables.fields})
    check(facts(back), as_sip_says(told, content_of(between.message.entity), here, request), dict.fromkeys(told, True))
    assert (back.sender, back.recipient, back.sender_device, back.recipient_device) == (sender.normal, recipient, *ends)


AMP = "<amp xmlns='http://jabber.org/protocol/amp'><rule condition='expire-at' action='drop' value='{}'/></amp>"


@pytest.mark.requirement("CPIM-10")
@cases(0.2)
@given(SAYINGS, SIP_HERE, JIDS_HERE, ENDS, TOKENS, st.booleans())
def test_over_the_store(said: Said, sip: SipAddress, jid: Jid, ends: tuple[str, str], name: str, to_sip: bool) -> None:
    if to_sip:
        sent = envelope(said, jid, sip, ends, name, said.plainly())
    else:
        wanted = Asked(said.asked, name, "2026-02-03T09:17:00-05:00", address_uri(sip), said.text, said.name, said.urls)
        sent = envelope(said, sip, jid, ends, name, said.entity())
        sent = replace(sent, origin=RequestOrigin("sip:juliet@xmpp.example", "c1", "1 MESSAGE", wanted if said.asked else None))
    back = Envelope.from_cpim(sent.to_cpim())
    assert back == sent
    assert back.to_cpim() == sent.to_cpim()
    assert facts(back) == facts(sent)
    wide = narrowed("here", frozenset())
    if to_sip:
        assert wide.sip.write(back, 7) == wide.sip.write(sent, 7)
    else:
        assert wide.xmpp.write(back) == wide.xmpp.write(sent)
