"""Every test vector over a real socket: the gateway answers as the index of the vectors says, delivers what it accepts, and lives on.

A vector that gets no answer is not waited for: a MESSAGE behind it on the same flow is answered after anything that came before it was,
and what it says reaches romeo after anything that was delivered before it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.peers import wire
from tests.peers.process import LIMIT, free_port
from tests.peers.prosody import Prosody
from tests.peers.stoxgate import SECRET, Stoxgate
from tests.vectors import OWN, RFC, Case, cases, load

pytestmark = pytest.mark.vectors
every_case = pytest.mark.parametrize("case", cases())

SIP_DOMAINS = ("client.example.org", "[2001:db8::1]", "example.com", "example.net", "example.org")
XMPP_DOMAIN = "gw.example.net"
FOR_SOMEBODY_ELSE = {"semicolon-user"}
"""Accepted, but for a user that is not romeo."""
_SOURCE = {case.name: f"127.77.{number // 250}.{number % 250 + 1}" for number, case in enumerate((*load(OWN), *load(RFC)))}
"""Each vector comes from an address of its own, so that a response that is sent again does not meet the next vector."""
_VIA = re.compile(rb"^v(?:ia)?[ \t]*:\s*SIP\s*/\s*[0-9.]+\s*/\s*[a-z]+\s+(?:\[[^\]]*\]|[^\s;:,]+)[ \t]*(?::[ \t]*([0-9]+))?", re.I | re.M)
_STATUS = re.compile(rb"SIP/2\.0 ([0-9]{3}) ")
_CHECKS: dict[str, Callable[[Case, bytes], bool]] = {
    "response Call-ID equals request Call-ID byte for byte": lambda case, answer: _rows(answer, b"Call-ID") == _rows(case.data, b"Call-ID"),
    "response via.count=34 in request order": lambda case, answer: _hosts(_rows(answer, b"Via")) == _hosts(_rows(case.data, b"V(?:ia)?")),
    "response Unsupported = nothingSupportsThis, norThis":
        lambda _case, answer: _rows(answer, b"Unsupported") == [b"nothingSupportsThis, norThis"],
    "unsupported=nothingSupportsThis, nothingSupportsThisEither":
        lambda _case, answer: _rows(answer, b"Unsupported") == [b"nothingSupportsThis, nothingSupportsThisEither"],
    "response has Accept": lambda _case, answer: b"text/plain" in b"".join(_rows(answer, b"Accept")),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Running:
    """The gateway that the indexes ask for, and where romeo logs in."""

    gateway: Stoxgate
    server: Prosody


class Line(asyncio.DatagramProtocol):
    """One UDP socket or TCP connection to the gateway; what comes back waits in `inbox`, message by message, None for its end."""

    def __init__(self) -> None:
        self.inbox: wire.Inbox[bytes | None] = wire.Inbox()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.close = transport.close
        self.put = getattr(transport, "sendto", None) or transport.write  # type: ignore[attr-defined]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.inbox.put(data)

    def data_received(self, data: bytes) -> None:
        for message in data.split(b"\r\n\r\n")[:-1]:  # no response of the gateway has a body (MSG-14)
            self.inbox.put(message + b"\r\n\r\n")

    def eof_received(self) -> None:
        self.inbox.put(None)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The set-up of both indexes in one: no domain of a Request-URI of the RFC files is on the XMPP side."""
    work = tmp_path_factory.mktemp("vectors")
    server = Prosody(work / "server", domain=XMPP_DOMAIN, users={"romeo": "secret"}, components=dict.fromkeys(SIP_DOMAINS, SECRET))
    with server, _gateway(work / "gateway", server.component_port, SIP_DOMAINS, XMPP_DOMAIN) as gateway:
        yield Running(gateway, server)
        gateway.kill()  # it would first try to tell a sender, whom nobody plays, that a user does not exist


class AllLinks(Stoxgate):
    """A gateway that is ready when each of its SIP domains has its link."""

    def wait_ready(self, limit: float = LIMIT) -> None:
        self.wait_for_each(*(f'link is up", "domain": "{re.escape(domain)}"' for domain in SIP_DOMAINS), limit=limit)


def _gateway(work: Path, component_port: int, sip_domains: tuple[str, ...], xmpp_domain: str) -> Stoxgate:
    return AllLinks(work, component_port=component_port, sip_domains=sip_domains, xmpp_domains=(xmpp_domain,), trusted=("127.0.0.0/8",),
                    next_hop=f"sip:127.0.0.1:{free_port()}")  # fmt: skip


@every_case
@pytest.mark.requirement("TOR-01")
def test_a_vector_gets_the_answer_of_its_index(case: Case, running: Running) -> None:
    async def talk() -> None:
        async with wire.client(running.server.c2s_port, XMPP_DOMAIN, "romeo", "secret") as romeo:
            answers = await _exchange(case, running.gateway)
            statuses = [int(_STATUS.match(answer)[1]) for answer in answers]  # type: ignore[index]
            assert len(statuses) <= 1
            if not statuses:
                assert case.drop_ok or not case.status
            else:
                assert statuses[0] in case.status, answers
                assert all(_CHECKS[check](case, answers[0]) for check in case.checks if check in _CHECKS and statuses[0] != 404)
            accepted = bool(statuses) and statuses[0] == 202 and case.name not in FOR_SOMEBODY_ELSE
            assert await _heard(romeo, case, accepted=accepted) == ([_text(case)] if accepted else [])

    asyncio.run(talk())
    assert running.gateway.popen is not None
    assert running.gateway.popen.poll() is None


@pytest.mark.requirement("SIP-79")
@pytest.mark.parametrize("case", [case for case in load(RFC) if case.name == "bext01"] or [
    pytest.param(None, marks=pytest.mark.skip(reason=f"no RFC vectors in {RFC} (STOXGATE_RFC_VECTORS)"))])  # fmt: skip
def test_unknown_extensions_are_named_where_the_target_is_served(case: Case, tmp_path: Path) -> None:
    gateway = _gateway(tmp_path, free_port(), ("example.net",), "example.com")  # needs no XMPP server: it never gets that far
    gateway.start()
    try:
        gateway.wait_for('"event": "started"')
        answers = asyncio.run(_exchange(case, gateway, marker=_options))
    finally:
        gateway.kill()
    assert [_STATUS.match(answer)[1] for answer in answers] == [b"420"]  # type: ignore[index]
    assert _CHECKS[case.checks[0]](case, answers[0])


# -- the two ends ------------------------------------------------------------------------------------------------------
async def _exchange(case: Case, gateway: Stoxgate, marker: Callable[[Case], bytes] | None = None) -> list[bytes]:
    """What the gateway answers to a vector, until it has answered what was sent behind it."""
    line = await _open(case, gateway)
    line.put(case.data)
    answers: list[bytes] = []
    for mark in (marker,) if marker else (_options, _marker):
        data = mark(case)
        line.put(data)
        if not await _until_answered(line, answers, data):
            # The gateway has closed what it could not read on; it must still take another connection.
            line.close()
            line = await _open(case, gateway)
            line.put(data)
            assert await _until_answered(line, [], data)
    line.close()
    return answers


async def _open(case: Case, gateway: Stoxgate) -> Line:
    """A flow; over UDP from the port of the vector's Via, which is where RFC 3261 section 18.2.2 sends the answer to."""
    loop, source = asyncio.get_running_loop(), _SOURCE[case.name]
    if _transport(case) == "udp":
        return (await loop.create_datagram_endpoint(Line, (source, _via_port(case)), gateway.address))[1]
    return (await loop.create_connection(Line, *gateway.address, local_addr=(source, 0)))[1]


async def _until_answered(line: Line, answers: list[bytes], request: bytes) -> bool:
    """Collect answers up to that to `request`, which must be a 2xx; False when the connection ends before."""
    call_id = _rows(request, b"Call-ID")
    while (answer := await line.inbox.next()) is not None:
        if _rows(answer, b"Call-ID") == call_id:
            assert answer.startswith(b"SIP/2.0 20"), answer
            return True
        answers.append(answer)
    return False


async def _heard(romeo: wire.XmppEnd, case: Case, *, accepted: bool) -> list[str]:
    """What romeo was told before the marker of this vector. Another link may be slower, so what was accepted is waited for."""
    found = []
    if accepted:
        stanza = await romeo.message(where=lambda stanza: _mark(case).encode() not in stanza)
        found.append(_body(stanza))
    await romeo.message(where=lambda stanza: _mark(case).encode() in stanza)
    return found + [_body(stanza) for stanza in romeo.stanzas.waiting if b"<message" in stanza]


def _mark(case: Case) -> str:
    return f"marker behind {case.name}"


def _marker(case: Case) -> bytes:
    return _request("MESSAGE", f"sip:romeo@{XMPP_DOMAIN}", case, _mark(case))


def _options(case: Case) -> bytes:
    return _request("OPTIONS", "sip:127.0.0.1", case, "")


def _request(method: str, uri: str, case: Case, body: str) -> bytes:
    kind, transport = "Content-Type: text/plain\r\n" if body else "", _transport(case).upper()
    return (f"{method} {uri} SIP/2.0\r\nVia: SIP/2.0/{transport} marker.example.org;branch=z9hG4bK-{method}-{case.name};rport\r\n"
            f"Max-Forwards: 70\r\nFrom: <sip:marker@client.example.org>;tag=m\r\nTo: <{uri}>\r\nCall-ID: {method}-{case.name}\r\n"
            f"CSeq: 1 {method}\r\n{kind}Content-Length: {len(body)}\r\n\r\n{body}").encode()  # fmt: skip


# -- reading octets ----------------------------------------------------------------------------------------------------
def _rows(message: bytes, name: bytes) -> list[bytes]:
    head = re.sub(rb"\r\n[ \t]+", b" ", message.partition(b"\r\n\r\n")[0])
    return re.findall(rb"^" + name + rb"[ \t]*:[ \t]*(.*?)\r?$", head, re.I | re.M)


def _hosts(vias: list[bytes]) -> list[bytes]:
    return [re.split(rb"[\s;]+", via)[1] for via in vias]


def _transport(case: Case) -> str:
    """A vector for TLS is told over TCP."""
    return "udp" if case.transport == "udp" else "tcp"


def _via_port(case: Case) -> int:
    found = _VIA.search(re.sub(rb"\r\n[ \t]+", b" ", case.data))
    return int(found[1]) if found and found[1] else 5060


def _text(case: Case) -> str:
    length = _rows(case.data, b"(?:Content-Length|l)")
    body = case.data.partition(b"\r\n\r\n")[2]
    return body[: int(length[0])].decode() if length else body.decode()


def _body(stanza: bytes) -> str:
    found = re.search(rb"<body>(.*)</body>", stanza, re.S)
    return found[1].decode() if found else stanza.decode()
