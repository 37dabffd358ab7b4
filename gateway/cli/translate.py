"""stoxgate translate: one message to the other side, by the functions that the bridge uses."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from gateway.app import Translation, translation
from gateway.core.address import SipAddress
from gateway.core.cpim import CpimMessage
from gateway.core.dates import parse_rfc3339
from gateway.core.envelope import Envelope, RequestOrigin, StanzaOrigin
from gateway.core.errors import Refusal, SyntaxFault
from gateway.core.outcome import Outcome, Verdict
from gateway.core.ports import Parties, Peer
from gateway.core.tables import Tables
from gateway.core.uri import sip_uri
from gateway.relay import report
from gateway.sip.codec import Draft
from gateway.sip.message import BadMessage, Request, Response
from gateway.sip.uas import Uas
from gateway.xmpp.codec import read_parties

from . import messages
from .common import REFUSED, config_option, configured, end, file_argument, guarded, json_option, put_json, put_octets, read_input, table
from .messages import CPIM, KINDS, SIP, XMPP, Read

_SECRET = b"stoxgate translate"
_TRACE_ID = "0" * 16
_SHOWN = 44


@click.command("translate")
@file_argument
@config_option
@json_option
@click.option(
    "--from", "source", type=click.Choice(KINDS), default=None, help="What the message is; seen from its first octets when left out."
)
@click.option("--to", "target", type=click.Choice(KINDS), default=None, help="What to make of it; the other side when left out.")
@click.option("--explain", is_flag=True, help="Show on standard error what became of every field, by which rule.")
@click.option("--peer", default="", metavar="ADDRESS", help="Judge a SIP message as if it came from this IP address.")
@click.option("--now", "moment", default="", metavar="TIME", help="Translate as if it were this time (RFC 3339).")
@guarded
def command(file: Path, config: Path, as_json: bool, source: str | None, target: str | None, explain: bool, peer: str, moment: str) -> None:
    """Translate one message to the other side; needs no server and no network.

    Standard output gets exactly the octets that the bridge would send. For a message that it would refuse, the exit code is 1 and
    standard error says with what.

    \b
    Examples:
      stoxgate translate message.sip
      stoxgate translate --explain < stanza.xml
      stoxgate translate --to cpim message.sip
    """
    settings, tables = configured(config)
    parts = translation(settings, tables, _SECRET)
    now = parse_rfc3339(moment).timestamp() if moment else time.time()
    octets = read_input(file)
    try:
        came = messages.read_message(octets, source or "")
        went = _translated(parts, came, target, peer, now)
    except BadMessage as fault:
        _refused(as_json, {"sip": fault.status, "reason": fault.what} if fault.status else {"sip": 0, "reason": f"dropped: {fault.what}"})
    except (Refusal, SyntaxFault) as fault:
        _refused(as_json, _refusal(parts, source or messages.detect(octets), fault))
    if as_json:
        put_json({"translated": went.decode("utf-8", "replace"), **({"fields": _fields(tables, came, went)} if explain else {})})
        return
    put_octets(went)
    if explain:
        click.echo(_explained(tables, came, went), err=True)


def _refused(as_json: bool, refusal: dict[str, Any]) -> None:
    if as_json:
        put_json({"refused": refusal})
        sys.exit(REFUSED)
    end("refused: " + " ".join(str(value) for value in refusal.values() if value), REFUSED)


def _refusal(parts: Translation, kind: str, fault: Refusal | SyntaxFault) -> dict[str, Any]:
    refusal = fault if isinstance(fault, Refusal) else Refusal("bad-syntax", str(fault))
    row = parts.tables.refusal(refusal.key)
    why = refusal.detail or row.warning or row.text
    if kind == XMPP:
        return {"xmpp": row.condition, "type": row.type, "reason": refusal.detail or row.text}
    return {"sip": row.sip, "reason": row.reason if why == row.reason else f"{row.reason}: {why}"}


# -- translating -------------------------------------------------------------------------------------------------------
def _translated(parts: Translation, came: Read, target: str | None, peer: str, now: float) -> bytes:
    if (came.kind == XMPP and target == XMPP) or (came.kind == SIP and target == SIP):
        raise click.UsageError(f"the message is {came.kind} already")
    envelope = _envelope(parts, came, peer, now)
    if envelope is None:
        raise Refusal("no-content", "the message has nothing to deliver")
    if target == CPIM:
        return envelope.message.raw
    side = SIP if isinstance(envelope.recipient, SipAddress) else XMPP
    if target and target != side:
        raise Refusal("target-unknown", f"{envelope.recipient} does not live on the {target.upper()} side")
    wire = parts.to_sip.write(envelope, 1).wire if side == SIP else parts.to_xmpp.write(envelope).wire
    return wire.octets if isinstance(wire, Draft) else bytes(wire)  # type: ignore[call-overload]


def _envelope(parts: Translation, came: Read, peer: str, now: float) -> Envelope | None:
    if came.stanza is not None:
        return _from_stanza(parts, came, now)
    if isinstance(came.sip, Request):
        return _from_request(parts, came.sip, peer, now)
    if isinstance(came.sip, Response):
        return _from_response(parts, came.sip, now)
    assert came.cpim is not None
    return _from_cpim(parts, came.cpim, now)


def _from_request(parts: Translation, request: Request, peer: str, now: float) -> Envelope | None:
    uas = Uas(parts.guard, parts.to_sip, parts.tables, parts.settings, _SECRET, frozenset(parts.to_sip.sent_by.values()))
    known = uas.peer("udp", peer) if peer else Peer("trusted")
    uas.method(request)
    if request.method != "MESSAGE":
        raise Refusal("method-not-allowed", f"{request.method} is answered here and not translated")
    return uas.message(request, known, _TRACE_ID, now)


def _from_response(parts: Translation, response: Response, now: float) -> Envelope | None:
    """A final response as the error stanza that it becomes (RFC 7247 section 7.2)."""
    if response.status < 300:
        raise Refusal("no-content", "a provisional or successful response becomes no stanza (ERR-02)")
    author = parts.directory.jid_of(parts.directory.find(response.from_.uri_text)[1]).with_resource(response.from_.uri.device)
    whom = parts.directory.jid_of(parts.directory.find(response.to.uri_text)[1])
    origin = StanzaOrigin((response.top_via.branch or "").removeprefix("z9hG4bK"), "chat", str(author), str(whom))
    contact = response.contact[0].uri_text if response.contact else ""
    retry_after = response.header("retry-after")
    outcome = Outcome(
        Verdict.FAILED, response.status, response.reason, float(retry_after) if retry_after and retry_after.isdigit() else None, contact
    )
    failed = _shell(parts, str(author.bare), str(whom), now, origin)
    return report.failure(failed, outcome, _TRACE_ID, now)


def _from_stanza(parts: Translation, came: Read, now: float) -> Envelope | None:
    stanza = came.stanza
    assert stanza is not None
    sender, recipient = read_parties(stanza)
    if stanza.get("type") == "error":
        outcome = parts.to_xmpp.read_error(stanza)
        whom = sip_uri(parts.directory.sip_of(parts.directory.find(str(recipient.bare))[1]))
        about = sip_uri(parts.directory.sip_of(parts.directory.find(str(sender.bare))[1]))
        return report.failure(_shell(parts, whom, str(sender.bare), now, RequestOrigin(whom, about, "", "")), outcome, _TRACE_ID, now)
    parties = parts.guard.from_xmpp(recipient.domain, sender, recipient)
    return parts.to_xmpp.read(stanza, parties, f"xmpp:{recipient.domain}", _TRACE_ID, now)


def _shell(parts: Translation, sender: str, recipient: str, now: float, origin: RequestOrigin | StanzaOrigin) -> Envelope:
    """The message that an error is about, as far as an error tells."""
    empty = CpimMessage.parse(b"\r\nContent-Type: text/plain\r\n\r\n")
    return Envelope(
        id="",
        trace_id=_TRACE_ID,
        sender=parts.directory.find(sender)[1],
        recipient=parts.directory.find(recipient)[1],
        message=empty,
        received_at=now,
        peer="",
        origin=origin,
    )


def _from_cpim(parts: Translation, message: CpimMessage, now: float) -> Envelope:
    if message.sender is None or not message.recipients:
        raise SyntaxFault("message/cpim without From and To", section="CPIM-30")
    sender, recipient = (parts.directory.find(one.uri)[1] for one in (message.sender, message.recipients[0]))
    if isinstance(sender, SipAddress) is isinstance(recipient, SipAddress):
        raise Refusal("target-unknown", f"{sender} and {recipient} live on the same side")
    parties = Parties(sender, recipient)
    origin = Envelope(
        id=_TRACE_ID, trace_id=_TRACE_ID, sender=parties.sender, recipient=parties.recipient, message=message, received_at=now, peer=""
    )
    return replace(origin, id=message.first("Message-ID", "urn:ietf:params:imdn") or _TRACE_ID)


# -- explaining --------------------------------------------------------------------------------------------------------
def _fields(tables: Tables, came: Read, went: bytes) -> list[dict[str, str]]:
    """What became of each field: name, what came in, what went out, the rule and its source."""
    before, after = messages.fields_of(came), messages.fields_of(messages.read_message(went))
    rules = {row.name: (row.rule, row.source) for row in tables.fields} | {"status": ("ERR-01", "RFC 7247 section 7")}
    return [
        {"field": name, "in": before.get(name, ""), "out": after.get(name, ""), "rule": rules[name][0], "source": rules[name][1]}
        for name in rules
        if name in before or name in after
    ]


def _explained(tables: Tables, came: Read, went: bytes) -> str:
    kind = messages.detect(went)
    rows = [
        (each["field"], each["in"], each["out"] or "(not carried)", f"{each['rule']}\n{each['source']}")
        for each in _fields(tables, came, went)
    ]
    notes = "".join(f"\nnote: {note}" for note in came.notes)
    return table(("field", f"in ({came.kind})", f"out ({kind})", "rule and source"), rows, widest=_SHOWN) + notes
