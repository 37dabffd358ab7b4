"""What the control socket says of a message that cannot be read, without a gateway behind it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import pytest

from gateway.admin.control import ControlSocket
from gateway.sip.peers import Peers

Records = Sequence[tuple[int, bytes]] | None


def _not_asked(*_: object, **__: object) -> NoReturn:
    raise AssertionError("a message that is shown needs nothing else")


class _Queue:
    """A relay whose store answers with `records`."""

    queue = retry = drop = offer = staticmethod(_not_asked)

    def __init__(self, records: Records) -> None:
        self._records = records

    def load(self, seq: int, done: Callable[[Records], None]) -> None:
        asyncio.get_running_loop().call_soon(done, self._records)


_NOBODY = Peers(b"", _not_asked)


async def _show(folder: Path, records: Records) -> tuple[int, Any]:
    control = ControlSocket(folder / "s", _Queue(records), lambda: {"ready": True}, _not_asked, _not_asked, _NOBODY, _not_asked)
    await control.open()
    try:
        reader, writer = await asyncio.open_unix_connection(str(folder / "s"))
        writer.write(b"GET /queue/7 HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n")
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
    finally:
        await control.close()
    return int(head.split()[1]), json.loads(body)


@pytest.mark.requirement("REL-06")
def test_a_damaged_record_is_not_shown_as_an_empty_message(tmp_path: Path) -> None:
    answer = asyncio.run(_show(tmp_path, [(7, b"")]))
    assert answer == (422, {"reason": "message 7 is damaged: its checksum does not hold"})


def test_a_store_that_cannot_be_read_is_no_missing_message(tmp_path: Path) -> None:
    assert asyncio.run(_show(tmp_path, None)) == (500, {"reason": "the store cannot be read; the log says why"})
    assert asyncio.run(_show(tmp_path, [])) == (404, {"reason": "no message 7"})


def test_the_socket_is_gone_when_the_service_ends(tmp_path: Path) -> None:
    asyncio.run(_show(tmp_path, []))
    assert not (tmp_path / "s").exists()
