"""The shelf: reads messages back that are only in the store, and makes them whole again."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import structlog

from gateway.core.envelope import Envelope
from gateway.core.errors import Refusal, SyntaxFault
from gateway.core.outcome import UNSENDABLE, Outcome, Verdict
from gateway.core.ports import Carrier, Store

from .lane import Message

_UNREADABLE = Outcome(Verdict.POISON, reason="the stored record is damaged")

log = structlog.get_logger("relay")
Found = Sequence[tuple[Message, Outcome | None]]
"""Of those that were asked for, in order, what is still in the store: None with a message that is whole, else why it is not. FAILED: its
envelope is there, its sender can be told. POISON: it is to be put aside."""
Done = Callable[[Found | None], None]
"""Called once, on the loop; None when the store cannot be read now."""


class Shelf:
    """Changes nothing but the messages that it reads, and decides nothing about them. carrier_of: the side that an envelope goes to."""

    def __init__(self, store: Store, carrier_of: Callable[[Envelope], Carrier]) -> None:
        self._store, self._carrier_of = store, carrier_of

    def read(self, messages: Sequence[Message], done: Done) -> None:
        """Have the envelopes of these read, and translated into their parcels."""
        self._load(messages, self._translate, done)

    def read_envelopes(self, messages: Sequence[Message], done: Done) -> None:
        """Have the envelopes of these read: that is whole enough for what will not be sent."""
        self._load(messages, _read, done)

    def _load(self, messages: Sequence[Message], make: Callable[[Message, bytes], object], done: Done) -> None:
        wanted = {message.seq: message for message in messages}

        def loaded(records: Sequence[tuple[int, bytes]] | None) -> None:
            done(None if records is None else [(wanted[seq], _fault(wanted[seq], record, make)) for seq, record in records])

        self._store.load(tuple(wanted), loaded)

    def _translate(self, message: Message, record: bytes) -> None:
        envelope = _read(message, record)
        message.parcel = self._carrier_of(envelope).translate(envelope, message.number)


def _read(message: Message, record: bytes) -> Envelope:
    message.envelope = envelope = Envelope.from_cpim(record)
    return envelope


def _fault(message: Message, record: bytes, make: Callable[[Message, bytes], object]) -> Outcome | None:
    try:
        make(message, record)
    except Refusal as refusal:
        # It could be said when it was taken; the configuration has changed since.
        return Outcome(Verdict.FAILED, 500, refusal.detail or refusal.key)
    except SyntaxFault:
        return _UNREADABLE
    except Exception:
        log.exception("cannot be translated", seq=message.seq)
        return UNSENDABLE
    return None
