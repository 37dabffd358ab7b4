"""Each peer starts, answers, stops, and leaves no process and no file outside its folder."""

from __future__ import annotations

import asyncio
import os
import re
import select
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.peers import wire
from tests.peers.baresip import Baresip
from tests.peers.ejabberd import Ejabberd
from tests.peers.kamailio import Kamailio
from tests.peers.process import Process
from tests.peers.profanity import Profanity
from tests.peers.prosody import Prosody
from tests.peers.sipp import Sipp
from tests.peers.trace import strays, traced

pytestmark = pytest.mark.interop
Server = Prosody | Ejabberd
USERS = {"u0": "secret", "u1": "secret"}
COMPONENTS = {"stoxgate.test": "hush"}
SERVERS = pytest.mark.parametrize("kind", [Prosody, Ejabberd])
TRANSPORTS = pytest.mark.parametrize("transport", ["udp", "tcp"])


def server_of(kind: type[Server], work: Path) -> Server:
    return kind(work, users=USERS, components=COMPONENTS)


PEERS: dict[str, Callable[[Path], Process]] = {
    "prosody": lambda work: server_of(Prosody, work),
    "ejabberd": lambda work: server_of(Ejabberd, work),
    "kamailio": lambda work: Kamailio(work, gateway="127.0.0.1:9"),
    "sipp": Sipp.answering,
    "baresip": lambda work: Baresip(work, "s0@stoxgate.test", proxy="127.0.0.1:9", contacts=["sip:u0@xmpp.test"], registers=False),
    "profanity": Profanity,
}
EACH_PEER = pytest.mark.parametrize("name", PEERS)


def processes_of(work: Path) -> set[int]:
    """Every living process that was started with `work` as its home, whatever became of its session and parents."""
    found = set()
    for entry in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):
            if f"HOME={work}\0".encode() in Path(f"/proc/{entry}/environ").read_bytes():
                found.add(int(entry))
    return found


# -- life and death ---------------------------------------------------------------------------------------------------------------
@EACH_PEER
@pytest.mark.parametrize("end", ["stop", "kill"])
def test_starts_and_leaves_no_process(name: str, end: str, tmp_path: Path) -> None:
    peer = PEERS[name](tmp_path / "peer")
    with peer:
        assert peer.popen is not None
        assert peer.popen.pid in processes_of(tmp_path / "peer")
        getattr(peer, end)()
        assert not processes_of(tmp_path / "peer")


@EACH_PEER
def test_starts_again_after_a_kill(name: str, tmp_path: Path) -> None:
    peer = PEERS[name](tmp_path / "peer")
    for _ in range(2):
        peer.start()
        peer.wait_ready()
        peer.kill()


@EACH_PEER
def test_writes_only_into_its_folder(name: str, tmp_path: Path) -> None:
    peer, seen = PEERS[name](tmp_path / "peer"), tmp_path / "trace"
    peer.command = traced(peer.command, seen)
    with peer:
        pass
    for tracer in processes_of(tmp_path / "peer"):
        with suppress(ProcessLookupError):
            select.select([os.pidfd_open(tracer)], [], [], 10)
    assert seen.stat().st_size
    assert strays(seen, tmp_path / "peer") == []


# -- XMPP servers -----------------------------------------------------------------------------------------------------------------
@SERVERS
def test_server_routes_between_component_and_client(kind: type[Server], tmp_path: Path) -> None:
    async def talk(server: Server) -> tuple[bytes, bytes]:
        async with (
            wire.component(server.component_port, "stoxgate.test", "hush") as gateway,
            wire.client(server.c2s_port, "xmpp.test", "u0", "secret", resource="desk") as juliet,
        ):
            gateway.send(b"<message from='s0@stoxgate.test' to='u0@xmpp.test'><body>in</body></message>")
            arrived = await juliet.message()
            juliet.send(b"<message to='s0@stoxgate.test/phone' id='m1'><body>out</body></message>")
            return arrived, await gateway.message()

    with server_of(kind, tmp_path) as server:
        into, out = asyncio.run(talk(server))
    assert b"<body>in</body>" in into
    assert re.search(rb"""from=['"]s0@stoxgate.test['"]""", into)
    assert b"<body>out</body>" in out
    assert re.search(rb"""from=['"]u0@xmpp.test/desk['"]""", out)
    assert re.search(rb"""to=['"]s0@stoxgate.test/phone['"]""", out)


@SERVERS
def test_server_refuses_a_wrong_component_secret(kind: type[Server], tmp_path: Path) -> None:
    async def attach(server: Server) -> None:
        async with wire.component(server.component_port, "stoxgate.test", "wrong"):
            pass

    with server_of(kind, tmp_path) as server, pytest.raises(ConnectionError, match="not-authorized"):
        asyncio.run(attach(server))


@SERVERS
def test_server_keeps_its_accounts_over_a_kill(kind: type[Server], tmp_path: Path) -> None:
    async def login(server: Server) -> None:
        async with wire.client(server.c2s_port, "xmpp.test", "u1", "secret"):
            pass

    server = server_of(kind, tmp_path)
    for _ in range(2):
        with server:
            asyncio.run(login(server))
            server.kill()


# -- SIP programs -----------------------------------------------------------------------------------------------------------------
@TRANSPORTS
def test_kamailio_passes_messages_between_a_user_agent_and_the_gateway(transport: str, tmp_path: Path) -> None:
    async def talk() -> tuple[bytes, int]:
        async with wire.sip(transport) as gateway:
            gateway.answer = lambda _request: 202
            with Kamailio(tmp_path / "kamailio", gateway=f"127.0.0.1:{gateway.port}", transport=transport) as proxy:
                await gateway.connect("127.0.0.1", proxy.port)
                phone = Baresip(
                    tmp_path / "baresip",
                    "s0@stoxgate.test",
                    proxy=f"127.0.0.1:{proxy.port}",
                    transport=transport,
                    contacts=["sip:u0@xmpp.test", "sip:u1@xmpp.test"],
                )
                with phone:
                    proxy.wait_registered("s0")
                    phone.send("sip:u0@xmpp.test", "to the gateway")
                    out = await gateway.requests.next()
                    sent = await gateway.request("sip:s0@stoxgate.test", "sip:u0@xmpp.test", b"to the phone")
                    phone.wait_for_message("sip:u0@xmpp.test", "to the phone")
        return out.data, sent.status

    out, status = asyncio.run(talk())
    assert out.startswith(b"MESSAGE sip:u0@xmpp.test SIP/2.0\r\n")
    assert out.endswith(b"\r\n\r\nto the gateway")
    assert out.count(b"Via: ") == 2
    assert status == 200


@pytest.mark.parametrize(("uri", "status"), [("sip:nobody@stoxgate.test", 404), ("sip:u0@elsewhere.test", 403)])
def test_kamailio_refuses_what_it_does_not_serve(uri: str, status: int, tmp_path: Path) -> None:
    async def ask(proxy: Kamailio) -> int:
        async with wire.sip("udp", target=("127.0.0.1", proxy.port)) as peer:
            return (await peer.request(uri, "sip:s0@stoxgate.test", b"hello")).status

    with Kamailio(tmp_path, gateway="127.0.0.1:9") as proxy:
        assert asyncio.run(ask(proxy)) == status


@TRANSPORTS
def test_sipp_sends_what_a_raw_peer_answers(transport: str, tmp_path: Path) -> None:
    async def count() -> tuple[tuple[int, int], list[bytes]]:
        async with wire.sip(transport) as peer:
            peer.answer = lambda _request: 202
            with Sipp.sending(
                tmp_path,
                f"127.0.0.1:{peer.port}",
                request_uri="sip:u0@xmpp.test",
                from_uri="sip:s0@stoxgate.test",
                calls=5,
                rate=100,
                transport=transport,
            ) as sender:
                results = await asyncio.to_thread(sender.results)
            return results, [request.body for request in peer.requests.waiting]

    results, bodies = asyncio.run(count())
    assert results == (5, 0)
    assert bodies == [b"hello from sipp"] * 5


def test_sipp_counts_a_wrong_status_as_failed(tmp_path: Path) -> None:
    with (
        Sipp.answering(tmp_path / "answering", status=404) as receiver,
        Sipp.sending(
            tmp_path / "sending", f"127.0.0.1:{receiver.port}", request_uri="sip:u0@xmpp.test", from_uri="sip:s0@stoxgate.test"
        ) as sender,
    ):
        assert sender.results() == (0, 1)
        assert receiver.results() == (1, 0)


# -- Profanity --------------------------------------------------------------------------------------------------------------------
def test_profanity_talks_to_a_component(tmp_path: Path) -> None:
    async def talk(server: Prosody, person: Profanity) -> bytes:
        async with wire.component(server.component_port, "stoxgate.test", "hush") as gateway:
            await asyncio.to_thread(person.login, "u0", "secret", "xmpp.test", server.c2s_port)
            await asyncio.to_thread(person.send, "s0@stoxgate.test", "gr\u00fc\u00dfe; 'quoted'")
            out = await gateway.message(where=lambda stanza: b"<body>" in stanza)
            gateway.send(b"<message from='s0@stoxgate.test' to='u0@xmpp.test' type='chat'><body>good evening</body></message>")
            await asyncio.to_thread(person.wait_for_message, "s0@stoxgate.test", "good evening")
            return out

    with Prosody(tmp_path / "prosody", users=USERS, components=COMPONENTS) as server, Profanity(tmp_path / "profanity") as person:
        out = asyncio.run(talk(server, person))
    assert re.search("<body>gr\u00fc\u00dfe; (?:'|&apos;)quoted(?:'|&apos;)</body>".encode(), out)
