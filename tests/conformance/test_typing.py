"""Typing over the whole bridge: RFC 3994 in a MESSAGE, chat states (XEP-0085) in a stanza. Its rules of time: tests/relay/test_typing."""

from __future__ import annotations

from collections.abc import Iterator
from time import monotonic
from xml.etree.ElementTree import fromstring

import pytest

from tests.bridge import Bridge
from tests.bridge import bridge as start
from tests.conformance.talk import Talk, conversation, rows, status_of

TYPE = "application/im-iscomposing+xml"
STATES, HINTS = "http://jabber.org/protocol/chatstates", "urn:xmpp:hints"
ACTIVE = (
    b'<?xml version="1.0" encoding="UTF-8"?>\r\n<isComposing xmlns="urn:ietf:params:xml:ns:im-iscomposing"><state>active</state>'
    b"<refresh>90</refresh></isComposing>"
)
IDLE = ACTIVE.replace(b"active</state><refresh>90</refresh>", b"idle</state>")


@pytest.fixture(scope="module")
def typing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    """A bridge whose route sends typing notices also to whom nothing is known of."""
    with start(tmp_path_factory.mktemp("typing"), tables='[[route]]\ndomain = "*"\ntyping = "always"\n') as it:
        yield it


async def seen(it: Talk) -> list[str]:
    """What the next stanza of romeo's is made of, each child by its name; and that it is a chat state which nobody keeps."""
    stanza = fromstring(await it.hears())
    names = [each.tag.rpartition("}")[2] for each in stanza]
    if "body" not in names:
        assert {each.tag.partition("}")[0] for each in stanza} == {f"{{{STATES}", f"{{{HINTS}"}
        assert stanza.get("type") == "chat"
    return names


def types(it: Talk, state: str, attributes: str = "type='chat'") -> None:
    it.writes(f"<{state} xmlns='{STATES}'/>", attributes)


async def hello(it: Talk) -> None:
    """Romeo writes first, so that juliet's is a reply."""
    assert (await it.says(b"hello")).status == 202
    assert "hello" in await it.hears()


# -- SIP to XMPP -------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("XEP-15", "XEP-14", "ISC-09")
@conversation(on="typing")
async def test_who_types_on_the_sip_side_is_composing_once_until_he_is_idle(it: Talk) -> None:
    await hello(it)
    for document in (ACTIVE, ACTIVE, ACTIVE, IDLE, IDLE):
        assert (await it.says(document, TYPE)).status == 202
    assert [await seen(it), await seen(it)] == [["composing", "no-store"], ["active", "no-store"]]
    await it.hears_nothing()


@pytest.mark.requirement("ISC-09")
@conversation(on="typing")
async def test_a_stranger_is_not_shown_as_typing(it: Talk) -> None:
    for document in (ACTIVE, IDLE):
        assert (await it.says(document, TYPE)).status == 202
    await it.hears_nothing()
    it.writes("<body>hello</body>")
    await it.receives()
    assert (await it.says(ACTIVE, TYPE)).status == 202
    assert await seen(it) == ["composing", "no-store"]


@pytest.mark.requirement("ISC-02", "ISC-08")
@conversation(on="typing")
async def test_his_message_ends_it(it: Talk) -> None:
    await hello(it)
    for body, kind in ((ACTIVE, TYPE), (b"hello", "text/plain"), (IDLE, TYPE)):
        assert (await it.says(body, kind)).status == 202
    assert [await seen(it), await seen(it)] == [["composing", "no-store"], ["thread", "body"]]
    await it.hears_nothing()


@pytest.mark.requirement("ISC-02")
@conversation(on="typing")
async def test_his_refresh_runs_out(it: Talk) -> None:
    await hello(it)
    assert (await it.says(ACTIVE.replace(b"90", b"1"), TYPE)).status == 202
    assert [await seen(it), await seen(it)] == [["composing", "no-store"], ["active", "no-store"]]


@pytest.mark.requirement("ISC-07", "IMDN-04")
@conversation(on="typing")
async def test_inside_message_cpim_it_asks_for_nothing(it: Talk) -> None:
    await hello(it)
    head = (
        f"From: <{it.sip}>\r\nTo: <{it.to}>\r\nDateTime: 2026-02-03T09:15:00Z\r\nNS: imdn <urn:ietf:params:imdn>\r\n"
        f"imdn.Message-ID: {it.romeo}\r\n"
        f"imdn.Disposition-Notification: positive-delivery, negative-delivery, processing\r\n\r\nContent-Type: {TYPE}\r\n\r\n"
    ).encode()
    assert (await it.says(head + ACTIVE, "message/cpim")).status == 202
    assert await seen(it) == ["composing", "no-store"]
    await it.hears_nothing()
    it.writes("<body>that is all</body>")
    assert (await it.receives()).body == b"that is all"


@pytest.mark.requirement("ISC-09", "MSG-23")
@conversation(on="typing")
async def test_nobody_is_told_that_a_notice_did_not_arrive(it: Talk) -> None:
    request = it.request(uri="sip:nobody@xmpp.test", body=ACTIVE, content_type=TYPE)
    assert status_of(await it.asks(request)) == 202
    await it.hears_nothing(rounds=3)
    it.writes("<body>that is all</body>")
    assert (await it.receives()).body == b"that is all"
    assert it.bridge.gateway.cli("queue", "list", "--json").stdout.strip() == b"[]"


@pytest.mark.requirement("ISC-10")
@conversation(on="typing")
async def test_what_is_no_document_is_refused(it: Talk) -> None:
    for document in (b"typing", ACTIVE.replace(b"state>", b"State>"), b"<!DOCTYPE x []>" + ACTIVE.partition(b"?>")[2]):
        assert (await it.says(document, TYPE)).status == 400
    await it.hears_nothing()


# -- XMPP to SIP -------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("XEP-15", "ISC-08", "ISC-10")
@conversation(on="typing")
async def test_who_composes_a_reply_is_typing_on_the_sip_side(it: Talk) -> None:
    await hello(it)
    types(it, "composing")
    request = await it.receives()
    assert rows(request, "Content-Type") == [TYPE]
    assert rows(request, "Content-Length") == ["155"]
    assert request.body == ACTIVE
    assert rows(request, "From")[0].startswith("<sip:u0@xmpp.test;gr=lab>;tag=")
    for state in ("composing", "paused", "inactive", "gone", "active"):
        types(it, state)
    request = await it.receives()
    assert (rows(request, "Content-Type"), request.body) == ([TYPE], IDLE)
    await it.receives_nothing()


@pytest.mark.requirement("ISC-06", "XEP-07")
@conversation(on="typing")
async def test_to_whom_has_not_written_or_outside_of_a_chat_nothing_is_said(it: Talk) -> None:
    types(it, "composing")
    await it.receives_nothing()
    await hello(it)
    for attributes in ("", "type='normal'", "type='headline'"):
        types(it, "composing", attributes)
    types(it, "gone")
    await it.receives_nothing()
    types(it, "composing")
    assert (await it.receives()).body == ACTIVE


@pytest.mark.requirement("ISC-04", "ISC-08")
@conversation(on="typing")
async def test_her_message_ends_it_without_an_idle_and_with_no_state_beside_it(it: Talk) -> None:
    await hello(it)
    types(it, "composing")
    assert (await it.receives()).body == ACTIVE
    it.writes(f"<body>hi</body><active xmlns='{STATES}'/>", "type='chat'")
    request = await it.receives()
    assert (rows(request, "Content-Type"), request.body) == (["text/plain;charset=UTF-8"], b"hi")
    for state in ("paused", "composing", "inactive"):
        types(it, state)
    await it.receives_nothing()


@pytest.mark.requirement("MSG-23", "ISC-09")
@conversation(on="typing")
async def test_a_notice_that_is_refused_is_told_to_nobody_and_not_tried_again(it: Talk) -> None:
    await hello(it)
    it.phone.answer = lambda request: 503 if ACTIVE in request else 200
    types(it, "composing")
    assert (await it.receives()).body == ACTIVE
    await it.receives_nothing()
    assert [each for each in it.juliet.stanzas.waiting if it.jid.encode() in each] == []


@pytest.mark.requirement("MSG-69", "ISC-02")
@conversation(on="typing")
async def test_her_message_overtakes_the_notice_that_waits(it: Talk) -> None:
    await hello(it)
    it.phone.answer = lambda request: 0 if request.endswith(b"one") else 200
    it.writes("<body>one</body>")
    first = await it.receives()
    types(it, "composing")
    it.writes("<body>two</body>")
    other = f"{it.romeo}.other@{it.domain}"
    it.writes("<body>behind both</body>", to=other)
    await it.receives(f"sip:{other}")
    it.phone.put(answer_to(first.data))
    assert (await it.receives()).body == b"two"
    await it.receives_nothing()


@pytest.mark.requirement("MSG-69", "MSG-65")
@conversation(on="typing")
async def test_a_phone_that_does_not_answer_a_notice_gets_her_message_two_seconds_later(it: Talk) -> None:
    await hello(it)
    it.phone.answer = lambda request: 0 if ACTIVE in request else 200
    types(it, "composing")
    notice = await it.receives()
    began = monotonic()
    it.writes("<body>what was typed</body>")
    message = await it.phone.requests.next(where=lambda request: request.body == b"what was typed")
    assert 1.5 < monotonic() - began < 4.0
    it.phone.put(answer_to(notice.data))
    types(it, "inactive")
    await it.receives_nothing()
    assert rows(message, "Call-ID") != rows(notice, "Call-ID")


def answer_to(request: bytes) -> bytes:
    """A 200 for a request that was left without an answer."""
    kept = [f"{name}: {value}" for name in ("Via", "From", "To", "Call-ID", "CSeq") for value in rows(request, name)]
    return "\r\n".join(["SIP/2.0 200 OK", *kept, "Content-Length: 0", "", ""]).encode()


@pytest.mark.requirement("XEP-15")
@conversation()
async def test_by_default_a_notice_goes_to_nobody_of_whom_nothing_is_known(it: Talk) -> None:
    await hello(it)
    types(it, "composing")
    await it.receives_nothing()
