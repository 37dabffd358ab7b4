"""User pairs and domain pairs: who is called something else on the other side (mappings/users.toml, mappings/domains.toml)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .address import Address, SipAddress
from .domain import ascii_domain, unicode_domain
from .errors import ConfigFault, SyntaxFault
from .jid import Jid
from .schema import Document, Key, Misfit, Schema, domain, line, read_rows, refuse_unknown, row_places, shown
from .settings import Settings
from .uri import Uri


@dataclass(frozen=True, slots=True)
class Pair:
    """One person, or one domain (without user and localpart), and the name on either side. where: "users.toml:12"."""

    sip: SipAddress
    jid: Jid
    where: str


# -- reading -----------------------------------------------------------------------------------------------------------
def _sip_person(value: object) -> SipAddress:
    """`sip:user@host` and nothing more: an address of record has no port, parameters or password."""
    try:
        uri = Uri.parse(line(value))
        address = uri.address
    except SyntaxFault as fault:
        raise Misfit(f"{shown(value)}: {fault}") from None
    if uri.scheme != "sip" or not address.user or uri.password is not None or uri.port or uri.params or uri.headers:
        raise Misfit(f"{shown(value)} is not of the form sip:user@domain")
    return address


def _person(value: object) -> Jid:
    try:
        jid = Jid.parse(line(value))
    except SyntaxFault as fault:
        raise Misfit(f"{shown(value)}: {fault}") from None
    if not jid.local or jid.resource:
        raise Misfit(f"{shown(value)} is not of the form user@domain")
    return jid


USER: Schema = {
    "sip": Key(_sip_person, example='sip = "sip:alice@example.net"'),
    "xmpp": Key(_person, example='xmpp = "alice@example.com"'),
}
DOMAIN: Schema = {
    "sip": Key(lambda value: SipAddress("", domain(value)), example='sip = "ims.example.net"'),
    "xmpp": Key(lambda value: Jid("", unicode_domain(domain(value))), example='xmpp = "sip.example.com"'),
}


def read_pairs(document: Document, name: str, schema: Schema, *beside: str) -> tuple[Pair, ...]:
    """The pairs of a file, one to one on normal forms (SEC-17). beside: what else may stand in it. Raises ConfigFault."""
    refuse_unknown(document.file, "", document.content, (name, *beside))
    rows = read_rows(document, name, schema)
    pairs = tuple(Pair(row["sip"], row["xmpp"], where) for row, where in zip(rows, row_places(document, name), strict=True))
    seen: dict[Address, Pair] = {}
    for index, pair in enumerate(pairs):
        for key, address in (("sip", pair.sip.normal), ("xmpp", pair.jid)):
            first = seen.setdefault(address, pair)
            if first is not pair:
                raise ConfigFault(document.file, f"{name}[{index}].{key}", f"{address} is paired twice: {_line(first)} and {_line(pair)}")
    return pairs


# -- checks against the configuration ----------------------------------------------------------------------------------
def check_pairs(users: Sequence[Pair], domains: Sequence[Pair], settings: Settings) -> None:
    """What only the lists of domains can tell: where the people of each pair live. Raises ConfigFault."""
    served = {"sip": settings.sip.domains, "xmpp": settings.xmpp.domains}
    renamed = {ascii_domain(pair.jid.domain): pair.sip.domain for pair in domains}
    for index, pair in enumerate(domains):
        _home_side(f"domain[{index}]", pair, served)
        if pair.sip.domain in (*served["sip"], *served["xmpp"]) and pair.sip.domain != ascii_domain(pair.jid.domain):
            raise _pair_fault(f"domain[{index}].sip", pair, f"{pair.sip.domain} is served under its own name")
    # The SIP names of the domains whose people live on the XMPP side: nobody lives on the SIP side under one of them (SEC-01).
    foreign = {renamed.get(name, name) for name in served["xmpp"]}
    for index, pair in enumerate(users):
        if _home_side(f"user[{index}]", pair, served) == "sip" and pair.sip.domain in foreign:
            raise _pair_fault(f"user[{index}].sip", pair, f"{pair.jid} lives on the SIP side, {pair.sip.domain} on the XMPP side")


def _home_side(place: str, pair: Pair, served: Mapping[str, tuple[str, ...]]) -> str:
    name = ascii_domain(pair.jid.domain)
    for side, domains in served.items():
        if name in domains:
            return side
    raise _pair_fault(f"{place}.xmpp", pair, f"{name} is neither in [sip] domains nor in [xmpp] domains")


def _pair_fault(place: str, pair: Pair, reason: str) -> ConfigFault:
    return ConfigFault(pair.where.rpartition(":")[0], place, f"{reason} ({_line(pair)})")


def _line(pair: Pair) -> str:
    place = pair.where.rpartition(":")[2]
    return f"line {place}" if place.isdigit() else place
