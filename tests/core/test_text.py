"""Line ends, control characters, and what XML can hold."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.text import crlf, has_control, lf, one_line, shown_name, xml_text

FORBIDDEN = [chr(code) for code in (*range(9), 0x0B, 0x0C, *range(0x0E, 0x20), 0xD800, 0xDFFF, 0xFFFE, 0xFFFF)]
ALLOWED = ["\t", "\n", "\r", " ", "\x7f", "\x85", "\ud7ff", "\ue000", "\ufffd", "\U00010000", "\U0010ffff", "é"]


@pytest.mark.requirement("IMSG-17", "MSG-37")
@pytest.mark.parametrize("ch", FORBIDDEN, ids=ascii)
def test_what_xml_forbids_becomes_the_replacement_character(ch: str) -> None:
    assert xml_text(f"a{ch}{ch}b") == "a\ufffd\ufffdb"


@pytest.mark.parametrize("ch", ALLOWED, ids=ascii)
def test_what_xml_allows_stays(ch: str) -> None:
    assert xml_text(f"a{ch}b") == f"a{ch}b"


@settings(deadline=None)
@given(st.text(st.characters(codec=None, min_codepoint=0, max_codepoint=0x10FFFF)))
def test_a_reader_of_xml_takes_every_repaired_text(text: str) -> None:
    kept = xml_text(text)
    escaped = kept.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\r", "&#13;")
    assert (ElementTree.fromstring(f"<a>{escaped}</a>".encode()).text or "") == kept


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\r\nb", "a\nb"),
        ("a\rb", "a\nb"),
        ("a\n\rb\r\r\n", "a\n\nb\n\n"),
        ("ab", "ab"),
        ("", ""),
    ],
)
def test_lf(text: str, expected: str) -> None:
    assert lf(text) == expected


@pytest.mark.requirement("CPIM-63", "IMSG-05")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\nb", "a\r\nb"),
        ("a\r\nb", "a\r\nb"),
        ("a\rb", "a\r\nb"),
        ("\n\n", "\r\n\r\n"),
        ("a\n", "a\r\n"),
        ("ab", "ab"),
        ("", ""),
    ],
)
def test_crlf(text: str, expected: str) -> None:
    assert crlf(text) == expected


@pytest.mark.requirement("CPIM-46", "IMSG-09", "SEC-18")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\r\nVia: x", "a Via: x"),
        ("a\t\r\n\tb", "a b"),
        ("  a b  ", "a b"),
        ("\ta\n", "a"),
        ("a\x00b\x1fc\x7fd", "a\ufffdb\ufffdc\ufffdd"),
        ("a\x85b\x9fc", "a\ufffdb\ufffdc"),
        ("a  b", "a  b"),
        ("\u00a0é\u2028", "\u00a0é\u2028"),
        ("", ""),
    ],
)
def test_one_line(text: str, expected: str) -> None:
    assert one_line(text) == expected


@pytest.mark.requirement("CPIM-46")
@settings(deadline=None)
@given(st.text())
def test_one_line_leaves_nothing_that_could_end_a_line(text: str) -> None:
    line = one_line(text)
    assert not has_control(line)
    assert line == line.strip(" ") == one_line(line)


@pytest.mark.parametrize("code", [*range(32), *range(0x7F, 0xA0)])
def test_every_control_character_is_seen(code: int) -> None:
    assert has_control(f"a{chr(code)}")


@pytest.mark.parametrize("text", ["", "plain", "zero\u200dwidth", "line\u2028separator", "\u00a0", "\ud800"])
def test_what_only_does_not_print_is_no_control(text: str) -> None:
    assert not has_control(text)


@pytest.mark.requirement("IMSG-14")
@pytest.mark.parametrize(
    "name",
    ["Romeo", 'Romeo M\u00f6ntague, Jr. "R" <3', "\u30ed\u30df\u30aa", "Agent 7", "\U0001f469\u200d\U0001f680", "a\u00a0b", "x" * 128],
)
def test_a_name_is_shown_as_it_is(name: str) -> None:
    assert shown_name(name) == name


@pytest.mark.requirement("IMSG-14", "SEC-18")
@pytest.mark.parametrize(("name", "shown"), [
    ("a\r\nVia: x", "a Via: x"), (" \tRomeo\n", "Romeo"), ("a\x00b\x7fc\x85d", "a\ufffdb\ufffdc\ufffdd"),
    ("a\ufffe\ud800", "a\ufffd\ufffd"),
    ("", ""), ("\r\n", ""),
])  # fmt: skip
def test_control_characters_in_a_name(name: str, shown: str) -> None:
    assert shown_name(name) == shown


@pytest.mark.requirement("IMSG-14", "SEC-16")
@pytest.mark.parametrize("name", [
    "juliet@xmpp.example", "J (juliet@xmpp.example)", "juliet\uff20xmpp.example", "juliet\ufe6bxmpp.example", "@", "a\n@b",
    "+1 (555) 010-0100", "101", "*98#", "\u0661\u0662\u0663",
    "a\u202eb", "\u2066x", "x\u200f", "zero\u200bwidth", "\ufeffx", "a\u2028b", "a\u00adb", "tag\U000e0041",
    "\uff0b15550100", "+1\u2011555\u20110100", "+1,555", "+1_555", "+1\xa0555", "tel:+15550100",
    "sip:juliet.xmpp.example", "j%40xmpp.example",
    "\u3164", "\u2800", "\xa0", "\u034f", "\ufe0f",
    "x" * 129, "x" * 100_000, "1" * 100_000,
], ids=lambda name: ascii(name)[:20])  # fmt: skip
def test_what_reads_as_something_else_is_no_name(name: str) -> None:
    assert shown_name(name) == ""


@settings(deadline=None)
@given(st.text())
def test_a_name_that_is_shown_stays_and_harms_nothing(name: str) -> None:
    shown = shown_name(name)
    assert shown_name(shown) == shown
    assert not has_control(shown)
    assert xml_text(shown) == shown
