"""What is done with protection, once, when a message comes: the port `Security`.

For a hosted recipient it is opened; whatever is signed is judged; what policy wants signed and is not is refused; what a hosted author
writes is signed and encrypted. What comes out of here is stored, and goes out as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial

from gateway.core.address import SipAddress
from gateway.core.canonical import entity_message, text_entity, written_at
from gateway.core.content import content_of
from gateway.core.cpim import CPIM_TYPE, CpimMessage
from gateway.core.dates import format_rfc3339
from gateway.core.envelope import Envelope, RequestOrigin, read_home
from gateway.core.errors import Refusal, SyntaxFault
from gateway.core.mime import Entity
from gateway.core.ports import Names, Outer
from gateway.core.protection import Protection, is_protected, protected_parts, protection_of
from gateway.core.remember import learn
from gateway.core.settings import Settings
from gateway.core.uri import sip_uri
from gateway.core.verdict import Status, Verdict

from .asn1 import CmsFault
from .cms import SignedData
from .container import cms_octets, entity_of
from .conversion import to_clear
from .decryption import Failures, Undecipherable, decrypted, tells_by_failing
from .extract import with_text
from .freshness import Dated, Freshness, Sighting, agrees, marked, request_of, signed_date
from .hosting import Hosting
from .identity import Claim, HomeOf, is_for, normal
from .identity_body import IdentityBodies, with_identity
from .judge import Judge, Judged, recipients_in
from .keys import NEARLY_SECONDS, Account, Accounts, warnings_of
from .trust import TrustStore, Work
from .tunnel import addressees, tunnel_fault

_REMEMBERED = (Status.VALID, Status.VALID_AFTER_CANONICALISATION, Status.DOMAIN_SIGNED, Status.WEAK)
"""What is known again when it comes again: of anything else, whoever has seen it could have it refused by sending it first."""
_MOST_UNANSWERED = 4096
_MOST_UNAUTHENTICATED = 600
"""Octets of an EnvelopedData for somebody who gets 1300 at most: whatever is in it then fits."""
UNDECRYPTABLE_NOTICE = "This message was encrypted, and cannot be decrypted."
UNREADABLE_NOTICE = "This message has content that cannot be shown."


class Smime:
    """Implements the Security port. takes: whether a SIP user is known to take S/MIME. tell: is told what was found of each message.

    Raises ConfigFault for files that `[smime]` names and that cannot be used.
    """

    def __init__(self, settings: Settings, names: Names, home_of: HomeOf, takes: Callable[[SipAddress], bool | None]) -> None:
        self.tell: Callable[[Envelope, Verdict], None] = lambda _envelope, _verdict: None
        smime = settings.smime
        store = self._store = TrustStore.load(smime, settings.file)
        self._settings, self._names, self._home_of = settings, names, home_of
        self._accounts = Accounts.load(smime.keys, home_of, rfc822=smime.rfc822) if smime.keys else Accounts()
        self._judge = Judge(store, rfc822=smime.rfc822)
        self._hosting = Hosting(self._accounts, store.people, names, settings, home_of, takes)
        self._freshness, self._failures = Freshness(), Failures()
        # What may still be done for the message that is looked at.
        self._work = Work()
        self._identity_bodies = IdentityBodies(self._identity)
        self._required, self._refuses_repeats = frozenset(smime.require), settings.limits.stale_date == "refuse"
        # What to take back of messages that nobody has answered for yet, by trace id.
        self._pending: dict[str, tuple[Callable[[], None], ...]] = {}
        self.counters = {status.value: 0 for status in Status}

    def allow_for_absence(self, until: float) -> None:
        """Until then what is old may have waited for this gateway to come back (MSG-85); POSIX seconds."""
        self._freshness.grace_until = until

    def warnings(self, now: float) -> Iterator[tuple[str, str]]:
        """(key, what an operator should know): certificates and lists that have ended, or will soon."""
        for account in self._accounts:
            yield from (("smime.keys", text) for text in warnings_of(account, now))
        for what, until in self._store.ends:
            if until - now < NEARLY_SECONDS:
                yield "smime", f"{what}: {'ended' if until <= now else 'ends'} at {format_rfc3339(until)}"

    def arrived(self, envelope: Envelope, outer: Outer | None = None) -> Envelope:
        """See the port. Raises Refusal."""
        if envelope.verdict is not None:
            envelope = self._checked(envelope, outer)
        envelope = self._hosting.protected(envelope)
        self._require(envelope)
        return self._fitted(envelope)

    def answered(self, envelope: Envelope, *, is_kept: bool) -> None:
        """See the port."""
        for undo in self._pending.pop(envelope.trace_id, ()):
            if not is_kept:
                undo()

    def readable(self, entity: Entity) -> Entity | None:
        """What an opaque signature is around; None where that cannot be read. Nothing is checked."""
        try:
            content = SignedData.parse(cms_octets(entity)).content
            return Entity.parse(content) if content is not None else None
        except (CmsFault, Refusal, SyntaxFault):
            return None

    # -- what came protected -------------------------------------------------------------------------------------------
    def _checked(self, envelope: Envelope, outer: Outer | None) -> Envelope:
        message, entity, now = envelope.message, envelope.message.entity, envelope.received_at
        account = self._accounts.account_of(envelope.recipient)
        claim = self._claim(envelope, outer)
        self._work = Work()
        judged = self._judge.judge(entity, claim, now, self._work)
        if account is not None and (sealed := _sealed(entity, judged)) is not None:
            if tells_by_failing(_octets(sealed), account):
                return self._guarded(envelope, judged, sealed, account, claim, outer)
            judged = self._opened(judged, sealed, account, claim, now)
        verdict = judged.verdict
        if outer is not None:
            if judged.covered and (fault := tunnel_fault(entity_of(judged.covered), outer)):
                verdict = replace(verdict, status=Status.INVALID, detail=f"the signed copy of the request differs: {fault}")
            elif verdict.is_good and (found := is_for(claim, addressees(entity_of(judged.covered)))).status is not Status.VALID:
                # The To of the request may be the one that was signed, and its Request-URI somebody else's.
                verdict = replace(verdict, status=found.status, detail=found.detail)
            decrypt = partial(self._decrypted, account, str(normal(claim.author)), now)
            asserted = self._identity_bodies.judge(entity, outer, now, decrypt)
            if asserted and asserted.who:
                self._when_refused(envelope, partial(self._identity_bodies.undo, outer, asserted))
            verdict = with_identity(verdict, asserted, entity)
        verdict = self._dated(envelope, replace(judged, verdict=verdict), claim, outer)
        self._tell(envelope, verdict)
        if verdict.is_good:
            message = _without_unsigned_subjects(envelope, judged)
        envelope = replace(envelope, verdict=verdict, message=message)
        return self._terminated(envelope, judged.readable) if account is not None else envelope

    def _claim(self, envelope: Envelope, outer: Outer | None) -> Claim:
        origin, author = envelope.origin, envelope.sender
        if isinstance(origin, RequestOrigin) and origin.author:
            author = read_home(origin.author)[0]
        uri = sip_uri(author) if outer is not None and isinstance(author, SipAddress) else ""
        return Claim(author, uri, self._home_of, envelope.recipient)

    def _opened(self, judged: Judged, sealed: Entity, account: Account, claim: Claim, now: float) -> Judged:
        """What was encrypted for a hosted account, judged anew; in either order of signing and encrypting (SMIME-20). Raises Refusal."""
        author = str(normal(claim.author))
        if self._failures.bars(author, now):
            # Not that it could not be decrypted: it was not tried, and may come again.
            raise Refusal("overloaded")
        content = self._decrypted(account, author, now, sealed)
        if content is None:
            raise Refusal("undecipherable")
        return self._judged_inside(judged, content, claim, now)

    def _judged_inside(self, judged: Judged, content: Entity, claim: Claim, now: float) -> Judged:
        inner = self._judge.judge(content, claim, now, self._work)
        if judged.covered:
            # Encrypted, then signed: the outermost signature counts (SMIME-21).
            return replace(judged, readable=inner.readable or content, inside=None)
        verdict = replace(inner.verdict, encrypted=True)
        if not inner.covered and verdict.status is Status.NOT_CHECKED:
            verdict = replace(verdict, status=Status.CONFIDENTIAL_UNAUTHENTICATED, detail="encrypted, and signed by nobody")
        return replace(inner, verdict=verdict, readable=inner.readable or (None if is_protected(content) else content))

    def _guarded(self, envelope: Envelope, judged: Judged, sealed: Entity, account: Account, claim: Claim, outer: Outer | None) -> Envelope:
        """The text of what is encrypted and not authenticated (EnvelopedData), or a notice to the recipient that there is none.

        Whoever has seen it may send it again with changed blocks, to learn from the answer what they are decrypted to (SMIME-72). So
        nothing that may be refused depends on that: what it may be refused for is asked before, and what goes on is text. Raises Refusal.
        """
        entity, recipient, now = envelope.message.entity, envelope.recipient, envelope.received_at
        is_bounded = isinstance(recipient, SipAddress) and not self._settings.route(recipient.domain).large_messages
        if is_bounded and len(entity.content) > _MOST_UNAUTHENTICATED:
            raise Refusal("too-large-for-sip")
        if envelope.sender.domain in self._required and not judged.covered:
            raise Refusal("signature-required")
        content = self._decrypted(account, str(normal(claim.author)), now, sealed)
        if content is None:
            text = UNDECRYPTABLE_NOTICE
            if not judged.covered:
                judged = Judged(Verdict(Status.UNDECRYPTABLE, detail="it cannot be decrypted", encrypted=True))
        else:
            judged = self._judged_inside(judged, content, claim, now)
            text = _text_of(judged.readable)
        verdict = self._dated(envelope, replace(judged, verdict=replace(judged.verdict, encrypted=True)), claim, outer)
        self._tell(envelope, verdict)
        return _around(replace(envelope, verdict=verdict), text_entity(f"{verdict.mark}{text}"))

    def _decrypted(self, account: Account | None, author: str, now: float, sealed: Entity) -> Entity | None:
        """What is encrypted for this account; None for whatever may be wrong with it (SMIME-72), which is counted."""
        if account is None:
            return None
        try:
            return Entity.parse(decrypted(cms_octets(sealed), account))
        except (Undecipherable, CmsFault, SyntaxFault, Refusal):
            self._failures.note(author, now)
            return None

    def _dated(self, envelope: Envelope, judged: Judged, claim: Claim, outer: Outer | None) -> Verdict:
        """The verdict with what there is to say against its date; what the adapter has found already stays."""
        before, verdict = envelope.verdict, judged.verdict
        assert before is not None
        if judged.signer and verdict.status in _REMEMBERED:
            covered = entity_of(judged.covered)
            stated, is_coarse = signed_date(covered) or (None, False)
            if stated is not None and outer is not None and not agrees(stated, outer) and not verdict.detail:
                verdict = replace(verdict, detail="the Date of the request is another one than that which is signed")
            request = request_of(outer) if outer is not None else ""
            whom, may_be_late = str(envelope.recipient), outer is not None and outer.may_be_late
            author, is_addressed = str(normal(claim.author)), bool(recipients_in(covered))
            sighting = Sighting(author, verdict.digest, whom, stated, is_coarse, verdict.signed_at, request, may_be_late, is_addressed)
            dated = self._freshness.judge(sighting, envelope.received_at)
            if dated.is_repeat and outer is not None and self._refuses_repeats and not (may_be_late or verdict.encrypted):
                self.answered(envelope, is_kept=False)
                raise Refusal("stale-date")
            self._when_refused(envelope, partial(self._freshness.undo, sighting, dated))
            verdict = marked(verdict, dated)
        if before.date and not verdict.date:
            is_risk = before.status is Status.REPLAY_RISK
            verdict = marked(verdict, Dated(before.date, is_risk=is_risk))
        return verdict

    def _when_refused(self, envelope: Envelope, undo: Callable[[], None]) -> None:
        learn(self._pending, envelope.trace_id, (*self._pending.get(envelope.trace_id, ()), undo), _MOST_UNANSWERED)

    def _identity(self, entity: Entity, who: str, now: float) -> Verdict:
        author = self._home_of(who)
        if author is None:
            return Verdict(Status.WRONG_IDENTITY, detail=f"{who} is nobody that is served here")
        return self._judge.judge(entity, Claim(author, who, self._home_of), now, self._work).verdict

    def _tell(self, envelope: Envelope, verdict: Verdict) -> None:
        self.counters[verdict.status.value] += 1
        if verdict.status is not Status.NOT_CHECKED:
            self.tell(envelope, verdict)

    # -- what becomes of it --------------------------------------------------------------------------------------------
    def _require(self, envelope: Envelope) -> None:
        """Refuses what is not signed as it has to be, by its author or for him here."""
        if envelope.sender.domain in self._required and (envelope.verdict is None or not envelope.verdict.is_good):
            self.answered(envelope, is_kept=False)
            raise Refusal("signature-required")

    def _terminated(self, envelope: Envelope, readable: Entity | None) -> Envelope:
        """For a hosted account protection ends here: its client gets what can be read, marked where it cannot be relied on (E2E-23).

        What was only signed and is nothing that can be shown crosses as it came, as it would for anybody else.
        """
        verdict = envelope.verdict
        assert verdict is not None
        if readable is None:
            return envelope
        if is_protected(readable):
            return _around(envelope, readable)  # There is more that is not for the gateway.
        try:
            content_of(readable, files=bool(self._settings.xmpp.upload))
        except (Refusal, SyntaxFault):
            if not verdict.encrypted:
                return envelope
        if verdict.is_good:
            return _around(envelope, readable)
        return _around(envelope, text_entity(f"{verdict.mark}{_text_of(readable)}"))

    def _fitted(self, envelope: Envelope) -> Envelope:
        """In the container that the route of its SIP recipient wants (SMIME-62, SMIME-35); else as it came."""
        if envelope.verdict is None or not isinstance(envelope.recipient, SipAddress):
            return envelope
        rule, came = self._settings.route(envelope.recipient.domain), envelope.message.entity
        entity = came
        if rule.smime_form == "clear" and protection_of(entity) is Protection.SIGNED:
            entity = to_clear(entity) or entity
        if rule.smime_extract:
            entity = with_text(entity, self.readable) or entity
        return envelope if entity is came else _around(envelope, entity)


def _sealed(entity: Entity, judged: Judged) -> Entity | None:
    """What is encrypted in it, or says so and is broken: to whoever sends it, both are one (SMIME-72)."""
    if judged.verdict.encrypted:
        return judged.inside
    if judged.verdict.status is not Status.MALFORMED:
        return None
    return next((part for part in protected_parts(entity) if protection_of(part) is Protection.ENCRYPTED), None)


def _text_of(readable: Entity | None) -> str:
    """What it says, or that it says nothing that can be shown."""
    try:
        text = content_of(readable).body if readable is not None else ""
    except (Refusal, SyntaxFault):
        text = ""
    return text or UNREADABLE_NOTICE


def _octets(sealed: Entity) -> bytes:
    try:
        return cms_octets(sealed)
    except (CmsFault, Refusal, SyntaxFault):
        return b""


def _without_unsigned_subjects(envelope: Envelope, judged: Judged) -> CpimMessage:
    """What stands unmarked beside a good message is signed as well: of its subjects those that the signature covers."""
    message, covered = envelope.message, entity_of(judged.covered)
    signed: tuple[tuple[str, str], ...] = ()
    with suppress(SyntaxFault, Refusal):
        signed = CpimMessage.parse(covered.decoded()).subjects if covered.content_type.essence == CPIM_TYPE else ()
    texts = {text for text, _ in signed}
    kept = tuple([each for each in message.subjects if each[0] in texts])
    return message if kept == message.subjects else _message(envelope, message.entity, kept)


def _around(envelope: Envelope, entity: Entity) -> Envelope:
    """The same message with another entity in it."""
    return replace(envelope, message=_message(envelope, entity, envelope.message.subjects))


def _message(envelope: Envelope, entity: Entity, subjects: tuple[tuple[str, str], ...]) -> CpimMessage:
    sent_at = written_at(envelope.message)
    moment = envelope.received_at if sent_at is None else sent_at
    return entity_message(envelope.sender, envelope.recipient, entity, moment, subjects=subjects)
