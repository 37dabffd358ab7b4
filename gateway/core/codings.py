"""Content-Encoding (RFC 3261 section 20.12, RFC 9110 section 8.4), undone within bounds (SEC-33)."""

from __future__ import annotations

import zlib

from .errors import Refusal, SyntaxFault

MOST_OCTETS, MOST_RATIO = 65_536, 100
"""Of what comes out: octets, and how many times what went in."""
CODINGS = ("gzip", "deflate")
"""What can be undone, as Accept-Encoding names it."""

_GZIP, _ZLIB, _RAW = 31, 15, -15
_FORMS = {"gzip": (_GZIP,), "x-gzip": (_GZIP,), "deflate": (_ZLIB, _RAW)}


def undone(octets: bytes, value: str) -> bytes:
    """Content without the coding that the value of its Content-Encoding names. Raises Refusal, SyntaxFault.

    deflate is the zlib format (RFC 9110 section 8.4.1.2); the bare one (RFC 1951), which some send under the same name, is read too.

    >>> undone(zlib.compress(b"Prav."), "Deflate")
    b'Prav.'
    """
    names = [name for part in value.split(",") if (name := part.strip(" \t").lower()) not in ("", "identity")]
    if not names:
        return octets
    if len(names) > 1 or names[0] not in _FORMS:
        raise Refusal("encoding-unsupported")
    for form in _FORMS[names[0]]:
        found = _inflated(octets, form)
        if found is not None:
            return found
    raise SyntaxFault(f"The body is no {names[0]}", section="RFC 9110 section 8.4.1")


def _inflated(octets: bytes, form: int) -> bytes | None:
    """None for what is not whole, not of this form, or more than that."""
    most = min(MOST_OCTETS, MOST_RATIO * len(octets))
    inflate = zlib.decompressobj(form)
    try:
        found = inflate.decompress(octets, most + 1)
    except zlib.error:
        return None
    if len(found) > most:
        raise Refusal("encoding-unsupported", f"the body decodes to more than {most} octets")
    return found if inflate.eof and not inflate.unused_data else None
