"""Builds the shim, and gives processes what they need to run under it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The repository: where `python -m tests.power` works."""

SOURCE = Path(__file__).with_name("shim.c")

NO_COMPILER = "no C compiler (cc or gcc) is installed, and the recorder has to be built"

SETTINGS = {"TENURE_STORE_MAX_BYTES": "4GiB"}
"""What is asked of every broker that is recorded: not to reserve more than the least of disk."""


def compiler() -> str | None:
    """The C compiler, if there is one."""
    return next((found for name in ("cc", "gcc", "clang") if (found := shutil.which(name))), None)


def build(directory: Path) -> Path:
    """Compiles the shim into `directory`; the library. Raises `RuntimeError` with what went wrong."""
    found = compiler()
    if found is None:
        raise RuntimeError(NO_COMPILER)
    library = directory / "power-shim.so"
    command = [found, "-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror"]
    command += ["-o", str(library), str(SOURCE), "-ldl", "-pthread"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"the shim cannot be built:\n{done.stderr}")
    return library


def environment(
    library: Path, *, trace: Path, root: Path, unsynced: str = "", slow_us: int = 0
) -> dict[str, str]:
    """The environment of a process that is recorded from its beginning.

    Syncs of files whose path contains `unsynced` are left out behind its back; every sync takes
    `slow_us` longer, so that whoever does not wait for it is seen not to.
    """
    return {
        **os.environ,
        **SETTINGS,
        "LD_PRELOAD": str(library),
        "POWER_TRACE": str(trace),
        "POWER_ROOT": str(root),
        "POWER_NOSYNC": unsynced,
        "POWER_SLOW": str(slow_us),
    }
