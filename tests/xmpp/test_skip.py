"""Finding the end of a stanza: beside expat, for whatever is well-formed and in every cut; what it knows of the head; what it costs."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from xml.etree.ElementTree import fromstring
from xml.parsers import expat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.xmpp.skip import Skipper, tag_end
from gateway.xmpp.stream import MOST_STANZA_OCTETS, StreamFault

NOBODY = b"<x xmlns=''/>"
BEHIND = b"</a>'\"]]><message to='x'>"


def skip(*pieces: bytes) -> tuple[bytes | None, bytes]:
    """What is behind the stanza, and its head; the pieces that come after its end are behind it too."""
    skipper = Skipper()
    for number, piece in enumerate(pieces):
        rest = skipper.feed(piece)
        if rest is not None:
            return rest + b"".join(pieces[number + 1 :]), skipper.head
    return None, skipper.head


def cut(octets: bytes, places: Sequence[int]) -> list[bytes]:
    bounds = [0, *sorted(place % (len(octets) + 1) for place in places), len(octets)]
    return [octets[start:end] for start, end in pairwise(bounds)]


def end_by_expat(octets: bytes) -> int:
    """Where the first element ends. Raises expat.ExpatError for what is not well-formed before that."""
    parser, depth, over = expat.ParserCreate("UTF-8"), 0, False

    def start(*_: object) -> None:
        nonlocal depth
        depth += 1

    def end(*_: object) -> None:
        nonlocal depth, over
        depth -= 1
        over = depth == 0

    parser.StartElementHandler, parser.EndElementHandler = start, end
    for at in range(len(octets)):
        parser.Parse(octets[at : at + 1], False)
        if over:
            return at + 1
    raise AssertionError("it does not end")


# -- beside expat ------------------------------------------------------------------------------------------------------
SPACE = st.sampled_from([b"", b" ", b"\n\t", b"\r\n  "])
NAME = st.sampled_from([b"a", b"b-1", b"x:y", "é".encode(), b"message", b"xmlnsx"])
PLAIN = [b"", b"hi", b">", b"/>", b"'", b'"', b"&lt;a&gt;", b"&#60;", b"]]", b"]", b"-->", b"?>"]
TEXT = st.sampled_from([*PLAIN, "\U0001f600é".encode(), b"y" * 70, b"<![CDATA[</a><b c='>]]]]>"])
VALUE = st.sampled_from([b"", b"v" * 70, b"1", b">", b"/>", b"/", b"&lt;/a&gt;", b"]]>", b"=", b"a b='", "é".encode(), b" from=", b"\n"])


@st.composite
def attributes(draw: st.DrawFn) -> bytes:
    """Some attributes as they may be written, each with a name of its own."""
    written = b""
    for name in draw(st.lists(NAME, max_size=3, unique=True)):
        quote, before, after = draw(st.sampled_from([(b"'", b'"'), (b'"', b"'")])), draw(SPACE), draw(SPACE)
        value = draw(VALUE).replace(quote[0], quote[1])
        written += b" " + draw(SPACE) + name + before + b"=" + after + quote[0] + value + quote[0]
    return written + draw(SPACE)


@st.composite
def elements(draw: st.DrawFn, depth: int = 3) -> bytes:
    name, inside = draw(NAME), draw(attributes())
    children = draw(st.lists(elements(depth - 1) if depth else TEXT, max_size=3))
    if not children and draw(st.booleans()):
        return b"<" + name + inside + b"/>"
    content = b"".join(draw(TEXT) + child for child in children) + draw(TEXT)
    content = content.replace(b"]]>", b"]] >") if b"CDATA" not in content else content
    return b"<" + name + inside + b">" + content + b"</" + name + draw(SPACE) + b">"


@given(elements(), st.lists(st.integers(0, 1 << 16), max_size=8))
@settings(deadline=None, max_examples=150)
def test_it_ends_where_expat_says(stanza: bytes, places: list[int]) -> None:
    try:
        assert end_by_expat(stanza) == len(stanza)
    except expat.ExpatError:
        return  # "]]>" came together from two texts
    rest, head = skip(*cut(stanza + BEHIND, places))
    assert rest == BEHIND
    assert (rest, head) == skip(*(bytes([octet]) for octet in stanza + BEHIND))
    assert skip(stanza[:-1])[0] is None


TAGS = [b"<a>", b"</a>", b"<a/>", b"<a b='"]
SNIPPETS = [*TAGS, b'"', b"'", b"/", b">", b"<", b"x", b"<![CDATA[", b"]]>", b"]", b" ", b"=", b"<!--", b"<?", b"<!D", b"&lt;"]


@given(st.lists(st.sampled_from(SNIPPETS), max_size=12), st.lists(st.integers(0, 1 << 16), max_size=6))
@settings(deadline=None, max_examples=500)
def test_what_expat_can_read_ends_at_the_same_place_and_the_rest_ends_somehow(parts: list[bytes], places: list[int]) -> None:
    stanza = b"<m>" + b"".join(parts) + b"</m>"
    try:
        end = end_by_expat(stanza)
    except (expat.ExpatError, AssertionError):
        end = -1
    try:
        whole, cuts = skip(stanza), skip(*cut(stanza, places))
    except StreamFault:
        assert end < 0 or b"<!--" in stanza or b"<?" in stanza
        return
    assert whole == cuts
    if end >= 0:
        assert whole[0] == stanza[end:]


BROKEN = {
    "comment": (b"<a><!-- x --></a>", "restricted-xml"),
    "instruction": (b"<a><?x y?></a>", "restricted-xml"),
    "DTD": (b"<a><!DOCTYPE a></a>", "not-well-formed"),
    "nearly CDATA": (b"<a><![CDATX[</a>", "not-well-formed"),
    "CDATA before": (b"<![CDATA[x]]><a/>", "not-well-formed"),
    "end before": (b"</a>", "not-well-formed"),
    "no name": (b"<a><></a>", "not-well-formed"),
    "space for a name": (b"<a>1 < 2</a>", "not-well-formed"),
    "tag in a tag": (b"<a><b<c></a>", "not-well-formed"),
    "tag in a value": (b"<a b='<'/>", "not-well-formed"),
    "value in an end tag": (b"<a></a b='c'>", "not-well-formed"),
    "value without a name": (b"<a b='c''d'/>", "not-well-formed"),
}


@pytest.mark.requirement("SEC-30")
@pytest.mark.parametrize(("octets", "condition"), BROKEN.values(), ids=BROKEN.keys())
def test_what_cannot_be_a_stanza_ends_the_stream(octets: bytes, condition: str) -> None:
    for pieces in ([octets], [octets[at : at + 1] for at in range(len(octets))]):
        with pytest.raises(StreamFault) as fault:
            skip(*pieces)
        assert fault.value.condition == condition


# -- the head ----------------------------------------------------------------------------------------------------------
HEADS = {
    b"<message/>": b"<message/>",
    b"<message ></message>": b"<message/>",
    b"<iq a='1' to='b' x:id='2' id = \"3'\"\n type='get' ns1:from='c' from='d'><x/></iq>": b"<iq to='b' id=\"3'\" type='get' from='d'/>",
    b"<message xmlns='jabber:client' xml:lang='cs' to='&amp;&#39;'/>": b"<message xmlns='jabber:client' xml:lang='cs' to='&amp;&#39;'/>",
    b"<iq a='' fromage='/>' to='b' xmlns:to='u' ids=\"'\"  id = 'c' tid\n=\t'to=' type\n='e'  z='>' from='d' y=''>'</iq>": (
        b"<iq to='b' id='c' type='e' from='d'/>"
    ),
    b"<message a='1'\n=b='2'to='c' d e='' to x='' id='f'/>": b"<message to='c' id='f'/>",
    b"<x:message xmlns:x='jabber:component:accept' to='b'/>": NOBODY,
    b"<message><x to='b' id='c'/></message>": b"<message/>",
}


@pytest.mark.requirement("SEC-35", "ERR-04")
@pytest.mark.parametrize(("stanza", "head"), HEADS.items(), ids=range(len(HEADS)))
def test_the_head_is_what_an_answer_repeats(stanza: bytes, head: bytes) -> None:
    for pieces in ([stanza], [stanza[at : at + 1] for at in range(len(stanza))]):
        rest, said = skip(*pieces)
        assert (rest, said) == (b"", head)
        fromstring(said)


@pytest.mark.requirement("SEC-35")
@pytest.mark.parametrize("piece", [1 << 20, 1400])
def test_the_head_is_bounded_by_what_is_kept_of_it_alone(piece: int) -> None:
    large = b"x" * MOST_STANZA_OCTETS
    for stanza, head in (
        (b"<message to='b' y='" + large + b"' id='c'/>", b"<message to='b' id='c'/>"),
        (b"<message to='b'" + b" xmlns:n='u' n:a=''" * 20_000 + b" id='c'/>", b"<message to='b' id='c'/>"),
        (b"<message to='b' id='" + large + b"' from='c'/>", NOBODY),
        (b"<message xmlns='" + large + b"' to='b'/>", NOBODY),
        (b"<message" + large.replace(b"x", b" ") + b"to='b'/>", NOBODY),
        (b"<" + large + b" to='b'/>", NOBODY),
    ):
        octets = stanza + BEHIND
        assert skip(*(octets[at : at + piece] for at in range(0, len(octets), piece))) == (BEHIND, head)


@pytest.mark.parametrize("tag", [b"<a>", b"<a b='>' c=\"'>\" >", b"<a b=''\n>", b"<a/>"], ids=repr)
def test_the_end_of_a_tag(tag: bytes) -> None:
    octets = b"<?xml version='1.0'?>" + tag + b"<x>'"
    assert tag_end(octets, octets.index(b"<a") + 1) == (octets.index(b"<x"), True)


# -- what it costs -----------------------------------------------------------------------------------------------------
@pytest.mark.requirement("REL-28")
def test_what_a_server_adds_costs_next_to_nothing() -> None:
    """A namespace of 16 KiB, declared on each of 4000 elements: 64 MB in pieces as they are read. expat alone takes longer for it."""
    element = b"<x xmlns='" + b"n" * 16_384 + b"'/>"
    piece = element * 16
    skipper = Skipper()
    assert skipper.feed(b"<message>") is None
    began = time.process_time()
    for _ in range(250):
        assert skipper.feed(piece) is None
    assert time.process_time() - began < 1.0
    assert skipper.feed(b"</message>") == b""


@pytest.mark.requirement("REL-28")
@pytest.mark.parametrize(("before", "dense"), [(b"<m>", b"<a b=''/>"), (b"<m>", b"<a b='' c=''>x</a>"), (b"<m", None)])
def test_what_a_user_writes_densely_costs_about_what_expat_takes_for_it(before: bytes, dense: bytes | None) -> None:
    octets = dense * (262_144 // len(dense)) if dense else b"".join(b" a%d=''" % number for number in range(24_000)) + b">"

    def seconds(feed: Callable[[bytes], object]) -> float:
        feed(before)
        began = time.process_time()
        feed(octets)
        return time.process_time() - began

    def nothing(*_: object) -> None:
        pass

    def by_expat() -> float:
        parser = expat.ParserCreate("UTF-8")
        parser.StartElementHandler = parser.EndElementHandler = nothing
        return seconds(lambda data: parser.Parse(data, False))

    assert min(seconds(Skipper().feed) for _ in range(5)) < 2.5 * min(by_expat() for _ in range(5))
