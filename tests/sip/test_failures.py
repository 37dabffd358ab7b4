"""Reports of failed messages in message/sipfrag: what is read from them, and their form."""

from __future__ import annotations

import pytest

from gateway.core import sipfrag
from gateway.core.address import SipAddress
from gateway.core.canonical import text_message
from gateway.core.dates import parse_sip_date
from gateway.core.envelope import Envelope, RequestOrigin
from gateway.core.errors import Refusal
from gateway.core.imdn import NEGATIVE, Asked
from gateway.core.jid import Jid
from gateway.core.mime import Entity, split_multipart
from gateway.core.outcome import Outcome, Verdict
from gateway.core.ports import Notice, Peer
from gateway.core.settings import RouteRule
from gateway.relay.report import failure
from gateway.sip.bodies import bodies
from gateway.sip.codec import Draft
from gateway.sip.failures import Report, compose_report, find_report
from gateway.sip.takes import Takes
from gateway.sip.uas import Uas
from tests.sip.rig import SECRET, codec, guard, request, settings, tables
from tests.sip.sample import read
from tests.vectors import ROOT

VECTORS = ROOT / "tests" / "vectors" / "sipfrag"
FAILURE = (VECTORS / "failure.sipfrag").read_bytes()
TEXT_TYPE = "text/plain;charset=UTF-8"


def body(content: bytes, content_type: str = "message/sipfrag") -> Entity:
    return Entity.compose((("Content-Type", content_type),), content)


def mixed(*parts: Entity) -> Entity:
    content = b"".join([b"--b\r\n" + part.raw + b"\r\n" for part in parts]) + b"--b--\r\n"
    return body(content, "multipart/mixed;boundary=b")


def named(found: Report | None) -> tuple[str, str, Outcome]:
    assert found is not None
    return found.name, found.to.text, found.outcome


EXPECTED = ("5f0c@sip1.example 1", "sip:bob@xmpp.example", Outcome(Verdict.FAILED, 404, "Not Found"))


@pytest.mark.requirement("FRAG-42")
def test_a_report_names_the_request_that_it_is_about() -> None:
    assert named(find_report(body(FAILURE))) == EXPECTED
    assert named(find_report(mixed(body(b"It failed.", "text/plain"), body(FAILURE)))) == EXPECTED
    assert named(find_report(body(FAILURE, "Message/SipFrag ;version=2.0"))) == EXPECTED


@pytest.mark.requirement("FRAG-09", "FRAG-20")
def test_a_report_may_be_written_shorter_and_worse_than_ours() -> None:
    octets = (
        b"sip/2.0 503 Busy%20here\r\nt: Bob <sip:bob@xmpp.example>;tag=9\r\nVia: nothing\r\ni:5f0c@sip1.example\r\n"
        b"Cseq: 0001\r\n MESSAGE\r\nretry-after: 7 (soon)"
    )
    assert named(find_report(body(octets))) == (*EXPECTED[:2], Outcome(Verdict.FAILED, 503, "Busy here", 7.0))


@pytest.mark.parametrize(
    "found",
    [
        body(b""),
        body(b"SIP/2.0 404 Not Found\r\n"),
        body(FAILURE.replace(b"SIP/2.0 404 Not Found\r\n", b"")),
        body(FAILURE.replace(b"SIP/2.0 404 Not Found", b"MESSAGE sip:bob@xmpp.example SIP/2.0")),
        body(FAILURE.replace(b"1 MESSAGE", b"1 INVITE")),
        body(FAILURE.replace(b"1 MESSAGE", b"MESSAGE")),
        body(FAILURE.replace(b"404", b"999")),
        body(FAILURE + b"To: <sip:mira@xmpp.example>\r\n"),
        body(FAILURE, "message/sipfrag;version=3.0"),
        body(FAILURE, "text/plain"),
        body(b"no delimiter", "multipart/mixed;boundary=b"),
        mixed(mixed(body(FAILURE))),
        body(b"--b\r\n\r\n" * 40 + b"--b--\r\n", "multipart/mixed;boundary=b"),
    ],
    ids=["empty", "status", "headers", "request", "method", "cseq", "code", "two-to", "version", "type", "broken", "deep", "many"],
)
@pytest.mark.requirement("FRAG-42", "FRAG-11")
def test_what_names_no_request_is_no_report(found: Entity) -> None:
    assert find_report(found) is None


@pytest.mark.requirement("FRAG-35")
def test_what_a_report_says_is_one_bounded_line() -> None:
    found = find_report(body(FAILURE.replace(b"Not Found", b"%0D%0A<x>%00" + b"y" * 999)))
    assert found is not None
    assert found.outcome.reason == ("<x>\ufffd" + "y" * 999)[:128]


@pytest.mark.requirement("FRAG-40", "FRAG-41", "FRAG-30")
def test_a_report_is_a_text_and_a_fragment() -> None:
    said = FAILURE + b"Contact: <sip:new@xmpp.example>\r\nServer: x\r\nRetry-After: 7\r\n"
    content_type, octets = compose_report("It fäiled.", TEXT_TYPE, sipfrag.parse(said), "r1")
    assert (content_type, octets) == (
        "multipart/mixed;boundary=r1",
        "--r1\r\nContent-Type: text/plain;charset=UTF-8\r\n\r\nIt fäiled.\r\n"
        "--r1\r\nContent-Type: message/sipfrag\r\nContent-Disposition: notification; handling=optional\r\n\r\n".encode()
        + FAILURE
        + b"Retry-After: 7\r\n\r\n--r1--\r\n",
    )
    text, notice = split_multipart(body(octets, content_type))
    assert (text.text(), notice.content) == ("It fäiled.", FAILURE + b"Retry-After: 7\r\n")
    assert named(find_report(body(octets, content_type)))[:2] == EXPECTED[:2]


# -- those of ours -----------------------------------------------------------------------------------------------------
WHEN = parse_sip_date("Fri, 02 Jan 2026 03:04:06 GMT")
ASKED = Asked(frozenset((NEGATIVE,)), "m1", "2026-01-02T03:04:05Z", "im:alice@sip.example")


def failed(asked: Asked | None = None, trace_id: str = "t2") -> Envelope:
    """What tells alice that her message to bob, who is not found, has failed."""
    alice, bob = SipAddress("alice", "sip.example"), Jid("bob", "xmpp.example")
    origin = RequestOrigin("sip:bob@xmpp.example", "5f0c@sip1.example", "1 MESSAGE", asked)
    sent = Envelope("m1", "t1", alice, bob, text_message(alice, bob, "Lunch?", WHEN - 1), WHEN - 1, "udp:192.0.2.7", origin=origin)
    told = failure(sent, Outcome(Verdict.FAILED, 404), trace_id, WHEN)
    assert told
    return told


@pytest.mark.requirement("FRAG-40", "FRAG-41")
@pytest.mark.parametrize(("form", "file"), [("text", "report-text.sip"), ("sipfrag", "report.sip")])
def test_the_worked_example_of_a_report_is_written_octet_for_octet(form: str, file: str) -> None:
    draft = codec(settings(RouteRule("*", "sip:px.sip.example", failure_report=form))).write(failed(), 7).wire
    assert isinstance(draft, Draft)
    assert draft.octets == (VECTORS / file).read_bytes()
    assert len(draft.octets) <= 1300
    assert (FAILURE in draft.octets) == (form == "sipfrag")


def forms(form: str, takes: Takes, asked: Asked | None = None) -> list[str]:
    return [each.feature or each.type for each in bodies(failed(asked), RouteRule("*", failure_report=form), takes, ("", ""))]


@pytest.mark.requirement("FRAG-40", "NOTE-09")
def test_a_failure_is_told_in_the_best_form_that_is_wanted_and_taken() -> None:
    assert forms("sipfrag", Takes()) == ["sipfrag", TEXT_TYPE]
    assert forms("sipfrag", Takes(sipfrag=False)) == forms("text", Takes(sipfrag=True)) == [TEXT_TYPE]
    assert forms("sipfrag", Takes(), ASKED) == ["imdn", "sipfrag", TEXT_TYPE]
    assert forms("none", Takes(), ASKED) == ["imdn"]
    for takes, asked in ((Takes(), None), (Takes(imdn=False), ASKED)):
        with pytest.raises(Refusal, match="failure-not-reported"):
            forms("none", takes, asked)


# -- whose word counts -------------------------------------------------------------------------------------------------
def news(domains: frozenset[str] | None, said: bytes = FAILURE, target: str = "sip:juliet@xmpp.example") -> object:
    """What a report says that a peer for these domains sends."""
    octets = request(uri=target, from_="<sip:gw.elsewhere.example>;tag=1", content_type="message/sipfrag", body=said)
    uas = Uas(guard(settings()), tables(), settings(), SECRET, frozenset())
    return uas.message(read(octets), Peer("phone", domains), "t1", WHEN)


@pytest.mark.requirement("FRAG-42", "FRAG-31", "SEC-43")
def test_a_peer_is_heard_on_the_domains_that_it_speaks_for() -> None:
    said = FAILURE.replace(b"bob@xmpp.example", b"Romeo@sip.example")
    name, outcome = EXPECTED[0], EXPECTED[2]
    expected = (Notice((name, "romeo@sip.example", "juliet@xmpp.example"), outcome, is_report=True),)
    assert news(None, said) == news(frozenset(("sip.example",)), said) == expected
    for domains, text, target in (
        (frozenset(("new.example",)), said, "sip:juliet@xmpp.example"),
        (None, said, "sip:juliet@elsewhere.example"),
    ):
        assert news(domains, text, target) == ()


@pytest.mark.requirement("FRAG-45")
def test_what_has_not_failed_is_no_news() -> None:
    for status in (b"100", b"200", b"299"):
        assert news(None, FAILURE.replace(b"404", status)) == ()
