"""Whom else a message names: every To and cc of message/cpim as XEP-0033 has them, to be shown and never to be delivered to."""

from __future__ import annotations

from gateway.core.address import ANONYMOUS_HOST, SipAddress
from gateway.core.cpim import CORE, CpimAddress, CpimMessage
from gateway.core.errors import Refusal, SyntaxFault
from gateway.core.jid import Jid, jid_from_xmpp_uri
from gateway.core.numbers import NumberPlan
from gateway.core.ports import Names
from gateway.core.text import one_line, shown_name, xml_text
from gateway.core.uri import Uri

from . import stanza as xml

MOST_NAMED = 64
"""Headers of one name (SEC-35), and between the 20 and the 100 addresses that XEP-0033 section 9 would have a server take."""
_MAPPED = ("sip", "sips", "im", "pres", "tel")
_EXTERNAL = (*_MAPPED, "mailto", "urn")
"""What is shown as a URI. Whatever else stands there may be no address, and clients make links of URIs."""


def addresses(message: CpimMessage, names: Names, numbers: NumberPlan, *, copies: bool) -> str:
    """The `<addresses/>` of a message; empty where it names one person alone (CPIM-34). copies: whether cc is shown. Raises Refusal.

    Where the message goes is not decided here, and has been: each address is marked as delivered, so that no multicast service on the way
    sends the message on (XEP-0033 section 4.5, SEC-42). More addresses than are carried refuse the message; none is left out.
    """
    wanted = ("To", "cc") if copies else ("To",)
    named = [(name.lower(), value) for name, value in _core_fields(message) if name in wanted]
    if not _are_several([kind for kind, _ in named]):
        return ""
    if any(sum(kind == each for each, _ in named) > MOST_NAMED for kind in ("to", "cc")):
        raise Refusal("body-too-large", f"message/cpim names more than {MOST_NAMED} addresses in To or cc")
    shown = [(kind, each) for kind, value in named if (each := _shown(value, names, numbers))]
    if not _are_several([kind for kind, _ in shown]):
        return ""
    inner = [xml.element("address", {"type": kind} | each | {"delivered": "true"}) for kind, each in shown]
    return xml.element("addresses", {"xmlns": xml.ADDRESS}, "".join(inner))


def _are_several(kinds: list[str]) -> bool:
    """Whether there is anybody beside the one whom the message is for."""
    return len(kinds) > 1 or "cc" in kinds


def _core_fields(message: CpimMessage) -> list[tuple[str, str]]:
    return [(header.name, header.value) for header in message.headers if header.namespace == CORE]


def _shown(value: str, names: Names, numbers: NumberPlan) -> dict[str, str]:
    """The attributes of one address: its JID if it has one, else its URI, else it is words alone; none for one that is not shown."""
    text = one_line(xml_text(value))
    try:
        person = CpimAddress.parse(value)
        uri = Uri.parse(person.uri)
    except SyntaxFault:
        return {"desc": text} if text else {}
    if uri.host == ANONYMOUS_HOST:
        return {}  # RCS-05: it says "see the transport".
    description = shown_name(person.name)
    if jid := _jid(uri, names, numbers):
        return {"jid": str(jid), "desc": description}
    return {"uri": uri.text, "desc": description} if uri.scheme in _EXTERNAL else {"desc": text}


def _jid(uri: Uri, names: Names, numbers: NumberPlan) -> Jid | None:
    """The bare JID that a URI names: its own, or that of the directory where that leads back to the same person (SEC-14)."""
    try:
        if uri.scheme == "xmpp":
            return jid_from_xmpp_uri(uri.text).bare
        address = numbers.address(uri) if uri.scheme in _MAPPED else SipAddress("", "")
        jid = names.jid_of(address) if address.domain else None
        return jid if jid and names.sip_of(jid).normal == address.normal else None
    except (SyntaxFault, Refusal):
        return None
