"""Writing message/sipfrag: statuses, excerpts, and what may be said."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.errors import SyntaxFault
from gateway.core.sipfrag import Kind, parse
from gateway.core.sipfrag_values import long_name
from gateway.core.sipfrag_writer import REPORTED, compose_status, excerpt
from gateway.core.text import one_line

VECTORS = Path(__file__).resolve().parents[1] / "vectors" / "sipfrag"
FAILURE = (
    ("To", "<sip:bob@xmpp.example>"),
    ("Call-ID", "5f0c@sip1.example"),
    ("CSeq", "1 MESSAGE"),
    ("Date", "Fri, 02 Jan 2026 03:04:06 GMT"),
)
SOURCE = (
    b"MESSAGE sip:bob@xmpp.example SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.7;branch=z9hG4bK1\r\nMax-Forwards: 70\r\n"
    b"From: <sip:alice@sip.example>;tag=a1\r\nTo: <sip:bob@xmpp.example>\r\nCall-ID: 5f0c@sip1.example\r\nCSeq: 1 MESSAGE\r\n"
    b"Content-Type: text/plain\r\nContent-Length: 6\r\n\r\nLunch?"
)


# -- the worked examples -----------------------------------------------------------------------------------------------
@pytest.mark.requirement("FRAG-08", "FRAG-21")
def test_statuses_are_written_as_in_the_worked_examples() -> None:
    failure, unsupported = [(VECTORS / f"{name}.sipfrag").read_bytes() for name in ("failure", "unsupported-type")]
    assert (len(failure), len(unsupported)) == (133, 70)
    assert compose_status(404, "Not Found", FAILURE) == failure
    assert compose_status(415, "Unsupported Media Type", [("Accept", "text/plain, message/cpim")]) == unsupported
    assert parse(failure).headers == FAILURE


@pytest.mark.requirement("FRAG-05", "FRAG-07", "FRAG-21")
def test_a_body_goes_with_what_describes_it() -> None:
    written = excerpt(parse(SOURCE), ("from", "content-type", "content-length"))
    assert written == (VECTORS / "request.sipfrag").read_bytes()
    assert len(written) == 129
    assert parse(written).body == b"Lunch?"
    assert excerpt(parse(SOURCE), ("content-length",)) == b"MESSAGE sip:bob@xmpp.example SIP/2.0\r\nContent-Length: 6\r\n"


def test_what_would_be_asserted_can_be_read() -> None:
    found = parse((VECTORS / "identity.sipfrag").read_bytes())
    assert (found.kind, found.header("from")) == (Kind.HEADERS, "Alice <sip:alice@sip.example>")
    assert excerpt(found, ("from", "to", "date", "call-id", "cseq")) == (VECTORS / "identity.sipfrag").read_bytes()


# -- statuses ----------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("FRAG-08")
def test_a_status_line_alone_is_enough_and_has_its_end() -> None:
    assert compose_status(200, "OK") == b"SIP/2.0 200 OK\r\n"
    assert compose_status(100, "Trying") == b"SIP/2.0 100 Trying\r\n"


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
    assert parse(written).reason == read


@pytest.mark.requirement("SEC-18", "SEC-19")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("To", "<sip:a@b>\r\nVia: x"),
        ("X", "a\nb"),
        ("X", "a\x00"),
        (" X", "a"),
        ("X o", "a"),
        ("", "a"),
        ("X:", "a"),
        ("X", " a"),
        ("X", "\ud800"),
    ],
)
def test_no_header_can_begin_another_line(name: str, value: str) -> None:
    with pytest.raises(SyntaxFault):
        compose_status(404, "Not Found", [(name, value)])


@pytest.mark.requirement("FRAG-03", "FRAG-14")
@pytest.mark.parametrize("headers", [[("To", "<>")], [("CSeq", "MESSAGE")], [("To", "<sip:a@b>"), ("To", "<sip:a@b>")], [("X", "y")] * 201])
def test_no_status_is_written_that_no_message_could_hold(headers: list[tuple[str, str]]) -> None:
    with pytest.raises(SyntaxFault):
        compose_status(404, "Not Found", headers)


@pytest.mark.parametrize("status", [0, 99, 700, -404])
def test_only_sip_statuses_are_written(status: int) -> None:
    with pytest.raises(SyntaxFault):
        compose_status(status, "x")


@pytest.mark.requirement("FRAG-21", "FRAG-35")
@settings(deadline=None)
@given(
    st.integers(100, 699),
    st.text(),
    st.lists(st.tuples(st.sampled_from(["Subject", "X-A"]), st.text(max_size=20).map(one_line)), max_size=4),
)
def test_a_status_is_read_back(status: int, reason: str, headers: list[tuple[str, str]]) -> None:
    found = parse(body := compose_status(status, reason, headers))
    assert (found.status, found.reason, found.headers) == (status, one_line(reason), tuple(headers))
    assert body.count(b"\r\n") == body.count(b"\n") == body.count(b"\r") == 1 + len(headers)


# -- excerpts ----------------------------------------------------------------------------------------------------------
STARTS = (b"", b"SIP/2.0 486 Busy%20Here\r\n", b"sip/2.0 200 \r\n", b"MESSAGE sip:bob@xmpp.example;gr=x%20y SIP/2.0\r\n")
FIELDS = (
    b"Via: SIP / 2.0/UDP [2001:db8::9]:5060 ;branch=z9hG4bK1;rport, SIP/2.0/TCP h",
    b"v:SIP/2.0/TCP proxy.example;received=192.0.2.1",
    b"Record-Route: <sip:p1.example;lr>,<sip:p2.example;lr>",
    b"Route: <sip:gw.example;lr>",
    b"Max-Forwards:  70",
    b'From: "Al, \\"ice\\"" <sip:alice@sip.example>;tag=1',
    b"t: sip:bob@xmpp.example;tag=x",
    b"i:5f0c@sip1.example",
    b"Cseq: 9 MESSAGE",
    b"Date: Fri, 02 Jan 2026 03:04:06 GMT",
    b"Contact: <sip:a@x>;q=0.5,\r\n\t<sip:b@x>",
    b"Warning: 399 gw.example \"one, two\"",
    b"Retry-After: 18 (busy; later);duration=3600",
    b"Accept: text/plain, message/cpim",
    b"Server: thing/1.0",
    b"P-Asserted-Identity: <sip:alice@sip.example>",
    b"Subject : caf\xc3\xa9 \xff",
    b"Authorization: Digest username=\"alice\"",
)  # fmt: skip
NAMES = tuple({long_name(field.partition(b":")[0].strip().decode()) for field in FIELDS} | {"content-type", "content-length"})


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    fields = draw(st.permutations(FIELDS).map(list))
    body = draw(st.none() | st.binary(min_size=1, max_size=30))
    if body is not None:
        fields += [b"c: text/plain", *draw(st.sampled_from([[], [b"l: %d" % len(body)]]))]
    return draw(st.sampled_from(STARTS)) + b"".join([field + b"\r\n" for field in fields]) + (b"\r\n" + body if body is not None else b"")


@pytest.mark.requirement("FRAG-21", "FRAG-04", "FRAG-09")
@settings(deadline=None, max_examples=1000)
@given(messages(), st.sets(st.sampled_from(NAMES)))
def test_an_excerpt_has_whole_fields_as_they_stood(octets: bytes, names: set[str]) -> None:
    source = parse(octets)
    found = parse(written := excerpt(source, names))
    assert found.start_line == source.start_line
    assert [each.raw for each in found.fields] == [
        each.raw.replace(b"\r\n\t", b" ") for each in source.fields if long_name(each.name) in names
    ]
    assert found.body == (source.body if "content-type" in names else b"")
    assert b"\r\n\t" not in written.removesuffix(source.body)


@pytest.mark.requirement("FRAG-02")
def test_the_version_is_written_in_upper_case() -> None:
    assert excerpt(parse(b"sip/2.0 200 OK"), ()) == b"SIP/2.0 200 OK\r\n"
    assert excerpt(parse(b"MESSAGE sip:a@x sIp/2.0"), ()) == b"MESSAGE sip:a@x SIP/2.0\r\n"


@pytest.mark.requirement("FRAG-30")
def test_a_report_has_nothing_but_what_is_listed() -> None:
    octets = STARTS[1] + b"".join([field + b"\r\n" for field in FIELDS]) + b"Content-Type: application/sdp\r\n\r\nv=0\r\n"
    said = [long_name(each.name) for each in parse(excerpt(parse(octets), REPORTED)).fields]
    assert sorted(said) == ["accept", "call-id", "cseq", "date", "retry-after", "to", "warning"]
    assert parse(excerpt(parse(octets), REPORTED)).body == b""
