"""text/html made safe (gateway/core/html.py)."""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree.ElementTree import Element, fromstring

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.core.html import MOST_DEPTH, MOST_XHTML, MOST_XHTML_ELEMENTS, SafeHtml, clean, clean_xhtml, escaped
from tests.cost import LINEAR, growth, seconds

SAFE = {
    "a": {"href", "type", "style"},
    "blockquote": {"style"},
    "br": set(),
    "cite": {"style"},
    "em": set(),
    "img": {"alt", "height", "src", "width", "style"},
    "li": {"style"},
    "ol": {"style"},
    "p": {"style"},
    "span": {"style"},
    "strong": set(),
    "ul": {"style"},
}
"""IMSG-18, written down a second time."""
SCHEMES = ("http", "https", "im", "mailto", "sip", "sips", "tel", "xmpp")


def body(xhtml: str) -> Element:
    """What an XMPP client reads. Fails where it is no XML."""
    return fromstring(f"<body xmlns='http://www.w3.org/1999/xhtml'>{xhtml}</body>")


@pytest.mark.requirement("IMSG-18", "XEP-10")
def test_worked_example_6() -> None:
    safe = clean('<p onclick="x()">See <b>this</b>&nbsp;<a href="javascript:y">link</a></p><script>z</script>')
    assert safe.xhtml == "<p>See <strong>this</strong>\N{NO-BREAK SPACE}<a>link</a></p>"
    assert safe.text == "See this link"


@pytest.mark.requirement("IMSG-18")
@pytest.mark.parametrize(
    ("html", "xhtml"),
    [
        ("<b>a</b><i>b</i><u>c</u>", "<strong>a</strong><em>b</em>c"),
        ("<div>a</div><div>b</div>", "a<br/>b"),
        ("a<h1>b</h1><p>c</p>d", "a<br/>b<p>c</p>d"),
        ("<p>a<p>b", "<p>a</p><p>b</p>"),
        ("<ul><li>a<li>b<ol><li>c</ul>d", "<ul><li>a</li><li>b<ol><li>c</li></ol></li></ul>d"),
        ("<li>a</li>b", "a<br/>b"),
        ("<b><p>a</b>b", "<strong><p>a</p></strong>b"),
        ("<a href='HTTPS://x.example/?a=1&amp;b=2' target=x>a", '<a href="HTTPS://x.example/?a=1&amp;b=2">a</a>'),
        (
            "<a href='java\tscript:x'>a</a><a href=data:x>b</a><a href=/x>c</a><a href=' vbscript:x'>d</a>",
            "<a>a</a><a>b</a><a>c</a><a>d</a>",
        ),
        ("<a href='&#106;avascript:x'>a</a>", "<a>a</a>"),
        ("<a href='sip:a@b' type='text/html' style='color: red'>a</a>", '<a href="sip:a@b" type="text/html" style="color: red">a</a>'),
        (
            "<img src=https://x.example/a.png width=10 height=5% onerror=x>",
            '<img alt="" height="5%" src="https://x.example/a.png" width="10"/>',
        ),
        ("<img src=cid:x alt='a > b'>", "a &gt; b"),
        (
            "<p style='color:Red; position: fixed; background-color: url(x); FONT-SIZE: 12px'>a",
            '<p style="color: Red; font-size: 12px">a</p>',
        ),
        ("<p style='color: expression(x); color: \\72 ed'>a", "<p>a</p>"),
        ("<span style='color: rgb(1, 2, 3)'>a</span>", '<span style="color: rgb(1, 2, 3)">a</span>'),
        ("&copy;&lt;b&gt;&amp;&apos;", "©&lt;b&gt;&amp;'"),
        ("a\x00b\x0cc\x1b", "a\ufffdb c\ufffd"),
        ("<style>p{}</style><title>t</title><svg><script>x</script><text>y</text></svg>", "y"),
        ("<pre>\na\n  b</pre>c", "a<br/>\N{NO-BREAK SPACE} b<br/>c"),
        ("<table><tr><td>1<td>2<tr><td>3</table>", " 1 2 <br/>3"),
    ],
)
def test_only_the_safe_list_stays(html: str, xhtml: str) -> None:
    assert clean(html).xhtml == xhtml


@pytest.mark.requirement("IMSG-18", "ICPIM-28")
@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>a</p>\n<p>b<br>c</p>", "a\nb\nc"),
        ("<div>a <b> b</b>\n c</div>", "a b c"),
        ("<ul><li>a<li>b<ol><li>c<li>d</ol></ul>e", "- a\n- b\n  1. c\n  2. d\ne"),
        ("<blockquote>a<br>b</blockquote>c", "> a\n> b\nc"),
        ("<a href='https://x.example/'>here</a>", "here <https://x.example/>"),
        ("<a href='https://x.example/'>https://x.example</a>", "https://x.example"),
        ("<a href='https://x.example/'>https://y.example</a>", "https://y.example <https://x.example/>"),
        ("<a href='mailto:a@b'>a@b</a>", "a@b"),
        ("<a href='https://x.example/'></a>", "https://x.example/"),
        ("a<img src=https://x.example/s.png alt=':-)'>", "a:-)"),
        ("a<img src=https://x.example/s.png>b", "a https://x.example/s.png b"),
        ("<img src=https://x.example/s.png alt=''>", "https://x.example/s.png"),
        ("<pre>a\n  b</pre>", "a\n  b"),
        ("<table><tr><td>1<td>2<tr><td>3</table>", "1 2\n3"),
        ("a<br><br>b<br>", "a\n\nb"),
        ("<p> </p>", ""),
    ],
)
def test_plain_text_says_the_same(html: str, text: str) -> None:
    assert clean(html).text == text


def test_plain_text_as_markup() -> None:
    assert escaped("a<b>\r\n&\x07") == "a&lt;b&gt;<br/>&amp;\ufffd"


PIECES = st.sampled_from(
    [
        *(f"<{name}>" for name in [*SAFE, "div", "td", "pre", "script", "style", "title", "svg", "b", "i", "table"]),
        *(f"</{name}>" for name in [*SAFE, "div", "pre", "script", "b", "i"]),
        "<a href='https://x.example/?a&b'>",
        "<a href=javascript:x>",
        "<img src=https://x.example/ alt='\"'>",
        "<p style='color:red;x:y' onclick=x>",
        "<!--",
        "-->",
        "<![CDATA[",
        "]]>",
        "&lt;",
        "&#x3c;",
        "&nbsp",
        "<",
        ">",
        "'",
        "  ",
        "\n",
        "\x00",
        "\ufffe",
        "a",
        "https://x.example/",
    ]
)
MARKUP = st.one_of(st.lists(PIECES, max_size=30).map("".join), st.text(max_size=40))


def elements(root: Element) -> Iterator[tuple[str, Element]]:
    for element in root.iter():
        if element is not root:
            yield element.tag.removeprefix("{http://www.w3.org/1999/xhtml}"), element


@pytest.mark.requirement("IMSG-18", "XEP-10")
@given(MARKUP)
@settings(deadline=None, max_examples=300)
@example("<blockquote>" * 100)
def test_whatever_comes_is_xml_of_the_safe_list(html: str) -> None:
    safe = clean(html)
    root = body(safe.xhtml)
    for name, element in elements(root):
        assert set(element.attrib) <= SAFE[name]
        for link in ("href", "src"):
            assert element.get(link, "http:").partition(":")[0].lower() in SCHEMES
    assert not set(safe.text) & {"\x00", "\r", "\ufffe"}


@given(MARKUP)
@settings(deadline=None)
def test_what_an_xmpp_client_sends_is_kept(html: str) -> None:
    xhtml = clean(html).xhtml
    assert clean_xhtml(body(xhtml)).xhtml == xhtml


def test_what_an_xmpp_client_may_not_send_is_left_out() -> None:
    sent = "<h1>a</h1><p onclick='x' style='x:y'>&lt;b></p>c<a href='javascript:x' href2='y'>d</a><x xmlns='urn:x'><strong/>e</x>f<br/>g"
    assert clean_xhtml(body(sent)).xhtml == "a<p>&lt;b&gt;</p>c<a>d</a>ef<br/>g"


@given(MARKUP)
@settings(deadline=None, max_examples=300)
def test_what_is_clean_stays_as_it_is(html: str) -> None:
    once = clean(html).xhtml
    assert clean(once).xhtml == once


@given(st.text(max_size=60))
@settings(deadline=None)
def test_text_without_markup_is_kept(text: str) -> None:
    shown = "".join(body(escaped(text)).itertext())
    assert len(shown) == len(text.replace("\r\n", "\n").replace("\n", "").replace("\r", ""))


@pytest.mark.requirement("SEC-34")
def test_depth_is_bounded() -> None:
    depth = deepest = 0
    for piece in clean("<span>" * 1000 + "a").xhtml.replace("</", "\0/").replace("<", "\0").split("\0"):
        depth += -1 if piece.startswith("/") else bool(piece)
        deepest = max(deepest, depth)
    assert deepest == MOST_DEPTH


HOSTILE = {
    "unended tags": "<a",
    "tags in a tag": "<a ",
    "comments": "<!--",
    "half comments": "<!-",
    "quotes": "<a href='",
    "wrong quotes": "<a href='>",
    "deep": "<div>",
    "formatting": "<b>",
    "paragraphs": "<p>",
    "lists": "<ul><li>",
    "references": "&",
    "long references": "&#99999999999999999999",
    "raw": "<style></style ",
    "quoted lines": "<blockquote><br>x",
    "links": "<a href=https://x.example/>y",
    "declarations": "<p style='color:red;",
    "preformatted": "<pre>\n ",
    "sections": "<![CDATA[",
    "attributes": "<p a=b ",
}


@pytest.mark.requirement("SEC-34")
@pytest.mark.parametrize("piece", HOSTILE.values(), ids=HOSTILE.keys())
def test_cost_is_linear(piece: str) -> None:
    long = piece * (65_536 // len(piece))
    taken = seconds(lambda: clean(long), 0.5)
    assert taken < 0.5
    if taken > 0.002:
        assert growth(clean, piece * (16_384 // len(piece)), long) < LINEAR


@pytest.mark.requirement("REL-28", "IMSG-18")
@pytest.mark.parametrize("many", ["<b/>" * MOST_XHTML_ELEMENTS, "x" * MOST_XHTML, f"<p style='{'x' * MOST_XHTML}'/>"])
def test_xhtml_im_over_a_bound_is_text(many: str) -> None:
    text = "".join(body(many).itertext())
    assert clean_xhtml(body(f"{many}<i>y</i>&lt;")) == SafeHtml("", f"{text}y<")
    assert clean_xhtml(body(f"{many[:1000]}<i>y</i>" if many.startswith("x") else "<i>y</i>")).xhtml.endswith("<em>y</em>")


@pytest.mark.requirement("REL-28")
def test_all_lines_of_a_long_preformatted_text_are_kept() -> None:
    safe = clean("<pre>" + "<a>\n" * 2 + "a\n" * 20_000 + "b  &lt;</pre>")
    assert safe.text == "a\n" * 20_000 + "b  <"
    assert "".join("\n" if each.tag.endswith("}br") else "" for each in body(safe.xhtml).iter()).count("\n") == 20_001
    assert safe.xhtml.count("a<br/>") == 20_000
