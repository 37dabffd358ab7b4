"""The small patterns of RFC 3261 section 25.1."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.sip import grammar


@pytest.mark.requirement("SIP-21", "SIP-22", "SEC-22")
@pytest.mark.parametrize(
    ("text", "most", "value"),
    [
        ("0", 255, 0),
        ("70", 255, 70),
        ("0068", 255, 68),
        ("255", 255, 255),
        ("256", 255, None),
        ("0" * 500 + "1", 9, 1),
        ("4294967295", 2**32 - 1, 2**32 - 1),
        ("4294967296", 2**32 - 1, None),
        ("9" * 5000, 2**32 - 1, None),
    ],
)
def test_numbers(text: str, most: int, value: int | None) -> None:
    assert grammar.number(text, most) == value


@pytest.mark.requirement("SEC-22")
@pytest.mark.parametrize("text", ["", "-1", "+1", " 1", "1 ", "1_0", "0x1", "1.0", "\u0661", "\u00b2", "one", "1\n"])
def test_what_is_no_number(text: str) -> None:
    with pytest.raises(ValueError, match="DIGIT"):
        grammar.number(text, 255)


@pytest.mark.requirement("SIP-03", "SIP-23")
def test_the_characters_of_token_and_word() -> None:
    visible = "".join(map(chr, range(33, 127)))
    assert set(visible) - set("".join(grammar.TOKEN.findall(visible))) == set('"#$&(),/:;<=>?@[\\]^{|}')
    assert grammar.CALL_ID.fullmatch("intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{")
    assert set(visible) - {ch for ch in visible if grammar.CALL_ID.fullmatch(ch)} == set("#$&,;=@^|")


@pytest.mark.requirement("SIP-23")
@pytest.mark.parametrize("text", ["", "@", "a@", "@b", "a@b@c", "a b", "a,b", "a;b", "é", "a\n"])
def test_what_is_no_call_id(text: str) -> None:
    assert not grammar.CALL_ID.fullmatch(text)


@pytest.mark.requirement("SIP-14")
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('""', ""),
        ('"a b"', "a b"),
        (r'"a\"b"', 'a"b'),
        (r'"\\"', "\\"),
        ('"\\\0\\\x7f"', "\0\x7f"),
        ('"Б"', "Б"),
        ('"\t"', "\t"),
        ("plain", "plain"),
    ],
)
def test_quoted_strings(text: str, said: str) -> None:
    assert re.fullmatch(grammar.quoted_string, text) or text == "plain"
    assert grammar.unquoted(text) == said


@pytest.mark.requirement("SIP-14", "SEC-29")
@pytest.mark.parametrize("text", ['"', '"a', '"a\\"', '"\n"', '"\\\n"', '"\\\r"', '"\0"', '"\x07"', '"\x7f"', '"a"b"', '"\\é"'])
def test_what_is_no_quoted_string(text: str) -> None:
    assert not re.fullmatch(grammar.quoted_string, text)


@given(st.text(st.characters(codec="utf-8", exclude_characters="".join(map(chr, (*range(9), *range(10, 32), 127))))))
@settings(deadline=None)
def test_whatever_is_quoted_says_the_same(text: str) -> None:
    quoted = '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    assert re.fullmatch(grammar.quoted_string, quoted)
    assert grammar.unquoted(quoted) == text


@pytest.mark.requirement("SIP-24", "SIP-69")
@pytest.mark.parametrize(
    ("value", "good"),
    [
        (b"SIP/2.0/UDP h;branch=z9hG4bK1", True),
        (b"SIP / 2.0 / TCP\th : 5060 ; a = b ; c", True),
        (b"SIP/2.0/UNKNOWN [2001:db8::9]:1;received=[::1]", True),
        (b'SIP/2.0/UDP h;x="a;,\\"";y', True),
        (b"SIP/2.0/UDP h;;a", False),
        (b"SIP/2.0/UDP h;", False),
        (b"SIP/2.0/UDP h,", False),
        (b"SIP/2.0/UDP", False),
        (b"SIP/2.0 h", False),
        (b"SIP/2.0/UDP h;a=", False),
        (b'SIP/2.0/UDP h;a="b', False),
        (b"SIP/2.0/UDP h x", False),
    ],
)
def test_via_values_that_are_only_sent_back(value: bytes, good: bool) -> None:
    assert bool(grammar.VIA_OCTETS.fullmatch(value)) is good
