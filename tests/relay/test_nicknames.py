"""Whom a SIP user has told his name already: it crosses with his first message to somebody, and when it has changed (IMSG-14)."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.core.address import SipAddress
from gateway.core.outcome import Outcome, Verdict
from gateway.relay import nicknames
from tests.relay.scene import JULIET, MIRA, ROMEO, Scene, scene

LATER = Outcome(Verdict.LATER, 480, "Not now")


def names(it: Scene) -> list[str]:
    """The names that went out, in order."""
    return [one.envelope.sender_name for one in it.xmpp.tries]


def say(it: Scene, name: str, sender: SipAddress = ROMEO, to: object = JULIET) -> None:
    assert it.offer("hi", sender, to, sender_name=name).is_kept  # type: ignore[arg-type]


@pytest.mark.requirement("IMSG-14")
def test_a_name_is_said_once_to_each(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        for to in (JULIET, JULIET, MIRA, JULIET):
            say(it, "Romeo M.", to=to)
        say(it, "Romeo M.", SipAddress("tomas", "sip.example"))
        say(it, "Romeo M.", SipAddress("ROMEO", "sip.example"))
        assert names(it) == ["Romeo M.", "", "Romeo M.", "", "Romeo M.", ""]


@pytest.mark.requirement("IMSG-14")
def test_a_name_that_has_changed_is_said_again(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        for name in ("Romeo", "R.", "", "R.", "Romeo"):
            say(it, name)
        assert names(it) == ["Romeo", "R.", "", "", "Romeo"]


def test_a_name_that_was_not_kept_was_not_said(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        it.disk.be_read_only()
        assert it.offer("hi", ROMEO, JULIET, sender_name="Romeo").refusal == "store-broken"
        it.disk.mend()
        it.move(1.0)
        say(it, "Romeo")
        assert names(it) == ["Romeo"]


def test_every_try_of_a_message_has_its_name(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        say(it, "Romeo")
        it.answer(it.xmpp, LATER)
        it.restart()
        it.move(10.0)
        assert names(it) == ["Romeo"]
        it.answer_all(it.xmpp)
        # A restart has forgotten whom it was told.
        say(it, "Romeo")
        say(it, "Romeo")
        assert names(it)[1:] == ["Romeo", ""]


def test_names_from_the_xmpp_side_are_said_as_often_as_clients_say_them(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        for _ in range(2):
            assert it.offer("hi", JULIET, ROMEO, sender_name="Juliet C.").is_kept
            it.answer_all(it.sip)
        assert [one.envelope.sender_name for one in it.sip.tries] == ["Juliet C.", "Juliet C."]


@pytest.mark.requirement("SEC-35")
def test_memory_is_bounded_and_the_oldest_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nicknames, "_MOST", 100)
    it = nicknames.Nicknames()
    with scene(tmp_path) as maker:
        told = [maker.envelope("hi", SipAddress(f"u{number}", "sip.example"), JULIET, sender_name="x") for number in range(1000)]
    for each in told:
        it.learn(each)
    assert [bool(it.news(each).sender_name) for each in told] == [True] * 900 + [False] * 100
