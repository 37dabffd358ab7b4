"""Typing notices on the SIP side (RFC 3994): a MESSAGE that is one, and who may be sent one."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from gateway.core.address import SipAddress
from gateway.core.canonical import TYPING_TYPE, typing_message, typing_of
from gateway.core.composing import compose_composing
from gateway.core.envelope import Envelope
from gateway.core.errors import Refusal
from gateway.core.jid import Jid
from gateway.core.ports import Answered, Keys
from gateway.core.settings import RouteRule
from gateway.sip.codec import Draft
from gateway.sip.takes import Takes
from tests.sip.rig import Notes, codec, header, headers, request, settings, status
from tests.sip.test_adapter import both, run
from tests.sip.test_reading import NOW, PARTIES, envelope, refusal

ACTIVE, IDLE = compose_composing(is_active=True), compose_composing(is_active=False)
ASKING = (
    b"From: <im:romeo@sip.example>\r\nTo: <im:juliet@xmpp.example>\r\nDateTime: 2026-02-02T02:00:00Z\r\nNS: imdn <urn:ietf:params:imdn>\r\n"
    b"imdn.Message-ID: m1\r\nimdn.Disposition-Notification: positive-delivery, display\r\n\r\nContent-Type: %b\r\n\r\n%b"
)


def bare(document: bytes = ACTIVE, **changes: str) -> bytes:
    return request(body=document, content_type=TYPING_TYPE, **changes)


def wrapped(document: bytes = ACTIVE, kind: str = TYPING_TYPE) -> bytes:
    return request(body=ASKING % (kind.encode(), document), content_type="message/cpim")


# -- from SIP ----------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("ISC-07", "ISC-09")
@pytest.mark.parametrize(
    ("data", "is_active"),
    [
        (bare(), True),
        (bare(IDLE), False),
        (request(body=ACTIVE, content_type="Application/IM-isComposing+XML;charset=UTF-8"), True),
        (wrapped(), True),
        (wrapped(IDLE, "APPLICATION/im-isComposing+xml"), False),
    ],
)
def test_a_notice_is_read_bare_and_in_message_cpim(data: bytes, is_active: bool) -> None:
    found = envelope(data)
    assert (found.volatile, typing_of(found.message).is_active) == (True, is_active)
    assert (found.sender, found.recipient, found.id) == (*PARTIES[:2], "-1")


@pytest.mark.requirement("IMDN-04", "ISC-07")
def test_a_notice_asks_for_nothing() -> None:
    found = envelope(wrapped())
    assert (found.asked, found.origin, found.sender_name) == (frozenset(), None, "")
    assert envelope(wrapped(b"hello", "text/plain")).asked == {"positive-delivery", "display"}


def test_a_notice_is_for_now_whatever_its_expires_and_its_disposition_say() -> None:
    found = envelope(bare(expires="0", content_disposition="notification"))
    assert (found.volatile, found.expires_at, found.received_at) == (True, None, NOW)


def test_a_text_that_speaks_of_typing_is_a_text() -> None:
    found = envelope(wrapped(b"application/im-iscomposing+xml", "text/plain"))
    assert (found.volatile, found.message.entity.text()) == (False, "application/im-iscomposing+xml")


@pytest.mark.requirement("ISC-10")
@pytest.mark.parametrize(
    ("data", "key"),
    [
        (bare(b"<isComposing/>"), "bad-body"),
        (bare(b""), "bad-body"),
        (bare(b"<!DOCTYPE a>" + ACTIVE.partition(b"?>")[2]), "bad-body"),
        (wrapped(b"active"), "bad-body"),
        (bare(ACTIVE, content_transfer_encoding="rot13"), "encoding-unknown"),
        (request(body=ASKING.replace(b"NS:", b"Require: x.y\r\nNS:", 1) % (TYPING_TYPE.encode(), ACTIVE), content_type="message/cpim"),
         "cpim-require"),
    ],
)  # fmt: skip
def test_a_notice_that_cannot_be_read_is_refused(data: bytes, key: str) -> None:
    assert refusal(data) == key


@dataclass
class Forgetful(Notes):
    """A Sink that, like the relay, knows no volatile message again."""

    def offer(self, envelope: Envelope, answered: Answered, keys: Keys | None = None) -> None:
        self.offered.append((envelope, keys))
        answered(None)


@pytest.mark.requirement("ISC-09", "MSG-19")
def test_a_notice_is_answered_202_and_its_retransmission_is_no_second_notice() -> None:
    async def talk() -> None:
        sink = Forgetful()
        async with both(sink=sink) as (it, romeo):
            first = await romeo.ask(it, bare())
            assert (status(first), await romeo.ask(it, bare())) == (202, first)
            assert [found.volatile for found, _ in sink.offered] == [True]

    run(talk)


# -- to SIP ------------------------------------------------------------------------------------------------------------
def notice(document: bytes = ACTIVE) -> Envelope:
    sender, recipient = Jid("juliet", "xmpp.example"), SipAddress("romeo", "sip.example")
    message = typing_message(sender, recipient, NOW, document)
    return Envelope("id-1", "trace-1", sender, recipient, message, NOW, "xmpp:sip.example", sender_device="balcony", volatile=True)


def written(rule: str, takes: bool | None, document: bytes = ACTIVE) -> bytes | str:
    """The request, or the key of the refusal."""
    by = codec(settings(RouteRule("*", typing=rule)), takes=Takes(typing=takes))
    try:
        draft = by.write(notice(document), 5).wire
    except Refusal as refused:
        return refused.key
    assert isinstance(draft, Draft)
    return draft.octets


@pytest.mark.requirement("XEP-15")
@pytest.mark.parametrize(("rule", "takes", "key"), [
    ("auto", True, ""), ("auto", None, "typing-unknown"), ("auto", False, "type-unsupported"),
    ("always", True, ""), ("always", None, ""), ("always", False, "type-unsupported"),
    ("never", True, "type-unsupported"), ("never", None, "type-unsupported"), ("never", False, "type-unsupported"),
])  # fmt: skip
def test_who_is_sent_a_notice(rule: str, takes: bool | None, key: str) -> None:
    found = written(rule, takes)
    assert (found if isinstance(found, str) else "") == key


@pytest.mark.requirement("ISC-07", "IMDN-04", "ISC-10")
@pytest.mark.parametrize("document", [ACTIVE, IDLE])
def test_a_notice_is_a_bare_document_that_asks_for_nothing(document: bytes) -> None:
    octets = written("auto", True, document)
    assert isinstance(octets, bytes)
    assert octets.endswith(b"\r\n\r\n" + document)
    assert (header(octets, "Content-Type"), header(octets, "Content-Length")) == (TYPING_TYPE, str(len(document)))
    assert (headers(octets, "Date"), headers(octets, "Expires"), b"Disposition" in octets) == ([], [], False)


def test_a_try_that_has_begun_goes_on_whatever_is_learned_meanwhile() -> None:
    by = codec(settings(RouteRule("*", typing="auto")), takes=Takes(typing=None))
    assert by.draft(notice(), 6, "tcp").octets.endswith(ACTIVE)


def test_a_notice_leaves_no_trace_for_later_news() -> None:
    by = codec(settings(), takes=Takes(typing=True))
    assert by.write(replace(notice(), origin=None), 5).traces == ()
