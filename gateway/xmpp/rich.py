"""What a message shows, as elements of a stanza: its body, XHTML-IM (XEP-0071), links as out-of-band data (XEP-0066)."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element

from gateway.core.content import MOST_LINKS, Content, Link
from gateway.core.errors import Refusal
from gateway.core.links import WEB, safe_url
from gateway.core.text import one_line, xml_text

from . import stanza as xml

if TYPE_CHECKING:
    from gateway.core.html import SafeHtml

XHTML_IM = "http://jabber.org/protocol/xhtml-im"
XHTML = "http://www.w3.org/1999/xhtml"
OOB = "jabber:x:oob"
MOST_XHTML = 65_536
"""Characters. Markup over this is left out, the plain text stays."""
_TOLD = WEB | {"ftp", "geo", "im", "mailto", "sip", "sips", "tel", "xmpp"}
"""The schemes of URLs that go to SIP, in the text."""


def elements_of(content: Content, *, html: bool, links: bool) -> str:
    """The elements for what is shown; nothing for nothing. The body says all of it (IMSG-18, XEP-12)."""
    parts, body = [], content.body
    if body:
        parts.append(f"<body>{xml.foreign(body)}</body>")
    if html and body and content.html and len(content.xhtml) <= MOST_XHTML:
        parts.append(f"<html xmlns='{XHTML_IM}'><body xmlns='{XHTML}'>{content.xhtml}</body></html>")
    if links:
        parts += [_out_of_band(link) for link in content.links]
    return "".join(parts)


def _out_of_band(link: Link) -> str:
    description = xml.element("desc", {}, xml.text(one_line(xml_text(link.description)))) if link.description else ""
    return f"<x xmlns='{OOB}'><url>{xml.text(link.url)}</url>{description}</x>"


def links_of(stanza: Element) -> tuple[Link, ...]:
    """The out-of-band data of a `<message/>`, each once; of what is there more than can be told the first."""
    found: dict[str, Link] = {}
    for each in stanza.findall(f"{{{OOB}}}x")[:MOST_LINKS]:
        if url := safe_url(each.findtext(f"{{{OOB}}}url") or "", _TOLD):
            found.setdefault(url, Link(url, one_line(each.findtext(f"{{{OOB}}}desc") or "")))
    return tuple(found.values())


def require_no_link(stanza: Element) -> None:
    """Refuses a `<message/>` that was sent for its out-of-band data alone, where that is not carried: a person would not learn of it."""
    if any((each.findtext(f"{{{OOB}}}url") or "").strip() for each in stanza.iterfind(f"{{{OOB}}}x")):
        raise Refusal("type-unsupported", "The URL is one that is not carried, and there is no text beside it")


def markup_of(stanza: Element) -> SafeHtml | None:
    """The XHTML-IM of a `<message/>`, safe to show; None for none."""
    body = stanza.find(f"{{{XHTML_IM}}}html/{{{XHTML}}}body")
    if body is None:
        return None
    from gateway.core.html import clean_xhtml

    return clean_xhtml(body)
