"""Rules for text that crosses from one syntax into another: line ends, control characters, what XML can hold.

Every function gives its argument back untouched, and at once, when there is nothing to do.
"""

from __future__ import annotations

import re
import unicodedata

from .remember import remembered

REPLACEMENT = "\ufffd"

_NOT_XML = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_LINE_WHITE = re.compile(r"[\t\n\r]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_MOST_NAME = 128
_ADDRESS_LIKE = re.compile(r"\s*(?:sips?|im|pres|tel|xmpp|mailto|urn|https?):", re.I)
_BLANK_LETTERS = "\u115f\u1160\u3164\uffa0\u2800"
_JOINERS = "\u200c\u200d"


def xml_text(s: str) -> str:
    """`s` with U+FFFD for every character that XML 1.0 cannot hold (IMSG-17); C0 controls but TAB, LF, CR, surrogates, U+FFFE, U+FFFF.

    >>> xml_text("bell\\a")
    'bell\ufffd'
    """
    return s if _is_plain(s) else _NOT_XML.sub(REPLACEMENT, s)


def _is_plain(s: str) -> bool:
    # Nothing that is printable is outside Char, and asking takes a third of the time of a search.
    return s.isprintable() or s.replace("\n", "").isprintable()


def lf(s: str) -> str:
    """CR LF and a bare CR become LF."""
    return s.replace("\r\n", "\n").replace("\r", "\n") if "\r" in s else s


def crlf(s: str) -> str:
    """Every line end, CR LF, bare CR or bare LF, becomes CR LF; none is added at the end (RFC 2046 section 4.1.1).

    >>> crlf("a\\nb")
    'a\\r\\nb'
    """
    return lf(s).replace("\n", "\r\n") if "\n" in s or "\r" in s else s


def has_control(s: str) -> bool:
    """Whether `s` holds a control character: U+0000 to U+001F, U+007F to U+009F."""
    return not s.isprintable() and _CONTROL.search(s) is not None


def one_line(s: str) -> str:
    """`s` as it may stand in one header line: each run of CR, LF, TAB is one space, any other control is U+FFFD, no blanks around
    (CPIM-46, IMSG-09).

    >>> one_line("a\\r\\nVia: x")
    'a Via: x'
    """
    if not s.isprintable():
        s = _CONTROL.sub(REPLACEMENT, _LINE_WHITE.sub(" ", s))
    return s.strip(" ")


def _is_seen(ch: str) -> bool:
    return (ch.isalpha() or unicodedata.category(ch) == "So") and ch not in _BLANK_LETTERS


@remembered(2048)
def shown_name(name: str) -> str:
    """What somebody calls himself, as it may stand beside his address on the other side; empty for what may not (IMSG-14).

    Nobody has verified it. So what reads like an address or a telephone number is no name, nor is what changes how the text around it is
    shown (SEC-16), nor one over 128 characters: a piece of a name is another name. Control characters become what `one_line` makes of them.

    >>> shown_name("Tomas\\tN."), shown_name("mira@xmpp.example"), shown_name("+1 555 0100"), shown_name("a\u202eb")
    ('Tomas N.', '', '', '')
    """
    name = xml_text(one_line(name))
    if len(name) > _MOST_NAME:
        return ""
    # As it looks: a full-width digit is a digit, and whatever has no letter and no picture is a number, or nothing to be seen.
    looks = unicodedata.normalize("NFKC", name)
    if "@" in looks or "%40" in looks or _ADDRESS_LIKE.match(looks) or not any(map(_is_seen, looks)):
        return ""
    hides = not name.isprintable() and any(unicodedata.category(ch) in ("Cf", "Zl", "Zp") and ch not in _JOINERS for ch in name)
    return "" if hides else name
