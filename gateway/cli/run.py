"""stoxgate run: the bridge, in the foreground."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import click

from gateway import logs

from .common import config_option, configured, guarded


@click.command("run")
@config_option
@click.option("-v", "--verbose", is_flag=True, help="Log every step, not only what became of each message.")
@guarded
def command(config: Path, verbose: bool) -> None:
    """Run the bridge in the foreground.

    SIGTERM drains: what is on its way is finished, the rest stays in the store for the next start.

    \b
    Example: stoxgate run -c /etc/stoxgate/gateway.toml
    """
    lines = logs.configure(verbose=verbose)
    settings, tables = configured(config)
    from gateway.app import Gateway

    gateway = Gateway(settings, tables, lines)
    if sys.platform == "linux":
        import uvloop

        uvloop.run(gateway.run())
    else:
        asyncio.run(gateway.run())
