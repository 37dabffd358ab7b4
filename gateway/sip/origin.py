"""Which of our listeners a request leaves from: the one whose address reaches its next hop, as the kernel says (TRN-01)."""

from __future__ import annotations

import socket
from contextlib import suppress

from gateway.core.domain import is_everywhere

_REMEMBER_SECONDS = 60.0
_MOST_REMEMBERED = 1024
_ANY_PORT = 5060


class Origins:
    """All listeners, each as (transport, "127.0.0.1:5060"); of several that would do, one that was added before."""

    def __init__(self) -> None:
        self._listeners: dict[tuple[str, bool], list[str]] = {}
        self._known: dict[tuple[str, str], tuple[float, str]] = {}

    def add(self, transport: str, local: str) -> None:
        """Take one more."""
        self._listeners.setdefault((transport, local.startswith("[")), []).append(local)

    def of(self, transport: str, host: str, now: float) -> str:
        """The listener for requests to this address; empty where none is of its family. now: seconds of one steady clock.

        With one there is no choice, and nothing is asked.
        """
        found = self._listeners.get((transport, ":" in host), [])
        if len(found) < 2:
            return found[0] if found else ""
        until, local = self._known.get((transport, host), (0.0, ""))
        if until <= now:
            if len(self._known) >= _MOST_REMEMBERED:
                self._known.clear()
            local = _best(found, host)
            self._known[transport, host] = now + _REMEMBER_SECONDS, local
        return local


def _best(listeners: list[str], host: str) -> str:
    """The one with the source address of the kernel's own choice; else one on all addresses; else the first that can send there at all."""
    own = _source(host)
    ranked = sorted(listeners, key=lambda local: (_address(local) != own, not is_everywhere(_address(local))))
    return next((local for local in ranked if _source(host, _address(local))), listeners[0])


def _address(local: str) -> str:
    return local.rpartition(":")[0].strip("[]")


def _source(host: str, bound: str = "") -> str:
    """The address that datagrams to a host have; empty where none can be sent. Nothing is sent to find out."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as probe, suppress(OSError):
        if bound:
            probe.bind((bound, 0))
        probe.connect((host, _ANY_PORT))
        return str(probe.getsockname()[0])
    return ""
