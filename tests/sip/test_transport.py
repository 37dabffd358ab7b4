"""Sockets on loopback: datagrams, streams in pieces, keep-alives, limits, and peers that are gone or do not read.

Everything runs on both loops: asyncio's own, and uvloop, which the gateway runs on.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import uvloop

from gateway.core.errors import ConfigFault
from gateway.core.settings import Listener
from gateway.sip import transport as transport_module
from gateway.sip.flow import Flow
from gateway.sip.message import BadMessage
from gateway.sip.transport import Transports
from tests.peers.wire import Inbox
from tests.sip.rig import request

LIMIT = 5.0
Run = Callable[[Coroutine[Any, Any, None]], None]
MESSAGE = request()


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a coroutine on one of the two loops."""
    return uvloop.run if request.param == "uvloop" else asyncio.run


class Mailbox:
    """A Receiver that keeps what comes. gone: what was lost or cannot be reached. heard: of what was lost. owing: what it says of any."""

    owing = False

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.messages: Inbox[tuple[bytes, Flow]] = Inbox()
        self.bad: Inbox[tuple[BadMessage, Flow]] = Inbox()
        self.gone: Inbox[Flow] = Inbox()
        self.unreached: list[Flow] = []
        self.heard: list[int] = []
        self.transports = Transports((Listener("udp", host, 0), Listener("tcp", host, 0)), self)

    def received(self, data: bytes, flow: Flow) -> None:
        self.messages.put((data, flow))

    def unreadable(self, fault: BadMessage, flow: Flow) -> None:
        self.bad.put((fault, flow))
        self.transports.send(b"SIP/2.0 400 Bad\r\n\r\n", flow)

    def lost(self, flow: Flow, heard: int) -> None:
        self.heard.append(heard)
        self.gone.put(flow)

    def unreachable(self, flow: Flow) -> None:
        self.unreached.append(flow)
        self.gone.put(flow)

    def owes(self, flow: Flow) -> bool:
        return self.owing

    def port(self, transport: str) -> int:
        return int(self.local(transport).rpartition(":")[2])

    def local(self, transport: str) -> str:
        return dict(self.transports.local)[transport]

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port("tcp"))


@asynccontextmanager
async def mailbox(host: str = "127.0.0.1") -> AsyncIterator[Mailbox]:
    it = Mailbox(host)
    await it.transports.open()
    try:
        yield it
    finally:
        it.transports.close()


@asynccontextmanager
async def phone(port: int = 0, kind: int = socket.SOCK_DGRAM) -> AsyncIterator[socket.socket]:
    """A socket of a peer's own, bound on loopback."""
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.setblocking(False)
        sock.bind(("127.0.0.1", port))
        yield sock


async def receive(sock: socket.socket) -> bytes:
    async with asyncio.timeout(LIMIT):
        return await asyncio.get_running_loop().sock_recv(sock, 65_536)


def has_ipv6() -> bool:
    with suppress(OSError), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        probe.bind(("::1", 0))
        return True
    return False


def dead_port(kind: int = socket.SOCK_DGRAM) -> int:
    """A port where nobody listens."""
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


async def eof(reader: asyncio.StreamReader) -> bytes:
    """All that still comes before the end of the stream."""
    async with asyncio.timeout(LIMIT):
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""


# -- UDP ------------------------------------------------------------------------------------------------------------------
EVERYWHERE = pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])


@EVERYWHERE
@pytest.mark.requirement("SIP-63", "TRN-01")
def test_a_datagram_comes_with_its_flow_and_the_answer_goes_back_from_the_same_socket(run: Run, host: str) -> None:
    async def talk() -> None:
        async with mailbox(host) as it, phone() as sock:
            sock.connect(("127.0.0.1", it.port("udp")))
            sock.send(MESSAGE)
            data, flow = await it.messages.next()
            assert data == MESSAGE
            assert flow == Flow("udp", f"127.0.0.1:{it.port('udp')}", *sock.getsockname())
            it.transports.send(b"answer", flow)
            assert await receive(sock) == b"answer"  # a connected socket takes nothing from another port

    run(talk())


@EVERYWHERE
@pytest.mark.parametrize("size", [0, 1, 65_507])
def test_datagrams_of_all_sizes(run: Run, host: str, size: int) -> None:
    async def talk() -> None:
        async with mailbox(host) as it, phone() as sock:
            sock.sendto(b"x" * size, ("127.0.0.1", it.port("udp")))
            sock.sendto(b"end", ("127.0.0.1", it.port("udp")))
            found = [data for data, _ in [await it.messages.next(), await it.messages.next()]] if size else [b"", (await last(it))]
            assert found == [b"x" * size, b"end"]

    run(talk())


async def last(it: Mailbox) -> bytes:
    return (await it.messages.next(where=lambda item: item[0] == b"end"))[0]


@EVERYWHERE
@pytest.mark.requirement("TXN-24")
def test_a_port_where_nobody_listens_is_told_at_once_and_costs_no_other_datagram(run: Run, host: str) -> None:
    async def talk() -> None:
        async with mailbox(host) as it, phone() as sock:
            dead = Flow("udp", "", "127.0.0.1", dead_port())
            live = Flow("udp", "", *sock.getsockname())
            for number in range(5):
                it.transports.send(MESSAGE, dead)
                it.transports.send(b"%d" % number, live)
            gone = await it.gone.next()
            assert (gone.transport, gone.host, gone.port) == ("udp", dead.host, dead.port)
            assert [await receive(sock) for _ in range(5)] == [b"0", b"1", b"2", b"3", b"4"]
            assert all(flow.port == dead.port for flow in it.gone.waiting)

    run(talk())


@EVERYWHERE
@pytest.mark.requirement("TXN-24")
def test_it_is_told_too_when_nothing_else_is_sent(run: Run, host: str) -> None:
    async def talk() -> None:
        async with mailbox(host) as it:
            port = dead_port()
            it.transports.send(MESSAGE, Flow("udp", "", "127.0.0.1", port))
            assert (await it.gone.next()).port == port
            it.transports.send(MESSAGE, Flow("udp", "", "127.0.0.1", port))
            assert (await it.gone.next()).port == port
            assert {flow.port for flow in it.unreached} == {port}

    run(talk())


@pytest.mark.parametrize("listening", ["127.0.0.1", "0.0.0.0"])
@pytest.mark.parametrize(("host", "size"), [("::1", 9), ("255.255.255.255", 9), ("127.0.0.1", 70_000)])
def test_what_the_kernel_does_not_take_is_lost_and_not_raised(run: Run, listening: str, host: str, size: int) -> None:
    async def talk() -> None:
        async with mailbox(listening) as it:
            it.transports.send(b"x" * size, Flow("udp", "", host, 5060))
            assert it.gone.waiting == []  # told later, never inside `send`
            assert (await it.gone.next()).host == host

    run(talk())


@EVERYWHERE
def test_it_goes_on_to_read_after_an_error(run: Run, host: str) -> None:
    async def talk() -> None:
        async with mailbox(host) as it, phone() as sock:
            for number in range(3):
                it.transports.send(MESSAGE, Flow("udp", "", "127.0.0.1", dead_port()))
                await it.gone.next()
                sock.sendto(b"%d" % number, ("127.0.0.1", it.port("udp")))
                assert (await it.messages.next())[0] == b"%d" % number

    run(talk())


@pytest.mark.requirement("SIP-63")
@pytest.mark.parametrize(("listening", "asked", "shown"), [("0.0.0.0", "127.0.0.2", "127.0.0.2"), ("::", "::1", "[::1]")][: 1 + has_ipv6()])
def test_listening_everywhere_the_answer_leaves_from_the_address_that_was_asked(run: Run, listening: str, asked: str, shown: str) -> None:
    async def talk() -> None:
        async with mailbox(listening) as it:
            with socket.socket(socket.AF_INET6 if ":" in asked else socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.setblocking(False)
                sock.connect((asked, it.port("udp")))
                sock.send(MESSAGE)
                data, flow = await it.messages.next()
                assert (data, flow.local) == (MESSAGE, f"{shown}:{it.port('udp')}")
                it.transports.send(b"answer", flow)
                assert await receive(sock) == b"answer"  # a connected socket takes nothing from another address

    run(talk())


def test_from_an_address_that_is_gone_nothing_can_be_sent(run: Run) -> None:
    async def talk() -> None:
        async with mailbox("0.0.0.0") as it, phone() as sock:
            it.transports.send(MESSAGE, Flow("udp", f"192.0.2.250:{it.port('udp')}", *sock.getsockname()))
            assert await it.gone.next() == Flow("udp", it.local("udp"), *sock.getsockname())

    run(talk())


# -- TCP: what comes ------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("SIP-43", "SIP-65")
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_messages_in_pieces_come_whole_and_answers_go_back_on_the_connection(run: Run, size: int) -> None:
    async def talk() -> None:
        async with mailbox() as it:
            reader, writer = await it.connect()
            octets = MESSAGE * 3
            for at in range(0, len(octets), size):
                writer.write(octets[at : at + size])
                await writer.drain()
            flows = []
            for _ in range(3):
                data, flow = await it.messages.next()
                assert data == MESSAGE
                flows.append(flow)
            assert len(set(flows)) == 1
            assert flows[0].connection
            it.transports.send(b"answer", Flow("tcp", "", flows[0].host, 5060, flows[0].connection))
            assert await asyncio.wait_for(reader.readexactly(6), LIMIT) == b"answer"
            writer.close()

    run(talk())


@pytest.mark.requirement("SIP-42")
def test_a_ping_gets_a_pong_and_a_pong_nothing(run: Run) -> None:
    async def talk() -> None:
        async with mailbox() as it:
            reader, writer = await it.connect()
            writer.write(b"\r\n\r\n")
            assert await asyncio.wait_for(reader.readexactly(2), LIMIT) == b"\r\n"
            writer.write(MESSAGE + b"\r\n" + MESSAGE)
            _, flow = await it.messages.next()
            await it.messages.next()
            it.transports.send(b"only this", flow)
            assert await asyncio.wait_for(reader.readexactly(9), LIMIT) == b"only this"
            writer.close()

    run(talk())


@pytest.mark.requirement("SIP-41", "SIP-82")
def test_a_stream_that_cannot_be_read_on_is_answered_and_closed(run: Run) -> None:
    async def talk() -> None:
        async with mailbox() as it:
            for octets, status in ((request(content_length="x"), 400), (request(content_length="70000"), 413), (b"\0\0\0\0", 0)):
                reader, writer = await it.connect()
                writer.write(octets + MESSAGE)
                fault, _ = await it.bad.next()
                assert fault.status == status
                assert await eof(reader) == b"SIP/2.0 400 Bad\r\n\r\n"
                writer.close()
            assert it.messages.waiting == []

    run(talk())


@pytest.mark.requirement("SIP-65")
@pytest.mark.parametrize("limit", [30.0, 0.05])
def test_who_stops_sending_still_gets_his_answers_for_a_while(run: Run, monkeypatch: pytest.MonkeyPatch, limit: float) -> None:
    monkeypatch.setattr(transport_module, "_SWEEP_SECONDS", 0.01)
    monkeypatch.setattr(transport_module, "HALF_CLOSED_SECONDS", limit)

    async def talk() -> None:
        async with mailbox() as it:
            it.owing = True
            reader, writer = await it.connect()
            writer.write(MESSAGE)
            writer.write_eof()
            _, flow = await it.messages.next()
            if limit < 1:
                assert await eof(reader) == b""
            else:
                await asyncio.sleep(0.05)
                it.transports.send(b"answer", Flow("tcp", "", flow.host, 5060, flow.connection))
                assert await asyncio.wait_for(reader.readexactly(6), LIMIT) == b"answer"
                it.owing = False
                assert await eof(reader) == b""
            assert await it.gone.next() == flow
            writer.close()

    run(talk())


def test_who_stops_sending_and_waits_for_nothing_is_let_go_at_once(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport_module, "_SWEEP_SECONDS", 1000.0)

    async def talk() -> None:
        async with mailbox() as it:
            reader, writer = await it.connect()
            writer.write(MESSAGE)
            writer.write_eof()
            assert await eof(reader) == b""
            writer.close()

    run(talk())


def test_a_connection_that_ends_is_told(run: Run) -> None:
    async def talk() -> None:
        async with mailbox() as it:
            _, writer = await it.connect()
            writer.write(MESSAGE)
            _, flow = await it.messages.next()
            writer.close()
            assert await it.gone.next() == flow
            assert it.transports._connections == {}

    run(talk())


# -- TCP: limits ----------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("SIP-44", "SEC-37")
def test_a_source_may_have_so_many_connections_and_no_more(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport_module, "MOST_CONNECTIONS_OF_SOURCE", 3)

    async def talk() -> None:
        async with mailbox() as it:
            ends = [await it.connect() for _ in range(3)]
            for _, writer in ends:
                writer.write(MESSAGE)
                await it.messages.next()
            for _ in range(2):
                reader, refused = await it.connect()
                assert await eof(reader) == b""
                refused.close()
            ends[0][1].close()
            await it.gone.next(where=lambda flow: flow.port == ends[0][1].get_extra_info("sockname")[1])
            _, writer = await it.connect()
            writer.write(MESSAGE)
            await it.messages.next()
            for _, each in [*ends, (None, writer)]:
                each.close()

    run(talk())


@pytest.mark.requirement("SIP-44", "SEC-37")
def test_all_sources_together_may_have_so_many(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport_module, "MOST_CONNECTIONS", 1)

    async def talk() -> None:
        async with mailbox() as it:
            _, first = await it.connect()
            first.write(MESSAGE)
            await it.messages.next()
            with socket.socket() as other:
                other.setblocking(False)
                other.bind(("127.0.0.2", 0))
                await asyncio.get_running_loop().sock_connect(other, ("127.0.0.1", it.port("tcp")))
                assert await receive(other) == b""
            first.close()

    run(talk())


@pytest.mark.requirement("SIP-44")
@pytest.mark.parametrize(
    ("octets", "limit"),
    [(MESSAGE[:40], "HEADER_SECONDS"), (MESSAGE[:-1], "MESSAGE_SECONDS"), (MESSAGE, "IDLE_SECONDS"), (MESSAGE + b"M", "HEADER_SECONDS")],
)
def test_a_connection_that_takes_too_long_is_closed(run: Run, monkeypatch: pytest.MonkeyPatch, octets: bytes, limit: str) -> None:
    monkeypatch.setattr(transport_module, "_SWEEP_SECONDS", 0.01)
    monkeypatch.setattr(transport_module, limit, 0.05)

    async def talk() -> None:
        async with mailbox() as it:
            reader, writer = await it.connect()
            writer.write(octets)
            assert await eof(reader) == b""
            writer.close()

    run(talk())


@pytest.mark.requirement("SIP-44")
def test_each_limit_counts_from_its_own_beginning() -> None:
    async def talk() -> None:
        async with mailbox() as it:
            reader, writer = await it.connect()
            writer.write(MESSAGE + MESSAGE[:20])
            await it.messages.next()
            (stream,) = it.transports._connections.values()
            now = stream._begun_at
            for later, closing in ((9.9, False), (10.1, True)):
                stream.close_if_late(now + later)
                assert stream.closing is closing
            assert await eof(reader) == b""
            writer.close()

    asyncio.run(talk())


@pytest.mark.requirement("SIP-44", "SEC-37")
def test_octets_that_come_drop_by_drop_win_no_time() -> None:
    async def talk() -> None:
        async with mailbox() as it:
            reader, writer = await it.connect()
            writer.write(MESSAGE[:20])
            while not it.transports._connections or (stream := next(iter(it.transports._connections.values())))._framer.state == "idle":  # noqa: ASYNC110
                await asyncio.sleep(0.001)
            begun = stream._begun_at
            for octet in MESSAGE[20:24]:
                heard = stream.heard
                writer.write(bytes((octet,)))
                while stream.heard == heard:  # noqa: ASYNC110
                    await asyncio.sleep(0.001)
            stream.close_if_late(begun + 10.0001)
            assert stream.closing
            assert await eof(reader) == b""
            writer.close()

    asyncio.run(talk())


@pytest.mark.requirement("SEC-37")
def test_a_peer_that_does_not_read_is_cut_off_and_delays_nobody(run: Run) -> None:
    async def talk() -> None:
        async with mailbox() as it, phone() as other, phone(kind=socket.SOCK_STREAM) as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(deaf, ("127.0.0.1", it.port("tcp")))
            await loop.sock_sendall(deaf, MESSAGE)
            _, flow = await it.messages.next()
            (stream,) = it.transports._connections.values()
            chunk, sent = b"x" * 65_536, 0
            while not stream.closing:
                it.transports.send(chunk, flow)
                sent += len(chunk)
                assert sent < 64 * 1024 * 1024
            it.transports.send(b"still here", Flow("udp", "", *other.getsockname()))
            assert await receive(other) == b"still here"
            assert await it.gone.next() == flow
            assert it.transports._connections == {}

    run(talk())


def test_a_farewell_that_is_not_read_is_cut_short(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport_module, "_SWEEP_SECONDS", 0.01)
    monkeypatch.setattr(transport_module, "HEADER_SECONDS", 0.05)
    monkeypatch.setattr(transport_module, "_MOST_WRITE_BUFFER", 1 << 40)

    async def talk() -> None:
        async with mailbox() as it, phone(kind=socket.SOCK_STREAM) as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(deaf, ("127.0.0.1", it.port("tcp")))
            await loop.sock_sendall(deaf, MESSAGE)
            _, flow = await it.messages.next()
            (stream,) = it.transports._connections.values()
            stream.write(b"x" * 16_000_000)
            stream.close()
            assert await it.gone.next() == flow

    run(talk())


# -- TCP: connections of our own ------------------------------------------------------------------------------------------
@asynccontextmanager
async def server() -> AsyncIterator[tuple[Flow, Inbox[bytes], Inbox[asyncio.StreamWriter]]]:
    """A listener of a peer's: where it is, what came, and the connections to it."""
    came: Inbox[bytes] = Inbox()
    ends: Inbox[asyncio.StreamWriter] = Inbox()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends.put(writer)
        try:
            while data := await reader.read(65_536):
                came.put(data)
        except ConnectionError:
            pass

    it = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield Flow("tcp", "", "127.0.0.1", it.sockets[0].getsockname()[1]), came, ends
    finally:
        it.close()


@pytest.mark.requirement("TRN-04", "TRN-05")
def test_one_connection_to_a_hop_is_made_and_used_again_in_both_directions(run: Run) -> None:
    async def talk() -> None:
        async with mailbox() as it, server() as (hop, came, ends):
            it.transports.send(b"one", hop)
            it.transports.send(b"two", hop)
            assert await came.next() == b"onetwo"
            it.transports.send(b"three", hop)
            assert await came.next() == b"three"
            end = await ends.next()
            end.write(MESSAGE)
            data, flow = await it.messages.next()
            assert (data, flow.host, flow.port) == (MESSAGE, hop.host, hop.port)
            it.transports.send(b"answer", flow)
            assert await came.next() == b"answer"
            assert ends.waiting == []
            end.close()

    run(talk())


@pytest.mark.requirement("TXN-24")
def test_a_connection_that_cannot_be_made_is_told_at_once(run: Run) -> None:
    async def talk() -> None:
        async with mailbox() as it:
            hop = it.transports.way("tcp", "", "127.0.0.1", dead_port(socket.SOCK_STREAM))
            it.transports.send(b"one", hop)
            assert await it.gone.next() == hop
            assert it.unreached == [hop]
            assert it.transports._outgoing == {}

    run(talk())


@pytest.mark.requirement("TXN-24", "TRN-04")
def test_a_connection_that_breaks_is_told_and_made_anew_when_needed(run: Run) -> None:
    async def talk() -> None:
        async with mailbox() as it, server() as (hop, came, ends):
            it.transports.send(b"one", hop)
            first = it.transports.way("tcp", "", hop.host, hop.port)
            assert it.transports.way("tcp", "", hop.host, hop.port) == first
            assert await came.next() == b"one"
            it.owing = True  # which keeps no connection of our own: no answer could come on it
            (await ends.next()).write_eof()
            assert await it.gone.next() == first
            assert (it.unreached, it.heard) == ([], [0])
            second = it.transports.way("tcp", "", hop.host, hop.port)
            assert second.connection != first.connection
            it.transports.send(b"two", second)
            assert await came.next() == b"two"
            end = await ends.next()
            assert it.transports.heard(second) == 0
            end.write(b"\r\n")
            end.close()
            assert await it.gone.next() == second
            assert it.heard[-1] == 1

    run(talk())


@pytest.mark.requirement("TRN-04")
def test_a_connection_that_is_given_up_is_told_once_and_the_next_one_is_new(run: Run) -> None:
    async def talk() -> None:
        async with mailbox() as it, server() as (hop, came, ends):
            it.transports.let_go(hop)  # there is nothing to give up
            old = it.transports.way("tcp", "", hop.host, hop.port)
            it.transports.send(b"one", old)
            assert await came.next() == b"one"
            assert it.transports.heard(old) == 0
            first = await ends.next()
            first.write(b"\r\n\r\n")  # a keep-alive is a sign of life
            assert await came.next() == b"\r\n"
            assert it.transports.heard(old) == 1
            it.transports.let_go(old)
            assert it.gone.waiting == [old]
            assert it.heard == [0]  # it was not the peer who ended it
            new = it.transports.way("tcp", "", hop.host, hop.port)
            it.transports.send(b"two", new)
            assert await came.next() == b"two"
            assert it.transports.heard(new) == 0
            first.close()
            (await ends.next()).write(MESSAGE)
            await it.messages.next()
            assert it.gone.waiting == [old]  # its end is no news of the second
            assert len(it.transports._connections) == 1

    run(talk())


@pytest.mark.requirement("SIP-65")
def test_an_answer_whose_connection_is_gone_goes_by_a_new_one(run: Run) -> None:
    async def talk() -> None:
        async with mailbox() as it, server() as (hop, came, ends):
            it.transports.send(b"answer", Flow("tcp", "127.0.0.1:1", hop.host, hop.port, 99_999))
            way = it.transports.way("tcp", "", hop.host, hop.port)
            assert await came.next() == b"answer"
            (await ends.next()).close()
            assert await it.gone.next() == way  # as requests name it, so that those on this connection end too

    run(talk())


@pytest.mark.requirement("SEC-37", "SEC-36")
def test_who_does_not_read_has_no_connections_made_to_ports_of_his_choice(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport_module, "MOST_CONNECTIONS_OF_SOURCE", 3)

    async def talk() -> None:
        async with mailbox() as it, server() as (hop, *_):
            for port in range(hop.port, hop.port + 9):
                it.transports.send(b"answer", Flow("tcp", "127.0.0.1:1", hop.host, port, 99_999))
            assert len(it.transports._outgoing) == 3

    run(talk())


@pytest.mark.requirement("SEC-37")
def test_nothing_more_is_read_of_who_does_not_read(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport_module, "_MOST_WRITE_BUFFER", -1)

    async def talk() -> None:
        async with mailbox() as it:
            _, writer = await asyncio.open_connection("127.0.0.1", it.port("tcp"))
            writer.write(b"\r\n\r\n" + 3 * MESSAGE)  # the pong is what he does not read
            await it.gone.next()
            assert it.messages.waiting == []
            writer.close()

    run(talk())


@pytest.mark.requirement("SEC-37", "TRN-04")
def test_a_connection_that_was_just_written_to_is_not_idle(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def talk() -> None:
        async with mailbox() as it, server() as (hop, came, ends):
            way = it.transports.way("tcp", "", hop.host, hop.port)
            it.transports.send(b"one", way)
            assert await came.next() == b"one"
            (stream,) = it.transports._connections.values()
            now = asyncio.get_running_loop().time()
            stream.close_if_late(now + transport_module.IDLE_SECONDS - 1)
            assert not stream.closing
            monkeypatch.setattr(stream, "_used_at", now - transport_module.IDLE_SECONDS)
            it.transports.send(b"two", way)
            stream.close_if_late(now + 1)
            assert not stream.closing
            stream.close_if_late(now + transport_module.IDLE_SECONDS + 1)
            assert stream.closing
            (await ends.next()).close()

    run(talk())


def test_what_waits_for_a_connection_is_bounded(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport_module, "_MOST_QUEUED", 3)

    async def talk() -> None:
        async with mailbox() as it, server() as (hop, came, ends):
            for number in range(6):
                it.transports.send(b"%d" % number, hop)
            assert await came.next() == b"012"
            (await ends.next()).close()

    run(talk())


# -- life -----------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["udp", "tcp"])
def test_an_address_that_cannot_be_had_is_a_fault_of_the_configuration(run: Run, kind: str) -> None:
    async def talk() -> None:
        async with phone(kind=socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM) as taken:
            if kind == "tcp":
                taken.listen()
            port = taken.getsockname()[1]
            transports = Transports((Listener(kind, "127.0.0.1", port),), Mailbox())
            with pytest.raises(ConfigFault) as fault:
                await transports.open()
            transports.close()
            assert fault.value.key == "sip.listen[0]"
            assert f"{kind}:127.0.0.1:{port}" in fault.value.reason

    run(talk())


def test_after_close_nothing_is_sent_and_nothing_raised(run: Run) -> None:
    async def talk() -> None:
        async with mailbox() as it, phone() as sock, server() as (hop, _, _):
            it.transports.send(b"waits", hop)
            it.transports.close()
            it.transports.send(b"late", Flow("udp", "", *sock.getsockname()))
            it.transports.send(b"late", hop)
            assert not [task for task in it.transports._tasks if not task.cancelling()]
            await asyncio.sleep(0)
            with pytest.raises(BlockingIOError):
                sock.recv(10)

    run(talk())
