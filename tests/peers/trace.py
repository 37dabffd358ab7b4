"""What a program changes in the file system, seen by strace."""

from __future__ import annotations

import re
from pathlib import Path

from tests.peers.programs import tree_of

_CHANGING = (
    "open,openat,creat,mkdir,mkdirat,rename,renameat,renameat2,symlink,symlinkat,link,linkat,unlink,unlinkat,rmdir,chmod,fchmodat,"
    "chown,fchownat,truncate,mknod,mknodat"
)
_OPENS_TO_READ = re.compile(r"^\d+ +open(?:at)?\((?!.*O_(?:WRONLY|RDWR|CREAT|TRUNC))")
_NOWHERE = ("/dev/", "/proc/")


def traced(command: list[str], trace: Path) -> list[str]:
    """`command` with a tracer in a session of its own, so that the process that is started is the program itself.

    The trace is whole once the tracer has ended, which it does after the last process that it follows. The kernel stops the program
    for these calls alone (seccomp), not for every call.
    """
    strace = tree_of("strace").program("strace")
    return [strace, "-f", "--seccomp-bpf", "-DDD", "-qq", "-e", f"trace={_CHANGING}", "-o", str(trace), *command]


def strays(trace: Path, home: Path) -> list[str]:
    """The calls that changed something outside `home`, which is also where relative paths begin."""
    return [line for line in trace.read_text(errors="replace").splitlines() if is_stray(line, f"{home}/")]


def is_stray(line: str, home: str) -> bool:
    if _OPENS_TO_READ.match(line) or " = -1 E" in line:
        return False
    for path in re.findall(r'"((?:[^"\\]|\\.)*)"', line):
        at_home = f"{path}/".startswith((home, *_NOWHERE)) if path.startswith("/") else True
        if not at_home or ".." in path.split("/"):
            return True
    return False
