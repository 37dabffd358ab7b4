"""What became of every field of a message, by which rule: for people a table, for programs rows."""

from __future__ import annotations

from gateway.core.tables import FieldRow, Tables
from gateway.sip.codec import PLACE_OF_BRANCH
from gateway.sip.message import Response

from .fields import fields_of
from .messages import CALLED, CPIM, SIP, XMPP, Read, read_message
from .shown import shortened, table
from .tables import UNBUILT_FIELDS

_DROPPED, _LATER, _ADDED, _TOLD = "(not carried)", "(not carried yet)", "(added by the gateway)", "(told in the text)"


def changes(tables: Tables, came: Read, went: bytes) -> list[dict[str, str]]:
    """One row a field: field, in, out, rule, source. `out` is empty for what is not carried, `in` for what the gateway adds."""
    became = read_message(went)
    before, after = fields_of(came), fields_of(became)
    if after.get("id") == PLACE_OF_BRANCH:
        after["id"] = "(a new branch for each try)"
    rows = [
        {"field": row.name, "in": before.get(row.name, ""), "out": after.get(row.name, ""), "rule": row.rule, "source": row.source}
        for row in tables.fields
        if row.name in before or row.name in after
    ]
    if "status" in before:
        rows.append({"field": "status", "in": before["status"], "out": after.get("status", _TOLD)} | _by(tables, came, before["status"]))
    return rows


def _by(tables: Tables, came: Read, status: str) -> dict[str, str]:
    """The row of errors.toml that decided."""
    row = tables.status(came.sip.status) if isinstance(came.sip, Response) else tables.condition(status.partition(" ")[0])
    return {"rule": row.rule, "source": row.source}


def explained(tables: Tables, came: Read, went: bytes, columns: int) -> str:
    """The table for people. columns: of their terminal; 0 when there is none."""
    became = read_message(went)
    named = {row.name: row for row in tables.fields}
    rows = [
        (
            _told(named.get(each["field"]), came.kind, each["in"]) or _ADDED,
            _told(named.get(each["field"]), became.kind, each["out"]) or (_LATER if each["field"] in UNBUILT_FIELDS else _DROPPED),
            each["rule"],
            each["source"],
        )
        for each in changes(tables, came, went)
    ]
    heads = (f"what came in: {CALLED[came.kind]}", f"what it became: {CALLED[became.kind]}", "rule", "source")
    return "\n".join([table(heads, rows, most=columns), *(f"note: {note}" for note in came.notes)])


def _told(row: FieldRow | None, kind: str, value: str) -> str:
    """A value under the name that its field has in a message of this kind; empty for no value."""
    if not value:
        return ""
    names = {SIP: row.sip, XMPP: row.xmpp, CPIM: row.cpim} if row else {}
    return f"{names.get(kind) or (row.name if row else 'status')}: {shortened(value)}"
