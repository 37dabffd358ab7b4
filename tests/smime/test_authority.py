"""The authority of these tests is believed by OpenSSL."""

from __future__ import annotations

from subprocess import CalledProcessError

import pytest

from . import authority
from .authority import Authority, openssl_sign, openssl_verify, sign

CONTENT = authority.TEXT


@pytest.mark.parametrize("kind", ["p256", "p384", "p521", "rsa2048"])
@pytest.mark.parametrize("attributes", [True, False])
@pytest.mark.parametrize("by_key", [True, False])
def test_what_is_signed_here_is_good_for_openssl(kind: str, attributes: bool, by_key: bool) -> None:
    ca = Authority("Root")
    romeo = Authority("Middle", issuer=ca).issue("sip:romeo@sip.example", kind=kind)
    blob = sign(romeo, CONTENT, attributes=attributes, by_key=by_key)
    assert openssl_verify(ca, blob, CONTENT) == CONTENT
    with pytest.raises(CalledProcessError):
        openssl_verify(ca, blob, CONTENT + b"!")
    assert openssl_verify(ca, sign(romeo, CONTENT, attributes=attributes, by_key=by_key, detached=False)) == CONTENT


def test_pss_and_two_signers_and_a_self_signed_one_are_good_too() -> None:
    ca = Authority("Root", "rsa2048")
    romeo, mira = ca.issue("sip:romeo@sip.example", kind="rsa2048"), ca.issue("xmpp:mira@xmpp.example", "dns:sip.example")
    assert openssl_verify(ca, sign(romeo, CONTENT, pss=True), CONTENT) == CONTENT
    assert openssl_verify(ca, sign([romeo, mira], CONTENT), CONTENT) == CONTENT
    alone = authority.self_signed("im:tomas@sip.example")
    assert openssl_verify(alone, sign(alone, CONTENT), CONTENT) == CONTENT


@pytest.mark.parametrize("streamed", [True, False])
def test_openssl_signs_for_these_tests(streamed: bool) -> None:
    ca = Authority("Root")
    blob = openssl_sign(ca.issue("sip:romeo@sip.example"), CONTENT, detached=False, streamed=streamed)
    assert (blob[1] == 0x80) == streamed
    assert openssl_verify(ca, blob) == CONTENT
