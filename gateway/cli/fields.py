"""The fields of a message of any kind, under the names that they have in mappings/headers.toml."""

from __future__ import annotations

from collections.abc import Iterable
from xml.etree.ElementTree import Element

from gateway.core import sipfrag
from gateway.core.canonical import FAILURE_TYPE, TYPING_TYPE
from gateway.core.composing import parse_composing
from gateway.core.content import content_of
from gateway.core.cpim import CORE, CPIM_TYPE, IMDN, CpimMessage
from gateway.core.errors import Refusal, SyntaxFault
from gateway.core.imdn import NOTIFICATION_TYPE, parse_notification
from gateway.core.mime import Entity
from gateway.core.numbers import NO_NUMBERS
from gateway.core.protection import is_protected
from gateway.sip.entity import body_of
from gateway.sip.headers import title
from gateway.sip.identity import senders
from gateway.sip.message import Request, Response
from gateway.xmpp import stanza as xml
from gateway.xmpp.e2e import entity_in
from gateway.xmpp.rich import OOB, XHTML_IM, links_of, markup_of

from .messages import SIP, XMPP, Read

_ROUTES = ("Original-To", "IMDN-Record-Route", "IMDN-Route")
_NAMED = frozenset(
    ("from", "to", "call-id", "cseq", "via", "max-forwards", "subject", "content-type", "content-length", "content-language", "date",
     "expires", "priority", "require", "route", "conversation-id",
     "p-asserted-identity")
)  # fmt: skip
_EXTENSIONS = {
    (xml.E2E, "e2e"): "security",
    (xml.NICK, "nick"): "from-name",
    (xml.RECEIPTS, "request"): "want",
    (xml.MARKERS, "markable"): "want",
    (xml.RECEIPTS, "received"): "report",
    (xml.MARKERS, "received"): "report",
    (xml.MARKERS, "displayed"): "report",
    (xml.DELAY, "delay"): "sent-at",
    ("http://jabber.org/protocol/amp", "amp"): "expires-at",
    (xml.HINTS, "no-store"): "typing",
    (xml.EME, "encryption"): "security",
    (XHTML_IM, "html"): "html",
    (OOB, "x"): "link",
}
_CONTENT = ("thread", "subject", "body", "error")


def fields_of(message: Read) -> dict[str, str]:
    """Name -> value of each field that this message has, and `status` of a response or an error."""
    if message.kind == SIP:
        found = _response(message.sip) if isinstance(message.sip, Response) else _request(message.sip)
    elif message.kind == XMPP:
        found = _stanza(message.stanza)
    else:
        found = _cpim(message.cpim)
    return {name: value for name, value in found.items() if value}


def _response(response: Response) -> dict[str, str]:
    return {
        "status": f"{response.status} {response.reason}",
        "from": response.from_.uri_text,
        "to": response.to.uri_text,
        "id": response.top_via.branch or "",
        "thread": response.call_id,
        "cseq": response.header("cseq") or "",
    }


def _request(request: Request | None) -> dict[str, str]:
    assert request is not None
    inner = CpimMessage.parse(request.body) if request.content_type and request.content_type.essence == CPIM_TYPE else None
    found = _cpim(inner) if inner else {}
    shown = {} if inner or not request.content_type else _shown(body_of(request))
    names = dict.fromkeys(title(name) for name, _ in request.rows if name not in _NAMED)
    named = inner.values("To") if inner else ()
    conversation = request.header("conversation-id")
    return (
        found
        | shown
        | {
            "from": _sender(request),
            "to": _listed([request.request_uri_text, *(named if len(named) > 1 else ())]),
            "thread": f"{conversation} (in Conversation-ID)" if conversation else request.call_id,
            "subject": request.header("subject") or found.get("subject", ""),
            "language": request.header("content-language") or found.get("language", ""),
            "cseq": request.header("cseq") or "",
            "id": found.get("id") or request.top_via.branch or "",
            "sent-at": request.header("date") or found.get("sent-at", ""),
            "expires-at": request.header("expires") or "",
            "from-name": request.from_.display_name or found.get("from-name", ""),
            "priority": request.header("priority") or "",
            "require": request.header("require") or found.get("require", ""),
            "other": _listed([*names, found.get("other", "")]),
        }
    )


def _sender(request: Request) -> str:
    try:
        return senders(request, NO_NUMBERS)[0].text
    except Refusal:
        return request.from_.uri_text


def _stanza(stanza: Element | None) -> dict[str, str]:
    assert stanza is not None
    found = {name: _listed("".join(each.itertext()) for each in xml.children(stanza, name)) for name in ("thread", "subject", "body")}
    error = xml.child(stanza, "error")
    conditions = [xml.split_name(each.tag)[1] for each in error] if error is not None else []
    found |= {
        "from": stanza.get("from", ""),
        "to": _listed([stanza.get("to", ""), *_addresses(stanza, "to")]),
        "cc": _listed(_addresses(stanza, "cc")),
        "id": stanza.get("id", ""),
        "type": stanza.get("type", ""),
        "language": stanza.get(xml.XML_LANG, ""),
        "status": _listed(name for name in conditions if name != "text"),
    }
    for each in stanza:
        namespace, local = xml.split_name(each.tag)
        if (local not in _CONTENT or namespace not in (xml.COMPONENT, "jabber:client")) and namespace != xml.ADDRESS:
            name = "typing" if namespace == xml.CHAT_STATES else _EXTENSIONS.get((namespace, local), "other")
            value = each.get("stamp") or (_value(name, each) or f"<{local}/> {namespace}")
            if name not in ("html", "link"):
                found[name] = _listed([found.get(name, ""), value])
    rich = markup_of(stanza)
    return found | {"html": rich.xhtml if rich else "", "link": _listed(link.url for link in links_of(stanza))}


def _value(name: str, element: Element) -> str:
    """What an element says that is not said by its being there."""
    if element.tag == xml.E2E_TAG:
        try:
            return _described(entity_in("".join(element.itertext())))
        except SyntaxFault as fault:
            return f"(cannot be read: {fault})"
    return "".join(element.itertext()) if name == "from-name" else ""


def _addresses(stanza: Element, kind: str) -> list[str]:
    """Whom a stanza names beside its own addresses (XEP-0033)."""
    found = [each for each in stanza.iterfind(f"{{{xml.ADDRESS}}}addresses/{{{xml.ADDRESS}}}address") if each.get("type") == kind]
    return [each.get("jid") or each.get("uri") or each.get("desc") or "" for each in found]


def _cpim(message: CpimMessage | None) -> dict[str, str]:
    assert message is not None
    entity, imdn = message.entity, [header for header in message.headers if header.namespace == IMDN]
    foreign = [header.name for header in message.headers if header.namespace not in (CORE, IMDN)]
    return {
        "from": message.first("From") or "",
        "to": _listed(message.values("To")),
        "cc": _listed(message.values("cc")),
        "sent-at": message.first("DateTime") or "",
        "subject": _listed(text for text, _ in message.subjects),
        "language": entity.header("Content-Language") or "",
        "from-name": message.sender.name if message.sender else "",
        "id": message.first("Message-ID", IMDN) or "",
        "content-id": entity.header("Content-ID") or "",
        "require": ", ".join(name for _, name in message.required),
        "want": message.first("Disposition-Notification", IMDN) or "",
        "routes": _listed(header.value for header in imdn if header.name in _ROUTES),
        "other": _listed(foreign),
    } | _shown(entity)


def _shown(entity: Entity) -> dict[str, str]:
    """The text, the markup and the links, or what it tells a program; for anything else what it is."""
    if is_protected(entity):
        return {"security": _described(entity)}
    try:
        if entity.content_type.essence == "text/plain":
            return {"body": entity.text()}
        if told := said(entity):
            return dict([told])
        content = content_of(entity)
    except (Refusal, SyntaxFault):
        return {"body": f"({_described(entity)})"}
    return {"body": content.text, "html": content.html, "link": _listed(link.url for link in content.links)}


def _described(entity: Entity) -> str:
    return f"{entity.content_type}, {len(entity.content)} octets"


def said(entity: Entity) -> tuple[str, str] | None:
    """(field, in words) what a body tells a program, of typing or of another message; None for any other. Raises Refusal, SyntaxFault."""
    essence = entity.content_type.essence
    if essence == TYPING_TYPE:
        typing = parse_composing(entity.decoded())
        return "typing", f"active, for {typing.seconds} s" if typing.is_active else "idle"
    if essence == NOTIFICATION_TYPE and (notification := parse_notification(entity.decoded())):
        return "report", f"{notification.disposition.status}, of {notification.message_id}"
    if essence == FAILURE_TYPE and (fragment := sipfrag.parse(entity.decoded(), strict=False)).kind is sipfrag.Kind.RESPONSE:
        return "body", f"{fragment.status} {fragment.reason}"
    return None


def _listed(values: Iterable[str]) -> str:
    return " | ".join(value for value in values if value)
