"""The translation tables of `mappings/`, read once into frozen rows: errors, header fields, user pairs, domain pairs and the E.164 domain.

The shipped tables are part of the package `gateway.mappings`. The operator's folder lies over them: `users.toml` and `domains.toml` come
from there, an `errors.toml` or `headers.toml` there replaces the shipped one whole. Everything is checked here, so that a lookup cannot
fail.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Literal

from .errors import ConfigFault
from .numbers import NO_NUMBERS, NumberPlan, read_numbers
from .pairs import DOMAIN, USER, Pair, read_pairs
from .schema import Document, Key, Misfit, Schema, flag, line, nearest, one_of, parse_toml, read_rows, refuse_unknown, shown, whole

__all__ = [
    "CLASSES",
    "CONDITIONS",
    "EXTENSIONS",
    "ConditionRow",
    "FieldRow",
    "Pair",
    "RefusalRow",
    "Row",
    "Side",
    "StatusRow",
    "Tables",
    "read_tables",
]

CONDITIONS = (
    "bad-request",
    "conflict",
    "feature-not-implemented",
    "forbidden",
    "gone",
    "internal-server-error",
    "item-not-found",
    "jid-malformed",
    "not-acceptable",
    "not-allowed",
    "not-authorized",
    "policy-violation",
    "recipient-unavailable",
    "redirect",
    "registration-required",
    "remote-server-not-found",
    "remote-server-timeout",
    "resource-constraint",
    "service-unavailable",
    "subscription-required",
    "undefined-condition",
    "unexpected-request",
)
"""The defined conditions of RFC 6120 section 8.3.3."""
CLASSES = ("3xx", "4xx", "5xx", "6xx")
EXTENSIONS = ("bad-timestamp", "unverified-signature", "decryption-failed")
"""The conditions of RFC 3923 section 7, which stand beside a defined one."""
_TYPES = ("auth", "cancel", "continue", "modify", "wait")
_FILES = ("errors.toml", "headers.toml", "users.toml", "domains.toml")
_LOWEST, _HIGHEST = 300, 699

Side = Literal["xmpp", "sip"]


# -- rows --------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class ConditionRow:
    """A stanza error as a SIP status (RFC 7247 section 7.1).

    type: the error type to assume. sip_full, sip_bare: the status when the error comes from a full JID, from a bare JID (ERR-08).
    """

    name: str
    type: str
    sip_full: int
    sip_bare: int
    rule: str
    source: str


@dataclass(frozen=True, slots=True)
class StatusRow:
    """A final SIP status as a stanza error (RFC 7247 section 7.2).

    sip: "404", or "4xx" for all of a class that have no row. again: it may pass, and the message is tried again before its sender is told.
    extension: one of EXTENSIONS that stands beside the condition, or empty.
    """

    sip: str
    condition: str
    type: str
    again: bool
    extension: str
    rule: str
    source: str


@dataclass(frozen=True, slots=True)
class RefusalRow:
    """What the gateway itself says no with.

    sip, reason: the status line. warning, warn_code: of the Warning header field; an empty warning means none. retry_after: seconds for
    Retry-After; 0 means none. condition, type, extension, text: of the stanza error; extension: one of EXTENSIONS, or empty.
    """

    key: str
    sip: int
    reason: str
    warning: str
    warn_code: int
    retry_after: int
    condition: str
    type: str
    extension: str
    text: str
    rule: str


@dataclass(frozen=True, slots=True)
class FieldRow:
    """A field and what it is called on each side, empty where it has no place.

    to_xmpp, to_sip: whether it is carried there. fixed: the standard leaves no choice.
    """

    name: str
    sip: str
    cpim: str
    xmpp: str
    to_xmpp: bool
    to_sip: bool
    fixed: bool
    rule: str
    source: str


Row = ConditionRow | StatusRow | RefusalRow | FieldRow | Pair | NumberPlan


@dataclass(frozen=True, slots=True, repr=False)
class Tables:
    """The tables in force. Made by `read_tables`, which has checked that they are whole."""

    conditions: tuple[ConditionRow, ...]
    statuses: tuple[StatusRow, ...]
    refusals: tuple[RefusalRow, ...]
    fields: tuple[FieldRow, ...]
    users: tuple[Pair, ...] = ()
    domains: tuple[Pair, ...] = ()
    numbers: NumberPlan = NO_NUMBERS
    _condition: dict[str, ConditionRow] = field(init=False)
    _status: dict[int, StatusRow] = field(init=False)
    _refusal: dict[str, RefusalRow] = field(init=False)
    _extended: dict[str | tuple[int, str], RefusalRow] = field(init=False)
    _carried: dict[Side, dict[str, bool]] = field(init=False)

    def __post_init__(self) -> None:
        by_name = {row.sip: row for row in self.statuses}
        every = {code: by_name.get(str(code), by_name[f"{code // 100}xx"]) for code in range(_LOWEST, _HIGHEST + 1)}
        carried = {"xmpp": {row.name: row.to_xmpp for row in self.fields}, "sip": {row.name: row.to_sip for row in self.fields}}
        object.__setattr__(self, "_condition", {row.name: row for row in self.conditions})
        object.__setattr__(self, "_status", every)
        object.__setattr__(self, "_refusal", {row.key: row for row in self.refusals})
        extended = [row for row in self.refusals if row.extension]
        object.__setattr__(self, "_extended", {each: row for row in extended for each in (row.extension, (row.sip, row.reason.lower()))})
        object.__setattr__(self, "_carried", carried)

    def condition(self, name: str) -> ConditionRow:
        """The row of a stanza error; one that nobody has defined yet counts as undefined-condition (ERR-06)."""
        return self._condition.get(name) or self._condition["undefined-condition"]

    def status(self, code: int) -> StatusRow:
        """The row of a final status, else of its class, else (outside 300 to 699) of 500 (ERR-07)."""
        return self._status.get(code) or self._status[500]

    def failure(self, code: int, reason: str) -> StatusRow | RefusalRow:
        """The row of a final status line: of the refusal with an extension that has the same one, else of its status (E2E-20)."""
        return self._extended.get((code, reason.lower())) or self.status(code)

    def extension(self, name: str) -> RefusalRow | None:
        """The refusal that says one of EXTENSIONS; None where the table has none (E2E-20)."""
        return self._extended.get(name)

    def refusal(self, key: str) -> RefusalRow:
        """The row of a refusal; a key that has none is a mistake of ours: `internal`."""
        return self._refusal.get(key) or self._refusal["internal"]

    def carries(self, name: str, side: Side) -> bool:
        """Whether a field is carried to this side. Raises KeyError for a field that is in no table."""
        return self._carried[side][name]

    def rows(self) -> Iterator[tuple[str, tuple[Row, ...]]]:
        """Each table by the name of its rows in TOML, for printing."""
        yield "condition", self.conditions
        yield "status", self.statuses
        yield "refusal", self.refusals
        yield "field", self.fields
        yield "user", self.users
        yield "domain", self.domains
        yield "e164", (self.numbers,) if self.numbers.domain else ()


# -- reading -----------------------------------------------------------------------------------------------------------
def read_tables(overlay: Path | None = None) -> Tables:
    """The shipped tables with the operator's folder over them. Raises ConfigFault."""
    own = _operator_files(overlay)
    shipped = {name: _shipped_file(name) for name in _FILES}
    conditions, statuses, refusals = _read_errors(shipped["errors.toml"])
    if "errors.toml" in own:
        known = refusals
        conditions, statuses, refusals = _read_errors(own["errors.toml"])
        _require_same(own["errors.toml"], "refusal", [row.key for row in refusals], [row.key for row in known])
    fields = _read_fields(shipped["headers.toml"])
    if "headers.toml" in own:
        fields = _narrowed(own["headers.toml"], _read_fields(own["headers.toml"]), fields)
    users = read_pairs(own.get("users.toml", shipped["users.toml"]), "user", USER)
    of_domains = own.get("domains.toml", shipped["domains.toml"])
    domains = read_pairs(of_domains, "domain", DOMAIN, "e164")
    return Tables(conditions, statuses, refusals, fields, users, domains, read_numbers(of_domains, "e164", domains))


def _operator_files(overlay: Path | None) -> dict[str, Document]:
    if overlay is None:
        return {}
    try:
        files = sorted(path for path in overlay.iterdir() if path.suffix.lower() == ".toml")
        for path in files:
            if path.name not in _FILES:
                raise ConfigFault(str(path), "", f"unknown mapping file; {nearest(path.name, _FILES)}")
        return {path.name: parse_toml(str(path), path.read_bytes()) for path in files}
    except OSError as error:
        raise ConfigFault(str(error.filename or overlay), "", f"cannot be read: {error.strerror}") from None


def _shipped_file(name: str) -> Document:
    return parse_toml(f"mappings/{name}", (_shipped_folder() / name).read_bytes())


def _shipped_folder() -> Traversable:
    try:
        return resources.files("gateway.mappings")
    except ModuleNotFoundError:
        # Run from a source tree that was never installed: the package is the folder beside `gateway`.
        return Path(__file__).parents[2] / "mappings"


# -- errors.toml -------------------------------------------------------------------------------------------------------
def _status_name(value: object) -> str:
    if value in CLASSES:
        return str(value)
    if isinstance(value, str):
        raise Misfit(f"must be a status without quotes or one of {', '.join(CLASSES)}, not {shown(value)}")
    return str(whole(_LOWEST, _HIGHEST)(value))


def _name_of(what: str, *known: str) -> Key:
    def read(value: object) -> str:
        if value not in known:
            raise Misfit(f"{shown(value)} is no {what}; {nearest(str(value), known)}")
        return str(value)

    return Key(read)


_REASON = re.compile(r"(?:[A-Za-z0-9;/?:@&=+$,\-_.!~*'() ]|[^\x00-\x9f]){1,128}")
_REFUSAL_KEY = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")


def _reason_phrase(value: object) -> str:
    """What a Reason-Phrase may hold without escapes (RFC 3261 section 25.1, ERR-03)."""
    if not _REASON.fullmatch(line(value)):
        raise Misfit("must be 1 to 128 characters that a SIP reason phrase may hold")
    return str(value)


def _refusal_key(value: object) -> str:
    if not _REFUSAL_KEY.fullmatch(line(value)):
        raise Misfit(f"must be lower-case words joined by hyphens, not {shown(value)}")
    return str(value)


_CONDITION_NAME = _name_of("defined condition of RFC 6120", *CONDITIONS)
_SIP_STATUS = Key(whole(_LOWEST, _HIGHEST))
_ERROR_TYPE = Key(one_of(*_TYPES))
_EXTENSION = Key(one_of(*EXTENSIONS), "")
_LINE = Key(line)

_CONDITION: Schema = {
    "name": _CONDITION_NAME,
    "type": _ERROR_TYPE,
    "sip_full": _SIP_STATUS,
    "sip_bare": _SIP_STATUS,
    "rule": _LINE,
    "source": _LINE,
}
_STATUS: Schema = {
    "sip": Key(_status_name),
    "condition": _CONDITION_NAME,
    "type": _ERROR_TYPE,
    "again": Key(flag, False),
    "extension": _EXTENSION,
    "rule": _LINE,
    "source": _LINE,
}
_REFUSAL: Schema = {
    "key": Key(_refusal_key),
    "sip": _SIP_STATUS,
    "reason": Key(_reason_phrase),
    "warning": Key(line, ""),
    "warn_code": Key(whole(300, 399), 399),
    "retry_after": Key(whole(0, 86_400), 0),
    "condition": _CONDITION_NAME,
    "type": _ERROR_TYPE,
    "extension": _EXTENSION,
    "text": _LINE,
    "rule": _LINE,
}


def _read_errors(document: Document) -> tuple[tuple[ConditionRow, ...], tuple[StatusRow, ...], tuple[RefusalRow, ...]]:
    refuse_unknown(document.file, "", document.content, ("condition", "status", "refusal"))
    conditions = tuple(ConditionRow(**row) for row in read_rows(document, "condition", _CONDITION))
    statuses = tuple(StatusRow(**row) for row in read_rows(document, "status", _STATUS))
    refusals = tuple(RefusalRow(**row) for row in read_rows(document, "refusal", _REFUSAL))
    _require_once(document, "condition", "name", [row.name for row in conditions], CONDITIONS)
    _require_once(document, "status", "sip", [row.sip for row in statuses], CLASSES)
    _require_once(document, "refusal", "key", [row.key for row in refusals], ("internal",))
    # Where none is said the key is one that nobody else has.
    _require_once(document, "refusal", "extension", [row.extension or f"{row.key}:" for row in refusals], ())
    return conditions, statuses, refusals


def _require_once(document: Document, table: str, key: str, names: list[str], needed: Iterable[str]) -> None:
    for index, name in enumerate(names):
        if (first := names.index(name)) < index:
            raise ConfigFault(document.file, f"{table}[{index}].{key}", f"{shown(name)} is already there, as {table}[{first}]")
    for name in needed:
        if name not in names:
            raise ConfigFault(document.file, table, f"a row for {shown(name)} is missing")


def _require_same(document: Document, table: str, names: list[str], shipped: list[str]) -> None:
    for index, name in enumerate(names):
        if name not in shipped:
            raise ConfigFault(document.file, f"{table}[{index}]", f"{shown(name)} is used nowhere; {nearest(name, shipped)}")
    for name in shipped:
        if name not in names:
            raise ConfigFault(document.file, table, f"a row for {shown(name)} is missing")


# -- headers.toml ------------------------------------------------------------------------------------------------------
_FIELD: Schema = {
    "name": Key(_refusal_key),
    "sip": _LINE,
    "cpim": _LINE,
    "xmpp": _LINE,
    "to_xmpp": Key(flag),
    "to_sip": Key(flag),
    "fixed": Key(flag, False),
    "rule": _LINE,
    "source": _LINE,
}


def _read_fields(document: Document) -> tuple[FieldRow, ...]:
    refuse_unknown(document.file, "", document.content, ("field",))
    fields = tuple(FieldRow(**row) for row in read_rows(document, "field", _FIELD))
    _require_once(document, "field", "name", [row.name for row in fields], ())
    return fields


def _narrowed(document: Document, fields: tuple[FieldRow, ...], shipped: tuple[FieldRow, ...]) -> tuple[FieldRow, ...]:
    """The operator's rows, which may switch off what is not fixed and change nothing else that has an effect."""
    _require_same(document, "field", [row.name for row in fields], [row.name for row in shipped])
    standard = {row.name: row for row in shipped}
    for index, row in enumerate(fields):
        ours = standard[row.name]
        for key, wanted, known in (("to_xmpp", row.to_xmpp, ours.to_xmpp), ("to_sip", row.to_sip, ours.to_sip)):
            if wanted != known and ours.fixed:
                raise ConfigFault(document.file, f"field[{index}].{key}", f"{shown(row.name)} is fixed by {ours.source}")
            if wanted and not known:
                raise ConfigFault(document.file, f"field[{index}].{key}", f"the gateway has no way to carry {shown(row.name)} there")
        if row.fixed != ours.fixed:
            raise ConfigFault(document.file, f"field[{index}].fixed", f"must stay {str(ours.fixed).lower()}")
    return fields
