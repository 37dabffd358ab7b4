"""What reaches the disk before a commit is reported, as the kernel sees it (REL-02, REL-05)."""

from __future__ import annotations

import re
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from gateway.store.sqlite import SqliteStore
from tests.peers.programs import PROJECT, tree_of
from tests.store.test_crash import Reported

WARM_UP = 3
COMMITS = 12
_CALL = re.compile(r"^\d+ +(\w+)\((\d+)")


def trace(work: Path, group: int, *options: str) -> tuple[list[str], list[str]]:
    """(what a committer reported, the system calls that it made). options: more of strace."""
    log = work / "trace"
    calls = "trace=openat,mkdir,fsync,fdatasync,write,pwrite64"
    command = [
        tree_of("strace").program("strace"),
        "-f",
        "-qq",
        "-e",
        calls,
        *options,
        "-o",
        str(log),
        sys.executable,
        "-m",
        "tests.store.committer",
        str(work / "var" / "outbox.db"),
        str(group),
        str(COMMITS),
    ]
    said = subprocess.run(command, capture_output=True, text=True, cwd=PROJECT, timeout=60, check=True)
    return said.stdout.splitlines(), log.read_text().splitlines()


def commits(calls: list[str]) -> list[list[str]]:
    """The names of the disk calls between each report and the next."""
    groups: list[list[str]] = [[]]
    for line in calls:
        if found := _CALL.match(line):
            if found.group(1, 2) == ("write", "1"):
                groups.append([])
            elif found[1] in ("fsync", "fdatasync", "pwrite64"):
                groups[-1].append(found[1])
    return groups


@pytest.mark.requirement("REL-02", "MSG-12")
def test_a_group_of_50_is_one_sync_and_it_comes_before_the_report(tmp_path: Path) -> None:
    reports, calls = trace(tmp_path, 50)
    assert len(reports) == COMMITS + 1
    for names in commits(calls)[1 + WARM_UP : -1]:
        writes = names[:-1]
        assert len(writes) > 1
        assert set(writes) == {"pwrite64"}
        assert names[-1] in ("fdatasync", "fsync")


@pytest.mark.requirement("REL-02")
def test_the_names_of_new_files_are_on_disk_before_the_first_report(tmp_path: Path) -> None:
    _, calls = trace(tmp_path, 1)
    before_report = calls[: next(at for at, line in enumerate(calls) if '"ready' in line)]
    opened: dict[str, str] = {}
    synced: list[str] = []
    for line in before_report:
        if opening := re.search(r'openat\(AT_FDCWD, "([^"]*)".* = (\d+)$', line):
            opened[opening[2]] = opening[1]
        elif sync := re.match(r"\d+ +fd?a?t?a?sync\((\d+)\) += 0", line):
            synced.append(opened[sync[1]])
    assert {str(tmp_path), str(tmp_path / "var")} <= set(synced)
    # SQLite itself syncs the name of its log.
    assert synced.count(str(tmp_path / "var")) >= 2


@pytest.mark.requirement("REL-05", "REL-03")
@pytest.mark.parametrize("when", ["14", "14..15", "14..18"])
def test_what_could_not_be_synced_is_refused_and_stays_away(tmp_path: Path, when: str) -> None:
    reports, calls = trace(tmp_path, 10, "-e", f"inject=fdatasync:error=EIO:when={when}")
    assert any("EIO" in line for line in calls)
    reported = Reported()
    reported.read(reports)
    assert reported.refused
    assert reports[-1].startswith("kept")
    with closing(SqliteStore(tmp_path / "var" / "outbox.db")) as store:
        assert {entry.seq for entry in store.entries()} == reported.owed
        assert {digest // 2 for _, digests in store.arrivals() for digest in digests} == reported.kept
