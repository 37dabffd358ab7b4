"""SIP MESSAGE -> Envelope, and what a final response says: RFC 3428, RFC 7572 and RFC 3862. Pure: the command line uses it too."""

from __future__ import annotations

import re
from dataclasses import replace
from hashlib import sha256

from gateway.core.address import SipAddress
from gateway.core.canonical import FAILURE_TYPE, TYPING_TYPE, entity_message, text_message, typing_message, typing_of
from gateway.core.content import dispositions_of, is_text, known_content
from gateway.core.cpim import CPIM_TYPE, IMDN, UNDERSTOOD, CpimMessage
from gateway.core.dates import parse_sip_date
from gateway.core.envelope import Conversation, Envelope, RequestOrigin
from gateway.core.errors import Refusal, SyntaxFault
from gateway.core.imdn import NEGATIVE, NOTIFICATION_TYPE
from gateway.core.mime import MIXED, ContentType, Entity
from gateway.core.numbers import NO_NUMBERS, NumberPlan
from gateway.core.outcome import DELIVERED, Outcome, Verdict
from gateway.core.ports import Notice, Parties
from gateway.core.tables import Tables
from gateway.core.text import one_line, shown_name
from gateway.core.verdict import NOT_CHECKED

from . import grammar
from .conversation import conversation_of
from .entity import body_of, protected_body
from .failures import Report, find_report
from .identity import display_name
from .message import MAGIC_COOKIE, Request, Response
from .notices import asked_by, read_notices
from .redirect import preference
from .threads import thread_of

_MOST_REASON = 128
_RECEIVED, _MERGED = Outcome(Verdict.DELIVERED, 200), Outcome(Verdict.MERGED, 482)
_TYPING = re.compile(rb"im-iscomposing\+xml", re.I)


def read_message(
    request: Request,
    parties: Parties,
    peer: str,
    trace_id: str,
    now: float,
    numbers: NumberPlan = NO_NUMBERS,
    *,
    files: bool = False,
) -> Envelope | None:
    """The envelope for a MESSAGE that `uas` has let pass; None for one that has nothing to deliver (MSG-32). Raises Refusal.

    One that says something of other messages is `read_news`'s. files: whether what is not there to be shown is carried as a file.
    """
    if typing := _typing_in(request, parties, now):
        return _notice(request, parties, typing, peer, trace_id, now)
    expires_at = _expires_at(request, now)
    name, conversation = display_name(request, numbers), conversation_of(request)
    protected = protected_body(request)
    if protected is not None:
        message = _around(protected, request, parties, name, now)
        visible = _visible(protected)
    else:
        visible = message = _canonical(request, parties, name, now, files)
        if _is_empty(message.entity, files) and not any(one_line(subject) for subject, _ in message.subjects):
            return None
    message_id, asked = _message_id(visible) if visible else "", None
    if visible and message_id and isinstance(parties.sender, SipAddress):
        asked = asked_by(visible, message_id, parties.sender, numbers)
        if asked and protected is not None:
            # What tells of a protected message would have to be protected like it (IMDN-27, IMDN-28): only a failure is told.
            asked = replace(asked, wishes=asked.wishes & {NEGATIVE})
        if parties.sender.is_anonymous:
            # He has this address in common with others, who may use the same one; and it may tell who he is.
            message_id = ""
    origin = RequestOrigin(request.to.uri_text, request.call_id, f"{request.cseq.number} MESSAGE", asked)
    return Envelope(
        id=message_id or stanza_id(request),
        trace_id=trace_id,
        sender=parties.sender,
        recipient=parties.recipient,
        message=message,
        received_at=now,
        peer=peer,
        sender_device=parties.sender_device,
        recipient_device=parties.recipient_device,
        expires_at=expires_at,
        thread=_thread(request, conversation),
        conversation=conversation,
        asked=asked.wishes if asked else frozenset(),
        sender_name=shown_name(name) if name else "",
        origin=origin,
        verdict=NOT_CHECKED if protected is not None else None,
    )


def _visible(protected: Entity) -> CpimMessage | None:
    """The message/cpim around what is protected, where there is one (RFC 8591 section 9.1); what it requires has to be understood."""
    if protected.content_type.essence != CPIM_TYPE:
        return None
    try:
        message = CpimMessage.parse(protected.decoded())
    except SyntaxFault as fault:
        raise Refusal("bad-body", fault.what) from None
    _require_understood(message)
    return message


def _typing_in(request: Request, parties: Parties, now: float) -> CpimMessage | None:
    """The typing notice that a MESSAGE is, bare or in message/cpim (ISC-07); None for any other. Raises Refusal."""
    essence = request.content_type.essence if request.content_type else ""
    try:
        if essence == TYPING_TYPE:
            message = typing_message(parties.sender, parties.recipient, _sent_at(request, now), body_of(request).decoded())
        elif essence == CPIM_TYPE and _TYPING.search(request.body):
            message = CpimMessage.parse(request.body)
        else:
            return None
        if message.entity.content_type.essence != TYPING_TYPE:
            return None
        _require_understood(message)
        typing_of(message)
    except SyntaxFault as fault:
        raise Refusal("bad-body", fault.what) from None
    return message


def _notice(request: Request, parties: Parties, message: CpimMessage, peer: str, trace_id: str, now: float) -> Envelope:
    """The envelope for a typing notice. It is delivered now or never, whatever its Expires says, and asks for nothing (IMDN-04)."""
    return Envelope(
        id=stanza_id(request),
        trace_id=trace_id,
        sender=parties.sender,
        recipient=parties.recipient,
        message=message,
        received_at=now,
        peer=peer,
        sender_device=parties.sender_device,
        recipient_device=parties.recipient_device,
        thread=_thread(request, conversation_of(request)),
        volatile=True,
    )


def _thread(request: Request, conversation: Conversation | None) -> str:
    """Conversation-ID takes the place of Call-ID where there is one (RCS-03)."""
    return (conversation and conversation.id) or thread_of(request.call_id)


_MAY_NOTIFY = (NOTIFICATION_TYPE, CPIM_TYPE, MIXED)


def read_news(request: Request, parties: Parties) -> tuple[Notice, ...] | None:
    """What a MESSAGE says of other messages; None for one that is a message itself. Raises Refusal."""
    if request.content_type is None or request.content_type.essence not in _MAY_NOTIFY:
        return None
    return read_notices(body_of(request), parties)


def report_in(request: Request) -> Report | None:
    """The report of a failed request of ours that a MESSAGE is, or has beside a text; None for any other MESSAGE. Raises Refusal."""
    if request.content_type is None or request.content_type.essence not in (FAILURE_TYPE, MIXED):
        return None
    return find_report(body_of(request))


def is_bare_fragment(request: Request) -> bool:
    """Whether a MESSAGE is a fragment, with nothing beside it."""
    return request.content_type is not None and request.content_type.essence == FAILURE_TYPE


def _canonical(request: Request, parties: Parties, display: str, now: float, files: bool) -> CpimMessage:
    """The message/cpim that a MESSAGE brings, or one around its body. display: the name of the sender."""
    content_type = request.content_type
    if request.body and "content-disposition" in request.index:
        _require_shown(request.header("content-disposition"), content_type, files)
    if content_type is not None and content_type.essence == CPIM_TYPE:
        return _read_cpim(request.body, files)
    return _composed(request, parties, display, now, files)


def _composed(request: Request, parties: Parties, display: str, now: float, files: bool) -> CpimMessage:
    """message/cpim around a body that is none: text is written anew in UTF-8, any other entity stays as it came.

    display: the name of the sender.
    """
    content_type = request.content_type
    if content_type is None or (content_type.essence == "text/plain" and not (files and _is_attachment(request))):
        language = (request.content_language or "") if "content-language" in request.index else ""
        text, subjects, sent_at = _text(request), _subjects(request), _sent_at(request, now)
        name = one_line(display)
        return text_message(parties.sender, parties.recipient, text, sent_at, subjects=subjects, language=language, sender_name=name)
    return _around(body_of(request), request, parties, display, now)


def _around(entity: Entity, request: Request, parties: Parties, display: str, now: float) -> CpimMessage:
    """message/cpim around an entity, of which no octet changes."""
    name, sent_at = one_line(display), _sent_at(request, now)
    return entity_message(parties.sender, parties.recipient, entity, sent_at, subjects=_subjects(request), sender_name=name)


def _subjects(request: Request) -> tuple[tuple[str, str], ...]:
    subject = one_line(request.header("subject") or "") if "subject" in request.index else ""
    return ((subject, ""),) if subject else ()


def _is_empty(entity: Entity, files: bool) -> bool:
    """Whether it has nothing for the other side."""
    try:
        # Nearly every message is text, and what else known_content tells of it is asked for later.
        if is_text(entity, files=files):
            return not entity.text()
        shown = known_content(entity, files=files)
        return not shown.body and not shown.files
    except SyntaxFault as fault:
        raise Refusal("bad-body", fault.what) from None


def _text(request: Request) -> str:
    """The text/plain body in its charset (IMSG-16, MSG-36)."""
    if not request.body or request.content_type is None:
        return ""
    try:
        return request.content_type.text(request.body)
    except SyntaxFault as fault:
        raise Refusal("bad-request-text", fault.what) from None


def _is_attachment(request: Request) -> bool:
    return _kind_of(request.header("content-disposition")) == "attachment"


def _read_cpim(body: bytes, files: bool) -> CpimMessage:
    """A message/cpim body with something to show inside; its octets stay as they came."""
    try:
        message = CpimMessage.parse(body)
        _require_shown(message.entity.header("Content-Disposition"), message.entity.content_type, files)
        _require_understood(message)
    except SyntaxFault as fault:
        raise Refusal("bad-body", fault.what) from None
    return message


def _require_understood(message: CpimMessage) -> None:
    for namespace, name in message.required:
        if (namespace, name) not in UNDERSTOOD:
            raise Refusal("cpim-require", f"message/cpim requires {name}, which is not understood here")


def _expires_at(request: Request, now: float) -> float | None:
    """Date + Expires, or receipt + Expires (MSG-51 to MSG-55). Raises Refusal for what has expired already."""
    seconds = request.expires
    if seconds is None:
        return None
    at = _sent_at(request, now) + seconds
    if at <= now:
        raise Refusal("expired")
    return at


def read_response(response: Response, tables: Tables, *, repeat: bool = False, vouched: bool = False) -> Outcome:
    """What a final response says of the message that it answers (REL-11).

    repeat: an earlier copy of it may have arrived; then 482 says that it had (SIP-106). vouched: the route says that a 200 comes from the
    recipient's own device (`receipt_on_200`).
    """
    status = response.status
    if status < 300:
        return _RECEIVED if vouched and status == _RECEIVED.status else DELIVERED
    if repeat and status == _MERGED.status:
        return _MERGED
    reason = one_line(response.reason)[:_MOST_REASON]
    contact = max(response.contact, key=preference).uri_text if status < 400 and response.contact else ""
    verdict = Verdict.LATER if tables.status(status).again else Verdict.FAILED
    return Outcome(verdict, status, reason, response.retry_after, contact)


def stanza_id(request: Request) -> str:
    """The id under which XMPP sees this request, the same for every copy of it (IMSG-12)."""
    branch = request.top_via.branch or ""
    if branch[:7].lower() == MAGIC_COOKIE and len(branch) > len(MAGIC_COOKIE):
        return branch[7:]
    parts = (request.from_.tag or "", request.call_id, str(request.cseq.number), request.via_values[0].decode("utf-8", "replace"))
    return sha256("\n".join(parts).encode()).hexdigest()[:32]


def _require_shown(disposition: str | None, content_type: ContentType | None, files: bool) -> None:
    """Refuses content that is not there to be shown: that is the one thing done with it here (MSG-35).

    Whatever `handling` says: a MESSAGE has no other purpose than its body (RFC 8591 section 7.3). disposition: the value of
    Content-Disposition, if there is one.
    """
    if _kind_of(disposition) not in dispositions_of(content_type, files=files):
        raise Refusal("type-unsupported", "Content-Disposition is one that is not carried; render and inline are")


def _kind_of(disposition: str | None) -> str:
    return disposition.partition(";")[0].strip(" \t").lower() if disposition else ""


def _message_id(message: CpimMessage) -> str:
    stated = message.first("Message-ID", IMDN) or ""
    return stated if grammar.TOKEN.fullmatch(stated) else ""


def _sent_at(request: Request, now: float) -> float:
    """When the request was written: its Date, but never later than now; a Date that cannot be read says nothing (MSG-55)."""
    stated = date_of(request)
    return now if stated is None else min(stated, now)


def is_dated(request: Request) -> bool:
    """Whether it has a Date that can be read."""
    return date_of(request) is not None


def date_of(request: Request) -> float | None:
    """Its Date in POSIX seconds; None without one that can be read."""
    if "date" not in request.index:
        return None
    try:
        return parse_sip_date(request.header("date") or "")
    except SyntaxFault:
        return None
