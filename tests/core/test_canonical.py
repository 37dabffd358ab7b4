"""The message/cpim objects that the gateway composes itself, octet for octet, and when a message says that it was written."""

from __future__ import annotations

import tracemalloc

import pytest

from gateway.core.address import SipAddress
from gateway.core.canonical import address_uri, alternatives, entity_message, failure_message, text_message, written_at
from gateway.core.content import Content, content_of
from gateway.core.cpim import CpimMessage
from gateway.core.jid import Jid
from gateway.core.mime import Entity, mime_parts

ROMEO, JULIET = SipAddress("romeo", "sip.example"), Jid("juliet", "xmpp.example")
NOW = 1_770_110_160.75


@pytest.mark.parametrize(("address", "uri"), [
    (SipAddress("o'malley", "sip.example"), "im:o%27malley@sip.example"), (SipAddress("", "sip.example"), "im:sip.example"),
    (Jid(r"o\27malley", "bücher.example"), "im:o%27malley@xn--bcher-kva.example"), (Jid("", "xmpp.example"), "im:xmpp.example"),
    (Jid("a", "xmpp.example", "balcony"), "im:a@xmpp.example"),
])  # fmt: skip
@pytest.mark.requirement("ICPIM-10")
def test_a_person_is_named_by_an_im_uri(address: SipAddress | Jid, uri: str) -> None:
    assert address_uri(address) == uri


@pytest.mark.requirement("CPIM-36", "CPIM-63")
@pytest.mark.parametrize("subjects", [(), (("Frage", ""),), (("Frage", "de"),), (("Frage", "de"), ("Question", "en"))])
def test_a_composed_message_says_of_itself_what_its_octets_say(subjects: tuple[tuple[str, str], ...]) -> None:
    composed = text_message(ROMEO, JULIET, "hi", NOW, subjects=subjects, sender_name="Romeo")
    read = CpimMessage.parse(composed.raw, strict=True)
    assert composed.subjects == read.subjects == subjects
    assert (composed.sender, composed.recipients, composed.required) == (read.sender, read.recipients, ())
    for name in ("From", "To", "DateTime", "Subject", "cc", "Subject;lang=de"):
        assert (composed.first(name), composed.values(name)) == (read.first(name), read.values(name))
        assert composed.first(name, "urn:example:other") is None


@pytest.mark.requirement("SEC-35")
def test_what_people_write_of_any_length_is_not_kept_in_memory() -> None:
    text_message(ROMEO, JULIET, "hi", NOW)
    tracemalloc.start()
    try:
        for number in range(200):
            text_message(ROMEO, JULIET, "hi", NOW, sender_name=f"{number:015000}")
            text_message(ROMEO, JULIET, "hi", NOW, subjects=((f"{number:015000}", ""),))
        assert tracemalloc.get_traced_memory()[0] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.requirement("CPIM-58", "CPIM-63", "CPIM-64")
def test_a_text_is_written_with_all_that_is_known() -> None:
    message = text_message(
        ROMEO, JULIET, "Wo?\nHier\r", NOW, subjects=(("Frage", ""), ("Otázka\t", "cs")), language="de", sender_name='Romeo "R" \\'
    )
    assert message.raw == (
        b"From: \"Romeo 'R' \\\\\" <im:romeo@sip.example>\r\nTo: <im:juliet@xmpp.example>\r\nDateTime: 2026-02-03T09:16:00Z\r\n"
        b"Subject: Frage\r\nSubject:;lang=cs Ot\xc3\xa1zka\\t\r\n\r\n"
        b"Content-Type: text/plain; charset=utf-8\r\nContent-Language: de\r\n\r\nWo?\r\nHier\r\n"
    )
    assert message.sender is not None
    assert (message.sender.name, message.subjects) == ("Romeo 'R' \\", (("Frage", ""), ("Otázka\t", "cs")))
    assert message.entity.text() == "Wo?\r\nHier\r\n"
    assert written_at(message) == int(NOW)


@pytest.mark.requirement("CPIM-63")
def test_two_texts_in_the_same_second_do_not_mix() -> None:
    one, two = (text_message(ROMEO, JULIET, text, NOW, language=tag) for text, tag in (("one", ""), ("two", "en")))
    assert one.raw == (
        b"From: <im:romeo@sip.example>\r\nTo: <im:juliet@xmpp.example>\r\nDateTime: 2026-02-03T09:16:00Z\r\n\r\n"
        b"Content-Type: text/plain; charset=utf-8\r\n\r\none"
    )
    assert two.raw == one.raw[:-3].replace(b"utf-8\r\n", b"utf-8\r\nContent-Language: en\r\n") + b"two"
    assert [CpimMessage.parse(each.raw, strict=True).entity.text() for each in (one, two)] == ["one", "two"]


@pytest.mark.requirement("FRAG-41")
def test_a_failure_is_a_status_in_message_cpim() -> None:
    message = failure_message(JULIET, ROMEO, NOW, 404, "Not Found", [("CSeq", "1 MESSAGE")])
    assert message.raw == (
        b"From: <im:juliet@xmpp.example>\r\nTo: <im:romeo@sip.example>\r\nDateTime: 2026-02-03T09:16:00.750Z\r\n\r\n"
        b"Content-Type: message/sipfrag\r\nContent-Disposition: notification\r\n\r\nSIP/2.0 404 Not Found\r\nCSeq: 1 MESSAGE\r\n"
    )


@pytest.mark.parametrize(
    ("line", "instant"),
    [("DateTime: 2026-02-03T10:16:00.5+01:00", 1_770_110_160.5), ("DateTime: yesterday", None), ("DateTime: ", None), ("X: y", None)],
)
def test_when_a_message_says_that_it_was_written(line: str, instant: float | None) -> None:
    assert written_at(CpimMessage.parse(f"{line}\r\n\r\nContent-Type: text/plain\r\n\r\n".encode())) == instant


def test_an_entity_travels_octet_for_octet() -> None:
    entity = Entity.compose([("Content-Type", "text/html"), ("Content-Language", "sl")], b"<b>Prav.\xff</b>")
    message = entity_message(ROMEO, JULIET, entity, 0, subjects=(("Pot", ""),), sender_name="R")
    assert CpimMessage.parse(message.raw, strict=True).entity == entity
    assert (message.subjects, message.first("DateTime")) == ((("Pot", ""),), "1970-01-01T00:00:00Z")


def test_text_and_markup_are_alternatives() -> None:
    entity = alternatives("a\nb", "<p>a<br/>b</p>", "sl")
    assert content_of(entity) == Content("a\nb", "sl", "<p>a<br/>b</p>")
    assert [str(part.entity.content_type) for part in mime_parts(entity)][1:] == ["text/plain; charset=utf-8", "text/html; charset=utf-8"]
    boundary = entity.content_type.param("boundary") or ""
    assert boundary not in "a\nb<p>a<br/>b</p>"
