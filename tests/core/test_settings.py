"""The typed configuration: what is in force where nothing is said, and which rule counts for a domain."""

from __future__ import annotations

import tomllib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from gateway.config.keys import ADMIN, DIGEST, LIMITS, PEER, ROUTE, SIP, XMPP
from gateway.core.schema import REQUIRED, Schema
from gateway.core.settings import (
    AdminSettings,
    DigestSettings,
    Limits,
    Listener,
    PeerRule,
    RouteRule,
    Settings,
    SipSettings,
    XmppSettings,
)

EXAMPLE = Path(__file__).parents[2] / "conf" / "gateway.toml"


def settings(*routes: RouteRule, outbound: str = "") -> Settings:
    sip, xmpp = SipSettings((), ("sip.example",), outbound), XmppSettings("h", 1, "top secret", ("xmpp.example",))
    return Settings("f", "gw.example", Path(), None, sip, xmpp, "sqlite:///x", routes=routes)


@pytest.mark.parametrize(
    ("listener", "text"),
    [(Listener("udp", "192.0.2.1", 5060), "udp:192.0.2.1:5060"), (Listener("tcp", "2001:db8::1", 5061), "tcp:[2001:db8::1]:5061")],
)
def test_a_listener_reads_as_it_is_configured(listener: Listener, text: str) -> None:
    assert str(listener) == text


def test_the_rule_of_the_domain_comes_before_the_one_for_all() -> None:
    own, every = RouteRule("a.example", "sip:a"), RouteRule("*", "sip:b")
    for routes in ((own, every), (every, own)):
        assert settings(*routes).route("a.example") is own
        assert settings(*routes).route("c.example") is every


def test_without_a_rule_everything_goes_outbound() -> None:
    assert settings(RouteRule("a.example", "sip:a"), outbound="sip:proxy").route("b.example") == RouteRule("*", "sip:proxy")
    assert settings().route("b.example").next_hop == ""


def test_the_secret_is_not_shown() -> None:
    assert "top secret" not in repr(settings())


def commented(section: str) -> dict[str, object]:
    """The keys of a section of conf/gateway.toml that are commented out, with the values that they show."""
    body = EXAMPLE.read_text("utf-8").split(section, 1)[1].split("\n[", 1)[0].split("\n#[", 1)[0]
    return tomllib.loads("".join(line[1:] + "\n" for line in body.splitlines() if line.startswith("#") and line[1:2] not in ("", " ")))


@pytest.mark.parametrize(("section", "defaults"), [("[limits]", asdict(Limits())), ("#[[route]]", asdict(RouteRule("ims.example.net")))])
def test_the_defaults_are_those_of_the_example(section: str, defaults: dict[str, object]) -> None:
    shown = {name: value for name, value in commented(section).items() if name != "next_hop"}
    assert len(shown) >= 5
    assert {name: list(value) if isinstance(value := defaults[name], tuple) else value for name in shown} == shown


SECTIONS = [
    (SIP, SipSettings((), ())),
    (XMPP, XmppSettings("h", 1, "s", ())),
    (ADMIN, AdminSettings()),
    (PEER, PeerRule(None, "", ())),
    (ROUTE, RouteRule("*")),
    (DIGEST, DigestSettings()),
    (LIMITS, Limits()),
]


@pytest.mark.parametrize(("keys", "values"), SECTIONS, ids=[type(values).__name__ for _, values in SECTIONS])
def test_the_defaults_of_the_values_are_those_of_the_file(keys: Schema, values: Any) -> None:
    stated = {name: key.default for name, key in keys.items() if key.default not in (REQUIRED, None) and hasattr(values, name)}
    assert stated == {name: getattr(values, name) for name in stated}


def test_what_else_is_in_force_where_nothing_is_said() -> None:
    found = settings()
    assert (found.sip.accepted_status, found.sip.trusted, found.xmpp.pager_type, found.xmpp.inline_secret) == (202, (), "", False)
    assert (found.sip.outbound, RouteRule("*").next_hop) == ("", "")
    assert (found.peers, found.routes, found.admin, found.digest) == ((), (), None, None)
