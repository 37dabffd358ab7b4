"""message/cpim on its way through the gateway: what decides, what stays, and what is refused."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest

from gateway.core.address import SipAddress
from gateway.core.envelope import Envelope
from gateway.core.errors import Refusal
from gateway.core.jid import Jid
from gateway.core.ports import Parties
from gateway.core.tables import read_tables
from gateway.sip.reading import read_message
from gateway.translation import translation
from tests.sip.rig import request, settings
from tests.sip.sample import read

NOW = 1_770_000_000.0
TABLES = read_tables(None)
PARTS = translation(settings(), TABLES, b"secret")
PARTIES = Parties(SipAddress("romeo", "sip.example"), Jid("juliet", "xmpp.example"))
FROM, TO = b"From: Romeo <im:romeo@sip.example>\r\n", b"To: <im:juliet@xmpp.example>\r\n"
CONTENT = b"\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nhello"


def taken(*headers: bytes) -> Envelope:
    """The envelope of a SIP request whose body is message/cpim with these headers."""
    body = b"".join(headers) + CONTENT
    found = read_message(read(request(body=body, content_type="message/cpim")), PARTIES, "udp:127.0.0.1", "t", NOW)
    assert found
    return found


def stanza(envelope: Envelope) -> ElementTree.Element:
    wire = PARTS.to_xmpp.write(envelope).wire
    assert isinstance(wire, bytes)
    return ElementTree.fromstring(wire)


@pytest.mark.requirement("CPIM-11")
def test_a_stanza_is_the_gateways_own_and_the_object_stays_in_the_record_octet_for_octet() -> None:
    headers = (FROM, TO, b"Subject:;lang=en  Two  blanks \r\n", b"X-Odd:\r\n")
    found = taken(*headers)
    assert Envelope.from_cpim(found.to_cpim()).message.raw == b"".join(headers) + CONTENT
    assert "Odd" not in ElementTree.tostring(stanza(found), encoding="unicode")


@pytest.mark.requirement("CPIM-30")
@pytest.mark.parametrize("headers", [(TO,), (FROM,), (b"Subject: x\r\n",)])
def test_who_is_missing_in_the_object_is_known_from_the_request(headers: tuple[bytes, ...]) -> None:
    found = stanza(taken(*headers))
    assert (found.get("from"), found.get("to")) == ("romeo@sip.example", "juliet@xmpp.example")


@pytest.mark.requirement("CPIM-35", "SEC-06")
@pytest.mark.parametrize(
    "author",
    [b"im:mira@xmpp.example", b"im:juliet@xmpp.example", b"sip:tomas@sip.example", b"xmpp:a@b.example", b"im:anonymous@anonymous.invalid"],
)
def test_who_was_let_in_is_the_author_whatever_the_object_says(author: bytes) -> None:
    stated = b"From: Somebody <%b>\r\n" % author
    found = taken(stated, TO)
    assert found.sender == PARTIES.sender
    assert found.message.raw == stated + TO + CONTENT
    assert stanza(found).get("from") == "romeo@sip.example"
    assert b"Somebody" not in ElementTree.tostring(stanza(found))


def test_where_it_goes_is_decided_by_the_request_alone() -> None:
    others = b"To: <im:mira@xmpp.example>\r\ncc: <im:tomas@xmpp.example>\r\n"
    found = taken(FROM, others)
    assert found.recipient == PARTIES.recipient
    assert found.message.raw == FROM + others + CONTENT
    assert stanza(found).get("to") == "juliet@xmpp.example"


@pytest.mark.requirement("CPIM-56", "CPIM-57")
@pytest.mark.parametrize(
    "headers",
    [
        b"Require: Colour\r\n",
        b"NS: x <urn:x>\r\nRequire: x.Colour\r\nx.Colour: red\r\n",
        b"Require: From, Colour\r\n",
        b"Require: From\r\nRequire: Colour\r\n",
    ],
)
def test_what_requires_something_unknown_is_refused_and_it_is_named(headers: bytes) -> None:
    with pytest.raises(Refusal, match="Colour") as refused:
        taken(FROM, TO, headers)
    row = TABLES.refusal(refused.value.key)
    assert (row.sip, row.warn_code) == (415, 399)


def test_what_requires_only_the_known_is_taken() -> None:
    assert taken(FROM, TO, b"NS: imdn <urn:ietf:params:imdn>\r\nRequire: From , To,imdn.Message-ID\r\n").sender == PARTIES.sender
