"""What an operator should know about a configuration that is valid: keys that have no effect yet, and links that are not encrypted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from gateway.core.domain import is_everywhere
from gateway.core.settings import Listener, Settings
from gateway.core.uri import DEFAULT_PORT, Uri

from .keys import is_loopback

_EXAMPLE = "change-me"
Note = tuple[str, str]
"""(key, what to know): ("sip.listen[1]", "no TLS yet: nothing listens there")."""


def _always(_: object) -> bool:
    return True


def _is(wanted: object) -> Callable[[object], bool]:
    return lambda value: value == wanted


def _tls_listener(value: object) -> bool:
    return str(value).startswith("tls:")


def _tls_hop(value: object) -> bool:
    return bool(value) and Uri.parse(str(value)).needs_tls


_UNBUILT: tuple[tuple[str, Callable[[object], bool], str], ...] = (
    ("admin.*", _always, "there is no HTTP port yet; the commands use the socket in data_dir"),
    ("digest.*", _always, "nobody is asked for a password yet"),
    ("sip.listen[]", _tls_listener, "there is no TLS yet; nothing listens there"),
    ("sip.outbound", _tls_hop, "there is no TLS yet; nothing can be sent there"),
    ("route.next_hop", _tls_hop, "there is no TLS yet; nothing can be sent there"),
    ("peer.tls", _always, "there is no TLS yet; no peer is known by its certificate"),
    ("route.assert_identity", _is(True), "no identity is asserted yet"),
    ("route.sips", _is(True), "sips: is refused everywhere yet"),
)
"""(key, which values of it have no effect, what happens instead). Whoever builds one of these deletes its line."""


def unbuilt(content: Mapping[str, Any]) -> tuple[Note, ...]:
    """The keys of a configuration (`read(path).content`, already found valid) that have no effect yet."""
    return tuple(
        (place, what)
        for names, place, value in _each_key(content)
        for known, applies, what in _UNBUILT
        if known in names and applies(value)
    )


def _each_key(content: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], str, object]]:
    """(names, place, value): (("route.html", "route.*"), "route[0].html", True); the entries of an array follow as "sip.listen[]"."""
    for section, found in content.items():
        for index, table in enumerate(found if isinstance(found, list) else [found]):
            place = f"{section}[{index}]" if isinstance(found, list) else section
            for name, value in table.items():
                yield (f"{section}.{name}", f"{section}.*"), f"{place}.{name}", value
                for at, item in enumerate(value if isinstance(value, list) else ()):
                    yield (f"{section}.{name}[]",), f"{place}.{name}[{at}]", item


def warnings(settings: Settings) -> tuple[Note, ...]:
    """What works and is hardly meant: links in clear beyond this machine (QOS-30, SEC-44), trust in all or in nobody (SEC-05), loops."""
    return tuple(_warnings(settings))


def _warnings(settings: Settings) -> Iterator[Note]:
    for index, listener in enumerate(settings.sip.listen):
        if listener.transport != "tls" and not is_loopback(listener.host):
            yield f"sip.listen[{index}]", f"{listener} is not encrypted; others on the way can read and change messages (QOS-30)"
    for index, network in enumerate(settings.sip.trusted):
        if network.prefixlen == 0:
            yield f"sip.trusted[{index}]", f"{network} trusts every peer to say who it is (SEC-05)"
    if not settings.sip.trusted and all(rule.match is None for rule in settings.peers):
        yield "sip.trusted", "is empty, and no [[peer]] has a match: whatever SIP sends is refused (403)"
    for key, hop in hops(settings):
        if any(_leads_to(Uri.parse(hop), each) for each in settings.sip.listen):
            yield key, f"{hop} is where the gateway itself listens: what is sent there comes back"
        if _is_plain(hop):
            yield key, f"{hop} is not encrypted; others on the way can read and change messages (QOS-30)"
    if settings.xmpp.secret == _EXAMPLE:
        yield "xmpp.secret", "is the one of the example, which everybody knows"
    if settings.xmpp.inline_secret and _is_open(settings.file):
        yield "xmpp.secret", f"{settings.file} can be read by others than its owner and group; chmod 640, or use secret_file"
    if not is_loopback(settings.xmpp.host):
        yield "xmpp.server", f"the link to {settings.xmpp.host} is not encrypted; the secret and all messages are in clear (SEC-44)"


def hops(settings: Settings) -> Iterator[tuple[str, str]]:
    """(key, SIP URI) of each next hop of the configuration."""
    if settings.sip.outbound:
        yield "sip.outbound", settings.sip.outbound
    for index, route in enumerate(settings.routes):
        if route.next_hop and route.next_hop != settings.sip.outbound:
            yield f"route[{index}].next_hop", route.next_hop


def _leads_to(hop: Uri, listener: Listener) -> bool:
    """Whether what is sent to this hop comes to this listener, as far as one can tell without asking anybody."""
    host = (hop.param("maddr") or hop.host).strip("[]")
    is_there = host == listener.host or (is_everywhere(listener.host) and is_loopback(host))
    return is_there and (hop.transport or "udp", hop.port or DEFAULT_PORT) == (listener.transport, listener.port)


def _is_open(file: str) -> bool:
    try:
        return bool(Path(file).stat().st_mode & 0o007)
    except OSError:
        return False


def _is_plain(next_hop: str) -> bool:
    return not _tls_hop(next_hop) and not is_loopback(Uri.parse(next_hop).host.strip("[]"))
