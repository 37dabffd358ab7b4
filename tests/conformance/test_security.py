"""What the threat model promises, as far as it shows on the wire: who may speak, and that nothing foreign becomes structure.

`guarded` knows three SIP peers by their address: TRUSTED may speak for every domain, LIMITED for stoxgate.test alone, and STRANGER is
nobody. Behind `captured` stands an XMPP server that was taken over: it sends whatever a test wants, also what Prosody would not let pass.
"""

from __future__ import annotations

import asyncio
import json
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote
from xml.etree.ElementTree import fromstring

import pytest

from tests.bridge import USERS, Bridge
from tests.bridge import bridge as start
from tests.conformance.captured import CapturedServer
from tests.conformance.exchange import peer, respond, silent
from tests.conformance.talk import Talk, conversation, rows, status_of
from tests.peers import wire
from tests.peers.process import free_port
from tests.peers.prosody import Prosody
from tests.peers.stoxgate import SECRET, SIP_DOMAIN, Stoxgate

pytestmark = pytest.mark.interop
TRUSTED, LIMITED, STRANGER = "127.0.0.1", "127.0.0.2", "127.0.0.9"
PEERS = '[[peer]]\nmatch = "127.0.0.2/32"\ndomains = ["stoxgate.test"]\n'
PAIR = '[[user]]\nsip = "sip:nurse@stoxgate.test"\nxmpp = "u1@xmpp.test"\n'
DOMAINS = (SIP_DOMAIN, "other.test")
HEADERS = {"Via", "Max-Forwards", "From", "To", "Call-ID", "CSeq", "Date", "Subject", "Content-Language", "Content-Type", "Content-Length"}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    work, phone = tmp_path_factory.mktemp("guarded"), free_port()
    server = Prosody(work / "server", users=USERS, components=dict.fromkeys(DOMAINS, SECRET))
    with server, Stoxgate(work / "gateway", component_port=server.component_port, sip_domains=DOMAINS, next_hop=f"sip:127.0.0.1:{phone}",
                          tables=PEERS, mappings={"users.toml": PAIR}) as gateway:  # fmt: skip
        yield Bridge(server, gateway, phone, "udp")
        gateway.kill()


@pytest.fixture
def quiet(tmp_path: Path) -> Iterator[Bridge]:
    """A bridge for one test, with nothing of others on its way."""
    with start(tmp_path) as it:
        yield it


# -- who may speak -----------------------------------------------------------------------------------------------------
@pytest.mark.requirement("SEC-05", "SEC-40", "MSG-88")
@conversation(on="guarded")
async def test_a_stranger_is_refused_and_learns_nothing(it: Talk) -> None:
    async with peer(it.bridge, STRANGER) as stranger:
        answers = []
        for uri in ("sip:u0@xmpp.test", "sip:u9@xmpp.test", "sip:u0@else.test", "sip:u%00@xmpp.test"):
            for change in ({}, {"content_type": "x/y"}, {"max_forwards": 0}):
                request = it.request(uri=uri, to="<sip:u0@xmpp.test>", **change)
                answers.append(await it.asks(request, stranger))
        answers.append(await it.asks(it.request("OPTIONS", to="<sip:u0@xmpp.test>", body=b""), stranger))
    assert {status_of(answer) for answer in answers} == {403}
    assert len({shape(answer) for answer in answers}) == 1
    await it.hears_nothing()


@pytest.mark.requirement("SEC-40", "QOS-31")
@conversation(on="guarded")
async def test_a_sender_that_is_not_served_learns_nothing(it: Talk) -> None:
    answers = [
        await it.asks(it.request(uri=uri, to="<sip:u0@xmpp.test>", from_="<sip:eve@elsewhere.test>;tag=e"))
        for uri in ("sip:u0@xmpp.test", "sip:u9@xmpp.test", "sip:u0@else.test")
    ]
    assert {status_of(answer) for answer in answers} == {403}
    assert len({shape(answer) for answer in answers}) == 1
    await it.hears_nothing()


def shape(answer: bytes) -> bytes:
    """A response without what is copied from its request."""
    return re.sub(rb"(?m)^(?:Via|From|To|Call-ID|CSeq):.*\r\n", b"", answer)


@pytest.mark.requirement("SEC-01", "QOS-31")
@pytest.mark.parametrize("author", ["sip:u1@xmpp.test", "SIP:u1@XMPP.Test", "sip:%751@xmpp.test.", "sip:u1@xmpp.test:5060;transport=tcp",
                                    "sip:u1:pass@xmpp.test;gr=lab", "im:u1@xmpp.test", "sips:u1@xmpp.test", "sip:xmpp.test"])  # fmt: skip
@conversation(on="guarded")
async def test_nobody_on_the_sip_side_speaks_as_the_xmpp_side(it: Talk, author: str) -> None:
    assert status_of(await it.asks(it.request(from_=f"<{author}>;tag=e"))) == 403
    await it.hears_nothing()


@pytest.mark.requirement("SEC-02")
@pytest.mark.parametrize("author", ["sip:nurse@stoxgate.test", "sip:N%75rse@StoxGate.test:5061;x=y"])
@conversation(on="guarded")
async def test_an_alias_is_for_reaching_and_not_for_speaking(it: Talk, author: str) -> None:
    async with it.bridge.user("u1") as nurse:
        assert status_of(await it.asks(it.request(uri="sip:nurse@stoxgate.test", body=b"reached"))) == 202
        assert "reached" in await it.hears(nurse)
    assert status_of(await it.asks(it.request(from_=f"<{author}>;tag=e"))) == 403
    await it.hears_nothing()


@pytest.mark.requirement("SEC-04", "QOS-31")
@conversation(on="guarded")
async def test_a_peer_speaks_for_its_own_domains(it: Talk) -> None:
    asserted = f"P-Asserted-Identity: <{it.sip}>\r\nP-Preferred-Identity: <{it.sip}>\r\nRemote-Party-ID: <{it.sip}>\r\n"
    async with peer(it.bridge, LIMITED) as limited, peer(it.bridge, STRANGER) as stranger:
        assert status_of(await it.asks(it.request(body=b"mine"), limited)) == 202
        assert "mine" in await it.hears()
        for foreign in ("<sip:eve@other.test>", "<sip:u1@xmpp.test>"):
            assert status_of(await it.asks(it.request(extra=f"P-Asserted-Identity: {foreign}\r\n"), limited)) == 403
        own = it.request(from_="<sip:eve@other.test>;tag=e", extra=asserted, body=b"asserted")
        assert status_of(await it.asks(own, limited)) == 202
        assert "asserted" in await it.hears()
        assert status_of(await it.asks(it.request(extra=asserted), stranger)) == 403
    ours = it.request(from_="<sip:eve@other.test>;tag=e", extra=asserted.replace(it.sip, "sip:u1@xmpp.test"), body=b"eve")
    assert status_of(await it.asks(ours)) == 403
    unasserted = asserted.replace("P-Asserted-Identity", "X-Asserted").replace(it.sip, "sip:u1@xmpp.test")
    assert status_of(await it.asks(it.request(from_="<sip:eve@other.test>;tag=e", extra=unasserted, body=b"eve"))) == 202
    heard = await it.juliet.message(where=lambda stanza: b"eve@other.test" in stanza)
    assert b"u1@xmpp.test" not in heard
    await it.hears_nothing()


@pytest.mark.requirement("SEC-06")
@conversation(on="guarded")
async def test_a_cpim_from_is_not_the_author(it: Talk) -> None:
    cpim = b"From: <im:u1@xmpp.test>\r\nTo: <im:u0@xmpp.test>\r\n\r\nContent-Type: text/plain\r\n\r\nsaid by romeo"
    assert (await it.says(cpim, "message/cpim")).status == 202
    heard = await it.hears()
    assert "said by romeo" in heard
    assert "u1@xmpp.test" not in heard


# -- addresses ---------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("SEC-12", "SEC-13", "SEC-14")
@pytest.mark.parametrize(("user", "local"), [
    ("a b", r"a\20b"), ('a"b', r"a\22b"), ("a&b", r"a\26b"), ("a'b", r"a\27b"), ("a/b", r"a\2fb"), ("a:b", r"a\3ab"),
    ("a<b", r"a\3cb"), ("a>b", r"a\3eb"), ("a@xmpp.test", r"a\40xmpp.test"), (r"a\20b", r"a\5c20b"), (r"a\b", r"a\b"),
    ("a;x=y", "a;x=y"), ("a?b=c", "a?b=c"), ("a%41b", "a%41b"), ("grün", "grün"), ("рomeo", "рomeo"),
])  # fmt: skip
@conversation(on="guarded")
async def test_a_user_goes_there_and_back(it: Talk, user: str, local: str) -> None:
    user, local = f"{user}-{it.romeo}", f"{local}-{it.romeo}"
    author = f"sip:{quote(user, safe='')}@stoxgate.test"
    assert status_of(await it.asks(it.request(from_=f"<{author}>;tag=u", body=b"who am I"))) == 202
    heard = fromstring(await it.juliet.message(where=lambda stanza: it.romeo.encode() in stanza))
    assert heard.get("from") == f"{local}@stoxgate.test"
    escaped = heard.get("from", "").replace("&", "&amp;").replace("'", "&apos;")
    it.writes("<body>back</body>", to=escaped)
    back = await it.phone.requests.next(where=lambda request: it.romeo.encode() in request.data)
    uri = back.data.split(b" ")[1].decode()
    assert uri.endswith("@stoxgate.test")
    assert unquote(uri.removeprefix("sip:").removesuffix("@stoxgate.test")) == user
    assert re.fullmatch(r"[A-Za-z0-9\-_.!~*'()&=+$,;?/%]+", uri.removeprefix("sip:").removesuffix("@stoxgate.test"))


@pytest.mark.requirement("SEC-11")
@pytest.mark.parametrize("user", ["a%00", "a%0d%0ab", "a%0A", "%7f", "a%ff", "a%c0%af", "a%ed%a0%80", "%e2%80%a8"])
@conversation(on="guarded")
async def test_a_user_that_cannot_be_is_refused(it: Talk, user: str) -> None:
    assert status_of(await it.asks(it.request(from_=f"<sip:{user}@stoxgate.test>;tag=u"))) == 400
    assert status_of(await it.asks(it.request(uri=f"sip:{user}@xmpp.test"))) == 404
    await it.hears_nothing()


@pytest.mark.requirement("SEC-15")
@conversation(on="guarded")
async def test_a_device_stays_one_value(it: Talk) -> None:
    device = "x;y=z <a@b>?h=1&\"'"
    assert status_of(await it.asks(it.request(from_=f"<{it.sip};gr={quote(device, safe='')}>;tag=g"))) == 202
    heard = fromstring(await it.hears())
    assert heard.get("from") == f"{it.jid}/{device}"
    it.writes("<body>back</body>", to=heard.get("from", "").replace("&", "&amp;").replace("'", "&apos;").replace("<", "&lt;"))
    back = await it.phone.requests.next(where=lambda request: it.romeo.encode() in request.data)
    uri = back.data.split(b" ")[1].decode()
    assert re.fullmatch(re.escape(it.sip) + r";gr=[^;?@<>\" ]+", uri)
    assert unquote(uri.partition(";gr=")[2]) == device


# -- from SIP into XML -------------------------------------------------------------------------------------------------
@pytest.mark.requirement("SEC-20", "SEC-19")
@conversation(on="guarded")
async def test_no_text_from_sip_becomes_an_element(it: Talk) -> None:
    evil = "</body></message><message to='u1@xmpp.test'><body>evil"
    extra = f"Subject: {evil}\r\nContent-Language: en'><x/>\r\n"
    request = it.request(extra=extra, body=evil.encode(), call_id=f'a<b>"{it.romeo}', branch=f"z9hG4bK'{it.romeo}")
    assert status_of(await it.asks(request)) == 202
    heard = fromstring(await it.hears())
    assert [heard.findtext(f"{{*}}{name}") for name in ("body", "subject", "thread")] == [evil, evil, f'a<b>"{it.romeo}']
    assert (heard.get("id"), heard.get("to")) == (f"'{it.romeo}", "u0@xmpp.test")
    await it.hears_nothing()


@pytest.mark.requirement("SEC-21")
@conversation(on="guarded")
async def test_escapes_of_cpim_are_undone_once(it: Talk) -> None:
    cpim = (b"From: <im:r@stoxgate.test>\r\nTo: <im:u0@xmpp.test>\r\nSubject: a\\\\nb \\u0041 \\\\u0042\r\n\r\n"
            b"Content-Type: text/plain\r\n\r\n\\u0043")  # fmt: skip
    assert (await it.says(cpim, "message/cpim")).status == 202
    heard = fromstring(await it.hears())
    assert (heard.findtext("{*}subject"), heard.findtext("{*}body")) == ("a\\nb A \\u0042", "\\u0043")


@pytest.mark.requirement("SEC-32")
@pytest.mark.parametrize("body", [b"\xc0\xaf", b"\xe0\x80\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"caf\xe9", b"\xff"])
@conversation(on="guarded")
async def test_what_is_no_utf8_is_refused(it: Talk, body: bytes) -> None:
    assert (await it.says(body)).status == 400
    await it.hears_nothing()


@pytest.mark.requirement("SEC-33")
@pytest.mark.parametrize(("content_type", "extra", "body"), [
    ("text/plain", "Content-Encoding: gzip\r\n", b"\x1f\x8b"),
    ("text/plain", "Content-Encoding: identity, deflate\r\n", b"x"),
    ("text/plain;charset=utf-7", "", b"+ADw-"),
    ("text/plain;charset=UTF-8;charset=latin1", "", b"x"),
    ("message/cpim", "", b"From: <im:a@stoxgate.test>\r\n\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: x-zip\r\n\r\nx"),
    ("message/cpim", "", b"From: <im:a@stoxgate.test>\r\n\r\nContent-Type: text/plain;charset=x-none\r\n\r\nx"),
])  # fmt: skip
@conversation(on="guarded")
async def test_an_unknown_encoding_is_refused(it: Talk, content_type: str, extra: str, body: bytes) -> None:
    assert (await it.says(body, content_type, extra)).status in (400, 415)
    await it.hears_nothing()


# -- reading SIP -------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("SEC-26")
@pytest.mark.parametrize("length", [
    "", "Content-Length: 5\r\nContent-Length: 5\r\n", "l: 5\r\nContent-Length: 6\r\n", "Content-Length: -1\r\n", "Content-Length: +5\r\n",
    "Content-Length: 5 5\r\n", "Content-Length: 0x5\r\n", "Content-Length: ٥\r\n", "Content-Length:\r\n", "Content-Length: 99999999999\r\n",
])  # fmt: skip
@conversation(on="guarded")
async def test_a_stream_without_a_clear_length_is_closed(it: Talk, length: str) -> None:
    bad = it.request(transport="tcp").replace(b"Content-Length: 5\r\n", length.encode())
    reader, writer = await asyncio.open_connection(*it.bridge.gateway.address)
    writer.write(bad + it.request(transport="tcp", body=b"behind"))
    answer = await asyncio.wait_for(reader.read(), wire.LIMIT)
    assert re.match(rb"SIP/2\.0 (400|413|513) ", answer)
    assert answer.count(b"SIP/2.0 ") - answer.count(b"SIP/2.0/") <= 1
    writer.close()
    await it.hears_nothing()


@pytest.mark.requirement("SEC-28")
@pytest.mark.parametrize("row", ["From: <sip:eve@stoxgate.test>;tag=e", "f: <sip:eve@stoxgate.test>;tag=e", "To: <sip:u1@xmpp.test>",
                                 "i: other", "CSeq: 2 MESSAGE", "Max-Forwards: 9", "c: text/html", "l: 4", "Expires: 1\r\nExpires: 0",
                                 "Subject: a\r\ns: b", "Date: x\r\nDate: y"])  # fmt: skip
@conversation(on="guarded")
async def test_a_header_that_stands_once_stands_once(it: Talk, row: str) -> None:
    assert status_of(await it.asks(it.request(extra=f"{row}\r\n"))) == 400
    await it.hears_nothing()


@pytest.mark.requirement("SEC-29")
@pytest.mark.parametrize("row", [b"X-A: b\rSubject: evil", b"X-A: b\nSubject: evil", b"X-A: b\x00c", b"X-A\x0b: b", b"X-A\xc2\xa0: b",
                                 b"Subject: a\x00", b"X A: b", b": b", b"X-A"])  # fmt: skip
@conversation(on="guarded")
async def test_a_header_line_ends_at_crlf_alone(it: Talk, row: bytes) -> None:
    assert status_of(await it.asks(it.request(extra="X-Here: y\r\n").replace(b"X-Here: y", row))) == 400
    await it.hears_nothing()


@pytest.mark.requirement("SEC-35")
@pytest.mark.parametrize("extra", ["X-Big: " + "y" * 17_000 + "\r\n", "X-Many: y\r\n" * 65, "Subject: " + "ü" * 9_000 + "\r\n"])
@conversation(on="guarded")
async def test_too_much_header_is_refused(it: Talk, extra: str) -> None:
    assert status_of(await it.asks(it.request(extra=extra))) == 513
    await it.hears_nothing()


# -- load --------------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("SEC-36")
@conversation(on="guarded")
async def test_a_stranger_gets_no_more_than_he_gave(it: Talk) -> None:
    least = b"M sip:a SIP/2.0\r\nv:SIP/2.0/UDP h\r\n\r\n"
    small = b"MESSAGE sip:a SIP/2.0\r\nv:SIP/2.0/UDP h;rport;branch=z9hG4bKs\r\nf:sip:a@b;tag=1\r\nt:sip:a\r\ni:1\r\nCSeq:1 MESSAGE\r\n\r\n"
    changes = ((b"MESSAGE", b"MESSAGE"), (b"MESSAGE", b"OPTIONS"), (b"MESSAGE", b"INVITE"), (b"MESSAGE", b"CANCEL"), (b"MESSAGE", b"NONE"),
               (b"t:sip:a\r\n", b""), (b"SIP/2.0\r\nv", b"SIP/9.0\r\nv"), (b"sip:a ", b"sip:a;x "))  # fmt: skip
    for given in (least, *(small.replace(old, new) for old, new in changes)):
        async with peer(it.bridge, STRANGER) as stranger:
            stranger.put(given)
            mark = it.request("OPTIONS", body=b"")
            assert status_of(await it.asks(mark, stranger)) == 403
            got = [response for response in stranger.responses.waiting if rows(mark, "Call-ID")[0].encode() not in response]
            assert len(got) <= 1
            assert sum(map(len, got)) <= 2 * len(given), (given, got)


@pytest.mark.requirement("SEC-36")
@conversation(on="guarded")
async def test_an_answer_goes_to_who_asked(it: Talk) -> None:
    async with peer(it.bridge, LIMITED) as bystander, peer(it.bridge, STRANGER) as stranger:
        for via in (f"127.0.0.2:{bystander.port};received=127.0.0.2;rport={bystander.port}",
                    f"127.0.0.2:{bystander.port};maddr=127.0.0.2", f"127.0.0.2:{bystander.port}"):  # fmt: skip
            stranger.put(re.sub(rb"(Via: SIP/2\.0/UDP )[^;]*;(.*);rport", rb"\1%b;\2" % via.encode(), it.request()))
        assert status_of(await it.asks(it.request("OPTIONS", body=b""), stranger)) == 403
        assert status_of(await it.asks(it.request("OPTIONS", body=b""), bystander)) == 200
        assert bystander.responses.waiting == []


@pytest.mark.requirement("SEC-37")
@conversation(on="guarded")
async def test_one_source_cannot_take_all_connections(it: Talk) -> None:
    opened = [await asyncio.open_connection(*it.bridge.gateway.address, local_addr=("127.0.0.33", 0)) for _ in range(34)]
    for reader, _ in opened[32:]:
        assert await asyncio.wait_for(reader.read(), wire.LIMIT) == b""
    assert not any(reader.at_eof() for reader, _ in opened[:32])
    async with peer(it.bridge, LIMITED, "tcp") as other:
        assert status_of(await it.asks(it.request("OPTIONS", body=b"", transport="tcp"), other)) == 200
    for _, writer in opened:
        writer.close()


# -- from XMPP into SIP ------------------------------------------------------------------------------------------------
@pytest.mark.requirement("SEC-08")
@pytest.mark.parametrize("wrapper", [
    "<sent xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'>{0}</forwarded></sent>",
    "<received xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'>{0}</forwarded></received>",
    "<result xmlns='urn:xmpp:mam:2' id='1'><forwarded xmlns='urn:xmpp:forward:0'>{0}</forwarded></result>",
    "<forwarded xmlns='urn:xmpp:forward:0'>{0}</forwarded>",
    "{0}",
])  # fmt: skip
@conversation(on="guarded")
async def test_copies_inside_a_stanza_say_nothing(it: Talk, wrapper: str) -> None:
    copy = wrapper.format("<message xmlns='jabber:client' from='u1@xmpp.test/x' to='s9@stoxgate.test'><body>evil</body></message>")
    it.writes(copy)
    it.writes(f"{copy}<body>mine</body>")
    request = await it.receives()
    assert request.body == b"mine"
    assert request.header("From").startswith("<sip:u0@xmpp.test")
    assert b"evil" not in request.data
    await it.receives_nothing()


@pytest.mark.requirement("SEC-31", "SEC-42")
@conversation(on="guarded")
async def test_names_are_compared_with_their_namespace_and_depth(it: Talk) -> None:
    it.writes("<body xmlns='urn:example:other'>evil</body><x xmlns='jabber:x:y'><body xmlns='jabber:client'>evil</body></x>"
              "<o:subject xmlns:o='urn:example:other'>evil</o:subject><html xmlns='urn:example:other'>"
              "<body xmlns='http://www.w3.org/1999/xhtml'>evil</body></html>"
              "<x xmlns='jabber:x:y'><html xmlns='http://jabber.org/protocol/xhtml-im'>"
              "<body xmlns='http://www.w3.org/1999/xhtml'>evil</body></html></x>")  # fmt: skip
    it.writes("<body>mine</body><body xml:lang='it'>anche</body><body xmlns='urn:example:other'>evil</body>")
    assert (await it.receives()).body == b"mine"
    await it.receives_nothing()


@pytest.mark.requirement("SEC-43")
@conversation(on="guarded")
async def test_answers_count_only_from_who_was_asked(it: Talk) -> None:
    silent(it.phone)
    it.writes("<body>first</body>")
    first = await it.receives()
    it.writes("<body>second</body>")
    for change in ((b"branch=z9hG4bK", b"branch=z9hG4bKx"), (b" MESSAGE\r\n", b" OPTIONS\r\n"),
                   (b"Via: SIP/2.0/UDP 127.0.0.1:", b"Via: SIP/2.0/UDP 127.0.0.2:"),
                   (b"\r\nMax-Forwards: ", b"\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKo\r\nMax-Forwards: ")):  # fmt: skip
        kept = first.data.replace(*change)
        respond(it.phone, type(first)(kept, first.at), 200)
    it.writes("<body>elsewhere</body>", to=f"other{it.jid}")
    respond(it.phone, await it.receives(f"sip:other{it.jid}"), 200)
    assert not [each for each in it.phone.requests.waiting if each.body == b"second"]
    respond(it.phone, first, 200)
    respond(it.phone, await it.receives(), 200)


@pytest.mark.requirement("SEC-43")
@conversation(on="guarded")
async def test_an_error_counts_only_from_who_was_written_to(it: Talk) -> None:
    error = "<error type='cancel'><gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
    bounce = f"<message type='error' to='{it.jid}' id='{{0}}'>{error}</message>"
    async with it.bridge.user("u1") as nurse:
        assert (await it.says(b"hello")).status == 202
        stanza_id = fromstring(await it.hears()).get("id", "")
        nurse.send(bounce.format(stanza_id).encode())
        it.juliet.send(bounce.format("never-sent").encode())
        it.writes("<body>through</body>", juliet=nurse)
        assert (await it.receives()).body == b"through"
        await it.receives_nothing()
        it.juliet.send(bounce.format(stanza_id).encode() * 2)
        assert b"could not be delivered" in (await it.receives()).body
    await it.receives_nothing()


# -- an XMPP server that was taken over --------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Captured:
    gateway: Stoxgate
    server: CapturedServer
    phone_port: int


@pytest.fixture(scope="module")
def captured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Captured]:
    server, phone = CapturedServer(), free_port()
    with Stoxgate(tmp_path_factory.mktemp("captured"), component_port=server.port, next_hop=f"sip:127.0.0.1:{phone}") as gateway:
        yield Captured(gateway, server, phone)
        gateway.kill()
    server.close()


CRLF = "&#13;&#10;X-Evil: yes&#13;&#10;&#13;&#10;"
ODD = "&#9;&#133;&#8232;&#127;"


def leaves(it: Captured, stanza: str) -> list[bytes]:
    """The requests that leave because of a stanza; a second stanza behind it shows when that is known."""

    async def talk() -> list[bytes]:
        async with wire.sip("udp", target=it.gateway.address, port=it.phone_port) as phone:
            it.server.send(stanza)
            it.server.send("<message from='u0@xmpp.test/x' to='s0@stoxgate.test'><body>that is all</body></message>")
            last = await phone.requests.next(where=lambda request: request.body == b"that is all")
            assert last.data.startswith(b"MESSAGE sip:s0@stoxgate.test ")
            return [each.data for each in phone.requests.waiting]

    return asyncio.run(talk())


@pytest.mark.requirement("SEC-18", "SEC-19")
@pytest.mark.parametrize("evil", [CRLF, ODD], ids=["crlf", "odd"])
@pytest.mark.parametrize("stanza", [
    "<message from='u0@xmpp.test/x{0}' to='s0@stoxgate.test' id='1'><body>text</body></message>",
    "<message from='u0{0}@xmpp.test/x' to='s0@stoxgate.test' id='1'><body>text</body></message>",
    "<message from='u0@xmpp.test/x' to='s0{0}@stoxgate.test' id='1'><body>text</body></message>",
    "<message from='u0@xmpp.test/x' to='s0@stoxgate.test/y{0}' id='1'><body>text</body></message>",
    "<message from='u0@xmpp.test/x' to='s0@stoxgate.test{0}' id='1'><body>text</body></message>",
    "<message from='u0@xmpp.test/x' to='s0@stoxgate.test' id='1{0}'><body>text</body></message>",
    "<message from='u0@xmpp.test/x' to='s0@stoxgate.test' xml:lang='en{0}'><body>text</body></message>",
    "<message from='u0@xmpp.test/x' to='s0@stoxgate.test'><body>text</body><subject>a{0}b</subject></message>",
    "<message from='u0@xmpp.test/x' to='s0@stoxgate.test'><body>text</body><subject xml:lang='en{0}'>a</subject></message>",
    "<message from='u0@xmpp.test/x' to='s0@stoxgate.test'><body>text</body><thread>t{0}</thread></message>",
    "<message from='u0@xmpp.test/x' to='s0@stoxgate.test'><body>text</body><nick xmlns='http://jabber.org/protocol/nick'>n{0}</nick></message>",
    "<message from='u0@xmpp.test/x' to='s0@stoxgate.test'><body>text</body>"
    "<delay xmlns='urn:xmpp:delay' stamp='2026-01-01T00:00:00Z{0}'/></message>",
])  # fmt: skip
def test_nothing_from_xmpp_starts_a_header(captured: Captured, stanza: str, evil: str) -> None:
    for request in leaves(captured, stanza.format(evil)):
        head, _, body = request.partition(b"\r\n\r\n")
        assert body == b"text"
        lines = head.split(b"\r\n")
        assert {line.partition(b":")[0].decode() for line in lines[1:]} <= HEADERS
        assert not re.search(rb"[\x00-\x08\x0a-\x1f\x7f]|\xc2[\x80-\x9f]", b"".join(lines))
        assert len(re.findall(rb"[\r\n]", head)) == 2 * (len(lines) - 1)


@pytest.mark.requirement("SEC-18")
def test_a_body_stays_a_body(captured: Captured) -> None:
    [request] = leaves(captured, f"<message from='u0@xmpp.test/x' to='s0@stoxgate.test'><body>{CRLF}SIP/2.0 200 OK</body></message>")
    head, _, body = request.partition(b"\r\n\r\n")
    assert b"X-Evil" not in head
    assert b"X-Evil: yes" in body
    assert rows(request, "Content-Length") == [str(len(body))]


@pytest.mark.requirement("SEC-03", "QOS-31")
@pytest.mark.parametrize("author", ["s1@stoxgate.test", "s1@StoxGate.Test/x", "stoxgate.test", "s1@stoxgate.test./x", "eve@elsewhere.test",
                                    "", "@xmpp.test", "u0@", "u0@xmpp.test@stoxgate.test"])  # fmt: skip
def test_nobody_on_the_xmpp_side_speaks_as_the_sip_side(captured: Captured, author: str) -> None:
    given = f"from='{author}'" if author else ""
    assert leaves(captured, f"<message {given} to='s0@stoxgate.test' id='1'><body>evil</body></message>") == []


@pytest.mark.requirement("SEC-43")
def test_an_iq_that_nobody_asked_for_changes_nothing(captured: Captured) -> None:
    forged = "".join(f"<iq type='{kind}' from='{author}' to='stoxgate.test' id='fence-0-1'/>"
                     for kind in ("result", "error") for author in ("stoxgate.test", "u0@xmpp.test"))  # fmt: skip
    assert leaves(captured, forged) == []


# -- what is written down ----------------------------------------------------------------------------------------------
@pytest.mark.requirement("SEC-45", "SEC-47", "QOS-39")
@conversation(on="quiet")
async def test_neither_text_nor_secret_is_in_the_log_or_left_in_the_store(it: Talk) -> None:
    word = f"quicksilver{it.romeo}"
    assert (await it.says(word.encode(), extra=f"Subject: {word}\r\n")).status == 202
    await it.hears()
    assert (await it.says(word.encode(), "image/png")).status == 415
    assert (await it.says(word.encode(), to="sip:nobody@xmpp.test")).status == 202
    await it.receives()
    it.phone.answer = lambda request: 404 if word.encode() in request else 200
    it.writes(f"<body>{word}</body><subject>{word}</subject>")
    await it.receives()
    await it.hears()
    it.writes(f"<body>{word * 200}</body>")
    await it.hears()
    it.phone.put(word.encode())
    last = it.request(call_id=f"last.{it.romeo}", content_type="image/png")
    await it.asks(last)
    gateway = it.bridge.gateway
    gateway.wait_for(re.escape(f"last.{it.romeo}"))
    assert "failed" in gateway.printed
    for secret in (word, SECRET, f"{it.romeo}@", "u0@xmpp.test"):
        assert secret not in gateway.printed
    while json.loads(gateway.cli("queue", "list", "--json").stdout):
        pass
    gateway.stop()
    gateway.start()
    gateway.wait_ready()
    for file in (gateway.work / "var").iterdir():
        assert stat.S_IMODE(file.stat().st_mode) & 0o077 == 0, file
        if file.is_file():
            assert word.encode() not in file.read_bytes(), file


@pytest.mark.requirement("SEC-23")
@conversation(on="guarded")
async def test_a_log_record_is_one_bounded_line(it: Talk) -> None:
    odd = f"%.*_+`'~()<>:\\/\"[]?{{}}{it.romeo}"
    for change in ({"call_id": odd}, {"call_id": "y" * 9000}, {"extra": f"X-A: b\rInfo: {it.romeo}\r\n"}, {"uri": "sip:%0a@xmpp.test"},
                   {"content_type": "x/y\x1b[31m"}, {"to": '"\u2028\\\x0b" <sip:u0@xmpp.test>'}):  # fmt: skip
        await it.asks(it.request(**({"content_type": "x/y"} | change)))  # type: ignore[arg-type]
    last = it.request(call_id=f"last.{it.romeo}", content_type="image/png")
    await it.asks(last)
    gateway = it.bridge.gateway
    gateway.wait_for(re.escape(f"last.{it.romeo}"))
    lines = gateway.printed.split("\n")[:-1]
    assert any(json.dumps(odd)[1:-1] in line for line in lines)
    for line in lines:
        assert isinstance(json.loads(line), dict)
        assert re.fullmatch(r"[ -~]{1,2000}", line), line


@pytest.mark.requirement("SEC-45")
def test_a_refused_secret_is_not_said(tmp_path: Path) -> None:
    server = Prosody(tmp_path / "server", components={SIP_DOMAIN: "another"})
    gateway = Stoxgate(tmp_path / "gateway", component_port=server.component_port, secret="correct-horse")
    with server:
        gateway.start()
        try:
            gateway.wait_for("component link is down")
            assert "refuses the component secret" in gateway.printed
            assert "correct-horse" not in gateway.printed
            assert "correct-horse" not in str(gateway.cli("check").stdout)
        finally:
            gateway.kill()
