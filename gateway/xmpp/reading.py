"""Stanza -> Envelope: RFC 7572 and RFC 3922, on elements, without a stream. Pure: the command line uses it too. The way there: codec."""

from __future__ import annotations

from xml.etree.ElementTree import Element

from gateway.core.address import SipAddress
from gateway.core.canonical import alternatives, entity_message, text_message, typing_message
from gateway.core.composing import compose_composing
from gateway.core.content import Content, known_content
from gateway.core.cpim import CpimMessage
from gateway.core.dates import parse_rfc3339
from gateway.core.domain import unicode_domain
from gateway.core.envelope import Envelope, StanzaOrigin
from gateway.core.errors import Refusal, SyntaxFault
from gateway.core.imdn import DISPLAY, NEGATIVE, POSITIVE, Disposition
from gateway.core.jid import Jid, jid_from_xmpp_uri
from gateway.core.outcome import Outcome, Verdict
from gateway.core.ports import Names, Notice, Parties
from gateway.core.protection import is_protected
from gateway.core.settings import Settings
from gateway.core.tables import RefusalRow, Tables
from gateway.core.text import one_line, shown_name
from gateway.core.uri import sip_uri
from gateway.core.verdict import NOT_CHECKED

from . import stanza as xml
from .e2e import entity_in
from .parser import Oversized
from .rich import links_of, markup_of, require_no_link

_MOST_REASON = 256
_BLOCKED = "{urn:xmpp:blocking:errors}blocked"
_AMP = "{http://jabber.org/protocol/amp}"
_CORRECTION = "{urn:xmpp:message-correct:0}replace"
_OF_E2E = (xml.E2E, "urn:ietf:params:xml:xmpp-e2e")
"""The namespace of the conditions of RFC 3923: as it is registered, and as the examples of section 7 have it."""
_EXTENSIONS = {"signature-unverified": "unverified-signature"}
"""What appendix A of RFC 3923 calls a condition of section 7."""
_ASKS = {POSITIVE: f"{{{xml.RECEIPTS}}}request", DISPLAY: f"{{{xml.MARKERS}}}markable"}
_NEWS = {f"{{{xml.RECEIPTS}}}received": Disposition.DELIVERED, f"{{{xml.MARKERS}}}displayed": Disposition.DISPLAYED}
"""XEP-0184 and XEP-0333 as what RFC 5438 has for the same (NOTE-01)."""
_MOST_NEWS = 4
_IS_ACTIVE = {"composing": True, "active": False, "paused": False, "inactive": False}
"""The chat states that RFC 3994 has a word for, and whether that is "active" (ISC-08); of `<gone/>` nothing is said in pager mode."""


class StanzaReader:
    """settings: the routes' `html` decides as it says; names, tables: as for the codec."""

    def __init__(self, names: Names, tables: Tables, settings: Settings) -> None:
        self._names, self._tables, self._settings = names, tables, settings
        self._reads_name = tables.carries("from-name", "sip")
        self._reads_expiry, self._reads_age = tables.carries("expires-at", "sip"), tables.carries("sent-at", "sip")
        self._reads_asks, self._reads_html = tables.carries("want", "sip"), tables.carries("html", "sip")
        self._reads_links, self._reads_reports = tables.carries("link", "sip"), tables.carries("report", "sip")
        self._reads_typing = tables.carries("typing", "sip")

    def read(self, stanza: Element, parties: Parties, peer: str, trace_id: str, now: float) -> Envelope | None:
        """The envelope for a `<message/>` that is no error; None for one that has nothing to deliver (IMSG-07). Raises Refusal."""
        _require_carried(stanza)
        if objects := stanza.findall(xml.E2E_TAG):
            return self._read_secured(stanza, objects, parties, peer, trace_id, now)
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
        told = Content(body, xml.language_tag(language or default), html, links)
        # The chosen one first: SIP has room for one (IMSG-09).
        ordered = tuple([(subject, xml.language_tag(tag)) for subject, tag in sorted(subjects, key=lambda each: each is not chosen)])
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
            thread=_thread(stanza) if "thread" in found else "",
            sender_name=self._name(stanza),
            asked=self._asked(stanza),
            origin=stanza_origin(stanza),
        )

    def _read_secured(
        self, stanza: Element, objects: list[Element], parties: Parties, peer: str, trace_id: str, now: float
    ) -> Envelope | None:
        """The envelope for an end-to-end object; what stands beside it is for who cannot read it (SMIME-36). Raises Refusal.

        One that is not protected, which RFC 3923 has no place for, is a message like any other, if it can be shown. Nobody is told what
        becomes of it: what was encrypted would have to be encrypted again (IMDN-27, NOTE-11).
        """
        if len(objects) > 1 or len(objects[0]):
            raise Refusal("bad-body", "A stanza has one end-to-end object, which is text")
        try:
            entity = entity_in(objects[0].text or "")
            protected = is_protected(entity)
            if not protected and not (shown := known_content(entity)).text and not shown.links:
                return None
        except SyntaxFault as fault:
            raise Refusal("bad-body", fault.what) from None
        home = parties.recipient
        if protected and isinstance(home, SipAddress) and self._settings.route(home.domain).smime == "never":
            raise Refusal("type-unsupported", "The recipient takes no signed or encrypted messages")
        return Envelope(
            id=trace_id,
            trace_id=trace_id,
            sender=parties.sender,
            recipient=home,
            message=entity_message(parties.sender, home, entity, self._sent_at(stanza, now)),
            received_at=now,
            peer=peer,
            sender_device=parties.sender_device,
            recipient_device=parties.recipient_device,
            expires_at=self._expires_at(stanza, now),
            thread=_thread(stanza),
            sender_name=self._name(stanza),
            origin=stanza_origin(stanza),
            verdict=NOT_CHECKED if protected else None,
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
        human_text = one_line(_text(human))[:_MOST_REASON] if human is not None else ""
        if extended := next(filter(None, (self._extended(*each) for each in found)), None):
            return Outcome(Verdict.FAILED, extended.sip, human_text or extended.reason)
        row = self._tables.condition(name)
        status = row.sip_full if "/" in stanza.get("from", "") else row.sip_bare
        if name == "gone":
            status = 301 if contact else 410
        elif name == "redirect" and not contact:
            status = 480
        elif error is not None and error.find(_BLOCKED) is not None:
            status = 403  # XEP-20: the recipient has blocked the sender
        return Outcome(Verdict.FAILED, status, human_text, contact=contact)

    def _extended(self, namespace: str, local: str) -> RefusalRow | None:
        """The refusal that a condition of RFC 3923 stands for, in any of its spellings (E2E-21)."""
        return self._tables.extension(_EXTENSIONS.get(local, local)) if namespace in _OF_E2E else None

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
        sender = read_author(stanza.get("from", ""))
    except SyntaxFault as fault:
        raise Refusal("sender-malformed", str(fault)) from None
    try:
        return sender, Jid.parse(stanza.get("to", ""))
    except SyntaxFault as fault:
        raise Refusal("target-malformed", str(fault)) from None


def read_author(address: str) -> Jid:
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


def _thread(stanza: Element) -> str:
    thread = xml.child(stanza, "thread")
    return _text(thread).strip() if thread is not None else ""


def _text(element: Element) -> str:
    return "".join(element.itertext()) if len(element) else element.text or ""
