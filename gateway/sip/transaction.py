"""Transactions (RFC 3261 section 17), as machines that are handed the time.

Only non-INVITE transactions carry messages; an INVITE gets one refusal, which is repeated until its ACK comes. A transaction that is
over is forgotten at once where nothing is left to do: late responses match nothing and are dropped, which is what Completed does with
them (timer K), and answered requests live on as a digest and a number (timer J), because their answer can be composed again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

F = TypeVar("F", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Timers:
    """RFC 3261 table 4, in seconds: round-trip estimate, most between two retransmissions, time for the network to clear.

    brief: how long a request that is worth nothing later may wait for its answer; ours, not of that table.
    """

    t1: float = 0.5
    t2: float = 4.0
    t4: float = 5.0
    brief: float = 2.0

    @property
    def timeout(self) -> float:
        """Timers B, F, H and J: 64*T1."""
        return 64 * self.t1


class ClientState(Enum):
    """RFC 3261 figure 6. Completed is not kept: see the head of this file."""

    TRYING = "trying"
    PROCEEDING = "proceeding"
    TERMINATED = "terminated"


@dataclass(eq=False, slots=True)
class ClientTransaction(Generic[F]):
    """One request on its way. flow: where it was sent. copies: how many times. user: what its end is told to, opaque here.

    heard: how many times anything had come by its flow when it was sent; 0 for datagrams. brief: it is given up early (Timers.brief).
    """

    branch: str
    method: str
    octets: bytes
    flow: F
    reliable: bool
    started: float
    interval: float
    user: object
    heard: int
    brief: bool
    copies: int = 1
    state: ClientState = ClientState.TRYING


class ClientTransactions(Generic[F]):
    """All client transactions of an endpoint. `send(octets, flow)` puts a request on the wire again."""

    def __init__(self, timers: Timers, send: Callable[[bytes, F], None], timed_out: Callable[[ClientTransaction[F]], None]) -> None:
        self._timers, self._send, self._timed_out = timers, send, timed_out
        # In order of their start, so that timer F is due at the front; for timer E a queue for each interval, in order of deadlines.
        self._pending: dict[str, ClientTransaction[F]] = {}
        self._resends: dict[float, deque[tuple[float, ClientTransaction[F]]]] = {}
        # Those that are brief, in order of their start too.
        self._brief: deque[ClientTransaction[F]] = deque()

    def __len__(self) -> int:
        return len(self._pending)

    def start(
        self,
        branch: str,
        method: str,
        octets: bytes,
        flow: F,
        reliable: bool,
        now: float,
        user: object,
        heard: int = 0,
        *,
        brief: bool = False,
    ) -> None:
        """Send a request for the first time. heard, brief: as in ClientTransaction."""
        transaction = ClientTransaction(branch, method, octets, flow, reliable, now, self._timers.t1, user, heard, brief)
        self._pending[branch] = transaction
        if brief:
            self._brief.append(transaction)
        if not reliable:
            self._arm(transaction, now)
        self._send(octets, flow)

    def pending(self, branch: str) -> ClientTransaction[F] | None:
        """The transaction of this branch that waits for its final response."""
        return self._pending.get(branch)

    def response(self, branch: str, method: str, status: int) -> ClientTransaction[F] | None:
        """Match a response (RFC 3261 section 17.1.3). Returns the transaction that a final one ends, else None."""
        transaction = self._pending.get(branch)
        if transaction is None or transaction.method != method:
            return None
        if status < 200:
            transaction.state = ClientState.PROCEEDING
            return None
        return self._end(transaction)

    def flow_lost(self, flow: F) -> list[ClientTransaction[F]]:
        """A connection is gone: ends what was waiting on it and returns it, oldest first."""
        return [self._end(each) for each in list(self._pending.values()) if each.flow == flow]

    def next_deadline(self) -> float | None:
        """When timer E or F fires next, in the caller's seconds; None while nothing waits.

        E starts at T1, doubles up to T2, is T2 once a provisional response came, and runs on unreliable transports only; F is 64*T1
        after the start. RFC 3261 section 17.1.2.2. What is brief ends before that.
        """
        times = [queue[0][0] for queue in self._resends.values() if queue]
        if self._brief:
            times.append(self._brief[0].started + self._timers.brief)
        if self._pending:
            times.append(next(iter(self._pending.values())).started + self._timers.timeout)
        return min(times, default=None)

    def on_deadline(self, now: float) -> None:
        """Fire what is due."""
        for transaction in self._overdue(now):
            self._timed_out(self._end(transaction))
        for queue in list(self._resends.values()):
            while queue and queue[0][0] <= now:
                _, transaction = queue.popleft()
                if transaction.state is ClientState.TERMINATED:
                    continue
                doubled = min(transaction.interval * 2, self._timers.t2)
                transaction.interval = self._timers.t2 if transaction.state is ClientState.PROCEEDING else doubled
                transaction.copies += 1
                self._arm(transaction, now)
                self._send(transaction.octets, transaction.flow)

    def _overdue(self, now: float) -> Iterator[ClientTransaction[F]]:
        while self._brief and self._brief[0].started + self._timers.brief <= now:
            if (brief := self._brief.popleft()).state is not ClientState.TERMINATED:
                yield brief
        while self._pending:
            oldest = next(iter(self._pending.values()))
            if oldest.started + self._timers.timeout > now:
                return
            yield oldest

    def _arm(self, transaction: ClientTransaction[F], now: float) -> None:
        self._resends.setdefault(transaction.interval, deque()).append((now + transaction.interval, transaction))

    def _end(self, transaction: ClientTransaction[F]) -> ClientTransaction[F]:
        transaction.state = ClientState.TERMINATED
        self._pending.pop(transaction.branch, None)
        return transaction


class InviteState(Enum):
    """RFC 3261 figure 7, for an INVITE that is refused at once."""

    COMPLETED = "completed"
    CONFIRMED = "confirmed"


class InviteTransaction(Generic[F]):
    """A refused INVITE: its final response is repeated (timer G) until the ACK comes or timer H ends it (RFC 3261 section 17.2.1)."""

    __slots__ = ("_ends_at", "_interval", "_resend_at", "_timers", "flow", "reliable", "response", "state")

    def __init__(self, response: bytes, flow: F, reliable: bool, now: float, timers: Timers) -> None:
        self.response, self.flow, self.reliable = response, flow, reliable
        self._timers, self._interval = timers, timers.t1
        self.state = InviteState.COMPLETED
        self._ends_at = now + timers.timeout
        self._resend_at = None if reliable else now + timers.t1

    def acknowledge(self, now: float) -> None:
        """The ACK came; further ones are absorbed for timer I (T4, or nothing on a reliable transport)."""
        if self.state is InviteState.COMPLETED:
            self.state = InviteState.CONFIRMED
            self._resend_at = None
            self._ends_at = now if self.reliable else now + self._timers.t4

    def next_deadline(self) -> float:
        """When timer G, H or I fires next."""
        return self._ends_at if self._resend_at is None else min(self._resend_at, self._ends_at)

    def on_deadline(self, now: float) -> bytes | None:
        """What to send again now; None when the transaction is over or only waits."""
        if self._resend_at is None or now < self._resend_at or now >= self._ends_at:
            return None
        self._interval = min(self._interval * 2, self._timers.t2)
        self._resend_at = now + self._interval
        return self.response

    def is_over(self, now: float) -> bool:
        """Whether it may be forgotten."""
        return now >= self._ends_at
