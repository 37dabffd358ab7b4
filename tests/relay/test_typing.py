"""Who is typing: the rules of time of RFC 3994 in virtual time, and that nothing of it is ever kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.core.address import Address, SipAddress
from gateway.core.canonical import text_message, typing_message, typing_of
from gateway.core.composing import compose_composing
from gateway.core.envelope import Envelope
from gateway.core.jid import Jid
from gateway.core.outcome import Outcome, Verdict
from gateway.relay import typing as typing_module
from gateway.relay.typing import Typing
from tests.relay.scene import JULIET, MIRA, ROMEO, TOMAS, scene

FAILED = Outcome(Verdict.FAILED, 415, "Unsupported Media Type")
LATER = Outcome(Verdict.LATER, 503, "Busy")
XML = '<isComposing xmlns="urn:ietf:params:xml:ns:im-iscomposing"><state>{}</state>{}</isComposing>'


class Talk:
    """One Typing between people, at a time that the test moves. Each call returns what goes on: "active", "idle" or nothing."""

    def __init__(self) -> None:
        self.typing, self.now, self._serial = Typing(), 1000.0, 0
        self.taken_down: list[str] = []

    def envelope(self, sender: Address, recipient: Address, message: Any, **fields: Any) -> Envelope:
        self._serial += 1
        return Envelope(f"t{self._serial}", "t", sender, recipient, message, 1_770_000_000.0, "test", **fields)

    def says(self, state: str, sender: Address = ROMEO, to: Address = JULIET, refresh: int = 0) -> str:
        document = XML.format(state, f"<refresh>{refresh}</refresh>" if refresh else "").encode()
        message = typing_message(sender, to, 1_770_000_000.0, document)
        notice = self.envelope(sender, to, message, volatile=True)
        found = self.typing.notice(notice, self.now)
        others = [each for each in found if each is not notice]
        assert [state_of(each) for each in others] == ["idle"] * len(others)
        self.taken_down += [str(each.sender) for each in others]
        return state_of(notice) if notice in found else ""

    def writes(self, sender: Address = ROMEO, to: Address = JULIET) -> None:
        self.typing.content(self.envelope(sender, to, text_message(sender, to, "hello", 1_770_000_000.0)), self.now)

    def after(self, seconds: float) -> list[str]:
        """What goes on by itself while this time passes, each with when it did."""
        end, found = self.now + seconds, []
        while (due := self.typing.next_deadline()) is not None and due <= end:
            self.now = max(self.now, due)
            found += [f"{state_of(each)} {each.sender} {self.now - end + seconds:g}" for each in self.typing.on_deadline(self.now)]
        self.now = end
        return found


def state_of(envelope: Envelope | None) -> str:
    return "" if envelope is None else "active" if typing_of(envelope.message).is_active else "idle"


def replying() -> Talk:
    """romeo has just written to juliet, so she may say that she types."""
    it = Talk()
    it.writes()
    return it


def acquainted() -> Talk:
    """juliet has just written to romeo and tomas, and mira to romeo, so these may be shown to them as typing."""
    it = Talk()
    for who, to in ((JULIET, ROMEO), (JULIET, TOMAS), (MIRA, ROMEO)):
        it.writes(who, to)
    return it


# -- SIP to XMPP -------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("ISC-02", "XEP-15")
def test_a_sip_user_goes_idle_when_he_says_so() -> None:
    it = acquainted()
    assert [it.says("active"), it.says("idle"), it.says("idle")] == ["active", "idle", ""]
    assert it.after(1000) == []


@pytest.mark.requirement("ISC-02", "XEP-15")
def test_a_sip_user_goes_idle_with_his_message_and_without_a_word() -> None:
    it = acquainted()
    assert it.says("active") == "active"
    it.writes()
    assert (it.says("idle"), it.after(1000)) == ("", [])
    it.writes(JULIET, ROMEO)
    assert it.says("active") == "active"


@pytest.mark.requirement("ISC-02", "XEP-15")
@pytest.mark.parametrize(("refresh", "seconds"), [(0, 120), (60, 60), (90, 90), (5, 5), (86_400, 600)])
def test_a_sip_user_goes_idle_when_his_refresh_runs_out(refresh: int, seconds: int) -> None:
    it = acquainted()
    assert it.says("active", refresh=refresh) == "active"
    assert it.after(seconds - 0.001) == []
    assert it.after(0.001) == [f"idle {ROMEO} 0.001"]
    assert (it.says("idle"), it.after(1000)) == ("", [])
    it.writes(JULIET, ROMEO)
    assert it.says("active") == "active"


@pytest.mark.requirement("ISC-03")
@pytest.mark.parametrize("spacing", [0.0, 0.5, 59.0, 89.0])
def test_five_actives_are_one_composing_and_each_starts_the_time_anew(spacing: float) -> None:
    it = acquainted()
    assert it.says("active", refresh=90) == "active"
    for _ in range(4):
        assert it.after(spacing) == []
        assert it.says("active", refresh=90) == ""
    assert it.after(89.9) == []
    assert it.after(10) == [f"idle {ROMEO} 0.1"]


@pytest.mark.requirement("ISC-03")
def test_the_last_active_says_how_long_it_holds() -> None:
    it = acquainted()
    assert (it.says("active", refresh=500), it.says("active", refresh=10)) == ("active", "")
    assert it.after(1000) == [f"idle {ROMEO} 10"]


@pytest.mark.requirement("ISC-01")
def test_an_unknown_state_is_idle() -> None:
    it = acquainted()
    assert (it.says("recording"), it.says("active"), it.says("recording")) == ("", "active", "idle")


def test_each_pair_has_a_time_of_its_own_and_a_sip_user_is_one_person_however_he_is_spelled() -> None:
    it = acquainted()
    for sender, to, refresh in ((ROMEO, JULIET, 90), (ROMEO, MIRA, 70), (TOMAS, JULIET, 80)):
        assert it.says("active", sender, to, refresh) == "active"
    assert it.says("active", SipAddress(ROMEO.user.upper(), ROMEO.domain), JULIET, 90) == ""
    assert it.after(1000) == [f"idle {ROMEO} 70", f"idle {TOMAS} 80", f"idle {ROMEO} 90"]


def test_what_runs_out_is_taken_back_under_a_name_of_its_own() -> None:
    it = acquainted()
    message = typing_message(ROMEO, JULIET, 0.0, compose_composing(is_active=True))
    notice = it.envelope(ROMEO, JULIET, message, sender_device="d", volatile=True)
    it.typing.notice(notice, 0.0)
    [over] = it.typing.on_deadline(90.0)
    assert (over.sender, over.recipient, over.sender_device, over.volatile) == (ROMEO, JULIET, "d", True)
    assert over.id != notice.id


@pytest.mark.requirement("ISC-09")
@pytest.mark.parametrize("who", [(ROMEO, JULIET), (JULIET, ROMEO)])
def test_typing_is_shown_of_people_alone_who_have_just_written_to_each_other(who: tuple[Address, Address]) -> None:
    it = Talk()
    assert (it.says("active"), it.says("idle"), it.after(1000)) == ("", "", [])
    it.writes(*who)
    assert [it.says("active", *pair) for pair in ((TOMAS, JULIET), (ROMEO, MIRA), (ROMEO, JULIET))] == ["", "", "active"]
    it.after(600.0 - 120.0)
    assert [it.says(state) for state in ("idle", "active", "idle")] == ["", "active", "idle"]
    assert it.after(121.0) == []
    assert it.says("active") == ""


@pytest.mark.requirement("ISC-09", "ISC-03")
def test_who_flaps_is_shown_as_typing_at_most_once_in_five_seconds_and_in_the_end_as_he_is() -> None:
    it, seen = acquainted(), []
    for tick in range(120):
        seen += [(tick / 10, state) for state in (it.says("active"), it.says("idle"), it.says("active")) if state]
        seen += [(tick / 10, each.split()[0]) for each in it.after(0.1)]
    assert [at for at, state in seen if state == "active"] == pytest.approx([0.0, 4.9, 9.9])
    assert [state for _, state in seen] == ["active", "idle"] * 2 + ["active", "idle"]
    assert [each.split()[0] for each in it.after(4.0)] == ["active"]
    assert it.says("idle") == "idle"
    assert it.after(1000) == []
    assert (it.typing._shown, it.typing._shown_to) == ({}, {})


def test_what_was_begun_and_ended_within_five_seconds_is_not_shown_and_nor_is_what_has_run_out() -> None:
    it = acquainted()
    assert [it.says(state) for state in ("active", "idle", "active", "idle", "active", "idle")] == ["active", "idle", "", "", "", ""]
    assert it.after(100) == []
    assert [it.says("active"), it.says("idle"), it.says("active", refresh=2)] == ["active", "idle", ""]
    assert it.after(100) == []
    assert it.says("active") == "active"


@pytest.mark.requirement("ISC-09")
def test_an_xmpp_user_is_shown_32_at_once_and_a_new_one_in_place_of_who_is_shown_for_the_shortest_time() -> None:
    it = Talk()
    people = [SipAddress(f"user{number}", "sip.example") for number in range(40)]
    for number, each in enumerate(people):
        it.writes(each, JULIET)
        assert it.says("active", each, JULIET, 600 - number) == "active"
    assert it.taken_down == [str(people[number]) for number in range(31, 39)]
    it.writes(ROMEO, MIRA)
    assert (it.says("active", ROMEO, MIRA), len(it.taken_down)) == ("active", 8)
    assert sorted(each.split()[1] for each in it.after(1000)) == sorted(str(each) for each in (*people[:31], people[39], ROMEO))


# -- XMPP to SIP -------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("ISC-06", "ISC-09")
def test_only_a_reply_is_said_to_be_typed() -> None:
    it = Talk()
    assert it.says("active", JULIET, ROMEO) == ""
    it.writes(ROMEO, MIRA)
    it.writes(TOMAS, JULIET)
    it.writes(JULIET, ROMEO)
    assert it.says("active", JULIET, ROMEO) == ""
    assert it.says("active", ROMEO, JULIET) == "active"
    assert it.says("active", JULIET, ROMEO) == ""
    it.writes(ROMEO, JULIET)
    assert it.says("active", JULIET, ROMEO) == "active"


@pytest.mark.requirement("ISC-06")
@pytest.mark.parametrize(("seconds", "said"), [(600.0, "active"), (600.1, "")])
def test_a_message_can_be_replied_to_for_ten_minutes(seconds: float, said: str) -> None:
    it = replying()
    it.after(seconds)
    assert it.says("active", JULIET, ROMEO) == said


@pytest.mark.requirement("ISC-04", "XEP-15")
def test_a_client_that_flaps_is_told_on_at_most_once_a_minute() -> None:
    it, told = replying(), []
    for tick in range(250):
        told += [(tick, state) for state in (it.says("active", JULIET, ROMEO), it.says("idle", JULIET, ROMEO)) if state]
        it.after(1.0)
    assert told == [(at, state) for at in (0, 60, 120, 180, 240) for state in ("active", "idle")]


@pytest.mark.requirement("ISC-04")
def test_an_active_is_repeated_when_the_client_repeats_it_before_it_has_run_out() -> None:
    it, told = replying(), []
    for tick in range(0, 180, 10):
        told += [tick] if it.says("active", JULIET, ROMEO) else []
        it.after(10.0)
    assert told == [0, 60, 120]


@pytest.mark.requirement("ISC-04")
def test_a_message_ends_it_without_an_idle() -> None:
    it = replying()
    assert it.says("active", JULIET, ROMEO) == "active"
    it.writes(JULIET, ROMEO)
    assert it.says("idle", JULIET, ROMEO) == ""


@pytest.mark.requirement("ISC-08")
def test_idle_is_said_once_and_only_of_what_was_said_and_still_holds() -> None:
    it = replying()
    assert it.says("idle", JULIET, ROMEO) == ""
    assert [it.says(state, JULIET, ROMEO) for state in ("active", "idle", "idle", "active", "idle")] == ["active", "idle", "", "", ""]
    it.after(60.0)
    assert it.says("active", JULIET, ROMEO) == "active"
    it.after(89.9)
    assert it.says("idle", JULIET, ROMEO) == "idle"
    it.after(60.0)
    assert it.says("active", JULIET, ROMEO) == "active"
    it.after(90.0)
    assert it.says("idle", JULIET, ROMEO) == ""


@pytest.mark.requirement("ISC-09")
def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(typing_module, "_MOST_TYPING", 4)
    monkeypatch.setattr(typing_module, "_MOST_HEARD", 6)
    it = Talk()
    people = [Jid(f"user{number}", "xmpp.example") for number in range(9)]
    for number, each in enumerate(people):
        it.writes(each, ROMEO)
        assert it.says("active", ROMEO, each, 100 + number) == "active"
    assert len(it.taken_down) == 5
    for _ in range(100):
        assert it.says("active", ROMEO, people[8]) == ""
        it.after(0.01)
    assert len(it.typing._due) <= 17
    assert [each.split()[0] for each in it.after(1000)] == ["idle"] * 4
    for each in people:
        it.writes(ROMEO, each)
    assert [it.says("active", each, ROMEO) for each in people] == [""] * 3 + ["active"] * 4 + [""] * 2
    it.after(90.0)
    assert [it.says("active", each, ROMEO) for each in people] == [""] * 3 + ["active"] * 4 + [""] * 2


# -- in the relay ------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("ISC-09")
def test_a_notice_is_answered_at_once_and_never_kept(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        it.offer("met")
        it.answer_all(it.sip)
        answer = it.types(ROMEO, JULIET, at_once=False)
        assert (answer.is_kept, it.kept) == (True, 0)
        it.move(0.01)
        assert it.xmpp.texts == ["typing"]
        it.answer(it.xmpp, FAILED)
        assert (it.sip.texts, it.relay.counters["failed"]) == (["met"], 0)
        it.restart()
        it.move(600.0)
        assert (it.xmpp.texts, it.sip.texts) == ([], [])


@pytest.mark.requirement("ISC-02", "ISC-03")
def test_the_relay_says_idle_on_time_by_one_timer(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        it.offer("met")
        it.offer("met", to=TOMAS)
        it.types(ROMEO, JULIET)
        it.move(60.0)
        it.types(ROMEO, JULIET)
        it.types(TOMAS, JULIET)
        it.answer_all(it.xmpp)
        it.move(89.0)
        assert it.xmpp.texts == ["typing", "typing"]
        it.move(2.0)
        it.answer_all(it.xmpp)
        assert it.xmpp.texts == ["typing", "typing", "idle", "idle"]
        it.move(600.0)
        assert len(it.xmpp.tries) == 4


@pytest.mark.requirement("MSG-69", "ISC-09")
def test_typing_never_goes_before_what_is_kept_and_the_newest_wins(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        it.offer("heard", ROMEO, JULIET)
        it.offer("heard", ROMEO, MIRA)
        it.offer("one", sender=MIRA)
        it.types()
        it.types(active=False)
        it.offer("two", sender=MIRA)
        assert it.sip.texts == ["one"]
        it.answer_all(it.sip)
        assert it.sip.texts == ["one", "two", "idle"]


@pytest.mark.requirement("MSG-69")
def test_one_request_is_pending_for_a_sip_user_typing_included(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        it.offer("heard", ROMEO, JULIET)
        it.types()
        it.offer("hello", sender=MIRA)
        assert (it.sip.texts, len(it.sip.open)) == (["typing"], 1)
        it.answer(it.sip)
        assert it.sip.texts == ["typing", "hello"]


@pytest.mark.requirement("MSG-69", "ISC-02")
def test_a_message_overtakes_and_ends_the_typing_that_waits(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        it.offer("heard", ROMEO, JULIET)
        it.offer("one")
        it.types()
        it.offer("two")
        it.answer_all(it.sip)
        assert it.sip.texts == ["one", "two"]


@pytest.mark.requirement("ISC-09")
def test_typing_is_dropped_while_the_link_is_down_or_the_lane_waits(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        it.offer("heard", ROMEO, JULIET)
        it.offer("heard", ROMEO, MIRA)
        it.offer("heard", TOMAS, JULIET)
        it.offer("one")
        it.offer("two")
        it.types(MIRA)
        it.answer(it.sip, LATER)
        it.types(JULIET, TOMAS)
        it.sip.up = False
        it.move(70.0)
        it.types(MIRA)
        it.types(JULIET)
        it.link_up(it.sip)
        it.answer_all(it.sip)
        assert it.sip.texts == ["one", "typing", "one", "two"]
        it.answer_all(it.xmpp)
        it.move(600.0)
        assert it.relay.lanes.by_key == {}


@pytest.mark.requirement("ISC-09", "MSG-69")
def test_typing_does_not_outlive_what_makes_its_lane_wait(tmp_path: Path) -> None:
    for number, waits in enumerate(("later", "down", "later already")):
        folder = tmp_path / str(number)
        folder.mkdir()
        with scene(folder) as it:
            it.offer("heard", ROMEO, MIRA)
            it.offer("one")
            it.offer("two")
            if waits != "later already":
                it.types(MIRA)
            it.sip.up = waits != "down"
            it.answer(it.sip, *(() if waits == "down" else (LATER,)))
            if waits == "later already":
                it.types(MIRA)
            it.move(7.0)
            it.link_up(it.sip)
            it.answer_all(it.sip)
            assert [text for text in it.sip.texts if text == "typing"] == []
            assert it.sip.texts[-1] == "two"


def test_a_recipient_who_has_asked_to_wait_is_left_alone(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        it.offer("heard", ROMEO, JULIET)
        it.offer("one")
        it.types()
        it.answer(it.sip, Outcome(Verdict.FAILED, 404, "Not Found", retry_after=90.0))
        assert it.sip.texts == ["one"]


@pytest.mark.requirement("MSG-23")
def test_what_the_other_side_cannot_be_told_is_dropped_and_not_taken_for_said(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        it.offer("heard", ROMEO, JULIET)
        it.answer_all(it.xmpp)
        it.unsayable.add("typing")
        assert it.types().is_kept
        assert it.types(active=False).is_kept
        it.unsayable.clear()
        it.types()
        assert it.sip.texts == ["typing"]
        it.answer_all(it.sip)
        assert (len(it.xmpp.tries), it.relay.counters["refused"]) == (1, 0)


def test_a_defect_in_a_carrier_does_not_block_the_lane(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with scene(tmp_path) as it:
        it.offer("heard", ROMEO, JULIET)
        with monkeypatch.context() as patch:
            patch.setattr(it.sip, "send", lambda _delivery: 1 // 0)
            it.types()
        it.offer("hello")
        it.answer_all(it.sip)
        assert it.sip.texts == ["hello"]
