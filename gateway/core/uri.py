"""URIs of the SIP world as values: sip, sips, im, pres, tel, xmpp, and whatever else stands where a URI may stand.

The text is kept as it came (percent-encodings included); decoding happens once, on asking. RFC 3261 sections 19.1 and 25.1.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import quote, unquote_to_bytes

from .address import SipAddress
from .domain import ascii_domain
from .errors import SyntaxFault
from .remember import remembered

DEFAULT_PORT = 5060
"""Of a sip: URI (RFC 3261 section 19.1.2)."""

_HEX = r"%[0-9A-Fa-f]{2}"
_UNRESERVED = r"A-Za-z0-9\-_.!~*'()"
_HOST = r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.\-]+)"
_SIP_FORM = re.compile(
    rf"(?:(?P<user>(?:[{_UNRESERVED}&=+$,;?/]|{_HEX})+)(?::(?P<password>(?:[{_UNRESERVED}&=+$,]|{_HEX})*))?@)?"
    rf"{_HOST}(?::(?P<port>[0-9]{{1,5}}))?"
    rf"(?P<params>(?:;(?:[{_UNRESERVED}\[\]/:&+$]|{_HEX})+(?:=(?:[{_UNRESERVED}\[\]/:&+$]|{_HEX})+)?)*)"
    rf"(?:\?(?P<headers>(?:[{_UNRESERVED}\[\]/?:+$=&]|{_HEX})*))?"
)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*):(.+)", re.S)
_PLAIN = re.compile(rf"(?:[{_UNRESERVED};/?:@&=+$,#\[\]]|{_HEX})+")
_MAILBOX = re.compile(
    rf"(?P<user>(?:[{_UNRESERVED}&=+$/*#?^`{{|}}~]|{_HEX})+)@{_HOST}"
    rf"(?:\?(?P<headers>(?:[{_UNRESERVED};/?:@&=+$,\[\]]|{_HEX})*))?"
)
_HOST_BOUND = ("sip", "sips")
_MAILBOX_BOUND = ("im", "pres")
_STANDING = ("transport", "user", "ttl", "method", "maddr")
_MOST_PORT = 65_535

USER_SAFE = "-_.!~*'()&=+$,;?/"
"""What may stand raw in the user part of a SIP URI beside letters and digits (RFC 3261 section 25.1)."""
PARAMETER_SAFE = "-_.!~*'()[]/:&+$"
"""What may stand raw in a URI parameter value beside letters and digits (RFC 3261 section 25.1)."""
_IM_SAFE = "-._~!$*+="


@dataclass(frozen=True, slots=True)
class Uri:
    """One URI, taken apart but not decoded. `==` compares the text; `equals` compares as RFC 3261 does.

    text: as it came. scheme: lower case. user: raw, None when there is none. host: normal form (`core.domain`), empty for schemes that
    have none. params: (lower-case name, raw value or None) in order. headers: raw text behind "?".
    """

    text: str
    scheme: str = field(compare=False)
    user: str | None = field(default=None, compare=False)
    password: str | None = field(default=None, compare=False)
    host: str = field(default="", compare=False)
    port: int | None = field(default=None, compare=False)
    params: tuple[tuple[str, str | None], ...] = field(default=(), compare=False)
    headers: str = field(default="", compare=False)

    @staticmethod
    def parse(text: str) -> Uri:
        """Read one URI without angle brackets. Raises SyntaxFault (what = "Bad URI...").

        >>> Uri.parse("SIP:a%40b:pw@H:5070;gr=x").user
        'a%40b'
        """
        return _parse(text)

    def param(self, name: str) -> str | None:
        """The raw value of a parameter ("" for one without a value); None when it is absent."""
        for known, value in self.params:
            if known == name:
                return value or ""
        return None

    @property
    def transport(self) -> str:
        """The transport that it names, in lower case; empty where it names none."""
        return (self.param("transport") or "").lower()

    @property
    def needs_tls(self) -> bool:
        """Whether it may be spoken to over TLS alone (RFC 3261 section 26.2)."""
        return self.scheme == "sips" or self.transport == "tls"

    @property
    def device(self) -> str:
        """What `gr` names, decoded (ADDR-12); empty without `gr` or for a `gr` without a value (ADDR-13)."""
        return decoded(self.param("gr") or "", "gr")

    @property
    def address(self) -> SipAddress:
        """The address of record: the user decoded once, the host in normal form. Raises SyntaxFault (ADDR-03, ADDR-04)."""
        return SipAddress(decoded(self.user or "", "user part"), self.host)

    def equals(self, other: Uri) -> bool:
        """Equality by RFC 3261 section 19.1.4 for sip and sips; by text for other schemes."""
        if self.scheme not in _HOST_BOUND or self.scheme != other.scheme:
            return self.scheme == other.scheme and self.text.partition(":")[2] == other.text.partition(":")[2]
        if (self.host, self.port) != (other.host, other.port) or (self.user is None) != (other.user is None):
            return False
        if any(_canonical(a) != _canonical(b) for a, b in ((self.user, other.user), (self.password, other.password))):
            return False
        mine, theirs = dict(self.params), dict(other.params)
        for name in mine.keys() | theirs.keys():
            if name in mine and name in theirs:
                if _canonical(mine[name]).lower() != _canonical(theirs[name]).lower():
                    return False
            elif name in _STANDING:
                return False
        return _header_set(self.headers) == _header_set(other.headers)


@remembered(2048)
def _parse(text: str) -> Uri:
    found = _SCHEME.fullmatch(text)
    if not found:
        raise SyntaxFault("Bad URI", section="RFC 3261 section 19.1")
    scheme, rest = found[1].lower(), found[2]
    if scheme in _HOST_BOUND:
        return _parse_sip(text, scheme, rest)
    if scheme in _MAILBOX_BOUND and (mailbox := _MAILBOX.fullmatch(rest)):
        return Uri(text, scheme, mailbox["user"], None, _host(mailbox["host"]), headers=mailbox["headers"] or "")
    if not _PLAIN.fullmatch(rest):
        raise SyntaxFault("Bad URI", section="RFC 3986 section 3")
    return Uri(text, scheme)


def _parse_sip(text: str, scheme: str, rest: str) -> Uri:
    found = _SIP_FORM.fullmatch(rest)
    if not found:
        raise SyntaxFault("Bad SIP URI", section="RFC 3261 section 19.1.1")
    port = int(found["port"]) if found["port"] else None
    if port is not None and not 0 < port <= _MOST_PORT:
        raise SyntaxFault("Bad port in URI", section="RFC 3261 section 19.1.1")
    params: list[tuple[str, str | None]] = []
    if found["params"]:
        for item in found["params"][1:].split(";"):
            name, equals, value = item.partition("=")
            params.append((_canonical(name).lower(), value if equals else None))
        if len({name for name, _ in params}) != len(params):
            raise SyntaxFault("Repeated URI parameter", section="RFC 3261 section 19.1.1")
    return Uri(text, scheme, found["user"], found["password"], _host(found["host"]), port, tuple(params), found["headers"] or "")


def _host(text: str) -> str:
    last = text.removesuffix(".").rpartition(".")[2]
    if not text.startswith("[") and not last[:1].isalpha() and not last.isdigit():
        raise SyntaxFault("Bad host in URI", section="RFC 3261 section 25.1")
    return ascii_domain(text)


def decoded(raw: str, what: str) -> str:
    """Percent-decode once, on octets, as UTF-8; control characters and bad UTF-8 are refused (SEC-11, ADDR-03, ADDR-04)."""
    if "%" not in raw:
        return raw
    try:
        text = unquote_to_bytes(raw).decode("utf-8")
    except UnicodeDecodeError:
        raise SyntaxFault(f"Bad UTF-8 in {what}", section="RFC 3986 section 2.5") from None
    if any(ch < " " or "\x7f" <= ch <= "\x9f" for ch in text):
        raise SyntaxFault(f"Control character in {what}", section="SEC-11")
    return text


def sip_user(text: str) -> str:
    """Percent-encode a decoded user for a SIP URI: every octet outside the user rule, upper-case hex (ADDR-16).

    >>> sip_user("d'arcy#1")
    "d'arcy%231"
    """
    return quote(text, safe=USER_SAFE)


def im_user(text: str) -> str:
    """Percent-encode a decoded user for an im: or pres: URI; a dot stays only between two other characters (ADDR-16)."""
    out = quote(text, safe=_IM_SAFE)
    return re.sub(r"^\.|\.(?=\.|$)|(?<=\.)\.", "%2E", out) if "." in out else out


def gr_value(device: str) -> str:
    """Percent-encode a resource as the value of a `gr` parameter (ADDR-21).

    >>> gr_value("Büro PC")
    'B%C3%BCro%20PC'
    """
    return quote(device, safe=PARAMETER_SAFE)


@lru_cache(maxsize=4096)
def sip_uri(address: SipAddress, device: str = "") -> str:
    """`sip:user@host;gr=device`, each part encoded for its place; the host can never be changed by what the user holds (SEC-13)."""
    user = f"{sip_user(address.user)}@" if address.user else ""
    return f"sip:{user}{address.domain};gr={gr_value(device)}" if device else f"sip:{user}{address.domain}"


def im_uri(user: str, domain: str) -> str:
    """`im:user@host` for message/cpim From and To (RFC 3922 section 3.2); the domain alone for an address without a user."""
    return f"im:{im_user(user)}@{domain}" if user else f"im:{domain}"


_ESCAPED = re.compile(_HEX)


def _canonical(raw: str | None) -> str:
    """Escapes of unreserved characters undone, other escapes in upper case (RFC 3261 section 19.1.4, RFC 3986 section 6.2.2)."""

    def one(found: re.Match[str]) -> str:
        octet = chr(int(found[0][1:], 16))
        return octet if (octet.isalnum() and octet.isascii()) or octet in "-_.!~*'()" else found[0].upper()

    return _ESCAPED.sub(one, raw or "")


def _header_set(headers: str) -> frozenset[str]:
    return frozenset(_canonical(part).lower() for part in headers.split("&")) if headers else frozenset()
