"""Linphone starts relocated, sends, shows and confirms. Not marked `interop`: it is a peer that need not be there."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.peers import wire
from tests.peers.linphone import Linphone

CPIM = (
    b"From: <sip:u0@xmpp.test>\r\nTo: <sip:s0@stoxgate.test>\r\nDateTime: 2026-06-05T12:00:00Z\r\nNS: imdn <urn:ietf:params:imdn>\r\n"
    b"imdn.Message-ID: m-1\r\nimdn.Disposition-Notification: positive-delivery\r\n\r\n"
    b"Content-Type: text/plain;charset=utf-8\r\n\r\nwrapped"
)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_linphone_sends_shows_and_confirms(transport: str, tmp_path: Path) -> None:
    async def talk() -> tuple[bytes, int, bytes]:
        async with wire.sip(transport) as gateway:
            with Linphone(tmp_path, "s0@stoxgate.test", proxy=f"127.0.0.1:{gateway.port}", transport=transport) as phone:
                await gateway.requests.next(where=lambda request: request.data.startswith(b"REGISTER "))
                await asyncio.to_thread(phone.send, "sip:u0@xmpp.test", "hello from linphone")
                out = await gateway.requests.next(where=lambda request: request.data.startswith(b"MESSAGE "))
                await gateway.connect("127.0.0.1", phone.port)
                sent = await gateway.request("sip:s0@stoxgate.test", "sip:u0@xmpp.test", CPIM, "message/cpim")
                await asyncio.to_thread(phone.wait_for_message, "sip:u0@xmpp.test", "wrapped")
                receipt = await gateway.requests.next(where=lambda request: request.data.startswith(b"MESSAGE "))
                return out.data, sent.status, receipt.data

    out, status, receipt = asyncio.run(talk())
    assert out.startswith(b"MESSAGE sip:u0@xmpp.test SIP/2.0\r\n")
    assert out.endswith(b"\r\n\r\nhello from linphone")
    assert status == 200
    assert b"Content-Type: message/imdn+xml\r\n" in receipt
