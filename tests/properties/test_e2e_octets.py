"""Whatever octets are signed or encrypted, and whatever is around them: XML gives them back, whoever reads and writes it on the way."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from xml.parsers import expat

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lxml import etree

from gateway.core.address import SipAddress
from gateway.core.canonical import entity_message
from gateway.core.envelope import Envelope
from gateway.core.errors import Refusal
from gateway.core.jid import Jid
from gateway.core.mime import Entity
from gateway.core.ports import Parties
from gateway.core.protection import is_protected
from gateway.core.verdict import NOT_CHECKED
from gateway.xmpp import stanza as xml
from gateway.xmpp.e2e import chosen, entity_in

from .world import NOW, SIP_DOMAINS, SOAK, XMPP_DOMAINS, Gateway, read_stanza

MANY = settings(
    max_examples=50_000 if SOAK else 2_000,
    deadline=None,
    derandomize=not SOAK,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
PIECES = [
    b"\r\n", b"\n", b"\r", b"\t", b" \r\n", b"\x00", b"\x0b", b"\x1b", b"\x7f", b"\x80", b"\xff\xfe", b"]]>", b"<![CDATA[", b"&#13;",
    b"&amp;", b"<", b"&", "\u0085\u2028\ufeff".encode(), "\ufffe".encode(), "\U0001f600".encode(), b"\xed\xa0\x80", b"p\xf8", b"--b",
    b"\r\n--b--", b"\r\n--b1\r\n", b"Content-Type: text/plain;\r\n\tcharset=utf-8 \r\n", b"\r\n\r\n", b"MIAGCSqGSIb3DQEHAg==",
    bytes.fromhex("308006092a864886f70d010702a080"),
]  # fmt: skip
OCTETS = st.binary(max_size=40) | st.lists(st.sampled_from(PIECES) | st.binary(max_size=3), max_size=10).map(b"".join)
"""Half of them any, half of them such as one would write to break it."""
CLEAN = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\ufffe\uffff", min_codepoint=32) | st.just("\t"), max_size=20
)
LINES = st.lists(CLEAN, max_size=5).map(lambda lines: "\r\n".join(lines).encode())
COVERED = OCTETS | LINES
BOUNDARIES = st.sampled_from(["b", "b1", "=_x'()+_,-./:=?", "----=_Part_0_1.2", "0" * 70, "a b"])
ENCODINGS = st.sampled_from(["", "binary", "8bit", "7BIT", "Binary"])
DESCRIBED = st.sampled_from(
    [(), (("Content-Disposition", "attachment; handling=required; filename=smime.p7m"),), (("MIME-Version", "1.0"),)]
)
KINDS = st.sampled_from(["signed-data", "enveloped-data", "authEnveloped-data", "auth-enveloped-data", "compressed-data", "certs-only", ""])


@st.composite
def multiparts(draw: st.DrawFn) -> Entity:
    """multipart/signed, more or less, or a mixed one around a CMS object."""
    boundary, subtype = draw(BOUNDARIES), draw(st.sampled_from(["signed", "signed", "Signed", "mixed"]))
    delimiter = b"--" + boundary.encode()
    signature = b"Content-Type: application/pkcs7-signature\r\n\r\n" + draw(OCTETS)
    if subtype == "mixed":
        signature = b"Content-Type: application/pkcs7-mime\r\n\r\n" + draw(OCTETS)
    parts = [delimiter + b"\r\n" + part + b"\r\n" for part in (draw(COVERED), signature)]
    content = b"".join(
        (draw(st.just(b"") | LINES | OCTETS), *([] if draw(st.booleans()) else [b"\r\n"]), *parts, delimiter + b"--", draw(COVERED))
    )
    kind = f'multipart/{subtype}; protocol="application/pkcs7-signature"; boundary="{boundary}"'
    return Entity.compose([*draw(DESCRIBED), ("Content-Type", kind)], content)


@st.composite
def blobs(draw: st.DrawFn) -> Entity:
    """application/pkcs7-mime, encoded or not."""
    octets, encoding, kind = draw(COVERED), draw(ENCODINGS), draw(KINDS)
    headers = [("Content-Transfer-Encoding", encoding)] if encoding else []
    if draw(st.booleans()):
        octets, headers = (
            base64.encodebytes(octets).replace(b"\n", draw(st.sampled_from([b"\r\n", b"\n", b""]))),
            [("content-transfer-encoding", "base64")],
        )
    named = draw(st.sampled_from(["application/pkcs7-mime", "application/x-pkcs7-mime"])) + (f"; smime-type={kind}" if kind else "")
    return Entity.compose(draw(st.permutations([*draw(DESCRIBED), ("Content-Type", named), *headers])), octets)


@st.composite
def wrapped(draw: st.DrawFn) -> Entity:
    """message/cpim around either."""
    inner = draw(multiparts() | blobs())
    return Entity.compose(
        [("Content-Type", "message/cpim")], b"From: <im:a@b>\r\nSubject: " + draw(CLEAN).encode() + b"\r\n\r\n" + inner.raw
    )


ENTITIES = st.one_of(multiparts(), blobs(), wrapped())


def through_lxml(octets: bytes) -> bytes:
    """A hop that reads and writes again."""
    return etree.tostring(etree.fromstring(octets, etree.XMLParser(resolve_entities=False, huge_tree=True)), encoding="utf-8")


def without_cr(octets: bytes) -> bytes:
    """A hop that drops every CR, escaped or not, and writes CDATA."""
    data: list[str] = []
    parser = expat.ParserCreate()
    parser.CharacterDataHandler = data.append
    parser.Parse(octets, True)
    text = "".join(data).replace("\r", "").replace("]]>", "]]]]><![CDATA[>")
    return f"<e2e xmlns='{xml.E2E}'><![CDATA[{text}]]></e2e>".encode()


def by_expat(octets: bytes) -> str:
    return "".join(read_stanza(b"<message>" + octets + b"</message>").itertext())


def by_lxml(octets: bytes) -> str:
    return str(etree.fromstring(octets).text or "")


@pytest.mark.requirement("SMIME-51", "E2E-03", "E2E-10")
@MANY
@given(ENTITIES, st.permutations(["A", "B", "E"]), st.integers(0, 3))
def test_every_octet_comes_back(entity: Entity, ladder: list[str], most: int) -> None:
    option, payload = chosen(entity, ladder[:most])
    octets = f"<e2e xmlns='{xml.E2E}'>{xml.text(payload)}</e2e>".encode()
    assert not re.search(rb"[\x00-\x08\x0b-\x1f]", octets)
    assert option in (*ladder[:most], "E")
    for text in (by_expat(octets), by_lxml(octets), by_expat(without_cr(octets)), by_lxml(through_lxml(octets))):
        assert entity_in(text).raw == entity.raw


HERE = Gateway(SIP_DOMAINS, XMPP_DOMAINS)
TOMAS, MIRA = SipAddress("tomas", SIP_DOMAINS[0]), Jid("mira", XMPP_DOMAINS[0])
BACK = Parties(MIRA, TOMAS)


@pytest.mark.requirement("E2E-03", "E2E-14", "SMIME-30")
@settings(MANY, max_examples=10_000 if SOAK else 500)
@given(ENTITIES)
def test_a_stanza_is_the_same_entity_again(entity: Entity) -> None:
    """SIP's to XMPP, and that stanza from XMPP: as it is stored, written and read."""
    if not is_protected(entity):
        return
    sent = Envelope("i1", "t1", TOMAS, MIRA, entity_message(TOMAS, MIRA, entity, NOW), NOW, "test", verdict=NOT_CHECKED)
    kept = Envelope.from_cpim(sent.to_cpim())
    assert kept.message.entity.raw == entity.raw
    octets = HERE.xmpp.write(replace(kept, id="i2")).wire
    assert isinstance(octets, bytes)
    assert etree.fromstring(octets) is not None
    found = HERE.xmpp.read(read_stanza(octets), BACK, "test", "t2", NOW)
    assert found is not None
    assert (found.message.entity.raw, found.message.entity.headers) == (entity.raw, entity.headers)


@pytest.mark.requirement("E2E-06", "E2E-13")
@settings(MANY, max_examples=20_000 if SOAK else 1_000)
@given(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
    | OCTETS.map(lambda octets: base64.b64encode(octets).decode())
    | ENTITIES.map(lambda entity: entity.raw.decode("utf-8", "replace"))
)
def test_what_a_client_writes_is_refused_or_crosses_and_stays(payload: str) -> None:
    """From XMPP to SIP and back to XMPP: the same entity, whatever way it came by."""
    stanza = read_stanza(b"<message><e2e xmlns='urn:ietf:params:xml:ns:xmpp-e2e'/></message>")
    stanza[0].text = payload
    try:
        found = HERE.xmpp.read(stanza, BACK, "test", "t1", NOW)
    except Refusal:
        return
    if found is not None and found.verdict is not None:
        entity = found.message.entity
        for ladder in (("A", "B"), ("B",), ()):
            assert entity_in(chosen(entity, ladder)[1]).raw == entity.raw
