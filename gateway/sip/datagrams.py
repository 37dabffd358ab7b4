"""The UDP sockets. One that listens on all addresses also knows to which a datagram was sent, and sends from any of them."""

from __future__ import annotations

import asyncio
import select
import socket
import struct
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import lru_cache
from ipaddress import ip_address
from typing import Any, cast

import structlog

from gateway.core.domain import is_everywhere
from gateway.core.settings import Listener

from .flow import Flow

_SOCKET_BUFFER = 4 * 1024 * 1024
_REMEMBERED = 1024
_MOST_SENDS = 3
_MOST_READS = 64
"""In one go, so that the loop comes to its other work."""
_DATAGRAM_OCTETS = 65_536
_REPORT_ERRORS = {socket.AF_INET: (socket.IPPROTO_IP, 11), socket.AF_INET6: (socket.IPPROTO_IPV6, 25)}
"""IP_RECVERR and IPV6_RECVERR of Linux, which Python does not name."""
_ERROR_OCTETS = 512
_UNREACHABLE = frozenset((b"\2\3", b"\2\14", b"\3\1", b"\3\4"))
"""Origin (2 ICMP, 3 ICMPv6) and type of the errors that end a transaction: unreachable, parameter problem (RFC 3261 section 18.4)."""
_TOO_BIG = b"\2\3\4"
"""The code of ICMP that only says which size of packet would have passed."""
_TELL_LOCAL = {socket.AF_INET: (socket.IPPROTO_IP, 8), socket.AF_INET6: (socket.IPPROTO_IPV6, 49)}
"""IP_PKTINFO and IPV6_RECVPKTINFO of Linux."""
_LOCAL, _LOCAL_6 = struct.Struct("=i4s4s"), struct.Struct("=16sI")
"""in_pktinfo of ip(7): interface, local address, destination. in6_pktinfo of ipv6(7): local address, interface."""
_IPV6_PKTINFO = 50
_LOCAL_OCTETS = 64
_Ancillary = tuple[tuple[int, int, bytes], ...]

log = structlog.get_logger("sip")
Received = Callable[[bytes, Flow], None]
Unreachable = Callable[[Flow], None]


async def open_datagrams(listener: Listener, received: Received, unreachable: Unreachable) -> Datagrams:
    """Listen. received: takes each datagram. unreachable: is told where one could not be delivered. Raises OSError."""
    sock = _bound(listener)
    if sys.platform == "linux" and is_everywhere(listener.host):
        return _AllAddresses(sock, received, unreachable)
    it = _OneAddress(sock, received, unreachable)
    await asyncio.get_running_loop().create_datagram_endpoint(lambda: it, sock=sock)
    return it


class Datagrams(ABC):
    """One UDP socket. local: its address, "127.0.0.1:5060"."""

    def __init__(self, sock: socket.socket, received: Received, unreachable: Unreachable) -> None:
        self._socket, self._received, self._unreachable = sock, received, unreachable
        self._loop = asyncio.get_running_loop()
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            sock.setsockopt(socket.SOL_SOCKET, option, _SOCKET_BUFFER)
        if sys.platform == "linux":
            sock.setsockopt(*_REPORT_ERRORS[sock.family], 1)
        self.local = shown(sock.getsockname())

    def send(self, octets: bytes, flow: Flow) -> None:
        """Send a datagram. What became of an earlier one may show only now, in place of sending this one: then it is sent again."""
        for _ in range(_MOST_SENDS):
            if self._put(octets, flow):
                return
        self._loop.call_soon(self._unreachable, Flow("udp", self.local, flow.host, flow.port))

    @abstractmethod
    def _put(self, octets: bytes, flow: Flow) -> bool:
        """Try to send. An error is handed to `_failed`, and then the answer is False."""

    @abstractmethod
    def close(self) -> None:
        """Close the socket."""

    def _failed(self, error: Exception) -> None:
        log.debug("datagram error", reason=str(error))
        if sys.platform == "linux":
            for host, port in set(self._undelivered()):
                self._loop.call_soon(self._unreachable, Flow("udp", self.local, host, port))

    def _undelivered(self) -> Iterator[tuple[str, int]]:
        """Where datagrams could not be delivered, as the kernel was told by ICMP; the queue must be emptied (ip(7))."""
        with suppress(OSError):
            while True:
                _, notes, _, address = self._socket.recvmsg(0, _ERROR_OCTETS, socket.MSG_ERRQUEUE | socket.MSG_DONTWAIT)
                errors = (note for level, kind, note in notes if (level, kind) == _REPORT_ERRORS[self._socket.family])
                if any(note[4:6] in _UNREACHABLE and note[4:7] != _TOO_BIG for note in errors):
                    yield address[0], address[1]


class _OneAddress(Datagrams, asyncio.DatagramProtocol):
    """On a single address: the loop's own transport reads and sends."""

    def __init__(self, sock: socket.socket, received: Received, unreachable: Unreachable) -> None:
        super().__init__(sock, received, unreachable)
        self._flow = lru_cache(_REMEMBERED)(lambda addr: Flow("udp", self.local, addr[0], addr[1]))
        self._has_failed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._received(data, self._flow(addr))

    def error_received(self, exc: Exception) -> None:
        self._has_failed = True
        self._failed(exc)

    def _put(self, octets: bytes, flow: Flow) -> bool:
        self._has_failed = False
        self._transport.sendto(octets, (flow.host, flow.port))
        return not self._has_failed

    def close(self) -> None:
        self._transport.close()


class _AllAddresses(Datagrams):
    """On all addresses of one IP version: a flow has the local address that its datagrams came to, and answers leave from there.

    RFC 3581 section 4. The transports of the loops cannot tell and take it.
    """

    def __init__(self, sock: socket.socket, received: Received, unreachable: Unreachable) -> None:
        super().__init__(sock, received, unreachable)
        sock.setsockopt(*_TELL_LOCAL[sock.family], 1)
        self._flow = lru_cache(_REMEMBERED)(self._flow_of)
        self._from = lru_cache(_REMEMBERED)(_sent_from)
        # uvloop stops to read a socket for good when that reports an error; what it sees here is always readable.
        self._ready = select.epoll()
        self._ready.register(sock, select.EPOLLIN)
        self._loop.add_reader(self._ready.fileno(), self._read)

    def _read(self) -> None:
        """Take what has come. Errors wake us too, and wait in a queue of their own."""
        for count in range(_MOST_READS):
            try:
                # One note: of all that can be told of a datagram only its local address was asked for.
                data, notes, _, address = self._socket.recvmsg(_DATAGRAM_OCTETS, _LOCAL_OCTETS)
            except BlockingIOError as error:
                if not count:
                    self._failed(error)
                return
            except OSError as error:
                self._failed(error)
            else:
                self._received(data, self._flow(notes[0][2], address))

    def _flow_of(self, note: bytes, address: tuple[Any, ...]) -> Flow:
        family, port = self._socket.family, self._socket.getsockname()[1]
        local = _LOCAL.unpack(note)[1] if family == socket.AF_INET else _LOCAL_6.unpack(note)[0]
        return Flow("udp", shown((socket.inet_ntop(family, local), port)), address[0], address[1])

    def _put(self, octets: bytes, flow: Flow) -> bool:
        try:
            self._socket.sendmsg([octets], self._from(flow.local), 0, (flow.host, flow.port))
        except BlockingIOError:
            # As if the network had lost it: 4 MiB wait already.
            return True
        except OSError as error:
            self._failed(error)
            return False
        return True

    def close(self) -> None:
        self._loop.remove_reader(self._ready.fileno())
        self._ready.close()
        self._socket.close()


def _bound(listener: Listener) -> socket.socket:
    """A UDP socket that is what its address says: "::" takes no IPv4, so that "0.0.0.0" has room beside it."""
    sock = socket.socket(socket.AF_INET6 if ":" in listener.host else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((listener.host, listener.port))
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


def _sent_from(local: str) -> _Ancillary:
    """What has a datagram leave from an address of ours; nothing where that is none in particular, or a link-local one."""
    host = ip_address(local.rpartition(":")[0].strip("[]") or "::")
    if host.is_unspecified or host.is_link_local:
        return ()
    if host.version == 4:
        return ((socket.IPPROTO_IP, _TELL_LOCAL[socket.AF_INET][1], _LOCAL.pack(0, host.packed, b"")),)
    return ((socket.IPPROTO_IPV6, _IPV6_PKTINFO, _LOCAL_6.pack(host.packed, 0)),)


def shown(address: tuple[Any, ...]) -> str:
    """An address of a socket as text: "127.0.0.1:5060", "[::1]:5060"."""
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    return f"{host}:{address[1]}"
