"""The growth bench runs, at tiny sizes; and its aims are judged by each turn's own ratio."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.growth.aims import findings
from bench.growth.points import FULL, backlogs
from bench.machine import DiskSpeed
from bench.rows import Conditions, Row

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_every_axis_is_measured_drawn_and_cleared_away(tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    command = [sys.executable, "-m", "bench.growth", "--quick", "--allow-tmpfs"]
    process = subprocess.Popen(
        [*command, "--dir", str(tmp_path / "data"), "--out", str(file)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        out, err = process.communicate()
    except BaseException:
        process.terminate()
        process.communicate(timeout=30)
        raise

    assert process.returncode == 0, err
    run = json.loads(file.read_text())
    names = [row["name"] for row in run["summaries"]]
    for point in ("backlog-0", "backlog-2000", "queues-20", "payload-10000", "connections-10"):
        for role in ("one-by-one", "batch-enqueue", "batch-take"):
            assert f"{point} {role}" in names
    assert {"backlog-2000 memory", "backlog-2000 disk", "backlog-2000 restart"} <= set(names)
    assert all(row["value"] > 0 for row in run["summaries"])
    assert run["findings"]
    assert all(name in out for name in names)
    assert len(list(tmp_path.glob("*.svg"))) == 5
    assert list((tmp_path / "data").iterdir()) == []


def round_of(empty: float, full: float, megabytes: float) -> list[Row]:
    disk = DiskSpeed(append_p50_us=1, append_p99_us=1, overwrite_p50_us=1, overwrite_p99_us=1)
    conditions = Conditions(disk=disk, loop_millions_per_s=1.0)
    rows = []
    for size, speed, memory in ((0, empty, 0.0), (10**7, full, megabytes)):
        for role in ("one-by-one", "batch-enqueue", "batch-take"):
            name = f"backlog-{size} {role}"
            rows.append(Row(name=name, value=speed, unit="jobs/s", conditions=conditions))
        extras = {"more than at its start MB": memory}
        name = f"backlog-{size} memory"
        rows.append(Row(name=name, value=1, unit="MB", conditions=conditions, extras=extras))
    return rows


@pytest.mark.parametrize(
    ("full", "megabytes", "met"),
    [
        (95.0, 10.0, [True, True, True, True]),
        (85.0, 10.0, [False, False, False, True]),
        (95.0, 20.0, [True, True, True, False]),
    ],
)
def test_ten_million_jobs_are_compared_with_none_in_every_turn(
    full: float, megabytes: float, met: list[bool]
) -> None:
    # The machine was half as fast in the second turn: for both, so it does not matter.
    turns = [round_of(100.0, full, megabytes), round_of(50.0, full / 2, megabytes)]

    found = findings(backlogs(0, 10**7), turns)

    assert [finding.met for finding in found] == met
    assert found[0].value == pytest.approx(full / 100)


def test_a_request_is_no_larger_than_about_a_megabyte() -> None:
    for points in FULL.axes.values():
        for point in points:
            assert point.chunk * point.payload_bytes <= 1_000_000 or point.chunk == 1
            assert FULL.batch_of(point) % point.connections == 0
