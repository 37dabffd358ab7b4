"""Chat states (XEP-0085) as typing notices: which are read, and how one is written."""

from __future__ import annotations

from dataclasses import replace
from xml.etree.ElementTree import fromstring

import pytest

from gateway.core.canonical import TYPING_TYPE, typing_message, typing_of
from gateway.core.composing import compose_composing
from gateway.core.errors import Refusal
from gateway.core.ports import Parties
from gateway.xmpp import stanza as xml
from tests.xmpp.test_codec import CODEC, MIRA, NOW, TABLES, TOMAS, codec, envelope, read

STATES, HINTS = "http://jabber.org/protocol/chatstates", "urn:xmpp:hints"
_TYPING = next(row for row in TABLES.fields if row.name == "typing")
NARROWED = replace(TABLES, fields=(*TABLES.fields, replace(_TYPING, to_xmpp=False, to_sip=False)))


def state(name: str) -> str:
    return f"<{name} xmlns='{STATES}'/>"


@pytest.mark.requirement("ISC-08", "XEP-07", "XEP-15")
@pytest.mark.parametrize(
    ("name", "is_active"), [("composing", True), ("active", False), ("paused", False), ("inactive", False), ("gone", None), ("x", None)]
)
def test_what_a_chat_state_is_in_sip(name: str, is_active: bool | None) -> None:
    found = read(f"<thread>t-1</thread>{state(name)}", "type='chat'")
    assert (None if found is None else typing_of(found.message).is_active) is is_active
    if found:
        assert (found.volatile, found.asked, found.sender_device, found.thread) == (True, frozenset(), "desk", "")
        assert found.message.entity.content_type.essence == TYPING_TYPE
        assert found.message.entity.content == compose_composing(is_active=bool(is_active))


@pytest.mark.requirement("XEP-07")
@pytest.mark.parametrize("attributes", ["", "type='normal'", "type='headline'", "type='x'"])
def test_a_chat_state_belongs_into_a_chat(attributes: str) -> None:
    assert read(state("composing"), attributes) is None


@pytest.mark.requirement("ISC-08")
@pytest.mark.parametrize("name", ["composing", "active", "gone"])
def test_beside_a_body_a_state_is_dropped(name: str) -> None:
    found = read(f"<body>hi</body>{state(name)}", "type='chat'")
    assert found
    assert (found.volatile, found.message.entity.text()) == (False, "hi")
    assert (found.id, found.message) == (found.trace_id, read("<body>hi</body>", "type='chat'").message)  # type: ignore[union-attr]


@pytest.mark.parametrize("content", [
    state("composing") + "<delay xmlns='urn:xmpp:delay' stamp='2026-02-03T09:15:00Z'/>", f"<x xmlns='urn:x'>{state('composing')}</x>",
    "<composing/>", f"{state('gone')}{state('composing')}", "",
])  # fmt: skip
def test_what_is_old_or_elsewhere_or_ambiguous_says_nothing(content: str) -> None:
    assert read(content, "type='chat'") is None


def test_an_operator_may_leave_typing_out() -> None:
    narrow = codec(tables=NARROWED)
    with pytest.raises(Refusal):
        narrow.write(envelope(message=typing_message(TOMAS, MIRA, NOW, compose_composing(is_active=True)), volatile=True))
    stanza = fromstring(f"<message xmlns='{xml.COMPONENT}' type='chat'>{state('composing')}</message>")
    assert CODEC.read(stanza, Parties(MIRA, TOMAS), "xmpp:sip.example", "t1", NOW)
    assert narrow.read(stanza, Parties(MIRA, TOMAS), "xmpp:sip.example", "t1", NOW) is None


@pytest.mark.requirement("ISC-08", "XEP-14", "XEP-07")
@pytest.mark.parametrize(("token", "name"), [("active", "composing"), ("idle", "active"), ("recording", "active")])
@pytest.mark.parametrize("pager_type", ["", "chat"])
def test_a_notice_is_a_chat_state_that_no_server_keeps(pager_type: str, token: str, name: str) -> None:
    document = f'<isComposing xmlns="urn:ietf:params:xml:ns:im-iscomposing"><state>{token}</state></isComposing>'.encode()
    notice = envelope(message=typing_message(TOMAS, MIRA, NOW, document), volatile=True, sender_device="d", thread="t", sender_name="T")
    parcel = (CODEC if not pager_type else codec(pager_type)).write(notice)
    ends = "from='tomas@sip.example/d' to='mira@xmpp.example' type='chat' id='i1'"
    assert parcel.wire == f"<message {ends}>{state(name)}<no-store xmlns='{HINTS}'/></message>".encode()
    assert (parcel.lane, parcel.gate, parcel.traces) == ("xmpp mira@xmpp.example tomas@sip.example", "sip.example", ())
