"""The TOML configuration as frozen, typed settings. Nothing is guessed: what is not known, missing or out of range is a ConfigFault.

    gateway.toml:sip.lisen: unknown key; did you mean listen?

Relative paths are relative to the folder of the configuration file. The value of a secret is in no message and in no repr.
"""

from __future__ import annotations

import os
import stat
import sys
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from gateway.core.domain import unicode_domain
from gateway.core.errors import ConfigFault
from gateway.core.numbers import check_numbers
from gateway.core.pairs import check_pairs
from gateway.core.schema import Document, Schema, parse_toml, read_rows, read_table, refuse_unknown
from gateway.core.settings import (
    AdminSettings,
    DigestSettings,
    Limits,
    PeerRule,
    RouteRule,
    Settings,
    SipSettings,
    SmimeSettings,
    XmppSettings,
)
from gateway.core.tables import Tables, read_tables
from gateway.core.uri import Uri

from . import keys

CONTROL_SOCKET = "control.sock"
_MOST_SOCKET_PATH_OCTETS = 107  # sun_path of unix(7) has 108, with a NUL at the end
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def load(path: Path) -> tuple[Settings, Tables]:
    """The configuration in `path` ("-" is standard input) and the tables that it names. Raises ConfigFault."""
    return build(read(path), folder_of(path))


def read(path: Path) -> Document:
    """The TOML as it stands, before anything is known of its keys. Raises ConfigFault."""
    if str(path) == "-":
        return parse_toml("-", sys.stdin.buffer.read())
    try:
        return parse_toml(str(path), path.read_bytes())
    except OSError as error:
        raise ConfigFault(str(path), "", f"cannot be read: {error.strerror}") from None


def folder_of(path: Path) -> Path:
    """What relative paths in this configuration file are relative to."""
    return Path.cwd() if str(path) == "-" else path.absolute().parent


def build(document: Document, folder: Path) -> tuple[Settings, Tables]:
    """Typed settings, and the tables that they name. Raises ConfigFault."""
    settings = _settings(document, folder)
    try:
        tables = read_tables(settings.mappings)
    except ConfigFault as fault:
        if settings.mappings is None or fault.file != str(settings.mappings):
            raise
        raise ConfigFault(document.file, "gateway.mappings", f"{fault.file} {fault.reason}") from None
    check_pairs(tables.users, tables.domains, settings)
    check_numbers(tables.numbers, tables.users, settings)
    return settings, tables


# -- the sections ------------------------------------------------------------------------------------------------------
def _settings(document: Document, folder: Path) -> Settings:
    refuse_unknown(document.file, "", document.content, keys.SECTIONS)
    gateway = _section(document, "gateway", keys.GATEWAY)
    data_dir = _data_dir(document, _placed(folder, gateway["data_dir"]))
    sip = SipSettings(**_section(document, "sip", keys.SIP))
    xmpp = _xmpp(document, folder)
    for index, name in enumerate(xmpp.domains):
        if name in sip.domains:
            raise ConfigFault(document.file, f"xmpp.domains[{index}]", f"{name} is in [sip] domains too; its people live on one side")
    if xmpp.upload in map(unicode_domain, sip.domains):
        raise ConfigFault(document.file, "xmpp.upload", f"{xmpp.upload} is in [sip] domains, so it is the gateway itself")
    routes = _routes(document, sip.outbound)
    _refuse_unspoken(document, sip, routes)
    return Settings(
        file=document.file,
        name=gateway["name"],
        data_dir=data_dir,
        mappings=_placed(folder, gateway["mappings"]) if gateway["mappings"] else None,
        sip=sip,
        xmpp=xmpp,
        store_url=_store_url(document, folder, data_dir),
        limits=Limits(**_section(document, "limits", keys.LIMITS)),
        peers=_peers(document),
        routes=routes,
        admin=_admin(document, folder),
        digest=_digest(document, folder),
        smime=_smime(document, folder, (*sip.domains, *xmpp.domains)),
    )


def _section(document: Document, name: str, schema: Schema) -> dict[str, Any]:
    return read_table(document.file, name, document.content.get(name, {}), schema)


def _placed(folder: Path, path: Path) -> Path:
    return Path(os.path.normpath(folder / path))


def _data_dir(document: Document, data_dir: Path) -> Path:
    octets = len(os.fsencode(data_dir / CONTROL_SOCKET))
    if octets > _MOST_SOCKET_PATH_OCTETS:
        raise ConfigFault(
            document.file,
            "gateway.data_dir",
            f"too long: the path of {CONTROL_SOCKET} in it has {octets} octets, a Unix socket takes {_MOST_SOCKET_PATH_OCTETS}",
        )
    return data_dir


def _xmpp(document: Document, folder: Path) -> XmppSettings:
    values = _section(document, "xmpp", keys.XMPP)
    host, port = values["server"]
    return XmppSettings(
        host=host,
        port=port,
        secret=_secret(document, folder, values),
        domains=values["domains"],
        pager_type=values["pager_type"],
        upload=unicode_domain(values["upload"]) if values["upload"] else "",
        inline_secret=values["secret"] is not None,
    )


def _secret(document: Document, folder: Path, values: dict[str, Any]) -> str:
    """The secret of the component link, from the one place that names it. No message says more than the key."""
    given = [key for key in ("secret", "secret_file", "secret_env") if values[key] is not None]
    if len(given) != 1:
        reason = f"{' and '.join(given)} exclude each other" if given else "is missing"
        raise ConfigFault(document.file, "xmpp.secret", f"{reason}; write one of secret, secret_file and secret_env")
    if given == ["secret"]:
        return str(values["secret"])
    if given == ["secret_env"]:
        found = os.environ.get(values["secret_env"], "")
        if not found:
            raise ConfigFault(document.file, "xmpp.secret_env", "the environment variable is not set, or empty")
        return found
    return _secret_file(document, "xmpp.secret_file", _placed(folder, values["secret_file"]))


def _secret_file(document: Document, key: str, path: Path) -> str:
    try:
        with path.open("rb") as file:
            _refuse_open_file(document, key, os.fstat(file.fileno()))
            secret = file.read().decode("utf-8").removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise ConfigFault(document.file, key, f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigFault(document.file, key, "the file is not UTF-8") from None
    if not secret:
        raise ConfigFault(document.file, key, "the file is empty")
    return secret


def _refuse_open_file(document: Document, key: str, found: os.stat_result) -> None:
    if found.st_mode & _OTHERS:
        raise ConfigFault(document.file, key, f"the file is open to others (mode {found.st_mode & 0o777:03o}); chmod 600 (SEC-45)")


def _private_path(document: Document, key: str, folder: Path, path: Path | None) -> Path | None:
    """The path of a file with secrets, which may not be there yet; one that others can read is refused (SEC-45)."""
    if path is None:
        return None
    placed = _placed(folder, path)
    with suppress(OSError):
        _refuse_open_file(document, key, placed.stat())
    return placed


def _peers(document: Document) -> tuple[PeerRule, ...]:
    rules = tuple(PeerRule(**row) for row in read_rows(document, "peer", keys.PEER))
    for index, rule in enumerate(rules):
        place = f"peer[{index}]"
        if (rule.match is None) != bool(rule.tls):
            raise ConfigFault(document.file, place, 'needs either match = "10.1.0.0/16" or tls = "proxy.example.net"')
        for first, other in enumerate(rules[:index]):
            if (rule.match, rule.tls) == (other.match, other.tls):
                raise ConfigFault(document.file, place, f"{rule.match or rule.tls} is already there, as peer[{first}]")
    return rules


def _routes(document: Document, outbound: str) -> tuple[RouteRule, ...]:
    rows = read_rows(document, "route", keys.ROUTE)
    domains = [row["domain"] for row in rows]
    for index, name in enumerate(domains):
        if (first := domains.index(name)) < index:
            raise ConfigFault(document.file, f"route[{index}].domain", f"{name} is already there, as route[{first}]")
    return tuple(RouteRule(**row | {"next_hop": outbound if row["next_hop"] is None else row["next_hop"]}) for row in rows)


def _refuse_unspoken(document: Document, sip: SipSettings, routes: tuple[RouteRule, ...]) -> None:
    """Refuse a next hop over a transport, or an IP version of it, that we do not listen on: there the answers would find nobody.

    RFC 3261 section 18.1.1. What a name stands for is looked up later; addresses of the other version are passed over then.
    """
    ours = [transport for transport in ("udp", "tcp") if transport in {listener.transport for listener in sip.listen}]
    if not ours:
        raise ConfigFault(document.file, "sip.listen", "needs an entry with udp: or tcp:, for there is no TLS yet")
    for key, hop in (("sip.outbound", sip.outbound), *((f"route[{at}].next_hop", rule.next_hop) for at, rule in enumerate(routes))):
        uri = Uri.parse(hop) if hop else None
        if uri is None or uri.needs_tls:
            continue
        transport = uri.transport if uri.transport in ("udp", "tcp") else ours[0]
        if transport not in ours:
            raise ConfigFault(document.file, key, f"is over {transport}, but [sip] listen has no {transport}: entry")
        version = _ip_version(uri.param("maddr") or uri.host)
        if version and (transport, version == 6) not in sip.ways:
            reason = f"is an IPv{version} address, but [sip] listen has no {transport}: entry for IPv{version}"
            raise ConfigFault(document.file, key, reason)


def _ip_version(host: str) -> int:
    """4 or 6 for an address; 0 for a name."""
    try:
        return ip_address(host.strip("[]")).version
    except ValueError:
        return 0


def _admin(document: Document, folder: Path) -> AdminSettings | None:
    if "admin" not in document.content:
        return None
    values = _section(document, "admin", keys.ADMIN)
    return AdminSettings(values["listen"], _private_path(document, "admin.token_file", folder, values["token_file"]))


def _digest(document: Document, folder: Path) -> DigestSettings | None:
    if "digest" not in document.content:
        return None
    values = _section(document, "digest", keys.DIGEST)
    accounts = _private_path(document, "digest.accounts_file", folder, values["accounts_file"])
    return DigestSettings(values["realm"], accounts, values["algorithms"])


def _smime(document: Document, folder: Path, served: tuple[str, ...]) -> SmimeSettings:
    values = _section(document, "smime", keys.SMIME)
    for index, name in enumerate(values["require"]):
        if name not in served and unicode_domain(name) not in served:
            raise ConfigFault(document.file, f"smime.require[{index}]", f"{name} is neither in [sip] domains nor in [xmpp] domains")
    if values["anchors"] is None:
        for key, unset in (("require", values["certificates"] is None and values["require"]), ("crls", values["crls"])):
            if unset:
                raise ConfigFault(document.file, f"smime.{key}", "needs anchors: nothing can be checked without authorities")
    paths = {key: values[key] and _placed(folder, values[key]) for key in ("anchors", "certificates", "crls", "keys")}
    return SmimeSettings(**values | paths)


def _store_url(document: Document, folder: Path, data_dir: Path) -> str:
    """An SQLAlchemy URL with an absolute path. A URL may hold a password, so it is in no message."""
    url = _section(document, "store", keys.STORE)["url"]
    if url.startswith("postgres"):
        raise ConfigFault(document.file, "store.url", 'PostgreSQL is not supported yet; write url = "sqlite:///var/outbox.db"')
    scheme, _, name = url.partition(":///")
    if url and (scheme != "sqlite" or not name or name == ":memory:"):
        raise ConfigFault(document.file, "store.url", 'must name a file; write url = "sqlite:///var/outbox.db"')
    path = _placed(folder, Path(name)) if url else data_dir / "outbox.db"
    if "?" in str(path) or "#" in str(path):
        raise ConfigFault(document.file, "store.url", "the path of the store must not hold ? or #")
    return f"sqlite:///{path}"
