"""Pictures from SIP through the HTTP upload service of a real Prosody: they arrive as links, and behind the link are the same octets."""

from __future__ import annotations

import asyncio
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import partial
from hashlib import sha256
from pathlib import Path

import aiohttp
import pytest

from tests.bridge import Bridge, bridge
from tests.peers.ejabberd import Ejabberd
from tests.peers.prosody import Prosody

pytestmark = pytest.mark.interop
SERVICE, MOST = "upload.xmpp.test", 20_000
OOB = "{jabber:x:oob}"
PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4
MIXED = (
    b"--b\r\nContent-Type: text/plain\r\n\r\nlook\r\n--b\r\nContent-Type: image/png\r\n"
    b"Content-Disposition: attachment; filename*=UTF-8''tr%C3%A8s-cool.png\r\n\r\n" + PICTURE + b"\r\n--b--\r\n"
)
CPIM = b"From: <im:s0@stoxgate.test>\r\nTo: <im:u0@xmpp.test>\r\n\r\nContent-Type: image/png; name=a.png\r\n\r\n" + PICTURE


def with_uploads(work: Path, server: type[Prosody | Ejabberd]) -> AbstractContextManager[Bridge]:
    return bridge(work, server=partial(server, uploads=SERVICE), transport="tcp", sections={"xmpp": f'upload = "{SERVICE}"'})


@pytest.fixture(scope="module", params=[Prosody, Ejabberd], ids=["prosody", "ejabberd"])
def it(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    with with_uploads(tmp_path_factory.mktemp("upload"), request.param) as whole:
        yield whole


async def got(url: str) -> tuple[str, str]:
    """What is behind a link: its type, and the digest of its octets."""
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        assert response.status == 200
        return response.content_type, sha256(await response.read()).hexdigest()


async def shown(it: Bridge, body: bytes, content_type: str, extra: str = "") -> ET.Element:
    async with it.phone() as romeo, it.user("u0") as juliet:
        sent = await romeo.request(it.sip_of("u0"), it.phone_uri("s0"), body, content_type, extra)
        assert sent.status == 202, sent.response
        return ET.fromstring(await juliet.message())


@pytest.mark.requirement("IMSG-20")
@pytest.mark.parametrize(
    ("body", "content_type", "text", "name"),
    [
        (PICTURE, "image/png", "", "file.png"),
        (MIXED, "multipart/mixed;boundary=b", "look\n", "tr%c3%a8s-cool.png"),
        (CPIM, "message/cpim", "", "a.png"),
    ],
    ids=["bare", "mixed", "cpim"],
)
def test_a_picture_arrives_as_a_link_to_the_same_octets(it: Bridge, body: bytes, content_type: str, text: str, name: str) -> None:
    async def talk() -> None:
        stanza = await shown(it, body, content_type)
        url = stanza.findtext(f"{OOB}x/{OOB}url") or ""
        assert (stanza.findtext("body"), url.lower().rpartition("/")[2]) == (text + url, name)
        assert await got(url) == ("image/png", sha256(PICTURE).hexdigest())

    asyncio.run(talk())


def test_what_comes_behind_a_picture_arrives_behind_it(it: Bridge) -> None:
    async def talk() -> None:
        async with it.phone() as romeo, it.user("u0") as juliet:
            for body, content_type in ((b"one", "text/plain"), (PICTURE, "image/png"), (b"two", "text/plain"), (b"three", "text/plain")):
                assert (await romeo.request(it.sip_of("u0"), it.phone_uri("s0"), body, content_type)).status == 202
            bodies = [ET.fromstring(await juliet.message()).findtext("body") or "" for _ in range(4)]
            assert [body if len(body) < 9 else "link" for body in bodies] == ["one", "link", "two", "three"]

    asyncio.run(talk())


def test_the_sender_is_told_that_the_service_takes_no_such_size(it: Bridge) -> None:
    async def talk() -> None:
        async with it.phone() as romeo, it.user("u0") as juliet:
            sent = await romeo.request(it.sip_of("u0"), it.phone_uri("s0"), bytes(MOST + 1), "image/png")
            assert sent.status == 202
            report = (await romeo.requests.next()).data
            assert b"takes no file over 20000 octets" in report
            assert (await romeo.request(it.sip_of("u0"), it.phone_uri("s0"), b"after", "text/plain")).status == 202
            assert b"<body>after</body>" in await juliet.message()

    asyncio.run(talk())


@pytest.mark.requirement("REL-08")
def test_a_picture_that_waits_survives_a_kill(tmp_path: Path) -> None:
    async def send(it: Bridge) -> None:
        async with it.phone() as romeo:
            assert (await romeo.request(it.sip_of("u0"), it.phone_uri("s0"), PICTURE, "image/png")).status == 202

    async def receive(it: Bridge) -> None:
        async with it.user("u0") as juliet:
            it.gateway.start()
            url = ET.fromstring(await juliet.message()).findtext("body") or ""
            assert await got(url) == ("image/png", sha256(PICTURE).hexdigest())

    with with_uploads(tmp_path, Prosody) as whole:
        whole.server.stop()
        asyncio.run(send(whole))
        whole.gateway.kill()
        whole.server.start()
        whole.server.wait_ready()
        asyncio.run(receive(whole))


@pytest.mark.requirement("IMSG-21")
def test_without_a_service_it_is_415(tmp_path: Path) -> None:
    async def talk(it: Bridge) -> None:
        async with it.phone() as romeo:
            sent = await romeo.request(it.sip_of("u0"), it.phone_uri("s0"), PICTURE, "image/png")
            assert sent.status == 415
            assert b"\r\nAccept: text/plain, " in (sent.response or b"")
            assert b"*/*" not in (sent.response or b"")

    with bridge(tmp_path) as whole:
        asyncio.run(talk(whole))
