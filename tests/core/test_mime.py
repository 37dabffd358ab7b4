"""MIME entities: media types, header blocks, encodings and charsets, multiparts."""

from __future__ import annotations

import ast
import base64
import quopri
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gateway.core
from gateway.core.errors import Refusal, SyntaxFault
from gateway.core.mime import ContentType, Entity, header_fields, mime_parts, split_multipart

SIGNED = (
    b'Content-Type: multipart/signed; protocol="application/pkcs7-signature";\r\n'
    b" micalg=sha-256; boundary=b7\r\n"
    b"\r\n"
    b"--b7\r\n"
    b"Content-Type: message/cpim\r\n"
    b"\r\n"
    b"From: Alice <im:alice@sip.example>\r\n"
    b"To: <im:bob@xmpp.example>\r\n"
    b"DateTime: 2026-01-02T03:04:05Z\r\n"
    b"\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\n"
    b"\r\n"
    b"Lunch?\r\n"
    b"--b7\r\n"
    b"Content-Type: application/pkcs7-signature; name=smime.p7s\r\n"
    b"Content-Transfer-Encoding: base64\r\n"
    b"Content-Disposition: attachment; filename=smime.p7s; handling=required\r\n"
    b"\r\n"
    b"MII...\r\n"
    b"--b7--\r\n"
)


def part(content_type: str, content: bytes, **headers: str) -> Entity:
    return Entity.compose([("Content-Type", content_type), *((name.replace("_", "-"), value) for name, value in headers.items())], content)


# -- media types -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("text/plain", ContentType("text", "plain")),
        ("Text/PLAIN", ContentType("text", "plain")),
        ("text/plain;charset=UTF-8", ContentType("text", "plain", (("charset", "UTF-8"),))),
        ("text / plain ; CharSet = utf-8", ContentType("text", "plain", (("charset", "utf-8"),))),
        ('text/plain; charset="utf-8"', ContentType("text", "plain", (("charset", "utf-8"),))),
        ("text/plain; charset=us-ascii (Plain text)", ContentType("text", "plain", (("charset", "us-ascii"),))),
        ("(a (nested \\) one)) text/plain", ContentType("text", "plain")),
        ('multipart/mixed; boundary="a (b) c"', ContentType("multipart", "mixed", (("boundary", "a (b) c"),))),
        ('multipart/mixed; boundary="gc0pJq0M:08jU534c0p"', ContentType("multipart", "mixed", (("boundary", "gc0pJq0M:08jU534c0p"),))),
        ('a/b; c="x\\"y\\\\z;"; d=""', ContentType("a", "b", (("c", 'x"y\\z;'), ("d", "")))),
        (
            "multipart/signed; protocol=application/pkcs7-signature",
            ContentType("multipart", "signed", (("protocol", "application/pkcs7-signature"),)),
        ),
        (" text/plain\t", ContentType("text", "plain")),
    ],
)
def test_a_content_type_is_read(text: str, expected: ContentType) -> None:
    assert ContentType.parse(text) == expected


@pytest.mark.requirement("CPIM-01")
@pytest.mark.parametrize("text", ["message/cpim", "Message/CPIM", "MESSAGE/cpim", "message/cpim; x=y"])
def test_message_cpim_is_known_in_any_case_and_with_parameters(text: str) -> None:
    assert ContentType.parse(text).essence == "message/cpim"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "text",
        "text/",
        "/plain",
        "text/plain;",
        "text/plain; ; a=b",
        "text/plain; charset",
        "text/plain; charset=",
        "text/plain, text/html",
        "text/plain charset=utf-8",
        'text/plain; a="b',
        'text/plain; a=b"c"',
        "text/plain; a=b; A=c",
        "text/plain\r\nX: y",
        "text/plain; a=\x00",
        "tëxt/plain",
        "text/pl\u200bain",
        "text/plain; a=b (open",
        'text/plain; a="\x07"',
    ],
)
def test_a_bad_content_type_is_refused(text: str) -> None:
    with pytest.raises(SyntaxFault):
        ContentType.parse(text)


def test_parameters_are_found_by_their_lower_case_name() -> None:
    found = ContentType.parse("text/plain; Charset=UTF-8; format=flowed")
    assert (found.param("charset"), found.param("format"), found.param("boundary")) == ("UTF-8", "flowed", None)


TOKEN_LIKE = st.text("abcXYZ019-._+!#$&^`{|}~'*%", min_size=1, max_size=12)


@settings(deadline=None)
@given(
    TOKEN_LIKE, TOKEN_LIKE, st.dictionaries(TOKEN_LIKE.map(str.lower), st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=20))
)
def test_what_is_written_as_a_content_type_is_read_back(kind: str, subtype: str, params: dict[str, str]) -> None:
    content_type = ContentType(kind.lower(), subtype.lower(), tuple(params.items()))
    assert ContentType.parse(str(content_type)) == content_type


# -- header blocks -----------------------------------------------------------------------------------------------------
@pytest.mark.requirement("CPIM-02")
def test_folded_headers_are_unfolded_in_the_view_only() -> None:
    raw = b"Content-Type: text/plain;\r\n\tcharset=utf-8\r\nSubject : a\r\n  b\r\n\r\nx"
    entity = Entity.parse(raw)
    assert entity.headers == (("Content-Type", "text/plain;\tcharset=utf-8"), ("Subject", "a  b"))
    assert entity.content_type.param("charset") == "utf-8"
    assert entity.raw == raw


@pytest.mark.parametrize(
    ("raw", "headers", "content"),
    [
        (b"A: 1\r\nB:2\r\n\r\n\r\nx", (("A", "1"), ("B", "2")), b"\r\nx"),
        (b"\r\nx", (), b"x"),
        (b"\nx", (), b"x"),
        (b"", (), b""),
        (b"A: 1", (("A", "1"),), b""),
        (b"A: 1\r\n", (("A", "1"),), b""),
        (b"A: 1\nB: 2\n\nx\r\n\r\ny", (("A", "1"), ("B", "2")), b"x\r\n\r\ny"),
        (b"A: 1\r\n\nx", (("A", "1"),), b"x"),
        (b"A: 1\n\r\nx", (("A", "1"),), b"x"),
        (b"A:\r\n\r\n", (("A", ""),), b""),
        ("A: é\r\n\r\n".encode(), (("A", "é"),), b""),
        (b"A: \xe9\r\n\r\n", (("A", "\ufffd"),), b""),
    ],
)
def test_headers_and_content_part_at_the_first_blank_line(raw: bytes, headers: tuple[tuple[str, str], ...], content: bytes) -> None:
    entity = Entity.parse(raw)
    assert (entity.raw, entity.headers, entity.content) == (raw, headers, content)


@pytest.mark.parametrize(
    "raw",
    [
        b"hello",
        b" A: 1\r\n\r\n",
        b": 1\r\n\r\n",
        b"A 1\r\n\r\n",
        b"A B: 1\r\n\r\n",
        b"A: 1\rB: 2\r\n\r\n",
        b"A: \x00\r\n\r\n",
        "Ä: 1\r\n\r\n".encode(),
        b"Content-Type: text/plain\r\ncontent-type: text/html\r\n\r\n",
        b"Content-Type: nonsense\r\n\r\n",
        b"Content-Transfer-Encoding: 8bit\r\nContent-Transfer-Encoding: base64\r\n\r\n",
    ],
)
def test_a_bad_header_block_is_refused(raw: bytes) -> None:
    with pytest.raises(SyntaxFault):
        Entity.parse(raw)


def test_headers_are_found_in_any_case() -> None:
    entity = Entity.parse(b"content-TYPE: text/html\r\nX: 1\r\nx: 2\r\n\r\n")
    assert (entity.header("Content-Type"), entity.header("X"), entity.header("Y")) == ("text/html", "1", None)


def test_without_a_content_type_it_is_plain_text() -> None:
    assert Entity.parse(b"\r\nhi").content_type == ContentType("text", "plain")


def test_a_composed_entity_ends_its_lines_with_cr_lf() -> None:
    entity = part("text/plain; charset=utf-8", b"a\nb")
    assert entity.raw == b"Content-Type: text/plain; charset=utf-8\r\n\r\na\nb"
    assert Entity.compose((), b"x").raw == b"\r\nx"


@pytest.mark.requirement("SEC-18", "SEC-19")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Content-ID", "<a>\r\nX: y"),
        ("Content-ID", "a\nb"),
        ("Content-ID", "a\rb"),
        ("Content-ID", "a\x00"),
        ("Content-ID", " a"),
        ("Content-ID", "a\t"),
        ("Content-ID", "\x85"),
        ("Content-ID", "\ud800"),
        ("Content ID", "a"),
        ("", "a"),
        ("A:B", "a"),
        ("Ä", "a"),
        ("A\r\nB", "a"),
    ],
)
def test_no_header_can_begin_another_line(name: str, value: str) -> None:
    with pytest.raises(SyntaxFault):
        Entity.compose([(name, value)], b"")


@settings(deadline=None)
@given(st.lists(st.tuples(st.text("Xx-09!~", min_size=1, max_size=8), st.text(max_size=30)), max_size=4), st.binary(max_size=40))
def test_a_composed_entity_is_read_back_as_it_was_given(headers: list[tuple[str, str]], content: bytes) -> None:
    try:
        entity = Entity.compose(headers, content)
    except SyntaxFault:
        return
    assert (entity.headers, entity.content) == (tuple(headers), content)
    assert Entity.parse(entity.raw) == entity


@settings(deadline=None)
@given(st.binary(max_size=60) | st.text('A: \r\n\tContent-Typexlab/;="', max_size=60).map(str.encode))
def test_any_octets_are_an_entity_or_a_syntax_fault(raw: bytes) -> None:
    try:
        entity = Entity.parse(raw)
    except SyntaxFault:
        return
    assert entity.raw == raw
    assert raw.endswith(entity.content)


def test_blanks_around_a_header_are_no_part_of_it() -> None:
    assert header_fields(b"A :  1 \t\r\nB\t:\t2\t 3\t\r\nC:\r\nD: \t") == (("A", "1"), ("B", "2\t 3"), ("C", ""), ("D", ""))


def test_header_fields_of_an_empty_block() -> None:
    assert header_fields(b"") == ()


# -- encodings and charsets --------------------------------------------------------------------------------------------
@pytest.mark.requirement("CPIM-08")
@pytest.mark.parametrize(
    ("encoding", "content"),
    [
        ("7bit", b"ab=3D"),
        ("8BIT", b"ab=3D"),
        ("Binary", b"ab=3D"),
        ("base64", b"YWI9M0Q="),
        ("BASE64", b"YWI9\r\n M0Q=\r\n"),
        ("Quoted-Printable", b"a=\r\nb=3D3D"),
        ("quoted-printable", b"ab=3d3D"),
    ],
)
def test_a_transfer_encoding_is_undone_for_reading_only(encoding: str, content: bytes) -> None:
    entity = part("text/plain", content, Content_Transfer_Encoding=encoding)
    assert entity.text() == "ab=3D"
    assert entity.content == content


def test_blanks_at_the_end_of_a_quoted_printable_line_are_dropped() -> None:
    assert part("text/plain", b"a \t\r\nb= \r\nc=20 \n", Content_Transfer_Encoding="quoted-printable").text() == "a\r\nbc \r\n"


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_encodings_of_the_standard_library_are_undone(octets: bytes) -> None:
    assert part("a/b", base64.encodebytes(octets), Content_Transfer_Encoding="base64").decoded() == octets
    printable = quopri.encodestring(octets.replace(b"\n", b"").replace(b"\r", b""))
    assert part("a/b", printable, Content_Transfer_Encoding="quoted-printable").decoded().replace(b"\r\n", b"") == octets.translate(
        None, b"\r\n"
    )


def test_base64_that_is_none_is_a_fault() -> None:
    with pytest.raises(SyntaxFault):
        part("text/plain", b"YWI9M0Q", Content_Transfer_Encoding="base64").text()


@pytest.mark.requirement("SEC-33", "MSG-36")
@pytest.mark.parametrize(
    ("charset", "octets", "text"),
    [
        ("utf-8", "é".encode(), "é"),
        ("UTF-8", "é".encode(), "é"),
        ("us-ascii", b"e", "e"),
        ("ISO-8859-1", b"\xe9", "é"),
        ("iso-8859-15", b"\xa4", "€"),
        ("windows-1252", b"\x80", "€"),
        ("KOI8-R", b"\xc1", "а"),
        ("Shift_JIS", b"\x82\xa0", "あ"),
        ("gb18030", b"\xc4\xe3", "你"),
        ("utf-16", b"\xff\xfeA\x00", "A"),
        ("ISO_8859-1:1987", b"\xe9", "é"),
    ],
)
def test_known_charsets_are_read(charset: str, octets: bytes, text: str) -> None:
    assert part(f"text/plain; charset={charset}", octets).text() == text


@pytest.mark.requirement("SEC-32")
@pytest.mark.parametrize(
    ("charset", "octets", "named"),
    [("", b"\xff", "UTF-8"), ("; charset=cswindows1252", b"\x81", "windows-1252"), ("; charset=us", b"\x80", "US-ASCII")],
)
def test_octets_that_a_charset_does_not_have_are_a_fault_that_names_it(charset: str, octets: bytes, named: str) -> None:
    with pytest.raises(SyntaxFault) as caught:
        part(f"text/plain{charset}", octets).text()
    assert (caught.value.what, caught.value.offset) == (f"The text is not valid {named}", 0)


@pytest.mark.requirement("IMSG-16")
def test_without_a_charset_text_is_utf_8() -> None:
    assert part("text/plain", "ça".encode()).text() == "ça"


@pytest.mark.requirement("SEC-33")
@pytest.mark.parametrize(
    "charset",
    [
        "x-nope",
        "utf-7",
        "unicode_escape",
        "raw-unicode-escape",
        "idna",
        "punycode",
        "rot13",
        "base64",
        "\u212aoi8-r",
        "mbcs",
    ],
)
def test_an_unknown_charset_is_refused_and_nothing_else_is_tried(charset: str) -> None:
    with pytest.raises(Refusal) as caught:
        part(f'text/plain; charset="{charset}"', b"hi").text()
    assert caught.value.key == "charset-unknown"


@pytest.mark.requirement("SEC-33")
@pytest.mark.parametrize("encoding", ["x-uuencode", "gzip", "base64 x", "\u017f"])
def test_an_unknown_transfer_encoding_is_refused(encoding: str) -> None:
    with pytest.raises(Refusal) as caught:
        part("text/plain", b"hi", Content_Transfer_Encoding=encoding).text()
    assert caught.value.key == "encoding-unknown"


@pytest.mark.requirement("SEC-32")
@pytest.mark.parametrize(
    ("charset", "octets"),
    [
        ("utf-8", b"J\xe1n"),
        ("utf-8", b"\xc0\xaf"),
        ("utf-8", b"\xed\xa0\x80"),
        ("utf-8", b"\xf8\x88\x80\x80\x80"),
        ("us-ascii", b"\xc3\xa9"),
        ("shift_jis", b"\x82"),
        ("utf-16", b"\xd8\x00"),
    ],
)
def test_octets_that_the_charset_does_not_have_are_a_fault(charset: str, octets: bytes) -> None:
    with pytest.raises(SyntaxFault):
        part(f"text/plain; charset={charset}", octets).text()


# -- multiparts --------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("SMIME-10")
def test_the_octets_of_a_signed_part_are_those_the_signature_covers() -> None:
    covered, signature = split_multipart(Entity.parse(SIGNED))
    assert len(covered.raw) == 176
    assert sha256(covered.raw).hexdigest() == "a23f8ad45e922334183251bef4814c04ed6e408d72dfd122e686bbe16f27b919"
    assert covered.content_type.essence == "message/cpim"
    assert signature.content == b"MII..."


@pytest.mark.requirement("SMIME-11")
@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"\r\n\r\n--b7\r\nContent-Type: message", b"\r\n\r\npreamble\r\n--b7\r\nContent-Type: message"),
        (b"--b7\r\nContent-Type: message", b"--b7 \t \r\nContent-Type: message"),
        (b"--b7\r\nContent-Type: application", b"--b7\t\r\nContent-Type: application"),
        (b"MII...", b"MIIx"),
        (b"; name=smime.p7s", b"; name=other"),
        (b"--b7--\r\n", b"--b7--\r\nepilogue\r\n--b7\r\n"),
        (b"--b7--\r\n", b"--b7--"),
        (b"micalg=sha-256", b"micalg=sha-512"),
    ],
)
def test_what_stands_around_the_signed_part_is_not_covered(old: bytes, new: bytes) -> None:
    assert SIGNED.count(old) == 1
    parts = split_multipart(Entity.parse(SIGNED.replace(old, new)))
    assert len(parts) == 2
    assert sha256(parts[0].raw).hexdigest() == "a23f8ad45e922334183251bef4814c04ed6e408d72dfd122e686bbe16f27b919"


@pytest.mark.parametrize(
    ("content", "contents"),
    [
        (b"--x\r\n\r\na\r\n--x\r\n\r\nb\r\n--x--", [b"a", b"b"]),
        (b"--x\r\n\r\na\r\n\r\n--x--", [b"a\r\n"]),
        (b"--x\r\n\r\na\r\n--x", None),
        (b"--x\r\n--x\r\n\r\n--x--", [b"", b""]),
        (b"--x--", []),
        (b"--x\r\n\r\na", [b"a"]),
        (b"--x\r\n\r\na\n--x\r\n\r\nb\r\n--x--", [b"a\n--x\r\n\r\nb"]),
        (b"pre --x\r\n--x\r\n\r\na --x\r\n--x--\r\n--x\r\n\r\nb", [b"a --x"]),
        (b"--xy\r\n\r\na\r\n--x--", [b"a"]),
        (b"", None),
        (b"no delimiter", None),
    ],
)
def test_parts_begin_and_end_at_delimiter_lines(content: bytes, contents: list[bytes] | None) -> None:
    multipart = part("multipart/mixed; boundary=x", content)
    if contents is None:
        with pytest.raises(SyntaxFault):
            split_multipart(multipart)
    else:
        assert [each.content for each in split_multipart(multipart)] == contents


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/mixed",
        'multipart/mixed; boundary=""',
        'multipart/mixed; boundary="a "',
        "multipart/mixed; boundary=" + "b" * 71,
        'multipart/mixed; boundary="é"',
    ],
)
def test_a_bad_boundary_is_a_fault(content_type: str) -> None:
    with pytest.raises(SyntaxFault):
        split_multipart(part(content_type, b"--a \r\n\r\n--a --"))


def test_an_encoded_multipart_is_a_fault() -> None:
    with pytest.raises(SyntaxFault):
        split_multipart(part("multipart/mixed; boundary=x", base64.b64encode(b"--x\r\n\r\na\r\n--x--"), Content_Transfer_Encoding="base64"))


def test_parts_of_a_digest_are_messages_by_default() -> None:
    digest = part("multipart/digest; boundary=x", b"--x\r\n\r\na\r\n--x\r\nContent-Type: text/plain\r\n\r\nb\r\n--x--")
    assert [each.content_type.essence for each in split_multipart(digest)] == ["message/rfc822", "text/plain"]


def nested(depth: int) -> Entity:
    """A text inside so many multiparts that the tree has `depth` levels."""
    inner = part("text/plain", b"x")
    for level in range(depth - 1):
        inner = part(f"multipart/mixed; boundary=b{level}.", b"--b%d.\r\n%b\r\n--b%d.--" % (level, inner.raw, level))
    return inner


def test_the_tree_is_walked_in_document_order() -> None:
    tree = part("multipart/mixed; boundary=o", b"--o\r\n" + nested(2).raw + b"\r\n--o\r\nContent-Type: text/html\r\n\r\ny\r\n--o--")
    found = [(each.depth, each.entity.content_type.essence) for each in mime_parts(tree)]
    assert found == [(1, "multipart/mixed"), (2, "multipart/mixed"), (3, "text/plain"), (2, "text/html")]
    assert next(iter(mime_parts(tree))).entity is tree


@pytest.mark.requirement("SEC-34", "SMIME-09")
def test_the_tree_ends_at_eight_levels() -> None:
    assert [each.depth for each in mime_parts(nested(8))] == [1, 2, 3, 4, 5, 6, 7, 8]
    walk = mime_parts(nested(9))
    assert [next(walk).depth for _ in range(8)] == [1, 2, 3, 4, 5, 6, 7, 8]
    with pytest.raises(Refusal) as caught:
        next(walk)
    assert caught.value.key == "mime-limits"


@pytest.mark.requirement("SEC-34")
def test_the_tree_ends_at_thirty_two_parts() -> None:
    def with_parts(number: int) -> Entity:
        return part("multipart/mixed; boundary=x", b"--x\r\n\r\n\r\n" * number + b"--x--")

    assert len(list(mime_parts(with_parts(32)))) == 33
    with pytest.raises(Refusal):
        list(mime_parts(with_parts(33)))


@settings(deadline=None)
@given(
    st.lists(st.binary(max_size=30).filter(lambda octets: b"--q7" not in octets), max_size=5),
    st.binary(max_size=10),
    st.binary(max_size=10),
)
def test_any_parts_come_out_as_they_went_in(contents: list[bytes], preamble: bytes, epilogue: bytes) -> None:
    body = b"\r\n".join([preamble, *(b"--q7\r\n\r\n" + content for content in contents), b"--q7--" + epilogue])
    assert [each.content for each in split_multipart(part("multipart/mixed; boundary=q7", body))] == contents


# -- house rules -------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("CPIM-62")
def test_no_e_mail_library_touches_an_entity() -> None:
    for path in Path(gateway.core.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            assert not [name for name in names if name.partition(".")[0] == "email"], path


@pytest.mark.requirement("SEC-35")
def test_a_header_block_may_be_so_long_and_no_longer() -> None:
    def entity(octets: int) -> bytes:
        head = b"Content-Type: text/plain; name="
        return head + b"x" * (octets - len(head)) + b"\r\n\r\nhi"

    assert Entity.parse(entity(16_384)).content == b"hi"
    with pytest.raises(SyntaxFault, match="header block too long"):
        Entity.parse(entity(16_385))
