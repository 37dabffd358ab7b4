"""Whether the tests notice small changes of the code: `python -m tests.mutants [--count N] [--seed N] [--only PATH] [--jobs N] [--quick]`.

Random lines of the rooms in ROOMS are broken, one at a time: a comparison, a boolean, a number off by one, a returned value,
a call or a raise left out, other text. What is for people alone is not touched (docstrings, logs, the words of an exception), nor are
annotations, decorators, `__all__` and `__slots__`, nor how much a cache of results holds: that is what the code calls REMEMBERED.

Each broken file meets the tests of its own name, then those of its room, then tests/conformance and tests/cli (not with --quick); tests
beside real peers (`interop`) are left out. Tests that run for too long have noticed too. The working tree is only read: everything happens
in copies of it, one for each job. Exit status 1 when fewer than 85 of 100 were noticed, 2 when the tests fail without any change.
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("gateway/core", "gateway/sip", "gateway/xmpp", "gateway/relay", "gateway/smime")
LAST = ("tests/conformance", "tests/cli")
WANTED_OF_100 = 85
_OPTIONS = ("-x", "-q", "-m", "not interop", "-p", "no:cacheprovider")
_NOTHING_NOTICED = (0, 5)  # all passed; no tests
_NOT_COPIED = shutil.ignore_patterns(".*", "__pycache__", "var", "dist", "build", "*.egg-info")
_SHORTEST, _LONGEST, _PATIENCE = 20.0, 1800.0, 3.0
_MOST_MEMORY = 6 << 30

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.In: ast.NotIn,
    ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
_BOOLEANS: dict[type[ast.boolop], type[ast.boolop]] = {ast.And: ast.Or, ast.Or: ast.And}
_OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult, ast.BitAnd: ast.BitOr,
}  # fmt: skip
_TYPES = frozenset(("Callable", "Literal", "dict", "list", "tuple"))
_CITATION = re.compile(r"(?:RFC|XML) [0-9]|[A-Z]+-[0-9]")
_LETTERS_OR_PATTERN = re.compile(r"[^\W_]|[()\[\]\\|]")
_CACHE = re.compile(r"\(?_?(?:MOST_)?REMEMBERED\w*")
_PRAGMA = re.compile(r"#\s*(?:pragma|type):?")


# -- what can be broken ------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Mutant:
    """One change of one file. path: from the root of the project. number: of the change among those of the file."""

    path: Path
    number: int
    line: int
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.before:.90} -> {self.after:.90}"


class Breaker(ast.NodeTransformer):
    """Walks one file in a fixed order, notes in `found` every change that can be made, and makes the one numbered `wanted` in `tree`."""

    def __init__(self, path: Path, source: str, wanted: int = -1) -> None:
        tree = ast.parse(source)
        self.found: list[Mutant] = []
        self._path, self._wanted = path, wanted
        pragmas = {number for number, line in enumerate(source.splitlines(), 1) if _PRAGMA.search(line)}
        self._spared = {id(each) for node in ast.walk(tree) for part in _spared(node, pragmas) for each in ast.walk(part)}
        self.tree = self.visit(tree)

    def visit(self, node: ast.AST) -> ast.AST:
        if id(node) in self._spared:
            return node
        if isinstance(node, ast.expr | ast.stmt):
            for changed in _changes(node):
                self.found.append(Mutant(self._path, len(self.found), node.lineno, ast.unparse(node), ast.unparse(changed)))
                if self.found[-1].number == self._wanted:
                    return changed
        return self.generic_visit(node)


def _changes(node: ast.expr | ast.stmt) -> Iterator[ast.AST]:
    match node:
        case ast.Compare(left, ops, comparators):
            for at, op in enumerate(ops):
                yield ast.Compare(left, [*ops[:at], _COMPARISONS[type(op)](), *ops[at + 1 :]], comparators)
        case ast.BoolOp(op, values):
            yield ast.BoolOp(_BOOLEANS[type(op)](), values)
        case ast.UnaryOp(ast.Not(), operand):
            yield operand
        case ast.BinOp(op=op) | ast.AugAssign(op=op) if type(op) in _OPERATORS and not any(map(_is_text, ast.iter_child_nodes(node))):
            yield type(node)(**dict(ast.iter_fields(node)) | {"op": _OPERATORS[type(op)]()})
        case ast.Constant(bool() as value):
            yield ast.Constant(not value)
        case ast.Constant(int() | float() as value):
            yield ast.Constant(value + 1)
        case ast.Constant(str() as value):
            yield ast.Constant(_other(value))
        case ast.Constant(bytes() as value):
            yield ast.Constant(_other(value.decode("latin-1")).encode("latin-1"))
        case ast.Return(ast.AST() as value) if ast.unparse(value) != "None":
            yield ast.Return(ast.Constant(None))
        case ast.Raise() | ast.Expr(ast.Call() | ast.Await()):
            yield ast.Pass()


def _other(text: str) -> str:
    """One letter more; or the last sign less where there are signs alone, as in a strip, where a letter would make no difference."""
    return f"X{text}" if not text or _LETTERS_OR_PATTERN.search(text) else text[:-1]


def _is_text(node: ast.AST) -> bool:
    """Whether this is written text or a display, where "-" for "+" would only be a type error, which any test notices."""
    return isinstance(getattr(node, "value", None), str | bytes) or isinstance(node, ast.JoinedStr | ast.List | ast.Tuple | ast.ListComp)


def _spared(node: ast.AST, pragmas: set[int]) -> Iterator[ast.AST]:
    """The parts of a node that no test could be asked to hold."""
    yield from filter(None, (getattr(node, "annotation", None), getattr(node, "returns", None), *getattr(node, "decorator_list", ())))
    if isinstance(node, ast.stmt) and not hasattr(node, "body") and pragmas.intersection(range(node.lineno, (node.end_lineno or 0) + 1)):
        yield node
    match node:
        case (
            ast.Expr(ast.Constant(str()) | ast.Call(ast.Attribute(ast.Name("log" | "logger"))))
            | ast.Assign([ast.Name("__all__" | "__slots__")])
            | ast.If(ast.Name("TYPE_CHECKING") | ast.Compare(ast.Name("__name__")))
            | ast.Call(ast.Name("lru_cache" | "remembered"))
        ):
            yield node
        case ast.Assign(targets=names) | ast.Compare(comparators=names) if all(_CACHE.match(ast.unparse(name)) for name in names):
            yield node
        case ast.Subscript(ast.Name(name), part) if name in _TYPES:
            yield part
        case ast.Constant(str() as text) if _CITATION.match(text):
            yield node
        case ast.Raise():
            yield from (each for each in ast.walk(node) if isinstance(each, ast.Constant) and " " in str(each.value))


def choose(root: Path, only: Sequence[str], count: int, seed: int) -> list[Mutant]:
    """`count` lines at random, and for each one of its changes at random; all lines when there are fewer."""
    lines: dict[tuple[Path, int], list[Mutant]] = {}
    for place in only or ROOMS:
        for file in sorted([root / place] if place.endswith(".py") else (root / place).rglob("*.py")):
            for mutant in Breaker(file.relative_to(root), file.read_text("utf-8")).found:
                lines.setdefault((mutant.path, mutant.line), []).append(mutant)
    dice = random.Random(seed)
    return [dice.choice(mutants) for mutants in dice.sample(list(lines.values()), min(count, len(lines)))]


# -- whether it is noticed ---------------------------------------------------------------------------------------------
Stage = tuple[str, ...]  # what one run of pytest is given


def stages(root: Path, path: Path, last: Stage = LAST) -> list[Stage]:
    """The tests to ask about a file, the likeliest first; `last` for all files."""
    room = Path("tests", *path.parts[1:-1])
    mirror = room / f"test_{path.name}"
    there = [tuple(part for part in stage if (root / part).exists()) for stage in ((str(mirror),), (str(room),), last)]
    return [stage for stage in there if stage]


class Copy:
    """One copy of the project, in which one file at a time is broken."""

    def __init__(self, root: Path, folder: Path) -> None:
        self._folder = folder
        # Compiled files are known by size and second, which may be the same for two changes: there must be none.
        own = {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1", "STOXGATE_CI": "0"}
        self._environment = {"STOXGATE_RFC_VECTORS": str(root.parent / "shared/vectors/sip")} | os.environ | own
        shutil.copytree(root, folder, ignore=_NOT_COPIED)
        # An editable install maps gateway.mappings to the real folder; a package of that name in the copy comes before it.
        if (root / "mappings").is_dir():
            shutil.copytree(root / "mappings", folder / "gateway" / "mappings", ignore=_NOT_COPIED)
        if (root / ".peers").is_dir():
            (folder / ".peers").symlink_to(root / ".peers")

    def passes(self, stage: Stage, limit: float) -> bool:
        """Whether these tests notice nothing within `limit` seconds."""
        run = subprocess.Popen(
            [sys.executable, "-m", "pytest", *_OPTIONS, *stage],
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            resource.prlimit(run.pid, resource.RLIMIT_AS, (_MOST_MEMORY, _MOST_MEMORY))
            return run.wait(limit) in _NOTHING_NOTICED
        except subprocess.TimeoutExpired:
            return False
        finally:
            with suppress(ProcessLookupError):
                os.killpg(run.pid, signal.SIGKILL)
            run.wait()

    def survives(self, mutant: Mutant, limits: dict[Stage, float]) -> bool:
        """Whether everything that is asked passes with this change."""
        file = self._folder / mutant.path
        source = file.read_text("utf-8")
        try:
            file.write_text(ast.unparse(Breaker(mutant.path, source, mutant.number).tree), "utf-8")
            return all(self.passes(stage, limits[stage]) for stage in stages(self._folder, mutant.path) if stage in limits)
        finally:
            file.write_text(source, "utf-8")


def limits_of(copy: Copy, wanted: set[Stage]) -> dict[Stage, float]:
    """How long each run may take, by what it takes without a change. Exits when it fails without one."""
    limits = {}
    for stage in sorted(wanted):
        began = time.monotonic()
        if not copy.passes(stage, _LONGEST):
            print(f"these tests fail without any change: {' '.join(stage)}", file=sys.stderr)
            sys.exit(2)
        limits[stage] = _SHORTEST + _PATIENCE * (time.monotonic() - began)
    return limits


def survivors(root: Path, mutants: Sequence[Mutant], jobs: int, last: Stage) -> Iterator[Mutant]:
    """Those that nothing noticed, each as soon as that is known."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder, ThreadPoolExecutor(jobs) as pool:
        copies: SimpleQueue[Copy] = SimpleQueue()
        made = [Copy(root, Path(folder, str(number), root.name)) for number in range(jobs)]
        limits = limits_of(made[0], {stage for mutant in mutants for stage in stages(root, mutant.path, last)})
        for copy in made:
            copies.put(copy)

        def survives(mutant: Mutant) -> bool:
            copy = copies.get()
            try:
                return copy.survives(mutant, limits)
            finally:
                copies.put(copy)

        judged = {pool.submit(survives, mutant): mutant for mutant in mutants}
        yield from (judged[done] for done in as_completed(judged) if done.result())


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="tests.mutants", description="Whether the tests notice small changes of the code.")
    parser.add_argument("--count", type=int, default=100, help="how many changes (100)")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="repeat the choice of an earlier run")
    parser.add_argument("--only", action="append", default=[], metavar="PATH", help="only this folder or file, as gateway/core/uri.py")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many at a time (one a CPU)")
    parser.add_argument("--quick", action="store_true", help="ask the tests of the room only")
    parser.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    mutants = choose(options.root, options.only, options.count, options.seed)
    print(f"seed {options.seed}, {len(mutants)} changes", flush=True)
    noticed = len(mutants)
    for mutant in survivors(options.root, mutants, options.jobs, () if options.quick else LAST):
        noticed -= 1
        print(f"not noticed: {mutant}", flush=True)
    print(f"{noticed} of {len(mutants)} were noticed")
    return 0 if noticed * 100 >= WANTED_OF_100 * len(mutants) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
