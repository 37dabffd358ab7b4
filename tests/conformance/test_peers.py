"""What a SIP user takes: a message that he refuses in one form goes again in another, and the next one goes so at once.

A bridge of its own, whose gateway is stopped and started again.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any
from xml.etree.ElementTree import fromstring

import pytest

from tests.bench.peerlab.sip import Received
from tests.bridge import Bridge
from tests.bridge import bridge as start
from tests.cli.running import Done, printed, run, said
from tests.conformance.exchange import both, error_of, from_client, from_phone, respond, silent, start_line
from tests.peers.wire import SipEnd, XmppEnd

REQUEST = "<request xmlns='urn:xmpp:receipts'/>"
RECEIVED = b"urn:xmpp:receipts"
SUBJECTS = "<subject>Hello</subject><subject xml:lang='sl'>Zdravo</subject>"
CPIM = (
    b"From: <sip:{who}@stoxgate.test>\r\nTo: <sip:u0@xmpp.test>\r\nDateTime: 2026-01-02T03:04:05Z\r\nNS: imdn <urn:ietf:params:imdn>\r\n"
    b"imdn.Message-ID: {id}\r\nimdn.Disposition-Notification: positive-delivery\r\n\r\nContent-Type: text/plain\r\n\r\nhello"
)


@pytest.fixture(scope="module")
def it(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    tables = '[[route]]\ndomain = "always.test"\nnext_hop = "sip:127.0.0.1:9"\ncpim = "always"\n'
    with start(tmp_path_factory.mktemp("peers"), tables=tables) as running:
        yield running


def peers(it: Bridge, *words: str) -> Done:
    return run("peers", *words, config=it.gateway.config)


async def asking(phone: SipEnd, juliet: XmppEnd, text: str, *, to: str) -> Received:
    """The MESSAGE for a message of hers that asks for a receipt."""
    return await from_client(phone, juliet, f"<body>{text}</body>{REQUEST}", to=to, attributes=f"id='{to}-{text}'")


def known(it: Bridge, user: str) -> dict[str, tuple[bool, str]]:
    """What the gateway says of a SIP user, by feature."""
    rows = json.loads(printed(peers(it, it.phone_uri(user), "--json")))
    return {row["feature"]: (row["takes"], row["source"]) for row in rows}


def is_cpim(request: Received) -> bool:
    return request.header("Content-Type").startswith("message/cpim")


def is_plain(request: Received, text: bytes) -> bool:
    return request.header("Content-Type") == "text/plain;charset=UTF-8" and request.body == text


def branch(request: Received) -> str:
    return request.header("Via").partition("branch=")[2].partition(";")[0]


def sequence(request: Received) -> int:
    return int(request.header("CSeq").split()[0])


# -- a 415 ----------------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("ICPIM-34", "SIP-104", "ERR-S415")
@pytest.mark.parametrize("accept", ["", "Accept: text/plain, text/html\r\n"])
def test_what_is_refused_as_cpim_goes_once_more_as_plain_text_and_the_next_one_at_once(it: Bridge, accept: str) -> None:
    user = "with" if accept else "without"
    to = f"{user}@stoxgate.test"

    async def talk() -> None:
        async with both(it) as (phone, juliet):
            silent(phone)
            first = await asking(phone, juliet, "one", to=to)
            assert is_cpim(first)
            # This one waits behind it, and was written when nothing was known.
            juliet.send(f"<message to='{to}' id='two'><body>two</body>{REQUEST}</message>".encode())
            respond(phone, first, 415, headers=accept)
            again = await phone.requests.next()
            assert is_plain(again, b"one")
            for name in ("Call-ID", "From", "To"):
                assert again.header(name) == first.header(name)
            assert sequence(again) > sequence(first)
            assert branch(again) != branch(first)
            respond(phone, again, 200)
            second = await phone.requests.next()
            assert is_plain(second, b"two")
            respond(phone, second, 200)
            third = await asking(phone, juliet, "three", to=to)
            assert is_plain(third, b"three")
            respond(phone, third, 202)
            # No receipt is made of any of it: what comes to her next is what he says.
            await from_phone(phone, juliet, b"after", sender=f"sip:{user}@stoxgate.test")
            assert not [stanza for stanza in juliet.stanzas.waiting if RECEIVED in stanza or b"type='error'" in stanza]
            assert phone.requests.waiting == []

    asyncio.run(talk())
    assert known(it, user)["cpim"] == (False, "415")
    # The route sends none.
    assert known(it, user).get("html") == ((False, "configured") if accept else None)


@pytest.mark.requirement("SIP-104")
def test_a_415_to_plain_text_is_final_and_told(it: Bridge) -> None:
    async def talk() -> None:
        async with both(it) as (phone, juliet):
            silent(phone)
            one = await asking(phone, juliet, "one", to="picky@stoxgate.test")
            respond(phone, one, 415)
            respond(phone, await phone.requests.next(), 415, headers="Accept: image/png\r\n")
            kind, condition, _, _ = error_of(fromstring(await juliet.message(where=lambda stanza: b"type='error'" in stanza)))
            assert (kind, condition) == ("modify", "not-acceptable")
            respond(phone, await from_client(phone, juliet, "<body>x</body>", to="else@stoxgate.test"), 200)
            assert phone.requests.waiting == []

    asyncio.run(talk())
    assert known(it, "picky") == {"cpim": (False, "415")}


@pytest.mark.requirement("ICPIM-34")
def test_subjects_in_several_languages_go_as_cpim_and_without_it_as_one(it: Bridge) -> None:
    async def talk() -> None:
        async with both(it) as (phone, juliet):
            silent(phone)
            first = await from_client(phone, juliet, f"{SUBJECTS}<body>one</body>", to="subjects@stoxgate.test")
            assert is_cpim(first)
            assert b"Subject:;lang=sl Zdravo" in first.body
            respond(phone, first, 415)
            again = await phone.requests.next()
            assert is_plain(again, b"one")
            assert again.header("Subject") == "Hello"
            respond(phone, again, 200)

    asyncio.run(talk())


def test_a_notification_that_is_refused_is_dropped_and_none_is_sent_again(it: Bridge) -> None:
    async def talk() -> None:
        async with both(it) as (phone, juliet):
            silent(phone)
            for number, is_told in ((1, True), (2, False)):
                body = CPIM.replace(b"{who}", b"mute").replace(b"{id}", b"mute-%d" % number)
                taken = await from_phone(phone, juliet, body, sender="sip:mute@stoxgate.test", content_type="message/cpim")
                answer = f"<message to='mute@stoxgate.test'><received xmlns='urn:xmpp:receipts' id='{taken.get('id')}'/></message>"
                juliet.send(answer.encode())
                if is_told:
                    notice = await phone.requests.next()
                    assert b"mute-1" in notice.body
                    respond(phone, notice, 415)
            # It would have come before this.
            after = await from_client(phone, juliet, "<body>after</body>", to="mute@stoxgate.test")
            assert is_plain(after, b"after")
            respond(phone, after, 200)
            assert [stanza for stanza in juliet.stanzas.waiting if b"type='error'" in stanza] == []

    asyncio.run(talk())
    assert known(it, "mute")["imdn"] == (False, "415")
    assert known(it, "mute")["cpim"] == (True, "sent")


# -- OPTIONS, and typing notices -------------------------------------------------------------------------------------------
def composes(juliet: XmppEnd, user: str) -> None:
    juliet.send(
        f"<message to='{user}@stoxgate.test' type='chat'><composing xmlns='http://jabber.org/protocol/chatstates'/></message>".encode()
    )


async def nothing_before(phone: SipEnd, juliet: XmppEnd, user: str) -> None:
    """What comes next is this message."""
    after = await from_client(phone, juliet, "<body>after</body>", to=f"{user}@stoxgate.test")
    assert is_plain(after, b"after")
    respond(phone, after, 200)


@pytest.mark.requirement("ISC-05", "ERR-S415")
def test_typing_notices_go_to_who_takes_them_until_he_answers_415(it: Bridge) -> None:
    """Nobody is bothered with one to find out: he is asked by OPTIONS, once."""
    user = "types"

    async def talk() -> None:
        async with both(it) as (phone, juliet):
            silent(phone)
            await from_phone(phone, juliet, b"hello", sender=it.phone_uri(user))
            composes(juliet, user)
            asked = await phone.requests.next()
            assert start_line(asked) == f"OPTIONS {it.phone_uri(user)} SIP/2.0"
            assert asked.header("From").startswith("<sip:gw.stoxgate.test>;tag=")
            respond(phone, asked, 200, headers="Accept: text/plain, application/im-iscomposing+xml\r\n")
            # This comes behind it.
            await from_phone(phone, juliet, b"and again", sender=it.phone_uri(user))
            assert known(it, user)["typing"] == (True, "OPTIONS")
            composes(juliet, user)
            notice = await phone.requests.next()
            assert notice.header("Content-Type") == "application/im-iscomposing+xml"
            respond(phone, notice, 415)
            await nothing_before(phone, juliet, user)
            composes(juliet, user)
            await nothing_before(phone, juliet, user)
            assert phone.requests.waiting == []

    asyncio.run(talk())
    assert known(it, user)["typing"] == (False, "415")


def test_one_who_says_nothing_to_options_gets_no_notices_and_is_not_asked_again(it: Bridge) -> None:
    async def talk() -> None:
        async with both(it) as (phone, juliet):
            silent(phone)
            await from_phone(phone, juliet, b"hello", sender=it.phone_uri("mum"))
            composes(juliet, "mum")
            asked = await phone.requests.next()
            assert start_line(asked).startswith("OPTIONS ")
            respond(phone, asked, 405, headers="Allow: MESSAGE\r\n")
            for _ in range(2):
                await nothing_before(phone, juliet, "mum")
                composes(juliet, "mum")
            await nothing_before(phone, juliet, "mum")

    asyncio.run(talk())
    assert known(it, "mum") == {}


# -- the operator, and a restart -------------------------------------------------------------------------------------------
@pytest.mark.requirement("ICPIM-34", "ERR-S415")
def test_what_was_learned_and_pinned_counts_after_a_restart(it: Bridge) -> None:
    async def learn() -> None:
        async with both(it) as (phone, juliet):
            silent(phone)
            respond(phone, await asking(phone, juliet, "one", to="kept@stoxgate.test"), 415)
            respond(phone, await phone.requests.next(), 200)

    async def use() -> None:
        async with both(it) as (phone, juliet):
            assert is_plain(await asking(phone, juliet, "two", to="kept@stoxgate.test"), b"two")
            assert is_plain(await asking(phone, juliet, "two", to="pinned@stoxgate.test"), b"two")
            assert is_cpim(await asking(phone, juliet, "two", to="fresh@stoxgate.test"))

    asyncio.run(learn())
    assert printed(peers(it, "pin", it.phone_uri("pinned"), "cpim=no")) == "sip:pinned@stoxgate.test: pin done\n"
    it.gateway.stop()
    assert known(it, "kept") == {"cpim": (False, "415")}
    assert known(it, "pinned") == {"cpim": (False, "pinned")}
    it.gateway.start()
    it.gateway.wait_ready()
    asyncio.run(use())
    assert known(it, "kept") == {"cpim": (False, "415")}


def test_a_pin_outweighs_a_415(it: Bridge) -> None:
    printed(peers(it, "pin", it.phone_uri("sure"), "cpim=yes", "html=no"))

    async def talk() -> None:
        async with both(it) as (phone, juliet):
            silent(phone)
            for _ in range(2):
                first = await asking(phone, juliet, "one", to="sure@stoxgate.test")
                assert is_cpim(first)
                respond(phone, first, 415)
                again = await phone.requests.next()
                # That message reaches him all the same, but the next one is for the operator to decide.
                assert is_plain(again, b"one")
                respond(phone, again, 200)

    asyncio.run(talk())
    assert known(it, "sure") == {"cpim": (True, "pinned"), "html": (False, "pinned")}
    assert printed(peers(it, "forget", it.phone_uri("sure"))) == "sip:sure@stoxgate.test: forget done\n"
    assert said(peers(it, "forget", it.phone_uri("sure")), 1) == "nothing is known of sip:sure@stoxgate.test"


def test_the_running_gateway_says_what_is_wrong(it: Bridge) -> None:
    assert said(peers(it, "pin", "u0@xmpp.test", "cpim=no"), 1) == "u0@xmpp.test lives on the XMPP side"
    assert "nobody.example" in said(peers(it, "list", "sip:a@nobody.example"), 1)
    assert "nobody.example" in said(peers(it, "pin", "*@nobody.example", "cpim=no"), 1)
    everybody: list[dict[str, Any]] = json.loads(printed(peers(it, "--json")))
    assert everybody[0] == {"address": "*@always.test", "feature": "cpim", "takes": True, "source": "configured", "until": None}
