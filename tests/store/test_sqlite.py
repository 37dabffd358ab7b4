"""The outbox file: what is committed is there, what is not is not, and what cannot be used is said."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Engine, event

from gateway.core.errors import StoreFault
from gateway.core.ports import Acceptance, Recollection, Settlement
from gateway.store.schema import VERSION
from gateway.store.sqlite import SqliteStore
from tests.store.committer import acceptance
from tests.store.disk import Disk, disk

NOW = 1_770_000_000.0


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "outbox.db"


@pytest.fixture
def store(file: Path) -> Iterator[SqliteStore]:
    with closing(SqliteStore(file)) as it:
        yield it


@pytest.fixture
def broken() -> Iterator[Disk]:
    with disk() as it:
        yield it


def commit(
    store: SqliteStore,
    *kept: Acceptance,
    settled: tuple[int, ...] = (),
    settlements: tuple[Settlement, ...] = (),
    forgotten: tuple[int, ...] = (),
) -> dict[int, int]:
    return store.commit(kept, settled, settlements, forgotten, max((each.seq for each in kept), default=0) + 1, NOW)


def again(store: SqliteStore) -> SqliteStore:
    store.close()
    return SqliteStore(store.file)


def by_hand(file: Path, sql: str, *values: object) -> list[tuple[object, ...]]:
    """Do something to the file of a store that is closed."""
    with closing(sqlite3.connect(file)) as connection, connection:
        return connection.execute(sql, values).fetchall()


# -- what is kept ------------------------------------------------------------------------------------------------------
def test_what_is_committed_is_there_after_a_restart(store: SqliteStore) -> None:
    commit(store, *(acceptance(seq) for seq in range(1, 131)))
    store = again(store)
    assert [entry.seq for entry in store.entries()] == list(range(1, 131))
    assert store.load([130, 2, 64]) == [(seq, acceptance(seq).record) for seq in (2, 64, 130)]
    assert store.next_number == 131
    entry = store.entries()[0]
    assert (entry.lane, entry.octets, entry.received_at, entry.expires_at) == ("sip 1", 300, 1.0, 2e9)
    assert (entry.due_at, entry.number, entry.attempts, entry.parked) == (0.0, 1, 0, "")


def test_what_is_settled_is_gone(store: SqliteStore) -> None:
    commit(store, *(acceptance(seq) for seq in range(1, 201)))
    commit(store, settled=tuple(range(1, 101)), settlements=(Settlement(150),))
    assert [entry.seq for entry in again(store).entries()] == [*range(101, 150), *range(151, 201)]


def test_a_message_that_waits_keeps_when_and_why(store: SqliteStore) -> None:
    commit(store, *map(acceptance, (1, 2, 3)))
    commit(store, settlements=(Settlement(1, NOW + 5, 77, 2), Settlement(3, number=3, attempts=3, parked="why")))
    found = {entry.seq: entry for entry in again(store).entries()}
    assert (found[1].due_at, found[1].number, found[1].attempts, found[1].parked) == (NOW + 5, 77, 2, "")
    assert (found[2].due_at, found[2].number, found[2].attempts) == (0.0, 2, 0)
    assert (found[3].parked, found[3].attempts) == ("why", 3)


def test_the_sequence_goes_on_where_it_stood(store: SqliteStore) -> None:
    store.commit([acceptance(5)], (), (), (), 41, NOW)
    store = again(store)
    assert store.next_number == 41
    commit_of_nothing = store.commit((), [5], (), (), 43, NOW)
    assert commit_of_nothing == {}
    assert again(store).next_number == 43


@pytest.mark.requirement("MSG-19")
def test_the_digests_of_arrivals_are_stored_with_them(store: SqliteStore) -> None:
    commit(store, acceptance(1), acceptance(2)._replace(keys=None), acceptance(2**62))
    assert [list(digests) for _, digests in again(store).arrivals()] == [[2, 3, 2**63, 2**63 + 1]]


def test_a_recollection_is_found_by_its_key_until_its_time(store: SqliteStore) -> None:
    high = 2**64 - 7
    rows = commit(
        store,
        Acceptance(
            1,
            "l",
            b"r",
            NOW,
            NOW,
            recollections=(Recollection("request", high, NOW + 10, "first"), Recollection("request", 9, NOW + 10, "other")),
        ),
    )
    store = again(store)
    assert dict(store.requests(NOW)) == rows == {high: 1, 9: 2}
    assert store.recall(high, rows[high], NOW + 10) == "first"
    assert store.recall(high, rows[high], NOW + 11) == ""
    assert store.recall(high, rows[9], NOW) == ""
    assert dict(store.requests(NOW + 11)) == {}
    commit(store, forgotten=(rows[high],))
    assert store.recall(high, rows[high], NOW) == ""


@pytest.mark.requirement("IMDN-31")
def test_of_long_lived_recollections_the_newest_counts(store: SqliteStore) -> None:
    high = 2**64 - 3
    for seq, facts in enumerate(("Romeo", "ROMEO"), 1):
        commit(store, Acceptance(seq, "l", b"r", NOW, NOW, recollections=(Recollection("receipt", high, NOW + 10, facts),)))
    store = again(store)
    assert store.recall(high, 0, NOW + 10) == "ROMEO"
    assert store.recall(4, 0, NOW) == store.recall(high, 0, NOW + 11) == ""


def test_a_receipt_is_found_without_looking_at_the_others(store: SqliteStore) -> None:
    store.close()
    of_kind = "from newest where kind = 'receipt'"
    for query in (f"facts {of_kind} and key = 1 and until >= 1.0", f"key {of_kind} order by until limit 200", f"count(*) {of_kind}"):
        [(*_, plan)] = by_hand(store.file, f"explain query plan select {query}")
        assert str(plan).startswith("SEARCH newest USING")


def test_receipts_that_are_old_or_too_many_are_forgotten(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def remember(*keys: int) -> None:
        memory = tuple(Recollection("receipt", key, NOW + key, f"{key}") for key in keys)
        commit(store, Acceptance(store.next_number, "l", b"r", NOW, NOW, recollections=memory), settled=(store.next_number,))

    remember(*range(1, 6))
    store.sweep(NOW + 2.5, NOW)
    assert [store.recall(key, 0, NOW) for key in range(1, 6)] == ["", "", "3", "4", "5"]
    monkeypatch.setattr("gateway.store.sqlite.MOST_RECEIPTS", 3)
    remember(3, 4, 5)
    store.sweep(NOW, NOW)
    assert [store.recall(key, 0, NOW) for key in range(3, 6)] == ["3", "4", "5"]
    monkeypatch.setattr("gateway.store.sqlite._SWEEP_ROWS", 1)
    remember(6)
    store.sweep(NOW, NOW)
    assert [store.recall(key, 0, NOW) for key in range(3, 7)] == ["", "4", "5", "6"]


def test_a_store_of_the_version_before_is_taken_up(store: SqliteStore) -> None:
    commit(store, acceptance(1))
    store.close()
    by_hand(store.file, "drop table newest")
    by_hand(store.file, "create index recollection_key on recollection (key) where kind != 'request'")
    by_hand(store.file, "update setting set value = '1' where name = 'version'")
    for kind, key, facts in (("spelling", 8, "Romeo"), ("request", 9, "brief"), ("spelling", 8, "ROMEO"), ("spelling", -1, "Tomas")):
        by_hand(store.file, "insert into recollection (kind, key, until, facts) values (?, ?, ?, ?)", kind, key, NOW + key, facts)
    store = SqliteStore(store.file)
    assert store.remembered("spelling", NOW - 1) == [(2**64 - 1, "Tomas"), (8, "ROMEO")]
    assert store.recall(9, dict(store.requests(NOW))[9], NOW) == "brief"
    commit(store, Acceptance(2, "l", b"r", NOW, NOW, recollections=(Recollection("receipt", 7, NOW, "facts"),)))
    assert [entry.seq for entry in store.entries()] == [1, 2]
    assert store.recall(7, 0, NOW) == "facts"
    store.close()
    assert by_hand(store.file, "select value from setting where name = 'version'") == [(str(VERSION),)]


@pytest.mark.parametrize("kind", ["conversation", "peer", "spelling"])
def test_of_what_changes_with_every_message_the_store_has_one_row(store: SqliteStore, kind: str) -> None:
    for seq in range(1, 101):
        memory = tuple(Recollection(kind, 7, NOW + seq, f"{seq} {each}") for each in range(3))
        store.commit([acceptance(seq)._replace(recollections=memory[:2])], [], [], [], seq + 1, NOW, memory[2:])
    assert store.remembered(kind, NOW) == [(7, "100 2")]
    assert store.remembered("another", NOW) == []
    assert store.remembered(kind, NOW + 101) == []
    store.close()
    rows = "select count(*) from recollection where kind = ? union all select count(*) from newest where kind = ?"
    assert by_hand(store.file, rows, kind, kind) == [(0,), (1,)]


def test_of_each_kind_no_more_is_read_than_counts_and_the_rest_is_swept_in_pieces(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.store.sqlite._MOST", 3)
    monkeypatch.setattr("gateway.store.sqlite._SWEEP_ROWS", 2)
    kinds = ("peer", "receipt")
    memory = tuple(Recollection(kind, key, NOW + key, str(key)) for key in range(1, 9) for kind in kinds)
    store.commit([], [], [], [], 1, NOW, memory)
    store = again(store)
    assert [facts for _, facts in store.remembered("peer", NOW)] == ["6", "7", "8"]
    monkeypatch.setattr("gateway.store.sqlite._MOST", 8)
    assert len(store.remembered("peer", NOW)) == 8
    monkeypatch.setattr("gateway.store.sqlite._MOST", 3)
    assert [store.sweep(NOW, NOW) for _ in range(3)] == [True, True, False]
    monkeypatch.setattr("gateway.store.sqlite._MOST", 8)
    assert [facts for _, facts in store.remembered("peer", NOW)] == ["6", "7", "8"]
    assert len(store.remembered("receipt", NOW)) == 8
    while store.sweep(NOW + 7.5, NOW):
        pass
    assert [key for key, _ in store.remembered("peer", NOW)] == [key for key, _ in store.remembered("receipt", NOW)] == [8]


def test_sweeping_removes_what_has_aged_out_a_piece_at_a_time(store: SqliteStore) -> None:
    for seq in range(1, 13):
        store.commit([acceptance(seq)], [seq - 1], (), (), seq + 1, NOW if seq > 2 else 0.0)
    commit(store, Acceptance(13, "l", b"r", NOW, NOW, recollections=tuple(Recollection("request", key, NOW, "") for key in range(1, 301))))
    assert not store.sweep(NOW, NOW - 1)
    assert len(list(store.arrivals())) == 11
    assert store.sweep(NOW + 1, NOW + 1)
    assert not store.sweep(NOW + 1, NOW + 1)
    assert len(list(store.requests(NOW))) == 12
    assert len(list(store.arrivals())) == 1
    assert again(store).next_number == 14


@pytest.mark.requirement("SEC-24")
@pytest.mark.parametrize("hostile", ["'); drop table message; --", "\x00", '"?:x%s{0}', "\U0001f600\\", "a\r\nb"])
def test_foreign_text_is_only_ever_a_value(store: SqliteStore, hostile: str) -> None:
    record = hostile.encode()
    commit(store, Acceptance(1, hostile, record, NOW, NOW, recollections=(Recollection("receipt", 1, NOW, hostile),)))
    commit(store, settlements=(Settlement(1, parked=hostile),))
    store = again(store)
    assert [(entry.lane, entry.parked) for entry in store.entries()] == [(hostile, hostile)]
    assert store.load([1]) == [(1, record)]
    assert store.recall(1, 0, NOW) == hostile


# -- all or nothing ----------------------------------------------------------------------------------------------------
@pytest.mark.requirement("REL-03", "REL-04")
@pytest.mark.parametrize("trouble", ["be_full", "be_read_only"])
def test_a_disk_in_trouble_takes_nothing_and_then_works_again(broken: Disk, store: SqliteStore, trouble: str) -> None:
    commit(store, acceptance(1))
    getattr(broken, trouble)()
    for _ in range(2):
        with pytest.raises(StoreFault, match=r"full|readonly"):
            commit(store, acceptance(2), acceptance(3, size=100_000), settled=(1,))
    broken.mend()
    assert [entry.seq for entry in store.entries()] == [1]
    commit(store, acceptance(2), settled=(1,))
    assert [entry.seq for entry in again(store).entries()] == [2]


@pytest.mark.requirement("REL-04")
def test_reading_and_sweeping_come_back_by_themselves(broken: Disk, store: SqliteStore) -> None:
    commit(store, acceptance(1))
    broken.be_read_only()
    with pytest.raises(StoreFault):
        commit(store, acceptance(2))
    with pytest.raises(StoreFault):
        store.load([1])
    with pytest.raises(StoreFault):
        store.sweep(NOW, NOW)
    broken.mend()
    assert store.load([1]) == [(1, acceptance(1).record)]


@pytest.mark.requirement("REL-30")
def test_making_the_tables_is_one_transaction(file: Path) -> None:
    """Stopped after any number of steps, the next start finds either nothing or all of it."""

    def after(steps: int) -> bool:
        left = iter(range(steps))

        def connected(connection: sqlite3.Connection, _record: object) -> None:
            connection.set_progress_handler(lambda: next(left, None) is None, 10)

        event.listen(Engine, "connect", connected)
        try:
            SqliteStore(file).close()
        except StoreFault:
            return False
        finally:
            event.remove(Engine, "connect", connected)
        return True

    steps = 0
    while not after(steps):
        tables = by_hand(file, "select name from sqlite_master where type = 'table'")
        assert tables == [] or len(tables) == 5
        with closing(SqliteStore(file)) as store:
            commit(store, acceptance(1))
        for each in file.parent.iterdir():
            each.unlink()
        steps += 3
    assert steps > 20


# -- what cannot be used -----------------------------------------------------------------------------------------------
@pytest.mark.requirement("REL-06")
def test_a_damaged_record_comes_back_empty_and_the_others_whole(store: SqliteStore) -> None:
    commit(store, *map(acceptance, (1, 2, 3)))
    store.close()
    by_hand(store.file, "update message set record = cast(replace(cast(record as text), 'xx', 'xX') as blob) where seq = 2")
    store = SqliteStore(store.file)
    assert store.load([1, 2, 3]) == [(1, acceptance(1).record), (2, b""), (3, acceptance(3).record)]


@pytest.mark.parametrize("octets", [b"SQLite format 3\0" + b"\xff" * 5000, b"not a database, but long enough to be read as one" * 100])
def test_a_file_that_is_no_store_is_a_store_fault(file: Path, octets: bytes) -> None:
    file.write_bytes(octets)
    with pytest.raises(StoreFault, match=r"outbox\.db: "):
        SqliteStore(file)
    assert file.read_bytes() == octets


def test_a_file_with_damaged_pages_is_a_store_fault_not_a_crash(store: SqliteStore) -> None:
    commit(store, *(acceptance(seq, 3000) for seq in range(1, 100)))
    store.close()
    octets = bytearray(store.file.read_bytes())
    octets[4096 * 2 :] = b"\xa5" * (len(octets) - 4096 * 2)
    store.file.write_bytes(octets)

    def use() -> None:
        with closing(SqliteStore(store.file)) as damaged:
            damaged.entries()
            commit(damaged, acceptance(200))

    with pytest.raises(StoreFault):
        use()


@pytest.mark.parametrize(
    "sql",
    [
        "delete from setting where name = 'version'",
        "update setting set value = 'x' where name = 'version'",
        "delete from setting where name = 'secret'",
        "update setting set value = 'zz' where name = 'secret'",
    ],
)
def test_a_store_without_sound_settings_is_refused(store: SqliteStore, sql: str) -> None:
    store.close()
    by_hand(store.file, sql)
    with pytest.raises(StoreFault):
        SqliteStore(store.file)


@pytest.mark.requirement("REL-30")
def test_a_store_of_a_newer_program_is_refused_and_left_alone(store: SqliteStore) -> None:
    commit(store, acceptance(1))
    store.close()
    by_hand(store.file, "update setting set value = ? where name = 'version'", str(VERSION + 1))
    with pytest.raises(StoreFault, match="newer version"):
        SqliteStore(store.file)
    assert by_hand(store.file, "select value from setting where name = 'version'") == [(str(VERSION + 1),)]
    assert by_hand(store.file, "select count(*) from message") == [(1,)]


# -- what others see of it ---------------------------------------------------------------------------------------------
@pytest.mark.requirement("SEC-47")
def test_all_files_are_for_the_owner_alone(tmp_path: Path) -> None:
    mask = os.umask(0)
    try:
        store = SqliteStore(tmp_path / "var" / "outbox.db")
        commit(store, acceptance(1))
    finally:
        os.umask(mask)
    files = list(store.file.parent.iterdir())
    assert {each.name for each in files} >= {"outbox.db", "outbox.db-wal"}
    assert {stat.S_IMODE(each.stat().st_mode) for each in files} == {0o600}
    assert stat.S_IMODE(store.file.parent.stat().st_mode) == 0o700
    store.close()


@pytest.mark.requirement("SEC-47")
def test_delivered_text_leaves_the_disk(store: SqliteStore) -> None:
    word = b"wherefore art thou"
    commit(store, Acceptance(1, "l", word * 500, NOW, NOW))
    assert any(word in each.read_bytes() for each in store.file.parent.iterdir())
    commit(store, settled=(1,))
    for _ in range(2):
        store.sweep(NOW, NOW)
    assert not any(word in each.read_bytes() for each in store.file.parent.iterdir())
    commit(store, acceptance(2))
    assert [entry.seq for entry in again(store).entries()] == [2]


def test_the_secret_stays_for_the_life_of_the_store(store: SqliteStore, tmp_path: Path) -> None:
    assert len(store.secret) == 32
    assert again(store).secret == store.secret
    assert SqliteStore(tmp_path / "other.db").secret != store.secret
