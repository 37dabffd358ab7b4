"""Whom else a message names, as XEP-0033 has it: every To and cc, with the JID or the URI of each."""

from __future__ import annotations

from xml.etree.ElementTree import Element, fromstring

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.address import SipAddress
from gateway.core.canonical import text_message
from gateway.core.cpim import CpimMessage, compose
from gateway.core.errors import Refusal
from gateway.core.jid import Jid
from gateway.core.mime import Entity
from gateway.core.numbers import NO_NUMBERS, NumberPlan
from gateway.core.pairs import Pair
from gateway.core.uri import Uri
from gateway.relay.directory import Directory
from gateway.xmpp.addresses import MOST_NAMED, addresses
from gateway.xmpp.stanza import ADDRESS

ALICE = Pair(Uri.parse("sip:+15551230001@ims.example").address, Jid("alice", "xmpp.example"), "users.toml user[0]")
NAMES = Directory([ALICE], [], ["sip.example"], ["xmpp.example"])
PART = Entity.compose([("Content-Type", "text/plain")], b"hi")


def named(*fields: tuple[str, str], copies: bool = True, numbers: NumberPlan = NO_NUMBERS) -> list[dict[str, str]]:
    """The attributes of each address but for `delivered`, which each must have."""
    found = addresses(compose([("From", "<im:tomas@sip.example>"), *fields], PART), NAMES, numbers, copies=copies)
    element = fromstring(found) if found else Element("none")
    assert element.tag in ("none", f"{{{ADDRESS}}}addresses")
    assert {(each.tag, each.get("delivered"), each.text, len(each)) for each in element} <= {(f"{{{ADDRESS}}}address", "true", None, 0)}
    return [{name: value for name, value in each.attrib.items() if name != "delivered"} for each in element]


def copied(value: str) -> dict[str, str]:
    """The attributes of one cc."""
    [_, copy] = named(("To", "<im:mira@xmpp.example>"), ("cc", value))
    assert copy.pop("type") == "cc"
    return copy


@pytest.mark.requirement("CPIM-34")
def test_one_recipient_is_no_list() -> None:
    message = text_message(SipAddress("tomas", "sip.example"), Jid("mira", "xmpp.example"), "hi", 0)
    assert addresses(message, NAMES, NO_NUMBERS, copies=True) == ""
    assert named(("To", "Mira <im:mira@xmpp.example>")) == named() == []


@pytest.mark.requirement("CPIM-34")
def test_several_are_shown_in_their_order() -> None:
    to, cc, more = ("To", "<im:mira@xmpp.example>"), ("cc", "<im:bob@xmpp.example>"), ("To", "Tomas <im:tomas@sip.example>")
    mira, bob = {"type": "to", "jid": "mira@xmpp.example"}, {"type": "cc", "jid": "bob@xmpp.example"}
    tomas = {"type": "to", "jid": "tomas@sip.example", "desc": "Tomas"}
    assert named(to, cc, more) == [mira, bob, tomas]
    assert named(cc) == [bob]
    assert named(to, to) == [mira, mira]


@pytest.mark.requirement("ICPIM-22")
def test_cc_stays_behind_where_the_table_says_so() -> None:
    to, cc = ("To", "<im:mira@xmpp.example>"), ("cc", "<im:bob@xmpp.example>")
    assert named(to, cc, copies=False) == []
    assert [each["type"] for each in named(to, to, cc, copies=False)] == ["to", "to"]


@pytest.mark.requirement("CPIM-34", "CPIM-33")
@pytest.mark.parametrize(("uri", "place"), [
    ("im:Bob@xmpp.example", {"jid": "bob@xmpp.example"}),
    ("SIP:bob:secret@xmpp.example:5070;transport=tcp?x=y", {"jid": "bob@xmpp.example"}),
    ("sips:d'arcy%231@sip.example;gr=x", {"jid": "d\\27arcy#1@sip.example"}),
    ("pres:bob@xmpp.example", {"jid": "bob@xmpp.example"}),
    ("sip:+15551230001@ims.example", {"jid": "alice@xmpp.example"}),
    ("xmpp:bob@elsewhere.example/desk?message", {"jid": "bob@elsewhere.example"}),
    ("sip:sip.example", {"jid": "sip.example"}),
    ("im:bob@elsewhere.example", {"uri": "im:bob@elsewhere.example"}),
    ("sip:bob@elsewhere.example;user=phone", {"uri": "sip:bob@elsewhere.example;user=phone"}),
    ("tel:+15551230001", {"uri": "tel:+15551230001"}),
    ("mailto:bob@xmpp.example", {"uri": "mailto:bob@xmpp.example"}),
    # An address that would be a second name for somebody is nobody's (SEC-14).
    ("sip:alice@xmpp.example", {"uri": "sip:alice@xmpp.example"}),
    ("sip:bob%00@xmpp.example", {"uri": "sip:bob%00@xmpp.example"}),
])  # fmt: skip
def test_an_address_is_shown_by_its_jid_or_by_its_uri(uri: str, place: dict[str, str]) -> None:
    assert copied(f"<{uri}>") == place
    assert copied(f'"Bob, B." <{uri}>') == place | {"desc": "Bob, B."}


@pytest.mark.requirement("CPIM-34", "ADDR-30", "SEC-14")
@pytest.mark.parametrize("uri", ["tel:+1-201-555-0123", "sip:+1-201-555-0123@sip.example;user=phone", "sip:+12015550123@sip.example"])
def test_a_number_is_shown_by_its_one_jid(uri: str) -> None:
    plan = NumberPlan("sip.example", "sip.example")
    [_, copy] = named(("To", "<im:mira@xmpp.example>"), ("cc", f"<{uri}>"), numbers=plan)
    assert copy == {"type": "cc", "jid": "+12015550123@sip.example"}


@pytest.mark.requirement("CPIM-34", "SEC-20")
@pytest.mark.parametrize(("value", "shown"), [
    ("<javascript:alert(1)>", "<javascript:alert(1)>"),
    ("Bob <data:text/html,x>", "Bob <data:text/html,x>"),
    ("<sip:b\u00f6b@sip.example>", "<sip:b\u00f6b@sip.example>"),
    ("xmpp:a b@c", "xmpp:a b@c"),
    ("<xmpp:>", "<xmpp:>"),
    ("a\r\nTo: \0\ufffe<b>", "a To: \ufffd\ufffd<b>"),
])  # fmt: skip
def test_what_is_no_address_is_words(value: str, shown: str) -> None:
    assert copied(value) == {"desc": shown}


@pytest.mark.requirement("RCS-05")
def test_the_address_that_says_see_the_transport_is_not_shown() -> None:
    hidden, mira = ("To", "<sip:anonymous@anonymous.invalid>"), ("To", "<im:mira@xmpp.example>")
    assert named(hidden, mira) == named(hidden, hidden) == []
    assert named(hidden, mira, mira) == named(mira, mira)


@pytest.mark.requirement("CPIM-34", "SEC-35")
@pytest.mark.parametrize("name", ["To", "cc"])
def test_too_many_are_refused_and_none_is_left_out(name: str) -> None:
    assert len(named(*[(name, "<tel:1>")] * MOST_NAMED)) == MOST_NAMED
    with pytest.raises(Refusal, match="64 addresses"):
        named(*[(name, "<tel:1>")] * (MOST_NAMED + 1))
    assert named(*[("cc", "<tel:1>")] * (MOST_NAMED + 1), copies=False) == []


@pytest.mark.requirement("CPIM-24", "CPIM-50")
def test_only_the_core_headers_of_these_names_count() -> None:
    raw = b"To: <im:mira@xmpp.example>\r\nCC: <im:a@b>\r\nto: <im:a@b>\r\nNS: x <urn:x>\r\nx.cc: <im:a@b>\r\n\r\n" + PART.raw
    assert addresses(CpimMessage.parse(raw), NAMES, NO_NUMBERS, copies=True) == ""


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["To", "cc"]), st.text()), max_size=4))
def test_whatever_is_written_there_is_one_element_of_addresses(fields: list[tuple[str, str]]) -> None:
    raw = "".join(f"{name}: {value}\r\n" for name, value in fields if not set(value) & set("\r\n")).encode("utf-8", "replace")
    message = CpimMessage.parse(b"From: <im:a@b>\r\n" + raw + b"\r\n" + PART.raw)
    found = addresses(message, NAMES, NO_NUMBERS, copies=True)
    for each in fromstring(found) if found else ():
        assert each.attrib.keys() & {"jid", "uri", "desc"}
        assert not {"jid", "uri"} <= each.attrib.keys()
