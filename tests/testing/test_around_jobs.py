"""What surrounds a job in a worker surrounds it in a test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest

from tenure import App, CurrentJob, Depends, Permanent, Retry, current_job
from tenure.testing import TestBroker

told: list[str] = []


def begun() -> Iterator[str]:
    """A dependency that is closed after the job."""
    told.append("open")
    yield "database"
    told.append("close")


def make_app() -> App:
    app = App("tenure://nowhere.invalid", retry=Retry.fixed("1m", max_attempts=2))
    told.clear()

    @app.lifespan
    async def live() -> AsyncIterator[str]:
        told.append("begin")
        yield "pool"
        told.append("end")

    @app.middleware
    async def around(job: CurrentJob, call_next: Callable[[CurrentJob], Awaitable[Any]]) -> Any:
        told.append(f"before {job.task}")
        try:
            return await call_next(job)
        finally:
            told.append(f"after {job.task}")

    return app


def test_the_current_job_is_known_and_tells(tenure: TestBroker) -> None:
    app = App("tenure://nowhere.invalid")

    @app.task
    def count(most: int) -> None:
        job = current_job()
        job.progress(most, 10, "counting")
        job.log.info("counted", most=most)
        told.append(f"{job.task} {job.attempt} {job.queue} {job.headers['who']!r}")

    told.clear()
    handle = count.using(queue="numbers", headers={"who": "ada"}, result_ttl="1h").enqueue(3)
    tenure.run_until_idle()
    assert told == ["count 1 numbers 'ada'"]
    progress = handle.progress()
    assert progress is not None
    assert progress[:3] == (3, 10, "counting")
    assert "counted most=3" in handle.info().log[0]


def test_middleware_lifespan_and_dependencies_work(tenure: TestBroker) -> None:
    app = make_app()

    @app.task
    def use(name: str, *, database: str = Depends(begun)) -> None:
        told.append(f"{name} uses {database} and {current_job().resources}")

    use.enqueue("a")
    use.enqueue("b")
    tenure.run_until_idle()
    one = ["before use", "open", "{} uses database and pool", "close", "after use"]
    assert told == ["begin", *(s.format("a") for s in one), *(s.format("b") for s in one)]


def test_the_lifespan_ends_with_the_worker_that_is_killed(tenure: TestBroker) -> None:
    app = make_app()

    @app.task
    async def step() -> None:
        told.append("step")

    step.enqueue()
    step.enqueue()
    tenure.kill_worker_after(jobs=1)
    tenure.run_until_idle()
    first_and_second = ["begin", "before step", "step", "after step"] * 2
    first_and_second.insert(4, "end")
    assert told == first_and_second


def test_a_running_job_sees_that_it_is_cancelled(tenure: TestBroker) -> None:
    app = App("tenure://nowhere.invalid")

    @app.task
    def stubborn() -> None:
        job = current_job()
        app.job(job.id).cancel()
        told.append(f"cancelled: {job.cancelled}")
        job.raise_if_cancelled()

    told.clear()
    stubborn.enqueue()
    assert tenure.run_until_idle() == 1
    assert told == ["cancelled: True"]
    assert tenure.jobs()[0].state == "cancelled"


def test_a_lifespan_that_fails_is_an_error_of_the_run(tenure: TestBroker) -> None:
    app = App("tenure://nowhere.invalid")

    @app.lifespan
    async def live() -> AsyncIterator[None]:
        raise OSError("no database")
        yield

    @app.task
    def use() -> None: ...

    use.enqueue()
    with pytest.raises(OSError, match="no database"):
        tenure.run_until_idle()
    assert tenure.jobs()[0].state == "ready"


async def test_all_of_it_works_on_the_loop_of_a_test(tenure: TestBroker) -> None:
    app = make_app()

    @app.task
    async def use(*, database: str = Depends(begun)) -> None:
        told.append(f"uses {database}")

    @app.task
    def block() -> None:
        told.append(f"with {current_job().resources}")

    await use.aenqueue()
    await block.aenqueue()
    assert await tenure.arun_until_idle() == 2
    assert told == [
        "begin", "before use", "open", "uses database", "close", "after use",
        "before block", "with pool", "after block",
    ]  # fmt: skip


def test_hooks_are_told_what_became_of_a_job(tenure: TestBroker) -> None:
    app = App("tenure://nowhere.invalid", retry=Retry.fixed("1m", max_attempts=2))
    kinds = ["started", "succeeded", "failed", "retrying", "dead"]
    for kind in kinds:

        @app.on(f"job.{kind}")
        def note(event: Any, kind: str = kind) -> None:
            assert event.kind == f"job.{kind}"
            error = (event.error_type or "").rpartition(".")[2]
            told.append(f"{event.task} {kind} {error}".strip())

    @app.task
    def works() -> None: ...

    @app.task
    async def fails() -> None:
        raise ValueError("no")

    @app.task
    def hopeless() -> None:
        raise Permanent("never")

    told.clear()
    for task in (works, fails, hopeless):
        task.enqueue()
    tenure.run_until_idle()
    assert told == [
        "works started",
        "works succeeded",
        "fails started",
        "fails failed ValueError",
        "fails retrying ValueError",
        "hopeless started",
        "hopeless failed Permanent",
        "hopeless dead Permanent",
    ]
