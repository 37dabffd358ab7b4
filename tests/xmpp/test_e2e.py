"""A secured entity as the text of `<e2e/>` and back: which way it takes, what XML does to it, and that no octet is lost."""

from __future__ import annotations

import base64
from xml.etree.ElementTree import fromstring
from xml.parsers import expat

import lxml.etree
import pytest

from gateway.core.errors import SyntaxFault
from gateway.core.mime import Entity
from gateway.core.protection import Protection, is_protected, protection_of
from gateway.xmpp import e2e
from gateway.xmpp import stanza as xml
from gateway.xmpp.e2e import chosen, entity_in, payload_of

LADDER = ("A", "B", "E")
SIGNED_TYPE = 'multipart/signed; boundary=b1; micalg=sha-256; protocol="application/pkcs7-signature"'
SIGNATURE = (
    b"Content-Type: application/pkcs7-signature; name=smime.p7s\r\nContent-Transfer-Encoding: base64\r\n"
    b"Content-Disposition: attachment; handling=required; filename=smime.p7s\r\n\r\nMIIBAgMEBQYH\r\n"
)
CPIM = (
    b"Content-type: Message/CPIM\r\n\r\nFrom: <im:tomas@sip.example>\r\nTo: <im:mira@xmpp.example>\r\nDateTime: 2026-02-03T09:20:00.12Z\r\n"
    b"\r\nContent-type: text/plain; charset=utf-8\r\n\r\nPodpisano."
)
DER = bytes.fromhex("3080 0609 2a864886f70d010702 a080 0000 0000 ff00")
MIME_TYPES = ("signed-data", "enveloped-data", "authEnveloped-data", "auth-enveloped-data")


def signed(covered: bytes = CPIM, boundary: bytes = b"b1", preamble: bytes = b"", epilogue: bytes = b"") -> Entity:
    """multipart/signed around these octets."""
    delimiter = b"--" + boundary
    content = b"".join((preamble, delimiter, b"\r\n", covered, b"\r\n", delimiter, b"\r\n", SIGNATURE, delimiter, b"--\r\n", epilogue))
    return Entity.compose([("Content-Type", SIGNED_TYPE.replace("b1", boundary.decode()))], content)


def blob(content: bytes = DER, kind: str = "signed-data", *headers: tuple[str, str]) -> Entity:
    return Entity.compose([("Content-Type", f"application/pkcs7-mime; smime-type={kind}; name=smime.p7m"), *headers], content)


BINARY, BASE64 = (("Content-Transfer-Encoding", each) for each in ("binary", "base64"))


# -- what reads XML ----------------------------------------------------------------------------------------------------
def by_expat(octets: bytes) -> str:
    """As the component link reads it."""
    return fromstring(octets).text or ""


def by_lxml(octets: bytes) -> str:
    return lxml.etree.fromstring(octets).text or ""


def without_cr(octets: bytes) -> str:
    """A hop that drops every CR, escaped or not, and writes text and CDATA as it likes."""
    parts: list[str] = []
    parser = expat.ParserCreate()
    parser.CharacterDataHandler = lambda data: parts.append(data.replace("\r", ""))
    parser.Parse(octets, True)
    return "".join(parts)


READERS = (by_expat, by_lxml, without_cr)


def wire(payload: str) -> bytes:
    return f"<e2e xmlns='{xml.E2E}'>{xml.text(payload)}</e2e>".encode()


def crossed(entity: Entity, option: str, carriage: tuple[str, ...] = LADDER) -> str:
    """The payload, which takes this option and comes back as the same octets through every reader."""
    taken, payload = chosen(entity, carriage)
    assert taken == option
    assert payload == payload_of(entity, carriage)
    octets = wire(payload)
    assert b"\r" not in octets
    assert b"&#" not in octets
    for read in READERS:
        back = entity_in(read(octets))
        assert (back.raw, back.headers, back.content) == (entity.raw, entity.headers, entity.content), read.__name__
    return payload


# -- option A: as it is ------------------------------------------------------------------------------------------------
E16 = """Content-Type: multipart/signed; boundary=b1; micalg=sha-256; protocol="application/pkcs7-signature"

--b1
Content-type: Message/CPIM

From: <im:tomas@sip.example>
To: <im:mira@xmpp.example>
DateTime: 2026-02-03T09:20:00.12Z

Content-type: text/plain; charset=utf-8

Podpisano.
--b1
Content-Type: application/pkcs7-signature; name=smime.p7s
Content-Transfer-Encoding: base64
Content-Disposition: attachment; handling=required; filename=smime.p7s

MIIBAgMEBQYH
--b1--
"""
FOLDED_E16 = E16.replace("sha-256; protocol", "sha-256;\n protocol")


@pytest.mark.requirement("E2E-02", "SMIME-50", "SMIME-30")
def test_a_signed_message_is_its_text() -> None:
    """The worked example E16, with its header fields on one line each."""
    assert crossed(signed(), "A") == E16


@pytest.mark.requirement("E2E-01", "E2E-03", "E2E-09")
@pytest.mark.parametrize("text", [E16, FOLDED_E16, f"\n{FOLDED_E16}", f"\r\n \t{E16}"])
def test_and_its_text_is_the_signed_message(text: str) -> None:
    assert entity_in(text).raw == signed().raw


@pytest.mark.requirement("E2E-08", "E2E-12")
@pytest.mark.parametrize("read", READERS)
def test_cdata_is_text(read: object) -> None:
    """The gateway writes text; clients write CDATA, as RFC 3923 has it, and any mix."""
    assert callable(read)
    entity = signed(b"Content-Type: text/plain\r\n\r\na]]>b&#13;<&amp;")
    raw = entity.raw.decode()
    split = raw.replace("]]>", "]]]]><![CDATA[>")
    for content in (f"\n<![CDATA[\n{split}]]>", f"{xml.text(raw[:90])}<![CDATA[{split[90:]}]]>"):
        assert entity_in(read(f"<e2e>{content}</e2e>".encode())) == entity


@pytest.mark.requirement("E2E-12", "E2E-13", "E2E-14")
@pytest.mark.parametrize(
    "text",
    ["]]>", "a]]]]>b", "trailing \t \r\n \r\nblanks ", "\t", "\x7f\x80\x9f", "\x85", "\u2028\u2029", "\ufeffmarked", "\U0001f600",
     "&#13;&amp;<e2e/>",     "e\u0301\ufb01\u00a0", "", "\r\n", "\r\n\r\n\r\n", "\ufdd0", "\ufffd", "\U0010ffff", "  indented\r\n\t\r\n"],
)  # fmt: skip
def test_what_xml_can_hold_goes_as_it_is(text: str) -> None:
    crossed(signed(b"Content-Type: text/plain; charset=utf-8\r\n\r\n" + text.encode()), "A")


@pytest.mark.requirement("SMIME-64", "E2E-03")
def test_header_fields_of_parts_are_covered_and_stay() -> None:
    part = b'SUBJECT : x \r\ncontent-TYPE:text/plain;\r\n\tcharset=utf-8 ;\r\n x=" y"\r\nContent-Type-2:\r\n\r\nhi'
    assert part.decode().replace("\r\n", "\n") in crossed(signed(part), "A")


@pytest.mark.requirement("SMIME-54")
@pytest.mark.parametrize(
    ("entity", "option"),
    [
        (signed(boundary=b"----=_Part 1 (x)".replace(b" ", b"_")), "A"),
        (signed(boundary=b"b", covered=b"\r\n--b1\r\n--b2--"), "A"),
        (signed(preamble=b"This is S/MIME.\r\n\r\n", epilogue=b"\r\n  behind \r\n\r\n"), "A"),
        (signed(preamble=b"S/MIME \xff\r\n"), "E"),
        (signed(epilogue=b"\n"), "E"),
        (signed(epilogue=b"\x00"), "E"),
    ],
)
def test_boundary_preamble_and_epilogue_stay(entity: Entity, option: str) -> None:
    crossed(entity, option)


def test_what_no_client_takes_for_an_object_of_rfc_3923_still_crosses() -> None:
    for content in (b"", b"\r\n", b"x", b"\r\n\r\n--b1\r\n"):
        crossed(Entity.compose([("Content-Type", SIGNED_TYPE)], content), "A")


# -- option E: all of it -----------------------------------------------------------------------------------------------
@pytest.mark.requirement("E2E-10", "E2E-11", "SMIME-51")
@pytest.mark.parametrize(
    "octets",
    [b"a\nb", b"a\rb", b"a\n\rb", b"a\r\r\nb", b"\r", b"\n", b"a\x00b", b"\x08", b"\x0b\x0c", b"\x1b[31m", b"p\xf8jde", b"\xc0\x80",
     b"\xed\xa0\x80",     b"\xef\xbf\xbe", b"\xef\xbf\xbf", b"\xf4\x90\x80\x80", b"\xff\xfe", bytes(range(256))],
)  # fmt: skip
def test_what_xml_cannot_hold_goes_in_base64(octets: bytes) -> None:
    entity = signed(b"Content-Type: text/plain\r\n\r\n" + octets)
    payload = crossed(entity, "E")
    assert base64.b64decode(payload) == entity.raw
    assert payload.isascii()


def test_what_escapes_would_make_too_large_goes_in_base64() -> None:
    crossed(signed(b"\r\n" + b"<" * 20_000), "A")
    assert len(wire(crossed(signed(b"\r\n" + b"&" * 60_000), "E"))) < 100_000


# -- option B: one CMS object ------------------------------------------------------------------------------------------
@pytest.mark.requirement("E2E-04", "E2E-05", "SMIME-31")
@pytest.mark.parametrize("kind", MIME_TYPES)
@pytest.mark.parametrize("headers", [(), (BINARY,), (("content-transfer-encoding", "8BIT"), ("Content-Description", "x"))])
def test_a_cms_object_goes_in_base64_and_comes_back_as_it_was(kind: str, headers: tuple[tuple[str, str], ...]) -> None:
    entity = blob(DER * 20, kind, *headers)
    payload = crossed(entity, "B")
    head, _, body = payload.partition("\n\n")
    assert head.splitlines()[0] == f"Content-Type: application/pkcs7-mime; smime-type={kind}; name=smime.p7m"
    assert Entity.parse(payload.encode()).header("Content-Transfer-Encoding") == "base64"
    assert base64.b64decode(body) == DER * 20
    assert max(map(len, body.splitlines())) == 76


@pytest.mark.requirement("SMIME-32")
@pytest.mark.parametrize(
    "content",
    [base64.encodebytes(DER * 9).replace(b"\n", b"\r\n"), base64.b64encode(DER * 9), b" \r\n" + base64.b64encode(DER) + b" \r\n\r\n"],
)
def test_a_cms_object_that_is_in_base64_stays_so_to_the_blank(content: bytes) -> None:
    entity = blob(content, "enveloped-data", BASE64)
    payload = crossed(entity, "A")
    assert e2e.SIP_ENCODING not in payload
    crossed(blob(content + b"\n", "enveloped-data", BASE64), "E")


def test_base64_of_a_client_goes_on_as_base64() -> None:
    text = "content-type: application/pkcs7-mime\nContent-Transfer-Encoding: base64\n\nMIAGCSqGSIb3DQEHAg==\n"
    assert entity_in(text).content == b"MIAGCSqGSIb3DQEHAg==\r\n"


@pytest.mark.parametrize("said", ["quoted-printable", "BASE64", "", "x\u00e9"])
def test_our_header_field_counts_only_where_we_wrote_it(said: str) -> None:
    text = f"Content-Type: application/pkcs7-mime\nContent-Transfer-Encoding: base64\nX-SIP-Content-Transfer-Encoding: {said}\n\nMIAG\n"
    assert entity_in(text).raw == b"Content-Type: application/pkcs7-mime\r\nContent-Transfer-Encoding: base64\r\n\r\nMIAG\r\n"


@pytest.mark.parametrize("bad", ["MIA", "MI-AG", "MIAG=x"])
def test_what_we_did_not_write_so_is_not_undone(bad: str) -> None:
    text = "Content-Type: application/pkcs7-mime\nContent-Transfer-Encoding: base64\nX-SIP-Content-Transfer-Encoding: binary\n\n"
    with pytest.raises(SyntaxFault, match="Bad base64"):
        entity_in(text + bad)


def test_what_is_no_single_cms_object_has_no_option_b() -> None:
    inner = b"Content-Type: application/pkcs7-mime\r\n\r\n" + DER
    for kind in ("multipart/mixed; boundary=b", "message/cpim"):
        crossed(Entity.compose([("Content-Type", kind)], b"--b\r\n" + inner), "E")
    crossed(blob(DER, "signed-data", ("Content-Transfer-Encoding", "x-own")), "E")


# -- the ladder --------------------------------------------------------------------------------------------------------
def test_the_route_names_the_order() -> None:
    assert chosen(blob(base64.b64encode(DER), "signed-data", BASE64), ("B", "A"))[0] == "A"
    assert chosen(signed(), ("E", "A"))[0] == "E"
    assert chosen(blob(), ("A",))[0] == "E"
    assert chosen(signed(), ())[0] == "E"
    assert chosen(blob(b"0 is text too"), ("B", "A"))[0] == "B"
    assert chosen(blob(b"0 is text too"), ("A", "B"))[0] == "A"


def test_a_conversion_is_asked_in_its_turn_and_passed_over_where_it_is_not_there() -> None:
    unclean, other = signed(b"\r\na\x00b"), blob(DER, "signed-data", BINARY)
    asked: list[Entity] = []

    def convert(entity: Entity) -> Entity | None:
        asked.append(entity)
        return other if len(asked) == 1 else None

    option, payload = chosen(unclean, ("A", "C", "D", "E"), {"D": convert})
    assert (option, entity_in(payload).raw) == ("D", other.raw)
    assert chosen(unclean, ("A", "C", "D", "B"), {"D": convert})[0] == "E"
    assert asked == [unclean, unclean]
    assert chosen(signed(), ("A", "D"), {"D": convert})[0] == "A"
    assert chosen(unclean, ("B0", "C", "D"))[0] == "E"
    # What a conversion makes goes by A or B, or not at all.
    assert chosen(unclean, ("D", "E"), {"D": lambda _: unclean}) == chosen(unclean, ("E",))


# -- what comes from a client ------------------------------------------------------------------------------------------
@pytest.mark.requirement("E2E-06", "SMIME-53")
@pytest.mark.parametrize(
    ("oid", "kind", "protection"),
    [
        ("2a864886f70d010702", "signed-data", Protection.SIGNED),
        ("2a864886f70d010703", "enveloped-data", Protection.ENCRYPTED),
        ("2a864886f70d0109100117", "authEnveloped-data", Protection.ENCRYPTED),
        ("2a864886f70d0109100109", "compressed-data", Protection.OTHER),
        ("2a864886f70d010701", "", Protection.ENCRYPTED),
    ],
)
@pytest.mark.parametrize("length", ["80", "0d", "8120", "83000020"])
def test_a_bare_cms_object_gets_its_name_by_what_is_in_it(oid: str, kind: str, protection: Protection, length: str) -> None:
    octets = bytes.fromhex(f"30{length}06{len(oid) // 2:02x}{oid}a080")
    entity = entity_in(f"\n  {base64.encodebytes(octets).decode()}\n   \n")
    stated = f"; smime-type={kind}" if kind else ""
    assert entity.headers == (
        ("Content-Type", f"application/pkcs7-mime{stated}; name=smime.p7m"),
        ("Content-Transfer-Encoding", "binary"),
        ("Content-Disposition", "attachment; filename=smime.p7m; handling=required"),
    )
    assert (entity.content, protection_of(entity)) == (octets, protection)
    crossed(entity, "B")


@pytest.mark.parametrize("octets", ["30", "3080", "308006", "30800609", "3080060a2a86", "30ff0609", "30820604", "3000", "30847fffffff06"])
def test_a_bare_cms_object_that_cannot_be_named_is_one(octets: str) -> None:
    entity = entity_in(base64.b64encode(bytes.fromhex(octets)).decode())
    assert str(entity.content_type) == "application/pkcs7-mime; name=smime.p7m"
    assert entity.content == bytes.fromhex(octets)
    assert is_protected(entity)


@pytest.mark.requirement("E2E-06", "SMIME-53")
@pytest.mark.parametrize("end", ["\r\n", "\n"])
def test_a_mime_entity_in_base64_keeps_its_octets(end: str) -> None:
    raw = f"content-type: multipart/signed;{end} boundary=b{end}X-Own: 1{end}Content-Length: 3{end}{end}--b\n\n\r\r\nx\x00".encode()
    entity = entity_in(base64.b64encode(raw).decode())
    assert entity.raw == b"content-type: multipart/signed; boundary=b\r\n\r\n--b\n\n\r\r\nx\x00"


@pytest.mark.requirement("E2E-07", "SMIME-52")
def test_white_space_in_front_is_skipped_and_none_is_lost_behind() -> None:
    assert entity_in(" \n\t\n\nContent-Type: a/b\n\nx \n \n").raw == b"Content-Type: a/b\r\n\r\nx \r\n \r\n"
    # What is behind the close delimiter is no part of it, for who verifies.
    assert entity_in(f"\n{E16}\n  ").content == signed().content + b"\r\n  "


@pytest.mark.requirement("SMIME-63", "E2E-09")
def test_every_line_end_is_cr_lf_again() -> None:
    """A client that signed text with LF alone verifies what it gets back only after it has done the same with it."""
    lf_only = "Content-Type: multipart/signed; boundary=b\n\n--b\n\na\nb\n--b\n"
    whole = entity_in(lf_only).raw
    assert whole == lf_only.replace("\n", "\r\n").encode()
    assert entity_in(lf_only.replace("\n", "\r\n")).raw == whole
    assert entity_in(lf_only.replace("a\n", "a\r\n")).raw == whole
    assert entity_in(lf_only.replace("a\n", "a\r")).content == b"--b\r\n\r\na\rb\r\n--b\r\n"


@pytest.mark.requirement("SMIME-50")
def test_the_outer_header_fields_that_travel() -> None:
    text = (
        "Received: x\nMIME-Version: 1.0\ncontent-type: multipart/signed;\n\tboundary=b\nSubject: no\nContent-ID: <1@x>\n"
        "Content-Length: 99\nContent-Encoding: gzip\nContent-Language: sl\nX-Content: y\n\nx"
    )
    assert entity_in(text).raw == (
        b"MIME-Version: 1.0\r\ncontent-type: multipart/signed;\tboundary=b\r\nContent-ID: <1@x>\r\nContent-Language: sl\r\n\r\nx"
    )


@pytest.mark.parametrize(
    "text",
    ["", "  \n", "hello", "hello there", "U2FsdGVkX19okeKTlLxa/1n1FE/upwn1D20GhPWqhDWlexKMUKYJInTWzERP+vcQ",
     "SGVsbG8=", "U3ViamVjdDogeA0KDQp4", "SGVsbG8", "=", "A===",
     "Subject: x\n\nx", "Content-Type\n\nx", "Content-Type: multipart\n\nx", "Content-Type: a/b\nContent-Type: a/b\n\nx", "\ud800",
     "Content-Type: a/b\nContent-ID: \x85\n\nx", "--b\nContent-Type: a/b\n\nx", "Content-Type: a/b\x00\n\n", "\x0bContent-Type: a/b\n\n"],
)  # fmt: skip
def test_what_is_no_object_is_refused(text: str) -> None:
    """Among it the ciphertext in the examples of RFC 3923, which is no CMS."""
    with pytest.raises(SyntaxFault):
        entity_in(text)
