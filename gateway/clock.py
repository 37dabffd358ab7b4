"""What this machine knows of its own clock, and of how long it was away."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from pathlib import Path

from gateway.core.dates import GRACE_SECONDS

OUTAGE_SECONDS = 300.0
"""What waited less than that is not stale."""
_ASK_AGAIN_SECONDS = 60.0
_NOT_SYNCHRONISED = 5
"""TIME_ERROR of adjtimex(2)."""
_ROOM = 1024
"""More than any `struct timex`: with its first field, `modes`, 0 nothing is set."""


class Clock:
    """Whether the kernel says that the clock is synchronised; asked at most once a minute. ask: as `kernel_doubts`."""

    def __init__(self, ask: Callable[[], bool] | None = None, now: Callable[[], float] = time.monotonic) -> None:
        self._ask, self._now = ask or kernel_doubts, now
        self._asked_at, self._is_true = float("-inf"), True

    def is_true(self) -> bool:
        """Where the kernel does not say, it is."""
        if (now := self._now()) - self._asked_at >= _ASK_AGAIN_SECONDS:
            self._asked_at, self._is_true = now, not self._ask()
        return self._is_true


def kernel_doubts() -> bool:
    """Whether the kernel says that its clock is not synchronised (STA_UNSYNC). False where it says nothing: no Linux, not allowed."""
    try:
        return bool(ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_ROOM)) == _NOT_SYNCHRONISED)
    except (AttributeError, OSError):
        return False


def grace_until(outbox: Path, now: float) -> float:
    """Until when what is stale may have waited for a gateway that starts now; 0 where it was not away for so long that anything could.

    outbox: the file of its store, as the run before has left it: it was there when it last wrote to it.
    """
    written = [file.stat().st_mtime for file in (outbox, outbox.with_name(f"{outbox.name}-wal")) if file.exists()]
    return now + GRACE_SECONDS if written and now - max(written) > OUTAGE_SECONDS else 0.0
