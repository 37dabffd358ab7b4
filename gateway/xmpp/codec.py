"""Stanza <-> Envelope: RFC 7572 and RFC 3922, on elements, without a stream. Pure: the command line uses it too."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from xml.etree.ElementTree import Element

from gateway.core import sipfrag
from gateway.core.address import Address, SipAddress
from gateway.core.canonical import (
    FAILURE_TYPE,
    NOTIFICATION_TYPE,
    OLD_AFTER_SECONDS,
    TYPING_TYPE,
    alternatives,
    entity_message,
    text_message,
    typing_message,
    typing_of,
    written_at,
)
from gateway.core.composing import compose_composing
from gateway.core.content import Content, is_text, known_content
from gateway.core.cpim import CpimMessage
from gateway.core.dates import format_rfc3339, parse_rfc3339
from gateway.core.domain import unicode_domain
from gateway.core.envelope import Envelope, RequestOrigin, StanzaOrigin, read_home
from gateway.core.errors import Refusal, SyntaxFault
from gateway.core.imdn import DISPLAY, NEGATIVE, POSITIVE, Disposition, parse_notification
from gateway.core.jid import Jid, jid_from_xmpp_uri, xmpp_uri
from gateway.core.links import MOST_URL
from gateway.core.mime import Entity
from gateway.core.outcome import Outcome, Verdict
from gateway.core.ports import Names, Notice, Parcel, Parties
from gateway.core.remember import MOST_REMEMBERED
from gateway.core.settings import Settings
from gateway.core.tables import Tables
from gateway.core.text import one_line, shown_name, xml_text
from gateway.core.uri import Uri, sip_uri

from . import stanza as xml
from .addresses import addresses
from .parser import Oversized
from .rich import elements_of, links_of, markup_of, require_no_link
from .slots import Upload
from .stream import MOST_STANZA_OCTETS

_REMEMBERED = 4096
_MOST_REASON = 256
_MOST_TEXT = 1024
"""What an error stanza repeats of a reason, in characters (FRAG-35)."""
_LANGUAGE = re.compile(r"[A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8}){0,15}")
_MAY_PASS = frozenset((404, 413, 480, 486, 500, 503, 600, 603))
"""The statuses that may come with Retry-After (RFC 3261 section 20.33)."""
_BLOCKED = "{urn:xmpp:blocking:errors}blocked"
_AMP = "{http://jabber.org/protocol/amp}"
_CORRECTION = "{urn:xmpp:message-correct:0}replace"
_ASKS = {POSITIVE: f"{{{xml.RECEIPTS}}}request", DISPLAY: f"{{{xml.MARKERS}}}markable"}
_REQUESTS = {POSITIVE: f"<request xmlns='{xml.RECEIPTS}'/>", DISPLAY: f"<markable xmlns='{xml.MARKERS}'/>"}
_NEWS = {f"{{{xml.RECEIPTS}}}received": Disposition.DELIVERED, f"{{{xml.MARKERS}}}displayed": Disposition.DISPLAYED}
_NOTIFICATIONS = {
    Disposition.DELIVERED: f"<received xmlns='{xml.RECEIPTS}' id='{{}}'/>",
    Disposition.DISPLAYED: f"<displayed xmlns='{xml.MARKERS}' id='{{}}'/>",
}
"""XEP-0184 and XEP-0333 as what RFC 5438 has for the same (NOTE-01)."""
_MOST_NEWS = 4
_IS_ACTIVE = {"composing": True, "active": False, "paused": False, "inactive": False}
"""The chat states that RFC 3994 has a word for, and whether that is "active" (ISC-08); of `<gone/>` nothing is said in pager mode."""
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


class XmppCodec:
    """Both directions.

    settings: `[gateway] name` is the author of what the gateway adds; `[xmpp] pager_type` and the routes' `store` decide as they say.
    """

    def __init__(self, names: Names, tables: Tables, settings: Settings) -> None:
        self._names, self._tables = names, tables
        self._gateway_name, self._pager_type = settings.name, settings.xmpp.pager_type
        self._settings, self._uploads = settings, bool(settings.xmpp.upload)
        self._shows_copies = tables.carries("cc", "xmpp")
        self._says_name, self._reads_name = tables.carries("from-name", "xmpp"), tables.carries("from-name", "sip")
        self._reads_expiry, self._reads_age = tables.carries("expires-at", "sip"), tables.carries("sent-at", "sip")
        self._asks, self._reads_asks = tables.carries("want", "xmpp"), tables.carries("want", "sip")
        self._shows_html, self._reads_html = tables.carries("html", "xmpp"), tables.carries("html", "sip")
        self._shows_links, self._reads_links = tables.carries("link", "xmpp"), tables.carries("link", "sip")
        self._says_reports, self._reads_reports = tables.carries("report", "xmpp"), tables.carries("report", "sip")
        self._shows_typing, self._reads_typing = tables.carries("typing", "xmpp"), tables.carries("typing", "sip")
        self._ends = lru_cache(_REMEMBERED)(self._find_ends)

    # -- to XMPP -------------------------------------------------------------------------------------------------------
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
        shown = None if is_text(entity, files=self._uploads) else _shown(entity, files=self._uploads)
        # Nothing bounds a device on the SIP side, so a long one is worked out each time.
        short = len(envelope.sender_device) + len(envelope.recipient_device) <= MOST_REMEMBERED
        find = self._ends if short else self._find_ends
        ends = find(envelope.sender, envelope.sender_device, envelope.recipient, envelope.recipient_device)
        language = self._language(entity.header("Content-Language")) or (_tag(shown.language) if shown else "")
        lang = f" xml:lang='{language}'" if language else ""
        lane = _lane(ends, envelope)
        opening, traces = f"{ends.opening} id='{xml.attribute(envelope.id)}'{lang}>", ((envelope.id, ends.sender, ends.recipient),)
        if shown is None or not shown.files:
            return Parcel(lane, ends.link, self._stanza(opening, envelope, shown), ends.once, traces)
        upload = Upload(ends.sender, shown.files, lambda urls: self._stanza(opening, envelope, shown.linked(urls)))
        upload.stanza([_LONGEST_URL] * len(shown.files))
        return Parcel(lane, ends.link, upload, ends.once, traces, slow=True)

    def _stanza(self, opening: str, envelope: Envelope, shown: Content | None) -> bytes:
        octets = f"{opening}{self._content(envelope, shown)}</message>".encode()
        if len(octets) > MOST_STANZA_OCTETS:
            raise Refusal("body-too-large")
        return octets

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

    def _content(self, envelope: Envelope, shown: Content | None) -> str:
        parts, message = [], envelope.message
        if envelope.thread:
            parts.append(f"<thread>{xml.text(xml_text(envelope.thread))}</thread>")
        if message.subjects:
            parts += [
                xml.element("subject", {"xml:lang": _tag(language)}, xml.text(one_line(xml_text(subject))))
                for subject, language in message.subjects
            ]
        if shown is not None:
            parts.append(elements_of(shown, html=self._shows_html, links=self._shows_links))
        elif body := message.entity.text():
            parts.append(f"<body>{xml.foreign(body)}</body>")
        if envelope.sender_name and self._says_name:
            parts.append(f"<nick xmlns='{xml.NICK}'>{xml.text(envelope.sender_name)}</nick>")
        if message.fields is None:  # What the gateway has composed itself names one person.
            parts.append(addresses(message, self._names, self._tables.numbers, copies=self._shows_copies))
        if envelope.asked and self._asks:
            parts += [element for wish, element in _REQUESTS.items() if wish in envelope.asked]
        written = written_at(message)
        if written is not None and envelope.received_at - written > OLD_AFTER_SECONDS and self._tables.carries("sent-at", "xmpp"):
            parts.append(xml.element("delay", {"xmlns": xml.DELAY, "from": self._gateway_name, "stamp": format_rfc3339(written)}))
        return "".join(parts)

    @staticmethod
    def _language(header: str | None) -> str:
        """The first well-formed tag of a Content-Language (IMSG-13)."""
        return next((tag for tag in (part.strip() for part in (header or "").split(",")) if _LANGUAGE.fullmatch(tag)), "")

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
        return Parcel(f"xmpp {_sender(about.sender).bare} {author}", author.domain, octets, once=False)

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
        row = self._tables.status(fragment.status)
        condition, kind, address = row.condition, row.type, ""
        if condition in ("gone", "redirect") and fragment.status != 410:
            address = self._moved_to(fragment)
            if condition == "gone" and not address:
                # RFC 7247 section 7.2 note 1: a 301 must come with an address.
                condition = "item-not-found"
        if fragment.header("Retry-After") and fragment.status in _MAY_PASS:
            kind = "wait"
        error = xml.error(condition, kind, xml_text(fragment.reason[:_MOST_TEXT]), address)
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
        error = xml.error(row.condition, row.type, xml_text(refusal.detail or row.text), by=self._gateway_name)
        attributes = {"from": origin.recipient, "to": origin.sender, "id": origin.id, "type": "error"}
        return xml.element(kind, attributes, error).encode()

    # -- from XMPP -----------------------------------------------------------------------------------------------------
    def read(self, stanza: Element, parties: Parties, peer: str, trace_id: str, now: float) -> Envelope | None:
        """The envelope for a `<message/>` that is no error; None for one that has nothing to deliver (IMSG-07). Raises Refusal."""
        _require_carried(stanza)
        default = stanza.get(xml.XML_LANG, "")
        found = xml.contents(stanza)
        bodies = [(text, each.get(xml.XML_LANG, "")) for each in found.get("body", ()) if (text := _text(each))]
        subjects = [(text, each.get(xml.XML_LANG, "")) for each in found.get("subject", ()) if (text := one_line(_text(each)))]
        has_more = len(stanza) > sum(map(len, found.values()))
        links = links_of(stanza) if has_more and self._reads_links else ()
        html = ""
        if has_more and (not bodies or self._takes_html(parties)) and (rich := markup_of(stanza)):
            # Markup without a body (XEP-0071 section 8 has both) is read for its text.
            bodies = bodies or ([(rich.text, "")] if rich.text else [])
            html = rich.xhtml if self._takes_html(parties) else ""
        if not bodies and not subjects and not links:
            if has_more and self._reads_links:
                require_no_link(stanza)
            return self._typing(stanza, parties, peer, trace_id, now)
        chosen = _preferred(subjects, default)
        body, language = _preferred(bodies, default)
        if body and has_more and stanza.find(_CORRECTION) is not None:
            # SIP cannot take back what was said; as people write it by hand.
            body = f"* {body}"
        thread = found["thread"][0] if "thread" in found else None
        told = Content(body, _tag(language or default), html, links)
        # The chosen one first: SIP has room for one (IMSG-09).
        ordered = tuple([(subject, _tag(tag)) for subject, tag in sorted(subjects, key=lambda each: each is not chosen)])
        message = _composed(parties, told, self._sent_at(stanza, now), ordered)
        return Envelope(
            id=trace_id,
            trace_id=trace_id,
            sender=parties.sender,
            recipient=parties.recipient,
            message=message,
            received_at=now,
            peer=peer,
            sender_device=parties.sender_device,
            recipient_device=parties.recipient_device,
            expires_at=self._expires_at(stanza, now) if has_more else None,
            thread=_text(thread).strip() if thread is not None else "",
            sender_name=self._name(stanza),
            asked=self._asked(stanza),
            origin=stanza_origin(stanza),
        )

    def _expires_at(self, stanza: Element, now: float) -> float | None:
        """When its author wants it not to be delivered any more (XEP-0079 section 3.3.2, MSG-56). Raises Refusal where that is past."""
        if not self._reads_expiry:
            return None
        for rule in stanza.iterfind(f"{_AMP}amp/{_AMP}rule"):
            if rule.get("condition") == "expire-at":
                try:
                    at = parse_rfc3339(rule.get("value", "")).timestamp()
                except SyntaxFault:
                    continue
                if at <= now:
                    raise Refusal("expired")
                return at
        return None

    def _typing(self, stanza: Element, parties: Parties, peer: str, trace_id: str, now: float) -> Envelope | None:
        """The envelope for a chat state on its own, in a one-to-one chat (XEP-07); None where there is none to be told.

        Without the thread, so that its Call-ID is its own: no commit contains its CSeq, which after a crash may be used again.
        """
        states = [local for namespace, local in map(xml.split_name, [each.tag for each in stanza]) if namespace == xml.CHAT_STATES]
        is_late = stanza.find(f"{{{xml.DELAY}}}delay") is not None
        if is_late or stanza.get("type") != "chat" or not states or states[0] not in _IS_ACTIVE or not self._reads_typing:
            return None
        document = compose_composing(is_active=_IS_ACTIVE[states[0]])
        return Envelope(
            id=trace_id,
            trace_id=trace_id,
            sender=parties.sender,
            recipient=parties.recipient,
            message=typing_message(parties.sender, parties.recipient, now, document),
            received_at=now,
            peer=peer,
            sender_device=parties.sender_device,
            recipient_device=parties.recipient_device,
            origin=stanza_origin(stanza),
            volatile=True,
        )

    def _asked(self, stanza: Element) -> frozenset[str]:
        """What the author wants to be told (NOTE-01): by that he wants to be told of a failure too. Only a stanza with an id can ask."""
        if not self._reads_asks or not stanza.get("id"):
            return frozenset()
        wanted = [wish for wish, tag in _ASKS.items() if stanza.find(tag) is not None]
        return frozenset((*wanted, NEGATIVE)) if wanted else frozenset()

    def read_notices(self, stanza: Element, parties: Parties) -> tuple[Notice, ...]:
        """The receipts and markers in a `<message/>` of any type but error (NOTE-07), which may have a body beside them."""
        if not self._reads_reports:
            return ()
        ends = (str(self._names.jid_of(parties.recipient)), str(self._names.jid_of(parties.sender)))
        found = [(tag, each) for tag in _NEWS for each in stanza.findall(tag)[:_MOST_NEWS]]
        return tuple([Notice((name, *ends), _NEWS[tag]) for tag, each in found if (name := each.get("id"))])

    def _takes_html(self, parties: Parties) -> bool:
        """Whether XHTML-IM goes on as markup: the route of the recipient has html (IMSG-19)."""
        home = parties.recipient
        return self._reads_html and isinstance(home, SipAddress) and self._settings.route(home.domain).html

    def _name(self, stanza: Element) -> str:
        """What the author calls himself in a `<nick/>` beside the body (IMSG-14)."""
        nick = stanza.find(f"{{{xml.NICK}}}nick") if self._reads_name else None
        return shown_name(_text(nick)) if nick is not None else ""

    def _sent_at(self, stanza: Element, now: float) -> float:
        """When it was written: the stamp of a `<delay/>` beside the body, else now (ICPIM-18)."""
        delay = stanza.find(f"{{{xml.DELAY}}}delay") if self._reads_age else None
        try:
            stamp = parse_rfc3339(delay.get("stamp", "")).timestamp() if delay is not None else now
        except SyntaxFault:
            return now
        return min(stamp, now)

    def read_error(self, stanza: Element) -> Outcome:
        """What an error stanza says, in SIP terms (RFC 7247 section 7.1)."""
        error = xml.child(stanza, "error")
        found = [] if error is None else [xml.split_name(each.tag) for each in error]
        name = next((local for namespace, local in found if namespace == xml.STANZAS and local != "text"), "undefined-condition")
        human = error.find(f"{{{xml.STANZAS}}}text") if error is not None else None
        address = error.find(f"{{{xml.STANZAS}}}{name}") if error is not None else None
        contact = self._new_address(_text(address)) if address is not None and name in ("gone", "redirect") else ""
        row = self._tables.condition(name)
        status = row.sip_full if "/" in stanza.get("from", "") else row.sip_bare
        if name == "gone":
            status = 301 if contact else 410
        elif name == "redirect" and not contact:
            status = 480
        elif error is not None and error.find(_BLOCKED) is not None:
            status = 403  # XEP-20: the recipient has blocked the sender
        return Outcome(Verdict.FAILED, status, one_line(_text(human))[:_MOST_REASON] if human is not None else "", contact=contact)

    def _new_address(self, data: str) -> str:
        """The mapped target of gone and redirect as a SIP URI; empty when it cannot be used (ERR-13)."""
        try:
            jid = jid_from_xmpp_uri(data.strip())
            return sip_uri(self._names.sip_of(jid.bare))
        except (SyntaxFault, Refusal):
            return ""


def _require_carried(stanza: Element) -> None:
    """Refuses what is no message for one person that can be read here."""
    if isinstance(stanza, Oversized):
        raise Refusal("message-too-large")
    if stanza.get("type") == "groupchat":
        raise Refusal("groupchat")
    if stanza.find(f"{{{xml.E2E}}}e2e") is not None:
        raise Refusal("type-unsupported", "end-to-end objects are not carried yet")


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


def _composed(parties: Parties, told: Content, sent_at: float, subjects: tuple[tuple[str, str], ...]) -> CpimMessage:
    """The canonical message: plain text, or where there is markup both."""
    if not told.html or not told.text:
        return text_message(parties.sender, parties.recipient, told.body, sent_at, subjects=subjects, language=told.language)
    both = alternatives(told.body, told.xhtml, told.language)
    return entity_message(parties.sender, parties.recipient, both, sent_at, subjects=subjects)


def stanza_origin(stanza: Element) -> StanzaOrigin:
    """What an error about this stanza will have to repeat."""
    return StanzaOrigin(stanza.get("id", ""), stanza.get("type", "normal"), stanza.get("from", ""), stanza.get("to", ""))


def read_parties(stanza: Element) -> tuple[Jid, Jid]:
    """(from, to) of a stanza. Raises Refusal for one that is missing or no JID; only the sender's resource may be none."""
    try:
        sender = _sender(stanza.get("from", ""))
    except SyntaxFault as fault:
        raise Refusal("sender-malformed", str(fault)) from None
    try:
        return sender, Jid.parse(stanza.get("to", ""))
    except SyntaxFault as fault:
        raise Refusal("target-malformed", str(fault)) from None


def _sender(address: str) -> Jid:
    """An author without his resource where that is none to us: servers are milder, and the message is the person's. Raises SyntaxFault."""
    try:
        return Jid.parse(address)
    except SyntaxFault:
        return Jid.parse(address.partition("/")[0])


def domain_of(address: str) -> str:
    """The domain of an address whose other parts only the server takes for a JID's; empty where there is none."""
    bare = address.partition("/")[0]
    try:
        return unicode_domain(bare[bare.find("@") + 1 :])
    except SyntaxFault:
        return ""


def _preferred(texts: list[tuple[str, str]], default: str) -> tuple[str, str]:
    """One body or subject of several, as (text, language): the one in the stanza's own language, else the first (IMSG-06)."""
    own = (each for each in texts if not each[1] or each[1].lower() == default.lower())
    return next(own, texts[0] if texts else ("", ""))


def _on_device(jid: Jid, device: str) -> Jid:
    """A device that no resource can spell is left out: the message is for the person."""
    try:
        return jid.with_resource(device)
    except SyntaxFault:
        return jid


def _text(element: Element) -> str:
    return "".join(element.itertext()) if len(element) else element.text or ""


def _tag(language: str) -> str:
    return language if _LANGUAGE.fullmatch(language) else ""
