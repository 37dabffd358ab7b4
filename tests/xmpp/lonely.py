"""A component link without a gateway around it: a relay that keeps notes, and a server of the tests' own that misbehaves on request.

The server reads with the standard library's XML parser, and does only what a test tells it.

    async with lonely() as (link, relay, server):
        peer = await server.peer()
        await peer.accept()
        await relay.up()
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar, cast
from xml.etree.ElementTree import Element, XMLPullParser

from gateway.core.envelope import Envelope
from gateway.core.outcome import Outcome
from gateway.core.ports import Answered, Keys, Notice, Parcel
from gateway.core.settings import Settings, SipSettings, XmppSettings
from gateway.core.tables import read_tables
from gateway.translation import translation
from gateway.xmpp.component import ComponentLink

DOMAIN, SECRET, LIMIT = "sip.example", "hush", 10.0
NS = "{jabber:component:accept}"
TABLES = read_tables()
Item = TypeVar("Item")


class Relay:
    """Implements the Sink port: keeps what is offered, and says yes unless `patient`."""

    def __init__(self) -> None:
        self.patient = False
        self.offers: asyncio.Queue[tuple[Envelope, Answered]] = asyncio.Queue()
        self.late: asyncio.Queue[Notice] = asyncio.Queue()
        self.ups: asyncio.Queue[str] = asyncio.Queue()

    def age(self, key: int) -> float | None:
        return None

    def offer(self, envelope: Envelope, answered: Answered, keys: Keys | None = None) -> None:
        self.offers.put_nowait((envelope, answered))
        if not self.patient:
            answered(None)

    def told(self, notices: Sequence[Notice], answered: Answered | None = None) -> None:
        for notice in notices:
            self.late.put_nowait(notice)

    def link_up(self, gate: str) -> None:
        self.ups.put_nowait(gate)

    async def up(self) -> None:
        """Wait until the link says that it may be written to."""
        assert await soon(self.ups.get()) == DOMAIN

    async def text(self) -> str:
        """The text of the next message that is offered."""
        envelope, _ = await soon(self.offers.get())
        return envelope.message.entity.text()


@dataclass
class Sent:
    """Implements the Delivery port for one stanza; outcome is what became of it."""

    seq: int
    parcel: Parcel
    number: int = 0
    repeat: bool = False
    envelope: Envelope = None  # type: ignore[assignment]
    outcome: asyncio.Future[Outcome] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def done(self, outcome: Outcome) -> None:
        self.outcome.set_result(outcome)

    def rewritten(self, parcel: Parcel) -> None:
        raise AssertionError("there is no other form")

    def moved(self, parcel: Parcel) -> None:
        raise AssertionError("a component link knows one place only")


def deliver(link: ComponentLink, seq: int, body: str = "hi") -> Sent:
    """Give the link a stanza from tomas to mira whose id is `seq`."""
    wire = f"<message from='tomas@{DOMAIN}' to='mira@xmpp.example' id='{seq}'><body>{body}</body></message>".encode()
    sent = Sent(seq, Parcel("lane", DOMAIN, wire, False, ((str(seq), f"tomas@{DOMAIN}", "mira@xmpp.example"),)))
    link.deliver(sent)
    return sent


class Peer:
    """The server's end of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self._parser: XMLPullParser[Element] = XMLPullParser(("start", "end"))
        self._depth = 0
        self._whole: list[Element] = []
        self.header: Element | None = None
        self.ended = False

    async def read(self) -> None:
        """Take in what has come. Raises ConnectionError at the end of the connection."""
        data = await soon(self.reader.read(65_536))
        if not data:
            raise ConnectionError("closed")
        self._parser.feed(data)
        for kind, element in cast("Iterator[tuple[str, Element]]", self._parser.read_events()):
            self._depth += 1 if kind == "start" else -1
            if kind == "start" and self._depth == 1:
                self.header = element
            elif kind == "end" and self._depth == 1:
                self._whole.append(element)
            elif kind == "end" and self._depth == 0:
                self.ended = True

    async def next(self) -> Element:
        """The next whole child of the stream."""
        while not self._whole:
            await self.read()
        return self._whole.pop(0)

    async def closed(self) -> list[str]:
        """Read to the end of the connection; the local names of what still came."""
        names = []
        try:
            while True:
                names.append((await self.next()).tag.rpartition("}")[2])
        except ConnectionError:
            return names

    async def open(self, stream_id: str = "s-1") -> str:
        """Take the stream header and answer it; returns what the handshake should hold."""
        while self.header is None:
            await self.read()
        attributes = "xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams'"
        self.write(f"<stream:stream {attributes} from='{DOMAIN}' id='{stream_id}'>")
        return hashlib.sha1(f"{stream_id}{SECRET}".encode()).hexdigest()

    async def accept(self) -> None:
        """Let the component in."""
        digest = await self.open()
        assert (await self.next()).text == digest
        self.write("<handshake/>")

    def write(self, text: str) -> None:
        self.writer.write(text.encode())

    def send_back(self, fence: Element) -> None:
        """Route a ping of the component to itself, as a server does."""
        assert (fence.tag, fence.get("from"), fence.get("to"), fence.get("type")) == (f"{NS}iq", DOMAIN, DOMAIN, "get")
        self.write(f"<iq type='get' from='{DOMAIN}' to='{DOMAIN}' id='{fence.get('id')}'><ping xmlns='urn:xmpp:ping'/></iq>")

    def error(self, condition: str) -> None:
        """End the stream with this error."""
        self.write(f"<stream:error><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>")
        self.close()

    def close(self) -> None:
        self.writer.close()


class Server:
    """Listens; each connection waits in `peer` until a test takes it."""

    def __init__(self) -> None:
        self._peers: asyncio.Queue[Peer] = asyncio.Queue()
        self._server: asyncio.Server | None = None
        self.port = 0
        self._all: list[Peer] = []

    async def listen(self) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer)
        self._all.append(peer)
        self._peers.put_nowait(peer)

    async def peer(self) -> Peer:
        """The next connection."""
        return await soon(self._peers.get())

    def close(self) -> None:
        if self._server:
            self._server.close()
        for peer in self._all:
            peer.close()


async def soon(what: Awaitable[Item]) -> Item:
    """What comes within the limit. Raises TimeoutError."""
    return await asyncio.wait_for(what, LIMIT)


def settings(port: int, secret: str = SECRET, upload: str = "") -> Settings:
    return Settings(
        "gateway.toml",
        "gw.example",
        Path(),
        None,
        SipSettings((), (DOMAIN,)),
        XmppSettings("127.0.0.1", port, secret, ("xmpp.example",), upload=upload),
        "",
    )


def link_to(port: int, relay: Relay, secret: str = SECRET, upload: str = "") -> ComponentLink:
    """A link to the server on this port, with the gateway's own guard and codec behind it."""
    parts = translation(settings(port, secret, upload), TABLES, b"k" * 32)
    return ComponentLink(DOMAIN, parts.settings.xmpp, parts.to_xmpp, parts.guard, relay)


@asynccontextmanager
async def lonely(*, listening: bool = True, upload: str = "", secret: str = SECRET) -> AsyncIterator[tuple[ComponentLink, Relay, Server]]:
    """A link that is trying to connect; `listening` is False for a server that is not there yet. upload: the JID of a service."""
    server, relay = Server(), Relay()
    await server.listen()
    if not listening:
        server.close()
    link = link_to(server.port, relay, secret, upload)
    link.open()
    try:
        yield link, relay, server
    finally:
        server.close()
        await link.finish(0.05)
