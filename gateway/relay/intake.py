"""From an envelope to a message that can be kept: said in the other side's form, with all that is written down with it."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

from gateway.core.address import SipAddress
from gateway.core.digest import digest
from gateway.core.envelope import Envelope
from gateway.core.errors import Refusal
from gateway.core.jid import Jid
from gateway.core.outcome import Outcome
from gateway.core.ports import BRIEF, LASTING, Acceptance, Answered, Carrier, Keys, Parcel, Recollection, Store, Trace
from gateway.core.tokens import fresh_token

from .conversations import Conversations
from .lane import Message
from .nicknames import Nicknames
from .report import Facts, News, told
from .spellings import Spellings

BRIEF_SECONDS, LASTING_SECONDS = 600.0, 7 * 86_400.0
"""How long later news finds the message that it is about: any, and one whose author asked to be told (IMDN-31)."""
_HOUR_SECONDS = 3600
_MOST_FACTS = 8192
_ALIAS = "="

log = structlog.get_logger("relay")


class Intake:
    """Makes messages; changes nothing. ended: takes what becomes of each of their tries."""

    def __init__(
        self,
        store: Store,
        queue_age_hours: float,
        spellings: Spellings,
        nicknames: Nicknames,
        conversations: Conversations,
        carrier_of: Callable[[Envelope], Carrier],
        ended: Callable[[Message, Outcome], None],
    ) -> None:
        self._store, self._queue_age, self._spellings = store, queue_age_hours * _HOUR_SECONDS, spellings
        self._nicknames, self._conversations, self._carrier_of, self._ended = nicknames, conversations, carrier_of, ended

    def message(
        self,
        envelope: Envelope,
        keys: Keys | None = None,
        answered: Answered | None = None,
        forgets: int = 0,
        memory: tuple[Recollection, ...] = (),
    ) -> Message:
        """A message that is not kept yet. forgets: the key of the recollection that it uses up; memory: what it changes. Raises Refusal."""
        number = self._store.number()
        envelope = self._conversations.joined(self._nicknames.news(envelope))
        parcel = self._carrier_of(envelope).translate(envelope, number)
        record, received_at = envelope.to_cpim(), envelope.received_at
        expires_at = received_at + self._queue_age
        if envelope.expires_at is not None:
            expires_at = min(envelope.expires_at, expires_at)
        memory += self._memory(envelope, parcel)
        acceptance = Acceptance(number, parcel.lane, record, received_at, expires_at, keys, memory, forgets)
        return Message(number, len(record), expires_at, number, self._ended, envelope, parcel, acceptance=acceptance, answered=answered)

    def failure(self, envelope: Envelope, outcome: Outcome, parcel: Parcel | None) -> Message | None:
        """The message that tells the author of another that it failed, not kept yet; None when nobody is told.

        parcel: what was to be sent.
        """
        facts = Facts.of(envelope)
        if facts is None:
            return None
        # He is told now: what still comes of the same message later must not be told as well (IMDN-05).
        return self.report(facts, outcome, self.trace_key(parcel.traces[0]) if parcel and parcel.traces else 0)

    def report(self, facts: Facts, news: News, key: int) -> Message | None:
        """The same for a message of which only the facts are left, under this key (0 for none); of any news."""
        if facts.asked and key:
            return self._telling(facts, news, memory=(self._news(facts, news, key),))
        return self._telling(facts, news, forgets=key)

    def _telling(self, facts: Facts, news: News, forgets: int = 0, memory: tuple[Recollection, ...] = ()) -> Message | None:
        """Whatever goes wrong with it, the message that it is about comes to its end: it is logged."""
        try:
            envelope = told(facts, news, fresh_token(), time.time())
            return self.message(envelope, forgets=forgets, memory=memory) if envelope else None
        except Refusal as refusal:
            # That a receipt, or any report, does not go there may be the operator's will, or the recipient's.
            is_wanted = isinstance(news, Outcome) and refusal.key != "failure-not-reported"
            (log.warning if is_wanted else log.info)("cannot tell the sender", reason=str(refusal))
        except Exception:
            log.exception("cannot tell the sender")
        return None

    @staticmethod
    def _news(facts: Facts, news: News, key: int) -> Recollection:
        return Recollection(LASTING, key, facts.received_at + LASTING_SECONDS, facts.after(news).dump())

    def trace_key(self, trace: Trace) -> int:
        """The digest under which later news finds what it is about."""
        return digest(self._store.secret(), "\n".join(trace).encode())

    def _names(self, traces: tuple[Trace, ...], facts: Facts) -> tuple[Recollection, ...]:
        """The facts under the first name of a message, and what leads there under the others: what it is told by one, it is told by all."""
        text, first = facts.dump(), self.trace_key(traces[0])
        if len(text) > _MOST_FACTS:
            log.info("too long to be remembered, no later news of it will be told", octets=len(text))
            return ()
        kind, seconds = (LASTING, LASTING_SECONDS) if facts.asked else (BRIEF, BRIEF_SECONDS)
        others = [Recollection(BRIEF, self.trace_key(each), facts.received_at + BRIEF_SECONDS, f"{_ALIAS}{first}") for each in traces[1:]]
        return Recollection(kind, first, facts.received_at + seconds, text), *others

    def _memory(self, envelope: Envelope, parcel: Parcel) -> tuple[Recollection, ...]:
        sender, recipient, received_at = envelope.sender, envelope.recipient, envelope.received_at
        memory: tuple[Recollection, ...] = ()
        if parcel.traces and (facts := Facts.of(envelope)):
            memory = self._names(parcel.traces, facts)
        if isinstance(sender, SipAddress) and isinstance(recipient, Jid) and (news := self._spellings.news(sender, recipient, received_at)):
            memory += (news,)
        if said := self._conversations.news(envelope):
            memory += (said,)
        return memory


def named(text: str) -> int:
    """The key of the first name of a message, where that is what is remembered under another; else 0."""
    return int(text.removeprefix(_ALIAS)) if text.startswith(_ALIAS) else 0
