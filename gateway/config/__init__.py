"""The configuration: TOML, read once into the typed values of `core.settings`."""

from .notes import unbuilt, warnings
from .reader import build, load, read

__all__ = ["build", "load", "read", "unbuilt", "warnings"]
