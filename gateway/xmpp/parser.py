"""The stream parser behind the component link: expat with bounds, handing out whole stanzas.

It has the two methods that slixmpp calls on its own parser (`feed`, `read_events`), and breaks the stream on what SEC-30 forbids: a DTD,
an entity, a comment, a processing instruction. A stanza that is too large or too deep (SEC-35) is skipped to its end and handed out as
`Oversized`: any user can write one, and the stream is everybody's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

MOST_STANZA_OCTETS = 262_144
"""The last end tag not counted."""
MOST_DEPTH = 64
MOST_SKIPPED_OCTETS = 8 * 1024 * 1024
MOST_SKIPPED_DEPTH = 131_072
"""What is skipped of one stanza before the stream is ended: expat keeps an unfinished tag, and a little for each open element.

A user's stanza may grow on the way: of 256 KiB of `"` a server makes 1.5 MiB of `&quot;`.
"""
_MOST_NAMES, _MOST_NAME = 512, 256


class StreamFault(Exception):
    """The stream cannot go on. condition: the RFC 6120 section 4.9.3 stream error to send before closing."""

    def __init__(self, condition: str, reason: str) -> None:
        super().__init__(f"{condition}: {reason}")
        self.condition = condition
        self.reason = reason


class Oversized(Element):
    """A stanza over a bound: its name and attributes, without what was in it."""


class StreamParser:
    """Octets in; ("start", root) once, then ("start", stanza), ("end", stanza) for each whole stanza, then ("end", root).

    Both events of a stanza come when it is complete. Element names are "{namespace}local".
    """

    def __init__(self) -> None:
        self._events: list[tuple[str, Element]] = []
        self._names: dict[str, str] = {}
        self._builder = TreeBuilder()
        self._root: Element | None = None
        self._stanza = Element("")
        self._skipping = False
        self._depth = 0
        self._stanza_at = 0
        self._fed = self._held = 0
        self._waiting: list[bytes] = []
        self._fault: StreamFault | None = None
        parser = self._parser = expat.ParserCreate(namespace_separator="}")
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._data
        parser.StartDoctypeDeclHandler = self._refuse("a DTD")
        parser.EntityDeclHandler = self._refuse("an entity declaration")
        parser.CommentHandler = self._refuse("a comment")
        parser.ProcessingInstructionHandler = self._refuse("a processing instruction")
        if hasattr(parser, "SetReparseDeferralEnabled"):
            # A whole stanza must not wait in expat for octets that come with the next one; its size is bounded here.
            parser.SetReparseDeferralEnabled(False)

    def feed(self, data: bytes) -> None:
        """Take octets in any chunking. What is wrong is raised by `read_events`, behind the stanzas that were whole before it."""
        if self._fault:
            return
        self._fed += len(data)
        if self._held > MOST_STANZA_OCTETS and b">" not in data:
            # expat would read the unfinished tag once more from its start, and this does not finish it.
            self._waiting.append(data)
            self._bound(self._fed - self._stanza_at)
        else:
            self._parse(b"".join((*self._waiting, data)))

    def _parse(self, data: bytes) -> None:
        self._waiting.clear()
        try:
            self._parser.Parse(data, False)
        except expat.ExpatError as error:
            self._fault = StreamFault("not-well-formed", expat.ErrorString(error.code) or "unreadable")
        except StreamFault as fault:
            self._fault = fault
        else:
            self._held = self._fed - self._parser.CurrentByteIndex
            self._bound(self._fed - self._stanza_at)

    def read_events(self) -> Iterator[tuple[str, Element]]:
        """What became whole since the last call. Raises StreamFault once, after that."""
        events, self._events = self._events, []
        yield from events
        if self._fault:
            raise self._fault

    def _bound(self, octets: int) -> None:
        """Look at the size of a stanza that is not whole yet; one in its first tag has no name so far."""
        if octets > (MOST_SKIPPED_OCTETS if self._depth else MOST_STANZA_OCTETS):
            self._fault = StreamFault("policy-violation", "a stanza is too large even to be skipped")
        elif octets > MOST_STANZA_OCTETS and self._depth > 1:
            self._skip()

    def _skip(self) -> None:
        """Forget what is built of this stanza, and build no more of it."""
        self._stanza = Oversized(self._stanza.tag, self._stanza.attrib)
        self._builder, self._skipping = TreeBuilder(), True

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        depth = self._depth = self._depth + 1
        if self._skipping:
            if depth > MOST_SKIPPED_DEPTH:
                raise StreamFault("policy-violation", "a stanza is too deep even to be skipped")
            return
        tag = self._names.get(name) or self._named(name)
        for key in attributes:
            if "}" in key:
                attributes = {"{" + known if "}" in known else known: value for known, value in attributes.items()}
                break
        if depth == 1:
            self._root = Element(tag, attributes)
            self._events.append(("start", self._root))
            self._stanza_at = self._fed
            return
        if depth == 2:
            self._stanza_at = self._parser.CurrentByteIndex
            self._stanza = self._builder.start(tag, attributes)
        elif depth > MOST_DEPTH:
            self._skip()
        else:
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
            self._events += (("start", self._stanza), ("end", self._stanza))
            self._builder, self._skipping = TreeBuilder(), False
            self._stanza_at = self._fed

    def _data(self, text: str) -> None:
        if self._depth > 1 and not self._skipping:
            self._builder.data(text)

    def _named(self, name: str) -> str:
        tag = "{" + name if "}" in name else name
        if len(self._names) < _MOST_NAMES and len(name) <= _MOST_NAME:
            self._names[name] = tag
        return tag

    @staticmethod
    def _refuse(what: str) -> Callable[..., None]:
        def handler(*_: object) -> None:
            raise StreamFault("restricted-xml", f"{what} is not allowed in a stream")

        return handler
