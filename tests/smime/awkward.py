"""Signed and encrypted bodies that are easily damaged on their way: what is hard is the content, the layout, or the CMS object.

made = {name: make(openssl) for name, make in BODIES.items()}

Each is what a SIP user sends: MIME header fields and a body. The names of the tests that send them come from BODIES, which needs no keys.
"""

from __future__ import annotations

from base64 import b64encode
from binascii import b2a_qp
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import cycle

from .openssl import Openssl, Rows

CRLF = b"\r\n"
HIDDEN = b"what nobody but juliet reads"
"""Is in every body that is encrypted, or that says so, and in no other."""


@dataclass(frozen=True, slots=True)
class Awkward:
    """headers: the MIME header fields, of which the first is Content-Type. signed: what the signature covers; None where openssl says no.

    blob: the CMS object, where it is the whole of the body.
    """

    headers: Rows
    body: bytes
    signed: bytes | None = None
    blob: bytes | None = None


Make = Callable[[Openssl], Awkward]


# -- what is signed ----------------------------------------------------------------------------------------------------
def text(content: bytes, kind: str = "text/plain; charset=utf-8") -> bytes:
    """A part with this content."""
    return b"Content-Type: " + kind.encode() + b"\r\n\r\n" + content


CPIM = (
    b"From: <sip:s0@stoxgate.test>\r\nTo: <sip:u0@xmpp.test>\r\nDateTime: 2026-01-02T03:04:05Z\r\nSubject:;lang=de Gr\xc3\xbc\xc3\x9fe\r\n"
    b"\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nLunch?"
)
CONTENTS = {
    "plain": text(b"Lunch?"),
    "bare-lf": text(b"one\ntwo\n"),
    "bare-cr": text(b"one\rtwo\r"),
    "mixed-line-ends": text(b"one\r\ntwo\nthree\rfour\n\rfive\r\r\nsix"),
    "trailing-blanks": text(b"one  \r\ntwo\t \r\n \r\n\t"),
    "leading-blanks": text(b" \t one\r\n  two"),
    "ends-in-line-ends": text(b"one\r\n\r\n\r\n"),
    "begins-with-lf": text(b"\none"),
    "only-line-ends": text(b"\r\n" * 40),
    "cdata-end": text(b"]]> ]]>]]&gt; ]]]]><![CDATA[>"),
    "markup": text(b"<?xml version='1.0'?><e2e xmlns='x'><![CDATA[</e2e></message>]]>&amp;&#13;&#xA;<!-- --"),
    "nul": text(b"one\0two"),
    "controls": text(bytes(range(1, 9)) + b"\x0b\x0c" + bytes(range(14, 32)) + b"\x7f"),
    "all-octets": text(bytes(range(256)), "application/octet-stream"),
    "latin-1": text("Grüße".encode("latin-1"), "text/plain; charset=iso-8859-1"),
    "utf-16": text("Grüße\r\n".encode("utf-16"), "text/plain; charset=utf-16"),
    "next-line": text("one\x85two\x80\x9f\r\n".encode()),
    "line-separators": text("one\u2028two\u2029three\x0b".encode()),
    "line-separators-clean": text("one\u2028two\u2029three\x85".encode()),
    "byte-order-mark": text("\ufeffone\ufeff".encode()),
    "mark-first": "\ufeffContent-Type: text/plain\r\n\r\none".encode(),
    "no-characters": text("one\ufffe\uffff\U0001fffe".encode()),
    "private-use": text("\ue000\ufffd\ufdd0\U0010ffff\U0001f600 e\u0301 \u202e".encode()),
    "overlong": text(b"one\xc0\x80\xc1\xbf\xe0\x80\xaf"),
    "surrogates": text(b"\xed\xa0\x80\xed\xbf\xbf"),
    "truncated-utf-8": text(b"one\xf0\x9f\x98"),
    "nothing": b"",
    "no-content": text(b""),
    "no-header": b"\r\nonly content",
    "60-kb": text("Ünendlich \r\n".encode() * 4600),
    "60-kb-of-octets": text(bytes(range(256)) * 120, "application/octet-stream"),
    "lines-of-998": text(b"\r\n".join([b"x" * 998, b"y" * 999, b"z" * 5000])),
    "dots": text(b".\r\n..\r\n.one\r\nFrom here\r\n>From\r\n"),
    "delimiter-in-a-line": text(b"x --b7\r\n -- b7\r\n-b7--\r\n--a7--\r\n"),
    "blanks-that-fold": b"Content-Type: text/plain;\r\n\tcharset=utf-8 \r\nX-Empty:\r\nX-Folded: a\r\n  b \r\n\r\none",
    "odd-header": b"CONTENT-type:text/PLAIN ; Charset=\"utf-8\" (a comment)\r\nx-8bit: \xe9\r\n\r\none",
    "lf-header": b"Content-Type: text/plain\n\none\ntwo",
    "no-mime": b"only octets, and no line end",
    "base64": text(b"THVuY2g/\r\n").replace(b"\r\n", b"\r\nContent-Transfer-Encoding: base64\r\n", 1),
    "quoted-printable": text(b"Gr=C3=BC=C3=9Fe =\r\n=3D").replace(b"\r\n", b"\r\nContent-Transfer-Encoding: quoted-printable\r\n", 1),
    "html": text(b"<p>Lunch?</p>", "text/html"),
    "picture": text(b"\x89PNG\r\n\x1a\n\0\0", "image/png"),
    "cpim": b"Content-Type: message/cpim\r\n\r\n" + CPIM,
    "cpim-lf": b"Content-Type: message/cpim\r\n\r\n" + CPIM.replace(CRLF, b"\n"),
    "sip": b"Content-Type: message/sip\r\n\r\nMESSAGE sip:u0@xmpp.test SIP/2.0\r\nl: 3\r\n\r\nhey\r\n\r\nBYE sip:a@b SIP/2.0\r\n\r\n",
    "parts": b"Content-Type: multipart/mixed; boundary=in\r\n\r\npre\r\n--in\r\n\r\none\r\n--in\r\n\r\ntwo\r\n--in-- \t\r\nepi",
    "parts-of-shorter-name": b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b--\r\n",
    "deep": text(b"--d\r\n" + text(b"--d\r\n", "multipart/mixed; boundary=d") * 60 + b"\r\nx\r\n--d--", "multipart/mixed; boundary=d"),
}  # fmt: skip


# -- how it is laid out ------------------------------------------------------------------------------------------------
def base64(octets: bytes, columns: int = 64, end: bytes = CRLF) -> bytes:
    """In lines of so many columns; 0 for a single one."""
    coded = b64encode(octets)
    width = columns or len(coded)
    return end.join([coded[at : at + width] for at in range(0, len(coded), width)])


SIGNATURE = b"Content-Type: application/pkcs7-signature; name=smime.p7s\r\n"
DISPOSITION = b"Content-Disposition: attachment; filename=smime.p7s; handling=required\r\n"
IN_BASE64 = SIGNATURE + b"Content-Transfer-Encoding: base64\r\n" + DISPOSITION


_CLEAR = 'multipart/signed; protocol="application/pkcs7-signature"; micalg=sha-256; boundary={}'


def in_base64(signature: bytes) -> bytes:
    """The second part of a multipart/signed as most write it."""
    return IN_BASE64 + CRLF + base64(signature)


def clear(
    content: bytes = CONTENTS["plain"],
    by: str = "rsa",
    *,
    boundary: str = "b7",
    quoted: bool = True,
    kind: str = _CLEAR,
    rows: Rows = (),
    preamble: bytes = b"",
    padding: bytes = b"",
    second: Callable[[bytes], bytes] = in_base64,
    epilogue: bytes = CRLF,
    options: Iterable[str] = (),
    damage: Callable[[bytes], bytes] = bytes,
    verifies: bool = True,
) -> Make:
    """multipart/signed. second: makes the second part of the signature. damage: what happens to the content once it is signed."""

    def make(openssl: Openssl) -> Awkward:
        line = b"--" + boundary.encode()
        signature = openssl.sign(content, by, *options)
        parts = [line + padding, damage(content), line + padding, second(signature), line + b"--" + padding]
        content_type = kind.format(f'"{boundary}"' if quoted else boundary)
        return Awkward((("Content-Type", content_type), *rows), preamble + CRLF.join(parts) + epilogue, content if verifies else None)

    return make


def opaque(content: bytes = CONTENTS["plain"], by: str = "rsa", *options: str, **layout: object) -> Make:
    """application/pkcs7-mime with the content inside. layout: as for `blob`."""

    def make(openssl: Openssl) -> Awkward:
        return blob(openssl.sign(content, by, "-nodetach", *options), content, **layout)  # type: ignore[arg-type]

    return make


def sealed(cipher: str, to: str, content: bytes = text(HIDDEN), kind: str = "authEnveloped-data", **layout: object) -> Make:
    """application/pkcs7-mime that is encrypted."""

    def make(openssl: Openssl) -> Awkward:
        return blob(openssl.encrypt(content, cipher, to), kind=kind, **layout)  # type: ignore[arg-type]

    return make


def blob(
    octets: bytes,
    signed: bytes | None = None,
    *,
    kind: str = "signed-data",
    media: str = "application/pkcs7-mime",
    encoding: str = "binary",
    columns: int = 76,
    end: bytes = CRLF,
    tail: bytes = b"",
    rows: Rows = (("Content-Disposition", "attachment; filename=smime.p7m; handling=required"),),
) -> Awkward:
    """application/pkcs7-mime with this object. encoding: "" for no header. tail: stands behind base64."""
    coded = encoding.lower()
    body = (
        base64(octets, columns, end) + tail
        if coded == "base64"
        else b2a_qp(octets, istext=False)
        if coded == "quoted-printable"
        else octets
    )
    content_type = f"{media}; smime-type={kind}; name=smime.p7m" if kind else media
    said = (("Content-Transfer-Encoding", encoding),) if encoding else ()
    return Awkward((("Content-Type", content_type), *said, *rows), body, signed, octets)


def with_blob(octets: bytes, **layout: object) -> Make:
    """application/pkcs7-mime with an object that needs no key."""
    return lambda _openssl: blob(octets, **layout)  # type: ignore[arg-type]


def within_cpim(inner: Make) -> Make:
    """message/cpim with this inside."""

    def make(openssl: Openssl) -> Awkward:
        made = inner(openssl)
        head = CPIM.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
        rows = "".join(f"{name}: {value}\r\n" for name, value in made.headers).encode()
        return Awkward((("Content-Type", "message/cpim"),), head + rows + CRLF + made.body, made.signed)

    return make


def signed_again(inner: Make, by: str = "ec") -> Make:
    """multipart/signed around this."""

    def make(openssl: Openssl) -> Awkward:
        made = inner(openssl)
        rows = "".join(f"{name}: {value}\r\n" for name, value in made.headers).encode()
        return clear(rows + CRLF + made.body, by, boundary="outer")(openssl)

    return make


def beside_text(openssl: Openssl) -> Awkward:
    """multipart/mixed in which one part is signed; nobody asks openssl about it."""
    made = clear(boundary="in")(openssl)
    [(_, content_type)] = made.headers
    body = b"--mix\r\n\r\nSee:\r\n--mix\r\nContent-Type: " + content_type.encode() + b"\r\n\r\n" + made.body + b"\r\n--mix--"
    return Awkward((("Content-Type", "multipart/mixed;boundary=mix"),), body)


def parts(*octets: bytes, kind: str = "multipart/signed; protocol=x/y; micalg=z; boundary=b7") -> Make:
    """A multipart without a signature that anybody could accept."""
    body = b"".join([b"--b7\r\n" + each + CRLF for each in octets]) + b"--b7--\r\n"
    return lambda _openssl: Awkward((("Content-Type", kind),), body)


def sealed_signature(openssl: Openssl) -> Awkward:
    """Signed, then encrypted (RFC 8591 section 4.3)."""
    signed = openssl.sign(text(HIDDEN), "ec", "-nodetach")
    inner = b"Content-Type: application/pkcs7-mime; smime-type=signed-data\r\n\r\n" + signed
    return blob(openssl.encrypt(inner, "-aes-256-gcm", "ec"), kind="authEnveloped-data")


def certificates(openssl: Openssl) -> Awkward:
    return blob(openssl.certificates(), kind="certs-only", encoding="base64")


def cut_short(openssl: Openssl) -> Awkward:
    whole = openssl.sign(text(b"one"), "ec", "-nodetach")
    return blob(whole[:-40])


_EVERY_BOUNDARY_CHARACTER = "0aZ'()+_,-./:=? x"
_FOLDED = 'Multipart/SIGNED ;\r\n micalg=SHA-256;\r\n\tprotocol=application/pkcs7-signature ; Boundary={}; x-more="a\\"b;c"'
_IN_WORDS = "application/pkcs7-mime"
LAYOUTS: dict[str, Make] = {
    "preamble": clear(preamble=b"This is an S/MIME signed message\r\n\r\n"),
    "preamble-of-octets": clear(by="ec", preamble=b"one\ntwo\r\xff\0\r\n"),
    "epilogue": clear(by="pss", epilogue=b"\r\n\r\nThat was it. \r\n \r\n"),
    "epilogue-of-octets": clear(epilogue=b"\r\n\0\xff\n\r]]>"),
    "no-epilogue": clear(by="ec", epilogue=b""),
    "epilogue-is-a-delimiter": clear(epilogue=b"\r\n--b7\r\n\r\nmore\r\n--b7--\r\n"),
    "padding": clear(padding=b" \t  "),
    "binary-signature": clear(by="ec", second=lambda der: SIGNATURE + b"Content-Transfer-Encoding: binary\r\n\r\n" + der),
    "8bit-signature": clear(by="ec", second=lambda der: SIGNATURE + b"Content-Transfer-Encoding: 8bit\r\n\r\n" + der),
    "signature-without-encoding": clear(by="pss", second=lambda der: SIGNATURE + CRLF + der),
    "odd-columns": clear(second=lambda der: IN_BASE64 + CRLF + base64(der, 61)),
    "one-long-line": clear(second=lambda der: IN_BASE64 + CRLF + base64(der, 0)),
    "lf-base64": clear(by="ec", second=lambda der: IN_BASE64 + CRLF + base64(der, 64, b"\n")),
    "spaced-base64": clear(by="ec", second=lambda der: IN_BASE64 + CRLF + base64(der, 10, b" \t\r\n\r\n") + b"  \r\n"),
    "folded-signature-header": clear(second=lambda der: IN_BASE64.replace(b"; ", b";\r\n\t ") + b"X: \r\n\r\n" + base64(der)),
    "odd-signature-header": clear(second=lambda der: IN_BASE64.lower().replace(b": base64", b":\tBASE64") + CRLF + base64(der)),
    "old-signature-type": clear(second=lambda der: IN_BASE64.replace(b"/pkcs7", b"/x-pkcs7") + CRLF + base64(der)),
    "boundary-of-70": clear(boundary="x" * 69 + "="),
    "boundary-of-all": clear(by="pss", boundary=_EVERY_BOUNDARY_CHARACTER),
    "boundary-of-dashes": clear(boundary="----=_Part_1_23.456"),
    "boundary-unquoted": clear(by="ec", quoted=False, boundary="'a.b_c-d+e'"),
    "boundary-is-prefix-of-inner": clear(
        b"Content-Type: multipart/mixed; boundary=b7x\r\n\r\n--b7x\r\n\r\none\r\n--b7x--\r\n", verifies=False),
    "inner-is-prefix-of-boundary": clear(CONTENTS["parts-of-shorter-name"], boundary="bb"),
    "folded-type": clear(by="ec", kind=_FOLDED, quoted=False),
    "wrong-micalg": clear(kind="multipart/signed; protocol=\"application/pkcs7-signature\"; micalg=\"md5,x\"; boundary={}"),
    "no-protocol": clear(kind="multipart/signed; boundary={}"),
    "with-other-fields": clear(rows=(("Content-Transfer-Encoding", "8BIT"), ("Content-Disposition", 'inline; handling="optional"'))),
    "in-binary": clear(CONTENTS["latin-1"], rows=(("Content-Transfer-Encoding", "binary"),)),
    "changed-content": clear(damage=lambda content: content + b"!", verifies=False),
    "lost-line-ends": clear(text(b"one\r\ntwo"), damage=lambda content: content.replace(CRLF, b"\n"), verifies=False),
    "signature-with-content": clear(by="ec", options=("-nodetach",)),
    "without-attributes": clear(options=("-noattr",)),
    "without-certificate": clear(by="ec", options=("-nocerts",)),
    "sha-512": clear(options=("-md", "sha512"), kind=_CLEAR.replace("256", "512")),
    "sha-512-called-256": clear(options=("-md", "sha512")),
    "garbage-signature": clear(second=lambda _der: SIGNATURE + b"\r\nno signature\0", verifies=False),
    "one-part": parts(CONTENTS["plain"]),
    "three-parts": parts(CONTENTS["plain"], CONTENTS["bare-lf"], IN_BASE64 + b"\r\nAAAA"),
    "forty-parts": parts(*[text(b"one")] * 40),
    "no-part": lambda _openssl: Awkward((("Content-Type", "multipart/signed; boundary=b7"),), b"no delimiter\nat all"),
    "no-boundary": lambda _openssl: Awkward((("Content-Type", "multipart/signed"),), b"--b7\r\n\r\none\r\n--b7--"),
    "no-close": parts(CONTENTS["plain"], kind="multipart/signed; boundary=b7x"),
    "openpgp": parts(
        CONTENTS["plain"], b"Content-Type: application/pgp-signature\r\n\r\n-----BEGIN PGP SIGNATURE-----\r\n\r\niQ==\r\n",
        kind='multipart/signed; micalg=pgp-sha512; protocol="application/pgp-signature"; boundary=b7'),
    "beside-text": beside_text,
    "signed-twice": signed_again(clear(CONTENTS["bare-lf"])),
    "signed-around-opaque": signed_again(opaque(CONTENTS["cpim"], "pss")),
    "in-cpim": within_cpim(clear()),
    "in-cpim-odd": within_cpim(clear(CONTENTS["all-octets"], "ec", preamble=b"\xff\n\r\n")),
    "opaque-in-cpim": within_cpim(opaque(CONTENTS["cpim"], "ec")),
    "sealed-in-cpim": within_cpim(sealed("-aes-128-gcm", "ec")),
    "opaque-without-encoding": opaque(by="ec", encoding=""),
    "opaque-8bit": opaque(by="pss", encoding="8bit"),
    "opaque-in-base64": opaque(encoding="base64"),
    "opaque-in-base64-64": opaque(by="ec", encoding="Base64", columns=64, tail=CRLF),
    "opaque-odd-columns": opaque(by="pss", encoding="base64", columns=7),
    "opaque-one-long-line": opaque(encoding="base64", columns=0, tail=b"\r\n\r\n"),
    "opaque-lf": opaque(by="ec", encoding="base64", end=b"\n", tail=b"\n"),
    "opaque-in-quoted-printable": opaque(by="ec", encoding="quoted-printable"),
    "opaque-indefinite": opaque(CONTENTS["all-octets"], "ec", "-stream", "-indef"),
    "opaque-without-attributes": opaque(CONTENTS["nul"], "rsa", "-noattr"),
    "opaque-unnamed": opaque(text(HIDDEN), "ec", kind=""),
    "opaque-misnamed": opaque(text(HIDDEN), "ec", kind="enveloped-data"),
    "opaque-x-type": opaque(by="ec", media="Application/X-PKCS7-MIME"),
    "opaque-folded": opaque(by="ec", media=f"{_IN_WORDS};\r\n smime-TYPE=\"signed-data\" ;\r\n\tx=\"a b\"", kind=""),
    "opaque-no-disposition": opaque(by="ec", rows=()),
    "authenveloped": sealed("-aes-128-gcm", "ec"),
    "authenveloped-rsa": sealed("-aes-256-gcm", "rsa", encoding="base64"),
    "authenveloped-of-8591": sealed("-aes-128-gcm", "ec", kind="auth-enveloped-data"),
    "enveloped": sealed("-aes128", "rsa", kind="enveloped-data"),
    "enveloped-base64": sealed("-aes128", "ec", kind="enveloped-data", encoding="base64", tail=CRLF),
    "enveloped-60-kb": sealed("-aes128", "ec", text(HIDDEN * 2200), "enveloped-data"),
    "signed-then-sealed": sealed_signature,
    "certificates": certificates,
    "compressed": with_blob(b"\x30\x80\x06\x0b*\x86H\x86\xf7\r\x01\t\x10\x01\x09\xa0garbage\n\r\0", kind="compressed-data"),
    "no-cms": with_blob(b"hello\nworld\r\n"),
    "no-cms-base64": with_blob(b"\0\n\xff", encoding="base64"),
    "no-base64": lambda _openssl: Awkward(
        (("Content-Type", f"{_IN_WORDS}; smime-type=signed-data"), ("Content-Transfer-Encoding", "base64")), b"MII*\r\n=x=\nA"),
    "unknown-encoding": with_blob(b"\x30\x03\x02\x01\x00", encoding="x-uuencode"),
    "cut-short": cut_short,
    "long-lengths": with_blob(b"\x30\x84\xff\xff\xff\xff" + b"\x30\x80" * 500),
}  # fmt: skip


def _bodies() -> dict[str, Make]:
    """Each content in both forms, its signers in turn, and each layout."""
    signers = cycle(("rsa", "pss", "ec"))
    found = {}
    for name, content in CONTENTS.items():
        found[f"clear-{name}"] = clear(content, next(signers))
        found[f"opaque-{name}"] = opaque(content, next(signers))
    return found | LAYOUTS


BODIES = _bodies()
