"""What a MIME entity is as a file: its name, its type, its octets. For what can only be handed on as a whole (XEP-0363)."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from .errors import Refusal, SyntaxFault
from .mime import ContentType, Entity
from .text import one_line

MOST_NAME_OCTETS = 120
_MOST_ENDING_OCTETS = 16
_CONTAINERS = ("multipart", "message")
_PROTOCOL = frozenset((
    "application/pkcs7-mime", "application/x-pkcs7-mime", "application/pkcs7-signature", "application/x-pkcs7-signature",
    "application/pgp-encrypted", "application/pgp-signature", "application/im-iscomposing+xml", "application/sdp", "application/pidf+xml",
))  # fmt: skip
"""What no person opens: protected content, which goes as it is or not at all, and what programs tell each other."""
_ENDINGS = {
    "application/json": "json", "application/pdf": "pdf", "application/xml": "xml", "application/zip": "zip", "audio/aac": "aac",
    "audio/amr": "amr", "audio/mp4": "m4a", "audio/mpeg": "mp3", "audio/ogg": "ogg", "audio/wav": "wav", "image/bmp": "bmp",
    "image/gif": "gif", "image/heic": "heic", "image/jpeg": "jpg", "image/png": "png", "image/svg+xml": "svg", "image/tiff": "tiff",
    "image/webp": "webp", "text/calendar": "ics", "text/csv": "csv", "text/html": "html", "text/plain": "txt", "text/vcard": "vcf",
    "text/x-vcard": "vcf", "video/3gpp": "3gp", "video/mp4": "mp4", "video/mpeg": "mpg", "video/ogg": "ogv", "video/quicktime": "mov",
    "video/webm": "webm",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class File:
    """A whole file, at least one octet. name: without a path, everything in it can be seen. type: the media type without parameters."""

    name: str
    type: str
    octets: bytes = field(repr=False)


def is_file(kind: ContentType) -> bool:
    """Whether something of this type can be handed on as a file."""
    return kind.type not in _CONTAINERS and kind.essence not in _PROTOCOL


def file_of(entity: Entity) -> File:
    """An entity as a file. Raises Refusal for what can be none, SyntaxFault for what cannot be read.

    >>> file_of(Entity.compose([("Content-Type", "image/png"), ("Content-Disposition", 'attachment; filename="../a.png"')], b"..."))
    File(name='a.png', type='image/png')
    """
    kind = entity.content_type
    if not is_file(kind):
        raise Refusal("type-unsupported", f"{kind.essence} is no file")
    octets = entity.decoded()
    if not octets:
        raise Refusal("type-unsupported", "an empty file is not carried")
    stated = filename_of(entity) or kind.param("name") or ""
    return File(_clean(stated) or f"file.{_ENDINGS.get(kind.essence, 'bin')}", kind.essence, octets)


def filename_of(entity: Entity) -> str:
    """The name that its Content-Disposition has for it, as it stands there; empty for none.

    RFC 2183 section 2.3, in the plain form or in that of RFC 2231 section 4 with UTF-8.
    """
    try:
        # It has the syntax of a media type but for the type itself (RFC 2183 section 2).
        stated = ContentType.parse(f"disposition/{entity.header('Content-Disposition')}")
    except SyntaxFault:
        return ""
    charset, _, rest = (stated.param("filename*") or "").partition("'")
    if charset.lower() == "utf-8":
        return unquote_to_bytes(rest.partition("'")[2]).decode("utf-8", "replace")
    return stated.param("filename") or ""


def _clean(name: str) -> str:
    """The last part of a path, with nothing invisible in it, and not over the bound; its ending stays where that is a short one."""
    last = one_line(name.replace("\\", "/").rpartition("/")[2])
    seen = "".join([ch for ch in last if ch.isprintable()]).strip(" .")
    stem, dot, ending = seen.rpartition(".")
    if not stem or len(ending.encode()) > _MOST_ENDING_OCTETS:
        stem, dot, ending = seen, "", ""
    room = MOST_NAME_OCTETS - len((dot + ending).encode())
    return stem.encode()[:room].decode("utf-8", "ignore") + dot + ending
