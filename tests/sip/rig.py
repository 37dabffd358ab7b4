"""Requests and responses of two people, and what an adapter needs around it: settings, tables, a guard, and a Sink that keeps notes."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from ipaddress import ip_network
from pathlib import Path

from gateway.core.envelope import Envelope
from gateway.core.errors import Refusal
from gateway.core.numbers import NumberPlan
from gateway.core.outcome import Outcome
from gateway.core.pairs import Pair
from gateway.core.ports import Answered, Keys, Notice, Parcel
from gateway.core.settings import Listener, PeerRule, RouteRule, Settings, SipSettings, XmppSettings
from gateway.core.tables import Tables, read_tables
from gateway.relay.directory import Directory
from gateway.relay.guard import Guard
from gateway.sip.codec import SipCodec
from gateway.sip.flow import Flow
from gateway.sip.takes import Known, Takes

SECRET = b"of this store"
ROMEO, JULIET = "sip:romeo@sip.example", "sip:juliet@xmpp.example"
PHONE = Flow("udp", "127.0.0.1:5060", "127.0.0.1", 5070)
STREAM = Flow("tcp", "127.0.0.1:5060", "127.0.0.1", 40_000, 7)
STRANGER = Flow("udp", "127.0.0.1:5060", "192.0.2.66", 5070)
ACCEPT = (
    "text/plain, text/html, message/cpim, message/imdn+xml, message/sipfrag, application/im-iscomposing+xml, "
    "multipart/mixed, multipart/alternative, multipart/signed, application/pkcs7-mime, message/external-body, text/uri-list, "
    "application/vnd.gsma.rcs-ft-http+xml, application/vnd.gsma.rcspushlocation+xml"
)
ALLOW = "MESSAGE, OPTIONS, CANCEL"


def request(method: str = "MESSAGE", uri: str = JULIET, branch: str = "z9hG4bK-1", body: bytes = b"hello", **changes: str | None) -> bytes:
    """A request of romeo's. changes: header rows by name with "_" for "-", and `from_`; None leaves one out, a new name is added."""
    transport = changes.pop("transport", None) or "UDP"
    known: dict[str, str | None] = {
        "via": f"SIP/2.0/{transport} 127.0.0.1:5070;branch={branch};rport",
        "max-forwards": "70",
        "from": f"<{ROMEO}>;tag=r1",
        "to": f"<{JULIET}>",
        "call-id": "call-1",
        "cseq": f"1 {method}",
        "content-type": "text/plain" if body else None,
        "content-length": str(len(body)),
    }
    known |= {name.rstrip("_").replace("_", "-"): value for name, value in changes.items()}
    rows = "".join(f"{name}: {value}\r\n" for name, value in known.items() if value is not None)
    return f"{method} {uri} SIP/2.0\r\n{rows}\r\n".encode() + body


def response(to: bytes, status: int = 200, reason: str = "OK", /, **changes: str) -> bytes:
    """The answer of a peer to a request of ours. changes: as above, in place of what the request says."""
    wanted = {"via": "", "from": "", "to": "", "call-id": "", "cseq": ""} | {name.replace("_", "-"): text for name, text in changes.items()}
    rows = "".join(f"{name}: {text or header(to, name)}\r\n" for name, text in wanted.items())
    return f"SIP/2.0 {status} {reason}\r\n{rows}Content-Length: 0\r\n\r\n".encode()


def status(octets: bytes) -> int:
    """The status of a response."""
    assert octets.startswith(b"SIP/2.0 "), octets
    return int(octets[8:11])


def header(octets: bytes, name: str) -> str:
    """The value of a header field that is there once."""
    (value,) = headers(octets, name)
    return value


def headers(octets: bytes, name: str) -> list[str]:
    """The values of all rows of this name."""
    return re.findall(rf"^{name}: ([^\r]*)\r$", octets.partition(b"\r\n\r\n")[0].decode() + "\r\n", re.I | re.M)


def param(value: str, name: str) -> str:
    """The value of a parameter; empty without one."""
    found = re.search(rf";{name}=([^;>\s]*)", value)
    return found[1] if found else ""


@cache
def tables() -> Tables:
    """The shipped tables."""
    return read_tables()


def settings(
    *routes: RouteRule, peers: tuple[PeerRule, ...] = (), name: str = "gw.example", accepted_status: int = 202, host: str = "127.0.0.1"
) -> Settings:
    """A gateway between sip.example and xmpp.example that trusts 127.0.0.1 and nobody else, on free ports of a host."""
    listen = (Listener("udp", host, 0), Listener("tcp", host, 0))
    trusted = (ip_network("127.0.0.1/32"),)
    return Settings(
        file="gateway.toml",
        name=name,
        data_dir=Path("var"),
        mappings=None,
        sip=SipSettings(listen, ("sip.example",), trusted=trusted, accepted_status=accepted_status),
        xmpp=XmppSettings("127.0.0.1", 5347, "hush", ("xmpp.example",)),
        store_url="sqlite:///",
        peers=peers,
        routes=routes,
    )


def with_numbers(uri: str, users: tuple[Pair, ...] = ()) -> Tables:
    """The shipped tables, with sip.example as the E.164 domain."""
    return replace(tables(), users=users, numbers=NumberPlan("sip.example", "sip.example", uri, "domains.toml:1"))


def directory(config: Settings, having: Tables | None = None) -> Directory:
    """Who is who, by the shipped tables or others."""
    found = having or tables()
    return Directory(found.users, found.domains, config.sip.domains, config.xmpp.domains, found.numbers)


def guard(config: Settings, having: Tables | None = None) -> Guard:
    """The policy of this configuration."""
    return Guard(config, directory(config, having))


def codec(
    config: Settings,
    sent_by: str = "gw.example:5060",
    having: Tables | None = None,
    takes: Takes | None = None,
    known: Known | None = None,
) -> SipCodec:
    """The codec of this configuration. takes: what all recipients are known to take; known: what each is."""
    found, names = takes or Takes(), directory(config, having)
    return SipCodec(names, having or tables(), config, SECRET, {"udp": sent_by, "tcp": sent_by}, takes=known or (lambda _: found))


@dataclass
class Notes:
    """A Sink that keeps what it is offered and answers it with `verdict` at once, or leaves it `open` for the test to answer.

    ages: digest -> seconds since a message with it was kept.
    """

    verdict: Refusal | None = None
    waits: bool = False
    offered: list[tuple[Envelope, Keys | None]] = field(default_factory=list)
    open: list[Answered] = field(default_factory=list)
    ages: dict[int, float] = field(default_factory=dict)
    up: list[str] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)

    def age(self, key: int) -> float | None:
        return self.ages.get(key)

    def offer(self, envelope: Envelope, answered: Answered, keys: Keys | None = None) -> None:
        self.offered.append((envelope, keys))
        if self.waits:
            self.open.append(answered)
        else:
            self.decide(answered)

    def decide(self, answered: Answered) -> None:
        """Answer, and know the message from now on if it is kept."""
        if self.verdict is None:
            self.ages |= dict.fromkeys(self.offered[-1][1] or (), 0.0)
        answered(self.verdict)

    def told(self, notices: Sequence[Notice], answered: Answered | None = None) -> None:
        self.notices += notices
        if answered:
            answered(None)

    def link_up(self, gate: str) -> None:
        self.up.append(gate)


@dataclass
class Try:
    """A Delivery that keeps its outcomes. again: takes it when it is to go elsewhere, as a relay would send it then."""

    seq: int
    number: int
    envelope: Envelope
    parcel: Parcel
    repeat: bool = False
    outcomes: list[Outcome] = field(default_factory=list)
    again: Callable[[Try], None] | None = None
    rewrites: int = 0

    def done(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)

    def rewritten(self, parcel: Parcel) -> None:
        self.rewrites += 1
        self.moved(parcel)

    def moved(self, parcel: Parcel) -> None:
        assert parcel.lane == self.parcel.lane
        self.parcel, self.number, self.repeat = parcel, self.number + 1, False
        assert self.again
        self.again(self)
