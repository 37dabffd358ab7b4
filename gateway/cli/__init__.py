"""The command `stoxgate`: one module a command, loaded when it is asked for."""

from __future__ import annotations

from importlib import import_module

import click

from gateway import __version__

from .common import group_config_option

_COMMANDS = {
    "run": "Run the bridge in the foreground.",
    "check": "Validate the configuration and the mappings.",
    "translate": "Translate one message to the other side.",
    "inspect": "Say what a message is.",
    "verify": "Check the signature in a message.",
    "map": "Show an address on the other side.",
    "tables": "Print the mapping tables in force.",
    "send": "Put one message through a running gateway.",
    "queue": "Look at the outbox, and steer it.",
    "peers": "Show what people on the SIP side take, and pin it.",
    "keys": "Look after the keys of hosted accounts.",
}


class _Lazy(click.Group):
    """A group whose commands are imported one by one: `translate` does not wait for what only `run` needs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = import_module(f"gateway.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="stoxgate")
@group_config_option
def main() -> None:
    """A gateway between SIP MESSAGE and XMPP <message/>, by way of message/cpim.

    \b
    Exit codes: 0 done; 1 the message or address was understood and refused, or is invalid;
    2 usage or configuration error, or there is no gateway to speak to.
    \b
    Examples:
      stoxgate check -c conf/gateway.toml
      stoxgate translate -c conf/gateway.toml --explain message.sip
      stoxgate map -c conf/gateway.toml sip:romeo@example.net
      stoxgate COMMAND --help
    """
