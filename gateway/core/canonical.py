"""The message/cpim objects that the gateway composes itself: from text or another body, to tell of a failure, and to notify.

What a canonical message is, its content type says: FAILURE_TYPE, NOTIFICATION_TYPE, TYPING_TYPE; all else is there to be shown.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b

from .address import Address, SipAddress
from .composing import Composing, parse_composing
from .cpim import IMDN, CpimMessage, compose
from .dates import format_rfc3339, parse_rfc3339
from .domain import ascii_domain
from .errors import SyntaxFault
from .imdn import NOTIFICATION_TYPE, Asked, Disposition, compose_notification
from .jid import unescape_local
from .mime import Entity
from .remember import MOST_REMEMBERED
from .sipfrag_writer import compose_status
from .text import crlf
from .uri import im_uri, sip_uri

TEXT_TYPE = "text/plain; charset=utf-8"
HTML_TYPE = "text/html; charset=utf-8"
FAILURE_TYPE = "message/sipfrag"
TYPING_TYPE = "application/im-iscomposing+xml"


@lru_cache(maxsize=4096)
def address_uri(address: Address) -> str:
    """The im: URI of a person, as message/cpim names him (ICPIM-10, RFC 3922 section 3.2).

    >>> address_uri(SipAddress("o'malley", "sip.example"))
    'im:o%27malley@sip.example'
    """
    if isinstance(address, SipAddress):
        return im_uri(address.user, address.domain)
    return im_uri(unescape_local(address.local), ascii_domain(address.domain))


OLD_AFTER_SECONDS = 60
"""A message older than this when it comes says when it was written (IMSG-15, ICPIM-23)."""


def written_at(message: CpimMessage) -> float | None:
    """When a message says that it was written, in POSIX seconds; None when it says nothing readable."""
    stated = message.first("DateTime")
    return _instant(stated) if stated else None


@lru_cache(maxsize=64)
def _instant(text: str) -> float | None:
    try:
        return parse_rfc3339(text).timestamp()
    except SyntaxFault:
        return None


def text_message(
    sender: Address,
    recipient: Address,
    body: str,
    sent_at: float,
    *,
    subjects: tuple[tuple[str, str], ...] = (),
    language: str = "",
    sender_name: str = "",
) -> CpimMessage:
    """Text as message/cpim: From, To, DateTime, Subjects, then text/plain in UTF-8 with CRLF line ends (CPIM-63, CPIM-64, E13).

    sent_at: POSIX seconds, of which the whole ones are said. subjects: (text, language or ""). language: of the body, goes into
    Content-Language.
    """
    # Subjects are never the same twice, and long names would fill the memory.
    shape = _text_shape if subjects or len(sender_name) > MOST_REMEMBERED else _known_text_shape
    model = shape(sender, recipient, int(sent_at), subjects, sender_name)
    return model.around(text_entity(body, language))


def text_entity(body: str, language: str = "") -> Entity:
    """text/plain in UTF-8, with CRLF line ends."""
    head = _language_head(language)
    text = crlf(body)
    content = text.encode()
    return Entity(head.raw + content, head.headers, content, head.content_type, text)


def entity_message(
    sender: Address,
    recipient: Address,
    entity: Entity,
    sent_at: float,
    *,
    subjects: tuple[tuple[str, str], ...] = (),
    sender_name: str = "",
) -> CpimMessage:
    """An entity that says of what type it is, octet for octet, as message/cpim; the rest as for `text_message`."""
    model = _text_shape(sender, recipient, int(sent_at), subjects, sender_name)
    return model.around(entity)


def alternatives(text: str, xhtml: str, language: str = "") -> Entity:
    """The same as plain text and with markup, the better form last (RFC 2046 section 5.1.4). xhtml: as `Content.xhtml`."""
    texts = ((TEXT_TYPE, crlf(text).encode()), (HTML_TYPE, xhtml.encode()))
    parts = [Entity.compose([("Content-Type", kind)], octets).raw for kind, octets in texts]
    boundary, content = delimited(*parts)
    headers = [("Content-Type", f"multipart/alternative; boundary={boundary}")]
    return Entity.compose(headers + ([("Content-Language", language)] if language else []), content)


def delimited(*parts: bytes) -> tuple[str, bytes]:
    """(boundary, content) of a multipart of these entities. Whoever wrote them can hardly have known the boundary, and it is looked for.

    >>> boundary, content = delimited(b"\\r\\none", b"\\r\\ntwo")
    >>> content.replace(boundary.encode(), b"b")
    b'--b\\r\\n\\r\\none\\r\\n--b\\r\\n\\r\\ntwo\\r\\n--b--\\r\\n'
    """
    octets = boundary = b"".join(parts)
    while boundary in octets:
        boundary = blake2b(boundary, digest_size=12).hexdigest().encode()
    return boundary.decode(), b"".join([b"--%b\r\n%b\r\n" % (boundary, part) for part in parts]) + b"--%b--\r\n" % boundary


def _text_shape(sender: Address, recipient: Address, sent_at: int, subjects: tuple[tuple[str, str], ...], sender_name: str) -> CpimMessage:
    """A message without text: its headers are those of every text between the same two people in the same second."""
    name = f"{_formal_name(sender_name)} " if sender_name else ""
    fields = [("From", f"{name}<{address_uri(sender)}>"), ("To", f"<{address_uri(recipient)}>"), ("DateTime", format_rfc3339(sent_at))]
    fields += [(f"Subject;lang={tag}" if tag else "Subject", subject) for subject, tag in subjects]
    return compose(fields, _language_head(""))


_known_text_shape = lru_cache(maxsize=4096)(_text_shape)


@lru_cache(maxsize=256)
def _language_head(language: str) -> Entity:
    """A text entity without content, in this language."""
    headers = [("Content-Type", TEXT_TYPE)] + ([("Content-Language", language)] if language else [])
    return Entity.compose(headers, b"")


def failure_message(
    sender: Address,
    recipient: Address,
    sent_at: float,
    status: int,
    reason: str,
    headers: Iterable[tuple[str, str]] = (),
) -> CpimMessage:
    """What became of a message, as a message/sipfrag status in message/cpim (FRAG-41). `sender` is whom the failed message was for."""
    fields = [("From", f"<{address_uri(sender)}>"), ("To", f"<{address_uri(recipient)}>"), ("DateTime", format_rfc3339(sent_at))]
    part = (("Content-Type", FAILURE_TYPE), ("Content-Disposition", "notification"))
    return compose(fields, Entity.compose(part, compose_status(status, reason, tuple(headers))))


def notification_message(
    sender: Address, recipient: Address, sent_at: float, message_id: str, asked: Asked, disposition: Disposition
) -> CpimMessage:
    """What became of a message, as an IMDN (IMDN-07, E14). `sender` is whom that message was for. message_id: of the IMDN itself.

    It goes to the URI in the From of the message, and by the routes that this recorded (IMDN-08). Who reports is a sip: URI where he was
    one in that message, else an im: URI.
    """
    me = _as_seen(sender, asked.recipient)
    to = f"<{asked.author}>" if asked.author else f"<{address_uri(recipient)}>"
    fields = [("From", f"<{me}>"), ("To", to), ("DateTime", format_rfc3339(sent_at)), ("NS", f"imdn <{IMDN}>")]
    fields += [("imdn.Message-ID", message_id), *[("imdn.IMDN-Route", route) for route in asked.routes]]
    part = (("Content-Type", NOTIFICATION_TYPE), ("Content-Disposition", "notification"))
    return compose(fields, Entity.compose(part, compose_notification(asked, disposition, me)))


def _as_seen(address: Address, uri: str) -> str:
    if not uri.lower().startswith("sip:"):
        return address_uri(address)
    return sip_uri(address if isinstance(address, SipAddress) else SipAddress(unescape_local(address.local), ascii_domain(address.domain)))


def addressed(message: CpimMessage, author: str, recipient: str) -> CpimMessage:
    """A message that the gateway has composed, with these URIs for the im: ones in From and To.

    On the SIP side people are sip: and tel: URIs, and there is a widespread client that refuses message/cpim from any other (488).
    """
    first, second, rest = message.raw.split(b"\r\n", 2)
    lines = [line[: line.rindex(b"<") + 1] + uri.encode() + b">" for line, uri in ((first, author), (second, recipient))]
    return CpimMessage(b"\r\n".join([*lines, rest]), message.entity)


def typing_message(sender: Address, recipient: Address, sent_at: float, document: bytes) -> CpimMessage:
    """That somebody types, or does so no more, as message/cpim around the document that says so."""
    fields = [("From", f"<{address_uri(sender)}>"), ("To", f"<{address_uri(recipient)}>"), ("DateTime", format_rfc3339(sent_at))]
    return compose(fields, Entity.compose((("Content-Type", TYPING_TYPE),), document))


def typing_of(message: CpimMessage) -> Composing:
    """What a typing notice says. Raises SyntaxFault for any other message, Refusal for an encoding that is not known."""
    return parse_composing(message.entity.decoded())


def asking(message: CpimMessage, message_id: str, wishes: Iterable[str]) -> bytes:
    """The octets of a message that the gateway has composed, with the fields that ask for notifications about it (IMDN-01)."""
    head = message.raw[: -len(message.entity.raw) - 2]
    wanted = ", ".join(sorted(wishes, reverse=True))
    lines = f"NS: imdn <{IMDN}>\r\nimdn.Message-ID: {message_id}\r\nimdn.Disposition-Notification: {wanted}\r\n\r\n"
    return head + lines.encode() + message.entity.raw


def _formal_name(name: str) -> str:
    """A display name as a quoted Formal-name (RFC 3862 section 4.1); the escapes are the writer's work."""
    return '"' + name.replace('"', "'") + '"'


__all__ = [
    "FAILURE_TYPE",
    "NOTIFICATION_TYPE",
    "OLD_AFTER_SECONDS",
    "TEXT_TYPE",
    "TYPING_TYPE",
    "address_uri",
    "addressed",
    "alternatives",
    "asking",
    "delimited",
    "entity_message",
    "failure_message",
    "notification_message",
    "text_entity",
    "text_message",
    "typing_message",
    "typing_of",
    "written_at",
]
