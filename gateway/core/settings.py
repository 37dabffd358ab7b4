"""What each room is configured with. `config` reads the TOML into these values; no room reads a file itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Listener:
    """One place to listen on: "udp:127.0.0.1:5060"."""

    transport: str
    host: str
    port: int

    @property
    def address(self) -> str:
        """Without the transport: "127.0.0.1:5060", "[::1]:5060"."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.transport}:{self.address}"


@dataclass(frozen=True, slots=True)
class SipSettings:
    """`[sip]`: where we listen, who lives there, where requests go."""

    listen: tuple[Listener, ...]
    domains: tuple[str, ...]
    outbound: str = ""
    trusted: tuple[IPv4Network | IPv6Network, ...] = ()
    accepted_status: int = 202

    @property
    def ways(self) -> frozenset[tuple[str, bool]]:
        """What we can speak over: (transport, whether it is IPv6) of each listener. Answers elsewhere would find nobody."""
        return frozenset((listener.transport, ":" in listener.host) for listener in self.listen)


@dataclass(frozen=True, slots=True)
class XmppSettings:
    """`[xmpp]`: the server that we attach to as a component for every SIP domain.

    upload: the JID of its HTTP upload service, in normal form; empty for none.
    """

    host: str
    port: int
    secret: str = field(repr=False)
    domains: tuple[str, ...]
    pager_type: str = ""
    upload: str = ""
    inline_secret: bool = False
    """The secret stands in the configuration file itself."""


@dataclass(frozen=True, slots=True)
class PeerRule:
    """`[[peer]]`: who may speak, and only for these domains."""

    match: IPv4Network | IPv6Network | None
    tls: str
    domains: tuple[str, ...]
    store_and_forward: bool = False


@dataclass(frozen=True, slots=True)
class RouteRule:
    """`[[route]]`: settings of one next hop."""

    domain: str
    next_hop: str = ""
    large_messages: bool = False
    store: bool = True
    failure_report: str = "text"
    cpim: str = "auto"
    imdn: str = "auto"
    typing: str = "auto"
    html: bool = False
    decode: bool = False
    gr: bool = True
    assert_identity: bool = False
    receipt_on_200: bool = False
    redirects: bool = True
    sips: bool = False
    smime: str = "auto"
    smime_form: str = "opaque"
    smime_type: str = "rfc8551"
    smime_carriage: tuple[str, ...] = ("A", "B", "E")
    smime_extract: bool = False


@dataclass(frozen=True, slots=True)
class Limits:
    """`[limits]`: bounds of the queue (MSG-67) and what to do about old dates (MSG-81). per_recipient: of a lane (`Parcel.lane`)."""

    queue_messages: int = 100_000
    queue_octets: int = 1_073_741_824
    queue_age_hours: float = 72
    per_recipient: int = 1000
    stale_date: str = "refuse"


@dataclass(frozen=True, slots=True)
class AdminSettings:
    """`[admin]`: the HTTP side of the operator's desk."""

    listen: str = ""
    token_file: Path | None = None


@dataclass(frozen=True, slots=True)
class DigestSettings:
    """`[digest]`: accounts that may authenticate to us."""

    realm: str = ""
    accounts_file: Path | None = None
    algorithms: tuple[str, ...] = ("SHA-256",)


@dataclass(frozen=True, slots=True)
class SmimeSettings:
    """`[smime]`: what is done with messages that are signed or encrypted from end to end, beside carrying them.

    anchors: certificates of the authorities that people's certificates have to come from, PEM. certificates: of people, PEM: signers who
    send none, whom to encrypt for; a self-signed one in it is trusted for its names. Without either of them nothing is checked.
    crls: revocation lists, PEM. keys: the folder of the hosted accounts. body: the readable text goes beside the protected object to XMPP.
    verdict: so does what was found. require: of these domains only what is valid, with a fresh date under the signature, is taken.
    rfc822: an email address in a certificate counts as the sip: address.
    """

    anchors: Path | None = None
    certificates: Path | None = None
    crls: Path | None = None
    keys: Path | None = None
    body: bool = True
    verdict: bool = False
    require: tuple[str, ...] = ()
    rfc822: bool = False

    @property
    def acts(self) -> bool:
        """Whether anything is checked, signed or decrypted here: without it protected messages are only carried."""
        return self.anchors is not None or self.certificates is not None or self.keys is not None


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole configuration, checked and typed."""

    file: str
    name: str
    data_dir: Path
    mappings: Path | None
    sip: SipSettings
    xmpp: XmppSettings
    store_url: str
    limits: Limits = Limits()
    peers: tuple[PeerRule, ...] = ()
    routes: tuple[RouteRule, ...] = ()
    admin: AdminSettings | None = None
    digest: DigestSettings | None = None
    smime: SmimeSettings = SmimeSettings()

    def route(self, domain: str) -> RouteRule:
        """The rule for a SIP domain (normal form): its own `[[route]]`, else "*", else the defaults with `[sip] outbound`."""
        for wanted in (domain, "*"):
            for rule in self.routes:
                if rule.domain == wanted:
                    return rule
        return RouteRule("*", self.sip.outbound)
