"""Links that go down and come back, on either side: what was accepted waits, then arrives once, under the same id."""

from __future__ import annotations

import asyncio
import re
import signal
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

import pytest

from tests.bridge import USERS, Bridge, bridge
from tests.peers import wire
from tests.peers.ejabberd import Ejabberd
from tests.peers.prosody import Prosody
from tests.peers.stoxgate import SECRET, SIP_DOMAIN, Stoxgate

pytestmark = pytest.mark.interop
Server = type[Prosody | Ejabberd]
EACH_SERVER = pytest.mark.parametrize("server", [Prosody, Ejabberd])


@contextmanager
def asleep(gateway: Stoxgate) -> Iterator[None]:
    """The gateway stands still, so that its link does not come up before the users of a server that was restarted are back."""
    assert gateway.popen is not None
    gateway.popen.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        gateway.popen.send_signal(signal.SIGCONT)


@pytest.mark.requirement("QOS-15", "REL-08")
@EACH_SERVER
@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL], ids=["stop", "kill"])
def test_xmpp_server_restarts(server: Server, end: signal.Signals, tmp_path: Path) -> None:
    """While the server is away the SIP side is answered 202; then the messages arrive, once, in order."""

    async def talk(it: Bridge) -> tuple[list[int], list[bytes]]:
        async with it.phone() as romeo:
            await asyncio.to_thread(it.server.stop, end)
            statuses = [(await romeo.request(it.sip_of("u0"), it.phone_uri("s0"), text)).status for text in (b"one", b"two")]
            async with AsyncExitStack() as stack:
                with asleep(it.gateway):
                    await asyncio.to_thread(it.server.start)
                    await asyncio.to_thread(it.server.wait_ready)
                    juliet = await stack.enter_async_context(it.user("u0"))
                await asyncio.to_thread(it.gateway.wait_ready)
                statuses.append((await romeo.request(it.sip_of("u0"), it.phone_uri("s0"), b"three")).status)
                first = [await juliet.message(limit=20) for _ in range(3)]
                return statuses, first + [each for each in juliet.stanzas.waiting if b"<message" in each]

    with bridge(tmp_path, server=server) as it:
        statuses, arrived = asyncio.run(talk(it))
    assert statuses == [202] * 3
    assert [re.findall(rb"<body>(.*?)</body>", stanza) for stanza in arrived] == [[b"one"], [b"two"], [b"three"]]


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_sip_next_hop_comes_up_late(transport: str, tmp_path: Path) -> None:
    """Nobody listens when the message is written. Over UDP it is sent again within its transaction, over TCP after 5 s."""

    async def talk(it: Bridge) -> tuple[bytes, float, list[object]]:
        async with it.user("u0") as juliet:
            begin = time.monotonic()
            juliet.send(b"<message to='s0@stoxgate.test'><thread>t1</thread><body>late</body></message>")
            await asyncio.sleep(1.2)
            async with it.phone() as romeo:
                request = await romeo.requests.next()
                took = time.monotonic() - begin
                juliet.send(b"<message to='s0@stoxgate.test'><thread>t1</thread><body>next</body></message>")
                assert (await romeo.requests.next()).body == b"next"
                return request.data, took, [*romeo.requests.waiting, *(each for each in juliet.stanzas.waiting if b"<message" in each)]

    with bridge(tmp_path, transport=transport) as it:
        data, took, more = asyncio.run(talk(it))
    assert data.endswith(b"\r\n\r\nlate")
    assert took < 9
    assert more == []


@pytest.mark.requirement("REL-15")
def test_tcp_connection_is_cut_before_the_answer(tmp_path: Path) -> None:
    """Sent again over a new connection as the same request but for the branch, so that the phone can tell that it has it already."""

    async def talk(it: Bridge) -> tuple[dict[str, str], dict[str, str]]:
        async with it.phone() as romeo, it.user("u0") as juliet:
            romeo.answer = lambda _request: 0
            juliet.send(b"<message to='s0@stoxgate.test'><thread>t1</thread><body>cut</body></message>")
            first = await romeo.requests.next()
            romeo.answer = lambda _request: 200
            for stream in list(romeo.connections):
                stream.transport.abort()
            second = await romeo.requests.next()
            assert first.body == second.body == b"cut"
            names = ("Via", "Call-ID", "CSeq", "From")
            return {name: first.header(name) for name in names}, {name: second.header(name) for name in names}

    with bridge(tmp_path, transport="tcp") as it:
        first, second = asyncio.run(talk(it))
    assert first.pop("Via") != second.pop("Via")
    assert first == second


@EACH_SERVER
def test_wrong_secret(server: Server, tmp_path: Path) -> None:
    """The log says why the link is down, what SIP sends is kept, and when the server has the right secret it all arrives."""

    async def talk(xmpp: Prosody | Ejabberd, gateway: Stoxgate) -> bytes:
        async with wire.sip("udp", target=gateway.address) as romeo:
            sent = await romeo.request("sip:u0@xmpp.test", "sip:s0@stoxgate.test", b"patience")
            assert sent.status == 202
        xmpp.components[SIP_DOMAIN] = SECRET
        async with AsyncExitStack() as stack:
            with asleep(gateway):
                await asyncio.to_thread(xmpp.stop)
                await asyncio.to_thread(xmpp.start)
                await asyncio.to_thread(xmpp.wait_ready)
                juliet = await stack.enter_async_context(wire.client(xmpp.c2s_port, "xmpp.test", "u0", USERS["u0"]))
            await asyncio.to_thread(gateway.wait_ready)
            return await juliet.message()

    with server(tmp_path / "server", users=USERS, components={SIP_DOMAIN: "another"}) as xmpp:
        gateway = Stoxgate(tmp_path / "gateway", component_port=xmpp.component_port)
        gateway.start()
        try:
            gateway.wait_for('"reason": "the server refuses the component secret"')
            assert b"<body>patience</body>" in asyncio.run(talk(xmpp, gateway))
        finally:
            gateway.stop()
        assert SECRET not in gateway.printed
