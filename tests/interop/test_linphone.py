"""Linphone, registered with Kamailio, and an XMPP client write to each other. Collected only where Linphone is installed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from xml.etree.ElementTree import fromstring

import pytest

from tests.interop.proxied import PASSWORD, SIP_DOMAIN, XMPP_DOMAIN, Proxied, proxied
from tests.peers import wire
from tests.peers.ejabberd import Ejabberd
from tests.peers.linphone import Linphone
from tests.peers.prosody import Prosody

pytestmark = pytest.mark.interop

# Some of its receipts are compressed.
_DECODES = '[[route]]\ndomain = "*"\ndecode = true\n'
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


@pytest.mark.parametrize("server", [Prosody, Ejabberd])
def test_its_receipt_comes_back_as_a_receipt(tmp_path: Path, server: Callable[..., Prosody | Ejabberd]) -> None:
    """It takes message/cpim, and its bare message/imdn+xml names the stanza of the author in the end."""

    async def talk(it: Proxied, phone: Linphone) -> bytes:
        async with wire.client(it.server.c2s_port, XMPP_DOMAIN, "u0", PASSWORD) as juliet:
            await asyncio.to_thread(it.proxy.wait_registered, "s0")
            request = "<request xmlns='urn:xmpp:receipts'/><markable xmlns='urn:xmpp:chat-markers:0'/>"
            juliet.send(f"<message to='{ROMEO}' id='my 1st' type='chat'><body>größer &amp; so</body>{request}</message>".encode())
            await asyncio.to_thread(phone.wait_for, rf"Message received from <?sip:{JULIET}[^ ]*: größer & so\n")
            return await juliet.message()

    with (
        proxied(tmp_path, "udp", xmpp=server, tables=_DECODES) as it,
        Linphone(tmp_path / "linphone", ROMEO, proxy=it.proxy_address) as phone,
    ):
        receipt = fromstring(asyncio.run(talk(it, phone)))
    assert (receipt.get("from"), receipt.get("type")) == (ROMEO, "chat")
    [received] = receipt
    assert (received.tag, received.get("id")) == ("{urn:xmpp:receipts}received", "my 1st")
