"""What is known of the protection of a message that was signed or encrypted from end to end (SMIME-75). A value; `gateway.smime` judges."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum


class Status(Enum):
    """In a word. Of several faults the one that stands first in `smime.judge` is said."""

    VALID = "valid"
    VALID_AFTER_CANONICALISATION = "valid-after-canonicalisation"
    WEAK = "weak"
    PARTIAL = "partial"
    DOMAIN_SIGNED = "domain-signed"
    WRONG_IDENTITY = "wrong-identity"
    NO_CERTIFICATE = "no-certificate"
    UNTRUSTED = "untrusted"
    EXPIRED = "expired"
    REVOKED = "revoked"
    MALFORMED = "malformed"
    INVALID = "invalid"
    UNDECRYPTABLE = "undecryptable"
    CONFIDENTIAL_UNAUTHENTICATED = "confidential-unauthenticated"
    REPLAY_RISK = "replay-risk"
    NOT_CHECKED = "not-checked"


HOLDING = frozenset((Status.VALID, Status.VALID_AFTER_CANONICALISATION, Status.WEAK, Status.DOMAIN_SIGNED))
"""A signature holds, by who may sign for the author; not all of these are good enough everywhere."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found.

    signers: the subject alternative names of who signed, as URIs: "sip:alice@sip.example", "im:...", "xmpp:...", "mailto:...", "dns:...".
    signed_at: the signing time, in POSIX seconds, as the signature states it. date: "" where the signed date is fresh; else "undated",
    "old timestamp", "future timestamp", "decreasing timestamp" or "repeated" (E2E-18). digest: of the covered octets, "sha256:hex".
    detail: for the operator, one line. encrypted: it was encrypted, too. asserted: who sent the request that brought it, as the URI of a
    verified identity body (RFC 3893) says; that says nothing of the content (FRAG-63).
    """

    status: Status
    signers: tuple[str, ...] = ()
    signed_at: float | None = None
    date: str = ""
    digest: str = ""
    detail: str = ""
    encrypted: bool = False
    asserted: str = ""

    @property
    def is_good(self) -> bool:
        """Whether a message may be shown as signed by its author (SEC-07)."""
        return self.status is Status.VALID and not self.date

    @property
    def mark(self) -> str:
        """What stands in front of the text that is shown of a message; empty for a good one (SMIME-36, E2E-23).

        >>> Verdict(Status.WRONG_IDENTITY, date="old timestamp").mark
        '[signature: wrong-identity] '
        """
        if self.status is Status.NOT_CHECKED:
            return "[signature not verified] "
        return "" if self.is_good else f"[signature: {self.date if self.status is Status.VALID else self.status.value}] "

    def dump(self) -> str:
        """In one line of text; `load` undoes it exactly."""
        said = [self.status.value, list(self.signers), self.signed_at, self.date, self.digest, self.detail, self.encrypted, self.asserted]
        return json.dumps(said, ensure_ascii=False)

    @staticmethod
    def load(text: str) -> Verdict:
        """Read what `dump` wrote. Raises ValueError for anything else."""
        status, signers, signed_at, date, digest, detail, encrypted, asserted = json.loads(text)
        return Verdict(Status(status), tuple(signers), signed_at, date, digest, detail, encrypted, asserted)


NOT_CHECKED = Verdict(Status.NOT_CHECKED)
