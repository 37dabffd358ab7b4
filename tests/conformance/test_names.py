"""IMSG-14: the display name of a SIP user is the nick of an XMPP user, in the first message to somebody (XEP-0172 section 4.2)."""

from __future__ import annotations

from xml.etree.ElementTree import fromstring

import pytest

from tests.conformance.talk import Talk, conversation, rows, status_of
from tests.peers.stoxgate import XMPP_DOMAIN

NICK = "http://jabber.org/protocol/nick"


async def nicks(it: Talk, name: str, extra: str = "", body: bytes = b"hello", content_type: str = "text/plain") -> list[str]:
    """The nicks that juliet gets with one message of romeo's under this display name, which is written as it is."""
    request = it.request(from_=f"{name} <{it.sip}>;tag=x", extra=extra, body=body, content_type=content_type)
    assert status_of(await it.asks(request)) == 202
    return [each.text or "" for each in fromstring(await it.hears()).findall(f"{{{NICK}}}nick")]


@pytest.mark.requirement("IMSG-14", "XEP-09")
@conversation()
async def test_a_name_is_in_the_first_message_and_not_in_the_second(it: Talk) -> None:
    assert await nicks(it, '"Romeo, M."') == ["Romeo, M."]
    assert await nicks(it, '"Romeo, M."') == []
    assert await nicks(it, "Romeo Montague") == ["Romeo Montague"]
    assert await nicks(it, "Romeo Montague") == []
    assert await nicks(it, "") == []


@pytest.mark.requirement("IMSG-14")
@conversation()
async def test_a_name_is_told_to_each_recipient(it: Talk) -> None:
    assert await nicks(it, "Romeo") == ["Romeo"]
    async with it.bridge.user("u1") as nurse:
        request = it.request(uri=f"sip:u1@{XMPP_DOMAIN}", from_=f"Romeo <{it.sip}>;tag=x")
        assert status_of(await it.asks(request)) == 202
        assert ">Romeo</nick>" in await it.hears(nurse)


@pytest.mark.requirement("IMSG-14", "SEC-18", "SEC-20")
@pytest.mark.parametrize(("name", "nick"), [
    (r'"<b>&amp; \"q\" \\ </nick></message>"', '<b>&amp; "q" \\ </nick></message>'),
    ('"a\\\x00b\\\tc"', "a\ufffdb c"),
    ('"Ünï \N{GRINNING FACE}"', "Ünï \N{GRINNING FACE}"),
])  # fmt: skip
@conversation()
async def test_a_name_is_text_and_nothing_else(it: Talk, name: str, nick: str) -> None:
    assert await nicks(it, name) == [nick]


@pytest.mark.requirement("IMSG-14", "SEC-16")
@pytest.mark.parametrize(
    "name", [f'"u1@{XMPP_DOMAIN}"', '"+1 555 0100"', '"x\u202ey"', f'"{"x" * 129}"'], ids=["address", "number", "bidi", "long"]
)
@conversation()
async def test_what_reads_as_something_else_is_no_name_and_no_reason_to_refuse(it: Talk, name: str) -> None:
    assert await nicks(it, name) == []


@pytest.mark.requirement("IMSG-14")
@conversation()
async def test_who_asks_for_privacy_is_not_named(it: Talk) -> None:
    request = it.request(from_=f"Romeo <{it.sip}>;tag=x", extra="Privacy: id\r\n", body=f"by {it.romeo}".encode())
    assert status_of(await it.asks(request)) == 202
    assert b"Romeo" not in await it.juliet.message(where=lambda stanza: f"by {it.romeo}".encode() in stanza)
    assert await nicks(it, "Romeo", "Privacy: none\r\n") == ["Romeo"]


@pytest.mark.requirement("IMSG-14", "ICPIM-20", "SEC-06")
@conversation()
async def test_the_name_is_that_of_the_sip_sender_and_not_that_in_message_cpim(it: Talk) -> None:
    body = f"From: Juliet <im:u0@{XMPP_DOMAIN}>\r\n\r\nContent-Type: text/plain\r\n\r\nhi".encode()
    assert await nicks(it, "", body=body, content_type="message/cpim") == []
    assert await nicks(it, "Romeo", body=body, content_type="message/cpim") == ["Romeo"]


@pytest.mark.requirement("IMSG-14", "SEC-19")
@pytest.mark.parametrize(("nick", "name"), [
    ("Juliet C.", '"Juliet C." '), ("J &quot;the&quot; &lt;C&gt; \\", r'"J \"the\" <C> \\" '),
    ("x&#13;&#10;Via: y&#9;z", '"x Via: y z" '), ("s1@stoxgate.test", ""), ("", ""), ("Ж" * 129, ""),
])  # fmt: skip
@conversation()
async def test_a_nick_is_the_display_name_of_from(it: Talk, nick: str, name: str) -> None:
    it.writes(f"<body>hi</body><nick xmlns='{NICK}'>{nick}</nick>")
    [author] = rows(await it.receives(), "From")
    assert author.startswith(f"{name}<sip:u0@{XMPP_DOMAIN};gr=lab>;tag=")


@pytest.mark.requirement("IMSG-14", "IMSG-27")
@conversation()
async def test_a_nick_makes_no_message_too_large(it: Talk) -> None:
    it.writes(f"<body>a</body><thread>t-{it.romeo}</thread>")
    room = 1300 - len((await it.receives()).data)
    it.writes(f"<body>{'b' * (room - 5)}</body><thread>t-{it.romeo}</thread><nick xmlns='{NICK}'>Juliet</nick>")
    request = await it.receives()
    assert 1200 < len(request.data) <= 1300
    assert rows(request, "From")[0].startswith("<sip:")
