"""stoxgate send: put one message through a running gateway."""

from __future__ import annotations

import json
from pathlib import Path

import click

from .common import MISUSED, REFUSED, config_option, configured, end, guarded, json_option, put_json
from .control import NotRunningError, ask, reason


@click.command("send")
@click.option("--from", "sender", required=True, metavar="ADDRESS", help="Who writes: a SIP URI or a JID that the gateway serves.")
@click.option("--to", "recipient", required=True, metavar="ADDRESS", help="Whom to: somebody on the other side.")
@click.argument("text")
@config_option
@json_option
@guarded
def command(sender: str, recipient: str, text: str, config: Path, as_json: bool) -> None:
    """Put one message through a running gateway, to see the way working.

    Exit code 0 means that the gateway keeps it and will deliver it.

    \b
    Example: stoxgate send --from sip:romeo@example.net --to juliet@example.com 'hello'
    """
    settings, _ = configured(config)
    try:
        status, octets = ask(settings, "POST", "/send", {"from": sender, "to": recipient, "text": text})
    except NotRunningError as fault:
        end(str(fault), MISUSED)
    if status != 200:
        end(reason(octets), REFUSED)
    kept = json.loads(octets)
    if as_json:
        put_json(kept)
    else:
        click.echo(f"accepted, trace id {kept['trace_id']}")
