"""The component links (XEP-0114): one for each SIP domain, over slixmpp, which does the stream and the handshake.

The seam: whole stanzas come from our own bounded parser and go to our codec as elements; what leaves is written by our serialiser, many
stanzas in one write. "Delivered" is a fence: an iq ping to our own domain that came back on the same stream behind the stanzas: the
server has read and routed them (REL-09). Reconnecting is ours too, because it must be quicker than slixmpp's, and jittered.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import socket
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any
from xml.etree.ElementTree import Element

import structlog
from slixmpp.componentxmpp import ComponentXMPP

from gateway.core.envelope import StanzaOrigin
from gateway.core.errors import Refusal, SyntaxFault
from gateway.core.jid import Jid
from gateway.core.outcome import DELIVERED, LOST, Outcome, Verdict
from gateway.core.ports import Delivery, Policy, Sink, Trace
from gateway.core.settings import XmppSettings

from . import services
from . import stanza as xml
from .codec import XmppCodec, domain_of, read_parties, stanza_origin
from .parser import Oversized, StreamParser
from .stream import MOST_STANZA_OCTETS, StreamFault

FENCE_AGAIN_SECONDS = 5.0
"""A fence that is not back is repeated, so that one lost in a server with two links for our domain does not end this one."""
FENCE_LIMIT_SECONDS = 60.0
IDLE_FENCE_SECONDS = 20.0
READ_BOUND_OCTETS = 262_144
_MOST_UNCONFIRMED = 1000
_MOST_UNSENT_OCTETS = 4 * 1024 * 1024
_FIRST_RETRY_SECONDS, _MOST_RETRY_SECONDS = 1.0, 60.0
_POISON_AFTER = 3
_TICK_SECONDS = 1.0

log = structlog.get_logger("xmpp")
# On a parse error slixmpp logs the octets it got: message text (SEC-47). What an operator needs is logged here.
logging.getLogger("slixmpp").setLevel(logging.CRITICAL + 1)


class _Chunk:
    """What one read brought: its octets count as uncommitted until every offer from it has been answered."""

    __slots__ = ("octets", "open")

    def __init__(self, octets: int) -> None:
        self.octets, self.open = octets, 1


class ComponentLink(ComponentXMPP):
    """One link. `domain` is the JID domain whose SIP users it speaks for."""

    def __init__(self, domain: str, settings: XmppSettings, codec: XmppCodec, policy: Policy, sink: Sink) -> None:
        super().__init__(domain, settings.secret, settings.host, settings.port)  # type: ignore[no-untyped-call]
        self.domain = domain
        self._codec, self._policy, self._sink = codec, policy, sink
        self._address = (settings.host, settings.port)
        self.whitespace_keepalive = False
        self.up = False
        self._closing = False
        self._reason = ""
        self._retry_seconds = _FIRST_RETRY_SECONDS
        self._retry_handle: asyncio.TimerHandle | None = None
        self._ended: asyncio.Future[None] | None = None
        # What is written and not confirmed, oldest first; how many of them each outstanding fence covers.
        self._unconfirmed: deque[Delivery] = deque()
        self._by_trace: dict[Trace, Delivery] = {}
        self._failed: dict[int, Outcome] = {}
        self._outbox: list[bytes] = []
        self._outbox_octets = 0
        self._write_handle: asyncio.Handle | None = None
        self._writable = True
        self._nonce, self._serial = "", 0
        self._fences: deque[tuple[int, int]] = deque()
        self._written, self._confirmed = 0, 0
        self._fence_clock = self._heard_at = 0.0
        self._tick_handle: asyncio.TimerHandle | None = None
        # After a stream error one stanza at a time, until the one that the server cannot bear is known.
        self._careful = 0
        self._breaks: dict[int, int] = {}
        self._uncommitted = 0
        self._reading = True
        self._chunk = _Chunk(0)
        for name, handler in (
            ("session_start", self._on_session),
            ("connection_failed", self._connect_failed),
            ("disconnected", self._link_lost),
        ):
            self.add_event_handler(name, handler)

    # -- life ----------------------------------------------------------------------------------------------------------
    def open(self) -> None:
        """Connect, and keep connecting."""
        self._retry_handle = None
        self._reason = ""
        self.connect(*self._address)

    def reschedule_connection_attempt(self) -> None:
        """slixmpp calls this when a connection could not be made; the waiting is ours."""
        self._current_connection_attempt = None
        self._retry()

    def _retry(self) -> None:
        if self._closing or self._retry_handle:
            return
        delay = self._retry_seconds * random.uniform(1.0, 1.5)  # noqa: S311 - spreads load, hides nothing
        self._retry_seconds = min(self._retry_seconds * 2, _MOST_RETRY_SECONDS)
        log.warning(
            "component link is down",
            domain=self.domain,
            server=f"{self._address[0]}:{self._address[1]}",
            reason=self._reason or "connection lost",
            retry_in=round(delay, 1),
        )
        self._retry_handle = self.loop.call_later(delay, self.open)

    def _connect_failed(self, error: object) -> None:
        self._reason = str(error)

    def _on_session(self, _event: object) -> None:
        transport = self.transport
        assert transport is not None
        if sock := transport.get_extra_info("socket"):
            # What the server has written and we have not read is what a kill -9 can lose (promise 1): keep it small.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, READ_BOUND_OCTETS)
        self.up, self._writable, self._reading = True, True, True
        self._nonce, self._fences = secrets.token_hex(4), deque()
        self._written = self._confirmed = 0
        self._heard_at = self._fence_clock = self.loop.time()
        self._tick_handle = self.loop.call_later(_TICK_SECONDS, self._tick)
        log.info("component link is up", domain=self.domain)
        self._sink.link_up(self.domain)

    def _link_lost(self, reason: object) -> None:
        was_up, self.up = self.up, False
        for handle in (self._tick_handle, self._write_handle):
            if handle:
                handle.cancel()
        self._tick_handle = self._write_handle = None
        self._outbox.clear()
        self._outbox_octets = 0
        self._uncommitted, self._chunk = 0, _Chunk(0)
        lost, self._unconfirmed = self._unconfirmed, deque()
        self._by_trace.clear()
        self._fences.clear()
        if was_up and self._reason and lost:
            self._suspect(lost)
        for delivery in lost:
            self._done(delivery, LOST)
        if self._ended and not self._ended.done():
            self._ended.set_result(None)
        if not self._reason and reason:
            self._reason = str(reason)
        self._retry()

    def _suspect(self, lost: deque[Delivery]) -> None:
        """The server ended the stream with an error while these were unconfirmed: find out which one it cannot bear (REL-18)."""
        self._careful = max(self._careful, len(lost))
        if len(lost) > 1:
            return
        head = lost[0]
        self._breaks[head.seq] = self._breaks.get(head.seq, 0) + 1
        if self._breaks[head.seq] >= _POISON_AFTER:
            del self._breaks[head.seq]
            lost.popleft()
            self._done(head, Outcome(Verdict.POISON, reason=f"the XMPP server ends the stream on it: {self._reason}"))

    async def finish(self, limit: float) -> None:
        """End our stream, read to the server's end of stream and of connection, at most `limit` seconds (promise 1)."""
        self._closing = True
        if self._retry_handle:
            self._retry_handle.cancel()
        self.cancel_connection_attempt()
        if not self.transport:
            return
        self._ended = self.loop.create_future()
        self._write_now()
        self.send_raw(self.stream_footer)
        try:
            await asyncio.wait_for(self._ended, limit)
        except TimeoutError:
            log.warning("the XMPP server did not end its stream", domain=self.domain)
            self.abort()

    # -- sending -------------------------------------------------------------------------------------------------------
    def has_room(self) -> bool:
        """Whether a further message may be written now."""
        most = 1 if self._careful else _MOST_UNCONFIRMED
        return self.up and self._writable and not self._closing and len(self._unconfirmed) < most

    def deliver(self, delivery: Delivery) -> None:
        """Write a stanza that is to be confirmed."""
        if not self.up:
            self._done(delivery, LOST)
            return
        self._unconfirmed.append(delivery)
        if delivery.parcel.trace:
            self._by_trace[delivery.parcel.trace] = delivery
        self._written += 1
        assert isinstance(delivery.parcel.wire, bytes)
        self._write(delivery.parcel.wire)

    def _write(self, octets: bytes) -> None:
        self._outbox.append(octets)
        self._outbox_octets += len(octets)
        if self._write_handle is None and self._writable:
            self._write_handle = self.loop.call_soon(self._write_now)

    def _answer(self, octets: bytes) -> None:
        """Write something that is not kept: an error, an iq result. Where the server does not read, it is dropped and said.

        So is one that repeats an id of such a length that the server may end the stream on it.
        """
        if len(octets) > MOST_STANZA_OCTETS:
            log.warning("answer dropped, it is too large", domain=self.domain)
        elif self.up and self._outbox_octets < _MOST_UNSENT_OCTETS:
            self._write(octets)
        else:
            log.warning("answer dropped, the XMPP server does not read", domain=self.domain)

    def _write_now(self) -> None:
        self._write_handle = None
        if self._outbox and self.transport:
            outbox, self._outbox, self._outbox_octets = self._outbox, [], 0
            if self._written > self._confirmed and not self._fences:
                outbox.append(self._fence())
            self.send_raw(b"".join(outbox))

    def pause_writing(self) -> None:
        """The transport's buffer is full."""
        self._writable = False

    def resume_writing(self) -> None:
        """The transport's buffer has room again."""
        self._writable = True
        self._write_now()
        self._sink.link_up(self.domain)

    # -- the fence -----------------------------------------------------------------------------------------------------
    def _fence(self) -> bytes:
        self._serial += 1
        self._fences.append((self._serial, self._written))
        self._fence_clock = self.loop.time()
        return (
            f"<iq type='get' from='{self.domain}' to='{self.domain}' id='fence-{self._nonce}-{self._serial}'>"
            "<ping xmlns='urn:xmpp:ping'/></iq>"
        ).encode()

    def _fence_back(self, iq: Element) -> bool:
        """Whether this iq is one of our fences; a later one covers the earlier (XEP-0199, SEC-43)."""
        prefix, _, serial = iq.get("id", "").rpartition("-")
        if (
            prefix != f"fence-{self._nonce}"
            or not (iq.get("from") == iq.get("to") == self.domain)
            or not (serial.isascii() and serial.isdigit())
        ):
            return False
        # Not before: a server that breaks right after each handshake would be asked once a second for ever.
        self._retry_seconds = _FIRST_RETRY_SECONDS
        covered = self._confirmed
        while self._fences and self._fences[0][0] <= int(serial):
            covered = self._fences.popleft()[1]
        if covered > self._confirmed:
            count, self._confirmed = covered - self._confirmed, covered
            self._confirm(count)
        if self._written > self._confirmed and not self._fences:
            self._write(self._fence())
        self._sink.link_up(self.domain)
        return True

    def _confirm(self, count: int) -> None:
        for _ in range(count):
            delivery = self._unconfirmed.popleft()
            if delivery.parcel.trace:
                self._by_trace.pop(delivery.parcel.trace, None)
            if self._careful:
                self._careful -= 1
                self._breaks.pop(delivery.seq, None)
            self._done(delivery, DELIVERED)

    def _done(self, delivery: Delivery, outcome: Outcome) -> None:
        """Say what became of it: what the server said of it, else `outcome`."""
        self._alone(f"delivery {delivery.seq}", delivery.done, self._failed.pop(delivery.seq, outcome))

    def _alone(self, what: str, act: Callable[..., None], *given: object) -> bool:
        """Do what concerns one message; an exception stays with that message, for the link carries others. Whether there was none."""
        try:
            act(*given)
        except Exception:
            log.exception("failed on one message", domain=self.domain, what=what)
            return False
        return True

    def exception(self, exception: Exception) -> None:
        """What our own handlers of slixmpp's events raise; by itself slixmpp says nothing."""
        log.error("failed on an event of the link", domain=self.domain, exc_info=exception)

    def _tick(self) -> None:
        """Once a second: repeat a fence that is late, ask on a silent link, give up a dead one."""
        self._tick_handle = self.loop.call_later(_TICK_SECONDS, self._tick)
        now = self.loop.time()
        if not self._reading:
            # Nothing can come back while we do not read.
            self._heard_at = self._fence_clock = now
            return
        if now - self._heard_at > FENCE_LIMIT_SECONDS:
            self._reason = f"nothing heard for {FENCE_LIMIT_SECONDS:.0f} s"
            self.abort()
        elif (self._fences and now - self._fence_clock > FENCE_AGAIN_SECONDS) or now - max(
            self._heard_at, self._fence_clock
        ) > IDLE_FENCE_SECONDS:
            self._write(self._fence())

    # -- reading -------------------------------------------------------------------------------------------------------
    def init_parser(self) -> None:
        """A parser of our own for each stream."""
        self.xml_depth = 0
        self.xml_root = None
        self.parser = StreamParser()  # type: ignore[assignment]

    def data_received(self, data: bytes | str) -> None:
        """Octets from the server; ends the stream on what the parser does not bear."""
        self._heard_at = self.loop.time()
        chunk = self._chunk = _Chunk(len(data))
        self._uncommitted += len(data)
        try:
            super().data_received(data)
        except StreamFault as fault:
            self._reason = f"bad stream from the server: {fault}"
            log.error("stream ended", domain=self.domain, reason=str(fault))
            if self.transport:
                self.send_raw(
                    f"<stream:error><{fault.condition} xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>"
                )
                self.abort()
        self._close_chunk(chunk)
        if self._uncommitted > READ_BOUND_OCTETS and self._reading and self.transport:
            self._reading = False
            self.transport.pause_reading()

    def _close_chunk(self, chunk: _Chunk) -> None:
        chunk.open -= 1
        if chunk.open or not chunk.octets:
            return
        self._uncommitted = max(0, self._uncommitted - chunk.octets)
        if not self._reading and self._uncommitted < READ_BOUND_OCTETS // 2 and self.transport:
            self._reading = True
            self._heard_at = self._fence_clock = self.loop.time()
            self.transport.resume_reading()

    def _spawn_event(self, element: Element) -> None:
        """slixmpp hands every whole child of the stream to this."""
        what = f"stanza {element.get('id')}"
        if not self._alone(what, self._take, element) and xml.stanza_kind(element) == "message":
            self._alone(what, self._refuse, stanza_origin(element), Refusal("internal"))

    def _take(self, element: Element) -> None:
        kind = xml.stanza_kind(element)
        if kind == "message":
            self._message(element)
        elif kind == "iq":
            self._iq(element)
        elif element.tag == f"{{{xml.STREAM}}}error":
            self._stream_error(element)
        elif kind != "presence":
            super()._spawn_event(element)

    def _stream_error(self, element: Element) -> None:
        condition = next((xml.split_name(child.tag)[1] for child in element if not child.tag.endswith("}text")), "undefined-condition")
        self._reason = {
            "not-authorized": "the server refuses the component secret",
            "conflict": "the server says that this component is connected already",
            "host-unknown": "the server knows no component of this name",
        }.get(condition, f"stream error {condition}")

    def _iq(self, element: Element) -> None:
        if self._fence_back(element):
            return
        if isinstance(element, Oversized):
            if element.get("type") in ("get", "set"):
                self._refuse(stanza_origin(element), Refusal("message-too-large"), "iq")
        elif reply := services.answer(element, self.domain):
            self._answer(reply.encode())

    def _message(self, element: Element) -> None:
        origin = stanza_origin(element)
        try:
            sender, target = read_parties(element)
            if origin.type == "error":
                self._error(element, sender, target)
                return
            parties = self._policy.from_xmpp(self.domain, sender, target)
            envelope = self._codec.read(element, parties, f"xmpp:{self.domain}", secrets.token_hex(8), time.time())
        except (Refusal, SyntaxFault) as refusal:
            self._refuse(origin, refusal if isinstance(refusal, Refusal) else Refusal("bad-syntax", refusal.what))
            return
        if envelope is not None:
            self._chunk.open += 1
            answered = partial(self._answered, origin, self._chunk)
            if not self._alone(f"message {envelope.trace_id}", self._sink.offer, envelope, answered):
                answered(Refusal("internal"))

    def _answered(self, origin: StanzaOrigin, chunk: _Chunk, refusal: Refusal | None) -> None:
        self._close_chunk(chunk)
        if refusal:
            self._alone(f"stanza {origin.id}", self._refuse, origin, refusal)

    def _refuse(self, origin: StanzaOrigin, refusal: Refusal, kind: str = "message") -> None:
        log.info("refused", side="xmpp", key=refusal.key, detail=refusal.detail, domain=self.domain, stanza_id=origin.id)
        if origin.type != "error" and self._can_answer(origin):
            self._answer(self._codec.refusal(origin, refusal, kind))

    def _can_answer(self, origin: StanzaOrigin) -> bool:
        """Whether an answer has two ends that the server will take, as it wrote them: it may end the stream on any other."""
        return domain_of(origin.recipient) == self.domain and bool(domain_of(origin.sender))

    def _error(self, element: Element, sender: Jid, target: Jid) -> None:
        """An error for something we sent: while it is unconfirmed it fails at the fence, later its sender is told (SEC-43)."""
        trace: Trace = (element.get("id", ""), str(target.bare), str(sender.bare))
        outcome = self._codec.read_error(element)
        delivery = self._by_trace.get(trace)
        if delivery is not None:
            self._failed[delivery.seq] = outcome
        else:
            self._sink.failed_later(trace, outcome)


class ComponentCarrier:
    """Implements the Carrier port over the links; the gate of a message is the domain of its link."""

    window = 1_000_000

    def __init__(self, codec: XmppCodec) -> None:
        self._codec = codec
        self.links: dict[str, ComponentLink] = {}
        self.translate: Callable[..., Any] = lambda envelope, _number: codec.write(envelope)

    def ready(self, gate: str, *, retry: bool) -> bool:
        """Whether this link is up and has room."""
        link = self.links.get(gate)
        return link is not None and link.has_room()

    def send(self, delivery: Delivery) -> None:
        """Hand it to its link."""
        self.links[delivery.parcel.gate].deliver(delivery)
