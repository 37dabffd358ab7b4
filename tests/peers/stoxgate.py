"""The gateway itself, run as an operator runs it: a configuration file, a process, and the commands that speak to it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.peers.process import LIMIT, Process, free_port
from tests.peers.programs import PROJECT

SIP_DOMAIN, XMPP_DOMAIN, SECRET = "stoxgate.test", "xmpp.test", "hush"


class Stoxgate(Process):
    """A gateway on one port of 127.0.0.1, UDP and TCP; all its files are in `work`. It keeps its store over a kill.

    component_port: of the XMPP server. next_hop: [sip] outbound; empty for RFC 3263. sections: more lines for a table, by its name ("sip":
    "accepted_status = 200"). tables: TOML put behind everything ([[route]], [[peer]]). mappings: file name -> text of a mappings folder.
    program: what runs in place of the installed command.
    """

    def __init__(
        self,
        work: Path,
        *,
        component_port: int,
        next_hop: str = "",
        sip_domains: Sequence[str] = (SIP_DOMAIN,),
        xmpp_domains: Sequence[str] = (XMPP_DOMAIN,),
        trusted: Sequence[str] = ("127.0.0.1/32",),
        secret: str = SECRET,
        sections: Mapping[str, str] | None = None,
        tables: str = "",
        mappings: Mapping[str, str] | None = None,
        port: int = 0,
        options: Sequence[str] = (),
        program: Sequence[str] = (),
    ) -> None:
        self.work, self.port, self.config = work, port or free_port(), work / "gateway.toml"
        lines = {
            "gateway": f'name = "gw.{sip_domains[0]}"\ndata_dir = "var"\n' + ('mappings = "mappings"\n' if mappings else ""),
            "sip": f'listen = ["udp:127.0.0.1:{self.port}", "tcp:127.0.0.1:{self.port}"]\ndomains = {_list(sip_domains)}\n'
            f"trusted = {_list(trusted)}\n" + (f'outbound = "{next_hop}"\n' if next_hop else ""),
            "xmpp": f'server = "127.0.0.1:{component_port}"\nsecret = "{secret}"\ndomains = {_list(xmpp_domains)}\n',
        }
        for name, more in (sections or {}).items():
            lines[name] = lines.get(name, "") + more + "\n"
        work.mkdir(parents=True, exist_ok=True)
        self.config.write_text("\n".join(f"[{name}]\n{text}" for name, text in lines.items()) + f"\n{tables}\n")
        self.config.chmod(0o600)
        for name, text in (mappings or {}).items():
            (work / "mappings").mkdir(exist_ok=True)
            (work / "mappings" / name).write_text(text)
        started = [*(program or [command()]), "run", "-c", str(self.config), *options]
        super().__init__(started, work / "stoxgate.log", work, _environment(work))

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens for SIP."""
        return "127.0.0.1", self.port

    def wait_ready(self, limit: float = LIMIT) -> None:
        self.wait_for('"event": "component link is up"', limit)

    def cli(self, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run a command with this configuration: `gateway.cli("queue", "list", "--json")`."""
        return stoxgate(*arguments, "-c", str(self.config), stdin=stdin, home=self.work)


def command() -> str:
    """The path of the installed command: beside the interpreter that runs the tests."""
    return str(Path(sys.executable).parent / "stoxgate")


def stoxgate(*arguments: str, stdin: bytes = b"", home: Path = PROJECT) -> subprocess.CompletedProcess[bytes]:
    """Run the command once and return what it printed and its exit code."""
    return subprocess.run(
        [command(), *arguments], input=stdin, capture_output=True, cwd=home, env=_environment(home), timeout=60, check=False
    )


def _environment(home: Path) -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": str(home), "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}


def _list(values: Sequence[str]) -> str:
    return "[" + ", ".join(f'"{value}"' for value in values) + "]"
