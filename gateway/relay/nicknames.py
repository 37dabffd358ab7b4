"""Who has told whom his name: XEP-0172 section 4.2 has a name said in the first message to somebody, not in each (IMSG-14)."""

from __future__ import annotations

from dataclasses import replace

from gateway.core.address import SipAddress
from gateway.core.envelope import Envelope
from gateway.core.remember import learn

_MOST = 100_000


class Nicknames:
    """The last name that each SIP user has told each XMPP user in a message that was kept, as hashes: with the key that each process has.

    In memory alone: what is lost with it, after a restart or over 100 000 pairs (then the one that was learned first goes), is a name
    that is said once more, which is not worth a row of the store for each pair. It is here and not in the codec, so that the codec stays a
    pure function: a message that has its name when it is kept has it in every try, also after a restart.
    """

    def __init__(self) -> None:
        self._told: dict[int, int] = {}

    def news(self, envelope: Envelope) -> Envelope:
        """The envelope, without the name of its sender if that is no news to the recipient."""
        pair = _pair(envelope)
        return replace(envelope, sender_name="") if pair and self._told.get(pair) == hash(envelope.sender_name) else envelope

    def learn(self, envelope: Envelope) -> None:
        """This one is on disk now, with the name that is in it."""
        if pair := _pair(envelope):
            learn(self._told, pair, hash(envelope.sender_name), _MOST)


def _pair(envelope: Envelope) -> int:
    """Who tells whom, as a hash; 0 where there is no name, or that of an XMPP user, who says it in each message."""
    sender = envelope.sender
    return hash((sender.normal, envelope.recipient)) if envelope.sender_name and isinstance(sender, SipAddress) else 0
