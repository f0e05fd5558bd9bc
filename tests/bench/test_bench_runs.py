"""The bench runs: every workload, with fifty jobs. How fast is nobody's promise."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
JOBS = 50

ROWS = {
    "batch": ["batch-enqueue", "batch-consume-1", "batch-consume-2", "batch-consume-sync"],
    "stream": ["stream-enqueue", "stream-consume"],
    "single": ["single-enqueue", "single-consume"],
    "crowd": ["crowd-16-processes", "crowd-2-processes", "crowd-2-ahead"],
    "idle": ["idle-delivery"],
    "memory": [
        "memory-batch-enqueue",
        "memory-batch-consume",
        "memory-stream-enqueue",
        "memory-single-enqueue",
        "memory-single-consume",
    ],
    "wire": [
        "wire-batch-enqueue",
        "wire-batch-consume",
        "wire-stream-enqueue",
        "wire-single-enqueue",
    ],
    "backlog": [
        "backlog-before-enqueue",
        "backlog-before-consume",
        "backlog-fill",
        "backlog-memory",
        "backlog-memory-private",
        "backlog-disk",
        "backlog-behind-enqueue",
        "backlog-behind-consume",
        "backlog-restart",
        "backlog-restart-after-kill",
    ],
}


def bench(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "bench",
        "--jobs",
        str(JOBS),
        "--patience",
        "0",
        "--allow-tmpfs",
    ]
    command += ["--dir", str(directory), *arguments]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False
    )


def rows_of(path: Path) -> list[dict[str, Any]]:
    summaries: list[dict[str, Any]] = json.loads(path.read_text())["summaries"]
    return summaries


@pytest.mark.slow
@pytest.mark.parametrize("workload", ROWS)
def test_a_workload_measures_its_rows_and_leaves_nothing_behind(
    workload: str, tmp_path: Path
) -> None:
    place, file = tmp_path / "data", tmp_path / "result.json"

    done = bench(place, "--only", workload, "--json", str(file))

    assert done.returncode == 0, done.stderr
    rows = rows_of(file)
    assert [row["name"] for row in rows] == ROWS[workload]
    for row in rows:
        if not row["name"].startswith(("backlog-memory", "backlog-disk")):
            assert row["value"] > 0, row
        assert row["disk"]["append_p50_us"] > 0
        assert row["name"] in done.stdout
    assert list(place.iterdir()) == []


@pytest.mark.slow
def test_a_run_is_compared_with_an_older_one(tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    first = bench(tmp_path, "--only", "single", "--json", str(file))
    assert first.returncode == 0, first.stderr

    second = bench(tmp_path, "--only", "single", "--json", str(file), "--compare", str(file))

    assert second.returncode == 0, second.stderr
    assert "new/old" in second.stdout


def test_an_unknown_workload_is_refused_with_the_names_there_are(tmp_path: Path) -> None:
    done = bench(tmp_path, "--only", "everything")

    assert done.returncode == 1
    assert "batch, stream, single" in done.stderr
