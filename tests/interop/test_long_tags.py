"""Servers whose expat looks at a part of a tag again only when as much again has come: no long tag of ours may stand in them."""

from __future__ import annotations

import asyncio
import xml.etree.ElementTree as ET
from collections.abc import Iterator

import pytest

from tests.bridge import Bridge, bridge
from tests.peers.ejabberd import Ejabberd
from tests.peers.prosody import Prosody

pytestmark = pytest.mark.interop
LENGTHS = (1500, 2600, 9000, 30_000)


@pytest.fixture(scope="module", params=[Prosody, Ejabberd], ids=["prosody", "ejabberd"])
def it(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    with bridge(tmp_path_factory.mktemp("long-tags"), server=request.param) as whole:
        yield whole


@pytest.mark.requirement("REL-16", "QOS-01")
@pytest.mark.parametrize("length", LENGTHS)
def test_a_long_id_from_sip_arrives_and_holds_up_nobody(it: Bridge, length: int) -> None:
    identifier = "m" * length
    body = f"NS: imdn <urn:ietf:params:imdn>\r\nimdn.Message-ID: {identifier}\r\n\r\nContent-Type: text/plain\r\n\r\nlong".encode()

    async def talk() -> tuple[ET.Element, ET.Element]:
        async with it.phone() as romeo, it.user("u0") as juliet, it.user("u1") as mira:
            assert (await romeo.request(it.sip_of("u0"), it.phone_uri("s0"), body, "message/cpim")).status == 202
            first = ET.fromstring(await juliet.message())
            assert (await romeo.request(it.sip_of("u1"), it.phone_uri("s0"), b"next")).status == 202
            return first, ET.fromstring(await mira.message())

    first, following = asyncio.run(talk())
    assert (first.get("id"), first.findtext("body")) == (identifier, "long")
    assert following.findtext("body") == "next"


@pytest.mark.requirement("REL-16", "QOS-01")
@pytest.mark.parametrize("length", LENGTHS)
def test_an_answer_that_repeats_a_long_id_holds_up_nobody(it: Bridge, length: int) -> None:
    async def talk() -> tuple[ET.Element, ET.Element]:
        async with it.phone() as romeo, it.user("u0") as juliet, it.user("u1") as mira:
            stanza = f"<message to='s0@stoxgate.test' type='groupchat' id='{'g' * length}'><body>x</body></message>"
            juliet.send(stanza.encode() + b" " * len(stanza))  # or it would stand in the server on its way to us
            refused = ET.fromstring(await juliet.message())
            assert (await romeo.request(it.sip_of("u1"), it.phone_uri("s0"), b"next")).status == 202
            return refused, ET.fromstring(await mira.message())

    refused, following = asyncio.run(talk())
    assert (refused.get("type"), len(refused.get("id", ""))) == ("error", length)
    assert following.findtext("body") == "next"
