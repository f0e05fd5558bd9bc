"""Where the time goes: py-spy beside one row, on the broker, the first client and the worker.

py-spy is optional (`pip install py-spy`) and may need the right to trace processes.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

RATE_HZ = 250
TOP = 30


class ProfilerError(Exception):
    """py-spy is not installed, or may not look at our processes."""


@dataclass(slots=True, kw_only=True)
class Profiler:
    """Records the rows called `name`, or all of the workload `name`, into `reports`."""

    name: str
    directory: Path
    native: bool = False
    reports: list[str] = field(default_factory=list)

    @contextlib.contextmanager
    def during(self, row: str, targets: Mapping[str, int]) -> Iterator[None]:
        """Records `targets` (who -> process id) while the block runs, if `row` is meant.

        Raises `ProfilerError`.
        """
        if self.name not in (row, workload_of(row)):
            yield
            return
        spies = {
            who: _spy(self._output(row, who), pid, native=self.native)
            for who, pid in targets.items()
        }
        try:
            yield
        finally:
            for spy in spies.values():
                if spy.poll() is None:
                    spy.send_signal(signal.SIGINT)
                spy.communicate(timeout=60)
        for who in spies:
            text = self._output(row, who).read_text()
            self.reports.append(f"== {row}: {who} ==\n{profile_text(text)}")

    def _output(self, row: str, who: str) -> Path:
        return self.directory / f"profile-{row}-{who}.raw"


def workload_of(row: str) -> str:
    """The workload that measures a row: the first word of its name; of a task, tasks."""
    word = row.partition("-")[0]
    return "tasks" if word == "task" else word


def _spy(output: Path, pid: int, *, native: bool) -> subprocess.Popen[bytes]:
    command = [find_py_spy(), "record", "--pid", str(pid), "--rate", str(RATE_HZ)]
    command += ["--format", "raw", "--function", "--threads", "--full-filenames"]
    command += ["--output", str(output)] + (["--native"] if native else [])
    spy = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert spy.stdout is not None
    for line in spy.stdout:
        if b"Sampling process" in line:
            return spy
    raise ProfilerError(f"py-spy could not record process {pid} (code {spy.wait()})")


def find_py_spy() -> str:
    """The path of py-spy. Raises `ProfilerError` with what to do."""
    beside = Path(sys.executable).with_name("py-spy")
    found = str(beside) if beside.exists() else shutil.which("py-spy")
    if not found:
        raise ProfilerError("--profile needs py-spy: pip install py-spy")
    return found


def profile_text(raw: str) -> str:
    """Top functions by own time and by time including what they call, from stacks and counts.

    `raw` has one line per stack: frames joined by ";", outermost first, a space, samples.
    Percentages are of all samples; with several threads they are of the sum of threads.
    """
    own: Counter[str] = Counter()
    inclusive: Counter[str] = Counter()
    total = 0
    for line in raw.splitlines():
        stack, _, count = line.rpartition(" ")
        if not count.isdigit():
            continue
        frames = [_short(frame) for frame in stack.split(";")]
        samples = int(count)
        total += samples
        own[frames[-1]] += samples
        for frame in set(frames):
            inclusive[frame] += samples
    if not total:
        return "no samples (the phase was too short)\n"
    lines = [f"{total} samples, {total / RATE_HZ:.1f} s of CPU", "", "   own   function"]
    lines += [f"{100 * n / total:5.1f} %  {name}" for name, n in own.most_common(TOP)]
    lines += ["", " total   function"]
    lines += [f"{100 * n / total:5.1f} %  {name}" for name, n in inclusive.most_common(TOP + 15)]
    return "\n".join(lines) + "\n"


def _short(frame: str) -> str:
    """`name (/long/path/package/module.py:12)` with the last two parts of the path."""
    name, found, where = frame.partition(" (")
    if not found:
        return frame
    return f"{name} ({'/'.join(where.split('/')[-2:])}"
