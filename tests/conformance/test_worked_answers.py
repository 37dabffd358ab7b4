"""The worked examples of what is said to whom sends: the answers to a MESSAGE, and the error for a stanza, octet for octet.

tests/cli/test_worked_examples.py has what becomes of the messages themselves.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from gateway.config.reader import load
from gateway.core.dates import parse_rfc3339
from gateway.core.errors import Refusal
from gateway.core.ports import Peer
from gateway.sip import writer
from gateway.sip.message import Request, parse
from gateway.sip.uas import Uas
from gateway.translation import Translation, translation
from gateway.xmpp.reading import read_parties, stanza_origin
from tests.properties.world import read_stanza

VECTORS = Path(__file__).resolve().parents[1] / "vectors"
SECRET, PEER, IN_TIME = b"of the examples", Peer("tcp:192.0.2.7"), "2026-01-02T03:06:04Z"

pytestmark = pytest.mark.vectors


@cache
def parts() -> Translation:
    return translation(*load(VECTORS / "translate" / "gateway.toml"), SECRET)


def answer(octets: bytes, to_tag: str, now: float) -> bytes:
    """What the gateway answers; 202 where it keeps the message."""
    uas = Uas(parts().guard, parts().tables, parts().settings, SECRET, frozenset(["192.0.2.1:5060"]))
    request = parse(octets, stream=True, strict=True)
    assert isinstance(request, Request)
    try:
        uas.method(request)
        assert uas.message(request, PEER, "trace", now) is not None
        said = uas.accepted
    except Refusal as refusal:
        said = uas.refused(refusal)
    return writer.response(request, said.status, said.reason, to_tag=to_tag, extra=said.extra)


@pytest.mark.parametrize(
    ("request_name", "expected", "to_tag", "now"),
    [
        pytest.param("e2-request", "e2-202", "gw5", IN_TIME, id="E2", marks=pytest.mark.requirement("IMSG-22", "MSG-14")),
        pytest.param("e7-request", "e7-415", "gw8", IN_TIME, id="E7", marks=pytest.mark.requirement("IMSG-20", "MSG-35")),
        pytest.param("e17-request", "e17-480", "gw9", IN_TIME, id="E17", marks=pytest.mark.requirement("IMSG-31")),
        pytest.param("m1-request", "m1-202", "g7", IN_TIME, id="in time", marks=pytest.mark.requirement("MSG-52")),
        pytest.param("m1-request", "m1-480", "g7", "2026-01-02T03:06:06Z", id="late", marks=pytest.mark.requirement("MSG-53")),
    ],
)
def test_the_answer_to_a_message(request_name: str, expected: str, to_tag: str, now: str) -> None:
    octets = (VECTORS / "translate" / f"{request_name}.sip").read_bytes()
    assert answer(octets, to_tag, parse_rfc3339(now).timestamp()) == (VECTORS / "answers" / f"{expected}.sip").read_bytes()


@pytest.mark.requirement("IMSG-27", "ERR-04")
def test_the_error_for_a_stanza_that_is_too_large() -> None:
    stanza = read_stanza((VECTORS / "translate" / "e8-stanza.xml").read_bytes())
    author, whom = read_parties(stanza)
    codec = parts().to_xmpp
    envelope = codec.read(stanza, parts().guard.from_xmpp(whom.domain, author, whom), "test", "trace", 0.0)
    assert envelope is not None
    with pytest.raises(Refusal) as refused:
        parts().to_sip.write(envelope, 1)
    assert codec.refusal(stanza_origin(stanza), refused.value) == (VECTORS / "answers" / "e8-error.xml").read_bytes()
