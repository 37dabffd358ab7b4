"""RCS users over the whole bridge: whom the network asserts, who stays anonymous, which conversation a message belongs to (cpim.md part E).

stoxgate.test is the E.164 domain. The number of u1, who lives on the XMPP side, is +15550100.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from uuid import UUID
from xml.etree.ElementTree import Element, fromstring

import pytest

from tests.bridge import Bridge
from tests.bridge import bridge as start
from tests.conformance.exchange import error_of
from tests.conformance.talk import Talk, conversation, counted, rows, status_of
from tests.peers.stoxgate import SIP_DOMAIN, XMPP_DOMAIN

NICK, RECEIPTS, ADDRESS = "http://jabber.org/protocol/nick", "urn:xmpp:receipts", "http://jabber.org/protocol/address"
NOBODY = rf"anonymous\40anonymous.invalid@{SIP_DOMAIN}"
HIDDEN = "<sip:anonymous@anonymous.invalid>"
MAPPINGS = {
    "domains.toml": f'[[e164]]\ndomain = "{SIP_DOMAIN}"\n',
    "users.toml": f'[[user]]\nsip = "sip:+15550100@{SIP_DOMAIN}"\nxmpp = "u1@{XMPP_DOMAIN}"\n',
}


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    with start(tmp_path_factory.mktemp("rcs"), mappings=MAPPINGS) as it:
        yield it


def cpim(text: bytes, *fields: str, from_: str = HIDDEN, name: str = "") -> bytes:
    """A text as RCS clients write it."""
    asks = ("NS: imdn <urn:ietf:params:imdn>", f"imdn.Message-ID: {name}", "imdn.Disposition-Notification: positive-delivery, display")
    body = base64.b64encode(text)
    head = [f"From: {from_}", f"To: {HIDDEN}", "DateTime: 2026-02-03T09:15:00Z", *(asks if name else ()), *fields, "",
            "Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: base64", f"Content-Length: {len(body)}", ""]  # fmt: skip
    return ("\r\n".join(head) + "\r\n").encode() + body


def ids(conversation_id: str, contribution: str) -> str:
    return f"Conversation-ID: {conversation_id}\r\nContribution-ID: {contribution}\r\n"


async def heard_from(it: Talk, jid: str, content: str) -> Element:
    """The stanza with this content, which must come from there."""
    stanza = fromstring(await it.juliet.message(where=lambda each: content.encode() in each))
    assert stanza.get("from") == jid
    return stanza


async def sends(it: Talk, **request: str | bytes) -> int:
    """The status of one MESSAGE of romeo's."""
    return status_of(await it.asks(it.request(**request)))  # type: ignore[arg-type]


# -- a message as it is on the wire ---------------------------------------------------------------------------------------
@pytest.mark.requirement("RCS-01", "CPIM-08")
@conversation()
async def test_what_an_rcs_client_sends_crosses(it: Talk) -> None:
    icsi = "urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.msg"
    extra = (
        "P-Preferred-Service: urn:urn-7:3gpp-service.ims.icsi.oma.cpm.msg\r\n"
        f'Accept-Contact: *;+g.3gpp.icsi-ref="{icsi}";require;explicit\r\n'
        f"User-Agent: PRD/Device-1.0\r\n{ids('a0b1-' + it.romeo, 'c1')}"
    )
    fields = ("NS: cpm <http://www.openmobilealliance.org/cpm/>", "cpm.Payload-Type: text/plain")
    body = cpim("Kdaj je sestánek?".encode(), *fields, name=f"m-{it.romeo}")
    assert (await it.says(body, "message/cpim", extra)).status == 202
    stanza = fromstring(await it.hears())
    assert (stanza.findtext("body"), stanza.get("id"), stanza.findtext("thread")) == (
        "Kdaj je sestánek?",
        f"m-{it.romeo}",
        f"a0b1-{it.romeo}",
    )
    assert stanza.find(f"{{{RECEIPTS}}}request") is not None
    it.writes("<body>Ob treh</body>")
    answer = await it.receives()
    assert rows(answer, "Content-Type") == ["message/cpim"]
    assert answer.body.endswith(b"\r\n\r\nOb treh")
    assert rows(answer, "Accept-Contact") + rows(answer, "P-Preferred-Service") == []


@pytest.mark.requirement("RCS-07")
@conversation()
async def test_wishes_that_rfc_5438_does_not_know_are_no_wishes(it: Talk) -> None:
    asks = "imdn.Disposition-Notification: interworking-sms;x=1, positive-delivery"
    body = cpim(b"hi", name=f"m-{it.romeo}").replace(b"imdn.Disposition-Notification: positive-delivery, display", asks.encode())
    assert (await it.says(body, "message/cpim")).status == 202
    stanza = fromstring(await it.hears())
    assert stanza.find(f"{{{RECEIPTS}}}request") is not None
    assert stanza.find("{urn:xmpp:chat-markers:0}markable") is None


@pytest.mark.requirement("RCS-07", "RCS-05")
@conversation()
async def test_a_notification_of_an_rcs_client_is_the_receipt_of_its_message(it: Talk) -> None:
    it.writes(f"<body>hi</body><request xmlns='{RECEIPTS}'/>", f"id='q-{it.romeo}'")
    asked = (await it.receives()).body.decode()
    message_id = re.findall(r"imdn\.Message-ID: (\S+)", asked)[0]
    imdn = (
        f'<?xml version="1.0"?><imdn xmlns="urn:ietf:params:xml:ns:imdn"><message-id>{message_id}</message-id>'
        "<datetime>2026-02-03T09:15:00Z</datetime><delivery-notification><status><delivered/></status></delivery-notification></imdn>"
    )
    body = f"From: {HIDDEN}\r\nTo: {HIDDEN}\r\nDateTime: 2026-02-03T09:15:01Z\r\n\r\nContent-Type: message/imdn+xml\r\n\r\n{imdn}".encode()
    assert (await it.says(body, "message/cpim", ids("a", "b"))).status == 202
    receipt = fromstring(await it.hears()).find(f"{{{RECEIPTS}}}received")
    assert receipt is not None
    assert receipt.get("id") == f"q-{it.romeo}"


def misnamed(it: Bridge) -> int:
    """How many messages have named another author so far."""
    return int(counted(it)["misnamed"])


# -- conversations --------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("RCS-02")
@conversation()
async def test_each_answer_to_a_request_repeats_the_names_of_its_conversation(it: Talk) -> None:
    request = it.request(extra=ids("f81d4fae-7dec", "c1-" + it.romeo) + "InReplyTo-Contribution-ID: c0\r\n")
    for answer in (
        await it.asks(request),
        await it.asks(request),
        await it.asks(it.request(uri="sip:u0@else.test", extra=ids("f9", "c2"))),
    ):
        whole = "f81d4fae-7dec" if status_of(answer) == 202 else "f9"
        assert rows(answer, "Conversation-ID") == [whole]
        assert rows(answer, "Contribution-ID") == ["c1-" + it.romeo if whole != "f9" else "c2"]
        assert rows(answer, "InReplyTo-Contribution-ID") == []
    assert status_of(answer) == 404
    await it.hears()


@pytest.mark.requirement("RCS-02", "RCS-03", "IMSG-10")
@conversation()
async def test_a_reply_stays_in_the_conversation(it: Talk) -> None:
    await it.says(b"one", extra=ids("k-" + it.romeo, "c1"))
    assert fromstring(await it.hears()).findtext("thread") == "k-" + it.romeo
    answers = []
    for content in ("<body>a</body>", f"<body>b</body><thread>k-{it.romeo}</thread>"):
        it.writes(content)
        answers.append(await it.receives())
    assert [rows(each, "Conversation-ID") for each in answers] == [["k-" + it.romeo]] * 2
    assert [rows(each, "InReplyTo-Contribution-ID") for each in answers] == [["c1"]] * 2
    fresh = [rows(each, "Contribution-ID")[0] for each in answers]
    assert len({"c1", *fresh}) == 3
    assert [UUID(each).version for each in fresh] == [4, 4]
    await it.says(b"two", extra=ids("k-" + it.romeo, "c2"))
    await it.hears()
    it.writes("<body>c</body>")
    assert rows(await it.receives(), "InReplyTo-Contribution-ID") == ["c2"]


@pytest.mark.requirement("RCS-03")
@conversation()
async def test_a_thread_of_juliets_is_a_conversation_and_comes_back(it: Talk) -> None:
    await it.says(b"one", extra=ids("k-" + it.romeo, "c1"))
    await it.hears()
    it.writes("<body>a</body><thread>two words</thread>")
    request = await it.receives()
    [name] = rows(request, "Conversation-ID")
    assert (name, rows(request, "InReplyTo-Contribution-ID")) == ("xmpp-thread.two%20words", [])
    await it.says(b"two", extra=ids(name, "c2"))
    assert fromstring(await it.hears()).findtext("thread") == "two words"


@pytest.mark.requirement("RCS-03", "RCS-02")
@conversation()
async def test_who_has_not_heard_of_an_rcs_user_begins_a_conversation_and_nobody_else_has_any(it: Talk) -> None:
    it.writes("<body>before</body>")
    before = await it.receives()
    assert rows(before, "Conversation-ID") + rows(before, "Contribution-ID") == []
    await it.says(b"one", extra=ids("k-" + it.romeo, "c1"))
    await it.hears()
    async with it.bridge.user("u2") as mira:
        it.writes("<body>I am new here</body>", juliet=mira)
        request = await it.phone.requests.next(where=lambda each: b"I am new" in each.data)
    [name] = rows(request, "Conversation-ID")
    assert UUID(name).version == 4
    assert rows(request, "InReplyTo-Contribution-ID") == []
    await it.says(b"no RCS any more")
    await it.hears()
    it.writes("<body>plain</body>")
    plain = await it.receives()
    assert rows(plain, "Conversation-ID") == [] or rows(plain, "InReplyTo-Contribution-ID") == []


@pytest.mark.requirement("RCS-02", "SEC-19")
@pytest.mark.parametrize("bad", ["", "a b", "x" * 256, "a\u00e9", "a;b,c", "a@b@c"])
@conversation()
async def test_what_can_be_no_such_name_is_none(it: Talk, bad: str) -> None:
    request = it.request(extra=ids(bad, bad), call_id="c-" + it.romeo)
    answer = await it.asks(request)
    assert status_of(answer) == 202
    assert rows(answer, "Conversation-ID") + rows(answer, "Contribution-ID") == []
    assert fromstring(await it.hears()).findtext("thread") == "c-" + it.romeo
    it.writes("<body>hi</body>")
    assert rows(await it.receives(), "Conversation-ID") == []


# -- who it is ------------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("RCS-04", "AUTH-20", "ISEC-06")
@pytest.mark.parametrize(("asserted", "who"), [
    ("<sip:mira@stoxgate.test>", "mira"),
    ("<tel:+1-201-555-0123>", "+12015550123"),
    ("<tel:+12015550123>, <sip:mira@stoxgate.test>", "mira"),
    ("<tel:+12015550123>\r\nP-Asserted-Identity: sip:mira@elsewhere.test", "+12015550123"),
    ('"M, C." <sips:mira@stoxgate.test>, <sip:u1@xmpp.test>, <mailto:m@x.test>, <sip:tomas@stoxgate.test>', "mira"),
    ("<sip:+1-201-555-0123@stoxgate.test;user=phone>", "+12015550123"),
    ("<mailto:m@x.test>", "tomas"),
])  # fmt: skip
@conversation()
async def test_whom_the_network_asserts_is_the_sender(it: Talk, asserted: str, who: str) -> None:
    extra = f"P-Asserted-Identity: {asserted}\r\nP-Preferred-Identity: <sip:alice@stoxgate.test>\r\n"
    assert await sends(it, from_="Tomas <sip:tomas@stoxgate.test>;tag=1", extra=extra, body=it.romeo.encode()) == 202
    nick = (await heard_from(it, f"{who}@{SIP_DOMAIN}", it.romeo)).findtext(f"{{{NICK}}}nick")
    assert nick in ({"mira": ("M, C.", None), "tomas": ("Tomas", None)}.get(who, (None,)))


@pytest.mark.requirement("RCS-04", "AUTH-20")
@conversation()
async def test_the_name_in_from_is_that_of_the_person_in_from(it: Talk) -> None:
    extra = f"P-Asserted-Identity: <tel:+15557{hash(it.romeo) % 1000:03}>\r\n"
    number = re.findall(r"tel:(\S+)>", extra)[0]
    assert await sends(it, from_="Eve <sip:eve@stoxgate.test>;tag=1", extra=extra, body=b"not of eve") == 202
    assert (await heard_from(it, f"{number}@{SIP_DOMAIN}", "not of eve")).find(f"{{{NICK}}}nick") is None
    own = f"Tomas <sip:{number}@{SIP_DOMAIN};user=phone;gr=desk>;tag=1"
    assert await sends(it, from_=own, extra=extra, body=b"his own") == 202
    assert (await heard_from(it, f"{number}@{SIP_DOMAIN}/desk", "his own")).findtext(f"{{{NICK}}}nick") == "Tomas"


@pytest.mark.requirement("AUTH-20", "SEC-01", "RCS-04")
@pytest.mark.parametrize(("asserted", "status"), [
    ("<sip:u1@xmpp.test>", 403), ("<sip:eve@elsewhere.test>", 403), ("<tel:+15550100>", 403), ("<tel:12>", 400), ("<<", 400),
    ("<sip:a@stoxgate.test>,", 400), ("<sip:%00@stoxgate.test>", 400),
])  # fmt: skip
@conversation()
async def test_a_false_assertion_is_refused_whatever_from_says(it: Talk, asserted: str, status: int) -> None:
    answer = await it.asks(it.request(extra=f"P-Asserted-Identity: {asserted}\r\n"))
    assert status_of(answer) == status
    await it.hears_nothing()


@pytest.mark.requirement("RCS-04")
@conversation()
async def test_a_number_reaches_whose_it_is_and_no_other_reaches_anybody(it: Talk) -> None:
    async with it.bridge.user("u1") as owner:
        for uri in ("tel:+1-555-0100", f"sip:+1-555-0100@{SIP_DOMAIN};user=phone"):
            assert await sends(it, uri=uri, from_="<tel:+12015550123>;tag=1", body=uri.encode()) == 202
            stanza = fromstring(await owner.message(where=lambda each, uri=uri: uri.encode() in each))  # type: ignore[misc]
            assert (stanza.get("from"), stanza.get("to")) == (f"+12015550123@{SIP_DOMAIN}", f"u1@{XMPP_DOMAIN}")
    assert await sends(it, uri="tel:+15550199") == 404
    await it.hears_nothing()


# -- who it is not said -----------------------------------------------------------------------------------------------------
@pytest.mark.requirement("RCS-05", "CPIM-35", "IMDN-32")
@conversation()
async def test_an_anonymous_cpim_from_is_the_person_of_the_request(it: Talk) -> None:
    body = cpim(b"hi", f"cc: {HIDDEN}", name=f"m-{it.romeo}")
    assert (await it.says(body, "message/cpim")).status == 202
    stanza = await it.hears()
    assert "anonymous" not in stanza
    it.writes(f"<received xmlns='{RECEIPTS}' id='m-{it.romeo}'/>")
    notification = (await it.receives()).body.decode()
    assert f"\r\nTo: <{it.sip}>\r\n" in notification
    assert "<delivered/>" in notification
    assert "anonymous" not in notification


@pytest.mark.requirement("CPIM-35", "SEC-06", "IMDN-32")
@pytest.mark.parametrize(("author", "another", "told"), [
    ("sip:u1@xmpp.test", 1, False), ("tel:+12015550123", 1, False), ("sip:{romeo}@stoxgate.test", 0, True),
    ("sip:eve@elsewhere.test", 1, False), (HIDDEN[1:-1], 0, True),
])  # fmt: skip
@conversation()
async def test_another_author_in_the_object_is_counted_and_never_shown(it: Talk, author: str, another: int, *, told: bool) -> None:
    before = misnamed(it.bridge)
    body = cpim(b"hi", from_=f'"Somebody Else" <{author.format(romeo=it.romeo)}>', name=f"m-{it.romeo}")
    assert (await it.says(body, "message/cpim")).status == 202
    stanza = await it.hears()
    assert misnamed(it.bridge) == before + another
    assert "Somebody" not in stanza
    assert (f"<request xmlns='{RECEIPTS}'" in stanza) is told


@pytest.mark.requirement("RCS-04", "IMDN-32")
@conversation()
async def test_the_number_of_the_sender_in_the_object_is_of_his_domain(it: Talk) -> None:
    number = f"+15558{hash(it.romeo) % 1000:03}"
    body = cpim(b"by number", from_=f"<tel:{number}>", name=f"m-{it.romeo}")
    extra = f"P-Asserted-Identity: <sip:{number}@{SIP_DOMAIN};user=phone>\r\n"
    assert await sends(it, from_=f"<tel:{number}>;tag=1", body=body, content_type="message/cpim", extra=extra) == 202
    assert (await heard_from(it, f"{number}@{SIP_DOMAIN}", "by number")).find(f"{{{RECEIPTS}}}request") is not None
    it.writes(f"<received xmlns='{RECEIPTS}' id='m-{it.romeo}'/>", to=f"{number}@{SIP_DOMAIN}")
    assert f"\r\nTo: <tel:{number}>\r\n" in (await it.receives(f"sip:{number}@{SIP_DOMAIN};user=phone")).body.decode()


@pytest.mark.requirement("RCS-06", "IMDN-12", "SEC-47")
@pytest.mark.parametrize(("from_", "privacy"), [
    ("{romeo}", "id"), ("{romeo}", "user;critical"), ("{romeo}", "header"), ('"Anonymous" <sip:anonymous@anonymous.invalid>', "id"),
    ("<sip:anonymous@anonymous.invalid>", ""), ("<sip:anonymous@anonymous.invalid>", "none"),
])  # fmt: skip
@conversation()
async def test_who_asks_for_privacy_is_not_known_on_the_other_side(it: Talk, from_: str, privacy: str) -> None:
    extra = f'P-Asserted-Identity: "Romeo" <{it.sip};gr=desk>\r\n{ids("k-" + it.romeo, "c1")}' + (
        f"Privacy: {privacy}\r\n" if privacy else ""
    )
    author = from_.format(romeo=f"Romeo <{it.sip};gr=desk>")
    for number, (body, kind) in enumerate(((b"a text", "text/plain"), (cpim(b"in an object", name="m-1"), "message/cpim"))):
        call_id = f"{it.romeo}@192.0.2.1"
        request = it.request(from_=f"{author};tag={number}", extra=extra, body=body, content_type=kind, call_id=call_id)
        assert status_of(await it.asks(request)) == 202
        heard = await it.juliet.message()
        stanza = fromstring(heard)
        assert stanza.get("from") == NOBODY
        # The branch of these requests, which is the id, has the name of romeo in it; that of a phone has chance alone.
        assert not re.search(b"romeo|desk|192|" + it.romeo.encode(), re.sub(rb" id=['\"][^'\"]*['\"]", b"", heard), re.I)
        assert {child.tag.rpartition("}")[2] for child in stanza} <= {"body", "nick", "delay"}
        assert stanza.findtext(f"{{{NICK}}}nick") in ("Anonymous", None)


@pytest.mark.requirement("RCS-06")
@pytest.mark.parametrize("privacy", ["", "Privacy: id\r\n"])
@conversation()
async def test_who_is_typing_is_said_or_not_said_as_with_messages(it: Talk, privacy: str) -> None:
    body = b'<isComposing xmlns="urn:ietf:params:xml:ns:im-iscomposing"><state>active</state></isComposing>'
    extra = privacy + ids("k-" + it.romeo, "c1")
    assert await sends(it, extra=extra, body=b"first", from_=f"Romeo <{it.sip}>;tag=1") == 202
    assert await sends(it, extra=extra, body=body, content_type="application/im-iscomposing+xml", from_=f"Romeo <{it.sip}>;tag=1") == 202
    heard = await it.juliet.message(where=lambda each: b"composing" in each)
    stanza = fromstring(heard)
    if privacy:
        assert (stanza.get("from"), stanza.find("thread")) == (NOBODY, None)
        assert b"Romeo" not in heard
    else:
        assert stanza.get("from") == it.jid


@pytest.mark.requirement("RCS-06", "ERR-09")
@conversation()
async def test_a_reply_to_nobody_is_refused_with_its_reason(it: Talk) -> None:
    it.writes("<body>who are you?</body>", "id='w1' type='chat'", to=NOBODY)
    stanza = fromstring(await it.juliet.message(where=lambda each: b"w1" in each))
    assert stanza.get("from") == NOBODY
    assert error_of(stanza)[:3] == (
        "cancel",
        "recipient-unavailable",
        "Whoever wrote to you asked to remain anonymous and cannot be answered",
    )
    forged = "<sip:anonymous%40anonymous.invalid@stoxgate.test>;tag=1"
    assert await sends(it, from_=forged) == 403


@pytest.mark.requirement("AUTH-23")
@conversation()
async def test_an_anonymous_from_that_nobody_vouches_for_is_refused(it: Talk) -> None:
    assert await sends(it, from_="<sip:anonymous@anonymous.invalid>;tag=1") == 403
    await it.hears_nothing()


@pytest.mark.requirement("RCS-06", "MSG-22")
@conversation()
async def test_who_stays_anonymous_is_still_told_that_his_message_failed(it: Talk) -> None:
    """By the gateway, at his own address: the recipient does not learn it by that."""
    extra = f"P-Asserted-Identity: <{it.sip}>\r\nPrivacy: id\r\n"
    assert await sends(it, from_="<sip:anonymous@anonymous.invalid>;tag=1", extra=extra, body=b"are you there?") == 202
    stanza = fromstring(await it.juliet.message())
    error = "<error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
    it.juliet.send(f"<message type='error' to='{NOBODY}' id='{stanza.get('id')}'>{error}</message>".encode())
    report = await it.receives()
    assert rows(report, "From")[0].startswith(f"<sip:gw.{SIP_DOMAIN}>")
    assert b"could not be delivered" in report.body


@pytest.mark.requirement("IMSG-14", "RCS-06")
@conversation()
async def test_who_is_named_after_that_has_told_nothing_by_it(it: Talk) -> None:
    """A name that is said once more would tell that the anonymous message was his."""
    romeo = f"Romeo <{it.sip}>;tag=1"
    assert await sends(it, from_=romeo) == 202
    assert ">Romeo</nick>" in await it.hears()
    assert await sends(it, from_=romeo, extra="Privacy: id\r\n", body=b"guess") == 202
    assert fromstring(await it.juliet.message()).get("from") == NOBODY
    assert await sends(it, from_=romeo) == 202
    assert "nick" not in await it.hears()
