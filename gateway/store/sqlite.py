"""The outbox in one SQLite file: every method is one short transaction, called from one thread at a time.

WAL with `synchronous=FULL`: when `commit` returns, its rows have been through fsync (REL-02). Statements that run for every message are
built once with SQLAlchemy Core, for blocks of rows, and run as one step each: a step gives up the interpreter lock, and getting it back
from a busy loop costs more than the row.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any
from zlib import crc32

from sqlalchemy import Connection, Select, Table, bindparam, create_engine, delete, event, func, insert, select, text, update
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from gateway.core.errors import StoreFault
from gateway.core.ports import BRIEF, LASTING, Acceptance, Entry, Recollection, Settlement

from .schema import ON_ACCEPTANCE, VERSION, journal, message, metadata, newest, recollection, setting

_BLOCK = 64
_SWEEP_ROWS = 200
"""So few that a commit behind them hardly waits: 2 ms where 1000 take 10 to 40."""
_WAL_PAGES = 4000
_MOST, MOST_RECEIPTS = 100_000, 1_000_000
"""Of each kind in `newest`, and of LASTING: what was to go first goes, a piece at a time."""
_SIGN = 1 << 63
_DAMAGED = b""
_IDLE_SWEEPS = 2
_JOURNAL = ("id", "at", "next_number", "digests")


class SqliteStore:
    """One open outbox. Raises StoreFault where the file cannot be used."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._unsure = array("Q")
        self._sweeps_since_commit = 0
        self._engine = create_engine(f"sqlite:///{file}", poolclass=NullPool, connect_args={"timeout": 5, "check_same_thread": False})
        event.listen(self._engine, "connect", _configure)
        self._create_file()
        self._open()
        self._take_up()

    # -- life ----------------------------------------------------------------------------------------------------------
    def _create_file(self) -> None:
        """The file is ours alone (SEC-47), and its name is on disk before the first promise (REL-02)."""
        try:
            self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self.file, os.O_CREAT | os.O_RDWR, 0o600))
            for folder in (self.file.parent, self.file.parent.parent):
                _sync_folder(folder)
        except OSError as error:
            raise StoreFault(f"{self.file}: {error.strerror}") from None

    def _open(self) -> None:
        try:
            self._connection: Connection = self._engine.connect()
            self._driver: sqlite3.Cursor = self._connection.connection.driver_connection.cursor()  # type: ignore[union-attr]
            try:
                with self._connection.begin():
                    self._migrate()
            except BaseException:
                self.close()
                raise
        except (SQLAlchemyError, ValueError) as error:
            raise self._fault(error) from None

    def _fault(self, error: Exception) -> StoreFault:
        return StoreFault(f"{self.file}: {getattr(error, 'orig', error)}")

    def _migrate(self) -> None:
        run = self._connection.execute
        # The driver would begin with the first row, and a table made before that would stay when we are killed (REL-30).
        run(text("begin immediate"))
        if not run(text("select 1 from sqlite_master where name = 'setting'")).first():
            metadata.create_all(self._connection)
            fresh = {"version": str(VERSION), "secret": secrets.token_hex(32)}
            run(insert(setting), [{"name": name, "value": value} for name, value in fresh.items()])
        version = int(self._setting("version"))
        if version > VERSION:
            raise StoreFault(f"{self.file}: made by a newer version of this program")
        if version < VERSION:
            metadata.create_all(self._connection)
            self._move_lasting()
            run(update(setting).where(setting.c.name == "version").values(value=str(VERSION)))
        self.secret = bytes.fromhex(self._setting("secret"))

    def _move_lasting(self) -> None:
        """From version 1, which kept every row of every kind: the last one under a key is the newest."""
        run, is_lasting = self._connection.execute, recollection.c.kind != BRIEF
        columns = [column.name for column in newest.columns]
        rows = select(*(recollection.c[name] for name in columns)).where(is_lasting).order_by(recollection.c.id)
        run(insert(newest).prefix_with("OR REPLACE").from_select(columns, rows))
        run(delete(recollection).where(is_lasting))
        run(text("drop index if exists recollection_key"))

    def _take_up(self) -> None:
        """Where the last run ended."""
        last = self._read(select(journal.c.id, journal.c.next_number).order_by(journal.c.id.desc()).limit(1))
        self._last_commit, self.next_number = (int(value) for value in (last[0] if last else (0, 1)))
        self._next_row = int(self._read(select(func.max(recollection.c.id)))[0][0] or 0) + 1
        self._counts = {str(kind): int(rows) for kind, rows in self._read(select(newest.c.kind, func.count()).group_by(newest.c.kind))}

    def _setting(self, name: str) -> str:
        return str(self._connection.execute(select(setting.c.value).where(setting.c.name == name)).scalar_one())

    def close(self) -> None:
        """Close the file; what was committed is in it."""
        if self._connection.closed:
            return
        # A statement that a cursor still holds keeps the file open, and locked.
        self._driver.close()
        try:
            self._connection.close()
        except DBAPIError:
            self._connection.invalidate()
            self._connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """One transaction, on a new connection if the last one failed. Raises StoreFault.

        After a failure nobody knows what of it is in the file, and a later fsync that succeeds proves nothing about it (REL-05).
        """
        try:
            if self._connection.closed:
                self._open()
            with self._connection.begin():
                yield
        except (SQLAlchemyError, sqlite3.Error) as error:
            self.close()
            raise self._fault(error) from None

    # -- writing -------------------------------------------------------------------------------------------------------
    def commit(
        self,
        kept: Sequence[Acceptance],
        settled: Sequence[int],
        settlements: Sequence[Settlement],
        forgotten: Sequence[int],
        next_number: int,
        now: float,
        memories: Sequence[Recollection] = (),
    ) -> dict[int, int]:
        """Keep and settle all of these, or nothing. Follow-ups of settlements are among `kept`; `forgotten` are rows of recollections.

        Returns key -> row of each new BRIEF recollection. Raises StoreFault when nothing of it is kept.
        """
        self._sweeps_since_commit = 0
        try:
            with self._transaction():
                if self._unsure:
                    self._delete(message, self._unsure)
                    self._connection.execute(delete(journal).where(journal.c.id > self._last_commit))
                digests = array("Q", [key for each in kept if each.keys for key in each.keys])
                self._insert(journal, _JOURNAL, [(self._last_commit + 1, now, next_number, digests.tobytes())])
                rows = [(each.seq, each.lane, each.received_at, each.expires_at, crc32(each.record), each.record) for each in kept]
                self._insert(message, ON_ACCEPTANCE, rows)
                self._delete(message, settled)
                self._settle(settlements)
                self._delete(recollection, forgotten)
                fresh = self._remember([*[one for each in kept for one in each.recollections], *memories])
        except StoreFault:
            # They are refused, but the log may hold the commit whole, and then opening the file brings it back.
            self._unsure.extend([each.seq for each in kept] or [0])
            raise
        self._last_commit += 1
        del self._unsure[:]
        return fresh

    def _settle(self, settlements: Sequence[Settlement]) -> None:
        self._delete(message, [each.seq for each in settlements if each.due_at is None and not each.parked])
        later = [each for each in settlements if each.due_at is not None or each.parked]
        if later:
            rows = [
                {"at": each.seq, "due": each.due_at or 0.0, "again": each.number, "tries": each.attempts, "why": each.parked}
                for each in later
            ]
            self._connection.execute(_POSTPONE, rows)

    def _remember(self, fresh: Sequence[Recollection]) -> dict[int, int]:
        lasting = [(one.kind, _signed(one.key), one.until, one.facts) for one in fresh if one.kind != BRIEF]
        for kind, *_ in lasting:
            self._counts[kind] = self._counts.get(kind, 0) + 1
        self._insert(newest, ("kind", "key", "until", "facts"), lasting)
        brief, first = [one for one in fresh if one.kind == BRIEF] if lasting else fresh, self._next_row
        self._next_row += len(brief)
        self._insert(
            recollection,
            ("id", "kind", "key", "until", "facts"),
            [(row, BRIEF, _signed(one.key), one.until, one.facts) for row, one in enumerate(brief, first)],
        )
        return {one.key: row for row, one in enumerate(brief, first)}

    def _insert(self, table: Table, columns: tuple[str, ...], rows: Sequence[tuple[Any, ...]]) -> None:
        for at in range(0, len(rows), _BLOCK):
            block = rows[at : at + _BLOCK]
            self._run(_insert_sql(table, columns, len(block)), tuple(chain.from_iterable(block)))

    def _delete(self, table: Table, keys: Sequence[int]) -> None:
        for at in range(0, len(keys), _BLOCK):
            block = tuple(keys[at : at + _BLOCK])
            self._run(_delete_sql(table, len(block)), block)

    def _run(self, sql: str, values: tuple[Any, ...]) -> None:
        """A statement inside the transaction of the connection, by the driver's own cursor: it costs a tenth for a small group."""
        self._driver.execute(sql, values)

    def sweep(self, now: float, arrivals_before: float) -> bool:
        """Remove what has aged out, a bounded piece at a time. Returns whether more is left."""
        last = select(func.max(journal.c.id)).scalar_subquery()
        old = select(journal.c.id).where(journal.c.at < arrivals_before, journal.c.id < last).order_by(journal.c.id).limit(_SWEEP_ROWS)
        past = select(recollection.c.id).where(recollection.c.until < now).order_by(recollection.c.id).limit(_SWEEP_ROWS)
        with self._transaction():
            gone = self._connection.execute(delete(journal).where(journal.c.id.in_(old))).rowcount
            gone_too = self._connection.execute(delete(recollection).where(recollection.c.id.in_(past))).rowcount
            forgotten = max((self._forget(kind, now) for kind in self._counts), default=0)
        self._sweeps_since_commit += 1
        if self._sweeps_since_commit == _IDLE_SWEEPS:
            # The log still holds the text of what was delivered; while it is written to, it is overwritten soon (SEC-47).
            self._driver.execute("pragma wal_checkpoint(truncate)").fetchall()
        return max(gone, gone_too, forgotten) >= _SWEEP_ROWS

    def _forget(self, kind: str, now: float) -> int:
        """Those of a kind that have aged out, and the oldest of too many. Returns how many of one piece."""
        run, column, is_of_kind = self._connection.execute, newest.c, newest.c.kind == kind
        most = _most(kind)
        if self._counts[kind] > most:
            # What was written anew has been counted twice.
            self._counts[kind] = int(run(select(func.count()).select_from(newest).where(is_of_kind)).scalar_one())
        surplus = min(self._counts[kind] - most, _SWEEP_ROWS)
        oldest = select(column.key).where(is_of_kind).order_by(column.until)
        past = oldest.limit(surplus) if surplus > 0 else oldest.where(column.until < now).limit(_SWEEP_ROWS)
        gone = run(delete(newest).where(is_of_kind, column.key.in_(past))).rowcount
        self._counts[kind] -= gone
        return gone

    # -- reading -------------------------------------------------------------------------------------------------------
    def entries(self) -> list[Entry]:
        """The index of everything kept, in order."""
        column = message.c
        query = select(
            column.seq,
            column.lane,
            func.length(column.record),
            column.received_at,
            column.expires_at,
            column.due_at,
            func.coalesce(func.nullif(column.number, 0), column.seq),
            column.attempts,
            column.parked,
        )
        return [Entry(*row) for row in self._read(query.order_by(column.seq))]

    def load(self, seqs: Sequence[int]) -> list[tuple[int, bytes]]:
        """(seq, record) in order; a record whose checksum does not hold comes back empty (REL-06)."""
        query = select(message.c.seq, message.c.crc, message.c.record).where(message.c.seq.in_(seqs)).order_by(message.c.seq)
        return [(seq, record if crc32(record) == crc else _DAMAGED) for seq, crc, record in self._read(query)]

    def arrivals(self) -> Iterator[tuple[float, array[int]]]:
        """(when, digests) of every commit that is still remembered, oldest first."""
        for at, digests in self._read(select(journal.c.at, journal.c.digests).order_by(journal.c.id)):
            yield at, array("Q", digests)

    def requests(self, now: float) -> Iterator[tuple[int, int]]:
        """(key, row) of every BRIEF recollection that is still good, oldest first."""
        query = select(recollection.c.key, recollection.c.id).where(recollection.c.kind == BRIEF, recollection.c.until >= now)
        for key, row in self._read(query.order_by(recollection.c.id)):
            yield key % (1 << 64), row

    def remembered(self, kind: str, now: float) -> list[tuple[int, str]]:
        """(key, facts) of a kind but BRIEF, still good, of too many the last; what is to go first comes first."""
        column = newest.c
        query = select(column.key, column.facts).where(column.kind == kind, column.until >= now)
        rows = self._read(query.order_by(column.until.desc()).limit(_most(kind)))
        return [(key % (1 << 64), facts) for key, facts in reversed(rows)]

    def recall(self, key: int, row: int, now: float) -> str:
        """The facts of the LASTING recollection of this key, else of the BRIEF one in this row; empty when there is none."""
        column = newest.c
        found = self._read(select(column.facts).where(column.kind == LASTING, column.key == _signed(key), column.until >= now))
        if not found and row:
            query = select(recollection.c.facts).where(recollection.c.key == _signed(key), recollection.c.until >= now)
            found = self._read(query.where(recollection.c.id == row))
        return str(found[0][0]) if found else ""

    def receipts(self, now: float) -> Iterator[int]:
        """The key of every LASTING recollection that is still good."""
        for (key,) in self._read(select(newest.c.key).where(newest.c.kind == LASTING, newest.c.until >= now)):
            yield key % (1 << 64)

    def _read(self, query: Select[Any]) -> Sequence[Any]:
        """The rows of a query, in a transaction of its own. Raises StoreFault."""
        with self._transaction():
            return self._connection.execute(query).all()


def _configure(connection: sqlite3.Connection, _record: object) -> None:
    # Exclusive, because the lock file made this process the only owner: no lock calls for each commit, no shared-memory file.
    wal = ("locking_mode=exclusive", "journal_mode=wal", f"wal_autocheckpoint={_WAL_PAGES}")
    try:
        for pragma in (*wal, "synchronous=full", "secure_delete=on"):
            connection.execute(f"pragma {pragma}")
    except sqlite3.Error:
        connection.close()
        raise


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@lru_cache(maxsize=4 * _BLOCK)
def _insert_sql(table: Table, columns: tuple[str, ...], rows: int) -> str:
    statement = insert(table).prefix_with("OR REPLACE") if table is newest else insert(table)
    one = str(statement.compile(dialect=sqlite.dialect(), column_keys=columns))
    head, values, places = one.rpartition("(")
    return f"{head}{', '.join([values + places] * rows)}"


@lru_cache(maxsize=4 * _BLOCK)
def _delete_sql(table: Table, rows: int) -> str:
    key = next(iter(table.primary_key))
    return f"{delete(table).compile(dialect=sqlite.dialect())} WHERE {key.name} IN ({', '.join('?' * rows)})"


def _most(kind: str) -> int:
    return MOST_RECEIPTS if kind == LASTING else _MOST


def _signed(key: int) -> int:
    """SQL integers are signed: a digest of 2**63 and more wraps."""
    return key - (1 << 64) if key & _SIGN else key


_POSTPONE = (
    update(message)
    .where(message.c.seq == bindparam("at"))
    .values(due_at=bindparam("due"), number=bindparam("again"), attempts=bindparam("tries"), parked=bindparam("why"))
)
