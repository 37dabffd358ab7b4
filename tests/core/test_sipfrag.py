"""message/sipfrag: the tables of valid and invalid fragments, strict and lenient, and its bounds."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core import sipfrag, sipfrag_writer
from gateway.core.errors import SyntaxFault
from gateway.core.sipfrag import Fragment, Kind, parse
from gateway.core.text import has_control

SDP = b"v=0\r\no=alice 2890844526 2890844526 IN IP4 host.anywhere.example\r\ns=\r\n"
OWN_WARNING = '399 atlanta.example "Your Event header field was malformed"'
CONTACTS = "<sip:pc@atlanta.example>;q=0.9, <sip:mob@atlanta.example>;q=0.1"
IDENTITY = (
    ("From", "Alice <sip:alice@atlanta.example>;tag=a1"),
    ("To", "Bob <sip:bob@biloxi.example>"),
    ("Contact", "<sip:alice@pc.atlanta.example>"),
    ("Date", "Fri, 02 Jan 2026 03:04:05 GMT"),
    ("Call-ID", "77ab@pc.example"),
    ("Cseq", "9 INVITE"),
)


def block(*headers: tuple[str, str]) -> bytes:
    return b"".join([f"{name}: {value}\r\n".encode() for name, value in headers])


# -- valid -------------------------------------------------------------------------------------------------------------
Start = tuple[Kind, str, str, int, str]
NONE: Start = (Kind.HEADERS, "", "", 0, "")
VALID: dict[str, tuple[bytes, Start, tuple[tuple[str, str], ...], bytes]] = {
    "V1": (
        b"INVITE sip:alice@atlanta.example SIP/2.0\r\n",
        (Kind.REQUEST, "INVITE", "sip:alice@atlanta.example", 0, ""),
        (),
        b"",
    ),
    "V2": (b"SIP/2.0 603 Declined\r\n", (Kind.RESPONSE, "", "", 603, "Declined"), (), b""),
    "V3": (
        b"REGISTER sip:atlanta.example SIP/2.0\r\nTo: sip:alice@atlanta.example\r\n"
        b"Contact: <sip:pc@atlanta.example>;q=0.9,\r\n <sip:mob@atlanta.example>;q=0.1\r\n",
        (Kind.REQUEST, "REGISTER", "sip:atlanta.example", 0, ""),
        (("To", "sip:alice@atlanta.example"), ("Contact", CONTACTS)),
        b"",
    ),
    "V4": (
        b"SIP/2.0 400 Bad Request\r\n" + block(("Warning", OWN_WARNING)),
        (Kind.RESPONSE, "", "", 400, "Bad Request"),
        (("Warning", OWN_WARNING),),
        b"",
    ),
    "V4-as-printed": (
        b"SIP/2.0 400 Bad Request\r\n" + block(("Warning", OWN_WARNING.replace('"', ""))),
        (Kind.RESPONSE, "", "", 400, "Bad Request"),
        (("Warning", OWN_WARNING.replace('"', "")),),
        b"",
    ),
    "V5": (block(*IDENTITY), NONE, IDENTITY, b""),
    "V6": (
        b"SIP/2.0 200 OK\r\nContent-Type: application/sdp\r\nContent-Length: %d\r\n\r\n" % len(SDP) + SDP,
        (Kind.RESPONSE, "", "", 200, "OK"),
        (("Content-Type", "application/sdp"), ("Content-Length", str(len(SDP)))),
        SDP,
    ),
    "V7": (
        b"Content-Type: text/plain\r\nContent-Length: 11\r\n\r\nHi There!\r\n",
        NONE,
        (("Content-Type", "text/plain"), ("Content-Length", "11")),
        b"Hi There!\r\n",
    ),
    "V8": (b"SIP/2.0 202 Accepted\r\n\r\n", (Kind.RESPONSE, "", "", 202, "Accepted"), (), b""),
    "V9": (b"", NONE, (), b""),
    "null-line-alone": (b"\r\n", NONE, (), b""),
    "empty-reason": (b"sip/2.0 404 \r\n", (Kind.RESPONSE, "", "", 404, ""), (), b""),
    "body-taken-away": (b"Content-Type: a/b\r\nContent-Length: 247\r\n", NONE, (("Content-Type", "a/b"), ("Content-Length", "247")), b""),
}


@pytest.mark.requirement("FRAG-20", "FRAG-13", "FRAG-03")
@pytest.mark.parametrize("strict", [True, False], ids=["strict", "lenient"])
@pytest.mark.parametrize("name", VALID)
def test_valid_fragments_are_read(name: str, strict: bool) -> None:
    octets, start, headers, body = VALID[name]
    found = parse(octets, strict=strict)
    assert (found.kind, found.method, found.request_uri, found.status, found.reason) == start
    assert (found.headers, found.body, found.errors) == (headers, body, ())


@pytest.mark.requirement("FRAG-01")
def test_no_octets_are_a_fragment_that_says_nothing() -> None:
    assert parse(b"") == Fragment()
    assert parse(b"").kind is Kind.HEADERS


@pytest.mark.requirement("FRAG-06")
def test_a_null_line_without_a_body_changes_nothing() -> None:
    for octets in (b"SIP/2.0 202 Accepted\r\n", block(*IDENTITY)):
        assert parse(octets + b"\r\n") == parse(octets) != parse(b"")


@pytest.mark.requirement("FRAG-08")
def test_the_last_line_may_lack_its_end() -> None:
    assert len(b"SIP/2.0 200 OK") == 14
    assert parse(b"SIP/2.0 200 OK") == parse(b"SIP/2.0 200 OK\r\n")
    assert parse(block(*IDENTITY)[:-2]) == parse(block(*IDENTITY))


@pytest.mark.requirement("FRAG-09")
def test_fields_may_be_folded_short_and_in_any_case() -> None:
    found = parse(b"SIP/2.0 404 Not Found\r\nCseq: 1\r\n MESSAGE\r\ni : a84b4c76e66710\r\nX-A:  1 \r\n\t 2\r\n")
    assert found.headers == (("Cseq", "1 MESSAGE"), ("i", "a84b4c76e66710"), ("X-A", "1  2"))
    assert (found.header("CSeq"), found.header("Call-ID"), found.header("I"), found.header("To")) == (
        "1 MESSAGE",
        "a84b4c76e66710",
        "a84b4c76e66710",
        None,
    )


@pytest.mark.requirement("FRAG-13")
def test_the_raw_slices_are_the_fields_as_they_came() -> None:
    slices = [b"to:<sip:bob@xmpp.example>", b"X-\x4fdd :\t\xff8-bit ", b"Contact: <sip:a@x>,\r\n\t<sip:b@x>"]
    found = parse(b"SIP/2.0 404 Not Found\r\n" + b"\r\n".join(slices) + b"\r\n\r\n")
    assert [each.raw for each in found.fields] == slices
    assert found.start_line == b"SIP/2.0 404 Not Found"


@pytest.mark.requirement("FRAG-10")
def test_a_body_is_octets() -> None:
    body = b"\x00\xff\xfe\r\n\r\n\n\r"
    found = parse(b"X-Name: \xe9\r\nContent-Type: a/b\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    assert found.body == body
    assert found.fields[0].raw == b"X-Name: \xe9"
    assert found.headers[0] == ("X-Name", "\ufffd")
    assert parse(b"Content-Type: a/b\r\n\r\n" + body).body == body


# -- invalid -----------------------------------------------------------------------------------------------------------
REQUEST = b"INVITE sip:alice@atlanta.example SIP/2.0\r\n"
MESSAGE = b"MESSAGE sip:alice@atlanta.example SIP/2.0\r\n"
GONE = b"SIP/2.0 404 Not Found\r\n"
INVALID: dict[str, tuple[bytes, str, int, bytes, list[str]]] = {
    # octets, the primary error, where it is, and what a lenient reader keeps: the start line, the names of fields
    "X1": (b"INVITE\r\n", "Bad start line", 0, b"", []),
    "X1-two-words": (b"INVITE sip:alice@atlanta.example\r\nTo: <sip:b@x>\r\n", "Bad start line", 0, b"", ["To"]),
    "X2": (b"INVITE sip:alice@atlanta.example SIP/1.09\r\n", "Unsupported SIP version", 0, b"", []),
    "X2-status": (b"SIP/1.09 404 Not Found\r\n", "Unsupported SIP version", 0, b"", []),
    "X3": (b"SIP/2.0\r\n", "Bad start line", 0, b"", []),
    "X3-no-reason": (b"SIP/2.0 404\r\n", "Bad start line", 0, b"", []),
    "X4": (b"404 Not Found\r\nTo: <sip:b@x>\r\n", "Bad start line", 0, b"", ["To"]),
    "X5": (REQUEST + b"Via: SIP/2.0/UDP ;branch=z9hG4bK29342a\r\nTo: <sip:b@x>\r\n", "Bad Via", 42, REQUEST, ["To"]),
    "X6": (b"To: <>;tag=39234\r\nTo: sip:a@x\r\nCall-ID: this is invalid\r\nX: 1\r\n", "Bad To", 0, b"", ["X"]),
    "X6-two-to": (GONE + b"To: <sip:b@x>\r\nTo: sip:a@x\r\n", "Repeated To", 23, GONE, []),
    "X6-two-to-one-short": (GONE + b"To: <sip:b@x>\r\nX: 1\r\nt: sip:b@x\r\n", "Repeated To", 23, GONE, ["X"]),
    "X6-call-id": (GONE + b"X: 1\r\nCall-ID: this is invalid\r\n", "Bad Call-ID", 29, GONE, ["X"]),
    "X7": (b"From: <sip:bob@biloxi.example>;tag=z9hG4bK2912;tag=z9hG4bK99234\r\n", "Bad From", 0, b"", []),
    "X7-in-a-via": (b"Via: SIP/2.0/UDP h;branch=1;Branch=2\r\n", "Bad Via", 0, b"", []),
    "X8": (MESSAGE + b"Hi There!\r\n", "Bad header line", 43, MESSAGE, []),
    "X9": (b"SIP/2.0 99 Odd\r\n", "Bad status code", 0, b"", []),
    "X9-over": (b"SIP/2.0 700 X\r\n", "Bad status code", 0, b"", []),
    "X9-long": (b"SIP/2.0 4040 X\r\n", "Bad status code", 0, b"", []),
    "X10": (b"MESSAGE sip:a@x SIP/2.0\r\nCSeq: 1 INVITE\r\n", "CSeq of another method", 25, b"MESSAGE sip:a@x SIP/2.0\r\n", []),
    "X11": (b"From: <sip:a@x>\r\n\r\ntext", "Body without Content-Type", 19, b"", ["From"]),
    "X11-no-fields": (b"\r\ntext", "Body without Content-Type", 2, b"", []),
    "body-short": (b"c: a/b\r\nl: 5\r\n\r\ntext", "Body shorter than Content-Length", 20, b"", ["c", "l"]),
    "request-uri": (b"MESSAGE alice SIP/2.0\r\n", "Bad Request-URI", 0, b"", []),
    "cseq": (GONE + b"CSeq: one MESSAGE\r\n", "Bad CSeq", 23, GONE, []),
    "cseq-number": (GONE + b"CSeq: 2147483648 MESSAGE\r\n", "Bad CSeq", 23, GONE, []),
    "date": (GONE + b"Date: yesterday\r\n", "Bad Date", 23, GONE, []),
    "length": (GONE + b"Content-Length: -1\r\n", "Bad Content-Length", 23, GONE, []),
    "type": (GONE + b"Content-Type: text\r\n", "Bad Content-Type", 23, GONE, []),
    "two-in-from": (GONE + b"From: <sip:a@x>, <sip:b@x>\r\n", "Bad From", 23, GONE, []),
    "contact": (GONE + b"Contact: <sip:a@x>, nobody\r\n", "Bad Contact", 23, GONE, []),
    "hops": (GONE + b"Max-Forwards: 256\r\n", "Bad Max-Forwards", 23, GONE, []),
    "name": (GONE + b"A B: x\r\nX: 1\r\n", "Bad header line", 23, GONE, ["X"]),
    "control": (GONE + b"A: \x00\r\nX: 1\r\n", "Bad header line", 23, GONE, ["X"]),
    "bare-lf": (b"SIP/2.0 404 Not Found\nTo: <sip:b@x>\n", "Bad start line", 0, b"", []),
    "bare-lf-between": (GONE + b"A: x\nB: y\r\nX: 1\r\n", "Bad header line", 23, GONE, ["X"]),
    "bare-cr": (GONE + b"A: x\rB: y\r\n", "Bad header line", 23, GONE, []),
    "bare-cr-in-reason": (b"SIP/2.0 404 Not\rFound\r\n", "Bad start line", 0, b"", []),
    "blank-before": (b" SIP/2.0 404 Not Found\r\n", "Bad start line", 0, b"", []),
    "fold-behind-the-start": (b"SIP/2.0 404 Not Found\r\n X: 1\r\n", "Bad start line", 0, b"", []),
}


@pytest.mark.requirement("FRAG-20", "FRAG-02", "FRAG-14")
@pytest.mark.parametrize("name", INVALID)
def test_invalid_fragments_have_one_primary_error(name: str) -> None:
    octets, what, offset, _, _ = INVALID[name]
    with pytest.raises(SyntaxFault) as caught:
        parse(octets)
    assert (caught.value.what, caught.value.offset) == (what, offset)
    assert caught.value.section.startswith("RFC 3")


@pytest.mark.requirement("FRAG-20", "FRAG-05")
@pytest.mark.parametrize("name", INVALID)
def test_a_lenient_reader_keeps_what_holds_and_invents_nothing(name: str) -> None:
    octets, what, _, start_line, names = INVALID[name]
    found = parse(octets, strict=False)
    assert found.errors[0].what == what
    assert found.start_line == start_line.removesuffix(b"\r\n")
    assert [each.name for each in found.fields] == names
    assert found.body == b""


@pytest.mark.requirement("FRAG-07")
def test_octets_behind_the_stated_length_are_no_body() -> None:
    octets = VALID["V7"][0] + b"GET / HTTP/1.0"
    with pytest.raises(SyntaxFault, match="longer than Content-Length"):
        parse(octets)
    assert parse(octets, strict=False).body == b"Hi There!\r\n"


@pytest.mark.requirement("FRAG-11")
def test_another_version_is_no_fragment_to_us() -> None:
    assert parse(b"SIP/2.0 200 OK", version="2.0").status == 200
    for strict in (True, False):
        with pytest.raises(SyntaxFault, match="Unsupported version"):
            parse(b"SIP/2.0 200 OK", version="3.0", strict=strict)


@pytest.mark.requirement("FRAG-13", "SEC-34")
@pytest.mark.parametrize("strict", [True, False])
def test_it_has_bounds(strict: bool) -> None:
    assert len(parse(GONE + b"A: x\r\n" * 200, strict=strict).fields) == 200
    assert len(parse(b"A: " + b"x" * 65_531 + b"\r\n", strict=strict).fields) == 1
    for octets in (GONE + b"A: x\r\n" * 201, b"A: x\r\n" * 202, b"A: " + b"x" * 65_532 + b"\r\n"):
        with pytest.raises(SyntaxFault):
            parse(octets, strict=strict)


@settings(deadline=None)
@given(st.binary(max_size=40) | st.binary(max_size=40).map(GONE.__add__) | st.binary(max_size=40).map(b"Via: ".__add__))
def test_any_octets_are_a_fragment_or_a_syntax_fault(octets: bytes) -> None:
    lenient = parse(octets, strict=False)
    assert not has_control(lenient.reason)
    assert all(each.raw in octets for each in lenient.fields)
    if not lenient.errors:
        assert parse(octets) == lenient
        return
    with pytest.raises(SyntaxFault) as caught:
        parse(octets)
    assert (caught.value.what, caught.value.offset) == (lenient.errors[0].what, lenient.errors[0].offset)


def test_encoded_controls_in_a_foreign_reason_are_made_safe() -> None:
    assert parse(b"SIP/2.0 404 Not%0D%0AFound%00%FF").reason == "Not Found\ufffd\ufffd"


@pytest.mark.parametrize("to", ["<sip:a;tag=1@x.y;tag=2>", '"; tag=1; tag=2" <tel:+1;tag=a;tag=b>;tag=3', "<sip:a@b>;tag=1"])
def test_a_tag_inside_brackets_or_quotes_is_none_of_the_header(to: str) -> None:
    assert parse(GONE + f"To: {to}\r\n".encode()).header("to") == to


# -- what there is not -------------------------------------------------------------------------------------------------
@pytest.mark.requirement("FRAG-12")
def test_nothing_makes_a_message_of_fragments() -> None:
    """A fragment is read, and an excerpt of one, or a status, is written; nobody takes two fragments."""
    public = {name for module in (sipfrag, sipfrag_writer) for name, value in vars(module).items()
              if callable(value) and value.__module__ == module.__name__ and not name.startswith("_")}  # fmt: skip
    assert public == {"Field", "Fragment", "Kind", "parse", "compose_status", "excerpt"}
