"""The relay: takes messages and answers for them. What it takes is kept first, then waits in its lane to be delivered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from math import inf

import structlog

from gateway.core.envelope import Envelope
from gateway.core.errors import Refusal
from gateway.core.imdn import Disposition
from gateway.core.outcome import Outcome
from gateway.core.ports import Acceptance, Answered, Carrier, Entry, Keys, Notice, Recollection, Settlement, Store
from gateway.core.settings import Limits

from .conversations import KIND as CONVERSATION
from .conversations import Conversations
from .dispatch import Dispatch
from .intake import Intake
from .keeper import Keeper
from .lane import Message
from .lanes import Lanes
from .nicknames import Nicknames
from .reports import Reports
from .spellings import KIND as SPELLING
from .spellings import Spellings
from .typing import Typing

log = structlog.get_logger("relay")


class Relay:
    """Implements the Sink port; everything runs on the loop. `start` makes what needs the loop and the carriers."""

    lanes: Lanes
    dispatch: Dispatch
    _keeper: Keeper
    _intake: Intake
    _nicknames: Nicknames
    _reports: Reports
    _loop: asyncio.AbstractEventLoop

    def __init__(self, store: Store, limits: Limits, spellings: Spellings) -> None:
        self._store, self._limits, self._spellings = store, limits, spellings
        self._typing = Typing()
        self._typing_handle: asyncio.TimerHandle | None = None
        self._typing_due = inf
        self.conversations = Conversations(store.secret())
        self.age: Callable[[int], float | None] = store.age
        self.counters = {"accepted": 0, "delivered": 0, "failed": 0, "retried": 0, "refused": 0, "parked": 0}

    # -- life ----------------------------------------------------------------------------------------------------------
    def start(self, to_sip: Carrier, to_xmpp: Carrier, entries: Sequence[Entry]) -> None:
        """Take up where the last run ended. Call on the loop, before anything is offered."""
        self._loop = asyncio.get_running_loop()
        self._keeper = Keeper(self._store, self._kept, self._lost)
        self.lanes = Lanes(to_sip, to_xmpp, self._loop.time)
        self.dispatch = Dispatch(self._store, self.lanes, self._keeper, self.counters, self._failure, self._reached)
        self._nicknames = Nicknames()
        self._intake = Intake(
            self._store,
            self._limits.queue_age_hours,
            self._spellings,
            self._nicknames,
            self.conversations,
            self.lanes.carrier_of,
            self.dispatch.fates.ended,
        )
        self._reports = Reports(self._store, self._intake, self._keep_report, self._keep_report_surely)
        for entry in entries:
            self._keeper.count(entry.seq, entry.octets)
        self.dispatch.start(entries)

    def hold(self) -> None:
        """Send nothing more. What is on its way may end; what still comes is kept for the next start."""
        self.dispatch.hold()

    @property
    def is_busy(self) -> bool:
        """Whether anything is on its way to the store or to a carrier, other than what waits for a retry."""
        return self.is_committing or self.is_sending

    @property
    def is_sending(self) -> bool:
        """Whether anything is on its way to a carrier."""
        return self.lanes.is_sending

    @property
    def is_committing(self) -> bool:
        """Whether anything is on its way to the store."""
        return self._keeper.is_busy

    @property
    def size(self) -> tuple[int, int]:
        """(messages, octets) kept now."""
        return self._keeper.messages, self._keeper.octets

    def stop(self) -> None:
        """Set no more timers. What is not settled is in the store."""
        if self._typing_handle:
            self._typing_handle.cancel()
        self._keeper.stop()
        self.dispatch.stop()

    # -- taking (the Sink port) ----------------------------------------------------------------------------------------
    def offer(self, envelope: Envelope, answered: Answered, keys: Keys | None = None) -> None:
        """Translate, check the bounds, and put the message into the next commit."""
        if envelope.volatile:
            answered(None)
            self._notice(envelope)
            return
        try:
            self._refuse_when_full()
            message = self._intake.message(envelope, keys, answered)
            self.lanes.admit(message, self._limits.per_recipient)
        except Refusal as refusal:
            self.counters["refused"] += 1
            answered(refusal)
            return
        self._typing.content(envelope, self._loop.time())
        self.dispatch.drop_volatile(message)
        self._keeper.keep(message)

    def told(self, notices: Sequence[Notice], answered: Answered | None = None) -> None:
        """Tell the authors of messages that had been delivered; each is told once, and only when the gateway knows it (SEC-43)."""
        self._reports.told(notices, answered)

    def remember(self, memory: Recollection) -> None:
        """Have this written down with the next commit."""
        self._keeper.remember(memory)

    def link_up(self, gate: str) -> None:
        """Go on with what waited for this link or next hop."""
        self.dispatch.link_up(gate)

    def _refuse_when_full(self) -> None:
        keeper, limits = self._keeper, self._limits
        if keeper.is_overloaded or self._store.full():
            raise Refusal("overloaded")
        if keeper.messages >= limits.queue_messages or keeper.octets >= limits.queue_octets:
            raise Refusal("queue-full")

    # -- typing --------------------------------------------------------------------------------------------------------
    def _notice(self, envelope: Envelope) -> None:
        """A typing notice goes on where the rules of time say so."""
        self._pass_on(self._typing.notice(envelope, self._loop.time()))

    def _typing_ran_out(self) -> None:
        self._typing_due = inf
        self._pass_on(self._typing.on_deadline(self._loop.time()))

    def _pass_on(self, notices: Iterable[Envelope]) -> None:
        """Nobody is told of one that cannot be said on the other side (MSG-23)."""
        for notice in notices:
            try:
                self.dispatch.offer_volatile(notice)
            except Refusal as refusal:
                log.debug("typing notice dropped", reason=str(refusal), trace_id=notice.trace_id)
                self._typing.unsaid(notice)
        due = self._typing.next_deadline()
        if due is not None and due < self._typing_due:
            if self._typing_handle:
                self._typing_handle.cancel()
            self._typing_due, self._typing_handle = due, self._loop.call_at(due, self._typing_ran_out)

    # -- telling senders -----------------------------------------------------------------------------------------------
    def _keep_report(self, message: Message) -> None:
        """News that came in a request: it may be refused, and comes again. Raises Refusal."""
        self._refuse_when_full()
        self.lanes.expect(message)
        self._keeper.keep(message)

    def _keep_report_surely(self, message: Message) -> None:
        """News that comes once only."""
        self.lanes.expect(message)
        self._keeper.postpone(Settlement(0, follow_up=message.acceptance), message)

    def _failure(self, message: Message, outcome: Outcome) -> Message | None:
        assert message.envelope is not None  # it was read
        return self._intake.failure(message.envelope, outcome, message.parcel)

    def _reached(self, message: Message, disposition: Disposition) -> None:
        """What the gateway itself can say of a message, where that was asked for (IMDN-18, NOTE-05)."""
        envelope, parcel = message.envelope, message.parcel
        if envelope and parcel and disposition.wish in envelope.asked:
            self._reports.told([Notice(trace, disposition) for trace in parcel.traces[:1]])

    # -- what the keeper says ------------------------------------------------------------------------------------------
    def _kept(self, messages: Sequence[Message]) -> None:
        """These are on disk now: they wait to be sent."""
        for message in messages:
            for fact in self._acceptance(message).recollections:
                if fact.kind == SPELLING:
                    self._spellings.learn(fact.key, fact.facts)
                elif fact.kind == CONVERSATION:
                    self.conversations.learn(fact.key, fact.facts)
            if message.envelope:
                self._nicknames.learn(message.envelope)
        self.counters["accepted"] += len(messages)
        for lane in self.lanes.take(messages):
            self.dispatch.pump(lane)
        for message in messages:
            if message.envelope and Disposition.STORED.wish in message.envelope.asked and self.lanes.lane_of(message).stalled:
                self._reached(message, Disposition.STORED)

    def _lost(self, message: Message) -> None:
        """The store did not take it."""
        self._acceptance(message)
        self.counters["refused"] += 1
        self.lanes.miss(message)

    def _acceptance(self, message: Message) -> Acceptance:
        """What was handed to the store with this message; the store has decided, so it is needed no more."""
        acceptance, message.acceptance = message.acceptance, None
        assert acceptance is not None  # what is offered has one
        return acceptance
