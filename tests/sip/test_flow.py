"""A flow as a value: what is reliable, and how it reads in a log."""

from __future__ import annotations

import pytest

from gateway.sip.flow import Flow


@pytest.mark.parametrize(
    ("flow", "text", "reliable"),
    [
        (Flow("udp", "127.0.0.1:5060", "192.0.2.7", 5070), "udp:192.0.2.7:5070", False),
        (Flow("tcp", "[::1]:5060", "2001:db8::7", 40_000, 3), "tcp:[2001:db8::7]:40000", True),
    ],
)
def test_a_flow_names_its_peer(flow: Flow, text: str, reliable: bool) -> None:
    assert (str(flow), flow.reliable) == (text, reliable)


def test_two_connections_to_one_peer_are_two_flows() -> None:
    assert Flow("tcp", "", "192.0.2.7", 5070, 1) != Flow("tcp", "", "192.0.2.7", 5070, 2)
    assert hash(Flow("udp", "", "192.0.2.7", 5070)) == hash(Flow("udp", "", "192.0.2.7", 5070))
