"""The configuration: TOML, read once into the typed values of `core.settings`."""

from .notes import hops, unbuilt, warnings
from .reader import build, load, read

__all__ = ["build", "hops", "load", "read", "unbuilt", "warnings"]
