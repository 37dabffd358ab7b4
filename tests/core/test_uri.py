"""URIs: taking apart, decoding once, comparing, writing."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.address import SipAddress
from gateway.core.errors import SyntaxFault
from gateway.core.uri import Uri, gr_value, im_uri, im_user, sip_uri, sip_user


@pytest.mark.requirement("ADDR-01", "SIP-50")
def test_every_part_of_a_sip_uri() -> None:
    found = Uri.parse("SIP:a:pw@H.example:5070;Transport=tcp;gr=x;lr?Subject=y&Priority=urgent")
    assert found == Uri(
        "SIP:a:pw@H.example:5070;Transport=tcp;gr=x;lr?Subject=y&Priority=urgent",
        "sip",
        "a",
        "pw",
        "h.example",
        5070,
        (("transport", "tcp"), ("gr", "x"), ("lr", None)),
        "Subject=y&Priority=urgent",
    )
    assert (found.param("transport"), found.param("lr"), found.param("ttl")) == ("tcp", "", None)
    assert (found.address, found.device) == (SipAddress("a", "h.example"), "x")


@pytest.mark.requirement("ADDR-02", "SIP-50")
@pytest.mark.parametrize(
    ("text", "user"),
    [
        ("sip:a%40b@h", "a@b"),
        ("sip:user;par=u%40example.net@example.com", "user;par=u@example.net"),
        ("sip:sips%3Auser%40example.com@example.net", "sips:user@example.com"),
        ("sip:a?b@h", "a?b"),
        ("sip:a/b@h", "a/b"),
        ("sip:null-%25@h", "null-%"),
        ("sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*@h", "1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"),
    ],
)
def test_the_user_ends_at_the_only_raw_at_sign(text: str, user: str) -> None:
    assert Uri.parse(text).address.user == user


@pytest.mark.requirement("ADDR-02", "SIP-50")
@pytest.mark.parametrize(
    "text",
    [
        "sip:a@b@h",
        "sip:a@",
        "sip:@h",
        "sip:",
        "sip",
        "",
        "<sip:a@h>",
        "sip:a b@h",
        "sip:a@h h",
        "sip:a@h;x=a@b",
        "sip:a@h?x=@",
        "sip:a%@h",
        "sip:a%4@h",
        "sip:a%4g@h",
        "sip:a@h:",
        "sip:a@h:0",
        "sip:a@h:65536",
        "sip:a@h:123456",
        "sip:a@h:+5",
        "sip:a@h:٥",
        "sip:a@h;",
        "sip:a@h;;lr",
        "sip:a@h;=x",
        "sip:a@h;lr;LR",
        "sip:a@h;lr;%6Cr",
        "sip:a@h_h",
        "sip:a@1.2.3",
        "sip:a@h\r\nVia: x",
        "sip:a\r\n@h",
        "sip:ä@h",
        "sip:a@ä",
        "sip:a\x00@h",
        "sip:a#b@h",
        "sip:a[b@h",
        "sip:a\\b@h",
        'sip:a"@h',
        "sip:a@h/x",
        "s p:a",
        "1:a",
        ":a",
        "tel:",
        "urn:a b",
        "xmpp:a\nb",
        "im:a\x7f@h",
    ],
)
def test_a_malformed_uri_is_refused(text: str) -> None:
    with pytest.raises(SyntaxFault):
        _ = Uri.parse(text).address


@pytest.mark.requirement("ADDR-03", "SEC-11")
@pytest.mark.parametrize(
    ("user", "decoded"),
    [
        ("f%C3%BC", "fü"),
        ("%2541", "%41"),
        ("%61%62", "ab"),
        ("a%25%34%31", "a%41"),
        ("%F0%9F%98%80", "😀"),
    ],
)
def test_a_user_is_decoded_exactly_once(user: str, decoded: str) -> None:
    found = Uri.parse(f"sip:{user}@h")
    assert found.user == user
    assert found.address.user == decoded


@pytest.mark.requirement("ADDR-04", "SIP-51", "SEC-11")
@pytest.mark.parametrize(
    "user",
    [
        "J%E1n",
        "%C0%AF",
        "%ED%A0%80",
        "rom%00eo",
        "null-%00-null",
        "%00",
        "a%0D%0AVia",
        "a%7F",
        "a%C2%85",
        "a%1f",
        "%F8%88%80%80%80",
    ],
)
def test_what_is_no_text_is_no_address(user: str) -> None:
    found = Uri.parse(f"sip:{user}@h")
    assert found.user == user
    with pytest.raises(SyntaxFault):
        _ = found.address


@pytest.mark.requirement("ADDR-11")
def test_a_uri_without_a_user_is_a_domain() -> None:
    assert Uri.parse("sip:gw.example").address == SipAddress("", "gw.example")
    assert str(SipAddress("", "gw.example")) == "gw.example"
    assert str(SipAddress("a", "gw.example")) == "a@gw.example"


@pytest.mark.requirement("ADDR-12", "ADDR-13")
@pytest.mark.parametrize(
    ("params", "device"),
    [
        (";gr=bar", "bar"),
        (";GR=bar", "bar"),
        (";gr", ""),
        (";gr=B%C3%BCro%20PC", "Büro PC"),
        (";gr=urn:uuid:f81d4fae", "urn:uuid:f81d4fae"),
        ("", ""),
        (";x=y", ""),
        (";gr=%2541", "%41"),
    ],
)
def test_gr_with_a_value_is_the_device(params: str, device: str) -> None:
    assert Uri.parse(f"sip:a@h{params}").device == device


@pytest.mark.parametrize("value", ["%00", "%0A", "%FF"])
def test_a_device_is_text(value: str) -> None:
    with pytest.raises(SyntaxFault):
        _ = Uri.parse(f"sip:a@h;gr={value}").device


@pytest.mark.requirement("ADDR-17")
def test_encoded_and_raw_unreserved_characters_are_one() -> None:
    assert Uri.parse("im:a@[2001:DB8::1]").address == SipAddress("a", "[2001:db8::1]")
    assert Uri.parse("im:a%2Eb@h").address == Uri.parse("im:a.b@H.").address == SipAddress("a.b", "h")
    assert Uri.parse("sip:%61lice@h").address == Uri.parse("sips:alice@h").address


@pytest.mark.requirement("SIP-52", "ADDR-28")
@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("sip:[2001:db8::10]", "[2001:db8::10]", None),
        ("sip:[2001:db8::10]:5070", "[2001:db8::10]", 5070),
        ("sip:[2001:db8::10:5070]", "[2001:db8::10:5070]", None),
        ("sip:user@[2001:DB8:0::10]", "[2001:db8::10]", None),
        ("sip:a@[2001:db8:::192.0.2.1]", "[2001:db8::c000:201]", None),
        ("sip:a@192.0.2.7:5060", "192.0.2.7", 5060),
        ("sip:a@Example.NET.", "example.net", None),
    ],
)
def test_hosts_are_in_their_normal_form(text: str, host: str, port: int | None) -> None:
    found = Uri.parse(text)
    assert (found.host, found.port) == (host, port)


@pytest.mark.requirement("SIP-52")
@pytest.mark.parametrize(
    "text",
    [
        "sip:2001:db8::10",
        "sip:[2001:db8::10",
        "sip:[2001:db8::zz]",
        "sip:a@[]",
        "sip:a@[192.0.2.7]",
        "sip:[::1%25eth0]",
    ],
)
def test_ipv6_needs_its_brackets(text: str) -> None:
    with pytest.raises(SyntaxFault):
        Uri.parse(text)


@pytest.mark.requirement("SIP-53", "SIP-54")
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp"),
        ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
        ("sip:carol@chicago.com", "sip:carol@chicago.com;security=on"),
        (
            "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
            "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
        ),
        ("sip:alice@atlanta.com?subject=project%20x&priority=urgent", "sip:alice@atlanta.com?priority=urgent&subject=project%20x"),
        ("sip:x@h?subject=a&priority=b", "sip:x@h?priority=b&subject=a"),
        ("sip:a@[2001:db8::9:1]", "sip:a@[2001:db8::9:01]"),
        ("sip:a%2fb@h", "sip:a%2Fb@h"),
        ("im:a@h", "IM:a@h"),
    ],
)
def test_equal_uris(one: str, other: str) -> None:
    assert Uri.parse(one).equals(Uri.parse(other))
    assert Uri.parse(other).equals(Uri.parse(one))


@pytest.mark.requirement("SIP-53", "SIP-54")
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"),
        ("SIP:ALICE@x", "sip:alice@x"),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"),
        ("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"),
        ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
        ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off"),
        ("sip:a@h", "sips:a@h"),
        ("sip:h", "sip:a@h"),
        ("sip:a:pw@h", "sip:a:PW@h"),
        ("sip:a@h", "sip:a:@h;user=phone"),
        ("sip:a%2Fb@h", "sip:a/b@h"),
        ("sip:a@h;maddr=x", "sip:a@h"),
        ("sip:a@h;ttl=1", "sip:a@h"),
        ("sip:a@h;method=INVITE", "sip:a@h"),
        ("tel:+1", "sip:+1@h"),
        ("tel:+1", "tel:+2"),
    ],
)
def test_unequal_uris(one: str, other: str) -> None:
    assert not Uri.parse(one).equals(Uri.parse(other))
    assert not Uri.parse(other).equals(Uri.parse(one))


@pytest.mark.requirement("SIP-54")
def test_equality_is_not_transitive() -> None:
    plain, on, off = (Uri.parse(f"sip:carol@chicago.com{param}") for param in ("", ";security=on", ";security=off"))
    assert plain.equals(on)
    assert plain.equals(off)
    assert not on.equals(off)


@pytest.mark.parametrize(
    ("text", "scheme"),
    [
        ("tel:+1-201-555-0123", "tel"),
        ("urn:service:sos", "urn"),
        ("mailto:a@b", "mailto"),
        ("xmpp:juliet@example.com/balcony", "xmpp"),
        ("http://example.com/x?y#z", "http"),
        ("name-1.x+y:z", "name-1.x+y"),
    ],
)
def test_other_schemes_are_kept_as_text(text: str, scheme: str) -> None:
    assert Uri.parse(text) == Uri(text, scheme)


# -- writing -----------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("ADDR-21", "SEC-15")
@pytest.mark.parametrize(
    ("resource", "value"),
    [
        ("qux", "qux"),
        ("Büro PC", "B%C3%BCro%20PC"),
        ("a;b=c?d", "a%3Bb%3Dc%3Fd"),
        ("50%", "50%25"),
        ("x/y:z", "x/y:z"),
        ("urn:uuid:f81d4fae", "urn:uuid:f81d4fae"),
        ("home@work", "home%40work"),
        ("[mob]", "[mob]"),
        ('a,b#c"d', "a%2Cb%23c%22d"),
        ("<>\r\n", "%3C%3E%0D%0A"),
    ],
)
def test_a_device_is_one_parameter_value(resource: str, value: str) -> None:
    assert gr_value(resource) == value
    assert Uri.parse(sip_uri(SipAddress("a", "h"), resource)).params == (("gr", value),)


@pytest.mark.requirement("ADDR-22")
@pytest.mark.parametrize(
    ("user", "domain", "text"),
    [
        ("mira", "xmpp.example", "im:mira@xmpp.example"),
        ("o'malley", "h", "im:o%27malley@h"),
        ("", "h", "im:h"),
        ("a.b", "h", "im:a.b@h"),
        (".a", "h", "im:%2Ea@h"),
    ],
)
def test_im_uris_name_a_person_without_a_device(user: str, domain: str, text: str) -> None:
    assert im_uri(user, domain) == text


@pytest.mark.requirement("ADDR-16")
@pytest.mark.parametrize(
    ("user", "text"),
    [
        (".", "%2E"),
        ("..", "%2E%2E"),
        (".a.", "%2Ea%2E"),
        ("a..b", "a%2E%2Eb"),
        ("a...b", "a%2E%2E%2Eb"),
        ("a.b.c", "a.b.c"),
        ("a b", "a%20b"),
    ],
)
def test_a_dot_stays_between_two_other_characters_only(user: str, text: str) -> None:
    assert im_user(user) == text


ASCII = "".join(map(chr, range(33, 127)))


@pytest.mark.requirement("ADDR-16", "ADDR-21")
@pytest.mark.parametrize(
    ("encode", "raw"),
    [(sip_user, "-_.!~*'()&=+$,;?/"), (im_user, "-._~!$*+="), (gr_value, "-_.!~*'()[]/:&+$")],
)
def test_each_sign_stands_raw_or_encoded(encode: Callable[[str], str], raw: str) -> None:
    assert {sign for sign in ASCII if encode(f"a{sign}a") == f"a{sign}a" and not sign.isalnum()} == set(raw)
    assert all(encode(f"a{sign}a") == f"a%{ord(sign):02X}a" for sign in ASCII if not sign.isalnum() and sign not in raw)


@pytest.mark.requirement("ADDR-16", "SEC-13")
@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1), st.text(st.characters(exclude_categories=("Cc", "Cs"))))
def test_no_user_and_no_device_changes_anything_else(user: str, device: str) -> None:
    found = Uri.parse(sip_uri(SipAddress(user, "h.example"), device))
    assert (found.address, found.device) == (SipAddress(user, "h.example"), device)
    assert (found.password, found.port, found.headers) == (None, None, "")
    assert [name for name, _ in found.params] == (["gr"] if device else [])
    assert set(sip_user(user)) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.!~*'()&=+$,;?/%")
    assert Uri.parse(im_uri(user, "h.example")).address == SipAddress(user, "h.example")
    assert set(im_user(user)) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$*+=%")


@settings(deadline=None, max_examples=300)
@given(st.text(max_size=30) | st.text("sip:im@h;=%40a[]?&<>\r\n ", max_size=30).map("sip:".__add__))
def test_any_text_is_a_uri_or_a_syntax_fault(text: str) -> None:
    try:
        found = Uri.parse(text)
        assert found.equals(found)
        _ = found.address, found.device
    except SyntaxFault:
        return
    assert found.text == text
