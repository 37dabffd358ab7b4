"""What the commands say of the protection of a message: who has signed it, and what that is worth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gateway.core.address import Address, SipAddress
from gateway.core.cpim import CPIM_TYPE
from gateway.core.dates import format_rfc3339
from gateway.core.domain import ascii_domain
from gateway.core.errors import SyntaxFault
from gateway.core.jid import Jid, jid_from_xmpp_uri, unescape_local
from gateway.core.mime import Entity
from gateway.core.ports import Outer
from gateway.core.protection import is_protected
from gateway.core.uri import Uri
from gateway.core.verdict import Status, Verdict
from gateway.sip.entity import body_of, outer_of
from gateway.sip.message import Request
from gateway.smime.container import entity_of
from gateway.smime.identity import Claim, HomeOf
from gateway.smime.judge import Judge
from gateway.smime.trust import TrustStore
from gateway.smime.tunnel import tunnel_fault
from gateway.xmpp import stanza as xml
from gateway.xmpp.e2e import entity_in

from .messages import Read


@dataclass(frozen=True, slots=True)
class Protected:
    """What is protected in a message. author: who wrote it, as the message says: a URI or a JID, empty where it does not."""

    entity: Entity
    author: str
    outer: Outer | None = None


def protected_in(message: Read) -> Protected | None:
    """The signed or encrypted entity in a message of any kind; None where there is none. Raises Refusal, SyntaxFault."""
    found = None
    if isinstance(message.sip, Request) and message.sip.body and message.sip.content_type:
        found = Protected(body_of(message.sip), message.sip.from_.uri_text, outer_of(message.sip))
    elif message.stanza is not None and (secured := message.stanza.find(xml.E2E_TAG)) is not None:
        found = Protected(entity_in("".join(secured.itertext())), message.stanza.get("from", ""))
    elif message.cpim is not None:
        author = message.cpim.sender
        found = Protected(Entity.compose([("Content-Type", CPIM_TYPE)], message.cpim.raw), author.uri if author else "")
    return found if found and is_protected(found.entity) else None


def verdict_of(found: Protected, judge: Judge, now: float, whose: HomeOf | None = None) -> Verdict:
    """What there is to say of it. whose: the person of an address; without it those written alike are one, whatever their scheme."""
    find = whose or home_of
    author = find(found.author) if found.author else None
    judged = judge.judge(found.entity, Claim(author or SipAddress("", ""), "", find), now)
    if found.outer and judged.covered and (fault := tunnel_fault(entity_of(judged.covered), found.outer)):
        detail = f"the signed copy of the request differs: {fault}"
        return Verdict(Status.INVALID, judged.verdict.signers, judged.verdict.signed_at, digest=judged.verdict.digest, detail=detail)
    return judged.verdict


def unchecked(found: Protected, now: float) -> Verdict:
    """Who has signed, as far as the message says it: there is nothing to check that with."""
    return verdict_of(found, Judge(TrustStore()), now)


def home_of(text: str) -> Address | None:
    """The person of a URI or a JID; None for what is neither."""
    scheme = text.partition(":")[0].lower()
    try:
        if scheme in ("sip", "sips", "im"):
            address = Uri.parse(text).address
            return SipAddress(address.user, address.domain)
        jid = (jid_from_xmpp_uri(text) if scheme == "xmpp" else Jid.parse(text)).bare
        return SipAddress(unescape_local(jid.local), ascii_domain(jid.domain))
    except SyntaxFault:
        return None


def facts_of(verdict: Verdict) -> dict[str, Any]:
    """For JSON, and for `lines_of`."""
    return {
        "status": verdict.status.value,
        "signers": list(verdict.signers),
        "signed_at": "" if verdict.signed_at is None else format_rfc3339(verdict.signed_at),
        "digest": verdict.digest,
        "detail": verdict.detail,
        "encrypted": verdict.encrypted,
    }


def lines_of(facts: dict[str, Any]) -> list[str]:
    """A line for each thing that there is to say, behind the status."""
    said = [
        ("signer", ", ".join(facts["signers"])),
        ("signed at", facts["signed_at"]),
        ("digest", facts["digest"]),
        ("because", facts["detail"]),
    ]
    return [f"{name:<10} {value}" for name, value in said if value] + (["encrypted"] if facts["encrypted"] else [])
