"""Asks people by OPTIONS what they take: each once in 24 h, few at a time, once and only once (RFC 3261 section 11).

Nothing of it is stored or tried again: whoever does not answer, or says no, has said nothing. No socket and no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import NamedTuple

import structlog

from gateway.core.address import SipAddress
from gateway.core.envelope import Envelope
from gateway.core.errors import Refusal
from gateway.core.uri import Uri

from .codec import Draft, SipCodec
from .locate import Locator, NotFoundError, Target
from .message import Response
from .peers import Peers

ASK_AGAIN_SECONDS = 60.0
"""After DNS has not answered: nothing keeps that in mind but this, and every typing notice would ask it."""
MOST_ASKED = 64
"""How many may be asked at once: at a next hop that is dead, two a second."""

log = structlog.get_logger("sip")


class Question(NamedTuple):
    """An OPTIONS on its way: who is asked."""

    address: SipAddress


class Questions:
    """spawn: runs this beside everything else. ready: whether a request may be sent to a next hop. put: sends the OPTIONS."""

    def __init__(
        self,
        peers: Peers,
        codec: SipCodec,
        locator: Locator,
        spawn: Callable[[Coroutine[None, None, None]], None],
        ready: Callable[[str], bool],
        put: Callable[[Draft, Target, Question], None],
    ) -> None:
        self._peers, self._codec, self._locator = peers, codec, locator
        self._spawn, self._ready, self._put = spawn, ready, put
        self._open = 0

    def ask(self, envelope: Envelope) -> None:
        """Ask the recipient of this, over his next hop, if it is time."""
        address = envelope.recipient
        if isinstance(address, SipAddress) and self._open < MOST_ASKED and self._peers.may_ask(address):
            self._open += 1
            self._spawn(self._send(envelope, address))

    async def _send(self, envelope: Envelope, address: SipAddress) -> None:
        is_sent = False
        try:
            gate = self._codec.gate(envelope)
            target = (await self._locator.locate(Uri.parse(gate)))[0]
            if self._ready(gate):
                self._put(self._codec.question(envelope, target.transport), target, Question(address))
                is_sent = True
            else:
                self._peers.not_asked(address)
        except (NotFoundError, Refusal) as fault:
            if isinstance(fault, NotFoundError) and fault.temporary:
                self._peers.not_asked(address, ASK_AGAIN_SECONDS)
            log.info("cannot be asked", side="sip", reason=str(fault))
        finally:
            self._open -= not is_sent

    def ended(self, question: Question, response: Response | None) -> None:
        """One is over: with its final response, or without."""
        self._open -= 1
        if response and response.status < 300:
            self._peers.answered(question.address, response)
