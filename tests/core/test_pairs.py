"""User pairs and domain pairs: what they may say, and that no two of them meet."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway.core.address import SipAddress
from gateway.core.errors import ConfigFault
from gateway.core.jid import Jid
from gateway.core.numbers import check_numbers
from gateway.core.pairs import check_pairs
from gateway.core.settings import Settings, SipSettings, XmppSettings
from gateway.core.tables import Pair, Tables, read_tables

SHIPPED = Path(__file__).parents[2] / "mappings"


def with_file(folder: Path, name: str, text: str) -> Tables:
    (folder / name).write_text(text, "utf-8")
    return read_tables(folder)


def fault(folder: Path, name: str, text: str) -> str:
    with pytest.raises(ConfigFault) as caught:
        with_file(folder, name, text)
    return str(caught.value).removeprefix(f"{folder}/")


# -- the files ---------------------------------------------------------------------------------------------------------
PAIRS = """
# people
[[user]]
sip  = "sip:+15551230001@ims.example.net"
xmpp = "alice@example.com"

[[ user ]]
sip  = "sip:Bob@PBX.example.net"
xmpp = "Robert@Example.NET"
"""


def test_user_pairs_know_their_lines(tmp_path: Path) -> None:
    tables = with_file(tmp_path, "users.toml", PAIRS)
    assert tables.users == (
        Pair(SipAddress("+15551230001", "ims.example.net"), Jid("alice", "example.com"), f"{tmp_path}/users.toml:3"),
        Pair(SipAddress("Bob", "pbx.example.net"), Jid("robert", "example.net"), f"{tmp_path}/users.toml:7"),
    )


def test_domain_pairs(tmp_path: Path) -> None:
    tables = with_file(tmp_path, "domains.toml", '[[domain]]\nsip = "IMS.example.net."\nxmpp = "bücher.example"\n')
    assert tables.domains == (Pair(SipAddress("", "ims.example.net"), Jid("", "bücher.example"), f"{tmp_path}/domains.toml:1"),)


@pytest.mark.requirement("SEC-17")
@pytest.mark.parametrize(
    ("sip", "xmpp", "said"),
    [
        ("sip:b%4Fb@pbx.example.net", "tomas@example.com", "user[2].sip: bob@pbx.example.net is paired twice: line 7 and line 10"),
        ("sip:bob@PBX.EXAMPLE.NET", "tomas@example.com", "user[2].sip: bob@pbx.example.net is paired twice: line 7 and line 10"),
        ("sip:%EF%BC%A2ob@pbx.example.net", "tomas@example.com", "user[2].sip: bob@pbx.example.net is paired twice: line 7 and line 10"),
        ("sip:tomas@ims.example.net", "ALICE@example.com", "user[2].xmpp: alice@example.com is paired twice: line 3 and line 10"),
    ],
)
def test_pairs_that_meet_are_refused_with_both_lines(tmp_path: Path, sip: str, xmpp: str, said: str) -> None:
    text = f'{PAIRS}[[user]]\nsip = "{sip}"\nxmpp = "{xmpp}"\n'
    assert fault(tmp_path, "users.toml", text) == f"users.toml:{said}"


@pytest.mark.requirement("SEC-17")
def test_domain_pairs_that_meet_are_refused_with_both_lines(tmp_path: Path) -> None:
    text = '[[domain]]\nsip = "a.example"\nxmpp = "xn--bcher-kva.example"\n\n[[domain]]\nsip = "b.example"\nxmpp = "Bücher.example."\n'
    assert fault(tmp_path, "domains.toml", text) == "domains.toml:domain[1].xmpp: bücher.example is paired twice: line 1 and line 5"


def test_pairs_that_are_written_inline_are_named_by_number(tmp_path: Path) -> None:
    text = 'user = [{sip = "sip:a@x", xmpp = "a@y"}, {sip = "sip:A@x", xmpp = "b@y"}]'
    assert fault(tmp_path, "users.toml", text) == "users.toml:user[1].sip: a@x is paired twice: user[0] and user[1]"


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ('sip = "sip:a@x"', 'user[0].xmpp: is missing; write xmpp = "alice@example.com"'),
        ('sip = "alice@example.net"\nxmpp = "a@y"', 'user[0].sip: "alice@example.net": Bad URI (RFC 3261 section 19.1)'),
        ('sip = "sips:a@x"\nxmpp = "a@y"', 'user[0].sip: "sips:a@x" is not of the form sip:user@domain'),
        ('sip = "sip:x"\nxmpp = "a@y"', 'user[0].sip: "sip:x" is not of the form sip:user@domain'),
        ('sip = "sip:a@x;transport=tcp"\nxmpp = "a@y"', 'user[0].sip: "sip:a@x;transport=tcp" is not of the form sip:user@domain'),
        ('sip = "sip:a%00@x"\nxmpp = "a@y"', 'user[0].sip: "sip:a%00@x": Control character in user part (SEC-11)'),
        ('sip = "sip:a@x"\nxmpp = "a@y/z"', 'user[0].xmpp: "a@y/z" is not of the form user@domain'),
        ('sip = "sip:a@x"\nxmpp = "@y"', 'user[0].xmpp: "@y": Bad JID (RFC 7622 section 3.1)'),
        ('sip = "sip:a@x"\njid = "a@y"', "user[0].jid: unknown key; known are sip, xmpp"),
    ],
)
def test_a_mistake_in_users_is_named(tmp_path: Path, entry: str, said: str) -> None:
    assert fault(tmp_path, "users.toml", f"[[user]]\n{entry}\n") == f"users.toml:{said}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[user]\nsip = "sip:a@x"', "users.toml:user: must be an array of tables, not a table; write [[user]]"),
        ("user = [1]", "users.toml:user[0]: must be a table, not an integer; write [[user]]"),
        ("[[users]]", "users.toml:users: unknown key; did you mean user?"),
    ],
)
def test_users_is_an_array_of_tables(tmp_path: Path, text: str, said: str) -> None:
    assert fault(tmp_path, "users.toml", text) == said


# -- pairs against the configuration -----------------------------------------------------------------------------------
SERVED = Settings(
    file="gateway.toml",
    name="gw.example",
    data_dir=Path("/x"),
    mappings=None,
    store_url="",
    sip=SipSettings(listen=(), domains=("example.net", "sip.example.com")),
    xmpp=XmppSettings("127.0.0.1", 5347, "x", ("example.com", "xn--bcher-kva.example")),
)


def checked(folder: Path, name: str, *pairs: tuple[str, str]) -> str:
    table = name.removesuffix("s.toml")
    tables = with_file(folder, name, "".join(f'[[{table}]]\nsip = "{sip}"\nxmpp = "{xmpp}"\n' for sip, xmpp in pairs))
    try:
        check_pairs(tables.users, tables.domains, SERVED)
    except ConfigFault as fault:
        return str(fault).removeprefix(f"{folder}/")
    return ""


@pytest.mark.parametrize(
    "pairs",
    [
        [("sip:+15551230001@ims.example.net", "alice@example.com")],
        [("sip:bob@pbx.example.org", "robert@example.net")],
        [("sip:mira@example.net", "mira@bücher.example")],
        [("sip:15551230001@example.com", "alice@example.com")],
    ],
)
def test_user_pairs_of_either_side(tmp_path: Path, pairs: list[tuple[str, str]]) -> None:
    assert checked(tmp_path, "users.toml", *pairs) == ""


def test_a_pair_whose_people_live_nowhere(tmp_path: Path) -> None:
    said = "users.toml:user[1].xmpp: example.org is neither in [sip] domains nor in [xmpp] domains (line 4)"
    assert checked(tmp_path, "users.toml", ("sip:a@x", "a@example.com"), ("sip:b@x", "b@example.org")) == said


@pytest.mark.requirement("SEC-01")
def test_a_pair_gives_nobody_on_the_sip_side_an_address_of_the_other(tmp_path: Path) -> None:
    said = "users.toml:user[0].sip: robert@example.net lives on the SIP side, example.com on the XMPP side (line 1)"
    assert checked(tmp_path, "users.toml", ("sip:bob@example.com", "robert@example.net")) == said


@pytest.mark.requirement("SEC-01")
def test_nor_one_of_a_domain_that_the_sip_side_knows_by_another_name(tmp_path: Path) -> None:
    (tmp_path / "domains.toml").write_text('[[domain]]\nsip = "im.example.net"\nxmpp = "example.com"\n')
    said = "users.toml:user[0].sip: robert@example.net lives on the SIP side, im.example.net on the XMPP side (line 1)"
    assert checked(tmp_path, "users.toml", ("sip:bob@im.example.net", "robert@example.net")) == said


def test_a_domain_pair_may_say_what_holds_anyway(tmp_path: Path) -> None:
    assert checked(tmp_path, "domains.toml", ("example.net", "example.net")) == ""


def test_domain_pairs_of_either_side(tmp_path: Path) -> None:
    assert checked(tmp_path, "domains.toml", ("ims.example.net", "sip.example.com"), ("im.example.net", "bücher.example")) == ""


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        (("ims.example.net", "example.org"), "domain[0].xmpp: example.org is neither in [sip] domains nor in [xmpp] domains (line 1)"),
        (("example.com", "sip.example.com"), "domain[0].sip: example.com is served under its own name (line 1)"),
        (("example.net", "sip.example.com"), "domain[0].sip: example.net is served under its own name (line 1)"),
    ],
)
def test_a_mistake_in_domains_is_named(tmp_path: Path, pair: tuple[str, str], said: str) -> None:
    assert checked(tmp_path, "domains.toml", pair) == f"domains.toml:{said}"


@pytest.mark.parametrize(("name", "count"), [("users.toml", 2), ("domains.toml", 1)])
def test_the_examples_in_the_shipped_files_hold(tmp_path: Path, name: str, count: int) -> None:
    tables = with_file(tmp_path, name, re.sub(r"^#(?=[a-z\[])", "", (SHIPPED / name).read_text("utf-8"), flags=re.M))
    assert len(tables.users + tables.domains) == count
    check_pairs(tables.users, tables.domains, SERVED)
    check_numbers(tables.numbers, tables.users, SERVED)
    assert bool(tables.numbers.domain) is (name == "domains.toml")
