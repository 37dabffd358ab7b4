"""What the commands share: their options, reading input, writing output, and the three exit codes."""

from __future__ import annotations

import base64
import json
import os
import sys
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, NoReturn, ParamSpec, TypeVar

import click
from click.core import ParameterSource

from gateway.config import load
from gateway.core.dates import parse_rfc3339
from gateway.core.errors import ConfigFault, GatewayError, Refusal, SyntaxFault
from gateway.core.settings import Settings
from gateway.core.tables import Tables

from .shown import shortened

REFUSED, MISUSED = 1, 2
_MOST_INPUT = 1024 * 1024
_MOST_SAID = 2000

P = ParamSpec("P")
R = TypeVar("R")


# -- options -----------------------------------------------------------------------------------------------------------
def _nearest_config(ctx: click.Context, param: click.Parameter, value: Path) -> Path:
    """What stands nearest to the command: its own -c, else that of the group before it, else the environment and the default."""
    source = ctx.get_parameter_source(param.name or "")
    if source is not ParameterSource.COMMANDLINE and isinstance(ctx.obj, Path):
        return ctx.obj
    if source is ParameterSource.COMMANDLINE:
        ctx.obj = value
    return value


def _config_option(*, expose: bool, hidden: bool) -> Callable[[Callable[P, R]], Callable[P, R]]:
    return click.option(
        "-c",
        "--config",
        type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
        envvar="STOXGATE_CONFIG",
        default=Path("conf/gateway.toml"),
        show_default=True,
        show_envvar=True,
        callback=_nearest_config,
        expose_value=expose,
        hidden=hidden,
        help="Configuration file; - reads it from standard input.",
    )


config_option = _config_option(expose=True, hidden=False)
group_config_option = _config_option(expose=False, hidden=True)
"""Before the command too: `stoxgate -c FILE check`."""


def a_moment(_ctx: click.Context, _param: click.Parameter, value: str) -> float:
    """The callback of an option that takes a time; POSIX seconds, now when it is left out."""
    try:
        return parse_rfc3339(value).timestamp() if value else time.time()
    except SyntaxFault:
        raise click.BadParameter(f"{value!r} is no time; write one as 2026-02-03T09:15:00Z") from None


json_option = click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
file_argument = click.argument("file", type=click.Path(dir_okay=False, allow_dash=True, path_type=Path), default=Path("-"))


# -- ending ------------------------------------------------------------------------------------------------------------
def end(text: str, code: int) -> NoReturn:
    """One line on standard error, and the exit code."""
    click.echo(f"stoxgate: {shortened(text, _MOST_SAID)}", err=True)
    sys.exit(code)


def guarded(command: Callable[P, R]) -> Callable[P, R]:
    """Turn the errors of the gateway into a line and an exit code; nothing is half-written on standard output."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except Refusal as refusal:
            end(refusal.detail or refusal.key, REFUSED)
        except SyntaxFault as fault:
            end(str(fault), REFUSED)
        except GatewayError as fault:
            end(str(fault), MISUSED)
        except BrokenPipeError:
            _forget_output()
            sys.exit(0)
        except OSError as error:
            _forget_output()
            end(f"output: {error.strerror or error}", MISUSED)

    return run


def _forget_output() -> None:
    """What is still buffered cannot be written; without this the interpreter says so once more at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


# -- input -------------------------------------------------------------------------------------------------------------
def configured(path: Path) -> tuple[Settings, Tables]:
    """The configuration and the tables. Raises ConfigFault."""
    readable(path)
    return load(path)


def readable(path: Path) -> None:
    """Says what to do where there is no configuration at all. Raises ConfigFault."""
    if str(path) == "-":
        if sys.stdin is None:
            raise ConfigFault("-", "", "standard input is closed")
    elif not path.exists():
        raise ConfigFault(str(path), "", "no such file; name your configuration with -c FILE or in STOXGATE_CONFIG")


def read_input(file: Path, config: Path | None = None) -> bytes:
    """The octets of a file or of standard input, which cannot be the configuration too."""
    if str(file) != "-":
        return _bounded(file)
    if config is not None and str(config) == "-":
        raise click.UsageError("standard input cannot be both the configuration and the message; name a file for one of them")
    if sys.stdin is None:
        end("standard input is closed; name a file", MISUSED)
    if sys.stdin.isatty():
        click.echo("Reading a message from the keyboard; end it with Ctrl-D on a line of its own.", err=True)
    return _bounded(file)


def _bounded(file: Path) -> bytes:
    try:
        if str(file) == "-":
            octets = sys.stdin.buffer.read(_MOST_INPUT + 1)
        else:
            with file.open("rb") as opened:
                octets = opened.read(_MOST_INPUT + 1)
    except OSError as error:
        end(f"{file}: cannot be read: {error.strerror}", MISUSED)
    if len(octets) > _MOST_INPUT:
        end(f"{file}: longer than {_MOST_INPUT} octets", REFUSED)
    if not octets.strip():
        end(f"{file}: there is nothing in it", REFUSED)
    return octets


# -- output ------------------------------------------------------------------------------------------------------------
def put_octets(octets: bytes) -> None:
    """Exactly these octets on standard output; a terminal gets a line end behind them."""
    _require_output()
    sys.stdout.buffer.write(octets)
    if sys.stdout.isatty() and not octets.endswith(b"\n"):
        sys.stdout.buffer.write(b"\n")
    sys.stdout.buffer.flush()


def put_json(value: Any) -> None:
    """One JSON document on standard output."""
    _require_output()
    click.echo(json.dumps(value, ensure_ascii=False, indent=2 if sys.stdout.isatty() else None))


def _require_output() -> None:
    if sys.stdout is None:
        end("standard output is closed", MISUSED)


def as_value(name: str, octets: bytes) -> dict[str, str]:
    """Octets for JSON: {name: text}, or {name_base64: ...} for what is not UTF-8."""
    try:
        return {name: octets.decode("utf-8")}
    except UnicodeDecodeError:
        return {f"{name}_base64": base64.b64encode(octets).decode()}
