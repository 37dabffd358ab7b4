"""Whether the subject alternative names of a certificate speak for the author of a message (SMIME-25, SMIME-26; table 3.1 of smime.md).

The subject's distinguished name says nothing here. A name counts by its scheme:

    sip, sips   the same home address; towards a sip: author the user as it is spelled, case and all; a phone number by its digits
    im          the same home address
    xmpp        the same home address (an otherName id-on-xmppAddr; the resource is ignored)
    tel         the digits of the author's tel: or user=phone
    mailto      as the sip: address that is written alike, where the configuration says so
    pres        nothing: it is for presence alone
    dns, and sip: without a user   the domain alone: DOMAIN_SIGNED
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from gateway.core.address import Address, SipAddress
from gateway.core.domain import ascii_domain
from gateway.core.errors import Refusal, SyntaxFault
from gateway.core.jid import Jid
from gateway.core.numbers import subscriber
from gateway.core.uri import Uri, sip_uri
from gateway.core.verdict import Status

from .signatures import Finding

HomeOf = Callable[[str], Address | None]
"""Whose home address a sip:, sips:, im:, tel: or xmpp: URI, or a JID, names; None, SyntaxFault or Refusal for nobody known here."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Who is said to have written a message.

    author: as home address. author_uri: as asserted, From of the request or of the stanza; empty for nothing beside `author`.
    recipient: who gets it; None where that is not known.
    """

    author: Address
    author_uri: str
    home_of: HomeOf
    recipient: Address | None = None

    def home(self, text: str) -> Address | None:
        """Whom a URI names, in the form in which home addresses are compared."""
        with suppress(SyntaxFault, Refusal):
            found = self.home_of(text)
            return None if found is None else normal(found)
        return None


def is_for(claim: Claim, named: Sequence[str]) -> Finding:
    """VALID, or REPLAY_RISK for what was signed for other people than who gets it: somebody has sent it on.

    named: every To and cc in the object itself, as URI; none says nothing, nor does one that is nobody's here.
    """
    homes = {claim.home(each) for each in named}
    if claim.recipient is None or not homes or None in homes or normal(claim.recipient) in homes:
        return Finding(Status.VALID)
    return Finding(Status.REPLAY_RISK, f"it was signed for {named[0]}")


def normal(address: Address) -> Address:
    """A home address in the form in which two are compared."""
    return address.bare if isinstance(address, Jid) else address.normal


def speaks_for(names: Sequence[str], claim: Claim, stated: Sequence[str], *, rfc822: bool = False) -> Finding:
    """VALID, DOMAIN_SIGNED or WRONG_IDENTITY.

    names: as `Verdict.signers` has them. stated: every From in the object itself, as URI, the innermost first; with `claim` all have to
    name one person.
    """
    author = normal(claim.author)
    asserted = [uri for uri in (*stated, claim.author_uri) if uri]
    for uri in asserted:
        if claim.home(uri) != author:
            return Finding(Status.WRONG_IDENTITY, f"it is from {claim.author}, but it says that it is from {uri}")
    innermost = _uri(asserted[0]) if asserted else None
    if any(_names_author(name, author, innermost, claim, rfc822) for name in names):
        return Finding(Status.VALID)
    if any(_names_domain(name, author.domain) for name in names):
        return Finding(Status.DOMAIN_SIGNED, f"signed for all of {author.domain}")
    return Finding(Status.WRONG_IDENTITY, f"the certificate is not for {claim.author}")


def _names_author(name: str, author: Address, asserted: Uri | None, claim: Claim, rfc822: bool) -> bool:
    scheme, _, rest = name.partition(":")
    scheme = scheme.lower()
    if scheme == "mailto" and rfc822 and isinstance(author, SipAddress):
        user, _, domain = rest.rpartition("@")
        scheme, name = "sip", sip_uri(SipAddress(user, domain)) if user else ""
    match scheme:
        case "sip" | "sips":
            uri = _uri(name)
            if uri is None or not uri.user:
                return False
            return _is_number_of(uri, asserted) or (_is_spelled_alike(uri, asserted) and claim.home(name) == author)
        case "tel":
            uri = _uri(name)
            return uri is not None and _is_number_of(uri, asserted)
        case "im" | "xmpp":
            return claim.home(name) == author
    return False


def _is_spelled_alike(uri: Uri, asserted: Uri | None) -> bool:
    """Whether two sip: URIs have the same user, whose case counts (RFC 3261 section 19.1.4); others are compared by home address."""
    if asserted is None or asserted.scheme not in ("sip", "sips"):
        return True
    with suppress(SyntaxFault):
        return uri.address.user == asserted.address.user
    return False


def _is_number_of(uri: Uri, asserted: Uri | None) -> bool:
    """Whether both name one number; a sip: URI is only that of a number in its own domain, for others have numbers of their own."""
    number = _number(uri)
    if not number or asserted is None or number != _number(asserted):
        return False
    return "tel" in (uri.scheme, asserted.scheme) or uri.host == asserted.host


def _number(uri: Uri) -> str:
    """The number that a tel: URI, or a sip: URI with user=phone, names, in normal form (RFC 3966 section 5.1.4); empty for none."""
    with suppress(SyntaxFault):
        if uri.scheme == "tel":
            return subscriber(uri.text.partition(":")[2])
        if (uri.param("user") or "").lower() == "phone":
            return subscriber(uri.user or "")
    return ""


def _names_domain(name: str, domain: str) -> bool:
    scheme, _, rest = name.partition(":")
    if scheme in ("sip", "sips"):
        uri = _uri(name)
        if uri is None or uri.user:
            return False
        rest = uri.host
    elif scheme != "dns":
        return False
    with suppress(SyntaxFault):
        return ascii_domain(rest) == ascii_domain(domain)
    return False


def _uri(text: str) -> Uri | None:
    with suppress(SyntaxFault):
        return Uri.parse(text)
    return None
