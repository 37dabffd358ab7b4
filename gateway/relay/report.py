"""What a sender is told of a message that had been accepted: that it failed, or what he asked to be told (RFC 5438). Pure.

Nothing is told about a report, twice, or without having been asked for; only a failure is told in any case (MSG-22, MSG-23, IMDN-05).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

from gateway.core.address import Address
from gateway.core.canonical import failure_message, notification_message
from gateway.core.cpim import CpimMessage
from gateway.core.dates import format_sip_date
from gateway.core.envelope import Envelope, Origin, RequestOrigin, StanzaOrigin, home_uri, read_home
from gateway.core.errors import SyntaxFault
from gateway.core.imdn import Asked, Disposition
from gateway.core.outcome import Outcome

News = Disposition | Outcome


@dataclass(frozen=True, slots=True)
class Facts:
    """What is remembered of a message so that later news of it can be told: no text of it.

    author, author_device: who wrote it; addressee: whom it was for; home addresses. asked: the dispositions that he asked for; told: the
    categories of those that he was told (IMDN-05). received_at: POSIX seconds.
    """

    author: Address
    author_device: str
    addressee: Address
    origin: Origin
    received_at: float
    asked: frozenset[str] = frozenset()
    told: frozenset[str] = frozenset()

    @staticmethod
    def of(envelope: Envelope) -> Facts | None:
        """Of a message that somebody has sent; None for what the gateway says itself, and for what is not kept."""
        if envelope.origin is None or envelope.volatile:
            return None
        origin, author, device = envelope.origin, envelope.sender, envelope.sender_device
        if isinstance(origin, RequestOrigin) and origin.author:
            author, device = read_home(origin.author)
        return Facts(author, device, envelope.recipient, origin, envelope.received_at, envelope.asked)

    def dump(self) -> str:
        """In one line of text; `load` undoes it exactly."""
        origin = self.origin
        if isinstance(origin, RequestOrigin):
            came = [origin.to_uri, origin.call_id, origin.cseq, origin.asked.dump() if origin.asked else ""]
        else:
            came = [origin.id, origin.type, origin.sender, origin.recipient]
        ends = [home_uri(self.author, self.author_device), home_uri(self.addressee, "")]
        return json.dumps([*ends, *came, self.received_at, *sorted(self.asked), "", *sorted(self.told)], ensure_ascii=False)

    @staticmethod
    def load(text: str) -> Facts | None:
        """Read what `dump` wrote; None for anything else."""
        try:
            author_uri, addressee_uri, first, second, third, fourth, received_at, *rest = json.loads(text)
            author, device = read_home(author_uri)
            origin: Origin
            if author_uri.startswith("sip:"):
                origin = RequestOrigin(first, second, third, Asked.load(fourth) if fourth else None)
            else:
                origin = StanzaOrigin(first, second, third, fourth)
            end = rest.index("")
            return Facts(
                author, device, read_home(addressee_uri)[0], origin, received_at, frozenset(rest[:end]), frozenset(rest[end + 1 :])
            )
        except (ValueError, TypeError, AttributeError, SyntaxFault):
            return None

    def after(self, news: News) -> Facts:
        """The same once this has been told."""
        return replace(self, told=self.told | {_category(news)})


def _category(news: News) -> str:
    return news.category if isinstance(news, Disposition) else Disposition.FAILED.category


def told(facts: Facts, news: News, trace_id: str, now: float) -> Envelope | None:
    """The message that brings this news to the author; None where he has not asked for it, or has been told of that category.

    It travels like any other: from whom the message was for, to who wrote it.
    """
    if _category(news) in facts.told or (isinstance(news, Disposition) and news.wish not in facts.asked):
        return None
    return Envelope(
        id=trace_id,
        trace_id=trace_id,
        sender=facts.addressee,
        recipient=facts.author,
        message=_message(facts, news, trace_id, now),
        received_at=now,
        peer="gateway",
        recipient_device=facts.author_device,
        about=facts.origin,
    )


def failure(envelope: Envelope, outcome: Outcome, trace_id: str, now: float) -> Envelope | None:
    """The message that tells the sender of `envelope` that it failed; None when nobody is told."""
    facts = Facts.of(envelope)
    return told(facts, outcome, trace_id, now) if facts else None


def _message(facts: Facts, news: News, trace_id: str, now: float) -> CpimMessage:
    origin = facts.origin
    if isinstance(news, Disposition):
        asked = origin.asked if isinstance(origin, RequestOrigin) else _asked_by(origin)
        assert asked is not None  # or he would not be told
        return notification_message(facts.addressee, facts.author, now, trace_id, asked, news)
    headers = []
    if isinstance(origin, RequestOrigin):
        headers.append(("To", f"<{origin.to_uri}>"))
        headers += [(name, value) for name, value in (("Call-ID", origin.call_id), ("CSeq", origin.cseq)) if value]
        headers.append(("Date", format_sip_date(now)))
    if news.contact:
        headers.append(("Contact", f"<{news.contact}>"))
    if news.retry_after is not None:
        headers.append(("Retry-After", str(int(news.retry_after))))
    return failure_message(facts.addressee, facts.author, now, news.status, news.reason, headers)


def _asked_by(origin: StanzaOrigin) -> Asked:
    """An author on the XMPP side is told in terms of his stanza; the rest of an IMDN is nothing to him."""
    return Asked(frozenset(), origin.id.strip() or "-", "", "")
