"""Protecting what a hosted account writes to the other side: signed, and encrypted for whom a certificate is known (RFC 8591)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from gateway.core.address import Address, SipAddress
from gateway.core.canonical import entity_message, text_entity
from gateway.core.content import content_of
from gateway.core.cpim import CPIM_TYPE, CpimMessage, compose
from gateway.core.dates import format_rfc3339
from gateway.core.envelope import Envelope
from gateway.core.errors import Refusal, SyntaxFault
from gateway.core.imdn import NEGATIVE
from gateway.core.mime import Entity
from gateway.core.ports import Names
from gateway.core.remember import learn
from gateway.core.settings import RouteRule, Settings
from gateway.core.uri import im_uri, sip_uri
from gateway.core.verdict import Status, Verdict

from .certificates import Certificate
from .encryption import encrypted
from .fitness import may_receive
from .identity import HomeOf, normal
from .keys import Account, Accounts
from .signing import is_canonical, signed_clear, signed_opaque

_TICK_SECONDS = 0.001
_SHOWN_SECONDS, _MOST_SHOWN = 300.0, 10_000


class Hosting:
    """people: whose certificates are known. home_of: whom a name in one means. takes: whether a SIP user is known to take S/MIME."""

    def __init__(
        self,
        accounts: Accounts,
        people: Sequence[Certificate],
        names: Names,
        settings: Settings,
        home_of: HomeOf,
        takes: Callable[[SipAddress], bool | None],
    ) -> None:
        self._accounts, self._names, self._settings, self._takes = accounts, names, settings, takes
        self._people = [(each, {normal(home) for name in each.names if (home := home_of(name))}) for each in people if may_receive(each)]
        self._latest: dict[str, float] = {}
        self._shown: dict[tuple[str, str], float] = {}

    def protected(self, envelope: Envelope) -> Envelope:
        """The message signed by its author, and encrypted where that is possible; as it is where he is not hosted, or has done so himself.

        Raises Refusal for what cannot be signed, or not be encrypted for somebody it is encrypted for: it never goes out without.
        """
        account = self._accounts.account_of(envelope.sender)
        if account is None or envelope.verdict is not None or not self._is_wanted(envelope):
            return envelope
        rule, stamp = self._rule(envelope), self._stamp(account, envelope.received_at)
        try:
            sign, is_new = signed_clear if rule.smime_form == "clear" else signed_opaque, self._is_new(account, envelope.recipient, stamp)
            signed = sign(self._whole(envelope, stamp), account, stamp, with_certificate=is_new)
        except SyntaxFault as fault:
            raise Refusal("bad-body", f"It cannot be signed: {fault.what}") from None
        recipients = self._certificates_of(envelope.recipient, stamp)
        entity = encrypted(signed, recipients, rule.smime_type) if recipients else signed
        # Of what is encrypted, nothing is said outside.
        subjects = () if recipients else envelope.message.subjects
        message = entity_message(envelope.sender, envelope.recipient, entity, stamp, subjects=subjects)
        is_current = account.certificate.since <= stamp <= account.certificate.until
        verdict = Verdict(Status.VALID if is_current else Status.EXPIRED, account.certificate.names, stamp, encrypted=bool(recipients))
        return replace(envelope, message=message, verdict=verdict, asked=envelope.asked & {NEGATIVE})

    def _rule(self, envelope: Envelope) -> RouteRule:
        person = envelope.recipient if isinstance(envelope.recipient, SipAddress) else envelope.sender
        return self._settings.route(person.domain)

    def _is_wanted(self, envelope: Envelope) -> bool:
        """Whether the route, and towards SIP its recipient, take what is signed: only the operator's word is a reason not to (SMIME-37)."""
        wanted, whom = self._rule(envelope).smime, envelope.recipient
        if wanted != "auto":
            return wanted == "always"
        return not isinstance(whom, SipAddress) or self._takes(whom) is not False

    def _stamp(self, account: Account, now: float) -> float:
        """A time that is later than that of the last message of the account (E2E-18), in POSIX seconds, whole milliseconds."""
        stamp = round(max(now, self._latest.get(account.address, 0.0) + _TICK_SECONDS), 3)
        self._latest[account.address] = stamp
        return stamp

    def _is_new(self, account: Account, recipient: Address, stamp: float) -> bool:
        """Whether the certificate goes with it: towards XMPP once in five minutes (E2E-19), towards SIP always (SMIME-27)."""
        if isinstance(recipient, SipAddress):
            return True
        key = (account.address, str(recipient.bare))
        if stamp - self._shown.get(key, 0.0) < _SHOWN_SECONDS:
            return False
        learn(self._shown, key, stamp, _MOST_SHOWN)
        return True

    def _whole(self, envelope: Envelope, stamp: float) -> Entity:
        """The message/cpim that is signed (E2E-15), with line ends that may be signed (SMIME-14). Raises Refusal, SyntaxFault."""
        message = envelope.message
        fields = [("From", f"<{self._uri(envelope, envelope.sender)}>"), ("To", f"<{self._uri(envelope, envelope.recipient)}>")]
        fields += [("DateTime", format_rfc3339(stamp))]
        fields += [(f"Subject;lang={tag}" if tag else "Subject", subject) for subject, tag in message.subjects]
        whole = _entity(compose(fields, message.entity))
        if is_canonical(whole):
            return whole
        return _entity(compose(fields, text_entity(content_of(message.entity).body)))

    def _uri(self, envelope: Envelope, person: Address) -> str:
        """On the SIP side people are sip: URIs, on the XMPP side im: ones (RFC 3923 section 3.1)."""
        address = self._names.sip_of(person)
        return sip_uri(address) if isinstance(envelope.recipient, SipAddress) else im_uri(address.user, address.domain)

    def _certificates_of(self, person: Address, now: float) -> list[Certificate]:
        home = normal(person)
        found = [each for each, homes in self._people if home in homes]
        good = [each for each in found if each.since <= now <= each.until]
        if not good and any(each.since <= now for each in found):
            # What was encrypted yesterday is not sent in the clear today (SMIME-37).
            raise Refusal("no-good-certificate")
        return good


def _entity(message: CpimMessage) -> Entity:
    return Entity.compose([("Content-Type", CPIM_TYPE)], message.raw)
