"""Who is who on the other side: user pairs, domain pairs, numbers, and else the rule of RFC 7247.

Every served person has one home address and one alias on the other side; there and back is the identity (SEC-14), so an address that
would be a second name for somebody is nobody.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from gateway.core.address import Address, SipAddress, mapped_user
from gateway.core.domain import ascii_domain, unicode_domain
from gateway.core.errors import Refusal, SyntaxFault
from gateway.core.jid import Jid, escape_local, jid_from_xmpp_uri, unescape_local
from gateway.core.numbers import NO_NUMBERS, NumberPlan
from gateway.core.tables import Pair
from gateway.core.uri import Uri, sip_uri

_REMEMBERED = 4096


class Directory:
    """Maps addresses both ways. Immutable once made; a reload makes another one.

    users, domains: the pairs of mappings/users.toml and mappings/domains.toml, checked (SEC-17).
    sip_domains, xmpp_domains: `[sip] domains` and `[xmpp] domains`: the JID domains of the people of either side.
    numbers: the E.164 domain.
    """

    def __init__(
        self,
        users: Iterable[Pair],
        domains: Iterable[Pair],
        sip_domains: Iterable[str],
        xmpp_domains: Iterable[str],
        numbers: NumberPlan = NO_NUMBERS,
    ) -> None:
        users = tuple(users)
        self.numbers = numbers
        self._by_sip = {pair.sip.normal: pair for pair in users}
        self._by_jid = {pair.jid: pair for pair in users}
        sip_name = {pair.jid.domain: pair.sip.domain for pair in domains}
        self.sip_side = frozenset(unicode_domain(name) for name in sip_domains)
        """JID domains whose people live on the SIP side; one component link each."""
        self.xmpp_side = frozenset(unicode_domain(name) for name in xmpp_domains)
        """JID domains whose people live on the XMPP side."""
        self._sip_name = {name: sip_name.get(name, ascii_domain(name)) for name in self.sip_side | self.xmpp_side}
        self._jid_name = {sip: name for name, sip in self._sip_name.items()}
        self.home_of_sip = lru_cache(_REMEMBERED)(self._home_of_sip)
        self.home_of_jid = lru_cache(_REMEMBERED)(self._home_of_jid)
        self.jid_of = lru_cache(_REMEMBERED)(self._jid_of)
        self.sip_of = lru_cache(_REMEMBERED)(self._sip_of)

    def find(self, text: str) -> tuple[Address, Address]:
        """What somebody typed (a sip:, sips:, im:, tel: or xmpp: URI, or a JID), and whose home address that is.

        Raises SyntaxFault, Refusal.
        """
        scheme = text.partition(":")[0].lower()
        if scheme in ("sip", "sips", "im", "tel"):
            address: Address = self.numbers.address(Uri.parse(text))
            home = self.home_of_sip(address)
        else:
            address = (jid_from_xmpp_uri(text) if scheme == "xmpp" else Jid.parse(text)).bare
            home = self.home_of_jid(address)
        if home is None:
            raise Refusal("target-unknown", f"{text} is nobody that is served here")
        return address, home

    def known_home(self, text: str) -> Address | None:
        """The same for what may be anything: whose home address it is, None for nobody's."""
        try:
            return self.find(text)[1]
        except (Refusal, SyntaxFault):
            return None

    def rule(self, address: Address) -> str:
        """Which rule decides this address, in words for the operator."""
        pair = self._by_sip.get(address.normal) if isinstance(address, SipAddress) else self._by_jid.get(address.bare)
        if pair:
            return f"user pair, {pair.where}"
        home = address if isinstance(address, SipAddress) else self.home_of_jid(address.bare)
        if isinstance(home, SipAddress) and self.numbers.holds(home):
            return f"E.164 domain, {self.numbers.where}, RFC 3966 section 5.1"
        if isinstance(address, SipAddress):
            named = self._jid_name.get(address.domain)
            return "RFC 7247 section 6.4" if named and ascii_domain(named) == address.domain else "domain pair, RFC 7247 section 6.4"
        named = self._sip_name.get(address.domain)
        return "RFC 7247 section 6.5" if named and named == ascii_domain(address.domain) else "domain pair, RFC 7247 section 6.5"

    def is_anonymous(self, jid: Jid) -> bool:
        """Whether this stands for whoever of a domain of the SIP side has not said who he is: he cannot be written to (RCS-06)."""
        return jid.domain in self.sip_side and jid.local == escape_local(SipAddress.anonymous("").user)

    def uri_of(self, home: Address) -> str:
        """The URI by which the SIP side reaches this person, or sees him. Raises Refusal."""
        return self.numbers.written(home) if isinstance(home, SipAddress) else sip_uri(self.sip_of(home))

    def _home_of_sip(self, address: SipAddress) -> Address | None:
        """Whom a SIP address denotes: himself, or the JID of somebody who lives on the XMPP side; None for nobody we serve.

        Raises SyntaxFault for a user that no JID can stand for (ADDR-04, ADDR-08, ADDR-09).
        """
        if pair := self._by_sip.get(address.normal):
            return pair.jid if pair.jid.domain in self.xmpp_side else address
        jid_domain = self._jid_name.get(address.domain)
        if jid_domain is None or (jid_domain in self.sip_side and address.is_anonymous):
            return None
        jid = Jid(escape_local(mapped_user(address.user)) if address.user else "", jid_domain)
        if jid in self._by_jid:
            return None
        return address if jid_domain in self.sip_side else jid

    def _home_of_jid(self, jid: Jid) -> Address | None:
        """Whom a bare JID denotes: himself, or the SIP address of somebody who lives on the SIP side; None for nobody we serve.

        Raises SyntaxFault for a localpart that is not in normal form (ADDR-26).
        """
        if pair := self._by_jid.get(jid):
            return pair.sip if jid.domain in self.sip_side else jid
        sip_domain = self._sip_name.get(jid.domain)
        if sip_domain is None:
            return None
        address = SipAddress(unescape_local(jid.local), sip_domain)
        if address.normal in self._by_sip or self.is_anonymous(jid):
            return None
        return address if jid.domain in self.sip_side else jid

    def _jid_of(self, home: Address) -> Jid:
        """How the XMPP side knows this person. Raises Refusal."""
        if isinstance(home, Jid):
            return home.bare
        if pair := self._by_sip.get(home.normal):
            return pair.jid
        jid_domain = self._jid_name.get(home.domain)
        if jid_domain is None:
            raise Refusal("target-unknown", f"{home.domain} is not served")
        try:
            return Jid(escape_local(mapped_user(home.user)) if home.user else "", jid_domain)
        except SyntaxFault as fault:
            raise Refusal("target-unknown", str(fault)) from None

    def _sip_of(self, home: Address) -> SipAddress:
        """How the SIP side knows this person. Raises Refusal."""
        if isinstance(home, SipAddress):
            return home
        if pair := self._by_jid.get(home.bare):
            return pair.sip
        sip_domain = self._sip_name.get(home.domain)
        if sip_domain is None:
            raise Refusal("target-unknown", f"{home.domain} is not served")
        try:
            return SipAddress(unescape_local(home.local), sip_domain)
        except SyntaxFault as fault:
            raise Refusal("target-unknown", str(fault)) from None
