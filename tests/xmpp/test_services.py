"""What the gateway and its users answer to an iq."""

from __future__ import annotations

from xml.etree.ElementTree import Element, fromstring

import pytest

from gateway.xmpp.services import answer
from gateway.xmpp.stanza import STANZAS

INFO, ITEMS = "http://jabber.org/protocol/disco#info", "http://jabber.org/protocol/disco#items"
GATEWAY, USER = "sip.example", "tomas@sip.example"


def asked(content: str, *, to: str = GATEWAY, kind: str = "get") -> Element:
    """The reply to a question of mira."""
    octets = answer(fromstring(f"<iq type='{kind}' id='q1' from='mira@xmpp.example/a' to='{to}'>{content}</iq>"), GATEWAY)
    reply = fromstring(octets)
    assert (reply.tag, reply.get("id"), reply.get("from"), reply.get("to")) == ("iq", "q1", to, "mira@xmpp.example/a")
    return reply


def refusal(reply: Element) -> tuple[str, str]:
    """(type, condition) of the error in a reply."""
    assert reply.get("type") == "error"
    [error] = reply.findall("error")
    return error.get("type", ""), error[0].tag.removeprefix(f"{{{STANZAS}}}")


@pytest.mark.requirement("XEP-03", "ADDR-36")
def test_the_gateway_says_what_it_is() -> None:
    reply = asked(f"<query xmlns='{INFO}'/>")
    assert reply.get("type") == "result"
    [query] = reply
    identity = query.find(f"{{{INFO}}}identity")
    assert identity is not None
    assert (identity.get("category"), identity.get("type"), identity.get("name")) == ("gateway", "simple", "Stoxgate")
    assert {each.get("var") for each in query.findall(f"{{{INFO}}}feature")} == {INFO, ITEMS, r"jid\20escaping", "urn:xmpp:ping"}


@pytest.mark.requirement("XEP-03")
def test_a_user_says_no_more_than_that_there_may_be_one() -> None:
    [query] = asked(f"<query xmlns='{INFO}'/>", to=USER)
    assert [each.attrib for each in query] == [{"category": "account", "type": "registered"}, {"var": INFO}]
    [query] = asked(f"<query xmlns='{ITEMS}'/>")
    assert len(query) == 0


@pytest.mark.requirement("XEP-17")
def test_the_gateway_answers_a_ping_and_its_users_do_not() -> None:
    reply = asked("<ping xmlns='urn:xmpp:ping'/>")
    assert (reply.get("type"), len(reply)) == ("result", 0)
    assert refusal(asked("<ping xmlns='urn:xmpp:ping'/>", to=USER)) == ("cancel", "service-unavailable")


@pytest.mark.parametrize(
    "content",
    [
        "<query xmlns='jabber:iq:version'/>",
        "<ping xmlns='urn:other'/>",
        "<query xmlns='urn:x'/>",
        "",
        "<vCard xmlns='vcard-temp'/>",
        f"<x xmlns='urn:x'><query xmlns='{INFO}'/></x>",
    ],
)
def test_any_other_question_is_service_unavailable(content: str) -> None:
    for to in (GATEWAY, USER):
        assert refusal(asked(content, to=to)) == ("cancel", "service-unavailable")


@pytest.mark.parametrize("content", [f"<query xmlns='{INFO}'/>", "<ping xmlns='urn:xmpp:ping'/>", "<query xmlns='jabber:iq:register'/>"])
def test_nothing_can_be_set(content: str) -> None:
    assert refusal(asked(content, kind="set")) == ("cancel", "service-unavailable")


def test_an_unknown_node_is_item_not_found() -> None:
    for namespace in (INFO, ITEMS):
        assert refusal(asked(f"<query xmlns='{namespace}' node='x'/>")) == ("cancel", "item-not-found")


@pytest.mark.requirement("SEC-43", "ERR-05")
@pytest.mark.parametrize("kind", ["result", "error", "", "other"])
def test_results_and_errors_get_no_answer(kind: str) -> None:
    assert answer(fromstring(f"<iq type='{kind}' id='q1' from='a@b' to='{GATEWAY}'><ping xmlns='urn:xmpp:ping'/></iq>"), GATEWAY) == ""


@pytest.mark.requirement("SEC-20")
def test_what_is_repeated_is_escaped() -> None:
    iq = Element("iq", {"type": "get", "id": "a'b\"<&\n", "from": "o'x@xmpp.example/<>", "to": GATEWAY})
    reply = fromstring(answer(iq, GATEWAY))
    assert (reply.get("id"), reply.get("to")) == ("a'b\"<&\n", "o'x@xmpp.example/<>")
