"""Remembering the results of pure functions of foreign text, within bounds."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar

K = TypeVar("K", str, bytes)
V = TypeVar("V")

MOST_REMEMBERED = 256


def remembered(entries: int) -> Callable[[Callable[[K], V]], Callable[[K], V]]:
    """Make a pure parser remember its last results. Long texts are read anew, so that nobody can fill memory with them."""

    def wrap(parse: Callable[[K], V]) -> Callable[[K], V]:
        cached = lru_cache(maxsize=entries)(parse)
        return lambda text: cached(text) if len(text) <= MOST_REMEMBERED else parse(text)

    return wrap
