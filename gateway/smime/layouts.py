"""How signed and encrypted objects stand in MIME when they are written here (RFC 8551 section 3.2 to 3.5, RFC 3923 section 3.1).

Every one says that it is an attachment that must be understood (RFC 3261 section 23.3), and none has an x- name.
"""

from __future__ import annotations

import binascii

from gateway.core.canonical import delimited
from gateway.core.mime import ContentType, Entity, Headers
from gateway.core.protection import SIGNATURE_TYPE

_LINE_OCTETS = 48  # 64 characters of base64
_OBJECT, _SIGNATURE = "smime.p7m", "smime.p7s"
MICALGS = {"sha1": "sha-1", "sha256": "sha-256", "sha384": "sha-384", "sha512": "sha-512"}
"""Digests, by their names in CMS, as the parameter micalg has them (RFC 8551 section 3.5.3.2)."""


def opaque(blob: bytes, smime_type: str, *, base64: bool = False, others: Headers = ()) -> Entity:
    """application/pkcs7-mime with this CMS object. others: headers that stand before its own."""
    encoding = "base64" if base64 else "binary"
    kind = ContentType("application", "pkcs7-mime", (("smime-type", smime_type), ("name", _OBJECT)))
    headers = (("Content-Type", str(kind)), ("Content-Transfer-Encoding", encoding), ("Content-Disposition", _disposition(_OBJECT)))
    return Entity.compose((*others, *headers), in_lines(blob) if base64 else blob)


def multipart_signed(covered: bytes, blob: bytes, micalg: str, others: Headers = ()) -> Entity:
    """multipart/signed: the octets of the entity that the signature covers, and the detached signature (RFC 8551 section 3.5.3)."""
    headers = (
        ("Content-Type", f"{SIGNATURE_TYPE}; name={_SIGNATURE}"),
        ("Content-Transfer-Encoding", "base64"),
        ("Content-Disposition", _disposition(_SIGNATURE)),
    )
    signature = Entity.compose(headers, in_lines(blob))
    boundary, content = delimited(covered, signature.raw)
    kind = ContentType("multipart", "signed", (("protocol", SIGNATURE_TYPE), ("micalg", micalg), ("boundary", boundary)))
    return Entity.compose((*others, ("Content-Type", str(kind))), content)


def in_lines(octets: bytes) -> bytes:
    """Base64 in lines of 64 characters (RFC 2045 section 6.8), without a line end behind the last."""
    pieces = [octets[at : at + _LINE_OCTETS] for at in range(0, len(octets), _LINE_OCTETS)]
    return b"\r\n".join([binascii.b2a_base64(piece, newline=False) for piece in pieces])


def _disposition(name: str) -> str:
    return f"attachment; handling=required; filename={name}"
