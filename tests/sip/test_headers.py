"""Values that stand in headers."""

from __future__ import annotations

import doctest
import importlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.errors import SyntaxFault
from gateway.sip.headers import CSeq, NameAddr, Via, Warned, parse_params, split_list
from gateway.sip.names import COMPACT, KNOWN, LISTS, SINGLE, canonical, name_of, title


@pytest.mark.parametrize("name", ["grammar", "headers", "names", "writer"])
def test_examples(name: str) -> None:
    found = doctest.testmod(importlib.import_module(f"gateway.sip.{name}"))
    assert (found.failed, found.attempted > 0) == (0, True)


# -- names -------------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("SIP-06", "SIP-07")
def test_names_in_every_spelling() -> None:
    for spelled in (b"call-id", b"Call-ID", b"CALL-ID", b"cAlL-iD", b"i", b"I"):
        assert name_of(spelled) == "call-id"
    assert {name: canonical(name) for name in COMPACT} == COMPACT
    assert [title(canonical(name)) for name in ("i", "CSEQ", "max-forwards", "X")] == ["Call-ID", "CSeq", "Max-Forwards", "Session-Expires"]


@pytest.mark.requirement("SIP-07")
def test_the_compact_forms() -> None:
    assert "".join(sorted(COMPACT)) == "abcdefijklmnorstuvxy"


@pytest.mark.parametrize("name", [b"", b"a b", b"a:", b"via ", b"caf\xc3\xa9", b"\0", b"(a)"])
def test_what_is_no_name(name: bytes) -> None:
    assert name_of(name) == ""


@pytest.mark.requirement("SEC-35")
def test_spellings_do_not_fill_memory() -> None:
    for number in range(5000):
        assert name_of(b"X-%d" % number) == f"x-{number}"
    assert name_of(b"x" * 5000) == "x" * 5000
    assert len(KNOWN) <= 1024
    assert b"x" * 5000 not in KNOWN


@pytest.mark.requirement("SIP-11", "SIP-12")
def test_no_header_is_a_list_and_single() -> None:
    assert not LISTS & SINGLE


# -- lists and parameters ----------------------------------------------------------------------------------------------
@pytest.mark.requirement("SIP-10", "SIP-11")
@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("", []),
        ("a", ["a"]),
        ("a,b", ["a", "b"]),
        (" a ,\tb ", ["a", "b"]),
        ('"a,b" <sip:x>, <sip:c,d@h>;x="e,f"', ['"a,b" <sip:x>', '<sip:c,d@h>;x="e,f"']),
        (r'"a\",b",c', [r'"a\",b"', "c"]),
        ('399 h "a, b", 399 h "c"', ['399 h "a, b"', '399 h "c"']),
    ],
)
def test_lists(text: str, values: list[str]) -> None:
    assert [value.strip() for value in split_list(text)] == values


@pytest.mark.requirement("SIP-11", "SIP-24")
@pytest.mark.parametrize("text", [",", "a,", ",a", "a,,b", 'a,"b', "a,<b", '"a\\",b'])
def test_what_is_no_list(text: str) -> None:
    with pytest.raises(SyntaxFault):
        split_list(text)


@given(st.lists(st.sampled_from(["a", "<sip:a,b@h>", '"x, \\" y" <sip:h>', "sip:h;p=1", 'sip:h;p=",;"']), min_size=1))
@settings(deadline=None)
def test_a_list_is_what_was_joined(values: list[str]) -> None:
    assert split_list(" , ".join(values)) == values


@pytest.mark.requirement("SIP-09", "SIP-13")
@pytest.mark.parametrize(
    ("text", "params"),
    [
        ("", {}),
        (";a", {"a": ""}),
        (";a=1;B=2;c", {"a": "1", "b": "2", "c": ""}),
        (" ; a = 1 ;\tb ", {"a": "1", "b": ""}),
        (';a="x;y,\\"z"', {"a": 'x;y,"z'}),
        (";received=2001:db8::9", {"received": "2001:db8::9"}),
        (";r=[::1]", {"r": "[::1]"}),
        (";fromParam''~+*_!.-%=\"работающий\"", {"fromparam''~+*_!.-%": "работающий"}),
    ],
)
def test_parameters(text: str, params: dict[str, str]) -> None:
    assert parse_params(text) == params


@pytest.mark.requirement("SIP-13", "SIP-24")
@pytest.mark.parametrize("text", [";", ";;a", ";a;", ";a=", ";=a", ";a=b c", ";a;a", ";a;A=1", ';a="b', ";a,b", "a", ";é", ";a=é", ";a==b"])
def test_what_are_no_parameters(text: str) -> None:
    with pytest.raises(SyntaxFault):
        parse_params(text)


@pytest.mark.requirement("MSG-92")
def test_empty_parameters_are_let_pass_where_that_is_asked_for() -> None:
    assert parse_params(";;tag=1;", True) == {"tag": "1"}
    with pytest.raises(SyntaxFault):
        parse_params(";;tag=1 2", True)


# -- Via ---------------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("SIP-09", "SIP-24")
def test_via_with_white_space_everywhere() -> None:
    via = Via.parse("SIP  /   2.0 / UDP    192.0.2.2 : 5070 ; Branch = 390skdjuw ; RPORT")
    assert via == Via("SIP/2.0", "UDP", "192.0.2.2", 5070, "192.0.2.2:5070", {"branch": "390skdjuw", "rport": ""})
    assert (via.branch, via.param("rport"), via.param("ttl"), via.received) == ("390skdjuw", "", None, None)


@pytest.mark.requirement("SIP-24", "SIP-25", "SIP-52")
@pytest.mark.parametrize(
    ("text", "transport", "sent_by", "received"),
    [
        ("SIP/2.0/udp Example.COM.", "UDP", "example.com", None),
        ("SIP/7.0/WSS df7jal23ls0d.invalid", "WSS", "df7jal23ls0d.invalid", None),
        ("SIP/2.0/UNKNOWN [2001:DB8::9:1]:6050;received=[2001:db8::9:255]", "UNKNOWN", "[2001:db8::9:1]:6050", "2001:db8::9:255"),
        ("SIP/2.0/TCP [2001:db8:::192.0.2.1];received=2001:db8::9", "TCP", "[2001:db8::c000:201]", "2001:db8::9"),
        ("SIP/2.0/TLS-SCTP h;received=192.0.2.1", "TLS-SCTP", "h", "192.0.2.1"),
    ],
)
def test_via_hosts_and_transports(text: str, transport: str, sent_by: str, received: str | None) -> None:
    via = Via.parse(text)
    assert (via.transport, via.sent_by, via.received) == (transport, sent_by, received)


@pytest.mark.requirement("SIP-24")
@pytest.mark.parametrize(
    "text",
    [
        "",
        "SIP/2.0/UDP",
        "SIP/2.0 h",
        "SIP/2.0/UDPh",
        "SIP/2.0/UDP h;;",
        "SIP/2.0/UDP h;;,;,,",
        "SIP/2.0/UDP h;",
        "SIP/2.0/UDP h:",
        "SIP/2.0/UDP h:0",
        "SIP/2.0/UDP h:65536",
        "SIP/2.0/UDP h:999999",
        "SIP/2.0/UDP 2001:db8::1",
        "SIP/2.0/UDP [2001:db8::g]",
        "SIP/2.0/UDP [1::2::3]",
        "SIP/2.0/UDP 1.2.3.400",
        "SIP/2.0/UDP -",
        "SIP/2.0/UDP h%41",
        "SIP/2.0/UDP h;branch=",
        "SIP/2.0/UDP h;branch=a;Branch=b",
        "SIP/2.0/UDP h h",
        "SIP/2.0/UDP a, SIP/2.0/UDP b",
        "SIP/2.0/UDP é",
        "SIP//UDP h",
        "SIP/2.0/UDP h;x=\x00",
    ],
)
def test_what_is_no_via(text: str) -> None:
    with pytest.raises(SyntaxFault):
        Via.parse(text)


# -- addresses ---------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("SIP-15", "SIP-16", "SIP-26")
@pytest.mark.parametrize(
    ("text", "name", "uri", "params"),
    [
        ("sip:a@h", "", "sip:a@h", {}),
        ("<sip:a@h>", "", "sip:a@h", {}),
        ("sip:a@h;tag=1", "", "sip:a@h", {"tag": "1"}),
        ("<sip:a@h;tag=1>", "", "sip:a@h;tag=1", {}),
        ("<sip:a@h;x>;Tag=1;y", "", "sip:a@h;x", {"tag": "1", "y": ""}),
        ('"A \\"b\\" \\\\" <sip:a@h>', 'A "b" \\', "sip:a@h", {}),
        ("Juliet <sip:a@h>", "Juliet", "sip:a@h", {}),
        ("caller<sip:a@h>;tag=3", "caller", "sip:a@h", {"tag": "3"}),
        ("token1~` token2'+_\ttoken3*%!.- <sip:a@h>", "token1~` token2'+_ token3*%!.-", "sip:a@h", {}),
        ('"a>b" <sip:a@h>;p="c>d"', "a>b", "sip:a@h", {"p": "c>d"}),
        ('<sip:a@h>;p=">;tag=2"', "", "sip:a@h", {"p": ">;tag=2"}),
        ('"Жук" <sip:a@h>', "Жук", "sip:a@h", {}),
        ('""<sip:a@h>', "", "sip:a@h", {}),
        ("<sip:a?b@h?Route=%3Csip:x%3E>", "", "sip:a?b@h?Route=%3Csip:x%3E", {}),
        ('"Office, Number" < sip:a@h >', "Office, Number", "sip:a@h", {}),
        ("<sip:a@h> ; tag = 1", "", "sip:a@h", {"tag": "1"}),
        ("sip:a@h ; tag = 1", "", "sip:a@h", {"tag": "1"}),
        ("<sip:a@h>;;tag=1", "", "sip:a@h", {"tag": "1"}),
        ("isbn:2983792873", "", "isbn:2983792873", {}),
        ("<im:a@h>", "", "im:a@h", {}),
        ("<tel:+1-555;phone-context=x>;tag=1", "", "tel:+1-555;phone-context=x", {"tag": "1"}),
        ('sip:a@h;x="<y>"', "", "sip:a@h", {"x": "<y>"}),
        ("sip:[2001:db8:::192.0.2.1];tag=1", "", "sip:[2001:db8:::192.0.2.1]", {"tag": "1"}),
    ],
)
def test_addresses(text: str, name: str, uri: str, params: dict[str, str]) -> None:
    address = NameAddr.parse(text)
    assert (address.display_name, address.uri_text, dict(address.params)) == (name, uri, params)
    assert address.tag == params.get("tag")


@pytest.mark.requirement("SIP-15", "SIP-16")
@pytest.mark.parametrize(
    "text",
    [
        "",
        "<>",
        "sip:",
        "Desk, Extension <sip:a@h>",
        "a:b <sip:a@h>",
        '"a <sip:a@h>',
        '"a" "b" <sip:a@h>',
        "<sip:a@h",
        "sip:a@h>",
        "<<sip:a@h>>",
        "sip:a@h?Subject=x",
        "sip:a,b@h",
        "sip:a;b@h;c d",
        "<sip:a@h> x",
        "<sip:a@h>;tag=1;tag=2",
        "Жук <sip:a@h>",
        "<sip:a b@h>",
        "a b",
        "<sip:a@h>,<sip:b@h>",
        "<sip:a@@h>",
        "<sip:\x00@h>",
        '"\x07" <sip:a@h>',
        "<sip:a@2001:db8::1>",
        "<sip:a@h>;tag=\x00",
        "<sip:é@h>",
        "*",
    ],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(SyntaxFault):
        NameAddr.parse(text)


@pytest.mark.requirement("SIP-32")
def test_the_bare_address_leaves_out_what_is_only_for_people() -> None:
    assert NameAddr.parse('"\\\0" <sip:a@h;gr=1>;x="\\\x07";tag=t').bare == "<sip:a@h;gr=1>;tag=t"
    assert NameAddr.parse("sip:a@h;x=1").bare == "<sip:a@h>"


# -- CSeq, Warning -----------------------------------------------------------------------------------------------------
@pytest.mark.requirement("SIP-20")
@pytest.mark.parametrize(
    ("text", "number", "method"),
    [
        ("1 MESSAGE", 1, "MESSAGE"),
        ("0009 \t INVITE", 9, "INVITE"),
        ("2147483647 A", 2**31 - 1, "A"),
        ("0 message", 0, "message"),
        ("1 RE%47", 1, "RE%47"),
    ],
)
def test_cseq(text: str, number: int, method: str) -> None:
    assert CSeq.parse(text) == CSeq(number, method)


@pytest.mark.requirement("SIP-20")
@pytest.mark.parametrize(
    "text", ["", "1", "MESSAGE", "1MESSAGE", "2147483648 A", "36893488147419103232 A", "-1 A", "1 A B", "1 A;x", "\u0661 A", "1\u00a0A"]
)
def test_what_is_no_cseq(text: str) -> None:
    with pytest.raises(SyntaxFault):
        CSeq.parse(text)


def test_warning() -> None:
    assert Warned.parse('399 gw.example.net "say \\"no\\", please"') == Warned(399, "gw.example.net", 'say "no", please')
    with pytest.raises(SyntaxFault):
        Warned.parse('1812 overture "In Progress"')


@given(st.text(max_size=60))
@settings(deadline=None)
def test_nothing_but_a_syntax_fault_comes_out(text: str) -> None:
    for parse in (Via.parse, NameAddr.parse, CSeq.parse, Warned.parse, split_list, parse_params):
        try:
            parse(text)
        except SyntaxFault:
            continue
