"""Octets that we send: responses, requests and their parts."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.errors import SyntaxFault
from gateway.sip import writer
from gateway.sip.headers import NameAddr
from gateway.sip.message import Response
from tests.sip.sample import ROWS, changed, fault_of, octets, read, read_response, rows

SOURCE = ("192.0.2.1", 5099)
HARMFUL = ["\r", "\n", "\r\nVia: x", "\0", "\x01", "\x0b", "\x1f", "\x7f", "\x85", "\x9f", "\ud800"]


def respond(data: bytes, source: tuple[str, int] | None = SOURCE, to_tag: str = "g1", **more: object) -> Response:
    return read_response(writer.response(read(data), 202, "Accepted", to_tag=to_tag, source=source, **more))  # type: ignore[arg-type]


# -- responses ---------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("SIP-69", "SIP-85", "MSG-14")
def test_a_response_octet_for_octet() -> None:
    request = read(octets())
    assert writer.response(request, 202, "Accepted", to_tag="g1", source=SOURCE, extra=[("Server", "Stoxgate")]) == (
        b"SIP/2.0 202 Accepted\r\n"
        b"Via: SIP/2.0/UDP client.example.org;branch=z9hG4bK-1;rport=5099;received=192.0.2.1\r\n"
        b"From: <sip:juliet@client.example.org>;tag=t1\r\n"
        b"To: <sip:romeo@gw.example.net>;tag=g1\r\n"
        b"Call-ID: 1@client.example.org\r\n"
        b"CSeq: 1 MESSAGE\r\n"
        b"Server: Stoxgate\r\n"
        b"Content-Length: 0\r\n\r\n"
    )


@pytest.mark.requirement("SIP-69", "SIP-85", "MSG-16")
def test_what_is_copied_is_copied_as_it_was() -> None:
    copied = {
        "From": "token1~` token2'+_ token3*%!.- <sip:mundane@h>;fromParam''~+*_!.-%=\"работающий\";tag=_token~1'+`*%!-.",
        "Call-ID": "intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{", "CSeq": "0009 \t MESSAGE",
        "To": '"Romeo \\"R\\"" <sip:romeo@gw.example.net>;x = 1 ;TAG= Q',
    }  # fmt: skip
    response = respond(octets([(name, copied.get(name, value)) for name, value in ROWS]))
    assert {name: (response.header(name) or "") for name in copied} == copied


@pytest.mark.requirement("SIP-85")
@pytest.mark.parametrize(
    ("to", "to_tag", "written"),
    [
        ("<sip:a@h>", "g1", "<sip:a@h>;tag=g1"),
        ("<sip:a@h>", "", "<sip:a@h>"),
        ("<sip:a@h>;tag=x", "g1", "<sip:a@h>;tag=x"),
        ("sip:a@h", "g1", "sip:a@h;tag=g1"),
        ("<sip:a@h;tag=x>", "g1", "<sip:a@h;tag=x>;tag=g1"),
        ("sip:a@h ;   lang    = en", "g1", "sip:a@h ;   lang    = en;tag=g1"),
        ('"a;tag=b" <sip:a@h>', "g1", '"a;tag=b" <sip:a@h>;tag=g1'),
    ],
)
def test_the_to_tag(to: str, to_tag: str, written: str) -> None:
    assert respond(changed(to=to), to_tag=to_tag).header("to") == written


@pytest.mark.requirement("SIP-69", "SIP-10")
def test_every_via_in_order_and_only_the_top_one_changed() -> None:
    values = [
        "SIP/2.0/UDP a.example.org;branch=z9hG4bK1;rport",
        "SIP / 2.0 / TCP  b ;branch = z9hG4bK2;received=[2001:db8::9]",
        'SIP/2.0/X c;x="a, b;rport"',
        "SIP/2.0/UDP d;rport=1",
    ]
    for written in (
        [("Via", value) for value in values],
        [("v", ", ".join(values))],
        [("Via", " , ".join(values[:2])), ("VIA", values[2]), ("v", values[3])],
    ):
        response = respond(octets([*written, *ROWS[1:]]))
        assert [value.decode() for value in response.via_values] == [f"{values[0]}=5099;received=192.0.2.1", *values[1:]]


@pytest.mark.requirement("SIP-62", "SIP-63", "SIP-67")
@pytest.mark.parametrize(("via", "source", "written"), [
    ("SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1", SOURCE, "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1"),
    ("SIP/2.0/UDP 192.0.2.1:5070", SOURCE, "SIP/2.0/UDP 192.0.2.1:5070"),
    ("SIP/2.0/UDP 192.0.2.2;branch=z9hG4bK1", SOURCE, "SIP/2.0/UDP 192.0.2.2;branch=z9hG4bK1;received=192.0.2.1"),
    ("SIP/2.0/UDP client.example.org", SOURCE, "SIP/2.0/UDP client.example.org;received=192.0.2.1"),
    ("SIP/2.0/TCP h;rport", ("::ffff:192.0.2.1", 5099), "SIP/2.0/TCP h;rport=5099;received=192.0.2.1"),
    ("SIP/2.0/TCP 192.0.2.1", ("::ffff:192.0.2.1", 5099), "SIP/2.0/TCP 192.0.2.1"),
    ("SIP/2.0/UDP 192.0.2.1;rport", SOURCE, "SIP/2.0/UDP 192.0.2.1;rport=5099;received=192.0.2.1"),
    ("SIP/2.0/UDP 192.0.2.1;rport;branch=z9hG4bK1", SOURCE, "SIP/2.0/UDP 192.0.2.1;rport=5099;branch=z9hG4bK1;received=192.0.2.1"),
    ("SIP/2.0/UDP h;RPORT ; branch=z9hG4bK1", SOURCE, "SIP/2.0/UDP h;rport=5099 ; branch=z9hG4bK1;received=192.0.2.1"),
    ("SIP/2.0/UDP h;rport=1;received=203.0.113.9;branch=z9hG4bK1", SOURCE, "SIP/2.0/UDP h;rport=5099;branch=z9hG4bK1;received=192.0.2.1"),
    ("SIP/2.0/UDP h;Received = [2001:db8::9] ;rport = 1", SOURCE, "SIP/2.0/UDP h ;rport=5099;received=192.0.2.1"),
    ("SIP/2.0/UDP 192.0.2.1;received=203.0.113.9", SOURCE, "SIP/2.0/UDP 192.0.2.1;received=192.0.2.1"),
    ('SIP/2.0/UDP h;x=";rport;received=1";rport', SOURCE, 'SIP/2.0/UDP h;x=";rport;received=1";rport=5099;received=192.0.2.1'),
    ('SIP/2.0/UDP h;received="a;b";rport="1"', SOURCE, "SIP/2.0/UDP h;rport=5099;received=192.0.2.1"),
    ("SIP/2.0/UDP h;rportx=1;receivedby=2", SOURCE, "SIP/2.0/UDP h;rportx=1;receivedby=2;received=192.0.2.1"),
    ("SIP/2.0/UDP [2001:DB8:0::9]:5060", ("2001:db8::9", 1), "SIP/2.0/UDP [2001:DB8:0::9]:5060"),
    ("SIP/2.0/UDP [2001:db8::9];rport", ("2001:db8:0::7%eth0", 5), "SIP/2.0/UDP [2001:db8::9];rport=5;received=2001:db8::7"),
    ("SIP/2.0/UDP h;rport", None, "SIP/2.0/UDP h;rport"),
])  # fmt: skip
def test_the_top_via_says_where_the_request_came_from(via: str, source: tuple[str, int] | None, written: str) -> None:
    assert respond(changed(via=via), source).via_values == [written.encode()]


@pytest.mark.requirement("TOR-08", "SEC-18")
def test_display_names_with_controls_are_left_out() -> None:
    response = respond(
        changed(to='"BEL:\\\x07 NUL:\\\0" <sip:romeo@gw.example.net>', **{"from": '"\\\x7f" <sip:juliet@client.example.org>;tag=t1'})
    )
    assert (response.header("from"), response.header("to")) == (
        "<sip:juliet@client.example.org>;tag=t1",
        "<sip:romeo@gw.example.net>;tag=g1",
    )


@pytest.mark.requirement("TOR-08")
def test_the_answer_to_a_request_that_lacks_much() -> None:
    fault = fault_of(octets(rows(to='"x', call_id=None, **{"from": None})))
    assert fault is not None
    assert fault.partial is not None
    assert writer.response(fault.partial, fault.status, fault.what, to_tag="g1", source=SOURCE) == (
        b"SIP/2.0 400 Missing From\r\nVia: SIP/2.0/UDP client.example.org;branch=z9hG4bK-1;rport=5099;received=192.0.2.1\r\n"
        b"CSeq: 1 MESSAGE\r\nContent-Length: 0\r\n\r\n"
    )


@pytest.mark.requirement("SIP-32", "SEC-18", "SEC-19")
@pytest.mark.parametrize("bad", HARMFUL)
def test_nothing_in_a_response_starts_a_header(bad: str) -> None:
    request = read(octets())
    for extra, to_tag in (((("X", f"a{bad}b"),), "g1"), (((f"X{bad}", "a"),), "g1"), ((), f"g{bad}")):
        with pytest.raises(SyntaxFault):
            writer.response(request, 400, "x", to_tag=to_tag, extra=extra)
    assert b"\r\n" not in writer.response(request, 400, f"a{bad}b", to_tag="g1").partition(b"\r\nVia: ")[0]


@pytest.mark.parametrize(
    "extra", [("Via", "x"), ("v", "x"), ("Content-Length", "5"), ("L", "5"), ("From", "x"), ("", "x"), ("A B", "x"), ("A:", "x")]
)
def test_headers_that_are_not_for_the_caller(extra: tuple[str, str]) -> None:
    with pytest.raises(SyntaxFault):
        writer.response(read(octets()), 200, "OK", to_tag="g1", extra=[extra])


def test_a_source_has_to_be_an_address() -> None:
    with pytest.raises(SyntaxFault):
        writer.response(read(octets()), 200, "OK", to_tag="g1", source=("h\r\n", 1))


# -- requests ----------------------------------------------------------------------------------------------------------
PARTS: dict[str, object] = {
    "via": ("UDP", "gw.example.net:5060", "z9hG4bKabc"), "from_": '"R" <sip:romeo@gw.example.net>', "from_tag": "1",
    "to": "<sip:juliet@client.example.org>", "call_id": "c@h", "cseq": 7,
    "extra": (("Content-Type", "text/plain;charset=UTF-8"), ("Subject", "Приве́т")), "body": b"hello",
}  # fmt: skip


def written(method: str = "MESSAGE", request_uri: str = "sip:juliet@client.example.org;gr=x", **changes: object) -> bytes:
    return writer.request(method, request_uri, **{**PARTS, **changes})  # type: ignore[arg-type]


@pytest.mark.requirement("SIP-29", "SIP-64", "MSG-41")
def test_a_request_octet_for_octet() -> None:
    data = written()
    assert (
        data
        == (
            "MESSAGE sip:juliet@client.example.org;gr=x SIP/2.0\r\n"
            "Via: SIP/2.0/UDP gw.example.net:5060;branch=z9hG4bKabc;rport\r\nMax-Forwards: 70\r\n"
            'From: "R" <sip:romeo@gw.example.net>;tag=1\r\nTo: <sip:juliet@client.example.org>\r\nCall-ID: c@h\r\nCSeq: 7 MESSAGE\r\n'
            "Content-Type: text/plain;charset=UTF-8\r\nSubject: Приве́т\r\nContent-Length: 5\r\n\r\nhello"
        ).encode()
    )
    message = read(data, stream=True)
    assert (message.cseq, message.from_.display_name, message.body) == ((7, "MESSAGE"), "R", b"hello")


def test_a_request_without_a_body_over_tcp() -> None:
    data = written("OPTIONS", via=("TCP", "[2001:db8::1]", "z9hG4bKabc"), extra=(), body=b"", max_forwards=0)
    assert b"Via: SIP/2.0/TCP [2001:db8::1];branch=z9hG4bKabc\r\nMax-Forwards: 0\r\n" in data
    assert data.endswith(b"\r\nCSeq: 7 OPTIONS\r\nContent-Length: 0\r\n\r\n")


@pytest.mark.requirement("SIP-32", "SEC-18", "SEC-19")
@pytest.mark.parametrize("bad", [*HARMFUL, " ", "<", ">"])
@pytest.mark.parametrize("place", ["method", "request_uri", "transport", "sent_by", "branch", "call_id", "name", "from_", "to"])
def test_nothing_in_a_request_starts_a_header(place: str, bad: str) -> None:
    via = {"transport": ("UDP" + bad, "h", "b"), "sent_by": ("UDP", "h" + bad, "b"), "branch": ("UDP", "h", "b" + bad)}
    changes: dict[str, dict[str, object]] = {
        "method": {"method": "M" + bad}, "request_uri": {"request_uri": f"sip:a{bad}@h"}, "call_id": {"call_id": f"a{bad}@"},
        "name": {"extra": [(f"X{bad}", "y")], "body": b""},
        "from_": {"from_": f"<sip:a{bad}@h>;tag=1"}, "to": {"to": f"<sip:a@h>{bad}x"},
    }  # fmt: skip
    with pytest.raises(SyntaxFault):
        written(**changes.get(place) or {"via": via[place]})  # type: ignore[arg-type]


@pytest.mark.requirement("SEC-19")
@pytest.mark.parametrize(
    "changes",
    [
        {"cseq": 2**31},
        {"cseq": -1},
        {"max_forwards": 256},
        {"max_forwards": -1},
        {"call_id": ""},
        {"call_id": "a@b@c"},
        {"extra": ()},
        {"request_uri": "romeo"},
        {"request_uri": "<sip:a@h>"},
        {"request_uri": "im:a@h?x= y"},
        {"request_uri": "im:a@h?x=>"},
        {"method": ""},
        {"from_": "romeo"},
        {"to": '"\\\0" <sip:a@h>'},
        {"to": ""},
        {"via": ("UDP", "h:", "b")},
        {"via": ("UDP", "h;x", "b")},
        {"via": ("UDP", "h", "")},
        {"extra": (("Content-Type", "a/b"), ("CSeq", "1 A"))},
        {"request_uri": "sip:rom\u00e9o@h"},
    ],
)
def test_values_that_cannot_stand_there(changes: dict[str, object]) -> None:
    with pytest.raises(SyntaxFault):
        written(**changes)  # type: ignore[arg-type]


# -- parts -------------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("SIP-14", "SIP-32", "SEC-19")
@given(st.text(max_size=40), st.text(max_size=40))
@settings(deadline=None)
def test_a_name_is_read_back_or_refused(name: str, value: str) -> None:
    try:
        text = writer.name_addr(name, "sip:romeo@gw.example.net;gr=1", [("tag", "1"), ("x", value), ("y", "")])
    except SyntaxFault:
        assert any(ch < " " or "\x7f" <= ch <= "\x9f" or "\ud800" <= ch <= "\udfff" for ch in name + value)
        return
    address = NameAddr.parse(text)
    assert (address.display_name, address.uri_text, address.params) == (
        name,
        "sip:romeo@gw.example.net;gr=1",
        {"tag": "1", "x": value, "y": ""},
    )


@pytest.mark.requirement("SEC-18")
@pytest.mark.parametrize("bad", HARMFUL)
def test_quoted_refuses_controls(bad: str) -> None:
    makers: tuple[Callable[[], str], ...] = (
        lambda: writer.quoted(bad), lambda: writer.name_addr(bad, "sip:h"), lambda: writer.name_addr("", f"sip:{bad}@h"),
        lambda: writer.name_addr("", "sip:h", [("x", bad)]), lambda: writer.name_addr("", "sip:h", [(bad, "x")]),
    )  # fmt: skip
    for make in makers:
        with pytest.raises(SyntaxFault):
            make()


@pytest.mark.requirement("ERR-03")
@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("OK", "OK"),
        ("", ""),
        ("no\r\nVia: x", "no  Via: x"),
        ('"a" <b> #c', " a   b   c"),
        ("50%", "50 "),
        ("%4g %41", " 4g %41"),
        ("Нет", "Нет"),
        ("a\tb", "a\tb"),
        ("\x85\x9f\u2028", "  \u2028"),
        ("\ud800", " "),
        ("x" * 200, "x" * 128),
        ("é" * 100, "é" * 64),
        ("x" + "é" * 100, "x" + "é" * 63),
        ("(a) [b] {c} \\ ^|`", "(a)  b   c       "),
    ],
)
def test_reason_phrases(text: str, phrase: str) -> None:
    assert writer.reason_phrase(text) == phrase


@pytest.mark.requirement("ERR-03", "SIP-32")
@given(st.text())
@settings(deadline=None)
def test_any_text_makes_a_reason_phrase(text: str) -> None:
    line = writer.response(read(octets()), 480, text, to_tag="x").partition(b"\r\n")[0]
    assert len(line) <= len(b"SIP/2.0 480 ") + 128
    assert read_response(writer.response(read(octets()), 480, text, to_tag="x")).reason.encode() == line[12:]


def test_every_phrase_is_one() -> None:
    assert {status: writer.reason_phrase(text) for status, text in writer.PHRASES.items()} == writer.PHRASES
