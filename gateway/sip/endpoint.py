"""The SIP element without its sockets: octets and the time come in, octets go out, new requests and ends of our own requests are handed on.

Order for a request: readable? ours already (pending, answered)? ACK, CANCEL? else it is new. RFC 3261 sections 8, 17 and 18.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

import structlog

from gateway.core.digest import AgingDigestMap, digest
from gateway.core.tokens import fresh_token
from gateway.core.uri import DEFAULT_PORT

from . import writer
from .flow import Flow
from .message import MAGIC_COOKIE, METHODS, BadMessage, Headers, MethodMismatch, Request, Response, parse
from .transaction import ClientTransaction, ClientTransactions, InviteTransaction, Timers

MOST_ANSWERED = 2_000_000
"""Room for 32 s at 60 000 requests a second (TXN-08)."""
TRYING_AFTER_SECONDS = 3.5
"""When a request that has no answer yet gets a 100: not before timer E of its sender has reached T2 (RFC 4320 section 4.1)."""
_MOST_INVITES = 1000
_MOST_ANSWERS = 1024
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


_TRYING = Answer(100, "Trying")
Arrived = Callable[[ServerTransaction], None]
Ended = Callable[[ClientTransaction[Flow], Response | None], None]
"""One of our requests is over: with its final response, or None after timer F."""


class Endpoint:
    """One SIP element on any number of flows.

    send: puts octets on the wire. arrived: takes a new request; it must be answered by `answer` once. ended: the end of one of ours.
    trusts: whether a flow is from a peer that may speak. kept: whether the request with this digest brought a message that is kept.
    heard: how many times octets of any kind have come on a stream of ours. let_go: gives that stream up, if it is there; what waits on it
    has been told as lost when it returns.
    sent_by: the Via hosts and ports that are ours, in normal form. secret: key of the To tags and digests.
    """

    def __init__(
        self,
        *,
        send: Callable[[bytes, Flow], None],
        arrived: Arrived,
        ended: Ended,
        trusts: Callable[[Flow], bool],
        kept: Callable[[int], bool],
        heard: Callable[[Flow], int],
        let_go: Callable[[Flow], None],
        sent_by: frozenset[str],
        secret: bytes,
        now: float,
        timers: Timers | None = None,
    ) -> None:
        self._send, self._arrived, self._ended, self._trusts, self._kept = send, arrived, ended, trusts, kept
        self._heard, self._let_go = heard, let_go
        self._sent_by, self._secret = sent_by, secret
        self._timers = timers or Timers()
        self.clients: ClientTransactions[Flow] = ClientTransactions(self._timers, send, self._timed_out)
        self._pending: dict[int, ServerTransaction] = {}
        self._answered = AgingDigestMap(self._timers.timeout, MOST_ANSWERED, now)
        # Answers that are kept are few and fixed: each is written down once and known by its index.
        self._answers: list[Answer] = []
        self._index_of: dict[Answer, int] = {}
        self._invites: dict[int, InviteTransaction[Flow]] = {}
        self._asked = 0
        self.counters = {
            "requests": 0,
            "responses": 0,
            "retransmissions": 0,
            "bad": 0,
            "dropped": 0,
            "unused": 0,
            "undated": 0,
            "lenient": 0,
            "misnamed": 0,
        }

    # -- octets in -----------------------------------------------------------------------------------------------------
    def receive(self, data: bytes, flow: Flow, now: float) -> None:
        """One datagram, or one message of a stream."""
        self._asked = len(data)
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
        self._reply(self._written(fault.partial, flow, Answer(fault.status, fault.what)), fault.partial, flow)

    def _response(self, response: Response) -> None:
        """Only what matches it is read: what else a response says is not used, so it cannot be wrong (RFC 3261 section 17.1.3)."""
        self.counters["responses"] += 1
        via = response.top_via
        if len(response.via_values) > 1 or via.sent_by not in self._sent_by or not via.branch:
            self.counters["dropped"] += 1
            return
        ended = self.clients.response(via.branch, response.cseq.method, response.status)
        if ended is not None:
            self._ended(ended, response)

    def _request(self, request: Request, flow: Flow, now: float) -> None:
        self.counters["requests"] += 1
        try:
            request.check()
        except MethodMismatch:
            # An unknown method is 501, whatever else is said of it (SIP-20).
            if request.method in METHODS:
                raise
        if request.top_via.param("maddr") is not None and not self._trusts(flow):
            # An answer would go to an address that did not ask (SEC-36).
            self.counters["dropped"] += 1
            return
        if request.method == "ACK":
            if invite := self._invites.get(self._key(request, "INVITE")):
                invite.acknowledge(now)
            return
        key = self._key(request, request.method)
        if (waiting := self._pending.get(key)) is not None:
            self.counters["retransmissions"] += 1
            if waiting.trying_sent:
                self._try(waiting)
            return
        if (invite := self._invites.get(key)) is not None:
            self._send(invite.response, invite.flow)
            return
        if (index := self._answered.get(key, now)) is not None:
            self.counters["retransmissions"] += 1
            self._reply(self._written(request, flow, self._answers[index], key), request, flow)
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
            if key in self._pending or key in self._invites or self._answered.get(key, now) is not None or self._kept(key):
                answer = Answer(200, "OK")
                break
        else:
            key, answer = 0, Answer(481, "Call/Transaction Does Not Exist")
        self._reply(self._written(request, flow, answer, key), request, flow)

    def _key(self, request: Request, method: str) -> int:
        """The digest by which a transaction is known: RFC 3261 section 17.2.3, with or without the magic cookie."""
        via = request.top_via
        branch = via.params.get("branch", "")
        if branch[:7].lower() == MAGIC_COOKIE and branch[7:]:
            port = "" if via.port else _DEFAULT_PORTS.get(via.transport, ":5060")
            return digest(self._secret, f"{branch}\n{via.sent_by}{port}\n{method}".encode())
        # The tag in the To of an ACK is ours; the INVITE had none.
        to_tag, from_tag = "" if request.method == "ACK" else request.to.tag or "", request.from_.tag or ""
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
        if transaction.request.method == "INVITE" and self._trusts(transaction.flow) and len(self._invites) < _MOST_INVITES:
            back = self._back(transaction.request, transaction.flow)
            self._invites[transaction.key] = InviteTransaction(octets, back, back.reliable, now, self._timers)
        elif remember and not self.is_crowded and (index := self._interned(answer)) is not None:
            self._answered.put(transaction.key, index, now)
        self._reply(octets, transaction.request, transaction.flow)

    def _reply(self, octets: bytes, request: Headers, flow: Flow) -> None:
        """Send a response, unless it would give a stranger more than twice what he gave (SEC-36). He is always answered at once."""
        if not flow.reliable and len(octets) > 2 * self._asked and not self._trusts(flow):
            self.counters["dropped"] += 1
            return
        self._send(octets, self._back(request, flow))

    def forget(self, transaction: ServerTransaction) -> None:
        """Leave a request without an answer: its sender has given up (TXN-21)."""
        self._pending.pop(transaction.key, None)

    def _interned(self, answer: Answer) -> int | None:
        """The index of an answer; None when there are too many different ones, which are then given statelessly."""
        index = self._index_of.get(answer)
        if index is None and len(self._answers) < _MOST_ANSWERS:
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

    def _back(self, request: Headers, flow: Flow) -> Flow:
        """Where the response goes (RFC 3261 section 18.2.2, RFC 3581 section 4).

        Over a stream, back on it; a new connection, should one be needed, goes to the port of the Via. A datagram goes to the address in
        maddr, if a peer that may speak has put one there; else to the source address, to its port where that was asked for (rport), else
        to the port of the Via.
        """
        via = request.top_via
        if not flow.reliable:
            if (maddr := via.param("maddr")) and (address := _address(maddr)) and self._trusts(flow):
                return Flow(flow.transport, "", address, via.port or DEFAULT_PORT)
            if via.param("rport") is not None:
                return flow
        return Flow(flow.transport, flow.local, flow.host, via.port or DEFAULT_PORT, flow.connection)

    def owes(self, flow: Flow) -> bool:
        """Whether a request that came on this flow waits for its answer."""
        return any(each.flow == flow for each in self._pending.values())

    # -- requests of our own -------------------------------------------------------------------------------------------
    @staticmethod
    def branch() -> str:
        """A new branch (SIP-60)."""
        return f"z9hG4bK{fresh_token()}"

    def request(self, branch: str, method: str, octets: bytes, flow: Flow, now: float, user: object, *, brief: bool = False) -> None:
        """Send a request of ours; its end is told to `ended`. brief: without an answer it ends early (Timers.brief)."""
        self.clients.start(branch, method, octets, flow, flow.reliable, now, user, self._heard(flow), brief=brief)

    def _timed_out(self, transaction: ClientTransaction[Flow]) -> None:
        """Timer F, or the end of what is brief.

        A stream that brought nothing since the request was written is dead, and its end may never be told: the host is gone.
        It is given up before the end is told, so that whatever is sent because of that goes over a new one. A stream on which anything
        else was heard stays: its peer is slow with one request. What is brief says nothing of its stream.
        """
        if transaction.reliable and not transaction.brief and self._heard(transaction.flow) == transaction.heard:
            self._let_go(transaction.flow)
        self._ended(transaction, None)

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
                self._try(transaction)

    def _try(self, transaction: ServerTransaction) -> None:
        self._send(self._written(transaction.request, transaction.flow, _TRYING), self._back(transaction.request, transaction.flow))


def _address(host: str) -> str:
    """An address as a socket takes it; empty for a name."""
    try:
        return ip_address(host.strip("[]")).compressed
    except ValueError:
        return ""
