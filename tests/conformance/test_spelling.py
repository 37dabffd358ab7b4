"""A SIP user is case-sensitive and a JID is not: a reply goes to the spelling that the SIP user has used (ADDR-10)."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.bridge import Bridge, bridge
from tests.peers.wire import SipEnd, XmppEnd

pytestmark = pytest.mark.interop
PAIR = '[[user]]\nsip = "sip:Mira.Lind@stoxgate.test"\nxmpp = "mira@stoxgate.test"\n'
Write = Callable[[str], Awaitable[None]]
Reply = Callable[[XmppEnd, str], Awaitable[str]]


def ends(it: Bridge, romeo: SipEnd, juliet: XmppEnd) -> tuple[Write, Reply]:
    """write(user): a message from that SIP user arrives at juliet. reply(from, to): the Request-URI that an answer arrives with."""

    async def write(user: str) -> None:
        assert (await romeo.request(it.sip_of("u0"), it.phone_uri(user), b"hello")).status == 202
        await juliet.message()

    async def reply(end: XmppEnd, local: str) -> str:
        end.send(f"<message to='{local}@stoxgate.test'><body>hi</body></message>".encode())
        # After a kill a message that had arrived may go again, to somebody who is away now: then its sender is told.
        came = await romeo.requests.next(where=lambda request: request.data.endswith(b"hi"))
        return came.data.split(b" ", 2)[1].decode()

    return write, reply


@pytest.mark.requirement("ADDR-10")
def test_a_reply_goes_to_the_last_spelling_for_each_correspondent(tmp_path: Path) -> None:
    async def talk(it: Bridge) -> None:
        async with it.phone() as romeo, it.user("u0") as juliet, it.user("u1") as nurse:
            write, reply = ends(it, romeo, juliet)
            assert await reply(juliet, "romeo") == "sip:romeo@stoxgate.test"
            await write("RoMeO")
            assert await reply(juliet, "romeo") == "sip:RoMeO@stoxgate.test"
            assert await reply(nurse, "romeo") == "sip:romeo@stoxgate.test"
            await write("ROMEO")
            assert await reply(juliet, "romeo") == "sip:ROMEO@stoxgate.test"
            await write("romeo")
            assert await reply(juliet, "romeo") == "sip:romeo@stoxgate.test"

    with bridge(tmp_path) as it:
        asyncio.run(talk(it))


@pytest.mark.requirement("ADDR-10")
def test_a_spelling_outlives_a_kill(tmp_path: Path) -> None:
    async def before(it: Bridge) -> None:
        async with it.phone() as romeo, it.user("u0") as juliet:
            write, _ = ends(it, romeo, juliet)
            await write("Tomas")
            await write("RoMeO")
            await write("romeo")

    async def after(it: Bridge) -> None:
        async with it.phone() as romeo, it.user("u0") as juliet:
            _, reply = ends(it, romeo, juliet)
            assert await reply(juliet, "tomas") == "sip:Tomas@stoxgate.test"
            assert await reply(juliet, "romeo") == "sip:romeo@stoxgate.test"

    with bridge(tmp_path) as it:
        asyncio.run(before(it))
        it.gateway.stop(signal.SIGKILL)
        with it.gateway:
            asyncio.run(after(it))


@pytest.mark.requirement("ADDR-10")
def test_a_paired_user_has_the_spelling_of_the_pair_until_he_uses_another(tmp_path: Path) -> None:
    async def talk(it: Bridge) -> None:
        async with it.phone() as romeo, it.user("u0") as juliet:
            write, reply = ends(it, romeo, juliet)
            assert await reply(juliet, "mira") == "sip:Mira.Lind@stoxgate.test"
            await write("mira.lind")
            assert await reply(juliet, "mira") == "sip:mira.lind@stoxgate.test"

    with bridge(tmp_path, mappings={"users.toml": PAIR}) as it:
        asyncio.run(talk(it))
