"""What is found out about one Python source file. Pure: bytes in, findings out."""

from __future__ import annotations

import ast
import warnings
from typing import TypedDict


class Findings(TypedDict):
    """The result of one job, as it travels back through the broker."""

    path: str
    bytes: int
    lines: int
    functions: int
    classes: int
    longest: str
    """The name of the longest function, empty if there is none."""
    longest_lines: int
    oddities: dict[str, int]
    """How often something unusual is written, by its name."""


class UnparsableError(Exception):
    """The file is not Python of this version; trying again cannot help."""


def analyse(path: str, source: bytes) -> Findings:
    """The findings about `source`. Raises `UnparsableError`, saying where and why."""
    tree, escapes = _parse(source)
    functions = [
        n for n in ast.walk(tree) if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))
    ]
    longest = max(functions, key=_length, default=None)
    return Findings(
        path=path,
        bytes=len(source),
        lines=source.count(b"\n") + (not source.endswith(b"\n") and source != b""),
        functions=len(functions),
        classes=sum(isinstance(node, ast.ClassDef) for node in ast.walk(tree)),
        longest=longest.name if longest else "",
        longest_lines=_length(longest) if longest else 0,
        oddities=_oddities(tree, functions) | ({"invalid escape": escapes} if escapes else {}),
    )


def _parse(source: bytes) -> tuple[ast.Module, int]:
    """The tree, and how many invalid escapes the compiler warned about."""
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            tree = ast.parse(source)
    except SyntaxError as error:
        where = f"line {error.lineno}: " if error.lineno else ""
        raise UnparsableError(where + error.msg) from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise UnparsableError(str(error) or type(error).__name__) from error
    return tree, sum("invalid escape" in str(each.message) for each in caught)


def _length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def _oddities(
    tree: ast.Module, functions: list[ast.FunctionDef | ast.AsyncFunctionDef]
) -> dict[str, int]:
    nodes = list(ast.walk(tree))
    found = {
        "bare except": sum(isinstance(n, ast.ExceptHandler) and n.type is None for n in nodes),
        "import *": sum(isinstance(n, ast.ImportFrom) and n.names[0].name == "*" for n in nodes),
        "mutable default": sum(_has_mutable_default(each) for each in functions),
        "while ... else": sum(isinstance(n, ast.While) and bool(n.orelse) for n in nodes),
    }
    return {name: count for name, count in found.items() if count}


def _has_mutable_default(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    defaults = [*function.args.defaults, *function.args.kw_defaults]
    return any(isinstance(each, (ast.List, ast.Dict, ast.Set)) for each in defaults)
