"""Instant Message Disposition Notifications (RFC 5438): what a message asks for, and what a notification says."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum
from xml.sax.saxutils import escape

from .cpim import IMDN, CpimAddress, CpimMessage
from .document import child, child_text, parse_document
from .errors import SyntaxFault

NOTIFICATION_TYPE = "message/imdn+xml"
XML_NAMESPACE = "urn:ietf:params:xml:ns:imdn"
POSITIVE, NEGATIVE, DISPLAY, PROCESSING = "positive-delivery", "negative-delivery", "display", "processing"
WISHES = frozenset((POSITIVE, NEGATIVE, DISPLAY, PROCESSING))
"""What Disposition-Notification can ask for (RFC 5438 section 6.2)."""


class Disposition(Enum):
    """What became of a message: (the notification that says so, its status, what has to have been asked for); RFC 5438 section 11.1.

    That somebody does not say whether he has read it, or that a server has not counted it, is told to nobody, so it has no place here.
    """

    DELIVERED = ("delivery", "delivered", POSITIVE)
    FAILED = ("delivery", "failed", NEGATIVE)
    FORBIDDEN = ("delivery", "forbidden", NEGATIVE)
    ERROR = ("delivery", "error", NEGATIVE)
    DISPLAYED = ("display", "displayed", DISPLAY)
    PROCESSED = ("processing", "processed", PROCESSING)
    STORED = ("processing", "stored", PROCESSING)

    @property
    def category(self) -> str:
        """ "delivery", "display" or "processing": of each a message has at most one notification (IMDN-05)."""
        return self.value[0]

    @property
    def status(self) -> str:
        """The name of the element in `<status>`."""
        return self.value[1]

    @property
    def wish(self) -> str:
        """What the sender asks for to be told of it."""
        return self.value[2]


_BY_NAME = {(each.category, each.status): each for each in Disposition}


@dataclass(frozen=True, slots=True)
class Asked:
    """What the sender of a message asks to be told, and what a notification about it has to repeat (RFC 5438 section 7.2.1).

    wishes: of WISHES, never empty. message_id: imdn.Message-ID. sent_at: DateTime as it was written (DATE-06). author: the URI in From.
    recipient, original_to: the URIs in To and imdn.Original-To, empty where there is none. routes: IMDN-Record-Route, top one first.
    """

    wishes: frozenset[str]
    message_id: str
    sent_at: str
    author: str
    recipient: str = ""
    original_to: str = ""
    routes: tuple[str, ...] = ()

    def dump(self) -> str:
        """In one line of text; `load` undoes it exactly."""
        return json.dumps([sorted(self.wishes), *[getattr(self, name) for name in self.__slots__[1:]]])

    @staticmethod
    def load(text: str) -> Asked:
        """Read what `dump` wrote. Raises ValueError for anything else."""
        wanted, message_id, sent_at, author, recipient, original_to, routes = json.loads(text)
        return Asked(frozenset(wanted), message_id, sent_at, author, recipient, original_to, tuple(routes))


@dataclass(frozen=True, slots=True)
class Notification:
    """A message/imdn+xml document: of which message, and what became of it."""

    message_id: str
    disposition: Disposition


def wishes(value: str) -> frozenset[str]:
    """The dispositions in a Disposition-Notification; what is unknown asks for nothing (IMDN-03).

    >>> sorted(wishes("display;x=1 , foo"))
    ['display']
    """
    return WISHES.intersection(part.partition(";")[0].strip(" \t") for part in value.split(","))


def asked_in(message: CpimMessage, message_id: str) -> Asked | None:
    """What a message asks for; None where it asks for nothing, or lacks what a notification needs (IMDN-01). Raises SyntaxFault."""
    wanted = frozenset().union(*[wishes(value) for value in message.values("Disposition-Notification", IMDN)])
    sent_at, author = message.first("DateTime"), message.sender
    if not wanted or not message_id or not sent_at or author is None:
        return None
    to = message.recipients
    original = message.first("Original-To", IMDN) or ""
    return Asked(
        wanted,
        message_id,
        sent_at,
        author.uri,
        to[0].uri if to else "",
        CpimAddress.parse(original).uri if original else "",
        message.values("IMDN-Record-Route", IMDN),
    )


def compose_notification(asked: Asked, disposition: Disposition, reporter: str) -> bytes:
    """A message/imdn+xml document, its elements in the order of RFC 5438 section 11.1.9; both recipient URIs are always said (IMDN-23).

    reporter: the URI of whom the message was for, where the message itself did not name him.
    """
    recipient = asked.recipient or reporter
    said = (
        ("message-id", asked.message_id),
        ("datetime", asked.sent_at),
        ("recipient-uri", recipient),
        ("original-recipient-uri", asked.original_to or recipient),
    )
    fields = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in said)
    status = f"<{disposition.category}-notification><status><{disposition.status}/></status></{disposition.category}-notification>"
    return f'<?xml version="1.0" encoding="UTF-8"?>\r\n<imdn xmlns="{XML_NAMESPACE}">{fields}{status}</imdn>'.encode()


def parse_notification(octets: bytes) -> Notification | None:
    """What a message/imdn+xml document says; None where it says nothing that is known (IMDN-23). Raises SyntaxFault.

    Any order, any subset of the fields, foreign elements between them: all of that is read.
    """
    root = parse_document(octets)
    if root.tag != f"{{{XML_NAMESPACE}}}imdn":
        raise SyntaxFault("Not an imdn document", section="RFC 5438 section 11.1")
    message_id = child_text(root, XML_NAMESPACE, "message-id")
    for category in ("delivery", "display", "processing"):
        notification = child(root, XML_NAMESPACE, f"{category}-notification")
        status = child(notification, XML_NAMESPACE, "status") if notification is not None else None
        for each in status if status is not None else ():
            found = _BY_NAME.get((category, each.tag.removeprefix(f"{{{XML_NAMESPACE}}}")))
            if found and message_id:
                return Notification(message_id, found)
    return None
