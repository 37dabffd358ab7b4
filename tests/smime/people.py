"""Two domains and who lives there: sip.example on the SIP side, xmpp.example on the XMPP side."""

from __future__ import annotations

from gateway.core.address import Address
from gateway.core.jid import Jid, jid_from_xmpp_uri
from gateway.core.uri import Uri
from gateway.smime.identity import Claim


def home_of(text: str) -> Address | None:
    """Whom a URI or a JID names, as the directory says it."""
    scheme, _, rest = text.partition(":")
    if scheme.lower() == "xmpp":
        return jid_from_xmpp_uri(text)
    if scheme.lower() == "tel":
        return Uri.parse(f"sip:{rest}@numbers.example").address
    if not rest:
        return Jid.parse(text)
    uri = Uri.parse(text)
    address = uri.address
    return Jid(address.normal.user, address.domain) if address.domain == "xmpp.example" else address if address.user else None


def claim(uri: str) -> Claim:
    """That this is from whom a URI names."""
    author = home_of(uri)
    assert author is not None
    return Claim(author, uri, home_of)
