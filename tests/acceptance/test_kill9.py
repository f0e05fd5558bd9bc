"""kill -9 of a real broker under load, again and again; a checker outside decides.

Producers and workers are processes of their own that write down everything they mean to
do and everything that comes of it. `pytest tests/acceptance/test_kill9.py --rounds 1000` is
a long run; ROUNDS and KILL_SEED in the environment do the same and choose other moments.
"""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest

from tenure import Client
from tests.acceptance.checker import check
from tests.acceptance.journal import Journal, read_journals
from tests.acceptance.load import Load, wait_for_progress
from tests.support.broker_process import BrokerProcess


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
