"""An example as its reader runs it: a process of its own, whose end is looked at."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RUNS_S_MAX = 150
"""pytest-timeout must be longer, so that the output of what hangs is seen."""
ENDS_S_MAX = 20
"""How long the processes of a killed worker may take to notice that it is gone."""


def run_example(name: str, place: Path, *arguments: str) -> str:
    """What `python -m examples.NAME` prints. It must succeed and leave nothing behind."""
    scratch = place / "scratch"
    scratch.mkdir()
    own = {name: value for name, value in os.environ.items() if not name.startswith("TENURE_")}
    with subprocess.Popen(
        [sys.executable, "-m", f"examples.{name}", *arguments],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env=own | {"NO_COLOR": "1", "COLUMNS": "120", "TMPDIR": str(scratch)},
    ) as process:  # fmt: skip
        try:
            printed, _ = process.communicate(timeout=RUNS_S_MAX)
        except subprocess.TimeoutExpired:
            process.terminate()  # it tidies up, as kill -9 would not let it
            printed, _ = process.communicate()
    assert process.returncode == 0, printed
    assert list(scratch.iterdir()) == []
    assert_no_process_is_left(scratch)
    return printed


def assert_no_process_is_left(scratch: Path) -> None:
    """Every process of the example has `scratch` in its environment, however it was started."""
    ends = time.monotonic() + ENDS_S_MAX
    # There is no event for the end of a process that somebody else started.
    while left := processes_with(os.fsencode(scratch)):
        assert time.monotonic() < ends, f"processes are left: {left}"
        time.sleep(0.05)


def processes_with(text: bytes) -> dict[int, str]:
    """The processes with a text in their environment, with their command lines."""
    found: dict[int, str] = {}
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            if text in (directory / "environ").read_bytes():
                command = (directory / "cmdline").read_bytes()
                found[int(directory.name)] = command.replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, PermissionError, ProcessLookupError):
            continue  # gone meanwhile, or somebody else's
    return found
