"""FRAG: reports of failed messages over the wire, those that the gateway writes in the form of their route, and those that come to it.

The fragment that is expected is written down here, not with the gateway's own writer; multipart bodies are read with the standard library.
"""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from email import message_from_bytes
from email.message import Message
from xml.etree.ElementTree import fromstring

import pytest

from tests.bench.peerlab.sip import Received
from tests.bridge import Bridge
from tests.conformance.exchange import LANG, STANZAS, error_of, start_line
from tests.peers import wire
from tests.peers.process import free_port
from tests.peers.prosody import Prosody
from tests.peers.stoxgate import SECRET, Stoxgate

TEXT, FRAGMENT, NONE, PEOPLE = "text.test", "fragment.test", "none.test", "people.test"
ROUTES = "".join(
    f'[[route]]\ndomain = "{form}.test"\nnext_hop = "sip:127.0.0.1:{{phone}}"\nfailure_report = "{value}"\n'
    for form, value in (("text", "text"), ("fragment", "sipfrag"), ("none", "none"))
)
Form = Callable[[bytes], tuple[bytes, str]]
ELSEWHERE = "sip:gw.elsewhere.test"
"""The author of reports from another gateway: nobody of a domain that is served."""
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def it(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    work, phone, domains = tmp_path_factory.mktemp("reports"), free_port(), (TEXT, FRAGMENT, NONE)
    with Prosody(work / "server", users={"u0": "secret"}, components=dict.fromkeys((*domains, PEOPLE), SECRET)) as server:
        gateway = Stoxgate(
            work / "gateway",
            component_port=server.component_port,
            next_hop=f"sip:127.0.0.1:{phone}",
            sip_domains=domains,
            xmpp_domains=("xmpp.test", PEOPLE),
            tables=ROUTES.format(phone=phone),
        )
        with gateway:
            for _ in domains[1:]:
                gateway.wait_for('"event": "component link is up"')
            yield Bridge(server, gateway, phone, "udp")


def people(it: Bridge) -> AbstractAsyncContextManager[wire.XmppEnd]:
    """Everybody of people.test at once."""
    return wire.component(it.server.component_port, PEOPLE, SECRET)


# -- those that the gateway writes -------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Failed:
    """A message of somebody's at the phone that failed after its 202. author: his SIP user. request: as it was sent."""

    author: str
    request: bytes
    reports: list[Received]

    def header(self, name: str) -> str:
        return Received(self.request, 0.0).header(name)


async def failed(it: Bridge, domain: str, error: str, text: str = "", parameter: str = "") -> Failed:
    """Have a message fail with this condition; the reports are what came before what the same person is sent next.

    parameter: of the URI that the message was sent to.
    """
    author = f"f{next(_numbers)}"
    inner = f"<text xmlns='{STANZAS}'>{text}</text>" if text else ""
    async with it.phone() as romeo, people(it) as juliet:
        sent = await romeo.request(f"sip:juliet@{PEOPLE}{parameter}", f"sip:{author}@{domain}", b"hello, is it you?")
        assert sent.status == 202
        number = fromstring(await juliet.message()).get("id")
        juliet.send(
            f"<message type='error' from='juliet@{PEOPLE}/lab' to='{author}@{domain}' id='{number}'>"
            f"<error type='cancel'><{error} xmlns='{STANZAS}'/>{inner}</error></message>".encode()
        )
        reports: list[Received] = []
        # A report is kept after what was being kept when its cause came: the third message is behind it.
        for _ in range(3):
            juliet.send(f"<message from='juliet@{PEOPLE}' to='{author}@{domain}'><body>fence</body></message>".encode())
            while (came := await romeo.requests.next()).body != b"fence":
                reports.append(came)
        return Failed(author, sent.data, reports)


def mixed(report: Received) -> list[Message]:
    """The parts of a multipart/mixed report."""
    content_type = report.header("Content-Type")
    assert re.fullmatch(r"multipart/mixed;boundary=[0-9a-z]{1,70}", content_type)
    whole = message_from_bytes(f"Content-Type: {content_type}\r\n\r\n".encode() + report.body)
    parts = whole.get_payload()
    assert isinstance(parts, list)
    assert not whole.defects
    return [part for part in parts if isinstance(part, Message)]


def fragment_in(report: Received) -> bytes:
    """The content of the second part, octet for octet."""
    boundary = report.header("Content-Type").partition("boundary=")[2]
    return report.body.split(f"--{boundary}".encode())[2].partition(b"\r\n\r\n")[2].removesuffix(b"\r\n")


@pytest.mark.requirement("FRAG-40", "FRAG-41", "FRAG-30")
def test_a_route_may_ask_for_text_and_fragment(it: Bridge) -> None:
    found = asyncio.run(failed(it, FRAGMENT, "item-not-found", "nobody"))
    [report] = found.reports
    assert start_line(report) == f"MESSAGE sip:{found.author}@{FRAGMENT} SIP/2.0"
    assert report.header("To") == f"<sip:{found.author}@{FRAGMENT}>"
    assert report.header("From").startswith(f"<sip:gw.{TEXT}>;tag=")
    assert report.header("Call-ID") != found.header("Call-ID")
    assert len(report.data) <= 1300
    text, notice = mixed(report)
    assert text.get("Content-Type") == "text/plain;charset=UTF-8"
    assert text.get_payload() == f"Your message to sip:juliet@{PEOPLE} could not be delivered: 404 Not Found (nobody)"
    assert notice.items() == [("Content-Type", "message/sipfrag"), ("Content-Disposition", "notification; handling=optional")]
    expected = (
        rf"SIP/2\.0 404 nobody\r\nTo: <sip:juliet@{PEOPLE}>\r\nCall-ID: {re.escape(found.header('Call-ID'))}\r\n"
        rf"CSeq: {found.header('CSeq')}\r\nDate: [A-Z][a-z]{{2}}, [0-9]{{2}} [A-Z][a-z]{{2}} [0-9]{{4}} [0-9:]{{8}} GMT\r\n"
    )
    assert re.fullmatch(expected.encode(), fragment_in(report))
    assert b"is it you" not in report.data


@pytest.mark.requirement("FRAG-40")
def test_a_report_in_text_has_nothing_else(it: Bridge) -> None:
    [report] = asyncio.run(failed(it, TEXT, "item-not-found")).reports
    assert report.header("Content-Type") == "text/plain;charset=UTF-8"
    assert report.body.decode() == f"Your message to sip:juliet@{PEOPLE} could not be delivered: 404 Not Found"


@pytest.mark.requirement("FRAG-40", "SIP-90")
def test_what_has_no_room_for_both_is_told_in_text(it: Bridge) -> None:
    [report] = asyncio.run(failed(it, FRAGMENT, "item-not-found", "nobody", f";x={'y' * 600}")).reports
    assert len(report.data) <= 1300
    assert report.header("Content-Type") == "text/plain;charset=UTF-8"
    assert report.body.endswith(b"... could not be delivered: 404 Not Found (nobody)")


@pytest.mark.requirement("FRAG-40")
def test_a_route_may_want_no_reports(it: Bridge) -> None:
    assert asyncio.run(failed(it, NONE, "item-not-found")).reports == []


@pytest.mark.requirement("FRAG-43", "MSG-23")
@pytest.mark.parametrize("status", [404, 600])
def test_nothing_is_told_of_a_report_that_failed(it: Bridge, status: int) -> None:
    async def talk() -> None:
        async with it.phone() as romeo, people(it) as juliet:
            sent = await romeo.request(f"sip:juliet@{PEOPLE}", f"sip:loop{status}@{FRAGMENT}", b"hello")
            assert sent.status == 202
            number = fromstring(await juliet.message()).get("id")
            romeo.answer = lambda request: status if b"sipfrag" in request else 200
            juliet.send(
                f"<message type='error' from='juliet@{PEOPLE}' to='loop{status}@{FRAGMENT}' id='{number}'>"
                f"<error type='cancel'><item-not-found xmlns='{STANZAS}'/></error></message>".encode()
            )
            assert b"message/sipfrag" in (await romeo.requests.next()).body
            for _ in range(3):
                juliet.send(f"<message from='juliet@{PEOPLE}' to='loop{status}@{FRAGMENT}'><body>fence</body></message>".encode())
                assert (await romeo.requests.next()).body == b"fence"
            assert [each for each in juliet.stanzas.waiting if b"<message" in each] == []

    asyncio.run(talk())


# -- those that come to it ---------------------------------------------------------------------------------------------
def fragment(request: Received, status: str = "404 Not Found", extra: str = "", **changed: str) -> bytes:
    """What a gateway at the phone would say of this request."""
    named = {"To": request.header("To"), "Call-ID": request.header("Call-ID"), "CSeq": request.header("CSeq")} | {
        name.replace("_", "-"): value for name, value in changed.items()
    }
    lines = [f"SIP/2.0 {status}", *[f"{name}: {value}" for name, value in named.items()]]
    return ("\r\n".join(lines) + f"\r\n{extra}").encode()


OPTIONAL = b"Content-Disposition: notification; handling=optional\r\n"


def in_mixed(said: bytes) -> tuple[bytes, str]:
    """(body, Content-Type) of text and fragment."""
    body = (
        b"--b1\r\nContent-Type: text/plain\r\n\r\nIt could not be delivered.\r\n--b1\r\nContent-Type: message/sipfrag\r\n"
        + OPTIONAL
        + b"\r\n"
        + said
        + b"\r\n--b1--\r\n"
    )
    return body, "multipart/mixed;boundary=b1"


def bare(said: bytes) -> tuple[bytes, str]:
    """(body, Content-Type) of a fragment alone."""
    return said, "message/sipfrag;version=2.0"


@dataclass(slots=True)
class Heard:
    """A message from juliet to somebody at the phone, whom it has reached, and what comes of reports about it."""

    romeo: wire.SipEnd
    juliet: wire.XmppEnd
    whom: str
    request: Received

    async def reports(self, said: bytes, content_type: str, author: str = ELSEWHERE, to: str = f"sip:juliet@{PEOPLE}") -> int:
        """The status that a report gets."""
        return (await self.romeo.request(to, author, said, content_type)).status

    async def next_error(self) -> bytes:
        return await self.juliet.message()

    async def has_nothing(self) -> None:
        """Nobody on the XMPP side was told anything, and nothing was sent to the phone: what is written next is what comes next."""
        for _ in range(3):
            sent = await self.romeo.request(f"sip:juliet@{PEOPLE}", f"sip:{self.whom}@{TEXT}", b"fence")
            assert sent.status == 202
            assert b"<body>fence</body>" in await self.juliet.message()
        assert self.juliet.stanzas.waiting == []
        assert self.romeo.requests.waiting == []


async def heard(romeo: wire.SipEnd, juliet: wire.XmppEnd, kind: str = "chat") -> Heard:
    whom = f"h{next(_numbers)}"
    juliet.send(
        f"<message from='juliet@{PEOPLE}/balcony' to='{whom}@{TEXT}' id='m-{whom}' type='{kind}'><body>hello</body></message>".encode()
    )
    return Heard(romeo, juliet, whom, await romeo.requests.next())


@pytest.mark.requirement("FRAG-44", "FRAG-42")
@pytest.mark.parametrize("form", [bare, in_mixed])
@pytest.mark.parametrize(
    ("status", "kind", "condition"),
    [
        ("404 Not Found", "cancel", "item-not-found"),
        ("603 Declined", "wait", "recipient-unavailable"),
        ("415 Unsupported Media Type", "modify", "not-acceptable"),
    ],
)
def test_a_report_becomes_the_error_for_the_stanza(it: Bridge, form: Form, status: str, kind: str, condition: str) -> None:
    async def talk() -> None:
        async with it.phone() as romeo, people(it) as juliet:
            one = await heard(romeo, juliet)
            body, content_type = form(fragment(one.request, status))
            assert await one.reports(body, content_type) == 202
            error = fromstring(await one.next_error())
            assert {name: value for name, value in error.attrib.items() if name != LANG} == {
                "from": f"{one.whom}@{TEXT}",
                "to": f"juliet@{PEOPLE}/balcony",
                "id": f"m-{one.whom}",
                "type": "error",
            }
            assert error_of(error)[:3] == (kind, condition, status[4:])

    asyncio.run(talk())


@pytest.mark.requirement("FRAG-31", "FRAG-42")
def test_a_report_counts_once(it: Bridge) -> None:
    async def talk() -> None:
        async with it.phone() as romeo, people(it) as juliet:
            one = await heard(romeo, juliet)
            body, content_type = bare(fragment(one.request))
            assert await one.reports(body, content_type) == 202
            assert b"type='error'" in (await one.next_error()).replace(b'"', b"'")
            assert await one.reports(body, content_type) == 202
            assert await one.reports(*in_mixed(body)) == 403
            await one.has_nothing()

    asyncio.run(talk())


@pytest.mark.requirement("FRAG-42", "FRAG-32", "SEC-43")
@pytest.mark.parametrize(
    "changed",
    [{"Call_ID": "made-up@elsewhere.test"}, {"CSeq": "1 MESSAGE"}, {"To": f"<sip:nobody@{TEXT}>"}, {"To": "<sip:x@elsewhere.test>"}],
    ids=["call-id", "cseq", "to", "domain"],
)
@pytest.mark.parametrize("form", [bare, in_mixed])
def test_a_report_of_nothing_that_was_sent_is_dropped(it: Bridge, form: Form, changed: dict[str, str]) -> None:
    async def talk() -> None:
        async with it.phone() as romeo, people(it) as juliet:
            one = await heard(romeo, juliet)
            body, content_type = form(fragment(one.request, **changed))
            # The text beside it would be a message, and its author is nobody here.
            assert await one.reports(body, content_type) == (202 if form is bare else 403)
            await one.has_nothing()

    asyncio.run(talk())


@pytest.mark.requirement("FRAG-31", "FRAG-42")
@pytest.mark.parametrize("to", [f"sip:mercutio@{PEOPLE}", "sip:u0@xmpp.test", "sip:x@elsewhere.test"])
def test_a_report_tells_nobody_but_the_author(it: Bridge, to: str) -> None:
    async def talk() -> None:
        async with it.phone() as romeo, people(it) as juliet, it.user("u0") as other:
            one = await heard(romeo, juliet)
            assert await one.reports(*bare(fragment(one.request)), to=to) == 202
            await one.has_nothing()
            assert [each for each in other.stanzas.waiting if b"<message" in each] == []

    asyncio.run(talk())


@pytest.mark.requirement("FRAG-45")
@pytest.mark.parametrize("status", ["100 Trying", "180 Ringing", "200 OK", "202 Accepted"])
def test_what_is_no_failure_is_no_event(it: Bridge, status: str) -> None:
    async def talk() -> None:
        async with it.phone() as romeo, people(it) as juliet:
            one = await heard(romeo, juliet)
            assert await one.reports(*bare(fragment(one.request, status))) == 202
            assert await one.reports(*in_mixed(fragment(one.request, status))) == 403
            await one.has_nothing()
            # It was not used up by that either.
            assert await one.reports(*bare(fragment(one.request))) == 202
            assert b"item-not-found" in await one.next_error()

    asyncio.run(talk())


@pytest.mark.requirement("FRAG-42", "FRAG-45")
@pytest.mark.parametrize(
    ("status", "call_id"),
    [("404 Not Found", "made-up@elsewhere.test"), ("200 OK", ""), ("180 Ringing", "")],
    ids=["unknown", "accepted", "ringing"],
)
@pytest.mark.parametrize("disposition", [OPTIONAL, b"Content-Disposition: attachment; handling=required\r\n", b""])
def test_the_text_beside_what_is_no_report_is_a_message(it: Bridge, status: str, call_id: str, disposition: bytes) -> None:
    async def talk() -> None:
        async with it.phone() as romeo, people(it) as juliet:
            one = await heard(romeo, juliet)
            body, content_type = in_mixed(fragment(one.request, status, **({"Call_ID": call_id} if call_id else {})))
            served = f"sip:{one.whom}@{TEXT}"
            assert await one.reports(body.replace(OPTIONAL, disposition), content_type, author=served) == 202
            said = fromstring(await juliet.message())
            assert said.get("from", "").partition("/")[0] == f"{one.whom}@{TEXT}"
            assert said.get("type") != "error"
            assert said.findtext("{*}body") == "It could not be delivered."
            await one.has_nothing()
            # It was not used up by that.
            assert await one.reports(*bare(fragment(one.request)), author=served) == 202
            assert b"item-not-found" in await one.next_error()

    asyncio.run(talk())


@pytest.mark.requirement("FRAG-44", "FRAG-32")
@pytest.mark.parametrize("form", [bare, in_mixed])
@pytest.mark.parametrize("author", ["sip:{0}@{1}", "sip:{0}@{1};x=y", "sips:%68{2}@{1}", "sip:{1}", "sip:reports@gw.elsewhere.test"])
def test_the_recipient_and_a_gateway_are_believed(it: Bridge, form: Form, author: str) -> None:
    async def talk() -> None:
        async with it.phone() as romeo, people(it) as juliet:
            one = await heard(romeo, juliet)
            by = author.format(one.whom, TEXT, one.whom[1:])
            assert await one.reports(*form(fragment(one.request)), author=by) == 202
            assert error_of(fromstring(await one.next_error()))[1] == "item-not-found"
            # Nor does the text come as well.
            await one.has_nothing()

    asyncio.run(talk())


@pytest.mark.requirement("FRAG-31", "FRAG-32")
@pytest.mark.parametrize("form", [bare, in_mixed])
@pytest.mark.parametrize(
    ("author", "extra"),
    [
        (f"sip:mallory@{TEXT}", ""),
        (f"sip:mallory@{FRAGMENT}", ""),
        (ELSEWHERE, f"P-Asserted-Identity: <sip:mallory@{TEXT}>\r\n"),
        ("sip:{0}@" + TEXT, f"P-Asserted-Identity: <sip:mallory@{TEXT}>\r\n"),
    ],
    ids=["neighbour", "another", "asserted", "disguised"],
)
def test_another_user_is_not_believed(it: Bridge, form: Form, author: str, extra: str) -> None:
    async def talk() -> None:
        async with it.phone() as romeo, people(it) as juliet:
            one = await heard(romeo, juliet)
            body, content_type = form(fragment(one.request))
            assert (await romeo.request(f"sip:juliet@{PEOPLE}", author.format(one.whom), body, content_type, extra=extra)).status == 202
            if form is in_mixed:
                said = fromstring(await juliet.message())
                assert said.get("from", "").startswith("mallory@")
                assert said.findtext("{*}body") == "It could not be delivered."
            await one.has_nothing()
            assert await one.reports(body, content_type) == 202
            assert b"item-not-found" in await one.next_error()

    asyncio.run(talk())


@pytest.mark.requirement("FRAG-32", "FRAG-31")
@pytest.mark.parametrize(
    ("author", "extra"),
    [("sip:anonymous@anonymous.invalid", ""), (ELSEWHERE, "Privacy: id\r\n"), (f"sip:mira@{PEOPLE}", "")],
    ids=["anonymous", "private", "xmpp"],
)
def test_who_may_be_anybody_is_not_believed(it: Bridge, author: str, extra: str) -> None:
    async def talk() -> None:
        async with it.phone() as romeo, people(it) as juliet:
            one = await heard(romeo, juliet)
            for form, status in ((bare, 202), (in_mixed, 403)):
                body, content_type = form(fragment(one.request))
                assert (await romeo.request(f"sip:juliet@{PEOPLE}", author, body, content_type, extra=extra)).status == status
            await one.has_nothing()

    asyncio.run(talk())


@pytest.mark.requirement("FRAG-33")
def test_no_place_in_a_report_is_sent_to(it: Bridge) -> None:
    async def talk() -> None:
        async with it.phone() as romeo, it.stranger() as other, people(it) as juliet:
            one = await heard(romeo, juliet)
            place = f"<sip:new@{TEXT}>, <sip:new@127.0.0.1:{other.port}>"
            said = fragment(one.request, "302 Moved Temporarily", f"Contact: {place}\r\nRoute: <sip:127.0.0.1:{other.port};lr>\r\n")
            assert await one.reports(*bare(said)) == 202
            assert error_of(fromstring(await one.next_error()))[1] == "redirect"
            await one.has_nothing()
            assert other.requests.waiting == []

    asyncio.run(talk())


@pytest.mark.requirement("FRAG-35", "SEC-20")
def test_what_a_report_says_is_text_in_the_stanza(it: Bridge) -> None:
    async def talk() -> None:
        async with it.phone() as romeo, people(it) as juliet:
            one = await heard(romeo, juliet)
            assert await one.reports(*bare(fragment(one.request, "404 %3C/text%3E%0D%0A&amp;%00" + "y" * 300))) == 202
            text = error_of(fromstring(await one.next_error()))[2]
            assert text == ("</text> &amp;\ufffd" + "y" * 300)[:128]

    asyncio.run(talk())


@pytest.mark.requirement("FRAG-32")
@pytest.mark.parametrize("said", [b"", b"SIP/2.0 404 Not Found\r\n", b"From: <sip:juliet@people.test>\r\nTo: <sip:x@people.test>\r\n"])
def test_a_fragment_that_names_no_request_lets_nobody_speak(it: Bridge, said: bytes) -> None:
    async def talk() -> None:
        async with it.phone() as romeo, people(it) as juliet:
            one = await heard(romeo, juliet)
            for body, content_type in (bare(said), in_mixed(said)):
                assert await one.reports(body, content_type) == 403
            await one.has_nothing()

    asyncio.run(talk())


# -- what a fragment is not --------------------------------------------------------------------------------------------
@pytest.mark.requirement("FRAG-11")
@pytest.mark.parametrize(
    ("said", "version"), [(b"SIP/2.0 404 Not Found", "2.0"), (b"\xff\x00", "2.0"), (b"SIP/3.0 404 Not Found\r\n", "3.0")]
)
def test_a_fragment_that_is_no_report_is_content_that_is_not_carried(it: Bridge, said: bytes, version: str) -> None:
    async def talk() -> None:
        async with it.phone() as romeo, people(it) as juliet:
            one = await heard(romeo, juliet)
            served = f"sip:{one.whom}@{TEXT}"
            assert await one.reports(said, f"message/sipfrag;version={version}", author=served) == 415
            await one.has_nothing()

    asyncio.run(talk())


@pytest.mark.requirement("FRAG-53")
def test_nobody_is_made_to_send_by_a_refer(it: Bridge) -> None:
    async def talk() -> None:
        async with it.phone() as romeo, people(it) as juliet:
            one = await heard(romeo, juliet)
            romeo.put(
                f"REFER sip:juliet@{PEOPLE} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{romeo.port};branch=z9hG4bKrefer\r\nMax-Forwards: 70\r\n"
                f"From: <sip:{one.whom}@{TEXT}>;tag=1\r\nTo: <sip:juliet@{PEOPLE}>\r\nCall-ID: refer@{TEXT}\r\nCSeq: 1 REFER\r\n"
                f"Contact: <sip:127.0.0.1:{romeo.port}>\r\nRefer-To: <sip:new@{TEXT};method=MESSAGE>\r\nContent-Length: 0\r\n\r\n".encode()
            )
            answer = await romeo.responses.next(where=lambda each: b"z9hG4bKrefer" in each)
            assert answer.startswith(b"SIP/2.0 405 ")
            await one.has_nothing()

    asyncio.run(talk())


@pytest.mark.requirement("FRAG-67", "FRAG-68")
def test_an_identity_header_does_no_harm_and_no_answer_has_a_body(it: Bridge) -> None:
    async def talk() -> None:
        async with it.phone() as romeo, people(it) as juliet:
            identity = "Identity: eyJhbGciOiJFUzI1NiJ9..c2ln;info=<https://sip.example/cert>;alg=ES256\r\n"
            sent = await romeo.request(f"sip:juliet@{PEOPLE}", f"sip:i1@{TEXT}", b"hello", extra=identity)
            assert sent.status == 202
            assert sent.response.endswith(b"Content-Length: 0\r\n\r\n")
            assert b"<body>hello</body>" in await juliet.message()

    asyncio.run(talk())
