"""The hosted accounts: people for whom the gateway signs and decrypts, each with a private key and a certificate in a file of its own.

    keys/                            chmod 700, of the user that runs the gateway
    keys/juliet@xmpp.example.pem     chmod 600: private key (not encrypted), certificate, the certificates above it if there are any

The name of a file is the home address, percent-encoded where a file name could not hold it. What is wrong with a file is a ConfigFault; it
never says anything of what is in a key.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from tempfile import mkstemp
from urllib.parse import quote, unquote

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from gateway.core.address import Address
from gateway.core.dates import format_rfc3339
from gateway.core.errors import ConfigFault, Refusal, SyntaxFault

from .asn1 import CmsFault
from .certificates import UNREADABLE, Certificate, digest_of
from .fitness import account_name, is_name_of
from .identity import HomeOf
from .signatures import MOST_RSA_BITS, STRONG_RSA_BITS

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
SUFFIX = ".pem"
NEARLY_SECONDS = 30 * 86_400
"""A certificate that ends within this time is warned of."""

_MOST_OCTETS = 65_536
_MOST_CERTIFICATES = 20
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,40})-----[^-]+-----END \1-----")
_KEY_KINDS = (b"PRIVATE KEY", b"RSA PRIVATE KEY", b"EC PRIVATE KEY")


@dataclass(frozen=True)
class Account:
    """Somebody whose key is here.

    address: the home address in normal form. chain: the certificates above his own, nearest first, which are not sent. The key is in no
    representation of this.
    """

    address: str
    key: PrivateKey = field(repr=False)
    certificate: Certificate
    chain: tuple[Certificate, ...] = ()

    @property
    def kind(self) -> str:
        """The kind of key: "RSA 2048", "P-256", "Ed25519"."""
        if isinstance(self.key, rsa.RSAPrivateKey):
            return f"RSA {self.key.key_size}"
        return "Ed25519" if isinstance(self.key, ed25519.Ed25519PrivateKey) else "P-256"

    @cached_property
    def blind(self) -> bytes:
        """A secret of this account alone, for answers that depend on its key and tell nothing of it."""
        return sha256(b"blind" + self.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())).digest()


class Accounts:
    """The accounts of a folder."""

    def __init__(self, accounts: Iterable[Account] = ()) -> None:
        self._by_address = {account.address: account for account in accounts}

    @staticmethod
    def load(folder: Path, home_of: HomeOf | None = None, *, rfc822: bool = False) -> Accounts:
        """Read all of them; home_of, rfc822: as in `check_account`.

        Raises ConfigFault for a folder or a file that others can read, and for every account that is not fit. A certificate that has ended
        is only warned of: a gateway that does not start would be worse for everybody else.
        """
        found = [(path, read_account(path)) for path in account_files(folder)]
        for path, account in found:
            check_use(str(path), account, home_of, rfc822=rfc822)
        return Accounts([account for _, account in found])

    def account_of(self, home: Address) -> Account | None:
        """The account of a home address, on whatever device; None for who is not hosted here."""
        return self._by_address.get(account_name(home))

    def __iter__(self) -> Iterator[Account]:
        return iter(self._by_address.values())

    def __len__(self) -> int:
        return len(self._by_address)


def file_of(folder: Path, address: str) -> Path:
    """The file of an account, always right in the folder. Raises ConfigFault for an address that is too long for a file name.

    >>> file_of(Path("keys"), "../../o'malley@sip.example").name
    '%2E.%2F..%2Fo%27malley@sip.example.pem'
    """
    name = quote(address, safe="@+=,~")
    name = f"%2E{name[1:]}" if name.startswith(".") else name
    if len(name) > 240:
        raise ConfigFault(str(folder), "address", "is too long for the name of a file")
    return folder / (name + SUFFIX)


# -- reading -----------------------------------------------------------------------------------------------------------
def account_files(folder: Path) -> tuple[Path, ...]:
    """The files of all accounts, in order. Raises ConfigFault for a folder that cannot be read or that others can."""
    try:
        _refuse_open(str(folder), folder.stat(), "folder", 0o700)
        return tuple(sorted(path for path in folder.iterdir() if path.name.endswith(SUFFIX)))
    except OSError as error:
        raise ConfigFault(str(folder), "", f"cannot be read: {error.strerror}") from None


def read_account(path: Path) -> Account:
    """Read one account, without the checks of `check_account`. Raises ConfigFault."""
    return parse_account(str(path), address_in(path), _private_octets(path))


def address_in(path: Path) -> str:
    """The address that the name of a file stands for. Raises ConfigFault for a file that `file_of` would call otherwise."""
    address = unquote(path.name.removesuffix(SUFFIX))
    if "@" not in address or file_of(path.parent, address) != path:
        raise ConfigFault(str(path), "address", "the name of the file is not that of an account; write it with stoxgate keys add")
    return address


def _private_octets(path: Path) -> bytes:
    try:
        opened = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(opened, "rb") as file:
            found = os.fstat(opened)
            if not stat.S_ISREG(found.st_mode):
                raise ConfigFault(str(path), "", "is no regular file")
            _refuse_open(str(path), found, "file", 0o600)
            return file.read(_MOST_OCTETS + 1)
    except OSError as error:
        reason = "is a symbolic link" if error.errno == errno.ELOOP else f"cannot be read: {error.strerror}"
        raise ConfigFault(str(path), "", reason) from None


def _refuse_open(name: str, found: os.stat_result, kind: str, mode: int) -> None:
    if found.st_mode & _OTHERS:
        raise ConfigFault(name, "", f"the {kind} is open to others (mode {found.st_mode & 0o777:03o}); chmod {mode:o} (SEC-45)")
    if found.st_uid != os.geteuid():
        raise ConfigFault(name, "", f"the {kind} belongs to another user than the one that runs this (SEC-45)")


def parse_account(file: str, address: str, octets: bytes) -> Account:
    """The account in the PEM of a private key and certificates, in any order; his own certificate is the one that the key fits.

    Raises ConfigFault.
    """
    if len(octets) > _MOST_OCTETS:
        raise ConfigFault(file, "", f"is longer than {_MOST_OCTETS} octets")
    blocks = [(found[1], found[0]) for found in _BLOCK.finditer(octets)]
    key = _private_key(file, octets, [block for kind, block in blocks if kind in _KEY_KINDS])
    certificates = _certificates(file, [block for kind, block in blocks if kind == b"CERTIFICATE"])
    mine = digest_of(key.public_key())
    own = [each for each in certificates if each.key_digest == mine]
    if not own:
        raise ConfigFault(file, "certificate", "the private key fits no certificate in the file")
    return Account(address, key, own[0], tuple(each for each in certificates if each is not own[0]))


def _private_key(file: str, octets: bytes, blocks: list[bytes]) -> PrivateKey:
    if b"ENCRYPTED" in octets:
        raise ConfigFault(file, "key", "is encrypted, and there is nobody to ask for a passphrase; write it with openssl pkey")
    if len(blocks) != 1:
        raise ConfigFault(file, "key", f"there must be one private key in the file, in PEM; there are {len(blocks)}")
    try:
        key = load_pem_private_key(blocks[0], None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ConfigFault(file, "key", "cannot be read") from None
    if isinstance(key, rsa.RSAPrivateKey) and STRONG_RSA_BITS <= key.key_size <= MOST_RSA_BITS:
        return key
    if isinstance(key, ed25519.Ed25519PrivateKey) or (isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name == "secp256r1"):
        return key
    raise ConfigFault(file, "key", f"must be P-256, Ed25519, or RSA of {STRONG_RSA_BITS} to {MOST_RSA_BITS} bits (SMIME-28)")


def _certificates(file: str, blocks: list[bytes]) -> list[Certificate]:
    if not 0 < len(blocks) <= _MOST_CERTIFICATES:
        raise ConfigFault(file, "certificate", f"there must be 1 to {_MOST_CERTIFICATES} certificates in the file; there are {len(blocks)}")
    try:
        return [Certificate.of(x509.load_pem_x509_certificate(block)) for block in blocks]
    except (CmsFault, *UNREADABLE):
        raise ConfigFault(file, "certificate", "cannot be read") from None


# -- checking ----------------------------------------------------------------------------------------------------------
def check_account(file: str, account: Account, now: float, home_of: HomeOf | None = None, *, rfc822: bool = False) -> None:
    """Refuse a certificate that the other side would not take, for its time too. Raises ConfigFault.

    now: POSIX seconds. home_of, rfc822: whether a name in it is that of the account, as in `fitness.is_name_of`.
    """
    if fault := _time_fault(account, now):
        raise ConfigFault(file, "certificate", fault)
    check_use(file, account, home_of, rfc822=rfc822)


def check_use(file: str, account: Account, home_of: HomeOf | None = None, *, rfc822: bool = False) -> None:
    """Refuse a certificate that is not for signing, or for somebody else (SMIME-25, SMIME-28), and an account that nobody here has.

    Arguments and errors as `check_account`.
    """
    certificate = account.certificate
    if home_of is not None and not _is_home(account.address, home_of):
        reason = f"{account.address}, as it is written, is no home address of anybody served here; `stoxgate keys add` names files"
        raise ConfigFault(file, "", reason)
    if certificate.not_for_signing:
        raise ConfigFault(file, "certificate", f"is not for signing: {certificate.not_for_signing} (SMIME-28)")
    if not any(is_name_of(name, account.address, home_of, rfc822=rfc822) for name in certificate.names):
        named = ", ".join(certificate.names) or "nobody"
        raise ConfigFault(file, "certificate", f"does not name {account.address}; it names {named} (SMIME-25)")


def _is_home(address: str, home_of: HomeOf) -> bool:
    for text in (f"sip:{address}", address):
        with suppress(Refusal, SyntaxFault):
            home = home_of(text)
            if home is not None and account_name(home) == address:
                return True
    return False


def _time_fault(account: Account, now: float) -> str:
    certificate = account.certificate
    if now > certificate.until:
        return f"has ended at {format_rfc3339(int(certificate.until))}"
    return f"begins only at {format_rfc3339(int(certificate.since))}" if now < certificate.since else ""


def warnings_of(account: Account, now: float) -> tuple[str, ...]:
    """What the owner of an account should know of it; now: POSIX seconds."""
    end = account.certificate.until
    fault, left = _time_fault(account, now), end - now
    if not fault and left > NEARLY_SECONDS:
        return ()
    return (f"{account.address}: the certificate {fault or f'ends at {format_rfc3339(int(end))}, in {int(left // 86_400)} days'}",)


# -- writing -----------------------------------------------------------------------------------------------------------
def write_account(folder: Path, address: str, octets: bytes, *, replace: bool) -> Path:
    """Put these octets, all of them or none, into the file of an account, for nobody else to read; the folder is made.

    Raises ConfigFault, FileExistsError for an account that is there already unless it is to be replaced, OSError.
    """
    path = file_of(folder, address)
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except FileExistsError:
        raise ConfigFault(str(folder), "", "is no folder") from None
    _refuse_open(str(folder), folder.stat(), "folder", 0o700)
    # Nobody else can read it, whatever the umask.
    opened, draft = mkstemp(".new", ".", folder)
    try:
        with os.fdopen(opened, "wb") as file:
            file.write(octets)
            file.flush()
            os.fsync(opened)
        # Unlike a rename, a link never takes the place of a file.
        (os.replace if replace else os.link)(draft, path)
    finally:
        Path(draft).unlink(missing_ok=True)
    _keep_names(folder)
    return path


def _keep_names(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
