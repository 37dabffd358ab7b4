"""SIP requests and responses: reading them from octets, and whether what is needed for processing is there.

`parse` reads one datagram or one framed message; `check()` has to follow. What else is malformed is ignored (SIP-18).
RFC 3261 sections 7, 8.2.1, 18.3 and 25.1.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from gateway.core.errors import SyntaxFault
from gateway.core.mime import ContentType
from gateway.core.remember import remembered
from gateway.core.uri import Uri

from . import grammar
from .headers import CSeq, Via, call_id, hops, known_party, party, split_vias
from .names import KNOWN, name_of, title
from .section import BadMessage, Headers, Index, Lines, MethodMismatch, View, index_lines

__all__ = [
    "LIMITS", "MAGIC_COOKIE", "METHODS", "BadMessage", "Headers", "Limits", "MethodMismatch", "Request", "Response", "parse",
    "read_head",
]  # fmt: skip

MAGIC_COOKIE = "z9hg4bk"
"""How every branch of RFC 3261 begins, in lower case (section 8.1.1.7)."""
METHODS = frozenset((
    "ACK", "BYE", "CANCEL", "INFO", "INVITE", "MESSAGE", "NOTIFY", "OPTIONS", "PRACK", "PUBLISH", "REFER", "REGISTER", "SUBSCRIBE",
    "UPDATE",
))  # fmt: skip
"""The methods that are known by name."""
TOO_LARGE = "Message Too Large"
BODY_TOO_LARGE = "Request Entity Too Large"

_NEEDED_IF_THERE = ("expires", "require", "route")
_NO_BRANCH = ("", MAGIC_COOKIE)
_HOST_SCHEMES = ("sip", "sips")
_MOST_DIGITS = 10

_ROW = re.compile(rb"\r\n([A-Za-z0-9\-.!%*_+`'~]++)[ \t]*+:[ \t]*+([^\r\n]*+)(?=\r\n|\Z)")
_FOLD = re.compile(rb"(?<!\A)\r\n[ \t]+")
_START = re.compile(rb"[A-Za-z0-9\-.!%*_+`'~]++ ")
_STATUS_LINE = re.compile(rb"SIP/2\.0 ([1-6][0-9][0-9])(?: ([^\r\n\0]*))?", re.I)
_VERSION = re.compile(r"SIP/([0-9]+)\.([0-9]+)", re.I | re.A)
_BLANK_INSIDE = re.compile(r"<[ \t]|[ \t]>")
_EMPTY_PARAM = re.compile(r";[ \t]*+(?:;|\Z)")
_UNQUOTED = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*"?|([^"]++)', re.S)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of one message is read (SIP-30, SEC-35): octets, octets, rows, rows, values."""

    message: int = 65_536
    head: int = 16_384
    rows_of_name: int = 64
    rows: int = 1000
    vias: int = 70


LIMITS = Limits()


class Request(Headers):
    """A request. request_uri_text: as it came. body: exactly Content-Length octets, or all that followed in a datagram without one."""

    def __init__(self, method: str, request_uri_text: str, lines: Lines, index: Index, repeated: str = "", body: bytes = b"") -> None:
        self.method = method
        self.request_uri_text = request_uri_text
        self.lines = lines
        self.index = index
        self.repeated = repeated
        self.body = body

    @View
    def request_uri(self) -> Uri:
        """The Request-URI taken apart; a sip or sips URI carries no headers and no method here (SIP-55)."""
        try:
            return _request_uri(self.request_uri_text)
        except SyntaxFault:
            raise self.fault("Bad Request-URI") from None

    def check(self, limits: Limits = LIMITS) -> None:
        """Whether all is there that processing needs (SIP-18, SIP-70). Raises BadMessage; MethodMismatch as the last thing."""
        _check(self, limits)
        _check_request(self)
        branch = self.top_via.params.get("branch")
        if branch is not None and (branch.lower() in _NO_BRANCH or not grammar.TOKEN.fullmatch(branch)):
            raise self.fault("Bad Via branch")
        if self.cseq.method != self.method:
            raise MethodMismatch("CSeq method mismatch", 400, self, self.method)

    def fault(self, what: str, status: int = 400) -> BadMessage:
        """A fault that is answered, except in an ACK."""
        return BadMessage(what, status, self, self.method)


class Response(Headers):
    """A response. status: 100 to 699. reason: may be empty; what is no UTF-8 in it is U+FFFD."""

    def __init__(self, status: int, reason: str, lines: Lines, index: Index, repeated: str = "", body: bytes = b"") -> None:
        self.status = status
        self.reason = reason
        self.lines = lines
        self.index = index
        self.repeated = repeated
        self.body = body

    def check(self, limits: Limits = LIMITS) -> None:
        """Whether it can be matched to a request. Raises BadMessage, which is never answered (TOR-09)."""
        _check(self, limits)


# -- reading -----------------------------------------------------------------------------------------------------------
def parse(data: bytes, *, stream: bool = False, limits: Limits = LIMITS, strict: bool = False) -> Request | Response:
    """Read one whole datagram, or with `stream` one message as framing cut it out. `check()` has to follow.

    Octets behind the body of a datagram are dropped, a body that is too short is a fault (SIP-40, SEC-27). A response of a stream may
    lack Content-Length where nothing follows, as `framing.Last` gives it. strict: also refuse what TOR-12 lets pass: more than one SP in
    the start line, blanks inside "<>", empty parameters. Raises BadMessage.
    """
    end = data.find(b"\r\n\r\n")
    if end < 0:
        raise _unended(data, limits)
    message = read_head(data[:end], limits)
    body = data[end + 4 :]
    length = message.content_length
    if length is None and stream and (body or isinstance(message, Request)):
        raise message.fault("Missing Content-Length")
    if length is not None and length != len(body):
        if length > len(body) or stream:
            raise message.fault("Content-Length does not match")
        body = body[:length]
    if end + 4 + len(body) > limits.message:
        raise message.fault(BODY_TOO_LARGE, 413)
    if strict:
        _refuse_slack(message, data[: data.find(b"\r\n")])
    message.body = body
    return message


def read_head(head: bytes, limits: Limits = LIMITS) -> Request | Response:
    """Read a header section without its blank line: a message whose body is still to be set. Raises BadMessage."""
    lines = head.splitlines() or [b""]
    start = lines[0]
    # Breaks of two octets each are CRLF; one behind the last line would not show in `lines`.
    whole = len(b"".join(lines)) + 2 * len(lines) - 2 == len(head) and b"\0" not in head
    del lines[0]
    try:
        index, repeated = index_lines(lines, KNOWN if whole else {})
    except (KeyError, ValueError):
        start, lines, whole, names = _read_odd_lines(head)
        index, repeated = index_lines(lines, names)
    method, request_uri, status, _ = _request_line(start)
    message = Request(method, request_uri, lines, index, repeated) if not status else _read_other(start, Headers(lines, index, repeated))
    if not whole:
        raise message.fault("Bad header line")
    if len(head) > limits.head or (len(lines) > limits.rows_of_name and _too_many(message, limits)):
        raise message.fault(TOO_LARGE, 513)
    lengths = index.get("content-length")
    if not lengths:
        message.content_length = None
    elif len(lengths) == 1 and lengths[0].isdigit() and len(lengths[0]) <= _MOST_DIGITS:
        message.content_length = int(lengths[0])
    else:
        _ = message.content_length
    return message


def _read_odd_lines(head: bytes) -> tuple[bytes, Lines, bool, dict[bytes, str]]:
    """Start line, rows, whether all rows are sound, and what their names mean; where there is folding, a name not met before, or worse.

    White space in front of the first row would fold the start line (SIP-08); NUL stands only in a quoted string (SEC-29).
    """
    start, _, rest = head.partition(b"\r\n")
    rows = _FOLD.sub(b" ", b"\r\n" + rest) if rest else b""
    sound = [row for row in _ROW.findall(rows) if b"\0" not in row[1] or b"\0" not in _without_quoted(row[1])]
    lines = [name + b":" + value for name, value in sound]
    return start, lines, len(lines) == rows.count(b"\n"), {name: name_of(name) for name, _ in sound}


def _without_quoted(value: bytes) -> bytes:
    return grammar.QUOTED_OCTETS.sub(lambda found: b"" if found[1] else found[0], value)


def _too_many(message: Headers, limits: Limits) -> bool:
    return len(message.lines) > limits.rows or max(map(len, message.index.values())) > limits.rows_of_name


def _read_other(start: bytes, headers: Headers) -> Response:
    """A response, or the fault of a start line that is neither a Status-Line nor a Request-Line of SIP/2.0."""
    found = _STATUS_LINE.fullmatch(start)
    if found:
        return Response(int(found[1]), (found[2] or b"").decode("utf-8", "replace"), headers.lines, headers.index, headers.repeated)
    if start[:4].upper() == b"SIP/":
        raise BadMessage("Bad Status-Line")
    if not _START.match(start):
        raise BadMessage("Not SIP")
    method, _, status, what = _request_line(start)
    raise BadMessage(what, status, headers, method)


@remembered(2048)
def _request_line(start: bytes) -> tuple[str, str, int, str]:
    """Method, Request-URI; or, when it is no Request-Line of SIP/2.0, the status and reason to answer.

    More than one SP between the parts and behind them is let pass (RFC 4475 sections 3.1.2.9 and 3.1.2.10).
    """
    parts = [part.decode("latin-1") for part in start.split(b" ") if part]
    method = parts[0] if parts and grammar.TOKEN.fullmatch(parts[0]) else ""
    version = _VERSION.fullmatch(parts[-1]) if parts else None
    if not method or not version or start.startswith(b" "):
        return method, "", 400, "Bad Request-Line"
    if (version[1], version[2]) != ("2", "0"):
        return method, "", 505, "Version Not Supported"
    if len(parts) != 3:
        return method, "", 400, "Bad Request-Line"
    if not grammar.URI_TEXT.fullmatch(parts[1]):
        return method, "", 400, "Bad Request-URI"
    return method, parts[1], 0, ""


def _unended(data: bytes, limits: Limits) -> BadMessage:
    """The fault of a datagram without the blank line: it was cut, or never was SIP. Its last line counts only if it is whole."""
    try:
        message = read_head(data[: max(data.rfind(b"\r\n"), 0)], limits)
    except BadMessage as fault:
        return fault
    return message.fault("Unterminated header section")


@remembered(2048)
def _request_uri(text: str) -> Uri:
    uri = Uri.parse(text)
    if _is_request(uri):
        raise SyntaxFault("Bad Request-URI", section="RFC 3261 section 19.1.1")
    return uri


def _is_request(uri: Uri) -> bool:
    """Whether a URI says which request to make, by headers or a method: no Request-URI and no From does (RFC 3261 table 1)."""
    text = uri.text
    if uri.scheme not in _HOST_SCHEMES or not (uri.params or "?" in text):
        return False
    return "?" in text.rpartition("@")[2] or uri.param("method") is not None


# -- checks ------------------------------------------------------------------------------------------------------------
def _check(message: Request | Response, limits: Limits) -> None:
    """Read what every message must have; each header once (SIP-12).

    The views would do the same one by one, but calls that the interpreter can foresee are three times faster.
    """
    index = message.index
    if message.repeated:
        raise message.fault(f"Repeated {message.repeated}")
    part = "via"
    try:
        rows = index["via"]
        message.via_values = values = rows if len(rows) == 1 and b"," not in rows[0] else split_vias(rows)
        message.top_via = Via.parse(values[0].decode())
        for lower in values[1:]:
            if not grammar.VIA_OCTETS.fullmatch(lower):
                raise SyntaxFault("Bad Via", section="RFC 3261 section 20.42")
        part = "from"
        message.from_ = party(index["from"][0].decode())
        part = "to"
        message.to = known_party(index["to"][0].decode())
        part = "call-id"
        message.call_id = call_id(index["call-id"][0].decode())
        part = "cseq"
        message.cseq = CSeq.parse(index["cseq"][0].decode())
    except KeyError:
        raise message.fault(f"Missing {title(part)}") from None
    except (SyntaxFault, ValueError):
        raise message.fault(f"Bad {title(part)}") from None
    if len(values) > limits.vias:
        raise message.fault(TOO_LARGE, 513)


def _check_request(request: Request) -> None:
    """Read what a request needs besides; none of its views raises from here on."""
    index = request.index
    part = "request-uri"
    try:
        request.request_uri = _request_uri(request.request_uri_text)
        part = "max-forwards"
        if part in index:
            request.max_forwards = hops(index[part][0].decode())
        part = "content-type"
        if request.body:
            request.content_type = ContentType.parse(index[part][0].decode())
        else:
            # The type of nothing is not needed: one that cannot be read is as none.
            request.content_type = next(iter(request.tolerant(part, ContentType.parse)), None)
    except KeyError:
        raise request.fault(f"Missing {title(part)}") from None
    except (SyntaxFault, ValueError):
        raise request.fault(f"Bad {title(part)}") from None
    for name in _NEEDED_IF_THERE:
        if name in index:
            getattr(request, name)


def _refuse_slack(message: Request | Response, start: bytes) -> None:
    """TOR-12, strict: nothing that the grammar does not have."""
    if isinstance(message, Request) and (b"  " in start or start.endswith(b" ")):
        raise message.fault("Bad Request-Line")
    for name in ("from", "to"):
        unquoted = "".join(_UNQUOTED.findall(message.header(name) or ""))
        if _BLANK_INSIDE.search(unquoted) or _EMPTY_PARAM.search(unquoted, unquoted.rfind(">") + 1):
            raise message.fault(f"Bad {title(name)}")
