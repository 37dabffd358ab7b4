"""Whether a signed date is near enough to now, and whether the signed object came before (RFC 3923 section 6.9, RFC 3428 section 11.4).

Times are POSIX seconds. What is found is a label for `Verdict.date`; a label never is a reason to refuse but that of a repeat (SEC-09).
"""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from math import floor
from typing import NamedTuple

from gateway.core.canonical import FAILURE_TYPE as FRAGMENT_TYPE
from gateway.core.cpim import CPIM_TYPE, CpimMessage
from gateway.core.dates import DECREASING, OLD, REPEATED, REPLAY_SECONDS, UNDATED, parse_rfc3339, parse_sip_date, staleness
from gateway.core.errors import Refusal, SyntaxFault
from gateway.core.mime import Entity
from gateway.core.ports import Outer
from gateway.core.remember import learn
from gateway.core.sipfrag import parse
from gateway.core.verdict import HOLDING, Status, Verdict

from .container import parts_of

RISING_SECONDS = 600.0
"""For how long a later date has to be later than an earlier one (RFC 3923 section 6.9)."""
MOST_REMEMBERED = 65_536
SIP_TYPE = "message/sip"


class Memory:
    """Keys that are known for a time, at most so many of them: of more the oldest are forgotten."""

    def __init__(self, seconds: float = REPLAY_SECONDS, most: int = MOST_REMEMBERED) -> None:
        self._seconds, self._most = seconds, most
        self._at: dict[bytes, float] = {}

    def __len__(self) -> int:
        return len(self._at)

    def knows(self, key: bytes, now: float) -> bool:
        """Whether it was put in lately."""
        at = self._at.get(key)
        return at is not None and now - at < self._seconds

    def put(self, key: bytes, now: float) -> None:
        """Know it from now on; what has aged out makes room."""
        while self._at and now - self._at[oldest := next(iter(self._at))] >= self._seconds:
            del self._at[oldest]
        learn(self._at, key, now, self._most)

    def drop(self, key: bytes) -> None:
        """Know it no more."""
        self._at.pop(key, None)


def key_of(*parts: str) -> bytes:
    """What a Memory knows something by. No part has an LF in it."""
    return sha256("\n".join(parts).encode()).digest()[:16]


class Sighting(NamedTuple):
    """A signed object as it came.

    signer: who has signed it. digest: of the covered octets. recipient: whom it came for. signed_at: the date that the signature covers,
    None for none; is_coarse: it has no fractions of a second. signing_time: what the signature says beside it. request: Call-ID, CSeq and
    From of the request that brought it in one line; empty for what came otherwise. may_be_late: as in Outer. is_addressed: it names all
    whom it is for, so one that comes for another of them is no copy.
    """

    signer: str
    digest: str
    recipient: str
    signed_at: float | None
    is_coarse: bool = False
    signing_time: float | None = None
    request: str = ""
    may_be_late: bool = False
    is_addressed: bool = False


class Dated(NamedTuple):
    """What was found. label: as `Verdict.date`. is_risk: it may be a replay. is_repeat: this came before, for the same recipient."""

    label: str = ""
    is_risk: bool = False
    is_repeat: bool = False


class Freshness:
    """What is remembered of signed objects. grace_until: what is old may have waited for this gateway until then (MSG-85). most: objects,
    and signers."""

    def __init__(self, grace_until: float = 0.0, most: int = MOST_REMEMBERED) -> None:
        self.grace_until, self._most = grace_until, most
        self._seen, self._given = Memory(most=most), Memory(most=2 * most)
        # Of each signer, the latest date that was good, and when it came.
        self._latest: dict[str, tuple[float, float]] = {}

    def judge(self, sighting: Sighting, now: float) -> Dated:
        """What there is to say against its date; from now on it is known (MSG-86)."""
        seen, *given = _keys(sighting)
        if any(self._given.knows(key, now) for key in given):
            return Dated(REPEATED, is_risk=True, is_repeat=True)
        is_known = self._seen.knows(seen, now)
        self._seen.put(seen, now)
        for key in given:
            self._given.put(key, now)
        if is_known and not sighting.is_addressed:
            return Dated(REPEATED, is_risk=True)
        label = self._label(sighting, now)
        if is_known and label == DECREASING:
            label = ""  # It is as old as itself.
        if not label and sighting.signed_at is not None:
            latest, at = self._latest.get(sighting.signer, (0.0, now))
            is_later = sighting.signed_at >= latest or now - at >= RISING_SECONDS
            learn(self._latest, sighting.signer, (sighting.signed_at if is_later else latest, now), self._most)
        return Dated(label, is_risk=label == OLD and now < self.grace_until)

    def undo(self, sighting: Sighting, dated: Dated) -> None:
        """It was not taken after all: whoever sends it again repeats nothing. dated: what `judge` has said."""
        seen, *given = _keys(sighting)
        if dated.is_repeat:
            return
        for key in given:
            self._given.drop(key)
        if dated.label != REPEATED:
            self._seen.drop(seen)
        if not dated.label:
            self._latest.pop(sighting.signer, None)

    def _label(self, sighting: Sighting, now: float) -> str:
        stated = sighting.signed_at
        if stated is None:
            return (staleness(sighting.signing_time, now) if sighting.signing_time is not None else "") or UNDATED
        label = staleness(stated, now)
        if not label and sighting.signing_time is not None:
            label = staleness(sighting.signing_time, now)
        if label == OLD and sighting.may_be_late:
            # What was stored comes when it comes, also after what was written later.
            return ""
        return label or (DECREASING if self._falls(sighting, stated, now) else "")

    def _falls(self, sighting: Sighting, stated: float, now: float) -> bool:
        latest, at = self._latest.get(sighting.signer, (0.0, now - RISING_SECONDS))
        if now - at >= RISING_SECONDS:
            return False
        return stated < floor(latest) if sighting.is_coarse else stated <= latest


def _keys(sighting: Sighting) -> tuple[bytes, ...]:
    """Of the object, of the object for its recipient, of the request for its recipient, if there is one."""
    by, recipient = (sighting.signer, sighting.digest), sighting.recipient
    keys = (key_of(*by), key_of(*by, recipient))
    return (*keys, key_of(sighting.request, recipient)) if sighting.request else keys


def marked(verdict: Verdict, dated: Dated) -> Verdict:
    """The verdict with what was found of its date; what was good otherwise is no more where it may be a replay."""
    status = Status.REPLAY_RISK if dated.is_risk and verdict.status in HOLDING else verdict.status
    return replace(verdict, status=status, date=dated.label)


# -- which date -----------------------------------------------------------------------------------------------------------
def signed_date(covered: Entity) -> tuple[float, bool] | None:
    """The date in what a signature covers, and whether it is coarse (SMIME-22); None where there is none that can be read.

    The DateTime of message/cpim, the Date of message/sip and message/sipfrag; those may be parts of a multipart/mixed.
    """
    return next((found for part in parts_of(covered) if (found := _date_in(part))), None)


def _date_in(entity: Entity) -> tuple[float, bool] | None:
    essence = entity.content_type.essence
    try:
        if essence == CPIM_TYPE:
            stated = CpimMessage.parse(entity.decoded()).first("DateTime")
            return (parse_rfc3339(stated).timestamp(), False) if stated else None
        if essence in (SIP_TYPE, FRAGMENT_TYPE):
            stated = parse(entity.decoded(), strict=False).header("Date")
            return (parse_sip_date(stated), True) if stated else None
    except (Refusal, SyntaxFault):
        pass
    return None


def agrees(signed_at: float, outer: Outer) -> bool:
    """Whether the request says the same Date, to the second (SMIME-22)."""
    stated = next((value for name, value in outer.headers if name == "date"), "")
    try:
        return parse_sip_date(stated) == floor(signed_at)
    except SyntaxFault:
        return False


def request_of(outer: Outer) -> str:
    """Call-ID, CSeq and From of a request in one line, for `Sighting.request`."""
    said = dict(outer.headers)
    return " ".join([said.get(name, "") for name in ("call-id", "cseq", "from")])
