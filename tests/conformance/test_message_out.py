"""MESSAGE from XMPP to SIP (RFC 3428 sections 4, 8 and 9): what leaves, how large, how many at a time, and what an answer means.

`routes` serves one SIP domain for each way a route can be set: once.test keeps nothing, cpim.test always gets message/cpim,
trunk.test takes large messages over TCP, narrow.test is said to take them but has UDP only, gone.test is dead, loose.test has a next hop
that is a pre-loaded route set, and of vouched.test a 200 is the word of whom it is for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from xml.etree.ElementTree import fromstring

import pytest

from gateway.core.cpim import IMDN, CpimMessage
from tests.bench.peerlab.sip import Received
from tests.bridge import USERS, Bridge
from tests.conformance.exchange import error_of, respond, silent
from tests.conformance.talk import Talk, conversation, rows
from tests.peers.process import free_port
from tests.peers.prosody import Prosody
from tests.peers.stoxgate import SECRET, SIP_DOMAIN, Stoxgate

pytestmark = pytest.mark.interop
LIMIT = 1300
DOMAINS = (SIP_DOMAIN, "once.test", "cpim.test", "trunk.test", "narrow.test", "gone.test", "loose.test", "vouched.test")
ROUTES = """
[[route]]
domain = "once.test"
store = false
[[route]]
domain = "cpim.test"
cpim = "always"
[[route]]
domain = "trunk.test"
large_messages = true
next_hop = "sip:127.0.0.1:{phone};transport=tcp"
[[route]]
domain = "narrow.test"
large_messages = true
[[route]]
domain = "gone.test"
store = false
next_hop = "sip:127.0.0.1:{nobody};transport=tcp"
[[route]]
domain = "loose.test"
next_hop = "sip:edge@127.0.0.1:{phone};transport=udp;lr;x=1"
[[route]]
domain = "vouched.test"
receipt_on_200 = true
[limits]
per_recipient = 4
"""


@pytest.fixture(scope="module")
def routes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    work, phone = tmp_path_factory.mktemp("routes"), free_port()
    server = Prosody(work / "server", users=USERS, components=dict.fromkeys(DOMAINS, SECRET))
    with server, Stoxgate(work / "gateway", component_port=server.component_port, sip_domains=DOMAINS, next_hop=f"sip:127.0.0.1:{phone}",
                          tables=ROUTES.format(phone=phone, nobody=free_port())) as gateway:  # fmt: skip
        yield Bridge(server, gateway, phone, "udp")
        gateway.kill()


# -- what is on the wire -----------------------------------------------------------------------------------------------
@pytest.mark.requirement("MSG-40", "MSG-41", "MSG-90")
@conversation()
async def test_a_request_has_what_it_must_have_and_nothing_that_it_must_not(it: Talk) -> None:
    it.writes("<subject>Balcony</subject><body>good night</body><thread>t1</thread>", "xml:lang='en'")
    request = await it.receives()
    assert request.data.startswith(f"MESSAGE {it.sip} SIP/2.0\r\n".encode())
    assert re.fullmatch(rf"SIP/2\.0/UDP 127\.0\.0\.1:{it.bridge.gateway.port};branch=z9hG4bK[0-9a-f]{{16}};rport", request.header("Via"))
    assert request.header("Max-Forwards") == "70"
    assert re.fullmatch(r"<sip:u0@xmpp\.test;gr=lab>;tag=\w+", request.header("From"))
    assert request.header("To") == f"<{it.sip}>"
    assert request.header("Call-ID") == "t1"
    assert re.fullmatch(r"[0-9]{1,10} MESSAGE", request.header("CSeq"))
    assert request.header("Content-Type").replace(" ", "").lower() == "text/plain;charset=utf-8"
    assert int(request.header("Content-Length")) == len(request.body) == len(b"good night")
    head = request.data.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]
    allowed = {"Via", "Max-Forwards", "From", "To", "Call-ID", "CSeq", "Subject", "Content-Language", "Content-Type", "Content-Length"}
    assert {line.partition(b":")[0].decode() for line in head} == allowed


@pytest.mark.requirement("MSG-03")
@conversation()
async def test_a_chat_is_messages_and_never_a_dialog(it: Talk) -> None:
    for number in range(3):
        it.writes(f"<body>{number}</body><thread>chat-{it.romeo}</thread>", "type='chat'")
    found = [await it.receives() for _ in range(3)]
    assert [each.body for each in found] == [b"0", b"1", b"2"]
    assert not any(";tag=" in each.header("To") or rows(each, "Route") for each in found)
    assert len({each.header("Call-ID") for each in found}) == len({each.header("From") for each in found}) == 1
    numbers = [int(each.header("CSeq").split()[0]) for each in found]
    assert numbers == sorted(set(numbers))
    others = [each.data for each in it.phone.requests.waiting if not each.data.startswith(b"MESSAGE ")]
    assert others == []


@pytest.mark.requirement("MSG-30")
@conversation()
async def test_text_arrives_as_it_was_written(it: Talk) -> None:
    it.writes("<body>5 &lt; 6 &amp; \U0001f339 &quot;ü&quot;\nnext line</body>")
    assert (await it.receives()).body.decode() == '5 < 6 & \U0001f339 "ü"\r\nnext line'


@pytest.mark.requirement("MSG-93")
@conversation()
async def test_the_fields_of_rfc_7572(it: Talk) -> None:
    it.writes("<body xml:lang='it'>Ciao</body><subject>Balcone</subject><thread>thread-1</thread>", "id='x1'", to=f"{it.jid}/desk")
    request = await it.receives(f"{it.sip};gr=desk")
    assert request.header("To") == f"<{it.sip};gr=desk>"
    assert request.header("From").startswith("<sip:u0@xmpp.test;gr=lab>")
    assert [request.header(name) for name in ("Subject", "Call-ID", "Content-Language")] == ["Balcone", "thread-1", "it"]
    assert request.body == b"Ciao"


@pytest.mark.requirement("MSG-31")
@conversation(on="routes", domain="cpim.test")
async def test_a_route_can_ask_for_cpim(it: Talk) -> None:
    it.writes("<subject>Lunch</subject><body>At noon ☕</body>")
    request = await it.receives()
    assert request.header("Content-Type") == "message/cpim"
    message = CpimMessage.parse(request.body)
    assert message.first("From") == "<sip:u0@xmpp.test>"
    assert message.first("To") == f"<{it.sip}>"
    assert message.first("Subject") == "Lunch"
    assert message.entity.content_type.essence == "text/plain"
    assert message.entity.content.decode() == "At noon ☕"


@pytest.mark.requirement("QOS-04")
@conversation(on="routes", domain="trunk.test", transport="tcp")
async def test_one_connection_carries_all_messages(it: Talk) -> None:
    for number in range(20):
        it.writes(f"<body>{number}</body>", to=f"{it.romeo}{number}@trunk.test")
    found = [await it.phone.requests.next() for _ in range(20)]
    assert {each.body for each in found} == {str(number).encode() for number in range(20)}
    assert len({each.header("Via").partition(";")[0] for each in found}) == 1
    lines = [line for line in it.bridge.gateway.printed.splitlines() if "cannot connect" in line]
    assert lines == []
    assert connections(it.phone.port) == 1


# -- the route set -----------------------------------------------------------------------------------------------------
@pytest.mark.requirement("SIP-100", "SIP-101")
@conversation(on="routes", domain="loose.test")
async def test_a_next_hop_with_lr_is_a_route_set_of_one(it: Talk) -> None:
    it.writes("<body>over there</body>", to=f"{it.jid}/desk")
    request = await it.receives(f"{it.sip};gr=desk")
    assert rows(request, "Route") == [f"<sip:edge@127.0.0.1:{it.phone.port};transport=udp;lr;x=1>"]
    assert request.header("To") == f"<{it.sip};gr=desk>"
    assert request.data.index(b"\r\nRoute: ") < request.data.index(b"\r\nMax-Forwards: ")


@pytest.mark.requirement("SIP-101")
@conversation(on="routes")
async def test_a_next_hop_without_lr_is_no_route_set(it: Talk) -> None:
    it.writes("<body>there</body>")
    assert rows(await it.receives(), "Route") == []


@pytest.mark.requirement("SIP-101")
@conversation(on="routes", domain="loose.test")
async def test_a_report_has_the_route_too(it: Talk) -> None:
    assert (await it.says(b"hello", to="sip:nobody@xmpp.test")).status == 202
    report = await it.receives()
    assert b"could not be delivered" in report.body
    assert rows(report, "Route") == [f"<sip:edge@127.0.0.1:{it.phone.port};transport=udp;lr;x=1>"]


@pytest.mark.requirement("SIP-101", "SIP-103")
@conversation(on="routes")
async def test_where_a_redirect_leads_its_own_route_counts(it: Talk) -> None:
    silent(it.phone)
    it.writes("<body>where are you</body>")
    respond(it.phone, await it.receives(), 302, headers=f"Contact: <sip:{it.romeo}@loose.test>\r\n")
    there = await it.receives(f"sip:{it.romeo}@loose.test")
    assert len(rows(there, "Route")) == 1
    respond(it.phone, there, 302, headers=f"Contact: <sip:back{it.jid};lr>\r\n")
    back = await it.receives(f"sip:back{it.jid};lr")
    assert rows(back, "Route") == []
    respond(it.phone, back, 200)


# -- size --------------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("MSG-61", "MSG-63")
@conversation()
async def test_1300_octets_leave_and_1301_are_refused(it: Talk) -> None:
    room = await room_left(it)
    it.writes(f"<body>{'x' * room}</body><thread>size</thread>")
    assert len((await it.receives()).data) == LIMIT
    room = await room_left(it)
    it.writes(f"<body>{'x' * (room + 1)}</body><thread>size</thread>", "id='big'")
    kind, condition, text, _ = error_of(fromstring(await it.hears()))
    assert (kind, condition) == ("modify", "policy-violation")
    assert "1300" in text
    await it.receives_nothing()


@pytest.mark.requirement("SIP-101", "MSG-61")
@conversation(on="routes", domain="loose.test")
async def test_the_route_counts_too(it: Talk) -> None:
    room = await room_left(it)
    it.writes(f"<body>{'x' * room}</body><thread>size</thread>")
    full = await it.receives()
    assert (len(full.data), len(rows(full, "Route"))) == (LIMIT, 1)
    room = await room_left(it)
    it.writes(f"<body>{'x' * (room + 1)}</body><thread>size</thread>")
    assert error_of(fromstring(await it.hears()))[1] == "policy-violation"
    await it.receives_nothing()


async def room_left(it: Talk) -> int:
    """How long the text of the next message may be for a request of 1300 octets, in whose From the device makes way for it."""
    while True:
        it.writes(f"<body>{'x' * 500}</body><thread>size</thread>")
        probe = await it.receives()
        number = int(probe.header("CSeq").split()[0])
        if len(str(number + 50)) == len(str(number)):
            return 500 + LIMIT - len(probe.data) + len(";gr=lab")


@pytest.mark.requirement("MSG-62")
@conversation(on="routes", domain="trunk.test", transport="tcp")
async def test_large_messages_go_where_both_sides_agree(it: Talk) -> None:
    it.writes(f"<body>{'long ' * 800}</body>")
    assert (await it.receives()).body == b"long " * 800


@pytest.mark.requirement("MSG-62")
@conversation(on="routes", domain="narrow.test")
async def test_large_messages_never_go_over_udp(it: Talk) -> None:
    it.writes(f"<body>{'long ' * 800}</body>")
    kind, condition, _, _ = error_of(fromstring(await it.hears()))
    assert (kind, condition) == ("modify", "policy-violation")
    await it.receives_nothing()


@pytest.mark.requirement("MSG-61")
@conversation(on="routes", domain="cpim.test", transport="udp")
async def test_the_wrapping_counts_too(it: Talk) -> None:
    it.writes(f"<body>{'x' * 900}</body>")
    assert error_of(fromstring(await it.hears()))[1] == "policy-violation"
    it.writes(f"<body>{'x' * 500}</body>")
    assert len((await it.receives()).data) <= LIMIT


# -- one at a time -----------------------------------------------------------------------------------------------------
@pytest.mark.requirement("MSG-65", "MSG-66")
@conversation()
async def test_one_pending_message_for_one_uri_whoever_writes(it: Talk) -> None:
    silent(it.phone)
    async with it.bridge.user("u1") as nurse:
        it.writes("<body>first</body>")
        first = await it.receives()
        it.writes("<body>second</body>", juliet=nurse)
        it.writes("<body>third</body>")
        for number, juliet in enumerate((it.juliet, nurse)):
            it.writes("<body>elsewhere</body>", juliet=juliet, to=f"other{number}{it.jid}")
        for number in range(2):  # each came behind what the same user wrote to romeo
            respond(it.phone, await it.receives(f"sip:other{number}{it.jid}"), 200)
        assert waiting_for(it) == []
        respond(it.phone, first, 200)
        second = await it.receives()
        assert waiting_for(it) == []
        respond(it.phone, second, 200)
        third = await it.receives()
        respond(it.phone, third, 200)
        assert {each.body for each in (first, second, third)} == {b"first", b"second", b"third"}


@pytest.mark.requirement("MSG-67", "QOS-06", "QOS-1A")
@conversation(on="routes")
async def test_a_full_lane_refuses_and_harms_no_other(it: Talk) -> None:
    silent(it.phone)
    it.writes("<body>0</body>")
    pending = await it.receives()
    for number in range(1, 6):
        it.writes(f"<body>{number}</body>", f"id='m{number}'")
    refused = fromstring(await it.hears())
    assert refused.get("id") == "m5"
    assert error_of(refused)[:2] == ("wait", "resource-constraint")
    it.writes("<body>elsewhere</body>", to=f"other{it.jid}")
    respond(it.phone, await it.receives(f"sip:other{it.jid}"), 200)
    for number in range(1, 5):
        respond(it.phone, pending, 200)
        pending = await it.receives()
        assert pending.body == str(number).encode()
    respond(it.phone, pending, 200)


# -- what an answer means ----------------------------------------------------------------------------------------------
@pytest.mark.requirement("MSG-06")
@conversation()
async def test_a_provisional_response_decides_nothing(it: Talk) -> None:
    silent(it.phone)
    it.writes("<body>first</body>")
    first = await it.receives()
    respond(it.phone, first, 100, "Trying")
    respond(it.phone, first, 180, "Ringing")
    it.writes("<body>second</body>")
    it.writes("<body>elsewhere</body>", to=f"other{it.jid}")
    respond(it.phone, await it.receives(f"sip:other{it.jid}"), 200)
    assert waiting_for(it) == []
    respond(it.phone, first, 200)
    respond(it.phone, await it.receives(), 200)


ASKED = "<request xmlns='urn:xmpp:receipts'/><markable xmlns='urn:xmpp:chat-markers:0'/>"


@pytest.mark.requirement("MSG-21", "MSG-44")
@pytest.mark.parametrize("status", [200, 202])
@conversation()
async def test_a_2xx_is_no_receipt(it: Talk, status: int) -> None:
    it.phone.answer = lambda _request: status
    it.writes(f"<body>read me</body>{ASKED}", "id='m1' type='chat'")
    message = CpimMessage.parse((await it.receives()).body)
    assert message.entity.content == b"read me"
    await it.receives_nothing()
    await it.hears_nothing()
    assert (await it.says(delivered(message), "message/cpim")).status == 202
    assert told_of(await it.hears()) == ("received", "m1")
    await it.hears_nothing()


@pytest.mark.requirement("MSG-21", "MSG-42")
@pytest.mark.parametrize("status", [200, 202])
@conversation(on="routes", domain="vouched.test")
async def test_only_a_200_can_be_of_the_recipients_own_device_and_that_is_for_the_route_to_say(it: Talk, status: int) -> None:
    it.phone.answer = lambda _request: status
    it.writes(f"<body>read me</body>{ASKED}", "id='m1' type='chat'")
    assert b"read me" in (await it.receives()).body
    await it.receives_nothing()
    if status == 200:
        assert told_of(await it.hears()) == ("received", "m1")
    await it.hears_nothing()


def delivered(message: CpimMessage) -> bytes:
    """The notification that a message has come (RFC 5438)."""
    head = "From: <im:phone@stoxgate.test>\r\nTo: <im:u0@xmpp.test>\r\nNS: imdn <urn:ietf:params:imdn>\r\nimdn.Message-ID: n1\r\n\r\n"
    entity = "Content-Type: message/imdn+xml\r\nContent-Disposition: notification\r\n\r\n"
    document = (f"<imdn xmlns='urn:ietf:params:xml:ns:imdn'><message-id>{message.first('Message-ID', IMDN)}</message-id>"
                f"<datetime>{message.first('DateTime')}</datetime>"
                "<delivery-notification><status><delivered/></status></delivery-notification></imdn>")  # fmt: skip
    return (head + entity + document).encode()


def told_of(stanza: str) -> tuple[str, str | None]:
    """What a stanza without a body says of which message, by its one child of receipts or markers."""
    found = [each for each in fromstring(stanza) if each.tag.startswith(("{urn:xmpp:receipts}", "{urn:xmpp:chat-markers:0}"))]
    assert "<body" not in stanza
    [child] = found
    return child.tag.partition("}")[2], child.get("id")


@pytest.mark.requirement("MSG-43")
@conversation()
async def test_the_device_that_answered_is_named_to_nobody(it: Talk) -> None:
    silent(it.phone)
    it.writes("<body>which of you</body>")
    respond(it.phone, await it.receives(), 200, headers=f"Contact: <sip:device-{it.romeo}@192.0.2.9>\r\n")
    it.phone.answer = lambda _request: 200
    await it.receives_nothing()
    await it.hears_nothing()
    it.phone.put(it.request(call_id=f"last.{it.romeo}", content_type="image/png"))
    it.bridge.gateway.wait_for(re.escape(f"last.{it.romeo}"))
    assert f"device-{it.romeo}" not in it.bridge.gateway.printed


@pytest.mark.requirement("MSG-46")
@conversation(on="routes", domain="gone.test")
async def test_a_dead_next_hop_without_a_store_is_told_at_once(it: Talk) -> None:
    it.writes("<body>anyone</body>", "id='m1'")
    told = fromstring(await it.hears())
    assert told.get("id") == "m1"
    assert error_of(told)[:2] == ("wait", "remote-server-timeout")


@pytest.mark.requirement("MSG-46", "QOS-15", "QOS-1C")
@conversation(on="routes")
async def test_a_temporary_failure_is_tried_again_and_not_told(it: Talk) -> None:
    first_answer = [480]
    it.phone.answer = lambda _request: first_answer.pop() if first_answer else 200
    it.writes("<body>patience</body><thread>p1</thread>", "id='m1'")
    first = await it.receives()
    [waiting] = queue(it)
    assert (waiting["state"], waiting["attempts"], waiting["status"]) == ("waiting", 1, 480)
    it.bridge.gateway.cli("queue", "retry", str(waiting["seq"]))
    again = await it.receives()
    assert (again.body, again.header("Call-ID"), again.header("From")) == (first.body, first.header("Call-ID"), first.header("From"))
    assert int(again.header("CSeq").split()[0]) > int(first.header("CSeq").split()[0])
    assert again.header("Via") != first.header("Via")
    await it.receives_nothing()
    await it.hears_nothing()


@pytest.mark.requirement("MSG-49")
@conversation(on="routes")
async def test_a_503_with_retry_after_holds_the_next_hop(it: Talk) -> None:
    silent(it.phone)
    it.writes("<body>busy</body>")
    busy = await it.receives()
    respond(it.phone, busy, 503, headers="Retry-After: 2 (back soon)\r\n")
    it.phone.answer = lambda _request: 200
    it.writes("<body>somebody else</body>", to=f"other{it.jid}")
    other = await it.receives(f"sip:other{it.jid}")
    assert other.at - busy.at > 1.9


def waiting_for(it: Talk) -> list[Received]:
    """Requests for romeo that have come and were not taken."""
    return [each for each in it.phone.requests.waiting if each.data.startswith(f"MESSAGE {it.sip} ".encode())]


def queue(it: Talk) -> list[dict[str, object]]:
    """What the gateway keeps for romeo."""
    found = json.loads(it.bridge.gateway.cli("queue", "list", "--json").stdout)
    return [row for row in found if it.romeo in row["lane"]]


def connections(port: int) -> int:
    """How many connections to this port of 127.0.0.1 the machine holds open."""
    mark = re.compile(rf"^ *\d+: \S+ 0100007F:{port:04X} 01 ", re.M)
    with open("/proc/net/tcp") as table:
        return len(mark.findall(table.read()))
