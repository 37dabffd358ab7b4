"""The body of a request as a MIME entity, and the request around it."""

from __future__ import annotations

from gateway.core.errors import Refusal, SyntaxFault
from gateway.core.mime import Entity
from gateway.core.ports import Outer
from gateway.core.protection import is_protected

from .headers import title
from .message import Request

_MAY_PROTECT = ("multipart", "application", "message")
_MIME_HEADERS = (
    "mime-version",
    "content-type",
    "content-disposition",
    "content-language",
    "content-transfer-encoding",
    "content-id",
    "content-description",
)
"""What RFC 3261 section 20, RFC 8262 and RFC 2045 have for a body; its length and its coding are the request's."""


def body_of(request: Request) -> Entity:
    """The body with the MIME headers that SIP has for it in the request (CPIM-03). Raises Refusal."""
    headers = [(title(name), value) for name in _MIME_HEADERS if (value := request.header(name)) is not None]
    try:
        return Entity.compose(headers, request.body)
    except SyntaxFault as fault:
        raise Refusal("bad-body", fault.what) from None


def protected_body(request: Request) -> Entity | None:
    """The body of a MESSAGE that is, or holds, something signed or encrypted: it is carried as it came. None for any other.

    Raises Refusal for one whose headers cannot be read.
    """
    kind = request.content_type
    if kind is None or kind.type not in _MAY_PROTECT:
        return None
    entity = body_of(request)
    return entity if is_protected(entity) else None


def outer_of(request: Request, *, may_be_late: bool = False) -> Outer:
    """The request around a body, for who checks what was signed of it. may_be_late: as in Outer."""
    headers = [(name, value.decode("utf-8", "replace")) for name, value in request.rows]
    return Outer(request.method, request.request_uri_text, tuple(headers), may_be_late)
