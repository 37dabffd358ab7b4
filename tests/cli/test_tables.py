"""stoxgate tables: the mapping tables in force, and which of their rows have no effect yet."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import gateway
from gateway.cli.tables import UNBUILT_FIELDS, UNBUILT_REFUSALS
from gateway.core.tables import read_tables

from .running import misused, printed, run, written


@pytest.mark.parametrize(
    ("name", "kinds"),
    [((), ["condition", "status", "refusal", "field", "user", "domain", "e164"]), (("errors",), ["condition", "status", "refusal"]),
     (("headers",), ["field"]), (("users",), ["user"]), (("domains",), ["domain", "e164"])],
)  # fmt: skip
def test_each_table_by_its_name_and_all_of_them_without(name: tuple[str, ...], kinds: list[str]) -> None:
    rows = dict(read_tables().rows())
    found = json.loads(printed(run("tables", "--json", *name)))
    assert list(found) == kinds
    assert {kind: len(found[kind]) for kind in kinds} == {kind: len(rows[kind]) for kind in kinds}
    heads = [line for line in printed(run("tables", *name)).splitlines() if line.endswith(" row(s), as shipped")]
    assert heads == [f"{kind}: {len(rows[kind])} row(s), as shipped" for kind in kinds]


def test_an_unknown_table_is_a_usage_error() -> None:
    assert "'header' is not one of 'errors', 'headers', 'users', 'domains'." in misused(run("tables", "header"))


def test_a_row_has_its_values_its_rule_and_its_source() -> None:
    rows = json.loads(printed(run("tables", "--json", "errors")))
    assert rows["condition"][0] == {
        "name": "bad-request", "type": "modify", "sip_full": 400, "sip_bare": 400, "rule": "ERR-X01",
        "source": "RFC 7247 section 7.1, RFC 6120 section 8.3.3.1", "note": "",
    }  # fmt: skip
    assert json.loads(printed(run("tables", "--json", "headers")))["field"][0]["to_xmpp"] is True


def test_a_row_is_one_line_without_a_terminal() -> None:
    lines = printed(run("tables", "headers")).splitlines()
    assert len(lines) == 1 + 2 + len(read_tables().fields) + 1


def test_rows_without_effect_say_so() -> None:
    found = json.loads(printed(run("tables", "--json")))
    later = {row.get("name", row.get("key")) for rows in found.values() for row in rows if row["note"].startswith("no effect yet: ")}
    assert later == set(UNBUILT_FIELDS) | UNBUILT_REFUSALS
    assert "no effect yet: nothing is refused with it" in printed(run("tables", "errors"))


def test_the_refusals_without_effect_are_named_by_no_code() -> None:
    code = "".join(file.read_text("utf-8") for file in Path(gateway.__file__).parent.rglob("*.py") if file.parent.name != "cli")
    assert {row.key for row in read_tables().refusals if f'"{row.key}"' not in code} == UNBUILT_REFUSALS


def test_the_fields_without_effect_are_rows() -> None:
    assert set(UNBUILT_FIELDS) <= {row.name for row in read_tables().fields}


def test_the_operators_table_is_named_and_its_rows_are_shown(tmp_path: Path) -> None:
    (tmp_path / "mappings").mkdir()
    users = tmp_path / "mappings" / "users.toml"
    users.write_text('[[user]]\nsip = "sip:bob@sip.example"\nxmpp = "robert@sip.example"\n')
    config = written(tmp_path, data_dir='data_dir = "var"\nmappings = "mappings"')
    text = printed(run("tables", "users", config=config))
    assert text.startswith(f"user: 1 row(s), {users}\n")
    assert "robert@sip.example" in text
    assert printed(run("tables", "domains", config=config)) == "domain: 0 row(s), as shipped\ne164: 0 row(s), as shipped\n"
