"""Uploads (XEP-0363): asks for slots over a component link, puts the files there by HTTP, and says where they are (slots.py has the rules).

A message whose files are not all there is not written. What has been uploaded is known for an hour, so that a message that has to go again
after a lost link has the same URLs; after a restart its files are uploaded again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import NamedTuple
from xml.etree.ElementTree import Element

import aiohttp
import structlog
from yarl import URL

from gateway.core.files import File
from gateway.core.outcome import LOST, UNSENDABLE, Outcome, Verdict
from gateway.core.ports import Delivery
from gateway.core.remember import learn
from gateway.core.tokens import fresh_token

from . import slots
from .slots import Slot, Upload

MOST_AT_ONCE = 4
"""Of one link; further ones wait for their turn."""
SLOT_SECONDS, PUT_SECONDS, CONNECT_SECONDS = 20.0, 60.0, 10.0
TRYING_SECONDS = 900.0
"""What could not be uploaded for so long has failed: what its sender has written next to the same person waits behind it."""
_KNOWN_SECONDS = 3600.0
_MOST_KNOWN = 1024
_ID = "upload-"

log = structlog.get_logger("xmpp")


class Http:
    """The one HTTP client of a gateway. Follows no redirect, keeps no cookie, and verifies certificates."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def put(self, slot: Slot, file: File) -> Outcome | None:
        """Bring a file to its slot; None when it is there."""
        session = self._session = self._session or aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=PUT_SECONDS, connect=CONNECT_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": "Stoxgate"},
        )
        try:
            where = URL(slot.put, encoded=True)
            async with session.put(where, data=file.octets, headers=slot.headers(file), allow_redirects=False) as response:
                return slots.read_status(response.status)
        except TimeoutError:
            return slots.TIMED_OUT
        except aiohttp.ClientConnectorCertificateError:
            return slots.unreachable("its certificate is not valid")
        except (aiohttp.ClientError, ValueError, OSError) as error:
            # The text of the error may hold the URL, which is a secret of two people.
            return slots.unreachable(type(error).__name__)

    async def close(self) -> None:
        """Open no more."""
        if self._session:
            await self._session.close()


class _Failed(Exception):
    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.reason)
        self.outcome = outcome


class _Question(NamedTuple):
    """A slot that was asked for. sender: in whose name."""

    sender: str
    answer: asyncio.Future[Element]


class Uploads:
    """Those of one link.

    service: the JID of the service. ask: writes an iq to the stream. ready: takes a delivery whose files are all there, with its stanza.
    ended: takes one that has ended without. Each delivery comes back once, by the one or by the other.
    """

    def __init__(
        self,
        service: str,
        http: Http,
        ask: Callable[[bytes], None],
        ready: Callable[[Delivery, bytes], None],
        ended: Callable[[Delivery, Outcome], None],
    ) -> None:
        self._service, self._http, self._ask, self._ready, self._ended = service, http, ask, ready, ended
        self._room = asyncio.Semaphore(MOST_AT_ONCE)
        self._running: dict[int, tuple[Delivery, asyncio.Task[None]]] = {}
        self._questions: dict[str, _Question] = {}
        self._known: dict[int, tuple[float, tuple[str, ...]]] = {}
        self._failing: dict[int, float] = {}

    def begin(self, delivery: Delivery, upload: Upload) -> None:
        """Upload its files, unless it is known where they are."""
        until, urls = self._known.get(delivery.seq, (0.0, ()))
        if until > _now():
            self._ready(delivery, upload.stanza(urls))
            return
        task = asyncio.get_running_loop().create_task(self._conduct(delivery, upload))
        self._running[delivery.seq] = delivery, task

    def broke(self) -> None:
        """The link is lost, and with it the answers: all that has begun is to begin again."""
        running, self._running = self._running, {}
        self._questions.clear()
        for delivery, task in running.values():
            task.cancel()
            self._ended(delivery, LOST)

    def answered(self, iq: Element) -> bool:
        """Whether this iq answers a question for a slot: by its id, and by the two that it is between (SEC-43)."""
        name = iq.get("id", "")
        question = self._questions.get(name) if iq.get("type") in ("result", "error") else None
        if question is None or (iq.get("from"), iq.get("to")) != (self._service, question.sender):
            return False
        del self._questions[name]
        if not question.answer.done():
            question.answer.set_result(iq)
        return True

    # -- one message ---------------------------------------------------------------------------------------------------
    async def _conduct(self, delivery: Delivery, upload: Upload) -> None:
        """From the first question to the stanza. Whatever goes wrong, it comes back."""
        seq = delivery.seq
        try:
            async with self._room:
                urls = tuple([await self._upload(file, upload.sender) for file in upload.files])
            stanza = upload.stanza(urls)
        except _Failed as failed:
            self._end(delivery, self._in_time(seq, failed.outcome))
            return
        except Exception:
            log.exception("cannot be uploaded", seq=seq)
            self._end(delivery, UNSENDABLE)
            return
        learn(self._known, seq, (_now() + _KNOWN_SECONDS, urls), _MOST_KNOWN)
        self._failing.pop(seq, None)
        log.debug("uploaded", seq=seq, files=len(urls), octets=sum(len(file.octets) for file in upload.files))
        del self._running[seq]
        self._ready(delivery, stanza)

    def _end(self, delivery: Delivery, outcome: Outcome) -> None:
        del self._running[delivery.seq]
        if outcome.reason == slots.REFUSED:
            log.error(
                "the upload service refuses the gateway",
                service=self._service,
                hint="allow the gateway's domain there: http_file_share_access in Prosody, access of mod_http_upload in ejabberd",
            )
        self._ended(delivery, outcome)

    def _in_time(self, seq: int, outcome: Outcome) -> Outcome:
        """What may be tried later, unless it has been tried for long enough."""
        now = _now()
        since = self._failing.pop(seq, now)
        if outcome.verdict is not Verdict.LATER:
            return outcome
        if now - since >= TRYING_SECONDS:
            return Outcome(Verdict.FAILED, outcome.status, outcome.reason)
        learn(self._failing, seq, since, _MOST_KNOWN)
        return outcome

    async def _upload(self, file: File, sender: str) -> str:
        """The URL of a file that is there. Raises _Failed."""
        slot = slots.read_answer(await self._asked(file, sender), time.time())
        if isinstance(slot, Outcome):
            raise _Failed(slot)
        if outcome := await self._http.put(slot, file):
            raise _Failed(outcome)
        return slot.get

    async def _asked(self, file: File, sender: str) -> Element:
        name = _ID + fresh_token()
        question = self._questions[name] = _Question(sender, asyncio.get_running_loop().create_future())
        self._ask(slots.request(file, self._service, sender, name))
        try:
            return await asyncio.wait_for(question.answer, SLOT_SECONDS)
        except TimeoutError:
            raise _Failed(slots.TIMED_OUT) from None
        finally:
            self._questions.pop(name, None)


def _now() -> float:
    return asyncio.get_running_loop().time()
