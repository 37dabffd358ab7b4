"""The control socket and the commands that speak over it, on a running gateway whose SIP next hop is down."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import socket
import stat
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.bridge import Bridge, bridge
from tests.cli.running import Done, run
from tests.peers.stoxgate import SIP_DOMAIN

pytestmark = pytest.mark.interop


@pytest.fixture(scope="module")
def it(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    """Nobody listens at the next hop, over TCP, unless a test opens a phone there."""
    with bridge(tmp_path_factory.mktemp("b"), transport="tcp") as running:
        yield running


def _ask(it: Bridge, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, str, Any]:
    """(status, Content-Type, JSON or octets)."""
    connection = http.client.HTTPConnection("gateway", timeout=10)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(10)
    connection.sock.connect(str(it.gateway.work / "var" / "control.sock"))
    connection.request(method, path, body, {"Content-Type": "application/json", **headers})
    answer = connection.getresponse()
    octets, kind = answer.read(), answer.getheader("Content-Type", "").partition(";")[0]
    connection.close()
    return answer.status, kind, json.loads(octets) if kind == "application/json" else octets


def _cli(it: Bridge, *words: str, stdin: bytes = b"") -> Done:
    return run(*words, stdin=stdin, config=it.gateway.config)


def _send(it: Bridge, sip_user: str, text: str) -> None:
    done = _cli(it, "send", "--from", "u0@xmpp.test", "--to", it.phone_uri(sip_user), text)
    assert done.returncode == 0, done


def _rows(it: Bridge, sip_user: str) -> list[dict[str, Any]]:
    """What waits for a SIP user."""
    rows = json.loads(_cli(it, "queue", "list", "--json").stdout)
    return [row for row in rows if row["lane"].endswith(f"{sip_user}@{SIP_DOMAIN}")]


def _long_waiting(it: Bridge, sip_user: str) -> list[dict[str, Any]]:
    """The same, once the first has been tried in vain so often, by `retry`, that it would not be tried again by itself for a while."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        _, _, queue = _ask(it, "GET", "/queue")
        rows = [row for row in queue if row["lane"].endswith(f"{sip_user}@{SIP_DOMAIN}")]
        if rows and rows[0]["attempts"] >= 5 and rows[0]["state"] == "waiting":
            return rows
        _ask(it, "POST", f"/queue/{rows[0]['seq']}/retry")
    raise TimeoutError(f"not tried: {rows}")


# -- the socket ----------------------------------------------------------------------------------------------------------
def test_only_its_owner_may_open_it(it: Bridge) -> None:
    found = (it.gateway.work / "var" / "control.sock").stat()
    assert stat.S_ISSOCK(found.st_mode)
    assert stat.S_IMODE(found.st_mode) == 0o600
    assert found.st_uid == os.getuid()


def test_health(it: Bridge) -> None:
    status, kind, health = _ask(it, "GET", "/health")
    assert (status, kind) == (200, "application/json")
    assert (health["ready"], health["links"]) == (True, {SIP_DOMAIN: True})
    assert health.keys() >= {"messages", "octets", "counters"}


@pytest.mark.parametrize(
    ("method", "path", "status", "reason"),
    [
        ("GET", "/nowhere", 404, "Not Found"),
        ("GET", "/", 404, "Not Found"),
        ("GET", "/queue/x", 404, "Not Found"),
        ("GET", "/queue/-1", 404, "Not Found"),
        ("GET", "/queue/1234567890123456789", 404, "Not Found"),
        ("POST", "/queue", 405, "Method Not Allowed"),
        ("GET", "/send", 405, "Method Not Allowed"),
        ("GET", "/queue/1/retry", 405, "Method Not Allowed"),
        ("DELETE", "/queue/1", 405, "Method Not Allowed"),
        ("GET", "/queue/999999999999999999", 404, "no message 999999999999999999"),
        ("POST", "/queue/999/retry", 404, "message 999 neither waits nor is parked"),
        ("POST", "/queue/999/drop", 404, "message 999 neither waits nor is parked"),
    ],
)
def test_a_wrong_method_or_path_has_a_reason(it: Bridge, method: str, path: str, status: int, reason: str) -> None:
    assert _ask(it, method, path) == (status, "application/json", {"reason": reason})


_SHAPE = "a JSON object with from, to and text is needed"


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (b"", 400, _SHAPE),
        (b"hello", 400, _SHAPE),
        (b"[]", 400, _SHAPE),
        (b"3", 400, _SHAPE),
        (b"null", 400, _SHAPE),
        (b'"from"', 400, _SHAPE),
        (b'{"from": "a", "to": "b"}', 400, _SHAPE),
        (b'{"from": "\xff", "to": "b", "text": "c"}', 400, _SHAPE),
        (b"[" * 100_000, 400, _SHAPE),
        (b'{"from": 1, "to": "b", "text": "c"}', 400, "from, to and text must be strings"),
        (b'{"from": "u0@xmpp.test", "to": "sip:s0@stoxgate.test", "text": null}', 400, "from, to and text must be strings"),
        (b" " * 300_000, 413, "Request Entity Too Large"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_wrong_body_has_a_reason(it: Bridge, body: bytes, status: int, reason: str) -> None:
    assert _ask(it, "POST", "/send", body) == (status, "application/json", {"reason": reason})


# -- send ----------------------------------------------------------------------------------------------------------------
def test_send_reaches_an_xmpp_user(it: Bridge) -> None:
    async def talk() -> None:
        async with it.user("u1") as juliet:
            words = ("--from", it.phone_uri("s1"), "--to", "u1@xmpp.test", "-")
            done = await asyncio.to_thread(_cli, it, "send", *words, stdin="Zażółć\ngęślą\n".encode())
            assert (done.returncode, done.stderr) == (0, b""), done
            assert done.stdout.startswith(b"accepted, trace id ")
            stanza = await juliet.message()
            assert b"from='s1@stoxgate.test'" in stanza.replace(b'"', b"'")
            assert "<body>Zażółć\ngęślą</body>".encode() in stanza
            done = await asyncio.to_thread(_cli, it, "send", "--json", *words[:-1], "once more")
            assert json.loads(done.stdout).keys() == {"trace_id"}
            assert b"<body>once more</body>" in await juliet.message()

    asyncio.run(talk())


@pytest.mark.parametrize(
    ("sender", "recipient", "reason"),
    [
        ("sip:a@stoxgate.test", "sip:b@stoxgate.test", "a@stoxgate.test and b@stoxgate.test live on the same side"),
        ("sip:a@elsewhere.test", "u0@xmpp.test", "sip:a@elsewhere.test is nobody that is served here"),
        ("u0@xmpp.test", "sip:b@[::1", '"sip:b@[::1": Bad SIP URI (RFC 3261 section 19.1.1)'),
        ("u0@xmpp.test", "b@\x1b[2J", '"b@\\x1b[2J": Bad domain (RFC 1123 section 2.1)'),
    ],
)
def test_send_says_why_not(it: Bridge, sender: str, recipient: str, reason: str) -> None:
    done = _cli(it, "send", "--from", sender, "--to", recipient, "hi")
    assert (done.returncode, done.stdout, done.stderr.decode()) == (1, b"", f"stoxgate: {reason}\n")


def test_send_refuses_what_the_far_side_cannot_take(it: Bridge) -> None:
    done = _cli(it, "send", "--from", "u0@xmpp.test", "--to", it.phone_uri("s9"), "x" * 1400)
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"stoxgate: SIP MESSAGE limit is 1300 octets\n")
    assert _rows(it, "s9") == []


# -- queue ---------------------------------------------------------------------------------------------------------------
def test_what_waits_for_a_next_hop_that_is_down_is_listed_shown_and_delivered_on_retry(it: Bridge) -> None:
    _send(it, "s2", "first")
    _send(it, "s2", "second")
    rows = _long_waiting(it, "s2")
    assert [row["attempts"] > 0 for row in rows] == [True, False]
    assert rows[0]["due_in"] > 30
    assert rows[0]["reason"]
    seq = str(rows[0]["seq"])
    listed = _cli(it, "queue", "list").stdout.decode().splitlines()
    assert any(line.split()[:2] == [seq, "waiting"] for line in listed)
    shown = _cli(it, "queue", "show", seq)
    assert shown.stdout.endswith(b"\r\n\r\nfirst")
    assert json.loads(_cli(it, "queue", "show", "--json", seq).stdout) == {"seq": int(seq), "message": shown.stdout.decode()}
    assert _ask(it, "GET", f"/queue/{seq}") == (200, "message/cpim", shown.stdout)

    async def talk() -> None:
        async with it.phone() as romeo:
            done = await asyncio.to_thread(_cli, it, "queue", "retry", seq)
            assert (done.returncode, done.stdout) == (0, f"message {seq}: retry done\n".encode())
            got = [(await romeo.requests.next()).data.rpartition(b"\r\n\r\n")[2] for _ in range(2)]
            assert got == [b"first", b"second"]

    asyncio.run(talk())
    deadline = time.monotonic() + 10
    while _rows(it, "s2"):
        assert time.monotonic() < deadline
    gone = _cli(it, "queue", "show", seq)
    assert (gone.returncode, gone.stdout, gone.stderr.decode()) == (1, b"", f"stoxgate: no message {seq}\n")


def test_what_is_dropped_is_never_sent_and_the_rest_is(it: Bridge) -> None:
    for text in ("keep", "drop me", "keep too"):
        _send(it, "s3", text)
    first, second, third = (str(row["seq"]) for row in _long_waiting(it, "s3"))
    done = _cli(it, "queue", "drop", second)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"message {second}: drop done\n".encode(), b"")
    assert [str(row["seq"]) for row in _rows(it, "s3")] == [first, third]
    again = _cli(it, "queue", "drop", second)
    assert (again.returncode, again.stdout) == (1, b"")

    async def talk() -> None:
        async with it.phone() as romeo:
            done = await asyncio.to_thread(_cli, it, "queue", "retry", "--json", first)
            assert json.loads(done.stdout) == {"seq": int(first), "done": "retry"}
            got = [(await romeo.requests.next()).data.rpartition(b"\r\n\r\n")[2] for _ in range(2)]
            assert got == [b"keep", b"keep too"]
            assert romeo.requests.waiting == []

    asyncio.run(talk())


def test_many_at_once_get_each_an_answer(it: Bridge) -> None:
    """The commands of several operators do not get into each other's way."""

    async def all_of_them() -> list[tuple[int, str, Any]]:
        return await asyncio.gather(*(asyncio.to_thread(_ask, it, "GET", "/queue") for _ in range(20)))

    assert {status for status, _, _ in asyncio.run(all_of_them())} == {200}


# -- peers ---------------------------------------------------------------------------------------------------------------
def test_what_is_pinned_over_the_socket_is_known_and_forgotten(it: Bridge) -> None:
    body = json.dumps({"address": "sip:p1@stoxgate.test", "takes": {"cpim": False, "html": None}}).encode()
    assert _ask(it, "POST", "/peers/pin", body)[::2] == (200, {"address": "sip:p1@stoxgate.test"})
    status, _, rows = _ask(it, "GET", "/peers?address=p1%40stoxgate.test")
    assert status == 200
    assert [(row["address"], row["feature"], row["takes"], row["source"]) for row in rows] == [
        ("p1@stoxgate.test", "cpim", False, "pinned")
    ]
    assert rows[0]["until"] > time.time() + 364 * 86_400
    forget = json.dumps({"address": "sip:p1@stoxgate.test"}).encode()
    assert _ask(it, "POST", "/peers/forget", forget)[0] == 200
    assert _ask(it, "POST", "/peers/forget", forget)[::2] == (404, {"reason": "nothing is known of sip:p1@stoxgate.test"})
    assert _ask(it, "GET", "/peers")[2] == []


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/peers/pin", b"", 400),
        ("/peers/pin", b"[]", 400),
        ("/peers/pin", b'{"address": 7, "takes": {}}', 400),
        ("/peers/pin", b'{"address": "sip:a@stoxgate.test"}', 400),
        ("/peers/pin", b'{"address": "sip:a@stoxgate.test", "takes": ["cpim"]}', 400),
        ("/peers/pin", b'{"address": "sip:a@stoxgate.test", "takes": {"cpim": 1}}', 400),
        ("/peers/pin", b'{"address": "sip:a@stoxgate.test", "takes": {"smell": true}}', 400),
        ("/peers/pin", b'{"address": "sip:a@b@c", "takes": {"cpim": true}}', 422),
        ("/peers/forget", b"{", 400),
        ("/peers/forget", b"{}", 400),
        ("/peers/forget", b'{"address": "u0@xmpp.test"}', 422),
    ],
)
def test_peers_that_cannot_be(it: Bridge, path: str, body: bytes, status: int) -> None:
    found, kind, answer = _ask(it, "POST", path, body)
    assert (found, kind, list(answer)) == (status, "application/json", ["reason"])
