"""ejabberd: the second XMPP server of the tests. It runs as root and as an ordinary user alike."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.peers.process import LIMIT, Process, fill, free_port
from tests.peers.programs import tree_of

_TEMPLATE = Path(__file__).parent / "templates" / "ejabberd.yml"
_READY = "the peer is ready"
_UPLOADS = """  mod_http_upload:
    hosts: ["{service}"]
    put_url: "http://127.0.0.1:{port}/upload"
    docroot: "{work}/uploads"
    max_size: 20000
    access: upload
acl:
  sip_users:
    server: {components}
access_rules:
  upload:
    - allow: local
    - allow: sip_users
"""
_HTTP = """  - port: {port}
    ip: "127.0.0.1"
    module: ejabberd_http
    request_handlers:
      /upload: mod_http_upload
"""


class Ejabberd(Process):
    """One virtual host with accounts, and components with their secrets, on two ports of 127.0.0.1; all its files are in `work`.

    users: name -> password. components: domain -> secret. modules: more to load; mod_offline keeps messages for users who are away.
    uploads: the domain of an HTTP upload service (XEP-0363) for the components, for files of 20 000 octets at most; empty for none.
    No Erlang distribution: no node name, no port mapper, nothing outside this process.
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
        tree = tree_of("epmd")
        erlang = tree.root / "usr/lib/erlang"
        binaries = max(erlang.glob("erts-*")) / "bin"
        super().__init__(
            [str(binaries / "erlexec"), "-noinput", "-mnesia", "dir", f'"{work / "mnesia"}"', "-s", "ejabberd", "-eval", self._accounts()],
            work / "ejabberd.out",
            work,
            tree.environment(work)
            | {
                "ROOTDIR": str(erlang),
                "BINDIR": str(binaries),
                "EMU": "beam",
                "PROGNAME": "erl",
                "ERL_LIBS": str(tree.libraries),
                "ERL_CRASH_DUMP": str(work / "erl_crash.dump"),
                "EJABBERD_CONFIG_PATH": str(work / "ejabberd.yml"),
                "EJABBERD_LOG_PATH": str(work / "ejabberd.log"),
            },
        )

    def start(self) -> None:
        fill(
            _TEMPLATE,
            self.work / "ejabberd.yml",
            {
                "c2s_port": self.c2s_port,
                "component_port": self.component_port,
                "domain": self.domain,
                "components": "".join(f'      "{name}":\n        password: "{secret}"\n' for name, secret in self.components.items())
                or '      "unused.invalid":\n        password: "unused"\n',
                "modules": "".join(f"  {name}: {{}}\n" for name in self.modules) + self._upload_service(),
                "http": _HTTP.format(port=self.http_port) if self.uploads else "",
            },
        )
        super().start()

    def wait_ready(self, limit: float = LIMIT) -> None:
        self.wait_for_each(
            f"{_READY}\n", f":{self.c2s_port} for ejabberd_c2s\n", f":{self.component_port} for ejabberd_service\n", limit=limit
        )

    def _upload_service(self) -> str:
        if not self.uploads:
            return ""
        return _UPLOADS.format(service=self.uploads, port=self.http_port, work=self.work, components=json.dumps([*self.components]))

    def _accounts(self) -> str:
        """What ejabberd runs once it has started: registers the users and says so."""
        made = [
            f"ejabberd_auth:try_register(<<{json.dumps(name)}>>, <<{json.dumps(self.domain)}>>, <<{json.dumps(password)}>>)"
            for name, password in self.users.items()
        ]
        return ", ".join([*made, f'io:format("{_READY}~n")']) + "."
