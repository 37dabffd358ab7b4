"""ERR: every error of RFC 7247 section 7 over the wire, both ways, and what surrounds it.

The rows are written down here from the RFC, not read from the gateway's own table. `at_once` keeps nothing for a SIP domain of its own, so
that a status after which the gateway would try again is told at once; it also serves an XMPP domain for which the test itself
speaks, so that errors can come from a bare JID.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from xml.etree.ElementTree import Element, fromstring

import pytest

from tests.bench.peerlab.sip import Received
from tests.bridge import PASSWORD, Bridge
from tests.conformance.exchange import LANG, STANZAS, both, error_of, from_client, refused_stanza, respond, silent, start_line
from tests.conformance.talk import ACCEPT
from tests.peers import wire
from tests.peers.process import free_port
from tests.peers.prosody import Prosody
from tests.peers.stoxgate import SECRET, Stoxgate

KEPT, AT_ONCE, DEAD, PEOPLE, STRANGERS = "stoxgate.test", "now.test", "dead.test", "people.test", "strangers.test"
ROUTES = """
[[route]]
domain = "stoxgate.test"
redirects = false
[[route]]
domain = "now.test"
store = false
[[route]]
domain = "dead.test"
store = false
next_hop = "sip:127.0.0.1:{dead};transport=tcp"
"""

# RFC 7247 section 7.2; the types are those of RFC 6120 section 8.3.3.
STATUSES = {
    300: ("redirect", "modify"), 301: ("gone", "cancel"), 302: ("redirect", "modify"), 305: ("redirect", "modify"),
    380: ("not-acceptable", "modify"), 400: ("bad-request", "modify"), 401: ("not-authorized", "auth"), 402: ("bad-request", "modify"),
    403: ("forbidden", "auth"), 404: ("item-not-found", "cancel"), 405: ("feature-not-implemented", "cancel"),
    406: ("not-acceptable", "modify"), 407: ("registration-required", "auth"), 408: ("remote-server-timeout", "wait"),
    410: ("gone", "cancel"), 413: ("policy-violation", "modify"), 414: ("policy-violation", "modify"), 415: ("not-acceptable", "modify"),
    416: ("not-acceptable", "modify"), 420: ("feature-not-implemented", "cancel"), 421: ("not-acceptable", "modify"),
    423: ("resource-constraint", "wait"), 430: ("recipient-unavailable", "wait"), 439: ("feature-not-implemented", "cancel"),
    440: ("policy-violation", "wait"), 480: ("recipient-unavailable", "wait"), 481: ("item-not-found", "cancel"),
    482: ("not-acceptable", "modify"), 483: ("not-acceptable", "modify"), 484: ("item-not-found", "cancel"),
    485: ("item-not-found", "cancel"), 486: ("recipient-unavailable", "wait"), 487: ("recipient-unavailable", "wait"),
    488: ("not-acceptable", "modify"), 489: ("policy-violation", "modify"), 491: ("unexpected-request", "wait"),
    493: ("bad-request", "modify"), 500: ("internal-server-error", "cancel"), 501: ("feature-not-implemented", "cancel"),
    502: ("remote-server-not-found", "cancel"), 503: ("internal-server-error", "cancel"), 504: ("remote-server-timeout", "wait"),
    505: ("not-acceptable", "modify"), 513: ("policy-violation", "modify"), 600: ("recipient-unavailable", "wait"),
    603: ("recipient-unavailable", "wait"), 604: ("item-not-found", "cancel"), 606: ("not-acceptable", "modify"),
}  # fmt: skip
CLASSES = {
    "3xx": ("redirect", "modify", (304, 399)),
    "4xx": ("bad-request", "modify", (412, 417, 494, 499)),
    "5xx": ("internal-server-error", "cancel", (555, 580, 599)),
    "6xx": ("recipient-unavailable", "wait", (607, 608, 699)),
}
TRIED_AGAIN = {408, 480, 486, 500, 503, 504}
"""After these the gateway tries again (REL-11), unless nothing is kept for the domain."""

# RFC 7247 section 7.1: number, condition, type, status from a full JID, status from a bare JID.
CONDITIONS = [
    ("ERR-X01", "bad-request", "modify", 400, 400),
    ("ERR-X02", "conflict", "cancel", 400, 400),
    ("ERR-X03", "feature-not-implemented", "cancel", 405, 501),
    ("ERR-X04", "forbidden", "auth", 403, 603),
    ("ERR-X05", "gone", "cancel", 410, 410),
    ("ERR-X06", "internal-server-error", "cancel", 500, 500),
    ("ERR-X07", "item-not-found", "cancel", 404, 604),
    ("ERR-X08", "jid-malformed", "modify", 400, 400),
    ("ERR-X09", "not-acceptable", "modify", 406, 606),
    ("ERR-X10", "not-allowed", "cancel", 403, 403),
    ("ERR-X11", "not-authorized", "auth", 401, 401),
    ("ERR-X12", "policy-violation", "modify", 403, 403),
    ("ERR-X13", "recipient-unavailable", "wait", 480, 600),
    ("ERR-X14", "redirect", "modify", 480, 480),
    ("ERR-X15", "registration-required", "auth", 407, 407),
    ("ERR-X16", "remote-server-not-found", "cancel", 404, 404),
    ("ERR-X17", "remote-server-timeout", "wait", 408, 408),
    ("ERR-X18", "resource-constraint", "wait", 500, 500),
    ("ERR-X19", "service-unavailable", "cancel", 403, 403),
    ("ERR-X20", "subscription-required", "auth", 400, 400),
    ("ERR-X21", "undefined-condition", "cancel", 400, 400),
    ("ERR-X22", "unexpected-request", "wait", 400, 400),
]


@pytest.fixture(scope="module")
def at_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    work, phone, domains = tmp_path_factory.mktemp("errors"), free_port(), (KEPT, AT_ONCE, DEAD)
    names = dict.fromkeys((*domains, PEOPLE, STRANGERS), SECRET)
    users = {f"u{number}": PASSWORD for number in range(4)}
    with Prosody(work / "server", users=users, components=names) as server:
        gateway = Stoxgate(
            work / "gateway",
            component_port=server.component_port,
            next_hop=f"sip:127.0.0.1:{phone}",
            sip_domains=domains,
            xmpp_domains=("xmpp.test", PEOPLE),
            tables=ROUTES.format(dead=free_port()),
        )
        with gateway:
            for _ in domains[1:]:
                gateway.wait_for('"event": "component link is up"')
            yield Bridge(server, gateway, phone, "udp")


def people(it: Bridge, domain: str = PEOPLE) -> AbstractAsyncContextManager[wire.XmppEnd]:
    """Everybody of an XMPP domain at once."""
    return wire.component(it.server.component_port, domain, SECRET)


# -- from SIP to XMPP --------------------------------------------------------------------------------------------------
async def answered(it: Bridge, status: int, reason: str = "Because", headers: str = "", *, domain: str = "") -> Element:
    """What juliet gets when the phone answers her message with this; the fence behind it says that nothing else comes."""
    domain = domain or (AT_ONCE if status in TRIED_AGAIN else KEPT)
    async with both(it) as (phone, juliet):
        silent(phone)
        request = await from_client(phone, juliet, "<body>hi</body>", to=f"s{status}@{domain}", attributes=f"id='m{status}' type='chat'")
        respond(phone, request, status, reason, headers)
        stanza = fromstring(await juliet.message())
        await nothing_more(juliet)
    assert (stanza.get("from"), stanza.get("to"), stanza.get("id")) == (f"s{status}@{domain}", "u0@xmpp.test/lab", f"m{status}")
    return stanza


async def nothing_more(end: wire.XmppEnd) -> None:
    """What the server has for this client comes before the answer to a question that is asked now."""
    end.send(b"<iq type='get' id='nothing-more'><query xmlns='jabber:iq:roster'/></iq>")
    await end.stanzas.next(where=lambda stanza: b"nothing-more" in stanza)
    assert [stanza for stanza in end.stanzas.waiting if b"<message" in stanza] == []


@pytest.mark.parametrize(
    ("status", "condition", "kind"),
    [pytest.param(status, *row, marks=pytest.mark.requirement(f"ERR-S{status}")) for status, row in STATUSES.items() if status != 301],
)
def test_a_status_becomes_its_condition(at_once: Bridge, status: int, condition: str, kind: str) -> None:
    stanza = asyncio.run(answered(at_once, status, f"Reason {status}"))
    assert error_of(stanza) == (kind, condition, f"Reason {status}", "")


@pytest.mark.requirement("ERR-07")
@pytest.mark.parametrize(
    ("status", "condition", "kind"),
    [
        pytest.param(status, condition, kind, marks=pytest.mark.requirement(f"ERR-S{name}"))
        for name, (condition, kind, statuses) in CLASSES.items()
        for status in statuses
    ],
)
def test_a_status_without_a_row_becomes_the_condition_of_its_class(at_once: Bridge, status: int, condition: str, kind: str) -> None:
    assert error_of(asyncio.run(answered(at_once, status)))[:3] == (kind, condition, "Because")


@pytest.mark.requirement("ERR-04", "IMSG-25")
def test_an_error_stanza_has_one_error_and_repeats_the_id(at_once: Bridge) -> None:
    stanza = asyncio.run(answered(at_once, 404, "No such phone"))
    assert [child.tag for child in stanza] == ["error"]
    [error] = stanza
    assert [child.tag for child in error] == [f"{{{STANZAS}}}item-not-found", f"{{{STANZAS}}}text"]
    assert error[1].get(LANG) == "en"


@pytest.mark.requirement("ERR-04")
def test_an_error_about_a_stanza_without_an_id_has_none(at_once: Bridge) -> None:
    async def talk() -> Element:
        async with both(at_once) as (phone, juliet):
            silent(phone)
            respond(phone, await from_client(phone, juliet, "<body>hi</body>", to=f"no.id@{KEPT}"), 404)
            return fromstring(await juliet.message())

    stanza = asyncio.run(talk())
    assert not stanza.get("id")
    assert (stanza.get("from"), stanza.get("to")) == (f"no.id@{KEPT}", "u0@xmpp.test/lab")


@pytest.mark.requirement("ERR-04", "ADDR-20")
def test_an_error_comes_from_the_device_that_was_written_to(at_once: Bridge) -> None:
    async def talk() -> Element:
        async with both(at_once) as (phone, juliet):
            silent(phone)
            request = await from_client(phone, juliet, "<body>hi</body>", to=f"dev@{KEPT}/desk", attributes="id='d1'")
            assert start_line(request) == f"MESSAGE sip:dev@{KEPT};gr=desk SIP/2.0"
            respond(phone, request, 404)
            return fromstring(await juliet.message())

    assert asyncio.run(talk()).get("from") == f"dev@{KEPT}/desk"


@pytest.mark.requirement("ERR-02", "IMSG-24")
@pytest.mark.parametrize("statuses", [(100, 200), (183, 202), (199, 299), (200,), (202,)], ids=str)
def test_no_other_answer_becomes_a_stanza(at_once: Bridge, statuses: tuple[int, ...]) -> None:
    """The lane of a recipient keeps its order, so an error for the first message would come before the one for the second."""

    async def talk() -> Element:
        async with both(at_once) as (phone, juliet):
            silent(phone)
            name = "quiet" + "-".join(map(str, statuses))
            request = await from_client(phone, juliet, "<body>one</body>", to=f"{name}@{KEPT}", attributes="id='first'")
            for status in statuses:
                respond(phone, request, status)
            respond(phone, await from_client(phone, juliet, "<body>two</body>", to=f"{name}@{KEPT}", attributes="id='second'"), 404)
            stanza = fromstring(await juliet.message())
            await nothing_more(juliet)
            return stanza

    assert asyncio.run(talk()).get("id") == "second"


@pytest.mark.requirement("ERR-03")
@pytest.mark.parametrize(
    ("reason", "text"),
    [
        ("", ""),
        ("Nicht erreichbar: für heute", "Nicht erreichbar: für heute"),
        ("<b>&amp;]]>", "<b>&amp;]]>"),
        ("x" * 500, "x" * 128),
        ("tab\there", "tab here"),
        ("bell\x07", "bell\ufffd"),
    ],
)
def test_the_reason_phrase_becomes_the_text(at_once: Bridge, reason: str, text: str) -> None:
    assert error_of(asyncio.run(answered(at_once, 404, reason)))[2] == text


@pytest.mark.requirement("ERR-14", "ERR-S301")
@pytest.mark.parametrize(
    ("status", "contact", "expected"),
    [
        (301, "<sip:new@stoxgate.test>", ("cancel", "gone", "xmpp:new@stoxgate.test")),
        (301, "<sip:u1@xmpp.test;transport=tcp>", ("cancel", "gone", "xmpp:u1@xmpp.test")),
        (301, "<sip:o'malley@stoxgate.test>", ("cancel", "gone", r"xmpp:o%5C27malley@stoxgate.test")),
        (301, "<sip:far@elsewhere.test>", ("cancel", "gone", "sip:far@elsewhere.test")),
        (301, "<tel:+12015550123>", ("cancel", "gone", "tel:+12015550123")),
        (301, "", ("cancel", "item-not-found", "")),
        (302, "<sip:new@stoxgate.test>;expires=60", ("modify", "redirect", "xmpp:new@stoxgate.test")),
        (302, "", ("modify", "redirect", "")),
        (410, "<sip:new@stoxgate.test>", ("cancel", "gone", "")),
    ],
)
def test_a_moved_recipient(at_once: Bridge, status: int, contact: str, expected: tuple[str, str, str]) -> None:
    kind, condition, _, address = error_of(asyncio.run(answered(at_once, status, headers=f"Contact: {contact}\r\n" if contact else "")))
    assert (kind, condition, address) == expected


@pytest.mark.requirement("ERR-S300")
def test_of_several_new_addresses_the_best_is_told(at_once: Bridge) -> None:
    contacts = "Contact: <sip:b@stoxgate.test>;q=0.3, <sip:a@stoxgate.test>;q=0.9\r\n"
    assert error_of(asyncio.run(answered(at_once, 300, headers=contacts)))[3] == "xmpp:a@stoxgate.test"


@pytest.mark.requirement("ERR-11")
@pytest.mark.parametrize(("status", "kind"), [(404, "wait"), (413, "wait"), (480, "wait"), (500, "wait"), (503, "wait"), (403, "auth")])
def test_retry_after_makes_an_error_one_that_passes(at_once: Bridge, status: int, kind: str) -> None:
    error = error_of(asyncio.run(answered(at_once, status, headers="Retry-After: 1 (soon)\r\n")))
    assert (error[0], error[1]) == (kind, STATUSES[status][0])


@pytest.mark.requirement("ERR-16")
def test_a_dead_next_hop_is_a_time_out(at_once: Bridge) -> None:
    async def talk() -> Element:
        async with at_once.user("u0") as juliet:
            return await refused_stanza(juliet, "<body>hi</body>", to=f"s0@{DEAD}")

    assert error_of(asyncio.run(talk()))[:2] == ("wait", "remote-server-timeout")


# -- from XMPP to SIP --------------------------------------------------------------------------------------------------
async def failed(it: Bridge, name: str, error: str, *, device: str = "", times: int = 1) -> Received:
    """The report that the phone gets when its message to juliet@people.test, which was answered 202, comes back with this error."""
    async with it.phone() as romeo, people(it) as juliet:
        sent = await romeo.request(f"sip:juliet@{PEOPLE}", f"sip:{name}@{KEPT}", b"hello")
        assert sent.status == 202
        stanza = fromstring(await juliet.message())
        assert stanza.get("from") == f"{name}@{KEPT}"
        for _ in range(times):
            juliet.send(
                f"<message type='error' from='juliet@{PEOPLE}{device}' to='{name}@{KEPT}' id='{stanza.get('id')}'>"
                f"{error}</message>".encode()
            )
        report = await romeo.requests.next()
        # A second report would come before what the same sender is told of a second message.
        sent = await romeo.request(f"sip:juliet@{PEOPLE}", f"sip:{name}@{KEPT}", b"again")
        second = fromstring(await juliet.message())
        juliet.send(f"<message type='error' from='juliet@{PEOPLE}' to='{name}@{KEPT}' id='{second.get('id')}'/>".encode())
        assert b" 400 " in (await romeo.requests.next()).body
        assert romeo.requests.waiting == []
    assert start_line(report) == f"MESSAGE sip:{name}@{KEPT} SIP/2.0"
    return report


def error(condition: str, kind: str, text: str = "", address: str = "") -> str:
    inner = f"<text xmlns='{STANZAS}'>{text}</text>" if text else ""
    return f"<error type='{kind}'><{condition} xmlns='{STANZAS}'>{address}</{condition}>{inner}</error>"


@pytest.mark.requirement("ERR-08", "IMSG-23")
@pytest.mark.parametrize("device", ["/lab", ""], ids=["full", "bare"])
@pytest.mark.parametrize(
    ("condition", "kind", "full", "bare"), [pytest.param(*row, marks=pytest.mark.requirement(number)) for number, *row in CONDITIONS]
)
def test_a_condition_is_told_with_its_status(at_once: Bridge, condition: str, kind: str, full: int, bare: int, device: str) -> None:
    name = f"{condition}.{'full' if device else 'bare'}"
    report = asyncio.run(failed(at_once, name, error(condition, kind, f"because of {condition}"), device=device))
    text = report.body.decode()
    assert f"sip:juliet@{PEOPLE}" in text
    assert f": {full if device else bare} " in text
    assert f"because of {condition}" in text
    assert report.header("From").startswith(f"<sip:gw.{KEPT}>;tag=")
    assert report.header("Content-Type") == "text/plain;charset=UTF-8"


@pytest.mark.requirement("ERR-06")
@pytest.mark.parametrize(
    "content",
    [
        f"<error type='wait'><future-thing xmlns='{STANZAS}'/></error>",
        "<error type='cancel'/>",
        "<error/>",
        "",
        "<error type='cancel'><item-not-found xmlns='urn:elsewhere'/></error>",
        f"<x xmlns='urn:x'><error><gone xmlns='{STANZAS}'/></error></x>",
    ],
    ids=["future", "empty", "bare", "none", "namespace", "depth"],
)
def test_an_error_without_a_known_condition_is_400(at_once: Bridge, content: str, request: pytest.FixtureRequest) -> None:
    report = asyncio.run(failed(at_once, f"odd.{request.node.callspec.id}", content))
    assert b": 400 Bad Request" in report.body


@pytest.mark.requirement("ERR-13")
@pytest.mark.parametrize(
    ("condition", "address", "status", "contact"),
    [
        ("gone", f"xmpp:new@{PEOPLE}", 301, f"sip:new@{PEOPLE}"),
        ("redirect", "xmpp:u1@xmpp.test", 302, "sip:u1@xmpp.test"),
        ("gone", "xmpp:o%5C27malley@xmpp.test?message", 301, "sip:o'malley@xmpp.test"),
        ("gone", "mailto:juliet@example.org", 410, ""),
        ("redirect", "xmpp:far@elsewhere.test", 480, ""),
        ("gone", "xmpp:", 410, ""),
    ],
)
def test_where_somebody_has_gone(at_once: Bridge, condition: str, address: str, status: int, contact: str) -> None:
    name = f"moved{status}.{len(address)}"
    text = asyncio.run(failed(at_once, name, error(condition, "cancel", address=address))).body.decode()
    assert f": {status} " in text
    assert (contact in text) if contact else (address not in text)


@pytest.mark.requirement("XEP-20")
def test_a_recipient_who_blocks_the_sender_is_403(at_once: Bridge) -> None:
    content = f"<error type='cancel'><not-acceptable xmlns='{STANZAS}'/><blocked xmlns='urn:xmpp:blocking:errors'/></error>"
    assert b": 403 Forbidden" in asyncio.run(failed(at_once, "blocked", content)).body


@pytest.mark.requirement("ERR-03", "SEC-18")
@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("one\ntwo&#13;&#10;Via: x", "one two Via: x"),
        ("a &lt;b&gt; &quot;c&quot; 100% #1", 'a <b> "c" 100% #1'),
        ("für immer", "für immer"),
        ("&#x85;", "\ufffd"),
    ],
)
def test_the_text_of_an_error_is_one_line_of_the_report(at_once: Bridge, said: str, told: str) -> None:
    report = asyncio.run(failed(at_once, f"text{len(said)}", error("item-not-found", "cancel", said)))
    assert report.body.decode().endswith(f": 604 Does Not Exist Anywhere ({told})")


@pytest.mark.requirement("ERR-05", "FRAG-43")
def test_a_failure_is_told_once_however_often_it_comes_back(at_once: Bridge) -> None:
    asyncio.run(failed(at_once, "twice", error("item-not-found", "cancel"), times=3))


@pytest.mark.requirement("ERR-05", "SEC-43")
@pytest.mark.parametrize("content", ["<body>undelivered</body>", ""])
def test_an_error_for_nothing_that_was_sent_is_silence(at_once: Bridge, content: str) -> None:
    async def talk() -> None:
        async with at_once.phone() as romeo, people(at_once) as juliet:
            stray = content + error("item-not-found", "cancel")
            juliet.send(f"<message type='error' from='juliet@{PEOPLE}' to='s0@{KEPT}' id='never-sent'>{stray}</message>".encode())
            juliet.send(f"<message from='juliet@{PEOPLE}' to='s0@{KEPT}'><body>fence</body></message>".encode())
            assert (await romeo.requests.next()).body == b"fence"
            assert [stanza for stanza in juliet.stanzas.waiting if b"<message" in stanza] == []

    asyncio.run(talk())


@pytest.mark.requirement("SEC-43")
def test_somebody_else_cannot_say_that_a_message_failed(at_once: Bridge) -> None:
    async def talk() -> None:
        async with at_once.phone() as romeo, people(at_once) as juliet:
            await romeo.request(f"sip:juliet@{PEOPLE}", f"sip:s0@{KEPT}", b"hello")
            number = fromstring(await juliet.message()).get("id")
            content = error("item-not-found", "cancel")
            for sender, target in ((f"mercutio@{PEOPLE}", f"s0@{KEPT}"), (f"juliet@{PEOPLE}", f"s1@{KEPT}")):
                juliet.send(f"<message type='error' from='{sender}' to='{target}' id='{number}'>{content}</message>".encode())
            juliet.send(f"<message from='juliet@{PEOPLE}' to='s0@{KEPT}'><body>fence</body></message>".encode())
            assert (await romeo.requests.next()).body == b"fence"
            assert romeo.requests.waiting == []

    asyncio.run(talk())


# -- what the gateway says no with -------------------------------------------------------------------------------------
@pytest.mark.requirement("ERR-09")
def test_who_exists_and_who_does_not_cannot_be_told_apart(at_once: Bridge) -> None:
    """u3 has an account and is not there; nobody has none. The server says service-unavailable for both, and so does the report."""

    async def report(user: str) -> str:
        async with at_once.phone() as romeo:
            assert (await romeo.request(f"sip:{user}@xmpp.test", f"sip:s0@{KEPT}", b"hello")).status == 202
            return (await romeo.requests.next()).body.decode().replace(f"{user}@", "someone@")

    first, second = asyncio.run(report("u3")), asyncio.run(report("nobody"))
    assert first == second
    assert ": 403 Forbidden" in first


@pytest.mark.requirement("SEC-40", "ARCH-11")
def test_a_stranger_on_the_xmpp_side_learns_nothing(at_once: Bridge) -> None:
    async def talk() -> list[tuple[str, str, str, str]]:
        async with people(at_once, STRANGERS) as stranger:
            seen = []
            for target in (f"s0@{KEPT}", rf"\5cfoo@{KEPT}", KEPT):
                stranger.send(f"<message from='x@{STRANGERS}' to='{target}' id='n1'><body>hi</body></message>".encode())
                seen.append(error_of(fromstring(await stranger.message())))
            return seen

    seen = asyncio.run(talk())
    assert seen[0][:2] == ("auth", "forbidden")
    assert len(set(seen)) == 1


@pytest.mark.requirement("ERR-10")
@pytest.mark.parametrize(
    ("method", "body_type", "extra", "status", "header"),
    [
        ("SUBSCRIBE", "", "Event: presence\r\n", 405, "Allow: MESSAGE, OPTIONS, CANCEL"),
        ("MESSAGE", "image/png", "", 415, f"Accept: {ACCEPT}"),
        ("MESSAGE", "text/plain", "Require: rel99, foo\r\n", 420, "Unsupported: rel99, foo"),
    ],
)
def test_a_refusal_brings_what_its_status_needs(bridge: Bridge, method: str, body_type: str, extra: str, status: int, header: str) -> None:
    async def talk() -> bytes:
        async with bridge.phone() as phone:
            branch, data = phone.build(bridge.sip_of("u0"), bridge.phone_uri("s0"), b"x" if body_type else b"", body_type or "a/b", extra)
            data = data.replace(b"MESSAGE", method.encode()).replace(b"Content-Type: a/b\r\n", b"")
            phone.send(branch, data)
            return await phone.responses.next()

    response = asyncio.run(talk())
    assert response.startswith(f"SIP/2.0 {status} ".encode())
    assert f"\r\n{header}\r\n".encode() in response
