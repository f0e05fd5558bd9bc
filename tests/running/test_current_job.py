"""`current_job()`: what a task can know of its job, and tell."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tenure import App, current_job
from tenure.running.control import JobControl
from tenure.running.outcome import Succeeded
from tenure.running.port import NoPort
from tenure.running.runner import Runner
from tests.running.conftest import Run
from tests.running.jobs import JOB_ID, RememberingPort, delivery
from tests.running.test_outcomes import wire_of


def test_it_tells_the_job_and_its_delivery(app: App, run: Run) -> None:
    seen: list[Any] = []

    @app.task(timeout="1m")
    def task() -> None:
        job = current_job()
        seen.extend([job.id, job.attempt, job.queue, job.task, job.max_attempts, job.used])
        seen.extend([dict(job.headers), job.enqueued_at, job.deadline, job.resources])

    before = datetime.now(UTC)
    run(delivery("task", headers={"tenant": "acme"}), resources={"pool": 1})
    assert seen[:6] == [JOB_ID, 1, "mail", "task", 5, 0]
    assert seen[6] == {"tenant": "acme"}
    assert seen[7] == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    assert timedelta(seconds=59) < seen[8] - before < timedelta(seconds=90)
    assert seen[9] == {"pool": 1}


def test_the_limit_of_the_job_goes_before_that_of_the_task(app: App, run: Run) -> None:
    seen: list[Any] = []

    @app.task
    def task() -> None:
        seen.append(current_job().deadline)

    run(delivery("task"))
    run(delivery("task", headers={"tenure.timeout_ms": 3_600_000}))
    assert seen[0] is None
    assert seen[1] - datetime.now(UTC) > timedelta(minutes=50)


def test_outside_of_a_job_there_is_none(app: App, run: Run) -> None:
    @app.task
    async def task() -> None: ...

    run(delivery("task"))
    with pytest.raises(RuntimeError, match="no current job"):
        current_job()


def test_threads_of_asyncio_see_it_and_bare_threads_do_not(app: App, run: Run) -> None:
    seen: list[Any] = []

    def look() -> None:
        try:
            seen.append(current_job().task)
        except RuntimeError:
            seen.append(None)

    @app.task
    async def task() -> None:
        await asyncio.to_thread(look)
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()

    run(delivery("task"))
    assert seen == ["task", None]


async def test_jobs_at_the_same_time_do_not_see_each_other(app: App) -> None:
    everybody_runs = asyncio.Barrier(3)
    seen = []

    @app.task
    async def task(n: int) -> None:
        job = current_job()
        await everybody_runs.wait()
        seen.append((n, job.headers["n"], current_job() is job))

    runner = Runner(app)
    await asyncio.gather(
        *(
            runner.run(delivery("task", headers={"n": n}, n=n), NoPort(), JobControl())
            for n in range(3)
        )
    )
    assert sorted(seen) == [(0, 0, True), (1, 1, True), (2, 2, True)]


def test_progress_and_lines_go_to_the_holder(app: App, run: Run) -> None:
    port = RememberingPort()

    @app.task
    def task() -> None:
        job = current_job()
        job.progress(1, total=3, message="rendered")
        job.progress(0.5)
        job.log.info("rendering", template="welcome", to="ada lovelace")
        job.log.warning("two\nlines")
        job.log.debug("only where somebody logs it")

    assert run(delivery("task"), port) == Succeeded(None)
    assert port.told == [(1, 3, "rendered"), (0.5, None, None)]
    first, second = port.lines
    assert first.endswith("Z info rendering template=welcome to='ada lovelace'")
    assert second.endswith(r"Z warning two\nlines")


@pytest.mark.parametrize("wrong", ["one", None, True])
def test_progress_takes_numbers_only(app: App, run: Run, wrong: Any) -> None:
    @app.task
    def task() -> None:
        current_job().progress(wrong)

    assert wire_of(run(delivery("task")))["error_type"] == "TypeError"
