"""The rooms put together: a whole gateway in this process, with nobody at the other end of its component link."""

from __future__ import annotations

import asyncio
import gc
import io
import os
import signal
import socket
import sys
from collections.abc import Coroutine, Iterator
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from gateway.app import Gateway, outbox_file
from gateway.core.errors import ConfigFault, StoreFault
from gateway.core.settings import Listener, Settings, SipSettings, XmppSettings
from gateway.core.tables import read_tables
from gateway.logs import Lines
from gateway.store.outbox import locked
from tests.peers import wire
from tests.peers.process import free_port

TABLES = read_tables(None)


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    interval, thresholds = sys.getswitchinterval(), gc.get_threshold()
    yield
    sys.setswitchinterval(interval)
    gc.set_threshold(*thresholds)
    gc.unfreeze()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A gateway on a free port whose XMPP server is not there."""
    port = free_port()
    return Settings(
        "gateway.toml",
        "gw.example",
        tmp_path / "var",
        None,
        SipSettings(
            (Listener("udp", "127.0.0.1", port), Listener("tcp", "127.0.0.1", port)),
            ("sip.example",),
            trusted=(ip_network("127.0.0.1/32"),),
        ),
        XmppSettings("127.0.0.1", free_port(), "hush", ("xmpp.example",)),
        f"sqlite:///{tmp_path / 'var' / 'outbox.db'}",
    )


def gateway(settings: Settings) -> Gateway:
    return Gateway(settings, TABLES, Lines(io.StringIO()))


async def while_it_runs(it: Gateway, story: Coroutine[Any, Any, None]) -> None:
    """Run the gateway until the story is over, then end it as an operator does."""
    running = asyncio.create_task(it.run())
    started = asyncio.get_running_loop().time()
    while not (it.settings.data_dir / "control.sock").exists():
        assert not running.done(), running.exception()
        assert asyncio.get_running_loop().time() < started + 30
        await asyncio.sleep(0)
    try:
        await story
    finally:
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(running, 30)


async def send(settings: Settings, text: bytes) -> int:
    """A MESSAGE from romeo to juliet; returns its status."""
    async with wire.sip("udp", target=("127.0.0.1", settings.sip.listen[0].port)) as romeo:
        answer = await romeo.request("sip:juliet@xmpp.example", "sip:romeo@sip.example", text)
        return answer.status


def test_what_is_accepted_while_the_server_is_away_is_there_in_the_next_run(settings: Settings) -> None:
    async def first() -> None:
        assert await send(settings, b"hello") == 202
        assert it.health["messages"] == 1
        assert (it.health["ready"], it.health["links"]) == (False, {"sip.example": False})

    async def second() -> None:
        assert it.health["messages"] == 1

    it = gateway(settings)
    asyncio.run(while_it_runs(it, first()))
    it = gateway(settings)
    asyncio.run(while_it_runs(it, second()))


@pytest.mark.requirement("REL-25")
def test_sigterm_ends_it_in_good_order(settings: Settings) -> None:
    async def story() -> None:
        assert await send(settings, b"hello") == 202

    it = gateway(settings)
    asyncio.run(while_it_runs(it, story()))
    with locked(settings.data_dir):
        pass
    assert not (settings.data_dir / "control.sock").exists()
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with socket.socket(socket.AF_INET, kind) as again:
            again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            again.bind(("127.0.0.1", settings.sip.listen[0].port))


@pytest.mark.requirement("REL-07")
def test_a_second_one_on_the_same_data_does_not_start(settings: Settings) -> None:
    async def story() -> None:
        other = replace(settings, sip=replace(settings.sip, listen=(Listener("udp", "127.0.0.1", free_port()),)))
        with pytest.raises(StoreFault, match="in use by another"):
            gateway(other)

    asyncio.run(while_it_runs(gateway(settings), story()))


@pytest.mark.requirement("SEC-47")
def test_all_that_it_makes_is_for_its_owner_alone(settings: Settings) -> None:
    async def story() -> None:
        made = [settings.data_dir, *settings.data_dir.iterdir()]
        assert {each.name for each in made} >= {"var", "lock", "outbox.db", "control.sock"}
        assert [each.name for each in made if each.stat().st_mode & 0o077] == []

    mask = os.umask(0)
    try:
        asyncio.run(while_it_runs(gateway(settings), story()))
    finally:
        os.umask(mask)


def test_a_link_for_each_domain_and_only_one(settings: Settings) -> None:
    async def story() -> None:
        assert list(it.xmpp.links) == ["sip.example", "bücher.example"]

    domains = ("sip.example", "xn--bcher-kva.example", "SIP.example")
    it = gateway(replace(settings, sip=replace(settings.sip, domains=domains)))
    asyncio.run(while_it_runs(it, story()))


def test_the_file_of_the_store() -> None:
    def of(url: str) -> Path:
        return outbox_file(Settings("gateway.toml", "gw", Path("var"), None, SipSettings((), ()), XmppSettings("h", 1, "s", ()), url))

    assert of("sqlite:////srv/outbox.db") == Path("/srv/outbox.db")
    assert of("sqlite:///var/outbox.db") == Path("var/outbox.db")
    with pytest.raises(ConfigFault, match=r"store\.url"):
        of("postgresql://db.example/stoxgate")
