"""The names of SIP headers: compact forms, which may be lists, which stand once, how they are spelled. RFC 3261 sections 7.3 and 20."""

from __future__ import annotations

from . import grammar

COMPACT = {
    "a": "accept-contact", "b": "referred-by", "c": "content-type", "d": "request-disposition", "e": "content-encoding", "f": "from",
    "i": "call-id", "j": "reject-contact", "k": "supported", "l": "content-length", "m": "contact", "n": "identity-info", "o": "event",
    "r": "refer-to", "s": "subject", "t": "to", "u": "allow-events", "v": "via", "x": "session-expires", "y": "identity",
}  # fmt: skip
"""The compact forms in use, of RFC 3261 section 7.3.3 and of its extensions."""

LISTS = frozenset(
    (
        "accept",
        "accept-contact",
        "accept-encoding",
        "accept-language",
        "alert-info",
        "allow",
        "allow-events",
        "call-info",
        "contact",
        "content-encoding",
        "content-language",
        "error-info",
        "feature-caps",
        "history-info",
        "in-reply-to",
        "p-asserted-identity",
        "p-preferred-identity",
        "path",
        "proxy-require",
        "reason",
        "record-route",
        "reject-contact",
        "request-disposition",
        "require",
        "route",
        "security-client",
        "security-server",
        "security-verify",
        "service-route",
        "supported",
        "unsupported",
        "via",
        "warning",
    )
)
"""Headers whose values may stand in one row with commas, or in several rows (RFC 3261 section 7.3.1, SIP-11)."""

SINGLE = frozenset(
    (
        "call-id",
        "content-disposition",
        "content-id",
        "content-length",
        "content-type",
        "cseq",
        "date",
        "event",
        "expires",
        "from",
        "max-breadth",
        "max-forwards",
        "mime-version",
        "min-expires",
        "min-se",
        "organization",
        "priority",
        "privacy",
        "rack",
        "refer-sub",
        "refer-to",
        "referred-by",
        "replaces",
        "reply-to",
        "retry-after",
        "rseq",
        "server",
        "session-expires",
        "sip-etag",
        "sip-if-match",
        "subject",
        "subscription-state",
        "target-dialog",
        "timestamp",
        "to",
        "user-agent",
    )
)
"""Headers that may stand in a message once (SIP-12, SEC-28)."""

_SPELLED = {
    "call-id": "Call-ID", "content-id": "Content-ID", "contribution-id": "Contribution-ID", "conversation-id": "Conversation-ID",
    "cseq": "CSeq", "inreplyto-contribution-id": "InReplyTo-Contribution-ID", "mime-version": "MIME-Version", "min-se": "Min-SE",
    "rack": "RAck",
    "request-uri": "Request-URI", "rseq": "RSeq", "sip-etag": "SIP-ETag", "sip-if-match": "SIP-If-Match",
    "www-authenticate": "WWW-Authenticate",
}  # fmt: skip


def canonical(name: str) -> str:
    """The long lower-case form of a header name.

    >>> canonical("i")
    'call-id'
    """
    lower = name.lower()
    return COMPACT.get(lower, lower)


def title(name: str) -> str:
    """A canonical header name as the RFCs print it: "Call-ID"."""
    return _SPELLED.get(name) or name.title()


KNOWN: dict[bytes, str] = {}
"""Spelling on the wire -> canonical name, for the usual spellings and those met before. A plain dict, because every row asks it."""
for _name in [*COMPACT, *LISTS, *SINGLE, *_SPELLED]:
    KNOWN.update((spelling.encode("ascii"), canonical(_name)) for spelling in (_name, title(_name), _name.upper()))

_MOST_KNOWN = 1024
_MOST_OCTETS = 40


def name_of(spelled: bytes) -> str:
    """The canonical form of a header name in octets; empty for what is no token. Remembered, up to a bound.

    >>> name_of(b"X-Odd"), name_of(b"L"), name_of(b"a b")
    ('x-odd', 'content-length', '')
    """
    known = KNOWN.get(spelled)
    if known is None:
        known = canonical(spelled.decode("ascii")) if grammar.TOKEN_OCTETS.fullmatch(spelled) else ""
        if known and len(KNOWN) < _MOST_KNOWN and len(spelled) <= _MOST_OCTETS:
            KNOWN[spelled] = known
    return known
