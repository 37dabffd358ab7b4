"""What an operator sees of the queue, and what he can do to single messages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from gateway.core.envelope import Envelope
from gateway.core.outcome import Outcome, Verdict
from tests.relay.scene import JULIET, ROMEO, TOMAS, Answer, Scene, scene

BUSY = Outcome(Verdict.LATER, 503, "Busy", retry_after=100.0)
POISON = Outcome(Verdict.POISON, 0, "cannot be borne")


def shown(it: Scene) -> list[tuple[object, ...]]:
    return [(row["seq"], row["state"]) for row in it.desk.queue()]


def test_the_queue_shows_what_is_sent_what_waits_and_what_is_parked(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        it.offer("parked", ROMEO, JULIET)
        it.answer(it.xmpp, POISON)
        it.offer("busy")
        it.answer(it.sip, BUSY)
        it.offer("behind")
        it.offer("sent", to=TOMAS)
        it.types(TOMAS, JULIET)
        it.move(10.0)
        rows = it.desk.queue()
        assert [(row["seq"], row["lane"], row["state"], row["attempts"], row["status"], row["reason"]) for row in rows] == [
            (1, "xmpp juliet@xmpp.example romeo@sip.example", "parked", 0, 0, "cannot be borne"),
            (2, "sip romeo@sip.example", "waiting", 1, 503, "Busy"),
            (4, "sip romeo@sip.example", "waiting", 0, 0, ""),
            (5, "sip tomas@sip.example", "sending", 0, 0, ""),
        ]
        assert rows[1]["due_in"] == pytest.approx(90.0, abs=0.2)
        assert all(300 < row["octets"] < 1000 for row in rows)  # type: ignore[operator]


def test_a_waiting_message_is_tried_now_with_what_waits_before_it(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        it.offer("one")
        it.answer(it.sip, BUSY)
        it.offer("two")
        assert it.desk.retry(3)
        assert it.sip.texts == ["one", "one"]
        it.answer_all(it.sip)
        assert it.sip.texts == ["one", "one", "two"]


def test_a_parked_message_is_tried_again_at_its_place(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        it.offer("one", ROMEO, JULIET)
        it.answer(it.xmpp, POISON)
        it.xmpp.up = False
        it.offer("two", ROMEO, JULIET)
        it.restart(up=False)
        assert it.desk.retry(1)
        it.move(0.1)
        assert shown(it) == [(1, "waiting"), (2, "waiting")]
        it.link_up(it.xmpp)
        assert it.xmpp.texts == ["one", "two"]
        it.answer_all(it.xmpp)
        assert (it.kept, it.relay.lanes.held) == (0, 0)


def test_a_message_that_is_dropped_is_gone_and_nobody_is_told(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        for text in ("sent", "waits", "stays"):
            it.offer(text)
        it.offer("parked", ROMEO, JULIET)
        it.answer(it.xmpp, POISON)
        assert [it.desk.drop(seq) for seq in (1, 2, 4, 2, 99)] == [False, True, True, False, False]
        it.move(0.1)
        assert it.kept == 2
        it.answer_all(it.sip)
        assert it.sip.texts == ["sent", "stays"]
        assert (it.kept, it.relay.lanes.held) == (0, 0)
        it.restart()
        assert (it.desk.queue(), it.sip.tries, it.xmpp.tries) == ([], [], [])


def test_nothing_is_retried_that_is_not_there(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        it.offer("sent")
        assert [it.desk.retry(seq) for seq in (1, 0, 99)] == [False, False, False]


def test_a_message_can_be_read_and_handed_in(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        envelope, answer = it.envelope("hello"), Answer()
        read: list[Sequence[tuple[int, bytes]] | None] = []
        it.desk.offer(envelope, answer)
        it.move(0.01)
        it.desk.load(1, read.append)
        it.move(0.01)
        assert answer.is_kept
        assert [(seq, Envelope.from_cpim(record)) for seq, record in read[0] or ()] == [(1, envelope)]
