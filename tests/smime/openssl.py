"""The `openssl` command as an independent judge of what is signed, and as the maker of what it judges. Nothing of the gateway is here."""

from __future__ import annotations

import subprocess
from base64 import b64decode
from collections.abc import Iterable
from email import message_from_bytes
from email.message import Message
from functools import lru_cache
from itertools import takewhile
from pathlib import Path
from quopri import decodestring

Rows = tuple[tuple[str, str], ...]
"""MIME header fields: (name, value)."""

_KEYS = {
    "rsa": ("-newkey", "rsa:2048"),
    "ec": ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
}
_SIGNERS = {"rsa": ("rsa",), "pss": ("rsa", "-keyopt", "rsa_padding_mode:pss"), "ec": ("ec",)}


class Openssl:
    """Keys and self-signed certificates of its own, in files in `work`: of one person, an RSA one and a P-256 one.

    certificates_file: both certificates, PEM.
    """

    def __init__(self, work: Path) -> None:
        self._work = work
        work.mkdir(parents=True, exist_ok=True)
        for name, options in _KEYS.items():
            _run("req", "-x509", *options, "-nodes", "-keyout", self._key(name), "-out", self._certificate(name), *_SUBJECT)
        self.certificates_file = work / "people.pem"
        self.certificates_file.write_bytes(b"".join([Path(self._certificate(name)).read_bytes() for name in _KEYS]))
        self._judged = lru_cache(maxsize=None)(self._judge)

    def sign(self, octets: bytes, by: str, *options: str) -> bytes:
        """SignedData over exactly these octets, in DER. by: "rsa", "pss", "ec". options: "-nodetach" puts the octets inside."""
        name, *padding = _SIGNERS[by]
        return _run(
            "cms", "-sign", "-binary", "-outform", "DER", "-signer", self._certificate(name), "-inkey", self._key(name),
            *padding, *options, given=octets)  # fmt: skip

    def encrypt(self, octets: bytes, cipher: str, to: str) -> bytes:
        """EnvelopedData ("-aes128"), or AuthEnvelopedData ("-aes-128-gcm"), in DER. to: "rsa" or "ec"."""
        return _run("cms", "-encrypt", "-binary", "-outform", "DER", cipher, self._certificate(to), given=octets)

    def certificates(self) -> bytes:
        """SignedData with certificates and no signer, in DER."""
        return _run("crl2pkcs7", "-nocrl", "-certfile", self._certificate("rsa"), "-certfile", self._certificate("ec"), "-outform", "DER")

    def verified(self, headers: Rows, body: bytes) -> bytes | None:
        """What of a MIME entity is signed, as it comes out of openssl; None where openssl does not accept the signature."""
        found = _Signed.find(entity(headers, body))
        return self._judged(found.cms, found.covered) if found else None

    def _judge(self, cms: bytes, covered: bytes | None) -> bytes | None:
        options = ["-certfile", str(self.certificates_file)]
        if covered is not None:
            (self._work / "covered").write_bytes(covered)
            options += ["-content", str(self._work / "covered")]
        said = subprocess.run(
            ["openssl", "cms", "-verify", "-binary", "-noverify", "-inform", "DER", *options], input=cms, capture_output=True, check=False
        )
        return said.stdout if said.returncode == 0 else None

    def _key(self, name: str) -> str:
        return str(self._work / f"{name}.key")

    def _certificate(self, name: str) -> str:
        return str(self._work / f"{name}.pem")


AUTHOR = "sip:s0@stoxgate.test"
_SUBJECT = ("-subj", "/CN=romeo", "-days", "2", "-addext", f"subjectAltName=URI:{AUTHOR}")


def _run(*arguments: str, given: bytes = b"") -> bytes:
    done = subprocess.run(["openssl", *arguments], input=given, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def entity(headers: Iterable[tuple[str, str]], body: bytes) -> bytes:
    """The MIME entity of these header fields and this body."""
    return "".join(f"{name}: {value}\r\n" for name, value in headers).encode() + b"\r\n" + body


def fields_of(headers: Rows) -> dict[str, object]:
    """What MIME header fields say, however they are written: values without folds, quotes and case that has no meaning."""
    read = {name.lower(): _parameters(name.lower(), value) for name, value in headers}
    return {name: said for name, said in read.items() if name == "mime-version" or name.startswith("content-")}


@lru_cache(maxsize=512)
def _parameters(name: str, value: str) -> object:
    """What `email` reads in the value of a field."""
    if name not in ("content-type", "content-disposition"):
        return value.strip().lower()
    read = message_from_bytes(entity(((name, value),), b""))
    [(first, _), *params] = read.get_params(failobj=[("", "")], header=name)
    return {"": first.lower(), **{key.lower(): given for key, given in params}}


class _Signed:
    """What stands where in a signed MIME entity, found by its octets (RFC 1847 section 2.1). covered: None where it is inside the CMS."""

    def __init__(self, cms: bytes, covered: bytes | None) -> None:
        self.cms, self.covered = cms, covered

    @staticmethod
    def find(octets: bytes) -> _Signed | None:
        head, _, body = octets.partition(b"\r\n\r\n")
        read = message_from_bytes(head + b"\r\n\r\n")
        kind = read.get_content_type()
        if kind in ("application/pkcs7-mime", "application/x-pkcs7-mime"):
            return _Signed(decoded(read, body), None)
        if kind == "message/cpim":
            return _Signed.find(body.partition(b"\r\n\r\n")[2])
        if kind != "multipart/signed":
            return None
        delimiter = b"\r\n--" + str(read.get_param("boundary")).encode()
        found = (b"\r\n" + body).split(delimiter)[1:]
        parts = list(takewhile(lambda part: not part.startswith(b"--"), found))
        if len(parts) != 2 or len(found) == 2:
            return None
        covered, signature = (part.partition(b"\r\n")[2] for part in parts)
        inner_head, _, content = signature.partition(b"\r\n\r\n")
        return _Signed(decoded(message_from_bytes(inner_head + b"\r\n\r\n"), content), covered)


def decoded(read: Message, body: bytes) -> bytes:
    """A body without its transfer encoding."""
    encoding = str(read.get("Content-Transfer-Encoding", "")).strip().lower()
    if encoding == "base64":
        return b64decode(body)
    return decodestring(body) if encoding == "quoted-printable" else body
