"""stoxgate run: what it says when it cannot start, when the XMPP server will not have it, and to signals."""

from __future__ import annotations

import http.client
import json
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.peers.process import free_port
from tests.peers.prosody import Prosody
from tests.peers.stoxgate import SIP_DOMAIN, Stoxgate


class _Alone(Stoxgate):
    """A gateway that is ready when it has started, whether or not it reaches the XMPP server."""

    def wait_ready(self, limit: float = 20.0) -> None:
        self.wait_for('"event": "started"', limit)


def _gateway(folder: Path, **changes: object) -> _Alone:
    return _Alone(folder, **{"component_port": free_port()} | changes)  # type: ignore[arg-type]


def _fails(gateway: Stoxgate) -> str:
    """The one line that it says when it cannot start; the exit code is 2."""
    gateway.start()
    assert gateway.wait_end() == 2
    lines = gateway.log.read_text("utf-8").splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("stoxgate: ")
    return lines[0].removeprefix("stoxgate: ")


def _health(gateway: Stoxgate) -> tuple[int, dict[str, object]]:
    connection = http.client.HTTPConnection("gateway")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(gateway.work / "var" / "control.sock"))
    connection.request("GET", "/health")
    answer = connection.getresponse()
    found = answer.status, json.loads(answer.read())
    connection.close()
    return found


@pytest.mark.parametrize(
    ("kind", "place"),
    [(socket.SOCK_DGRAM, "sip.listen[0]: cannot listen on udp"), (socket.SOCK_STREAM, "sip.listen[1]: cannot listen on tcp")],
)
def test_a_port_that_is_in_use(tmp_path: Path, kind: socket.SocketKind, place: str) -> None:
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            taken.listen()
        port = taken.getsockname()[1]
        gateway = _gateway(tmp_path, port=port)
        assert _fails(gateway) == f"{gateway.config}:{place}:127.0.0.1:{port}: Address already in use"


def test_a_data_dir_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "var").write_text("a file")
    gateway = _gateway(tmp_path)
    assert _fails(gateway) == f"{gateway.config}:gateway.data_dir: {tmp_path}/var cannot be written to: File exists"


def test_a_store_that_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "var").mkdir()
    (tmp_path / "var" / "outbox.db").write_bytes(b"shopping list " * 100)
    assert _fails(_gateway(tmp_path)) == f"{tmp_path}/var/outbox.db: file is not a database"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Alone]:
    with _gateway(tmp_path_factory.mktemp("running")) as gateway:
        yield gateway


@pytest.mark.requirement("REL-07")
@pytest.mark.parametrize("store", ["", 'url = "sqlite:///other/outbox.db"'])
def test_a_second_gateway_on_the_same_data_dir(running: _Alone, store: str) -> None:
    """Also when its outbox lies elsewhere: the control socket has one owner."""
    other = _gateway(running.work, sections={"store": store})
    other.log = running.work / f"other{bool(store)}.log"
    assert _fails(other) == f"{running.work}/var is in use by another stoxgate process"
    assert _health(running)[0] == 503


def test_a_hangup_is_not_fatal_and_says_that_nothing_was_read(running: _Alone) -> None:
    assert running.popen is not None
    running.popen.send_signal(signal.SIGHUP)
    line = json.loads(running.wait_for(r"\{[^\n]*SIGHUP[^\n]*\n")[0])
    assert line["level"] == "warning"
    assert line["event"] == "SIGHUP: the configuration is read at start only; restart to use a changed one"
    assert _health(running)[0] == 503


@pytest.mark.interop
@pytest.mark.requirement("REL-08")
def test_a_wrong_secret_is_said_and_tried_again(tmp_path: Path) -> None:
    with Prosody(tmp_path / "server", users={}, components={SIP_DOMAIN: "another"}) as server:
        with _gateway(tmp_path / "gateway", component_port=server.component_port) as gateway:
            line = json.loads(gateway.wait_for(r"\{[^\n]*component link is down[^\n]*\n")[0])
            gateway.wait_for("component link is down")
            health = _health(gateway)
            assert gateway.stop() == 0
        said = gateway.log.read_text("utf-8")
    assert line["reason"] == "the server refuses the component secret"
    assert 1.0 <= line["retry_in"] <= 2.0
    assert health[0] == 503
    assert (health[1]["ready"], health[1]["links"]) == (False, {SIP_DOMAIN: False})
    assert "Traceback" not in said
    assert "hush" not in said


@pytest.mark.requirement("REL-25")
def test_an_interrupt_ends_it_with_0(tmp_path: Path) -> None:
    with _gateway(tmp_path) as gateway:
        assert gateway.stop(signal.SIGINT) == 0
        assert json.loads(gateway.log.read_text("utf-8").splitlines()[-1])["event"] == "stopped"


@pytest.mark.requirement("REL-25")
def test_a_socket_that_a_kill_left_hinders_nothing_an_end_leaves_none_and_damage_is_said(tmp_path: Path) -> None:
    left, store = tmp_path / "var" / "control.sock", tmp_path / "var" / "outbox.db"
    with _gateway(tmp_path) as gateway:
        gateway.kill()
        assert left.exists()
        gateway.start()
        gateway.wait_ready()
        assert _health(gateway)[0] == 503
        assert gateway.stop() == 0
    assert not left.exists()
    octets = store.read_bytes()
    store.write_bytes(octets[:100] + b"\xff" * 3996 + octets[4096:])
    again = _gateway(tmp_path)
    again.log = tmp_path / "again.log"
    assert _fails(again) == f"{store}: database disk image is malformed"
