"""The stream parser: bounds, what breaks the stream, and that no cut of the octets matters."""

from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from xml.etree.ElementTree import Element, tostring

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.xmpp.parser import Oversized, StreamParser
from gateway.xmpp.stream import MOST_DEPTH, MOST_ELEMENTS, MOST_STANZA_OCTETS, StreamFault
from tests.cost import LINEAR, growth, seconds
from tests.peers.programs import tree_of

HEADER = (
    b"<?xml version='1.0'?><stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams' "
    b"from='sip.example' id='s1'>"
)
ROOT = Path(__file__).parents[2]
MESSAGE = "{jabber:component:accept}message"
TALK = (
    HEADER
    + b"<handshake/>\n"
    + "<message from='mira@xmpp.example/Büro' xml:lang='cs' id=\"a&apos;b\">".encode()
    + "<body>Ahoj &lt;&amp;&#x1F600; \U0001f600</body></message>".encode()
    + b" <iq type='get' to='sip.example'><ping xmlns='urn:xmpp:ping'/></iq>"
    + b"<message><body><![CDATA[<body>]]></body><x:y xmlns:x='urn:x' x:z='1'/></message></stream:stream>"
)


def fed(*pieces: bytes) -> tuple[list[tuple[str, bytes]], str]:
    """The events as (kind, octets), and the condition of the fault that ended them; "" for none."""
    parser, seen = StreamParser(), []
    try:
        for piece in pieces:
            parser.feed(piece)
            for kind, element in parser.read_events():
                seen.append((kind, tostring(element)))
    except StreamFault as fault:
        return seen, fault.condition
    return seen, ""


def stanzas(*pieces: bytes) -> list[Element]:
    """The whole stanzas behind the header."""
    parser, seen = StreamParser(), []
    for piece in (HEADER, *pieces):
        parser.feed(piece)
        seen += [element for kind, element in parser.read_events() if kind == "end"]
    return seen


def condition(*pieces: bytes) -> str:
    """The stream error that these pieces cause behind the header."""
    return fed(HEADER, *pieces)[1]


# -- what comes out ----------------------------------------------------------------------------------------------------
def test_a_stream_is_its_root_and_its_stanzas() -> None:
    events, fault = fed(TALK)
    assert fault == ""
    assert [kind for kind, _ in events] == ["start", "start", "end", "start", "end", "start", "end", "start", "end", "end"]
    names = [octets.split(b" ")[0] for kind, octets in events if kind == "end"]
    assert [name.rpartition(b":")[2] for name in names] == [b"handshake", b"message", b"iq", b"message", b"stream"]


def test_values_are_what_was_written() -> None:
    _, first, _, last = stanzas(TALK.removeprefix(HEADER).removesuffix(b"</stream:stream>"))
    assert first.tag == MESSAGE
    assert first.attrib == {"from": "mira@xmpp.example/Büro", "{http://www.w3.org/XML/1998/namespace}lang": "cs", "id": "a'b"}
    assert first[0].text == "Ahoj <&\U0001f600 \U0001f600"
    assert last[0].text == "<body>"
    assert last[0].tag == "{jabber:component:accept}body"
    assert (last[1].tag, last[1].attrib) == ("{urn:x}y", {"{urn:x}z": "1"})


def test_text_between_stanzas_is_nothing() -> None:
    first, second = stanzas(b" \n <message/>hello<message/> ")
    assert (first.tail, second.tail) == (None, None)


@pytest.mark.requirement("SEC-31")
@pytest.mark.parametrize(
    "stanza",
    [
        b"<message xmlns='jabber:client'/>",
        b"<x:message xmlns:x='urn:x'/>",
        b"<message xmlns=''/>",
        b"<Message/>",
    ],
)
def test_a_name_is_its_namespace_and_local_part(stanza: bytes) -> None:
    [element] = stanzas(stanza)
    assert element.tag != MESSAGE


@pytest.mark.requirement("SEC-31")
def test_a_namespace_cannot_pretend_to_end() -> None:
    """ "}" stands between the two parts of a name, so no namespace may hold one."""
    assert condition(b"<message xmlns='jabber:component:accept}message'/>") == "not-well-formed"


# -- every cut ---------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("REL-28")
def test_a_stream_cut_at_any_octet_is_the_same_stream() -> None:
    whole = fed(TALK)
    for cut in range(len(TALK)):
        assert fed(TALK[:cut], TALK[cut:]) == whole
    assert fed(*(TALK[at : at + 1] for at in range(len(TALK)))) == whole


@given(st.lists(st.integers(0, len(TALK)), max_size=12))
@settings(deadline=None, max_examples=200)
def test_a_stream_cut_anywhere_is_the_same_stream(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(TALK)]
    assert fed(*(TALK[start:end] for start, end in pairwise(places))) == fed(TALK)


def test_a_stanza_comes_with_its_last_octet() -> None:
    parser = StreamParser()
    parser.feed(HEADER + b"<message><body>hi</body></message")
    assert [kind for kind, _ in parser.read_events()] == ["start"]
    parser.feed(b">")
    assert [kind for kind, _ in parser.read_events()] == ["start", "end"]


@pytest.mark.interop
@pytest.mark.requirement("QOS-01")
def test_an_expat_that_puts_off_what_it_has_seen_a_part_of_puts_off_no_stanza() -> None:
    """The expat of `.peers` does so; it takes the place of the one that this Python came with."""
    expat = (tree_of("prosody").libraries / "libexpat.so.1").resolve()
    code = f"from tests.xmpp.test_parser import late; print(late({str(expat)!r}))"
    run = [sys.executable, "-c", code]
    preloaded = subprocess.run(run, env=os.environ | {"LD_PRELOAD": str(expat)}, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (preloaded.stdout, preloaded.stderr) == ("0\n", "")


def late(library: str) -> int:
    """How many of the stanzas of TALK, each cut in two at every octet, are not handed out with their last octet."""
    assert library in Path("/proc/self/maps").read_text()
    count = 0
    for stanza in TALK.removeprefix(HEADER).removesuffix(b"</stream:stream>").replace(b"><message", b">\n<message").split(b"\n"):
        for cut in range(1, len(stanza)):
            whole, cut_in_two = stanzas(stanza), stanzas(stanza[:cut], stanza[cut:])
            assert whole
            count += len(whole) != len(cut_in_two)
    return count


# -- what breaks the stream --------------------------------------------------------------------------------------------
FORBIDDEN = {
    "dtd": (b"<!DOCTYPE x>", "not-well-formed"),
    "comment": (b"<!-- hello -->", "restricted-xml"),
    "comment inside": (b"<message><!-- hello --><body>x</body></message>", "restricted-xml"),
    "instruction": (b"<?php x?>", "restricted-xml"),
    "instruction inside": (b"<message><?x y?></message>", "restricted-xml"),
    "entity": (b"<message><body>&lol;</body></message>", "not-well-formed"),
    "entity in attribute": (b"<message id='&lol;'/>", "not-well-formed"),
    "second declaration": (b"<?xml version='1.0'?>", "not-well-formed"),
    "crossed": (b"<message><body></message></body>", "not-well-formed"),
    "double attribute": (b"<message id='1' id='2'/>", "not-well-formed"),
    "unbound prefix": (b"<x:message/>", "not-well-formed"),
    "raw control": (b"<message><body>\x01</body></message>", "not-well-formed"),
    "control by number": (b"<message><body>&#1;</body></message>", "not-well-formed"),
    "surrogate by number": (b"<message><body>&#xD800;</body></message>", "not-well-formed"),
    "bad UTF-8": (b"<message><body>\xff</body></message>", "not-well-formed"),
    "overlong": (b"<message><body>\xc0\xbc</body></message>", "not-well-formed"),
    "surrogate as UTF-8": (b"<message><body>\xed\xa0\x80</body></message>", "not-well-formed"),
    "end in CDATA": (b"<message><body>]]></body></message>", "not-well-formed"),
}


@pytest.mark.requirement("SEC-30", "SEC-32")
@pytest.mark.parametrize(("octets", "expected"), FORBIDDEN.values(), ids=FORBIDDEN.keys())
def test_what_a_stream_may_not_hold(octets: bytes, expected: str) -> None:
    """What is whole before it is read, and nothing behind it."""
    events, fault = fed(HEADER + b"<message/>" + octets + b"<message><body>after</body></message>")
    assert fault == expected
    assert [kind for kind, _ in events] == ["start", "start", "end"]


@pytest.mark.requirement("SEC-30")
@pytest.mark.parametrize(
    "doctype",
    [
        b"<!DOCTYPE stream>",
        b"<!DOCTYPE x SYSTEM 'file:///etc/passwd'>",
        b"<!DOCTYPE x [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;'>]>",
        b"<!DOCTYPE x PUBLIC 'a' 'http://127.0.0.1/'>",
    ],
)
def test_a_document_type_is_refused_before_it_means_anything(doctype: bytes) -> None:
    events, fault = fed(b"<?xml version='1.0'?>" + doctype + HEADER.partition(b"?>")[2] + b"<message><body>&b;</body></message>")
    assert (events, fault) == ([], "restricted-xml")


def test_a_fault_is_raised_once_all_before_it_is_handed_out() -> None:
    parser = StreamParser()
    parser.feed(HEADER + b"<message/><message/><!-- -->")
    events = parser.read_events()
    seen: list[str] = []
    with pytest.raises(StreamFault, match="restricted-xml: a comment is not allowed in a stream"):
        seen.extend(kind for kind, _ in events)
    assert seen == ["start", "start", "end", "start", "end"]
    parser.feed(b"<message/>")
    with pytest.raises(StreamFault):
        list(parser.read_events())


# -- bounds ------------------------------------------------------------------------------------------------------------
def sized(octets: int) -> bytes:
    """A stanza of exactly this size."""
    frame = len(b"<message><body></body></message>")
    return b"<message><body>" + b"x" * (octets - frame) + b"</body></message>"


def pieces(octets: bytes, size: int) -> list[bytes]:
    return [octets[at : at + size] for at in range(0, len(octets), size)]


def skipped(*parts: bytes) -> list[bool]:
    """For each whole stanza whether it is handed out without its content."""
    return [isinstance(stanza, Oversized) for stanza in stanzas(*parts)]


@pytest.mark.requirement("SEC-35", "IMSG-28")
@pytest.mark.parametrize("piece", [1 << 20, 65_536, 4096, 1000])
def test_a_stanza_of_256_kib_is_taken_and_more_is_skipped(piece: int) -> None:
    assert MOST_STANZA_OCTETS == 256 * 1024
    for octets, expected in ((MOST_STANZA_OCTETS, False), (MOST_STANZA_OCTETS + len(b"</message>") + 1, True)):
        assert skipped(*pieces(sized(octets), piece)) == [expected]


LARGE = b"x" * MOST_STANZA_OCTETS
TOO_MUCH = {
    "depth": b"<x>" * MOST_DEPTH + b"</x>" * MOST_DEPTH + b"<body>hi</body></message>",
    "size": b"<body>" + b"&quot;" * 60_000 + b"</body></message>",
    "name": b"<" + LARGE + b"/></message>",
    "attribute": b"<x a='" + LARGE + b"'/></message>",
    "attribute with >": b"<x a='" + b">" * MOST_STANZA_OCTETS + b"'/></message>",
    "CDATA": b"<body><![CDATA[" + LARGE + b"]]></body></message>",
    "elements": b"<x/>" * MOST_ELEMENTS + b"<body>hi</body></message>",
    "both": b"<x>" * 70_000 + b"</x>" * 70_000 + b"</message>",
}


@pytest.mark.requirement("SEC-35")
@pytest.mark.parametrize("piece", [1 << 20, 65_536, 1400])
@pytest.mark.parametrize("content", TOO_MUCH.values(), ids=TOO_MUCH.keys())
def test_too_much_is_skipped_and_all_around_it_stays(content: bytes, piece: int) -> None:
    """Any user may write it: the stream goes on, and who is to be told is known."""
    before, after = b"<message id='1'><body>a</body></message>", b"<message id='3'><body>b</body></message> <message id='4'/>"
    found = stanzas(*pieces(before + b"<message from='mira@xmpp.example' id='2'>" + content + after, piece))
    assert [stanza.get("id") for stanza in found] == ["1", "2", "3", "4"]
    assert [isinstance(stanza, Oversized) for stanza in found] == [False, True, False, False]
    assert [(len(stanza), "".join(stanza.itertext())) for stanza in found] == [(1, "a"), (0, ""), (1, "b"), (0, "")]
    assert (found[1].tag, found[1].attrib) == (MESSAGE, {"from": "mira@xmpp.example", "id": "2"})


@pytest.mark.requirement("SEC-35")
@pytest.mark.parametrize("piece", [1 << 20, 65_536, 1400])
@pytest.mark.parametrize("end", [b"'/>", b"'></message>"], ids=repr)
def test_a_tag_that_is_too_large_alone(end: bytes, piece: int) -> None:
    """Who is to be told is known, unless that alone is too much to be said."""
    begin = b"<message to='sip.example' "
    octets = begin + b"xmlns:x='" + LARGE + end + begin + b"id='" + LARGE + end + b"<message/>"
    first, second, third = stanzas(*pieces(octets, piece))
    assert (type(first), first.tag, first.attrib) == (Oversized, MESSAGE, {"to": "sip.example"})
    assert (type(second), type(third)) == (Oversized, Element)
    assert second.tag == "x" or len(second.get("id", "")) == MOST_STANZA_OCTETS


@pytest.mark.requirement("SEC-35", "SEC-31")
@pytest.mark.parametrize("piece", [1 << 20, 65_536, 1009])
@pytest.mark.parametrize("end", [b"<body>" + LARGE, b"<body xmlns='" + LARGE + b"'>"], ids=["text", "tag"])
def test_behind_what_is_skipped_the_stream_is_the_same(end: bytes, piece: int) -> None:
    """Its namespaces, its prefixes, its end; it is begun once."""
    header = b"<?xml version='1.0' encoding='ISO-8859-1'?>\n<s:stream to='>\"' xmlns:s = 'urn:s'\n xmlns:o='urn:o' xmlns=\"urn:c\" >"
    large = b"<message o:id='1' xmlns='urn:other'>" + end + b"</body></message>"
    octets = header + large + b"<s:error/>" + large + b" <o:x>\xc3\xa9</o:x><message/></s:stream>"
    parser, seen = StreamParser(), []
    for part in pieces(octets, piece):
        parser.feed(part)
        seen += [(kind, element.tag, element.text) for kind, element in parser.read_events()]
    names = ["{urn:other}message", "{urn:s}error", "{urn:other}message", "{urn:o}x", "{urn:c}message"]
    ended = [(name, "é" if name == "{urn:o}x" else None) for name in names]
    assert [event for event in seen if event[0] == "start"] == [("start", *each) for each in [("{urn:s}stream", None), *ended]]
    assert [event for event in seen if event[0] == "end"] == [("end", *each) for each in [*ended, ("{urn:s}stream", None)]]


@pytest.mark.requirement("SEC-30")
@pytest.mark.parametrize("octets", [b"<!-- -->", b"<?x y?>", b"<!DOCTYPE x>", b"</x>"], ids=repr)
def test_what_breaks_a_stream_breaks_it_while_skipping_too(octets: bytes) -> None:
    assert condition(b"<message><body>" + LARGE, b"x" + octets + b"</body></message>") in ("restricted-xml", "not-well-formed")


@pytest.mark.requirement("SEC-35")
@pytest.mark.parametrize("octets", [b"&lol;", b"\xff", b"\0", b"]]>"], ids=repr)
def test_what_is_skipped_is_not_read(octets: bytes) -> None:
    """What is in it is thrown away; whether it could have been read changes nothing for what is behind it."""
    part = b"x" + octets + b"</body></message>"
    assert skipped(b"<message><body>" + LARGE, part, b"<message/>") == [True, False]


@pytest.mark.requirement("SEC-35")
def test_long_names_are_not_remembered() -> None:
    parser = StreamParser()
    parser.feed(HEADER + b"<message><short/><" + b"x" * 300 + b"/></message>")
    assert [len(stanza) for kind, stanza in parser.read_events() if kind == "end"] == [2]
    assert max(map(len, parser._names)) < 300


def peak(parts: Iterable[bytes]) -> int:
    """The most octets that Python held at once while these were read."""
    parser = StreamParser()
    parser.feed(HEADER)
    tracemalloc.start()
    for part in parts:
        parser.feed(part)
        list(parser.read_events())
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most


ENDLESS = {
    "elements": (b"<message>", b"<a/>"),
    "text": (b"<message><body>", b"x"),
    "references": (b"<message><body>", b"&amp;"),
    "depth": (b"<message>", b"<a>"),
    "CDATA": (b"<message><body><![CDATA[", b"]"),
    "own value": (b"<message id='", b"a"),
    "own namespace": (b"<message xmlns:a='", b"a"),
    "own attributes": (b"<message ", b"xmlns:n='urn:n' n:a='1' "),
    "own name": (b"<", b"a"),
    "own space": (b"<message ", b" "),
    "tag inside": (b"<message><a b='", b">"),
}


@pytest.mark.requirement("SEC-35")
@pytest.mark.parametrize(("beginning", "filling"), ENDLESS.values(), ids=ENDLESS.keys())
def test_what_is_skipped_is_not_kept(beginning: bytes, filling: bytes) -> None:
    """However it goes on, and wherever it never ends: nothing is kept of what comes beyond the bound."""
    part = filling * (16_384 // len(filling))
    assert peak([beginning, *[part] * 50]) < peak([beginning, *[part] * 18]) + 20_000


@pytest.mark.requirement("SEC-35")
def test_what_stands_between_stanzas_is_not_kept() -> None:
    blanks, texts = [[each * 16_384] * 100 for each in (b"\n", b"x")]
    assert condition(b"<message/>", *blanks, b"<message/>", *texts, b"<message/>") == ""
    assert max(peak(blanks), peak([b"<message/>", *blanks]), peak([b"<message/>", *texts])) < 500_000


@pytest.mark.requirement("SEC-35")
def test_the_bound_is_on_each_stanza_not_on_the_stream() -> None:
    assert condition(*[sized(200_000)] * 4, sized(200_000) + sized(200_000)) == ""
    assert condition(b"<message/>" * 30_000) == ""


@pytest.mark.requirement("SEC-35")
def test_a_stream_header_has_a_bound_too() -> None:
    assert fed(b"<stream:stream xmlns:stream='x' id='", *[b"a" * 16_384] * 20)[1] == "policy-violation"


@pytest.mark.requirement("SEC-35")
def test_depth_has_a_bound() -> None:
    def nested(depth: int) -> bytes:
        return b"<message>" + b"<x>" * (depth - 2) + b"</x>" * (depth - 2) + b"</message>"

    assert skipped(nested(MOST_DEPTH), nested(MOST_DEPTH + 1), nested(80_000)) == [False, True, True]


@pytest.mark.requirement("SEC-35", "REL-28")
def test_a_stanza_may_have_so_many_elements_itself_counted_and_the_next_one_as_many() -> None:
    def wide(elements: int) -> bytes:
        return b"<message><a>" + b"<x/>" * (elements - 2) + b"</a></message>"

    assert skipped(wide(MOST_ELEMENTS), wide(MOST_ELEMENTS), wide(MOST_ELEMENTS + 1), wide(2)) == [False, False, True, False]


@pytest.mark.requirement("REL-28")
def test_a_tag_of_megabytes_is_read_in_linear_time() -> None:
    tag = pieces(b"<message id='" + b"a" * 4_000_000 + b"'/>", 1400)
    assert skipped(*tag) == [True]
    assert growth(lambda parts: skipped(*parts), tag[: len(tag) // 4], tag) < LINEAR
    assert seconds(lambda: skipped(*tag), 3.0) < 3.0


@pytest.mark.requirement("REL-28")
@pytest.mark.parametrize("filling", [b"<a/>", b"a='1' ", b"&amp;", b"x"], ids=repr)
def test_time_grows_with_the_octets(filling: bytes) -> None:
    """A stanza at the bound, made of the smallest parts there are, in small pieces."""

    def made(octets: int) -> list[bytes]:
        if b"=" in filling:
            return pieces(b"<message " + b"".join(b"a%d='1' " % number for number in range(octets // 11)) + b"/>", 1400)
        return pieces(b"<message><body>" + filling * (octets // len(filling)) + b"</body></message>", 1400)

    largest = made(260_000)
    assert condition(*largest) == ""
    assert seconds(lambda: condition(*largest), 3.0) < 3.0
    # Up to the bound expat reads an unfinished tag again with every piece, which shows in the largest only.
    assert growth(lambda parts: condition(*parts), made(16_000), made(64_000)) < LINEAR


PARTS = [
    b"<message>",
    b"</message>",
    b"<body>",
    b"</body>",
    b"hi",
    b"&amp;",
    b"&x;",
    b"<!--",
    b"-->",
    b"<?x?>",
    b"<![CDATA[",
    b"]]>",
    b"\x00",
    b"\xff",
    b"<message xmlns='",
    b"'/>",
    b"<!DOCTYPE a>",
    b"</stream:stream>",
    b"<",
    b">",
]


@given(st.lists(st.sampled_from(PARTS), max_size=30), st.integers(1, 7))
@settings(deadline=None, max_examples=300)
def test_nothing_but_a_stream_fault_leaves_the_parser(parts: list[bytes], piece: int) -> None:
    octets = HEADER + b"".join(parts)
    events, fault = fed(*(octets[at : at + piece] for at in range(0, len(octets), piece)))
    assert fault in ("", "not-well-formed", "restricted-xml", "policy-violation")
    assert (events, fault) == fed(octets)
