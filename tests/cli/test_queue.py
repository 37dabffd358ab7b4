"""stoxgate queue on a stopped gateway: what an operator finds after a crash, and before the next start."""

from __future__ import annotations

import fcntl
import json
import shutil
from pathlib import Path

import pytest

from tests.peers.process import free_port
from tests.peers.stoxgate import Stoxgate

from .running import Done, misused, printed, run, said, written


class _Alone(Stoxgate):
    """A gateway that has no XMPP server: what comes from SIP waits."""

    def wait_ready(self, limit: float = 20.0) -> None:
        self.wait_for('"event": "started"', limit)


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a gateway that was killed while three messages waited for the XMPP side."""
    folder = tmp_path_factory.mktemp("queue")
    with _Alone(folder, component_port=free_port()) as gateway:
        for number in range(3):
            done = gateway.cli("send", "--from", "sip:s0@stoxgate.test", "--to", f"u{number}@xmpp.test", f"message {number}")
            assert done.returncode == 0, done
        gateway.kill()
    return folder


@pytest.fixture
def config(left: Path, tmp_path: Path) -> Path:
    """A copy of it for each test."""
    shutil.copytree(left, tmp_path / "g", ignore=shutil.ignore_patterns("*.sock"))
    return tmp_path / "g" / "gateway.toml"


def _queue(config: Path, *words: str) -> Done:
    return run("queue", *words, config=config)


def _seqs(config: Path) -> list[int]:
    return [row["seq"] for row in json.loads(printed(_queue(config, "list", "--json")))]


@pytest.mark.requirement("REL-01")
def test_what_was_accepted_is_there_after_a_kill(config: Path) -> None:
    rows = json.loads(printed(_queue(config, "list", "--json")))
    assert [row["lane"] for row in rows] == [f"xmpp u{number}@xmpp.test s0@stoxgate.test" for number in range(3)]
    assert {(row["state"], row["attempts"]) for row in rows} == {("waiting", 0)}
    assert all(row.keys() == {"seq", "lane", "state", "attempts", "octets", "due_in", "status", "reason"} for row in rows)


def test_the_list_for_people(config: Path) -> None:
    lines = printed(_queue(config, "list")).splitlines()
    assert lines[0] == "3 message(s)"
    assert lines[1].split() == ["seq", "state", "tries", "due", "octets", "lane", "last", "answer"]
    assert "waiting" in lines[3]
    assert "xmpp u0@xmpp.test s0@stoxgate.test" in lines[3]


def test_show_prints_the_message_as_it_is_kept(config: Path) -> None:
    seq = str(_seqs(config)[1])
    kept = _queue(config, "show", seq)
    assert (kept.returncode, kept.stderr) == (0, b"")
    assert kept.stdout.endswith(b"\r\n\r\nmessage 1")
    assert json.loads(printed(_queue(config, "show", "--json", seq))) == {"seq": int(seq), "message": kept.stdout.decode()}
    assert printed(run("inspect", stdin=kept.stdout)).startswith("message/cpim, valid: message/cpim\n")


def test_drop_takes_out_one_message(config: Path) -> None:
    first, second, third = _seqs(config)
    assert printed(_queue(config, "drop", str(second))) == f"message {second}: drop done\n"
    assert _seqs(config) == [first, third]
    assert json.loads(printed(_queue(config, "drop", "--json", str(third)))) == {"seq": third, "done": "drop"}
    assert _seqs(config) == [first]


def test_retry_makes_it_due_at_the_next_start(config: Path) -> None:
    seq = str(_seqs(config)[0])
    assert printed(_queue(config, "retry", seq)) == f"message {seq}: retry done\n"
    assert json.loads(printed(_queue(config, "list", "--json")))[0]["due_in"] == 0.0


@pytest.mark.parametrize("verb", ["show", "retry", "drop"])
def test_a_message_that_is_not_there(verb: str, config: Path) -> None:
    assert said(_queue(config, verb, "999999"), 1) == "no message 999999"
    assert "is not a valid integer" in misused(_queue(config, verb, "x"))
    assert "is not in the range" in misused(_queue(config, verb, "0"))
    assert misused(_queue(config, verb)) == "Missing argument 'SEQ'."


@pytest.mark.requirement("REL-06")
def test_a_damaged_message_is_said_to_be_damaged(config: Path) -> None:
    seq = _seqs(config)[0]
    _spoil(config.parent / "var" / "outbox.db", b"message 0", b"MESSAGE 0")
    assert said(_queue(config, "show", str(seq)), 1) == f"message {seq} is damaged: its checksum does not hold"


def _spoil(file: Path, old: bytes, new: bytes) -> None:
    """Change octets of the store, in the file or in its log."""
    for path in (file, file.with_name(file.name + "-wal")):
        if path.exists():
            path.write_bytes(path.read_bytes().replace(old, new))


@pytest.mark.requirement("REL-07")
def test_a_store_that_is_in_use_is_left_alone(config: Path) -> None:
    with (config.parent / "var" / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert said(_queue(config, "list"), 2) == f"{config.parent}/var is in use by another stoxgate process"
    assert len(_seqs(config)) == 3


def test_before_the_first_start_there_is_nothing_and_nothing_is_made(tmp_path: Path) -> None:
    config = written(tmp_path)
    assert printed(_queue(config, "list")) == "0 message(s)\n"
    assert printed(_queue(config, "list", "--json")) == "[]\n"
    assert said(_queue(config, "drop", "1"), 1) == "no message 1"
    assert not (tmp_path / "var").exists()


def test_a_file_that_is_no_store(tmp_path: Path) -> None:
    config = written(tmp_path)
    (tmp_path / "var").mkdir()
    (tmp_path / "var" / "outbox.db").write_bytes(b"shopping list " * 100)
    assert said(_queue(config, "list"), 2) == f"{tmp_path}/var/outbox.db: file is not a database"
