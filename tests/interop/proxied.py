"""The bridge as an operator has it: an XMPP server on one side, Kamailio as proxy and registrar on the other, the gateway between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bridge import PASSWORD, USERS
from tests.peers.ejabberd import Ejabberd
from tests.peers.kamailio import Kamailio
from tests.peers.process import free_port
from tests.peers.prosody import Prosody
from tests.peers.stoxgate import SECRET, SIP_DOMAIN, XMPP_DOMAIN, Stoxgate

__all__ = ["PASSWORD", "SIP_DOMAIN", "XMPP_DOMAIN", "Proxied", "proxied"]


@dataclass(frozen=True, slots=True)
class Proxied:
    """What runs. proxy: where user agents register, and where they send to."""

    server: Prosody | Ejabberd
    gateway: Stoxgate
    proxy: Kamailio

    @property
    def proxy_address(self) -> str:
        return f"127.0.0.1:{self.proxy.port}"


@contextmanager
def proxied(
    work: Path,
    transport: str,
    *,
    more: str = "",
    before_relay: str = "",
    xmpp: Callable[..., Prosody | Ejabberd] = Prosody,
    **settings: Any,
) -> Iterator[Proxied]:
    """All three on free ports; `transport` is the one between Kamailio and the gateway, both ways.

    more: parameters of the gateway's next hop. before_relay: as `Kamailio` has it. xmpp: which server. settings: as `Stoxgate` has them.
    """
    server = xmpp(work / "server", users=USERS, components={SIP_DOMAIN: SECRET})
    gateway_port, proxy_port = free_port(), free_port()
    gateway = Stoxgate(
        work / "gateway",
        component_port=server.component_port,
        port=gateway_port,
        next_hop=f"sip:127.0.0.1:{proxy_port};transport={transport}{more}",
        **settings,
    )
    proxy = Kamailio(
        work / "kamailio", gateway=f"127.0.0.1:{gateway_port}", transport=transport, port=proxy_port, before_relay=before_relay
    )
    with server, gateway, proxy:
        yield Proxied(server, gateway, proxy)
