"""A process that keeps messages in a store and tells after each commit: `python -m tests.store.committer FILE GROUP COMMITS [SIZE]`.

It says "ready" once the store is open, then "kept FIRST LAST SETTLED" or "refused FIRST LAST" for each commit. A commit takes GROUP
messages of SIZE octets, and settles one that an earlier commit took (SETTLED, 0 for none).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path

from gateway.core.errors import StoreFault
from gateway.core.ports import Acceptance, Recollection
from gateway.store.sqlite import SqliteStore


def acceptance(seq: int, size: int = 300) -> Acceptance:
    """A message whose record, digests and recollection follow from its number."""
    record = f"{seq}:".encode().ljust(size, b"x")
    return Acceptance(seq, f"sip {seq % 3}", record, 1.0, 2e9, (2 * seq, 2 * seq + 1), (Recollection("request", seq, 2e9, f"facts {seq}"),))


def run(say: Callable[[str], object], file: Path, group: int, commits: int | None = None, size: int = 300) -> None:
    """Commit so many times, or for ever."""
    store = SqliteStore(file)
    say("ready")
    kept: list[int] = []
    for first in count(store.next_number, group):
        if commits == 0:
            break
        commits = commits - 1 if commits else None
        last = first + group - 1
        settled = kept.pop(0) if len(kept) > group else 0
        try:
            store.commit([acceptance(seq, size) for seq in range(first, last + 1)], [settled], (), (), last + 1, 1.0)
        except StoreFault:
            kept.insert(0, settled)
            say(f"refused {first} {last}")
        else:
            kept.extend(range(first, last + 1))
            say(f"kept {first} {last} {settled}")
    store.close()


if __name__ == "__main__":
    run(lambda line: os.write(1, f"{line}\n".encode()), Path(sys.argv[1]), *map(int, sys.argv[2:]))
