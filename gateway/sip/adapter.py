"""The SIP side as the rest of the gateway sees it: its life and its time, and deliveries carried as requests of our own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import NamedTuple, cast

import structlog

from gateway.core.envelope import Envelope
from gateway.core.errors import Refusal
from gateway.core.outcome import UNSENDABLE, Outcome, Verdict
from gateway.core.ports import Delivery, Parcel, Policy, Security, Sink
from gateway.core.settings import Settings
from gateway.core.tables import Tables
from gateway.core.uri import Uri

from .arrivals import Arrivals
from .bodies import Form, needed
from .codec import Draft, SipCodec
from .endpoint import TRYING_AFTER_SECONDS, Endpoint, ServerTransaction
from .flow import Flow
from .hops import Hops
from .listening import longest_sent_by, sent_by
from .locate import Locator, NotFoundError, Target
from .message import BadMessage, Request, Response
from .peers import Peers
from .questions import Question, Questions
from .reading import read_response
from .redirect import Place, Redirects, Trail
from .signed_dates import SignedDates
from .transaction import ClientTransaction, Timers
from .transport import Transports
from .uas import Uas

MOST_PENDING = 4096
"""Requests of ours that may wait for their answer at once; retries get half of that, so that dead next hops do not starve live ones."""
_HELD = Outcome(Verdict.LATER, 503, "The next hop has asked us to wait")
_TIMED_OUT = Outcome(Verdict.UNKNOWN, 408, "The SIP side did not answer")
_CONNECTION_LOST = Outcome(Verdict.UNKNOWN, 408, "The connection to the SIP side was lost")
_UNREACHABLE = Outcome(Verdict.LATER, 408, "The SIP side cannot be reached")
_NOT_LOOKED_UP = Outcome(Verdict.LATER, 408, "The SIP side cannot be looked up")
_NO_FORM_LEFT = Outcome(Verdict.FAILED, 415, "No form of it is taken there")
_UNSUPPORTED, _UNAVAILABLE = 415, 503

log = structlog.get_logger("sip")


class _Attempt(NamedTuple):
    """A delivery on its way. targets: the one that it was sent to, then those that are left. repeat: an earlier copy may have arrived.

    begun: when it was sent to the first target of its next hop. renewed: this target has it over a second connection. form: the one
    in which it was sent.
    """

    delivery: Delivery
    targets: tuple[Target, ...]
    repeat: bool
    begun: float
    renewed: bool
    form: Form


class SipAdapter:
    """Implements the Carrier port. Made before the loop runs; `open` makes what needs the loop and the sockets."""

    window = 1
    _loop: asyncio.AbstractEventLoop
    _endpoint: Endpoint
    _arrivals: Arrivals

    def __init__(
        self,
        settings: Settings,
        tables: Tables,
        policy: Policy,
        codec: SipCodec,
        sink: Sink,
        secret: bytes,
        peers: Peers,
        timers: Timers | None = None,
        security: Security | None = None,
        dates: SignedDates | None = None,
    ) -> None:
        self._settings, self._tables, self._policy, self._codec, self._sink, self._secret = settings, tables, policy, codec, sink, secret
        self._timers, self._security = timers or Timers(), security
        self._dates = dates or SignedDates(mark=settings.limits.stale_date == "mark")
        self._transports = Transports(settings.sip.listen, self)
        self._locator = Locator(settings.sip.ways)
        self._hops: Hops[Delivery] = Hops()
        self._redirects = Redirects(settings, tables.numbers.host)
        self._peers = peers
        ready, put = partial(self.ready, retry=True), partial(self._put, "OPTIONS")
        self._questions = Questions(peers, codec, self._locator, self._spawn, ready, put)
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = float("inf")
        # Gates that were refused for want of room, in the order in which they are told when there is some.
        self._refused: dict[str, None] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        # What comes between `open` and `serve` waits here.
        self._early: list[Callable[[], None]] | None = []

    # -- life ----------------------------------------------------------------------------------------------------------
    async def open(self) -> None:
        """Listen; what comes waits for `serve`. Raises ConfigFault."""
        self._loop = asyncio.get_running_loop()
        await self._transports.open()
        listeners, name = self._transports.local, self._settings.name
        self._codec.sent_by.update(longest_sent_by(listeners, name))
        self._sent_by = {local: sent_by(local, name) for _, local in listeners}
        ours = frozenset(self._sent_by.values())
        uas = Uas(self._policy, self._tables, self._settings, self._secret, ours, self._security, self._dates)
        self._endpoint = Endpoint(
            send=self._transports.send,
            arrived=self._arrived,
            ended=self._ended,
            trusts=self._trusts,
            kept=lambda key: self._sink.age(key) is not None,
            heard=self._transports.heard,
            let_go=self._transports.let_go,
            sent_by=ours,
            secret=self._secret,
            now=self._loop.time(),
            timers=self._timers,
        )
        self._arrivals = Arrivals(uas, self._endpoint, self._sink, self._peers, self._loop.time, self._timers.timeout, self._disown)

    def serve(self) -> None:
        """Take what has come since `open`, and whatever comes: the relay is there."""
        early, self._early = self._early or [], None
        for work in early:
            work()

    def drain(self) -> None:
        """From now on new requests get 503."""
        self._arrivals.drain()

    def close(self) -> None:
        """Close every socket. What was on its way is tried again at the next start."""
        if self._timer:
            self._timer.cancel()
        for task in self._tasks:
            task.cancel()
        self._transports.close()

    @property
    def counters(self) -> dict[str, int]:
        """What the endpoint has counted."""
        return self._endpoint.counters

    # -- octets (the Receiver of the sockets) --------------------------------------------------------------------------
    def received(self, data: bytes, flow: Flow) -> None:
        """A datagram or a whole message."""
        if self._early is not None:
            self._early.append(partial(self.received, data, flow))
            return
        self._endpoint.receive(data, flow, self._loop.time())

    def unreadable(self, fault: BadMessage, flow: Flow) -> None:
        """A stream that cannot be read on."""
        if self._early is not None:
            self._early.append(partial(self.unreadable, fault, flow))
            return
        self._endpoint.bad(fault, flow)

    def lost(self, flow: Flow, heard: int) -> None:
        """What was sent on this flow and is not answered has an unknown fate (TXN-24).

        A request since which the peer has said nothing, on a connection that had served before, has most likely met its end: peers close
        what is idle, or each after its answer. It goes again at once over a new one, the same request as after any loss, and only once.
        """
        for transaction in self._lost(flow):
            attempt = cast("_Attempt", transaction.user)
            if heard and heard == transaction.heard and not attempt.renewed and self._has_time(attempt):
                self._request(attempt.delivery, attempt.targets, repeat=True, begun=attempt.begun, renewed=True)
            else:
                self._finish(transaction, _CONNECTION_LOST)

    def unreachable(self, flow: Flow) -> None:
        """What was sent on this flow has not arrived, unless an earlier copy of it has (TXN-24)."""
        for transaction in self._lost(flow):
            is_first = transaction.copies == 1 and not cast("_Attempt", transaction.user).repeat
            self._finish(transaction, _UNREACHABLE if is_first else _CONNECTION_LOST)

    def _lost(self, flow: Flow) -> list[ClientTransaction[Flow]]:
        ended = self._endpoint.clients.flow_lost(flow) if self._early is None else []
        for each in ended:
            if isinstance(each.user, Question):
                self._questions.ended(each.user, None)
        return [each for each in ended if isinstance(each.user, _Attempt)]

    def owes(self, flow: Flow) -> bool:
        """Whether a request that came on this flow waits for its answer."""
        return self._early is not None or self._endpoint.owes(flow)

    def _trusts(self, flow: Flow) -> bool:
        try:
            self._policy.peer(flow.transport, flow.host)
        except Refusal:
            return False
        return True

    # -- requests that come --------------------------------------------------------------------------------------------
    def _arrived(self, transaction: ServerTransaction) -> None:
        self._arrivals.take(transaction)
        self._arm(transaction.arrived + (self._timers.t1 if transaction.request.method == "INVITE" else TRYING_AFTER_SECONDS))

    def _disown(self, request: Request) -> None:
        """A request of ours has come back: the 482 that it gets says nothing of an earlier copy of it."""
        for via in request.vias:
            if (ours := self._endpoint.clients.pending(via.branch or "")) and isinstance(ours.user, _Attempt):
                ours.user = ours.user._replace(repeat=False)

    # -- messages that leave (the Carrier port) ------------------------------------------------------------------------
    def translate(self, envelope: Envelope, number: int) -> Parcel:
        """The MESSAGE for an envelope. Raises Refusal; "typing-unknown" has the recipient asked, for the next time."""
        try:
            return self._codec.write(envelope, number)
        except Refusal as refusal:
            if refusal.key == "typing-unknown":
                self._questions.ask(envelope)
            raise

    def ready(self, gate: str, *, retry: bool) -> bool:
        """Whether a request may be sent to this next hop now."""
        if self._hops.is_held(gate, self._loop.time()):
            # `_hold` tells when that is over.
            return False
        room = self._hops.has_room(gate) and len(self._endpoint.clients) < (MOST_PENDING // 2 if retry else MOST_PENDING)
        if not room:
            self._refused[gate] = None
        return room

    def send(self, delivery: Delivery) -> None:
        """Send one MESSAGE; its final response, or its time-out, is the outcome."""
        gate = delivery.parcel.gate
        if targets := self._locator.known(Uri.parse(gate)):
            self._request(delivery, self._hops.in_order(targets, self._loop.time()))
        elif self._hops.wait(gate, delivery):
            self._spawn(self._locate(gate))

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _locate(self, gate: str) -> None:
        """Find the targets of a named hop for what waits; whatever comes of it, nothing waits any more."""
        found: tuple[Target, ...] | Outcome
        try:
            found = await self._locator.locate(Uri.parse(gate))
        except NotFoundError as error:
            found = Outcome(Verdict.LATER if error.temporary else Verdict.FAILED, 408 if error.temporary else 502, str(error))
        except Exception:
            log.exception("cannot look up a next hop", side="sip", gate=gate)
            found = _NOT_LOOKED_UP
        for delivery in self._hops.located(gate):
            self._leave(delivery, found)
        if gate in self._refused:
            del self._refused[gate]
            self._sink.link_up(gate)

    def _leave(self, delivery: Delivery, found: tuple[Target, ...] | Outcome) -> None:
        """Send what has waited. A defect of ours stays with its message: the others have waited for the same answer."""
        try:
            if isinstance(found, Outcome):
                self._go_on(delivery, found)
            else:
                self._request(delivery, self._hops.in_order(found, self._loop.time()))
        except Exception:
            log.exception("cannot be sent", side="sip", trace_id=delivery.envelope.trace_id)
            delivery.done(UNSENDABLE)

    def _request(
        self, delivery: Delivery, targets: tuple[Target, ...], *, repeat: bool = False, begun: float | None = None, renewed: bool = False
    ) -> None:
        """Send to the first of these. repeat: an earlier copy of this try may have arrived. begun, renewed: as in _Attempt; None is now."""
        target, draft, repeat = targets[0], _draft_of(delivery), repeat or delivery.repeat
        is_outdated = not repeat and self._codec.is_outdated(draft, delivery.envelope)
        if draft.number != delivery.number or draft.transport != target.transport or is_outdated:
            try:
                draft = self._codec.draft(delivery.envelope, delivery.number, target.transport, draft.trail, draft.refused)
            except Refusal:
                delivery.done(_NO_FORM_LEFT)
                return
        begun = self._loop.time() if begun is None else begun
        self._put("MESSAGE", draft, target, _Attempt(delivery, targets, repeat, begun, renewed, draft.form))

    def _put(self, method: str, draft: Draft, target: Target, user: _Attempt | Question) -> None:
        """Put a request on the wire; its end is told with this user."""
        branch = self._endpoint.branch()
        local = self._transports.origin(target.transport, target.host)
        octets = draft.sent(self._sent_by.get(local, draft.sent_by), branch)
        flow = self._transports.way(target.transport, local, target.host, target.port)
        now, brief = self._loop.time(), isinstance(user, _Attempt) and user.delivery.envelope.volatile
        self._endpoint.request(branch, method, octets, flow, now, user, brief=brief)
        first = self._timers.timeout if flow.reliable else self._timers.t1
        self._arm(now + (min(first, self._timers.brief) if brief else first))

    def _rewrite(self, attempt: _Attempt, response: Response) -> bool:
        """After a 415: learn from it, and have the message sent in another form, if there is one (ICPIM-34, FRAG-46)."""
        delivery = attempt.delivery
        if attempt.form[0] == "smime":
            event = "a signed or encrypted message was refused; it is not sent without its protection"
            log.warning(event, side="sip", trace_id=delivery.envelope.trace_id)
        if not (features := needed(attempt.form)):
            return False
        self._peers.refused(delivery.envelope.recipient, features, response)
        try:
            parcel = self._codec.rewritten(delivery.parcel, delivery.envelope, attempt.form, self._loop.time() - attempt.begun)
        except Refusal:
            return False
        delivery.rewritten(parcel)
        return True

    def _ended(self, transaction: ClientTransaction[Flow], response: Response | None) -> None:
        if isinstance(transaction.user, Question):
            self._questions.ended(transaction.user, response)
            return
        self._finish(transaction, self._outcome(cast("_Attempt", transaction.user), response) if response else _TIMED_OUT, response)

    def _finish(self, transaction: ClientTransaction[Flow], outcome: Outcome, response: Response | None = None) -> None:
        """Tell the outcome, or go on to the next target where this one cannot be used (RFC 3263 section 4.3).

        After a time-out, or too long with the targets so far, the relay tries again and finds them in another order (DNS-10).
        """
        attempt = cast("_Attempt", transaction.user)
        delivery, targets, repeat, begun, *_ = attempt
        is_unknown = outcome.verdict is Verdict.UNKNOWN
        if outcome is _TIMED_OUT and delivery.envelope.volatile:
            # Whatever it could say of its target has not had the time.
            pass
        elif is_unknown or outcome is _UNREACHABLE or outcome.status == _UNAVAILABLE:
            self._hops.avoid(targets[0], outcome.retry_after or 0.0, self._loop.time())
            if len(targets) > 1:
                if outcome is not _TIMED_OUT and self._has_time(attempt):
                    self._request(delivery, targets[1:], repeat=repeat or is_unknown, begun=begun)
                    return
            elif outcome.retry_after:
                self._hold(delivery.parcel.gate, outcome.retry_after)
        else:
            self._hops.answered(targets[0])
        if not (response and response.status == _UNSUPPORTED and self._rewrite(attempt, response)):
            self._go_on(delivery, outcome, response, self._loop.time() - begun)
        if self._refused:
            refused, self._refused = self._refused, {}
            for gate in refused:
                self._sink.link_up(gate)

    def _has_time(self, attempt: _Attempt) -> bool:
        """Whether it may be sent once more, there or elsewhere, before the relay tries again. What is volatile is sent once."""
        return not attempt.delivery.envelope.volatile and self._loop.time() - attempt.begun < self._trail(attempt.delivery).left

    def _go_on(self, delivery: Delivery, outcome: Outcome, response: Response | None = None, took: float = 0.0) -> None:
        """Tell the outcome, or have the message sent to the next place that it was redirected to (SIP-103). took: seconds at this place."""
        onward = self._onward(delivery, outcome, response, took)
        while isinstance(onward, Trail):
            if self._hops.is_held(onward.here.gate, self._loop.time()):
                onward = onward.after(_HELD)
                continue
            try:
                parcel = self._codec.moved(delivery.parcel, delivery.envelope, onward, _draft_of(delivery).refused)
            except Refusal:
                onward = onward.after(outcome)
            else:
                delivery.moved(parcel)
                return
        delivery.done(onward)

    def _onward(self, delivery: Delivery, outcome: Outcome, response: Response | None, took: float) -> Trail | Outcome:
        trail = _draft_of(delivery).trail
        if response and 300 <= response.status < 400:
            trail = self._redirects.extended(self._trail(delivery), response)
        return trail.after(outcome, took) if trail else outcome

    def _trail(self, delivery: Delivery) -> Trail:
        """Where this message has been, and how long it may still go on."""
        draft = _draft_of(delivery)
        return draft.trail or Trail((Place(Uri.parse(draft.request_uri), delivery.parcel.gate),), self._timers.timeout)

    def _outcome(self, attempt: _Attempt, response: Response) -> Outcome:
        vouched = self._settings.route(attempt.delivery.envelope.recipient.domain).receipt_on_200
        return read_response(response, self._tables, repeat=attempt.repeat, vouched=vouched)

    def _hold(self, gate: str, seconds: float) -> None:
        self._loop.call_later(self._hops.hold(gate, seconds, self._loop.time()) + 0.01, self._sink.link_up, gate)

    # -- time ----------------------------------------------------------------------------------------------------------
    def _arm(self, deadline: float) -> None:
        if deadline >= self._timer_at:
            return
        if self._timer:
            self._timer.cancel()
        self._timer_at = deadline
        self._timer = self._loop.call_at(deadline, self._on_deadline)

    def _on_deadline(self) -> None:
        self._timer, self._timer_at = None, float("inf")
        self._endpoint.on_deadline(self._loop.time())
        deadline = self._endpoint.next_deadline()
        if deadline is not None:
            self._arm(deadline)


def _draft_of(delivery: Delivery) -> Draft:
    draft = delivery.parcel.wire
    assert isinstance(draft, Draft)
    return draft
