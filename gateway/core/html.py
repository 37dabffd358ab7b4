"""text/html as XHTML-IM and as plain text (IMSG-18, XEP-0071): what is on the safe list stays, everything else is unwrapped to its text."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from html import escape
from xml.etree.ElementTree import Element

from .links import safe_url
from .markup import KNOWN_ATTRIBUTES, Room, Start, Text, tokens
from .text import lf, one_line, xml_text

MOST_DEPTH = 24
MOST_ELEMENTS = 1024
"""Elements inside each other, and in all; what is deeper, or comes later, is unwrapped. An XMPP stream has 64 levels or fewer."""
LINKED = frozenset(["http", "https", "im", "mailto", "sip", "sips", "tel", "xmpp"])
"""Where a link may lead."""

XHTML = "http://www.w3.org/1999/xhtml"
_ATTRIBUTES = {
    "a": ("href", "type", "style"),
    "blockquote": ("style",),
    "br": (),
    "cite": ("style",),
    "em": (),
    "img": ("alt", "height", "src", "width", "style"),
    "li": ("style",),
    "ol": ("style",),
    "p": ("style",),
    "span": ("style",),
    "strong": (),
    "ul": ("style",),
}
"""The safe list: each element with its attributes."""
_VOID = ("br", "img")
_ALIASES = {"b": "strong", "i": "em"}
_LISTS = ("ol", "ul")
_SAFE_BLOCKS = frozenset(["blockquote", "li", "ol", "p", "ul"])
_BLOCK_BEGINNINGS = tuple(f"<{name}{rest}" for name in _SAFE_BLOCKS for rest in "> ")
_BLOCK_ENDS = tuple(f"</{name}>" for name in _SAFE_BLOCKS)
_BLOCK_NAMES = (
    "address article aside body caption center dd details dialog dir div dl dt fieldset figcaption figure footer form h1 h2 h3 h4 h5 h6 "
    "head header hr html legend main menu nav optgroup option pre search section summary table tbody tfoot thead tr"
)
_OTHER_BLOCKS = frozenset(_BLOCK_NAMES.split())
_CELLS = ("td", "th")
_PROPERTIES = "background-color color font-family font-size font-style font-weight margin-left margin-right text-align text-decoration"
_STYLE_PROPERTIES = frozenset(_PROPERTIES.split())
"""XEP-0071 section 7.6.1."""
_STYLE_VALUE = re.compile(r"rgba?\([0-9 ,.%]{1,32}\)|[A-Za-z0-9#%.,' \-]{1,64}")
_MEDIA_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+\-]{1,64}/[A-Za-z0-9!#$&^_.+\-]{1,64}")
_LENGTH = re.compile(r"[0-9]{1,5}%?")
_BLANKS = re.compile(r"[\t\n\f ]+")
_MOST_ALT, _MOST_INDENT, _MOST_STYLE = 256, 4, 1024
_MOST_LINES = 1024
"""Lines of preformatted text that are written one by one."""
MOST_XHTML, MOST_XHTML_ELEMENTS = 65_536, 1024
"""Of XHTML-IM from XMPP, in characters; one that has more is not read."""


@dataclass(frozen=True, slots=True)
class SafeHtml:
    """One text in two forms.

    xhtml: what stands in the body of XHTML-IM, well-formed XML of the safe list alone, in the namespace of XHTML.
    text: the same for who shows no markup; line ends are LF.
    """

    xhtml: str
    text: str


def clean(html: str, room: Room | None = None) -> SafeHtml:
    """Make any text/html safe to show. room: what is left of it for the message that this belongs to; behind that markup is text.

    >>> clean("<p>See <b>this</b> <a href='javascript:y'>link</a><script>z</script>")
    SafeHtml(xhtml='<p>See <strong>this</strong> <a>link</a></p>', text='See this link')
    """
    writer = _Writer()
    for token in tokens(html, room or Room()):
        if isinstance(token, Text):
            writer.text(xml_text(token.text.replace("\f", " ")))
        elif isinstance(token, Start):
            writer.start(_ALIASES.get(token.name, token.name), token.attributes)
        else:
            writer.end(_ALIASES.get(token.name, token.name))
    return writer.finished()


def clean_xhtml(body: Element) -> SafeHtml:
    """The content of the body of XHTML-IM that came from XMPP. What is not XHTML is unwrapped. Over a bound it is text alone.

    >>> from xml.etree.ElementTree import fromstring
    >>> clean_xhtml(fromstring("<body xmlns='http://www.w3.org/1999/xhtml'><b>a</b><x xmlns='urn:x'>b</x></body>")).xhtml
    '<strong>a</strong>b'
    """
    if _is_over(body):
        return SafeHtml("", lf("".join(body.itertext())).strip())
    pieces = []
    waiting: list[Element | str] = [body]
    while waiting:
        part = waiting.pop()
        if isinstance(part, str):
            pieces.append(part)
            continue
        namespace, _, name = part.tag.rpartition("}")
        is_known = part is not body and namespace == "{" + XHTML
        known = {key: value for key, value in part.attrib.items() if key in KNOWN_ATTRIBUTES}
        if part is not body:
            waiting.append(escape(part.tail or "", quote=False))
        if is_known and name not in _VOID:
            waiting.append(f"</{name}>")
        waiting += reversed(part)
        pieces += [f"<{name}{_written(known)}>" if is_known else "", escape(part.text or "", quote=False)]
    return clean("".join(pieces))


def _is_over(body: Element) -> bool:
    size = 0
    for number, each in enumerate(body.iter()):
        size += len(each.text or "") + len(each.tail or "") + sum(map(len, each.attrib.values()))
        if number > MOST_XHTML_ELEMENTS or size > MOST_XHTML:
            return True
    return False


def escaped(text: str) -> str:
    """Plain text as XHTML content; its lines are kept."""
    return escape(xml_text(lf(text)), quote=False).replace("\n", "<br/>")


def below(parts: Iterable[str]) -> str:
    """Pieces of XHTML content, each below the one before; a block that begins or ends there has its own line by itself.

    >>> below(["a", "b", "<p>c</p>", "d"])
    'a<br/>b<p>c</p>d'
    """
    whole = ""
    for part in parts:
        ends_line = not whole or whole.endswith(_BLOCK_ENDS) or part.startswith(_BLOCK_BEGINNINGS)
        whole += part if ends_line else f"<br/>{part}"
    return whole


def attribute(value: str) -> str:
    """The value of an attribute, between double quotes."""
    return escape(value)


@dataclass(slots=True)
class _Open:
    """An element that has begun. href: of a link. label_at: where its text begins in the plain form. items: of a list, so far."""

    name: str
    href: str
    label_at: int
    items: int = 0


@dataclass(slots=True)
class _Plain:
    """The plain form: a line gets its prefix when the first character of it comes."""

    pieces: list[str] = field(default_factory=list)
    prefix: str = ""
    at_start: bool = True

    def write(self, text: str) -> None:
        """Text in which a run of blanks is one."""
        text = _BLANKS.sub(" ", text)
        if self.at_start or self.pieces[-1].endswith(" "):
            text = text.removeprefix(" ")
        if text:
            self.write_exactly(text)

    def write_exactly(self, text: str) -> None:
        self.pieces.append(self.prefix + text if self.at_start else text)
        self.at_start = False

    def newline(self) -> None:
        if not self.at_start:
            self.pieces[-1] = self.pieces[-1].rstrip(" ")
        self.pieces.append("\n")
        self.at_start = True

    def fresh_line(self) -> None:
        if not self.at_start:
            self.newline()


class _Writer:
    """Writes both forms at once. Where the unwrapped blocks of the source begin and end, a line break is written if there is none."""

    def __init__(self) -> None:
        self._xhtml: list[str] = []
        self._plain = _Plain()
        self._stack: list[_Open] = []
        self._is_open = Counter[str]()
        self._in_line = self._break_due = False
        self._pre, self._pre_begins = 0, False
        self._first_image = ""
        self._elements, self._lines = 0, _MOST_LINES

    def text(self, text: str) -> None:
        if self._pre:
            self._preformatted(text)
            return
        self._inline(escape(text, quote=False), is_seen=not text.isspace())
        self._plain.write(text)

    def _preformatted(self, text: str) -> None:
        if self._pre_begins:
            text, self._pre_begins = text.removeprefix("\n"), False
        for number, line in enumerate(text.split("\n", max(self._lines, 0))):
            if number:
                self._line_break()
                self._lines -= 1
            if line:
                self._inline(escaped(line).replace("  ", "\N{NO-BREAK SPACE} "))
                self._plain.write_exactly(line)

    def _inline(self, xhtml: str, is_seen: bool = True) -> None:
        if is_seen and self._break_due:
            self._xhtml.append("<br/>")
        if is_seen:
            self._in_line, self._break_due = True, False
        self._xhtml.append(xhtml)

    def _line_break(self) -> None:
        self._inline("<br/>")
        self._in_line = False
        self._plain.newline()

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """A start tag. name: not an alias."""
        if name == "br":
            self._line_break()
        elif name == "img":
            self._image(attributes)
        elif name in _CELLS:
            self.text(" ")
        elif name in _SAFE_BLOCKS and (name != "li" or self._close_item()):
            self._begin_block(name, attributes)
        elif name in _OTHER_BLOCKS or name == "li":
            self._close("p")
            self._boundary()
            self._pre += name == "pre"
            self._pre_begins = name == "pre"
        elif name in _ATTRIBUTES:
            if name == "a":
                self._close("a")
            self._open(name, attributes)

    def end(self, name: str) -> None:
        """An end tag. name: not an alias."""
        if name == "li":
            self._close_item()
            self._boundary()
        elif name in _ATTRIBUTES:
            self._close(name)
        elif name in _OTHER_BLOCKS:
            self._close("p")
            self._boundary()
            self._pre -= name == "pre" and self._pre > 0

    def _begin_block(self, name: str, attributes: dict[str, str]) -> None:
        self._close("p")
        self._edge()
        if not self._has_room():
            return
        lists = [each for each in self._stack if each.name in _LISTS]
        self._open(name, attributes)
        self._indent()
        if name == "li":
            lists[-1].items += 1
            self._plain.prefix += f"{lists[-1].items}. " if lists[-1].name == "ol" else "- "

    def _edge(self) -> None:
        """Where a block that stays begins or ends: a line of its own by itself."""
        self._in_line = self._break_due = False
        self._plain.fresh_line()

    def _boundary(self) -> None:
        """Where a block that is unwrapped begins or ends."""
        self._break_due = self._break_due or self._in_line
        self._in_line = False
        self._plain.fresh_line()

    def _has_room(self) -> bool:
        return len(self._stack) < MOST_DEPTH and self._elements < MOST_ELEMENTS

    def _open(self, name: str, attributes: dict[str, str]) -> None:
        if not self._has_room():
            return
        self._elements += 1
        safe = _safe_attributes(name, attributes)
        self._xhtml.append(f"<{name}{_written(safe)}>")
        self._is_open[name] += 1
        self._stack.append(_Open(name, safe.get("href", ""), len(self._plain.pieces)))

    def _close_item(self) -> bool:
        """End the item that is open in the innermost list, if there is one; whether there is a list."""
        for each in reversed(self._stack):
            if each.name == "li":
                self._close("li")
                return True
            if each.name in _LISTS:
                return True
        return False

    def _close(self, name: str) -> None:
        """End an element, and what is open in it; nothing where it is not open."""
        if self._is_open[name]:
            while self._pop() != name:
                pass

    def _pop(self) -> str:
        element = self._stack.pop()
        self._is_open[element.name] -= 1
        self._xhtml.append(f"</{element.name}>")
        if element.href:
            self._tell_link(element)
        if element.name in _SAFE_BLOCKS:
            self._edge()
            self._indent()
        return element.name

    def _tell_link(self, link: _Open) -> None:
        """Say where a link leads, unless its text says so."""
        label = "".join(self._plain.pieces[link.label_at :]).strip()
        scheme, _, rest = link.href.partition(":")
        is_told = label.rstrip("/") == link.href.rstrip("/") or (scheme.lower() not in ("http", "https") and label == rest)
        if not is_told:
            self._plain.write(f" <{link.href}>" if label else link.href)

    def _indent(self) -> None:
        """How lines begin from here: quotations are marked, lists in lists are indented."""
        names = [each.name for each in self._stack]
        lists = sum(name in _LISTS for name in names)
        self._plain.prefix = "> " * min(names.count("blockquote"), _MOST_INDENT) + "  " * min(max(lists - 1, 0), _MOST_INDENT)

    def _image(self, attributes: dict[str, str]) -> None:
        safe = _safe_attributes("img", attributes)
        source = safe.get("src", "")
        if not source:
            self.text(safe.get("alt", ""))
            return
        self._first_image = self._first_image or source
        self._inline(f"<img{_written({'alt': '', **safe})}/>")
        self._plain.write(safe.get("alt", f" {source} "))

    def finished(self) -> SafeHtml:
        while self._stack:
            self._pop()
        text = "".join(self._plain.pieces).replace("\N{NO-BREAK SPACE}", " ").strip()
        return SafeHtml("".join(self._xhtml), text or self._first_image)


def _safe_attributes(name: str, attributes: dict[str, str]) -> dict[str, str]:
    safe = {}
    for key in _ATTRIBUTES[name]:
        value = _safe_value(key, attributes[key]) if key in attributes else ""
        if value or (key == "alt" and key in attributes):
            safe[key] = value
    return safe


def _safe_value(key: str, value: str) -> str:
    """The value of an attribute of the safe list; empty for one that may not be."""
    if key == "href":
        return safe_url(value, LINKED)
    if key == "src":
        return safe_url(value)
    if key == "style":
        return _safe_style(value)
    if key == "alt":
        return xml_text(one_line(value))[:_MOST_ALT]
    return value if (_MEDIA_TYPE if key == "type" else _LENGTH).fullmatch(value) else ""


def _safe_style(style: str) -> str:
    """The declarations that XEP-0071 recommends; of their values those that can name nothing to load."""
    kept = []
    for declaration in style.split(";") if len(style) <= _MOST_STYLE else ():
        name, _, value = declaration.partition(":")
        name, value = name.strip().lower(), value.strip()
        if name in _STYLE_PROPERTIES and _STYLE_VALUE.fullmatch(value):
            kept.append(f"{name}: {value}")
    return "; ".join(kept)


def _written(attributes: dict[str, str]) -> str:
    return "".join(f' {key}="{attribute(value)}"' for key, value in attributes.items())
