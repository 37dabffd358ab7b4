"""SIPp: plays a scenario a number of times and says how often it went as written."""

from __future__ import annotations

import csv
from pathlib import Path

from tests.peers.process import LIMIT, Process, fill, free_port
from tests.peers.programs import tree_of

_TEMPLATES = Path(__file__).parent / "templates"


class Sipp(Process):
    """One run of one scenario from one port of 127.0.0.1; use `sending` and `answering`, or give a scenario file.

    calls: how often the scenario is played before it ends by itself. rate: calls a second. transport: "udp" or "tcp".
    """

    def __init__(
        self, work: Path, scenario: Path, *, target: str = "", calls: int = 1, rate: float = 10, transport: str = "udp", port: int = 0
    ) -> None:
        self.work, self.port, self.calls, self.listens = work, port or free_port(), calls, not target
        self._transport = transport
        tree = tree_of("sipp")
        options = {
            "-sf": scenario,
            "-i": "127.0.0.1",
            "-p": self.port,
            "-t": {"udp": "u1", "tcp": "t1"}[transport],
            "-m": calls,
            "-r": rate,
            "-timeout": 60,
            "-error_file": work / "errors.log",
            "-stf": work / "stat.csv",
            "-fd": 1,
        }
        super().__init__(
            [
                tree.program("sipp"),
                *([target] if target else []),
                "-nostdin",
                "-timeout_error",
                "-trace_err",
                "-trace_stat",
                *(str(part) for option in options.items() for part in option),
            ],
            work / "sipp.log",
            work,
            tree.environment(work),
        )

    @classmethod
    def sending(
        cls,
        work: Path,
        target: str,
        *,
        request_uri: str,
        from_uri: str,
        text: str = "hello from sipp",
        status: int = 202,
        calls: int = 1,
        rate: float = 10,
        transport: str = "udp",
    ) -> Sipp:
        """Sends MESSAGE to `target` (host:port) and expects `status` for each."""
        work.mkdir(parents=True, exist_ok=True)
        scenario = work / "scenario.xml"
        fill(_TEMPLATES / "sipp-send.xml", scenario, {"request_uri": request_uri, "from_uri": from_uri, "text": text, "status": status})
        return cls(work, scenario, target=target, calls=calls, rate=rate, transport=transport)

    @classmethod
    def answering(cls, work: Path, *, status: int = 200, calls: int = 1, transport: str = "udp", port: int = 0) -> Sipp:
        """Waits for MESSAGE and answers each with `status`."""
        work.mkdir(parents=True, exist_ok=True)
        scenario = work / "scenario.xml"
        fill(_TEMPLATES / "sipp-answer.xml", scenario, {"status": status})
        return cls(work, scenario, calls=calls, transport=transport, port=port)

    def wait_ready(self, limit: float = LIMIT) -> None:
        """A sender is ready at once; one that answers is when its port is bound."""
        if self.listens and self._transport == "udp":
            self.wait_for_udp_port(self.port, limit)
        elif self.listens:
            self.wait_for_tcp_listener(self.port, limit)

    def results(self, limit: float = 90) -> tuple[int, int]:
        """Wait until it ends by itself; how many calls went as written, and how many did not. Raises NotReady."""
        self.wait_end(limit)
        with (self.work / "stat.csv").open() as file:
            last = list(csv.DictReader(file, delimiter=";"))[-1]
        return int(last["SuccessfulCall(C)"]), int(last["FailedCall(C)"])
