"""The character classes and small patterns of RFC 3261 section 25.1, named after its rules.

They read text in which folding is already undone, so white space is SP and HTAB. Character runs are possessive (`++`, `*+`) and the
alternatives of every loop begin with different characters: no text is matched twice, and time is linear in its length (SIP-31).
"""

from __future__ import annotations

import re

TOKEN_CHARS = r"A-Za-z0-9\-.!%*_+`'~"  # noqa: S105 - a grammar rule, no secret
token = rf"[{TOKEN_CHARS}]++"
sws = r"[ \t]*+"
lws = r"[ \t]++"
qdtext = r'[^"\\\x00-\x08\x0a-\x1f\x7f]*+'
quoted_pair = r"\\[\x00-\x09\x0b\x0c\x0e-\x7f]"
quoted_string = rf'"{qdtext}(?:{quoted_pair}{qdtext})*"'
host = r"(?:\[[0-9A-Fa-f:.]++\]|[A-Za-z0-9.\-]++)"
gen_value = rf"(?:{quoted_string}|{token}(?![:\]])|\[[0-9A-Fa-f:.]++\]|[0-9A-Fa-f:.]++)"
"""A parameter value: token, host or quoted-string. IPv6 may come without its brackets, as `received` has it (RFC 5118 section 4.5)."""
word = r"[A-Za-z0-9\-.!%*_+`'~()<>:\\\"/\[\]?{}]++"

TOKEN = re.compile(token)
TOKEN_OCTETS = re.compile(token.encode())
"""A method, option tag, tag or branch. RFC 3261: token."""
CALL_ID = re.compile(rf"{word}(?:@{word})?")
"""RFC 3261: callid = word [ "@" word ]."""
CSEQ = re.compile(rf"([0-9]++){lws}({token})")
"""RFC 3261: CSeq = 1*DIGIT LWS Method."""
SENT = re.compile(rf"({token}){sws}/{sws}({token}){sws}/{sws}({token}){lws}({host})(?:{sws}:{sws}([0-9]{{1,5}}))?{sws}")
"""RFC 3261: via-parm before its parameters; groups: protocol name, version, transport, host, port."""
SENT_START = re.compile(
    rf"{token}{sws}/{sws}{token}{sws}/{sws}{token}{lws}{host}(?:{sws}:{sws}[0-9]{{1,5}}(?![0-9]))?"
    rf"(?:{sws};{sws}{token}(?:{sws}={sws}[{TOKEN_CHARS}:\[\]]++)?(?={sws}(?:[;,]|\Z)))*"
)
"""As much of a broken via-parm as can be read and sent back in a 400: no quoted strings."""
PARAM = re.compile(rf"{sws};{sws}(?:({token})(?:{sws}={sws}({gen_value}))?)?{sws}(?=;|\Z)|(.+)", re.S)
"""One parameter, RFC 3261: SEMI generic-param, or SEMI alone; groups: name, value, and all the rest where that is no parameter."""
PLAIN_PARAM = re.compile(rf";([a-z0-9\-]++)(?:=({token}))?(?=;|\Z)|.+", re.S)
"""What nearly all parameters look like. Both groups are empty where that ends; then `PARAM` reads the text."""
VIA_OCTETS = re.compile(
    rf"{token}/{token}/{token} [A-Za-z0-9.\-\[\]:]++(?:;{token}(?:=[{TOKEN_CHARS}:\[\]]++)?)*\Z|"
    rf"{token}{sws}/{sws}{token}{sws}/{sws}{token}{lws}[A-Za-z0-9.\-\[\]:]++{sws}(?::{sws}[0-9]++{sws})?"
    rf'(?:;{sws}{token}{sws}(?:={sws}(?:[{TOKEN_CHARS}:\[\]]++|"[^"\\]*+(?:\\.[^"\\]*+)*"){sws})?)*'.encode(),
    re.S,
)
"""RFC 3261: via-parm in octets, for the Via values that are only sent back; the way that nearly all are written comes first."""
NAME_ADDR = re.compile(rf"(?:({quoted_string}){sws}|([{TOKEN_CHARS} \t]*+))<{sws}([!#-;=?-~]++){sws}>")
"""RFC 3261: name-addr; groups: quoted or token display name, URI. A token may touch "<" (RFC 4475 section 3.1.1.6), blanks inside "<>" are
dropped (section 3.1.2.14)."""
ADDR_SPEC = re.compile(r"([!#-+\--:=@-~]++)[ \t]*+")
"""RFC 3261: addr-spec in a header; a URI with comma, question mark or semicolon needs angle brackets (section 20)."""
URI_TEXT = re.compile(r"[!#-;=?-~]+")
"""What may stand where a URI stands: visible ASCII without `"`, `<` and `>`. `core.uri` judges the rest."""
PIECE = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*("?)|<[^>]*+(>?)|(,)', re.S)
"""What hides a comma, and commas. The closing group is empty where a quote or bracket is never closed."""
QUOTED_OCTETS = re.compile(rb'"[^"\\\0]*+(?:\\[^\r\n][^"\\\0]*+)*("?)')
"""A quoted string in octets, where a NUL stands behind a backslash or not at all (SEC-29). The group is empty where it is not closed."""
LANGUAGE_TAG = re.compile(r"[A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8})*")
"""RFC 3261: language-tag, with the digits that RFC 5646 subtags may have."""
WARNING = re.compile(rf"([0-9]{{3}}) +([^ \"]++) +({quoted_string})")
"""RFC 3261: warning-value; groups: warn-code, warn-agent, warn-text."""
CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\ud800-\udfff]")
"""What no text that we write may hold: controls other than HTAB, and halves of surrogate pairs, which UTF-8 cannot say."""
CONTROL_OCTET = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")

_MOST_DIGITS = 10
_ESCAPED_PAIR = re.compile(r"\\(.)", re.S)


def number(text: str, most: int) -> int | None:
    """The value of 1*DIGIT, leading zeros and all; None when it is above `most`. Raises ValueError for anything else.

    >>> number("0068", 255), number("300", 255)
    (68, None)
    """
    if not (text.isascii() and text.isdigit()):
        raise ValueError("not 1*DIGIT")
    digits = text.lstrip("0") or "0"
    value = int(digits) if len(digits) <= _MOST_DIGITS else most + 1
    return value if value <= most else None


def unquoted(text: str) -> str:
    """What a quoted-string says, without quotes and backslashes; any other text as it is."""
    if not text.startswith('"'):
        return text
    inner = text[1:-1]
    return _ESCAPED_PAIR.sub(r"\1", inner) if "\\" in inner else inner
