"""Authenticated identity bodies (RFC 3893): who says, signed, that this very request is his.

Such a body says nothing of the content of the request: who swaps that keeps it (FRAG-63). It holds for one request on the SIP side, so
what is told of it on the other side is only that it held (FRAG-66).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple

from gateway.core.canonical import FAILURE_TYPE as FRAGMENT_TYPE
from gateway.core.dates import REPEATED, parse_sip_date, staleness
from gateway.core.errors import Refusal, SyntaxFault
from gateway.core.mime import Entity, split_multipart
from gateway.core.ports import Outer
from gateway.core.protection import CLEAR_SIGNED, MOST_DEPTH, MOST_PARTS, Protection, protected_parts, protection_of
from gateway.core.sipfrag import Fragment, parse
from gateway.core.verdict import HOLDING, Status, Verdict

from .fields import address_of, fields_of, same, title
from .freshness import Memory, key_of

REQUIRED = ("from", "to", "date", "call-id", "cseq")
"""What a MESSAGE's has to have (FRAG-61): a MESSAGE has no Contact, which is what others are bound to."""
_MOST_BODIES = 4
_DISPOSITION = "aib"

Judge = Callable[[Entity, str, float], Verdict]
"""(a multipart/signed, the URI of who should have signed it, now) -> what is known of that signature."""
Decrypt = Callable[[Entity], "Entity | None"]
"""An encrypted entity -> what is in it; None for what cannot be decrypted here."""


class Asserted(NamedTuple):
    """who: the URI in From, where an identity body holds. fault: else why none does: "unsigned", "Call-ID differs", "Date is missing"."""

    who: str = ""
    fault: str = ""


def is_identity_part(entity: Entity) -> bool:
    """Whether an entity says that it is an identity body, or what one is in."""
    return (entity.header("Content-Disposition") or "").partition(";")[0].strip(" \t").lower() == _DISPOSITION


def identity_bodies(entity: Entity) -> tuple[Entity, ...]:
    """The identity bodies in an entity, in order, within the bounds of SEC-34.

    multipart/signed around one; application/pkcs7-mime that says that there is one in it; or one that nobody has signed.
    """
    found, waiting, room = [], [(1, entity)], MOST_PARTS
    while waiting:
        depth, each = waiting.pop()
        inner = _parts(each, room) if depth < MOST_DEPTH else ()
        room -= len(inner)
        is_signed = each.content_type.essence == CLEAR_SIGNED
        if is_identity_part(each) or (is_signed and inner and is_identity_part(inner[0])):
            found.append(each)
        else:
            # The second part of a multipart/signed is the signature.
            waiting += [(depth + 1, part) for part in reversed(inner[:1] if is_signed else inner)]
    return tuple(found)


def _parts(entity: Entity, room: int) -> tuple[Entity, ...]:
    try:
        return split_multipart(entity, room) if entity.content_type.type == "multipart" else ()
    except (Refusal, SyntaxFault):
        return ()


class IdentityBodies:
    """Judges identity bodies, and remembers those that held (FRAG-64)."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._seen = Memory()

    def judge(self, body: Entity, outer: Outer, now: float, decrypt: Decrypt = lambda _: None) -> Asserted | None:
        """Who is asserted to send the request with this body; None for a body without an identity body in it.

        decrypt: for whom the message is. Of several the first that holds counts, else what is wrong with the first: others may be about
        third parties (section 4).
        """
        found = [self._one(each, outer, now, decrypt) for each in identity_bodies(body)[:_MOST_BODIES]]
        return next((each for each in found if each.who), found[0]) if found else None

    def undo(self, outer: Outer, asserted: Asserted | None) -> None:
        """The request was not taken after all: whoever sends it again repeats nothing. asserted: what `judge` has said of it."""
        if asserted is not None and asserted.who:
            self._seen.drop(_key(outer))

    def _one(self, entity: Entity, outer: Outer, now: float, decrypt: Decrypt) -> Asserted:
        try:
            signed = _opened(entity, decrypt)
            if signed.content_type.essence != CLEAR_SIGNED:
                return Asserted(fault="unsigned")
            said = _fragment(_opened(split_multipart(signed)[0], decrypt))
            if fault := _difference(fields_of(said), fields_of(outer)):
                return Asserted(fault=fault)
            if label := staleness(parse_sip_date(said.header("Date") or ""), now):
                return Asserted(fault=label)
            who = address_of(said.header("From") or "").text
        except Refusal as refusal:
            return Asserted(fault=refusal.detail or refusal.key)
        except SyntaxFault as fault:
            return Asserted(fault=fault.what)
        verdict = self._judge(signed, who, now)
        if verdict.status not in (Status.VALID, Status.DOMAIN_SIGNED):
            return Asserted(fault=f"its signature is {verdict.status.value}")
        if self._seen.knows(_key(outer), now):
            return Asserted(fault=REPEATED)
        self._seen.put(_key(outer), now)
        return Asserted(who)


def _opened(entity: Entity, decrypt: Decrypt) -> Entity:
    """What is there to be signed or read: itself, or what is encrypted in it (FRAG-65). Raises Refusal."""
    if protection_of(entity) is not Protection.ENCRYPTED:
        return entity
    opened = decrypt(entity)
    if opened is None:
        raise Refusal("undecipherable", "encrypted")
    return opened


def _fragment(entity: Entity) -> Fragment:
    if entity.content_type.essence != FRAGMENT_TYPE or not is_identity_part(entity):
        raise SyntaxFault("it is no message/sipfrag of disposition aib", section="RFC 3893 section 2")
    return parse(entity.decoded(), version=entity.content_type.param("version") or "2.0")


def _difference(said: Mapping[str, str], outer: Mapping[str, str]) -> str:
    for name in REQUIRED:
        if name not in said:
            return f"{title(name)} is missing"
        if name not in outer or not same(name, said[name], outer[name], loose=True):
            return f"{title(name)} differs"
    return ""


def _key(outer: Outer) -> bytes:
    """A sender may use one Call-ID for many messages, each with its CSeq and its identity body (RFC 3893 section 10)."""
    said = fields_of(outer)
    return key_of(*[" ".join(said.get(name, "").split()) for name in ("call-id", "cseq")])


def with_identity(verdict: Verdict, asserted: Asserted | None, body: Entity) -> Verdict:
    """The verdict on a body with what its identity body says. That alone never makes the content valid (FRAG-63)."""
    if asserted is None:
        return verdict
    told = f"identity body: {asserted.fault}" if asserted.fault else ""
    detail = "; ".join(filter(None, (verdict.detail, told)))
    inside = identity_bodies(body)
    if verdict.status in HOLDING and all(part in inside for part in protected_parts(body)):
        verdict = replace(verdict, status=Status.PARTIAL)
        detail = "; ".join(filter(None, ("only an identity body is signed", detail)))
    return replace(verdict, asserted=asserted.who, detail=detail)
