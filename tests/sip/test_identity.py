"""Who sends a request: P-Asserted-Identity before From, and nobody where he asks for privacy (RFC 3325, RFC 5876, RFC 3323)."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from gateway.core.address import SipAddress
from gateway.core.envelope import Envelope, RequestOrigin
from gateway.core.errors import Refusal
from gateway.core.numbers import NO_NUMBERS
from gateway.core.ports import Peer
from gateway.core.settings import PeerRule
from gateway.sip.identity import display_name, senders, wants_privacy
from gateway.sip.uas import Uas
from tests.sip.rig import SECRET, guard, request, settings, with_numbers
from tests.sip.sample import read

NOW = 1_770_000_000.0
CONFIG = settings(peers=(PeerRule(ip_network("127.0.0.2/32"), "", ("other.example",)),))
TABLES = with_numbers("sip")
UAS = Uas(guard(CONFIG, TABLES), TABLES, CONFIG, SECRET, frozenset(("gw.example:5060",)))
TRUSTED, OTHER = Peer("udp:127.0.0.1"), Peer("udp:127.0.0.2", frozenset(("other.example",)))
CPIM = (b"From: <tel:+1-201-555-0123>\r\nTo: <sip:anonymous@anonymous.invalid>\r\nDateTime: 2026-02-02T02:39:00Z\r\n"
        b"NS: imdn <urn:ietf:params:imdn>\r\nimdn.Message-ID: m1\r\nimdn.Disposition-Notification: display\r\n\r\n"
        b"Content-Type: text/plain\r\n\r\nhi")  # fmt: skip


def taken(body: bytes = b"hello", /, **changes: str) -> Envelope:
    found = UAS.message(read(request(body=body, **changes)), TRUSTED, "trace", NOW)
    assert isinstance(found, Envelope)
    return found


def refusal(peer: Peer = TRUSTED, **changes: str) -> str:
    with pytest.raises(Refusal) as refused:
        UAS.message(read(request(body=b"hello", **changes)), peer, "trace", NOW)
    return refused.value.key


@pytest.mark.requirement("AUTH-20", "RCS-04")
@pytest.mark.parametrize(("asserted", "uris"), [
    ("<sip:mira@sip.example>", ["sip:mira@sip.example"]),
    ("tel:+12015550123", ["tel:+12015550123"]),
    ("<tel:+1>, <sip:a@h>", ["sip:a@h", "tel:+1"]),
    ("<sip:a@h>, <sips:b@h>, <sip:c@h>, <tel:+1>, <tel:+2>", ["sip:a@h", "tel:+1"]),
    ("<sips:b@h>, <sip:a@h>", ["sips:b@h"]),
    ("<mailto:a@h>, <urn:x:y>, <im:a@h>", ["sip:romeo@sip.example"]),
    ("<sip:ROMEO@sip.example>", ["sip:romeo@sip.example"]),
])  # fmt: skip
def test_at_most_one_sip_and_one_tel_identity_count(asserted: str, uris: list[str]) -> None:
    sip = read(request(p_asserted_identity=asserted, p_preferred_identity="<sip:eve@sip.example>"))
    assert [uri.text for uri in senders(sip, TABLES.numbers)] == uris


@pytest.mark.requirement("AUTH-20")
@pytest.mark.parametrize("asserted", ["<<", "", "<sip:a@h>,,<tel:+1>", '"a <sip:a@h>', "<sip:@>", "sip:a@h;x=1;x=2", "<sip:a@h> b"])
def test_what_is_no_identity_is_refused_and_named(asserted: str) -> None:
    with pytest.raises(Refusal, match="P-Asserted-Identity") as refused:
        UAS.message(read(request(p_asserted_identity=asserted)), TRUSTED, "trace", NOW)
    assert UAS.refused(refused.value).status == 400


@pytest.mark.requirement("SEC-04", "AUTH-20")
def test_an_identity_counts_inside_the_domains_of_its_peer_alone() -> None:
    assert refusal(OTHER, p_asserted_identity="<sip:mira@sip.example>") == "peer-domain"
    assert refusal(p_asserted_identity="<sip:eve@elsewhere.example>") == "sender-not-served"
    assert refusal(p_asserted_identity="<sip:eve@elsewhere.example>, <sip:mira@sip.example>") == "sender-not-served"
    assert taken(p_asserted_identity="<sip:eve@elsewhere.example>, <tel:+12015550123>").sender == SipAddress("+12015550123", "sip.example")


@pytest.mark.requirement("RCS-04", "AUTH-20")
@pytest.mark.parametrize(("from_", "asserted", "name"), [
    ('"Romeo" <sip:romeo@sip.example>', "<sip:romeo@sip.example>", "Romeo"),
    ('"Romeo" <sip:eve@sip.example>', "<sip:romeo@sip.example>", ""),
    ('"Romeo" <sip:eve@sip.example>', 'Mira <sip:mira@sip.example>, "M" <tel:+1201>', "Mira"),
    ('"Romeo" <tel:+1-201>', "<sip:romeo@sip.example>, <tel:+1201>", "Romeo"),
    ('"Romeo" <sip:+1-201@sip.example;user=phone>', "<tel:+1201>", "Romeo"),
    ('"Romeo" <tel:+1202>', "<tel:+1201>", ""),
])  # fmt: skip
def test_the_name_in_from_belongs_to_the_uri_there(from_: str, asserted: str, name: str) -> None:
    sip = read(request(from_=f"{from_};tag=1", p_asserted_identity=asserted))
    assert display_name(sip, TABLES.numbers) == name
    found = UAS.message(sip, TRUSTED, "trace", NOW)
    assert isinstance(found, Envelope)
    assert found.sender_name == name
    assert found.message.sender
    assert found.message.sender.name == name


def test_numbers_without_a_plan_are_compared_as_they_are_spelled() -> None:
    sip = read(request(from_="A <tel:+1>;tag=1", p_asserted_identity="<tel:+2>"))
    assert display_name(sip, NO_NUMBERS) == ""


@pytest.mark.requirement("RCS-06", "AUTH-22")
@pytest.mark.parametrize(("privacy", "wanted"), [
    ("id", True), ("ID", True), ("none", False), (" None ", False), ("user", True), ("header; critical", True), ("header,id", True),
    ("session", False), ("history", False), ("session;id", True), ("", True), ("none;id", True), ("unheard-of", True), ("critical", True),
])  # fmt: skip
def test_who_asks_for_privacy(privacy: str, *, wanted: bool) -> None:
    assert wants_privacy(read(request(privacy=privacy))) is wanted


@pytest.mark.requirement("RCS-06", "IMDN-12")
def test_of_who_asks_for_privacy_nothing_is_told_but_his_domain_and_his_words() -> None:
    changes = {"p_asserted_identity": "Romeo <sip:romeo@sip.example;gr=desk>", "from_": "<sip:anonymous@Anonymous.Invalid>;tag=1"}
    said = {"conversation_id": "k1", "contribution_id": "c1", "call_id": "romeo@192.0.2.1"}
    for found in (taken(**changes, **said), taken(CPIM, **changes, **said, content_type="message/cpim")):
        assert (str(found.sender), found.sender_device) == ("anonymous@anonymous.invalid@sip.example", "")
        assert (found.sender_name, found.thread, found.conversation, found.asked) == ("Anonymous", "", None, frozenset())
        assert isinstance(found.origin, RequestOrigin)
        assert (found.origin.asked, found.origin.author) == (None, "sip:romeo@sip.example;gr=desk")
        assert b"romeo" not in found.message.raw.lower()


@pytest.mark.requirement("AUTH-23", "RCS-06")
def test_nobody_speaks_for_who_is_anonymous() -> None:
    assert refusal(from_="<sip:anonymous@anonymous.invalid>;tag=1") == "sender-not-served"
    assert refusal(from_="<sip:anonymous%40anonymous.invalid@sip.example>;tag=1") == "sender-not-served"


# -- in the object -----------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("RCS-05", "RCS-04", "IMDN-32")
@pytest.mark.parametrize(("author", "told"), [
    ("tel:+1-201-555-0123", "tel:+1-201-555-0123"),
    ("sip:anonymous@anonymous.invalid", "sip:+12015550123@sip.example;user=phone"),
    ("im:anonymous@anonymous.invalid", "sip:+12015550123@sip.example;user=phone"),
    ("sip:+12015550123@elsewhere.example;user=phone", ""), ("urn:x:y", ""), ("sip:%00@sip.example", ""),
])  # fmt: skip
def test_where_a_notification_goes(author: str, told: str) -> None:
    body = CPIM.replace(b"tel:+1-201-555-0123", author.encode())
    found = taken(body, from_="<tel:+12015550123>;tag=1", content_type="message/cpim")
    assert isinstance(found.origin, RequestOrigin)
    asked = found.origin.asked
    assert (asked.author if asked else "") == told
    assert asked is None or asked.recipient == ""
    assert bool(found.asked) is bool(told)


@pytest.mark.requirement("IMDN-32", "NOTE-10")
@pytest.mark.parametrize(("author", "asks"), [
    ("sip:romeo@sip.example", True), ("im:ROMEO@sip.example", True), ("sip:romeo@sip.example;gr=desk", True),
    ("sip:mira@sip.example", False), ("sip:sip.example", False), ("sip:romeo@sip.example;maddr=elsewhere.example", False),
    ("sip:romeo@sip.example;Method=INVITE", False), ("sip:romeo@sip.example?Subject=x", False), ("im:romeo@sip.example?Subject=x", False),
])  # fmt: skip
def test_a_notification_goes_to_the_sender_alone(author: str, *, asks: bool) -> None:
    body = CPIM.replace(b"tel:+1-201-555-0123", author.encode())
    assert (taken(body, from_="<sip:romeo@sip.example>;tag=1", content_type="message/cpim").asked != frozenset()) is asks


GOOD, BAD = "<sip:gw@sip.example>", "<sip:gw@elsewhere.example>"


@pytest.mark.requirement("IMDN-32", "NOTE-10")
@pytest.mark.parametrize(("routes", "asks"), [
    ([GOOD], True), (['"A, B" <sips:gw@SIP.example:5070;lr>', f"Relay One {GOOD}"], True), ([GOOD] * 8, True), ([GOOD] * 9, False),
    ([GOOD, BAD], False), ([f"{BAD}, {GOOD}"], False), ([f"{GOOD}, {BAD}"], False), ([f'"a" {BAD}, "b" {GOOD}'], False),
    ([f"sip:gw@elsewhere.example, {GOOD}"], False), ([f'"{BAD}, " {GOOD}'], False), ([f'"a\\" {BAD}, \\"b" {GOOD}'], False),
    ([f"{GOOD};x=y"], False), (["sip:gw@sip.example"], False), (["<im:gw@sip.example>"], False), (["<tel:+12015550123>"], False),
    (["<sip:gw@sip.example;maddr=elsewhere.example>"], False), (["<sip:gw@sip.example;%6Daddr=elsewhere.example>"], False),
    (["<sip:gw@sip.example;method=BYE>"], False), (["<sip:gw@sip.example?Route=x>"], False), ([f"\\r\\nVia: x {GOOD}"], False),
    ([f'"{"x" * 233}" {GOOD}'], True), ([f'"{"x" * 234}" {GOOD}'], False),
])  # fmt: skip
def test_the_routes_of_a_notification_are_of_the_domain_of_the_sender(routes: list[str], *, asks: bool) -> None:
    rows = b"".join(f"imdn.IMDN-Record-Route: {route}\r\n".encode() for route in routes)
    body = CPIM.replace(b"tel:+1-201-555-0123", b"sip:romeo@sip.example").replace(b"\r\n\r\n", b"\r\n" + rows + b"\r\n", 1)
    found = taken(body, from_="<sip:romeo@sip.example>;tag=1", content_type="message/cpim")
    assert isinstance(found.origin, RequestOrigin)
    assert (found.origin.asked is not None, found.asked != frozenset()) == (asks, asks)
    assert not asks or found.origin.asked is None or found.origin.asked.routes == tuple(routes)


@pytest.mark.requirement("IMDN-32", "IMDN-01")
@pytest.mark.parametrize(("old", "start", "most", "end"), [
    (b"Message-ID: m1", b"Message-ID: ", 256, b""), (b"DateTime: 2026-02-02T02:39:00Z", b"DateTime: 2026-02-02T02:39:00.", 64 - 20, b"Z"),
    (b"imdn.Message-ID: m1", b"imdn.Message-ID: m1\r\nimdn.Original-To: <sip:", 1024 - 4 - 12, b"@sip.example>"),
])  # fmt: skip
def test_what_a_notification_has_no_room_to_repeat_is_not_asked(old: bytes, start: bytes, most: int, end: bytes) -> None:
    for count, asks in ((most - (end == b"Z"), True), (most + 1, False)):
        body = CPIM.replace(b"tel:+1-201-555-0123", b"sip:romeo@sip.example").replace(old, start + b"1" * count + end)
        assert bool(taken(body, from_="<sip:romeo@sip.example>;tag=1", content_type="message/cpim").asked) is asks


@pytest.mark.requirement("RCS-06", "IMDN-12")
def test_who_hides_is_not_shown_by_whom_his_message_names_nor_by_its_name() -> None:
    rows = (b"To: <sip:juliet@xmpp.example>\r\nTo: <sip:romeo@sip.example>\r\ncc: Romeo <im:romeo@sip.example>\r\nSubject: my words\r\n"
            b"imdn.Message-ID: romeo-desk-7\r\n")  # fmt: skip
    body = CPIM.replace(b"To: <sip:anonymous@anonymous.invalid>\r\n", b"").replace(b"imdn.Message-ID: m1\r\n", rows)
    body = body.replace(b"\r\n\r\nhi", b"\r\n\r\nTo: <sip:romeo@sip.example>")
    how = {"privacy": "id", "content_type": "message/cpim", "from_": "<sip:romeo@sip.example>;tag=1"}
    found, again, other = taken(body, **how), taken(body, **how), taken(body, **how, via="SIP/2.0/UDP 192.0.2.9:5060;branch=z9hG4bK-2")
    assert found.message.values("To") == found.message.values("cc") == ()
    assert found.message.subjects == (("my words", ""),)
    assert found.message.entity.content == b"To: <sip:romeo@sip.example>"
    assert "romeo" not in found.id
    assert found.id == again.id != other.id


@pytest.mark.requirement("CPIM-35", "RCS-05")
@pytest.mark.parametrize(("author", "misnamed"), [
    ("<tel:+1-201-555-0123>", False), ("<sip:+12015550123@sip.example>", False), ("<im:anonymous@anonymous.invalid>", False),
    ("<im:romeo@sip.example>", True), ("<tel:+12015550199>", True), ("<xmpp:a@b>", True), ("nonsense", True),
])  # fmt: skip
def test_another_author_than_the_sender_is_counted(author: str, *, misnamed: bool) -> None:
    body = CPIM.replace(b"<tel:+1-201-555-0123>", author.encode())
    sip = read(request(from_="<tel:+12015550123>;tag=1", body=body, content_type="message/cpim"))
    found = UAS.message(sip, TRUSTED, "trace", NOW)
    assert found
    assert ("misnamed" in UAS.oddities(sip, found)) is misnamed
    assert found.sender == SipAddress("+12015550123", "sip.example")  # type: ignore[union-attr]
