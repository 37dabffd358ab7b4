"""The Date of a MESSAGE with a signed body, over real sockets (RFC 3428 section 11.4).

The gateway here takes its clock for synchronised, whatever the kernel of this machine says of it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

import pytest

from gateway.core.dates import format_rfc3339, format_sip_date
from tests.bridge import Bridge
from tests.bridge import bridge as start
from tests.conformance.exchange import peer
from tests.conformance.talk import Talk, conversation, counted, rows, status_of
from tests.peers.stoxgate import XMPP_DOMAIN

_WITH_A_TRUE_CLOCK = "import gateway.clock as clock; clock.kernel_doubts = lambda: False; import gateway.cli; gateway.cli.main()"
_PEERS = """
[[peer]]
match = "127.0.0.2/32"
domains = ["stoxgate.test"]
store_and_forward = true
"""
SIGNED = 'multipart/signed; boundary=b1; micalg=sha-256; protocol="application/pkcs7-signature"'
BODY = b"--b1\r\n\r\n%b\r\n--b1\r\nContent-Type: application/pkcs7-signature\r\n\r\n0\r\n--b1--"


@pytest.fixture(scope="module")
def dated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    """A bridge with a peer at 127.0.0.2 that may deliver late; any other loopback address is just trusted."""
    program = (sys.executable, "-c", _WITH_A_TRUE_CLOCK)
    with start(tmp_path_factory.mktemp("dated"), tables=_PEERS, trusted=("127.0.0.0/8",), program=program) as it:
        yield it


def date(off: float) -> str:
    """The Date row of now and some seconds."""
    return f"Date: {format_sip_date(time.time() + off)}\r\n"


@pytest.mark.requirement("MSG-81")
@conversation(on="dated")
async def test_six_minutes_are_too_many_either_way(it: Talk) -> None:
    for off in (-360, 360):
        sent = await it.says(BODY % b"late", SIGNED, date(off))
        assert sent.response.startswith(b"SIP/2.0 400 Incorrect Date or Time\r\n")
    await it.hears_nothing()
    for off in (-240, 240):
        assert (await it.says(BODY % b"in time", SIGNED, date(off))).status == 202
        assert "urn:ietf:params:xml:ns:xmpp-e2e" in await it.hears()
    assert (await it.says(BODY % b"undated", SIGNED)).status == 202
    assert (await it.says(b"never signed", extra=date(-360))).status == 202


@pytest.mark.requirement("MSG-84", "MSG-81")
@conversation(on="dated")
async def test_a_peer_that_stores_and_forwards_may_be_late_and_the_message_says_how_late(it: Talk) -> None:
    written = int(time.time()) - 7200
    request = it.request(body=BODY % b"late", content_type=SIGNED, extra=date(-7200))
    async with peer(it.bridge, "127.0.0.2") as forwarder:
        assert status_of(await it.asks(request, forwarder)) == 202
    stamps = [f"stamp='{format_rfc3339(written + more)}'" for more in (-1, 0, 1)]
    stanza = (await it.hears()).replace('"', "'")
    assert "urn:xmpp:delay" in stanza
    assert any(stamp in stanza for stamp in stamps)
    async with peer(it.bridge, "127.0.0.4") as unknown:
        again = it.request(body=BODY % b"late", content_type=SIGNED, extra=date(-7200))
        assert status_of(await it.asks(again, unknown)) == 400


@pytest.mark.requirement("MSG-82")
@conversation(on="dated")
async def test_the_sixth_stale_message_of_a_source_in_a_minute_meets_silence(it: Talk) -> None:
    async with peer(it.bridge, "127.0.0.3") as source:
        for _ in range(5):
            assert status_of(await it.asks(it.request(body=BODY % b"old", content_type=SIGNED, extra=date(-600)), source)) == 400
        before = counted(it.bridge)["dropped"]
        sixth = it.request(body=BODY % b"old", content_type=SIGNED, extra=date(-600))
        for _ in range(3):
            source.put(sixth)
        # One socket, one order: an answer to it would have come before this one.
        answer = await it.asks(it.request("OPTIONS", uri=f"sip:{XMPP_DOMAIN}"), source)
        assert status_of(answer) == 200
        assert counted(it.bridge)["dropped"] == before + 3
        branch = rows(sixth, "Via")[0].encode()
        assert not [each for each in source.responses.waiting if branch in each]
    async with peer(it.bridge, "127.0.0.5") as other:
        assert status_of(await it.asks(it.request(body=BODY % b"old", content_type=SIGNED, extra=date(-600)), other)) == 400


@pytest.mark.requirement("FRAG-68")
@conversation(on="dated")
async def test_an_answer_to_a_message_has_no_body_so_no_identity_in_it(it: Talk) -> None:
    aib = b"Content-Type: message/sipfrag\r\nContent-Disposition: aib; handling=optional\r\n\r\nFrom: <sip:romeo@stoxgate.test>\r\n"
    answer = await it.asks(it.request(body=BODY.replace(b"\r\n\r\n%b", b"\r\n%b", 1) % aib, content_type=SIGNED))
    assert status_of(answer) == 202
    assert answer.endswith(b"\r\n\r\n")
    assert (rows(answer, "Content-Length"), rows(answer, "Content-Type")) == (["0"], [])


@pytest.mark.requirement("FRAG-67")
@conversation(on="dated")
async def test_an_identity_header_changes_nothing(it: Talk) -> None:
    extra = 'Identity: eyJhbGciOiJFUzI1NiJ9..c2ln;info=<https://cert.example/p.cer>;alg=ES256;ppt="x"\r\nIdentity-Info: <https://cert.example/p>\r\n'
    assert (await it.says(b"with an identity", extra=extra)).status == 202
    assert "with an identity" in await it.hears()
