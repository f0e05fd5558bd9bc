"""A job that fails is seen on the worker's log: which, why, and whether it is tried again."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import msgpack
import pytest

from tenure import Client, Retry
from tenure.worker.failures import LINES_MAX, Failures
from tenure.worker.held import Held
from tenure.worker.log import Log, Output
from tenure.worker.pool import Pool
from tests.support.broker_process import BrokerProcess
from tests.worker.processes import WorkerProcess, eventually

APP = """\
from tenure import App

app = App(queue="work")

@app.task
def breaks(n: int) -> None:
    raise ValueError(f"no good: {n}\\nin two lines")

@app.task
def stubborn() -> None:
    raise ValueError("again")
"""


def lines_of(worker: WorkerProcess, event: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in worker.log.splitlines() if line.startswith("{")]
    return [line for line in found if line["event"].startswith(event)]


@pytest.fixture
def app_dir(tmp_path: Path) -> Path:
    path = tmp_path / "app"
    path.mkdir()
    (path / "shop.py").write_text(APP)
    return path


def test_each_attempt_that_fails_is_one_line_with_its_job_and_its_error(
    broker: BrokerProcess, client: Client, tmp_path: Path, app_dir: Path
) -> None:
    with WorkerProcess(
        broker.url, tmp_path, "--log-format", "json", app="shop:app", app_dir=app_dir
    ) as worker:
        worker.ready()
        dead = client.enqueue("work", "breaks", {"n": 7}, max_attempts=1)
        unknown = client.enqueue("work", "nobody_knows", None, max_attempts=1)
        wrong = client.enqueue("work", "breaks", {"m": 7})
        again = client.enqueue("work", "stubborn", {}, retry=Retry.fixed("1m"))
        eventually(lambda: len(lines_of(worker, "a job failed")) == 4)
        told = {line["job"]: line for line in lines_of(worker, "a job failed")}
        assert told[dead]["error"] == "ValueError: no good: 7 in two lines"
        assert (told[dead]["task"], told[dead]["queue"], told[dead]["attempt"]) == (
            "breaks", "work", 1,
        )  # fmt: skip
        for job in (dead, unknown, wrong):
            assert told[job]["event"] == "a job failed and is dead"
            assert told[job]["level"] == "warning"
        assert "nobody_knows" in told[unknown]["error"]
        assert told[wrong]["because"] == "trying again is of no use"
        assert told[again]["event"] == "a job failed and is tried again"
        assert told[again]["again_in"]


class Clock:
    """Calls what was put off, when the test says so."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []

    def later(self, pause_ms: int, call: Callable[[], None]) -> None:
        self.waiting.append(call)

    def ring(self) -> None:
        waiting, self.waiting = self.waiting, []
        for call in waiting:
            call()


def test_a_storm_of_failures_is_told_by_its_first_lines_and_a_number(tmp_path: Path) -> None:
    path = tmp_path / "log"
    output = Output(os.open(path, os.O_CREAT | os.O_WRONLY))
    clock = Clock()
    failures = Failures(Log(output, "json", colour=False, clock=lambda: 0), later=clock.later)
    body = msgpack.packb(["send", b"", None, 1])
    held = Held(1, [b"1" * 16, 1, "q", 1000, 0, body, 5, 0], cast(Pool, None), 0)

    def fail(times: int) -> list[dict[str, Any]]:
        path.write_text("")
        item = [held.id, 1, {"error_type": "OSError", "message": "down"}]
        for _ in range(times):
            failures.told(held, "fail", item, [0, {"state": "dead", "reason": "attempts"}])
        clock.ring()
        output.flush()
        return [json.loads(line.strip("\0")) for line in path.read_text().splitlines()]

    *single, rest = fail(LINES_MAX + 500)
    assert len(single) == LINES_MAX
    assert (rest["jobs"], rest["most_of"], rest["error"]) == (500, "send", "OSError")
    assert len(fail(1)) == 1, "the next stretch is told again"
