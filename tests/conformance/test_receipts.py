"""NOTE, IMDN: receipts and markers both ways, through the whole bridge (RFC 5438, XEP-0184, XEP-0333)."""

from __future__ import annotations

import base64
import re
from xml.etree.ElementTree import Element, fromstring

import pytest

from gateway.core.cpim import IMDN, CpimMessage
from tests.bench.peerlab.sip import Received
from tests.conformance.exchange import error_of, respond, silent
from tests.conformance.talk import Talk, conversation, rows, status_of

CPIM = "message/cpim"
NOTIFICATION = "message/imdn+xml"
XML_NS = "urn:ietf:params:xml:ns:imdn"
RECEIPTS, MARKERS = "urn:xmpp:receipts", "urn:xmpp:chat-markers:0"
SENT_AT = "2026-02-03T09:17:00-05:00"
REQUEST, MARKABLE = f"<request xmlns='{RECEIPTS}'/>", f"<markable xmlns='{MARKERS}'/>"


def asking(it: Talk, message_id: str, wanted: str, more: str = "", *, author: str = "", body: str = "Si tam?") -> bytes:
    """A message/cpim from romeo to juliet that asks for notifications. more: further header lines, each with its CR LF."""
    author = author or f"im:{it.jid}"
    return (
        f"From: <{author}>\r\nTo: <im:u0@xmpp.test>\r\nDateTime: {SENT_AT}\r\nNS: imdn <urn:ietf:params:imdn>\r\n"
        f"imdn.Message-ID: {message_id}\r\nimdn.Disposition-Notification: {wanted}\r\n{more}\r\n"
        f"Content-Type: text/plain; charset=utf-8\r\n\r\n{body}"
    ).encode()


async def asks(it: Talk, message_id: str, wanted: str, more: str = "", **how: str) -> str:
    """Romeo writes such a message, and juliet hears it."""
    assert (await it.says(asking(it, message_id, wanted, more, **how), CPIM)).status == 202
    return await it.hears()


def received(name: str, element: str = f"received xmlns='{RECEIPTS}'") -> str:
    return f"<{element} id='{name}'/>"


DISPLAYED = f"displayed xmlns='{MARKERS}'"


def document(message_id: str, status: str = "delivered", category: str = "delivery") -> bytes:
    """What a phone says of a message, in the layout of the examples of RFC 5438."""
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<imdn xmlns="{XML_NS}">\n  <message-id>{message_id}</message-id>\n'
        f"  <datetime>2008-04-04T12:16:49-05:00</datetime>\n  <recipient-uri>im:bob@example.com</recipient-uri>\n"
        f"  <{category}-notification>\n    <status>\n      <{status}/>\n    </status>\n  </{category}-notification>\n</imdn>"
    ).encode()


def wrapped(it: Talk, content: bytes, kind: str = NOTIFICATION, more: str = "", blank: str = "\r\n") -> bytes:
    """Notifications in message/cpim; blank "" is the layout of the examples of RFC 5438, which forget the blank line."""
    return (
        f"From: <im:{it.jid}>\r\nTo: <im:u0@xmpp.test>\r\nNS: imdn <urn:ietf:params:imdn>\r\nimdn.Message-ID: n{len(content)}\r\n"
        f"{more}{blank}"
        f"Content-Type: {kind}\r\nContent-Disposition: notification\r\n\r\n"
    ).encode() + content


async def notified(it: Talk) -> tuple[Received, CpimMessage, Element]:
    """The next request to romeo, which is a notification: itself, its message/cpim, its document."""
    request = await it.receives()
    assert request.header("Content-Type") == CPIM
    message = CpimMessage.parse(request.body, strict=True)
    assert message.entity.content_type.essence == NOTIFICATION
    return request, message, fromstring(message.entity.content)


async def asked_by_juliet(it: Talk, content: str = REQUEST, name: str = "m1", kind: str = "chat") -> tuple[Received, str]:
    """Juliet writes a message that asks; the request at romeo, and its Message-ID."""
    it.writes(f"<body>Si tam?</body>{content}", f"id='{name}' type='{kind}'")
    request = await it.receives()
    return request, CpimMessage.parse(request.body, strict=True).first("Message-ID", IMDN) or ""


async def back_at_juliet(it: Talk) -> Element:
    return fromstring(await it.hears())


# -- what SIP asks, XMPP answers ---------------------------------------------------------------------------------------
@pytest.mark.requirement("NOTE-01", "NOTE-02", "XEP-05")
@conversation()
async def test_the_round_trip_of_a_receipt_from_sip(it: Talk) -> None:
    """The worked example E14, octet for octet but for what is made anew."""
    stanza = fromstring(await asks(it, "Zt7kQ9", "positive-delivery, display"))
    assert stanza.get("id") == "Zt7kQ9"
    assert [each.tag for each in stanza if each.tag.startswith(("{urn:xmpp:r", "{urn:xmpp:chat"))] == [
        f"{{{RECEIPTS}}}request",
        f"{{{MARKERS}}}markable",
    ]
    it.writes(received("Zt7kQ9"), "id='r1'")
    request = await it.receives()
    assert request.header("Content-Type") == CPIM
    expected = (
        f"From: <im:u0@xmpp.test>\r\nTo: <im:{it.jid}>\r\nDateTime: {{now}}\r\nNS: imdn <urn:ietf:params:imdn>\r\n"
        "imdn.Message-ID: {token}\r\n\r\nContent-Type: message/imdn+xml\r\nContent-Disposition: notification\r\n\r\n"
        '<?xml version="1.0" encoding="UTF-8"?>\r\n<imdn xmlns="urn:ietf:params:xml:ns:imdn"><message-id>Zt7kQ9</message-id>'
        f"<datetime>{SENT_AT}</datetime><recipient-uri>im:u0@xmpp.test</recipient-uri>"
        "<original-recipient-uri>im:u0@xmpp.test</original-recipient-uri>"
        "<delivery-notification><status><delivered/></status></delivery-notification></imdn>"
    )
    pattern = re.escape(expected).replace(r"\{now\}", r"[0-9T:.\-]+Z").replace(r"\{token\}", "[0-9a-f]{16}")
    assert re.fullmatch(pattern, request.body.decode()), request.body.decode()


@pytest.mark.requirement("NOTE-04", "IMDN-09", "IMDN-07")
@conversation()
async def test_a_notification_goes_to_the_from_of_the_request_and_says_who_reports(it: Talk) -> None:
    sent = it.request(from_=f"<{it.sip};gr=desk>;tag=1", body=asking(it, "A1", "display"), content_type=CPIM)
    assert status_of(await it.asks(sent)) == 202
    assert "<markable" in await it.hears()
    it.writes(received("A1", DISPLAYED), "id='r1'")
    request = await it.receives(f"{it.sip};gr=desk")
    message = CpimMessage.parse(request.body, strict=True)
    assert request.header("To").startswith(f"<{it.sip};gr=desk>")
    assert request.header("From").startswith("<sip:u0@xmpp.test>")
    assert (message.first("From"), message.first("To")) == ("<im:u0@xmpp.test>", f"<im:{it.jid}>")
    assert message.entity.header("Content-Disposition") == "notification"
    message_id = message.first("Message-ID", IMDN) or ""
    assert message_id not in ("", "A1")
    assert message.first("Disposition-Notification", IMDN) is None


@pytest.mark.requirement("IMDN-08", "IMDN-21")
@conversation()
async def test_recorded_routes_come_back_in_their_order_and_the_original_recipient_is_said(it: Talk) -> None:
    routes = [f'"B" <sip:b@{it.domain}>', f"<sip:a@{it.domain}>"]
    more = "".join(f"imdn.IMDN-Record-Route: {route}\r\n" for route in routes) + "imdn.Original-To: <im:all@xmpp.test>\r\n"
    await asks(it, "B1", "positive-delivery", more)
    it.writes(received("B1"), "id='r1'")
    _, message, root = await notified(it)
    assert list(message.values("IMDN-Route", IMDN)) == routes
    assert message.values("IMDN-Record-Route", IMDN) == ()
    assert root.findtext(f"{{{XML_NS}}}original-recipient-uri") == "im:all@xmpp.test"


@pytest.mark.requirement("IMDN-32", "NOTE-10")
@pytest.mark.parametrize(
    ("author", "more"),
    [
        ("im:tybalt@elsewhere.test", ""),
        ("im:tybalt@stoxgate.test", ""),
        ("im:u1@xmpp.test", ""),
        ("", "imdn.IMDN-Record-Route: <sip:tybalt@elsewhere.test>\r\n"),
        ("", "imdn.IMDN-Record-Route: <sip:gw@elsewhere.test>, <sip:gw@stoxgate.test>\r\n"),
        ("", "imdn.IMDN-Record-Route: <sip:gw@stoxgate.test;maddr=elsewhere.test>\r\n"),
    ],
)
@conversation()
async def test_nobody_is_notified_who_is_not_where_the_sender_is(it: Talk, author: str, more: str) -> None:
    heard = await asks(it, "C1", "positive-delivery, display, negative-delivery", more, author=author)
    assert "<request" not in heard
    assert "<markable" not in heard
    it.writes(received("C1"))
    await it.receives_nothing()


@pytest.mark.requirement("NOTE-06", "IMDN-05", "MSG-27")
@conversation()
async def test_several_receipts_are_one_notification_of_a_kind(it: Talk) -> None:
    await asks(it, "D1", "positive-delivery, display")
    async with it.bridge.user("u0", "second") as second:
        it.writes(received("D1"), "id='r1'")
        await notified(it)
        it.writes(received("D1"), "id='r2'", juliet=second)
        it.writes(received("D1", DISPLAYED), "id='r3'", juliet=second)
        _, _, root = await notified(it)
        assert root.find(f"{{{XML_NS}}}display-notification/{{{XML_NS}}}status/{{{XML_NS}}}displayed") is not None
        it.writes(received("D1", DISPLAYED), "id='r4'")
        await it.receives_nothing()


@pytest.mark.requirement("NOTE-07", "XEP-05")
@pytest.mark.parametrize("kind", ["chat", "normal", "headline"])
@conversation()
async def test_a_receipt_of_any_type_with_a_body_beside_it_is_both(it: Talk, kind: str) -> None:
    await asks(it, "E1", "positive-delivery")
    it.writes("<body>Sem.</body>" + received("E1"), f"id='r1' type='{kind}'")
    found = [await it.receives() for _ in range(2)]
    assert sorted(rows(each, "Content-Type")[0] for each in found) == [CPIM, "text/plain;charset=UTF-8"]


@pytest.mark.requirement("SEC-43", "IMDN-11", "XEP-06")
@conversation()
async def test_a_receipt_of_somebody_else_or_for_something_else_is_nothing(it: Talk) -> None:
    await asks(it, "F1", "positive-delivery, display")
    async with it.bridge.user("u1") as other:
        it.writes(received("F1"), juliet=other)
    it.writes(received("other"))
    it.writes(f"<received xmlns='{MARKERS}' id='F1'/>")
    it.writes(f"<acknowledged xmlns='{MARKERS}' id='F1'/>")
    it.writes(f"<received xmlns='{RECEIPTS}'/>")
    await it.receives_nothing()


@pytest.mark.requirement("IMDN-04", "NOTE-03")
@conversation()
async def test_no_notification_is_asked_for_a_notification_or_a_bare_text(it: Talk) -> None:
    assert (await it.says(b"plain")).status == 202
    assert "<request" not in await it.hears()
    _, message_id = await asked_by_juliet(it)
    looped = wrapped(it, document(message_id), more="imdn.Disposition-Notification: positive-delivery, display\r\n")
    assert (await it.says(looped, CPIM)).status == 202
    heard = await it.hears()
    assert "<received" in heard
    assert "<request" not in heard
    it.writes(received(re.findall(r" id=['\"]([^'\"]+)", heard)[0]))
    await it.receives_nothing()


@pytest.mark.requirement("NOTE-09", "IMDN-15", "MSG-22")
@pytest.mark.parametrize(
    ("condition", "status"),
    [("item-not-found", "failed"), ("forbidden", "forbidden"), ("internal-server-error", "error"), ("service-unavailable", "forbidden")],
)
@conversation()
async def test_a_failure_after_the_202_is_a_notification_where_that_was_asked(it: Talk, condition: str, status: str) -> None:
    name = f"G-{condition}"
    await asks(it, name, "negative-delivery")
    error = f"<error type='cancel'><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
    for _ in range(2):
        it.writes(error, f"id='{name}' type='error'")
    request, _, root = await notified(it)
    assert root.findtext(f"{{{XML_NS}}}message-id") == name
    assert [each.tag for each in root[-1][0]] == [f"{{{XML_NS}}}{status}"]
    # Who gets it knows the message by whom it was for.
    assert request.header("From").startswith("<sip:u0@xmpp.test>")
    await it.receives_nothing()


@pytest.mark.requirement("IMDN-16", "NOTE-09")
@conversation()
async def test_a_message_that_was_refused_at_once_is_not_reported_as_well(it: Talk) -> None:
    target = "sip:nobody@elsewhere.test"
    assert (await it.says(asking(it, "H1", "negative-delivery, positive-delivery"), CPIM, to=target)).status == 404
    await it.receives_nothing()


@pytest.mark.requirement("NOTE-08", "XEP-06")
@conversation()
async def test_a_marker_older_than_the_last_one_is_ignored(it: Talk) -> None:
    for number in range(3):
        await asks(it, f"I{number}", "display")
    for number in (1, 0, 2):
        it.writes(received(f"I{number}", DISPLAYED))
    names = [(await notified(it))[2].findtext(f"{{{XML_NS}}}message-id") for _ in range(2)]
    assert names == ["I1", "I2"]
    await it.receives_nothing()


@pytest.mark.requirement("IMDN-18", "IMDN-06")
@conversation()
async def test_that_a_message_was_processed_is_said_where_it_was_asked(it: Talk) -> None:
    await asks(it, "J1", "processing")
    _, _, root = await notified(it)
    assert root.find(f"{{{XML_NS}}}processing-notification/{{{XML_NS}}}status/{{{XML_NS}}}processed") is not None
    await it.receives_nothing()


# -- what XMPP asks, SIP answers ---------------------------------------------------------------------------------------
@pytest.mark.requirement("NOTE-02", "IMDN-01", "IMDN-10")
@conversation()
async def test_a_message_that_asks_goes_out_as_cpim_with_an_id_of_its_own(it: Talk) -> None:
    request, message_id = await asked_by_juliet(it, REQUEST + MARKABLE, name="a b c")
    assert request.header("Content-Type") == CPIM
    message = CpimMessage.parse(request.body, strict=True)
    assert re.fullmatch(r"[0-9a-f]{16,}", message_id)
    assert message.first("DateTime")
    assert message.first("Disposition-Notification", IMDN) == "positive-delivery, negative-delivery, display"
    assert [header.name for header in message.headers] == ["From", "To", "DateTime", "NS", "Message-ID", "Disposition-Notification"]
    assert message.entity.text() == "Si tam?"


@pytest.mark.requirement("IMDN-02")
@conversation()
async def test_message_ids_are_new_each_time_and_say_nothing_of_the_stanza(it: Talk) -> None:
    names = {(await asked_by_juliet(it, name="same"))[1] for _ in range(5)}
    assert len(names) == 5
    assert not any("same" in name for name in names)


@pytest.mark.requirement("NOTE-03", "IMDN-26", "NOTE-12")
@pytest.mark.parametrize("layout", ["bare", "wrapped", "as in RFC 5438", "base64"])
@conversation()
async def test_a_notification_is_read_in_every_layout_in_which_it_is_sent(it: Talk, layout: str) -> None:
    _, message_id = await asked_by_juliet(it, name="stanza 1")
    body, kind, extra = document(message_id), NOTIFICATION, "Priority: non-urgent\r\n"
    if layout != "bare":
        kind = CPIM
        body = wrapped(it, body, blank="" if layout == "as in RFC 5438" else "\r\n")
    if layout == "base64":
        body = wrapped(it, base64.b64encode(document(message_id)), f"{NOTIFICATION}\r\nContent-Transfer-Encoding: base64")
    assert (await it.says(body, kind, extra)).status == 202
    stanza = await back_at_juliet(it)
    assert (stanza.get("from"), stanza.get("type")) == (it.jid, "chat")
    [receipt] = stanza
    assert (receipt.tag, receipt.get("id"), len(receipt)) == (f"{{{RECEIPTS}}}received", "stanza 1", 0)


@pytest.mark.requirement("IMDN-25", "NOTE-01", "XEP-06")
@conversation()
async def test_an_aggregate_is_as_many_notifications_as_it_has_parts(it: Talk) -> None:
    names = [(await asked_by_juliet(it, REQUEST + MARKABLE, name=f"k{number}"))[1] for number in range(3)]
    said = [(names[0], "delivered", "delivery"), (names[1], "displayed", "display"), (names[2], "delivered", "delivery")]
    parts = b"".join(b"--b1\r\nContent-Type: message/imdn+xml\r\n\r\n" + document(*each) + b"\r\n" for each in said)
    assert (await it.says(wrapped(it, parts + b"--b1--\r\n", "multipart/mixed; boundary=b1"), CPIM)).status == 202
    found = [(await back_at_juliet(it))[0] for _ in range(3)]
    assert {(each.tag.rpartition("}")[2], each.get("id")) for each in found} == {
        ("received", "k0"),
        ("displayed", "k1"),
        ("received", "k2"),
    }


@pytest.mark.requirement("IMDN-11", "IMDN-13", "SEC-43")
@conversation()
async def test_a_notification_for_no_known_message_or_from_somebody_else_is_answered_and_dropped(it: Talk) -> None:
    _, message_id = await asked_by_juliet(it)
    assert (await it.says(document("unknown"), NOTIFICATION)).status == 202
    forged = it.request(from_=f"<sip:tybalt@{it.domain}>;tag=1", body=document(message_id), content_type=NOTIFICATION)
    assert status_of(await it.asks(forged)) == 202
    await it.hears_nothing()


@pytest.mark.requirement("NOTE-01", "IMDN-05")
@pytest.mark.parametrize(
    ("status", "condition"),
    [("failed", ("wait", "recipient-unavailable")), ("forbidden", ("auth", "forbidden")), ("error", ("cancel", "internal-server-error"))],
)
@conversation()
async def test_a_notification_of_failure_is_an_error_stanza(it: Talk, status: str, condition: tuple[str, str]) -> None:
    _, message_id = await asked_by_juliet(it, name=f"l-{status}")
    for each in (status, "delivered"):
        assert (await it.says(document(message_id, each), NOTIFICATION)).status == 202
    stanza = await back_at_juliet(it)
    assert (error_of(stanza)[:2], stanza.get("id")) == (condition, f"l-{status}")
    await it.hears_nothing()


@pytest.mark.requirement("IMDN-33", "NOTE-01")
@pytest.mark.parametrize(
    ("status", "category"), [("processed", "processing"), ("stored", "processing"), ("forbidden", "display"), ("error", "display")]
)
@conversation()
async def test_what_says_neither_delivery_nor_reading_is_told_to_nobody(it: Talk, status: str, category: str) -> None:
    _, message_id = await asked_by_juliet(it, REQUEST + MARKABLE)
    assert (await it.says(document(message_id, status, category), NOTIFICATION)).status == 202
    await it.hears_nothing()


@pytest.mark.requirement("NOTE-05", "IMDN-14", "MSG-42")
@pytest.mark.parametrize("status", [200, 202])
@conversation()
async def test_a_2xx_is_no_receipt(it: Talk, status: int) -> None:
    silent(it.phone)
    it.writes(f"<body>Si tam?</body>{REQUEST}{MARKABLE}", "id='m1' type='chat'")
    respond(it.phone, await it.receives(), status, "Fine")
    await it.hears_nothing()


@pytest.mark.requirement("IMDN-24")
@pytest.mark.parametrize(
    "octets", [b'<!DOCTYPE a [<!ENTITY b "c">]><imdn xmlns="%s">&b;</imdn>' % XML_NS.encode(), b"<imdn>", b"x", b"<a>" * 20 + b"</a>" * 20]
)
@conversation()
async def test_a_document_that_is_none_is_refused(it: Talk, octets: bytes) -> None:
    sent = await it.says(octets, NOTIFICATION)
    assert sent.status == 400
    assert b"\r\nWarning" in sent.response or b"XML" in sent.response.partition(b"\r\n")[0]
    await it.hears_nothing()


@pytest.mark.requirement("IMDN-20")
@conversation()
async def test_a_notification_that_has_come_by_routes_ends_here(it: Talk) -> None:
    _, message_id = await asked_by_juliet(it, name="way")
    routed = wrapped(it, document(message_id), more="imdn.IMDN-Route: <sip:gw.example.test>\r\nimdn.IMDN-Route: <sip:px.example.test>\r\n")
    assert (await it.says(routed, CPIM)).status == 202
    assert (await back_at_juliet(it))[0].get("id") == "way"


@pytest.mark.requirement("ICPIM-34", "IMSG-27")
@conversation()
async def test_what_has_room_only_without_asking_goes_without(it: Talk) -> None:
    it.writes(f"<body>{'x' * 500}</body>{REQUEST}", "id='m1' type='chat'")
    request = await it.receives()
    assert (request.header("Content-Type"), request.body[-500:]) == (CPIM, b"x" * 500)
    it.writes(f"<body>{'y' * 900}</body>{REQUEST}", "id='m2' type='chat'")
    request = await it.receives()
    assert (request.header("Content-Type"), request.body) == ("text/plain;charset=UTF-8", b"y" * 900)
    assert len(request.data) <= 1300
