"""News of messages that were delivered before: finds what each is about, and has its author told. One notice about a message at a time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

import structlog

from gateway.core.errors import Refusal
from gateway.core.imdn import Disposition
from gateway.core.outcome import Outcome
from gateway.core.ports import Answered, Notice, Store
from gateway.core.remember import learn

from .intake import Intake, named
from .lane import Message
from .report import Facts

_MOST_PENDING, _MOST_OF_ONE, _MOST_ASKED = 10_000, 16, 64
"""Messages of which news waits, notices about one of them, and questions to the store at once: commits wait behind those."""
_MOST_SHOWN = 100_000
_RETRY_SECONDS = 1.0

log = structlog.get_logger("relay")
Job = tuple[Notice, Callable[[Refusal | None], None] | None]


class Reports:
    """Everything runs on the loop. keep: takes a message that may be refused; keep_surely: one that must not be lost."""

    def __init__(self, store: Store, intake: Intake, keep: Callable[[Message], None], keep_surely: Callable[[Message], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._store, self._intake, self._keep, self._keep_surely = store, intake, keep, keep_surely
        # What waits for the same message: the first is being dealt with. So no two can both find that their category was not told.
        self._pending: dict[int, deque[Job]] = {}
        self._asked = 0
        self._to_ask: deque[int] = deque()
        self._dropped_at = 0.0
        # For each pair of people, when the latest message came that was said to be displayed (NOTE-08).
        self._shown: dict[int, float] = {}

    def told(self, notices: Sequence[Notice], answered: Answered | None = None) -> None:
        """As `Sink.told` has it."""
        if len(self._pending) >= _MOST_PENDING:
            if answered:
                answered(Refusal("overloaded"))
                return
            notices = self._worth_their_room(notices)
        if not notices:
            log.info("a report without news")
            if answered:
                answered(None)
            return
        done = _together(len(notices), answered) if answered else None
        for notice in notices:
            self._add(self._intake.trace_key(notice.trace), (notice, done))

    def _worth_their_room(self, notices: Sequence[Notice]) -> list[Notice]:
        """The failures: they come once, and each is about a message of ours that nobody was told about yet."""
        if self._loop.time() - self._dropped_at > 1.0:
            self._dropped_at = self._loop.time()
            log.warning("receipts are dropped, too much news waits for the store")
        return [notice for notice in notices if isinstance(notice.news, Outcome)]

    def _add(self, key: int, job: Job) -> None:
        jobs = self._pending.setdefault(key, deque())
        if len(jobs) < _MOST_OF_ONE:
            jobs.append(job)
            if len(jobs) == 1:
                self._ask(key)
        elif done := job[1]:
            # A text beside what may be no report must not be lost for that.
            done(Refusal("overloaded") if job[0].is_report else None)

    def _ask(self, key: int) -> None:
        if self._asked >= _MOST_ASKED:
            self._to_ask.append(key)
            return
        self._asked += 1
        self._store.recall(key, partial(self._recalled, key))

    def _recalled(self, key: int, text: str | None) -> None:
        self._asked -= 1
        if self._to_ask:
            self._ask(self._to_ask.popleft())
        if text is not None:
            self._tell(key, text)
        elif self._pending[key][0][1]:
            self._done(key, Refusal("store-broken"))
        else:
            self._loop.call_later(_RETRY_SECONDS, self._ask, key)

    def _tell(self, key: int, text: str) -> None:
        """The first that waits for this key has found what is remembered under it."""
        if first_name := named(text):
            # The message has another name, under which is kept what its author has been told.
            job = self._pending[key][0]
            self._next(key)
            self._add(first_name, job)
            return
        (notice, done), facts = self._pending[key][0], Facts.load(text) if text else None
        if facts is None:
            (log.info if isinstance(notice.news, Outcome) else log.debug)("news of no known message", news=notice.news.status)
            self._done(key, Refusal("report-unknown") if notice.is_report else None)
            return
        is_stale = notice.news is Disposition.DISPLAYED and self._is_stale(facts)
        message = None if is_stale else self._intake.report(facts, notice.news, key)
        if message is None:
            self._done(key, None)
            return
        message.answered = partial(self._done, key)
        try:
            (self._keep if done else self._keep_surely)(message)
        except Refusal as refusal:
            self._done(key, refusal)

    def _done(self, key: int, refusal: Refusal | None) -> None:
        _, done = self._pending[key][0]
        self._next(key)
        if done:
            done(refusal)

    def _next(self, key: int) -> None:
        """The first that waited for this key waits no more."""
        jobs = self._pending[key]
        jobs.popleft()
        if jobs:
            self._ask(key)
        else:
            del self._pending[key]

    def _is_stale(self, facts: Facts) -> bool:
        """Whether a later message of the same author was displayed before: "up to here" has said it of this one (NOTE-08)."""
        pair = hash((facts.author, facts.addressee))
        if self._shown.get(pair, 0.0) > facts.received_at:
            return True
        learn(self._shown, pair, facts.received_at, _MOST_SHOWN)
        return False


def _together(number: int, answered: Answered) -> Callable[[Refusal | None], None]:
    """One answer for several: given with the last of them, a refusal if one of them was refused."""
    refusals: list[Refusal | None] = []

    def done(refusal: Refusal | None) -> None:
        refusals.append(refusal)
        if len(refusals) == number:
            answered(next((each for each in refusals if each), None))

    return done
