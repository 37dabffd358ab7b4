"""Prosody: the XMPP server of the tests, the lab and the demo."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.peers.process import LIMIT, Process, fill, free_port
from tests.peers.programs import Tree, tree_of

_TEMPLATE = Path(__file__).parent / "templates" / "prosody.cfg.lua"
_UPLOADS = """Component "{}" "http_file_share"
    http_file_share_size_limit = 20000
    http_external_url = "http://127.0.0.1:{}/"
    http_host = "127.0.0.1"
"""


class Prosody(Process):
    """One virtual host with accounts, and components with their secrets, on two ports of 127.0.0.1; all its files are in `work`.

    uploads: the domain of an HTTP upload service (XEP-0363) on http_port, for files of 20 000 octets at most; empty for none.
    users: name -> password. components: domain -> secret. modules: more to load; "offline" keeps messages for users who are away.
    """

    def __init__(
        self,
        work: Path,
        *,
        domain: str = "xmpp.test",
        users: Mapping[str, str] | None = None,
        components: Mapping[str, str] | None = None,
        c2s_port: int = 0,
        component_port: int = 0,
        modules: Iterable[str] = (),
        uploads: str = "",
    ) -> None:
        self.work, self.domain = work, domain
        self.users, self.components, self.modules = dict(users or {}), dict(components or {}), tuple(modules)
        self.c2s_port, self.component_port = c2s_port or free_port(), component_port or free_port()
        self.uploads, self.http_port = uploads, free_port() if uploads else 0
        work.mkdir(parents=True, exist_ok=True)
        tree = tree_of("prosody")
        script, interpreter = _relocated(tree, work)
        super().__init__(
            [interpreter, str(script), "-F", "--config", str(work / "prosody.cfg.lua")],
            work / "prosody.log",
            work,
            tree.environment(work) | _lua_paths(tree, interpreter),
        )

    def start(self) -> None:
        """Start with the accounts and components of now; what users left behind in an earlier run is kept."""
        components = "".join(f'Component "{name}"\n    component_secret = "{secret}"\n' for name, secret in self.components.items())
        if self.uploads:
            components += _UPLOADS.format(self.uploads, self.http_port)
        fill(
            _TEMPLATE,
            self.work / "prosody.cfg.lua",
            {
                "work": self.work,
                "c2s_port": self.c2s_port,
                "component_port": self.component_port,
                "domain": self.domain,
                "modules": "".join(f', "{name}"' for name in self.modules),
                "components": components,
                "http_port": self.http_port or "",
                "without": "" if "offline" in self.modules else ', "offline"',
            },
        )
        accounts = self.work / "data" / re.sub(r"[^A-Za-z0-9]", lambda found: f"%{ord(found[0]):02x}", self.domain) / "accounts"
        accounts.mkdir(parents=True, exist_ok=True)
        for name, password in self.users.items():
            (accounts / f"{name}.dat").write_text(f'return {{ ["password"] = "{password}"; }};\n')
        super().start()

    def wait_ready(self, limit: float = LIMIT) -> None:
        services = ("c2s", "component") if self.components else ("c2s",)
        self.wait_for_each(*(rf"Activated service '{service}' on \[" for service in services), limit=limit)

    def forget(self) -> None:
        """Remove what its users left behind; only while it is stopped."""
        shutil.rmtree(self.work / "data", ignore_errors=True)


def _relocated(tree: Tree, work: Path) -> tuple[Path, str]:
    """A copy of its start script that finds its parts in `tree`, and the interpreter that the original asks for."""
    text = Path(tree.program("prosody")).read_text()
    script = work / "prosody.lua"
    script.write_text(text.replace("'/usr/lib/prosody", f"'{tree.root / 'usr/lib/prosody'}"))
    return script, tree.program(text.partition("\n")[0].split()[-1].rpartition("/")[2])


def _lua_paths(tree: Tree, interpreter: str) -> dict[str, str]:
    version = interpreter.rpartition("lua")[2]
    shared, compiled = tree.root / "usr/share/lua" / version, tree.libraries / "lua" / version
    return {"LUA_PATH": f"{shared}/?.lua;{shared}/?/init.lua;;", "LUA_CPATH": f"{compiled}/?.so;;"}
