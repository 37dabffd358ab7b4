"""Client and INVITE transactions in virtual time: every timer, every state (RFC 3261 section 17)."""

from __future__ import annotations

from collections import Counter
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.sip.transaction import ClientState, ClientTransaction, ClientTransactions, InviteState, InviteTransaction, Timers

TIMES_ON_UDP = [0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
"""The send times of RFC 3261 section 17.1.2.2 with T1 = 500 ms and T2 = 4 s."""

STATUSES = st.sampled_from([100, 200])


class Clock:
    """Client transactions whose time is moved from deadline to deadline."""

    def __init__(self, timers: Timers | None = None) -> None:
        self.now = 0.0
        self.sent: list[tuple[float, bytes, str]] = []
        self.timed_out: list[tuple[float, object]] = []
        self.clients: ClientTransactions[str] = ClientTransactions(timers or Timers(), self._send, self._timed_out)

    def _send(self, octets: bytes, flow: str) -> None:
        self.sent.append((self.now, octets, flow))

    def _timed_out(self, transaction: ClientTransaction[str]) -> None:
        self.timed_out.append((self.now, transaction.user))

    def start(self, branch: str = "b", *, reliable: bool = False, flow: str = "hop", brief: bool = False) -> None:
        self.clients.start(branch, "MESSAGE", branch.encode(), flow, reliable, self.now, branch, brief=brief)

    def run(self, until: float = inf) -> None:
        """Let time pass; stop where nothing waits any more."""
        while (deadline := self.clients.next_deadline()) is not None and deadline <= until:
            assert deadline >= self.now
            self.now = deadline
            self.clients.on_deadline(deadline)
        self.now = max(self.now, until) if until < inf else self.now

    @property
    def times(self) -> list[float]:
        return [at for at, _, _ in self.sent]


@pytest.mark.requirement("TXN-22", "TXN-24")
def test_over_udp_a_request_goes_eleven_times_with_the_same_octets_on_the_same_flow_and_times_out_at_32_seconds() -> None:
    clock = Clock()
    clock.start()
    clock.run()
    assert clock.times == TIMES_ON_UDP
    assert {(octets, flow) for _, octets, flow in clock.sent} == {(b"b", "hop")}
    assert clock.timed_out == [(32.0, "b")]
    assert len(clock.clients) == 0


@pytest.mark.requirement("MSG-69")
@pytest.mark.parametrize("reliable", [False, True])
@pytest.mark.parametrize("provisional", [False, True])
def test_what_is_brief_is_given_up_after_two_seconds_and_nothing_else_is(reliable: bool, provisional: bool) -> None:
    clock = Clock()
    clock.start("long", reliable=True)
    clock.start("brief", reliable=reliable, brief=True)
    clock.run(1.0)
    clock.start("answered", reliable=reliable, brief=True)
    if provisional:
        clock.clients.response("brief", "MESSAGE", 100)
    assert clock.clients.response("answered", "MESSAGE", 200)
    clock.run(2.5)
    assert clock.timed_out == [(2.0, "brief")]
    assert clock.clients.response("brief", "MESSAGE", 200) is None
    clock.run()
    assert clock.timed_out == [(2.0, "brief"), (32.0, "long")]
    assert max(clock.times) <= 2.0


def test_over_a_reliable_transport_it_goes_once() -> None:
    clock = Clock()
    clock.start(reliable=True)
    assert clock.clients.next_deadline() == 32
    clock.run()
    assert clock.times == [0]
    assert clock.timed_out == [(32.0, "b")]


def test_after_a_provisional_response_timer_e_is_t2() -> None:
    clock = Clock()
    clock.start()
    clock.run(0.6)
    assert clock.clients.response("b", "MESSAGE", 100) is None
    clock.run()
    # Timer E that was armed before the response fires as it was armed; from then on it is T2.
    assert clock.times == [0, 0.5, 1.5, *range_by(5.5, 4, 7)]
    assert clock.timed_out == [(32.0, "b")]


def range_by(start: float, step: float, count: int) -> list[float]:
    return [start + step * number for number in range(count)]


@pytest.mark.parametrize("status", [200, 202, 301, 404, 503, 699])
@pytest.mark.parametrize("provisional", [False, True])
def test_a_final_response_ends_it_and_nothing_is_sent_or_told_again(status: int, provisional: bool) -> None:
    clock = Clock()
    clock.start()
    clock.run(1)
    if provisional:
        clock.clients.response("b", "MESSAGE", 100)
    ended = clock.clients.response("b", "MESSAGE", status)
    assert ended is not None
    assert (ended.user, ended.state) == ("b", ClientState.TERMINATED)
    clock.run()
    assert clock.times == [0, 0.5]
    assert clock.timed_out == []


@pytest.mark.requirement("TXN-22")
def test_what_comes_after_the_end_matches_nothing() -> None:
    clock = Clock()
    clock.start("answered")
    clock.start("silent")
    assert clock.clients.response("answered", "MESSAGE", 200)
    # Timer K: in Completed every further response is absorbed.
    assert clock.clients.response("answered", "MESSAGE", 200) is None
    clock.run()
    assert clock.timed_out == [(32.0, "silent")]
    assert clock.clients.response("silent", "MESSAGE", 200) is None


@pytest.mark.requirement("TXN-01")
def test_a_response_matches_by_branch_and_method() -> None:
    clock = Clock()
    clock.start("one")
    clock.start("two")
    assert clock.clients.response("one", "OPTIONS", 200) is None
    assert clock.clients.response("One", "MESSAGE", 200) is None
    assert clock.clients.response("two", "MESSAGE", 200).user == "two"  # type: ignore[union-attr]
    assert len(clock.clients) == 1


def test_a_lost_flow_ends_what_waits_on_it_oldest_first_and_nothing_else() -> None:
    clock = Clock()
    for branch, flow in (("a", "hop"), ("b", "other"), ("c", "hop")):
        clock.start(branch, flow=flow)
    assert [each.user for each in clock.clients.flow_lost("hop")] == ["a", "c"]
    assert clock.clients.flow_lost("hop") == []
    clock.run(0.5)
    assert [octets for at, octets, _ in clock.sent if at] == [b"b"]


def test_other_timers_give_other_times() -> None:
    clock = Clock(Timers(t1=1, t2=2))
    clock.start()
    clock.run(10)
    assert clock.times == [0, 1, 3, 5, 7, 9]
    clock.run()
    assert clock.timed_out == [(64, "b")]


def test_a_late_timer_does_not_send_twice() -> None:
    clock = Clock()
    clock.start()
    clock.now = 5
    clock.clients.on_deadline(5)
    assert clock.times == [0, 5]
    assert clock.clients.next_deadline() == 6


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 40), st.booleans(), st.none() | st.tuples(st.floats(0, 40), STATUSES)), max_size=12))
def test_every_transaction_ends_once_and_keeps_its_own_schedule(plan: list[tuple[float, bool, tuple[float, int] | None]]) -> None:
    clock = Clock()
    starts = {f"t{number}": at for number, (at, _, _) in enumerate(plan)}
    events: list[tuple[float, str, str, int]] = [(at, "start", f"t{number}", reliable) for number, (at, reliable, _) in enumerate(plan)]
    events += [(at + answer[0], "answer", f"t{number}", answer[1]) for number, (at, _, answer) in enumerate(plan) if answer]
    ended: list[object] = []
    for at, what, branch, fact in sorted(events, key=lambda event: event[0]):
        clock.run(at)
        if what == "start":
            clock.start(branch, reliable=bool(fact))
        elif found := clock.clients.response(branch, "MESSAGE", int(fact)):
            ended.append(found.user)
    clock.run()
    assert Counter([*ended, *(user for _, user in clock.timed_out)]) == Counter(starts.keys())
    for branch, (_, reliable, answer) in zip(starts, plan, strict=True):
        times = [at - starts[branch] for at, octets, _ in clock.sent if octets == branch.encode()]
        if reliable:
            assert times == [0]
        elif not answer:
            assert times == pytest.approx(TIMES_ON_UDP)
        assert all(at < 32 or at == pytest.approx(32) for at in times)


# -- a refused INVITE ----------------------------------------------------------------------------------------------------
def resends(invite: InviteTransaction[str], until: float = inf) -> list[float]:
    """When the response goes again, until the transaction is over."""
    times, now = [], 0.0
    while not invite.is_over(now) and (deadline := invite.next_deadline()) <= until:
        now = deadline
        if invite.on_deadline(now):
            times.append(now)
    return times


@pytest.mark.requirement("TXN-30")
def test_over_udp_the_refusal_goes_again_until_timer_h() -> None:
    assert resends(InviteTransaction(b"405", "hop", False, 0, Timers())) == TIMES_ON_UDP[1:]


@pytest.mark.requirement("TXN-30")
def test_over_a_stream_the_refusal_goes_once() -> None:
    invite = InviteTransaction(b"405", "hop", True, 0, Timers())
    assert resends(invite) == []
    assert not invite.is_over(31.9)
    assert invite.is_over(32)


@pytest.mark.requirement("TXN-30")
@pytest.mark.parametrize(("reliable", "over_at"), [(False, 6.0), (True, 1.0)])
def test_the_ack_ends_the_repeats_and_timer_i_the_transaction(reliable: bool, over_at: float) -> None:
    invite = InviteTransaction(b"405", "hop", reliable, 0, Timers())
    assert resends(invite, 0.9) == ([] if reliable else [0.5])
    invite.acknowledge(1)
    assert invite.state is InviteState.CONFIRMED
    assert invite.next_deadline() == over_at
    invite.acknowledge(3)  # a second ACK is absorbed and makes nothing longer
    assert invite.next_deadline() == over_at
    assert invite.on_deadline(over_at) is None
    assert invite.is_over(over_at)
