"""What becomes of a message, told the whole way back over both wires: what was asked, receipts, failures; and who is typing.

Between two XMPP users stand two gateways, THERE (who asks) and HERE (who answers), which speak SIP with each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from xml.etree.ElementTree import Element, fromstring

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.core.address import SipAddress
from gateway.core.canonical import text_entity
from gateway.core.cpim import IMDN, CpimMessage, compose
from gateway.core.envelope import Envelope, RequestOrigin, StanzaOrigin
from gateway.core.errors import Refusal
from gateway.core.imdn import DISPLAY, NEGATIVE, POSITIVE, WISHES, Asked, Disposition
from gateway.core.jid import Jid
from gateway.core.outcome import Outcome, Verdict
from gateway.core.ports import Notice, Parcel, Parties, Peer
from gateway.core.text import one_line
from gateway.core.uri import im_uri, sip_uri
from gateway.relay.report import Facts, News, told
from gateway.sip.codec import Draft
from gateway.sip.message import Request, parse
from gateway.sip.reading import read_message, read_news, report_in
from gateway.xmpp import stanza as xml
from gateway.xmpp.reading import read_parties

from .world import (
    ENDS,
    HERE,
    JIDS_HERE,
    JIDS_THERE,
    NOW,
    SIP_DOMAINS,
    SIP_HERE,
    SIP_THERE,
    TEXTS,
    THERE,
    TOKENS,
    XMPP_DOMAINS,
    Gateway,
    asked_over_sip,
    cases,
    flat,
    for_xml,
    over_sip,
    over_xmpp,
    read_stanza,
    without,
)

OFF = st.just(frozenset[str]()) | st.frozensets(st.sampled_from(["report", "want", "typing"]), max_size=2)
STATUSES = st.sampled_from(sorted({int(row.sip) for row in HERE.tables.statuses if row.sip.isdigit()})) | st.integers(300, 699)
REASONS = st.sampled_from(["", "No such subscriber", "50% off", "naïve", 'a "b" <c>']) | TEXTS.map(lambda text: one_line(text)[:128])
FAILURES = st.builds(
    Outcome, st.just(Verdict.FAILED), STATUSES, REASONS, st.none() | st.sampled_from([0.0, 2.5, 3600.0]),
    st.sampled_from(["", "sip:tomas@sip.example", "sip:mira@xmpp.example", "sip:x@elsewhere.example", "mailto:a@b"]))  # fmt: skip
NAMES = {POSITIVE: f"{{{xml.RECEIPTS}}}request", DISPLAY: f"{{{xml.MARKERS}}}markable"}
ANSWERS = {Disposition.DELIVERED: f"<received xmlns='{xml.RECEIPTS}'/>", Disposition.DISPLAYED: f"<displayed xmlns='{xml.MARKERS}'/>"}
REFUSED = {401: Disposition.FORBIDDEN, 403: Disposition.FORBIDDEN, 407: Disposition.FORBIDDEN, 603: Disposition.FORBIDDEN}
AS_STATUS = {Disposition.FAILED: 480, Disposition.FORBIDDEN: 403, Disposition.ERROR: 500}
"""NOTE-01, written down a second time."""


@lru_cache
def gateways(off: frozenset[str], failure_report: str = "text") -> tuple[Gateway, Gateway]:
    """(HERE, THERE), both with these rows off."""
    tables = without(off)
    sides = ((SIP_DOMAINS, XMPP_DOMAINS), (XMPP_DOMAINS, SIP_DOMAINS))
    here, there = (Gateway(sip, xmpp, tables, failure_report=failure_report, typing="always") for sip, xmpp in sides)
    return here, there


def kept(envelope: Envelope) -> Envelope:
    """Out of the store again."""
    back = Envelope.from_cpim(envelope.to_cpim())
    assert back == envelope
    assert back.to_cpim() == envelope.to_cpim()
    return back


def remembered(envelope: Envelope) -> Facts:
    """What is known of a message when news of it comes, over a restart."""
    facts = Facts.of(envelope)
    assert facts is not None
    assert Facts.load(facts.dump()) == facts
    return facts


def news_of(envelope: Envelope, news: News) -> Envelope | None:
    """The message that tells its author, out of the store again; None where he is told nothing."""
    facts = remembered(envelope)
    envelopes = told(facts, news, "tok9", NOW), told(facts.after(news), news, "tok9", NOW)
    assert envelopes[1] is None
    return kept(envelopes[0]) if envelopes[0] else None


@dataclass(frozen=True)
class Way:
    """A message of an XMPP user that came to another one over SIP: as each gateway has it, and its names at each border."""

    here: Gateway
    there: Gateway
    asking: Envelope
    request: Request
    asked: Envelope
    stanza: Element
    over_sip: Parcel
    over_xmpp: Parcel


def sent(
    sender: Jid, recipient: SipAddress, ends: tuple[str, str], name: str, wanted: frozenset[str], here: Gateway, there: Gateway
) -> Way:
    author, alias = str(sender.with_resource(ends[0])), str(there.directory.jid_of(recipient).with_resource(ends[1]))
    wishes = "".join(f"<{tag.partition('}')[2]} xmlns='{tag[1:].partition('}')[0]}'/>" for wish, tag in NAMES.items() if wish in wanted)
    written = xml.element("message", {"from": author, "to": alias, "id": name, "type": "chat"}, f"<body>hi</body>{wishes}").encode()
    stanza = read_stanza(written)
    ours, whom = read_parties(stanza)
    asking = there.xmpp.read(stanza, there.guard.from_xmpp(whom.domain, ours, whom), "test", "tok1", NOW)
    assert asking is not None
    parcel = there.sip.write(kept(asking), 7)
    request, asked = over_sip(kept(asking), there, here)
    assert asked is not None
    arrived, _ = over_xmpp(kept(asked), here, there)
    return Way(here, there, asking, request, asked, arrived, parcel, here.xmpp.write(asked))


def answer(way: Way, content: str) -> tuple[Element, Parties]:
    """A stanza of whom it was for to whom it seems to come from."""
    attributes = {"from": way.stanza.get("to", ""), "to": way.stanza.get("from", ""), "id": "r1"}
    stanza = read_stanza(xml.element("message", attributes, content).encode())
    author, whom = read_parties(stanza)
    return stanza, way.here.guard.from_xmpp(whom.domain, author, whom)


WISHES_OF_XMPP = st.frozensets(st.sampled_from([POSITIVE, DISPLAY]))
IDS = TOKENS | TEXTS.map(lambda text: for_xml(text)).filter(bool)


# -- receipts and markers ----------------------------------------------------------------------------------------------
@pytest.mark.requirement("NOTE-01", "NOTE-02", "IMDN-05")
@cases(0.5)
@given(JIDS_THERE, SIP_THERE, ENDS, IDS, WISHES_OF_XMPP, st.sampled_from(sorted(Disposition, key=str)), OFF)
def test_what_is_asked_for_is_told_the_whole_way_back(
    sender: Jid, recipient: SipAddress, ends: tuple[str, str], name: str, wanted: frozenset[str], what: Disposition, off: frozenset[str]
) -> None:
    here, there = gateways(off)
    way = sent(sender, recipient, ends, name, wanted, here, there)
    carries = {row.name: row.to_xmpp and row.to_sip for row in here.tables.fields}
    assert {wish for wish, tag in NAMES.items() if way.stanza.find(tag) is not None} == (wanted if carries["want"] else set())
    if what in ANSWERS:
        mark = ANSWERS[what].replace("/>", f" id='{xml.attribute(way.stanza.get('id', ''))}'/>")
        notices = way.here.xmpp.read_notices(*answer(way, mark))
        assert notices == ((Notice(way.over_xmpp.traces[0], what),) if carries["report"] else ())
    report = news_of(way.asked, what)
    is_asked = bool(wanted) and carries["want"] and what.wish in wanted | {NEGATIVE}
    assert (report is not None) is is_asked
    if report is None:
        return
    request, parties = asked_over_sip(report, here, there)
    news = Outcome(Verdict.FAILED, AS_STATUS[what]) if what in AS_STATUS else what
    assert read_news(request, parties) == (Notice(way.over_sip.traces[0], news),)
    last = news_of(way.asking, news)
    assert last is not None
    if isinstance(news, Disposition) and not carries["report"]:
        with pytest.raises(Refusal):
            there.xmpp.write(last)
        return
    stanza = read_stanza(bytes(there.xmpp.write(last).wire))  # type: ignore[call-overload]
    assert (stanza.get("from"), stanza.get("to")) == (way.asking.origin.recipient, way.asking.origin.sender)  # type: ignore[union-attr]
    if isinstance(news, Outcome):
        assert (stanza.get("type"), stanza.get("id")) == ("error", way.asking.origin.id)  # type: ignore[union-attr]
    else:
        [shown] = list(stanza)
        assert (shown.tag, shown.get("id")) == (fromstring(ANSWERS[what]).tag, way.asking.origin.id)  # type: ignore[union-attr]


# -- failures ----------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("FRAG-40", "FRAG-41", "NOTE-09")
@cases(0.5)
@given(JIDS_THERE, SIP_THERE, ENDS, TOKENS, WISHES_OF_XMPP, FAILURES, st.sampled_from(["text", "sipfrag", "none"]))
def test_a_failure_is_told_to_sip_as_the_route_wants(
    sender: Jid, recipient: SipAddress, ends: tuple[str, str], name: str, wanted: frozenset[str], failure: Outcome, form: str
) -> None:
    here, there = gateways(frozenset(), form)
    way = sent(sender, recipient, ends, name, wanted, here, there)
    report = news_of(way.asked, failure)
    assert report is not None
    if form == "none" and not wanted:
        with pytest.raises(Refusal) as refused:
            here.sip.write(report, 7)
        assert refused.value.key == "failure-not-reported"
        return
    request = sip_request(here.sip.write(report, 7))
    if wanted:
        # It is the gateway that reports; which of its names speaks for whom is not decided here.
        parties = there.guard.from_sip(PEER, way.request.to.uri, request.request_uri)
        what = REFUSED.get(failure.status, Disposition.ERROR if 500 <= failure.status < 600 else Disposition.FAILED)
        assert read_news(request, parties) == (Notice(way.over_sip.traces[0], Outcome(Verdict.FAILED, AS_STATUS[what])),)
    elif form == "sipfrag":
        found = report_in(request)
        assert found is not None
        assert (found.name, found.to.text) == (way.over_sip.traces[-1][0], way.request.to.uri_text)
        assert (found.outcome.verdict, found.outcome.status) == (Verdict.FAILED, failure.status)
        assert not failure.reason or found.outcome.reason == failure.reason
        assert found.outcome.retry_after == (None if failure.retry_after is None else int(failure.retry_after))
    else:
        said = request.body.decode()
        assert (report_in(request), request.content_type and request.content_type.essence) == (None, "text/plain")
        assert said.startswith(f"Your message to {way.request.to.uri_text} could not be delivered: {failure.status}")
        assert failure.reason in said
        assert failure.contact in said


MAY_PASS = {404, 413, 480, 486, 500, 503, 600, 603}
"""What may come with Retry-After (RFC 3261 section 20.33)."""
PEER = Peer("test")


def sip_request(parcel: Parcel) -> Request:
    assert isinstance(parcel.wire, Draft)
    request = parse(parcel.wire.octets, stream=True, strict=True)
    assert isinstance(request, Request)
    request.check()
    return request


@pytest.mark.requirement("ERR-04", "ERR-07", "ERR-14")
@cases(0.5)
@given(JIDS_THERE, SIP_THERE, ENDS, IDS, FAILURES)
def test_a_failure_is_told_to_xmpp_by_the_table(
    sender: Jid, recipient: SipAddress, ends: tuple[str, str], name: str, failure: Outcome
) -> None:
    way = sent(sender, recipient, ends, name, frozenset(), HERE, THERE)
    report, origin = news_of(way.asking, failure), way.asking.origin
    assert report is not None
    assert isinstance(origin, StanzaOrigin)
    stanza = read_stanza(bytes(THERE.xmpp.write(report).wire))  # type: ignore[call-overload]
    row = THERE.tables.failure(failure.status, failure.reason)
    address = moved_to(failure.contact) if row.condition in ("gone", "redirect") and failure.status != 410 else ""
    condition = "item-not-found" if row.condition == "gone" and not address and failure.status != 410 else row.condition
    assert {key: stanza.get(key) for key in ("id", "type", "from", "to")} == {
        "id": origin.id, "type": "error", "from": origin.recipient, "to": origin.sender}  # fmt: skip
    [error] = list(stanza)
    assert error.get("type") == ("wait" if failure.retry_after is not None and failure.status in MAY_PASS else row.type)
    more = [*(["text"] if failure.reason else []), *([row.extension] if row.extension else [])]
    assert [xml.split_name(each.tag)[1] for each in error] == [condition, *more]
    assert (error[0].text or "", error.findtext(f"{{{xml.STANZAS}}}text") or "") == (address, for_xml(failure.reason))
    status = failure.status if row.extension else status_of(condition, address, "/" in origin.recipient)
    found = way.here.xmpp.read_error(stanza)
    assert found == Outcome(Verdict.FAILED, status, found.reason, contact=sip_of(address))
    assert found.reason == flat(for_xml(failure.reason)) or (row.extension and not failure.reason)


def moved_to(contact: str) -> str:
    """An address of either side as an XMPP user has it; any other as it stands, if it is one."""
    known = {"sip:tomas@sip.example": "xmpp:tomas@sip.example", "sip:mira@xmpp.example": "xmpp:mira@xmpp.example"}
    return known.get(contact, contact)


def sip_of(address: str) -> str:
    return address.replace("xmpp:", "sip:") if address.startswith("xmpp:") else ""


def status_of(condition: str, address: str, is_full: bool) -> int:
    """By the other table: RFC 7247 section 7.1."""
    row = HERE.tables.condition(condition)
    if condition == "gone":
        return 301 if sip_of(address) else 410
    if condition == "redirect" and not sip_of(address):
        return 480
    return row.sip_full if is_full else row.sip_bare


# -- what a SIP user asks for ------------------------------------------------------------------------------------------
DATES = st.sampled_from(["2026-02-03T09:17:00Z", "2026-02-03T09:17:00.120-05:00", "2026-02-03t09:17:00+23:59"])
PLACES = st.lists(st.sampled_from(["<sip:b@{}>", '"B, x" <sip:a@{}>', "<sips:p@{};lr>"]), max_size=3)


@pytest.mark.requirement("IMDN-01", "IMDN-08", "IMDN-31")
@cases(0.4)
@given(SIP_HERE, JIDS_HERE, ENDS, TOKENS, st.frozensets(st.sampled_from(sorted(WISHES)), min_size=1), DATES, PLACES, st.booleans())
@example(SipAddress("a", "[2001:db8::1]"), Jid("b", "xmpp.example"), ("", ""), "i", frozenset([DISPLAY]), "2026-02-03T09:17:00Z", [], False)
def test_what_a_sip_user_asks_is_kept_and_comes_back_in_the_notification(
    sender: SipAddress, recipient: Jid, ends: tuple[str, str], name: str, wanted: frozenset[str], date: str, places: list[str], whole: bool
) -> None:
    here, there = gateways(frozenset())
    author, whom = im_uri(sender.user, sender.domain), sip_uri(here.directory.sip_of(recipient))
    routes, original = tuple(place.format(sender.domain) for place in places), f"<im:all@{SIP_DOMAINS[0]}>" if whole else ""
    fields = [
        ("From", f"<{author}>"), ("To", f"<{whom}>"), ("DateTime", date), ("NS", f"i <{IMDN}>"), ("i.Message-ID", name),
        ("i.Disposition-Notification", ",".join(wanted)), *[("i.IMDN-Record-Route", route) for route in routes],
        *([("i.Original-To", original)] if whole else [])]  # fmt: skip
    message = compose(fields, text_entity("hi"))
    request = asking_request(sender, whom, ends, message.raw)
    parties = here.guard.from_sip(PEER, request.from_.uri, request.request_uri)
    asking = read_message(request, parties, "test", "trace", NOW)
    assert asking is not None
    asked = Asked(wanted, name, date, author, whom, original[1:-1], routes)
    assert kept(asking).origin == RequestOrigin(request.to.uri_text, "c1", "1 MESSAGE", asked)
    assert (asking.id, asking.asked, asking.message.raw) == (name, wanted, message.raw)
    stanza, _ = over_xmpp(asking, here, there)
    assert stanza.get("id") == name
    assert {wish for wish, tag in NAMES.items() if stanza.find(tag) is not None} == wanted & set(NAMES)
    for what in Disposition:
        report = news_of(asking, what)
        assert (report is None) is (what.wish not in wanted)
        if report is not None:
            back = CpimMessage.parse(sip_request(here.sip.write(report, 7)).body, strict=True)
            assert (back.first("To"), back.values("IMDN-Route", IMDN), back.first("From")) == (f"<{author}>", routes, f"<{whom}>")
            document = fromstring(back.entity.content)
            assert [each.text for each in document[:4]] == [name, date, whom, original[1:-1] or whom]


def asking_request(sender: SipAddress, whom: str, ends: tuple[str, str], body: bytes) -> Request:
    rows = (
        f"MESSAGE {whom} SIP/2.0", "Via: SIP/2.0/TCP px.sip.example;branch=z9hG4bK1", "Max-Forwards: 70", f"To: <{whom}>",
        f"From: <{sip_uri(sender, ends[0])}>;tag=1", "Call-ID: c1", "CSeq: 1 MESSAGE", "Content-Type: message/cpim",
        f"Content-Length: {len(body)}", "", "")  # fmt: skip
    request = parse("\r\n".join(rows).encode() + body, stream=True, strict=True)
    assert isinstance(request, Request)
    return request


# -- who is typing -----------------------------------------------------------------------------------------------------
STATES = {"composing": "composing", "active": "active", "paused": "active", "inactive": "active"}
"""A chat state, and what the next XMPP user sees of it (ISC-08)."""


@pytest.mark.requirement("ISC-08", "XEP-15", "ISC-09")
@cases(0.2)
@given(JIDS_THERE, SIP_THERE, ENDS, st.sampled_from(sorted(STATES)), OFF, OFF)
def test_who_types_is_seen_over_sip(
    sender: Jid, recipient: SipAddress, ends: tuple[str, str], state: str, off: frozenset[str], off_here: frozenset[str]
) -> None:
    there, here = gateways(off)[1], gateways(off_here)[0]
    alias = there.directory.jid_of(recipient).with_resource(ends[1])
    attributes = {"from": str(sender.with_resource(ends[0])), "to": str(alias), "id": "t1", "type": "chat"}
    stanza = read_stanza(xml.element("message", attributes, f"<{state} xmlns='{xml.CHAT_STATES}'/>").encode())
    notice = there.xmpp.read(stanza, there.guard.from_xmpp(alias.domain, *read_parties(stanza)), "test", "tok1", NOW)
    assert (notice is None) is ("typing" in off)
    if notice is None:
        return
    assert notice.volatile
    _, seen = over_sip(kept(notice), there, here)
    assert seen is not None
    assert seen.volatile
    assert not seen.asked
    assert (here.directory.jid_of(seen.sender), seen.sender_device, seen.recipient_device) == (sender, *ends)
    if "typing" in off_here:
        with pytest.raises(Refusal):
            here.xmpp.write(seen)
        return
    shown, _ = over_xmpp(kept(seen), here, there)
    assert [each.tag for each in shown] == [f"{{{xml.CHAT_STATES}}}{STATES[state]}", f"{{{xml.HINTS}}}no-store"]
    assert (shown.get("from"), shown.get("type")) == (attributes["from"], "chat")
