"""SIPp on the SIP side: a crowd of messages, and answers that refuse."""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path

import pytest

from tests.bridge import Bridge, bridge
from tests.peers.process import fill
from tests.peers.sipp import Sipp

pytestmark = pytest.mark.interop
CROWD = 200
LATER = Path(__file__).parent / "sipp-later.xml"


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_crowd(transport: str, tmp_path: Path) -> None:
    """200 messages: each is answered 202, each arrives once."""

    async def count(it: Bridge) -> tuple[tuple[int, int], list[bytes]]:
        async with it.user("u0") as juliet:
            with Sipp.sending(
                tmp_path / "sipp",
                f"127.0.0.1:{it.gateway.port}",
                request_uri=it.sip_of("u0"),
                from_uri=it.phone_uri("s0"),
                calls=CROWD,
                rate=100,
                transport=transport,
                text="of many [call_number]",
            ) as sender:
                results = await asyncio.to_thread(sender.results)
            return results, [await juliet.message() for _ in range(CROWD)] + juliet.stanzas.waiting

    with bridge(tmp_path, transport=transport) as it:
        results, stanzas = asyncio.run(count(it))
    assert results == (CROWD, 0)
    texts = [int(found[1]) for stanza in stanzas if (found := re.search(rb"<body>of many (\d+)</body>", stanza))]
    assert sorted(texts) == list(range(1, CROWD + 1))


def test_refused_for_good(tmp_path: Path) -> None:
    async def ask(it: Bridge) -> bytes:
        async with it.user("u0") as juliet:
            juliet.send(b"<message to='s0@stoxgate.test' id='q1'><body>?</body></message>")
            return await juliet.message()

    with bridge(tmp_path) as it, Sipp.answering(tmp_path / "sipp", status=404, port=it.uas_port) as phone:
        error = asyncio.run(ask(it))
        assert phone.results() == (1, 0)
    assert re.search(rb"type=['\"]error['\"]", error)
    assert re.search(rb"id=['\"]q1['\"]", error)
    assert b"<item-not-found" in error


@pytest.mark.requirement("REL-11", "REL-10")
@pytest.mark.parametrize(("status", "header", "seconds"), [(486, "", 5), (503, "Retry-After: 7\n", 7)])
def test_refused_for_now(status: int, header: str, seconds: int, tmp_path: Path) -> None:
    """Tried again after 5 s, or when Retry-After says; the author hears nothing of it."""

    async def ask(it: Bridge, phone: Sipp) -> tuple[tuple[int, int], float, list[bytes]]:
        async with it.user("u0") as juliet:
            begin = time.monotonic()
            juliet.send(b"<message to='s0@stoxgate.test'><thread>t1</thread><body>!</body></message>")
            results = await asyncio.to_thread(phone.results)
            return results, time.monotonic() - begin, [each for each in juliet.stanzas.waiting if b"<message" in each]

    fill(LATER, tmp_path / "later.xml", {"status": status, "header": header})
    (tmp_path / "sipp").mkdir()
    with bridge(tmp_path) as it, Sipp(tmp_path / "sipp", tmp_path / "later.xml", port=it.uas_port) as phone:
        results, took, came_back = asyncio.run(ask(it, phone))
    assert results == (1, 0)
    assert seconds <= took < seconds * 1.2 + 2
    assert came_back == []
