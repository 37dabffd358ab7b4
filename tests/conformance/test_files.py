"""A picture that cannot be uploaded holds back whoever sent it and nobody else, beside an upload service that does what a test tells it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from xml.etree.ElementTree import Element, fromstring

import pytest

from tests.bridge import Bridge, bridge
from tests.peers.prosody import Prosody
from tests.peers.stoxgate import SECRET
from tests.peers.wire import SipEnd, XmppEnd, component
from tests.xmpp.test_upload import web

SERVICE, UPLOAD = "upload.xmpp.test", "urn:xmpp:http:upload:0"
STANZAS = "urn:ietf:params:xml:ns:xmpp-stanzas"
PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(64)


def _server(work: Path, *, users: Mapping[str, str], components: Mapping[str, str]) -> Prosody:
    return Prosody(work, users=users, components={**components, SERVICE: SECRET})


@pytest.fixture(scope="module")
def it(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    with bridge(tmp_path_factory.mktemp("files"), server=_server, transport="tcp", sections={"xmpp": f'upload = "{SERVICE}"'}) as whole:
        yield whole


@asynccontextmanager
async def three(it: Bridge) -> AsyncIterator[tuple[SipEnd, XmppEnd, XmppEnd]]:
    """The phone of all SIP users, somebody whom they write to, and the upload service."""
    async with component(it.server.component_port, SERVICE, SECRET) as service, it.phone() as phone, it.user("u0") as juliet:
        yield phone, juliet, service


async def send(it: Bridge, phone: SipEnd, sender: str, body: bytes, content_type: str = "text/plain", extra: str = "") -> None:
    assert (await phone.request(it.sip_of("u0"), it.phone_uri(sender), body, content_type, extra)).status == 202


async def asked(service: XmppEnd) -> Element:
    return fromstring(await service.stanzas.next(where=lambda stanza: UPLOAD.encode() in stanza))


def answer(service: XmppEnd, question: Element, kind: str, content: str) -> None:
    ends = f"id='{question.get('id')}' from='{SERVICE}' to='{question.get('from')}'"
    service.send(f"<iq type='{kind}' {ends}>{content}</iq>".encode())


def refuse(service: XmppEnd, question: Element, kind: str, condition: str) -> None:
    answer(service, question, "error", f"<error type='{kind}'><{condition} xmlns='{STANZAS}'/></error>")


async def try_now(it: Bridge, sender: str) -> None:
    """As an operator does: what waits for another try need not wait for it."""
    rows = json.loads((await asyncio.to_thread(it.gateway.cli, "queue", "list", "--json")).stdout)
    seqs = [row["seq"] for row in rows if row["lane"].endswith(f" {sender}@stoxgate.test")]
    assert len(seqs) == 2, rows
    assert (await asyncio.to_thread(it.gateway.cli, "queue", "retry", str(seqs[0]))).returncode == 0


async def body_of_next(juliet: XmppEnd) -> str:
    return fromstring(await juliet.message()).findtext("body") or ""


async def stuck(it: Bridge, ends: tuple[SipEnd, XmppEnd, XmppEnd], mallory: str, condition: str) -> Element:
    """A picture that has to wait, a text behind it, and texts of somebody else, which arrive. Returns the next question."""
    phone, juliet, service = ends
    await send(it, phone, mallory, PICTURE, "image/png")
    first = await asked(service)
    await send(it, phone, mallory, b"behind the picture")
    await send(it, phone, "alice", b"while it is asked for")
    assert await body_of_next(juliet) == "while it is asked for"
    refuse(service, first, "wait", condition)
    it.gateway.wait_for(f'"reason": "The upload service says {condition}"')
    await send(it, phone, "alice", b"while it waits")
    assert await body_of_next(juliet) == "while it waits"
    await try_now(it, mallory)
    return await asked(service)


@pytest.mark.requirement("REL-16", "REL-17")
def test_a_text_passes_the_picture_of_another_and_none_that_of_its_own_sender(it: Bridge) -> None:
    async def talk() -> None:
        async with three(it) as (phone, juliet, service), web() as http:
            question = await stuck(it, (phone, juliet, service), "s1", "resource-constraint")
            urls = f"<put url='{http.url}/a'/><get url='{http.url}/a'/>"
            answer(service, question, "result", f"<slot xmlns='{UPLOAD}'>{urls}</slot>")
            assert [await body_of_next(juliet) for _ in range(2)] == [f"{http.url}/a", "behind the picture"]

    asyncio.run(talk())


@pytest.mark.requirement("REL-16", "REL-17")
def test_when_the_picture_fails_its_sender_is_told_and_his_text_goes_on(it: Bridge) -> None:
    async def talk() -> None:
        async with three(it) as (phone, juliet, service):
            question = await stuck(it, (phone, juliet, service), "s2", "remote-server-timeout")
            await send(it, phone, "alice", b"once more")
            assert await body_of_next(juliet) == "once more"
            refuse(service, question, "modify", "not-acceptable")
            assert await body_of_next(juliet) == "behind the picture"
            told = (await phone.requests.next()).data
            assert told.startswith(b"MESSAGE sip:s2@stoxgate.test ")
            assert b"not-acceptable" in told

    asyncio.run(talk())


@pytest.mark.requirement("REL-16")
def test_of_those_who_hide_who_they_are_none_waits_for_another(it: Bridge) -> None:
    async def talk() -> None:
        async with three(it) as (phone, juliet, service):
            await send(it, phone, "s3", PICTURE, "image/png", "Privacy: id\r\n")
            question = await asked(service)
            await send(it, phone, "s3", b"behind the picture", extra="Privacy: id\r\n")
            await send(it, phone, "alice", b"of another", extra="Privacy: id\r\n")
            assert await body_of_next(juliet) == "of another"
            refuse(service, question, "modify", "not-acceptable")
            assert await body_of_next(juliet) == "behind the picture"

    asyncio.run(talk())
