"""Where the peers' programs are, and how they run from there. Standard library only.

They are looked for in .peers/root, which `install.py` fills, and then on the system. Nothing else knows about either place.
"""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
TREES = (PROJECT / ".peers" / "root", Path("/"))
_FOLDERS = ("usr/bin", "usr/sbin", "bin", "sbin")


class ProgramMissing(Exception):
    """A program is neither in .peers nor on the system."""


@dataclass(frozen=True, slots=True)
class Tree:
    """A file tree laid out like Debian's, from which programs run: .peers/root, or the system itself."""

    root: Path

    def has(self, program: str) -> bool:
        return any((self.root / folder / program).is_file() for folder in _FOLDERS)

    def program(self, name: str) -> str:
        """The absolute path of a program. Raises ProgramMissing."""
        for folder in _FOLDERS:
            if (self.root / folder / name).is_file():
                return str(self.root / folder / name)
        raise ProgramMissing(f"{name} is not in {self.root}: run `make peers`")

    @property
    def libraries(self) -> Path:
        """The folder of the shared libraries of this machine's kind."""
        return self.root / "usr" / "lib" / f"{platform.machine()}-linux-gnu"

    @property
    def library_path(self) -> str:
        """What LD_LIBRARY_PATH has to be for programs of this tree; empty for the system's own."""
        return f"{self.libraries}:{self.libraries / 'kamailio'}" if self.root != Path("/") else ""

    @property
    def path(self) -> str:
        """A PATH on which this tree comes first."""
        return ":".join([*(str(self.root / folder) for folder in _FOLDERS[:2]), os.environ.get("PATH", "/usr/bin:/bin")])

    def environment(self, home: Path) -> dict[str, str]:
        """A small environment for a program of this tree, with `home` for whatever it wants to keep."""
        found = {"PATH": self.path, "HOME": str(home), "TMPDIR": str(home), "LANG": "C.UTF-8", "TERM": "xterm"}
        return found | ({"LD_LIBRARY_PATH": self.library_path} if self.library_path else {})


def tree_of(program: str) -> Tree:
    """The tree that `program` runs from. Raises ProgramMissing."""
    for root in TREES:
        if Tree(root).has(program):
            return Tree(root)
    raise ProgramMissing(f"{program} is neither in .peers nor on the system: run `make peers`")


def missing(*programs: str) -> list[str]:
    """Those of `programs` that are nowhere."""
    return [program for program in programs if not any(Tree(root).has(program) for root in TREES)]
