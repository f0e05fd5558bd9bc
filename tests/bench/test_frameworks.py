"""Tenure beside task frameworks: what is measured, what is told, and what is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.peers.frameworks import marks
from bench.peers.frameworks.catalog import FRAMEWORKS, Framework
from bench.peers.frameworks.missing import Homes, missing
from bench.peers.frameworks.processes import Cpu, PeerError
from bench.peers.frameworks.report import section
from bench.peers.frameworks.rounds import SECTION, Probes, Trial, processed
from bench.peers.frameworks.syncs import count_calls
from bench.peers.results import TENURE, Note, Results, Row, load

ROOT = Path(__file__).resolve().parents[2]
JOBS = 200
ABSENT = ("celery-redis-prefork", "arq-10", "bullmq-100")


def framework(name: str) -> Framework:
    return next(one for one in FRAMEWORKS if one.name == name)


def row(name: str, what: str, value: float, *, round_: int = 1, alien_percent: float = 0.0) -> Row:
    one = framework(name)
    return Row(
        section=SECTION,
        row=what,
        peer=one.peer,
        mode=one.mode,
        durability="everysec",
        round=round_,
        value=value,
        unit="jobs/s",
        extra={
            "alien_cpu_percent": alien_percent,
            "jobs": 1_000,
            "worker_cpu_us_per_job": 70,
            "broker_cpu_us_per_job": 30,
            "p99_ms": 9,
        },
    )


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        out, err = process.communicate()
    except BaseException:
        # Asked to end, it ends what it has started; killed, it would leave that behind.
        process.terminate()
        process.communicate(timeout=60)
        raise
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def line_of(page: str, name: str) -> str:
    return next(line for line in page.splitlines() if line.startswith(f"| {name} "))


def test_tenure_is_measured_and_frameworks_that_are_not_there_are_told_and_skipped(
    tmp_path: Path,
) -> None:
    out, place, nowhere = tmp_path / "rows.jsonl", tmp_path / "data", tmp_path / "nowhere"
    command = [sys.executable, "-m", "bench.peers.frameworks"]
    command += ["--only", ",".join(["tenure-async-100", *ABSENT])]
    command += ["--jobs", str(JOBS), "--rounds", "1", "--no-syncs", "--patience", "0"]
    command += ["--dir", str(place), "--out", str(out), "--allow-tmpfs"]
    command += ["--venv", str(nowhere), "--venv-arq", str(nowhere)]
    command += ["--node-modules", str(nowhere / "node_modules")]

    done = run(command)

    assert done.returncode == 0, done.stderr
    found = load([out])
    assert [(one.peer, one.mode, one.row) for one in found.rows] == [
        (TENURE, "async-100", "enqueue"),
        (TENURE, "async-100", "enqueue-many"),
        (TENURE, "async-100", "process"),
        (TENURE, "async-100", "idle"),
    ], done.stdout + done.stderr
    assert found.rows[2].extra["begins"] == JOBS
    assert all(one.value > 0 for one in found.rows)
    for name in ABSENT:
        assert f"not measured: {name}: install it with:" in done.stdout
    assert {note.kind for note in found.notes} == {"how", "missing"}
    assert list(place.iterdir()) == []


def test_every_framework_says_how_to_install_it_where_nothing_is() -> None:
    nowhere = Path("/nonexistent")
    homes = Homes(peers=nowhere / "peers", arq=nowhere / "arq", node=nowhere / "node_modules")

    for one in FRAMEWORKS:
        lines = missing(one, homes)
        if one.peer == TENURE:
            assert lines == ""
        elif one.peer == "bullmq":
            assert "npm ci --prefix /nonexistent" in lines
        elif one.peer == "arq":
            assert "/nonexistent/arq/bin/pip install -r " in lines
            assert lines.endswith("requirements-arq.txt")
        else:
            assert "/nonexistent/peers/bin/pip install -r " in lines


def test_names_are_unique_and_every_framework_is_compared_with_a_mode_of_tenure() -> None:
    names = [one.name for one in FRAMEWORKS]
    own = {one.mode for one in FRAMEWORKS if one.peer == TENURE}

    assert len(set(names)) == len(names)
    assert all(one.like in own for one in FRAMEWORKS if one.peer != TENURE)


def test_the_report_says_how_many_times_ahead_tenure_is_and_where_it_is_not_enough() -> None:
    rows = [
        row("tenure-async-100", "process", 30_000),
        row("tenure-async-100", "enqueue", 4_000),
        *(row("bullmq-100", "process", v, round_=n) for n, v in enumerate([2_000, 5_000, 3_000])),
        row("bullmq-100", "enqueue", 8_000),
    ]

    page = section(Results(rows=rows))

    assert "| 3,000 (2,000 to 5,000) | 10.0 |" in line_of(page, "bullmq-100")
    assert "- enqueue, bullmq-100: 0.5 times" in page
    assert "- process, bullmq-100" not in page


def test_a_figure_taken_while_others_used_the_processors_is_marked() -> None:
    quiet = section(Results(rows=[row("huey-threads-10", "process", 3_000)]))
    noisy = section(Results(rows=[row("huey-threads-10", "process", 3_000, alien_percent=90)]))

    assert "| 3,000 |" in line_of(quiet, "huey-threads-10")
    assert "| ~3,000 |" in line_of(noisy, "huey-threads-10")


def test_the_report_tells_what_was_not_measured_and_what_failed() -> None:
    notes = [
        Note(section=SECTION, kind="missing", text="install it with: X", peer="rq", mode="fork"),
        Note(section=SECTION, kind="failed", text="round 2: it\nended", peer="huey", mode="a"),
    ]

    page = section(Results(rows=[row("tenure-async-100", "process", 1)], notes=notes))

    assert "- Not measured: rq-fork: install it with: X" in page
    assert "- Failed: huey-a: round 2: it" in page
    assert section(Results()) == ""


@pytest.fixture
def marks_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    path = tmp_path / "marks"
    monkeypatch.setenv(marks.MARKS_VARIABLE, str(path))
    marks._marks.cache_clear()
    yield path
    if path.exists():
        os.close(marks._marks())
    marks._marks.cache_clear()


def test_what_a_task_wrote_down_is_read_and_a_half_written_mark_is_not(marks_file: Path) -> None:
    assert marks.count_marks(marks_file) == 0

    marks.mark(7)
    marks.mark(8)
    with marks_file.open("ab") as file:
        file.write(b"half")

    assert [number for number, _ in marks.read_marks(marks_file)] == [7, 8]
    assert marks.count_marks(marks_file) == 2


def trial_of(jobs: int) -> Trial:
    one = framework("tenure-async-100")
    return Trial(
        framework=one,
        directory=Path(),
        homes=Homes(),
        jobs=one.jobs.at_most(jobs),
        probes=Probes(),
        round=1,
    )


USED = Cpu(at=2.0, machine=3.0, own=0.5, broker=0.5, worker=1.0)


def test_a_rate_is_from_the_first_begin_to_the_last() -> None:
    measured = processed(trial_of(3), [(0, 10_000_000), (2, 15_000_000), (1, 20_000_000)], USED)

    assert measured.value == pytest.approx(200)
    assert measured.durability == "fsync"
    assert measured.extra["worker_cpu_us_per_job"] == pytest.approx(1e6 / 3)
    assert measured.extra["alien_cpu_percent"] == pytest.approx(50)


def test_a_framework_that_lost_a_job_and_ran_another_twice_has_no_rate() -> None:
    with pytest.raises(PeerError, match="of 3 jobs 2 began, with 3 begins"):
        processed(trial_of(3), [(0, 1), (1, 2), (1, 3)], USED)


def test_a_sync_that_another_thread_interrupts_is_counted_once() -> None:
    output = """\
71 fdatasync(9 <unfinished ...>
70 fsync(7)                           = 0
71 <... fdatasync resumed>)           = 0
70 sync_file_range(7, 0, 4096, SYNC_FILE_RANGE_WRITE) = 0
70 +++ exited with 0 +++
"""

    assert count_calls(output) == 3
