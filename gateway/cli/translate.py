"""stoxgate translate: one message to the other side, by the functions that the bridge uses."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.etree.ElementTree import Element

import click

from gateway.core.address import SipAddress
from gateway.core.canonical import address_uri
from gateway.core.cpim import IMDN, CpimMessage
from gateway.core.dates import format_rfc3339
from gateway.core.envelope import Envelope, Origin, RequestOrigin, StanzaOrigin
from gateway.core.errors import GatewayError, Refusal, SyntaxFault
from gateway.core.imdn import WISHES, Asked
from gateway.core.jid import Jid
from gateway.core.ports import Peer
from gateway.core.uri import sip_uri
from gateway.relay import report
from gateway.sip.codec import Draft
from gateway.sip.message import BadMessage, Request, Response
from gateway.sip.reading import read_response
from gateway.sip.takes import Takes
from gateway.sip.uas import Uas
from gateway.translation import Translation, translation
from gateway.xmpp.reading import read_parties
from gateway.xmpp.slots import Upload

from .common import (
    REFUSED,
    a_moment,
    as_value,
    config_option,
    configured,
    end,
    file_argument,
    guarded,
    json_option,
    put_json,
    put_octets,
    read_input,
)
from .explain import changes, explained
from .messages import CPIM, KINDS, SIP, XMPP, Read, detect, read_message
from .shown import columns_of

_SECRET = b"stoxgate translate"
_TRACE_ID = "0" * 16
_TAKES = Takes(typing=True)
"""What the bridge may have learned of a recipient. A typing notice goes to nobody else."""


class _Nothing(GatewayError):
    """A message that the bridge takes and that has nothing for the other side."""


def _a_peer(_ctx: click.Context, _param: click.Parameter, value: str) -> str:
    try:
        return str(ip_address(value)) if value else ""
    except ValueError:
        raise click.BadParameter(f"{value!r} is no IP address; write one as 192.0.2.7 or 2001:db8::7") from None


class _NeedsService(GatewayError):
    """A message with files, which the bridge uploads. stanza: as it would be with the URLs that the service would give."""

    def __init__(self, upload: Upload, service: str) -> None:
        named = ", ".join([f"{file.name} ({file.type}, {len(file.octets)} octets)" for file in upload.files])
        super().__init__(f"{named} would be uploaded to {service} and sent as a link: that needs the server")
        self.service = service
        self.files = [{"name": file.name, "type": file.type, "octets": len(file.octets)} for file in upload.files]
        self.stanza = upload.stanza([f"https://{service}/.../{quote(file.name)}" for file in upload.files])


@click.command("translate")
@file_argument
@config_option
@json_option
@click.option("--from", "source", type=click.Choice(KINDS), help="What the message is; seen from its first octets when left out.")
@click.option("--to", "target", type=click.Choice(KINDS), help="What to make of it; the other side when left out.")
@click.option("--explain", is_flag=True, help="Show on standard error what became of every field, by which rule.")
@click.option("--peer", default="", metavar="ADDRESS", callback=_a_peer, help="Judge a SIP message as if it came from this IP address.")
@click.option("--now", default="", metavar="TIME", callback=a_moment, help="Translate as if it were this time (RFC 3339).")
@guarded
def command(file: Path, config: Path, as_json: bool, source: str | None, target: str | None, explain: bool, peer: str, now: float) -> None:
    """Translate one message to the other side; needs no server and no network.

    FILE: a SIP message, an XMPP stanza or a message/cpim object; - or nothing reads standard input. Standard output gets exactly the octets
    that the bridge would send in a conversation that goes on, to somebody of whom it knows nothing: the name that a SIP user goes by is
    told in its first message alone; that somebody types is told where the recipient takes that, and it is time; what `stoxgate peers`
    knows may change the form. For one that it would refuse, the exit code is 1 and standard error says with what; so it is for files,
    which it would upload first.

    \b
    Examples:
      stoxgate translate message.sip
      stoxgate translate --explain < stanza.xml
      stoxgate translate --to cpim message.sip
      stoxgate translate --peer 192.0.2.7 --json message.sip
    """
    octets = read_input(file, config)
    settings, tables = configured(config)
    parts = translation(settings, tables, _SECRET, lambda _: _TAKES)
    try:
        came = read_message(octets, source or "")
        went = _translated(parts, came, target, peer, now)
    except BadMessage as fault:
        shape = {"sip": fault.status, "reason": fault.what} if fault.status else {"sip": 0, "reason": f"dropped, {fault.what}"}
        _refused(as_json, shape)
    except (Refusal, SyntaxFault) as fault:
        _refused(as_json, _refusal(parts, source or detect(octets), fault, explain=explain))
    except _NeedsService as needs:
        _put_uploads(parts, came, needs, as_json=as_json, explain=explain)
        end(str(needs), REFUSED)
    except _Nothing as nothing:
        if as_json:
            put_json({"translated": "", "note": str(nothing)})
        click.echo(f"stoxgate: {nothing}", err=True)
        return
    if as_json:
        put_json(as_value("translated", went) | ({"fields": changes(tables, parts.directory, came, went)} if explain else {}))
        return
    put_octets(went)
    if explain:
        # The octets before it seldom end a line.
        click.echo("\n" + explained(tables, parts.directory, came, went, columns_of(sys.stderr)), err=True)


def _put_uploads(parts: Translation, came: Read, needs: _NeedsService, *, as_json: bool, explain: bool) -> None:
    if as_json:
        rows = {"fields": changes(parts.tables, parts.directory, came, needs.stanza)} if explain else {}
        put_json({"upload": {"service": needs.service, "files": needs.files}, "note": str(needs)} | rows)
    elif explain:
        click.echo(explained(parts.tables, parts.directory, came, needs.stanza, columns_of(sys.stderr)), err=True)


def _refused(as_json: bool, refusal: dict[str, Any]) -> None:
    if as_json:
        put_json({"refused": refusal})
        sys.exit(REFUSED)
    end(f"refused: {_in_words(refusal)}", REFUSED)


def _in_words(refusal: dict[str, Any]) -> str:
    rule = f" ({refusal['rule']})" if "rule" in refusal else ""
    if XMPP in refusal:
        return f"{refusal[XMPP]} ({refusal['type']}): {refusal['reason']}{rule}"
    return f"{refusal[SIP] or ''} {refusal['reason']}{rule}".lstrip()


def _refusal(parts: Translation, kind: str, fault: Refusal | SyntaxFault, *, explain: bool) -> dict[str, Any]:
    refusal = fault if isinstance(fault, Refusal) else Refusal("bad-syntax", str(fault))
    row = parts.tables.refusal(refusal.key)
    why = refusal.detail or row.warning or row.text
    rule = {"rule": row.rule} if explain else {}
    if kind == XMPP:
        return {"xmpp": row.condition, "type": row.type, "reason": refusal.detail or row.text} | rule
    return {"sip": row.sip, "reason": row.reason if why == row.reason else f"{row.reason}: {why}"} | rule


# -- translating -------------------------------------------------------------------------------------------------------
def _translated(parts: Translation, came: Read, target: str | None, peer: str, now: float) -> bytes:
    if came.kind == target and target != CPIM:
        raise click.UsageError(f"the message is {came.kind} already")
    envelope = _envelope(parts, came, peer, now)
    if envelope is None:
        raise _Nothing("nothing is sent: the message has neither text nor subject (MSG-32, IMSG-07)")
    if target == CPIM:
        return envelope.message.raw
    side = SIP if isinstance(envelope.recipient, SipAddress) else XMPP
    if target and target != side:
        raise Refusal("target-unknown", f"{envelope.recipient} does not live on the {target.upper()} side")
    wire = parts.to_sip.write(envelope, 1).wire if side == SIP else parts.to_xmpp.write(envelope).wire
    if isinstance(wire, Upload):
        raise _NeedsService(wire, parts.settings.xmpp.upload)
    assert isinstance(wire, (Draft, bytes))
    return wire.octets if isinstance(wire, Draft) else wire


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
    uas = Uas(parts.guard, parts.tables, parts.settings, _SECRET, frozenset(parts.to_sip.sent_by.values()), parts.security)
    known = uas.peer("udp", peer) if peer else Peer("trusted")
    uas.method(request)
    if request.method != "MESSAGE":
        raise Refusal("method-not-allowed", f"{request.method} is answered here and not translated")
    read = uas.message(request, known, _TRACE_ID, now)
    if isinstance(read, tuple):
        if not read:
            raise _Nothing("nothing is sent: it tells of no message that could have gone through here (FRAG-42, IMDN-23)")
        return _from_notices(parts, [(name, addressee, author, news) for (name, addressee, author), news, _ in read], now)
    # The bridge says a name in the first message to somebody (IMSG-14), and knows which that is.
    return replace(read, sender_name="") if read else None


def _from_notices(parts: Translation, notices: Iterable[tuple[str, str, str, report.News]], now: float) -> Envelope | None:
    """News of a message that the bridge would remember; here it is what the news itself says of it, and has asked for everything.

    notices: (how it is named, whom it was for, who wrote it, the news).
    """
    for named, to, by, news in notices:
        name = named.removeprefix("imdn ")
        addressee, author = (parts.directory.find(each)[1] for each in (to, by))
        origin: Origin
        if isinstance(author, SipAddress):
            author_uri, addressee_uri = address_uri(author), address_uri(addressee)
            asked = Asked(WISHES, name, format_rfc3339(now), author_uri, addressee_uri)
            origin = RequestOrigin(parts.directory.uri_of(addressee), "", "", asked)
        else:
            origin = StanzaOrigin(name, "normal", str(author), str(parts.directory.jid_of(addressee)))
        if told := report.told(report.Facts(author, "", addressee, origin, now, WISHES), news, _TRACE_ID, now):
            return told
    return None


def _from_response(parts: Translation, response: Response, now: float) -> Envelope | None:
    """A final response as the error stanza that it becomes (RFC 7247 section 7.2)."""
    if response.status < 300:
        raise _Nothing(f"nothing is sent: {response.status} becomes no stanza (IMSG-24)")
    author = parts.directory.jid_of(parts.directory.find(response.from_.uri_text)[1]).with_resource(response.from_.uri.device)
    whom = parts.directory.jid_of(parts.directory.find(response.to.uri_text)[1])
    origin = StanzaOrigin((response.top_via.branch or "").removeprefix("z9hG4bK"), "chat", str(author), str(whom))
    failed = _shell(parts, str(author.bare), str(whom), now, origin)
    return report.failure(failed, read_response(response, parts.tables), _TRACE_ID, now)


def _from_stanza(parts: Translation, came: Read, now: float) -> Envelope | None:
    stanza = came.stanza
    assert stanza is not None
    sender, recipient = read_parties(stanza)
    if stanza.get("type") == "error":
        return _from_error(parts, stanza, sender.bare, recipient.bare, now)
    parties = parts.guard.from_xmpp(recipient.domain, sender, recipient)
    read = parts.to_xmpp.read(stanza, parties, f"xmpp:{recipient.domain}", _TRACE_ID, now)
    if read is not None and parts.security and not read.volatile:
        read = parts.security.arrived(read)
    notices = parts.to_xmpp.read_notices(stanza, parties)
    return read or _from_notices(parts, [(name, addressee, author, news) for (name, author, addressee), news, _ in notices], now)


def _from_error(parts: Translation, stanza: Element, about: Jid, author: Jid, now: float) -> Envelope | None:
    """An error stanza as the report that the author of the message gets (FRAG-40)."""
    home = parts.directory.find(str(author))[1]
    if not isinstance(home, SipAddress):
        raise Refusal("target-unknown", f"{author} does not live on the SIP side: an error for somebody else")
    uris = [sip_uri(parts.directory.sip_of(parts.directory.find(str(each))[1])) for each in (author, about)]
    shell = _shell(parts, uris[0], str(about), now, RequestOrigin(uris[1], "", ""))
    return report.failure(shell, parts.to_xmpp.read_error(stanza), _TRACE_ID, now)


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
    envelope = Envelope(id=_TRACE_ID, trace_id=_TRACE_ID, sender=sender, recipient=recipient, message=message, received_at=now, peer="")
    return replace(envelope, id=message.first("Message-ID", IMDN) or _TRACE_ID)
