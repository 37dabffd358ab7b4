"""Where a message for a SIP domain goes, as far as the configuration tells: its next hop, and the transport (RFC 3263 section 4.1)."""

from __future__ import annotations

from collections.abc import Collection

from gateway.core.settings import RouteRule
from gateway.core.uri import Uri

TRANSPORTS = ("udp", "tcp")
"""What we can send over; the first that we have is the one for a hop that names none."""
DEFAULT_PORT = 5060


def gate_of(rule: RouteRule, domain: str) -> str:
    """The next hop of a route: the one that it names, else the servers of the domain itself (RFC 3263)."""
    return rule.next_hop or f"sip:{domain}"


def transport_of(hop: Uri, ours: Collection[str]) -> str:
    """The transport to a hop of which DNS is not asked. ours: those that we listen on, of which at least one is in TRANSPORTS.

    >>> transport_of(Uri.parse("sip:h;transport=tcp"), ("udp", "tcp")), transport_of(Uri.parse("sip:h"), ("tcp",))
    ('tcp', 'tcp')
    """
    available = [transport for transport in TRANSPORTS if transport in ours]
    return hop.transport if hop.transport in available else available[0]
