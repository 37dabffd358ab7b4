"""message/sipfrag (RFC 3420) as far as reports about a failed message need it: a status line and some header fields.

What a fragment says is information, never an instruction: nothing of it is executed or merged into a live transaction (FRAG-33).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote

from .dates import parse_sip_date
from .errors import SyntaxFault
from .mime import Headers, header_fields
from .text import has_control, one_line

_STATUS_LINE = re.compile(rb"SIP/2\.0 ([1-6][0-9]{2}) ([^\r\n]*)", re.I)
_NAME = re.compile(r"[A-Za-z0-9\-.!%*_+`'~]+")
_NOT_IN_REASON = re.compile(r"[\"#%<>\[\\\]^`{|}]")
_WORD = r"[A-Za-z0-9\-.!%*_+`'~()<>:\\\"/\[\]?{}]+"
_CALL_ID = re.compile(rf"{_WORD}(?:@{_WORD})?")
_CSEQ = re.compile(r"[0-9]{1,10}[ \t]+[A-Za-z0-9\-.!%*_+`'~]+")
_INSIDE = re.compile(r'"(?:[^"\\]|\\.)*+"|<[^>]*+>')
"""A quoted display name, and a URI in brackets: parameters in there are not those of the header."""
_TAG = re.compile(r";[ \t]*tag[ \t]*=", re.I)
_COMPACT = {"i": "call-id", "f": "from", "t": "to", "l": "content-length"}
_ONCE = ("from", "to", "call-id", "cseq", "date", "content-length")
_MOST_OCTETS = 65_536
_MOST_HEADERS = 200
_RULE = "RFC 3420 section 2"


@dataclass(frozen=True, slots=True)
class Fragment:
    """What is left of a response. reason: one line of text, may be empty. headers: (name, value) in order, as they came."""

    status: int
    reason: str
    headers: Headers

    def header(self, name: str) -> str | None:
        """The value of the first field of this name, in any case; None when there is none."""
        wanted = name.lower()
        for known, value in self.headers:
            if known == name or known.lower() == wanted:
                return value
        return None


def compose_status(status: int, reason: str, headers: Iterable[tuple[str, str]] = ()) -> bytes:
    """The body of a message/sipfrag: a status line and header fields, every line with its CR LF (FRAG-08).

    The reason is made one line, and what the Reason-Phrase rule leaves out is percent-encoded (RFC 3261 section 25.1). Raises SyntaxFault
    for a status outside 100 to 699, and for a header that would not be one line.

    >>> compose_status(404, "Not Found", [("CSeq", "1 MESSAGE")])
    b'SIP/2.0 404 Not Found\\r\\nCSeq: 1 MESSAGE\\r\\n'
    """
    if not 100 <= status <= 699:
        raise SyntaxFault("Bad status", section="RFC 3261 section 25.1")
    written = _NOT_IN_REASON.sub(lambda found: f"%{ord(found[0]):02X}", one_line(reason))
    lines = [f"SIP/2.0 {status} {written}"]
    for name, value in headers:
        if not _NAME.fullmatch(name) or has_control(value) or value != value.strip(" "):
            raise SyntaxFault("Bad header in message/sipfrag", section=_RULE)
        lines.append(f"{name}: {value}")
    try:
        return "\r\n".join([*lines, ""]).encode()
    except UnicodeEncodeError:
        raise SyntaxFault("Bad header in message/sipfrag", section="RFC 3629 section 3") from None


def parse_status(body: bytes) -> Fragment:
    """Read a fragment that begins with a status line. Raises SyntaxFault (X3, X4, X6, X7, X9 of the specification, and what has no status).

    The last line may lack its CR LF (FRAG-08); fields may be folded and short of name. A body behind a blank line is not looked at.

    >>> parse_status(b"SIP/2.0 603 Declined")
    Fragment(status=603, reason='Declined', headers=())
    """
    if len(body) > _MOST_OCTETS:
        raise SyntaxFault("message/sipfrag too long", _MOST_OCTETS, _RULE)
    head = body.partition(b"\r\n\r\n")[0].removesuffix(b"\r\n")
    line, _, block = head.partition(b"\r\n")
    found = _STATUS_LINE.fullmatch(line)
    if not found or block.count(b"\n") != block.count(b"\r\n"):
        raise SyntaxFault("Bad message/sipfrag", 0 if not found else len(line), _RULE)
    headers = header_fields(block)
    _check(headers)
    # A reason is text in which anything may be percent-encoded; decoded, it is made safe again.
    reason = one_line(unquote(found[2].decode("utf-8", "replace")))
    return Fragment(int(found[1]), reason, headers)


def _check(headers: Headers) -> None:
    """Each field has to be one that a whole message could hold (RFC 3420 section 3.2); those that identify a message are held to it."""
    names = [_COMPACT.get(name.lower(), name.lower()) for name, _ in headers]
    if len(names) > _MOST_HEADERS or any(names.count(name) > 1 for name in _ONCE):
        raise SyntaxFault("Too many or repeated headers in message/sipfrag", section="RFC 3420 section 3.2")
    for name, (_, value) in zip(names, headers, strict=True):
        if not _holds(name, value):
            raise SyntaxFault("Bad header in message/sipfrag", section="RFC 3420 section 3.2")


def _holds(name: str, value: str) -> bool:
    if name == "call-id":
        return _CALL_ID.fullmatch(value) is not None
    if name == "cseq":
        return _CSEQ.fullmatch(value) is not None
    if name in ("from", "to"):
        return bool(value) and "<>" not in value and len(_TAG.findall(_INSIDE.sub("", value))) < 2
    if name == "date":
        parse_sip_date(value)
    return _NAME.fullmatch(name) is not None
