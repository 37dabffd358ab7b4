"""Next hops without sockets: holding, waiting for DNS, the order of targets."""

from __future__ import annotations

import pytest

from gateway.sip import hops as hops_module
from gateway.sip.hops import Hops
from gateway.sip.locate import Target

GATE, OTHER = "sip:hop.example", "sip:192.0.2.7:5070"
A, B, C = (Target("udp", f"192.0.2.{number}", 5060) for number in (1, 2, 3))


@pytest.mark.requirement("MSG-49", "REL-10")
def test_a_hop_is_held_for_as_long_as_it_asks_and_10_minutes_at_most() -> None:
    hops: Hops[str] = Hops()
    assert not hops.is_held(GATE, 0)
    assert hops.hold(GATE, 9, 100) == 9
    assert [hops.is_held(GATE, now) for now in (100, 108.9, 109)] == [True, True, False]
    assert not hops.is_held(OTHER, 100)
    assert hops.hold(GATE, 2**32, 200) == 600
    assert [hops.is_held(GATE, now) for now in (799, 800)] == [True, False]


@pytest.mark.requirement("MSG-49")
def test_the_longest_of_several_holds_counts() -> None:
    hops: Hops[str] = Hops()
    assert [hops.hold(GATE, seconds, now) for seconds, now in ((600, 0), (5, 10), (595, 10))] == [600, 590, 595]
    assert [hops.is_held(GATE, now) for now in (604, 605)] == [True, False]
    assert hops.hold(GATE, 5, 1000) == 5


def test_what_waits_for_dns_asks_once_and_leaves_in_order() -> None:
    hops: Hops[str] = Hops()
    assert [hops.wait(GATE, each) for each in ("first", "second")] == [True, False]
    assert hops.wait(OTHER, "third")
    assert hops.located(GATE) == ["first", "second"]
    assert hops.located(GATE) == []
    assert hops.wait(GATE, "fourth")
    assert (hops.located(GATE), hops.located(OTHER)) == (["fourth"], ["third"])


def test_a_question_leaves_nothing_behind() -> None:
    hops: Hops[str] = Hops()
    assert (hops.is_held(GATE, 0), hops.has_room(GATE), hops.located(GATE)) == (False, True, [])
    assert not hops._held_until
    assert not hops._waiting


def test_a_hop_that_nobody_finds_takes_only_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hops_module, "MOST_WAITING", 2)
    hops: Hops[int] = Hops()
    for number in range(2):
        assert hops.has_room(GATE)
        hops.wait(GATE, number)
    assert not hops.has_room(GATE)
    assert hops.has_room(OTHER)
    hops.located(GATE)
    assert hops.has_room(GATE)


@pytest.mark.requirement("TXN-23", "DNS-08")
def test_a_target_that_did_not_answer_comes_last_for_a_time_that_doubles() -> None:
    hops: Hops[str] = Hops()
    assert hops.in_order((A, B, C), 0) == (A, B, C)
    now = 0.0
    for length in (30, 60, 120, 240, 300, 300):
        hops.avoid(A, 0, now)
        assert hops.in_order((A, B, C), now + length - 1) == (B, C, A)
        assert hops.in_order((A, B, C), now + length) == (A, B, C)
        now += length
    hops.avoid(B, 0, now)
    hops.avoid(A, 0, now)
    assert hops.in_order((A, B, C), now) == (C, A, B)  # among themselves as before
    hops.answered(A)
    assert hops.in_order((A, B, C), now) == (A, C, B)
    assert hops.in_order((B,), now) == (B,)


@pytest.mark.requirement("SIP-105")
def test_a_target_that_says_for_how_long_is_avoided_for_that_long() -> None:
    hops: Hops[str] = Hops()
    hops.avoid(A, 90, 0)
    assert [hops.in_order((A, B), now) for now in (89, 90)] == [(B, A), (A, B)]
    hops.avoid(A, 1, 90)  # not less than without a word
    assert hops.in_order((A, B), 149) == (B, A)
    hops.avoid(B, 2**32, 0)
    assert [hops.in_order((B, C), now) for now in (599, 600)] == [(C, B), (B, C)]


@pytest.mark.requirement("TXN-23")
def test_a_second_failure_meanwhile_makes_it_no_longer() -> None:
    hops: Hops[str] = Hops()
    hops.avoid(A, 0, 0)
    hops.avoid(A, 0, 29)
    assert hops.in_order((A, B), 30) == (A, B)


def test_what_is_avoided_is_bounded() -> None:
    hops: Hops[str] = Hops()
    targets = [Target("udp", "192.0.2.9", port) for port in range(2000)]
    for each in targets:
        hops.avoid(each, 0, 0)
    assert 1 <= sum(hops.in_order((each, A), 0) == (A, each) for each in targets) <= 1024
