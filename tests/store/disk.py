"""A disk that the test breaks: SQLite itself then says what it says on a full or read-only disk, or is kept waiting."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine, event

_HEALTHY = ("pragma query_only=off", "pragma max_page_count=1000000")


class Disk:
    """Every connection that SQLAlchemy opens lies on it."""

    def __init__(self) -> None:
        self._connections: list[sqlite3.Connection] = []
        self._state: tuple[str, ...] = _HEALTHY
        self._fails = False
        self._open = threading.Event()
        self._open.set()

    def connected(self, connection: sqlite3.Connection, _record: object) -> None:
        self._connections.append(connection)
        self._apply(connection)

    def be_full(self) -> None:
        """No page more than there is now."""
        self._become("pragma max_page_count=1")

    def be_read_only(self) -> None:
        self._become("pragma query_only=on")

    def mend(self) -> None:
        self._fails = False
        self._become(*_HEALTHY)

    def hold(self) -> None:
        """From now on every statement waits."""
        self._open.clear()

    def release(self, *, failing: bool = False) -> None:
        """Let what waits go on, or fail."""
        self._fails = failing
        self._open.set()

    @property
    def is_held(self) -> bool:
        return not self._open.is_set()

    def _become(self, *state: str) -> None:
        self._state = state
        for connection in self._connections:
            self._apply(connection)

    def _apply(self, connection: sqlite3.Connection) -> None:
        try:
            for pragma in self._state:
                connection.execute(pragma)
            connection.set_progress_handler(self._wait, 1)
        except sqlite3.ProgrammingError:
            self._connections.remove(connection)  # it was closed meanwhile

    def _wait(self) -> bool:
        self._open.wait()
        return self._fails


@contextmanager
def disk() -> Iterator[Disk]:
    """A disk for everything that is opened within."""
    it = Disk()
    event.listen(Engine, "connect", it.connected)
    try:
        yield it
    finally:
        it.release()
        event.remove(Engine, "connect", it.connected)
