"""What is asked of an upload service, and what its answers mean (XEP-0363)."""

from __future__ import annotations

from xml.etree.ElementTree import Element, SubElement, fromstring

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.canonical import entity_message
from gateway.core.errors import Refusal
from gateway.core.files import File
from gateway.core.links import MOST_URL
from gateway.core.mime import Entity
from gateway.core.outcome import Outcome, Verdict
from gateway.translation import translation
from gateway.xmpp.slots import UPLOAD, Slot, Upload, read_answer, read_status, request
from gateway.xmpp.stream import MOST_STANZA_OCTETS
from tests.xmpp.lonely import TABLES, settings
from tests.xmpp.test_codec import MIRA, NOW, TOMAS, envelope

STANZAS = "urn:ietf:params:xml:ns:xmpp-stanzas"
PUT, GET = "https://up.example/s/a%20b.png?v=1", "https://down.example/s/a%20b.png"
CODEC = translation(settings(5347, upload="up.example"), TABLES, b"k" * 32).to_xmpp


def answer(put: str = PUT, get: str = GET, headers: str = "") -> Slot | Outcome:
    slot = f"<slot xmlns='{UPLOAD}'><put url='{put}'>{headers}</put><get url='{get}'/></slot>"
    return read_answer(fromstring(f"<iq xmlns='jabber:component:accept' type='result'>{slot}</iq>"), NOW)


def refused(error: str) -> Outcome:
    outcome = read_answer(fromstring(f"<iq xmlns='jabber:component:accept' type='error'>{error}</iq>"), NOW)
    assert isinstance(outcome, Outcome)
    return outcome


def test_the_question_names_the_file_its_size_and_its_type() -> None:
    asked = fromstring(request(File("tr\u00e8s 'cool'.png", "image/png", b"12345"), "up.example", "romeo@sip.example", "x1"))
    assert asked.attrib == {"type": "get", "from": "romeo@sip.example", "to": "up.example", "id": "x1"}
    assert [(each.tag, each.attrib) for each in asked] == [
        (f"{{{UPLOAD}}}request", {"filename": "tr\u00e8s 'cool'.png", "size": "5", "content-type": "image/png"})
    ]


def test_a_slot_is_read() -> None:
    assert answer() == Slot(PUT, GET)


def test_only_three_header_fields_are_passed_on_each_on_one_line() -> None:
    slot = answer(
        headers="<header name='authorization'>Basic a&#10;b==</header><header name='Cookie'>c=d</header><header name='Host'>evil</header>"
        "<header name='Ex&#13;&#10;pires'>never</header><header name='X-A'>b</header><header name='Cookie'>second</header>"
    )
    assert isinstance(slot, Slot)
    assert slot.headers(File("a", "image/png", b"1")) == {
        "Content-Type": "image/png",
        "Authorization": "Basic ab==",
        "Cookie": "c=d",
        "Expires": "never",
    }
    assert answer(headers="<header name='Cookie'>\u00e9</header>") == Slot(PUT, GET)


@pytest.mark.parametrize("put", ["http://127.0.0.1:80/a", "http://[::1]/a", "http://localhost:5280/a"])
def test_http_is_for_this_machine(put: str) -> None:
    assert answer(put) == Slot(put, GET)


@pytest.mark.parametrize(
    ("put", "get"),
    [
        ("http://up.example/a", GET),
        ("http://192.0.2.1/a", GET),
        ("http://127.0.0.1.example/a", GET),
        ("http://127.0.0.1@up.example/a", GET),
        ("https://user:word@up.example/a", GET),
        ("ftp://up.example/a", GET),
        ("https://up.example:99999/a", GET),
        ("https://up.example/\u00e9", GET),
        ("", GET),
        ("https:///a", GET),
        (PUT, ""),
        (PUT, "javascript:alert(1)"),
        (PUT, "https://down.example/" + "a" * MOST_URL),
    ],
)
def test_a_url_that_is_not_used_is_no_slot(put: str, get: str) -> None:
    outcome = answer(put, get)
    assert isinstance(outcome, Outcome)
    assert (outcome.verdict, outcome.status) == (Verdict.LATER, 503)


@pytest.mark.parametrize(
    ("error", "verdict", "status", "said"),
    [
        (f"<error type='modify'><not-acceptable xmlns='{STANZAS}'/><file-too-large xmlns='{UPLOAD}'><max-file-size>20000</max-file-size>"
         "</file-too-large></error>", Verdict.FAILED, 413, "over 20000 octets"),
        (f"<error type='modify'><not-acceptable xmlns='{STANZAS}'/><file-too-large xmlns='{UPLOAD}'><max-file-size>lots</max-file-size>"
         "</file-too-large></error>", Verdict.FAILED, 413, "of this size"),
        (f"<error type='modify'><not-acceptable xmlns='{STANZAS}'/><text xmlns='{STANZAS}'>No\nexe</text></error>",
         Verdict.FAILED, 415, "No exe"),
        (f"<error type='auth'><forbidden xmlns='{STANZAS}'/></error>", Verdict.FAILED, 403, "no files from this gateway"),
        (f"<error type='cancel'><not-allowed xmlns='{STANZAS}'/></error>", Verdict.FAILED, 403, "no files from this gateway"),
        (f"<error type='wait'><resource-constraint xmlns='{STANZAS}'/></error>", Verdict.LATER, 503, "resource-constraint"),
        (f"<error type='cancel'><service-unavailable xmlns='{STANZAS}'/></error>", Verdict.LATER, 503, "service-unavailable"),
        (f"<error type='cancel'><remote-server-not-found xmlns='{STANZAS}'/></error>", Verdict.LATER, 503, "remote-server-not-found"),
        ("", Verdict.LATER, 503, "error"),
        ("<error/>", Verdict.FAILED, 415, "undefined-condition"),
    ],
)  # fmt: skip
def test_what_a_refusal_means(error: str, verdict: Verdict, status: int, said: str) -> None:
    outcome = refused(error)
    assert (outcome.verdict, outcome.status) == (verdict, status)
    assert said in outcome.reason


@pytest.mark.parametrize(
    ("stamp", "seconds"),
    [("2026-02-03T09:16:30Z", 30.0), ("2020-01-01T00:00:00Z", 0.0), ("soon", None)],
)
def test_a_service_says_when_to_come_again(stamp: str, seconds: float | None) -> None:
    outcome = refused(f"<error type='modify'><policy-violation xmlns='{STANZAS}'/><retry xmlns='{UPLOAD}' stamp='{stamp}'/></error>")
    assert (outcome.verdict, outcome.retry_after) == (Verdict.LATER, seconds)


def test_a_result_without_a_slot_is_none() -> None:
    outcome = read_answer(fromstring("<iq type='result'/>"), NOW)
    assert isinstance(outcome, Outcome)
    assert outcome.verdict is Verdict.LATER


@pytest.mark.parametrize(
    ("status", "verdict", "said"),
    [
        (413, Verdict.FAILED, 413),
        (302, Verdict.LATER, 503),
        (401, Verdict.LATER, 503),
        (409, Verdict.LATER, 503),
        (500, Verdict.LATER, 503),
    ],
)
def test_what_the_status_of_a_put_means(status: int, verdict: Verdict, said: int) -> None:
    outcome = read_status(status)
    assert outcome is not None
    assert (outcome.verdict, outcome.status) == (verdict, said)
    assert (read_status(200), read_status(201)) == (None, None)


@hypothesis.settings(deadline=None)
@given(st.text(max_size=60), st.sampled_from(["https:", "http:", ""]), st.text(max_size=20))
def test_no_url_and_no_header_of_a_service_does_harm(rest: str, scheme: str, value: str) -> None:
    iq = Element("iq", {"type": "result"})
    put = SubElement(SubElement(iq, f"{{{UPLOAD}}}slot"), f"{{{UPLOAD}}}put", {"url": f"{scheme}//{rest}"})
    SubElement(iq[0], f"{{{UPLOAD}}}get", {"url": GET})
    SubElement(put, f"{{{UPLOAD}}}header", {"name": "Cookie"}).text = value
    found = read_answer(iq, NOW)
    if isinstance(found, Slot):
        assert all(line.isascii() and line.isprintable() for line in (found.put, *dict(found.passed_on).values()))
        assert found.put.startswith(("https:", "http:"))
    else:
        assert found.verdict is Verdict.LATER


# -- from an envelope --------------------------------------------------------------------------------------------------
def uploaded(content_type: str, content: bytes) -> Upload:
    parcel = CODEC.write(envelope(message=entity_message(TOMAS, MIRA, Entity.compose([("Content-Type", content_type)], content), NOW)))
    assert isinstance(parcel.wire, Upload)
    assert parcel.slow
    return parcel.wire


def test_a_message_with_a_file_waits_for_its_url() -> None:
    upload = uploaded("image/png; name=a.png", b"12345")
    assert (upload.sender, upload.files) == ("tomas@sip.example", (File("a.png", "image/png", b"12345"),))
    body = f"<body>{GET}</body><x xmlns='jabber:x:oob'><url>{GET}</url></x>"
    assert upload.stanza([GET]).decode() == f"<message from='tomas@sip.example' to='mira@xmpp.example' id='i1'>{body}</message>"


def test_text_beside_a_file_stays_text() -> None:
    parts = "--b\r\n\r\nlook\r\n--b\r\nContent-Type: a/b\r\n\r\n1\r\n--b\r\nContent-Type: a/b\r\n\r\n2\r\n--b--\r\n"
    upload = uploaded("multipart/mixed; boundary=b", parts.encode())
    assert [file.octets for file in upload.files] == [b"1", b"2"]
    assert f"<body>look\n{GET}1\n{GET}2</body>" in upload.stanza([f"{GET}1", f"{GET}2"]).decode()


def test_a_message_that_would_have_no_room_for_the_url_is_not_taken() -> None:
    parts = f"--b\r\n\r\n{'a' * (MOST_STANZA_OCTETS - 3000)}\r\n--b\r\nContent-Type: a/b\r\n\r\n1\r\n--b--\r\n"
    with pytest.raises(Refusal, match="body-too-large"):
        uploaded("multipart/mixed; boundary=b", parts.encode())
