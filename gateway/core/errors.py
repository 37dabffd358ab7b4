"""The errors of the gateway, and the one exception that says no to a peer.

Routine results (try later, not found) are values (`core.outcome`), not exceptions.
"""

from __future__ import annotations


class GatewayError(Exception):
    """Root of everything the gateway raises on purpose. `str(error)` is safe to show to an operator and holds no secret."""


class SyntaxFault(GatewayError):
    """Octets that break a grammar.

    what: the thing that is wrong, in the field's terms, short enough for a SIP reason phrase ("Bad CSeq").
    offset: where it was noticed, in octets from the start of what was parsed; -1 when that says nothing.
    section: the rule that is broken ("RFC 3261 section 20.16").
    """

    def __init__(self, what: str, offset: int = -1, section: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.offset = offset
        self.section = section

    def __str__(self) -> str:
        where = f" at octet {self.offset}" if self.offset >= 0 else ""
        source = f" ({self.section})" if self.section else ""
        return f"{self.what}{where}{source}"


class Refusal(GatewayError):
    """A message that is understood and not taken. The key names a row of `[[refusal]]` in mappings/errors.toml.

    key: the row, which knows the SIP status, the stanza condition and the default text.
    detail: replaces the row's text where the case has something more exact to say; safe to show to the peer.
    headers: header fields that the SIP answer must carry beside those that its status always carries,
        as (name, value) pairs: `(("Unsupported", "norThis"),)`.
    """

    def __init__(self, key: str, detail: str = "", headers: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(f"{key}: {detail}" if detail else key)
        self.key = key
        self.detail = detail
        self.headers = headers


class ConfigFault(GatewayError):
    """A configuration or mapping file that cannot be used: `file:key: reason`, exit code 2."""

    def __init__(self, file: str, key: str, reason: str) -> None:
        super().__init__(f"{file}:{key}: {reason}" if key else f"{file}: {reason}")
        self.file = file
        self.key = key
        self.reason = reason


class StoreFault(GatewayError):
    """The store cannot do what was asked now (disk full, I/O error, locked by another process)."""
