"""Whether two values of a SIP header field say the same, by the rules of RFC 3261 sections 7.3.1 and 20. Linear in what is given."""

from __future__ import annotations

import re
from collections.abc import Mapping

from gateway.core.dates import parse_sip_date
from gateway.core.errors import SyntaxFault
from gateway.core.ports import Outer
from gateway.core.sipfrag import Fragment
from gateway.core.sipfrag_values import RULES, long_name
from gateway.core.uri import Uri

_PIECE = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"|<[^<>"]*+>|[,;]|[^",;<>]++|.', re.S)
_BLANKS = re.compile(r"[ \t\r\n]++")
_AROUND = re.compile(r" ?([=/]) ?")
_COMPACT = {"s": "subject", "k": "supported", "e": "content-encoding"}
"""Those that `core.sipfrag_values` does not read."""
_ADDRESSES = frozenset(("from", "to", "reply-to", "contact"))
_TEXTS = frozenset(("subject", "organization", "server", "user-agent", "call-id", "in-reply-to"))


def name_of(name: str) -> str:
    """The long lower-case name of a field, also for what is compact.

    >>> name_of("s"), name_of("f"), name_of("Call-ID")
    ('subject', 'from', 'call-id')
    """
    known = long_name(name)
    return _COMPACT.get(known, known)


def title(name: str) -> str:
    """A long lower-case name as the RFCs print it."""
    return RULES[name].title if name in RULES else name.title()


def fields_of(message: Fragment | Outer) -> Mapping[str, str]:
    """long lower-case name -> value; the rows of one name are one comma list (RFC 3261 section 7.3.1)."""
    rows: dict[str, list[str]] = {}
    for name, value in message.headers:
        rows.setdefault(name_of(name), []).append(value)
    return {name: ", ".join(values) for name, values in rows.items()}


def same(name: str, one: str, other: str, *, loose: bool = False) -> bool:
    """Whether two values of the field of this long lower-case name say the same.

    loose: a parameter that only one of two addresses has says nothing, so that an address of record can be compared with a From.

    >>> same("from", 'A <sip:a@h.example>;tag=1', '"B" <SIP:a@H.example> ; tag=1'), same("cseq", "01 MESSAGE", "1  MESSAGE")
    (True, True)
    """
    if one == other:
        return True
    try:
        if name in _ADDRESSES:
            return _same_addresses(one, other, loose)
        if name == "date":
            return parse_sip_date(one) == parse_sip_date(other)
    except SyntaxFault:
        return False
    if name in _TEXTS:
        return _collapsed(one) == _collapsed(other)
    if name == "cseq":
        return _cseq(one) == _cseq(other)
    return _plain(one) == _plain(other)


def split(value: str, at: str) -> list[str]:
    """The pieces of a value between `at` ("," or ";"), which in quotes and brackets does not split.

    >>> split('"a;b" <sip:c;d>;tag=1', ";")
    ['"a;b" <sip:c;d>', 'tag=1']
    """
    pieces: list[list[str]] = [[]]
    for piece in _PIECE.findall(value):
        if piece == at:
            pieces.append([])
        else:
            pieces[-1].append(piece)
    return ["".join(each).strip(" \t") for each in pieces]


def address_of(value: str) -> Uri:
    """The URI of a name-addr or addr-spec. Raises SyntaxFault."""
    return _address(value)[0]


def _address(value: str) -> tuple[Uri, dict[str, str]]:
    """The URI, and the parameters behind it."""
    who, *params = split(value, ";")
    bracketed = [piece for piece in _PIECE.findall(who) if piece[:1] == "<" and piece[-1:] == ">"]
    if len(bracketed) > 1:
        raise SyntaxFault("Several addresses", section="RFC 3261 section 20.10")
    found = {}
    for param in params:
        name, _, stated = param.partition("=")
        found[_lower(name.strip(" \t"))] = stated.strip(" \t")
    return Uri.parse((bracketed[0][1:-1] if bracketed else who).strip(" \t")), found


def _same_addresses(one: str, other: str, loose: bool) -> bool:
    mine, theirs = split(one, ","), split(other, ",")
    return len(mine) == len(theirs) and all(_same_address(a, b, loose) for a, b in zip(mine, theirs, strict=True))


def _same_address(one: str, other: str, loose: bool) -> bool:
    """Display names say nothing, and parameters that are no standard ones only where both have them (RFC 3261 section 20.20)."""
    if "*" in (one, other):
        return one == other
    (uri, mine), (to, theirs) = _address(one), _address(other)
    if not uri.equals(to) or any(_lower(mine[name]) != _lower(theirs[name]) for name in mine.keys() & theirs.keys() - {"tag"}):
        return False
    tags = mine.get("tag"), theirs.get("tag")
    return tags[0] == tags[1] or (loose and None in tags)


def _cseq(value: str) -> tuple[int, str]:
    number, _, method = _collapsed(value).partition(" ")
    return (int(number), method) if number.isascii() and number.isdigit() and len(number) <= 10 else (-1, value)


def _collapsed(value: str) -> str:
    return _BLANKS.sub(" ", value).strip(" ")


def _plain(value: str) -> list[tuple[str, ...]]:
    """The items of a comma list, each with its parameters in one order; case counts in quotes and brackets alone."""
    return [(item, *sorted(params)) for item, *params in [[_folded(each) for each in split(item, ";")] for item in split(value, ",")]]


def _folded(text: str) -> str:
    kept = [piece if piece[0] in '"<' else _AROUND.sub(r"\1", _lower(_BLANKS.sub(" ", piece))) for piece in _PIECE.findall(text)]
    joined = "".join(kept).strip(" ")
    return joined.lstrip("0") or "0" if joined.isascii() and joined.isdigit() else joined


def _lower(text: str) -> str:
    return text.lower() if text.isascii() else text
