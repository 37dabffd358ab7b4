"""Everybody has one name on the other side, and it leads back to him, whatever pairs of names the operator wrote down (SEC-14)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.core.address import Address, SipAddress
from gateway.core.domain import ascii_domain, unicode_domain
from gateway.core.errors import Refusal, SyntaxFault
from gateway.core.jid import Jid, enforced_local
from gateway.core.tables import Pair, read_tables
from gateway.core.uri import Uri, sip_uri
from gateway.relay.directory import Directory
from gateway.sip import grammar

from .world import ANY, HERE, SIP_DOMAINS, USERS, XMPP_DOMAINS, cases, devices, jids, sip_people

TABLES = read_tables()
DOMAINS = SIP_DOMAINS + XMPP_DOMAINS
FEW_USERS = st.sampled_from(["a", "A", "b", "a b", "o'malley", "a\\20b", "é", "ß", ""]) | USERS
FEW_LOCALS = st.sampled_from(["a", "b", r"a\20b", r"o\27malley", r"a\5c20b", "é", "ß", "o'malley", r"a\20", ""]) | st.text(ANY, max_size=4)


@pytest.mark.requirement("SEC-14", "ADDR-26")
@cases(0.25)
@given(jids(), devices())
def test_from_jid_to_sip_and_back(jid: Jid, device: str) -> None:
    uri = sip_uri(HERE.directory.sip_of(jid), device)
    assert grammar.URI_TEXT.fullmatch(uri)
    read = Uri.parse(uri)
    assert read.host == ascii_domain(jid.domain)
    assert read.device == device
    assert HERE.directory.home_of_sip(read.address) == jid
    assert HERE.guard.reaches(read) == (jid, device)


@pytest.mark.requirement("SEC-14", "ADDR-10")
@cases(0.25)
@given(sip_people())
def test_from_sip_to_jid_and_back(sip: SipAddress) -> None:
    alias = HERE.directory.jid_of(sip)
    assert Jid.parse(str(alias)) == alias
    home = HERE.directory.home_of_jid(alias)
    assert home == sip.normal
    assert HERE.directory.jid_of(home) == alias


def tables_with(users: list[tuple[SipAddress, Jid]], domains: list[tuple[str, str]]) -> Directory:
    """A directory with these pairs; rejects what the reader of the files would (SEC-17)."""
    homes = {sip.normal for sip, _ in users}, {jid for _, jid in users}
    assume(len(homes[0]) == len(homes[1]) == len(users))
    assume(len({sip for sip, _ in domains}) == len({jid for _, jid in domains}) == len(domains))
    pairs = [Pair(SipAddress("", sip), Jid("", unicode_domain(jid)), "domains.toml:1") for sip, jid in domains]
    served = {ascii_domain(name) for name in DOMAINS}
    assume(not any(sip in served for sip, _ in domains))
    people = [Pair(sip, jid, "users.toml:1") for sip, jid in users]
    foreign = {{jid: sip for sip, jid in domains}.get(name, name) for name in XMPP_DOMAINS}
    assume(not any(ascii_domain(pair.jid.domain) in SIP_DOMAINS and pair.sip.domain in foreign for pair in people))
    assert replace(TABLES, users=tuple(people), domains=tuple(pairs)).users == tuple(people)
    return Directory(people, pairs, SIP_DOMAINS, XMPP_DOMAINS)


@dataclass(frozen=True)
class _World:
    directory: Directory
    asked: tuple[Address, ...]


@st.composite
def worlds(draw: st.DrawFn) -> _World:
    hosts = st.sampled_from((*DOMAINS, "ims.example", "pbx.example", "elsewhere.example"))
    sips = st.builds(SipAddress, FEW_USERS, hosts)

    def jid(local: str, domain: str) -> Jid | None:
        try:
            return Jid(enforced_local(local) if local else "", unicode_domain(domain))
        except SyntaxFault:
            return None

    locals_ = st.builds(jid, FEW_LOCALS, st.sampled_from(DOMAINS))
    users = [(sip, one) for sip, one in draw(st.lists(st.tuples(sips, locals_), max_size=4)) if one and one.local and sip.user]
    domains = draw(st.lists(st.tuples(st.sampled_from(["ims.example", "pbx.example"]), st.sampled_from(DOMAINS)), max_size=2))
    others = [one for one in draw(st.lists(sips | locals_, min_size=1, max_size=3)) if one]
    asked: list[Address] = [*others, *(address for pair in users for address in pair)]
    return _World(tables_with(users, domains), tuple(asked))


@pytest.mark.requirement("SEC-14", "SEC-17")
@cases(0.3)
@given(worlds())
def test_there_and_back_with_pairs(world: _World) -> None:
    """The home of an address is its own home; its name on each side leads to it; no two homes share a name."""
    names: dict[Address, Address] = {}
    for address in world.asked:
        home = _home(world.directory, address)
        if home is None:
            continue
        one = home.normal if isinstance(home, SipAddress) else home
        jid, sip = world.directory.jid_of(home), world.directory.sip_of(home).normal
        assert _normal(world.directory.home_of_jid(jid)) == one
        assert _normal(world.directory.home_of_sip(sip)) == one
        assert jid == address or sip == _normal(address)
        assert names.setdefault(jid, one) == names.setdefault(sip, one) == one


def _home(directory: Directory, address: Address) -> Address | None:
    try:
        return directory.home_of_sip(address) if isinstance(address, SipAddress) else directory.home_of_jid(address)
    except (SyntaxFault, Refusal):
        return None


def _normal(address: Address | None) -> Address | None:
    return address.normal if isinstance(address, SipAddress) else address
