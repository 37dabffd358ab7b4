"""What this machine allows: the limits against which a gateway's figures are to be read.

`python -m tests.bench.peerlab.anchors [--slix-python PYTHON] [names...]`. Each anchor prints one line. Anchors that need slixmpp or
uvloop run in the interpreter given with --slix-python (a virtual environment that has both).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from tests.bench.peerlab import xmpp
from tests.bench.peerlab.servers import SCRATCH, Lab, prosody
from tests.peers.process import Process

COMPONENT = "anchor.test"
_BLAST = 20000


# -- Prosody ----------------------------------------------------------------------------------------------------------
async def prosody_throughput(lab: Lab) -> str:
    """Raw component to raw clients and back through Prosody, as fast as flow control allows."""
    server = prosody(lab)
    server.start()
    server.wait_ready()
    try:
        return "Prosody: " + await server_throughput(lab, server)
    finally:
        server.stop()


async def server_throughput(lab: Lab, server: Process) -> str:
    """The same against any running XMPP server that has the lab's accounts and component."""
    clients = [await xmpp.client("127.0.0.1", lab.c2s_port, lab.xmpp_domain, f"u{n}", lab.password) for n in range(lab.users)]
    component = await xmpp.component("127.0.0.1", lab.component_port, COMPONENT, lab.secret)
    facts = []

    def to_client(n: int) -> bytes:
        return xmpp.message(f"u{n % lab.users}@{lab.xmpp_domain}", "x" * 64, f"s{n % 200}@{COMPONENT}")

    def to_component(n: int) -> bytes:
        return xmpp.message(f"s{n % 200}@{COMPONENT}", "x" * 64)

    for name, senders, receivers, stanza in (
        ("component -> client", [component], clients, to_client),
        ("client -> component", clients, [component], to_component),
    ):
        got, done = 0, asyncio.Event()

        def arrived(data: bytes, _at: float) -> None:
            nonlocal got
            if b"<message" in data:
                got += 1
                if got == _BLAST:
                    done.set()  # noqa: B023 (called only while this turn of the loop lasts)

        for link in receivers:
            link.on_stanza = arrived
        cpu, own, begin = server.usage()[0], time.process_time(), time.monotonic()
        for n in range(_BLAST):
            link = senders[n % len(senders)]
            link.write(stanza(n))
            if n % 50 == 49:
                await link.drain()
                while n - got > 2000:  # noqa: ASYNC110 (a window, so that the server's queues stay short)
                    await asyncio.sleep(0.001)
        await asyncio.wait_for(done.wait(), 60)
        took = time.monotonic() - begin
        facts.append(
            f"{name} {_BLAST / took:.0f}/s ({(server.usage()[0] - cpu) / _BLAST * 1e6:.0f} us server CPU, "
            f"{(time.process_time() - own) / _BLAST * 1e6:.0f} us harness CPU each)"
        )
    for link in [*clients, component]:
        link.close()
    return "; ".join(facts)


# -- slixmpp ----------------------------------------------------------------------------------------------------------
class FakeServer(asyncio.Protocol):
    """The server half of XEP-0114 with no server behind it: accepts, then counts stanzas or blasts them."""

    def __init__(self, blast: int) -> None:
        self._blast, self.got, self._buffer, self._state = blast, 0, b"", "open"
        self.first = self.last = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        if self._state == "open":
            self._buffer += data
            if b"<stream:stream" in self._buffer and self._buffer.rstrip().endswith(b">"):
                self._buffer, self._state = b"", "handshake"
                self.transport.write(
                    f"<?xml version='1.0'?><stream:stream from='{COMPONENT}' id='1' "
                    "xmlns='jabber:component:accept' "
                    "xmlns:stream='http://etherx.jabber.org/streams'>".encode()
                )
        elif self._state == "handshake":
            self._state = "run"
            self.transport.write(b"<handshake/>")
            if self._blast:
                self.transport.write(
                    b"".join(
                        xmpp.message(f"s{n % 200}@{COMPONENT}", "x" * 64, f"u{n % 4}@xmpp.test/lab", serial=str(n))
                        for n in range(self._blast)
                    )
                )
        else:
            self.last = time.monotonic()
            self.first = self.first or self.last
            self.got += data.count(b"</message>")


def _same(protocol: FakeServer) -> FakeServer:
    return protocol


_SLIX = r"""
import asyncio, cProfile, os, pstats, sys, time
port, mode, uv, count = int(sys.argv[1]), sys.argv[2], sys.argv[3] == "uvloop", int(sys.argv[4])
if uv:
    import uvloop
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
from slixmpp.componentxmpp import ComponentXMPP
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import StanzaPath
loop = asyncio.new_event_loop(); asyncio.set_event_loop(loop)
async def main():
    c = ComponentXMPP("anchor.test", "secret", "127.0.0.1", port)
    done = loop.create_future()
    got, begin, cpu = 0, 0.0, 0.0
    def on_message(msg):
        nonlocal got, begin, cpu
        got += 1
        msg["from"].bare, msg["to"].bare, msg["body"], msg["id"]
        if got == count and not done.done():
            done.set_result(None)
    async def on_start(_):
        nonlocal begin, cpu
        if mode == "receive":
            return  # measured from before the connection: the stanzas come right behind the handshake
        await asyncio.sleep(0.3)
        begin, cpu = time.monotonic(), time.process_time()
        for n in range(count):
            if mode == "send":
                m = c.make_message(mto="u%d@xmpp.test" % (n % 4), mbody="x" * 64, mtype="chat", mfrom="s%d@anchor.test" % (n % 200))
                m["id"] = str(n)
                m.send()
            else:
                c.send_raw("<message to='u%d@xmpp.test' from='s%d@anchor.test' type='chat' id='%d'><body>%s</body></message>"
                           % (n % 4, n % 200, n, "x" * 64))
            if n % 100 == 99:
                await asyncio.sleep(0)
        while getattr(c, "waiting_queue", None) is not None and not c.waiting_queue.empty():
            await asyncio.sleep(0.001)
        done.set_result(None)
    c.add_event_handler("session_start", on_start)
    if mode == "receive":
        c.register_handler(Callback("m", StanzaPath("message"), on_message))
    begin, cpu = time.monotonic(), time.process_time()
    c.connect()
    profile = cProfile.Profile()
    if os.environ.get("PROFILE"):
        profile.enable()
    await asyncio.wait_for(done, 90)
    took, used = time.monotonic() - begin, time.process_time() - cpu
    print("%.0f/s, %.0f us CPU each" % (count / took, used / count * 1e6), flush=True)
    if os.environ.get("PROFILE"):
        profile.disable()
        pstats.Stats(profile).sort_stats("tottime").print_stats(22)
        sys.stdout.flush()
    await asyncio.sleep(0.3)
    os._exit(0)
loop.run_until_complete(main())
"""


async def slixmpp_rates(lab: Lab, python: str, count: int = 10000) -> str:
    """slixmpp as a component against a fake server that costs nothing: its own ceiling."""
    facts = []
    script = lab.work / "slix_anchor.py"
    script.write_text(_SLIX)
    for mode in ("send", "raw", "receive"):
        for loop_name in ("asyncio", "uvloop"):
            fake = FakeServer(count if mode == "receive" else 0)
            listener = await asyncio.get_running_loop().create_server(partial(_same, fake), "127.0.0.1", 0)
            port = listener.sockets[0].getsockname()[1]
            child = await asyncio.create_subprocess_exec(
                python, str(script), str(port), mode, loop_name, str(count), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )
            output, _ = await child.communicate()
            listener.close()
            seen = f" ({fake.got} seen by the server)" if mode != "receive" else ""
            facts.append(f"{mode} ({loop_name}) {output.decode().strip()[-3500:]}{seen}")
    return "slixmpp component: " + "; ".join(facts)


# -- datagrams --------------------------------------------------------------------------------------------------------
_ECHO = r"""
import asyncio, sys, time
if sys.argv[1] == "uvloop":
    import uvloop
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
class Echo(asyncio.DatagramProtocol):
    def connection_made(self, t): self.t = t
    def datagram_received(self, d, a): self.t.sendto(d, a)
async def main():
    t, _ = await asyncio.get_running_loop().create_datagram_endpoint(Echo, local_addr=("127.0.0.1", int(sys.argv[2])))
    print("ready", flush=True)
    await asyncio.sleep(float(sys.argv[3]))
    print(time.process_time())
asyncio.run(main())
"""


def udp_echo(python: str, seconds: float = 3.0) -> str:
    """An asyncio echo of 500-byte datagrams driven by a blocking sender with 64 outstanding."""
    facts = []
    for loop_name in ("asyncio", "uvloop"):
        child = subprocess.Popen([python, "-c", _ECHO, loop_name, "15999", str(seconds + 1)], stdout=subprocess.PIPE, text=True)
        assert child.stdout
        child.stdout.readline()
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.settimeout(0.5)
        sock.connect(("127.0.0.1", 15999))
        data, got = b"x" * 500, 0
        for _ in range(64):
            sock.send(data)
        begin = time.monotonic()
        while time.monotonic() - begin < seconds:
            for _ in range(100):
                sock.recv(2048)
                sock.send(data)
                got += 1
        took = time.monotonic() - begin
        cpu = float(child.communicate()[0])
        facts.append(f"{loop_name} {got / took:.0f}/s, {cpu / got * 1e6:.1f} us CPU each")
    return "UDP echo: " + "; ".join(facts)


# -- disk -------------------------------------------------------------------------------------------------------------
def sqlite_commits(where: Path, seconds: float = 2.0) -> str:
    """Rows of 800 bytes into a WAL database with synchronous=FULL, committed in groups."""
    facts = []
    for group in (1, 10, 50, 200):
        with tempfile.TemporaryDirectory(dir=where) as folder:
            db = sqlite3.connect(Path(folder) / "t.db", isolation_level=None)
            db.execute("pragma journal_mode=wal")
            db.execute("pragma synchronous=full")
            db.execute("create table m(id integer primary key, key text unique, state int, at real, body blob)")
            rows, commits, begin, cpu = 0, 0, time.monotonic(), time.process_time()
            while time.monotonic() - begin < seconds:
                db.execute("begin immediate")
                db.executemany(
                    "insert into m(key,state,at,body) values(?,0,?,?)", [(f"k{rows + n}", begin, b"x" * 800) for n in range(group)]
                )
                db.execute("commit")
                rows += group
                commits += 1
            took = time.monotonic() - begin
            cpu = time.process_time() - cpu
            facts.append(
                f"group of {group}: {rows / took:.0f} rows/s ({took / commits * 1e3:.2f} ms a commit, {cpu / rows * 1e6:.0f} us CPU a row)"
            )
            db.close()
    with tempfile.NamedTemporaryFile(dir=where) as file:
        n, begin = 0, time.monotonic()
        while time.monotonic() - begin < 1:
            os.write(file.fileno(), b"x" * 4096)
            os.fdatasync(file.fileno())
            n += 1
    return f"SQLite WAL synchronous=FULL: {'; '.join(facts)}; bare 4 KiB write+fdatasync {n}/s"


# -- parsing ----------------------------------------------------------------------------------------------------------
_REQUEST = (
    b"MESSAGE sip:u0@xmpp.test SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:15080;branch=z9hG4bK303f6759c1;rport\r\n"
    b"Max-Forwards: 70\r\nFrom: <sip:s0@kamailio.test>;tag=303f6759c1\r\nTo: <sip:u0@xmpp.test>\r\n"
    b"Call-ID: 303f6759c1@127.0.0.1\r\nCSeq: 1 MESSAGE\r\nContent-Type: text/plain\r\nContent-Length: 64\r\n\r\n" + b"x" * 64
)


def minimal_translation(count: int = 50000) -> str:
    """The least work that could be called a translation: split the headers, find two addresses, write a stanza."""
    address = re.compile(r"<sips?:([^;>]+)")

    def translate(data: bytes) -> bytes:
        head, _, body = data.partition(b"\r\n\r\n")
        lines = head.decode("utf-8").split("\r\n")
        method, uri, _version = lines[0].split(" ")
        headers: dict[str, list[str]] = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers.setdefault(name.strip().lower(), []).append(value.strip())
        sender = address.search(headers["from"][0])
        text = body[: int(headers["content-length"][0])].decode("utf-8")
        assert sender
        assert method == "MESSAGE"
        return (
            f"<message from={quoteattr(sender[1])} to={quoteattr(uri[4:])} type='chat' "
            f"id={quoteattr(headers['call-id'][0])}><body>{escape(text)}</body></message>"
        ).encode()

    def answer(data: bytes) -> bytes:
        lines = data.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]
        keep = [line for line in lines if line[:4] in (b"Via:", b"From", b"To: ", b"Call", b"CSeq")]
        return b"\r\n".join([b"SIP/2.0 202 Accepted", *keep, b"Content-Length: 0", b"", b""])

    begin = time.process_time()
    for _ in range(count):
        translate(_REQUEST)
    first = time.process_time()
    for _ in range(count):
        answer(_REQUEST)
    second = time.process_time()
    return (
        f"minimal Python translation: parse and serialise {(first - begin) / count * 1e6:.1f} us, "
        f"compose the 202 {(second - first) / count * 1e6:.1f} us"
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="peerlab.anchors", description=__doc__)
    parser.add_argument("names", nargs="*", help="prosody slixmpp udp sqlite parse (default: all)")
    parser.add_argument("-w", "--work", type=Path, default=SCRATCH)
    parser.add_argument("--slix-python", default=sys.executable)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    lab = Lab(options.work.resolve(), components=[COMPONENT])
    anchors: dict[str, Callable[[], str]] = {
        "prosody": lambda: asyncio.run(prosody_throughput(lab)),
        "slixmpp": lambda: asyncio.run(slixmpp_rates(lab, options.slix_python)),
        "udp": lambda: udp_echo(options.slix_python),
        "sqlite": lambda: sqlite_commits(options.work),
        "parse": minimal_translation,
    }
    for name in options.names or anchors:
        print(anchors[name](), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
