"""Telephone numbers as addresses: the E.164 domain, whose people are numbers (ADDR-30 to ADDR-32; `[[e164]]` in mappings/domains.toml).

A number has one address however it is spelled: its normal form at that domain. RFC 3966 sections 3 to 5, RFC 3261 section 19.1.6.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import quote

from .address import SipAddress
from .domain import ascii_domain
from .errors import ConfigFault, SyntaxFault
from .pairs import Pair
from .schema import Document, Key, Schema, domain, one_of, read_rows, row_places
from .settings import Settings
from .uri import Uri, decoded, sip_uri

_SECTION = "RFC 3966 section 3"
_GLOBAL = re.compile(r"\+[0-9.()\-]+")
_LOCAL = re.compile(r"[0-9a-f*#.()\-]+")
_PARAMETER = re.compile(r"[a-z0-9\-]+")
_SEPARATORS = str.maketrans("", "", "-.()")
_CONTEXT = "phone-context"


@dataclass(frozen=True, slots=True)
class NumberPlan:
    """The one E.164 domain; all empty where there is none, and then no URI is a number.

    domain: as in `[sip] domains`. host: what the SIP side calls it. uri: how its numbers are written towards the SIP side,
    `sip:+12015550123@host;user=phone` or `tel:+12015550123`. where: "domains.toml:12".
    """

    domain: str = ""
    host: str = ""
    uri: str = "sip"
    where: str = ""

    def address(self, uri: Uri) -> SipAddress:
        """Whom a URI names: for `tel:`, and for `user=phone` at this domain, the number. Raises SyntaxFault.

        What says user=phone and is no number is a user like any other (ADDR-32). A URI that names nobody gives an empty address.
        """
        if uri.scheme == "tel" and self.host:
            return SipAddress(subscriber(uri.text.partition(":")[2]), self.host)
        if uri.user and uri.host == self.host and (uri.param("user") or "").lower() == "phone":
            with suppress(SyntaxFault):
                return SipAddress(subscriber(uri.user), self.host)
        return uri.address

    def holds(self, address: SipAddress) -> bool:
        """Whether this is the address of a number."""
        user = address.normal.user
        return bool(self.host) and address.domain == self.host and bool(user) and _normal(user) == user

    def written(self, address: SipAddress, device: str = "") -> str:
        """The URI of somebody on the SIP side for Request-URI and To; a `tel:` URI has no place for a device (ADDR-31)."""
        if not self.holds(address):
            return sip_uri(address, device)
        if self.uri == "tel":
            return f"tel:{quote(address.normal.user, safe='+*;=')}"
        return f"{sip_uri(address.normal, device)};user=phone"


NO_NUMBERS = NumberPlan()
"""There is no E.164 domain."""


def subscriber(raw: str) -> str:
    """The normal form of a telephone-subscriber, of whose parameters phone-context alone stays, and that of a local number only (ADDR-30).

    raw: what stands behind `tel:` or in a user part, not decoded.

    >>> subscriber("+1-201-555-0123;isub=1411"), subscriber("863-1234;phone-context=+1-914-555")
    ('+12015550123', '8631234;phone-context=+1914555')

    Raises SyntaxFault for what is no number: a local one without its context too, and one with a mandatory parameter (RFC 3966 5.4).
    """
    number, *rest = raw.split(";")
    parameters: dict[str, str] = {}
    for each in rest:
        name, _, value = each.partition("=")
        name = name.lower()
        if not _PARAMETER.fullmatch(name) or name in parameters:
            raise SyntaxFault("Bad parameter of a telephone number", section=_SECTION)
        if name.startswith("m-"):
            raise SyntaxFault("Unknown mandatory parameter of a telephone number", section="RFC 3966 section 5.4")
        parameters[name] = value
    text = decoded(number, "telephone number").lower()
    if text.startswith("+"):
        return _digits(_GLOBAL, text, "+")
    if _CONTEXT not in parameters:
        raise SyntaxFault("Bad telephone number", section="RFC 3966 section 5.1.5")
    return f"{_digits(_LOCAL, text, '')};{_CONTEXT}={_context(parameters[_CONTEXT])}"


def _digits(form: re.Pattern[str], text: str, empty: str) -> str:
    """A number without its visual separators, of which at least one digit is left."""
    digits = text.translate(_SEPARATORS)
    if not form.fullmatch(text) or digits == empty:
        raise SyntaxFault("Bad telephone number", section=_SECTION)
    return digits


def _context(raw: str) -> str:
    """What a local number is unique in: the beginning of a global number, or a domain name."""
    text = decoded(raw, _CONTEXT)
    if text.startswith("+"):
        return _digits(_GLOBAL, text, "+")
    name = ascii_domain(text) if text.isascii() else ""
    if not name.rpartition(".")[2][:1].isalpha():
        raise SyntaxFault("Bad phone-context", section=_SECTION)
    return name


def _normal(user: str) -> str:
    """The normal form of a decoded user as a number; empty for one that is none."""
    try:
        return subscriber(quote(user, safe="+*;=()"))
    except SyntaxFault:
        return ""


# -- reading -----------------------------------------------------------------------------------------------------------
_E164: Schema = {
    "domain": Key(domain, example='domain = "ims.example.net"'),
    "uri": Key(one_of("sip", "tel"), "sip"),
}


def read_numbers(document: Document, name: str, domains: Sequence[Pair]) -> NumberPlan:
    """The E.164 domain of a file: one, because a `tel:` URI names no domain by which to choose. Raises ConfigFault."""
    rows, places = read_rows(document, name, _E164), row_places(document, name)
    if len(rows) > 1:
        raise ConfigFault(document.file, f"{name}[1]", f"there is one E.164 domain, and it is {rows[0]['domain']} ({places[0]})")
    if not rows:
        return NO_NUMBERS
    called = {ascii_domain(pair.jid.domain): pair.sip.domain for pair in domains}
    return NumberPlan(rows[0]["domain"], called.get(rows[0]["domain"], rows[0]["domain"]), rows[0]["uri"], places[0])


def check_numbers(plan: NumberPlan, users: Sequence[Pair], settings: Settings) -> None:
    """What only the configuration can tell: that its people live on the SIP side, and who is sent a `tel:` URI. Raises ConfigFault."""
    if not plan.domain:
        return
    file = plan.where.rpartition(":")[0]
    if plan.domain not in settings.sip.domains:
        raise ConfigFault(file, "e164[0].domain", f"{plan.domain} is not in [sip] domains")
    if plan.uri == "tel" and not settings.route(plan.host).next_hop:
        reason = f"a tel: URI names no place to send it to; write [sip] outbound or a [[route]] with a next_hop for {plan.host}"
        raise ConfigFault(file, "e164[0].uri", reason)
    for index, pair in enumerate(users):
        number = _normal(pair.sip.normal.user) if pair.sip.domain == plan.host else ""
        if number and not plan.holds(pair.sip):
            # Nobody is called that: his URI with user=phone, or as tel:, is the one without the separators (SEC-02).
            reason = f"{pair.sip} is a number at the E.164 domain; write sip:{number}@{plan.host}"
            raise ConfigFault(pair.where.rpartition(":")[0], f"user[{index}].sip", reason)
