"""Reading a trace: what counts as a change outside a folder."""

from __future__ import annotations

import pytest

from tests.peers.trace import is_stray

CALLS = {
    'openat(AT_FDCWD, "/run/x", O_WRONLY|O_CREAT, 0666) = 3': True,
    'openat(AT_FDCWD, "/run/x", O_RDONLY) = 3': False,
    'openat(AT_FDCWD, "/dev/null", O_RDWR) = 3': False,
    'mkdir("/home/a/b", 0777) = 0': False,
    'mkdir("/home/ab", 0777) = 0': True,
    'mkdir("/run/x", 0777) = -1 EACCES (Permission denied)': False,
    'mkdir("../x", 0777) = 0': True,
    'unlink("lock") = 0': False,
    'rename("new", "/etc/old") = 0': True,
}


@pytest.mark.parametrize("call", CALLS)
def test_sees_what_goes_astray(call: str) -> None:
    assert is_stray(f"17 {call}", "/home/a/") is CALLS[call]
