"""Where a SIP message came from and where one goes: a value, so that the machines can speak of connections without holding one."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Flow:
    """One way to a peer.

    transport: "udp" or "tcp". local: our end ("127.0.0.1:5060"), which tells the socket; empty for any that fits. host, port: the
    peer's address. connection: the number of the stream connection; 0 for datagrams, and for whichever stream leads there.
    """

    transport: str
    local: str
    host: str
    port: int
    connection: int = 0

    @property
    def reliable(self) -> bool:
        """Whether the transport repeats by itself."""
        return self.transport != "udp"

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.transport}:{host}:{self.port}"
