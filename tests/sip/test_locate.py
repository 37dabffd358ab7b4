"""Where next hops are: numeric ones at once, names by SRV and addresses, answers remembered for their time (RFC 3263)."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any

import dns.asyncresolver
import dns.exception
import dns.resolver
import dns.rrset
import pytest

from gateway.core.uri import Uri
from gateway.sip import locate
from gateway.sip.locate import Locator, NotFoundError, Target, in_order, numeric

AGAIN = socket.gaierror(socket.EAI_AGAIN, "try again")
Zone = dict[str, Sequence[Any] | Exception | type[Exception]]
"""Rows or addresses by name; or what is raised."""


class Answers:
    """A resolver and a getaddrinfo over a zone: SRV rows by name, addresses by name. An exception in it is raised."""

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        zone: Zone,
        families: tuple[bool, ...] = (False, True),
        ours: tuple[str, ...] = ("udp", "tcp"),
        chance: Callable[[int], int] = lambda many: many - 1,
    ) -> None:
        self.asked: list[str] = []
        self.now = 1000.0
        self._zone, self._monkeypatch = zone, monkeypatch
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        self.locator = Locator({(transport, family) for transport in ours for family in families}, chance)
        monkeypatch.setattr(dns.asyncresolver.Resolver, "resolve", self._resolve)

    def locate(self, uri: str) -> list[tuple[str, str, int]]:
        async def ask() -> tuple[Target, ...]:
            self._monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", self._getaddrinfo)
            return await self.locator.locate(Uri.parse(uri))

        return [(each.transport, each.host, each.port) for each in asyncio.run(ask())]

    async def _resolve(self, name: str, _kind: object) -> Any:
        self.asked.append(name)
        found = self._zone.get(name, dns.resolver.NXDOMAIN)
        if not isinstance(found, Sequence):
            raise found
        rrset = dns.rrset.from_text(f"{name}.", found[0], "IN", "SRV", *found[1:])

        class Answer(list[Any]):
            def __init__(self) -> None:
                super().__init__(rrset)
                self.rrset = rrset

        return Answer()

    async def _getaddrinfo(self, host: str, _port: None, *, family: int, type: int) -> list[Any]:  # noqa: A002
        self.asked.append(host)
        found = self._zone.get(host, socket.gaierror(socket.EAI_NONAME, "Name or service not known"))
        if not isinstance(found, Sequence):
            raise found
        kinds = [(socket.AF_INET6 if ":" in address else socket.AF_INET, address) for address in found]
        suited = [(kind, type, 17, "", (address, 0)) for kind, address in kinds if family in (socket.AF_UNSPEC, kind)]
        if kinds and not suited:
            raise socket.gaierror(socket.EAI_NODATA, "No address associated with hostname")
        return suited


Answered = Callable[..., Answers]


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Answered:
    return lambda zone, **options: Answers(monkeypatch, zone, **options)


@pytest.mark.requirement("DNS-01", "DNS-05")
@pytest.mark.parametrize(
    ("uri", "target"),
    [
        ("sip:192.0.2.7", Target("udp", "192.0.2.7", 5060)),
        ("sip:192.0.2.7:5070;transport=TCP", Target("tcp", "192.0.2.7", 5070)),
        ("sip:[2001:db8::7]:5070", Target("udp", "2001:db8::7", 5070)),
        ("sip:hop.example;maddr=192.0.2.8", Target("udp", "192.0.2.8", 5060)),
        ("sip:192.0.2.7;transport=sctp", Target("udp", "192.0.2.7", 5060)),
        ("sip:hop.example", None),
        ("sip:192.0.2.7;maddr=hop.example", None),
    ],
)
def test_a_hop_that_names_an_address_needs_no_dns(uri: str, target: Target | None) -> None:
    assert numeric(Uri.parse(uri)) == target


@pytest.mark.requirement("DNS-02")
@pytest.mark.parametrize("hop", ["sip:192.0.2.7;transport=tls", "sips:192.0.2.7", "sips:hop.example", "sip:hop.example:5061;transport=TLS"])
def test_what_needs_tls_is_sent_over_nothing_else(answers: Answered, hop: str) -> None:
    it = answers({"hop.example": ["192.0.2.7"]})
    with pytest.raises(NotFoundError, match="needs TLS") as fault:
        it.locate(hop)
    assert not fault.value.temporary
    assert it.asked == []


@pytest.mark.requirement("DNS-02", "DNS-05")
@pytest.mark.parametrize("ours", ["udp", "tcp"])
def test_only_transports_that_we_listen_on_are_asked_for_and_used(answers: Answered, ours: str) -> None:
    zone = {f"_sip._{each}.hop.example": [60, f"0 0 5070 {each}.example"] for each in ("udp", "tcp")}
    it = answers(zone | {"udp.example": ["192.0.2.1"], "tcp.example": ["192.0.2.2"]}, ours=(ours,))
    assert it.locate("sip:hop.example") == [(ours, "192.0.2.1" if ours == "udp" else "192.0.2.2", 5070)]
    assert it.asked[0] == f"_sip._{ours}.hop.example"
    assert it.locate("sip:192.0.2.9") == [(ours, "192.0.2.9", 5060)]


def test_a_numeric_hop_asks_nobody(answers: Answered) -> None:
    it = answers({})
    assert it.locate("sip:192.0.2.7") == [("udp", "192.0.2.7", 5060)]
    assert it.asked == []


def test_a_name_with_a_port_means_its_addresses(answers: Answered) -> None:
    it = answers({"hop.example": ["192.0.2.7", "2001:db8::7", "192.0.2.7"]})
    assert it.locate("sip:hop.example:5070") == [("udp", "192.0.2.7", 5070), ("udp", "2001:db8::7", 5070)]
    assert it.asked == ["hop.example"]


def test_servers_of_another_ip_version_are_passed_over(answers: Answered) -> None:
    rows = [60, "0 0 5070 six.example", "1 0 5071 four.example"]
    zone = {"_sip._udp.hop.example": rows, "six.example": ["2001:db8::7"], "four.example": ["192.0.2.7"]}
    assert answers(zone, families=(False,)).locate("sip:hop.example") == [("udp", "192.0.2.7", 5071)]
    assert answers(zone, families=(True,)).locate("sip:hop.example") == [("udp", "2001:db8::7", 5070)]


@pytest.mark.parametrize("hop", ["sip:[2001:db8::7]", "sip:six.example:5070", "sip:hop.example"])
def test_a_hop_of_another_ip_version_alone_cannot_be_reached(answers: Answered, hop: str) -> None:
    it = answers({"_sip._udp.hop.example": [60, "0 0 5070 six.example"], "six.example": ["2001:db8::7"]}, families=(False,))
    with pytest.raises(NotFoundError, match=r"has no address that a udp listener of ours can speak to|No address associated") as fault:
        it.locate(hop)
    assert not fault.value.temporary


@pytest.mark.parametrize(("families", "found"), [((False,), "192.0.2.7"), ((True,), "2001:db8::7")])
def test_only_addresses_that_a_socket_of_ours_can_reach(answers: Answered, families: tuple[bool, ...], found: str) -> None:
    it = answers({"hop.example": ["2001:db8::7", "192.0.2.7"]}, families=families)
    assert it.locate("sip:hop.example:5070") == [("udp", found, 5070)]


@pytest.mark.requirement("DNS-06")
def test_srv_decides_transport_port_and_order(answers: Answered) -> None:
    it = answers({
        "_sip._udp.hop.example": (600, "20 0 5070 c.example.", "10 5 5062 b.example.", "10 9 5061 a.example."),
        "a.example": ["192.0.2.1"], "b.example": ["192.0.2.2", "192.0.2.22"], "c.example": ["192.0.2.3"]})  # fmt: skip
    assert it.locate("sip:hop.example") == [
        ("udp", "192.0.2.1", 5061), ("udp", "192.0.2.2", 5062), ("udp", "192.0.2.22", 5062), ("udp", "192.0.2.3", 5070)]  # fmt: skip


@pytest.mark.requirement("DNS-06")
def test_equals_come_by_weighted_chance() -> None:
    rows = ("20 9 1 late.example.", "10 60 2 b.example.", "10 0 3 never.example.", "10 30 4 a.example.")
    records = list(dns.rrset.from_text("x.", 60, "IN", "SRV", *rows))

    def order(*drawn: int) -> list[int]:
        asked = iter(drawn)
        return [each.port for each in in_order(records, lambda many: min(next(asked), many - 1))]

    assert order(0, 0, 0, 0) == [3, 4, 2, 1]  # what has no weight: 1 of 91
    assert order(1, 0, 0, 0) == order(30, 0, 0, 0) == [4, 3, 2, 1]
    assert order(31, 0, 0, 0) == order(90, 0, 0, 0) == [2, 3, 4, 1]
    assert order(90, 30, 0, 0) == [2, 4, 3, 1]  # of those that are left
    asked: list[int] = []
    in_order(records, lambda many: asked.append(many) or 0)  # type: ignore[func-returns-value]
    assert asked == [91, 91, 61, 10]
    assert in_order([], lambda _many: 0) == []


@pytest.mark.requirement("DNS-06", "DNS-07")
@pytest.mark.parametrize("why", [socket.EAI_NONAME, socket.EAI_AGAIN, None])
def test_a_target_without_an_address_is_passed_over(answers: Answered, why: int | None) -> None:
    it = answers({
        "_sip._udp.hop.example": (600, "10 1 5061 gone.example.", "20 1 5062 alive.example.", "30 1 5063 last.example."),
        "gone.example": socket.gaierror(why, "no") if why else UnicodeError("label too long"),
        "alive.example": ["192.0.2.1"], "last.example": ["192.0.2.2"]})  # fmt: skip
    found = [("udp", "192.0.2.1", 5062), ("udp", "192.0.2.2", 5063)]
    assert it.locate("sip:hop.example") == found
    it.now += 59
    asked = len(it.asked)
    assert it.locate("sip:hop.example") == found
    assert len(it.asked) == asked
    it.now += 2  # it is looked for again soon
    it.locate("sip:hop.example")
    assert len(it.asked) == 2 * asked


@pytest.mark.requirement("DNS-04", "DNS-06")
@pytest.mark.parametrize("row", ["0 0 0 .", "1 1 5061 gone.example."])
def test_where_udp_offers_nothing_that_can_be_used_tcp_may(answers: Answered, row: str) -> None:
    it = answers({
        "_sip._udp.hop.example": (600, row), "_sip._tcp.hop.example": (600, "1 1 5075 alive.example."), "alive.example": ["192.0.2.1"],
        "hop.example": ["192.0.2.9"]})  # fmt: skip
    for _ in range(2):
        assert it.locate("sip:hop.example") == [("tcp", "192.0.2.1", 5075)]
        assert it.asked.count("_sip._tcp.hop.example") == (it.now > 1000) + 1
        it.now += 61  # and it is asked again soon
    with pytest.raises(NotFoundError):
        it.locate("sip:hop.example;transport=udp")  # never the address of the name itself: SRV has spoken


@pytest.mark.requirement("DRF-10")
def test_without_srv_over_udp_tcp_is_asked_and_then_the_address(answers: Answered) -> None:
    it = answers({"_sip._tcp.hop.example": (60, "1 1 5075 a.example."), "a.example": ["192.0.2.1"]})
    assert it.locate("sip:hop.example") == [("tcp", "192.0.2.1", 5075)]
    plain = answers({"_sip._udp.hop.example": dns.resolver.NoAnswer, "hop.example": ["192.0.2.7"]})
    assert plain.locate("sip:hop.example") == [("udp", "192.0.2.7", 5060)]
    assert plain.asked == ["_sip._udp.hop.example", "_sip._tcp.hop.example", "hop.example"]


def test_a_stated_transport_is_the_only_one_asked_for(answers: Answered) -> None:
    it = answers({"hop.example": ["192.0.2.7"]})
    assert it.locate("sip:hop.example;transport=tcp") == [("tcp", "192.0.2.7", 5060)]
    assert it.asked == ["_sip._tcp.hop.example", "hop.example"]


@pytest.mark.parametrize(
    ("zone", "temporary"),
    [
        ({}, False),
        ({"hop.example": AGAIN}, True),
        ({"_sip._udp.hop.example": dns.exception.Timeout}, True),
        ({"_sip._udp.hop.example": (60, "0 0 0 .")}, False),
        ({"_sip._udp.hop.example": (60, "1 1 1 a.example.", "2 1 1 b.example.")}, False),
        ({"_sip._udp.hop.example": (60, "1 1 1 a.example.", "2 1 1 b.example."), "b.example": AGAIN}, True),
        ({"_sip._udp.hop.example": (60, "1 1 1 a.example."), "_sip._tcp.hop.example": (60, "1 1 1 b.example."), "b.example": AGAIN}, True),
        ({"_sip._udp.hop.example": (60, "1 1 1 a.example."), "_sip._tcp.hop.example": dns.exception.Timeout}, True),
        ({"hop.example": UnicodeError("label too long")}, False),
    ],
)
def test_what_cannot_be_found_says_whether_to_ask_again(answers: Answered, zone: Zone, temporary: bool) -> None:
    it = answers(zone)
    with pytest.raises(NotFoundError) as fault:
        it.locate("sip:hop.example")
    assert fault.value.temporary is temporary
    asked = len(it.asked)
    with pytest.raises(NotFoundError):
        it.locate("sip:hop.example")
    assert len(it.asked) == 2 * asked  # a failure is not remembered


@pytest.mark.parametrize(("ttl", "kept"), [(600, 600), (1, 5), (99_999, 3600)])
def test_an_answer_is_remembered_for_its_time_within_bounds(answers: Answered, ttl: int, kept: float) -> None:
    it = answers({"_sip._udp.hop.example": (ttl, "1 1 5061 a.example."), "a.example": ["192.0.2.1"]})
    first = it.locate("sip:hop.example")
    it.now += kept - 0.1
    assert it.locate("sip:hop.example") == first
    assert len(it.asked) == 2
    it.now += 0.2
    it.locate("sip:hop.example")
    assert len(it.asked) == 4


def test_what_is_remembered_is_bounded(answers: Answered, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locate, "_MOST_REMEMBERED", 3)
    it = answers({f"h{number}.example": ["192.0.2.1"] for number in range(10)})
    hops = [f"sip:h{number}.example:5060" for number in range(10)]
    for hop in hops:
        it.locate(hop)
        assert 1 <= sum(bool(it.locator.known(Uri.parse(each))) for each in hops) <= 3


def test_a_machine_without_name_servers_still_knows_numeric_hops(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolver(configure: bool = True) -> dns.asyncresolver.Resolver:
        if configure:
            raise dns.resolver.NoResolverConfiguration
        return made(configure=False)

    made = dns.asyncresolver.Resolver
    monkeypatch.setattr(dns.asyncresolver, "Resolver", resolver)
    locator = Locator({("udp", False)})
    assert asyncio.run(locator.locate(Uri.parse("sip:192.0.2.7"))) == (Target("udp", "192.0.2.7", 5060),)
    with pytest.raises(NotFoundError) as fault:
        asyncio.run(locator.locate(Uri.parse("sip:hop.example")))
    assert fault.value.temporary
