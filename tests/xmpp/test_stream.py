"""What stands behind stanzas."""

from __future__ import annotations

import pytest

from gateway.xmpp.stanza import element
from gateway.xmpp.stream import padded


@pytest.mark.requirement("QOS-01")
@pytest.mark.parametrize(("octets", "blanks"), [(b"", 0), (b"<a/>", 4), (b"<a b='cc'>text is no tag</a><d/>", 10)])
def test_behind_stanzas_there_are_as_many_blanks_as_the_longest_tag_has_octets(octets: bytes, blanks: int) -> None:
    assert padded(octets) == octets + b" " * blanks


def test_a_value_of_ours_does_not_end_a_tag() -> None:
    stanza = element("a", {"b": ">" * 50}, "<c/>").encode()
    assert len(padded(stanza)) == len(stanza) + stanza.index(b"<c/>")
