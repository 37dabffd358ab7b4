"""stoxgate send without a gateway, and its arguments; with one it is in tests/admin."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from .running import misused, run, said, written

ENDS = ("--from", "sip:tomas@sip.example", "--to", "mira@xmpp.example")


@pytest.mark.parametrize(("words", "missing"), [(("hi",), "'--from'"), (("--from", "a", "hi"), "'--to'"), (ENDS, "'TEXT'")])
def test_what_is_missing_is_named(words: tuple[str, ...], missing: str) -> None:
    assert missing in misused(run("send", *words))


@pytest.mark.parametrize("words", [("send", *ENDS, "hi"), ("send", "--json", *ENDS, "hi")])
def test_without_a_gateway_it_says_how_to_start_one(words: tuple[str, ...], tmp_path: Path) -> None:
    line = said(run(*words, config=written(tmp_path)), 2)
    assert line == f"no gateway is running on {tmp_path}/var; start one with `stoxgate run`"
    assert not (tmp_path / "var").exists()


def test_a_socket_that_a_killed_gateway_left_is_no_gateway(tmp_path: Path) -> None:
    config = written(tmp_path)
    (tmp_path / "var").mkdir()
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "var" / "control.sock"))
    assert said(run("send", *ENDS, "hi", config=config), 2).startswith("no gateway is running on ")


@pytest.mark.parametrize("answer", [b"", b"what?\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"])
def test_something_else_on_the_socket_is_no_traceback(answer: bytes, tmp_path: Path) -> None:
    config = written(tmp_path)
    (tmp_path / "var").mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "var" / "control.sock"))
        server.listen()
        thread = threading.Thread(target=_answer, args=(server, answer))
        thread.start()
        assert said(run("send", *ENDS, "hi", config=config), 2).startswith(f"{tmp_path}/var/control.sock: ")
        thread.join()


def _answer(server: socket.socket, answer: bytes) -> None:
    peer, _ = server.accept()
    with peer:
        peer.recv(65_536)
        peer.sendall(answer)


def test_a_text_that_is_not_utf_8(tmp_path: Path) -> None:
    assert said(run("send", *ENDS, "-", stdin=b"\xff", config=written(tmp_path)), 1) == "-: the text is not UTF-8"
    assert misused(run("send", *ENDS, "-", "-c", "-", stdin=b"x")).startswith("standard input cannot be both")
