"""A secured MIME entity as the character data of `<e2e/>`, and back without one octet changed (RFC 3923). Pure.

XML keeps neither CR nor what it has no character for, so an entity goes in one of these ways, of which a route names those it wants:

    A    as it is, with LF for CR LF: where every line ends in CR LF, and XML has every character
    B    one CMS object: in base64, as its header then says, beside one of ours that says how SIP had it
    E    all of it, header fields and content, in base64: whatever it is

The others that a route may name (B0, C, D) change what is around the signed octets first. They are another room's.
"""

from __future__ import annotations

import binascii
import re
from base64 import encodebytes
from collections.abc import Callable, Iterable, Mapping

from gateway.core.errors import SyntaxFault
from gateway.core.mime import Entity, Headers
from gateway.core.protection import CMS_TYPE, CMS_TYPES
from gateway.core.text import xml_text

Conversion = Callable[[Entity], Entity | None]

SIP_ENCODING = "X-SIP-Content-Transfer-Encoding"
"""In the outer header block of option B alone: the Content-Transfer-Encoding that the SIP side had, or "none"."""
_ENCODING = "Content-Transfer-Encoding"
_UNENCODED, _NONE = ("binary", "8bit", "7bit"), "none"
_MOST_CLEAR = 131_072
"""Octets of option A as XML: what grows over that by its escapes is smaller in base64, which always has room in a stanza."""
_CONTENT_NAME = re.compile(r"content-[-.!%*_+`'~0-9a-z]+")
_NOT_CARRIED = ("content-length", "content-encoding")
_WHITE = " \t\r\n"
_BASE64 = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=")
_SEQUENCE, _OBJECT_IDENTIFIER = 0x30, 0x06
_SMIME_TYPES = {
    bytes.fromhex("2a864886f70d010702"): "signed-data",
    bytes.fromhex("2a864886f70d010703"): "enveloped-data",
    bytes.fromhex("2a864886f70d0109100109"): "compressed-data",
    bytes.fromhex("2a864886f70d0109100117"): "authEnveloped-data",
}
"""The content types of CMS, by the content octets of their identifiers, as RFC 8551 section 3.2.2 names them."""


# -- writing -----------------------------------------------------------------------------------------------------------
def payload_of(entity: Entity, carriage: Iterable[str] = (), conversions: Mapping[str, Conversion] | None = None) -> str:
    """The character data, not escaped yet, of `<e2e/>` for an entity that says of what type it is. It holds no CR.

    carriage: the options that are wanted, best first; E is the last of them, named or not. conversions: what an option besides A, B and E
    makes of the entity, None where it cannot; an option that is not among them is passed over. Raises SyntaxFault for header fields
    that cannot be written again.

    >>> payload_of(Entity.compose([("Content-Type", "application/pkcs7-mime")], b"0\\x80\\x06\\x09"), ("A", "B"))
    'Content-Type: application/pkcs7-mime\\nContent-Transfer-Encoding: base64\\nX-SIP-Content-Transfer-Encoding: none\\n\\nMIAGCQ==\\n'
    """
    return chosen(entity, carriage, conversions)[1]


def chosen(entity: Entity, carriage: Iterable[str], conversions: Mapping[str, Conversion] | None = None) -> tuple[str, str]:
    """(the option that was taken, the character data)."""
    whole = _carried(entity)
    for option in carriage:
        if option in _WRITERS:
            text = _checked(whole, option)
        else:
            convert = (conversions or {}).get(option)
            other = convert(entity) if convert else None
            text = (_checked(_carried(other), "A") or _checked(_carried(other), "B")) if other else None
        if text is not None:
            return option, text
    return "E", _encoded(whole.raw)


def _carried(entity: Entity) -> Entity:
    """The entity with the header fields that both sides have for it, written anew: Content-* and MIME-Version (SMIME-32, SMIME-50)."""
    names = [name.lower() for name, _ in entity.headers]
    # What is no token is no header field of SIP (RFC 3261 section 7.3.1).
    kept = [name == "mime-version" or (name not in _NOT_CARRIED and _CONTENT_NAME.fullmatch(name) is not None) for name in names]
    return Entity.compose([field for field, is_kept in zip(entity.headers, kept, strict=True) if is_kept], entity.content)


def _checked(entity: Entity, option: str) -> str | None:
    """What the option makes of the entity, if that is read back as the same octets (SMIME-51)."""
    try:
        text = _WRITERS[option](entity)
        return text if text is not None and entity_in(text).raw == entity.raw else None
    except SyntaxFault:
        return None


def _clear(entity: Entity) -> str | None:
    """enc(O), where O is XML-clean."""
    try:
        text = entity.raw.decode()
    except UnicodeDecodeError:
        return None
    lines = _lines(text)
    # That each LF had its CR shows when it is read back.
    is_clean = "\r" not in lines and xml_text(lines) == lines
    escapes = 4 * lines.count("&") + 3 * (lines.count("<") + lines.count(">"))
    return lines if is_clean and len(entity.raw) + escapes <= _MOST_CLEAR else None


def _blob(entity: Entity) -> str | None:
    """A CMS object that nothing has encoded yet."""
    had = entity.header(_ENCODING)
    if entity.content_type.essence not in CMS_TYPES or (had is not None and had.lower() not in _UNENCODED):
        return None
    headers = _recoded(entity.headers, "base64")
    return _lines(Entity.compose((*headers, (SIP_ENCODING, had or _NONE)), b"").raw.decode()) + _encoded(entity.content)


def _encoded(octets: bytes) -> str:
    return encodebytes(octets).decode()


_WRITERS: dict[str, Callable[[Entity], str | None]] = {"A": _clear, "B": _blob, "E": lambda entity: _encoded(entity.raw)}


def _recoded(headers: Headers, encoding: str) -> Headers:
    """The header fields with another Content-Transfer-Encoding, in the same place or last; with none for an empty one."""
    name = next((name for name, _ in headers if name.lower() == _ENCODING.lower()), "")
    if not name:
        return (*headers, (_ENCODING, encoding))
    return tuple([(known, encoding if known == name else value) for known, value in headers if known != name or encoding])


def _lines(text: str) -> str:
    return text.replace("\r\n", "\n")


# -- reading -----------------------------------------------------------------------------------------------------------
def entity_in(text: str) -> Entity:
    """The entity in the character data of an `<e2e/>`: its outer header fields unfolded, its content to the octet. Raises SyntaxFault.

    Three kinds are known (SMIME-53, E2E-06): a MIME entity with its header fields, a CMS object in base64, a MIME entity in base64. What
    is in front of it and white is skipped; what is behind it belongs to it.

    >>> entity_in("\\nContent-Type: application/pkcs7-mime;\\n smime-type=signed-data\\n\\na\\nb \\n").raw
    b'Content-Type: application/pkcs7-mime; smime-type=signed-data\\r\\n\\r\\na\\r\\nb \\r\\n'
    """
    octets = _decoded(text)
    if octets is None:
        return _restored(_required(Entity.parse(_with_crlf(text.lstrip(_WHITE)))))
    if octets[0] == _SEQUENCE:
        return _cms_entity(octets)
    return _carried(_required(Entity.parse(octets)))


def _with_crlf(text: str) -> bytes:
    """dec(t): each LF that has lost its CR on the way gets it back (E2E-09)."""
    try:
        return _lines(text).replace("\n", "\r\n").encode()
    except UnicodeEncodeError:
        raise SyntaxFault("The end-to-end object is no text", section="RFC 3629 section 3") from None


def _decoded(text: str) -> bytes | None:
    """What a payload has in base64; None for one that is something else."""
    octets = b"".join(text.encode("utf-8", "replace").split())
    if not octets:
        raise SyntaxFault("The end-to-end object is empty", section="RFC 3923 section 3.1")
    # A MIME entity names a type, and has a hyphen in that name.
    if not _BASE64.issuperset(octets):
        return None
    try:
        return binascii.a2b_base64(octets, strict_mode=True)
    except binascii.Error:
        raise SyntaxFault("The end-to-end object is neither a MIME entity nor whole base64", section="RFC 3923 section 3.1") from None


def _required(entity: Entity) -> Entity:
    if entity.header("Content-Type") is None:
        raise SyntaxFault("The end-to-end object does not say of what type it is", section="RFC 3923 section 3.1")
    return entity


def _restored(entity: Entity) -> Entity:
    """Option B undone; any other entity as it came."""
    had, carried = entity.header(SIP_ENCODING), _carried(entity)
    known = had is not None and (had == _NONE or had.lower() in _UNENCODED)
    if had is None or not known or (entity.header(_ENCODING) or "").lower() != "base64":
        return carried
    try:
        content = binascii.a2b_base64(b"".join(entity.content.split()), strict_mode=True)
    except binascii.Error:
        raise SyntaxFault("Bad base64 content", section="RFC 2045 section 6.8") from None
    return Entity.compose(_recoded(carried.headers, "" if had == _NONE else had), content)


def _cms_entity(octets: bytes) -> Entity:
    """A bare CMS object as SIP has it: named and not encoded (RFC 8551 section 3.2.2, RFC 8591 section 5)."""
    kind = _SMIME_TYPES.get(_first_identifier(octets))
    stated = f"; smime-type={kind}" if kind else ""
    headers = [
        ("Content-Type", f"{CMS_TYPE}{stated}; name=smime.p7m"),
        (_ENCODING, "binary"),
        ("Content-Disposition", "attachment; filename=smime.p7m; handling=required"),
    ]
    return Entity.compose(headers, octets)


def _first_identifier(octets: bytes) -> bytes:
    """The content octets of the identifier that a SEQUENCE begins with, BER or DER; empty where it begins with something else."""
    at = 2 + (octets[1] & 0x7F if len(octets) > 1 and octets[1] > 0x80 else 0)
    if octets[at : at + 1] != bytes((_OBJECT_IDENTIFIER,)) or len(octets) < at + 2:
        return b""
    return octets[at + 2 : at + 2 + octets[at + 1]]
