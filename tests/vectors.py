"""The test vectors: message files with what has to become of them, as `index.toml` beside them says.

Our own MESSAGE variants are in tests/vectors/sip-message. The files of RFC 4475 and RFC 5118 are not part of the project: they are read
from the folder that STOXGATE_RFC_VECTORS names, or from ../shared/vectors/sip beside the project; what needs them is skipped without them.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
OWN = ROOT / "tests" / "vectors" / "sip-message"
RFC = Path(os.environ.get("STOXGATE_RFC_VECTORS") or ROOT.parent / "shared" / "vectors" / "sip")


@dataclass(frozen=True, slots=True)
class Case:
    """One file. parse: "ok", "error" or "either" for a parser alone. status: acceptable answers. drop_ok: no answer is right too."""

    name: str
    data: bytes
    kind: str
    transport: str
    parse: str
    outcome: str
    status: tuple[int, ...]
    checks: tuple[str, ...]
    drop_ok: bool


def load(folder: Path) -> list[Case]:
    """The cases of a folder, in the order of its index; empty when there is no such folder. A file that is not as it was is refused."""
    index = folder / "index.toml"
    if not index.exists():
        return []
    found = []
    for row in tomllib.loads(index.read_text("utf-8"))["case"]:
        data = (folder / row["file"]).read_bytes()
        digests = row["sha256"] if isinstance(row["sha256"], list) else [row["sha256"]]
        if sha256(data).hexdigest() not in digests:
            raise ValueError(f"{folder / row['file']} has been changed")
        found.append(Case(row["name"], data, row["kind"], row["transport"], row["parse"], row["outcome"], tuple(row["status"]),
                          tuple(row.get("checks", ())), row.get("drop_ok", False)))  # fmt: skip
    return found


def cases() -> Sequence[object]:
    """Every case of both folders as a pytest parameter; one that is skipped stands for the RFC files when they are not there."""
    rfc = load(RFC)
    missing = pytest.param(None, id="rfc4475-rfc5118", marks=pytest.mark.skip(reason=f"no RFC vectors in {RFC} (STOXGATE_RFC_VECTORS)"))
    return [pytest.param(case, id=case.name) for case in (*load(OWN), *rfc)] + ([] if rfc else [missing])
