"""How Via names our listeners (RFC 3261 section 18.1.1, SIP-61). Pure. A listener is written as its address and port: "127.0.0.1:5060"."""

from __future__ import annotations

from collections.abc import Iterable

from gateway.core.domain import ascii_domain, is_everywhere


def sent_by(local: str, name: str) -> str:
    """How Via names a listener: by its address, or by the name of the gateway where it listens on all addresses.

    >>> sent_by("[::1]:5060", "gw.example"), sent_by("0.0.0.0:5060", "gw.example")
    ('[::1]:5060', 'gw.example:5060')
    """
    host, _, port = local.rpartition(":")
    return f"{ascii_domain(name)}:{port}" if is_everywhere(host) else local


def longest_sent_by(listeners: Iterable[tuple[str, str]], name: str) -> dict[str, str]:
    """Transport -> the longest of its names: what is small enough with that in its Via is so with any. listeners: (transport, local).

    >>> longest_sent_by([("udp", "127.0.0.1:5060"), ("udp", "[2001:db8::1]:5060")], "gw.example")
    {'udp': '[2001:db8::1]:5060'}
    """
    names: dict[str, str] = {}
    for transport, local in listeners:
        names[transport] = max(names.get(transport, ""), sent_by(local, name), key=len)
    return names
