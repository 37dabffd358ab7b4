"""A header section: rows in octets as they were read, typed views that are worked out when asked for, and what is wrong with them.

RFC 3261 sections 7.3 and 20.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from gateway.core.errors import SyntaxFault
from gateway.core.mime import ContentType

from . import grammar
from .headers import CSeq, NameAddr, Via, Warned, call_id, hops, known_party, length, option_tag, party, split_list, split_vias
from .names import KNOWN, LISTS, SINGLE, canonical, name_of, title
from .salvage import readable

T = TypeVar("T")
Index = dict[str, list[bytes]]
Lines = list[bytes]

_MOST_EXPIRES = 2**32 - 1
_SECONDS = re.compile(r"[0-9]++(?=[ \t;(]|\Z)")


class BadMessage(SyntaxFault):
    """Octets that are no SIP message that can be processed. `what` serves as the reason phrase ("Missing Call-ID").

    status: what to answer: 400, 413, 505 or 513; 0 for what is never answered: noise, a response, an ACK. method: of the request, as far as
    it could be read. partial: the readable rows of Via, From, To, Call-ID and CSeq, for `writer.response`; None when nothing is to be
    answered, or nothing can be for want of a usable Via (TOR-08).
    """

    def __init__(self, what: str, status: int = 0, headers: Headers | None = None, method: str = "") -> None:
        super().__init__(what)
        self.status = 0 if method == "ACK" else status
        self.method = method
        lines = readable(headers.index) if headers and self.status else []
        self.partial = Headers.of(lines) if lines else None


class MethodMismatch(BadMessage):
    """CSeq names another method than the start line: 400, or 501 for a method that is not known anyway (SIP-20)."""


class View(Generic[T]):
    """A property that is worked out once for each message, and is an ordinary attribute from then on."""

    def __init__(self, read: Callable[[Any], T]) -> None:
        self._read = read
        self._name = read.__name__
        self.__doc__ = read.__doc__

    def __get__(self, message: Headers, _owner: type) -> T:
        value = self._read(message)
        setattr(message, self._name, value)
        return value

    if TYPE_CHECKING:

        def __set__(self, message: Headers, value: T) -> None: ...


class Headers:
    """A header section. A view that raises does so with BadMessage, when a header that is needed for processing is malformed.

    lines: the rows as they came, folding undone. index: canonical name -> values in order. repeated: the title of a header
    that should have come once. None of them is ever changed. (No dataclass: the views live in `__dict__`, and making one takes longer.)
    """

    def __init__(self, lines: Lines, index: Index, repeated: str = "") -> None:
        self.lines = lines
        self.index = index
        self.repeated = repeated

    @staticmethod
    def of(lines: Lines) -> Headers:
        """A header section of these lines, `name: value`, with usual names."""
        return Headers(lines, *index_lines(lines, KNOWN))

    # -- any header ----------------------------------------------------------------------------------------------------
    @View
    def written(self) -> tuple[tuple[bytes, bytes], ...]:
        """All rows in order: name as it was spelled, value."""
        return tuple((name.rstrip(b" \t"), value.strip(b" \t")) for name, _, value in (line.partition(b":") for line in self.lines))

    @View
    def rows(self) -> tuple[tuple[str, bytes], ...]:
        """All rows in order: canonical name, value in octets with folding undone."""
        return tuple((name_of(name), value) for name, value in self.written)

    def header(self, name: str) -> str | None:
        """The first row of this name, long or compact in any case; what is no UTF-8 in it becomes U+FFFD. None when absent."""
        found = self.index.get(canonical(name))
        return found[0].decode("utf-8", "replace") if found else None

    def values(self, name: str) -> tuple[str, ...]:
        """All values of this name in order, comma lists taken apart. Empty when absent or malformed."""
        known = canonical(name)
        texts = [value.decode("utf-8", "replace") for value in self.index.get(known, ())]
        try:
            return tuple(value for text in texts for value in split_list(text)) if known in LISTS else tuple(texts)
        except SyntaxFault:
            return ()

    # -- what every message needs --------------------------------------------------------------------------------------
    @View
    def via_values(self) -> list[bytes]:
        """Every Via value in octets, top first."""
        rows = self.index.get("via")
        if not rows:
            raise self.fault("Missing Via")
        try:
            return split_vias(rows)
        except SyntaxFault:
            raise self.fault("Bad Via") from None

    @View
    def top_via(self) -> Via:
        """The Via value of the hop that a request came from, or that a response is for."""
        value = self.via_values[0]
        try:
            return Via.parse(value.decode())
        except (SyntaxFault, ValueError):
            raise self.fault("Bad Via") from None

    @View
    def vias(self) -> list[Via]:
        """All Via values, top first. A lower one that is written well and still cannot be, with port 99999, is left out."""
        found = [self.top_via]
        for value in self.via_values[1:]:
            with suppress(SyntaxFault, ValueError):
                found.append(Via.parse(value.decode()))
        return found

    @View
    def from_(self) -> NameAddr:
        """Who says this, not yet believed."""
        return self._parse("from", party)

    @View
    def to(self) -> NameAddr:
        """Whom it was first meant for."""
        return self._parse("to", known_party)

    @View
    def call_id(self) -> str:
        """Call-ID; case matters."""
        return self._parse("call-id", call_id)

    @View
    def cseq(self) -> CSeq:
        """CSeq number and method."""
        return self._parse("cseq", CSeq.parse)

    @View
    def max_forwards(self) -> int | None:
        """Hops left; None when absent or above 255 (SIP-21)."""
        return self._optional("max-forwards", hops)

    @View
    def content_length(self) -> int | None:
        """Octets of body that the header says; None when absent. A number of more than ten digits is a fault."""
        return self._optional("content-length", length)

    # -- what some messages need ---------------------------------------------------------------------------------------
    @View
    def content_type(self) -> ContentType | None:
        """The media type of the body."""
        return self._optional("content-type", ContentType.parse)

    @View
    def expires(self) -> int | None:
        """Seconds; None when absent or above 2**32-1 (SIP-22)."""
        return self._optional("expires", lambda text: grammar.number(text, _MOST_EXPIRES))

    @View
    def require(self) -> tuple[str, ...]:
        """Option tags that we have to know, as written."""
        return self._list("require", option_tag)

    @View
    def route(self) -> tuple[NameAddr, ...]:
        """Route values, next hop first."""
        return self._list("route", NameAddr.parse)

    # -- what may be malformed without harm ----------------------------------------------------------------------------
    @View
    def contact(self) -> tuple[NameAddr, ...]:
        """The Contact values that can be read; "*" is none."""
        return self.tolerant("contact", NameAddr.parse)

    @View
    def warning(self) -> tuple[Warned, ...]:
        """The Warning values that can be read."""
        return self.tolerant("warning", Warned.parse)

    @View
    def content_language(self) -> str | None:
        """The first language tag that is one."""
        return next((tag for tag in self.values("content-language") if grammar.LANGUAGE_TAG.fullmatch(tag)), None)

    @View
    def retry_after(self) -> int | None:
        """Seconds, without the comment and the parameters behind them. None when absent, malformed or above 2**32-1."""
        digits = _SECONDS.match(self.header("retry-after") or "")
        return grammar.number(digits[0], _MOST_EXPIRES) if digits else None

    # -- faults --------------------------------------------------------------------------------------------------------
    def fault(self, what: str, status: int = 400) -> BadMessage:
        """A fault in a response: nobody is answered, so the status is ignored."""
        return BadMessage(what)

    def _parse(self, name: str, parse: Callable[[str], T]) -> T:
        """The one value of a header that must be there."""
        found = self.index.get(name)
        if found is None or len(found) != 1:
            raise self.fault(f"{'Repeated' if found else 'Missing'} {title(name)}")
        try:
            return parse(found[0].decode())
        except (SyntaxFault, ValueError):
            raise self.fault(f"Bad {title(name)}") from None

    def _optional(self, name: str, parse: Callable[[str], T]) -> T | None:
        return self._parse(name, parse) if name in self.index else None

    def _list(self, name: str, parse: Callable[[str], T]) -> tuple[T, ...]:
        if name not in self.index:
            return ()
        try:
            return _parse_all(self.index[name], parse)
        except (SyntaxFault, ValueError):
            raise self.fault(f"Bad {title(name)}") from None

    def tolerant(self, name: str, parse: Callable[[str], T]) -> tuple[T, ...]:
        """Each value by itself: one that is malformed takes no other with it."""
        found: list[T] = []
        for row in self.index.get(name, ()):
            for value in split_list(row.decode("utf-8", "replace"), strict=False):
                with suppress(SyntaxFault, ValueError):
                    found.append(parse(value))
        return tuple(found)


# -- rows ----------------------------------------------------------------------------------------------------------------
def index_lines(lines: Lines, names: dict[bytes, str]) -> tuple[Index, str]:
    """Canonical name -> values in order, and the title of a header that comes twice and must not.

    names: name as it is spelled -> canonical name. Raises KeyError for a name that is not in it, ValueError for a line without a colon.
    """
    index: Index = {}
    repeated = ""
    for line in lines:
        name, value = line.split(b":", 1)
        known = names[name]
        value = value.strip(b" \t")
        if known in index:
            index[known].append(value)
            if known in SINGLE:
                repeated = repeated or title(known)
        else:
            index[known] = [value]
    return index, repeated


def _parse_all(rows: Iterable[bytes], parse: Callable[[str], T]) -> tuple[T, ...]:
    return tuple(parse(value) for row in rows for value in split_list(row.decode()))
