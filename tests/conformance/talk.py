"""A conversation between a SIP phone and an XMPP user on a shared bridge, with a SIP address that no other test uses.

    @conversation()
    async def test_that(it: Talk) -> None:
        assert (await it.says(b"hello")).status == 202
        assert "hello" in await it.hears()

Nothing is waited for in vain: that nothing came is known when a later message on the same way has come.
"""

from __future__ import annotations

import asyncio
import inspect
import itertools
import json
import re
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

from tests.bench.peerlab.sip import Received, Sent
from tests.bridge import Bridge
from tests.peers import wire
from tests.peers.stoxgate import SIP_DOMAIN, XMPP_DOMAIN

ACCEPT = (
    "text/plain, text/html, message/cpim, message/imdn+xml, message/sipfrag, application/im-iscomposing+xml, "
    "multipart/mixed, multipart/alternative, multipart/signed, application/pkcs7-mime, message/external-body, text/uri-list, "
    "application/vnd.gsma.rcs-ft-http+xml, application/vnd.gsma.rcspushlocation+xml"
)
"""What a MESSAGE to the gateway may carry (IMSG-21, less what is not built)."""
_numbers = itertools.count(1)


@dataclass(slots=True)
class Talk:
    """romeo at his phone, juliet (u0) on the XMPP side. romeo: his SIP user, new for each test. domain: where he lives."""

    bridge: Bridge
    phone: wire.SipEnd
    juliet: wire.XmppEnd
    romeo: str
    domain: str = SIP_DOMAIN

    # -- addresses -----------------------------------------------------------------------------------------------------
    @property
    def sip(self) -> str:
        """The SIP URI of romeo."""
        return f"sip:{self.romeo}@{self.domain}"

    @property
    def jid(self) -> str:
        """Romeo as the XMPP side knows him."""
        return f"{self.romeo}@{self.domain}"

    @property
    def to(self) -> str:
        """The SIP URI of juliet."""
        return f"sip:u0@{XMPP_DOMAIN}"

    # -- SIP to XMPP ---------------------------------------------------------------------------------------------------
    async def says(self, body: bytes, content_type: str = "text/plain", extra: str = "", to: str = "") -> Sent:
        """Send one MESSAGE from romeo to juliet, and wait for its final answer."""
        return await self.phone.request(to or self.to, self.sip, body, content_type, extra, limit=wire.LIMIT)

    async def hears(self, juliet: wire.XmppEnd | None = None) -> str:
        """The next stanza from romeo at juliet."""
        mine = f"from='{self.jid}".encode()
        return (await (juliet or self.juliet).message(where=lambda stanza: mine in stanza.replace(b'"', b"'"))).decode()

    async def hears_nothing(self, rounds: int = 1) -> None:
        """Nothing that romeo has sent so far and that is not taken yet reaches juliet. rounds: 3 where a report might come of it."""
        for _ in range(rounds):
            assert (await self.says(b"that is all")).status == 202
            assert "that is all" in await self.hears()

    def request(
        self,
        method: str = "MESSAGE",
        *,
        uri: str = "",
        to: str = "",
        from_: str = "",
        to_tag: str = "",
        branch: str = "",
        call_id: str = "",
        cseq: int = 1,
        extra: str = "",
        body: bytes = b"hello",
        content_type: str = "text/plain",
        transport: str = "",
        max_forwards: int = 70,
    ) -> bytes:
        """A request from romeo to juliet as octets, with whatever is to be different in it."""
        uri, number = uri or self.to, next(_numbers)
        to = (to or f"<{uri}>") + (f";tag={to_tag}" if to_tag else "")
        kind = f"Content-Type: {content_type}\r\n" if body and content_type else ""
        head = (f"{method} {uri} SIP/2.0\r\nVia: SIP/2.0/{(transport or self.phone.kind).upper()} 127.0.0.1:{self.phone.port};"
                f"branch={branch or f'z9hG4bKt{number}x{self.romeo}'};rport\r\nMax-Forwards: {max_forwards}\r\n"
                f"From: {from_ or f'<{self.sip}>;tag=f{number}'}\r\nTo: {to}\r\nCall-ID: {call_id or f'c{number}.{self.romeo}'}\r\n"
                f"CSeq: {cseq} {method}\r\n{extra}{kind}Content-Length: {len(body)}\r\n\r\n")  # fmt: skip
        return head.encode() + body

    async def asks(self, request: bytes, phone: wire.SipEnd | None = None) -> bytes:
        """Put a request on the wire once and wait for the final response on its branch."""
        phone = phone or self.phone
        phone.put(request)
        return await self.answered(request, phone)

    async def answered(self, request: bytes, phone: wire.SipEnd | None = None) -> bytes:
        """The next final response on the branch of this request."""
        branch = rows(request, "Via")[0].partition("branch=")[2].partition(";")[0].encode()
        return await (phone or self.phone).responses.next(where=lambda each: branch in each and not each.startswith(b"SIP/2.0 1"))

    # -- XMPP to SIP ---------------------------------------------------------------------------------------------------
    def writes(self, content: str, attributes: str = "", juliet: wire.XmppEnd | None = None, to: str = "") -> None:
        """Send one stanza from juliet to romeo."""
        (juliet or self.juliet).send(f"<message to='{to or self.jid}' {attributes}>{content}</message>".encode())

    async def receives(self, to: str = "") -> Received:
        """The next MESSAGE for romeo at his phone."""
        start = f"MESSAGE {to or self.sip} ".encode()
        return await self.phone.requests.next(where=lambda request: request.data.startswith(start))

    async def receives_nothing(self) -> None:
        """Nothing that juliet has written so far and that is not taken yet reaches romeo, and no report either.

        A report is kept after what was being kept when its cause came, so it would show before the third message behind that cause.
        """
        for _ in range(3):
            self.writes("<body>that is all</body>")
            assert (await self.receives()).body == b"that is all"


Test = Callable[..., Awaitable[None]]


def conversation(*, on: str = "bridge", domain: str = SIP_DOMAIN, transport: str = "") -> Callable[[Test], Callable[..., None]]:
    """Make a test of a coroutine function whose first parameter is a Talk. on: the fixture of the Bridge. transport: of the phone."""

    def decorate(test: Test) -> Callable[..., None]:
        async def talk(bridge: Bridge, given: dict[str, Any]) -> None:
            name = f"r{next(_numbers)}{test.__name__[5:13].replace('_', '')}"
            async with bridge.phone(transport) as phone, bridge.user("u0") as juliet:
                await test(Talk(bridge, phone, juliet, name, domain), **given)

        @wraps(test)
        def run(**given: Any) -> None:
            asyncio.run(talk(given.pop(on), given))

        signature = inspect.signature(test)
        fixtures = [inspect.Parameter(on, inspect.Parameter.POSITIONAL_OR_KEYWORD), *list(signature.parameters.values())[1:]]
        run.__signature__ = signature.replace(parameters=fixtures)  # type: ignore[attr-defined]
        return run

    return decorate


def rows(message: bytes | Received, name: str) -> list[str]:
    """All values of a header of a SIP message, in order."""
    head = (message if isinstance(message, bytes) else message.data).partition(b"\r\n\r\n")[0]
    return [found.decode() for found in re.findall(rb"^" + name.encode() + rb"[ \t]*:[ \t]*(.*?)\r?$", head, re.I | re.M)]


def counted(bridge: Bridge) -> dict[str, int]:
    """What the gateway has counted on its SIP side, asked for as an operator asks."""
    with socket.socket(socket.AF_UNIX) as control:
        control.settimeout(wire.LIMIT)
        control.connect(str(bridge.gateway.work / "var" / "control.sock"))
        control.sendall(b"GET /health HTTP/1.0\r\nHost: gateway\r\n\r\n")
        answer = b"".join(iter(lambda: control.recv(65_536), b""))
    found: dict[str, int] = json.loads(answer.partition(b"\r\n\r\n")[2])["counters"]["sip"]
    return found


def status_of(response: bytes) -> int:
    """The status of a response."""
    return int(response[8:11])
