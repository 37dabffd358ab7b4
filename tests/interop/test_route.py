"""A proxy that is the route set of the gateway takes itself off the Route and goes by the Request-URI (RFC 3261 section 16.12)."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from tests.conformance.talk import rows, status_of
from tests.interop.proxied import PASSWORD, SIP_DOMAIN, XMPP_DOMAIN, Proxied, proxied
from tests.peers import wire

pytestmark = pytest.mark.interop
SAY_ROUTE = 'xlog("L_NOTICE", "to $tu by $(hdr(Route)) end\\n");'


def register(phone: wire.SipEnd) -> bytes:
    """Romeo is where this phone is."""
    return (
        f"REGISTER sip:{SIP_DOMAIN} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{phone.port};branch=z9hG4bKregister\r\nMax-Forwards: 70\r\n"
        f"From: <sip:romeo@{SIP_DOMAIN}>;tag=1\r\nTo: <sip:romeo@{SIP_DOMAIN}>\r\nCall-ID: register\r\nCSeq: 1 REGISTER\r\n"
        f"Contact: <sip:romeo@127.0.0.1:{phone.port}>\r\nContent-Length: 0\r\n\r\n"
    ).encode()


@pytest.mark.requirement("SIP-101")
@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_kamailio_as_a_route_set_of_one(transport: str, tmp_path: Path) -> None:
    async def talk(it: Proxied) -> bytes:
        async with (
            wire.sip("udp", target=("127.0.0.1", it.proxy.port)) as romeo,
            wire.client(it.server.c2s_port, XMPP_DOMAIN, "u0", PASSWORD) as juliet,
        ):
            romeo.put(register(romeo))
            assert status_of(await romeo.responses.next()) == 200
            juliet.send(f"<message to='romeo@{SIP_DOMAIN}'><body>over the proxy</body></message>".encode())
            taken = (await romeo.requests.next()).data
            assert taken.startswith(f"MESSAGE sip:romeo@127.0.0.1:{romeo.port} SIP/2.0\r\n".encode())
            await asyncio.to_thread(
                it.proxy.wait_for, re.escape(f"to sip:romeo@{SIP_DOMAIN} by <sip:127.0.0.1:{it.proxy.port};transport={transport};lr> end")
            )
            return taken

    with proxied(tmp_path, transport, more=";lr", before_relay=SAY_ROUTE) as it:
        taken = asyncio.run(talk(it))
    assert rows(taken, "Route") == []
    assert len(rows(taken, "Via")) == 2
