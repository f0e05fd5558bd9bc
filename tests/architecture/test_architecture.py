"""The rules of docs/architecture.md, held: to change the architecture, change these tables.

Sources are read as syntax trees; nothing of the product runs here but one import.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]

PACKAGES = {
    "tenure_protocol": ROOT / "protocol",
    "tenure_storage": ROOT / "storage",
    "tenure_server": ROOT / "server",
    "tenure": ROOT / "client",
}

# package -> what it may import of ours, besides itself
MAY_IMPORT = {
    "tenure_protocol": frozenset[str](),
    "tenure_storage": frozenset({"tenure_protocol"}),
    "tenure_server": frozenset({"tenure_storage", "tenure_protocol"}),
    "tenure": frozenset({"tenure_protocol"}),
}
# Who may reach for the daemon and the store: the command line and the test kit, inside functions only.
LAZY_ROOMS = ("tenure.cli", "tenure.testing")
LAZY_ONLY = frozenset({"tenure_server", "tenure_storage"})

# package -> third-party modules it may import at all
THIRD_PARTY = {
    "tenure_protocol": frozenset({"msgpack"}),
    "tenure_storage": frozenset({"msgpack", "lmdb"}),
    "tenure_server": frozenset(
        {"msgpack", "uvloop", "structlog", "prometheus_client", "starlette", "uvicorn"}
    ),
    "tenure": frozenset({"msgpack", "zstandard"}),
}
THIRD_PARTY_OF_ROOMS = {
    "tenure.cli": frozenset({"click", "rich"}),
    "tenure.testing.plugin": frozenset({"pytest"}),
}
# package -> what it uses where a program has it, imported inside functions
IF_INSTALLED = {
    "tenure_protocol": frozenset[str](),
    "tenure_storage": frozenset[str](),
    "tenure_server": frozenset[str](),
    "tenure": frozenset({"structlog", "uvloop", "pydantic", "msgspec"}),
}

ENGINE = "tenure_server.engine"
# Of the store only what is pure too: the interface, the rows, and the store in memory.
PURE_STORAGE = tuple(
    f"tenure_storage.{name}" for name in ("store", "keys", "layout", "lease_layout", "memory_store")
)
ENGINE_MAY_IMPORT = (ENGINE, "tenure_protocol", *PURE_STORAGE, "msgpack")
# What would make the engine depend on more than its arguments.
IMPURE = frozenset({
    "asyncio", "concurrent", "contextvars", "datetime", "glob", "io", "logging", "multiprocessing",
    "os", "pathlib", "queue", "random", "secrets", "select", "selectors", "shutil", "signal",
    "socket", "ssl", "subprocess", "sys", "tempfile", "threading", "time", "uuid", "warnings",
    "weakref",
})  # fmt: skip
IMPURE_CALLS = frozenset({"open", "print", "input", "hash", "exec", "eval"})
# The wire and what is shared never wait, and never read a clock.
PROTOCOL_NEVER_IMPORTS = IMPURE - {"datetime"}

MODULE_LINES_MAX = 400
FUNCTION_LINES_MAX = 70
# file -> (lines, why it may be longer)
LONG_MODULES: dict[str, tuple[int, str]] = {
    "client/tenure/client.py": (600, "every operation, documented, in the one class users see"),
    "client/tenure/aio.py": (600, "the twin of client.py, method by method"),
}
# "file:function" -> (lines without the docstring, why)
LONG_FUNCTIONS: dict[str, tuple[int, str]] = {}

VAGUE_NAMES = frozenset({"utils", "util", "helpers", "misc", "common"})
UNFINISHED = re.compile(r"\b(?:TODO|FIXME|XXX|HACK)\b|\bNotImplementedError\b")
# A directory that exists on somebody's machine only.
MACHINE_PATH = re.compile(r"(?<![\w.~*-])/(?:work|home|Users|root|mnt)/[\w.-]+")


class Import(NamedTuple):
    """One imported module, and whether it is imported when the importing module is."""

    name: str
    line: int
    eager: bool


def sources(package: str) -> list[Path]:
    """The files of a package, by name."""
    return sorted((PACKAGES[package] / package).rglob("*.py"))


def product() -> list[Path]:
    """Every source file that is shipped."""
    return [path for package in PACKAGES for path in sources(package)]


def module_name(path: Path) -> str:
    """The name under which `path` is imported."""
    root = next(root for root in PACKAGES.values() if path.is_relative_to(root))
    return ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


def shown(path: Path) -> str:
    """`path` as a reader of the repository knows it."""
    return path.relative_to(ROOT).as_posix()


@cache
def tree_of(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(path.read_bytes(), str(path))


def imports_of(path: Path) -> Iterator[Import]:
    """All imports of a file; those inside functions and for type checkers only are not eager."""
    waiting: list[tuple[ast.AST, bool]] = [(tree_of(path), True)]
    while waiting:
        node, eager = waiting.pop()
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno, eager) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield Import(module, node.lineno, eager)
            yield from (Import(f"{module}.{a.name}", node.lineno, eager) for a in node.names)
        lazy = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) or (
            isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        )
        waiting.extend((child, eager and not lazy) for child in ast.iter_child_nodes(node))


def is_within(name: str, packages: Iterable[str]) -> bool:
    """Whether a module is one of `packages` or inside one."""
    return any(name == package or name.startswith(package + ".") for package in packages)


def told(found: Iterable[str]) -> str:
    """Offences as the message of an assertion."""
    return "\n  " + "\n  ".join(sorted(set(found)))


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_go_one_way(package: str) -> None:
    wrong = []
    for path in sources(package):
        in_lazy_room = is_within(module_name(path), LAZY_ROOMS)
        for found in imports_of(path):
            target = found.name.partition(".")[0]
            if target not in PACKAGES or target == package or target in MAY_IMPORT[package]:
                continue
            if in_lazy_room and target in LAZY_ONLY and not found.eager:
                continue
            wrong.append(f"{shown(path)}:{found.line} imports {found.name}")
    assert not wrong, told(wrong)


@pytest.mark.parametrize("package", PACKAGES)
def test_third_party_imports_are_the_ones_agreed_on(package: str) -> None:
    wrong = []
    for path in sources(package):
        allowed = THIRD_PARTY[package]
        for room, further in THIRD_PARTY_OF_ROOMS.items():
            if is_within(module_name(path), [room]):
                allowed |= further
        for found in imports_of(path):
            target = found.name.partition(".")[0]
            if target in IF_INSTALLED[package] and not found.eager:
                continue
            if target in sys.stdlib_module_names or target in PACKAGES or target in allowed:
                continue
            wrong.append(f"{shown(path)}:{found.line} imports {found.name}")
    assert not wrong, told(wrong)


def test_the_bare_client_needs_nothing_but_msgpack() -> None:
    extras = ["click", "rich", "lmdb", "uvloop", "structlog", "starlette", "uvicorn", "zstandard"]
    program = (
        f"import sys, tenure; print(*[m for m in {extras + sorted(LAZY_ONLY)} if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_the_engine_depends_on_nothing_but_its_arguments() -> None:
    wrong = []
    for path in [*sources("tenure_server"), *sources("tenure_storage")]:
        if not is_within(module_name(path), [ENGINE, *PURE_STORAGE]):
            continue
        for found in imports_of(path):
            target = found.name.partition(".")[0]
            is_pure_library = target in sys.stdlib_module_names and target not in IMPURE
            # `from tenure_storage import store` counts as the package: say tenure_storage.store.
            if is_within(found.name, ENGINE_MAY_IMPORT) or is_pure_library:
                continue
            wrong.append(f"{shown(path)}:{found.line} imports {found.name}")
        wrong += [
            f"{shown(path)}:{node.lineno} calls {node.func.id}()"
            for node in ast.walk(tree_of(path))
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in IMPURE_CALLS
        ]
    assert not wrong, told(wrong)


def test_the_protocol_does_no_input_or_output() -> None:
    wrong = [
        f"{shown(path)}:{found.line} imports {found.name}"
        for path in sources("tenure_protocol")
        for found in imports_of(path)
        if found.name.partition(".")[0] in PROTOCOL_NEVER_IMPORTS
    ]
    assert not wrong, told(wrong)


def test_only_the_store_knows_lmdb() -> None:
    knows = {
        shown(path)
        for path in product()
        for found in imports_of(path)
        if is_within(found.name, ["lmdb"])
    }
    assert all(name.startswith("storage/") for name in knows), told(knows)


def test_there_are_no_relative_imports() -> None:
    wrong = [
        f"{shown(path)}:{found.line}"
        for path in product()
        for found in imports_of(path)
        if found.name.startswith(".")
    ]
    assert not wrong, told(wrong)


def test_modules_are_short() -> None:
    lengths = {shown(path): len(path.read_text("utf-8").splitlines()) for path in product()}
    wrong = [
        f"{name}: {length} lines"
        for name, length in lengths.items()
        if length > LONG_MODULES.get(name, (MODULE_LINES_MAX, ""))[0]
    ]
    assert not wrong, told(wrong)
    needless = [name for name in LONG_MODULES if lengths.get(name, 0) <= MODULE_LINES_MAX]
    assert not needless, f"these need no allowance any more: {needless}"


def function_lengths(path: Path) -> Iterator[tuple[str, int]]:
    """Each function as "file:name", with its lines but for the docstring."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if ast.get_docstring(node) is not None:
                text = node.body[0]
                length -= (text.end_lineno or text.lineno) - text.lineno + 1
            yield f"{shown(path)}:{node.name}", length


def test_functions_are_short() -> None:
    lengths = dict(
        sorted((item for p in product() for item in function_lengths(p)), key=lambda i: i[1])
    )
    wrong = [
        f"{name}: {length} lines"
        for name, length in lengths.items()
        if length > LONG_FUNCTIONS.get(name, (FUNCTION_LINES_MAX, ""))[0]
    ]
    assert not wrong, told(wrong)
    needless = [name for name in LONG_FUNCTIONS if lengths.get(name, 0) <= FUNCTION_LINES_MAX]
    assert not needless, f"these need no allowance any more: {needless}"


def test_nothing_in_the_product_is_left_open() -> None:
    wrong = [
        f"{shown(path)}:{number} {line.strip()}"
        for path in product()
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if UNFINISHED.search(line)
    ]
    assert not wrong, told(wrong)


def test_every_module_says_what_it_is_for() -> None:
    silent = [shown(path) for path in product() if not ast.get_docstring(tree_of(path))]
    assert not silent, told(silent)


def test_module_names_say_something() -> None:
    vague = [shown(path) for path in product() if VAGUE_NAMES & set(path.with_suffix("").parts)]
    assert not vague, told(vague)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_is_typed(package: str) -> None:
    assert (PACKAGES[package] / package / "py.typed").is_file()
    # An __init__.py beside the package would turn its source root into a package itself.
    assert not (PACKAGES[package] / "__init__.py").exists()


def repository_files() -> list[Path]:
    """What belongs to the repository, committed or about to be."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    if listed.returncode == 0:
        return [ROOT / name for name in listed.stdout.split("\0") if name]
    # An unpacked source archive has no git.
    hidden = re.compile(r"/\.(?!ci/)[^/]+/|/(?:dist|build|__pycache__)/")
    return [p for p in ROOT.rglob("*") if p.is_file() and not hidden.search(f"/{shown(p)}")]


def test_no_path_of_somebodys_machine_is_in_the_repository() -> None:
    wrong = []
    for path in repository_files():
        try:
            text = path.read_text("utf-8")
        except (UnicodeDecodeError, OSError):
            continue  # binary, or deleted and not committed yet
        wrong += [f"{shown(path)}: {found[0]}" for found in MACHINE_PATH.finditer(text)]
    assert not wrong, told(wrong)


def test_the_changelog_has_room_for_the_next_change() -> None:
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    unreleased = re.search(r"^## \[Unreleased\]\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert unreleased is not None
    assert unreleased[1].strip(), "Unreleased is empty"
