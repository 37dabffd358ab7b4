"""A lane keeps its order, and waits longer with every failure."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.outcome import DELIVERED, Outcome
from gateway.relay.lane import FIRST_BACKOFF_SECONDS, MOST_BACKOFF_SECONDS, Lane, Message, backoff
from tests.relay.scene import MovedLoop, Side

CHANCES = st.floats(0, 1)


def message(seq: int, expires_at: float = 1e9) -> Message:
    return Message(seq, 10, expires_at, seq, lambda *_: None)


def lane(*seqs: int, window: int = 1) -> Lane:
    it = Lane("key", Side("sip", window, MovedLoop(), set()))
    it.waiting.extend(map(message, seqs))
    return it


@pytest.mark.requirement("REL-10")
@settings(deadline=None)
@given(st.integers(1, 10_000), CHANCES)
def test_the_pause_is_5_seconds_doubling_to_10_minutes_and_a_little_more(attempts: int, chance: float) -> None:
    expected = min(5.0 * 2 ** min(attempts - 1, 60), 600.0)
    assert expected <= backoff(attempts, None, chance) <= expected * 1.2


def test_the_bounds_of_the_pause() -> None:
    assert (FIRST_BACKOFF_SECONDS, MOST_BACKOFF_SECONDS) == (5.0, 600.0)
    assert [backoff(attempts, None, 0.0) for attempts in range(1, 10)] == [5, 10, 20, 40, 80, 160, 320, 600, 600]
    assert backoff(1, None, 1.0) > backoff(1, None, 0.0)


@pytest.mark.requirement("REL-11", "MSG-49")
@settings(deadline=None)
@given(st.integers(1, 20), st.floats(0, 1e6), CHANCES)
def test_never_before_retry_after_and_never_before_the_own_pause(attempts: int, retry_after: float, chance: float) -> None:
    pause = backoff(attempts, retry_after, chance)
    assert pause >= retry_after
    assert pause >= backoff(attempts, None, 0.0)
    assert pause in (retry_after, backoff(attempts, None, chance))


@pytest.mark.requirement("REL-17")
@settings(deadline=None)
@given(st.lists(st.integers(1, 60), unique=True, min_size=1), st.randoms(use_true_random=False))
def test_what_comes_back_takes_its_place_in_the_order(seqs: list[int], chance: object) -> None:
    seqs.sort()
    it = lane(*seqs)
    flying = [it.waiting.popleft() for _ in range(chance.randrange(len(seqs) + 1))]  # type: ignore[attr-defined]
    chance.shuffle(flying)  # type: ignore[attr-defined]
    for one in flying:
        it.put_back(one)
    assert [one.seq for one in it.waiting] == seqs


def test_what_has_expired_is_taken_out_and_the_rest_stays_in_order() -> None:
    it = lane()
    it.waiting.extend(message(seq, expires_at) for seq, expires_at in ((1, 50.0), (2, 10.0), (3, 50.1), (4, 49.9)))
    assert [one.seq for one in it.expired(50.0)] == [1, 2, 4]
    assert [one.seq for one in it.waiting] == [3]


def test_a_lane_has_room_when_it_is_due_and_its_window_is_open() -> None:
    it = lane(1, 2, window=2)
    it.due_at = 10.0
    assert not it.has_room(9.99)
    assert it.has_room(10.0)
    it.flying = {seq: message(seq) for seq in (1, 2)}
    assert not it.has_room(10.0)
    del it.flying[1]
    assert it.has_room(10.0)


@pytest.mark.parametrize("busy", ["waiting", "flying", "volatile", "coming"])
def test_a_lane_is_idle_when_nothing_is_in_it_and_nothing_is_coming(busy: str) -> None:
    it = lane()
    assert it.idle
    value = {"waiting": lane(1).waiting, "flying": {1: message(1)}, "volatile": {"romeo": ()}, "coming": 1}[busy]
    setattr(it, busy, value)
    assert not it.idle


def test_done_reaches_whoever_made_the_message() -> None:
    heard: list[tuple[Message, Outcome]] = []
    one = Message(1, 10, 0.0, 1, lambda message, outcome: heard.append((message, outcome)))
    one.done(DELIVERED)
    assert heard == [(one, DELIVERED)]
