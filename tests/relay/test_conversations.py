"""Which conversation an answer to an RCS user belongs to (RCS-02, RCS-03)."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest

from gateway.core.envelope import Conversation
from gateway.core.outcome import Outcome, Verdict
from gateway.relay import conversations
from gateway.relay.conversations import KIND
from tests.relay.scene import JULIET, MIRA, ROMEO, TOMAS, Scene, scene

SAID = Conversation("k1", "c1", "c0")
LATER = Outcome(Verdict.LATER, 480, "Not now")


def says(it: Scene, said: Conversation | None = SAID, sender: object = ROMEO, **fields: str) -> None:
    """A message of somebody on the SIP side to juliet."""
    assert it.offer("hi", sender, JULIET, conversation=said, **fields).is_kept  # type: ignore[arg-type]


def answer(it: Scene, sender: object = JULIET, to: object = ROMEO, thread: str = "") -> Conversation | None:
    """What is said with a message to somebody on the SIP side, who has taken it."""
    assert it.offer("ho", sender, to, thread=thread).is_kept  # type: ignore[arg-type]
    said = it.sip.tries[-1].envelope.conversation
    it.answer(it.sip)
    return said


@pytest.mark.requirement("RCS-02")
def test_an_answer_is_of_the_same_conversation_and_names_what_it_answers(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        says(it)
        first, second = answer(it), answer(it, thread="k1")
        assert first
        assert second
        assert (first.id, first.in_reply_to, second.id, second.in_reply_to) == ("k1", "c1", "k1", "c1")
        assert {UUID(each.contribution).version for each in (first, second)} == {4}
        assert first.contribution != second.contribution
        says(it, Conversation("k2", "c2"))
        third = answer(it)
        assert third
        assert (third.id, third.in_reply_to) == ("k2", "c2")


@pytest.mark.requirement("RCS-03")
def test_another_thread_is_another_conversation_and_none_is_a_new_one(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        says(it)
        other, new = answer(it, thread="of juliet"), answer(it, MIRA)
        assert other
        assert new
        assert (other.id, other.in_reply_to, new.in_reply_to) == ("of juliet", "", "")
        assert UUID(new.id).version == 4


def test_who_has_said_nothing_of_conversations_is_told_nothing(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        says(it)
        assert answer(it, to=TOMAS) is None
        says(it, None, TOMAS)
        assert answer(it, to=TOMAS) is None


@pytest.mark.requirement("RCS-02")
def test_the_last_message_of_a_pair_counts(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        says(it)
        says(it, None)
        begun = answer(it)
        assert begun
        assert begun.in_reply_to == ""
        assert begun.id != "k1"


def test_what_no_longer_counts_does_not_count_after_a_restart_either(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        for number in range(5):
            says(it, Conversation("k1", f"c{number}"))
        says(it, None)
        assert len(it.store.remembered(KIND)) == 1
        it.restart()
        it.relay.conversations.load(it.store.remembered(KIND))
        begun = answer(it)
        assert begun
        assert begun.in_reply_to == ""
        assert begun.id != "k1"


def test_a_contribution_alone_is_answered_without_a_conversation(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        says(it, Conversation("", "c1"))
        said = answer(it, thread="the Call-ID")
        assert said
        assert (said.id, said.in_reply_to) == ("", "c1")


@pytest.mark.requirement("RCS-02")
def test_each_try_says_the_same_and_a_restart_forgets_nothing(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        says(it)
        assert it.offer("ho").is_kept
        first = it.sip.tries[-1].envelope.conversation
        it.answer(it.sip, LATER)
        it.restart()
        it.relay.conversations.load(it.store.remembered(KIND))
        it.move(10.0)
        assert it.sip.tries[-1].envelope.conversation == first
        it.answer(it.sip)
        again = answer(it)
        assert again
        assert (again.id, again.in_reply_to) == ("k1", "c1")


def test_over_the_bound_the_one_learned_first_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversations, "_MOST", 1)
    with scene(tmp_path) as it:
        says(it)
        says(it, sender=TOMAS)
        assert answer(it) is None
        assert answer(it, to=TOMAS) is not None


@pytest.mark.requirement("RCS-02")
def test_what_the_gateway_says_itself_belongs_to_no_conversation(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        says(it)
        it.answer(it.xmpp, Outcome(Verdict.FAILED, 404, "Nobody"))
        assert [one.envelope.conversation for one in it.sip.tries] == [None]
