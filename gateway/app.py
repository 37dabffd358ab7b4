"""Puts the rooms together: one running gateway."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from gateway.admin.control import ControlSocket
from gateway.core.domain import unicode_domain
from gateway.core.errors import ConfigFault
from gateway.core.settings import Settings
from gateway.core.tables import Tables
from gateway.logs import FLUSH_SECONDS, Lines
from gateway.relay.desk import Desk
from gateway.relay.directory import Directory
from gateway.relay.guard import Guard
from gateway.relay.spellings import KIND, Spellings
from gateway.relay.worker import Relay
from gateway.sip.adapter import SipAdapter
from gateway.sip.codec import SipCodec
from gateway.store.writer import Outbox
from gateway.xmpp.codec import XmppCodec
from gateway.xmpp.component import ComponentCarrier, ComponentLink

DRAIN_SECONDS = 10.0
_STREAM_END_SECONDS = 5.0
_SWITCH_SECONDS = 0.0005
_SQLITE = "sqlite:///"

log = structlog.get_logger("gateway")


@dataclass(frozen=True, slots=True)
class Translation:
    """What turns messages of one side into messages of the other, without any server: the command line uses just this."""

    settings: Settings
    tables: Tables
    directory: Directory
    guard: Guard
    to_xmpp: XmppCodec
    to_sip: SipCodec
    spellings: Spellings


def translation(settings: Settings, tables: Tables, secret: bytes) -> Translation:
    """The pure part of a gateway with this configuration."""
    directory = Directory(tables.users, tables.domains, settings.sip.domains, settings.xmpp.domains)
    sent_by = {
        listener.transport: f"{f'[{listener.host}]' if ':' in listener.host else listener.host}:{listener.port}"
        for listener in reversed(settings.sip.listen)
    }
    spellings = Spellings(directory, secret)
    return Translation(
        settings,
        tables,
        directory,
        Guard(settings, directory),
        XmppCodec(directory, tables, settings),
        SipCodec(directory, tables, settings, secret, sent_by, spellings),
        spellings,
    )


class Gateway:
    """One gateway from its start to its end. Raises ConfigFault and StoreFault where it cannot start."""

    def __init__(self, settings: Settings, tables: Tables, lines: Lines) -> None:
        self.settings = settings
        self._lines = lines
        self.outbox = Outbox(outbox_file(settings))
        parts = translation(settings, tables, self.outbox.secret())
        self.relay = Relay(self.outbox, settings.limits, parts.spellings)
        self.sip = SipAdapter(settings, tables, parts.guard, parts.to_sip, self.relay, self.outbox.secret())
        self.xmpp = ComponentCarrier(parts.to_xmpp)
        self._parts = parts
        desk = Desk(self.relay, self.outbox, time.monotonic)
        self._control = ControlSocket(
            settings.data_dir / "control.sock", desk, lambda: self.health, lambda text: parts.directory.find(text)[1]
        )

    @property
    def health(self) -> dict[str, object]:
        """What is up and what waits; `ready` is whether every link is up."""
        links = {domain: link.up for domain, link in self.xmpp.links.items()}
        messages, octets = self.relay.size
        return {
            "ready": all(links.values()),
            "links": links,
            "messages": messages,
            "octets": octets,
            "counters": {"relay": self.relay.counters, "sip": self.sip.counters},
        }

    async def run(self) -> None:
        """Run until SIGTERM or SIGINT; then drain, and return."""
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        self._flush_log()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        await self.start()
        try:
            await stop.wait()
        finally:
            await self.stop()

    def _flush_log(self) -> None:
        self._lines.flush()
        asyncio.get_running_loop().call_later(FLUSH_SECONDS, self._flush_log)

    async def start(self) -> None:
        """Open the store, listen, connect, deliver what an earlier run left."""
        loop = asyncio.get_running_loop()
        sys.setswitchinterval(_SWITCH_SECONDS)
        self._parts.spellings.load(self.outbox.remembered(KIND))
        entries = self.outbox.start(loop)
        for domain in dict.fromkeys(unicode_domain(name) for name in self.settings.sip.domains):
            self.xmpp.links[domain] = ComponentLink(domain, self.settings.xmpp, self._parts.to_xmpp, self._parts.guard, self.relay)
        await self.sip.open()
        await self._control.open()
        self.relay.start(self.sip, self.xmpp, entries)
        for link in self.xmpp.links.values():
            link.open()
        _settle_memory()
        log.info("started", name=self.settings.name, listen=[str(listener) for listener in self.settings.sip.listen], waiting=len(entries))

    async def stop(self) -> None:
        """Refuse what is new, let finish what is on its way, end the streams, keep what they still brought, close."""
        log.info("stopping")
        self.sip.drain()
        await self._control.close()
        await _until(lambda: not self.relay.is_busy, DRAIN_SECONDS)
        await asyncio.gather(*(link.finish(_STREAM_END_SECONDS) for link in self.xmpp.links.values()))
        await _until(lambda: not self.relay.is_committing, DRAIN_SECONDS)
        self.relay.stop()
        self.sip.close()
        self.outbox.close()
        log.info("stopped", waiting=self.relay.size[0])
        self._lines.flush()


async def _until(done: Callable[[], bool], limit: float) -> None:
    loop = asyncio.get_running_loop()
    end = loop.time() + limit
    while not done() and loop.time() < end:  # noqa: ASYNC110 - the end of a drain is no event of any one room
        await asyncio.sleep(0.01)


def _settle_memory() -> None:
    """What was loaded at start never becomes garbage; short-lived messages do, in large numbers and without cycles."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def outbox_file(settings: Settings) -> Path:
    """The file of `[store] url`. Raises ConfigFault for a database that is not built."""
    if not settings.store_url.startswith(_SQLITE):
        raise ConfigFault(settings.file, "store.url", "only sqlite:/// is built")
    return Path(settings.store_url.removeprefix(_SQLITE))
