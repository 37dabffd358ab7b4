"""SIP MESSAGE -> Envelope."""

from __future__ import annotations

import pytest

from gateway.core.address import SipAddress
from gateway.core.envelope import Envelope, RequestOrigin
from gateway.core.errors import Refusal
from gateway.core.jid import Jid
from gateway.core.ports import Parties
from gateway.core.tables import read_tables
from gateway.sip import writer
from gateway.sip.message import Request, Response, parse
from gateway.sip.reading import read_message, read_response, stanza_id
from tests.cli.running import VECTORS
from tests.sip.rig import JULIET, request
from tests.sip.sample import RESPONSE_ROWS, octets, read

NOW = 1_770_000_000.0
"""Mon, 02 Feb 2026 02:40:00 GMT."""
PARTIES = Parties(SipAddress("romeo", "sip.example"), Jid("juliet", "xmpp.example"))


def envelope(data: bytes | Request, parties: Parties = PARTIES) -> Envelope:
    """What becomes of a request."""
    found = read_message(read(data) if isinstance(data, bytes) else data, parties, "udp:127.0.0.1", "trace-1", NOW)
    assert found
    return found


def refusal(data: bytes) -> str:
    with pytest.raises(Refusal) as refused:
        read_message(read(data), PARTIES, "udp:127.0.0.1", "trace-1", NOW)
    return refused.value.key


def test_a_text_becomes_an_envelope_with_all_that_its_answers_need() -> None:
    found = envelope(request(call_id="Call.1@h", cseq="7 MESSAGE", to="<sip:juliet@xmpp.example>"), Parties(*PARTIES[:2], "phone", "home"))
    assert (found.id, found.trace_id, found.thread, found.peer) == ("-1", "trace-1", "Call.1@h", "udp:127.0.0.1")
    assert (found.sender, found.recipient, found.sender_device, found.recipient_device) == (*PARTIES[:2], "phone", "home")
    assert (found.received_at, found.expires_at) == (NOW, None)
    assert found.origin == RequestOrigin(JULIET, "Call.1@h", "7 MESSAGE")
    assert found.message.entity.content == b"hello"
    assert found.message.first("From") == "<im:romeo@sip.example>"
    assert found.message.first("DateTime") == "2026-02-02T02:40:00Z"


def test_subject_language_and_name_come_along() -> None:
    found = envelope(request(subject=" Midi ", content_language="fr", from_='"Romeo, M." <sip:romeo@sip.example>;tag=1'))
    assert found.message.subjects == (("Midi", ""),)
    assert found.message.entity.header("Content-Language") == "fr"
    assert found.message.first("From") == '"Romeo, M." <im:romeo@sip.example>'


@pytest.mark.requirement("IMSG-14")
@pytest.mark.parametrize(("party", "name"), [
    ('"Romeo, \\"M.\\""', 'Romeo, "M."'), ("Romeo M.", "Romeo M."), ('""', ""), ("", ""),
    ('"a\\\tb"', "a b"), ('"a\\\x07b"', "a\ufffdb"), ('"juliet@xmpp.example"', ""), (f'"{"x" * 129}"', ""), ('"+1 555 0100"', ""),
])  # fmt: skip
def test_the_display_name_of_from_is_the_name_of_the_sender(party: str, name: str) -> None:
    romeo = f"{party} <sip:romeo@sip.example>;tag=1"
    assert envelope(request(from_=romeo)).sender_name == name
    assert envelope(request(body=CPIM % (b"", b"text/plain"), content_type="message/cpim", from_=romeo)).sender_name == name


@pytest.mark.requirement("ICPIM-20", "SEC-06")
def test_a_formal_name_is_not_the_name_of_the_sender() -> None:
    body = CPIM.replace(b"From: ", b"From: Juliet ") % (b"", b"text/plain")
    assert envelope(request(body=body, content_type="message/cpim")).sender_name == ""


@pytest.mark.requirement("IMSG-14")
@pytest.mark.parametrize(
    ("privacy", "name"), [("id", ""), ("user", ""), ("header;critical", ""), ("", ""), ("none", "Romeo"), (" None ", "Romeo")]
)
def test_who_asks_for_privacy_is_not_named(privacy: str, name: str) -> None:
    assert envelope(request(privacy=privacy, from_='"Romeo" <sip:romeo@sip.example>;tag=1')).sender_name == name


@pytest.mark.parametrize(
    ("charset", "octets", "text"),
    [("", "Midi ça va".encode(), "Midi ça va"), (";charset=ISO-8859-1", b"\xe7a", "ça"), (';charset="utf-8"', "ü".encode(), "ü"),
     (";charset=US-ASCII", b"plain", "plain")],
)  # fmt: skip
def test_the_body_is_text_in_its_charset(charset: str, octets: bytes, text: str) -> None:
    assert envelope(request(body=octets, content_type=f"text/plain{charset}")).message.entity.text() == text


@pytest.mark.requirement("MSG-32")
def test_an_empty_message_has_nothing_to_deliver_but_its_subject() -> None:
    assert read_message(read(request(body=b"")), PARTIES, "p", "t", NOW) is None
    assert read_message(read(request(body=b"", subject=" ")), PARTIES, "p", "t", NOW) is None
    found = envelope(request(body=b"", subject="Only this"))
    assert (found.message.subjects, found.message.entity.content) == ((("Only this", ""),), b"")


@pytest.mark.parametrize(
    ("change", "expires_at"),
    [
        ({"expires": "60"}, NOW + 60),
        ({"expires": "60", "date": "Mon, 02 Feb 2026 02:39:30 GMT"}, NOW + 30),
        ({"expires": "60", "date": "Mon, 02 Feb 2026 03:00:00 GMT"}, NOW + 60),
        ({"expires": "60", "date": "yesterday"}, NOW + 60),
        ({"expires": "99999999999"}, None),
        ({"date": "Mon, 02 Feb 2026 02:39:30 GMT"}, None),
    ],
)
@pytest.mark.requirement("SIP-89", "SIP-22")
def test_expires_counts_from_the_date_or_from_now(change: dict[str, str], expires_at: float | None) -> None:
    assert envelope(request(**change)).expires_at == expires_at  # type: ignore[arg-type]


@pytest.mark.requirement("SIP-89")
@pytest.mark.parametrize("change", [{"expires": "0"}, {"expires": "30", "date": "Mon, 02 Feb 2026 02:39:30 GMT"}])
def test_what_has_expired_is_refused(change: dict[str, str]) -> None:
    assert refusal(request(**change)) == "expired"  # type: ignore[arg-type]


@pytest.mark.requirement("MSG-16", "MSG-52", "MSG-53")
def test_the_worked_message_ends_at_its_instant_and_is_answered_as_it_is_written() -> None:
    """Date and Expires name 03:06:05Z, and so it is, however late it comes; from then on it is refused."""
    whole = (VECTORS / "m1-request.sip").read_bytes()
    worked, end = read(whole), 1_767_323_165.0
    assert (len(whole), len(worked.body)) == (343, 13)
    for now in (end - 60, end - 1):
        found = read_message(worked, PARTIES, "p", "t", now)
        assert found
        assert found.expires_at == end
    for now in (end, end + 1):
        with pytest.raises(Refusal, match="expired"):
            read_message(worked, PARTIES, "p", "t", now)
    assert writer.response(worked, 202, "Accepted", to_tag="g7") == (
        b"SIP/2.0 202 Accepted\r\nVia: SIP/2.0/TCP sip1.example;branch=z9hG4bK7d1f\r\nFrom: <sip:alice@sip.example>;tag=a1\r\n"
        b"To: <sip:bob@xmpp.example>;tag=g7\r\nCall-ID: 5f0c@sip1.example\r\nCSeq: 1 MESSAGE\r\nContent-Length: 0\r\n\r\n"
    )


CPIM = b"From: <im:romeo@sip.example>\r\nTo: <im:juliet@xmpp.example>\r\n%b\r\nContent-Type: %b\r\n\r\nhello"


def cpim(extra: bytes = b"", content_type: bytes = b"text/plain; charset=utf-8") -> bytes:
    return request(body=CPIM % (extra, content_type), content_type="message/cpim")


def test_message_cpim_stays_as_it_came() -> None:
    assert envelope(cpim(b"X-Odd:  1 \r\n")).message.raw == CPIM % (b"X-Odd:  1 \r\n", b"text/plain; charset=utf-8")


@pytest.mark.requirement("MSG-32")
def test_message_cpim_without_text_has_nothing_to_deliver_but_its_subject() -> None:
    def empty(extra: bytes = b"") -> bytes:
        return request(body=(CPIM % (extra, b"text/plain")).removesuffix(b"hello"), content_type="message/cpim")

    for extra in (b"", b"Subject: \r\n", b"Subject: \\t\r\n"):
        assert read_message(read(empty(extra)), PARTIES, "p", "t", NOW) is None
    assert envelope(empty(b"Subject: Only this\r\n")).message.subjects == (("Only this", ""),)


def test_the_message_id_of_imdn_is_the_id_if_it_is_a_token() -> None:
    declared = b"NS: imdn <urn:ietf:params:imdn>\r\nimdn.Message-ID: "
    assert envelope(cpim(declared + b"Kd8s2h\r\n")).id == "Kd8s2h"
    assert envelope(cpim(declared + b"two words\r\n")).id == "-1"
    assert envelope(cpim()).id == "-1"


@pytest.mark.parametrize(
    ("data", "key"),
    [
        (cpim(b"NS: odd <urn:odd>\r\nRequire: odd.New\r\n"), "cpim-require"),
        (cpim(b"NS: imdn <urn:ietf:params:imdn>\r\nRequire: imdn.Bogus\r\n"), "cpim-require"),
        (cpim(content_type=b"image/png"), "type-unsupported"),
        (request(body=b"no cpim at all", content_type="message/cpim"), "bad-body"),
        (request(content_type="image/png"), "type-unsupported"),
        (request(body=b"\xff"), "bad-request-text"),
    ],
)
def test_bodies_that_are_refused(data: bytes, key: str) -> None:
    assert refusal(data) == key


@pytest.mark.requirement("MSG-30", "MSG-31")
@pytest.mark.parametrize("disposition", ["render", "Render ; handling=required", "inline", "render;handling=optional", ""])
def test_text_that_is_to_be_shown_is_shown(disposition: str) -> None:
    assert envelope(request(content_disposition=disposition)).message.entity.text() == "hello"
    inside = f"Content-Disposition: {disposition}\r\n".encode()
    body = CPIM.replace(b"Content-Type", inside + b"Content-Type") % (b"", b"text/plain")
    assert envelope(request(body=body, content_type="message/cpim")).message.entity.text() == "hello"


@pytest.mark.requirement("MSG-33")
@pytest.mark.parametrize("handling", ["", ";handling=required", ";handling=optional"])
@pytest.mark.parametrize(
    "kind",
    ["session", "early-session", "icon", "alert", "by-reference", "attachment", "notification", "SESSION ", "renders", "x-new", "\u212a"],
)
def test_text_that_is_there_for_anything_else_is_refused(kind: str, handling: str) -> None:
    assert refusal(request(content_disposition=kind + handling)) == "type-unsupported"
    assert refusal(request(body=CPIM % (b"", b"text/plain"), content_type="message/cpim", content_disposition=kind)) == "type-unsupported"
    inside = f"Content-Disposition: {kind}{handling}\r\n".encode()
    body = CPIM.replace(b"Content-Type", inside + b"Content-Type") % (b"", b"text/plain")
    assert refusal(request(body=body, content_type="message/cpim")) == "type-unsupported"


@pytest.mark.requirement("MSG-32")
def test_the_disposition_of_no_body_says_nothing() -> None:
    found = envelope(request(body=b"", subject="Only this", content_disposition="session"))
    assert found.message.subjects == (("Only this", ""),)


def test_the_id_is_the_branch_without_its_cookie_or_a_digest_of_what_never_changes() -> None:
    old = "SIP/2.0/UDP 127.0.0.1:5070;branch=7"
    assert stanza_id(read(request(branch="z9hG4bK-a.b"))) == "-a.b"
    assert stanza_id(read(request(branch="Z9HG4BK-a.b"))) == "-a.b"
    first = stanza_id(read(request(via=old)))
    assert first == stanza_id(read(request(via=old, max_forwards="3")))
    assert len(first) == 32
    assert first != stanza_id(read(request(via=old, cseq="2 MESSAGE")))


@pytest.mark.requirement("MSG-49")
@pytest.mark.parametrize("status", [404, 413, 480, 486, 500, 503, 600, 603])
def test_retry_after_is_heard_with_every_status_that_may_have_it(status: int) -> None:
    for value, seconds in (("120 (in a meeting);duration=60", 120), ("0", 0), ("soon", None)):
        response = parse(octets((*RESPONSE_ROWS, ("Retry-After", value)), b"", f"SIP/2.0 {status} No".encode()))
        assert isinstance(response, Response)
        assert read_response(response, read_tables(None)).retry_after == seconds
