"""The charsets that text is read in, by every name that the IANA registry of character sets has for them.

The runtime has more under the same roof, some of it no charset of the registry (utf-7 in its variants, punycode, unicode_escape). What is
not here is not read (SEC-33).
"""

from __future__ import annotations

import codecs

# The name that MIME prefers, by which the runtime knows it too: the other names. utf8 and ascii are not registered, but common.
_NAMES = {
    "UTF-8": "csUTF8 utf8",
    "UTF-16": "csUTF16",
    "UTF-16BE": "csUTF16BE",
    "UTF-16LE": "csUTF16LE",
    "US-ASCII": "iso-ir-6 ANSI_X3.4-1968 ANSI_X3.4-1986 ISO_646.irv:1991 ISO646-US us IBM367 cp367 csASCII ascii",
    "ISO-8859-1": "ISO_8859-1:1987 iso-ir-100 ISO_8859-1 latin1 l1 IBM819 CP819 csISOLatin1",
    "ISO-8859-2": "ISO_8859-2:1987 iso-ir-101 ISO_8859-2 latin2 l2 csISOLatin2",
    "ISO-8859-3": "ISO_8859-3:1988 iso-ir-109 ISO_8859-3 latin3 l3 csISOLatin3",
    "ISO-8859-4": "ISO_8859-4:1988 iso-ir-110 ISO_8859-4 latin4 l4 csISOLatin4",
    "ISO-8859-5": "ISO_8859-5:1988 iso-ir-144 ISO_8859-5 cyrillic csISOLatinCyrillic",
    "ISO-8859-6": "ISO_8859-6:1987 iso-ir-127 ISO_8859-6 ECMA-114 ASMO-708 arabic csISOLatinArabic",
    "ISO-8859-7": "ISO_8859-7:1987 iso-ir-126 ISO_8859-7 ELOT_928 ECMA-118 greek greek8 csISOLatinGreek",
    "ISO-8859-8": "ISO_8859-8:1988 iso-ir-138 ISO_8859-8 hebrew csISOLatinHebrew",
    "ISO-8859-9": "ISO_8859-9:1989 iso-ir-148 ISO_8859-9 latin5 l5 csISOLatin5",
    "ISO-8859-10": "ISO_8859-10:1992 iso-ir-157 latin6 l6 csISOLatin6",
    "ISO-8859-11": "",
    "ISO-8859-13": "csISO885913",
    "ISO-8859-14": "ISO_8859-14:1998 iso-ir-199 ISO_8859-14 latin8 iso-celtic l8 csISO885914",
    "ISO-8859-15": "ISO_8859-15 Latin-9 csISO885915",
    "ISO-8859-16": "ISO_8859-16:2001 iso-ir-226 ISO_8859-16 latin10 l10 csISO885916",
    "windows-1250": "cswindows1250",
    "windows-1251": "cswindows1251",
    "windows-1252": "cswindows1252",
    "windows-1253": "cswindows1253",
    "windows-1254": "cswindows1254",
    "windows-1255": "cswindows1255",
    "windows-1256": "cswindows1256",
    "windows-1257": "cswindows1257",
    "windows-1258": "cswindows1258",
    "KOI8-R": "csKOI8R",
    "KOI8-U": "csKOI8U",
    "TIS-620": "csTIS620",
    "macintosh": "mac csMacintosh",
    "IBM437": "cp437 437 csPC8CodePage437",
    "IBM850": "cp850 850 csPC850Multilingual",
    "IBM866": "cp866 866 csIBM866",
    "Shift_JIS": "MS_Kanji csShiftJIS",
    "EUC-JP": "Extended_UNIX_Code_Packed_Format_for_Japanese csEUCPkdFmtJapanese",
    "ISO-2022-JP": "csISO2022JP",
    "EUC-KR": "csEUCKR",
    "ISO-2022-KR": "csISO2022KR",
    "GB2312": "csGB2312",
    "GBK": "CP936 MS936 windows-936 csGBK",
    "GB18030": "csGB18030",
    "Big5": "csBig5",
}
_BY_NAME = {name.lower(): preferred for preferred, others in _NAMES.items() for name in (preferred, *others.split())}
_BYTE_ORDER_MARKS = (codecs.BOM_UTF16_BE, codecs.BOM_UTF16_LE)


def charset_named(name: str) -> str | None:
    """The charset of this name, in any case, by the name that MIME prefers; None for one that is not read.

    >>> charset_named("Latin1")
    'ISO-8859-1'
    """
    return _BY_NAME.get(name.lower()) if name.isascii() else None


def decoded(octets: bytes, charset: str) -> str:
    """Octets in a charset, which is named as by `charset_named`, as text. Raises UnicodeDecodeError.

    UTF-16 without a byte order mark is big-endian, whatever the machine is (RFC 2781 section 4.3).

    >>> decoded(b"\\0h\\0i", "UTF-16")
    'hi'
    """
    unmarked = charset == "UTF-16" and not octets.startswith(_BYTE_ORDER_MARKS)
    return octets.decode("UTF-16BE" if unmarked else charset)
