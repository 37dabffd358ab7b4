"""MIME entities as slices of what came: read for reading, never written again (CPIM-09, CPIM-62).

RFC 2045 (headers, encodings), RFC 2046 section 5.1 (multipart). Header blocks and media types recur with every message, so what was
read from them is remembered.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache

from .charsets import charset_named, decoded
from .errors import Refusal, SyntaxFault
from .remember import remembered
from .text import has_control

MIXED = "multipart/mixed"
MOST_HEAD_OCTETS = 16_384
"""Of the header fields of one entity (SEC-35): reading them takes time."""
_TOKEN = r"[!#$%&'*+\-.0-9A-Z^_`a-z{|}~]+"  # noqa: S105 - a grammar rule, no secret
_LOOSE = r"[!#$%&'*+\-./0-9:=?@A-Z\[\]^_`a-z{|}~]+"
_TYPE = re.compile(rf"({_TOKEN})[ \t]*/[ \t]*({_TOKEN})[ \t]*")
# A value that needed quotes and has none is read too: `protocol=application/pkcs7-signature` is in RFC 3862 section 5.2 itself.
_PARAM = re.compile(rf';[ \t]*({_TOKEN})[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|({_LOOSE}))[ \t]*')
_QUOTED_PAIR = re.compile(r"\\(.)", re.S)
_HEADER_NAME = re.compile(r"[!-9;-~]+")
_NOT_IN_HEADER = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_FOLD = re.compile(r"\n(?=[ \t])")
_BLANK_LINE = re.compile(rb"\n\r?\n")
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")
_ONCE = ("content-type", "content-transfer-encoding", "content-disposition")
_UNENCODED = ("", "7bit", "8bit", "binary")

Headers = tuple[tuple[str, str], ...]
"""Header fields in order: (name as written, unfolded value)."""


@dataclass(frozen=True, slots=True)
class ContentType:
    """A media type. type, subtype and parameter names are lower case; parameter values are without quotes."""

    type: str
    subtype: str
    params: tuple[tuple[str, str], ...] = ()
    essence: str = field(init=False, compare=False, repr=False)
    """`type/subtype`, what media types are compared by."""
    _charset: str | None = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "essence", f"{self.type}/{self.subtype}")
        object.__setattr__(self, "_charset", charset_named(self.param("charset") or "utf-8"))

    @staticmethod
    def parse(text: str) -> ContentType:
        """Read the value of a Content-Type, of SIP (RFC 3261 section 25.1) or of MIME (RFC 2045 section 5.1). Raises SyntaxFault.

        >>> str(ContentType.parse('Text/Plain ;charset="utf-8"'))
        'text/plain; charset=utf-8'
        """
        return _parse_type(text)

    def param(self, name: str) -> str | None:
        """The value of a parameter, by its lower-case name; None when it is absent."""
        for known, value in self.params:
            if known == name:
                return value
        return None

    def text(self, octets: bytes) -> str:
        """Octets of this type as text, by its charset; UTF-8 where none is said (RFC 3261 section 7.4.1).

        Raises SyntaxFault for octets that the charset does not have, Refusal for a charset that is not known.
        """
        if self._charset is None:
            raise Refusal("charset-unknown")
        try:
            return decoded(octets, self._charset)
        except UnicodeDecodeError as error:
            raise SyntaxFault(f"The text is not valid {self._charset}", error.start, "RFC 2046 section 4.1.2") from None

    def __str__(self) -> str:
        return self.essence + "".join([f"; {name}={_quoted(value)}" for name, value in self.params])


@remembered(512)
def _parse_type(text: str) -> ContentType:
    if has_control(text.replace("\t", " ")):
        raise SyntaxFault("Control character in Content-Type", section="RFC 2045 section 5.1")
    plain = _without_comments(text).strip(" \t")
    found = _TYPE.match(plain)
    if not found:
        raise SyntaxFault("Bad Content-Type", section="RFC 2045 section 5.1")
    params: dict[str, str] = {}
    at = found.end()
    while at < len(plain):
        param = _PARAM.match(plain, at)
        if not param or param[1].lower() in params:
            raise SyntaxFault("Bad Content-Type parameter", at, "RFC 2045 section 5.1")
        params[param[1].lower()] = param[3] or _QUOTED_PAIR.sub(r"\1", param[2] or "")
        at = param.end()
    return ContentType(found[1].lower(), found[2].lower(), tuple(params.items()))


def _without_comments(text: str) -> str:
    """`text` without its (nested) comments, which may stand wherever white space may (RFC 822 section 3.1.4)."""
    if "(" not in text:
        return text
    kept: list[str] = []
    depth, quoted, escaped = 0, False, False
    for ch in text:
        if escaped:
            escaped = False
        elif ch == "\\":
            escaped = True
        elif ch == '"' and not depth:
            quoted = not quoted
        elif ch == "(" and not quoted:
            depth += 1
        elif ch == ")" and depth:
            depth -= 1
            continue
        if not depth:
            kept.append(ch)
    if depth:
        raise SyntaxFault("Comment without an end", len(text), "RFC 822 section 3.1.4")
    return "".join(kept)


def _quoted(value: str) -> str:
    if re.fullmatch(_TOKEN, value):
        return value
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


@dataclass(frozen=True, slots=True)
class Entity:
    """One MIME entity: header block, blank line, content.

    raw: all its octets. headers: a view of the header block. content: the octets behind the blank line, transfer encoding and all.
    content_type: text/plain where no Content-Type says otherwise (RFC 2045 section 5.2).
    """

    raw: bytes
    headers: Headers
    content: bytes
    content_type: ContentType
    _text: str | None = field(default=None, compare=False, repr=False)
    """What `text` says, where that was known when the entity was made."""

    @staticmethod
    def parse(raw: bytes) -> Entity:
        """Read an entity; a block that no blank line ends is all headers. Line ends may be bare LF. Raises SyntaxFault.

        >>> Entity.parse(b"Content-Type: text/plain;\\r\\n charset=utf-8\\r\\n\\r\\nPrav.").content
        b'Prav.'
        """
        if raw.startswith((b"\r\n", b"\n")):
            head, content = b"", raw[2:] if raw.startswith(b"\r") else raw[1:]
        else:
            blank = _BLANK_LINE.search(raw)
            head, content = (raw[: blank.start()].removesuffix(b"\r"), raw[blank.end() :]) if blank else (raw, b"")
        if len(head) > MOST_HEAD_OCTETS:
            raise SyntaxFault("MIME header block too long", MOST_HEAD_OCTETS, "SEC-35")
        headers, content_type = _head(head)
        return Entity(raw, headers, content, content_type)

    @staticmethod
    def compose(headers: Iterable[tuple[str, str]], content: bytes) -> Entity:
        """A new entity with CR LF line ends. Raises SyntaxFault for a header that would not be read back as it is given."""
        head = _written_head(tuple(headers))
        read, content_type = _head(head)
        return Entity(b"%b\r\n\r\n%b" % (head, content) if head else b"\r\n" + content, read, content, content_type)

    def header(self, name: str) -> str | None:
        """The value of the first header of this name, in any case; None when there is none."""
        wanted = name.lower()
        for known, value in self.headers:
            if known == name or known.lower() == wanted:
                return value
        return None

    def decoded(self) -> bytes:
        """The content with its transfer encoding undone, for reading only (CPIM-08).

        Raises SyntaxFault for content that its encoding cannot be, Refusal for an encoding that is not known (SEC-33).
        """
        encoding = _lower((self.header("Content-Transfer-Encoding") or "").strip())
        if encoding in _UNENCODED:
            return self.content
        if encoding == "base64":
            try:
                return binascii.a2b_base64(self.content)
            except binascii.Error:
                raise SyntaxFault("Bad base64 content", section="RFC 2045 section 6.8") from None
        if encoding == "quoted-printable":
            # Blanks at the end of a line are not the sender's (RFC 2045 section 6.7 rule 3).
            return binascii.a2b_qp(b"\r\n".join([line.removesuffix(b"\r").rstrip(b" \t") for line in self.content.split(b"\n")]))
        raise Refusal("encoding-unknown")

    def text(self) -> str:
        """The content as text: transfer encoding undone, then its charset. Without a charset it is UTF-8 (RFC 3261 section 7.4.1).

        Raises SyntaxFault for octets that the charset does not have, Refusal for a charset or an encoding that is not known.
        """
        return self.content_type.text(self.decoded()) if self._text is None else self._text


def _lower(text: str) -> str:
    return text.lower() if text.isascii() else text


@remembered(512)
def _head(head: bytes) -> tuple[Headers, ContentType]:
    headers = header_fields(head)
    names = [name.lower() for name, _ in headers]
    if any(names.count(name) > 1 for name in _ONCE):
        raise SyntaxFault("Repeated MIME header", section="RFC 2045 section 3")
    stated = headers[names.index("content-type")][1] if "content-type" in names else "text/plain"
    return headers, ContentType.parse(stated)


def header_fields(block: bytes) -> Headers:
    """The fields of a header block (without the blank line) in the syntax that MIME and SIP share, unfolded. Raises SyntaxFault.

    >>> header_fields(b"A: 1\\r\\n 2\\r\\nb :3")
    (('A', '1 2'), ('b', '3'))
    """
    text = block.replace(b"\r\n", b"\n").decode("utf-8", "replace")
    fields = []
    for line in _FOLD.sub("", text.removesuffix("\n")).split("\n") if text else ():
        name, colon, value = line.partition(":")
        name = name.rstrip(" \t")
        if not colon or not _HEADER_NAME.fullmatch(name):
            raise SyntaxFault("Bad header line", section="RFC 5322 section 2.2")
        if _NOT_IN_HEADER.search(value):
            raise SyntaxFault("Control character in header", section="RFC 5322 section 2.2")
        fields.append((name, value.strip(" \t")))
    return tuple(fields)


@lru_cache(maxsize=256)
def _written_head(headers: Headers) -> bytes:
    for name, value in headers:
        if not _HEADER_NAME.fullmatch(name) or has_control(value.replace("\t", " ")) or value != value.strip(" \t"):
            raise SyntaxFault("Bad header", section="RFC 5322 section 2.2")
    try:
        return "\r\n".join([f"{name}: {value}" for name, value in headers]).encode()
    except UnicodeEncodeError:
        raise SyntaxFault("Bad header", section="RFC 3629 section 3") from None


@dataclass(frozen=True, slots=True)
class MimePart:
    """One node of a MIME tree. depth: 1 for the entity that was asked about, 2 for its parts."""

    depth: int
    entity: Entity


def mime_parts(entity: Entity, max_depth: int = 8, max_parts: int = 32) -> Iterator[MimePart]:
    """The entity, then the parts of its multiparts at every depth, in the order in which they stand.

    The octets of a part (`part.entity.raw`) are what a signature over it covers (SMIME-10). Raises Refusal where there are more than
    `max_depth` levels or `max_parts` parts (SEC-34), SyntaxFault for a multipart that cannot be read; what came before has been given.
    """
    waiting = [MimePart(1, entity)]
    room = max_parts
    while waiting:
        part = waiting.pop()
        if part.depth > max_depth:
            raise Refusal("mime-limits")
        yield part
        if part.entity.content_type.type == "multipart":
            inner = split_multipart(part.entity, room)
            room -= len(inner)
            waiting += [MimePart(part.depth + 1, each) for each in reversed(inner)]


def split_multipart(entity: Entity, most: int = 32) -> tuple[Entity, ...]:
    """The parts of one multipart, found by searching its octets for the delimiter (RFC 2046 section 5.1.1).

    A part begins behind the CR LF of its delimiter line and ends before the CR LF of the next; preamble and epilogue are left out. A last
    part without a close delimiter reaches to the end. Raises Refusal for more than `most` parts, SyntaxFault.
    """
    boundary = entity.content_type.param("boundary") or ""
    if not _BOUNDARY.fullmatch(boundary) or entity.decoded() is not entity.content:
        raise SyntaxFault("Bad multipart", section="RFC 2046 section 5.1.1")
    by_default = ContentType("message", "rfc822") if entity.content_type.subtype == "digest" else None
    parts: list[Entity] = []
    for octets in _delimited(b"\r\n" + entity.content, b"\r\n--" + boundary.encode()):
        if len(parts) == most:
            raise Refusal("mime-limits")
        part = Entity.parse(octets)
        parts.append(replace(part, content_type=by_default) if by_default and part.header("Content-Type") is None else part)
    return tuple(parts)


def _delimited(content: bytes, delimiter: bytes) -> Iterator[bytes]:
    at = content.find(delimiter)
    if at < 0:
        raise SyntaxFault("No delimiter in multipart", section="RFC 2046 section 5.1.1")
    while at >= 0 and not content.startswith(b"--", at + len(delimiter)):
        line_end = content.find(b"\r\n", at + len(delimiter))
        if line_end < 0:
            raise SyntaxFault("Delimiter line without an end", section="RFC 2046 section 5.1.1")
        # The CR LF of this line may be the one that the next delimiter begins with: then the part is empty.
        at = content.find(delimiter, line_end)
        yield content[line_end + 2 : at] if at >= 0 else content[line_end + 2 :]
