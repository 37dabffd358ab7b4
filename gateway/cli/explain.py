"""What became of every field of a message, by which rule: for people a table, for programs rows."""

from __future__ import annotations

from gateway.core.errors import Refusal, SyntaxFault
from gateway.core.tables import FieldRow, Tables
from gateway.core.text import shown_name
from gateway.relay.directory import Directory
from gateway.sip.codec import PLACE_OF_BRANCH
from gateway.sip.identity import display_name
from gateway.sip.message import Request, Response

from .fields import fields_of
from .messages import CALLED, CPIM, SIP, XMPP, Read, read_message
from .shown import shortened, table
from .tables import UNBUILT_FIELDS

_ADDRESSES = ("from", "to")
_DROPPED, _LATER, _ADDED, _TOLD = "(not carried)", "(not carried yet)", "(added by the gateway)", "(told in the text)"
_ONCE = "(in the first message to somebody)"


def changes(tables: Tables, directory: Directory, came: Read, went: bytes) -> list[dict[str, str]]:
    """One row a field: field, in, out, rule, source. `out` is empty for what is not carried, `in` for what the gateway adds.

    The source of an address is the table that decided it, where one did.
    """
    became = read_message(went)
    before, after = fields_of(came), fields_of(became)
    if after.get("id") == PLACE_OF_BRANCH:
        after["id"] = "(a new branch for each try)"
    name = display_name(came.sip, tables.numbers) if isinstance(came.sip, Request) and "typing" not in before else ""
    if name and shown_name(name) and tables.carries("from-name", "xmpp"):
        after.setdefault("from-name", _ONCE)
    if "link" in before and before["link"].partition(" | ")[0] in after.get("body", ""):
        after.setdefault("link", _TOLD)
    rows = [
        {"field": row.name, "in": before.get(row.name, ""), "out": after.get(row.name, ""), "rule": row.rule, "source": row.source}
        | (_decided(directory, before[row.name].partition(" | ")[0]) if row.name in _ADDRESSES and row.name in before else {})
        for row in tables.fields
        if row.name in before or row.name in after
    ]
    if "status" in before:
        rows.append({"field": "status", "in": before["status"], "out": after.get("status", _TOLD)} | _by(tables, came, before["status"]))
    return rows


def _decided(directory: Directory, address: str) -> dict[str, str]:
    """The pair, or the E.164 domain, that decided an address; nothing where it was the standard alone."""
    try:
        rule = directory.rule(directory.find(address)[0])
    except (Refusal, SyntaxFault):
        return {}
    return {} if rule.startswith("RFC") else {"source": rule}


def _by(tables: Tables, came: Read, status: str) -> dict[str, str]:
    """The row of errors.toml that decided."""
    row = tables.status(came.sip.status) if isinstance(came.sip, Response) else tables.condition(status.partition(" ")[0])
    return {"rule": row.rule, "source": row.source}


def explained(tables: Tables, directory: Directory, came: Read, went: bytes, columns: int) -> str:
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
        for each in changes(tables, directory, came, went)
    ]
    heads = (f"what came in: {CALLED[came.kind]}", f"what it became: {CALLED[became.kind]}", "rule", "source")
    return "\n".join([table(heads, rows, most=columns), *(f"note: {note}" for note in came.notes)])


def _told(row: FieldRow | None, kind: str, value: str) -> str:
    """A value under the name that its field has in a message of this kind; empty for no value."""
    if not value:
        return ""
    names = {SIP: row.sip, XMPP: row.xmpp, CPIM: row.cpim} if row else {}
    # What SIP has no header for may stand in the message/cpim in its body.
    return f"{names.get(kind) or (row.cpim or row.name if row else 'status')}: {shortened(value)}"
