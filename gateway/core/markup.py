"""Text with HTML markup, read in one pass: what is text, what is a tag.

This is the tokenization of the HTML standard (WHATWG, section 13.2.5) as far as it decides that, and no tree: a tree builder that follows
the standard makes of 10 KB of hostile markup 4 MB, of 64 KiB many times more. Every octet is looked at a bounded number of times, and
what takes long is bounded for a whole message: behind that its tags are only taken out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import unescape

from .text import REPLACEMENT, lf

RAW = frozenset(["script", "style", "title", "template", "iframe", "noembed", "noframes"])
"""What stands in these elements is nothing to read, and is left out."""
KNOWN_ATTRIBUTES = frozenset(["alt", "height", "href", "src", "style", "type", "width"])
"""The attributes that are handed out."""
MOST_READ = 2048
"""Tags and attributes, in all markup of one message (REL-28)."""

_TAG_BEGIN = re.compile(r"<(?=[A-Za-z/!?])")
_BLANKS = re.compile(r"[\t\n\f ]*")
_BEFORE_ATTRIBUTE = re.compile(r"[\t\n\f /]*")
_NAME = re.compile(r"[A-Za-z][^\t\n\f />]*")
_ATTRIBUTE_NAME = re.compile(r"[^\t\n\f />][^\t\n\f />=]*")
_BRACKET = re.compile(r"[<>]")
_BARE_VALUE = re.compile(r"[^\t\n\f >]*")
_RAW_END = {name: re.compile(rf"</{name}(?=[\t\n\f />])", re.I | re.A) for name in RAW}
_COMMENT_END = re.compile(r"--!?>")
# The longest number of a character has seven digits; int() is slow with thousands and refuses more.
_LONG_REFERENCE = re.compile(r"&#(?:[0-9]{9,}|[xX][0-9A-Fa-f]{9,});?")
# In an attribute a name without its semicolon is mostly the name of a parameter in a URL: "?a=1&copy=2".
_WHOLE_REFERENCE = re.compile(r"&(?:#[0-9]+|#[xX][0-9A-Fa-f]+|[A-Za-z][A-Za-z0-9]{1,31});")
_IN_LINE = "a|b|em|font|i|small|span|strong|sub|sup|u"
# What begins a comment or a raw element and has no end takes all the rest, any other tag ends before the next: the time is linear.
_UNREAD = re.compile(
    r"<!--(?:-?>|.*?(?:--!?>|\Z))"
    rf"|<({'|'.join(sorted(RAW))})(?=[\t\n\f />]).*?(?:</\1(?=[\t\n\f />])[^<>]*>?|\Z)"
    rf"|</?({_IN_LINE})(?=[\t\n\f />])[^<>]*>?"
    r"|<[A-Za-z/!?][^<>]*>?",
    re.I | re.A | re.S,
)


@dataclass(frozen=True, slots=True)
class Text:
    """Characters between tags, with the references undone. Line ends are LF."""

    text: str


@dataclass(frozen=True, slots=True)
class Start:
    """A start tag. name: in lower case. attributes: those of KNOWN_ATTRIBUTES, of several with one name the first."""

    name: str
    attributes: dict[str, str]


@dataclass(frozen=True, slots=True)
class End:
    """An end tag. name: in lower case."""

    name: str


@dataclass(slots=True)
class Room:
    """How many tags and attributes of a message are still read."""

    left: int = MOST_READ


def tokens(markup: str, room: Room) -> Iterator[Text | Start | End]:
    """What stands in `markup`, in order. Comments, declarations and what nothing ends are left out.

    Where there is no more room all the rest is one Text.

    >>> [*tokens("<P>1 &lt; 2<!-- -->", Room())]
    [Start(name='p', attributes={}), Text(text='1 < 2')]
    """
    markup = lf(markup)
    at = 0
    while at < len(markup):
        found = _TAG_BEGIN.search(markup, at)
        begin = found.start() if found else len(markup)
        if begin > at:
            yield Text(_text(markup[at:begin]))
        if begin == len(markup):
            return
        if room.left <= 0:
            yield Text(_text(_untagged(markup[begin:])))
            return
        token, at = _tag(markup, begin, room)
        if token is not None:
            yield token
        if isinstance(token, Start) and token.name in RAW:
            end = _RAW_END[token.name].search(markup, at)
            at = end.start() if end else len(markup)


def _untagged(markup: str) -> str:
    """The text of markup whose tags nobody reads: each is a blank but those that may stand within a word."""
    return _UNREAD.sub(lambda tag: "" if tag[2] else " ", markup)


def _tag(markup: str, begin: int, room: Room) -> tuple[Start | End | None, int]:
    """The tag that begins at `begin`, None for something else in angle brackets, and where it ends."""
    room.left -= 1
    is_end = markup.startswith("/", begin + 1)
    name = _NAME.match(markup, begin + 1 + is_end)
    if name:
        at = name.end()
        attributes, at = ({}, at + 1) if markup.startswith(">", at) else _attributes(markup, at, room)
        if at < 0:
            return None, len(markup)
        return (End(_lower(name[0])) if is_end else Start(_lower(name[0]), attributes)), at
    if markup.startswith("<!--", begin):
        # "<!-->" and "<!--->" are whole comments.
        short = next((len(start) for start in ("<!-->", "<!--->") if markup.startswith(start, begin)), 0)
        end = None if short else _COMMENT_END.search(markup, begin + 4)
        return None, begin + short if short else end.end() if end else len(markup)
    end_at = markup.find(">", begin)
    return None, end_at + 1 if end_at >= 0 else len(markup)


def _attributes(markup: str, at: int, room: Room) -> tuple[dict[str, str], int]:
    """The attributes of a tag from octet `at`, and where the tag ends; -1 for one that nothing ends.

    Where there is no more room it ends before the next bracket, or behind it.
    """
    found: dict[str, str] = {}
    while (at := _past(_BEFORE_ATTRIBUTE, markup, at)) < len(markup):
        if markup[at] == ">":
            return found, at + 1
        if room.left <= 0:
            bracket = _BRACKET.search(markup, at)
            return found, bracket.end() - (bracket[0] == "<") if bracket else len(markup)
        room.left -= 1
        end = _past(_ATTRIBUTE_NAME, markup, at)
        name = markup[at:end]
        at = _past(_BLANKS, markup, end)
        value = ""
        if markup.startswith("=", at):
            value, at = _value(markup, _past(_BLANKS, markup, at + 1))
            if at < 0:
                break
        if (name := _lower(name)) in KNOWN_ATTRIBUTES and name not in found:
            found[name] = _WHOLE_REFERENCE.sub(lambda reference: unescape(reference[0]), _LONG_REFERENCE.sub(REPLACEMENT, value))
    return {}, -1


def _value(markup: str, at: int) -> tuple[str, int]:
    quote = markup[at : at + 1]
    if quote in ("'", '"'):
        end = markup.find(quote, at + 1)
        return markup[at + 1 : end], end + 1 if end >= 0 else -1
    end = _past(_BARE_VALUE, markup, at)
    return markup[at:end], end


def _past(pattern: re.Pattern[str], markup: str, at: int) -> int:
    found = pattern.match(markup, at)
    return found.end() if found else at


def _text(text: str) -> str:
    return lf(unescape(_LONG_REFERENCE.sub(REPLACEMENT, text))) if "&" in text else text


def _lower(name: str) -> str:
    return name.lower() if name.isascii() else name
