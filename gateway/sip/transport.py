"""The sockets of the SIP side: UDP and TCP listeners, TCP connections in both directions. What the octets mean is not known here."""

from __future__ import annotations

import asyncio
import math
import os
import socket
from collections import Counter
from typing import Protocol, cast

import structlog

from gateway.core.errors import ConfigFault
from gateway.core.settings import Listener

from .datagrams import Datagrams, open_datagrams, shown
from .flow import Flow
from .framing import Bad, Last, Ping, Pong, StreamFramer
from .message import BadMessage
from .origin import Origins

HEADER_SECONDS, MESSAGE_SECONDS, IDLE_SECONDS = 10.0, 30.0, 300.0
CONNECT_SECONDS = 5.0
HALF_CLOSED_SECONDS = 32.0
"""As long as a request may wait for its answer (64*T1)."""
MOST_CONNECTIONS, MOST_CONNECTIONS_OF_SOURCE = 512, 32
_MOST_WRITE_BUFFER = 1024 * 1024
_MOST_QUEUED = 4096
_SWEEP_SECONDS = 1.0
_PONG = b"\r\n"

log = structlog.get_logger("sip")


class Receiver(Protocol):
    """What the sockets hand on. Everything is called on the loop."""

    def received(self, data: bytes, flow: Flow) -> None:
        """A datagram, or one whole message of a stream."""

    def unreadable(self, fault: BadMessage, flow: Flow) -> None:
        """A stream that cannot be read on; it is closed behind the answer."""

    def lost(self, flow: Flow, heard: int) -> None:
        """A connection is gone: whether what was sent last has arrived is not known.

        heard: as `Transports.heard`; 0 where we have ended it ourselves.
        """

    def unreachable(self, flow: Flow) -> None:
        """A connection could not be made, or a datagram not be delivered: it has not arrived."""

    def owes(self, flow: Flow) -> bool:
        """Whether something that came on this flow waits for its answer."""


class Transports:
    """All sockets of one gateway."""

    def __init__(self, listeners: tuple[Listener, ...], receiver: Receiver) -> None:
        self._listeners, self._receiver = listeners, receiver
        self._udp: dict[str, Datagrams] = {}
        self._servers: list[asyncio.Server] = []
        self._connections: dict[int, _Stream] = {}
        self._outgoing: dict[tuple[str, int], _Stream] = {}
        self._sources: Counter[str] = Counter()
        self._is_open = True
        self._sweep_handle: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._origins = Origins()
        self.local: list[tuple[str, str]] = []
        """(transport, address) of each listener in their order: ("udp", "127.0.0.1:5060")."""

    async def open(self) -> None:
        """Listen. Raises ConfigFault for an address that cannot be had."""
        loop = asyncio.get_running_loop()
        for at, listener in enumerate(self._listeners):
            try:
                if listener.transport == "udp":
                    bound = await self._open_udp(listener)
                elif listener.transport == "tcp":
                    bound = await self._open_tcp(loop, listener)
                else:
                    continue
            except OSError as error:
                raise ConfigFault("[sip]", f"sip.listen[{at}]", f"cannot listen on {listener}: {_why(error)}") from None
            self.local.append((listener.transport, bound))
            self._origins.add(listener.transport, bound)
        self._sweep_handle = loop.call_later(_SWEEP_SECONDS, self._sweep)

    async def _open_udp(self, listener: Listener) -> str:
        datagrams = await open_datagrams(listener, self._receiver.received, self._receiver.unreachable)
        self._udp[datagrams.local] = datagrams
        return datagrams.local

    async def _open_tcp(self, loop: asyncio.AbstractEventLoop, listener: Listener) -> str:
        server = await loop.create_server(lambda: _Stream(self, self._receiver, incoming=True), listener.host, listener.port)
        self._servers.append(server)
        return shown(server.sockets[0].getsockname())

    def close(self) -> None:
        """Close everything at once; what is sent from now on goes nowhere."""
        self._is_open = False
        if self._sweep_handle:
            self._sweep_handle.cancel()
        for task in self._tasks:
            task.cancel()
        for datagrams in self._udp.values():
            datagrams.close()
        for server in self._servers:
            server.close()
        for stream in list(self._connections.values()):
            stream.close()

    # -- sending -------------------------------------------------------------------------------------------------------
    def origin(self, transport: str, host: str) -> str:
        """The listener that a request to this address leaves from, over TCP the one that stands for us there; empty where there is none."""
        return self._origins.of(transport, host, asyncio.get_running_loop().time())

    def send(self, octets: bytes, flow: Flow) -> None:
        """Put octets on the wire; a stream connection that is not there is made first (SIP-65, TRN-04)."""
        if not self._is_open:
            return
        if flow.transport == "udp":
            datagrams = self._datagrams(flow)
            if datagrams is not None:
                datagrams.send(octets, flow)
            else:
                asyncio.get_running_loop().call_soon(self._receiver.unreachable, flow)
            return
        stream = self._connections.get(flow.connection)
        if stream is None or stream.closing:
            ports = [port for host, port in self._outgoing if host == flow.host]
            if flow.port not in ports and len(ports) >= MOST_CONNECTIONS_OF_SOURCE:
                # Who has let go of his connection says in Via which port an answer goes to, and could have any number of them made.
                asyncio.get_running_loop().call_soon(self._receiver.unreachable, flow)
                return
            stream = self._towards(flow)
        stream.write(octets)

    def way(self, transport: str, local: str, host: str, port: int) -> Flow:
        """The flow by which a request goes to a hop now: from this socket, or over the very connection whose end is the request's too."""
        if transport == "udp":
            return Flow(transport, local, host, port)
        flow = Flow(transport, "", host, port)
        return self._towards(flow).target if self._is_open else flow

    def _datagrams(self, flow: Flow) -> Datagrams | None:
        """The socket of its local address, which may be one on all addresses; where there is none, one that reaches the peer."""
        if found := self._udp.get(flow.local):
            return found
        all_addresses = "[::]" if ":" in flow.host else "0.0.0.0"  # noqa: S104 - to find it, not to listen there
        return self._udp.get(f"{all_addresses}:{flow.local.rpartition(':')[2]}") or self._udp.get(self.origin("udp", flow.host))

    def heard(self, flow: Flow) -> int:
        """How many times octets have come on this connection; 0 also where it is not made or gone, and for datagrams."""
        stream = self._connections.get(flow.connection)
        return stream.heard if stream else 0

    def let_go(self, flow: Flow) -> None:
        """Give up this connection of ours, if it is made. It is told as lost at once, before anything can be sent over the next one."""
        if stream := self._connections.get(flow.connection):
            log.warning("connection given up, the peer is silent", peer=str(stream.target))
            stream.abort()

    def _towards(self, flow: Flow) -> _Stream:
        """Our connection to this hop, or a new one."""
        stream = self._outgoing.get((flow.host, flow.port))
        return stream if stream and not stream.closing else self._connect(flow)

    def _connect(self, flow: Flow) -> _Stream:
        stream = _Stream(self, self._receiver, incoming=False, to=flow)
        self._outgoing[flow.host, flow.port] = stream
        task = asyncio.get_running_loop().create_task(self._make(stream, flow))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return stream

    async def _make(self, stream: _Stream, flow: Flow) -> None:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await asyncio.get_running_loop().create_connection(lambda: stream, flow.host, flow.port)
        except (OSError, TimeoutError) as error:
            log.warning("cannot connect", peer=str(flow), reason=getattr(error, "strerror", None) or "timed out")
            stream.failed()

    # -- connections ---------------------------------------------------------------------------------------------------
    def admit(self, stream: _Stream) -> bool:
        """Take a new connection, unless there are too many (SEC-37)."""
        source = stream.flow.host
        if stream.incoming and (len(self._connections) >= MOST_CONNECTIONS or self._sources[source] >= MOST_CONNECTIONS_OF_SOURCE):
            log.warning("connection refused, too many", peer=str(stream.flow))
            return False
        self._connections[stream.number] = stream
        self._sources[source] += 1
        return True

    def leave(self, stream: _Stream) -> None:
        """A connection is gone."""
        if self._connections.pop(stream.number, None) is not None:
            self._sources[stream.flow.host] -= 1
            if not self._sources[stream.flow.host]:
                del self._sources[stream.flow.host]
        key = (stream.target.host, stream.target.port)
        if self._outgoing.get(key) is stream:
            del self._outgoing[key]

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for stream in list(self._connections.values()):
            stream.close_if_late(now)
        self._sweep_handle = loop.call_later(_SWEEP_SECONDS, self._sweep)


class _Stream(asyncio.Protocol):
    """One TCP connection, made by either side."""

    _numbers = iter(range(1, 1 << 62))

    def __init__(self, transports: Transports, receiver: Receiver, *, incoming: bool, to: Flow | None = None) -> None:
        self._transports, self._receiver = transports, receiver
        self.incoming = incoming
        self.number = next(self._numbers)
        self.target = Flow("tcp", "", to.host, to.port, self.number) if to else Flow("tcp", "", "", 0)
        self.flow = self.target
        self.closing = False
        self._transport: asyncio.Transport | None = None
        self._queued: list[bytes] = []
        self._framer = StreamFramer()
        self._loop = asyncio.get_running_loop()
        self.heard = 0
        self._used_at = self._begun_at = self._loop.time()
        self._ended_at = math.inf
        self._is_over = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self.flow = Flow("tcp", shown(transport.get_extra_info("sockname")), peer[0], peer[1], self.number)
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if not self._transports.admit(self):
            self.close()
            return
        queued, self._queued = self._queued, []
        if queued:
            transport.write(b"".join(queued))

    def data_received(self, data: bytes) -> None:
        self.heard += 1
        self._used_at = now = self._loop.time()
        was_idle = self._framer.state == "idle"
        for item in self._framer.feed(data):
            if self.closing:
                return  # an answer to what came before has found that he does not read
            if isinstance(item, bytes):
                self._receiver.received(item, self.flow)
                was_idle = True
            elif isinstance(item, Last):
                # Closed first: what is sent because of it goes over another connection.
                self.close()
                self._receiver.received(item.message, self.flow)
                return
            elif isinstance(item, Ping):
                self.write(_PONG)
            elif isinstance(item, Bad):
                self._receiver.unreadable(item.fault, self.flow)
                self.close()
                return
            else:
                assert isinstance(item, Pong)
        if was_idle:
            self._begun_at = now

    def eof_received(self) -> bool:
        """The peer will send no more. He may still read: what he waits for goes back to him here (RFC 3261 section 18.2.2).

        A connection of our own is of no use any more: no answer comes on it.
        """
        self._ended_at = self._loop.time()
        return self.incoming and self._receiver.owes(self.flow)

    def write(self, octets: bytes) -> None:
        """Send, or keep until the connection is made."""
        if self._transport is None:
            if len(self._queued) < _MOST_QUEUED:
                self._queued.append(octets)
            return
        self._used_at = self._loop.time()
        self._transport.write(octets)
        if self._transport.get_write_buffer_size() > _MOST_WRITE_BUFFER:
            log.warning("connection closed, the peer does not read", peer=str(self.flow))
            self.closing = True
            self._transport.abort()

    def close_if_late(self, now: float) -> None:
        """SEC-37: 10 s for a header section and for a farewell, 30 s for a message, 300 s of silence.

        A peer that has stopped sending is let go as soon as he has his answers, or after 32 s.
        """
        if self.closing and self._transport and now - self._begun_at > HEADER_SECONDS:
            self._transport.abort()
        state = self._framer.state
        late = (state == "headers" and now - self._begun_at > HEADER_SECONDS) or (
            state == "body" and now - self._begun_at > MESSAGE_SECONDS
        )
        has_ended = now >= self._ended_at and (now - self._ended_at > HALF_CLOSED_SECONDS or not self._receiver.owes(self.flow))
        if late or has_ended or now - self._used_at > IDLE_SECONDS:
            self.close()

    def failed(self) -> None:
        """The connection could not be made."""
        self.closing = True
        self._transports.leave(self)
        self._receiver.unreachable(self.target)

    def close(self) -> None:
        """Send what is buffered, then close; for a peer that does not read, `close_if_late` makes an end."""
        if not self.closing:
            self.closing, self._begun_at = True, self._loop.time()
        if self._transport:
            self._transport.close()

    def abort(self) -> None:
        """Cut it off: what is sent on it is lost."""
        assert self._transport
        self.closing = True
        self._transport.abort()
        self.connection_lost(None)

    def connection_lost(self, _error: Exception | None) -> None:
        if self._is_over:
            # `abort` was first, and its news are old: since then there may be another connection to the same hop.
            return
        heard = 0 if self.closing else self.heard
        self._is_over = self.closing = True
        self._transports.leave(self)
        self._receiver.lost(self.flow if self.incoming else self.target, heard)


def _why(error: OSError) -> str:
    """What the system says; uvloop tells it only in what its error was raised from."""
    cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
    return os.strerror(cause.errno) if cause.errno else str(error)
