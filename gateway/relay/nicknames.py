"""Who has told whom his name: XEP-0172 section 4.2 has a name said in the first message to somebody, not in each (IMSG-14)."""

from __future__ import annotations

from dataclasses import replace

from gateway.core.address import SipAddress
from gateway.core.envelope import Envelope

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
        name, sender = envelope.sender_name, envelope.sender
        if not name or not isinstance(sender, SipAddress) or self._told.get(hash((sender.normal, envelope.recipient))) != hash(name):
            return envelope
        return replace(envelope, sender_name="")

    def learn(self, envelope: Envelope) -> None:
        """This one is on disk now, with the name that is in it."""
        name, sender = envelope.sender_name, envelope.sender
        if not name or not isinstance(sender, SipAddress):
            return
        pair = hash((sender.normal, envelope.recipient))
        self._told.pop(pair, None)
        self._told[pair] = hash(name)
        if len(self._told) > _MOST:
            del self._told[next(iter(self._told))]
