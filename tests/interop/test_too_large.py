"""A user whose stanza the server writes at many times its length: he is told, and what others write goes on crossing the same link."""

from __future__ import annotations

import asyncio
import xml.etree.ElementTree as ET
from collections.abc import Iterator

import pytest

from tests.bridge import Bridge, bridge

pytestmark = pytest.mark.interop
NAMESPACE = b"xmlns:n='urn:" + b"n" * 2000 + b"'"
# Prosody writes a namespace again with each element and attribute that is in it: of 29 KB 9 MB, of 12 KB 2 MB.
AMPLIFIED = {
    "elements": b" " + NAMESPACE + b"><x xmlns='urn:x'>" + b"<n:a/>" * 4500 + b"</x>",
    "attributes": b" " + NAMESPACE + b"".join(b" n:a%d=''" % number for number in range(1000)) + b">",
}
# Its expat does not look at an unfinished tag again before there is twice as much.
MORE = b" " * 65_536


@pytest.fixture(scope="module")
def it(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    with bridge(tmp_path_factory.mktemp("too-large")) as whole:
        yield whole


@pytest.mark.requirement("SEC-35", "ERR-04")
@pytest.mark.parametrize("content", AMPLIFIED.values(), ids=AMPLIFIED)
def test_an_amplified_stanza_is_refused_and_all_others_cross(it: Bridge, content: bytes) -> None:
    async def talk() -> tuple[ET.Element, list[bytes], list[bytes]]:
        async with it.phone() as romeo, it.user("u0") as mira, it.user("u1") as juliet:
            to_sip, to_xmpp = [], []
            for number in range(3):
                mira.send(b"<message to='s0@stoxgate.test' id='large'" + content + b"<body>x</body></message>" + MORE)
                juliet.send(b"<message to='s0@stoxgate.test'><body>%d</body></message>" % number)
                sent = await romeo.request(it.sip_of("u1"), it.phone_uri("s0"), b"%d" % number)
                assert sent.status == 202
                to_sip.append((await romeo.requests.next()).body)
                to_xmpp.append(await juliet.message())
            errors = [ET.fromstring(await mira.message()) for _ in range(3)]
            return errors[-1], to_sip, to_xmpp

    error, to_sip, to_xmpp = asyncio.run(talk())
    assert (error.get("type"), error.get("id"), error.get("from")) == ("error", "large", "s0@stoxgate.test")
    assert error.find("error/{urn:ietf:params:xml:ns:xmpp-stanzas}policy-violation") is not None
    assert to_sip == [b"0", b"1", b"2"]
    assert [ET.fromstring(stanza).findtext("body") for stanza in to_xmpp] == ["0", "1", "2"]
    assert it.gateway.printed.count('"component link is up"') == 1
    assert "stream ended" not in it.gateway.printed
