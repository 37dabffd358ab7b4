"""stoxgate check: is this configuration good?"""

from __future__ import annotations

import socket
from pathlib import Path

import click

from gateway.config import build, read, unbuilt, warnings
from gateway.config.reader import folder_of
from gateway.core.settings import Settings
from gateway.core.uri import Uri

from .common import REFUSED, config_option, end, guarded, json_option, put_json

_CONNECT_SECONDS = 3.0


@click.command("check")
@config_option
@json_option
@click.option("--live", is_flag=True, help="Also resolve the names and knock at the XMPP server's component port.")
@guarded
def command(config: Path, as_json: bool, live: bool) -> None:
    """Validate the configuration and the mappings.

    Says which keys have no effect yet, and what an operator should know before going on line.

    \b
    Example: stoxgate check -c conf/gateway.toml --live
    """
    document = read(config)
    settings, _ = build(document, folder_of(config))
    notes = [{"key": key, "note": f"has no effect yet: {what}"} for key, what in unbuilt(document.content)]
    notes += [{"key": key, "note": note} for key, note in warnings(settings)]
    problems = _live(settings) if live else []
    if as_json:
        put_json({"file": str(config), "ok": not problems, "notes": notes, "problems": problems})
    else:
        for note in notes:
            click.echo(f"{config}:{note['key']}: {note['note']}")
        for problem in problems:
            click.echo(f"{config}:{problem['key']}: {problem['note']}", err=True)
        click.echo(f"{config}: good" if not problems else f"{config}: {len(problems)} problem(s)")
    if problems:
        end("the configuration is well formed, but does not work from here", REFUSED)


def _live(settings: Settings) -> list[dict[str, str]]:
    problems = []
    try:
        socket.create_connection((settings.xmpp.host, settings.xmpp.port), _CONNECT_SECONDS).close()
    except OSError as error:
        problems.append({"key": "xmpp.server", "note": f"{settings.xmpp.host}:{settings.xmpp.port}: {error.strerror or error}"})
    hops = {"sip.outbound": settings.sip.outbound} | {f"route[{at}].next_hop": rule.next_hop for at, rule in enumerate(settings.routes)}
    for key, hop in hops.items():
        if hop:
            try:
                socket.getaddrinfo(Uri.parse(hop).host.strip("[]"), None)
            except OSError as error:
                problems.append({"key": key, "note": f"{Uri.parse(hop).host}: {error.strerror}"})
    return problems
