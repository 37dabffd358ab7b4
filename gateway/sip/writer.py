"""The one place where SIP octets are made. Every value is checked by its grammar here, so that none can start a header (SIP-32, SEC-19).

Functions raise SyntaxFault for a value that cannot stand where it should. RFC 3261 sections 7.3, 8.2.6 and 25.1.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import ip_address

from gateway.core.domain import ascii_domain
from gateway.core.errors import SyntaxFault
from gateway.core.remember import MOST_REMEMBERED, remembered
from gateway.core.uri import Uri

from . import conversation, grammar
from .headers import MOST_CSEQ, MOST_HOPS, NameAddr, Via
from .names import canonical
from .section import Headers

Extra = Sequence[tuple[str, str]]
"""Header fields as (name, value)."""

PHRASES = {
    100: "Trying", 180: "Ringing", 181: "Call Is Being Forwarded", 182: "Queued", 183: "Session Progress", 200: "OK", 202: "Accepted",
    300: "Multiple Choices", 301: "Moved Permanently", 302: "Moved Temporarily", 305: "Use Proxy", 380: "Alternative Service",
    400: "Bad Request", 401: "Unauthorized", 402: "Payment Required", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
    406: "Not Acceptable", 407: "Proxy Authentication Required", 408: "Request Timeout", 410: "Gone", 412: "Conditional Request Failed",
    413: "Request Entity Too Large", 414: "Request-URI Too Long", 415: "Unsupported Media Type", 416: "Unsupported URI Scheme",
    420: "Bad Extension", 421: "Extension Required", 423: "Interval Too Brief", 480: "Temporarily Unavailable",
    481: "Call/Transaction Does Not Exist", 482: "Loop Detected", 483: "Too Many Hops", 484: "Address Incomplete", 485: "Ambiguous",
    486: "Busy Here", 487: "Request Terminated", 488: "Not Acceptable Here", 489: "Bad Event", 491: "Request Pending",
    493: "Undecipherable", 500: "Server Internal Error", 501: "Not Implemented", 502: "Bad Gateway", 503: "Service Unavailable",
    504: "Server Time-out", 505: "Version Not Supported", 513: "Message Too Large", 600: "Busy Everywhere", 603: "Decline",
    604: "Does Not Exist Anywhere", 606: "Not Acceptable",
}  # fmt: skip
"""The reason phrases of RFC 3261 section 21, and of RFC 3428 (202), 3903 (412) and 6665 (489)."""

_OWN = frozenset(("via", "max-forwards", "from", "to", "call-id", "cseq", "content-length"))
_NOT_IN_REASON = re.compile(r"[^A-Za-z0-9;/?:@&=+$,\-_.!~*'()%\t \x80-\U0010ffff]|%(?![0-9A-Fa-f]{2})|[\x80-\x9f\ud800-\udfff]")
_MOST_REASON_OCTETS = 128
_SENT_BY = re.compile(rf"{grammar.host}(?::[0-9]{{1,5}})?")
_QUOTED = rb'"[^"\\]*+(?:\\.[^"\\]*+)*"'
_STAMP = re.compile(
    _QUOTED + rb"|;[ \t]*+(rport|received)(?:[ \t]*+=[ \t]*+(?:" + _QUOTED + rb'|[^;,"\s]*+))?(?=[ \t]*+(?:;|\Z))', re.I | re.S
)
"""Quoted strings, which hide what stands in them, and the two parameters that a receiver writes; the group is the name of such a one."""
_END = b"\r\nContent-Length: 0\r\n\r\n"


# -- messages ----------------------------------------------------------------------------------------------------------
def response(
    request: Headers,
    status: int,
    reason: str,
    *,
    to_tag: str,
    source: tuple[str, int] | None = None,
    extra: Extra = (),
) -> bytes:
    """A response without a body to this request, or to the readable part of one that is broken (`BadMessage.partial`).

    Via, From, To, Call-ID and CSeq are those of the request, octet for octet (RFC 3261 section 8.2.6.2), but for two things: the top Via
    is stamped with the packet's source (host, port), and a display name with control characters is left out. The names that RCS has for a
    conversation are repeated too (RCS-02). to_tag: what To gets when it has no tag; empty for none (a 100). extra: further header fields.
    """
    index = request.index
    top, *lower = request.via_values
    parts = [_status_line(status, reason), b"\r\nVia: ", stamped(request.top_via, top, source) if source else top]
    for value in lower:
        parts += (b"\r\nVia: ", value)
    if "from" in index:
        parts += (b"\r\nFrom: ", _harmless(index["from"][0], request.from_))
    if "to" in index:
        parts += (b"\r\nTo: ", _harmless(index["to"][0], request.to))
        if to_tag and "tag" not in request.to.params:
            parts += (b";tag=", _token("tag", to_tag))
    if "call-id" in index:
        parts += (b"\r\nCall-ID: ", index["call-id"][0])
    if "cseq" in index:
        parts += (b"\r\nCSeq: ", index["cseq"][0])
    parts += conversation.echoed(index)
    parts += [_row(name, text) for name, text in extra]
    parts.append(_END)
    return b"".join(parts)


def request(
    method: str,
    request_uri: str,
    *,
    via: tuple[str, str, str],
    from_: str,
    from_tag: str,
    to: str,
    call_id: str,
    cseq: int,
    route: str = "",
    max_forwards: int = 70,
    extra: Extra = (),
    body: bytes = b"",
) -> bytes:
    """A request of ours (RFC 3261 section 8.1.1; order of SIP-29).

    via: transport, sent-by, branch; over UDP with `rport` (SIP-64). from_, to: as `name_addr` writes them, without the tag. route: the URI
    of the one Route value, empty for none; it stands where proxies look first (RFC 3261 section 7.3.1). extra: further header fields, among
    them Content-Type when there is a body.
    """
    if not 0 <= cseq <= MOST_CSEQ or not 0 <= max_forwards <= MOST_HOPS:
        raise SyntaxFault("Bad number for CSeq or Max-Forwards", section="RFC 3261 section 20")
    if body and not any(canonical(name) == "content-type" for name, _ in extra):
        raise SyntaxFault("Missing Content-Type", section="RFC 3261 section 7.4.1")
    if not grammar.CALL_ID.fullmatch(call_id):
        raise SyntaxFault("Bad Call-ID", section="RFC 3261 section 20.8")
    transport, sent_by, branch = via
    start = _start(method, request_uri, transport, sent_by)
    rport = b";rport" if transport == "UDP" else b""
    routed = _row("Route", name_addr("", route)) if route else b""
    rows = [_row(name, value) for name, value in extra]
    return b"".join((
        start, _token("branch", branch), rport, routed, b"\r\nMax-Forwards: %d" % max_forwards, b"\r\nFrom: ", _address(from_),
        b";tag=", _token("tag", from_tag), b"\r\nTo: ", _address(to), b"\r\nCall-ID: ", call_id.encode(),
        b"\r\nCSeq: %d " % cseq, method.encode(), *rows, b"\r\nContent-Length: %d\r\n\r\n" % len(body), body,
    ))  # fmt: skip


# -- parts of messages -------------------------------------------------------------------------------------------------
def quoted(text: str) -> str:
    """A quoted-string that says this. Raises SyntaxFault for control characters other than HTAB.

    >>> quoted('say "hi"')
    '"say \\\\"hi\\\\""'
    """
    return '"' + _text(text).replace("\\", "\\\\").replace('"', '\\"') + '"'


def reason_phrase(text: str) -> str:
    """Any text as a reason phrase: what may not stand in one becomes a space, and 128 octets are kept (ERR-03).

    >>> reason_phrase('no "room"\\r\\nfor <you>')
    'no  room   for  you '
    """
    clean = _NOT_IN_REASON.sub(" ", text[:_MOST_REASON_OCTETS])
    return clean.encode()[:_MOST_REASON_OCTETS].decode("utf-8", "ignore")


def name_addr(display_name: str, uri_text: str, params: Iterable[tuple[str, str]] = ()) -> str:
    """An address for From, To and the like; a parameter without a value has an empty one.

    >>> name_addr("Juliet", "sip:juliet@example.com", [("tag", "1")])
    '"Juliet" <sip:juliet@example.com>;tag=1'
    """
    name = f"{quoted(display_name)} " if display_name else ""
    return f"{name}<{_uri(uri_text)}>" + "".join([_param(key, value) for key, value in params])


def stamped(via: Via, value: bytes, source: tuple[str, int]) -> bytes:
    """The top Via value with what was seen of the sender: `received` where it has to be said, `rport` where that was asked for.

    What the sender wrote there himself is overwritten (SIP-62, SIP-63, SIP-67; RFC 3261 section 18.2.1, RFC 3581 section 4).
    """
    host, port = source
    params = via.params
    if "rport" not in params and "received" not in params:
        return value if _is_host(via.host, host) else value + b";received=" + _received(host)
    if value.endswith(b";rport") and "received" not in params:
        return value + b"=%d;received=" % port + _received(host)
    rport = b";rport=%d" % port
    return _STAMP.sub(lambda found: (rport if found[1].lower() == b"rport" else b"") if found[1] else found[0], value) + (
        b";received=" + _received(host)
    )


@lru_cache(maxsize=1024)
def _received(host: str) -> bytes:
    """A source address as `received` has it: IPv6 without brackets and zone (SIP-25), and IPv4 as such where a socket has mapped it."""
    try:
        address = ip_address(host.partition("%")[0])
        return ((address.version == 6 and address.ipv4_mapped) or address).compressed.encode()
    except ValueError:
        raise SyntaxFault("Bad source address", section="RFC 3261 section 18.2.1") from None


@lru_cache(maxsize=1024)
def _is_host(sent: str, host: str) -> bool:
    """Whether the host of a Via is this very address."""
    if sent == host:
        return True
    try:
        return ascii_domain(sent).strip("[]") == _received(host).decode()
    except SyntaxFault:
        return False


def _status_line(status: int, reason: str) -> bytes:
    return b"SIP/2.0 %03d " % status + _reason(reason)


@remembered(512)
def _reason(text: str) -> bytes:
    return reason_phrase(text).encode()


def _start(method: str, request_uri: str, transport: str, sent_by: str) -> bytes:
    make = _known_start if len(request_uri) <= MOST_REMEMBERED else _known_start.__wrapped__
    return make(method, request_uri, transport, sent_by)


@lru_cache(maxsize=1024)
def _known_start(method: str, request_uri: str, transport: str, sent_by: str) -> bytes:
    """Request-Line and Via up to its branch: what all requests to one target have in common."""
    if not _SENT_BY.fullmatch(sent_by):
        raise SyntaxFault("Bad sent-by", section="RFC 3261 section 25.1")
    line = b"%b %b SIP/2.0" % (_token("method", method), _uri(request_uri).encode())
    return line + b"\r\nVia: SIP/2.0/%b %b;branch=" % (_token("transport", transport), sent_by.encode())


def _row(name: str, value: str) -> bytes:
    return _known_row(name, value) if len(value) <= MOST_REMEMBERED else _known_row.__wrapped__(name, value)


@lru_cache(maxsize=1024)
def _known_row(name: str, value: str) -> bytes:
    if canonical(name) in _OWN:
        raise SyntaxFault(f"{name} is written by the writer alone", section="SEC-19")
    return b"\r\n%b: %b" % (_token("header name", name), _text(value).strip(" \t").encode())


@remembered(2048)
def _address(text: str) -> bytes:
    NameAddr.parse(_text(text))
    return text.encode()


def _harmless(value: bytes, address: NameAddr) -> bytes:
    """An address as it came, unless its display name holds control characters, which only a quoted-pair can bring in (SEC-29, TOR-08)."""
    return address.bare.encode() if b"\\" in value and grammar.CONTROL_OCTET.search(value) else value


def _param(name: str, value: str) -> str:
    known = _token("parameter name", name).decode()
    if not value:
        return f";{known}"
    return f";{known}={value}" if grammar.TOKEN.fullmatch(value) else f";{known}={quoted(value)}"


def _token(what: str, text: str) -> bytes:
    if not grammar.TOKEN.fullmatch(text):
        raise SyntaxFault(f"Bad {what}", section="RFC 3261 section 25.1")
    return text.encode()


def _text(text: str) -> str:
    if grammar.CONTROL.search(text):
        raise SyntaxFault("Control character in a header value", section="SEC-18")
    return text


def _uri(text: str) -> str:
    if not grammar.URI_TEXT.fullmatch(text):
        raise SyntaxFault("Bad URI", section="RFC 3261 section 25.1")
    Uri.parse(text)
    return text
