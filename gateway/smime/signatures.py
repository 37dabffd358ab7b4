"""Whether a signature holds: the digest of the content, then the signature over it (RFC 5652 sections 5.4 and 5.6; SMIME-12, SMIME-13).

Nothing here asks whose key it is. The algorithms are those of RFC 8551 section 2.2; what they no longer have is in no table here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

from gateway.core.verdict import Status

from .asn1 import CmsFault
from .cms import SignerInfo
from .der import oid
from .oids import DATA, MESSAGE_DIGEST

_MOST_EXPONENT_BITS = 33
MOST_RSA_BITS, LEAST_RSA_BITS, STRONG_RSA_BITS = 8192, 1024, 2048
_HASHES: dict[str, hashes.HashAlgorithm] = {
    "sha1": hashes.SHA1(),  # noqa: S303 - told apart as weak
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}
WEAK_DIGESTS = frozenset(("sha1",))
_CURVES = ("secp256r1", "secp384r1", "secp521r1")
# The signature algorithm of RSA and of ECDSA may name its hash.
_NAMED_HASHES = {f"{name}_{scheme}": name for name in _HASHES for scheme in ("rsa", "ecdsa")}
_KNOWN_DIGESTS = frozenset((*_HASHES, "sha224", "md5"))


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found: VALID is the best. detail: for the operator; empty where all is well."""

    status: Status
    detail: str = ""


def check(signer: SignerInfo, content: bytes, content_type: str, key: PublicKeyTypes) -> Finding:
    """VALID, WEAK or INVALID, for content of this type (an object identifier) and the key of the signer's certificate."""
    if signer.digest not in _HASHES:
        return _invalid(f"digest algorithm {signer.digest} is not taken")
    attributes = signer.attributes
    if attributes is None:
        # Attributes that are passed off as content were signed, but as something else.
        if content.startswith(b"\x31") and oid(MESSAGE_DIGEST) in content:
            return _invalid("the content is signed attributes")
        candidates: tuple[bytes, ...] = (content,)
    else:
        if attributes.content_type != content_type or content_type != DATA:
            return _invalid("the signed attributes are about another type of content")
        if attributes.message_digest != hashlib.new(signer.digest, content).digest():
            return _invalid("the content is not what was signed")
        candidates = tuple(dict.fromkeys((attributes.octets, attributes.sorted)))
    return _checked(signer, candidates, key)


def names_other_digest(micalg: str, signer: SignerInfo) -> bool:
    """Whether the micalg of a multipart/signed names digests that are known here, and not that of this signature (SMIME-03).

    >>> from .cms import SignerId
    >>> signer = SignerInfo(SignerId(), "sha256", "sha256_ecdsa", None, None, b"")
    >>> [names_other_digest(text, signer) for text in ("sha-256", "SHA1, SHA256", "rsa-sha1", "unknown")]
    [False, False, True, False]
    """
    named = {_micalg(each) for each in micalg.split(",")}
    return "" not in named and signer.digest not in named


def _micalg(text: str) -> str:
    """The name of a digest as CMS has it here; empty for one that is not known."""
    name = text.strip(" \t").lower().removeprefix("rsa-").removeprefix("id-").replace("-", "")
    return name if name in _KNOWN_DIGESTS else ""


def _checked(signer: SignerInfo, candidates: tuple[bytes, ...], key: PublicKeyTypes) -> Finding:
    """Whether the signature is over one of these."""
    try:
        verify, is_weak = _method(signer, key)
    except CmsFault as fault:
        return _invalid(fault.what)
    for octets in candidates:
        with suppress(InvalidSignature):
            try:
                verify(octets)
            except (UnsupportedAlgorithm, ValueError, TypeError, OverflowError):
                return _invalid("the signature cannot be read")
            return Finding(Status.WEAK, is_weak) if is_weak else Finding(Status.VALID)
    return _invalid("the signature does not hold")


def _method(signer: SignerInfo, key: PublicKeyTypes) -> tuple[Callable[[bytes], None], str]:
    """What raises InvalidSignature unless the signature is over the octets that it is given; and why that is weak, if it is."""
    named = _NAMED_HASHES.get(signer.algorithm, signer.digest)
    weak = f"digest algorithm {named}" if {named, signer.digest} & WEAK_DIGESTS else ""
    match key:
        case rsa.RSAPublicKey():
            return _rsa(signer, key, named, weak)
        case ec.EllipticCurvePublicKey() if key.curve.name in _CURVES and signer.algorithm == f"{named}_ecdsa":
            scheme = ec.ECDSA(_HASHES[named])
            return lambda octets: key.verify(signer.signature, octets, scheme), weak
        # RFC 8419 section 3: the digest is SHA-512.
        case ed25519.Ed25519PublicKey() if signer.algorithm == "ed25519" and signer.digest == "sha512":
            return lambda octets: key.verify(signer.signature, octets), weak
    raise CmsFault(f"{signer.algorithm} with {signer.digest} and a key of this kind is not taken")


def has_odd_exponent(key: rsa.RSAPublicKey) -> bool:
    """Whether a key is one that nobody has but to keep others busy (SMIME-74)."""
    return key.public_numbers().e.bit_length() > _MOST_EXPONENT_BITS


def _rsa(signer: SignerInfo, key: rsa.RSAPublicKey, digest: str, weak: str) -> tuple[Callable[[bytes], None], str]:
    if not LEAST_RSA_BITS <= key.key_size <= MOST_RSA_BITS:
        raise CmsFault(f"an RSA key of {key.key_size} bits is not taken", section="SMIME-28")
    if has_odd_exponent(key):
        raise CmsFault("an RSA key with so large an exponent is not taken", section="SMIME-74")
    scheme: padding.AsymmetricPadding = padding.PKCS1v15()
    if signer.pss is not None:
        if not {signer.pss.digest, signer.pss.mask_digest} <= _HASHES.keys() or signer.pss.salt_octets < 0:
            raise CmsFault("these parameters of RSASSA-PSS are not taken")
        digest = signer.pss.digest
        weak = weak or (f"digest algorithm {digest}" if digest in WEAK_DIGESTS else "")
        scheme = padding.PSS(padding.MGF1(_HASHES[signer.pss.mask_digest]), signer.pss.salt_octets)
    elif signer.algorithm not in ("rsassa_pkcs1v15", f"{digest}_rsa"):
        raise CmsFault(f"signature algorithm {signer.algorithm} is not taken")
    algorithm = _HASHES[digest]
    weak = weak or (f"an RSA key of {key.key_size} bits" if key.key_size < STRONG_RSA_BITS else "")
    return lambda octets: key.verify(signer.signature, octets, scheme, algorithm), weak


def _invalid(detail: str) -> Finding:
    return Finding(Status.INVALID, detail)
