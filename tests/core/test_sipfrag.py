"""message/sipfrag: status fragments of failure reports."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.errors import SyntaxFault
from gateway.core.sipfrag import Fragment, compose_status, parse_status
from gateway.core.text import has_control, one_line

FAILURE = (
    b"SIP/2.0 404 Not Found\r\nTo: <sip:bob@xmpp.example>\r\nCall-ID: 5f0c@sip1.example\r\nCSeq: 1 MESSAGE\r\n"
    b"Date: Fri, 02 Jan 2026 03:04:06 GMT\r\n"
)
HEADERS = (
    ("To", "<sip:bob@xmpp.example>"),
    ("Call-ID", "5f0c@sip1.example"),
    ("CSeq", "1 MESSAGE"),
    ("Date", "Fri, 02 Jan 2026 03:04:06 GMT"),
)


@pytest.mark.requirement("FRAG-08", "FRAG-21")
def test_the_worked_examples_are_written_and_read() -> None:
    assert len(FAILURE) == 133
    assert compose_status(404, "Not Found", HEADERS) == FAILURE
    assert parse_status(FAILURE) == Fragment(404, "Not Found", HEADERS)
    unsupported = compose_status(415, "Unsupported Media Type", [("Accept", "text/plain, message/cpim")])
    assert unsupported == b"SIP/2.0 415 Unsupported Media Type\r\nAccept: text/plain, message/cpim\r\n"
    assert len(unsupported) == 70


@pytest.mark.requirement("FRAG-08")
def test_a_status_line_alone_is_enough_with_or_without_its_end() -> None:
    assert compose_status(200, "OK") == b"SIP/2.0 200 OK\r\n"
    assert compose_status(100, "Trying") == b"SIP/2.0 100 Trying\r\n"
    assert parse_status(b"SIP/2.0 200 OK") == parse_status(b"SIP/2.0 200 OK\r\n") == Fragment(200, "OK", ())


@pytest.mark.requirement("FRAG-02", "FRAG-06")
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param(b"SIP/2.0 603 Declined\r\n", Fragment(603, "Declined", ()), id="V2"),
        pytest.param(
            b'SIP/2.0 400 Bad Request\r\nWarning: 399 atlanta.example "Your Event header field was malformed"\r\n',
            Fragment(400, "Bad Request", (("Warning", '399 atlanta.example "Your Event header field was malformed"'),)),
            id="V4",
        ),
        pytest.param(
            b"SIP/2.0 400 Bad Request\r\nWarning: 399 atlanta.com Your Event header field was malformed\r\n",
            Fragment(400, "Bad Request", (("Warning", "399 atlanta.com Your Event header field was malformed"),)),
            id="V4-printed",
        ),
        pytest.param(
            b"SIP/2.0 200 OK\r\nContent-Type: application/sdp\r\nContent-Length: 5\r\n\r\nv=0\r\n",
            Fragment(200, "OK", (("Content-Type", "application/sdp"), ("Content-Length", "5"))),
            id="V6",
        ),
        pytest.param(b"SIP/2.0 202 Accepted\r\n\r\n", Fragment(202, "Accepted", ()), id="V8"),
        pytest.param(b"sip/2.0 404 \r\n", Fragment(404, "", ()), id="empty-reason"),
        pytest.param(b"SIP/2.0 200 OK\r\n\r\nbinary\x00\xff", Fragment(200, "OK", ()), id="body-not-read"),
    ],
)
def test_valid_fragments_are_read(body: bytes, expected: Fragment) -> None:
    assert parse_status(body) == expected


@pytest.mark.requirement("FRAG-09")
def test_fields_may_be_folded_short_and_in_any_case() -> None:
    found = parse_status(b"SIP/2.0 404 Not Found\r\nCseq: 1\r\n MESSAGE\r\ni: a84b4c76e66710\r\n")
    assert found.headers == (("Cseq", "1 MESSAGE"), ("i", "a84b4c76e66710"))
    assert (found.header("CSeq"), found.header("Call-ID")) == ("1 MESSAGE", None)


@pytest.mark.requirement("FRAG-02", "FRAG-14")
@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="V9-says-nothing"),
        pytest.param(b"INVITE\r\n", id="X1"),
        pytest.param(b"INVITE sip:alice@atlanta.example SIP/2.0\r\n", id="V1-is-no-status"),
        pytest.param(b"SIP/1.09 404 Not Found\r\n", id="X2"),
        pytest.param(b"SIP/2.0\r\n", id="X3"),
        pytest.param(b"SIP/2.0 404\r\n", id="X3-no-reason"),
        pytest.param(b"404 Not Found\r\n", id="X4"),
        pytest.param(b"SIP/2.0 404 Not Found\r\nTo: <>;tag=39234\r\n", id="X6-empty-uri"),
        pytest.param(b"SIP/2.0 404 Not Found\r\nTo: <sip:b@x>\r\nTo: sip:a@x\r\n", id="X6-two-to"),
        pytest.param(b"SIP/2.0 404 Not Found\r\nTo: <sip:b@x>\r\nt: sip:a@x\r\n", id="X6-two-to-one-short"),
        pytest.param(b"SIP/2.0 404 Not Found\r\nCall-ID: this is invalid\r\n", id="X6-call-id"),
        pytest.param(b"SIP/2.0 404 Not Found\r\nFrom: <sip:b@x>;tag=a;tag=b\r\n", id="X7"),
        pytest.param(b"SIP/2.0 99 Odd\r\n", id="X9"),
        pytest.param(b"SIP/2.0 700 X\r\n", id="X9-over"),
        pytest.param(b"SIP/2.0 4040 X\r\n", id="X9-long"),
        pytest.param(b"SIP/2.0 404 Not Found\r\nCSeq: one MESSAGE\r\n", id="cseq"),
        pytest.param(b"SIP/2.0 404 Not Found\r\nDate: yesterday\r\n", id="date"),
        pytest.param(b"SIP/2.0 404 Not Found\r\nHi there\r\n", id="X8"),
        pytest.param(b"SIP/2.0 404 Not Found\r\nA B: x\r\n", id="name"),
        pytest.param(b"SIP/2.0 404 Not Found\nTo: <sip:b@x>\n", id="bare-lf"),
        pytest.param(b"SIP/2.0 404 Not Found\r\nA: x\nB: y\r\n", id="bare-lf-between"),
        pytest.param(b"SIP/2.0 404 Not Found\r\nA: x\rB: y\r\n", id="bare-cr"),
        pytest.param(b"SIP/2.0 404 Not\rFound\r\n", id="bare-cr-in-reason"),
        pytest.param(b" SIP/2.0 404 Not Found\r\n", id="blank-before"),
        pytest.param(b"SIP/2.0 404 X\r\n" + b"A: x\r\n" * 201, id="too-many"),
        pytest.param(b"SIP/2.0 404 " + b"x" * 65_536, id="too-long"),
    ],
)
def test_what_is_no_status_fragment_is_refused(body: bytes) -> None:
    with pytest.raises(SyntaxFault):
        parse_status(body)


@pytest.mark.requirement("FRAG-35", "SEC-18")
@pytest.mark.parametrize(
    ("reason", "written", "read"),
    [
        ("Not\r\nVia: x", b"SIP/2.0 404 Not Via: x\r\n", "Not Via: x"),
        ("a\x00b", "SIP/2.0 404 a\ufffdb\r\n".encode(), "a\ufffdb"),
        ('say "no" <x>', b"SIP/2.0 404 say %22no%22 %3Cx%3E\r\n", 'say "no" <x>'),
        ("100% sure", b"SIP/2.0 404 100%25 sure\r\n", "100% sure"),
        ("%0D%0AVia: x", b"SIP/2.0 404 %250D%250AVia: x\r\n", "%0D%0AVia: x"),
        ("žádný", "SIP/2.0 404 žádný\r\n".encode(), "žádný"),
        ("", b"SIP/2.0 404 \r\n", ""),
    ],
)
def test_a_reason_is_one_safe_line(reason: str, written: bytes, read: str) -> None:
    assert compose_status(404, reason) == written
    assert parse_status(written).reason == read


def test_encoded_controls_in_a_foreign_reason_are_made_safe() -> None:
    assert parse_status(b"SIP/2.0 404 Not%0D%0AFound%00%FF").reason == "Not Found\ufffd\ufffd"


@pytest.mark.requirement("SEC-18", "SEC-19")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("To", "<sip:a@b>\r\nVia: x"),
        ("To", "a\nb"),
        ("To", "a\x00"),
        (" To", "a"),
        ("T o", "a"),
        ("", "a"),
        ("To:", "a"),
        ("To", " a"),
        ("To", "\ud800"),
    ],
)
def test_no_header_can_begin_another_line(name: str, value: str) -> None:
    with pytest.raises(SyntaxFault):
        compose_status(404, "Not Found", [(name, value)])


@pytest.mark.parametrize("status", [0, 99, 700, -404])
def test_only_sip_statuses_are_written(status: int) -> None:
    with pytest.raises(SyntaxFault):
        compose_status(status, "x")


@pytest.mark.requirement("FRAG-21", "FRAG-35")
@settings(deadline=None)
@given(
    st.integers(100, 699),
    st.text(),
    st.lists(st.tuples(st.sampled_from(["Warning", "Retry-After", "X-A"]), st.text(max_size=20)), max_size=4),
)
def test_what_is_written_is_read_back(status: int, reason: str, headers: list[tuple[str, str]]) -> None:
    try:
        body = compose_status(status, reason, headers)
    except SyntaxFault:
        assert any(has_control(value) or value != value.strip(" ") for _, value in headers)
        return
    assert parse_status(body) == Fragment(status, one_line(reason), tuple(headers))
    assert body.count(b"\r\n") == body.count(b"\n") == body.count(b"\r") == 1 + len(headers)


@settings(deadline=None)
@given(st.binary(max_size=40) | st.binary(max_size=40).map(b"SIP/2.0 404 X\r\n".__add__))
def test_any_octets_are_a_fragment_or_a_syntax_fault(body: bytes) -> None:
    try:
        found = parse_status(body)
    except SyntaxFault:
        return
    assert 100 <= found.status <= 699
    assert not has_control(found.reason)


@pytest.mark.parametrize("to", ["<sip:a;tag=1@x.y;tag=2>", '"; tag=1; tag=2" <tel:+1;tag=a;tag=b>;tag=3', "<sip:a@b>;tag=1"])
def test_a_tag_inside_brackets_or_quotes_is_none_of_the_header(to: str) -> None:
    assert parse_status(compose_status(404, "Not Found", (("To", to),))).status == 404


def test_two_tags_behind_the_brackets_are_refused() -> None:
    with pytest.raises(SyntaxFault):
        parse_status(b"SIP/2.0 404 Not Found\r\nTo: <sip:a@b>;tag=1;tag=2\r\n")
