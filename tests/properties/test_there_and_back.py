"""A text message over either wire and back is the same message, as far as mappings/headers.toml says that its fields are carried."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.core.address import SipAddress
from gateway.core.canonical import text_message, written_at
from gateway.core.envelope import Envelope, RequestOrigin, StanzaOrigin
from gateway.core.jid import Jid
from gateway.core.text import shown_name
from gateway.sip import grammar
from gateway.sip.codec import PLACE_OF_BRANCH
from gateway.xmpp.reading import read_parties

from .world import HERE, LANGUAGES, NOW, TEXTS, THERE, TOKENS, cases, devices, flat, for_xml, jids, lines, over_sip, read_stanza, sip_people

AGES = st.sampled_from([0, 1, 60, 62, 3600, 10**8]) | st.integers(0, 10**9)
SUBJECTS = st.lists(st.tuples(TEXTS, LANGUAGES), max_size=3).map(tuple)
THREADS = st.just("") | TOKENS | TEXTS | st.sampled_from([
    "a@b", "a@b@c", "xmpp-thread.", "xmpp-thread.a", "xmpp-thread.a%20b", "x" * 255, "x" * 256])  # fmt: skip
MOST_CALL_ID = 255


@dataclass(frozen=True)
class Said:
    """What somebody says, before it is an envelope."""

    body: str
    subjects: tuple[tuple[str, str], ...]
    language: str
    thread: str
    age: int
    name: str = ""


SAYINGS = st.builds(Said, TEXTS, SUBJECTS, LANGUAGES, THREADS.map(str.strip), AGES, TEXTS.map(shown_name)).filter(
    lambda said: bool(said.body) or bool(said.subjects and flat(said.subjects[0][0])))  # fmt: skip


def envelope(said: Said, sender: SipAddress | Jid, recipient: SipAddress | Jid, ends: tuple[str, str], name: str = "id7") -> Envelope:
    message = text_message(sender, recipient, said.body, NOW - said.age, subjects=said.subjects, language=said.language)
    return Envelope(
        id=name, trace_id="trace", sender=sender, recipient=recipient, message=message, received_at=NOW, peer="test",
        sender_device=ends[0], recipient_device=ends[1], thread=said.thread, sender_name=said.name)  # fmt: skip


@pytest.mark.requirement("MSG-36", "IMSG-10", "ADDR-21")
@cases(0.4)
@given(SAYINGS, jids(), sip_people(), st.tuples(devices(), devices()))
@example(Said("hi", (), "", "xmpp-thread.", 0), Jid("a", "xmpp.example"), SipAddress("b", "sip.example"), ("", ""))
def test_over_sip(said: Said, sender: Jid, recipient: SipAddress, ends: tuple[str, str]) -> None:
    request, back = over_sip(envelope(said, sender, recipient, ends))
    assert back is not None
    assert THERE.directory.jid_of(back.sender) == sender
    assert isinstance(back.recipient, Jid)
    assert THERE.directory.sip_of(back.recipient) == recipient.normal
    assert (back.sender_device, back.recipient_device) == ends
    assert back.sender_name in (said.name, "")  # it makes way for a message that fills 1300 octets
    assert back.message.entity.text() == lines(said.body)
    if request.content_type and request.content_type.essence == "message/cpim":
        # Only there is room for several subjects, and for their languages (ICPIM-34).
        assert len(said.subjects) > 1
        assert back.message.subjects == tuple((text.strip(" "), language) for text, language in said.subjects)
        assert written_at(back.message) == int(NOW - said.age)
    else:
        first = flat(said.subjects[0][0]) if said.subjects else ""
        assert back.message.subjects == (((first, ""),) if first else ())
        written = int(NOW - said.age) if NOW - int(NOW - said.age) > 60 else int(NOW)
        assert written_at(back.message) == written
    assert (back.message.entity.header("Content-Language") or "") == said.language
    assert back.id == PLACE_OF_BRANCH[7:]
    assert back.origin == RequestOrigin(request.to.uri_text, request.call_id, "7 MESSAGE")
    if len(said.thread) <= MOST_CALL_ID and len("xmpp-thread." + quote(said.thread, safe="")) <= MOST_CALL_ID:
        assert not said.thread or back.thread == said.thread
    assert grammar.CALL_ID.fullmatch(request.call_id)


@pytest.mark.requirement("IMSG-11")
@cases(0.1)
@given(SAYINGS, SAYINGS, jids(), sip_people())
def test_one_conversation_has_one_call_id_and_one_tag(one: Said, other: Said, sender: Jid, recipient: SipAddress) -> None:
    first, second = (over_sip(envelope(said, sender, recipient, ("", "")))[0] for said in (one, other))
    if one.thread:
        assert (first.call_id == second.call_id) is (one.thread == other.thread)
        assert (first.from_.tag == second.from_.tag) is (one.thread == other.thread)


@pytest.mark.requirement("IMSG-16", "IMSG-17", "IMSG-09")
@cases(0.4)
@given(SAYINGS, sip_people(), jids(), st.tuples(devices(), devices()), TOKENS)
@example(Said("\ufffe\r", (("a\nb", "en"),), "de", "\x0b x", 100), SipAddress("A", "sip.example"), Jid("b", "xmpp.example"), ("", ""), "i")
def test_over_xmpp(said: Said, sender: SipAddress, recipient: Jid, ends: tuple[str, str], name: str) -> None:
    parcel = HERE.xmpp.write(envelope(said, sender, recipient, ends, name))
    stanza = read_stanza(bytes(parcel.wire))  # type: ignore[call-overload]
    author, whom = read_parties(stanza)
    parties = THERE.guard.from_xmpp(whom.domain, author, whom)
    back = THERE.xmpp.read(stanza, parties, "test", "trace", NOW)
    assert back is not None
    assert back.sender == HERE.directory.jid_of(sender)
    assert THERE.directory.jid_of(back.recipient) == recipient
    assert (back.sender_device, back.recipient_device, back.sender_name) == (*ends, said.name)
    assert back.message.entity.text() == lines(for_xml(lines(said.body, "\n")))
    subjects = [(text, language) for subject, language in said.subjects if (text := flat(for_xml(subject)))]
    assert sorted(back.message.subjects) == sorted(subjects)
    assert (back.message.entity.header("Content-Language") or "") == said.language
    assert back.thread == for_xml(said.thread)
    assert written_at(back.message) == (int(NOW - said.age) if NOW - int(NOW - said.age) > 60 else int(NOW))
    assert back.origin == StanzaOrigin(name, "normal", str(author), str(whom))
    assert parcel.traces == ((name, str(author.bare), str(whom.bare)),)


@pytest.mark.requirement("CPIM-10")
@cases(0.1)
@given(SAYINGS, sip_people(), jids(), st.tuples(devices(), devices()), TOKENS, st.booleans())
def test_over_the_store(said: Said, sip: SipAddress, jid: Jid, ends: tuple[str, str], name: str, to_sip: bool) -> None:
    sent = envelope(said, jid, sip, ends, name) if to_sip else envelope(said, sip, jid, ends, name)
    back = Envelope.from_cpim(sent.to_cpim())
    assert back == sent
    assert back.message.raw == sent.message.raw
    assert back.to_cpim() == sent.to_cpim()
    assert back.message.subjects == sent.message.subjects
    assert back.message.entity.text() == sent.message.entity.text() == lines(said.body)
    if to_sip:
        assert HERE.sip.write(back, 7) == HERE.sip.write(sent, 7)
    else:
        assert HERE.xmpp.write(back) == HERE.xmpp.write(sent)
