"""Whatever arrives has a verdict, in time that grows with its size alone, and nothing is raised."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.mime import Entity
from gateway.core.verdict import Status
from gateway.smime.certificates import Certificate
from gateway.smime.judge import Judge
from gateway.smime.trust import TrustStore
from tests.cost import LINEAR, growth, seconds

from .authority import FROM, NOW, TEXT, UNTIL, Authority, Holder, clear_signed, cpim, der, opaque, sign
from .people import claim

CA = Authority("Root")
ROMEO, RSA = CA.issue("sip:romeo@sip.example"), CA.issue("sip:romeo@sip.example", kind="rsa2048")
JUDGE = Judge(TrustStore([CA.certificate], [Certificate.of(ROMEO.certificate)]))
CLAIM = claim("sip:romeo@sip.example")
BODY = cpim("im:romeo@sip.example")
WHOLE = [
    clear_signed(BODY, sign(ROMEO, BODY)).raw,
    opaque(sign(RSA, BODY, detached=False, pss=True)).raw,
    opaque(sign(ROMEO, clear_signed(BODY, sign(RSA, BODY)).raw, detached=False), base64_encoded=True).raw,
]
HEADS = [
    b"Content-Type: application/pkcs7-mime\r\n\r\n",
    b"Content-Type: application/pkcs7-mime\r\nContent-Transfer-Encoding: base64\r\n\r\n",
    b"Content-Type: multipart/signed; protocol=application/pkcs7-signature; micalg=x; boundary=b\r\n\r\n--b\r\n\r\n\r\n--b\r\n"
    b"Content-Type: application/pkcs7-signature\r\n\r\n",
    b"Content-Type: message/cpim\r\n\r\n",
]
SIGNED_DATA = bytes.fromhex("06092a864886f70d010702")


def status(octets: bytes) -> Status:
    return JUDGE.judge(Entity.parse(octets), CLAIM, NOW).verdict.status


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(HEADS), st.binary(max_size=300))
def test_any_octets_have_a_verdict(head: bytes, octets: bytes) -> None:
    assert status(head + octets) in (Status.MALFORMED, Status.NOT_CHECKED)


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(WHOLE), st.data())
def test_a_changed_message_is_never_better_than_it_was(whole: bytes, data: st.DataObject) -> None:
    """One octet is changed anywhere behind the first header block: the words that were signed stay the only ones that are valid."""
    start = whole.index(b"\r\n\r\n") + 4
    at = data.draw(st.integers(start, len(whole) - 1))
    changed = whole[:at] + bytes((data.draw(st.integers(0, 255)),)) + whole[at + 1 :]
    found = JUDGE.judge(Entity.parse(changed), CLAIM, NOW)
    if found.verdict.status is Status.VALID:
        before = JUDGE.judge(Entity.parse(whole), CLAIM, NOW)
        assert (found.covered, found.readable) == (before.covered, before.readable)


BITS = [
    b"\x30\x80",
    b"\x31\x80",
    b"\xa0\x80",
    b"\x00\x00",
    b"\x24\x80",
    b"\x04\x01A",
    b"\x02\x01\x01",
    b"\x05\x00",
    b"\x31\x00",
    SIGNED_DATA,
]


@settings(deadline=None, max_examples=200)
@given(st.lists(st.sampled_from(BITS), max_size=40))
def test_anything_that_looks_like_cms_has_a_verdict(pieces: list[bytes]) -> None:
    assert status(HEADS[0] + b"\x30\x80" + SIGNED_DATA + b"\xa0\x80\x30\x80" + b"".join(pieces)) in (Status.MALFORMED, Status.NOT_CHECKED)


def many(piece: bytes, around: Callable[[bytes], bytes]) -> Callable[[int], bytes]:
    return lambda octets: around(piece * (octets // len(piece)))


def in_signed_data(content: bytes) -> bytes:
    capsule = der(0x30, bytes.fromhex("06092a864886f70d010701"))
    signed = der(0x30, b"\x02\x01\x01" + der(0x31, b"") + capsule + der(0x31, content))
    return HEADS[0] + der(0x30, SIGNED_DATA + der(0xA0, signed))


GROWING = {
    "signers": many(b"\x30\x08\x02\x01\x01\x30\x03\x02\x01\x01", in_signed_data),
    "indefinite": many(b"\x30\x80", lambda content: HEADS[0] + content),
    "base64": many(b"MIAGCSqGSIb3DQEHAqCAMIAC", lambda content: HEADS[1] + content),
    "cpim headers": many(b"X: y\r\n", lambda content: HEADS[3] + content + b"\r\n" + TEXT),
    "cpim in cpim": many(HEADS[3] + b"A: b\r\n\r\n", lambda content: content + TEXT),
    "delimiters": many(b"\r\n--b", lambda content: HEADS[2] + content),
    "line ends": many(b"\n\r", lambda content: clear_signed(TEXT + content, sign(ROMEO, TEXT)).raw),
    "content": many(b"x", lambda content: clear_signed(TEXT + content, sign(ROMEO, TEXT + content)).raw),
    "parts": many(
        WHOLE[0] + b"\r\n--m\r\n", lambda content: b"Content-Type: multipart/mixed; boundary=m\r\n\r\n--m\r\n" + content + b"\r\n--m--"
    ),
}


@pytest.mark.requirement("SMIME-74")
@pytest.mark.parametrize("made", GROWING.values(), ids=GROWING.keys())
def test_the_largest_message_that_is_taken_takes_little_time(made: Callable[[int], bytes]) -> None:
    entity = Entity.parse(made(65_536))
    assert seconds(lambda: JUDGE.judge(entity, CLAIM, NOW), 0.25) < 0.25


@pytest.mark.requirement("SMIME-74")
@pytest.mark.parametrize("made", [GROWING[name] for name in ("indefinite", "cpim headers", "delimiters", "line ends", "content")])
def test_the_cost_is_linear(made: Callable[[int], bytes]) -> None:
    short, long = Entity.parse(made(60_000)), Entity.parse(made(240_000))
    assert growth(lambda entity: JUDGE.judge(entity, CLAIM, NOW), short, long) < LINEAR


@pytest.mark.parametrize("holder", [ROMEO, RSA], ids=["ECDSA", "RSA"])
@pytest.mark.parametrize("layout", ["clear", "opaque"])
def test_a_message_of_two_thousand_octets_is_judged_in_less_than_a_millisecond(holder: object, layout: str) -> None:
    body = cpim("im:romeo@sip.example", text="x" * 1850)
    mine = ROMEO if holder is ROMEO else RSA
    entity = clear_signed(body, sign(mine, body)) if layout == "clear" else opaque(sign(mine, body, detached=False))
    assert JUDGE.judge(entity, CLAIM, NOW).verdict.status is Status.VALID
    assert seconds(lambda: JUDGE.judge(entity, CLAIM, NOW), 0.001) < 0.001


def judged_anew(whole: Entity) -> None:
    """By somebody who has seen none of it."""
    Judge(TrustStore([CA.certificate])).judge(whole, CLAIM, NOW)


def again(authority: Authority, number: int) -> x509.Certificate:
    """Another certificate of an authority, by itself, with the same name and key."""
    name, mine = authority.certificate.subject, authority.holder.key
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(mine.public_key()).serial_number(900 + number)
    builder = builder.not_valid_before(FROM + timedelta(days=number)).not_valid_after(UNTIL)
    return builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True).sign(mine, hashes.SHA256())


@pytest.mark.requirement("SMIME-74", "REL-28")
def test_the_certificates_of_strangers_take_bounded_time_for_the_whole_message() -> None:
    """Ten signers, each with a certificate of his own below authorities that have issued each other, and ten such parts."""
    tangle = Authority("X")
    loops = [again(tangle, number) for number in range(4)]
    signers = [tangle.issue("sip:romeo@sip.example", number=60 + number) for number in range(10)]
    one = opaque(sign(signers, TEXT, detached=False, certificates=[*[each.certificate for each in signers], *loops]))
    parts = b"".join([b"--m\r\n" + one.raw + b"\r\n"] * 10) + b"--m--"
    many = Entity.compose([("Content-Type", "multipart/mixed; boundary=m")], parts)
    for whole, found in ((one, Status.UNTRUSTED), (many, Status.MALFORMED)):
        assert seconds(partial(judged_anew, whole), 0.1) < 0.1
        assert JUDGE.judge(whole, CLAIM, NOW).verdict.status is found


def test_so_many_names_are_read_that_are_kept_and_not_many_more() -> None:
    """Two thousand addresses that each have to be prepared (RFC 7622), in one certificate."""
    names = [f"xmpp:u{number}@xn--mnchen-3ya.example" for number in range(2000)]
    busy = CA.issue("sip:romeo@sip.example", *names, number=80).certificate.public_bytes(Encoding.DER)
    assert seconds(lambda: Certificate.parse(busy), 0.1) < 0.1
    assert len(Certificate.parse(busy).names) == 64


@pytest.mark.requirement("SMIME-74")
def test_a_public_exponent_that_is_as_long_as_the_key_is_not_worked_with() -> None:
    numbers = rsa.generate_private_key(65537, 2048).private_numbers()
    p, q, d = numbers.p, numbers.q, 65537
    public = rsa.RSAPublicNumbers(pow(d, -1, (p - 1) * (q - 1)), p * q)
    mine = rsa.RSAPrivateNumbers(p, q, d, d % (p - 1), d % (q - 1), numbers.iqmp, public).private_key()
    name = CA.certificate.subject
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(mine.public_key()).serial_number(77)
    builder = builder.not_valid_before(FROM).not_valid_after(UNTIL)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(mine.public_key()), critical=False)
    holder = Holder(mine, builder.sign(CA.holder.key, hashes.SHA256()))
    found = JUDGE.judge(opaque(sign(holder, TEXT, detached=False)), CLAIM, NOW).verdict
    assert found.status is Status.INVALID
    assert "exponent" in found.detail
