"""A long queue: how soon it is taken up, and what it costs (REL-19)."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from gateway.core.canonical import text_message
from gateway.core.envelope import Envelope
from gateway.core.ports import Acceptance
from gateway.store.sqlite import SqliteStore
from tests.peers.programs import PROJECT
from tests.relay.scene import JULIET, ROMEO

SHARE = 1.0 if os.environ.get("STOXGATE_SOAK") == "1" else 0.2
"""Of the 100 000 messages; the bounds are the same share of 10 s and 150 MiB."""
MESSAGES, SECONDS, MIBIBYTES = int(100_000 * SHARE), 10 * SHARE, 150 * SHARE
TAKE_UP = """
import asyncio, sys, time
from pathlib import Path
from gateway.relay.directory import Directory
from gateway.relay.spellings import Spellings
from gateway.relay.relay import Relay
from gateway.core.settings import Limits
from gateway.store.outbox import Outbox
from tests.relay.scene import MovedLoop, Side

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20

async def take_up():
    before, at = resident(), time.process_time()
    outbox = Outbox(Path(sys.argv[1]))
    relay = Relay(outbox, Limits(), Spellings(Directory((), (), (), ()), outbox.secret()))
    down = Side("sip", 1, MovedLoop(), set())
    down.up = False
    relay.start(down, down, outbox.start(asyncio.get_running_loop()))
    read = asyncio.get_running_loop().create_future()
    outbox.load((), read.set_result)
    await read
    print(relay.size[0], time.process_time() - at, resident() - before)
    relay.stop()
    outbox.close()

asyncio.run(take_up())
"""


@pytest.mark.requirement("REL-19")
def test_a_long_queue_is_taken_up_in_time_and_in_little_memory(tmp_path: Path) -> None:
    file = tmp_path / "outbox.db"
    record = Envelope("m", "t", ROMEO, JULIET, text_message(ROMEO, JULIET, "x" * 300, 0.0), 1.0, "test").to_cpim()
    with closing(SqliteStore(file)) as store:
        for first in range(1, MESSAGES, 5000):
            group = range(first, first + 5000)
            store.commit(
                [Acceptance(seq, f"sip {seq % 1000}@sip.example", record, 1.0, 2e9, (2 * seq, 2 * seq + 1)) for seq in group],
                (),
                (),
                (),
                group[-1] + 1,
                1.0,
            )
    done = subprocess.run([sys.executable, "-c", TAKE_UP, str(file)], cwd=PROJECT, capture_output=True, text=True, timeout=120, check=True)
    messages, seconds, mibibytes = map(float, done.stdout.splitlines()[-1].split())
    assert messages == MESSAGES
    assert seconds < SECONDS
    assert mibibytes < MIBIBYTES
