"""A message from XMPP whose recipient has moved: it follows to where the configuration knows the way, and else its sender is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from xml.etree.ElementTree import fromstring

import pytest

from tests.bridge import Bridge
from tests.bridge import bridge as start
from tests.conformance.exchange import both, error_of, from_client, respond, silent, start_line
from tests.peers import wire
from tests.peers.process import free_port

SECOND = """
[[route]]
domain = "second.test"
next_hop = "sip:127.0.0.1:{port}"
"""


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Bridge, int]]:
    """A bridge that has a route to a second domain, and the port of its next hop."""
    port = free_port()
    with start(tmp_path_factory.mktemp("redirects"), tables=SECOND.format(port=port)) as it:
        yield it, port


@asynccontextmanager
async def second_phone(it: Bridge, port: int) -> AsyncIterator[wire.SipEnd]:
    async with wire.sip("udp", target=it.gateway.address, port=port) as end:
        yield end


@pytest.mark.requirement("SIP-103", "ERR-15", "SIP-56")
def test_a_message_follows_a_302_to_the_second_place_and_the_next_one_waits_for_it(places: tuple[Bridge, int]) -> None:
    async def talk(it: Bridge, port: int) -> None:
        async with both(it) as (first, juliet), second_phone(it, port) as second:
            silent(first)
            silent(second)
            asked = await from_client(first, juliet, "<body>one</body><thread>t-1</thread>", to="moved@stoxgate.test")
            juliet.send(b"<message to='moved@stoxgate.test'><body>two</body><thread>t-1</thread></message>")
            respond(first, asked, 302, headers="Contact: <sip:moved@second.test;user=phone;method=BYE?To=x>\r\n")
            taken = await second.requests.next()
            assert start_line(taken) == "MESSAGE sip:moved@second.test;user=phone SIP/2.0"
            assert taken.body == b"one"
            for name in ("From", "To", "Call-ID"):
                assert taken.header(name) == asked.header(name)
            assert int(taken.header("CSeq").split()[0]) > int(asked.header("CSeq").split()[0])
            assert taken.header("Via") != asked.header("Via")
            assert first.requests.waiting == []
            respond(second, taken, 200)
            # The redirect was for that message alone.
            after = await first.requests.next()
            assert (start_line(after), after.body) == ("MESSAGE sip:moved@stoxgate.test SIP/2.0", b"two")
            respond(first, after, 200)

    asyncio.run(talk(*places))


@pytest.mark.requirement("SIP-103", "MSG-48", "ERR-15")
def test_a_circle_of_302s_stops_and_the_sender_is_told_once(places: tuple[Bridge, int]) -> None:
    async def talk(it: Bridge, port: int) -> None:
        async with both(it) as (first, juliet), second_phone(it, port) as second:
            silent(first)
            silent(second)
            asked = await from_client(first, juliet, "<body>hi</body>", to="round@stoxgate.test", attributes="id='c1'")
            respond(first, asked, 302, headers="Contact: <sip:round@second.test>\r\n")
            respond(second, await second.requests.next(), 302, headers="Contact: <sip:round@stoxgate.test>\r\n")
            stanza = fromstring(await juliet.message())
            assert stanza.get("id") == "c1"
            kind, condition, _, address = error_of(stanza)
            assert (kind, condition, address) == ("modify", "redirect", "xmpp:round@stoxgate.test")
            # Whatever else came of it would come before what comes of a second message.
            respond(first, await from_client(first, juliet, "<body>after</body>", to="else@stoxgate.test"), 200)
            assert first.requests.waiting == second.requests.waiting == []

    asyncio.run(talk(*places))


@pytest.mark.requirement("MSG-48", "ERR-15", "SIP-103")
@pytest.mark.parametrize(("status", "told"), [(301, ("cancel", "gone")), (302, ("modify", "redirect"))])
def test_a_redirect_to_a_foreign_place_is_told_and_nothing_goes_there(
    places: tuple[Bridge, int], status: int, told: tuple[str, str]
) -> None:
    async def talk(it: Bridge) -> None:
        async with both(it) as (first, juliet), it.stranger() as spy:
            silent(first)
            asked = await from_client(first, juliet, "<body>hi</body>", to=f"away{status}@stoxgate.test")
            respond(first, asked, status, headers=f"Contact: <sip:spy@127.0.0.1:{spy.port}>\r\n")
            kind, condition, _, address = error_of(fromstring(await juliet.message()))
            assert ((kind, condition), address) == (told, f"sip:spy@127.0.0.1:{spy.port}")
            assert spy.requests.waiting == first.requests.waiting == []

    asyncio.run(talk(places[0]))


@pytest.mark.requirement("REL-01", "SIP-103")
def test_a_kill_while_it_is_at_the_second_place_loses_nothing(places: tuple[Bridge, int]) -> None:
    async def talk(it: Bridge, port: int) -> None:
        async with both(it) as (first, juliet), second_phone(it, port) as second:
            silent(first)
            silent(second)
            asked = await from_client(first, juliet, "<body>kept</body>", to="killed@stoxgate.test")
            respond(first, asked, 302, headers="Contact: <sip:killed@second.test>\r\n")
            taken = await second.requests.next()
            it.gateway.kill()
            it.gateway.start()
            again = await first.requests.next()
            assert (start_line(again), again.body) == (start_line(asked), b"kept")
            assert again.header("Call-ID") == taken.header("Call-ID")
            # The place that has answered sees a number that it has not seen: it cannot take this for a copy of what it redirected.
            assert again.header("CSeq") == taken.header("CSeq") != asked.header("CSeq")
            respond(first, again, 302, headers="Contact: <sip:killed@second.test>\r\n")
            last = await second.requests.next()
            assert last.header("CSeq") != taken.header("CSeq")
            respond(second, last, 200)

    asyncio.run(talk(*places))
