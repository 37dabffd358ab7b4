"""Who on the SIP side speaks of conversations, as RCS does, and what he last said of each: an answer says it again (RCS-02, RCS-03)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from gateway.core.address import SipAddress
from gateway.core.digest import digest
from gateway.core.envelope import Conversation, Envelope, StanzaOrigin
from gateway.core.jid import Jid
from gateway.core.ports import Recollection
from gateway.core.remember import learn
from gateway.core.tokens import fresh_uuid

KIND = "conversation"
_SECONDS = 30 * 86_400.0
_MOST = 100_000


class Conversations:
    """For each pair of correspondents the conversation of the last message that was kept of the SIP user, and which of them use RCS.

    Over 100 000 pairs the one that was learned first goes. Who last wrote to somebody without a conversation uses RCS there no more.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._last: dict[int, Conversation] = {}
        self._users: dict[int, None] = {}

    def load(self, remembered: Iterable[tuple[int, str]]) -> None:
        """Take up what an earlier run wrote down, oldest first."""
        for key, facts in remembered:
            self.learn(key, facts)

    def joined(self, envelope: Envelope) -> Envelope:
        """The envelope of an XMPP user to somebody who uses RCS, with what belongs to it; any other as it is.

        It answers the last message of that pair, unless its thread is another one: that is a conversation of its own, with the name of the
        thread. Where there was no message and no thread, it begins one.
        """
        recipient, sender = envelope.recipient, envelope.sender
        if not self._users or not isinstance(recipient, SipAddress) or not isinstance(sender, Jid):
            return envelope
        if not isinstance(envelope.origin, StanzaOrigin):
            return envelope  # The gateway itself speaks.
        last = self._last.get(self._pair(recipient, sender))
        if last is None and self._user(recipient) not in self._users:
            return envelope
        return replace(envelope, conversation=_next(last, envelope.thread))

    def news(self, envelope: Envelope) -> Recollection | None:
        """What has to be written down with this message, if anything."""
        sender, recipient, said = envelope.sender, envelope.recipient, envelope.conversation
        if not (isinstance(sender, SipAddress) and isinstance(recipient, Jid)) or sender.is_anonymous or not (said or self._last):
            return None
        key = self._pair(sender, recipient)
        if said is None and key not in self._last:
            return None
        # Without a conversation, too: this takes the place of what was there, which alone says that he uses RCS.
        facts = f"{self._user(sender)} {said.dump() if said else ''}"
        return Recollection(KIND, key, envelope.received_at + _SECONDS, facts)

    def learn(self, key: int, facts: str) -> None:
        """This is on disk now."""
        user, _, said = facts.partition(" ")
        learn(self._users, int(user), None, _MOST)
        if said:
            learn(self._last, key, Conversation.load(said), _MOST)
        else:
            self._last.pop(key, None)

    def _pair(self, sip: SipAddress, jid: Jid) -> int:
        return digest(self._secret, str(sip.normal).encode(), str(jid.bare).encode())

    def _user(self, sip: SipAddress) -> int:
        return digest(self._secret, str(sip.normal).encode())


def _next(last: Conversation | None, thread: str) -> Conversation:
    """What a message belongs to that comes after this one of the other, or after none."""
    if last and (thread in ("", last.id) or not last.id):
        return Conversation(last.id, fresh_uuid(), last.contribution)
    return Conversation(thread or fresh_uuid(), fresh_uuid())
