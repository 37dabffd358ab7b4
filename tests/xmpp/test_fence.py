"""The fence without a stream: what a ping covers, what a break leaves, which message it is, and what the clock asks for."""

from __future__ import annotations

from collections import deque
from xml.etree.ElementTree import Element, fromstring

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.core.outcome import DELIVERED, LOST, Outcome, Verdict
from gateway.core.ports import Parcel, Trace
from gateway.xmpp.fence import Fence, Step
from tests.xmpp.lonely import Sent

DOMAIN = "sip.example"
FAILED = Outcome(Verdict.FAILED, 404)


def trace(seq: int) -> Trace:
    return (str(seq), f"tomas@{DOMAIN}", "mira@xmpp.example")


def sent(seq: int) -> Sent:
    # What becomes of it the link tells, not the fence.
    return Sent(seq, Parcel("lane", DOMAIN, b"", once=False, traces=(trace(seq),)), outcome=None)  # type: ignore[arg-type]


def begun(*seqs: int, now: float = 0.0) -> Fence:
    """On a stream to which these were written."""
    fence = Fence(DOMAIN)
    fence.begin("ab", now)
    for seq in seqs:
        fence.wrote(sent(seq))
    return fence


def pinged(fence: Fence, now: float = 0.0) -> Element:
    """A ping as it comes back."""
    return fromstring(fence.ping(now))


def covered(fence: Fence, iq: Element) -> list[int] | None:
    delivered = fence.back(iq)
    return None if delivered is None else [each.seq for each in delivered]


def broken(fence: Fence, *, blamed: bool) -> tuple[list[int], int | None]:
    lost, culprit = fence.broke(blamed=blamed)
    return [each.seq for each in lost], culprit.seq if culprit else None


# -- what a ping covers ------------------------------------------------------------------------------------------------
@pytest.mark.requirement("REL-09")
def test_a_ping_covers_what_was_written_before_it() -> None:
    fence = begun(1, 2)
    assert fence.is_due
    ping = pinged(fence)
    assert not fence.is_due
    fence.wrote(sent(3))
    assert not fence.is_due
    assert covered(fence, ping) == [1, 2]
    assert fence.is_due
    assert covered(fence, pinged(fence)) == [3]
    assert not fence.is_due


def test_a_later_ping_covers_the_earlier_and_the_earlier_then_covers_nothing() -> None:
    fence = begun(1)
    early = pinged(fence)
    fence.wrote(sent(2))
    late = pinged(fence)
    assert covered(fence, late) == [1, 2]
    assert covered(fence, early) == []
    assert covered(fence, late) == []


@pytest.mark.requirement("SEC-43")
@pytest.mark.parametrize(
    "wrong",
    [
        *({"id": number} for number in ("fence-ab-", "fence-cd-1", "fence-ab-\u0661", "fence-ab--1", "fence-ab-" + "9" * 5000, "")),
        {"from": "mira@xmpp.example"},
        {"to": f"tomas@{DOMAIN}"},
        {"from": "", "to": ""},
    ],
    ids=range(9),
)
def test_nothing_else_is_a_ping(wrong: dict[str, str]) -> None:
    fence = begun(1)
    iq = pinged(fence)
    assert covered(fence, Element("iq", iq.attrib | wrong)) is None
    assert covered(fence, Element("iq", iq.attrib | {"id": "fence-ab-0"})) == []
    assert covered(fence, iq) == [1]


@pytest.mark.requirement("SEC-43")
def test_a_ping_of_an_earlier_stream_covers_nothing() -> None:
    fence = begun(1)
    old = pinged(fence)
    assert broken(fence, blamed=False) == ([1], None)
    fence.begin("cd", 1.0)
    fence.wrote(sent(1))
    assert covered(fence, old) is None
    assert covered(fence, pinged(fence)) == [1]


# -- what the server says of one ---------------------------------------------------------------------------------------
@pytest.mark.requirement("SEC-43")
def test_what_the_server_says_counts_once_and_only_while_it_is_unconfirmed() -> None:
    fence = begun(1, 2)
    assert fence.failed(trace(1), FAILED)
    assert not fence.failed(trace(3), FAILED)
    assert covered(fence, pinged(fence)) == [1, 2]
    assert [fence.take_outcome(sent(seq), DELIVERED) for seq in (1, 1, 2)] == [FAILED, DELIVERED, DELIVERED]
    assert not fence.failed(trace(2), FAILED)


def test_what_the_server_said_stays_when_the_stream_breaks_before_the_ping() -> None:
    fence = begun(1)
    assert fence.failed(trace(1), FAILED)
    assert broken(fence, blamed=False) == ([1], None)
    assert not fence.failed(trace(1), FAILED)
    assert fence.take_outcome(sent(1), LOST) == FAILED


# -- a stream that breaks ----------------------------------------------------------------------------------------------
@pytest.mark.requirement("REL-18")
def test_the_message_that_breaks_three_streams_alone_is_put_aside() -> None:
    fence = begun(1, 2, 3)
    assert broken(fence, blamed=True) == ([1, 2, 3], None)
    fence.begin("ab", 0.0)
    fence.wrote(sent(1))
    assert covered(fence, pinged(fence)) == [1]
    breaks: tuple[tuple[list[int], int | None], ...] = (([2], None), ([2], None), ([], 2))
    for expected in breaks:
        assert fence.has_room
        fence.wrote(sent(2))
        assert not fence.has_room
        assert broken(fence, blamed=True) == expected
        fence.begin("ab", 0.0)


@pytest.mark.requirement("REL-18")
def test_a_break_upon_two_counts_against_neither() -> None:
    fence = begun(1, 2)
    assert broken(fence, blamed=True) == ([1, 2], None)
    for _ in range(2):
        fence.begin("ab", 0.0)
        fence.wrote(sent(1))
        assert broken(fence, blamed=True) == ([1], None)


@pytest.mark.requirement("REL-18")
def test_a_message_that_is_confirmed_is_no_culprit_any_more() -> None:
    fence = begun(1)
    for _ in range(2):
        assert broken(fence, blamed=True) == ([1], None)
        fence.begin("ab", 0.0)
        fence.wrote(sent(1))
    assert covered(fence, pinged(fence)) == [1]
    fence.wrote(sent(1))
    assert broken(fence, blamed=True) == ([1], None)


@pytest.mark.requirement("REL-18")
def test_of_several_that_break_streams_in_turn_each_is_put_aside() -> None:
    fence = begun(1, 2)
    assert broken(fence, blamed=True) == ([1, 2], None)
    ends = []
    for seq in (1, 2, 1, 2, 1, 2):
        fence.begin("ab", 0.0)
        fence.wrote(sent(seq))
        ends.append(broken(fence, blamed=True)[1])
    assert ends == [None, None, None, None, 1, 2]


def test_what_broke_a_stream_and_never_came_again_is_forgotten() -> None:
    fence = begun()

    def breaks(seq: int) -> tuple[list[int], int | None]:
        fence.begin("ab", 0.0)
        fence.wrote(sent(seq))
        return broken(fence, blamed=True)

    for seq in range(1000):
        assert breaks(seq) == ([seq], None)
    # Those of the last 16 need two more.
    assert [breaks(984), breaks(984)] == [([984], None), ([], 984)]
    assert [breaks(983), breaks(983), breaks(983)] == [([983], None), ([983], None), ([], 983)]


@pytest.mark.requirement("REL-18")
def test_one_at_a_time_until_all_that_were_lost_are_confirmed() -> None:
    fence = begun(1, 2)
    broken(fence, blamed=True)
    fence.begin("ab", 0.0)
    for seq in (1, 2):
        assert fence.has_room
        fence.wrote(sent(seq))
        assert not fence.has_room
        assert covered(fence, pinged(fence)) == [seq]
    fence.wrote(sent(3))
    assert fence.has_room


def test_a_stream_that_ends_without_an_error_blames_nobody() -> None:
    fence = begun(1, 2)
    assert broken(fence, blamed=False) == ([1, 2], None)
    for _ in range(5):
        fence.begin("ab", 0.0)
        fence.wrote(sent(1))
        assert fence.has_room
        assert broken(fence, blamed=False) == ([1], None)
    assert broken(fence, blamed=True) == ([], None)
    assert fence.has_room


def test_256_may_be_unconfirmed() -> None:
    fence = begun(*range(255))
    assert fence.has_room
    fence.wrote(sent(255))
    assert not fence.has_room


# -- the clock ---------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("REL-09")
def test_a_ping_that_is_late_is_repeated_after_5_s_and_after_60_s_the_link_is_given_up() -> None:
    fence = begun(1, now=100.0)
    fence.ping(100.0)
    assert fence.step(105.0) is Step.WAIT
    assert fence.step(105.1) is Step.PING
    fence.ping(105.1)
    assert fence.step(110.0) is Step.WAIT
    assert fence.step(110.2) is Step.PING
    assert fence.step(160.0) is Step.PING
    assert fence.step(160.1) is Step.GIVE_UP


def test_a_link_that_is_silent_for_20_s_is_asked() -> None:
    fence = begun(now=100.0)
    assert fence.step(120.0) is Step.WAIT
    assert fence.step(120.1) is Step.PING
    fence.heard(110.0)
    assert fence.step(130.0) is Step.WAIT
    assert fence.step(130.1) is Step.PING
    assert covered(fence, pinged(fence, 131.0)) == []
    assert fence.step(151.0) is Step.WAIT
    assert fence.step(151.1) is Step.PING


def test_what_nobody_could_hear_is_excused() -> None:
    fence = begun(1)
    fence.ping(0.0)
    fence.count_from(1000.0)
    assert fence.step(1005.0) is Step.WAIT
    assert fence.step(1005.1) is Step.PING
    fence.heard(1050.0)
    assert fence.step(1060.0) is Step.PING
    assert fence.step(1060.1) is Step.GIVE_UP


@pytest.mark.requirement("REL-09")
def test_a_link_on_which_much_comes_but_no_ping_is_given_up() -> None:
    fence = begun(1, now=100.0)
    fence.ping(110.0)
    steps = []
    for now in range(111, 172):
        fence.heard(now)
        steps.append(fence.step(now))
        if steps[-1] is Step.PING:
            fence.ping(now)
    assert (steps.count(Step.PING), steps[-2:]) == (10, [Step.PING, Step.GIVE_UP])


def test_the_oldest_ping_that_is_not_back_is_waited_for() -> None:
    fence = begun(1, now=0.0)
    first = pinged(fence, 0.0)
    fence.ping(40.0)
    fence.heard(60.0)
    assert covered(fence, first) == [1]
    assert fence.step(100.0) is Step.PING
    fence.heard(100.0)
    assert fence.step(100.1) is Step.GIVE_UP


def test_pings_that_are_not_back_are_bounded_and_the_first_and_the_last_still_count() -> None:
    fence = begun(1)
    first = pinged(fence, 0.0)
    fence.wrote(sent(2))
    for number in range(1000):
        fence.count_from(5.0 * number)
        last = pinged(fence, 5.0 * number)
    assert len(fence._pings) <= 16
    fence.heard(5005.0)
    assert fence.step(5005.0) is Step.PING
    assert covered(fence, first) == [1]
    assert covered(fence, last) == [2]
    assert fence.step(5005.0) is Step.WAIT  # none is outstanding


# -- whatever comes ----------------------------------------------------------------------------------------------------
class Streams(RuleBasedStateMachine):
    """A server that takes what is written in order, sends pings back in order, and breaks: delivered is what it has taken, once."""

    def __init__(self) -> None:
        super().__init__()
        self.fence = begun()
        self.wire: deque[int | Element] = deque()
        self.coming: deque[Element] = deque()
        self.waiting = deque(range(1000))
        self.taken: list[int] = []
        self.delivered: list[int] = []
        self.out: deque[int] = deque()

    @precondition(lambda self: self.fence.has_room)
    @rule()
    def write(self) -> None:
        seq = self.waiting.popleft()
        self.fence.wrote(sent(seq))
        self.wire.append(seq)
        self.out.append(seq)

    @rule(late=st.booleans())
    def ping(self, late: bool) -> None:
        if late or self.fence.is_due:
            self.wire.append(pinged(self.fence))

    @precondition(lambda self: self.wire)
    @rule()
    def take(self) -> None:
        item = self.wire.popleft()
        if isinstance(item, int):
            self.taken.append(item)
        else:
            self.coming.append(item)

    @precondition(lambda self: self.coming)
    @rule(lost=st.booleans())
    def hear(self, lost: bool) -> None:
        ping = self.coming.popleft()
        if not lost:
            for each in self.fence.back(ping) or ():
                self.delivered.append(each.seq)
                assert self.out.popleft() == each.seq

    @rule(blamed=st.booleans())
    def break_off(self, blamed: bool) -> None:
        lost, culprit = self.fence.broke(blamed=blamed)
        again = [each.seq for each in lost]
        assert [*([culprit.seq] if culprit else []), *again] == list(self.out)
        self.waiting.extendleft(reversed(again))
        for each in (self.wire, self.coming, self.out):
            each.clear()
        self.fence.begin(f"n{len(self.delivered)}", 0.0)

    @invariant()
    def only_what_was_taken_is_delivered_and_in_order(self) -> None:
        assert self.delivered == sorted(set(self.delivered))
        assert set(self.delivered) <= set(self.taken)


TestStreams = Streams.TestCase
TestStreams.settings = settings(deadline=None, max_examples=60, stateful_step_count=40)
