"""Everybody has one home address and one alias, and there and back is the identity."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gateway.core.address import SipAddress
from gateway.core.errors import Refusal, SyntaxFault
from gateway.core.jid import Jid
from gateway.core.numbers import NumberPlan, subscriber
from gateway.core.pairs import Pair
from gateway.core.uri import Uri
from gateway.relay.directory import Directory

USERS = (
    Pair(SipAddress("+15551230001", "ims.example"), Jid("alice", "xmpp.example"), "users.toml:3"),
    Pair(SipAddress("Bob", "sip.example"), Jid("robert", "sip.example"), "users.toml:7"),
)
DOMAINS = (Pair(SipAddress("", "ims.example"), Jid("", "phones.example"), "domains.toml:2"),)
DIRECTORY = Directory(USERS, DOMAINS, ["sip.example", "phones.example", "bücher.example"], ["xmpp.example"])
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=10) | st.sampled_from(
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


# -- numbers -----------------------------------------------------------------------------------------------------------
PHONES = NumberPlan("phones.example", "ims.example", "tel", "domains.toml:5")
NUMBERS = Directory((*USERS, Pair(SipAddress("+4420", "ims.example"), Jid("tomas", "phones.example"), "users.toml:9")), DOMAINS,
                    ["sip.example", "phones.example"], ["xmpp.example"], PHONES)  # fmt: skip
DIGITS = st.sampled_from(["+15551230001", "+4420", "+12015550123"]) | st.from_regex(r"\A[+][0-9]{1,15}\Z")
LOCAL = st.from_regex(r"\A[0-9a-f*#]{1,6};phone-context=([a-z]{1,5}[.]example|[+][0-9]{1,4})\Z")


@st.composite
def spelled(draw: st.DrawFn) -> tuple[str, str]:
    """A number in its normal form, and a tel: URI or one with user=phone for it, with separators, capitals and parameters."""
    normal = draw(DIGITS | LOCAL)
    digits, semicolon, context = normal.partition(";")
    separators = st.text(st.sampled_from("-.()"), max_size=2)
    loose = "".join(("%23" if ch == "#" else ch) + draw(separators) for ch in digits)
    loose = loose.upper() if draw(st.booleans()) and "%" not in loose else loose
    more = draw(st.sampled_from(["", ";ext=7", ";isub=%00", ";POSTD=pp22"]))
    user = f"{loose}{more}{semicolon}{context}"
    return normal, draw(st.sampled_from([f"tel:{user}", f"sip:{user}@IMS.example;user=phone", f"sips:{user}@ims.example.:5061;user=phone"]))


@pytest.mark.requirement("ADDR-30", "ADDR-31", "ADDR-32")
@settings(deadline=None, max_examples=400)
@given(spelled())
def test_a_number_comes_back_from_its_jid_however_it_was_spelled(number: tuple[str, str]) -> None:
    normal, uri = number
    address = PHONES.address(Uri.parse(uri))
    assert address == SipAddress(normal, "ims.example")
    home = NUMBERS.home_of_sip(address)
    if normal == "+15551230001":
        assert home == Jid("alice", "xmpp.example")
        return
    assert home == address
    jid = NUMBERS.jid_of(home)
    assert jid == Jid("tomas" if normal == "+4420" else normal, "phones.example")
    assert NUMBERS.home_of_jid(jid) == home
    back = NUMBERS.uri_of(home)
    assert back.startswith("tel:")
    assert subscriber(back[4:]) == normal


@pytest.mark.requirement("ADDR-31", "SEC-14")
def test_a_pair_comes_before_the_number_and_takes_its_name() -> None:
    assert NUMBERS.home_of_jid(Jid("+4420", "phones.example")) is None
    assert NUMBERS.home_of_jid(Jid("tomas", "phones.example")) == SipAddress("+4420", "ims.example")
    assert NUMBERS.rule(Jid("tomas", "phones.example")) == "user pair, users.toml:9"
    assert NUMBERS.rule(SipAddress("+4420", "ims.example")) == "user pair, users.toml:9"


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("tel:+1-201-555-0123", "E.164 domain, domains.toml:5, RFC 3966 section 5.1"),
        ("sip:+1-201-555-0123@ims.example;user=phone", "E.164 domain, domains.toml:5, RFC 3966 section 5.1"),
        ("+12015550123@phones.example", "E.164 domain, domains.toml:5, RFC 3966 section 5.1"),
        ("7042;phone-context=sip.example@phones.example", "E.164 domain, domains.toml:5, RFC 3966 section 5.1"),
        ("tel:+4420", "user pair, users.toml:9"),
        ("tel:+1-555-123-0001", "user pair, users.toml:3"),
        ("sip:+1-201-555-0123@ims.example", "domain pair, RFC 7247 section 6.4"),
        ("romeo@phones.example", "domain pair, RFC 7247 section 6.5"),
        ("sip:+12015550123@sip.example;user=phone", "RFC 7247 section 6.4"),
    ],
)
def test_the_rule_that_decided_a_number(text: str, rule: str) -> None:
    assert NUMBERS.rule(NUMBERS.find(text)[0]) == rule


# -- whom an address denotes -------------------------------------------------------------------------------------------
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


@pytest.mark.requirement("RCS-06", "SEC-14")
def test_who_is_anonymous_has_a_jid_that_leads_to_nobody() -> None:
    nobody = SipAddress.anonymous("ims.example")
    jid = DIRECTORY.jid_of(nobody)
    assert str(jid) == r"anonymous\40anonymous.invalid@phones.example"
    assert DIRECTORY.is_anonymous(jid)
    assert (DIRECTORY.home_of_jid(jid), DIRECTORY.home_of_sip(nobody)) == (None, None)
    namesake = Jid(jid.local, "xmpp.example")
    assert not DIRECTORY.is_anonymous(namesake)
    assert DIRECTORY.home_of_jid(namesake) == namesake
    assert not DIRECTORY.is_anonymous(Jid("romeo", "sip.example"))
