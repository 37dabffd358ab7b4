"""What travels between the two sides: one message with everything that its delivery, its retries and its reports need."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache

from .address import Address, SipAddress
from .cpim import CPIM_TYPE, CpimMessage, compose
from .errors import SyntaxFault
from .imdn import Asked
from .jid import Jid, jid_from_xmpp_uri, xmpp_uri
from .mime import Entity
from .uri import Uri, sip_uri
from .verdict import Verdict

NAMESPACE = "urn:uuid:5f1d1c8e-6f0e-4c1b-9a53-0d6e8f2a7b41"
"""Namespace of the header fields in which an envelope keeps what message/cpim has no field for (RFC 3862 section 3.4)."""


@dataclass(frozen=True, slots=True)
class RequestOrigin:
    """The SIP request that brought a message: what a report about it has to name (FRAG-41).

    to_uri: whom the sender wrote to, in the sender's spelling. Of its From nothing: a report goes to the address of record of the sender.
    asked: the disposition notifications that its sender wants; None for none. author: who he is where the message does not say it, because
    he asked for that, as `home_uri` writes it: he alone is told of a failure.
    """

    to_uri: str
    call_id: str
    cseq: str
    asked: Asked | None = None
    author: str = ""


@dataclass(frozen=True, slots=True)
class StanzaOrigin:
    """The stanza that brought a message: what an error stanza about it has to repeat (RFC 6120 section 8.3.1)."""

    id: str
    type: str
    sender: str
    recipient: str


Origin = RequestOrigin | StanzaOrigin


@dataclass(frozen=True, slots=True)
class Conversation:
    """How RCS names what a message belongs to: opaque names, each empty where it is not said (RCS-02).

    id: of the conversation, which is its thread. contribution: of this message in it. in_reply_to: of the one that it answers.
    """

    id: str
    contribution: str = ""
    in_reply_to: str = ""

    def dump(self) -> str:
        """In one line of text; `load` undoes it exactly."""
        return json.dumps([self.id, self.contribution, self.in_reply_to])

    @staticmethod
    def load(text: str) -> Conversation:
        """Read what `dump` wrote. Raises ValueError for anything else."""
        conversation_id, contribution, in_reply_to = json.loads(text)
        return Conversation(conversation_id, contribution, in_reply_to)


@dataclass(frozen=True, slots=True)
class Envelope:
    """One message on its way.

    id: the stanza id or imdn.Message-ID under which the far side sees it, the same in every try.
    trace_id: names this message in logs and traces.
    sender, recipient: home addresses; the device is the resource or the `gr` at that end, empty when none is known.
    peer: the peer or link it came by ("udp:192.0.2.7", "xmpp:sip.example", "gateway").
    received_at, expires_at: POSIX seconds; expires_at is None when the sender set no limit.
    thread: Call-ID or thread, the correlation that both sides share; empty when there is none.
    conversation: what an RCS user said of it, or is to be told; None where that is nothing.
    asked: the IMDN dispositions that its sender wants to hear of (RFC 5438 section 6.2), whichever side he is on.
    sender_name: what the sender calls himself, as `text.shown_name` lets it pass; empty where the recipient need not be told.
    origin: how it came, for errors about it; None for what the gateway says itself: its own failure is only logged (MSG-23).
    about: set in a failure message and in a notification: the origin of the message that it is about.
    volatile: never stored, replaced by newer, dropped under pressure (typing).
    verdict: what is known of its protection from end to end; None where it has none.
    message: the canonical message.
    """

    id: str
    trace_id: str
    sender: Address
    recipient: Address
    message: CpimMessage
    received_at: float
    peer: str
    sender_device: str = ""
    recipient_device: str = ""
    expires_at: float | None = None
    thread: str = ""
    asked: frozenset[str] = frozenset()
    sender_name: str = ""
    origin: Origin | None = None
    about: Origin | None = None
    volatile: bool = False
    conversation: Conversation | None = None
    verdict: Verdict | None = None

    def to_cpim(self) -> bytes:
        """The envelope as message/cpim around its message (RFC 3862 section 6: wrap, never alter). `from_cpim` undoes it exactly."""
        fields = [("Id", self.id), ("Trace", self.trace_id), ("Received", repr(self.received_at)), ("Peer", self.peer)]
        if self.expires_at is not None:
            fields.append(("Expires", repr(self.expires_at)))
        if self.thread:
            fields.append(("Thread", self.thread))
        if self.conversation:
            fields.append(("Conversation", self.conversation.dump()))
        if self.asked:
            fields.append(("Asked", ",".join(sorted(self.asked))))
        if self.sender_name:
            fields.append(("Name", self.sender_name))
        if self.origin is not None:
            fields += _origin_fields("Origin", self.origin)
        if self.about is not None:
            fields += _origin_fields("About", self.about)
        if self.verdict:
            fields.append(("Verdict", self.verdict.dump()))
        if self.volatile:
            fields.append(("Volatile", "yes"))
        return _wrapped(_head(self.sender, self.sender_device, self.recipient, self.recipient_device), fields, self.message.raw)

    @staticmethod
    def from_cpim(raw: bytes) -> Envelope:
        """Read what `to_cpim` wrote. Raises SyntaxFault for anything else."""
        outer = CpimMessage.parse(raw)
        if outer.entity.content_type.essence != CPIM_TYPE:
            raise SyntaxFault("Not a stored envelope")
        own = {header.name: _read(header.value) for header in outer.headers if header.namespace == NAMESPACE}
        sender, sender_device = read_home(outer.first("From"))
        recipient, recipient_device = read_home(outer.first("To"))
        try:
            return Envelope(
                id=own["Id"],
                trace_id=own["Trace"],
                sender=sender,
                recipient=recipient,
                message=CpimMessage.parse(outer.entity.content),
                received_at=float(own["Received"]),
                peer=own["Peer"],
                sender_device=sender_device,
                recipient_device=recipient_device,
                expires_at=float(own["Expires"]) if "Expires" in own else None,
                thread=own.get("Thread", ""),
                asked=frozenset(own["Asked"].split(",")) if "Asked" in own else frozenset(),
                sender_name=own.get("Name", ""),
                origin=_read_origin(own, "Origin"),
                about=_read_origin(own, "About"),
                volatile="Volatile" in own,
                conversation=Conversation.load(own["Conversation"]) if "Conversation" in own else None,
                verdict=Verdict.load(own["Verdict"]) if "Verdict" in own else None,
            )
        except (KeyError, ValueError):
            raise SyntaxFault("Not a stored envelope") from None


def _wrapped(head: str, fields: list[tuple[str, str]], content: bytes) -> bytes:
    """The octets of `compose`, made in one step where no value needs an escape or quotes: this runs for every message."""
    values = [value for _, value in fields]
    if "".join(values).isprintable() and not _ODD.search("\n".join(values)):
        lines = "".join([f"gw.{name}: {value}\r\n" for name, value in fields])
        return f"{head}{lines}\r\nContent-Type: {CPIM_TYPE}\r\n\r\n".encode() + content
    own = [(f"gw.{name}", _written(value)) for name, value in fields]
    ends = [line.split(": ", 1) for line in head.split("\r\n") if line]
    return compose([*[(name, value) for name, value in ends], *own], Entity.compose((("Content-Type", CPIM_TYPE),), content)).raw


_ODD = re.compile(r"[\\\"]|^ | $", re.M)
"""What `compose` escapes or we quote."""


@lru_cache(maxsize=4096)
def _head(sender: Address, sender_device: str, recipient: Address, recipient_device: str) -> str:
    """The lines that all messages between the same two ends have in common."""
    return f"From: <{home_uri(sender, sender_device)}>\r\nTo: <{home_uri(recipient, recipient_device)}>\r\nNS: gw <{NAMESPACE}>\r\n"


def home_uri(address: Address, device: str) -> str:
    """A home address and the device there as one URI, xmpp: or sip:. `read_home` undoes it exactly."""
    if isinstance(address, Jid):
        return xmpp_uri(Jid(address.local, address.domain, device))
    return sip_uri(address, device)


def read_home(value: str | None) -> tuple[Address, str]:
    """(home address, device) of a URI that `home_uri` wrote, with or without brackets. Raises SyntaxFault."""
    uri = (value or "").removeprefix("<").removesuffix(">")
    if uri.startswith("xmpp:"):
        jid = jid_from_xmpp_uri(uri)
        return jid.bare, jid.resource
    parsed = Uri.parse(uri)
    return parsed.address, parsed.device


def _written(value: str) -> str:
    """A value that a header line keeps as it is: quotes hold the blanks around it, which no line may begin or end with."""
    return f'"{value}"' if value.startswith((" ", '"')) or value.endswith(" ") else value


def _read(value: str) -> str:
    return value[1:-1] if value.startswith('"') else value


def _origin_fields(name: str, origin: Origin) -> list[tuple[str, str]]:
    if isinstance(origin, RequestOrigin):
        facts = [("To-URI", origin.to_uri), ("Call-ID", origin.call_id), ("CSeq", origin.cseq)]
        if origin.asked:
            facts.append(("IMDN", origin.asked.dump()))
        if origin.author:
            facts.append(("Author", origin.author))
    else:
        facts = [("Stanza", origin.id), ("Type", origin.type), ("Sender", origin.sender), ("Recipient", origin.recipient)]
    return [(f"{name}-{what}", value) for what, value in facts]


def _read_origin(own: dict[str, str], name: str) -> Origin | None:
    if f"{name}-To-URI" in own:
        asked = Asked.load(own[f"{name}-IMDN"]) if f"{name}-IMDN" in own else None
        author = own.get(f"{name}-Author", "")
        return RequestOrigin(own[f"{name}-To-URI"], own[f"{name}-Call-ID"], own[f"{name}-CSeq"], asked, author)
    if f"{name}-Stanza" in own:
        return StanzaOrigin(own[f"{name}-Stanza"], own[f"{name}-Type"], own[f"{name}-Sender"], own[f"{name}-Recipient"])
    return None


__all__ = ["Conversation", "Envelope", "Origin", "RequestOrigin", "SipAddress", "StanzaOrigin", "home_uri", "read_home"]
