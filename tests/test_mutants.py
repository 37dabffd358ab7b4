"""The tool that breaks the code: what it breaks, what it spares, and that its verdict is right, on a project of a few lines."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests import mutants

SUM = '''"""Adds."""
from __future__ import annotations

import logging

__all__ = ["total"]
log = logging.getLogger("sum")


def total(numbers: list[int], most: int = 10) -> int:
    """The sum of what is below `most`."""
    log.info("adding %d numbers", len(numbers))
    found = 0
    for number in numbers:
        if number < most:
            found += number
    return found
'''
WEAK = "from gateway.core.sum import total\n\n\ndef test_total():\n    total([1, 2])\n"
STRONG = """from gateway.core.sum import total


def test_total():
    assert [total([1, 2]), total([]), total([10, 3]), total([9]), total([1], 1), total([11])] == [3, 0, 3, 9, 0, 0]
"""


@pytest.fixture(autouse=True)
def quick_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """The small project needs none of the plugins that take a second to load."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


def project(folder: Path, tests: str, code: str = SUM) -> Path:
    """A project with one file and one test file."""
    files = {"gateway/__init__.py": "", "gateway/core/__init__.py": "", "gateway/core/sum.py": code, "tests/core/test_sum.py": tests}
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "pyproject.toml").write_text('[tool.pytest.ini_options]\npythonpath = ["."]\n')
    return folder


def run(root: Path, *arguments: str) -> int:
    return mutants.main(["--root", str(root), "--only", "gateway/core", "--seed", "1", "--jobs", "2", *arguments])


def changes(code: str) -> list[str]:
    return [f"{mutant.before} -> {mutant.after}" for mutant in mutants.Breaker(Path("x.py"), code).found]


def test_every_kind_of_change_is_made() -> None:
    code = "g()\nif not a or b > 1:\n    raise E('k')\na -= 1\ndef f(a):\n    return a + b is None, True, b'x', f'<{a}>'\n"
    assert changes(code) == [
        "g() -> pass", "not a or b > 1 -> not a and b > 1", "not a -> a", "b > 1 -> b >= 1", "1 -> 2", "raise E('k') -> pass",
        "'k' -> 'Xk'",
        "a -= 1 -> a += 1", "1 -> 2", "return (a + b is None, True, b'x', f'<{a}>') -> return None", "a + b is None -> a + b is not None",
        "a + b -> a - b", "True -> False", "b'x' -> b'Xx'", "'<' -> ''", "'>' -> ''",
    ]  # fmt: skip


def test_what_no_test_could_hold_is_spared() -> None:
    wanted = {"10", "0", "number < most", "found += number", "return found", "'sum'"}
    assert {change.partition(" -> ")[0] for change in changes(SUM)} == wanted
    assert not changes("@cached(size=4)\nclass A:\n    'Doc.'\n    __slots__ = ('a',)\n    a: Literal['x']\n")
    assert not changes("if TYPE_CHECKING:\n    from x import y\n    T = f('y')\n")
    assert not changes("T = tuple['array[int]', int]\nRULE = 'RFC 3261 section 20'\nx = 1  # pragma: no cover\n")
    assert not changes("known = lru_cache(4096)(find)\n_REMEMBERED, _MOST_REMEMBERED = 1, 2\nis_kept = size <= _MOST_REMEMBERED\n")
    assert changes("raise Fault('too-large', 'The message is too large', section='RFC 3261')") == [
        "raise Fault('too-large', 'The message is too large', section='RFC 3261') -> pass",
        "'too-large' -> 'Xtoo-large'",
    ]


def test_signs_lose_one_and_words_get_a_letter() -> None:
    assert changes("text.strip(' \\t') == b'\\r\\n' + '' + 'a.' + ')?'")[-5:] == [
        "' \\t' -> ' '", "b'\\r\\n' -> b'\\r'", "'' -> 'X'", "'a.' -> 'Xa.'", "')?' -> 'X)?'"
    ]  # fmt: skip


def test_the_change_that_is_wanted_is_made_and_no_other() -> None:
    every = mutants.Breaker(Path("x.py"), "a = 1\nb = 2 < c\n").found
    assert [ast.unparse(mutants.Breaker(Path("x.py"), "a = 1\nb = 2 < c\n", each.number).tree) for each in every] == [
        "a = 2\nb = 2 < c",
        "a = 1\nb = 2 <= c",
        "a = 1\nb = 3 < c",
    ]


def test_one_seed_is_one_choice_of_lines(tmp_path: Path) -> None:
    root = project(tmp_path, STRONG)
    one, again, other = (mutants.choose(root, ["gateway/core/sum.py"], 3, seed) for seed in (5, 5, 6))
    assert one == again != other
    assert len({mutant.line for mutant in one}) == 3
    assert len(mutants.choose(root, ["gateway/core"], 99, 1)) == 6


def test_good_tests_notice_everything_but_a_logger_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = project(tmp_path, STRONG)
    before = {file: file.read_bytes() for file in root.rglob("*") if file.is_file()}
    assert run(root) == 1
    said = capsys.readouterr().out.splitlines()
    assert said == ["seed 1, 6 changes", "not noticed: gateway/core/sum.py:7: 'sum' -> 'Xsum'", "5 of 6 were noticed"]
    assert {file: file.read_bytes() for file in root.rglob("*") if file.is_file()} == before


def test_all_noticed_is_success(tmp_path: Path) -> None:
    assert run(project(tmp_path, STRONG, SUM.replace('"sum"', "__name__"))) == 0


def test_survivors_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(project(tmp_path, WEAK, "def total(numbers):\n    return sum(numbers) + 1\n")) == 1
    said = capsys.readouterr().out
    assert "not noticed: gateway/core/sum.py:2: " in said
    assert "0 of 1 were noticed" in said


def test_a_hang_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mutants, "_SHORTEST", 1.0)
    code = "def total(numbers):\n    at = 0\n    while at < 2:\n        at += 1\n"
    root = project(tmp_path, WEAK, code)
    [forever] = [mutant for mutant in mutants.Breaker(Path("gateway/core/sum.py"), code).found if mutant.after == "at -= 1"]
    assert not list(mutants.survivors(root, [forever], 1, ()))


def test_tests_that_fail_anyway_say_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run(project(tmp_path, "def test():\n    assert False\n"))
    assert ended.value.code == 2
    assert capsys.readouterr().err == "these tests fail without any change: tests/core\n"


def test_the_tests_of_the_same_name_come_first(tmp_path: Path) -> None:
    for name in ("tests/core/test_uri.py", "tests/core/test_jid.py", "tests/cli/test_map.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert mutants.stages(tmp_path, Path("gateway/core/uri.py")) == [("tests/core/test_uri.py",), ("tests/core",), ("tests/cli",)]
    assert mutants.stages(tmp_path, Path("gateway/core/dates.py"), last=()) == [("tests/core",)]
