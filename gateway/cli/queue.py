"""stoxgate queue: the outbox of a running or stopped gateway."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

from gateway.app import outbox_file
from gateway.core.ports import Settlement
from gateway.core.settings import Settings
from gateway.store.sqlite import SqliteStore
from gateway.store.writer import locked

from .common import REFUSED, config_option, configured, end, guarded, json_option, put_json, put_octets, table
from .control import NotRunningError, ask, reason

T = TypeVar("T")


@click.group("queue")
def command() -> None:
    """Look at the outbox of a running or stopped gateway, and steer it.

    \b
    Examples:
      stoxgate queue list
      stoxgate queue show 42
      stoxgate queue retry 42
    """


@command.command("list")
@config_option
@json_option
@guarded
def list_(config: Path, as_json: bool) -> None:
    """List what is kept and not yet delivered, oldest first."""
    settings, _ = configured(config)
    try:
        rows = json.loads(ask(settings, "GET", "/queue")[1])
    except NotRunningError:
        rows = _at_rest(settings, _index)
    if as_json:
        put_json(rows)
        return
    click.echo(f"{len(rows)} message(s)")
    if rows:
        heads = ("seq", "state", "tries", "due in s", "octets", "lane", "last answer")
        click.echo(
            table(
                heads,
                [
                    (
                        str(row["seq"]),
                        row["state"],
                        str(row["attempts"]),
                        str(row["due_in"]),
                        str(row["octets"]),
                        row["lane"],
                        f"{row['status'] or ''} {row['reason']}".strip(),
                    )
                    for row in rows
                ],
            )
        )


@command.command("show")
@click.argument("seq", type=click.IntRange(1))
@config_option
@guarded
def show(seq: int, config: Path) -> None:
    """Print one message as it is kept: message/cpim."""
    settings, _ = configured(config)
    try:
        status, octets = ask(settings, "GET", f"/queue/{seq}")
        if status != 200:
            end(reason(octets), REFUSED)
    except NotRunningError:
        found = _at_rest(settings, lambda store: store.load([seq]))
        if not found:
            end(f"no message {seq}", REFUSED)
        octets = found[0][1]
    put_octets(octets)


@command.command("retry")
@click.argument("seq", type=click.IntRange(1))
@config_option
@guarded
def retry(seq: int, config: Path) -> None:
    """Try a waiting or parked message now, and with it all that waits for the same recipient."""
    _steer(config, seq, "retry", lambda entry: Settlement(seq, time.time(), entry, 0))


@command.command("drop")
@click.argument("seq", type=click.IntRange(1))
@config_option
@guarded
def drop(seq: int, config: Path) -> None:
    """Take a message out of the outbox. Its sender is not told."""
    _steer(config, seq, "drop", lambda _: Settlement(seq))


def _steer(config: Path, seq: int, verb: str, settlement: Callable[[int], Settlement]) -> None:
    settings, _ = configured(config)
    try:
        status, octets = ask(settings, "POST", f"/queue/{seq}/{verb}")
        if status != 200:
            end(reason(octets), REFUSED)
    except NotRunningError:

        def settle(store: SqliteStore) -> bool:
            entry = next((entry for entry in store.entries() if entry.seq == seq), None)
            if entry:
                store.commit([], [], [settlement(entry.number)], [], store.next_number, time.time())
            return entry is not None

        if not _at_rest(settings, settle):
            end(f"no message {seq}", REFUSED)
    click.echo(f"message {seq}: {verb} done")


def _at_rest(settings: Settings, work: Callable[[SqliteStore], T]) -> T:
    """Work on the store of a stopped gateway, under its lock."""
    file = outbox_file(settings)
    with locked(file.parent):
        store = SqliteStore(file)
        try:
            return work(store)
        finally:
            store.close()


def _index(store: SqliteStore) -> list[dict[str, object]]:
    now = time.time()
    return [
        {
            "seq": entry.seq,
            "lane": entry.lane,
            "state": "parked" if entry.parked else "waiting",
            "attempts": entry.attempts,
            "octets": entry.octets,
            "due_in": round(max(0.0, entry.due_at - now), 1),
            "status": 0,
            "reason": entry.parked,
        }
        for entry in store.entries()
    ]
