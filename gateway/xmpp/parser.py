"""The stream parser behind the component link: expat with bounds, handing out whole stanzas.

It has the two methods that slixmpp calls on its own parser (`feed`, `read_events`), and breaks the stream on what SEC-30, SEC-31 and
SEC-35 forbid: a DTD, an entity, a comment, a processing instruction, a stanza that is too large or too deep.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

MOST_STANZA_OCTETS = 262_144
"""The last end tag not counted."""
MOST_DEPTH = 64
_MOST_NAMES = 512


class StreamFault(Exception):
    """The stream cannot go on. condition: the RFC 6120 section 4.9.3 stream error to send before closing."""

    def __init__(self, condition: str, reason: str) -> None:
        super().__init__(f"{condition}: {reason}")
        self.condition = condition
        self.reason = reason


class StreamParser:
    """Octets in; ("start", root) once, then ("start", stanza), ("end", stanza) for each whole stanza, then ("end", root).

    Both events of a stanza come when it is complete. Element names are "{namespace}local".
    """

    def __init__(self) -> None:
        self._events: list[tuple[str, Element]] = []
        self._names: dict[str, str] = {}
        self._builder = TreeBuilder()
        self._root: Element | None = None
        self._depth = 0
        self._stanza_at = 0
        self._fed = 0
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
        try:
            self._parser.Parse(data, False)
        except expat.ExpatError as error:
            self._fault = StreamFault("not-well-formed", expat.ErrorString(error.code) or "unreadable")
        except StreamFault as fault:
            self._fault = fault
        else:
            if self._fed - self._stanza_at > MOST_STANZA_OCTETS:
                self._fault = _too_large()

    def read_events(self) -> Iterator[tuple[str, Element]]:
        """What became whole since the last call. Raises StreamFault once, after that."""
        events, self._events = self._events, []
        yield from events
        if self._fault:
            raise self._fault

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        tag = self._names.get(name) or self._named(name)
        for key in attributes:
            if "}" in key:
                attributes = {"{" + known if "}" in known else known: value for known, value in attributes.items()}
                break
        depth = self._depth = self._depth + 1
        if depth == 1:
            self._root = Element(tag, attributes)
            self._events.append(("start", self._root))
            self._stanza_at = self._fed
            return
        if depth == 2:
            self._stanza_at = self._parser.CurrentByteIndex
        elif depth > MOST_DEPTH:
            raise StreamFault("policy-violation", f"elements are nested more than {MOST_DEPTH} deep")
        self._builder.start(tag, attributes)

    def _end(self, _name: str) -> None:
        depth = self._depth = self._depth - 1
        if depth == 0:
            assert self._root is not None
            self._events.append(("end", self._root))
            return
        self._builder.end("")
        if depth == 1:
            if self._parser.CurrentByteIndex - self._stanza_at > MOST_STANZA_OCTETS:
                raise _too_large()
            stanza = self._builder.close()
            self._builder = TreeBuilder()
            self._events += (("start", stanza), ("end", stanza))
            self._stanza_at = self._fed

    def _data(self, text: str) -> None:
        if self._depth > 1:
            self._builder.data(text)

    def _named(self, name: str) -> str:
        tag = "{" + name if "}" in name else name
        if len(self._names) < _MOST_NAMES:
            self._names[name] = tag
        return tag

    @staticmethod
    def _refuse(what: str) -> Callable[..., None]:
        def handler(*_: object) -> None:
            raise StreamFault("restricted-xml", f"{what} is not allowed in a stream")

        return handler


def _too_large() -> StreamFault:
    return StreamFault("policy-violation", f"a stanza is larger than {MOST_STANZA_OCTETS} octets")
