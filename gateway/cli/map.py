"""stoxgate map: an address on the other side."""

from __future__ import annotations

from pathlib import Path

import click

from gateway.app import translation
from gateway.core.address import SipAddress
from gateway.core.uri import sip_uri

from .common import config_option, configured, guarded, json_option, put_json


@click.command("map")
@click.argument("address")
@config_option
@json_option
@click.option("--explain", is_flag=True, help="Say where the person lives and which rule decided.")
@guarded
def command(address: str, config: Path, as_json: bool, explain: bool) -> None:
    """Show an address on the other side: a SIP URI as a JID, a JID as a SIP URI.

    \b
    Examples:
      stoxgate map sip:romeo@example.net
      stoxgate map 'juliet@example.com'
    """
    settings, tables = configured(config)
    directory = translation(settings, tables, b"map").directory
    typed, home = directory.find(address)
    other = str(directory.jid_of(home)) if isinstance(typed, SipAddress) else sip_uri(directory.sip_of(home))
    side, rule = "SIP" if isinstance(home, SipAddress) else "XMPP", directory.rule(typed)
    if as_json:
        put_json({"address": address, "other_side": other, "lives_on": side.lower(), "rule": rule})
        return
    click.echo(other)
    if explain:
        click.echo(f"{address}\n  lives on   the {side} side\n  is called  {other} on the other side\n  by         {rule}", err=True)
