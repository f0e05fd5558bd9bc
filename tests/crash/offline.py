"""What works on a data directory without serving it is killed: a compaction, an upgrade."""

from __future__ import annotations

import gzip
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tenure import Client, NewJob
from tenure_storage.store import FORMAT
from tenure_storage.verify import info
from tests.crash.brokers import SWEEP_STEPS
from tests.crash.content import digest
from tests.crash.figures import Figures
from tests.crash.rig import Tell, verified, wait_to_kill
from tests.support.broker_process import BrokerProcess

FORMAT_1 = Path(__file__).resolve().parents[1] / "storage" / "format_1.mdb.gz"
FORMAT_1_COUNTS = {"ready": 5, "leased": 2, "dead": 1, "expired": 1}
"""What there is once the delays and the one expiry of that time are over."""
FORMAT_1_READY = [b"failed", b"ready-0", b"ready-1", b"ready-2", b"later"]
JOBS, TAKEN, JOB_BYTES = 4_000, 2_000, 4_000
BESIDE = "data.mdb.compacting"
LOOK_S_MAX = 20.0


def kill_while_compacting(
    rounds: int, place: Path, rng: random.Random, figures: Figures, tell: Tell
) -> None:
    """At a random moment of `tenure store compact`: the old file or the new one, the same rows."""
    template = place / "template"
    jobs = _make_template(template)
    rows = digest(template / "data")
    shutil.copytree(template, place / "whole")
    took_s, window_s = _times(place / "whole" / "data")
    if verified(place / "whole" / "data", figures) and digest(place / "whole" / "data") != rows:
        figures.blame("compaction", "a whole one changed rows")
    for index in range(rounds):
        work = place / "work"
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(template, work)
        data = work / "data"
        before = (data / "data.mdb").stat().st_size
        process = _compact(data)
        if index % 4:
            # Most kills while there are two files; the others anywhere, most of it imports.
            _wait_for(data / BESIDE, process)
            _wait(process, rng.random() * 1.2 * window_s)
        else:
            _wait(process, rng.random() * took_s)
        _kill(process, figures)
        _check_compacted(data, rows, before, figures)
        if index % 8 == 7:
            _check_serves(work, jobs, figures)
        figures.rounds += 1
        tell(f"round {index + 1}/{rounds}: {figures.told()}")


def _make_template(place: Path) -> int:
    """A store that shrinks by a half, with a journal that LMDB has not caught up with."""
    with BrokerProcess(place) as broker, Client(broker.url, codec="raw", timeout="30s") as client:
        for _ in range(0, JOBS, 200):
            client.enqueue_many("kept", [NewJob("kept", bytes(JOB_BYTES))] * 200)
        for _ in range(0, TAKEN, 200):
            client.ack(client.reserve("kept", max_jobs=200))
        client.enqueue("kept", "kept", b"last")
        broker.kill()
    return JOBS - TAKEN + 1


def _compact(data: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "tenure.cli", "store", "compact", str(data)],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def _times(data: Path) -> tuple[float, float]:
    """How long a whole compaction takes, and how long there are two files."""
    began = time.monotonic()
    process = _compact(data)
    _wait_for(data / BESIDE, process)
    appeared = time.monotonic()
    while (data / BESIDE).exists() and process.poll() is None:
        time.sleep(0.0005)
    window_s = time.monotonic() - appeared
    process.wait()
    return time.monotonic() - began, window_s


def _wait_for(path: Path, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + LOOK_S_MAX
    while not path.exists() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.0005)


def _wait(process: subprocess.Popen[bytes], seconds: float) -> None:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return


def _kill(process: subprocess.Popen[bytes], figures: Figures) -> None:
    process.kill()
    if process.wait() == 0:
        figures.counts["ended before the kill"] += 1
    else:
        figures.kills += 1


def _check_compacted(data: Path, rows: str, before: int, figures: Figures) -> None:
    if not (data / "data.mdb").exists():
        figures.blame("compaction", "there is no data file")
        return
    smaller = (data / "data.mdb").stat().st_size < before
    figures.counts["the new file" if smaller else "the old file"] += 1
    figures.counts["two files"] += (data / BESIDE).exists()
    # A file that is cut short would end this process too, so it is verified first.
    if verified(data, figures) and digest(data) != rows:
        figures.blame("compaction", f"rows changed (the {'new' if smaller else 'old'} file)")


def _check_serves(place: Path, jobs: int, figures: Figures) -> None:
    began = time.monotonic()
    with BrokerProcess(place) as broker, Client(broker.url) as client:
        figures.recovered_s.append(time.monotonic() - began)
        found = client.queue("kept").jobs
    if found != jobs:
        figures.blame("nothing lost", f"{found} of {jobs} jobs after a compaction was killed")
    if (broker.data_dir / BESIDE).exists():
        figures.blame("compaction", f"a start leaves {BESIDE} where it is, as large as the store")


def kill_while_upgrading(
    rounds: int, place: Path, rng: random.Random, figures: Figures, tell: Tell
) -> None:
    """A little later in every first start on a directory of the first release."""
    old = gzip.decompress(FORMAT_1.read_bytes())
    start_s = 0.5
    for index in range(rounds):
        work = place / "work"
        shutil.rmtree(work, ignore_errors=True)
        data = work / "data"
        data.mkdir(parents=True)
        (data / "data.mdb").write_bytes(old)
        before = digest(data)
        broker = BrokerProcess(work)
        while True:
            broker.spawn()
            share = ((index * 13) % SWEEP_STEPS + rng.random()) / SWEEP_STEPS
            wait_to_kill(broker, share, start_s, figures, with_the_store=bool(index % 4))
            broker.kill()
            figures.kills += 1
            _check_format(data, before, figures)
            if rng.random() < 0.7:
                break
        began = time.monotonic()
        broker.start()
        start_s = time.monotonic() - began
        figures.recovered_s.append(start_s)
        _check_upgraded(broker, figures)
        figures.rounds += 1
        tell(f"round {index + 1}/{rounds}: {figures.told()}")


def _check_format(data: Path, before: str, figures: Figures) -> None:
    number = info(data)["format"]
    figures.counts[f"format {number} after the kill"] += 1
    if number == FORMAT:
        verified(data, figures)
    elif digest(data) != before:
        figures.blame("upgrade", f"half made: format {number}, and rows are not what they were")


def _check_upgraded(broker: BrokerProcess, figures: Figures) -> None:
    with broker, Client(broker.url, codec="raw") as client:
        counts = {name: count for name, count in client.queue("mail").counts.items() if count}
        if counts != FORMAT_1_COUNTS:
            figures.blame("upgrade", f"{counts} instead of {FORMAT_1_COUNTS}")
        jobs = client.reserve("mail", max_jobs=10)
        if [job.payload for job in jobs] != FORMAT_1_READY:
            figures.blame("upgrade", f"its ready jobs are {[job.payload for job in jobs]}")
        client.ack(jobs)
    verified(broker.data_dir, figures)
