"""What a message asks for, and what a notification says (RFC 5438)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from xml.etree.ElementTree import fromstring

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.address import SipAddress
from gateway.core.canonical import notification_message
from gateway.core.cpim import CpimMessage
from gateway.core.dates import parse_rfc3339
from gateway.core.errors import SyntaxFault
from gateway.core.imdn import WISHES, Asked, Disposition, Notification, asked_in, compose_notification, parse_notification, wishes
from gateway.core.jid import Jid

NS = "{urn:ietf:params:xml:ns:imdn}"
ASKED = Asked(WISHES, "Zt7kQ9", "2026-02-03T09:17:00-05:00", "im:tomas@sip.example", "im:mira@xmpp.example")
HEAD = b"From: <im:tomas@sip.example>\r\nTo: <im:mira@xmpp.example>\r\nDateTime: 2026-02-03T09:17:00-05:00\r\n"
CONTENT = b"\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nSi tam?"


def message(fields: bytes, head: bytes = HEAD) -> CpimMessage:
    return CpimMessage.parse(head + fields + CONTENT)


# -- what is asked -----------------------------------------------------------------------------------------------------
@pytest.mark.requirement("IMDN-03")
@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("", set()),
        (" , ", set()),
        ("display, foo", {"display"}),
        ("positive-delivery , display", {"positive-delivery", "display"}),
        ("positive-delivery;x=1;y, interworking-sms", {"positive-delivery"}),
        ("Display, DISPLAY", set()),
        ("negative-delivery,processing,positive-delivery,display", set(WISHES)),
    ],
)
def test_what_is_unknown_asks_for_nothing(value: str, found: set[str]) -> None:
    assert wishes(value) == found


@pytest.mark.requirement("IMDN-01", "DATE-06", "CPIM-30")
def test_a_message_asks_when_it_has_all_that_a_notification_repeats() -> None:
    fields = (
        b"NS: x <urn:ietf:params:imdn>\r\nx.Disposition-Notification: positive-delivery\r\nx.Disposition-Notification: display\r\n"
        b'x.Original-To: "All" <im:all@sip.example>\r\n'
        b"x.IMDN-Record-Route: <sip:b.sip.example>\r\nx.IMDN-Record-Route: <sip:a.sip.example>\r\n"
    )
    assert asked_in(message(fields), "Zt7kQ9") == Asked(
        frozenset(("positive-delivery", "display")),
        "Zt7kQ9",
        "2026-02-03T09:17:00-05:00",
        "im:tomas@sip.example",
        "im:mira@xmpp.example",
        "im:all@sip.example",
        ("<sip:b.sip.example>", "<sip:a.sip.example>"),
    )
    assert asked_in(message(fields), "") is None
    for missing in HEAD.splitlines(keepends=True):
        if not missing.startswith(b"To:"):
            assert asked_in(message(fields, HEAD.replace(missing, b"")), "Zt7kQ9") is None
    assert asked_in(message(b""), "Zt7kQ9") is None


@given(st.builds(Asked, st.frozensets(st.sampled_from(sorted(WISHES))), *[st.text()] * 5, st.lists(st.text()).map(tuple)))
def test_what_was_asked_is_read_back_as_it_was(asked: Asked) -> None:
    assert Asked.load(asked.dump()) == asked
    assert asked.dump().isprintable()


# -- notifications that are written ------------------------------------------------------------------------------------
@pytest.mark.requirement("IMDN-22", "IMDN-23", "DATE-06")
@pytest.mark.parametrize("disposition", list(Disposition))
def test_a_document_has_its_elements_in_the_order_of_the_schema(disposition: Disposition) -> None:
    octets = compose_notification(ASKED, disposition, "im:unused@xmpp.example")
    root = fromstring(octets)
    assert root.tag == f"{NS}imdn"
    assert [(each.tag.removeprefix(NS), each.text) for each in root][:4] == [
        ("message-id", "Zt7kQ9"),
        ("datetime", "2026-02-03T09:17:00-05:00"),
        ("recipient-uri", "im:mira@xmpp.example"),
        ("original-recipient-uri", "im:mira@xmpp.example"),
    ]
    [status] = root[4]
    assert [each.tag.removeprefix(NS) for each in (root[4], status, *status)] == [
        f"{disposition.category}-notification",
        "status",
        disposition.status,
    ]
    assert len(root) == 5
    assert parse_notification(octets) == Notification("Zt7kQ9", disposition)


@pytest.mark.requirement("IMDN-21")
def test_original_to_is_said_and_who_is_not_named_is_the_reporter() -> None:
    original = Asked(WISHES, "<&>", "d", "im:t@s", "im:m@x", "im:list@s")
    root = fromstring(compose_notification(original, Disposition.DELIVERED, "im:other@x"))
    assert [each.text for each in root][:4] == ["<&>", "d", "im:m@x", "im:list@s"]
    nobody = Asked(WISHES, "1", "d", "im:t@s")
    root = fromstring(compose_notification(nobody, Disposition.DELIVERED, "im:m@x"))
    assert [each.text for each in root][2:4] == ["im:m@x", "im:m@x"]


@pytest.mark.requirement("IMDN-07", "IMDN-08")
def test_the_worked_example_octet_for_octet() -> None:
    """bob's gateway says that he has got alice's message; the line break behind the XML declaration is ours."""
    asked = Asked(WISHES, "Kd8s2hQz0pXw", "2026-01-02T03:04:05Z", "im:alice@sip.example", "im:bob@xmpp.example")
    ends = Jid("bob", "xmpp.example"), SipAddress("alice", "sip.example")
    sent_at = parse_rfc3339("2026-01-02T03:04:09Z").timestamp()
    written = notification_message(*ends, sent_at, "q7VtXcR1n0bE", asked, Disposition.DELIVERED)
    assert written.raw.replace(b"?>\r\n<imdn", b"?><imdn") == (
        b"From: <im:bob@xmpp.example>\r\nTo: <im:alice@sip.example>\r\nDateTime: 2026-01-02T03:04:09Z\r\n"
        b"NS: imdn <urn:ietf:params:imdn>\r\nimdn.Message-ID: q7VtXcR1n0bE\r\n\r\n"
        b"Content-Type: message/imdn+xml\r\nContent-Disposition: notification\r\n\r\n"
        b'<?xml version="1.0" encoding="UTF-8"?><imdn xmlns="urn:ietf:params:xml:ns:imdn"><message-id>Kd8s2hQz0pXw</message-id>'
        b"<datetime>2026-01-02T03:04:05Z</datetime><recipient-uri>im:bob@xmpp.example</recipient-uri>"
        b"<original-recipient-uri>im:bob@xmpp.example</original-recipient-uri>"
        b"<delivery-notification><status><delivered/></status></delivery-notification></imdn>"
    )
    assert parse_notification(written.entity.content) == Notification("Kd8s2hQz0pXw", Disposition.DELIVERED)


# -- notifications that come -------------------------------------------------------------------------------------------
FIELDS = {
    "datetime": "<datetime>2008-04-04T12:16:49-05:00</datetime>",
    "recipient": "<recipient-uri>im:bob@example.com</recipient-uri>",
    "original": "<original-recipient-uri>im:bob@example.com</original-recipient-uri>",
    "subject": "<subject>hi</subject>",
    "foreign": '<x:y xmlns:x="urn:x"><message-id>wrong</message-id></x:y>',
    "unknown": "<unknown><status><failed/></status></unknown>",
}
DELIVERED = "<delivery-notification><status>\n<x/><delivered/></status></delivery-notification>"


def subsets() -> Iterator[tuple[str, ...]]:
    for number in range(len(FIELDS) + 1):
        yield from combinations(FIELDS.values(), number)


@pytest.mark.requirement("IMDN-23", "IMDN-22")
def test_any_subset_of_the_fields_is_read_in_any_order() -> None:
    for fields in subsets():
        for order in (
            ("<message-id> 34jk324j\n</message-id>", *fields, DELIVERED),
            (DELIVERED, *fields, "<message-id>34jk324j</message-id>"),
        ):
            document = f'<?xml version="1.0"?>\n<imdn xmlns="{NS[1:-1]}">{"".join(order)}</imdn>'.encode()
            assert parse_notification(document) == Notification("34jk324j", Disposition.DELIVERED)


@pytest.mark.requirement("IMDN-23")
@pytest.mark.parametrize(
    "inner",
    [
        "<message-id>1</message-id>",
        "<message-id>1</message-id><delivery-notification/>",
        "<message-id>1</message-id><delivery-notification><status><read/></status></delivery-notification>",
        "<message-id>1</message-id><display-notification><status><forbidden/></status></display-notification>",
        "<message-id>1</message-id><display-notification><status><delivered/></status></display-notification>",
        DELIVERED,
        f"<message-id/>{DELIVERED}",
    ],
)
def test_a_document_that_says_nothing_known_says_nothing(inner: str) -> None:
    assert parse_notification(f'<imdn xmlns="{NS[1:-1]}">{inner}</imdn>'.encode()) is None


@pytest.mark.parametrize("octets", [b"<imdn/>", b"<imdn xmlns='urn:x'/>", b"hi", b"", b"<!DOCTYPE imdn><imdn/>"])
def test_what_is_no_imdn_is_a_fault(octets: bytes) -> None:
    with pytest.raises(SyntaxFault):
        parse_notification(octets)
