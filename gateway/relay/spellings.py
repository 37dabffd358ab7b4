"""How SIP users spell themselves: a SIP user is case-sensitive and a JID localpart is not, so a reply needs what the JID has lost."""

from __future__ import annotations

from collections.abc import Iterable

from gateway.core.address import SipAddress
from gateway.core.digest import digest
from gateway.core.jid import Jid
from gateway.core.ports import Recollection
from gateway.core.remember import learn

from .directory import Directory

KIND = "spelling"
_SECONDS = 30 * 86_400.0
_MOST = 100_000


class Spellings:
    """For each pair of correspondents, how the SIP user spelled himself in his last message that was kept (ADDR-10).

    Only what differs from the spelling of the directory is remembered. Over 100 000 pairs the one that was learned first goes.
    """

    def __init__(self, directory: Directory, secret: bytes) -> None:
        self._directory, self._secret = directory, secret
        self._known: dict[int, str] = {}

    def load(self, remembered: Iterable[tuple[int, str]]) -> None:
        """Take up what an earlier run wrote down, oldest first."""
        for key, user in remembered:
            self.learn(key, user)

    def spelling(self, recipient: SipAddress, sender: Jid) -> str:
        """The user part to write in a message to `recipient`; the one of the address when nothing else is known."""
        return self._known.get(self._key(recipient, sender), recipient.user) if self._known else recipient.user

    def news(self, sender: SipAddress, recipient: Jid, now: float) -> Recollection | None:
        """What has to be written down with this message, if anything; POSIX seconds."""
        usual = self._directory.home_of_jid(self._directory.jid_of(sender))
        if sender == usual and not self._known:
            return None
        if not isinstance(usual, SipAddress):
            return None  # Nobody can write to him.
        key = self._key(sender, recipient)
        expected = self._known.get(key) or usual.user
        return Recollection(KIND, key, now + _SECONDS, sender.user) if sender.user != expected else None

    def learn(self, key: int, user: str) -> None:
        """This is on disk now."""
        learn(self._known, key, user, _MOST)

    def _key(self, sip: SipAddress, jid: Jid) -> int:
        return digest(self._secret, str(sip.normal).encode(), str(jid.bare).encode())
