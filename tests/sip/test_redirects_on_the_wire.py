"""A message that is redirected, as the peers see it: over UDP and TCP, to the places that the configuration knows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext, suppress
from typing import Any

import pytest

from gateway.core.errors import Refusal
from gateway.core.outcome import DELIVERED, Outcome, Verdict
from gateway.core.settings import RouteRule
from gateway.core.uri import Uri
from gateway.sip.locate import Locator, NotFoundError, Target
from gateway.sip.redirect import TOO_LONG, Place, Trail
from tests.peers.wire import Inbox
from tests.sip.rig import Notes, header, headers, param, response, settings
from tests.sip.test_adapter import LIMIT, QUICK, Phone, Side, ended, phone, run, settled, side

NEW = "<sip:romeo@second.example;method=INVITE;user=phone?Subject=no>"


def start(octets: bytes) -> str:
    return octets.partition(b"\r\n")[0].decode()


def sequence(octets: bytes) -> int:
    return int(header(octets, "CSeq").partition(" ")[0])


@asynccontextmanager
async def two(timers: Any = None, **first_route: Any) -> AsyncIterator[tuple[Side, Phone, Phone]]:
    """An adapter with two domains, each with a phone as its next hop."""
    async with phone() as first, phone() as second:
        routes = (
            RouteRule("sip.example", f"sip:127.0.0.1:{first.port}", **first_route),
            RouteRule("second.example", f"sip:127.0.0.1:{second.port}"),
        )
        async with side(settings(*routes), timers=timers) as it:
            yield it, first, second


async def redirected(first: Phone, contact: str = NEW, status: int = 302) -> bytes:
    """Answer the next request at this phone with a redirect; returns the request."""
    asked = await first.came.next(LIMIT)
    first.reply(response(asked, status, "Moved", contact=contact))
    return asked


@pytest.mark.requirement("SIP-103", "SIP-56", "MSG-48")
def test_the_same_message_goes_to_the_new_place() -> None:
    async def talk() -> None:
        async with two() as (it, first, second):
            delivery = it.send()
            asked = await redirected(first)
            taken = await second.came.next(LIMIT)
            assert start(taken) == "MESSAGE sip:romeo@second.example;user=phone SIP/2.0"
            for name in ("From", "To", "Call-ID", "Content-Type", "Max-Forwards"):
                assert header(taken, name) == header(asked, name)
            assert header(taken, "To") == "<sip:romeo@sip.example>"
            assert b"\r\nSubject:" not in taken
            assert taken.partition(b"\r\n\r\n")[2] == asked.partition(b"\r\n\r\n")[2]
            assert sequence(taken) == sequence(asked) + 1
            assert param(header(taken, "Via"), "branch") != param(header(asked, "Via"), "branch")
            second.reply(response(taken))
            assert await ended(delivery) == DELIVERED
            assert first.came.waiting == []

    run(talk)


@pytest.mark.requirement("SIP-103")
def test_the_next_message_starts_where_the_first_one_did() -> None:
    """A 302 is for this message alone."""

    async def talk() -> None:
        async with two() as (it, first, second):
            delivery = it.send()
            await redirected(first)
            second.reply(response(await second.came.next(LIMIT)))
            await ended(delivery)
            it.send(9)
            assert start(await first.came.next(LIMIT)) == "MESSAGE sip:romeo@sip.example SIP/2.0"

    run(talk)


@pytest.mark.requirement("SIP-103", "ERR-15")
def test_two_places_that_redirect_to_each_other_end_in_a_failure_that_says_where_to() -> None:
    async def talk() -> None:
        async with two() as (it, first, second):
            delivery = it.send()
            await redirected(first)
            await redirected(second, "<sip:romeo@sip.example>")
            outcome = await ended(delivery)
            assert (outcome.verdict, outcome.status, outcome.contact) == (Verdict.FAILED, 302, "sip:romeo@sip.example")
            await settled()
            assert first.came.waiting == second.came.waiting == []

    run(talk)


@pytest.mark.requirement("MSG-48")
def test_a_chain_of_redirects_ends_after_five_places() -> None:
    async def talk() -> None:
        async with two() as (it, first, _):
            delivery = it.send()
            seen = []
            for number in range(6):
                seen.append(await redirected(first, f"<sip:r{number}@sip.example>"))
            outcome = await ended(delivery)
            assert (outcome.verdict, outcome.contact) == (Verdict.FAILED, "sip:r5@sip.example")
            assert [sequence(each) for each in seen] == list(range(5, 11))
            await settled()
            assert first.came.waiting == []

    run(talk)


@pytest.mark.requirement("MSG-48", "ERR-15")
@pytest.mark.parametrize(
    "contact", ["<sip:romeo@127.0.0.1:{spy}>", "<sip:romeo@sip.example;maddr=127.0.0.1:{spy}>", "<sips:romeo@second.example>"]
)
def test_a_place_that_nobody_has_configured_is_told_and_gets_nothing(contact: str) -> None:
    async def talk() -> None:
        async with two() as (it, first, second), phone() as spy:
            delivery = it.send()
            await redirected(first, contact.format(spy=spy.port))
            outcome = await ended(delivery)
            assert (outcome.verdict, outcome.status) == (Verdict.FAILED, 302)
            await asyncio.sleep(0.02)
            assert first.came.waiting == second.came.waiting == spy.came.waiting == []

    run(talk)


@pytest.mark.requirement("ERR-15")
def test_where_the_route_says_no_a_redirect_is_told() -> None:
    async def talk() -> None:
        async with two(redirects=False) as (it, first, second):
            delivery = it.send()
            await redirected(first, "<sip:romeo@second.example>")
            outcome = await ended(delivery)
            assert (outcome.status, outcome.contact) == (302, "sip:romeo@second.example")
            assert second.came.waiting == []

    run(talk)


@pytest.mark.requirement("SIP-103")
@pytest.mark.parametrize(("contact", "status"), [("", 302), ("<sip:romeo@second.example>", 380)])
def test_without_a_contact_and_after_380_it_has_failed(contact: str, status: int) -> None:
    async def talk() -> None:
        async with two() as (it, first, second):
            delivery = it.send()
            await redirected(first, contact or "*", status)
            assert ((outcome := await ended(delivery)).verdict, outcome.status) == (Verdict.FAILED, status)
            assert second.came.waiting == []

    run(talk)


@pytest.mark.requirement("SIP-103")
def test_a_305_sends_the_same_request_uri_over_that_proxy() -> None:
    async def talk() -> None:
        async with two() as (it, first, second):
            delivery = it.send()
            asked = await redirected(first, f"<sip:127.0.0.1:{second.port};lr>", 305)
            taken = await redirected(second, f"<sip:127.0.0.1:{first.port};lr>", 305)
            assert start(taken) == start(asked)
            assert sequence(taken) == sequence(asked) + 1
            assert (await ended(delivery)).status == 305
            assert first.came.waiting == []

    run(talk)


@pytest.mark.requirement("SIP-101", "SIP-103")
@pytest.mark.parametrize(("configured", "said"), [(";lr", ""), (";lr", ";lr;ob"), ("", ";lr")])
def test_a_305_goes_over_that_proxy_as_the_configuration_has_it(configured: str, said: str) -> None:
    """What a Contact says beside host and port is in no request of ours."""

    async def talk() -> None:
        async with phone() as first, phone() as second:
            hop = f"sip:127.0.0.1:{second.port}{configured}"
            routes = (RouteRule("sip.example", f"sip:127.0.0.1:{first.port};lr"), RouteRule("second.example", hop))
            async with side(settings(*routes)) as it:
                it.send()
                asked = await redirected(first, f"<sip:token@127.0.0.1:{second.port}{said}>", 305)
                taken = await second.came.next(LIMIT)
                assert start(taken) == start(asked)
                assert headers(asked, "Route") == [f"<sip:127.0.0.1:{first.port};lr>"]
                assert headers(taken, "Route") == ([f"<{hop}>"] if configured else [])

    run(talk)


@pytest.mark.requirement("SIP-103", "SIP-107")
@pytest.mark.parametrize(("status", "next_one"), [(404, True), (480, True), (503, True), (600, False), (200, False)])
def test_after_a_failure_the_next_place_is_tried(status: int, next_one: bool) -> None:
    async def talk() -> None:
        async with two() as (it, first, second):
            delivery = it.send()
            await redirected(first, "<sip:b@sip.example>;q=0.1, <sip:a@second.example>;q=0.2")
            second.reply(response(await second.came.next(LIMIT), status, "Well"))
            if next_one:
                asked = await first.came.next(LIMIT)
                assert start(asked) == "MESSAGE sip:b@sip.example SIP/2.0"
                assert sequence(asked) == 7
                first.reply(response(asked))
                assert await ended(delivery) == DELIVERED
            else:
                assert (await ended(delivery)).status == (0 if status == 200 else status)
                assert first.came.waiting == []

    run(talk)


@pytest.mark.requirement("SIP-108", "SIP-103")
def test_where_it_may_have_arrived_no_other_place_is_tried() -> None:
    async def talk() -> None:
        async with two(QUICK) as (it, first, second):
            delivery = it.send()
            await redirected(first, "<sip:a@second.example>, <sip:b@sip.example>;q=0.5")
            assert (await ended(delivery)).verdict is Verdict.UNKNOWN
            assert {start(each) for each in second.came.waiting} == {"MESSAGE sip:a@second.example SIP/2.0"}
            assert [each for each in first.came.waiting if b"sip:b@" in each] == []
            # What the relay sends again is the same request: there, under the same number; and a 482 says that it was there before.
            silent = param(header(second.came.waiting[0], "Via"), "branch")
            again = sent_again(delivery)
            it.adapter.send(again)
            asked = await second.came.next(LIMIT, where=lambda octets: silent not in octets.decode())
            assert (start(asked), sequence(asked)) == ("MESSAGE sip:a@second.example SIP/2.0", 6)
            second.reply(response(asked, 482, "Merged"))
            assert (await ended(again)).verdict is Verdict.MERGED

    run(talk)


class Later:
    """The loop, whose clock the test has moved ahead."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop, self.seconds = loop, 0.0

    def time(self) -> float:
        return self._loop.time() + self.seconds

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)


@pytest.mark.requirement("SIP-103", "MSG-48")
@pytest.mark.parametrize(("seconds", "goes_on"), [(15.0, True), (16.0, False)])
def test_slow_places_hold_a_message_for_so_long_and_then_it_is_tried_again_later(seconds: float, goes_on: bool) -> None:
    async def talk() -> None:
        async with two() as (it, first, second):
            clock: Any = Later(it.adapter._loop)
            it.adapter._loop = clock
            delivery = it.send()
            asked = await first.came.next(LIMIT)
            clock.seconds += seconds
            first.reply(response(asked, 302, "Moved", contact="<sip:a@second.example>, <sip:b@sip.example>;q=0.5"))
            there = await second.came.next(LIMIT)
            clock.seconds += seconds
            second.reply(response(there, 404, "No"))
            if goes_on:
                first.reply(response(await first.came.next(LIMIT, where=lambda octets: b"sip:b@" in octets)))
                assert await ended(delivery) == DELIVERED
            else:
                assert await ended(delivery) == TOO_LONG
                assert [each for each in first.came.waiting if b"sip:b@" in each] == []

    run(talk)


@pytest.mark.requirement("SIP-103", "SIP-105")
def test_slow_targets_of_one_place_count_too(monkeypatch: pytest.MonkeyPatch) -> None:
    async def talk() -> None:
        async with phone() as first, phone() as second, phone() as third:
            routes = (RouteRule("sip.example", f"sip:127.0.0.1:{first.port}"), RouteRule("second.example"))
            async with side(settings(*routes)) as it:

                async def locate(_uri: Any) -> tuple[Target, ...]:
                    return tuple(Target("udp", "127.0.0.1", each.port) for each in (second, third))

                monkeypatch.setattr(it.adapter._locator, "locate", locate)
                clock: Any = Later(it.adapter._loop)
                it.adapter._loop = clock
                delivery = it.send()
                asked = await first.came.next(LIMIT)
                for each, answer in ((first, (302, "Moved")), (second, (503, "Busy"))):
                    there = asked if each is first else await each.came.next(LIMIT)
                    clock.seconds += 16
                    each.reply(response(there, *answer, contact="<sip:a@second.example>", retry_after="9"))
                assert await ended(delivery) == Outcome(Verdict.LATER, 503, "Busy", 9)
                assert third.came.waiting == []
                assert it.adapter.ready("sip:second.example", retry=True)  # one of two has asked us to wait

    run(talk)


def sent_again(delivery: Any) -> Any:
    """The same try as the relay makes it after silence."""
    return type(delivery)(delivery.seq, delivery.number, delivery.envelope, delivery.parcel, repeat=True)


@pytest.mark.requirement("MSG-49", "SIP-103")
def test_a_hop_that_has_asked_us_to_wait_gets_no_redirected_message_either() -> None:
    async def talk() -> None:
        async with two() as (it, first, second):
            held = it.send()
            await redirected(first)
            second.reply(response(await second.came.next(LIMIT), 503, "Later", retry_after="9"))
            assert (await ended(held)).status == 503
            delivery = it.send(9)
            await redirected(first)
            outcome = await ended(delivery)
            assert (outcome.verdict, outcome.status) == (Verdict.LATER, 503)
            assert second.came.waiting == []
            assert it.adapter.ready(f"sip:127.0.0.1:{first.port}", retry=False)  # only the one that asked

    run(talk)


@pytest.mark.requirement("SIP-103")
@pytest.mark.parametrize("found", [True, False])
def test_a_new_place_is_looked_up_as_any_other(monkeypatch: pytest.MonkeyPatch, found: bool) -> None:
    async def talk() -> None:
        async with phone() as first, phone() as second:
            routes = (RouteRule("sip.example", f"sip:127.0.0.1:{first.port}"), RouteRule("second.example"))
            async with side(settings(*routes)) as it:

                async def locate(uri: Any) -> tuple[Target, ...]:
                    assert uri.text == "sip:second.example"
                    if not found:
                        raise NotFoundError("no address", temporary=False)
                    return (Target("udp", "127.0.0.1", second.port),)

                monkeypatch.setattr(Locator, "locate", staticmethod(locate))
                delivery = it.send()
                await redirected(first, "<sip:romeo@second.example;transport=tcp>, <sip:b@sip.example>;q=0.5")
                there = second if found else first
                there.reply(response(await there.came.next(LIMIT)))
                assert await ended(delivery) == DELIVERED

    run(talk)


@pytest.mark.requirement("SIP-90", "SIP-103")
def test_a_message_that_would_be_too_large_there_is_not_sent_there() -> None:
    async def talk() -> None:
        async with two() as (it, first, second):
            delivery = it.letter(text="x" * 900)
            delivery.again = it.adapter.send
            it.adapter.send(delivery)
            await redirected(first, f"<sip:{'r' * 200}@second.example>, <sip:r@second.example>;q=0.5")
            asked = await second.came.next(LIMIT)
            assert start(asked) == "MESSAGE sip:r@second.example SIP/2.0"
            second.reply(response(asked))
            assert await ended(delivery) == DELIVERED

    run(talk)


@pytest.mark.requirement("SIP-90", "SIP-103")
@pytest.mark.parametrize(
    ("uri", "hop", "goes"),
    [
        ("sip:r@sip.example", "sip:10.1.0.5;transport=tcp", True),
        ("sip:r@sip.example;transport=tcp", "sip:10.1.0.5;transport=TCP", True),
        ("sip:r@sip.example;transport=UDP", "sip:10.1.0.5;transport=tcp", False),
        ("sip:r@sip.example", "sip:10.1.0.5", False),
        ("sip:r@small.example", "sip:10.1.0.5;transport=tcp", False),
    ],
)
def test_a_large_message_goes_only_where_its_route_and_every_transport_bear_it(uri: str, hop: str, goes: bool) -> None:
    big = RouteRule("sip.example", "sip:10.1.0.5;transport=tcp", large_messages=True)
    it = Side(settings(big, RouteRule("small.example", "sip:10.1.0.5;transport=tcp")), Notes())
    it.codec.sent_by.update(udp="gw.example:5060", tcp="gw.example:5060")
    delivery = it.letter(text="x" * 1500)
    trail = Trail((Place(Uri.parse(uri), hop),), 32.0)
    with nullcontext() if goes else pytest.raises(Refusal, match="too-large-for-sip"):
        parcel = it.codec.moved(delivery.parcel, delivery.envelope, trail)
        assert (parcel.gate, parcel.lane) == (hop, delivery.parcel.lane)


@pytest.mark.requirement("SIP-103", "SIP-56")
def test_over_tcp_too() -> None:
    async def talk() -> None:
        came: Inbox[bytes] = Inbox()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            moved = "<sip:new@sip.example;transport=tcp>"
            with suppress(asyncio.IncompleteReadError):
                while True:
                    asked = await reader.readuntil(b"hi")
                    came.put(asked)
                    is_first = start(asked) == "MESSAGE sip:romeo@sip.example SIP/2.0"
                    writer.write(response(asked, 302, "Moved", contact=moved) if is_first else response(asked))

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        rule = RouteRule("*", f"sip:127.0.0.1:{server.sockets[0].getsockname()[1]};transport=tcp")
        async with side(settings(rule)) as it:
            delivery = it.send()
            assert await ended(delivery) == DELIVERED
            assert [start(each) for each in came.waiting] == [
                "MESSAGE sip:romeo@sip.example SIP/2.0",
                "MESSAGE sip:new@sip.example;transport=tcp SIP/2.0",
            ]
        server.close()

    run(talk)


@pytest.mark.parametrize("status", [401, 407, 413, 415, 416, 420, 421, 423])
def test_no_other_refusal_is_answered_with_a_second_try(status: int) -> None:
    """Nothing that we send could be left out or said otherwise: no Require, no Expires, a sip: URI, one form of the text."""

    async def talk() -> None:
        async with two() as (it, first, second):
            delivery = it.send()
            asked = await first.came.next(LIMIT)
            first.reply(response(asked, status, "No", unsupported="x", accept="message/cpim", min_expires="60"))
            assert await ended(delivery) == Outcome(Verdict.FAILED, status, "No")
            assert not {b"Require", b"Proxy-Require", b"Expires"} & {row.partition(b":")[0] for row in asked.split(b"\r\n")}
            await settled()
            assert first.came.waiting == second.came.waiting == []

    run(talk)
