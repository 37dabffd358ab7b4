"""A signed copy of the request against the request around it: what may differ, what may be written differently, and what must not."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.mime import Entity
from gateway.core.ports import Outer
from gateway.smime.fields import fields_of, same, split
from gateway.smime.tunnel import tunnel_fault

ROWS = (
    ("via", "SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bK-1"),
    ("max-forwards", "69"),
    ("from", "Romeo <sip:romeo@sip.example>;tag=r1"),
    ("to", "<sip:juliet@xmpp.example>"),
    ("call-id", "Call-1@sip.example"),
    ("cseq", "1 MESSAGE"),
    ("date", "Fri, 02 Jan 2026 03:04:05 GMT"),
    ("subject", "Lunch, or not"),
    ("supported", "path, gruu"),
    ("reply-to", "<sip:romeo@sip.example>"),
    ("expires", "60"),
    ("x-other", "one"),
    ("content-type", "multipart/signed; boundary=b"),
    ("content-length", "900"),
)
OUTER = Outer("MESSAGE", "sip:juliet@xmpp.example", ROWS)
COPY = """MESSAGE sip:juliet@xmpp.example SIP/2.0
Via: SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bK-1
Max-Forwards: 70
From: Romeo <sip:romeo@sip.example>;tag=r1
To: <sip:juliet@xmpp.example>
Call-ID: Call-1@sip.example
CSeq: 1 MESSAGE
Date: Fri, 02 Jan 2026 03:04:05 GMT
Subject: Lunch, or not
Supported: path, gruu
Reply-To: <sip:romeo@sip.example>
Expires: 60
X-Other: one
Content-Type: text/plain
Content-Length: 6

Lunch?"""


def signed(text: str, content_type: str = "message/sip") -> Entity:
    return Entity.compose([("Content-Type", content_type)], text.replace("\n", "\r\n").encode())


def fault(old: str = "", new: str = "", outer: Outer = OUTER, content_type: str = "message/sip") -> str:
    """What is said of the copy with something changed in it."""
    assert old in COPY
    return tunnel_fault(signed(COPY.replace(old, new) if old else COPY, content_type), outer)


def around(**changes: str | None) -> Outer:
    """The request with some headers changed; None leaves one out."""
    known: dict[str, str | None] = dict(ROWS)
    known |= {name.replace("_", "-"): value for name, value in changes.items()}
    return OUTER._replace(headers=tuple((name, value) for name, value in known.items() if value is not None))


@pytest.mark.requirement("SMIME-24")
def test_a_copy_of_this_request_holds() -> None:
    assert fault() == ""
    assert tunnel_fault(Entity.parse(b"Content-Type: text/plain\r\n\r\nhi"), OUTER) == ""


@pytest.mark.requirement("SMIME-24")
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("MESSAGE sip:juliet@xmpp.example SIP", "MESSAGE sip:u7@192.0.2.1 SIP"),
        ("Via: SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bK-1\n", ""),
        ("branch=z9hG4bK-1", "branch=z9hG4bK-2"),
        (
            "Max-Forwards: 70",
            "Max-Forwards: 1\nRoute: <sip:p1.example;lr>\nRecord-Route: <sip:p2.example;lr>\nProxy-Authorization: Digest x",
        ),
    ],
)
def test_what_proxies_change_may_differ(old: str, new: str) -> None:
    assert fault(old, new) == ""


@pytest.mark.requirement("SMIME-24")
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("From: Romeo <sip:romeo@sip.example>;tag=r1", "f: <SIP:romeo@SIP.example> ; tag=r1"),
        ("From: Romeo <sip:romeo@sip.example>;tag=r1", 'From: "Someone, else" <sip:%72omeo@sip.example>;x=y;tag=r1'),
        ("To: <sip:juliet@xmpp.example>", "t:sip:juliet@xmpp.example"),
        ("Call-ID:", "i :"),
        ("CSeq: 1 MESSAGE", "CSEQ:\n 0001   MESSAGE"),
        ("Subject: Lunch, or not", "s: Lunch,\n   or  not"),
        ("Supported: path, gruu", "k: Path\nSUPPORTED : gruu"),
        ("Expires: 60", "Expires: 0060"),
        ("Content-Type: text/plain", "c: text/html"),
        ("X-Other: one", "X-Other: two"),
        ("X-Other: one\n", ""),
    ],
)
def test_what_says_the_same_may_be_written_differently(old: str, new: str) -> None:
    assert fault(old, new) == ""


@pytest.mark.requirement("SMIME-24")
@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("MESSAGE", "INFO", "method"),
        ("sip:romeo@sip.example>;tag", "sip:mira@sip.example>;tag", "From"),
        ("tag=r1", "tag=R1", "From"),
        (";tag=r1", "", "From"),
        ("To: <sip:juliet@", "To: <sip:Juliet@", "To"),
        ("To: <sip:juliet@xmpp.example>", "To: <sip:juliet@xmpp.example>;tag=1", "To"),
        ("Call-ID: Call-1", "Call-ID: call-1", "Call-ID"),
        ("CSeq: 1 ", "CSeq: 2 ", "CSeq"),
        ("03:04:05", "03:04:06", "Date"),
        ("Date: Fri, 02 Jan 2026 03:04:05 GMT\n", "", "Date"),
        ("Lunch, or not", "lunch, or not", "Subject"),
        ("Lunch, or not", "Lunch", "Subject"),
        ("path, gruu", "gruu, path", "Supported"),
        ("Reply-To: <sip:romeo@", "Reply-To: <sip:mira@", "Reply-To"),
        ("Expires: 60", "Expires: 61", "Expires"),
        ("Expires: 60\n", "", "Expires"),
        ("Expires: 60", "Expires: 60\nPriority: urgent", "Priority"),
        ("To: <sip:juliet@xmpp.example>\n", "", "To"),
        ("To: <sip:juliet@xmpp.example>", "To: Bob <bob>", "Bad To"),
        ("CSeq: 1 MESSAGE", "CSeq: 1 MESSAGE\nCSeq: 1 MESSAGE", "Repeated CSeq"),
    ],
)
def test_what_says_something_else_is_named(old: str, new: str, named: str) -> None:
    assert fault(old, new) == named


@pytest.mark.requirement("SMIME-24")
def test_what_the_request_says_besides_was_put_in_on_the_way() -> None:
    assert fault(outer=around(priority="urgent")) == "Priority"
    assert fault(outer=around(x_more="1", p_asserted_identity="<sip:romeo@sip.example>")) == ""
    assert fault(outer=around(date=None)) == "Date"
    # A fragment is of some fields only; but those it has to have that tell which request it is of.
    assert fault(outer=around(priority="urgent"), content_type="message/sipfrag") == ""
    assert fault(outer=around(date=None), content_type="message/sipfrag") == "Date"
    assert (
        tunnel_fault(signed("From: <sip:romeo@sip.example>;tag=r1\nDate: Fri, 02 Jan 2026 03:04:05 GMT\n", "message/sipfrag"), OUTER)
        == "To"
    )


@pytest.mark.requirement("SMIME-24")
def test_only_what_is_a_copy_of_the_request_is_compared() -> None:
    report = signed("SIP/2.0 603 Declined\nCall-ID: other\n", "message/sipfrag")
    assert tunnel_fault(report, OUTER) == ""
    assert tunnel_fault(signed("SIP/2.0 603 Declined\nCall-ID: other\n"), OUTER) == "method"
    aib = Entity.compose([("Content-Type", "message/sipfrag"), ("Content-Disposition", "aib")], b"Call-ID: other\r\n")
    assert tunnel_fault(aib, OUTER) == ""
    beside = COPY.replace("CSeq: 1", "CSeq: 2")
    mixed = signed(
        f"--b\nContent-Type: text/plain\n\nhi\n--b\nContent-Type: message/sip\n\n{beside}\n--b--\n", "multipart/mixed; boundary=b"
    )
    assert tunnel_fault(mixed, OUTER) == "CSeq"


@pytest.mark.parametrize(
    ("content_type", "text"),
    [("message/sip", ""), ("message/sip", "\x00\n"), ("message/sip; version=3.0", COPY), ("message/sip", "MESSAGE nowhere SIP/2.0\n\n")],
)
def test_what_cannot_be_read_does_not_hold(content_type: str, text: str) -> None:
    assert tunnel_fault(signed(text, content_type), OUTER)


def test_a_coding_that_is_not_known_does_not_hold() -> None:
    entity = Entity.compose([("Content-Type", "message/sip"), ("Content-Transfer-Encoding", "x-rot")], b"")
    assert tunnel_fault(entity, OUTER) == "encoding-unknown"
    assert tunnel_fault(Entity.compose([("Content-Type", "multipart/mixed; boundary=b")], b"none"), OUTER) == ""


# -- values -------------------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("SMIME-24")
@pytest.mark.parametrize(
    ("name", "one", "other"),
    [
        ("accept", "text/plain;q=0.5;level=1, */*", "TEXT / plain ; Level=1 ; q = 0.5 ,*/*"),
        ("from", "<sip:a@h;transport=udp;lr>;tag=1", "<sip:a@h;lr;transport=UDP>;tag=1"),
        ("alert-info", "<http://h.example/A>;x", "<http://h.example/A> ; X"),
        ("contact", "*", "*"),
    ],
)
def test_values_are_compared_by_what_they_say(name: str, one: str, other: str) -> None:
    assert same(name, one, other)


@pytest.mark.requirement("SMIME-24")
@pytest.mark.parametrize(
    ("name", "one", "other"),
    [
        ("warning", '399 h "Text"', '399 h "text"'),
        ("alert-info", "<http://h.example/A>", "<http://h.example/a>"),
        ("from", "<sip:a@h>;tag=1", "<sips:a@h>;tag=1"),
        ("from", "<sip:a@h:5060>;tag=1", "<sip:a@h>;tag=1"),
        ("from", "<sip:a@h>", "<sip:a@h>, <sip:b@h>"),
        ("from", "<sip:a@h><sip:b@h>", "<sip:b@h>"),
        ("contact", "*", "<sip:a@h>"),
        ("date", "Fri, 02 Jan 2026 03:04:05 GMT", "fri, 02 Jan 2026 03:04:05 GMT"),
        ("cseq", "x MESSAGE", "y MESSAGE"),
    ],
)
def test_values_that_say_something_else_are_not_the_same(name: str, one: str, other: str) -> None:
    assert not same(name, one, other)


@settings(deadline=None)
@given(st.text(alphabet='ab",;<>\\ =/0', max_size=60), st.text(alphabet='ab",;<>\\ =/0', max_size=60))
def test_no_value_breaks_the_comparison(one: str, other: str) -> None:
    for name in ("from", "accept", "cseq", "date", "subject"):
        assert same(name, one, one)
        assert same(name, one, other) == same(name, other, one)
    assert ",".join(split(one.replace(" ", ""), ",")) == one.replace(" ", "")


def test_rows_of_a_name_are_one_list() -> None:
    assert fields_of(Outer("MESSAGE", "sip:a@b", (("k", "a"), ("supported", "b"), ("to", "x")))) == {"supported": "a, b", "to": "x"}


def test_long_values_take_no_long_time() -> None:
    many = '"' * 20_001 + "<;,a" * 10_000
    assert not same("accept", many, f"{many}b")
    assert not same("from", many, f"{many}b")
