"""stoxgate queue: the outbox of a running or stopped gateway."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gateway.core.ports import Settlement
from gateway.core.settings import Settings

from .common import (
    REFUSED,
    as_value,
    config_option,
    configured,
    end,
    group_config_option,
    guarded,
    json_option,
    put_json,
    put_octets,
)
from .control import NotRunningError, ask
from .shown import columns_of, table, visible

if TYPE_CHECKING:
    from gateway.store.sqlite import SqliteStore

T = TypeVar("T")
_seq_argument = click.argument("seq", type=click.IntRange(1, 10**18 - 1), metavar="SEQ")


@click.group("queue")
@group_config_option
def command() -> None:
    """Look at the outbox of a running or stopped gateway, and steer it.

    \b
    Examples:
      stoxgate queue list
      stoxgate queue show 42
      stoxgate queue retry 42
      stoxgate queue drop 42
    """


@command.command("list")
@config_option
@json_option
@guarded
def list_(config: Path, as_json: bool) -> None:
    """List what is kept and not yet delivered, oldest first.

    \b
    state: waiting    for its turn, or for the time of the next try
           sending    the other side has not answered yet
           parked     put aside, for the reason given; `retry` tries it again
    lane:  the side, the address that the message is delivered to and, on the XMPP side, the one that it comes from

    Example: stoxgate queue list --json
    """
    settings, _ = configured(config)
    try:
        rows = json.loads(ask(settings, "GET", "/queue"))
    except NotRunningError:
        rows = at_rest(settings, _index) or []
    if as_json:
        put_json(rows)
        return
    click.echo(f"{len(rows)} message(s)")
    if rows:
        heads = ("seq", "state", "tries", "due", "octets", "lane", "last answer")
        click.echo(table(heads, [_cells(row) for row in rows], most=columns_of(sys.stdout)))


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    due = "" if row["state"] != "waiting" else f"in {row['due_in']:.0f} s" if row["due_in"] else "now"
    answer = f"{row['status'] or ''} {row['reason']}".strip()
    return str(row["seq"]), row["state"], str(row["attempts"]), due, str(row["octets"]), visible(row["lane"]), visible(answer)


@command.command("show", short_help="Print one message as it is kept.")
@_seq_argument
@config_option
@json_option
@guarded
def show(seq: int, config: Path, as_json: bool) -> None:
    """Print one message as it is kept: message/cpim around message/cpim.

    Example: stoxgate queue show 42 | stoxgate inspect
    """
    settings, _ = configured(config)
    try:
        octets = ask(settings, "GET", f"/queue/{seq}")
    except NotRunningError:
        found = at_rest(settings, lambda store: store.load([seq]))
        if not found:
            end(f"no message {seq}", REFUSED)
        octets = found[0][1]
        if not octets:
            end(f"message {seq} is damaged: its checksum does not hold", REFUSED)
    if as_json:
        put_json({"seq": seq, **as_value("message", octets)})
    else:
        put_octets(octets)


@command.command("retry", short_help="Try a waiting or parked message now.")
@_seq_argument
@config_option
@json_option
@guarded
def retry(seq: int, config: Path, as_json: bool) -> None:
    """Try a waiting or parked message now, and with it all that waits for the same recipient.

    Example: stoxgate queue retry 42
    """
    _steer(config, seq, "retry", lambda entry: Settlement(seq, time.time(), entry, 0), as_json)


@command.command("drop")
@_seq_argument
@config_option
@json_option
@guarded
def drop(seq: int, config: Path, as_json: bool) -> None:
    """Take a message out of the outbox. Its sender is not told.

    Example: stoxgate queue drop 42
    """
    _steer(config, seq, "drop", lambda _: Settlement(seq), as_json)


def _steer(config: Path, seq: int, verb: str, settlement: Callable[[int], Settlement], as_json: bool) -> None:
    settings, _ = configured(config)
    try:
        ask(settings, "POST", f"/queue/{seq}/{verb}")
    except NotRunningError:

        def settle(store: SqliteStore) -> bool:
            entry = next((entry for entry in store.entries() if entry.seq == seq), None)
            if entry:
                store.commit([], [], [settlement(entry.number)], [], store.next_number, time.time())
            return entry is not None

        if not at_rest(settings, settle):
            end(f"no message {seq}", REFUSED)
    if as_json:
        put_json({"seq": seq, "done": verb})
    else:
        click.echo(f"message {seq}: {verb} done")


def at_rest(settings: Settings, work: Callable[[SqliteStore], T]) -> T | None:
    """Work on the store of a stopped gateway, under its lock; None where there is no store yet, and none is made."""
    from gateway.app import outbox_file
    from gateway.store.outbox import locked
    from gateway.store.sqlite import SqliteStore

    file = outbox_file(settings)
    if not file.exists():
        return None
    with locked(file.parent):
        store = SqliteStore(file)
        try:
            return work(store)
        finally:
            store.close()


def _index(store: SqliteStore) -> list[dict[str, Any]]:
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
