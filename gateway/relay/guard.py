"""The one guard before the store, for both directions: who may speak, and for whom (SEC-01 to SEC-05, SEC-40)."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address

from gateway.core.address import Address, SipAddress
from gateway.core.errors import Refusal, SyntaxFault
from gateway.core.jid import Jid
from gateway.core.ports import Parties, Peer
from gateway.core.remember import MOST_REMEMBERED
from gateway.core.settings import Settings
from gateway.core.uri import Uri

from .directory import Directory

_REMEMBERED, _REMEMBERED_PAIRS = 1024, 4096
_MOST_DEVICE = 1023
"""Octets of a URI whose device is shown on the other side, as a resource of at most so many."""


class Guard:
    """Implements the Policy port from the configuration and the directory. Immutable once made."""

    def __init__(self, settings: Settings, directory: Directory) -> None:
        self.directory = directory
        rules = [(rule.match, frozenset(rule.domains), rule.store_and_forward) for rule in settings.peers if rule.match is not None]
        # The finest network decides; `[sip] trusted` is the coarser statement.
        self._rules = sorted(rules, key=lambda rule: rule[0].prefixlen, reverse=True)
        self._trusted = settings.sip.trusted
        self._known_peer = lru_cache(_REMEMBERED)(self._find_peer)
        self._known_from_sip = lru_cache(_REMEMBERED_PAIRS)(self._from_sip)
        self._known_from_xmpp = lru_cache(_REMEMBERED_PAIRS)(self._from_xmpp)

    # -- SIP -----------------------------------------------------------------------------------------------------------
    def peer(self, transport: str, host: str) -> Peer:
        """The peer behind a source address; peers that are neither trusted nor authenticated are refused (SEC-05)."""
        found = self._known_peer(transport, host)
        if found is None:
            raise Refusal("peer-unknown")
        return found

    def _find_peer(self, transport: str, host: str) -> Peer | None:
        address = ip_address(host.partition("%")[0])
        if address.version == 6 and (mapped := getattr(address, "ipv4_mapped", None)):
            address = mapped
        label = f"{transport}:{host}"
        for network, domains, forwards in self._rules:
            if _within(address.version, network) and address in network:
                return Peer(label, domains, forwards)
        if any(_within(address.version, network) and address in network for network in self._trusted):
            return Peer(label)
        return None

    def from_sip(self, peer: Peer, sender: Uri, target: Uri) -> Parties:
        """Who writes to whom. The sender comes first: who may not send learns nothing about who exists (SEC-40)."""
        known = self._known_from_sip if max(len(sender.text), len(target.text)) <= MOST_REMEMBERED else self._from_sip
        return known(peer.domains, sender, target)

    def _from_sip(self, domains: frozenset[str] | None, sender: Uri, target: Uri) -> Parties:
        home = self._speaker(domains, sender)
        recipient, device = self.reaches(target)
        return Parties(home, recipient, _device(sender), device)

    def reaches(self, target: Uri) -> tuple[Jid, str]:
        """Whom on the XMPP side a SIP URI reaches, and on which device. Raises Refusal."""
        try:
            recipient = self.directory.home_of_sip(self.directory.numbers.address(target))
            device = target.device
        except SyntaxFault as fault:
            raise Refusal("target-malformed", str(fault)) from None
        if not isinstance(recipient, Jid):
            raise Refusal("target-unknown")
        return recipient, _resource(recipient, device)

    def _speaker(self, domains: frozenset[str] | None, sender: Uri) -> SipAddress:
        try:
            address = self.directory.numbers.address(sender)
            home = self.directory.home_of_sip(address)
        except SyntaxFault as fault:
            raise Refusal("sender-malformed", str(fault)) from None
        if isinstance(home, Jid):
            paired = "sender-is-alias" if self.directory.rule(address).startswith("user") else "sender-not-yours"
            raise Refusal(paired)
        if home is None:
            raise Refusal("sender-not-served")
        if domains is not None and home.domain not in domains:
            raise Refusal("peer-domain")
        return home

    # -- XMPP ----------------------------------------------------------------------------------------------------------
    def from_xmpp(self, link: str, sender: Jid, target: Jid) -> Parties:
        """Who writes to whom in a stanza on the link of JID domain `link`."""
        return self._known_from_xmpp(link, sender, target)

    def _from_xmpp(self, link: str, sender: Jid, target: Jid) -> Parties:
        if sender.domain in self.directory.sip_side:
            raise Refusal("sender-spoofs-sip")
        home = self._home_of_jid(sender, "sender-malformed")
        if not isinstance(home, Jid):
            raise Refusal("sender-spoofs-sip" if home else "sender-foreign")
        if target.domain == link and self.directory.is_anonymous(target):
            raise Refusal("anonymous-recipient")
        recipient = self._home_of_jid(target, "target-unknown")
        if target.domain != link or not isinstance(recipient, SipAddress):
            raise Refusal("target-unknown")
        if not recipient.user:
            # RFC 7247 section 6.5 makes SIP URIs of JIDs with a localpart. The domain itself answers an iq; it reads no messages.
            raise Refusal("target-unknown", "That is the gateway itself: nobody there reads messages")
        return Parties(home, recipient, sender.resource, target.resource)

    def _home_of_jid(self, jid: Jid, refusal: str) -> Address | None:
        try:
            return self.directory.home_of_jid(jid.bare)
        except SyntaxFault as fault:
            raise Refusal(refusal, str(fault)) from None


def _within(version: int, network: IPv4Network | IPv6Network) -> bool:
    return version == network.version


def _resource(recipient: Jid, device: str) -> str:
    """A device as the resource that it is on the XMPP side; one that can be none reaches the bare JID (ADDR-13)."""
    try:
        return recipient.with_resource(device).resource
    except SyntaxFault:
        return ""


def _device(sender: Uri) -> str:
    """The sender's device; one that cannot be read is none, it is not worth a refusal (ADDR-13)."""
    try:
        return sender.device if len(sender.text) <= _MOST_DEVICE else ""
    except SyntaxFault:
        return ""
