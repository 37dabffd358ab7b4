"""The worked examples, through the real command: a message in, the octets that the bridge would send out."""

from __future__ import annotations

import json
import re
import tomllib
from typing import Any

import pytest

from .running import VECTORS, said, stoxgate

_MADE = {b"{branch}": rb"z9hG4bK[0-9a-f]{16}", b"{tag}": rb"[0-9a-f]{24}", b"{token}": rb"[0-9a-f]{24}"}
_EXAMPLES = tomllib.loads((VECTORS / "index.toml").read_text("utf-8"))["example"]

pytestmark = pytest.mark.vectors


def _params() -> list[Any]:
    return [pytest.param(row, id=row["name"], marks=pytest.mark.requirement(*row["proves"])) for row in _EXAMPLES]


def _expected(name: str) -> re.Pattern[bytes]:
    """The octets of a file as a pattern in which only what is made anew is free."""
    parts = re.split(rb"(\{(?:branch|tag|token)\})", (VECTORS / name).read_bytes())
    return re.compile(b"".join(_MADE.get(part) or re.escape(part) for part in parts))


@pytest.mark.parametrize("example", _params())
def test_a_worked_example(example: dict[str, Any]) -> None:
    done = stoxgate("translate", *example.get("arguments", ()), *(["--json"] if "refused" in example else []), example["input"])
    if "refused" in example:
        assert (done.returncode, json.loads(done.stdout)) == (1, {"refused": example["refused"]})
        return
    assert (done.returncode, done.stderr) == (0, b"")
    if "output" in example:
        assert _expected(example["output"]).fullmatch(done.stdout), done.stdout.decode()
    for words in example.get("says", ()):
        assert words.encode() in done.stdout


def test_every_file_belongs_to_an_example() -> None:
    used = {row[key] for row in _EXAMPLES for key in ("input", "output") if key in row} | {"index.toml", "gateway.toml"}
    assert {file.name for file in VECTORS.iterdir()} - used == {"e1-second-stanza.xml"}


@pytest.mark.requirement("IMSG-11")
def test_messages_of_one_thread_share_call_id_and_from_tag() -> None:
    first, second = (stoxgate("translate", name).stdout for name in ("e1-stanza.xml", "e1-second-stanza.xml"))
    rows = [[line for line in octets.split(b"\r\n") if line.startswith((b"Call-ID:", b"From:"))] for octets in (first, second)]
    assert first != second
    assert rows[0] == rows[1]
    assert rows[0][1] == b"Call-ID: c0ffee-42"


@pytest.mark.requirement("IMSG-24", "ERR-02")
@pytest.mark.parametrize("status", ["100 Trying", "183 Session Progress", "200 OK", "202 Accepted"])
def test_a_response_that_is_no_error_becomes_no_stanza(status: str) -> None:
    response = (VECTORS / "e9-404.sip").read_bytes().replace(b"404 No such subscriber", status.encode())
    done = stoxgate("translate", stdin=response)
    assert (done.returncode, done.stdout) == (0, b"")
    assert done.stderr.decode() == f"stoxgate: nothing is sent: {status[:3]} becomes no stanza (IMSG-24)\n"


def test_the_reason_of_a_refusal_without_json() -> None:
    assert said(stoxgate("translate", "e17-request.sip"), 1) == "refused: 480 Temporarily Unavailable: SIPS Not Allowed"
    assert said(stoxgate("translate", "e8-stanza.xml"), 1) == "refused: policy-violation (modify): SIP MESSAGE limit is 1300 octets"
