"""A message that takes a while before it has its place on the wire (an upload) holds its own lane, and no other (promise 2)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.core.outcome import LOST, Outcome, Verdict
from tests.relay.scene import JULIET, MIRA, ROMEO, Scene, scene

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


@pytest.mark.requirement("REL-17")
def test_a_later_one_does_not_pass_it_when_it_has_to_wait(it: Scene) -> None:
    it.answer(it.xmpp, LATER, 1)
    it.answer(it.xmpp)
    it.move(4.9)
    assert it.xmpp.texts == ["one", "picture"]
    it.move(1.2)
    assert it.xmpp.texts == ["one", "picture", "picture"]
    it.answer_all(it.xmpp)
    assert it.xmpp.texts == ["one", "picture", "picture", "two", "three"]


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
