"""Who vouches for a certificate: anchors, people's own certificates, revocation lists (RFC 5280 section 6; SMIME-27, SMIME-29).

Chains are built and validated by `cryptography.x509.verification`, which bounds what it tries. Nothing is ever fetched (E2E-25): what a
certificate says about where to look is not read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, TypeVar

from cryptography import x509
from cryptography.x509.oid import ExtensionOID
from cryptography.x509.verification import Criticality, ExtensionPolicy, Policy, PolicyBuilder, Store, VerificationError

from gateway.core.errors import ConfigFault
from gateway.core.remember import learn
from gateway.core.settings import SmimeSettings
from gateway.core.verdict import Status

from .asn1 import CmsFault
from .certificates import UNREADABLE, USES, Certificate
from .cms import MOST_SIGNERS, SignerId
from .signatures import Finding

Read = TypeVar("Read")
_UNDERSTOOD = frozenset((
    ExtensionOID.BASIC_CONSTRAINTS, ExtensionOID.KEY_USAGE, ExtensionOID.EXTENDED_KEY_USAGE, ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
    ExtensionOID.NAME_CONSTRAINTS, ExtensionOID.CERTIFICATE_POLICIES, ExtensionOID.SUBJECT_KEY_IDENTIFIER,
    ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
))  # fmt: skip
"""What may be critical in a certificate of a chain (RFC 5280 section 4.2)."""
_MOST_INSTANTS, _MOST_BETWEEN, _MOST_OF_A_NAME = 4, 6, 2
_MOST_REMEMBERED_PATHS = 1024
_CRL = re.compile(rb"-----BEGIN X509 CRL-----[^-]*-----END X509 CRL-----")


class _Path(NamedTuple):
    """A chain to an anchor. since, until: when all of it is good, in POSIX seconds. revoked: what of it is; empty for nothing."""

    since: float
    until: float
    revoked: str


_NO_PATH = _Path(1, 0, "")


@dataclass(slots=True)
class Work:
    """What may still be done for one message: a stranger decides how much there is to do (SMIME-09, SMIME-74).

    signers: whose signatures are checked, over all of its parts. chains: attempts to find a way to an anchor.
    """

    signers: int = MOST_SIGNERS
    chains: int = 6

    def may_try_a_chain(self) -> bool:
        """Whether one more attempt may be made, which is then counted."""
        self.chains -= 1
        return self.chains >= 0


class TrustStore:
    """Whose certificates are believed, and what is known of others: read once, asked for every signature."""

    def __init__(
        self,
        anchors: Sequence[x509.Certificate] = (),
        people: Sequence[Certificate] = (),
        crls: Sequence[x509.CertificateRevocationList] = (),
    ) -> None:
        self.people = tuple(people)
        self._anchors = tuple(anchors)
        self._store = Store(list(anchors)) if anchors else None
        self._crls = tuple(crls)
        self._pinned = frozenset(each.fingerprint for each in people if each.is_self_signed)
        self._paths: dict[tuple[bytes, ...], _Path] = {}
        self._strangers: dict[tuple[bytes, ...], _Path] = {}

    @staticmethod
    def load(settings: SmimeSettings, file: str) -> TrustStore:
        """Read the files of `[smime]`. file: the configuration file, for faults. Raises ConfigFault."""
        return TrustStore(
            _loaded(settings.anchors, file, "smime.anchors", x509.load_pem_x509_certificates),
            _loaded(settings.certificates, file, "smime.certificates", _people),
            _loaded(settings.crls, file, "smime.crls", _lists),
        )

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to check a certificate against."""
        return not self._anchors and not self.people

    @property
    def ends(self) -> tuple[tuple[str, float], ...]:
        """(what, until when in POSIX seconds) of everything here that runs out."""
        certificates = [*self._anchors, *(each.loaded for each in self.people)]
        lists = [(each.issuer, each.next_update_utc) for each in self._crls if each.next_update_utc]
        found = [(each.subject, each.not_valid_after_utc) for each in certificates]
        return tuple((name.rfc4514_string(), when.timestamp()) for name, when in (*found, *lists))

    @property
    def pinned_names(self) -> frozenset[str]:
        """The names for which a self-signed certificate is trusted, and no other one (SMIME-29)."""
        return frozenset(name for each in self.people if each.fingerprint in self._pinned for name in each.names)

    def is_pinned(self, certificate: Certificate) -> bool:
        """Whether this very certificate is trusted by itself."""
        return certificate.fingerprint in self._pinned

    def find(self, sid: SignerId, carried: Sequence[Certificate]) -> Certificate | None:
        """The certificate that a signature names, of those that came with it or those that are known (SMIME-27)."""
        return next((each for each in (*carried, *self.people) if each.matches(sid)), None)

    def judge(
        self, certificate: Certificate, carried: Sequence[Certificate], now: float, signed_at: float | None, work: Work | None = None
    ) -> Finding:
        """VALID, UNTRUSTED, REVOKED or EXPIRED: for signing, now and when it was signed, as far as that is stated.

        work: what may still be done for this message; UNTRUSTED where that is used up.
        """
        if certificate.not_for_signing:
            return Finding(Status.UNTRUSTED, f"the certificate is not for signing: {certificate.not_for_signing}")
        is_pinned = self.is_pinned(certificate)
        path = _Path(certificate.since, certificate.until, "") if is_pinned else self._path(certificate, carried, now, work or Work())
        if path is _NO_PATH:
            return Finding(Status.UNTRUSTED, "no authority that is trusted here has issued the certificate")
        if path.revoked:
            return Finding(Status.REVOKED, f"{path.revoked} is revoked")
        if not all(path.since <= at <= path.until for at in (now, now if signed_at is None else signed_at)):
            return Finding(Status.EXPIRED, "the certificate, or one above it, was not good at that time")
        return Finding(Status.VALID)

    def _path(self, leaf: Certificate, carried: Sequence[Certificate], now: float, work: Work) -> _Path:
        between = _issuers(leaf, carried, self._anchors, now)
        key = (leaf.fingerprint, *sorted(each.fingerprint for each in between))
        known = self._paths.get(key) or self._strangers.get(key)
        if known is not None and (known is _NO_PATH or known.since <= now <= known.until):
            return known
        path = self._found_path(leaf, between, now, work)
        if work.chains < 0:
            return path  # Not that there is none: it was not looked for to the end.
        # Strangers can have a new certificate for each message, and must not drive out those that are known.
        learn(self._strangers if path is _NO_PATH else self._paths, key, path, _MOST_REMEMBERED_PATHS)
        return path

    def _found_path(self, leaf: Certificate, between: Sequence[Certificate], now: float, work: Work) -> _Path:
        """A chain that is good now; else one that was or will be good at some other time, where time may be the reason."""
        if self._store is None:
            return _NO_PATH
        above = [*self._anchors, *(each.loaded for each in between)]
        is_timely = all(
            each.not_valid_before_utc.timestamp() <= now <= each.not_valid_after_utc.timestamp() for each in (leaf.loaded, *above)
        )
        others = [each.since for each in between] + [each.not_valid_before_utc.timestamp() for each in self._anchors]
        # Where all of a chain is good at once, that begins when one of it begins.
        later = sorted({at for at in others if leaf.since < at <= leaf.until})
        instants = [at for at in ((now,) if is_timely else (now, leaf.since, *later)) if leaf.since <= at <= leaf.until]
        for instant in instants[:_MOST_INSTANTS]:
            if not work.may_try_a_chain():
                return _NO_PATH
            builder = PolicyBuilder().store(self._store).time(datetime.fromtimestamp(instant, UTC))
            policies = builder.extension_policies(ca_policy=_ABOVE, ee_policy=ExtensionPolicy.permit_all())
            try:
                chain = policies.build_client_verifier().verify(leaf.loaded, [each.loaded for each in between]).chain
            except (VerificationError, *UNREADABLE):
                continue
            if all(_is_understood(each) for each in chain):
                return self._read_path(chain)
        return _NO_PATH

    def _read_path(self, chain: Sequence[x509.Certificate]) -> _Path:
        since = max(each.not_valid_before_utc.timestamp() for each in chain)
        until = min(each.not_valid_after_utc.timestamp() for each in chain)
        for below, above in pairwise(chain):
            if self._is_revoked(below, above):
                return _Path(since, until, f"certificate {below.serial_number:x}")
        return _Path(since, until, "")

    def _is_revoked(self, certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
        """Whether a list says so that its issuer has signed. A list that has run out still says what it said."""
        key = issuer.public_key()
        for each in self._crls:
            if each.issuer == certificate.issuer and each.get_revoked_certificate_by_serial_number(certificate.serial_number):
                with suppress(*UNREADABLE):
                    if each.is_signature_valid(key):  # type: ignore[arg-type]  # TypeError for a key that signs nothing
                        return True
        return False


def _issuers(leaf: Certificate, carried: Sequence[Certificate], anchors: Sequence[x509.Certificate], now: float) -> list[Certificate]:
    """Of the authorities that came along those that may stand between the leaf and an anchor: name above name, and never back.

    A stranger says how many there are and who has issued whom. So of each name there are two at most, those that are good now and stand
    below an anchor first; and none that leads nowhere, to itself, or to a name below it.
    """
    above = {each.subject.public_bytes() for each in anchors}
    authorities = [(each.loaded.subject.public_bytes(), each) for each in carried if each.is_authority and each is not leaf]
    found: list[Certificate] = []
    names = [leaf.issuer]
    for level, name in enumerate(names):
        if level == _MOST_BETWEEN:
            break
        fit = [each for subject, each in authorities if subject == name and each.issuer not in names[: level + 1]]
        fit = [each for each in fit if each.issuer in above or any(subject == each.issuer for subject, _ in authorities)]
        fit.sort(key=lambda each: (not each.since <= now <= each.until, each.issuer not in above))
        found += fit[:_MOST_OF_A_NAME]
        names += [each.issuer for each in fit[:_MOST_OF_A_NAME] if each.issuer not in names]
    return found


def _must_be_authority(_policy: Policy, _certificate: x509.Certificate, basic: x509.BasicConstraints) -> None:
    if not basic.ca:
        raise ValueError("not an authority")


def _must_issue(_policy: Policy, _certificate: x509.Certificate, usage: x509.KeyUsage | None) -> None:
    if usage is not None and not usage.key_cert_sign:
        raise ValueError("not for signing certificates")


def _must_allow_mail(_policy: Policy, _certificate: x509.Certificate, uses: x509.ExtendedKeyUsage | None) -> None:
    if uses is not None and not any(use in uses for use in USES):
        raise ValueError("not for people's certificates")


_ABOVE = (
    ExtensionPolicy.permit_all()
    .require_present(x509.BasicConstraints, Criticality.AGNOSTIC, _must_be_authority)
    .may_be_present(x509.KeyUsage, Criticality.AGNOSTIC, _must_issue)
    .may_be_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _must_allow_mail)
)
"""What the certificates above a person's have to be; the person's own are looked at in `Certificate`."""


def _is_understood(certificate: x509.Certificate) -> bool:
    return all(each.oid in _UNDERSTOOD for each in certificate.extensions if each.critical)


# -- files -------------------------------------------------------------------------------------------------------------
def _loaded(path: Path | None, file: str, key: str, read: Callable[[bytes], Sequence[Read]]) -> Sequence[Read]:
    if path is None:
        return ()
    try:
        return read(path.read_bytes())
    except OSError as error:
        raise ConfigFault(file, key, f"{path}: {error.strerror}") from None
    except (CmsFault, *UNREADABLE) as error:
        raise ConfigFault(file, key, f"{path}: {error}") from None


def _people(pem: bytes) -> Sequence[Certificate]:
    return [Certificate.of(each) for each in x509.load_pem_x509_certificates(pem)]


def _lists(pem: bytes) -> Sequence[x509.CertificateRevocationList]:
    found = [x509.load_pem_x509_crl(each) for each in _CRL.findall(pem)]
    if len(found) != pem.count(b"BEGIN X509 CRL"):
        raise ValueError("a revocation list in it cannot be read")
    if not found:
        raise ValueError("no revocation list in it")
    for each in found:
        if any(extension.critical for extension in each.extensions):
            raise ValueError("a revocation list that is partial or for others (critical extensions) is not read")
    return found
