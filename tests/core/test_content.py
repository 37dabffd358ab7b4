"""What a MIME entity shows (gateway/core/content.py)."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core import markup
from gateway.core.content import MOST_LINKS, Content, Link, content_of, known_content
from gateway.core.errors import GatewayError, Refusal, SyntaxFault
from gateway.core.markup import MOST_READ
from gateway.core.mime import Entity
from gateway.core.text import crlf
from tests.cost import LINEAR, growth

PLAIN = "Content-Type: text/plain\r\n\r\nPlain."
RICH = "Content-Type: text/html\r\n\r\n<p>Rich <b>text</b></p>"
PICTURE = "Content-Type: image/png\r\n\r\nPNG"
OPTIONAL = "Content-Disposition: render;handling=optional\r\n"
XHTML = "<p>Rich <strong>text</strong></p>"


def entity(kind: str, content: str, **headers: str) -> Entity:
    named = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return Entity.compose([("Content-Type", kind), *named], crlf(content).encode())


def multipart(subtype: str, *parts: str, **headers: str) -> Entity:
    content = "".join(f"--b1\r\n{part}\r\n" for part in parts) + "--b1--\r\n"
    named = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return Entity.compose([("Content-Type", f"multipart/{subtype}; boundary=b1"), *named], content.encode())


def refusal(of: Entity) -> str:
    with pytest.raises(Refusal) as caught:
        content_of(of)
    return caught.value.key


# -- text ---------------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("ICPIM-28", "ICPIM-29")
def test_plain_text_in_its_charset() -> None:
    latin = Entity.compose([("Content-Type", "text/plain; charset=iso-8859-1"), ("Content-Language", "sl, en")], b"Pot\xeb\r\n2")
    assert content_of(latin) == Content("Potë\n2", "sl")
    assert refusal(entity("text/plain; charset=x-nope", "a")) == "charset-unknown"


@pytest.mark.requirement("CPIM-08")
def test_transfer_encoding_is_undone_to_read() -> None:
    assert content_of(entity("text/html", "PGI+UHJhdi48L2I+", Content_Transfer_Encoding="base64")) == Content(
        "Prav.", "", "<strong>Prav.</strong>"
    )


@pytest.mark.requirement("IMSG-18")
def test_html_is_markup_and_text() -> None:
    assert content_of(entity("text/html", "<p>a</p><p>b</p>", Content_Language="cs")) == Content("a\nb", "cs", "<p>a</p><p>b</p>")


@pytest.mark.requirement("ICPIM-28", "IMSG-20")
@pytest.mark.parametrize("kind", ["image/png", "text/calendar", "message/rfc822", "multipart/signed; boundary=b1"])
def test_what_is_not_carried_is_refused(kind: str) -> None:
    assert refusal(entity(kind, f"--b1\n{PLAIN}\n--b1--\n")) == "type-unsupported"


# -- multiparts ---------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("IMSG-20")
@pytest.mark.parametrize("parts", [(PLAIN, RICH), (RICH, PLAIN), (PLAIN, RICH, PICTURE)])
def test_alternatives_of_text_and_html_are_both_kept(parts: tuple[str, ...]) -> None:
    assert content_of(multipart("alternative", *parts)) == Content("Plain.", "", XHTML)


@pytest.mark.requirement("IMSG-20")
def test_of_alternatives_what_is_carried_is_taken() -> None:
    assert content_of(multipart("alternative", PLAIN, PICTURE)) == Content("Plain.")
    assert content_of(multipart("alternative", PICTURE, RICH)) == Content("Rich text", "", XHTML)
    assert content_of(multipart("alternative", PLAIN, PLAIN.replace("Plain", "Better"))) == Content("Better.")
    assert refusal(multipart("alternative", PICTURE)) == "type-unsupported"


@pytest.mark.requirement("MSG-35", "IMSG-20")
def test_an_optional_part_that_is_not_carried_is_left_out() -> None:
    assert content_of(multipart("mixed", OPTIONAL + PICTURE, PLAIN)) == Content("Plain.")
    assert content_of(multipart("mixed", PLAIN, f"Content-Disposition: attachment; filename=x; HANDLING=Optional\r\n{PICTURE}")) == Content(
        "Plain."
    )
    assert content_of(multipart("mixed", OPTIONAL + PICTURE)) == Content()


@pytest.mark.requirement("MSG-35", "IMSG-20")
@pytest.mark.parametrize(
    "disposition",
    [
        "",
        "Content-Disposition: render\r\n",
        "Content-Disposition: x;handling=required\r\n",
        "Content-Disposition: x; handling=optional; y\r\n",
    ],
)
def test_a_required_part_that_is_not_carried_refuses_all(disposition: str) -> None:
    assert refusal(multipart("mixed", PLAIN, disposition + PICTURE)) == "type-unsupported"


@pytest.mark.requirement("MSG-35")
def test_a_part_that_is_not_to_be_shown_is_not() -> None:
    assert refusal(multipart("mixed", f"Content-Disposition: session\r\n{PLAIN}")) == "type-unsupported"
    assert content_of(multipart("mixed", f"Content-Disposition: session;handling=optional\r\n{PLAIN}", RICH)).text == "Rich text"


CPIM = "From: <im:tomas@sip.example>\r\nTo: <im:mira@xmpp.example>\r\n\r\n"


def test_a_message_in_a_message_is_shown() -> None:
    wrapped = f"Content-Type: message/cpim\r\n\r\n{CPIM}{RICH}"
    assert content_of(multipart("mixed", wrapped)).html == XHTML
    assert content_of(entity("message/cpim", f"{CPIM}{wrapped}")).text == "Rich text"


@pytest.mark.requirement("SEC-34")
def test_messages_in_messages_are_bounded() -> None:
    wrapped = PLAIN
    for _ in range(2000):
        wrapped = f"Content-Type: message/cpim\r\n\r\n{CPIM}{wrapped}"
    assert refusal(Entity.parse(wrapped.encode())) == "mime-limits"


def test_all_parts_that_are_carried_are_shown_in_order() -> None:
    nested = multipart("alternative", PLAIN.replace("Plain", "Other"), RICH).raw.decode().replace("b1", "b2")
    assert content_of(multipart("mixed", PLAIN, nested)) == Content("Plain.\nOther.", "", f"Plain.{XHTML}")
    assert content_of(multipart("parallel", PLAIN, PLAIN, Content_Language="en")) == Content("Plain.\nPlain.", "en")


@pytest.mark.requirement("SEC-34")
def test_bounds_of_a_multipart() -> None:
    assert content_of(multipart("mixed", *[PLAIN] * 31)).text.count("\n") == 30
    assert refusal(multipart("mixed", *[OPTIONAL + PLAIN] * 33)) == "mime-limits"
    inner = PLAIN
    for level in range(8):
        inner = multipart("mixed", inner).raw.decode().replace("b1", f"c{level}")
    assert refusal(Entity.parse(inner.encode())) == "mime-limits"


# -- links --------------------------------------------------------------------------------------------------------------
PHANTOM = "Content-Type: image/jpeg\nContent-Disposition: attachment; filename=menu.jpg\n\nnothing"
WHERE = 'message/external-body; access-type="URL"; URL="http://www.example.com/ the-indirect-content"'


@pytest.mark.requirement("XEP-12", "IMSG-20")
def test_external_body_is_a_link() -> None:
    whole = entity(f'{WHERE}; expiration="Mon, 24 June 2002 09:00:00 GMT"; size=4123', PHANTOM)
    described = "menu.jpg (4123 octets, until Mon, 24 June 2002 09:00:00 GMT)"
    assert content_of(whole).links == (Link("http://www.example.com/the-indirect-content", described),)
    assert content_of(entity(WHERE, "Content-Type: image/jpeg\n\n")).links[0].description == "image/jpeg"
    foreign = PHANTOM.replace("filename=menu.jpg", "filename*=UTF-8''jedi%C4%8D.jpg")
    assert content_of(entity(WHERE, foreign)).links[0].description == "jedič.jpg"
    assert content_of(entity(WHERE, "")).body == "http://www.example.com/the-indirect-content"


@pytest.mark.requirement("IMSG-20")
@pytest.mark.parametrize(
    "kind",
    [
        "message/external-body; access-type=ftp; site=x; name=y",
        'message/external-body; access-type=URL; URL="javascript:x"',
        'message/external-body; access-type=URL; URL="file:///etc/passwd"',
        "message/external-body; access-type=URL",
        f'message/external-body; access-type=URL; URL="http://x.example/{"a" * 2048}"',
    ],
)
def test_an_external_body_that_is_no_web_page_is_refused(kind: str) -> None:
    assert refusal(entity(kind, PHANTOM)) == "type-unsupported"


@pytest.mark.requirement("XEP-12", "IMSG-20")
def test_uri_list_is_links() -> None:
    listed = entity("text/uri-list", "# comment\nhttps://x.example/#1\n\n mailto:a@b \nhttp://y.example/\n")
    assert content_of(listed) == Content("mailto:a@b", "", "", (Link("https://x.example/#1"), Link("http://y.example/")))
    assert content_of(listed).body == "mailto:a@b\nhttps://x.example/#1\nhttp://y.example/"
    assert refusal(entity("text/uri-list", "http://x.example/\n" * (MOST_LINKS + 1))) == "mime-limits"


def test_text_and_link_in_one_message() -> None:
    """RFC 4483 section 5.11."""
    there = f"Content-Type: {WHERE}\r\n\r\nContent-Type: text/html\r\nContent-Disposition: render\r\n\r\n"
    mixed = content_of(multipart("mixed", "Content-Type: text/plain; charset=us-ascii\r\n\r\nThe announcement follows:", there))
    assert mixed.body == "The announcement follows:\nhttp://www.example.com/the-indirect-content"
    rich = content_of(multipart("mixed", RICH, there))
    assert rich.xhtml == f'{XHTML}<a href="http://www.example.com/the-indirect-content">text/html</a>'


# -- RCS ----------------------------------------------------------------------------------------------------------------
FILE = """<?xml version="1.0" encoding="UTF-8"?>
<file xmlns="urn:gsma:params:xml:ns:rcs:rcs:fthttp">
<file-info type="thumbnail"><file-size>9</file-size><data url="https://x.example/thumb" until="2026-10-10T00:00:00Z"/></file-info>
<file-info type="file"><file-size>123456</file-size><file-name>pot.mov</file-name><content-type>video/quicktime</content-type>
<data url="https://x.example/file?id=1&amp;k=2" until="2026-10-10T00:00:00Z"/></file-info>
</file>"""
PLACE = """<rcsenvelope xmlns="urn:gsma:params:xml:ns:rcs:rcs:geolocation" xmlns:gp="urn:ietf:params:xml:ns:pidf:geopriv10"
 xmlns:gml="http://www.opengis.net/gml" xmlns:gs="http://www.opengis.net/pidflo/1.0" entity="tel:+12345678901">
<rcspushlocation id="a123" label="meeting location"><gp:geopriv><gp:location-info><gs:Circle srsName="urn:ogc:def:crs:EPSG::4326">
<gml:pos>48.731964 -3.45829</gml:pos><gs:radius uom="urn:ogc:def:uom:EPSG::9001">10</gs:radius></gs:Circle></gp:location-info></gp:geopriv>
</rcspushlocation></rcsenvelope>"""


@pytest.mark.requirement("RCS-10", "XEP-12")
def test_file_transfer_is_a_link() -> None:
    shown = content_of(entity("application/vnd.gsma.rcs-ft-http+xml", FILE))
    assert shown.links == (Link("https://x.example/file?id=1&k=2", "pot.mov (123456 octets, until 2026-10-10T00:00:00Z)"),)
    assert shown.body == "https://x.example/file?id=1&k=2"


@pytest.mark.requirement("RCS-10")
def test_file_transfer_that_nobody_could_open_is_refused() -> None:
    locked = FILE.replace("</file-name>", "</file-name><file-key>a2V5</file-key>")
    assert refusal(entity("application/vnd.gsma.rcs-ft-http+xml", locked)) == "type-unsupported"
    assert (
        refusal(entity("application/vnd.gsma.rcs-ft-http+xml", FILE.replace("https://x.example/file", "ftp://x.example/file")))
        == "type-unsupported"
    )


@pytest.mark.requirement("RCS-10")
def test_location_is_text_with_coordinates() -> None:
    assert content_of(entity("application/vnd.gsma.rcspushlocation+xml", PLACE)) == Content("meeting location\ngeo:48.731964,-3.45829;u=10")


@pytest.mark.parametrize(
    ("kind", "xml"),
    [
        ("rcs-ft-http", "<file/>"),
        ("rcs-ft-http", "<file xmlns='urn:gsma:params:xml:ns:rcs:rcs:fthttp'/>"),
        ("rcs-ft-http", FILE.replace('type="file"', 'type="thumbnail"')),
        ("rcs-ft-http", "<!DOCTYPE file [<!ENTITY a 'b'>]>" + FILE.partition("?>")[2]),
        ("rcspushlocation", PLACE.replace("48.731964", "91")),
        ("rcspushlocation", PLACE.replace("48.731964 -3.45829", "here")),
    ],
)
def test_xml_that_says_nothing_is_a_fault(kind: str, xml: str) -> None:
    with pytest.raises(SyntaxFault):
        content_of(entity(f"application/vnd.gsma.{kind}+xml", xml))


# -- hostile ------------------------------------------------------------------------------------------------------------
def nested(octets: int) -> Entity:
    """A multipart in a multipart, seven times, around a text of this size."""
    inner = f"Content-Type: text/html\r\n\r\n{'<p>' * (octets // 3)}"
    for level in range(6):
        inner = multipart("mixed", inner).raw.decode().replace("b1", f"c{level}")
    return Entity.parse(inner.encode())


@pytest.mark.requirement("SEC-34")
def test_cost_is_linear() -> None:
    assert growth(content_of, nested(16_384), nested(65_536)) < LINEAR


@pytest.mark.parametrize(
    "octets", [b"", b"\r\n", b"Content-Type: multipart/mixed; boundary=b\r\n\r\n", b"Content-Type: message/external-body\r\n\r\n\x00"]
)
def test_broken_entities_raise_what_they_may(octets: bytes) -> None:
    with suppress(GatewayError):
        content_of(Entity.parse(octets))


CHANGES = st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 8), st.binary(max_size=6)), min_size=1, max_size=4)
WHOLE = [
    multipart(
        "mixed", PLAIN, RICH, f"Content-Type: {WHERE}\r\n\r\n{crlf(PHANTOM)}", "Content-Type: text/uri-list\r\n\r\nhttp://x.example/"
    ).raw,
    multipart("alternative", PLAIN, f"Content-Type: message/cpim\r\n\r\n{CPIM}{RICH}").raw,
    entity("application/vnd.gsma.rcs-ft-http+xml", FILE).raw,
    entity("application/vnd.gsma.rcspushlocation+xml", PLACE).raw,
]


@given(st.sampled_from(WHOLE), CHANGES)
@settings(deadline=None, max_examples=300)
def test_whatever_comes_only_what_is_announced_is_raised(octets: bytes, changes: list[tuple[int, int, bytes]]) -> None:
    for at, cut, put in changes:
        octets = octets[:at] + put + octets[at + cut :]
    with suppress(GatewayError):
        shown = content_of(Entity.parse(octets))
        assert all(link.url.startswith(("http://", "https://")) and link.url.isprintable() for link in shown.links)
        assert "\r" not in shown.text


def tags_read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Where in their markup the tags begin that are read from now on."""
    read, read_tag = [], markup._tag

    def counted(text: str, begin: int, room: markup.Room) -> tuple[markup.Start | markup.End | None, int]:
        read.append(begin)
        return read_tag(text, begin, room)

    monkeypatch.setattr(markup, "_tag", counted)
    return read


@pytest.mark.requirement("REL-28", "SEC-34")
@pytest.mark.parametrize("subtype", ["mixed", "alternative"])
def test_the_markup_of_all_parts_has_one_bound(subtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    read = tags_read(monkeypatch)
    part = "Content-Type: text/html\r\n\r\n<ol>" + "<li>word" * 200
    shown = content_of(multipart(subtype, *[part] * 31))
    assert len(read) == MOST_READ
    assert shown.text.count("word") == shown.html.count("word") == (31 * 200 if subtype == "mixed" else 200)


@pytest.mark.requirement("REL-28")
def test_what_was_read_last_is_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    read = tags_read(monkeypatch)
    rich = [entity("text/html", f"<p>{number}") for number in range(20)]
    for each in rich:
        assert known_content(each) == known_content(Entity.parse(each.raw)) == content_of(each)
    assert len(read) == 2 * len(rich)
    known_content(rich[0])
    assert len(read) == 2 * len(rich) + 1
