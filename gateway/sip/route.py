"""Where a message for a SIP domain goes, as far as the configuration tells: its next hop, Route, and transport (RFC 3263 section 4.1)."""

from __future__ import annotations

from collections.abc import Collection

from gateway.core.settings import RouteRule
from gateway.core.uri import Uri

TRANSPORTS = ("udp", "tcp")
"""What we can send over; the first that we have is the one for a hop that names none."""


def gate_of(rule: RouteRule, domain: str) -> str:
    """The next hop of a route: the one that it names, else the servers of the domain itself (RFC 3263)."""
    return rule.next_hop or f"sip:{domain}"


def route_of(hop: str) -> str:
    """The Route of a request that goes over a hop: that very URI where it has `lr`, a pre-loaded route set of one; else empty.

    Without `lr` a hop is where packets go to, and no element of a route set. So a strict router in a route set cannot be configured, and
    the Request-URI is always the target. RFC 3261 sections 8.1.2 and 12.2.1.1.

    >>> route_of("sip:h;transport=tcp;lr"), route_of("sip:h")
    ('sip:h;transport=tcp;lr', '')
    """
    return hop if Uri.parse(hop).param("lr") is not None else ""


def transport_of(hop: Uri, ours: Collection[str]) -> str:
    """The transport to a hop of which DNS is not asked. ours: those that we listen on, of which at least one is in TRANSPORTS.

    >>> transport_of(Uri.parse("sip:h;transport=tcp"), ("udp", "tcp")), transport_of(Uri.parse("sip:h"), ("tcp",))
    ('tcp', 'tcp')
    """
    available = [transport for transport in TRANSPORTS if transport in ours]
    return hop.transport if hop.transport in available else available[0]
