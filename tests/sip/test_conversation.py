"""The header fields by which RCS names conversations: read, repeated in answers, written (RCS-02, RCS-03)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.core.canonical import text_message
from gateway.core.envelope import Conversation, Envelope, StanzaOrigin
from gateway.core.settings import RouteRule
from gateway.sip import writer
from gateway.sip.codec import Draft
from tests.sip.rig import codec, headers, request, settings
from tests.sip.sample import read
from tests.sip.test_reading import NOW, PARTIES, envelope

ROMEO, JULIET = PARTIES.sender, PARTIES.recipient
SAID = Conversation("k1", "c2", "c1")
NAMES = ("Conversation-ID", "Contribution-ID", "InReplyTo-Contribution-ID")


@pytest.mark.requirement("RCS-02", "RCS-03", "IMSG-10")
def test_what_is_said_of_a_conversation_is_read_and_is_its_thread() -> None:
    found = envelope(request(conversation_id="k1", CONTRIBUTION_ID="c2", inreplyto_contribution_id="c1"))
    assert (found.conversation, found.thread) == (SAID, "k1")
    assert envelope(request(contribution_id="c2")).conversation == Conversation("", "c2")
    assert envelope(request(contribution_id="c2")).thread == "call-1"
    assert envelope(request(inreplyto_contribution_id="c1")).conversation is None
    assert envelope(request(conversation_id="xmpp-thread.two%20words")).thread == "two words"


@pytest.mark.requirement("RCS-02", "SEC-19")
@pytest.mark.parametrize("bad", ["", "a b", "a\tb", "x" * 256, "é", "a;b", "a,b", "a@b@c"])
def test_what_could_be_no_call_id_is_no_name(bad: str) -> None:
    sip = read(request(conversation_id=bad, contribution_id=bad))
    assert (envelope(sip).conversation, envelope(sip).thread) == (None, "call-1")
    assert b"-ID: " not in writer.response(sip, 202, "Accepted", to_tag="t").replace(b"Call-ID: ", b"")


def test_a_name_that_is_said_twice_is_said_by_none() -> None:
    twice = request(conversation_id="k1").replace(b"conversation-id: k1\r\n", b"conversation-id: k1\r\nConversation-ID: k2\r\n")
    assert envelope(twice).conversation is None


@pytest.mark.requirement("RCS-02")
def test_answers_repeat_conversation_and_contribution() -> None:
    sip = read(request(conversation_id="f81d4fae-7dec", contribution_id="c@2", inreplyto_contribution_id="c1"))
    answer = writer.response(sip, 404, "Not Found", to_tag="t")
    assert [headers(answer, name) for name in NAMES] == [["f81d4fae-7dec"], ["c@2"], []]


# -- to SIP -----------------------------------------------------------------------------------------------------------------
def written(body: str, said: Conversation | None = SAID, **rule: str | bool) -> bytes:
    message = text_message(JULIET, ROMEO, body, NOW)
    mine = StanzaOrigin("m1", "chat", "juliet@xmpp.example/x", "romeo@sip.example")
    letter = Envelope("m1", "t1", JULIET, ROMEO, message, NOW, "xmpp:sip.example", thread="k1", conversation=said, origin=mine)
    asking = replace(letter, asked=frozenset(("positive-delivery",)))
    draft = codec(settings(RouteRule("*", **rule))).write(asking, 7).wire  # type: ignore[arg-type]
    assert isinstance(draft, Draft)
    return draft.octets


@pytest.mark.requirement("RCS-02", "RCS-01")
def test_an_answer_to_an_rcs_user_is_message_cpim_with_its_names() -> None:
    found = written("hi")
    assert [headers(found, name) for name in NAMES] == [["k1"], ["c2"], ["c1"]]
    assert headers(written("hi", imdn="never"), "Content-Type") == ["message/cpim"]
    assert headers(written("hi", None, imdn="never"), "Content-Type") == ["text/plain;charset=UTF-8"]
    assert headers(written("hi", cpim="never"), "Content-Type") == ["text/plain;charset=UTF-8"]
    assert headers(written("hi", Conversation("two words", "c2")), "Conversation-ID") == ["xmpp-thread.two%20words"]
    assert headers(written("hi", Conversation("x" * 256, "c2")), "Conversation-ID") == []


@pytest.mark.requirement("RCS-02", "IMSG-27")
def test_no_message_is_too_large_for_the_names_of_its_conversation() -> None:
    """First the receipt is not asked for, then it is plain text, then the names are left out; its words never are."""
    kinds = []
    for octets in range(500, 1000, 25):
        found = written("x" * octets)
        assert len(found) <= 1300
        assert found.endswith(b"x" * octets)
        kinds.append((headers(found, "Content-Type")[0][:8], b"imdn.Message-ID" in found, bool(headers(found, "Conversation-ID"))))
    assert list(dict.fromkeys(kinds)) == [
        ("message/", True, True), ("message/", False, True), ("text/pla", False, True), ("text/pla", False, False),
    ]  # fmt: skip
