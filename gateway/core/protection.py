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
_NAMED = re.compile(rb"multipart[ \t\r\n]*/[ \t\r\n]*signed|pkcs7-mime", re.I)
_HINT = re.compile(rb"sign|pkcs|transfer-encoding", re.I)
"""What is in everything that holds something protected, however it is folded, commented and encoded."""


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
    """Whether the entity, a part of it at any depth, or what a message/cpim has inside, is protected.

    What cannot be read, or not within the bounds of SEC-34, is if it speaks of it: it is carried, not read (SMIME-09).
    """
    # Nearly every message is text.
    if entity.content_type.type not in ("multipart", "message", "application"):
        return False
    return protection_of(entity) is not None or (_HINT.search(entity.raw) is not None and _holds_protected(entity))


def protected_parts(entity: Entity) -> tuple[Entity, ...]:
    """The protected entities in an entity, outermost only, in order; itself where it is one. What cannot be read further has none."""
    return _looked_through(entity)[0]


@lru_cache(maxsize=4)
def _holds_protected(entity: Entity) -> bool:
    found, is_left = _looked_through(entity)
    return bool(found) or is_left


def _looked_through(entity: Entity) -> tuple[tuple[Entity, ...], bool]:
    """(What is protected in it, whether something that could not be read further speaks of it)."""
    found, waiting, room, is_left = [], [(1, entity)], MOST_PARTS, False
    while waiting:
        depth, each = waiting.pop()
        if protection_of(each) is not None:
            found.append(each)
            continue
        try:
            inner = _inside(each, room if depth < MOST_DEPTH else 0)
        except (Refusal, SyntaxFault):
            is_left = is_left or _NAMED.search(each.content) is not None
            continue
        room -= len(inner)
        waiting += [(depth + 1, part) for part in reversed(inner)]
    return tuple(found), is_left


def _inside(each: Entity, room: int) -> tuple[Entity, ...]:
    """The parts of a multipart, the content of a message/cpim. Raises SyntaxFault, Refusal where there are more than `room`."""
    if each.content_type.essence == CPIM_TYPE:
        if not room:
            raise Refusal("mime-limits")
        return (CpimMessage.parse(each.decoded()).entity,)
    return split_multipart(each, room) if each.content_type.type == "multipart" else ()
