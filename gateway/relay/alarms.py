"""When lanes that wait may go on: one timer for all of them."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from itertools import count

from .lane import Lane


class Alarms:
    """Calls `ring` for a lane when its `due_at` has come. On the loop. A lane whose time was changed may be called once too often."""

    def __init__(self, ring: Callable[[Lane], None]) -> None:
        self._loop, self._ring = asyncio.get_running_loop(), ring
        self._due: list[tuple[float, int, Lane]] = []
        self._ticket = count()
        self._handle: asyncio.TimerHandle | None = None

    def set(self, lane: Lane) -> None:
        """Call for this lane at its time."""
        if lane.wakes_at == lane.due_at:
            return
        lane.wakes_at = lane.due_at
        heapq.heappush(self._due, (lane.due_at, next(self._ticket), lane))
        if self._due[0][0] == lane.due_at:
            self._arm()

    def stop(self) -> None:
        """Call no more."""
        if self._handle:
            self._handle.cancel()

    def _arm(self) -> None:
        self.stop()
        self._handle = self._loop.call_at(self._due[0][0], self._wake)

    def _wake(self) -> None:
        now = self._loop.time()
        while self._due and self._due[0][0] <= now:
            self._ring(heapq.heappop(self._due)[2])
        if self._due:
            self._arm()
