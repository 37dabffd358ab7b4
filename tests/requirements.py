"""Which requirement numbers no test names yet, and why: `python -m tests.requirements [--later] [PREFIX...]`.

The numbers are those of docs/requirements.toml, the reasons those of docs/conformance.md; a test names its own with
`@pytest.mark.requirement("MSG-19", ...)`. The tests are collected, not run. Exit status 1 when they cannot be collected, name a number
that is not on the list, or prove one that the page calls unproven.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import re
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[1] / "docs"
_REASON = re.compile(r"^\| ([A-Z]+-[0-9A-Zx]+) \| (.+) \|$", re.M)


@dataclass(frozen=True, slots=True)
class Requirement:
    """One row of the list. later: not part of the first product."""

    number: str
    level: str
    text: str
    later: bool = False

    @property
    def prefix(self) -> str:
        return self.number.partition("-")[0]


def read_list() -> dict[str, Requirement]:
    """Every requirement by its number."""
    prefixes = tomllib.loads((DOCS / "requirements.toml").read_text())
    return {number: Requirement(number, **row) for rows in prefixes.values() for number, row in rows.items()}


def reasons() -> dict[str, str]:
    """number -> why no test names it."""
    return dict(_REASON.findall((DOCS / "conformance.md").read_text()))


def numbers_of(item: pytest.Item) -> tuple[str, ...]:
    """The requirement numbers that a collected test names."""
    return tuple(str(number) for mark in item.iter_markers("requirement") for number in mark.args)


class _Collector:
    """A pytest plugin that notes the numbers of all collected tests."""

    def __init__(self) -> None:
        self.numbers: set[str] = set()

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.numbers.update(number for item in session.items for number in numbers_of(item))


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="tests.requirements", description="Requirement numbers without a test.")
    parser.add_argument("prefixes", nargs="*", metavar="PREFIX", help="only these, as MSG or CPIM")
    parser.add_argument("--later", action="store_true", help="also those that are later work")
    options = parser.parse_args(arguments)
    collector, said = _Collector(), io.StringIO()
    with contextlib.redirect_stdout(said):
        status = pytest.main(["--collect-only", "-qq"], plugins=[collector])
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        print(said.getvalue(), file=sys.stderr)
        return 1
    wanted = [
        row
        for row in read_list().values()
        if row.level != "withdrawn" and (options.later or not row.later) and (not options.prefixes or row.prefix in options.prefixes)
    ]
    missing = [row for row in wanted if row.number not in collector.numbers]
    why = reasons()
    for row in missing:
        print(f"{row.number:<9} {row.level:<10} {row.text}" + (f"\n{'':20} {why[row.number]}" if row.number in why else ""))
    known = sum(row.number in why for row in missing)
    have = len(wanted) - len(missing)
    print(f"{have} of {len(wanted)} have a test; {len(missing)} have none, {known} of them for a reason that docs/conformance.md gives")
    stale = sorted(collector.numbers & why.keys())
    if stale:
        print(f"docs/conformance.md says that these have no test, but they have: {' '.join(stale)}", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
