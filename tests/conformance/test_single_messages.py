"""IMSG: one message in, one message out, field by field, through the whole bridge (RFC 7572)."""

from __future__ import annotations

import asyncio
import hashlib
import re
from email.utils import formatdate, parsedate_to_datetime
from pathlib import Path
from time import time
from xml.etree.ElementTree import Element, fromstring

import pytest

from tests.bench.peerlab.sip import Received
from tests.bridge import Bridge
from tests.bridge import bridge as start
from tests.conformance.exchange import (
    DELAY,
    LANG,
    both,
    error_of,
    from_client,
    from_phone,
    refused,
    refused_stanza,
    respond,
    silent,
    start_line,
    to_client,
    to_phone,
)  # fmt: skip
from tests.conformance.talk import ACCEPT
from tests.peers.wire import SipEnd, XmppEnd

OLD = "2026-01-02T03:04:05Z"


# -- XMPP to SIP -------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("IMSG-01", "IMSG-02", "IMSG-05")
def test_a_stanza_is_one_message_outside_any_dialog(bridge: Bridge) -> None:
    request = to_phone(bridge, "<body>one\ntwo\n</body>", "id='m1' type='chat'")
    head, _, body = request.data.decode().partition("\r\n\r\n")
    lines = head.split("\r\n")
    assert lines[0] == "MESSAGE sip:s0@stoxgate.test SIP/2.0"
    names = [line.partition(":")[0] for line in lines[1:]]
    # The server says the language of the client's stream.
    assert [name for name in names if name != "Content-Language"] == [
        "Via",
        "Max-Forwards",
        "From",
        "To",
        "Call-ID",
        "CSeq",
        "Content-Type",
        "Content-Length",
    ]
    assert re.fullmatch(r"SIP/2.0/UDP 127.0.0.1:[0-9]+;branch=z9hG4bK[0-9a-f]{16}(;rport)?", request.header("Via"))
    assert request.header("Max-Forwards") == "70"
    assert re.fullmatch(r"<sip:u0@xmpp.test;gr=lab>;tag=[0-9a-f]+", request.header("From"))
    assert request.header("To") == "<sip:s0@stoxgate.test>"
    assert re.fullmatch(r"[0-9]+ MESSAGE", request.header("CSeq"))
    assert request.header("Content-Type") == "text/plain;charset=UTF-8"
    assert (request.header("Content-Length"), body) == ("10", "one\r\ntwo\r\n")


@pytest.mark.requirement("IMSG-04")
@pytest.mark.parametrize("kind", ["", "normal", "chat", "headline", "unheard-of"])
def test_the_type_of_a_stanza_does_not_travel(bridge: Bridge, kind: str) -> None:
    request = to_phone(bridge, "<body>typed</body>", f"type='{kind}'" if kind else "")
    assert (start_line(request), request.body) == ("MESSAGE sip:s0@stoxgate.test SIP/2.0", b"typed")
    assert not kind or kind.encode() not in request.data


@pytest.mark.requirement("IMSG-04")
def test_groupchat_has_no_way(bridge: Bridge) -> None:
    async def talk() -> Element:
        async with both(bridge) as (phone, juliet):
            error = await refused_stanza(juliet, "<body>never</body>", to="s0@stoxgate.test", attributes="type='groupchat' id='g1'")
            assert (await from_client(phone, juliet, "<body>after</body>")).body == b"after"
            return error

    stanza = asyncio.run(talk())
    assert error_of(stanza)[:2] == ("cancel", "service-unavailable")
    assert (stanza.get("id"), stanza.get("from")) == ("g1", "s0@stoxgate.test")


@pytest.mark.requirement("E2E-06")
def test_an_object_that_is_none_is_refused_and_the_body_beside_it_goes_nowhere(bridge: Bridge) -> None:
    """RFC 3923: what is meant for the recipient is inside the element; the body beside it only says so."""
    protected = "<body>protected</body><e2e xmlns='urn:ietf:params:xml:ns:xmpp-e2e'>U2FsdGVkX1</e2e>"

    async def talk() -> Element:
        async with both(bridge) as (phone, juliet):
            error = await refused_stanza(juliet, protected, to="s0@stoxgate.test", attributes="id='p1'")
            assert (await from_client(phone, juliet, "<body>after</body>")).body == b"after"
            return error

    stanza = asyncio.run(talk())
    assert error_of(stanza)[:2] == ("modify", "bad-request")
    assert (stanza.get("id"), stanza.get("from")) == ("p1", "s0@stoxgate.test")


@pytest.mark.requirement("IMSG-07", "IMSG-08", "SEC-08")
@pytest.mark.parametrize(
    "content",
    [
        "<active xmlns='http://jabber.org/protocol/chatstates'/>",
        "<body/>",
        "<thread>t</thread>",
        "<subject/>",
        "<x xmlns='urn:x'><body xmlns='jabber:client'>deep</body></x>",
        "<received xmlns='urn:xmpp:receipts' id='m1'/>",
    ],
)
def test_a_stanza_without_text_is_no_message(bridge: Bridge, content: str) -> None:
    async def talk() -> bytes:
        async with both(bridge) as (phone, juliet):
            juliet.send(f"<message to='s0@stoxgate.test' id='n1'>{content}</message>".encode())
            return (await from_client(phone, juliet, "<body>after</body>")).body

    assert asyncio.run(talk()) == b"after"


@pytest.mark.requirement("IMSG-08", "SEC-08", "IMSG-19")
def test_nothing_of_other_children_is_in_the_request(bridge: Bridge) -> None:
    html = "<html xmlns='http://jabber.org/protocol/xhtml-im'><body xmlns='http://www.w3.org/1999/xhtml'><b>secret</b></body></html>"
    request = to_phone(bridge, f"<body>mine</body>{html}<x xmlns='urn:x'>secret</x><body xmlns='urn:y'>secret</body>")
    assert request.body == b"mine"
    assert b"secret" not in request.data


@pytest.mark.requirement("IMSG-06", "IMSG-13")
@pytest.mark.parametrize(
    ("content", "attributes", "body", "language"),
    [
        ("<body>Ahoj</body>", "xml:lang='cs'", b"Ahoj", "cs"),
        ("<body xml:lang='en'>Hello</body><body xml:lang='cs'>Ahoj</body>", "xml:lang='cs'", b"Ahoj", "cs"),
        ("<body xml:lang='fr'>Salut</body><body xml:lang='cs'>Ahoj</body>", "xml:lang='de'", b"Salut", "fr"),
    ],
)
def test_one_body_of_several_in_its_language(bridge: Bridge, content: str, attributes: str, body: bytes, language: str) -> None:
    request = to_phone(bridge, content, attributes)
    assert (request.body, request.header("Content-Language")) == (body, language)


@pytest.mark.requirement("IMSG-09", "SEC-18")
@pytest.mark.parametrize(
    ("content", "subject"),
    [
        ("<subject>Lunch</subject>", "Lunch"),
        ("<subject>Überraschung \U0001f600</subject>", "Überraschung \U0001f600"),
        ("<subject> a\n\tb&#13;&#10;&#13;&#10;MESSAGE sip:x SIP/2.0&#13;&#10;Via: x </subject>", "a b MESSAGE sip:x SIP/2.0 Via: x"),
        ("<subject xml:lang='fr'>Midi</subject><subject xml:lang='en'>Noon</subject>", "Noon"),
        ("<subject/>", ""),
        ("<subject> \n </subject>", ""),
    ],
)
def test_a_subject_is_one_header_line(bridge: Bridge, content: str, subject: str) -> None:
    request = to_phone(bridge, f"{content}<body>x</body>", "xml:lang='en'")
    assert request.header("Subject") == subject
    head, _, body = request.data.partition(b"\r\n\r\n")
    assert head.count(b"\r\nSubject: ") == (1 if subject else 0)
    # Of subjects in several languages the others are in message/cpim (ICPIM-34).
    is_plain = request.header("Content-Type").startswith("text/plain")
    assert body == b"x" if is_plain else body.endswith(b"\r\nSubject:;lang=fr Midi\r\n\r\nContent-Type: text/plain; charset=utf-8\r\n"
                                                       b"Content-Language: en\r\n\r\nx")  # fmt: skip
    assert is_plain == (content.count("<subject") == 1)


@pytest.mark.requirement("IMSG-09")
def test_a_subject_alone_has_no_body(bridge: Bridge) -> None:
    request = to_phone(bridge, "<subject>Lunch</subject>")
    assert (request.header("Subject"), request.header("Content-Length"), request.header("Content-Type")) == ("Lunch", "0", "")


@pytest.mark.requirement("IMSG-10")
@pytest.mark.parametrize("thread", ["e0ffe42b28561960c6b12b944a092794b9683a38", "a84b4c76e66710@pc33.atlanta.test", 'a(b)<c>:\\"/[d]?{e}'])
def test_a_thread_that_is_a_call_id_is_the_call_id(bridge: Bridge, thread: str) -> None:
    escaped = thread.replace("<", "&lt;")
    assert to_phone(bridge, f"<body>x</body><thread parent='p1'> {escaped} </thread>").header("Call-ID") == thread


@pytest.mark.requirement("IMSG-10", "SEC-18")
@pytest.mark.parametrize("thread", ["two words", "für \U0001f600", "a@b@c", "x&#10;Via: y", "a,b;c", "1234567890" * 18 + " "])
def test_any_other_thread_comes_back_with_the_answer(bridge: Bridge, thread: str) -> None:
    """The Call-ID stands for the thread: the same for each message of it, and the answer that repeats it brings the thread back."""

    async def talk() -> None:
        async with both(bridge) as (phone, juliet):
            content = f"<body>x</body><thread>{thread}</thread>"
            first, second = [await from_client(phone, juliet, content) for _ in range(2)]
            number = first.header("Call-ID")
            assert number == second.header("Call-ID")
            assert re.fullmatch(r"[\w\-.!%*+`'~()<>:\\\"/\[\]?{}]+(@[\w\-.!%*+`'~()<>:\\\"/\[\]?{}]+)?", number, re.ASCII)
            assert len(number) <= 255
            assert (await answer_in(phone, juliet, number)).findtext("thread") == fromstring(f"<t>{thread}</t>").findtext(".", "").strip()

    asyncio.run(talk())


async def answer_in(phone: SipEnd, juliet: XmppEnd, call_id: str) -> Element:
    """romeo's MESSAGE with this Call-ID, as juliet gets it."""
    branch, data = phone.build("sip:u0@xmpp.test", "sip:s0@stoxgate.test", b"answer")
    old = Received(data, 0.0).header("Call-ID")
    phone.send(branch, data.replace(f"Call-ID: {old}\r\n".encode(), f"Call-ID: {call_id}\r\n".encode()))
    return fromstring(await juliet.message())


@pytest.mark.requirement("IMSG-10")
def test_without_a_thread_every_message_has_its_own_call_id(bridge: Bridge) -> None:
    numbers = {to_phone(bridge, "<body>x</body>", "id='same'").header("Call-ID") for _ in range(3)}
    assert len(numbers) == 3


@pytest.mark.requirement("IMSG-11", "IMSG-12")
def test_messages_of_one_thread_share_all_but_the_number(bridge: Bridge) -> None:
    async def talk() -> list[Received]:
        async with both(bridge) as (phone, juliet):
            content = "<body>x</body><thread>rising</thread>"
            return [await from_client(phone, juliet, content, attributes="id='z9hG4bKmine'") for _ in range(3)]

    requests = asyncio.run(talk())
    numbers = [int(request.header("CSeq").split()[0]) for request in requests]
    assert numbers == sorted(set(numbers))
    assert len({(request.header("Call-ID"), request.header("From")) for request in requests}) == 1
    branches = {request.header("Via") for request in requests}
    assert len(branches) == 3
    assert not any("mine" in branch for branch in branches)


@pytest.mark.requirement("IMSG-12", "IMSG-25")
def test_each_answer_finds_its_stanza(bridge: Bridge) -> None:
    """Two messages are on their way at once, and are answered in the other order."""

    async def talk() -> list[tuple[str | None, str]]:
        async with both(bridge) as (phone, juliet):
            silent(phone)
            one = await from_client(phone, juliet, "<body>1</body>", to="first@stoxgate.test", attributes="id='a1'")
            two = await from_client(phone, juliet, "<body>2</body>", to="second@stoxgate.test", attributes="id='a2'")
            found = []
            for request, status in ((two, 404), (one, 488)):
                respond(phone, request, status)
                respond(phone, request, 410)
                stanza = fromstring(await juliet.message())
                found.append((stanza.get("id"), error_of(stanza)[1]))
            return found

    assert asyncio.run(talk()) == [("a2", "item-not-found"), ("a1", "not-acceptable")]


@pytest.mark.requirement("IMSG-15", "ICPIM-18")
def test_a_delayed_stanza_has_a_date(bridge: Bridge) -> None:
    request = to_phone(bridge, f"<body>x</body><delay xmlns='{DELAY}' from='xmpp.test' stamp='{OLD}'/>")
    assert request.header("Date") == "Fri, 02 Jan 2026 03:04:05 GMT"
    assert to_phone(bridge, "<body>x</body>").header("Date") == ""


@pytest.mark.requirement("IMSG-27", "ADDR-24")
def test_1300_octets_are_sent_and_1301_are_not(bridge: Bridge) -> None:
    """The device in From makes way before that."""

    async def talk() -> None:
        async with both(bridge) as (phone, juliet):
            frame = "<body>{}</body><thread>sized-thread-0001</thread>"
            room = 1300 - len((await from_client(phone, juliet, frame.format("x" * 500))).data) + 500
            # The number in CSeq grows by itself: the two that matter are sent close together.
            for more, device in ((0, ";gr=lab"), (len(";gr=lab"), "")):
                request = await from_client(phone, juliet, frame.format("x" * (room + more)))
                assert (len(request.data), request.header("From").partition(";tag=")[0]) == (1300, f"<sip:u0@xmpp.test{device}>")
            error = error_of(await refused_stanza(juliet, frame.format("x" * (room + len(";gr=lab") + 1)), to="s0@stoxgate.test"))
            assert error[:3] == ("modify", "policy-violation", "SIP MESSAGE limit is 1300 octets")
            assert (await from_client(phone, juliet, "<body>after</body>")).body == b"after"

    asyncio.run(talk())


@pytest.mark.requirement("IMSG-29", "IMSG-30")
def test_one_message_at_a_time_for_one_address_and_in_order(bridge: Bridge) -> None:
    async def talk() -> list[bytes]:
        async with both(bridge) as (phone, juliet):
            silent(phone)
            for number in range(8):
                juliet.send(f"<message to='queue@stoxgate.test' id='q{number}'><body>{number}</body></message>".encode())
            other = await from_client(phone, juliet, "<body>other</body>", to="other@stoxgate.test")
            bodies = []
            if other.body != b"other":
                bodies.append(other.body)
                respond(phone, other, 200, "OK")
                other = await phone.requests.next(where=lambda request: request.body == b"other")
            respond(phone, other, 200, "OK")
            while len(bodies) < 8:
                request = await phone.requests.next()
                assert phone.requests.waiting == []
                bodies.append(request.body)
                respond(phone, request, 200, "OK")
            return bodies

    assert asyncio.run(talk()) == [str(number).encode() for number in range(8)]


@pytest.mark.requirement("IMSG-30")
def test_a_hundred_messages_each_way_keep_their_order(bridge: Bridge) -> None:
    async def talk() -> None:
        async with both(bridge) as (phone, juliet):
            for number in range(100):
                juliet.send(f"<message to='order@stoxgate.test'><body>{number}</body></message>".encode())
                phone.send(*phone.build("sip:u0@xmpp.test", "sip:order@stoxgate.test", str(number).encode()))
            there = [int((await phone.requests.next()).body) for _ in range(100)]
            back = [int(fromstring(await juliet.message()).findtext("body", "")) for _ in range(100)]
            assert there == back == list(range(100))

    asyncio.run(talk())


# -- SIP to XMPP -------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("IMSG-03", "IMSG-04", "ICPIM-30")
def test_a_message_is_one_stanza_without_a_type(bridge: Bridge) -> None:
    stanza = to_client(bridge, b"Hello")
    assert (stanza.tag, stanza.get("from"), stanza.get("to"), stanza.get("type")) == ("message", "s0@stoxgate.test", "u0@xmpp.test", None)
    assert [child.tag for child in stanza] == ["thread", "body"]
    assert stanza.findtext("body") == "Hello"


@pytest.mark.requirement("IMSG-22", "IMSG-01")
def test_the_answer_is_202_and_bare(bridge: Bridge) -> None:
    async def talk() -> bytes:
        async with both(bridge) as (phone, juliet):
            sent = await phone.request("sip:u0@xmpp.test", "sip:s0@stoxgate.test", b"x")
            await juliet.message()
            return sent.response

    head, _, body = asyncio.run(talk()).partition(b"\r\n\r\n")
    names = [line.partition(b":")[0] for line in head.split(b"\r\n")]
    assert names == [b"SIP/2.0 202 Accepted", b"Via", b"From", b"To", b"Call-ID", b"CSeq", b"Content-Length"]
    assert body == b""


@pytest.mark.requirement("IMSG-03")
def test_the_request_uri_decides_not_the_to(bridge: Bridge) -> None:
    async def talk() -> str:
        async with both(bridge) as (phone, juliet):
            branch, data = phone.build("sip:u0@xmpp.test", "sip:s0@stoxgate.test", b"x")
            phone.send(branch, data.replace(b"To: <sip:u0@xmpp.test>", b"To: <sip:somebody@elsewhere.test>"))
            stanza = fromstring(await juliet.message())
            branch, data = phone.build("sip:gw.stoxgate.test", "sip:s0@stoxgate.test", b"x")
            phone.send(branch, data.replace(b"To: <sip:gw.stoxgate.test>", b"To: <sip:u0@xmpp.test>"))
            assert fromstring(await juliet.message()).get("to") == "u0@xmpp.test"
            return stanza.get("to", "")

    assert asyncio.run(talk()) == "u0@xmpp.test"


@pytest.mark.requirement("IMSG-03")
def test_an_im_uri_is_accepted(bridge: Bridge) -> None:
    assert to_client(bridge, b"x", target="im:u0@xmpp.test").get("to") == "u0@xmpp.test"


@pytest.mark.requirement("IMSG-10")
@pytest.mark.parametrize("number", ["a84b4c76e66710@pc33.atlanta.test", "<'\"]>"])
def test_the_call_id_is_the_thread(bridge: Bridge, number: str) -> None:
    async def talk() -> Element:
        async with both(bridge) as (phone, juliet):
            return await answer_in(phone, juliet, number)

    assert asyncio.run(talk()).findtext("thread") == number


@pytest.mark.requirement("IMSG-12", "MSG-19")
def test_the_branch_is_the_id_however_often_the_request_comes(bridge: Bridge) -> None:
    async def talk() -> Element:
        async with both(bridge) as (phone, juliet):
            branch, data = phone.build("sip:u0@xmpp.test", "sip:s0@stoxgate.test", b"x")
            for _ in range(3):
                phone.put(data)
            first = fromstring(await juliet.message())
            assert first.get("id") == branch.decode().removeprefix("z9hG4bK")
            return await from_phone(phone, juliet, b"after")

    assert asyncio.run(talk()).findtext("body") == "after"


@pytest.mark.requirement("IMSG-12")
@pytest.mark.parametrize("branch", [b";branch=old-style", b""])
def test_a_branch_without_a_cookie_gives_a_digest(bridge: Bridge, branch: bytes) -> None:
    async def talk() -> tuple[Element, bytes]:
        async with both(bridge) as (phone, juliet):
            _, data = phone.build("sip:u0@xmpp.test", "sip:s0@stoxgate.test", b"x")
            data = re.sub(rb";branch=[^;]*", branch, data)
            phone.put(data)
            return fromstring(await juliet.message()), data

    stanza, data = asyncio.run(talk())
    request = Received(data, 0.0)
    parts = (request.header("From").partition("tag=")[2], request.header("Call-ID"), "1", request.header("Via"))
    assert stanza.get("id") == hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


@pytest.mark.requirement("IMSG-13")
@pytest.mark.parametrize(("header", "language"), [("cs", "cs"), ("pt-BR, en", "pt-BR"), ("", None)])
def test_the_first_content_language_is_the_language(bridge: Bridge, header: str, language: str | None) -> None:
    stanza = to_client(bridge, b"x", extra=f"Content-Language: {header}\r\n" if header else "")
    # The server writes the language of its stream where a stanza says nothing.
    assert stanza.get(LANG) in ((language,) if language else (None, "en"))


@pytest.mark.requirement("IMSG-09")
@pytest.mark.parametrize(
    ("line", "subject"),
    [
        ("Subject: Lunch", "Lunch"),
        ("s: Short", "Short"),
        ("Subject:   folded\r\n  twice\r\n\tover ", "folded twice over"),
        ("Subject: für <b>&amp;", "für <b>&amp;"),
    ],
)
def test_the_subject(bridge: Bridge, line: str, subject: str) -> None:
    stanza = to_client(bridge, b"x", extra=f"{line}\r\n")
    assert [each.text for each in stanza.findall("subject")] == [subject]


@pytest.mark.requirement("IMSG-16")
@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("text/plain", "für".encode()),
        ("text/plain;charset=utf-8", "für".encode()),
        ('text/plain; charset="UTF-8"', "für".encode()),
        ("Text/Plain;charset=iso-8859-1", b"f\xfcr"),
        ("text/plain;charset=utf-16", "für".encode("utf-16")),
        ("text/plain;charset=koi8-r", b"f\x75r"),
    ],
)
def test_charsets_of_a_body(bridge: Bridge, content_type: str, body: bytes) -> None:
    assert to_client(bridge, body, content_type).findtext("body") in ("für", "fur")


@pytest.mark.requirement("IMSG-16", "IMSG-17", "IMSG-21")
@pytest.mark.parametrize(
    ("body", "content_type", "extra", "status", "header"),
    [
        (b"x", "text/plain;charset=x-nope", "", 415, f"Accept: {ACCEPT}"),
        (b"x", "image/png", "", 415, f"Accept: {ACCEPT}"),
        (b"x", "application/pgp-encrypted", "", 415, f"Accept: {ACCEPT}"),
        (b"x", "text/plain", "Content-Encoding: gzip\r\n", 415, "Accept-Encoding: identity"),
        (b"\xff\xfe", "text/plain", "", 400, "Content-Length: 0"),
        (b"a\xc0\x80b", "text/plain;charset=UTF-8", "", 400, "Content-Length: 0"),
        (b"f\xfcr", "text/plain;charset=us-ascii", "", 400, "Content-Length: 0"),
    ],
)
def test_bodies_that_are_refused(bridge: Bridge, body: bytes, content_type: str, extra: str, status: int, header: str) -> None:
    response = refused(bridge, body, content_type, extra)
    assert response.startswith(f"SIP/2.0 {status} ".encode())
    assert f"\r\n{header}\r\n".encode() in response


@pytest.mark.requirement("IMSG-17", "SEC-20")
@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"one\r\ntwo\rthree\nfour", "one\ntwo\nthree\nfour"),
        (b"a\0b\x1b\x0b", "a\ufffdb\ufffd\ufffd"),
        ("\ufffe\uffff".encode(), "\ufffd\ufffd"),
        (b"</body></message><iq type='set'/>", "</body></message><iq type='set'/>"),
        (b"&#0;&lt;]]>", "&#0;&lt;]]>"),
        (b"\ttab ", "\ttab "),
        ("\U0001f600".encode(), "\U0001f600"),
    ],
)
def test_what_is_in_a_body_stays_text(bridge: Bridge, body: bytes, text: str) -> None:
    stanza = to_client(bridge, body)
    assert [each.text for each in stanza.findall("body")] == [text]


@pytest.mark.requirement("IMSG-15", "XEP-08")
def test_an_old_message_is_a_delayed_one(bridge: Bridge) -> None:
    written = time() - 90
    stanza = to_client(bridge, b"x", extra=f"Date: {formatdate(written, usegmt=True)}\r\n")
    delay = stanza.find(f"{{{DELAY}}}delay")
    assert delay is not None
    assert delay.get("from") == "gw.stoxgate.test"
    said = parsedate_to_datetime(formatdate(written, usegmt=True)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert delay.get("stamp") == said
    assert to_client(bridge, b"x", extra=f"Date: {formatdate(time() - 5, usegmt=True)}\r\n").find(f"{{{DELAY}}}delay") is None


@pytest.mark.requirement("IMSG-15")
def test_an_expired_message_is_refused(bridge: Bridge) -> None:
    for extra in ("Expires: 0\r\n", f"Date: {formatdate(time() - 100, usegmt=True)}\r\nExpires: 50\r\n"):
        response = refused(bridge, b"x", extra=extra)
        assert response.startswith(b"SIP/2.0 480 ")
        assert b"\r\nWarning: 399 " in response
    assert to_client(bridge, b"in time", extra="Expires: 60\r\n").findtext("body") == "in time"


@pytest.mark.requirement("IMSG-28", "SEC-35")
def test_60_000_octets_are_taken_and_more_than_64_kib_are_not(bridge: Bridge) -> None:
    """Over TCP; a datagram holds no more than 65 507 octets anyway."""

    async def talk() -> None:
        async with bridge.stranger("tcp") as phone, bridge.user("u0") as juliet:
            assert len((await from_phone(phone, juliet, b"x" * 60_000)).findtext("body", "")) == 60_000
            sent = await phone.request("sip:u0@xmpp.test", "sip:s0@stoxgate.test", b"x" * 65_537)
            assert sent.status == 413

    asyncio.run(talk())


@pytest.mark.requirement("IMSG-33")
def test_other_headers_are_not_seen(bridge: Bridge) -> None:
    lines = ("Organization: secret", "User-Agent: secret", "In-Reply-To: secret@x", "Reply-To: <sip:secret@x>", "Priority: urgent")
    stanza = to_client(bridge, b"mine", extra="".join(f"{line}\r\n" for line in lines))
    assert [child.tag for child in stanza] == ["thread", "body"]


# -- what is kept ------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("SEC-47")
def test_no_text_of_a_message_is_logged(bridge: Bridge) -> None:
    to_phone(bridge, "<body>unloggable-one</body><subject>unloggable-two</subject>")
    to_client(bridge, b"unloggable-three", extra="Subject: unloggable-four\r\n")
    refused(bridge, b"unloggable-five \xff")
    assert "unloggable" not in bridge.gateway.printed
    assert '"event": "delivered"' in bridge.gateway.printed


@pytest.mark.requirement("IMSG-34")
def test_a_message_outlives_the_link_and_the_gateway(tmp_path: Path) -> None:
    """It is taken while the server is down; the gateway is killed; the message arrives when both are back."""
    with start(tmp_path) as it:
        it.server.stop()

        async def send() -> int:
            async with it.phone() as phone:
                return (await phone.request("sip:u0@xmpp.test", "sip:s0@stoxgate.test", b"patient")).status

        async def receive() -> Element:
            async with it.user("u0") as juliet:
                await asyncio.to_thread(it.gateway.start)
                return fromstring(await juliet.message())

        assert asyncio.run(send()) == 202
        it.gateway.kill()
        it.server.start()
        it.server.wait_ready()
        stanza = asyncio.run(receive())
    assert (stanza.get("from"), stanza.findtext("body")) == ("s0@stoxgate.test", "patient")
