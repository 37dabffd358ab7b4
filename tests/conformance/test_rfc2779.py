"""MSG-07: what RFC 2779 asks of instant messages, one acceptance test for each of its numbers that a text bridge has to meet."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from xml.etree.ElementTree import fromstring

import pytest

from gateway.xmpp.secured import ENCRYPTED_NOTICE
from gateway.xmpp.stanza import E2E
from tests.bridge import Bridge
from tests.bridge import bridge as start
from tests.conformance.exchange import error_of
from tests.conformance.talk import Talk, conversation
from tests.peers.prosody import Prosody

pytestmark = pytest.mark.interop
COMFORTABLE_SECONDS = 1.0
"""For a message and its answer on an idle bridge, on a slow machine."""
ARMOURED = b"-----BEGIN PGP MESSAGE-----\r\n\r\nhQEMA0Fb+/==\r\n=aX9+\r\n-----END PGP MESSAGE-----\r\n"
BASE64 = b"\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\nTWlkaSDDp2EgdmE/\r\n"


@pytest.fixture(scope="module")
def blocking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    """A bridge whose XMPP server has XEP-0191."""

    def server(work: Path, **options: object) -> Prosody:
        return partial(Prosody, modules=("blocklist",))(work, **options)  # type: ignore[arg-type]

    with start(tmp_path_factory.mktemp("blocking"), server=server) as it:
        yield it


@pytest.mark.requirement("MSG-07", "XEP-18")
@conversation(on="blocking")
async def test_2_3_5_the_owner_of_an_inbox_decides_who_may_write(it: Talk) -> None:
    assert (await it.says(b"before")).status == 202
    assert "before" in await it.hears()
    await set_blocked(it, "block")
    assert (await it.says(b"unheard")).status == 202
    told = await it.receives()
    assert it.to.encode() in told.body
    assert b"could not be delivered" in told.body
    await set_blocked(it, "unblock")
    await it.hears_nothing()


async def set_blocked(it: Talk, verb: str) -> None:
    """XEP-0191: juliet blocks romeo, or lets him write again."""
    it.juliet.send(f"<iq type='set' id='{verb}'><{verb} xmlns='urn:xmpp:blocking'><item jid='{it.jid}'/></{verb}></iq>".encode())
    answer = await it.juliet.stanzas.next(where=lambda stanza: b"<iq" in stanza and verb.encode() in stanza and b"type='set'" not in stanza)
    assert b"type='result'" in answer


@pytest.mark.requirement("MSG-07", "XEP-18")
@conversation(on="blocking")
async def test_4_1_2_and_4_1_3_both_ends_are_named_and_can_be_answered(it: Talk) -> None:
    assert (await it.says(b"one")).status == 202
    heard = fromstring(await it.hears())
    assert (heard.get("from"), heard.get("to")) == (it.jid, "u0@xmpp.test")
    it.writes("<body>two</body>", to=heard.get("from", ""))
    received = await it.receives()
    assert (received.header("To"), received.body) == (f"<{it.sip}>", b"two")
    back = received.header("From").partition("<")[2].partition(">")[0]
    assert back == "sip:u0@xmpp.test;gr=lab"
    assert (await it.says(b"three", to=back)).status == 202
    again = fromstring(await it.hears())
    assert (again.get("to"), again.findtext("{*}body")) == ("u0@xmpp.test/lab", "three")


@pytest.mark.requirement("MSG-07", "XEP-18")
@conversation(on="blocking")
async def test_4_1_5_payloads_may_be_of_any_script_and_encrypted(it: Talk) -> None:
    """An encryption that is text crosses as such, one that has a type of its own as it is, and is never shown as text."""
    for text in ("Δεν πειράζει, 没关系, \u202eאין בעיה \U0001f469\u200d\U0001f680", ARMOURED.decode()):
        assert (await it.says(text.encode())).status == 202
        assert fromstring(await it.hears()).findtext("{*}body") == text.replace("\r\n", "\n")
        it.writes(f"<body>{text}</body>")
        assert (await it.receives()).body.decode() == text
    assert (await it.says(b"From: <im:a@b.test>\r\n" + BASE64, "message/cpim")).status == 202
    assert fromstring(await it.hears()).findtext("{*}body") == "Midi ça va?"
    assert (await it.says(b"0\x80\x06\x09", "application/pkcs7-mime;smime-type=enveloped-data")).status == 202
    stanza = fromstring(await it.hears())
    assert "MIAGCQ==" in (stanza.findtext(f"{{{E2E}}}e2e") or "")
    assert stanza.findtext("{*}body") == ENCRYPTED_NOTICE


@pytest.mark.requirement("MSG-07", "XEP-18")
@conversation(on="blocking")
async def test_4_2_1_the_sender_is_told_what_became_of_it(it: Talk) -> None:
    assert (await it.says(b"fine")).status == 202
    assert "fine" in await it.hears()
    refused = await it.says(b"not fine", "image/png")
    assert (refused.status, b"\r\nAccept: text/plain" in refused.response) == (415, True)
    assert (await it.says(b"nobody there", to="sip:nobody@xmpp.test")).status == 202
    assert b"could not be delivered" in (await it.receives()).body
    it.phone.answer = lambda _request: 410
    it.writes("<body>are you there</body>", "id='w1'")
    told = fromstring(await it.hears())
    assert (told.get("id"), error_of(told)[1]) == ("w1", "gone")


@pytest.mark.requirement("MSG-07", "XEP-18")
@conversation(on="blocking")
async def test_4_3_1_it_is_fast_enough_to_talk(it: Talk) -> None:
    slowest = 0.0
    for number in range(20):
        begun = time.monotonic()
        assert (await it.says(f"question {number}".encode())).status == 202
        assert f"question {number}<" in await it.hears()
        it.writes(f"<body>answer {number}</body>")
        assert (await it.receives()).body == f"answer {number}".encode()
        slowest = max(slowest, time.monotonic() - begun)
    assert slowest < COMFORTABLE_SECONDS
