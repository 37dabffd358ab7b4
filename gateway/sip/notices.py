"""Disposition notifications in a SIP MESSAGE (RFC 5438): those that come, and what a message may ask for. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from gateway.core.address import ANONYMOUS_HOST, SipAddress
from gateway.core.cpim import CPIM_TYPE, CpimMessage
from gateway.core.cpim_header import CpimAddress, check_value
from gateway.core.errors import Refusal, SyntaxFault
from gateway.core.imdn import NOTIFICATION_TYPE, Asked, Disposition, asked_in, parse_notification
from gateway.core.mime import MIXED, Entity, mime_parts
from gateway.core.numbers import NumberPlan
from gateway.core.outcome import Outcome, Verdict
from gateway.core.ports import Notice, Parties
from gateway.core.uri import Uri

_MENTIONED = re.compile(re.escape(NOTIFICATION_TYPE.partition("/")[2].encode()), re.I)
_FAILURES = {
    Disposition.FAILED: Outcome(Verdict.FAILED, 480),
    Disposition.FORBIDDEN: Outcome(Verdict.FAILED, 403),
    Disposition.ERROR: Outcome(Verdict.FAILED, 500),
}
"""A notification of failure in the terms in which any failure is told (NOTE-01)."""
_MOST_ROUTES, _MOST_ROUTE_OCTETS, _MOST_NAME_OCTETS, _MOST_DATE_OCTETS, _MOST_URI_OCTETS = 8, 256, 256, 64, 1024
"""Of what a notification repeats: each is written down with the message, and the notification has to have room for all of it."""
_ROUTED, _DIVERTING = ("sip", "sips"), ("maddr", "method")


def read_notices(body: Entity, parties: Parties) -> tuple[Notice, ...] | None:
    """What a body of notifications says: bare or in message/cpim, one or an aggregate of several (IMDN-25, IMDN-26).

    None for a body of another kind. Of a MESSAGE that is a notification nothing else is read (IMDN-04, IMDN-25). Raises Refusal.
    """
    try:
        documents = list(_documents(body))
        if not documents:
            return None
        found = [parse_notification(document.decoded()) for document in documents]
    except SyntaxFault as fault:
        raise Refusal("bad-body", fault.what) from None
    ends = (str(parties.sender.normal) if isinstance(parties.sender, SipAddress) else "", str(parties.recipient))
    return tuple(
        Notice((f"imdn {each.message_id}", *ends), _FAILURES.get(each.disposition, each.disposition))
        for each in found
        if each and each.message_id
    )


def _documents(body: Entity) -> Iterator[Entity]:
    entity = body
    if body.content_type.essence == CPIM_TYPE:
        octets = body.decoded()
        if not _MENTIONED.search(octets):
            # Most messages are none, and are read by others.
            return
        entity = CpimMessage.parse(octets).entity
    essence = entity.content_type.essence
    if essence == NOTIFICATION_TYPE:
        yield entity
    elif essence == MIXED:
        parts = [part.entity for part in mime_parts(entity) if part.depth > 1]
        if all(part.content_type.essence == NOTIFICATION_TYPE for part in parts):
            yield from parts


def asked_by(message: CpimMessage, message_id: str, sender: SipAddress, numbers: NumberPlan) -> Asked | None:
    """What the author of a message asks for; None where nothing, or where a notification would go to anybody but himself (IMDN-32).

    The author in the object is the sender, and the routes back are of his domain. An author or addressee who is anonymous in the object is
    the one of the request (RCS-05). A sender who does not say who he is has no address that a notification could go to (IMDN-12). What a
    notification would have no room to repeat is not asked.
    """
    if sender.is_anonymous:
        return None
    try:
        asked = asked_in(message, message_id)
        if asked is None or not _can_be_repeated(asked):
            return None
        if is_anonymous(asked.author):
            asked = replace(asked, author=numbers.written(sender))
        if is_anonymous(asked.recipient):
            asked = replace(asked, recipient="")
        author = _plain(asked.author)
        is_his = author is not None and numbers.address(author).normal == sender.normal
        return asked if is_his and all(_leads_to(sender.domain, route) for route in asked.routes) else None
    except SyntaxFault:
        return None


def _can_be_repeated(asked: Asked) -> bool:
    texts = [(asked.message_id, _MOST_NAME_OCTETS), (asked.sent_at, _MOST_DATE_OCTETS)]
    texts += [(uri, _MOST_URI_OCTETS) for uri in (asked.author, asked.recipient, asked.original_to)]
    texts += [(route, _MOST_ROUTE_OCTETS) for route in asked.routes]
    return len(asked.routes) <= _MOST_ROUTES and all(len(text.encode()) <= most for text, most in texts)


def _leads_to(domain: str, route: str) -> bool:
    """Whether an IMDN-Record-Route is exactly one address of this domain, however leniently it is read. Raises SyntaxFault."""
    check_value("To", route, route)
    if not route.isprintable() or route.count("<") != 1:
        return False
    uri = _plain(CpimAddress.parse(route).uri)
    return uri is not None and uri.scheme in _ROUTED and uri.host == domain


def _plain(text: str) -> Uri | None:
    """A URI that says nothing but whom it is for: no headers of a request, no way that leads elsewhere. Raises SyntaxFault."""
    uri = Uri.parse(text)
    return None if uri.headers or any(uri.param(name) is not None for name in _DIVERTING) else uri


def is_anonymous(uri: str) -> bool:
    """Whether a URI in message/cpim says "see the transport" (RCS-05). Raises SyntaxFault."""
    return bool(uri) and Uri.parse(uri).host == ANONYMOUS_HOST
