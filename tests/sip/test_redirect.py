"""Which redirects are followed, in which order, and where they end; without sockets."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import settings as how
from hypothesis import strategies as st

from gateway.core.outcome import DELIVERED, Outcome, Verdict
from gateway.core.settings import RouteRule
from gateway.core.uri import Uri
from gateway.sip.grammar import URI_TEXT
from gateway.sip.message import Response, parse
from gateway.sip.redirect import TOO_LONG, Place, Redirects, Trail
from tests.sip.rig import settings

PROXY, SECOND = "sip:10.1.0.5;transport=tcp", "sip:10.1.0.6:5070"
ROUTES = (RouteRule("sip.example", PROXY), RouteRule("second.example", SECOND), RouteRule("looked-up.example", ""), RouteRule("*", ""))
REDIRECTS = Redirects(settings(*ROUTES))
FIRST = Trail((Place(Uri.parse("sip:romeo@sip.example"), PROXY),), 32.0)
NO = Outcome(Verdict.FAILED, 404)
BUSY = Outcome(Verdict.LATER, 480)


def moved(contacts: str, status: int = 302) -> Response:
    found = parse(
        f"SIP/2.0 {status} Moved\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>;tag=2\r\n"
        f"Call-ID: 1\r\nCSeq: 1 MESSAGE\r\nContact: {contacts}\r\nContent-Length: 0\r\n\r\n".encode(),
        stream=False,
    )
    assert isinstance(found, Response)
    return found


def ahead(contacts: str, status: int = 302, trail: Trail = FIRST, rules: Redirects = REDIRECTS) -> list[tuple[str, str]]:
    """(Request-URI, next hop) of the places to try, in order."""
    return [(place.request_uri.text, place.gate) for _, place in rules.extended(trail, moved(contacts, status)).ahead]


def uris(contacts: str, status: int = 302, trail: Trail = FIRST) -> list[str]:
    return [uri for uri, _ in ahead(contacts, status, trail)]


@pytest.mark.requirement("MSG-48", "ERR-15")
@pytest.mark.parametrize(
    ("contact", "gate"),
    [
        ("<sip:new@sip.example>", PROXY),
        ("<sip:new@SIP.Example:5099>", PROXY),  # the port is for who is responsible for the domain, packets go where they always go
        ("<sip:new@second.example>", SECOND),
        ("<sip:new@looked-up.example>", "sip:looked-up.example"),
        ("<sip:new@10.1.0.5>", PROXY),
        ("<sip:new@10.1.0.5:5060>", PROXY),
        ("<sip:new@10.1.0.6:5070>", SECOND),
        ("<sip:new@sip.example;maddr=10.1.0.5>", PROXY),
        ("sip:new@sip.example;q=0.1", PROXY),
    ],
)
def test_a_place_that_the_configuration_knows_is_gone_to_over_its_next_hop(contact: str, gate: str) -> None:
    assert [hop for _, hop in ahead(contact)] == [gate]


@pytest.mark.requirement("MSG-48")
@pytest.mark.parametrize("transports", [(";transport=tcp", ""), ("", ";transport=tcp"), (";transport=udp", ";transport=tcp")])
@pytest.mark.parametrize("contact", ["<sip:new@10.1.0.5>", "<sip:new@10.1.0.5;transport=tcp>", "<sip:new@10.1.0.5;transport=udp>"])
def test_of_two_hops_at_one_host_and_port_it_is_the_one_named_first(transports: tuple[str, str], contact: str) -> None:
    first, second = (f"sip:10.1.0.5{transport}" for transport in transports)
    rules = Redirects(settings(RouteRule("sip.example", first), RouteRule("second.example", second)))
    assert ahead(contact, rules=rules) == [(contact.strip("<>"), first)]
    config = settings(RouteRule("second.example", second))
    rules = Redirects(replace(config, sip=replace(config.sip, outbound=first)))
    assert ahead(contact, rules=rules) == [(contact.strip("<>"), first)]


@pytest.mark.requirement("MSG-48", "ERR-15", "SIP-103")
@pytest.mark.parametrize(
    "contact",
    [
        "<sip:new@foreign.example>",
        "<sip:new@sub.sip.example>",
        "<sip:new@127.0.0.1>",
        "<sip:new@10.1.0.5:25>",
        "<sip:new@10.1.0.6>",
        "<sip:new@[::1]:5060>",
        "<sip:new@sip.example;maddr=10.9.9.9>",
        "<sip:new@sip.example;maddr=a_b>",
        "<sip:new@sip.example;transport=tls>",
        "<sips:new@sip.example>",
        "<sip:juliet@xmpp.example>",  # would come back to us
        "<sip:new@*>",
        "<tel:+15551230001>",
        "<xmpp:new@sip.example>",
        "<http://sip.example/>",
        "*",
        "nonsense<",
    ],
)
def test_any_other_place_is_not_gone_to(contact: str) -> None:
    assert ahead(contact) == []


@pytest.mark.requirement("SIP-103")
@pytest.mark.parametrize(
    ("contacts", "good"),
    [
        ("<sip:a@my_host.sip.example>, <sip:b@sip.example>", ["b"]),
        ("<sip:a@sip.example>, <sip:b@sip.example>,", ["a", "b"]),
        (", <sip:a@sip.example>,, <sip:b@sip.example>", ["a", "b"]),
        ("<sip:a@sip.example>;q=0.2;q=0.3, <sip:b@sip.example>", ["b"]),
        ('"a <sip:a@sip.example>', []),
        ('<sip:a@sip.example>, "b <sip:b@sip.example>, <sip:c@sip.example>', ["a"]),
        ("<sip:a@sip.example>, <sip:b@sip.example, <sip:c@sip.example>", ["a"]),
        ("*, <sip:a@sip.example>", ["a"]),
        ("<sip:a@sip.example>\r\nContact: <nonsense>\r\nm: <sip:b@sip.example>", ["a", "b"]),
    ],
)
def test_a_contact_that_cannot_be_read_takes_no_other_with_it(contacts: str, good: list[str]) -> None:
    assert uris(contacts) == [f"sip:{user}@sip.example" for user in good]


@pytest.mark.requirement("SIP-56")
@pytest.mark.parametrize(
    ("contact", "uri"),
    [
        ("sip:new@sip.example;method=INVITE", "sip:new@sip.example"),
        ("sip:new@sip.example?Route=%3Csip:evil.example%3Blr%3E&Call-ID=x&Subject=y", "sip:new@sip.example"),
        ("SIP:n%65w:pw@SIP.example:5062;transport=TCP;ttl=3;user=phone;odd=%41;lr", None),
        ("sip:sip.example;meTHod=MESSAGE;x=1?From=a", "sip:sip.example;x=1"),
        ("sip:new;method=INVITE@sip.example", "sip:new;method=INVITE@sip.example"),
    ],
)
def test_a_contact_becomes_a_request_uri_without_what_has_no_place_there(contact: str, uri: str | None) -> None:
    expected = uri or "sip:n%65w:pw@sip.example:5062;transport=TCP;ttl=3;user=phone;odd=%41;lr"
    assert uris(f"<{contact}>") == [expected]


@pytest.mark.requirement("SIP-103")
def test_the_best_comes_first_and_each_comes_once() -> None:
    contacts = (
        "<sip:c@sip.example>;q=0.3, <sip:a@sip.example>, <sip:b@sip.example>;q=0.9, <sip:%61@sip.example>;q=0.8, "
        "<sip:romeo@SIP.EXAMPLE>, <sip:a@foreign.example>;q=1.0, <sip:d@sip.example>;q=0.3, <sip:e@sip.example>;q=nan"
    )
    assert [uri.partition("@")[0] for uri in uris(contacts)] == ["sip:a", "sip:e", "sip:b", "sip:c", "sip:d"]


@pytest.mark.requirement("SIP-103")
def test_of_more_than_can_be_tried_the_best_are() -> None:
    contacts = ", ".join(f"<sip:r{number}@sip.example>;q=0.{number}" for number in range(1, 9))
    assert uris(contacts) == [f"sip:r{number}@sip.example" for number in (8, 7, 6, 5, 4)]


@pytest.mark.requirement("MSG-48")
def test_a_route_to_ourselves_is_no_way_to_the_xmpp_side() -> None:
    rules = Redirects(settings(*ROUTES, RouteRule("xmpp.example", "sip:10.1.0.7")))
    assert ahead("<sip:juliet@xmpp.example>", rules=rules) == []


@pytest.mark.requirement("SIP-103")
def test_what_a_second_redirect_adds_finds_its_place_among_the_others() -> None:
    trail = REDIRECTS.extended(FIRST, moved("<sip:a@sip.example>;q=0.9, <sip:b@sip.example>;q=0.5")).after(NO)
    assert isinstance(trail, Trail)
    assert trail.here.request_uri.text == "sip:a@sip.example"
    assert uris("<sip:c@sip.example>;q=0.7, <sip:d@sip.example>;q=0.2, <sip:a@sip.example>, <sip:b@sip.example>", trail=trail) == [
        "sip:c@sip.example",
        "sip:b@sip.example",
        "sip:d@sip.example",
    ]


@pytest.mark.requirement("SIP-103", "MSG-48")
def test_five_places_are_tried_and_no_more() -> None:
    trail = REDIRECTS.extended(FIRST, moved(", ".join(f"<sip:r{number}@sip.example>" for number in range(500))))
    assert len(trail.ahead) == 5
    tried: list[str] = []
    onward = trail.after(NO)
    while isinstance(onward, Trail):
        tried.append(onward.here.request_uri.text)
        onward = REDIRECTS.extended(onward, moved(f"<sip:x{len(tried)}@sip.example>")).after(NO)
    assert tried == [f"sip:r{number}@sip.example" for number in range(5)]
    assert onward == NO


@pytest.mark.requirement("SIP-103", "ERR-15")
def test_a_circle_ends_where_it_closes() -> None:
    onward = REDIRECTS.extended(FIRST, moved("<sip:other@second.example>")).after(NO)
    assert isinstance(onward, Trail)
    assert REDIRECTS.extended(onward, moved("<sip:romeo@sip.example>")).after(NO) == NO


@pytest.mark.requirement("SIP-103")
@pytest.mark.parametrize(("status", "followed"), [(300, True), (301, True), (302, True), (303, True), (380, False), (399, True)])
def test_an_alternative_service_is_no_other_place(status: int, followed: bool) -> None:
    assert bool(uris("<sip:new@sip.example>", status)) is followed


@pytest.mark.requirement("SIP-103")
def test_a_305_names_a_proxy_for_the_same_request_uri_once() -> None:
    contacts = "<sip:10.9.9.9>, <sip:10.1.0.6:5070;lr>, <sip:sip.example>"
    assert ahead(contacts, 305) == [("sip:romeo@sip.example", SECOND)]
    onward = REDIRECTS.extended(FIRST, moved(contacts, 305)).after(NO)
    assert isinstance(onward, Trail)
    assert ahead("<sip:looked-up.example>", 305, onward) == []
    assert ahead("<sip:romeo@sip.example>", 302, onward) == []
    assert ahead("<sip:new@sip.example>", 302, onward) == [("sip:new@sip.example", PROXY)]
    assert ahead("<sip:10.1.0.5>", 305) == []  # that is where it comes from


@pytest.mark.requirement("ERR-15")
def test_a_route_may_say_that_redirects_are_not_followed() -> None:
    rules = Redirects(settings(RouteRule("sip.example", PROXY, redirects=False), RouteRule("second.example", SECOND)))
    assert ahead("<sip:new@second.example>", rules=rules) == []
    second = Trail((Place(Uri.parse("sip:romeo@second.example"), SECOND),), 32.0)
    assert ahead("<sip:new@sip.example>", trail=second, rules=rules) == [("sip:new@sip.example", PROXY)]


@pytest.mark.requirement("ERR-15")
def test_a_tel_uri_is_under_the_route_of_its_domain() -> None:
    first = Trail((Place(Uri.parse("tel:+12015550123"), PROXY),), 32.0)
    config = settings(RouteRule("sip.example", PROXY, redirects=False))
    assert ahead("<sip:new@sip.example>", trail=first, rules=Redirects(config, "sip.example")) == []
    assert ahead("<sip:10.1.0.6:5070>", 305, first, Redirects(settings(*ROUTES), "sip.example")) == [("tel:+12015550123", SECOND)]


@pytest.mark.parametrize(
    "ending",
    [DELIVERED, Outcome(Verdict.UNKNOWN, 408), Outcome(Verdict.FAILED, 603)],
    ids=["delivered", "perhaps", "nowhere"],
)
@pytest.mark.requirement("SIP-103", "SIP-107", "SIP-108")
def test_the_search_ends_where_it_may_have_arrived_and_with_a_6xx(ending: Outcome) -> None:
    trail = REDIRECTS.extended(FIRST, moved("<sip:a@sip.example>, <sip:b@sip.example>")).after(NO)
    assert isinstance(trail, Trail)
    assert trail.after(ending) == ending


@pytest.mark.requirement("SIP-103", "REL-11")
def test_when_one_place_said_for_now_the_message_is_tried_again() -> None:
    trail = REDIRECTS.extended(FIRST, moved("<sip:a@sip.example>, <sip:b@sip.example>")).after(NO)
    assert isinstance(trail, Trail)
    trail = trail.after(BUSY)
    assert isinstance(trail, Trail)
    assert trail.after(NO) == BUSY
    assert trail.after(Outcome(Verdict.LATER, 503)) == BUSY


@pytest.mark.requirement("SIP-103", "MSG-48")
def test_after_32_seconds_no_place_is_begun_and_all_of_it_is_tried_later() -> None:
    trail = REDIRECTS.extended(FIRST, moved("<sip:a@sip.example>, <sip:b@sip.example>, <sip:c@sip.example>")).after(NO, 20)
    assert isinstance(trail, Trail)
    assert isinstance(trail.after(NO, 11.9), Trail)
    assert trail.after(NO, 12) == TOO_LONG
    assert (TOO_LONG.verdict, TOO_LONG.status) == (Verdict.LATER, 408)
    assert trail.after(BUSY, 12) == BUSY
    on = trail.after(BUSY, 11)
    assert isinstance(on, Trail)
    assert on.after(NO, 12) == BUSY


@pytest.mark.requirement("SIP-103")
@pytest.mark.parametrize("last", [NO, BUSY, DELIVERED, Outcome(Verdict.UNKNOWN, 408), Outcome(Verdict.FAILED, 603)])
def test_what_the_last_place_says_counts_however_late_it_comes(last: Outcome) -> None:
    trail = REDIRECTS.extended(FIRST, moved("<sip:a@sip.example>")).after(NO, 31.9)
    assert isinstance(trail, Trail)
    assert trail.after(last, 31.9) == last


@pytest.mark.requirement("SIP-103")
def test_a_redirect_that_comes_too_late_is_followed_when_all_of_it_is_tried_again() -> None:
    trail = REDIRECTS.extended(FIRST, moved("<sip:a@sip.example>")).after(NO, 20)
    assert isinstance(trail, Trail)
    assert REDIRECTS.extended(trail, moved("<sip:b@sip.example>")).after(NO, 20) == TOO_LONG


_HOSTS = st.sampled_from(
    ["sip.example", "Second.Example.", "10.1.0.5", "10.1.0.6:5070", "evil.example", "[::1]", "sip.example@evil.example"]
)
_PARAMS = st.lists(
    st.sampled_from(
        ["method=BYE", "METHOD=x", "m%65thod=y", "maddr=10.1.0.5", "maddr=evil.example", "lr", "transport=UDP", "user=%0d%0a", "x=%3b"]
    ),
    max_size=4,
)


@pytest.mark.requirement("SIP-56", "MSG-48")
@how(deadline=None)
@given(
    st.sampled_from(["sip", "SIP", "sips", "im", "tel"]),
    st.text("ab%0;?@:'&=<>,é\"", max_size=8),
    _HOSTS,
    _PARAMS,
    st.sampled_from(["", "?Route=x", "?"]),
)
def test_whatever_a_contact_says_it_leads_to_known_hops_only(scheme: str, user: str, host: str, params: list[str], headers: str) -> None:
    contact = f"<{scheme}:{user}@{host}{''.join(f';{each}' for each in params)}{headers}>"
    for uri, gate in ahead(contact):
        found = Uri.parse(uri)
        assert gate in (PROXY, SECOND)
        assert URI_TEXT.fullmatch(uri)
        assert (found.scheme, found.headers, found.param("method")) == ("sip", "", None)
        assert (found.param("maddr") or found.host) in ("sip.example", "second.example", "10.1.0.5", "10.1.0.6")
