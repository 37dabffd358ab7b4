"""Who is told of a failure, how often, and what is said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core import sipfrag
from gateway.core.address import SipAddress
from gateway.core.canonical import text_message
from gateway.core.envelope import Envelope, RequestOrigin, StanzaOrigin
from gateway.core.imdn import WISHES, Asked
from gateway.core.outcome import LOST, Outcome, Verdict
from gateway.core.ports import Notice
from gateway.relay import report
from gateway.relay.report import Facts
from tests.relay.scene import JULIET, ROMEO, Scene, Try, scene, trace_of

NOW = 1_770_000_000.0
FAILED = Outcome(Verdict.FAILED, 404, "Nobody of this name")
KEYS = (1, 2)
FROM_SIP = Envelope(
    id="m1",
    trace_id="t1",
    sender=ROMEO,
    recipient=JULIET,
    message=text_message(ROMEO, JULIET, "wherefore", NOW),
    received_at=NOW,
    peer="udp:192.0.2.7",
    sender_device="orchard",
    recipient_device="balcony",
    thread="c1",
    origin=RequestOrigin("sip:juliet@xmpp.example", "c1@192.0.2.7", "7 MESSAGE"),
)
FROM_XMPP = Envelope(
    id="m2",
    trace_id="t2",
    sender=JULIET,
    recipient=ROMEO,
    message=text_message(JULIET, ROMEO, "wherefore", NOW),
    received_at=NOW,
    peer="xmpp:sip.example",
    sender_device="balcony",
    origin=StanzaOrigin("m2", "chat", "juliet@xmpp.example/balcony", "romeo@sip.example"),
)


def told(envelope: Envelope, outcome: Outcome = FAILED) -> Envelope:
    found = report.failure(envelope, outcome, "new", NOW + 5)
    assert found
    return found


# -- what is said ------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("MSG-22", "FRAG-41")
def test_a_report_goes_back_to_the_sender_and_names_his_request() -> None:
    found = told(FROM_SIP)
    assert (found.sender, found.recipient, found.recipient_device) == (JULIET, ROMEO, "orchard")
    assert (found.id, found.trace_id, found.received_at, found.origin, found.about) == ("new", "new", NOW + 5, None, FROM_SIP.origin)
    fragment = sipfrag.parse(found.message.entity.content)
    assert (fragment.status, fragment.reason) == (404, "Nobody of this name")
    assert fragment.headers == (
        ("To", "<sip:juliet@xmpp.example>"),
        ("Call-ID", "c1@192.0.2.7"),
        ("CSeq", "7 MESSAGE"),
        ("Date", "Mon, 02 Feb 2026 02:40:05 GMT"),
    )
    assert b"wherefore" not in found.to_cpim()


def test_to_the_xmpp_side_a_report_carries_the_origin_for_the_error_stanza() -> None:
    found = told(FROM_XMPP, Outcome(Verdict.FAILED, 302, "Moved", 3.9, "sip:romeo@mantua.example"))
    assert (found.sender, found.recipient, found.recipient_device, found.about) == (ROMEO, JULIET, "balcony", FROM_XMPP.origin)
    assert sipfrag.parse(found.message.entity.content).headers == (("Contact", "<sip:romeo@mantua.example>"), ("Retry-After", "3"))


@pytest.mark.requirement("MSG-23")
def test_nobody_is_told_about_a_report_or_a_typing_notice() -> None:
    for envelope in (told(FROM_SIP), told(FROM_XMPP), replace(FROM_SIP, volatile=True)):
        assert report.failure(envelope, FAILED, "new", NOW) is None


@settings(deadline=None)
@given(st.sampled_from([FROM_SIP, FROM_XMPP]), st.integers(300, 699), st.text(max_size=60), st.none() | st.floats(0, 1e9))
def test_whatever_the_far_side_says_a_report_can_be_kept_and_read_back(
    envelope: Envelope, status: int, reason: str, retry_after: float | None
) -> None:
    found = told(envelope, Outcome(Verdict.FAILED, status, reason, retry_after))
    assert Envelope.from_cpim(found.to_cpim()) == found
    assert sipfrag.parse(found.message.entity.content).status == status


# -- what is remembered ------------------------------------------------------------------------------------------------
CATEGORIES = st.sampled_from(["delivery", "display", "processing"])
DEVICES = st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=12)


@settings(deadline=None)
@given(st.sampled_from(["romeo", "o'malley", "Ünï;x", "a b", "%00", "@"]), DEVICES)
def test_a_late_report_says_what_an_early_one_would_have_said(user: str, device: str) -> None:
    envelope = replace(FROM_SIP, sender=SipAddress(user, "sip.example"), sender_device=device)
    facts = Facts.of(envelope)
    assert facts
    text = facts.dump()
    remembered = Facts.load(text)
    assert remembered == facts
    assert report.told(facts, FAILED, "new", NOW + 5) == told(envelope)
    assert "wherefore" not in text


@settings(deadline=None)
@given(st.sampled_from([FROM_SIP, FROM_XMPP]), st.text(max_size=20), st.sets(st.sampled_from(sorted(WISHES))), st.sets(CATEGORIES))
def test_facts_are_read_back_as_they_were(envelope: Envelope, odd: str, asked: set[str], told: set[str]) -> None:
    origin = envelope.origin
    if isinstance(origin, StanzaOrigin):
        envelope = replace(envelope, origin=StanzaOrigin(odd, odd, odd, odd))
    elif asked:
        wanted = Asked(frozenset(asked), odd, odd, odd, odd, odd, (odd, odd))
        envelope = replace(envelope, origin=RequestOrigin(odd, odd, odd, wanted))
    facts = Facts.of(replace(envelope, asked=frozenset(asked)))
    assert facts
    facts = replace(facts, told=frozenset(told))
    assert Facts.load(facts.dump()) == facts


def test_nothing_is_remembered_of_what_the_gateway_says_itself() -> None:
    assert Facts.of(told(FROM_SIP)) is None


@pytest.mark.parametrize(
    "facts",
    [
        "x",
        "[]",
        "7",
        '["sip:a@b","xmpp:c","x"]',
        '["nonsense","xmpp:j@x.example","a","b","c","",0,""]',
        '["sip:a@b","nonsense","a","b","c","",0,""]',
        '["sip:a@b","xmpp:j@x.example","a","b","c","[1]",0,""]',
        '["sip:a@b","xmpp:j@x.example","a","b","c","",0]',
    ],
)
def test_facts_that_cannot_be_read_tell_nothing(facts: str) -> None:
    assert Facts.load(facts) is None


# -- who is told, in a running relay -----------------------------------------------------------------------------------
def delivered(it: Scene) -> Try:
    """A message from SIP that the XMPP side has taken."""
    it.offer("hello", ROMEO, JULIET, keys=KEYS)
    return it.answer(it.xmpp)


@pytest.mark.requirement("MSG-22", "SEC-42")
def test_a_failure_is_told_once_and_stored_before_it_is_sent(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        it.offer("hello", ROMEO, JULIET)
        it.sip.up = False
        it.answer(it.xmpp, FAILED)
        assert it.kept == 1
        it.restart()
        assert it.sip.texts == ["report 404"]
        assert it.xmpp.tries == []
        it.answer(it.sip)
        it.restart()
        assert it.sip.tries == []


@pytest.mark.requirement("MSG-23")
def test_a_report_that_fails_ends_there(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        for outcome in (FAILED, Outcome(Verdict.FAILED, 600)):
            it.offer("hello", ROMEO, JULIET)
            it.answer(it.xmpp, FAILED)
            it.answer(it.sip, outcome)
            it.relay.told((Notice(trace_of(it.sip.tries[-1].envelope), FAILED),))
            it.move(1.0)
        assert it.sip.texts == ["report 404"] * 2
        assert it.xmpp.texts == ["hello"] * 2
        assert it.kept == 0


def test_a_report_that_cannot_be_said_is_dropped_and_the_message_is_settled(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        it.unsayable.add("report 404")
        it.offer("hello", ROMEO, JULIET)
        it.answer(it.xmpp, FAILED)
        assert (it.kept, it.sip.tries) == (0, [])


@pytest.mark.requirement("MSG-22", "SEC-43")
@pytest.mark.parametrize("restart", [False, True])
def test_a_late_error_is_told_once(tmp_path: Path, restart: bool) -> None:
    with scene(tmp_path) as it:
        trace = trace_of(delivered(it).envelope)
        if restart:
            it.restart()
        for _ in range(2):
            it.relay.told((Notice(trace, FAILED),))
        it.move(0.1)
        it.relay.told((Notice(trace, FAILED),))
        it.move(0.1)
        assert it.sip.texts == ["report 404"]
        about = it.sip.tries[0].envelope.about
        assert isinstance(about, RequestOrigin)
        assert about.cseq == "1 MESSAGE"
        it.answer(it.sip)
        it.restart()
        it.relay.told((Notice(trace, FAILED),))
        it.move(0.1)
        assert it.sip.tries == []


@pytest.mark.requirement("SEC-43")
def test_an_error_counts_only_if_id_and_both_ends_match_something_sent(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        stanza_id, ours, theirs = trace_of(delivered(it).envelope)
        for trace in (
            ("other", ours, theirs),
            (stanza_id, "tomas@sip.example", theirs),
            (stanza_id, ours, "mira@xmpp.example"),
            (stanza_id, f"{ours}\n{theirs}", ""),
            ("", "", ""),
        ):
            it.relay.told((Notice(trace, FAILED),))
        it.move(1.0)
        assert it.sip.tries == []


@pytest.mark.requirement("FRAG-44")
def test_a_late_error_for_a_message_from_xmpp_is_told_too(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        it.offer("hello")
        it.relay.told((Notice(trace_of(it.answer(it.sip).envelope), FAILED),))
        it.move(1.0)
        assert (it.xmpp.texts, it.sip.texts) == (["report 404"], ["hello"])


def test_after_ten_minutes_an_error_is_too_late(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        trace = trace_of(delivered(it).envelope)
        it.move(601.0)
        it.relay.told((Notice(trace, FAILED),))
        it.move(1.0)
        assert it.sip.tries == []


@pytest.mark.requirement("MSG-22", "REL-04")
def test_a_late_error_is_told_even_if_the_disk_is_broken_just_then(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        trace = trace_of(delivered(it).envelope)
        it.relay.told((Notice(trace, FAILED),))
        it.move(0.0)
        it.disk.be_read_only()
        it.move(5.0)
        assert it.sip.tries == []
        it.disk.mend()
        it.move(1.0)
        assert it.sip.texts == ["report 404"]
        it.relay.told((Notice(trace, FAILED),))
        it.move(1.0)
        assert it.sip.texts == ["report 404"]


@pytest.mark.requirement("MSG-22")
def test_an_error_while_the_message_is_still_on_its_way_is_told_once(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        it.offer("hello", ROMEO, JULIET, keys=KEYS)
        it.relay.told((Notice(trace_of(it.xmpp.tries[0].envelope), FAILED),))
        it.answer(it.xmpp)
        it.move(1.0)
        assert it.sip.texts == ["report 404"]
        it.sip.up = False
        it.answer(it.sip, LOST)
        it.restart()
        assert it.sip.texts == ["report 404"]


@pytest.mark.requirement("RCS-06", "MSG-22")
def test_who_stays_anonymous_is_told_at_his_own_address_also_after_a_restart() -> None:
    origin = RequestOrigin("sip:juliet@xmpp.example", "c1", "7 MESSAGE", author="sip:romeo@sip.example;gr=orchard")
    found = Facts.of(replace(FROM_SIP, sender=SipAddress.anonymous("sip.example"), sender_device="", origin=origin))
    assert found
    for facts in (found, Facts.load(found.dump())):
        assert facts
        failed = report.told(facts, FAILED, "new", NOW)
        assert failed
        assert (failed.recipient, failed.recipient_device, failed.sender) == (ROMEO, "orchard", JULIET)
