"""stoxgate inspect: what a message is."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import click

from gateway.core.content import content_of
from gateway.core.cpim import CORE, CPIM_TYPE, CpimMessage
from gateway.core.errors import Refusal, SyntaxFault
from gateway.core.mime import Entity, mime_parts
from gateway.core.protection import is_protected
from gateway.core.verdict import Status, Verdict
from gateway.sip.entity import body_of, protected_body
from gateway.sip.headers import title
from gateway.sip.message import BadMessage, Request, Response
from gateway.xmpp import stanza as xml

from .common import REFUSED, end, file_argument, group_config_option, guarded, json_option, put_json, read_input
from .fields import said
from .messages import CALLED, KINDS, Read, detect, read_message
from .shown import shortened, visible


@click.command("inspect")
@file_argument
@group_config_option
@json_option
@click.option("--from", "source", type=click.Choice(KINDS), help="What the message is; seen from its first octets when left out.")
@guarded
def command(file: Path, as_json: bool, source: str | None) -> None:
    """Say what a message is: kind, validity, header fields, MIME tree. Needs no configuration.

    FILE: a SIP message, an XMPP stanza or a message/cpim object; - or nothing reads standard input. Exit code 1 when it is invalid; the
    first fault is named. Of what is signed it says by whom; whether that holds, `verify` says.

    \b
    Examples:
      stoxgate inspect message.sip
      stoxgate queue show 42 | stoxgate inspect
    """
    octets = read_input(file)
    kind = source or detect(octets)
    try:
        facts = _facts(read_message(octets, source or ""))
    except SyntaxFault as fault:
        facts = {"kind": kind, "valid": False, "fault": str(fault)}
        if isinstance(fault, BadMessage):
            facts["answer"] = fault.status
    if as_json:
        put_json(facts)
    if not facts["valid"]:
        end(f"not a valid {CALLED[kind]}: {facts['fault']}", REFUSED)
    if not as_json:
        click.echo(_shown(facts))


# -- facts -------------------------------------------------------------------------------------------------------------
def _facts(message: Read) -> dict[str, Any]:
    facts: dict[str, Any] = {"kind": message.kind, "valid": True, "notes": list(message.notes)}
    if message.cpim is not None:
        facts |= _cpim(message.cpim)
    else:
        facts |= _stanza(message.stanza) if message.stanza is not None else _sip(message.sip)
    return facts | _signature(message)


def _signature(message: Read) -> dict[str, Any]:
    """Who has signed it; nothing where nothing is protected. The libraries for that take a while to load."""
    try:
        if not _may_be_protected(message):
            return {}
        from .signatures import facts_of, protected_in, unchecked

        found = protected_in(message)
        if found is None:
            return {}
        tree = {"body": _tree(found.entity)} if message.stanza is not None else {}
        return {"protection": facts_of(unchecked(found, time.time()))} | tree
    except (Refusal, SyntaxFault) as fault:
        from .signatures import facts_of

        return {"protection": facts_of(Verdict(Status.MALFORMED, detail=str(fault)))}


def _may_be_protected(message: Read) -> bool:
    if message.stanza is not None:
        return message.stanza.find(xml.E2E_TAG) is not None
    if message.cpim is not None:
        return is_protected(message.cpim.entity)
    return isinstance(message.sip, Request) and protected_body(message.sip) is not None


def _stanza(stanza: Element) -> dict[str, Any]:
    children = []
    for each in stanza:
        namespace, local = xml.split_name(each.tag)
        children.append({"name": local, "namespace": namespace, "text": "".join(each.itertext())})
    attributes = {"xml:lang" if name == xml.XML_LANG else name: value for name, value in stanza.attrib.items()}
    return {"what": xml.stanza_kind(stanza) or stanza.tag, "attributes": attributes, "children": children}


def _sip(message: Request | Response | None) -> dict[str, Any]:
    assert message is not None
    what = f"{message.method} {message.request_uri_text}" if isinstance(message, Request) else f"{message.status} {message.reason}"
    facts: dict[str, Any] = {"what": what, "headers": [[title(name), value.decode("utf-8", "replace")] for name, value in message.rows]}
    if message.body and message.content_type:
        entity = (
            body_of(message)
            if isinstance(message, Request)
            else Entity.compose((("Content-Type", str(message.content_type)),), message.body)
        )
        facts["body"] = _tree(entity)
        facts |= _content(entity)
        if message.content_type.essence == CPIM_TYPE:
            facts["cpim"] = _cpim(CpimMessage.parse(message.body))
    return facts


def _cpim(message: CpimMessage) -> dict[str, Any]:
    headers = [
        [header.name if header.namespace == CORE else f"{{{header.namespace}}}{header.name}", header.value] for header in message.headers
    ]
    return {"what": "message/cpim", "headers": headers, "body": _tree(message.entity)} | _content(message.entity)


def _content(entity: Entity) -> dict[str, Any]:
    """What the XMPP side would be shown of it; nothing for plain text, which shows itself, and for what is not carried.

    Files are there where the configuration has an upload service.
    """
    if entity.content_type.essence in ("text/plain", CPIM_TYPE):
        return {}
    try:
        content = content_of(entity, files=True)
    except (Refusal, SyntaxFault):
        return {}
    links = [{"url": link.url, "description": link.description} for link in content.links]
    files = [{"name": file.name, "type": file.type, "octets": len(file.octets)} for file in content.files]
    return {"shows": {"text": content.text, "html": content.html, "links": links} | ({"files": files} if files else {})}


def _tree(entity: Entity) -> list[dict[str, Any]]:
    """Its parts, and what they tell a program."""
    parts: list[dict[str, Any]] = []
    try:
        for part in mime_parts(entity):
            shape = {"depth": part.depth, "type": str(part.entity.content_type), "octets": len(part.entity.content)}
            parts.append(shape | _said(part.entity))
    except (Refusal, SyntaxFault) as fault:
        parts.append({"depth": 1, "type": f"(not read further: {fault})", "octets": 0})
    return parts


def _said(entity: Entity) -> dict[str, str]:
    try:
        told = said(entity)
    except (Refusal, SyntaxFault) as fault:
        return {"says": f"(cannot be read: {fault})"}
    return {"says": told[1]} if told else {}


# -- for people --------------------------------------------------------------------------------------------------------
def _shown(facts: dict[str, Any]) -> str:
    lines = [f"{CALLED[facts['kind']]}, valid: {visible(facts['what'])}"]
    lines += [f"  note: {visible(note)}" for note in facts["notes"]]
    lines += _shown_headers(facts, "  ")
    if "protection" in facts:
        from .signatures import lines_of

        lines += [f"  protection: {visible(facts['protection']['status'])}"]
        lines += [f"    {visible(line)}" for line in lines_of(facts["protection"])]
    if "cpim" in facts:
        lines += ["  message/cpim inside:", *_shown_headers(facts["cpim"], "    ")]
    return "\n".join(lines)


def _shown_headers(facts: dict[str, Any], indent: str) -> list[str]:
    lines = [f"{indent}{visible(name)}: {shortened(value)}" for name, value in facts.get("headers", ())]
    lines += [f"{indent}{visible(name)}: {shortened(value)}" for name, value in facts.get("attributes", {}).items()]
    for child in facts.get("children", ()):
        place = "" if child["namespace"] in (xml.COMPONENT, "jabber:client") else f" {visible(child['namespace'])}"
        lines.append(f"{indent}<{visible(child['name'])}>{place} {shortened(child['text'])}".rstrip())
    shows = facts.get("shows", {})
    links = [f"{link['url']} {link['description']}".rstrip() for link in shows.get("links", ())]
    files = [f"{file['name']} ({file['type']}, {file['octets']} octets)" for file in shows.get("files", ())]
    told = [("text", shows.get("text", "")), ("html", shows.get("html", "")), *[("link", link) for link in links]]
    told += [("file", file) for file in files]
    lines += [f"{indent}shows {name}: {shortened(value)}" for name, value in told if value]
    for part in facts.get("body", ()):
        says = f": {visible(part['says'])}" if "says" in part else ""
        lines.append(f"{indent}{'  ' * (part['depth'] - 1)}[{visible(part['type'])}] {part['octets']} octets{says}")
    return lines
