"""The outbox as the loop sees it: one thread that does the disk work, and what has to be answered without waiting for it."""

from __future__ import annotations

import asyncio
import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import structlog

from gateway.core.digest import AgingDigestMap
from gateway.core.errors import StoreFault
from gateway.core.ports import LASTING, Acceptance, Committed, Entry, Recollection, Settlement

from .sqlite import MOST_RECEIPTS, SqliteStore

DEDUPE_SECONDS = 300
"""How long at least an arrival is known again after its answer (MSG-19)."""
REQUEST_SECONDS, RECEIPT_SECONDS = 600, 7 * 86_400
"""How long at least later news finds what it is about: any message, and one whose author asked to be told."""
_MOST_DIGESTS = 8_000_000
_MOST_REQUESTS = 1_000_000
_SWEEP_EVERY, _SWEEP_PAUSE = 20.0, 0.02

log = structlog.get_logger("store")


class Outbox:
    """Implements the Store port over SQLite. Made before the loop runs, started on it, closed after the last commit came back."""

    def __init__(self, file: Path) -> None:
        self._lock = _lock(file.parent / "lock")
        try:
            self._store = SqliteStore(file)
        except StoreFault:
            os.close(self._lock)
            raise
        self._jobs: SimpleQueue[tuple[Callable[[], Any], Callable[[Any], None]] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="store", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._next_number = self._store.next_number
        self._secret = self._store.secret
        now = time.monotonic()
        # Ages are told from here; what an earlier run kept is as old as that.
        self._epoch = now - DEDUPE_SECONDS
        self._seen = AgingDigestMap(DEDUPE_SECONDS, _MOST_DIGESTS, now)
        self._requests = AgingDigestMap(REQUEST_SECONDS, _MOST_REQUESTS, now, typecode="Q")
        self._receipts = AgingDigestMap(RECEIPT_SECONDS, MOST_RECEIPTS, now, typecode="B")
        self._sweep_handle: asyncio.TimerHandle | None = None

    # -- life ----------------------------------------------------------------------------------------------------------
    def start(self, loop: asyncio.AbstractEventLoop) -> list[Entry]:
        """Read what is there, start the thread; returns the index of everything kept."""
        now = time.monotonic()
        # Everything that the last sweep left counts from now: a clock that jumped while we were down must not make us forget (MSG-19).
        for _, digests in self._store.arrivals():
            for digest in digests:
                self._seen.put(digest, 0, now)
        for key, row in self._store.requests(time.time()):
            self._requests.put(key, row, now)
        for key in self._store.receipts(time.time()):
            self._receipts.put(key, 1, now)
        entries = self._store.entries()
        self._loop = loop
        self._thread.start()
        self._sweep_handle = loop.call_later(_SWEEP_EVERY, self._sweep)
        return entries

    def close(self) -> None:
        """Finish what was handed in, stop the thread, close the file."""
        if self._sweep_handle:
            self._sweep_handle.cancel()
        if self._thread.is_alive():
            self._jobs.put(None)
            self._thread.join()
        self._store.close()
        os.close(self._lock)

    def _run(self) -> None:
        while job := self._jobs.get():
            work, done = job
            try:
                result = work()
            except StoreFault as fault:
                log.error("the store failed", reason=str(fault))
                result = None
            except Exception as error:
                # Whatever it is, the next piece of work may go well, and nobody may wait for ever for this one.
                log.exception("the store failed", reason=repr(error))
                result = None
            if self._loop and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(done, result)

    # -- the port ------------------------------------------------------------------------------------------------------
    def number(self) -> int:
        """The next number of the sequence; it is on disk with the commit that uses it."""
        number = self._next_number
        self._next_number += 1
        return number

    def secret(self) -> bytes:
        """The key of the keyed hashes of this store."""
        return self._secret

    def age(self, key: int) -> float | None:
        """Seconds since a message with this digest was kept; what an earlier run kept counts as old."""
        now = time.monotonic()
        kept_at = self._seen.get(key, now)
        return None if kept_at is None else now - self._epoch - kept_at

    def full(self) -> bool:
        """Whether the memory for digests is used up."""
        return self._seen.is_full

    def commit(
        self,
        acceptances: Sequence[Acceptance],
        settled: Sequence[int],
        settlements: Sequence[Settlement],
        done: Callable[[Committed], None],
        memories: Sequence[Recollection] = (),
    ) -> None:
        """One transaction for all of it."""
        kept = [*acceptances, *[each.follow_up for each in settlements if each.follow_up]]
        now = time.monotonic()
        rows = [self._requests.get(each.forgets, now) for each in kept if each.forgets]
        forgotten = [row for row in rows if row]
        next_number, wall = self._next_number, time.time()

        def finished(rows: dict[int, int] | None) -> None:
            if rows is None:
                done(Committed("the store failed"))
                return
            self._published(kept, rows)
            done(Committed())

        self._jobs.put((lambda: self._store.commit(kept, settled, settlements, forgotten, next_number, wall, memories), finished))

    def _published(self, kept: Sequence[Acceptance], rows: dict[int, int]) -> None:
        """Only what is on disk is known again: a sender whose message was refused may send it again."""
        now = time.monotonic()
        kept_at = int(now - self._epoch)
        for each in kept:
            if each.keys:
                self._seen.put(each.keys[0], kept_at, now)
                self._seen.put(each.keys[1], kept_at, now)
            if each.forgets:
                self._requests.put(each.forgets, 0, now)
            for one in each.recollections:
                if one.kind == LASTING:
                    self._receipts.put(one.key, 1, now)
        for key, row in rows.items():
            self._requests.put(key, row, now)

    def load(self, seqs: Sequence[int], done: Callable[[Sequence[tuple[int, bytes]] | None], None]) -> None:
        """The records of these messages."""
        wanted = tuple(seqs)
        self._jobs.put((lambda: self._store.load(wanted), done))

    def remembered(self, kind: str) -> list[tuple[int, str]]:
        """Everything of a kind; call it before `start`."""
        return self._store.remembered(kind, time.time())

    def recall(self, key: int, done: Callable[[str | None], None]) -> None:
        """What is remembered of the message that is found by this key."""
        now, wall = time.monotonic(), time.time()
        row = self._requests.get(key, now) or 0
        if not row and self._receipts.get(key, now) is None:
            # Anybody can ask for what never was, as often as he likes.
            done("")
            return
        self._jobs.put((lambda: self._store.recall(key, row, wall), done))

    # -- housekeeping --------------------------------------------------------------------------------------------------
    def _sweep(self) -> None:
        wall = time.time()
        self._jobs.put((lambda: self._store.sweep(wall, wall - 2 * DEDUPE_SECONDS), self._swept))

    def _swept(self, more: bool) -> None:
        if self._loop and not self._loop.is_closed():
            self._sweep_handle = self._loop.call_later(_SWEEP_PAUSE if more else _SWEEP_EVERY, self._sweep)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a data directory while working on the store of a stopped gateway. Raises StoreFault while one is running."""
    handle = _lock(folder / "lock")
    try:
        yield
    finally:
        os.close(handle)


def _lock(file: Path) -> int:
    """Take the data directory for this process alone (REL-07); the kernel gives it back however we end."""
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(file, os.O_CREAT | os.O_RDWR, 0o600)
    except OSError as error:
        raise StoreFault(f"{file}: {error.strerror}") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise StoreFault(f"{file.parent} is in use by another stoxgate process") from None
    return handle
