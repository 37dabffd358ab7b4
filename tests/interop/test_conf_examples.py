"""The examples in conf/ are what the programs take, and together they make a bridge."""

from __future__ import annotations

import asyncio
import configparser
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.peers import ejabberd as ejabberd_peer
from tests.peers import prosody as prosody_peer
from tests.peers import wire
from tests.peers.baresip import Baresip
from tests.peers.ejabberd import Ejabberd
from tests.peers.kamailio import Kamailio, modules
from tests.peers.process import LIMIT, Process, free_port
from tests.peers.programs import PROJECT, tree_of
from tests.peers.prosody import Prosody
from tests.peers.stoxgate import Stoxgate, stoxgate

pytestmark = pytest.mark.interop
CONF = PROJECT / "conf"
SIP, XMPP = "example.net", "example.com"
USERS = {"u0": "secret"}


def moved(name: str, ports: dict[int, int]) -> str:
    """The text of an example with other ports."""
    text = (CONF / name).read_text()
    for old, new in ports.items():
        assert str(old) in text, (name, old)
        text = text.replace(str(old), str(new))
    return text


class ExampleKamailio(Kamailio):
    """Kamailio with conf/kamailio.cfg in place of the tests' own configuration."""

    def __init__(self, work: Path, text: str, port: int) -> None:
        super().__init__(work, gateway="", port=port)
        self.command += ["-L", modules()]
        self._text = text

    def start(self) -> None:
        (self.work / "kamailio.cfg").write_text(self._text)
        Process.start(self)

    def wait_ready(self, limit: float = LIMIT) -> None:
        self.wait_for_tcp_listener(self.port, limit)


@pytest.fixture
def prosody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Prosody:
    """Prosody that takes its component and the component's port from conf/prosody.cfg.lua."""
    port = free_port()
    example, template = tmp_path / "example.cfg.lua", tmp_path / "template"
    example.write_text(moved("prosody.cfg.lua", {5347: port}))
    own = prosody_peer._TEMPLATE.read_text()
    assert own.count("\nVirtualHost ") == 1
    template.write_text(own.replace("\nVirtualHost ", f'\nInclude "{example}"\nVirtualHost '))
    monkeypatch.setattr(prosody_peer, "_TEMPLATE", template)
    return Prosody(tmp_path / "prosody", domain=XMPP, users=USERS, component_port=port)


@pytest.fixture
def ejabberd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ejabberd:
    """ejabberd that takes its component listener from conf/ejabberd.yml."""
    port = free_port()
    template = tmp_path / "template"
    own, item = ejabberd_peer._TEMPLATE.read_text(), moved("ejabberd.yml", {5347: port}).partition("listen:\n")[2]
    taken = re.sub(r"  - port: @component_port@\n.*?@components@\n", item, own, flags=re.S)
    assert taken.count("ejabberd_service") == 1
    template.write_text(taken)
    monkeypatch.setattr(ejabberd_peer, "_TEMPLATE", template)
    return Ejabberd(tmp_path / "ejabberd", domain=XMPP, users=USERS, component_port=port)


def test_gateway_toml() -> None:
    checked = stoxgate("check", "-c", str(CONF / "gateway.toml"))
    assert checked.returncode == 0, checked.stderr


def test_prosodyctl_finds_no_fault_in_it(prosody: Prosody) -> None:
    with prosody:
        prosody.wait_for_tcp_listener(prosody.component_port)
    tree = tree_of("prosodyctl")
    script = prosody.work / "prosodyctl.lua"
    script.write_text(Path(tree.program("prosodyctl")).read_text().replace("'/usr/lib/prosody", f"'{tree.root / 'usr/lib/prosody'}"))
    checked = subprocess.run(
        [prosody.command[0], str(script), "--config", str(prosody.work / "prosody.cfg.lua"), "check", "config"],
        env=prosody.env,
        cwd=prosody.work,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert "example.cfg.lua" in checked.stdout
    assert "All checks passed" in checked.stdout


def test_prosody_replaces_a_connection_that_died(prosody: Prosody) -> None:
    """What the example asks for: the old connection still stands when the gateway comes back."""

    async def twice() -> None:
        async with (
            wire.component(prosody.component_port, SIP, "change-me"),
            wire.component(prosody.component_port, SIP, "change-me") as new,
        ):
            new.send(b"<iq type='get' from='%s' to='%s' id='p1'><ping xmlns='urn:xmpp:ping'/></iq>" % (SIP.encode(), SIP.encode()))
            await new.stanzas.next(where=lambda stanza: b"p1" in stanza)

    with prosody:
        prosody.wait_for_tcp_listener(prosody.component_port)
        asyncio.run(twice())


@pytest.mark.parametrize("secret", ["change-me", "wrong"])
def test_ejabberd_takes_the_example(secret: str, ejabberd: Ejabberd) -> None:
    async def attached() -> bool:
        try:
            async with wire.component(ejabberd.component_port, SIP, secret):
                return True
        except ConnectionError:
            return False

    with ejabberd:
        assert asyncio.run(attached()) == (secret == "change-me")


def test_kamailio_takes_the_example(tmp_path: Path) -> None:
    tree = tree_of("kamailio")
    (tmp_path / "kamailio.cfg").write_text(moved("kamailio.cfg", {5080: free_port()}))
    checked = subprocess.run(
        [tree.program("kamailio"), "-c", "-L", modules(), "-Y", str(tmp_path), "-f", str(tmp_path / "kamailio.cfg")],
        env=tree.environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr
    assert "config file ok" in checked.stderr


def test_all_together(prosody: Prosody, tmp_path: Path) -> None:
    """conf/gateway.toml between Prosody and Kamailio with their examples; baresip and a raw client write to each other."""
    gateway_port, proxy_port = free_port(), free_port()
    gateway = Stoxgate(tmp_path / "gateway", component_port=prosody.component_port, port=gateway_port)
    text = moved("gateway.toml", {5347: prosody.component_port, 5060: gateway_port, 5080: proxy_port})
    for key in ("outbound", "trusted"):
        assert f"\n#{key} = " in text
        text = text.replace(f"\n#{key} = ", f"\n{key} = ")
    gateway.config.write_text(text.replace('data_dir = "../var"', 'data_dir = "var"'))
    proxy = ExampleKamailio(tmp_path / "kamailio", moved("kamailio.cfg", {5080: proxy_port, 5060: gateway_port}), proxy_port)

    async def talk(phone: Baresip) -> bytes:
        async with wire.client(prosody.c2s_port, XMPP, "u0", "secret") as juliet:
            await asyncio.to_thread(phone.send, f"sip:u0@{XMPP}", "out")
            arrived = await juliet.message()
            juliet.send(f"<message to='s0@{SIP}'><body>back</body></message>".encode())
            await asyncio.to_thread(phone.wait_for_message, f"sip:u0@{XMPP};gr=lab", "back")
            return arrived

    with (
        prosody,
        gateway,
        proxy,
        Baresip(tmp_path / "baresip", f"s0@{SIP}", proxy=f"127.0.0.1:{proxy_port}", contacts=[f"sip:u0@{XMPP}"]) as phone,
    ):
        assert b"<body>out</body>" in asyncio.run(talk(phone))


def test_unit_runs_the_command() -> None:
    """There is no systemd to ask where the tests run: the unit is read, and its command is one that the program has."""
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(CONF / "stoxgate.service")
    service = unit["Service"]
    words = shlex.split(service["ExecStart"])
    assert stoxgate(words[1], "--help").returncode == 0
    assert service["Type"] == "simple"
    # A wrong configuration is not tried for ever: so many starts fit into the interval.
    assert int(unit["Unit"]["StartLimitBurst"]) * int(service["RestartSec"]) < int(unit["Unit"]["StartLimitIntervalSec"])
    assert int(service["TimeoutStopSec"]) > 25
