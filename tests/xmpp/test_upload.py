"""Uploads over a real component link, to an HTTP server of the tests' own that does what a test tells it (XEP-0363)."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree.ElementTree import Element

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from structlog.testing import capture_logs

from gateway.core.files import File
from gateway.core.outcome import DELIVERED, LOST, Verdict
from gateway.core.ports import Parcel
from gateway.xmpp import component, upload
from gateway.xmpp.component import ComponentLink
from gateway.xmpp.slots import UPLOAD, Upload
from tests.xmpp.lonely import DOMAIN, NS, Peer, Relay, Sent, deliver, lonely, soon

SERVICE, ROMEO = "upload.xmpp.example", f"romeo@{DOMAIN}"
PICTURE = File("a b.png", "image/png", bytes(range(256)))
CREATED = b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(component, "_FIRST_RETRY_SECONDS", 0.01)


@pytest.fixture
def logged() -> Iterator[list[dict[str, object]]]:
    with capture_logs() as lines:
        yield lines  # type: ignore[misc]


class Web:
    """An HTTP server: answers each request with `answer`, or never where that is empty. seen: (head, body) of each."""

    def __init__(self) -> None:
        self.answer = CREATED
        self.seen: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = next((int(line.split(":")[1]) for line in head.split("\r\n") if line.lower().startswith("content-length:")), 0)
                self.seen.put_nowait((head, await reader.readexactly(length)))
                writer.write(self.answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


@asynccontextmanager
async def web(tls: ssl.SSLContext | None = None) -> AsyncIterator[Web]:
    it = Web()
    server = await asyncio.start_server(it.serve, "127.0.0.1", 0, ssl=tls)
    it.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.sockets[0].getsockname()[1]}/slot"
    try:
        yield it
    finally:
        server.close()


@asynccontextmanager
async def service(*, tls: ssl.SSLContext | None = None) -> AsyncIterator[tuple[ComponentLink, Relay, Callable[[], Awaitable[Peer]], Web]]:
    """A link that is up to a server that has an upload service; `peer()` is the server's end of the next connection."""
    async with web(tls) as it, lonely(upload=SERVICE) as (link, relay, server):

        async def peer() -> Peer:
            end = await server.peer()
            await end.accept()
            await relay.up()
            return end

        try:
            yield link, relay, peer, it
        finally:
            await link._uploads._http.close()


def stanza(number: int, urls: Sequence[str]) -> bytes:
    return f"<message from='{ROMEO}' to='mira@xmpp.example' id='{number}'><body>{' '.join(urls)}</body></message>".encode()


def send(link: ComponentLink, seq: int, *files: File) -> Sent:
    it = Upload(ROMEO, files or (PICTURE,), lambda urls: stanza(seq, urls))
    sent = Sent(seq, Parcel("lane", DOMAIN, it, False, ((str(seq), ROMEO, "mira@xmpp.example"),), slow=True))
    link.deliver(sent)
    return sent


async def asked(peer: Peer) -> Element:
    """The next question for a slot."""
    iq = await peer.next()
    assert (iq.tag, iq.get("from"), iq.get("to"), iq.get("type")) == (f"{NS}iq", ROMEO, SERVICE, "get")
    assert [each.tag for each in iq] == [f"{{{UPLOAD}}}request"]
    return iq


def give(peer: Peer, iq: Element, url: str, name: str = "a", *, author: str = SERVICE, to: str = ROMEO) -> None:
    peer.write(
        f"<iq type='result' from='{author}' to='{to}' id='{iq.get('id')}'><slot xmlns='{UPLOAD}'><put url='{url}/{name}?put'>"
        f"<header name='Authorization'>Bearer t</header><header name='X-Other'>no</header></put><get url='{url}/{name}'/></slot></iq>"
    )


async def body_of_next(peer: Peer) -> str:
    """The body of the next stanza, which is a message; the fence behind it goes back."""
    message = await peer.next()
    assert message.tag == f"{NS}message", message.attrib
    peer.send_back(await peer.next())
    return message.findtext(f"{NS}body") or ""


async def ended(sent: Sent) -> tuple[Verdict, int]:
    outcome = await soon(sent.outcome)
    return outcome.verdict, outcome.status


# -- the way of a file -------------------------------------------------------------------------------------------------
def test_a_file_is_put_into_its_slot_and_then_the_message_is_written() -> None:
    async def talk() -> None:
        async with service() as (link, _, peer, it):
            end = await peer()
            sent = send(link, 1)
            iq = await asked(end)
            assert iq[0].attrib == {"filename": "a b.png", "size": "256", "content-type": "image/png"}
            give(end, iq, it.url)
            head, body = await soon(it.seen.get())
            assert body == PICTURE.octets
            request, *lines = head.strip().split("\r\n")
            fields = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
            assert request == "PUT /slot/a?put HTTP/1.1"
            assert (fields["content-type"], fields["content-length"], fields["authorization"]) == ("image/png", "256", "Bearer t")
            assert "x-other" not in fields
            assert await body_of_next(end) == f"{it.url}/a"
            assert await soon(sent.outcome) == DELIVERED

    asyncio.run(talk())


def test_a_message_with_two_files_is_written_when_both_are_there() -> None:
    async def talk() -> None:
        async with service() as (link, _, peer, it):
            end = await peer()
            sent = send(link, 1, PICTURE, File("c", "a/b", b"2"))
            give(end, await asked(end), it.url, "1")
            give(end, await asked(end), it.url, "2")
            assert await body_of_next(end) == f"{it.url}/1 {it.url}/2"
            assert await soon(sent.outcome) == DELIVERED
            assert [(await soon(it.seen.get()))[1] for _ in range(2)] == [PICTURE.octets, b"2"]

    asyncio.run(talk())


@pytest.mark.parametrize(
    ("answer", "ends"),
    [
        (b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", (Verdict.LATER, 503)),
        (b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n", (Verdict.LATER, 503)),
        (b"HTTP/1.1 307 There\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n", (Verdict.LATER, 503)),
        (b"HTTP/1.1 413 Big\r\nContent-Length: 0\r\n\r\n", (Verdict.FAILED, 413)),
        (b"no http at all\r\n\r\n", (Verdict.LATER, 503)),
        (b"", (Verdict.LATER, 408)),
    ],
    ids=["500", "403", "redirect", "413", "garbage", "silence"],
)
def test_without_the_whole_file_nothing_is_written(answer: bytes, ends: tuple[Verdict, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "PUT_SECONDS", 0.3)

    async def talk() -> None:
        async with service() as (link, _, peer, it):
            end, it.answer = await peer(), answer
            sent = send(link, 1, PICTURE, PICTURE)
            give(end, await asked(end), it.url)
            assert await ended(sent) == ends
            deliver(link, 2, "next")
            assert await body_of_next(end) == "next"
            assert it.seen.qsize() == 1

    asyncio.run(talk())


def test_the_service_refuses_and_the_operator_is_told_what_to_do(logged: list[dict[str, object]]) -> None:
    async def talk() -> None:
        async with service() as (link, _, peer, it):
            end = await peer()
            sent = send(link, 1)
            iq = await asked(end)
            end.write(
                f"<iq type='error' from='{SERVICE}' to='{ROMEO}' id='{iq.get('id')}'><error type='auth'>"
                "<forbidden xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>"
            )
            assert await ended(sent) == (Verdict.FAILED, 403)
            assert it.seen.empty()

    asyncio.run(talk())
    (said,) = [line for line in logged if line["event"] == "the upload service refuses the gateway"]
    assert said["service"] == SERVICE
    assert "http_file_share_access" in str(said["hint"])


def test_nobody_is_there_for_http() -> None:
    async def talk() -> None:
        async with service() as (link, _, peer, _):
            end = await peer()
            sent = send(link, 1)
            give(end, await asked(end), "http://127.0.0.1:1")
            assert await ended(sent) == (Verdict.LATER, 503)

    asyncio.run(talk())


def test_a_certificate_of_nobody_gets_no_file(tmp_path: Path) -> None:
    async def talk() -> None:
        async with service(tls=_self_signed(tmp_path)) as (link, _, peer, it):
            end = await peer()
            sent = send(link, 1)
            give(end, await asked(end), it.url)
            outcome = await soon(sent.outcome)
            assert (outcome.verdict, "certificate" in outcome.reason) == (Verdict.LATER, True)
            assert it.seen.empty()

    asyncio.run(talk())


# -- who answers, and when ---------------------------------------------------------------------------------------------
@pytest.mark.requirement("SEC-43")
def test_only_the_service_gives_slots() -> None:
    async def talk() -> None:
        async with service() as (link, _, peer, it):
            end = await peer()
            sent = send(link, 1)
            iq = await asked(end)
            give(end, iq, it.url, "forged", author="mira@xmpp.example")
            give(end, iq, it.url, "forged", to=f"tomas@{DOMAIN}")
            give(end, iq, it.url, "true")
            assert await body_of_next(end) == f"{it.url}/true"
            assert await soon(sent.outcome) == DELIVERED

    asyncio.run(talk())


def test_a_service_that_is_silent_is_asked_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "SLOT_SECONDS", 0.05)

    async def talk() -> None:
        async with service() as (link, _, peer, it):
            end = await peer()
            sent = send(link, 1)
            late = await asked(end)
            assert await ended(sent) == (Verdict.LATER, 408)
            give(end, late, it.url)
            monkeypatch.setattr(upload, "SLOT_SECONDS", 10.0)
            again = send(link, 1)
            iq = await asked(end)
            assert iq.get("id") != late.get("id")
            give(end, iq, it.url, "2")
            assert await body_of_next(end) == f"{it.url}/2"
            assert await soon(again.outcome) == DELIVERED

    asyncio.run(talk())


def test_what_cannot_be_uploaded_for_long_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "TRYING_SECONDS", 1e-9)

    async def talk() -> None:
        async with service() as (link, _, peer, it):
            end, it.answer = await peer(), b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"
            for verdict in (Verdict.LATER, Verdict.FAILED):
                sent = send(link, 1)
                give(end, await asked(end), it.url)
                assert await ended(sent) == (verdict, 503)

    asyncio.run(talk())


def test_so_many_at_once_and_the_others_wait() -> None:
    async def talk() -> None:
        async with service() as (link, _, peer, it):
            end = await peer()
            for seq in range(upload.MOST_AT_ONCE + 1):
                send(link, seq)
            questions = [await asked(end) for _ in range(upload.MOST_AT_ONCE)]
            deliver(link, 99, "no question")
            assert await body_of_next(end) == "no question"
            give(end, questions[0], it.url)
            assert {(await end.next()).tag for _ in range(2)} == {f"{NS}iq", f"{NS}message"}

    asyncio.run(talk())


# -- a link that is lost -----------------------------------------------------------------------------------------------
def test_a_lost_link_ends_what_has_begun_and_the_same_urls_serve_again() -> None:
    async def talk() -> None:
        async with service() as (link, _, peer, it):
            end = await peer()
            asking, written = send(link, 1), send(link, 2)
            await asked(end)
            give(end, await asked(end), it.url, "2")
            assert (await end.next()).get("id") == "2"
            end.close()
            assert await soon(asking.outcome) == LOST
            assert await soon(written.outcome) == LOST
            end = await peer()
            again = send(link, 2)
            assert await body_of_next(end) == f"{it.url}/2"
            assert await soon(again.outcome) == DELIVERED
            send(link, 1)
            await asked(end)
            assert it.seen.qsize() == 1

    asyncio.run(talk())


def test_where_there_is_no_room_any_more_it_goes_again_with_the_same_urls() -> None:
    async def talk() -> None:
        async with service() as (link, _, peer, it):
            end = await peer()
            sent = send(link, 1)
            iq = await asked(end)
            link.pause_writing()
            give(end, iq, it.url)
            assert await soon(sent.outcome) == LOST
            link.resume_writing()
            again = send(link, 1)
            assert await body_of_next(end) == f"{it.url}/a"
            assert await soon(again.outcome) == DELIVERED
            assert it.seen.qsize() == 1

    asyncio.run(talk())


def test_a_defect_stays_with_its_message(logged: list[dict[str, object]]) -> None:
    async def talk() -> None:
        async with service() as (link, _, peer, it):
            end = await peer()
            broken = Upload(ROMEO, (PICTURE,), lambda urls: stanza(1, urls[9]))
            sent = Sent(1, Parcel("lane", DOMAIN, broken, False, (), slow=True))
            link.deliver(sent)
            give(end, await asked(end), it.url)
            assert (await ended(sent))[0] is Verdict.POISON
            deliver(link, 2, "next")
            assert await body_of_next(end) == "next"

    asyncio.run(talk())
    assert [line["event"] for line in logged if line["log_level"] == "error"] == ["cannot be uploaded"]


def _self_signed(folder: Path) -> ssl.SSLContext:
    key, name, now = ec.generate_private_key(ec.SECP256R1()), x509.Name([]), datetime.now(UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(1), now + timedelta(1)).sign(key, hashes.SHA256())
    pem = made.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "self.pem").write_bytes(pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "self.pem")
    return context
