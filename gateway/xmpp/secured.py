"""A message that is signed or encrypted from end to end, as elements of a stanza: the object itself, and what stands beside it.

Beside it is what a client shows that cannot read the object: the text that was signed in the clear, marked with what is known of the
signature (SMIME-36, E2E-23); a sentence in place of what is encrypted, and of all that cannot be shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from gateway.core.content import known_content
from gateway.core.envelope import NAMESPACE, Envelope
from gateway.core.errors import Refusal, SyntaxFault
from gateway.core.mime import Entity, split_multipart
from gateway.core.protection import MOST_DEPTH, Protection, protected_parts, protection_of
from gateway.core.text import one_line, xml_text
from gateway.core.verdict import NOT_CHECKED, Verdict

from . import stanza as xml
from .e2e import Conversion, payload_of

Readable = Callable[[Entity], Entity | None]
"""What an opaque signature is around; None where that cannot be read."""


def nothing_readable(_: Entity) -> Entity | None:
    """The `Readable` of who looks into nothing."""
    return None


ENCRYPTED_NOTICE = "This message is encrypted (S/MIME). Only a client that has the key for it can show it."
SIGNED_NOTICE = "This message is signed (S/MIME), and only a client that knows S/MIME can show what is in it."
_MOST_BODY = 65_536
"""Octets of the body as XML: so much has room beside the longest object that is carried."""
_HINT = xml.element("encryption", {"xmlns": xml.EME, "namespace": xml.E2E, "name": "S/MIME"})
_STORE = xml.element("store", {"xmlns": xml.HINTS})


@dataclass(frozen=True, slots=True)
class Secured:
    """elements: XML. is_encrypted: a part of it can be read only by who has a key."""

    elements: str
    is_encrypted: bool


def secured_of(
    envelope: Envelope, carriage: Iterable[str], conversions: Mapping[str, Conversion], readable: Readable, *, body: bool
) -> Secured:
    """The elements for a message that is protected. carriage, conversions: as for `e2e.payload_of`. body: whether there is to be one.

    Raises SyntaxFault.
    """
    entity = envelope.message.entity
    is_encrypted = _is_encrypted(entity)
    parts = [f"<e2e xmlns='{xml.E2E}'>{xml.text(payload_of(entity, carriage, conversions))}</e2e>"]
    if body:
        text = ENCRYPTED_NOTICE if is_encrypted else _signed_text(entity, envelope.verdict, readable)
        parts.insert(0, f"<body>{_bounded(text)}</body>")
    if is_encrypted:
        # Clients that know the hint hide the body, so what is only signed has none (XEP-0380).
        parts.append(_HINT)
    return Secured("".join([*parts, _STORE]), is_encrypted)


def verdict_of(verdict: Verdict) -> str:
    """What was found, for clients that trust this gateway. date: what is wrong with the signed date, left out where nothing is.

    asserted: who sent it on the SIP side by a verified identity body, which stays there (FRAG-66).
    """
    signers, asserted = xml_text(one_line(" ".join(verdict.signers))), xml_text(one_line(verdict.asserted))
    said = {"xmlns": NAMESPACE, "status": verdict.status.value, "signers": signers, "date": verdict.date, "asserted": asserted}
    return xml.element("verdict", said)


def _is_encrypted(entity: Entity) -> bool:
    """Whether a part of it is, also inside of what is signed in the clear, as deep as parts are looked for at all."""
    waiting = [(1, part) for part in protected_parts(entity)]
    while waiting:
        depth, part = waiting.pop()
        kind = protection_of(part)
        if kind is Protection.ENCRYPTED:
            return True
        if kind is Protection.CLEAR_SIGNED and depth < MOST_DEPTH:
            waiting += [(depth + 1, inner) for first in _first(part) for inner in protected_parts(first)]
    return False


def _first(signed: Entity) -> tuple[Entity, ...]:
    try:
        return split_multipart(signed)[:1]
    except (Refusal, SyntaxFault):
        return ()


def _signed_text(entity: Entity, verdict: Verdict | None, readable: Readable) -> str:
    """What was signed, for people, marked; where it cannot be shown a sentence that says so."""
    parts = protected_parts(entity)
    if any(protection_of(part) is not Protection.CLEAR_SIGNED for part in parts):
        inside = readable(parts[0]) if len(parts) == 1 and protection_of(parts[0]) is Protection.SIGNED else None
        if inside is None:
            return SIGNED_NOTICE
        entity = inside
    try:
        text = known_content(entity, signed=True).body
    except (Refusal, SyntaxFault):
        return SIGNED_NOTICE
    return f"{(verdict or NOT_CHECKED).mark}{text}" if text else SIGNED_NOTICE


def _bounded(text: str) -> str:
    """As XML, or where that is too much the sentence."""
    escaped = xml.foreign(text)
    return escaped if len(escaped.encode()) <= _MOST_BODY else SIGNED_NOTICE
