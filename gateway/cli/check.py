"""stoxgate check: is this configuration good?"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import click

from gateway.config import build, hops, read, unbuilt, warnings
from gateway.config.reader import folder_of
from gateway.core.errors import ConfigFault
from gateway.core.settings import Settings
from gateway.core.tables import Tables
from gateway.core.uri import Uri
from gateway.translation import translation

from .common import REFUSED, config_option, end, guarded, json_option, put_json, readable
from .shown import visible

_CONNECT_SECONDS = 3.0


@click.command("check")
@config_option
@json_option
@click.option("--live", is_flag=True, help="Also resolve the names, and knock at the component port of the XMPP server.")
@guarded
def command(config: Path, as_json: bool, live: bool) -> None:
    """Validate the configuration and the mappings.

    Says which keys have no effect yet, and what an operator should know before going on line.

    \b
    Examples:
      stoxgate check -c conf/gateway.toml
      stoxgate check -c conf/gateway.toml --live
    """
    try:
        readable(config)
        document = read(config)
        settings, tables = build(document, folder_of(config))
        security = translation(settings, tables, b"check").security
    except ConfigFault as fault:
        if as_json:
            problem = {"file": fault.file, "key": fault.key, "note": fault.reason}
            put_json({"file": str(config), "ok": False, "notes": [], "found": [], "problems": [problem]})
        raise
    notes = [{"key": key, "note": f"has no effect yet: {what}"} for key, what in unbuilt(document.content)]
    notes += [{"key": key, "note": note} for key, note in warnings(settings)]
    notes += [{"key": key, "note": note} for key, note in (security.warnings(time.time()) if security else ())]
    found, problems = _live(settings) if live else ([], [])
    if as_json:
        put_json({"file": str(config), "ok": not problems, "notes": notes, "found": found, "problems": problems})
    else:
        for each in (*notes, *found):
            click.echo(visible(f"{config}:{each['key']}: {each['note']}"))
        click.echo(visible(f"{config}: well formed; {_summary(settings, tables)}"))
    if problems:
        end("; ".join(f"{config}:{each['key']}: {each['note']}" for each in problems), REFUSED)


def _summary(settings: Settings, tables: Tables) -> str:
    pairs = f"{len(tables.users)} user pair(s), {len(tables.domains)} domain pair(s)"
    if tables.numbers.domain:
        pairs += f", numbers of {tables.numbers.domain} as {tables.numbers.uri}: URIs"
    files = f"; files go to {settings.xmpp.upload}" if settings.xmpp.upload else ""
    return f"SIP side {', '.join(settings.sip.domains)}; XMPP side {', '.join(settings.xmpp.domains)}; {pairs}{files}"


# -- live --------------------------------------------------------------------------------------------------------------
Finding = dict[str, str]


def _live(settings: Settings) -> tuple[list[Finding], list[Finding]]:
    """What answers, and what does not."""
    found, problems = asyncio.run(_resolved(settings))
    server = f"{settings.xmpp.host}:{settings.xmpp.port}"
    try:
        socket.create_connection((settings.xmpp.host, settings.xmpp.port), _CONNECT_SECONDS).close()
        found.append({"key": "xmpp.server", "note": f"{server} takes connections"})
    except OSError as error:
        problems.append({"key": "xmpp.server", "note": f"{server}: {error.strerror or error}"})
    return found, problems


async def _resolved(settings: Settings) -> tuple[list[Finding], list[Finding]]:
    """Every next hop, as the running gateway looks it up (RFC 3263)."""
    from gateway.sip.locate import Locator, NotFoundError

    locator, found, problems = Locator(settings.sip.ways), list[Finding](), list[Finding]()
    for key, hop in _hops(settings):
        try:
            targets = await locator.locate(Uri.parse(hop))
            listed = ", ".join(f"{target.transport} {target.host} port {target.port}" for target in targets)
            found.append({"key": key, "note": f"{hop} is {listed}"})
        except NotFoundError as fault:
            problems.append({"key": key, "note": f"{hop}: {fault}"})
    return found, problems


def _hops(settings: Settings) -> Iterator[tuple[str, str]]:
    """(key, SIP URI) of each place that requests are sent to; a domain without a next hop is looked up itself."""
    yield from hops(settings)
    for at, domain in enumerate(settings.sip.domains):
        if not settings.route(domain).next_hop:
            yield f"sip.domains[{at}]", f"sip:{domain}"
