"""message/cpim: reading strictly and leniently, writing, and keeping every octet."""

from __future__ import annotations

import base64
import re
from hashlib import sha256

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.core.cpim import CORE, IMDN, UNDERSTOOD, CpimAddress, CpimHeader, CpimMessage, compose
from gateway.core.errors import SyntaxFault
from gateway.core.mime import Entity
from gateway.core.text import crlf, one_line

TAIL = b"\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nhi"
PART = Entity.compose([("Content-Type", "text/plain; charset=utf-8")], b"hi")
WORKED = (
    "From: Alice <im:alice@sip.example>\r\n"
    "To: <im:bob@xmpp.example>\r\n"
    "DateTime: 2026-01-02T03:04:05Z\r\n"
    "Subject:;lang=fr Déjeuner\r\n"
    "NS: imdn <urn:ietf:params:imdn>\r\n"
    "imdn.Message-ID: Kd8s2hQz0pXw\r\n"
    "imdn.Disposition-Notification: positive-delivery, display\r\n"
    "\r\n"
    "Content-Type: text/plain; charset=utf-8\r\n"
    "\r\n"
    "Midi ça va?"
).encode()


def message(*lines: str | bytes, strict: bool = False) -> CpimMessage:
    return CpimMessage.parse(octets(*lines), strict=strict)


def octets(*lines: str | bytes) -> bytes:
    return b"".join([(line.encode() if isinstance(line, str) else line) + b"\r\n" for line in lines]) + TAIL


def refused(raw: bytes, *, strict: bool = True) -> bool:
    try:
        CpimMessage.parse(raw, strict=strict)
    except SyntaxFault:
        return True
    return False


# -- golden objects ----------------------------------------------------------------------------------------------------
@pytest.mark.requirement("CPIM-02", "CPIM-61", "CPIM-64")
def test_the_worked_example_is_read() -> None:
    assert len(WORKED) == 303
    assert sha256(WORKED).hexdigest() == "6643ac4b56f58324188b1f2640fdaac2b4241f56e7ae495ac956277265ee5344"
    found = CpimMessage.parse(WORKED, strict=True)
    assert found.notes == ()
    assert found.sender == CpimAddress("Alice", "im:alice@sip.example")
    assert found.recipients == (CpimAddress("", "im:bob@xmpp.example"),)
    assert found.first("DateTime") == "2026-01-02T03:04:05Z"
    assert found.subjects == (("Déjeuner", "fr"),)
    assert found.first("Message-ID", IMDN) == "Kd8s2hQz0pXw"
    assert found.values("Disposition-Notification", IMDN) == ("positive-delivery, display",)
    assert found.entity.text() == "Midi ça va?"
    assert len(found.raw) - len(found.entity.raw) == 246 + 2
    assert len(found.entity.raw) == 55


@pytest.mark.requirement("CPIM-20", "CPIM-21", "CPIM-64")
def test_the_worked_example_is_written() -> None:
    composed = compose(
        [
            ("From", str(CpimAddress("Alice", "im:alice@sip.example"))),
            ("To", "<im:bob@xmpp.example>"),
            ("DateTime", "2026-01-02T03:04:05Z"),
            ("Subject;lang=fr", "Déjeuner"),
            ("NS", "imdn <urn:ietf:params:imdn>"),
            ("imdn.Message-ID", "Kd8s2hQz0pXw"),
            ("imdn.Disposition-Notification", "positive-delivery, display"),
        ],
        Entity.compose([("Content-Type", "text/plain; charset=utf-8")], "Midi ça va?".encode()),
    )
    assert composed.raw == WORKED
    assert composed == CpimMessage.parse(WORKED)
    assert composed.headers == CpimMessage.parse(WORKED).headers


@pytest.mark.requirement("ICPIM-02", "ICPIM-05", "CPIM-63")
def test_the_object_of_a_stanza_is_written() -> None:
    composed = compose(
        [
            ("From", "<im:mira@xmpp.example>"),
            ("To", "<im:tomas@sip.example>"),
            ("DateTime", "2026-02-03T09:16:00Z"),
            ("Subject", "Pot"),
            ("Subject;lang=en", "Route"),
        ],
        Entity.compose([("Content-Type", "text/plain; charset=utf-8")], crlf("Prav.").encode()),
    )
    assert composed.raw == (
        b"From: <im:mira@xmpp.example>\r\nTo: <im:tomas@sip.example>\r\nDateTime: 2026-02-03T09:16:00Z\r\nSubject: Pot\r\n"
        b"Subject:;lang=en Route\r\n\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nPrav."
    )


@pytest.mark.requirement("ICPIM-01", "ICPIM-05")
def test_a_body_of_a_sip_request_is_read() -> None:
    raw = (
        b"From: Tomas <im:tomas@sip.example>\r\nTo: <im:mira@xmpp.example>\r\nDateTime: 2026-02-03T09:15:00Z\r\nSubject: Pot\r\n"
        b"Subject:;lang=en Route\r\n\r\nContent-type: text/plain; charset=utf-8\r\nContent-ID: <cid-5@sip.example>\r\n\r\n"
        b"Gremo po stari poti."
    )
    assert len(raw) == 232
    found = CpimMessage.parse(raw, strict=True)
    assert found.subjects == (("Pot", ""), ("Route", "en"))
    assert found.entity.header("content-id") == "<cid-5@sip.example>"
    assert found.entity.content == b"Gremo po stari poti."


def test_the_example_of_the_rfc_is_read() -> None:
    found = message(
        "From: MR SANDERS <im:piglet@100akerwood.com>",
        "To: Depressed Donkey <im:eeyore@100akerwood.com>",
        "DateTime: 2000-12-13T13:40:00-08:00",
        "Subject: the weather will be fine today",
        "Subject:;lang=fr beau temps prevu pour aujourd'hui",
        "NS: MyFeatures <mid:MessageFeatures@id.foo.com>",
        "Require: MyFeatures.VitalMessageOption",
        "MyFeatures.VitalMessageOption: Confirmation-requested",
        "MyFeatures.WackyMessageOption: Use-silly-font",
        strict=True,
    )
    assert found.sender == CpimAddress("MR SANDERS", "im:piglet@100akerwood.com")
    assert found.subjects[1] == ("beau temps prevu pour aujourd'hui", "fr")
    assert found.required == (("mid:MessageFeatures@id.foo.com", "VitalMessageOption"),)
    assert found.first("WackyMessageOption", "mid:MessageFeatures@id.foo.com") == "Use-silly-font"


# -- odd vectors W1 to W13 ---------------------------------------------------------------------------------------------
CONTENT = b"Content-Type: text/plain\r\n\r\nhi"
FROM = "From: <im:a@b>"


@pytest.mark.requirement("CPIM-22", "ICPIM-03")
@pytest.mark.parametrize(
    ("raw", "notes", "name", "values"),
    [
        pytest.param(b"Content-Type: message/cpim\r\n\r\n" + octets(FROM), ("nested-headers",), "From", ("<im:a@b>",), id="W1"),
        pytest.param(octets(FROM).replace(b"\r\n", b"\n"), ("lf-only",), "From", ("<im:a@b>",), id="W2"),
        pytest.param(octets("From:<im:a@b>"), ("no-space",), "From", ("<im:a@b>",), id="W3"),
        pytest.param(octets("Subject: x "), ("trailing-blank",), "Subject", ("x",), id="W4"),
        pytest.param(octets("Subject:  x"), ("spaces",), "Subject", ("x",), id="W4-several-spaces"),
        pytest.param(octets("To : <im:a@b>"), ("space-before-colon",), "To", ("<im:a@b>",), id="W6"),
        pytest.param(octets("To\t : <im:a@b>"), ("space-before-colon",), "To", ("<im:a@b>",), id="W6-tab"),
        pytest.param(octets("imdn.Message-ID: 1", "NS: imdn <urn:ietf:params:imdn>"), ("unbound-prefix",), "Message-ID", (), id="W7"),
        pytest.param(octets("Subject: a\x07b"), ("control",), "Subject", ("a\x07b",), id="W10"),
        pytest.param(octets("Subject: a\tb"), ("control",), "Subject", ("a\tb",), id="W10-tab"),
        pytest.param(b"From: <im:a@b>\r\n" + CONTENT, ("no-blank-line",), "From", ("<im:a@b>",), id="W12"),
        pytest.param(
            b"From: <im:a@b>\r\nContent-Disposition: notification\r\ncontent-type : text/plain\r\n\r\nhi",
            ("no-blank-line",),
            "Content-Disposition",
            (),
            id="W12-run",
        ),
        pytest.param(octets("NS: imdn urn:ietf:params:imdn"), ("bad-namespace",), "NS", ("imdn urn:ietf:params:imdn",), id="bad-namespace"),
        pytest.param(b"From: <im:a@b>\r\n\r\nContent-ID: <x>\r\n\r\nhi", ("no-content-type",), "From", ("<im:a@b>",), id="no-content-type"),
        pytest.param(octets("From:", "Subject:;lang=fr", "To:<im:a@b> "), ("no-space", "trailing-blank"), "From", ("",), id="several"),
    ],
)
def test_odd_objects_are_read_leniently_and_kept(raw: bytes, notes: tuple[str, ...], name: str, values: tuple[str, ...]) -> None:
    found = CpimMessage.parse(raw)
    assert found.notes == notes
    assert found.values(name) == values
    assert found.entity.content == b"hi"
    assert found.raw == raw == b"".join(found.slices)
    assert refused(raw)


@pytest.mark.requirement("CPIM-24")
def test_w5_names_count_case() -> None:
    for name in ("from", "FROM", "CC", "Datetime", "subject"):
        found = message(f"{name}: <im:a@b>", strict=True)
        assert (found.sender, found.values("cc"), found.first("DateTime"), found.subjects) == (None, (), None, ())
        assert found.first(name) == "<im:a@b>"


@pytest.mark.requirement("CPIM-29")
@pytest.mark.parametrize(
    "lines",
    [
        ("DateTime: 2026-01-02T03:04:05Z", "DateTime: 2026-01-02T03:04:05Z"),
        ("From: <im:a@b>", "From: <im:a@b>"),
        ("From: <im:a@b>", f"NS: c <{CORE}>", "c.From: <im:a@b>"),
    ],
    ids=["W8", "From", "by-prefix"],
)
def test_from_and_datetime_stand_once(lines: tuple[str, ...]) -> None:
    assert refused(octets(*lines), strict=False)
    assert refused(octets(*lines))


@pytest.mark.requirement("CPIM-29", "CPIM-36")
def test_the_other_core_headers_may_repeat() -> None:
    found = message(
        "To: <im:a@b>",
        "To: <im:c@d>",
        "cc: <im:e@f>",
        "cc: <im:g@h>",
        "Subject: x",
        "Subject:;lang=fr y",
        "NS: p <a:b>",
        "NS: q <a:c>",
        "Require: From",
        "Require: To",
        strict=True,
    )
    assert [address.uri for address in found.recipients] == ["im:a@b", "im:c@d"]
    assert found.values("cc") == ("<im:e@f>", "<im:g@h>")
    assert found.subjects == (("x", ""), ("y", "fr"))
    assert found.required == ((CORE, "From"), (CORE, "To"))


@pytest.mark.requirement("CPIM-57")
def test_w9_blanks_around_the_commas_of_require() -> None:
    found = message("NS: imdn <urn:ietf:params:imdn>", "Require: imdn.Message-ID , x.y,From", strict=True)
    assert found.required == ((IMDN, "Message-ID"), ("", "x.y"), (CORE, "From"))
    assert [each in UNDERSTOOD for each in found.required] == [True, False, True]


@pytest.mark.requirement("CPIM-42", "CPIM-43", "CPIM-45")
def test_w11_escapes_are_undone_in_the_view_only() -> None:
    line = rb"Subject: tab\there \u0007 \q end" + b"\\"
    found = message(line)
    assert found.subjects == (("tab\there \x07 q end", ""),)
    assert found.headers[0].raw == line
    assert found.notes == ()


@pytest.mark.requirement("ICPIM-01")
def test_w13_an_object_may_have_no_headers() -> None:
    found = CpimMessage.parse(b"\r\n" + CONTENT, strict=True)
    assert (found.headers, found.sender, found.recipients, found.notes) == ((), None, (), ())
    assert found.slices == (b"\r\n", b"Content-Type: text/plain\r\n\r\n", b"hi")


# -- structure ---------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("CPIM-03", "ICPIM-01")
def test_an_entity_of_type_message_cpim_holds_the_object() -> None:
    whole = Entity.parse(b"Content-Type: Message/CPIM\r\nContent-ID: <1>\r\n\r\n" + WORKED)
    assert whole.content_type.essence == "message/cpim"
    assert CpimMessage.parse(whole.content, strict=True).raw == WORKED


@pytest.mark.requirement("CPIM-04")
@pytest.mark.parametrize(
    "block",
    [
        b"Content-Type: message/cpim\r\n\r\n",
        b"Content-Length: 9\r\ncontent-type : Message/CPIM; x=y\r\n\r\n",
        b"Content-Type: message/cpim\n\n",
    ],
)
def test_a_repeated_outer_header_block_is_unwrapped_once(block: bytes) -> None:
    found = CpimMessage.parse(block + WORKED)
    assert found.sender == CpimAddress("Alice", "im:alice@sip.example")
    assert found.entity.text() == "Midi ça va?"
    assert "nested-headers" in found.notes
    assert found.raw == block + WORKED
    twice = CpimMessage.parse(block + block + WORKED)
    assert twice.sender is None
    assert twice.entity.content == WORKED


@pytest.mark.requirement("CPIM-05")
def test_the_frame_ends_the_content_and_no_inner_length() -> None:
    for length, notes in (("2", ()), ("1", ("content-length",)), ("99", ("content-length",)), ("x", ("content-length",))):
        raw = b"From: <im:a@b>\r\n\r\nContent-Type: text/plain\r\nContent-Length: %b\r\n\r\nhi" % length.encode()
        found = CpimMessage.parse(raw, strict=True)
        assert found.entity.content == b"hi"
        assert found.notes == notes


@pytest.mark.requirement("CPIM-06")
@pytest.mark.parametrize("tail", [b"\r\nhi", b"Content-ID: <x>\r\n\r\nhi", b""])
def test_content_without_a_type_is_plain_text_when_lenient(tail: bytes) -> None:
    raw = b"From: <im:a@b>\r\n\r\n" + tail
    found = CpimMessage.parse(raw)
    assert found.entity.content_type.essence == "text/plain"
    assert found.entity.text() == ("hi" if tail else "")
    assert found.notes == ("no-content-type",)
    assert refused(raw)


@pytest.mark.requirement("CPIM-06")
def test_content_may_be_anything() -> None:
    tail = (
        b"Content-Type: multipart/mixed; boundary=x\r\nContent-ID: <1>\r\nContent-Disposition: render\r\nContent-Language: fr\r\n"
        b"Content-Transfer-Encoding: binary\r\n\r\n--x\r\n\r\n\x00\xff\r\n--x--"
    )
    found = CpimMessage.parse(b"From: <im:a@b>\r\n\r\n" + tail, strict=True)
    assert [name for name, _ in found.entity.headers] == [
        "Content-Type",
        "Content-ID",
        "Content-Disposition",
        "Content-Language",
        "Content-Transfer-Encoding",
    ]
    assert found.entity.content == b"--x\r\n\r\n\x00\xff\r\n--x--"


@pytest.mark.requirement("CPIM-02")
@pytest.mark.parametrize(
    "tail", [b"Content-Type: text/plain\r\n", b"Content-Type: text/plain", b"Content-Type: text/plain\r\nContent-ID: <x>\r\n"]
)
def test_a_blank_line_ends_the_mime_headers(tail: bytes) -> None:
    raw = b"From: <im:a@b>\r\n\r\n" + tail
    assert refused(raw)
    assert CpimMessage.parse(raw).entity.content == b""
    assert CpimMessage.parse(raw.removesuffix(b"\r\n") + b"\r\n\r\n", strict=True).entity.content_type.essence == "text/plain"


@pytest.mark.requirement("CPIM-07")
def test_a_tunnelled_object_comes_out_as_it_went_in() -> None:
    tunnel = Entity.compose([("Content-Type", "message/cpim"), ("Content-Transfer-Encoding", "base64")], base64.encodebytes(WORKED))
    assert Entity.parse(tunnel.raw).decoded() == WORKED


@pytest.mark.requirement("CPIM-08", "CPIM-09")
def test_inner_base64_is_decoded_for_reading_and_kept() -> None:
    raw = b"From: <im:a@b>\r\n\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\nTWlkaSDDp2EgdmE/\r\n"
    found = CpimMessage.parse(raw, strict=True)
    assert found.entity.text() == "Midi ça va?"
    assert (found.raw, b"".join(found.slices)) == (raw, raw)


@pytest.mark.requirement("CPIM-10", "ICPIM-07")
def test_a_wrapper_holds_the_original_octets() -> None:
    wrapper = compose([("From", "<im:gw@gw.example>")], Entity.compose([("Content-Type", "message/cpim")], WORKED))
    inner = CpimMessage.parse(wrapper.raw, strict=True).entity
    assert inner.content_type.essence == "message/cpim"
    assert inner.content == WORKED


@pytest.mark.requirement("CPIM-02", "CPIM-20")
def test_message_headers_do_not_fold_and_mime_headers_do() -> None:
    assert refused(octets("Subject: a", " b"), strict=False)
    assert refused(octets("Subject: a", "\tb"), strict=False)
    folded = CpimMessage.parse(b"From: <im:a@b>\r\n\r\nContent-Type: text/plain;\r\n charset=utf-8\r\n\r\nhi", strict=True)
    assert folded.entity.content_type.param("charset") == "utf-8"


@pytest.mark.requirement("CPIM-20", "CPIM-28")
@pytest.mark.parametrize(
    "raw",
    [
        octets(FROM).replace(b"\r\n", b"\n"),
        octets(FROM).replace(b"\r\n", b"\n", 1),
        octets("Subject: a\rb"),
        octets("Subject: a\x00b"),
        octets("Subject: a\x7fb"),
        octets('Subject:;x="a\x01" b'),
        octets("Subject: a", "To: b"),
        octets("From: a@b"),
        octets("DateTime: now"),
        octets("DateTime: 2026-01-02 03:04:05Z"),
        octets("cc: Smith, J. <im:j@x>"),
        octets("From: <im:a@b> "),
        octets('From: "a <im:a@b>'),
        octets('From: "a "b" c" <im:a@b>'),
        b"From: <im:a@b>\r\n\r\nContent-Type: text/plain\r\n",
        b"From: <im:a@b>\r\n\r\nContent-Type: text/plain\n\nhi",
    ],
    ids=repr,
)
def test_what_the_grammar_forbids_is_refused_when_strict(raw: bytes) -> None:
    assert refused(raw)
    assert not refused(raw, strict=False)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\r\n\r",
        b"From: <im:a@b>",
        b"From: <im:a@b>\r\n",
        b"From: <im:a@b>\r\n\r\nhello",
        b"hello\r\n\r\n" + CONTENT,
        octets("no colon"),
        octets(": x"),
        octets("a b: x"),
        octets("a/b: x"),
        octets("ä: x"),
        octets(".a: x"),
        octets("a.: x"),
        octets("<a>: x"),
        octets("Content-Type: message/cpim").replace(TAIL, b"\r\nhello"),
        b"From: <im:a@b>\r\n\r\nContent-Type: nonsense\r\n\r\nhi",
    ],
    ids=repr,
)
def test_what_no_reader_understands_is_a_fault(raw: bytes) -> None:
    assert refused(raw, strict=False)
    assert refused(raw)


def test_a_fault_says_where() -> None:
    with pytest.raises(SyntaxFault) as caught:
        message(FROM, "Subject: a", "To : <im:a@b>", strict=True)
    assert caught.value.offset == len("From: <im:a@b>\r\nSubject: a\r\n")
    with pytest.raises(SyntaxFault) as caught:
        message(FROM, "nonsense")
    assert caught.value.offset == len("From: <im:a@b>\r\n")


@pytest.mark.parametrize(
    ("raw", "offset"),
    [
        (b"Content-Type: message/cpim\r\n\r\n" + TAIL, 0),
        (b"From: <im:a@b>\r\nTo: <im:c@d>\n\r\n" + CONTENT, 28),
        (b"From: <im:a@b>\r\n" + CONTENT, 16),
        (b"From: <im:a@b>\r\nSubject : a\r\n\r\n" + CONTENT, 16),
        (b"From: <im:a@b>\r\nSubject:a\r\n\r\n" + CONTENT, 16),
        (b"From: <im:a@b>\r\n\r\nContent-Type: text/plain\n\nhi", 18),
        (b"From: <im:a@b>\r\n\r\nContent-Length: 2\r\n\r\nhi", 18),
        (b"From: <im:a@b>\r\n", 16),
    ],
)
def test_a_strict_reader_says_where_it_is_wrong(raw: bytes, offset: int) -> None:
    with pytest.raises(SyntaxFault) as caught:
        CpimMessage.parse(raw, strict=True)
    assert caught.value.offset == offset


@pytest.mark.requirement("CPIM-23")
def test_a_line_may_be_long() -> None:
    found = message("Subject: " + "x" * 20_000, strict=True)
    assert found.subjects == (("x" * 20_000, ""),)


@pytest.mark.requirement("CPIM-25", "CPIM-26")
def test_order_and_octets_of_all_headers_are_kept() -> None:
    lines = [
        "Foo: x",
        "To: <im:a@b>",
        "from: y",
        "NS: p <a:b>",
        "p.Bar: 1",
        "Subject: é",
        "To: <im:c@d>",
        "Foo: z",
        r"p.Bar: \u0041",
        "cc: <im:e@f>",
        "Subject:;lang=en e",
        "DateTime: 2026-01-02T03:04:05Z",
    ]
    found = message(*lines, strict=True)
    assert [header.raw.decode() for header in found.headers] == lines
    assert found.values("Foo") == ("x", "z")
    assert found.values("Bar", "a:b") == ("1", "A")


@pytest.mark.requirement("CPIM-27")
def test_octets_that_are_no_utf_8_are_repaired_in_the_view_only() -> None:
    for strict in (False, True):
        found = message(b"Subject: a\xe9b\xf8\x88\x80\x80\x80", strict=strict)
        assert found.subjects[0][0].replace("\ufffd", "") == "ab"
        assert found.notes == ("utf8",)
        assert found.headers[0].raw == b"Subject: a\xe9b\xf8\x88\x80\x80\x80"


@pytest.mark.requirement("CPIM-37", "CPIM-38")
@pytest.mark.parametrize(
    ("line", "params", "value"),
    [
        ("Subject:;lang=fr Objet", (("lang", "fr"),), "Objet"),
        ("Subject: Objet", (), "Objet"),
        ("Subject: ;lang=fr Objet", (), ";lang=fr Objet"),
        ("Subject:;p=v;lang=fr a;b", (("p", "v"), ("lang", "fr")), "a;b"),
        ('Subject:;x="a;b" v', (("x", "a;b"),), "v"),
        (r'Subject:;x="a\"b\\\u0041";n=12 v', (("x", 'a"b\\A'), ("n", "12")), "v"),
        ("Subject:;x=é v: w", (("x", "é"),), "v: w"),
        ("Subject:;lang=fr ", (("lang", "fr"),), ""),
    ],
)
def test_parameters_stand_between_colon_and_space(line: str, params: tuple[tuple[str, str], ...], value: str) -> None:
    header = message(line, strict=True).headers[0]
    assert (header.params, header.value) == (params, value)
    assert header.language == dict(params).get("lang", "")


@pytest.mark.parametrize(
    ("line", "params", "value"),
    [
        ("Subject:;) smile", (), ";) smile"),
        ("Subject:;lang=fr", (("lang", "fr"),), ""),
        ('Subject:;x="a b', (), ';x="a b'),
        ("Subject:;x= b", (), ";x= b"),
    ],
)
def test_what_is_no_parameter_belongs_to_the_value(line: str, params: tuple[tuple[str, str], ...], value: str) -> None:
    found = message(line)
    assert (found.headers[0].params, found.headers[0].value, found.notes) == (params, value, ("no-space",))
    assert refused(octets(line))


# -- escapes -----------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("CPIM-40", "ICPIM-04")
def test_controls_and_backslash_are_written_as_the_rfc_names_them() -> None:
    written = {
        "\\": r"\\",
        "\b": r"\b",
        "\t": r"\t",
        "\n": r"\n",
        "\r": r"\r",
        "\x00": r"\u0000",
        "\x0b": r"\u000b",
        "\x1f": r"\u001f",
        "\x7f": r"\u007f",
    }
    for char, escape in written.items():
        assert compose([("Subject", f"a{char}b")], PART).slices[0] == f"Subject: a{escape}b\r\n".encode()


@pytest.mark.requirement("CPIM-40", "CPIM-46")
@pytest.mark.parametrize("code", [*range(32), 127])
def test_all_33_controls_come_back(code: int) -> None:
    for text in (chr(code), f"a{chr(code)}", f"{chr(code)}a"):
        composed = compose([("Subject", text)], PART)
        assert CpimMessage.parse(composed.raw, strict=True).subjects == ((text, ""),)


@pytest.mark.requirement("CPIM-41")
@pytest.mark.parametrize("text", ["é", "'a'", '"a"', 'say "b"', "<>@,;:/[]?={}", "\u0085\u00a0\u200d\u2028", "😀", "u0041"])
def test_nothing_else_is_escaped(text: str) -> None:
    assert compose([("Subject", text)], PART).slices[0] == f"Subject: {text}\r\n".encode()


@pytest.mark.requirement("CPIM-40", "CPIM-41", "ICPIM-06")
def test_quotes_are_escaped_inside_the_quotes_of_a_name_only() -> None:
    address = CpimAddress('A "B" \\ C', "im:a@h")
    composed = compose([("From", str(address))], PART)
    assert composed.slices[0] == rb'From: "A \"B\" \\ C" <im:a@h>' + b"\r\n"
    assert CpimMessage.parse(composed.raw, strict=True).sender == address


@pytest.mark.requirement("CPIM-42", "CPIM-43", "CPIM-44")
@pytest.mark.parametrize(
    ("written", "text"),
    [
        (r"\u0041", "A"),
        (r"\u00E9\u00e9", "éé"),
        (r"a\qb", "aqb"),
        ("a" + "\\", "a"),
        (r"\u12", "u12"),
        (r"\u12G4", "u12G4"),
        (r"\U0041", "U0041"),
        (r"\"\'\\", "\"'\\"),
        (r"\\n", r"\n"),
        (r"\\\n", "\\\n"),
        (r"\u005cn", r"\n"),
        (r"\ ", ""),
        (r"\ud83d\ude00", "😀"),
        (r"\uD83D\uDE00x", "😀x"),
        (r"\ud83d", "\ufffd"),
        (r"\ude00\ud83d", "\ufffd\ufffd"),
        (r"\ud83dx", "\ufffdx"),
        (r"\ud83d\u0041", "\ufffdA"),
        (r"\é", "é"),
        ("\\\\" * 3, "\\" * 3),
    ],
)
def test_escapes_are_read(written: str, text: str) -> None:
    assert message(f"Subject: {written}").headers[0].value == text


@settings(deadline=None)
@given(st.text())
@example("\\")
@example("\\u0041")
@example('"\\"')
def test_any_subject_comes_back(text: str) -> None:
    composed = compose([("Subject", text)], PART)
    found = CpimMessage.parse(composed.raw, strict=True)
    assert found.subjects == ((text.strip(" "), ""),)
    assert found.entity.content == b"hi"


# -- addresses ---------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("CPIM-31", "CPIM-32", "CPIM-33")
@pytest.mark.parametrize(
    ("value", "name", "uri"),
    [
        ("<im:pooh@100akerwood.com>", "", "im:pooh@100akerwood.com"),
        ("Winnie the Pooh <im:pooh@100akerwood.com>", "Winnie the Pooh", "im:pooh@100akerwood.com"),
        ('"Smith, J." <im:j@x>', "Smith, J.", "im:j@x"),
        ('"Smith, J."<im:j@x>', "Smith, J.", "im:j@x"),
        ("im:j@x", "", "im:j@x"),
        ('"" <im:j@x>', "", "im:j@x"),
        ('"A "B"" <im:a@h>', 'A "B"', "im:a@h"),
        ('"a <im:b@c> d" <im:a@h>', "a <im:b@c> d", "im:a@h"),
        ("J. Smith, Esq. <im:j@x>", "J. Smith, Esq.", "im:j@x"),
        ("Élan vital <im:j@x>", "Élan vital", "im:j@x"),
        ("<tel:+15551230001>", "", "tel:+15551230001"),
        ("<sip:+15551230001@ims.example.net;user=phone>", "", "sip:+15551230001@ims.example.net;user=phone"),
        ("<xmpp:juliet@example.com/balcony>", "", "xmpp:juliet@example.com/balcony"),
        ("<urn:x:y>", "", "urn:x:y"),
        ("<mailto:a@b?subject=x>", "", "mailto:a@b?subject=x"),
        ("<pres:a@b>", "", "pres:a@b"),
        ("  Julie  <im:j@x>  ", "Julie", "im:j@x"),
        (" im:j@x ", "", "im:j@x"),
    ],
)
def test_addresses_are_read(value: str, name: str, uri: str) -> None:
    assert CpimAddress.parse(value) == CpimAddress(name, uri)


@pytest.mark.requirement("CPIM-46", "SEC-11")
@pytest.mark.parametrize(
    "value",
    [
        "",
        "<>",
        "a@b",
        "<a@b>",
        "im:",
        "<im:a@b",
        "im:a@b>",
        "A <im:a@b> x",
        "<im:a b>",
        "<im:a@b\r\nVia: x>",
        "<im:a\x00@b>",
        "<im:a\x85@b>",
        '<im:"@b>',
        "<im:a@b><im:c@d>",
        'a "b" <im:a@b>',
        "<im:a@b> <im:c@d>",
        "<im:a\\@b>",
        "<im:a\u2028@b>",
    ],
)
def test_what_is_no_address_is_refused(value: str) -> None:
    with pytest.raises(SyntaxFault):
        CpimAddress.parse(value)


def test_a_sender_that_is_no_address_is_a_fault_on_asking() -> None:
    found = message("From: nobody")
    with pytest.raises(SyntaxFault):
        _ = found.sender


@pytest.mark.requirement("CPIM-31", "ADDR-23")
@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("", "<sip:semi;colon,comma@h>"),
        ("Alice", "Alice <sip:semi;colon,comma@h>"),
        ("Alice B.", "Alice B. <sip:semi;colon,comma@h>"),
        ("Smith, J.", '"Smith, J." <sip:semi;colon,comma@h>'),
        ("a (b)", '"a (b)" <sip:semi;colon,comma@h>'),
        ("a  b", '"a  b" <sip:semi;colon,comma@h>'),
    ],
)
def test_addresses_are_written(name: str, written: str) -> None:
    assert str(CpimAddress(name, "sip:semi;colon,comma@h")) == written


@pytest.mark.requirement("CPIM-31", "CPIM-46")
@settings(deadline=None)
@given(st.text())
@example('"')
@example('a" <im:evil@h>')
@example("x\\")
@example("<im:evil@h>")
def test_no_name_changes_the_address(name: str) -> None:
    composed = compose([("From", str(CpimAddress(name, "im:a@h"))), ("To", "<im:b@h>")], PART)
    found = CpimMessage.parse(composed.raw, strict=True)
    assert found.sender == CpimAddress(one_line(name), "im:a@h")
    assert len(found.headers) == 2


# -- namespaces --------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("CPIM-50")
def test_a_prefix_holds_behind_its_declaration_only() -> None:
    found = message("p.A: 1", "NS: p <a:b>", "p.A: 2")
    assert found.values("A", "a:b") == ("2",)
    assert found.headers[0][:3] == ("", "p.A", "1")
    assert refused(octets("p.A: 1", "NS: p <a:b>"))
    assert not refused(octets("NS: p <a:b>", "p.A: 2"))


@pytest.mark.requirement("CPIM-51", "ICPIM-05")
@pytest.mark.parametrize("prefix", ["imdn", "xyz", "x", "From", "NS"])
def test_any_prefix_will_do(prefix: str) -> None:
    found = message(f"NS: {prefix} <urn:ietf:params:imdn>", f"{prefix}.Message-ID: 1", strict=True)
    assert found.first("Message-ID", IMDN) == "1"
    assert found.first("Message-ID") is None


@pytest.mark.requirement("CPIM-52")
def test_a_foreign_default_namespace_makes_from_foreign() -> None:
    found = message("To: <im:a@b>", "NS: <a:b>", "From: <im:evil@h>", f"NS: <{CORE}>", "From: <im:a@h>", strict=True)
    assert found.sender == CpimAddress("", "im:a@h")
    assert found.first("From", "a:b") == "<im:evil@h>"
    assert [header.namespace for header in found.headers] == [CORE, CORE, "a:b", CORE, CORE]


@pytest.mark.requirement("CPIM-51", "CPIM-52")
def test_core_headers_may_have_a_prefix() -> None:
    found = message(f"NS: c <{CORE}>", "NS: <a:b>", "c.From: <im:a@h>", "c.NS: p <a:c>", "p.X: 1", strict=True)
    assert found.sender == CpimAddress("", "im:a@h")
    assert found.first("X", "a:c") == "1"


@pytest.mark.requirement("CPIM-53")
def test_the_later_binding_of_a_prefix_holds() -> None:
    found = message("NS: p <a:b>", "p.X: 1", "NS: p<a:B>", "p.X: 2", strict=True)
    assert (found.first("X", "a:b"), found.first("X", "a:B")) == ("1", "2")


@pytest.mark.requirement("CPIM-53")
@pytest.mark.parametrize("value", ["p <b>", "p <a:b#c>", "p a:b", "p <>", "<a:b", "p  <a:b>", "p q <a:b>", "p <a: b>", ""])
def test_what_declares_no_namespace_binds_nothing(value: str) -> None:
    found = message(f"NS: {value}", "p.X: 1", "From: <im:a@b>")
    assert "bad-namespace" in found.notes
    assert found.headers[1].namespace == ""
    assert found.sender == CpimAddress("", "im:a@b")
    assert refused(octets(f"NS: {value}"))


@pytest.mark.requirement("CPIM-51")
def test_the_misprinted_namespace_of_the_rfc_is_the_core_one() -> None:
    found = message("NS: c <urn:ietf:params-cpim-headers:>", "c.From: <im:a@h>", strict=True)
    assert found.sender == CpimAddress("", "im:a@h")
    assert found.notes == ("misprinted-namespace",)


@pytest.mark.requirement("CPIM-54")
def test_a_name_with_two_dots_is_unknown_when_strict() -> None:
    lines = ("NS: a.b <x:y>", "a.b.c: 1", "NS: a <x:z>")
    assert message(*lines, strict=True).headers[1][:3] == ("", "a.b.c", "1")
    assert message(*lines).headers[1][:3] == ("x:y", "c", "1")


@pytest.mark.requirement("CPIM-55")
@pytest.mark.parametrize(
    ("name", "uri"),
    [
        ("From", CORE + "From"),
        ("Top&Tail", CORE + "Top%26Tail"),
        ("a~b", CORE + "a%7Eb"),
        ("x-y'z!", CORE + "x-y'z!"),
    ],
)
def test_a_header_has_a_global_name(name: str, uri: str) -> None:
    assert message(f"{name}: x").headers[0].uri == uri


@pytest.mark.requirement("CPIM-57")
def test_require_takes_the_binding_that_holds_where_it_stands() -> None:
    found = message("NS: p <a:b>", "Require: p.X,Subject", "NS: p <a:c>", "Require: p.X", "Require: q.Y,", "NS: q <a:d>")
    assert found.required == (("a:b", "X"), (CORE, "Subject"), ("a:c", "X"), ("a:d", "Y"))
    assert message(FROM).required == ()


# -- writing -----------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("CPIM-21", "SEC-18", "SEC-19")
@pytest.mark.parametrize(
    "name",
    [
        "",
        "a b",
        "Subject\r\nX",
        "Sübject",
        "a/b",
        "x.Y",
        "Subject;lang",
        "Subject;lang=",
        "Subject;lang=a b",
        "Subject;lang=fr\r\nX: y",
        'Subject;x="\x00"',
        "a.b.c",
        "Content-Type",
        "content-id",
        ".a",
        "a.",
    ],
)
def test_a_field_name_that_would_not_be_read_back_is_refused(name: str) -> None:
    with pytest.raises(SyntaxFault):
        compose([(name, "x")], PART)


@pytest.mark.parametrize(
    "fields",
    [
        [("From", "<a:b>"), ("From", "<a:b>")],
        [("NS", "nonsense")],
        [("NS", "p <a:b>"), ("q.X", "1")],
        [("p.X", "1"), ("NS", "p <a:b>")],
        [("DateTime", "x"), ("NS", f"c <{CORE}>"), ("c.DateTime", "x")],
        [("Subject", "\ud800")],
    ],
)
def test_fields_that_would_not_be_read_back_are_refused(fields: list[tuple[str, str]]) -> None:
    with pytest.raises(SyntaxFault):
        compose(fields, PART)


def test_a_content_without_a_type_is_refused() -> None:
    with pytest.raises(SyntaxFault):
        compose([], Entity.compose([("Content-ID", "<x>")], b""))


def test_foreign_fields_may_be_called_like_core_ones() -> None:
    composed = compose([("NS", "p <a:b>"), ("p.From", "1"), ("p.From", "2"), ("p.NS", "3"), ("From", "<im:a@b>")], PART)
    found = CpimMessage.parse(composed.raw, strict=True)
    assert found.values("From", "a:b") == ("1", "2")
    assert found.first("NS", "a:b") == "3"
    assert found.sender == CpimAddress("", "im:a@b")


@pytest.mark.requirement("CPIM-58")
def test_nothing_is_added_to_the_fields() -> None:
    assert compose([], PART).raw == b"\r\n" + PART.raw
    assert compose([("To", "<im:a@b>")], PART).raw == b"To: <im:a@b>\r\n\r\n" + PART.raw


NAMES = st.sampled_from(
    ["From", "To", "cc", "Subject", "Subject;lang=fr", "NS", "Require", "p.X", "imdn.Message-ID", "Foo", "From", 'X;y="a b"']
)
VALUES = (
    st.text(max_size=20)
    | st.text("\\\"'<> \t\r\nu0041;:", max_size=12)
    | st.sampled_from(
        ["p <a:b>", "<a:b>", "imdn <urn:ietf:params:imdn>", f"<{CORE}>", f"p <{CORE}>", '"a "b"" <im:a@h>', "<im:a@b>", "From,p.X"]
    )
)


@pytest.mark.requirement("CPIM-21", "CPIM-60", "CPIM-61")
@settings(deadline=None, max_examples=300)
@given(st.lists(st.tuples(NAMES, VALUES), max_size=8), st.binary(max_size=20))
def test_what_is_written_is_what_is_read(fields: list[tuple[str, str]], content: bytes) -> None:
    try:
        composed = compose(fields, Entity.compose([("Content-Type", "a/b")], content))
    except SyntaxFault:
        return
    found = CpimMessage.parse(composed.raw)
    assert found.notes == ()
    assert (composed.raw, composed.headers, composed.entity) == (found.raw, found.headers, found.entity)
    assert [header.value for header in found.headers] == [value.strip(" ") for _, value in fields]
    for line in found.slices[: len(fields)]:
        assert re.fullmatch(rb"[!-9;-~]+:(?:;[!-9;-~]+(?: b\")?)* (?:[^\x00-\x20\x7f](?:[^\x00-\x1f\x7f]*[^\x00-\x20\x7f])?)?\r\n", line)


def test_equality_is_that_of_the_octets() -> None:
    lenient, strict = CpimMessage.parse(WORKED), CpimMessage.parse(WORKED, strict=True)
    assert lenient == strict
    assert hash(lenient) == hash(strict)
    assert lenient != CpimMessage.parse(WORKED + b" ")
    assert CpimHeader(CORE, "Foo", "x", (), b"Foo: x") == message("Foo: x").headers[0]


# -- any octets --------------------------------------------------------------------------------------------------------
PIECES = st.sampled_from(
    [
        b"From: <im:a@b>\r\n",
        b"NS: p <a:b>\r\n",
        b"p.X: y\r\n",
        b"Subject:;lang=fr a\\u0041\r\n",
        b"Content-Type: message/cpim\r\n",
        b"Content-Type: text/plain\r\n",
        b"Content-Length: 3\r\n",
        b"Require: a.b, c\r\n",
        b"\r\n",
        b"\n",
        b"\r",
        b" ",
        b":",
        b"\xff",
        b"\x00",
        b';x="\\',
    ]
)


@pytest.mark.requirement("CPIM-09", "CPIM-61")
@settings(deadline=None, max_examples=500)
@given(st.lists(PIECES | st.binary(max_size=6), max_size=14).map(b"".join), st.booleans())
def test_any_octets_are_an_object_or_a_syntax_fault(raw: bytes, strict: bool) -> None:
    try:
        found = CpimMessage.parse(raw, strict=strict)
    except SyntaxFault:
        return
    assert (found.raw, b"".join(found.slices)) == (raw, raw)
    position = 0
    for header in found.headers:
        position = raw.index(header.raw, position) + len(header.raw)
    assert raw.endswith(found.entity.raw)
    assert found.entity.raw.endswith(found.entity.content)
    assert isinstance(found.required, tuple)
    if strict:
        assert set(found.notes) <= {"utf8", "misprinted-namespace", "content-length"}


@pytest.mark.requirement("CPIM-25")
@pytest.mark.parametrize("head", [b"", b"Content-Type: message/cpim\r\n\r\n"])
@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
def test_headers_are_left_out_and_every_other_octet_stays(head: bytes, end: bytes) -> None:
    kept = [b"From: <im:a@h>", b"NS: o <urn:o>", b"o.To: x", b"", b"Content-Type: text/plain", b"", b"To: <im:b@h>"]
    rows = [kept[0], b"To: <im:b@h>", kept[1], b"cc: <im:c@h>", b"To:<im:d@h> ", *kept[2:]]
    found = CpimMessage.parse(head + end.join(rows)).without("To", "cc")
    assert (found.raw, found.entity.content) == (head + end.join(kept), kept[-1])
    assert found.notes == CpimMessage.parse(head + end.join(rows)).notes
