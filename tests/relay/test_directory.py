"""Everybody has one home address and one alias, and there and back is the identity."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gateway.core.address import SipAddress
from gateway.core.errors import Refusal, SyntaxFault
from gateway.core.jid import Jid
from gateway.core.pairs import Pair
from gateway.relay.directory import Directory

USERS = (
    Pair(SipAddress("+15551230001", "ims.example"), Jid("alice", "xmpp.example"), "users.toml:3"),
    Pair(SipAddress("Bob", "sip.example"), Jid("robert", "sip.example"), "users.toml:7"),
)
DOMAINS = (Pair(SipAddress("", "ims.example"), Jid("", "phones.example"), "domains.toml:2"),)
DIRECTORY = Directory(USERS, DOMAINS, ["sip.example", "phones.example", "bücher.example"], ["xmpp.example"])
NAMES = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=10) | st.sampled_from(
    ["romeo", "ROMEO", "o'malley", "a b", "a@b", r"a\20b", "\\5c", "Ünï", "\uff42ob", "bob", "robert", "alice", "+15551230001"]
)
SIP_DOMAINS = st.sampled_from(["sip.example", "ims.example", "xn--bcher-kva.example"])
JID_DOMAINS = st.sampled_from(["sip.example", "phones.example", "bücher.example"])


@pytest.mark.requirement("SEC-14")
@settings(deadline=None, max_examples=300)
@given(NAMES, SIP_DOMAINS)
def test_a_sip_user_comes_back_from_his_jid(user: str, domain: str) -> None:
    address = SipAddress(user, domain)
    try:
        home = DIRECTORY.home_of_sip(address)
        jid = DIRECTORY.jid_of(address) if home == address else None
    except (SyntaxFault, Refusal):
        return
    assume(jid is not None and jid.local)
    assert jid is not None
    found = DIRECTORY.home_of_jid(jid)
    assert isinstance(found, SipAddress)
    assert found.normal == address.normal
    assert jid.domain in DIRECTORY.sip_side


@pytest.mark.requirement("SEC-14")
@settings(deadline=None, max_examples=300)
@given(NAMES)
def test_an_xmpp_user_comes_back_from_his_sip_address(local: str) -> None:
    try:
        jid = Jid.parse(f"{local}@xmpp.example")
        assume(jid.local and not jid.resource and jid.domain == "xmpp.example")
        home = DIRECTORY.home_of_jid(jid)
        address = DIRECTORY.sip_of(jid)
    except (SyntaxFault, Refusal):
        return
    assert home == jid
    assert DIRECTORY.home_of_sip(address) == jid


@settings(deadline=None, max_examples=300)
@given(NAMES, SIP_DOMAINS, NAMES, SIP_DOMAINS)
def test_two_sip_users_never_share_a_jid(user: str, domain: str, other: str, other_domain: str) -> None:
    one, two = SipAddress(user, domain), SipAddress(other, other_domain)
    assume(one.normal != two.normal)
    try:
        assume(DIRECTORY.home_of_sip(one) == one and DIRECTORY.home_of_sip(two) == two)
        jids = [DIRECTORY.jid_of(one), DIRECTORY.jid_of(two)]
    except (SyntaxFault, Refusal):
        return
    assert jids[0] != jids[1]


@pytest.mark.parametrize(
    ("sip", "home"),
    [
        (SipAddress("romeo", "sip.example"), SipAddress("romeo", "sip.example")),
        (SipAddress("juliet", "xmpp.example"), Jid("juliet", "xmpp.example")),
        (SipAddress("+15551230001", "ims.example"), Jid("alice", "xmpp.example")),
        (SipAddress("alice", "xmpp.example"), None),
        (SipAddress("robert", "sip.example"), None),
        (SipAddress("x", "other.example"), None),
        (SipAddress("x", "phones.example"), None),
    ],
)
def test_whom_a_sip_address_denotes(sip: SipAddress, home: object) -> None:
    assert DIRECTORY.home_of_sip(sip) == home


@pytest.mark.parametrize(
    ("jid", "home"),
    [
        ("juliet@xmpp.example", Jid("juliet", "xmpp.example")),
        ("robert@sip.example", SipAddress("Bob", "sip.example")),
        ("a@phones.example", SipAddress("a", "ims.example")),
        ("bob@sip.example", None),
        ("+15551230001@phones.example", None),
        ("x@ims.example", None),
        ("x@other.example", None),
    ],
)
def test_whom_a_jid_denotes(jid: str, home: object) -> None:
    assert DIRECTORY.home_of_jid(Jid.parse(jid)) == home


def test_names_of_those_who_are_not_served_are_refused() -> None:
    with pytest.raises(Refusal, match=r"^target-unknown"):
        DIRECTORY.jid_of(SipAddress("x", "other.example"))
    with pytest.raises(Refusal, match=r"^target-unknown"):
        DIRECTORY.sip_of(Jid("x", "other.example"))
    with pytest.raises(Refusal, match=r"^target-unknown"):
        DIRECTORY.jid_of(SipAddress("\x00", "sip.example"))


@pytest.mark.parametrize(
    ("typed", "home"),
    [
        ("sip:romeo@sip.example;gr=x", SipAddress("romeo", "sip.example")),
        ("sips:juliet@xmpp.example", Jid("juliet", "xmpp.example")),
        ("im:juliet@xmpp.example", Jid("juliet", "xmpp.example")),
        ("xmpp:robert@sip.example", SipAddress("Bob", "sip.example")),
        ("juliet@xmpp.example/balcony", Jid("juliet", "xmpp.example")),
    ],
)
def test_what_somebody_types_is_found(typed: str, home: object) -> None:
    assert DIRECTORY.find(typed)[1] == home


@pytest.mark.parametrize("typed", ["sip:x@other.example", "x@other.example", "", "sip:", "xmpp:", "@", "mailto:a@b"])
def test_what_is_nobody_is_said_to_be_nobody(typed: str) -> None:
    with pytest.raises((Refusal, SyntaxFault)):
        DIRECTORY.find(typed)


@pytest.mark.parametrize(
    ("address", "rule"),
    [
        (USERS[0].sip, "user pair, users.toml:3"),
        (USERS[1].jid, "user pair, users.toml:7"),
        (SipAddress("BOB", "sip.example"), "user pair, users.toml:7"),
        (SipAddress("a", "sip.example"), "RFC 7247 section 6.4"),
        (SipAddress("a", "ims.example"), "domain pair, RFC 7247 section 6.4"),
        (Jid("a", "xmpp.example"), "RFC 7247 section 6.5"),
        (Jid("a", "phones.example"), "domain pair, RFC 7247 section 6.5"),
    ],
)
def test_the_rule_that_decides_is_named(address: SipAddress | Jid, rule: str) -> None:
    assert DIRECTORY.rule(address) == rule
