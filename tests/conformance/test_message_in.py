"""MESSAGE from SIP to XMPP (RFC 3428 sections 4, 5, 7 and 9): what is accepted, how it is answered, and what the XMPP user is told."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import time
from collections.abc import Iterator
from xml.etree.ElementTree import Element, fromstring

import pytest

from gateway.core.dates import format_sip_date
from gateway.sip.message import BadMessage, parse
from tests.bridge import Bridge
from tests.bridge import bridge as start
from tests.conformance.bodies import NEWS, SAMPLES
from tests.conformance.exchange import DELAY, LANG
from tests.conformance.talk import Talk, conversation, counted, rows, status_of

pytestmark = pytest.mark.interop
CPIM = (
    b"From: <im:someone@elsewhere.test>\r\nTo: <im:u0@xmpp.test>\r\nDateTime: 2026-02-03T09:16:00Z\r\nSubject: Lunch\r\n\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\n\r\nAt noon \xe2\x98\x95"
)


SIGNED = {
    "multipart/signed": 'multipart/signed; boundary=b; micalg=sha-256; protocol="application/pkcs7-signature"',
    "application/pkcs7-mime": "application/pkcs7-mime; smime-type=enveloped-data",
}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    """A bridge whose parts a test may stop; its gateway answers 200. Nothing is kept for cut.test, and its link is never up."""
    with start(tmp_path_factory.mktemp("own"), sections={"sip": "accepted_status = 200"}, sip_domains=("stoxgate.test", "cut.test"),
               tables='[[route]]\ndomain = "cut.test"\nstore = false\n') as it:  # fmt: skip
        yield it


# -- the answer --------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("MSG-11", "MSG-14", "MSG-15")
@conversation()
async def test_success_is_a_bare_202(it: Talk) -> None:
    request = it.request(extra="Contact: <sip:romeo@192.0.2.1>\r\nSupported: path\r\n")
    answer = await it.asks(request)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"SIP/2.0 202 Accepted\r\n")
    assert body == b""
    assert rows(answer, "Content-Length") == ["0"]
    assert {line.partition(b":")[0] for line in head.split(b"\r\n")[1:]} == {b"Via", b"From", b"To", b"Call-ID", b"CSeq", b"Content-Length"}
    await it.hears()


@pytest.mark.requirement("MSG-16", "MSG-17")
@conversation()
async def test_a_retransmission_gets_the_same_octets_and_no_second_stanza(it: Talk) -> None:
    request = it.request(
        body=b"once", extra='Via: SIP/2.0/TCP proxy.test;branch=z9hG4bK2;odd="a b"\r\nVia: SIP/2.0/UDP pc.test;branch=z9hG4bK1\r\n'
    )
    first = await it.asks(request)
    for name in ("From", "Call-ID", "CSeq"):
        assert rows(first, name) == rows(request, name)
    assert rows(first, "Via")[0].startswith(rows(request, "Via")[0].removesuffix(";rport"))
    assert rows(first, "Via")[1:] == rows(request, "Via")[1:]
    assert ";tag=" in rows(first, "To")[0]
    for _ in range(4):
        assert await it.asks(request) == first
    assert "once" in await it.hears()
    await it.hears_nothing()


@pytest.mark.requirement("MSG-16")
@conversation()
async def test_a_refusal_is_repeated_octet_for_octet_too(it: Talk) -> None:
    request = it.request(content_type="image/png")
    first = await it.asks(request)
    assert status_of(first) == 415
    assert ";tag=" in rows(first, "To")[0]
    assert await it.asks(request) == first


@pytest.mark.requirement("MSG-18", "MSG-28")
@conversation()
async def test_a_copy_on_another_branch_is_merged_and_another_account_is_another_message(it: Talk) -> None:
    same = {"call_id": f"fork.{it.romeo}", "from_": f"<{it.sip}>;tag=fork", "to": "<sip:both@xmpp.test>", "body": b"forked"}
    assert status_of(await it.asks(it.request(**same))) == 202  # type: ignore[arg-type]
    for uri in ("sip:u0@xmpp.test", "sip:%750@XMPP.test;transport=udp", "im:u0@xmpp.test"):
        assert status_of(await it.asks(it.request(uri=uri, **same))) == 482  # type: ignore[arg-type]
    async with it.bridge.user("u1") as nurse:
        assert status_of(await it.asks(it.request(uri="sip:u1@xmpp.test", **same))) == 202  # type: ignore[arg-type]
        assert "forked" in await it.hears(nurse)
    assert "forked" in await it.hears()
    await it.hears_nothing()


@pytest.mark.requirement("MSG-19")
@conversation()
async def test_over_tcp_a_copy_is_answered_as_before_and_not_delivered_again(it: Talk) -> None:
    async with it.bridge.stranger("tcp") as phone:
        same = {"call_id": f"again.{it.romeo}", "from_": f"<{it.sip}>;tag=again", "transport": "tcp", "body": b"again"}
        for _ in range(2):
            assert status_of(await it.asks(it.request(**same), phone)) == 202  # type: ignore[arg-type]
    assert "again" in await it.hears()
    await it.hears_nothing()


@pytest.mark.requirement("MSG-02", "MSG-04")
@conversation()
async def test_no_dialog_comes_of_a_message(it: Talk) -> None:
    first = it.request(call_id=f"d.{it.romeo}", from_=f"<{it.sip}>;tag=d")
    tag = rows(await it.asks(first), "To")[0].partition(";tag=")[2]
    await it.hears()
    inside = it.request(call_id=f"d.{it.romeo}", from_=f"<{it.sip}>;tag=d", to_tag=tag, cseq=2)
    assert status_of(await it.asks(inside)) == 481
    await it.hears_nothing()


@pytest.mark.requirement("MSG-05")
@conversation()
async def test_the_method_is_case_sensitive(it: Talk) -> None:
    assert status_of(await it.asks(it.request("Message"))) == 501
    await it.hears_nothing()


@pytest.mark.requirement("MSG-20", "MSG-90", "ARCH-05")
@pytest.mark.parametrize(("status", "change"), [
    (403, {"from_": "<sip:u1@xmpp.test>;tag=x"}),
    (404, {"uri": "sip:nobody@elsewhere.test"}),
    (413, {"body": b"x" * 65_537, "transport": "tcp"}),
    (415, {"content_type": "application/octet-stream"}),
    (416, {"uri": "tel:+15551234"}),
    (481, {"to_tag": "none"}),
])  # fmt: skip
@conversation()
async def test_what_is_refused_is_not_delivered(it: Talk, status: int, change: dict[str, object]) -> None:
    async with it.bridge.stranger(str(change.get("transport", "udp"))) as phone:
        answer = await it.asks(it.request(**change), phone)  # type: ignore[arg-type]
    assert status_of(answer) == status
    assert not {"contact", "record-route", "alert-info"} & names(answer)
    assert ("accept" in names(answer)) == (status == 415)
    await it.hears_nothing()


@pytest.mark.requirement("MSG-24")
@conversation()
async def test_a_message_without_hops_left_goes_no_further(it: Talk) -> None:
    assert status_of(await it.asks(it.request(max_forwards=0))) == 483
    assert status_of(await it.asks(it.request(max_forwards=1, body=b"one hop"))) == 202
    assert "one hop" in await it.hears()


@pytest.mark.requirement("MSG-24", "SEC-41")
@conversation()
async def test_a_message_that_was_here_before_is_a_loop(it: Talk) -> None:
    own_via = f"Via: SIP/2.0/UDP 127.0.0.1:{it.bridge.gateway.port};branch=z9hG4bKearlier\r\n"
    assert status_of(await it.asks(it.request(extra=own_via))) == 482
    await it.hears_nothing()


@pytest.mark.requirement("MSG-25")
@conversation()
async def test_a_required_extension_that_is_unknown_is_named(it: Talk) -> None:
    answer = await it.asks(it.request(extra="Require: hovercraft\r\nProxy-Require: eels\r\n"))
    assert status_of(answer) == 420
    assert rows(answer, "Unsupported") == ["hovercraft"]
    await it.hears_nothing()


@pytest.mark.requirement("MSG-26")
@pytest.mark.parametrize("change", [{"uri": "sips:u0@xmpp.test"}, {"to": "<sips:u0@xmpp.test>"}], ids=["request-uri", "to"])
@conversation()
async def test_sips_is_not_translated(it: Talk, change: dict[str, str]) -> None:
    answer = await it.asks(it.request(**change))  # type: ignore[arg-type]
    assert status_of(answer) == 480
    assert rows(answer, "Warning")[0].startswith("380 ")
    await it.hears_nothing()


@pytest.mark.requirement("MSG-27")
@conversation()
async def test_many_resources_and_one_answer(it: Talk) -> None:
    async with it.bridge.user("u0", "tablet") as tablet, it.bridge.user("u0", "watch") as watch:
        request = it.request(body=b"to all of you")
        assert status_of(await it.asks(request)) == 202
        for client in (it.juliet, tablet, watch):
            assert "to all of you" in await it.hears(client)
        branch = rows(request, "Via")[0].partition("branch=")[2].partition(";")[0].encode()
        assert status_of(await it.asks(it.request())) == 202
        assert not [response for response in it.phone.responses.waiting if branch in response]


# -- what arrives ------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("MSG-07", "MSG-30")
@conversation()
async def test_a_conversation_in_both_directions(it: Talk) -> None:
    assert (await it.says("Grüße, 你好 \U0001f339".encode())).status == 202
    heard = fromstring(await it.hears())
    assert body_of(heard) == "Grüße, 你好 \U0001f339"
    it.writes(f"<thread>{heard.findtext('{*}thread')}</thread><body>Señor 王 \U0001f33a</body>", to=heard.get("from", ""))
    reply = await it.phone.requests.next(where=lambda request: it.romeo.encode() in request.data)
    assert reply.body.decode() == "Señor 王 \U0001f33a"
    assert reply.header("From").startswith("<sip:u0@xmpp.test")
    assert reply.data.startswith(f"MESSAGE {it.sip} ".encode())
    assert (await it.says(b"no", "image/png")).status == 415


@pytest.mark.requirement("MSG-31")
@conversation()
async def test_a_cpim_message_arrives_as_text_from_whom_was_authorised(it: Talk) -> None:
    assert (await it.says(CPIM, "message/cpim")).status == 202
    heard = fromstring(await it.hears())
    assert body_of(heard) == "At noon ☕"
    assert heard.findtext("{*}subject") == "Lunch"
    assert heard.find(f"{{{DELAY}}}delay").get("stamp") == "2026-02-03T09:16:00Z"  # type: ignore[union-attr]


@pytest.mark.requirement("MSG-32")
@conversation()
async def test_a_message_without_a_body(it: Talk) -> None:
    assert status_of(await it.asks(it.request(body=b""))) == 202
    assert status_of(await it.asks(it.request(body=b"", extra="Subject: Ping\r\n"))) == 202
    heard = fromstring(await it.hears())
    assert heard.findtext("{*}subject") == "Ping"
    assert heard.find("{*}body") is None
    await it.hears_nothing()


@pytest.mark.requirement("MSG-33")
@conversation()
async def test_an_unknown_type_or_encoding_is_refused_with_what_is_known(it: Talk) -> None:
    answer = await it.asks(it.request(content_type="image/png"))
    assert status_of(answer) == 415
    accepted = {each.strip() for each in ",".join(rows(answer, "Accept")).split(",")}
    assert accepted == {*SAMPLES, *NEWS, *SIGNED}
    for content_type, body in SAMPLES.values():
        assert status_of(await it.asks(it.request(content_type=content_type, body=body))) == 202
        assert "said" in await it.hears()
    for content_type, body in NEWS.items():
        assert status_of(await it.asks(it.request(content_type=content_type, body=body))) == 202
    for content_type in SIGNED.values():
        assert status_of(await it.asks(it.request(content_type=content_type, body=b"sealed"))) == 202
        assert "e2e" in await it.hears()
    answer = await it.asks(it.request(extra="Content-Encoding: gzip\r\n"))
    assert (status_of(answer), rows(answer, "Accept-Encoding")) == (415, ["identity"])
    await it.hears_nothing()


@pytest.mark.requirement("MSG-34", "MSG-90")
@conversation()
async def test_headers_that_a_message_does_not_have_are_ignored(it: Talk) -> None:
    before = counted(it.bridge)["unused"]
    odd = (
        "Contact: <sip:elsewhere@192.0.2.1>\r\nAccept: application/none\r\nAccept-Encoding: gzip\r\nAccept-Language: tlh\r\n"
        "Record-Route: <sip:proxy.test;lr>\r\n"
    )
    answer = await it.asks(it.request(extra=odd))
    assert status_of(answer) == 202
    assert not {"accept", "accept-encoding", "accept-language", "contact", "record-route"} & names(answer)
    await it.hears()
    it.writes("<body>back</body>")
    assert (await it.receives()).body == b"back"
    for name in (
        "Accept: a/b",
        "Accept-Encoding: gzip",
        "Accept-Language: tlh",
        "Alert-Info: <http://a.test>",
        "m: *",
        "Record-Route: <sip:p;lr>",
    ):
        assert (await it.says(b"one", extra=f"{name}\r\n")).status == 202
        await it.hears()
    assert counted(it.bridge)["unused"] == before + 7
    await it.says(b"none of them")
    assert counted(it.bridge)["unused"] == before + 7


@pytest.mark.requirement("MSG-36")
@conversation()
async def test_charsets_are_transcoded_or_refused(it: Talk) -> None:
    assert (await it.says(b"caf\xe9", "text/plain;charset=ISO-8859-1")).status == 202
    assert body_of(fromstring(await it.hears())) == "café"
    assert (await it.says("naïve".encode(), "text/plain")).status == 202
    assert body_of(fromstring(await it.hears())) == "naïve"
    assert (await it.says(b"caf\xe9", "text/plain")).status == 400
    assert (await it.says(b"tlhIngan", "text/plain;charset=x-klingon")).status == 415
    await it.hears_nothing()


@pytest.mark.requirement("MSG-37", "SEC-20")
@conversation()
async def test_characters_that_xml_cannot_hold_are_replaced(it: Talk) -> None:
    assert (await it.says("a\x07b\x00c\x1fd\ufffee<body>&amp;]]>".encode())).status == 202
    assert body_of(fromstring(await it.hears())) == "a\ufffdb\ufffdc\ufffdd\ufffde<body>&amp;]]>"
    await it.hears_nothing()


@pytest.mark.requirement("MSG-38")
@conversation()
async def test_content_length_frames_a_stream(it: Talk) -> None:
    async with it.bridge.stranger("tcp") as phone:
        first, second = it.request(body=b"one", transport="tcp"), it.request(body="zw\u00f6lf".encode(), transport="tcp")
        phone.put(first + second)
        assert status_of(await it.answered(first, phone)) == 202
        assert status_of(await it.answered(second, phone)) == 202
        assert [body_of(fromstring(await it.hears())) for _ in range(2)] == ["one", "zw\u00f6lf"]


@pytest.mark.requirement("MSG-38", "SEC-27")
@conversation()
async def test_content_length_bounds_a_datagram(it: Talk) -> None:
    assert status_of(await it.asks(it.request(body=b"short").replace(b"Content-Length: 5", b"Content-Length: 6"))) == 400
    assert status_of(await it.asks(it.request(body=b"long tail").replace(b"Content-Length: 9", b"Content-Length: 4"))) == 202
    assert body_of(fromstring(await it.hears())) == "long"
    await it.hears_nothing()


@pytest.mark.requirement("MSG-39")
@conversation()
async def test_compact_headers(it: Talk) -> None:
    request = (
        f"MESSAGE {it.to} SIP/2.0\r\nv: SIP/2.0/UDP 127.0.0.1:{it.phone.port};branch=z9hG4bKc{it.romeo};rport\r\n"
        f"Max-Forwards: 70\r\nf: <{it.sip}>;tag=c\r\nt: <{it.to}>\r\ni: compact.{it.romeo}\r\nCSeq: 7 MESSAGE\r\nk: path\r\n"
        "m: <sip:x@192.0.2.1>\r\no: none\r\ns: Terse\r\ne: identity\r\nc: text/plain;charset=ISO-8859-1\r\nl: 4\r\n\r\n"
    ).encode()
    it.phone.put(request + b"tr\xe8s")
    mark = f"z9hG4bKc{it.romeo};".encode()
    assert status_of(await it.phone.responses.next(where=lambda response: mark in response)) == 202
    heard = fromstring(await it.hears())
    assert (body_of(heard), heard.findtext("{*}subject"), heard.findtext("{*}thread")) == ("très", "Terse", f"compact.{it.romeo}")
    it.phone.put(request.replace(b"e: identity", b"e: gzip").replace(mark, mark[:-1] + b".2;").replace(b"CSeq: 7", b"CSeq: 8") + b"tr\xe8s")
    assert status_of(await it.phone.responses.next(where=lambda response: mark[:-1] + b".2;" in response)) == 415


@pytest.mark.requirement("MSG-64")
@conversation()
async def test_large_messages_up_to_the_bound(it: Talk) -> None:
    async with it.bridge.stranger("tcp") as phone:
        for size in (20_000, 65_000):
            text = b"0123456789abcdef" * (size // 16)
            assert status_of(await it.asks(it.request(body=text, transport="tcp"), phone)) == 202
            assert body_of(fromstring(await it.hears())) == text.decode()
        room = 65_536 - len(it.request(body=b"y" * 65_000, transport="tcp", call_id="full")) + 65_000 - len(it.romeo) - 8
        whole = it.request(body=b"y" * room, transport="tcp", call_id=f"full{it.romeo}")
        assert 65_520 < len(whole) <= 65_536
        assert status_of(await it.asks(whole, phone)) == 202
        assert len(body_of(fromstring(await it.hears()))) == room
        assert status_of(await it.asks(it.request(body=b"x" * 65_537, transport="tcp"), phone)) == 413
    head = "".join(f"X-Filler-{number}: {'y' * 900}\r\n" for number in range(30))
    async with it.bridge.stranger("tcp") as phone:
        assert status_of(await it.asks(it.request(extra=head, transport="tcp"), phone)) == 513
    await it.hears_nothing()


@pytest.mark.requirement("MSG-93")
@conversation()
async def test_the_fields_of_rfc_7572(it: Talk) -> None:
    call_id, branch = f"thread.{it.romeo}", f"z9hG4bKid{it.romeo}"
    request = it.request(call_id=call_id, branch=branch, uri="sip:u0@xmpp.test;gr=lab", from_=f'"Romeo" <{it.sip};gr=desk>;tag=g',
                         extra="Subject: Balcony\r\nContent-Language: it\r\n", body=b"Ciao")  # fmt: skip
    assert status_of(await it.asks(request)) == 202
    heard = fromstring(await it.hears())
    assert heard.get("from") == f"{it.jid}/desk"
    assert heard.get("to") == "u0@xmpp.test/lab"
    assert heard.get("type", "normal") == "normal"
    assert (heard.get("id"), heard.get(LANG)) == (f"id{it.romeo}", "it")
    assert [heard.findtext(f"{{*}}{name}") for name in ("body", "subject", "thread")] == ["Ciao", "Balcony", call_id]


# -- how the two ends are written --------------------------------------------------------------------------------------
@pytest.mark.requirement("MSG-7A")
@pytest.mark.parametrize("uri", ["sip:u0@xmpp.test", "sip:%750@XMPP.Test", "sip:u0@xmpp.test:5060;transport=udp", "sip:U0@xmpp.test",
                                 "im:u0@xmpp.test", "sip:u0@xmpp.test.", "sip:u0:pass@xmpp.test"])  # fmt: skip
@conversation()
async def test_one_person_however_it_is_spelled(it: Talk, uri: str) -> None:
    assert status_of(await it.asks(it.request(uri=uri, body=b"it is you"))) == 202
    heard = fromstring(await it.hears())
    assert (heard.get("to"), body_of(heard)) == ("u0@xmpp.test", "it is you")


@pytest.mark.requirement("MSG-77", "MSG-7A")
@conversation()
async def test_im_uris_in_from_and_to(it: Talk) -> None:
    request = it.request(from_=f"<im:{it.romeo}@stoxgate.test>;tag=im", to="<im:u0@xmpp.test>", body=b"im")
    assert status_of(await it.asks(request)) == 202
    assert body_of(fromstring(await it.hears())) == "im"


@pytest.mark.requirement("MSG-92")
@conversation()
async def test_an_empty_parameter_as_rfc_3428_prints_it_is_let_pass_but_in_via(it: Talk) -> None:
    odd = it.request(from_=f"<{it.sip}>;;tag=empty", to="<sip:u0@xmpp.test>;", body=b"empty")
    assert status_of(await it.asks(odd)) == 202
    assert body_of(fromstring(await it.hears())) == "empty"
    with pytest.raises(BadMessage):
        parse(odd, strict=True)
    assert status_of(await it.asks(it.request(extra="Via: SIP/2.0/UDP pc.test;;branch=z9hG4bK1\r\n"))) == 400
    await it.hears_nothing()


@pytest.mark.requirement("MSG-78")
@pytest.mark.parametrize("name", ["Route", "Record-Route"])
@conversation()
async def test_an_im_uri_is_no_route(it: Talk, name: str) -> None:
    assert status_of(await it.asks(it.request(extra=f"{name}: <im:proxy@stoxgate.test>\r\n"))) == 400
    await it.hears_nothing()


# -- time --------------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("MSG-51", "MSG-55")
@conversation()
async def test_without_expires_nothing_expires(it: Talk) -> None:
    old = format_sip_date(time.time() - 86_400)
    assert (await it.says(b"of yesterday", extra=f"Date: {old}\r\n")).status == 202
    heard = fromstring(await it.hears())
    assert body_of(heard) == "of yesterday"
    assert heard.find(f"{{{DELAY}}}delay") is not None
    undated = counted(it.bridge)["undated"]
    assert (await it.says(b"of no day", extra="Date: yesterday\r\nExpires: 60\r\n")).status == 202
    assert counted(it.bridge)["undated"] == undated + 1
    heard = fromstring(await it.hears())
    assert body_of(heard) == "of no day"
    assert heard.find(f"{{{DELAY}}}delay") is None


@pytest.mark.requirement("MSG-52", "MSG-53")
@pytest.mark.parametrize(("age", "expires", "status"), [(50, 60, 202), (50, 40, 480), (-3600, 5, 202), (None, 60, 202), (None, 0, 480)])
@conversation()
async def test_expiry_counts_from_the_date_else_from_the_receipt(it: Talk, age: int | None, expires: int, status: int) -> None:
    date = "" if age is None else f"Date: {format_sip_date(time.time() - age)}\r\n"
    answer = await it.asks(it.request(extra=f"{date}Expires: {expires}\r\n", body=b"in time"))
    assert status_of(answer) == status
    if status == 202:
        assert body_of(fromstring(await it.hears())) == "in time"
    else:
        assert rows(answer, "Warning")[0].startswith("399 ")
    await it.hears_nothing()


# -- after the 202 -----------------------------------------------------------------------------------------------------
@pytest.mark.requirement("MSG-20", "MSG-22")
@conversation()
async def test_a_failure_after_the_202_is_told_once(it: Talk) -> None:
    assert (await it.says(b"are you there", to="sip:nobody@xmpp.test")).status == 202
    told = await it.receives()
    assert told.header("From").startswith("<sip:gw.stoxgate.test>")
    assert told.header("Content-Type").startswith("text/plain")
    assert b"sip:nobody@xmpp.test" in told.body
    assert b"could not be delivered" in told.body
    await it.receives_nothing()


@pytest.mark.requirement("MSG-23", "SEC-42")
@conversation()
async def test_a_report_that_is_refused_ends_in_silence(it: Talk) -> None:
    it.phone.answer = lambda request: 404 if b"could not be delivered" in request else 200
    assert (await it.says(b"are you there", to="sip:nobody@xmpp.test")).status == 202
    await it.receives()
    await it.receives_nothing()
    await it.hears_nothing(rounds=3)


# -- a bridge of its own -----------------------------------------------------------------------------------------------
@pytest.mark.requirement("MSG-13")
@conversation(on="own")
async def test_the_accepted_status_can_be_200(it: Talk) -> None:
    answer = await it.asks(it.request())
    assert answer.startswith(b"SIP/2.0 200 OK\r\n")
    assert answer.endswith(b"Content-Length: 0\r\n\r\n")
    assert "hello" in await it.hears()
    assert status_of(await it.asks(it.request(content_type="image/png"))) == 415


@pytest.mark.requirement("QOS-15")
@conversation(on="own")
async def test_without_a_store_a_link_that_is_down_is_told_at_once(it: Talk) -> None:
    answer = await it.asks(it.request(from_="<sip:romeo@cut.test>;tag=c"))
    assert status_of(answer) == 480
    assert int(rows(answer, "Retry-After")[0]) > 0
    assert re.match(r"399 .*link", rows(answer, "Warning")[0])
    assert "cut.test" not in own_queue(it)


@pytest.mark.requirement("MSG-01", "MSG-19")
def test_a_message_needs_no_other_and_is_known_again_after_a_kill(own: Bridge) -> None:
    kept: dict[str, bytes] = {}

    async def before(it: Talk) -> None:
        kept["first"] = it.request(call_id="chat.1", from_="<sip:chat@stoxgate.test>;tag=chat", body=b"first")
        kept["answer"] = await it.asks(kept["first"])
        await it.juliet.message(where=lambda stanza: b"first" in stanza)
        while json.loads(own.gateway.cli("queue", "list", "--json").stdout):
            pass  # what is on its way when the gateway is killed may come twice

    async def after(it: Talk) -> None:
        assert await it.asks(kept["first"]) == kept["answer"]
        second = it.request(call_id="chat.1", from_="<sip:chat@stoxgate.test>;tag=chat", cseq=2, body=b"second")
        assert status_of(await it.asks(second)) == 200
        assert b"second" in await it.juliet.message(where=lambda stanza: b"<thread>chat.1" in stanza)

    conversation(on="own")(before)(own=own)
    own.gateway.stop(signal.SIGKILL)
    own.gateway.start()
    own.gateway.wait_ready()
    conversation(on="own")(after)(own=own)


@pytest.mark.requirement("MSG-10", "MSG-12", "MSG-53")
def test_nothing_waits_for_the_xmpp_side_and_what_expires_meanwhile_is_told(own: Bridge) -> None:
    async def away() -> None:
        async with own.phone() as phone:
            begun = time.monotonic()
            late = await phone.request(own.sip_of("u0"), own.phone_uri("late"), b"too late", extra="Expires: 2\r\n")
            kept = await phone.request(own.sip_of("u0"), own.phone_uri("kept"), b"in the end")
            assert (late.status, kept.status) == (200, 200)
            assert time.monotonic() - begun < 3
            waiting = json.loads(own.gateway.cli("queue", "list", "--json").stdout)
            assert [row["lane"] for row in waiting] == ["xmpp u0@xmpp.test late@stoxgate.test", "xmpp u0@xmpp.test kept@stoxgate.test"]
            told = await phone.requests.next()
            assert told.data.startswith(b"MESSAGE sip:late@stoxgate.test ")
            assert b"expired" in told.body

    own.server.stop()
    try:
        own.gateway.wait_for('component link is down", "domain": "stoxgate.test"')
        asyncio.run(away())
    finally:
        own.server.__enter__()
    own.gateway.wait_ready()

    async def back() -> None:
        async with own.phone() as phone, own.user("u0") as juliet:
            assert (await phone.request(own.sip_of("u0"), own.phone_uri("end"), b"that is all")).status == 200
            assert b"that is all" in await juliet.message(where=lambda stanza: b"in the end" not in stanza)

    asyncio.run(back())


def own_queue(it: Talk) -> str:
    return it.bridge.gateway.cli("queue", "list", "--json").stdout.decode()


def body_of(stanza: Element) -> str:
    return stanza.findtext("{*}body", "")


def names(response: bytes) -> set[str]:
    return {line.partition(b":")[0].decode().lower() for line in response.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]}
