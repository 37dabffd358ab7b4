"""What is checked of a new request, in which order, and what the answer to each failure carries (RFC 3261 section 8.2)."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from gateway.core.address import SipAddress
from gateway.core.envelope import Envelope
from gateway.core.errors import Refusal
from gateway.core.jid import Jid
from gateway.core.pairs import Pair
from gateway.core.ports import Peer
from gateway.core.settings import PeerRule
from gateway.sip.endpoint import Answer
from gateway.sip.headers import Warned
from gateway.sip.message import METHODS
from gateway.sip.uas import SERVED, Uas
from tests.sip.rig import ACCEPT, ALLOW, JULIET, SECRET, guard, request, settings, tables, with_numbers
from tests.sip.sample import read

NOW = 1_770_000_000.0
OURS = "gw.example:5060"
CONFIG = settings(peers=(PeerRule(ip_network("127.0.0.2/32"), "", ("other.example",)),))
UAS = Uas(guard(CONFIG), tables(), CONFIG, SECRET, frozenset((OURS, "[2001:db8::9]:5060")))
TRUSTED = Peer("udp:127.0.0.1")


def verdict(data: bytes, peer: Peer = TRUSTED) -> Answer | None:
    """The refusal of a MESSAGE; None when it may be kept."""
    sip = read(data)
    try:
        UAS.method(sip)
        UAS.message(sip, peer, "trace", NOW)
    except Refusal as refusal:
        return UAS.refused(refusal)
    return None


def refused(data: bytes, peer: Peer = TRUSTED) -> Answer:
    answer = verdict(data, peer)
    assert answer
    return answer


@pytest.mark.requirement("ADDR-14")
@pytest.mark.parametrize(
    ("from_", "device"),
    [
        ("<sip:romeo@sip.example;gr=desk>;tag=1", "desk"),
        ("<sip:romeo@sip.example>;tag=1;gr=desk", "desk"),
        ("<sip:romeo@sip.example;gr=a>;gr=b;tag=1", "a"),
        ("<sip:romeo@sip.example>;tag=1", ""),
    ],
)
def test_the_device_is_read_inside_and_behind_the_brackets(from_: str, device: str) -> None:
    sip = read(request(from_=from_))
    envelope = UAS.message(sip, TRUSTED, "trace", NOW)
    assert isinstance(envelope, Envelope)
    assert envelope.sender_device == device


# -- who ------------------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("SIP-73", "SEC-05")
def test_only_a_known_address_may_speak() -> None:
    assert UAS.peer("udp", "127.0.0.1").domains is None
    with pytest.raises(Refusal) as stranger:
        UAS.peer("udp", "192.0.2.66")
    answer = UAS.refused(stranger.value)
    assert (answer.status, answer.reason) == (403, "Forbidden")


@pytest.mark.requirement("SIP-76", "SEC-01", "SEC-40")
@pytest.mark.parametrize("target", [JULIET, "sip:nobody@nowhere.example"])
def test_the_sender_is_judged_before_anything_is_said_of_the_target(target: str) -> None:
    for sender in ("<sip:mira@xmpp.example>;tag=1", "<sip:mira@nowhere.example>;tag=1", "<tel:+1>;tag=1"):
        assert refused(request(uri=target, from_=sender)).status == 403
    assert refused(request(uri=target), Peer("udp:127.0.0.2", frozenset(("other.example",)))).status == 403


@pytest.mark.requirement("SIP-76")
@pytest.mark.parametrize(
    ("uri", "expected"),
    [("sip:nobody@nowhere.example", 404), ("sip:romeo@sip.example", 404), ("sip:a%00b@xmpp.example", 404), ("im:juliet@xmpp.example", None),
     ("sip:juliet@xmpp.example;transport=tcp", None)],
)  # fmt: skip
def test_the_target_must_be_somebody_on_the_xmpp_side(uri: str, expected: int | None) -> None:
    answer = verdict(request(uri=uri))
    assert (answer and answer.status) == expected


@pytest.mark.requirement("SIP-87")
@pytest.mark.parametrize("to", ["<tel:+15551234>", "<sip:nobody@nowhere.example>", "<mailto:x@y.example>"])
def test_to_is_not_looked_at_where_the_request_uri_names_somebody(to: str) -> None:
    assert verdict(request(to=to)) is None


@pytest.mark.parametrize("uri", ["sip:gw.example", "sip:gw.example:5060", "sip:[2001:DB8::9]", "sip:GW.example;transport=udp"])
def test_a_request_uri_that_is_the_gateway_itself_leaves_it_to_to(uri: str) -> None:
    assert verdict(request(uri=uri)) is None
    assert refused(request(uri=uri, to="<sip:nobody@nowhere.example>")).status == 404


# -- scheme ---------------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("SIP-57", "SIP-58")
@pytest.mark.parametrize(
    "uri", ["tel:+15551234", "mailto:juliet@xmpp.example", "xmpp:juliet@xmpp.example", "pres:juliet@xmpp.example", "x:y"]
)
def test_another_scheme_is_416(uri: str) -> None:
    assert refused(request(uri=uri)).status == 416


@pytest.mark.requirement("SIP-59")
@pytest.mark.parametrize("change", [{"uri": "sips:juliet@xmpp.example"}, {"to": "<sips:juliet@xmpp.example>"}])
def test_sips_is_not_translated(change: dict[str, str]) -> None:
    answer = refused(request(**change))  # type: ignore[arg-type]
    assert answer == Answer(480, "Temporarily Unavailable", (("Warning", '380 gw.example "SIPS Not Allowed"'),))


# -- method ---------------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("SIP-75", "MSG-05")
@pytest.mark.parametrize("method", [*sorted(METHODS - set(SERVED)), "NEWMETHOD", "message", "MESSAGE%"])
def test_what_is_not_served_is_405_if_known_and_else_501_with_allow(method: str) -> None:
    sip = read(request(method, body=b""))
    with pytest.raises(Refusal) as refusal:
        UAS.method(sip)
    answer = UAS.refused(refusal.value)
    expected = (405, "Method Not Allowed") if method in METHODS else (501, "Not Implemented")
    assert (answer.status, answer.reason) == expected
    assert dict(answer.extra)["Allow"] == ALLOW


def test_what_is_served_is_just_this() -> None:
    assert ", ".join(SERVED) == ALLOW
    for method in SERVED:
        UAS.method(read(request(method, body=b"")))


@pytest.mark.requirement("TRN-34", "SEC-41")
@pytest.mark.parametrize(
    ("below", "expected"),
    [(f"SIP/2.0/UDP {OURS};branch=z9hG4bKx", 482), ("SIP/2.0/TCP [2001:DB8:0::9]:5060", None), ("SIP/2.0/TCP [2001:db8::9]:5060", 482),
     ("SIP/2.0/UDP gw.example:5061", None), ("SIP/2.0/UDP x.example;x=gw.example:5060", None), ("SIP/2.0/UDP agw.example:5060", None)],
)  # fmt: skip
def test_a_request_with_our_own_via_is_a_loop(below: str, expected: int | None) -> None:
    answer = verdict(request(via=f"SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bK-1, {below}"))
    assert (answer and answer.status) == expected


# -- hops, extensions, dialogs --------------------------------------------------------------------------------------------
@pytest.mark.requirement("SIP-78")
def test_without_hops_left_it_is_483_and_one_is_enough() -> None:
    assert refused(request(max_forwards="0")).status == 483
    assert verdict(request(max_forwards="1")) is None
    assert verdict(request(max_forwards=None)) is None


@pytest.mark.requirement("SIP-79")
def test_extensions_that_are_required_are_420_and_named_exactly() -> None:
    answer = refused(request(require="100rel, noneSuch", proxy_require="other"))
    assert answer == Answer(420, "Bad Extension", (("Unsupported", "100rel, noneSuch"),))


@pytest.mark.requirement("SIP-79")
def test_what_is_required_of_proxies_does_not_concern_us() -> None:
    assert verdict(request(proxy_require="noneSuch")) is None


@pytest.mark.requirement("SIP-80", "DLG-06")
def test_a_request_inside_a_dialog_is_481() -> None:
    assert refused(request(to=f"<{JULIET}>;tag=t9")).status == 481


# -- body -----------------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("SIP-81", "MSG-33")
@pytest.mark.parametrize("content_type", ["image/png", "application/pkcs7-signature", "text/plainer"])
def test_another_type_is_415_with_all_that_is_taken(content_type: str) -> None:
    answer = refused(request(content_type=content_type))
    assert (answer.status, answer.reason) == (415, "Unsupported Media Type")
    assert [value for name, value in answer.extra if name == "Accept"] == [ACCEPT]


@pytest.mark.requirement("SIP-28", "SIP-81")
@pytest.mark.parametrize("coding", ["gzip", "gzip, identity", "chunked"])
def test_another_coding_is_415_with_accept_encoding_alone(coding: str) -> None:
    answer = refused(request(content_encoding=coding))
    assert answer.status == 415
    assert [name for name, _ in answer.extra if name.startswith("Accept")] == ["Accept-Encoding"]
    assert verdict(request(content_encoding="Identity")) is None
    assert verdict(request(content_encoding=coding, body=b"")) is None


@pytest.mark.requirement("SIP-81")
@pytest.mark.parametrize("language", ["de", "x-klingon", "fr, en", "not a tag"])
def test_every_language_is_taken(language: str) -> None:
    assert verdict(request(content_language=language)) is None


@pytest.mark.requirement("MSG-33")
def test_text_for_something_else_than_to_be_shown_is_415_with_accept() -> None:
    answer = refused(request(content_disposition="session;handling=optional"))
    assert (answer.status, dict(answer.extra)["Accept"]) == (415, ACCEPT)
    assert "Content-Disposition" in dict(answer.extra)["Warning"]


@pytest.mark.requirement("MSG-36")
def test_an_unknown_charset_and_bad_utf8_are_refused() -> None:
    assert refused(request(content_type="text/plain;charset=x-nope")).status in (400, 415)
    assert refused(request(body=b"\xff\xfe\x00")).status == 400


@pytest.mark.requirement("MSG-36", "SEC-32")
@pytest.mark.parametrize(
    ("content_type", "octets", "charset"),
    [
        ("text/plain", b"\xff", "UTF-8"),
        ("text/plain;charset=windows-1252", b"\x81", "windows-1252"),
        ("text/plain;charset=ascii", b"\x80", "US-ASCII"),
    ],
)
def test_text_that_its_charset_does_not_have_is_refused_in_the_name_of_that(content_type: str, octets: bytes, charset: str) -> None:
    answer = refused(request(body=octets, content_type=content_type))
    assert (answer.status, answer.reason) == (400, f"The text is not valid {charset}")
    assert "UTF-8" not in dict(answer.extra)["Warning"]


# -- the order ------------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("SIP-83")
def test_the_first_check_that_fails_answers() -> None:
    """All that can be wrong is wrong at first; mended step by step, the next step answers."""
    wrong: dict[str, str | None] = {
        "method": "REGISTER", "uri": "tel:+1", "from": "<sip:x@xmpp.example>;tag=1", "max_forwards": "0", "require": "x",
        "to": f"<{JULIET}>;tag=t", "content_encoding": "gzip", "content_type": "image/png"}  # fmt: skip
    steps: list[tuple[int, dict[str, str | None]]] = [
        (405, {"method": "MESSAGE"}), (416, {"uri": "sip:nobody@nowhere.example"}), (403, {"from": "<sip:romeo@sip.example>;tag=1"}),
        (404, {"uri": JULIET}), (483, {"max_forwards": "1"}), (420, {"require": None}), (481, {"to": f"<{JULIET}>"}),
        (415, {"content_encoding": None}), (415, {"content_type": "text/plain"})]  # fmt: skip
    for status, mended in steps:
        assert refused(request(**wrong)).status == status  # type: ignore[arg-type]
        wrong |= mended
    assert verdict(request(**wrong)) is None  # type: ignore[arg-type]


# -- answers --------------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("SIP-92")
def test_every_warning_is_well_formed_and_names_only_the_gateway() -> None:
    rows = tables().refusals
    assert sum(bool(row.warning) for row in rows) > 10
    for row in rows:
        warnings = [value for name, value in UAS.refused(Refusal(row.key)).extra if name == "Warning"]
        assert len(warnings) == bool(row.warning)
        for warning in warnings:
            parsed = Warned.parse(warning)
            assert 300 <= parsed.code <= 399
            assert (parsed.agent, parsed.text) == ("gw.example", row.warning)


@pytest.mark.requirement("SIP-92")
def test_a_detail_is_quoted_and_cannot_end_the_warning() -> None:
    (warning,) = (value for name, value in UAS.refused(Refusal("cpim-require", 'requires "x\\"')).extra if name == "Warning")
    assert warning == '399 gw.example "requires \\"x\\\\\\""'


@pytest.mark.requirement("SIP-72")
@pytest.mark.parametrize("key", ["overloaded", "shutting-down", "store-broken", "store-timeout", "queue-full"])
def test_503_always_says_when_to_come_again(key: str) -> None:
    answer = UAS.refused(Refusal(key))
    assert answer.status == 503
    assert 1 <= int(dict(answer.extra)["Retry-After"]) <= 30
    assert UAS.is_lasting(Refusal(key))


@pytest.mark.requirement("SIP-91")
def test_no_refusal_of_a_request_is_6xx_or_408() -> None:
    statuses = {row.sip for row in tables().refusals}
    assert statuses
    assert all(400 <= status < 600 and status != 408 for status in statuses)


@pytest.mark.requirement("SIP-88")
def test_options_says_what_a_message_may_be_or_meets_what_it_would_meet() -> None:
    for uri in (JULIET, "sip:gw.example"):
        answer = UAS.options(read(request("OPTIONS", uri=uri, body=b"", max_forwards="0")))
        says = (("Allow", ALLOW), ("Accept", ACCEPT), ("Accept-Encoding", "identity"), ("Accept-Language", "*"), ("Supported", ""))
        assert answer == Answer(200, "OK", says)
    for change, key in (({"uri": "sip:nobody@nowhere.example"}, "target-unknown"), ({"uri": "tel:+1"}, "scheme-unsupported"),
                        ({"require": "x"}, "extension-required"), ({"uri": "sips:juliet@xmpp.example"}, "sips-not-allowed")):  # fmt: skip
        with pytest.raises(Refusal) as refusal:
            UAS.options(read(request("OPTIONS", body=b"", **change)))
        assert refusal.value.key == key


@pytest.mark.parametrize("status", [200, 202])
def test_the_accepted_status_is_configured(status: int) -> None:
    config = settings(accepted_status=status)
    uas = Uas(guard(config), tables(), config, SECRET, frozenset((OURS,)))
    assert uas.accepted == Answer(status, {200: "OK", 202: "Accepted"}[status])


# -- the message key ------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("MSG-19")
@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"branch": "z9hG4bK-2", "max_forwards": "9", "body": b"other"}, True),
        ({"uri": "sip:JULIET@XMPP.example"}, True),
        ({"uri": "sip:%6auliet@xmpp.example;transport=tcp"}, True),
        ({"uri": "sip:mira@xmpp.example"}, False),
        ({"from": "<sip:tomas@sip.example>;tag=r1"}, False),
        ({"from": "<sip:romeo@sip.example>;tag=r2"}, False),
        ({"call_id": "Call-1"}, False),
        ({"cseq": "2 MESSAGE"}, False),
    ],
)
def test_a_message_is_known_by_its_ends_tag_call_and_number(change: dict[str, str], same: bool) -> None:
    assert (UAS.message_key(read(request())) == UAS.message_key(read(request(**change)))) is same  # type: ignore[arg-type]


# -- numbers --------------------------------------------------------------------------------------------------------------
MIRA = Pair(SipAddress("+15551230001", "sip.example"), Jid("mira", "xmpp.example"), "users.toml:1")
TABLES = with_numbers("sip", (MIRA,))
NUMBERS = Uas(guard(CONFIG, TABLES), TABLES, CONFIG, SECRET, frozenset((OURS,)))


@pytest.mark.requirement("SIP-58", "ADDR-30")
@pytest.mark.parametrize(("uri", "to"), [("tel:+1-555-123-0001", f"<{JULIET}>"), ("sip:gw.example", "<tel:+1-555-123-0001>")])
def test_a_number_of_the_xmpp_side_is_written_to_by_its_tel_uri(uri: str, to: str) -> None:
    envelope = NUMBERS.message(read(request(uri=uri, to=to, from_="<tel:+1-201-555-0123>;tag=1;gr=x")), TRUSTED, "trace", NOW)
    assert isinstance(envelope, Envelope)
    assert (envelope.sender, envelope.recipient) == (SipAddress("+12015550123", "sip.example"), Jid("mira", "xmpp.example"))
    assert envelope.origin is not None


@pytest.mark.requirement("SIP-58")
@pytest.mark.parametrize(("uri", "status"), [("tel:+12015550123", 404), ("tel:7042;phone-context=example.com", 404), ("tel:7042", 404)])
def test_a_number_that_is_nobody_there_is_not_found(uri: str, status: int) -> None:
    with pytest.raises(Refusal) as found:
        NUMBERS.message(read(request(uri=uri)), TRUSTED, "trace", NOW)
    assert NUMBERS.refused(found.value).status == status
    assert refused(request(uri=uri)).status == 416


@pytest.mark.requirement("MSG-19", "ADDR-30", "ADDR-32")
def test_a_message_is_known_again_however_its_numbers_are_spelled() -> None:
    spelled = [
        "tel:+15551230001",
        "tel:+1-555-123-0001;isub=7",
        "sip:+1.555.123.0001@SIP.example;user=phone",
        "sip:+15551230001@sip.example",
    ]
    keys = {NUMBERS.message_key(read(request(uri=uri, from_=f"<{uri.replace('0001', '0002')}>;tag=1"))) for uri in spelled}
    assert len(keys) == 1
    other = request(uri="tel:+15551230003", from_="<tel:+15551230002>;tag=1")
    assert NUMBERS.message_key(read(other)) not in keys
