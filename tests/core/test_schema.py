"""The readers of configuration values: the typed value, or what the operator reads that he wrote wrong."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

import pytest

from gateway.core.errors import ConfigFault
from gateway.core.schema import (
    Key,
    Misfit,
    domain,
    flag,
    line,
    list_of,
    number,
    one_of,
    parse_toml,
    read_rows,
    read_table,
    row_places,
    shown,
    text,
    whole,
    word,
)

ports, shares, sizes = whole(1, 9), number(0, 2.5), list_of(whole(1, 9), "sizes = [1]")
mode = one_of("auto", "", 202)


def said(read: Callable[[object], object], value: object) -> object:
    """What is read, or why not."""
    try:
        return read(value)
    except Misfit as misfit:
        return misfit.at + ": " + misfit.reason


@pytest.mark.parametrize(
    ("read", "value", "found"),
    [
        (text, "", ""),
        (text, "a\nb", "a\nb"),
        (word, "a", "a"),
        (line, "", ""),
        (line, "Grüße ~\xa0", "Grüße ~\xa0"),
        (domain, "Bücher.Example.", "xn--bcher-kva.example"),
        (domain, "[2001:DB8::1]", "[2001:db8::1]"),
        (flag, True, True),
        (flag, False, False),
        (ports, 1, 1),
        (ports, 9, 9),
        (shares, 2.5, 2.5),
        (shares, 1, 1),
        (mode, "", ""),
        (mode, 202, 202),
        (sizes, [9, 1], (9, 1)),
        (list_of(text), [], ()),
        (list_of(text), ["", "a"], ("", "a")),
        (list_of(sizes), [[1], [1, 2]], ((1,), (1, 2))),
    ],
)
def test_what_fits(read: Callable[[object], object], value: object, found: object) -> None:
    assert said(read, value) == found


@pytest.mark.parametrize(
    ("read", "value", "reason"),
    [
        (text, 1, ": must be a string, not an integer"),
        (text, True, ": must be a string, not a boolean"),
        (text, 1.5, ": must be a string, not a number"),
        (text, [], ": must be a string, not an array"),
        (text, {}, ": must be a string, not a table"),
        (text, date(2026, 1, 2), ": must be a string, not a date or time"),
        (word, "", ": must not be empty"),
        (word, 1, ": must be a string, not an integer"),
        *((line, f"a{control}b", ": must not hold control characters") for control in "\0\t\n\r\x1f\x7f\x80\x9f"),
        (line, 1, ": must be a string, not an integer"),
        (domain, "a b", ': "a b": Bad domain (RFC 1123 section 2.1)'),
        (domain, "a\0", ": must not hold control characters"),
        (flag, 1, ": must be true or false, not an integer"),
        (flag, "true", ": must be true or false, not a string"),
        (ports, 0, ": must be from 1 to 9, not 0"),
        (ports, 10, ": must be from 1 to 9, not 10"),
        (ports, True, ": must be an integer, not a boolean"),
        (ports, 1.0, ": must be an integer, not a number"),
        (shares, 0, ": must be over 0 and at most 2.5, not 0"),
        (shares, 2.6, ": must be over 0 and at most 2.5, not 2.6"),
        (shares, True, ": must be a number, not a boolean"),
        (shares, "1", ": must be a number, not a string"),
        (mode, "Auto", ': must be "auto" or "" or 202, not "Auto"'),
        (mode, 202.0, ': must be "auto" or "" or 202, not 202.0'),
        (sizes, 1, ": must be an array, not an integer"),
        (sizes, [], ": must not be empty; write sizes = [1]"),
        (sizes, [1, 0], "[1]: must be from 1 to 9, not 0"),
        (sizes, [3, 1, 3], "[2]: 3 is already there, as [0]"),
        (list_of(sizes), [[1], [2, "a"]], "[1][1]: must be an integer, not a string"),
    ],
)
def test_what_does_not_fit_and_why(read: Callable[[object], object], value: object, reason: str) -> None:
    assert said(read, value) == reason


SCHEMA = {"port": Key(ports, example="port = 5"), "mode": Key(mode, "auto"), "name": Key(text)}


def fault(place: str, table: object) -> str:
    with pytest.raises(ConfigFault) as caught:
        read_table("f", place, table, SCHEMA)
    return str(caught.value)


def test_a_table_with_what_it_says_and_the_defaults() -> None:
    assert read_table("f", "", {"name": "", "port": 2}, SCHEMA) == {"port": 2, "mode": "auto", "name": ""}
    assert read_table("f", "a", {"name": "x", "port": 2, "mode": ""}, SCHEMA) == {"port": 2, "mode": "", "name": "x"}


@pytest.mark.parametrize(
    ("place", "table", "reason"),
    [
        ("a", 1, "f:a: must be a table, not an integer; write [a]"),
        ("a[2]", "x", "f:a[2]: must be a table, not a string; write [[a]]"),
        ("a", {"name": "x"}, "f:a.port: is missing; write port = 5"),
        ("", {"port": 1}, "f:name: is missing"),
        ("a[0]", {"port": 0, "name": ""}, "f:a[0].port: must be from 1 to 9, not 0"),
        ("", {"Port": 1}, "f:Port: unknown key; did you mean port?"),
        ("a", {"zzz": 1}, "f:a.zzz: unknown key; known are mode, name, port"),
        ("a", {"z z": 1}, 'f:a."z z": unknown key; known are mode, name, port'),
    ],
)
def test_a_table_that_is_wrong(place: str, table: object, reason: str) -> None:
    assert fault(place, table) == reason


def test_rows_and_where_they_stand() -> None:
    document = parse_toml("f", b'# rows\n[[a]]\nport = 1\nname = ""\n\n [["a"]]\nport = 2\nname = ""\n')
    assert [row["port"] for row in read_rows(document, "a", SCHEMA)] == [1, 2]
    assert row_places(document, "a") == ["f:2", "f:6"]
    assert read_rows(document, "b", SCHEMA) == []
    inline = parse_toml("f", b'a = [{port = 1, name = ""}, {port = 0}]')
    assert row_places(inline, "a") == ["f:a[0]", "f:a[1]"]
    with pytest.raises(ConfigFault, match=r"f:a\[1\]\.port: must be from 1 to 9, not 0"):
        read_rows(inline, "a", SCHEMA)
    with pytest.raises(ConfigFault, match=r"f:a: must be an array of tables, not a table; write \[\[a\]\]"):
        read_rows(parse_toml("f", b"[a]"), "a", SCHEMA)


@pytest.mark.parametrize(
    ("octets", "where"),
    [
        (b"a = 1\nb = \xff", "f:line 2: not UTF-8"),
        (b"a = 1\nb =", "f:line 2: Invalid value"),
        (b"a = 1\n\n=", "f:line 3: Invalid statement"),
    ],
)
def test_what_is_no_toml_says_its_line(octets: bytes, where: str) -> None:
    with pytest.raises(ConfigFault) as caught:
        parse_toml("f", octets)
    assert str(caught.value) == where


def test_the_contents_of_a_file_are_not_shown() -> None:
    assert "hush" not in repr(parse_toml("f", b'secret = "hush"'))


def test_a_value_is_shown_on_one_line_and_bounded() -> None:
    assert shown("a\n\u00e9") == '"a\\n\u00e9"'
    assert shown("x" * 78) == '"' + "x" * 78 + '"'
    assert shown("x" * 79) == '"' + "x" * 79 + "..."
