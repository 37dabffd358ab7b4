"""Profanity in tmux: an XMPP client with a screen and a keyboard, without a person at them."""

from __future__ import annotations

import os
import re
import shlex
import time
from contextlib import suppress
from pathlib import Path

from tests.peers.process import LIMIT, NotReady, Process
from tests.peers.programs import tree_of

_QUIET = "[notifications]\nmessage=off\n[ui]\nflash=false\nsplash=false\n[logging]\nchlog=false\n"


class Profanity(Process):
    """A Profanity of its own tmux server, steered through tmux's control mode, which also tells when the screen changes.

    The process that this class starts is tmux's control client. When it ends, `stop` ends the server that it forked, and Profanity in it.
    """

    def __init__(self, work: Path, *, columns: int = 110, rows: int = 30) -> None:
        self.work = work
        self._server = self._window = 0
        for folder in (".config/profanity", ".local/share/profanity"):
            (work / folder).mkdir(parents=True, exist_ok=True)
        (work / ".config/profanity/profrc").write_text(_QUIET)
        tree = tree_of("profanity")
        tmux = tree_of("tmux")
        environment = tree.environment(work) | {"PYTHONHOME": str(tree.root / "usr")}
        super().__init__(
            [
                tmux.program("tmux"),
                "-f",
                "/dev/null",
                "-S",
                "tmux",
                "-C",
                "new-session",
                "-x",
                str(columns),
                "-y",
                str(rows),
                tree.program("profanity"),
            ],
            work / "tmux.log",
            work,
            environment,
        )

    def wait_ready(self, limit: float = LIMIT) -> None:
        self._server, self._window = map(int, self._ask("display-message -p '#{pid} #{pane_pid}'", limit).split())
        self.wait_for_screen("Profanity", limit)

    def login(self, user: str, password: str, domain: str, port: int, limit: float = LIMIT) -> None:
        """Log in at 127.0.0.1:port without TLS. Raises NotReady."""
        self.type(f"/connect {user}@{domain} server 127.0.0.1 port {port} tls disable")
        self.wait_for_screen("password", limit)
        self.type(password)
        self.wait_for_screen(f"{user}@{domain}[^\n]*logged in|logged in[^\n]*{user}@{domain}", limit)

    def send(self, address: str, text: str) -> None:
        self.type(f"/msg {address} {text}")

    def wait_for_message(self, sender: str, text: str, limit: float = LIMIT) -> str:
        """Look at the window of `sender` until `text` is in it; returns the screen. Raises NotReady."""
        self.type(f"/msg {sender}")
        return self.wait_for_screen(re.escape(text), limit)

    def type(self, line: str) -> None:
        """Type a line and press Enter."""
        self._ask(f"send-keys -l {shlex.quote(line)}")
        self._ask("send-keys Enter")

    def write_keys(self, text: str) -> None:
        """Press these keys, and not Enter: she is typing."""
        self._ask(f"send-keys -l {shlex.quote(text)}")

    def screen(self) -> str:
        """What a person would see now."""
        return self._ask("capture-pane -p")

    def pids(self) -> list[int]:
        """tmux's client and server, and whatever was started in the server's window, which has a session of its own."""
        found = super().pids()
        for entry in filter(str.isdigit, os.listdir("/proc")) if self._server else ():
            with suppress(OSError):
                state, _parent, _group, session = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[:4]
                if (int(entry) == self._server or int(session) == self._window) and state != "Z":
                    found.append(int(entry))
        return found

    def wait_for_screen(self, pattern: str, limit: float = LIMIT) -> str:
        """Wait until `pattern` is on the screen; returns the screen. Raises NotReady."""
        deadline = time.monotonic() + limit
        while True:
            screen = self.screen()
            if re.search(pattern, screen):
                return screen
            try:
                self.wait_for("%output ", deadline - time.monotonic())
            except NotReady:
                raise NotReady(f"waited in vain for {pattern!r} on the screen:\n{screen}") from None

    def _ask(self, command: str, limit: float = LIMIT) -> str:
        """Give tmux one command; returns what it answers."""
        self.write(command.encode() + b"\n")
        return self.wait_for(r"%begin \d+ (\d+) 1\n((?s:.*?))%(?:end|error) \d+ \1 1\n", limit)[2]
