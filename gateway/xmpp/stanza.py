"""Writing XML, and finding one's way in a stanza that was read. The one writer of the XMPP side (SEC-18, SEC-20)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from xml.etree.ElementTree import Element

from gateway.core.remember import remembered
from gateway.core.text import lf, xml_text

COMPONENT = "jabber:component:accept"
STREAM = "http://etherx.jabber.org/streams"
STANZAS = "urn:ietf:params:xml:ns:xmpp-stanzas"
DELAY = "urn:xmpp:delay"
NICK = "http://jabber.org/protocol/nick"
ADDRESS = "http://jabber.org/protocol/address"
RECEIPTS = "urn:xmpp:receipts"
MARKERS = "urn:xmpp:chat-markers:0"
CHAT_STATES = "http://jabber.org/protocol/chatstates"
HINTS = "urn:xmpp:hints"
E2E = "urn:ietf:params:xml:ns:xmpp-e2e"
E2E_TAG = f"{{{E2E}}}e2e"
EME = "urn:xmpp:eme:0"
XML_LANG = "{http://www.w3.org/XML/1998/namespace}lang"
_CONTENT = (COMPONENT, "jabber:client")

_LANGUAGE = re.compile(r"[A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8}){0,15}")
_SPECIAL = re.compile("[&<>'\"\t\r\n\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")
# A raw CR would reach the reader as LF, and a raw LF or TAB in an attribute as a space (XML 1.0 sections 2.11 and 3.3.3).
_TEXT = {ord("&"): "&amp;", ord("<"): "&lt;", ord(">"): "&gt;", ord("\r"): "&#13;"}
_ATTRIBUTE = _TEXT | {ord("'"): "&apos;", ord('"'): "&quot;", ord("\n"): "&#10;", ord("\t"): "&#9;"}


def text(value: str) -> str:
    """Character data. Raises ValueError for a character that XML 1.0 cannot hold: whoever composes text has replaced those."""
    return _escaped(value, _TEXT) if _SPECIAL.search(value) else value


def foreign(value: str) -> str:
    """Text from the other side as character data: line ends become LF, what XML cannot hold becomes U+FFFD (IMSG-17)."""
    return text(xml_text(lf(value))) if _SPECIAL.search(value) else value


def attribute(value: str) -> str:
    """An attribute value, for either kind of quote. Raises ValueError as `text` does."""
    return _escaped(value, _ATTRIBUTE) if _SPECIAL.search(value) else value


def _escaped(value: str, table: Mapping[int, str]) -> str:
    if _FORBIDDEN.search(value):
        raise ValueError("a character that XML cannot hold reached the writer")
    return value.translate(table)


def element(name: str, attributes: Mapping[str, str], content: str = "") -> str:
    """One element; `content` is XML already. Attributes with an empty value are left out."""
    head = "".join(f" {key}='{attribute(value)}'" for key, value in attributes.items() if value)
    return f"<{name}{head}>{content}</{name}>" if content else f"<{name}{head}/>"


def error(condition: str, kind: str, human: str, address: str = "", by: str = "", extension: str = "") -> str:
    """An `<error/>` with one defined condition (RFC 6120 section 8.3.2); `address` is the character data of gone and redirect.

    extension: a condition of RFC 3923 beside it; empty for none.
    """
    inner = element(condition, {"xmlns": STANZAS}, text(address))
    if human:
        inner += element("text", {"xmlns": STANZAS, "xml:lang": "en"}, text(human))
    if extension:
        inner += element(extension, {"xmlns": E2E})
    return element("error", {"by": by, "type": kind}, inner)


def language_tag(tag: str) -> str:
    """A value of xml:lang; empty for what is no tag of a language."""
    return tag if _LANGUAGE.fullmatch(tag) else ""


# -- reading -----------------------------------------------------------------------------------------------------------
@remembered(1024)
def split_name(tag: str) -> tuple[str, str]:
    """("namespace", "local") of an ElementTree tag."""
    namespace, _, local = tag.rpartition("}")
    return namespace[1:], local


def contents(stanza: Element) -> dict[str, list[Element]]:
    """The direct children in the stream's content namespace by local name, each in order (SEC-08, SEC-31: nothing deeper counts)."""
    found: dict[str, list[Element]] = {}
    for each in stanza:
        namespace, local = split_name(each.tag)
        if namespace in _CONTENT:
            found.setdefault(local, []).append(each)
    return found


def children(stanza: Element, name: str) -> Iterator[Element]:
    """The direct children of this name in the stream's content namespace (SEC-08, SEC-31: nothing deeper counts)."""
    for namespace in _CONTENT:
        yield from stanza.findall(f"{{{namespace}}}{name}")


def child(stanza: Element, name: str) -> Element | None:
    """The first of `children`."""
    return next(children(stanza, name), None)


def stanza_kind(stanza: Element) -> str:
    """ "message", "presence" or "iq"; empty for anything that is not a stanza of this stream."""
    namespace, local = split_name(stanza.tag)
    return local if namespace in _CONTENT else ""
