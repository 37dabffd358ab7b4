"""The control socket: a small HTTP service on a Unix socket in the data directory, for the commands that speak to a running gateway.

The socket is 0600: who may open it may steer the gateway. The same handlers are to serve the admin port. Every answer but a message is
JSON; one that says no is {"reason": "..."}.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from aiohttp import web

from gateway.core.address import Address, SipAddress
from gateway.core.canonical import text_message
from gateway.core.envelope import Envelope
from gateway.core.errors import Refusal, SyntaxFault
from gateway.core.tables import RefusalRow
from gateway.core.tokens import fresh_token

_MOST_BODY = 256 * 1024
_CLOSE_SECONDS = 1.0

T = TypeVar("T")


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


class Row(Protocol):
    """One fact: a named tuple of address, feature, takes, source, until (POSIX seconds)."""

    def _asdict(self) -> dict[str, object]:
        """By name."""


class Peers(Protocol):
    """What the people on the SIP side take."""

    def rows(self, address: SipAddress | None) -> Sequence[Row]:
        """What is known of one, or of all."""

    def pin(self, address: SipAddress, takes: Mapping[str, bool | None]) -> None:
        """Have these count whatever is learned. Raises ValueError."""

    def forget(self, address: SipAddress) -> bool:
        """Know nothing of him."""


class ControlSocket:
    """The service. `open` replaces a socket that a killed process left.

    home_of: the home address behind what somebody typed; peer_of: who on the SIP side. row_of: the texts of a refusal. protect: signs what
    a hosted account sends. Raises Refusal.
    """

    def __init__(
        self,
        path: Path,
        queue: Queue,
        health: Callable[[], Mapping[str, object]],
        home_of: Callable[[str], Address],
        row_of: Callable[[str], RefusalRow],
        peers: Peers,
        peer_of: Callable[[str], SipAddress],
        protect: Callable[[Envelope], Envelope] = lambda envelope: envelope,
    ) -> None:
        self._protect = protect
        self._peers, self._peer_of = peers, peer_of
        self._path, self._relay, self._report, self._home_of, self._row_of = path, queue, health, home_of, row_of
        self._runner: web.AppRunner | None = None

    async def open(self) -> None:
        """Listen on the socket."""
        app = web.Application(client_max_size=_MOST_BODY, middlewares=[_in_json])
        app.add_routes(
            [
                web.get("/health", self._health),
                web.get("/queue", self._queue),
                web.get("/queue/{seq:[0-9]{1,18}}", self._show),
                web.post("/queue/{seq:[0-9]{1,18}}/retry", self._retry),
                web.post("/queue/{seq:[0-9]{1,18}}/drop", self._drop),
                web.post("/send", self._send),
                web.get("/peers", self._known),
                web.post("/peers/pin", self._pin),
                web.post("/peers/forget", self._forget),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=_CLOSE_SECONDS)
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
        self._relay.load(_seq(request), _once(found))
        records = await found
        if records is None:
            return _no(500, "the store cannot be read; the log says why")
        if not records:
            return _no(404, f"no message {_seq(request)}")
        if not records[0][1]:
            return _no(422, f"message {_seq(request)} is damaged: its checksum does not hold")
        return web.Response(body=records[0][1], content_type="message/cpim")

    async def _retry(self, request: web.Request) -> web.Response:
        return web.json_response({"seq": _seq(request)}) if self._relay.retry(_seq(request)) else _nothing(request)

    async def _drop(self, request: web.Request) -> web.Response:
        return web.json_response({"seq": _seq(request)}) if self._relay.drop(_seq(request)) else _nothing(request)

    async def _send(self, request: web.Request) -> web.Response:
        """Put one message through, as if its sender had written it on his own side."""
        try:
            wanted = await request.json()
            sender, recipient, text = (wanted[name] for name in ("from", "to", "text"))
        except (ValueError, LookupError, TypeError, RecursionError):
            return _no(400, "a JSON object with from, to and text is needed")
        if not all(isinstance(value, str) for value in (sender, recipient, text)):
            return _no(400, "from, to and text must be strings")
        try:
            envelope = self._protect(_envelope(self._found(sender), self._found(recipient), text))
        except (Refusal, SyntaxFault) as fault:
            return self._refused(fault)
        decided: asyncio.Future[Refusal | None] = asyncio.get_running_loop().create_future()
        self._relay.offer(envelope, _once(decided))
        refused = await decided
        return self._refused(refused) if refused else web.json_response({"trace_id": envelope.trace_id})

    # -- peers ---------------------------------------------------------------------------------------------------------
    async def _known(self, request: web.Request) -> web.Response:
        text = request.query.get("address", "")
        try:
            return web.json_response([row._asdict() for row in self._peers.rows(self._named(text) if text else None)])
        except (Refusal, SyntaxFault) as fault:
            return self._refused(fault)

    async def _pin(self, request: web.Request) -> web.Response:
        try:
            wanted = await request.json()
            address, takes = self._named(wanted["address"]), wanted["takes"]
            if not isinstance(takes, dict) or not all(each is None or isinstance(each, bool) for each in takes.values()):
                raise TypeError
            self._peers.pin(address, takes)
        except (Refusal, SyntaxFault) as fault:
            return self._refused(fault)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return _no(400, "a JSON object with address and takes, {feature: true, false or null}, is needed")
        return web.json_response({"address": wanted["address"]})

    async def _forget(self, request: web.Request) -> web.Response:
        try:
            wanted = await request.json()
            is_known = self._peers.forget(self._named(wanted["address"]))
        except (Refusal, SyntaxFault) as fault:
            return self._refused(fault)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return _no(400, "a JSON object with address is needed")
        return web.json_response({"address": wanted["address"]}) if is_known else _no(404, f"nothing is known of {wanted['address']}")

    def _named(self, address: str) -> SipAddress:
        """Raises Refusal; SyntaxFault, which names the address."""
        try:
            return self._peer_of(address)
        except SyntaxFault as fault:
            raise SyntaxFault(f'"{address}": {fault}') from None

    # -- addresses -----------------------------------------------------------------------------------------------------
    def _found(self, address: str) -> Address:
        """Whose address that is. Raises Refusal; SyntaxFault, which names the address."""
        try:
            return self._home_of(address)
        except SyntaxFault as fault:
            raise SyntaxFault(f'"{address}": {fault}') from None

    def _refused(self, fault: Refusal | SyntaxFault) -> web.Response:
        return _no(422, (fault.detail or self._row_of(fault.key).text) if isinstance(fault, Refusal) else str(fault))


@web.middleware
async def _in_json(request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> web.StreamResponse:
    """What the framework itself says no to (path, method, size) has a reason too."""
    try:
        return await handler(request)
    except web.HTTPException as refused:
        refused.text = json.dumps({"reason": refused.reason})
        refused.content_type = "application/json"
        raise


def _once(future: asyncio.Future[T]) -> Callable[[T], None]:
    """Resolves the future, unless whoever waited has gone."""

    def resolve(result: T) -> None:
        if not future.done():
            future.set_result(result)

    return resolve


def _envelope(sender: Address, recipient: Address, text: str) -> Envelope:
    if isinstance(sender, SipAddress) is isinstance(recipient, SipAddress):
        raise Refusal("target-unknown", f"{sender} and {recipient} live on the same side")
    now, trace_id = time.time(), fresh_token()
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


def _no(status: int, reason: str) -> web.Response:
    return web.json_response({"reason": reason}, status=status)


def _nothing(request: web.Request) -> web.Response:
    return _no(404, f"message {_seq(request)} neither waits nor is parked")
