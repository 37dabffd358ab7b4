"""Strict reading of TOML: known keys, types and ranges, or a ConfigFault that says where, why, and what to write instead.

A schema is a dict of keys, each with a reader: a function that takes what TOML gave and returns the typed value, or raises `Misfit`.
Places are written as TOML programs write them: `sip.listen[1]` is the second entry. Values of secrets must not get into a reason.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from .domain import ascii_domain
from .errors import ConfigFault, SyntaxFault

Reader = Callable[[Any], Any]

REQUIRED = object()
"""The default of a key that has none."""

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_AT_LINE = re.compile(r" \(at line ([0-9]+), column [0-9]+\)$")
_AT_END = " (at end of document)"
_MOST_SHOWN_CHARS = 80
_TYPES = {bool: "a boolean", int: "an integer", float: "a number", str: "a string", list: "an array", dict: "a table"}


class Misfit(ValueError):
    """A value that does not fit its key. at: the place inside the value ("[1]"), empty for the value itself."""

    def __init__(self, reason: str, at: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.at = at


@dataclass(frozen=True, slots=True)
class Key:
    """What is known of one key. example: the line to write when it is missing."""

    read: Reader
    default: object = REQUIRED
    example: str = ""


Schema = Mapping[str, Key]


@dataclass(frozen=True, slots=True)
class Document:
    """A TOML file that was read. file: as it is called in messages. The contents may hold secrets, so they have no repr."""

    file: str
    text: str = field(repr=False)
    content: dict[str, Any] = field(repr=False)


def parse_toml(file: str, octets: bytes) -> Document:
    """Read TOML. Raises ConfigFault with "line N" as its key."""
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError as error:
        line_number = octets.count(b"\n", 0, error.start) + 1
        raise ConfigFault(file, f"line {line_number}", "not UTF-8") from None
    try:
        return Document(file, text, tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        reason = str(error)
        found = _AT_LINE.search(reason)
        line_number = int(found[1]) if found else text.count("\n") + 1
        raise ConfigFault(file, f"line {line_number}", _AT_LINE.sub("", reason).removesuffix(_AT_END)) from None


def read_table(file: str, place: str, table: object, schema: Schema) -> dict[str, Any]:
    """The values of one table, defaults included. place: "sip" or "route[2]"; empty for the whole file. Raises ConfigFault."""
    if not isinstance(table, dict):
        raise ConfigFault(file, place, f"must be a table, not {kind(table)}; write {_header(place)}")
    prefix = f"{place}." if place else ""
    refuse_unknown(file, prefix, table, schema)
    values: dict[str, Any] = {}
    for name, key in schema.items():
        if name in table:
            values[name] = _value(file, f"{prefix}{name}", table[name], key.read)
        elif key.default is REQUIRED:
            raise ConfigFault(file, f"{prefix}{name}", f"is missing; write {key.example}" if key.example else "is missing")
        else:
            values[name] = key.default
    return values


def read_rows(document: Document, name: str, schema: Schema) -> list[dict[str, Any]]:
    """The rows of an array of tables; none when the file has none. Raises ConfigFault."""
    rows = document.content.get(name, [])
    if not isinstance(rows, list):
        raise ConfigFault(document.file, name, f"must be an array of tables, not {kind(rows)}; write [[{name}]]")
    return [read_table(document.file, f"{name}[{index}]", row, schema) for index, row in enumerate(rows)]


def row_places(document: Document, name: str) -> list[str]:
    """`file:line` of each `[[name]]` header, in order; `file:name[0]` where the rows are not written with headers."""
    header = re.compile(rf'[ \t]*\[\[[ \t]*["\']?{re.escape(name)}["\']?[ \t]*\]\]')
    lines = [number for number, line in enumerate(document.text.split("\n"), 1) if header.match(line)]
    count = len(document.content.get(name, []))
    if len(lines) == count:
        return [f"{document.file}:{line}" for line in lines]
    return [f"{document.file}:{name}[{index}]" for index in range(count)]


def refuse_unknown(file: str, prefix: str, names: Iterable[str], known: Iterable[str]) -> None:
    """Raises ConfigFault for the first name that is not known, with the nearest one that is."""
    for name in names:
        if name not in known:
            raise ConfigFault(file, f"{prefix}{shown_key(name)}", f"unknown key; {nearest(name, known)}")


def nearest(name: str, known: Iterable[str]) -> str:
    """The name that was probably meant, or all of them."""
    close = get_close_matches(name.lower(), known := tuple(known), 1)
    return f"did you mean {close[0]}?" if close else f"known are {', '.join(sorted(known))}"


def shown_key(name: str) -> str:
    """A key on one line."""
    return name if _BARE_KEY.fullmatch(name) else shown(name)


def shown(value: object) -> str:
    """A value on one line, bounded."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _MOST_SHOWN_CHARS else f"{text[:_MOST_SHOWN_CHARS]}..."


def kind(value: object) -> str:
    """What TOML calls the type of this value, with its article."""
    return _TYPES.get(type(value), "a date or time")


def _header(place: str) -> str:
    name, row, _ = place.partition("[")
    return f"[[{name}]]" if row else f"[{name}]"


def _value(file: str, place: str, value: object, read: Reader) -> Any:
    try:
        return read(value)
    except Misfit as misfit:
        raise ConfigFault(file, f"{place}{misfit.at}", misfit.reason) from None


# -- readers -----------------------------------------------------------------------------------------------------------
def text(value: object) -> str:
    """A string, which may be empty."""
    if not isinstance(value, str):
        raise Misfit(f"must be a string, not {kind(value)}")
    return value


def word(value: object) -> str:
    """A string that is not empty."""
    if not text(value):
        raise Misfit("must not be empty")
    return str(value)


def line(value: object) -> str:
    """A string that fits on one line of a protocol: no control characters."""
    if any(ch < " " or "\x7f" <= ch <= "\x9f" for ch in text(value)):
        raise Misfit("must not hold control characters")
    return str(value)


def domain(value: object) -> str:
    """A domain name or address literal, in the normal form of `core.domain.ascii_domain`."""
    try:
        return ascii_domain(line(value))
    except SyntaxFault as fault:
        raise Misfit(f"{shown(value)}: {fault}") from None


def flag(value: object) -> bool:
    """true or false."""
    if not isinstance(value, bool):
        raise Misfit(f"must be true or false, not {kind(value)}")
    return value


def whole(least: int, most: int) -> Callable[[object], int]:
    """An integer from `least` to `most`."""

    def read(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise Misfit(f"must be an integer, not {kind(value)}")
        if not least <= value <= most:
            raise Misfit(f"must be from {least} to {most}, not {value}")
        return value

    return read


def number(over: float, most: float) -> Callable[[object], float]:
    """A number greater than `over`, at most `most`."""

    def read(value: object) -> float:
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise Misfit(f"must be a number, not {kind(value)}")
        if not over < value <= most:
            raise Misfit(f"must be over {over:g} and at most {most:g}, not {value}")
        return value

    return read


def one_of(*choices: str | int) -> Reader:
    """One of these strings or integers."""

    def read(value: object) -> object:
        for choice in choices:
            if type(value) is type(choice) and value == choice:
                return value
        raise Misfit(f"must be {' or '.join(map(shown, choices))}, not {shown(value)}")

    return read


def list_of(read: Reader, example: str = "") -> Callable[[object], tuple[Any, ...]]:
    """An array of such values, as a tuple. example: what to write when the array is empty; empty when it may be."""

    def read_all(value: object) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise Misfit(f"must be an array, not {kind(value)}")
        if example and not value:
            raise Misfit(f"must not be empty; write {example}")
        values: list[Any] = []
        for index, item in enumerate(value):
            try:
                values.append(read(item))
            except Misfit as misfit:
                raise Misfit(misfit.reason, f"[{index}]{misfit.at}") from None
            if values[-1] in values[:-1]:
                raise Misfit(f"{shown(item)} is already there, as [{values.index(values[-1])}]", f"[{index}]")
        return tuple(values)

    return read_all
