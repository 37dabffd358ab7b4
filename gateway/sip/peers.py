"""What is known of the people on the SIP side: in which forms each takes a message, who says so, and until when that counts.

Only what somebody has said or shown counts. A 2xx proves nothing: proxies and message stores take what the device behind them does not
know. Facts are kept by the address of the user, as it is his own agent that answers behind any proxy; what a proxy says of itself is no
news of those behind it, so nothing is inferred for a whole next hop. An operator may pin facts, of a user or of a whole domain.

No socket and no clock of its own. RFC 3261 sections 11, 20.1 and 21.4.13; ICPIM-34, ISC-05, ERR-S415, FRAG-46.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from typing import NamedTuple

from gateway.core.address import Address, SipAddress
from gateway.core.canonical import FAILURE_TYPE, TYPING_TYPE
from gateway.core.cpim import CPIM_TYPE
from gateway.core.digest import digest
from gateway.core.envelope import Envelope
from gateway.core.imdn import NOTIFICATION_TYPE
from gateway.core.mime import ContentType
from gateway.core.ports import Notice, Recollection
from gateway.core.protection import CMS_TYPE
from gateway.core.remember import learn

from .message import Request
from .section import Headers
from .takes import UNKNOWN, Takes

KIND = "peer"
"""Of the recollections in which facts survive a restart."""
FEATURES = {
    "cpim": CPIM_TYPE,
    "imdn": NOTIFICATION_TYPE,
    "typing": TYPING_TYPE,
    "html": "text/html",
    "sipfrag": FAILURE_TYPE,
    "smime": CMS_TYPE,
}
"""Each field of Takes, and the media type by which an Accept names it."""
PINNED = "pinned"
SENT, OPTIONS, REFUSED = "sent", "OPTIONS", "415"
_SOURCES = (SENT, OPTIONS, REFUSED, PINNED)
"""Where facts come from: what a user has sent himself, his answer to OPTIONS, his 415, the operator. Of what was learned the newest holds,
but an answer to OPTIONS takes back no 415 that still counts."""
LEARNED_SECONDS, PINNED_SECONDS = 86_400.0, 365 * 86_400.0
MOST_KNOWN = 100_000
_RANGE = re.compile(r"[^\s/\"<>]+/[^\s/\"<>]+")
_NEVER = re.compile(r"q[ \t]*=[ \t]*0(?:\.0{0,3})?")
_OF_MESSAGES = re.compile(r"text/|message/(?:\*|cpim|imdn\+xml)\Z|multipart/|\*/\*")
"""Media ranges of what a MESSAGE carries; a phone names message/sipfrag for its transfers."""
_FEATURE_OF = {media_type: feature for feature, media_type in FEATURES.items()}

assert set(FEATURES) == {each.name for each in fields(Takes)}


class Fact(NamedTuple):
    """Whether something is taken, by which source, and until when that counts (POSIX seconds)."""

    takes: bool
    source: str
    until: float


ByFeature = dict[str, Fact]


class Row(NamedTuple):
    """One fact for people. address: user@domain; *@domain for all there of whom nothing else is known."""

    address: str
    feature: str
    takes: bool
    source: str
    until: float


class Peers:
    """What is known. clock: POSIX seconds. secret: key of the digests by which it is kept. keep: takes what has to survive a restart.

    Of 100 000 users at most is anything known; then who was learned of longest ago goes. What is pinned stays.
    """

    def __init__(self, secret: bytes, clock: Callable[[], float], keep: Callable[[Recollection], None] = lambda _: None) -> None:
        self._secret, self._clock, self.keep = secret, clock, keep
        self._pinned: dict[SipAddress, ByFeature] = {}
        self._learned: dict[SipAddress, ByFeature] = {}
        self._asked: dict[SipAddress, float] = {}

    # -- what is known -------------------------------------------------------------------------------------------------
    def takes(self, address: SipAddress) -> Takes:
        """What this user is known to take: the `Known` of the codec. What is pinned for his domain counts last."""
        if not (self._learned or self._pinned):
            return UNKNOWN
        found = self._facts(address.normal, self._clock())
        return Takes(**{feature: fact.takes for feature, fact in found.items()}) if found else UNKNOWN

    def rows(self, address: SipAddress | None = None) -> list[Row]:
        """Everything known of one user, or of all; sorted."""
        now = self._clock()
        everybody = {*self._pinned, *self._learned} if address is None else {address.normal}
        found = {who: self._facts(who, now, of_domain=address is not None) for who in everybody}
        return sorted(
            Row(str(who) if who.user else f"*@{who}", feature, *fact) for who, facts in found.items() for feature, fact in facts.items()
        )

    def _facts(self, who: SipAddress, now: float, *, of_domain: bool = True) -> ByFeature:
        places = [self._pinned.get(SipAddress("", who.domain), {})] if of_domain else []
        places += [self._learned.get(who, {}), self._pinned.get(who, {})]
        return {feature: fact for facts in places for feature, fact in facts.items() if fact.until > now}

    # -- learning ------------------------------------------------------------------------------------------------------
    def refused(self, address: Address, features: Sequence[str], response: Headers) -> None:
        """A 415 to a form that needs all of these, and what an Accept in it says (RFC 3261 section 21.4.13).

        Where it does not say which of them is not taken, it is the first: what else the form needs may well be known elsewhere.
        """
        found = listed(response)
        # Whoever is on the way could say so, to have messages sent in the clear (SMIME-37).
        found.pop("smime", None)
        if not any(found.get(feature) is False for feature in features):
            found[features[0]] = False
        if isinstance(address, SipAddress):
            self._learn(address, found, REFUSED)

    def answered(self, address: SipAddress, response: Headers) -> None:
        """A 2xx to OPTIONS, where Accept says what an INVITE may carry (RFC 3261 section 11.2).

        So what it names is taken, and what it does not name may be taken all the same. Only of typing notices, which nobody misses, one
        that speaks of messages and not of them says no.
        """
        found = listed(response)
        takes = {feature: True for feature, is_taken in found.items() if is_taken}
        if found.get("typing") is False and any(_OF_MESSAGES.match(name) for name in _accepted(response)):
            takes["typing"] = False
        self._learn(address, takes, OPTIONS)

    def met(self, request: Request, read: Envelope | tuple[Notice, ...]) -> None:
        """A MESSAGE that was accepted, and what was read of it: what somebody sends himself he takes, too.

        Who asks for notifications takes them, while no 415 of his says otherwise. A report of a failure shows nothing: whom it names is
        not who wrote it. An Accept has no place in a MESSAGE, and says nothing there (RFC 3428 table 1, MSG-34).
        """
        shown = {_feature_of(request.content_type)}
        if isinstance(read, Envelope):
            sender = read.sender
            shown.add(_feature_of(read.message.entity.content_type))
            if read.asked and not self._has_refused(sender, "imdn"):
                shown.add("imdn")
        elif read and read[0].trace[0].startswith("imdn "):
            # The author of a notification is the sender of its request.
            sender = _address(read[0].trace[1])
            shown.add("imdn")
        else:
            return
        if isinstance(sender, SipAddress) and (takes := dict.fromkeys(shown - {""}, True)):
            self._learn(sender, takes, SENT)

    def _has_refused(self, address: Address, feature: str) -> bool:
        """Whether a 415 of his still counts."""
        facts = self._learned.get(address.normal, {}) if isinstance(address, SipAddress) else {}
        return feature in facts and facts[feature].source == REFUSED and facts[feature].until > self._clock()

    def may_ask(self, address: SipAddress) -> bool:
        """Whether he may be asked by OPTIONS now: once in 24 h, whatever comes of it. He counts as asked then."""
        who, now = address.normal, self._clock()
        if self._asked.get(who, 0.0) > now:
            return False
        learn(self._asked, who, now + LEARNED_SECONDS, MOST_KNOWN)
        return True

    def not_asked(self, address: SipAddress, wait: float = 0.0) -> None:
        """It could not be sent: he may be asked the next time, after so many seconds."""
        learn(self._asked, address.normal, self._clock() + wait, MOST_KNOWN)

    def _learn(self, address: SipAddress, takes: Mapping[str, bool], source: str) -> None:
        """Take up what is new, or about to be forgotten; so a fact that is shown with every message is written twice a day.

        Of a domain, and of whoever does not say who he is, there is nothing to learn.
        """
        if not address.user or address.is_anonymous:
            return
        who, now = address.normal, self._clock()
        known = {feature: fact for feature, fact in self._learned.get(who, {}).items() if fact.until > now}
        fresh = {
            feature: Fact(is_taken, source, now + LEARNED_SECONDS)
            for feature, is_taken in takes.items()
            if _outweighs(is_taken, source, known.get(feature), now)
        }
        if fresh:
            self._put(self._learned, who, known | fresh, now)

    # -- the operator --------------------------------------------------------------------------------------------------
    def pin(self, address: SipAddress, takes: Mapping[str, bool | None]) -> None:
        """Have these count for a year, whatever is learned; None takes a pin out. An address without a user is a whole domain.

        Raises ValueError for what is no feature.
        """
        if unknown := [feature for feature in takes if feature not in FEATURES]:
            raise ValueError(f'"{unknown[0]}" is none of {", ".join(FEATURES)}')
        who, now = address.normal, self._clock()
        pinned = {feature: fact for feature, fact in self._pinned.get(who, {}).items() if feature not in takes}
        until = now + PINNED_SECONDS
        pinned |= {feature: Fact(is_taken, PINNED, until) for feature, is_taken in takes.items() if is_taken is not None}
        self._put(self._pinned, who, pinned, now)

    def forget(self, address: SipAddress) -> bool:
        """Know nothing of this user any more. False where nothing was known."""
        who, now = address.normal, self._clock()
        self._asked.pop(who, None)
        places = [place for place in (self._pinned, self._learned) if who in place]
        for place in places:
            self._put(place, who, {}, now)
        return bool(places)

    # -- keeping -------------------------------------------------------------------------------------------------------
    def load(self, remembered: Iterable[tuple[int, str]]) -> None:
        """Take up what an earlier run wrote down, oldest first; what is no more than that is passed over."""
        for _, text in remembered:
            try:
                address, is_pinned, facts = json.loads(text)
                who = _address(address)
                found = {feature: Fact(bool(takes), str(source), float(until)) for feature, (takes, source, until) in facts.items()}
            except (ValueError, TypeError, AttributeError):
                continue
            self._set(self._pinned if is_pinned else self._learned, who, _known(found))

    def _put(self, place: dict[SipAddress, ByFeature], who: SipAddress, facts: ByFeature, now: float) -> None:
        self._set(place, who, facts)
        is_pinned = place is self._pinned
        # It has to outlive whatever it takes back.
        until = now + (PINNED_SECONDS if is_pinned else LEARNED_SECONDS)
        key = digest(self._secret, str(who).encode(), PINNED.encode() if is_pinned else b"")
        self.keep(Recollection(KIND, key, until, json.dumps([str(who), is_pinned, facts], ensure_ascii=False)))

    def _set(self, place: dict[SipAddress, ByFeature], who: SipAddress, facts: ByFeature) -> None:
        if not facts:
            place.pop(who, None)
        elif place is self._learned:
            learn(place, who, facts, MOST_KNOWN)
        else:
            place[who] = facts


def _address(text: str) -> SipAddress:
    """What `str` made of an address."""
    user, _, domain = text.rpartition("@")
    return SipAddress(user, domain)


def _known(facts: ByFeature) -> ByFeature:
    """Without what another version knew."""
    return {feature: fact for feature, fact in facts.items() if feature in FEATURES and fact.source in _SOURCES}


def _feature_of(content_type: ContentType | None) -> str:
    return _FEATURE_OF.get(content_type.essence, "") if content_type else ""


def _outweighs(is_taken: bool, source: str, known: Fact | None, now: float) -> bool:
    if known is None or REFUSED == source != known.source:
        return True
    if source == OPTIONS and known.source == REFUSED:
        return False
    return is_taken is not known.takes or known.until - now < LEARNED_SECONDS / 2


def listed(headers: Headers) -> dict[str, bool]:
    """What an Accept says of each feature (RFC 3261 section 20.1); nothing where there is none, or one that cannot be read.

    A notification always comes in message/cpim (RFC 5438 section 8), so one who takes that and does not name message/imdn+xml, which no
    body of his has as its own type, has said nothing of it.
    """
    values = headers.values("accept")
    if not values and any(value.strip() for value in headers.index.get("accept", (b"?",))):
        return {}
    ranges = _ranges(values)
    if not all(_RANGE.fullmatch(name) for name in ranges):
        return {}
    found = {feature: _is_listed(media_type, ranges) for feature, media_type in FEATURES.items()}
    if not found["imdn"] and found["cpim"] and FEATURES["imdn"] not in ranges:
        del found["imdn"]
    return found


def _accepted(headers: Headers) -> list[str]:
    return [name for name, is_accepted in _ranges(headers.values("accept")).items() if is_accepted]


def _ranges(values: Sequence[str]) -> dict[str, bool]:
    """media-range -> whether it is accepted: not with q=0."""
    ranges: dict[str, bool] = {}
    for value in values:
        name, *params = [part.strip(" \t").lower() for part in value.split(";")]
        ranges[name] = ranges.get(name, False) or not any(_NEVER.fullmatch(param) for param in params)
    return ranges


def _is_listed(media_type: str, ranges: Mapping[str, bool]) -> bool:
    """The most specific range decides."""
    for name in (media_type, f"{media_type.partition('/')[0]}/*", "*/*"):
        if name in ranges:
            return ranges[name]
    return False


def as_takes(words: Mapping[str, str]) -> dict[str, bool | None]:
    """What an operator has typed: {"cpim": "no"}. Raises ValueError that says what is wrong."""
    said = {"yes": True, "no": False, "auto": None}
    for feature, word in words.items():
        if feature not in FEATURES:
            raise ValueError(f'"{feature}" is none of {", ".join(FEATURES)}')
        if word not in said:
            raise ValueError(f'{feature}: "{word}" is none of {", ".join(said)}')
    return {feature: said[word] for feature, word in words.items()}
