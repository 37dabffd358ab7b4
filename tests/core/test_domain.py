"""Domains and address literals in the spelling of each side."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.domain import ascii_domain, unicode_domain
from gateway.core.errors import SyntaxFault


@pytest.mark.requirement("ADDR-27", "SEC-16")
@pytest.mark.parametrize(
    ("text", "for_sip", "for_xmpp"),
    [
        ("example.net", "example.net", "example.net"),
        ("bücher.example", "xn--bcher-kva.example", "bücher.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example", "bücher.example"),
        ("Bücher.Example", "xn--bcher-kva.example", "bücher.example"),
        ("XN--BCHER-KVA.example", "xn--bcher-kva.example", "bücher.example"),
        ("xn--a.example", "xn--a.example", "xn--a.example"),
        ("straße.example", "xn--strae-oqa.example", "straße.example"),
        ("例え。テスト", "xn--r8jz45g.xn--zckzah", "例え.テスト"),
        ("ｅｘａｍｐｌｅ.net", "example.net", "example.net"),
    ],
)
def test_a_domain_has_a_labels_in_sip_and_u_labels_in_xmpp(text: str, for_sip: str, for_xmpp: str) -> None:
    assert ascii_domain(text) == for_sip
    assert unicode_domain(text) == for_xmpp


@pytest.mark.requirement("ADDR-28")
@pytest.mark.parametrize("text", ["h.", "H", "h", "H."])
def test_root_dot_and_case_do_not_count(text: str) -> None:
    assert ascii_domain(text) == unicode_domain(text) == "h"


@pytest.mark.requirement("SIP-52")
@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("[2001:DB8::10]", "[2001:db8::10]"),
        ("[2001:db8:0:0:0:0:0:10]", "[2001:db8::10]"),
        ("[::ffff:192.0.2.1]", "[::ffff:c000:201]"),
        ("[::]", "[::]"),
        ("192.0.2.7", "192.0.2.7"),
        ("[2001:db8:::192.0.2.1]", "[2001:db8::c000:201]"),
    ],
)
def test_address_literals_have_one_form(text: str, normal: str) -> None:
    assert ascii_domain(text) == unicode_domain(text) == normal


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..",
        "a..b",
        ".a",
        "-a",
        "a-",
        "a_b",
        "a b",
        "a\n",
        "a\x00b",
        "a/b",
        "a@b",
        "a:5060",
        "a" * 64,
        ("a" * 63 + ".") * 4 + "a",
        "[2001:db8::10",
        "2001:db8::10",
        "[]",
        "[::1]x",
        "[1.2.3.4]",
        "[::1%eth0]",
        "1.2.3",
        "1.2.3.256",
        "1.2.3.04",
        "a..",
        "0.",
        "1.2.3.256.",
        "ü\u200b\u0000",
        "¹",
        "1.2.3.０4",
        "[::1%\r\nVia: x]",
        "\u0661.\u0662.\u0663.\u0664\u2488",
    ],
)
def test_what_is_no_host_is_refused(text: str) -> None:
    with pytest.raises(SyntaxFault):
        ascii_domain(text)


def test_the_longest_names_are_taken() -> None:
    assert ascii_domain("a" * 63) == "a" * 63
    longest = ".".join(["a" * 63] * 3 + ["a" * 63])
    assert ascii_domain(longest) == longest


@pytest.mark.requirement("ADDR-27", "ADDR-28")
@settings(deadline=None)
@given(st.text(max_size=12) | st.text("aZ0-.ü例ßxn", max_size=12))
def test_both_spellings_name_the_same_domain(text: str) -> None:
    try:
        name = ascii_domain(text)
    except SyntaxFault:
        return
    assert name.isascii()
    assert ascii_domain(name) == name
    assert ascii_domain(unicode_domain(name)) == name
    assert unicode_domain(unicode_domain(name)) == unicode_domain(name)
