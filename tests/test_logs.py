"""What a log line looks like, when it is written, and what is never in it."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from gateway.core.outcome import Outcome, Verdict
from gateway.core.ports import Notice
from gateway.logs import Lines, configure
from tests.relay.scene import JULIET, ROMEO, scene, trace_of

MOST_CHARACTERS = 4096
HOSTILE = ["\r\n", '\n{"event": "forged"}\n', "\x1b[2J\x1b[31m", "\x00", "\u2028", "\u202e", "\ud800", '"', "\\", "😀"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def written(stream: io.StringIO, say: Callable[[structlog.stdlib.BoundLogger], object], *, verbose: bool = False) -> str:
    """What is in the stream after `say` and a flush."""
    lines = configure(stream, verbose=verbose)
    say(structlog.get_logger("test"))
    lines.flush()
    return stream.getvalue()


# -- when it is written ------------------------------------------------------------------------------------------------
def test_lines_are_kept_for_a_moment_and_written_together_in_order() -> None:
    stream = io.StringIO()
    lines = Lines(stream)
    lines.put("one")
    lines.put("two")
    assert stream.getvalue() == ""
    lines.flush()
    lines.flush()
    assert stream.getvalue() == "one\ntwo\n"


def test_what_is_wrong_is_written_at_once_behind_what_is_kept() -> None:
    stream = io.StringIO()
    lines = Lines(stream)
    lines.put("one")
    lines.put_now("wrong")
    assert stream.getvalue() == "one\nwrong\n"


def test_not_more_than_a_thousand_lines_are_kept() -> None:
    stream = io.StringIO()
    lines = Lines(stream)
    for number in range(1000):
        assert stream.getvalue() == ""
        lines.put(str(number))
    assert stream.getvalue().splitlines() == [str(number) for number in range(1000)]


@pytest.mark.parametrize(("level", "at_once"), [("info", False), ("warning", True), ("error", True), ("critical", True)])
def test_levels_from_warning_up_do_not_wait(level: str, at_once: bool) -> None:
    stream = io.StringIO()
    configure(stream)
    getattr(structlog.get_logger("test"), level)("event")
    assert bool(stream.getvalue()) is at_once


@pytest.mark.parametrize("verbose", [False, True])
def test_steps_are_written_only_when_asked_for(verbose: bool) -> None:
    assert bool(written(io.StringIO(), lambda log: log.debug("step"), verbose=verbose)) is verbose


# -- what it looks like ------------------------------------------------------------------------------------------------
def test_a_line_is_a_json_object_that_says_when_how_bad_and_what() -> None:
    line = written(io.StringIO(), lambda log: log.info("delivered", seq=7, sender="~1a2b3c4d@sip.example"))
    assert line.endswith("\n")
    found = json.loads(line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", found.pop("timestamp"))
    assert found == {"level": "info", "event": "delivered", "seq": 7, "sender": "~1a2b3c4d@sip.example"}


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_a_terminal_gets_colours_unless_it_is_told_not_to(monkeypatch: pytest.MonkeyPatch, no_color: str, coloured: bool) -> None:
    monkeypatch.setenv("NO_COLOR", no_color)
    line = written(Terminal(), lambda log: log.info("delivered", seq=7))
    assert ("\x1b[" in line) is coloured
    assert "delivered" in line


def test_an_exception_is_in_the_same_line() -> None:
    def fail(log: structlog.stdlib.BoundLogger) -> None:
        try:
            raise ValueError("broken")
        except ValueError:
            log.exception("failed")

    line = written(io.StringIO(), fail)
    assert line.count("\n") == 1
    assert "ValueError: broken" in json.loads(line)["exception"]


@pytest.mark.requirement("SEC-23")
@settings(deadline=None)
@given(st.text(max_size=20) | st.sampled_from(HOSTILE), st.text(max_size=20) | st.sampled_from(HOSTILE))
@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_a_record_is_one_printable_line_whatever_a_peer_has_sent(stream: type[io.StringIO], reason: str, more: str) -> None:
    plain = written(stream(), lambda log: log.warning("later", reason="", more=""))
    line = written(stream(), lambda log: log.warning("later", reason=reason, more=more))
    assert line.count("\n") == 1
    assert line.endswith("\n")
    own = re.compile(r"\x1b\[\d+m")
    assert len(own.findall(line)) == len(own.findall(plain))
    assert own.sub("", line[:-1]).isprintable()


@pytest.mark.requirement("SEC-23")
@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
@pytest.mark.parametrize("text", ["x" * 1_000_000, "\x1b" * 1_000_000, "😀" * 100_000])
def test_a_record_is_bounded(stream: type[io.StringIO], text: str) -> None:
    line = written(stream(), lambda log: log.warning("later", reason=text, seq=1))
    assert len(line) < MOST_CHARACTERS
    if stream is io.StringIO:
        assert json.loads(line)["seq"] == 1


# -- what is in it -----------------------------------------------------------------------------------------------------
def test_a_try_that_failed_for_now_says_which_it_was_and_why(tmp_path: Path) -> None:
    with capture_logs() as records, scene(tmp_path) as it:
        it.offer("wherefore", ROMEO, JULIET)
        it.answer(it.xmpp, Outcome(Verdict.LATER, 503, "Busy"))
        it.move(6.1)
        it.answer(it.xmpp, Outcome(Verdict.DELIVERED))
    later, delivered = (record for record in records if record["event"] in ("later", "delivered"))
    assert (later["tries"], later["status"], later["reason"], delivered["tries"]) == (1, 503, "Busy", 2)


# -- what is never in it -----------------------------------------------------------------------------------------------
@pytest.mark.requirement("SEC-47", "QOS-39")
def test_neither_the_text_nor_the_person_is_in_any_record(tmp_path: Path) -> None:
    failed, later = Outcome(Verdict.FAILED, 404, "Not here"), Outcome(Verdict.LATER, 503, "Busy")
    with capture_logs() as records, scene(tmp_path, per_recipient=1) as it:
        for outcome in (later, failed, Outcome(Verdict.POISON, 0, "no"), Outcome(Verdict.UNKNOWN), Outcome(Verdict.DELIVERED)):
            it.offer("wherefore", ROMEO, JULIET, keys=(1, 2))
            it.answer(it.xmpp, outcome)
            it.move(6.1)
        it.answer_all(it.xmpp)
        it.relay.told((Notice(trace_of(it.xmpp.tries[-1].envelope), failed),))
        it.unsayable.add("wherefore")
        it.offer("wherefore")
        it.unsayable.clear()
        it.unsayable.add("report 404")
        it.offer("wherefore", ROMEO, JULIET)
        it.answer(it.xmpp, failed)
        it.disk.be_read_only()
        it.offer("wherefore", ROMEO, JULIET)
        it.move(1.0)
        it.disk.mend()
        it.offer("wherefore", expires_in=1.0)
        it.move(6.0)
    events = {record["event"] for record in records}
    assert events >= {"delivered", "failed", "later", "parked", "cannot tell the sender", "the store failed"}
    said = repr([{name: value for name, value in record.items() if name != "event"} for record in records])
    assert not re.search(r"wherefore|romeo|juliet", said)
