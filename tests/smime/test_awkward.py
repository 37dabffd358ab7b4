"""Of every awkward body our judge says what openssl says, and that the same octets are signed; where it is stricter, STRICTER says so."""

from __future__ import annotations

import re
import time

import pytest

from gateway.core.mime import Entity
from gateway.core.settings import SmimeSettings
from gateway.core.verdict import Status
from gateway.smime.conversion import BY_OPTION, to_clear
from gateway.smime.judge import Judge
from gateway.smime.trust import TrustStore

from .awkward import BODIES, CONTENTS, Awkward
from .openssl import AUTHOR, Openssl
from .people import claim

STRICTER = {
    "clear-mark-first": Status.MALFORMED,
    "clear-no-mime": Status.MALFORMED,
    "no-protocol": Status.MALFORMED,
    "signature-with-content": Status.MALFORMED,
    "sha-512-called-256": Status.INVALID,
}
"""What is no part of a multipart/signed as RFC 1847 and RFC 3261 section 23.3 have it, and what lies in its micalg."""

NO_PARTS = {"mark-first", "no-mime"}
"""The contents that nobody can read as a MIME entity."""
PLAINLY = {f"{form}-{content}" for form in ("clear", "opaque") for content in CONTENTS.keys() - NO_PARTS}
"""The bodies with nothing odd around their content."""
CONVERSIONS = BY_OPTION | {"opaque to clear": to_clear}


@pytest.fixture(scope="module")
def openssl(tmp_path_factory: pytest.TempPathFactory) -> Openssl:
    return Openssl(tmp_path_factory.mktemp("openssl"))


@pytest.fixture(scope="module")
def bodies(openssl: Openssl) -> dict[str, Awkward]:
    return {name: make(openssl) for name, make in BODIES.items()}


@pytest.fixture(scope="module")
def judge(openssl: Openssl) -> Judge:
    return Judge(TrustStore.load(SmimeSettings(certificates=openssl.certificates_file), ""))


def as_entity(body: Awkward) -> Entity:
    return Entity.compose([(name, re.sub(r"\r\n[ \t]", " ", value)) for name, value in body.headers], body.body)


@pytest.mark.requirement("SMIME-10", "SMIME-11", "SMIME-12")
@pytest.mark.parametrize("name", BODIES)
def test_openssl_and_the_judge_agree(openssl: Openssl, bodies: dict[str, Awkward], judge: Judge, name: str) -> None:
    body = bodies[name]
    accepted = openssl.verified(body.headers, body.body)
    assert accepted == body.signed
    found = judge.judge(as_entity(body), claim(AUTHOR), time.time())
    if name in STRICTER:
        assert found.verdict.status is STRICTER[name]
    elif accepted is None:
        assert found.verdict.status is not Status.VALID
    else:
        assert (found.verdict.status, found.covered) == (Status.VALID, accepted)


@pytest.mark.requirement("SMIME-33", "SMIME-60", "SMIME-62")
@pytest.mark.parametrize("name", BODIES)
def test_openssl_says_the_same_of_every_other_container(openssl: Openssl, bodies: dict[str, Awkward], name: str) -> None:
    body = bodies[name]
    converted = {option: convert(as_entity(body)) for option, convert in CONVERSIONS.items()}
    for option, entity in converted.items():
        if entity is not None:
            assert openssl.verified(entity.headers, entity.content) == body.signed, option
    if name in PLAINLY:
        assert converted["opaque to clear" if body.blob else "D"] is not None
