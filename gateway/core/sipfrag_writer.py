"""Writing message/sipfrag: a status with header fields, and an excerpt of a fragment; `sipfrag.parse` reads both strictly (FRAG-21).

A fragment says no more than its purpose needs (FRAG-30): what may be said for which purpose is a tuple of names here.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from .errors import SyntaxFault
from .sipfrag import FOLD, Fragment, parse
from .sipfrag_values import long_name
from .text import has_control, one_line

REPORTED = ("to", "call-id", "cseq", "date", "retry-after", "warning", "accept")
"""What the report of a failed message tells a peer: which request of his, when, and what helps to send another one (FRAG-41)."""

_NAME = re.compile(r"[A-Za-z0-9\-.!%*_+`'~]+")
_NOT_IN_REASON = re.compile(r"[\"#%<>\[\\\]^`{|}]")


def compose_status(status: int, reason: str, headers: Iterable[tuple[str, str]] = ()) -> bytes:
    """A status line and header fields, every line with its CR LF (FRAG-08).

    The reason is made one line, and what the Reason-Phrase rule leaves out is percent-encoded (RFC 3261 section 25.1). Raises SyntaxFault
    for a status outside 100 to 699, and for a header that would not be one line or that no message could hold.

    >>> compose_status(404, "Not Found", [("CSeq", "1 MESSAGE")])
    b'SIP/2.0 404 Not Found\\r\\nCSeq: 1 MESSAGE\\r\\n'
    """
    written = _NOT_IN_REASON.sub(lambda found: f"%{ord(found[0]):02X}", one_line(reason))
    lines = [f"SIP/2.0 {status} {written}"]
    for name, value in headers:
        if not _NAME.fullmatch(name) or has_control(value) or value != value.strip(" "):
            raise SyntaxFault("Bad header in message/sipfrag", section="RFC 3420 section 2")
        lines.append(f"{name}: {value}")
    try:
        octets = "\r\n".join([*lines, ""]).encode()
    except UnicodeEncodeError:
        raise SyntaxFault("Bad header in message/sipfrag", section="RFC 3629 section 3") from None
    parse(octets)
    return octets


def excerpt(source: Fragment, names: Collection[str]) -> bytes:
    """The start line and the fields of these lower-case long names, each copied whole, unfolded (FRAG-04, FRAG-09).

    The body is copied only together with its Content-Type (FRAG-05).

    >>> excerpt(parse(b"SIP/2.0 200 OK\\r\\ni: 1@a\\r\\nServer: x\\r\\n"), ("call-id",))
    b'SIP/2.0 200 OK\\r\\ni: 1@a\\r\\n'
    """
    lines = [source.start_line] if source.start_line else []
    lines += [FOLD.sub(b" ", each.raw) for each in source.fields if long_name(each.name) in names]
    body = b"\r\n" + source.body if source.body and "content-type" in names else b""
    return b"".join([line + b"\r\n" for line in lines]) + body
