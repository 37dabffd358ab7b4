"""Addresses in logs: enough to follow one person through a day, not enough to know who it is (QOS-39, SEC-47)."""

from __future__ import annotations

import secrets
from functools import lru_cache
from hashlib import blake2b

from gateway.core.address import Address, SipAddress

_KEY = secrets.token_bytes(16)


@lru_cache(maxsize=4096)
def masked(address: Address) -> str:
    """`~1a2b3c4d@example.net`: the domain in clear, the user as a hash that is the same until the process ends."""
    user = address.normal.user if isinstance(address, SipAddress) else address.local
    return f"~{blake2b(user.encode(), digest_size=4, key=_KEY).hexdigest()}@{address.domain}" if user else address.domain
