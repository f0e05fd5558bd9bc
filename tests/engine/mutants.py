"""Functions of the engine with one rule taken out, to show that the tests notice.

The product has no switches for its rules. A mutant is the function's own source with one
piece replaced wherever it stands; if the piece is not there any more, making the mutant fails, so the list of
mutants cannot fall behind the code unnoticed.
"""

from __future__ import annotations

import inspect
import sys
import textwrap
from collections.abc import Callable
from typing import Any

import pytest


def mutant(function: Callable[..., Any], old: str, new: str) -> Callable[..., Any]:
    """`function` with `old` replaced by `new` in its source, in its module's namespace."""
    source = textwrap.dedent(inspect.getsource(function))
    assert old in source, f"{function.__name__} does not say {old!r} any more"
    code = compile(source.replace(old, new), f"<mutant of {function.__name__}>", "exec")
    made: dict[str, Any] = {}
    exec(code, function.__globals__, made)
    result: Callable[..., Any] = made[function.__name__]
    return result


def install(
    patch: pytest.MonkeyPatch, module: object, function: Callable[..., Any], old: str, new: str
) -> None:
    """Puts a mutant of `function` in its place, in every module that imported it."""
    changed = mutant(function, old, new)
    owner, _, name = function.__qualname__.rpartition(".")
    if owner:
        patch.setattr(getattr(module, owner), name, changed)
        return
    for path, other in list(sys.modules.items()):
        if not path.startswith("tenure_server") or getattr(other, name, None) is not function:
            continue
        patch.setattr(other, name, changed)
        for value in list(vars(other).values()):
            if isinstance(value, dict):
                for key in [key for key, held in value.items() if held is function]:
                    patch.setitem(value, key, changed)
