"""Markup in one pass (gateway/core/markup.py), beside an independent reader where both must agree."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import html as lxml_html

from gateway.core.markup import End, Start, Text, tokens


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
    assert list(tokens(markup)) == found


@pytest.mark.parametrize("rest", ["<b", "<b x='", "<!-- b", "</b", "<!b", "<style>b"])
def test_what_nothing_ends_is_left_out(rest: str) -> None:
    assert [token for token in tokens(f"a{rest}") if isinstance(token, Text)] == [Text("a")]


WORDS = st.text("abc ;.'\"=&<>é", max_size=12)


@given(st.lists(st.tuples(st.sampled_from(["b", "i", "span", "q"]), WORDS, WORDS), max_size=6))
@settings(deadline=None)
def test_another_reader_finds_the_same(parts: list[tuple[str, str, str]]) -> None:
    def written(text: str) -> str:
        return text.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")

    markup = "".join(f'<{name} type="{written(value)}">{written(text)}</{name}>' for name, value, text in parts)
    tree = lxml_html.fragment_fromstring(markup, create_parent=True)
    assert "".join(token.text for token in tokens(markup) if isinstance(token, Text)) == tree.text_content()
    assert [token.attributes["type"] for token in tokens(markup) if isinstance(token, Start)] == [node.get("type") for node in tree]
