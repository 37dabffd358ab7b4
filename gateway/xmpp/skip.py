"""Finding where a stanza ends without reading it: for one that is too large to be kept (SEC-35). Sans I/O, in constant memory.

Only what decides where it ends is looked at: tags, quoted values, CDATA sections. A comment, a processing instruction, a `<` where none
may stand end the stream, as with expat; the names of tags, references and characters are not checked, for nobody gets to see them.
What it costs goes by the tags, of which a server writes as many as its user did; what it adds of its own is passed over by `find`.
"""

from __future__ import annotations

import re

from .stream import ANSWERED, MOST_STANZA_OCTETS, ill_formed, restricted

_IN_TAG = re.compile(rb"[<>\"']")
# `find` is quicker on a long value. What repeats this is bounded, for it takes memory each time, and not possessive: before Python 3.11.5
# a possessive group that fails half-way does not go back to where it began (python/cpython#106052).
_SHORT_VALUE = rb"(?:'[^<']{0,64}+'|\"[^<\"]{0,64}+\")"
# The next tag, where it is whole and its values are short: (1) an end tag, (2) of an empty element, (3) a start tag.
_SHORT_TAG = re.compile(
    rb"[^<]{0,64}+<(?:(/)[^<>\"']++|[^<>\"'/!?\s=&][^<>\"'/]*+(?:" + _SHORT_VALUE + rb"[^<>\"'/]*+){0,64}(?:/()|()))>",
)
_DEEPER = (0, -1, 0, 1)
_SHORT_ATTRIBUTES = re.compile(rb"(?:[^<>\"']{1,64}+" + _SHORT_VALUE + rb"){0,256}")
# Of the first tag: what an answer repeats, and the namespace of its name.
_KEPT = (*(name.encode() for name in ANSWERED), b"xmlns")
_UNKEPT = re.compile(
    rb"(?:\s++(?!(?:" + b"|".join(_KEPT) + rb")[\s=])[^\s<>\"'=/]{1,64}+\s*+=\s*+" + _SHORT_VALUE + rb"){0,256}",
)
_NO_NAME = b" \t\r\n<>=&'\""
_CDATA, _COMMENT = b"<![CDATA[", b"<!--"
_NOBODY = b"<x xmlns=''/>"


class Skipper:
    """Octets of one stanza in, from its `<` on and in any chunking, until its end.

    head: once it has ended, the first tag as a whole small element: its name, and of its attributes those that an answer repeats. Where
    these are over 256 KiB themselves, or the name has a prefix, the head is of no stanza, and nobody is answered.
    """

    def __init__(self) -> None:
        self.head = _NOBODY
        self._first: _Head | None = _Head()
        self._depth = 0
        self._rest = b""
        self._closing = False
        self._quote = b""
        # What we are in: a method that takes octets and where to go on, and returns where the next part begins, or -1 for more octets.
        self._part = self._text
        self._ended = False

    def feed(self, octets: bytes) -> bytes | None:
        """Take octets; returns those behind the stanza, or None while it goes on. Raises StreamFault."""
        if self._first and self._first.too_much:
            self._first = None
        octets, self._rest, at = self._rest + octets, b"", 0
        while at >= 0:
            at = self._part(octets, at)
            if self._ended:
                return octets[at:]
        return None

    def _more(self, octets: bytes, at: int) -> int:
        """The few octets from `at` on mean nothing without those that follow."""
        self._rest = octets[at:]
        return -1

    def _text(self, octets: bytes, at: int) -> int:
        if self._depth:
            at = self._short_tags(octets, at)
            if self._ended:
                return at
        at = octets.find(b"<", at)
        if at < 0:
            return -1
        following = octets[at + 1 : at + 2]
        if following == b"/":
            if not self._depth:
                raise ill_formed("an end tag where none is open")
            self._closing, self._part = True, self._tag
            return at + 2
        if following == b"?":
            raise restricted("a processing instruction")
        if following == b"!":
            return self._declaration(octets, at)
        if not following:
            return self._more(octets, at)
        if following in _NO_NAME:
            raise ill_formed("a tag without a name")
        self._closing, self._part = False, self._tag
        return at + 1

    def _short_tags(self, octets: bytes, at: int) -> int:
        """Any number of tags, each more quickly than in its parts."""
        depth = self._depth
        while depth and (found := _SHORT_TAG.match(octets, at)):
            at = found.end()
            depth += _DEEPER[found.lastindex or 0]
        self._depth, self._ended = depth, not depth
        return at

    def _declaration(self, octets: bytes, at: int) -> int:
        """`<!` begins a CDATA section, or something that may not be."""
        start = octets[at : at + len(_CDATA)]
        if start == _CDATA and self._depth:
            self._part = self._cdata
            return at + len(_CDATA)
        if start.startswith(_COMMENT):
            raise restricted("a comment")
        if start != _CDATA and (_CDATA.startswith(start) or _COMMENT.startswith(start)):
            return self._more(octets, at)
        raise ill_formed("a declaration inside an element")

    def _cdata(self, octets: bytes, at: int) -> int:
        end = octets.find(b"]]>", at)
        if end < 0:
            return self._more(octets, max(at, len(octets) - 2))
        self._part = self._text
        return end + 3

    def _tag(self, octets: bytes, at: int) -> int:
        """In a tag, outside of its values. Its last octet waits for the next one: it may be the slash of an empty element."""
        at = self._short_attributes(octets, at)
        found = _IN_TAG.search(octets, at)
        end = found.start() if found else max(at, len(octets) - 1)
        unquoted = octets[at:end]
        if self._first:
            self._first.outside(unquoted)
        if not found:
            return self._more(octets, end)
        mark = found[0]
        if mark == b">":
            self._tag_ends(empty=unquoted.endswith(b"/"))
        elif mark == b"<" or self._closing:
            raise ill_formed("a tag in a tag, or a value in an end tag")
        else:
            self._quote, self._part = mark, self._value
            if self._first:
                self._first.value_begins(mark)
        return end + 1

    def _short_attributes(self, octets: bytes, at: int) -> int:
        """Any number of attributes of which nothing has to be known."""
        if self._closing or (self._first and not self._first.is_between):
            return at
        found = (_UNKEPT if self._first else _SHORT_ATTRIBUTES).match(octets, at)
        return found.end() if found else at

    def _tag_ends(self, *, empty: bool) -> None:
        if self._first:
            self.head, self._first = self._first.whole(), None
        if self._closing:
            self._depth -= 1
        elif not empty:
            self._depth += 1
        self._part, self._ended = self._text, not self._depth

    def _value(self, octets: bytes, at: int) -> int:
        found = octets.find(self._quote, at)
        end = len(octets) if found < 0 else found
        if octets.find(b"<", at, end) >= 0:
            raise ill_formed("a tag in a value")
        if self._first:
            self._first.value(octets[at:end], ends=found >= 0)
        if found < 0:
            return -1
        self._part = self._tag
        return end + 1


class _Head:
    """Picks from the first tag what an answer needs, as it was written."""

    def __init__(self) -> None:
        self.too_much = False
        self._kept, self._unquoted = bytearray(), bytearray()
        self._keeping, self._quote = False, b""

    @property
    def is_between(self) -> bool:
        """Whether the name of the element is known, and nothing of the next attribute."""
        return bool(self._kept) and not self._unquoted

    def outside(self, octets: bytes) -> None:
        """What stands between two values: the end of one attribute, the name of the next; before the first also that of the element."""
        self._unquoted += octets
        self.too_much = self.too_much or len(self._unquoted) > MOST_STANZA_OCTETS

    def value_begins(self, quote: bytes) -> None:
        words = bytes(self._unquoted).replace(b"=", b" ").split()
        self._unquoted.clear()
        if not words:
            raise ill_formed("a value without a name")
        if not self._kept:
            self._kept += b"<" + words[0]
        self._keeping, self._quote = words[-1] in _KEPT, quote
        if self._keeping:
            self._kept += b" " + words[-1] + b"=" + quote

    def value(self, octets: bytes, *, ends: bool) -> None:
        if self._keeping:
            self._kept += octets + (self._quote if ends else b"")
            self.too_much = self.too_much or len(self._kept) > MOST_STANZA_OCTETS

    def whole(self) -> bytes:
        kept = bytes(self._kept) or b"<" + self._unquoted.replace(b"/", b" ").split()[0]
        return _NOBODY if self.too_much or b":" in kept.split(maxsplit=1)[0] else kept + b"/>"


def tag_end(octets: bytes, at: int) -> tuple[int, bool]:
    """Where the tag ends that `at` is in, outside its values, and True; or False and where to go on when more has come."""
    while found := _IN_TAG.search(octets, at):
        if found[0] == b">":
            return found.end(), True
        end = octets.find(found[0], found.end())
        if end < 0:
            return found.start(), False
        at = end + 1
    return len(octets), False
