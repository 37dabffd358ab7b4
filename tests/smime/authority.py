"""Authorities, people with certificates, and what they sign: made anew in every test run, so that nothing here ever runs out.

    ca = Authority("Root")
    romeo = ca.issue("sip:romeo@sip.example", "im:romeo@sip.example")        # P-256 unless another kind is asked for
    blob = sign(romeo, b"...")                                               # a detached signature, built here
    blob = openssl_sign(romeo, b"...", pss=True)                             # the same by the other implementation
    entity = clear_signed(covered, blob)                                     # multipart/signed around it
    assert openssl_verify(ca, blob, b"...") == b"..."

Names of certificates are written as verdicts write them: "sip:", "im:", "pres:", "tel:" (a URI), "mailto:" (rfc822Name), "dns:" (dNSName)
and "xmpp:" (otherName id-on-xmppAddr). Keys are made once for a run: what is the same in (kind, number) is the same key.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

from asn1crypto import algos, cms, core
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from gateway.core.mime import Entity

NOW = 1_767_323_045.0
"""2026-01-02T03:04:05Z: the time of tests that choose one. The certificates are good from 2020 to 2049."""
FROM, UNTIL = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC), datetime.datetime(2049, 1, 1, tzinfo=datetime.UTC)
XMPP_ADDRESS = "1.3.6.1.5.5.7.8.5"
PROTECTION, ANY_USE = ExtendedKeyUsageOID.EMAIL_PROTECTION, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE
CLIENT_USE = ExtendedKeyUsageOID.CLIENT_AUTH
NAMED_USAGES = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "key_cert_sign", "crl_sign",
    "encipher_only", "decipher_only",
)  # fmt: skip
SIGNS, ENCIPHERS, AGREES = ("digital_signature",), ("key_encipherment",), ("key_agreement",)

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
_CURVES: dict[str, type[ec.EllipticCurve]] = {"p256": ec.SECP256R1, "p384": ec.SECP384R1, "p521": ec.SECP521R1}
_serials = count(1000)


@cache
def key(kind: str = "p256", number: int = 0) -> PrivateKey:
    """A private key: "p256", "p384", "p521", "ed25519", or "rsa" with its bits ("rsa2048"). Another number is another key."""
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    if kind in _CURVES:
        return ec.generate_private_key(_CURVES[kind]())
    return rsa.generate_private_key(65537, int(kind.removeprefix("rsa")))


def general_name(name: str) -> x509.GeneralName:
    """A name of a certificate in its ASN.1 form."""
    scheme, _, rest = name.partition(":")
    if scheme == "mailto":
        return x509.RFC822Name(rest)
    if scheme == "dns":
        return x509.DNSName(rest)
    if scheme == "xmpp":
        return x509.OtherName(ObjectIdentifier(XMPP_ADDRESS), core.UTF8String(rest).dump())
    return x509.UniformResourceIdentifier(name)


def key_usage(*names: str) -> x509.KeyUsage:
    """The extension with these bits set."""
    return x509.KeyUsage(**{each: each in names for each in NAMED_USAGES})


@dataclass(frozen=True, slots=True)
class Holder:
    """Somebody with a certificate and its key. chain: the certificates above it, nearest first, without the anchor."""

    key: PrivateKey
    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...] = ()

    @property
    def pem(self) -> bytes:
        """The certificate."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def der(self) -> bytes:
        """The certificate."""
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def key_pem(self) -> bytes:
        """The private key (PKCS #8, not encrypted)."""
        return self.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())

    @property
    def pem_with_key(self) -> bytes:
        """Both, as `openssl cms -signer` reads them."""
        return self.key_pem + self.pem


@dataclass(frozen=True, slots=True)
class Authority:
    """Issues certificates. Another number makes another key; `issuer` makes it an intermediate one."""

    name: str = "Test Authority"
    kind: str = "p256"
    issuer: Authority | None = None
    not_after: datetime.datetime = UNTIL
    holder: Holder = field(init=False)

    def __post_init__(self) -> None:
        mine = key(self.kind, next(_serials))
        builder = _builder(self.name, mine, FROM, self.not_after)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        builder = builder.add_extension(key_usage("key_cert_sign", "crl_sign"), critical=True)
        signed = _signed(builder, mine, self.name, self.issuer)
        above = (*((self.issuer.certificate, *self.issuer.holder.chain) if self.issuer and self.issuer.issuer else ()),)
        object.__setattr__(self, "holder", Holder(mine, signed, above))

    @property
    def certificate(self) -> x509.Certificate:
        """Its own."""
        return self.holder.certificate

    @property
    def pem(self) -> bytes:
        """Its certificate."""
        return self.holder.pem

    def issue(
        self,
        *names: str,
        kind: str = "p256",
        number: int = 0,
        usages: Sequence[str] | None = SIGNS,
        uses: Sequence[ObjectIdentifier] | None = (PROTECTION,),
        not_before: datetime.datetime = FROM,
        not_after: datetime.datetime = UNTIL,
        common_name: str = "Somebody",
        extensions: Sequence[x509.ExtensionType] = (),
    ) -> Holder:
        """A certificate for these subject alternative names. usages, uses: key usage bits, extended key usages; None for no extension."""
        mine = key(kind, number)
        builder = _leaf(_builder(common_name, mine, not_before, not_after), names, usages, uses)
        for each in extensions:
            builder = builder.add_extension(each, critical=False)
        chain = (self.certificate, *self.holder.chain) if self.issuer else ()
        return Holder(mine, _signed(builder, mine, common_name, self), chain)

    def crl(self, *revoked: Holder, at: datetime.datetime = FROM, until: datetime.datetime = UNTIL) -> bytes:
        """A revocation list, PEM."""
        builder = x509.CertificateRevocationListBuilder().issuer_name(self.certificate.subject).last_update(at).next_update(until)
        for holder in revoked:
            gone = x509.RevokedCertificateBuilder().serial_number(holder.certificate.serial_number).revocation_date(at).build()
            builder = builder.add_revoked_certificate(gone)
        return builder.sign(self.holder.key, _hash_for(self.holder.key)).public_bytes(serialization.Encoding.PEM)


def self_signed(
    *names: str, kind: str = "p256", number: int = 0, usages: Sequence[str] | None = SIGNS, uses: Sequence[ObjectIdentifier] | None = None
) -> Holder:
    """A certificate that nobody but its holder vouches for."""
    mine = key(kind, number)
    builder = _leaf(_builder("Self", mine, FROM, UNTIL), names, usages, uses)
    return Holder(mine, _signed(builder, mine, "Self", None))


def _builder(common_name: str, mine: PrivateKey, not_before: datetime.datetime, not_after: datetime.datetime) -> x509.CertificateBuilder:
    subject = x509.SubjectKeyIdentifier.from_public_key(mine.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(_name(common_name))
        .public_key(mine.public_key())
        .serial_number(next(_serials))
        .not_valid_before(not_before)
        .not_valid_after(not_after)
        .add_extension(subject, critical=False)
    )


def _leaf(
    builder: x509.CertificateBuilder, names: Sequence[str], usages: Sequence[str] | None, uses: Sequence[ObjectIdentifier] | None
) -> x509.CertificateBuilder:
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([general_name(name) for name in names]), critical=False)
    if usages is not None:
        builder = builder.add_extension(key_usage(*usages), critical=True)
    if uses is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage(uses), critical=False)
    return builder


def _signed(builder: x509.CertificateBuilder, mine: PrivateKey, name: str, issuer: Authority | None) -> x509.Certificate:
    by = issuer.holder.key if issuer else mine
    issuer_name = issuer.certificate.subject if issuer else _name(name)
    builder = builder.issuer_name(issuer_name)
    builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key()), critical=False)
    return builder.sign(by, _hash_for(by))


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _hash_for(mine: PrivateKey) -> hashes.SHA256 | None:
    return None if isinstance(mine, ed25519.Ed25519PrivateKey) else hashes.SHA256()


# -- signing by our own code: every layout, also wrong ones ------------------------------------------------------------
Attributes = list[Any]


def sign(
    holders: Holder | Sequence[Holder],
    content: bytes,
    *,
    detached: bool = True,
    digest: str = "",
    pss: bool = False,
    attributes: bool = True,
    certificates: bool | Sequence[x509.Certificate] = True,
    by_key: bool = False,
    signed_at: float | None = NOW,
    change: Callable[[Attributes], Attributes] = lambda attributes: attributes,
    content_type: str = "data",
    forced: dict[str, Any] | None = None,
) -> bytes:
    """The DER of a SignedData over `content`.

    digest: "sha256" unless Ed25519 wants "sha512". by_key: the signer is named by its key identifier. change: what is done to the list of
    signed attributes before it is signed. certificates: those of the signers, none, or these. forced: fields of the SignerInfo, at the end.
    """
    signers = [holders] if isinstance(holders, Holder) else list(holders)
    infos = [
        _signer_info(each, content, digest, pss, attributes, by_key, signed_at, change, content_type, forced or {}) for each in signers
    ]
    carried = [cert for each in signers for cert in (each.certificate, *each.chain)] if certificates is True else list(certificates or ())
    capsule: dict[str, Any] = {"content_type": content_type}
    if not detached:
        capsule["content"] = core.ParsableOctetString(content) if by_key or content_type != "data" else core.OctetString(content)
    value: dict[str, Any] = {
        "version": "v3" if by_key or content_type != "data" else "v1",
        "digest_algorithms": [{"algorithm": name} for name in sorted({info["digest_algorithm"]["algorithm"].native for info in infos})],
        "encap_content_info": capsule,
        "signer_infos": infos,
    }
    if carried:
        value["certificates"] = [
            asn1_x509.Certificate.load(cert.public_bytes(serialization.Encoding.DER)) for cert in dict.fromkeys(carried)
        ]
    return bytes(cms.ContentInfo({"content_type": "signed_data", "content": cms.SignedData(value)}).dump())


def _signer_info(
    holder: Holder,
    content: bytes,
    digest: str,
    pss: bool,
    with_attributes: bool,
    by_key: bool,
    signed_at: float | None,
    change: Callable[[Attributes], Attributes],
    content_type: str,
    forced: dict[str, Any],
) -> cms.SignerInfo:
    digest = digest or ("sha512" if isinstance(holder.key, ed25519.Ed25519PrivateKey) else "sha256")
    attributes: Attributes = [
        {"type": "content_type", "values": [content_type]},
        {"type": "message_digest", "values": [hashlib.new(digest, content).digest()]},
    ]
    if signed_at is not None:
        when = datetime.datetime.fromtimestamp(signed_at, datetime.UTC)
        attributes.append({"type": "signing_time", "values": [cms.Time(name="utc_time", value=when)]})
    signed = cms.CMSAttributes(change(attributes))
    octets = signed.dump() if with_attributes else content
    algorithm, signature = raw_signature(holder.key, octets, digest, pss)
    subject = holder.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    certificate = asn1_x509.Certificate.load(holder.der)
    fields: dict[str, Any] = {
        "version": "v3" if by_key else "v1",
        "sid": cms.SignerIdentifier(name="subject_key_identifier", value=subject)
        if by_key
        else cms.SignerIdentifier(
            name="issuer_and_serial_number", value={"issuer": certificate.issuer, "serial_number": certificate.serial_number}
        ),
        "digest_algorithm": {"algorithm": digest},
        "signature_algorithm": algorithm,
        "signature": signature,
    }
    if with_attributes:
        fields["signed_attrs"] = signed
    return cms.SignerInfo(fields | forced)


def raw_signature(mine: PrivateKey, octets: bytes, digest: str, pss: bool) -> tuple[dict[str, Any], bytes]:
    """(AlgorithmIdentifier, signature) over octets."""
    if isinstance(mine, ed25519.Ed25519PrivateKey):
        return {"algorithm": "ed25519"}, mine.sign(octets)
    algorithm = getattr(hashes, digest.upper())()
    if isinstance(mine, ec.EllipticCurvePrivateKey):
        return {"algorithm": f"{digest}_ecdsa"}, mine.sign(octets, ec.ECDSA(algorithm))
    if not pss:
        return {"algorithm": "rsassa_pkcs1v15"}, mine.sign(octets, padding.PKCS1v15(), algorithm)
    parameters = algos.RSASSAPSSParams(
        {
            "hash_algorithm": {"algorithm": digest},
            "mask_gen_algorithm": {"algorithm": "mgf1", "parameters": {"algorithm": digest}},
            "salt_length": algorithm.digest_size,
        }
    )
    signature = mine.sign(octets, padding.PSS(padding.MGF1(algorithm), algorithm.digest_size), algorithm)
    return {"algorithm": "rsassa_pss", "parameters": parameters}, signature


def der(tag: int, content: bytes) -> bytes:
    """One element of DER."""
    size = len(content)
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, *((size,) if size < 0x80 else (0x80 | len(octets), *octets)))) + content


# -- the other implementation ------------------------------------------------------------------------------------------
def openssl(*arguments: str | Path, given: bytes = b"") -> bytes:
    """What the command line of OpenSSL says to this. Raises CalledProcessError."""
    return subprocess.run(["openssl", *map(str, arguments)], input=given, capture_output=True, check=True, timeout=60).stdout


def openssl_sign(
    holder: Holder,
    content: bytes,
    *,
    detached: bool = True,
    pss: bool = False,
    certificates: bool = True,
    binary: bool = True,
    digest: str = "sha256",
    by_key: bool = False,
    attributes: bool = True,
    streamed: bool = False,
    form: str = "DER",
) -> bytes:
    """A SignedData as OpenSSL makes it. Without binary it signs the text with CR LF line ends; streamed: BER of indefinite length."""
    options = [
        *(() if detached else ("-nodetach",)), *(("-keyopt", "rsa_padding_mode:pss") if pss else ()),
        *(() if certificates else ("-nocerts",)), *(("-binary",) if binary else ()), *(("-keyid",) if by_key else ()),
        *(() if attributes else ("-noattr",)), *(("-stream",) if streamed else ()),
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        signer = Path(folder, "signer.pem")
        signer.write_bytes(holder.pem_with_key)
        return openssl("cms", "-sign", "-signer", signer, "-md", digest, "-outform", form, *options, given=content)


def openssl_verify(authority: Authority | Holder, blob: bytes, content: bytes | None = None) -> bytes:
    """The content of a SignedData that OpenSSL finds well signed by whom this authority (or self-signed holder) vouches for.

    content: of a detached signature. Raises CalledProcessError where it does not hold.
    """
    with tempfile.TemporaryDirectory() as folder:
        anchors, signed = Path(folder, "anchors.pem"), Path(folder, "content")
        anchors.write_bytes(authority.pem)
        options: tuple[str | Path, ...] = ()
        if content is not None:
            signed.write_bytes(content)
            options = ("-content", signed)
        return openssl("cms", "-verify", "-binary", "-inform", "DER", "-CAfile", anchors, "-purpose", "any", *options, given=blob)


# -- MIME around it ----------------------------------------------------------------------------------------------------
TEXT = b"Content-Type: text/plain; charset=utf-8\r\n\r\nLunch?"
"""A MIME entity that can be signed."""


def clear_signed(
    covered: bytes, blob: bytes, *, micalg: str = "sha-256", boundary: str = "b7", protocol: str = "application/pkcs7-signature"
) -> Entity:
    """multipart/signed: the octets that the signature covers, and the signature in base64."""
    octets = b"--%b\r\n%b\r\n--%b\r\n%b\r\n--%b--\r\n" % (
        *(boundary.encode(), covered, boundary.encode(), signature_part(blob, protocol), boundary.encode()),
    )
    stated = f'multipart/signed; protocol="{protocol}"; micalg={micalg}; boundary="{boundary}"'
    return Entity.compose([("Content-Type", stated)], octets)


def signature_part(blob: bytes, protocol: str = "application/pkcs7-signature") -> bytes:
    """The second part of a multipart/signed."""
    head = f"Content-Type: {protocol}; name=smime.p7s\r\nContent-Transfer-Encoding: base64\r\n"
    return head.encode() + b"Content-Disposition: attachment; filename=smime.p7s; handling=required\r\n\r\n" + lines_of(blob)


def opaque(blob: bytes, smime_type: str = "signed-data", *, base64_encoded: bool = False) -> Entity:
    """application/pkcs7-mime around a CMS object, binary as SIP has it or in base64."""
    kind = [("Content-Type", f"application/pkcs7-mime; smime-type={smime_type}; name=smime.p7m")]
    if base64_encoded:
        return Entity.compose([*kind, ("Content-Transfer-Encoding", "base64")], lines_of(blob) + b"\r\n")
    return Entity.compose([*kind, ("Content-Transfer-Encoding", "binary")], blob)


def lines_of(blob: bytes) -> bytes:
    """Base64 in lines of 64, joined by CR LF."""
    text = base64.b64encode(blob)
    return b"\r\n".join([text[at : at + 64] for at in range(0, len(text), 64)])


def cpim(sender: str, recipient: str = "im:juliet@xmpp.example", text: str = "Lunch?", date: str = "2026-01-02T03:04:05Z") -> bytes:
    """A MIME entity of type message/cpim with a text in it, as it is signed."""
    head = f"Content-Type: message/cpim\r\n\r\nFrom: <{sender}>\r\nTo: <{recipient}>\r\nDateTime: {date}\r\n\r\n"
    return f"{head}Content-Type: text/plain; charset=utf-8\r\n\r\n{text}".encode()
