"""What the torture messages of RFC 4475, RFC 5118 and our own must mean to a parser."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote

import pytest

from gateway.core.domain import ascii_domain
from gateway.core.errors import SyntaxFault
from gateway.core.mime import Entity, split_multipart
from gateway.sip import writer
from gateway.sip.framing import Bad, StreamFramer
from gateway.sip.headers import NameAddr
from gateway.sip.message import BadMessage, MethodMismatch, Request, Response, parse
from tests.cost import seconds
from tests.sip.sample import fault_of, verdict, written_again
from tests.vectors import OWN, RFC, Case, cases, load

pytestmark = pytest.mark.vectors
every_case = pytest.mark.parametrize("case", cases())

DECIDED = {
    "ltgtruri": 400, "escruri": 400, "badbranch": 400, "angle-ruri": 400, "bare-cookie-branch": 400,
    "lwsstart": None, "trws": None, "badaspec": None, "startline-spaces": None,
}  # fmt: skip
"""What is decided where the vectors leave it open (TOR-12): the status of the refusal, or None for what is taken."""
STRICT_ONLY = {name for name, status in DECIDED.items() if status is None}
BROKEN_CONTACT = "regbadct"
"""Its fault is in a header that a gateway does not need, so the message is taken and the Contact is not (SIP-18)."""

Fact = tuple[Callable[[Any], object], object]
ABOVE_THE_PARSER = {
    "nothing is delivered to user rom or romeo", "exactly one reply (Call-ID trail1@client.example.org)", "response has Accept",
}  # fmt: skip
FACTS: dict[str, dict[str, Fact]] = {
    "wsinv": {
        "to.tag=1918181833n": (lambda m: m.to.tag, "1918181833n"),
        "from.tag=98asjd8": (lambda m: m.from_.tag, "98asjd8"),
        'from.display=J Testerman \\"  (after unescaping: J Testerman, space, backslash, quote)':
            (lambda m: m.from_.display_name, 'J Testerman \\"'),
        "max_forwards=68": (lambda m: m.max_forwards, 68),
        "cseq=9 INVITE": (lambda m: m.cseq, (9, "INVITE")),
        "via.count=3": (lambda m: len(m.vias), 3),
        "via[0].branch=390skdjuw": (lambda m: m.vias[0].branch, "390skdjuw"),
        "via[1].host=spindle.example.com": (lambda m: m.vias[1].host, "spindle.example.com"),
        "via[1].transport=TCP": (lambda m: m.vias[1].transport, "TCP"),
        "via[2].branch=z9hG4bK30239": (lambda m: m.vias[2].branch, "z9hG4bK30239"),
        "subject=(empty)": (lambda m: m.header("subject"), ""),
        "contact.q=0.33": (lambda m: m.contact[0].param("q"), "0.33"),
        "contact.param.secondparam=(no value)": (lambda m: m.contact[0].param("secondparam"), ""),
        "body.length=150": (lambda m: len(m.body), 150),
    },
    "intmeth": {
        "method=!interesting-Method0123456789_*+`.%indeed'~": (lambda m: m.method, "!interesting-Method0123456789_*+`.%indeed'~"),
        "to.display contains U+0007, U+0000 and U+007F after unescaping":
            (lambda m: m.to.display_name, "BEL:\x07 NUL:\x00 DEL:\x7f"),
        "max_forwards=255": (lambda m: m.max_forwards, 255),
        "call_id kept byte for byte": (lambda m: m.call_id, "intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{"),
    },
    "esc01": {
        "ruri.user=sips:user@example.com (decoded)": (lambda m: unquote(m.request_uri.user), "sips:user@example.com"),
        "to.uri.user=user (decoded)": (lambda m: unquote(m.to.uri.user), "user"),
        'from.uri.user="I have spaces" (decoded)': (lambda m: unquote(m.from_.uri.user), "I have spaces"),
        "contact.uri param lr present after decoding %6C%72": (lambda m: m.contact[0].uri.param("lr"), ""),
        "contact.uri param name=value%41 (decoded once only)": (lambda m: unquote(m.contact[0].uri.param("name")), "value%41"),
    },
    "escnull": {
        "contact.count=2": (lambda m: len(m.contact), 2),
        "contact[0].uri.user has length 1": (lambda m: unquote(m.contact[0].uri.user), "\0"),
        "contact[1].uri.user has length 2": (lambda m: unquote(m.contact[1].uri.user), "\0\0"),
        "to.uri.user has length 11 after decoding": (lambda m: unquote(m.to.uri.user), "null-\0-null"),
    },
    "esc02": {
        "method=RE%47IST%45R": (lambda m: m.method, "RE%47IST%45R"),
        "to.display=%Z%45": (lambda m: m.to.display_name, "%Z%45"),
        "contact.count=2": (lambda m: [each.uri.user for each in m.contact], ["alias1", "alias3"]),
        "header C%6Fntact is an unknown header": (lambda m: m.header("C%6Fntact"), "<sip:alias2@host2.example.com>"),
    },
    "lwsdisp": {
        "from.display=caller": (lambda m: m.from_.display_name, "caller"),
        "from.tag=323": (lambda m: m.from_.tag, "323"),
    },
    "longreq": {
        "via.count=34": (lambda m: len(m.vias), 34),
        "body.length=150": (lambda m: len(m.body), 150),
        "via rows keep order across Via/v/V/ViA spellings": (
            lambda m: [via.host for via in m.vias], [*(f"sip{number}.example.com" for number in range(33, 0, -1)), "host.example.com"]),
    },
    "dblreq": {
        "exactly one request is seen": (lambda m: b"INVITE" in m.body, False),
        "method=REGISTER": (lambda m: m.method, "REGISTER"),
        "body.length=0": (lambda m: len(m.body), 0),
    },
    "semiuri": {
        "ruri.user=user;par=u@example.net (decoded)": (lambda m: unquote(m.request_uri.user), "user;par=u@example.net"),
        "ruri.host=example.com": (lambda m: m.request_uri.host, "example.com"),
        "ruri.params=(none)": (lambda m: m.request_uri.params, ()),
        "accept.count=6": (lambda m: len(m.values("accept")), 6),
    },
    "transports": {
        "via.count=5": (lambda m: len(m.vias), 5),
        "via[3].transport=UNKNOWN": (lambda m: m.vias[3].transport, "UNKNOWN"),
    },
    "mpart01": {
        "content_length=553": (lambda m: m.content_length, 553),
        "body.length=553": (lambda m: len(m.body), 553),
        "body contains octet 0x00": (lambda m: b"\0" in m.body, True),
        "part count 2": (lambda m: len(split_multipart(Entity.compose([("Content-Type", m.header("content-type"))], m.body))), 2),
    },
    "unreason": {
        "status=200": (lambda m: m.status, 200),
        'reason is UTF-8 text starting "= 2**3"': (lambda m: m.reason.startswith("= 2**3 * 5**2 но"), True),
        "body.length=154": (lambda m: len(m.body), 154),
    },
    "noreason": {
        "status=100": (lambda m: m.status, 100),
        "reason=(empty)": (lambda m: m.reason, ""),
    },
    "bext01": {
        "unsupported=nothingSupportsThis, nothingSupportsThisEither":
            (lambda m: m.require, ("nothingSupportsThis", "nothingSupportsThisEither")),
    },
    "cparam01": {
        "contact.uri.params=(none)": (lambda m: m.contact[0].uri.params, ()),
        "contact.param.unknownparam=(no value)": (lambda m: m.contact[0].param("unknownparam"), ""),
    },
    "cparam02": {
        "contact.uri.param.unknownparam=(no value)": (lambda m: m.contact[0].uri.param("unknownparam"), ""),
        "contact.params=(none)": (lambda m: dict(m.contact[0].params), {}),
    },
    "regescrt": {
        "contact.uri.header.Route=<sip:sip.example.com> (decoded)":
            (lambda m: unquote(m.contact[0].uri.headers), "Route=<sip:sip.example.com>"),
    },
    "inv2543": {
        "from.tag=(absent)": (lambda m: m.from_.tag, None),
        "via[0].branch=(absent)": (lambda m: m.top_via.branch, None),
        "to.params: user=phone is a HEADER parameter": (lambda m: (m.to.param("user"), m.to.uri.params), ("phone", ())),
    },
    "ipv6-good": {
        "ruri.host=[2001:db8::10]": (lambda m: m.request_uri.host, "[2001:db8::10]"),
        "ruri.port=(absent)": (lambda m: m.request_uri.port, None),
    },
    "port-ambiguous": {
        "ruri.host=[2001:db8::10:5070]": (lambda m: m.request_uri.host, "[2001:db8::10:5070]"),
        "ruri.port=(absent)": (lambda m: m.request_uri.port, None),
    },
    "port-unambiguous": {
        "ruri.host=[2001:db8::10]": (lambda m: m.request_uri.host, "[2001:db8::10]"),
        "ruri.port=5070": (lambda m: m.request_uri.port, 5070),
    },
    "via-received-param-with-delim": {"via[0].received=2001:db8::9:255": (lambda m: m.top_via.received, "2001:db8::9:255")},
    "via-received-param-no-delim": {"via[0].received=2001:db8::9:255": (lambda m: m.top_via.received, "2001:db8::9:255")},
    "mult-ip-in-header": {
        "via.count=3": (lambda m: len(m.vias), 3),
        "via[0].port=6050": (lambda m: m.vias[0].port, 6050),
        "via[2].received=192.0.2.200": (lambda m: m.vias[2].received, "192.0.2.200"),
    },
    "ipv4-mapped-ipv6": {
        "via[0].host=[::ffff:192.0.2.10]": (lambda m: m.top_via.host, "[::ffff:192.0.2.10]"),
        "via[0].port=19823": (lambda m: m.top_via.port, 19823),
    },
    "ipv6-bug-abnf-3-colons": {
        "ruri.host equals [2001:db8::192.0.2.1] after normalisation":
            (lambda m: m.request_uri.host, ascii_domain("[2001:db8::192.0.2.1]")),
    },
    "ipv6-correct-abnf-2-colons": {
        "ruri.host=[2001:db8::192.0.2.1]": (lambda m: m.request_uri.host, ascii_domain("[2001:db8::192.0.2.1]")),
    },
    "fold-all-over": {
        "cseq=9 MESSAGE": (lambda m: m.cseq, (9, "MESSAGE")),
        "max_forwards=68": (lambda m: m.max_forwards, 68),
        "via.count=3": (lambda m: [via.branch for via in m.vias], ["z9hG4bKfold1", "z9hG4bKfold2", "z9hG4bKfold3"]),
        "subject=(empty)": (lambda m: m.header("subject"), ""),
        'from.display=A "quoted" Name \\': (lambda m: m.from_.display_name, 'A "quoted" Name \\'),
        "to.tag=(absent)": (lambda m: m.to.tag, None),
        "body=folded hello": (lambda m: m.body, b"folded hello"),
    },
    "odd-charset": {
        "response Call-ID equals request Call-ID byte for byte":
            (lambda m: parse(answer(m)).call_id, "oddcs.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{"),
        "body=odd": (lambda m: m.body, b"odd"),
    },
    "pct-users": {
        "ruri.user=romeo (decoded)": (lambda m: unquote(m.request_uri.user), "romeo"),
        "from.uri.user=my friend (decoded)": (lambda m: unquote(m.from_.uri.user), "my friend"),
    },
    "pct-nul-user": {"ruri.user has length 6 after decoding": (lambda m: len(unquote(m.request_uri.user)), 6)},
    "no-lws-display": {"from.display=juliet": (lambda m: m.from_.display_name, "juliet")},
    "long-values": {
        "response via.count=34 in request order": (lambda m: [via.host for via in parse(answer(m)).vias], [
            "client.example.org", *(f"hop{number}.example.org" for number in range(34, 1, -1))]),
    },
    "trailing-octets-udp": {"exactly one delivery, body=first body": (lambda m: m.body, b"first body")},
    "semicolon-user": {
        "ruri.user=romeo;par=u@example.com (decoded)": (lambda m: unquote(m.request_uri.user), "romeo;par=u@example.com"),
        "ruri.host=gw.example.net": (lambda m: m.request_uri.host, "gw.example.net"),
    },
    "require-unknown": {
        "response Unsupported = nothingSupportsThis, norThis": (lambda m: m.require, ("nothingSupportsThis", "norThis")),
    },
}  # fmt: skip


def answer(message: Any) -> bytes:
    """A response to a request, or to what can be read of a broken one."""
    return writer.response(message, 400, "Bad Request", to_tag="g1", source=("192.0.2.250", 5099))


def identity(message: Request | Response) -> tuple[object, ...]:
    """What makes a message the one it is."""
    start = (message.method, message.request_uri_text) if isinstance(message, Request) else (message.status, message.reason)
    return (*start, message.vias, message.from_, message.to, message.call_id, message.cseq, message.body)


@pytest.mark.requirement("TOR-02", "TOR-12")
@every_case
def test_the_parser_takes_what_it_must_and_refuses_what_it_must(case: Case) -> None:
    fault = fault_of(case.data)
    if case.parse == "either":
        assert (fault.status if fault else None) == DECIDED[case.name]
    elif case.parse == "ok" or case.name == BROKEN_CONTACT:
        assert fault is None
    elif case.kind == "response":
        assert fault is not None
        assert (fault.status, fault.partial) == (0, None)
    else:
        assert fault is not None
        assert fault.status in case.status
        assert fault.partial is not None


@pytest.mark.requirement("TOR-12")
@every_case
def test_strict_refuses_all_that_is_left_open(case: Case) -> None:
    assert (fault_of(case.data, strict=True) is None) == ((fault_of(case.data) is None) and case.name not in STRICT_ONLY)


@pytest.mark.requirement("SIP-26", "SIP-52", "TOR-02")
@every_case
def test_what_was_read(case: Case) -> None:
    facts = FACTS.get(case.name, {})
    assert set(case.checks) == set(facts) | (set(case.checks) & ABOVE_THE_PARSER)
    for said, (look, expected) in facts.items():
        assert look(parse(case.data)) == expected, said


@pytest.mark.requirement("SIP-16", "SIP-18")
def test_a_contact_that_needs_brackets_is_no_contact() -> None:
    with pytest.raises(SyntaxFault):
        NameAddr.parse("sip:user@example.com?Route=%3Csip:sip.example.com%3E")


def test_every_fact_belongs_to_a_vector() -> None:
    own, rfc = {case.name for case in load(OWN)}, {case.name for case in load(RFC)}
    assert len(own) == 38
    assert not rfc or (len(rfc) == 61 and FACTS.keys() | DECIDED.keys() <= own | rfc)


@pytest.mark.requirement("SIP-20", "TOR-04")
def test_an_unknown_method_with_another_in_cseq_can_be_answered_501() -> None:
    data = next(case.data for case in load(OWN) if case.name == "cseq-method-mismatch").replace(b"MESSAGE sip", b"NEWMETHOD sip")
    fault = fault_of(data)
    assert isinstance(fault, MethodMismatch)
    assert (fault.status, fault.method) == (400, "NEWMETHOD")


# -- TOR-05: streams ---------------------------------------------------------------------------------------------------
CLOSES_STREAM = {
    "ncl": "400 Bad Content-Length", "clen-negative": "400 Bad Content-Length", "clen-word": "400 Bad Content-Length",
    "mcl01": "400 Repeated Content-Length", "two-clens": "400 Repeated Content-Length", "inv2543": "400 Missing Content-Length",
    "resp-big-code": "", "bigcode": "",
}  # fmt: skip
WAITS_FOR_MORE = {"clerr", "clen-too-big", "baddn"}
SECOND_BEHIND = {"dblreq", "trailing-octets-udp"}


@pytest.mark.requirement("TOR-05", "SIP-41", "SIP-43")
@pytest.mark.parametrize("size", [1, 2, 7, 1000])
@every_case
def test_on_a_stream_in_pieces(case: Case, size: int) -> None:
    framer = StreamFramer()
    items = [item for start in range(0, len(case.data), size) for item in framer.feed(case.data[start : start + size])]
    if case.name in WAITS_FOR_MORE:
        assert (items, framer.state) == ([], "headers" if case.name == "baddn" else "body")
    elif CLOSES_STREAM.get(case.name):
        assert [f"{item.fault.status} {item.fault.what}" for item in items if isinstance(item, Bad)] == [CLOSES_STREAM[case.name]]
        assert framer.state == "closed"
    else:
        first = items[0]
        assert isinstance(first, bytes)
        assert case.data.startswith(first)
        assert verdict(first, stream=True) == verdict(case.data)
        messages = [item for item in items if isinstance(item, bytes)]
        assert [verdict(each, stream=True) for each in messages[1:]] == (["ok"] if case.name in SECOND_BEHIND else [])


# -- TOR-06, TOR-07: damage --------------------------------------------------------------------------------------------
@pytest.mark.requirement("TOR-06", "SEC-27")
@every_case
def test_cut_at_every_octet(case: Case) -> None:
    whole = None if fault_of(case.data) else parse(case.data)
    for end in range(len(case.data)):
        cut = case.data[:end]
        fault = fault_of(cut)
        if fault is None:
            assert whole is not None
            assert parse(cut).body == whole.body or whole.content_length is None
        else:
            assert fault.status in (0, 400, 505)
            assert not fault.partial or parse(answer(fault.partial))


def damaged(data: bytes, places: range) -> Iterator[bytes]:
    """Every message that differs in one octet at one of these places: flipped, left out, doubled, or another one (TOR-07)."""
    for place in places:
        before, octet, after = data[:place], data[place : place + 1], data[place + 1 :]
        yield before + bytes([octet[0] ^ 1]) + after
        yield before + after
        yield before + octet + octet + after
        for other in (b"\0", b"\r", b"\n", b"\x80", b"\xff"):
            yield before + other + after


def seen(data: bytes) -> None:
    """Read it as far as it goes, every view of it, and answer it: nothing but BadMessage may come out."""
    try:
        message = parse(data)
        message.check()
    except BadMessage as fault:
        if fault.partial:
            assert_harmless(answer(fault.partial))
        return
    _ = (message.rows, message.vias, message.contact, message.warning, message.content_language, message.retry_after, message.expires,
         message.require, message.route)  # fmt: skip
    if isinstance(message, Request):
        assert parse(answer(message)).cseq == message.cseq


def assert_harmless(reply: bytes) -> None:
    """A reply that reads as one, with no control octets but those of its line ends (TOR-08)."""
    assert isinstance(parse(reply), Response)
    assert not [octet for octet in reply.replace(b"\r\n", b"") if octet < 9 or 9 < octet < 32 or octet == 127]


@pytest.mark.requirement("TOR-07", "TOR-08")
@every_case
def test_one_octet_damaged(case: Case) -> None:
    everything = os.environ.get("STOXGATE_SOAK") == "1"
    step = 1 if everything else max(len(case.data) // 40, 1)
    offset = 0 if everything else random.Random(case.name).randrange(step)
    for data in damaged(case.data, range(offset, len(case.data), step)):
        seen(data)


@pytest.mark.requirement("TOR-07", "REL-28")
@every_case
def test_no_damage_takes_long(case: Case) -> None:
    variants = list(damaged(case.data, range(0, len(case.data), max(len(case.data) // 10, 1))))
    bound = 0.05 * len(variants)
    assert seconds(lambda: list(map(seen, variants)), bound) < bound


# -- TOR-08, TOR-10: answers and round trips ---------------------------------------------------------------------------
@pytest.mark.requirement("TOR-08", "SIP-69")
@every_case
def test_the_answer_to_a_broken_request(case: Case) -> None:
    fault = fault_of(case.data)
    if fault is None or fault.partial is None:
        return
    reply = answer(fault.partial)
    assert_harmless(reply)
    assert parse(reply).top_via.received == "192.0.2.250"


@pytest.mark.requirement("TOR-10", "SIP-17")
@every_case
def test_written_again_it_is_the_same_message(case: Case) -> None:
    if fault_of(case.data):
        return
    first = parse(case.data)
    again = parse(written_again(first), stream=True)
    again.check()
    assert identity(again) == identity(first)
    assert [row for row in again.rows if row[0] != "content-length"] == [row for row in first.rows if row[0] != "content-length"]
