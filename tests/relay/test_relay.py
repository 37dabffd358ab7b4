"""What becomes of a message between its acceptance and its end."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gateway.core.address import SipAddress
from gateway.core.outcome import DELIVERED, LOST, Outcome, Verdict
from tests.relay.scene import JULIET, MIRA, ROMEO, TOMAS, Side, scene

LATER = Outcome(Verdict.LATER, 480, "Not now")
UNKNOWN = Outcome(Verdict.UNKNOWN, 408, "No answer")
FAILED = Outcome(Verdict.FAILED, 404, "Nobody")
POISON = Outcome(Verdict.POISON, 0, "the peer cannot bear it")
WORDS = ["one", "two", "three", "four"]


# -- order -------------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("MSG-65", "REL-17")
def test_one_is_pending_for_each_sip_address_and_the_order_stays(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        for number, word in enumerate(WORDS):
            it.offer(word, sender=(JULIET, MIRA)[number % 2], at_once=False)
        it.move(0.01)
        for number in range(4):
            assert it.sip.texts == WORDS[: number + 1]
            assert len(it.sip.open) == 1
            it.answer(it.sip)
        assert it.kept == 0


def test_on_the_xmpp_side_many_are_on_their_way_in_order(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        for word in WORDS:
            it.offer(word, ROMEO, JULIET)
        assert it.xmpp.texts == WORDS
        assert len(it.xmpp.open) == 4


@pytest.mark.requirement("REL-16", "MSG-67")
def test_a_recipient_that_does_not_answer_holds_up_nobody_else(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        for word in WORDS:
            it.offer(word)
        assert it.offer("to tomas", to=TOMAS).is_kept
        assert it.sip.texts == ["one", "to tomas"]
        it.answer(it.sip, LATER)
        it.answer(it.sip)
        it.offer("to tomas again", to=TOMAS)
        assert it.sip.texts == ["one", "to tomas", "to tomas again"]


@pytest.mark.requirement("REL-17", "REL-10")
def test_a_try_that_failed_for_now_holds_the_lane_so_that_nothing_overtakes(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        for word in WORDS[:2]:
            it.offer(word)
        it.answer(it.sip, LATER)
        it.offer("three")
        it.move(4.9)
        assert it.sip.texts == ["one"]
        it.move(1.2)
        assert it.sip.texts == ["one", "one"]
        it.answer_all(it.sip)
        assert it.sip.texts == ["one", "one", "two", "three"]


@pytest.mark.requirement("REL-17", "REL-08")
def test_what_a_broken_link_has_not_confirmed_goes_again_in_order_with_the_same_identity(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        for word in WORDS[:3]:
            it.offer(word, ROMEO, JULIET)
        it.answer(it.xmpp)
        it.xmpp.up = False
        for which in (1, 0):
            it.answer(it.xmpp, LOST, which)
        it.offer("four", ROMEO, JULIET)
        it.move(60.0)
        assert it.xmpp.texts == WORDS[:3]
        it.link_up(it.xmpp)
        assert it.xmpp.texts == ["one", "two", "three", "two", "three", "four"]
        assert [one.number for one in it.xmpp.tries[1:3]] == [one.number for one in it.xmpp.tries[3:5]]
        assert [one.envelope.id for one in it.xmpp.tries[1:3]] == [one.envelope.id for one in it.xmpp.tries[3:5]]


def test_when_a_link_is_back_new_messages_come_before_retries_and_stop_when_it_is_full(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        it.offer("tried")
        it.answer(it.sip, LATER)
        it.sip.up = False
        it.move(10.0)
        it.offer("new", to=TOMAS)
        it.sip.takes_retries = False
        it.link_up(it.sip)
        assert it.sip.texts == ["tried", "new"]
        it.sip.takes_retries = True
        it.link_up(it.sip)
        assert it.sip.texts == ["tried", "new", "tried"]


# -- trying again ------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("REL-10", "REL-11")
def test_the_pauses_grow_and_are_not_the_same_for_all(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        it.offer("hello")
        it.offer("hello", to=TOMAS)
        pauses: list[float] = []
        for expected in (5, 10, 20, 40, 80, 160, 320, 600, 600):
            at = it.now
            it.answer(it.sip, LATER)
            it.answer(it.sip, LATER)
            it.move(expected - 0.02)
            assert it.sip.open == []
            it.move(expected * 0.2 + 0.04)
            assert len(it.sip.open) == 2
            pauses += [abs(it.sip.open[0].at - it.sip.open[1].at)]
            assert all(expected <= one.at - at <= expected * 1.2 + 0.02 for one in it.sip.open)
        assert max(pauses) > 0.1


@pytest.mark.requirement("MSG-49", "REL-11")
def test_retry_after_is_kept_to_and_holds_what_follows_too(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        it.offer("one")
        it.answer(it.sip, Outcome(Verdict.LATER, 503, "Busy", retry_after=90.0))
        it.offer("two")
        it.move(89.0)
        assert it.sip.texts == ["one"]
        it.move(1.5)
        assert it.sip.texts == ["one", "one"]


@pytest.mark.requirement("MSG-49")
def test_retry_after_in_a_final_refusal_holds_what_comes_next_for_the_same_recipient(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        it.offer("one")
        it.answer(it.sip, Outcome(Verdict.FAILED, 404, "Not Found", retry_after=90.0))
        it.offer("two")
        it.offer("for tomas", to=TOMAS)
        it.move(89.0)
        assert it.sip.texts == ["one", "for tomas"]
        it.move(1.5)
        assert it.sip.texts == ["one", "for tomas", "two"]
        it.answer_all(it.sip)
        it.move(10.0)
        assert [key for key in it.relay.lanes.by_key if key.startswith("sip ")] == []


def test_a_try_after_a_status_has_a_new_number_and_one_after_silence_the_same(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        it.offer("hello")
        for outcome in (LATER, UNKNOWN, LATER):
            it.answer(it.sip, outcome)
            it.move(60)
        numbers = [one.number for one in it.sip.tries]
        assert numbers[0] < numbers[1] == numbers[2] < numbers[3]
        assert [one.repeat for one in it.sip.tries] == [False, False, True, False]
        assert len({one.seq for one in it.sip.tries}) == 1


def test_one_lane_that_is_tried_by_hand_does_not_put_off_the_others(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        it.offer("one")
        it.answer(it.sip, LATER)
        it.move(3.0)
        it.offer("two", to=TOMAS)
        it.answer(it.sip, LATER)
        assert it.desk.retry(1)
        it.answer(it.sip, Outcome(Verdict.LATER, 503, "Busy", retry_after=3600.0))
        it.move(6.1)
        assert it.sip.texts == ["one", "two", "one", "two"]


# -- the end -----------------------------------------------------------------------------------------------------------
def test_a_final_failure_settles_and_the_lane_goes_on(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        for word in WORDS[:2]:
            it.offer(word)
        it.answer(it.sip, FAILED)
        assert it.sip.texts == ["one", "two"]
        assert it.xmpp.texts == ["report 404"]
        it.answer(it.sip)
        it.answer(it.xmpp)
        assert it.kept == 0
        it.restart()
        assert it.desk.queue() == []


@pytest.mark.requirement("REL-29", "MSG-53")
@pytest.mark.parametrize("head_is_read", [True, False])
def test_an_expired_message_is_not_delivered_and_its_sender_is_told_once(tmp_path: Path, head_is_read: bool) -> None:
    with scene(tmp_path) as it:
        it.sip.up = False
        it.offer("late", expires_in=60.0)
        it.offer("later", expires_in=600.0)
        if not head_is_read:
            it.restart(up=False)
            it.xmpp.up = True
        it.move(59.0)
        assert it.xmpp.texts == []
        it.move(6.0)
        assert it.xmpp.texts == ["report 480"]
        it.link_up(it.sip)
        assert it.sip.texts == ["later"]
        it.move(60.0)
        assert it.xmpp.texts == ["report 480"]


@pytest.mark.requirement("REL-29", "REL-10")
def test_at_the_end_of_its_time_the_last_answer_is_told(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        it.offer("hello", expires_in=60.0)
        for _ in range(4):
            it.answer_all(it.sip, Outcome(Verdict.LATER, 486, "Busy here"))
            it.move(20.0)
        assert it.xmpp.texts == ["report 486"]
        assert it.sip.open == []


def test_the_queue_has_an_age(tmp_path: Path) -> None:
    with scene(tmp_path, queue_age_hours=1.0) as it:
        it.sip.up = False
        it.offer("old", expires_in=7200.0, received_at=it.wall - 3500.0)
        it.move(90.0)
        assert it.xmpp.texts == []
        it.move(16.0)
        assert it.xmpp.texts == ["report 480"]


@pytest.mark.requirement("REL-18")
def test_a_poisonous_message_is_put_aside_and_the_rest_goes_on(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        for word in WORDS[:2]:
            it.offer(word, ROMEO, JULIET)
        it.answer(it.xmpp, POISON)
        it.answer(it.xmpp)
        assert it.sip.texts == []
        for _ in range(2):
            assert [(row["seq"], row["state"], row["reason"]) for row in it.desk.queue()] == [(1, "parked", "the peer cannot bear it")]
            it.restart()
            assert it.xmpp.tries == []
            assert it.kept == 1


@pytest.mark.requirement("REL-06", "REL-18")
def test_a_damaged_record_is_put_aside_and_the_rest_goes_on(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        it.sip.up = False
        for word in WORDS[:3]:
            it.offer(word)
        it.stop()
        with closing(sqlite3.connect(tmp_path / "outbox.db")) as file, file:
            file.execute("update message set record = x'ff00' where seq = 2")
        it.start()
        it.answer_all(it.sip)
        assert it.sip.texts == ["one", "three"]
        assert [(row["seq"], row["state"], row["reason"]) for row in it.desk.queue()] == [(2, "parked", "the stored record is damaged")]


def test_what_can_no_longer_be_said_after_a_restart_fails_and_the_rest_goes_on(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        it.sip.up = False
        for word in WORDS[:2]:
            it.offer(word)
        it.unsayable.add("one")
        it.restart()
        assert it.xmpp.texts == ["report 500"]
        assert it.sip.texts == ["two"]


# -- taking ------------------------------------------------------------------------------------------------------------
def test_what_cannot_be_said_on_the_other_side_is_refused_before_the_store(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        it.unsayable.add("smoke signals")
        answer = it.offer("smoke signals", at_once=False)
        assert answer.refusal == "type-unsupported"
        assert it.kept == 0


@pytest.mark.requirement("SEC-42")
def test_one_message_in_is_one_message_out(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        for number in range(20):
            sender, to = ((JULIET, ROMEO), (ROMEO, JULIET))[number % 2]
            answer = it.offer(f"{number}", sender, to, asked=frozenset({"positive-delivery", "display"}))
            assert answer.is_kept
        it.answer_all(it.sip)
        it.answer_all(it.xmpp)
        it.move(60.0)
        assert sorted(it.sip.texts + it.xmpp.texts, key=int) == [f"{number}" for number in range(20)]


class TestAtOnce:
    """A route with store = false: at once or not at all."""

    def test_is_refused_when_the_link_is_down(self, tmp_path: Path) -> None:
        with scene(tmp_path) as it:
            it.sip.once, it.sip.up = True, False
            assert it.offer("hello").refusal == "link-down"
            it.move(6.0)
            assert it.relay.lanes.by_key == {}
            it.sip.up = True
            assert it.offer("hello").is_kept
            it.answer(it.sip)
            assert it.kept == 0

    @pytest.mark.parametrize(("outcome", "told"), [(LATER, 480), (UNKNOWN, 408), (LOST, 480), (Outcome(Verdict.LATER, 503), 503)])
    def test_is_not_tried_again(self, tmp_path: Path, outcome: Outcome, told: int) -> None:
        with scene(tmp_path) as it:
            it.sip.once = True
            it.offer("hello")
            it.answer(it.sip, outcome)
            it.move(20.0)
            assert it.sip.texts == ["hello"]
            assert it.xmpp.texts == [f"report {told}"]


def test_while_it_holds_nothing_sets_out_and_what_flies_comes_to_its_end(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        for word in WORDS[:2]:
            it.offer(word)
        it.relay.hold()
        it.offer("three")
        assert it.relay.is_sending
        it.answer_all(it.sip)
        assert it.sip.texts == ["one"]
        assert not it.relay.is_busy
        assert it.relay.size[0] == 2


# -- again after a restart ---------------------------------------------------------------------------------------------
@pytest.mark.requirement("REL-17", "REL-01")
def test_a_restart_takes_up_every_lane_in_order(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        it.sip.up = it.xmpp.up = False
        for word in WORDS:
            it.offer(word)
            it.offer(word, ROMEO, JULIET)
            it.offer(f"{word} for tomas", to=TOMAS)
        it.restart()
        assert it.kept == 12
        it.answer_all(it.sip)
        it.answer_all(it.xmpp)
        assert it.xmpp.texts == WORDS
        assert [text for text in it.sip.texts if "tomas" not in text] == WORDS
        assert [text for text in it.sip.texts if "tomas" in text] == [f"{word} for tomas" for word in WORDS]
        assert it.kept == 0


def test_a_restart_goes_on_with_the_numbers_and_says_what_may_have_arrived(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        it.offer("one")
        it.answer(it.sip, LATER)
        it.offer("two")
        it.move(6.1)
        was = it.sip.tries[-1]
        it.restart()
        assert (it.sip.tries[0].text, it.sip.tries[0].number, it.sip.tries[0].repeat) == ("one", was.number, True)
        it.answer(it.sip)
        assert (it.sip.tries[1].text, it.sip.tries[1].repeat) == ("two", False)  # it has not been sent before
        it.offer("new", to=TOMAS)
        numbers = [one.number for one in it.sip.tries]
        assert len(set(numbers)) == len(numbers)
        assert it.sip.tries[-1].number > was.number


@pytest.mark.requirement("REL-10")
def test_a_restart_does_not_shorten_the_pause(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        it.offer("hello")
        it.answer(it.sip, Outcome(Verdict.LATER, 503, "Busy", retry_after=300.0))
        it.move(100.0)
        it.restart()
        assert it.sip.tries == []
        it.move(190.0)
        assert it.sip.tries == []
        it.move(15.0)
        assert it.sip.texts == ["hello"]


@pytest.mark.requirement("REL-20")
def test_a_clock_that_was_set_back_while_it_was_down_holds_nothing_for_longer_than_an_hour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with scene(tmp_path) as it:
        it.offer("hello", expires_in=1e7)
        it.answer(it.sip, LATER)
        it.stop()
        monkeypatch.setattr("tests.relay.scene.EPOCH", 1_770_000_000.0 - 86_400)
        it.start()
        assert it.sip.tries == []
        it.move(3605.0)
        assert it.sip.texts == ["hello"]


@pytest.mark.requirement("REL-01", "QOS-1D")
def test_what_was_on_its_way_goes_again_after_a_restart_with_the_same_id(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        it.offer("hello", ROMEO, JULIET)
        before = it.xmpp.tries[0]
        it.restart()
        again = it.xmpp.tries[0]
        assert (again.text, again.seq, again.envelope) == ("hello", before.seq, before.envelope)


def test_more_than_is_held_in_memory_is_read_when_it_is_due(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.relay.lanes._MOST_HELD", 5)
    monkeypatch.setattr("gateway.relay.dispatch._READ_AHEAD", 3)
    with scene(tmp_path) as it:
        words = [f"{number}" for number in range(30)]
        for word in words:
            it.offer(word, at_once=False)
        it.move(0.01)
        it.offer("to tomas", to=TOMAS)
        it.answer_all(it.sip)
        assert [text for text in it.sip.texts if text != "to tomas"] == words
        assert "to tomas" in it.sip.texts
        assert it.kept == 0
        assert it.relay.lanes.held == 0


@pytest.mark.requirement("REL-19")
@pytest.mark.parametrize("restart", [False, True])
def test_what_waits_for_a_link_is_not_all_held_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, restart: bool) -> None:
    monkeypatch.setattr("gateway.relay.lanes._MOST_HELD", 5)
    with scene(tmp_path) as it:
        it.sip.up = False
        people = [SipAddress(f"user{number}", "sip.example") for number in range(12)]
        for to in people:
            for word in WORDS:
                it.offer(f"{to.user} {word}", to=to, at_once=False)
        it.move(0.01)
        if restart:
            it.restart(up=False)
        it.move(1.0)
        assert it.relay.lanes.held <= 6
        it.link_up(it.sip)
        it.answer_all(it.sip)
        it.move(0.1)
        it.answer_all(it.sip)
        for to in people:
            assert [text for text in it.sip.texts if text.split()[0] == to.user] == [f"{to.user} {word}" for word in WORDS]
        assert (it.kept, it.relay.lanes.held) == (0, 0)


@pytest.mark.requirement("REL-04")
def test_a_lane_that_cannot_be_read_now_is_read_when_the_disk_is_well(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        it.sip.up = False
        it.offer("hello")
        it.stop()
        it.disk.mend()
        it.start(up=False)
        it.disk.release(failing=True)
        it.move(3.0)
        it.disk.mend()
        it.link_up(it.sip)
        it.move(1.1)
        assert it.sip.texts == ["hello"]


def test_lanes_are_forgotten_when_they_are_empty(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        for outcome in (DELIVERED, FAILED, POISON):
            it.offer("hello")
            it.answer(it.sip, outcome)
        it.answer_all(it.xmpp)
        it.move(6.0)
        assert it.relay.lanes.by_key == {}
        assert it.relay.counters == {"accepted": 4, "delivered": 2, "failed": 1, "retried": 0, "refused": 0, "parked": 1}


def test_every_fate_is_counted_once(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        it.unsayable.add("smoke signals")
        it.offer("smoke signals")
        it.offer("hello")
        it.answer(it.sip, LATER)
        it.move(6.0)
        it.answer(it.sip)
        it.disk.be_read_only()
        it.offer("lost")
        it.move(0.5)
        assert it.relay.counters == {"accepted": 1, "delivered": 1, "failed": 0, "retried": 1, "refused": 2, "parked": 0}


# -- what must not be lost by an error in our own work -------------------------------------------------------------------
def broken(*_: object, **__: object) -> Any:
    raise ValueError("a bug")


@pytest.mark.requirement("REL-18")
def test_a_report_that_cannot_be_made_lets_the_message_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with scene(tmp_path) as it:
        it.offer("one")
        it.offer("two")
        monkeypatch.setattr("gateway.relay.intake.told", broken)
        it.answer(it.sip, FAILED)
        assert it.sip.texts == ["one", "two"]
        it.answer(it.sip)
        assert it.kept == 0


@pytest.mark.requirement("REL-18", "REL-29")
def test_a_report_that_cannot_be_made_does_not_stop_the_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with scene(tmp_path) as it:
        it.sip.up = False
        it.offer("one", expires_in=2.0)
        it.offer("two", to=TOMAS, expires_in=20.0)
        with monkeypatch.context() as patch:
            patch.setattr("gateway.relay.intake.told", broken)
            it.move(10.0)
        assert it.kept == 1
        it.move(20.0)
        assert it.xmpp.texts == ["report 480"]


@pytest.mark.requirement("REL-18")
def test_a_message_that_the_carrier_cannot_bear_is_put_aside_and_the_lane_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with scene(tmp_path) as it:
        with monkeypatch.context() as patch:
            patch.setattr(it.sip, "send", broken)
            assert it.offer("one").is_kept
        it.offer("two")
        assert it.sip.texts == ["two"]
        assert [row["state"] for row in it.desk.queue()] == ["parked", "sending"]


@pytest.mark.requirement("REL-18")
def test_a_record_that_can_no_longer_be_translated_is_put_aside_and_the_lane_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with scene(tmp_path) as it:
        it.sip.up = False
        it.offer("one")
        it.offer("two")
        translate = Side.translate
        monkeypatch.setattr(Side, "translate", lambda side, what, number: broken() if number == 1 else translate(side, what, number))
        it.restart()
        assert it.sip.texts == ["two"]


@pytest.mark.requirement("REL-17")
def test_a_message_whose_lane_has_another_name_after_a_restart_ends_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with scene(tmp_path) as it:
        it.sip.up = False
        for word in WORDS[:3]:
            it.offer(word)
        translate = Side.translate
        monkeypatch.setattr(Side, "translate", lambda side, *about: translate(side, *about)._replace(lane="sip elsewhere"))
        it.restart()
        it.answer_all(it.sip)
        assert it.sip.texts == WORDS[:3]
        it.restart()
        assert it.kept == 0
        it.move(10.0)
        assert it.relay.lanes.by_key == {}


@pytest.mark.requirement("REL-10", "REL-16")
def test_nobody_is_held_for_more_than_an_hour_by_one_answer(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        it.offer("one")
        it.answer(it.sip, Outcome(Verdict.LATER, 486, "Busy", retry_after=4294967295.0))
        it.move(3601.0)
        assert it.sip.texts == ["one", "one"]
