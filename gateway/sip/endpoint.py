"""The SIP element without its sockets: octets and the time come in, octets go out, new requests and ends of our own requests are handed on.

Order for a request: readable? ours already (pending, answered)? ACK, CANCEL? else it is new. RFC 3261 sections 8, 17 and 18.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from gateway.core.digest import AgingDigestMap, digest

from . import writer
from .flow import Flow
from .message import MAGIC_COOKIE, BadMessage, Headers, Request, Response, parse
from .transaction import ClientTransaction, ClientTransactions, InviteTransaction, Timers

MOST_ANSWERED = 2_000_000
"""Room for 32 s at 60 000 requests a second (TXN-08)."""
TRYING_AFTER_SECONDS = 3.5
"""When a request that has no answer yet gets a 100: not before timer E of its sender has reached T2 (RFC 4320 section 4.1)."""
_MOST_INVITES = 1000
_CANCELLED = ("INVITE", "MESSAGE", "OPTIONS")
_DEFAULT_PORTS = {"TLS": ":5061"}

log = structlog.get_logger("sip")
Extra = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Answer:
    """A final response, as far as it does not come from the request. extra: header fields beside those that are copied."""

    status: int
    reason: str
    extra: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class ServerTransaction:
    """A new request that waits for its answer. key: the digest by which its retransmissions are known."""

    request: Request
    flow: Flow
    key: int
    arrived: float
    trying_sent: bool = False


Arrived = Callable[[ServerTransaction], None]
Ended = Callable[[ClientTransaction[Flow], Response | None], None]
"""One of our requests is over: with its final response, or None after timer F."""


class Endpoint:
    """One SIP element on any number of flows.

    send: puts octets on the wire. arrived: takes a new request; it must be answered by `answer` once. ended: the end of one of ours.
    sent_by: the Via hosts and ports that are ours, in normal form. secret: key of the To tags and digests.
    """

    def __init__(
        self,
        *,
        send: Callable[[bytes, Flow], None],
        arrived: Arrived,
        ended: Ended,
        trusts: Callable[[Flow], bool],
        sent_by: frozenset[str],
        secret: bytes,
        now: float,
        timers: Timers | None = None,
    ) -> None:
        self._send, self._arrived, self._ended, self._trusts = send, arrived, ended, trusts
        self._sent_by, self._secret = sent_by, secret
        self._timers = timers or Timers()
        self.clients: ClientTransactions[Flow] = ClientTransactions(self._timers, send, lambda each: ended(each, None))
        self._pending: dict[int, ServerTransaction] = {}
        self._answered = AgingDigestMap(self._timers.timeout, MOST_ANSWERED, now)
        # Answers that are kept are few and fixed: each is written down once and known by its index.
        self._answers: list[Answer] = [Answer(503, "Service Unavailable")]
        self._index_of: dict[Answer, int] = {self._answers[0]: 0}
        self._invites: dict[int, InviteTransaction[Flow]] = {}
        self.counters = {"requests": 0, "responses": 0, "retransmissions": 0, "bad": 0, "dropped": 0}

    # -- octets in -----------------------------------------------------------------------------------------------------
    def receive(self, data: bytes, flow: Flow, now: float) -> None:
        """One datagram, or one message of a stream."""
        try:
            message = parse(data, stream=flow.reliable)
            if isinstance(message, Response):
                self._response(message)
            else:
                self._request(message, flow, now)
        except BadMessage as fault:
            self.bad(fault, flow)

    def bad(self, fault: BadMessage, flow: Flow) -> None:
        """What cannot be processed gets the answer that its sender can still be given, or none (TOR-08, TOR-09, SIP-45)."""
        self.counters["bad"] += 1
        if fault.partial is None or not fault.status:
            self.counters["dropped"] += 1
            return
        log.info("refused", side="sip", key="bad-syntax", detail=str(fault), peer=str(flow))
        self._send(self._written(fault.partial, flow, Answer(fault.status, fault.what)), self._back(fault.partial, flow))

    def _response(self, response: Response) -> None:
        self.counters["responses"] += 1
        response.check()
        via = response.top_via
        if len(response.via_values) > 1 or via.sent_by not in self._sent_by or not via.branch:
            self.counters["dropped"] += 1
            return
        ended = self.clients.response(via.branch, response.cseq.method, response.status)
        if ended is not None:
            self._ended(ended, response)

    def _request(self, request: Request, flow: Flow, now: float) -> None:
        self.counters["requests"] += 1
        request.check()
        if request.top_via.param("maddr") is not None and not self._trusts(flow):
            # An answer would go to an address that did not ask (SEC-36).
            self.counters["dropped"] += 1
            return
        key = self._key(request, request.method)
        if request.method == "ACK":
            if invite := self._invites.get(self._key(request, "INVITE")):
                invite.acknowledge(now)
            return
        if key in self._pending:
            self.counters["retransmissions"] += 1
            return
        if (invite := self._invites.get(key)) is not None:
            self._send(invite.response, invite.flow)
            return
        if (index := self._answered.get(key, now)) is not None:
            self.counters["retransmissions"] += 1
            self._send(self._written(request, flow, self._answers[index], key), self._back(request, flow))
        elif request.method == "CANCEL":
            self._cancel(request, flow, now)
        else:
            transaction = ServerTransaction(request, flow, key, now)
            self._pending[key] = transaction
            self._arrived(transaction)

    def _cancel(self, request: Request, flow: Flow, now: float) -> None:
        """A CANCEL undoes nothing here; the answer only says whether the transaction is known (RFC 3261 section 9.2)."""
        for method in _CANCELLED:
            key = self._key(request, method)
            if key in self._pending or key in self._invites or self._answered.get(key, now) is not None:
                answer = Answer(200, "OK")
                break
        else:
            answer = Answer(481, "Call/Transaction Does Not Exist")
        self._send(self._written(request, flow, answer), self._back(request, flow))

    def _key(self, request: Request, method: str) -> int:
        """The digest by which a transaction is known: RFC 3261 section 17.2.3, with or without the magic cookie."""
        via = request.top_via
        branch = via.params.get("branch", "")
        if branch[:7].lower() == MAGIC_COOKIE and branch[7:]:
            port = "" if via.port else _DEFAULT_PORTS.get(via.transport, ":5060")
            return digest(self._secret, f"{branch}\n{via.sent_by}{port}\n{method}".encode())
        to_tag, from_tag = request.to.tag or "", request.from_.tag or ""
        return digest(
            self._secret,
            request.request_uri_text.encode(),
            to_tag.encode(),
            from_tag.encode(),
            request.call_id.encode(),
            b"%d" % request.cseq.number,
            method.encode(),
            request.via_values[0],
        )

    # -- answers -------------------------------------------------------------------------------------------------------
    @property
    def is_crowded(self) -> bool:
        """Whether no more answered transactions can be remembered (TXN-08)."""
        return self._answered.is_full

    def answer(self, transaction: ServerTransaction, answer: Answer, now: float, *, remember: bool) -> None:
        """Send the final response. remember: the answer is no pure function of the request, so a retransmission must get this very one."""
        self._pending.pop(transaction.key, None)
        octets = self._written(transaction.request, transaction.flow, answer, transaction.key)
        back = self._back(transaction.request, transaction.flow)
        if transaction.request.method == "INVITE" and self._trusts(transaction.flow) and len(self._invites) < _MOST_INVITES:
            self._invites[transaction.key] = InviteTransaction(octets, back, back.reliable, now, self._timers)
        elif remember:
            self._answered.put(transaction.key, self._interned(answer), now)
        self._send(octets, back)

    def forget(self, transaction: ServerTransaction) -> None:
        """Leave a request without an answer: its sender has given up (TXN-21)."""
        self._pending.pop(transaction.key, None)

    def _interned(self, answer: Answer) -> int:
        index = self._index_of.get(answer)
        if index is None:
            index = self._index_of[answer] = len(self._answers)
            self._answers.append(answer)
        return index

    def _written(self, request: Headers, flow: Flow, answer: Answer, key: int = 0) -> bytes:
        """A response. Its To tag is the same for every copy of a request, and for nobody else's (MSG-16, TXN-25)."""
        to_tag = "" if answer.status == 100 else f"{key or self._identity(request):016x}"
        return writer.response(request, answer.status, answer.reason, to_tag=to_tag, source=(flow.host, flow.port), extra=answer.extra)

    def _identity(self, request: Headers) -> int:
        """What can be told of a request that could not be read whole."""
        rows = [each for name in ("via", "from", "call-id", "cseq") for each in request.index.get(name, ())[:1]]
        return digest(self._secret, *rows)

    @staticmethod
    def _back(request: Headers, flow: Flow) -> Flow:
        """Where the response goes (RFC 3261 section 18.2.2, RFC 3581 section 4).

        Over a stream, back on it; a new connection, should one be needed, goes to the port of the Via. A datagram goes to the source
        address, to its port where the sender asked for that, else to the port of the Via.
        """
        via = request.top_via
        if not flow.reliable and via.param("rport") is not None:
            return flow
        return Flow(flow.transport, flow.local, flow.host, via.port or 5060, flow.connection)

    # -- requests of our own -------------------------------------------------------------------------------------------
    @staticmethod
    def branch() -> str:
        """A new branch (SIP-60)."""
        return f"z9hG4bK{secrets.token_hex(8)}"

    def request(self, branch: str, method: str, octets: bytes, flow: Flow, now: float, user: object) -> None:
        """Send a request of ours; its end is told to `ended`."""
        self.clients.start(branch, method, octets, flow, flow.reliable, now, user)

    # -- time ----------------------------------------------------------------------------------------------------------
    def next_deadline(self) -> float | None:
        """When `on_deadline` is to be called, at the latest; None while nothing waits."""
        times = [each.next_deadline() for each in self._invites.values()]
        if (clients := self.clients.next_deadline()) is not None:
            times.append(clients)
        for transaction in self._pending.values():
            if not transaction.trying_sent:
                times.append(transaction.arrived + TRYING_AFTER_SECONDS)
            break
        return min(times, default=None)

    def on_deadline(self, now: float) -> None:
        """Fire every timer that is due."""
        self.clients.on_deadline(now)
        for key, invite in list(self._invites.items()):
            if octets := invite.on_deadline(now):
                self._send(octets, invite.flow)
            if invite.is_over(now):
                del self._invites[key]
        for transaction in list(self._pending.values()):
            if now - transaction.arrived < TRYING_AFTER_SECONDS:
                break
            if not transaction.trying_sent:
                transaction.trying_sent = True
                self._send(
                    self._written(transaction.request, transaction.flow, Answer(100, "Trying")),
                    self._back(transaction.request, transaction.flow),
                )
