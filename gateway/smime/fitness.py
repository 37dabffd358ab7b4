"""What a certificate is good for here: whose it is, and whether one can encrypt for it (RFC 8550 section 4.4; RFC 8591 section 4.4.1)."""

from __future__ import annotations

from contextlib import suppress

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from gateway.core.address import Address, mapped_user
from gateway.core.domain import ascii_domain
from gateway.core.errors import Refusal, SyntaxFault
from gateway.core.jid import jid_from_xmpp_uri, unescape_local
from gateway.core.uri import Uri

from .certificates import Certificate, not_for
from .identity import HomeOf, normal
from .signatures import MOST_RSA_BITS, STRONG_RSA_BITS


def is_name_of(name: str, address: str, home_of: HomeOf | None = None, *, rfc822: bool = False) -> bool:
    """Whether a name in a certificate, as verdicts write it, is that of a home address in normal form: "juliet@xmpp.example".

    home_of: counts whom this makes the same person, too. rfc822: an email address counts (RFC 3261 section 23.1).

    >>> is_name_of("sip:Juliet@XMPP.example;transport=tcp", "juliet@xmpp.example")
    True
    """
    scheme, _, rest = name.partition(":")
    uri = f"sip:{rest}" if rfc822 and scheme == "mailto" else name
    local, _, domain = address.rpartition("@")
    with suppress(SyntaxFault):
        if _party(uri) == (_plain(local), ascii_domain(domain)):
            return True
    with suppress(SyntaxFault, Refusal):
        home = home_of(uri) if home_of else None
        return home is not None and account_name(home) == address
    return False


def account_name(home: Address) -> str:
    """A home address as accounts are known by: "juliet@xmpp.example".

    >>> from gateway.core.address import SipAddress
    >>> account_name(SipAddress("Romeo", "sip.example"))
    'romeo@sip.example'
    """
    return str(normal(home))


def _party(name: str) -> tuple[str, str]:
    """(user, domain) as they are compared. Raises SyntaxFault for what names nobody."""
    match name.partition(":")[0].lower():
        case "xmpp":
            jid = jid_from_xmpp_uri(name)
            return _plain(jid.local), ascii_domain(jid.domain)
        case "sip" | "sips" | "im":
            found = Uri.parse(name).address.normal
            return found.user, found.domain
    raise SyntaxFault("No name of a person")


def _plain(local: str) -> str:
    """A user or an escaped localpart, as both are compared."""
    try:
        return mapped_user(unescape_local(local))
    except SyntaxFault:
        return mapped_user(local)


def may_receive(certificate: Certificate) -> bool:
    """Whether one can encrypt for it: an RSA key that enciphers, or a P-256 key that agrees; where it says what for, for mail."""
    match certificate.key:
        case rsa.RSAPublicKey() as key if STRONG_RSA_BITS <= key.key_size <= MOST_RSA_BITS:
            return not not_for(certificate.loaded.extensions, ("key_encipherment",))
        case ec.EllipticCurvePublicKey() as key if key.curve.name == "secp256r1":
            return not not_for(certificate.loaded.extensions, ("key_agreement",))
    return False
