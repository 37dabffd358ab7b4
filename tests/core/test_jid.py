"""JIDs, XEP-0106 escaping, and xmpp: URIs."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.errors import SyntaxFault
from gateway.core.jid import Jid, enforced_local, escape_local, jid_from_xmpp_uri, unescape_local, xmpp_uri


@pytest.mark.requirement("ADDR-15")
@pytest.mark.parametrize(
    ("text", "local", "domain", "resource"),
    [
        ("a@b/c@d/e", "a", "b", "c@d/e"),
        ("a@b/c/d", "a", "b", "c/d"),
        ("b/c@d", "", "b", "c@d"),
        ("b", "", "b", ""),
        ("a@b", "a", "b", ""),
        ("juliet@example.com/balcony", "juliet", "example.com", "balcony"),
        ("a@b/ ", "a", "b", " "),
        ("a@[2001:DB8::1]/x", "a", "[2001:db8::1]", "x"),
    ],
)
def test_a_jid_falls_into_its_three_parts(text: str, local: str, domain: str, resource: str) -> None:
    assert Jid.parse(text) == Jid(local, domain, resource)


@pytest.mark.requirement("ADDR-09", "ADDR-28")
@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("JULIET@Example.COM/Balcony", "juliet@example.com/Balcony"),
        ("a@h.", "a@h"),
        ("ｊｕｌｉｅｔ@h", "juliet@h"),
        ("fu\u0308@h", "fü@h"),
        ("a@xn--bcher-kva.example", "a@bücher.example"),
        ("Σ@h", "σ@h"),
        ("a@h/Büro\u00a0PC", "a@h/Büro PC"),
    ],
)
def test_a_jid_has_one_enforced_form(text: str, normal: str) -> None:
    assert str(Jid.parse(text)) == normal
    assert Jid.parse(normal) == Jid.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "@",
        "/",
        "@h",
        "a@",
        "a@/x",
        "a@h/",
        "/x",
        "a b@h",
        'a"b@h',
        "a&b@h",
        "a'b@h",
        "a:b@h",
        "a<b@h",
        "a>b@h",
        "a@b@c",
        "a@b c",
        "a\x00@h",
        "a@h/\x00",
        "a\n@h",
        "a@h\n",
        "a@h/\r\n",
        "a@h/\u0085",
        "a@h_h",
        "a" * 1024 + "@h",
        "é" * 512 + "@h",
        "a@h/" + "r" * 1024,
        "a@" + "b." * 200 + "c",
        "♥@h",
        "a@[::1%\r\nVia: x]",
        "\u3000@h",
        "a@h/\ufffe",
        "\ud800@h",
        "a@h/\ud800",
    ],
)
def test_what_is_no_jid_is_refused(text: str) -> None:
    with pytest.raises(SyntaxFault):
        Jid.parse(text)


def test_the_longest_parts_are_taken() -> None:
    assert Jid.parse("a" * 1023 + "@h").local == "a" * 1023
    # What fits into the 255 octets of a domain name is never longer than a JID part may be, however its labels are shown.
    labels = ["\U00020000" * 56] * 3 + ["\U00020000" * 54]
    assert Jid.parse("a@" + ".".join(labels)).domain == ".".join(labels)
    assert len(".".join(labels).encode()) < 1023
    assert Jid.parse("a@h/" + "é" * 511).resource == "é" * 511


def test_devices_of_one_person() -> None:
    jid = Jid.parse("a@h/x")
    assert (jid.bare, jid.with_resource("y"), jid.with_resource(""), jid.bare.bare) == (
        Jid("a", "h"),
        Jid("a", "h", "y"),
        Jid("a", "h"),
        Jid("a", "h"),
    )
    with pytest.raises(SyntaxFault):
        jid.with_resource("\n")


@pytest.mark.requirement("ADDR-05", "ADDR-06", "ADDR-07")
@pytest.mark.parametrize(
    ("text", "local"),
    [
        ("o'malley", r"o\27malley"),
        ("at&t", r"at\26t"),
        ("dir/sub", r"dir\2fsub"),
        ("\"&'/:<>@x", r"\22\26\27\2f\3a\3c\3e\40x"),
        ("space cadet", r"space\20cadet"),
        (r"\27", r"\5c27"),
        (r"\2f", r"\5c2f"),
        (r"foo\bar", r"foo\bar"),
        (r"c:\5commas", r"c\3a\5c5commas"),
        (r"\\20", r"\\5c20"),
        ("\\", "\\"),
        (r"\5c", r"\5c5c"),
        (r"\2plus\2is\4", r"\2plus\2is\4"),
        (r"\41", r"\41"),
        # XEP-0106 section 5
        ("d'artagnan", r"d\27artagnan"),
        ('call me "ishmael"', r"call\20me\20\22ishmael\22"),
        ("treasure:island", r"treasure\3aisland"),
        (r"c:\cool stuff", r"c\3a\cool\20stuff"),
    ],
)
def test_a_localpart_is_escaped_and_unescaped(text: str, local: str) -> None:
    assert escape_local(text) == local
    assert unescape_local(local) == text


@pytest.mark.requirement("ADDR-08", "ADDR-26")
@pytest.mark.parametrize("local", [r"\20a", r"a\20", r"\20", r"\5cfoo", r"a\5c", r"\5c\5c", r"\5c2"])
def test_a_localpart_that_is_not_in_normal_form_is_refused(local: str) -> None:
    assert Jid.parse(f"{local}@xmpp.example").local == local
    with pytest.raises(SyntaxFault):
        unescape_local(local)


@pytest.mark.requirement("ADDR-08", "ADDR-09")
@pytest.mark.parametrize("text", [" a", "a ", " ", "Romeo", "＠", "a＼", "♥", "a\u00a0b", "", "a" * 1000 + "&" * 9])
def test_text_that_no_localpart_can_stand_for_is_refused(text: str) -> None:
    with pytest.raises(SyntaxFault):
        escape_local(text)


@pytest.mark.requirement("ADDR-18")
@pytest.mark.parametrize("local", [r"\2plus\2is\4", r"\41", r"\2", r"\x", "\\", r"a\b"])
def test_what_only_looks_like_an_escape_is_left_alone(local: str) -> None:
    assert unescape_local(local) == local


LOCALS = st.text("abc019é\\ \"&'/:<>@25cf.,;%", min_size=1, max_size=12)


@pytest.mark.requirement("ADDR-26", "SEC-12", "SEC-14")
@settings(deadline=None, max_examples=300)
@given(LOCALS)
def test_escaping_is_undone_and_gives_a_jid_of_three_parts(text: str) -> None:
    try:
        local = escape_local(text)
    except SyntaxFault:
        assert text.startswith(" ") or text.endswith(" ")
        return
    assert unescape_local(local) == text
    assert Jid.parse(f"{local}@h.example/r") == Jid(local, "h.example", "r")


@pytest.mark.requirement("SEC-14")
@settings(deadline=None, max_examples=300)
@given(st.lists(st.text("a\\\\520c", min_size=1, max_size=6), min_size=2, max_size=20, unique=True))
def test_no_two_localparts_stand_for_one_text(locals_: list[str]) -> None:
    meant: dict[str, str] = {}
    for local in locals_:
        try:
            text = unescape_local(local)
        except SyntaxFault:
            continue
        assert meant.setdefault(text, local) == local
        assert escape_local(text) == local


@settings(deadline=None, max_examples=300)
@given(st.text(max_size=16) | st.text("aZ@/.\\ 2f0é＠\r\n[]:%", max_size=16))
def test_any_text_is_a_jid_or_a_syntax_fault(text: str) -> None:
    try:
        jid = Jid.parse(text)
    except SyntaxFault:
        return
    assert Jid.parse(str(jid)) == jid
    assert jid_from_xmpp_uri(xmpp_uri(jid)) == jid
    assert not any(ch in str(jid) for ch in "\r\n\x00")


# -- xmpp: URIs --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("jid", "uri"),
    [
        (Jid("juliet", "example.com", "balcony"), "xmpp:juliet@example.com/balcony"),
        (Jid("", "example.com"), "xmpp:example.com"),
        (
            Jid("nasty!#$%()*+,-.;=?[\\]^_`{|}~node", "example.com"),
            "xmpp:nasty!%23$%25()*+,-.;=%3F%5B%5C%5D%5E_%60%7B%7C%7D~node@example.com",
        ),
        (Jid("čechy", "čechy.example", "v Praze"), "xmpp:%C4%8Dechy@%C4%8Dechy.example/v%20Praze"),
        (Jid("a", "[2001:db8::1]", "x/y@z"), "xmpp:a@[2001:db8::1]/x%2Fy%40z"),
        (Jid("a", "h", " x "), "xmpp:a@h/%20x%20"),
    ],
)
def test_a_jid_as_a_uri(jid: Jid, uri: str) -> None:
    assert xmpp_uri(jid) == uri
    assert jid_from_xmpp_uri(uri) == jid


@pytest.mark.parametrize(
    ("uri", "jid"),
    [
        ("XMPP:Juliet@example.com", Jid("juliet", "example.com")),
        ("xmpp:a@h?message;body=x", Jid("a", "h")),
        ("xmpp:a@h/r#frag", Jid("a", "h", "r")),
        ("xmpp://guest@g.example/a@h?message", Jid("a", "h")),
        ("xmpp:a%5C40b@h", Jid(r"a\40b", "h")),
    ],
)
def test_an_xmpp_uri_names_a_jid(uri: str, jid: Jid) -> None:
    assert jid_from_xmpp_uri(uri) == jid


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "xmpp:",
        "a@h",
        "sip:a@h",
        "xmpp:@h",
        "xmpp:a@",
        "xmpp:a@h/",
        "xmpp:%40@h",
        "xmpp:a%40b@h",
        "xmpp:a%FF@h",
        "xmpp:a@h/%00",
        "xmpp:///x@",
        "xmpp:a@h%0D%0A",
        "xmpp://h",
        "xmpp:a%2F@h",
        "xmpp:a\udcff@h",
        "xmpp:a%41\ud83d@h",
    ],
)
def test_what_is_no_xmpp_uri_is_refused(uri: str) -> None:
    with pytest.raises(SyntaxFault):
        jid_from_xmpp_uri(uri)


@pytest.mark.parametrize("local", ["juliet", "a.b", "a\\b", "čechy"])
def test_enforcing_keeps_what_is_enforced(local: str) -> None:
    assert enforced_local(local) == local
