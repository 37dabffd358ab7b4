"""stoxgate peers on a stopped gateway, and what it says on a terminal and to scripts."""

from __future__ import annotations

import fcntl
import json
from pathlib import Path
from typing import Any

import pytest

from gateway.core.address import SipAddress
from gateway.core.ports import Recollection
from gateway.sip.peers import Peers
from gateway.store.sqlite import SqliteStore

from .running import Done, misused, printed, run, said, written

NOW = 1_900_000_000.0
TABLES = """
[[route]]
domain = "sip.example"
cpim = "never"
[[route]]
domain = "*"
imdn = "always"
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stopped gateway that has learned of romeo, and of tomas long ago."""
    monkeypatch.setattr("time.time", lambda: NOW)
    path = written(tmp_path, data_dir='data_dir = "var"')
    (tmp_path / "var").mkdir()
    store = SqliteStore(tmp_path / "var" / "outbox.db")
    kept: list[Recollection] = []
    Peers(store.secret, lambda: NOW - 90_000, kept.append).pin(SipAddress("tomas", "sip.example"), {"typing": False})
    peers = Peers(store.secret, lambda: NOW - 3600, kept.append)
    peers._learn(SipAddress("romeo", "sip.example"), {"cpim": False, "typing": True}, "415")
    store.commit([], [], [], [], 1, NOW, kept)
    store.close()
    return path


def peers(config: Path, *words: str) -> Done:
    return run("peers", *words, config=config)


def rows(config: Path, *words: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(printed(peers(config, *words, "--json")))
    return found


def facts(config: Path, *words: str) -> dict[str, tuple[bool, str]]:
    return {row["feature"]: (row["takes"], row["source"]) for row in rows(config, *words)}


def test_the_list_for_people_and_for_scripts(config: Path) -> None:
    assert printed(peers(config)).splitlines() == [
        "address            feature  takes  source  until",
        "-----------------  -------  -----  ------  --------------------",
        "romeo@sip.example  cpim     no     415     2030-03-18T16:46:40Z",
        "romeo@sip.example  typing   yes    415     2030-03-18T16:46:40Z",
        "tomas@sip.example  typing   no     pinned  2031-03-16T16:46:40Z",
    ]
    assert rows(config)[0] == {
        "address": "romeo@sip.example",
        "feature": "cpim",
        "takes": False,
        "source": "415",
        "until": "2030-03-18T16:46:40Z",
    }
    assert printed(peers(config, "list")) == printed(peers(config)) == printed(run("peers", "-c", config))


@pytest.mark.parametrize("address", ["sip:romeo@sip.example", "romeo@sip.example", "sip:ROMEO@sip.example", "xmpp:romeo@sip.example"])
def test_one_address_by_any_of_its_names(config: Path, address: str) -> None:
    assert facts(config, address) == facts(config, "list", address) == {"cpim": (False, "415"), "typing": (True, "415")}


def test_what_a_route_leaves_no_choice_about_stands_in_front_and_for_one_address_in_place_of_the_rest(config: Path) -> None:
    config.write_text(config.read_text() + TABLES)
    assert [tuple(row.values()) for row in rows(config)][:2] == [
        ("*@sip.example", "cpim", False, "configured", None),
        ("*", "imdn", True, "configured", None),
    ]
    assert facts(config, "sip:romeo@sip.example") == {"cpim": (False, "configured"), "typing": (True, "415")}
    assert "*@sip.example      cpim     no     configured\n" in printed(peers(config))


def test_typing_notices_stop_for_who_does_not_take_them_whatever_the_route_says(config: Path) -> None:
    config.write_text(config.read_text() + TABLES.replace('cpim = "never"', 'typing = "always"'))
    assert facts(config, "sip:tomas@sip.example")["typing"] == (False, "pinned")
    assert facts(config, "sip:romeo@sip.example")["typing"] == (True, "configured")


@pytest.mark.parametrize("feature", ["html", "sipfrag"])
def test_what_the_route_never_sends_is_taken_nowhere(config: Path, feature: str) -> None:
    sends = {"html": "html = true", "sipfrag": 'failure_report = "sipfrag"'}
    for whom in ("romeo@sip.example", "*@sip.example"):
        printed(peers(config, "pin", whom, f"{feature}=yes"))
    assert [(row["takes"], row["source"], row["until"]) for row in rows(config) if row["feature"] == feature] == [
        (False, "configured", None)
    ] * 2
    assert facts(config, "sip:romeo@sip.example")[feature] == (False, "configured")
    config.write_text(config.read_text() + f'[[route]]\ndomain = "sip.example"\n{sends[feature]}\n')
    assert [(row["takes"], row["source"]) for row in rows(config) if row["feature"] == feature] == [(True, "pinned")] * 2
    assert facts(config, "sip:romeo@sip.example")[feature] == (True, "pinned")
    printed(peers(config, "pin", "romeo@sip.example", f"{feature}=no"))
    assert facts(config, "sip:romeo@sip.example")[feature] == (False, "pinned")


def test_pin_and_forget(config: Path) -> None:
    assert printed(peers(config, "pin", "sip:romeo@sip.example", "cpim=yes", "imdn=no")) == "sip:romeo@sip.example: pin done\n"
    assert facts(config, "sip:romeo@sip.example") == {"cpim": (True, "pinned"), "typing": (True, "415"), "imdn": (False, "pinned")}
    printed(peers(config, "pin", "sip:romeo@sip.example", "cpim=auto"))
    assert facts(config, "sip:romeo@sip.example")["cpim"] == (False, "415")
    done = json.loads(printed(peers(config, "forget", "sip:romeo@sip.example", "--json")))
    assert done == {"address": "sip:romeo@sip.example", "done": "forget"}
    assert printed(peers(config, "sip:romeo@sip.example")) == "nothing is known of sip:romeo@sip.example\n"
    assert said(peers(config, "forget", "sip:romeo@sip.example"), 1) == "nothing is known of sip:romeo@sip.example"
    assert [row["address"] for row in rows(config)] == ["tomas@sip.example"]


def test_a_domain_may_be_pinned(config: Path) -> None:
    done = json.loads(printed(peers(config, "pin", "*@sip.example", "typing=yes", "--json")))
    assert done == {"address": "*@sip.example", "done": "pin"}
    assert facts(config, "sip:anybody@sip.example") == {"typing": (True, "pinned")}
    assert facts(config, "sip:tomas@sip.example") == {"typing": (False, "pinned")}
    printed(peers(config, "forget", "*@sip.example"))
    assert facts(config, "sip:anybody@sip.example") == {}


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("pin", "sip:romeo@sip.example"), "Missing argument 'FEATURE=yes|no|auto...'."),
        (("pin",), "Missing argument 'ADDRESS'."),
        (("pin", "sip:romeo@sip.example", "cpim"), "each fact is FEATURE=yes, =no or =auto"),
        (("pin", "sip:romeo@sip.example", "smell=yes"), '"smell" is none of cpim, imdn, typing, html, sipfrag, smime'),
        (("pin", "sip:romeo@sip.example", "cpim=perhaps"), 'cpim: "perhaps" is none of yes, no, auto'),
        (("sip:romeo@sip.example", "sip:tomas@sip.example"), "Got unexpected extra argument (sip:tomas@sip.example)"),
    ],
)
def test_misuse(config: Path, words: tuple[str, ...], complaint: str) -> None:
    assert misused(peers(config, *words)) == complaint


@pytest.mark.parametrize("verb", ["list", "pin", "forget"])
@pytest.mark.parametrize(
    ("address", "complaint"),
    [
        ("juliet@xmpp.example", "juliet@xmpp.example lives on the XMPP side"),
        ("sip:a@nobody.example", "sip:a@nobody.example is nobody that is served here"),
        ("*@nobody.example", "nobody.example is no SIP domain that is served here"),
    ],
)
def test_an_address_that_is_no_sip_peer(config: Path, verb: str, address: str, complaint: str) -> None:
    words = (verb, address, "cpim=no") if verb == "pin" else (verb, address)
    assert said(peers(config, *words), 1) == complaint
    assert said(peers(config, *(word.replace(address, "sip:@:@") for word in words)), 1) != ""


def test_before_the_first_start_there_is_nothing_and_nothing_is_made(tmp_path: Path) -> None:
    config = written(tmp_path)
    assert printed(peers(config)) == "nothing is known of anybody\n"
    assert printed(peers(config, "--json")) == "[]\n"
    assert said(peers(config, "pin", "sip:romeo@sip.example", "cpim=no"), 1) == "there is no store yet; start the gateway once"
    assert said(peers(config, "forget", "sip:romeo@sip.example"), 1) == "nothing is known of sip:romeo@sip.example"
    assert not (tmp_path / "var").exists()


@pytest.mark.requirement("REL-07")
def test_a_store_that_is_in_use_is_left_alone(config: Path) -> None:
    with (config.parent / "var" / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert "is in use by another stoxgate process" in said(peers(config), 2)


def test_help_says_what_can_be_done(config: Path) -> None:
    text = printed(peers(config, "--help"))
    for piece in ("stoxgate peers pin", "stoxgate peers forget", "sipfrag", "list", "24 hours"):
        assert piece in text
    assert "FEATURE=yes|no|auto" in printed(peers(config, "pin", "--help"))
