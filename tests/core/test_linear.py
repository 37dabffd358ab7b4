"""No input of the largest size that is taken holds the loop: every parser here is linear (REL-28, SEC-34)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial

import pytest

from gateway.core import sipfrag
from gateway.core.cpim import CpimAddress, CpimMessage, compose
from gateway.core.dates import parse_rfc3339, parse_sip_date
from gateway.core.domain import ascii_domain
from gateway.core.errors import GatewayError
from gateway.core.jid import Jid, jid_from_xmpp_uri, unescape_local
from gateway.core.mime import ContentType, Entity, mime_parts
from gateway.core.numbers import subscriber
from gateway.core.text import crlf, one_line, xml_text
from gateway.core.uri import Uri
from tests.cost import LINEAR, growth, seconds

OCTETS = 65_536
SECONDS = 0.5
"""Of the processor; five times what REL-28 grants, for slow machines: anything quadratic takes many times longer."""


def filled(octets: int, piece: str, before: str = "", after: str = "") -> str:
    return before + piece * (octets // len(piece)) + after


def counted(octets: int, template: str) -> str:
    return "".join(template.replace("{}", str(number)) for number in range(octets // len(template)))


def multipart(content: str) -> list[object]:
    return list(mime_parts(Entity.compose([("Content-Type", "multipart/mixed; boundary=x")], content.encode()), max_parts=10**6))


def quoted_printable(content: str) -> bytes:
    return Entity.compose([("Content-Transfer-Encoding", "quoted-printable")], content.encode()).decoded()


def cpim(text: str) -> tuple[object, ...]:
    found = CpimMessage.parse(text.encode())
    return found.required, found.slices, found.subjects


def strict_cpim(text: str) -> CpimMessage:
    return CpimMessage.parse(text.encode(), strict=True)


END = "\r\n\r\nContent-Type: text/plain\r\n\r\n"


def cases(octets: int) -> list[tuple[Callable[[str], object], str]]:
    fill, numbered = partial(filled, octets), partial(counted, octets)
    return [
        (one_line, fill("\r\n\t\x00")),
        (xml_text, fill("\x00a")),
        (crlf, fill("\r\n\r")),
        (parse_rfc3339, fill("9", "2026-01-02T03:04:05.")),
        (parse_sip_date, fill("Sat, ")),
        (ascii_domain, fill("é")),
        (ascii_domain, fill("\u00ad")),
        (ascii_domain, fill("a.")),
        (ascii_domain, fill("-")),
        (ascii_domain, fill("a-")),
        (ascii_domain, fill("xn--a.")),
        (Uri.parse, fill(";a=b", "sip:h")),
        (Uri.parse, fill(";", "sip:h")),
        (Uri.parse, fill("%41", "sip:", "@")),
        (Uri.parse, fill("a:", "sip:")),
        (Uri.parse, fill(";a=", "sip:h", "\x00")),
        (Uri.parse, fill("a@", "im:")),
        (Uri.parse, fill("?a", "sip:h", "\x00")),
        (subscriber, fill("-", "+", "x")),
        (subscriber, fill("1-", "+", "%00")),
        (subscriber, fill("%41")),
        (subscriber, fill(";")),
        (subscriber, numbered(";a{}=b").join(["+1", ""])),
        (subscriber, fill("a.", "1;phone-context=")),
        (subscriber, fill("%C3%A9", "1;phone-context=")),
        (subscriber, fill("1.", "1;phone-context=+", "x")),
        (lambda text: Uri.parse(text).equals(Uri.parse(text + "1")), numbered(";a{}=x").join(["sip:h", ""])),
        (Jid.parse, fill("a@")),
        (Jid.parse, fill("\\20", "", "@h")),
        (Jid.parse, fill("é", "", "@h")),
        (Jid.parse, fill("a ", "h/", "\x00")),
        *(
            (Jid.parse, f"{before}{ch * 2550}{after}")
            for ch in "\u0660\u06f0\u30fb\u00b7"
            for before, after in (("h/", ""), ("", "\u30ab@h"))
        ),
        (Jid.parse, "h/" + "\u0660" * 64 + "é" * 4000),
        (unescape_local, fill("\\5c")),
        (unescape_local, fill("\\")),
        (jid_from_xmpp_uri, fill("%40", "xmpp:", "@h")),
        (ContentType.parse, fill(";a=b", "text/plain")),
        (ContentType.parse, numbered(";a{}=b").join(["text/plain", ""])),
        (ContentType.parse, fill("\\\\", 'text/plain;a="')),
        (ContentType.parse, fill("(", "text/plain")),
        (ContentType.parse, fill(" ", "text/plain", ";")),
        (ContentType.parse, fill("(a)", "text/plain ")),
        (lambda text: Entity.parse(text.encode()), fill("A: b\r\n")),
        (lambda text: Entity.parse(text.encode()), fill("\r\n ", "A: b")),
        (lambda text: Entity.parse(text.encode()), fill("\n\r", "A: b")),
        (lambda text: Entity.parse(text.encode()), fill(" ", "A: b", "\x00")),
        (multipart, fill("--x\r\n")),
        (multipart, fill("--x\r\n\r\n\r\n")),
        (multipart, fill("\r\n--")),
        (multipart, fill("\r", "--x\r\n")),
        (quoted_printable, fill(" ")),
        (quoted_printable, fill("= ")),
        (quoted_printable, fill(" \n")),
        (cpim, fill("A: b\r\n", "", END)),
        (cpim, numbered("NS: a{} <b:c>\r\n") + END),
        (cpim, numbered("NS: a{} <b:c>\r\nRequire: a{}.x\r\n") + END),
        (cpim, fill("a.b,", "Require: ", END)),
        (cpim, numbered("a{}.b: c\r\n") + END),
        (cpim, fill("Content-X: y\r\n", "", END)),
        (cpim, fill("A: b\n", "", END)),
        (cpim, fill("A : b\r\n", "", END)),
        (cpim, fill("\\", "Subject: ", END)),
        (cpim, fill("\\ud83d", "Subject: ", END)),
        (cpim, fill(";a=b", "Subject:", END)),
        (cpim, fill('";a="', 'Subject:;a="', END)),
        (cpim, fill("\\\\", 'Subject:;a="', END)),
        (cpim, fill("a.", "", ": x" + END)),
        (cpim, fill(" ", "A: b", "c" + END)),
        (strict_cpim, fill("a ", "From: ", "<" + END)),
        (strict_cpim, fill("\\", 'From: "', END)),
        (strict_cpim, fill("a", "From: <im:", END)),
        (strict_cpim, fill("a", "NS: ", END)),
        (strict_cpim, fill('""', "From: ", END)),
        (CpimAddress.parse, fill("<")),
        (CpimAddress.parse, fill('"')),
        (CpimAddress.parse, fill("a:", "<a:", ">")),
        (lambda text: str(CpimAddress(text, "a:b")), fill("a ")),
        (lambda text: str(CpimAddress(text, "a:b")), fill("a", "", "(")),
        (lambda text: compose([("From", text)], Entity.compose([("Content-Type", "a/b")], b"")).headers, fill('"\\\x00', '"', '" <a:b>')),
        (lambda text: sipfrag.parse(text.encode()), fill("A: b\r\n", "SIP/2.0 200 OK\r\n")[:octets]),
        (lambda text: sipfrag.parse(text.encode()), fill(";tag=a", "SIP/2.0 200 OK\r\nTo: a")[:octets]),
        (lambda text: sipfrag.parse(text.encode()), fill("a@", "SIP/2.0 200 OK\r\nCall-ID: ")[:octets]),
        (lambda text: sipfrag.parse(text.encode()), fill("%0d", "SIP/2.0 200 ")[:octets]),
        (lambda text: sipfrag.parse(text.encode()), fill(" ", "X: a", "b")[:octets]),
        (lambda text: sipfrag.parse(text.encode()), fill("\r\n ", "X: a")[:octets]),
        (lambda text: sipfrag.parse(text.encode()), fill("<sip:a@b>;q=1 , ", "Contact: ")[:octets]),
        (lambda text: sipfrag.parse(text.encode()), fill('"\\"', "Contact: ")[:octets]),
        (lambda text: sipfrag.parse(text.encode()), fill('SIP/2.0/UDP h;a="x', "Via: ")[:octets]),
    ]


CASES = [(parse, short, long) for (parse, short), (_, long) in zip(cases(OCTETS // 4), cases(OCTETS), strict=True)]


@pytest.mark.requirement("REL-28", "SEC-34")
@pytest.mark.parametrize(("parse", "short", "long"), CASES, ids=[f"{at}-{text[:24]!a}" for at, (_, _, text) in enumerate(CASES)])
def test_the_largest_input_is_read_or_refused_at_once(parse: Callable[[str], object], short: str, long: str) -> None:
    def read(text: str) -> None:
        with suppress(GatewayError):
            parse(text)

    assert growth(read, short, long) < LINEAR
    assert seconds(lambda: read(long), SECONDS) < SECONDS
