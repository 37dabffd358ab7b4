"""The component links (XEP-0114): one for each SIP domain, over slixmpp, which does the stream and the handshake.

The seam: whole stanzas come from our own bounded parser and go to our codec as elements; what leaves is written by our serialiser, many
stanzas in one write. What counts as delivered is the fence's to say. Reconnecting is ours too, because it must be quicker than slixmpp's,
and jittered.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import socket
import time
from collections.abc import Callable
from functools import partial
from typing import Any
from xml.etree.ElementTree import Element

import structlog
from slixmpp.componentxmpp import ComponentXMPP

from gateway.core.envelope import Envelope, StanzaOrigin
from gateway.core.errors import Refusal, SyntaxFault
from gateway.core.jid import Jid
from gateway.core.outcome import DELIVERED, LOST, Outcome, Verdict
from gateway.core.ports import Delivery, Notice, Policy, Security, Sink, Trace
from gateway.core.settings import XmppSettings
from gateway.core.tokens import fresh_token

from . import fence, services
from . import stanza as xml
from .codec import XmppCodec
from .fence import Fence, Step
from .parser import Oversized, StreamParser
from .reading import domain_of, read_parties, stanza_origin
from .slots import Upload
from .stream import MOST_STANZA_OCTETS, StreamFault, padded
from .upload import Http, Uploads

READ_BOUND_OCTETS = 262_144
_MOST_UNSENT_OCTETS = 4 * 1024 * 1024
_FIRST_RETRY_SECONDS, _MOST_RETRY_SECONDS = 1.0, 60.0
_TICK_SECONDS = 1.0
_NO_MESSAGES_FAULT = frozenset((
    "conflict", "connection-timeout", "host-gone", "host-unknown", "not-authorized", "remote-connection-failed", "reset",
    "resource-constraint", "see-other-host", "system-shutdown",
))  # fmt: skip
"""Stream errors that come whatever we have written (RFC 6120 section 4.9.3)."""

log = structlog.get_logger("xmpp")
# On a parse error slixmpp logs the octets it got: message text (SEC-47). What an operator needs is logged here.
logging.getLogger("slixmpp").setLevel(logging.CRITICAL + 1)


class _Chunk:
    """What one read brought: its octets count as uncommitted until every offer from it has been answered."""

    __slots__ = ("octets", "open")

    def __init__(self, octets: int) -> None:
        self.octets, self.open = octets, 1


class ComponentLink(ComponentXMPP):
    """One link. `domain` is the JID domain whose SIP users it speaks for. http: brings files to the upload service, if there is one.

    security: None only carries what is signed or encrypted.
    """

    def __init__(
        self,
        domain: str,
        settings: XmppSettings,
        codec: XmppCodec,
        policy: Policy,
        sink: Sink,
        http: Http | None = None,
        security: Security | None = None,
    ) -> None:
        super().__init__(domain, settings.secret, settings.host, settings.port)  # type: ignore[no-untyped-call]
        self.domain = domain
        self._codec, self._policy, self._sink, self._security = codec, policy, sink, security
        self._address = (settings.host, settings.port)
        self.whitespace_keepalive = False
        self.up = False
        self._closing = False
        self._reason, self._blamed = "", False
        self._retry_seconds = _FIRST_RETRY_SECONDS
        self._retry_handle: asyncio.TimerHandle | None = None
        self._ended: asyncio.Future[None] | None = None
        self._fence = Fence(domain)
        self._uploads = Uploads(settings.upload, http or Http(), self._write, self._uploaded, self._done)
        self._outbox: list[bytes] = []
        self._outbox_octets = 0
        self._write_handle: asyncio.Handle | None = None
        self._writable = True
        self._tick_handle: asyncio.TimerHandle | None = None
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
        self._reason, self._blamed = "", False
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
        self._fence.begin(secrets.token_hex(4), self.loop.time())
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
        lost, culprit = self._fence.broke(blamed=was_up and self._blamed)
        if culprit is not None:
            self._done(culprit, Outcome(Verdict.POISON, reason=f"the XMPP server ends the stream on it: {self._reason}"))
        for delivery in lost:
            self._done(delivery, LOST)
        self._uploads.broke()
        if self._ended and not self._ended.done():
            self._ended.set_result(None)
        if not self._reason and reason:
            self._reason = str(reason)
        self._retry()

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
        return self.up and self._writable and not self._closing and self._fence.has_room

    def deliver(self, delivery: Delivery) -> None:
        """Write a stanza that is to be confirmed, or first upload what it is about."""
        wire = delivery.parcel.wire
        if not self.up:
            self._done(delivery, LOST)
        elif isinstance(wire, Upload):
            self._uploads.begin(delivery, wire)
        else:
            assert isinstance(wire, bytes)
            self._put(delivery, wire)

    def _put(self, delivery: Delivery, stanza: bytes) -> None:
        self._fence.wrote(delivery)
        self._write(stanza)

    def _uploaded(self, delivery: Delivery, stanza: bytes) -> None:
        """Its files are there. Where there is no room by now it goes again, with the same URLs."""
        if self.has_room():
            self._put(delivery, stanza)
        else:
            self._done(delivery, LOST)

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
            if self._fence.is_due:
                outbox.append(self._fence.ping(self.loop.time()))
            self.send_raw(padded(b"".join(outbox)))

    def pause_writing(self) -> None:
        """The transport's buffer is full."""
        self._writable = False

    def resume_writing(self) -> None:
        """The transport's buffer has room again."""
        self._writable = True
        self._write_now()
        self._sink.link_up(self.domain)

    # -- what became of it ---------------------------------------------------------------------------------------------
    def _fence_back(self, iq: Element) -> bool:
        """Whether this iq is the fence's; what it covers is delivered."""
        delivered = self._fence.back(iq)
        if delivered is None:
            return False
        # Not before: a server that breaks right after each handshake would be asked once a second for ever.
        self._retry_seconds = _FIRST_RETRY_SECONDS
        for delivery in delivered:
            self._done(delivery, DELIVERED)
        if self._fence.is_due:
            self._write(self._fence.ping(self.loop.time()))
        self._sink.link_up(self.domain)
        return True

    def _done(self, delivery: Delivery, outcome: Outcome) -> None:
        """Say what became of it: what the server said of it, else `outcome`."""
        self._alone(("delivery", delivery.seq), delivery.done, self._fence.take_outcome(delivery, outcome))

    def _alone(self, what: tuple[str, object], act: Callable[..., None], *given: object) -> bool:
        """Do what concerns one message; an exception stays with that message, for the link carries others.

        what: its kind and its name, for the log. Returns whether there was none.
        """
        try:
            act(*given)
        except Exception:
            log.exception("failed on one message", domain=self.domain, what=f"{what[0]} {what[1]}")
            return False
        return True

    def exception(self, exception: Exception) -> None:
        """What our own handlers of slixmpp's events raise; by itself slixmpp says nothing."""
        log.error("failed on an event of the link", domain=self.domain, exc_info=exception)

    def _tick(self) -> None:
        """Once a second."""
        self._tick_handle = self.loop.call_later(_TICK_SECONDS, self._tick)
        now = self.loop.time()
        if not self._reading:
            self._fence.count_from(now)
            return
        step = self._fence.step(now)
        if step is Step.GIVE_UP:
            # The server has taken the stream and may not bear one of the messages: silence upon it, too, is told by sending it alone.
            self._reason, self._blamed = f"no answer for {fence.LIMIT_SECONDS:.0f} s", True
            self.abort()
        elif step is Step.PING:
            self._write(self._fence.ping(now))

    # -- reading -------------------------------------------------------------------------------------------------------
    def init_parser(self) -> None:
        """A parser of our own for each stream."""
        self.xml_depth = 0
        self.xml_root = None
        self.parser = StreamParser()  # type: ignore[assignment]

    def data_received(self, data: bytes | str) -> None:
        """Octets from the server; ends the stream on what the parser does not bear."""
        self._fence.heard(self.loop.time())
        chunk = self._chunk = _Chunk(len(data))
        self._uncommitted += len(data)
        try:
            super().data_received(data)
        except StreamFault as fault:
            self._reason, self._blamed = f"bad stream from the server: {fault}", True
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
            self._fence.count_from(self.loop.time())
            self.transport.resume_reading()

    def _spawn_event(self, element: Element) -> None:
        """slixmpp hands every whole child of the stream to this."""
        what = ("stanza", element.get("id"))
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
        self._blamed = condition not in _NO_MESSAGES_FAULT
        self._reason = {
            "not-authorized": "the server refuses the component secret",
            "conflict": "the server says that this component is connected already",
            "host-unknown": "the server knows no component of this name",
        }.get(condition, f"stream error {condition}")

    def _iq(self, element: Element) -> None:
        if self._fence_back(element) or self._uploads.answered(element):
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
            envelope = self._codec.read(element, parties, f"xmpp:{self.domain}", fresh_token(), time.time())
            if envelope is not None and self._security and not envelope.volatile:
                envelope = self._security.arrived(envelope)
            notices = self._codec.read_notices(element, parties)
        except (Refusal, SyntaxFault) as refusal:
            self._refuse(origin, refusal if isinstance(refusal, Refusal) else Refusal("bad-syntax", refusal.what))
            return
        if notices:
            self._alone(("message", origin.id), self._sink.told, notices)
        if envelope is not None:
            self._chunk.open += 1
            answered = partial(self._answered, origin, envelope, self._chunk)
            if not self._alone(("message", envelope.trace_id), self._sink.offer, envelope, answered):
                answered(Refusal("internal"))

    def _answered(self, origin: StanzaOrigin, envelope: Envelope, chunk: _Chunk, refusal: Refusal | None) -> None:
        self._close_chunk(chunk)
        if self._security:
            self._security.answered(envelope, is_kept=refusal is None)
        if refusal:
            self._alone(("stanza", origin.id), self._refuse, origin, refusal)

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
        if not self._fence.failed(trace, outcome):
            self._sink.told((Notice(trace, outcome),))


class ComponentCarrier:
    """Implements the Carrier port over the links; the gate of a message is the domain of its link."""

    window = 1_000_000

    def __init__(self, codec: XmppCodec) -> None:
        self._codec = codec
        self.http = Http()
        self.links: dict[str, ComponentLink] = {}
        self.translate: Callable[..., Any] = lambda envelope, _number: codec.write(envelope)

    def ready(self, gate: str, *, retry: bool) -> bool:
        """Whether this link is up and has room."""
        link = self.links.get(gate)
        return link is not None and link.has_room()

    def send(self, delivery: Delivery) -> None:
        """Hand it to its link."""
        self.links[delivery.parcel.gate].deliver(delivery)

    async def close(self) -> None:
        """The links have finished."""
        await self.http.close()
