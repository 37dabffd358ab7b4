"""Certificates, whose they are, and who vouches for them."""

from __future__ import annotations

import datetime
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AuthorityInformationAccessOID, ObjectIdentifier
from cryptography.x509.verification import PolicyBuilder

from gateway.core.errors import ConfigFault
from gateway.core.settings import SmimeSettings
from gateway.core.verdict import Status
from gateway.smime import trust
from gateway.smime.asn1 import CmsFault
from gateway.smime.certificates import Certificate
from gateway.smime.cms import SignerId
from gateway.smime.trust import TrustStore, Work
from tests.cost import seconds

from . import authority
from .authority import ANY_USE, CLIENT_USE, NOW, PROTECTION, SIGNS, Authority, Holder, key, key_usage, self_signed

CA = Authority("Root")
ROMEO_URI = "sip:romeo@sip.example"
ROMEO = CA.issue(ROMEO_URI)
STORE = TrustStore([CA.certificate])
YEAR_2025, YEAR_2027 = datetime.datetime(2025, 1, 1, tzinfo=datetime.UTC), datetime.datetime(2027, 1, 1, tzinfo=datetime.UTC)


def of(holder: Holder) -> Certificate:
    return Certificate.parse(holder.der)


def status(holder: Holder, store: TrustStore = STORE, *, now: float = NOW, signed_at: float | None = None, carried: bool = True) -> Status:
    between = [Certificate.of(each) for each in holder.chain] if carried else []
    return store.judge(of(holder), between, now, signed_at).status


# -- certificates ------------------------------------------------------------------------------------------------------
def test_what_a_certificate_says() -> None:
    names = (ROMEO_URI, "im:romeo@sip.example", "mailto:romeo@sip.example", "dns:sip.example", "xmpp:romeo@xmpp.example", "tel:+1201")
    read = of(CA.issue(*names, common_name="sip:mira@sip.example"))
    assert read.names == names
    assert (read.since, read.until) == (authority.FROM.timestamp(), authority.UNTIL.timestamp())
    assert read.issuer == CA.certificate.subject.public_bytes()
    assert (read.is_authority, Certificate.of(CA.certificate).is_authority) == (False, True)
    assert (read.is_self_signed, of(self_signed(ROMEO_URI)).is_self_signed) == (False, True)


@pytest.mark.requirement("SMIME-25")
def test_names_that_cannot_be_shown_or_are_none_are_left_out() -> None:
    extra = x509.SubjectAlternativeName(
        [
            x509.UniformResourceIdentifier("sip:romeo@sip.example\x00.evil.example"),
            x509.UniformResourceIdentifier(ROMEO_URI),
            x509.OtherName(ObjectIdentifier(authority.XMPP_ADDRESS), b"\x13\x01a"),
            x509.OtherName(ObjectIdentifier(authority.XMPP_ADDRESS), b"\x0c\x03@@@"),
            x509.OtherName(ObjectIdentifier("1.2.3.4"), b"\x0c\x05a@b.c"),
            x509.OtherName(ObjectIdentifier(authority.XMPP_ADDRESS), b"\x0c\x17Mira@xmpp.example/phone"),
            *[x509.DNSName(f"a{number}.example") for number in range(100)],
        ]
    )
    names = of(CA.issue(extensions=[extra])).names
    assert names[:3] == (ROMEO_URI, "xmpp:mira@xmpp.example", "dns:a0.example")
    assert len(names) == 64


def test_what_is_no_certificate_is_a_fault() -> None:
    for octets in (b"", b"\x30\x00", ROMEO.der[:-1], ROMEO.der + b"\x00", b"\x30\x80" + ROMEO.der[4:] + b"\x00\x00"):
        with pytest.raises(CmsFault):
            Certificate.parse(octets)
    for at in range(0, len(ROMEO.der), 3):
        try:
            Certificate.parse(ROMEO.der[:at] + bytes((ROMEO.der[at] ^ 0x21,)) + ROMEO.der[at + 1 :])
        except CmsFault:
            continue


@pytest.mark.requirement("SMIME-27")
def test_a_signer_is_found_by_either_name_in_what_came_first() -> None:
    read, mira = of(ROMEO), of(CA.issue("sip:mira@sip.example", number=30))
    store = TrustStore([CA.certificate], [read])
    for sid in (SignerId(read.issuer, read.serial), SignerId(key_id=read.key_id)):
        assert STORE.find(sid, [mira, read]) is read
        assert STORE.find(sid, [mira]) is None
        assert store.find(sid, [mira]) is read
    assert STORE.find(SignerId(b"", 0, b""), [mira, read]) is None


# -- chains ------------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("SMIME-29")
@pytest.mark.parametrize("kind", ["p256", "p384", "p521", "rsa2048", "ed25519"])
def test_a_chain_to_an_anchor(kind: str) -> None:
    middle = Authority("Middle", issuer=Authority("Upper", issuer=CA))
    holder = middle.issue(ROMEO_URI, kind=kind)
    assert status(holder) is Status.VALID
    assert status(holder, carried=False) is Status.UNTRUSTED
    assert status(holder, TrustStore([Authority("Root").certificate])) is Status.UNTRUSTED
    assert status(holder, TrustStore([Authority("Else").certificate, CA.certificate])) is Status.VALID
    assert status(holder, TrustStore([middle.certificate])) is Status.VALID


@pytest.mark.requirement("SMIME-28")
@pytest.mark.parametrize(
    ("usages", "uses", "expected"),
    [
        (("digital_signature",), None, Status.VALID),
        (("content_commitment",), None, Status.VALID),
        (None, None, Status.VALID),
        (None, (PROTECTION,), Status.VALID),
        (SIGNS, (ANY_USE,), Status.VALID),
        (SIGNS, (CLIENT_USE, PROTECTION), Status.VALID),
        (SIGNS, (CLIENT_USE,), Status.UNTRUSTED),
        (("key_encipherment",), (PROTECTION,), Status.UNTRUSTED),
        (("key_agreement", "key_encipherment"), None, Status.UNTRUSTED),
    ],
)
def test_what_a_key_is_for(usages: Sequence[str] | None, uses: Sequence[ObjectIdentifier] | None, expected: Status) -> None:
    assert status(CA.issue(ROMEO_URI, usages=usages, uses=uses)) is expected
    pinned = self_signed(ROMEO_URI, usages=usages, uses=uses, number=31)
    assert status(pinned, TrustStore(people=[of(pinned)])) is expected


def issued(*extensions: tuple[x509.ExtensionType, bool]) -> Holder:
    """A person's certificate under one that CA has issued with these extensions, (extension, critical)."""
    mine = key("p256", 40)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Odd")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(CA.certificate.subject).public_key(mine.public_key())
    builder = builder.serial_number(77).not_valid_before(authority.FROM).not_valid_after(authority.UNTIL)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    odd = builder.sign(CA.holder.key, hashes.SHA256())
    leaf = key("p256", 41)
    below = x509.CertificateBuilder().subject_name(authority._name("Leaf")).issuer_name(name).public_key(leaf.public_key())
    below = below.serial_number(78).not_valid_before(authority.FROM).not_valid_after(authority.UNTIL)
    alternative = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(ROMEO_URI), x509.DNSName("sip.example")])
    return Holder(leaf, below.add_extension(alternative, critical=False).sign(mine, hashes.SHA256()), (odd,))


AUTHORITY = (x509.BasicConstraints(ca=True, path_length=None), True)


@pytest.mark.requirement("SMIME-29")
@pytest.mark.parametrize(
    ("extensions", "expected"),
    [
        ([AUTHORITY], Status.VALID),
        ([AUTHORITY, (key_usage("key_cert_sign"), True)], Status.VALID),
        ([AUTHORITY, (x509.ExtendedKeyUsage([PROTECTION]), False)], Status.VALID),
        ([AUTHORITY, (x509.NameConstraints([x509.DNSName("sip.example")], None), True)], Status.VALID),
        ([(x509.BasicConstraints(ca=True, path_length=0), True)], Status.VALID),
        ([], Status.UNTRUSTED),
        ([(x509.BasicConstraints(ca=False, path_length=None), True)], Status.UNTRUSTED),
        ([AUTHORITY, (key_usage("digital_signature"), True)], Status.UNTRUSTED),
        ([AUTHORITY, (x509.ExtendedKeyUsage([CLIENT_USE]), False)], Status.UNTRUSTED),
        ([AUTHORITY, (x509.NameConstraints([x509.DNSName("other.example")], None), True)], Status.UNTRUSTED),
        ([AUTHORITY, (x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True)], Status.UNTRUSTED),
        ([AUTHORITY, (x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\x05\x00"), False)], Status.VALID),
    ],
)
def test_who_may_stand_above(extensions: list[tuple[x509.ExtensionType, bool]], expected: Status) -> None:
    assert status(issued(*extensions)) is expected


@pytest.mark.requirement("SMIME-29")
def test_a_path_is_no_longer_than_it_may_be() -> None:
    upper = Authority("Upper", issuer=CA)
    mine, name = key("p256", 42), x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Short")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(CA.certificate.subject).public_key(mine.public_key())
    builder = builder.serial_number(79).not_valid_before(authority.FROM).not_valid_after(authority.UNTIL)
    short = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True).sign(CA.holder.key, hashes.SHA256())
    middle = Authority("Middle")
    object.__setattr__(middle, "holder", Holder(mine, short))
    lower = Authority("Lower", issuer=middle)
    carried = [Certificate.of(each) for each in (lower.certificate, short, upper.certificate)]
    assert STORE.judge(of(lower.issue(ROMEO_URI)), carried, NOW, None).status is Status.UNTRUSTED
    assert STORE.judge(of(middle.issue(ROMEO_URI)), carried, NOW, None).status is Status.VALID


@pytest.mark.requirement("SMIME-29")
@pytest.mark.parametrize(
    ("not_before", "not_after", "signed_at", "expected"),
    [
        (authority.FROM, YEAR_2027, None, Status.VALID),
        (authority.FROM, YEAR_2025, None, Status.EXPIRED),
        (YEAR_2027, authority.UNTIL, None, Status.EXPIRED),
        (YEAR_2025, YEAR_2027, NOW, Status.VALID),
        (YEAR_2025, YEAR_2027, YEAR_2025.timestamp() - 1, Status.EXPIRED),
        (YEAR_2025, YEAR_2027, YEAR_2027.timestamp() + 1, Status.EXPIRED),
        (authority.FROM, YEAR_2025, YEAR_2025.timestamp() - 1, Status.EXPIRED),
    ],
)
def test_it_is_good_now_and_when_it_signed(
    not_before: datetime.datetime, not_after: datetime.datetime, signed_at: float | None, expected: Status
) -> None:
    holder = CA.issue(ROMEO_URI, not_before=not_before, not_after=not_after)
    assert status(holder, signed_at=signed_at) is expected
    stranger = Authority("Root").issue(ROMEO_URI, not_before=not_before, not_after=not_after)
    assert status(stranger, signed_at=signed_at) is Status.UNTRUSTED


def test_an_authority_may_have_run_out_too_and_one_that_is_renewed_is_found() -> None:
    old = Authority("Old", not_after=YEAR_2025)
    middle = Authority("Middle", issuer=CA, not_after=YEAR_2025)
    assert status(old.issue(ROMEO_URI), TrustStore([old.certificate])) is Status.EXPIRED
    assert status(middle.issue(ROMEO_URI)) is Status.EXPIRED
    builder = x509.CertificateBuilder().subject_name(old.certificate.subject).issuer_name(old.certificate.subject).serial_number(80)
    builder = builder.public_key(old.certificate.public_key()).not_valid_before(YEAR_2025).not_valid_after(YEAR_2027)
    renewed = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True).sign(old.holder.key, hashes.SHA256())
    both, holder = TrustStore([old.certificate, renewed]), old.issue(ROMEO_URI)
    before = YEAR_2025.timestamp() - 86_400
    assert [status(holder, both, now=now) for now in (before, NOW, before)] == [Status.VALID] * 3


@pytest.mark.requirement("SMIME-29")
def test_what_was_taken_back() -> None:
    middle = Authority("Middle", issuer=CA)
    gone, below, kept = CA.issue(ROMEO_URI), middle.issue(ROMEO_URI), CA.issue(ROMEO_URI)
    lists = [x509.load_pem_x509_crl(CA.crl(gone, middle.holder)), x509.load_pem_x509_crl(Authority("Root").crl(kept))]
    store = TrustStore([CA.certificate], crls=lists)
    assert [status(each, store) for each in (gone, below, kept)] == [Status.REVOKED, Status.REVOKED, Status.VALID]


@pytest.mark.requirement("SMIME-29")
def test_only_the_very_certificate_that_is_pinned_is_trusted_by_itself() -> None:
    mine, same_key = self_signed(ROMEO_URI), self_signed(ROMEO_URI)
    store = TrustStore(people=[of(mine), of(ROMEO)])
    assert [status(each, store) for each in (mine, same_key, ROMEO)] == [Status.VALID, Status.UNTRUSTED, Status.UNTRUSTED]
    assert store.pinned_names == {ROMEO_URI}
    assert status(mine, store, now=authority.UNTIL.timestamp() + 1) is Status.EXPIRED
    assert (store.is_empty, TrustStore().is_empty, STORE.is_empty) == (False, True, False)


@pytest.mark.requirement("E2E-25")
def test_nothing_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    where = x509.UniformResourceIdentifier("http://127.0.0.1:9/ca.crt")
    points = x509.CRLDistributionPoints([x509.DistributionPoint([where], None, None, None)])
    access = x509.AuthorityInformationAccess(
        [
            x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, where),
            x509.AccessDescription(AuthorityInformationAccessOID.OCSP, where),
        ]
    )
    monkeypatch.setattr(socket, "socket", None)
    monkeypatch.setattr(socket, "getaddrinfo", None)
    assert status(Authority("Middle", issuer=CA).issue(ROMEO_URI, extensions=[access, points]), carried=False) is Status.UNTRUSTED
    assert status(CA.issue(ROMEO_URI, extensions=[access, points])) is Status.VALID


def test_a_chain_is_validated_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def counted() -> PolicyBuilder:
        asked.append(None)
        return PolicyBuilder()

    monkeypatch.setattr(trust, "PolicyBuilder", counted)
    store, stranger = TrustStore([CA.certificate]), Authority("Root").issue(ROMEO_URI)
    for _ in range(3):
        assert [status(each, store) for each in (ROMEO, stranger)] == [Status.VALID, Status.UNTRUSTED]
    assert len(asked) == 1 + 1


@pytest.mark.requirement("SMIME-74")
def test_a_tangle_of_authorities_takes_bounded_time() -> None:
    """Twenty authorities of one name and one key, each of which could have issued every other."""
    mine, name = key("p256", 50), authority._name("Tangle")
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(mine.public_key())
    builder = builder.not_valid_before(authority.FROM).not_valid_after(authority.UNTIL)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    tangle = [Certificate.of(builder.serial_number(number).sign(mine, hashes.SHA256())) for number in range(1, 21)]
    leaf = x509.CertificateBuilder().subject_name(authority._name("Leaf")).issuer_name(name).public_key(mine.public_key())
    leaf = leaf.serial_number(90).not_valid_before(authority.FROM).not_valid_after(authority.UNTIL)
    read = Certificate.of(leaf.sign(mine, hashes.SHA256()))
    assert seconds(lambda: TrustStore([CA.certificate]).judge(read, tangle, NOW, None), 0.2) < 0.2
    assert STORE.judge(read, tangle, NOW, None).status is Status.UNTRUSTED


def one_more(subject: Authority, by: Authority, number: int, *, until: datetime.datetime = authority.UNTIL) -> Certificate:
    """One more certificate of an authority, by another one."""
    builder = x509.CertificateBuilder().subject_name(subject.certificate.subject).issuer_name(by.certificate.subject)
    builder = builder.public_key(subject.holder.key.public_key()).serial_number(500 + number)
    builder = builder.not_valid_before(authority.FROM).not_valid_after(until)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return Certificate.of(builder.sign(by.holder.key, hashes.SHA256()))


@pytest.mark.requirement("SMIME-29")
@pytest.mark.parametrize("order", [1, -1])
def test_of_several_certificates_of_one_authority_the_one_that_leads_on_counts(order: int) -> None:
    between, stranger = Authority("Between", issuer=CA), Authority("Nobody's own")
    good, crossed = one_more(between, CA, 1), one_more(between, stranger, 2)
    ended = one_more(between, CA, 3, until=datetime.datetime(2025, 1, 1, tzinfo=datetime.UTC))
    leaf = of(between.issue(ROMEO_URI))
    for others in ([crossed], [ended], [crossed, ended, one_more(between, stranger, 4)]):
        assert TrustStore([CA.certificate]).judge(leaf, [good, *others][::order], NOW, None).status is Status.VALID


@pytest.mark.requirement("SMIME-74")
def test_what_was_not_looked_for_to_the_end_is_not_remembered() -> None:
    store, read = TrustStore([CA.certificate]), of(CA.issue(ROMEO_URI, number=71))
    assert store.judge(read, [], NOW, None, Work(chains=0)).status is Status.UNTRUSTED
    assert store.judge(read, [], NOW, None).status is Status.VALID


# -- files -------------------------------------------------------------------------------------------------------------
def settings_of(files: dict[str, Any]) -> SmimeSettings:
    return SmimeSettings(**files)


def test_the_files_of_the_configuration(tmp_path: Path) -> None:
    gone, mine = CA.issue(ROMEO_URI), self_signed("sip:tomas@sip.example")
    files = {
        "anchors": CA.pem + Authority("Else").pem,
        "certificates": mine.pem + ROMEO.pem,
        "crls": CA.crl(gone) + Authority("Else").crl(),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(b"a line of text\n" + content)
    store = TrustStore.load(settings_of({name: tmp_path / name for name in files}), "gateway.toml")
    assert [status(each, store) for each in (ROMEO, gone, mine)] == [Status.VALID, Status.REVOKED, Status.VALID]
    assert len(store.ends) == 6
    assert dict(store.ends)["CN=Root"] == authority.UNTIL.timestamp()
    assert TrustStore.load(SmimeSettings(), "gateway.toml").is_empty


@pytest.mark.parametrize("name", ["anchors", "certificates", "crls"])
@pytest.mark.parametrize("content", [None, b"", b"no PEM", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, name: str, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "file").write_bytes(content)
    with pytest.raises(ConfigFault) as caught:
        TrustStore.load(settings_of({name: tmp_path / "file"}), "gateway.toml")
    assert (caught.value.file, caught.value.key) == ("gateway.toml", f"smime.{name}")
    assert str(tmp_path / "file") in caught.value.reason


def test_a_list_of_changes_is_not_read(tmp_path: Path) -> None:
    builder = x509.CertificateRevocationListBuilder().issuer_name(CA.certificate.subject).last_update(authority.FROM)
    delta = builder.next_update(authority.UNTIL).add_extension(x509.DeltaCRLIndicator(1), critical=True)
    (tmp_path / "crls").write_bytes(delta.sign(CA.holder.key, hashes.SHA256()).public_bytes(Encoding.PEM))
    with pytest.raises(ConfigFault, match="partial"):
        TrustStore.load(SmimeSettings(crls=tmp_path / "crls"), "gateway.toml")
