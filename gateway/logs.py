"""How events are written: one JSON line each, or coloured lines on a terminal (plain ones where NO_COLOR is set).

An info line a message is cheap only when lines leave many at a time: they are buffered and written ten times a second, and at once when
something is wrong. A kill -9 loses the last tenth of a second of the log, never a message.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, WrappedLogger

FLUSH_SECONDS = 0.1
_MOST_BUFFERED = 1000
_MOST_LINE, _MOST_VALUE = 2000, 256


class Lines:
    """A buffer in front of a stream."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lines: list[str] = []

    def put(self, line: str) -> None:
        """Keep a line for the next flush."""
        self._lines.append(line)
        if len(self._lines) >= _MOST_BUFFERED:
            self.flush()

    def put_now(self, line: str) -> None:
        """Write a line at once, behind what is kept."""
        self._lines.append(line)
        self.flush()

    def flush(self) -> None:
        """Write what is kept."""
        if self._lines:
            lines, self._lines = self._lines, []
            self._stream.write("\n".join(lines) + "\n")
            self._stream.flush()


class _Logger:
    """What structlog hands rendered lines to: a method for each level."""

    def __init__(self, lines: Lines) -> None:
        self.debug = self.info = lines.put
        self.warning = self.error = self.critical = self.exception = self.warn = self.fatal = lines.put_now


def configure(stream: TextIO = sys.stderr, *, verbose: bool = False) -> Lines:
    """Send every event to `stream`; the result has to be flushed every `FLUSH_SECONDS`."""
    lines = Lines(stream)
    processors: list[Callable[[WrappedLogger, str, EventDict], Any]]
    if stream.isatty():
        processors = [
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _tamed,
            structlog.dev.ConsoleRenderer(colors=not os.environ.get("NO_COLOR")),
        ]
    else:
        processors = [structlog.processors.format_exc_info, _rendered]
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG if verbose else logging.INFO),
        logger_factory=lambda *_: _Logger(lines),
        cache_logger_on_first_use=True,
    )
    return lines


def _rendered(_logger: WrappedLogger, level: str, event: EventDict) -> str:
    """One JSON line; foreign text in it is escaped by the encoder, and bounded (SEC-23)."""
    now = time.time()
    whole = int(now)
    stamp = f"{_second(whole)}.{int((now - whole) * 1000):03}Z"
    record = {"timestamp": stamp, "level": level, "event": event.pop("event", ""), **event}
    line = _encode(record)
    return line if len(line) <= _MOST_LINE else _encode(_tamed(_logger, level, record))


def _tamed(_logger: WrappedLogger, _level: str, event: EventDict) -> EventDict:
    """Every text in one bounded, printable piece (SEC-23); a traceback is our own and stays as it is."""
    for name, value in event.items():
        if isinstance(value, str) and name != "exception" and (len(value) > _MOST_VALUE or not value.isprintable()):
            piece = "".join(char if char.isprintable() else repr(char)[1:-1] for char in value[:_MOST_VALUE])
            event[name] = f"{piece}... ({len(value)} characters)" if len(value) > _MOST_VALUE else piece
    return event


_encode = json.JSONEncoder(ensure_ascii=True, separators=(", ", ": "), default=repr).encode


@lru_cache(maxsize=2)
def _second(posix: int) -> str:
    return datetime.fromtimestamp(posix, UTC).strftime("%Y-%m-%dT%H:%M:%S")


__all__ = ["FLUSH_SECONDS", "Lines", "configure"]
