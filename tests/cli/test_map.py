"""stoxgate map: an address on the other side."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .running import misused, printed, run, said, with_numbers, written

SERVED = "served are sip:USER@sip.example, sip:USER@new.example and USER@xmpp.example, USER@other.example"


@pytest.mark.requirement("ADDR-24", "SEC-12", "SEC-13")
@pytest.mark.parametrize(
    ("address", "other"),
    [
        ("sip:romeo@sip.example", "romeo@sip.example"),
        ("juliet@xmpp.example", "sip:juliet@xmpp.example"),
        ("xmpp:juliet@xmpp.example", "sip:juliet@xmpp.example"),
        ("im:romeo@sip.example", "romeo@sip.example"),
        ("sip:o'malley@sip.example", "o\\27malley@sip.example"),
        ("o\\27malley@xmpp.example", "sip:o'malley@xmpp.example"),
        ("sip:d'arcy%231@xmpp.example", "d\\27arcy#1@xmpp.example"),
    ],
)
def test_an_address_on_one_line(address: str, other: str) -> None:
    assert printed(run("map", address)) == other + "\n"


def test_json() -> None:
    assert json.loads(printed(run("map", "--json", "sip:romeo@sip.example"))) == {
        "address": "sip:romeo@sip.example", "other_side": "romeo@sip.example", "lives_on": "sip", "rule": "RFC 7247 section 6.4",
    }  # fmt: skip


def test_explain_says_on_standard_error_which_rule_decided() -> None:
    done = run("map", "--explain", "juliet@xmpp.example")
    assert (done.returncode, done.stdout) == (0, b"sip:juliet@xmpp.example\n")
    assert "  lives on   the XMPP side\n" in done.stderr.decode()
    assert "  by         RFC 7247 section 6.5\n" in done.stderr.decode()


@pytest.mark.requirement("SEC-17")
def test_a_user_pair_decides_and_is_named(tmp_path: Path) -> None:
    (tmp_path / "mappings").mkdir()
    (tmp_path / "mappings" / "users.toml").write_text('[[user]]\nsip = "sip:+15551230001@ims.example.net"\nxmpp = "alice@xmpp.example"\n')
    config = written(tmp_path, data_dir='data_dir = "var"\nmappings = "mappings"')
    found = json.loads(printed(run("map", "--json", "alice@xmpp.example", config=config)))
    assert found["other_side"] == "sip:+15551230001@ims.example.net"
    assert found["rule"].startswith("user pair, ")
    assert printed(run("map", "sip:+15551230001@ims.example.net", config=config)) == "alice@xmpp.example\n"


@pytest.mark.requirement("ADDR-30", "ADDR-31", "ADDR-32")
@pytest.mark.parametrize("uri", ["sip", "tel"])
def test_a_number_and_the_rule_that_decided_it(tmp_path: Path, uri: str) -> None:
    config, where = with_numbers(tmp_path, uri), f"{tmp_path}/mappings"
    for spelled in ("tel:+1-201-555-0123", "sip:+1.201.555.0123@SIP.example;user=phone", "sip:+12015550123@sip.example"):
        found = json.loads(printed(run("map", "--json", spelled, config=config)))
        assert found == {
            "address": spelled, "other_side": "+12015550123@sip.example", "lives_on": "sip",
            "rule": f"E.164 domain, {where}/domains.toml:1, RFC 3966 section 5.1",
        }  # fmt: skip
    form = {"sip": "sip:+12015550123@sip.example;user=phone", "tel": "tel:+12015550123"}[uri]
    done = run("map", "--explain", "+12015550123@sip.example", config=config)
    assert done.stdout.decode() == f"{form}\n"
    assert f"  by         E.164 domain, {where}/domains.toml:1, RFC 3966 section 5.1\n" in done.stderr.decode()
    bob = json.loads(printed(run("map", "--json", "bob@sip.example", config=config)))
    assert (bob["other_side"], bob["rule"]) == (form.replace("12015550123", "15551230002"), f"user pair, {where}/users.toml:1")
    assert printed(run("map", "tel:+1-555-123-0002", config=config)) == "bob@sip.example\n"
    assert printed(run("map", "sip:+1-201@sip.example", config=config)) == "+1-201@sip.example\n"


def test_a_number_that_is_none_says_so(tmp_path: Path) -> None:
    config = with_numbers(tmp_path)
    for text, fault in (
        ("tel:+", "Bad telephone number (RFC 3966 section 3)"),
        ("tel:7042", "Bad telephone number (RFC 3966 section 5.1.5)"),
    ):
        assert said(run("map", text, config=config), 1) == f"{text}: {fault}; {SERVED}"


@pytest.mark.parametrize(
    ("address", "complaint"),
    [
        ("sip:a@elsewhere.example", "sip:a@elsewhere.example is nobody that is served here"),
        ("a@elsewhere.example", "a@elsewhere.example is nobody that is served here"),
        ("sip:a@[::1", "sip:a@[::1: Bad SIP URI (RFC 3261 section 19.1.1)"),
        ("tel:+123", "tel:+123 is nobody that is served here"),
        ("", ": Empty"),
    ],
)
@pytest.mark.parametrize("options", [(), ("--json",), ("--explain",)])
def test_an_address_that_has_no_other_side_says_what_would_have_one(address: str, complaint: str, options: tuple[str, ...]) -> None:
    line = said(run("map", *options, address), 1)
    assert line.startswith(complaint) or not address
    assert line.endswith(f"; {SERVED}")


def test_what_is_said_of_a_huge_address_is_no_longer_than_a_line_may_be() -> None:
    assert len(said(run("map", f"{'a' * 100_000}@xmpp.example"), 1)) < 2100


def test_an_address_is_needed() -> None:
    assert misused(run("map")) == "Missing argument 'ADDRESS'."


def test_keys_that_it_does_not_need_are_not_read(tmp_path: Path) -> None:
    config = written(tmp_path)
    config.write_text(config.read_text() + '\n[smime]\nkeys = "not-there"\nanchors = "not-there.pem"\n')
    assert printed(run("map", "sip:romeo@sip.example", config=config)) == "romeo@sip.example\n"
