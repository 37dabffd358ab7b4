"""The command as a whole: help, usage errors, where the configuration is named, and what no command may do."""

from __future__ import annotations

import os
import pty
import subprocess
from pathlib import Path

import pytest

from gateway import __version__
from gateway.cli import common
from gateway.cli.common import guarded
from gateway.core.errors import ConfigFault, Refusal, StoreFault, SyntaxFault
from tests.peers.stoxgate import command

from .running import CONFIG, SECRET, VECTORS, misused, printed, run, said, stoxgate, written

COMMANDS = ("run", "check", "translate", "inspect", "verify", "map", "tables", "send", "queue", "peers", "keys")
OF_QUEUE, OF_PEERS, OF_KEYS = ("list", "show", "retry", "drop"), ("list", "pin", "forget"), ("list", "add", "check")
GROUPS = {"queue": OF_QUEUE, "peers": OF_PEERS, "keys": OF_KEYS}
EVERY = [*((name,) for name in COMMANDS), *((group, name) for group, names in GROUPS.items() for name in names)]
WITH_JSON = [words for words in EVERY if words not in (("run",), *((group,) for group in GROUPS))]


def test_help_names_every_command_and_the_exit_codes() -> None:
    for option in ("-h", "--help"):
        help_ = printed(run(option))
        assert [line.split()[0] for line in help_.partition("Commands:\n")[2].splitlines()] == list(COMMANDS)
        assert "Exit codes: 0 done; 1 " in help_


def test_version() -> None:
    assert printed(run("--version")) == f"stoxgate, version {__version__}\n"


@pytest.mark.parametrize("words", EVERY, ids=" ".join)
def test_the_help_of_a_command_has_an_example_that_names_it(words: tuple[str, ...]) -> None:
    help_ = printed(run(*words, "--help"))
    assert "Example" in help_
    assert f"stoxgate {' '.join(words)}" in help_


@pytest.mark.parametrize("words", WITH_JSON, ids=" ".join)
def test_every_command_has_a_configuration_and_json(words: tuple[str, ...]) -> None:
    assert "--json" in printed(run(*words, "--help"))
    assert "no such option" not in run(*words, "-c", "nowhere.toml", "--json").stderr.decode().lower()


@pytest.mark.parametrize("words", EVERY, ids=" ".join)
def test_a_wrong_option_is_a_usage_error(words: tuple[str, ...]) -> None:
    assert "--bogus" in misused(run(*words, "--bogus"))


def test_an_unknown_command_is_a_usage_error() -> None:
    assert misused(run("tarnslate")).startswith("No such command 'tarnslate'.")


def test_without_a_command_the_help_is_shown_and_it_is_a_usage_error() -> None:
    done = run()
    assert done.returncode == 2
    assert b"Commands:" in done.stdout + done.stderr


# -- where the configuration is named ------------------------------------------------------------------------------------
def test_the_configuration_may_be_named_before_the_command_and_the_nearest_counts(tmp_path: Path) -> None:
    here, nowhere = str(CONFIG), str(tmp_path / "no.toml")
    for words in (("-c", here, "map"), ("-c", nowhere, "map", "-c", here), ("map", "--config", here)):
        assert printed(run(*words, "sip:a@sip.example", config=nowhere)) == "a@sip.example\n"
    assert nowhere in said(run("-c", here, "queue", "-c", nowhere, "list"), 2)


@pytest.mark.parametrize("words", [("check",), ("map", "x"), ("tables",), ("queue", "list"), ("translate", str(VECTORS / "e1-stanza.xml"))])
def test_no_configuration_says_where_to_name_one(words: tuple[str, ...], tmp_path: Path) -> None:
    missing = tmp_path / "missing.toml"
    assert said(run(*words, config=missing), 2) == f"{missing}: no such file; name your configuration with -c FILE or in STOXGATE_CONFIG"


def test_a_configuration_from_standard_input() -> None:
    assert printed(run("map", "-c", "-", "sip:a@sip.example", stdin=CONFIG.read_bytes())) == "a@sip.example\n"


def test_a_folder_is_no_configuration(tmp_path: Path) -> None:
    assert "is a directory" in misused(run("check", "-c", str(tmp_path)))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"listen": "lisen = []"}, "sip.lisen: unknown key; did you mean listen?"),
        ({"server": 'server = "nowhere"'}, 'xmpp.server: "nowhere" is not of the form host:port'),
        ({"name": ""}, 'gateway.name: is missing; write name = "gw.example.net"'),
    ],
)
@pytest.mark.parametrize(
    "words",
    [("check",), ("map", "x"), ("map", "--json", "x"), ("tables", "--json"), ("queue", "list"), ("send", "--from", "a", "--to", "b", "c")],
    ids=" ".join,
)
def test_a_wrong_configuration_names_file_key_and_reason(
    words: tuple[str, ...], changes: dict[str, str], complaint: str, tmp_path: Path
) -> None:
    config = written(tmp_path, **changes)
    assert said(run(*words, config=config), 2) == f"{config}:{complaint}"


# -- what no command may do ----------------------------------------------------------------------------------------------
@pytest.mark.requirement("SEC-45")
@pytest.mark.parametrize("secret", [f'secret = "{SECRET}"', f'secret = ["{SECRET}"]', f'secret = "{SECRET}', f'secrett = "{SECRET}"'])
def test_the_secret_is_never_printed(secret: str, tmp_path: Path) -> None:
    """Where the configuration is good, and where the secret itself is what is wrong with it."""
    config = written(tmp_path, secret=secret, outbound='outbound = "sip:127.0.0.1"')
    good, stanza = secret == f'secret = "{SECRET}"', str(VECTORS / "e1-stanza.xml")
    for words in (("check", "--json"), ("tables", "--json"), ("map", "--explain", "sip:a@sip.example"), ("queue", "list", "--json"),
                  ("translate", "--explain", "--json", stanza)):  # fmt: skip
        done = run(*words, config=config)
        assert done.returncode == (0 if good else 2)
        assert SECRET.encode() not in done.stdout + done.stderr
    for words in (("run", "--verbose"), ("check", "--live")) if good else ():
        done = stoxgate(*words, config=config)
        assert done.stderr
        assert SECRET.encode() not in done.stdout + done.stderr


def test_nothing_is_coloured_without_a_terminal() -> None:
    for words in (("--help",), ("tables",), ("check",), ("translate", "--explain", str(VECTORS / "e1-stanza.xml"))):
        done = run(*words)
        assert b"\x1b" not in done.stdout + done.stderr


@pytest.mark.requirement("SEC-23")
def test_an_error_stays_one_line_and_cannot_steer_a_terminal() -> None:
    assert said(run("map", "sip:a\x1b[2J\n\u202eb@x"), 1).startswith("sip:a\\x1b[2J\\n\\u202eb@x: Bad SIP URI")


def test_a_closed_pipe_is_no_error() -> None:
    """As in `stoxgate tables | head -1`: no traceback, exit code 0."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as nobody:
        done = subprocess.run([command(), "tables", "-c", str(CONFIG)], stdout=nobody, stderr=subprocess.PIPE, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_full_disk_is_said() -> None:
    with Path("/dev/full").open("wb") as full:
        words = [command(), "map", "-c", str(CONFIG), "sip:a@sip.example"]
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (2, b"stoxgate: output: No space left on device\n")


def test_without_standard_input_a_message_has_to_be_named() -> None:
    shell = f'exec "{command()}" inspect <&-'
    done = subprocess.run(["sh", "-c", shell], capture_output=True, check=False, timeout=60)
    assert said(done, 2) == "standard input is closed; name a file"


def test_on_a_terminal_the_command_says_that_it_reads_the_keyboard() -> None:
    ours, theirs = pty.openpty()
    try:
        os.write(ours, b"hello\n\x04")
        done = subprocess.run([command(), "inspect"], stdin=theirs, capture_output=True, check=False, timeout=60)
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == 1
    assert done.stderr.startswith(b"Reading a message from the keyboard; end it with Ctrl-D on a line of its own.\n")


def test_a_command_does_not_load_what_only_the_bridge_needs() -> None:
    """`translate` and `map` start without the store, the HTTP service and the component library."""
    heavy = "sqlalchemy aiohttp slixmpp dns"
    loaded = f"[name for name in '{heavy}'.split() if name in sys.modules]"
    code = f"import sys, gateway.cli.translate, gateway.cli.map, gateway.cli.queue; print({loaded})"
    python = Path(command()).parent / "python"
    assert subprocess.run([python, "-c", code], capture_output=True, check=True, timeout=60).stdout == b"[]\n"


@pytest.mark.parametrize(
    ("fault", "code", "line"),
    [(Refusal("loop"), 1, "loop"), (Refusal("loop", "round and round"), 1, "round and round"), (SyntaxFault("Bad URI"), 1, "Bad URI"),
     (StoreFault("disk full"), 2, "disk full"), (ConfigFault("f", "k", "is missing"), 2, "f:k: is missing"),
     (OSError(5, "Input/output error"), 2, "output: Input/output error")],
)  # fmt: skip
def test_an_error_of_the_gateway_is_a_line_and_an_exit_code(
    fault: Exception, code: int, line: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    @guarded
    def fails() -> None:
        raise fault

    monkeypatch.setattr(common, "_forget_output", lambda: None)
    with pytest.raises(SystemExit) as ended:
        fails()
    assert (ended.value.code, *capsys.readouterr()) == (code, "", f"stoxgate: {line}\n")


def test_the_installed_command_is_this_one() -> None:
    assert stoxgate("--version").stdout == run("--version").stdout
