"""Cutting a stream into SIP messages and keep-alives, without a socket or a clock.

RFC 3261 sections 7.5 and 18.3, RFC 5626 section 3.5.1.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from .message import BODY_TOO_LARGE, LIMITS, TOO_LARGE, BadMessage, Limits, read_head

State = Literal["idle", "headers", "body", "closed"]

_TOKEN = rb"[A-Za-z0-9\-.!%*_+`'~]"
_BEGINNING = re.compile(_TOKEN)
_HEAD = re.compile(rb"[^\r\n]++(?!\r\n[ \t])(?:\r\n(?:" + _TOKEN + rb"++[ \t]*+:|[ \t])[^\r\n]*+)*")
"""A header section whose lines nobody can tell apart in another way than we do: CRLF alone ends a line, and each is a row or folded."""
_RESPONSE = re.compile(rb"SIP/", re.I)
_LENGTH = re.compile(rb"\r\n(?:content-length|l)[ \t]*+:([^\r\n]*+(?:\r\n[ \t][^\r\n]*+)*)", re.I)
_DIGITS = re.compile(rb"[ \t\r\n]*+0*([0-9]{1,10})[ \t\r\n]*+")


@dataclass(frozen=True, slots=True)
class Ping:
    """CRLF CRLF between messages: to be answered with one CRLF."""


@dataclass(frozen=True, slots=True)
class Pong:
    """One CRLF between messages: the answer to a ping of ours, or the first half of one that is just arriving."""


@dataclass(frozen=True, slots=True)
class Bad:
    """The stream cannot be read on: answer, if `fault.partial` allows, and close. Nothing comes after it (SEC-26)."""

    fault: BadMessage


@dataclass(frozen=True, slots=True)
class Last:
    """A response without Content-Length, up to its blank line: what it says counts. Nobody knows where it ends: nothing comes after it."""

    message: bytes


Framed = bytes | Ping | Pong | Bad | Last
"""bytes: one whole message for `message.parse(data, stream=True)`."""


class StreamFramer:
    """Takes octets as they come, in any pieces, and gives the same items for all of them (SIP-41 to SIP-43).

    state: "idle" between messages, "headers" or "body" inside one, "closed" after Bad or Last. Who holds the clock ends what stays in one
    for too long (SIP-44).
    """

    def __init__(self, limits: Limits = LIMITS) -> None:
        self._limits = limits
        self._buffer = bytearray()
        self._seen = 0
        self._whole = 0
        self._half_ping = False
        self.state: State = "idle"

    def feed(self, data: bytes) -> list[Framed]:
        """What is complete with these octets, in order."""
        items: list[Framed] = []
        if self.state == "closed":
            return items
        self._buffer += data
        while (item := self._next()) is not None:
            items.append(item)
        return items

    def _next(self) -> Framed | None:
        if self.state == "idle":
            item = self._between()
            if item or self.state == "idle":
                return item
        if self.state == "headers" and (end := self._headers()):
            return self._close(end)
        if self.state != "body" or len(self._buffer) < self._whole:
            return None
        message = bytes(self._buffer[: self._whole])
        self._begin(self._whole)
        return message

    def _begin(self, used: int) -> None:
        del self._buffer[:used]
        self._seen = self._whole = 0
        self._half_ping = False
        self.state = "idle"

    def _between(self) -> Framed | None:
        """Keep-alives, until something else begins."""
        if len(self._buffer) >= 2 and self._buffer.startswith(b"\r\n"):
            del self._buffer[:2]
            self._half_ping = not self._half_ping
            return Pong() if self._half_ping else Ping()
        if not self._buffer or self._buffer == b"\r":
            return None
        if not _BEGINNING.match(self._buffer):
            return self._close(Bad(BadMessage("Not SIP")))
        self.state = "headers"
        return None

    def _headers(self) -> Bad | Last | None:
        """Look for the end of the header section, from where the last look ended, and for the length of the body in it."""
        most = self._limits.head
        end = self._buffer.find(b"\r\n\r\n", self._seen, most + 4)
        if end >= 0:
            return self._measure(bytes(self._buffer[:end]))
        if len(self._buffer) >= most + 4:
            whole_lines = max(self._buffer.rfind(b"\r\n", 0, most), 0)
            return _bad(bytes(self._buffer[:whole_lines]), self._limits, TOO_LARGE, 513)
        self._seen = max(len(self._buffer) - 3, 0)
        return None

    def _measure(self, head: bytes) -> Bad | Last | None:
        found = _LENGTH.findall(head)
        digits = _DIGITS.fullmatch(found[0]) if len(found) == 1 else None
        if not found and _RESPONSE.match(head):
            return Last(head + b"\r\n\r\n")
        if not digits:
            return _bad(head, self._limits, f"{'Repeated' if len(found) > 1 else 'Bad' if found else 'Missing'} Content-Length")
        if not _HEAD.fullmatch(head):
            return _bad(head, self._limits, "Bad header line")
        if head.count(b"\n") + head.count(b",") > self._limits.rows_of_name:
            fault = _too_large(head, self._limits)
            if fault:
                return Bad(fault)
        self._whole = len(head) + 4 + int(digits[1])
        if self._whole > self._limits.message:
            return _bad(head, self._limits, BODY_TOO_LARGE, 413)
        self.state = "body"
        return None

    def _close(self, end: Bad | Last) -> Bad | Last:
        self._buffer.clear()
        self.state = "closed"
        return end


def _bad(head: bytes, limits: Limits, what: str, status: int = 400) -> Bad:
    """Why a stream ends here, with what is needed to say so to the peer."""
    try:
        return Bad(read_head(head, limits).fault(what, status))
    except BadMessage as fault:
        return Bad(fault)


def _too_large(head: bytes, limits: Limits) -> BadMessage | None:
    """Whether these are more rows or Via values than we read."""
    try:
        message = read_head(head, limits)
        return message.fault(TOO_LARGE, 513) if len(message.via_values) > limits.vias else None
    except BadMessage as fault:
        return fault if fault.what == TOO_LARGE else None
