"""Telephone numbers: one normal form for one number, what is none, and what `[[e164]]` may say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.address import SipAddress
from gateway.core.errors import ConfigFault, SyntaxFault
from gateway.core.numbers import NO_NUMBERS, NumberPlan, check_numbers, subscriber
from gateway.core.settings import RouteRule, Settings, SipSettings, XmppSettings
from gateway.core.tables import Tables, read_tables
from gateway.core.uri import Uri

HOST = "ims.example.net"
PLAN = NumberPlan(HOST, HOST, "sip", "domains.toml:1")
TEL = replace(PLAN, uri="tel")
NUMBER = SipAddress("+12015550123", HOST)
LOCAL = SipAddress("*21#;phone-context=example.com", HOST)


# -- normal form -------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("ADDR-30")
@pytest.mark.parametrize(
    ("raw", "normal"),
    [
        ("+1-201-555-0123", "+12015550123"),
        ("+1.201.555(0123)", "+12015550123"),
        ("+1-201%2D555-012%33", "+12015550123"),
        ("+12015550123;isub=%00%ff;ext=7;postd=p22", "+12015550123"),
        ("+12015550123;phone-context=%00", "+12015550123"),
        ("+112", "+112"),
        ("7042;phone-context=example.com", "7042;phone-context=example.com"),
        ("7042;ext=1;PHONE-CONTEXT=Example.COM.;x", "7042;phone-context=example.com"),
        ("863-1234;phone-context=+1-914-555", "8631234;phone-context=+1914555"),
        ("*21%23;phone-context=example.com", "*21#;phone-context=example.com"),
        ("*2A(b);phone-context=com", "*2ab;phone-context=com"),
    ],
)
def test_a_number_has_one_normal_form(raw: str, normal: str) -> None:
    assert subscriber(raw) == normal


NO_NUMBER = [
    "", "+", "+-", "-", "()", ";", "+;", "-+1", "+1+2", "1+2;phone-context=a", "++1", "+1a", "+1*", "+1%00", "+1%0D%0A", "+1%FF",
    "+%D9%A1%D9%A2", "+%EF%BC%91", "+1%20", "+1%2525", "+1?x=y", "+1@evil.example", "+12015550123%40evil.example", "+1;", "+1;;", "+1;=",
    "+1;=x", "+1;a_b=c", "+1;a=1;A=2", "+1;m-x", "+1;M-x=1", "7042", "7042;phone-context", "7042;phone-context=", ";phone-context=",
    ";phone-context=example.com", "-;phone-context=example.com", "alice;phone-context=example.com",
    "7042;phone-context=a;phone-context=b", "7042;phone-context=+", "7042;phone-context=+x", "7042;phone-context=192.0.2.1",
    "7042;phone-context=[::1]", "7042;phone-context=1", "7042;phone-context=-a", "7042;phone-context=a..b", "7042;phone-context=a%00",
    "7042;phone-context=%C3%A9.example", "7042;phone-context=" + "a" * 300, "7042;phone-context=x%3Bphone-context=y",
    "7042%3Bphone-context=x", "%D9%A1;phone-context=a", "7042;phone-context=a;m-x=1",
]  # fmt: skip
"""Nothing dialled, no context, twice the same, mandatory and unknown, digits of other scripts, and what would break out of its place."""


@pytest.mark.requirement("ADDR-30")
@pytest.mark.parametrize("raw", NO_NUMBER)
def test_what_is_no_number(raw: str) -> None:
    with pytest.raises(SyntaxFault):
        subscriber(raw)


PIECES = st.lists(
    st.sampled_from(
        ["+", "1", "23", "-", ".", "(", ")", "*", "#", "a", "F", ";", "=", "phone-context", "example.com", "%", "%31", "%00", "é", "x"]
    )
)


@settings(deadline=None, max_examples=500)
@given(st.text(max_size=30) | PIECES.map("".join) | st.from_regex(r"\A[+]?[0-9().-]{1,20}(;phone-context=([a-z]{1,5}|[+][0-9]{1,5}))?\Z"))
def test_any_text_is_a_number_in_normal_form_or_a_fault(raw: str) -> None:
    try:
        normal = subscriber(raw)
    except SyntaxFault:
        return
    assert normal.isascii()
    assert normal.isprintable()
    assert subscriber(normal) == normal
    address = SipAddress(normal, HOST)
    assert PLAN.holds(address)
    for plan in (PLAN, TEL):
        assert plan.address(Uri.parse(plan.written(address))) == address


# -- whom a URI names --------------------------------------------------------------------------------------------------
@pytest.mark.requirement("ADDR-30", "ADDR-32")
@pytest.mark.parametrize(
    "uri",
    [
        "tel:+1-201-555-0123",
        "TEL:+1.201.555.0123;isub=7",
        f"sip:+12015550123@{HOST};user=phone",
        f"sip:+1-201-555-0123@{HOST};user=phone",
        "sips:+1(201)5550123;postd=pp22:pw@IMS.example.net.:5070;transport=tcp;USER=Phone",
        f"sip:%2B12015550123@{HOST};user=phone;gr=x",
        f"sip:+12015550123@{HOST}",
    ],
)
def test_one_number_is_one_person_however_it_is_spelled(uri: str) -> None:
    assert PLAN.address(Uri.parse(uri)) == NUMBER


@pytest.mark.requirement("ADDR-32")
@pytest.mark.parametrize(
    ("uri", "user"),
    [
        ("sip:+1-201@other.example.net;user=phone", "+1-201"),
        (f"sip:+1-201@{HOST}", "+1-201"),
        (f"sip:+1-201@{HOST};user=ip", "+1-201"),
        (f"sip:+1-201@{HOST};user", "+1-201"),
        (f"sip:Alice@{HOST};user=phone", "Alice"),
        (f"sip:7042@{HOST};user=phone", "7042"),
        (f"sip:+1201;m-x=1@{HOST};user=phone", "+1201;m-x=1"),
        (f"sip:{HOST};user=phone", ""),
    ],
)
def test_who_is_not_a_number_there_is_a_user_like_any_other(uri: str, user: str) -> None:
    assert PLAN.address(Uri.parse(uri)) == Uri.parse(uri).address
    assert PLAN.address(Uri.parse(uri)).user == user


def test_what_is_no_number_and_no_user_either_is_a_fault() -> None:
    for uri in (f"sip:%00@{HOST};user=phone", f"sip:+1%ff@{HOST};user=phone", "tel:+1%00", "tel:+"):
        with pytest.raises(SyntaxFault):
            PLAN.address(Uri.parse(uri))


def test_without_an_e164_domain_no_uri_is_a_number() -> None:
    assert NO_NUMBERS.address(Uri.parse("tel:+12015550123")) == SipAddress("", "")
    assert NO_NUMBERS.address(Uri.parse(f"sip:+1-201@{HOST};user=phone")) == SipAddress("+1-201", HOST)
    assert NO_NUMBERS.written(NUMBER) == f"sip:+12015550123@{HOST}"
    assert not NO_NUMBERS.holds(SipAddress("", ""))


@pytest.mark.requirement("ADDR-31")
@pytest.mark.parametrize(
    ("address", "sip", "tel"),
    [
        (NUMBER, f"sip:+12015550123@{HOST};user=phone", "tel:+12015550123"),
        (LOCAL, f"sip:*21%23;phone-context=example.com@{HOST};user=phone", "tel:*21%23;phone-context=example.com"),
        (SipAddress("7;phone-context=X.Y", HOST), f"sip:7;phone-context=x.y@{HOST};user=phone", "tel:7;phone-context=x.y"),
        (SipAddress("+1-201", HOST), f"sip:+1-201@{HOST}", f"sip:+1-201@{HOST}"),
        (SipAddress("12015550123", HOST), f"sip:12015550123@{HOST}", f"sip:12015550123@{HOST}"),
        (SipAddress("+1%31", HOST), f"sip:+1%2531@{HOST}", f"sip:+1%2531@{HOST}"),
        (SipAddress("", HOST), f"sip:{HOST}", f"sip:{HOST}"),
        (SipAddress("+12015550123", "other.example"), "sip:+12015550123@other.example", "sip:+12015550123@other.example"),
    ],
)
def test_a_number_is_written_in_the_form_of_its_domain_and_nobody_else(address: SipAddress, sip: str, tel: str) -> None:
    assert (PLAN.written(address), TEL.written(address)) == (sip, tel)


def test_a_device_has_a_place_in_a_sip_uri_alone() -> None:
    assert Uri.parse(PLAN.written(NUMBER, "a b")).device == "a b"
    assert TEL.written(NUMBER, "a b") == "tel:+12015550123"


# -- the table ---------------------------------------------------------------------------------------------------------
SERVED = Settings(
    file="gateway.toml",
    name="gw.example",
    data_dir=Path("/x"),
    mappings=None,
    store_url="",
    sip=SipSettings(listen=(), domains=(HOST, "sip.example.com")),
    xmpp=XmppSettings("127.0.0.1", 5347, "x", ("example.com",)),
)
ROUTED = replace(SERVED, routes=(RouteRule("called.example", "sip:10.1.0.5"), RouteRule(HOST, "sip:10.1.0.6")))


def tables(folder: Path, domains: str, users: str = "") -> Tables:
    (folder / "domains.toml").write_text(domains, "utf-8")
    (folder / "users.toml").write_text(users, "utf-8")
    return read_tables(folder)


def complaint(folder: Path, domains: str, users: str = "", config: Settings = SERVED) -> str:
    """What is wrong with these files; empty when nothing is."""
    try:
        found = tables(folder, domains, users)
        check_numbers(found.numbers, found.users, config)
    except ConfigFault as fault:
        return str(fault).replace(f"{folder}/", "")
    return ""


def test_the_shipped_tables_name_no_e164_domain() -> None:
    assert read_tables().numbers == NO_NUMBERS


@pytest.mark.requirement("ADDR-30", "ADDR-31")
def test_the_e164_domain_is_read_with_its_form_and_its_sip_name(tmp_path: Path) -> None:
    where = f"{tmp_path}/domains.toml:1"
    assert tables(tmp_path, '[[e164]]\ndomain = "IMS.example.net."').numbers == NumberPlan(HOST, HOST, "sip", where)
    paired = '[[e164]]\ndomain = "sip.example.com"\nuri = "tel"\n[[domain]]\nsip = "called.example"\nxmpp = "sip.example.com"\n'
    assert tables(tmp_path, paired).numbers == NumberPlan("sip.example.com", "called.example", "tel", where)
    assert complaint(tmp_path, paired, config=ROUTED) == ""


TEL_ROW = f'[[e164]]\ndomain = "{HOST}"\nuri = "tel"\n'
NOWHERE = "domains.toml:e164[0].uri: a tel: URI names no place to send it to; write [sip] outbound or a [[route]] with a next_hop for "


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[[e164]]\nuri = "sip"', 'domains.toml:e164[0].domain: is missing; write domain = "ims.example.net"'),
        ('[[e164]]\ndomain = "a b"', 'domains.toml:e164[0].domain: "a b": Bad domain (RFC 1123 section 2.1)'),
        (f'[[e164]]\ndomain = "{HOST}"\nuri = "sips"', 'domains.toml:e164[0].uri: must be "sip" or "tel", not "sips"'),
        (f'[[e164]]\ndomain = "{HOST}"\nsip = "x"', "domains.toml:e164[0].sip: unknown key; known are domain, uri"),
        ('[e164]\ndomain = "x"', "domains.toml:e164: must be an array of tables, not a table; write [[e164]]"),
        ('[[e146]]\ndomain = "x"', "domains.toml:e146: unknown key; did you mean e164?"),
        (
            f'[[e164]]\ndomain = "{HOST}"\n[[e164]]\ndomain = "sip.example.com"',
            f"domains.toml:e164[1]: there is one E.164 domain, and it is {HOST} (domains.toml:1)",
        ),
        ('[[e164]]\ndomain = "example.com"', "domains.toml:e164[0].domain: example.com is not in [sip] domains"),
        ('[[e164]]\ndomain = "x.example"', "domains.toml:e164[0].domain: x.example is not in [sip] domains"),
        (TEL_ROW, NOWHERE + HOST),
        (f'[[domain]]\nsip = "called.example"\nxmpp = "{HOST}"\n' + TEL_ROW, NOWHERE + "called.example"),
    ],
)
def test_a_mistake_in_the_e164_domain_is_named(tmp_path: Path, text: str, said: str) -> None:
    assert complaint(tmp_path, text) == said


@pytest.mark.requirement("ADDR-31")
@pytest.mark.parametrize(
    ("config", "fits"),
    [
        (SERVED, False),
        (replace(SERVED, sip=replace(SERVED.sip, outbound="sip:10.1.0.5")), True),
        (replace(SERVED, routes=(RouteRule(HOST, "sip:10.1.0.5"),)), True),
        (replace(SERVED, routes=(RouteRule("*", "sip:10.1.0.5"),)), True),
        (replace(SERVED, routes=(RouteRule("sip.example.com", "sip:10.1.0.5"),)), False),
        (replace(SERVED, sip=replace(SERVED.sip, outbound="sip:10.1.0.5"), routes=(RouteRule(HOST, ""),)), False),
    ],
)
def test_a_tel_uri_needs_a_next_hop(tmp_path: Path, config: Settings, fits: bool) -> None:
    assert complaint(tmp_path, TEL_ROW, config=config) == ("" if fits else NOWHERE + HOST)


@pytest.mark.requirement("SEC-02", "SEC-17")
@pytest.mark.parametrize("user", ["+1-201-555-0123", "+12015550123;isub=7", "+1%2E2015550123", "%EF%BC%8B1-2015550123"])
def test_a_pair_names_a_number_as_everybody_will_see_it(tmp_path: Path, user: str) -> None:
    """Else alice would not be who is meant by her own number with user=phone, and somebody else would be."""
    row = f'[[user]]\nsip = "sip:{user}@{HOST}"\nxmpp = "alice@example.com"\n'
    said = complaint(tmp_path, f'[[e164]]\ndomain = "{HOST}"', row)
    assert said.startswith("users.toml:user[0].sip: ")
    assert said.endswith(f" is a number at the E.164 domain; write sip:+12015550123@{HOST}")
    assert complaint(tmp_path, "", row) == ""


@pytest.mark.parametrize("user", ["+12015550123", "%2B12015550123", "alice", "+1-alice", "7042", "7042;phone-context=X.y"])
def test_other_pairs_at_the_e164_domain_stand(tmp_path: Path, user: str) -> None:
    row = f'[[user]]\nsip = "sip:{user}@{HOST}"\nxmpp = "alice@example.com"\n'
    assert complaint(tmp_path, f'[[e164]]\ndomain = "{HOST}"', row) == ""
