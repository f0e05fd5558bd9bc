"""The bench runs: every workload, with fifty jobs. How fast is nobody's promise."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.aims import Aim
from bench.machine import DiskSpeed
from bench.profiler import workload_of

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
    "tasks": [
        "task-enqueue-1",
        "task-enqueue-16",
        "task-enqueue-many",
        "task-run-async",
        "task-run-thread",
        "task-run-process",
        "task-run-process-prefetch",
        "task-idle-latency",
        "task-idle-latency-thread",
        "task-idle-latency-process",
    ],
    "worker": ["worker-idle-cpu"],
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


# How much a row can be: memory may shrink, a task may begin before its `enqueue` returns, and
# a worker may rest for as long as one looks.
MAY_BE_NOTHING = ("backlog-memory", "backlog-disk", "task-idle", "worker-idle")


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
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        out, err = process.communicate()
    except BaseException:
        # Asked to end, it ends what it has started; killed, it would leave that behind.
        process.terminate()
        process.communicate(timeout=30)
        raise
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def rows_of(path: Path) -> list[dict[str, Any]]:
    summaries: list[dict[str, Any]] = json.loads(path.read_text())["summaries"]
    return summaries


@pytest.mark.slow
@pytest.mark.timeout(300)
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
        if not row["name"].startswith(MAY_BE_NOTHING):
            assert row["value"] > 0, row
        assert row["disk"]["append_p50_us"] > 0
        assert row["name"] in done.stdout
    assert list(place.iterdir()) == []


@pytest.mark.slow
def test_a_row_with_a_worker_tells_the_cpu_time_of_its_parent_and_its_children(
    tmp_path: Path,
) -> None:
    file = tmp_path / "result.json"

    done = bench(tmp_path, "--only", "worker", "--json", str(file))

    assert done.returncode == 0, done.stderr
    extras = rows_of(file)[0]["extras"]
    assert extras["children"] == 3
    assert extras["parent ms/min"] + extras["children ms/min"] == pytest.approx(
        rows_of(file)[0]["value"]
    )


def test_an_aim_may_bound_the_p99_too() -> None:
    disk = DiskSpeed(append_p50_us=100, append_p99_us=1, overwrite_p50_us=1, overwrite_p99_us=1)
    aim = Aim(at_most=1_000, p99_at_most=5_000)

    assert aim.met(900, disk, 4_000)
    assert not aim.met(900, disk, 6_000)
    assert not aim.met(1_100, disk, 4_000)
    assert aim.text(disk) == "<= 1,000, p99 5,000"


@pytest.mark.parametrize(
    ("row", "workload"),
    [("task-run-async", "tasks"), ("worker-idle-cpu", "worker"), ("single-enqueue", "single")],
)
def test_the_workload_of_a_row_is_known_by_its_name(row: str, workload: str) -> None:
    assert workload_of(row) == workload


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
