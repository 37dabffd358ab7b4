"""What an operator is told about a configuration that is valid."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config import load, read, unbuilt, warnings

MINIMAL = """\
[gateway]
name = "gw.example.net"
[sip]
listen = ["udp:127.0.0.1:5060", "tcp:127.0.0.1:5060"]
domains = ["example.net"]
outbound = "sip:127.0.0.1:5080;transport=tcp"
trusted = ["127.0.0.1/32"]
[xmpp]
server = "127.0.0.1:5347"
secret = "hunter2"
domains = ["example.com"]
[limits]
per_recipient = 10
"""

EXPOSED = """\
[gateway]
name = "gw.example.net"
[sip]
listen = ["udp:127.0.0.1:5060", "tcp:192.0.2.1:5060", "udp:[::]:5060", "tls:192.0.2.1:5061"]
domains = ["example.net"]
outbound = "sip:proxy.example.net"
trusted = ["192.0.2.0/24", "0.0.0.0/0"]
[xmpp]
server = "tcp:192.0.2.9:5347"
secret = "hunter2"
domains = ["example.com"]
[[route]]
domain = "a.example"
next_hop = "sip:localhost;transport=tcp"
[[route]]
domain = "b.example"
next_hop = "sip:10.1.0.5"
[[route]]
domain = "c.example"
next_hop = "sips:10.1.0.6"
[[route]]
domain = "d.example"
next_hop = "sip:10.1.0.7;transport=TLS"
[[route]]
domain = "e.example"
next_hop = "sip:[::1]:5070"
[[route]]
domain = "f.example"
next_hop = ""
[[route]]
domain = "*"
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "gateway.toml"
    path.write_text(text, "utf-8")
    path.chmod(0o640)
    return path


@pytest.mark.parametrize(
    ("section", "key", "value", "place"),
    [
        ("admin", "listen", "127.0.0.1:8080", "admin.listen"),
        ("admin", "token_file", "token", "admin.token_file"),
        ("digest", "realm", "example.net", "digest.realm"),
        ("digest", "algorithms", ["SHA-256", "MD5"], "digest.algorithms"),
        ("sip", "listen", ["udp:127.0.0.1:5060", "tls:127.0.0.1:5061"], "sip.listen[1]"),
        ("sip", "outbound", "sip:10.1.0.5;transport=tls", "sip.outbound"),
        ("sip", "outbound", "sips:10.1.0.5", "sip.outbound"),
        ("route", "next_hop", "sip:10.1.0.5;transport=TLS", "route[0].next_hop"),
        ("peer", "tls", "proxy.example.net", "peer[0].tls"),
        ("route", "assert_identity", True, "route[0].assert_identity"),
        ("route", "sips", True, "route[0].sips"),
    ],
)
def test_a_key_without_effect_is_named_once(section: str, key: str, value: object, place: str) -> None:
    table = {key: value}
    notes = unbuilt({section: [table] if section in ("route", "peer") else table})
    assert [where for where, _ in notes] == [place]


@pytest.mark.parametrize(
    "row",
    [
        {"domain": "*", "large_messages": True, "store": False, "failure_report": "sipfrag", "cpim": "always", "gr": False},
        {
            "imdn": "always",
            "receipt_on_200": True,
            "typing": "always",
            "html": True,
            "decode": True,
            "redirects": True,
            "sips": False,
            "next_hop": "sip:10.1.0.5;transport=tcp",
        },
    ],
)
def test_a_value_that_holds_anyway_is_not_named(row: dict[str, object]) -> None:
    assert unbuilt({"route": [row]}) == ()


def test_each_row_of_an_array_is_named_by_its_number() -> None:
    assert unbuilt({"route": [{"domain": "*"}, {"sips": True}]}) == (("route[1].sips", "sips: is refused everywhere yet"),)


def test_a_plain_gateway_on_one_machine_has_no_notes(tmp_path: Path) -> None:
    path = written(tmp_path, MINIMAL)
    assert unbuilt(read(path).content) == ()
    assert warnings(load(path)[0]) == ()


@pytest.mark.requirement("SEC-45")
def test_a_secret_in_a_file_that_everybody_can_read_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, MINIMAL)
    path.chmod(0o644)
    reason = f"{path} can be read by others than its owner and group; chmod 640, or use secret_file"
    assert warnings(load(path)[0]) == (("xmpp.secret", reason),)
    path.write_text(MINIMAL.replace('secret = "hunter2"', 'secret_file = "s"'))
    (tmp_path / "s").write_text("hunter2")
    (tmp_path / "s").chmod(0o600)
    assert warnings(load(path)[0]) == ()


@pytest.mark.requirement("QOS-30", "SEC-44", "QOS-3B")
def test_links_in_clear_beyond_this_machine_are_named(tmp_path: Path) -> None:
    assert warnings(load(written(tmp_path, EXPOSED))[0]) == (
        ("sip.listen[1]", "tcp:192.0.2.1:5060 is not encrypted; others on the way can read and change messages (QOS-30)"),
        ("sip.listen[2]", "udp:[::]:5060 is not encrypted; others on the way can read and change messages (QOS-30)"),
        ("sip.trusted[1]", "0.0.0.0/0 trusts every peer to say who it is (SEC-05)"),
        ("sip.outbound", "sip:proxy.example.net is not encrypted; others on the way can read and change messages (QOS-30)"),
        ("route[1].next_hop", "sip:10.1.0.5 is not encrypted; others on the way can read and change messages (QOS-30)"),
        ("xmpp.server", "the link to 192.0.2.9 is not encrypted; the secret and all messages are in clear (SEC-44)"),
    )


@pytest.mark.requirement("SEC-05")
@pytest.mark.parametrize(
    ("trusted", "peer", "said"),
    [
        ("", "", True),
        ("", '[[peer]]\ntls = "proxy.example.net"\ndomains = ["example.net"]\n', True),
        ("", '[[peer]]\nmatch = "10.1.0.0/16"\ndomains = ["example.net"]\n', False),
        ('trusted = ["127.0.0.1/32"]', "", False),
    ],
)
def test_a_sip_side_from_which_nobody_may_send_is_said(tmp_path: Path, trusted: str, peer: str, said: bool) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text(MINIMAL.replace('trusted = ["127.0.0.1/32"]', trusted) + peer)
    file.chmod(0o600)
    assert ("sip.trusted" in dict(warnings(load(file)[0]))) is said


def test_a_next_hop_that_is_the_gateway_and_the_secret_of_the_example_are_named(tmp_path: Path) -> None:
    text = MINIMAL.replace("5080", "5060").replace("hunter2", "change-me")
    text += '[[route]]\ndomain = "*"\nnext_hop = "sip:127.0.0.1:5060"\n'
    assert warnings(load(written(tmp_path, text))[0]) == (
        ("sip.outbound", "sip:127.0.0.1:5060;transport=tcp is where the gateway itself listens: what is sent there comes back"),
        ("route[0].next_hop", "sip:127.0.0.1:5060 is where the gateway itself listens: what is sent there comes back"),
        ("xmpp.secret", "is the one of the example, which everybody knows"),
    )
