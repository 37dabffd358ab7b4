"""The wheel: what is in it, and that it works away from the source tree. Nothing is fetched; the build happens in a copy."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).resolve().parents[1]
BUILT_FROM = ("gateway", "mappings", "tests", "conf", "pyproject.toml", "README.md", "LICENSE")
PIP = ("-m", "pip", "--disable-pip-version-check", "--no-cache-dir")
REQUEST = (
    b"MESSAGE sip:juliet@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK7\r\nMax-Forwards: 70\r\n"
    b"From: <sip:romeo@example.net>;tag=1\r\nTo: <sip:juliet@example.com>\r\nCall-ID: 1@example.net\r\nCSeq: 1 MESSAGE\r\n"
    b"Content-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"
)


def python(*arguments: str, folder: Path, path: str = "") -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | ({"PYTHONPATH": path} if path else {})
    subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, check=True, capture_output=True)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    for name in BUILT_FROM:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    python(*PIP, "wheel", "-q", "--no-index", "--no-deps", "--no-build-isolation", "--wheel-dir", "dist", ".", folder=folder)
    [built] = (folder / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the wheel alone is installed."""
    target = tmp_path_factory.mktemp("installed")
    python(*PIP, "install", "-q", "--no-index", "--no-deps", "--target", str(target), str(wheel), folder=target)
    shutil.copy(ROOT / "conf" / "gateway.toml", target / "gateway.toml")
    return target


def run(installed: Path, *arguments: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """The installed command, in a folder that holds no source."""
    command: Sequence[str] = (str(installed / "bin" / "stoxgate"), *arguments)
    environment = os.environ | {"PYTHONPATH": str(installed), "STOXGATE_CONFIG": str(installed / "gateway.toml")}
    return subprocess.run(command, cwd=installed, env=environment, input=given, capture_output=True, check=False, timeout=60)


def test_the_wheel_holds_the_package_and_its_tables_and_nothing_else(wheel: Path) -> None:
    held = {name for name in ZipFile(wheel).namelist() if ".dist-info/" not in name}
    source = {str(file.relative_to(ROOT)) for file in (ROOT / "gateway").rglob("*.py")}
    tables = {f"gateway/mappings/{file.name}" for file in (ROOT / "mappings").iterdir() if file.suffix in (".py", ".toml")}
    assert {f"gateway/mappings/{name}.toml" for name in ("errors", "headers", "users", "domains")} < tables
    assert held == source | tables


def test_what_it_needs_and_offers_is_stated(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        [metadata] = [archive.read(name).decode() for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        [entries] = [archive.read(name).decode() for name in archive.namelist() if name.endswith(".dist-info/entry_points.txt")]
    required = [line for line in metadata.splitlines() if line.startswith("Requires-Dist: ") and "extra ==" not in line]
    assert any("slixmpp" in line for line in required)
    assert not any("pytest" in line or "hypothesis" in line for line in required)
    assert "stoxgate = gateway.cli:main" in entries


def test_it_is_the_installed_copy_that_runs(installed: Path) -> None:
    code = "import sys, gateway.mappings as m; assert {m.__file__, sys.modules['gateway'].__file__} == set(sys.argv[1:])"
    files = [str(installed / "gateway" / name) for name in ("__init__.py", "mappings/__init__.py")]
    python("-c", code, *files, folder=installed, path=str(installed))


def test_translate_works_from_the_wheel(installed: Path) -> None:
    done = run(installed, "translate", given=REQUEST)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == (
        b"<message from='romeo@example.net' to='juliet@example.com' id='7'><thread>1@example.net</thread><body>hello</body></message>"
    )


def test_tables_works_from_the_wheel(installed: Path) -> None:
    done = run(installed, "tables", "errors")
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"item-not-found" in done.stdout
    assert b"refusal: " in done.stdout
