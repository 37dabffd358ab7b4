"""The text of a signed message beside the message itself, for clients that can read neither form of a signature (SMIME-35)."""

from __future__ import annotations

from collections.abc import Callable

from gateway.core.canonical import delimited, text_entity
from gateway.core.content import content_of
from gateway.core.errors import Refusal, SyntaxFault
from gateway.core.mime import MIXED, Entity
from gateway.core.protection import Protection, protection_of

NOTICE = "[signature removed by the gateway; the signed message is attached]"


def with_text(entity: Entity, readable: Callable[[Entity], Entity | None]) -> Entity | None:
    """multipart/mixed of the text, which says that it is not signed, and of the message as it came; None where there is no text to show.

    readable: what an opaque signature is around.
    """
    kind = protection_of(entity)
    inside = readable(entity) if kind is Protection.SIGNED else entity if kind is Protection.CLEAR_SIGNED else None
    if inside is None:
        return None
    try:
        text = content_of(inside, signed=True).body
    except (Refusal, SyntaxFault):
        return None
    boundary, content = delimited(text_entity(f"{NOTICE}\n{text}").raw, entity.raw)
    return Entity.compose([("Content-Type", f"{MIXED}; boundary={boundary}")], content)
