"""The part of a gateway that needs no server: who is who, who may speak, and the codecs. The bridge and the commands make the same one.

It imports neither the store nor a socket, so that `stoxgate translate` and `stoxgate map` start quickly.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.core.address import SipAddress
from gateway.core.domain import ascii_domain
from gateway.core.errors import Refusal
from gateway.core.settings import Settings
from gateway.core.tables import Tables
from gateway.relay.directory import Directory
from gateway.relay.guard import Guard
from gateway.relay.spellings import Spellings
from gateway.sip.codec import SipCodec
from gateway.sip.listening import longest_sent_by
from gateway.sip.peers import Peers
from gateway.sip.takes import Known
from gateway.xmpp.codec import XmppCodec
from gateway.xmpp.e2e import Conversion
from gateway.xmpp.secured import nothing_readable

if TYPE_CHECKING:
    from gateway.smime.security import Smime

_EXACT = {"A", "B", "E"}


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
    peers: Peers
    security: Smime | None

    def peer(self, text: str) -> SipAddress:
        """Whom somebody means by a SIP peer: a person on that side, or with "*@" all of a domain. Raises Refusal, SyntaxFault."""
        if text.startswith("*@"):
            domain = ascii_domain(text[2:])
            if domain in self.settings.sip.domains:
                return SipAddress("", domain)
            raise Refusal("target-unknown", f"{domain} is no SIP domain that is served here")
        home = self.directory.find(text)[1]
        if isinstance(home, SipAddress):
            return home
        raise Refusal("target-unknown", f"{text} lives on the XMPP side")


def translation(settings: Settings, tables: Tables, secret: bytes, takes: Known | None = None, *, only_names: bool = False) -> Translation:
    """The pure part of a gateway with this configuration. Raises ConfigFault for files of `[smime]` that cannot be used.

    takes: what SIP users are known to take, where that is not what `peers` know. only_names: no message goes through it, so the files of
    `[smime]`, which may be another user's, are not read.
    """
    directory = Directory(tables.users, tables.domains, settings.sip.domains, settings.xmpp.domains, tables.numbers)
    sent_by = longest_sent_by(((listener.transport, listener.address) for listener in settings.sip.listen), settings.name)
    spellings, peers = Spellings(directory, secret), Peers(secret, time.time)
    security = None if only_names else _security(settings, directory, takes or peers.takes)
    readable = security.readable if security else nothing_readable
    return Translation(
        settings,
        tables,
        directory,
        Guard(settings, directory),
        XmppCodec(directory, tables, settings, readable, _conversions(settings)),
        SipCodec(directory, tables, settings, secret, sent_by, spellings, takes or peers.takes),
        spellings,
        peers,
        security,
    )


def _security(settings: Settings, directory: Directory, takes: Known) -> Smime | None:
    """What acts on signatures and encryption; None where nothing is configured for it, and then none of its libraries is loaded."""
    if not settings.smime.acts:
        return None
    from gateway.smime.security import Smime

    return Smime(settings, directory, directory.known_home, lambda address: takes(address).smime)


def _conversions(settings: Settings) -> Mapping[str, Conversion]:
    """Those that some route names beside the ways that change nothing."""
    if not any(set(rule.smime_carriage) - _EXACT for rule in settings.routes):
        return {}
    from gateway.smime.conversion import BY_OPTION

    return BY_OPTION
