"""What a gateway does with single messages and with faults, observed from both ends of the wire.

A probe returns one line of facts and judges nothing: what the SIP sender was answered, what the XMPP user got, byte for
byte, and the other way round. Faults count messages: answered with 2xx, arrived, arrived twice.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import pairwise
from xml.sax.saxutils import unescape

from tests.bench.peerlab import xmpp
from tests.bench.peerlab.load import Bench
from tests.bench.peerlab.servers import Gateway, Lab
from tests.bench.peerlab.sip import Received
from tests.peers.process import Process

Starter = Callable[[Lab, Gateway, str], Awaitable[tuple[Process, Process]]]
CPIM = (
    "From: <im:s0@example.net>\r\nTo: <im:u0@example.com>\r\nDateTime: 2026-01-02T03:04:05Z\r\nSubject: greeting\r\n\r\n"
    "Content-Type: text/plain;charset=utf-8\r\n\r\nh\u00e9llo from cpim"
).encode()
SIGNED = (
    b"--b\r\nContent-Type: message/cpim\r\n\r\n" + CPIM + b"\r\n--b\r\nContent-Type: application/pkcs7-signature\r\n"
    b"Content-Transfer-Encoding: binary\r\n\r\n\x30\x82\x00\xff\r\n--b--\r\n"
)
RECEIPT_REQUEST = "<request xmlns='urn:xmpp:receipts'/>"
COMPOSING = b"<composing xmlns='http://jabber.org/protocol/chatstates'/>"


class Probe:
    """A Bench that remembers everything that arrives at either end."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.stanzas: list[bytes] = []
        self.requests: list[Received] = []
        self.listen()

    def listen(self) -> None:
        self.stanzas.clear()
        self.requests.clear()
        self.bench.sip.on_request = self.requests.append
        for link in self.bench.clients:
            link.on_stanza = lambda stanza, _at: self.stanzas.append(stanza) if b"<message" in stanza else None

    async def to_xmpp(
        self, body: bytes, content_type: str = "text/plain", extra: str = "", uri: str = "", wait: float = 1.0, limit: float = 3
    ) -> tuple[str, list[bytes]]:
        """Send one MESSAGE; returns the answer's status line, Warning included, and the stanzas that came."""
        self.listen()
        sent = await self.bench.sip.request(uri or self.bench.request_uri(0), self.bench.sip_uri(0), body, content_type, extra, limit)
        await asyncio.sleep(wait)
        answer = sent.response.split(b"\r\n")[0].decode("utf-8", "replace")[8:] if sent.status else "no answer"
        warning = re.search(rb"^Warning:\s*(.*?)\r$", sent.response, re.I | re.M)
        return answer + (f" ({warning[1].decode('utf-8', 'replace')})" if warning else ""), list(self.stanzas)

    async def to_sip(self, stanza: bytes, wait: float = 1.0) -> tuple[list[Received], list[bytes]]:
        """Send one stanza; returns the requests that came to the SIP side and the stanzas that came back."""
        self.listen()
        self.bench.clients[0].write(stanza)
        await asyncio.sleep(wait)
        return list(self.requests), list(self.stanzas)

    @property
    def jid(self) -> str:
        return self.bench.jid(0)


def body_of(stanza: bytes) -> str:
    found = re.search(rb"<body[^>]*>(.*?)</body>", stanza, re.S)
    return unescape(found[1].decode(), {"&quot;": '"', "&apos;": "'"}) if found else "no body"


def shown(stanzas: list[bytes]) -> str:
    return "; ".join(stanza.decode("utf-8", "replace") for stanza in stanzas)[:300] or "nothing"


def came_as(requests: list[Received]) -> str:
    return "; ".join(f"{r.header('Content-Type')} {r.body.decode('utf-8', 'replace')!r}" for r in requests)[:300] or "nothing"


# -- one message ------------------------------------------------------------------------------------------------------
async def text_to_xmpp(p: Probe) -> str:
    answer, stanzas = await p.to_xmpp('h\u00e9llo <&> "q" \U0001f600'.encode())
    same = [body_of(s) for s in stanzas] == ['h\u00e9llo <&> "q" \U0001f600']
    return f"{answer}; body {'identical' if same else 'CHANGED'}; {shown(stanzas)}"


async def text_to_sip(p: Probe) -> str:
    text = 'h\u00e9llo <&> "q" \U0001f600'
    requests, back = await p.to_sip(xmpp.message(p.jid, text, serial="probe-1", extra="<thread>t-77</thread>"))
    if not requests:
        return f"nothing arrived; back: {shown(back)}"
    r = requests[0]
    return (
        f"body {'identical' if r.body.decode() == text else 'CHANGED'}; From {r.header('From')}; To {r.header('To')}; "
        f"{r.header('Content-Type')}; Contact {r.header('Contact') or 'absent'}; "
        f"id/thread {'kept' if b't-77' in r.data or b'probe-1' in r.data else 'not carried'}"
    )


async def cpim_to_xmpp(p: Probe) -> str:
    answer, stanzas = await p.to_xmpp(CPIM, "message/cpim")
    body = body_of(stanzas[0]) if stanzas else "nothing arrived"
    leaked = "DateTime" in body
    return f"{answer}; body {body!r:.120}{' (CPIM headers shown to the user)' if leaked else ''}"


async def signed_to_xmpp(p: Probe) -> str:
    answer, stanzas = await p.to_xmpp(SIGNED, 'multipart/signed; protocol="application/pkcs7-signature"; boundary=b')
    return f"{answer}; {len(stanzas)} stanzas"


async def html_to_xmpp(p: Probe) -> str:
    answer, stanzas = await p.to_xmpp(b"<p>hi</p>", "text/html")
    return f"{answer}; {len(stanzas)} stanzas"


async def typing_to_xmpp(p: Probe) -> str:
    body = b"<isComposing xmlns='urn:ietf:params:xml:ns:im-iscomposing'><state>active</state></isComposing>"
    await p.to_xmpp(b"first")  # a stranger may not be shown as typing
    answer, stanzas = await p.to_xmpp(body, "application/im-iscomposing+xml")
    return f"{answer}; {shown(stanzas)}"


async def latin1_to_xmpp(p: Probe) -> str:
    return await harm_done(p, p.bench.sip_uri(0), "h\u00e9".encode("latin-1"), "text/plain;charset=iso-8859-1")


async def control_to_xmpp(p: Probe) -> str:
    return await harm_done(p, p.bench.sip_uri(0), b"a\x01b\x1bc")


async def nul_to_xmpp(p: Probe) -> str:
    return await harm_done(p, p.bench.sip_uri(0), b"before\x00after")


async def harm_done(p: Probe, sender: str, body: bytes, content_type: str = "text/plain") -> str:
    """Send one hostile message and 20 plain ones right behind it at 50/s: did the hostile one take others with it?"""
    counting = Counting(p)
    counting.listen()
    hostile = asyncio.create_task(p.bench.sip.request(p.bench.request_uri(0), sender, body, content_type, limit=3))
    sent = await counting.send_sip(0, 20, 0.02)
    await asyncio.sleep(5)
    return f"answered {(await hostile).status or 'nothing'}; shown {[body_of(s) for s in counting.others]}; " + counting.verdict(
        sent, 20, "20 plain messages right behind it"
    )


async def long_to_xmpp(p: Probe) -> str:
    text = b"x" * 9000
    answer, stanzas = await p.to_xmpp(text)
    came = "identical" if stanzas and body_of(stanzas[0]) == text.decode() else shown(stanzas)
    return f"9000 bytes over {p.bench.transport}: {answer}; {came}"


async def long_to_sip(p: Probe) -> str:
    requests, back = await p.to_sip(xmpp.message(p.jid, "y" * 9000))
    sizes = [len(r.body) for r in requests]
    return f"9000 bytes: arrived with body sizes {sizes}; back: {shown(back)}"


async def unknown_user(p: Probe) -> str:
    uri = p.bench.gateway.address(p.bench.gateway.request_uri, p.bench.lab, xmpp_user="nobody")
    answer, _stanzas = await p.to_xmpp(b"hi", uri=uri)
    return f"{answer}; SIP sender later hears: {came_as(p.requests)}"


async def refused_by_sip(p: Probe) -> str:
    facts = []
    for status in (404, 480, 603):
        p.bench.sip.answer = partial(_always, status)
        _, back = await p.to_sip(xmpp.message(p.jid, f"to be answered {status}", serial=f"e{status}"))
        facts.append(f"{status}: {shown(back)[:150]}")
    p.bench.sip.answer = lambda _request: 200
    return "; ".join(facts)


def _always(status: int, _request: bytes) -> int:
    return status


async def chat_state_to_sip(p: Probe) -> str:
    requests, back = await p.to_sip(b"<message to='%s' type='chat'>%s</message>" % (p.jid.encode(), COMPOSING))
    return f"{came_as(requests)}; back: {shown(back)}"


async def receipt_to_sip(p: Probe) -> str:
    requests, back = await p.to_sip(xmpp.message(p.jid, "please confirm", serial="r1", extra=RECEIPT_REQUEST))
    return f"MESSAGE {came_as(requests)[:120]}; receipt back: {'yes' if any(b'received' in s for s in back) else 'no'}"


async def header_injection(p: Probe) -> str:
    """A localpart and a body that try to break out into SIP headers."""
    evil = p.jid.replace("s0", "s0%0d%0aX-Evil=1")
    requests, back = await p.to_sip(xmpp.message(evil, "x"))
    split = any(b"\r\nX-Evil" in r.data for r in requests)
    lines = requests[0].data.split(b"\r\n")[0].decode() if requests else "nothing"
    return f"{'HEADER INJECTED' if split else 'no new header'}; {lines}; back: {shown(back)[:120]}"


async def spoofed_sender(p: Probe) -> str:
    """A SIP peer that claims to be an XMPP user."""
    return await harm_done(p, f"sip:u1@{p.bench.lab.xmpp_domain}", b"I am u1")


async def retransmission(p: Probe) -> str:
    """The same datagram three times at once, again after 1 s and after 40 s (past Timer J): how many stanzas?"""
    if p.bench.transport != "udp":
        return "UDP only"
    p.listen()
    branch, data = p.bench.sip.build(p.bench.request_uri(0), p.bench.sip_uri(0), b"once only")
    p.bench.sip.retransmit = False
    p.bench.sip.send(branch, data)
    counts = []
    for pause, times in ((0.0, 2), (1.0, 1), (7.0, 1)):
        await asyncio.sleep(pause)
        for _ in range(times):
            p.bench.sip.put(data)
        await asyncio.sleep(0.5)
        counts.append(len(p.stanzas))
    p.bench.sip.retransmit = True
    return f"stanzas after 3 at once: {counts[0]}; again at +1.5 s: {counts[1]}; again at +9 s (RFC 3261 keeps it for 32 s): {counts[2]}"


async def slow_sip(p: Probe) -> str:
    """The SIP user answers only the third try: does the gateway retransmit as RFC 3261 says?"""
    if p.bench.transport != "udp":
        return "UDP only"
    seen: list[float] = []
    keep = p.bench.sip.message_received

    def third_time(data: bytes, reply: Callable[[bytes], None]) -> None:
        if data.startswith(b"MESSAGE"):
            seen.append(time.monotonic())
            if len(seen) < 3:
                return
        keep(data, reply)

    p.bench.sip.message_received = third_time  # type: ignore[method-assign]
    requests, back = await p.to_sip(xmpp.message(p.jid, "third time lucky"), wait=4)
    p.bench.sip.message_received = keep  # type: ignore[method-assign]
    gaps = [f"{b - a:.2f}" for a, b in pairwise(seen)]
    return f"tries {len(seen)}, gaps {gaps} s; delivered {len(requests)}; back: {shown(back)[:100]}"


# -- faults -----------------------------------------------------------------------------------------------------------
class Counting:
    """Numbered messages in one direction, counted at both ends."""

    def __init__(self, p: Probe) -> None:
        self.p, self.arrived = p, Counter[int]()
        self.others: list[bytes] = []

    def listen(self) -> None:
        def count(data: bytes, _at: float = 0.0) -> None:
            found = re.search(rb"fault-(\d+)", data)
            if found and b"type='error'" not in data and b'type="error"' not in data:
                self.arrived[int(found[1])] += 1
            elif b"<message" in data:
                self.others.append(data)

        self.p.bench.sip.on_request = lambda received: count(received.data)
        for link in self.p.bench.clients:
            link.on_stanza = count

    async def send_sip(self, first: int, number: int, gap: float = 0.02) -> list:  # type: ignore[type-arg]
        peer = self.p.bench.sip
        sent = []
        for n in range(first, first + number):
            branch, data = peer.build(self.p.bench.request_uri(0), self.p.bench.sip_uri(n), b"fault-%d" % n)
            sent.append(peer.send(branch, data))
            await asyncio.sleep(gap)
        return sent

    def verdict(self, sent: list, number: int, what: str) -> str:  # type: ignore[type-arg]
        accepted = sum(200 <= s.status < 300 for s in sent)
        refused = sum(s.status >= 300 for s in sent)
        return (
            f"{what}: {accepted} of {number} answered 2xx, {refused} refused, {number - accepted - refused} unanswered; "
            f"{len(self.arrived)} arrived, {sum(self.arrived.values()) - len(self.arrived)} twice; "
            f"accepted and lost: {max(0, accepted - len(self.arrived))}"
        )


async def reconnect(p: Probe) -> None:
    p.bench.clients.clear()
    for n in range(p.bench.lab.users):
        p.bench.clients.append(await xmpp.client("127.0.0.1", p.bench.lab.c2s_port, p.bench.lab.xmpp_domain, f"u{n}", p.bench.lab.password))


async def xmpp_server_restart(p: Probe) -> str:
    """Kill the XMPP server, send 100 MESSAGEs, start it again, log in, wait 20 s."""
    counting = Counting(p)
    p.bench.server.kill()
    await asyncio.sleep(1)
    sent = await counting.send_sip(0, 100)
    await asyncio.sleep(1)
    p.bench.server.start()
    p.bench.server.wait_ready()
    await reconnect(p)
    counting.listen()
    await asyncio.sleep(20)
    before = counting.verdict(sent, 100, "100 SIP messages while the XMPP server was down")
    counting.arrived.clear()
    after = await counting.send_sip(1000, 20)
    await asyncio.sleep(3)
    return before + ". " + counting.verdict(after, 20, "20 more after it")


async def xmpp_server_dies_under_load(p: Probe) -> str:
    """200 MESSAGEs at 100/s; the XMPP server is killed after one second and restarted at once."""
    counting = Counting(p)
    counting.listen()
    sent = await counting.send_sip(2000, 100, 0.01)
    p.bench.server.kill()
    p.bench.server.start()
    p.bench.server.wait_ready()
    await reconnect(p)
    counting.listen()
    sent += await counting.send_sip(2100, 100, 0.01)
    await asyncio.sleep(20)
    return counting.verdict(sent, 200, "200 across a restart of the XMPP server")


async def gateway_killed(p: Probe) -> str:
    """2000 MESSAGEs at about 4000/s; kill -9 of the gateway in the middle, restart, wait for retransmissions."""
    counting = Counting(p)
    counting.listen()
    sent = []
    for first in range(10000, 12000, 8):
        sent += await counting.send_sip(first, 8, 0)
        await asyncio.sleep(0.002)
        if first == 11000:
            p.bench.process.kill()
    await asyncio.sleep(0.5)
    p.bench.process.start()
    await asyncio.sleep(20)
    return counting.verdict(sent, 2000, "2000 across a kill -9 of the gateway")


async def sip_user_away(p: Probe) -> str:
    """100 stanzas while the SIP side does not answer at all for 12 s, then answers again; wait 30 s."""
    counting = Counting(p)
    errors: list[bytes] = []
    keep = p.bench.sip.message_received
    p.bench.sip.message_received = lambda data, reply: None  # type: ignore[method-assign]
    counting.listen()
    p.bench.clients[0].on_stanza = lambda s, _at: errors.append(s) if b"error" in s else None
    for n in range(100):
        p.bench.clients[0].write(xmpp.message(p.bench.jid(n), f"fault-{4000 + n}", serial=f"f{n}"))
        await asyncio.sleep(0.01)
    await asyncio.sleep(12)
    p.bench.sip.message_received = keep  # type: ignore[method-assign]
    await asyncio.sleep(30)
    return (
        f"100 XMPP messages while SIP was silent for 12 s: {len(counting.arrived)} arrived later, "
        f"{sum(counting.arrived.values()) - len(counting.arrived)} twice, {len(errors)} errors to the XMPP sender"
    )


PROBES: dict[str, Callable[[Probe], Awaitable[str]]] = {
    probe.__name__: probe
    for probe in (
        text_to_xmpp,
        text_to_sip,
        cpim_to_xmpp,
        signed_to_xmpp,
        html_to_xmpp,
        typing_to_xmpp,
        long_to_xmpp,
        long_to_sip,
        unknown_user,
        refused_by_sip,
        chat_state_to_sip,
        receipt_to_sip,
        header_injection,
        spoofed_sender,
        retransmission,
        slow_sip,
        latin1_to_xmpp,
        control_to_xmpp,
        nul_to_xmpp,
        xmpp_server_restart,
        xmpp_server_dies_under_load,
        gateway_killed,
        sip_user_away,
    )
}


async def run_all(
    lab: Lab, gateway: Gateway, transport: str, started: Starter, say: Callable[[str], None], wanted: list[str]
) -> dict[str, str]:
    """Every probe (or the wanted ones) against a fresh Prosody and a fresh gateway; one line of facts each."""
    facts: dict[str, str] = {}
    for name, probe in PROBES.items():
        if wanted and name not in wanted:
            continue
        server, process = await started(lab, gateway, transport)
        try:
            async with Bench(lab, gateway, transport, server, process) as bench:
                try:
                    facts[name] = await asyncio.wait_for(probe(Probe(bench)), 120)
                except (ConnectionError, TimeoutError, OSError) as error:
                    facts[name] = f"probe failed: {error!r}"
                if process.popen and process.popen.poll() is not None:
                    facts[name] += f"; THE GATEWAY DIED (exit {process.popen.returncode})"
            say(f"  {name}: {facts[name]}")
        finally:
            process.kill()
            server.stop()
    return facts
