"""What a MIME entity shows to a person: text, its markup, and links to what is not in the message (IMSG-20).

text/plain and text/html; multiparts of them; what a message/cpim has inside; and what names a resource elsewhere: message/external-body
(RFC 4483, RFC 2017), text/uri-list (RFC 2483), and the file transfers and positions of RCS (RCS-10). Everything else is refused with
"type-unsupported", or is a file where files are carried (XEP-0363).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple
from xml.etree.ElementTree import Element

from .canonical import FAILURE_TYPE
from .cpim import CPIM_TYPE, CpimMessage
from .document import child, child_text, parse_document
from .errors import Refusal, SyntaxFault
from .files import File, file_of, filename_of, is_file
from .links import MOST_URL, safe_url
from .markup import Room
from .mime import ContentType, Entity, mime_parts, split_multipart
from .protection import CLEAR_SIGNED
from .text import lf, one_line, xml_text

MOST_LINKS, MOST_DEPTH = 32, 8
FILE_TRANSFER = "application/vnd.gsma.rcs-ft-http+xml"
LOCATION = "application/vnd.gsma.rcspushlocation+xml"
_SHOWN = ("", "render", "inline")
_NAMED = ("message/external-body", "text/uri-list", FILE_TRANSFER)
_FILE = "urn:gsma:params:xml:ns:rcs:rcs:fthttp"
_GEO = "urn:gsma:params:xml:ns:rcs:rcs:geolocation"
_GML = "http://www.opengis.net/gml"
_SHAPE = "http://www.opengis.net/pidflo/1.0"
_NOT_CARRIED = ("type-unsupported", "charset-unknown", "encoding-unknown")
_PROTECTED = (CLEAR_SIGNED, "multipart/encrypted")
_IDENTITY = "aib"
"""The disposition of an authenticated identity body (RFC 3893 section 2): it is about the request, not in the message."""
_NUMBER = r"-?[0-9]{1,3}(?:\.[0-9]{1,12})?"
_POSITION = re.compile(rf"({_NUMBER})[ \t\r\n]+({_NUMBER})(?:[ \t\r\n]+{_NUMBER})?")
_RADIUS = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,6})?")
_SIZE = re.compile(r"[0-9]{1,15}")
_MOST_NAME = 128


@dataclass(frozen=True, slots=True)
class Link:
    """Something elsewhere. url: http or https, with nothing in it that cannot be seen. description: one line, may be empty."""

    url: str
    description: str = ""


@dataclass(frozen=True, slots=True)
class Content:
    """What is shown.

    text: lines end in LF; without the links. language: a tag as it was stated, not checked; or empty. html: the same as `text` with markup,
    as content of XHTML-IM (`html.SafeHtml.xhtml`), or empty. files: what is a link, too, as soon as it has been uploaded.
    """

    text: str = ""
    language: str = ""
    html: str = ""
    links: tuple[Link, ...] = ()
    files: tuple[File, ...] = ()

    def linked(self, urls: Iterable[str]) -> Content:
        """The same with the URLs at which its files are, in their order."""
        return replace(self, links=(*self.links, *map(Link, urls)), files=())

    @property
    def body(self) -> str:
        """All of it for who shows plain text alone: the text, then each URL that is not a line of it already, on a line of its own.

        >>> Content("See", links=(Link("https://example.com/a"),)).body
        'See\\nhttps://example.com/a'
        """
        if not self.links:
            return self.text
        lines = self.text.split("\n")
        return "\n".join([*([self.text] if self.text else []), *[link.url for link in self.links if link.url not in lines]])

    @property
    def xhtml(self) -> str:
        """All of it with markup, each link that is not in it already at its end; empty where there is none."""
        if not self.html or not self.links:
            return self.html
        from .html import attribute, below

        return below([self.html, *[_anchor(link) for link in self.links if f'href="{attribute(link.url)}"' not in self.html]])


def content_of(entity: Entity, *, files: bool = False, signed: bool = False) -> Content:
    """What an entity shows. Its own Content-Disposition is the caller's to look at, those of its parts are looked at here (MSG-35).

    files: whether what is there to be opened, not shown, is carried as a file. signed: whether what was signed in the clear (RFC 1847) is
    shown, without its signature, and without an identity (RFC 3893); whether the signature is good, nobody asks here.

    Raises Refusal for what is not carried, or over a bound (SEC-34), SyntaxFault for what cannot be read.

    >>> content_of(Entity.compose([("Content-Type", "text/uri-list")], b"# a file\\r\\nhttps://example.com/a\\r\\n")).links
    (Link(url='https://example.com/a', description=''),)
    """
    return _read(entity, 1, _View(files, signed, Room()))


known_content = lru_cache(maxsize=4)(content_of)
"""The same, from memory for what was read last: a message is read when it comes, and again when it goes on."""


class _View(NamedTuple):
    """How an entity is looked at: files, signed as for `content_of`; room: for the markup of the whole."""

    files: bool
    signed: bool
    room: Room


def _read(entity: Entity, depth: int, view: _View) -> Content:
    """depth: 1 for the whole.

    A multipart is within the bounds by itself, and so is what messages in messages add up to.
    """
    kind = entity.content_type
    if view.files and is_file(kind) and kind.essence not in _NAMED and (_is_attached(entity) or not _is_shown(kind)):
        return Content(files=(file_of(entity),))
    if kind.essence == "text/plain":
        return Content(lf(entity.text()), _language(entity))
    if depth > MOST_DEPTH:
        raise Refusal("mime-limits")
    if kind.essence == CPIM_TYPE:
        return _read(CpimMessage.parse(entity.decoded()).entity, depth + 1, view)
    if view.signed and kind.essence == CLEAR_SIGNED:
        parts = split_multipart(entity)
        return _shown(parts[0], depth, view) if parts else Content()
    if kind.type == "multipart" and kind.essence not in _PROTECTED:
        # A multipart of a kind that is not known is mixed (RFC 2046 section 5.1.3).
        for _ in mime_parts(entity):
            pass
        content = (_alternative if kind.subtype == "alternative" else _mixed)(split_multipart(entity), depth, view)
        return content if content.language else replace(content, language=_language(entity))
    if kind.essence == "text/html":
        return _html(entity, view.room)
    reader = _READERS.get(kind.essence)
    if reader is None:
        raise Refusal("type-unsupported", f"{_name(kind.essence)} inside is not carried" if depth > 1 else "")
    return reader(entity)


def _language(entity: Entity) -> str:
    return (entity.header("Content-Language") or "").partition(",")[0].strip(" \t")


def _alternative(parts: tuple[Entity, ...], depth: int, view: _View) -> Content:
    """The same in several forms, the best one last (RFC 2046 section 5.1.4): plain text and html, where both are there, are both kept.

    A file is one of them only where there is nothing else.
    """
    found = _carried(parts, depth, view._replace(files=False)) or (_carried(parts, depth, view) if view.files else [])
    if not found:
        raise Refusal("type-unsupported", "none of the alternatives is carried")
    rich = next((each for each in reversed(found) if each.html), None)
    if rich is None:
        return found[-1]
    plain = next((each for each in reversed(found) if each.text and not each.html), rich)
    return Content(plain.text, plain.language or rich.language, rich.html, rich.links)


def _carried(parts: tuple[Entity, ...], depth: int, view: _View) -> list[Content]:
    found = []
    for part in parts:
        try:
            found.append(_shown(part, depth, view))
        except Refusal as refusal:
            if refusal.key not in _NOT_CARRIED:
                raise
    return found


def _mixed(parts: tuple[Entity, ...], depth: int, view: _View) -> Content:
    """All parts, one after the other. One that is not carried is left out if it is optional, else nothing is taken (RFC 3261 20.11)."""
    from .html import below, escaped

    found = []
    for part in parts:
        try:
            found.append(_shown(part, depth, view))
        except Refusal as refusal:
            if refusal.key not in _NOT_CARRIED or not _is_optional(part):
                raise
    links = tuple(link for each in found for link in each.links)
    if len(links) > MOST_LINKS:
        raise Refusal("mime-limits")
    texts = [each for each in found if each.text or each.html]
    html = below(each.html or escaped(each.text) for each in texts) if any(each.html for each in texts) else ""
    languages = [each.language for each in found if each.language]
    return Content(
        "\n".join([each.text for each in texts if each.text]),
        languages[0] if languages else "",
        html,
        links,
        tuple(file for each in found for file in each.files),
    )


def dispositions_of(kind: ContentType | None, *, files: bool = False) -> tuple[str, ...]:
    """What the Content-Disposition of something of this type may be, "" for none.

    Of text that a person reads: SIP's (RFC 3261 section 20.11), which is the default too, and MIME's (RFC 2183). What is only named may be
    an attachment too, and what is carried as a file.
    """
    return (*_SHOWN, "attachment") if kind is not None and (kind.essence in _NAMED or (files and is_file(kind))) else _SHOWN


def _shown(part: Entity, depth: int, view: _View) -> Content:
    if view.signed and _disposition(part)[0] == _IDENTITY:
        return Content()
    content = _read(part, depth + 1, view)
    if _disposition(part)[0] not in dispositions_of(part.content_type, files=view.files):
        raise Refusal("type-unsupported", "a part has a Content-Disposition that is not carried; render and inline are")
    return content


def is_text(entity: Entity, *, files: bool) -> bool:
    """Whether an entity shows its text and nothing else. files: as for `content_of`."""
    return entity.content_type.essence == "text/plain" and not (files and _is_attached(entity))


def _is_shown(kind: ContentType) -> bool:
    return kind.essence in ("text/plain", "text/html") or kind.essence in _READERS


def _is_attached(entity: Entity) -> bool:
    return _disposition(entity)[0] == "attachment"


def _is_optional(part: Entity) -> bool:
    """A message/sipfrag is, whatever it says: it tells of another message, and what stands beside it is there to be read (FRAG-40)."""
    return part.content_type.essence == FAILURE_TYPE or _disposition(part)[1] == "optional"


def _disposition(entity: Entity) -> tuple[str, str]:
    """The disposition and its handling, in lower case; one that cannot be read is none that is known."""
    value = entity.header("Content-Disposition")
    if not value:
        return "", "required"
    try:
        # It has the syntax of a media type but for the type itself (RFC 2183 section 2).
        read = ContentType.parse(f"disposition/{value}")
    except SyntaxFault:
        return "unknown", "required"
    return read.subtype, (read.param("handling") or "required").lower()


# -- one kind each ------------------------------------------------------------------------------------------------------
def _html(entity: Entity, room: Room) -> Content:
    from .html import clean

    safe = clean(entity.text(), room)
    return Content(safe.text, _language(entity), safe.xhtml)


def _external_body(entity: Entity) -> Content:
    """RFC 4483: a URL, where its white space says nothing (RFC 2017 section 3.1), and behind it the headers of what is there."""
    kind = entity.content_type
    if (kind.param("access-type") or "").lower() != "url":
        raise Refusal("type-unsupported", "message/external-body is carried with access-type=URL")
    there = Entity.parse(entity.decoded())
    name = there.header("Content-Description") or filename_of(there)
    if not name and there.header("Content-Type"):
        name = there.content_type.essence
    until = kind.param("expiration") or ""
    return _linked("".join((kind.param("url") or "").split()), _described(name, kind.param("size") or "", until))


def _uri_list(entity: Entity) -> Content:
    """RFC 2483 section 5: a URI in a line, `#` for a comment. What is no URL of the web is shown as text."""
    lines = [line.strip() for line in lf(entity.text()).split("\n")]
    uris = [line for line in lines if line and not line.startswith("#")]
    if len(uris) > MOST_LINKS:
        raise Refusal("mime-limits")
    links = tuple([Link(url) for url in map(safe_url, uris) if url])
    others = [xml_text(one_line(uri))[:MOST_URL] for uri in uris if not safe_url(uri)]
    return Content("\n".join(others), "", "", links)


def _file_transfer(entity: Entity) -> Content:
    """A file of RCS, or several: what is uploaded already. A thumbnail is left out."""
    root = parse_document(entity.decoded())
    if root.tag != f"{{{_FILE}}}file":
        raise SyntaxFault("File transfer without a file")
    links: list[Link] = []
    for info in root.findall(f"{{{_FILE}}}file-info")[:MOST_LINKS]:
        if info.get("type", "file") == "file":
            links += _file(info).links
    if not links:
        raise SyntaxFault("File transfer without a file")
    return Content(links=tuple(links))


def _file(info: Element) -> Content:
    if child(info, _FILE, "file-key") is not None:
        raise Refusal("type-unsupported", "an encrypted file is not carried: its key has no place in a link")
    data = child(info, _FILE, "data")
    url, until = ("", "") if data is None else (data.get("url", ""), data.get("until", ""))
    name = child_text(info, _FILE, "file-name") or child_text(info, _FILE, "content-type")
    return _linked(url, _described(name, child_text(info, _FILE, "file-size"), until))


def _location(entity: Entity) -> Content:
    """A position of RCS: its label, and a geo: URI (RFC 5870)."""
    root = parse_document(entity.decoded())
    found = _POSITION.fullmatch((root.findtext(f".//{{{_GML}}}pos") or "").strip())
    if not found or abs(float(found[1])) > 90 or abs(float(found[2])) > 180:
        raise SyntaxFault("Location without a position")
    radius = (root.findtext(f".//{{{_SHAPE}}}radius") or "").strip()
    uncertain = f";u={radius}" if _RADIUS.fullmatch(radius) else ""
    pushed = child(root, _GEO, "rcspushlocation")
    label = _name(pushed.get("label", "")) if pushed is not None else ""
    return Content("\n".join([*([label] if label else []), f"geo:{found[1]},{found[2]}{uncertain}"]))


_READERS: dict[str, Callable[[Entity], Content]] = {
    "message/external-body": _external_body,
    "text/uri-list": _uri_list,
    FILE_TRANSFER: _file_transfer,
    LOCATION: _location,
}


def _linked(url: str, description: str) -> Content:
    safe = safe_url(url)
    if not safe:
        raise Refusal("type-unsupported", "only http and https URLs are carried")
    return Content(links=(Link(safe, description),))


def _described(name: str, size: str, until: str) -> str:
    """The name of a thing; its size in octets and how long it is there, where they are told."""
    facts = [f"{size} octets"] if _SIZE.fullmatch(size) else []
    facts += [f"until {_name(until)}"] if until else []
    return f"{_name(name)} ({', '.join(facts)})".strip() if facts else _name(name)


def _name(text: str) -> str:
    return xml_text(one_line(text))[:_MOST_NAME]


def _anchor(link: Link) -> str:
    from .html import attribute, escaped

    return f'<a href="{attribute(link.url)}">{escaped(link.description or link.url)}</a>'
