"""The demo of `make run`: Stoxgate between a real XMPP server and two ends, on loopback, in a folder that goes away with it.

python -m tests.demo            two messages, then it stays up for clients of your own until Ctrl-C
python -m tests.demo --once     two messages, then the end
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import secrets
import select
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.peers import wire
from tests.peers.process import NotReady, Process, free_port
from tests.peers.programs import ProgramMissing
from tests.peers.prosody import Prosody
from tests.peers.stoxgate import Stoxgate

SIP, XMPP = "example.net", "example.com"
ROMEO, JULIET = f"romeo@{SIP}", f"juliet@{XMPP}"
QUESTION = "Shall I hear more, or shall I speak at this?"
ANSWER = "Good night, good night! Parting is such sweet sorrow \N{EM DASH} <3"
BOLD, CYAN, GREEN = "1", "36", "32"
ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

UP = """
Now it is your turn. Everything listens on 127.0.0.1 only.

  XMPP client    {juliet} or mira@{xmpp}, password {password}, port {c2s_port}, no TLS; for instance in profanity:
                 /connect mira@{xmpp} server 127.0.0.1 port {c2s_port} tls disable
                 write to {romeo}
  SIP client     sip:{romeo}, no password, no registration; outbound proxy 127.0.0.1:{gateway_port}, UDP;
                 it has to listen on port {phone_port}: what is written to it before waits in the queue
                 write to sip:{juliet}
  configuration  {config}
  log            {log}
  queue          .venv/bin/stoxgate queue list -c {config}
  send           .venv/bin/stoxgate send -c {config} --from sip:{romeo} --to {juliet} hello

Ctrl-C ends all of it and removes the folder."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.demo", description="Stoxgate between a real XMPP server and two ends.")
    parser.add_argument("--once", action="store_true", help="end after the two messages")
    once = parser.parse_args(arguments).once
    for number in ENDS:
        signal.signal(number, signal.default_int_handler)
    try:
        demo(once)
    except KeyboardInterrupt:
        say("\nended")
    except (NotReady, ProgramMissing, OSError) as error:  # a TimeoutError is an OSError
        print(f"the demo failed: {error}", file=sys.stderr)
        return 1
    return 0


def demo(once: bool) -> None:
    """Start everything, let the two ends talk, and stay. Raises NotReady, ProgramMissing, OSError."""
    secret, password, phone_port = secrets.token_hex(16), secrets.token_hex(4), free_port()
    with (
        TemporaryDirectory(prefix="stoxgate-demo-") as folder,
        Prosody(
            Path(folder, "prosody"),
            domain=XMPP,
            users={"juliet": password, "mira": password},
            components={SIP: secret},
            modules=["offline"],
        ) as server,
        Stoxgate(
            Path(folder, "gateway"),
            component_port=server.component_port,
            secret=secret,
            sip_domains=[SIP],
            xmpp_domains=[XMPP],
            next_hop=f"sip:127.0.0.1:{phone_port}",
        ) as gateway,
        undisturbed_end(),
    ):
        asyncio.run(talk(server, gateway, password, phone_port))
        if not once:
            say(
                UP.format(
                    juliet=JULIET,
                    romeo=ROMEO,
                    xmpp=XMPP,
                    password=password,
                    c2s_port=server.c2s_port,
                    gateway_port=gateway.port,
                    phone_port=phone_port,
                    config=gateway.config,
                    log=gateway.log,
                )
            )
            stay(server, gateway)


@contextmanager
def undisturbed_end() -> Iterator[None]:
    """A second Ctrl-C must not leave programs behind."""
    try:
        yield
    finally:
        for number in ENDS:
            signal.signal(number, signal.SIG_IGN)


async def talk(server: Prosody, gateway: Stoxgate, password: str, phone_port: int) -> None:
    """One message each way, shown where it was sent and where it arrived."""
    async with (
        wire.sip("udp", target=gateway.address, port=phone_port) as romeo,
        wire.client(server.c2s_port, XMPP, "juliet", password, resource="balcony") as juliet,
    ):
        sent = await romeo.request(f"sip:{JULIET}", f"sip:{ROMEO}", QUESTION.encode(), "text/plain;charset=UTF-8")
        show(f"{ROMEO} sends over SIP", CYAN, sent.data)
        show("and is answered", CYAN, sent.response)
        if sent.status != 202:
            raise NotReady(f"the gateway answered {sent.status or 'nothing'} instead of 202; its log ends with:\n{gateway.printed[-2000:]}")
        arrived = await juliet.message()
        show(f"{JULIET} gets from her XMPP server", GREEN, arrived)

        thread = re.search(rb"<thread>.*?</thread>", arrived)
        reply = (
            f"<message to='{ROMEO}' type='chat' id='good-night'><body>{ANSWER.replace('<', '&lt;')}</body>".encode()
            + (thread[0] if thread else b"")
            + b"</message>"
        )
        juliet.send(reply)
        show(f"{JULIET} replies over XMPP", GREEN, reply)
        show(f"{ROMEO} gets over SIP, in the same conversation", CYAN, (await romeo.requests.next()).data)


def stay(*processes: Process) -> None:
    """Until Ctrl-C or SIGTERM. Raises NotReady when one of the programs ends by itself."""
    ends = {os.pidfd_open(process.popen.pid): process for process in processes if process.popen}
    try:
        for end in select.select(list(ends), [], [])[0]:
            raise NotReady(f"{ends[end].command[0]} has ended; it said:\n{ends[end].printed[-2000:]}")
    finally:
        for end in ends:
            os.close(end)


def show(title: str, colour: str, octets: bytes) -> None:
    """Octets, a line of them on a line."""
    say(f"\n{coloured(title, BOLD)}")
    for line in octets.decode("utf-8", "backslashreplace").rstrip("\r\n").split("\n"):
        say(f"  {coloured('|', colour)} {coloured(line.rstrip(chr(13)), colour)}".rstrip())


def coloured(text: str, colour: str) -> str:
    return f"\x1b[{colour}m{text}\x1b[0m" if sys.stdout.isatty() else text


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
