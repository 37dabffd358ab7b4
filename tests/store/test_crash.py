"""A kill at any moment: what was reported as kept is there, whole, and a commit is there as a whole or not at all (REL-01)."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from gateway.store.sqlite import SqliteStore
from tests.store.committer import acceptance, run

ROUNDS = 1000 if os.environ.get("STOXGATE_SOAK") == "1" else 20
LIMIT = 60.0
GROUP = 7
_starter = multiprocessing.get_context("forkserver")
_starter.set_forkserver_preload(["tests.store.committer"])


@dataclass
class Reported:
    """What a committer has said so far. last: of the highest number that was in any report."""

    kept: set[int] = field(default_factory=set)
    settled: set[int] = field(default_factory=set)
    refused: set[int] = field(default_factory=set)
    last: int = 0

    def read(self, lines: Iterable[str]) -> None:
        for line in lines:
            verdict, *numbers = line.split()
            if verdict != "ready":
                first, self.last, *settled = map(int, numbers)
                (self.kept if verdict == "kept" else self.refused).update(range(first, self.last + 1))
                self.settled.update(settled)

    @property
    def owed(self) -> set[int]:
        """What must be in the store."""
        return self.kept - self.settled


def killed(file: Path, chance: random.Random, reported: Reported) -> None:
    """Let a committer run for a while and kill it."""
    mine, its = _starter.Pipe(duplex=False)
    process = _starter.Process(target=_commit_for_ever, args=(its, str(file), chance.choice((300, 20_000))))
    process.start()
    its.close()
    lines = [mine.recv_bytes().decode() for _ in range(chance.randrange(1, 12))]
    mine.poll(chance.random() * 0.01)
    assert process.pid
    os.kill(process.pid, signal.SIGKILL)
    process.join(LIMIT)
    assert process.exitcode == -signal.SIGKILL
    while mine.poll():
        try:
            lines.append(mine.recv_bytes().decode())
        except EOFError:
            break
    reported.read(lines)


def _commit_for_ever(say: Connection, file: str, size: int) -> None:
    run(lambda line: say.send_bytes(line.encode()), Path(file), GROUP, size=size)


@pytest.mark.requirement("REL-01")
def test_a_kill_at_any_moment_loses_nothing_that_was_reported(tmp_path: Path) -> None:
    file, chance, reported = tmp_path / "outbox.db", random.Random(), Reported()  # the moment is what is drawn
    for _ in range(ROUNDS):
        before = reported.last
        killed(file, chance, reported)
        with closing(SqliteStore(file)) as store:
            entries = [entry.seq for entry in store.entries()]
            seen = {digest for _, digests in store.arrivals() for digest in digests}
            remembered = {key for key, _ in store.requests(0.0)}
            records = dict(store.load(entries[-3 * GROUP :]))
            next_number = store.next_number
        unreported = set(range(reported.last + 1, next_number))
        assert len(unreported) in (0, GROUP)
        missing = reported.owed - set(entries)
        # The commit that was not reported is there as a whole, what it settled included.
        assert len(missing) <= (1 if unreported else 0)
        assert set(entries) == (reported.owed - missing) | unreported
        assert next_number > max(entries, default=0)
        arrived = reported.kept | unreported
        assert seen == {half for seq in arrived for half in (2 * seq, 2 * seq + 1)}
        assert remembered == arrived
        assert all(record in (acceptance(seq).record, acceptance(seq, 20_000).record) for seq, record in records.items())
        reported.settled |= missing
        reported.kept |= unreported
        reported.last = next_number - 1
        assert reported.last >= before
    assert len(reported.kept) > GROUP * ROUNDS
