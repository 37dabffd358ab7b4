"""The XMPP end of the lab: a raw client (RFC 6120, SASL PLAIN) and a raw component (XEP-0114).

Both read the stream by cutting it at top-level end tags instead of parsing XML, because they must never be the slowest
part of a measurement. That is only sound against a well-behaved server on loopback.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import time
from collections.abc import Callable
from xml.sax.saxutils import escape

_STANZA_END = re.compile(rb"</(message|iq|presence)>|<(?:message|iq|presence)\b[^>]*/>")


class Link(asyncio.Protocol):
    """A byte stream that can wait for a mark during the handshake, and then hands out whole stanzas."""

    def __init__(self) -> None:
        self.on_stanza: Callable[[bytes, float], None] = lambda _stanza, _at: None
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._mark: bytes | None = None
        self._marked: asyncio.Future[bytes] | None = None
        self._writable = asyncio.Event()
        self._writable.set()

    async def until(self, mark: bytes, limit: float = 10) -> bytes:
        """Read until `mark` has been seen; returns and consumes everything up to its end."""
        self._mark, self._marked = mark, asyncio.get_running_loop().create_future()
        self._look_for_mark()
        return await asyncio.wait_for(self._marked, limit)

    def _look_for_mark(self) -> None:
        assert self._mark is not None
        assert self._marked is not None
        at = self._buffer.find(self._mark)
        if at >= 0:
            end = at + len(self._mark)
            seen = bytes(self._buffer[:end])
            del self._buffer[:end]
            self._mark = None
            self._marked.set_result(seen)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def connection_lost(self, exc: Exception | None) -> None:
        self._writable.set()
        if not self.lost.done():
            self.lost.set_result(None)
        if self._marked and not self._marked.done():
            self._marked.set_exception(ConnectionError(f"stream closed: {bytes(self._buffer[-300:])!r}"))

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    async def drain(self) -> None:
        await self._writable.wait()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._mark is not None:
            self._look_for_mark()
            return
        self._hand_out()

    def listen(self, on_stanza: Callable[[bytes, float], None]) -> None:
        """Hand out from now on, beginning with what came right behind the handshake."""
        self.on_stanza = on_stanza
        self._hand_out()

    def _hand_out(self) -> None:
        now = time.monotonic()
        start = 0
        for found in _STANZA_END.finditer(self._buffer):
            stanza = bytes(self._buffer[start : found.end()])
            start = found.end()
            self.on_stanza(stanza, now)
        del self._buffer[:start]

    def write(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data)

    def close(self) -> None:
        if self.transport:
            self.transport.close()


async def client(host: str, port: int, domain: str, user: str, password: str, resource: str = "lab") -> Link:
    """Log in as user@domain/resource and become available."""
    _, link = await asyncio.get_running_loop().create_connection(Link, host, port)
    header = (
        f"<?xml version='1.0'?><stream:stream to='{domain}' version='1.0' xmlns='jabber:client' "
        "xmlns:stream='http://etherx.jabber.org/streams'>"
    ).encode()
    link.write(header)
    await link.until(b"</stream:features>")
    plain = base64.b64encode(f"\0{user}\0{password}".encode()).decode()
    link.write(f"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{plain}</auth>".encode())
    await link.until(b"<success")
    link.write(header)
    await link.until(b"</stream:features>")
    link.write(
        b"<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>"
        b"<resource>" + resource.encode() + b"</resource></bind></iq>"
    )
    await link.until(b"</iq>")
    link.write(b"<presence/>")
    return link


async def component(host: str, port: int, domain: str, secret: str) -> Link:
    """Attach as an external component (XEP-0114)."""
    _, link = await asyncio.get_running_loop().create_connection(Link, host, port)
    link.write(
        f"<?xml version='1.0'?><stream:stream to='{domain}' xmlns='jabber:component:accept' "
        "xmlns:stream='http://etherx.jabber.org/streams'>".encode()
    )
    opening = await link.until(b"<stream:stream")
    opening = await link.until(b">")
    stream_id = re.search(rb"\bid=['\"]([^'\"]*)", opening)
    assert stream_id, opening
    digest = hashlib.sha1(stream_id[1] + secret.encode()).hexdigest()
    link.write(f"<handshake>{digest}</handshake>".encode())
    await link.until(b"<handshake")
    await link.until(b">")
    return link


def message(to: str, body: str, sender: str = "", kind: str = "chat", serial: str = "", extra: str = "") -> bytes:
    """A <message/> as bytes; `extra` is XML put in as it is."""
    head = f"<message to='{to}' type='{kind}'"
    if sender:
        head += f" from='{sender}'"
    if serial:
        head += f" id='{serial}'"
    return f"{head}><body>{escape(body)}</body>{extra}</message>".encode()
