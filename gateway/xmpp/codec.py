"""Envelope -> stanza: RFC 7572 and RFC 3922, on elements, without a stream. Pure: the command line uses it too. The way back: reading."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b

from gateway.core import sipfrag
from gateway.core.address import Address, SipAddress
from gateway.core.canonical import (
    FAILURE_TYPE,
    NOTIFICATION_TYPE,
    OLD_AFTER_SECONDS,
    TYPING_TYPE,
    typing_of,
    written_at,
)
from gateway.core.content import Content, is_text, known_content
from gateway.core.dates import format_rfc3339
from gateway.core.envelope import Envelope, RequestOrigin, StanzaOrigin, read_home
from gateway.core.errors import Refusal, SyntaxFault
from gateway.core.imdn import DISPLAY, POSITIVE, Disposition, parse_notification
from gateway.core.jid import Jid, xmpp_uri
from gateway.core.links import MOST_URL
from gateway.core.mime import Entity
from gateway.core.ports import Names, Parcel
from gateway.core.protection import is_protected
from gateway.core.remember import MOST_REMEMBERED
from gateway.core.settings import Settings
from gateway.core.tables import Tables
from gateway.core.text import one_line, xml_text
from gateway.core.uri import Uri

from . import stanza as xml
from .addresses import addresses
from .e2e import Conversion
from .reading import StanzaReader, read_author
from .rich import elements_of
from .secured import Readable, Secured, nothing_readable, secured_of, verdict_of
from .slots import Upload
from .stream import MOST_STANZA_OCTETS

_REMEMBERED = 4096
_MOST_TEXT = 1024
"""What an error stanza repeats of a reason, in characters (FRAG-35)."""
_MAY_PASS = frozenset((404, 413, 480, 486, 500, 503, 600, 603))
"""The statuses that may come with Retry-After (RFC 3261 section 20.33)."""
_REQUESTS = {POSITIVE: f"<request xmlns='{xml.RECEIPTS}'/>", DISPLAY: f"<markable xmlns='{xml.MARKERS}'/>"}
_NOTIFICATIONS = {
    Disposition.DELIVERED: f"<received xmlns='{xml.RECEIPTS}' id='{{}}'/>",
    Disposition.DISPLAYED: f"<displayed xmlns='{xml.MARKERS}' id='{{}}'/>",
}
"""XEP-0184 and XEP-0333 as what RFC 5438 has for the same (NOTE-01)."""
_LONGEST_URL = "https://" + "x" * (MOST_URL - len("https://"))
"""Stands for what is not known yet: a message with files is taken only if there is room for their URLs."""


@dataclass(frozen=True, slots=True)
class _Ends:
    """What all messages between the same two ends have in common. opening: the start of the stanza, from, to and type in it."""

    opening: str
    sender: str
    recipient: str
    link: str
    lane: str
    once: bool


class XmppCodec(StanzaReader):
    """Both directions: it reads as its base does.

    settings: `[gateway] name` is the author of what the gateway adds; `[xmpp] pager_type`, `[smime] body` and `verdict`, and the routes'
    `store` and `smime_carriage` decide as they say. readable: what is inside of an opaque signature, None where that cannot be read.
    conversions: what the options of `smime_carriage` besides A, B and E make of an entity.
    """

    def __init__(
        self,
        names: Names,
        tables: Tables,
        settings: Settings,
        readable: Readable = nothing_readable,
        conversions: Mapping[str, Conversion] | None = None,
    ) -> None:
        super().__init__(names, tables, settings)
        self._readable, self._conversions = readable, conversions or {}
        self._gateway_name, self._pager_type = settings.name, settings.xmpp.pager_type
        self._uploads = bool(settings.xmpp.upload)
        self._shows_copies, self._says_name = tables.carries("cc", "xmpp"), tables.carries("from-name", "xmpp")
        self._asks, self._shows_html = tables.carries("want", "xmpp"), tables.carries("html", "xmpp")
        self._shows_links, self._says_reports = tables.carries("link", "xmpp"), tables.carries("report", "xmpp")
        self._shows_typing = tables.carries("typing", "xmpp")
        self._ends = lru_cache(_REMEMBERED)(self._find_ends)

    def write(self, envelope: Envelope) -> Parcel:
        """The stanza for a message, in UTF-8; its lane is that of these two (REL-16). Raises Refusal."""
        entity = envelope.message.entity
        essence = entity.content_type.essence
        if essence == FAILURE_TYPE:
            return self._write_failure(envelope)
        if essence == NOTIFICATION_TYPE:
            return self._write_notification(envelope)
        if essence == TYPING_TYPE:
            return self._write_typing(envelope)
        # Nearly every message is text, of which nothing else has to be known.
        plain = is_text(entity, files=self._uploads)
        secured = None if plain or not is_protected(entity) else self._write_secured(envelope)
        shown = None if plain or secured else _shown(entity, files=self._uploads)
        # Nothing bounds a device on the SIP side, so a long one is worked out each time.
        short = len(envelope.sender_device) + len(envelope.recipient_device) <= MOST_REMEMBERED
        find = self._ends if short else self._find_ends
        ends = find(envelope.sender, envelope.sender_device, envelope.recipient, envelope.recipient_device)
        language = self._language(entity.header("Content-Language")) or (xml.language_tag(shown.language) if shown else "")
        lang = f" xml:lang='{language}'" if language else ""
        lane = _lane(ends, envelope)
        opening, traces = f"{ends.opening} id='{xml.attribute(envelope.id)}'{lang}>", ((envelope.id, ends.sender, ends.recipient),)
        if shown is None or not shown.files:
            return Parcel(lane, ends.link, self._stanza(opening, envelope, shown, secured), ends.once, traces)
        upload = Upload(ends.sender, shown.files, lambda urls: self._stanza(opening, envelope, shown.linked(urls), None))
        upload.stanza([_LONGEST_URL] * len(shown.files))
        return Parcel(lane, ends.link, upload, ends.once, traces, slow=True)

    def _stanza(self, opening: str, envelope: Envelope, shown: Content | None, secured: Secured | None) -> bytes:
        octets = f"{opening}{self._content(envelope, shown, secured)}</message>".encode()
        if len(octets) > MOST_STANZA_OCTETS:
            raise Refusal("body-too-large")
        return octets

    def _write_secured(self, envelope: Envelope) -> Secured:
        """What is protected, as it came, by the way that the route of who wrote it names."""
        sender, smime = envelope.sender, self._settings.smime
        rule = self._settings.route(sender.domain)
        try:
            return secured_of(envelope, rule.smime_carriage, self._conversions, self._readable, body=smime.body)
        except SyntaxFault as fault:
            raise Refusal("bad-body", fault.what) from None

    def _find_ends(self, sender: Address, sender_device: str, recipient: Address, recipient_device: str, kind: str = "") -> _Ends:
        author, whom = self._names.jid_of(sender), self._names.jid_of(recipient)
        attributes = {
            "from": str(_on_device(author, sender_device)),
            "to": str(_on_device(whom, recipient_device)),
            "type": kind or self._pager_type,
        }
        return _Ends(
            opening=xml.element("message", attributes).removesuffix("/>"),
            sender=str(author),
            recipient=str(whom),
            link=author.domain,
            lane=f"xmpp {whom} {author}",
            once=isinstance(sender, SipAddress) and not self._settings.route(sender.domain).store,
        )

    def _content(self, envelope: Envelope, shown: Content | None, secured: Secured | None) -> str:
        parts, message = [], envelope.message
        if envelope.thread:
            parts.append(f"<thread>{xml.text(xml_text(envelope.thread))}</thread>")
        if message.subjects:
            parts += [
                xml.element("subject", {"xml:lang": xml.language_tag(language)}, xml.text(one_line(xml_text(subject))))
                for subject, language in message.subjects
            ]
        if secured is not None:
            parts.append(secured.elements)
        elif shown is not None:
            parts.append(elements_of(shown, html=self._shows_html, links=self._shows_links))
        elif body := message.entity.text():
            parts.append(f"<body>{xml.foreign(body)}</body>")
        if envelope.sender_name and self._says_name:
            parts.append(f"<nick xmlns='{xml.NICK}'>{xml.text(envelope.sender_name)}</nick>")
        if message.fields is None:  # What the gateway has composed itself names one person.
            parts.append(addresses(message, self._names, self._tables.numbers, copies=self._shows_copies))
        # What would be told of an encrypted message would have to be encrypted, too (IMDN-27, NOTE-11).
        if envelope.asked and self._asks and not (secured and secured.is_encrypted):
            parts += [element for wish, element in _REQUESTS.items() if wish in envelope.asked]
        written = written_at(message)
        if written is not None and envelope.received_at - written > OLD_AFTER_SECONDS and self._tables.carries("sent-at", "xmpp"):
            parts.append(xml.element("delay", {"xmlns": xml.DELAY, "from": self._gateway_name, "stamp": format_rfc3339(written)}))
        if envelope.verdict and self._settings.smime.verdict:
            parts.append(verdict_of(envelope.verdict))
        return "".join(parts)

    @staticmethod
    def _language(header: str | None) -> str:
        """The first well-formed tag of a Content-Language (IMSG-13)."""
        return next((tag for part in (header or "").split(",") if (tag := xml.language_tag(part.strip()))), "")

    def _write_notification(self, envelope: Envelope) -> Parcel:
        """A receipt or a marker for a message of theirs, and nothing beside it (NOTE-07); it names that message as they did."""
        if not self._says_reports:
            raise Refusal("failure-not-reported", "headers.toml does not carry notifications to the XMPP side")
        about, notification = envelope.about, parse_notification(envelope.message.entity.content)
        if not isinstance(about, StanzaOrigin) or notification is None:
            raise Refusal("internal", "a notification for the XMPP side names no stanza")
        kind = "" if about.type == "normal" else about.type
        content = _NOTIFICATIONS[notification.disposition].format(xml.attribute(about.id))
        return self._answer(about, {"id": envelope.id, "type": kind}, content)

    @staticmethod
    def _answer(about: StanzaOrigin, attributes: dict[str, str], content: str) -> Parcel:
        """A stanza to the author of a stanza, from whom that was for."""
        author = Jid.parse(about.recipient).bare
        octets = xml.element("message", {"from": about.recipient, "to": about.sender, **attributes}, content).encode()
        return Parcel(f"xmpp {read_author(about.sender).bare} {author}", author.domain, octets, once=False)

    def _write_typing(self, envelope: Envelope) -> Parcel:
        """A chat state in a stanza of its own, which no server keeps (XEP-15, XEP-14)."""
        if not self._shows_typing:
            raise Refusal("type-unsupported", "headers.toml does not carry typing notices to the XMPP side")
        ends = self._find_ends(envelope.sender, envelope.sender_device, envelope.recipient, envelope.recipient_device, "chat")
        state = "composing" if typing_of(envelope.message).is_active else "active"
        content = f"<{state} xmlns='{xml.CHAT_STATES}'/><no-store xmlns='{xml.HINTS}'/>"
        octets = f"{ends.opening} id='{xml.attribute(envelope.id)}'>{content}</message>".encode()
        return Parcel(_lane(ends, envelope), ends.link, octets, ends.once)

    def _write_failure(self, envelope: Envelope) -> Parcel:
        about = envelope.about
        if not isinstance(about, StanzaOrigin):
            raise Refusal("internal", "a failure message for the XMPP side names no stanza")
        fragment = sipfrag.parse(envelope.message.entity.content)
        row = self._tables.failure(fragment.status, fragment.reason)
        condition, kind, address = row.condition, row.type, ""
        if condition in ("gone", "redirect") and fragment.status != 410:
            address = self._moved_to(fragment)
            if condition == "gone" and not address:
                # RFC 7247 section 7.2 note 1: a 301 must come with an address.
                condition = "item-not-found"
        if fragment.header("Retry-After") and fragment.status in _MAY_PASS:
            kind = "wait"
        error = xml.error(condition, kind, xml_text(fragment.reason[:_MOST_TEXT]), address, extension=row.extension)
        return self._answer(about, {"id": about.id, "type": "error"}, error)

    def _moved_to(self, fragment: sipfrag.Fragment) -> str:
        """Where a 3xx says the recipient is now, as an xmpp: URI where it maps, else as it stands (ERR-13, ERR-14)."""
        contact = (fragment.header("Contact") or "").removeprefix("<").removesuffix(">")
        try:
            return xmpp_uri(self._names.jid_of(self._tables.numbers.address(Uri.parse(contact))))
        except SyntaxFault:
            return ""
        except Refusal:
            return contact

    def refusal(self, origin: StanzaOrigin, refusal: Refusal, kind: str = "message") -> bytes:
        """The error stanza for a message, or an iq, that was not taken (ERR-04)."""
        row = self._tables.refusal(refusal.key)
        human = xml_text(refusal.detail or row.text)
        error = xml.error(row.condition, row.type, human, by=self._gateway_name, extension=row.extension)
        attributes = {"from": origin.recipient, "to": origin.sender, "id": origin.id, "type": "error"}
        return xml.element(kind, attributes, error).encode()


def _lane(ends: _Ends, envelope: Envelope) -> str:
    """Of those two alone: of people who hide who they are, and so have one address, each has his own lane, which says no more than that."""
    origin = envelope.origin
    if not isinstance(origin, RequestOrigin) or not origin.author:
        return ends.lane
    person = read_home(origin.author)[0]
    who = str(person.normal if isinstance(person, SipAddress) else person)
    return f"{ends.lane} {blake2b(who.encode(), digest_size=8).hexdigest()}"


def _shown(entity: Entity, *, files: bool) -> Content:
    try:
        return known_content(entity, files=files)
    except SyntaxFault as fault:
        raise Refusal("bad-body", fault.what) from None


def _on_device(jid: Jid, device: str) -> Jid:
    """A device that no resource can spell is left out: the message is for the person."""
    try:
        return jid.with_resource(device)
    except SyntaxFault:
        return jid
