"""The SIP side as a whole over loopback: requests that come and what the Sink gets of them, deliveries and what becomes of them."""

from __future__ import annotations

import asyncio
import random
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, cast

import pytest
import uvloop

from gateway.core.address import SipAddress
from gateway.core.canonical import text_message
from gateway.core.envelope import Envelope
from gateway.core.errors import Refusal
from gateway.core.jid import Jid
from gateway.core.outcome import DELIVERED, Outcome, Verdict
from gateway.core.settings import RouteRule, Settings
from gateway.sip import adapter as adapter_module
from gateway.sip import endpoint as endpoint_module
from gateway.sip import hops as hops_module
from gateway.sip import transport as transport_module
from gateway.sip.adapter import SipAdapter
from gateway.sip.flow import Flow
from gateway.sip.locate import Locator, NotFoundError, Target
from gateway.sip.peers import Peers
from gateway.sip.transaction import Timers
from gateway.sip.uas import Uas
from tests.bridge import Bridge, bridge
from tests.peers.wire import Inbox
from tests.sip.rig import (
    ACCEPT,
    ALLOW,
    JULIET,
    SECRET,
    Notes,
    Try,
    codec,
    guard,
    header,
    headers,
    param,
    request,
    response,
    settings,
    status,
    tables,
)

LIMIT = 5.0
QUICK = Timers(t1=0.01, t2=0.04, t4=0.05)
"""Timer F after 0.64 s."""
Talk = Callable[[], Coroutine[Any, Any, None]]


def run(talk: Talk) -> None:
    uvloop.run(talk())


class Side:
    """A running adapter: its Sink, and its codec as deliveries use it."""

    def __init__(self, config: Settings, sink: Notes, timers: Timers | None = None) -> None:
        self.config, self.sink = config, sink
        self.peers = Peers(SECRET, time.time)
        self.codec = codec(config, known=self.peers.takes)
        self.adapter = SipAdapter(config, tables(), guard(config), self.codec, sink, SECRET, self.peers, timers)

    def address(self, transport: str = "udp") -> tuple[str, int]:
        return "127.0.0.1", int(self.codec.sent_by[transport].rpartition(":")[2])

    def owes(self, romeo: Phone) -> bool:
        """Whether a request of this phone waits for its answer."""
        host, port = self.address()
        return self.adapter.owes(Flow("udp", f"{host}:{port}", "127.0.0.1", romeo.port))

    def letter(self, number: int = 5, text: str = "hi", to: str = "romeo") -> Try:
        """A delivery of a message of juliet's."""
        sender, recipient = Jid("juliet", "xmpp.example"), SipAddress(to, "sip.example")
        content = text_message(sender, recipient, text, 0)
        message = Envelope("id", "trace", sender, recipient, content, 0, "xmpp:sip.example", thread="call-1")
        return Try(1, number, message, self.adapter.translate(message, number))

    def send(self, number: int = 5, *, repeat: bool = False, to: str = "romeo") -> Try:
        delivery = self.letter(number, to=to)
        delivery.repeat, delivery.again = repeat, self.adapter.send
        self.adapter.send(delivery)
        return delivery


@asynccontextmanager
async def side(config: Settings | None = None, sink: Notes | None = None, timers: Timers | None = None) -> AsyncIterator[Side]:
    it = Side(config or settings(), sink or Notes(), timers)
    await it.adapter.open()
    it.adapter.serve()
    try:
        yield it
    finally:
        it.adapter.close()


def test_what_comes_before_the_relay_is_there_is_answered_when_it_is() -> None:
    async def talk() -> None:
        it = Side(settings(), Notes())
        await it.adapter.open()
        reader, writer = await asyncio.open_connection(*it.address("tcp"))
        try:
            async with phone() as romeo:
                writer.write(request(transport="TCP", branch="z9hG4bK-2", call_id="call-2"))
                romeo.transport.sendto(request(), it.address())
                async with asyncio.timeout(LIMIT):
                    while len(it.adapter._early or ()) < 2:  # noqa: ASYNC110 - nobody tells when a socket has been read
                        await asyncio.sleep(0)
                assert it.sink.offered == []
                it.adapter.serve()
                assert status(await romeo.came.next(LIMIT)) == 202
                assert status(await reader.readuntil(b"\r\n\r\n")) == 202
        finally:
            writer.close()
            it.adapter.close()

    run(talk)


class Phone(asyncio.DatagramProtocol):
    """A UDP peer: what came, and from where it came last."""

    def __init__(self) -> None:
        self.came: Inbox[bytes] = Inbox()
        self.source = ("", 0)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.source = addr
        self.came.put(data)

    async def ask(self, it: Side, data: bytes) -> bytes:
        """Send, and take the next answer."""
        self.transport.sendto(data, it.address())
        return await self.came.next(LIMIT)

    def reply(self, data: bytes) -> None:
        self.transport.sendto(data, self.source)


@asynccontextmanager
async def phone(host: str = "127.0.0.1") -> AsyncIterator[Phone]:
    transport, it = await asyncio.get_running_loop().create_datagram_endpoint(Phone, local_addr=(host, 0))
    try:
        yield it
    finally:
        transport.close()


@asynccontextmanager
async def both(*, timers: Timers | None = None, sink: Notes | None = None, **route: Any) -> AsyncIterator[tuple[Side, Phone]]:
    """An adapter whose next hop is a phone."""
    async with phone() as romeo:
        rule = RouteRule("*", f"sip:127.0.0.1:{romeo.port}", **route)
        async with side(settings(rule), sink, timers) as it:
            yield it, romeo


async def until(true: Callable[[], object], limit: float = LIMIT) -> None:
    """Wait for something that has no event of its own."""
    async with asyncio.timeout(limit):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


async def ended(delivery: Try, limit: float = LIMIT) -> Outcome:
    """The outcome of a delivery, which comes once."""
    await until(lambda: delivery.outcomes, limit)
    (outcome,) = delivery.outcomes
    return outcome


async def settled() -> None:
    """Let the loop do what it has to do now."""
    for _ in range(10):
        await asyncio.sleep(0)


# -- requests that come ---------------------------------------------------------------------------------------------------
@pytest.mark.requirement("SIP-83", "SIP-85", "SIP-89")
def test_a_message_is_offered_and_accepted() -> None:
    async def talk() -> None:
        async with both() as (it, romeo):
            answer = await romeo.ask(it, request())
            assert answer.startswith(b"SIP/2.0 202 Accepted\r\n")
            assert headers(answer, "Contact") == headers(answer, "Content-Type") == headers(answer, "Accept") == []
            assert answer.endswith(b"Content-Length: 0\r\n\r\n")
            assert (header(answer, "Call-ID"), header(answer, "CSeq")) == ("call-1", "1 MESSAGE")
            ((envelope, keys),) = it.sink.offered
            assert envelope.message.entity.content == b"hello"
            assert keys is not None
            assert keys[0] != keys[1]

    run(talk)


@pytest.mark.requirement("SIP-86", "SIP-85")
def test_an_answer_uses_no_extension_and_its_tag_is_long_enough() -> None:
    async def talk() -> None:
        async with both() as (it, romeo):
            for number, change in enumerate(({}, {"method": "OPTIONS"}, {"uri": "tel:+1"}, {"method": "SUBSCRIBE"}, {"cseq": "x"})):
                answer = await romeo.ask(it, request(branch=f"z9hG4bK-{number}", supported="100rel, timer", **change))  # type: ignore[arg-type]
                assert headers(answer, "Require") == []
                assert len(param(header(answer, "To"), "tag")) >= 8

    run(talk)


@pytest.mark.requirement("TXN-05", "TXN-07", "MSG-19")
@pytest.mark.parametrize("restart", [False, True])
def test_a_message_that_was_kept_is_answered_as_before_also_after_a_restart(restart: bool) -> None:
    async def talk() -> None:
        sink = Notes()
        async with both(sink=sink) as (it, romeo):
            first = await romeo.ask(it, request())
            if not restart:
                assert await romeo.ask(it, request()) == first
                # Over a stream, on another branch: not merged, but a copy all the same.
                reader, writer = await asyncio.open_connection(*it.address("tcp"))
                writer.write(request(branch="z9hG4bK-2", transport="TCP"))
                assert status(await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), LIMIT)) == 202
                writer.close()
            else:
                async with side(sink=sink) as next_run:
                    assert await romeo.ask(next_run, request()) == first
        assert len(sink.offered) == 1

    run(talk)


@pytest.mark.requirement("SIP-77", "TXN-06", "MSG-18")
def test_a_copy_on_another_branch_is_merged_while_the_first_lives_and_known_later() -> None:
    async def talk() -> None:
        async with both(sink=Notes(waits=True)) as (it, romeo):
            romeo.transport.sendto(request(), it.address())
            copy = request(branch="z9hG4bK-2")
            merged = await romeo.ask(it, copy)
            assert merged.startswith(b"SIP/2.0 482 Loop Detected\r\n")
            it.sink.decide(it.sink.open[0])
            assert status(await romeo.came.next(LIMIT)) == 202
            assert await romeo.ask(it, copy) == merged  # a final answer stays what it was
            assert status(await romeo.ask(it, request(branch="z9hG4bK-3"))) == 482
            it.sink.ages = dict.fromkeys(it.sink.ages, 32.1)
            assert status(await romeo.ask(it, request(branch="z9hG4bK-4"))) == 202
            assert len(it.sink.offered) == 1

    run(talk)


@pytest.mark.requirement("SIP-84")
def test_a_refused_request_leaves_nothing_behind() -> None:
    async def talk() -> None:
        async with both() as (it, romeo):
            for number, (change, code) in enumerate([({"uri": "sip:x@nowhere.example"}, 404), ({"max_forwards": "0"}, 483),
                                                     ({"require": "x"}, 420), ({"content_type": "image/png"}, 415)]):  # fmt: skip
                assert status(await romeo.ask(it, request(branch=f"z9hG4bK-{number}", **change))) == code  # type: ignore[arg-type]
            it.sink.verdict = Refusal("queue-full")
            assert status(await romeo.ask(it, request(branch="z9hG4bK-8"))) == 503
            it.sink.verdict = None
            assert it.sink.ages == {}
            assert status(await romeo.ask(it, request(branch="z9hG4bK-9"))) == 202

    run(talk)


@pytest.mark.requirement("FRAG-42")
def test_only_of_who_is_accepted_is_anything_learned_and_never_of_whom_a_report_names() -> None:
    async def talk() -> None:
        async with both(sink=Notes(Refusal("queue-full"))) as (it, romeo):
            html = {"body": b"<b>hi</b>", "content_type": "text/html"}
            assert status(await romeo.ask(it, request(branch="z9hG4bK-1", **html))) == 503  # type: ignore[arg-type]
            assert it.peers.rows() == []
            it.sink.verdict = None
            for branch, whom in enumerate(("sip:v@evil.example", "sip:sip.example", "sip:romeo@sip.example"), 2):
                report = f"SIP/2.0 480 Gone\r\nTo: <{whom}>\r\nCall-ID: n\r\nCSeq: 1 MESSAGE\r\n".encode()
                said = request(branch=f"z9hG4bK-{branch}", call_id=f"c{branch}", body=report, content_type="message/sipfrag")
                assert status(await romeo.ask(it, said)) == 202
            assert [notice.trace[1] for notice in it.sink.notices] == ["romeo@sip.example"]
            assert it.peers.rows() == []
            assert status(await romeo.ask(it, request(branch="z9hG4bK-9", call_id="c9", **html))) == 202  # type: ignore[arg-type]
            assert [(row.address, row.feature) for row in it.peers.rows()] == [("romeo@sip.example", "html")]

    run(talk)


def test_a_refusal_for_now_stays_the_answer_of_its_transaction() -> None:
    async def talk() -> None:
        async with both(sink=Notes(Refusal("overloaded"))) as (it, romeo):
            first = await romeo.ask(it, request())
            assert (status(first), header(first, "Retry-After")) == (503, "5")
            it.sink.verdict = None
            assert await romeo.ask(it, request()) == first
            assert len(it.sink.offered) == 1

    run(talk)


@pytest.mark.requirement("TXN-04", "SIP-70")
@pytest.mark.parametrize("mark", ["\\\1", "\ufffe"])
def test_a_branch_that_is_no_token_is_answered_and_the_message_may_come_again(mark: str) -> None:
    async def talk() -> None:
        async with both() as (it, romeo):
            via = f'SIP/2.0/UDP 127.0.0.1:5070;rport;branch="z9hG4bKab{mark}"'
            assert (await romeo.ask(it, request(via=via))).startswith(b"SIP/2.0 400 Bad Via branch\r\n")
            assert not it.owes(romeo)
            assert status(await romeo.ask(it, request())) == 202

    run(talk)


@pytest.mark.requirement("SIP-84")
def test_a_defect_of_ours_is_answered_with_500_and_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ValueError("a defect")

    async def talk() -> None:
        async with both() as (it, romeo):
            with monkeypatch.context() as change:
                change.setattr(it.sink, "offer", broken)
                first = await romeo.ask(it, request())
                assert first.startswith(b"SIP/2.0 500 Server Internal Error\r\n")
                change.setattr(Uas, "refused", broken)
                assert status(await romeo.ask(it, request(branch="z9hG4bK-2", max_forwards="0"))) == 500
            assert not it.owes(romeo)
            assert await romeo.ask(it, request()) == first
            assert status(await romeo.ask(it, request(branch="z9hG4bK-3"))) == 202

    run(talk)


@pytest.mark.requirement("SIP-65")
def test_an_answer_goes_back_on_a_connection_whose_peer_has_stopped_sending(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport_module, "_SWEEP_SECONDS", 0.01)

    async def talk() -> None:
        async with both(sink=Notes(waits=True)) as (it, _):
            reader, writer = await asyncio.open_connection(*it.address("tcp"))
            writer.write(request(transport="TCP"))
            writer.write_eof()
            await until(lambda: it.sink.open)
            await asyncio.sleep(0.05)
            it.sink.decide(it.sink.open[0])
            assert status(await asyncio.wait_for(reader.read(), LIMIT)) == 202  # and then the end
            writer.close()

    run(talk)


@pytest.mark.requirement("MSG-32", "SIP-18")
@pytest.mark.parametrize("type_", [None, "text/plain", "nonsense"])
def test_a_message_without_content_is_accepted_and_not_offered(type_: str | None) -> None:
    async def talk() -> None:
        async with both() as (it, romeo):
            first = await romeo.ask(it, request(body=b"", content_type=type_))
            assert status(first) == 202
            assert await romeo.ask(it, request(body=b"", content_type=type_)) == first
            assert it.sink.offered == []

    run(talk)


@pytest.mark.requirement("SIP-73", "SEC-05", "SEC-36")
@pytest.mark.parametrize("method", ["MESSAGE", "OPTIONS", "INVITE", "NEWMETHOD"])
def test_a_stranger_gets_403_once_whatever_he_wants(method: str) -> None:
    async def talk() -> None:
        async with side(timers=QUICK) as it, phone("127.0.0.66") as stranger:
            answer = await stranger.ask(it, request(method))
            assert answer.startswith(b"SIP/2.0 403 Forbidden\r\n")
            await asyncio.sleep(0.05)
            assert stranger.came.waiting == []
            assert it.sink.offered == []

    run(talk)


@pytest.mark.requirement("SIP-72")
@pytest.mark.parametrize("method", ["MESSAGE", "OPTIONS"])
def test_while_it_stops_it_answers_503_and_what_it_knows_as_before(method: str) -> None:
    async def talk() -> None:
        async with both() as (it, romeo):
            known = await romeo.ask(it, request(branch="z9hG4bK-0"))
            it.adapter.drain()
            answer = await romeo.ask(it, request(method, branch="z9hG4bK-1", call_id="new"))
            assert (status(answer), header(answer, "Retry-After")) == (503, "10")
            assert await romeo.ask(it, request(branch="z9hG4bK-0")) == known

    run(talk)


@pytest.mark.requirement("SIP-72", "TXN-08")
def test_when_no_more_transactions_can_be_remembered_new_messages_get_503(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint_module.Endpoint, "is_crowded", property(lambda _self: True))

    async def talk() -> None:
        async with both() as (it, romeo):
            answer = await romeo.ask(it, request())
            assert (status(answer), header(answer, "Retry-After")) == (503, "5")
            assert await romeo.ask(it, request()) == answer
            assert it.sink.offered == []

    run(talk)


@pytest.mark.requirement("SIP-75", "SIP-20", "MSG-05")
def test_unknown_methods_get_501_with_allow_known_ones_405_and_a_mismatch_400() -> None:
    async def talk() -> None:
        async with both() as (it, romeo):
            for number, (method, cseq, code) in enumerate([
                    ("NEWMETHOD", "1 NEWMETHOD", 501), ("NEWMETHOD", "1 MESSAGE", 501), ("message", "1 message", 501),
                    ("REGISTER", "1 REGISTER", 405), ("REGISTER", "1 MESSAGE", 400), ("MESSAGE", "1 message", 400)]):  # fmt: skip
                answer = await romeo.ask(it, request(method, branch=f"z9hG4bK-{number}", cseq=cseq))
                assert status(answer) == code
                assert headers(answer, "Allow") == ([ALLOW] if code > 400 else [])
            assert it.sink.offered == []

    run(talk)


@pytest.mark.requirement("SIP-88")
def test_options_are_answered_like_a_message_would_be() -> None:
    async def talk() -> None:
        async with both() as (it, romeo):
            for number, uri in enumerate((JULIET, "sip:gw.example", f"sip:127.0.0.1:{it.address()[1]}")):
                answer = await romeo.ask(it, request("OPTIONS", uri=uri, branch=f"z9hG4bK-{number}", body=b""))
                assert status(answer) == 200
                found = {name: header(answer, name) for name in ("Allow", "Accept", "Accept-Encoding", "Accept-Language", "Supported")}
                assert found == {"Allow": ALLOW, "Accept": ACCEPT, "Accept-Encoding": "identity",
                                 "Accept-Language": "*", "Supported": ""}  # fmt: skip
            assert status(await romeo.ask(it, request("OPTIONS", uri="sip:x@nowhere.example", branch="z9hG4bK-9", body=b""))) == 404

    run(talk)


@pytest.mark.requirement("TXN-30")
def test_a_refused_invite_is_repeated_on_time_until_its_ack() -> None:
    async def talk() -> None:
        async with both(timers=Timers(t1=0.03, t2=0.12, t4=0.1)) as (it, romeo):
            begun = asyncio.get_running_loop().time()
            refused = await romeo.ask(it, request("INVITE", body=b""))
            assert (status(refused), header(refused, "Allow")) == (405, ALLOW)
            assert await romeo.came.next(LIMIT) == refused
            assert asyncio.get_running_loop().time() - begun < 1
            romeo.transport.sendto(request("ACK", body=b"", to=header(refused, "To")), it.address())
            await asyncio.sleep(0.04)
            romeo.came.waiting.clear()
            await asyncio.sleep(0.2)
            assert romeo.came.waiting == []

    run(talk)


@pytest.mark.requirement("TXN-31")
def test_cancel_of_a_kept_message_is_200_and_the_message_stays_kept() -> None:
    async def talk() -> None:
        async with both() as (it, romeo):
            accepted = await romeo.ask(it, request())
            cancelled = await romeo.ask(it, request("CANCEL", body=b""))
            assert (status(cancelled), header(cancelled, "To")) == (200, header(accepted, "To"))
            assert status(await romeo.ask(it, request("CANCEL", branch="z9hG4bK-2", body=b""))) == 481
            assert len(it.sink.offered) == 1

    run(talk)


@pytest.mark.requirement("TXN-20")
@pytest.mark.parametrize("transport", ["UDP", "TCP"])
def test_a_slow_store_makes_a_100_and_then_the_answer(monkeypatch: pytest.MonkeyPatch, transport: str) -> None:
    for module in (adapter_module, endpoint_module):
        monkeypatch.setattr(module, "TRYING_AFTER_SECONDS", 0.05)

    async def talk() -> None:
        async with both(sink=Notes(waits=True)) as (it, romeo):
            reader, writer = await asyncio.open_connection(*it.address("tcp"))

            async def answer() -> bytes:
                return await (romeo.came.next(LIMIT) if transport == "UDP" else asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), LIMIT))

            if transport == "UDP":
                romeo.transport.sendto(request(), it.address())
            else:
                writer.write(request(transport="TCP"))
            trying = await answer()
            assert status(trying) == 100
            it.sink.decide(it.sink.open[0])
            assert status(await answer()) == 202
            writer.close()

    run(talk)


@pytest.mark.requirement("TXN-21")
def test_after_the_sender_has_given_up_nothing_is_said() -> None:
    async def talk() -> None:
        async with both(sink=Notes(waits=True), timers=QUICK) as (it, romeo):
            romeo.transport.sendto(request(), it.address())
            await until(lambda: it.sink.open)
            assert it.owes(romeo)
            await asyncio.sleep(QUICK.timeout + 0.05)
            it.sink.decide(it.sink.open[0])
            await asyncio.sleep(0.05)
            assert romeo.came.waiting == []
            assert not it.owes(romeo)

    run(talk)


def test_no_request_however_odd_makes_it_raise_or_keeps_state() -> None:
    """Requests with one odd thing each, many of them: every one gets one answer."""
    odd = ["", "x", '"', "<>", "a" * 300, "1", "\u00e9", "%00", ";", ",", "=?", "0", "99999999999", "text/plain;charset=\x7f", "*", "sip:@"]
    names = ["from", "to", "subject", "content_type", "content_encoding", "content_language", "date", "expires", "require", "contact",
             "max_forwards", "call_id", "cseq", "route", "accept", "priority"]  # fmt: skip
    dice = random.Random(5)

    async def talk() -> None:
        async with both() as (it, romeo):
            errors: list[Any] = []
            asyncio.get_running_loop().set_exception_handler(lambda _loop, context: errors.append(context))
            for number in range(400):
                change = {dice.choice(names): dice.choice(odd) for _ in range(dice.randint(1, 2))}
                method = dice.choice(["MESSAGE", "MESSAGE", "OPTIONS", "NEW"])
                uri = dice.choice([JULIET, "sip:gw.example", "sip:%C3@xmpp.example", "im:juliet@xmpp.example", "im:x", "tel:1"])
                body, branch = dice.choice([b"hello", b""]), f"z9hG4bK-{number}"
                answer = await romeo.ask(it, request(method, uri=uri, branch=branch, body=body, **change))
                assert status(answer) in range(200, 600)
                assert status(answer) != 500
            assert errors == []
            assert not it.owes(romeo)

    run(talk)


# -- messages that leave --------------------------------------------------------------------------------------------------
@pytest.mark.requirement("SIP-61", "SIP-60", "SIP-64")
def test_a_letter_goes_from_the_port_that_its_via_names_and_each_try_on_its_own_branch() -> None:
    async def talk() -> None:
        async with both() as (it, romeo):
            branches = []
            for number in (5, 5, 6):
                delivery = it.send(number)
                sent = await romeo.came.next(LIMIT)
                via = header(sent, "Via")
                assert via.startswith(f"SIP/2.0/UDP 127.0.0.1:{romeo.source[1]};branch=z9hG4bK")
                assert via.endswith(";rport")
                assert header(sent, "CSeq") == f"{number} MESSAGE"
                assert header(sent, "Call-ID") == "call-1"
                branches.append(param(via, "branch"))
                romeo.reply(response(sent))
                assert await ended(delivery) == DELIVERED
            assert len(set(branches)) == 3

    run(talk)


@pytest.mark.requirement("SIP-90", "SIP-106")
def test_a_message_that_fills_its_datagram_does_so_in_every_try() -> None:
    async def talk() -> None:
        async with both() as (it, romeo):
            spare = 1300 - len(await sent(it, romeo, it.letter(9, "x" * 500)))
            full = it.letter(9, "x" * (500 + spare))
            assert len(await sent(it, romeo, full)) == 1300
            full.number = 10
            again = await sent(it, romeo, full)
            assert (len(again), header(again, "CSeq")) == (1288, "10 MESSAGE")

    async def sent(it: Side, romeo: Phone, delivery: Try) -> bytes:
        it.adapter.send(delivery)
        return await romeo.came.next(LIMIT)

    run(talk)


def test_the_carrier_has_one_message_of_a_lane_on_its_way() -> None:
    assert SipAdapter.window == 1


@pytest.mark.requirement("SIP-61")
def test_listening_everywhere_the_via_names_the_gateway() -> None:
    async def talk() -> None:
        async with phone() as romeo:
            config = settings(RouteRule("*", f"sip:127.0.0.1:{romeo.port}"), host="0.0.0.0")
            async with side(config) as it:
                delivery = it.send()
                sent = await romeo.came.next(LIMIT)
                assert header(sent, "Via").startswith(f"SIP/2.0/UDP gw.example:{romeo.source[1]};branch=")
                romeo.reply(response(sent))
                assert await ended(delivery) == DELIVERED

    run(talk)


@pytest.mark.requirement("SIP-107", "SIP-106", "REL-11")
@pytest.mark.parametrize(
    ("code", "verdict"),
    [(200, Verdict.DELIVERED), (202, Verdict.DELIVERED), (299, Verdict.DELIVERED), (404, Verdict.FAILED), (408, Verdict.LATER),
     (413, Verdict.FAILED), (480, Verdict.LATER), (482, Verdict.FAILED), (486, Verdict.LATER), (499, Verdict.FAILED), (500, Verdict.LATER),
     (501, Verdict.FAILED), (503, Verdict.LATER), (504, Verdict.LATER), (600, Verdict.FAILED), (603, Verdict.FAILED),
     (699, Verdict.FAILED)],
)  # fmt: skip
def test_what_each_status_means(code: int, verdict: Verdict) -> None:
    async def talk() -> None:
        async with both() as (it, romeo):
            delivery = it.send()
            sent = await romeo.came.next(LIMIT)
            romeo.reply(response(sent, 180, "Ringing"))
            romeo.reply(response(sent, code, "Because\tof it"))
            outcome = await ended(delivery)
            assert outcome.verdict is verdict
            if verdict is not Verdict.DELIVERED:
                assert (outcome.status, outcome.reason) == (code, "Because of it")

    run(talk)


@pytest.mark.requirement("SIP-106", "REL-15")
def test_482_to_a_repeat_says_that_the_first_copy_arrived() -> None:
    async def talk() -> None:
        async with both() as (it, romeo):
            delivery = it.send(repeat=True)
            romeo.reply(response(await romeo.came.next(LIMIT), 482, "Loop Detected"))
            assert (await ended(delivery)).verdict is Verdict.MERGED

    run(talk)


@pytest.mark.requirement("SIP-106", "TRN-34")
def test_482_to_a_repeat_that_came_back_to_us_says_nothing_of_the_first_copy() -> None:
    """A proxy sends it back to where it came from, and hands on our own answer."""

    async def talk() -> None:
        async with both() as (it, romeo):
            delivery = it.send(repeat=True)
            asked = await romeo.came.next(LIMIT)
            start, rest = asked.split(b"\r\n", 1)
            via = f"Via: SIP/2.0/UDP 127.0.0.1:{romeo.port};branch=z9hG4bK-proxy".encode()
            romeo.transport.sendto(b"\r\n".join((start, via, rest)), it.address())
            answer = await romeo.came.next(LIMIT, where=lambda octets: octets.startswith(b"SIP/2.0 "))
            assert status(answer) == 482
            romeo.reply(response(asked, 482, "Loop Detected"))
            outcome = await ended(delivery)
            assert (outcome.verdict, outcome.status) == (Verdict.FAILED, 482)

    run(talk)


@pytest.mark.requirement("SIP-106")
@pytest.mark.parametrize(("code", "held"), [(503, True), (480, False)])
def test_retry_after_is_told_and_a_503_holds_the_whole_hop(code: int, held: bool) -> None:
    async def talk() -> None:
        async with both() as (it, romeo):
            delivery = it.send()
            gate = delivery.parcel.gate
            assert it.adapter.ready(gate, retry=False)
            romeo.reply(response(await romeo.came.next(LIMIT), code, "Later", retry_after="1 (soon);duration=5"))
            assert (await ended(delivery)).retry_after == 1
            assert it.adapter.ready(gate, retry=False) is not held
            assert it.adapter.ready("sip:other.example", retry=False)
            if held:
                await until(lambda: gate in it.sink.up)
                assert it.adapter.ready(gate, retry=False)

    run(talk)


@pytest.mark.requirement("REL-10", "MSG-49")
def test_a_hop_is_held_for_10_minutes_at_most() -> None:
    async def talk() -> None:
        async with both() as (it, romeo):
            delivery = it.send()
            romeo.reply(response(await romeo.came.next(LIMIT), 503, "Later", retry_after="4294967295"))
            await ended(delivery)
            clock = it.adapter._loop
            for seconds, is_ready in ((598, False), (601, True)):
                it.adapter._loop = cast("asyncio.AbstractEventLoop", Clock(clock.time() + seconds))
                assert it.adapter.ready(delivery.parcel.gate, retry=False) is is_ready
            it.adapter._loop = clock

    run(talk)


class Clock(NamedTuple):
    """A loop that only tells the time."""

    at: float

    def time(self) -> float:
        return self.at


@pytest.mark.requirement("SIP-105")
def test_a_503_without_retry_after_holds_nothing() -> None:
    async def talk() -> None:
        async with both() as (it, romeo):
            delivery = it.send()
            romeo.reply(response(await romeo.came.next(LIMIT), 503, "Service Unavailable"))
            assert (await ended(delivery)).verdict is Verdict.LATER
            assert it.adapter.ready(delivery.parcel.gate, retry=True)

    run(talk)


@pytest.mark.requirement("SIP-108", "TXN-22", "QOS-1C")
def test_silence_is_an_unknown_outcome_and_the_same_octets_went_again() -> None:
    async def talk() -> None:
        async with both(timers=QUICK) as (it, romeo):
            delivery = it.send()
            outcome = await ended(delivery)
            assert (outcome.verdict, outcome.status) == (Verdict.UNKNOWN, 408)
            assert len(set(romeo.came.waiting)) == 1
            assert len(romeo.came.waiting) >= 5
            romeo.reply(response(romeo.came.waiting[0]))  # too late
            await asyncio.sleep(0.02)
            assert len(delivery.outcomes) == 1

    run(talk)


def dead_port(kind: int) -> int:
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.mark.requirement("TXN-24", "ERR-16")
@pytest.mark.parametrize(("transport", "kind"), [("udp", socket.SOCK_DGRAM), ("tcp", socket.SOCK_STREAM)])
def test_a_dead_hop_is_known_at_once(monkeypatch: pytest.MonkeyPatch, transport: str, kind: int) -> None:
    async def talk() -> None:
        rule = RouteRule("*", f"sip:127.0.0.1:{dead_port(kind)};transport={transport}")
        async with side(settings(rule)) as it:
            tries = [it.send(number, to=f"r{number}") for number in range(3)]
            assert not any(each.outcomes for each in tries)  # never inside `send`
            for each in tries:
                outcome = await ended(each, 1)
                assert (outcome.verdict, outcome.status) == (Verdict.LATER, 408)
            # An earlier copy may have arrived, wherever this one did not.
            outcome = await ended(it.send(repeat=True), 1)
            assert (outcome.verdict, outcome.status) == (Verdict.UNKNOWN, 408)
            monkeypatch.setattr(adapter_module, "MOST_PENDING", 1)
            assert it.adapter.ready("sip:another.example", retry=False)  # nothing is pending

    run(talk)


@pytest.mark.requirement("TXN-24", "SIP-108")
@pytest.mark.parametrize(("copies", "verdict"), [(1, Verdict.LATER), (2, Verdict.UNKNOWN)])
def test_a_hop_that_goes_away_leaves_open_what_became_of_an_earlier_copy(copies: int, verdict: Verdict) -> None:
    async def talk() -> None:
        async with both(timers=Timers(t1=0.02)) as (it, romeo):
            delivery = it.send()
            for _ in range(copies):
                await romeo.came.next(LIMIT)
            it.adapter.unreachable(Flow("udp", it.codec.sent_by["udp"], "127.0.0.1", romeo.port))
            assert (await ended(delivery)).verdict is verdict

    run(talk)


@pytest.mark.requirement("TXN-24")
def test_a_connection_that_breaks_ends_what_waits_on_it() -> None:
    async def talk() -> None:
        writers: Inbox[asyncio.StreamWriter] = Inbox()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"hi")
            writers.put(writer)

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        rule = RouteRule("*", f"sip:127.0.0.1:{server.sockets[0].getsockname()[1]};transport=tcp")
        async with side(settings(rule)) as it:
            delivery = it.send()
            (await writers.next()).close()
            assert (await ended(delivery)).verdict is Verdict.UNKNOWN
        server.close()

    run(talk)


@asynccontextmanager
async def hop(timers: Timers | None = None) -> AsyncIterator[tuple[Side, Inbox[tuple[bytes, asyncio.StreamWriter]]]]:
    """An adapter whose next hop listens on TCP: what came, with the end of the connection on which it came."""
    came: Inbox[tuple[bytes, asyncio.StreamWriter]] = Inbox()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                came.put((await reader.readuntil(b"hi"), writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    rule = RouteRule("*", f"sip:127.0.0.1:{server.sockets[0].getsockname()[1]};transport=tcp")
    async with side(settings(rule), timers=timers) as it:
        yield it, came
    server.close()


async def used(it: Side, came: Inbox[tuple[bytes, asyncio.StreamWriter]]) -> asyncio.StreamWriter:
    """The hop's end of a connection on which it has answered."""
    delivery = it.send(1)
    asked, end = await came.next(LIMIT)
    end.write(response(asked))
    assert await ended(delivery) == DELIVERED
    loop, now = asyncio.get_running_loop(), asyncio.get_running_loop().time()
    await until(lambda: loop.time() > now)
    return end


@pytest.mark.requirement("TXN-24", "TRN-04", "SIP-106")
@pytest.mark.parametrize(("code", "verdict"), [(200, Verdict.DELIVERED), (482, Verdict.MERGED), (404, Verdict.FAILED)])
def test_what_a_used_connection_ends_upon_goes_again_at_once_over_a_new_one(code: int, verdict: Verdict) -> None:
    async def talk() -> None:
        async with hop() as (it, came):
            old = await used(it, came)
            tries = [it.send(5), it.send(6, to="other")]
            first = [(await came.next(LIMIT))[0] for _ in tries]
            old.close()
            again = [await came.next(LIMIT) for _ in tries]
            assert {end for _, end in again} == {again[0][1]} != {old}
            for delivery, one, (other, end) in zip(tries, first, again, strict=True):
                was, now = (param(header(each, "Via"), "branch").encode() for each in (one, other))
                assert was != now
                assert one.replace(was, now) == other
                assert not delivery.outcomes
                end.write(response(other, code, "Well"))
                assert (await ended(delivery)).verdict is verdict

    run(talk)


@pytest.mark.requirement("TXN-24", "SIP-108")
@pytest.mark.parametrize("silent", [True, False])
def test_it_goes_again_once_and_not_where_the_new_connection_ends_too(silent: bool) -> None:
    async def talk() -> None:
        async with hop() as (it, came):
            old = await used(it, came)
            delivery = it.send(5)
            await came.next(LIMIT)
            old.close()
            _, new = await came.next(LIMIT)
            if silent:
                new.close()
            else:
                (pending,) = it.adapter._endpoint.clients._pending.values()
                it.adapter.lost(pending.flow, pending.heard)
            assert await ended(delivery) == Outcome(Verdict.UNKNOWN, 408, "The connection to the SIP side was lost")
            await settled()
            assert came.waiting == []

    run(talk)


@pytest.mark.requirement("TXN-24", "DNS-10")
@pytest.mark.parametrize(("seconds", "again"), [(31.9, True), (32.1, False)])
def test_it_does_not_go_again_where_the_first_took_too_long(monkeypatch: pytest.MonkeyPatch, seconds: float, again: bool) -> None:
    async def talk() -> None:
        async with hop() as (it, came):
            old = await used(it, came)
            delivery = it.send(5)
            (pending,) = it.adapter._endpoint.clients._pending.values()
            monkeypatch.setattr(pending, "user", pending.user._replace(begun=asyncio.get_running_loop().time() - seconds))  # type: ignore[attr-defined]
            await came.next(LIMIT)
            old.close()
            if again:
                asked, new = await came.next(LIMIT)
                new.write(response(asked))
            assert ((await ended(delivery)) == DELIVERED) is again

    run(talk)


@pytest.mark.requirement("TXN-24")
@pytest.mark.parametrize("said", [b"\r\n", b"100"])
def test_where_something_was_said_since_it_does_not_go_again_at_once(said: bytes) -> None:
    async def talk() -> None:
        async with hop() as (it, came):
            end = await used(it, came)
            delivery = it.send(5)
            asked, _ = await came.next(LIMIT)
            loop = asyncio.get_running_loop()
            now = loop.time()
            await until(lambda: loop.time() > now)
            end.write(response(asked, 100, "Trying") if said == b"100" else said)
            end.close()
            assert (await ended(delivery)).verdict is Verdict.UNKNOWN
            await settled()
            assert came.waiting == []

    run(talk)


@pytest.mark.requirement("TXN-24", "SIP-108")
def test_where_no_new_connection_can_be_made_the_first_copy_may_still_have_arrived(monkeypatch: pytest.MonkeyPatch) -> None:
    async def talk() -> None:
        async with hop() as (it, came):
            end = await used(it, came)
            delivery = it.send(5)
            await came.next(LIMIT)
            monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", refused)
            end.close()
            assert (await ended(delivery)).verdict is Verdict.UNKNOWN

    async def refused(*_: object) -> None:
        raise ConnectionRefusedError

    run(talk)


@pytest.mark.requirement("TRN-04", "TXN-24")
def test_a_hop_that_closes_behind_each_answer_costs_no_message_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    async def talk() -> None:
        async with hop() as (it, came):

            async def serve() -> None:
                while True:
                    asked, end = await came.next(LIMIT)
                    end.write(response(asked))
                    end.close()

            def following(number: int) -> Try:
                """A message whose end has the next one sent within, as a lane does."""

                def done(outcome: Outcome) -> None:
                    outcomes.append(outcome)
                    if len(outcomes) < 20:
                        it.adapter.send(following(number + 1))

                delivery = it.letter(number)
                monkeypatch.setattr(delivery, "done", done)
                return delivery

            server = asyncio.create_task(serve())
            outcomes: list[Outcome] = []
            it.adapter.send(following(5))
            await until(lambda: len(outcomes) == 20)
            assert set(outcomes) == {DELIVERED}
            server.cancel()

    run(talk)


@pytest.mark.requirement("SIP-41", "TRN-04")
def test_an_answer_without_a_length_counts_and_the_next_message_goes_over_a_new_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    async def talk() -> None:
        async with hop() as (it, came):
            first, second = it.letter(5), it.letter(6)

            def done(outcome: Outcome) -> None:
                first.outcomes.append(outcome)
                it.adapter.send(second)

            monkeypatch.setattr(first, "done", done)
            it.adapter.send(first)
            asked, old = await came.next(LIMIT)
            old.write(response(asked).replace(b"Content-Length: 0\r\n", b"") + b"what is this?")
            assert await ended(first) == DELIVERED
            asked, new = await came.next(LIMIT)
            assert old is not new
            new.write(response(asked))
            assert await ended(second) == DELIVERED

    run(talk)


@pytest.mark.requirement("TXN-24", "TRN-04")
def test_the_end_of_a_connection_ends_nothing_that_went_over_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    async def talk() -> None:
        async with hop() as (it, came):
            await used(it, came)
            with monkeypatch.context() as change:
                change.setattr(transport_module, "_MOST_WRITE_BUFFER", -1)
                lost = it.send(5)  # the hop reads too slowly: the connection is cut off, and its end is told later
            kept = it.send(6, to="other")
            assert not lost.outcomes
            assert (await ended(lost)).verdict is Verdict.UNKNOWN
            asked, end = await came.next(LIMIT, where=lambda item: b"CSeq: 6 " in item[0])
            end.write(response(asked))
            assert await ended(kept) == DELIVERED

    run(talk)


@pytest.mark.requirement("TRN-04", "REL-15")
def test_a_hop_that_takes_connections_and_says_nothing_gets_the_repeat_on_a_new_one() -> None:
    async def talk() -> None:
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0)) as hop:
            hop.setblocking(False)
            rule = RouteRule("*", f"sip:127.0.0.1:{hop.getsockname()[1]};transport=tcp")
            async with side(settings(rule), timers=QUICK) as it:
                first, other = it.send(5), it.send(6, to="other")
                old, _ = await asyncio.wait_for(loop.sock_accept(hop), LIMIT)
                assert await ended(first) == Outcome(Verdict.UNKNOWN, 408, "The SIP side did not answer")
                assert await ended(other) == Outcome(Verdict.UNKNOWN, 408, "The connection to the SIP side was lost")
                again = it.send(5, repeat=True)
                new, _ = await asyncio.wait_for(loop.sock_accept(hop), LIMIT)
                asked = await asyncio.wait_for(loop.sock_recv(new, 65_536), LIMIT)
                assert header(asked, "CSeq") == "5 MESSAGE"
                await loop.sock_sendall(new, response(asked, 482, "Merged"))
                assert (await ended(again)).verdict is Verdict.MERGED
                for end in (old, new):
                    end.close()

    run(talk)


@pytest.mark.requirement("TRN-04")
def test_a_hop_that_is_slow_with_one_request_keeps_its_connection() -> None:
    async def talk() -> None:
        came: Inbox[tuple[bytes, asyncio.StreamWriter]] = Inbox()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(asyncio.IncompleteReadError):
                while asked := await reader.readuntil(b"hi"):
                    came.put((asked, writer))
                    if b"sip:slow@" not in asked:
                        writer.write(response(asked))

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        rule = RouteRule("*", f"sip:127.0.0.1:{server.sockets[0].getsockname()[1]};transport=tcp")
        async with side(settings(rule), timers=QUICK) as it:
            slow, loop = it.send(5, to="slow"), asyncio.get_running_loop()
            written = loop.time()
            await until(lambda: loop.time() > written)
            assert await ended(it.send(6)) == DELIVERED
            assert (await ended(slow)).reason == "The SIP side did not answer"
            assert await ended(it.send(7)) == DELIVERED
            assert len({writer for _, writer in came.waiting}) == 1
        server.close()

    run(talk)


@pytest.mark.parametrize(
    ("contact", "expected"),
    [
        ("<sip:r@new.example>", "sip:r@new.example"),
        ("<sip:a@x.example>;q=0.2, <sip:b@x.example>;q=0.9", "sip:b@x.example"),
        ("nonsense<", ""),
    ],
)
def test_a_redirection_says_where_to(contact: str, expected: str) -> None:
    async def talk() -> None:
        async with both() as (it, romeo):
            delivery = it.send()
            romeo.reply(response(await romeo.came.next(LIMIT), 302, "Moved Temporarily", contact=contact))
            outcome = await ended(delivery)
            assert (outcome.verdict, outcome.status, outcome.contact) == (Verdict.FAILED, 302, expected)

    run(talk)


def test_a_named_hop_is_located_once_for_all_that_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    async def talk() -> None:
        async with phone() as romeo, side(settings(RouteRule("*", "sip:hop.example"))) as it:
            asked = 0

            async def locate(_uri: object) -> tuple[Target, ...]:
                nonlocal asked
                asked += 1
                await asyncio.sleep(0.01)
                return (Target("udp", "127.0.0.1", romeo.port),)

            monkeypatch.setattr(Locator, "locate", staticmethod(locate))
            tries = [it.send(number, to=f"r{number}") for number in range(3)]
            for _ in tries:
                romeo.reply(response(await romeo.came.next(LIMIT)))
            for each in tries:
                assert await ended(each) == DELIVERED
            assert asked == 1

    run(talk)


@pytest.mark.parametrize(("temporary", "verdict", "code"), [(True, Verdict.LATER, 408), (False, Verdict.FAILED, 502)])
def test_a_hop_that_is_not_found(monkeypatch: pytest.MonkeyPatch, temporary: bool, verdict: Verdict, code: int) -> None:
    async def locate(_uri: object) -> tuple[Target, ...]:
        raise NotFoundError("no address for hop.example", temporary=temporary)

    async def talk() -> None:
        async with side(settings(RouteRule("*", "sip:hop.example"))) as it:
            monkeypatch.setattr(Locator, "locate", staticmethod(locate))
            outcome = await ended(it.send())
            assert (outcome.verdict, outcome.status) == (verdict, code)

    run(talk)


def cannot_look_up(error: Exception) -> Callable[[object], Coroutine[Any, Any, tuple[Target, ...]]]:
    """A locator's `locate` that takes a while to fail."""

    async def locate(_uri: object) -> tuple[Target, ...]:
        await asyncio.sleep(0.01)
        raise error

    return locate


@pytest.mark.requirement("REL-10")
@pytest.mark.parametrize("error", [None, NotFoundError("DNS does not answer", temporary=True), OSError("too many open files")], ids=repr)
def test_who_finds_no_room_behind_a_lookup_is_told_when_it_is_over(monkeypatch: pytest.MonkeyPatch, error: Exception | None) -> None:
    monkeypatch.setattr(hops_module, "MOST_WAITING", 2)

    async def talk() -> None:
        async with phone() as romeo, side(settings(RouteRule("*", "sip:hop.example"))) as it:

            async def locate(_uri: object) -> tuple[Target, ...]:
                await asyncio.sleep(0.01)
                return (Target("udp", "127.0.0.1", romeo.port),)

            monkeypatch.setattr(Locator, "locate", staticmethod(cannot_look_up(error) if error else locate))
            tries = [it.send(number, to=f"r{number}") for number in range(2)]
            gate = tries[0].parcel.gate
            assert it.adapter.ready("sip:another.example", retry=False)
            assert [it.adapter.ready(gate, retry=retry) for retry in (False, True)] == [False, False]
            await until(lambda: it.sink.up)
            assert it.sink.up == [gate]
            assert it.adapter.ready(gate, retry=False)
            for _ in () if error else tries:
                romeo.reply(response(await romeo.came.next(LIMIT)))
            assert {(await ended(each)).verdict for each in tries} == {Verdict.LATER if error else Verdict.DELIVERED}

    run(talk)


def test_after_a_lookup_that_broke_off_the_hop_is_looked_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def talk() -> None:
        async with two_targets(monkeypatch) as (it, first, _):
            with monkeypatch.context() as change:
                change.setattr(Locator, "locate", staticmethod(cannot_look_up(OSError("too many open files"))))
                outcome = await ended(it.send())
                assert (outcome.verdict, outcome.status) == (Verdict.LATER, 408)
            delivery = it.send(6)
            first.reply(response(await first.came.next(LIMIT)))
            assert await ended(delivery) == DELIVERED
            assert it.sink.up == []  # nobody was refused

    run(talk)


def test_requests_on_their_way_are_bounded_and_room_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter_module, "MOST_PENDING", 4)

    async def talk() -> None:
        async with both() as (it, romeo):
            tries = [it.send(number, to=f"r{number}") for number in range(2)]
            gate = tries[0].parcel.gate
            assert not it.adapter.ready(gate, retry=True)  # retries get half
            assert it.adapter.ready(gate, retry=False)
            tries += [it.send(number, to=f"r{number}") for number in range(2, 4)]
            new = "sip:nothing.was.sent.there.yet"
            assert not any(it.adapter.ready(each, retry=False) for each in (gate, new))
            romeo.reply(response(await romeo.came.next(LIMIT)))
            await ended(tries[0])
            await settled()
            assert it.sink.up == [gate, new]
            assert it.adapter.ready(gate, retry=False)

    run(talk)


# -- several targets ------------------------------------------------------------------------------------------------------
@asynccontextmanager
async def two_targets(monkeypatch: pytest.MonkeyPatch, timers: Timers | None = None) -> AsyncIterator[tuple[Side, Phone, Phone]]:
    """An adapter whose next hop is a name that has two phones behind it."""
    async with phone() as first, phone() as second, side(settings(RouteRule("*", "sip:hop.example")), timers=timers) as it:

        async def locate(_uri: object) -> tuple[Target, ...]:
            return tuple(Target("udp", "127.0.0.1", each.port) for each in (first, second))

        monkeypatch.setattr(Locator, "locate", staticmethod(locate))
        yield it, first, second


@pytest.mark.requirement("SIP-105", "DNS-08", "TXN-23")
def test_after_a_503_the_next_target_gets_the_same_request_on_a_new_branch(monkeypatch: pytest.MonkeyPatch) -> None:
    async def talk() -> None:
        async with two_targets(monkeypatch) as (it, first, second):
            delivery = it.send()
            refused = await first.came.next(LIMIT)
            first.reply(response(refused, 503, "Service Unavailable", retry_after="9"))
            taken = await second.came.next(LIMIT)
            branches = [param(header(each, "Via"), "branch") for each in (refused, taken)]
            assert branches[0] != branches[1]
            assert refused.replace(branches[0].encode(), b"") == taken.replace(branches[1].encode(), b"")
            second.reply(response(taken))
            assert await ended(delivery) == DELIVERED
            assert it.adapter.ready(delivery.parcel.gate, retry=False)
            it.send(6)  # the first is tried last for a while
            second.reply(response(await second.came.next(LIMIT)))
            assert first.came.waiting == []

    run(talk)


@pytest.mark.requirement("SIP-105")
def test_when_every_target_says_503_it_is_later_and_the_hop_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    async def talk() -> None:
        async with two_targets(monkeypatch) as (it, first, second):
            delivery = it.send()
            for each in (first, second):
                each.reply(response(await each.came.next(LIMIT), 503, "Service Unavailable", retry_after="9"))
            outcome = await ended(delivery)
            assert (outcome.verdict, outcome.status, outcome.retry_after) == (Verdict.LATER, 503, 9)
            assert not it.adapter.ready(delivery.parcel.gate, retry=False)

    run(talk)


@pytest.mark.requirement("DNS-08", "TXN-24", "SIP-106")
@pytest.mark.parametrize(
    ("code", "repeat", "verdict"),
    [(200, False, Verdict.DELIVERED), (482, False, Verdict.FAILED), (482, True, Verdict.MERGED)],
)
def test_when_a_target_is_dead_the_next_gets_it_at_once(monkeypatch: pytest.MonkeyPatch, code: int, repeat: bool, verdict: Verdict) -> None:
    """And 482 does not say that a copy came before, when none can have come."""

    async def talk() -> None:
        async with two_targets(monkeypatch) as (it, first, second):
            first.transport.abort()
            await settled()
            delivery = it.send(repeat=repeat)
            second.reply(response(await second.came.next(LIMIT), code, "Well"))
            assert (await ended(delivery, 1)).verdict is verdict

    run(talk)


@pytest.mark.requirement("SIP-107", "DNS-08")
@pytest.mark.parametrize("code", [404, 480, 500, 600])
def test_any_other_answer_ends_the_search(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    async def talk() -> None:
        async with two_targets(monkeypatch) as (it, first, second):
            delivery = it.send()
            first.reply(response(await first.came.next(LIMIT), code, "No"))
            assert (await ended(delivery)).status == code
            await settled()
            assert second.came.waiting == []

    run(talk)


@pytest.mark.requirement("TXN-23")
def test_a_target_that_timed_out_is_tried_last(monkeypatch: pytest.MonkeyPatch) -> None:
    async def talk() -> None:
        async with two_targets(monkeypatch, QUICK) as (it, _, second):
            assert await ended(it.send()) == Outcome(Verdict.UNKNOWN, 408, "The SIP side did not answer")
            assert second.came.waiting == []
            delivery = it.send(6)
            second.reply(response(await second.came.next(LIMIT)))
            assert await ended(delivery) == DELIVERED

    run(talk)


@pytest.mark.requirement("MSG-69", "ISC-09")
def test_what_is_volatile_is_given_up_early_once_and_says_nothing_of_its_target(monkeypatch: pytest.MonkeyPatch) -> None:
    async def talk() -> None:
        async with two_targets(monkeypatch, Timers(brief=0.05)) as (it, first, second):
            notice = it.letter()
            notice.envelope = replace(notice.envelope, volatile=True)
            it.adapter.send(notice)
            assert (await ended(notice, 0.4)).status == 408
            delivery = it.send(6)
            late, taken = await first.came.next(LIMIT), await first.came.next(LIMIT)
            first.reply(response(late))
            first.reply(response(taken))
            assert await ended(delivery) == DELIVERED
            it.adapter.send(notice)
            first.reply(response(await first.came.next(LIMIT), 503, "Service Unavailable"))
            await until(lambda: len(notice.outcomes) == 2)
            assert second.came.waiting == []

    run(talk)


@pytest.mark.requirement("TXN-23")
def test_a_target_that_answers_again_is_no_longer_tried_last(monkeypatch: pytest.MonkeyPatch) -> None:
    async def talk() -> None:
        async with two_targets(monkeypatch, QUICK) as (it, first, second):
            with monkeypatch.context() as alone:

                async def locate(_uri: object) -> tuple[Target, ...]:
                    return (Target("udp", "127.0.0.1", first.port),)

                alone.setattr(Locator, "locate", staticmethod(locate))
                await ended(it.send())
                await answered(it.send(6), first)
            await answered(it.send(7), first)
            assert second.came.waiting == []

    async def answered(delivery: Try, by: Phone) -> None:
        # A copy of an earlier one may still be on its way there.
        while f"CSeq: {delivery.number} ".encode() not in (request := await by.came.next(LIMIT)):
            pass
        by.reply(response(request))
        assert await ended(delivery) == DELIVERED

    run(talk)


# -- with the relay in front ----------------------------------------------------------------------------------------------
@pytest.mark.interop
@pytest.mark.requirement("SIP-93")
def test_one_message_at_a_time_is_on_its_way_to_a_uri_and_those_to_others_do_not_wait(tmp_path: Path) -> None:
    async def talk(it: Bridge) -> None:
        async with it.phone() as end, it.user("u0") as juliet:
            end.answer = lambda _request: 0
            for number, user in enumerate(("s0", "s0", "s1")):
                juliet.send(f"<message to='{user}@stoxgate.test' id='m{number}'><body>{number}</body></message>".encode())
            found = [(await end.requests.next()).data for _ in range(2)]
            assert sorted(data[-1:] for data in found) == [b"0", b"2"]  # the third is out, so the second was not forgotten but held
            assert end.requests.waiting == []
            end.put(response(next(data for data in found if data.endswith(b"0"))))
            assert (await end.requests.next()).data.endswith(b"1")

    with bridge(tmp_path) as it:
        asyncio.run(talk(it))
