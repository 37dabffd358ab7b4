"""From a MIME entity to what is signed in it: RFC 1847 section 2.1 for multipart/signed, RFC 8551 section 3 for application/pkcs7-mime.

Covered octets are slices of what came, never written anew (SMIME-10, SMIME-11).
"""

from __future__ import annotations

import binascii
import re
from dataclasses import dataclass

from gateway.core.errors import Refusal, SyntaxFault
from gateway.core.mime import MIXED, Entity, split_multipart
from gateway.core.protection import SIGNATURE_TYPE

from .asn1 import CmsFault

SIGNATURE_TYPES = (SIGNATURE_TYPE, "application/x-pkcs7-signature")
_SEQUENCE = 0x30
_LONE_LINE_END = re.compile(rb"(?<!\r)\n|\r(?!\n)")
_BASE64 = re.compile(rb"[A-Za-z0-9+/=\s]+")
_RULE = "RFC 1847 section 2.1"


@dataclass(frozen=True, slots=True)
class ClearSigned:
    """A multipart/signed. covered: the octets of its first part, headers and all. signature: the CMS object. micalg: as it stands."""

    covered: bytes
    signature: bytes
    micalg: str


def clear_signed(entity: Entity) -> ClearSigned:
    """Take a multipart/signed apart (SMIME-01 to SMIME-04). Raises CmsFault for what breaks its rules.

    A delimiter is found by how its line begins (RFC 2046 section 5.1.1): a boundary that another one inside begins with ends the part.
    """
    kind = entity.content_type
    protocol, micalg = kind.param("protocol"), kind.param("micalg")
    if not protocol or not micalg or not kind.param("boundary"):
        raise CmsFault("multipart/signed without protocol, micalg or boundary", section=_RULE)
    if protocol.strip(" \t").lower() not in SIGNATURE_TYPES:
        raise CmsFault("multipart/signed by something else than CMS", section="RFC 8551 section 3.5.3.2")
    try:
        parts = split_multipart(entity, 2)
    except Refusal:
        raise CmsFault("multipart/signed of more than two parts", section=_RULE) from None
    except SyntaxFault as fault:
        raise CmsFault(fault.what, section=fault.section) from None
    if len(parts) != 2:
        raise CmsFault("multipart/signed of one part", section=_RULE)
    # The old name and the new one are the same type.
    if parts[1].content_type.essence not in SIGNATURE_TYPES:
        raise CmsFault("The second part is not what protocol says", section=_RULE)
    return ClearSigned(parts[0].raw, cms_octets(parts[1]), micalg)


def cms_octets(entity: Entity) -> bytes:
    """The CMS object that an entity is, binary or base64, however its lines are broken (SMIME-08). Raises CmsFault.

    Base64 is read also where no transfer encoding says so: no CMS object is text.
    """
    try:
        octets = entity.decoded()
    except (Refusal, SyntaxFault) as fault:
        raise CmsFault(str(fault), section="RFC 8551 section 3.1.2") from None
    if octets and octets[0] != _SEQUENCE and _BASE64.fullmatch(octets):
        try:
            octets = binascii.a2b_base64(octets)
        except binascii.Error:
            raise CmsFault("Bad base64", section="RFC 2045 section 6.8") from None
    return octets


def entity_of(covered: bytes) -> Entity:
    """What a signature covers (`Judged.covered`) as an entity; as one that says nothing where it is none that could be read."""
    try:
        return Entity.parse(covered)
    except SyntaxFault:
        return Entity.compose((), covered)


def parts_of(covered: Entity) -> tuple[Entity, ...]:
    """What may be a copy of the request, or say when it was signed: itself, or the parts of a multipart/mixed; none that cannot be read."""
    try:
        return split_multipart(covered) if covered.content_type.essence == MIXED else (covered,)
    except (Refusal, SyntaxFault):
        return ()


def has_lone_line_end(octets: bytes) -> bool:
    """Whether there is a CR or an LF that is not half of a CR LF."""
    pairs = octets.count(b"\r\n")
    return octets.count(b"\r") != pairs or octets.count(b"\n") != pairs


def with_crlf(octets: bytes) -> bytes | None:
    """The octets with CR LF line ends, where a CR or LF stands alone (SMIME-15); None where none does."""
    return _LONE_LINE_END.sub(b"\r\n", octets) if has_lone_line_end(octets) else None
