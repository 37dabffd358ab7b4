"""Linphone, registered with Kamailio, and an XMPP client write to each other. Collected only where Linphone is installed."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.interop.proxied import PASSWORD, SIP_DOMAIN, XMPP_DOMAIN, Proxied, proxied
from tests.peers import wire
from tests.peers.linphone import Linphone

ROMEO, JULIET = f"s0@{SIP_DOMAIN}", f"u0@{XMPP_DOMAIN}"


def test_both_ways(tmp_path: Path) -> None:
    async def talk(it: Proxied, phone: Linphone) -> bytes:
        async with wire.client(it.server.c2s_port, XMPP_DOMAIN, "u0", PASSWORD) as juliet:
            await asyncio.to_thread(it.proxy.wait_registered, "s0")
            await asyncio.to_thread(phone.send, f"sip:{JULIET}", "hello from linphone, größer")
            arrived = await juliet.message()
            juliet.send(f"<message to='{ROMEO}'><body>zurück &amp; so</body></message>".encode())
            await asyncio.to_thread(phone.wait_for, rf"Message received from <?sip:{JULIET}[^ ]*: zurück & so\n")
            return arrived

    with proxied(tmp_path, "udp") as it, Linphone(tmp_path / "linphone", ROMEO, proxy=it.proxy_address) as phone:
        arrived = asyncio.run(talk(it, phone))
    assert "<body>hello from linphone, größer</body>".encode() in arrived
