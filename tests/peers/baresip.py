"""baresip: a SIP user agent without a person at it; sends and shows plain text, registers, answers 200."""

from __future__ import annotations

import json
import re
import signal
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.peers.process import LIMIT, NotReady, Process, free_port
from tests.peers.programs import tree_of

_CONFIG = """sip_listen 127.0.0.1:{port}
net_interface 127.0.0.1
module_path {modules}
module stdio.so
module_app account.so
module_app contact.so
module_app menu.so
module_app ctrl_tcp.so
ctrl_tcp_listen 127.0.0.1:{control_port}
"""


class Baresip(Process):
    """The user agent of `address` (without scheme), whose requests go to `proxy` (host:port) over `transport`.

    registers: register there; `wait_ready` then waits for the answer. contacts: whom it can write to, as URIs.
    """

    def __init__(
        self,
        work: Path,
        address: str,
        *,
        proxy: str,
        contacts: Sequence[str],
        transport: str = "udp",
        registers: bool = True,
        port: int = 0,
    ) -> None:
        self.work, self.address, self.contacts, self.registers = work, address, list(contacts), registers
        self.port, self.control_port = port or free_port(), free_port()
        self._control: _Control | None = None
        work.mkdir(parents=True, exist_ok=True)
        tree = tree_of("baresip")
        (work / "config").write_text(
            _CONFIG.format(port=self.port, control_port=self.control_port, modules=tree.root / "usr/lib/baresip/modules")
        )
        (work / "accounts").write_text(
            f'<sip:{address};transport={transport}>;auth_pass=none;outbound="sip:{proxy};transport={transport}";'
            f"regint={600 if registers else 0}\n"
        )
        (work / "contacts").write_text("".join(f'"{number}" <{uri}>\n' for number, uri in enumerate(contacts)))
        super().__init__([tree.program("baresip"), "-4", "-f", str(work)], work / "baresip.log", work, tree.environment(work))

    def wait_ready(self, limit: float = LIMIT) -> None:
        self.wait_for_tcp_listener(self.control_port, limit)
        self._control = _Control(self.control_port)
        if self.registers:
            self.wait_for(r"\[\d+ bindings?\]\n", limit)

    def stop(self, how: int = signal.SIGTERM, limit: float = 10) -> int:
        if self._control:
            self._control.close()
            self._control = None
        return super().stop(how, limit)

    def send(self, uri: str, text: str) -> None:
        """Send `text` to one of its contacts. Raises NotReady when it does not answer."""
        assert self._control is not None
        for command in ("contact_prev", "contact_next"):
            for _ in self.contacts:
                if f"<{uri}>" in self._control.ask(command):
                    self._control.ask("message", text)
                    return
        raise NotReady(f"{uri} is not one of its contacts: {self.contacts}")

    def wait_for_message(self, sender: str, text: str, limit: float = LIMIT) -> None:
        """Wait until it shows `text` from the URI `sender`. Raises NotReady."""
        self.wait_for(rf'{re.escape(sender)}: "{re.escape(text)}"', limit)


class _Control:
    """Its control connection: JSON in netstrings, a command and its response at a time."""

    def __init__(self, port: int) -> None:
        self._link = socket.create_connection(("127.0.0.1", port), timeout=LIMIT)
        self._read = self._link.makefile("rb")

    def ask(self, command: str, words: str = "") -> str:
        """Give one command; returns what it says to it. Events that come in between are passed over."""
        data = json.dumps({"command": command, "params": words}).encode()
        self._link.sendall(b"%d:%s," % (len(data), data))
        while not (answer := self._next()).get("response"):
            pass
        return str(answer["data"])

    def close(self) -> None:
        self._read.close()
        self._link.close()

    def _next(self) -> dict[str, Any]:
        digits = b""
        while (octet := self._read.read(1)) != b":":
            digits += octet
        answer: dict[str, Any] = json.loads(self._read.read(int(digits)))
        self._read.read(1)
        return answer
