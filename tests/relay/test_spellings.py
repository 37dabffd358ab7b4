"""How a SIP user spelled himself, so that a reply finds him again (ADDR-10)."""

from __future__ import annotations

import pytest

from gateway.core.address import SipAddress
from gateway.core.ports import Recollection
from gateway.relay import spellings
from gateway.relay.directory import Directory
from gateway.relay.spellings import KIND, Spellings
from tests.relay.scene import DIRECTORY, JULIET, MIRA, ROMEO

LOUD, LOUDER = SipAddress("Romeo", "sip.example"), SipAddress("ROMEO", "sip.example")
MONTH = 30 * 86_400.0


def fresh(directory: Directory = DIRECTORY) -> Spellings:
    return Spellings(directory, b"secret")


def told(it: Spellings, sender: SipAddress, recipient: object = JULIET) -> Recollection:
    """What is written down with a message of this sender, and is on disk then."""
    news = it.news(sender, recipient, 1000.0)  # type: ignore[arg-type]
    assert news is not None
    it.learn(news.key, news.facts)
    return news


@pytest.mark.requirement("ADDR-10")
def test_a_reply_is_spelled_as_the_last_message_was() -> None:
    it = fresh()
    assert it.spelling(ROMEO, JULIET) == "romeo"
    first = told(it, LOUD)
    assert (first.kind, first.facts, first.until) == (KIND, "Romeo", 1000.0 + MONTH)
    assert (it.spelling(ROMEO, JULIET), it.spelling(LOUDER, JULIET.with_resource("balcony"))) == ("Romeo", "Romeo")
    assert told(it, LOUDER).key == first.key
    assert it.spelling(ROMEO, JULIET) == "ROMEO"
    assert told(it, ROMEO).facts == "romeo"
    assert it.spelling(LOUD, JULIET) == "romeo"


@pytest.mark.requirement("ADDR-10")
def test_others_are_spelled_as_their_address_is() -> None:
    it = fresh()
    told(it, LOUD)
    assert it.spelling(ROMEO, MIRA) == "romeo"
    assert it.spelling(LOUDER, MIRA) == "ROMEO"
    assert it.spelling(SipAddress("Tomas", "sip.example"), JULIET) == "Tomas"


def test_only_what_is_new_is_written_down() -> None:
    it = fresh()
    assert it.news(ROMEO, JULIET, 0.0) is None
    told(it, LOUD)
    assert it.news(LOUD, JULIET, 0.0) is None
    assert it.news(ROMEO, MIRA, 0.0) is None
    assert it.news(LOUD, MIRA, 0.0) is not None


def test_what_an_earlier_run_wrote_down_is_known_and_the_newest_counts() -> None:
    first, second = told(fresh(), LOUD), told(fresh(), LOUDER)
    it = fresh()
    it.load([(first.key, first.facts), (second.key, second.facts)])
    assert it.spelling(ROMEO, JULIET) == "ROMEO"


def test_over_the_bound_the_one_learned_first_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spellings, "_MOST", 2)
    it = fresh()
    told(it, LOUD)
    it.learn(1, "A")
    told(it, LOUDER)
    it.learn(2, "B")
    assert it.spelling(ROMEO, JULIET) == "ROMEO"
    it.learn(3, "C")
    assert it.spelling(ROMEO, JULIET) == "romeo"


@pytest.mark.requirement("RCS-06")
def test_who_cannot_be_written_to_is_not_spelled() -> None:
    assert fresh().news(SipAddress.anonymous("sip.example"), JULIET, 0.0) is None
