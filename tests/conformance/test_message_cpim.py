"""ICPIM: message/cpim from and to the SIP side, through the whole bridge (RFC 3862, RFC 3922 section 4)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from xml.etree.ElementTree import Element, fromstring

import pytest

from tests.bridge import Bridge
from tests.bridge import bridge as start
from tests.conformance.exchange import DELAY, LANG, both, from_phone, refused, to_client, to_phone
from tests.conformance.talk import counted
from tests.peers.wire import SipEnd, XmppEnd

ADDRESS = "http://jabber.org/protocol/address"
OLD = "2026-01-02T03:04:05Z"


def cpim(*lines: str, inner: str = "Content-Type: text/plain; charset=utf-8", body: str = "Hello") -> bytes:
    head = ["From: <im:s0@stoxgate.test>", "To: <im:u0@xmpp.test>", *lines, "", inner, ""]
    return ("\r\n".join(head) + "\r\n" + body).encode()


# -- what comes -------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("ICPIM-33", "ICPIM-28", "ICPIM-21")
def test_message_cpim_is_unwrapped(bridge: Bridge) -> None:
    stanza = to_client(bridge, cpim(), "message/cpim")
    assert (stanza.get("from"), stanza.get("to"), stanza.findtext("body")) == ("s0@stoxgate.test", "u0@xmpp.test", "Hello")
    assert [child.tag for child in stanza] == ["thread", "body"]


@pytest.mark.requirement("ICPIM-20", "ICPIM-21", "SEC-06")
def test_message_cpim_does_not_say_who_writes_to_whom(bridge: Bridge) -> None:
    body = cpim().replace(b"im:s0@stoxgate.test", b"im:u1@xmpp.test").replace(b"im:u0@xmpp.test", b"im:u2@xmpp.test")
    stanza = to_client(bridge, body, "message/cpim")
    assert (stanza.get("from"), stanza.get("to")) == ("s0@stoxgate.test", "u0@xmpp.test")
    assert not any("u1" in each or "u2" in each for each in stanza.itertext())


@pytest.mark.requirement("ICPIM-24", "ICPIM-25")
def test_the_headers_of_message_cpim_that_cross(bridge: Bridge) -> None:
    body = cpim("Subject: Noon", "Subject:;lang=fr Midi", "NS: y <urn:y>", "y.Secret: secret")
    stanza = to_client(bridge, body, "message/cpim")
    assert [(each.text, each.get(LANG)) for each in stanza.findall("subject")] == [("Noon", None), ("Midi", "fr")]
    assert [child.tag for child in stanza] == ["thread", "subject", "subject", "body"]


@pytest.mark.requirement("CPIM-34", "SEC-42")
def test_all_whom_message_cpim_names_are_shown_to_the_one_whom_it_reaches(bridge: Bridge) -> None:
    """u1 is named too, and is at home: she gets nothing of it."""

    async def talk() -> tuple[Element, Element]:
        async with both(bridge) as (phone, juliet), bridge.user("u1") as other:
            to, cc = ('To: "Smith, J." <sip:u1@xmpp.test>', "To: <tel:+1555>"), ("cc: Bob <sip:s1@stoxgate.test>", "cc: <im:b@x.test>")
            body = cpim(*to, *cc)
            shown = await from_phone(phone, juliet, body, content_type="message/cpim")
            await from_phone(phone, juliet, b"that is all")
            return shown, fromstring(await other_hears(phone, other))

    shown, after = asyncio.run(talk())
    assert (shown.get("to"), shown.findtext("body")) == ("u0@xmpp.test", "Hello")
    assert [(each.tag, each.attrib) for each in shown.iterfind(f"{{{ADDRESS}}}addresses/*")] == [
        (f"{{{ADDRESS}}}address", {"type": kind, "delivered": "true"} | more)
        for kind, more in (
            ("to", {"jid": "u0@xmpp.test"}),
            ("to", {"jid": "u1@xmpp.test", "desc": "Smith, J."}),
            ("to", {"uri": "tel:+1555"}),
            ("cc", {"jid": "s1@stoxgate.test", "desc": "Bob"}),
            ("cc", {"uri": "im:b@x.test"}),
        )
    ]
    assert after.findtext("body") == "for u1"


async def other_hears(phone: SipEnd, other: XmppEnd) -> bytes:
    """The first that u1 gets: what is sent to her behind the message that only names her."""
    assert (await phone.request("sip:u1@xmpp.test", "sip:s0@stoxgate.test", b"for u1")).status == 202
    return await other.message()


@pytest.mark.requirement("CPIM-34", "SEC-18", "SEC-20")
def test_whom_message_cpim_names_writes_no_xml(bridge: Bridge) -> None:
    quoted = r'"x\"/><body>b</body>\r\n\u0000" <sip:u1@xmpp.test>'
    hostile = [quoted, "<sip:a'b&c=%3C%0D@x.test>", "<javascript:alert(1)>", "no address at all"]
    stanza = to_client(bridge, cpim(*(f"cc: {each}" for each in hostile)), "message/cpim")
    assert [child.tag for child in stanza] == ["thread", "body", f"{{{ADDRESS}}}addresses"]
    assert stanza.findtext("body") == "Hello"
    assert [{name: value for name, value in each.items() if name not in ("type", "delivered")} for each in stanza[2]] == [
        {"jid": "u0@xmpp.test"},
        {"jid": "u1@xmpp.test", "desc": 'x"/><body>b</body> \ufffd'},
        {"uri": "sip:a'b&c=%3C%0D@x.test"},
        {"desc": "<javascript:alert(1)>"},
        {"desc": "no address at all"},
    ]


@pytest.mark.requirement("CPIM-34", "SEC-35")
def test_more_addresses_than_are_shown_refuse_the_message(bridge: Bridge) -> None:
    stanza = to_client(bridge, cpim(*(f"To: <tel:{number}>" for number in range(100, 163))), "message/cpim")
    assert len(stanza.findall(f"{{{ADDRESS}}}addresses/*")) == 64
    response = refused(bridge, cpim(*(f"To: <tel:{number}>" for number in range(100, 164))), "message/cpim")
    assert response.startswith(b"SIP/2.0 413 ")


@pytest.mark.requirement("ICPIM-24", "SEC-20", "SEC-21")
def test_escapes_of_message_cpim_are_undone_once(bridge: Bridge) -> None:
    body = cpim(r"Subject: a\\nb \u0026lt; \u0000\n<c>", r'Subject:;lang="x\u0007y" second')
    stanza = to_client(bridge, body, "message/cpim")
    assert [(each.text, each.get(LANG)) for each in stanza.findall("subject")] == [("a\\nb &lt; \ufffd <c>", None), ("second", None)]


@pytest.mark.requirement("IMSG-12", "NOTE-02")
def test_the_message_id_of_message_cpim_is_the_id(bridge: Bridge) -> None:
    body = cpim("NS: xyz <urn:ietf:params:imdn>", "xyz.Message-ID: 34jk324j")
    assert to_client(bridge, body, "message/cpim").get("id") == "34jk324j"


@pytest.mark.requirement("ICPIM-23", "ICPIM-27")
def test_the_time_of_message_cpim_is_a_delay_and_its_content_id_nothing(bridge: Bridge) -> None:
    stanza = to_client(bridge, cpim(f"DateTime: {OLD}", inner="Content-Type: text/plain\r\nContent-ID: <123@h>"), "message/cpim")
    delay = stanza.find(f"{{{DELAY}}}delay")
    assert delay is not None
    assert (delay.get("stamp"), delay.get("from")) == (OLD, "gw.stoxgate.test")
    assert stanza.get("id") != "123@h"


@pytest.mark.requirement("ICPIM-29", "ICPIM-28")
@pytest.mark.parametrize(
    ("inner", "status"),
    [
        ("Content-Type: text/plain; charset=us-ascii", 202),
        ("Content-Type: text/plain; charset=UTF-8", 202),
        ("Content-Type: application/pgp-encrypted", 415),
        ("Content-Type: image/png", 415),
        ("Content-Type: text/plain; charset=x-nope", 415),
    ],
)
def test_what_message_cpim_may_hold(bridge: Bridge, inner: str, status: int) -> None:
    if status == 202:
        assert to_client(bridge, cpim(inner=inner), "message/cpim").findtext("body") == "Hello"
    else:
        assert refused(bridge, cpim(inner=inner), "message/cpim").startswith(f"SIP/2.0 {status} ".encode())


@pytest.mark.requirement("CPIM-04", "CPIM-05", "CPIM-22")
def test_what_the_grammar_of_message_cpim_forbids_is_let_pass_and_counted(bridge: Bridge) -> None:
    before = counted(bridge)["lenient"]
    length = "Content-Type: text/plain; charset=utf-8\r\nContent-Length: 4"
    odd = (b"Content-Type: Message/CPIM\r\n\r\n" + cpim(), cpim(inner=length), cpim("Subject: x "), cpim().replace(b"\r\n", b"\n"))
    for number, body in enumerate(odd, 1):
        assert to_client(bridge, body, "message/cpim").findtext("body") == "Hello"
        assert counted(bridge)["lenient"] == before + number
    to_client(bridge, cpim("Subject: x"), "message/cpim")
    assert counted(bridge)["lenient"] == before + len(odd)


@pytest.mark.requirement("CPIM-30")
def test_a_message_cpim_without_from_comes_from_whom_the_request_names_and_is_counted(bridge: Bridge) -> None:
    before = counted(bridge)["lenient"]
    body = cpim().partition(b"\r\n")[2]
    stanza = to_client(bridge, body, "message/cpim")
    assert (stanza.get("from"), stanza.findtext("body")) == ("s0@stoxgate.test", "Hello")
    assert to_client(bridge, b"\r\n" + body.partition(b"\r\n\r\n")[2], "message/cpim").get("from") == "s0@stoxgate.test"
    assert counted(bridge)["lenient"] == before + 2


@pytest.mark.requirement("ICPIM-26", "CPIM-56")
def test_what_message_cpim_requires(bridge: Bridge) -> None:
    response = refused(bridge, cpim("NS: y <urn:y>", "Require: y.Thing"), "message/cpim")
    assert response.startswith(b"SIP/2.0 415 ")
    assert re.search(rb'\r\nWarning: 399 gw\.stoxgate\.test "[^"]*\bThing\b[^"]*"\r\n', response)
    assert to_client(bridge, cpim("Require: From, DateTime"), "message/cpim").findtext("body") == "Hello"


@pytest.mark.requirement("ICPIM-31")
def test_the_escapes_of_rfc_3922_are_plain_characters(bridge: Bridge) -> None:
    stanza = to_client(bridge, b"x", sender="sip:o%2327;malley@stoxgate.test")
    assert stanza.get("from") == "o#27;malley@stoxgate.test"


# -- what goes ---------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def wrapping(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    """A bridge whose next hop wants message/cpim, that answers 200 and marks messages as chat."""
    with start(
        tmp_path_factory.mktemp("wrapping"),
        tables='[[route]]\ndomain = "*"\ncpim = "always"\n',
        sections={"sip": "accepted_status = 200", "xmpp": 'pager_type = "chat"'},
    ) as it:
        yield it


@pytest.mark.requirement("ICPIM-34", "ICPIM-10", "ICPIM-15")
def test_a_route_can_ask_for_message_cpim(wrapping: Bridge) -> None:
    request = to_phone(
        wrapping,
        f"<subject xml:lang='fr'>Midi</subject><subject>Noon</subject><body>für\nuns</body><delay xmlns='{DELAY}' stamp='{OLD}'/>",
        "xml:lang='en' id='m1'",
        to="o\\27malley@stoxgate.test/desk",
    )
    assert request.header("Content-Type") == "message/cpim"
    assert request.body.decode() == (
        f"From: <sip:u0@xmpp.test>\r\nTo: <sip:o'malley@stoxgate.test>\r\nDateTime: {OLD}\r\nSubject: Noon\r\nSubject:;lang=fr Midi\r\n"
        "\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Language: en\r\n\r\nfür\r\nuns"
    )


@pytest.mark.requirement("IMSG-22", "IMSG-04")
def test_the_two_switches_change_nothing_else(wrapping: Bridge) -> None:
    async def talk() -> Element:
        async with both(wrapping) as (phone, juliet):
            sent = await phone.request("sip:u0@xmpp.test", "sip:s0@stoxgate.test", b"x")
            assert sent.response.startswith(b"SIP/2.0 200 OK\r\n")
            return fromstring(await juliet.message())

    stanza = asyncio.run(talk())
    assert (stanza.get("type"), stanza.findtext("body")) == ("chat", "x")
