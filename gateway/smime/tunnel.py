"""What a signed copy of the request, or of a part of it, says of the request around it (RFC 3261 section 23.4, SMIME-24)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from gateway.core.canonical import FAILURE_TYPE as FRAGMENT_TYPE
from gateway.core.errors import Refusal, SyntaxFault
from gateway.core.mime import Entity
from gateway.core.ports import Outer
from gateway.core.sipfrag import Fragment, Kind, parse

from .container import parts_of
from .fields import address_of, fields_of, same, title
from .freshness import SIP_TYPE
from .identity_body import is_identity_part

_COMPARED = frozenset((
    "accept", "accept-encoding", "accept-language", "alert-info", "allow", "authentication-info", "authorization", "call-id", "call-info",
    "contact", "cseq", "date", "error-info", "expires", "from", "in-reply-to", "min-expires", "organization", "priority",
    "proxy-authenticate", "proxy-require", "reply-to", "require", "retry-after", "server", "subject", "supported", "timestamp", "to",
    "unsupported", "user-agent", "warning", "www-authenticate",
))  # fmt: skip
"""The fields of RFC 3261 section 20, without those that proxies change (section 23.4.1.1: Via, Route, Record-Route, Max-Forwards,
Proxy-Authorization; and the Request-URI) and those that inside are of the inner body (MIME-Version, Content-*). A field that is not defined
there is ignored where it differs (section 23.4.1.2).
"""
_NEEDED = ("from", "to", "call-id", "cseq")
"""Without these it could be of any request (RFC 3261 section 23.4.2)."""


def tunnel_fault(covered: Entity, outer: Outer) -> str:
    """What a signed copy in `covered` has against the request around it, as text: then the signature does not hold for this request.

    Empty where nothing differs, and where there is no copy. covered: the entity that the signature covers. "To" names the field that
    differs, or is on one side only; "method" is the start line's; "Bad To" could not be read.
    """
    for entity in _copies(covered):
        try:
            copy = parse(entity.decoded(), version=entity.content_type.param("version") or "2.0")
        except Refusal as refusal:
            return refusal.key
        except SyntaxFault as fault:
            return fault.what
        is_whole = entity.content_type.essence == SIP_TYPE
        if copy.kind is Kind.RESPONSE and not is_whole:
            continue  # That tells of another request: it is content.
        if found := difference(copy, outer, whole=is_whole):
            return found
    return ""


def addressees(covered: Entity) -> tuple[str, ...]:
    """Whom the signed copies of a request in `covered` are to, as URIs; what cannot be read names nobody."""
    found = []
    for entity in _copies(covered):
        with suppress(Refusal, SyntaxFault):
            to = parse(entity.decoded(), strict=False).header("To")
            found += [address_of(to).text] if to else []
    return tuple(found)


def _copies(covered: Entity) -> Iterator[Entity]:
    for part in parts_of(covered):
        if part.content_type.essence == SIP_TYPE or (part.content_type.essence == FRAGMENT_TYPE and not is_identity_part(part)):
            yield part


def difference(copy: Fragment, outer: Outer, *, whole: bool = True) -> str:
    """The first field, as the RFCs print it, that differs between a request and its copy by more than proxies may change; empty for none.

    whole: it is a copy of all of it, so that what only the request has was put in on the way; else of some fields.
    """
    if (copy.start_line or whole) and copy.method != outer.method:
        return "method"
    inside, outside = fields_of(copy), fields_of(outer)
    compared = [name for name in inside if name in _COMPARED]
    compared += [name for name in outside if name not in inside and (name in _NEEDED or (whole and name in _COMPARED))]
    for name in compared:
        if name not in inside or name not in outside or not same(name, inside[name], outside[name]):
            return title(name)
    return ""
