"""Columns for people, and text that cannot steer their terminal."""

from __future__ import annotations

import io

import pytest

from gateway.cli.shown import columns_of, shortened, table, visible


@pytest.mark.requirement("SEC-23")
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Büro \U0001f600", "Büro \U0001f600"),
        ("a\r\n\tb", "a\\r\\n\\tb"),
        ("\x1b[31m\x9b\x7f\x00", "\\x1b[31m\\x9b\\x7f\\x00"),
        ("\u202eevil\u2066\u2028", "\\u202eevil\\u2066\\u2028"),
        ("\udc80", "\\udc80"),
    ],
)
def test_visible(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_a_long_text_says_how_long_it_was() -> None:
    assert shortened("ab", 2) == "ab"
    assert shortened("abc", 2) == "ab... (3 characters)"


def test_a_table_is_as_wide_as_its_cells() -> None:
    assert table(("a", "bb"), [("1", "2"), ("", "xyz")]) == "a  bb\n-  ---\n1  2\n   xyz"


def test_a_table_folds_its_widest_cells_to_fit() -> None:
    shown = table(("seq", "reason"), [("1", "the quick brown fox jumps")], most=20)
    assert shown == "seq  reason\n---  ---------------\n1    the quick brown\n     fox jumps"


def test_wide_and_combining_characters_keep_the_columns_straight() -> None:
    shown = table(("a", "b"), [("日本", "x"), ("e\u0301", "x"), ("abcd", "x")])
    assert shown.splitlines()[2:] == ["日本  x", "e\u0301     x", "abcd  x"]


def test_a_table_that_cannot_fit_is_still_written() -> None:
    assert len(table(("a",) * 9, [("x" * 40,) * 9], most=20).splitlines()[1].split()[0]) == 12


def test_what_is_no_terminal_has_no_edge() -> None:
    assert columns_of(io.StringIO()) == 0
