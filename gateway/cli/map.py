"""stoxgate map: an address on the other side."""

from __future__ import annotations

from pathlib import Path

import click

from gateway.core.address import SipAddress
from gateway.core.errors import Refusal, SyntaxFault
from gateway.core.settings import Settings
from gateway.translation import translation

from .common import REFUSED, config_option, configured, end, guarded, json_option, put_json
from .shown import visible


@click.command("map")
@click.argument("address")
@config_option
@json_option
@click.option("--explain", is_flag=True, help="Say on standard error where the person lives and which rule decided.")
@guarded
def command(address: str, config: Path, as_json: bool, explain: bool) -> None:
    """Show an address on the other side: a SIP URI as a JID, a JID as a SIP URI.

    ADDRESS: a sip:, im:, tel: or xmpp: URI, or a JID.

    \b
    Examples:
      stoxgate map sip:romeo@example.net
      stoxgate map --explain juliet@example.com
    """
    settings, tables = configured(config)
    directory = translation(settings, tables, b"map", only_names=True).directory
    try:
        typed, home = directory.find(address)
    except Refusal as refusal:
        end(f"{refusal.detail or refusal.key}; {_served(settings)}", REFUSED)
    except SyntaxFault as fault:
        end(f"{address}: {fault}; {_served(settings)}", REFUSED)
    other = str(directory.jid_of(home)) if isinstance(typed, SipAddress) else directory.uri_of(home)
    side, rule = "SIP" if isinstance(home, SipAddress) else "XMPP", directory.rule(typed)
    if as_json:
        put_json({"address": address, "other_side": other, "lives_on": side.lower(), "rule": rule})
    else:
        click.echo(other)
    if explain:
        lines = (visible(address), f"  lives on   the {side} side", f"  is called  {other} on the other side", f"  by         {rule}")
        click.echo("\n".join(lines), err=True)


def _served(settings: Settings) -> str:
    """What would be an address here."""
    sip = ", ".join(f"sip:USER@{name}" for name in settings.sip.domains)
    return f"served are {sip} and {', '.join(f'USER@{name}' for name in settings.xmpp.domains)}"
