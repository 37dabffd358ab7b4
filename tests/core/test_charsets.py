"""The names of charsets, and UTF-16 without a byte order mark."""

from __future__ import annotations

import codecs

import pytest

from gateway.core.charsets import _NAMES, charset_named, decoded


@pytest.mark.requirement("MSG-36")
def test_every_charset_and_every_name_of_it_is_one_that_the_runtime_reads() -> None:
    for preferred, others in _NAMES.items():
        assert codecs.lookup(preferred).name
        assert len(decoded(b"a\x00", preferred)) in (1, 2)
        for name in (preferred, *others.split()):
            assert {charset_named(name), charset_named(name.upper()), charset_named(name.lower())} == {preferred}


def test_no_name_means_two_charsets() -> None:
    names = [name.lower() for preferred, others in _NAMES.items() for name in (preferred, *others.split())]
    assert len(set(names)) == len(names)


@pytest.mark.requirement("IMSG-16")
@pytest.mark.parametrize(
    ("name", "charset"),
    [
        ("ISO_8859-1", "ISO-8859-1"),
        ("ISO_8859-1:1987", "ISO-8859-1"),
        ("latin1", "ISO-8859-1"),
        ("L1", "ISO-8859-1"),
        ("csISOLatin1", "ISO-8859-1"),
        ("cswindows1252", "windows-1252"),
        ("ANSI_X3.4-1968", "US-ASCII"),
        ("ascii", "US-ASCII"),
        ("UTF8", "UTF-8"),
        ("CP936", "GBK"),
    ],
)
def test_the_registered_names_of_a_charset_are_known(name: str, charset: str) -> None:
    assert charset_named(name) == charset


@pytest.mark.requirement("SEC-33")
@pytest.mark.parametrize("name", ["", " utf-8", "cp1252", "iso-8859-12", "utf-32", "utf-7", "csISOLatin1\u017f", "\u212aOI8-R"])
def test_what_is_no_registered_name_of_a_charset_that_is_read_is_none(name: str) -> None:
    assert charset_named(name) is None


@pytest.mark.requirement("MSG-36")
@pytest.mark.parametrize(
    "octets", [b"\x00h\x00\xe9", b"\xfe\xff\x00h\x00\xe9", b"\xff\xfeh\x00\xe9\x00"], ids=["without a mark", "big-endian", "little-endian"]
)
def test_utf_16_is_big_endian_unless_its_mark_says_otherwise(octets: bytes) -> None:
    assert decoded(octets, "UTF-16") == "hé"


@pytest.mark.requirement("MSG-36")
def test_utf_16_whose_order_the_name_says_is_read_in_that() -> None:
    assert decoded(b"\x00h", "UTF-16BE") == decoded(b"h\x00", "UTF-16LE") == "h"
