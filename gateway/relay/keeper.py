"""The keeper: has messages kept and settled, one commit for all that has gathered while the last one ran.

An offer is answered when its commit is done: kept, or refused with the whole group. What no commit has taken within 3 s is withdrawn and
refused; what a running commit holds is answered by its result only, so that nothing is ever both refused and kept.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from gateway.core.errors import Refusal
from gateway.core.ports import Committed, Recollection, Settlement, Store

from .lane import Message

WITHDRAW_SECONDS = 3.0
"""MSG-10: a MESSAGE is answered within 3 s."""
OVERLOAD_SECONDS = 1.0
MOST_BATCH_OCTETS = 16 * 1024 * 1024
_MOST_ROWS = 256
_SETTLE_SECONDS = 0.004
_GATHER_SECONDS, _MOST_GATHER_SECONDS = 0.001, 0.006
"""Each message of a commit holds up the next commit by so much, up to a limit: below 1000 messages a second a message is committed at
once, above that each commit takes a whole group."""
_RETRY_COMMIT_SECONDS = 0.5
_MOST_MEMORIES = 10_000


class Keeper:
    """Everything runs on the loop. kept: takes messages that are on disk, in order. lost: an offer that is not to be kept after all."""

    def __init__(self, store: Store, kept: Callable[[Sequence[Message]], None], lost: Callable[[Message], None]) -> None:
        self._store, self._kept, self._lost = store, kept, lost
        self._loop = asyncio.get_running_loop()
        self._batch: deque[Message] = deque()
        self._batch_octets = 0
        self._settled: list[int] = []
        self._settlements: list[Settlement] = []
        self._memories: deque[Recollection] = deque(maxlen=_MOST_MEMORIES)
        self._follow_ups: dict[int, Message] = {}
        self._numbered: dict[int, Callable[[], None]] = {}
        self._committing = False
        self._commit_at = 0.0
        self._octets_of: dict[int, int] = {}
        self._octets = 0
        self._flush_handle: asyncio.Handle | None = None
        self._settle_handle: asyncio.TimerHandle | None = None
        self._withdraw_handle: asyncio.TimerHandle | None = None

    # -- what there is -------------------------------------------------------------------------------------------------
    @property
    def messages(self) -> int:
        """How many messages are kept, or are about to be."""
        return len(self._octets_of)

    @property
    def octets(self) -> int:
        """How many octets these have."""
        return self._octets

    @property
    def is_busy(self) -> bool:
        """Whether anything is on its way to the store."""
        return bool(self._committing or self._batch or self._settled or self._settlements or self._memories)

    @property
    def is_overloaded(self) -> bool:
        """Whether what waits for a commit has waited too long or is too much."""
        if not self._batch:
            return False
        return self._batch_octets > MOST_BATCH_OCTETS or self._loop.time() - self._batch[0].since > OVERLOAD_SECONDS

    def count(self, seq: int, octets: int) -> None:
        """A message that is kept, or is about to be."""
        self._octets_of[seq] = octets
        self._octets += octets

    def _uncount(self, seq: int) -> None:
        self._octets -= self._octets_of.pop(seq, 0)

    def stop(self) -> None:
        """Set no more timers."""
        for handle in (self._flush_handle, self._settle_handle, self._withdraw_handle):
            if handle:
                handle.cancel()

    # -- handing in ----------------------------------------------------------------------------------------------------
    def keep(self, message: Message) -> None:
        """Put a message into the next commit."""
        message.since = self._loop.time()
        self.count(message.seq, message.octets)
        self._batch.append(message)
        self._batch_octets += message.octets
        self._flush_soon()
        if self._withdraw_handle is None:
            self._withdraw_handle = self._loop.call_later(WITHDRAW_SECONDS, self._withdraw)

    def settle(self, seq: int) -> None:
        """A message was delivered, or is to be forgotten."""
        self._settled.append(seq)
        self._flush_later()

    def postpone(self, settlement: Settlement, follow_up: Message | None = None) -> None:
        """A message failed, is to be tried again, or is put aside; its follow-up is kept in the same commit."""
        if follow_up:
            self._follow_ups[follow_up.seq] = follow_up
        self._settlements.append(settlement)
        self._flush_later()

    def renumber(self, settlement: Settlement, done: Callable[[], None]) -> None:
        """A message gets a new number; `done` is called when that is on disk, and may be used on the wire."""
        self._numbered[settlement.number] = done
        self._settlements.append(settlement)
        self._flush_soon()

    def remember(self, memory: Recollection) -> None:
        """Something to be remembered beside all messages; while the store is broken, the oldest of too many go."""
        self._memories.append(memory)
        self._flush_later()

    # -- committing ----------------------------------------------------------------------------------------------------
    def _flush_soon(self) -> None:
        if self._flush_handle is None and not self._committing:
            self._flush_handle = self._loop.call_at(self._commit_at, self._flush)

    def _flush_later(self) -> None:
        """Settlements wait a moment for messages to ride with: a commit of their own costs as much as one of twenty messages."""
        if self._settle_handle is None and not self._committing:
            self._settle_handle = self._loop.call_later(_SETTLE_SECONDS, self._flush)

    def _flush(self) -> None:
        for handle in (self._flush_handle, self._settle_handle):
            if handle:
                handle.cancel()
        self._flush_handle = self._settle_handle = None
        if self._committing or not (self._batch or self._settled or self._settlements or self._memories):
            return
        messages = [self._batch.popleft() for _ in range(min(len(self._batch), _MOST_ROWS))]
        self._batch_octets -= sum([message.octets for message in messages])
        settled, self._settled = self._settled, []
        settlements, self._settlements = self._settlements[:_MOST_ROWS], self._settlements[_MOST_ROWS:]
        memories = [self._memories.popleft() for _ in range(min(len(self._memories), _MOST_ROWS))]
        self._committing = True
        self._commit_at = self._loop.time() + min(_GATHER_SECONDS * len(messages), _MOST_GATHER_SECONDS)
        acceptances = [message.acceptance for message in messages if message.acceptance]

        def committed(result: Committed) -> None:
            if result.fault:
                # Those that came meanwhile are newer, and stay where there is no room for both.
                self._memories = deque([*memories, *self._memories], _MOST_MEMORIES)
            self._committed(messages, settled, settlements, result)

        self._store.commit(acceptances, settled, settlements, committed, memories)

    def _committed(self, messages: list[Message], settled: list[int], settlements: list[Settlement], result: Committed) -> None:
        self._committing = False
        if result.fault:
            self._settled = settled + self._settled
            self._settlements = settlements + self._settlements
            self._flush_handle = self._loop.call_later(_RETRY_COMMIT_SECONDS, self._flush)
            for message in messages:
                self._refuse(message, "store-broken")
            return
        for seq in settled:
            self._uncount(seq)
        for settlement in settlements:
            if settlement.due_at is None and not settlement.parked:
                self._uncount(settlement.seq)
            if settlement.follow_up:
                follow_up = self._follow_ups.pop(settlement.follow_up.seq)
                self.count(follow_up.seq, follow_up.octets)
                messages.append(follow_up)
        for message in messages:
            if message.answered:
                message.answered(None)
                message.answered = None
        self._kept(messages)
        for settlement in settlements:
            if done := self._numbered.pop(settlement.number, None):
                done()
        if self._batch or self._numbered:
            self._flush_soon()
        elif self._settled or self._settlements or self._memories:
            self._flush_later()

    def _refuse(self, message: Message, key: str) -> None:
        self._uncount(message.seq)
        self._lost(message)
        if message.answered:
            message.answered(Refusal(key))

    def _withdraw(self) -> None:
        """Refuse what no commit has taken in time."""
        self._withdraw_handle = None
        now = self._loop.time()
        while self._batch and now - self._batch[0].since >= WITHDRAW_SECONDS:
            message = self._batch.popleft()
            self._batch_octets -= message.octets
            self._refuse(message, "store-timeout")
        if self._batch:
            due = self._batch[0].since + WITHDRAW_SECONDS
            self._withdraw_handle = self._loop.call_at(max(due, now + 0.01), self._withdraw)
