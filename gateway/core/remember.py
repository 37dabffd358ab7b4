"""Remembering within bounds: the results of pure functions of foreign text, and what was learned last."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar

K = TypeVar("K", str, bytes)
V = TypeVar("V")
Known = TypeVar("Known")
Fact = TypeVar("Fact")

MOST_REMEMBERED = 256


def remembered(entries: int) -> Callable[[Callable[[K], V]], Callable[[K], V]]:
    """Make a pure parser remember its last results. Long texts are read anew, so that nobody can fill memory with them."""

    def wrap(parse: Callable[[K], V]) -> Callable[[K], V]:
        cached = lru_cache(maxsize=entries)(parse)
        return lambda text: cached(text) if len(text) <= MOST_REMEMBERED else parse(text)

    return wrap


def learn(known: dict[Known, Fact], key: Known, fact: Fact, most: int) -> None:
    """Know this, as what was learned last; of more than `most` what was learned first is forgotten.

    >>> learn(known := {"a": 1, "b": 2}, "a", 3, most=2)
    >>> learn(known, "c", 4, most=2)
    >>> known
    {'a': 3, 'c': 4}
    """
    known.pop(key, None)
    known[key] = fact
    if len(known) > most:
        del known[next(iter(known))]
