"""Starting, watching and ending a program, with programs that every system has."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.peers.process import NotReady, Process, fill, free_port


def test_says_what_a_program_printed_before_it_died(tmp_path: Path) -> None:
    process = Process(["sh", "-c", "echo no luck; exit 3"], tmp_path / "log")
    process.start()
    with pytest.raises(NotReady, match=r"(?s)has ended with 3.*no luck"):
        process.wait_for("ready\n", limit=10)
    assert process.stop() == 3


def test_waiting_has_a_limit(tmp_path: Path) -> None:
    process = Process(["sh", "-c", "echo one; read line"], tmp_path / "log")
    process.start()
    process.wait_for("one\n")
    with pytest.raises(NotReady, match="is still running"):
        process.wait_for("two\n", limit=0.05)
    process.write(b"\n")
    assert process.wait_end() == 0


def test_free_ports_differ() -> None:
    ports = {free_port() for _ in range(50)}
    assert len(ports) == 50


def test_kill_takes_the_whole_session(tmp_path: Path) -> None:
    process = Process(["sh", "-c", "sleep 100 & sleep 100 & echo started; wait"], tmp_path / "log")
    process.start()
    process.wait_for("started\n")
    assert len(process.pids()) == 3
    assert process.stop(signal.SIGKILL) == -signal.SIGKILL
    assert process.pids() == []


def test_waits_for_several_lines_in_any_order(tmp_path: Path) -> None:
    process = Process(["sh", "-c", "echo two; echo one; echo three; read line"], tmp_path / "log")
    with process:
        process.wait_for_each("one\n", "two\n")
        process.wait_for("three\n")
        with pytest.raises(NotReady):
            process.wait_for("one\n", limit=0.05)


def test_a_template_word_without_a_value_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "template").write_text("listen=@host@:@port@ as=u0@example.net\n")
    fill(tmp_path / "template", tmp_path / "filled", {"host": "127.0.0.1", "port": 5060})
    assert (tmp_path / "filled").read_text() == "listen=127.0.0.1:5060 as=u0@example.net\n"
    with pytest.raises(KeyError, match="port"):
        fill(tmp_path / "template", tmp_path / "filled", {"host": "127.0.0.1"})
