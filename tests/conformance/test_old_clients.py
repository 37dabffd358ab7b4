"""DRF: clients of the draft before RFC 3428 (2001), which follow RFC 2543: they are understood, and get nothing that only the draft has."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from xml.etree.ElementTree import Element, fromstring

import pytest

from tests.bench.peerlab.sip import Received
from tests.bridge import Bridge
from tests.bridge import bridge as start
from tests.conformance.exchange import error_of, peer, respond, silent
from tests.conformance.talk import Talk, conversation, rows, status_of

pytestmark = pytest.mark.interop
CLOCK = 974_000_000
"""A CSeq as the draft has it: the clock at the time of writing."""


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    """A bridge whose next hop has TCP and is not sent message/cpim."""
    with start(tmp_path_factory.mktemp("stream"), transport="tcp", tables='[[route]]\ndomain = "*"\ncpim = "never"\n') as it:
        yield it


def old(it: Talk, body: bytes, *, name: str = "", cseq: int = CLOCK, via: str = "", from_: str = "", uri: str = "im:u0@xmpp.test") -> bytes:
    """A MESSAGE as in the draft: im: URIs without brackets, no tag, no branch, no Max-Forwards, and a Contact. name: of its Call-ID."""
    head = (f"MESSAGE {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{it.phone.port}{via}\r\nFrom: {from_ or f'im:{it.jid}'}\r\n"
            f"To: im:u0@xmpp.test\r\nCall-ID: {name}{it.romeo}@draft\r\nCSeq: {cseq} MESSAGE\r\nContact: <sip:{it.romeo}@192.0.2.1>\r\n"
            f"Content-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n")  # fmt: skip
    return head.encode() + body


async def asks(it: Talk, request: bytes) -> bytes:
    """Send such a request once; the next response in its call is the answer."""
    it.phone.put(request)
    [number] = rows(request, "Call-ID")
    return await it.phone.responses.next(where=lambda each: f"Call-ID: {number}\r\n".encode() in each)


async def hears(it: Talk) -> Element:
    """The next stanza from romeo."""
    return fromstring(await it.hears())


def text(stanza: Element) -> str:
    return stanza.findtext("{*}body", "")


# -- headers that RFC 3428 does not have -------------------------------------------------------------------------------
@pytest.mark.requirement("DRF-01", "DRF-16")
@conversation()
async def test_a_contact_decides_neither_where_nor_how_a_reply_goes(it: Talk) -> None:
    async with it.bridge.stranger("tcp") as elsewhere:
        for contact in (f"<sip:elsewhere@127.0.0.1:{elsewhere.port};transport=tcp>", "<sip:elsewhere@192.0.2.1;transport=tls>"):
            assert (await it.says(b"call me there", extra=f"Contact: {contact}\r\n")).status == 202
            stanza = await hears(it)
            assert (stanza.get("from"), text(stanza)) == (it.jid, "call me there")
            it.writes(f"<body>here you are</body><thread>{stanza.findtext('{*}thread')}</thread>", to=stanza.get("from", ""))
            reply = await it.receives()
            assert rows(reply, "Via")[0].startswith("SIP/2.0/UDP ")
            assert rows(reply, "Contact") == rows(reply, "m") == []
        assert elsewhere.requests.waiting == []


@pytest.mark.requirement("DRF-02", "DRF-08")
@conversation()
async def test_a_2xx_builds_no_route_and_pins_nobody(it: Talk) -> None:
    silent(it.phone)
    async with it.bridge.stranger() as elsewhere:
        there = f"sip:elsewhere@127.0.0.1:{elsewhere.port}"
        frame = "<body>{}</body><thread>pinned-" + it.romeo + "</thread>"
        it.writes(frame.format("one"))
        respond(it.phone, await it.receives(), 200, headers=f"Contact: <{there}>\r\nRecord-Route: <{there};lr>, <{there}>\r\n")
        it.writes(frame.format("two"))
        second = await it.receives()
        assert (second.body, second.header("To")) == (b"two", f"<{it.sip}>")
        assert rows(second, "Route") == rows(second, "Record-Route") == []
        respond(it.phone, second, 200)
        assert elsewhere.requests.waiting == []


@pytest.mark.requirement("DRF-08")
@conversation()
async def test_a_record_route_is_neither_given_back_nor_followed(it: Talk) -> None:
    async with it.bridge.stranger() as elsewhere:
        answer = await it.asks(it.request(extra=f"Record-Route: <sip:127.0.0.1:{elsewhere.port};lr>\r\n"))
        assert (status_of(answer), rows(answer, "Record-Route")) == (202, [])
        await it.hears()
        it.writes("<body>back</body>")
        assert rows(await it.receives(), "Route") == []
        assert elsewhere.requests.waiting == []


@pytest.mark.requirement("DRF-03")
@pytest.mark.parametrize("on", ["bridge", "stream"])
def test_the_body_of_a_2xx_is_dropped(on: str, request: pytest.FixtureRequest) -> None:
    """It is read by its length: what is in it looks like an answer, and what follows it on a stream is one."""

    async def talk(it: Talk) -> None:
        silent(it.phone)
        for user in (it.romeo, f"b{it.romeo}"):
            for number in range(2):
                it.writes(f"<body>{number}</body>", f"id='{user}.{number}'", to=f"{user}@{it.domain}")
        first, other = await it.receives(), await it.receives(f"sip:b{it.jid}")
        false = answered(it, other, 404, b"")
        for each in joined(it, answered(it, first, 200, b"thank you\r\n\r\n" + false), answered(it, other, 200, b"")):
            it.phone.put(each)
        for uri in ("", f"sip:b{it.jid}"):
            last = await it.receives(uri)
            assert last.body == b"1"
            respond(it.phone, last, 200)
        await it.hears_nothing(rounds=3)

    conversation(on=on)(talk)(**{on: request.getfixturevalue(on)})


def answered(it: Talk, request: Received, status: int, body: bytes) -> bytes:
    """A response with a body."""
    kept = "\r\n".join(f"{name}: {request.header(name)}" for name in ("Via", "From", "Call-ID", "CSeq"))
    to = f"{request.header('To')};tag=callee"
    return f"SIP/2.0 {status} Said\r\n{kept}\r\nTo: {to}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def joined(it: Talk, *messages: bytes) -> tuple[bytes, ...]:
    """As they go on the wire: a stream has no bounds between them."""
    return messages if it.phone.kind == "udp" else (b"".join(messages),)


@pytest.mark.requirement("ICPIM-34")
@conversation(on="stream")
async def test_who_takes_text_alone_gets_text_alone(it: Talk) -> None:
    it.writes("<subject>a</subject><subject xml:lang='fr'>b</subject><body>plain</body><request xmlns='urn:xmpp:receipts'/>", "id='m1'")
    received = await it.receives()
    assert (received.header("Content-Type").lower().partition(";")[0], received.body) == ("text/plain", b"plain")


@pytest.mark.requirement("DRF-14")
@conversation()
async def test_what_rfc_2543_had_for_secrecy_is_ignored_or_refused(it: Talk) -> None:
    gone = ("Hide: route\r\nEncryption: PGP version=2.6.2,encoding=ascii\r\nResponse-Key: PGP version=5.0\r\n"
            'Authorization: PGP version="5.0", signature="x"\r\nProxy-Authorization: Basic cm9tZW86eA==\r\n')  # fmt: skip
    assert status_of(await it.asks(it.request(extra=gone, body=b"in the clear"))) == 202
    assert text(await hears(it)) == "in the clear"
    for kind in ("application/pgp", "application/pgp-encrypted", 'multipart/encrypted;protocol="application/pgp-encrypted";boundary=x'):
        answer = await it.asks(it.request(content_type=kind, body=b"--x\r\n\r\nVersion: 1\r\n--x--\r\n"))
        assert status_of(answer) == 415
        assert "pgp" not in " ".join(rows(answer, "Accept"))
    it.writes("<body>back</body>")
    assert not {"hide", "encryption", "response-key", "authorization"} & fields(await it.receives())
    await it.hears_nothing()


@pytest.mark.requirement("DRF-14")
@conversation()
async def test_basic_authentication_is_offered_to_nobody(it: Talk) -> None:
    async with peer(it.bridge, "127.0.0.9") as stranger:
        answer = await it.asks(it.request(extra="Authorization: Basic cm9tZW86eA==\r\n"), stranger)
        assert status_of(answer) in (401, 403)
        assert not any("basic" in each.lower() for each in (*rows(answer, "WWW-Authenticate"), *rows(answer, "Proxy-Authenticate")))


@pytest.mark.requirement("DRF-15")
@conversation()
async def test_a_request_without_max_forwards_has_hops_left(it: Talk) -> None:
    request = it.request(body=b"how far").replace(b"Max-Forwards: 70\r\n", b"")
    assert status_of(await it.asks(request)) == 202
    assert text(await hears(it)) == "how far"
    it.writes("<body>this far</body>")
    assert rows(await it.receives(), "Max-Forwards") == ["70"]


# -- addresses and transactions of RFC 2543 ----------------------------------------------------------------------------
@pytest.mark.requirement("DRF-05")
@conversation()
async def test_a_request_for_an_im_uri_is_answered_from_sip_to_sip(it: Talk) -> None:
    assert status_of(await asks(it, old(it, b"im to you"))) == 202
    stanza = await hears(it)
    assert (stanza.get("to"), stanza.get("from"), text(stanza)) == ("u0@xmpp.test", it.jid, "im to you")
    it.writes("<body>sip to you</body>")
    reply = await it.receives()
    assert reply.data.startswith(f"MESSAGE {it.sip} SIP/2.0\r\n".encode())
    assert (reply.header("To"), reply.header("From")[:5]) == (f"<{it.sip}>", "<sip:")


@pytest.mark.requirement("DRF-06")
@conversation()
async def test_a_copy_is_known_without_tag_and_branch(it: Talk) -> None:
    request = old(it, b"once")
    first = await asks(it, request)
    assert first.startswith(b"SIP/2.0 202 ")
    assert rows(first, "From") == [f"im:{it.jid}"]
    assert rows(first, "To")[0].startswith("im:u0@xmpp.test;tag=")
    for _ in range(3):
        assert await asks(it, request) == first
    assert text(await hears(it)) == "once"
    await it.hears_nothing()


@pytest.mark.requirement("DRF-06")
@pytest.mark.parametrize(("change", "status"), [
    ({"name": "other"}, 202), ({"cseq": CLOCK + 1}, 202), ({"from_": "<im:{jid}>;tag=other"}, 202),
    ({"via": ";branch=other"}, 482), ({"uri": "sip:u0@xmpp.test"}, 482),
], ids=["call-id", "cseq", "from-tag", "via", "request-uri"])  # fmt: skip
@conversation()
async def test_each_part_that_tells_a_transaction_tells_it(it: Talk, change: dict[str, Any], status: int) -> None:
    """What differs is another message, or where only the way of it does, the same one that was merged."""
    change = {name: value.format(jid=it.jid) if isinstance(value, str) else value for name, value in change.items()}
    first, second = old(it, b"first"), old(it, b"second", **change)
    assert status_of(await asks(it, first)) == 202
    assert status_of(await asks(it, second)) == status
    assert text(await hears(it)) == "first"
    if status == 202:
        assert text(await hears(it)) == "second"
    await it.hears_nothing()


@pytest.mark.requirement("DRF-06")
@conversation()
async def test_what_is_sent_to_such_a_client_is_rfc_3261(it: Talk) -> None:
    await asks(it, old(it, b"hello"))
    thread = (await hears(it)).findtext("{*}thread")
    it.writes(f"<body>hello yourself</body><thread>{thread}</thread>")
    reply = await it.receives()
    assert reply.header("Call-ID") == f"{it.romeo}@draft"
    assert ";branch=z9hG4bK" in reply.header("Via")
    assert ">;tag=" in reply.header("From")


# -- threads -----------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("DRF-07")
@conversation()
async def test_a_call_id_is_a_thread_and_its_cseq_may_be_any(it: Talk) -> None:
    numbers = (CLOCK, CLOCK - 1, 0, 2**31 - 1, CLOCK + 1)
    for cseq in numbers:
        assert status_of(await asks(it, old(it, str(cseq).encode(), cseq=cseq))) == 202
    found = [await hears(it) for _ in numbers]
    assert [text(each) for each in found] == [str(cseq) for cseq in numbers]
    assert {each.findtext("{*}thread") for each in found} == {f"{it.romeo}@draft"}
    for number in range(3):
        it.writes(f"<body>{number}</body><thread>{it.romeo}@draft</thread>")
    replies = [await it.receives() for _ in range(3)]
    assert {each.header("Call-ID") for each in replies} == {f"{it.romeo}@draft"}
    counted = [int(each.header("CSeq").split()[0]) for each in replies]
    assert counted == sorted(set(counted))


@pytest.mark.requirement("DRF-09")
@conversation()
async def test_one_peer_may_have_many_tags_and_gets_one(it: Talk) -> None:
    for number in range(4):
        request = it.request(from_=f"<{it.sip}>;tag=many{number}", call_id=f"many.{it.romeo}", body=str(number).encode())
        assert status_of(await it.asks(request)) == 202
    found = [await hears(it) for _ in range(4)]
    assert [text(each) for each in found] == ["0", "1", "2", "3"]
    assert {each.findtext("{*}thread") for each in found} == {f"many.{it.romeo}"}
    for number in range(3):
        it.writes(f"<body>{number}</body><thread>many.{it.romeo}</thread>")
    replies = [await it.receives() for _ in range(3)]
    assert len({(each.header("Call-ID"), each.header("From").partition(";tag=")[2]) for each in replies}) == 1


@pytest.mark.requirement("DRF-12")
@conversation()
async def test_a_peer_that_does_not_wait_is_heard_and_is_not_imitated(it: Talk) -> None:
    requests = [it.request(body=str(number).encode()) for number in range(12)]
    for request in requests:
        it.phone.put(request)
    assert [status_of(await it.answered(request)) for request in requests] == [202] * 12
    assert [text(await hears(it)) for _ in requests] == [str(number) for number in range(12)]
    silent(it.phone)
    for number in range(3):
        it.writes(f"<body>{number}</body>")
    it.writes("<body>elsewhere</body>", to=f"other{it.jid}")
    first = await it.receives()
    respond(it.phone, await it.receives(f"sip:other{it.jid}"), 200)
    assert not [each for each in it.phone.requests.waiting if each.data.startswith(f"MESSAGE {it.sip} ".encode())]
    for body in (b"0", b"1", b"2"):
        assert first.body == body
        respond(it.phone, first, 200)
        first = await it.receives() if body != b"2" else first


# -- what an answer means ----------------------------------------------------------------------------------------------
@pytest.mark.requirement("DRF-18")
@pytest.mark.parametrize(("status", "condition"), [(200, ""), (202, ""), (404, "item-not-found"), (501, "feature-not-implemented"),
                                                   (606, "not-acceptable")])  # fmt: skip
@conversation()
async def test_the_classes_of_answers_mean_the_same(it: Talk, status: int, condition: str) -> None:
    silent(it.phone)
    it.writes("<body>well?</body>", "id='w1'")
    respond(it.phone, await it.receives(), status)
    if condition:
        told = await hears(it)
        assert (told.get("id"), error_of(told)[1]) == ("w1", condition)
    it.phone.answer = lambda _request: 200
    await it.receives_nothing()
    await it.hears_nothing()
    kept = json.loads(it.bridge.gateway.cli("queue", "list", "--json").stdout)
    assert not [row for row in kept if it.romeo in row["lane"]]


def fields(message: bytes | Received) -> set[str]:
    """The names of all headers."""
    head = (message if isinstance(message, bytes) else message.data).partition(b"\r\n\r\n")[0]
    return {line.partition(b":")[0].strip().decode().lower() for line in head.split(b"\r\n")[1:]}
