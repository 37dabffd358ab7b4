"""A lane: what waits for one destination, in order, and when it may be tried. Pure; the time is handed in.

A lane is `waiting` (in order of seq), `flying` (handed to the carrier), and due at some time. Temporary failures make the whole lane
wait, so that a retry never lets a later message pass (REL-17); another destination has another lane, so nobody else waits (REL-16).
What a destination is the codec says: a SIP address; or one JID as far as one sender is concerned, for his uploads may have to wait.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.core.envelope import Envelope
from gateway.core.outcome import MOVED, REWRITTEN, Outcome, Verdict
from gateway.core.ports import Acceptance, Answered, Carrier, Parcel

FIRST_BACKOFF_SECONDS = 5.0
MOST_BACKOFF_SECONDS = 600.0
_JITTER = 0.2
_EXPIRED = Outcome(Verdict.FAILED, 480, "The message expired before it could be delivered")


@dataclass(slots=True, eq=False)
class Message:
    """One message from its acceptance to its end; what a carrier gets as a Delivery.

    number: of the next try. repeat: a try under it may have arrived; resumed: one of an earlier run. attempts: tries that failed for now.
    status, reason: what the last try was told, for the day its time is over.
    envelope, parcel: None while they are only in the store. first: the parcel as it was before a redirect changed it.
    acceptance, answered, since: set until the store has taken it; answered is None for what the gateway says itself.
    """

    seq: int
    octets: int
    expires_at: float
    number: int
    ended: Callable[[Message, Outcome], None]
    envelope: Envelope | None = None
    parcel: Parcel | None = None
    first: Parcel | None = None
    attempts: int = 0
    repeat: bool = False
    resumed: bool = False
    status: int = 0
    reason: str = ""
    acceptance: Acceptance | None = None
    answered: Answered | None = None
    since: float = 0.0

    def done(self, outcome: Outcome) -> None:
        """What became of this try."""
        self.ended(self, outcome)

    def moved(self, parcel: Parcel) -> None:
        """This try has shown another place."""
        self.first, self.parcel = self.first or self.parcel, parcel
        self.ended(self, MOVED)

    def rewritten(self, parcel: Parcel) -> None:
        """This try has shown that another form is taken; a later one from the first place is written anew anyway, as its number is new."""
        self.parcel = parcel
        self.ended(self, REWRITTEN)

    def start_over(self) -> None:
        """The next try goes where the first one went."""
        self.first, self.parcel = None, self.first or self.parcel

    @property
    def last_word(self) -> Outcome:
        """What the sender is told when its time is over: what the last try was told, else just that (E9)."""
        if self.status >= 300:
            return Outcome(Verdict.FAILED, self.status, self.reason or _EXPIRED.reason)
        return _EXPIRED


@dataclass(slots=True)
class Lane:
    """The messages for one destination.

    ahead: how many the next reading brings. stalled: the gate that the lane waits for, and whether with a retry. coming: how many
    messages a commit is about to bring. barred: one that flies is `slow`.
    """

    key: str
    carrier: Carrier
    waiting: deque[Message] = field(default_factory=deque)
    flying: dict[int, Message] = field(default_factory=dict)
    volatile: dict[str, tuple[Envelope, Parcel]] = field(default_factory=dict)
    due_at: float = 0.0
    wakes_at: float = 0.0
    loading: bool = False
    ahead: int = 1
    stalled: tuple[str, bool] | None = None
    coming: int = 0
    barred: bool = False

    @property
    def idle(self) -> bool:
        """Nothing is in it and nothing is coming: the lane may be forgotten."""
        return not (self.waiting or self.flying or self.coming or self.volatile)

    def has_room(self, now: float) -> bool:
        """Whether a message may be sent now, as far as the lane itself is concerned."""
        return not self.barred and len(self.flying) < self.carrier.window and now >= self.due_at

    def launch(self, message: Message) -> None:
        """This one flies."""
        assert message.parcel is not None  # it has been translated
        self.flying[message.seq] = message
        self.barred = message.parcel.slow

    def land(self, message: Message) -> None:
        """And this one no more. None was launched behind a slow one."""
        del self.flying[message.seq]
        if message.parcel is not None and message.parcel.slow:
            self.barred = False

    def put_back(self, message: Message) -> None:
        """A message that was flying waits again, at its place in the order."""
        at = next((at for at, other in enumerate(self.waiting) if other.seq > message.seq), len(self.waiting))
        self.waiting.insert(at, message)

    def expired(self, wall: float) -> list[Message]:
        """Take out what waits and has expired."""
        late = [message for message in self.waiting if message.expires_at <= wall]
        if late:
            self.waiting = deque(message for message in self.waiting if message.expires_at > wall)
        return late


def backoff(attempts: int, retry_after: float | None, chance: float) -> float:
    """Seconds until the next try after `attempts` failures: 5 s doubling to 10 min, not before Retry-After (REL-10).

    A bit more by `chance` (0 to 1) keeps lanes that failed together from coming back together.

    >>> backoff(1, None, 0.0), backoff(4, None, 0.0), backoff(1, 30.0, 0.0)
    (5.0, 40.0, 30.0)
    """
    doubled: float = min(FIRST_BACKOFF_SECONDS * (1 << min(attempts - 1, 16)), MOST_BACKOFF_SECONDS)
    return max(doubled * (1 + _JITTER * chance), retry_after or 0.0)
