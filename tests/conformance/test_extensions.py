"""XEP: what becomes of XMPP extensions that SIP has nothing like."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from time import time
from xml.etree.ElementTree import fromstring

import pytest

from tests.conformance.exchange import error_of
from tests.conformance.talk import Talk, conversation

REPLACE = "<replace id='m1' xmlns='urn:xmpp:message-correct:0'/>"
FORWARDED = (
    "<forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client' from='u1@xmpp.test' to='s0@stoxgate.test'><body>copy</body>"
    "<request xmlns='urn:xmpp:receipts'/></message></forwarded>"
)


@pytest.mark.requirement("XEP-30")
@conversation()
async def test_a_correction_is_a_new_message_that_looks_like_one(it: Talk) -> None:
    it.writes("<body>I am in Verrona</body>", "id='m1'")
    assert (await it.receives()).body == b"I am in Verrona"
    it.writes(f"<body>I am in Verona</body>{REPLACE}", "id='m2'")
    assert (await it.receives()).body == b"* I am in Verona"


@pytest.mark.requirement("XEP-30")
@conversation()
async def test_a_retraction_is_ignored_and_the_text_for_others_stays(it: Talk) -> None:
    it.writes("<retract id='m1' xmlns='urn:xmpp:message-retract:1'/>", "id='m3'")
    quoted = "&gt; I am in Verona\nReally?"
    it.writes(f"<body>{quoted}</body><reply to='{it.jid}' id='m2' xmlns='urn:xmpp:reply:0'/>", "id='m4'")
    assert (await it.receives()).body == b"> I am in Verona\r\nReally?"


@pytest.mark.requirement("XEP-28")
@pytest.mark.parametrize(
    "copy",
    [
        f"<sent xmlns='urn:xmpp:carbons:2'>{FORWARDED}</sent>",
        f"<received xmlns='urn:xmpp:carbons:2'>{FORWARDED}</received>",
        f"<result xmlns='urn:xmpp:mam:2' queryid='f27' id='28482-98726-73623'>{FORWARDED}</result>",
        FORWARDED,
    ],
)
@conversation()
async def test_a_copy_of_another_message_goes_nowhere(it: Talk, copy: str) -> None:
    it.writes(copy, "id='c1'")
    await it.receives_nothing()


@pytest.mark.requirement("XEP-13", "XEP-11")
@conversation()
async def test_ids_that_others_claim_are_not_believed_and_styling_is_plain_text(it: Talk) -> None:
    claimed = f"<origin-id xmlns='urn:xmpp:sid:0' id='claimed'/><stanza-id xmlns='urn:xmpp:sid:0' id='claimed' by='{it.jid}'/>"
    it.writes(f"<body>*bold* _and_ `so`</body>{claimed}<unstyled xmlns='urn:xmpp:styling:0'/>", "id='m5'")
    request = await it.receives()
    assert request.body == b"*bold* _and_ `so`"
    assert b"claimed" not in request.data
    assert (await it.says(b"*bold* text")).status == 202
    heard = await it.hears()
    assert "<body>*bold* text</body>" in heard
    assert "claimed" not in heard


@pytest.mark.requirement("MSG-50", "MSG-56")
@conversation()
async def test_until_when_it_is_good_is_said_with_a_date(it: Talk) -> None:
    at = datetime.fromtimestamp(time() + 120, UTC)
    rules = f"<amp xmlns='http://jabber.org/protocol/amp'><rule action='drop' condition='expire-at' value='{at:%Y-%m-%dT%H:%M:%SZ}'/></amp>"
    it.writes(f"<body>soon</body>{rules}", "id='x1'")
    request = await it.receives()
    written = parsedate_to_datetime(request.header("Date"))
    assert written + timedelta(seconds=int(request.header("Expires"))) == at.replace(microsecond=0)
    it.writes("<body>ever</body>", "id='x2'")
    request = await it.receives()
    assert not request.header("Expires")
    it.writes(f"<body>late</body>{rules.replace(str(at.year), '2020')}", "id='x3'")
    assert error_of(fromstring(await it.hears()))[:2] == ("wait", "recipient-unavailable")
