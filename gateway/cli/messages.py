"""Reading a message of any of the three kinds from octets."""

from __future__ import annotations

import re
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from gateway.core.cpim import CpimMessage
from gateway.core.errors import SyntaxFault
from gateway.sip.message import Request, Response, parse
from gateway.xmpp import stanza as xml
from gateway.xmpp.parser import StreamParser
from gateway.xmpp.stream import StreamFault

SIP, XMPP, CPIM = "sip", "xmpp", "cpim"
KINDS = (SIP, XMPP, CPIM)
CALLED = {SIP: "SIP message", XMPP: "XMPP stanza", CPIM: "message/cpim"}
_SIP_START = re.compile(rb"\s*(?:SIP/[0-9]+\.[0-9]+ |[A-Za-z0-9\-.!%*_+`'~]+ +\S+ +SIP/)", re.I)
_STREAM = (f"<stream:stream xmlns='{xml.COMPONENT}' xmlns:stream='{xml.STREAM}'>").encode()
_LINE_END = re.compile(rb"(?<!\r)\n")


@dataclass(frozen=True, slots=True)
class Read:
    """One message that was read: its kind, and the value of that kind. notes: what was bent to read it."""

    kind: str
    sip: Request | Response | None = None
    stanza: Element | None = None
    cpim: CpimMessage | None = None
    notes: tuple[str, ...] = ()


def detect(octets: bytes) -> str:
    """The kind of a message: "<" begins a stanza, a start line begins SIP, all else is taken for message/cpim."""
    if octets.lstrip()[:1] == b"<":
        return XMPP
    return SIP if _SIP_START.match(octets) else CPIM


def read_message(octets: bytes, kind: str = "") -> Read:
    """Read a message of this kind, or of the kind that it looks like. Raises SyntaxFault, for SIP its kind BadMessage."""
    stated, kind = kind, kind or detect(octets)
    if kind == XMPP:
        return Read(XMPP, stanza=read_stanza(octets))
    if kind == CPIM:
        return _read_cpim(octets, sure=bool(stated))
    notes: tuple[str, ...] = ()
    if b"\r\n" not in octets and b"\n" in octets:
        octets, notes = _crlf_head(octets), ("line ends of the header section were LF and were read as CRLF",)
    sip = parse(octets.lstrip(b"\r\n"))
    sip.check()
    return Read(SIP, sip=sip, notes=notes)


def _read_cpim(octets: bytes, *, sure: bool) -> Read:
    try:
        message = CpimMessage.parse(octets)
    except SyntaxFault as fault:
        if sure:
            raise
        raise SyntaxFault(f"This looks neither like a SIP message nor like an XMPP stanza, and it is no message/cpim: {fault}") from None
    return Read(CPIM, cpim=message, notes=message.notes)


def _crlf_head(octets: bytes) -> bytes:
    """A SIP message out of an editor: its header section has LF only. The body is left alone."""
    head, blank, body = octets.partition(b"\n\n")
    return _LINE_END.sub(b"\r\n", head) + (b"\r\n\r\n" if blank else b"") + body


def read_stanza(octets: bytes) -> Element:
    """One stanza, by the parser of the live link. Raises SyntaxFault."""
    parser = StreamParser()
    try:
        parser.feed(_STREAM + octets.strip())
        found = [element for event, element in parser.read_events() if event == "end"]
    except StreamFault as fault:
        raise SyntaxFault(f"Bad stanza ({fault})", section="RFC 6120 section 11") from None
    if len(found) != 1:
        raise SyntaxFault("Not one whole stanza", section="RFC 6120 section 8")
    return found[0]
