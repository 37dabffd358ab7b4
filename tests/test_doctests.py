"""The examples in the docstrings of the pure rooms are right."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

ROOMS = {"gateway.core": 20, "gateway.smime": 4}
"""How many functions of each have an example, at least."""
MODULES = [f"{room}.{module.name}" for room in ROOMS for module in pkgutil.iter_modules(importlib.import_module(room).__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


@pytest.mark.parametrize("room", ROOMS)
def test_there_are_examples(room: str) -> None:
    finder = doctest.DocTestFinder()
    modules = [importlib.import_module(name) for name in MODULES if name.startswith(f"{room}.")]
    assert len([test for module in modules for test in finder.find(module) if test.examples]) >= ROOMS[room]
