"""The connection of the component link as the kernel has it."""

from __future__ import annotations

import asyncio
import socket

import pytest

from gateway.xmpp.component import READ_BOUND_OCTETS

from .lonely import lonely


@pytest.mark.requirement("REL-01")
def test_the_kernel_holds_little_that_was_not_read() -> None:
    """What the server has handed over and nobody has read is lost with the process: the buffer is bounded, and does not grow."""

    async def talk() -> int:
        async with lonely() as (link, relay, server):
            await (await server.peer()).accept()
            await relay.up()
            assert link.transport is not None
            held: int = link.transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
            return held

    # Linux says twice what was asked for, or what it grants at most.
    assert READ_BOUND_OCTETS < asyncio.run(talk()) <= 2 * READ_BOUND_OCTETS
