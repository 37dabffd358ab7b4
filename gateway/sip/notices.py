"""Disposition notifications in a SIP MESSAGE (RFC 5438): those that come, and what a message may ask for. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from gateway.core.address import ANONYMOUS_HOST, SipAddress
from gateway.core.cpim import CPIM_TYPE, CpimMessage
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
    """What the author of a message asks for; None where nothing, or where a notification would go to somebody else's domain (IMDN-32).

    An author or addressee who is anonymous in the object is the one of the request (RCS-05). A sender who does not say who he is has no
    address that a notification could go to (IMDN-12).
    """
    if sender.is_anonymous:
        return None
    try:
        asked = asked_in(message, message_id)
        if asked is None:
            return None
        if is_anonymous(asked.author):
            asked = replace(asked, author=numbers.written(sender))
        if is_anonymous(asked.recipient):
            asked = replace(asked, recipient="")
        addresses = [asked.author, *[route.rpartition("<")[2].removesuffix(">") for route in asked.routes]]
        return asked if all(numbers.address(Uri.parse(uri)).domain == sender.domain for uri in addresses) else None
    except SyntaxFault:
        return None


def is_anonymous(uri: str) -> bool:
    """Whether a URI in message/cpim says "see the transport" (RCS-05). Raises SyntaxFault."""
    return bool(uri) and Uri.parse(uri).host == ANONYMOUS_HOST
