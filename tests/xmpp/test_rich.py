"""Markup and links in stanzas (gateway/xmpp/rich.py)."""

from __future__ import annotations

from xml.etree.ElementTree import Element, fromstring

import pytest

from gateway.core.content import Content, Link
from gateway.core.html import SafeHtml
from gateway.xmpp.rich import MOST_XHTML, elements_of, links_of, markup_of

URL = "https://x.example/a?b=1&c=2"
ESCAPED = URL.replace("&", "&amp;")


def message(inner: str) -> Element:
    return fromstring(f"<message xmlns='jabber:client'>{inner}</message>")


@pytest.mark.requirement("XEP-12")
@pytest.mark.parametrize(
    ("content", "elements"),
    [
        (Content(), ""),
        (Content("a\nb"), "<body>a\nb</body>"),
        (Content(links=(Link(URL),)), f"<body>{ESCAPED}</body><x xmlns='jabber:x:oob'><url>{ESCAPED}</url></x>"),
        (
            Content("a", links=(Link(URL, "b\x07<"),)),
            f"<body>a\n{ESCAPED}</body><x xmlns='jabber:x:oob'><url>{ESCAPED}</url><desc>b\ufffd&lt;</desc></x>",
        ),
        (Content(f"a\n{URL}", links=(Link(URL),)), f"<body>a\n{ESCAPED}</body><x xmlns='jabber:x:oob'><url>{ESCAPED}</url></x>"),
    ],
)
def test_links_are_told_and_out_of_band(content: Content, elements: str) -> None:
    assert elements_of(content, html=True, links=True) == elements


@pytest.mark.requirement("XEP-10", "IMSG-18")
def test_markup_is_beside_the_body() -> None:
    content = Content("a", html="<p>a</p>", links=(Link(URL),))
    shown = elements_of(content, html=True, links=True)
    rich = f"<body xmlns='http://www.w3.org/1999/xhtml'><p>a</p><a href=\"{ESCAPED}\">{ESCAPED}</a></body>"
    assert f"<html xmlns='http://jabber.org/protocol/xhtml-im'>{rich}</html>" in shown
    assert elements_of(content, html=False, links=False) == f"<body>a\n{ESCAPED}</body>"
    assert elements_of(Content("a", html="a" * (MOST_XHTML + 1)), html=True, links=True) == "<body>a</body>"


@pytest.mark.requirement("XEP-12")
def test_out_of_band_data_is_read() -> None:
    def oob(url: str, rest: str = "") -> str:
        return f"<x xmlns='jabber:x:oob'><url>{url}</url>{rest}</x>"

    stanza = message(
        oob(f" {ESCAPED} ", "<desc>a\nb</desc>") + oob(ESCAPED) + oob("javascript:x") + oob("sip:a@b") + "<x xmlns='jabber:x:oob'/>"
    )
    assert links_of(stanza) == (Link(URL, "a b"), Link("sip:a@b"))


@pytest.mark.requirement("XEP-10")
def test_xhtml_im_is_read() -> None:
    body = "<body xmlns='http://www.w3.org/1999/xhtml'><p onclick='x'>a<b>c</b></p></body>"
    found = markup_of(message(f"<html xmlns='http://jabber.org/protocol/xhtml-im'>{body}</html>"))
    assert found == SafeHtml("<p>a<strong>c</strong></p>", "ac")
    assert markup_of(message(body)) is None
