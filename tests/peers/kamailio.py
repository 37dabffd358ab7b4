"""Kamailio: the registrar and proxy that stands before the gateway, and what its own XMPP module needs to run at all."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.peers.process import LIMIT, Process, fill, free_port
from tests.peers.programs import tree_of

_TEMPLATE = Path(__file__).parent / "templates" / "kamailio.cfg"


class Kamailio(Process):
    """Registrar of one SIP domain and proxy to the gateway for one XMPP domain, on one port of 127.0.0.1, UDP and TCP.

    gateway: host:port of the gateway. transport: how requests go there. before_relay: more lines of its script language, run on
    each request that is passed on, such as `append_hf("P-Asserted-Identity: <$fu>\\r\\n");`. answer_limit_ms: its timer F.
    """

    def __init__(
        self,
        work: Path,
        *,
        gateway: str,
        transport: str = "udp",
        sip_domain: str = "stoxgate.test",
        xmpp_domain: str = "xmpp.test",
        port: int = 0,
        before_relay: str = "",
        answer_limit_ms: int = 32000,
    ) -> None:
        self.work, self.port = work, port or free_port()
        self._values = {
            "port": self.port,
            "modules": modules(),
            "gateway": f"{gateway};transport={transport}",
            "sip_domain": sip_domain,
            "xmpp_domain": xmpp_domain,
            "before_relay": before_relay,
            "answer_limit_ms": answer_limit_ms,
        }
        work.mkdir(parents=True, exist_ok=True)
        tree = tree_of("kamailio")
        super().__init__(
            [
                tree.program("kamailio"),
                "-f",
                str(work / "kamailio.cfg"),
                "-DD",
                "-E",
                "-m",
                "64",
                "-M",
                "8",
                "-Y",
                str(work),
                "-P",
                str(work / "kamailio.pid"),
            ],
            work / "kamailio.log",
            work,
            tree.environment(work),
        )

    def start(self) -> None:
        fill(_TEMPLATE, self.work / "kamailio.cfg", self._values)
        super().start()

    def wait_ready(self, limit: float = LIMIT) -> None:
        self.wait_for("ready\n", limit)

    def wait_registered(self, user: str, limit: float = LIMIT) -> None:
        """Wait until `user` of its domain has been registered. Raises NotReady."""
        self.wait_for(f"registered {user}\n", limit)


def modules() -> str:
    """The folder of its loadable modules, as `mpath` wants it."""
    return f"{tree_of('kamailio').libraries / 'kamailio' / 'modules'}/"


def build_guard(source: Path, target: Path) -> None:
    """Compile the guard that Kamailio's xmpp module needs (see the comment in `source`)."""
    tree = tree_of("tcc")
    subprocess.run([tree.program("tcc"), f"-B{tree.libraries / 'tcc'}", "-nostdlib", "-shared", "-o", str(target), str(source)], check=True)
