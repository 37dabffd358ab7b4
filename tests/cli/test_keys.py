"""stoxgate keys: hosting accounts, and what is said of them. What a good key is, is in tests/smime/test_keys.py."""

from __future__ import annotations

import datetime
import json
import os
import time
from pathlib import Path

import pytest
from cryptography import x509

from tests.smime.authority import Authority, Holder
from tests.smime.hosted import holder

from .running import misused, printed, run, said, stoxgate, written

CA = Authority("Commands")
ROMEO, JULIET = holder(CA, "p256"), holder(CA, "rsa2048", "sip:juliet@xmpp.example", "im:juliet@xmpp.example")
END = "2049-01-01T00:00:00Z"


def config_in(tmp_path: Path, more: str = "") -> Path:
    config = written(tmp_path)
    config.write_text(config.read_text() + f'\n[smime]\nkeys = "keys"\n{more}')
    return config


def pem_of(tmp_path: Path, of: Holder, name: str = "key.pem") -> Path:
    file = tmp_path / name
    file.write_bytes(of.pem_with_key)
    file.chmod(0o600)
    return file


def ending_in(days: float, *names: str) -> Holder:
    return holder(CA, "p256", *names, not_after=datetime.datetime.fromtimestamp(time.time() + days * 86_400, datetime.UTC))


def serial(of: Holder) -> str:
    certificate: x509.Certificate = of.certificate
    return f"{certificate.serial_number:x}"


# -- add ---------------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("SEC-45")
def test_an_account_is_added_with_strict_modes(tmp_path: Path) -> None:
    config, file = config_in(tmp_path), pem_of(tmp_path, ROMEO)
    old = os.umask(0)
    try:
        assert printed(run("keys", "add", "sip:Romeo@SIP.example", file, config=config)) == f"romeo@sip.example: P-256, good until {END}\n"
    finally:
        os.umask(old)
    kept = tmp_path / "keys" / "romeo@sip.example.pem"
    assert kept.read_bytes() == ROMEO.pem_with_key
    assert (kept.stat().st_mode & 0o777, kept.parent.stat().st_mode & 0o777) == (0o600, 0o700)


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("juliet@xmpp.example", "juliet@xmpp.example"),
        ("sip:juliet@xmpp.example", "juliet@xmpp.example"),
        ("im:juliet@xmpp.example", "juliet@xmpp.example"),
        ("juliet@xmpp.example/phone", "juliet@xmpp.example"),
    ],
)
def test_every_address_of_a_person_is_his_home_address(tmp_path: Path, address: str, name: str) -> None:
    done = run("keys", "add", address, "-", "--json", config=config_in(tmp_path), stdin=JULIET.pem_with_key)
    assert json.loads(printed(done)) == {
        "address": name, "names": ["sip:juliet@xmpp.example", "im:juliet@xmpp.example"], "serial": serial(JULIET), "not_after": END,
        "key": "RSA 2048", "problem": "", "warnings": [], "done": "add",
    }  # fmt: skip
    assert os.listdir(tmp_path / "keys") == [f"{name}.pem"]


def test_a_person_with_two_addresses_has_one_account(tmp_path: Path) -> None:
    (tmp_path / "mappings").mkdir()
    (tmp_path / "mappings" / "users.toml").write_text('[[user]]\nsip = "sip:+15551230001@ims.example.net"\nxmpp = "juliet@xmpp.example"\n')
    config = written(tmp_path, data_dir='data_dir = "var"\nmappings = "mappings"')
    config.write_text(config.read_text() + '\n[smime]\nkeys = "keys"\n')
    number = "sip:+15551230001@ims.example.net"
    printed(run("keys", "add", number, "-", config=config, stdin=JULIET.pem_with_key))
    printed(run("keys", "add", number, "-", "--replace", config=config, stdin=holder(CA, "p256", number).pem_with_key))
    assert os.listdir(tmp_path / "keys") == ["juliet@xmpp.example.pem"]
    assert printed(run("keys", "check", config=config)) == "juliet@xmpp.example: good\n"


def test_what_is_there_is_replaced_only_when_asked(tmp_path: Path) -> None:
    config, first, second = config_in(tmp_path), pem_of(tmp_path, ROMEO), pem_of(tmp_path, holder(CA, "ed25519"), "new.pem")
    kept = tmp_path / "keys" / "romeo@sip.example.pem"
    printed(run("keys", "add", "sip:romeo@sip.example", first, config=config))
    reason = said(run("keys", "add", "sip:romeo@sip.example", second, config=config), 1)
    assert reason == "romeo@sip.example has a key already; --replace takes its place"
    assert kept.read_bytes() == first.read_bytes()
    assert "Ed25519" in printed(run("keys", "add", "sip:romeo@sip.example", second, "--replace", config=config))
    assert kept.read_bytes() == second.read_bytes()
    assert os.listdir(tmp_path / "keys") == [kept.name]


def test_what_is_not_fit_is_not_added(tmp_path: Path) -> None:
    config, file = config_in(tmp_path), pem_of(tmp_path, ROMEO)
    named = "certificate: does not name juliet@xmpp.example; it names sip:romeo@sip.example, im:romeo@sip.example (SMIME-25)"
    assert said(run("keys", "add", "juliet@xmpp.example", file, config=config), 1) == f"{file}:{named}"
    past = pem_of(tmp_path, ending_in(-1), "past.pem")
    assert said(run("keys", "add", "sip:romeo@sip.example", past, config=config), 1).startswith(f"{past}:certificate: has ended at ")
    (tmp_path / "bare.pem").write_bytes(ROMEO.pem)
    reason = said(run("keys", "add", "sip:romeo@sip.example", tmp_path / "bare.pem", config=config), 1)
    assert reason.endswith("key: there must be one private key in the file, in PEM; there are 0")
    assert not (tmp_path / "keys").exists()


def test_addresses_that_nobody_here_has(tmp_path: Path) -> None:
    config, file = config_in(tmp_path), pem_of(tmp_path, ROMEO)
    for address in ("sip:romeo@nowhere.example", "sip:sip.example", "romeo", "sip:ro meo@sip.example"):
        said(run("keys", "add", address, file, config=config), 1)
    assert not (tmp_path / "keys").exists()


def test_email_addresses_count_where_the_configuration_says_so(tmp_path: Path) -> None:
    mail = pem_of(tmp_path, CA.issue("mailto:romeo@sip.example"))
    said(run("keys", "add", "sip:romeo@sip.example", mail, config=config_in(tmp_path)), 1)
    config = config_in(tmp_path, "rfc822 = true\n")
    printed(run("keys", "add", "sip:romeo@sip.example", mail, config=config))
    assert printed(run("keys", "check", config=config)) == "romeo@sip.example: good\n"


@pytest.mark.requirement("SEC-45")
def test_warnings_of_a_key_that_others_can_read_and_of_a_near_end(tmp_path: Path) -> None:
    config, file = config_in(tmp_path), pem_of(tmp_path, ending_in(3.5))
    file.chmod(0o644)
    done = run("keys", "add", "sip:romeo@sip.example", file, config=config)
    assert done.returncode == 0
    first, second = done.stderr.decode().splitlines()
    assert first == f"stoxgate: warning: {file} has the key too and is open to others (mode 644)"
    assert second.startswith("stoxgate: warning: romeo@sip.example: the certificate ends at ")
    assert second.endswith(", in 3 days")


def test_a_folder_that_others_can_read_is_not_written_to(tmp_path: Path) -> None:
    config, folder = config_in(tmp_path), tmp_path / "keys"
    folder.mkdir()
    folder.chmod(0o755)
    reason = said(run("keys", "add", "sip:romeo@sip.example", pem_of(tmp_path, ROMEO), config=config), 2)
    assert reason == f"{folder}: the folder is open to others (mode 755); chmod 700 (SEC-45)"
    assert os.listdir(folder) == []


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    config = config_in(tmp_path)
    (tmp_path / "keys").write_text("no folder")
    reason = said(run("keys", "add", "sip:romeo@sip.example", pem_of(tmp_path, ROMEO), config=config), 2)
    assert reason == f"{tmp_path / 'keys'}: is no folder"
    config.write_text(config.read_text().replace('"keys"', '"no/such/keys"'))
    reason = said(run("keys", "add", "sip:romeo@sip.example", tmp_path / "key.pem", config=config), 2)
    assert reason == f"{tmp_path / 'no/such/keys'}: cannot be written: No such file or directory"


# -- list --------------------------------------------------------------------------------------------------------------
def test_list(tmp_path: Path) -> None:
    config = config_in(tmp_path)
    assert printed(run("keys", "list", config=config)) == f"no account is hosted: there is none in {tmp_path / 'keys'}\n"
    assert json.loads(printed(run("keys", "list", "--json", config=config))) == []
    printed(run("keys", "add", "sip:romeo@sip.example", "-", config=config, stdin=ROMEO.pem_with_key))
    printed(run("keys", "add", "juliet@xmpp.example", "-", config=config, stdin=JULIET.pem_with_key))
    lines = printed(run("keys", "list", config=config)).splitlines()
    assert lines[0].split("  ")[0] == "address"
    assert [" ".join(line.split()) for line in lines[2:]] == [
        f"juliet@xmpp.example sip:juliet@xmpp.example im:juliet@xmpp.example {serial(JULIET)} {END} RSA 2048",
        f"romeo@sip.example sip:romeo@sip.example im:romeo@sip.example {serial(ROMEO)} {END} P-256",
    ]
    rows = json.loads(printed(run("keys", "list", "--json", config=config)))
    assert [row["address"] for row in rows] == ["juliet@xmpp.example", "romeo@sip.example"]
    assert rows[1] == {
        "address": "romeo@sip.example", "names": ["sip:romeo@sip.example", "im:romeo@sip.example"], "serial": serial(ROMEO),
        "not_after": END, "key": "P-256", "problem": "", "warnings": [],
    }  # fmt: skip


def test_list_says_what_is_wrong(tmp_path: Path) -> None:
    config = config_in(tmp_path)
    printed(run("keys", "add", "sip:romeo@sip.example", "-", config=config, stdin=ROMEO.pem_with_key))
    file = tmp_path / "keys" / "romeo@sip.example.pem"
    file.chmod(0o644)
    (row,) = json.loads(printed(run("keys", "list", "--json", config=config)))
    assert row["problem"] == f"{file}: the file is open to others (mode 644); chmod 600 (SEC-45)"
    assert row["key"] is None
    assert printed(run("keys", "list", config=config)).splitlines()[0].endswith("problem")


# -- check -------------------------------------------------------------------------------------------------------------
def test_check(tmp_path: Path) -> None:
    config, folder = config_in(tmp_path), tmp_path / "keys"
    reason = said(run("keys", "check", config=config), 1)
    assert reason == f"{folder}: cannot be read: No such file or directory"
    folder.mkdir(mode=0o700)
    assert printed(run("keys", "check", config=config)) == f"no account is hosted: there is none in {folder}\n"
    for name, of in (("juliet@xmpp.example", JULIET), ("romeo@sip.example", ending_in(10.5))):
        (folder / f"{name}.pem").write_bytes(of.pem_with_key)
        (folder / f"{name}.pem").chmod(0o600)
    good, warned = printed(run("keys", "check", config=config)).splitlines()
    assert good == "juliet@xmpp.example: good"
    assert warned.startswith("romeo@sip.example: the certificate ends at ")
    assert warned.endswith(", in 10 days")
    found = json.loads(printed(run("keys", "check", "--json", config=config)))
    assert (found["ok"], [row["warnings"] for row in found["accounts"]]) == (True, [[], [warned]])


@pytest.mark.requirement("SEC-45")
def test_check_fails_for_every_account_that_is_not_fit(tmp_path: Path) -> None:
    config, folder = config_in(tmp_path), tmp_path / "keys"
    folder.mkdir(mode=0o700)
    for name, of, mode in (
        ("juliet@xmpp.example", JULIET, 0o600), ("romeo@sip.example", ROMEO, 0o640), ("tomas@sip.example", ROMEO, 0o600),
        ("mira@sip.example", ending_in(-1, "sip:mira@sip.example"), 0o600),
    ):  # fmt: skip
        (folder / f"{name}.pem").write_bytes(of.pem_with_key)
        (folder / f"{name}.pem").chmod(mode)
    done = run("keys", "check", config=config)
    assert done.returncode == 1
    assert done.stdout == b"juliet@xmpp.example: good\n"
    problems = done.stderr.decode().removeprefix("stoxgate: ").rstrip("\n").split("; ")
    assert [problem.removeprefix(f"{folder}/").partition(" ")[0] for problem in problems] == [
        "mira@sip.example.pem:certificate:", "romeo@sip.example.pem:", "chmod", "tomas@sip.example.pem:certificate:", "it",
    ]  # fmt: skip
    found = run("keys", "check", "--json", config=config)
    assert found.returncode == 1
    assert json.loads(found.stdout)["ok"] is False
    folder.chmod(0o755)
    assert "open to others (mode 755)" in said(run("keys", "check", config=config), 1)


# -- the command -------------------------------------------------------------------------------------------------------
def test_without_a_folder_there_is_nothing_to_do(tmp_path: Path) -> None:
    config = written(tmp_path)
    for arguments in (("list",), ("check",), ("add", "sip:romeo@sip.example", "-")):
        reason = said(run("keys", *arguments, config=config, stdin=ROMEO.pem_with_key), 2)
        assert reason == f'{config}:smime.keys: is not set; name a folder for the keys of hosted accounts, keys = "keys"'


def test_usage(tmp_path: Path) -> None:
    config = config_in(tmp_path)
    assert "Missing argument 'ADDRESS'" in misused(run("keys", "add", config=config))
    assert "No such command" in misused(run("keys", "take", config=config))


def test_the_installed_command(tmp_path: Path) -> None:
    config, file = config_in(tmp_path), pem_of(tmp_path, ROMEO)
    assert printed(stoxgate("keys", "add", "sip:romeo@sip.example", str(file), config=config)).startswith("romeo@sip.example: P-256")
    assert printed(stoxgate("keys", "check", config=config)) == "romeo@sip.example: good\n"
