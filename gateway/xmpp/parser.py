"""The stream parser behind the component link: expat with bounds, handing out whole stanzas.

It has the two methods that slixmpp calls on its own parser (`feed`, `read_events`), and breaks the stream on what SEC-30 forbids: a DTD,
an entity, a comment, a processing instruction. A stanza that is too large, too deep or of too many elements (SEC-35, REL-28) is skipped
to its end and handed out as `Oversized`: any user can write one, and the stream is everybody's. Once more than the bound of one has come,
expat sees no more of it: a server may write megabytes where its user wrote kilobytes, and expat keeps what is not whole of a tag. `skip`
finds its end, and behind that a new expat goes on, to which the header of the stream is repeated.

A tag is fed when it is whole. An expat that has seen a part of one looks at it again only when as much again has come (since 2.6.0, and
wherever the mend of CVE-2023-52425 was taken over), and a stanza would wait in it for the next one; not every Python can switch that off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from .skip import Skipper, tag_end
from .stanza import XML_LANG
from .stream import ANSWERED, MOST_DEPTH, MOST_ELEMENTS, MOST_STANZA_OCTETS, StreamFault, ill_formed, restricted

_MOST_NAMES, _MOST_NAME = 512, 256
_ANSWERED = tuple(XML_LANG if name == "xml:lang" else name for name in ANSWERED)


class Oversized(Element):
    """A stanza over a bound: its name, and of its attributes those that an answer repeats, without what was in it."""


class StreamParser:
    """Octets in; ("start", root) once, then ("start", stanza), ("end", stanza) for each whole stanza, then ("end", root).

    Both events of a stanza come when it is complete. Element names are "{namespace}local".
    """

    def __init__(self) -> None:
        self._events: list[tuple[str, Element]] = []
        self._names: dict[str, str] = {}
        self._root: Element | None = None
        self._root_at = 0
        self._header = b""
        self._skipper: Skipper | None = None
        self._fault: StreamFault | None = None
        self._begin()

    def _begin(self) -> None:
        """Read with a new expat, from the beginning of the stream, or from right behind its header."""
        self._builder = TreeBuilder()
        self._stanza = Element("")
        self._skipping = False
        self._depth = self._elements = 0
        # Places in what this expat was fed; `_held` is the end of it: what is not whole yet. Behind that comes `_tail`, a tag that is not
        # fed yet, and does not end before `_looked`.
        self._fed = self._stanza_at = 0
        self._held: list[bytes] = []
        self._tail, self._looked = b"", 0
        # XMPP is UTF-8 whatever the declaration says (RFC 6120 section 11.6).
        parser = self._parser = expat.ParserCreate("UTF-8", "}")
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._data
        parser.StartDoctypeDeclHandler = self._refuse("a DTD")
        parser.EntityDeclHandler = self._refuse("an entity declaration")
        parser.CommentHandler = self._refuse("a comment")
        parser.ProcessingInstructionHandler = self._refuse("a processing instruction")
        if self._header:
            self._parse(self._header)

    def feed(self, data: bytes) -> None:
        """Take octets in any chunking. What is wrong is raised by `read_events`, behind the stanzas that were whole before it."""
        if self._fault:
            return
        rest: bytes | None = data
        try:
            while rest:
                rest = self._skip_on(self._skipper, rest) if self._skipper else self._parse(rest)
        except expat.ExpatError as error:
            self._fault = StreamFault("not-well-formed", expat.ErrorString(error.code) or "unreadable")
        except StreamFault as fault:
            self._fault = fault

    def _parse(self, data: bytes) -> bytes:
        """Feed expat; returns what is to be skipped from its beginning: a stanza that is over the bound and not whole yet."""
        data = self._whole(data)
        self._fed += len(data)
        self._held.append(data)
        self._parser.Parse(data, False)
        if self._root is None:
            waiting = self._fed
        else:
            self._header = self._header or self._read_header()
            waiting = self._fed - (self._stanza_at if self._depth > 1 else self._parser.CurrentByteIndex)
        if waiting <= len(data):
            self._held = [data[-waiting:]] if waiting else []
        return self._too_large() if waiting + len(self._tail) > MOST_STANZA_OCTETS else b""

    def _whole(self, data: bytes) -> bytes:
        """What may be fed now: all but a tag at the end that is not whole. No tag has a `<` in it, so the last one begins the last tag."""
        octets = self._tail + data
        at = octets.rfind(b"<")
        if at >= 0:
            end, is_whole = tag_end(octets, self._looked if self._tail and not at else at + 1)
            if not is_whole:
                self._tail, self._looked = octets[at:], end - at
                return octets[:at]
        self._tail = b""
        return octets

    def _read_header(self) -> bytes:
        octets = b"".join(self._held)
        return octets[: tag_end(octets, self._root_at + 1)[0]]

    def _too_large(self) -> bytes:
        if self._root is None:
            raise StreamFault("policy-violation", "the stream header is too large")
        octets = b"".join((*self._held, self._tail))
        if not octets.startswith(b"<"):
            raise ill_formed("something endless between two stanzas")
        self._skipper = Skipper()
        self._held.clear()
        return octets

    def _skip_on(self, skipper: Skipper, data: bytes) -> bytes | None:
        """Skip; where the stanza ends a new expat goes on, and returned is what is for it."""
        rest = skipper.feed(data)
        if rest is not None:
            self._skipper = None
            stanza = self._stanza if self._depth > 1 else None
            self._begin()
            self._hand_out(_without_content(self._read_head(skipper.head) if stanza is None else stanza))
        return rest

    def _read_head(self, head: bytes) -> Element:
        self._parse(head)
        (_, stanza), _ = self._events[-2:]
        del self._events[-2:]
        return stanza

    def read_events(self) -> Iterator[tuple[str, Element]]:
        """What became whole since the last call. Raises StreamFault once, after that."""
        events, self._events = self._events, []
        yield from events
        if self._fault:
            raise self._fault

    def _skip(self) -> None:
        """Forget what is built of this stanza, and build no more of it."""
        self._stanza = _without_content(self._stanza)
        self._builder, self._skipping = TreeBuilder(), True

    def _hand_out(self, stanza: Element) -> None:
        self._events += (("start", stanza), ("end", stanza))

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        depth = self._depth = self._depth + 1
        if self._skipping:
            return
        tag = self._names.get(name) or self._named(name)
        for key in attributes:
            if "}" in key:
                attributes = {"{" + known if "}" in known else known: value for known, value in attributes.items()}
                break
        if depth == 1:
            if self._root is None:
                self._root, self._root_at = Element(tag, attributes), self._parser.CurrentByteIndex
                self._events.append(("start", self._root))
        elif depth == 2:
            self._stanza_at = self._parser.CurrentByteIndex
            self._stanza, self._elements = self._builder.start(tag, attributes), 1
        elif depth > MOST_DEPTH or self._elements >= MOST_ELEMENTS:
            self._skip()
        else:
            self._elements += 1
            self._builder.start(tag, attributes)

    def _end(self, _name: str) -> None:
        depth = self._depth = self._depth - 1
        if depth == 0:
            assert self._root is not None
            self._events.append(("end", self._root))
            return
        if not self._skipping:
            self._builder.end("")
        if depth == 1:
            if self._parser.CurrentByteIndex - self._stanza_at > MOST_STANZA_OCTETS:
                self._skip()
            self._hand_out(self._stanza)
            self._builder, self._skipping = TreeBuilder(), False

    def _data(self, text: str) -> None:
        if not self._skipping:
            self._builder.data(text)

    def _named(self, name: str) -> str:
        tag = "{" + name if "}" in name else name
        if len(self._names) < _MOST_NAMES and len(name) <= _MOST_NAME:
            self._names[name] = tag
        return tag

    @staticmethod
    def _refuse(what: str) -> Callable[..., None]:
        def handler(*_: object) -> None:
            raise restricted(what)

        return handler


def _without_content(stanza: Element) -> Oversized:
    return Oversized(stanza.tag, {name: stanza.attrib[name] for name in _ANSWERED if name in stanza.attrib})
