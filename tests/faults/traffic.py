"""Numbered traffic both ways through a bridge, and the book of what became of every message of it.

Each text is `to-xmpp <number>` or `to-sip <number>`. The phone repeats what is not answered, as RFC 3261 wants it over UDP. To SIP each
user writes to all phone users in turn, so that there are many lanes.
"""

from __future__ import annotations

import asyncio
import re
import shutil
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from gateway.store.sqlite import SqliteStore
from tests.bench.peerlab.sip import Received, Sent
from tests.bridge import USERS, Bridge
from tests.peers import wire

PHONES = 40
TURN = 0.02
SETTLED_LIMIT = 60.0
_MARK = re.compile(rb"to-(?:xmpp|sip) (\d+)\b")
_TO_SIP = re.compile(rb"to-sip (\d+)\b")
_TO_XMPP = re.compile(rb"to-xmpp (\d+)\b")
_ID = re.compile(rb"\bid=['\"]([^'\"]*)")
_ERROR = re.compile(rb"<message\b[^>]*\btype=['\"]error['\"]")
_BOUNCED = re.compile(rb"\bid=['\"]m(\d+)['\"]")


@dataclass(frozen=True, slots=True)
class Kept:
    """Numbers of the messages that lie in a store."""

    to_xmpp: frozenset[int]
    to_sip: frozenset[int]


@dataclass
class Book:
    """What became of the messages.

    answered: number -> the MESSAGE as the phone sent it, with its final status. reached_xmpp: number -> the ids of the copies that its
    recipient got. written: the user and the phone user of each message to SIP. reached_sip: number -> (Call-ID, From, CSeq) of each request
    that the phone got, in order of the first, retransmissions left out. bounced: numbers that came back to their author as an error.
    """

    answered: dict[int, Sent] = field(default_factory=dict)
    reached_xmpp: dict[int, list[bytes]] = field(default_factory=lambda: defaultdict(list))
    written: list[tuple[str, int]] = field(default_factory=list)
    reached_sip: dict[int, list[tuple[str, str, str]]] = field(default_factory=lambda: defaultdict(list))
    bounced: set[int] = field(default_factory=set)

    @property
    def accepted(self) -> set[int]:
        """Numbers of the messages that the gateway answered 202."""
        return {number for number, sent in self.answered.items() if sent.status == 202}

    @property
    def unanswered(self) -> set[int]:
        return {number for number, sent in self.answered.items() if not sent.status}

    @property
    def missing_at_sip(self) -> list[int]:
        """Numbers of the messages to SIP that neither arrived nor came back."""
        return [number for number in range(len(self.written)) if number not in self.reached_sip and number not in self.bounced]

    def fates(self, user: str) -> str:
        """What became of the messages to SIP of one user, a letter each: Arrived, Bounced, Lost."""
        return "".join(
            "A" if number in self.reached_sip else "B" if number in self.bounced else "L"
            for number, (name, _phone) in enumerate(self.written)
            if name == user
        )

    def overtaken(self) -> list[int]:
        """Numbers of the messages that reached SIP behind a later one from the same user to the same phone user."""
        newest: dict[tuple[str, int], int] = {}
        late = []
        for number in self.reached_sip:
            pair = self.written[number]
            if newest.get(pair, -1) > number:
                late.append(number)
            newest[pair] = max(number, newest.get(pair, -1))
        return late

    def twice_at_xmpp(self) -> set[int]:
        return {number for number, copies in self.reached_xmpp.items() if len(copies) > 1}

    def twice_at_sip(self) -> set[int]:
        return {number for number, copies in self.reached_sip.items() if len(copies) > 1}

    def say(self) -> str:
        statuses = Counter(sent.status for sent in self.answered.values())
        return (
            f"to XMPP: {len(self.answered)} sent, answers {dict(statuses)}, "
            f"{len(self.reached_xmpp)} arrived, {len(self.twice_at_xmpp())} of them more than once; "
            f"to SIP: {len(self.written)} written, {len(self.reached_sip)} arrived, "
            f"{len(self.twice_at_sip())} of them more than once, {len(self.bounced)} came back, {len(self.missing_at_sip)} missing"
        )


class Traffic:
    """The ends of a bridge under a steady load; `book` is kept while it lives. rate: messages a second in each direction."""

    def __init__(self, it: Bridge, phone: wire.SipEnd, rate: float) -> None:
        self.it, self.phone, self.book = it, phone, Book()
        self.users: dict[str, wire.XmppEnd] = {}
        self._each_turn = max(1, round(rate * TURN))
        self._flowing: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        phone.on_request = self._request

    # -- what arrives -----------------------------------------------------------------------------------------------------------------
    def join(self, name: str, end: wire.XmppEnd) -> None:
        """Take a user into the traffic, with what has come for her already."""
        self.users[name] = end
        for stanza in end.stanzas.waiting:
            self._stanza(stanza, 0.0)
        end.link.listen(self._stanza)

    def _request(self, received: Received) -> None:
        if found := _TO_SIP.search(received.body):
            identity = received.header("Call-ID"), received.header("From"), received.header("CSeq")
            self.book.reached_sip[int(found[1])].append(identity)
            self._changed.set()

    def _stanza(self, stanza: bytes, _at: float) -> None:
        if _ERROR.search(stanza):
            if bounced := _BOUNCED.search(stanza):
                self.book.bounced.add(int(bounced[1]))
        elif found := _TO_XMPP.search(stanza):
            identity = _ID.search(stanza)
            self.book.reached_xmpp[int(found[1])].append(identity[1] if identity else b"")
        self._changed.set()

    # -- what is sent -----------------------------------------------------------------------------------------------------------------
    def begin(self) -> None:
        self._flowing = asyncio.create_task(self._flow())

    async def end(self) -> None:
        """Send no more."""
        if self._flowing:
            self._flowing.cancel()
            await asyncio.gather(self._flowing, return_exceptions=True)

    async def _flow(self) -> None:
        while True:
            for _ in range(self._each_turn):
                self.to_xmpp()
                self.to_sip()
            await asyncio.sleep(TURN)

    def to_xmpp(self) -> None:
        """One MESSAGE to one of the users."""
        number, names = len(self.book.answered), list(USERS)
        request = self.phone.build(
            self.it.sip_of(names[number % len(names)]), self.it.phone_uri(f"s{number % PHONES}"), b"to-xmpp %d" % number
        )
        self.book.answered[number] = self.phone.send(*request)

    def to_sip(self) -> None:
        """One stanza from one of the users who are logged in."""
        number, names = len(self.book.written), list(self.users)
        if names:
            name, phone = names[number % len(names)], number // len(names) % PHONES
            self.users[name].send(b"<message to='s%d@stoxgate.test' id='m%d'><body>to-sip %d</body></message>" % (phone, number, number))
            self.book.written.append((name, phone))

    # -- the end ----------------------------------------------------------------------------------------------------------------------
    async def all_settled(self) -> None:
        """Wait until the phone has every answer, the gateway has read all that the users wrote, and nothing waits in it any more.

        What is missing after that is lost. Raises TimeoutError.
        """
        last = set()
        for _user in self.users:  # a stream keeps the order: when the last message of a user is there, none of hers is still on its way
            last.add(len(self.book.written))
            self.to_sip()
        await self._until(lambda: not self.book.unanswered, "answers")
        await self._until(lambda: last <= self.book.reached_sip.keys() | self.book.bounced, "the last message of each user")
        async with asyncio.timeout(SETTLED_LIMIT):
            while await asyncio.to_thread(self._queued):
                pass
        try:
            await self._until(lambda: self.book.accepted <= self.book.reached_xmpp.keys(), "what was accepted", 3)
        except TimeoutError:
            return  # the book says what is missing

    def _queued(self) -> bool:
        return self.it.gateway.cli("queue", "list", "--json").stdout.strip() != b"[]"

    async def _until(self, holds: Callable[[], bool], what: str, limit: float = SETTLED_LIMIT) -> None:
        try:
            async with asyncio.timeout(limit):
                while not holds():
                    self._changed.clear()
                    with suppress(TimeoutError):  # an answer to the phone wakes nobody
                        await asyncio.wait_for(self._changed.wait(), 0.2)
        except TimeoutError:
            raise TimeoutError(f"waited {limit:.0f} s in vain for {what}; {self.book.say()}") from None


@asynccontextmanager
async def traffic(it: Bridge, rate: float) -> AsyncIterator[Traffic]:
    """The phone and all users, ready to begin."""
    async with AsyncExitStack() as stack:
        made = Traffic(it, await stack.enter_async_context(it.phone()), rate)
        for name in USERS:
            made.join(name, await stack.enter_async_context(it.user(name)))
        try:
            yield made
        finally:
            await made.end()


def kept(it: Bridge, scratch: Path) -> Kept:
    """What lies in the store of a gateway that has ended. It is read from a copy: the store itself is recovered by the next start."""
    shutil.rmtree(scratch, ignore_errors=True)
    shutil.copytree(it.gateway.work / "var", scratch, ignore=shutil.ignore_patterns("*.sock"))
    store = SqliteStore(scratch / "outbox.db")
    try:
        records = [record for _seq, record in store.load([entry.seq for entry in store.entries()])]
    finally:
        store.close()
    found: dict[bytes, set[int]] = {b"to-xmpp": set(), b"to-sip": set()}
    for record in records:
        for mark in _MARK.finditer(record):
            found[mark[0].split()[0]].add(int(mark[1]))
    return Kept(frozenset(found[b"to-xmpp"]), frozenset(found[b"to-sip"]))
