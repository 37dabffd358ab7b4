"""Envelope -> the body of a SIP MESSAGE, in the forms in which its recipient may take it, best first. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gateway.core import sipfrag
from gateway.core.canonical import (
    FAILURE_TYPE,
    NOTIFICATION_TYPE,
    TYPING_TYPE,
    addressed,
    alternatives,
    asking,
    notification_message,
    text_entity,
)
from gateway.core.content import Content, known_content
from gateway.core.cpim import CPIM_TYPE, CpimMessage
from gateway.core.envelope import Envelope, RequestOrigin, StanzaOrigin
from gateway.core.errors import Refusal, SyntaxFault
from gateway.core.imdn import NEGATIVE, Disposition
from gateway.core.mime import Entity
from gateway.core.protection import is_protected
from gateway.core.settings import RouteRule
from gateway.core.text import crlf, one_line

from . import writer
from .failures import compose_report
from .takes import Takes, may

TEXT_TYPE = "text/plain;charset=UTF-8"
_MOST_QUOTED = 128


Form = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Body:
    """One form of a message. feature: of Takes, what it needs, "" for plain text. type: Content-Type, empty where there is no body.

    asks: whether it asks for notifications. may_be_cut: better without its end than not at all. headers: further ones of the body.
    """

    feature: str
    type: str
    octets: bytes
    asks: bool = False
    may_be_cut: bool = False
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def form(self) -> Form:
        """What it is known by where it was refused: (feature, media type)."""
        return self.feature, self.type.partition(";")[0]


def bodies(envelope: Envelope, rule: RouteRule, takes: Takes, uris: tuple[str, str]) -> Iterator[Body]:
    """The forms that this message may have there, best first. A form may be passed over where it is too large. Raises Refusal.

    uris: of author and recipient, as the SIP side has them.
    """
    essence = envelope.message.entity.content_type.essence
    if essence == FAILURE_TYPE:
        yield from _failure(envelope, rule, takes)
    elif essence == NOTIFICATION_TYPE:
        if not may(rule.imdn, takes.imdn):
            raise Refusal("type-unsupported", "The recipient takes no notifications")
        yield Body("imdn", CPIM_TYPE, envelope.message.raw)
    elif essence == TYPING_TYPE:
        yield Body("typing", TYPING_TYPE, envelope.message.entity.content)
    elif is_protected(envelope.message.entity):
        yield _protected(envelope.message.entity)
    else:
        yield from _shown(envelope, rule, takes, uris)


def _protected(entity: Entity) -> Body:
    """What is signed or encrypted has one form: the one in which it came, octet for octet (E2E-01, E2E-03, SMIME-37)."""
    headers = {name.lower(): (name, value) for name, value in entity.headers}
    _, kind = headers.pop("content-type")
    # The codec writes the language of any body.
    headers.pop("content-language", None)
    return Body("smime", kind, entity.content, headers=tuple(headers.values()))


def require_typing(rule: RouteRule, takes: Takes) -> None:
    """Refuses a typing notice for whom it must not be sent: unlike all else it is not tried to find out (RFC 3994 section 4, ISC-05)."""
    if rule.typing == "never" or takes.typing is False:
        raise Refusal("type-unsupported", "Typing notices are not wanted there")
    if takes.typing is None and rule.typing != "always":
        raise Refusal("typing-unknown")


def _shown(envelope: Envelope, rule: RouteRule, takes: Takes, uris: tuple[str, str]) -> Iterator[Body]:
    """With its markup where that is taken (IMSG-19), else as plain text. Nothing else goes to SIP."""
    message = envelope.message
    if message.entity.content_type.essence == "text/plain":
        yield from _forms("", envelope, message, rule, takes, uris)
        return
    content = _content(message.entity)
    if content.html and rule.html and takes.html is not False:
        both = alternatives(content.body, content.xhtml, content.language)
        yield from _forms("html", envelope, message.around(both), rule, takes, uris)
    yield from _forms("", envelope, message.around(text_entity(content.body, content.language)), rule, takes, uris)


def _forms(feature: str, envelope: Envelope, message: CpimMessage, rule: RouteRule, takes: Takes, uris: tuple[str, str]) -> Iterator[Body]:
    """message/cpim for an RCS user, and where the message says something that its content alone cannot, else the content.

    ICPIM-34, IMDN-10, RCS-01.
    """
    asks = bool(envelope.asked) and may(rule.imdn, takes.imdn)
    wrapped = rule.cpim == "always" or len(message.subjects) > 1 or envelope.conversation is not None
    if may(rule.cpim, takes.cpim) and (asks or wrapped):
        # What came from XMPP the gateway has composed itself.
        named = addressed(message, *uris) if isinstance(envelope.origin, StanzaOrigin) else message
        if asks:
            yield Body(feature or "cpim", CPIM_TYPE, asking(named, envelope.id, envelope.asked), asks=True)
        if wrapped:
            yield Body(feature or "cpim", CPIM_TYPE, named.raw)
    if rule.cpim != "always":
        kind = str(message.entity.content_type) if feature else TEXT_TYPE
        content = message.entity.content if feature else crlf(message.entity.text()).encode()
        yield Body(feature, kind if content else "", content)


def _content(entity: Entity) -> Content:
    try:
        return known_content(entity)
    except SyntaxFault as fault:
        raise Refusal("bad-body", fault.what) from None


def _failure(envelope: Envelope, rule: RouteRule, takes: Takes) -> Iterator[Body]:
    """An IMDN where that was asked for, else what the route wants: words for a person, with a message/sipfrag or alone, or nothing.

    NOTE-09, FRAG-40. Raises Refusal where nothing is to be told.
    """
    fragment, about = sipfrag.parse(envelope.message.entity.content), envelope.about
    asked = about.asked if isinstance(about, RequestOrigin) else None
    if asked and NEGATIVE in asked.wishes and may(rule.imdn, takes.imdn) and may(rule.cpim, takes.cpim):
        disposition = _DISPOSITIONS.get(fragment.status, Disposition.ERROR if fragment.status // 100 == 5 else Disposition.FAILED)
        sent_at = envelope.received_at
        notification = notification_message(envelope.sender, envelope.recipient, sent_at, envelope.id, asked, disposition)
        yield Body("imdn", CPIM_TYPE, notification.raw)
    elif rule.failure_report == "none":
        raise Refusal("failure-not-reported")
    if rule.failure_report == "none":
        return
    text = _report(envelope, fragment)
    if rule.failure_report == "sipfrag" and takes.sipfrag is not False:
        # The boundary was drawn when the words of all others were known: none of them can contain it.
        yield Body("sipfrag", *compose_report(text, TEXT_TYPE, fragment, f"r{envelope.trace_id}"))
    yield Body("", TEXT_TYPE, text.encode(), may_be_cut=True)


_DISPOSITIONS = dict.fromkeys((401, 403, 407, 603), Disposition.FORBIDDEN)


def _report(envelope: Envelope, fragment: sipfrag.Fragment) -> str:
    """What a person reads when a message did not arrive (FRAG-40): whom it was for, the status and the reason."""
    about = envelope.about
    whom = _short(about.to_uri if isinstance(about, RequestOrigin) else str(envelope.sender))
    reason = _short(one_line(fragment.reason))
    phrase = writer.PHRASES.get(fragment.status, "")
    why = f"{fragment.status} {phrase}".strip() + (f" ({reason})" if reason and reason != phrase else "")
    moved = fragment.header("Contact") or ""
    where = f"; the new address is {_short(moved.removeprefix('<').removesuffix('>'))}" if moved else ""
    return f"Your message to {whom} could not be delivered: {why}{where}"


def _short(text: str) -> str:
    """What a report quotes, so short that what it says itself has room."""
    return text if len(text) <= _MOST_QUOTED else f"{text[:_MOST_QUOTED]}..."


def needed(form: Form) -> tuple[str, ...]:
    """The features that somebody has to have who takes this form, the most particular one first.

    >>> needed(("html", "message/cpim"))
    ('html', 'cpim')
    """
    feature, media_type = form
    if feature == "smime":
        return ()  # Its author decides, and no 415 makes anything else of it.
    return (feature, "cpim") if media_type == CPIM_TYPE and feature != "cpim" else (feature,) if feature else ()


def cut(text: bytes, octets: int) -> bytes:
    """The beginning of a UTF-8 text, in whole characters."""
    return text[:octets].decode("utf-8", "ignore").encode()
