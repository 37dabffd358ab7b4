"""Reading back what is only in the store: what comes of each record, and of a store that cannot be read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest

from gateway.core.canonical import text_message
from gateway.core.envelope import Envelope
from gateway.core.errors import Refusal
from gateway.core.outcome import Outcome, Verdict
from gateway.core.ports import Carrier, Parcel, Store
from gateway.relay.lane import Message
from gateway.relay.shelf import Found, Shelf
from tests.relay.scene import JULIET, ROMEO

ENVELOPE = Envelope("m1", "t1", JULIET, ROMEO, text_message(JULIET, ROMEO, "hello", 0.0), 1.0, "test")
RECORD = ENVELOPE.to_cpim()


class Shelved:
    """A store that holds these."""

    def __init__(self, records: dict[int, bytes] | None) -> None:
        self._records = records

    def load(self, seqs: Sequence[int], done: Callable[[Sequence[tuple[int, bytes]] | None], None]) -> None:
        done(None if self._records is None else [(seq, self._records[seq]) for seq in seqs if seq in self._records])


class Side:
    """A Carrier that answers by the number of the try."""

    def translate(self, envelope: Envelope, number: int) -> Parcel:
        if number == 13:
            raise Refusal("type-unsupported", "no smoke signals")
        if number == 14:
            raise ValueError("a bug")
        return Parcel(f"sip {envelope.recipient}", "gate", number, once=False)


def message(seq: int, number: int = 7) -> Message:
    return Message(seq, len(RECORD), 9.0, number, cast("Any", None))


def read(records: dict[int, bytes] | None, *messages: Message, envelopes: bool = False) -> Found | None:
    shelf = Shelf(cast("Store", Shelved(records)), lambda envelope: cast("Carrier", Side()))
    said: list[Found | None] = []
    (shelf.read_envelopes if envelopes else shelf.read)(messages, said.append)
    assert len(said) == 1
    return said[0]


def test_a_message_is_whole_again_under_its_number() -> None:
    one = message(1)
    assert read({1: RECORD}, one) == [(one, None)]
    assert one.envelope == ENVELOPE
    assert one.parcel == Parcel("sip romeo@sip.example", "gate", 7, once=False)


def test_of_what_will_not_be_sent_only_the_envelope_is_read() -> None:
    one = message(1, 14)
    assert read({1: RECORD}, one, envelopes=True) == [(one, None)]
    assert (one.envelope, one.parcel) == (ENVELOPE, None)


def test_what_can_no_longer_be_said_has_failed_and_its_sender_is_known() -> None:
    one = message(1, 13)
    assert read({1: RECORD}, one) == [(one, Outcome(Verdict.FAILED, 500, "no smoke signals"))]
    assert (one.envelope, one.parcel) == (ENVELOPE, None)


@pytest.mark.requirement("REL-18")
@pytest.mark.parametrize(
    ("number", "record", "reason"), [(7, b"", "the stored record is damaged"), (14, RECORD, "it cannot be sent: see the log")]
)
def test_what_cannot_be_made_whole_is_to_be_put_aside_and_the_others_are_read(number: int, record: bytes, reason: str) -> None:
    one, other = message(1, number), message(2)
    assert read({1: record, 2: RECORD}, one, other) == [(one, Outcome(Verdict.POISON, reason=reason)), (other, None)]
    assert other.parcel


def test_what_is_gone_is_left_out() -> None:
    one, gone = message(1), message(2)
    assert read({1: RECORD}, gone, one) == [(one, None)]


def test_a_store_that_cannot_be_read_is_said_so() -> None:
    assert read(None, message(1)) is None
