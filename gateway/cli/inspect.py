"""stoxgate inspect: what a message is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gateway.core.cpim import CORE, CpimMessage
from gateway.core.errors import Refusal, SyntaxFault
from gateway.core.mime import Entity, mime_parts
from gateway.sip.headers import title
from gateway.sip.message import BadMessage, Request, Response
from gateway.xmpp import stanza as xml

from . import messages
from .common import REFUSED, end, file_argument, guarded, json_option, put_json, read_input
from .messages import KINDS, Read


@click.command("inspect")
@file_argument
@json_option
@click.option(
    "--from", "source", type=click.Choice(KINDS), default=None, help="What the message is; seen from its first octets when left out."
)
@guarded
def command(file: Path, as_json: bool, source: str | None) -> None:
    """Say what a message is: kind, validity, header fields, MIME tree. Needs no configuration.

    Exit code 1 when it is invalid; the first fault is named.

    \b
    Example: stoxgate inspect message.sip
    """
    octets = read_input(file)
    kind = source or messages.detect(octets)
    try:
        facts = _facts(messages.read_message(octets, kind))
    except BadMessage as fault:
        facts = {"kind": kind, "valid": False, "fault": str(fault), "answer": fault.status}
    except SyntaxFault as fault:
        facts = {"kind": kind, "valid": False, "fault": str(fault)}
    if as_json:
        put_json(facts)
    else:
        click.echo(_shown(facts))
    if not facts["valid"]:
        end(f"not a valid {kind} message: {facts['fault']}", REFUSED)


def _facts(message: Read) -> dict[str, Any]:
    facts: dict[str, Any] = {"kind": message.kind, "valid": True, "notes": list(message.notes)}
    if message.cpim is not None:
        return facts | _cpim(message.cpim)
    if message.stanza is not None:
        children = [{"name": local, "namespace": namespace} for namespace, local in (xml.split_name(each.tag) for each in message.stanza)]
        return facts | {
            "what": xml.stanza_kind(message.stanza) or message.stanza.tag,
            "attributes": dict(message.stanza.attrib),
            "children": children,
        }
    return facts | _sip(message.sip)


def _sip(message: Request | Response | None) -> dict[str, Any]:
    assert message is not None
    what = f"{message.method} {message.request_uri_text}" if isinstance(message, Request) else f"{message.status} {message.reason}"
    facts: dict[str, Any] = {"what": what, "headers": [[title(name), value.decode("utf-8", "replace")] for name, value in message.rows]}
    if message.body and message.content_type:
        entity = Entity.compose((("Content-Type", str(message.content_type)),), message.body)
        facts["body"] = _tree(entity)
        if message.content_type.essence == "message/cpim":
            facts["cpim"] = _cpim(CpimMessage.parse(message.body))
    return facts


def _cpim(message: CpimMessage) -> dict[str, Any]:
    headers = [
        [header.name if header.namespace == CORE else f"{{{header.namespace}}}{header.name}", header.value] for header in message.headers
    ]
    return {"what": "message/cpim", "headers": headers, "body": _tree(message.entity)}


def _tree(entity: Entity) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = []
    try:
        for part in mime_parts(entity):
            parts.append({"depth": part.depth, "type": str(part.entity.content_type), "octets": len(part.entity.content)})
    except (Refusal, SyntaxFault) as fault:
        parts.append({"depth": 1, "type": f"(not read further: {fault})", "octets": 0})
    return parts


def _shown(facts: dict[str, Any]) -> str:
    lines = [f"{facts['kind']}: {'valid' if facts['valid'] else 'invalid'}, {facts.get('what', facts.get('fault', ''))}"]
    lines += [f"  note: {note}" for note in facts.get("notes", ())]
    lines += _shown_headers(facts, "  ")
    if "cpim" in facts:
        lines += ["  message/cpim inside:", *_shown_headers(facts["cpim"], "    ")]
    return "\n".join(lines)


def _shown_headers(facts: dict[str, Any], indent: str) -> list[str]:
    lines = [f"{indent}{name}: {value}" for name, value in facts.get("headers", ())]
    lines += [f"{indent}@{name}: {value}" for name, value in facts.get("attributes", {}).items()]
    lines += [f"{indent}<{child['name']}/> {child['namespace']}" for child in facts.get("children", ())]
    return lines + [f"{indent}{'  ' * (part['depth'] - 1)}[{part['type']}] {part['octets']} octets" for part in facts.get("body", ())]
