"""A good MESSAGE, what can be changed in it, and what the parser says of the result."""

from __future__ import annotations

from collections.abc import Iterable

from gateway.sip.message import BadMessage, Request, Response, parse
from gateway.sip.names import name_of

START = b"MESSAGE sip:romeo@gw.example.net SIP/2.0"
ROWS = (
    ("Via", "SIP/2.0/UDP client.example.org;branch=z9hG4bK-1;rport"),
    ("Max-Forwards", "70"),
    ("From", "<sip:juliet@client.example.org>;tag=t1"),
    ("To", "<sip:romeo@gw.example.net>"),
    ("Call-ID", "1@client.example.org"),
    ("CSeq", "1 MESSAGE"),
    ("Content-Type", "text/plain"),
    ("Content-Length", "5"),
)
RESPONSE_ROWS = (*(row for row in ROWS[:-2] if row[0] != "Max-Forwards"), ("Content-Length", "0"))


def octets(rows: Iterable[tuple[str, str]] = ROWS, body: bytes = b"hello", start: bytes = START) -> bytes:
    """A message of these rows."""
    return start + b"".join(f"\r\n{name}: {value}".encode() for name, value in rows) + b"\r\n\r\n" + body


def rows(**changes: str | None) -> list[tuple[str, str]]:
    """The rows of the good MESSAGE with some changed: `call_id="x"` sets one, None leaves it out, a new name comes behind the others."""
    wanted = {name.replace("_", "-").lower(): value for name, value in changes.items()}
    known = [(name, wanted.pop(name.lower(), value)) for name, value in ROWS]
    return [(name, value) for name, value in [*known, *wanted.items()] if value is not None]


def changed(**changes: str | None) -> bytes:
    """The good MESSAGE with some rows changed."""
    return octets(rows(**changes))


def read(data: bytes, **options: bool) -> Request:
    """A request that is fit for processing."""
    message = parse(data, **options)  # type: ignore[arg-type]
    assert isinstance(message, Request)
    message.check()
    return message


def read_response(data: bytes) -> Response:
    """A response that can be matched."""
    message = parse(data)
    assert isinstance(message, Response)
    message.check()
    return message


def written_again(message: Request | Response) -> bytes:
    """A message that was read, made of what was read of it, without folding (TOR-10)."""
    if isinstance(message, Request):
        start = f"{message.method} {message.request_uri_text} SIP/2.0"
    else:
        start = f"SIP/2.0 {message.status:03d} {message.reason}"
    kept = b"".join(b"\r\n%b: %b" % (name, value) for name, value in message.written if name_of(name) != "content-length")
    return b"%b%b\r\nContent-Length: %d\r\n\r\n%b" % (start.encode(), kept, len(message.body), message.body)


def verdict(data: bytes, **options: bool) -> str:
    """ "ok", or status and reason of the fault; "dropped" in front where it cannot be answered."""
    fault = fault_of(data, **options)
    if fault is None:
        return "ok"
    return f"{fault.status} {fault.what}" if fault.partial else f"dropped {fault.what}"


def fault_of(data: bytes, **options: bool) -> BadMessage | None:
    """Why these octets are refused; None when they are not."""
    try:
        parse(data, **options).check()  # type: ignore[arg-type]
    except BadMessage as fault:
        return fault
    return None
