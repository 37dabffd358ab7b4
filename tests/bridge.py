"""A whole bridge for tests: a real XMPP server, the gateway, and a SIP phone and XMPP users of the tests' own at its two ends.

with bridge(tmp_path) as it:
    asyncio.run(talk(it))

async def talk(it: Bridge) -> None:
    async with it.phone() as romeo, it.user("u0") as juliet:
        sent = await romeo.request(it.sip_of("u0"), it.phone_uri("s0"), b"hello")
        assert sent.status == 202
        assert b"<body>hello</body>" in await juliet.message()
        juliet.send(b"<message to='s0@stoxgate.test' id='m1'><body>hi</body></message>")
        assert (await romeo.requests.next()).data.endswith(b"hi")
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.peers import wire
from tests.peers.ejabberd import Ejabberd
from tests.peers.process import free_port
from tests.peers.prosody import Prosody
from tests.peers.stoxgate import SECRET, SIP_DOMAIN, XMPP_DOMAIN, Stoxgate

PASSWORD = "secret"
USERS = {f"u{number}": PASSWORD for number in range(4)}


@dataclass(frozen=True, slots=True)
class Bridge:
    """What runs. uas_port: where the gateway sends SIP requests to, and where `phone` listens."""

    server: Prosody | Ejabberd
    gateway: Stoxgate
    uas_port: int
    transport: str

    def phone(self, transport: str = "") -> AbstractAsyncContextManager[wire.SipEnd]:
        """A SIP peer at the gateway's next hop; it answers 200 to requests. One at a time."""
        return wire.sip(transport or self.transport, target=self.gateway.address, port=self.uas_port)

    def stranger(self, transport: str = "udp") -> AbstractAsyncContextManager[wire.SipEnd]:
        """A SIP peer on some other port."""
        return wire.sip(transport, target=self.gateway.address)

    def user(self, name: str, resource: str = "lab") -> AbstractAsyncContextManager[wire.XmppEnd]:
        """An XMPP client that is logged in as name@xmpp.test/resource."""
        return wire.client(self.server.c2s_port, XMPP_DOMAIN, name, PASSWORD, resource=resource)

    @staticmethod
    def sip_of(user: str) -> str:
        """The SIP address of somebody on the XMPP side."""
        return f"sip:{user}@{XMPP_DOMAIN}"

    @staticmethod
    def phone_uri(user: str) -> str:
        """The SIP address of somebody on the SIP side."""
        return f"sip:{user}@{SIP_DOMAIN}"


@contextmanager
def bridge(work: Path, *, server: Callable[..., Prosody | Ejabberd] = Prosody, transport: str = "udp", **gateway: Any) -> Iterator[Bridge]:
    """Start the server and the gateway on free ports, and end both. `gateway` goes to Stoxgate(...)."""
    xmpp = server(work / "server", users=USERS, components={SIP_DOMAIN: SECRET})
    uas_port = free_port()
    given = {"next_hop": f"sip:127.0.0.1:{uas_port};transport={transport}"} | gateway
    with xmpp, Stoxgate(work / "gateway", component_port=xmpp.component_port, **given) as it:
        yield Bridge(xmpp, it, uas_port, transport)
