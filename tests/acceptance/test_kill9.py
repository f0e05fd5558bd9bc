"""kill -9 of a real broker under load, again and again; a checker outside decides.

Producers and workers are processes of their own that write down everything they mean to
do and everything that comes of it. `pytest tests/acceptance/test_kill9.py --rounds 1000` is
a long run; ROUNDS and KILL_SEED in the environment do the same and choose other moments.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tenure import Client
from tests.acceptance.checker import check
from tests.acceptance.journal import Journal, read_journals
from tests.support.broker_process import BrokerProcess

ROOT = Path(__file__).resolve().parents[2]
LEASE_S = 2.0
PROGRESS_S_MAX = 60.0


class Load:
    """Producers and workers, and their journals."""

    def __init__(self, directory: Path, url: str) -> None:
        self.directory, self.url = directory, url
        self.started = 0
        self.processes: dict[str, list[subprocess.Popen[bytes]]] = {"producer": [], "worker": []}

    def start(self, kind: str, *more: str) -> subprocess.Popen[bytes]:
        """Starts one, under a name and a seed that nobody had."""
        self.started += 1
        name = f"{kind[0]}{self.started}"
        command = [sys.executable, "-m", f"tests.acceptance.load_{kind}", self.url]
        command += [str(self.directory / f"{name}.journal"), name, str(self.started)]
        command += [str(LEASE_S), *more] if kind == "worker" else []
        log = (self.directory / "load.log").open("ab")
        with log:
            return subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)

    def add(self, kind: str, count: int = 1) -> None:
        """Adds processes to the load."""
        self.processes[kind] += [self.start(kind) for _ in range(count)]

    def replace(self, kind: str, index: int) -> None:
        """kill -9 of one, and another in its place."""
        process = self.processes[kind].pop(index % len(self.processes[kind]))
        process.kill()
        process.wait()
        self.add(kind)

    def written(self) -> int:
        """Bytes in all journals."""
        return sum(path.stat().st_size for path in self.directory.glob("*.journal"))

    def end(self, number: signal.Signals) -> list[int]:
        """Ends all processes; their exit codes."""
        everybody = [process for some in self.processes.values() for process in some]
        for process in everybody:
            if process.poll() is None:
                process.send_signal(number)
        codes = [process.wait(60) for process in everybody]
        self.processes = {"producer": [], "worker": []}
        return codes

    def log(self) -> str:
        """What they wrote to stderr."""
        return (self.directory / "load.log").read_text(errors="replace")


def wait_for_progress(load: Load, more_bytes: int) -> None:
    """Waits until the journals have grown: the load is at work."""
    goal, end = load.written() + more_bytes, time.monotonic() + PROGRESS_S_MAX
    pause = threading.Event()
    while load.written() < goal:
        assert time.monotonic() < end, f"the load makes no progress:\n{load.log()}"
        pause.wait(0.01)


def kill_again_and_again(broker: BrokerProcess, load: Load, rng: random.Random, rounds: int) -> int:
    """`rounds` kills at random moments, some right after its start. How many there were."""
    journal = Journal(load.directory / "killer.journal")
    kills = 0
    while kills < rounds:
        wait_for_progress(load, rng.randrange(2_000, 100_000))
        for _ in range(1 if rng.random() < 0.85 else 2):
            if not broker.running:
                broker.start()
            journal.write("broker killed")
            broker.kill()
            kills += 1
        if kills % 4 == 0:
            load.replace("worker", kills)
        if kills % 7 == 0:
            load.replace("producer", kills)
        broker.start()
    return kills


@pytest.mark.slow
@pytest.mark.timeout(0)
def test_no_promise_is_broken_by_kill_9(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> None:
    rounds = int(request.config.getoption("--rounds") or 0)
    seed = int(os.environ.get("KILL_SEED", "1"))
    began = time.monotonic()
    with BrokerProcess(tmp_path) as broker:
        with Client(broker.url) as client:
            client.create_queue("load", max_jobs=1_500, max_attempts=1_000, poison_after=0)
        load = Load(tmp_path, broker.url)
        try:
            load.add("producer", 2)
            load.add("worker", 3)
            kills = kill_again_and_again(broker, load, random.Random(seed), rounds)
            wait_for_progress(load, 10_000)
            assert load.end(signal.SIGTERM) == [0] * 5, load.log()
            drain = load.start("worker", "drain")
            load.processes["worker"].append(drain)
            assert drain.wait(90) == 0, load.log()
        finally:
            load.end(signal.SIGKILL)
    verdict = check(read_journals(tmp_path))
    counts = ", ".join(f"{name} {n}" for name, n in sorted(verdict.counts.items()))
    with capsys.disabled():
        print(f"\nkill -9 for {time.monotonic() - began:.0f} s: {counts}")
    assert verdict.violations == []
    assert verdict.counts["confirmed"] > 10 * kills
    assert verdict.counts["ack"] > 10 * kills
    assert verdict.counts["redeliveries"] > 0
