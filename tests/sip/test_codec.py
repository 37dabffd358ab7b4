"""MESSAGE octets -> Envelope and Envelope -> MESSAGE octets (RFC 3428, RFC 7572)."""

from __future__ import annotations

import tracemalloc
from contextlib import nullcontext
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from gateway.core.address import SipAddress
from gateway.core.canonical import failure_message, text_message
from gateway.core.cpim import CpimMessage
from gateway.core.envelope import Envelope, RequestOrigin
from gateway.core.errors import Refusal, SyntaxFault
from gateway.core.jid import Jid
from gateway.core.outcome import Outcome, Verdict
from gateway.core.ports import Peer
from gateway.core.settings import RouteRule
from gateway.core.uri import Uri
from gateway.relay.report import failure
from gateway.sip import writer
from gateway.sip.codec import PLACE_OF_BRANCH, Draft, SipCodec
from gateway.sip.message import Request, parse
from gateway.sip.redirect import Place, Trail
from gateway.sip.uas import Uas
from tests.sip.rig import JULIET, SECRET, codec, directory, guard, header, headers, param, request, settings, tables, with_numbers
from tests.sip.sample import read
from tests.sip.test_reading import envelope

NOW = 1_770_000_000.0
CODEC = codec(settings())


# -- to SIP ---------------------------------------------------------------------------------------------------------------
def letter(text: str = "hello", *, thread: str = "call-1", subject: str = "", written: float = NOW, language: str = "") -> Envelope:
    """A message of juliet's to romeo."""
    sender, recipient = Jid("juliet", "xmpp.example"), SipAddress("romeo", "sip.example")
    subjects = ((subject, ""),) if subject else ()
    message = text_message(sender, recipient, text, written, subjects=subjects, language=language)
    return Envelope("id-1", "trace-1", sender, recipient, message, NOW, "xmpp:sip.example", thread=thread, sender_device="balcony")


def written(message: Envelope, number: int = 5, by: SipCodec = CODEC) -> bytes:
    draft = by.write(message, number).wire
    assert isinstance(draft, Draft)
    return draft.octets


@pytest.mark.requirement("SIP-100", "SIP-29", "SIP-64")
def test_a_letter_is_a_message_request_octet_for_octet() -> None:
    octets = written(letter("Wherefore\nart thou?"))
    tag = param(header(octets, "From"), "tag")
    assert (
        octets
        == (
            "MESSAGE sip:romeo@sip.example SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP gw.example:5060;branch={PLACE_OF_BRANCH};rport\r\n"
            "Max-Forwards: 70\r\n"
            f"From: <sip:juliet@xmpp.example;gr=balcony>;tag={tag}\r\n"
            "To: <sip:romeo@sip.example>\r\n"
            "Call-ID: call-1\r\n"
            "CSeq: 5 MESSAGE\r\n"
            "Content-Type: text/plain;charset=UTF-8\r\n"
            "Content-Length: 20\r\n\r\nWherefore\r\nart thou?"
        ).encode()
    )
    assert len(tag) == 24


@pytest.mark.requirement("SIP-100")
def test_one_conversation_has_one_from_tag_and_another_one_another() -> None:
    def tag(octets: bytes) -> str:
        return param(header(octets, "From"), "tag")

    first = tag(written(letter("one"), 5))
    assert tag(written(letter("two"), 6)) == first
    assert tag(written(letter(thread="call-2"))) != first
    assert tag(written(letter(), 2**31 + 5)) != first
    assert tag(written(replace(letter(), recipient=SipAddress("tomas", "sip.example")))) != first


@pytest.mark.requirement("SIP-100")
def test_without_a_thread_the_call_id_is_new_for_every_message_and_the_same_in_every_try() -> None:
    first = header(written(letter(thread="")), "Call-ID")
    assert len(first) == 24  # 96 bits, which nobody can tell without the secret
    assert header(written(letter(thread=""), 9), "Call-ID") == first
    assert header(written(replace(letter(thread=""), trace_id="trace-2")), "Call-ID") != first


@pytest.mark.requirement("SIP-100")
@pytest.mark.parametrize(("number", "cseq"), [(0, "0"), (2**31 - 1, "2147483647"), (2**31, "0"), (2**31 + 7, "7")])
def test_cseq_stays_below_2_to_31(number: int, cseq: str) -> None:
    assert header(written(letter(), number), "CSeq") == f"{cseq} MESSAGE"


@pytest.mark.requirement("SIP-89", "MSG-34")
def test_no_contact_and_no_accept_in_a_message() -> None:
    octets = written(letter(subject="s", language="en", written=NOW - 3600))
    names = {name for name, _ in parse(octets).rows}
    assert names == {"via", "max-forwards", "from", "to", "call-id", "cseq", "date", "subject", "content-language", "content-type",
                     "content-length"}  # fmt: skip
    assert (header(octets, "Subject"), header(octets, "Content-Language")) == ("s", "en")
    assert header(octets, "Date") == "Mon, 02 Feb 2026 01:40:00 GMT"


def test_a_subject_alone_is_a_message_without_body() -> None:
    octets = written(letter("", subject="s"))
    assert headers(octets, "Content-Type") == []
    assert octets.endswith(b"Content-Length: 0\r\n\r\n")


@pytest.mark.requirement("SIP-90")
def test_a_message_has_at_most_1300_octets() -> None:
    spare = 100 + 1300 - len(written(replace(letter("x" * 100), sender_device="")))
    assert len(written(replace(letter("x" * spare), sender_device=""))) == 1300
    with pytest.raises(Refusal) as refused:
        CODEC.write(replace(letter("x" * (spare + 1)), sender_device=""), 5)
    assert refused.value.key == "too-large-for-sip"


@pytest.mark.requirement("SIP-90", "MSG-61")
@pytest.mark.parametrize("number", [6, 10, 2**31 - 1])
def test_another_try_has_no_more_octets_however_long_its_cseq(number: int) -> None:
    spare = 100 + 1300 - len(written(letter("x" * 100)))
    for less in (0, 1, 8, 9, 300):
        full = letter("x" * (spare - less))
        again = CODEC.draft(full, number, "udp").octets
        assert len(again) <= 1300
        first, read = parse(written(full)), parse(again)
        assert isinstance(read, Request)
        read.check()
        assert (read.body, read.content_length, read.cseq.number) == (first.body, spare - less, number)
        # Only where there is no other way.
        assert (b"Content-Length: " in again) == (less >= len(str(number)) - 1)
    large = codec(settings(RouteRule("*", "sip:127.0.0.1;transport=tcp", large_messages=True)))
    assert b"\r\nContent-Length: 2000\r\n" in large.draft(letter("x" * 2000), number, "tcp").octets


@pytest.mark.requirement("IMSG-27")
def test_another_try_of_what_is_full_without_its_device_has_no_more_octets() -> None:
    spare = 100 + 1300 - len(written(replace(letter("x" * 100), sender_device="")))
    full = replace(letter("x" * spare), sender_name="J" * 100, sender_device="d" * 800)
    assert len(written(full)) == 1300
    for number in (10, 2_147_483_647):
        assert len(CODEC.draft(full, number, "udp").octets) <= 1300


@pytest.mark.requirement("IMSG-14", "SEC-19")
@pytest.mark.parametrize(
    ("name", "quoted"), [("Juliet", '"Juliet"'), ('J "the" C\\', '"J \\"the\\" C\\\\"'), ("<sip:x>;a=b,", '"<sip:x>;a=b,"'), ("", "")]
)
def test_the_name_of_the_sender_is_the_display_name_of_from(name: str, quoted: str) -> None:
    plain, named = written(letter()), written(replace(letter(), sender_name=name))
    tag = param(header(plain, "From"), "tag")
    assert header(named, "From") == f"{quoted} <sip:juliet@xmpp.example;gr=balcony>;tag={tag}".lstrip()
    assert parse(named).from_.display_name == name
    assert named.replace(header(named, "From").encode(), header(plain, "From").encode()) == plain


@pytest.mark.requirement("IMSG-14", "SIP-90")
def test_a_name_makes_no_message_too_large() -> None:
    """It is left out where the message has room for no more, and stays where a message may be large and is so without it."""
    spare = 100 + 1300 - len(written(letter("x" * 100)))
    for more, says_it in ((9, True), (8, False), (0, False)):
        octets = written(replace(letter("x" * (spare - more)), sender_name="Juliet"))
        assert (len(octets) <= 1300, b'From: "Juliet" <' in octets) == (True, says_it)
    large = codec(settings(RouteRule("*", "sip:127.0.0.1;transport=tcp", large_messages=True)))
    assert b'From: "Juliet" <' in written(replace(letter("x" * 2000), sender_name="Juliet"), by=large)


@pytest.mark.requirement("ADDR-24", "IMSG-27", "IMSG-11")
def test_a_device_makes_no_message_too_large() -> None:
    """The name goes first, then the device, then both; a message that may be large has both, and one From tag holds for all."""
    spare = 100 + 1300 - len(written(letter("x" * 100)))
    named, plain, bare = (
        '"Juliet" <sip:juliet@xmpp.example;gr=balcony>',
        "<sip:juliet@xmpp.example;gr=balcony>",
        "<sip:juliet@xmpp.example>",
    )
    for room, said in ((9, named), (8, plain), (0, plain), (-1, f'"Juliet" {bare}'), (-2, f'"Juliet" {bare}'), (-3, bare), (-11, bare)):
        octets = written(replace(letter("x" * (spare - room)), sender_name="Juliet"))
        tag = param(header(octets, "From"), "tag")
        assert (len(octets) <= 1300, header(octets, "From")) == (True, f"{said};tag={tag}"), room
        assert tag == param(header(written(letter()), "From"), "tag")
    with pytest.raises(Refusal):
        CODEC.write(replace(letter("x" * (spare + 12)), sender_name="Juliet"), 5)
    large = codec(settings(RouteRule("*", "sip:127.0.0.1;transport=tcp", large_messages=True)))
    for length in (spare + 1, 2000):
        assert f"From: {named};tag=".encode() in written(replace(letter("x" * length), sender_name="Juliet"), by=large)


@pytest.mark.requirement("ADDR-24", "IMSG-27")
def test_a_device_that_would_make_a_large_message_of_one_over_udp_is_left_out() -> None:
    """No route makes a large message of UDP. Where a redirected message may be large it stays as it was."""
    octets = written(
        replace(letter("hi"), sender_device="x" * 1300), by=codec(settings(RouteRule("*", "sip:127.0.0.1", large_messages=True)))
    )
    assert b";gr=" not in octets
    by_tcp = codec(settings(RouteRule("*", "sip:127.0.0.1;transport=tcp", large_messages=True)))
    assert b";gr=" in written(replace(letter("hi"), sender_device="x" * 1300), by=by_tcp)
    for uri, keeps in (("sip:romeo@sip.example;transport=tcp", True), ("sip:romeo@sip.example;transport=udp", False)):
        trail = Trail((Place(Uri.parse(uri), "sip:127.0.0.1;transport=tcp"),), 32.0)
        redirected = by_tcp.draft(replace(letter("hi"), sender_device="x" * 1300), 5, "tcp", trail)
        assert (b";gr=" in redirected.octets) is keeps


@pytest.mark.requirement("ADDR-24", "IMSG-27")
def test_a_device_that_has_no_room_at_all_is_left_out() -> None:
    octets = written(replace(letter("hi"), sender_device="\xe9" * 300))
    assert header(octets, "From").startswith("<sip:juliet@xmpp.example>;tag=")
    assert octets.endswith(b"\r\n\r\nhi")


@pytest.mark.requirement("SIP-90")
def test_what_cannot_fit_is_refused_before_anything_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "request", None)
    for large in (letter(subject="x" * 1301), letter("x" * 1301), letter("x" * 650, subject="x" * 651)):
        with pytest.raises(Refusal) as refused:
            CODEC.write(large, 5)
        assert refused.value.key == "too-large-for-sip"


def test_what_is_long_is_not_remembered() -> None:
    """Nobody fills memory with subjects, URIs, devices and reasons of his choice."""
    by = codec(settings(RouteRule("*", "sip:127.0.0.1;transport=tcp", large_messages=True)))
    uas = Uas(guard(settings()), tables(), settings(), SECRET, frozenset())
    tracemalloc.start()
    try:
        for number in range(200):
            text = f"{number:015000}"
            written(letter(subject=text), by=by)
            written(replace(letter(), sender_device=text[-300:]), by=by)
            uas.message_key(read(request(from_=f"<sip:romeo@sip.example;x={text}>;tag=1")))
            uri, via = f"sip:romeo@sip.example;x={text}", ("UDP", "gw.example", "z9hG4bK1")
            writer.request("MESSAGE", uri, via=via, from_=f"<{uri}>", from_tag="t", to=f"<{uri}>", call_id="c", cseq=1)
            writer.response(read(request()), 400, text, to_tag="t", extra=(("Warning", f'399 h "{text}"'),))
        assert tracemalloc.get_traced_memory()[0] < 1_000_000
    finally:
        tracemalloc.stop()
    assert by._ends.cache_info().currsize == 1


@pytest.mark.requirement("SIP-90")
def test_more_needs_a_route_that_allows_it_and_a_transport_that_suits() -> None:
    large = letter("x" * 3000)
    over_tcp = codec(settings(RouteRule("*", "sip:127.0.0.1;transport=tcp", large_messages=True)))
    octets = written(large, by=over_tcp)
    assert len(octets) > 3000
    assert header(octets, "Via").startswith("SIP/2.0/TCP ")
    with pytest.raises(Refusal) as refused:
        codec(settings(RouteRule("*", "sip:127.0.0.1", large_messages=True))).write(large, 5)
    assert refused.value.key == "too-large-for-sip"


@pytest.mark.parametrize("hop", ["", "sip:h", "sip:h;transport=TCP", "sip:h;transport=sctp"])
@pytest.mark.parametrize("ours", [("udp", "tcp"), ("udp",), ("tcp",)])
def test_the_transport_is_one_that_we_listen_on_and_what_the_route_says_if_it_can_be(hop: str, ours: tuple[str, ...]) -> None:
    sent_by = dict.fromkeys(ours, "gw.example:5060")
    config = settings(RouteRule("*", hop))
    octets = written(letter(), by=SipCodec(directory(config), tables(), config, SECRET, sent_by))
    expected = "tcp" if "tcp" in ours and ("TCP" in hop or "udp" not in ours) else "udp"
    assert header(octets, "Via").startswith(f"SIP/2.0/{expected.upper()} ")


def test_the_lane_is_the_recipient_and_the_gate_the_next_hop() -> None:
    shouted = replace(letter(), recipient=SipAddress("Romeo", "sip.example"))
    first, second = CODEC.write(letter(), 1), CODEC.write(shouted, 2)
    assert (first.lane, first.gate, first.once) == ("sip romeo@sip.example", "sip:sip.example", False)
    assert second.lane == first.lane
    routed = codec(settings(RouteRule("sip.example", "sip:127.0.0.1:5070", store=False))).write(letter(), 1)
    assert (routed.gate, routed.once) == ("sip:127.0.0.1:5070", True)


@pytest.mark.requirement("ADDR-31")
@pytest.mark.parametrize(
    ("form", "uri", "device"),
    [("sip", "sip:+12015550123@sip.example;user=phone", ""), ("tel", "tel:+12015550123", ""),
     ("sip", "sip:+12015550123@sip.example;gr=desk;user=phone", "desk"), ("tel", "tel:+12015550123", "desk")],
)  # fmt: skip
def test_a_number_is_written_to_in_the_form_of_its_domain_over_the_route_of_its_domain(form: str, uri: str, device: str) -> None:
    by = codec(settings(RouteRule("sip.example", "sip:127.0.0.1:5070", store=False)), having=with_numbers(form))
    parcel = by.write(replace(letter(), recipient=SipAddress("+12015550123", "sip.example"), recipient_device=device), 1)
    assert isinstance(parcel.wire, Draft)
    assert parcel.wire.octets.startswith(f"MESSAGE {uri} SIP/2.0\r\n".encode())
    assert header(parcel.wire.octets, "To") == f"<{uri}>"
    assert (parcel.lane, parcel.gate, parcel.once) == ("sip +12015550123@sip.example", "sip:127.0.0.1:5070", True)


@pytest.mark.requirement("ADDR-31", "SIP-103")
@pytest.mark.parametrize("bears", [True, False])
def test_a_tel_uri_that_goes_over_a_proxy_is_under_the_rule_of_its_domain(bears: bool) -> None:
    hop = "sip:127.0.0.1:5070;transport=tcp"
    config = settings(RouteRule("sip.example", hop, large_messages=True), RouteRule("*", hop))
    by = codec(config, having=with_numbers("tel"))
    message = replace(letter("x" * 1500), recipient=SipAddress("+12015550123", "sip.example"))
    trail = Trail((Place(Uri.parse("tel:+12015550123" if bears else "sip:r@other.example"), hop),), 32.0)
    with nullcontext() if bears else pytest.raises(Refusal, match="too-large-for-sip"):
        assert by.moved(by.write(message, 1), message, trail).gate == hop


def test_a_route_may_ask_for_message_cpim() -> None:
    message = letter()
    octets = written(message, by=codec(settings(RouteRule("*", "sip:h", cpim="always"))))
    assert header(octets, "Content-Type") == "message/cpim"
    assert octets.partition(b"\r\n\r\n")[2] == message.message.raw


def report(user: str = "Romeo", device: str = "", reason: str = "no such\r\nuser", **about: str) -> Envelope:
    """What tells a SIP user that his message to juliet failed. about: what the failed request said."""
    author, addressee = SipAddress(user, "sip.example"), Jid("juliet", "xmpp.example")
    origin = RequestOrigin(about.get("to_uri", JULIET), "call-1", "1 MESSAGE")
    moved = (("Contact", f"<{about['contact']}>"),) if "contact" in about else ()
    failure = failure_message(addressee, author, NOW, 404, reason, moved)
    return replace(letter(thread=""), sender=addressee, recipient=author, recipient_device=device, message=failure, about=origin)


@pytest.mark.requirement("FRAG-40")
@pytest.mark.parametrize("more", ["", ":5070;maddr=192.0.2.9;transport=tcp;lr;x=1", ";method=INVITE?Route=%3Csip:evil%3E"])
@pytest.mark.parametrize("user", ["sip:Romeo", "sips:Romeo", "sip:Romeo:hush"])
def test_a_report_comes_from_the_gateway_goes_to_the_address_of_the_sender_and_says_what_failed(user: str, more: str) -> None:
    sip = read(request(from_=f"<{user}@sip.example{more}>;tag=1"))
    came = envelope(sip, guard(settings()).from_sip(Peer("phone"), sip.from_.uri, sip.request_uri))
    told = failure(came, Outcome(Verdict.FAILED, 404, "no such user"), "trace-2", NOW)
    assert told
    octets = written(told)
    assert octets.startswith(b"MESSAGE sip:Romeo@sip.example SIP/2.0\r\n")
    assert header(octets, "To") == "<sip:Romeo@sip.example>"
    assert header(octets, "From").startswith("<sip:gw.example>;tag=")
    assert octets.partition(b"\r\n\r\n")[2].startswith(b"Your message to sip:juliet@xmpp.example could not be delivered: 404 Not Found (")


@pytest.mark.requirement("FRAG-40")
def test_a_report_goes_to_the_device_that_sent() -> None:
    assert written(report(device="desk phone")).startswith(b"MESSAGE sip:Romeo@sip.example;gr=desk%20phone SIP/2.0\r\n")


@pytest.mark.requirement("FRAG-40", "SIP-90")
@pytest.mark.parametrize("hop", ["", "sip:edge.provider.example:5080;transport=tcp;lr"])
@pytest.mark.parametrize(
    "long",
    [
        {"reason": "no " * 2000},
        {"to_uri": f"sip:{'x' * 3000}@xmpp.example"},
        {"contact": f"sip:{'x' * 3000}@xmpp.example"},
        {"device": "x" * 1000},
        {"user": "x" * 400},
        {
            "reason": "\U0001f600" * 500,
            "to_uri": f"sip:{'x' * 900}@h",
            "contact": f"sip:{'x' * 900}@h",
            "device": "x" * 200,
            "user": "y" * 300,
        },
    ],
)
def test_no_report_is_lost_for_its_size(long: dict[str, str], hop: str) -> None:
    octets = written(report(**long), by=codec(settings(RouteRule("*", hop))))
    assert (b"\r\nRoute: <" in octets) == bool(hop)
    assert len(octets) <= 1300
    sip = parse(octets)
    assert isinstance(sip, Request)
    sip.check()
    assert b"could not be delivered: 404 Not Found" in sip.body
    sip.body.decode()


@pytest.mark.requirement("SIP-100", "SIP-32")
@hypothesis_settings(deadline=None)
@given(
    st.text(max_size=40),
    st.text(max_size=20) | st.sampled_from(["a@b", "x y", "xmpp-thread.a", "é", "\r\nVia: x", "a" * 300]),
    st.text(max_size=10) | st.sampled_from(["x\r\nRoute: <sip:evil>", "\0", "\x85"]),
    st.integers(0, 2**40),
)
def test_whatever_a_stanza_says_it_is_one_sound_request_that_is_read_back(text: str, thread: str, subject: str, number: int) -> None:
    try:
        message = letter(text, thread=thread, subject=subject)
    except SyntaxFault:  # what cannot become message/cpim does not get here
        return
    octets = written(message, number)
    sip = parse(octets)
    assert isinstance(sip, Request)
    sip.check()
    assert len(sip.via_values) == 1
    names = {name for name, _ in sip.rows}
    assert names <= {"via", "max-forwards", "from", "to", "call-id", "cseq", "subject", "content-type", "content-length"}
    assert len(sip.call_id) <= 255
    body = sip.body.decode()
    assert body.replace("\r\n", "\n") == text.replace("\r\n", "\n").replace("\r", "\n")


def test_a_thread_that_is_no_call_id_comes_back_with_the_reply() -> None:
    call_id = header(written(letter(thread="a thread, 😀")), "Call-ID")
    back = envelope(request(call_id=call_id))
    assert back.thread == "a thread, 😀"


def test_what_came_over_sip_is_written_as_it_was_said() -> None:
    came = envelope(request(body="é\r\nb".encode()))
    there = replace(came, recipient=SipAddress("tomas", "sip.example"))
    assert written(there).partition(b"\r\n\r\n")[2] == "é\r\nb".encode()
    assert CpimMessage.parse(came.message.raw).entity.content == "é\r\nb".encode()
