"""Markup in one pass (gateway/core/markup.py), beside an independent reader where both must agree."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import html as lxml_html

from gateway.core.markup import MOST_READ, End, Room, Start, Text, tokens


@pytest.mark.parametrize(
    ("markup", "found"),
    [
        ("<P Class=x HREF = 'a&amp;b' href=c>", [Start("p", {"href": "a&b"})]),
        ("<a href=?a=1&copy=2&amp;b>", [Start("a", {"href": "?a=1&copy=2&b"})]),
        ('<a title=">" href="x">', [Start("a", {"href": "x"})]),
        ("<br/>a</BR >", [Start("br", {}), Text("a"), End("br")]),
        ("a < b <3 <", [Text("a < b <3 <")]),
        ("a<!-- <b> -->c<!-->d<!--->e<!-- --!>f", [Text("a"), Text("c"), Text("d"), Text("e"), Text("f")]),
        ("<!DOCTYPE html><?xml?></><![CDATA[x]]>y", [Text("y")]),
        ("<script>a<b>c</SCRIPT x>d", [Start("script", {}), End("script"), Text("d")]),
        ("<title>a</titles>b", [Start("title", {})]),
        ("&lt;b&gt; &#65;&#x42;&copy", [Text("<b> AB©")]),
        ("&#99999999999999999999;&#x0;", [Text("\ufffd\ufffd")]),
        ("&#" + "9" * 5000 + "<a href='&#" + "9" * 5000 + ";'>", [Text("\ufffd"), Start("a", {"href": "\ufffd"})]),
        ("a\r\nb\rc", [Text("a\nb\nc")]),
    ],
    ids=lambda value: value[:24] if isinstance(value, str) else "",
)
def test_what_stands_in_markup(markup: str, found: list[object]) -> None:
    assert list(tokens(markup, Room())) == found


@pytest.mark.parametrize("rest", ["<b", "<b x='", "<!-- b", "</b", "<!b", "<style>b"])
def test_what_nothing_ends_is_left_out(rest: str) -> None:
    assert [token for token in tokens(f"a{rest}", Room()) if isinstance(token, Text)] == [Text("a")]


WORDS = st.text("abc ;.'\"=&<>é", max_size=12)


@given(st.lists(st.tuples(st.sampled_from(["b", "i", "span", "q"]), WORDS, WORDS), max_size=6))
@settings(deadline=None)
def test_another_reader_finds_the_same(parts: list[tuple[str, str, str]]) -> None:
    def written(text: str) -> str:
        return text.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")

    markup = "".join(f'<{name} type="{written(value)}">{written(text)}</{name}>' for name, value, text in parts)
    tree = lxml_html.fragment_fromstring(markup, create_parent=True)
    assert "".join(token.text for token in tokens(markup, Room()) if isinstance(token, Text)) == tree.text_content()
    assert [token.attributes["type"] for token in tokens(markup, Room()) if isinstance(token, Start)] == [node.get("type") for node in tree]


@pytest.mark.requirement("REL-28", "SEC-34")
@pytest.mark.parametrize(
    ("rest", "text"),
    [
        ("<b>a</b>c<p>d</p>e", "ac d e"),
        ("1 < 2<a title='x", "1 < 2"),
        ("a<!-- b --><SCRIPT x>c<b></script>d<style>e", "a  d "),
        ("<br>&lt;b&gt;<BR/>&amp;", " <b> &"),
        ("a<scripts>b</ p><a<b>c<div<!-- -->d<!-->e", "a b  c  d e"),
    ],
)
def test_behind_the_bound_the_tags_are_taken_out(rest: str, text: str) -> None:
    room = Room(3)
    found = list(tokens(f"<p style=x>0<i>{rest}", room))
    assert found == [Start("p", {"style": "x"}), Text("0"), Start("i", {}), *found[3:]]
    assert "".join(each.text for each in found[3:] if isinstance(each, Text)) == text
    assert all(isinstance(each, Text) for each in found[3:])


@pytest.mark.requirement("REL-28")
@pytest.mark.parametrize("piece", ["<p>a", "<p a=b>a", "<p" + " a" * 60 + ">a", "<!-->a", "</b>a"])
def test_what_is_read_of_a_message_is_bounded(piece: str) -> None:
    room, times = Room(), 65_536 // len(piece)
    found = [*tokens(piece * times, room), *tokens(piece * times, room)]
    assert room.left == 0
    assert len(found) <= 2 * MOST_READ + 2
    assert "".join(each.text for each in found if isinstance(each, Text)).count("a") == 2 * times


def test_a_tag_without_room_for_its_attributes_ends_at_a_bracket() -> None:
    assert list(tokens("<p style=x type=y>a", Room(2))) == [Start("p", {"style": "x"}), Text("a")]
    assert list(tokens("<p style=x type=y<b>a", Room(2))) == [Start("p", {"style": "x"}), Text("a")]
    assert list(tokens("<p style=x type=y", Room(2))) == [Start("p", {"style": "x"})]
