"""Trouble that does not end the gateway, under traffic both ways: it is stopped for a while, its disk is full, the XMPP server dies."""

from __future__ import annotations

import asyncio
import functools
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.bridge import USERS, Bridge, bridge
from tests.faults.traffic import Book, traffic
from tests.peers.prosody import Prosody

pytestmark = pytest.mark.interop
SOAK = os.environ.get("STOXGATE_SOAK") == "1"
ROUNDS, RATE = (10, 400.0) if SOAK else (2, 200.0)


@pytest.fixture
def it(tmp_path: Path) -> Iterator[Bridge]:
    """The server keeps messages for users who are away."""
    with bridge(tmp_path, server=functools.partial(Prosody, modules=["offline"])) as whole:
        yield whole


def assert_each_came_once(book: Book) -> None:
    print(book.say())
    assert book.accepted == book.reached_xmpp.keys()
    assert book.twice_at_xmpp() == set()
    assert book.missing_at_sip == []
    assert book.twice_at_sip() == set()
    assert book.overtaken() == []


def test_stopped_for_a_while(it: Bridge) -> None:
    """SIGSTOP and SIGCONT: nothing is lost, nothing comes twice. What overflowed the UDP socket meanwhile the phone has sent again."""

    async def paused() -> Book:
        async with traffic(it, RATE) as load:
            load.begin()
            for _ in range(ROUNDS):
                await asyncio.sleep(0.5)
                os.kill(it.gateway.pids()[0], signal.SIGSTOP)
                await asyncio.sleep(3)
                os.kill(it.gateway.pids()[0], signal.SIGCONT)
            await load.end()
            await load.all_settled()
        return load.book

    assert_each_came_once(asyncio.run(paused()))


@pytest.mark.requirement("REL-03", "REL-04")
def test_full_disk(it: Bridge) -> None:
    """No file of the gateway may grow: each message is refused, none is kept or lost; when there is room it works again within 5 s."""

    async def filled() -> tuple[Book, int, int]:
        async with traffic(it, RATE) as load:
            load.begin()
            await asyncio.sleep(0.5)
            pid = it.gateway.pids()[0]
            before = resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
            await asyncio.sleep(2)
            full_from, full_to = len(load.book.answered), 0
            await asyncio.sleep(1)
            full_to = len(load.book.answered)
            await asyncio.sleep(1)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
            await asyncio.sleep(5)
            await load.end()
            await load.all_settled()
        return load.book, full_from, full_to

    book, full_from, full_to = asyncio.run(filled())
    assert {book.answered[number].status for number in range(full_from, full_to)} == {503}
    assert all(b"\r\nRetry-After: " in book.answered[number].response for number in range(full_from, full_to))
    assert {book.answered[number].status for number in range(len(book.answered) - 50, len(book.answered))} == {202}
    assert book.bounced
    assert_each_came_once(book)


@pytest.mark.requirement("REL-08")
def test_xmpp_server_killed(it: Bridge) -> None:
    """What was answered 202 arrives, whatever the server had read of it; twice comes only what it had not confirmed, with the same id."""

    async def killed() -> Book:
        async with traffic(it, RATE) as load, AsyncExitStack() as stack:
            load.begin()
            for _ in range(ROUNDS):
                await asyncio.sleep(1)
                await asyncio.to_thread(it.server.kill)
                load.users.clear()
                await asyncio.to_thread(it.server.start)
                await asyncio.to_thread(it.server.wait_ready)
                await asyncio.to_thread(it.gateway.wait_ready)
                for name in USERS:
                    load.join(name, await stack.enter_async_context(it.user(name)))
            await asyncio.sleep(1)
            await load.end()
            await load.all_settled()
        return load.book

    book = asyncio.run(killed())
    print(book.say())
    assert {sent.status for sent in book.answered.values()} == {202}
    assert book.accepted == book.reached_xmpp.keys()
    assert {number for number, ids in book.reached_xmpp.items() if len(set(ids)) > 1} == set()
    assert book.twice_at_sip() == set()
    assert book.overtaken() == []
