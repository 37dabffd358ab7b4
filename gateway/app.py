"""Puts the rooms together: one running gateway."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import structlog

from gateway.admin.control import ControlSocket
from gateway.clock import Clock, grace_until
from gateway.core.domain import unicode_domain
from gateway.core.errors import ConfigFault
from gateway.core.settings import Settings
from gateway.core.tables import Tables
from gateway.logs import FLUSH_SECONDS, Lines
from gateway.relay.conversations import KIND as CONVERSATION
from gateway.relay.desk import Desk
from gateway.relay.masks import log_verdict
from gateway.relay.relay import Relay
from gateway.relay.spellings import KIND as SPELLING
from gateway.sip.adapter import SipAdapter
from gateway.sip.peers import KIND as PEER
from gateway.sip.signed_dates import SignedDates
from gateway.store.outbox import Outbox, locked
from gateway.translation import translation
from gateway.xmpp.component import ComponentCarrier, ComponentLink

DRAIN_SECONDS = 10.0
_STREAM_END_SECONDS = 5.0
_SWITCH_SECONDS = 0.0005
_DAY_SECONDS = 86_400.0
_SQLITE = "sqlite:///"

log = structlog.get_logger("gateway")


class Gateway:
    """One gateway from its start to its end. Raises ConfigFault and StoreFault where it cannot start."""

    def __init__(self, settings: Settings, tables: Tables, lines: Lines) -> None:
        self.settings = settings
        self._lines = lines
        file = outbox_file(settings)
        self._held = ExitStack()
        _make_data_dir(settings)
        if file.parent.resolve() != settings.data_dir.resolve():
            # The outbox locks its own folder; the control socket needs one owner too (REL-07).
            self._held.enter_context(locked(settings.data_dir))
        mark, grace = settings.limits.stale_date == "mark", grace_until(file, time.time())
        dates = SignedDates(mark=mark, clock_is_true=Clock().is_true, grace_until=grace)
        self.outbox = Outbox(file)
        parts = translation(settings, tables, self.outbox.secret())
        self.relay = Relay(self.outbox, settings.limits, parts.spellings)
        self.sip = SipAdapter(
            settings,
            tables,
            parts.guard,
            parts.to_sip,
            self.relay,
            self.outbox.secret(),
            parts.peers,
            dates=dates,
            security=parts.security,
        )
        self.xmpp = ComponentCarrier(parts.to_xmpp)
        self._parts = parts
        parts.peers.keep = self.relay.remember
        if parts.security:
            parts.security.tell = log_verdict
            parts.security.allow_for_absence(grace)
        desk = Desk(self.relay, self.outbox, time.monotonic)
        self._control = ControlSocket(
            settings.data_dir / "control.sock",
            desk,
            lambda: self.health,
            lambda text: parts.directory.find(text)[1],
            tables.refusal,
            parts.peers,
            parts.peer,
            *((parts.security.arrived,) if parts.security else ()),
        )

    @property
    def health(self) -> dict[str, object]:
        """What is up and what waits; `ready` is whether every link is up."""
        links = {domain: link.up for domain, link in self.xmpp.links.items()}
        messages, octets = self.relay.size
        counters = {"relay": self.relay.counters, "sip": self.sip.counters}
        if self._parts.security:
            counters["signatures"] = self._parts.security.counters
        return {
            "ready": all(links.values()),
            "links": links,
            "messages": messages,
            "octets": octets,
            "counters": counters,
        }

    async def run(self) -> None:
        """Run until SIGTERM or SIGINT; then drain, and return."""
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        self._flush_log()
        self._warn()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        loop.add_signal_handler(signal.SIGHUP, log.warning, "SIGHUP: the configuration is read at start only; restart to use a changed one")
        await self.start()
        try:
            await stop.wait()
        finally:
            await self.stop()

    def _warn(self) -> None:
        """Say which certificates end soon: at the start, and once a day."""
        if security := self._parts.security:
            for key, text in security.warnings(time.time()):
                log.warning("runs out", key=key, what=text)
            asyncio.get_running_loop().call_later(_DAY_SECONDS, self._warn)

    def _flush_log(self) -> None:
        self._lines.flush()
        asyncio.get_running_loop().call_later(FLUSH_SECONDS, self._flush_log)

    async def start(self) -> None:
        """Open the store, listen, connect, deliver what an earlier run left."""
        loop = asyncio.get_running_loop()
        sys.setswitchinterval(_SWITCH_SECONDS)
        self._parts.spellings.load(self.outbox.remembered(SPELLING))
        self.relay.conversations.load(self.outbox.remembered(CONVERSATION))
        self._parts.peers.load(self.outbox.remembered(PEER))
        entries = self.outbox.start(loop)
        for domain in dict.fromkeys(unicode_domain(name) for name in self.settings.sip.domains):
            parts = self._parts
            self.xmpp.links[domain] = ComponentLink(
                domain, self.settings.xmpp, parts.to_xmpp, parts.guard, self.relay, self.xmpp.http, parts.security
            )
        try:
            await self.sip.open()
        except ConfigFault as fault:
            raise ConfigFault(self.settings.file, fault.key, fault.reason) from None
        self.relay.start(self.sip, self.xmpp, entries)
        self.sip.serve()
        await self._control.open()
        for link in self.xmpp.links.values():
            link.open()
        _settle_memory()
        log.info("started", name=self.settings.name, listen=[str(listener) for listener in self.settings.sip.listen], waiting=len(entries))

    async def stop(self) -> None:
        """Refuse what is new, let finish what is on its way, end the streams, keep what they still brought, close."""
        log.info("stopping")
        self.sip.drain()
        await self._control.close()
        await _until(lambda: not self.relay.is_busy, DRAIN_SECONDS / 2)
        # Under traffic there is always something: from here on nothing sets out that could not come to its end, and come twice.
        self.relay.hold()
        await _until(lambda: not self.relay.is_sending, DRAIN_SECONDS / 2)
        await asyncio.gather(*(link.finish(_STREAM_END_SECONDS) for link in self.xmpp.links.values()))
        await self.xmpp.close()
        await _until(lambda: not self.relay.is_committing, DRAIN_SECONDS)
        self.relay.stop()
        self.sip.close()
        self.outbox.close()
        self._held.close()
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


def _make_data_dir(settings: Settings) -> None:
    """Raises ConfigFault for a data_dir that cannot be made or written to."""
    folder = settings.data_dir
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise ConfigFault(settings.file, "gateway.data_dir", f"{folder} cannot be written to: {error.strerror}") from None


def outbox_file(settings: Settings) -> Path:
    """The file of `[store] url`. Raises ConfigFault for a database that is not built."""
    if not settings.store_url.startswith(_SQLITE):
        raise ConfigFault(settings.file, "store.url", "only sqlite:/// is built")
    return Path(settings.store_url.removeprefix(_SQLITE))
