"""Where a next hop is: transport, address, port (RFC 3263). Names are asked for off the loop, and the answers are remembered."""

from __future__ import annotations

import asyncio
import math
import secrets
import socket
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from itertools import accumulate

import dns.asyncresolver
import dns.exception
import dns.rdatatype
from dns.rdtypes.IN.SRV import SRV

from gateway.core.uri import DEFAULT_PORT, Uri

from .route import TRANSPORTS, transport_of

_LOOKUP_SECONDS = 5.0
_LEAST_TTL, _MOST_TTL, _ADDRESS_TTL = 5.0, 3600.0, 60.0
_MOST_REMEMBERED = 1024


@dataclass(frozen=True, slots=True)
class Target:
    """One address to try."""

    transport: str
    host: str
    port: int


class NotFoundError(Exception):
    """DNS has no address for this name (final) or could not be asked (temporary)."""

    def __init__(self, reason: str, *, temporary: bool) -> None:
        super().__init__(reason)
        self.temporary = temporary


def numeric(uri: Uri, ours: Collection[str] = TRANSPORTS) -> Target | None:
    """The target of a hop that names an address; None for one that names a host (RFC 3263 section 4). ours: as in `transport_of`."""
    host = uri.param("maddr") or uri.host
    last = host.rpartition(".")[2]
    if not host.startswith("[") and not last.isdigit():
        return None
    host = host.strip("[]")
    with suppress(ValueError):
        host = str(ip_address(host))  # as the system spells it in what it tells of the connection
    return Target(transport_of(uri, ours), host, uri.port or DEFAULT_PORT)


def in_order(records: Iterable[SRV], chance: Callable[[int], int]) -> list[SRV]:
    """By priority; of equals each comes next with the chance that its weight is of all weights left (RFC 2782).

    chance(n): any of 0 to n-1. Those of no weight stand first, so they come first only where 0 is drawn.
    """
    left = sorted(records, key=lambda each: (each.priority, each.weight))
    found = []
    while left:
        sums = list(accumulate(each.weight for each in left if each.priority == left[0].priority))
        drawn = chance(sums[-1] + 1)
        found.append(left.pop(next(at for at, total in enumerate(sums) if total >= drawn)))
    return found


class Locator:
    """Asks DNS. One instance for all hops. ways: (transport, whether it is IPv6) of each of our listeners; no target is of another kind.

    chance: as `in_order` takes it.
    """

    def __init__(self, ways: Collection[tuple[str, bool]], chance: Callable[[int], int] = secrets.randbelow) -> None:
        self._ways, self._chance = ways, chance
        self._ours = {transport for transport, _ in ways}
        self._known: dict[str, tuple[float, tuple[Target, ...]]] = {}
        try:
            self._resolver = dns.asyncresolver.Resolver()
        except dns.resolver.NoResolverConfiguration:
            # A machine without name servers still has hops that name an address.
            self._resolver = dns.asyncresolver.Resolver(configure=False)
        self._resolver.lifetime = _LOOKUP_SECONDS

    def known(self, uri: Uri) -> tuple[Target, ...]:
        """The targets of a hop, where nobody has to be asked; else empty."""
        until, targets = self._known.get(uri.text, (0.0, ()))
        if until > time.monotonic():
            return targets
        if not uri.needs_tls and (found := numeric(uri, self._ours)) and self._is_spoken(found.transport, found.host):
            return self._keep(uri, math.inf, (found,))
        return ()

    def _is_spoken(self, transport: str, address: str) -> bool:
        return (transport, ":" in address) in self._ways

    def _keep(self, uri: Uri, seconds: float, targets: tuple[Target, ...]) -> tuple[Target, ...]:
        if len(self._known) >= _MOST_REMEMBERED:
            self._known.clear()
        self._known[uri.text] = (time.monotonic() + seconds, targets)
        return targets

    async def locate(self, uri: Uri) -> tuple[Target, ...]:
        """The targets of a hop in the order in which they are to be tried. Raises NotFoundError."""
        if found := self.known(uri):
            return found
        ttl, targets = await self._ask(uri)
        return self._keep(uri, min(max(ttl, _LEAST_TTL), _MOST_TTL), targets)

    async def _ask(self, uri: Uri) -> tuple[float, tuple[Target, ...]]:
        if uri.needs_tls:
            # There is none yet, and nothing else may stand in for it.
            raise NotFoundError(f"{uri.text} needs TLS, which there is not yet", temporary=False)
        host, transport = uri.param("maddr") or uri.host, transport_of(uri, self._ours)
        if numeric(uri, self._ours):
            raise _unspoken(host, transport)
        faults: list[NotFoundError] = []
        if uri.port is None:
            for each in (transport,) if uri.transport in TRANSPORTS else TRANSPORTS:
                if each in self._ours and (found := await self._services(host, each, faults)):
                    return found
        if faults:
            # One that may pass, if there is one: nothing is final then.
            raise max(faults, key=lambda fault: fault.temporary)
        return _ADDRESS_TTL, await self._addresses(host, uri.port or DEFAULT_PORT, transport)

    async def _services(self, host: str, transport: str, faults: list[NotFoundError]) -> tuple[float, tuple[Target, ...]] | None:
        """What SRV says of a domain (RFC 2782); None when that is nothing, or nothing that can be used: why not is added to faults.

        A target without an address is passed over; what is found in spite of any fault is asked for again in a minute. Raises NotFoundError
        where DNS does not answer.
        """
        try:
            answer = await self._resolver.resolve(f"_sip._{transport}.{host}", dns.rdatatype.SRV)
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return None
        except dns.exception.DNSException as error:
            raise NotFoundError(f"DNS does not answer for {host}: {error}", temporary=True) from None
        records = [each for each in answer if isinstance(each, SRV) and each.target.to_text() != "."]
        if not records:
            faults.append(NotFoundError(f"{host} offers no SIP service", temporary=False))
        targets: list[Target] = []
        for each in in_order(records, self._chance):
            try:
                targets += await self._addresses(each.target.to_text(omit_final_dot=True), each.port, transport)
            except NotFoundError as fault:
                faults.append(fault)
        ttl = float(answer.rrset.ttl if answer.rrset else _ADDRESS_TTL)
        return (min(ttl, _ADDRESS_TTL) if faults else ttl, tuple(targets)) if targets else None

    async def _addresses(self, host: str, port: int, transport: str) -> tuple[Target, ...]:
        """By the system's resolver, which knows the hosts file too; it runs in a thread. What we cannot speak to is not asked for."""
        families = {is_ipv6 for ours, is_ipv6 in self._ways if ours == transport}
        family = socket.AF_UNSPEC if len(families) != 1 else socket.AF_INET6 if True in families else socket.AF_INET
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, None, family=family, type=socket.SOCK_DGRAM)
        except socket.gaierror as error:
            raise NotFoundError(f"no address for {host}: {error.strerror}", temporary=error.errno == socket.EAI_AGAIN) from None
        except UnicodeError:
            raise NotFoundError(f"{host} cannot be asked for", temporary=False) from None
        return tuple(Target(transport, address, port) for address in dict.fromkeys(str(each[4][0]) for each in found))


def _unspoken(host: str, transport: str) -> NotFoundError:
    return NotFoundError(f"{host} has no address that a {transport} listener of ours can speak to", temporary=False)
