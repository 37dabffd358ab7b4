"""The examples in the docstrings of the S/MIME room are right."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import gateway.smime

MODULES = sorted(f"gateway.smime.{module.name}" for module in pkgutil.iter_modules(gateway.smime.__path__))


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_there_are_examples() -> None:
    finder = doctest.DocTestFinder()
    examples = [test for name in MODULES for test in finder.find(importlib.import_module(name)) if test.examples]
    assert len(examples) >= 4
