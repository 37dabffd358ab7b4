"""A relay with a real outbox between two scripted sides, in a time that the test moves.

    with scene(tmp_path) as it:
        hello = it.offer("hello")             juliet, on the XMPP side, to romeo, on the SIP side
        assert hello.is_kept and it.sip.texts == ["hello"]
        it.sip.answer(LATER)                  what became of the oldest open try
        it.move(5.0)                          five seconds later

Both clocks stand still but for `move`. Every call returns when nothing is left to do, the commits that follow within 10 ms included.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.core import sipfrag
from gateway.core.address import Address, SipAddress
from gateway.core.canonical import FAILURE_TYPE, TYPING_TYPE, text_message, typing_message, typing_of
from gateway.core.composing import compose_composing
from gateway.core.envelope import Envelope, RequestOrigin, StanzaOrigin
from gateway.core.errors import Refusal
from gateway.core.imdn import parse_notification
from gateway.core.jid import Jid
from gateway.core.outcome import DELIVERED, Outcome
from gateway.core.ports import Delivery, Keys, Parcel, Trace
from gateway.core.settings import Limits
from gateway.relay.desk import Desk
from gateway.relay.directory import Directory
from gateway.relay.relay import Relay
from gateway.relay.spellings import Spellings
from gateway.store.outbox import Outbox
from tests.store.disk import Disk, disk

EPOCH = 1_770_000_000.0
ROMEO, TOMAS = SipAddress("romeo", "sip.example"), SipAddress("tomas", "sip.example")
JULIET, MIRA = Jid("juliet", "xmpp.example"), Jid("mira", "xmpp.example")
DIRECTORY = Directory((), (), ["sip.example"], ["xmpp.example"])
COMMIT_SECONDS = 0.01
_ROUNDS = 3


class MovedLoop(asyncio.SelectorEventLoop):
    """An event loop whose time is what the test says."""

    now = 1000.0

    def time(self) -> float:
        return self.now

    @property
    def next_timer(self) -> float:
        timers: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]
        return min((handle.when() for handle in timers if not handle.cancelled()), default=float("inf"))


@dataclass(frozen=True, slots=True)
class Try:
    """One delivery as it was when it was sent."""

    text: str
    seq: int
    number: int
    repeat: bool
    at: float
    envelope: Envelope
    delivery: Delivery
    names: tuple[Trace, ...]


class Side:
    """A Carrier that does what the test tells it: a try stays open until it is answered.

    up, takes_retries, closed (gates): what `ready` says. more_names: a message has two. once: parcels must be delivered at once
    or fail. slow: texts that take a while
    before they have their place. unsayable: texts that neither
    side can translate, in no run.
    """

    def __init__(self, name: str, window: int, loop: MovedLoop, unsayable: set[str]) -> None:
        self.name, self.window, self._loop, self.unsayable = name, window, loop, unsayable
        self.up, self.takes_retries, self.once = True, True, False
        self.closed: set[str] = set()
        self.more_names = False
        self.slow: set[str] = set()
        self.tries: list[Try] = []
        self.open: list[Try] = []

    def translate(self, envelope: Envelope, number: int) -> Parcel:
        text = _said(envelope)
        if text in self.unsayable:
            raise Refusal("type-unsupported")
        names = (trace_of(envelope), *([(f"call {number}", *trace_of(envelope)[1:])] if self.more_names else []))
        lane = f"{self.name} {envelope.recipient}" + (f" {envelope.sender}" if self.name == "xmpp" else "")
        return Parcel(lane, "gate", text, self.once, names, text in self.slow)

    def ready(self, gate: str, *, retry: bool) -> bool:
        return self.up and gate not in self.closed and (self.takes_retries or not retry)

    def send(self, delivery: Delivery) -> None:
        text = str(delivery.parcel.wire)
        one = Try(text, delivery.seq, delivery.number, delivery.repeat, self._loop.now, delivery.envelope, delivery, delivery.parcel.traces)
        self.tries.append(one)
        self.open.append(one)

    @property
    def texts(self) -> list[str]:
        """What was tried so far."""
        return [one.text for one in self.tries]


class Answer:
    """What an offer was answered, and how often."""

    def __init__(self) -> None:
        self.said: list[Refusal | None] = []

    def __call__(self, refusal: Refusal | None) -> None:
        self.said.append(refusal)

    @property
    def is_kept(self) -> bool:
        return self.said == [None]

    @property
    def refusal(self) -> str:
        """The key with which it was refused, once; empty when it was not."""
        return self.said[0].key if len(self.said) == 1 and self.said[0] else ""


class Scene:
    """What runs. store, relay, sip, xmpp: of this run; `restart` makes new ones over the same file."""

    def __init__(self, folder: Path, disk: Disk, loop: MovedLoop, limits: Limits) -> None:
        self.folder, self.disk, self._loop, self.limits = folder, disk, loop, limits
        self._serial = 0
        self.unsayable: set[str] = set()
        self.start()

    def start(self, *, up: bool = True) -> None:
        self.store = Outbox(self.folder / "outbox.db")
        self.sip, self.xmpp = Side("sip", 1, self._loop, self.unsayable), Side("xmpp", 1000, self._loop, self.unsayable)
        self.sip.up = self.xmpp.up = up
        self.relay = Relay(self.store, self.limits, Spellings(DIRECTORY, self.store.secret()))
        self.desk = Desk(self.relay, self.store, self._loop.time)

        async def start() -> None:
            self.relay.start(self.sip, self.xmpp, self.store.start(self._loop))

        self._loop.run_until_complete(start())
        self.move(COMMIT_SECONDS)

    def stop(self) -> None:
        self.relay.stop()
        self.store.close()

    def restart(self, *, up: bool = True, after: float = 0.0) -> None:
        """End without a word to anybody, and begin again with what is on disk, so many seconds later."""
        self.stop()
        self._loop.now += after
        self.start(up=up)

    # -- time ----------------------------------------------------------------------------------------------------------
    @property
    def now(self) -> float:
        return self._loop.now

    @property
    def wall(self) -> float:
        return EPOCH + self._loop.now

    def move(self, seconds: float) -> None:
        """Let this time pass; what is due meanwhile happens at its time."""
        end = self._loop.now + seconds
        self._quiet()
        while (due := self._loop.next_timer) <= end:
            self._loop.now = max(self._loop.now, due)
            self._quiet()
        self._loop.now = end

    def _quiet(self) -> None:
        for _ in range(_ROUNDS):
            self._loop.run_until_complete(self._round())

    async def _round(self) -> None:
        for _ in range(3):
            await asyncio.sleep(0)
        if not self.disk.is_held:
            come_back = self._loop.create_future()
            self.store.load((), lambda _: come_back.set_result(None))
            await come_back

    # -- what people and sides do --------------------------------------------------------------------------------------
    def offer(
        self,
        text: str,
        sender: Address = JULIET,
        to: Address = ROMEO,
        *,
        expires_in: float | None = None,
        keys: Keys | None = None,
        at_once: bool = True,
        **fields: Any,
    ) -> Answer:
        """Hand a message in; at_once False hands in the next one in the same turn of the loop."""
        answer = Answer()
        expires_at = None if expires_in is None else self.wall + expires_in
        self.relay.offer(self.envelope(text, sender, to, expires_at=expires_at, **fields), answer, keys)
        if at_once:
            self.move(COMMIT_SECONDS)
        return answer

    def types(self, sender: Address = JULIET, to: Address = ROMEO, *, active: bool = True, **fields: Any) -> Answer:
        """Say that somebody is typing, or is no more."""
        message = typing_message(sender, to, self.wall, compose_composing(is_active=active))
        return self.offer("", sender, to, message=message, volatile=True, **fields)

    def envelope(self, text: str, sender: Address = JULIET, to: Address = ROMEO, **fields: Any) -> Envelope:
        self._serial += 1
        name = f"m{self._serial}"
        origin = (
            RequestOrigin(f"sip:{to}", name, "1 MESSAGE")
            if isinstance(sender, SipAddress)
            else StanzaOrigin(name, "chat", f"{sender}/balcony", str(to))
        )
        message = text_message(sender, to, text, self.wall)
        return Envelope(
            **{
                "id": name,
                "trace_id": name,
                "sender": sender,
                "recipient": to,
                "message": message,
                "received_at": self.wall,
                "peer": "test",
                "origin": origin,
            }
            | fields
        )

    def answer(self, side: Side, outcome: Outcome = DELIVERED, which: int = 0) -> Try:
        """Say what became of an open try."""
        one = side.open.pop(which)
        one.delivery.done(outcome)
        self.move(COMMIT_SECONDS)
        return one

    def answer_all(self, side: Side, outcome: Outcome = DELIVERED) -> None:
        """Say so of every try, also of those that follow."""
        while side.open:
            self.answer(side, outcome)

    def link_up(self, side: Side) -> None:
        side.up = True
        self.relay.link_up("gate")
        self.move(COMMIT_SECONDS)

    @property
    def kept(self) -> int:
        """How many messages the relay says are kept."""
        return self.relay.size[0]


def _said(envelope: Envelope) -> str:
    """What a message says: its text, or what it tells of another."""
    entity = envelope.message.entity
    if entity.content_type.essence == TYPING_TYPE:
        return "typing" if typing_of(envelope.message).is_active else "idle"
    if not envelope.about:
        return entity.text()
    if entity.content_type.essence == FAILURE_TYPE:
        return f"report {sipfrag.parse(entity.content).status}"
    notification = parse_notification(entity.content)
    return f"{notification.disposition.status}" if notification else "nothing"


def trace_of(envelope: Envelope) -> Trace:
    """How an error for this message names it."""
    return envelope.id, str(envelope.sender), str(envelope.recipient)


@contextmanager
def scene(folder: Path, **limits: Any) -> Iterator[Scene]:
    """A running relay; `limits` as in [limits]."""
    loop = MovedLoop()
    clock = SimpleNamespace(time=lambda: EPOCH + loop.now, monotonic=lambda: loop.now)
    with disk() as broken, pytest.MonkeyPatch.context() as patch:
        for room in ("relay.intake", "relay.dispatch", "relay.fates", "store.outbox"):
            patch.setattr(f"gateway.{room}.time", clock)
        it = Scene(folder, broken, loop, Limits(**limits))
        try:
            yield it
        finally:
            broken.mend()
            broken.release()
            it.stop()
            loop.close()
