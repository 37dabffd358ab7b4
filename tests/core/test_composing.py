"""application/im-iscomposing+xml (RFC 3994): what a document says, and the octets that the gateway writes."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.address import SipAddress
from gateway.core.canonical import typing_message, typing_of
from gateway.core.composing import XML_NAMESPACE, Composing, compose_composing, parse_composing
from gateway.core.cpim import CpimMessage
from gateway.core.errors import SyntaxFault
from gateway.core.jid import Jid

ROMEO, JULIET = SipAddress("romeo", "sip.example"), Jid("juliet", "xmpp.example")
EXAMPLE = b"""<?xml version="1.0" encoding="UTF-8"?>
<isComposing xmlns="urn:ietf:params:xml:ns:im-iscomposing"
xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
xsi:schemaLocation="urn:ietf:params:xml:ns:im-composing
iscomposing.xsd">
  <state>active</state>
  <contenttype>text/plain</contenttype>
  <refresh>90</refresh>
</isComposing>"""
"""RFC 3994 section 5, with the schemaLocation that it has."""


def document(content: str, namespace: str = XML_NAMESPACE) -> bytes:
    return f'<?xml version="1.0"?><isComposing xmlns="{namespace}">{content}</isComposing>'.encode()


@pytest.mark.requirement("ISC-10", "XEP-15")
def test_what_the_gateway_writes_octet_for_octet() -> None:
    head = b'<?xml version="1.0" encoding="UTF-8"?>\r\n<isComposing xmlns="urn:ietf:params:xml:ns:im-iscomposing">'
    active = head + b"<state>active</state><refresh>90</refresh></isComposing>"
    assert (compose_composing(is_active=True), len(active)) == (active, 155)
    assert compose_composing(is_active=False) == head + b"<state>idle</state></isComposing>"


def test_the_example_of_the_rfc() -> None:
    assert parse_composing(EXAMPLE) == Composing(is_active=True, seconds=90)


@pytest.mark.requirement("ISC-01")
@pytest.mark.parametrize(("state", "is_active"), [
    ("active", True), (" active\r\n", True), ("idle", False), ("recording", False), ("Active", False), ("active idle", False), ("", False),
    ("<x:y xmlns:x='urn:x'/>active", False),
])  # fmt: skip
def test_every_state_but_active_is_idle(state: str, is_active: bool) -> None:
    assert parse_composing(document(f"<state>{state}</state>")).is_active is is_active


@pytest.mark.requirement("ISC-02")
@pytest.mark.parametrize(("refresh", "seconds"), [
    ("", 120), ("<refresh>60</refresh>", 60), ("<refresh> +0090 </refresh>", 90), ("<refresh>1</refresh>", 1),
    ("<refresh>0</refresh>", 120), ("<refresh>-5</refresh>", 120),
    ("<refresh>1e9</refresh>", 120), ("<refresh>\u0661</refresh>", 120), ("<refresh/>", 120),
    ("<refresh>601</refresh>", 600), ("<refresh>9999999999</refresh>", 600), (f"<refresh>{'9' * 5000}</refresh>", 120),
])  # fmt: skip
def test_how_long_an_active_holds(refresh: str, seconds: int) -> None:
    assert parse_composing(document(f"<state>active</state>{refresh}")).seconds == seconds


def test_hints_foreign_elements_and_any_order_are_read() -> None:
    more = "<lastactive>2003-01-27T10:43:00Z</lastactive><x:y xmlns:x='urn:x'><x:state>idle</x:state></x:y><refresh>75</refresh>"
    assert parse_composing(document(f"{more}<contenttype>audio</contenttype><state>active</state>")) == Composing(True, 75)


@pytest.mark.requirement("ISC-10", "IMDN-24")
@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"active",
        document("<state>active</state>")[:-1],
        document("<refresh>90</refresh>"),
        document("<x:state xmlns:x='urn:x'>active</x:state>"),
        document("<state>active</state>", "urn:ietf:params:xml:ns:im-composing"),
        document("<state>active</state>").replace(b"isComposing", b"iscomposing"),
        b"<!DOCTYPE isComposing [<!ENTITY a 'active'>]>" + document("<state>&a;</state>").partition(b"?>")[2],
        document("<state>active</state>" + "<a>" * 16 + "</a>" * 16),
        document("<state>active</state>" + " " * 16_384),
        document("<state>\x01</state>"),
        b"\xff" + document("<state>active</state>"),
    ],
)
def test_what_is_no_document_or_a_hostile_one_is_refused(octets: bytes) -> None:
    with pytest.raises(SyntaxFault):
        parse_composing(octets)


PIECES = b"<state> </state> active idle <refresh> </refresh> 90 </isComposing> <?x?> <!-- --> &#0;".split()


@pytest.mark.requirement("ISC-10")
@settings(deadline=None)
@given(st.binary(max_size=200) | st.lists(st.sampled_from(PIECES) | st.binary(max_size=3), max_size=12).map(
    lambda pieces: document("")[: -len("</isComposing>")] + b"".join(pieces)))  # fmt: skip
def test_whatever_comes_is_read_or_refused(octets: bytes) -> None:
    with suppress(SyntaxFault):
        assert 1 <= parse_composing(octets).seconds <= 600


@pytest.mark.parametrize("is_active", [True, False])
def test_the_canonical_message_is_read_back(is_active: bool) -> None:
    message = typing_message(ROMEO, JULIET, 1_770_000_000.0, compose_composing(is_active=is_active))
    assert typing_of(CpimMessage.parse(message.raw)).is_active is is_active
    assert (message.first("From"), message.first("To")) == ("<im:romeo@sip.example>", "<im:juliet@xmpp.example>")
    assert message.first("DateTime") == "2026-02-02T02:40:00Z"
    assert not message.values("Disposition-Notification", "urn:ietf:params:imdn")
