"""What is logged of a message: enough to follow one person through a day, not enough to know who it is (QOS-39, SEC-47)."""

from __future__ import annotations

import secrets
import time
from functools import lru_cache
from hashlib import blake2b

import structlog

from gateway.core.address import Address, SipAddress
from gateway.core.envelope import Envelope
from gateway.core.verdict import Verdict

from .lane import Message

log = structlog.get_logger("relay")
_KEY = secrets.token_bytes(16)


@lru_cache(maxsize=4096)
def masked(address: Address) -> str:
    """`~1a2b3c4d@example.net`: the domain in clear, the user as a hash that is the same until the process ends."""
    user = address.normal.user if isinstance(address, SipAddress) else address.local
    return f"~{blake2b(user.encode(), digest_size=4, key=_KEY).hexdigest()}@{address.domain}" if user else address.domain


def log_verdict(envelope: Envelope, verdict: Verdict) -> None:
    """One line a signed message. Whom its certificate names is told to nobody but who reads the message."""
    log.info(
        "signature judged",
        trace_id=envelope.trace_id,
        sender=masked(envelope.sender),
        peer=envelope.peer,
        status=verdict.status.value,
        date=verdict.date,
        encrypted=verdict.encrypted,
    )


def log_fate(event: str, message: Message, **more: object) -> None:
    """One line a message that ended, or a try that did. tries: with this one. ms: since it was received."""
    envelope = message.envelope
    assert envelope is not None  # it was read
    log.info(
        event,
        **more,
        seq=message.seq,
        trace_id=envelope.trace_id,
        sender=masked(envelope.sender),
        recipient=masked(envelope.recipient),
        peer=envelope.peer,
        tries=message.attempts + 1,
        ms=int((time.time() - envelope.received_at) * 1000),
    )
