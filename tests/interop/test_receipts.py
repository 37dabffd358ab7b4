"""Receipts and typing beside programs that people use: what each takes it gets, what it does not know it never sees."""

from __future__ import annotations

import asyncio
from pathlib import Path
from xml.etree.ElementTree import fromstring

import pytest

from gateway.core.cpim import CpimMessage
from tests.bench.peerlab.sip import Received
from tests.bridge import PASSWORD as BRIDGE_PASSWORD
from tests.bridge import Bridge, bridge
from tests.conformance.exchange import respond
from tests.interop.proxied import PASSWORD, SIP_DOMAIN, XMPP_DOMAIN, Proxied, proxied
from tests.peers import wire
from tests.peers.baresip import Baresip
from tests.peers.ejabberd import Ejabberd
from tests.peers.profanity import Profanity
from tests.peers.prosody import Prosody
from tests.peers.wire import SipEnd, XmppEnd

pytestmark = pytest.mark.interop
ROMEO, JULIET = f"s0@{SIP_DOMAIN}", f"u0@{XMPP_DOMAIN}"
TYPING = "application/im-iscomposing+xml"
ASKS = "<request xmlns='urn:xmpp:receipts'/><markable xmlns='urn:xmpp:chat-markers:0'/>"


def test_who_knows_no_cpim_gets_plain_text_and_nobody_an_invented_receipt(tmp_path: Path) -> None:
    """baresip refuses message/cpim with 415; the same message comes again, once, as text."""

    async def talk(it: Proxied, phone: Baresip) -> list[bytes]:
        async with wire.client(it.server.c2s_port, XMPP_DOMAIN, "u0", PASSWORD) as juliet:
            for number, text in enumerate(("größer & so", "and again")):
                juliet.send(
                    f"<message to='{ROMEO}' id='m{number}' type='chat'><body>{text.replace('&', '&amp;')}</body>{ASKS}</message>".encode()
                )
                await asyncio.to_thread(phone.wait_for_message, f"sip:{JULIET};gr=lab", text)
            await asyncio.to_thread(phone.send, f"sip:{JULIET}", "all here")
            assert b"<body>all here</body>" in await juliet.message()
            return list(juliet.stanzas.waiting)

    with (
        proxied(tmp_path, "udp") as it,
        Baresip(tmp_path / "baresip", ROMEO, proxy=it.proxy_address, contacts=[f"sip:{JULIET}"]) as phone,
    ):
        others = asyncio.run(talk(it, phone))
        shown = phone.printed
    assert not [stanza for stanza in others if b"urn:xmpp:receipts" in stanza or b"type='error'" in stanza]
    assert shown.count("größer & so") == 1
    assert "imdn" not in shown


@pytest.mark.parametrize("takes", [True, False])
def test_the_typing_of_profanity_reaches_who_takes_it_and_nobody_else(tmp_path: Path, takes: bool) -> None:
    async def talk(it: Bridge, screen: Profanity) -> list[Received]:
        async with it.phone() as phone:
            phone.answer = lambda request: 0 if request.startswith(b"OPTIONS ") else 200
            screen.login("u0", BRIDGE_PASSWORD, XMPP_DOMAIN, it.server.c2s_port)
            # Only who replies is told of; and this phone says what it takes when it is asked.
            assert (await phone.request(it.sip_of("u0"), it.phone_uri("s0"), b"hello")).status == 202
            await asyncio.to_thread(screen.wait_for_message, ROMEO, "hello")
            await asyncio.to_thread(screen.write_keys, "a")
            asked = await phone.requests.next(where=lambda request: request.data.startswith(b"OPTIONS "))
            accepts = f"Accept: text/plain{f', {TYPING}' if takes else ''}\r\n"
            respond(phone, asked, 200, "OK", accepts)
            await asyncio.to_thread(screen.type, " first reply")
            found = [await phone.requests.next()]
            await asyncio.to_thread(screen.write_keys, "b")
            if takes:
                found.append(await phone.requests.next())
            await asyncio.to_thread(screen.type, " second reply")
            return [*found, await phone.requests.next()]

    with bridge(tmp_path) as it, Profanity(tmp_path / "profanity") as screen:
        found = asyncio.run(talk(it, screen))
    kinds = [request.header("Content-Type") for request in found]
    assert kinds == ["text/plain;charset=UTF-8", *([TYPING] if takes else []), "text/plain;charset=UTF-8"]
    if takes:
        assert b"<state>active</state>" in found[1].body


@pytest.mark.parametrize("server", [Prosody, Ejabberd])
def test_a_sip_peer_with_receipts_and_typing_and_an_xmpp_client(tmp_path: Path, server: type[Prosody] | type[Ejabberd]) -> None:
    """The other way: message/cpim that asks, its receipt and marker back, and the typing of a SIP user."""
    document = '<?xml version="1.0"?><isComposing xmlns="urn:ietf:params:xml:ns:im-iscomposing"><state>active</state></isComposing>'
    asking = (
        f"From: <sip:{ROMEO}>\r\nTo: <sip:{JULIET}>\r\nDateTime: 2026-02-03T09:17:00+01:00\r\nNS: imdn <urn:ietf:params:imdn>\r\n"
        "imdn.Message-ID: q7VtXcR1n0bE\r\nimdn.Disposition-Notification: positive-delivery, display\r\n\r\n"
        "Content-Type: text/plain; charset=utf-8\r\n\r\nMidi ça va?"
    )

    async def says(phone: SipEnd, it: Bridge, body: str, content_type: str) -> None:
        assert (await phone.request(it.sip_of("u0"), it.phone_uri("s0"), body.encode(), content_type)).status == 202

    async def talk(it: Bridge, phone: SipEnd, juliet: XmppEnd) -> list[Received]:
        # Of a stranger nobody is shown that he types.
        await says(phone, it, "Bonjour", "text/plain")
        assert b"Bonjour" in await juliet.message()
        await says(phone, it, document, TYPING)
        typing = fromstring(await juliet.message())
        assert (typing.get("type"), typing[0].tag) == ("chat", "{http://jabber.org/protocol/chatstates}composing")
        await says(phone, it, asking, "message/cpim")
        stanza = fromstring(await juliet.message())
        assert stanza.get("id") == "q7VtXcR1n0bE"
        assert {each.tag.partition("}")[0][1:] for each in stanza} >= {"urn:xmpp:receipts", "urn:xmpp:chat-markers:0"}
        for name, namespace in (("received", "urn:xmpp:receipts"), ("displayed", "urn:xmpp:chat-markers:0")):
            juliet.send(f"<message to='{ROMEO}'><{name} xmlns='{namespace}' id='q7VtXcR1n0bE'/></message>".encode())
        return [await phone.requests.next() for _ in range(2)]

    async def both() -> list[Received]:
        async with it.phone() as phone, it.user("u0") as juliet:
            return await talk(it, phone, juliet)

    with bridge(tmp_path, server=server) as it:
        found = asyncio.run(both())
    for request, status in zip(found, (b"<delivered/>", b"<displayed/>"), strict=True):
        notification = CpimMessage.parse(request.body, strict=True)
        assert notification.entity.content_type.essence == "message/imdn+xml"
        assert status in notification.entity.content
        assert b"<datetime>2026-02-03T09:17:00+01:00</datetime>" in notification.entity.content
