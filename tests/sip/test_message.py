"""Reading requests and responses: what is taken, what is refused and how, what is ignored."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.sip import writer
from gateway.sip.message import BadMessage, Limits, Request, Response, parse
from gateway.sip.names import COMPACT, SINGLE, title
from gateway.sip.section import Headers, View
from tests.cost import seconds
from tests.sip.sample import RESPONSE_ROWS, ROWS, START, changed, fault_of, octets, read, read_response, rows, verdict

UNKNOWN = "X-Unheard-Of"


def what_counts(message: Request) -> tuple[object, ...]:
    return (message.method, message.request_uri_text, message.vias, message.from_, message.to, message.call_id, message.cseq,
            message.max_forwards, str(message.content_type), message.body)  # fmt: skip


# -- start lines -------------------------------------------------------------------------------------------------------
def test_a_good_message() -> None:
    message = read(octets())
    assert (message.method, message.request_uri_text, message.request_uri.user) == ("MESSAGE", "sip:romeo@gw.example.net", "romeo")
    assert (message.top_via.branch, message.from_.uri_text, message.from_.tag) == ("z9hG4bK-1", "sip:juliet@client.example.org", "t1")
    assert (message.to.uri_text, message.to.tag, message.call_id) == ("sip:romeo@gw.example.net", None, "1@client.example.org")
    assert (message.cseq, message.max_forwards, message.content_length) == ((1, "MESSAGE"), 70, 5)
    assert (str(message.content_type), message.body) == ("text/plain", b"hello")
    assert (message.expires, message.require, message.route, message.contact, message.header("subject")) == (None, (), (), (), None)


@pytest.mark.requirement("SIP-02", "SIP-55", "SEC-29")
@pytest.mark.parametrize(("start", "said"), [
    (b"MESSAGE  sip:romeo@gw.example.net   SIP/2.0", "ok"), (b"MESSAGE sip:romeo@gw.example.net SIP/2.0  ", "ok"),
    (b"MESSAGE sip:romeo@gw.example.net; lr SIP/2.0", "400 Bad Request-Line"), (b"MESSAGE SIP/2.0", "400 Bad Request-Line"),
    (b"MESSAGE sip:romeo@gw.example.net", "400 Bad Request-Line"), (b"MESSAGE\tsip:romeo@gw.example.net SIP/2.0", "dropped Not SIP"),
    (b"MESSAGE sip:romeo@gw.example.net SIP/2.0 x", "400 Bad Request-Line"),
    (b"MESSAGE <sip:romeo@gw.example.net> SIP/2.0", "400 Bad Request-URI"),
    (b"MESSAGE sip:romeo@gw.example.net?Subject=x SIP/2.0", "400 Bad Request-URI"),
    (b"MESSAGE sip:gw.example.net? SIP/2.0", "400 Bad Request-URI"),
    (b"MESSAGE sip:romeo@gw.example.net;method=INVITE SIP/2.0", "400 Bad Request-URI"),
    (b"MESSAGE sip:2001:db8::10 SIP/2.0", "400 Bad Request-URI"),
    (b"MESSAGE sip:romeo@x@gw.example.net SIP/2.0", "400 Bad Request-URI"),
    (b"MESSAGE sip:rom\xc3\xa9o@gw.example.net SIP/2.0", "400 Bad Request-URI"),
    (b"MESSAGE sip:ro?meo@gw.example.net SIP/2.0", "ok"), (b"MESSAGE nobody-has-heard-of:this SIP/2.0", "ok"),
    (b"MESSAGE im:romeo@gw.example.net SIP/2.0", "ok"),
    (b"MESSAGE im:romeo@gw.example.net?a=\x01 SIP/2.0", "400 Bad Request-URI"),
    (b"MESSAGE sip:romeo@gw.example.net\0 SIP/2.0", "400 Bad Request-URI"),
    (b"MESSAGE sip:romeo@gw.example.net\nx SIP/2.0", "400 Bad Request-URI"),
    (b" MESSAGE sip:romeo@gw.example.net SIP/2.0", "dropped Not SIP"),
    (b"", "dropped Not SIP"), (b"GET / HTTP/1.1", "400 Bad Request-Line"),
    (b"M\xc3\x89SSAGE sip:romeo@gw.example.net SIP/2.0", "dropped Not SIP"),
])  # fmt: skip
def test_request_lines(start: bytes, said: str) -> None:
    assert verdict(octets(start=start)) == said


@pytest.mark.requirement("SIP-03")
@pytest.mark.parametrize("method", ["message", "Message", "MESSAGE%", "RE%47IST%45R", "!interesting-Method0123456789_*+`.%indeed'~"])
def test_methods_are_tokens_with_case(method: str) -> None:
    data = octets(rows(cseq=f"1 {method}"), start=f"{method} sip:romeo@gw.example.net SIP/2.0".encode())
    assert read(data).method == method
    assert verdict(data.replace(f"1 {method}".encode(), b"1 MESSAGE")) == "400 CSeq method mismatch"


@pytest.mark.requirement("SIP-04", "SIP-71")
@pytest.mark.parametrize(
    ("version", "said"),
    [
        (b"sip/2.0", "ok"),
        (b"SIP/7.0", "505 Version Not Supported"),
        (b"SIP/2.1", "505 Version Not Supported"),
        (b"sip/1.0", "505 Version Not Supported"),
        (b"SIP/2.00", "505 Version Not Supported"),
        (b"SIP/2", "400 Bad Request-Line"),
        (b"SIP2.0", "400 Bad Request-Line"),
    ],
)
def test_versions(version: bytes, said: str) -> None:
    assert verdict(octets(start=b"MESSAGE sip:romeo@gw.example.net " + version)) == said


@pytest.mark.requirement("SIP-04", "SIP-05", "TOR-09")
@pytest.mark.parametrize(
    ("line", "status", "reason"),
    [
        (b"SIP/2.0 200 OK", 200, "OK"),
        (b"sip/2.0 100 ", 100, ""),
        (b"SIP/2.0 202", 202, ""),
        (b"SIP/2.0 699 a  b\tc", 699, "a  b\tc"),
        (b"SIP/2.0 480 \xd0\x9d\xd0\xb5\xd1\x82", 480, "Нет"),
        (b"SIP/2.0 480 \xff", 480, "\ufffd"),
    ],
)
def test_status_lines(line: bytes, status: int, reason: str) -> None:
    response = read_response(octets(RESPONSE_ROWS, b"", line))
    assert (response.status, response.reason) == (status, reason)


@pytest.mark.requirement("SIP-04", "SIP-05", "TOR-09")
@pytest.mark.parametrize(
    "line",
    [
        b"SIP/2.0 4294967301 no",
        b"SIP/2.0 99 no",
        b"SIP/2.0 700 no",
        b"SIP/2.0 2000",
        b"SIP/2.0 +20 no",
        b"SIP/2.0  200 OK",
        b"SIP/2.0",
        b"SIP/2.0 ",
        b"SIP/3.0 200 OK",
        b"SIP/2.0 200 \0",
        b"SIP/2.0 200OK",
        "SIP/2.0 \u0662\u0660\u0660 OK".encode(),
        b"SIP/2.0 200 a\nb",
    ],
)
def test_bad_responses_are_dropped(line: bytes) -> None:
    fault = fault_of(octets(RESPONSE_ROWS, b"", line))
    assert fault is not None
    assert (fault.status, fault.partial) == (0, None)


@pytest.mark.requirement("SIP-20", "TOR-09")
@pytest.mark.parametrize("missing", ["Via", "From", "To", "Call-ID", "CSeq"])
def test_a_response_that_lacks_something_is_dropped(missing: str) -> None:
    left = [row for row in RESPONSE_ROWS if row[0] != missing]
    assert verdict(octets(left, b"", b"SIP/2.0 200 OK")) == f"dropped Missing {missing}"


@pytest.mark.requirement("SIP-45", "SEC-41")
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\r\n",
        b"\r\n\r\n",
        b"\0" * 40,
        b"\0\x01\0\0\x21\x12\xa4\x42" + bytes(12),
        b"\r\n\r\n" + octets(),
        b"hello",
        b":\r\n\r\n",
        b"\xff" * 600,
        b"\r\n\r\n\0",
        b"MESSAGE",
        b"M E S S A G E",
    ],
)
def test_noise_is_dropped(data: bytes) -> None:
    assert verdict(data).startswith("dropped")


@pytest.mark.requirement("TXN-30", "SEC-41")
def test_an_ack_is_never_answered() -> None:
    data = octets(rows(cseq="1 ACK", call_id=None), start=START.replace(b"MESSAGE", b"ACK"))
    assert verdict(data) == "dropped Missing Call-ID"


# -- rows --------------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("SIP-06", "SEC-29")
@pytest.mark.parametrize(
    ("row", "said"),
    [
        (b"X: y", "ok"),
        (b"X:y", "ok"),
        (b"X \t :\t y \t", "ok"),
        (b"X:", "ok"),
        (b"X", "400 Bad header line"),
        (b": y", "400 Bad header line"),
        (b"X Y: z", "400 Bad header line"),
        (b"X\x0b: y", "400 Bad header line"),
        (b"(X): y", "400 Bad header line"),
        (b"\xc3\xa9: y", "400 Bad header line"),
        (b"X: a\0b", "400 Bad header line"),
        (b'X: "a\\\0b"', "ok"),
        (b'X: "a\0b"', "400 Bad header line"),
        (b'X: "a" \\\0', "400 Bad header line"),
        (b'X: "a\\\0', "400 Bad header line"),
        (b'X: "a\\" \\\0"', "ok"),
        (b"X\0: y", "400 Bad header line"),
        (b"X: a\rb", "400 Bad header line"),
        (b"X: a\nb", "400 Bad header line"),
        (b"X: a\nVia: b", "400 Bad header line"),
        (b"X: a\n", "400 Bad header line"),
        (b"X: a\r", "400 Bad header line"),
        (b"X: a\x01\x7f", "ok"),
        (b"X: \xff\xfe", "ok"),
    ],
)
def test_rows(row: bytes, said: str) -> None:
    assert verdict(START + b"\r\n" + row + octets()[len(START) :]) == said
    assert verdict(octets(body=b"").removesuffix(b"5\r\n\r\n") + b"0\r\n" + row + b"\r\n\r\n") == said


@pytest.mark.requirement("TOR-35", "SEC-29")
@pytest.mark.parametrize("end", [b"\n", b"\r", b"\n\r", b"\r\r\n", b"\n\n", b"\r\n\0"])
def test_other_line_ends(end: bytes) -> None:
    data = octets()
    places = [at for at in range(len(data) - 5) if data.startswith(b"\r\n", at)]
    for at in places[1:-1]:
        broken = data[:at] + end + data[at + 2 :]
        fault = fault_of(broken)
        assert fault is not None
        assert fault.status in (0, 400)
        if fault.partial:
            assert b"\n" not in writer.response(fault.partial, 400, fault.what, to_tag="x").replace(b"\r\n", b"")


@pytest.mark.requirement("SIP-08")
@pytest.mark.parametrize(
    ("folded", "value"),
    [
        (b"Subject: a\r\n b", "a b"),
        (b"Subject:\r\n a", "a"),
        (b"Subject: a\r\n\t\tb\r\n  c", "a b c"),
        (b"Subject: a \r\n \r\n b", "a   b"),
        (b"Subject: a\r\n ", "a"),
        (b"Subject:\r\n \r\n ", ""),
    ],
)
def test_folding(folded: bytes, value: str) -> None:
    data = octets().replace(b"\r\nContent-Length", b"\r\n" + folded + b"\r\nContent-Length")
    message = read(data)
    assert (message.header("subject"), message.body) == (value, b"hello")
    assert ("subject", value.encode()) in message.rows


@pytest.mark.requirement("SIP-08")
@pytest.mark.parametrize("blank", [b" ", b"\t", b"  "])
def test_white_space_in_front_of_the_first_row(blank: bytes) -> None:
    assert verdict(START + b"\r\n" + blank + octets()[len(START) + 2 :]) == "dropped Bad header line"
    assert verdict(START + b"\r\n" + blank + b"X: y" + octets()[len(START) :]) == "400 Bad header line"


@pytest.mark.requirement("SIP-17", "TOR-10")
def test_unknown_headers_are_kept_as_they_are() -> None:
    message = read(changed(**{UNKNOWN: ";;,,;;,;"}))
    assert message.header(UNKNOWN.upper()) == ";;,,;;,;"
    assert message.values(UNKNOWN) == (";;,,;;,;",)
    assert message.written[-1] == (UNKNOWN.lower().encode(), b";;,,;;,;")
    assert message.header("x-other") is None


@pytest.mark.requirement("SIP-18")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Date", "Fri, 01 Jan 2010 16:00:00 EST"),
        ("Warning", "1812 overture"),
        ("Timestamp", "x"),
        ("Contact", '"'),
        ("Contact", "a b"),
        ("Contact", "*"),
        ("Supported", ","),
        ("Retry-After", "soon"),
        ("Content-Language", "@"),
        ("User-Agent", ""),
        ("Subject", ""),
        ("Allow", ",,"),
        ("Content-Encoding", ";"),
        ("Record-Route", "<"),
        ("Reply-To", ":"),
        ("Organization", '"'),
        ("Min-Expires", "-"),
        ("P-Asserted-Identity", "<<"),
    ],
)
def test_malformed_headers_that_are_not_needed(name: str, value: str) -> None:
    message = read(octets([*ROWS, (name, value)]))
    assert message.header(name) == value
    assert (message.contact, message.warning, message.retry_after, message.content_language) == ((), (), None, None)


@pytest.mark.requirement("SIP-18", "SIP-20", "SIP-23")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Via", ""),
        ("From", ""),
        ("From", "sip:"),
        ("From", "<sip:a@h>;tag="),
        ("From", "<sip:a@h>;tag=a b"),
        ("From", '<sip:a@h>;tag="a"b'),
        ("To", '"a <sip:a@h>'),
        ("From", "<sip:a@h>;tag"),
        ("From", '<sip:a@h>;tag="a b"'),
        ("Call-ID", ""),
        ("Call-ID", "a b"),
        ("Call-ID", "a@b@c"),
        ("CSeq", "x MESSAGE"),
        ("CSeq", "2147483648 MESSAGE"),
        ("Max-Forwards", "x"),
        ("Max-Forwards", "-1"),
        ("Max-Forwards", ""),
        ("Max-Forwards", "70;x"),
        ("Expires", "x"),
        ("Expires", "-1"),
        ("Require", "a b"),
        ("Require", ","),
        ("Route", "<sip:a@h"),
        ("Content-Type", "text"),
        ("Content-Type", ""),
    ],
)
def test_malformed_headers_that_are_needed(name: str, value: str) -> None:
    left = [row for row in ROWS if row[0] != name]
    assert verdict(octets([*left, (name, value)])) == f"{'dropped' if name == 'Via' else '400'} Bad {name}"


@pytest.mark.requirement("SIP-21", "SIP-22")
@pytest.mark.parametrize(
    ("name", "value", "seen"),
    [
        ("Max-Forwards", "0068", 68),
        ("Max-Forwards", "0", 0),
        ("Max-Forwards", "255", 255),
        ("Max-Forwards", "256", None),
        ("Max-Forwards", "9" * 101, None),
        ("Expires", "0", 0),
        ("Expires", "4294967295", 2**32 - 1),
        ("Expires", "4294967296", None),
        ("Expires", "1" + "0" * 100, None),
        ("Retry-After", "0010 (in a\t(while));duration=5", 10),
        ("Retry-After", "949302838503028349304023988", None),
        ("Retry-After", "5;x", 5),
        ("Retry-After", "5x", None),
    ],
)
def test_numbers(name: str, value: str, seen: int | None) -> None:
    message = read(octets([row for row in ROWS if row[0] != name] + [(name, value)]))
    assert getattr(message, name.lower().replace("-", "_")) == seen


@pytest.mark.requirement("SIP-13")
@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("From", "<sip:a@h>;tag=1;TAG=2", "400 Bad From"),
        ("To", "<sip:a@h>;x=1;X=1", "400 Bad To"),
        ("Via", "SIP/2.0/UDP h;branch=z9hG4bK1;rport;Branch=z9hG4bK2", "400 Bad Via"),
    ],
)
def test_a_parameter_twice(name: str, value: str, said: str) -> None:
    assert verdict(octets([row for row in ROWS if row[0] != name] + [(name, value)])) == said


@pytest.mark.requirement("SIP-27", "SIP-09")
def test_content_type() -> None:
    message = read(changed(content_type='Text / Plain ; Charset="utf-8" ; format=flowed'))
    assert message.content_type is not None
    assert (message.content_type.essence, message.content_type.param("charset")) == ("text/plain", "utf-8")
    assert verdict(changed(content_type=None)) == "400 Missing Content-Type"
    assert verdict(octets(rows(content_type=None, content_length="0"), b"")) == "ok"
    assert verdict(octets(rows(content_type="?", content_length="0"), b"")) == "ok"


@pytest.mark.requirement("SIP-28", "SIP-10", "SIP-11")
def test_lists_in_any_mix() -> None:
    message = read(
        octets(
            [
                *ROWS,
                ("Require", "a, b"),
                ("Supported", "x"),
                ("k", "y , z"),
                ("REQUIRE", "c"),
                ("e", "GZip , X"),
                ("Content-Language", "@, de-CH, en"),
            ]
        )
    )
    assert (message.require, message.values("supported"), message.values("k")) == (("a", "b", "c"), ("x", "y", "z"), ("x", "y", "z"))
    assert message.values("content-encoding") == ("GZip", "X")
    assert message.content_language == "de-CH"


@pytest.mark.requirement("SIP-10", "SIP-11", "SIP-16")
def test_routes_and_contacts() -> None:
    message = read(
        octets(
            [
                *ROWS,
                ("Route", '<sip:a,b@h;lr>, "x, y" <sip:c@h>'),
                ("Contact", "sip:d@h;expires=5"),
                ("Route", "<sip:e@h>"),
                ("m", '"," <sip:f@h>, sip:g@h'),
            ]
        )
    )
    assert [each.uri_text for each in message.route] == ["sip:a,b@h;lr", "sip:c@h", "sip:e@h"]
    assert [(each.uri_text, each.param("expires")) for each in message.contact] == [("sip:d@h", "5"), ("sip:f@h", None), ("sip:g@h", None)]


@pytest.mark.requirement("SIP-10")
def test_credentials_are_never_split() -> None:
    value = 'Digest realm="a", nonce="b", uri="sip:h"'
    message = read(octets([*ROWS, ("Authorization", value), ("Authorization", "Other x, y")]))
    assert message.values("authorization") == (value, "Other x, y")


@pytest.mark.requirement("SIP-19")
def test_headers_of_the_other_class_are_no_matter() -> None:
    assert verdict(octets([*ROWS, ("Retry-After", "x"), ("Unsupported", "a"), ("Proxy-Authenticate", "?")])) == "ok"
    assert verdict(octets([*RESPONSE_ROWS, ("Max-Forwards", "x"), ("Require", ","), ("Route", "<")], b"", b"SIP/2.0 200 OK")) == "ok"


@pytest.mark.requirement("SIP-14", "SIP-26", "SEC-32")
def test_text_beyond_ascii() -> None:
    message = read(changed(**{"from": '"Джульетта \\"J\\"" <sip:juliet@client.example.org>;x="é";tag=1', "Subject": "Привет"}))
    assert (message.from_.display_name, message.from_.param("x"), message.header("subject")) == ('Джульетта "J"', "é", "Привет")


@pytest.mark.requirement("SIP-26", "TOR-38", "SEC-32")
@pytest.mark.parametrize(
    ("row", "said"),
    [
        (b"Subject: \xff", "ok"),
        (b"X: \xc0\xaf", "ok"),
        (b'From: "\xff" <sip:a@h>', "400 Bad From"),
        (b'To: "\xc0\xaf" <sip:a@h>', "400 Bad To"),
        (b'Via: SIP/2.0/UDP h;x="\xff"', "dropped Bad Via"),
        (b"Call-ID: \xff", "400 Bad Call-ID"),
        (b"CSeq: 1 \xff", "400 Bad CSeq"),
        (b"Content-Type: text/\xff", "400 Bad Content-Type"),
    ],
)
def test_what_is_no_utf_8(row: bytes, said: str) -> None:
    name = row.partition(b":")[0].decode()
    data = octets([each for each in ROWS if each[0] != name])
    if said.startswith("dropped"):
        said = "400" + said.removeprefix("dropped")  # what stands before the broken parameter is enough to answer by
    assert verdict(START + b"\r\n" + row + data[len(START) :]) == said
    if said == "ok":
        message = read(START + b"\r\n" + row + data[len(START) :])
        assert set(message.header(name) or "") == {"\ufffd"}
        assert message.rows[0][1] == row.partition(b": ")[2]


@pytest.mark.requirement("SIP-60", "TXN-04")
@pytest.mark.parametrize(
    "branch",
    ["branch=z9hG4bK", "branch=Z9HG4BK", "branch", "branch=[::1]", 'branch="z9hG4bKab\\\1"', 'branch="z9hG4bKab\ufffe"',
     'branch="z9hG4bKa b"', 'branch="1\\\1"'],
)  # fmt: skip
def test_a_branch_that_names_nothing_or_is_no_token(branch: str) -> None:
    assert verdict(changed(via=f"SIP/2.0/UDP client.example.org;{branch};rport")) == "400 Bad Via branch"


@pytest.mark.parametrize(
    "uri",
    [
        "sip:juliet@client.example.org?Route=x",
        "sips:juliet@client.example.org;method=INVITE",
        "sip:juliet?x;method=y@client.example.org;x=1",
        "mailto:juliet@client.example.org?subject=x",
    ],
)
def test_what_a_from_should_not_hold_is_let_pass(uri: str) -> None:
    """RFC 3261 section 19.1.1: disallowed components are ignored. Nothing is ever sent to this URI."""
    assert verdict(changed(**{"from": f"<{uri}>;tag=t1"})) == "ok"


def test_old_peers_have_no_branch_and_no_tag() -> None:
    message = read(octets(rows(via="SIP/2.0/UDP client.example.org", **{"from": "sip:juliet@client.example.org"}, max_forwards=None)))
    assert (message.top_via.branch, message.from_.tag, message.max_forwards) == (None, None, None)


# -- once only ---------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("SIP-12", "SEC-28", "TOR-32")
@pytest.mark.parametrize("name", sorted(SINGLE))
@pytest.mark.parametrize("same", [True, False])
def test_a_single_header_twice(name: str, same: bool) -> None:
    known = dict(ROWS).get(title(name), "5")
    once = [(each, value) for each, value in ROWS if each != title(name)]
    short = next((letter for letter, long in COMPACT.items() if long == name), name.upper())
    other = known if same else known + "1"
    assert verdict(octets([*once, (title(name), known)])) in ("ok", f"400 Bad {title(name)}")
    assert verdict(octets([(short, other), *once, (title(name), known)])) == f"400 Repeated {title(name)}"


@pytest.mark.requirement("SIP-12", "TOR-32")
def test_a_single_header_is_no_list() -> None:
    for name, value in ROWS:
        if name in ("From", "To", "Call-ID", "CSeq", "Content-Length", "Max-Forwards", "Content-Type"):
            assert verdict(octets([(each, f"{old}, {value}" if each == name else old) for each, old in ROWS])) == f"400 Bad {name}"


def test_unknown_headers_and_lists_may_repeat() -> None:
    message = read(octets([*ROWS, (UNKNOWN, "1"), (UNKNOWN.upper(), "1"), ("Allow", "A"), ("Allow", "B")]))
    assert (message.values(UNKNOWN), message.values("allow")) == (("1", "1"), ("A", "B"))


# -- framing of a datagram ---------------------------------------------------------------------------------------------
@pytest.mark.requirement("SIP-40", "SEC-27")
@pytest.mark.parametrize(
    ("length", "body", "said"),
    [
        ("5", b"hello", "ok"),
        ("05", b"hello", "ok"),
        ("0000000000000005", b"hello", "ok"),
        ("5", b"hello, and more", "ok"),
        ("0", b"", "ok"),
        ("0", b"x", "ok"),
        (None, b"hello", "ok"),
        (None, b"", "ok"),
        ("6", b"hello", "400 Content-Length does not match"),
        ("9999", b"hello", "400 Content-Length does not match"),
        ("-5", b"hello", "400 Bad Content-Length"),
        ("+5", b"hello", "400 Bad Content-Length"),
        ("", b"hello", "400 Bad Content-Length"),
        ("5 5", b"hello", "400 Bad Content-Length"),
        ("5, 5", b"hello", "400 Bad Content-Length"),
        ("0x5", b"hello", "400 Bad Content-Length"),
        ("five", b"hello", "400 Bad Content-Length"),
        ("5.0", b"hello", "400 Bad Content-Length"),
        ("9999999999", b"hello", "400 Content-Length does not match"),
        ("10000000000", b"hello", "400 Bad Content-Length"),
        ("99999999999", b"hello", "400 Bad Content-Length"),
        ("\u0665", b"hello", "400 Bad Content-Length"),
    ],
)
def test_content_length(length: str | None, body: bytes, said: str) -> None:
    data = octets(rows(content_length=length), body)
    assert verdict(data) == said
    if said == "ok":
        assert read(data).body == body[: int(length) if length else None]


@pytest.mark.requirement("SIP-18")
def test_a_type_without_a_body_counts_where_it_can_be_read() -> None:
    assert str(read(octets(rows(content_length="0"), b"")).content_type) == "text/plain"
    assert read(octets(rows(content_length="0", content_type=None), b"")).content_type is None
    for odd in ("text", "", "a/b;", 'text/plain;charset="', "\ufffe"):
        assert read(octets(rows(content_length="0", content_type=odd), b"")).content_type is None
        assert verdict(changed(content_type=odd)) == "400 Bad Content-Type"


@pytest.mark.requirement("SIP-18", "SIP-70")
def test_what_has_passed_the_check_can_be_read_without_another_fault() -> None:
    """So that whoever processes a request need not think of it."""
    views = [name for kind in (Headers, Request) for name, value in vars(kind).items() if isinstance(value, View)]
    names = ["Max-Forwards", "From", "To", "Call-ID", "CSeq", "Content-Type", "Expires", "Require", "Route", "Contact", "Warning",
             "Content-Language", "Retry-After", "Via"]  # fmt: skip
    passed = 0
    for name in names:
        for odd in ("", "x", '"', "<", ";", ",", "=?", "0", "99999999999", "a/b;c", "text/plain, a/b", "a@b:c", "<sip:@>", "\ufffe"):
            for body in (b"", b"hello"):
                rows = [*(row for row in ROWS[:-1] if row[0] != name), (name, odd), ("Content-Length", str(len(body)))]
                request = parse(octets(rows, body))
                assert isinstance(request, Request)
                if fault_of(octets(rows, body)) is None:
                    request.check()
                    passed += 1
                    assert [getattr(request, view) for view in views]
    assert passed > 50


@pytest.mark.requirement("SIP-55")
def test_what_asks_for_a_request_does_so_in_sip_uris_only() -> None:
    for uri, said in (("im:romeo@gw.example.net?a=b", "ok"), ("sip:romeo@gw.example.net?a=b", "400 Bad Request-URI")):
        assert verdict(octets(start=b"MESSAGE %b SIP/2.0" % uri.encode())) == said


@pytest.mark.requirement("TOR-12")
def test_strict_reading_lets_a_quoted_name_hold_anything() -> None:
    for value, said in (
        ('"a < b;; > \\" ;" <sip:a@h>;tag=1', "ok"),
        ("<sip:a@h>;;tag=1", "400 Bad From"),
        ("< sip:a@h>;tag=1", "400 Bad From"),
    ):
        assert verdict(changed(**{"from": value}), strict=True) == said


@pytest.mark.requirement("SIP-41", "SEC-26")
def test_a_message_of_a_stream_has_its_exact_length() -> None:
    assert verdict(octets(), stream=True) == "ok"
    assert verdict(changed(content_length=None), stream=True) == "400 Missing Content-Length"
    assert verdict(octets(body=b"hello!"), stream=True) == "400 Content-Length does not match"


@pytest.mark.requirement("SIP-01")
def test_the_blank_line_has_to_be_there() -> None:
    whole = octets()
    assert verdict(whole.replace(b"\r\n\r\n", b"\r\n")) == "400 Unterminated header section"
    fault = fault_of(whole[: whole.index(b"\r\nContent-Type") - 3])
    assert fault is not None
    assert fault.partial is not None
    assert [name for name, _ in fault.partial.rows] == ["via", "from", "to", "call-id"]


@pytest.mark.requirement("SIP-01", "TOR-37")
@given(st.binary(max_size=300))
@settings(deadline=None)
def test_a_body_is_any_octets(body: bytes) -> None:
    assert read(octets(rows(content_length=str(len(body))), body)).body == body
    assert read(octets(rows(content_length=str(len(body))), body + b"\r\nMESSAGE")).body == body


# -- limits ------------------------------------------------------------------------------------------------------------
def many(name: str, count: int, value: str = "x") -> list[tuple[str, str]]:
    return [*ROWS, *[(name, value)] * count]


LOWER_VIA = "SIP/2.0/TCP h.example.org;branch=z9hG4bKlow"


@pytest.mark.requirement("SIP-30", "SEC-35", "TOR-36")
@pytest.mark.parametrize(("wanted", "said"), [
    (many(UNKNOWN, 64), "ok"), (many(UNKNOWN, 65), "513 Message Too Large"), (many("Via", 63, LOWER_VIA), "ok"),
    (many("Via", 64, LOWER_VIA), "513 Message Too Large"),
    (many("Via", 1, ", ".join([LOWER_VIA] * 69)), "ok"), (many("Via", 1, ", ".join([LOWER_VIA] * 70)), "513 Message Too Large"),
    ([*ROWS, *[(f"X{number}", "y") for number in range(992)]], "ok"),
    ([*ROWS, *[(f"X{number}", "y") for number in range(993)]], "513 Message Too Large"),
    (rows(**{"from": "<sip:juliet@client.example.org>;tag=" + "t" * 15_000}), "ok"),
    (rows(**{"from": "<sip:juliet@client.example.org>;tag=" + "t" * 20_000}), "513 Message Too Large"),
    (rows(**{"from": "<sip:juliet@client.example.org>" + "".join(f";p{number}=v" for number in range(100))}), "ok"),
], ids=["64 rows", "65 rows", "64 Via rows", "65 Via rows", "70 Via values", "71 Via values", "1000 rows", "1001 rows", "long tag",
"longer tag", "100 parameters"])  # fmt: skip
def test_limits(wanted: list[tuple[str, str]], said: str) -> None:
    assert verdict(octets(wanted)) == said


@pytest.mark.requirement("SIP-30", "SEC-35", "TOR-36")
def test_the_size_of_header_section_and_body() -> None:
    head = octets(body=b"").index(b"\r\n\r\n")
    room = 16_384 - head - len(b"\r\nX: ")
    assert verdict(octets([*ROWS, ("X", "y" * room)])) == "ok"
    assert verdict(octets([*ROWS, ("X", "y" * (room + 1))])) == "513 Message Too Large"
    body = b"x" * (65_536 - head - 4)
    assert verdict(octets(rows(content_length=None), body + b"x" * 19)) == "ok"
    assert verdict(octets(rows(content_length=None), body + b"x" * 20)) == "413 Request Entity Too Large"
    assert verdict(octets(rows(content_length=None), b"x" * 65_535)[:65_535]) == "ok"


def test_limits_can_be_set() -> None:
    for limits, status in ((Limits(head=200), 513), (Limits(message=200), 413), (Limits(rows=7, rows_of_name=7), 513)):
        with pytest.raises(BadMessage) as caught:
            parse(octets(body=b"hello"), limits=limits)
        assert caught.value.status == status
    with pytest.raises(BadMessage):
        parse(octets()).check(Limits(vias=0))


@pytest.mark.requirement("SIP-30", "TOR-08")
def test_a_message_that_is_too_large_is_answered_with_all_its_vias() -> None:
    fault = fault_of(octets([*ROWS, *[("Via", LOWER_VIA)] * 64]))
    assert fault is not None
    assert fault.partial is not None
    assert writer.response(fault.partial, 513, fault.what, to_tag="x").count(b"\r\nVia: ") == 65


# -- answering what is broken ------------------------------------------------------------------------------------------
@pytest.mark.requirement("TOR-08", "TOR-31")
@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("Via", "dropped Missing Via"),
        ("From", "400 Missing From"),
        ("To", "400 Missing To"),
        ("Call-ID", "400 Missing Call-ID"),
        ("CSeq", "400 Missing CSeq"),
        ("Max-Forwards", "ok"),
        ("Content-Length", "ok"),
        ("Content-Type", "400 Missing Content-Type"),
    ],
)
def test_each_header_missing(missing: str, said: str) -> None:
    assert verdict(octets([row for row in ROWS if row[0] != missing])) == said


@pytest.mark.requirement("TOR-08", "SIP-24")
@pytest.mark.parametrize(
    ("via", "copied"),
    [
        ("SIP/2.0/UDP 192.0.2.15;;,;,,", b"SIP/2.0/UDP 192.0.2.15"),
        ("SIP/2.0/UDP h;branch=z9hG4bK1;rport;;,", b"SIP/2.0/UDP h;branch=z9hG4bK1;rport"),
        ('SIP/2.0/UDP h:5070;branch=z9hG4bK1;x="', b"SIP/2.0/UDP h:5070;branch=z9hG4bK1"),
        ("SIP/2.0/UDP h;branch=z9hG4bK1;x=(", b"SIP/2.0/UDP h;branch=z9hG4bK1"),
        ("SIP/2.0/UDP h;branch=a;x;Branch=b;y", b"SIP/2.0/UDP h;branch=a;x"),
        ("SIP/2.0/UDP", None),
        (";;", None),
        ("SIP/2.0/UDP 2001:db8::1;branch=z9hG4bK1", None),
    ],
)
def test_of_a_broken_via_the_readable_beginning_is_copied(via: str, copied: bytes | None) -> None:
    fault = fault_of(octets([("Via", via), *ROWS[1:]]))
    assert fault is not None
    assert (fault.partial.via_values if fault.partial else [None]) == [copied]


@pytest.mark.requirement("TOR-08")
def test_a_broken_lower_via_is_refused_and_left_out() -> None:
    fault = fault_of(octets([*ROWS, ("Via", "SIP/2.0/TCP a;;"), ("Via", LOWER_VIA)]))
    assert fault is not None
    assert (fault.what, fault.partial and [via.host for via in fault.partial.vias]) == ("Bad Via", ["client.example.org", "h.example.org"])


@pytest.mark.requirement("SIP-24")
def test_a_lower_via_that_cannot_be_is_left_out_of_the_list() -> None:
    message = read(octets([*ROWS, ("Via", "SIP/2.0/TCP a:99999"), ("Via", LOWER_VIA)]))
    assert [via.host for via in message.vias] == ["client.example.org", "h.example.org"]
    assert len(message.via_values) == 3


@pytest.mark.requirement("TOR-08", "SIP-32")
def test_no_control_octet_goes_back() -> None:
    fault = fault_of(
        octets(
            rows(
                to='"\\\0\\\x07" <sip:romeo@gw.example.net>;tag=t2',
                **{"from": '"\\\x7f" <sip:juliet@client.example.org>;x=1;tag=t1'},
                max_forwards="x",
            )
        )
    )
    assert fault is not None
    assert fault.partial is not None
    assert dict(fault.partial.rows) == {
        "via": ROWS[0][1].encode(), "from": b"<sip:juliet@client.example.org>;tag=t1", "to": b"<sip:romeo@gw.example.net>;tag=t2",
        "call-id": b"1@client.example.org", "cseq": b"1 MESSAGE",
    }  # fmt: skip


# -- families of TOR-30 to TOR-36 --------------------------------------------------------------------------------------
@pytest.mark.requirement("TOR-30")
@given(st.permutations(ROWS))
@settings(deadline=None)
def test_any_order_of_rows(order: list[tuple[str, str]]) -> None:
    assert what_counts(read(octets(order))) == what_counts(read(octets()))


@pytest.mark.requirement("SIP-06", "SIP-07", "TOR-33")
@given(st.data())
@settings(deadline=None)
def test_any_spelling_of_names(data: st.DataObject) -> None:
    spelled = []
    for name, value in ROWS:
        short = next((letter for letter, long in COMPACT.items() if long == name.lower()), name)
        chosen = data.draw(st.sampled_from([name, name.lower(), name.upper(), name.swapcase(), short, short.upper()]))
        spelled.append((chosen + data.draw(st.sampled_from(["", " ", "\t "])), value))
    assert what_counts(read(octets(spelled))) == what_counts(read(octets()))


GAPS = {
    "Via": ["", "SIP", "/", "2.0", "/", "UDP", " client.example.org", ":", "5060", ";", "branch", "=", "z9hG4bK-1", ";", "rport", ""],
    "From": ["", '"J C"', "<sip:juliet@client.example.org>", ";", "tag", "=", "t1", ";", "x", "=", '"a;b"', ""],
    "To": ["", "sip:romeo@gw.example.net", ";", "x", ";", "y", "=", "z", ""],
    "CSeq": ["", "1 ", "MESSAGE", ""],
    "Content-Type": ["", "text", "/", "plain", ";", "charset", "=", "utf-8", ""],
}
"""Values in pieces: white space may stand between any two of them. In Via one blank has to stand before the host."""


@pytest.mark.requirement("SIP-08", "SIP-09", "TOR-34")
@given(st.data())
@settings(deadline=None)
def test_white_space_and_folds_at_every_legal_place(data: st.DataObject) -> None:
    blanks = st.sampled_from(["", "", "", " ", "\t", "  ", "\r\n ", " \r\n\t", "\r\n \r\n "])
    folded, plain = [], []
    for name, value in ROWS:
        pieces = GAPS.get(name, ["", value, ""])
        folded.append((name, "".join(piece + data.draw(blanks) for piece in pieces[:-1])))
        plain.append((name, "".join(pieces)))
    assert what_counts(read(octets(folded))) == what_counts(read(octets(plain)))


@pytest.mark.requirement("TOR-06", "TOR-07")
@given(st.binary(max_size=400))
@settings(deadline=None)
def test_any_octets_behind_a_start_line(noise: bytes) -> None:
    for data in (noise, START + b"\r\n" + noise, octets()[:-9] + noise):
        fault = fault_of(data)
        assert fault is None or fault.status in (0, 400, 413, 505, 513)


def filled(piece: str, before: str = "", after: str = "") -> str:
    return before + piece * (16_000 // len(piece)) + after


HOSTILE: list[tuple[str, str]] = [
    ("Via", filled(";a", "SIP/2.0/UDP h")), ("Via", filled(" ", "SIP/2.0/UDP h;a", "x")), ("Via", filled('\\"', 'SIP/2.0/UDP h;a="')),
    ("Via", filled(",")),
    ("Via", filled("<", "SIP/2.0/UDP h,")), ("Via", filled('"\\"', "SIP/2.0/UDP h,")), ("Via", filled("a/")),
    ("Via", filled(":", "SIP/2.0/UDP h")),
    ("From", filled('\\"', '"')), ("From", filled("a ")), ("From", filled('"')), ("From", filled("<")), ("From", filled(">")),
    ("From", filled(";;", "<sip:a@h>", "(")),
    ("From", filled(";a=1", "<sip:a@h>", "(")), ("From", filled('"a"', "<sip:a@h>;x=")), ("From", filled('">', "<sip:a@h>;x=")),
    ("From", filled(" ", "<sip:a@h>", "(")),
    ("From", filled("a", "<sip:", ">")), ("To", filled("%41", "<sip:", "@h>")), ("To", filled("a@", "<sip:", ">")),
    ("To", filled(":", "<sip:a@[", "]>")),
    ("Call-ID", filled("@")), ("CSeq", filled("1")), ("CSeq", filled(" ", "1", "(")), ("CSeq", filled("0", "", " MESSAGE")),
    ("Max-Forwards", filled("0")),
    ("Require", filled("a,")), ("Require", filled('"')), ("Route", filled("<sip:a@h>,")), ("Contact", filled('\\"', '"')),
    ("Contact", filled('"\\"', "a,")), ("Contact", filled("<", "a,")),
    ("Warning", filled('399 h "x",')), ("Content-Type", filled(";a=b", "text/plain")), ("Content-Language", filled("a-")),
    ("X", filled('"\\\0')), ("X", filled('\\"', '"\\\0')),
    ("X", filled("\r\n ")), ("X", filled("\r\n \t")), ("X", filled(" ", "a", "b")), ("Retry-After", filled("1", "", "x")),
    ("Content-Length", filled("0")),
]  # fmt: skip


@pytest.mark.requirement("SIP-31", "REL-28", "TOR-36")
@pytest.mark.parametrize(
    ("name", "value"), HOSTILE, ids=[f"{number}-{name}-{value[:20]!a}" for number, (name, value) in enumerate(HOSTILE)]
)
def test_nothing_takes_long(name: str, value: str) -> None:
    left = [row for row in ROWS if row[0] != name]
    data = octets([*left, (name, value)])

    def read_twice() -> None:
        for strict in (False, True):
            with suppress(BadMessage):
                message = parse(data, strict=strict)
                _ = (message.contact, message.warning, message.content_language, message.retry_after)
                message.check()

    assert seconds(read_twice, 0.5) < 0.5


@pytest.mark.requirement("SIP-31", "TOR-36")
@pytest.mark.parametrize(
    "make",
    [
        lambda: b"\r\n".join([START, *[b"A: b"] * 10_000]) + b"\r\n\r\n",
        lambda: b"\r\n".join([START, *[b"A%d: b" % number for number in range(6_000)]]) + b"\r\n\r\n",
        lambda: START + b"\r\nA: b" + b"\r\n " * 20_000,
        lambda: b"\r" * 65_000,
        lambda: b"a" * 65_000,
        lambda: START + b"\r\n" + b"\n" * 65_000 + b"\r\n\r\n",
        lambda: b"M" + b" " * 65_000 + b"\r\n\r\n",
        lambda: b"M " + b"a " * 32_000 + b"SIP/2.0\r\n\r\n",
        lambda: START + b'\r\nX: "' + b'\\"' * 30_000 + b"\\\0\r\n\r\n",
    ],
    ids=range(9),
)
def test_nothing_takes_long_beyond_the_limits(make: Callable[[], bytes]) -> None:
    data = make()
    assert fault_of(data) is not None
    assert seconds(lambda: fault_of(data), 0.5) < 0.5


def test_every_view_is_worked_out_once() -> None:
    message = read(octets([*ROWS, ("Contact", "<sip:a@h>")]))
    assert message.contact is message.contact
    assert message.vias is message.vias
    assert message.rows is message.rows


def test_permutations_of_via_rows_keep_their_order() -> None:
    values = [f"SIP/2.0/TCP {host};branch=z9hG4bK{host}" for host in "abc"]
    for order in permutations(values):
        message = read(octets([("Via", f"{order[0]} , {order[1]}"), ("v", order[2]), *ROWS[1:]]))
        assert [value.decode() for value in message.via_values] == list(order)


def test_requests_and_responses_are_told_apart() -> None:
    assert isinstance(parse(octets()), Request)
    assert isinstance(parse(octets(RESPONSE_ROWS, b"", b"SIP/2.0 200 OK")), Response)
