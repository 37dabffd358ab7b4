"""What the commands share: the configuration option, reading input, and the three exit codes."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, NoReturn, ParamSpec, TypeVar

import click

from gateway.config import load
from gateway.core.errors import ConfigFault, Refusal, StoreFault, SyntaxFault
from gateway.core.settings import Settings
from gateway.core.tables import Tables

REFUSED, MISUSED = 1, 2
_MOST_INPUT = 1024 * 1024

P = ParamSpec("P")
R = TypeVar("R")

config_option = click.option(
    "-c",
    "--config",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    envvar="STOXGATE_CONFIG",
    default=Path("conf/gateway.toml"),
    show_default=True,
    show_envvar=True,
    help="Configuration file; - reads it from standard input.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
file_argument = click.argument("file", type=click.Path(dir_okay=False, allow_dash=True, path_type=Path), default=Path("-"))


def end(text: str, code: int) -> NoReturn:
    """One line on standard error, and the exit code."""
    click.echo(f"stoxgate: {text}", err=True)
    sys.exit(code)


def guarded(command: Callable[P, R]) -> Callable[P, R]:
    """Turn the errors of the gateway into a line and an exit code; nothing is half-written on standard output."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except ConfigFault as fault:
            end(str(fault), MISUSED)
        except StoreFault as fault:
            end(str(fault), MISUSED)
        except (Refusal, SyntaxFault) as fault:
            end(str(fault), REFUSED)
        except BrokenPipeError:
            sys.exit(0)

    return run


def configured(path: Path) -> tuple[Settings, Tables]:
    """The configuration and the tables. Raises ConfigFault."""
    return load(path)


def read_input(file: Path) -> bytes:
    """The octets of a file or of standard input."""
    try:
        octets = sys.stdin.buffer.read(_MOST_INPUT + 1) if str(file) == "-" else file.read_bytes()[: _MOST_INPUT + 1]
    except OSError as error:
        end(f"{file}: {error.strerror}", MISUSED)
    if len(octets) > _MOST_INPUT:
        end(f"{file}: longer than {_MOST_INPUT} octets", REFUSED)
    return octets


def put_octets(octets: bytes) -> None:
    """Exactly these octets on standard output; a terminal gets a line end behind them."""
    sys.stdout.buffer.write(octets)
    if sys.stdout.isatty() and not octets.endswith(b"\n"):
        sys.stdout.buffer.write(b"\n")
    sys.stdout.buffer.flush()


def put_json(value: Any) -> None:
    """One JSON document on standard output."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=2 if sys.stdout.isatty() else None))


def table(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]], *, widest: int = 60) -> str:
    """Columns in plain text, each as wide as its longest cell and at most `widest`; longer cells go on in the next line."""
    cells = [[_wrapped(cell, widest) for cell in row] for row in [heads, *rows]]
    widths = [max(len(line) for row in cells for line in row[at]) for at in range(len(heads))]
    lines = []
    for number, row in enumerate(cells):
        for at in range(max(len(cell) for cell in row)):
            lines.append(
                "  ".join((cell[at] if at < len(cell) else "").ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            )
        if number == 0:
            lines.append("  ".join("-" * width for width in widths))
    return "\n".join(lines)


def _wrapped(cell: str, widest: int) -> list[str]:
    lines: list[str] = []
    for line in cell.split("\n"):
        while len(line) > widest:
            cut = line.rfind(" ", widest // 2, widest + 1)
            cut = cut if cut > 0 else widest
            lines.append(line[:cut])
            line = line[cut:].lstrip(" ")
        lines.append(line)
    return lines
