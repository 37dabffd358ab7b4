"""Writing XML so that it reads back as what was meant, and looking things up at the exact depth."""

from __future__ import annotations

from xml.etree.ElementTree import fromstring

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from gateway.xmpp import stanza as xml

ANY_TEXT = st.text(st.characters(codec=None))
XML_TEXT = st.text(
    st.characters(
        codec="utf-8",
        exclude_categories=["Cs"],
        exclude_characters=[*(chr(code) for code in range(32) if chr(code) not in "\t\n\r"), "\ufffe", "\uffff"],
    )
)


@pytest.mark.requirement("SEC-20")
@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("plain", "plain"),
        ("<body>&amp;</body>", "&lt;body&gt;&amp;amp;&lt;/body&gt;"),
        ("]]>", "]]&gt;"),
        ("a\rb", "a&#13;b"),
        ("a\nb\tc", "a\nb\tc"),
        ("'\"", "'\""),
        ("\U0001f600 é", "\U0001f600 é"),
    ],
)
def test_character_data(value: str, written: str) -> None:
    assert xml.text(value) == written


@pytest.mark.requirement("SEC-20")
@pytest.mark.parametrize(
    ("value", "written"),
    [
        ('o\'malley "x"', "o&apos;malley &quot;x&quot;"),
        ("a<b&c>", "a&lt;b&amp;c&gt;"),
        ("a\r\n\tb", "a&#13;&#10;&#9;b"),
    ],
)
def test_an_attribute_value(value: str, written: str) -> None:
    assert xml.attribute(value) == written


@pytest.mark.requirement("SEC-20")
@given(XML_TEXT, XML_TEXT)
@settings(deadline=None)
def test_two_other_readers_get_back_what_was_written(inside: str, value: str) -> None:
    octets = xml.element("x", {"a": value}, xml.text(inside)).encode()
    for parse in (fromstring, etree.fromstring):
        found = parse(octets)
        assert ((found.text or ""), found.get("a", "")) == (inside, value)
        assert len(found) == 0


@pytest.mark.requirement("SEC-20", "IMSG-17")
@given(ANY_TEXT)
@settings(deadline=None)
def test_foreign_text_is_never_refused_and_nothing_of_it_is_lost(value: str) -> None:
    found = fromstring(f"<x>{xml.foreign(value)}</x>".encode()).text or ""
    expected = value.replace("\r\n", "\n").replace("\r", "\n")
    assert len(found) == len(expected)
    for got, meant in zip(found, expected, strict=True):
        assert got == meant or (got == "\ufffd" and (ord(meant) < 32 or meant in "\ufffe\uffff" or "\ud800" <= meant <= "\udfff"))


@pytest.mark.requirement("SEC-20")
@pytest.mark.parametrize("value", ["\0", "\x0b", "\x1f", "\ufffe", "\uffff", "\ud800"])
def test_what_xml_cannot_hold_never_leaves_the_writer(value: str) -> None:
    for write in (xml.text, xml.attribute):
        with pytest.raises(ValueError, match="cannot hold"):
            write(f"a{value}b")


def test_an_element() -> None:
    assert xml.element("message", {"to": "a@b", "id": "", "type": "chat"}) == "<message to='a@b' type='chat'/>"
    assert xml.element("body", {}, "x") == "<body>x</body>"


@pytest.mark.requirement("ERR-04")
def test_an_error_element() -> None:
    found = fromstring(xml.error("gone", "cancel", "It's <b>gone</b>", "xmpp:a&b@c", by="gw.example"))
    assert (found.tag, found.attrib) == ("error", {"by": "gw.example", "type": "cancel"})
    condition, text = found
    assert (condition.tag, condition.text) == (f"{{{xml.STANZAS}}}gone", "xmpp:a&b@c")
    assert (text.tag, text.text, text.get(xml.XML_LANG)) == (f"{{{xml.STANZAS}}}text", "It's <b>gone</b>", "en")
    assert len(fromstring(xml.error("gone", "cancel", ""))) == 1


NESTED = """<message xmlns='jabber:component:accept'>
<x xmlns='urn:x'><body xmlns='jabber:component:accept'>deep</body><body>other</body></x>
<body xmlns='urn:x'>foreign</body><body>first</body><subject/><body xmlns='jabber:client'>second</body></message>"""


@pytest.mark.requirement("SEC-31")
def test_only_direct_children_in_the_content_namespace_count() -> None:
    stanza = fromstring(NESTED)
    assert {name: [each.text for each in found] for name, found in xml.contents(stanza).items()} == {
        "body": ["first", "second"],
        "subject": [None],
    }
    assert [each.text for each in xml.children(stanza, "body")] == ["first", "second"]
    assert (found := xml.child(stanza, "body")) is not None
    assert found.text == "first"
    assert xml.child(stanza, "thread") is None


@pytest.mark.requirement("SEC-31")
@pytest.mark.parametrize(
    ("tag", "kind"),
    [
        ("{jabber:component:accept}message", "message"),
        ("{jabber:client}iq", "iq"),
        ("{jabber:server}message", ""),
        ("message", ""),
        ("{urn:x}presence", ""),
        ("{jabber:component:accept}presence", "presence"),
    ],
)
def test_the_kind_of_a_stanza(tag: str, kind: str) -> None:
    namespace, _, local = tag.rpartition("}")
    assert xml.stanza_kind(fromstring(f"<{local} xmlns='{namespace[1:]}'/>" if namespace else f"<{local}/>")) == kind


@pytest.mark.requirement("SEC-35")
def test_a_long_name_is_split_and_not_remembered() -> None:
    long, short = f"{{{'u' * 300}}}message", "{u}message"
    assert xml.split_name(long) == ("u" * 300, "message")
    assert xml.split_name(long) is not xml.split_name(long)
    assert xml.split_name(short) is xml.split_name(short)
