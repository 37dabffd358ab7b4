"""The verdict on a message that was signed from end to end: one word for all that was found, and why (SMIME-75).

The layers are walked from the outside, MIME and CMS alike (SMIME-09). The outermost signature is the one that counts (SMIME-21); what
is inside is only opened. A signature has to be around all that there is, but for the headers of a message/cpim: payloads may be signed
alone (SMIME-77, RCS-08), parts of a multipart may not (SEC-07).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from gateway.core.address import Address
from gateway.core.cpim import CPIM_TYPE, CpimAddress, CpimMessage
from gateway.core.errors import Refusal, SyntaxFault
from gateway.core.mime import Entity, mime_parts
from gateway.core.protection import CLEAR_SIGNED, CMS_TYPES, MOST_DEPTH, protected_parts, protection_of
from gateway.core.text import one_line
from gateway.core.verdict import HOLDING, NOT_CHECKED, Status, Verdict

from .asn1 import CmsFault
from .certificates import Certificate
from .cms import MOST_SIGNERS, Kind, SignedData, SignerInfo, kind_of
from .container import clear_signed, cms_octets, with_crlf
from .identity import Claim, is_for, speaks_for
from .signatures import Finding, check, names_other_digest
from .trust import TrustStore, Work

MOST_LAYERS = 5
_MOST_DETAIL = 300
_MOST_PARTS = 10

PRECEDENCE: dict[Status, str] = {
    Status.MALFORMED: "it is no signed message by its own rules: layout, CMS, limits",
    Status.UNDECRYPTABLE: "it could not be decrypted (`decryption`)",
    Status.INVALID: "what was signed is something else, or by another key, or in a way that is not taken",
    Status.NO_CERTIFICATE: "whose key it is cannot be found out",
    Status.UNTRUSTED: "nobody who is trusted vouches for the certificate, it is not for signing, or it has taken the place of another one",
    Status.REVOKED: "the certificate was taken back",
    Status.EXPIRED: "the certificate is not good now, or was not when it signed",
    Status.WRONG_IDENTITY: "it is somebody else's",
    Status.PARTIAL: "it does not cover everything, or not all signers have signed well",
    Status.REPLAY_RISK: "it was seen before (`freshness`), or is for somebody else",
    Status.CONFIDENTIAL_UNAUTHENTICATED: "it was encrypted and nobody has signed it (`decryption`)",
    Status.DOMAIN_SIGNED: "the author's domain has signed, not the author",
    Status.WEAK: "SHA-1, or an RSA key of less than 2048 bits",
    Status.VALID_AFTER_CANONICALISATION: "it holds over the same text with CR LF line ends",
    Status.NOT_CHECKED: "nothing is signed, it cannot be read, or nothing is configured to check it with",
    Status.VALID: "the author has signed all of it",
}
"""What each status says. Of several the one that stands first here is said."""
_RANK = {status: rank for rank, status in enumerate(PRECEDENCE)}


def first_of(findings: Iterable[Finding]) -> Finding:
    """The finding that counts of several.

    >>> first_of([Finding(Status.VALID), Finding(Status.EXPIRED), Finding(Status.WEAK)]).status
    <Status.EXPIRED: 'expired'>
    """
    return min(findings, key=lambda found: _RANK[found.status])


@dataclass(frozen=True, slots=True)
class Judged:
    """What was found, and what further rules need of it.

    readable: the innermost entity of a signed message that a reader can show; None where there is none. inside: what stands inside the
    innermost signature when that is encrypted, or no more can be said of it. covered: the octets that the outermost signature is over;
    empty without one. signer: SHA-256 of the signer's public key (with `verdict.digest` it names this signature).
    """

    verdict: Verdict
    readable: Entity | None = None
    inside: Entity | None = None
    covered: bytes = b""
    signer: bytes = b""


@dataclass(slots=True)
class _Layer:
    """A signature. checked: of each signer the certificate, where it is known, and what its signature over `covered` is worth."""

    signed: SignedData
    covered: bytes
    micalg: str = ""
    is_mended: bool = False
    checked: Sequence[tuple[Certificate | None, Finding]] = ()
    carried: tuple[Certificate, ...] = ()


@dataclass(slots=True)
class _Walk:
    """What was met on the way in. entity: where the way has ended.

    stated: every From of a message/cpim, the innermost first. named: every To of one that is signed.
    """

    entity: Entity
    stated: list[str] = field(default_factory=list)
    named: list[str] = field(default_factory=list)
    outermost: _Layer | None = None
    kind: Kind | None = None
    layers: int = 0


class Judge:
    """Judges protected messages against one trust store.

    rfc822: an email address in a certificate counts as the sip: address that is written alike.
    """

    def __init__(self, store: TrustStore, *, rfc822: bool = False) -> None:
        self._store, self._rfc822 = store, rfc822
        self._pinned_homes: frozenset[Address] | None = None

    def judge(self, entity: Entity, claim: Claim, now: float, work: Work | None = None) -> Judged:
        """What is to be said of an entity as it came. now: POSIX seconds. work: what may still be done for the message that it is of.

        Raises nothing: what cannot be read is MALFORMED.

        >>> text = Entity.parse(b"Content-Type: text/plain\\r\\n\\r\\nPrav.")
        >>> from gateway.core.jid import Jid
        >>> Judge(TrustStore()).judge(text, Claim(Jid("mira", "xmpp.example"), "", lambda text: None), 0.0).verdict.status
        <Status.NOT_CHECKED: 'not-checked'>
        """
        walk, work = _Walk(entity), work or Work()
        try:
            self._go_in(walk, work)
        except (CmsFault, SyntaxFault, Refusal) as fault:
            if walk.outermost is None:
                return Judged(_verdict(Finding(Status.MALFORMED, str(fault))))
            # What was signed is no message that can be read: the signature is what it is.
            return self._judged(walk, claim, now, work, None, walk.entity)
        if walk.outermost is not None:
            return self._judged(walk, claim, now, work, *((None, walk.entity) if walk.kind else (walk.entity, None)))
        if walk.kind is not None:
            return Judged(replace(NOT_CHECKED, encrypted=walk.kind.is_encrypted), inside=walk.entity)
        parts = protected_parts(walk.entity) if walk.entity.content_type.type == "multipart" else ()
        return self._of_parts(walk.entity, parts, claim, now, work) if parts else Judged(NOT_CHECKED, walk.entity)

    def _of_parts(self, entity: Entity, parts: Sequence[Entity], claim: Claim, now: float, work: Work) -> Judged:
        """Of a multipart with protected parts in it: what covers one of them does not cover the rest."""
        judged = [self.judge(part, claim, now, work) for part in parts[:_MOST_PARTS]]
        partial = Finding(Status.PARTIAL, "only parts of the message are signed")
        found = first_of([partial, *(Finding(each.verdict.status, each.verdict.detail) for each in judged)])
        if all(each.verdict.status is Status.NOT_CHECKED for each in judged):
            found = Finding(Status.NOT_CHECKED)
        best = next((each for each in judged if each.covered), judged[0])
        verdict = replace(best.verdict, status=found.status, detail=found.detail, encrypted=any(each.verdict.encrypted for each in judged))
        return replace(best, verdict=verdict, readable=entity, inside=None)

    # -- the way in ----------------------------------------------------------------------------------------------------
    def _go_in(self, walk: _Walk, work: Work) -> None:
        """Open layer after layer, as far as there are any. Raises CmsFault, SyntaxFault or Refusal where one cannot be opened."""
        for _ in range(MOST_DEPTH - 1):
            entity = walk.entity
            essence = entity.content_type.essence
            if essence == CPIM_TYPE:
                message = CpimMessage.parse(entity.decoded())
                _note(walk, message)
                walk.entity = message.entity
            elif essence == CLEAR_SIGNED or essence in CMS_TYPES:
                layer = _clear(entity) if essence == CLEAR_SIGNED else _opaque(entity, walk)
                if layer is None:
                    return
                walk.layers += 1
                if walk.layers > MOST_LAYERS:
                    raise CmsFault(f"More than {MOST_LAYERS} layers of CMS", section="SMIME-09")
                if walk.outermost is None:
                    work.signers -= len(layer.signed.signers)
                    if work.signers < 0:
                        raise CmsFault(f"More than {MOST_SIGNERS} signers", section="SMIME-09")
                    self._check(layer)
                    walk.outermost = layer
                walk.entity = Entity.parse(layer.covered)
            else:
                if walk.outermost is not None and walk.entity.content_type.type == "multipart":
                    _note_all(walk, walk.entity)
                return
        if protection_of(walk.entity) is not None or walk.entity.content_type.essence == CPIM_TYPE:
            raise CmsFault(f"More than {MOST_DEPTH} levels of MIME", section="SEC-34")

    def _check(self, layer: _Layer) -> None:
        """Whether the signatures of a layer hold; over text whose line ends were changed on the way, too (SMIME-15)."""
        layer.carried = tuple(_readable(layer.signed.certificates))
        layer.checked = self._checked(layer, layer.covered)
        mended = with_crlf(layer.covered) if layer.micalg else None
        if mended is not None and all(found.status is Status.INVALID for _, found in layer.checked):
            again = self._checked(layer, mended)
            if any(found.status is not Status.INVALID for _, found in again):
                layer.checked, layer.covered, layer.is_mended = again, mended, True

    def _checked(self, layer: _Layer, covered: bytes) -> Sequence[tuple[Certificate | None, Finding]]:
        return [self._one_checked(layer, signer, covered) for signer in layer.signed.signers]

    def _one_checked(self, layer: _Layer, signer: SignerInfo, covered: bytes) -> tuple[Certificate | None, Finding]:
        certificate = self._store.find(signer.sid, layer.carried)
        if certificate is None:
            return None, Finding(Status.NO_CERTIFICATE, "the signer's certificate neither came with it nor is it known")
        if layer.micalg and names_other_digest(layer.micalg, signer):
            return certificate, Finding(Status.INVALID, f"micalg says {layer.micalg}, the signature {signer.digest}")
        return certificate, check(signer, covered, layer.signed.content_type, certificate.key)

    # -- what it comes to ----------------------------------------------------------------------------------------------
    def _judged(self, walk: _Walk, claim: Claim, now: float, work: Work, readable: Entity | None, inside: Entity | None) -> Judged:
        layer = walk.outermost
        assert layer is not None
        attributes = [signer.attributes for signer in layer.signed.signers]
        signed_at = next((each.signed_at for each in attributes if each is not None), None)
        holders = [certificate for certificate, found in layer.checked if certificate and found.status is not Status.INVALID]
        verdict = Verdict(
            Status.NOT_CHECKED,
            tuple(dict.fromkeys(name for holder in holders for name in holder.names)),
            signed_at,
            digest=f"sha256:{hashlib.sha256(layer.covered).hexdigest()}",
            encrypted=walk.kind is not None and walk.kind.is_encrypted,
        )
        if not self._store.is_empty:
            found = self._combined(layer, walk, claim, now, work)
            verdict = replace(verdict, status=found.status, detail=_shown(found.detail))
        return Judged(verdict, readable, inside, layer.covered, holders[0].key_digest if holders else b"")

    def _combined(self, layer: _Layer, walk: _Walk, claim: Claim, now: float, work: Work) -> Finding:
        """One finding for all signers: some good and some not is PARTIAL (SMIME-21)."""
        each = [
            self._one_finding(layer, signer, *checked, walk, claim, now, work)
            for signer, checked in zip(layer.signed.signers, layer.checked, strict=True)
        ]
        worst = first_of(each)
        if worst.status not in HOLDING and any(found.status in HOLDING for found in each):
            return Finding(Status.PARTIAL, f"not all signers have signed well: {worst.detail}")
        return worst

    def _one_finding(
        self,
        layer: _Layer,
        signer: SignerInfo,
        certificate: Certificate | None,
        checked: Finding,
        walk: _Walk,
        claim: Claim,
        now: float,
        work: Work,
    ) -> Finding:
        if certificate is None or checked.status is Status.INVALID:
            return checked
        signed_at = signer.attributes.signed_at if signer.attributes else None
        found = [
            checked,
            self._store.judge(certificate, layer.carried, now, signed_at, work),
            self._continuity(certificate, claim),
            speaks_for(certificate.names, claim, walk.stated, rfc822=self._rfc822),
            is_for(claim, walk.named),
        ]
        if layer.is_mended:
            found.append(Finding(Status.VALID_AFTER_CANONICALISATION, "the line ends were changed on the way"))
        return first_of(found)

    def _continuity(self, certificate: Certificate, claim: Claim) -> Finding:
        """For whom a self-signed certificate is known, no other one is taken (SMIME-29)."""
        if self._pinned_homes is None:
            homes = (claim.home(name) for name in self._store.pinned_names)
            self._pinned_homes = frozenset(home for home in homes if home is not None)
        if not self._pinned_homes or self._store.is_pinned(certificate):
            return Finding(Status.VALID)
        changed = [name for name in certificate.names if claim.home(name) in self._pinned_homes]
        return Finding(Status.UNTRUSTED, f"the certificate of {changed[0]} has changed") if changed else Finding(Status.VALID)


def _clear(entity: Entity) -> _Layer:
    """The signature of a multipart/signed. Raises CmsFault."""
    is_mended = False
    try:
        found = clear_signed(entity)
    except CmsFault:
        # Only where no line end is left: what is shown of a body that is read in two ways would not be what was signed.
        mended = with_crlf(entity.raw) if b"\r" not in entity.content else None
        if mended is None:
            raise
        found, is_mended = clear_signed(Entity.parse(mended)), True
    signed = SignedData.parse(found.signature)
    if signed.content is not None:
        raise CmsFault("A signature beside its content holds content, too", section="RFC 3261 section 23.3")
    if not signed.signers:
        raise CmsFault("A signature by nobody", section="RFC 1847 section 2.1")
    return _Layer(signed, found.covered, found.micalg, is_mended)


def _opaque(entity: Entity, walk: _Walk) -> _Layer | None:
    """The signature of an application/pkcs7-mime; None where it is something else, which `walk` then notes. Raises CmsFault."""
    octets = cms_octets(entity)
    walk.kind = kind_of(octets)
    if walk.kind is not Kind.SIGNED:
        return None
    signed = SignedData.parse(octets)
    if not signed.signers and signed.content is None:
        # certs-only: there is nothing to judge (RFC 8551 section 3.8).
        return None
    if not signed.signers:
        raise CmsFault("Content that nobody has signed")
    if signed.content is None:
        raise CmsFault("A signature without its content")
    walk.kind = None
    return _Layer(signed, signed.content)


def _note(walk: _Walk, message: CpimMessage) -> None:
    sender = message.sender
    if sender is not None:
        walk.stated.insert(0, sender.uri)
    if walk.outermost is None:
        return
    walk.named += _named_in(message)


def _named_in(message: CpimMessage) -> list[str]:
    found = []
    for value in (*message.values("To"), *message.values("cc")):
        with suppress(SyntaxFault):
            found.append(CpimAddress.parse(value).uri)
    return found


def recipients_in(covered: Entity) -> list[str]:
    """Everybody whom a signed message/cpim is for, as URI; nobody where it is something else."""
    with suppress(SyntaxFault, Refusal):
        if covered.content_type.essence == CPIM_TYPE:
            return _named_in(CpimMessage.parse(covered.decoded()))
    return []


def _note_all(walk: _Walk, entity: Entity) -> None:
    """Every message/cpim among the parts of what is signed names its author, too (SMIME-26)."""
    with suppress(SyntaxFault, Refusal):
        for part in mime_parts(entity):
            if part.entity.content_type.essence == CPIM_TYPE:
                _note(walk, CpimMessage.parse(part.entity.decoded()))


def _readable(certificates: Iterable[bytes]) -> Iterable[Certificate]:
    for each in certificates:
        with suppress(CmsFault):
            yield Certificate.parse(each)


def _verdict(found: Finding) -> Verdict:
    return Verdict(found.status, detail=_shown(found.detail))


def _shown(detail: str) -> str:
    return one_line(detail)[:_MOST_DETAIL]
