"""Markers, and the rule that in CI no proof may be skipped.

    @pytest.mark.requirement("MSG-19")    numbers of docs/requirements.toml that the test proves
    @pytest.mark.interop                  runs beside a real peer (tests/peers)
    @pytest.mark.vectors                  reads the test vectors

A test that asks for a program that is not there is skipped. With STOXGATE_CI=1 a test that carries one of these markers fails instead
of being skipped, a test file that skips itself fails, and so does a run without one interop test.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable

import pytest

from tests.peers.programs import ProgramMissing
from tests.requirements import numbers_of, read_list

IN_CI = os.environ.get("STOXGATE_CI") == "1"
PROOFS = ("requirement", "interop", "vectors")
_interop_tests_run = pytest.StashKey[int]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_interop_tests_run] = 0
    for line in ("interop: runs beside a real peer", "vectors: reads the test vectors"):
        config.addinivalue_line("markers", line)


def pytest_collection_modifyitems(items: Iterable[pytest.Item]) -> None:
    """A number that is on no list proves nothing: stop before running anything."""
    known = read_list()
    wrong = sorted({f"{item.nodeid} names {number}" for item in items for number in numbers_of(item) if number not in known})
    if wrong:
        raise pytest.UsageError("numbers that docs/requirements.toml does not have:\n  " + "\n  ".join(wrong))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if call.excinfo is not None and call.excinfo.errisinstance(ProgramMissing):
        report.outcome = "skipped"
        report.longrepr = (str(item.path), item.location[1] or 0, f"Skipped: {call.excinfo.value}")
    if item.get_closest_marker("interop") and report.when == "call" and not report.skipped:
        item.config.stash[_interop_tests_run] += 1
    if report.skipped and not hasattr(report, "wasxfail") and any(item.get_closest_marker(name) for name in PROOFS):
        _fail_in_ci(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if report.skipped:
        _fail_in_ci(report)
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    if IN_CI and not session.config.stash[_interop_tests_run] and not session.config.option.collectonly:
        session.config.get_terminal_writer().line("\nSTOXGATE_CI=1, but no interop test has run", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _fail_in_ci(report: pytest.TestReport | pytest.CollectReport) -> None:
    if IN_CI:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome, report.longrepr = "failed", f"may not be skipped in CI: {reason}"
