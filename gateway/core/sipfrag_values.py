"""What the header fields of a fragment have to be: each "complete and valid on its own", as in a whole message (RFC 3420 section 3.2).

The rules are those of RFC 3261 section 25.1 for the fields that say who, where and what; any other field is a token and one line of text.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from .dates import parse_sip_date
from .domain import ascii_domain
from .errors import SyntaxFault
from .mime import ContentType
from .uri import Uri

_token = r"[A-Za-z0-9\-.!%*_+`'~]++"  # noqa: S105 - a grammar rule, no secret
_word = r"[A-Za-z0-9\-.!%*_+`'~()<>:\\\"/\[\]?{}]++"
_quoted = r'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_ws = r"[ \t]*+"

_PARAM = re.compile(rf"{_ws};{_ws}({_token})(?:{_ws}={_ws}(?:{_quoted}|[A-Za-z0-9\-.!%*_+`'~:\[\]]++))?{_ws}")
_ADDRESS = re.compile(rf"{_ws}(?:(?:{_quoted}{_ws}|[A-Za-z0-9\-.!%*_+`'~ \t]*+)<([^<>\"]++)>|([^<>\", \t;?]++))")
_SENT = re.compile(
    rf"{_ws}{_token}{_ws}/{_ws}{_token}{_ws}/{_ws}{_token}[ \t]++(\[[0-9A-Fa-f:.]++\]|[A-Za-z0-9.\-]++)(?:{_ws}:{_ws}[0-9]{{1,5}}+)?"
)
_BLANKS = re.compile(_ws)
_CALL_ID = re.compile(rf"{_word}(?:@{_word})?")
_CSEQ = re.compile(rf"([0-9]{{1,10}}+)[ \t]++({_token})")
_WARNING = re.compile(r"[0-9]{3}+[ \t]++[^ \t\"]++[ \t]++.+")
_RETRY_AFTER = re.compile(r"[0-9]{1,10}+(?:[ \t;(].*+)?")
_MOST_CSEQ = 2**31 - 1
_MOST_HOPS = 255


class FieldRule(NamedTuple):
    """One field. title: as the RFCs print it. section: of RFC 3261. check: raises SyntaxFault. once: it may not be repeated (FRAG-14)."""

    title: str
    section: str
    check: Callable[[str], object]
    once: bool = True
    compact: str = ""

    def hold(self, value: str) -> None:
        """Raises SyntaxFault ("Bad CSeq") for a value that the rule does not have."""
        try:
            self.check(value)
        except SyntaxFault:
            raise SyntaxFault(f"Bad {self.title}", section=f"RFC 3261 section {self.section}") from None


def cseq_method(value: str) -> str:
    """The method that a CSeq names. Raises SyntaxFault."""
    found = _CSEQ.fullmatch(value)
    if not found or int(found[1]) > _MOST_CSEQ:
        raise SyntaxFault("Bad CSeq")
    return found[2]


def _parts(value: str, one: re.Pattern[str]) -> list[re.Match[str]]:
    """The items of a comma list, each with its parameters behind it; a parameter comes once. Raises SyntaxFault."""
    found, at = [], 0
    while item := one.match(value, at):
        found.append(item)
        at, names = item.end(), set()
        while param := _PARAM.match(value, at):
            if param[1].lower() in names:
                raise SyntaxFault("Repeated parameter")
            names.add(param[1].lower())
            at = param.end()
        blanks = _BLANKS.match(value, at)
        at = blanks.end() if blanks else at
        if at == len(value):
            return found
        if value[at] != ",":
            break
        at += 1
    raise SyntaxFault("Bad list")


def _addresses(value: str) -> int:
    """How many addresses there are."""
    items = _parts(value, _ADDRESS)
    for item in items:
        Uri.parse((item[1] or item[2]).strip(" \t"))
    return len(items)


def _address(value: str) -> None:
    if _addresses(value) != 1:
        raise SyntaxFault("Several addresses")


def _contact(value: str) -> None:
    if value != "*":
        _addresses(value)


def _via(value: str) -> None:
    for item in _parts(value, _SENT):
        ascii_domain(item[1])


def _matching(pattern: re.Pattern[str]) -> Callable[[str], None]:
    def check(value: str) -> None:
        if not pattern.fullmatch(value):
            raise SyntaxFault("Bad value")

    return check


def _number(most: int) -> Callable[[str], None]:
    def check(value: str) -> None:
        if not (value.isascii() and value.isdigit() and len(value) <= 10 and int(value) <= most):
            raise SyntaxFault("Bad number")

    return check


_RULES = (
    FieldRule("Via", "20.42", _via, once=False, compact="v"),
    FieldRule("Route", "20.34", _addresses, once=False),
    FieldRule("Record-Route", "20.30", _addresses, once=False),
    FieldRule("Contact", "20.10", _contact, once=False, compact="m"),
    FieldRule("Warning", "20.43", _matching(_WARNING), once=False),
    FieldRule("From", "20.20", _address, compact="f"),
    FieldRule("To", "20.39", _address, compact="t"),
    FieldRule("Call-ID", "20.8", _matching(_CALL_ID), compact="i"),
    FieldRule("CSeq", "20.16", cseq_method),
    FieldRule("Date", "20.17", parse_sip_date),
    FieldRule("Max-Forwards", "20.22", _number(_MOST_HOPS)),
    FieldRule("Retry-After", "20.33", _matching(_RETRY_AFTER)),
    FieldRule("Content-Type", "20.15", ContentType.parse, compact="c"),
    FieldRule("Content-Length", "20.14", _number(10**10 - 1), compact="l"),
)
RULES = {rule.title.lower(): rule for rule in _RULES}
"""The fields that are looked into, by their long lower-case names."""
_LONG = {rule.compact: name for name, rule in RULES.items() if rule.compact}


def long_name(name: str) -> str:
    """The lower-case name of a field, in full where it is one of `RULES` in its compact form (RFC 3261 section 7.3.3).

    >>> long_name("i"), long_name("Cseq")
    ('call-id', 'cseq')
    """
    lower = name.lower()
    return _LONG.get(lower, lower)
