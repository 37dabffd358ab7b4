"""What is signed or encrypted, through the SIP side: the body stays as it came, octet for octet, with the headers that it has."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.core.address import SipAddress
from gateway.core.canonical import entity_message
from gateway.core.envelope import Envelope
from gateway.core.errors import Refusal
from gateway.core.imdn import NEGATIVE
from gateway.core.jid import Jid
from gateway.core.mime import Entity
from gateway.core.ports import Notice, Peer
from gateway.core.settings import RouteRule
from gateway.core.verdict import NOT_CHECKED
from gateway.sip.bodies import bodies, needed
from gateway.sip.codec import Draft
from gateway.sip.takes import Takes
from gateway.sip.uas import Uas
from tests.sip.rig import ACCEPT, JULIET, SECRET, codec, guard, header, headers, request, settings, tables
from tests.sip.sample import read
from tests.sip.test_reading import NOW, envelope, refusal

SIGNED = (
    b"\x00 preamble\r--b1 is none\r\n--b1\r\nContent-type: Text/Plain;\r\n charset=x\r\n\r\nOne \nTwo\xff \r\n--b1  \r\n"
    b"Content-Type: application/pkcs7-signature\r\n\r\n0\x82\x00\r\n--b1--\nepilogue"
)
KINDS = [
    ('multipart/signed; boundary=b1; micalg=sha-256; protocol="application/pkcs7-signature"', SIGNED),
    ("multipart/signed;boundary=b1", b"no delimiter at all"),
    ("application/pkcs7-mime; smime-type=signed-data; name=smime.p7m", b"0\x82\x01\x00\r\n\n\r"),
    ("application/pkcs7-mime; smime-type=enveloped-data", b""),
    ("application/pkcs7-mime; smime-type=authEnveloped-data", b"0\x80"),
    ("application/pkcs7-mime; smime-type=auth-enveloped-data", b"MIIB\nAAAA"),
    ("application/x-pkcs7-mime", b"\xfe\xff"),
    ("application/pkcs7-mime; smime-type=certs-only", b"x"),
    ("application/pkcs7-mime; smime-type=compressed-data", b"x"),
    ("message/cpim", b"From: <im:romeo@sip.example>\n\nContent-Type: application/pkcs7-mime\n\n\x00\r"),
    ("message/cpim", b"From: <im:a@b>\r\n\r\nContent-Type: multipart/signed; boundary=b1\r\n\r\n" + SIGNED),
    (
        "multipart/mixed; boundary=b2",
        b"--b2\r\n\r\ntext\r\n--b2\r\nContent-Type: multipart/signed;boundary=b1\r\n\r\n" + SIGNED + b"\r\n--b2--",
    ),
]


def kept(data: bytes) -> Envelope:
    """What the store gives back of a request."""
    return Envelope.from_cpim(envelope(data).to_cpim())


def sent(message: Envelope, **rule: object) -> bytes:
    """The MESSAGE that carries it to romeo."""
    to_romeo = replace(message, sender=Jid("juliet", "xmpp.example"), recipient=SipAddress("romeo", "sip.example"))
    chosen = replace(settings(), routes=(RouteRule("*", "sip:127.0.0.1:5080;transport=tcp", large_messages=True, **rule),))  # type: ignore[arg-type]
    draft = codec(chosen).write(to_romeo, 5).wire
    assert isinstance(draft, Draft)
    return draft.octets


@pytest.mark.requirement("E2E-03", "E2E-04", "SMIME-31")
@pytest.mark.parametrize(("content_type", "body"), KINDS)
def test_a_protected_body_comes_out_as_it_went_in(content_type: str, body: bytes) -> None:
    message = kept(request(content_type=content_type, body=body))
    octets = sent(message)
    assert octets.endswith(b"\r\n\r\n" + body)
    assert (header(octets, "Content-Type"), header(octets, "Content-Length")) == (content_type, str(len(body)))
    assert message.verdict == NOT_CHECKED


@pytest.mark.requirement("E2E-01", "SMIME-50", "SMIME-05")
def test_the_headers_of_the_body_go_with_it_whatever_its_disposition_says() -> None:
    said = {
        "mime_version": "1.0",
        "content_disposition": "attachment; filename=smime.p7m; handling=required",
        "content_transfer_encoding": "base64",
        "content_language": "fr",
        "content_id": "<1@sip.example>",
        "content_description": "an order",
    }
    octets = sent(kept(request(content_type="application/pkcs7-mime", body=b"AAAA", **said)))
    assert {name: header(octets, name.replace("_", "-")) for name in said} == said


@pytest.mark.requirement("SMIME-71", "CPIM-09")
def test_text_that_only_speaks_of_it_is_text() -> None:
    body = b"From: <im:romeo@sip.example>\r\n\r\nContent-Type: text/plain\r\n\r\nsend me a multipart/signed or application/pkcs7-mime"
    message = kept(request(content_type="message/cpim", body=body))
    assert message.verdict is None
    assert message.message.raw == body
    assert header(sent(message), "Content-Type") == "text/plain;charset=UTF-8"


@pytest.mark.requirement("IMDN-27", "IMDN-28", "IMDN-15")
@pytest.mark.parametrize("inside", ["application/pkcs7-mime", "multipart/signed; boundary=b1"])
def test_around_what_is_protected_only_news_of_a_failure_may_be_asked_for(inside: str) -> None:
    body = (
        "From: <im:romeo@sip.example>\r\nTo: <im:juliet@xmpp.example>\r\nDateTime: 2026-02-02T02:40:00Z\r\n"
        "NS: imdn <urn:ietf:params:imdn>\r\nimdn.Message-ID: m1\r\n"
        "imdn.Disposition-Notification: positive-delivery, negative-delivery, display\r\n\r\n"
        f"Content-Type: {inside}\r\n\r\nx"
    ).encode()
    message = kept(request(content_type="message/cpim", body=body))
    assert (message.id, message.asked) == ("m1", frozenset((NEGATIVE,)))


@pytest.mark.requirement("NOTE-11")
def test_a_request_for_notifications_inside_a_signature_is_not_looked_for() -> None:
    asking = b"imdn.Message-ID: m1\r\nimdn.Disposition-Notification: display\r\n\r\n\r\nx"
    inner = b"Content-Type: message/cpim\r\n\r\nNS: imdn <urn:ietf:params:imdn>\r\n" + asking
    message = kept(request(content_type="multipart/signed; boundary=b1", body=b"--b1\r\n" + inner + b"\r\n--b1\r\n\r\n--b1--"))
    assert (message.id, message.asked) == ("-1", frozenset())


@pytest.mark.requirement("CPIM-52")
def test_what_the_message_cpim_around_it_requires_has_to_be_understood() -> None:
    body = b"From: <im:a@b>\r\nRequire: Smell\r\n\r\nContent-Type: application/pkcs7-mime\r\n\r\nx"
    assert refusal(request(content_type="message/cpim", body=body)) == "cpim-require"


def uas(route: RouteRule) -> Uas:
    chosen = replace(settings(), routes=(route,))
    return Uas(guard(chosen), tables(), chosen, SECRET, frozenset(("gw.example:5060",)))


def taken(by: Uas, data: bytes) -> Envelope | tuple[Notice, ...] | None:
    return by.message(read(data), Peer("udp:127.0.0.1"), "trace-1", NOW)


@pytest.mark.requirement("E2E-24", "SMIME-76")
def test_a_route_switches_it_off_and_the_accept_then_names_none_of_it() -> None:
    data = request(content_type="application/pkcs7-mime", body=b"x", date="Mon, 02 Feb 2026 02:40:00 GMT")
    assert isinstance(taken(uas(RouteRule("sip.example", smime="auto")), data), Envelope)
    off = uas(RouteRule("sip.example", smime="never"))
    with pytest.raises(Refusal) as refused:
        taken(off, data)
    answer = off.refused(refused.value)
    accepted = [value for name, value in answer.extra if name == "Accept"]
    assert answer.status == 415
    assert accepted == [ACCEPT.replace("multipart/signed, application/pkcs7-mime, ", "")]
    assert isinstance(taken(off, request()), Envelope)


@pytest.mark.requirement("SMIME-37")
def test_there_is_no_other_form_of_it_whatever_its_recipient_is_known_not_to_take() -> None:
    message = envelope(request(content_type="application/pkcs7-mime", body=b"x"))
    takes = Takes(cpim=False, imdn=False, typing=False, html=False, sipfrag=False, smime=False)
    found = [body.form for body in bodies(message, RouteRule("*", cpim="always"), takes, (JULIET, JULIET))]
    assert found == [("smime", "application/pkcs7-mime")]
    assert needed(found[0]) == ()


@pytest.mark.requirement("SMIME-22", "MSG-83")
def test_it_goes_out_with_a_date_which_is_that_of_its_message_cpim() -> None:
    entity = Entity.compose([("Content-Type", "application/pkcs7-mime; smime-type=signed-data")], b"x")
    author, recipient = Jid("juliet", "xmpp.example"), SipAddress("romeo", "sip.example")
    message = envelope(request(content_type="application/pkcs7-mime", body=b"x"))
    dated = replace(message, message=entity_message(author, recipient, entity, NOW - 2))
    assert header(sent(dated), "Date") == "Mon, 02 Feb 2026 02:39:58 GMT"
    assert headers(sent(envelope(request())), "Date") == []


@pytest.mark.requirement("SMIME-09")
@pytest.mark.parametrize("spoilt", [b"\r\n--b2\r\nno header line\r\n\r\nx", b"\r\n--b2\r\n\r\nx" * 40])
def test_what_cannot_be_read_beside_it_hinders_nothing(spoilt: bytes) -> None:
    body = b"--b2\r\nContent-Type: multipart/signed;boundary=b1\r\n\r\n" + SIGNED + spoilt + b"\r\n--b2--"
    data = request(content_type="multipart/mixed; boundary=b2", body=body)
    found = taken(uas(RouteRule("sip.example")), data)
    assert isinstance(found, Envelope)
    assert found.message.entity.content == body
