"""Every key of the configuration: what it holds, between which bounds, and what it is when it is not set."""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path

from gateway.core.errors import SyntaxFault
from gateway.core.schema import Key, Misfit, Schema, domain, flag, line, list_of, number, one_of, shown, text, whole, word
from gateway.core.settings import Listener
from gateway.core.uri import Uri

TRANSPORTS = ("udp", "tcp", "tls")
_MOST_PORT = 65_535
_HOST_PORT = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:]+):([0-9]{1,5})")


def _host_port(value: object) -> tuple[str, int]:
    """`host:port`; the host in normal form, an IPv6 address without its brackets."""
    found = _HOST_PORT.fullmatch(line(value))
    if not found or int(found[2]) > _MOST_PORT:
        raise Misfit(f"{shown(value)} is not of the form host:port")
    return domain(found[1]).strip("[]"), int(found[2])


def _listener(value: object) -> Listener:
    transport, _, rest = line(value).partition(":")
    if transport not in TRANSPORTS:
        raise Misfit(f"{shown(value)} does not begin with udp:, tcp: or tls:")
    try:
        host, port = _host_port(rest)
        return Listener(transport, str(ip_address(host)), port)
    except (Misfit, ValueError):
        raise Misfit(f"{shown(value)} is not of the form {transport}:ADDRESS:PORT, as in {transport}:127.0.0.1:5060") from None


def _admin_listener(value: object) -> str:
    _host_port(value)
    return str(value)


def _network(value: object) -> IPv4Network | IPv6Network:
    try:
        return ip_network(line(value))
    except ValueError:
        pass
    try:
        meant = ip_network(str(value), strict=False)
    except ValueError:
        raise Misfit(f"{shown(value)} is no network; write one as 10.1.0.0/16") from None
    raise Misfit(f"{shown(value)} has bits behind the prefix; did you mean {meant}?")


def _next_hop(value: object) -> str:
    """A SIP URI; empty for the way of RFC 3263."""
    if value == "":
        return ""
    try:
        uri = Uri.parse(line(value))
    except SyntaxFault as fault:
        raise Misfit(f"{shown(value)}: {fault}; write one as sip:127.0.0.1:5080") from None
    if uri.scheme not in ("sip", "sips"):
        raise Misfit(f"{shown(value)} is no sip: or sips: URI; write one as sip:127.0.0.1:5080")
    if uri.transport not in ("", *TRANSPORTS):
        raise Misfit(f"{shown(value)}: transport must be udp, tcp or tls")
    if uri.scheme == "sips" and uri.transport == "udp":
        raise Misfit(f"{shown(value)}: sips needs tls")
    if uri.password is not None or uri.headers:
        raise Misfit("a next hop has neither password nor headers")
    return str(value)


def _server(value: object) -> tuple[str, int]:
    """(host, port) of the XMPP server; beyond this machine only with "tcp:", which says that a link in clear is wanted (SEC-44)."""
    plain = line(value).startswith("tcp:")
    host, port = _host_port(str(value).removeprefix("tcp:"))
    if not plain and not is_loopback(host):
        raise Misfit(f'{host} is not this machine, and the link is not encrypted; write "tcp:{value}" if that is safe (SEC-44)')
    return host, port


def is_loopback(host: str) -> bool:
    """Whether a host (an address without brackets, or a name) can only be this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _route_domain(value: object) -> str:
    return "*" if value == "*" else domain(value)


def _path(value: object) -> Path:
    if "\0" in word(value):
        raise Misfit("must not hold NUL")
    return Path(str(value))


# -- the keys ----------------------------------------------------------------------------------------------------------
_DOMAINS = list_of(domain, 'domains = ["example.net"]')
_ALTERNATIVE = one_of("auto", "always", "never")

GATEWAY: Schema = {
    "name": Key(domain, example='name = "gw.example.net"'),
    "data_dir": Key(_path, Path("var")),
    "mappings": Key(_path, None),
}
SIP: Schema = {
    "listen": Key(list_of(_listener, 'listen = ["udp:127.0.0.1:5060"]'), example='listen = ["udp:127.0.0.1:5060"]'),
    "domains": Key(_DOMAINS, example='domains = ["example.net"]'),
    "outbound": Key(_next_hop, ""),
    "trusted": Key(list_of(_network), ()),
    "accepted_status": Key(one_of(202, 200), 202),
}
XMPP: Schema = {
    "server": Key(_server, example='server = "127.0.0.1:5347"'),
    "secret": Key(word, None),
    "secret_file": Key(_path, None),
    "secret_env": Key(word, None),
    "domains": Key(_DOMAINS, example='domains = ["example.com"]'),
    "pager_type": Key(one_of("", "chat", "normal"), ""),
    "upload": Key(domain, ""),
}
ADMIN: Schema = {
    "listen": Key(_admin_listener, ""),
    "token_file": Key(_path, None),
}
PEER: Schema = {
    "match": Key(_network, None),
    "tls": Key(domain, ""),
    "domains": Key(_DOMAINS, example='domains = ["example.net"]'),
    "store_and_forward": Key(flag, False),
}
ROUTE: Schema = {
    "domain": Key(_route_domain, example='domain = "ims.example.net"'),
    "next_hop": Key(_next_hop, None),
    "large_messages": Key(flag, False),
    "store": Key(flag, True),
    "failure_report": Key(one_of("text", "sipfrag", "none"), "text"),
    "cpim": Key(_ALTERNATIVE, "auto"),
    "imdn": Key(_ALTERNATIVE, "auto"),
    "typing": Key(_ALTERNATIVE, "auto"),
    "html": Key(flag, False),
    "decode": Key(flag, False),
    "gr": Key(flag, True),
    "assert_identity": Key(flag, False),
    "receipt_on_200": Key(flag, False),
    "redirects": Key(flag, True),
    "sips": Key(flag, False),
    "smime": Key(_ALTERNATIVE, "auto"),
    "smime_form": Key(one_of("opaque", "clear"), "opaque"),
    "smime_type": Key(one_of("rfc8551", "rfc8591"), "rfc8551"),
    "smime_carriage": Key(list_of(one_of("A", "B", "B0", "C", "D", "E"), 'smime_carriage = ["A", "B", "E"]'), ("A", "B", "E")),
    "smime_extract": Key(flag, False),
}
DIGEST: Schema = {
    "realm": Key(domain, ""),
    "accounts_file": Key(_path, None),
    "algorithms": Key(list_of(one_of("SHA-256", "SHA-512-256", "MD5"), 'algorithms = ["SHA-256"]'), ("SHA-256",)),
}
SMIME: Schema = {
    "anchors": Key(_path, None),
    "certificates": Key(_path, None),
    "crls": Key(_path, None),
    "keys": Key(_path, None),
    "body": Key(flag, True),
    "verdict": Key(flag, False),
    "require": Key(list_of(domain), ()),
    "rfc822": Key(flag, False),
}
LIMITS: Schema = {
    "queue_messages": Key(whole(1, 100_000_000), 100_000),
    "queue_octets": Key(whole(1_048_576, 1 << 50), 1_073_741_824),
    "queue_age_hours": Key(number(0, 8760), 72),
    "per_recipient": Key(whole(1, 100_000_000), 1000),
    "stale_date": Key(one_of("refuse", "mark"), "refuse"),
}
STORE: Schema = {
    "url": Key(text, ""),
}
SECTIONS = ("gateway", "sip", "xmpp", "admin", "peer", "route", "digest", "smime", "limits", "store")
