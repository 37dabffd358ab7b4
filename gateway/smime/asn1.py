"""BER from outside, looked through before any reader sees it: whole, of bounded size, depth and number of elements (SMIME-74).

What comes out has definite lengths throughout and octet strings in one piece, whatever the sender did (SMIME-12): X.690 sections 8.1
and 8.7. DER comes out as the same octets.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from gateway.core.errors import SyntaxFault

from .der import length_octets

MOST_OCTETS = 256 * 1024
MOST_ELEMENTS = 16_384
MOST_DEPTH = 32
"""A certificate that names its issuer, in a time stamp, in a signer, is at depth 25."""
MOST_INDEFINITE_DEPTH = 16
_MOST_TAG_OCTETS = 4
_CONSTRUCTED, _LONG_TAG = 0x20, 0x1F
_SEQUENCE, _OBJECT_IDENTIFIER, _OCTET_STRING, _IN_PIECES, _CLOSED = 0x30, 0x06, 0x04, 0x24, -1

_Element = tuple[int, int, int, int]
"""(first octet of the tag, where the element begins, where its content begins, where that ends: -1 for an indefinite length).

A constructed element is followed by what it holds, then by one whose tag is _CLOSED.
"""


class CmsFault(SyntaxFault):
    """Octets that are no CMS object, or none that is taken here: what every reader of this room raises for what comes from outside."""

    def __init__(self, what: str, offset: int = -1, section: str = "RFC 5652") -> None:
        super().__init__(what, offset, section)


def checked(octets: bytes) -> bytes:
    """The same value with definite lengths and octet strings in one piece, in linear time. Raises CmsFault for what is no single BER value.

    >>> checked(bytes.fromhex("2480 0402 4142 0401 43 0000")).hex()
    '0403414243'
    """
    if len(octets) > MOST_OCTETS:
        raise CmsFault("CMS object too large", MOST_OCTETS, "SMIME-74")
    is_definite = True
    for tag, _, _, end in _elements(octets):
        if end < 0 or tag == _IN_PIECES:
            is_definite = False
    return octets if is_definite else _definite(octets)


def members(octets: bytes) -> tuple[bytes, ...]:
    """What a constructed element holds, each member with its head; of what came out of `checked`. Raises CmsFault for a primitive one."""
    found = []
    tag, _, at, _ = _head(octets, 0, len(octets))
    if not tag & _CONSTRUCTED:
        raise CmsFault("CMS element without members", 0)
    while at < len(octets):
        _, _, _, end = _head(octets, at, len(octets))
        found.append(octets[at:end])
        at = end
    return tuple(found)


def content_of(element: bytes, tag: int) -> bytes:
    """The content of one element of this tag, of definite length. Raises CmsFault for anything else."""
    found, _, content, end = _head(element, 0, len(element)) if element else (0, 0, 0, 0)
    if found != tag or end != len(element):
        raise CmsFault("Not the element that was expected", 0)
    return element[content:end]


def first_member(octets: bytes) -> bytes:
    """The first member of a SEQUENCE, with its head; of octets that need not have been looked through. Raises CmsFault."""
    tag, _, content, end = _head(octets, 0, len(octets))
    if tag != _SEQUENCE:
        raise CmsFault("No SEQUENCE", 0)
    _, _, _, member_end = _head(octets, content, end if end >= 0 else len(octets))
    return octets[content:member_end] if member_end >= 0 else octets[content:]


@lru_cache(maxsize=256)
def object_identifier(element: bytes) -> str:
    """An object identifier in dots, of its element. Raises CmsFault for what is none (X.690 section 8.19)."""
    if len(element) < 3 or element[0] != _OBJECT_IDENTIFIER or element[1] != len(element) - 2 or element[-1] & 0x80:
        raise CmsFault("Bad object identifier")
    arcs, arc = [], 0
    for octet in element[2:]:
        arc = arc << 7 | octet & 0x7F
        if not octet & 0x80:
            arcs.append(arc)
            arc = 0
    first = min(arcs[0] // 40, 2)
    return ".".join(map(str, (first, arcs[0] - 40 * first, *arcs[1:])))


def _elements(octets: bytes) -> Iterator[_Element]:
    frames = [(len(octets), False)]
    at = elements = indefinite = 0
    while True:
        limit, is_open = frames[-1]
        if is_open and octets[at : at + 2] == b"\x00\x00" and at + 2 <= limit:
            indefinite -= 1
            at += 2
        elif is_open or at < limit:
            if len(frames) == 1 and at > 0:
                raise CmsFault("Octets behind the CMS object", at)
            element = _head(octets, at, limit)
            tag, start, content, end = element
            elements += 1
            if elements > MOST_ELEMENTS:
                raise CmsFault("Too many elements in CMS object", start, "SMIME-74")
            yield element
            if not tag & _CONSTRUCTED:
                at = end
                continue
            at = content
            frames.append((limit, True) if end < 0 else (end, False))
            indefinite += end < 0
            if len(frames) > MOST_DEPTH or indefinite > MOST_INDEFINITE_DEPTH:
                raise CmsFault("CMS object too deep", start, "SMIME-74")
            continue
        frames.pop()
        if not frames:
            break
        yield _CLOSED, at, at, at
    if not elements:
        raise CmsFault("Empty CMS object", 0)


def _head(octets: bytes, at: int, limit: int) -> _Element:
    """The tag and length at `at`. Raises CmsFault where they, or the content, reach beyond `limit`."""
    start = at
    try:
        tag = octets[at]
        at += 1
        if tag & _LONG_TAG == _LONG_TAG:
            while octets[at] & 0x80:
                at += 1
                if at - start > _MOST_TAG_OCTETS:
                    raise CmsFault("Bad tag in CMS object", start)
            at += 1
        length = octets[at]
        at += 1
        if length == 0x80 and tag & _CONSTRUCTED:
            end = -1
        else:
            if length >= 0x80:
                if not 0x80 < length <= 0x84:
                    raise CmsFault("Bad length in CMS object", start)
                size = length - 0x80
                at += size
                length = int.from_bytes(octets[at - size : at], "big")
            end = at + length
    except IndexError:
        raise CmsFault("CMS object cut off", start) from None
    if at > limit or end > limit or tag == 0:
        raise CmsFault("Bad length in CMS object" if tag else "Bad tag in CMS object", start)
    return tag, start, at, end


def _definite(octets: bytes) -> bytes:
    """What `checked` says, of octets that `_elements` has found good."""
    tags: list[bytes] = [b""]
    frames: list[list[bytes]] = [[]]
    for tag, start, content, end in _elements(octets):
        in_pieces = tags[-1] == b"\x24"
        if in_pieces and tag not in (_CLOSED, _OCTET_STRING, _IN_PIECES):
            raise CmsFault("Bad octet string in pieces", start, "X.690 section 8.7.3")
        if tag == _CLOSED:
            whole, closed = b"".join(frames.pop()), tags.pop()
            if closed != b"\x24":
                whole = closed + length_octets(len(whole)) + whole
            elif tags[-1] != b"\x24":
                whole = b"\x04" + length_octets(len(whole)) + whole
            frames[-1].append(whole)
        elif tag & _CONSTRUCTED:
            frames.append([])
            tags.append(octets[start : _tag_end(octets, start)])
        else:
            frames[-1].append(octets[content if in_pieces else start : end])
    return frames[0][0]


def _tag_end(octets: bytes, at: int) -> int:
    if octets[at] & _LONG_TAG == _LONG_TAG:
        at += 1
        while octets[at] & 0x80:
            at += 1
    return at + 1
