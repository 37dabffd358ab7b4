"""The two ends of the wire in tests: a raw SIP peer, and a raw XMPP client or component, that keep what arrives in order.

They are the ends that the lab measures with (tests/bench/peerlab), made comfortable for one message at a time: what arrives waits in
an inbox, and every wait has a limit. Nothing here reads more of a message than it must, so that a test asserts on octets.

    async with wire.sip("udp", target=("127.0.0.1", 5060)) as phone, wire.client(server.c2s_port, "xmpp.test", "u0", "secret") as juliet:
        sent = await phone.request("sip:u0@xmpp.test", "sip:s0@stoxgate.test", b"hello")
        assert sent.status == 202
        assert b"<body>hello</body>" in await juliet.message()
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

from tests.bench.peerlab import xmpp
from tests.bench.peerlab.sip import Received, SipPeer
from tests.peers.process import free_port

LIMIT = 10.0
# A server answers a stream in order, so the answer says that it has taken note of the presence before it.
_FENCE = b"<iq type='get' id='presence-is-known'><query xmlns='jabber:iq:roster'/></iq>"
Item = TypeVar("Item")


class Inbox(Generic[Item]):
    """What has arrived and was not taken yet, oldest first."""

    def __init__(self) -> None:
        self.waiting: list[Item] = []
        self._changed = asyncio.Event()

    def put(self, item: Item) -> None:
        self.waiting.append(item)
        self._changed.set()

    async def next(self, limit: float = LIMIT, *, where: Callable[[Item], bool] = lambda _item: True) -> Item:
        """Take the oldest item for which `where` holds; the others stay. Raises TimeoutError after `limit` seconds."""
        try:
            async with asyncio.timeout(limit):
                while True:
                    for number, item in enumerate(self.waiting):
                        if where(item):
                            return self.waiting.pop(number)
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise TimeoutError(f"nothing fitting came in {limit} s; waiting are {self.waiting}") from None


class SipEnd(SipPeer):
    """A raw SIP peer with inboxes. `request` sends one MESSAGE and waits for its final answer; `put` sends octets as they are.

    requests: each new request, once. responses: every response as it came, those to `put` included. `answer` chooses the status that a
    request gets (0: none).
    """

    def __init__(self, transport: str, port: int) -> None:
        super().__init__(transport, "127.0.0.1", port)
        self.requests: Inbox[Received] = Inbox()
        self.responses: Inbox[bytes] = Inbox()
        self.on_request = self.requests.put

    def message_received(self, data: bytes, reply: Callable[[bytes], None]) -> None:
        if data.startswith(b"SIP/2.0 "):
            self.responses.put(data)
        super().message_received(data, reply)


class XmppEnd:
    """A raw XMPP stream with an inbox of whole stanzas."""

    def __init__(self, link: xmpp.Link) -> None:
        self.link = link
        self.stanzas: Inbox[bytes] = Inbox()
        link.listen(lambda stanza, _at: self.stanzas.put(stanza))

    def send(self, stanza: bytes) -> None:
        self.link.write(stanza)

    async def message(self, limit: float = LIMIT, *, where: Callable[[bytes], bool] = lambda _stanza: True) -> bytes:
        """Take the oldest message stanza for which `where` holds. Raises TimeoutError."""
        return await self.stanzas.next(limit, where=lambda stanza: b"<message" in stanza and where(stanza))


@asynccontextmanager
async def sip(transport: str, *, target: tuple[str, int] | None = None, port: int = 0) -> AsyncIterator[SipEnd]:
    """A SIP peer on a port of 127.0.0.1; over "tcp" it connects to `target` at once and takes connections too."""
    end = SipEnd(transport, port or free_port())
    await end.open()
    try:
        if target:
            await end.connect(*target)
        yield end
    finally:
        await end.close()


@asynccontextmanager
async def client(port: int, domain: str, user: str, password: str, *, resource: str = "lab") -> AsyncIterator[XmppEnd]:
    """A client that is logged in as user@domain/resource and available."""
    link = await xmpp.client("127.0.0.1", port, domain, user, password, resource)
    try:
        end = XmppEnd(link)
        end.send(_FENCE)
        await end.stanzas.next(where=lambda stanza: b"presence-is-known" in stanza)
        yield end
    finally:
        link.close()


@asynccontextmanager
async def component(port: int, domain: str, secret: str) -> AsyncIterator[XmppEnd]:
    """An external component (XEP-0114) that is attached as `domain`."""
    link = await xmpp.component("127.0.0.1", port, domain, secret)
    try:
        yield XmppEnd(link)
    finally:
        link.close()
