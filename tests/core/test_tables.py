"""The translation tables: the shipped rows against the specification, and what an operator's folder may and may not say."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.errors import ConfigFault
from gateway.core.tables import Tables, read_tables

SHIPPED = Path(__file__).parents[2] / "mappings"
TABLES = read_tables()

# RFC 7247 section 7.1, with the types of RFC 6120 section 8.3.3. The two statuses: from a full JID, from a bare JID.
CONDITIONS = [
    ("ERR-X01", "bad-request", {"modify"}, (400, 400)),
    ("ERR-X02", "conflict", {"cancel"}, (400, 400)),
    ("ERR-X03", "feature-not-implemented", {"cancel", "modify"}, (405, 501)),
    ("ERR-X04", "forbidden", {"auth"}, (403, 603)),
    ("ERR-X05", "gone", {"cancel"}, (410, 410)),
    ("ERR-X06", "internal-server-error", {"cancel"}, (500, 500)),
    ("ERR-X07", "item-not-found", {"cancel"}, (404, 604)),
    ("ERR-X08", "jid-malformed", {"modify"}, (400, 400)),
    ("ERR-X09", "not-acceptable", {"modify"}, (406, 606)),
    ("ERR-X10", "not-allowed", {"cancel"}, (403, 403)),
    ("ERR-X11", "not-authorized", {"auth"}, (401, 401)),
    ("ERR-X12", "policy-violation", {"modify", "wait"}, (403, 403)),
    ("ERR-X13", "recipient-unavailable", {"wait"}, (480, 600)),
    ("ERR-X14", "redirect", {"modify"}, (302, 302)),
    ("ERR-X15", "registration-required", {"auth"}, (407, 407)),
    ("ERR-X16", "remote-server-not-found", {"cancel"}, (404, 404)),
    ("ERR-X17", "remote-server-timeout", {"wait"}, (408, 408)),
    ("ERR-X18", "resource-constraint", {"wait"}, (500, 500)),
    ("ERR-X19", "service-unavailable", {"cancel"}, (403, 403)),
    ("ERR-X20", "subscription-required", {"auth"}, (400, 400)),
    ("ERR-X21", "undefined-condition", {"auth", "cancel", "continue", "modify", "wait"}, (400, 400)),
    ("ERR-X22", "unexpected-request", {"wait", "modify"}, (400, 400)),
]

# RFC 7247 section 7.2; where RFC 6120 section 8.3.3 allows several types, the one that was chosen.
STATUSES = [
    (300, "redirect", "modify"),
    (301, "gone", "cancel"),
    (302, "redirect", "modify"),
    (305, "redirect", "modify"),
    (380, "not-acceptable", "modify"),
    (400, "bad-request", "modify"),
    (401, "not-authorized", "auth"),
    (402, "bad-request", "modify"),
    (403, "forbidden", "auth"),
    (404, "item-not-found", "cancel"),
    (405, "feature-not-implemented", "cancel"),
    (406, "not-acceptable", "modify"),
    (407, "registration-required", "auth"),
    (408, "remote-server-timeout", "wait"),
    (410, "gone", "cancel"),
    (413, "policy-violation", "modify"),
    (414, "policy-violation", "modify"),
    (415, "not-acceptable", "modify"),
    (416, "not-acceptable", "modify"),
    (420, "feature-not-implemented", "cancel"),
    (421, "not-acceptable", "modify"),
    (423, "resource-constraint", "wait"),
    (430, "recipient-unavailable", "wait"),
    (439, "feature-not-implemented", "cancel"),
    (440, "policy-violation", "wait"),
    (480, "recipient-unavailable", "wait"),
    (481, "item-not-found", "cancel"),
    (482, "not-acceptable", "modify"),
    (483, "not-acceptable", "modify"),
    (484, "item-not-found", "cancel"),
    (485, "item-not-found", "cancel"),
    (486, "recipient-unavailable", "wait"),
    (487, "recipient-unavailable", "wait"),
    (488, "not-acceptable", "modify"),
    (489, "policy-violation", "modify"),
    (491, "unexpected-request", "wait"),
    (493, "bad-request", "modify"),
    (500, "internal-server-error", "cancel"),
    (501, "feature-not-implemented", "cancel"),
    (502, "remote-server-not-found", "cancel"),
    (503, "internal-server-error", "cancel"),
    (504, "remote-server-timeout", "wait"),
    (505, "not-acceptable", "modify"),
    (513, "policy-violation", "modify"),
    (600, "recipient-unavailable", "wait"),
    (603, "recipient-unavailable", "wait"),
    (604, "item-not-found", "cancel"),
    (606, "not-acceptable", "modify"),
]
CLASSES = [
    ("3xx", (303, 304, 381, 399), "redirect", "modify"),
    ("4xx", (411, 412, 417, 422, 428, 436, 469, 470, 494, 499), "bad-request", "modify"),
    ("5xx", (506, 555, 580, 599), "internal-server-error", "cancel"),
    ("6xx", (601, 605, 607, 608, 699), "recipient-unavailable", "wait"),
]
LISTED = {code for code, _, _ in STATUSES}
LOOP, STALE, UNDECIPHERABLE = ([row.key for row in TABLES.refusals].index(key) for key in ("loop", "stale-date", "undecipherable"))
CC = [row.name for row in TABLES.fields].index("cc")

# What the gateway refuses with, and the rule that says so; none where nothing refuses with it yet.
REFUSALS = [
    ("bad-syntax", 400, "Bad Request", "bad-request", "modify", "SIP-70"),
    ("bad-request-text", 400, "Bad Request", "bad-request", "modify", "IMSG-17"),
    ("bad-body", 400, "Bad Request", "bad-request", "modify", "CPIM-29"),
    ("no-content-type", 400, "Bad Request", "bad-request", "modify", "SIP-27"),
    ("stale-date", 400, "Incorrect Date or Time", "not-acceptable", "modify", ""),
    ("version-unsupported", 505, "Version Not Supported", "not-acceptable", "modify", "SIP-71"),
    ("overloaded", 503, "Service Unavailable", "resource-constraint", "wait", "SIP-72"),
    ("shutting-down", 503, "Service Unavailable", "resource-constraint", "wait", "SIP-72"),
    ("store-broken", 503, "Service Unavailable", "resource-constraint", "wait", "REL-04"),
    ("store-timeout", 503, "Service Unavailable", "resource-constraint", "wait", "IMSG-23"),
    ("queue-full", 503, "Service Unavailable", "resource-constraint", "wait", "REL-24"),
    ("queue-full-recipient", 480, "Temporarily Unavailable", "resource-constraint", "wait", "MSG-67"),
    ("link-down", 480, "Temporarily Unavailable", "remote-server-timeout", "wait", "QOS-15"),
    ("expired", 480, "Temporarily Unavailable", "recipient-unavailable", "wait", "MSG-53"),
    ("internal", 500, "Server Internal Error", "internal-server-error", "cancel", "REL-18"),
    ("peer-unknown", 403, "Forbidden", "forbidden", "auth", "SEC-05"),
    ("peer-domain", 403, "Forbidden", "forbidden", "auth", "SEC-04"),
    ("sender-not-yours", 403, "Forbidden", "forbidden", "auth", "SEC-01"),
    ("sender-is-alias", 403, "Forbidden", "forbidden", "auth", "SEC-02"),
    ("sender-not-served", 403, "Forbidden", "forbidden", "auth", "ARCH-11"),
    ("sender-malformed", 400, "Bad Request", "jid-malformed", "modify", "ADDR-26"),
    ("sender-spoofs-sip", 403, "Forbidden", "forbidden", "auth", "SEC-03"),
    ("sender-foreign", 403, "Forbidden", "forbidden", "auth", "ARCH-11"),
    ("target-unknown", 404, "Not Found", "item-not-found", "cancel", "ARCH-05"),
    ("target-malformed", 404, "Not Found", "item-not-found", "cancel", "ADDR-04"),
    ("scheme-unsupported", 416, "Unsupported URI Scheme", "not-acceptable", "modify", "SIP-57"),
    ("sips-not-allowed", 480, "Temporarily Unavailable", "not-acceptable", "modify", "IMSG-31"),
    ("method-unknown", 501, "Not Implemented", "feature-not-implemented", "cancel", "MSG-05"),
    ("method-not-allowed", 405, "Method Not Allowed", "feature-not-implemented", "cancel", "SIP-75"),
    ("extension-required", 420, "Bad Extension", "feature-not-implemented", "cancel", "MSG-25"),
    ("merged", 482, "Loop Detected", "not-acceptable", "modify", "TXN-06"),
    ("loop", 482, "Loop Detected", "not-acceptable", "modify", "SEC-41"),
    ("too-many-hops", 483, "Too Many Hops", "not-acceptable", "modify", "SIP-78"),
    ("no-dialog", 481, "Call/Transaction Does Not Exist", "item-not-found", "cancel", "MSG-04"),
    ("groupchat", 403, "Forbidden", "service-unavailable", "cancel", "IMSG-04"),
    ("type-unsupported", 415, "Unsupported Media Type", "not-acceptable", "modify", "MSG-33"),
    ("typing-unknown", 415, "Unsupported Media Type", "not-acceptable", "cancel", "XEP-15"),
    ("charset-unknown", 415, "Unsupported Media Type", "not-acceptable", "modify", "IMSG-16"),
    ("encoding-unsupported", 415, "Unsupported Media Type", "not-acceptable", "modify", "IMSG-21"),
    ("encoding-unknown", 415, "Unsupported Media Type", "not-acceptable", "modify", "SEC-33"),
    ("cpim-require", 415, "Unsupported Media Type", "not-acceptable", "modify", "ICPIM-26"),
    ("body-not-acceptable", 488, "Not Acceptable Here", "not-acceptable", "modify", "SIP-91"),
    ("mime-limits", 488, "Not Acceptable Here", "not-acceptable", "modify", "SEC-34"),
    ("body-too-large", 413, "Request Entity Too Large", "policy-violation", "modify", "IMSG-28"),
    ("message-too-large", 513, "Message Too Large", "policy-violation", "modify", "SEC-35"),
    ("too-large-for-sip", 513, "Message Too Large", "policy-violation", "modify", "IMSG-27"),
]


def case(rule: str, *values: object) -> object:
    """One parametrised case that carries its own requirement number, if it proves one."""
    marks = [pytest.mark.requirement(rule)] if rule else []
    return pytest.param(*values, id=rule if rule.startswith("ERR") else str(values[0]), marks=marks)


# -- from XMPP to SIP --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("rule", "name", "types", "statuses"), [case(row[0], *row) for row in CONDITIONS])
def test_condition_row(rule: str, name: str, types: set[str], statuses: tuple[int, int]) -> None:
    row = TABLES.condition(name)
    assert (row.name, row.rule) == (name, rule)
    assert (row.sip_full, row.sip_bare) == statuses
    assert row.type in types


@pytest.mark.requirement("ERR-01")
def test_there_are_the_22_conditions_of_rfc_6120_and_no_more() -> None:
    assert [row.name for row in TABLES.conditions] == [name for _, name, _, _ in CONDITIONS]


@pytest.mark.requirement("ERR-06")
@settings(deadline=None)
@given(st.text())
def test_every_other_condition_is_undefined(name: str) -> None:
    row = TABLES.condition(f"{name}!")
    assert (row.name, row.sip_full, row.sip_bare) == ("undefined-condition", 400, 400)


# -- from SIP to XMPP --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("code", "condition", "kind"), [case(f"ERR-S{code}", code, *rest) for code, *rest in STATUSES])
def test_status_row(code: int, condition: str, kind: str) -> None:
    row = TABLES.status(code)
    assert (row.sip, row.condition, row.type, row.rule) == (str(code), condition, kind, f"ERR-S{code}")


@pytest.mark.parametrize(("name", "codes", "condition", "kind"), [case(f"ERR-S{row[0]}", *row) for row in CLASSES])
def test_class_row(name: str, codes: tuple[int, ...], condition: str, kind: str) -> None:
    for code in codes:
        row = TABLES.status(code)
        assert (row.sip, row.condition, row.type, row.rule) == (name, condition, kind, f"ERR-S{name}")


@pytest.mark.requirement("ERR-01", "ERR-07")
def test_every_status_from_300_to_699_has_its_own_row_or_that_of_its_class() -> None:
    assert {row.sip for row in TABLES.statuses} == {str(code) for code in LISTED} | {"3xx", "4xx", "5xx", "6xx"}
    for code in range(300, 700):
        assert TABLES.status(code).sip == (str(code) if code in LISTED else f"{code // 100}xx")


@pytest.mark.requirement("ERR-07")
@pytest.mark.parametrize("code", [-1, 0, 99, 299, 700, 999, 10**30])
def test_a_final_status_that_is_none_counts_as_500(code: int) -> None:
    assert TABLES.status(code) is TABLES.status(500)


@pytest.mark.requirement("MSG-45")
def test_both_directions_use_conditions_of_rfc_6120() -> None:
    known = {name for _, name, _, _ in CONDITIONS}
    assert {row.condition for row in TABLES.statuses} <= known
    assert {row.condition for row in TABLES.refusals} <= known


# -- what the gateway refuses with -------------------------------------------------------------------------------------
@pytest.mark.parametrize(("key", "sip", "reason", "condition", "kind"), [case(row[-1], *row[:-1]) for row in REFUSALS])
def test_refusal_row(key: str, sip: int, reason: str, condition: str, kind: str) -> None:
    row = TABLES.refusal(key)
    assert (row.key, row.sip, row.reason, row.condition, row.type) == (key, sip, reason, condition, kind)
    assert row.text
    assert row.rule


@pytest.mark.requirement("IMSG-31", "MSG-26")
def test_sips_is_refused_with_warning_380() -> None:
    row = TABLES.refusal("sips-not-allowed")
    assert (row.sip, row.warn_code, row.warning) == (480, 380, "SIPS Not Allowed")
    assert {other.warn_code for other in TABLES.refusals if other is not row} == {399}


@pytest.mark.requirement("IMSG-27")
def test_the_size_limit_is_named_to_the_person() -> None:
    assert TABLES.refusal("too-large-for-sip").text == "SIP MESSAGE limit is 1300 octets"


@pytest.mark.requirement("SEC-40", "SEC-02")
def test_whose_address_was_forged_cannot_be_told_from_the_answer() -> None:
    first, second = TABLES.refusal("sender-not-yours"), TABLES.refusal("sender-is-alias")
    assert (first.sip, first.reason, first.warning) == (second.sip, second.reason, second.warning)


@pytest.mark.requirement("IMSG-23", "MSG-67", "QOS-15")
def test_what_may_be_tried_again_says_when_and_nothing_else_does() -> None:
    again = {row.key for row in TABLES.refusals if row.retry_after}
    assert again == {row.key for row in TABLES.refusals if row.sip == 503} | {"queue-full-recipient", "link-down"}


@pytest.mark.requirement("SIP-91", "TXN-21")
def test_no_refusal_speaks_for_the_person_everywhere_or_says_408() -> None:
    assert {row.sip for row in TABLES.refusals} & {407, 408, *range(600, 700)} == set()


def test_a_refusal_without_a_row_is_an_internal_error() -> None:
    assert TABLES.refusal("no-such-key").sip == 500


# -- which field is which ----------------------------------------------------------------------------------------------
# RFC 7572 tables 1 and 2: what MUST be carried, and what has no mapping.
@pytest.mark.parametrize(
    ("name", "sip", "xmpp", "carried"),
    [
        case("IMSG-05", "body", "body", "<body/>", True),
        case("IMSG-09", "subject", "Subject", "<subject/>", True),
        case("IMSG-10", "thread", "Call-ID", "<thread/>", True),
        case("ADDR-24", "from", "From", "from", True),
        case("IMSG-03", "to", "Request-URI, To", "to", True),
        case("IMSG-12", "id", "transaction identifier", "id", True),
        case("IMSG-13", "language", "Content-Language", "xml:lang", True),
        case("IMSG-04", "type", "", "type", False),
        case("MSG-93", "cseq", "CSeq", "", False),
    ],
)
def test_field_of_rfc_7572(name: str, sip: str, xmpp: str, carried: bool) -> None:
    row = next(row for row in TABLES.fields if row.name == name)
    assert (row.sip, row.xmpp, row.fixed) == (sip, xmpp, True)
    assert TABLES.carries(name, "xmpp") is carried
    assert TABLES.carries(name, "sip") is carried


@pytest.mark.requirement("ICPIM-25", "ICPIM-26")
@pytest.mark.parametrize("name", ["require", "routes", "other", "content-id"])
def test_cpim_fields_that_stay_behind(name: str) -> None:
    assert not TABLES.carries(name, "xmpp")
    assert not TABLES.carries(name, "sip")


@pytest.mark.requirement("CPIM-34")
def test_cc_is_shown_on_the_xmpp_side_alone() -> None:
    assert (TABLES.carries("cc", "xmpp"), TABLES.carries("cc", "sip")) == (True, False)


def test_a_field_that_is_in_no_table_is_a_mistake() -> None:
    with pytest.raises(KeyError):
        TABLES.carries("subjekt", "xmpp")


def test_a_field_is_carried_only_to_where_it_has_a_place() -> None:
    for row in TABLES.fields:
        assert row.xmpp or not row.to_xmpp
        assert row.sip or row.cpim or not row.to_sip


def test_rows_come_table_by_table_for_printing() -> None:
    printed = dict(TABLES.rows())
    assert [*printed] == ["condition", "status", "refusal", "field", "user", "domain", "e164"]
    assert [len(printed[name]) for name in ("condition", "status", "user", "domain", "e164")] == [22, 52, 0, 0, 0]


@pytest.mark.parametrize("name", ["errors.toml", "headers.toml"])
def test_shipped_rows_name_rules_that_look_like_rules(name: str) -> None:
    rules = re.findall(r'^rule = "(.*)"$', (SHIPPED / name).read_text("utf-8"), re.M)
    assert len(rules) > 20
    for rule in rules:
        assert re.fullmatch(r"[A-Z][A-Z0-9]{2,4}-[0-9A-Zx]{2,4}(, [A-Z][A-Z0-9]{2,4}-[0-9]{2})*", rule), rule


# -- the operator's folder ---------------------------------------------------------------------------------------------
def with_file(folder: Path, name: str, text: str) -> Tables:
    (folder / name).write_text(text, "utf-8")
    return read_tables(folder)


def changed(name: str, old: str, new: str) -> str:
    """A shipped file with one place changed."""
    text = (SHIPPED / name).read_text("utf-8")
    assert old in text
    return text.replace(old, new, 1)


def fault(folder: Path, name: str, text: str) -> str:
    with pytest.raises(ConfigFault) as caught:
        with_file(folder, name, text)
    return str(caught.value).removeprefix(f"{folder}/")


@pytest.mark.requirement("ERR-01")
def test_a_deviation_is_one_line_in_a_copy(tmp_path: Path) -> None:
    text = changed(
        "errors.toml", 'sip = 484\ncondition = "item-not-found"\ntype = "cancel"', 'sip = 484\ncondition = "jid-malformed"\ntype = "modify"'
    )
    tables = with_file(tmp_path, "errors.toml", text)
    assert (tables.status(484).condition, tables.status(485).condition) == ("jid-malformed", "item-not-found")


@pytest.mark.requirement("REL-11")
def test_the_table_says_what_is_tried_again(tmp_path: Path) -> None:
    assert {code for code in range(300, 700) if TABLES.status(code).again} == {408, 480, 486, 500, 503, 504}
    text = changed("errors.toml", "sip = 404\n", "sip = 404\nagain = true\n").replace(
        'again = true\nrule = "ERR-S408"', 'rule = "ERR-S408"'
    )
    tables = with_file(tmp_path, "errors.toml", text)
    assert {code for code in range(300, 700) if tables.status(code).again} == {404, 480, 486, 500, 503, 504}


@pytest.mark.requirement("E2E-20")
def test_the_conditions_of_rfc_3923_are_data(tmp_path: Path) -> None:
    text = changed("errors.toml", 'extension = "bad-timestamp"\n', "").replace(
        'extension = "decryption-failed"\nrule = "ERR-S493"', 'rule = "ERR-S493"'
    )
    tables = with_file(tmp_path, "errors.toml", text)
    for name, shipped, own in (
        ("bad-timestamp", 400, None),
        ("unverified-signature", 406, 406),
        ("decryption-failed", 493, 493),
        ("", None, None),
    ):
        found = [row.sip if (row := each.extension(name)) else None for each in (TABLES, tables)]
        assert found == [shipped, own]
    asked = ((400, "incorrect date or time"), (400, "Bad Request"), (406, "No"), (493, "Undecipherable"), (493, "No"), (700, ""))
    assert [TABLES.failure(*each).extension for each in asked] == [
        "bad-timestamp", "", "unverified-signature", "decryption-failed", "decryption-failed", "",
    ]  # fmt: skip
    assert [tables.failure(*each).extension for each in asked] == ["", "", "unverified-signature", "decryption-failed", "", ""]


def test_a_status_without_its_own_row_takes_the_one_of_its_class(tmp_path: Path) -> None:
    text = (SHIPPED / "errors.toml").read_text("utf-8")
    row = re.search(r"\[\[status\]\]\nsip = 604\n(?:.+\n)+", text)
    assert row
    assert with_file(tmp_path, "errors.toml", text.replace(row[0], "")).status(604).sip == "6xx"


def test_a_copy_of_the_shipped_folder_changes_nothing(tmp_path: Path) -> None:
    for path in SHIPPED.glob("*.toml"):
        shutil.copy(path, tmp_path)
    assert read_tables(tmp_path) == TABLES


def test_an_option_can_be_switched_off(tmp_path: Path) -> None:
    text = changed("headers.toml", 'xmpp = "<delay/>"\nto_xmpp = true', 'xmpp = "<delay/>"\nto_xmpp = false')
    tables = with_file(tmp_path, "headers.toml", text)
    assert (tables.carries("sent-at", "xmpp"), tables.carries("sent-at", "sip")) == (False, True)


ERRORS_MISTAKES = [
    ('name = "conflict"', 'nam = "conflict"', "condition[1].nam: unknown key; did you mean name?"),
    ('name = "conflict"', 'name = "conflikt"', 'condition[1].name: "conflikt" is no defined condition of RFC 6120; did you mean conflict?'),
    ('name = "conflict"', 'name = "gone"', 'condition[4].name: "gone" is already there, as condition[1]'),
    ("sip_full = 400", 'sip_full = "400"', "condition[0].sip_full: must be an integer, not a string"),
    ("sip_full = 400", "sip_full = true", "condition[0].sip_full: must be an integer, not a boolean"),
    ("sip_full = 400", "sip_full = 200", "condition[0].sip_full: must be from 300 to 699, not 200"),
    ("sip = 300", "sip = 302", 'status[3].sip: "302" is already there, as status[1]'),
    ('sip = "6xx"', 'sip = "7xx"', 'status[47].sip: must be a status without quotes or one of 3xx, 4xx, 5xx, 6xx, not "7xx"'),
    ('type = "modify"', 'type = "retry"', 'condition[0].type: must be "auth" or "cancel" or "continue" or "modify" or "wait", not "retry"'),
    ('rule = "ERR-X01"\n', "", "condition[0].rule: is missing"),
    ('key = "loop"', 'key = "lop"', f'refusal[{LOOP}]: "lop" is used nowhere; did you mean loop?'),
    ('reason = "Bad Request"', 'reason = "Bad\\r\\nX: y"', "refusal[0].reason: must not hold control characters"),
    ('reason = "Bad Request"', 'reason = "<Bad>"', "refusal[0].reason: must be 1 to 128 characters that a SIP reason phrase may hold"),
    ("[[refusal]]", "[[refusals]]", "refusals: unknown key; did you mean refusal?"),
    (
        'extension = "unverified-signature"',
        'extension = "unverified"',
        'status[13].extension: must be "bad-timestamp" or "unverified-signature" or "decryption-failed", not "unverified"',
    ),
    (
        'extension = "bad-timestamp"',
        'extension = "decryption-failed"',
        f'refusal[{UNDECIPHERABLE}].extension: "decryption-failed" is already there, as refusal[{STALE}]',
    ),
]


@pytest.mark.requirement("ERR-01")
@pytest.mark.parametrize(("old", "new", "said"), ERRORS_MISTAKES, ids=[said.partition(":")[0] for _, _, said in ERRORS_MISTAKES])
def test_a_mistake_in_errors_is_named(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert fault(tmp_path, "errors.toml", changed("errors.toml", old, new)) == f"errors.toml:{said}"


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (r'\[\[condition\]\]\nname = "gone"\n', 'condition: a row for "gone" is missing'),
        (r'\[\[status\]\]\nsip = "5xx"\n', 'status: a row for "5xx" is missing'),
        (r'\[\[refusal\]\]\nkey = "loop"\n', 'refusal: a row for "loop" is missing'),
    ],
)
def test_a_hole_in_errors_is_named(tmp_path: Path, row: str, said: str) -> None:
    text, holes = re.subn(row + r"(?:.+\n)+", "", (SHIPPED / "errors.toml").read_text("utf-8"))
    assert holes == 1
    assert fault(tmp_path, "errors.toml", text) == f"errors.toml:{said}"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "to_xmpp = true",
            "to_xmpp = false",
            'field[0].to_xmpp: "body" is fixed by RFC 7572 tables 1 and 2, RFC 3922 sections 4.1.7 and 4.2.9',
        ),
        (
            'xmpp = "type"\nto_xmpp = false',
            'xmpp = "type"\nto_xmpp = true',
            'field[9].to_xmpp: "type" is fixed by RFC 7572 table 1 note 2 and section 5, RFC 3922 section 4.1.4',
        ),
        ("fixed = true", "fixed = false", "field[0].fixed: must stay true"),
        ("to_sip = true\nfixed", "fixed", "field[0].to_sip: is missing"),
        ("to_sip = true", "to_sip = 1", "field[0].to_sip: must be true or false, not an integer"),
        (
            'cpim = "cc"\nxmpp = "<addresses/>"\nto_xmpp = true\nto_sip = false',
            'cpim = "cc"\nxmpp = "<addresses/>"\nto_xmpp = true\nto_sip = true',
            f'field[{CC}].to_sip: the gateway has no way to carry "cc" there',
        ),
        ("[[field]]", "colour = 1\n[[field]]", "colour: unknown key; known are field"),
        ('name = "cc"', 'name = "CC"', f'field[{CC}].name: must be lower-case words joined by hyphens, not "CC"'),
        ('name = "cc"', 'name = "c c"', f'field[{CC}].name: must be lower-case words joined by hyphens, not "c c"'),
        ('name = "cc"', 'name = "bcc"', f'field[{CC}]: "bcc" is used nowhere; did you mean cc?'),
    ],
)
def test_a_mistake_in_headers_is_named(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert fault(tmp_path, "headers.toml", changed("headers.toml", old, new)) == f"headers.toml:{said}"


def test_an_unknown_mapping_file_is_refused(tmp_path: Path) -> None:
    assert fault(tmp_path, "user.toml", "") == "user.toml: unknown mapping file; did you mean users.toml?"


def test_other_files_in_the_folder_do_not_matter(tmp_path: Path) -> None:
    (tmp_path / "README").write_text("notes")
    assert read_tables(tmp_path) == TABLES


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigFault) as caught:
        read_tables(tmp_path / "none")
    assert str(caught.value) == f"{tmp_path}/none: cannot be read: No such file or directory"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("# people\n[[user]]\nsip =\n", "users.toml:line 3: Invalid value"),
        ("# people\n[[user]\n", "users.toml:line 2: Expected ']]' at the end of an array declaration"),
        ("# people\n[[user]]\nsip", "users.toml:line 3: Expected '=' after a key in a key/value pair"),
        ('[[user]]\nsip = "a"\nsip = "b"\n', "users.toml:line 3: Cannot overwrite a value"),
    ],
)
def test_broken_toml_is_named_by_its_line(tmp_path: Path, text: str, said: str) -> None:
    assert fault(tmp_path, "users.toml", text) == said


def test_a_file_that_is_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "users.toml").write_bytes(b"# one\n# \xff\n")
    with pytest.raises(ConfigFault) as caught:
        read_tables(tmp_path)
    assert str(caught.value) == f"{tmp_path}/users.toml:line 2: not UTF-8"
