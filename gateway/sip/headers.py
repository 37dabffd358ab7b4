"""The values that stand in SIP headers: Via, name-addr, CSeq, Warning, parameters and comma lists.

Parsers take text in which folding is undone and no white space is left at the ends; they raise SyntaxFault. RFC 3261 sections 7.3 and 20.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from gateway.core.domain import ascii_domain
from gateway.core.errors import SyntaxFault
from gateway.core.remember import remembered
from gateway.core.uri import Uri

from . import grammar
from .names import title as title

Params = Mapping[str, str]
"""Parameters in order: lower-case name -> value without its quotes, empty for one without a value. Never changed."""

NO_PARAMS: Params = MappingProxyType({})

MOST_CSEQ = 2**31 - 1
MOST_HOPS = 255
_MOST_PORT = 65_535
_MOST_LENGTH = 10**10 - 1


def split_list(text: str, *, strict: bool = True) -> list[str]:
    """The values of a comma list in order; commas in quoted strings and in "<>" do not split. Empty text is no value.

    Raises SyntaxFault for an empty element and for a quote or bracket that is never closed. Where it is not strict, the one is left out,
    and the other makes all that follows one value.
    """
    if "," not in text:
        return [text] if text else []
    cuts = [-1]
    for piece in grammar.PIECE.finditer(text):
        if piece[3]:
            cuts.append(piece.start())
        elif strict and not (piece[1] or piece[2]):
            raise SyntaxFault("Unclosed quote or bracket", piece.start(), "RFC 3261 section 25.1")
    values = [text[start + 1 : end].strip(" \t") for start, end in zip(cuts, [*cuts[1:], len(text)], strict=True)]
    if strict and not all(values):
        raise SyntaxFault("Empty list element", section="RFC 3261 section 7.3.1")
    return [value for value in values if value]


def split_vias(rows: list[bytes]) -> list[bytes]:
    """Every Via value of these rows, in octets. Raises SyntaxFault."""
    if b"," not in b"".join(rows):
        return rows
    return [value.encode("latin-1") for row in rows for value in split_list(row.decode("latin-1"))]


def parse_params(text: str, empty: bool = False) -> Params:
    """Parameters with the ";" in front of each. Raises SyntaxFault for what is no parameter, and for a name that comes twice (SIP-13).

    empty: let `;;` pass, which RFC 3428 itself prints in its section 10 (MSG-92).
    """
    found = grammar.PLAIN_PARAM.findall(text)
    params: dict[str, str] = dict(found)
    if len(params) == len(found) and "" not in params:
        return params
    params.clear()
    for name, value, rest in grammar.PARAM.findall(text):
        if not name:
            if rest or not empty:
                raise SyntaxFault("Bad parameter", section="RFC 3261 section 7.3.1")
            continue
        known = name.lower()
        if known in params:
            raise SyntaxFault("Repeated parameter", section="RFC 3261 section 7.3.1")
        params[known] = grammar.unquoted(value) if value[:1] == '"' else value
    return params


# What follows are NamedTuples, because several are made for every message; and `tuple.__new__` makes them without a call into Python.
_new = tuple.__new__


class Via(NamedTuple):
    """One Via value (RFC 3261 section 20.42).

    protocol: name and version, "SIP/2.0". transport: upper case. host: as it came, IPv6 in brackets. port: None when it is not said.
    sent_by: host in normal form, with the port if one is said; what is compared (TXN-02, TRN-34).
    """

    protocol: str
    transport: str
    host: str
    port: int | None
    sent_by: str
    params: Params

    @staticmethod
    def parse(text: str) -> Via:
        """Read one via-parm. Raises SyntaxFault.

        >>> Via.parse("SIP / 2.0/udp [2001:DB8::9]:5062 ;branch=z9hG4bK1;rport").sent_by
        '[2001:db8::9]:5062'
        """
        cut = text.find(";")
        protocol, transport, host, port, sent_by = _sent(text[:cut] if cut >= 0 else text)
        return _new(Via, (protocol, transport, host, port, sent_by, parse_params(text[cut:]) if cut >= 0 else NO_PARAMS))

    def param(self, name: str) -> str | None:
        """The value of a parameter ("" for one without a value); None when it is absent."""
        return self.params.get(name)

    @property
    def branch(self) -> str | None:
        """The transaction's name in this hop; None from an RFC 2543 peer."""
        return self.params.get("branch")

    @property
    def received(self) -> str | None:
        """The address the request came from, without brackets (SIP-25)."""
        value = self.params.get("received")
        return value.strip("[]") if value else value


@remembered(2048)
def _sent(text: str) -> tuple[str, str, str, int | None, str]:
    """A via-parm before its parameters: what stays the same in all requests of a hop."""
    found = grammar.SENT.fullmatch(text)
    if not found:
        raise SyntaxFault("Bad Via", section="RFC 3261 section 20.42")
    name, version, transport, host, digits = found.groups()
    port = int(digits) if digits else None
    if port is not None and not 0 < port <= _MOST_PORT:
        raise SyntaxFault("Bad port in Via", section="RFC 3261 section 20.42")
    domain = ascii_domain(host)
    return f"{name}/{version}", transport.upper(), host, port, domain if port is None else f"{domain}:{port}"


class NameAddr(NamedTuple):
    """An address in From, To, Contact, Route and the like (RFC 3261 section 20.10).

    display_name: without quotes and escapes. params: header parameters, which stand behind the URI.
    """

    display_name: str
    uri: Uri
    params: Params = NO_PARAMS

    @staticmethod
    def parse(text: str) -> NameAddr:
        """Read name-addr or addr-spec with parameters. Raises SyntaxFault.

        Without "<>" everything behind ";" is a header parameter (SIP-16).

        >>> juliet = NameAddr.parse('"Juliet C." <sip:juliet@example.com;gr=x>;tag=1')
        >>> juliet.display_name, juliet.uri_text, juliet.params
        ('Juliet C.', 'sip:juliet@example.com;gr=x', {'tag': '1'})
        """
        cut = text.rfind(">") + 1
        if not cut or text.find('"', cut) >= 0:
            cut = _end_of_address(text)
        display_name, uri = _address(text[:cut])
        return _new(NameAddr, (display_name, uri, parse_params(text[cut:], True) if cut < len(text) else NO_PARAMS))

    def param(self, name: str) -> str | None:
        """The value of a header parameter ("" for one without a value); None when it is absent."""
        return self.params.get(name)

    @property
    def tag(self) -> str | None:
        """The dialog's name at this end; None in a request that starts something, and from an RFC 2543 peer."""
        return self.params.get("tag")

    @property
    def uri_text(self) -> str:
        """The URI as it came."""
        return self.uri.text

    @property
    def bare(self) -> str:
        """URI and tag alone: the same address by the rules of RFC 3261 sections 20.20 and 20.39, which leave the display name out."""
        tag = self.tag
        return f"<{self.uri_text}>;tag={tag}" if tag else f"<{self.uri_text}>"


def _end_of_address(text: str) -> int:
    """Where the header parameters begin when that is not behind the last ">"."""
    found = grammar.NAME_ADDR.match(text)
    if found:
        return found.end()
    cut = text.find(";")
    return cut if cut >= 0 else len(text)


@remembered(2048)
def _address(text: str) -> tuple[str, Uri]:
    """Display name and URI of an address without its parameters."""
    found = grammar.NAME_ADDR.fullmatch(text)
    if found:
        quoted, tokens, uri = found.groups()
        return grammar.unquoted(quoted) if quoted else " ".join(tokens.split()), Uri.parse(uri)
    found = grammar.ADDR_SPEC.fullmatch(text)
    if not found:
        raise SyntaxFault("Bad address", section="RFC 3261 section 20.10")
    return "", Uri.parse(found[1])


class CSeq(NamedTuple):
    """RFC 3261 section 20.16."""

    number: int
    method: str

    @staticmethod
    def parse(text: str) -> CSeq:
        """Read `number method`; the number is below 2**31 (SIP-20). Raises SyntaxFault.

        >>> CSeq.parse("0009  MESSAGE")
        CSeq(number=9, method='MESSAGE')
        """
        return _cseq(text)


@remembered(2048)
def _cseq(text: str) -> CSeq:
    found = grammar.CSEQ.fullmatch(text)
    number = grammar.number(found[1], MOST_CSEQ) if found else None
    if not found or number is None:
        raise SyntaxFault("Bad CSeq", section="RFC 3261 section 20.16")
    return CSeq(number, found[2])


class Warned(NamedTuple):
    """One warning-value (RFC 3261 section 20.43): code, who says it, text without quotes."""

    code: int
    agent: str
    text: str

    @staticmethod
    def parse(text: str) -> Warned:
        """Read `399 gw.example.net "why"`. Raises SyntaxFault."""
        found = grammar.WARNING.fullmatch(text)
        if not found:
            raise SyntaxFault("Bad Warning", section="RFC 3261 section 20.43")
        return Warned(int(found[1]), found[2], grammar.unquoted(found[3]))


# -- single values -----------------------------------------------------------------------------------------------------
def party(text: str) -> NameAddr:
    """The value of From or To; its tag, if there is one, is a token. Raises SyntaxFault."""
    address = NameAddr.parse(text)
    tag = address.params.get("tag")
    if tag is not None and not ((tag.isascii() and tag.isalnum()) or grammar.TOKEN.fullmatch(tag)):
        raise SyntaxFault("Bad tag", section="RFC 3261 section 25.1")
    return address


known_party = remembered(2048)(party)
"""`party` for To, which recurs; a From has a tag of its own each time."""


def call_id(text: str) -> str:
    """The value of Call-ID. Raises SyntaxFault."""
    if not grammar.CALL_ID.fullmatch(text):
        raise SyntaxFault("Bad Call-ID", section="RFC 3261 section 20.8")
    return text


@remembered(256)
def hops(text: str) -> int | None:
    """The value of Max-Forwards; None above 255 (SIP-21). Raises ValueError."""
    return grammar.number(text, MOST_HOPS)


def length(text: str) -> int:
    """The value of Content-Length. Raises SyntaxFault or ValueError."""
    value = grammar.number(text, _MOST_LENGTH)
    if value is None:
        raise SyntaxFault("Bad Content-Length", section="RFC 3261 section 20.14")
    return value


def option_tag(text: str) -> str:
    """One value of Require. Raises SyntaxFault."""
    if not grammar.TOKEN.fullmatch(text):
        raise SyntaxFault("Bad option tag", section="RFC 3261 section 25.1")
    return text
