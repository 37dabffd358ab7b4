"""Nobody speaks as somebody of the other side, and who may not speak learns nothing (SEC-01 to SEC-05, SEC-40)."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest

from gateway.core.address import SipAddress
from gateway.core.errors import Refusal
from gateway.core.jid import Jid
from gateway.core.numbers import NumberPlan
from gateway.core.pairs import Pair
from gateway.core.ports import Parties, Peer
from gateway.core.settings import PeerRule, Settings, SipSettings, XmppSettings
from gateway.core.uri import Uri
from gateway.relay.directory import Directory
from gateway.relay.guard import Guard

PAIRS = (
    Pair(SipAddress("+15551230001", "ims.example"), Jid("mira", "xmpp.example"), "users.toml:3"),
    Pair(SipAddress("Tomas.B", "sip.example"), Jid("tomas", "sip.example"), "users.toml:7"),
)
SETTINGS = Settings(
    "gateway.toml",
    "gw.example",
    Path("var"),
    None,
    SipSettings((), ("sip.example", "ims.example"), trusted=(ip_network("192.0.2.0/24"), ip_network("2001:db8::/32"))),
    XmppSettings("127.0.0.1", 5347, "hush", ("xmpp.example", "bücher.example")),
    "sqlite:///var/outbox.db",
    peers=(
        PeerRule(ip_network("192.0.2.64/26"), "", ("ims.example",)),
        PeerRule(ip_network("192.0.2.65/32"), "", ("sip.example",), True),
        PeerRule(ip_network("198.51.100.7/32"), "", ("sip.example",)),
        PeerRule(None, "proxy.example", ("sip.example",)),
    ),
)
GUARD = Guard(SETTINGS, Directory(PAIRS, (), SETTINGS.sip.domains, SETTINGS.xmpp.domains))
TRUSTED = Peer("udp:192.0.2.1")
ROMEO, JULIET = Uri.parse("sip:romeo@sip.example"), Uri.parse("sip:juliet@xmpp.example")


def said_no(peer: Peer, sender: str, target: str = "sip:juliet@xmpp.example") -> str:
    with pytest.raises(Refusal) as found:
        GUARD.from_sip(peer, Uri.parse(sender), Uri.parse(target))
    return found.value.key


# -- peers -------------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("SEC-05")
@pytest.mark.parametrize("host", ["192.0.3.1", "10.0.0.1", "127.0.0.1", "::1", "2001:db9::1", "::ffff:10.0.0.1"])
@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_peer_that_is_not_named_is_refused(transport: str, host: str) -> None:
    with pytest.raises(Refusal, match=r"^peer-unknown"):
        GUARD.peer(transport, host)


@pytest.mark.requirement("SEC-05")
def test_without_any_rule_every_peer_is_refused() -> None:
    guard = Guard(replace(SETTINGS, sip=replace(SETTINGS.sip, trusted=()), peers=()), GUARD.directory)
    with pytest.raises(Refusal, match=r"^peer-unknown"):
        guard.peer("udp", "127.0.0.1")


@pytest.mark.requirement("SEC-04")
@pytest.mark.parametrize(
    ("host", "domains", "forwards"),
    [
        ("192.0.2.1", None, False),
        ("192.0.2.64", {"ims.example"}, False),
        ("192.0.2.65", {"sip.example"}, True),
        ("198.51.100.7", {"sip.example"}, False),
        ("::ffff:192.0.2.64", {"ims.example"}, False),
        ("2001:db8::7", None, False),
        ("2001:db8::7%eth0", None, False),
    ],
)
def test_the_finest_rule_says_for_whom_a_peer_may_speak(host: str, domains: set[str] | None, forwards: bool) -> None:
    found = GUARD.peer("tcp", host)
    assert found == Peer(f"tcp:{host}", None if domains is None else frozenset(domains), forwards)


# -- from SIP ----------------------------------------------------------------------------------------------------------
def test_a_sip_user_may_write_to_a_person_on_the_xmpp_side() -> None:
    found = GUARD.from_sip(TRUSTED, Uri.parse("sip:romeo@sip.example:5060;gr=orchard"), Uri.parse("sip:juliet@xmpp.example;gr=balcony"))
    assert found == Parties(SipAddress("romeo", "sip.example"), Jid("juliet", "xmpp.example"), "orchard", "balcony")


@pytest.mark.requirement("SEC-01")
@pytest.mark.parametrize(
    "sender",
    [
        "sip:mallory@xmpp.example",
        "sip:juliet@XMPP.Example",
        "sip:juliet@xmpp.example.",
        "sip:juliet@xmpp.example:5061;transport=tcp",
        "sip:%6auliet@xmpp.example",
        "sips:juliet@xmpp.example",
        "sip:juliet;x=y@xmpp.example",
        "sip:juliet:secret@xmpp.example",
        "im:juliet@xmpp.example",
        "sip:xmpp.example",
        "sip:a@xn--bcher-kva.example",
        "sip:a@XN--BCHER-KVA.example",
    ],
)
def test_a_from_in_a_domain_of_the_xmpp_side_is_refused(sender: str) -> None:
    assert said_no(TRUSTED, sender) == "sender-not-yours"


@pytest.mark.requirement("SEC-02")
@pytest.mark.parametrize(
    "sender", ["sip:+15551230001@ims.example", "sip:+15551230001@IMS.example.:5070;user=phone", "sip:%2B1555123000%31@ims.example"]
)
def test_a_from_that_is_the_alias_of_somebody_on_the_xmpp_side_is_refused(sender: str) -> None:
    assert said_no(TRUSTED, sender) == "sender-is-alias"


def test_a_pair_gives_nobody_a_second_name() -> None:
    assert said_no(TRUSTED, "sip:mira@xmpp.example") == "sender-not-served"
    assert said_no(TRUSTED, "sip:tomas@sip.example") == "sender-not-served"
    assert said_no(TRUSTED, "sip:romeo@sip.example", "sip:mira@xmpp.example") == "target-unknown"
    sender = GUARD.from_sip(TRUSTED, Uri.parse("sip:tomas.b@sip.example"), JULIET).sender
    assert isinstance(sender, SipAddress)
    assert sender.normal == SipAddress("tomas.b", "sip.example")
    assert GUARD.from_sip(TRUSTED, ROMEO, Uri.parse("sip:+15551230001@ims.example")).recipient == Jid("mira", "xmpp.example")


@pytest.mark.requirement("SEC-04")
def test_a_peer_speaks_for_its_own_domains_only() -> None:
    ims, none = Peer("p", frozenset({"ims.example"})), Peer("q", frozenset())
    assert GUARD.from_sip(ims, Uri.parse("sip:a@IMS.example"), JULIET).sender == SipAddress("a", "ims.example")
    assert said_no(ims, "sip:romeo@sip.example") == "peer-domain"
    assert said_no(none, "sip:romeo@sip.example") == "peer-domain"
    # What another peer was told is not remembered for this one.
    assert GUARD.from_sip(TRUSTED, ROMEO, JULIET).sender == SipAddress("romeo", "sip.example")
    assert said_no(ims, "sip:romeo@sip.example") == "peer-domain"


@pytest.mark.parametrize(
    ("sender", "key"),
    [
        ("sip:romeo@elsewhere.example", "sender-not-served"),
        ("sip:romeo@example", "sender-not-served"),
        ("tel:+15551230001", "sender-not-served"),
        ("sip:romeo@sub.sip.example", "sender-not-served"),
        ("sip:%00@sip.example", "sender-malformed"),
        ("sip:a%ff@sip.example", "sender-malformed"),
    ],
)
def test_a_from_that_is_nobody_here_is_refused(sender: str, key: str) -> None:
    assert said_no(TRUSTED, sender) == key


@pytest.mark.requirement("SEC-40")
@pytest.mark.parametrize(
    "sender", ["sip:juliet@xmpp.example", "sip:romeo@elsewhere.example", "sip:+15551230001@ims.example", "sip:%00@sip.example"]
)
def test_who_may_not_send_hears_the_same_whoever_is_asked_for(sender: str) -> None:
    targets = ("sip:juliet@xmpp.example", "sip:nobody@nowhere.example", "sip:%00@xmpp.example", "sip:xmpp.example", "tel:+1")
    assert len({said_no(TRUSTED, sender, target) for target in targets}) == 1


@pytest.mark.parametrize(
    ("target", "key"),
    [
        ("sip:juliet@elsewhere.example", "target-unknown"),
        ("sip:tomas.b@sip.example", "target-unknown"),
        ("tel:+1", "target-unknown"),
        ("sip:%00@xmpp.example", "target-malformed"),
        ("sip:juliet@xmpp.example;gr=%00", "target-malformed"),
    ],
)
def test_a_target_that_nobody_answers_to_is_refused(target: str, key: str) -> None:
    assert said_no(TRUSTED, "sip:romeo@sip.example", target) == key


def test_a_device_of_the_sender_that_cannot_be_read_is_none() -> None:
    assert GUARD.from_sip(TRUSTED, Uri.parse("sip:romeo@sip.example;gr=%00"), JULIET).sender_device == ""


# -- numbers -----------------------------------------------------------------------------------------------------------
IMS = NumberPlan("ims.example", "ims.example", "tel", "domains.toml:1")
NUMBERS = Guard(SETTINGS, Directory(PAIRS, (), SETTINGS.sip.domains, SETTINGS.xmpp.domains, IMS))
SPELLED = ["tel:+1-201-555-0123", "tel:+12015550123;isub=7", "sip:+1.201.555.0123@IMS.example;user=phone", "sip:+12015550123@ims.example"]
ALIAS = ["tel:+15551230001", "tel:+1-555-123-0001;ext=1", "tel:%2B1.555.1230001", "sip:+1-555-123-0001@ims.example;user=phone"]


def number_said_no(peer: Peer, sender: str, target: str = "sip:juliet@xmpp.example") -> str:
    with pytest.raises(Refusal) as found:
        NUMBERS.from_sip(peer, Uri.parse(sender), Uri.parse(target))
    return found.value.key


@pytest.mark.requirement("ADDR-30", "ADDR-32")
@pytest.mark.parametrize("sender", SPELLED)
def test_a_number_speaks_as_itself(sender: str) -> None:
    for peer in (TRUSTED, Peer("p", frozenset({"ims.example"}))):
        assert NUMBERS.from_sip(peer, Uri.parse(sender), JULIET).sender == SipAddress("+12015550123", "ims.example")


@pytest.mark.requirement("SEC-04", "ADDR-30")
@pytest.mark.parametrize("sender", [*SPELLED, *ALIAS])
def test_who_may_not_speak_for_the_domain_may_not_for_its_numbers(sender: str) -> None:
    key = "sender-is-alias" if sender in ALIAS else "peer-domain"
    assert number_said_no(Peer("p", frozenset({"sip.example"})), sender) == key


@pytest.mark.requirement("SEC-02", "ADDR-30", "ADDR-32")
@pytest.mark.parametrize("sender", ALIAS)
def test_the_number_of_somebody_on_the_xmpp_side_reaches_her_and_never_speaks(sender: str) -> None:
    assert number_said_no(TRUSTED, sender) == "sender-is-alias"
    assert NUMBERS.from_sip(TRUSTED, ROMEO, Uri.parse(sender)).recipient == Jid("mira", "xmpp.example")


@pytest.mark.requirement("SEC-01")
@pytest.mark.parametrize("sender", ["sip:+12015550123@xmpp.example;user=phone", "sip:+1-201@XMPP.example.;user=phone"])
def test_a_number_in_a_domain_of_the_xmpp_side_is_refused(sender: str) -> None:
    assert number_said_no(TRUSTED, sender) == "sender-not-yours"


@pytest.mark.requirement("SEC-40")
@pytest.mark.parametrize(
    "number", ["+", ";phone-context=", "7042", "+1%00", "+1%0d%0aX:y", "+%D9%A1", "+1;m-x", f"+{'1' * 10_000}", f"+1{';' * 10_000}"]
)
def test_a_number_that_is_none_is_a_malformed_address(number: str) -> None:
    assert number_said_no(TRUSTED, f"tel:{number}") == "sender-malformed"
    assert number_said_no(TRUSTED, "sip:romeo@sip.example", f"tel:{number}") in ("target-malformed", "target-unknown")


def test_a_number_that_is_nobody_on_the_xmpp_side_is_no_target() -> None:
    assert number_said_no(TRUSTED, "sip:romeo@sip.example", "tel:+12015550123") == "target-unknown"


# -- from XMPP ---------------------------------------------------------------------------------------------------------
def test_an_xmpp_user_may_write_to_a_person_on_the_sip_side() -> None:
    found = GUARD.from_xmpp("sip.example", Jid.parse("juliet@xmpp.example/balcony"), Jid.parse("romeo@sip.example/orchard"))
    assert found == Parties(Jid("juliet", "xmpp.example"), SipAddress("romeo", "sip.example"), "balcony", "orchard")


@pytest.mark.requirement("SEC-03")
@pytest.mark.parametrize("sender", ["romeo@sip.example/x", "sip.example", "a@ims.example", "ROMEO@SIP.example", "tomas@sip.example"])
def test_a_stanza_from_a_domain_of_the_sip_side_is_refused(sender: str) -> None:
    with pytest.raises(Refusal, match=r"^sender-spoofs-sip"):
        GUARD.from_xmpp("sip.example", Jid.parse(sender), Jid.parse("romeo@sip.example"))


@pytest.mark.parametrize(
    ("sender", "target", "key"),
    [
        ("juliet@elsewhere.example", "romeo@sip.example", "sender-foreign"),
        ("juliet@xmpp.example", "a@ims.example", "target-unknown"),
        ("juliet@xmpp.example", "mira@xmpp.example", "target-unknown"),
        ("juliet@xmpp.example", "sip.example", "target-unknown"),
        ("juliet@xmpp.example", "sip.example/x", "target-unknown"),
        ("juliet@xmpp.example", r"tomas.b@sip.example", "target-unknown"),
        (r"a\20@xmpp.example", "romeo@sip.example", "sender-malformed"),
        ("juliet@xmpp.example", r"\20a@sip.example", "target-unknown"),
    ],
)
def test_a_stanza_between_others_is_refused(sender: str, target: str, key: str) -> None:
    with pytest.raises(Refusal, match=f"^{key}"):
        GUARD.from_xmpp("sip.example", Jid.parse(sender), Jid.parse(target))


def test_a_paired_sip_user_is_reached_under_the_jid_of_the_pair() -> None:
    found = GUARD.from_xmpp("sip.example", Jid.parse("mira@xmpp.example"), Jid.parse("tomas@sip.example"))
    assert found.recipient == SipAddress("Tomas.B", "sip.example")
    assert found.sender == Jid("mira", "xmpp.example")


@pytest.mark.requirement("SEC-15", "REL-01")
@pytest.mark.parametrize(
    ("gr", "device"),
    [
        ("desk", "desk"),
        ("%C2%A0x", "x"),
        ("%E2%80%8B", ""),
        ("a" * 1100, ""),
        ("%E1%84%80", ""),
        ("caf%C3%A9", "café"),
    ],
)
def test_a_device_is_a_resource_that_can_be_kept_or_none(gr: str, device: str) -> None:
    parties = GUARD.from_sip(TRUSTED, ROMEO, Uri.parse(f"sip:juliet@xmpp.example;gr={gr}"))
    assert isinstance(parties.recipient, Jid)
    written = f"{parties.recipient}/{parties.recipient_device}" if parties.recipient_device else str(parties.recipient)
    assert Jid.parse(written).resource == parties.recipient_device
    assert parties.recipient_device.strip() == device


def test_long_uris_do_not_stay_in_memory() -> None:
    guard = Guard(SETTINGS, GUARD.directory)
    for number in range(20):
        assert guard.from_sip(TRUSTED, Uri.parse(f"sip:romeo@sip.example;x={number}{'y' * 15000}"), JULIET).sender == ROMEO.address
    assert guard._known_from_sip.cache_info().currsize == 0
