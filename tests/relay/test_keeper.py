"""What is offered is kept or refused, once, in time, and never both."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.core.outcome import Outcome, Verdict
from gateway.core.ports import Recollection
from gateway.relay import keeper
from tests.relay.scene import JULIET, ROMEO, TOMAS, Scene, scene

LATER = Outcome(Verdict.LATER, 480, "Not now")


def kept_on_disk(it: Scene) -> list[int]:
    """What a restart finds."""
    it.restart(up=False)
    return [row["seq"] for row in it.desk.queue()]  # type: ignore[misc]


@pytest.mark.requirement("MSG-12")
def test_nothing_is_answered_or_sent_before_the_commit_is_done(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        it.disk.hold()
        hello = it.offer("hello")
        assert hello.said == []
        assert it.sip.tries == []
        it.disk.release()
        it.move(0.01)
        assert hello.is_kept
        assert it.sip.texts == ["hello"]


def test_what_gathers_while_a_commit_runs_is_one_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with scene(tmp_path) as it:
        groups: list[int] = []
        commit = it.store.commit

        def counted(acceptances, *others):  # type: ignore[no-untyped-def]
            groups.append(len(acceptances))
            commit(acceptances, *others)

        monkeypatch.setattr(it.store, "commit", counted)
        it.disk.hold()
        answers = [it.offer("first")]
        answers += [it.offer(f"{number}", at_once=False) for number in range(100)]
        it.move(0.5)
        assert groups == [1]
        it.disk.release()
        it.move(0.01)
        assert groups[:2] == [1, 100]
        assert all(answer.is_kept for answer in answers)


@pytest.mark.requirement("REL-03", "REL-04")
@pytest.mark.parametrize("trouble", ["be_read_only", "be_full"])
def test_when_a_commit_fails_all_of_its_group_are_refused_and_none_is_kept(tmp_path: Path, trouble: str) -> None:
    with scene(tmp_path) as it:
        it.sip.up = False
        before = it.offer("before")
        getattr(it.disk, trouble)()
        group = [it.offer("x" * 9000, at_once=False) for _ in range(20)]
        it.move(0.6)
        assert before.is_kept
        assert [answer.refusal for answer in group] == ["store-broken"] * 20
        assert it.kept == 1
        assert it.sip.tries == []
        it.disk.mend()
        after = it.offer("after")
        it.move(0.5)
        assert after.is_kept
        assert len(kept_on_disk(it)) == it.kept == 2


@pytest.mark.requirement("REL-04")
def test_it_works_again_by_itself_soon_after_the_disk_does(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        it.disk.be_read_only()
        for _ in range(20):
            assert it.offer("no", at_once=False).said == []
            it.move(0.5)
        it.disk.mend()
        it.move(0.5)
        answer = it.offer("yes")
        it.move(0.5)
        assert answer.is_kept
        assert it.sip.texts == ["yes"]


def test_what_was_delivered_while_the_disk_was_broken_is_settled_later(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        it.offer("one")
        it.offer("two", to=TOMAS)
        it.disk.be_read_only()
        it.answer(it.sip)
        it.answer(it.sip, LATER)
        it.move(2.0)
        assert it.relay.is_busy
        it.disk.mend()
        it.move(1.0)
        assert not it.relay.is_committing
        assert kept_on_disk(it) == [2]


@pytest.mark.requirement("MSG-10")
def test_what_no_commit_has_taken_for_3_seconds_is_refused_and_never_kept(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        it.disk.hold()
        running, waiting = it.offer("in the commit"), it.offer("waits for the next")
        it.move(2.97)
        assert (running.said, waiting.said) == ([], [])
        it.move(0.05)
        assert waiting.refusal == "store-timeout"
        it.move(60.0)
        assert running.said == []
        it.disk.release()
        it.move(1.0)
        assert running.is_kept
        assert waiting.refusal == "store-timeout"
        assert it.sip.texts == ["in the commit"]
        assert kept_on_disk(it) == [1]


def test_each_is_withdrawn_after_its_own_3_seconds(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        it.disk.hold()
        it.offer("in the commit")
        early = it.offer("early")
        it.move(0.9)
        late = it.offer("late")
        it.move(2.1)
        assert (early.refusal, late.said) == ("store-timeout", [])
        it.disk.release()
        it.move(0.1)
        assert late.is_kept


def test_a_group_that_fails_after_a_long_wait_is_refused_once(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        it.disk.hold()
        running = it.offer("in the commit")
        it.move(10.0)
        it.disk.release(failing=True)
        it.move(0.1)
        assert running.refusal == "store-broken"
        assert it.kept == 0
        it.disk.mend()
        it.move(1.0)
        assert running.refusal == "store-broken"
        assert it.sip.tries == []
        assert kept_on_disk(it) == []


@pytest.mark.requirement("REL-24")
def test_a_batch_that_has_waited_for_a_second_refuses_more_before_storing(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        it.disk.hold()
        it.offer("in the commit")
        it.offer("waits")
        it.move(0.9)
        assert it.offer("in time").said == []
        it.move(0.15)
        assert it.offer("too much").refusal == "overloaded"
        it.disk.release()
        it.move(0.1)
        assert it.offer("again").is_kept


@pytest.mark.requirement("MSG-67", "REL-24")
def test_the_bounds_count_what_is_about_to_be_kept(tmp_path: Path) -> None:
    with scene(tmp_path, queue_messages=3) as it:
        it.sip.up = False
        answers = [it.offer(f"{number}", at_once=False) for number in range(5)]
        assert [answer.refusal for answer in answers] == ["", "", "", "queue-full", "queue-full"]
        it.move(0.01)
        assert [answer.is_kept for answer in answers] == [True, True, True, False, False]
        it.link_up(it.sip)
        it.answer(it.sip)
        assert it.offer("room again").is_kept


@pytest.mark.requirement("MSG-67")
def test_the_octets_of_the_queue_are_bounded(tmp_path: Path) -> None:
    with scene(tmp_path, queue_octets=30_000) as it:
        it.sip.up = False
        answers = [it.offer("x" * 9000) for _ in range(5)]
        assert [answer.refusal for answer in answers] == ["", "", "", "", "queue-full"]
        assert 36_000 < it.relay.size[1] < 40_000
        it.link_up(it.sip)
        it.answer_all(it.sip)
        assert it.relay.size == (0, 0)


@pytest.mark.requirement("MSG-67")
def test_one_recipient_may_have_so_many_waiting_and_no_more(tmp_path: Path) -> None:
    with scene(tmp_path, per_recipient=5) as it:
        it.sip.up = False
        assert all(it.offer(f"{number}", at_once=False).said == [] for number in range(5))
        assert it.offer("sixth", at_once=False).refusal == "queue-full-recipient"
        assert it.offer("another", to=TOMAS).is_kept
        assert it.offer("other way", ROMEO, JULIET).is_kept
        assert it.offer("still").refusal == "queue-full-recipient"
        it.link_up(it.sip)
        it.answer_all(it.sip)
        assert it.offer("room again").is_kept
        assert it.sip.texts.count("sixth") == 0


# -- what is remembered beside all messages -------------------------------------------------------------------------------
def memory(facts: str, key: int = 7, until: float = 1e10) -> Recollection:
    return Recollection("peer", key, until, facts)


def test_of_what_is_remembered_the_newest_is_there_after_a_restart(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        for facts in ("one", "two"):
            it.relay.remember(memory(facts))
        assert it.relay.is_committing
        it.move(0.01)
        assert not it.relay.is_committing
        it.relay.remember(memory("past", 8, until=1.0))
        it.move(0.01)
        it.restart()
        assert it.store.remembered("peer") == [(7, "two")]


def test_what_comes_while_a_commit_runs_is_in_the_next_one(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        it.sip.up = False
        it.disk.hold()
        it.offer("hello")
        it.relay.remember(memory("one"))
        it.disk.release()
        it.move(0.01)
        assert not it.relay.is_committing
        it.restart()
        assert it.store.remembered("peer") == [(7, "one")]


def test_what_is_remembered_outlives_a_disk_that_fails_and_the_oldest_of_too_many_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "_MOST_MEMORIES", 3)
    with scene(tmp_path) as it:
        it.disk.be_read_only()
        it.relay.remember(memory("0"))
        it.move(0.1)
        for number in range(1, 5):
            it.relay.remember(memory(str(number), key=number))
        it.move(0.6)
        it.disk.mend()
        it.move(1.0)
        assert not it.relay.is_committing
        it.restart()
        assert [facts for _, facts in it.store.remembered("peer")] == ["2", "3", "4"]
