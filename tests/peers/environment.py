"""Make a virtual environment with pip in it, also where Debian's python3-venv is missing: `tests/peers/environment.py FOLDER`.

Standard library only. Debian's python3 comes without ensurepip; its pip is a wheel in the package python3-pip-whl, which `install.py`
fetches and which can install itself.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import venv
from pathlib import Path

import install  # type: ignore[import-not-found]  # the file beside this one, which is run as a script


def main(folder: str) -> int:
    if sys.version_info < (3, 11):  # noqa: UP036 (this file is what says so to an older one)
        print(f"this needs Python 3.11 or newer, and {sys.executable} is {sys.version.split()[0]}: make PYTHON=...", file=sys.stderr)
        return 1
    has_pip = importlib.util.find_spec("ensurepip") is not None
    venv.create(folder, clear=True, with_pip=has_pip, symlinks=True)
    if has_pip:
        return 0
    try:
        install.install(["pip"])
    except install.InstallError as error:
        print(f"environment.py: {error}", file=sys.stderr)
        return 1
    wheel = max((install.ROOT / "usr/share/python-wheels").glob("pip-*.whl"))
    return subprocess.run(
        [str(Path(folder) / "bin/python"), "-m", "pip", "install", "-q", "--no-index", "--no-deps", str(wheel)],
        env=os.environ | {"PYTHONPATH": str(wheel)},
        check=False,
    ).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
