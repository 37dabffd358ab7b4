"""What the rooms need of each other, as protocols. A room implements some of these and is handed the others by `app.py`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from .address import Address, SipAddress
from .envelope import Envelope
from .errors import Refusal
from .imdn import Disposition
from .jid import Jid
from .outcome import Outcome
from .uri import Uri


# -- who may speak, and where it goes ---------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Peer:
    """A SIP peer that is allowed to speak.

    label: for logs and the envelope ("udp:192.0.2.7"). domains: the SIP domains it may speak for; None for all that are served.
    """

    label: str
    domains: frozenset[str] | None = None
    store_and_forward: bool = False


class Parties(NamedTuple):
    """The two ends of a message, as home addresses with the device at each end."""

    sender: Address
    recipient: Address
    sender_device: str = ""
    recipient_device: str = ""


class Policy(Protocol):
    """The guard and the directory as an adapter sees them. Every method raises Refusal."""

    def peer(self, transport: str, host: str) -> Peer:
        """The peer at this source address (SEC-05)."""

    def from_sip(self, peer: Peer, sender: Uri, target: Uri) -> Parties:
        """Who writes to whom in a SIP request. The sender is judged before anything is said about the target (SEC-40)."""

    def reaches(self, target: Uri) -> tuple[Jid, str]:
        """Whom on the XMPP side a SIP URI reaches, and on which device."""

    def from_xmpp(self, link: str, sender: Jid, target: Jid) -> Parties:
        """Who writes to whom in a stanza that came over the component link of domain `link`."""


class Names(Protocol):
    """How a person is called on the side where he does not live; on his own side he has his home address."""

    def jid_of(self, home: Address) -> Jid:
        """The bare JID under which the XMPP side knows this person. Raises Refusal."""

    def sip_of(self, home: Address) -> SipAddress:
        """The SIP address under which the SIP side knows this person. Raises Refusal."""


# -- what is protected from end to end -----------------------------------------------------------------------------------
class Outer(NamedTuple):
    """The SIP request around a protected body, as it came: what a signed copy or part of it is compared with (SMIME-24, FRAG-62).

    headers: (name in lower case and long form, value), in order. may_be_late: it comes from a peer that stores and forwards (MSG-84).
    """

    method: str
    request_uri: str
    headers: tuple[tuple[str, str], ...]
    may_be_late: bool = False


class Security(Protocol):
    """What is done with the protection of a message before it is kept."""

    def arrived(self, envelope: Envelope, outer: Outer | None = None) -> Envelope:
        """The message with a verdict on its protection; decrypted, or signed and encrypted, where one of its ends is hosted here.

        outer: of a message that came in a SIP request. Raises Refusal for what is not signed as it has to be, and what cannot be decrypted.
        """

    def answered(self, envelope: Envelope, *, is_kept: bool) -> None:
        """The Sink has decided on a message that came out of `arrived`. Who sends again what was not kept repeats nothing."""


# -- taking messages ---------------------------------------------------------------------------------------------------
Keys = tuple[int, int]
"""The two digests by which a SIP arrival is known again (MSG-19): of the transaction, of the message."""

Answered = Callable[[Refusal | None], None]
"""Called once, on the loop: None when the message is kept, else why it is not."""

Trace = tuple[str, str, str]
"""How news of a message name it: (its name on that side, the address of ours that it came from there, whom it was for there).

On the XMPP side: (stanza id, our JID, their bare JID). On the SIP side the addresses are the home addresses in normal form, of recipient
and author, and a message has two names: "imdn Message-ID" where it asks for notifications, and "Call-ID CSeq-number" of its request.
"""


class Notice(NamedTuple):
    """News of a message that was delivered before: a disposition, or how it failed after all (FAILED, with a status).

    is_report: it may stand in a message that says something else to a person; so where nothing is known of what it is about, that is told.
    """

    trace: Trace
    news: Disposition | Outcome
    is_report: bool = False


class Sink(Protocol):
    """Takes responsibility for messages. Implemented by the relay, used by both adapters."""

    def age(self, key: int) -> float | None:
        """Seconds since a message with this digest was kept; None when that was not in the last minutes (MSG-19)."""

    def offer(self, envelope: Envelope, answered: Answered, keys: Keys | None = None) -> None:
        """Keep this message and deliver it. Never blocks; `answered` is called once, within 3 s unless a commit is running."""

    def told(self, notices: Sequence[Notice], answered: Answered | None = None) -> None:
        """News of messages that were delivered before: their senders are told what they asked for and have not been told, each in a kept
        message of its own; what is about no known message is dropped. answered: as in `offer`, for the request that brought them;
        with the Refusal "report-unknown" when it was a report and about no known message."""

    def link_up(self, gate: str) -> None:
        """A gate that was not ready may be so now."""


# -- delivering --------------------------------------------------------------------------------------------------------
class Parcel(NamedTuple):
    """A message in the form of the side it goes to.

    lane: a key; messages of one lane keep their order and wait for each other, and all between the same two are of one. gate: the link or
    next hop that it needs.
    wire: the translated message, read by its carrier only. once: it must be delivered at once or fail (`store = false` on its route).
    traces: how later news of it may name it; first the one by which a notification that was asked for will. slow: its carrier needs a
    while before the message has its place in the order: until it has ended, nothing else of its lane is sent.
    """

    lane: str
    gate: str
    wire: object
    once: bool
    traces: tuple[Trace, ...] = ()
    slow: bool = False


class Delivery(Protocol):
    """One message that is to be put on the wire now. The carrier calls `done`, `moved` or `rewritten`, exactly once, on the loop."""

    @property
    def seq(self) -> int:
        """Its number in the store."""

    @property
    def number(self) -> int:
        """The CSeq number of this try, before it is taken modulo 2**31."""

    @property
    def repeat(self) -> bool:
        """Whether an earlier try under this number may have arrived."""

    @property
    def envelope(self) -> Envelope:
        """The message."""

    @property
    def parcel(self) -> Parcel:
        """The message as its carrier has translated it."""

    def done(self, outcome: Outcome) -> None:
        """What became of this try."""

    def moved(self, parcel: Parcel) -> None:
        """This try has shown another place: send it again as this parcel of the same lane, once its new number is kept."""

    def rewritten(self, parcel: Parcel) -> None:
        """This try has shown that this form is not taken there: the same with another one, which stays for later tries."""


class Carrier(Protocol):
    """One side, as the relay sees it."""

    window: int
    """How many messages of one lane may be on their way at once (RFC 3428 section 8 says one towards SIP)."""

    def translate(self, envelope: Envelope, number: int) -> Parcel:
        """The message in this side's form; pure. `number` as in Delivery. Raises Refusal when it cannot be said there."""

    def ready(self, gate: str, *, retry: bool) -> bool:
        """Whether this link or next hop is up and has room (for a retry). When that changes, the carrier calls `Sink.link_up`."""

    def send(self, delivery: Delivery) -> None:
        """Put it on the wire, once."""


# -- keeping -----------------------------------------------------------------------------------------------------------
BRIEF, LASTING = "request", "receipt"
"""Kinds of recollections that `Store.recall` finds: of every message for some minutes, of one that asked to be told for days."""


class Recollection(NamedTuple):
    """Something that a later answer needs to find its way back.

    kind: BRIEF and LASTING (Trace -> the message that it names), "spelling" (a SIP user as last spelled), "peer" (what one takes), ...
    key: digest of what it is found by. until: POSIX seconds. facts: what is remembered; the newest under a key is what counts.
    """

    kind: str
    key: int
    until: float
    facts: str


class Acceptance(NamedTuple):
    """A message to be kept.

    seq: a number of `Store.number`, in order. record: `Envelope.to_cpim()`. keys: the dedupe digests of a SIP arrival.
    forgets: the key of a BRIEF recollection that is used up by this one.
    """

    seq: int
    lane: str
    record: bytes
    received_at: float
    expires_at: float
    keys: Keys | None = None
    recollections: tuple[Recollection, ...] = ()
    forgets: int = 0


class Settlement(NamedTuple):
    """What became of a kept message that was not just delivered: failed for good, to be tried again, or put aside.

    seq: 0 for a follow-up to a message that was settled before. due_at: None when it has failed; else when it is tried again, in POSIX
    seconds. number: of the next try. attempts: so far.
    parked: why it is put aside (REL-18), empty when it is not. follow_up: a failure message for its sender, kept in the same commit.
    """

    seq: int
    due_at: float | None = None
    number: int = 0
    attempts: int = 0
    parked: str = ""
    follow_up: Acceptance | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """What the index of the outbox knows of one kept message."""

    seq: int
    lane: str
    octets: int
    received_at: float
    expires_at: float
    due_at: float
    number: int
    attempts: int
    parked: str


@dataclass(frozen=True, slots=True)
class Committed:
    """The result of one commit. fault: empty, or why nothing of it is kept."""

    fault: str = ""


class Store(Protocol):
    """The durable outbox, as the worker sees it. Everything is called, and calls back, on the loop."""

    def number(self) -> int:
        """The next number of the one sequence: rises, and is never used twice, also across a crash."""

    def secret(self) -> bytes:
        """The key of the keyed hashes, the same for the life of this store."""

    def age(self, key: int) -> float | None:
        """Seconds since a message with this digest was kept; None when that was not in the last 5 minutes."""

    def full(self) -> bool:
        """Whether no more digests can be remembered now."""

    def commit(
        self,
        acceptances: Sequence[Acceptance],
        settled: Sequence[int],
        settlements: Sequence[Settlement],
        done: Callable[[Committed], None],
        memories: Sequence[Recollection] = (),
    ) -> None:
        """Keep, settle and postpone all of these in one transaction with one fsync. One call may run at a time.

        settled: the seqs of what is settled for good with nothing to follow. memories: what is remembered beside all messages.
        """

    def load(self, seqs: Sequence[int], done: Callable[[Sequence[tuple[int, bytes]] | None], None]) -> None:
        """The records of these messages, in order; one that is gone is left out, a damaged one has an empty record.

        None when the store cannot be read now.
        """

    def remembered(self, kind: str) -> Sequence[tuple[int, str]]:
        """(key, facts) of everything remembered of a kind, oldest first. Reads the disk: only before anything is delivered."""

    def recall(self, key: int, done: Callable[[str | None], None]) -> None:
        """The facts of the newest BRIEF or LASTING recollection of this key; empty when there are none, None when it cannot be read now."""
