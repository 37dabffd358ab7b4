"""What RCS says of the conversation that a MESSAGE belongs to, as header fields (OMA CPM; RCS-02). Pure.

The names are opaque; what could be no Call-ID, which they often are, or stands there more than once, is none. Conversation-ID has the
thread as a Call-ID would have it (RCS-03).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from gateway.core.envelope import Conversation

from . import grammar
from .threads import call_id_of, thread_of

if TYPE_CHECKING:
    from .message import Request
    from .section import Index

_CONVERSATION, _CONTRIBUTION = ("conversation-id", "Conversation-ID"), ("contribution-id", "Contribution-ID")
_IN_REPLY_TO = ("inreplyto-contribution-id", "InReplyTo-Contribution-ID")
_MOST_OCTETS = 255


def conversation_of(request: Request) -> Conversation | None:
    """What a request says of its conversation; None where that is nothing."""
    if not _is_there(request.index):
        return None
    said = [_name(request.index, key) for key, _ in (_CONVERSATION, _CONTRIBUTION, _IN_REPLY_TO)]
    return Conversation(thread_of(said[0]), *said[1:]) if said[0] or said[1] else None


def fields(conversation: Conversation) -> Iterator[tuple[str, str]]:
    """The header fields that say this. A thread that no Call-ID has room for is not said."""
    names = (call_id_of(conversation.id), conversation.contribution, conversation.in_reply_to)
    for (_, field), name in zip((_CONVERSATION, _CONTRIBUTION, _IN_REPLY_TO), names, strict=True):
        if name:
            yield field, name


def echoed(index: Index) -> list[bytes]:
    """The rows of a request that its responses repeat, each with the line end before it."""
    if not _is_there(index):
        return []
    return [f"\r\n{field}: {name}".encode() for key, field in (_CONVERSATION, _CONTRIBUTION) if (name := _name(index, key))]


def _is_there(index: Index) -> bool:
    return "contribution-id" in index or "conversation-id" in index


def _name(index: Index, key: str) -> str:
    values = index.get(key)
    if not values:
        return ""
    text = values[0].decode("latin-1") if len(values) == 1 and len(values[0]) <= _MOST_OCTETS else ""
    return text if grammar.CALL_ID.fullmatch(text) else ""
