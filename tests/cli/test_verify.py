"""stoxgate verify, and what stoxgate inspect says of who has signed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.core.mime import Entity
from tests.sip.rig import request
from tests.smime.authority import Authority, Holder, clear_signed, cpim, opaque, sign

from .running import misused, printed, run, said, stoxgate, written

CA, OTHER = Authority("Root"), Authority("Other")
ROMEO = CA.issue("sip:romeo@sip.example", "im:romeo@sip.example")
MIRA = CA.issue("im:mira@xmpp.example")
WHOLE = b"Content-Type: message/cpim\r\n\r\n" + cpim("im:romeo@sip.example")
SIGNED_AT = "2026-01-02T03:04:05Z"
E2E = "urn:ietf:params:xml:ns:xmpp-e2e"


def sip_file(folder: Path, entity: Entity) -> Path:
    path = folder / "message.sip"
    path.write_bytes(request(body=entity.content, **{name.lower().replace("-", "_"): value for name, value in entity.headers}))
    return path


def signed(by: Holder = ROMEO) -> Entity:
    return clear_signed(WHOLE, sign(by, WHOLE))


@pytest.fixture
def ca(tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    path.write_bytes(CA.pem)
    return path


def test_a_signature_of_the_author_holds(tmp_path: Path, ca: Path) -> None:
    file = sip_file(tmp_path, signed())
    lines = printed(run("verify", file, "--ca", ca)).splitlines()
    assert lines[:3] == ["valid", "  signer     sip:romeo@sip.example, im:romeo@sip.example", f"  signed at  {SIGNED_AT}"]
    assert lines[3].startswith("  digest     sha256:")
    found = json.loads(printed(run("verify", "--json", file, "--ca", ca)))
    assert (found["status"], found["holds"], found["signed_at"]) == ("valid", True, SIGNED_AT)


def test_it_is_the_installed_command_that_does_it(tmp_path: Path, ca: Path) -> None:
    done = stoxgate("verify", str(sip_file(tmp_path, signed())), "--ca", str(ca))
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, b"valid")


def test_a_stanza_and_a_message_cpim_are_verified_too(ca: Path) -> None:
    covered = b"Content-Type: message/cpim\r\n\r\n" + cpim("im:mira@xmpp.example")
    payload = opaque(sign(MIRA, covered, detached=False), base64_encoded=True).raw.decode()
    stanza = f"<message from='mira@xmpp.example/b' to='romeo@sip.example'><e2e xmlns='{E2E}'>{payload}</e2e></message>"
    assert printed(run("verify", "--ca", ca, stdin=stanza.encode())).startswith("valid\n")
    head = b"From: <im:romeo@sip.example>\r\nTo: <im:mira@xmpp.example>\r\n\r\n"
    assert printed(run("verify", "--ca", ca, stdin=head + signed().raw)).startswith("valid\n")


@pytest.mark.parametrize(("by", "status"), [(MIRA, "wrong-identity"), (OTHER.issue("sip:romeo@sip.example"), "untrusted")])
def test_one_that_does_not_hold_is_exit_1_and_says_why(tmp_path: Path, ca: Path, by: Holder, status: str) -> None:
    file = sip_file(tmp_path, signed(by))
    assert said(run("verify", file, "--ca", ca), 1).startswith(f"the signature does not hold: {status}, ")
    done = run("verify", "--json", file, "--ca", ca)
    assert (done.returncode, json.loads(done.stdout)["status"]) == (1, status)


def test_a_changed_octet_is_seen(tmp_path: Path, ca: Path) -> None:
    entity = clear_signed(WHOLE.replace(b"Lunch", b"Munch"), sign(ROMEO, WHOLE))
    assert "invalid" in said(run("verify", sip_file(tmp_path, entity), "--ca", ca), 1)


def test_at_another_time_the_certificate_may_not_be_good(tmp_path: Path, ca: Path) -> None:
    file = sip_file(tmp_path, signed())
    assert "expired" in said(run("verify", file, "--ca", ca, "--now", "2060-01-01T00:00:00Z"), 1)


def test_what_is_not_signed_is_exit_1(ca: Path) -> None:
    assert said(run("verify", "--ca", ca, stdin=request()), 1) == "there is nothing signed in it"


def test_certificates_and_revocation_lists_are_taken(tmp_path: Path, ca: Path) -> None:
    entity = clear_signed(WHOLE, sign(ROMEO, WHOLE, certificates=False))
    file, people, crl = sip_file(tmp_path, entity), tmp_path / "people.pem", tmp_path / "crl.pem"
    people.write_bytes(ROMEO.pem)
    crl.write_bytes(CA.crl(ROMEO))
    assert "no-certificate" in said(run("verify", file, "--ca", ca), 1)
    assert printed(run("verify", file, "--ca", ca, "--certificates", people)).startswith("valid\n")
    assert "revoked" in said(run("verify", file, "--ca", ca, "--certificates", people, "--crl", crl), 1)


def test_without_ca_the_configuration_says_it(tmp_path: Path, ca: Path) -> None:
    file, config = sip_file(tmp_path, signed()), written(tmp_path)
    assert said(run("verify", file, config=config), 2) == "nothing to check it with: give --ca FILE, or set anchors in [smime]"
    config.write_text(config.read_text() + f'\n[smime]\nanchors = "{ca.name}"\n')
    assert printed(run("verify", file, config=config)).startswith("valid\n")


def test_a_file_that_is_none_of_certificates_is_exit_2_with_its_key(tmp_path: Path) -> None:
    bad = tmp_path / "bad.pem"
    bad.write_text("nothing")
    assert said(run("verify", sip_file(tmp_path, signed()), "--ca", bad), 2).startswith("command line:smime.anchors: ")
    assert "does not exist" in misused(run("verify", "--ca", tmp_path / "none.pem"))


def test_inspect_says_who_has_signed_and_checks_nothing(tmp_path: Path) -> None:
    file = sip_file(tmp_path, signed(MIRA))
    found = json.loads(printed(run("inspect", "--json", file)))
    assert (found["protection"]["status"], found["protection"]["signers"]) == ("not-checked", ["im:mira@xmpp.example"])
    text = printed(run("inspect", file))
    assert "  protection: not-checked\n    signer     im:mira@xmpp.example\n" in text
    assert "  [message/cpim] " in text


def test_inspect_says_what_is_encrypted_and_what_is_broken(tmp_path: Path) -> None:
    sealed = opaque(bytes.fromhex("3018060b2a864886f70d0109100117a0093007020100310030 00".replace(" ", "")), "authEnveloped-data")
    assert "    encrypted\n" in printed(run("inspect", sip_file(tmp_path, sealed)))
    broken = Entity.compose([("Content-Type", "multipart/signed; boundary=b")], b"nothing")
    assert json.loads(printed(run("inspect", "--json", sip_file(tmp_path, broken))))["protection"]["status"] == "malformed"


def test_inspect_shows_the_tree_of_what_a_stanza_carries() -> None:
    payload = signed().raw.decode("latin-1").replace("\r\n", "\n").replace("<", "&lt;")
    stanza = f"<message from='romeo@sip.example' to='mira@xmpp.example'><e2e xmlns='{E2E}'>{payload}</e2e></message>"
    kinds = [each["type"].partition(";")[0] for each in json.loads(printed(run("inspect", "--json", stdin=stanza.encode())))["body"]]
    assert kinds == ["multipart/signed", "message/cpim", "application/pkcs7-signature"]


def test_options_that_would_not_count_are_refused_and_what_is_encrypted_is_said(tmp_path: Path, ca: Path) -> None:
    file = sip_file(tmp_path, signed())
    assert "go with --ca" in misused(run("verify", file, "--crl", ca))
    sealed = opaque(bytes.fromhex("3018060b2a864886f70d0109100117a009300702010031003000"), "authEnveloped-data")
    assert said(run("verify", sip_file(tmp_path, sealed), "--ca", ca), 1) == "it is encrypted, and no signature is outside of that"


def test_with_the_configuration_a_pair_is_one_person(tmp_path: Path, ca: Path) -> None:
    (tmp_path / "mappings").mkdir()
    (tmp_path / "mappings" / "users.toml").write_text('[[user]]\nsip = "sip:romeo@sip.example"\nxmpp = "montague@sip.example"\n')
    config = written(tmp_path, data_dir='data_dir = "var"\nmappings = "mappings"')
    config.write_text(config.read_text() + f'\n[smime]\nanchors = "{ca.name}"\n')
    montague = CA.issue("xmpp:montague@sip.example")
    file = sip_file(tmp_path, signed(montague))
    assert printed(run("verify", file, config=config)).startswith("valid\n")
    assert "wrong-identity" in said(run("verify", file, "--ca", ca), 1)
