"""Any body that is signed or encrypted goes from SIP to XMPP and back octet for octet, whatever XML libraries there are on the way."""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import dataclass
from xml.dom import minidom
from xml.etree.ElementTree import Element
from xml.sax.saxutils import escape

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from lxml import etree

from gateway.core.envelope import Envelope
from gateway.core.ports import Peer
from gateway.sip.codec import Draft
from gateway.sip.message import Request, parse
from gateway.sip.reading import read_message
from gateway.xmpp.reading import read_parties
from tests.smime.openssl import entity, fields_of

from .world import HERE, NOW, SIP_DOMAINS, THERE, XMPP_DOMAINS, Gateway, cases, mixed, read_stanza

READER = etree.XMLParser(resolve_entities=False, no_network=True, recover=False)
E2E = "urn:ietf:params:xml:ns:xmpp-e2e"
CARRYING = {each: Gateway(SIP_DOMAINS, XMPP_DOMAINS, smime_carriage=each) for each in [("E",), ("A",), ("B", "A"), ()]}
"""Gateways whose one route wants these options."""
_LONE_END = re.compile(b"\r(?!\n)|(?<!\r)\n")
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Body:
    """MIME header fields, the first of which is Content-Type, and a body. folds: what stands behind each semicolon in them."""

    headers: tuple[tuple[str, str], ...]
    octets: bytes
    folds: str = " "


# -- any body ----------------------------------------------------------------------------------------------------------
_PIECES = (
    "\r\n", "\r\n\r\n", "\r", "\n", "\n\n", "\t", "\0", "\x08", "\x7f", "\x85", "\u2028", "\ufeff", "\ufffe", "\U0001f600",
    "\udcff", "\udcc0\udc80",
    "\udced\udca0\udc80", "]]>", "<![CDATA[", "</e2e>", "&#13;", "&amp;", "--", "--b", "\r\n--b\r\n", "\r\n--b--", " \r\n", ".\r\n",
    "Content-Type: text/plain\r\n\r\n", "MIIB", "0\udc80", "=",
)  # fmt: skip
_SOUND = (
    "\r\n",
    "\r\n\r\n",
    "\t",
    "ü",
    "\U0001f600",
    "]]>",
    "<a>",
    "&#13;",
    "--b",
    " \r\n",
    "Content-Type: text/plain\r\n\r\n",
    "\x85",
    "\ufeff",
)


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


SOUND = mixed("abé <&", _SOUND, max_size=24).map(_octets)
"""What XML can hold, with whole line ends."""
OCTETS = st.binary(max_size=60) | mixed("ab ", _PIECES, max_size=16).map(_octets) | SOUND
BOUNDARIES = st.text("0aZ'()+_,-./:=? ", min_size=1, max_size=70).map(lambda text: text.rstrip(" ") or "b")
PADDINGS = st.sampled_from([b"", b" ", b"\t  "])
ENCODINGS = st.sampled_from(["", "binary", "8bit", "7bit", "base64", "BASE64", "quoted-printable", "x-odd"])
DISPOSITIONS = st.sampled_from(["", "attachment; filename=smime.p7m; handling=required", 'inline;x="a;b\\"c"'])
_DESCRIBED = (("Content-ID", "<a@b.example>"), ("Content-Description", "a (b, c"))
OTHERS = st.sampled_from([(), (), (("MIME-Version", "1.0"),), _DESCRIBED, (("Content-Language", "de, en-GB"),)])
FOLDS = st.sampled_from([" ", "", "\r\n ", "\r\n\t  "])
FORMS = st.sampled_from(["text", "cdata", "base64"])
KINDS = st.sampled_from(
    ["signed-data", "enveloped-data", "authEnveloped-data", "auth-enveloped-data", "certs-only", "compressed-data", "x", ""]
)


@st.composite
def clear_signed(draw: st.DrawFn, octets: st.SearchStrategy[bytes] = OCTETS) -> Body:
    """multipart/signed, whole or not."""
    boundary, padding = draw(BOUNDARIES), draw(PADDINGS)
    line = b"--" + boundary.encode()
    body = draw(octets)
    if draw(st.integers(0, 9)):
        second = b"Content-Type: application/pkcs7-signature\r\n\r\n" + draw(octets)
        before = draw(octets) + b"\r\n" if draw(st.booleans()) else b""
        body = before + b"\r\n".join([line + padding, body, line + padding, second, line + b"--" + padding]) + draw(octets)
    content_type = f'multipart/signed; protocol="application/pkcs7-signature"; micalg=sha-256; boundary="{boundary}"'
    return draw(with_fields(content_type, body))


@st.composite
def cms(draw: st.DrawFn) -> Body:
    """application/pkcs7-mime with anything in it, encoded or not."""
    kind, octets = draw(KINDS), draw(OCTETS)
    content_type = draw(st.sampled_from(["application/pkcs7-mime", "Application/X-PKCS7-Mime"])) + (f"; smime-type={kind}" if kind else "")
    return draw(with_fields(content_type, octets if draw(st.booleans()) else b64encode(octets)))


@st.composite
def with_fields(draw: st.DrawFn, content_type: str, octets: bytes) -> Body:
    encoding, disposition = draw(ENCODINGS), draw(DISPOSITIONS)
    found = [("Content-Type", content_type), ("Content-Transfer-Encoding", encoding), ("Content-Disposition", disposition)]
    return Body((*[field for field in found if field[1]], *draw(OTHERS)), octets, draw(FOLDS))


# -- the way -----------------------------------------------------------------------------------------------------------
def request(body: Body) -> bytes:
    """The SIP request with this body."""
    rows = [
        ("Via", "SIP/2.0/TCP 192.0.2.9;branch=z9hG4bK1"), ("From", "<sip:romeo@sip.example>;tag=1"), ("To", "<sip:juliet@xmpp.example>"),
        ("Call-ID", "1"), ("CSeq", "1 MESSAGE"), *[(name, value.replace("; ", f";{body.folds}")) for name, value in body.headers],
        ("Content-Length", str(len(body.octets)))]  # fmt: skip
    head = "".join(f"{name}: {value}\r\n" for name, value in rows)
    return f"MESSAGE sip:juliet@xmpp.example SIP/2.0\r\n{head}\r\n".encode() + body.octets


def from_sip(octets: bytes) -> Envelope:
    message = parse(octets)
    assert isinstance(message, Request)
    message.check()
    parties = HERE.guard.from_sip(Peer("test"), message.from_.uri, message.request_uri)
    envelope = read_message(message, parties, "test", "trace", NOW)
    assert envelope is not None
    return Envelope.from_cpim(envelope.to_cpim())


def to_xmpp(envelope: Envelope, here: Gateway = HERE) -> bytes:
    wire = here.xmpp.write(envelope).wire
    assert isinstance(wire, bytes)
    return wire


def as_others_write_it(stanza: bytes) -> tuple[bytes, ...]:
    """The stanza behind servers with other XML libraries: lxml; lxml with a CDATA section; minidom, with every CR dropped on the way."""
    read = etree.fromstring(stanza, READER)
    plainly = etree.tostring(read)
    found = read.find(f"{{{E2E}}}e2e")
    assert found is not None
    if "]]>" not in (text := str(found.text)):
        found.text = etree.CDATA(text)
    root = minidom.parseString(stanza).documentElement
    assert root is not None
    without_cr = re.sub(rb"\r|&#(?:13|x0*[dD]);", b"", root.toxml().encode())
    # Into a CDATA section libxml2 writes what is beyond ASCII as a reference, which is none there, unless it is told an encoding.
    return plainly, etree.tostring(read, encoding="utf-8"), without_cr


def from_xmpp(stanza: Element) -> Envelope:
    author, whom = read_parties(stanza)
    parties = THERE.guard.from_xmpp(whom.domain, author, whom)
    envelope = THERE.xmpp.read(stanza, parties, "test", "trace", NOW)
    assert envelope is not None
    return Envelope.from_cpim(envelope.to_cpim())


def to_sip(envelope: Envelope) -> Request:
    draft = THERE.sip.write(envelope, 7).wire
    assert isinstance(draft, Draft)
    message = parse(draft.octets, stream=True, strict=True)
    assert isinstance(message, Request)
    message.check()
    return message


def same(arrived: Request, body: Body) -> None:
    """It has the same body, and MIME header fields that say the same."""
    assert arrived.body == body.octets
    rows = [(name, value.decode()) for name, value in arrived.rows if name != "content-length"]
    assert fields_of(tuple(rows)) == fields_of(body.headers)


# -- the properties ----------------------------------------------------------------------------------------------------
@pytest.mark.requirement("SMIME-51", "E2E-10", "E2E-13")
@cases()
@given(clear_signed() | cms() | clear_signed(SOUND))
@example(Body((("Content-Type", 'multipart/signed; boundary="b"'),), b"--b\r\n\r\na\r\n--b\r\n\r\nb\r\n--b--\r\n\r\n \r\n"))
@example(Body((("Content-Type", 'multipart/signed; boundary="b"'),), b""))
@example(Body((("Content-Type", "application/pkcs7-mime"),), b""))
@example(Body((("Content-Type", "application/pkcs7-mime"), ("Content-Transfer-Encoding", "base64")), b" \r\n\r\n"))
def test_to_xmpp_and_back_to_sip(body: Body) -> None:
    stanza = to_xmpp(from_sip(request(body)))
    assert b"\r" not in stanza
    assert b"&#13;" not in stanza
    plainly, *otherwise = [from_xmpp(read_stanza(each)) for each in as_others_write_it(stanza)]
    assert otherwise == [plainly] * 2
    same(to_sip(plainly), body)


@pytest.mark.requirement("E2E-03", "SMIME-54")
@cases(0.1)
@given(clear_signed(SOUND) | clear_signed() | cms(), st.sampled_from([*CARRYING]))
def test_whatever_carriage_a_route_names_the_octets_stay(body: Body, carriage: tuple[str, ...]) -> None:
    stanza = to_xmpp(from_sip(request(body)), CARRYING[carriage])
    same(to_sip(from_xmpp(read_stanza(stanza))), body)


@pytest.mark.requirement("E2E-06", "E2E-09", "E2E-12")
@cases(0.25)
@given(
    clear_signed(SOUND) | clear_signed() | cms(),
    st.sampled_from(["text", "cdata", "base64"]),
    st.sampled_from(["", "\n", " \r\n\t"]),
    st.integers(1, 99),
)
def test_from_xmpp_in_any_form(body: Body, form: str, white: str, columns: int) -> None:
    octets = entity(body.headers, body.octets)
    text = _text_of(octets)
    if form == "base64" or text is None:
        coded = b64encode(octets).decode()
        xml = "\n".join([coded[at : at + columns] for at in range(0, len(coded), columns)]) + white
    elif form == "cdata":
        xml = f"<![CDATA[{white}{text.replace(']]>', ']]]]><![CDATA[>')}]]>"
    else:
        xml = escape(white + text).replace("\n", "\r\n" if columns % 2 else "\n")
    wire = f"<message from='romeo@xmpp.example' to='juliet@sip.example'><e2e xmlns='{E2E}'>{xml}</e2e></message>"
    stanza = read_stanza(wire.encode())
    author, whom = read_parties(stanza)
    envelope = HERE.xmpp.read(stanza, HERE.guard.from_xmpp(whom.domain, author, whom), "test", "trace", NOW)
    assert envelope is not None
    draft = HERE.sip.write(envelope, 7).wire
    assert isinstance(draft, Draft)
    arrived = parse(draft.octets, stream=True, strict=True)
    assert isinstance(arrived, Request)
    same(arrived, body)


def _text_of(octets: bytes) -> str | None:
    """As XML text has it; None where it has not."""
    try:
        text = octets.decode()
    except UnicodeDecodeError:
        return None
    return None if _NOT_XML.search(text) or _LONE_END.search(octets) else text.replace("\r\n", "\n")
