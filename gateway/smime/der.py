"""Writing DER (ITU-T X.690) as CMS needs it: each function gives the octets of one value, tag and length and all.

sequence(oid("1.2.840.113549.1.7.1"), octet_string(b"x"))
"""

from __future__ import annotations

import datetime
from functools import lru_cache

_UTC_TIME_ENDS = 2050


def tlv(tag: int, *contents: bytes) -> bytes:
    """A value of any type. tag: the identifier octet; tags above 30 are not needed here."""
    value = b"".join(contents)
    return b"%c%b%b" % (tag, length_octets(len(value)), value)


def length_octets(size: int) -> bytes:
    """The length octets of a value of this many octets (X.690 section 8.1.3)."""
    if size < 0x80:
        return bytes((size,))
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((0x80 | len(octets), *octets))


def explicit(number: int, *contents: bytes) -> bytes:
    """[number] EXPLICIT, or [number] IMPLICIT for what is constructed."""
    return tlv(0xA0 | number, *contents)


def sequence(*contents: bytes) -> bytes:
    """SEQUENCE or SEQUENCE OF."""
    return tlv(0x30, *contents)


def set_of(*contents: bytes) -> bytes:
    """SET OF: in the order of the encodings (X.690 section 11.6)."""
    return tlv(0x31, *sorted(contents))


def octet_string(octets: bytes) -> bytes:
    """OCTET STRING."""
    return tlv(0x04, octets)


def integer(number: int) -> bytes:
    """INTEGER."""
    return tlv(0x02, number.to_bytes(number.bit_length() // 8 + 1, "big", signed=True))


@lru_cache(maxsize=64)
def oid(dotted: str) -> bytes:
    """OBJECT IDENTIFIER.

    >>> oid("2.16.840.1.101.3.4.2.1").hex()
    '0609608648016503040201'
    """
    first, second, *rest = map(int, dotted.split("."))
    return tlv(0x06, *[_base128(arc) for arc in (40 * first + second, *rest)])


def _base128(arc: int) -> bytes:
    octets = [arc & 0x7F]
    while arc := arc >> 7:
        octets.append(0x80 | arc & 0x7F)
    return bytes(reversed(octets))


def algorithm(dotted: str, *parameters: bytes) -> bytes:
    """AlgorithmIdentifier; its parameters are absent unless they are given."""
    return sequence(oid(dotted), *parameters)


NULL = tlv(0x05)


def attribute(dotted: str, value: bytes) -> bytes:
    """An Attribute with one value (RFC 5652 section 5.3)."""
    return sequence(oid(dotted), set_of(value))


def moment(posix: float) -> bytes:
    """Time in whole seconds: UTCTime until 2049, then GeneralizedTime (RFC 5652 section 11.3)."""
    when = datetime.datetime.fromtimestamp(int(posix), datetime.UTC)
    if when.year < _UTC_TIME_ENDS:
        return tlv(0x17, when.strftime("%y%m%d%H%M%SZ").encode())
    return tlv(0x18, when.strftime("%Y%m%d%H%M%SZ").encode())


def content_info(dotted: str, content: bytes) -> bytes:
    """ContentInfo (RFC 5652 section 3)."""
    return sequence(oid(dotted), explicit(0, content))


def issuer_and_serial(issuer: bytes, serial: int) -> bytes:
    """IssuerAndSerialNumber (RFC 5652 section 10.2.4). issuer: the DER of a Name."""
    return sequence(issuer, integer(serial))
