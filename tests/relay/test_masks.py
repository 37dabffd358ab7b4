"""A log line lets one follow a person, and does not say who it is."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from gateway.core.address import SipAddress
from gateway.core.jid import Jid
from gateway.relay.masks import masked
from tests.peers.programs import PROJECT


@pytest.mark.requirement("QOS-39")
def test_the_domain_is_shown_and_the_user_is_not() -> None:
    for address in (SipAddress("+15551230001", "sip.example"), Jid("romeo", "sip.example"), SipAddress("x\r\n\x1b[31m", "sip.example")):
        assert re.fullmatch(r"~[0-9a-f]{8}@sip\.example", masked(address))
    assert masked(Jid("", "sip.example")) == "sip.example"


def test_the_same_person_is_the_same_and_another_is_another() -> None:
    assert masked(SipAddress("Romeo", "sip.example")) == masked(SipAddress("romeo", "sip.example")) == masked(Jid("romeo", "sip.example"))
    assert masked(Jid("romeo", "sip.example")) != masked(Jid("tomas", "sip.example"))


@pytest.mark.requirement("QOS-39")
def test_the_mask_of_one_run_says_nothing_in_the_next() -> None:
    program = "from gateway.core.jid import Jid; from gateway.relay.masks import masked; print(masked(Jid('romeo', 'sip.example')))"
    other = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, timeout=60, check=True)
    assert other.stdout.strip() != masked(Jid("romeo", "sip.example"))
