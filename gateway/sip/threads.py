"""The thread of a conversation as a Call-ID, and back (IMSG-10)."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

from . import grammar

_MOST_CALL_ID = 255
_ENCODED_THREAD = "xmpp-thread."
_PLAIN_THREAD = re.compile(rf"(?!{re.escape(_ENCODED_THREAD)}){grammar.CALL_ID.pattern}")
"""A thread that can be the Call-ID as it stands: one that looks encoded would not come back."""


def call_id_of(thread: str) -> str:
    """The thread where it is a Call-ID, else an encoding of it that is one; empty for one that is too long for that.

    >>> call_id_of("7f3a@a.example"), call_id_of("two words")
    ('7f3a@a.example', 'xmpp-thread.two%20words')
    """
    if len(thread) <= _MOST_CALL_ID and thread.isascii() and _PLAIN_THREAD.fullmatch(thread):
        return thread
    encoded = _ENCODED_THREAD + quote(thread, safe="")
    return encoded if len(encoded) <= _MOST_CALL_ID else ""


def thread_of(call_id: str) -> str:
    """The thread of a conversation: its Call-ID, or what `call_id_of` has encoded in that."""
    if not call_id.startswith(_ENCODED_THREAD):
        return call_id
    thread = unquote(call_id.removeprefix(_ENCODED_THREAD), errors="replace")
    return thread if thread and _ENCODED_THREAD + quote(thread, safe="") == call_id else call_id
