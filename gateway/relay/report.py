"""Telling a sender that a message failed after it had been accepted: which failures are told, to whom, and what is kept to do it late."""

from __future__ import annotations

from gateway.core.address import Address
from gateway.core.canonical import failure_message
from gateway.core.envelope import Envelope, Origin, RequestOrigin, SipAddress
from gateway.core.errors import SyntaxFault
from gateway.core.jid import Jid, jid_from_xmpp_uri, xmpp_uri
from gateway.core.outcome import Outcome
from gateway.core.uri import Uri, sip_uri


def failure(envelope: Envelope, outcome: Outcome, trace_id: str, now: float) -> Envelope | None:
    """The message that tells the sender of `envelope` what became of it; None when nobody is told (MSG-23: no report about a report).

    It travels like any other: from whom the message was for, to who wrote it.
    """
    if envelope.origin is None or envelope.volatile:
        return None
    return _tell(envelope.origin, envelope.sender, envelope.sender_device, envelope.recipient, outcome, trace_id, now)


def remembered(envelope: Envelope) -> str:
    """What is kept of a message from SIP so that a late error can still be told: no text of it."""
    origin, sender, recipient = envelope.origin, envelope.sender, envelope.recipient
    if not (isinstance(origin, RequestOrigin) and isinstance(sender, SipAddress) and isinstance(recipient, Jid)):
        return ""
    ends = (sip_uri(sender, envelope.sender_device), xmpp_uri(recipient))
    return "\n".join((*ends, origin.to_uri, origin.call_id, origin.cseq))


def late_failure(facts: str, outcome: Outcome, trace_id: str, now: float) -> Envelope | None:
    """As `failure`, for a message of which only `remembered` is left; None for facts that cannot be read."""
    try:
        sender, recipient, to_uri, call_id, cseq = facts.split("\n")
        uri = Uri.parse(sender)
        return _tell(RequestOrigin(to_uri, call_id, cseq), uri.address, uri.device, jid_from_xmpp_uri(recipient), outcome, trace_id, now)
    except (ValueError, SyntaxFault):
        return None


def _tell(origin: Origin, author: Address, device: str, addressee: Address, outcome: Outcome, trace_id: str, now: float) -> Envelope:
    headers = []
    if isinstance(origin, RequestOrigin):
        headers.append(("To", f"<{origin.to_uri}>"))
        headers += [(name, value) for name, value in (("Call-ID", origin.call_id), ("CSeq", origin.cseq)) if value]
    if outcome.contact:
        headers.append(("Contact", f"<{outcome.contact}>"))
    if outcome.retry_after is not None:
        headers.append(("Retry-After", str(int(outcome.retry_after))))
    message = failure_message(addressee, author, now, outcome.status, outcome.reason, headers)
    return Envelope(
        id=trace_id,
        trace_id=trace_id,
        sender=addressee,
        recipient=author,
        message=message,
        received_at=now,
        peer="gateway",
        recipient_device=device,
        about=origin,
    )
