"""Who may know whom: the import rules of docs/architecture.md, "The rooms"."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]
PAGE = (PROJECT / "docs" / "architecture.md").read_text()
MOST_LINES = 500
ALL = frozenset({"core", "sip", "xmpp", "relay", "store", "config", "admin", "smime"})
KNOWS = {
    "core": {"mappings"},
    "sip": {"core"},
    "xmpp": {"core"},
    "relay": {"core"},
    "store": {"core"},
    "config": {"core"},
    "admin": {"core"},
    "smime": {"core"},
    "mappings": set(),
    "__init__": set(),
    "logs": set(),
    "clock": {"core"},
    "translation": {"core", "sip", "xmpp", "relay", "smime"},
    "app": {*ALL, "translation", "logs", "clock"},
    "cli": {*ALL, "translation", "logs", "app", "__init__"},
}
"""Of each room, and of each file beside them, what of ours it may import besides itself."""


def modules() -> dict[str, Path]:
    """Every module of the package by its name."""
    files = sorted((PROJECT / "gateway").rglob("*.py"))
    return {".".join(file.relative_to(PROJECT).with_suffix("").parts).removesuffix(".__init__"): file for file in files}


MODULES = modules()


def room(module: str) -> str:
    """The folder or file right under gateway/ that a module is in."""
    return module.split(".")[1] if "." in module else "__init__"


def imported(module: str) -> set[str]:
    """The absolute names of what a module imports; of "from x import y" both x and, where it is a module, x.y."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = module.split(".") if MODULES[module].name == "__init__.py" else module.split(".")[:-1]
                base = ".".join([*package[: len(package) - node.level + 1], *([node.module] if node.module else [])])
            names = {f"{base}.{alias.name}" for alias in node.names}
            found |= {base} if base not in MODULES else (names & MODULES.keys()) | ({base} if names - MODULES.keys() else set())
    return found


IMPORTS = {module: imported(module) for module in MODULES}


def test_the_page_and_this_test_speak_of_the_same_rooms() -> None:
    named = set(re.findall(r"^    gateway/(\w+)", PAGE, re.M))
    assert {name for name in map(room, MODULES) if (PROJECT / "gateway" / name).is_dir()} | {"app", "translation"} <= named
    assert set(map(room, MODULES)) <= KNOWS.keys()


@pytest.mark.parametrize("module", MODULES)
def test_a_room_knows_only_whom_it_may(module: str) -> None:
    ours = {name for name in IMPORTS[module] if name.split(".")[0] in ("gateway", "mappings", "tests")}
    strangers = {name for name in ours if room(name) not in KNOWS[room(module)] | {room(module)} or not name.startswith("gateway")}
    assert strangers == set()


@pytest.mark.parametrize("module", MODULES)
def test_a_relative_import_stays_in_its_room(module: str) -> None:
    depth = len(module.split(".")) - (MODULES[module].name != "__init__.py")
    levels = [node.level for node in ast.walk(ast.parse(MODULES[module].read_text())) if isinstance(node, ast.ImportFrom)]
    assert all(level < depth for level in levels)


def test_no_modules_know_each_other_in_a_circle() -> None:
    def needed(module: str) -> set[str]:
        """What runs when the module is imported: what only the type checker reads does not count."""
        return {name for name in IMPORTS[module] if name in MODULES and name != module} - _for_types_only(module)

    try:
        TopologicalSorter({module: needed(module) for module in MODULES}).prepare()
    except CycleError as circle:
        pytest.fail(" -> ".join(circle.args[1]))


def _for_types_only(module: str) -> set[str]:
    package = module.rpartition(".")[0]
    blocks = [
        node
        for node in ast.parse(MODULES[module].read_text()).body
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    ]
    return {f"{package}.{node.module}" for block in blocks for node in block.body if isinstance(node, ast.ImportFrom) and node.level == 1}


def test_asyncio_is_only_where_the_page_says() -> None:
    said = PAGE[PAGE.index("asyncio appears only in") :].partition(";")[0]
    allowed = {f"gateway.{place.removesuffix('.py').replace('/', '.')}" for place in re.findall(r"`([\w/.]+)`", said)}
    assert len(allowed) > 5
    using = {module for module, names in IMPORTS.items() if any(name.split(".")[0] in ("asyncio", "uvloop") for name in names)}
    assert {module for module in using if module not in allowed and f"gateway.{room(module)}" not in allowed} == set()
    assert {place for place in allowed if not any(module == place or module.startswith(f"{place}.") for module in using)} == set()


@pytest.mark.parametrize("name", ["socket", "sqlite3", "sqlalchemy", "slixmpp", "aiohttp", "click", "ssl", "threading", "time", "random"])
def test_the_core_touches_nothing_outside(name: str) -> None:
    core = {module: {each.split(".")[0] for each in names} for module, names in IMPORTS.items() if room(module) == "core"}
    assert [module for module, names in core.items() if name in names] == []


@pytest.mark.requirement("SEC-24")
def test_foreign_text_meets_no_interpreter() -> None:
    """No eval, pickle or yaml; SQL text is made in the store alone."""
    for module, names in IMPORTS.items():
        tops = {name.split(".")[0] for name in names}
        assert not tops & {"pickle", "marshal", "shelve", "yaml", "jinja2", "subprocess"}, module
        assert not tops & {"sqlite3", "sqlalchemy"} or room(module) == "store", module
        calls = {
            node.func.id
            for node in ast.walk(ast.parse(MODULES[module].read_text()))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert not calls & {"eval", "exec", "compile", "__import__"}, module


@pytest.mark.parametrize("file", [*MODULES.values(), *(PROJECT / "mappings").glob("*.py")], ids=lambda file: str(file.relative_to(PROJECT)))
def test_no_file_is_too_long(file: Path) -> None:
    assert len(file.read_text().splitlines()) <= MOST_LINES


def test_the_translation_starts_without_a_server() -> None:
    """What `stoxgate translate` needs brings in no socket, no database and no event loop of its own."""
    program = "import sys, gateway.translation; print(sorted({'slixmpp', 'sqlalchemy', 'aiohttp'} & set(sys.modules)))"
    said = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, timeout=60, check=True)
    assert said.stdout.strip() == "[]"
