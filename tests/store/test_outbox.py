"""The outbox as the loop sees it."""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest

from gateway.core.errors import StoreFault
from gateway.core.ports import Acceptance, Committed, Entry, Recollection, Settlement
from gateway.store.outbox import DEDUPE_SECONDS, Outbox, locked
from tests.peers.programs import PROJECT
from tests.store.disk import Disk, disk

NOW = 1_770_000_000.0
KEYS = (11, 2**64 - 11)
Item = TypeVar("Item")


class Clock(SimpleNamespace):
    """Both clocks of the room, moved by the test."""

    def __init__(self) -> None:
        self.wall, self.steady = NOW, 5000.0
        super().__init__(time=lambda: self.wall, monotonic=lambda: self.steady)

    def move(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("gateway.store.outbox.time", clock)
    return clock


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "outbox.db"


@pytest.fixture
def broken() -> Iterator[Disk]:
    with disk() as it:
        yield it


class Running:
    """An outbox on a loop, with calls that can be awaited."""

    def __init__(self, outbox: Outbox, entries: list[Entry]) -> None:
        self.outbox, self.entries = outbox, entries

    async def commit(self, *kept: Acceptance, settled: tuple[int, ...] = (), settlements: tuple[Settlement, ...] = ()) -> Committed:
        return await _came(lambda done: self.outbox.commit(kept, settled, settlements, done))

    async def load(self, *seqs: int) -> Sequence[tuple[int, bytes]] | None:
        return await _came(lambda done: self.outbox.load(seqs, done))

    async def recall(self, key: int) -> str | None:
        return await _came(lambda done: self.outbox.recall(key, done))

    def message(self, keys: tuple[int, int] | None = None, *memory: Recollection, forgets: int = 0) -> Acceptance:
        return Acceptance(self.outbox.number(), "lane", b"record", NOW, NOW + 60, keys, memory, forgets)


async def _came(start: Callable[[Callable[[Item], None]], None]) -> Item:
    future: asyncio.Future[Item] = asyncio.get_running_loop().create_future()
    start(future.set_result)
    return await asyncio.wait_for(future, 30)


def run(file: Path, story: Callable[[Running], Coroutine[Any, Any, None]]) -> None:
    """One run of the gateway over this file."""

    async def play() -> None:
        outbox = Outbox(file)
        try:
            await story(Running(outbox, outbox.start(asyncio.get_running_loop())))
        finally:
            outbox.close()

    asyncio.run(play())


# -- the way of a message ----------------------------------------------------------------------------------------------
def test_a_message_is_kept_read_and_settled(file: Path) -> None:
    async def first(it: Running) -> None:
        assert it.entries == []
        assert await it.commit(it.message(), it.message(), it.message()) == Committed()
        assert await it.load(3, 1, 99) == [(1, b"record"), (3, b"record")]
        await it.commit(settled=(1,), settlements=(Settlement(3, NOW + 5, 44, 1),))

    async def second(it: Running) -> None:
        assert [(entry.seq, entry.due_at, entry.number, entry.attempts) for entry in it.entries] == [(2, 0.0, 2, 0), (3, NOW + 5, 44, 1)]
        assert it.outbox.number() == 4

    run(file, first)
    run(file, second)


def test_a_follow_up_is_kept_with_the_settlement(file: Path) -> None:
    async def first(it: Running) -> None:
        await it.commit(it.message())
        await it.commit(settlements=(Settlement(1, follow_up=it.message()),))

    async def second(it: Running) -> None:
        assert [entry.seq for entry in it.entries] == [2]

    run(file, first)
    run(file, second)


def test_all_answers_come_on_the_loop(file: Path) -> None:
    async def thread_of(ask: Callable[[Callable[[object], None]], None]) -> int:
        return await _came(lambda done: ask(lambda _: done(threading.get_ident())))

    async def story(it: Running) -> None:
        asks: tuple[Callable[[Callable[[object], None]], None], ...] = (
            lambda done: it.outbox.commit([it.message()], (), (), done),
            lambda done: it.outbox.load((1,), done),
            lambda done: it.outbox.recall(1, done),
        )
        assert {await thread_of(ask) for ask in asks} == {threading.get_ident()}

    run(file, story)


def test_what_was_handed_in_is_finished_at_the_end(file: Path) -> None:
    async def hurry(it: Running) -> None:
        it.outbox.commit([it.message() for _ in range(20)], (), (), lambda _: None)

    async def later(it: Running) -> None:
        assert len(it.entries) == 20

    run(file, hurry)
    run(file, later)


# -- dedupe ------------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("MSG-19", "TXN-07")
def test_an_arrival_is_known_by_either_digest_for_five_minutes(file: Path, clock: Clock) -> None:
    async def story(it: Running) -> None:
        assert it.outbox.age(KEYS[0]) is None
        await it.commit(it.message(KEYS))
        clock.move(20)
        assert [it.outbox.age(key) for key in KEYS] == [20.0, 20.0]
        clock.move(DEDUPE_SECONDS - 20.5)
        assert [it.outbox.age(key) for key in KEYS] == [299.5, 299.5]
        assert it.outbox.age(12) is None
        clock.move(2 * DEDUPE_SECONDS)
        assert it.outbox.age(KEYS[0]) is None

    run(file, story)


@pytest.mark.requirement("MSG-19", "TXN-07", "REL-13")
@pytest.mark.parametrize("jump", [0.0, -86_400.0, 86_400.0])
def test_an_arrival_is_known_after_a_restart_whatever_the_clock_does(file: Path, clock: Clock, jump: float) -> None:
    async def first(it: Running) -> None:
        await it.commit(it.message(KEYS))
        await it.commit(settled=(1,))

    async def second(it: Running) -> None:
        for seconds in (0.0, DEDUPE_SECONDS - 1.0):
            clock.move(seconds)
            # That it was not in this run can be told by the age.
            assert all((it.outbox.age(key) or 0) >= DEDUPE_SECONDS for key in KEYS)

    run(file, first)
    clock.wall += jump
    clock.steady = 17.0
    run(file, second)


@pytest.mark.requirement("REL-03", "REL-04")
def test_a_message_that_was_not_kept_is_not_known_and_the_next_one_is_kept(file: Path, broken: Disk, clock: Clock) -> None:
    async def story(it: Running) -> None:
        broken.be_read_only()
        assert (await it.commit(it.message(KEYS))).fault
        assert await it.load(1) is None
        assert await it.recall(1) == ""
        assert it.outbox.age(KEYS[0]) is None
        broken.mend()
        assert await it.commit(it.message(KEYS)) == Committed()
        assert it.outbox.age(KEYS[0]) == 0.0

    run(file, story)


# -- what late answers need --------------------------------------------------------------------------------------------
@pytest.mark.requirement("SEC-43")
def test_a_request_is_recalled_until_it_is_used_up_or_old(file: Path, clock: Clock) -> None:
    def memory(key: int) -> Recollection:
        return Recollection("request", key, clock.wall + 600, f"facts {key}")

    async def first(it: Running) -> None:
        await it.commit(it.message(KEYS, memory(2**63 + 1)), it.message((5, 6), memory(2)))
        assert await it.recall(2**63 + 1) == f"facts {2**63 + 1}"
        assert await it.recall(3) == ""
        await it.commit(it.message(forgets=2))
        assert await it.recall(2) == ""

    async def second(it: Running) -> None:
        assert await it.recall(2) == ""
        assert await it.recall(2**63 + 1) == f"facts {2**63 + 1}"
        clock.move(601)
        assert await it.recall(2**63 + 1) == ""

    run(file, first)
    run(file, second)


def test_old_digests_and_recollections_leave_the_file(file: Path, clock: Clock) -> None:
    async def first(it: Running) -> None:
        await it.commit(it.message(KEYS, Recollection("request", 1, NOW + 600, "from somebody")))
        clock.move(601)
        await it.commit(it.message())
        it.outbox._sweep()
        await it.load()

    run(file, first)
    assert b"from somebody" not in file.read_bytes()

    async def second(it: Running) -> None:
        assert it.outbox.age(KEYS[0]) is None
        assert it.outbox.number() == 3

    run(file, second)


# -- the sequence, the secret ------------------------------------------------------------------------------------------
def test_the_secret_is_the_same_in_every_run(file: Path) -> None:
    secrets = []

    async def story(it: Running) -> None:
        secrets.append(it.outbox.secret())

    run(file, story)
    run(file, story)
    assert secrets[0] == secrets[1]


def test_a_fault_in_a_piece_of_work_does_not_end_the_thread(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(it: Running) -> None:
        with monkeypatch.context() as patch:
            patch.setattr("gateway.store.sqlite.crc32", lambda _: 1 / 0)
            assert (await it.commit(it.message())).fault
        assert await it.commit(it.message()) == Committed()
        assert await it.load(1, 2) == [(2, b"record")]

    run(file, story)


# -- one owner ---------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("REL-07")
def test_a_second_owner_is_refused_in_this_process_and_in_another(file: Path) -> None:
    async def story(_: Running) -> None:
        with pytest.raises(StoreFault, match="in use by another"):
            Outbox(file)
        with pytest.raises(StoreFault, match="in use by another"), locked(file.parent):
            pass
        program = f"from pathlib import Path; from gateway.store.outbox import Outbox; Outbox(Path({str(file)!r}))"
        command = [sys.executable, "-c", program]
        other = await asyncio.to_thread(subprocess.run, command, cwd=PROJECT, capture_output=True, text=True, timeout=60)
        assert other.returncode != 0
        assert "is in use by another stoxgate process" in other.stderr

    run(file, story)
    with locked(file.parent), pytest.raises(StoreFault):
        Outbox(file)


def test_an_outbox_that_could_not_be_opened_gives_its_lock_back(file: Path) -> None:
    file.write_bytes(b"no store" * 1000)
    for _ in range(2):
        with pytest.raises(StoreFault, match="not a database"):
            Outbox(file)
    file.unlink()

    async def story(it: Running) -> None:
        assert await it.commit(it.message()) == Committed()

    run(file, story)


def test_a_place_where_no_file_can_be_is_a_store_fault(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreFault, match=r"file/lock: "):
        Outbox(tmp_path / "file" / "outbox.db")
    (tmp_path / "outbox.db").mkdir()
    with pytest.raises(StoreFault, match=r"outbox.db: "):
        Outbox(tmp_path / "outbox.db")


@pytest.mark.requirement("SEC-47")
def test_the_lock_is_for_the_owner_alone(file: Path) -> None:
    @contextmanager
    def no_mask() -> Iterator[None]:
        mask = os.umask(0)
        yield
        os.umask(mask)

    with no_mask(), locked(file.parent / "var"):
        assert stat.S_IMODE((file.parent / "var" / "lock").stat().st_mode) == 0o600
