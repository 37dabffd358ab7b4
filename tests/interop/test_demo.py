"""The demo: it shows both messages, stays until it is told to end, and leaves neither process nor file behind."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.peers.process import Process
from tests.peers.programs import PROJECT

pytestmark = pytest.mark.interop


def demo(folder: Path, *arguments: str) -> Process:
    """The demo, which makes its own folder in `folder`."""
    environment = os.environ | {"TMPDIR": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    return Process([sys.executable, "-m", "tests.demo", *arguments], folder.with_suffix(".log"), PROJECT, environment)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short path: the control socket of the gateway has to fit in it."""
    with TemporaryDirectory() as outer:
        folder = Path(outer, "d")
        folder.mkdir()
        yield folder


def left_in(folder: Path) -> tuple[list[str], list[str]]:
    """Files that the demo left, and commands of living processes that it started."""
    commands = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):
            command = Path(f"/proc/{entry}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            if str(folder) in command:
                commands.append(command)
    return os.listdir(folder), commands


def test_shows_both_messages_and_ends(folder: Path) -> None:
    process = demo(folder, "--once")
    process.start()
    assert process.wait_end() == 0
    shown = process.printed
    assert "| MESSAGE sip:juliet@example.com SIP/2.0\n" in shown
    assert "| SIP/2.0 202 Accepted\n" in shown
    assert "<body>Shall I hear more, or shall I speak at this?</body>" in shown
    assert "| MESSAGE sip:romeo@example.net SIP/2.0\n" in shown
    assert shown.endswith("| Good night, good night! Parting is such sweet sorrow \N{EM DASH} <3\n")
    assert "\x1b" not in shown
    assert left_in(folder) == ([], [])


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT], ids=["term", "ctrl-c"])
def test_stays_until_it_is_told_to_end(end: signal.Signals, folder: Path) -> None:
    process = demo(folder)
    process.start()
    config = process.wait_for(r"configuration +(.+)\n")[1]
    log = process.wait_for(r"log +(.+)\n")[1]
    process.wait_for("Ctrl-C ends all of it")
    assert Path(config).is_file()
    assert Path(log).is_file()
    assert process.stop(end) == 0
    assert left_in(folder) == ([], [])


def test_says_why_it_failed(folder: Path) -> None:
    far = folder / ("x" * 100)  # too long a path for a Unix socket
    far.mkdir()
    process = demo(far)
    process.start()
    assert process.wait_end() == 1
    assert "the demo failed: " in process.printed
    assert "too long" in process.printed
    assert left_in(far) == ([], [])


def test_says_when_a_program_of_it_dies(folder: Path) -> None:
    process = demo(folder)
    process.start()
    config = process.wait_for(r"configuration +(.+)\n")[1]
    process.wait_for("Ctrl-C ends all of it")
    gateway = next(
        int(entry)
        for entry in filter(str.isdigit, os.listdir("/proc"))
        if f"run\0-c\0{config}".encode() in Path(f"/proc/{entry}/cmdline").read_bytes()
    )
    os.kill(gateway, signal.SIGKILL)
    assert process.wait_end() == 1
    assert "stoxgate has ended" in process.printed
    assert left_in(folder) == ([], [])
