"""stoxgate peers: what the people on the SIP side take, as a running or stopped gateway knows it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

import click

from gateway.core.dates import format_rfc3339
from gateway.core.ports import Recollection
from gateway.core.settings import Settings
from gateway.core.tables import Tables
from gateway.sip.peers import KIND, as_takes
from gateway.translation import Translation, translation

from .common import REFUSED, config_option, configured, end, group_config_option, guarded, json_option, put_json
from .control import NotRunningError, ask
from .queue import at_rest
from .shown import columns_of, table, visible

if TYPE_CHECKING:
    from gateway.store.sqlite import SqliteStore

T = TypeVar("T")
_CONFIGURED = {"always": True, "never": False}
_NEVER_SENT = {"takes": False, "source": "configured", "until": None}


class _ListIsMeant(click.Group):
    """`stoxgate peers [ADDRESS]` is `stoxgate peers list [ADDRESS]`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        is_plain = not {*self.commands, *ctx.help_option_names}.intersection(args)
        return super().parse_args(ctx, ["list", *args] if is_plain else args)


@click.group("peers", cls=_ListIsMeant)
@group_config_option
def command() -> None:
    """Show what the people on the SIP side take, and pin it.

    What a route of the configuration says always or never of counts first, then what is pinned, then what was learned: from a 415, from an
    answer to OPTIONS, or because somebody sends it himself. What was learned counts for 24 hours.

    \b
    Features: cpim     message/cpim (else plain text)
              imdn     receipts, message/imdn+xml
              typing   typing notices, application/im-iscomposing+xml
              html     text/html, where the route has html = true
              sipfrag  failures as message/sipfrag, where the route has failure_report = "sipfrag"
    \b
    Examples:
      stoxgate peers
      stoxgate peers sip:romeo@example.net
      stoxgate peers pin sip:romeo@example.net cpim=no html=yes
      stoxgate peers pin '*@example.net' typing=no
      stoxgate peers forget sip:romeo@example.net
    """


_address_argument = click.argument("address", metavar="ADDRESS")


@command.command("list")
@click.argument("address", required=False, default="")
@config_option
@json_option
@guarded
def list_(address: str, config: Path, as_json: bool) -> None:
    """List what is known of one address, or of everybody. The word list may be left out.

    \b
    takes:   whether he takes it, and the route of his domain sends it
    source:  configured, pinned, or how it was learned: 415, OPTIONS, sent
    until:   when that is forgotten

    Example: stoxgate peers list sip:romeo@example.net --json
    """
    settings, tables = configured(config)
    try:
        rows = json.loads(ask(settings, "GET", f"/peers?address={quote(address)}"))
    except NotRunningError:
        whom = translation(settings, tables, b"peers", only_names=True).peer(address) if address else None
        rows = _at_rest(settings, tables, lambda parts: [row._asdict() for row in parts.peers.rows(whom)]) or []
    rows = [{**row, "until": format_rfc3339(int(row["until"]))} for row in rows]
    domain = translation(settings, tables, b"peers", only_names=True).peer(address).domain if address else ""
    rows = _with_configured(settings, rows, domain)
    if as_json:
        put_json(rows)
    elif not rows:
        click.echo(f"nothing is known of {visible(address)}" if address else "nothing is known of anybody")
    else:
        cells = [
            (visible(row["address"]), row["feature"], "yes" if row["takes"] else "no", row["source"], row["until"] or "") for row in rows
        ]
        click.echo(table(("address", "feature", "takes", "source", "until"), cells, most=columns_of(sys.stdout)))


def _with_configured(settings: Settings, rows: list[dict[str, Any]], domain: str) -> list[dict[str, Any]]:
    """What the routes leave no choice about in front; of one address, in place of what is known.

    What is known to be taken and what the route of the domain never sends is a no of the route's.
    """
    rows = [{**row, **_NEVER_SENT} if row["takes"] and _is_never_sent(settings, row) else row for row in rows]
    routes = (settings.route(domain),) if domain else settings.routes
    own = [
        {"address": route.domain if route.domain == "*" else f"*@{route.domain}", "feature": feature, "takes": _CONFIGURED[word],
         "source": "configured", "until": None}
        for route in routes
        for feature, word in (("cpim", route.cpim), ("imdn", route.imdn), ("typing", route.typing))
        if word in _CONFIGURED
    ]  # fmt: skip
    # A typing notice is never sent to who is known not to take it, whatever the route says (ISC-05).
    if domain and any(row["feature"] == "typing" and not row["takes"] for row in rows):
        own = [row for row in own if row["feature"] != "typing"]
    settled = {row["feature"] for row in own} if domain else set()
    return own + [row for row in rows if row["feature"] not in settled]


def _is_never_sent(settings: Settings, row: dict[str, Any]) -> bool:
    route = settings.route(row["address"].rpartition("@")[2])
    return not {"html": route.html, "sipfrag": route.failure_report == "sipfrag"}.get(row["feature"], True)


@command.command("pin", short_help="Say what somebody takes, whatever is learned.")
@_address_argument
@click.argument("facts", nargs=-1, required=True, metavar="FEATURE=yes|no|auto...")
@config_option
@json_option
@guarded
def pin(address: str, facts: tuple[str, ...], config: Path, as_json: bool) -> None:
    """Say what somebody takes, whatever is learned, for a year; auto takes a pin out.

    ADDRESS is a person on the SIP side, or '*@DOMAIN' for everybody in a domain of whom nothing else is known.

    \b
    Examples:
      stoxgate peers pin sip:romeo@example.net cpim=no html=yes
      stoxgate peers pin sip:romeo@example.net cpim=auto
    """
    try:
        takes = as_takes(dict([fact.split("=", 1) for fact in facts]))
    except ValueError as fault:
        raise click.UsageError(str(fault) if all("=" in fact for fact in facts) else "each fact is FEATURE=yes, =no or =auto") from None
    settings, tables = configured(config)
    try:
        ask(settings, "POST", "/peers/pin", {"address": address, "takes": takes})
    except NotRunningError:

        def change(parts: Translation) -> bool:
            parts.peers.pin(parts.peer(address), takes)
            return True

        if _at_rest(settings, tables, change) is None:
            end("there is no store yet; start the gateway once", REFUSED)
    if as_json:
        put_json({"address": address, "done": "pin"})
    else:
        click.echo(f"{visible(address)}: pin done")


@command.command("forget", short_help="Know nothing of somebody any more.")
@_address_argument
@config_option
@json_option
@guarded
def forget(address: str, config: Path, as_json: bool) -> None:
    """Know nothing of somebody any more: neither what was learned nor what was pinned.

    Example: stoxgate peers forget sip:romeo@example.net
    """
    settings, tables = configured(config)
    try:
        ask(settings, "POST", "/peers/forget", {"address": address})
    except NotRunningError:
        if not _at_rest(settings, tables, lambda parts: parts.peers.forget(parts.peer(address))):
            end(f"nothing is known of {address}", REFUSED)
    if as_json:
        put_json({"address": address, "done": "forget"})
    else:
        click.echo(f"{visible(address)}: forget done")


def _at_rest(settings: Settings, tables: Tables, work: Callable[[Translation], T]) -> T | None:
    """Work on what a stopped gateway knows, and keep what changes; None where there is no store yet."""

    def over(store: SqliteStore) -> T:
        parts = translation(settings, tables, store.secret, only_names=True)
        changed: list[Recollection] = []
        parts.peers.load(store.remembered(KIND, time.time()))
        parts.peers.keep = changed.append
        result = work(parts)
        if changed:
            store.commit([], [], [], [], store.next_number, time.time(), changed)
        return result

    return at_rest(settings, over)
