"""CMS SignedData (RFC 5652 section 5) as values. No type of the ASN.1 library leaves this file."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from functools import lru_cache
from typing import Any

from asn1crypto import algos, cms

from . import oids
from .asn1 import CmsFault, checked, content_of, first_member, members, object_identifier

MOST_SIGNERS, MOST_CERTIFICATES = 10, 20
_MOST_ALGORITHM_OCTETS = 512
_INTEGER, _OCTET_STRING, _SEQUENCE, _SET = 0x02, 0x04, 0x30, 0x31
_EXPLICIT, _CERTIFICATES, _KEY_ID, _SET_OF = 0xA0, 0xA0, 0x80, b"\x31"
# What asn1crypto raises, which reads lazily, for values of another type than a field has.
_UNREADABLE = (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, RecursionError, OSError)


class Kind(Enum):
    """What a ContentInfo holds, by its object identifier, whatever smime-type says (SMIME-06)."""

    SIGNED = oids.SIGNED_DATA
    ENVELOPED = oids.ENVELOPED_DATA
    AUTH_ENVELOPED = oids.AUTH_ENVELOPED_DATA
    COMPRESSED = oids.COMPRESSED_DATA
    OTHER = ""

    @property
    def is_encrypted(self) -> bool:
        """Whether only who has a key can read it."""
        return self in (Kind.ENVELOPED, Kind.AUTH_ENVELOPED)


@dataclass(frozen=True, slots=True)
class SignerId:
    """How a signature names its certificate: by issuer (the DER of a Name) and serial number, or by subject key identifier."""

    issuer: bytes = b""
    serial: int = 0
    key_id: bytes = b""


@dataclass(frozen=True, slots=True)
class Pss:
    """Parameters of RSASSA-PSS (RFC 4055 section 3.1). digest, mask_digest: as names of hashes ("sha256")."""

    digest: str
    mask_digest: str
    salt_octets: int


@dataclass(frozen=True, slots=True)
class SignedAttributes:
    """What a signer has signed beside the content (RFC 5652 section 11).

    octets: what the signature is over, with the tag of a SET OF; sorted: the same in DER order, which is what it ought to be. content_type:
    an object identifier. signed_at: POSIX seconds.
    """

    octets: bytes
    sorted: bytes
    content_type: str
    message_digest: bytes
    signed_at: float | None


@dataclass(frozen=True, slots=True)
class SignerInfo:
    """One signature. digest, algorithm: names of asn1crypto ("sha256", "sha256_ecdsa", "rsassa_pss"), dotted where it has none."""

    sid: SignerId
    digest: str
    algorithm: str
    pss: Pss | None
    attributes: SignedAttributes | None
    signature: bytes


@dataclass(frozen=True, slots=True)
class SignedData:
    """A whole object. content_type: an object identifier. content: None where it is elsewhere. certificates: DER, as they came."""

    content_type: str
    content: bytes | None
    signers: tuple[SignerInfo, ...]
    certificates: tuple[bytes, ...]

    @staticmethod
    def parse(octets: bytes) -> SignedData:
        """Read the ContentInfo of a SignedData, BER or DER. Raises CmsFault."""
        whole = checked(octets)
        if whole[0] != _SEQUENCE:
            raise CmsFault("No ContentInfo", 0, "RFC 5652 section 3")
        kind, value, *_ = _at_least(members(whole), 2)
        if object_identifier(kind) != Kind.SIGNED.value:
            raise CmsFault("CMS object without a signature")
        return _signed_data(members(content_of(value, _EXPLICIT)))


def kind_of(octets: bytes) -> Kind:
    """What a CMS object is, by its first octets. Raises CmsFault for octets that are none."""
    dotted = object_identifier(first_member(octets))
    return next((kind for kind in Kind if kind.value == dotted), Kind.OTHER)


def _signed_data(fields: tuple[bytes, ...]) -> SignedData:
    """RFC 5652 section 5.1; `fields` are version, digestAlgorithms, encapContentInfo, certificates, crls, signerInfos."""
    _, _, capsule, *optional, signers = _at_least(fields, 4)
    carried = next((members(each) for each in optional if each[0] == _CERTIFICATES), ())
    infos = members(signers) if signers[0] == _SET else None
    if infos is None or capsule[0] != _SEQUENCE:
        raise CmsFault("Bad SignedData", section="RFC 5652 section 5.1")
    if len(infos) > MOST_SIGNERS:
        raise CmsFault(f"More than {MOST_SIGNERS} signers", section="SMIME-09")
    if len(carried) > MOST_CERTIFICATES:
        raise CmsFault(f"More than {MOST_CERTIFICATES} certificates", section="SMIME-09")
    kind, *content = _at_least(members(capsule), 1)
    return SignedData(
        object_identifier(kind),
        content_of(content_of(content[0], _EXPLICIT), _OCTET_STRING) if content else None,
        tuple(_signer(members(each)) for each in infos),
        tuple(each for each in carried if each[0] == _SEQUENCE),
    )


def _signer(fields: tuple[bytes, ...]) -> SignerInfo:
    """RFC 5652 section 5.3; `fields` are version, sid, digestAlgorithm, signedAttrs, signatureAlgorithm, signature, unsignedAttrs."""
    _, sid, digest, *rest = _at_least(fields, 5)
    attributes = _attributes(rest.pop(0)) if rest[0][0] == _EXPLICIT else None
    algorithm, signature, *_ = _at_least(tuple(rest), 2)
    scheme, pss = _signature_algorithm(algorithm)
    return SignerInfo(_sid(sid), _digest_algorithm(digest), scheme, pss, attributes, content_of(signature, _OCTET_STRING))


def _sid(sid: bytes) -> SignerId:
    if sid[0] != _SEQUENCE:
        return SignerId(key_id=content_of(sid, _KEY_ID))
    issuer, serial, *_ = _at_least(members(sid), 2)
    return SignerId(issuer, int.from_bytes(content_of(serial, _INTEGER), "big", signed=True))


# The same few algorithms recur in every signature.
@lru_cache(maxsize=64)
def _digest_algorithm(octets: bytes) -> str:
    if len(octets) > _MOST_ALGORITHM_OCTETS:
        raise CmsFault("Bad digest algorithm")
    try:
        return str(algos.DigestAlgorithm.load(octets)["algorithm"].native)
    except _UNREADABLE:
        raise CmsFault("Bad digest algorithm") from None


@lru_cache(maxsize=64)
def _signature_algorithm(octets: bytes) -> tuple[str, Pss | None]:
    if len(octets) > _MOST_ALGORITHM_OCTETS:
        raise CmsFault("Bad signature algorithm")
    try:
        read = algos.SignedDigestAlgorithm.load(octets)
        scheme = str(read["algorithm"].native)
        return scheme, _pss(read["parameters"]) if scheme == "rsassa_pss" else None
    except _UNREADABLE:
        raise CmsFault("Bad signature algorithm") from None


def _pss(parameters: Any) -> Pss:
    if not isinstance(parameters, algos.RSASSAPSSParams):
        parameters = algos.RSASSAPSSParams()
    mask = parameters["mask_gen_algorithm"]
    if mask["algorithm"].native != "mgf1" or parameters["trailer_field"].native != "trailer_field_bc":
        raise CmsFault("Unknown parameters of RSASSA-PSS", section="RFC 4055 section 3.1")
    return Pss(parameters["hash_algorithm"]["algorithm"].native, mask["parameters"]["algorithm"].native, parameters["salt_length"].native)


def _attributes(field: bytes) -> SignedAttributes:
    octets = _SET_OF + field[1:]
    each = members(octets)
    known: dict[str, list[bytes]] = {}
    for attribute in each:
        kind, values, *_ = _at_least(members(attribute), 2)
        known.setdefault(object_identifier(kind), []).append(values)
    signing_time = _only(known, oids.SIGNING_TIME) if oids.SIGNING_TIME in known else None
    return SignedAttributes(
        octets,
        octets[: len(octets) - sum(map(len, each))] + b"".join(sorted(each)),
        object_identifier(_only(known, oids.CONTENT_TYPE)),
        content_of(_only(known, oids.MESSAGE_DIGEST), _OCTET_STRING),
        None if signing_time is None else _moment(signing_time),
    )


def _only(known: dict[str, list[bytes]], kind: str) -> bytes:
    """The one value of an attribute that stands once (RFC 5652 section 11)."""
    found = known.get(kind, [])
    values = members(found[0]) if len(found) == 1 else ()
    if len(values) != 1:
        raise CmsFault(f"Not one {kind} in the signed attributes", section="RFC 5652 section 11")
    return values[0]


def _moment(value: bytes) -> float:
    """A Time, UTCTime or GeneralizedTime (RFC 5652 section 11.3), in POSIX seconds."""
    try:
        when: datetime = cms.Time.load(value).native
        if when.tzinfo is not None:
            return when.timestamp()
    except _UNREADABLE:
        pass
    raise CmsFault("Bad signing time", section="RFC 5652 section 11.3")


def _at_least(fields: tuple[bytes, ...], least: int) -> tuple[bytes, ...]:
    if len(fields) < least:
        raise CmsFault("Fields missing in CMS object")
    return fields
