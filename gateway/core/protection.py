"""Which messages are protected from end to end, as their MIME headers say it: S/MIME (RFC 8551) and multipart/signed (RFC 1847).

What is protected is carried octet for octet, whatever is inside. Nothing here looks into CMS.
"""

from __future__ import annotations

import re
from enum import Enum
from functools import lru_cache

from .cpim import CPIM_TYPE, CpimMessage
from .errors import Refusal, SyntaxFault
from .mime import Entity, split_multipart

CLEAR_SIGNED = "multipart/signed"
CMS_TYPE = "application/pkcs7-mime"
SIGNATURE_TYPE = "application/pkcs7-signature"
CMS_TYPES = (CMS_TYPE, "application/x-pkcs7-mime")
MOST_DEPTH, MOST_PARTS = 8, 32
_NAMED = re.compile(rb"multipart[ \t]*/[ \t]*signed|pkcs7-mime", re.I)


class Protection(Enum):
    """The outermost protection of an entity, as its media type says it."""

    CLEAR_SIGNED = "clear-signed"
    SIGNED = "signed"
    ENCRYPTED = "encrypted"
    OTHER = "other"


def protection_of(entity: Entity) -> Protection | None:
    """Of the entity itself; None for one that is not protected, though something in it may be.

    smime-type is a hint (SMIME-06): what does not say that it is only signed is taken for encrypted, so that nobody looks into it.
    """
    essence = entity.content_type.essence
    if essence == CLEAR_SIGNED:
        return Protection.CLEAR_SIGNED
    if essence not in CMS_TYPES:
        return None
    kind = (entity.content_type.param("smime-type") or "").lower()
    return _KINDS.get(kind, Protection.ENCRYPTED)


_KINDS = {"signed-data": Protection.SIGNED, "certs-only": Protection.OTHER, "compressed-data": Protection.OTHER}


def is_protected(entity: Entity) -> bool:
    """Whether the entity, a part of it at any depth within the bounds of SEC-34, or what a message/cpim has inside, is protected."""
    # Nearly every message is text.
    if entity.content_type.type not in ("multipart", "message", "application"):
        return False
    return protection_of(entity) is not None or (_NAMED.search(entity.content) is not None and _holds_protected(entity))


def protected_parts(entity: Entity) -> tuple[Entity, ...]:
    """The protected entities in an entity, outermost only, in order; itself where it is one. What cannot be read further has none."""
    found, waiting, room = [], [(1, entity)], MOST_PARTS
    while waiting:
        depth, each = waiting.pop()
        if protection_of(each) is not None:
            found.append(each)
        elif depth < MOST_DEPTH:
            try:
                inner = _inside(each, room)
            except (Refusal, SyntaxFault):
                continue
            room -= len(inner)
            waiting += [(depth + 1, part) for part in reversed(inner)]
    return tuple(found)


@lru_cache(maxsize=4)
def _holds_protected(entity: Entity) -> bool:
    return bool(protected_parts(entity))


def _inside(entity: Entity, room: int) -> tuple[Entity, ...]:
    if entity.content_type.essence == CPIM_TYPE:
        return (CpimMessage.parse(entity.decoded()).entity,)
    return split_multipart(entity, room) if entity.content_type.type == "multipart" else ()
