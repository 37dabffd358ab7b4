"""Starting, watching, weighing and ending one program. Standard library only.

Every program runs in a session of its own and is ended by pid. A thread reads what it prints, so that whoever waits for a line
is woken by it.
"""

from __future__ import annotations

import os
import random
import re
import select
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

LIMIT = 20.0


class NotReady(Exception):
    """A program ended, or its time was up, before what was waited for came; the text ends with what it printed last."""


class Process:
    """A command in its own session; what it prints goes to `log` and can be waited for.

    watched: False for a program under load that prints much: its output goes straight to the log, and nothing of it can be waited for.
    """

    def __init__(
        self, command: list[str], log: Path, cwd: Path | None = None, env: dict[str, str] | None = None, *, watched: bool = True
    ) -> None:
        self.command, self.log, self.cwd, self.env, self.watched = command, log, cwd, env, watched
        self.popen: subprocess.Popen[bytes] | None = None
        self._printed = bytearray()
        self._seen = 0
        self._changed = threading.Condition()
        self._over = threading.Event()
        self._reader: threading.Thread | None = None

    # -- life ---------------------------------------------------------------------------------------------------------------------
    def start(self) -> None:
        self._printed, self._seen, self._over = bytearray(), 0, threading.Event()
        if not self.watched:
            with self.log.open("ab") as log:
                self.popen = subprocess.Popen(
                    self.command,
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    cwd=self.cwd,
                    env=self.env,
                    start_new_session=True,
                )
            return
        self.popen = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self.cwd,
            env=self.env,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, args=(self.popen, self._printed, self._over), daemon=True)
        self._reader.start()

    def wait_ready(self, limit: float = LIMIT) -> None:
        """Wait until it does its work. Raises NotReady."""

    def stop(self, how: int = signal.SIGTERM, limit: float = 10) -> int:
        """End it and all it started; returns its exit status (negative: the signal that ended it). Does nothing when it is ended.

        how: SIGTERM asks the program itself, and what is left after `limit` or after its end is killed; SIGKILL kills all at once.
        """
        if self.popen is None:
            return 0
        family = _Family(self.pids())
        if how == signal.SIGKILL:
            family.kill()
        else:
            self.popen.send_signal(how)
        try:
            status = self.popen.wait(limit)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            status = self.popen.wait()
        deadline = time.monotonic() + limit
        family.add(self.pids())
        family.end(limit)
        while (left := self.pids()) and time.monotonic() < deadline:  # what one of them had forked just before it was killed
            _Family(left).end(limit)
        if self._reader:
            self._reader.join(limit)
        if self.popen.stdin:
            with suppress(BrokenPipeError):
                self.popen.stdin.close()
        self.popen = None
        return status

    def kill(self) -> None:
        self.stop(signal.SIGKILL)

    def wait_end(self, limit: float = LIMIT) -> int:
        """Wait until it ends by itself; returns its exit status. Raises NotReady."""
        assert self.popen is not None
        try:
            self.popen.wait(limit)
        except subprocess.TimeoutExpired:
            raise self._not_ready("its end") from None
        return self.stop()

    def __enter__(self) -> Self:
        self.start()
        try:
            self.wait_ready()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    # -- what it prints -----------------------------------------------------------------------------------------------------------
    @property
    def printed(self) -> str:
        """All that it has printed since it was started."""
        return self._printed.decode("utf-8", "replace")

    def write(self, data: bytes) -> None:
        """Put octets on its standard input."""
        assert self.popen is not None
        assert self.popen.stdin is not None
        self.popen.stdin.write(data)
        self.popen.stdin.flush()

    def wait_for(self, pattern: str, limit: float = LIMIT) -> re.Match[str]:
        """Wait until `pattern` is found behind what the last wait found. Raises NotReady.

        Output comes in pieces, so a pattern that ends in `.*` may match half a line: end it with what ends the line.
        """
        deadline = time.monotonic() + limit
        wanted = re.compile(pattern.encode())
        with self._changed:
            while True:
                found = wanted.search(self._printed, self._seen)
                if found:
                    self._seen = found.end()
                    text = re.search(pattern, found[0].decode("utf-8", "replace"))
                    assert text is not None
                    return text
                left = deadline - time.monotonic()
                if left <= 0 or self._over.is_set():
                    raise self._not_ready(repr(pattern))
                self._changed.wait(left)

    def wait_for_each(self, *patterns: str, limit: float = LIMIT) -> None:
        """Wait until each of `patterns` is found, in whatever order they come. Raises NotReady."""
        begin, ends = self._seen, []
        for pattern in patterns:
            self._seen = begin
            self.wait_for(pattern, limit)
            ends.append(self._seen)
        self._seen = max(ends)

    def _read(self, popen: subprocess.Popen[bytes], printed: bytearray, over: threading.Event) -> None:
        assert popen.stdout is not None
        with popen.stdout as output, self.log.open("ab") as log:
            while piece := os.read(output.fileno(), 65536):
                log.write(piece)
                log.flush()
                with self._changed:
                    printed += piece
                    self._changed.notify_all()
        over.set()
        with self._changed:
            self._changed.notify_all()

    def _not_ready(self, what: str) -> NotReady:
        status = None
        if self.popen:
            with suppress(subprocess.TimeoutExpired):  # its output ends a moment before it does
                status = self.popen.wait(1 if self._over.is_set() else 0)
        state = "is still running" if status is None else f"has ended with {status}"
        return NotReady(f"waited in vain for {what}; {self.command[0]} {state}; see {self.log}, which ends with:\n{self.printed[-3000:]}")

    # -- what it listens on -------------------------------------------------------------------------------------------------------
    def wait_for_port(self, host: str, port: int, limit: float = LIMIT) -> None:
        """Wait until it takes TCP connections there. Raises NotReady."""

        def accepts() -> bool:
            with socket.socket() as probe:
                probe.settimeout(0.2)
                return probe.connect_ex((host, port)) == 0

        self._wait_until(accepts, f"{host}:{port}/tcp", limit)

    def wait_for_udp_port(self, port: int, limit: float = LIMIT) -> None:
        """Wait until somebody on this machine has bound the UDP port. Raises NotReady."""
        mark = f":{port:04X} "
        self._wait_until(lambda: mark in Path("/proc/net/udp").read_text(), f"{port}/udp", limit)

    def wait_for_tcp_listener(self, port: int, limit: float = LIMIT) -> None:
        """Wait until somebody on this machine listens on the TCP port; nothing connects to it. Raises NotReady."""
        mark = re.compile(rf":{port:04X} \S+ 0A ")
        self._wait_until(lambda: mark.search(Path("/proc/net/tcp").read_text()) is not None, f"{port}/tcp", limit)

    def _wait_until(self, holds: Callable[[], bool], what: str, limit: float) -> None:
        """No event tells that a port was bound: look, and between looks wait for the process to die."""
        assert self.popen is not None
        deadline = time.monotonic() + limit
        while not holds():
            with suppress(subprocess.TimeoutExpired):
                self.popen.wait(0.02)
                raise self._not_ready(what)
            if time.monotonic() > deadline:
                raise self._not_ready(what)

    # -- weight -------------------------------------------------------------------------------------------------------------------
    def pids(self) -> list[int]:
        """Whatever lives in its session: the process and its descendants, as long as they stay there."""
        if self.popen is None:
            return []
        found = []
        for entry in filter(str.isdigit, os.listdir("/proc")):
            with suppress(OSError):
                state, _parent, _group, session = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[:4]
                if int(session) == self.popen.pid and state != "Z":
                    found.append(int(entry))
        return found

    def usage(self) -> tuple[float, float]:
        """(CPU seconds so far, proportional resident MiB) of all its processes."""
        cpu = memory = 0.0
        for pid in self.pids():
            try:
                for task in os.listdir(f"/proc/{pid}/task"):
                    cpu += int(Path(f"/proc/{pid}/task/{task}/schedstat").read_text().split()[0]) / 1e9
                for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                    if line.startswith("Pss:"):
                        memory += int(line.split()[1]) / 1024
            except (OSError, IndexError):
                continue
        return cpu, memory


class _Family:
    """Processes held by descriptor, so that no other one that got the same pid is meant."""

    def __init__(self, pids: Iterable[int]) -> None:
        self._held: dict[int, int] = {}
        self.add(pids)

    def add(self, pids: Iterable[int]) -> None:
        for pid in pids:
            with suppress(ProcessLookupError):
                if pid not in self._held:
                    self._held[pid] = os.pidfd_open(pid)

    def kill(self) -> None:
        for descriptor in self._held.values():
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)

    def end(self, limit: float) -> None:
        """Kill all of them, wait until they have ended, and let go of them."""
        self.kill()
        deadline = time.monotonic() + limit
        for descriptor in self._held.values():
            select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
            os.close(descriptor)
        self._held.clear()


def fill(template: Path, target: Path, values: Mapping[str, object]) -> None:
    """Write `template` to `target` with every @name@ replaced. Raises KeyError for a name that has no value."""
    target.write_text(re.sub(r"@([a-z_0-9]+)@", lambda found: str(values[found[1]]), template.read_text()))


# Below the range from which the system takes ports for connections, so that none of those can be in the way.
_PORTS = range(20_000, 32_000)
_given: set[int] = set()


def free_port() -> int:
    """A port on 127.0.0.1 that is free for UDP and TCP alike, and was not given before by this process."""
    while True:
        port = random.choice(_PORTS)
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            try:
                tcp.bind(("127.0.0.1", port))
                udp.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in _given:
            _given.add(port)
            return port
