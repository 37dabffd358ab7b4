"""Open-loop load through a gateway in either direction, and the search for the highest rate without loss.

Every message carries `m=<run>-<number> t=<when it was due>` in its body, so the receiving end can tell loss, duplicates and
latency from the text alone. Latency counts from when the message was due, not from when it was written: a sender that
falls behind makes the figures worse, never better (no coordinated omission).
"""

from __future__ import annotations

import asyncio
import gc
import re
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict, dataclass

from tests.bench.peerlab import xmpp
from tests.bench.peerlab.servers import Gateway, Lab
from tests.bench.peerlab.sip import Received, SipPeer
from tests.peers.process import Process

_MARK = re.compile(rb"m=([0-9a-z]+)-(\d+) t=(\d+)")
DIRECTIONS = ("sip-to-xmpp", "xmpp-to-sip")


@dataclass
class Outcome:
    """What one run of load did. Times in milliseconds, CPU in microseconds per delivered message, memory in MiB."""

    direction: str
    rate: float
    seconds: float
    sent: int = 0
    delivered: int = 0
    lost: int = 0
    duplicates: int = 0
    bounced: int = 0
    refused: int = 0
    unanswered: int = 0
    retransmissions: int = 0
    p50: float = 0.0
    p99: float = 0.0
    worst: float = 0.0
    gateway_cpu_us: float = 0.0
    prosody_cpu_us: float = 0.0
    harness_cpu_us: float = 0.0
    gateway_mib: float = 0.0
    sender_late: float = 0.0

    @property
    def clean(self) -> bool:
        """Everything arrived once, was answered with 2xx, and the p99 stayed under 250 ms."""
        return not (self.lost or self.duplicates or self.bounced or self.refused or self.unanswered) and self.p99 < 250

    @property
    def harness_bound(self) -> bool:
        """The sender could not keep its own pace: the rate was not really offered."""
        return self.sender_late > 0.10 * self.seconds


class Bench:
    """The two ends, connected around one running gateway."""

    def __init__(self, lab: Lab, gateway: Gateway, transport: str, server: Process, process: Process, sip_users: int = 200) -> None:
        self.lab, self.gateway, self.transport = lab, gateway, transport
        self.server, self.process, self.sip_users = server, process, sip_users
        self.sip = SipPeer(transport, lab.uas_host, lab.uas_port)
        self.clients: list[xmpp.Link] = []
        self._runs = 0

    async def __aenter__(self) -> Bench:
        await self.sip.open()
        await self.sip.connect(*self.gateway.target(self.transport))
        for n in range(self.lab.users):
            self.clients.append(await xmpp.client("127.0.0.1", self.lab.c2s_port, self.lab.xmpp_domain, f"u{n}", self.lab.password))
        return self

    async def __aexit__(self, *_exc: object) -> None:
        for client in self.clients:
            client.close()
        await self.sip.close()

    # -- addresses ----------------------------------------------------------------------------------------------
    def request_uri(self, n: int) -> str:
        return self.gateway.address(self.gateway.request_uri, self.lab, xmpp_user=f"u{n % self.lab.users}")

    def sip_uri(self, n: int) -> str:
        return self.gateway.address(self.gateway.sip_uri, self.lab, sip_user=f"s{n % self.sip_users}")

    def jid(self, n: int) -> str:
        return self.gateway.address(self.gateway.jid, self.lab, sip_user=f"s{n % self.sip_users}")

    # -- load ---------------------------------------------------------------------------------------------------
    async def run(self, direction: str, rate: float, seconds: float, size: int = 64, grace: float = 5.0) -> Outcome:
        """Offer `rate` messages a second for `seconds`, then wait up to `grace` seconds for what is still on its way."""
        self._runs += 1
        run = f"{self._runs:x}r{int(time.time()) % 1000000:x}".encode()
        total = int(rate * seconds)
        seen: dict[int, float] = {}
        outcome = Outcome(direction, rate, seconds)
        finished = asyncio.Event()
        self.sip.forget()

        def arrived(data: bytes, at: float) -> None:
            found = _MARK.search(data)
            if not found or found[1] != run:
                return
            number = int(found[2])
            if b"type='error'" in data or b'type="error"' in data:
                outcome.bounced += 1
            elif number in seen:
                outcome.duplicates += 1
            else:
                seen[number] = at - int(found[3]) / 1e9
                if len(seen) == total:
                    finished.set()

        def request_arrived(received: Received) -> None:
            arrived(received.data, received.at)

        self.sip.on_request = request_arrived
        for link in self.clients:
            link.on_stanza = arrived
        send = self._sender(direction, run, b"." * max(0, size - 40))
        gc.collect()
        gc.disable()
        cpu, server_cpu, own = self.process.usage()[0], self.server.usage()[0], time.process_time()
        begin = time.monotonic()
        late = 0.0
        number = 0
        while number < total:
            now = time.monotonic()
            due = min(total, int((now - begin) * rate) + 1)
            # At most a few milliseconds of work in one go, so that reading is never starved.
            stop = min(due, number + 64)
            while number < stop:
                send(number, begin + number / rate)
                number += 1
            late = max(late, now - (begin + number / rate))
            await asyncio.sleep(0 if number < due else max(0.0, min(0.002, begin + number / rate - now)))
        outcome.sent, outcome.sender_late = number, late
        with suppress(TimeoutError):
            await asyncio.wait_for(finished.wait(), grace)
        deadline = time.monotonic() + 1
        while self.sip.pending and time.monotonic() < deadline:  # noqa: ASYNC110 (an event for each answer would cost what is measured)
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.1)
        own = time.process_time() - own
        after, outcome.gateway_mib = self.process.usage()
        server_after = self.server.usage()[0]
        gc.enable()
        outcome.delivered = len(seen)
        outcome.lost = total - len(seen)
        if direction == "sip-to-xmpp":
            outcome.refused = sum(n for status, n in self.sip.statuses.items() if status >= 300)
            outcome.unanswered = len(self.sip.pending)
            outcome.retransmissions = self.sip.retransmissions
        else:
            outcome.retransmissions = self.sip.duplicates_seen
        if seen:
            ordered = sorted(seen.values())
            outcome.p50 = ordered[len(ordered) // 2] * 1e3
            outcome.p99 = ordered[int(len(ordered) * 0.99)] * 1e3
            outcome.worst = ordered[-1] * 1e3
            outcome.gateway_cpu_us = (after - cpu) / len(seen) * 1e6
            outcome.prosody_cpu_us = (server_after - server_cpu) / len(seen) * 1e6
            outcome.harness_cpu_us = own / len(seen) * 1e6
        self.sip.pending.clear()
        return outcome

    def _sender(self, direction: str, run: bytes, padding: bytes) -> Callable[[int, float], None]:
        """The function that puts message number n, due at time t, on the wire."""
        if direction == "sip-to-xmpp":
            peer, uris = self.sip, [self.request_uri(n) for n in range(self.lab.users)]
            senders = [self.sip_uri(n) for n in range(self.sip_users)]

            def send_sip(n: int, due: float) -> None:
                body = b"m=%s-%d t=%d %s" % (run, n, int(due * 1e9), padding)
                peer.send(*peer.build(uris[n % len(uris)], senders[n % len(senders)], body))

            return send_sip
        clients, jids = self.clients, [self.jid(n).encode() for n in range(self.sip_users)]

        def send_xmpp(n: int, due: float) -> None:
            clients[n % len(clients)].write(
                b"<message to='%s' type='chat' id='%s-%d'><body>m=%s-%d t=%d %s</body></message>"
                % (jids[n % len(jids)], run, n, run, n, int(due * 1e9), padding)
            )

        return send_xmpp


async def highest_clean_rate(
    bench: Bench,
    direction: str,
    seconds: float,
    say: Callable[[str], None],
    start: float = 250,
    limit: float = 32000,
    steps: int = 4,
    recover: Callable[[], Awaitable[None]] | None = None,
) -> Outcome | None:
    """Double the rate until a run is not clean, then halve the gap `steps` times. Returns the best clean run.

    `recover` is called after each run that was not clean, so that a backlog does not spoil the next one.
    """

    async def attempt(rate: float) -> Outcome:
        outcome = await bench.run(direction, rate, seconds)
        verdict = "clean" if outcome.clean else f"not clean (lost {outcome.lost}, p99 {outcome.p99:.0f} ms)"
        say(f"    {direction} {rate:.0f}/s: {verdict}{', harness late' if outcome.harness_bound else ''}")
        if not outcome.clean and recover:
            await recover()
        return outcome

    best: Outcome | None = None
    low, high, rate = 0.0, 0.0, start
    while not high and rate <= limit:
        outcome = await attempt(rate)
        if outcome.clean and not outcome.harness_bound:
            best, low = outcome, rate
            rate *= 2
        else:
            high = rate
    for _ in range(steps if high else 0):
        rate = (low + high) / 2
        if rate < 20:
            break
        outcome = await attempt(rate)
        if outcome.clean and not outcome.harness_bound:
            best, low = outcome, rate
        else:
            high = rate
    return best


def as_record(outcome: Outcome | None) -> dict[str, object]:
    return asdict(outcome) if outcome else {}
