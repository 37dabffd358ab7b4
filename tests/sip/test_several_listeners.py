"""A gateway with several listeners of one transport: which of them a request leaves from, and that its Via names that one."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import replace

import pytest

from gateway.core.outcome import DELIVERED
from gateway.core.settings import Listener, RouteRule, Settings
from gateway.sip import origin
from gateway.sip.codec import MOST_REQUEST_OCTETS
from gateway.sip.listening import longest_sent_by
from gateway.sip.origin import Origins
from tests.sip.rig import header, request, response, settings, status
from tests.sip.test_adapter import LIMIT, Phone, ended, phone, run, side
from tests.sip.test_transport import has_ipv6

NEEDS_IPV6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 on loopback")


def listening(*listeners: str, hop: str = "") -> Settings:
    """A gateway that listens here ("udp:[::1]", on free ports), and has one next hop for all."""
    config = settings(*([RouteRule("*", hop)] if hop else []))
    found = (each.split(":", 1) for each in listeners)
    listen = tuple(Listener(transport, host.strip("[]"), 0) for transport, host in found)
    return replace(config, sip=replace(config.sip, listen=listen))


def hop_of(romeo: Phone, host: str) -> str:
    return f"sip:{host}:{romeo.port}"


# -- from which socket ----------------------------------------------------------------------------------------------------
@pytest.mark.requirement("TRN-01", "SIP-61")
@pytest.mark.parametrize("second", ["127.0.0.2", "[::1]"] if has_ipv6() else ["127.0.0.2"])
@pytest.mark.parametrize("order", [1, -1])
def test_a_request_leaves_from_the_listener_that_the_kernel_would_take_and_its_via_names_it(second: str, order: int) -> None:
    async def talk() -> None:
        for host in ("127.0.0.1", second):
            async with phone(host.strip("[]")) as romeo:
                listeners = [f"udp:{each}" for each in ("127.0.0.1", second)][::order]
                async with side(listening(*listeners, "tcp:127.0.0.1", hop=hop_of(romeo, host))) as it:
                    delivery = it.send()
                    sent = await romeo.came.next(LIMIT)
                    expected = "::1" if ":" in host else "127.0.0.1"
                    assert romeo.source[0] == expected
                    where = f"[{expected}]" if ":" in expected else expected
                    assert header(sent, "Via").startswith(f"SIP/2.0/UDP {where}:{romeo.source[1]};branch=z9hG4bK")
                    romeo.reply(response(sent))
                    assert await ended(delivery) == DELIVERED

    run(talk)


@NEEDS_IPV6
def test_an_element_without_rport_answers_to_the_port_that_the_via_names() -> None:
    async def talk() -> None:
        async with phone("::1") as romeo, side(listening("udp:127.0.0.1", "udp:[::1]", hop=hop_of(romeo, "[::1]"))) as it:
            delivery = it.send()
            sent = await romeo.came.next(LIMIT)
            port = int(header(sent, "Via").partition(";")[0].rpartition(":")[2])
            romeo.transport.sendto(response(sent, via=header(sent, "Via").replace(";rport", "")), (romeo.source[0], port))
            assert await ended(delivery) == DELIVERED

    run(talk)


@NEEDS_IPV6
def test_a_request_of_exactly_1300_octets_by_its_longest_name_is_no_longer_by_another() -> None:
    async def talk() -> None:
        async with phone() as romeo, side(listening("udp:127.0.0.1", "udp:[::1]", hop=hop_of(romeo, "127.0.0.1"))) as it:
            it.codec.sent_by["udp"] = "[2001:db8:1111:2222:3333:4444:5555:6666]:5060"
            room = MOST_REQUEST_OCTETS - len(it.letter(text="").parcel.wire.octets)  # type: ignore[attr-defined]
            assert room > 0
            content = b"Content-Type: text/plain;charset=UTF-8\r\n"
            it.adapter.send(it.letter(text="x" * (room - len(content) - 3)))
            sent = await romeo.came.next(LIMIT)
            assert MOST_REQUEST_OCTETS - 45 < len(sent) < MOST_REQUEST_OCTETS
            assert header(sent, "Via").startswith("SIP/2.0/UDP 127.0.0.1:")

    run(talk)


# -- which addresses are ours ---------------------------------------------------------------------------------------------
@pytest.mark.requirement("SIP-88")
@pytest.mark.parametrize("listeners", [["udp:0.0.0.0"], ["udp:127.0.0.1", "udp:127.0.0.2"], ["udp:127.0.0.2", "udp:127.0.0.1"]])
def test_options_to_an_address_that_we_listen_on_is_for_us(listeners: list[str]) -> None:
    async def talk() -> None:
        async with phone() as romeo, side(listening(*listeners)) as it:
            for transport, local in it.adapter._transports.local:
                assert transport == "udp"
                for asked in ("127.0.0.1", "127.0.0.2") if local.startswith("0.0.0.0:") else (local.rpartition(":")[0],):
                    port = int(local.rpartition(":")[2])
                    answers = []
                    for number, uri in enumerate(
                        (f"sip:{asked}:{port}", f"sip:{asked}", f"sip:{asked}:{port ^ 1}", f"sip:x@{asked}:{port}")
                    ):
                        branch = f"z9hG4bK-{asked}-{number}"
                        romeo.transport.sendto(request("OPTIONS", uri=uri, branch=branch, body=b""), (asked, port))
                        answers.append(status(await romeo.came.next(LIMIT)))
                        assert romeo.source == (asked, port)
                    assert answers == [200, 200, 404, 404]

    run(talk)


# -- how that is found ----------------------------------------------------------------------------------------------------
class Kernel:
    """Says the source address for each host, and from which addresses it can be sent to: {"192.0.2.9": ("192.0.2.1", "10.0.0.1")}."""

    def __init__(self, routes: dict[str, tuple[str, ...]]) -> None:
        self.routes, self.asked = routes, 0

    def source(self, host: str, bound: str = "") -> str:
        self.asked += 1
        found = self.routes.get(host, ())
        if bound in ("0.0.0.0", "::"):
            bound = ""
        return (bound if bound in found else "") if bound else "".join(found[:1])


Asked = Callable[[dict[str, tuple[str, ...]], list[str]], tuple[Origins, Kernel]]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    def made(routes: dict[str, tuple[str, ...]], locals_: list[str]) -> tuple[Origins, Kernel]:
        kernel, origins = Kernel(routes), Origins()
        monkeypatch.setattr(origin, "_source", kernel.source)
        for local in locals_:
            origins.add("udp", local)
        return origins, kernel

    return made


LOOP, NET, OTHER, ANY = "127.0.0.1:5060", "192.0.2.1:5060", "198.51.100.1:5060", "0.0.0.0:5062"


@pytest.mark.requirement("TRN-01")
@pytest.mark.parametrize(
    ("listeners", "route", "expected"),
    [
        ([LOOP, NET], ("192.0.2.1",), NET),
        ([NET, LOOP], ("192.0.2.1",), NET),
        ([LOOP, OTHER], ("192.0.2.1", "198.51.100.1"), OTHER),  # the kernel's own choice is none of ours; loopback cannot send there
        ([LOOP, ANY, OTHER], ("192.0.2.1", "198.51.100.1"), ANY),
        ([LOOP, ANY, NET], ("192.0.2.1",), NET),
        ([LOOP, NET], (), LOOP),  # there is no way at all; what is sent there is told as lost
        ([LOOP], ("192.0.2.1",), LOOP),
        (["[2001:db8::1]:5060", LOOP, NET], ("192.0.2.1",), NET),
        (["[2001:db8::1]:5060"], ("192.0.2.1",), ""),
    ],
)
def test_the_listener_is_one_that_reaches_the_hop(asked: Asked, listeners: list[str], route: tuple[str, ...], expected: str) -> None:
    origins, _ = asked({"192.0.2.9": route}, listeners)
    assert origins.of("udp", "192.0.2.9", 0) == expected
    assert origins.of("tcp", "192.0.2.9", 0) == ""


def test_the_kernel_is_asked_once_a_minute_and_only_where_there_is_a_choice(asked: Asked) -> None:
    origins, kernel = asked({"192.0.2.9": ("192.0.2.1",), "2001:db8::9": ("2001:db8::1",)}, [LOOP, NET, "[2001:db8::1]:5060"])
    assert origins.of("udp", "2001:db8::9", 0) == "[2001:db8::1]:5060"
    assert kernel.asked == 0
    assert [origins.of("udp", "192.0.2.9", now) for now in (0, 59)] == [NET, NET]
    before = kernel.asked
    kernel.routes["192.0.2.9"] = ("127.0.0.1",)
    assert (origins.of("udp", "192.0.2.9", 59), kernel.asked) == (NET, before)
    assert origins.of("udp", "192.0.2.9", 61) == LOOP


def test_what_is_remembered_is_bounded(asked: Asked) -> None:
    origins, kernel = asked({}, [LOOP, NET])
    for number in range(3000):
        origins.of("udp", f"host-{number}", 0)
    kernel.asked = 0
    for number in range(3000):
        origins.of("udp", f"host-{number}", 0)
    assert kernel.asked > 2 * 1500


def test_of_several_names_the_draft_has_the_longest() -> None:
    listeners = [("udp", "0.0.0.0:5060"), ("udp", "127.0.0.10:50600"), ("tcp", "[::1]:5060")]
    assert longest_sent_by(listeners, "Gw.Example.") == {"udp": "127.0.0.10:50600", "tcp": "[::1]:5060"}


# -- each listener is what it says ----------------------------------------------------------------------------------------
@NEEDS_IPV6
@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_listeners_on_all_ipv4_and_all_ipv6_addresses_share_a_port(transport: str) -> None:
    async def talk() -> None:
        kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
        with socket.socket(socket.AF_INET6, kind) as free:
            free.bind(("::", 0))
            port = free.getsockname()[1]
        config = settings()
        listen = (Listener(transport, "::", port), Listener(transport, "0.0.0.0", port))
        async with side(replace(config, sip=replace(config.sip, listen=listen))):
            pass

    run(talk)
