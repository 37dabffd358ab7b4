"""A message/cpim body is carried as it is: what SIP brought is what is kept, what is sent on, and what a signature would cover."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.core.cpim import CpimMessage
from gateway.core.envelope import Envelope
from gateway.core.errors import Refusal, SyntaxFault
from gateway.core.jid import Jid
from gateway.core.ports import Parties, Peer
from gateway.core.tables import read_tables
from gateway.sip.codec import Draft
from gateway.sip.message import Request, parse
from gateway.sip.reading import read_message

from .world import ANY, HERE, NOW, SIP_DOMAINS, THERE, XMPP_DOMAINS, Gateway, cases, flat, mixed

ALWAYS = Gateway(SIP_DOMAINS, XMPP_DOMAINS, read_tables(), cpim="always")
VALUES = mixed('abé :;,.\t\x00\\', ("\\n", "\\u0041", '\\"', "\\q", "\\ud83d\\ude00", "<im:a@b>", '"x y"'), max_size=6) | st.text(
    ANY, max_size=10).map(lambda text: text.replace("\r", "").replace("\n", ""))  # fmt: skip
NAMES = st.sampled_from([
    "Subject", "Subject:;lang=fr", "cc", "x.Message-ID", "y.Unknown", "X", "imdn.Message-ID", "gw.Id", "Require", "To", "NS",
])  # fmt: skip
ENDS = st.sampled_from(["\r\n", "\r\n", "\r\n", "\n"])
CONTENT_TYPES = st.sampled_from([
    "text/plain", "Text/Plain ;charset=utf-8", 'text/plain; charset="UTF-8"; format=flowed', "text/plain;charset=utf-16",
])  # fmt: skip
OTHER_MIME: st.SearchStrategy[list[str]] = st.sampled_from([[], ["Content-ID: <1@h>"], ["Content-Transfer-Encoding: 8bit"]])
BODIES = st.binary(max_size=40) | st.text(ANY, max_size=30).map(str.encode) | st.sampled_from([
    b"", b"\r\n", b"\n.\r", b"\r\n\r\nFrom: x\r\n\r\n",
])  # fmt: skip
BLANK = b"From: <im:romeo@sip.example>\r\nTo: <im:juliet@xmpp.example>\r\nSubject: \\n\r\n\r\nContent-Type: text/plain\r\n\r\n"
REFUSALS = ("bad-body", "cpim-require", "charset-unknown")


@st.composite
def objects(draw: st.DrawFn) -> bytes:
    """message/cpim as somebody may write it: mostly by the rules, sometimes not quite."""
    end = draw(ENDS)
    rows = ["From: Romeo <im:romeo@sip.example>", "To: <im:juliet@xmpp.example>", "NS: x <urn:ietf:params:imdn>"]
    rows += [f"{name}{'' if ':' in name else ':'} {value}" for name, value in draw(st.lists(st.tuples(NAMES, VALUES), max_size=4))]
    mime = [f"Content-Type: {draw(CONTENT_TYPES)}", *draw(OTHER_MIME)]
    return "".join(row + end for row in [*rows, "", *mime, ""]).encode() + draw(BODIES)


def request(body: bytes) -> Request:
    octets = (
        b"MESSAGE sip:juliet@xmpp.example SIP/2.0\r\nVia: SIP/2.0/TCP 192.0.2.9;branch=z9hG4bK1\r\nFrom: <sip:romeo@sip.example>;tag=1\r\n"
        b"To: <sip:juliet@xmpp.example>\r\nCall-ID: 1\r\nCSeq: 1 MESSAGE\r\nContent-Type: message/cpim\r\nContent-Length: %d\r\n\r\n"
    ) % len(body)
    message = parse(octets + body, stream=True)
    assert isinstance(message, Request)
    message.check()
    return message


@pytest.mark.requirement("CPIM-09", "CPIM-10", "CPIM-62")
@cases(0.8)
@given(objects())
@example(BLANK)
def test_its_octets_are_kept_and_sent_on(body: bytes) -> None:
    message = request(body)
    parties = HERE.guard.from_sip(Peer("test"), message.from_.uri, message.request_uri)
    try:
        envelope = read_message(message, parties, "test", "trace", NOW)
    except Refusal as refusal:
        if refusal.key not in REFUSALS:
            raise
        return
    if envelope is None:
        # Nothing to deliver (MSG-32): neither text nor a subject of which a line would hold anything.
        said = CpimMessage.parse(body)
        assert not said.entity.text()
        assert not any(flat(text) for text, _ in said.subjects)
        return
    assert envelope.message.raw == body
    kept = envelope.to_cpim()
    assert kept.endswith(body)
    back = Envelope.from_cpim(kept)
    for each in fields(Envelope):
        assert getattr(back, each.name) == getattr(envelope, each.name), each.name
    assert back.message.raw == body
    assert back.to_cpim() == kept
    assert HERE.xmpp.write(back) == HERE.xmpp.write(envelope)
    # And out again, as it would go to a gateway that wants message/cpim.
    onward = replace(back, sender=Jid("juliet", "xmpp.example"), recipient=parties.sender)
    draft = ALWAYS.sip.write(onward, 7).wire
    assert isinstance(draft, Draft)
    sent = parse(draft.octets)
    assert isinstance(sent, Request)
    assert sent.body == body
    there = THERE.guard.from_sip(Peer("test"), sent.from_.uri, sent.request_uri)
    again = read_message(sent, Parties(*there), "test", "trace", NOW)
    assert again is not None
    assert again.message.raw == body


@pytest.mark.requirement("CPIM-09")
@cases(0.2)
@given(objects(), st.integers(0, 400), st.binary(min_size=1, max_size=3))
def test_reading_changes_nothing(body: bytes, place: int, octets: bytes) -> None:
    at = place % (len(body) + 1)
    body = body[:at] + octets + body[at + len(octets) :]
    try:
        found = CpimMessage.parse(body)
    except SyntaxFault:
        return
    assert found.raw == body == b"".join(found.slices)
    assert body.endswith(found.entity.raw)
    assert found.entity.raw.endswith(found.entity.content)
