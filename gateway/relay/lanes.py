"""All lanes: what waits for whom, what was put aside, and how much of it is held in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from gateway.core.address import SipAddress
from gateway.core.envelope import Envelope
from gateway.core.errors import Refusal
from gateway.core.ports import Carrier, Entry

from .lane import Lane, Message

_MOST_HELD = 2000


class Lanes:
    """Sends nothing. by_key: the lanes. parked: what was put aside, by seq. held: how many messages are whole in memory.

    clock: the time of the loop.
    """

    def __init__(self, to_sip: Carrier, to_xmpp: Carrier, clock: Callable[[], float]) -> None:
        self._to_sip, self._to_xmpp, self._clock = to_sip, to_xmpp, clock
        self.by_key: dict[str, Lane] = {}
        self.parked: dict[int, Entry] = {}
        self.held = 0

    def carrier_of(self, envelope: Envelope) -> Carrier:
        """The side that it goes to."""
        return self._to_sip if isinstance(envelope.recipient, SipAddress) else self._to_xmpp

    def lane(self, key: str) -> Lane:
        """The lane of this key, a new one if there is none."""
        lane = self.by_key.get(key)
        if lane is None:
            lane = self.by_key[key] = Lane(key, self._to_sip if key.startswith("sip ") else self._to_xmpp)
        return lane

    def lane_of(self, message: Message) -> Lane:
        """The lane of a message that has been translated."""
        assert message.parcel is not None  # it has been translated
        return self.lane(message.parcel.lane)

    @property
    def is_sending(self) -> bool:
        """Whether anything is on its way to a carrier."""
        return any(lane.flying for lane in self.by_key.values())

    # -- what the store is about to bring ------------------------------------------------------------------------------
    def admit(self, message: Message, most: int) -> None:
        """Expect a message. Raises Refusal where `most` wait in its lane already, or where it has to be sent at once and cannot."""
        lane, parcel = self.lane_of(message), message.parcel
        if len(lane.waiting) + lane.coming >= most:
            raise Refusal("queue-full-recipient")
        if parcel and parcel.once and (lane.due_at > self._clock() or not lane.carrier.ready(parcel.gate, retry=False)):
            raise Refusal("link-down")
        lane.coming += 1

    def expect(self, message: Message) -> None:
        """Expect a message that the gateway says itself: for that there is room."""
        self.lane_of(message).coming += 1

    def miss(self, message: Message) -> None:
        """This one was expected and will not come."""
        lane = self.lane_of(message)
        lane.coming -= 1
        self.forget_idle(lane)

    def take(self, messages: Sequence[Message]) -> Iterable[Lane]:
        """These were expected and are on disk now: each waits; with its content only while there is room. Returns their lanes."""
        touched: dict[str, Lane] = {}
        for message in messages:
            lane = self.lane_of(message)
            lane.coming -= 1
            touched[lane.key] = lane
            if self.held >= _MOST_HELD or (lane.waiting and lane.waiting[-1].parcel is None):
                message.envelope = message.parcel = None
            else:
                self.held += 1
            lane.waiting.append(message)
        return touched.values()

    # -- what is in memory ---------------------------------------------------------------------------------------------
    def release(self, message: Message) -> None:
        """Hold no more of it than its place in the order."""
        if message.parcel is not None:
            self.held -= 1
            message.envelope = message.parcel = message.first = None

    def rest(self, lane: Lane) -> None:
        """A lane that has to wait keeps its messages in memory only while there is room for them."""
        if self.held > _MOST_HELD:
            lane.ahead = 1
            for message in lane.waiting:
                # One that may have arrived where it was redirected to has to go there again, and the store does not know where that is.
                if not (message.first and message.repeat):
                    self.release(message)

    def forget_idle(self, lane: Lane) -> None:
        """A lane in which nothing is left may go."""
        if lane.idle and lane.due_at <= self._clock():
            self.by_key.pop(lane.key, None)
