"""stoxgate tables: the mapping tables in force."""

from __future__ import annotations

import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from gateway.core.settings import Settings
from gateway.core.tables import FieldRow, RefusalRow, Row

from .common import config_option, configured, guarded, json_option, put_json
from .shown import columns_of, table, visible

_NAMES = {"errors": ("condition", "status", "refusal"), "headers": ("field",), "users": ("user",), "domains": ("domain", "e164")}

UNBUILT_FIELDS: dict[str, str] = {}
"""Rows of headers.toml for what is not built yet, and what happens instead. Whoever builds one deletes its line."""

UNBUILT_REFUSALS = frozenset(("body-not-acceptable", "version-unsupported"))
"""Rows of errors.toml that nothing refuses with yet."""


@click.command("tables")
@click.argument("name", required=False, type=click.Choice(list(_NAMES)), metavar="[NAME]")
@config_option
@json_option
@guarded
def command(name: str | None, config: Path, as_json: bool) -> None:
    """Print the mapping tables in force, with the rules and RFC sections behind each row.

    NAME: errors, headers, users or domains; all of them when it is left out. Rows that have no effect yet say so.

    \b
    Examples:
      stoxgate tables errors
      stoxgate tables users --json
    """
    settings, tables = configured(config)
    wanted = {name: _NAMES[name]} if name else _NAMES
    rows = dict(tables.rows())
    if as_json:
        put_json({kind: [_values(row) for row in rows[kind]] for kinds in wanted.values() for kind in kinds})
        return
    for file, kinds in wanted.items():
        for kind in kinds:
            _show(kind, rows[kind], _source(settings, file))


def _show(kind: str, rows: tuple[Row, ...], source: str) -> None:
    click.echo(f"{kind}: {len(rows)} row(s), {source}")
    if rows:
        values = [_values(row) for row in rows]
        if not any(each["note"] for each in values):
            values = [{name: value for name, value in each.items() if name != "note"} for each in values]
        cells = [[_cell(value) for value in each.values()] for each in values]
        click.echo(table(tuple(values[0]), cells, most=columns_of(sys.stdout)) + "\n")


def _source(settings: Settings, name: str) -> str:
    """Which file a table was read from."""
    own = settings.mappings / f"{name}.toml" if settings.mappings else None
    return visible(str(own)) if own and own.exists() else "as shipped"


def note(row: Row) -> str:
    """What an operator must know about a row; empty for one that does what it says."""
    if isinstance(row, FieldRow) and row.name in UNBUILT_FIELDS:
        return f"no effect yet: {UNBUILT_FIELDS[row.name]}"
    if isinstance(row, RefusalRow) and row.key in UNBUILT_REFUSALS:
        return "no effect yet: nothing is refused with it"
    return ""


def _values(row: Row) -> dict[str, Any]:
    plain = (bool, int, str)
    named = {field.name: getattr(row, field.name) for field in fields(row)}
    return {name: value if isinstance(value, plain) else str(value) for name, value in named.items()} | {"note": note(row)}


def _cell(value: bool | int | str) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else visible(str(value))
