"""baresip, registered with Kamailio, and Profanity, logged in at Prosody, write to each other through the gateway."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from tests.interop.proxied import PASSWORD, SIP_DOMAIN, XMPP_DOMAIN, Proxied, proxied
from tests.peers import wire
from tests.peers.baresip import Baresip
from tests.peers.profanity import Profanity

pytestmark = pytest.mark.interop
ROMEO, JULIET = f"s0@{SIP_DOMAIN}", f"u0@{XMPP_DOMAIN}"


def baresip(it: Proxied, work: Path, transport: str = "udp") -> Baresip:
    return Baresip(work, ROMEO, proxy=it.proxy_address, contacts=[f"sip:{JULIET}"], transport=transport)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_baresip_behind_kamailio(transport: str, tmp_path: Path) -> None:
    """Both ways, with letters beyond ASCII and characters that mean something to XML and to SIP."""

    async def talk(it: Proxied, phone: Baresip) -> bytes:
        async with wire.client(it.server.c2s_port, XMPP_DOMAIN, "u0", PASSWORD) as juliet:
            await asyncio.to_thread(phone.send, f"sip:{JULIET}", "Grüße <b> & 'q'")
            arrived = await juliet.message()
            juliet.send(f"<message to='{ROMEO}'><body>zurück &lt;/b> &amp; so</body></message>".encode())
            await asyncio.to_thread(phone.wait_for_message, f"sip:{JULIET};gr=lab", "zurück </b> & so")
            return arrived

    with proxied(tmp_path, transport) as it, baresip(it, tmp_path / "baresip", transport) as phone:
        arrived = asyncio.run(talk(it, phone)).decode()
    assert re.search(f"from=['\"]{ROMEO}", arrived)
    assert re.search("<body>Grüße &lt;b&gt; &amp; (?:'|&apos;)q(?:'|&apos;)</body>", arrived)


def test_whom_the_registrar_does_not_know(tmp_path: Path) -> None:
    """Kamailio's 404 comes back to the author as an error."""

    async def ask(it: Proxied) -> bytes:
        async with wire.client(it.server.c2s_port, XMPP_DOMAIN, "u0", PASSWORD) as juliet:
            juliet.send(f"<message to='nobody@{SIP_DOMAIN}' id='q1'><body>?</body></message>".encode())
            return await juliet.message()

    with proxied(tmp_path, "udp") as it:
        error = asyncio.run(ask(it))
    assert re.search(rb"type=['\"]error['\"]", error)
    assert re.search(rb"id=['\"]q1['\"]", error)
    assert b"<item-not-found" in error


def test_profanity_and_baresip(tmp_path: Path) -> None:
    """Two programs that people use, and nothing of ours at either end."""
    with proxied(tmp_path, "udp") as it, baresip(it, tmp_path / "baresip") as phone, Profanity(tmp_path / "profanity") as screen:
        screen.login("u0", PASSWORD, XMPP_DOMAIN, it.server.c2s_port)
        screen.send(ROMEO, "hello from a terminal; größer, <3")
        phone.wait_for(r'sip:u0@xmpp\.test[^ ]*: "hello from a terminal; größer, <3"')
        phone.send(f"sip:{JULIET}", "hello from a telephone, & so on")
        screen.wait_for_message(ROMEO, "hello from a telephone, & so on")
