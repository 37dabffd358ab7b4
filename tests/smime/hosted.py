"""Hosted accounts made in a test."""

from __future__ import annotations

import datetime
import tempfile
from functools import cache
from pathlib import Path

from gateway.smime.certificates import Certificate
from gateway.smime.keys import Account, parse_account

from .authority import AGREES, ENCIPHERS, FROM, SIGNS, UNTIL, Authority, Holder, openssl

KINDS = ("p256", "rsa2048", "ed25519")
ROMEO = ("sip:romeo@sip.example", "im:romeo@sip.example")
_USAGES = {"p256": (*SIGNS, *AGREES), "rsa2048": (*SIGNS, *ENCIPHERS), "ed25519": SIGNS}


def holder(
    authority: Authority,
    kind: str = "p256",
    *names: str,
    not_before: datetime.datetime = FROM,
    not_after: datetime.datetime = UNTIL,
    number: int = 0,
) -> Holder:
    """Somebody who may sign and, where his key can, be encrypted for: romeo unless other names are given."""
    return authority.issue(*(names or ROMEO), kind=kind, usages=_USAGES[kind], not_before=not_before, not_after=not_after, number=number)


@cache
def account(of: Holder, address: str = "romeo@sip.example") -> Account:
    """His account here."""
    return parse_account("test.pem", address, of.pem_with_key)


def certificate(of: Holder) -> Certificate:
    """His certificate, as the gateway has it."""
    return Certificate.of(of.certificate)


def openssl_encrypt(to: Holder, content: bytes, cipher: str, *options: str, recipient_options: tuple[str, ...] = ()) -> bytes:
    """The DER (or BER) of what OpenSSL encrypts for somebody. cipher: "aes-128-gcm", "aes-256-cbc", "des3" ..."""
    with tempfile.TemporaryDirectory() as folder:
        certificate = Path(folder, "recipient.pem")
        certificate.write_bytes(to.pem)
        arguments = ("-recip", str(certificate), *recipient_options)
        return openssl("cms", "-encrypt", "-binary", "-outform", "DER", f"-{cipher}", *options, *arguments, given=content)


def openssl_decrypt(by: Holder, blob: bytes) -> bytes:
    """The content that OpenSSL finds in it. Raises CalledProcessError where it cannot."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "recipient.pem")
        file.write_bytes(by.pem_with_key)
        return openssl("cms", "-decrypt", "-binary", "-inform", "DER", "-recip", file, "-inkey", file, given=blob)
