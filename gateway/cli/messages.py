"""Reading a message of any of the three kinds from octets, and what its fields are called in mappings/headers.toml."""

from __future__ import annotations

import re
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from gateway.core.cpim import CpimMessage
from gateway.core.errors import SyntaxFault
from gateway.sip.message import Request, Response, parse
from gateway.xmpp import stanza as xml
from gateway.xmpp.parser import StreamFault, StreamParser

SIP, XMPP, CPIM = "sip", "xmpp", "cpim"
KINDS = (SIP, XMPP, CPIM)
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
    kind = kind or detect(octets)
    if kind == XMPP:
        return Read(XMPP, stanza=read_stanza(octets))
    if kind == CPIM:
        message = CpimMessage.parse(octets)
        return Read(CPIM, cpim=message, notes=message.notes)
    notes: tuple[str, ...] = ()
    if b"\r\n" not in octets and b"\n" in octets:
        octets, notes = _crlf_head(octets), ("line ends of the header section were LF and were read as CRLF",)
    sip = parse(octets.lstrip(b"\r\n"))
    sip.check()
    return Read(SIP, sip=sip, notes=notes)


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


# -- fields, for --explain ---------------------------------------------------------------------------------------------
def fields_of(message: Read) -> dict[str, str]:
    """Canonical field name (mappings/headers.toml) -> value, as far as this message has the field."""
    if message.kind == SIP:
        found = _sip_fields(message.sip)
    elif message.kind == XMPP:
        found = _stanza_fields(message.stanza)
    else:
        found = _cpim_fields(message.cpim)
    return {name: value for name, value in found.items() if value}


def _sip_fields(message: Request | Response | None) -> dict[str, str]:
    if isinstance(message, Response):
        return {"status": f"{message.status} {message.reason}", "from": message.header("from") or "", "to": message.header("to") or ""}
    assert message is not None
    inner = CpimMessage.parse(message.body) if message.content_type and message.content_type.essence == "message/cpim" else None
    found = _cpim_fields(inner) if inner else {}
    body = message.body.decode("utf-8", "replace") if message.body and not inner else ""
    return found | {
        "from": message.header("from") or "",
        "to": message.request_uri_text,
        "thread": message.call_id,
        "subject": message.header("subject") or found.get("subject", ""),
        "language": message.header("content-language") or found.get("language", ""),
        "cseq": message.header("cseq") or "",
        "id": found.get("id") or message.top_via.branch or "",
        "sent-at": message.header("date") or found.get("sent-at", ""),
        "expires-at": message.header("expires") or "",
        "from-name": message.from_.display_name or found.get("from-name", ""),
        "body": body or found.get("body", ""),
        "priority": message.header("priority") or "",
    }


def _stanza_fields(stanza: Element | None) -> dict[str, str]:
    assert stanza is not None

    def texts(name: str) -> str:
        return " | ".join("".join(each.itertext()) for each in xml.children(stanza, name))

    delay = stanza.find(f"{{{xml.DELAY}}}delay")
    error = xml.child(stanza, "error")
    conditions = [xml.split_name(each.tag)[1] for each in error] if error is not None else []
    return {
        "from": stanza.get("from", ""),
        "to": stanza.get("to", ""),
        "id": stanza.get("id", ""),
        "type": stanza.get("type", ""),
        "language": stanza.get(xml.XML_LANG, ""),
        "thread": texts("thread"),
        "subject": texts("subject"),
        "body": texts("body"),
        "sent-at": delay.get("stamp", "") if delay is not None else "",
        "status": ", ".join(name for name in conditions if name != "text"),
    }


def _cpim_fields(message: CpimMessage | None) -> dict[str, str]:
    assert message is not None
    entity = message.entity
    return {
        "from": message.first("From") or "",
        "to": " | ".join(message.values("To")),
        "cc": " | ".join(message.values("cc")),
        "sent-at": message.first("DateTime") or "",
        "subject": " | ".join(text for text, _ in message.subjects),
        "language": entity.header("Content-Language") or "",
        "from-name": message.sender.name if message.sender else "",
        "id": message.first("Message-ID", "urn:ietf:params:imdn") or "",
        "require": ", ".join(name for _, name in message.required),
        "want": message.first("Disposition-Notification", "urn:ietf:params:imdn") or "",
        "body": entity.text() if entity.content_type.type == "text" else f"({entity.content_type}, {len(entity.content)} octets)",
    }
