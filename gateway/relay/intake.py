"""From an envelope to a message that can be kept: said in the other side's form, with all that is written down with it."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from gateway.core.address import SipAddress
from gateway.core.digest import digest
from gateway.core.envelope import Envelope
from gateway.core.errors import Refusal
from gateway.core.jid import Jid
from gateway.core.outcome import Outcome
from gateway.core.ports import Acceptance, Answered, Carrier, Keys, Parcel, Recollection, Store, Trace

from . import report
from .lane import Message
from .nicknames import Nicknames
from .spellings import Spellings

REMEMBER_SECONDS = 600.0
"""How long a late error finds the message that it is about."""
_HOUR_SECONDS = 3600

log = structlog.get_logger("relay")


class Intake:
    """Makes messages; changes nothing. ended: takes what becomes of each of their tries."""

    def __init__(
        self,
        store: Store,
        queue_age_hours: float,
        spellings: Spellings,
        nicknames: Nicknames,
        carrier_of: Callable[[Envelope], Carrier],
        ended: Callable[[Message, Outcome], None],
    ) -> None:
        self._store, self._queue_age, self._spellings = store, queue_age_hours * _HOUR_SECONDS, spellings
        self._nicknames, self._carrier_of, self._ended = nicknames, carrier_of, ended

    def message(self, envelope: Envelope, keys: Keys | None = None, answered: Answered | None = None, forgets: int = 0) -> Message:
        """A message that is not kept yet. forgets: the key of the recollection that it uses up. Raises Refusal."""
        number = self._store.number()
        envelope = self._nicknames.news(envelope)
        parcel = self._carrier_of(envelope).translate(envelope, number)
        record, received_at = envelope.to_cpim(), envelope.received_at
        expires_at = received_at + self._queue_age
        if envelope.expires_at is not None:
            expires_at = min(envelope.expires_at, expires_at)
        memory = self._memory(envelope, parcel, keys)
        acceptance = Acceptance(number, parcel.lane, record, received_at, expires_at, keys, memory, forgets)
        return Message(number, len(record), expires_at, number, self._ended, envelope, parcel, acceptance=acceptance, answered=answered)

    def failure(self, tell: Callable[[], Envelope | None], forgets: int = 0) -> Message | None:
        """A failure message that is not kept yet; None when nobody is to be told, or it cannot be said (it is logged).

        Whatever goes wrong with it, the message that it is about comes to its end.
        """
        try:
            envelope = tell()
            return self.message(envelope, forgets=forgets) if envelope else None
        except Refusal as refusal:
            log.warning("cannot tell the sender", reason=str(refusal))
        except Exception:
            log.exception("cannot tell the sender")
        return None

    def trace_key(self, trace: Trace) -> int:
        """The digest under which a late error finds what it is about."""
        return digest(self._store.secret(), "\n".join(trace).encode())

    def _memory(self, envelope: Envelope, parcel: Parcel, keys: Keys | None) -> tuple[Recollection, ...]:
        sender, recipient, received_at = envelope.sender, envelope.recipient, envelope.received_at
        memory: tuple[Recollection, ...] = ()
        if keys and parcel.trace:
            until = received_at + REMEMBER_SECONDS
            memory = (Recollection("request", self.trace_key(parcel.trace), until, report.remembered(envelope)),)
        if isinstance(sender, SipAddress) and isinstance(recipient, Jid) and (news := self._spellings.news(sender, recipient, received_at)):
            memory += (news,)
        return memory
