"""Certificates as values: whose they are and what they are for (RFC 5280 section 4, RFC 8550; SMIME-25, SMIME-28).

Who believes them is said in `trust`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

from gateway.core.errors import SyntaxFault
from gateway.core.jid import Jid, xmpp_uri

from .asn1 import CmsFault, checked, content_of, members
from .cms import SignerId
from .signatures import MOST_RSA_BITS, has_odd_exponent

SIGNING = ("digital_signature", "content_commitment")
"""Of these key usages one is needed to sign; content_commitment was once called nonRepudiation."""
_XMPP_ADDRESS = ObjectIdentifier("1.3.6.1.5.5.7.8.5")
USES = (ExtendedKeyUsageOID.EMAIL_PROTECTION, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE)
"""Of these extended key usages one is needed, where any is stated (RFC 8550 section 4.4.4)."""
_MOST_NAMES, _MOST_READ_NAMES, _MOST_NAME = 64, 256, 512
_MOST_CACHED_OCTETS = 8192
_EXPLICIT, _UTF8_STRING = 0xA0, 0x0C
UNREADABLE = (
    ValueError, TypeError, OverflowError, UnsupportedAlgorithm, x509.InvalidVersion, x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)  # fmt: skip
"""What cryptography raises for what it cannot make sense of; much of a certificate is read only when it is asked for."""

Extension = TypeVar("Extension", bound=x509.ExtensionType)


@dataclass(frozen=True, slots=True)
class Certificate:
    """One certificate, as far as it matters here.

    loaded: for the library. fingerprint: SHA-256 of its DER. key_digest: SHA-256 of its public key. names: as `Verdict.signers` has them.
    issuer: the DER of a Name. key_id: subject key identifier, empty without one. since, until: POSIX seconds. not_for_signing: empty, or
    why it must not sign (SMIME-28). is_authority: it may stand above another one.
    """

    loaded: x509.Certificate
    key: PublicKeyTypes
    fingerprint: bytes
    key_digest: bytes
    names: tuple[str, ...]
    issuer: bytes
    serial: int
    key_id: bytes
    since: float
    until: float
    not_for_signing: str
    is_authority: bool

    @staticmethod
    def parse(der: bytes) -> Certificate:
        """Read a certificate; what was read is remembered. Raises CmsFault."""
        return _remembered(der) if len(der) <= _MOST_CACHED_OCTETS else _read(der)

    @staticmethod
    def of(certificate: x509.Certificate) -> Certificate:
        """The same for a certificate that the library has read. Raises CmsFault."""
        return Certificate.parse(certificate.public_bytes(Encoding.DER))

    @property
    def is_self_signed(self) -> bool:
        """Whether nobody but its holder vouches for it."""
        with suppress(InvalidSignature, *UNREADABLE):
            self.loaded.verify_directly_issued_by(self.loaded)
            return True
        return False

    def matches(self, sid: SignerId) -> bool:
        """Whether a signature that names its certificate so means this one."""
        return sid.key_id == self.key_id if sid.key_id else (sid.serial, sid.issuer) == (self.serial, self.issuer)


def _read(der: bytes) -> Certificate:
    if checked(der) != der:
        raise CmsFault("Certificate that is not DER", section="RFC 5280 section 4.1")
    try:
        certificate = x509.load_der_x509_certificate(der)
        tbs = members(members(der)[0])
        key, extensions = certificate.public_key(), certificate.extensions
        return Certificate(
            certificate,
            key,
            hashlib.sha256(der).digest(),
            digest_of(key),
            tuple(islice(_names(extensions), _MOST_NAMES)),
            # The version is left out where it is the first one.
            tbs[3 if tbs[0][0] == _EXPLICIT else 2],
            certificate.serial_number,
            _key_id(extensions),
            certificate.not_valid_before_utc.timestamp(),
            certificate.not_valid_after_utc.timestamp(),
            not_for(extensions, SIGNING),
            _is_authority(key, extensions),
        )
    except (*UNREADABLE, IndexError) as error:
        raise CmsFault(f"Bad certificate ({type(error).__name__})", section="RFC 5280 section 4.1") from None


_remembered = lru_cache(maxsize=512)(_read)


def _names(extensions: x509.Extensions) -> Iterator[str]:
    """The subject alternative names that say who somebody is here; what cannot be shown is none (SMIME-25)."""
    found = _extension(extensions, x509.SubjectAlternativeName)
    for name in islice(found or (), _MOST_READ_NAMES):
        text = ""
        match name:
            case x509.UniformResourceIdentifier():
                text = name.value
            case x509.RFC822Name():
                text = f"mailto:{name.value}"
            case x509.DNSName():
                text = f"dns:{name.value}"
            case x509.OtherName() if name.type_id == _XMPP_ADDRESS:
                text = _xmpp(name.value)
        if text.isprintable() and 0 < len(text) <= _MOST_NAME:
            yield text


def _xmpp(value: bytes) -> str:
    """The JID in an id-on-xmppAddr, which is the DER of a UTF8String (RFC 6120 section 13.7.1.4), as a URI; empty for none."""
    with suppress(SyntaxFault, UnicodeDecodeError):
        return xmpp_uri(Jid.parse(content_of(value, _UTF8_STRING).decode()).bare)
    return ""


def _key_id(extensions: x509.Extensions) -> bytes:
    found = _extension(extensions, x509.SubjectKeyIdentifier)
    return found.digest if found else b""


def digest_of(key: PublicKeyTypes) -> bytes:
    """SHA-256 of a public key, whatever certificate it is in."""
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()


def not_for(extensions: x509.Extensions, wanted: Sequence[str]) -> str:
    """Why a certificate is not for this: one of these key usages, where it states any, and mail, where it states what for.

    Empty where it is.
    """
    usage, uses = _extension(extensions, x509.KeyUsage), _extension(extensions, x509.ExtendedKeyUsage)
    if usage and not any(getattr(usage, name) for name in wanted):
        return f"its key usage is not {' or '.join(wanted)}"
    return "" if uses is None or any(use in uses for use in USES) else "its extended key usage is not emailProtection"


def _is_authority(key: PublicKeyTypes, extensions: x509.Extensions) -> bool:
    basic = _extension(extensions, x509.BasicConstraints)
    return (
        basic is not None
        and basic.ca
        and not (isinstance(key, rsa.RSAPublicKey) and (key.key_size > MOST_RSA_BITS or has_odd_exponent(key)))
    )


def _extension(extensions: x509.Extensions, kind: type[Extension]) -> Extension | None:
    try:
        return extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
