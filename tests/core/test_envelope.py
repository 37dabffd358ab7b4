"""An envelope comes back from message/cpim as it went in, whatever people on either side have put into it."""

from __future__ import annotations

from dataclasses import fields

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.core.address import SipAddress
from gateway.core.cpim import CpimMessage, compose
from gateway.core.envelope import NAMESPACE, Conversation, Envelope, RequestOrigin, StanzaOrigin
from gateway.core.errors import SyntaxFault
from gateway.core.jid import Jid
from gateway.core.mime import Entity

WORKED = b"From: <im:a@sip.example>\r\n\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nMidi \xc3\xa7a va?"
PLAIN = Envelope(
    id="Kd8s2hQz0pXw",
    trace_id="t1",
    sender=SipAddress("romeo", "example.net"),
    recipient=Jid("juliet", "example.com"),
    message=CpimMessage.parse(WORKED),
    received_at=1770110160.25,
    peer="udp:192.0.2.7",
)

HOSTILE = st.sampled_from(
    [
        "",
        " ",
        "  x  ",
        '"',
        '""',
        '"x"',
        '"x',
        'x"',
        ' "',
        "\\",
        "\\\\",
        "\\u0041",
        "\\n",
        "a\\",
        "\r\n",
        "\r\nFrom: <im:evil@h>\r\n\r\n",
        "\x00",
        "\t",
        "\t ",
        "\x7f\x85",
        "gw.Id: x",
        ";lang=fr x",
        "😀👩\u200d🚀",
        "\u202e",
        "\u2028",
        "\ufeff",
        "\ufffd",
        "<im:a@b>",
        "NS: gw <a:b>",
    ]
)
TEXT = st.text(max_size=20) | HOSTILE | st.tuples(HOSTILE, HOSTILE).map("".join)
NO_CONTROL = st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=12)
SIP_ADDRESSES = st.builds(
    SipAddress,
    NO_CONTROL | st.sampled_from(["", "o'malley", "a;b,c?", "100%", "a@b", "<x>", '"', "Ünï"]),
    st.sampled_from(["example.net", "xn--bcher-kva.example", "[2001:db8::1]", "192.0.2.7", "h"]),
)
JIDS = st.sampled_from(
    ["juliet@example.com", r"o\27malley@sip.example", "bücher.example", "fü@bücher.example", "a#[b]{c}|d%@h", "a@[2001:db8::1]"]
).map(Jid.parse)
DEVICES = st.sampled_from(["", "balcony", "Büro PC", "a/b@c", " x ", "50%25;gr=y?z#", '"<>"', "😀\u3042"])
ORIGINS = st.none() | st.builds(RequestOrigin, TEXT, TEXT, TEXT, author=TEXT) | st.builds(StanzaOrigin, TEXT, TEXT, TEXT, TEXT)
MOMENTS = st.floats(0, 1e11, allow_nan=False)
MESSAGES = st.builds(
    lambda subject, content: compose(
        [("From", "<im:a@b>"), ("Subject", subject)], Entity.compose([("Content-Type", "text/plain")], content)
    ),
    TEXT,
    st.binary(max_size=40),
) | st.sampled_from([WORKED, b"\n\n", b"Content-Type: message/cpim\r\n\r\n" + WORKED]).map(CpimMessage.parse)
ASKED = st.frozensets(st.sampled_from(["positive-delivery", "negative-delivery", "display", "processing"]))
ENVELOPES = st.builds(
    Envelope,
    id=TEXT,
    trace_id=TEXT,
    sender=SIP_ADDRESSES | JIDS,
    recipient=SIP_ADDRESSES | JIDS,
    message=MESSAGES,
    received_at=MOMENTS,
    peer=TEXT,
    sender_device=DEVICES,
    recipient_device=DEVICES,
    expires_at=st.none() | MOMENTS,
    thread=TEXT,
    asked=ASKED,
    sender_name=TEXT,
    origin=ORIGINS,
    about=ORIGINS,
    volatile=st.booleans(),
    conversation=st.none() | st.builds(Conversation, TEXT, TEXT, TEXT),
)


@settings(deadline=None, max_examples=300)
@given(ENVELOPES)
@example(PLAIN)
def test_an_envelope_comes_back_as_it_went_in(envelope: Envelope) -> None:
    found = Envelope.from_cpim(envelope.to_cpim())
    for each in fields(Envelope):
        assert getattr(found, each.name) == getattr(envelope, each.name), each.name
    assert found == envelope
    assert found.message.raw == envelope.message.raw


@pytest.mark.requirement("CPIM-10", "ICPIM-07")
@settings(deadline=None)
@given(ENVELOPES)
def test_the_form_that_is_kept_is_a_wrapper_by_the_rfc(envelope: Envelope) -> None:
    kept = CpimMessage.parse(envelope.to_cpim())
    found = CpimMessage.parse(kept.raw, strict=True)
    assert found.notes == ()
    assert found.entity.content == envelope.message.raw
    assert {header.namespace for header in found.headers[3:]} == {NAMESPACE}


def test_the_form_that_is_kept() -> None:
    assert PLAIN.to_cpim() == (
        b"From: <sip:romeo@example.net>\r\nTo: <xmpp:juliet@example.com>\r\nNS: gw <urn:uuid:5f1d1c8e-6f0e-4c1b-9a53-0d6e8f2a7b41>\r\n"
        b"gw.Id: Kd8s2hQz0pXw\r\ngw.Trace: t1\r\ngw.Received: 1770110160.25\r\ngw.Peer: udp:192.0.2.7\r\n\r\n"
        b"Content-Type: message/cpim\r\n\r\n" + WORKED
    )


KEPT = PLAIN.to_cpim()


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        WORKED,
        KEPT.replace(b"gw.Id: Kd8s2hQz0pXw\r\n", b""),
        KEPT.replace(b"1770110160.25", b"today"),
        KEPT.replace(b"From: <sip:romeo@example.net>\r\n", b""),
        KEPT.replace(b"<sip:romeo@example.net>", b"<xmpp:@>"),
        KEPT.replace(b"sip:romeo", b"sip:%00"),
        KEPT.replace(b"message/cpim", b"text/plain"),
        KEPT.replace(b"urn:uuid:5f1d", b"urn:uuid:0000"),
        KEPT.replace(b"\r\n\r\nMidi", b"Midi").replace(b"From: <im", b"<im"),
        KEPT[:40],
        KEPT.replace(b"gw.Id:", b"gw.Conversation: {}\r\ngw.Id:"),
        KEPT.replace(b"gw.Id:", b"gw.Conversation: [1]\r\ngw.Id:"),
    ],
    ids=range(13),
)
def test_anything_else_is_a_syntax_fault(raw: bytes) -> None:
    with pytest.raises(SyntaxFault):
        Envelope.from_cpim(raw)
