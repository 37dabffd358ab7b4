"""stoxgate check: is this configuration good?"""

from __future__ import annotations

import datetime
import json
import re
import socket
from pathlib import Path

import pytest

from gateway.config import keys
from tests.smime.authority import Authority

from .running import CONFIG, printed, run, said, with_numbers, written

_LATER = "has no effect yet"


def test_a_good_configuration_says_who_lives_where() -> None:
    lines = printed(run("check")).splitlines()
    assert lines[-1] == (
        f"{CONFIG}: well formed; SIP side sip.example, new.example; XMPP side xmpp.example, other.example; 0 user pair(s), 0 domain pair(s)"
    )


def test_where_files_go_is_said(tmp_path: Path) -> None:
    config = written(tmp_path, secret='secret = "x"\nupload = "upload.xmpp.example"')
    assert printed(run("check", "-c", config)).splitlines()[-1].endswith("; files go to upload.xmpp.example")


def test_the_shipped_configuration_is_good() -> None:
    shipped = Path(__file__).resolve().parents[2] / "conf" / "gateway.toml"
    *notes, verdict = printed(run("check", "-c", shipped)).splitlines()
    assert verdict.startswith(f"{shipped}: well formed; ")
    # In a clone everybody can read it, and it has a secret for the sake of the example; whom to trust is for the operator to say.
    assert [note for note in notes if ":xmpp.secret: " not in note and ":sip.trusted: " not in note] == []


def test_json() -> None:
    found = json.loads(printed(run("check", "--json")))
    assert (found["file"], found["ok"], found["problems"]) == (str(CONFIG), True, [])
    assert all(note.keys() == {"key", "note"} for note in found["notes"])


def test_json_of_a_configuration_that_is_wrong(tmp_path: Path) -> None:
    wrong = tmp_path / "gateway.toml"
    wrong.write_text('[gateway]\nname = "gw.example.net"\nnane = 1\n')
    done = run("check", "--json", "-c", wrong)
    found = json.loads(done.stdout)
    assert (done.returncode, found["ok"]) == (2, False)
    assert found["problems"] == [{"file": str(wrong), "key": "gateway.nane", "note": "unknown key; did you mean name?"}]
    assert done.stderr.decode() == f"stoxgate: {wrong}:gateway.nane: unknown key; did you mean name?\n"


@pytest.mark.requirement("SEC-05", "QOS-30")
def test_what_is_not_safe_is_said(tmp_path: Path) -> None:
    config = written(tmp_path, outbound='outbound = "sip:px.sip.example"\ntrusted = ["0.0.0.0/0"]')
    text = printed(run("check", config=config))
    assert f"{config}:sip.trusted[0]: 0.0.0.0/0 trusts every peer to say who it is (SEC-05)\n" in text
    assert f"{config}:sip.outbound: sip:px.sip.example is not encrypted; others on the way can read and change messages (QOS-30)\n" in text


_UNBUILT = """
[admin]
listen = "127.0.0.1:8080"
[digest]
realm = "sip.example"
[limits]
stale_date = "mark"
[[peer]]
match = "10.1.0.0/16"
domains = ["sip.example"]
store_and_forward = true
[[peer]]
tls = "px.sip.example"
domains = ["sip.example"]
[[route]]
domain = "sip.example"
next_hop = "sip:10.1.0.5;transport=tls"
failure_report = "sipfrag"
imdn = "always"
typing = "auto"
html = true
decode = true
assert_identity = true
receipt_on_200 = true
redirects = true
sips = true
"""


def test_every_key_whose_part_is_not_built_is_said_to_have_no_effect(tmp_path: Path) -> None:
    config = written(tmp_path, listen='listen = ["udp:127.0.0.1:5060", "tls:127.0.0.1:5061"]', outbound='outbound = "sips:px.sip.example"')
    config.write_text(config.read_text() + _UNBUILT)
    later = {note["key"] for note in json.loads(printed(run("check", "--json", config=config)))["notes"] if note["note"].startswith(_LATER)}
    smime = ("smime", "smime_form", "smime_type", "smime_carriage", "smime_extract")
    carried = ("cpim", "imdn", "typing", "html", "decode", "receipt_on_200")
    there = ("domain", "large_messages", "store", "failure_report", *carried, "gr", "redirects", *smime)
    built = {f"route[0].{key}" for key in there}
    route = {f"route[0].{key}" for key in keys.ROUTE} - built
    assert later == route | {
        "admin.listen", "digest.realm", "peer[1].tls",
        "sip.listen[1]", "sip.outbound",
    }  # fmt: skip


def test_a_key_that_asks_for_what_there_is_is_not_complained_of(tmp_path: Path) -> None:
    config = written(tmp_path)
    route = '[[route]]\ndomain = "*"\nimdn = "always"\ntyping = "never"\nfailure_report = "text"\nstore = false\n'
    config.write_text(config.read_text() + route)
    assert _LATER not in printed(run("check", config=config))


def test_a_mapping_that_is_wrong_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "mappings").mkdir()
    (tmp_path / "mappings" / "users.toml").write_text('[[user]]\nsip = "tel:+1"\nxmpp = "a@xmpp.example"\n')
    line = said(run("check", config=written(tmp_path, data_dir='data_dir = "var"\nmappings = "mappings"')), 2)
    assert re.match(rf"{re.escape(str(tmp_path))}/mappings/users\.toml:.*sip.*tel:\+1", line)


@pytest.mark.requirement("ADDR-31")
def test_a_form_of_numbers_that_nobody_could_be_sent_is_refused(tmp_path: Path) -> None:
    config = with_numbers(tmp_path, "tel")
    assert printed(run("check", config=config)).endswith("1 user pair(s), 0 domain pair(s), numbers of sip.example as tel: URIs\n")
    config.write_text("".join(line for line in config.read_text().splitlines(keepends=True) if not line.startswith("outbound")))
    assert said(run("check", config=config), 2).startswith(f"{tmp_path}/mappings/domains.toml:e164[0].uri: a tel: URI names no place")


# -- live ----------------------------------------------------------------------------------------------------------------
def _live(tmp_path: Path, port: int, **changes: str) -> Path:
    return written(tmp_path, server=f'server = "127.0.0.1:{port}"', **changes)


def test_live_says_what_was_found(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        config = _live(tmp_path, port, outbound='outbound = "sip:localhost:5070;transport=tcp"')
        text = printed(run("check", "--live", config=config))
        found = json.loads(printed(run("check", "--live", "--json", config=config)))
    assert f"{config}:xmpp.server: 127.0.0.1:{port} takes connections\n" in text
    assert f"{config}:sip.outbound: sip:localhost:5070;transport=tcp is tcp 127.0.0.1 port 5070" in text
    assert [each["key"] for each in found["found"]] == ["sip.outbound", "xmpp.server"]


def test_live_says_what_does_not_answer(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    config = _live(tmp_path, port, outbound='outbound = "sip:px.sip.invalid:5060"')
    done = run("check", "--live", "--json", config=config)
    problems = json.loads(done.stdout)["problems"]
    assert (done.returncode, [each["key"] for each in problems]) == (1, ["sip.outbound", "xmpp.server"])
    assert problems[1]["note"] == f"127.0.0.1:{port}: Connection refused"
    assert "px.sip.invalid" in problems[0]["note"]
    assert done.stderr.decode().count("\n") == 1


def test_live_looks_up_a_domain_that_has_no_next_hop(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        config = _live(tmp_path, server.getsockname()[1], outbound="")
        config.write_text(config.read_text().replace('"sip.example", "new.example"', '"127.0.0.9"'))
        text = printed(run("check", "--live", config=config))
    assert f"{config}:sip.domains[0]: sip:127.0.0.9 is udp 127.0.0.9 port 5060\n" in text


def test_certificates_that_end_soon_are_said_and_files_that_are_none_refused(tmp_path: Path) -> None:
    until = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=20)
    person = Authority("Root").issue("sip:romeo@sip.example", not_after=until)
    (tmp_path / "people.pem").write_bytes(person.pem)
    config = written(tmp_path)
    plain = config.read_text()
    config.write_text(plain + '[smime]\ncertificates = "people.pem"\n')
    notes = [note for note in json.loads(printed(run("check", "--json", config=config)))["notes"] if note["key"] == "smime"]
    assert len(notes) == 1
    assert notes[0]["note"].endswith(f": ends at {until.replace(microsecond=0).isoformat().removesuffix('+00:00')}Z")
    config.write_text(plain + '[smime]\nanchors = "none.pem"\n')
    assert said(run("check", config=config), 2).startswith(f"{config}:smime.anchors: ")
