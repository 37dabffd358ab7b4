"""Text both ways between a raw SIP peer and a raw XMPP client, through both servers and over both transports."""

from __future__ import annotations

import asyncio
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from xml.sax.saxutils import escape

import pytest

from tests.bridge import Bridge, bridge
from tests.peers.ejabberd import Ejabberd
from tests.peers.prosody import Prosody

pytestmark = pytest.mark.interop
XML_LANG = "{http://www.w3.org/XML/1998/namespace}lang"
TEXTS = {
    "plain": "hello",
    "beyond-ascii": "Grüße, Ωμέγα, 日本語, \N{GRINNING FACE}, e\N{COMBINING ACUTE ACCENT}",
    "markup": "<b>&amp; \"q\" 'a' ]]> <!-- --> </body></message> <?x?>",
    "lines": "one\r\n two\r\n\r\n\tfour  ",
    "like-sip": "x\r\n\r\nBYE sip:a@b SIP/2.0\r\nContent-Length: 0\r\n\r\n",
}
LONG = "Ünendlich " * 2000
ROUTES = {"udp": "", "tcp": '[[route]]\ndomain = "*"\nlarge_messages = true\n'}


@pytest.fixture(
    scope="module",
    params=[(server, transport) for server in (Prosody, Ejabberd) for transport in ("udp", "tcp")],
    ids=lambda given: f"{given[0].__name__.lower()}-{given[1]}",
)
def it(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    server, transport = request.param
    with bridge(tmp_path_factory.mktemp("text"), server=server, transport=transport, tables=ROUTES[transport]) as whole:
        yield whole


def said(stanza: ET.Element) -> str:
    """The body, with the line ends that it had before XML made them all LF."""
    return (stanza.findtext("body") or "").replace("\n", "\r\n")


async def to_juliet(it: Bridge, body: bytes, content_type: str = "text/plain;charset=UTF-8", extra: str = "") -> ET.Element:
    """One MESSAGE from s0 to u0, answered 202; the stanza that comes of it."""
    async with it.phone() as romeo, it.user("u0") as juliet:
        sent = await romeo.request(it.sip_of("u0"), it.phone_uri("s0"), body, content_type, extra)
        assert sent.status == 202, sent.response
        stanza = ET.fromstring(await juliet.message())
        assert stanza.get("from", "").partition("/")[0] == "s0@stoxgate.test"
        call_id = next(line for line in sent.data.split(b"\r\n") if line.startswith(b"Call-ID: "))[9:].decode()
        assert stanza.findtext("thread") == call_id
        return stanza


async def to_romeo(it: Bridge, stanza: str) -> tuple[dict[str, str], bytes]:
    """One stanza from u0 to s0; header fields and body of the request that comes of it. `stanza`: what follows the address."""
    async with it.phone() as romeo, it.user("u0") as juliet:
        juliet.send(f"<message to='s0@stoxgate.test'{stanza}</message>".encode())
        request = await romeo.requests.next()
        head, _, body = request.data.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        assert first == "MESSAGE sip:s0@stoxgate.test SIP/2.0"
        fields = dict(line.split(": ", 1) for line in lines)
        assert fields["From"].startswith("<sip:u0@xmpp.test;gr=lab>;tag=")
        assert int(fields["Content-Length"]) == len(body)
        return fields, body


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_text_reaches_xmpp_as_it_was_written(it: Bridge, text: str) -> None:
    stanza = asyncio.run(to_juliet(it, text.encode()))
    assert said(stanza) == text
    assert [child.tag for child in stanza if child.tag not in ("body", "thread")] == []


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_text_reaches_sip_as_it_was_written(it: Bridge, text: str) -> None:
    fields, body = asyncio.run(to_romeo(it, f"><body>{escape(text)}</body>"))
    assert body.decode() == text
    assert fields["Content-Type"].lower().replace(" ", "") == "text/plain;charset=utf-8"


@pytest.mark.requirement("IMSG-13")
def test_subject_and_language_reach_xmpp(it: Bridge) -> None:
    extra = "Subject: Grüße <an> & alle\r\nContent-Language: de\r\n"
    stanza = asyncio.run(to_juliet(it, b"Guten Abend", extra=extra))
    assert stanza.findtext("subject") == "Grüße <an> & alle"
    assert stanza.get(XML_LANG) == "de"


def test_subject_thread_and_language_reach_sip(it: Bridge) -> None:
    fields, body = asyncio.run(
        to_romeo(
            it,
            " xml:lang='de'><subject>Gr&#xfc;&#xdf;e &lt;an&gt; &amp; alle</subject><thread>t.77@balcony</thread><body>Guten Abend</body>",
        )
    )
    assert fields["Subject"] == "Grüße <an> & alle"
    assert fields["Call-ID"] == "t.77@balcony"
    assert fields["Content-Language"] == "de"
    assert body == b"Guten Abend"


def test_a_reply_stays_in_its_conversation(it: Bridge) -> None:
    async def talk() -> tuple[str, str]:
        async with it.phone() as romeo, it.user("u0") as juliet:
            juliet.send(b"<message to='s0@stoxgate.test'><thread>no call-id: \xc3\xa4</thread><body>?</body></message>")
            call_id = (await romeo.requests.next()).header("Call-ID")
            branch, data = romeo.build(it.sip_of("u0"), it.phone_uri("s0"), b"!")
            own = next(line for line in data.split(b"\r\n") if line.startswith(b"Call-ID: "))
            romeo.send(branch, data.replace(own, b"Call-ID: " + call_id.encode()))
            return call_id, ET.fromstring(await juliet.message()).findtext("thread") or ""

    call_id, thread = asyncio.run(talk())
    assert call_id.isascii()
    assert " " not in call_id
    assert thread == "no call-id: ä"


def test_the_text_inside_cpim_reaches_xmpp(it: Bridge) -> None:
    cpim = (
        "From: Romeo <sip:s0@stoxgate.test>\r\nTo: <sip:u0@xmpp.test>\r\nDateTime: 2026-01-02T03:04:05Z\r\nSubject: greeting\r\n"
        "\r\nContent-Type: text/plain;charset=utf-8\r\n\r\nhéllo <from> cpim"
    ).encode()
    stanza = asyncio.run(to_juliet(it, cpim, "message/cpim"))
    assert said(stanza) == "héllo <from> cpim"
    assert stanza.findtext("subject") == "greeting"


@pytest.mark.requirement("CPIM-34")
def test_servers_deliver_a_message_that_names_others_to_its_recipient_once(it: Bridge) -> None:
    cpim = (
        b"From: <sip:s0@stoxgate.test>\r\nTo: <sip:u0@xmpp.test>\r\nTo: U1 <sip:u1@xmpp.test>\r\ncc: <tel:+15551230001>\r\n"
        b"\r\nContent-Type: text/plain\r\n\r\nto all"
    )

    async def talk() -> tuple[ET.Element, list[bytes]]:
        async with it.user("u1") as other:
            stanza = await to_juliet(it, cpim, "message/cpim")
            await to_juliet(it, b"that is all")
            return stanza, [each for each in other.stanzas.waiting if b"<message" in each]

    stanza, others = asyncio.run(talk())
    assert said(stanza) == "to all"
    found = stanza.findall("{http://jabber.org/protocol/address}addresses/*")
    assert [each.get("jid") or each.get("uri") for each in found] == ["u0@xmpp.test", "u1@xmpp.test", "tel:+15551230001"]
    assert {each.get("delivered") for each in found} == {"true"}
    assert others == []


def test_long_text_reaches_xmpp_whole(it: Bridge) -> None:
    assert said(asyncio.run(to_juliet(it, LONG.encode()))) == LONG


@pytest.mark.requirement("IMSG-27")
def test_long_text_reaches_sip_whole_or_is_refused(it: Bridge) -> None:
    """Over TCP, where the route allows it; over UDP it comes back as an error and nothing is cut (RFC 3428 section 8)."""

    async def refused() -> ET.Element:
        async with it.phone() as romeo, it.user("u0") as juliet:
            juliet.send(f"<message to='s0@stoxgate.test' id='long'><body>{LONG}</body></message>".encode())
            error = ET.fromstring(await juliet.message())
            assert romeo.requests.waiting == []
            return error

    if it.transport == "tcp":
        assert asyncio.run(to_romeo(it, f"><body>{LONG}</body>"))[1].decode() == LONG
    else:
        error = asyncio.run(refused())
        assert (error.get("type"), error.get("id"), error.get("from")) == ("error", "long", "s0@stoxgate.test")
        assert error.find("error/{urn:ietf:params:xml:ns:xmpp-stanzas}policy-violation") is not None
