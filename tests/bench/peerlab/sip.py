"""The SIP end of the lab: a raw UDP or TCP peer that sends MESSAGE requests and answers those it receives.

It does what RFC 3261 section 17 asks of a non-INVITE client over UDP (retransmit at T1, 2*T1 ... up to T2, give up
after 64*T1), and keeps count of everything, so that loss, duplicates and retransmissions are seen and not hidden.
"""

from __future__ import annotations

import asyncio
import heapq
import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

T1, T2, TIMER_F = 0.5, 4.0, 32.0
_BRANCH = re.compile(rb"branch=(z9hG4bK[^;,\s]+)", re.I)
_CONTENT_LENGTH = re.compile(rb"^(?:content-length|l)[ \t]*:[ \t]*(\d+)", re.I | re.M)
_COPIED = (b"via:", b"v:", b"from:", b"f:", b"call-id:", b"i:", b"cseq:")


@dataclass
class Sent:
    """One request on its way: what was sent, when, and what came back (0 while nothing final has)."""

    data: bytes
    sent_at: float
    interval: float = T1
    retransmissions: int = 0
    status: int = 0
    response: bytes = b""
    done_at: float = 0.0
    future: asyncio.Future[Sent] | None = None


@dataclass(frozen=True)
class Received:
    """One request that arrived: its bytes, the time, and the body alone."""

    data: bytes
    at: float

    @property
    def body(self) -> bytes:
        return self.data.partition(b"\r\n\r\n")[2]

    def header(self, name: str) -> str:
        found = re.search(rb"^" + name.encode() + rb"[ \t]*:[ \t]*(.*?)\r$", self.data, re.I | re.M)
        return found[1].decode("utf-8", "replace") if found else ""


class SipPeer(asyncio.DatagramProtocol):
    """A SIP user agent on one local port; `transport` is "udp" or "tcp".

    `answer(request) -> int` chooses the status for a new request (0: stay silent); `on_request` sees each new request
    once. Retransmitted requests get the same answer again and count in `duplicates_seen`.
    """

    def __init__(self, transport: str, host: str, port: int) -> None:
        self.kind, self.host, self.port = transport, host, port
        self.answer: Callable[[bytes], int] = lambda _request: 200
        self.on_request: Callable[[Received], None] = lambda _received: None
        self.statuses: Counter[int] = Counter()
        self.pending: dict[bytes, Sent] = {}
        self.retransmissions = 0
        self.duplicates_seen = 0
        self.retransmit = True
        self._answered: dict[bytes, bytes] = {}
        self._timers: list[tuple[float, bytes]] = []
        self._serial = int(time.time() * 1000) % 10**9 * 1000
        self._udp: asyncio.DatagramTransport | None = None
        self._server: asyncio.Server | None = None
        self._streams: list[_Stream] = []
        self.connections: set[_Stream] = set()
        self._target = ("", 0)
        self._sweeper: asyncio.Task[None] | None = None

    # -- life ---------------------------------------------------------------------------------------------------
    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        if self.kind == "udp":
            self._udp, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=(self.host, self.port))
            sock = self._udp.get_extra_info("socket")
            for option in (7, 8):  # SO_SNDBUF, SO_RCVBUF
                sock.setsockopt(1, option, 4 << 20)
        else:
            self._server = await loop.create_server(lambda: _Stream(self), self.host, self.port)
        self._sweeper = asyncio.create_task(self._sweep())

    async def connect(self, host: str, port: int, connections: int = 1) -> None:
        """Say where requests go; over TCP this opens `connections` streams, used in turn."""
        self._target = (host, port)
        if self.kind == "tcp":
            loop = asyncio.get_running_loop()
            self._streams = [(await loop.create_connection(lambda: _Stream(self), host, port))[1] for _ in range(connections)]

    async def close(self) -> None:
        if self._sweeper:
            self._sweeper.cancel()
        if self._udp:
            self._udp.close()
        if self._server:
            self._server.close()
        for stream in self.connections:
            stream.transport.close()
        await asyncio.sleep(0)

    # -- sending ------------------------------------------------------------------------------------------------
    def build(self, request_uri: str, from_uri: str, body: bytes, content_type: str = "text/plain", extra: str = "") -> tuple[bytes, bytes]:
        """A MESSAGE request; returns (branch, bytes)."""
        self._serial += 1
        serial = f"{self._serial:x}"
        branch = f"z9hG4bK{serial}"
        head = (
            f"MESSAGE {request_uri} SIP/2.0\r\n"
            f"Via: SIP/2.0/{self.kind.upper()} {self.host}:{self.port};branch={branch};rport\r\n"
            f"Max-Forwards: 70\r\nFrom: <{from_uri}>;tag={serial}\r\nTo: <{request_uri}>\r\n"
            f"Call-ID: {serial}@{self.host}\r\nCSeq: 1 MESSAGE\r\n{extra}"
            f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return branch.encode(), head.encode() + body

    def send(self, branch: bytes, data: bytes, future: asyncio.Future[Sent] | None = None) -> Sent:
        sent = Sent(data, time.monotonic(), future=future)
        self.pending[branch] = sent
        self.put(data)
        if self.kind == "udp" and self.retransmit:
            heapq.heappush(self._timers, (sent.sent_at + T1, branch))
        return sent

    async def request(
        self, request_uri: str, from_uri: str, body: bytes, content_type: str = "text/plain", extra: str = "", limit: float = TIMER_F
    ) -> Sent:
        """Send one MESSAGE and wait for its final answer (status 0 if none came in time)."""
        branch, data = self.build(request_uri, from_uri, body, content_type, extra)
        future: asyncio.Future[Sent] = asyncio.get_running_loop().create_future()
        sent = self.send(branch, data, future)
        try:
            return await asyncio.wait_for(future, limit)
        except TimeoutError:
            self.pending.pop(branch, None)
            return sent

    def put(self, data: bytes) -> None:
        """Put bytes on the wire toward the target, once, with no transaction."""
        if self._udp:
            self._udp.sendto(data, self._target)
        else:
            stream = self._streams[0]
            self._streams.append(self._streams.pop(0))
            stream.transport.write(data)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(0.05)
            now = time.monotonic()
            while self._timers and self._timers[0][0] <= now:
                _, branch = heapq.heappop(self._timers)
                sent = self.pending.get(branch)
                if sent is None:
                    continue
                if now - sent.sent_at > TIMER_F:
                    self._finish(branch, sent, 408, b"")
                    continue
                self.put(sent.data)
                sent.retransmissions += 1
                self.retransmissions += 1
                sent.interval = min(sent.interval * 2, T2)
                heapq.heappush(self._timers, (now + sent.interval, branch))

    def _finish(self, branch: bytes, sent: Sent, status: int, response: bytes) -> None:
        del self.pending[branch]
        sent.status, sent.response, sent.done_at = status, response, time.monotonic()
        self.statuses[status] += 1
        if sent.future and not sent.future.done():
            sent.future.set_result(sent)

    # -- receiving ----------------------------------------------------------------------------------------------
    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        udp = self._udp
        assert udp is not None
        self.message_received(data, lambda reply: udp.sendto(reply, addr))

    def message_received(self, data: bytes, reply: Callable[[bytes], None]) -> None:
        found = _BRANCH.search(data)
        if found is None:
            return
        branch = found[1]
        if data.startswith(b"SIP/2.0 "):
            status = int(data[8:11])
            sent = self.pending.get(branch)
            if sent is None:
                self.duplicates_seen += 1
            elif status >= 200:
                self._finish(branch, sent, status, data)
            return
        known = self._answered.get(branch)
        if known is not None:
            self.duplicates_seen += 1
            if known:
                reply(known)
            return
        status = self.answer(data)
        response = _response(data, status) if status else b""
        self._answered[branch] = response
        if response:
            reply(response)
        self.on_request(Received(data, time.monotonic()))

    def forget(self) -> None:
        """Drop counts and remembered transactions between two measurements."""
        self.statuses.clear()
        self.pending.clear()
        self._answered.clear()
        self._timers.clear()
        self.retransmissions = self.duplicates_seen = 0


class _Stream(asyncio.Protocol):
    """One TCP connection: frames by Content-Length (RFC 3261 section 18.3) and hands whole messages to its peer."""

    transport: asyncio.Transport

    def __init__(self, peer: SipPeer) -> None:
        self._peer, self._buffer = peer, bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        self._peer.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._peer.connections.discard(self)

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        start = 0
        while True:
            while buffer.startswith(b"\r\n", start):
                start += 2
            end = buffer.find(b"\r\n\r\n", start)
            if end < 0:
                break
            length = _CONTENT_LENGTH.search(buffer, start, end)
            stop = end + 4 + (int(length[1]) if length else 0)
            if len(buffer) < stop:
                break
            self._peer.message_received(bytes(buffer[start:stop]), self.transport.write)
            start = stop
        del buffer[:start]


def _response(request: bytes, status: int) -> bytes:
    """A response that copies what RFC 3261 section 8.2.6 says to copy."""
    lines = [f"SIP/2.0 {status} {'OK' if status == 200 else 'Answer'}".encode()]
    for line in request.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]:
        low = line[:8].lower()
        if low.startswith(_COPIED):
            lines.append(line)
        elif low.startswith((b"to:", b"t:")):
            lines.append(line + b";tag=lab")
    lines += [b"Content-Length: 0", b"", b""]
    return b"\r\n".join(lines)
