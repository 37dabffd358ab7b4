"""What code costs by itself, however busy the machine is and however full this process.

The time of this thread is counted, with the garbage collector off: a whole collection among thousands of tests takes longer than
anything measured here. The least of several runs counts, and the first that is good enough ends them. What runs twice must not be
answered from memory the second time; the gateway remembers no long texts (gateway/core/remember.py) but by `known_content`.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from time import thread_time
from typing import TypeVar

T = TypeVar("T")

RUNS = 5
LINEAR = 8.0
"""Above what four times the length costs a linear parser (4, somewhat more where caches of the processor end), below 16."""


def seconds(work: Callable[[], object], bound: float) -> float:
    """The least that it takes: up to RUNS runs, none after the first below `bound`."""
    least = _once(work)
    for _ in range(RUNS - 1):
        if least < bound:
            break
        least = min(least, _once(work))
    return least


def growth(work: Callable[[T], object], short: T, long: T) -> float:
    """How many times as much `long` takes, which is four times as long as `short`: less than LINEAR, unless the cost grows with the square.

    >>> growth(sorted, range(1000), range(4000)) < LINEAR
    True
    """
    lesser, greater = _once(lambda: work(short)), _once(lambda: work(long))
    for _ in range(RUNS - 1):
        if greater < LINEAR * lesser:
            break
        # Side by side, so that both meet the same clock rate.
        lesser, greater = min(lesser, _once(lambda: work(short))), min(greater, _once(lambda: work(long)))
    return greater / lesser


def _once(work: Callable[[], object]) -> float:
    collects = gc.isenabled()
    gc.disable()
    try:
        began = thread_time()
        work()
        return thread_time() - began
    finally:
        if collects:
            gc.enable()
