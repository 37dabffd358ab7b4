"""stoxgate tables: the mapping tables in force."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import click

from gateway.core.tables import Row, Tables

from .common import config_option, configured, guarded, json_option, put_json, table

_NAMES = {"errors": ("condition", "status", "refusal"), "headers": ("field",), "users": ("user",), "domains": ("domain",)}


@click.command("tables")
@click.argument("name", required=False, type=click.Choice(list(_NAMES)))
@config_option
@json_option
@guarded
def command(name: str | None, config: Path, as_json: bool) -> None:
    """Print the mapping tables in force, with the rules and RFC sections behind each row.

    NAME: errors, headers, users or domains; all of them when it is left out.

    \b
    Example: stoxgate tables errors
    """
    _, tables = configured(config)
    wanted = _rows(tables, _NAMES[name] if name else tuple(one for names in _NAMES.values() for one in names))
    if as_json:
        put_json({kind: [dict(zip(_columns(row), _cells(row), strict=True)) for row in rows] for kind, rows in wanted.items()})
        return
    for kind, rows in wanted.items():
        click.echo(f"{kind}: {len(rows)}" + ("" if rows else " (none)"))
        if rows:
            click.echo(table(_columns(rows[0]), [_cells(row) for row in rows], widest=44) + "\n")


def _rows(tables: Tables, kinds: tuple[str, ...]) -> dict[str, tuple[Row, ...]]:
    every = dict(tables.rows())
    return {kind: every[kind] for kind in kinds}


def _columns(row: Row) -> tuple[str, ...]:
    return tuple(field.name for field in fields(row))


def _cells(row: Row) -> tuple[str, ...]:
    return tuple(_cell(getattr(row, field.name)) for field in fields(row))


def _cell(value: object) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
