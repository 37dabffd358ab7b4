"""Domain names and address literals in the two spellings that the two sides use.

SIP hosts are ASCII (A-labels), JID domains carry U-labels (RFC 7622 section 3.2); ADDR-27 to ADDR-29.
"""

from __future__ import annotations

import ipaddress
import re

import idna

from .errors import SyntaxFault
from .remember import remembered

_LABELS = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")
_MOST_OCTETS = 255
_MOST_LABEL_OCTETS = 63
_EVERYWHERE = ("0.0.0.0", "::", "[::]")  # noqa: S104 - to know them, not to listen there


@remembered(1024)
def ascii_domain(text: str) -> str:
    """The SIP spelling of a domain: lower case, A-labels, no root dot; address literals in RFC 5952 form, IPv6 in brackets.

    >>> ascii_domain("Bücher.Example.")
    'xn--bcher-kva.example'

    Raises SyntaxFault when it is neither a host name nor an address.
    """
    name = text.removesuffix(".")
    literal = _literal(name)
    if literal:
        return literal
    if not name.isascii():
        try:
            # Once more from the start: what was mapped may have become an address literal.
            return ascii_domain(idna.encode(name, uts46=True).decode("ascii"))
        except idna.IDNAError as error:
            raise SyntaxFault(f"Bad domain ({error})", section="RFC 5891 section 4") from None
    name = name.lower()
    if len(name) > _MOST_OCTETS or not _LABELS.fullmatch(name) or any(len(label) > _MOST_LABEL_OCTETS for label in name.split(".")):
        raise SyntaxFault("Bad domain", section="RFC 1123 section 2.1")
    return name


@remembered(1024)
def unicode_domain(text: str) -> str:
    """The JID spelling of a domain: as `ascii_domain`, with every valid A-label shown as its U-label.

    A label that starts like an A-label and is none stays as it is (ADDR-27).
    """
    name = ascii_domain(text)
    if "xn--" not in name:
        return name
    return ".".join(_u_label(label) for label in name.split("."))


def _u_label(label: str) -> str:
    if not label.startswith("xn--"):
        return label
    try:
        return idna.decode(label)
    except idna.IDNAError:
        return label


def _literal(text: str) -> str:
    """`text` as an address literal in its one normal form; empty when it is a name."""
    try:
        if text.startswith("["):
            # The library takes a zone behind "%", of any characters; no URI or JID has one.
            if not text.endswith("]") or "%" in text:
                raise SyntaxFault("Bad IPv6 reference", section="RFC 3986 section 3.2.2")
            # RFC 5118 section 4.10: an ABNF of the time allowed three colons before an embedded IPv4 address.
            return f"[{ipaddress.IPv6Address(text[1:-1].replace(':::', '::')).compressed}]"
        last = text.rpartition(".")[2]
        return str(ipaddress.IPv4Address(text)) if last.isascii() and last.isdigit() else ""
    except ipaddress.AddressValueError:
        raise SyntaxFault("Bad IP address", section="RFC 3986 section 3.2.2") from None


def is_everywhere(host: str) -> bool:
    """Whether this is an address that stands for all addresses of its IP version, in brackets or without.

    >>> is_everywhere("[::]"), is_everywhere("127.0.0.1")
    (True, False)
    """
    return host in _EVERYWHERE
