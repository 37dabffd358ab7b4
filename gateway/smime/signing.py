"""Signing for a hosted account: CMS SignedData (RFC 5652 section 5) as application/pkcs7-mime or multipart/signed (RFC 8551 section 3.5).

One signer, three signed attributes: content-type, message-digest and signing-time. What is signed is a message/cpim that says when it was
written (RFC 3428 section 11.4, RFC 3923 section 3.1), in canonical form (RFC 8551 section 3.1.1), octet for octet.
"""

from __future__ import annotations

import hashlib

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.core.canonical import written_at
from gateway.core.cpim import CPIM_TYPE, CpimMessage
from gateway.core.errors import Refusal, SyntaxFault
from gateway.core.mime import Entity, split_multipart
from gateway.core.protection import MOST_DEPTH, protection_of

from .container import has_lone_line_end
from .der import (
    NULL,
    algorithm,
    attribute,
    content_info,
    explicit,
    integer,
    issuer_and_serial,
    moment,
    octet_string,
    oid,
    sequence,
    set_of,
)
from .keys import Account
from .layouts import MICALGS, multipart_signed, opaque
from .oids import CONTENT_TYPE, DATA, MESSAGE_DIGEST, RSA, SIGNED_DATA, SIGNING_TIME

_DIGESTS = {"sha256": "2.16.840.1.101.3.4.2.1", "sha512": "2.16.840.1.101.3.4.2.3"}
_ECDSA, _ED25519 = "1.2.840.10045.4.3.2", "1.3.101.112"


def signed_opaque(entity: Entity, account: Account, signed_at: float, *, with_certificate: bool = True) -> Entity:
    """The entity in a SignedData: application/pkcs7-mime, binary (RFC 8591 section 4.1 prefers it).

    signed_at: POSIX seconds. with_certificate: false only where the recipient is known to have it (RFC 8591 section 7.1).
    Raises SyntaxFault for an entity that is no message/cpim with a DateTime, or not in canonical form.
    """
    blob = signed_data(entity, account, signed_at, with_certificate=with_certificate)
    return opaque(blob, "signed-data")


def signed_clear(entity: Entity, account: Account, signed_at: float, *, with_certificate: bool = True) -> Entity:
    """The entity and a detached signature: multipart/signed, which every client can read. Arguments and errors as `signed_opaque`."""
    blob = signed_data(entity, account, signed_at, detached=True, with_certificate=with_certificate)
    return multipart_signed(entity.raw, blob, MICALGS[_digest_of(account)])


def signed_data(entity: Entity, account: Account, signed_at: float, *, detached: bool = False, with_certificate: bool = True) -> bytes:
    """The DER of a ContentInfo with a SignedData over all octets of the entity. Arguments and errors as `signed_opaque`."""
    if not is_dated(entity):
        raise SyntaxFault("What is to be signed does not say when it was written", section="RFC 3428 section 11.4")
    if not is_canonical(entity):
        raise SyntaxFault("What is to be signed is not in canonical form", section="RFC 8551 section 3.1.1")
    own, digest = account.certificate, _digest_of(account)
    named = algorithm(_DIGESTS[digest])
    attributes = set_of(
        attribute(CONTENT_TYPE, oid(DATA)),
        attribute(SIGNING_TIME, moment(signed_at)),
        attribute(MESSAGE_DIGEST, octet_string(hashlib.new(digest, entity.raw).digest())),
    )
    # Signed as SET OF, carried as [0] IMPLICIT (RFC 5652 section 5.4).
    signature_algorithm, signature = _signature(account, attributes)
    attributes = b"\xa0" + attributes[1:]
    named_by = issuer_and_serial(own.issuer, own.serial)
    signer = sequence(integer(1), named_by, named, attributes, signature_algorithm, octet_string(signature))
    content = sequence(oid(DATA)) if detached else sequence(oid(DATA), explicit(0, octet_string(entity.raw)))
    certificates = explicit(0, own.loaded.public_bytes(Encoding.DER)) if with_certificate else b""
    return content_info(SIGNED_DATA, sequence(integer(1), set_of(named), content, certificates, set_of(signer)))


def _digest_of(account: Account) -> str:
    """Ed25519 has SHA-512 (RFC 8419 section 2.3)."""
    return "sha512" if isinstance(account.key, ed25519.Ed25519PrivateKey) else "sha256"


def _signature(account: Account, octets: bytes) -> tuple[bytes, bytes]:
    """(AlgorithmIdentifier, signature)."""
    key = account.key
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return algorithm(_ED25519), key.sign(octets)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return algorithm(_ECDSA), key.sign(octets, ec.ECDSA(hashes.SHA256()))
    # Every reader knows the identifier that does not name the digest (RFC 3370 section 3.2).
    return algorithm(RSA, NULL), key.sign(octets, padding.PKCS1v15(), hashes.SHA256())


def is_dated(entity: Entity) -> bool:
    """Whether it is a message/cpim with a DateTime: against replay, the date has to be under the signature (SMIME-22)."""
    try:
        return entity.content_type.essence == CPIM_TYPE and written_at(CpimMessage.parse(entity.decoded())) is not None
    except (Refusal, SyntaxFault):
        return False


def is_canonical(entity: Entity) -> bool:
    """Whether header blocks and texts, down to the leaves, have CR LF line ends alone (RFC 8551 section 3.1.1).

    What is protected already, encoded, or no text is left as it is.
    """
    waiting = [(1, entity)]
    while waiting:
        depth, each = waiting.pop()
        inner, own = _taken_apart(each) if depth < MOST_DEPTH else ((), each.raw)
        if has_lone_line_end(own):
            return False
        waiting += [(depth + 1, part) for part in inner]
    return True


def _taken_apart(entity: Entity) -> tuple[tuple[Entity, ...], bytes]:
    """(The entities in an entity, its other octets that have lines.) Where it cannot be read, all of it has."""
    head = entity.raw[: len(entity.raw) - len(entity.content)]
    kind = entity.content_type
    if protection_of(entity) is not None or entity.header("Content-Transfer-Encoding") in ("base64", "quoted-printable"):
        return (), head
    try:
        if kind.type == "multipart":
            return split_multipart(entity), head
        if kind.essence == CPIM_TYPE:
            inner = CpimMessage.parse(entity.content).entity
            return (inner,), entity.raw[: len(entity.raw) - len(inner.raw)]
    except (Refusal, SyntaxFault):
        return (), entity.raw
    return (), entity.raw if kind.type == "text" else head
