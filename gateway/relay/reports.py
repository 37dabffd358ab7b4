"""News of messages that were delivered before: finds what each is about, and has its author told. One notice about a message at a time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

import structlog

from gateway.core.errors import Refusal
from gateway.core.imdn import Disposition
from gateway.core.ports import Answered, Notice, Store
from gateway.core.remember import learn

from .intake import Intake
from .lane import Message
from .report import Facts

_MOST_PENDING, _MOST_OF_ONE = 10_000, 16
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
        # For each pair of people, when the latest message came that was said to be displayed (NOTE-08).
        self._shown: dict[int, float] = {}

    def told(self, notices: Sequence[Notice], answered: Answered | None = None) -> None:
        """As `Sink.told` has it."""
        if not notices or len(self._pending) >= _MOST_PENDING:
            if notices:
                log.warning("notices dropped, too many wait for the store", notices=len(notices))
            else:
                log.info("a report without news")
            if answered:
                answered(Refusal("overloaded") if notices else None)
            return
        done = _together(len(notices), answered) if answered else None
        for notice in notices:
            self._add(notice, done)

    def _add(self, notice: Notice, done: Callable[[Refusal | None], None] | None) -> None:
        key = self._intake.trace_key(notice.trace)
        jobs = self._pending.setdefault(key, deque())
        if len(jobs) < _MOST_OF_ONE:
            jobs.append((notice, done))
            if len(jobs) == 1:
                self._store.recall(key, partial(self._recalled, key))
        elif done:
            done(None)

    def _recalled(self, key: int, text: str | None) -> None:
        if text is None:
            if self._pending[key][0][1]:
                self._done(key, Refusal("store-broken"))
            else:
                self._loop.call_later(_RETRY_SECONDS, self._store.recall, key, partial(self._recalled, key))
            return
        news = self._pending[key][0][0].news
        facts = Facts.load(text) if text else None
        if facts is None:
            log.info("news of no known message", news=news.status)
        if facts is None or (news is Disposition.DISPLAYED and self._is_stale(facts)):
            self._done(key, None)
            return
        message = self._intake.report(facts, news, key)
        if message is None:
            self._done(key, None)
            return
        message.answered = partial(self._done, key)
        try:
            (self._keep if self._pending[key][0][1] else self._keep_surely)(message)
        except Refusal as refusal:
            self._done(key, refusal)

    def _done(self, key: int, refusal: Refusal | None) -> None:
        jobs = self._pending[key]
        _, done = jobs.popleft()
        if jobs:
            self._store.recall(key, partial(self._recalled, key))
        else:
            del self._pending[key]
        if done:
            done(refusal)

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
