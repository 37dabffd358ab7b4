"""ADDR: the vectors of RFC 7247 section 6 and XEP-0106 over the wire, both ways.

SIP users write to juliet (u0), and juliet writes back; what each side sees of the other's address is compared as octets. The table is
written down here from the rules, not made by the gateway's functions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench.peerlab.sip import Sent
from tests.bridge import Bridge
from tests.bridge import bridge as start
from tests.conformance.exchange import both, error_of, from_client, from_phone, refused_stanza, start_line
from tests.peers.prosody import Prosody
from tests.peers.stoxgate import SECRET

HOST = "stoxgate.test"
NUMBERS = {
    "domains.toml": f'[[e164]]\ndomain = "{HOST}"\nuri = "FORM"\n',
    "users.toml": f'[[user]]\nsip = "sip:+15551230001@{HOST}"\nxmpp = "u1@xmpp.test"\n'
    f'[[user]]\nsip = "sip:+15551230002@{HOST}"\nxmpp = "bob@{HOST}"\n',
}

# User part as a SIP peer may write it, localpart, user part as the gateway writes it.
USERS = [
    ("f%C3%BC", "fü", "f%C3%BC"), ("f%c3%bc", "fü", "f%C3%BC"), ("o'malley", r"o\27malley", "o'malley"),
    ("o%27malley", r"o\27malley", "o'malley"), ("at&t", r"at\26t", "at&t"), ("dir/sub", r"dir\2fsub", "dir/sub"),
    ("%40home", r"\40home", "%40home"), ("a%3Ab", r"a\3ab", "a%3Ab"), ("space%20cadet", r"space\20cadet", "space%20cadet"),
    ("%5C27", r"\5c27", "%5C27"), ("c%3A%5C5commas", r"c\3a\5c5commas", "c%3A%5C5commas"),
    ("x%22y%3Cz%3E", r"x\22y\3cz\3e", "x%22y%3Cz%3E"), ("foo%5Cbar", r"foo\bar", "foo%5Cbar"), ("a..b.", "a..b.", "a..b."),
    ("50%25", "50%", "50%25"), ("%2541", "%41", "%2541"),
    ("foo%23bar", "foo#bar", "foo%23bar"), ("a%5Bb%5D%7Bc%7D%7Cd", "a[b]{c}|d", "a%5Bb%5D%7Bc%7D%7Cd"),
    ("semi;colon,comma", "semi;colon,comma", "semi;colon,comma"), ("q?mark", "q?mark", "q?mark"), ("%71%3Fmark2", "q?mark2", "q?mark2"),
    ("(a)*+$=!~", "(a)*+$=!~", "(a)*+$=!~"), (r"%5C2plus%5C2is%5C4", r"\2plus\2is\4", "%5C2plus%5C2is%5C4"), ("%60%5E", "`^", "%60%5E"),
    ("a%5C5c", r"a\5c5c", "a%5C5c"), ("x%26%2F%27", r"x\26\2f\27", "x&/'"),
]  # fmt: skip
CASED = [
    ("G%C3%9C", "gü"),
    ("%5C2Fx", r"\5c2fx"),
    ("%5C3A", r"\5c3a"),
    ("%EF%BC%A1b", "ab"),
    ("e%CC%81", "é"),
    ("%EF%BC%A0at", r"\40at"),
    ("%EF%BC%BC27x", r"\5c27x"),
]
"""Users that are mapped on the way: upper case, fullwidth forms, and what composes. No other test has them: an answer to one of
these goes to the spelling that he used."""

DEVICES = [
    ("qux", "qux"),
    ("B%C3%BCro%20PC", "Büro PC"),
    ("a%3Bb%3Dc%3Fd", "a;b=c?d"),
    ("50%25", "50%"),
    ("x/y:z", "x/y:z"),
    ("urn:uuid:f81d4fae", "urn:uuid:f81d4fae"),
    ("home%40work", "home@work"),
    ("[mob]", "[mob]"),
    ("a%22%3Cb%3E'&", "a\"<b>'&"),
]


def escaped(text: str) -> str:
    """A JID as it may stand in an attribute in single quotes."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("'", "&apos;")


# -- URI to JID --------------------------------------------------------------------------------------------------------
async def seen(it: Bridge, sender: str, target: str = "sip:u0@xmpp.test", extra: str = "") -> tuple[str, str]:
    """(from, to) of the stanza that juliet gets for a MESSAGE of this sender."""
    async with both(it) as (phone, juliet):
        stanza = await from_phone(phone, juliet, b"hi", sender=sender, target=target, extra=extra)
        return stanza.get("from", ""), stanza.get("to", "")


@pytest.mark.requirement("ADDR-03", "ADDR-05", "ADDR-06")
@pytest.mark.parametrize(("user", "local", "_back"), USERS)
def test_a_sip_user_is_a_localpart(bridge: Bridge, user: str, local: str, _back: str) -> None:
    assert asyncio.run(seen(bridge, f"sip:{user}@{HOST}"))[0] == f"{local}@{HOST}"


@pytest.mark.requirement("ADDR-07", "ADDR-09", "XEP-02")
@pytest.mark.parametrize(("user", "local"), CASED)
def test_a_sip_user_is_mapped_before_it_is_escaped(bridge: Bridge, user: str, local: str) -> None:
    assert asyncio.run(seen(bridge, f"sip:{user}@{HOST}"))[0] == f"{local}@{HOST}"


@pytest.mark.requirement("ADDR-01", "ADDR-12", "ADDR-28")
@pytest.mark.parametrize(
    ("uri", "jid"),
    [
        (f"SIP:plain@{HOST}", f"plain@{HOST}"),
        (f"sip:plain@{HOST}:5070;transport=tcp;user=phone", f"plain@{HOST}"),
        (f"sip:plain:pw@{HOST}", f"plain@{HOST}"),
        (f"sip:plain@{HOST.upper()}", f"plain@{HOST}"),
        (f"sip:plain@{HOST}.", f"plain@{HOST}"),
        (f"sip:plain@{HOST};gr", f"plain@{HOST}"),
        (f"sip:plain@{HOST};gr=bar", f"plain@{HOST}/bar"),
        (f"sip:plain@{HOST};x=y;gr=bar;z", f"plain@{HOST}/bar"),
        (f"sip:plain@{HOST};GR=bar", f"plain@{HOST}/bar"),
        (f"im:plain@{HOST}", f"plain@{HOST}"),
        (f"sip:{HOST}", HOST),
        (f"sips:plain@{HOST}", f"plain@{HOST}"),
    ],
)
def test_what_is_left_of_a_uri(bridge: Bridge, uri: str, jid: str) -> None:
    assert asyncio.run(seen(bridge, uri))[0] == jid


@pytest.mark.requirement("ADDR-12", "ADDR-21", "ADDR-25")
@pytest.mark.parametrize(("value", "resource"), DEVICES)
def test_a_device_of_a_sip_user_is_a_resource(bridge: Bridge, value: str, resource: str) -> None:
    assert asyncio.run(seen(bridge, f"sip:dev@{HOST};gr={value}"))[0] == f"dev@{HOST}/{resource}"


@pytest.mark.requirement("ADDR-12", "IMSG-03")
def test_a_device_of_the_recipient_is_written_to(bridge: Bridge) -> None:
    assert asyncio.run(seen(bridge, f"sip:s0@{HOST}", "sip:u0@xmpp.test;gr=lab"))[1] == "u0@xmpp.test/lab"


async def refused(it: Bridge, sender: str, target: str = "sip:u0@xmpp.test") -> Sent:
    """The answer to a MESSAGE of which nothing may reach juliet: what she gets next is the one after it."""
    async with both(it) as (phone, juliet):
        sent = await phone.request(target, sender, b"never")
        stanza = await from_phone(phone, juliet, b"after")
        assert stanza.findtext("body") == "after"
        return sent


NOBODY = ["J%E1n", "%FF", "rom%00eo", "a%0Ab", "a%C2%85", "%20a", "a%20", "%E2%82%AC", "%C0%AF", "a%ED%A0%80", "%E2%80%8B", "x" * 1024]
"""Users that no JID can stand for: not UTF-8, control characters, a space at an end, what PRECIS disallows, what is too long."""


@pytest.mark.requirement("ADDR-04", "ADDR-08", "ADDR-09")
@pytest.mark.parametrize("user", NOBODY)
def test_who_can_be_nobody(bridge: Bridge, user: str) -> None:
    assert asyncio.run(refused(bridge, f"sip:{user}@{HOST}")).status == 400
    assert asyncio.run(refused(bridge, f"sip:s0@{HOST}", f"sip:{user}@xmpp.test")).status == 404


@pytest.mark.requirement("ADDR-02")
@pytest.mark.parametrize("sender", [f"sip:a@b@{HOST}", f"sip:a%4@{HOST}", f"sip:@{HOST}", f"sip:a b@{HOST}", f"sip:a@{HOST}@"])
def test_a_uri_that_is_none_is_400(bridge: Bridge, sender: str) -> None:
    assert asyncio.run(refused(bridge, sender)).status == 400


@pytest.mark.requirement("ADDR-29", "ARCH-11")
@pytest.mark.parametrize("host", ["192.0.2.1", "[2001:db8::1]", "127.0.0.1"])
def test_nobody_is_at_a_bare_address(bridge: Bridge, host: str) -> None:
    assert asyncio.run(refused(bridge, f"sip:a@{host}")).status == 403
    assert asyncio.run(refused(bridge, f"sip:s0@{HOST}", f"sip:a@{host}")).status == 404


# -- JID to URI --------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("ADDR-15", "ADDR-16", "ADDR-18")
@pytest.mark.parametrize(("_user", "local", "back"), USERS)
def test_a_localpart_is_a_sip_user(bridge: Bridge, _user: str, local: str, back: str) -> None:
    async def talk() -> None:
        async with both(bridge) as (phone, juliet):
            request = await from_client(phone, juliet, "<body>hi</body>", to=escaped(f"{local}@{HOST}"))
            assert start_line(request) == f"MESSAGE sip:{back}@{HOST} SIP/2.0"
            assert request.header("To") == f"<sip:{back}@{HOST}>"
            assert request.header("From").startswith("<sip:u0@xmpp.test;gr=lab>;tag=")

    asyncio.run(talk())


@pytest.mark.requirement("ADDR-20", "ADDR-21", "ADDR-23")
@pytest.mark.parametrize(("value", "resource"), DEVICES)
def test_a_resource_is_a_device(bridge: Bridge, value: str, resource: str) -> None:
    """Of the recipient in Request-URI and To, of the sender in From; always inside the angle brackets."""

    async def talk() -> None:
        async with bridge.phone() as phone, bridge.user("u0", escaped(resource)) as juliet:
            request = await from_client(phone, juliet, "<body>hi</body>", to=escaped(f"dev@{HOST}/{resource}"))
            assert start_line(request) == f"MESSAGE sip:dev@{HOST};gr={value} SIP/2.0"
            assert request.header("To") == f"<sip:dev@{HOST};gr={value}>"
            assert request.header("From").startswith(f"<sip:u0@xmpp.test;gr={value}>;tag=")

    asyncio.run(talk())


@pytest.mark.requirement("ADDR-15", "ADDR-19")
def test_the_first_slash_ends_the_address_and_the_first_at_sign_the_localpart(bridge: Bridge) -> None:
    async def talk() -> None:
        async with both(bridge) as (phone, juliet):
            request = await from_client(phone, juliet, "<body>hi</body>", to=f"a@{HOST}/c@d/e")
            assert start_line(request) == f"MESSAGE sip:a@{HOST};gr=c%40d/e SIP/2.0"

    asyncio.run(talk())


@pytest.mark.requirement("ADDR-11")
def test_a_domain_may_write_and_nobody_there_is_written_to(bridge: Bridge) -> None:
    """What the XMPP side reaches at the domain is the gateway, which answers questions and reads no messages."""

    async def talk() -> None:
        async with both(bridge) as (phone, juliet):
            assert (await from_phone(phone, juliet, b"hi", sender=f"sip:{HOST}")).get("from") == HOST
            for target in (HOST, f"{HOST}/x"):
                error = error_of(await refused_stanza(juliet, "<body>never</body>", to=target))
                assert error[:2] == ("cancel", "item-not-found")
            assert (await from_client(phone, juliet, "<body>after</body>")).body == b"after"

    asyncio.run(talk())


@pytest.mark.requirement("ADDR-08", "ADDR-26", "SEC-14")
@pytest.mark.parametrize("local", [r"\5cfoo", r"\20a", r"a\20", r"a\5cb", r"x\5c5"])
def test_a_second_spelling_of_a_localpart_is_nobody(bridge: Bridge, local: str) -> None:
    async def talk() -> None:
        async with both(bridge) as (phone, juliet):
            error = error_of(await refused_stanza(juliet, "<body>never</body>", to=f"{local}@{HOST}"))
            assert error[:2] == ("cancel", "item-not-found")
            assert (await from_client(phone, juliet, "<body>after</body>")).body == b"after"

    asyncio.run(talk())


# -- there and back ----------------------------------------------------------------------------------------------------
@pytest.mark.requirement("ADDR-17", "ADDR-26", "SEC-14")
@pytest.mark.parametrize(
    "user",
    [
        "a..b.",
        "%61%2E%2Eb.",
        "c%3A%5C5commas",
        "at&t",
        "at%26t",
        "semi;colon,comma",
        "semi%3Bcolon%2Ccomma",
        "%D0%B6",
    ],
)
def test_an_answer_reaches_who_wrote(bridge: Bridge, user: str) -> None:
    """juliet answers to the address that she saw; the phone sees its own user part, but for needless escapes."""

    async def talk() -> tuple[str, str]:
        async with both(bridge) as (phone, juliet):
            sender = (await from_phone(phone, juliet, b"hi", sender=f"sip:{user}@{HOST}")).get("from", "")
            return sender, start_line(await from_client(phone, juliet, "<body>yes</body>", to=escaped(sender)))

    _, line = asyncio.run(talk())
    plain = user.replace("%61", "a").replace("%2E", ".").replace("%26", "&").replace("%3B", ";").replace("%2C", ",")
    assert line == f"MESSAGE sip:{plain}@{HOST} SIP/2.0"


# -- domains -----------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def abroad(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    """A SIP domain with letters beyond ASCII, as the configuration may write it."""

    class Server(Prosody):
        def __init__(self, work: Path, **more: object) -> None:
            super().__init__(work, **(more | {"components": {"bücher.test": SECRET}}))  # type: ignore[arg-type]

    with start(tmp_path_factory.mktemp("abroad"), server=Server, sip_domains=("bücher.test",)) as it:
        yield it


@pytest.mark.requirement("ADDR-27")
def test_a_domain_is_ascii_on_the_sip_side_and_letters_on_the_other(abroad: Bridge) -> None:
    async def talk() -> None:
        async with both(abroad) as (phone, juliet):
            stanza = await from_phone(phone, juliet, b"hi", sender="sip:mira@xn--bcher-kva.test")
            assert stanza.get("from") == "mira@bücher.test"
            request = await from_client(phone, juliet, "<body>hi</body>", to="mira@bücher.test")
            assert start_line(request) == "MESSAGE sip:mira@xn--bcher-kva.test SIP/2.0"
            assert request.header("To") == "<sip:mira@xn--bcher-kva.test>"

    asyncio.run(talk())


# -- telephone numbers -------------------------------------------------------------------------------------------------
def with_form(form: str) -> dict[str, str]:
    return {name: text.replace("FORM", form) for name, text in NUMBERS.items()}


@pytest.fixture(scope="module", params=["sip", "tel"])
def numbers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Bridge]]:
    """(form, bridge): stoxgate.test is the E.164 domain; one number is u1's, and another is bob's on the SIP side."""
    with start(tmp_path_factory.mktemp(request.param), mappings=with_form(request.param)) as it:
        yield request.param, it


def as_form(form: str, number: str) -> str:
    return f"tel:{number}" if form == "tel" else f"sip:{number}@{HOST};user=phone"


@pytest.mark.requirement("ADDR-30", "ADDR-31", "ADDR-32")
@pytest.mark.parametrize(
    ("uri", "local", "number"),
    [
        ("tel:+1-201-555-0123", "+12015550123", "+12015550123"),
        ("tel:+1.(201)5550123;isub=14%0011;postd=pp22", "+12015550123", "+12015550123"),
        (f"sip:+12015550123@{HOST};user=phone", "+12015550123", "+12015550123"),
        (f"sip:+1-201-555-0123;isub=1411@{HOST}:5070;user=PHONE;transport=udp", "+12015550123", "+12015550123"),
        (f"sip:+12015550123@{HOST}", "+12015550123", "+12015550123"),
        ("tel:863-1234;phone-context=+1-914-555", "8631234;phone-context=+1914555", "8631234;phone-context=+1914555"),
        ("tel:*2A%23;ext=7;Phone-Context=Example.COM.", "*2a#;phone-context=example.com", "*2a%23;phone-context=example.com"),
        ("tel:+1-555-123-0002", "bob", "+15551230002"),
    ],
)
def test_a_number_writes_and_is_answered(numbers: tuple[str, Bridge], uri: str, local: str, number: str) -> None:
    form, it = numbers

    async def talk() -> None:
        async with both(it) as (phone, juliet):
            sender = (await from_phone(phone, juliet, b"hi", sender=uri)).get("from", "")
            assert sender == f"{local}@{HOST}"
            request = await from_client(phone, juliet, "<body>yes</body>", to=escaped(sender))
            assert start_line(request) == f"MESSAGE {as_form(form, number)} SIP/2.0"
            assert request.header("To") == f"<{as_form(form, number)}>"
            assert request.header("From").startswith("<sip:u0@xmpp.test;gr=lab>;tag=")

    asyncio.run(talk())


@pytest.mark.requirement("ADDR-31", "ADDR-32")
@pytest.mark.parametrize(
    ("uri", "local"),
    [
        (f"sip:+1-201@{HOST}", "+1-201"),
        (f"sip:romeo@{HOST};user=phone", "romeo"),
        (f"sip:12015550123@{HOST};user=phone", "12015550123"),
    ],
)
def test_who_is_no_number_is_a_user_there_like_any_other(numbers: tuple[str, Bridge], uri: str, local: str) -> None:
    _, it = numbers

    async def talk() -> None:
        async with both(it) as (phone, juliet):
            assert (await from_phone(phone, juliet, b"hi", sender=uri)).get("from") == f"{local}@{HOST}"
            assert (
                start_line(await from_client(phone, juliet, "<body>yes</body>", to=f"{local}@{HOST}"))
                == f"MESSAGE sip:{local}@{HOST} SIP/2.0"
            )

    asyncio.run(talk())


@pytest.mark.requirement("ADDR-30", "SEC-02")
@pytest.mark.parametrize(
    "sender", ["tel:+15551230001", "tel:+1-555-123-0001;ext=2", f"sip:+1-555-123-0001@{HOST};user=phone", "sip:+1555@xmpp.test;user=phone"]
)
def test_a_number_never_speaks_for_somebody_on_the_xmpp_side(numbers: tuple[str, Bridge], sender: str) -> None:
    assert asyncio.run(refused(numbers[1], sender)).status == 403


HOSTILE = ["+", ";phone-context=", "7042", "7042;phone-context=", "+1%00", "+1%0d%0aEvil:%20x", "+%D9%A1%D9%A2", "+1%FF", "+1;m-x=1",
           "+1@evil.test", "+1%40evil.test", "7042;phone-context=a;phone-context=b", f"+{'1' * 10_000}", f"+1{';a' * 5_000}"]  # fmt: skip


@pytest.mark.requirement("ADDR-30")
@pytest.mark.parametrize("number", HOSTILE)
def test_a_number_that_is_none_is_400(numbers: tuple[str, Bridge], number: str) -> None:
    assert asyncio.run(refused(numbers[1], f"tel:{number}")).status == 400


@pytest.mark.requirement("ADDR-30", "SIP-58")
def test_a_tel_uri_reaches_whose_number_it_is_on_the_xmpp_side(numbers: tuple[str, Bridge]) -> None:
    _, it = numbers

    async def talk() -> None:
        async with both(it, "u1") as (phone, alice):
            stanza = await from_phone(phone, alice, b"hi", sender="tel:+12015550123", target="tel:+1-555-123-0001")
            assert (stanza.get("from"), stanza.get("to")) == (f"+12015550123@{HOST}", "u1@xmpp.test")
            assert (await phone.request("tel:+12015550199", "tel:+12015550123", b"never")).status == 404

    asyncio.run(talk())


@pytest.mark.requirement("ADDR-31")
def test_a_number_is_told_of_a_failure_at_its_number(numbers: tuple[str, Bridge]) -> None:
    form, it = numbers

    async def talk() -> None:
        async with it.phone() as phone:
            assert (await phone.request("sip:nobody@xmpp.test", "tel:+1-201-555-0177", b"lost")).status == 202
            report = await phone.requests.next()
            assert start_line(report) == f"MESSAGE {as_form(form, '+12015550177')} SIP/2.0"
            assert report.header("From").startswith(f"<sip:gw.{HOST}>;tag=")

    asyncio.run(talk())


@pytest.mark.requirement("ADDR-30", "ADDR-32")
def test_without_an_e164_domain_there_are_no_numbers(bridge: Bridge) -> None:
    assert asyncio.run(refused(bridge, "tel:+1-201-555-0123")).status == 403
    assert asyncio.run(refused(bridge, f"sip:s0@{HOST}", "tel:+12015550123")).status == 416
    assert asyncio.run(seen(bridge, f"sip:+1-201@{HOST};user=phone"))[0] == f"+1-201@{HOST}"
