"""stoxgate send: put one message through a running gateway."""

from __future__ import annotations

import json
from pathlib import Path

import click

from .common import REFUSED, config_option, configured, end, guarded, json_option, put_json, read_input
from .control import ask


@click.command("send")
@click.option("--from", "sender", required=True, metavar="ADDRESS", help="Who writes: a SIP URI or a JID that the gateway serves.")
@click.option("--to", "recipient", required=True, metavar="ADDRESS", help="Whom to: somebody on the other side.")
@click.argument("text")
@config_option
@json_option
@guarded
def command(sender: str, recipient: str, text: str, config: Path, as_json: bool) -> None:
    """Put one message through a running gateway, to see the way working.

    TEXT is the message; - reads it from standard input. Exit code 0 means that the gateway keeps it and will deliver it; `stoxgate queue
    list` shows what waits.

    \b
    Examples:
      stoxgate send --from sip:romeo@example.net --to juliet@example.com 'hello'
      date | stoxgate send --from juliet@example.com --to sip:romeo@example.net -
    """
    if text == "-":
        text = _text(read_input(Path("-"), config))
    settings, _ = configured(config)
    kept = json.loads(ask(settings, "POST", "/send", {"from": sender, "to": recipient, "text": text}))
    if as_json:
        put_json(kept)
    else:
        click.echo(f"accepted, trace id {kept['trace_id']}")


def _text(octets: bytes) -> str:
    try:
        return octets.decode("utf-8").removesuffix("\n")
    except UnicodeDecodeError:
        end("-: the text is not UTF-8", REFUSED)
