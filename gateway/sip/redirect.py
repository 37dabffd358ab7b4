"""Where a message goes that is redirected: targets by q, each once, and none that the configuration does not know (SIP-103, MSG-48).

A redirect changes the Request-URI; it never makes the gateway send to a place that the configuration does not name, because whoever is
written to, and whoever answers for him, could otherwise have it send what he likes where he likes. So a Contact is followed only to

- a domain of `[sip] domains`, or one that has a `[[route]]` of its own: over the next hop of that domain, as any message for it; or
- a next hop of the configuration itself, by its host and port: over that next hop.

No socket and no clock: how long it took is handed in. RFC 3261 sections 8.1.3.4, 19.1.5 and 21.3.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import NamedTuple

from gateway.core.domain import ascii_domain
from gateway.core.errors import SyntaxFault
from gateway.core.outcome import Outcome, Verdict
from gateway.core.settings import Settings
from gateway.core.uri import DEFAULT_PORT, Uri

from .headers import NameAddr
from .message import Response
from .route import TRANSPORTS, gate_of

MOST_PLACES = 5
"""How many places one message is redirected to (MSG-48) in one round of tries; when that ends with "for now", the next begins anew."""
TOO_LONG = Outcome(Verdict.LATER, 408, "Following the redirects took too long")
_USE_PROXY, _ALTERNATIVE_SERVICE = 305, 380
_QVALUE = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")
_NEVER_COPIED = ("method",)


class Place(NamedTuple):
    """Where a message can be sent. gate: the next hop. proxied: the gate is one that a 305 has named."""

    request_uri: Uri
    gate: str
    proxied: bool = False


@dataclass(frozen=True, slots=True)
class Trail:
    """One message's way: the places where it has been, `here` last, and those still ahead, best first, each with its q.

    left: seconds in which it may still go on to a place; 64*T1 at first. What begins in time has its own timer F to end in, so one round
    holds the lane of the message for twice that. RFC 3261 has no such limit for a client (timer C is for an INVITE, which may ring for
    minutes); 64*T1 is what a proxy has that follows redirects for its client, whose transaction ends then (RFC 4321 section 1.3).
    later: the first answer on the way that said "for now", which outweighs a final one elsewhere.
    """

    been: tuple[Place, ...]
    left: float
    ahead: tuple[tuple[float, Place], ...] = ()
    later: Outcome | None = None

    @property
    def here(self) -> Place:
        """Where it is now."""
        return self.been[-1]

    def after(self, outcome: Outcome, took: float = 0.0) -> Trail | Outcome:
        """The trail one place on, or what is told in the end. took: the seconds that the message was here.

        It ends where the message may have arrived, because it is to arrive once, and with a 6xx (SIP-107). When there are places left and
        no time, all of it is tried again later.
        """
        if outcome.verdict in (Verdict.DELIVERED, Verdict.MERGED, Verdict.UNKNOWN) or outcome.status >= 600:
            return outcome
        later = self.later or (outcome if outcome.verdict is Verdict.LATER else None)
        if not self.ahead:
            return later or outcome
        left = self.left - took
        if left <= 0:
            return later or TOO_LONG
        (_, place), *rest = self.ahead
        return Trail((*self.been, place), left, tuple(rest), later)


class Redirects:
    """Which redirects are followed, from the configuration. numbers: the SIP domain of who is reached by a tel: URI, which names none."""

    def __init__(self, settings: Settings, numbers: str = "") -> None:
        self._settings, self._numbers = settings, numbers
        served = {*settings.sip.domains, *(rule.domain for rule in settings.routes)} - {"*", *settings.xmpp.domains}
        self._gates = {domain: gate_of(settings.route(domain), domain) for domain in served}
        self._hops: dict[tuple[str, int], str] = {}
        for hop in filter(None, (settings.sip.outbound, *(rule.next_hop for rule in settings.routes))):
            # Where two differ in their transport alone it is the first, `[sip] outbound` before the routes.
            self._hops.setdefault(_authority(Uri.parse(hop)), hop)

    def extended(self, trail: Trail, response: Response) -> Trail:
        """The trail plus the Contacts of this 3xx that may be followed. Unchanged when the route forbids redirects, and after 380."""
        here, status = trail.here, response.status
        if status == _ALTERNATIVE_SERVICE or not self._settings.route(here.request_uri.host or self._numbers).redirects:
            return trail
        room = MOST_PLACES + 1 - len(trail.been)
        found: list[tuple[float, Place]] = []
        for contact in sorted(response.contact, key=preference, reverse=True):
            if len(found) == room:
                break
            place = self._proxy(contact.uri, trail) if status == _USE_PROXY else self._place(contact.uri)
            if place and not any(_is_same(place, other) for other in (*trail.been, *(each for _, each in (*trail.ahead, *found)))):
                found.append((preference(contact), place))
                if place.proxied:
                    break
        ahead = sorted((*trail.ahead, *found), key=lambda each: each[0], reverse=True)
        return replace(trail, ahead=tuple(ahead[:room]))

    def _place(self, contact: Uri) -> Place | None:
        """Where a Contact sends the message; None where we may not follow. A sips: is never followed: there is no TLS yet."""
        gate = self._gate(contact)
        return Place(request_uri(contact), gate) if gate else None

    def _proxy(self, contact: Uri, trail: Trail) -> Place | None:
        """The same Request-URI via the proxy that a 305 names, once on a trail.

        The URI of a proxy is an element of a route set and no target, so it never becomes the Request-URI (RFC 3261 sections 8.1.2 and
        21.3.4, against the general rule of 8.1.3.4). Whether a Route names it is for the operator to say, with the `lr` of the hop that it
        is here, and the Route is then that hop as he wrote it: a 305 comes from whoever is written to, and what he adds to the URI, a user
        or parameters, could steer the proxy.
        """
        gate = self._gate(contact)
        return Place(trail.here.request_uri, gate, proxied=True) if gate and not any(place.proxied for place in trail.been) else None

    def _gate(self, contact: Uri) -> str:
        if contact.scheme != "sip" or contact.transport not in ("", *TRANSPORTS):
            return ""
        maddr = contact.param("maddr")
        gate = self._gate_of(contact.host, contact.port)
        try:
            # It outweighs the host (RFC 3261 section 19.1.1), for whoever is next on the way too.
            return self._gate_of(ascii_domain(maddr), contact.port) if gate and maddr is not None else gate
        except SyntaxFault:
            return ""

    def _gate_of(self, host: str, port: int | None) -> str:
        return self._gates.get(host) or self._hops.get((host, port or DEFAULT_PORT), "")


def request_uri(contact: Uri) -> Uri:
    """A sip: Contact as a Request-URI: without headers and `method` (SIP-56, RFC 3261 sections 8.1.3.4 and 19.1.5).

    >>> request_uri(Uri.parse("sip:r@h.example;method=INVITE;user=phone?Subject=x")).text
    'sip:r@h.example;user=phone'
    """
    password = f":{contact.password}" if contact.password is not None else ""
    user = f"{contact.user}{password}@" if contact.user is not None else ""
    port = f":{contact.port}" if contact.port else ""
    params = [f";{name}" if value is None else f";{name}={value}" for name, value in contact.params if name not in _NEVER_COPIED]
    return Uri.parse(f"{contact.scheme}:{user}{contact.host}{port}{''.join(params)}")


def preference(contact: NameAddr) -> float:
    """The q of a Contact; 1 where it has none that can be read (RFC 3261 section 20.10)."""
    q = contact.params.get("q", "")
    return float(q) if _QVALUE.fullmatch(q) else 1.0


def _authority(uri: Uri) -> tuple[str, int]:
    return uri.host, uri.port or DEFAULT_PORT


def _is_same(place: Place, other: Place) -> bool:
    """Whether a message would be sent the same way twice; the way over a proxy is another one."""
    return place.request_uri.equals(other.request_uri) and (not place.proxied or place.gate == other.gate)
