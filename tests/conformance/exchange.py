"""What conformance tests of single messages have in common: one message each way, and what comes back for it.

Stanzas are read with the standard library's own XML parser, which is none of the gateway's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from xml.etree.ElementTree import Element, fromstring

from tests.bench.peerlab.sip import Received
from tests.bridge import Bridge
from tests.peers.process import free_port
from tests.peers.wire import SipEnd, XmppEnd

STANZAS = "urn:ietf:params:xml:ns:xmpp-stanzas"
DELAY = "urn:xmpp:delay"
LANG = "{http://www.w3.org/XML/1998/namespace}lang"


@asynccontextmanager
async def both(it: Bridge, user: str = "u0") -> AsyncIterator[tuple[SipEnd, XmppEnd]]:
    """The phone, and an XMPP user who is logged in as user@xmpp.test/lab."""
    async with it.phone() as phone, it.user(user) as client:
        yield phone, client


@asynccontextmanager
async def peer(it: Bridge, address: str, transport: str = "udp") -> AsyncIterator[SipEnd]:
    """A SIP peer at some loopback address."""
    end = SipEnd(transport, free_port())
    end.host = address
    await end.open()
    try:
        await end.connect(*it.gateway.address)
        yield end
    finally:
        await end.close()


async def from_phone(
    phone: SipEnd,
    client: XmppEnd,
    body: bytes,
    *,
    sender: str = "sip:s0@stoxgate.test",
    target: str = "sip:u0@xmpp.test",
    content_type: str = "text/plain",
    extra: str = "",
) -> Element:
    """Send one MESSAGE, which must be accepted, and return the stanza that becomes of it."""
    sent = await phone.request(target, sender, body, content_type, extra)
    assert sent.status == 202, sent.response
    return fromstring(await client.message())


async def from_client(phone: SipEnd, client: XmppEnd, content: str, *, to: str = "s0@stoxgate.test", attributes: str = "") -> Received:
    """Send one stanza and return the MESSAGE that becomes of it."""
    client.send(f"<message to='{to}' {attributes}>{content}</message>".encode())
    return await phone.requests.next()


async def refused_stanza(client: XmppEnd, content: str, *, to: str, attributes: str = "id='r1'") -> Element:
    """Send one stanza and return the error stanza that comes back."""
    client.send(f"<message to='{to}' {attributes}>{content}</message>".encode())
    return fromstring(await client.message(where=lambda stanza: b"type='error'" in stanza))


def respond(phone: SipEnd, request: Received, status: int, reason: str = "Because", headers: str = "") -> None:
    """Answer a request to which `phone.answer` has said nothing."""
    kept = [
        line
        for line in request.data.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
        if line.partition(":")[0] in ("Via", "From", "Call-ID", "CSeq")
    ]
    lines = [f"SIP/2.0 {status} {reason}", *kept, f"To: {request.header('To')};tag=callee"]
    phone.put(("\r\n".join(lines) + f"\r\n{headers}Content-Length: 0\r\n\r\n").encode())


def silent(phone: SipEnd) -> None:
    """Have the phone answer nothing of itself."""
    phone.answer = lambda _request: 0


def error_of(stanza: Element) -> tuple[str, str, str, str]:
    """(type, condition, text, address) of an error stanza, which must have one error with one defined condition."""
    assert stanza.get("type") == "error"
    [error] = stanza.findall("error") or stanza.findall("{jabber:client}error")
    conditions = [each for each in error if each.tag.startswith(f"{{{STANZAS}}}") and each.tag != f"{{{STANZAS}}}text"]
    [condition] = conditions
    return error.get("type", ""), condition.tag.rpartition("}")[2], error.findtext(f"{{{STANZAS}}}text", ""), condition.text or ""


def start_line(request: Received) -> str:
    """The Request-Line."""
    return request.data.partition(b"\r\n")[0].decode()


# -- each with a loop of its own -----------------------------------------------------------------------------------------
def to_phone(it: Bridge, content: str, attributes: str = "", *, to: str = "s0@stoxgate.test") -> Received:
    """The MESSAGE for one stanza of juliet."""

    async def talk() -> Received:
        async with both(it) as (phone, juliet):
            return await from_client(phone, juliet, content, to=to, attributes=attributes)

    return asyncio.run(talk())


def to_client(it: Bridge, body: bytes, content_type: str = "text/plain", extra: str = "", **ends: str) -> Element:
    """The stanza for one MESSAGE of romeo."""

    async def talk() -> Element:
        async with both(it) as (phone, juliet):
            return await from_phone(phone, juliet, body, content_type=content_type, extra=extra, **ends)

    return asyncio.run(talk())


def refused(it: Bridge, body: bytes, content_type: str = "text/plain", extra: str = "") -> bytes:
    """The answer to a MESSAGE that does not reach juliet: what she gets next is the one after it."""

    async def talk() -> bytes:
        async with both(it) as (phone, juliet):
            sent = await phone.request("sip:u0@xmpp.test", "sip:s0@stoxgate.test", body, content_type, extra)
            assert (await from_phone(phone, juliet, b"after")).findtext("body") == "after"
            return sent.response

    return asyncio.run(talk())
