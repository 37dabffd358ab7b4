"""The part of a gateway that needs no server: who is who, who may speak, and the codecs. The bridge and the commands make the same one.

It imports neither the store nor a socket, so that `stoxgate translate` and `stoxgate map` start quickly.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.core.settings import Settings
from gateway.core.tables import Tables
from gateway.relay.directory import Directory
from gateway.relay.guard import Guard
from gateway.relay.spellings import Spellings
from gateway.sip.codec import SipCodec
from gateway.sip.listening import longest_sent_by
from gateway.sip.takes import Known, nothing_known
from gateway.xmpp.codec import XmppCodec


@dataclass(frozen=True, slots=True)
class Translation:
    """What turns messages of one side into messages of the other, without any server: the command line uses just this."""

    settings: Settings
    tables: Tables
    directory: Directory
    guard: Guard
    to_xmpp: XmppCodec
    to_sip: SipCodec
    spellings: Spellings


def translation(settings: Settings, tables: Tables, secret: bytes, takes: Known = nothing_known) -> Translation:
    """The pure part of a gateway with this configuration. takes: what the people on the SIP side are known to take."""
    directory = Directory(tables.users, tables.domains, settings.sip.domains, settings.xmpp.domains, tables.numbers)
    sent_by = longest_sent_by(((listener.transport, listener.address) for listener in settings.sip.listen), settings.name)
    spellings = Spellings(directory, secret)
    return Translation(
        settings,
        tables,
        directory,
        Guard(settings, directory),
        XmppCodec(directory, tables, settings),
        SipCodec(directory, tables, settings, secret, sent_by, spellings, takes),
        spellings,
    )
