"""Everything that a message shows: html, several parts, links, files, places, encoded bodies; both ways on the wire."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from xml.etree.ElementTree import Element, fromstring

import pytest

from gateway.core.mime import ContentType, Entity, split_multipart
from tests.bridge import Bridge
from tests.bridge import bridge as start
from tests.conformance.bodies import BOUNDARY, EXTERNAL, FILE_TRANSFER, LOCATION, PLAIN, RICH, URL, file_transfer, location, multipart
from tests.conformance.talk import ACCEPT, Talk, conversation, rows, status_of

pytestmark = pytest.mark.interop
XHTML = "{http://www.w3.org/1999/xhtml}"
RICH_BODY = f"{{http://jabber.org/protocol/xhtml-im}}html/{XHTML}body"
OOB = "{jabber:x:oob}"
PICTURE = "Content-Type: image/png\r\n\r\nPNG"
MIXED, ALTERNATIVE = f"multipart/mixed; boundary={BOUNDARY}", f"multipart/alternative; boundary={BOUNDARY}"


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    """A bridge whose SIP side takes html and may send encoded bodies."""
    with start(tmp_path_factory.mktemp("rich"), tables='[[route]]\ndomain = "stoxgate.test"\nhtml = true\ndecode = true\n') as it:
        yield it


async def heard(it: Talk) -> Element:
    return fromstring(await it.hears())


def body_of(stanza: Element) -> str | None:
    return stanza.findtext("{*}body")


def links_of(stanza: Element) -> list[tuple[str | None, str | None]]:
    return [(each.findtext(f"{OOB}url"), each.findtext(f"{OOB}desc")) for each in stanza.iterfind(f"{OOB}x")]


def cpim(inner: str) -> bytes:
    return f"From: <im:romeo@stoxgate.test>\r\nTo: <im:u0@xmpp.test>\r\n\r\n{inner}".encode()


# -- SIP to XMPP -----------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("IMSG-18", "XEP-10")
@pytest.mark.parametrize("wrapped", [False, True], ids=["bare", "cpim"])
@conversation()
async def test_html_is_xhtml_im_and_a_body(it: Talk, wrapped: bool) -> None:
    html = '<p onclick="x()">See <b>this</b>&nbsp;<a href="javascript:y">link</a></p><script>z</script>'
    sent = await it.says(*((cpim(f"Content-Type: text/html\r\n\r\n{html}"), "message/cpim") if wrapped else (html.encode(), "text/html")))
    assert sent.status == 202
    stanza = await heard(it)
    assert body_of(stanza) == "See this link"
    paragraph = stanza.find(f"{RICH_BODY}/{XHTML}p")
    assert paragraph is not None
    assert paragraph.attrib == {}
    assert [(each.tag.removeprefix(XHTML), each.text, each.tail, each.attrib) for each in paragraph] == [
        ("strong", "this", "\N{NO-BREAK SPACE}", {}),
        ("a", "link", None, {}),
    ]
    assert len(stanza.findall(f"{RICH_BODY}//*")) == 3


@pytest.mark.requirement("IMSG-20", "ICPIM-28")
@pytest.mark.parametrize("wrapped", [False, True], ids=["bare", "cpim"])
@conversation()
async def test_of_alternatives_text_and_html_are_both_shown(it: Talk, wrapped: bool) -> None:
    body = multipart(PLAIN, RICH, PICTURE)
    inner = cpim(f"Content-Type: {ALTERNATIVE}\r\n\r\n{body.decode()}")
    assert (await it.says(*((inner, "message/cpim") if wrapped else (body, ALTERNATIVE)))).status == 202
    stanza = await heard(it)
    assert body_of(stanza) == "said"
    assert stanza.findtext(f"{RICH_BODY}/{XHTML}p/{XHTML}strong") == "so"


@pytest.mark.requirement("MSG-35", "IMSG-20")
@pytest.mark.parametrize("disposition", ["Content-Disposition: render;handling=optional", "Content-Disposition: x; handling=OPTIONAL"])
@conversation()
async def test_an_optional_part_is_left_out(it: Talk, disposition: str) -> None:
    assert (await it.says(multipart(f"{disposition}\r\n{PICTURE}", PLAIN), MIXED)).status == 202
    stanza = await heard(it)
    assert (body_of(stanza), len(stanza.findall("{*}body"))) == ("said", 1)


@pytest.mark.requirement("MSG-35", "IMSG-20", "IMSG-21")
@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (multipart(PLAIN, PICTURE), MIXED),
        (multipart(f"Content-Disposition: render;handling=required\r\n{PICTURE}", PLAIN), MIXED),
        (multipart(PICTURE), ALTERNATIVE),
        (b"PNG", "image/png"),
        (multipart(PLAIN, "Content-Type: application/pgp-signature\r\n\r\nMII"), MIXED.replace("mixed", "encrypted")),
        (cpim(PICTURE), "message/cpim"),
    ],
)
@conversation()
async def test_what_is_not_carried_is_415_with_all_that_is(it: Talk, body: bytes, content_type: str) -> None:
    answer = await it.asks(it.request(body=body, content_type=content_type))
    assert (status_of(answer), rows(answer, "Accept")) == (415, [ACCEPT])
    await it.hears_nothing()


@pytest.mark.requirement("SEC-34")
@conversation()
async def test_too_many_parts_are_refused(it: Talk) -> None:
    assert (await it.says(multipart(*[PLAIN] * 32), MIXED)).status == 202
    assert (body_of(await heard(it)) or "").split("\n") == ["said"] * 32
    assert 400 <= (await it.says(multipart(*[PLAIN] * 33), MIXED)).status < 500
    deep = PLAIN
    for level in range(8):
        deep = f"Content-Type: multipart/mixed; boundary=c{level}\r\n\r\n" + multipart(deep).decode().replace(BOUNDARY, f"c{level}")
    assert 400 <= (await it.says(multipart(deep), MIXED)).status < 500
    await it.hears_nothing()


@pytest.mark.requirement("XEP-12", "IMSG-20")
@pytest.mark.parametrize(
    ("body", "content_type", "description"),
    [
        (b"Content-Type: video/quicktime\r\n\r\n", EXTERNAL, "video/quicktime (until Fri, 10 Oct 2030 00:00:00 GMT)"),
        (f"# said\r\n{URL}\r\n".encode(), "text/uri-list", None),
    ],
)
@conversation()
async def test_what_is_elsewhere_is_a_link(it: Talk, body: bytes, content_type: str, description: str | None) -> None:
    assert (await it.says(body, content_type)).status == 202
    stanza = await heard(it)
    assert (body_of(stanza), links_of(stanza)) == (URL, [(URL, description)])


@pytest.mark.requirement("RCS-10", "XEP-12")
@pytest.mark.parametrize("wrapped", [False, True], ids=["bare", "cpim"])
@conversation()
async def test_a_file_of_rcs_is_a_link(it: Talk, wrapped: bool) -> None:
    body = file_transfer(name="pot &amp; cesta.mov")
    sent = (cpim(f"Content-Type: {FILE_TRANSFER}\r\n\r\n{body.decode()}"), "message/cpim") if wrapped else (body, FILE_TRANSFER)
    assert (await it.says(*sent)).status == 202
    stanza = await heard(it)
    assert body_of(stanza) == URL
    assert links_of(stanza) == [(URL, "pot & cesta.mov (1234 octets, until 2030-10-10T00:00:00Z)")]


@pytest.mark.requirement("RCS-10")
@conversation()
async def test_a_place_of_rcs_is_text(it: Talk) -> None:
    assert (await it.says(location("pri mostu"), LOCATION)).status == 202
    assert body_of(await heard(it)) == "pri mostu\ngeo:48.731964,-3.45829;u=10"


@pytest.mark.requirement("IMSG-20", "XEP-12")
@conversation()
async def test_a_link_that_is_no_web_page_is_refused(it: Talk) -> None:
    for url in ("javascript:x", "file:///etc/passwd", "data:text/html,x"):
        assert (await it.says(b"\r\n", f'message/external-body; access-type=URL; URL="{url}"')).status == 415
    await it.hears_nothing()


@pytest.mark.requirement("CPIM-08")
@conversation()
async def test_base64_inside_message_cpim_is_read(it: Talk) -> None:
    inner = "Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\nPGI+UHJhdi48L2I+"
    assert (await it.says(cpim(inner), "message/cpim")).status == 202
    assert body_of(await heard(it)) == "Prav."


# -- Content-Encoding ------------------------------------------------------------------------------------------------------
BARE = zlib.compress(b"Prav.")[2:-4]


@pytest.mark.requirement("SEC-33", "IMSG-21", "MSG-33")
@pytest.mark.parametrize(
    ("body", "coding"), [(gzip.compress(b"Prav."), "gzip"), (zlib.compress(b"Prav."), "deflate"), (BARE, "Deflate"), (b"Prav.", "identity")]
)
@conversation(on="rich")
async def test_an_encoded_body_is_decoded_where_the_route_says_so(it: Talk, body: bytes, coding: str) -> None:
    assert (await it.says(body, extra=f"Content-Encoding: {coding}\r\n")).status == 202
    assert body_of(await heard(it)) == "Prav."


@pytest.mark.requirement("SEC-33", "IMSG-21", "MSG-33")
@pytest.mark.parametrize(
    ("body", "coding"),
    [
        (b"x", "br"),
        (gzip.compress(zlib.compress(b"x")), "deflate, gzip"),
        (gzip.compress(bytes(60_000)), "gzip"),
        (zlib.compress(bytes(10**6)), "deflate"),
    ],
)
@conversation(on="rich")
async def test_another_coding_or_too_much_is_415(it: Talk, body: bytes, coding: str) -> None:
    answer = await it.asks(it.request(body=body, extra=f"Content-Encoding: {coding}\r\n"))
    assert (status_of(answer), rows(answer, "Accept-Encoding"), rows(answer, "Accept")) == (415, ["gzip, deflate, identity"], [])
    await it.hears_nothing()


@pytest.mark.requirement("SEC-33")
@conversation(on="rich")
async def test_what_is_no_gzip_is_400_and_options_names_the_codings(it: Talk) -> None:
    assert (await it.says(b"Prav.", extra="Content-Encoding: gzip\r\n")).status == 400
    answer = await it.asks(it.request("OPTIONS", body=b""))
    assert (rows(answer, "Accept-Encoding"), rows(answer, "Accept")) == (["gzip, deflate, identity"], [ACCEPT])


# -- XMPP to SIP -----------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("XEP-12")
@pytest.mark.parametrize(
    ("content", "body"),
    [
        (f"<body>{URL}</body>", URL),
        ("<body>Glej</body>", f"Glej\r\n{URL}"),
        ("", URL),
    ],
)
@conversation()
async def test_out_of_band_data_is_told_in_the_text(it: Talk, content: str, body: str) -> None:
    escaped = URL.replace("&", "&amp;")
    it.writes(f"{content.replace(URL, escaped)}<x xmlns='jabber:x:oob'><url>{escaped}</url></x>")
    request = await it.receives()
    assert (request.body.decode(), rows(request, "Content-Type")) == (body, ["text/plain;charset=UTF-8"])


SENT = (
    "<body>Prav tako.</body><html xmlns='http://jabber.org/protocol/xhtml-im'><body xmlns='http://www.w3.org/1999/xhtml'>"
    "<p onclick='x'>Prav <em>tako</em>.</p></body></html>"
)


@pytest.mark.requirement("IMSG-19")
@conversation()
async def test_markup_stays_behind_where_the_route_has_no_html(it: Talk) -> None:
    it.writes(SENT)
    request = await it.receives()
    assert (request.body, rows(request, "Content-Type")) == (b"Prav tako.", ["text/plain;charset=UTF-8"])


@pytest.mark.requirement("IMSG-19", "XEP-10")
@conversation(on="rich")
async def test_markup_goes_beside_the_text_where_the_route_has_html(it: Talk) -> None:
    it.writes(SENT, "xml:lang='sl'")
    request = await it.receives()
    kind = ContentType.parse(rows(request, "Content-Type")[0])
    assert (kind.essence, rows(request, "Content-Language")) == ("multipart/alternative", ["sl"])
    parts = split_multipart(Entity.compose([("Content-Type", str(kind))], request.body))
    assert [(str(each.content_type), each.content) for each in parts] == [
        ("text/plain; charset=utf-8", b"Prav tako."),
        ("text/html; charset=utf-8", b"<p>Prav <em>tako</em>.</p>"),
    ]
    it.writes("<body>Prav.</body>")
    assert rows(await it.receives(), "Content-Type") == ["text/plain;charset=UTF-8"]


@pytest.mark.requirement("IMSG-19", "IMSG-27")
@conversation(on="rich")
async def test_markup_for_which_there_is_no_room_stays_behind(it: Talk) -> None:
    it.writes(SENT.replace("Prav", "Prav" * 120))
    request = await it.receives()
    assert (request.body.decode(), rows(request, "Content-Type")) == ("Prav" * 120 + " tako.", ["text/plain;charset=UTF-8"])
