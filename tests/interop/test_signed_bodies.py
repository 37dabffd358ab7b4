"""Signed and encrypted bodies through real servers: whatever is in them arrives octet for octet, and openssl says of it what it did before.

A body goes four ways, and each time what arrives is compared with what was sent:

    romeo (SIP) -> gateway -> server -> juliet                               what she reads in <e2e/>
    juliet, who writes that text back -> server -> gateway -> romeo          by lxml, as CDATA
    romeo -> gateway -> server -> a component that echoes it -> ... -> romeo  by ElementTree (SMIME-57)
    juliet, in each form that she could have written it -> ... -> romeo
"""

from __future__ import annotations

import asyncio
import re
import xml.etree.ElementTree as ET
from base64 import b64decode, encodebytes
from collections.abc import AsyncIterator, Awaitable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from email import message_from_bytes
from hashlib import sha256
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pytest
from lxml import etree

from tests.bridge import Bridge, bridge
from tests.peers import wire
from tests.peers.ejabberd import Ejabberd
from tests.peers.prosody import Prosody
from tests.peers.stoxgate import SECRET, SIP_DOMAIN, XMPP_DOMAIN
from tests.smime.awkward import BODIES, HIDDEN, Awkward
from tests.smime.openssl import Openssl, Rows, decoded, entity, fields_of

pytestmark = pytest.mark.interop
ECHO = "echo.xmpp.test"
NAMESPACE = "urn:ietf:params:xml:ns:xmpp-e2e"
E2E = f"{{{NAMESPACE}}}e2e"
ENCRYPTED = ("enveloped", "sealed", "opaque-unnamed", "opaque-misnamed")
AT_ONCE, PATIENCE = 48, 10.0
_NOT_CHARACTER = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_LONE_END = re.compile(b"\r(?!\n)|(?<!\r)\n")
_FIELDS = re.compile(rb"^(Content-[A-Za-z-]+): (.*)\r$", re.M | re.I)


@dataclass
class Crossing:
    """What became of one body. Of what did not arrive, None.

    answer: what the gateway said to the SIP user. stanza: what juliet got. back: her answer, as it came to romeo. echoed: what the
    component sent back, likewise. written: form -> what juliet wrote in that form, likewise; of forms that she could not write, nothing.
    """

    answer: bytes = b""
    stanza: bytes | None = None
    back: Arrived | None = None
    echoed: Arrived | None = None
    written: dict[str, Arrived | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Arrived:
    """A body as it arrived, with its MIME header fields."""

    headers: Rows
    body: bytes


@dataclass(frozen=True, slots=True)
class Ends:
    """Who takes part."""

    it: Bridge
    romeo: wire.SipEnd
    juliet: wire.XmppEnd
    echo: wire.XmppEnd


# -- the bodies, and all that happens to them, once for each server ----------------------------------------------------
@pytest.fixture(scope="module")
def openssl(tmp_path_factory: pytest.TempPathFactory) -> Openssl:
    return Openssl(tmp_path_factory.mktemp("openssl"))


@pytest.fixture(scope="module")
def bodies(openssl: Openssl) -> dict[str, Awkward]:
    return {name: make(openssl) for name, make in BODIES.items()}


@pytest.fixture(scope="module", params=[(Prosody, False), (Ejabberd, False), (Prosody, True)], ids=["prosody", "ejabberd", "checked"])
def it(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, openssl: Openssl) -> Iterator[Bridge]:
    peer, checks = request.param

    def server(work: Path, *, components: Mapping[str, str], **given: Any) -> Prosody | Ejabberd:
        made: Prosody | Ejabberd = peer(work, components={**components, ECHO: SECRET}, **given)
        return made

    work, route = tmp_path_factory.mktemp("signed"), '[[route]]\ndomain = "*"\nlarge_messages = true\n'
    sections = {"smime": f'certificates = "{openssl.certificates_file}"\nverdict = true', "limits": 'stale_date = "mark"'}
    given = {"xmpp_domains": (XMPP_DOMAIN, ECHO), "sections": sections if checks else {}}
    with bridge(work, server=server, transport="tcp", tables=route, **given) as whole:
        yield whole


@pytest.fixture(scope="module")
def crossed(it: Bridge, bodies: dict[str, Awkward]) -> dict[str, Crossing]:
    return asyncio.run(_all(it, bodies))


async def _all(it: Bridge, bodies: dict[str, Awkward]) -> dict[str, Crossing]:
    """Every body, every way, several at once."""
    room = asyncio.Semaphore(AT_ONCE)
    crossings = {name: Crossing() for name in bodies}
    async with _ends(it) as ends:
        ways = [way(ends, name, body, crossings[name]) for name, body in bodies.items() for way in (_there_and_back, _echo, _write)]
        await asyncio.gather(*[_within(room, way) for way in ways])
    return crossings


@asynccontextmanager
async def _ends(it: Bridge) -> AsyncIterator[Ends]:
    async with AsyncExitStack() as stack:
        romeo, juliet = await stack.enter_async_context(it.phone()), await stack.enter_async_context(it.user("u0"))
        echo = await stack.enter_async_context(wire.component(it.server.component_port, ECHO, SECRET))
        yield Ends(it, romeo, juliet, echo)


async def _within(room: asyncio.Semaphore, way: Awaitable[None]) -> None:
    async with room:
        # What did not arrive is told by the test of that body.
        with suppress(TimeoutError):
            await way


async def _there_and_back(ends: Ends, name: str, body: Awkward, crossing: Crossing) -> None:
    call_id, crossing.answer = await _sent(ends, name, ends.it.sip_of("u0"), body)
    if not crossing.answer.startswith(b"SIP/2.0 202 "):
        return
    crossing.stanza = await ends.juliet.message(PATIENCE, where=lambda stanza: call_id in stanza)
    text = said(crossing.stanza)
    again = etree.Element("message", to=f"{name}@{SIP_DOMAIN}")
    etree.SubElement(again, "thread").text = f"{name}@back"
    etree.SubElement(again, E2E).text = etree.CDATA(text) if "]]>" not in text else text
    ends.juliet.send(etree.tostring(again, encoding="utf-8"))
    crossing.back = await _arrived(ends, f"{name}@back")


async def _echo(ends: Ends, name: str, body: Awkward, crossing: Crossing) -> None:
    call_id, answer = await _sent(ends, name, f"sip:u0@{ECHO}", body)
    if not answer.startswith(b"SIP/2.0 202 "):
        return
    stanza = ET.fromstring(await ends.echo.message(PATIENCE, where=lambda stanza: call_id in stanza))
    stanza.set("to", stanza.attrib["from"])
    stanza.set("from", f"u0@{ECHO}")
    thread = stanza.find("{*}thread")
    assert thread is not None
    thread.text = f"{name}@echo"
    ends.echo.send(ET.tostring(stanza))
    crossing.echoed = await _arrived(ends, f"{name}@echo")


async def _write(ends: Ends, name: str, body: Awkward, crossing: Crossing) -> None:
    for form, text in written(body).items():
        crossing.written[form] = None
        thread = f"{name}@{form}"
        ends.juliet.send(
            f"<message to='{name}@{SIP_DOMAIN}'><thread>{thread}</thread><e2e xmlns='{NAMESPACE}'>".encode()
            + text + b"</e2e></message>")  # fmt: skip
        crossing.written[form] = await _arrived(ends, thread)


async def _sent(ends: Ends, name: str, to: str, body: Awkward) -> tuple[bytes, bytes]:
    """The Call-ID of a body that romeo sends, and what is answered. name: of the body is his, too, so that none waits for another."""
    [(_, content_type), *rows] = body.headers
    extra = "".join(f"{field}: {value}\r\n" for field, value in rows)
    sent = await ends.romeo.request(to, ends.it.phone_uri(name), body.body, content_type, extra)
    found = re.search(rb"^Call-ID: (\S+)", sent.data, re.M)
    assert found
    return found[1], sent.response


async def _arrived(ends: Ends, call_id: str) -> Arrived:
    request = await ends.romeo.requests.next(PATIENCE, where=lambda request: request.header("Call-ID") == call_id)
    head = request.data.partition(b"\r\n\r\n")[0] + b"\r\n"
    rows = [(name.decode(), value.decode()) for name, value in _FIELDS.findall(head)]
    return Arrived(tuple(row for row in rows if row[0] != "Content-Length"), request.body)


# -- how an XMPP client reads and writes these objects, by RFC 3923 and smime.md section 5 alone -------------------------
def said(stanza: bytes) -> str:
    """The text of the e2e object in a stanza."""
    found = etree.fromstring(stanza).findtext(E2E)
    assert found is not None, stanza
    return str(found)


def read(text: str) -> Arrived:
    """The MIME entity in the text of an e2e object."""
    assert "\r" not in text
    octets = text.replace("\n", "\r\n").encode()
    if not re.match(rb"[!-9;-~]+:", octets):
        octets = b64decode(octets)
    head, _, body = octets.partition(b"\r\n\r\n")
    return Arrived(tuple((name, str(value)) for name, value in message_from_bytes(head + b"\r\n\r\n").items()), body)


def is_clean(octets: bytes) -> bool:
    """Whether XML text can carry it without loss, as long as line ends are only CRLF."""
    try:
        return not _NOT_CHARACTER.search(octets.decode()) and not _LONE_END.search(octets)
    except UnicodeDecodeError:
        return False


def written(body: Awkward) -> dict[str, bytes]:
    """The content of the e2e element, as XML, in each form that can hold this body."""
    octets = entity(body.headers, body.body)
    forms = {"base64": encodebytes(octets)}
    if is_clean(octets):
        text = octets.replace(b"\r\n", b"\n")
        forms["text"] = escape(text.decode()).encode()
        forms["cdata"] = b"<![CDATA[\n" + text.replace(b"]]>", b"]]]]><![CDATA[>") + b"]]>"
        forms["references"] = escape(octets.decode()).replace("\r", "&#13;").encode()
    if body.blob and body.blob.startswith(b"\x30"):
        forms["cms"] = encodebytes(body.blob)
    return forms


def same(arrived: Arrived | None, body: Awkward) -> Arrived:
    """It is the same body, with header fields that say the same."""
    assert arrived is not None, "did not arrive"
    assert digest(arrived.body) == digest(body.body)
    assert fields_of(arrived.headers) == fields_of(body.headers)
    return arrived


def same_object(arrived: Arrived | None, body: Awkward) -> Arrived:
    """It is the same body, but that a CMS object may be encoded otherwise, and say so (SMIME-32)."""
    if arrived is None or body.blob is None or arrived.body == body.body:
        return same(arrived, body)
    assert digest(object_in(arrived)) == digest(body.blob)
    assert without_encoding(arrived.headers) == without_encoding(body.headers)
    return arrived


def object_in(arrived: Arrived) -> bytes:
    return decoded(message_from_bytes(entity(arrived.headers, b"")), arrived.body)


def without_encoding(headers: Rows) -> dict[str, object]:
    return {name: value for name, value in fields_of(headers).items() if name != "content-transfer-encoding"}


def digest(octets: bytes) -> str:
    return sha256(octets).hexdigest()


# -- the tests ---------------------------------------------------------------------------------------------------------
def test_openssl_says_of_each_body_what_is_expected(openssl: Openssl, bodies: dict[str, Awkward]) -> None:
    found = {name: openssl.verified(body.headers, body.body) for name, body in bodies.items()}
    assert found == {name: body.signed for name, body in bodies.items()}
    assert sum(signed is not None for signed in found.values()) >= 40


@pytest.mark.requirement("SMIME-30", "SMIME-71", "E2E-02")
@pytest.mark.parametrize("name", BODIES)
def test_the_xmpp_user_reads_the_octets_that_were_sent(crossed: dict[str, Crossing], bodies: dict[str, Awkward], name: str) -> None:
    crossing = crossed[name]
    assert crossing.answer.startswith(b"SIP/2.0 202 "), crossing.answer
    assert crossing.stanza is not None, "did not arrive"
    same_object(read(said(crossing.stanza)), bodies[name])


@pytest.mark.requirement("SMIME-36")
@pytest.mark.parametrize("name", [name for name in BODIES if any(word in name for word in ENCRYPTED)])
def test_nothing_beside_it_says_what_is_in_an_encrypted_body(crossed: dict[str, Crossing], bodies: dict[str, Awkward], name: str) -> None:
    stanza = crossed[name].stanza
    assert stanza is not None, "did not arrive"
    assert HIDDEN not in stanza
    assert HIDDEN[:20] not in stanza
    assert etree.fromstring(stanza).findtext("{*}body")


def test_what_was_found_is_told_where_signatures_are_checked(it: Bridge, crossed: dict[str, Crossing], bodies: dict[str, Awkward]) -> None:
    """Each body comes from somebody of its own, so that all were signed by somebody else."""
    found = {name: etree.fromstring(crossing.stanza or b"<none/>").find("{*}verdict") for name, crossing in crossed.items()}
    if "[smime]" not in it.gateway.config.read_text():
        assert set(found.values()) == {None}
        return
    told = {name: verdict.get("status") for name, verdict in found.items() if verdict is not None}
    assert [*told] == [*bodies]
    assert {told[name] for name, body in bodies.items() if body.signed is not None} == {"wrong-identity", "malformed", "invalid"}
    assert "valid" not in told.values()


@pytest.mark.requirement("SMIME-51", "SMIME-54", "E2E-03")
@pytest.mark.parametrize("name", BODIES)
def test_it_comes_back_as_it_was(crossed: dict[str, Crossing], bodies: dict[str, Awkward], openssl: Openssl, name: str) -> None:
    arrived = same(crossed[name].back, bodies[name])
    assert openssl.verified(arrived.headers, arrived.body) == bodies[name].signed


@pytest.mark.requirement("SMIME-57", "SMIME-10", "SMIME-31")
@pytest.mark.parametrize("name", BODIES)
def test_a_component_that_echoes_it_changes_nothing(
    crossed: dict[str, Crossing], bodies: dict[str, Awkward], openssl: Openssl, name: str
) -> None:
    arrived = same(crossed[name].echoed, bodies[name])
    assert openssl.verified(arrived.headers, arrived.body) == bodies[name].signed


@pytest.mark.requirement("SMIME-53", "E2E-01", "E2E-06")
@pytest.mark.parametrize("name", BODIES)
def test_what_an_xmpp_user_writes_in_any_form_arrives(
    crossed: dict[str, Crossing], bodies: dict[str, Awkward], openssl: Openssl, name: str
) -> None:
    found = crossed[name].written
    assert [*found] == [*written(bodies[name])]
    for form, arrived in found.items():
        assert arrived is not None, f"{form} did not arrive"
        if form == "cms":
            assert fields_of(arrived.headers)["content-type"]
            assert digest(object_in(arrived)) == digest(bodies[name].blob or b"")
        else:
            same(arrived, bodies[name])
        assert openssl.verified(arrived.headers, arrived.body) == bodies[name].signed


@pytest.mark.requirement("SMIME-56")
def test_a_body_is_refused_only_where_there_is_no_room_for_it(it: Bridge) -> None:
    """A SIP message has 64 KiB, a stanza 256 KiB (SEC-35)."""

    async def talk() -> None:
        async with _ends(it) as ends:
            answers = []
            for octets in (64_000, 300_000):
                crossing = Crossing()
                answers.append(crossing)
                await _there_and_back(ends, f"large-{octets}", signed(octets), crossing)
            assert [answer.answer.split(b" ", 2)[1] for answer in answers] == [b"202", b"413"]
            same(answers[0].back, signed(64_000))
            await _write(ends, "long", signed(180_000), answers[0])
            same(answers[0].written["base64"], signed(180_000))

    def signed(octets: int) -> Awkward:
        return Awkward((("Content-Type", "multipart/signed; boundary=b7"),), b"--b7\r\n\r\n" + bytes(octets))

    asyncio.run(talk())


def test_no_server_keeps_a_cr(it: Bridge) -> None:
    """Why no CR is in what the gateway writes (E2E-13): as a reference it gets as far as the server, which writes it plainly."""

    async def talk() -> bytes:
        async with it.user("u0") as juliet, it.user("u1") as mira:
            text = b"a&#13;&#10;b&#xD;c\r\nd<![CDATA[\r&#13;<]]>\xc2\x85\xe2\x80\xa8\xef\xbb\xbf\x7f"
            juliet.send(b"<message to='u1@xmpp.test'><body>" + text + b"</body></message>")
            return await mira.message()

    stanza = asyncio.run(talk())
    assert b"<body>a\r\nb\rc\nd\n&amp;#13;&lt;\xc2\x85\xe2\x80\xa8\xef\xbb\xbf\x7f</body>" in stanza
    assert etree.fromstring(stanza).findtext("{*}body") == "a\nb\nc\nd\n&#13;<\x85\u2028\ufeff\x7f"
