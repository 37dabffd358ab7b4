"""Addresses on the other side: SIP user <-> JID localpart, by the vectors of RFC 7247 and beyond."""

from __future__ import annotations

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.address import SipAddress, mapped_user
from gateway.core.domain import ascii_domain, unicode_domain
from gateway.core.errors import SyntaxFault
from gateway.core.jid import Jid, escape_local, unescape_local
from gateway.core.uri import Uri, im_user, sip_uri, sip_user

EXAMPLES = int(os.environ.get("STOXGATE_EXAMPLES", "500"))
"""How many addresses a property is tried on; ADDR-26 speaks of 10 000, which a soak run sets."""


def jid_of(uri: str) -> Jid:
    """The JID of a SIP address: decode, map, escape, enforce (RFC 7247 section 6.4)."""
    parsed = Uri.parse(uri)
    local = escape_local(mapped_user(parsed.address.user)) if parsed.address.user else ""
    return Jid(local, unicode_domain(parsed.host)).with_resource(parsed.device)


def sip_of(text: str) -> str:
    """The SIP URI of a JID: unescape, encode (RFC 7247 section 6.5)."""
    jid = Jid.parse(text)
    return sip_uri(SipAddress(unescape_local(jid.local) if jid.local else "", ascii_domain(jid.domain)), jid.resource)


VECTORS = [
    # SIP user, JID localpart, back to sip, to im
    ("f%C3%BC", "fü", "f%C3%BC", "f%C3%BC"),
    ("o'malley", r"o\27malley", "o'malley", "o%27malley"),
    ("o%27malley", r"o\27malley", "o'malley", "o%27malley"),
    ("at&t", r"at\26t", "at&t", "at%26t"),
    ("dir/sub", r"dir\2fsub", "dir/sub", "dir%2Fsub"),
    ("%40home", r"\40home", "%40home", "%40home"),
    ("a%3Ab", r"a\3ab", "a%3Ab", "a%3Ab"),
    ("space%20cadet", r"space\20cadet", "space%20cadet", "space%20cadet"),
    ("%5C27", r"\5c27", "%5C27", "%5C27"),
    ("c%3A%5C5commas", r"c\3a\5c5commas", "c%3A%5C5commas", "c%3A%5C5commas"),
    ("x%22y%3Cz%3E", r"x\22y\3cz\3e", "x%22y%3Cz%3E", "x%22y%3Cz%3E"),
    ("%5C2F", r"\5c2f", "%5C2f", "%5C2f"),
    ("foo%5Cbar", r"foo\bar", "foo%5Cbar", "foo%5Cbar"),
    ("a..b.", "a..b.", "a..b.", "a%2E%2Eb%2E"),
    ("50%25", "50%", "50%25", "50%25"),
    ("foo%23bar", "foo#bar", "foo%23bar", "foo%23bar"),
    ("a%5Bb%5D%7Bc%7D%7Cd", "a[b]{c}|d", "a%5Bb%5D%7Bc%7D%7Cd", "a%5Bb%5D%7Bc%7D%7Cd"),
    ("semi;colon,comma", "semi;colon,comma", "semi;colon,comma", "semi%3Bcolon%2Ccomma"),
    ("q?mark", "q?mark", "q?mark", "q%3Fmark"),
]


@pytest.mark.requirement("ADDR-05", "ADDR-06", "ADDR-16")
@pytest.mark.parametrize(("user", "local", "back", "to_im"), VECTORS)
def test_vectors_of_the_local_part(user: str, local: str, back: str, to_im: str) -> None:
    assert jid_of(f"sip:{user}@h.example") == Jid(local, "h.example")
    assert sip_of(f"{local}@h.example") == f"sip:{back}@h.example"
    assert im_user(unescape_local(local)) == to_im
    assert jid_of(f"im:{to_im}@h.example").local == local


@pytest.mark.requirement("ADDR-12", "ADDR-20")
@pytest.mark.parametrize(
    ("uri", "jid"),
    [
        ("sip:f%C3%BC@sip.example", "fü@sip.example"),
        ("sip:o'malley@sip.example", r"o\27malley@sip.example"),
        ("sip:foo@sip.example;gr=bar", "foo@sip.example/bar"),
        ("sip:m&m@xmpp.example", r"m\26m@xmpp.example"),
        ("sip:tsch%C3%BCss@xmpp.example", "tschüss@xmpp.example"),
        ("sip:baz@xmpp.example;gr=qux", "baz@xmpp.example/qux"),
        ("sip:h", "h"),
        ("sip:a@xn--bcher-kva.example", "a@bücher.example"),
        ("sip:a@h;gr=B%C3%BCro%20PC", "a@h/Büro PC"),
    ],
)
def test_pairs_of_rfc_7247(uri: str, jid: str) -> None:
    assert str(jid_of(uri)) == jid
    assert sip_of(jid) == uri


@pytest.mark.requirement("ADDR-04", "ADDR-08")
@pytest.mark.parametrize(
    "uri",
    [
        "sip:%20a@sip.example",
        "sip:a%20@sip.example",
        "sip:rom%00eo@sip.example",
        "sip:J%E1n@sip.example",
        "sip:a%0Ab@sip.example",
        "sip:%E2%99%A5@h",
    ],
)
def test_sip_users_without_a_jid_are_refused(uri: str) -> None:
    with pytest.raises(SyntaxFault):
        jid_of(uri)


@pytest.mark.requirement("ADDR-08", "ADDR-26")
@pytest.mark.parametrize("jid", [r"\5cfoo@xmpp.example", r"\20a@xmpp.example", r"a\20@xmpp.example"])
def test_jids_that_share_their_sip_form_are_refused(jid: str) -> None:
    with pytest.raises(SyntaxFault):
        sip_of(jid)


@pytest.mark.requirement("ADDR-01")
@pytest.mark.parametrize("uri", ["SIP:a:pw@h:5070;transport=tcp;gr=x?Subject=y", "sips:a@H;gr=x", "sip:A@h.;lr;gr=x"])
def test_only_who_where_and_device_matter(uri: str) -> None:
    assert str(jid_of(uri)) == "a@h/x"


@pytest.mark.requirement("ADDR-03", "ADDR-07", "ADDR-09")
@pytest.mark.parametrize(
    ("user", "local"),
    [
        ("%2541", "%41"),
        ("%5C2F", r"\5c2f"),
        ("%5C3A", r"\5c3a"),
        ("%5c3A", r"\5c3a"),
        ("%EF%BC%A0", r"\40"),
        ("%EF%BC%BC27", r"\5c27"),
        ("%EF%BC%BC%EF%BC%92f", r"\5c2f"),
        ("ROMEO", "romeo"),
        ("%EF%BC%B2omeo", "romeo"),
        ("fu%CC%88", "fü"),
        ("%C3%9C", "ü"),
        ("%5C2%EF%BC%A6", r"\5c2f"),
    ],
)
def test_mapping_comes_before_escaping(user: str, local: str) -> None:
    assert jid_of(f"sip:{user}@h").local == local


@pytest.mark.requirement("ADDR-10", "SEC-14")
def test_sip_users_that_differ_in_case_are_compared_as_one() -> None:
    assert SipAddress("Romeo", "h").normal == SipAddress("romeo", "h").normal == SipAddress("romeo", "h")
    assert SipAddress("Romeo", "h") != SipAddress("romeo", "h")
    assert SipAddress("Ｒomeo", "h").normal == SipAddress("romeo", "h")
    assert SipAddress("fu\u0308", "h").normal == SipAddress("fü", "h")
    assert SipAddress("romeo", "h").normal.user == "romeo"


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=12))
def test_the_normal_form_is_stable(user: str) -> None:
    normal = SipAddress(user, "h").normal
    assert normal.normal == normal


TRICKY = st.text("abcAB019\\ \"&'/:<>@25cfF%;,?#[]{}|^`.é＠Üß", min_size=1, max_size=14)


@pytest.mark.requirement("ADDR-26", "SEC-14")
@settings(deadline=None, max_examples=EXAMPLES)
@given(TRICKY)
def test_a_localpart_in_normal_form_comes_back(text: str) -> None:
    try:
        local = escape_local(mapped_user(text))
    except SyntaxFault:
        return
    assert jid_of(sip_of(f"{local}@h.example/r")) == Jid(local, "h.example", "r")
    assert mapped_user(Uri.parse(f"im:{im_user(unescape_local(local))}@h").address.user) == unescape_local(local)


WIRE_USERS = st.lists(
    st.sampled_from(
        [*"abzAZ019-_.!~*'()&=+$,;?/", *(f"%{octet:02X}" for octet in range(0x20, 0x7F)), "%C3%BC", "%c3%9c", "%EF%BC%A0", "%F0%9F%98%80"]
    ),
    min_size=1,
    max_size=10,
).map("".join)


@pytest.mark.requirement("ADDR-26", "SEC-13", "SEC-14")
@settings(deadline=None, max_examples=EXAMPLES)
@given(WIRE_USERS)
def test_a_sip_user_comes_back_in_its_normal_form(user: str) -> None:
    address = Uri.parse(f"sip:{user}@h.example").address
    try:
        jid = jid_of(f"sip:{user}@h.example")
    except SyntaxFault:
        return
    assert sip_of(str(jid)) == f"sip:{sip_user(mapped_user(address.user))}@h.example"
    assert Uri.parse(sip_of(str(jid))).address == address.normal
    assert jid_of(sip_of(str(jid))) == jid


@pytest.mark.requirement("RCS-06")
def test_who_does_not_say_who_he_is_has_an_address_of_his_domain() -> None:
    assert str(SipAddress.anonymous("sip.example")) == "anonymous@anonymous.invalid@sip.example"
    assert SipAddress("Anonymous@ANONYMOUS.invalid", "sip.example").is_anonymous
    assert not SipAddress("anonymous", "anonymous.invalid").is_anonymous
