"""Running the command in tests: as a process of its own, and, where only what it says matters, in this one."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from click.testing import CliRunner

from gateway.cli import main
from tests.peers.stoxgate import command

VECTORS = Path(__file__).resolve().parents[1] / "vectors" / "translate"
CONFIG = VECTORS / "gateway.toml"
SECRET = "made-up-for-the-examples"  # of CONFIG
Done = subprocess.CompletedProcess[bytes]


def stoxgate(*arguments: str, stdin: bytes = b"", config: Path | str = CONFIG, cwd: Path = VECTORS) -> Done:
    """Run the installed command, without a terminal. `config` goes into STOXGATE_CONFIG, so that a test may say -c itself."""
    environment = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": str(cwd), "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}
    environment["STOXGATE_CONFIG"] = str(config)
    return subprocess.run([command(), *arguments], input=stdin, capture_output=True, cwd=cwd, env=environment, timeout=60, check=False)


def run(*arguments: str | Path, stdin: bytes = b"", config: Path | str = CONFIG) -> Done:
    """The same in this process; an exception that the command should have turned into a line is raised."""
    result = CliRunner(env={"STOXGATE_CONFIG": str(config)}).invoke(main, [str(each) for each in arguments], input=stdin)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Done(arguments, result.exit_code, result.stdout_bytes, result.stderr_bytes)


def printed(done: Done) -> str:
    """Standard output of a command that did its work and had nothing to complain of."""
    assert (done.returncode, done.stderr) == (0, b""), done
    return done.stdout.decode()


def said(done: Done, code: int) -> str:
    """What a command that failed said on standard error: with this exit code, in one line, and with nothing on standard output."""
    assert (done.returncode, done.stdout) == (code, b""), done
    line = done.stderr.decode()
    assert line.startswith("stoxgate: "), line
    assert line.endswith("\n"), line
    assert line.count("\n") == 1, line
    return line.removeprefix("stoxgate: ").rstrip("\n")


def misused(done: Done) -> str:
    """The last line of a usage error: exit code 2, nothing on standard output, and where to find help."""
    assert (done.returncode, done.stdout) == (2, b""), done
    *_, hint, _, line = done.stderr.decode().rstrip("\n").split("\n")
    assert hint.endswith("--help' for help."), hint
    assert line.startswith("Error: "), line
    return line.removeprefix("Error: ")


def with_numbers(folder: Path, uri: str = "sip") -> Path:
    """A copy of the configuration in `folder` with sip.example as the E.164 domain, where one number is bob's."""
    (folder / "mappings").mkdir()
    (folder / "mappings" / "domains.toml").write_text(f'[[e164]]\ndomain = "sip.example"\nuri = "{uri}"\n')
    (folder / "mappings" / "users.toml").write_text('[[user]]\nsip = "sip:+15551230002@sip.example"\nxmpp = "bob@sip.example"\n')
    return written(folder, data_dir='data_dir = "var"\nmappings = "mappings"')


def written(folder: Path, **changes: str) -> Path:
    """A copy of the configuration in `folder`, with lines changed: written(tmp_path, secret='secret_env = "X"'); "" takes one out."""
    lines = [changes.get(line.partition(" = ")[0], line) for line in CONFIG.read_text("utf-8").splitlines()]
    path = folder / "gateway.toml"
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path
