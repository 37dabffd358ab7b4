"""Text for people: foreign text that cannot steer their terminal, and columns that fit it."""

from __future__ import annotations

import os
import re
import textwrap
import unicodedata
from collections.abc import Sequence
from typing import TextIO

_STEERING = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_USUAL = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_GAP = "  "
_NARROWEST = 12


def visible(text: str) -> str:
    """The text in one line; what could steer a terminal or turn the reading direction is written as an escape (SEC-23).

    >>> visible("a\\nb\\x1b[2J")
    'a\\\\nb\\\\x1b[2J'
    """
    return _STEERING.sub(lambda found: _USUAL.get(found[0]) or ascii(found[0])[1:-1], text)


def shortened(text: str, most: int = 300) -> str:
    """The text in one line of at most `most` characters, and how long it was."""
    return visible(text) if len(text) <= most else f"{visible(text[:most])}... ({len(text)} characters)"


def columns_of(stream: TextIO) -> int:
    """How many columns a stream shows; 0 for one that is no terminal and has no edge."""
    try:
        return os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        return 0


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, most: int = 0) -> str:
    """Columns in plain text. most: the columns there are; the widest cells are folded until the lines fit. 0 folds nothing.

    >>> print(table(("seq", "lane"), [("7", "sip sip:romeo@example.net")]))
    seq  lane
    ---  -------------------------
    7    sip sip:romeo@example.net
    """
    widths = [max(_columns(row[at]) for row in (heads, *rows)) for at in range(len(heads))]
    while most and sum(widths) + len(_GAP) * (len(widths) - 1) > most and max(widths) > _NARROWEST:
        widths[widths.index(max(widths))] -= 1
    lines = [*_lines(heads, widths), _GAP.join("-" * width for width in widths)]
    return "\n".join([*lines, *(line for row in rows for line in _lines(row, widths))])


def _lines(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    """One row, in as many lines as its longest cell needs."""
    cells = [_folded(cell, width) for cell, width in zip(row, widths, strict=True)]
    depth = max(len(cell) for cell in cells)
    return [
        _GAP.join(_padded(cell[at] if at < len(cell) else "", width) for cell, width in zip(cells, widths, strict=True)).rstrip()
        for at in range(depth)
    ]


def _folded(cell: str, width: int) -> list[str]:
    return [cell] if _columns(cell) <= width else textwrap.wrap(cell, width, break_on_hyphens=False, replace_whitespace=False)


def _padded(text: str, width: int) -> str:
    return text + " " * (width - _columns(text))


def _columns(text: str) -> int:
    """How many columns a terminal takes for this text: two for wide characters, none for combining ones."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(each) else 2 if unicodedata.east_asian_width(each) in "WF" else 1 for each in text)
