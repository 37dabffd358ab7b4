"""Requests that come: refused, answered, or handed to the Sink, which decides on the answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import structlog

from gateway.core.envelope import Envelope
from gateway.core.errors import Refusal
from gateway.core.ports import Notice, Peer, Sink
from gateway.core.tokens import fresh_token

from .endpoint import Answer, Endpoint, ServerTransaction
from .message import Request
from .peers import Peers
from .uas import Uas
from .writer import PHRASES

_BROKEN = Answer(500, PHRASES[500])

log = structlog.get_logger("sip")


class Arrivals:
    """Everything runs on the loop; clock: its time. limit: seconds after which the sender of a request has given up.

    disown: takes a request of ours that has come back.
    """

    def __init__(
        self,
        uas: Uas,
        endpoint: Endpoint,
        sink: Sink,
        peers: Peers,
        clock: Callable[[], float],
        limit: float,
        disown: Callable[[Request], None],
    ) -> None:
        self._uas, self._endpoint, self._sink, self._peers = uas, endpoint, sink, peers
        self._clock, self._limit, self._disown = clock, limit, disown
        self._draining = False
        self._offered: set[int] = set()

    def drain(self) -> None:
        """From now on new requests get 503."""
        self._draining = True

    def take(self, transaction: ServerTransaction) -> None:
        """A new request: refuse it, answer it, or offer it."""
        self._safely(transaction, self._take)

    def _safely(self, transaction: ServerTransaction, take: Callable[[ServerTransaction], None]) -> None:
        try:
            self._decide(transaction, take)
        except Exception:
            # A defect of ours: its sender is told, and no transaction is left hanging.
            log.exception("cannot take a request", side="sip", call_id=transaction.request.call_id, peer=str(transaction.flow))
            self._endpoint.answer(transaction, _BROKEN, self._clock(), remember=True)

    def _decide(self, transaction: ServerTransaction, take: Callable[[ServerTransaction], None]) -> None:
        try:
            take(transaction)
        except Refusal as refusal:
            if refusal.key == "loop":
                self._disown(transaction.request)
            if refusal.key == "stale-date" and self._is_silenced(transaction):
                self._endpoint.forget(transaction)
                return
            self._refuse(transaction, refusal)

    def _is_silenced(self, transaction: ServerTransaction) -> bool:
        dates = self._uas.dates
        if not dates or not dates.is_silent(transaction.flow.host, transaction.key, time.time()):
            return False
        self._endpoint.counters["dropped"] += 1
        return True

    def _take(self, transaction: ServerTransaction) -> None:
        request, flow, uas, now = transaction.request, transaction.flow, self._uas, transaction.arrived
        peer = uas.peer(flow.transport, flow.host)
        uas.method(request)
        if request.method == "OPTIONS":
            if self._draining:
                raise Refusal("shutting-down")
            self._endpoint.answer(transaction, uas.options(request, flow.local), now, remember=False)
            return
        key = uas.message_key(request)
        if self._is_known(transaction, key):
            self._accept(transaction)
            return
        if self._draining or self._endpoint.is_crowded:
            raise Refusal("shutting-down" if self._draining else "overloaded")
        self._offer(peer, key, transaction)

    def _offer(self, peer: Peer, key: int, transaction: ServerTransaction, *, unknown: bool = False) -> None:
        """Hand on what a MESSAGE brings. key: of the message. unknown: as for `Uas.message`. Raises Refusal."""
        request, uas = transaction.request, self._uas
        read = uas.message(request, peer, fresh_token(), time.time(), transaction.flow.local, unknown=unknown)
        if read is None:
            self._accept(transaction, remember=True)
            return
        for name in uas.oddities(request, read):
            self._endpoint.counters[name] += 1
            if name == "misnamed" and isinstance(read, Envelope):
                log.info("message/cpim names another author", side="sip", trace_id=read.trace_id, peer=read.peer)
        self._offered.add(key)
        try:
            if isinstance(read, Envelope):
                # The Sink knows no more of what it has not kept.
                answered = partial(self._answered, transaction, key, read, remember=read.volatile)
                self._sink.offer(read, answered, (transaction.key, key))
            else:
                self._sink.told(read, partial(self._told, transaction, peer, key, read))
        except Exception:
            self._offered.discard(key)
            if isinstance(read, Envelope):
                uas.answered(read, is_kept=False)
            raise

    def _is_known(self, transaction: ServerTransaction, message_key: int) -> bool:
        """Whether this message was kept before: it is answered as it was then, and not kept again (MSG-19).

        Raises Refusal for a copy on another branch while the first transaction lives: a merged request (RFC 3261 section 8.2.2.2).
        """
        if self._sink.age(transaction.key) is not None:
            return True
        age = self._sink.age(message_key)
        if message_key in self._offered or (age is not None and age <= self._limit and not transaction.flow.reliable):
            raise Refusal("merged")
        return age is not None

    def _told(
        self, transaction: ServerTransaction, peer: Peer, message_key: int, read: tuple[Notice, ...], refusal: Refusal | None
    ) -> None:
        """The Sink has decided on news: a report of what it does not know is a message like any other, with the text beside the report."""
        if refusal is None or refusal.key != "report-unknown" or self._is_late(transaction):
            self._answered(transaction, message_key, read, refusal, remember=True)
            return
        self._offered.discard(message_key)
        self._safely(transaction, partial(self._offer, peer, message_key, unknown=True))

    def _is_late(self, transaction: ServerTransaction) -> bool:
        return self._clock() - transaction.arrived > self._limit

    def _answered(
        self,
        transaction: ServerTransaction,
        message_key: int,
        read: Envelope | tuple[Notice, ...],
        refusal: Refusal | None,
        *,
        remember: bool = False,
    ) -> None:
        """The Sink has decided."""
        self._offered.discard(message_key)
        if isinstance(read, Envelope):
            self._uas.answered(read, is_kept=refusal is None)
        if refusal is None:
            self._peers.met(transaction.request, read)
            if self._uas.dates and isinstance(read, Envelope) and read.verdict:
                self._uas.dates.keep(message_key, time.time())
        if self._is_late(transaction):
            # Its sender has given up; an answer now would only confuse (RFC 4320 section 4.2).
            self._endpoint.forget(transaction)
        elif refusal is None:
            self._accept(transaction, remember=remember)
        else:
            self._refuse(transaction, refusal)

    def _accept(self, transaction: ServerTransaction, *, remember: bool = False) -> None:
        """What the Sink keeps, it also knows again: such an answer need not be remembered a second time."""
        self._endpoint.answer(transaction, self._uas.accepted, self._clock(), remember=remember)

    def _refuse(self, transaction: ServerTransaction, refusal: Refusal) -> None:
        log.info(
            "refused",
            side="sip",
            key=refusal.key,
            detail=refusal.detail,
            peer=str(transaction.flow),
            method=transaction.request.method,
            call_id=transaction.request.call_id,
        )
        uas = self._uas
        self._endpoint.answer(transaction, uas.refused(refusal), self._clock(), remember=uas.is_lasting(refusal))
