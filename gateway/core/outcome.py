"""What became of one attempt to deliver a message."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Verdict(Enum):
    """How an attempt ended, as far as the sender and the queue are concerned."""

    DELIVERED = "delivered"
    """The far side took it: a 2xx, or a fence that came back behind the stanza."""
    FAILED = "failed"
    """Refused for good: tell the sender, go on with the next message."""
    LATER = "later"
    """Refused for now (REL-11): the lane waits, then tries again with a new CSeq."""
    UNKNOWN = "unknown"
    """No answer, or the connection broke after sending: fate unknown (QOS-1C). Again later, with the same identity."""
    LOST = "lost"
    """The link broke, or was down, before the message was confirmed: again as soon as it is up, with the same identity."""
    MERGED = "merged"
    """The far side says that it has a copy of this very try already (482 to a repeat, RFC 3261 section 8.2.2.2)."""
    MOVED = "moved"
    """The far side has sent it elsewhere, or takes another form of it: at once, under a new number (`Delivery.moved`, `rewritten`)."""
    POISON = "poison"
    """The peer ended the link because of this very message, more than once: put it aside (REL-18)."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One attempt's result.

    status: a SIP status that says why (RFC 7247 section 7 terms), 0 where there is none; with DELIVERED, 200 where that is as good as a
    receipt (`receipt_on_200`).
    reason: text of the far side, already safe to carry on; may be empty.
    retry_after: seconds the far side asked us to wait; None when it did not.
    contact: where the far side says the recipient is now (3xx), as a URI; empty otherwise.
    """

    verdict: Verdict
    status: int = 0
    reason: str = ""
    retry_after: float | None = None
    contact: str = ""


DELIVERED = Outcome(Verdict.DELIVERED)
LOST = Outcome(Verdict.LOST)
MOVED = Outcome(Verdict.MOVED)
REWRITTEN = Outcome(Verdict.MOVED, 415)
UNSENDABLE = Outcome(Verdict.POISON, reason="it cannot be sent: see the log")
"""A defect of ours, which stays with the message that it concerns."""
