"""A hosted account between a SIP phone that knows S/MIME and an XMPP client that does not, with openssl for the phone's S/MIME."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest

from gateway.core.dates import format_rfc3339, format_sip_date
from gateway.core.mime import Entity
from gateway.smime.keys import write_account
from tests.bridge import Bridge, bridge
from tests.conformance.exchange import both, from_client, from_phone
from tests.peers.ejabberd import Ejabberd
from tests.peers.prosody import Prosody
from tests.smime.authority import Authority, Holder, clear_signed, cpim, openssl_sign, openssl_verify
from tests.smime.hosted import holder, openssl_decrypt, openssl_encrypt

pytestmark = pytest.mark.interop
CA = Authority("Root")
PHONE = holder(CA, "p256", "sip:s0@stoxgate.test", "im:s0@stoxgate.test")
CLIENT = holder(CA, "rsa2048", "im:u0@xmpp.test", "sip:u0@xmpp.test")
CMS = "application/pkcs7-mime; smime-type=authEnveloped-data; name=smime.p7m"


@pytest.fixture(scope="module", params=[Prosody, Ejabberd])
def it(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    work = tmp_path_factory.mktemp("hosted")
    (work / "ca.pem").write_bytes(CA.pem)
    (work / "people.pem").write_bytes(PHONE.pem)
    write_account(work / "keys", "u0@xmpp.test", CLIENT.pem_with_key, replace=False)
    smime = f'anchors = "{work / "ca.pem"}"\ncertificates = "{work / "people.pem"}"\nkeys = "{work / "keys"}"\nrequire = ["stoxgate.test"]'
    route = '[[route]]\ndomain = "*"\nlarge_messages = true\n'
    with bridge(work, server=request.param, transport="tcp", tables=route, sections={"smime": smime}) as whole:
        yield whole


def sealed(to: Holder, text: str) -> tuple[bytes, str]:
    """What the phone sends: signed now, then encrypted; and the Date that goes with it."""
    now = time.time()
    covered = b"Content-Type: message/cpim\r\n\r\n" + cpim("im:s0@stoxgate.test", "im:u0@xmpp.test", text, format_rfc3339(now))
    return openssl_encrypt(to, clear_signed(covered, openssl_sign(PHONE, covered)).raw, "aes-128-gcm"), f"Date: {format_sip_date(now)}\r\n"


@pytest.mark.requirement("SMIME-20", "MSG-8A")
def test_what_the_phone_signs_and_encrypts_is_read_by_the_client(it: Bridge) -> None:
    async def talk() -> str:
        body, date = sealed(CLIENT, "Lunch?")
        async with both(it) as (phone, client):
            stanza = await from_phone(phone, client, body, content_type=CMS, extra=date)
        return stanza.findtext("{*}body") or ""

    assert asyncio.run(talk()) == "Lunch?"


@pytest.mark.requirement("E2E-15", "SMIME-22")
def test_what_the_client_writes_reaches_the_phone_signed_and_encrypted(it: Bridge) -> None:
    async def talk() -> tuple[str, bytes]:
        async with both(it) as (phone, client):
            came = await from_client(phone, client, "<body>Prav.</body>")
        return came.header("Content-Type"), came.body

    kind, body = asyncio.run(talk())
    assert kind == CMS
    inner = Entity.parse(openssl_decrypt(PHONE, body))
    assert inner.content_type.param("smime-type") == "signed-data"
    signed = openssl_verify(CA, inner.content)
    assert signed.startswith(b"Content-Type: message/cpim\r\n\r\nFrom: <sip:u0@xmpp.test>\r\nTo: <sip:s0@stoxgate.test>\r\nDateTime: ")
    assert signed.endswith(b"\r\n\r\nPrav.")


@pytest.mark.requirement("MSG-8B", "E2E-20")
def test_what_the_client_cannot_be_given_is_refused_and_nothing_of_it_arrives(it: Bridge) -> None:
    async def talk() -> list[int]:
        async with both(it) as (phone, client):
            target, sender = "sip:u0@xmpp.test", "sip:s0@stoxgate.test"
            body, date = sealed(PHONE, "For somebody else")
            answers = [
                await phone.request(target, sender, body, CMS, date),
                await phone.request(target, sender, b"In the clear", "text/plain"),
            ]
            body, date = sealed(CLIENT, "last")
            stanza = await from_phone(phone, client, body, content_type=CMS, extra=date)
            assert stanza.findtext("{*}body") == "last"
        return [answer.status for answer in answers]

    assert asyncio.run(talk()) == [493, 406]
