"""A message that its carrier has sent on to another place: its numbers, its lane, and what a crash leaves of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.core.outcome import DELIVERED, Outcome, Verdict
from gateway.relay import lanes
from tests.relay.scene import Scene, Try, scene

LATER = Outcome(Verdict.LATER, 480, "Not now")
UNKNOWN = Outcome(Verdict.UNKNOWN, 408, "No answer")
MERGED = Outcome(Verdict.MERGED, 482)
FAILED = Outcome(Verdict.FAILED, 404, "Nobody")


def move_on(it: Scene, to: str) -> Try:
    """Say that the oldest open try is to go elsewhere; returns it. The disk may be slow."""
    one = it.sip.open.pop(0)
    one.delivery.moved(one.delivery.parcel._replace(gate=f"gate of {to}", wire=to))
    it.move(0.02)
    return one


@pytest.mark.requirement("SIP-103", "REL-01")
def test_nothing_is_sent_before_the_new_number_is_kept(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        it.offer("one")
        it.offer("two")
        it.disk.hold()
        first = move_on(it, "second place")
        it.move(3.0)
        assert it.sip.texts == ["one"]
        assert it.relay.is_sending
        it.disk.release()
        it.move(0.1)
        assert it.sip.texts == ["one", "second place"]  # and the next message waits
        second = it.sip.tries[-1]
        assert second.number > first.number
        assert (second.seq, second.repeat) == (first.seq, False)
        it.answer(it.sip)
        assert it.sip.texts == ["one", "second place", "two"]
        assert it.sip.tries[-1].number < second.number  # each in its own conversation rises: these are two
        it.answer(it.sip)
        assert it.kept == 0


@pytest.mark.requirement("SIP-103", "REL-05")
def test_a_disk_that_fails_holds_it_until_it_works_again(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        it.offer("one")
        it.disk.be_read_only()
        move_on(it, "second place")
        it.move(2.0)
        assert it.sip.texts == ["one"]
        it.disk.mend()
        it.move(1.0)
        assert it.sip.texts == ["one", "second place"]


@pytest.mark.requirement("REL-01", "SIP-103")
@pytest.mark.parametrize("kept", [True, False])
def test_after_a_crash_it_starts_again_at_the_first_place_and_no_number_comes_twice(tmp_path: Path, kept: bool) -> None:
    with scene(tmp_path) as it:
        it.offer("one")
        if kept:
            move_on(it, "second place")
            assert it.sip.texts == ["one", "second place"]
        else:
            one = it.sip.open.pop(0)
            one.delivery.moved(one.delivery.parcel._replace(wire="second place"))
        before = [one.number for one in it.sip.tries]
        it.restart()
        (again,) = it.sip.tries
        assert (again.text, again.repeat) == ("one", True)
        # The last number that was kept: of the second place, which may have it, or of the first, whose answer nobody wrote down.
        assert again.number == before[-1]
        move_on(it, "second place")
        assert it.sip.texts == ["one", "second place"]
        assert it.sip.tries[-1].number > max(before)
        it.answer(it.sip)
        it.restart()
        assert it.kept == 0


@pytest.mark.requirement("SIP-106", "SIP-108")
@pytest.mark.parametrize("most_held", [2000, 0])
def test_after_silence_the_same_request_goes_to_the_same_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most_held: int) -> None:
    """However much is held in memory, this stays there: the store does not know the place."""
    monkeypatch.setattr(lanes, "_MOST_HELD", most_held)
    with scene(tmp_path) as it:
        it.offer("one")
        it.move(0.1)
        move_on(it, "second place")
        silent = it.answer(it.sip, UNKNOWN)
        it.move(7.0)
        again = it.sip.tries[-1]
        assert (again.text, again.number, again.repeat) == ("second place", silent.number, True)


@pytest.mark.requirement("SIP-103", "REL-11")
def test_after_a_temporary_failure_it_starts_again_at_the_first_place(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        it.offer("one")
        move_on(it, "second place")
        move_on(it, "third place")
        there = it.answer(it.sip, LATER)
        it.move(7.0)
        again = it.sip.tries[-1]
        assert again.text == "one"
        assert again.number > there.number
        assert again.delivery.parcel.gate == "gate"
        it.answer(it.sip)
        assert it.kept == 0


@pytest.mark.requirement("ERR-15")
def test_what_the_last_place_says_is_told(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        it.offer("one")
        move_on(it, "second place")
        it.answer(it.sip, FAILED)
        assert it.xmpp.texts == ["report 404"]
        it.answer(it.xmpp, DELIVERED)
        assert it.kept == 0


def test_what_must_be_delivered_at_once_goes_on_as_well_and_fails_at_once(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        it.sip.once = True
        it.offer("one")
        move_on(it, "second place")
        assert it.sip.texts == ["one", "second place"]
        it.answer(it.sip, LATER)
        assert it.xmpp.texts == ["report 480"]


@pytest.mark.requirement("QOS-15")
def test_what_must_be_delivered_at_once_does_not_wait_for_a_place_that_has_closed(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        it.sip.once, it.sip.closed = True, {"gate of second place"}
        it.offer("one")
        move_on(it, "second place")
        assert it.sip.texts == ["one"]
        assert it.xmpp.texts == ["report 480"]


@pytest.mark.requirement("SIP-103", "REL-16")
def test_a_place_that_has_closed_meanwhile_holds_nobody(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        it.sip.closed = {"gate of second place"}
        it.offer("one")
        it.offer("two")
        first = move_on(it, "second place")
        assert it.sip.texts == ["one"]
        it.move(7.0)
        assert it.sip.texts == ["one", "one"]  # from the first place again, which is open
        assert it.sip.tries[-1].number > first.number
        it.answer(it.sip)
        assert it.sip.texts == ["one", "one", "two"]


@pytest.mark.requirement("SIP-106", "REL-01")
def test_a_copy_that_an_earlier_run_may_have_sent_is_no_proof(tmp_path: Path) -> None:
    """The first place may have sent it on when we were killed: that it remembers the number says nothing about the second."""
    with scene(tmp_path) as it:
        it.offer("one")
        one = it.sip.open.pop(0)
        one.delivery.moved(one.delivery.parcel._replace(wire="second place"))
        it.restart()
        it.answer(it.sip, MERGED)
        assert it.kept == 1
        it.move(7.0)
        again = it.sip.tries[-1]
        assert (again.text, again.repeat) == ("one", False)
        assert again.number > one.number
        it.answer(it.sip)
        assert it.kept == 0


@pytest.mark.requirement("SIP-106")
def test_a_copy_of_this_run_is_proof(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        it.offer("one")
        it.answer(it.sip, UNKNOWN)
        it.move(7.0)
        it.answer(it.sip, MERGED)
        assert it.kept == 0
        assert it.xmpp.texts == []


def test_while_the_gateway_ends_nothing_sets_out_to_another_place(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        it.offer("one")
        it.relay.hold()
        move_on(it, "second place")
        assert it.sip.texts == ["one"]
        assert not it.relay.is_busy
        it.restart()
        assert it.sip.texts == ["one"]


# -- another form ---------------------------------------------------------------------------------------------------------
def rewrite(it: Scene, text: str) -> Try:
    """Say that the oldest open try is to be sent in another form; returns it."""
    one = it.sip.open.pop(0)
    one.delivery.rewritten(one.delivery.parcel._replace(wire=text))
    it.move(0.02)
    return one


@pytest.mark.requirement("ICPIM-34", "SIP-104")
def test_another_form_waits_for_its_number_and_stays_for_later_tries(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        it.offer("one")
        it.offer("two")
        it.disk.hold()
        with capture_logs() as logs:
            first = rewrite(it, "one, plainly")
        it.move(3.0)
        assert it.sip.texts == ["one"]
        it.disk.release()
        it.move(0.1)
        assert it.sip.texts == ["one", "one, plainly"]
        assert [log["event"] for log in logs] == ["rewritten"]
        second = it.sip.tries[-1]
        assert second.number > first.number
        it.answer(it.sip, LATER)
        it.move(7.0)
        assert it.sip.texts == ["one", "one, plainly", "one, plainly"]
        assert it.sip.tries[-1].number > second.number
        it.answer_all(it.sip)
        assert it.sip.texts[3:] == ["two"]
        assert it.kept == 0
        assert it.xmpp.texts == []


def test_a_place_that_is_redirected_to_may_take_another_form(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        it.offer("one")
        move_on(it, "second place")
        rewrite(it, "second place, plainly")
        assert it.sip.texts == ["one", "second place", "second place, plainly"]
        assert it.sip.tries[-1].delivery.parcel.gate == "gate of second place"
        it.answer(it.sip, LATER)
        it.move(7.0)
        assert it.sip.texts[3:] == ["one"]
