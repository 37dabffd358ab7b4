"""The message headers of message/cpim: names and namespaces, parameters, escapes, addresses. RFC 3862 sections 2.2, 2.3, 3 and 4."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote

from .dates import parse_rfc3339
from .errors import SyntaxFault
from .remember import remembered
from .text import one_line

CORE = "urn:ietf:params:cpim-headers:"
"""The namespace of From, To, cc, DateTime, Subject, NS and Require, and the default one."""
MISPRINTED_CORE = "urn:ietf:params-cpim-headers:"
"""How RFC 3862 section 6 spells it; read as CORE, never written."""
ONCE = frozenset(("From", "DateTime"))
"""The core headers that may stand once only (CPIM-29)."""
_ADDRESSED = ("From", "To", "cc", "Original-To", "IMDN-Record-Route", "IMDN-Route")

# NAMECHAR, Name, TOKENCHAR, Parameter, String: RFC 3862 section 3.6.
_NAME = r"[!#-'*+\-^-`|~A-Za-z0-9]+"
_TOKEN = r"[!#-'*+\-.^-`|~A-Za-z0-9\x80-\U0010ffff]+"  # noqa: S105 - a grammar rule, no secret
_STRING = r'"((?:[^"\\]|\\.)*)"'
_SCHEME = r"[A-Za-z][A-Za-z0-9+.\-]*:"
_URI = rf"{_SCHEME}[^\s<>\"\\\x00-\x20\x7f-\x9f]+"
_DOTTED = re.compile(r"[!#-'*+\-.^-`|~A-Za-z0-9]+")
_PARAM = re.compile(rf";({_NAME})=(?:{_STRING}|({_TOKEN}))")
_NAMESPACE = re.compile(rf"(?:([!#-'*+\-.^-`|~A-Za-z0-9]+) ?)?<({_SCHEME}[^\s<>#\"]+)>")
_ADDRESS = re.compile(rf"(?:{_STRING} ?|(?:{_TOKEN} )+)?<{_URI}>")
_TOKENS = re.compile(rf"{_TOKEN}(?: {_TOKEN})*")
_ABSOLUTE_URI = re.compile(_URI)

_TO_ESCAPE = re.compile(r"[\x00-\x1f\x7f\\]")
_ESCAPED = re.compile(r"\\(u[0-9A-Fa-f]{4}|.|\Z)", re.S)
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_LETTERS = {"\\": "\\", "b": "\b", "t": "\t", "n": "\n", "r": "\r"}
_ESCAPES = {chr(code): f"\\u{code:04x}" for code in (*range(32), 127)} | {char: f"\\{letter}" for letter, char in _LETTERS.items()}


class CpimHeader(NamedTuple):
    """One message header. (A named tuple, because a message makes ten of them: a frozen dataclass takes four times as long.)

    namespace: what its prefix stands for; empty when that is not known. name: without the prefix, but whole when the prefix is not known.
    value: escapes undone. params: what stands between colon and space, quotes and escapes undone. raw: the line without its end.
    """

    namespace: str
    name: str
    value: str
    params: tuple[tuple[str, str], ...]
    raw: bytes

    @property
    def language(self) -> str:
        """The `lang` parameter; empty without one, which means i-default (RFC 3862 section 3.3)."""
        return next((value for name, value in self.params if name == "lang"), "")

    @property
    def uri(self) -> str:
        """The name as one URI, the form in which headers are registered (RFC 3862 section 7.2): namespace and percent-encoded name."""
        return self.namespace + quote(self.name, safe="()+,-.:=@;$_!*'").replace("~", "%7E")


# -- addresses ---------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class CpimAddress:
    """A person in a message header: a display name, which may be empty, and an absolute URI without brackets."""

    name: str
    uri: str

    @staticmethod
    def parse(text: str) -> CpimAddress:
        """Read the value of From, To or cc: `Name <uri>`, `"Name" <uri>`, `<uri>`, or a bare URI. Raises SyntaxFault.

        Control characters are refused in the URI; in the name they are what `text.one_line` makes of them (CPIM-46).

        >>> CpimAddress.parse('"Smith, J." <im:j@sip.example>')
        CpimAddress(name='Smith, J.', uri='im:j@sip.example')
        """
        return _parse_address(text)

    def __str__(self) -> str:
        if not self.name:
            return f"<{self.uri}>"
        return f"{self.name} <{self.uri}>" if _TOKENS.fullmatch(self.name) else f'"{self.name}" <{self.uri}>'


@remembered(1024)
def _parse_address(text: str) -> CpimAddress:
    # A URI holds no "<", so the last one opens it, whatever the name holds once its escapes are undone.
    name, bracket, uri = text.strip(" ").rpartition("<")
    name = name.rstrip(" ")
    if bracket and not uri.endswith(">"):
        raise SyntaxFault("Bad address", section="RFC 3862 section 4.1")
    uri = uri.removesuffix(">") if bracket else uri
    if len(name) > 1 and name[0] == name[-1] == '"':
        name = name[1:-1]
    elif any(ch in name for ch in '"<>'):
        raise SyntaxFault("Bad name in address", section="RFC 3862 section 3.6")
    if not _ABSOLUTE_URI.fullmatch(uri):
        raise SyntaxFault("Bad URI in address", section="RFC 3862 section 4.1")
    return CpimAddress(one_line(name), uri)


def check_value(name: str, value: str, written: str) -> None:
    """Hold the value of a core header against its grammar, if it has one; `written` is the value with its escapes. Raises SyntaxFault."""
    if name in ("From", "To", "cc") and not _ADDRESS.fullmatch(written):
        raise SyntaxFault(f"Bad {name} in message/cpim", section="RFC 3862 section 4.1")
    if name == "DateTime":
        parse_rfc3339(value, strict=True)


# -- names -------------------------------------------------------------------------------------------------------------
@lru_cache(maxsize=128)
def split_name(text: str) -> tuple[str, str] | None:
    """(prefix, name) at the last dot; None for what is no header name. A prefix with a dot in it is read, though no grammar has it.

    >>> split_name("imdn.Message-ID"), split_name("From"), split_name("a b")
    (('imdn', 'Message-ID'), ('', 'From'), None)
    """
    prefix, dot, name = text.rpartition(".")
    return (prefix, name) if name and (prefix or not dot) and _DOTTED.fullmatch(text) else None


def declare(spaces: dict[str, str], value: str) -> bool:
    """Bind in `spaces` (prefix -> namespace, "" for the default) what an NS header of this value declares; False when that is nothing."""
    found = _namespace(value)
    if found:
        spaces[found[0]] = found[1]
    return found is not None


@lru_cache(maxsize=64)
def _namespace(value: str) -> tuple[str, str] | None:
    found = _NAMESPACE.fullmatch(value)
    return (found[1] or "", CORE if found[2] == MISPRINTED_CORE else found[2]) if found else None


def resolved(full_name: str, spaces: dict[str, str]) -> tuple[str, str]:
    """(namespace, name) of a name as Require lists it; ("", the name) when its prefix is not bound."""
    split = split_name(full_name)
    namespace = spaces.get(split[0]) if split else None
    return (namespace, split[1]) if split and namespace is not None else ("", full_name)


# -- parameters and escapes --------------------------------------------------------------------------------------------
def read_params(rest: str) -> tuple[tuple[tuple[str, str], ...], str]:
    """The parameters at the beginning of what stands behind the colon, and what stands behind them.

    >>> read_params(';lang=fr;x="a;b" v')
    ((('lang', 'fr'), ('x', 'a;b')), ' v')
    """
    params: list[tuple[str, str]] = []
    at = 0
    while param := _PARAM.match(rest, at):
        params.append((param[1], param[3] or unescaped(param[2] or "")))
        at = param.end()
    return tuple(params), rest[at:]


def unescaped(value: str) -> str:
    r"""The view of a value: escapes undone once, unknown ones the character itself, a last backslash nothing (RFC 3862 section 2.3.1).

    Surrogate pairs are joined; half of one is U+FFFD (CPIM-44).

    >>> unescaped(r"\u0041\qb\\n")
    'Aqb\\n'
    """
    if "\\" not in value:
        return value
    text = _ESCAPED.sub(_one_unescaped, value)
    if _SURROGATE.search(text):
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def _one_unescaped(found: re.Match[str]) -> str:
    escape = found[1]
    return chr(int(escape[1:], 16)) if len(escape) > 1 else _LETTERS.get(escape, escape)


def escaped(name: str, value: str) -> str:
    r"""A value as it is written under this name: backslash and controls, and a quote inside the String of an address.

    >>> escaped("Subject", 'a "b"\t'), escaped("From", '"A "B"" <im:a@h>')
    ('a "b"\\t', '"A \\"B\\"" <im:a@h>')
    """
    if name in _ADDRESSED and value[:1] == '"' and value.count('"') > 2:
        inside, _, behind = value[1:].rpartition('"')
        return '"' + _TO_ESCAPE.sub(_one_escaped, inside).replace('"', '\\"') + '"' + _TO_ESCAPE.sub(_one_escaped, behind)
    return _TO_ESCAPE.sub(_one_escaped, value)


def _one_escaped(found: re.Match[str]) -> str:
    return _ESCAPES[found[0]]
