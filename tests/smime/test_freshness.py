"""The date that a signature covers: near enough, later than the last, not seen before."""

from __future__ import annotations

import pytest

from gateway.core.mime import Entity
from gateway.core.ports import Outer
from gateway.core.verdict import Status, Verdict
from gateway.smime.container import entity_of
from gateway.smime.freshness import Dated, Freshness, Memory, Sighting, agrees, marked, request_of, signed_date
from tests.smime.authority import NOW, cpim

LONG_AGO = NOW - 1e6
REPEATED = Dated("repeated", is_risk=True, is_repeat=True)


def sighting(
    signed_at: float | None = NOW,
    digest: str = "sha256:1",
    signer: str = "sip:romeo@sip.example",
    recipient: str = "juliet",
    **more: object,
) -> Sighting:
    return Sighting(signer, digest, recipient, signed_at, **more)  # type: ignore[arg-type]


def labels(*signed_at: float | None, now: float = NOW, **more: object) -> list[str]:
    """What is said of these dates, one after the other, of different objects."""
    it = Freshness(LONG_AGO)
    return [it.judge(sighting(at, f"sha256:{number}", **more), now).label for number, at in enumerate(signed_at)]  # type: ignore[arg-type]


# -- the window ---------------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("E2E-18", "SMIME-23")
@pytest.mark.parametrize(
    ("off", "label"),
    [
        (-360, "old timestamp"), (-300.001, "old timestamp"), (-300, ""), (0, ""), (300, ""), (300.001, "future timestamp"),
        (360, "future timestamp"),
    ],
)  # fmt: skip
def test_five_minutes_either_way_are_fresh(off: float, label: str) -> None:
    assert labels(NOW + off) == [label]


@pytest.mark.requirement("E2E-18", "SMIME-23")
def test_the_dates_of_a_signer_have_to_rise() -> None:
    assert labels(NOW, NOW, NOW - 1, NOW + 0.001, NOW + 1) == ["", "decreasing timestamp", "decreasing timestamp", "", ""]


@pytest.mark.requirement("E2E-18")
def test_another_signer_has_dates_of_his_own() -> None:
    it = Freshness(LONG_AGO)
    found = [it.judge(sighting(NOW - number, str(number), signer), NOW).label for number, signer in enumerate("abab")]
    assert found == ["", "", "decreasing timestamp", "decreasing timestamp"]


@pytest.mark.requirement("E2E-18")
def test_after_ten_minutes_and_for_what_was_not_good_no_date_has_to_be_later() -> None:
    it = Freshness(LONG_AGO)
    assert it.judge(sighting(NOW + 300, "1"), NOW).label == ""
    assert it.judge(sighting(NOW + 400, "2"), NOW).label == "future timestamp"
    assert it.judge(sighting(NOW + 299.9, "3"), NOW + 599.9).label == "decreasing timestamp"
    assert it.judge(sighting(NOW + 300, "4"), NOW + 600).label == ""


@pytest.mark.requirement("SMIME-23")
def test_dates_without_fractions_may_be_equal_but_not_earlier() -> None:
    assert labels(NOW, NOW, NOW - 1, is_coarse=True) == ["", "", "decreasing timestamp"]
    it = Freshness(LONG_AGO)
    assert it.judge(sighting(NOW + 0.9, "1"), NOW).label == ""
    assert it.judge(sighting(NOW, "2", is_coarse=True), NOW).label == ""


# -- which date ---------------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("SMIME-22")
def test_the_signing_time_alone_is_no_date_but_it_has_to_be_right() -> None:
    assert labels(None, signing_time=NOW) == ["undated"]
    assert labels(None) == ["undated"]
    assert labels(None, signing_time=NOW - 301) == ["old timestamp"]
    assert labels(NOW, signing_time=NOW - 301) == ["old timestamp"]
    assert labels(NOW, signing_time=NOW + 301) == ["future timestamp"]
    assert labels(NOW, signing_time=NOW - 299) == [""]


CPIM = Entity.parse(cpim("im:romeo@sip.example", date="2026-01-02T04:04:05.5+01:00"))
SIP = "From: <sip:a@h.example>\r\nDate: Fri, 02 Jan 2026 03:04:05 GMT\r\n\r\n"


def entity(content_type: str, content: str) -> Entity:
    return Entity.compose([("Content-Type", content_type)], content.encode())


@pytest.mark.requirement("SMIME-22")
@pytest.mark.parametrize(
    ("covered", "found"),
    [
        (CPIM, (NOW + 0.5, False)),
        (entity("message/sipfrag", SIP), (NOW, True)),
        (entity("message/sip", f"MESSAGE sip:b@h.example SIP/2.0\r\n{SIP}"), (NOW, True)),
        (
            entity("multipart/mixed; boundary=b", f"--b\r\n\r\nhi\r\n--b\r\nContent-Type: message/sipfrag\r\n\r\n{SIP}\r\n--b--"),
            (NOW, True),
        ),
        (entity("text/plain", SIP), None),
        (entity("message/sipfrag", "Date: now\r\n\r\n"), None),
        (entity("message/sipfrag", "\x00"), None),
        (entity("message/cpim", "From: <im:a@b>\r\n\r\n\r\nhi"), None),
        (entity("message/cpim", "DateTime: yesterday\r\n\r\n\r\nhi"), None),
        (entity("message/cpim", ""), None),
        (entity("multipart/mixed; boundary=b", "no part"), None),
        (entity("multipart/mixed", ""), None),
    ],
)
def test_the_date_is_in_what_is_covered(covered: Entity, found: tuple[float, bool] | None) -> None:
    assert signed_date(covered) == found


def test_what_is_covered_and_cannot_be_read_says_nothing() -> None:
    for covered in (
        b"Content-Type: message/sipfrag\r\nBad\x01: 1\r\n\r\nDate: Fri, 02 Jan 2026 03:04:05 GMT\r\n",
        b"Content-Type: x\r\n\r\n",
    ):
        assert signed_date(entity_of(covered)) is None
    assert signed_date(entity_of(CPIM.raw)) == (NOW + 0.5, False)


@pytest.mark.requirement("SMIME-22")
def test_the_request_says_the_same_date_to_the_second() -> None:
    def outer(*headers: tuple[str, str]) -> Outer:
        return Outer("MESSAGE", "sip:juliet@xmpp.example", headers)

    said = outer(("date", "Fri, 02 Jan 2026 03:04:05 GMT"))
    assert [agrees(NOW + more, said) for more in (-0.001, 0, 0.999, 1)] == [False, True, True, False]
    assert not agrees(NOW, outer(("date", "today")))
    assert not agrees(NOW, outer())
    assert request_of(outer(("from", "<sip:a@b>"), ("call-id", "c"), ("cseq", "1 MESSAGE"))) == "c 1 MESSAGE <sip:a@b>"


# -- what came before ---------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("MSG-86", "SMIME-23")
def test_the_same_object_of_the_same_signer_is_a_repeat_for_an_hour() -> None:
    it = Freshness(LONG_AGO)
    assert it.judge(sighting(), NOW) == Dated()
    assert it.judge(sighting(), NOW + 10) == REPEATED
    assert it.judge(sighting(signed_at=None), NOW + 3599) == REPEATED
    assert it.judge(sighting(), NOW + 3600) == Dated("old timestamp")


@pytest.mark.requirement("MSG-86")
def test_another_object_or_signer_is_none() -> None:
    it = Freshness(LONG_AGO)
    it.judge(sighting(), NOW)
    assert it.judge(sighting(NOW + 1, "sha256:2"), NOW) == Dated()
    assert it.judge(sighting(NOW, signer="sip:mira@sip.example"), NOW) == Dated()


@pytest.mark.requirement("MSG-86")
def test_for_another_recipient_the_same_object_is_at_risk_and_yet_not_the_same_message() -> None:
    it = Freshness(LONG_AGO)
    it.judge(sighting(), NOW)
    assert it.judge(sighting(recipient="tomas"), NOW) == Dated("repeated", is_risk=True)
    assert it.judge(sighting(recipient="tomas"), NOW) == REPEATED


@pytest.mark.requirement("MSG-86")
def test_the_same_request_with_something_else_in_it_is_a_repeat() -> None:
    it = Freshness(LONG_AGO)
    assert it.judge(sighting(NOW, "1", request="c 1 MESSAGE a"), NOW) == Dated()
    assert it.judge(sighting(NOW + 1, "2", request="c 1 MESSAGE a"), NOW) == REPEATED
    assert it.judge(sighting(NOW + 1, "3", request="c 2 MESSAGE a"), NOW) == Dated()


@pytest.mark.requirement("MSG-86")
def test_what_was_not_taken_after_all_may_come_again() -> None:
    it = Freshness(LONG_AGO)
    one = sighting(request="c 1 MESSAGE a")
    it.undo(one, it.judge(one, NOW))
    found = it.judge(one, NOW)
    assert found == Dated()
    # Who only repeats it takes nothing back, for no recipient.
    it.undo(one, it.judge(one, NOW))
    elsewhere = sighting(recipient="tomas")
    it.undo(elsewhere, it.judge(elsewhere, NOW))
    assert it.judge(one, NOW) == REPEATED
    assert it.judge(elsewhere, NOW) == Dated("repeated", is_risk=True)


@pytest.mark.requirement("MSG-86")
def test_memory_is_bounded_and_the_oldest_go_first() -> None:
    it = Freshness(LONG_AGO, most=10)
    for number in range(100):
        it.judge(sighting(NOW, f"d{number}", f"s{number}", request=f"r{number}"), NOW + number / 100)
    assert (len(it._seen), len(it._given), len(it._latest)) == (10, 20, 10)
    assert it.judge(sighting(NOW, "d99", "s99"), NOW + 2) == REPEATED
    assert it.judge(sighting(NOW + 1, "d1", "s1"), NOW + 2) == Dated()


def test_what_has_aged_out_makes_room() -> None:
    it = Memory(10, most=100)
    for number in range(50):
        it.put(bytes([number]), NOW + number)
    assert len(it) == 10
    assert [it.knows(bytes([number]), NOW + 49) for number in (39, 40, 49)] == [False, True, True]


# -- after an outage ----------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("MSG-85")
def test_for_ten_minutes_after_an_outage_what_is_old_is_at_risk() -> None:
    it = Freshness(NOW + 600)
    assert it.judge(sighting(NOW - 301, "1"), NOW) == Dated("old timestamp", is_risk=True)
    assert it.judge(sighting(NOW + 301, "2"), NOW) == Dated("future timestamp")
    assert it.judge(sighting(NOW, "3"), NOW) == Dated()
    assert it.judge(sighting(NOW, "4"), NOW + 600) == Dated("old timestamp")


@pytest.mark.requirement("MSG-84", "SMIME-23")
def test_what_was_stored_on_the_way_may_be_old_and_out_of_order() -> None:
    it = Freshness(LONG_AGO)
    found = [it.judge(sighting(NOW + off, str(off), may_be_late=True), NOW).label for off in (0, -86_400, -90_000, -1, 400)]
    assert found == ["", "", "", "decreasing timestamp", "future timestamp"]
    assert it.judge(sighting(NOW - 86_400, "-86400", may_be_late=True), NOW) == REPEATED


@pytest.mark.requirement("MSG-85", "MSG-86", "E2E-18")
@pytest.mark.parametrize(
    ("status", "dated", "expected"),
    [
        (Status.VALID, Dated(), Status.VALID),
        (Status.VALID, Dated("old timestamp"), Status.VALID),
        (Status.VALID, Dated("old timestamp", is_risk=True), Status.REPLAY_RISK),
        (Status.DOMAIN_SIGNED, REPEATED, Status.REPLAY_RISK),
        (Status.INVALID, REPEATED, Status.INVALID),
        (Status.NOT_CHECKED, REPEATED, Status.NOT_CHECKED),
    ],
)
def test_the_verdict_says_what_was_found(status: Status, dated: Dated, expected: Status) -> None:
    found = marked(Verdict(status, detail="d"), dated)
    assert found == Verdict(expected, date=dated.label, detail="d")
    assert found.is_good is (status is Status.VALID and not dated.label)
