"""The Date of a request with a signed body: what is refused, what is let pass and how it is marked (RFC 3428 section 11.4)."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway import clock
from gateway.clock import Clock
from gateway.core.dates import format_sip_date
from gateway.core.envelope import Envelope
from gateway.core.errors import Refusal
from gateway.core.ports import Outer, Peer
from gateway.core.settings import Limits
from gateway.core.verdict import NOT_CHECKED, Status, Verdict
from gateway.sip.signed_dates import ANSWERED, SignedDates
from gateway.sip.uas import Uas
from tests.sip.rig import SECRET, Notes, guard, header, request, settings, status, tables
from tests.sip.sample import read
from tests.sip.test_adapter import both, phone, run, side

NOW = 1_770_000_000.0
CONFIG = settings()
TRUSTED, FORWARDER = Peer("udp:127.0.0.1"), Peer("udp:127.0.0.1", None, store_and_forward=True)
CLEAR = (
    'multipart/signed; boundary=b1; micalg=sha-256; protocol="application/pkcs7-signature"',
    b"--b1\r\n\r\nhi\r\n--b1\r\nContent-Type: application/pkcs7-signature\r\n\r\n0\r\n--b1--",
)
OPAQUE = ("application/pkcs7-mime; smime-type=signed-data", b"0\x80")
IN_CPIM = ("message/cpim", b"From: <im:a@b>\r\n\r\nContent-Type: %b\r\n\r\n%b" % (CLEAR[0].encode(), CLEAR[1]))
BESIDE = ("multipart/mixed; boundary=b2", b"--b2\r\n\r\nhi\r\n--b2\r\nContent-Type: %b\r\n\r\n%b\r\n--b2--" % (CLEAR[0].encode(), CLEAR[1]))
SIGNED = [CLEAR, OPAQUE, IN_CPIM, BESIDE]
UNSIGNED = [
    ("text/plain", b"hello"),
    ("application/pkcs7-mime; smime-type=enveloped-data", b"0\x80"),
    ("application/pkcs7-mime", b"0\x80"),
    ("message/cpim", b"From: <im:a@b>\r\n\r\nContent-Type: application/pkcs7-mime; smime-type=authEnveloped-data\r\n\r\n0\x80"),
]
REPLAYED = Verdict(Status.REPLAY_RISK, date="repeated")


def signed(off: float | None = 0.0, kind: tuple[str, bytes] = CLEAR, now: float = NOW, branch: str = "z9hG4bK-1", **changes: str) -> bytes:
    """A MESSAGE whose Date is this far from now; without one for None."""
    if off is not None:
        changes["date"] = format_sip_date(now + off)
    return request(branch=branch, body=kind[1], content_type=kind[0], **changes)


def verdict(data: bytes, dates: SignedDates, peer: Peer = TRUSTED) -> Verdict | None:
    """What a MESSAGE is kept with. Raises Refusal."""
    found = Uas(guard(CONFIG), tables(), CONFIG, SECRET, frozenset(), dates=dates).message(read(data), peer, "trace", NOW)
    assert isinstance(found, Envelope)
    return found.verdict


def refusal(data: bytes, dates: SignedDates, peer: Peer = TRUSTED) -> str:
    with pytest.raises(Refusal) as refused:
        verdict(data, dates, peer)
    return refused.value.key


@pytest.mark.requirement("MSG-81", "SMIME-23")
@pytest.mark.parametrize("kind", SIGNED)
def test_a_signed_message_is_refused_for_its_date_from_five_minutes_on(kind: tuple[str, bytes]) -> None:
    assert [refusal(signed(off, kind), SignedDates()) for off in (-86_400, -301, 301, 86_400)] == ["stale-date"] * 4
    assert [verdict(signed(off, kind), SignedDates()) for off in (-300, 0, 300)] == [NOT_CHECKED] * 3


@pytest.mark.requirement("MSG-81")
@pytest.mark.parametrize("kind", UNSIGNED)
def test_a_message_that_is_not_signed_for_all_to_see_may_be_of_any_date(kind: tuple[str, bytes]) -> None:
    assert {verdict(signed(off, kind), SignedDates()) for off in (-86_400, 0, 86_400)} <= {None, NOT_CHECKED}


@pytest.mark.requirement("MSG-81")
def test_without_a_date_it_is_let_pass_and_marked() -> None:
    for data in (signed(None), signed(None, date="yesterday")):
        assert verdict(data, SignedDates()) == Verdict(Status.NOT_CHECKED, date="undated")


@pytest.mark.requirement("MSG-81", "E2E-18")
def test_where_it_is_so_configured_a_stale_message_is_marked() -> None:
    dates = SignedDates(mark=True)
    assert verdict(signed(-301), dates) == Verdict(Status.NOT_CHECKED, date="old timestamp")
    assert verdict(signed(301), dates) == Verdict(Status.NOT_CHECKED, date="future timestamp")
    assert verdict(signed(), dates) == NOT_CHECKED


@pytest.mark.requirement("MSG-81", "MSG-84")
def test_a_known_store_and_forward_peer_may_be_late() -> None:
    assert verdict(signed(-86_400), SignedDates(), FORWARDER) == NOT_CHECKED
    assert refusal(signed(-86_400), SignedDates()) == "stale-date"


@pytest.mark.requirement("SEC-40", "MSG-81")
def test_who_may_not_speak_learns_nothing_of_dates() -> None:
    assert refusal(signed(-400, from_="<sip:mira@xmpp.example>;tag=1"), SignedDates()) == "sender-not-yours"
    assert refusal(signed(-400, max_forwards="0"), SignedDates()) == "too-many-hops"
    # Its expiry is content, which is read later.
    assert refusal(signed(-400, expires="1"), SignedDates()) == "stale-date"


@pytest.mark.requirement("MSG-85")
def test_after_an_outage_what_is_stale_is_taken_as_what_may_have_been_replayed() -> None:
    assert verdict(signed(-301), SignedDates(grace_until=NOW + 1)) == Verdict(Status.REPLAY_RISK, date="old timestamp")
    assert verdict(signed(), SignedDates(grace_until=NOW + 1)) == NOT_CHECKED
    assert refusal(signed(-301), SignedDates(grace_until=NOW)) == "stale-date"


@pytest.mark.requirement("MSG-85")
def test_an_outage_is_told_by_what_the_last_run_left(tmp_path: Path) -> None:
    outbox = tmp_path / "outbox.db"
    assert clock.grace_until(outbox, NOW) == 0
    for name, at in (("outbox.db", NOW - 900), ("outbox.db-wal", NOW - 301)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (at, at))
    assert clock.grace_until(outbox, NOW) == NOW + 600
    os.utime(tmp_path / "outbox.db-wal", (NOW - 300, NOW - 300))
    assert clock.grace_until(outbox, NOW) == 0


# -- the clock here -----------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("MSG-87")
def test_while_the_clock_is_not_synchronised_nothing_is_refused_and_it_is_said_once() -> None:
    true = False
    dates = SignedDates(clock_is_true=lambda: true)
    with capture_logs() as said:
        assert [verdict(signed(off), dates) for off in (-301, 400, 0)] == [
            Verdict(Status.NOT_CHECKED, date="old timestamp"), Verdict(Status.NOT_CHECKED, date="future timestamp"), NOT_CHECKED,
        ]  # fmt: skip
    assert [(each["log_level"], "clock" in each["event"]) for each in said] == [("warning", True)]
    true = True
    assert refusal(signed(-301), dates) == "stale-date"


@pytest.mark.requirement("MSG-87")
def test_the_kernel_is_asked_at_most_once_a_minute() -> None:
    answers, now = [True, False, True], [1000.0]
    known = Clock(lambda: answers.pop(0), lambda: now[0])
    found = []
    for seconds in (0, 30, 29.9, 0.1, 59, 60):
        now[0] += seconds
        found.append(known.is_true())
    assert found == [False, False, False, True, True, False]


@pytest.mark.requirement("MSG-87")
@pytest.mark.parametrize(("returned", "doubts"), [(5, True), (0, False), (1, False), (4, False), (-1, False)])
def test_only_a_kernel_that_says_so_makes_the_clock_doubtful(monkeypatch: pytest.MonkeyPatch, returned: int, doubts: bool) -> None:
    class Library:
        def __init__(self, name: str | None) -> None: ...

        @staticmethod
        def adjtimex(_: object) -> int:
            return returned

    monkeypatch.setattr("ctypes.CDLL", Library)
    assert clock.kernel_doubts() is doubts


@pytest.mark.parametrize("library", [lambda _: object(), lambda _: Path("/nowhere").read_text()])
def test_a_machine_without_that_call_is_believed(monkeypatch: pytest.MonkeyPatch, library: Callable[[object], object]) -> None:
    monkeypatch.setattr("ctypes.CDLL", library)
    assert Clock().is_true()


def test_the_kernel_of_this_machine_can_be_asked() -> None:
    assert clock.kernel_doubts() in (False, True)


# -- what comes again ---------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("MSG-86")
def test_a_signed_message_that_was_kept_is_known_for_an_hour() -> None:
    uas = Uas(guard(CONFIG), tables(), CONFIG, SECRET, frozenset(), dates=(dates := SignedDates()))
    key = uas.message_key(read(signed()))
    assert refusal(signed(-301), dates) == "stale-date"
    dates.keep(key, NOW - 3599)
    for data in (signed(), signed(299, branch="z9hG4bK-9"), signed(None)):
        assert refusal(data, dates) == "stale-date"
    assert verdict(signed(), dates, FORWARDER) == REPLAYED
    assert verdict(signed(cseq="2 MESSAGE"), dates) == verdict(signed(call_id="other"), dates) == NOT_CHECKED
    assert verdict(signed(from_="<sip:mira@sip.example>;tag=1"), dates) == NOT_CHECKED
    marking = SignedDates(mark=True)
    marking.keep(key, NOW)
    assert verdict(signed(), marking) == REPLAYED


@pytest.mark.requirement("MSG-86")
def test_what_came_in_a_request_is_remembered_when_it_is_kept_and_not_before() -> None:
    async def talk() -> None:
        async with both(sink=(sink := Notes(Refusal("store-broken")))) as (it, romeo):
            now = time.time()
            assert status(await romeo.ask(it, signed(now=now, branch="z9hG4bK-1"))) == 503
            sink.verdict = None
            assert status(await romeo.ask(it, signed(now=now, branch="z9hG4bK-2"))) == 202
            # As if the store had forgotten it, which it does after five minutes.
            sink.ages.clear()
            assert b"SIP/2.0 400 Incorrect Date or Time\r\n" in await romeo.ask(it, signed(now=now, branch="z9hG4bK-3"))
            assert status(await romeo.ask(it, signed(now=now, branch="z9hG4bK-4", cseq="2 MESSAGE"))) == 202

    run(talk)


# -- those who do it again and again -----------------------------------------------------------------------------------------
@pytest.mark.requirement("MSG-82")
def test_of_the_stale_requests_of_a_source_five_a_minute_are_answered() -> None:
    dates = SignedDates()
    assert [dates.is_silent("a", key, NOW + key) for key in range(1, 8)] == [False] * ANSWERED + [True] * 2
    # Copies of what was answered are answered, those of what was not are not.
    assert not dates.is_silent("a", 5, NOW + 10)
    assert dates.is_silent("a", 6, NOW + 62.5)
    assert not dates.is_silent("b", 8, NOW + 10)
    assert [dates.is_silent("a", key, NOW + 61.5) for key in (11, 12)] == [False, True]


@pytest.mark.requirement("MSG-82")
def test_what_is_remembered_of_sources_is_bounded() -> None:
    dates = SignedDates()
    for number in range(5000):
        dates.is_silent(f"10.0.{number >> 8}.{number & 255}", 1, NOW)
    assert len(dates._answered) == 4096


@pytest.mark.requirement("MSG-82")
def test_the_sixth_gets_no_answer_nor_does_its_retransmission() -> None:
    async def talk() -> None:
        async with both() as (it, romeo):
            for number in range(ANSWERED):
                assert status(await romeo.ask(it, signed(-400, branch=f"z9hG4bK-{number}", call_id=f"c{number}"))) == 400
            sixth = signed(-400, branch="z9hG4bK-6", call_id="c6")
            for _ in range(3):
                romeo.transport.sendto(sixth, it.address())
            # One socket answers in order: the next that comes would be theirs.
            assert "z9hG4bK-7" in header(await romeo.ask(it, request("OPTIONS", branch="z9hG4bK-7")), "Via")
            assert not it.owes(romeo)
            assert it.adapter.counters["dropped"] == 3
            # A copy of an answered one has its answer; and another source is another.
            assert status(await romeo.ask(it, signed(-400, branch="z9hG4bK-1", call_id="c1"))) == 400
            assert it.sink.offered == []

    run(talk)


def test_what_is_configured_is_what_holds() -> None:
    async def talk() -> None:
        async with side(replace(settings(), limits=Limits(stale_date="mark"))) as it, phone() as romeo:
            assert status(await romeo.ask(it, signed(-400, now=time.time()))) == 202
            ((envelope, _),) = it.sink.offered
            assert envelope.verdict == Verdict(Status.NOT_CHECKED, date="old timestamp")

    run(talk)


def test_who_checks_signatures_is_told_what_the_date_says() -> None:
    class Checks:
        @staticmethod
        def arrived(envelope: Envelope, outer: Outer | None = None) -> Envelope:
            told.append((envelope.verdict, outer is not None and outer.may_be_late))
            return envelope

        @staticmethod
        def answered(envelope: Envelope, *, is_kept: bool) -> None: ...

    told: list[tuple[Verdict | None, bool]] = []
    uas = Uas(guard(CONFIG), tables(), CONFIG, SECRET, frozenset(), Checks(), SignedDates(mark=True))
    for data, who in ((signed(-301), TRUSTED), (signed(), TRUSTED), (request(), TRUSTED), (signed(-301), FORWARDER)):
        uas.message(read(data), who, "trace", NOW)
    assert told == [(Verdict(Status.NOT_CHECKED, date="old timestamp"), False), (NOT_CHECKED, False), (None, False), (NOT_CHECKED, True)]
