"""The two kinds of home address: of a person who lives on the SIP side, and of one who lives on the XMPP side."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

from .jid import Jid
from .remember import remembered

ANONYMOUS_HOST = "anonymous.invalid"
"""The domain of who hides who he is (RFC 3323 section 4.1.1.3)."""
_ANONYMOUS_USER = f"anonymous@{ANONYMOUS_HOST}"


@dataclass(frozen=True, slots=True)
class SipAddress:
    """An address of record: who, without the device.

    user: decoded, in the spelling it came in; empty for a domain. domain: normal form of `core.domain.ascii_domain`.
    """

    user: str
    domain: str

    @property
    def normal(self) -> SipAddress:
        """The form in which two addresses are compared: the user mapped as a JID localpart is (ADDR-10)."""
        mapped = mapped_user(self.user)
        return self if mapped == self.user else SipAddress(mapped, self.domain)

    @staticmethod
    def anonymous(domain: str) -> SipAddress:
        """Somebody of this domain who does not say who: nobody can write to him, and no user is called that (RCS-06)."""
        return SipAddress(_ANONYMOUS_USER, domain)

    @property
    def is_anonymous(self) -> bool:
        """Whether this stands for whoever did not say who he is."""
        return self.normal.user == _ANONYMOUS_USER

    def __str__(self) -> str:
        return f"{self.user}@{self.domain}" if self.user else self.domain


Address = SipAddress | Jid
"""A home address. Its type says on which side the person lives."""


@remembered(2048)
def mapped_user(user: str) -> str:
    """Width, lower case and NFC, as UsernameCaseMapped maps (RFC 8265 section 3.3.2), before anything is refused (ADDR-09)."""
    if user.isascii():
        return user.lower()
    narrow = "".join(_narrow(ch) for ch in user)
    return unicodedata.normalize("NFC", narrow.lower())


def _narrow(ch: str) -> str:
    kind, _, plain = unicodedata.decomposition(ch).partition(" ")
    return chr(int(plain, 16)) if kind in ("<wide>", "<narrow>") else ch
