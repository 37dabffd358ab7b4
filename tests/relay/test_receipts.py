"""Who is told what he asked to be told, how often, and for how long that can be (RFC 5438, XEP-0184, XEP-0333)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.core.address import Address
from gateway.core.envelope import RequestOrigin, StanzaOrigin
from gateway.core.errors import Refusal
from gateway.core.imdn import WISHES, Asked, Disposition
from gateway.core.outcome import DELIVERED as TOOK_IT
from gateway.core.outcome import LOST, Outcome, Verdict
from gateway.core.ports import Notice, Trace
from gateway.store.sqlite import SqliteStore
from tests.relay.scene import JULIET, MIRA, ROMEO, TOMAS, Answer, Scene, Side, scene, trace_of

DELIVERED, DISPLAYED, PROCESSED, STORED = Disposition.DELIVERED, Disposition.DISPLAYED, Disposition.PROCESSED, Disposition.STORED
FAILED = Outcome(Verdict.FAILED, 404, "Nobody of this name")
TOOK_200 = Outcome(Verdict.DELIVERED, 200)
DAY = 86_400.0


def asking(*wanted: str, sender: Address = ROMEO) -> dict[str, Any]:
    """The fields of a message that asks for this; for everything when nothing is said."""
    wishes = frozenset(wanted) or WISHES
    if sender is JULIET:
        return {"asked": wishes}
    asked = Asked(wishes, "M1", "2026-02-03T09:17:00-05:00", "im:romeo@sip.example", "im:juliet@xmpp.example")
    return {"asked": wishes, "origin": RequestOrigin("sip:juliet@xmpp.example", "c1", "1 MESSAGE", asked)}


def sent(it: Scene, *wanted: str, sender: Address = ROMEO) -> Trace:
    """A message that asks, taken by the other side; how news of it names it."""
    to, side = (JULIET, it.xmpp) if sender is ROMEO else (ROMEO, it.sip)
    it.offer("hello", sender, to, **asking(*wanted, sender=sender))
    return trace_of(it.answer(side).envelope)


def tell(it: Scene, trace: Trace, *news: Disposition | Outcome) -> None:
    for each in news:
        it.relay.told((Notice(trace, each),))
    it.move(0.1)


def told(it: Scene, side: Side) -> list[str]:
    """What was said to that side so far, all of it delivered."""
    it.answer_all(side)
    return side.texts


@pytest.mark.requirement("NOTE-01", "IMDN-17")
@pytest.mark.parametrize("sender", [ROMEO, JULIET])
def test_who_asked_is_told(tmp_path: Path, sender: Address) -> None:
    with scene(tmp_path) as it:
        trace = sent(it, sender=sender)
        back = it.sip if sender is ROMEO else it.xmpp
        before = len(told(it, back))
        tell(it, trace, DELIVERED)
        tell(it, trace, DISPLAYED)
        assert told(it, back)[before:] == ["delivered", "displayed"]
        about = back.tries[-1].envelope.about
        assert isinstance(about, RequestOrigin if sender is ROMEO else StanzaOrigin)


@pytest.mark.requirement("NOTE-06", "IMDN-05", "MSG-27")
def test_of_each_kind_one_whoever_says_it_how_often(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        trace = sent(it, "positive-delivery", "display", "negative-delivery")
        tell(it, trace, DELIVERED, DELIVERED, DISPLAYED, FAILED, DISPLAYED, DELIVERED)
        it.restart()
        tell(it, trace, DELIVERED, DISPLAYED, FAILED)
        assert told(it, it.sip) == ["delivered", "displayed"]


@pytest.mark.requirement("IMDN-05", "NOTE-09")
def test_after_a_failure_no_delivery_is_told(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        trace = sent(it)
        tell(it, trace, FAILED, DELIVERED)
        assert told(it, it.sip)[1:] == ["report 404"]
        it.offer("again", ROMEO, JULIET, **asking())
        failed = trace_of(it.answer(it.xmpp, FAILED).envelope)
        tell(it, failed, DELIVERED)
        it.answer_all(it.sip)
        it.restart()
        tell(it, failed, DELIVERED, DISPLAYED)
        assert told(it, it.sip) == ["displayed"]


@pytest.mark.requirement("IMDN-03", "NOTE-05")
@pytest.mark.parametrize(("wanted", "found"), [("positive-delivery", ["delivered"]), ("display", ["displayed"]), ("negative-delivery", [])])
def test_nobody_is_told_what_he_did_not_ask_for(tmp_path: Path, wanted: str, found: list[str]) -> None:
    with scene(tmp_path) as it:
        tell(it, sent(it, wanted), DELIVERED, DISPLAYED, PROCESSED)
        assert told(it, it.sip) == found


@pytest.mark.requirement("IMDN-03", "IMDN-04")
def test_about_a_message_that_asks_for_nothing_and_about_a_notification_nothing_is_told(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        it.offer("hello", ROMEO, JULIET)
        tell(it, trace_of(it.answer(it.xmpp).envelope), DELIVERED, DISPLAYED)
        assert it.sip.texts == []
        tell(it, sent(it), DELIVERED)
        it.answer_all(it.sip)
        notification = it.sip.tries[-1].envelope
        assert (notification.asked, notification.origin) == (frozenset(), None)
        tell(it, trace_of(notification), DELIVERED, FAILED)
        assert [it.sip.texts[1:], len(it.xmpp.texts)] == [["delivered"], 2]


@pytest.mark.requirement("IMDN-31")
@pytest.mark.parametrize(("days", "found"), [(6.9, ["delivered"]), (7.1, [])])
def test_what_was_asked_is_known_for_seven_days_and_over_restarts(tmp_path: Path, days: float, found: list[str]) -> None:
    with scene(tmp_path) as it:
        trace = sent(it, "positive-delivery")
        it.restart()
        it.restart(after=days * DAY)
        tell(it, trace, DELIVERED)
        assert told(it, it.sip) == found


@pytest.mark.requirement("IMDN-11", "SEC-43")
def test_news_counts_only_if_it_names_a_message_and_both_ends_of_it(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        name, ours, theirs = sent(it, "positive-delivery")
        for trace in ((f"{name}x", ours, theirs), (name, str(TOMAS), theirs), (name, ours, str(MIRA)), ("", "", "")):
            tell(it, trace, DELIVERED)
        assert it.sip.texts == []
        tell(it, (name, ours, theirs), DELIVERED)
        assert it.sip.texts == ["delivered"]


@pytest.mark.requirement("NOTE-08")
def test_a_marker_means_up_to_here_and_an_older_one_says_nothing_new(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        traces = []
        for _ in range(3):
            traces.append(sent(it, "display"))
            it.move(1.0)
        tell(it, traces[1], DISPLAYED)
        tell(it, traces[0], DISPLAYED)
        tell(it, traces[2], DISPLAYED)
        assert told(it, it.sip) == ["displayed", "displayed"]


@pytest.mark.requirement("IMDN-18", "IMDN-06")
def test_that_it_is_on_its_way_is_told_once_stored_or_processed(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        sent(it, "processing")
        assert told(it, it.sip) == ["processed"]
        it.xmpp.up = False
        it.offer("later", ROMEO, JULIET, **asking("processing"))
        assert told(it, it.sip) == ["processed", "stored"]
        it.link_up(it.xmpp)
        it.answer(it.xmpp)
        assert told(it, it.sip) == ["processed", "stored"]


@pytest.mark.requirement("NOTE-05", "MSG-44")
@pytest.mark.parametrize(("outcome", "found"), [(TOOK_200, ["delivered"]), (TOOK_IT, [])])
def test_a_2xx_is_no_receipt_but_where_the_route_vouches_for_it(tmp_path: Path, outcome: Outcome, found: list[str]) -> None:
    with scene(tmp_path) as it:
        it.offer("hello", **asking("positive-delivery", sender=JULIET))
        it.answer(it.sip, outcome)
        assert told(it, it.xmpp) == found


# -- kept, like any message --------------------------------------------------------------------------------------------
@pytest.mark.requirement("IMDN-31", "REL-09")
def test_a_notification_survives_a_crash_and_is_tried_again(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        trace = sent(it, "positive-delivery")
        it.sip.up = False
        tell(it, trace, DELIVERED)
        assert it.kept == 1
        it.restart()
        it.answer(it.sip, LOST)
        it.answer_all(it.sip)
        assert it.sip.texts == ["delivered", "delivered"]
        assert it.kept == 0


def test_its_own_failure_is_told_to_nobody(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        tell(it, sent(it, "positive-delivery"), DELIVERED)
        it.answer(it.sip, FAILED)
        assert (it.kept, it.sip.texts, len(it.xmpp.texts)) == (0, ["delivered"], 1)


@pytest.mark.requirement("IMDN-13")
def test_a_request_that_brings_news_is_answered_when_it_is_kept_or_says_nothing(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        trace = sent(it, sender=JULIET)
        before = len(told(it, it.xmpp))
        for notices in (
            [Notice(trace, DELIVERED), Notice(("unknown", "a", "b"), DELIVERED), Notice(trace, DISPLAYED)],
            [Notice(trace, DELIVERED)],
            [],
        ):
            answer = Answer()
            it.relay.told(notices, answer)
            it.move(0.1)
            assert answer.is_kept
        assert told(it, it.xmpp)[before:] == ["delivered", "displayed"]


@pytest.mark.requirement("REL-04")
def test_news_that_cannot_be_kept_is_refused_and_may_come_again(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        trace = sent(it, "positive-delivery", sender=JULIET)
        answer, again = Answer(), Answer()
        it.disk.be_read_only()
        it.relay.told([Notice(trace, DELIVERED)], answer)
        it.move(5.0)
        assert answer.refusal == "store-broken"
        it.disk.mend()
        it.relay.told([Notice(trace, DELIVERED)], again)
        it.move(5.0)
        assert again.is_kept
        assert told(it, it.xmpp) == ["delivered"]


def test_too_much_news_at_once_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with scene(tmp_path) as it:
        monkeypatch.setattr("gateway.relay.reports._MOST_PENDING", 2)
        answers: list[Refusal | None] = []
        for trace in [sent(it, "positive-delivery") for _ in range(3)]:
            it.relay.told([Notice(trace, DELIVERED)], answers.append)
        it.move(0.1)
        assert [each.key if each else "" for each in answers] == ["overloaded", "", ""]


# -- one message, several names ----------------------------------------------------------------------------------------
def with_two_names(it: Scene, **fields: Any) -> tuple[Trace, Trace]:
    """A message of juliet that the SIP side has taken, and the names that it has there."""
    it.sip.more_names = True
    it.offer("hello", **fields)
    first, second = it.answer(it.sip).names
    return first, second


@pytest.mark.requirement("IMDN-05", "FRAG-43")
def test_what_is_told_of_a_message_by_one_name_is_told_by_all(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        first, second = with_two_names(it, **asking("positive-delivery", "negative-delivery", sender=JULIET))
        tell(it, second, FAILED, FAILED)
        tell(it, first, FAILED, DELIVERED)
        it.restart()
        tell(it, second, FAILED)
        assert told(it, it.xmpp) == ["report 404"]


@pytest.mark.requirement("FRAG-43", "MSG-22")
@pytest.mark.parametrize("asks", [True, False])
def test_what_was_refused_at_once_is_not_reported_as_well(tmp_path: Path, asks: bool) -> None:
    with scene(tmp_path) as it:
        it.sip.more_names = asks
        it.offer("hello", **(asking("negative-delivery", sender=JULIET) if asks else {}))
        for name in it.answer(it.sip, FAILED).names:
            tell(it, name, FAILED)
        assert told(it, it.xmpp) == ["report 404"]


# -- floods ------------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("SEC-43", "REL-24")
def test_news_of_what_never_was_does_not_reach_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with scene(tmp_path) as it:
        asked: list[int] = []
        recall = SqliteStore.recall

        def counted(store: SqliteStore, key: int, row: int, now: float) -> str:
            asked.append(key)
            return recall(store, key, row, now)

        monkeypatch.setattr(SqliteStore, "recall", counted)
        trace = sent(it, "positive-delivery")
        tell(it, ("never", "a@b", "c@d"), *[DELIVERED] * 100)
        assert asked == []
        tell(it, trace, DELIVERED)
        assert len(asked) == 1
        it.answer_all(it.sip)
        it.restart()
        tell(it, trace, DISPLAYED)
        assert it.sip.texts == []


@pytest.mark.requirement("NOTE-09", "MSG-22")
def test_a_failure_is_told_however_many_receipts_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with scene(tmp_path) as it:
        monkeypatch.setattr("gateway.relay.reports._MOST_PENDING", 2)
        traces = [sent(it, "positive-delivery") for _ in range(4)]
        for trace in traces[:3]:
            it.relay.told((Notice(trace, DELIVERED),))
        it.relay.told((Notice(traces[3], FAILED),))
        it.move(0.1)
        assert sorted(told(it, it.sip)) == ["delivered", "delivered", "report 404"]


def test_the_store_is_asked_little_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with scene(tmp_path) as it:
        monkeypatch.setattr("gateway.relay.reports._MOST_ASKED", 2)
        for trace in [sent(it, "positive-delivery") for _ in range(7)]:
            it.relay.told((Notice(trace, DELIVERED),))
        it.move(0.1)
        assert told(it, it.sip) == ["delivered"] * 7
