"""The algorithms of CMS encryption by their names on the wire, and the key derivation of ECDH (RFC 5753), for both directions."""

from __future__ import annotations

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.x963kdf import X963KDF

from .der import algorithm, explicit, octet_string, sequence

OAEP = "1.2.840.113549.1.1.7"
EC_KEY = "1.2.840.10045.2.1"
AES128_GCM, AES128_WRAP = "2.16.840.1.101.3.4.1.6", "2.16.840.1.101.3.4.1.5"
ECDH_SHA256 = "1.3.132.1.11.1"
"""dhSinglePass-stdDH-sha256kdf-scheme (RFC 5753 section 7.1.4)."""

GCM_KEY_OCTETS = {AES128_GCM: 16, "2.16.840.1.101.3.4.1.26": 24, "2.16.840.1.101.3.4.1.46": 32}
CBC_KEY_OCTETS = {"2.16.840.1.101.3.4.1.2": 16, "2.16.840.1.101.3.4.1.22": 24, "2.16.840.1.101.3.4.1.42": 32}
TRIPLE_DES_CBC = "1.2.840.113549.3.7"
WRAP_KEY_OCTETS = {AES128_WRAP: 16, "2.16.840.1.101.3.4.1.25": 24, "2.16.840.1.101.3.4.1.45": 32}
ECDH_DIGESTS: dict[str, hashes.HashAlgorithm] = {
    "1.3.133.16.840.63.0.2": hashes.SHA1(),  # noqa: S303 - of old senders; what the key derivation needs of it still holds
    "1.3.132.1.11.0": hashes.SHA224(),
    ECDH_SHA256: hashes.SHA256(),
    "1.3.132.1.11.2": hashes.SHA384(),
    "1.3.132.1.11.3": hashes.SHA512(),
}
"""By key agreement; each has a twin with the cofactor, which is 1 on P-256 and makes no difference."""
ECDH_DIGESTS.update({name.replace(".63.0.2", ".63.0.3").replace(".132.1.11.", ".132.1.14."): each for name, each in ECDH_DIGESTS.items()})


def wrapping_key(shared: bytes, digest: hashes.HashAlgorithm, wrap: str, wrap_octets: bytes, ukm: bytes | None) -> bytes:
    """The key that wraps the content key: X9.63 KDF over the shared secret and ECC-CMS-SharedInfo (RFC 5753 section 7.2).

    wrap, wrap_octets: the wrapping algorithm, as a name and as the AlgorithmIdentifier that came or goes.
    """
    octets = WRAP_KEY_OCTETS[wrap]
    entity = explicit(0, octet_string(ukm)) if ukm is not None else b""
    info = sequence(wrap_octets, entity, explicit(2, octet_string((8 * octets).to_bytes(4, "big"))))
    return X963KDF(digest, octets, info).derive(shared)


AES128_WRAP_OCTETS = algorithm(AES128_WRAP)
