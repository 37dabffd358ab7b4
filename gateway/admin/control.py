"""The control socket: a small HTTP service on a Unix socket in the data directory, for the commands that speak to a running gateway.

The socket is 0600: who may open it may steer the gateway. The same handlers are to serve the admin port.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from aiohttp import web

from gateway.core.address import Address, SipAddress
from gateway.core.canonical import text_message
from gateway.core.envelope import Envelope
from gateway.core.errors import Refusal, SyntaxFault

_MOST_BODY = 256 * 1024


class Queue(Protocol):
    """What the handlers steer: the relay."""

    def queue(self) -> list[dict[str, object]]:
        """Everything kept and not settled."""

    def load(self, seq: int, done: Callable[[Sequence[tuple[int, bytes]] | None], None]) -> None:
        """The record of one message."""

    def retry(self, seq: int) -> bool:
        """Try it now."""

    def drop(self, seq: int) -> bool:
        """Take it out."""

    def offer(self, envelope: Envelope, answered: Callable[[Refusal | None], None]) -> None:
        """Keep and deliver a message."""


class ControlSocket:
    """The service. `open` replaces a socket that a killed process left."""

    def __init__(
        self,
        path: Path,
        queue: Queue,
        health: Callable[[], Mapping[str, object]],
        home_of: Callable[[str], Address],
    ) -> None:
        self._path, self._relay, self._report, self._home_of = path, queue, health, home_of
        self._runner: web.AppRunner | None = None

    async def open(self) -> None:
        """Listen on the socket."""
        app = web.Application(client_max_size=_MOST_BODY)
        app.add_routes(
            [
                web.get("/health", self._health),
                web.get("/queue", self._queue),
                web.get("/queue/{seq:[0-9]{1,18}}", self._show),
                web.post("/queue/{seq:[0-9]{1,18}}/retry", self._retry),
                web.post("/queue/{seq:[0-9]{1,18}}/drop", self._drop),
                web.post("/send", self._send),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        self._path.unlink(missing_ok=True)
        mask = os.umask(0o177)
        try:
            await web.UnixSite(self._runner, str(self._path)).start()
        finally:
            os.umask(mask)

    async def close(self) -> None:
        """Stop listening."""
        if self._runner:
            await self._runner.cleanup()
        self._path.unlink(missing_ok=True)

    async def _health(self, _request: web.Request) -> web.Response:
        health = self._report()
        return web.json_response(health, status=200 if health["ready"] else 503)

    async def _queue(self, _request: web.Request) -> web.Response:
        return web.json_response(self._relay.queue())

    async def _show(self, request: web.Request) -> web.Response:
        found: asyncio.Future[Sequence[tuple[int, bytes]] | None] = asyncio.get_running_loop().create_future()
        self._relay.load(_seq(request), found.set_result)
        records = await found
        if not records:
            return _nothing(request)
        return web.Response(body=records[0][1], content_type="message/cpim")

    async def _retry(self, request: web.Request) -> web.Response:
        return web.json_response({"seq": _seq(request)}) if self._relay.retry(_seq(request)) else _nothing(request)

    async def _drop(self, request: web.Request) -> web.Response:
        return web.json_response({"seq": _seq(request)}) if self._relay.drop(_seq(request)) else _nothing(request)

    async def _send(self, request: web.Request) -> web.Response:
        """Put one message through, as if its sender had written it on his own side."""
        try:
            wanted = await request.json()
            sender, recipient, text = (str(wanted[name]) for name in ("from", "to", "text"))
        except (ValueError, KeyError, TypeError):
            return web.json_response({"reason": "from, to and text are needed"}, status=400)
        try:
            envelope = _envelope(self._home_of(sender), self._home_of(recipient), text)
        except (Refusal, SyntaxFault) as refusal:
            return web.json_response({"reason": str(refusal)}, status=422)
        decided: asyncio.Future[Refusal | None] = asyncio.get_running_loop().create_future()
        self._relay.offer(envelope, decided.set_result)
        refused = await decided
        if refused:
            return web.json_response({"reason": str(refused)}, status=422)
        return web.json_response({"trace_id": envelope.trace_id})


def _envelope(sender: Address, recipient: Address, text: str) -> Envelope:
    if isinstance(sender, SipAddress) is isinstance(recipient, SipAddress):
        raise Refusal("target-unknown", f"{sender} and {recipient} live on the same side")
    now, trace_id = time.time(), secrets.token_hex(8)
    return Envelope(
        id=trace_id,
        trace_id=trace_id,
        sender=sender,
        recipient=recipient,
        message=text_message(sender, recipient, text, now),
        received_at=now,
        peer="control",
    )


def _seq(request: web.Request) -> int:
    return int(request.match_info["seq"])


def _nothing(request: web.Request) -> web.Response:
    return web.json_response({"reason": f"no message {_seq(request)} that can be touched now"}, status=404)
