"""Who is typing (RFC 3994): application/im-iscomposing+xml, read and written."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .document import child, child_text, parse_document
from .errors import SyntaxFault

XML_NAMESPACE = "urn:ietf:params:xml:ns:im-iscomposing"
REFRESH_SECONDS = 90
"""How long an "active" of ours holds, as its `<refresh>` says; at least 60 (RFC 3994 section 3.2)."""
_DEFAULT_SECONDS, _MOST_SECONDS = 120, 600
_POSITIVE = re.compile(r"\+?0{0,9}([1-9][0-9]{0,9})")


@dataclass(frozen=True, slots=True)
class Composing:
    """What a document says. seconds: how long "active" holds unless it is said again."""

    is_active: bool
    seconds: int


def parse_composing(octets: bytes) -> Composing:
    """Read a document. Raises SyntaxFault for one that says no state.

    A state that is not "active" is idle (ISC-01). A refresh that is missing, or no positive integer, is 120 s (ISC-02); over 10 minutes
    none is believed. What else there may be is a hint to people, and is passed over.

    >>> parse_composing(b'<isComposing xmlns="urn:ietf:params:xml:ns:im-iscomposing"><state>active</state></isComposing>')
    Composing(is_active=True, seconds=120)
    """
    root = parse_document(octets)
    if root.tag != f"{{{XML_NAMESPACE}}}isComposing":
        raise SyntaxFault("Not an isComposing document", section="RFC 3994 section 6")
    if child(root, XML_NAMESPACE, "state") is None:
        raise SyntaxFault("isComposing without a state", section="RFC 3994 section 6")
    refresh = _POSITIVE.fullmatch(child_text(root, XML_NAMESPACE, "refresh"))
    seconds = min(int(refresh[1]), _MOST_SECONDS) if refresh else _DEFAULT_SECONDS
    return Composing(child_text(root, XML_NAMESPACE, "state") == "active", seconds)


def compose_composing(*, is_active: bool) -> bytes:
    """A document; an active one says how long it holds (ISC-04)."""
    refresh = f"<refresh>{REFRESH_SECONDS}</refresh>" if is_active else ""
    state = f"<state>{'active' if is_active else 'idle'}</state>"
    return f'<?xml version="1.0" encoding="UTF-8"?>\r\n<isComposing xmlns="{XML_NAMESPACE}">{state}{refresh}</isComposing>'.encode()
