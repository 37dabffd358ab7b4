"""The configuration file: every key with its typed value, and every mistake as `file:key: reason`."""

from __future__ import annotations

import io
import re
from contextlib import suppress
from dataclasses import fields
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.config import build, load, read
from gateway.core.errors import ConfigFault
from gateway.core.schema import Document, parse_toml
from gateway.core.settings import AdminSettings, DigestSettings, Limits, Listener, PeerRule, RouteRule, Settings, SipSettings, XmppSettings

CONF = Path(__file__).parents[2] / "conf" / "gateway.toml"

MINIMAL = """\
[gateway]
name = "gw.example.net"
[sip]
listen = ["udp:127.0.0.1:5060"]
domains = ["example.net"]
[xmpp]
server = "127.0.0.1:5347"
secret = "hunter2"
domains = ["example.com"]
"""

COMPLETE = """\
[gateway]
name = "GW.Example.net."
data_dir = "var"
mappings = "mappings"
[sip]
listen = ["udp:127.0.0.1:5060", "tcp:[::1]:5060", "tls:0.0.0.0:0"]
domains = ["Example.NET.", "[2001:DB8::1]", "bücher.example"]
outbound = "sip:[::1]:5080;transport=tcp"
trusted = ["127.0.0.1/32", "2001:db8::/32", "192.0.2.7"]
accepted_status = 200
[xmpp]
server = "tcp:xmpp.example.com:5347"
secret = "hunter2"
domains = ["example.com"]
pager_type = "chat"
upload = "Upload.Bücher.example"
[admin]
listen = "127.0.0.1:8080"
token_file = "admin.token"
[[peer]]
match = "10.1.0.0/16"
domains = ["example.net"]
store_and_forward = true
[[peer]]
tls = "Proxy.Example.net"
domains = ["example.net", "ims.example.net"]
[[route]]
domain = "IMS.example.net"
next_hop = "sips:10.1.0.5;transport=tls"
large_messages = true
store = false
failure_report = "sipfrag"
cpim = "always"
imdn = "never"
typing = "always"
html = true
decode = true
gr = false
assert_identity = true
receipt_on_200 = true
redirects = false
sips = true
[[route]]
domain = "*"
[digest]
realm = "example.net"
accounts_file = "/etc/accounts.toml"
algorithms = ["SHA-512-256", "SHA-256"]
[limits]
queue_messages = 5
queue_octets = 2097152
queue_age_hours = 0.5
per_recipient = 3
stale_date = "mark"
[store]
url = "sqlite:///queue/outbox.db"
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "gateway.toml"
    path.write_text(text, "utf-8")
    return path


def settings_of(folder: Path, text: str) -> Settings:
    return load(write(folder, text))[0]


def fault(folder: Path, text: str) -> str:
    with pytest.raises(ConfigFault) as caught:
        load(write(folder, text))
    return str(caught.value).replace(f"{folder}/", "")


def changed(old: str, new: str) -> str:
    assert old in MINIMAL
    return MINIMAL.replace(old, new, 1)


# -- what is accepted --------------------------------------------------------------------------------------------------
def test_every_key_with_its_typed_value(tmp_path: Path) -> None:
    (tmp_path / "mappings").mkdir()
    assert settings_of(tmp_path, COMPLETE) == Settings(
        file=str(tmp_path / "gateway.toml"),
        name="gw.example.net",
        data_dir=tmp_path / "var",
        mappings=tmp_path / "mappings",
        sip=SipSettings(
            listen=(Listener("udp", "127.0.0.1", 5060), Listener("tcp", "::1", 5060), Listener("tls", "0.0.0.0", 0)),
            domains=("example.net", "[2001:db8::1]", "xn--bcher-kva.example"),
            outbound="sip:[::1]:5080;transport=tcp",
            trusted=(ip_network("127.0.0.1/32"), ip_network("2001:db8::/32"), ip_network("192.0.2.7/32")),
            accepted_status=200,
        ),
        xmpp=XmppSettings("xmpp.example.com", 5347, "hunter2", ("example.com",), "chat", "upload.bücher.example", inline_secret=True),
        store_url=f"sqlite:///{tmp_path}/queue/outbox.db",
        limits=Limits(5, 2_097_152, 0.5, 3, "mark"),
        peers=(
            PeerRule(ip_network("10.1.0.0/16"), "", ("example.net",), store_and_forward=True),
            PeerRule(None, "proxy.example.net", ("example.net", "ims.example.net")),
        ),
        routes=(
            RouteRule(
                "ims.example.net",
                "sips:10.1.0.5;transport=tls",
                True,
                False,
                "sipfrag",
                "always",
                "never",
                "always",
                True,
                True,
                False,
                True,
                True,
                False,
                True,
            ),
            RouteRule("*", "sip:[::1]:5080;transport=tcp"),
        ),
        admin=AdminSettings("127.0.0.1:8080", tmp_path / "admin.token"),
        digest=DigestSettings("example.net", Path("/etc/accounts.toml"), ("SHA-512-256", "SHA-256")),
    )


def test_what_may_be_left_out(tmp_path: Path) -> None:
    assert settings_of(tmp_path, MINIMAL) == Settings(
        file=str(tmp_path / "gateway.toml"),
        name="gw.example.net",
        data_dir=tmp_path / "var",
        mappings=None,
        sip=SipSettings((Listener("udp", "127.0.0.1", 5060),), ("example.net",)),
        xmpp=XmppSettings("127.0.0.1", 5347, "hunter2", ("example.com",), inline_secret=True),
        store_url=f"sqlite:///{tmp_path}/var/outbox.db",
    )


def test_an_empty_section_is_its_defaults(tmp_path: Path) -> None:
    found = settings_of(tmp_path, f"{MINIMAL}[admin]\n[digest]\n[limits]\n[store]\n")
    assert (found.admin, found.digest, found.limits) == (AdminSettings(), DigestSettings(), Limits())


def test_paths_are_relative_to_the_file_that_names_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "conf").mkdir()
    write(tmp_path / "conf", changed('name = "gw.example.net"', 'name = "gw.example.net"\ndata_dir = "../var"'))
    monkeypatch.chdir(tmp_path)
    found = load(Path("conf/gateway.toml"))[0]
    assert (found.file, found.data_dir) == ("conf/gateway.toml", tmp_path / "var")


def test_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(MINIMAL.encode())))
    found = load(Path("-"))[0]
    assert (found.file, found.data_dir) == ("-", tmp_path / "var")


def test_a_route_without_a_next_hop_takes_the_outbound_one_and_an_empty_one_is_looked_up(tmp_path: Path) -> None:
    text = changed("[xmpp]", 'outbound = "sip:192.0.2.1"\n[xmpp]')
    text += '[[route]]\ndomain = "a.example"\n[[route]]\ndomain = "b.example"\nnext_hop = ""\n'
    found = settings_of(tmp_path, text)
    assert [found.route(name).next_hop for name in ("a.example", "b.example", "c.example")] == ["sip:192.0.2.1", "", "sip:192.0.2.1"]


def test_the_tables_come_with_the_operators_pairs(tmp_path: Path) -> None:
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps" / "users.toml").write_text('[[user]]\nsip = "sip:1@ims.example"\nxmpp = "alice@example.com"\n')
    _, tables = load(write(tmp_path, changed('name = "gw.example.net"', 'name = "gw.example.net"\nmappings = "maps"')))
    assert [str(pair.jid) for pair in tables.users] == ["alice@example.com"]
    assert tables.status(404).condition == "item-not-found"


@pytest.mark.parametrize("server", ["127.0.0.1:5347", "127.8.0.1:5347", "[::1]:5347", "localhost:5347", "LOCALHOST:5347"])
@pytest.mark.requirement("SEC-44")
def test_a_link_to_this_machine_needs_no_further_word(tmp_path: Path, server: str) -> None:
    assert settings_of(tmp_path, changed("127.0.0.1:5347", server)).xmpp.port == 5347


# -- secrets -----------------------------------------------------------------------------------------------------------
def test_a_secret_in_a_file(tmp_path: Path) -> None:
    secret = tmp_path / "xmpp.secret"
    secret.write_bytes(b"hunter 2 \n")
    secret.chmod(0o600)
    assert settings_of(tmp_path, changed('secret = "hunter2"', 'secret_file = "xmpp.secret"')).xmpp.secret == "hunter 2 "


def test_a_secret_in_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_SECRET", "hunter2")
    assert settings_of(tmp_path, changed('secret = "hunter2"', 'secret_env = "GATEWAY_SECRET"')).xmpp.secret == "hunter2"


@pytest.mark.requirement("SEC-45")
@pytest.mark.parametrize(("mode", "said"), [(0o640, "640"), (0o604, "604"), (0o620, "620"), (0o601, "601")])
@pytest.mark.parametrize(
    ("text", "key"),
    [
        (changed('secret = "hunter2"', 'secret_file = "private"'), "xmpp.secret_file"),
        (f'{MINIMAL}[admin]\ntoken_file = "private"\n', "admin.token_file"),
        (f'{MINIMAL}[digest]\naccounts_file = "private"\n', "digest.accounts_file"),
    ],
)
def test_a_secret_file_that_is_open_to_others_is_refused(tmp_path: Path, text: str, key: str, mode: int, said: str) -> None:
    (tmp_path / "private").write_text("hunter2")
    (tmp_path / "private").chmod(mode)
    assert fault(tmp_path, text) == f"gateway.toml:{key}: the file is open to others (mode {said}); chmod 600 (SEC-45)"


@pytest.mark.requirement("SEC-45")
@pytest.mark.parametrize(
    "line",
    [
        'secret = ["hunter2"]',
        'secret = "hunter2"\nsecret_env = "hunter2"',
        'secret_env = "hunter2"',
        'secret_file = "hunter2"',
        'secret = "hunter2"\nsecret = "hunter2"',
        "secret = hunter2",
        'secret = "hunter2',
        'secret = "hunter2"\npager_type = 3',
        'secret = "hunter2"\nsecrets = "hunter2"',
        'secret = {value = "hunter2"}',
    ],
)
def test_no_message_says_the_secret(tmp_path: Path, line: str) -> None:
    assert "hunter2" not in fault(tmp_path, changed('secret = "hunter2"', line))


@pytest.mark.requirement("SEC-45")
def test_no_repr_says_the_secret(tmp_path: Path) -> None:
    path = write(tmp_path, MINIMAL)
    assert "hunter2" not in repr(load(path)) + repr(read(path))


# -- mistakes ----------------------------------------------------------------------------------------------------------
NAME, LISTEN = 'name = "gw.example.net"', 'listen = ["udp:127.0.0.1:5060"]'
SERVER, SECRET = 'server = "127.0.0.1:5347"', 'secret = "hunter2"'
SIP_DOMAINS, XMPP_DOMAINS = 'domains = ["example.net"]', 'domains = ["example.com"]'

MISTAKES = [
    # keys and sections
    (LISTEN, 'lisen = ["udp:127.0.0.1:5060"]', "sip.lisen: unknown key; did you mean listen?"),
    (LISTEN, f"{LISTEN}\ncolour = 1", "sip.colour: unknown key; known are accepted_status, domains, listen, outbound, trusted"),
    (LISTEN, f'{LISTEN}\n"a\\nb" = 1', 'sip."a\\nb": unknown key; known are accepted_status, domains, listen, outbound, trusted'),
    ("[xmpp]", "[xmmp]", "xmmp: unknown key; did you mean xmpp?"),
    ("[sip]", "[[sip]]", "sip: must be a table, not an array; write [sip]"),
    (MINIMAL, f"{MINIMAL}[peer]\n", "peer: must be an array of tables, not a table; write [[peer]]"),
    (NAME, "", 'gateway.name: is missing; write name = "gw.example.net"'),
    (LISTEN, "", 'sip.listen: is missing; write listen = ["udp:127.0.0.1:5060"]'),
    (SIP_DOMAINS, "", 'sip.domains: is missing; write domains = ["example.net"]'),
    (SERVER, "", 'xmpp.server: is missing; write server = "127.0.0.1:5347"'),
    (XMPP_DOMAINS, "", 'xmpp.domains: is missing; write domains = ["example.com"]'),
    # syntax
    (NAME, "name = gw", "line 2: Invalid value"),
    (NAME, f"{NAME}\nname = 1", "line 3: Cannot overwrite a value"),
    # [gateway]
    (NAME, "name = 3", "gateway.name: must be a string, not an integer"),
    (NAME, 'name = "gw example"', 'gateway.name: "gw example": Bad domain (RFC 1123 section 2.1)'),
    (NAME, f'{NAME}\ndata_dir = ""', "gateway.data_dir: must not be empty"),
    (NAME, f'{NAME}\nmappings = "none"', "gateway.mappings: none cannot be read: No such file or directory"),
    # [sip]
    (LISTEN, 'listen = "udp:127.0.0.1:5060"', "sip.listen: must be an array, not a string"),
    (LISTEN, "listen = []", 'sip.listen: must not be empty; write listen = ["udp:127.0.0.1:5060"]'),
    (
        LISTEN,
        'listen = ["udp:127.0.0.1:5060", "ws:127.0.0.1:80"]',
        'sip.listen[1]: "ws:127.0.0.1:80" does not begin with udp:, tcp: or tls:',
    ),
    (LISTEN, 'listen = ["udp:127.0.0.1"]', 'sip.listen[0]: "udp:127.0.0.1" is not of the form udp:ADDRESS:PORT, as in udp:127.0.0.1:5060'),
    (
        LISTEN,
        'listen = ["tcp:gw.example.net:5060"]',
        'sip.listen[0]: "tcp:gw.example.net:5060" is not of the form tcp:ADDRESS:PORT, as in tcp:127.0.0.1:5060',
    ),
    (
        LISTEN,
        'listen = ["tcp:127.0.0.1:65536"]',
        'sip.listen[0]: "tcp:127.0.0.1:65536" is not of the form tcp:ADDRESS:PORT, as in tcp:127.0.0.1:5060',
    ),
    (LISTEN, 'listen = ["udp:[::1]:5060", "udp:[0::1]:5060"]', 'sip.listen[1]: "udp:[0::1]:5060" is already there, as [0]'),
    (SIP_DOMAINS, 'domains = ["example.net", 5]', "sip.domains[1]: must be a string, not an integer"),
    (SIP_DOMAINS, 'domains = ["example.net", "EXAMPLE.net."]', 'sip.domains[1]: "EXAMPLE.net." is already there, as [0]'),
    (SIP_DOMAINS, 'domains = ["[::g]"]', 'sip.domains[0]: "[::g]": Bad IP address (RFC 3986 section 3.2.2)'),
    (LISTEN, 'listen = ["tls:127.0.0.1:5061"]', "sip.listen: needs an entry with udp: or tcp:, for there is no TLS yet"),
    (
        SIP_DOMAINS,
        f'{SIP_DOMAINS}\noutbound = "sip:h;transport=TCP"',
        "sip.outbound: is over tcp, but [sip] listen has no tcp: entry",
    ),
    (
        MINIMAL,
        f'{MINIMAL}[[route]]\ndomain = "*"\nnext_hop = "sip:h;transport=tcp"',
        "route[0].next_hop: is over tcp, but [sip] listen has no tcp: entry",
    ),
    (
        SIP_DOMAINS,
        f'{SIP_DOMAINS}\noutbound = "tel:+1"',
        'sip.outbound: "tel:+1" is no sip: or sips: URI; write one as sip:127.0.0.1:5080',
    ),
    (
        SIP_DOMAINS,
        f'{SIP_DOMAINS}\noutbound = "127.0.0.1:5080"',
        'sip.outbound: "127.0.0.1:5080": Bad URI (RFC 3261 section 19.1); write one as sip:127.0.0.1:5080',
    ),
    (
        SIP_DOMAINS,
        f'{SIP_DOMAINS}\noutbound = "sip:[2001:db8::7]:5070"',
        "sip.outbound: is an IPv6 address, but [sip] listen has no udp: entry for IPv6",
    ),
    (
        MINIMAL,
        f'{MINIMAL}[[route]]\ndomain = "*"\nnext_hop = "sip:h;maddr=[::1]"',
        "route[0].next_hop: is an IPv6 address, but [sip] listen has no udp: entry for IPv6",
    ),
    (
        f"{LISTEN}\n{SIP_DOMAINS}",
        f'listen = ["udp:[::]:5060", "tcp:127.0.0.1:5060"]\n{SIP_DOMAINS}\noutbound = "sip:127.0.0.1:5070"',
        "sip.outbound: is an IPv4 address, but [sip] listen has no udp: entry for IPv4",
    ),
    (
        SIP_DOMAINS,
        f'{SIP_DOMAINS}\noutbound = "sip:h;transport=sctp"',
        'sip.outbound: "sip:h;transport=sctp": transport must be udp, tcp or tls',
    ),
    (SIP_DOMAINS, f'{SIP_DOMAINS}\noutbound = "sips:h;transport=udp"', 'sip.outbound: "sips:h;transport=udp": sips needs tls'),
    (SIP_DOMAINS, f'{SIP_DOMAINS}\noutbound = "sip:h?Subject=x"', "sip.outbound: a next hop has neither password nor headers"),
    (SIP_DOMAINS, f'{SIP_DOMAINS}\noutbound = "sip:a:hunter2@h"', "sip.outbound: a next hop has neither password nor headers"),
    (
        SIP_DOMAINS,
        f'{SIP_DOMAINS}\ntrusted = ["127.0.0.1", "10.1.0.5/16"]',
        'sip.trusted[1]: "10.1.0.5/16" has bits behind the prefix; did you mean 10.1.0.0/16?',
    ),
    (SIP_DOMAINS, f'{SIP_DOMAINS}\ntrusted = ["proxy"]', 'sip.trusted[0]: "proxy" is no network; write one as 10.1.0.0/16'),
    (SIP_DOMAINS, f"{SIP_DOMAINS}\naccepted_status = 204", "sip.accepted_status: must be 202 or 200, not 204"),
    # [xmpp]
    (SERVER, 'server = "127.0.0.1"', 'xmpp.server: "127.0.0.1" is not of the form host:port'),
    (
        SERVER,
        'server = "xmpp.example.com:5347"',
        "xmpp.server: xmpp.example.com is not this machine, and the link is not encrypted; "
        'write "tcp:xmpp.example.com:5347" if that is safe (SEC-44)',
    ),
    (SECRET, "", "xmpp.secret: is missing; write one of secret, secret_file and secret_env"),
    (SECRET, 'secret = ""', "xmpp.secret: must not be empty"),
    (
        SECRET,
        f'{SECRET}\nsecret_env = "A"',
        "xmpp.secret: secret and secret_env exclude each other; write one of secret, secret_file and secret_env",
    ),
    (SECRET, 'secret_env = "GATEWAY_NO_SUCH"', "xmpp.secret_env: the environment variable is not set, or empty"),
    (SECRET, 'secret_file = "none"', "xmpp.secret_file: cannot be read: No such file or directory"),
    (
        XMPP_DOMAINS,
        'domains = ["example.com", "Example.NET"]',
        "xmpp.domains[1]: example.net is in [sip] domains too; its people live on one side",
    ),
    (XMPP_DOMAINS, f'{XMPP_DOMAINS}\npager_type = "groupchat"', 'xmpp.pager_type: must be "" or "chat" or "normal", not "groupchat"'),
    (XMPP_DOMAINS, f'{XMPP_DOMAINS}\nupload = "a b"', 'xmpp.upload: "a b": Bad domain (RFC 1123 section 2.1)'),
    (XMPP_DOMAINS, f'{XMPP_DOMAINS}\nupload = "EXAMPLE.net"', "xmpp.upload: example.net is in [sip] domains, so it is the gateway itself"),
    # the other sections
    (MINIMAL, f'{MINIMAL}[admin]\nlisten = "8080"', 'admin.listen: "8080" is not of the form host:port'),
    (MINIMAL, f'{MINIMAL}[[peer]]\ndomains = ["a"]', 'peer[0]: needs either match = "10.1.0.0/16" or tls = "proxy.example.net"'),
    (
        MINIMAL,
        f'{MINIMAL}[[peer]]\nmatch = "::1"\ntls = "a"\ndomains = ["a"]',
        'peer[0]: needs either match = "10.1.0.0/16" or tls = "proxy.example.net"',
    ),
    (MINIMAL, f'{MINIMAL}[[peer]]\nmatch = "::1"', 'peer[0].domains: is missing; write domains = ["example.net"]'),
    (
        MINIMAL,
        f'{MINIMAL}[[peer]]\nmatch = "::1"\ndomains = ["a"]\n[[peer]]\nmatch = "::1/128"\ndomains = ["b"]',
        "peer[1]: ::1/128 is already there, as peer[0]",
    ),
    (MINIMAL, f'{MINIMAL}[[route]]\nnext_hop = "sip:a"', 'route[0].domain: is missing; write domain = "ims.example.net"'),
    (MINIMAL, f'{MINIMAL}[[route]]\ndomain = "*"\n[[route]]\ndomain = "*"', "route[1].domain: * is already there, as route[0]"),
    (
        MINIMAL,
        f'{MINIMAL}[[route]]\ndomain = "*"\nlarge_message = true',
        "route[0].large_message: unknown key; did you mean large_messages?",
    ),
    (MINIMAL, f'{MINIMAL}[[route]]\ndomain = "*"\nstore = "no"', "route[0].store: must be true or false, not a string"),
    (
        MINIMAL,
        f'{MINIMAL}[[route]]\ndomain = "*"\nfailure_report = "imdn"',
        'route[0].failure_report: must be "text" or "sipfrag" or "none", not "imdn"',
    ),
    (MINIMAL, f'{MINIMAL}[[route]]\ndomain = "*"\ncpim = true', 'route[0].cpim: must be "auto" or "always" or "never", not true'),
    (
        MINIMAL,
        f'{MINIMAL}[digest]\nalgorithms = ["SHA-1"]',
        'digest.algorithms[0]: must be "SHA-256" or "SHA-512-256" or "MD5", not "SHA-1"',
    ),
    (MINIMAL, f"{MINIMAL}[limits]\nqueue_messages = 0", "limits.queue_messages: must be from 1 to 100000000, not 0"),
    (MINIMAL, f"{MINIMAL}[limits]\nqueue_age_hours = nan", "limits.queue_age_hours: must be over 0 and at most 8760, not nan"),
    (MINIMAL, f"{MINIMAL}[limits]\nper_recipient = true", "limits.per_recipient: must be an integer, not a boolean"),
    (MINIMAL, f"{MINIMAL}[limits]\nqueue_octets = 2026-01-01", "limits.queue_octets: must be an integer, not a date or time"),
    (MINIMAL, f'{MINIMAL}[limits]\nstale_date = "drop"', 'limits.stale_date: must be "refuse" or "mark", not "drop"'),
    (
        MINIMAL,
        f'{MINIMAL}[store]\nurl = "postgresql://a:pw@h/db"',
        'store.url: PostgreSQL is not supported yet; write url = "sqlite:///var/outbox.db"',
    ),
    (MINIMAL, f'{MINIMAL}[store]\nurl = "sqlite://"', 'store.url: must name a file; write url = "sqlite:///var/outbox.db"'),
    (MINIMAL, f'{MINIMAL}[store]\nurl = "sqlite:///:memory:"', 'store.url: must name a file; write url = "sqlite:///var/outbox.db"'),
    (MINIMAL, f'{MINIMAL}[store]\nurl = "sqlite:///a?mode=ro"', "store.url: the path of the store must not hold ? or #"),
]


@pytest.mark.parametrize(("old", "new", "said"), MISTAKES, ids=[said.partition(":")[0] for _, _, said in MISTAKES])
def test_a_mistake_is_named_with_file_key_and_reason(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert fault(tmp_path, changed(old, new)) == f"gateway.toml:{said}"


@pytest.mark.requirement("REL-21")
def test_a_mistake_in_a_mapping_file_names_that_file(tmp_path: Path) -> None:
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps" / "users.toml").write_text('[[user]]\nsip = "sip:1@ims.example"\nxmpp = "alice@example.org"\n')
    text = changed(NAME, f'{NAME}\nmappings = "maps"')
    assert fault(tmp_path, text) == "maps/users.toml:user[0].xmpp: example.org is neither in [sip] domains nor in [xmpp] domains (line 1)"


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigFault) as caught:
        load(tmp_path / "none.toml")
    assert str(caught.value) == f"{tmp_path}/none.toml: cannot be read: No such file or directory"


@pytest.mark.parametrize("extra", [0, 1])
def test_the_path_of_the_control_socket_fits_a_unix_socket(tmp_path: Path, extra: int) -> None:
    longest = "/" + "d" * (107 - len("/" + "/control.sock") + extra)
    text = changed(NAME, f'{NAME}\ndata_dir = "{longest}"')
    if not extra:
        assert settings_of(tmp_path, text).data_dir == Path(longest)
    else:
        said = "gateway.toml:gateway.data_dir: too long: the path of control.sock in it has 108 octets, a Unix socket takes 107"
        assert fault(tmp_path, text) == said


@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
        max_leaves=8,
    ),
    st.sampled_from(["gateway", "sip", "xmpp", "admin", "peer", "route", "digest", "limits", "store"]),
)
def test_any_value_is_read_or_refused(value: object, section: str) -> None:
    document = parse_toml("gateway.toml", MINIMAL.encode())
    table = document.content.get(section, {})
    for key in [*table, "match", "tls", "next_hop", "outbound", "trusted", "url", "queue_octets", "algorithms", "token_file", section]:
        content = dict(document.content)
        content[section] = value if key == section else [table | {key: value}] if section in ("peer", "route") else table | {key: value}
        with suppress(ConfigFault):
            build(Document(document.file, document.text, content), Path("/tmp"))


# -- conf/gateway.toml -------------------------------------------------------------------------------------------------
def test_the_shipped_configuration_loads() -> None:
    found = load(CONF)[0]
    assert (found.data_dir, found.store_url) == (CONF.parents[1] / "var", f"sqlite:///{CONF.parents[1]}/var/outbox.db")


def test_the_shipped_configuration_shows_every_key_and_its_examples_load(tmp_path: Path) -> None:
    shown = re.sub(r"^#(?=[a-z\[])(?!secret_)", "", CONF.read_text("utf-8"), flags=re.M)
    (tmp_path / "mappings").mkdir()
    document = parse_toml(str(tmp_path / "gateway.toml"), shown.encode())
    found, _ = build(document, tmp_path)
    content = document.content
    assert set(content["gateway"]) == {"name", "data_dir", "mappings"}
    assert set(content["sip"]) == {each.name for each in fields(SipSettings)}
    assert set(content["xmpp"]) == {"server", "secret", "domains", "pager_type", "upload"}
    assert set(content["admin"]) == {each.name for each in fields(AdminSettings)}
    assert set(content["peer"][0]) | set(content["peer"][1]) == {each.name for each in fields(PeerRule)}
    assert set(content["route"][0]) == {each.name for each in fields(RouteRule)}
    assert set(content["digest"]) == {each.name for each in fields(DigestSettings)}
    assert set(content["limits"]) == {each.name for each in fields(Limits)}
    assert set(content["store"]) == {"url"}
    assert found.limits == Limits()
    assert found.routes[0] == RouteRule("ims.example.net", "sip:10.1.0.5;transport=tls")
    assert re.findall(r"^#(secret\w+) =", CONF.read_text("utf-8"), re.M) == ["secret_file", "secret_env"]


# -- [smime] --------------------------------------------------------------------------------------------------------------
def test_the_files_of_smime_are_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "gateway.toml").write_text(MINIMAL + '[smime]\nanchors = "ca.pem"\nkeys = "/etc/keys"\nrequire = ["example.net"]\n')
    smime = load(tmp_path / "gateway.toml")[0].smime
    assert (smime.anchors, smime.keys, smime.certificates, smime.require) == (
        tmp_path / "ca.pem",
        Path("/etc/keys"),
        None,
        ("example.net",),
    )


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ('require = ["example.net"]', "smime.require: needs anchors: nothing can be checked without authorities"),
        ('require = ["example.net"]\nkeys = "keys"', "smime.require: needs anchors: nothing can be checked without authorities"),
        ('crls = "crls.pem"', "smime.crls: needs anchors: nothing can be checked without authorities"),
        (
            'anchors = "a"\nrequire = ["example.org"]',
            "smime.require[0]: example.org is neither in [sip] domains nor in [xmpp] domains",
        ),
    ],
)
def test_what_would_not_do_what_it_says_is_refused(tmp_path: Path, lines: str, complaint: str) -> None:
    """A requirement that nothing can meet, or that nothing looks at, is no protection."""
    assert fault(tmp_path, f"{MINIMAL}[smime]\n{lines}\n").endswith(complaint)
