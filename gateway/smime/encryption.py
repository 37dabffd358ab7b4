"""Encrypting for people whose certificates are known: AuthEnvelopedData with AES-128-GCM (RFC 5083, RFC 5084, RFC 8591 section 4.2).

RSA keys are encrypted for with PKCS #1 v1.5, which every reader knows (RFC 8551 section 2.3); P-256 keys with ephemeral-static ECDH.
What is signed and encrypted is signed first (RFC 8591 section 4.3): the entity given here is the signed one.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import aes_key_wrap
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.core.mime import Entity

from .certificates import Certificate
from .ciphers import AES128_GCM, AES128_WRAP, AES128_WRAP_OCTETS, EC_KEY, ECDH_SHA256, wrapping_key
from .der import (
    NULL,
    algorithm,
    content_info,
    explicit,
    integer,
    issuer_and_serial,
    octet_string,
    oid,
    sequence,
    set_of,
    tlv,
)
from .fitness import may_receive
from .layouts import opaque
from .oids import AUTH_ENVELOPED_DATA, DATA, RSA

SMIME_TYPES = {"rfc8551": "authEnveloped-data", "rfc8591": "auth-enveloped-data"}
"""The two spellings, by the words of `[[route]] smime_type` (SMIME-06)."""
_KEY_OCTETS, _NONCE_OCTETS, _ICV_OCTETS = 16, 12, 16


def encrypted(entity: Entity, recipients: Iterable[Certificate], spelling: str = "rfc8551") -> Entity:
    """The entity as application/pkcs7-mime, binary, that each of the recipients can read. spelling: a key of SMIME_TYPES.

    Raises ValueError without a recipient, or for one for whom `fitness.may_receive` is false.
    """
    return opaque(auth_enveloped_data(entity.raw, recipients), SMIME_TYPES[spelling])


def auth_enveloped_data(octets: bytes, recipients: Iterable[Certificate]) -> bytes:
    """The DER of a ContentInfo with an AuthEnvelopedData; key and nonce are new each time (SMIME-17). Errors as `encrypted`."""
    key, nonce = os.urandom(_KEY_OCTETS), os.urandom(_NONCE_OCTETS)
    infos = [_recipient_info(certificate, key) for certificate in recipients]
    if not infos:
        raise ValueError("There is nobody to encrypt for")
    sealed = AESGCM(key).encrypt(nonce, octets, None)
    cipher = algorithm(AES128_GCM, sequence(octet_string(nonce), integer(_ICV_OCTETS)))
    content = sequence(oid(DATA), cipher, tlv(0x80, sealed[:-_ICV_OCTETS]))
    return content_info(AUTH_ENVELOPED_DATA, sequence(integer(0), set_of(*infos), content, octet_string(sealed[-_ICV_OCTETS:])))


def _recipient_info(certificate: Certificate, key: bytes) -> bytes:
    """RecipientInfo (RFC 5652 section 6.2)."""
    if not may_receive(certificate):
        raise ValueError("This certificate is none to encrypt for")
    recipient, public = issuer_and_serial(certificate.issuer, certificate.serial), certificate.key
    if isinstance(public, ec.EllipticCurvePublicKey):
        return _key_agreement(recipient, public, key)
    assert isinstance(public, rsa.RSAPublicKey)
    return sequence(integer(0), recipient, algorithm(RSA, NULL), octet_string(public.encrypt(key, padding.PKCS1v15())))


def _key_agreement(recipient: bytes, public: ec.EllipticCurvePublicKey, key: bytes) -> bytes:
    """KeyAgreeRecipientInfo, [1] IMPLICIT (RFC 5753 section 3.1.1). Its ukm is left out: the ephemeral key is never used again."""
    ephemeral = ec.generate_private_key(public.curve)
    point = ephemeral.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    sealing = wrapping_key(ephemeral.exchange(ec.ECDH(), public), hashes.SHA256(), AES128_WRAP, AES128_WRAP_OCTETS, None)
    originator = explicit(0, explicit(1, algorithm(EC_KEY), tlv(0x03, b"\0", point)))
    method = algorithm(ECDH_SHA256, AES128_WRAP_OCTETS)
    return explicit(1, integer(3), originator, method, sequence(sequence(recipient, octet_string(aes_key_wrap(sealing, key)))))
