"""The fixed places of a run, the XMPP server of the lab, and the gateways under test as `gateways.toml` describes them.

Every process is started here and ended by its own pid (tests/peers/process.py). Nothing else is touched.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from tests.peers import kamailio
from tests.peers.process import Process, fill
from tests.peers.programs import PROJECT, tree_of
from tests.peers.prosody import Prosody

BENCH = Path(__file__).resolve().parents[1]
SCRATCH = Path(tempfile.gettempdir()) / f"peerlab-{os.getuid()}"


@dataclass
class Lab:
    """The fixed places of one run. All ports are on 127.0.0.1."""

    work: Path
    c2s_port: int = 15222
    component_port: int = 15347
    xmpp_domain: str = "xmpp.test"
    users: int = 4
    password: str = "secret"
    secret: str = "secret"
    uas_host: str = "127.0.0.1"
    uas_port: int = 15080
    components: list[str] = field(default_factory=list)

    def values(self) -> dict[str, object]:
        """What templates and commands may refer to."""
        return {
            name: getattr(self, name) for name in ("work", "c2s_port", "component_port", "xmpp_domain", "secret", "uas_host", "uas_port")
        }


def prosody(lab: Lab) -> Prosody:
    """A fresh Prosody with `lab.users` accounts u0, u1 ... and one component per gateway; not started yet."""
    server = Prosody(
        lab.work / "prosody",
        domain=lab.xmpp_domain,
        users={f"u{n}": lab.password for n in range(lab.users)},
        components=dict.fromkeys(lab.components, lab.secret),
        c2s_port=lab.c2s_port,
        component_port=lab.component_port,
    )
    server.forget()
    return server


@dataclass
class Gateway:
    """One gateway under test, as `gateways.toml` describes it (see README.md for the keys)."""

    name: str
    component: str
    sip: dict[str, str]
    start: str
    template: str = ""
    config: str = "gateway.conf"
    cwd: str = ""
    request_uri: str = "sip:{xmpp_user}@{xmpp_domain}"
    sip_uri: str = "sip:{sip_user}@{component}"
    jid: str = "{sip_user}@{component}"
    values: dict[str, object] = field(default_factory=dict)
    settle: float = 1.0

    def target(self, transport: str) -> tuple[str, int]:
        host, _, port = self.sip[transport].rpartition(":")
        return host, int(port)

    def address(self, template: str, lab: Lab, xmpp_user: str = "", sip_user: str = "") -> str:
        return template.format(xmpp_user=xmpp_user, xmpp_domain=lab.xmpp_domain, sip_user=sip_user, component=self.component)

    def process(self, lab: Lab, transport: str) -> Process:
        """Its process, not started yet and with nothing kept from earlier; `transport` is how it is to reach the SIP peer."""
        host, port = self.target("udp" if "udp" in self.sip else "tcp")
        where = lab.work / self.name
        shutil.rmtree(where, ignore_errors=True)
        where.mkdir(parents=True)
        # What the run before has left to write, or to delete, is not this run's burden.
        os.sync()
        config = where / self.config
        peers = tree_of("kamailio")
        values = (
            lab.values()
            | {
                "component": self.component,
                "sip_host": host,
                "sip_port": port,
                "uas_transport": transport,
                "gateway_work": where,
                "config": config,
                "modules": kamailio.modules(),
                "libraries": peers.library_path,
            }
            | self.values
        )
        if self.template:
            source = Path(self.template)
            fill(source if source.is_absolute() else BENCH / source, config, values)
        programs = [str(PROJECT / ".venv" / "bin"), str(Path(sys.executable).parent), peers.path]
        return Process(
            shlex.split(self.start.format(**values)),
            lab.work / f"{self.name}.log",
            Path(self.cwd) if self.cwd else None,
            os.environ | {"PATH": ":".join(programs)},
            watched=False,
        )
