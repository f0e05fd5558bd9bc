"""One mutant: a copy with the fault in it, and the search for a history that shows it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.mutants.mutant import Mutant, applied
from tests.mutants.probe import Found, Task

ROOT = Path(__file__).resolve().parents[2]

PARTS = ("client", "protocol", "server", "storage")
"""What is copied of the product; of the tests it is the simulator, what it stands on, and this package."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is tried for one mutant."""

    small: int = 150
    """Histories of what it needs alone."""
    drawn: int = 300
    """Histories as they are drawn."""
    seconds: float = 240


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one mutant, or of the product as it is (`mutant` is None)."""

    mutant: Mutant | None
    found: Found
    seconds: float

    @property
    def good(self) -> bool:
        """Whether it is as it must be: a fault is found by the right property, else nothing is."""
        wanted = frozenset({""}) if self.mutant is None else self.mutant.caught_by
        return self.found.property in wanted


def hunt(
    mutant: Mutant | None, effort: Effort, root: Path = ROOT, needs: Sequence[str] = ()
) -> Verdict:
    """Plants a fault in a copy of the product and lives through histories until one shows it.

    Without a mutant the copy is left as it is, and `needs` says what its small histories are of.
    Raises `AppliesNotError`, and `RuntimeError` when
    the copy cannot be run.
    """
    with tempfile.TemporaryDirectory(prefix="tenure-mutant-") as directory:
        copy = Path(directory).resolve()
        make_copy(root, copy)
        file = ""
        if mutant is not None:
            target = copy / mutant.file
            target.write_text(applied(mutant, target.read_text("utf-8")), "utf-8")
            file, needs = mutant.file, [mutant.needs]
        began = time.monotonic()
        found = _search(Task(str(copy), file, list(needs), **asdict(effort)))
        return Verdict(mutant, found, time.monotonic() - began)


def make_copy(root: Path, copy: Path) -> None:
    """What a history needs, from one directory into another."""
    parts = [*PARTS, "tests/sim", "tests/support", "tests/mutants"]
    for part in parts:
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", "*.md")
        shutil.copytree(root / part, copy / part, ignore=ignored)


def _search(task: Task) -> Found:
    paths = [task.root, *(f"{task.root}/{part}" for part in PARTS)]
    ran = subprocess.run(
        [sys.executable, "-m", "tests.mutants.probe", json.dumps(asdict(task))],
        cwd=task.root,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(paths),
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        capture_output=True,
        text=True,
        timeout=task.seconds + 300,
        check=False,
    )
    if ran.returncode:
        raise RuntimeError(f"the copy cannot be run:\n{ran.stdout[-2000:]}{ran.stderr[-4000:]}")
    return Found(**json.loads(ran.stdout.splitlines()[-1]))
