"""Envelope -> SIP MESSAGE: RFC 3428, RFC 7572 and RFC 3862. Pure: the command line uses it too. The way back is in reading.py."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from hashlib import blake2b
from math import ceil
from typing import Protocol

from gateway.core.address import Address, SipAddress
from gateway.core.canonical import FAILURE_TYPE, OLD_AFTER_SECONDS, written_at
from gateway.core.dates import format_sip_date
from gateway.core.envelope import Conversation, Envelope
from gateway.core.errors import Refusal
from gateway.core.jid import Jid
from gateway.core.ports import Names, Parcel, Trace
from gateway.core.remember import MOST_REMEMBERED
from gateway.core.settings import RouteRule, Settings
from gateway.core.tables import Tables
from gateway.core.text import one_line
from gateway.core.tokens import fresh_token
from gateway.core.uri import Uri, sip_uri

from . import writer
from .bodies import Body, Form, bodies, cut, needed, require_typing
from .conversation import fields
from .redirect import Trail
from .route import gate_of, route_of, transport_of
from .takes import Known, nothing_known
from .threads import call_id_of

MOST_REQUEST_OCTETS = 1300
"""RFC 3428 section 8."""
PLACE_OF_BRANCH = "z9hG4bK" + "0" * 16
"""Stands in a translated request where each try puts its own branch, which is as long."""
_REMEMBERED = 4096
_MOST_CSEQ, _MOST_EXPIRES = 2**31, 2**32 - 1
_MOST_TARGET = 256


class Spellings(Protocol):
    """Remembers how a SIP user last spelled himself towards somebody (ADDR-10)."""

    def spelling(self, recipient: SipAddress, sender: Jid) -> str:
        """The user part to write; the one of the address when nothing else is known."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A MESSAGE as it goes out, but for its branch, and for the listener that it leaves from where that is not the one that it names.

    number: the CSeq number that is written in it. transport, sent_by: that its Via names. form: as of a Body; asks:
    whether it asks for notifications. trail: how it was redirected to its Request-URI; None where that is the recipient's own. refused: the
    forms in which its recipient has refused it.
    """

    octets: bytes
    number: int
    transport: str
    sent_by: str
    request_uri: str
    form: Form = ("", "")
    asks: bool = False
    trail: Trail | None = None
    refused: tuple[Form, ...] = ()

    def sent(self, sent_by: str, branch: str) -> bytes:
        """The octets of one try. sent_by: no longer than that of the draft, so that the bound on the size holds."""
        return self.octets.replace(_via(self.transport, self.sent_by, PLACE_OF_BRANCH), _via(self.transport, sent_by, branch), 1)


def _via(transport: str, sent_by: str, branch: str) -> bytes:
    """The beginning of the top Via, with the end of the line before it, which nothing in a Request-URI can pass for."""
    return f"\r\nVia: SIP/2.0/{transport.upper()} {sent_by};branch={branch}".encode()


@dataclass(frozen=True, slots=True)
class _Ends:
    """What all messages between the same two ends have in common.

    author, target: the URIs of From, and of Request-URI and To. from_, to: the header values, without a tag. people: the two without
    their devices. home: the recipient; name: his address in normal form.
    """

    author: str
    target: str
    from_: str
    to: str
    people: tuple[str, str]
    rule: RouteRule
    home: SipAddress
    name: str
    gate: str
    transport: str


class SipCodec:
    """Writes requests.

    sent_by: transport -> the Via host and port of ours, of several the longest. secret: key of tags and Call-IDs. spellings: None writes
    every user as the directory has it. takes: what the recipients are known to take.
    """

    def __init__(
        self,
        names: Names,
        tables: Tables,
        settings: Settings,
        secret: bytes,
        sent_by: dict[str, str],
        spellings: Spellings | None = None,
        takes: Known = nothing_known,
    ) -> None:
        self._names, self._settings, self._numbers = names, settings, tables.numbers
        self._secret, self.sent_by, self._spellings, self._takes = secret, sent_by, spellings, takes
        self._says_expiry = tables.carries("expires-at", "sip")
        self._says_date = tables.carries("sent-at", "sip")
        self._ends = lru_cache(_REMEMBERED)(self._find_ends)

    # -- to SIP --------------------------------------------------------------------------------------------------------
    def write(self, envelope: Envelope, number: int) -> Parcel:
        """The MESSAGE for an envelope, with the CSeq number of its first try; its lane is the recipient's address. Raises Refusal."""
        ends = self._ends_of(envelope)
        if envelope.volatile:
            require_typing(ends.rule, self._takes(ends.home))
        draft = self._draft(ends, envelope, number, ends.transport)
        if len(draft.octets) > MOST_REQUEST_OCTETS and self._is_bounded(ends, draft.transport, None):
            detail = "a large SIP MESSAGE needs a congestion-controlled transport, the route has UDP" if ends.rule.large_messages else ""
            raise Refusal("too-large-for-sip", detail)
        return Parcel(f"sip {ends.name}", ends.gate, draft, not ends.rule.store, self._traces(ends, envelope, draft))

    def _traces(self, ends: _Ends, envelope: Envelope, draft: Draft) -> tuple[Trace, ...]:
        """How later news of it may name it: its first request (FRAG-42), and its Message-ID where it asks for notifications."""
        if envelope.origin is None:
            return ()
        who = str(envelope.sender)
        request = (f"{self._call_id(envelope)} {draft.number % _MOST_CSEQ}", ends.name, who)
        return ((f"imdn {envelope.id}", ends.name, who), request) if draft.asks else (request,)

    def draft(self, envelope: Envelope, number: int, transport: str, trail: Trail | None = None, refused: tuple[Form, ...] = ()) -> Draft:
        """The request for one try over one transport. Raises Refusal where no form is left that was not refused.

        A later try has another CSeq number, which may be longer. What fills its 1300 octets keeps to them by the short name of
        Content-Length, which is there for that (RFC 3261 section 7.3.3), and gives more room than the longest number takes.
        """
        return self._draft(self._ends_of(envelope), envelope, number, transport, trail, refused, again=True)

    def is_outdated(self, draft: Draft, envelope: Envelope) -> bool:
        """Whether its recipient is known by now not to take the form that it has."""
        if not (features := needed(draft.form)):
            return False
        takes = self._takes(self._ends_of(envelope).home)
        return any(getattr(takes, feature) is False for feature in features)

    def moved(self, parcel: Parcel, envelope: Envelope, trail: Trail, refused: tuple[Form, ...] = ()) -> Parcel:
        """The same message for the place where a trail leads: another Request-URI, all else as it was (RFC 3261 section 8.1.3.4).

        Its CSeq number is not known yet; the longest stands for it. Raises Refusal where the message is too large to go there.
        """
        gate = trail.here.gate
        return self._again(parcel._replace(gate=gate), envelope, transport_of(Uri.parse(gate), self.sent_by), trail, refused)

    def rewritten(self, parcel: Parcel, envelope: Envelope, refused: Form, took: float) -> Parcel:
        """The same message at the same place without the form that was refused there, and those that were before (ICPIM-34, FRAG-46).

        took: the seconds until that was said. Later news finds the message by its first names. Raises Refusal where no other form is left.
        """
        draft = parcel.wire
        assert isinstance(draft, Draft)
        trail = draft.trail and replace(draft.trail, left=draft.trail.left - took)
        return self._again(parcel, envelope, draft.transport, trail, (*draft.refused, refused))

    def _again(self, parcel: Parcel, envelope: Envelope, transport: str, trail: Trail | None, refused: tuple[Form, ...]) -> Parcel:
        draft = self.draft(envelope, _MOST_CSEQ - 1, transport, trail, refused)
        if len(draft.octets) > MOST_REQUEST_OCTETS and self._is_bounded(self._ends_of(envelope), draft.transport, trail):
            raise Refusal("too-large-for-sip")
        return parcel._replace(wire=draft)

    def gate(self, envelope: Envelope) -> str:
        """The next hop for this. Raises Refusal."""
        return self._ends_of(envelope).gate

    def question(self, envelope: Envelope, transport: str) -> Draft:
        """The OPTIONS that asks the recipient of this what he takes, in the gateway's own name (RFC 3261 section 11.1). Raises Refusal."""
        ends = self._ends_of(envelope)
        call_id = fresh_token()
        octets = writer.request(
            "OPTIONS",
            ends.target,
            via=(transport.upper(), self.sent_by[transport], PLACE_OF_BRANCH),
            from_=writer.name_addr("", f"sip:{self._settings.name}"),
            from_tag=self._token(call_id),
            to=ends.to,
            call_id=call_id,
            cseq=1,
            route=route_of(ends.gate),
            extra=(("Accept", "application/sdp"),),
        )
        return Draft(octets, 1, transport, self.sent_by[transport], ends.target)

    def _is_bounded(self, ends: _Ends, transport: str, trail: Trail | None) -> bool:
        """Whether a request has to keep to 1300 octets: over UDP, and where the route of its Request-URI does not allow more."""
        if trail is None:
            return transport == "udp" or not ends.rule.large_messages
        uri = trail.here.request_uri
        # A tel: URI is still the recipient's own.
        return "udp" in (transport, uri.transport) or not self._settings.route(uri.host or self._numbers.host).large_messages

    def _draft(
        self,
        ends: _Ends,
        envelope: Envelope,
        number: int,
        transport: str,
        trail: Trail | None = None,
        refused: tuple[Form, ...] = (),
        *,
        again: bool = False,
    ) -> Draft:
        """In the best of the forms that it may have there and that has room; in the last one where none has."""
        is_bounded = self._is_bounded(ends, transport, trail)
        uri, gate = (trail.here.request_uri.text, trail.here.gate) if trail else (ends.target, ends.gate)
        found = [body for body in bodies(envelope, ends.rule, self._takes(ends.home), ends.people) if body.form not in refused]
        if not found:
            raise Refusal("type-unsupported")
        ways = [(body, envelope.conversation) for body in found]
        if envelope.conversation:
            # To be heard is more than to be heard as an answer.
            ways.append((found[-1], None))
        for way in ways:
            body, conversation = way
            extra = tuple(self._extra(envelope, body, conversation))
            content = len(body.octets) + sum(len(value) for _, value in extra)
            if not ends.rule.large_messages and not body.may_be_cut and content > MOST_REQUEST_OCTETS:
                # Not worth its writing.
                continue
            speaking = self._reporting(ends, envelope) if body.feature == "imdn" and _is_failure(envelope) else ends
            write = partial(self._request, speaking, uri, gate, envelope, number, transport, extra)
            octets = self._fitted(write, speaking, envelope, body, is_bounded=is_bounded, again=again)
            if way is ways[-1] or not is_bounded or len(octets) <= MOST_REQUEST_OCTETS:
                return Draft(octets, number, transport, self.sent_by[transport], uri, body.form, body.asks, trail, refused)
        raise Refusal("too-large-for-sip")

    def _reporting(self, ends: _Ends, envelope: Envelope) -> _Ends:
        """An IMDN is from whom the message was for, also one of a failure: who gets it knows the message by him (IMDN-11)."""
        person = sip_uri(self._names.sip_of(envelope.sender))
        return replace(ends, author=person, from_=writer.name_addr("", person))

    def _fitted(
        self, write: Callable[[str, bytes], bytes], ends: _Ends, envelope: Envelope, body: Body, *, is_bounded: bool, again: bool
    ) -> bytes:
        """The octets of one form, with as much of the sender as there is room for."""
        may_shorten = is_bounded and not _is_failure(envelope)
        fullest = writer.name_addr(envelope.sender_name, ends.author) if envelope.sender_name else ends.from_
        for from_ in (fullest, *(self._shorter_senders(ends, envelope) if may_shorten else ())):
            octets = write(from_, body.octets)
            if again and is_bounded and len(octets) > MOST_REQUEST_OCTETS:
                octets = octets.replace(b"\r\nContent-Length: ", b"\r\nl: ", 1)
            over = len(octets) - MOST_REQUEST_OCTETS
            if over <= 0:
                break
        if over > 0 and body.may_be_cut:
            # Better a report without its last words than none (FRAG-40).
            octets = write(ends.from_, cut(body.octets, max(len(body.octets) - over, 0)))
        return octets

    def _shorter_senders(self, ends: _Ends, envelope: Envelope) -> Iterable[str]:
        """The values of From that say less: neither a name nor a device is worth a refusal, but a device says more (ADDR-24, IMSG-27)."""
        bare = sip_uri(self._names.sip_of(envelope.sender))
        yield ends.from_
        yield writer.name_addr(envelope.sender_name, bare)
        yield writer.name_addr("", bare)

    def _request(
        self,
        ends: _Ends,
        request_uri: str,
        gate: str,
        envelope: Envelope,
        number: int,
        transport: str,
        extra: writer.Extra,
        from_: str,
        body: bytes,
    ) -> bytes:
        call_id = self._call_id(envelope)
        return writer.request(
            "MESSAGE",
            request_uri,
            via=(transport.upper(), self.sent_by[transport], PLACE_OF_BRANCH),
            from_=from_,
            # The same for all messages of one conversation (IMSG-11), also for one whose From has no room for the device; another one once
            # the CSeq numbers have gone round.
            from_tag=self._token(call_id, ends.author, ends.target, str(number // _MOST_CSEQ)),
            to=ends.to,
            call_id=call_id,
            cseq=number % _MOST_CSEQ,
            route=route_of(gate),
            extra=extra,
            body=body,
        )

    def _ends_of(self, envelope: Envelope) -> _Ends:
        if _is_failure(envelope):
            # A report comes from the gateway's own name, never from whom it is about, and goes to the address alone of whom the From named:
            # what else stood in that URI would send it elsewhere, or be another request (FRAG-40; RFC 3261 section 19.1.5).
            gateway = f"sip:{self._settings.name}"
            return self._made_ends(gateway, gateway, *self._addressee(envelope))
        home = self._names.sip_of(envelope.recipient)
        if self._spellings and isinstance(envelope.sender, Jid):
            user = self._spellings.spelling(home, envelope.sender)
            home = home if user == home.user else SipAddress(user, home.domain)
        ends = (envelope.sender, envelope.sender_device, home, envelope.recipient_device)
        return self._ends(*ends) if sum(len(str(part)) for part in ends) <= MOST_REMEMBERED else self._find_ends(*ends)

    def _addressee(self, report: Envelope) -> tuple[SipAddress, str]:
        """Whom a report is for, and the device; without it where that would take the room of the text."""
        home = self._names.sip_of(report.recipient)
        device = report.recipient_device if self._settings.route(home.domain).gr else ""
        return home, device if len(self._numbers.written(home, device)) <= _MOST_TARGET else ""

    def _find_ends(self, sender: Address, sender_device: str, home: SipAddress, device: str) -> _Ends:
        gr = self._settings.route(home.domain).gr
        person = self._names.sip_of(sender)
        return self._made_ends(sip_uri(person), sip_uri(person, sender_device if gr else ""), home, device if gr else "")

    def _made_ends(self, person: str, author: str, home: SipAddress, device: str) -> _Ends:
        target, rule = self._numbers.written(home, device), self._settings.route(home.domain)
        from_, to, gate = writer.name_addr("", author), writer.name_addr("", target), gate_of(rule, home.domain)
        people, transport = (person, self._numbers.written(home)), transport_of(Uri.parse(gate), self.sent_by)
        return _Ends(author, target, from_, to, people, rule, home, str(home.normal), gate, transport)

    def _call_id(self, envelope: Envelope) -> str:
        """One that brings the thread back with each reply, where the thread has room in it (IMSG-10)."""
        thread = envelope.thread
        if not thread:
            return self._token(envelope.trace_id)
        return call_id_of(thread) or self._token(thread, str(envelope.sender), str(envelope.recipient))

    def _token(self, *parts: str) -> str:
        return blake2b("\n".join(parts).encode(), digest_size=12, key=self._secret).hexdigest()

    def _extra(self, envelope: Envelope, body: Body, conversation: Conversation | None) -> Iterable[tuple[str, str]]:
        message = envelope.message
        written = written_at(message)
        is_old = self._says_date and written is not None and envelope.received_at - written > OLD_AFTER_SECONDS
        if envelope.expires_at is not None and self._says_expiry:
            # It counts from the Date, so there is one (MSG-50).
            since = written if is_old and written is not None else envelope.received_at
            yield "Date", format_sip_date(since)
            yield "Expires", str(min(max(ceil(envelope.expires_at - int(since)), 0), _MOST_EXPIRES))
        elif written is not None and (is_old or (envelope.verdict is not None and self._says_date)):
            # A signed message has to have one (RFC 3428 section 11.4), which is that of the message/cpim in it.
            yield "Date", format_sip_date(written)
        if subject := next((text for text, _ in message.subjects), ""):
            yield "Subject", one_line(subject)
        language = message.entity.header("Content-Language")
        if language:
            yield "Content-Language", language
        if conversation:
            yield from fields(conversation)
        yield from body.headers
        if body.type:
            yield "Content-Type", body.type


def _is_failure(envelope: Envelope) -> bool:
    """Whether it is the gateway itself that speaks."""
    return envelope.message.entity.content_type.essence == FAILURE_TYPE
