"""XML documents from outside: read, or refused within bounds."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.document import MOST_DEPTH, MOST_OCTETS, child_text, parse_document
from gateway.core.errors import SyntaxFault

LAUGHS = b'<!DOCTYPE a [<!ENTITY b "ha"><!ENTITY c "&b;&b;">]><a>&c;</a>'


@pytest.mark.requirement("IMDN-24", "ISC-10")
@pytest.mark.parametrize(
    ("octets", "what"),
    [
        (LAUGHS, "DTD"),
        (b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>', "DTD"),
        (b"<a>" * (MOST_DEPTH + 1) + b"</a>" * (MOST_DEPTH + 1), "deeper"),
        (b"<a>" + b" " * MOST_OCTETS + b"</a>", "octets"),
        (b"", "well-formed"),
        (b"<a>", "well-formed"),
        (b"<a/><b/>", "well-formed"),
        (b"<a>\xff</a>", "well-formed"),
        (b"<a>&nbsp;</a>", "well-formed"),
        (b"<x:a/>", "well-formed"),
        (b'<?xml version="1.0" encoding="x-nope"?><a/>', "well-formed"),
        (b'<?xml version="1.0" encoding="shift_jis"?><a/>', "well-formed"),
    ],
)
def test_a_document_that_could_do_harm_is_refused(octets: bytes, what: str) -> None:
    with pytest.raises(SyntaxFault) as refused:
        parse_document(octets)
    assert what in str(refused.value)


def test_bounds_are_reached_and_not_passed() -> None:
    assert parse_document(b"<a>" * MOST_DEPTH + b"</a>" * MOST_DEPTH).tag == "a"
    assert parse_document(b"<a>" + b" " * (MOST_OCTETS - 7) + b"</a>").tag == "a"


def test_names_carry_their_namespace_and_text_loses_the_white_space_around_it() -> None:
    root = parse_document('<?xml version="1.0"?><!-- no --><x:a xmlns:x="urn:x" x:k="1"><x:b>\r\n é \n</x:b><b>2</b></x:a>'.encode())
    assert (root.tag, root.attrib) == ("{urn:x}a", {"{urn:x}k": "1"})
    assert (child_text(root, "urn:x", "b"), child_text(root, "urn:x", "c")) == ("é", "")


@given(st.binary(max_size=200) | st.text(alphabet="<>/a='\"&;![]?-", max_size=60).map(str.encode))
def test_whatever_comes_is_read_or_refused(octets: bytes) -> None:
    with suppress(SyntaxFault):
        parse_document(octets)
