"""The gateway is killed, and told to end, under traffic both ways: what it answered 202 or has committed arrives, whatever happens.

What a kill -9 may lose, and how that is told from other losses. XEP-0114 has no acknowledgements, so what the XMPP server has written
and the gateway has not committed is gone with the gateway. Each user's messages go over two streams that keep their order (user to server,
server to gateway) and are committed in that order, and what comes while no gateway is attached comes back as an error. So along the
messages of one user a kill reads  arrived ... lost ... came back:  behind a lost one stands another lost one or one that came back, never
one that arrived. A message that the gateway lost after it had committed it, or skipped in front of others, would break that row. Beside
that, the stopped store is read at every kill: whatever lies in it has to arrive.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bridge import USERS, Bridge, bridge
from tests.faults.traffic import Book, Kept, kept, traffic

pytestmark = pytest.mark.interop
SOAK = os.environ.get("STOXGATE_SOAK") == "1"
KILLS, ENDS, RATE = (20, 10, 400.0) if SOAK else (20, 5, 200.0)
MOST_LOST_OCTETS = 256 * 1024


@pytest.fixture
def it(tmp_path: Path) -> Iterator[Bridge]:
    with bridge(tmp_path) as whole:
        yield whole


@pytest.fixture
def moments() -> random.Random:
    """What chooses the moments; the seed is printed, and taken from STOXGATE_SEED to have the same again."""
    seed = os.environ.get("STOXGATE_SEED") or str(random.randrange(10**6))
    print(f"seed {seed}")
    return random.Random(seed)


def assert_nothing_accepted_is_lost(book: Book, stores: list[Kept]) -> None:
    """Towards XMPP: each 202 arrived, no 503 did; twice came only what a store held when its gateway died, with the same id."""
    assert {sent.status for sent in book.answered.values() if sent.response} <= {202, 503}
    assert not book.accepted - book.reached_xmpp.keys()
    assert not {number for number in book.reached_xmpp if book.answered[number].status == 503}
    assert book.twice_at_xmpp() <= set[int]().union(*(store.to_xmpp for store in stores))
    assert {number for number, ids in book.reached_xmpp.items() if len(set(ids)) > 1} == set()


def assert_what_was_committed_arrives(book: Book, stores: list[Kept]) -> None:
    """Towards SIP: what a store held arrived, in order; twice came only such, with the same Call-ID, tag and CSeq."""
    committed = set[int]().union(*(store.to_sip for store in stores))
    assert not committed - book.reached_sip.keys()
    assert book.twice_at_sip() <= committed
    assert {number for number, identities in book.reached_sip.items() if len(set(identities)) > 1} == set()
    assert not book.bounced & book.reached_sip.keys()
    assert book.overtaken() == []


@pytest.mark.requirement("REL-01", "REL-13", "REL-17")
def test_kill(it: Bridge, moments: random.Random, tmp_path: Path) -> None:
    async def killed() -> tuple[Book, list[Kept]]:
        stores = []
        async with traffic(it, RATE) as load:
            load.begin()
            for number in range(KILLS):
                if number % 5:  # each fifth kill comes while the gateway is still starting
                    await asyncio.to_thread(it.gateway.wait_ready)
                await asyncio.sleep(moments.uniform(0.0, 1.5))
                await asyncio.to_thread(it.gateway.kill)
                stores.append(await asyncio.to_thread(kept, it, tmp_path / f"store-{number}"))
                await asyncio.to_thread(it.gateway.start)
            await asyncio.to_thread(it.gateway.wait_ready)
            await load.end()
            await load.all_settled()
        return load.book, stores

    book, stores = asyncio.run(killed())
    print(book.say())
    print("in the store at each kill, to XMPP and to SIP:", *(f"{len(store.to_xmpp)}/{len(store.to_sip)}" for store in stores))
    assert_nothing_accepted_is_lost(book, stores)
    assert_what_was_committed_arrives(book, stores)
    for user in USERS:
        assert not re.search("LA", book.fates(user)), (user, book.fates(user))
    assert len(book.missing_at_sip) * 100 < MOST_LOST_OCTETS * KILLS


@pytest.mark.requirement("REL-25")
def test_sigterm(it: Bridge, moments: random.Random) -> None:
    """Nothing is lost, nothing comes twice, whenever it is told to end."""

    async def ended() -> tuple[Book, list[int]]:
        statuses = []
        async with traffic(it, RATE) as load:
            load.begin()
            for _ in range(ENDS):
                await asyncio.sleep(moments.uniform(0.8, 2.5))
                statuses.append(await asyncio.to_thread(it.gateway.stop, signal.SIGTERM, 30))
                await asyncio.to_thread(it.gateway.start)
                await asyncio.to_thread(it.gateway.wait_ready)
            await load.end()
            await load.all_settled()
        return load.book, statuses

    book, statuses = asyncio.run(ended())
    print(book.say())
    assert statuses == [0] * ENDS
    assert_nothing_accepted_is_lost(book, [])
    assert_what_was_committed_arrives(book, [])
    assert book.missing_at_sip == []
