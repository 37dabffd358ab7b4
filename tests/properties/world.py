"""What the properties share: how many cases, two gateways that face each other, and what people may write and be called.

HERE has its SIP people in SIP_DOMAINS and its XMPP people in XMPP_DOMAINS; THERE has them the other way round. So what HERE writes to one
side is what THERE reads from it, and a message can be followed over both codecs and back.

In CI each file of this folder tries CASES cases, the same ones each time; with STOXGATE_SOAK=1 other ones each time, and many more.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from xml.etree.ElementTree import Element

from hypothesis import HealthCheck, assume, settings
from hypothesis import strategies as st

from gateway.core.address import SipAddress, mapped_user
from gateway.core.domain import ascii_domain, unicode_domain
from gateway.core.envelope import Envelope
from gateway.core.errors import SyntaxFault
from gateway.core.jid import Jid, escape_local
from gateway.core.ports import Parties, Peer
from gateway.core.settings import Listener, RouteRule, Settings, SipSettings, XmppSettings
from gateway.core.tables import Tables, read_tables
from gateway.relay.directory import Directory
from gateway.relay.guard import Guard
from gateway.sip.codec import Draft, SipCodec
from gateway.sip.message import Request, parse
from gateway.sip.reading import read_message
from gateway.sip.takes import UNKNOWN, Takes
from gateway.xmpp import stanza as xml
from gateway.xmpp.codec import XmppCodec
from gateway.xmpp.parser import StreamParser
from gateway.xmpp.reading import read_parties

SOAK = os.environ.get("STOXGATE_SOAK") == "1"
CASES = 100_000 if SOAK else 2_000


def cases(share: float = 1.0) -> settings:
    """This share of the cases of a file."""
    quiet = [HealthCheck.too_slow, HealthCheck.filter_too_much]
    return settings(max_examples=round(CASES * share), deadline=None, derandomize=not SOAK, suppress_health_check=quiet)


SIP_DOMAINS = ("sip.example", "xn--bcher-kva.example", "[2001:db8::1]", "192.0.2.7")
XMPP_DOMAINS = ("xmpp.example", "xn--mnchen-3ya.example", "[2001:db8::2]")
NOW = 1_770_110_160.5
STREAM = f"<stream:stream xmlns='{xml.COMPONENT}' xmlns:stream='{xml.STREAM}'>".encode()
TABLES = read_tables()


class Gateway:
    """The pure part of a gateway, with a large-message route so that no text is too long for SIP.

    takes: what everybody on the SIP side is known to take. route: what else its one route says.
    """

    def __init__(
        self,
        sip: Iterable[str],
        xmpp: Iterable[str],
        tables: Tables | None = None,
        takes: Takes = UNKNOWN,
        **route: str | bool | tuple[str, ...],
    ) -> None:
        self.route = RouteRule("*", next_hop="sip:192.0.2.1;transport=tcp", large_messages=True, **route)  # type: ignore[arg-type]
        self.settings = Settings(
            file="", name="gw.example", data_dir=Path(), mappings=None, store_url="",
            sip=SipSettings((Listener("tcp", "192.0.2.2", 5060),), tuple(sip)),
            xmpp=XmppSettings("127.0.0.1", 5347, "secret", tuple(xmpp)), routes=(self.route,))  # fmt: skip
        self.takes, self.tables = takes, tables or TABLES
        tables = self.tables
        self.directory = Directory(tables.users, tables.domains, self.settings.sip.domains, self.settings.xmpp.domains)
        self.guard = Guard(self.settings, self.directory)
        self.xmpp = XmppCodec(self.directory, tables, self.settings)
        sent_by = {"tcp": "192.0.2.2:5060"}
        self.sip = SipCodec(self.directory, tables, self.settings, b"secret of the store", sent_by, takes=lambda _: takes)


HERE = Gateway(SIP_DOMAINS, XMPP_DOMAINS)
THERE = Gateway(XMPP_DOMAINS, SIP_DOMAINS)
CHOICES = tuple(row.name for row in TABLES.fields if not row.fixed and (row.to_xmpp or row.to_sip))
"""The rows of headers.toml that an operator may switch off."""


def without(names: Iterable[str]) -> Tables:
    """The tables as shipped, with these rows of headers.toml switched off."""
    off = frozenset(names)
    rows = tuple(replace(row, to_xmpp=False, to_sip=False) if row.name in off else row for row in TABLES.fields)
    return replace(TABLES, fields=rows)


@lru_cache
def narrowed(side: str, off: frozenset[str]) -> Gateway:
    """HERE or THERE where these rows are off, and where markup is sent to SIP."""
    sip, xmpp = (SIP_DOMAINS, XMPP_DOMAINS) if side == "here" else (XMPP_DOMAINS, SIP_DOMAINS)
    return Gateway(sip, xmpp, without(off), html=True)


# -- over the codecs ---------------------------------------------------------------------------------------------------
def over_sip(sent: Envelope, here: Gateway = HERE, there: Gateway = THERE) -> tuple[Request, Envelope | None]:
    """The MESSAGE that goes out, and what the gateway at its other end makes of it."""
    request, parties = asked_over_sip(sent, here, there)
    return request, read_message(request, parties, "test", "trace", NOW)


def asked_over_sip(sent: Envelope, here: Gateway = HERE, there: Gateway = THERE) -> tuple[Request, Parties]:
    """The MESSAGE that goes out, and who writes to whom in it, as the gateway at its other end has them."""
    draft = here.sip.write(sent, 7).wire
    assert isinstance(draft, Draft)
    request = parse(draft.octets, stream=True, strict=True)
    assert isinstance(request, Request)
    request.check()
    return request, there.guard.from_sip(Peer("test"), request.from_.uri, request.request_uri)


def over_xmpp(sent: Envelope, here: Gateway = THERE, there: Gateway = HERE) -> tuple[Element, Parties]:
    """The stanza that goes out, and who writes to whom in it, as the gateway at its other end has them."""
    stanza = read_stanza(bytes(here.xmpp.write(sent).wire))  # type: ignore[call-overload]
    author, whom = read_parties(stanza)
    return stanza, there.guard.from_xmpp(whom.domain, author, whom)


def read_stanza(octets: bytes) -> Element:
    """The one stanza in these octets, by the parser of the link."""
    parser = StreamParser()
    parser.feed(STREAM + octets)
    [_, _, (event, stanza)] = parser.read_events()
    assert event == "end"
    return stanza


# -- what a text becomes, said in another way than the code does --------------------------------------------------------
def lines(text: str, end: str = "\r\n") -> str:
    """Every line end in one form."""
    return re.sub("\r\n|\r|\n", end, text)


def for_xml(text: str) -> str:
    """What XML has no character for is U+FFFD (XML 1.0 section 2.2)."""

    def is_char(ch: str) -> bool:
        return ch in "\t\n\r" or " " <= ch <= "\ud7ff" or "\ue000" <= ch <= "\ufffd" or ch > "\uffff"

    return "".join(ch if is_char(ch) else "\ufffd" for ch in text)


def flat(text: str) -> str:
    """As one header line."""
    return "".join("\ufffd" if ch < " " or "\x7f" <= ch <= "\x9f" else ch for ch in re.sub("[\r\n\t]+", " ", text)).strip(" ")


# -- what people write and are called ----------------------------------------------------------------------------------
def mixed(characters: str, pieces: Iterable[str], **sizes: int) -> st.SearchStrategy[str]:
    """Text of these characters and pieces. Each piece is drawn as one character, for drawing a list takes ten times as long."""
    table = {0xF0000 + number: piece for number, piece in enumerate(pieces)}
    return st.text(characters + "".join(map(chr, table)), **sizes).map(lambda text: text.translate(table))


ANY = st.characters(exclude_categories=["Cs"])
TEXTS = st.text(ANY, max_size=30) | mixed("abé ", (
    "\r\n", "\r", "\n", "\t", "\x00", "\x1b[31m", "\x7f", "\x85", "\u2028", "\ufeff", "\ufffe", "\uffff", "\U0001f469\u200d\U0001f680",
    "\u202e", "]]>", "<body>", "</body></message>", "&amp;", "&#13;", "&", '"', "'", "\\", "\\n", "\\u0041", "%41", "%", ";lang=fr ", ",",
    "<a:b>", "\r\n\r\n", "\r\nFrom: <sip:mallory@evil.example>\r\n", "Content-Type: text/plain", "--x", "e\u0301", "ß", "İ",
), max_size=8)  # fmt: skip
LANGUAGES = st.sampled_from(["", "en", "de-CH", "zh-Hant-TW", "x-klingon", "i-default"])
TOKENS = st.text("abcXYZ019-.!%*_+`'~", min_size=1, max_size=24)
USERS = mixed("aZm09é-_+\"&'/:<>@\\ %;?#=.", ("\\20", "\\5c", "\\27", "\\2F", "%40", ".."), min_size=1, max_size=10) | st.text(
    ANY, min_size=1, max_size=6)  # fmt: skip
_DEVICES = st.sampled_from(["", "balcony", "Büro PC", "a/b@c", "50%25;gr=y?z#", '"<>"', "a\\b", "\U0001f600"]) | st.text(
    st.characters(categories=("L", "N", "P", "S")), max_size=8)  # fmt: skip


@st.composite
def devices(draw: st.DrawFn) -> str:
    """A resource in its enforced form, or none."""
    text = draw(_DEVICES)
    try:
        return Jid("a", "h").with_resource(text).resource
    except SyntaxFault:
        return ""


@st.composite
def jids(draw: st.DrawFn, domains: Iterable[str] = XMPP_DOMAINS) -> Jid:
    """Somebody on the XMPP side: a bare JID with a localpart in normal form."""
    user, domain = draw(USERS), draw(st.sampled_from(tuple(domains)))
    try:
        return Jid(escape_local(mapped_user(user)), unicode_domain(domain))
    except SyntaxFault:
        assume(False)
        raise


@st.composite
def sip_people(draw: st.DrawFn, gateway: Gateway = HERE, domains: Iterable[str] = SIP_DOMAINS) -> SipAddress:
    """Somebody on the SIP side whom a JID can stand for, in any spelling."""
    address = SipAddress(draw(USERS), ascii_domain(draw(st.sampled_from(tuple(domains)))))
    try:
        assume(gateway.directory.home_of_sip(address) == address)
    except SyntaxFault:
        assume(False)
    return address


# -- a few of them, where it is not who writes to whom that counts: drawing them costs a tenth --------------------------
DEVICES = ("", "balcony", "Büro PC", "a/b@c", "50%25;gr=y?z#", "a\\b", "\U0001f600")
ENDS = st.tuples(st.sampled_from(DEVICES), st.sampled_from(DEVICES))
_USERS = ("romeo", "d'arcy#1", "at&t", "a@b", "fü", "50%25", 'x"y<z>')
SIP_HERE, SIP_THERE = (st.builds(SipAddress, st.sampled_from(_USERS), st.sampled_from(each)) for each in (SIP_DOMAINS, XMPP_DOMAINS))
JIDS_HERE, JIDS_THERE = (
    st.builds(lambda user, domain: Jid(escape_local(user), unicode_domain(domain)), st.sampled_from(_USERS), st.sampled_from(each))
    for each in (XMPP_DOMAINS, SIP_DOMAINS))  # fmt: skip
