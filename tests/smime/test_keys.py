"""The folder of hosted accounts: who is in it, what is refused, and that no secret comes out of it."""

from __future__ import annotations

import base64
import datetime
import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.address import Address, SipAddress
from gateway.core.errors import ConfigFault, SyntaxFault
from gateway.core.jid import Jid
from gateway.smime.decryption import decrypted
from gateway.smime.encryption import auth_enveloped_data
from gateway.smime.fitness import account_name, is_name_of
from gateway.smime.keys import Accounts, check_account, file_of, parse_account, read_account, warnings_of, write_account

from .authority import AGREES, CLIENT_USE, ENCIPHERS, NOW, TEXT, Authority, Holder, key
from .hosted import KINDS, ROMEO, account, certificate, holder

CA = Authority("Keys")
DAY = 86_400


def folder_with(tmp_path: Path, **files: bytes) -> Path:
    """The folder of accounts with these files, by address (with _at_ for @)."""
    folder = tmp_path / "keys"
    folder.mkdir(mode=0o700)
    for name, octets in files.items():
        file_of(folder, name.replace("_at_", "@")).write_bytes(octets)
        file_of(folder, name.replace("_at_", "@")).chmod(0o600)
    return folder


def at(posix: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(posix, datetime.UTC)


def fault(file: Path | str, of: Holder | bytes, now: float = NOW) -> str:
    octets = of.pem_with_key if isinstance(of, Holder) else of
    with pytest.raises(ConfigFault) as caught:
        check_account(str(file), parse_account(str(file), "romeo@sip.example", octets), now)
    assert str(caught.value).startswith(f"{file}:")
    return str(caught.value).removeprefix(f"{file}:")


# -- who is found ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", KINDS)
def test_accounts_are_found_by_their_home_address(tmp_path: Path, kind: str) -> None:
    names = ("sip:o'malley@sip.example",)
    folder = folder_with(
        tmp_path,
        **{
            "romeo_at_sip.example": holder(CA, kind).pem_with_key,
            "o'malley_at_sip.example": holder(CA, kind, *names).pem_with_key,
            "o\\27malley_at_xmpp.example": holder(CA, kind, "im:o%27malley@xmpp.example").pem_with_key,
        },
    )
    accounts = Accounts.load(folder)
    assert len(accounts) == 3
    assert [each.address for each in accounts] == ["o'malley@sip.example", r"o\27malley@xmpp.example", "romeo@sip.example"]
    for home, address in (
        (SipAddress("Romeo", "sip.example"), "romeo@sip.example"),
        (SipAddress("o'malley", "sip.example"), "o'malley@sip.example"),
        (Jid(r"o\27malley", "xmpp.example", "phone"), r"o\27malley@xmpp.example"),
    ):
        found = accounts.account_of(home)
        assert found
        assert found.address == address
    assert accounts.account_of(SipAddress("mira", "sip.example")) is None
    assert accounts.account_of(Jid("romeo", "xmpp.example")) is None


def test_no_account_at_all(tmp_path: Path) -> None:
    assert len(Accounts.load(folder_with(tmp_path))) == 0
    assert Accounts().account_of(SipAddress("romeo", "sip.example")) is None


def test_what_is_no_account_is_not_read(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, **{"romeo_at_sip.example": holder(CA).pem_with_key})
    (folder / "README").write_text("")
    (folder / ".half-written.new").write_text("")
    assert [each.address for each in Accounts.load(folder)] == ["romeo@sip.example"]


@pytest.mark.parametrize("name", ["romeo.pem", "romeo%40sip.example.pem", "ROMEO%2E@x.pem", ".romeo@sip.example.pem"])
def test_a_file_that_is_called_otherwise_is_refused(tmp_path: Path, name: str) -> None:
    folder = folder_with(tmp_path)
    (folder / name).write_bytes(holder(CA).pem_with_key)
    with pytest.raises(ConfigFault, match="is not that of an account"):
        Accounts.load(folder)


@pytest.mark.requirement("SEC-45")
@given(st.text(min_size=1, max_size=60))
def test_no_address_leaves_the_folder(user: str) -> None:
    folder = Path("/keys")
    try:
        file = file_of(folder, f"{user}@sip.example")
    except (ConfigFault, UnicodeEncodeError):
        return
    assert file.parent == folder
    assert not file.name.startswith(".")
    assert os.fsencode(file.name).isascii()
    assert "/" not in file.name
    assert "\0" not in file.name


def test_two_addresses_are_two_files() -> None:
    names = ["a@x.example", "A@x.example", "%61@x.example", "../a@x.example", "..%2Fa@x.example", ".a@x.example", "%2Ea@x.example"]
    assert len({file_of(Path("keys"), name) for name in names}) == len(names)


def test_an_address_that_is_too_long() -> None:
    with pytest.raises(ConfigFault, match="too long"):
        file_of(Path("keys"), "x" * 250 + "@sip.example")


def test_the_name_of_an_account_is_the_normal_form() -> None:
    assert account_name(SipAddress("Romeo", "sip.example")) == "romeo@sip.example"
    assert account_name(Jid("juliet", "xmpp.example", "phone")) == "juliet@xmpp.example"


# -- modes and owners --------------------------------------------------------------------------------------------------
@pytest.mark.requirement("SEC-45")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620, 0o666, 0o610])
def test_a_file_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    folder = folder_with(tmp_path, **{"romeo_at_sip.example": holder(CA).pem_with_key})
    file = folder / "romeo@sip.example.pem"
    file.chmod(mode)
    with pytest.raises(ConfigFault) as caught:
        Accounts.load(folder)
    assert str(caught.value) == f"{file}: the file is open to others (mode {mode:03o}); chmod 600 (SEC-45)"


@pytest.mark.requirement("SEC-45")
@pytest.mark.parametrize("mode", [0o750, 0o705, 0o755, 0o710])
def test_a_folder_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    folder = folder_with(tmp_path)
    folder.chmod(mode)
    with pytest.raises(ConfigFault) as caught:
        Accounts.load(folder)
    assert str(caught.value) == f"{folder}: the folder is open to others (mode {mode:03o}); chmod 700 (SEC-45)"
    with pytest.raises(ConfigFault, match="open to others"):
        write_account(folder, "romeo@sip.example", b"", replace=False)


@pytest.mark.requirement("SEC-45")
def test_what_belongs_to_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = folder_with(tmp_path, **{"romeo_at_sip.example": holder(CA).pem_with_key})
    monkeypatch.setattr("gateway.smime.keys.os.geteuid", lambda: os.getuid() + 1)
    with pytest.raises(ConfigFault, match="the folder belongs to another user"):
        Accounts.load(folder)
    with pytest.raises(ConfigFault, match="the file belongs to another user"):
        read_account(folder / "romeo@sip.example.pem")


def test_what_is_no_file(tmp_path: Path) -> None:
    folder = folder_with(tmp_path)
    (tmp_path / "key.pem").write_bytes(holder(CA).pem_with_key)
    (tmp_path / "key.pem").chmod(0o600)
    (folder / "romeo@sip.example.pem").symlink_to(tmp_path / "key.pem")
    os.mkfifo(folder / "mira@sip.example.pem", 0o600)
    with pytest.raises(ConfigFault, match="is a symbolic link"):
        read_account(folder / "romeo@sip.example.pem")
    with pytest.raises(ConfigFault, match="is no regular file"):
        read_account(folder / "mira@sip.example.pem")
    with pytest.raises(ConfigFault, match="cannot be read: No such file or directory"):
        read_account(folder / "tomas@sip.example.pem")
    with pytest.raises(ConfigFault, match="cannot be read: No such file or directory"):
        Accounts.load(tmp_path / "nowhere")


# -- what is in a file -------------------------------------------------------------------------------------------------
def test_the_order_in_a_file_is_free() -> None:
    between = Authority("Between the keys", issuer=CA)
    romeo = holder(between)
    above = between.pem + CA.pem
    for octets in (romeo.key_pem + romeo.pem + above, above + romeo.pem + romeo.key_pem, b"by hand:\r\n" + above + romeo.pem_with_key):
        found = parse_account("f", "romeo@sip.example", octets)
        assert found.certificate == certificate(romeo)
        assert [each.names for each in found.chain] == [(), ()]
        assert len(found.chain) == 2


@pytest.mark.parametrize(("kind", "form"), [("rsa2048", PrivateFormat.TraditionalOpenSSL), ("p256", PrivateFormat.TraditionalOpenSSL)])
def test_older_forms_of_keys(kind: str, form: PrivateFormat) -> None:
    romeo = holder(CA, kind)
    octets = romeo.key.private_bytes(Encoding.PEM, form, NoEncryption()) + romeo.pem
    found = parse_account("f", "romeo@sip.example", octets)
    assert decrypted(auth_enveloped_data(TEXT, [found.certificate]), found) == TEXT


def test_what_a_file_must_hold() -> None:
    romeo, other = holder(CA), holder(CA, number=9)
    assert fault("f", b"") == "key: there must be one private key in the file, in PEM; there are 0"
    assert fault("f", romeo.pem) == "key: there must be one private key in the file, in PEM; there are 0"
    assert fault("f", romeo.key_pem * 2 + romeo.pem) == "key: there must be one private key in the file, in PEM; there are 2"
    assert fault("f", romeo.key_pem) == "certificate: there must be 1 to 20 certificates in the file; there are 0"
    assert fault("f", romeo.key_pem + romeo.pem * 21) == "certificate: there must be 1 to 20 certificates in the file; there are 21"
    assert fault("f", romeo.key_pem + other.pem) == "certificate: the private key fits no certificate in the file"
    assert fault("f", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n" + romeo.pem) == "key: cannot be read"
    assert fault("f", romeo.key_pem + b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n") == "certificate: cannot be read"
    assert fault("f", b"\n" * 65_537) == " is longer than 65536 octets"


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_an_encrypted_key(form: PrivateFormat) -> None:
    romeo = holder(CA, "rsa2048")
    octets = romeo.key.private_bytes(Encoding.PEM, form, BestAvailableEncryption(b"made-up")) + romeo.pem
    assert fault("f", octets).startswith("key: is encrypted, and there is nobody to ask for a passphrase")


@pytest.mark.requirement("SMIME-28")
@pytest.mark.parametrize("kind", ["rsa1024", "p384", "p521"])
def test_keys_that_are_not_taken(kind: str) -> None:
    assert fault("f", CA.issue(*ROMEO, kind=kind)) == "key: must be P-256, Ed25519, or RSA of 2048 to 8192 bits (SMIME-28)"


@pytest.mark.requirement("SMIME-28")
def test_what_a_certificate_must_be_for() -> None:
    assert "is not for signing: its key usage is not" in fault("f", CA.issue(*ROMEO, kind="rsa2048", usages=ENCIPHERS))
    assert "is not for signing: its key usage is not" in fault("f", CA.issue(*ROMEO, usages=AGREES))
    assert "its extended key usage is not emailProtection" in fault("f", CA.issue(*ROMEO, uses=(CLIENT_USE,)))
    check_account("f", account(CA.issue(*ROMEO, usages=None, uses=None)), NOW)
    check_account("f", account(CA.issue(*ROMEO, usages=("content_commitment",))), NOW)


@pytest.mark.requirement("SMIME-25")
def test_whom_a_certificate_must_name() -> None:
    reason = "certificate: does not name romeo@sip.example; it names"
    assert fault("f", CA.issue("sip:tomas@sip.example")) == f"{reason} sip:tomas@sip.example (SMIME-25)"
    assert fault("f", CA.issue()) == f"{reason} nobody (SMIME-25)"
    assert fault("f", CA.issue("dns:sip.example", "sip:sip.example")) == f"{reason} dns:sip.example, sip:sip.example (SMIME-25)"
    mail = CA.issue("mailto:romeo@sip.example")
    assert fault("f", mail) == f"{reason} mailto:romeo@sip.example (SMIME-25)"
    check_account("f", account(mail), NOW, rfc822=True)


@pytest.mark.requirement("SMIME-25")
@pytest.mark.parametrize(
    ("name", "address", "is_his"),
    [
        ("sip:romeo@sip.example", "romeo@sip.example", True),
        ("sips:Romeo@SIP.example:5061;transport=tcp", "romeo@sip.example", True),
        ("SIP:romeo@sip.example?Subject=x", "romeo@sip.example", True),
        ("im:romeo@sip.example", "romeo@sip.example", True),
        ("xmpp:romeo@sip.example", "romeo@sip.example", True),
        ("sip:o'malley@xmpp.example", r"o\27malley@xmpp.example", True),
        ("xmpp:o%5C27malley@sip.example", "o'malley@sip.example", True),
        ("im:b%C3%BCro@xn--bcher-kva.example", "büro@bücher.example", True),
        ("pres:romeo@sip.example", "romeo@sip.example", False),
        ("mailto:romeo@sip.example", "romeo@sip.example", False),
        ("dns:sip.example", "romeo@sip.example", False),
        ("sip:sip.example", "romeo@sip.example", False),
        ("sip:romeo@other.example", "romeo@sip.example", False),
        ("sip:romeo%00@sip.example", "romeo@sip.example", False),
        ("sip:", "romeo@sip.example", False),
        ("", "romeo@sip.example", False),
    ],
)
def test_names(name: str, address: str, is_his: bool) -> None:
    assert is_name_of(name, address) is is_his


@pytest.mark.requirement("SMIME-25")
def test_names_that_are_mapped_to_the_same_person() -> None:
    def home_of(text: str) -> Jid | None:
        if text == "tel:+1":
            raise SyntaxFault("Bad number")
        return Jid("alice", "xmpp.example") if text == "sip:+15551230001@ims.example.net" else None

    assert is_name_of("sip:+15551230001@ims.example.net", "alice@xmpp.example", home_of)
    for name in ("sip:+15551230002@ims.example.net", "tel:+1"):
        assert not is_name_of(name, "alice@xmpp.example", home_of)
    assert not is_name_of("sip:+15551230001@ims.example.net", "alice@xmpp.example")
    assert not is_name_of("sip:+15551230001@ims.example.net", "bob@xmpp.example", home_of)
    assert is_name_of("mailto:+15551230001@ims.example.net", "alice@xmpp.example", home_of, rfc822=True)


def test_when_a_certificate_is_good() -> None:
    romeo = holder(CA, "p256", not_before=at(NOW - DAY), not_after=at(NOW + 60 * DAY))
    check_account("f", account(romeo), NOW)
    assert fault("f", romeo, NOW - 2 * DAY) == "certificate: begins only at 2026-01-01T03:04:05Z"
    assert fault("f", romeo, NOW + 61 * DAY) == "certificate: has ended at 2026-03-03T03:04:05Z"


def test_a_certificate_that_ends_soon_is_warned_of() -> None:
    romeo = account(holder(CA, "p256", not_after=at(NOW + 60 * DAY)))
    assert warnings_of(romeo, NOW + 29 * DAY) == ()
    soon = "romeo@sip.example: the certificate ends at 2026-03-03T03:04:05Z, in"
    assert warnings_of(romeo, NOW + 30 * DAY) == (f"{soon} 30 days",)
    assert warnings_of(romeo, NOW + 60 * DAY) == (f"{soon} 0 days",)


def test_a_certificate_whose_time_is_not_now_stops_nobody_and_is_warned_of(tmp_path: Path) -> None:
    ended = holder(CA, "p256", not_before=at(NOW - 2 * DAY), not_after=at(NOW - DAY))
    (romeo,) = Accounts.load(folder_with(tmp_path, **{"romeo_at_sip.example": ended.pem_with_key}))
    assert warnings_of(romeo, NOW) == ("romeo@sip.example: the certificate has ended at 2026-01-01T03:04:05Z",)
    assert warnings_of(romeo, NOW - 3 * DAY) == ("romeo@sip.example: the certificate begins only at 2025-12-31T03:04:05Z",)


def test_a_certificate_that_is_for_somebody_else_stops_the_gateway(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, **{"tomas_at_sip.example": holder(CA).pem_with_key})
    with pytest.raises(ConfigFault, match=r"does not name tomas@sip\.example"):
        Accounts.load(folder)


# -- secrets -----------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("SEC-45")
@pytest.mark.parametrize("kind", KINDS)
def test_no_secret_is_in_any_representation(kind: str) -> None:
    romeo = holder(CA, kind)
    hosted = account(romeo)
    assert hosted.blind
    for text in (repr(hosted), str(hosted), repr(Accounts([hosted])), repr({hosted.address: hosted})):
        assert "PrivateKey" not in text

        assert hosted.blind.hex() not in text
        assert repr(hosted.blind) not in text


@pytest.mark.requirement("SEC-45")
def test_no_secret_is_in_an_error() -> None:
    romeo, other = holder(CA), holder(CA, number=9)
    lines = romeo.key_pem.decode().split("\n")[1:-2]
    broken = romeo.key_pem.replace(b"M", b"N", 1)
    for octets in (romeo.key_pem, romeo.key_pem + other.pem, broken + romeo.pem, romeo.key_pem * 2):
        with pytest.raises(ConfigFault) as caught:
            parse_account("f", "romeo@sip.example", octets)
        assert not any(line in str(caught.value) for line in lines)
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_a_key_that_is_wrong_in_itself() -> None:
    """Two primes that are none of this modulus: the library refuses it, and says no more than that."""
    numbers = key("rsa2048")
    assert isinstance(numbers, rsa.RSAPrivateKey)
    octets = bytearray(numbers.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))
    octets[700] ^= 1
    pem = b"-----BEGIN PRIVATE KEY-----\n" + base64.encodebytes(bytes(octets)) + b"-----END PRIVATE KEY-----\n"
    assert fault("f", pem + holder(CA, "rsa2048").pem) == "key: cannot be read"


# -- writing -----------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("SEC-45")
def test_writing(tmp_path: Path) -> None:
    folder, old = tmp_path / "keys", os.umask(0)
    try:
        file = write_account(folder, "romeo@sip.example", holder(CA).pem_with_key, replace=False)
    finally:
        os.umask(old)
    assert file == folder / "romeo@sip.example.pem"
    assert (folder.stat().st_mode & 0o777, file.stat().st_mode & 0o777) == (0o700, 0o600)
    assert [each.address for each in Accounts.load(folder)] == ["romeo@sip.example"]
    with pytest.raises(FileExistsError):
        write_account(folder, "romeo@sip.example", b"other", replace=False)
    assert file.read_bytes() == holder_octets(file)
    write_account(folder, "romeo@sip.example", b"other", replace=True)
    assert file.read_bytes() == b"other"
    assert file.stat().st_mode & 0o777 == 0o600
    assert sorted(os.listdir(folder)) == ["romeo@sip.example.pem"]


def holder_octets(file: Path) -> bytes:
    octets = file.read_bytes()
    assert octets.startswith(b"-----BEGIN PRIVATE KEY-----")
    return octets


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gateway.smime.keys.os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_account(tmp_path / "keys", "romeo@sip.example", b"x", replace=True)
    assert os.listdir(tmp_path / "keys") == []


@pytest.mark.parametrize("name", ["Juliet@xmpp.example", "juliet@nowhere.example"])
def test_an_account_that_nobody_here_would_be_found_under_stops_the_gateway(tmp_path: Path, name: str) -> None:
    juliet = holder(CA, "p256", "im:juliet@xmpp.example", "im:juliet@nowhere.example")
    folder = folder_with(tmp_path, **{name.replace("@", "_at_"): juliet.pem_with_key})

    def home_of(text: str) -> Address | None:
        return Jid("juliet", "xmpp.example") if text.endswith("xmpp.example") else None

    with pytest.raises(ConfigFault, match="is no home address of anybody served here"):
        Accounts.load(folder, home_of)
