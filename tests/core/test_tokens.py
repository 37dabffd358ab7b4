"""Names that are made anew: their form, that none comes twice, and how often the system is asked for them."""

from __future__ import annotations

import os
import re
from uuid import UUID

import pytest

from gateway.core import tokens
from gateway.core.tokens import fresh_token, fresh_uuid


def test_a_token_is_64_bits_in_hexadecimal_and_none_comes_twice() -> None:
    made = [fresh_token() for _ in range(1000)]
    assert [one for one in made if not re.fullmatch("[0-9a-f]{16}", one)] == []
    assert len(set(made)) == 1000


def test_what_the_system_gave_is_used_once_and_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[bytes] = []

    def urandom(size: int) -> bytes:
        given.append(os.urandom(size))
        return given[-1]

    monkeypatch.setattr(tokens, "urandom", urandom)
    made = tokens._tokens()
    assert "".join(next(made) for _ in range(3 * 256)) == b"".join(given).hex()
    assert [len(each) for each in given] == [2048] * 3


def test_a_uuid_is_of_random_numbers_and_none_comes_twice() -> None:
    made = [UUID(fresh_uuid()) for _ in range(100)]
    assert {each.version for each in made} == {4}
    assert len(set(made)) == 100
