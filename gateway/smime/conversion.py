"""Other containers for the same signed octets, for who cannot read the one that came. Each needs no key, and gives None where it cannot.

The letters are those of `[[route]] smime_carriage`. Covered octets and signatures stay as they are, octet for octet; whether any of this is
wanted is for a route to say, because a message is otherwise carried as it came.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from gateway.core.errors import Refusal, SyntaxFault
from gateway.core.mime import Entity, Headers, split_multipart
from gateway.core.verdict import Status

from .asn1 import CmsFault, checked, members
from .certificates import Certificate
from .cms import SignedData, SignerInfo
from .container import clear_signed, cms_octets
from .der import content_info, explicit, octet_string, oid, sequence
from .layouts import MICALGS, in_lines, multipart_signed, opaque
from .oids import DATA, SIGNED_DATA
from .signatures import check

_CONTENT = 2
"""Which element of a SignedData says what is signed: version, digestAlgorithms, encapContentInfo (RFC 5652 section 5.1)."""


def trimmed(entity: Entity) -> Entity | None:
    """B0: a multipart/signed without its preamble and epilogue, and with its own headers written anew."""
    try:
        clear_signed(entity)
        octets, cuts, size = _cuts(entity)
        last = cuts[-1] + size
        end = last + 2 if octets.startswith(b"--", last) else len(octets)
        if any("\ufffd" in value for _, value in entity.headers):
            return None  # it was no UTF-8 and cannot be written again
        return Entity.compose(entity.headers, octets[cuts[0] + 2 : end] + b"\r\n")
    except SyntaxFault:
        return None


def with_text_signature(entity: Entity) -> Entity | None:
    """C: a multipart/signed with its signature in base64 (SMIME-33); None also where it is in base64 already."""
    try:
        blob = clear_signed(entity).signature
        part = split_multipart(entity, 2)[1]
        if (part.header("Content-Transfer-Encoding") or "").strip().lower() == "base64":
            return None
        octets, cuts, size = _cuts(entity)
        begin = octets.index(b"\r\n", cuts[1] + size) + 2
        end = cuts[2] if len(cuts) > 2 else len(octets)
        kept = [(name, value) for name, value in part.headers if name.lower() != "content-transfer-encoding"]
        signature = Entity.compose([*kept, ("Content-Transfer-Encoding", "base64")], in_lines(blob))
        head = entity.raw[: len(entity.raw) - len(entity.content)]
        return Entity.parse(head + octets[2:begin] + signature.raw + octets[end:])
    except (Refusal, SyntaxFault):
        return None


def _cuts(entity: Entity) -> tuple[bytes, list[int], int]:
    """(The content behind a CR LF, where its delimiters begin in that, how long each is); found as `split_multipart` finds them."""
    octets, delimiter = b"\r\n" + entity.content, b"\r\n--" + (entity.content_type.param("boundary") or "").encode()
    return octets, list(_places(octets, delimiter)), len(delimiter)


def _places(octets: bytes, delimiter: bytes) -> Iterator[int]:
    at = octets.find(delimiter)
    while at >= 0:
        yield at
        line_end = octets.find(b"\r\n", at + len(delimiter))
        if line_end < 0 or octets.startswith(b"--", at + len(delimiter)):
            return
        at = octets.find(delimiter, line_end)


def to_opaque(entity: Entity) -> Entity | None:
    """D: a multipart/signed as application/pkcs7-mime in base64, its covered octets inside of the CMS object (SMIME-60).

    Not where the covered octets are no longer what was signed: nobody could tell any more who damaged them (SMIME-61).
    """
    try:
        found = clear_signed(entity)
        signed = SignedData.parse(found.signature)
        # What is not in DER could not be had back as it was.
        if signed.content is not None or not _holds(signed, found.covered) or checked(found.signature) != found.signature:
            return None
        blob = _with_content(found.signature, explicit(0, octet_string(found.covered)))
        if _with_content(blob, b"") != found.signature:
            return None
        return opaque(blob, "signed-data", base64=True, others=_other_headers(entity))
    except (Refusal, SyntaxFault):
        return None


def to_clear(entity: Entity) -> Entity | None:
    """The reverse of D: opaque signed data as multipart/signed, for clients that cannot read it (SMIME-62)."""
    try:
        blob = cms_octets(entity)
        signed = SignedData.parse(blob)
        if signed.content is None or not _holds(signed, signed.content):
            return None
        Entity.parse(signed.content)  # else it is no part of a multipart
        definite = checked(blob)
        detached = _with_content(definite, b"")
        if _elements(definite)[-1] not in blob:
            return None
        micalg = ",".join(sorted({MICALGS[signer.digest] for signer in signed.signers}))
        return multipart_signed(signed.content, detached, micalg, _other_headers(entity))
    except (Refusal, SyntaxFault):
        return None


def _holds(signed: SignedData, content: bytes) -> bool:
    """Whether each signature was made over this content, as far as can be said without asking whose it is."""
    return signed.content_type == DATA and bool(signed.signers) and all(_is_over(each, signed, content) for each in signed.signers)


def _is_over(signer: SignerInfo, signed: SignedData, content: bytes) -> bool:
    if signer.digest not in MICALGS:
        return False
    if signer.attributes is not None:
        return signer.attributes.message_digest == hashlib.new(signer.digest, content).digest()
    known = (Certificate.parse(each) for each in signed.certificates)
    own = next((each for each in known if each.matches(signer.sid)), None)
    return own is not None and check(signer, content, signed.content_type, own.key).status in (Status.VALID, Status.WEAK)


def _elements(blob: bytes) -> tuple[bytes, ...]:
    """The elements of the SignedData in a ContentInfo of definite lengths. Raises CmsFault."""
    try:
        return members(members(members(blob)[1])[0])
    except IndexError:
        raise CmsFault("Bad ContentInfo", section="RFC 5652 section 3") from None


def _with_content(blob: bytes, content: bytes) -> bytes:
    """The same ContentInfo with another eContent, or none; every other element of its SignedData as it was."""
    elements = list(_elements(blob))
    elements[_CONTENT] = sequence(oid(DATA), content)
    return content_info(SIGNED_DATA, sequence(*elements))


def _other_headers(entity: Entity) -> Headers:
    """The headers that do not say what an entity is."""
    return tuple((name, value) for name, value in entity.headers if name.lower() not in _OWN)


_OWN = ("content-type", "content-transfer-encoding", "content-disposition")


BY_OPTION = {"B0": trimmed, "C": with_text_signature, "D": to_opaque}
"""By the names of `[[route]] smime_carriage`."""
