"""A message that takes a while before it has its place on the wire (an upload) holds back whoever sent it, and nobody else (promise 2)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.core.outcome import LOST, Outcome, Verdict
from tests.relay.scene import JULIET, MIRA, ROMEO, TOMAS, Scene, Side, scene

LATER = Outcome(Verdict.LATER, 503, "The upload service does not answer")
FAILED = Outcome(Verdict.FAILED, 413, "Too large")


@pytest.fixture
def it(tmp_path: Path) -> Iterator[Scene]:
    """one, picture, two and three are for juliet; one and picture are on their way."""
    with scene(tmp_path) as it:
        it.xmpp.slow.add("picture")
        for word in ("one", "picture", "two", "three"):
            it.offer(word, ROMEO, JULIET)
        yield it


def test_what_is_before_it_goes_and_what_is_behind_it_waits(it: Scene) -> None:
    assert it.xmpp.texts == ["one", "picture"]
    it.offer("to mira", ROMEO, MIRA)
    assert it.xmpp.texts == ["one", "picture", "to mira"]
    it.answer(it.xmpp)
    assert it.xmpp.texts == ["one", "picture", "to mira"]
    it.answer(it.xmpp)
    assert it.xmpp.texts == ["one", "picture", "to mira", "two", "three"]


@pytest.mark.requirement("REL-16", "REL-17")
def test_nobody_else_waits_behind_it(it: Scene) -> None:
    """Neither while it is on its way nor while it waits for another try, nor where its sender has filled his own lane."""
    it.offer("of tomas", TOMAS, JULIET)
    it.answer(it.xmpp, LATER, 1)
    it.answer_all(it.xmpp)
    assert it.xmpp.texts == ["one", "picture", "of tomas"]
    it.offer("of tomas again", TOMAS, JULIET)
    assert it.xmpp.texts[3:] == ["of tomas again"]
    it.move(900.0)
    it.answer_all(it.xmpp)
    assert it.xmpp.texts[4:] == ["picture", "two", "three"]


def test_who_fills_his_own_lane_shuts_nobody_else_out(tmp_path: Path) -> None:
    with scene(tmp_path, per_recipient=2) as it:
        it.xmpp.slow.add("picture")
        offers = [it.offer(word, ROMEO, JULIET) for word in ("picture", "two", "three", "four")]
        assert [offer.refusal for offer in offers] == ["", "", "", "queue-full-recipient"]
        assert it.offer("of tomas", TOMAS, JULIET).is_kept
        assert it.xmpp.texts == ["picture", "of tomas"]


@pytest.mark.requirement("REL-17")
def test_what_an_earlier_version_left_in_one_lane_goes_to_those_of_its_senders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    translate = Side.translate
    old: dict[str, Any] = {"lane": "xmpp juliet@xmpp.example sip.example"}
    monkeypatch.setattr(
        Side, "translate", lambda side, *about: (found := translate(side, *about))._replace(slow=found.wire == "picture", **old)
    )
    with scene(tmp_path) as it:
        it.xmpp.up = False
        for word, sender in (("picture", ROMEO), ("of tomas", TOMAS), ("two", ROMEO)):
            it.offer(word, sender, JULIET)
        old.clear()
        it.restart()
        it.answer(it.xmpp, LATER)
        it.answer_all(it.xmpp)
        assert it.xmpp.texts == ["picture", "of tomas"]
        it.move(900.0)
        it.answer_all(it.xmpp)
        assert it.xmpp.texts == ["picture", "of tomas", "picture", "two"]


def test_when_it_fails_the_others_go_on(it: Scene) -> None:
    it.answer(it.xmpp, FAILED, 1)
    assert it.xmpp.texts == ["one", "picture", "two", "three"]
    assert it.sip.texts == ["report 413"]


@pytest.mark.requirement("REL-08")
def test_a_lost_link_brings_all_of_them_again_in_order(it: Scene) -> None:
    it.xmpp.up = False
    it.answer(it.xmpp, LOST)
    it.answer(it.xmpp, LOST)
    it.link_up(it.xmpp)
    it.answer_all(it.xmpp)
    assert it.xmpp.texts == ["one", "picture", "one", "picture", "two", "three"]


def test_a_carrier_that_breaks_on_it_does_not_leave_the_lane_closed(it: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    it.answer_all(it.xmpp)
    monkeypatch.setattr(it.xmpp, "send", None)
    it.offer("picture", ROMEO, JULIET)
    monkeypatch.undo()
    it.offer("four", ROMEO, JULIET)
    assert it.xmpp.texts[-1] == "four"


def test_a_restart_begins_it_again_and_keeps_the_order(it: Scene) -> None:
    it.stop()
    it.start(up=False)
    it.xmpp.slow.add("picture")
    it.link_up(it.xmpp)
    assert it.xmpp.texts == ["one", "picture"]
    it.answer_all(it.xmpp)
    assert it.xmpp.texts == ["one", "picture", "two", "three"]
