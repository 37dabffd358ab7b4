"""Who sends a request: whom the network asserts, else From; and whether that may be shown (RFC 3325, RFC 5876, RFC 3323). Pure.

Every peer that the guard lets speak is trusted in the sense of RFC 3325.
"""

from __future__ import annotations

from dataclasses import replace

from gateway.core.address import ANONYMOUS_HOST, SipAddress
from gateway.core.envelope import Envelope, RequestOrigin
from gateway.core.errors import Refusal, SyntaxFault
from gateway.core.numbers import NumberPlan
from gateway.core.ports import Parties
from gateway.core.uri import Uri

from .headers import NameAddr, split_list
from .message import Request
from .notices import is_anonymous

ANONYMOUS_NAME = "Anonymous"
"""What RFC 3323 section 4.1.1.1 has as the display name of who hides who he is."""
_ASSERTED = "p-asserted-identity"
_KINDS = {"sip": "sip", "sips": "sip", "tel": "tel"}
_SHOWS_HIM = frozenset(("none", "session", "history"))
"""The values of Privacy by which nobody hides who he is (RFC 3323 section 4.2, RFC 7044)."""


def senders(request: Request, numbers: NumberPlan) -> tuple[Uri, ...]:
    """Who the sender is said to be, the likeliest first: the asserted identities, or else From. Raises Refusal.

    An identity that From has too is taken as From has it, with the device.
    """
    from_, found = _with_device(request.from_), _asserted(request)
    if not found:
        return (from_,)
    who = named(from_, numbers)
    return tuple([from_ if named(each.uri, numbers) == who else each.uri for each in found])


def display_name(request: Request, numbers: NumberPlan) -> str:
    """What the sender calls himself, as it came; nothing where he hides who he is. Raises Refusal.

    Where others have verified who he is, the name in From is his if the URI there is. Else it is the one that they have for him.
    """
    if wants_privacy(request):
        return ""
    from_, found = request.from_, _asserted(request)
    if not found or named(from_.uri, numbers) in [named(each.uri, numbers) for each in found]:
        return from_.display_name
    return next((each.display_name for each in found if each.display_name), "")


def wants_privacy(request: Request) -> bool:
    """Whether the sender asks for it that the recipient does not learn who he is (RCS-06)."""
    if "privacy" in request.index:
        asked = (request.header("privacy") or "").lower().replace(",", ";").split(";")
        if not _SHOWS_HIM.issuperset(value.strip(" \t") for value in asked):
            return True
    return request.from_.uri.host == ANONYMOUS_HOST


def unnamed(parties: Parties) -> Parties:
    """The same with somebody of that domain as the sender, nobody knows who."""
    return parties._replace(sender=SipAddress.anonymous(parties.sender.domain), sender_device="")


def hidden(envelope: Envelope, sender: str) -> Envelope:
    """The message of somebody who hides who he is, without what would tell it: which conversations are his, and among whom he is named.

    sender: who he is, as `home_uri` writes it; kept to tell him of a failure, and never shown.
    """
    origin = replace(envelope.origin, author=sender) if isinstance(envelope.origin, RequestOrigin) else None
    message = envelope.message
    if message.fields is None:  # else the gateway has composed it, for its recipient alone
        message = message.without("To", "cc")
    return replace(envelope, message=message, sender_name=ANONYMOUS_NAME, thread="", conversation=None, origin=origin)


def is_from_another(envelope: Envelope, numbers: NumberPlan) -> bool:
    """Whether message/cpim that came says in From that somebody else has written it than who was let in (CPIM-35)."""
    message, sender = envelope.message, envelope.sender
    if message.fields is not None or not isinstance(sender, SipAddress) or sender.is_anonymous:
        return False  # The gateway has composed it; or who was let in is not said, so the object cannot differ.
    try:
        author = message.sender
        return author is not None and not is_anonymous(author.uri) and named(Uri.parse(author.uri), numbers) != str(sender.normal)
    except SyntaxFault:
        return True


def named(uri: Uri, numbers: NumberPlan) -> str:
    """Whom a URI names, in a form that is the same however it is spelled."""
    try:
        address = numbers.address(uri)
    except SyntaxFault:
        return uri.text
    return str(address.normal) if address.domain else uri.text


def _asserted(request: Request) -> tuple[NameAddr, ...]:
    """The identities that the network asserts, at most two: a sip or sips one, then a tel one (RFC 3325 section 9.1). Raises Refusal.

    Of another scheme, or another of the same kind: ignored (RFC 5876 section 4.5).
    """
    if _ASSERTED not in request.index:
        return ()
    found: dict[str, NameAddr] = {}
    try:
        for address in [NameAddr.parse(value) for row in request.index[_ASSERTED] for value in split_list(row.decode()) or [""]]:
            if kind := _KINDS.get(address.uri.scheme):
                found.setdefault(kind, address)
    except (SyntaxFault, ValueError):
        # Whom the network meant is not known, and From alone says only what the sender likes.
        raise Refusal("bad-syntax", "Bad P-Asserted-Identity") from None
    return tuple([found[kind] for kind in ("sip", "tel") if kind in found])


def _with_device(party: NameAddr) -> Uri:
    """The URI of a From; a gr that stands behind the brackets belongs to it (ADDR-14)."""
    gr = party.params.get("gr")
    if gr is None or party.uri.param("gr") is not None:
        return party.uri
    try:
        return Uri.parse(f"{party.uri_text};gr={gr}")
    except SyntaxFault:
        return party.uri
