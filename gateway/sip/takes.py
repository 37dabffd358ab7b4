"""What somebody on the SIP side takes, and in which form a message goes there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gateway.core.address import SipAddress


@dataclass(frozen=True, slots=True)
class Takes:
    """What a SIP user is known to take; None where nothing is known.

    cpim: message/cpim. imdn: message/imdn+xml, and asks for it. typing: application/im-iscomposing+xml. html: text/html. sipfrag:
    message/sipfrag. smime: application/pkcs7-mime, which no 415 takes back (SMIME-37).
    """

    cpim: bool | None = None
    imdn: bool | None = None
    typing: bool | None = None
    html: bool | None = None
    sipfrag: bool | None = None
    smime: bool | None = None


UNKNOWN = Takes()
Known = Callable[[SipAddress], Takes]
"""What is known of the SIP user with this address of his."""


def nothing_known(_: SipAddress) -> Takes:
    """The `Known` of who has met nobody yet."""
    return UNKNOWN


def may(rule: str, known: bool | None) -> bool:
    """Whether to send what a route has as "auto", "always" or "never" to somebody who is known to take it, not to, or neither."""
    return rule == "always" or (rule == "auto" and known is not False)
