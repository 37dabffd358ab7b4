"""An XMPP server that was taken over: it sends whatever a test wants, also what no real server would let pass."""

from __future__ import annotations

import queue
import re
import socket
import threading
from contextlib import suppress

_STANZA = re.compile(rb"<(message|iq)\b[^>]*?(?:/>|>.*?</\1>)", re.S)


class CapturedServer:
    """Takes the gateway's component stream, answers its pings, and sends what it is told. said: whole stanzas of the gateway."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.said: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._stream: socket.socket | None = None
        threading.Thread(target=self._serve, daemon=True).start()

    def send(self, stanza: str) -> None:
        assert self._stream is not None
        self._stream.sendall(stanza.encode())

    def close(self) -> None:
        for each in (self._listener, self._stream):
            if each:
                each.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                stream, _ = self._listener.accept()
                self._greet(stream)
                self._stream = stream
                self._read(stream)

    @staticmethod
    def _greet(stream: socket.socket) -> None:
        read = b""
        while not re.search(rb"<stream:stream[^>]*>", read):
            read += stream.recv(4096)
        stream.sendall(b"<?xml version='1.0'?><stream:stream xmlns='jabber:component:accept' from='stoxgate.test' id='s1' "
                       b"xmlns:stream='http://etherx.jabber.org/streams'>")  # fmt: skip
        while b"</handshake>" not in read:
            read += stream.recv(4096)
        stream.sendall(b"<handshake/>")

    def _read(self, stream: socket.socket) -> None:
        buffer = b""
        while data := stream.recv(65_536):
            buffer += data
            while found := _STANZA.search(buffer):
                buffer = buffer[found.end() :]
                stanza = found[0]
                if b"urn:xmpp:ping" in stanza:
                    number = re.search(rb"id='([^']*)'", stanza)
                    assert number
                    stream.sendall(b"<iq type='result' from='stoxgate.test' to='stoxgate.test' id='%b'/>" % number[1])
                else:
                    self.said.put(stanza)
