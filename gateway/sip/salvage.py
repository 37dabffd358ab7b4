"""What can be read of a broken request, so that it can be answered (TOR-08)."""

from __future__ import annotations

import re
from collections.abc import Callable

from gateway.core.errors import SyntaxFault

from . import grammar
from .headers import Via, party, split_vias


def readable(index: dict[str, list[bytes]]) -> list[bytes]:
    """The rows that an answer copies (Via, From, To, Call-ID, CSeq), as far as they can be read; nothing without a usable top Via.

    index: canonical header name -> values. A repeated header gives its first value. No control octets are among what is returned.
    """
    vias = _vias(index.get("via", []))
    if not vias:
        return []
    rest = [(name, read(index[name][0])) for name, read in _READ.items() if name in index]
    return [b"Via: " + value for value in vias] + [name.encode() + b": " + value for name, value in rest if value]


def _vias(rows: list[bytes]) -> list[bytes]:
    """Via values, whole where they can be read; of a broken top one as much as can be read (RFC 4475 section 3.1.2.1)."""
    kept: list[bytes] = []
    for value in (value for row in rows for value in _values(row)):
        if _parses(Via.parse, value) and not grammar.CONTROL_OCTET.search(value):
            kept.append(value)
        elif not kept:
            start = _beginning(value.decode("latin-1")).encode("latin-1")
            if not _parses(Via.parse, start):
                return []
            kept.append(start)
    return kept


def _beginning(text: str) -> str:
    """A Via value up to where it breaks the grammar or names a parameter again."""
    found = grammar.SENT_START.match(text)
    if not found:
        return ""
    seen: set[str] = set()
    for param in grammar.PARAM.finditer(found[0], len(found[0].partition(";")[0])):
        name = (param[1] or "").lower()
        if name in seen:
            return found[0][: param.start()]
        seen.add(name)
    return found[0]


def _values(row: bytes) -> list[bytes]:
    try:
        return split_vias([row])
    except SyntaxFault:
        return [row]


def _party(value: bytes) -> bytes:
    if not _parses(party, value):
        return b""
    return party(value.decode()).bare.encode() if grammar.CONTROL_OCTET.search(value) else value


def _text(pattern: re.Pattern[str]) -> Callable[[bytes], bytes]:
    return lambda value: value if pattern.fullmatch(value.decode("latin-1")) else b""


def _parses(parse: Callable[[str], object], value: bytes) -> bool:
    try:
        parse(value.decode())
    except (SyntaxFault, ValueError):
        return False
    return True


_READ: dict[str, Callable[[bytes], bytes]] = {
    "from": _party, "to": _party, "call-id": _text(grammar.CALL_ID), "cseq": _text(grammar.CSEQ),
}  # fmt: skip
