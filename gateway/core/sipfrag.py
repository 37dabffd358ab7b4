"""message/sipfrag (RFC 3420): what is left of a SIP message when its start line, whole header fields or its body are taken away.

What a fragment says is information, never an instruction: nothing here joins fragments to a message (FRAG-12), and nothing of one is
executed or merged into a live transaction (FRAG-33). Writing is in sipfrag_writer.py.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple
from urllib.parse import unquote

from .errors import SyntaxFault
from .mime import Headers
from .sipfrag_values import RULES, cseq_method, long_name
from .text import one_line
from .uri import Uri

VERSION = "2.0"
"""The one SIP version there is: what the parameter `version` says where it is not given (RFC 3420 section 5)."""
MOST_OCTETS = 65_536
MOST_HEADERS = 200

_TOKEN = rb"[A-Za-z0-9\-.!%*_+`'~]++"
_VERSION = rb"((?i:SIP)/[0-9]++\.[0-9]++)"
_IS_FIELD = re.compile(_TOKEN + rb"[ \t]*+:")
_FIELD = re.compile(rb"(" + _TOKEN + rb")[ \t]*+:((?:[^\x00-\x08\x0a-\x1f\x7f]|\r\n(?=[ \t]))*+)")
_REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb") ([!-~]++) " + _VERSION)
_STATUS_LINE = re.compile(_VERSION + rb" ([0-9]++) ([^\x00-\x08\x0a-\x1f\x7f]*+)")
_LINE_END = re.compile(rb"\r\n(?![ \t])")
FOLD = re.compile(rb"\r\n[ \t]++")
"""Where a field goes on in another line; it stands for one blank (RFC 3261 section 7.3.1)."""
_VERSION_OCTETS = b"SIP/2.0"
_RULE = "RFC 3420 section 2"


class Kind(Enum):
    """What the start line says that it was: a request, a response, or nothing, where there is none."""

    REQUEST = "request"
    RESPONSE = "response"
    HEADERS = "headers"


class Field(NamedTuple):
    """One whole header field. name: as written. value: unfolded, what is no UTF-8 is U+FFFD. raw: its octets without the last CR LF."""

    name: str
    value: str
    raw: bytes


@dataclass(frozen=True, slots=True)
class Fragment:
    """A fragment, or the readable part of one.

    start_line: its octets without CR LF, the version in upper case; empty without one. method, request_uri: of a request, as they
    came. status, reason: of a response; the reason is decoded and one safe line, and may be empty. fields: in order. body: the octets that
    Content-Length counts, else all. errors: what was wrong, in order; never any where it was read strictly.
    """

    start_line: bytes = b""
    method: str = ""
    request_uri: str = ""
    status: int = 0
    reason: str = ""
    fields: tuple[Field, ...] = ()
    body: bytes = b""
    errors: tuple[SyntaxFault, ...] = field(default=(), compare=False)

    @property
    def kind(self) -> Kind:
        """By the start line."""
        if not self.start_line:
            return Kind.HEADERS
        return Kind.REQUEST if self.method else Kind.RESPONSE

    @property
    def headers(self) -> Headers:
        """(name as written, value) of each field, in order."""
        return tuple((each.name, each.value) for each in self.fields)

    def header(self, name: str) -> str | None:
        """The value of the first field of this name, long or compact, in any case; None when there is none."""
        wanted = long_name(name)
        return next((each.value for each in self.fields if long_name(each.name) == wanted), None)


class _Start(NamedTuple):
    line: bytes = b""
    method: str = ""
    request_uri: str = ""
    status: int = 0
    reason: str = ""


def parse(octets: bytes, *, version: str = VERSION, strict: bool = True) -> Fragment:
    """Read a fragment; no octets at all are an empty one (FRAG-01).

    version: the parameter of the media type. The last line may lack its CR LF (FRAG-08); fields may be folded and short of name. Raises
    SyntaxFault, whose `what` names the first thing wrong in stable words ("Bad Via"). Where it is not strict, fields that are bad or
    contradict each other, a bad start line and a body that cannot be told are left out, and `errors` says so (FRAG-20); what is too large,
    or of another version, is no fragment that could be read, and raises all the same.

    >>> parse(b"SIP/2.0 603 Declined").status
    603
    """
    if version != VERSION:
        raise SyntaxFault("Unsupported version", section="RFC 3420 section 5")
    if len(octets) > MOST_OCTETS:
        raise SyntaxFault("Fragment too long", MOST_OCTETS, _RULE)
    head, rest = _halves(octets)
    slices = _LINE_END.split(head) if head else []
    if len(slices) > MOST_HEADERS + 1:
        raise SyntaxFault("Too many headers", section=_RULE)
    faults: list[SyntaxFault] = []
    start, at = _Start(), 0
    if slices and not _IS_FIELD.match(slices[0]):
        line = slices.pop(0)
        at = len(line) + 2
        try:
            start = _start(line)
        except SyntaxFault as fault:
            faults.append(SyntaxFault(fault.what, 0, fault.section))
    fields = _fields(slices, at, start.method, faults)
    body = _body(rest, fields, faults, len(octets) - len(rest))
    if strict and faults:
        raise faults[0]
    return Fragment(*start, fields, body, tuple(faults))


def _halves(octets: bytes) -> tuple[bytes, bytes]:
    """The lines without the last CR LF, and what is behind the null line."""
    if octets.startswith(b"\r\n"):
        return b"", octets[2:]
    head, _, rest = octets.partition(b"\r\n\r\n")
    return head.removesuffix(b"\r\n"), rest


def _start(line: bytes) -> _Start:
    if found := _STATUS_LINE.fullmatch(line):
        _hold_version(found[1])
        if len(found[2]) != 3 or not b"100" <= found[2] <= b"699":
            raise SyntaxFault("Bad status code", section="RFC 3261 section 7.2")
        # A reason is text in which anything may be percent-encoded; decoded, it is made safe again.
        reason = one_line(unquote(found[3].decode("utf-8", "replace")))
        return _Start(_VERSION_OCTETS + line[found.end(1) :], status=int(found[2]), reason=reason)
    if found := _REQUEST_LINE.fullmatch(line):
        _hold_version(found[3])
        uri = found[2].decode()
        try:
            Uri.parse(uri)
        except SyntaxFault:
            raise SyntaxFault("Bad Request-URI", section="RFC 3261 section 7.1") from None
        return _Start(line[: found.start(3)] + _VERSION_OCTETS, found[1].decode(), uri)
    raise SyntaxFault("Bad start line", section="RFC 3261 section 25.1")


def _hold_version(octets: bytes) -> None:
    if octets.upper() != _VERSION_OCTETS:
        raise SyntaxFault("Unsupported SIP version", section="RFC 3261 section 7.1")


def _fields(slices: list[bytes], at: int, method: str, faults: list[SyntaxFault]) -> tuple[Field, ...]:
    """The fields that hold. at: where they begin."""
    read = [_field(raw) for raw in slices]
    times = Counter(long_name(each.name) for each in read)
    kept = []
    for each in read:
        try:
            _check(each, times, method)
            kept.append(each)
        except SyntaxFault as fault:
            faults.append(SyntaxFault(fault.what, at, fault.section))
        at += len(each.raw) + 2
    return tuple(kept)


def _field(raw: bytes) -> Field:
    """A field, without a name where the line is none."""
    found = _FIELD.fullmatch(raw)
    if not found:
        return Field("", "", raw)
    return Field(found[1].decode(), FOLD.sub(b" ", found[2]).strip(b" \t").decode("utf-8", "replace"), raw)


def _check(each: Field, times: Counter[str], method: str) -> None:
    name = long_name(each.name)
    if not name:
        raise SyntaxFault("Bad header line", section="RFC 3261 section 7.3.1")
    rule = RULES.get(name)
    if rule is None:
        return
    rule.hold(each.value)
    if rule.once and times[name] > 1:
        # Nothing says which of them counts, so none does.
        raise SyntaxFault(f"Repeated {rule.title}", section="RFC 3261 section 7.3.1")
    if name == "cseq" and method and cseq_method(each.value) != method:
        raise SyntaxFault("CSeq of another method", section="RFC 3261 section 8.1.1.5")


def _body(octets: bytes, fields: tuple[Field, ...], faults: list[SyntaxFault], at: int) -> bytes:
    """The body. One that was taken away whole may leave its Content-Length behind. at: where it begins."""
    named = {long_name(each.name): each.value for each in fields}
    if not octets:
        return b""
    if "content-type" not in named:
        faults.append(SyntaxFault("Body without Content-Type", at, _RULE))
        return b""
    length = int(named.get("content-length", len(octets)))
    if length > len(octets):
        faults.append(SyntaxFault("Body shorter than Content-Length", at + len(octets), "RFC 3261 section 18.3"))
        return b""
    if length < len(octets):
        faults.append(SyntaxFault("Body longer than Content-Length", at + length, "RFC 3261 section 18.3"))
    return octets[:length]
