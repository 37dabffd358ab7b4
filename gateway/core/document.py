"""Small XML documents in message bodies (message/imdn+xml, application/im-iscomposing+xml ...), read so that no document can do harm."""

from __future__ import annotations

from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers.expat import ExpatError, ParserCreate

from .errors import SyntaxFault

MOST_OCTETS, MOST_DEPTH = 16_384, 16


def parse_document(octets: bytes, most_octets: int = MOST_OCTETS, most_depth: int = MOST_DEPTH) -> Element:
    """The root of a document, tags as "{namespace}local" (IMDN-24, ISC-10). Raises SyntaxFault.

    Without a DTD, so without entities of its own; bounded in octets and depth. Comments and processing instructions say nothing.

    >>> parse_document(b'<a xmlns="urn:x"><b>1</b></a>')[0].text
    '1'
    """
    if len(octets) > most_octets:
        raise SyntaxFault(f"XML document over {most_octets} octets")
    builder, depth = TreeBuilder(), 0
    parser = ParserCreate(namespace_separator="}")
    parser.buffer_text = True

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > most_depth:
            raise SyntaxFault(f"XML document deeper than {most_depth}")
        builder.start(_tag(name), {_tag(key): value for key, value in attributes.items()})

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(_tag(name))

    def refuse(*_: object) -> None:
        raise SyntaxFault("XML document with a DTD")

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(octets, True)
    except (ExpatError, ValueError, LookupError):
        # ValueError and LookupError: an encoding that expat asks Python for, and Python does not have as it is needed.
        raise SyntaxFault("XML document that is not well-formed") from None
    return builder.close()


def _tag(name: str) -> str:
    return "{" + name if "}" in name else name


def child(parent: Element, namespace: str, name: str) -> Element | None:
    """The first child of this name."""
    return parent.find(f"{{{namespace}}}{name}")


def child_text(parent: Element, namespace: str, name: str) -> str:
    """The text of the first child of this name without the white space around it; empty where there is none."""
    found = child(parent, namespace, name)
    return (found.text or "").strip() if found is not None else ""
