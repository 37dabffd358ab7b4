"""Whatever octets come, a parser reads them or says no by its own kind of error, at once, and the same for any chunking."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from xml.etree.ElementTree import tostring

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core import sipfrag
from gateway.core.cpim import CpimAddress, CpimMessage
from gateway.core.dates import parse_rfc3339, parse_sip_date
from gateway.core.envelope import Envelope
from gateway.core.errors import Refusal, SyntaxFault
from gateway.core.jid import Jid, jid_from_xmpp_uri
from gateway.core.mime import ContentType, Entity, mime_parts
from gateway.core.uri import Uri
from gateway.sip.framing import Bad, StreamFramer
from gateway.sip.message import BadMessage, parse
from gateway.sip.section import View
from gateway.xmpp.parser import StreamParser
from gateway.xmpp.stream import StreamFault

from ..cost import seconds
from ..vectors import OWN, load
from .world import STREAM, cases

SECONDS = 0.5
"""For the largest input, of the processor; REL-28 grants a fifth of it, and what is not linear takes many times longer."""
LARGEST = 65_536

CPIM = (
    b'From: "A \\"B\\"" <im:a@sip.example>\r\nTo: <im:b@xmpp.example>\r\nDateTime: 2026-02-03T09:16:00Z\r\nSubject:;lang=fr \\u00e7a\r\n'
    b"NS: x <urn:ietf:params:imdn>\r\nx.Message-ID: 1\r\nRequire: x.Message-ID\r\n\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Content-Transfer-Encoding: quoted-printable\r\n\r\nPrav=2E\r\n"
)
MULTIPART = (
    b'Content-Type: multipart/signed; boundary="b b" (c(o)m);\r\n micalg=sha1\r\n\r\npre\r\n--b b\r\n\r\none\r\n--b b\r\n'
    b"Content-Type: multipart/digest; boundary=c\r\n\r\n--c\r\n\r\nA: b\r\n\r\ntwo\r\n--c--\r\n--b b--\r\npost"
)
FRAGMENT = b"SIP/2.0 404 Not%20Found\r\nFrom: <sip:a@h>;tag=1\r\ni: 1@h\r\nCSeq: 1 MESSAGE\r\nDate: Sat, 13 Nov 2010 23:29:00 GMT\r\n"
STANZAS = (
    STREAM + b"<message from='a@h/r' to='b@i' xml:lang='de'><body>x &amp; &#13;<![CDATA[<]]></body><a xmlns='urn:a'><b c:d='e' "
    b"xmlns:c='urn:c'/></a></message><iq type='get' id='1'/></stream:stream>"
)
KEPT = (
    b"From: <sip:a@sip.example;gr=x>\r\nTo: <xmpp:b@xmpp.example/r>\r\nNS: gw <urn:uuid:5f1d1c8e-6f0e-4c1b-9a53-0d6e8f2a7b41>\r\n"
    b"gw.Id: 1\r\ngw.Trace: t\r\ngw.Received: 1770110160.25\r\ngw.Peer: p\r\ngw.Origin-Stanza: 1\r\ngw.Origin-Type: chat\r\n"
    b"gw.Origin-Sender: a@h\r\ngw.Origin-Recipient: b@i\r\n\r\nContent-Type: message/cpim\r\n\r\n" + CPIM
)
SIP = tuple(case.data for case in load(OWN))


# -- what is read, and the errors that may come -------------------------------------------------------------------------
def read_sip(data: bytes) -> None:
    for stream in (False, True):
        message = parse(data, stream=stream)
        for owner in type(message).__mro__:
            for name, view in vars(owner).items():
                if isinstance(view, View | property):
                    with suppress(BadMessage):
                        getattr(message, name)
        message.check()


def read_frames(data: bytes) -> None:
    for item in StreamFramer().feed(data):
        if isinstance(item, bytes):
            read_sip(item)


def read_stanzas(data: bytes) -> None:
    parser = StreamParser()
    parser.feed(data)
    for _, element in parser.read_events():
        tostring(element)


def read_cpim(data: bytes) -> None:
    for strict in (False, True):
        message = CpimMessage.parse(data, strict=strict)
        assert b"".join(message.slices) == data
        assert message.subjects is not None
        assert message.required is not None
        for each in message.values("From") + message.values("To"):
            CpimAddress.parse(each)
        read_entity(message.entity.raw)


def read_entity(data: bytes) -> None:
    for part in mime_parts(Entity.parse(data)):
        if part.entity.content_type.type == "text":
            part.entity.text()
        part.entity.decoded()


def read_text(parse_text: Callable[[str], object]) -> Callable[[bytes], object]:
    return lambda data: parse_text(data.decode("utf-8", "surrogateescape"))


Reader = Callable[[bytes], object]
READERS: dict[str, tuple[Reader, tuple[type[Exception], ...], tuple[bytes, ...]]] = {
    "sip": (read_sip, (BadMessage,), SIP),
    "framing": (read_frames, (BadMessage,), (SIP[0] + SIP[1], b"\r\n\r\n" + SIP[0] + b"\r\n")),
    "xmpp": (read_stanzas, (StreamFault,), (STANZAS,)),
    "cpim": (read_cpim, (SyntaxFault, Refusal), (CPIM,)),
    "mime": (read_entity, (SyntaxFault, Refusal), (MULTIPART,)),
    "sipfrag": (lambda data: (sipfrag.parse(data, strict=False), sipfrag.parse(data)), (SyntaxFault,), (FRAGMENT,)),
    "stored": (Envelope.from_cpim, (SyntaxFault,), (KEPT,)),
    "content-type": (read_text(ContentType.parse), (SyntaxFault,), (b'text/plain ; charset="utf\\-8" (c)',)),
    "uri": (read_text(lambda text: (Uri.parse(text).address, Uri.parse(text).device)), (SyntaxFault,),
            (b"sip:a%40b:p@[2001:db8::1]:5060;gr=%C3%A9;lr?Subject=x", b"im:o%27malley@h.example", b"tel:+1-201")),
    "jid": (read_text(Jid.parse), (SyntaxFault,), ("é\\20b@xn--bcher-kva.example/Büro".encode(), b"a@[::1]/b")),
    "xmpp-uri": (read_text(jid_from_xmpp_uri), (SyntaxFault,), (b"xmpp://x/a%5c20b@h/r%2F?message;body=x#f",)),
    "dates": (read_text(parse_rfc3339), (SyntaxFault,), (b"2016-12-31T23:59:60.123456789Z", b"2026-02-03 09:16:00-23:59")),
    "sip-date": (read_text(parse_sip_date), (SyntaxFault,), (b"Sat, 13 Nov 2010 23:29:00 GMT",)),
}  # fmt: skip

# -- hostile octets ----------------------------------------------------------------------------------------------------
PIECES = st.sampled_from([
    b"", b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\r\n ", b"\0", b'"', b"\\", b"<", b">", b";", b",", b":", b"=", b"@", b"/", b"%", b"%00",
    b"%ff", b" ", b"$", b"?", b"*", b"\t", b"(", b")", b"--", b"[", b"]", b".", b"\xff", b"\xc3", b"\xe2\x80\xa8",
    b"\xed\xa0\x80", b"\xef\xbf\xbe", b"\\ud800",
    b"9" * 20, b"-1", b"0", b"&#0;", b"&x;", b"<!DOCTYPE a>", b"<!--", b"<a>", b"</a>", b"]]>", b"Content-Length: 5\r\n",
    b"Via: ", b"xn--", b"sip:", b"NS: a <b:c>\r\n", b"Content-Type: message/cpim\r\n", b";tag=1", b"multipart/mixed; boundary=a",
    "\u0130\u00df\u00ad".encode(),
]) | st.binary(max_size=6)  # fmt: skip
EDITS = st.lists(st.tuples(st.integers(0, 4095), st.integers(0, 40), PIECES, st.booleans()), max_size=5)


def changed(sample: bytes, edits: list[tuple[int, int, bytes, bool]]) -> bytes:
    """The sample with parts replaced, or repeated, by such pieces."""
    for place, length, piece, doubles in edits:
        at = place % (len(sample) + 1)
        sample = sample[:at] + piece + sample[at if doubles else at + length :]
    return sample


@pytest.mark.requirement("SEC-34", "SIP-31")
@pytest.mark.parametrize("name", READERS)
def test_nothing_but_its_own_error(name: str) -> None:
    read, errors, samples = READERS[name]

    @cases(0.05)
    @given(st.binary(max_size=80) | st.builds(changed, st.sampled_from(samples), EDITS))
    def holds(data: bytes) -> None:
        is_read(read, errors, data)

    holds()


def is_read(read: Reader, errors: tuple[type[Exception], ...], data: bytes) -> bool:
    """Whether it is read."""
    try:
        read(data)
    except errors:
        return False
    return True


@pytest.mark.parametrize("name", [name for name in READERS if name not in ("sip", "framing", "cpim")])
def test_the_samples_are_good(name: str) -> None:
    read, errors, samples = READERS[name]
    assert all(is_read(read, errors, sample) for sample in samples)


@pytest.mark.requirement("REL-28")
@pytest.mark.parametrize("name", READERS)
def test_the_largest_input_takes_no_longer_than_its_size(name: str) -> None:
    """A part of a good sample, or a piece, as often as it fits, between the two ends of the sample."""
    read, errors, samples = READERS[name]

    @cases(0.01)
    @given(st.sampled_from(samples), st.integers(0, 4095), st.integers(0, 30), st.lists(PIECES, max_size=3).map(b"".join))
    def holds(sample: bytes, place: int, length: int, pieces: bytes) -> None:
        at = place % (len(sample) + 1)
        piece = sample[at : at + length] + pieces or b"a"
        data = sample[: at + length] + piece * ((LARGEST - len(sample)) // len(piece)) + sample[at + length :]
        assert seconds(lambda: is_read(read, errors, data), SECONDS) < SECONDS

    holds()


# -- chunking ------------------------------------------------------------------------------------------------------------
CUTS = st.lists(st.integers(1, 60), min_size=1, max_size=6)


def chunks(data: bytes, sizes: list[int]) -> list[bytes]:
    found, at, turn = [], 0, 0
    while at < len(data):
        found.append(data[at : at + sizes[turn % len(sizes)]])
        at, turn = at + sizes[turn % len(sizes)], turn + 1
    return found


@pytest.mark.requirement("SIP-41", "SIP-43")
@cases(0.1)
@given(st.lists(st.sampled_from([*SIP, b"\r\n\r\n", b"\r\n"]), max_size=3).map(b"".join), EDITS, CUTS)
def test_frames_do_not_depend_on_the_chunks(data: bytes, edits: list[tuple[int, int, bytes, bool]], sizes: list[int]) -> None:
    data = changed(data, edits)
    whole, framer = StreamFramer().feed(data), StreamFramer()
    pieces = [item for chunk in chunks(data, sizes) for item in framer.feed(chunk)]

    def told(item: object) -> object:
        return ("bad", item.fault.what, item.fault.status) if isinstance(item, Bad) else item

    assert [told(item) for item in pieces] == [told(item) for item in whole]


@pytest.mark.requirement("SEC-30")
@cases(0.1)
@given(EDITS, CUTS)
def test_stanzas_do_not_depend_on_the_chunks(edits: list[tuple[int, int, bytes, bool]], sizes: list[int]) -> None:
    data = changed(STANZAS, edits)
    assert events(chunks(data, sizes)) == events([data])


def events(parts: list[bytes]) -> list[tuple[str, bytes]]:
    parser = StreamParser()
    found: list[tuple[str, bytes]] = []
    try:
        for part in parts:
            parser.feed(part)
            for event, element in parser.read_events():
                found.append((event, tostring(element)))
    except StreamFault as fault:
        found.append(("fault", fault.condition.encode()))
    return found
