"""What may be in a stream: the bounds on one stanza (SEC-35), what stands behind stanzas, and the fault that ends the stream."""

from __future__ import annotations

import re

MOST_STANZA_OCTETS = 262_144
"""The last end tag not counted."""
MOST_DEPTH, MOST_ELEMENTS = 64, 4096
ANSWERED = ("from", "to", "id", "type", "xml:lang")
"""The attributes of a stanza that an answer repeats, as they are written: what is kept of one that is too large."""


_TAG = re.compile(rb"<[^>]*+>")


def padded(octets: bytes) -> bytes:
    """Whole stanzas of ours, which have no raw `>` in a value, and behind them as many blanks as their longest tag has octets.

    A server whose expat has read a part of a tag may look at it again only when as much again has come, so with nothing behind it a
    stanza stays there (see parser.py). White space between stanzas is nothing to anybody (RFC 6120 section 4.6.1).
    """
    return octets + b" " * max(map(len, _TAG.findall(octets)), default=0)


class StreamFault(Exception):
    """The stream cannot go on. condition: the RFC 6120 section 4.9.3 stream error to send before closing."""

    def __init__(self, condition: str, reason: str) -> None:
        super().__init__(f"{condition}: {reason}")
        self.condition = condition
        self.reason = reason


def ill_formed(what: str) -> StreamFault:
    """It is no XML."""
    return StreamFault("not-well-formed", what)


def restricted(what: str) -> StreamFault:
    """It is XML that RFC 6120 section 11.1 forbids."""
    return StreamFault("restricted-xml", f"{what} is not allowed in a stream")
