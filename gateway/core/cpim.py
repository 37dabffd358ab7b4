"""message/cpim objects (RFC 3862): read without being changed, and written anew.

An object *is* its octets: two are equal when their octets are, nothing here ever rewrites one, and every header keeps its octets.
What a header says is a view of them, with the escapes undone. A value that is handed to `compose` is such a view.

Reading is lenient unless it is asked to be strict. What it let pass is told in `CpimMessage.notes`:

    nested-headers      the object begins once more with its outer MIME headers (CPIM-04)
    lf-only             a line ends in a bare LF
    no-space, spaces    not exactly one space behind the colon
    trailing-blank      blanks at the end of a line
    space-before-colon  `To : ...`
    control             a control character that is not escaped
    unbound-prefix      a prefix that no NS header has declared so far; the header is unknown
    bad-namespace       an NS header that declares nothing
    no-blank-line       the MIME headers of the content follow without a blank line
    no-content-type     the content does not say what it is; taken as text/plain

Three more are told in strict reading too: `utf8` (octets that are no UTF-8, U+FFFD in the view, CPIM-27), `misprinted-namespace`
(RFC 3862 section 6) and `content-length` (an inner Content-Length that says something else than the frame, CPIM-05).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import lru_cache

from .cpim_header import (
    CORE,
    MISPRINTED_CORE,
    ONCE,
    CpimAddress,
    CpimHeader,
    check_value,
    declare,
    escaped,
    read_params,
    resolved,
    split_name,
    unescaped,
)
from .errors import SyntaxFault
from .mime import Entity

CPIM_TYPE = "message/cpim"
IMDN = "urn:ietf:params:imdn"
"""The namespace of the headers of RFC 5438."""
UNDERSTOOD = frozenset(
    [(CORE, name) for name in ("From", "To", "cc", "DateTime", "Subject", "NS", "Require")]
    + [(IMDN, name) for name in ("Disposition-Notification", "Message-ID", "Original-To", "IMDN-Record-Route", "IMDN-Route")]
)
"""What a Require header may name without the gateway having to refuse (CPIM-57)."""

_MIME_LINE = re.compile(rb"content-", re.I)
_CONTENT_TYPE = re.compile(rb"content-type[ \t]*:", re.I)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class CpimMessage:
    """One message/cpim object.

    raw: its octets. entity: the encapsulated MIME entity, the tail of `raw`. notes: what reading it let pass (see the head of this file).
    """

    raw: bytes
    entity: Entity = field(compare=False)
    notes: tuple[str, ...] = field(default=(), compare=False)
    _headers: tuple[CpimHeader, ...] | None = field(default=None, compare=False, repr=False)
    fields: tuple[tuple[str, str], ...] | None = field(default=None, compare=False, repr=False)
    """What a composed object without namespaces was composed of: reading them from its octets costs ten times as much."""

    @staticmethod
    def parse(raw: bytes, *, strict: bool = False) -> CpimMessage:
        """Read one object: message headers, blank line, MIME headers, blank line, content. Raises SyntaxFault.

        Outer MIME headers are not part of it: of a MIME entity of type message/cpim, parse the content.
        """
        reading = _Reading(raw, strict)
        headers, end = reading.headers(0)
        entity = reading.entity(end)
        if end == 0 and entity.content_type.essence == CPIM_TYPE:
            # Strict reading has not come here: MIME headers where message headers belong are a fault by themselves.
            reading = _Reading(raw, strict=False)
            reading.remark("nested-headers")
            headers, end = reading.headers(len(raw) - len(entity.content))
            entity = reading.entity(end)
        return CpimMessage(raw, entity, tuple(reading.notes), headers)

    @property
    def headers(self) -> tuple[CpimHeader, ...]:
        """All message headers, in order. Of a composed object they are read on the first asking: most are never asked."""
        known = self._headers
        if known is None:
            known = _Reading(self.raw, strict=False).headers(0)[0]
            object.__setattr__(self, "_headers", known)
        return known

    def values(self, name: str, namespace: str = CORE) -> tuple[str, ...]:
        """The values of every header of this name, in order. Names match exactly (CPIM-24)."""
        return tuple([header.value for header in self.headers if header.name == name and header.namespace == namespace])

    def first(self, name: str, namespace: str = CORE) -> str | None:
        """The value of the first header of this name; None when there is none."""
        if self.fields is not None:
            return next((value for known, value in self.fields if known == name), None) if namespace == CORE else None
        for header in self.headers:
            if header.name == name and header.namespace == namespace:
                return header.value
        return None

    @property
    def sender(self) -> CpimAddress | None:
        """From; None when it is missing. Raises SyntaxFault when it is no address."""
        value = self.first("From")
        return None if value is None else CpimAddress.parse(value)

    @property
    def recipients(self) -> tuple[CpimAddress, ...]:
        """Every To. Raises SyntaxFault when one is no address."""
        return tuple([CpimAddress.parse(value) for value in self.values("To")])

    @property
    def subjects(self) -> tuple[tuple[str, str], ...]:
        """Every Subject as (text, language), language "" where none is said. Several are translations of one (CPIM-36)."""
        if self.fields is not None and not any(name == "Subject" for name, _ in self.fields):
            return ()
        return tuple([(header.value, header.language) for header in self.headers if header.name == "Subject" and header.namespace == CORE])

    @property
    def required(self) -> tuple[tuple[str, str], ...]:
        """What Require lists, as (namespace, name); ("", the name as written) where a prefix is declared nowhere (CPIM-57)."""
        spaces = {"": CORE}
        wanted: list[tuple[str, str]] = []
        for header in self.headers:
            if header.namespace == CORE and header.name == "NS":
                declare(spaces, header.value)
            elif header.namespace == CORE and header.name == "Require":
                wanted += [resolved(name.strip(" "), spaces) for name in header.value.split(",")]
        # What was not bound where Require stands may be bound by the end.
        return tuple([(namespace, name) if namespace else resolved(name, spaces) for namespace, name in wanted if name])

    def around(self, entity: Entity) -> CpimMessage:
        """The same message headers around another entity; for one that the gateway has composed."""
        return CpimMessage(self.raw[: -len(self.entity.raw)] + entity.raw, entity, (), None, self.fields)

    def without(self, *names: str) -> CpimMessage:
        """The same message without the RFC 3862 headers of these names, of which it needs none. Every other octet stays."""
        lines = {header.raw for header in self.headers if header.namespace == CORE and header.name in names}
        *head, mime, content = self.slices
        kept = [line for line in head if line.removesuffix(b"\n").removesuffix(b"\r") not in lines]
        return replace(CpimMessage.parse(b"".join([*kept, mime, content])), notes=self.notes)

    @property
    def slices(self) -> tuple[bytes, ...]:
        """The octets piece by piece: each header line with its end, the blank line, MIME headers, content. Joined, they are `raw`."""
        encapsulated = len(self.raw) - len(self.entity.raw)
        content = len(self.raw) - len(self.entity.content)
        lines = self.raw[:encapsulated].split(b"\n")[:-1]
        return *[line + b"\n" for line in lines], self.raw[encapsulated:content], self.raw[content:]


class _Reading:
    """One pass over the octets of an object."""

    __slots__ = ("_line", "_raw", "_spaces", "_strict", "notes")

    def __init__(self, raw: bytes, strict: bool) -> None:
        self._raw, self._strict = raw, strict
        self._spaces = {"": CORE}
        self._line = b""
        self.notes: list[str] = []

    def note(self, what: str, at: int = -1, section: str = "RFC 3862 section 2.2") -> None:
        """Something that the grammar forbids: a fault when reading is strict. at: -1 for the header line that is being read."""
        if self._strict:
            raise SyntaxFault(f"Bad message/cpim ({what})", self._raw.find(self._line) if at < 0 else at, section)
        self.remark(what)

    def remark(self, what: str) -> None:
        """Something odd that the grammar leaves open."""
        if what not in self.notes:
            self.notes.append(what)

    def headers(self, at: int) -> tuple[tuple[CpimHeader, ...], int]:
        """The message headers from octet `at`, and where the encapsulated entity begins."""
        lines, end = self._lines(at)
        found = tuple([self._header(line) for line in lines])
        once = [header.name for header in found if header.name in ONCE and header.namespace == CORE]
        if len(set(once)) != len(once):
            raise SyntaxFault("Repeated From or DateTime in message/cpim", at, "RFC 3862 section 4")
        return found, end

    def _lines(self, at: int) -> tuple[list[bytes], int]:
        """The lines of the message headers without their ends, and where the encapsulated entity begins."""
        blank = self._raw.find(b"\r\n\r\n", at)
        block = self._raw[at:blank]
        lines = block.split(b"\r\n")
        if blank > at and lines[0] and block.count(b"\n") == len(lines) - 1 and b"content-" not in block.lower():
            return lines, blank + 4
        return self._odd_lines(at)

    def _odd_lines(self, at: int) -> tuple[list[bytes], int]:
        """The same where line ends may be odd, or MIME headers may follow without a blank line."""
        lines: list[bytes] = []
        mime_from = mime_after = -1
        while (end := self._raw.find(b"\n", at)) >= 0:
            line = self._raw[at:end].removesuffix(b"\r")
            if len(line) == end - at:
                self.note("lf-only", end)
            if not line:
                return lines, end + 1
            if not _MIME_LINE.match(line):
                mime_from = -1
            elif mime_from < 0:
                mime_from, mime_after = at, len(lines)
            if _CONTENT_TYPE.match(line):
                self.note("no-blank-line", at, "RFC 3862 section 2")
                return lines[:mime_after], mime_from
            lines.append(line)
            at = end + 1
        raise SyntaxFault("No blank line in message/cpim", len(self._raw), "RFC 3862 section 2")

    def _header(self, line: bytes) -> CpimHeader:
        try:
            text = line.decode()
        except UnicodeDecodeError:
            text = line.decode("utf-8", "replace")
            self.remark("utf8")
        full_name, colon, value = text.partition(": ")
        split = split_name(full_name)
        if not colon or not split or not value.isprintable() or "\\" in value or value.strip(" ") != value or self._strict:
            return self._odd_header(line, text)
        namespace = self._spaces.get(split[0])
        if namespace is None or split[1] == "NS":
            return CpimHeader(*self._name(split, full_name, value), value, (), line)
        return CpimHeader(namespace, split[1], value, (), line)

    def _odd_header(self, line: bytes, text: str) -> CpimHeader:
        """The same for a line that may hold parameters, escapes, or what needs to be let pass."""
        self._line = line
        full_name, colon, rest = text.partition(":")
        if full_name.endswith((" ", "\t")):
            self.note("space-before-colon")
            full_name = full_name.rstrip(" \t")
        split = split_name(full_name)
        if not colon or not split:
            raise SyntaxFault("Bad header in message/cpim", self._raw.find(line), "RFC 3862 section 3.6")
        if _CONTROL.search(rest):
            self.note("control")
        params, written = read_params(rest)
        value = unescaped(self._trimmed(written))
        namespace, name = self._name(split, full_name, value)
        if self._strict and namespace == CORE:
            check_value(name, value, written[1:])
        return CpimHeader(namespace, name, value, params, line)

    def _trimmed(self, written: str) -> str:
        """The value in what stands behind the parameters."""
        if written[:1] != " ":
            self.note("no-space")
        value = written.removeprefix(" ")
        if value.startswith((" ", "\t")):
            self.note("spaces")
        if value.endswith((" ", "\t")):
            self.note("trailing-blank")
        return value.strip(" \t")

    def _name(self, split: tuple[str, str], full_name: str, value: str) -> tuple[str, str]:
        """(namespace, name) of a header; an NS header binds what it declares, for the headers behind it."""
        prefix, name = split
        if self._strict and "." in prefix:
            return "", full_name
        namespace = self._spaces.get(prefix)
        if namespace is None:
            self.note("unbound-prefix", section="RFC 3862 section 3.4")
            return "", full_name
        # NS itself stays what it is under a foreign default namespace: nothing else could ever set that back.
        if name == "NS" and (namespace == CORE or not prefix):
            if not declare(self._spaces, value):
                self.note("bad-namespace", section="RFC 3862 section 4.6")
            elif MISPRINTED_CORE in value:
                self.remark("misprinted-namespace")
            return CORE, name
        return namespace, name

    def entity(self, at: int) -> Entity:
        """The encapsulated entity, which begins at octet `at`."""
        entity = Entity.parse(self._raw[at:])
        head = entity.raw[: len(entity.raw) - len(entity.content)]
        if head.count(b"\n") != head.count(b"\r\n"):
            self.note("lf-only", at)
        if self._strict and not head.endswith(b"\r\n\r\n"):
            raise SyntaxFault("No blank line before the content", at, "RFC 3862 section 2")
        if entity.header("Content-Type") is None:
            self.note("no-content-type", at, "RFC 3862 section 2.4")
        length = entity.header("Content-Length")
        if length is not None and length != str(len(entity.content)):
            self.remark("content-length")
        return entity


def compose(fields: Iterable[tuple[str, str]], entity: Entity) -> CpimMessage:
    """A new object: these message headers in this order around this entity. Raises SyntaxFault for what would not be read back.

    fields: (name, value). A name may carry parameters, "Subject;lang=en"; a prefix has to be declared by an earlier ("NS", "prefix <uri>").
    A value is text: what needs an escape gets one, blanks around it are left out.

    >>> part = Entity.compose([("Content-Type", "text/plain; charset=utf-8")], b"Prav.")
    >>> compose([("Subject;lang=en", "a\\tb")], part).slices[0]
    b'Subject:;lang=en a\\\\tb\\r\\n'
    """
    if entity.header("Content-Type") is None:
        raise SyntaxFault("Content without a Content-Type", section="RFC 3862 section 2.4")
    fields = tuple([(field_name, value.strip(" ")) for field_name, value in fields])
    starts, plain = _shape(tuple([(field_name, value if field_name == "NS" else "") for field_name, value in fields]))
    lines = [start + value for (start, _), (_, value) in zip(starts, fields, strict=True)]
    written = "".join(lines)
    if not written.isprintable() or "\\" in written or '"' in written:
        lines = [start + escaped(name, value) for (start, name), (_, value) in zip(starts, fields, strict=True)]
    try:
        raw = "\r\n".join([*lines, "", ""] if lines else ["", ""]).encode() + entity.raw
    except UnicodeEncodeError:
        raise SyntaxFault("Half a surrogate pair in a header", section="RFC 3629 section 3") from None
    known = tuple([(name, value) for (_, name), (_, value) in zip(starts, fields, strict=True)]) if plain else None
    return CpimMessage(raw, entity, (), None, known)


@lru_cache(maxsize=256)
def _shape(names: tuple[tuple[str, str], ...]) -> tuple[tuple[tuple[str, str], ...], bool]:
    """What the names of fields decide: for each what is written before its value, and its local name; whether all of them are core names.

    An NS comes with its value, because that decides what the names behind it mean; the others come with none.
    """
    starts: list[tuple[str, str]] = []
    once: set[str] = set()
    spaces = {"": CORE}
    for field_name, declared in names:
        start, prefix, name = _field_start(field_name)
        if prefix not in spaces:
            raise SyntaxFault("Prefix used before it is declared", section="RFC 3862 section 3.4")
        if name == "NS" and (not prefix or spaces[prefix] == CORE):
            if not declare(spaces, declared):
                raise SyntaxFault("Bad NS", section="RFC 3862 section 4.6")
        elif name in ONCE and spaces[prefix] == CORE:
            if name in once:
                raise SyntaxFault("Repeated From or DateTime", section="RFC 3862 section 4")
            once.add(name)
        starts.append((start, name))
    return tuple(starts), spaces == {"": CORE}


@lru_cache(maxsize=512)
def _field_start(field_name: str) -> tuple[str, str, str]:
    """(what is written before the value, prefix, name) for a field name as `compose` takes it."""
    full_name, semicolon, params = field_name.partition(";")
    split = split_name(full_name)
    # Lenient readers take a Content-... line for the first MIME header of the content.
    is_mime = field_name[:8].lower() == "content-"
    if not split or is_mime or "." in split[0] or read_params(semicolon + params)[1] or not field_name.isprintable():
        raise SyntaxFault("Bad field name", section="RFC 3862 section 3.6")
    return f"{full_name}:{semicolon}{params} ", *split


__all__ = ["CORE", "CPIM_TYPE", "IMDN", "UNDERSTOOD", "CpimAddress", "CpimHeader", "CpimMessage", "compose"]
