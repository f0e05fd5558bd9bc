"""`Depends`: made once for each job, of any kind for any task, closed after it in reverse order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from tenure import App
from tenure.tasks.depends import Depends
from tests.running.conftest import Run
from tests.running.jobs import delivery
from tests.running.test_outcomes import result_of, wire_of

seen: list[str] = []


@pytest.fixture(autouse=True)
def nothing_seen() -> None:
    seen.clear()


def plain() -> str:
    seen.append("plain")
    return "p"


async def awaited() -> str:
    await asyncio.sleep(0)
    seen.append("awaited")
    return "a"


def generator(inner: str = Depends(plain)) -> Iterator[str]:
    seen.append("generator opens")
    try:
        yield inner + "g"
    except LookupError:
        seen.append("generator rolls back")
        raise
    finally:
        seen.append("generator closes")


async def async_generator(inner: str = Depends(generator)) -> AsyncIterator[str]:
    await asyncio.sleep(0)
    seen.append("async generator opens")
    try:
        yield inner + "h"
    finally:
        await asyncio.sleep(0)
        seen.append("async generator closes")


@pytest.fixture(params=["def", "async def"])
def task(request: pytest.FixtureRequest, app: App) -> str:
    if request.param == "def":

        @app.task(name="task")
        def sync_task(
            fail: bool = False,
            a: str = Depends(awaited),
            h: str = Depends(async_generator),
            g: str = Depends(generator),
            p: str = Depends(plain),
        ) -> str:
            seen.append("task")
            if fail:
                raise LookupError("gone")
            return " ".join([a, h, g, p])
    else:

        @app.task(name="task")
        async def async_task(
            fail: bool = False,
            a: str = Depends(awaited),
            h: str = Depends(async_generator),
            g: str = Depends(generator),
            p: str = Depends(plain),
        ) -> str:
            await asyncio.sleep(0)
            seen.append("task")
            if fail:
                raise LookupError("gone")
            return " ".join([a, h, g, p])

    return "task"


def test_each_is_made_once_and_closed_after_the_job(run: Run, task: str) -> None:
    assert result_of(run(delivery(task))) == "a pgh pg p"
    assert seen == [
        "awaited", "plain", "generator opens", "async generator opens", "task",
        "async generator closes", "generator closes",
    ]  # fmt: skip


def test_an_error_of_the_task_is_thrown_into_the_generators(run: Run, task: str) -> None:
    assert wire_of(run(delivery(task, fail=True)))["error_type"] == "LookupError"
    assert seen[-4:] == [
        "task", "async generator closes", "generator rolls back", "generator closes",
    ]  # fmt: skip


def test_the_next_job_gets_new_ones(run: Run, task: str) -> None:
    run(delivery(task))
    run(delivery(task))
    assert seen.count("plain") == 2


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_failing_close_fails_the_job_and_the_others_are_closed(
    app: App, run: Run, kind: str
) -> None:
    def outer() -> Iterator[int]:
        yield 1
        seen.append("outer closes")

    def cannot_commit(n: int = Depends(outer)) -> Iterator[int]:
        yield n
        raise ConnectionError("commit failed")

    async def acannot_commit(n: int = Depends(outer)) -> AsyncIterator[int]:
        yield n
        raise ConnectionError("commit failed")

    made = Depends(cannot_commit) if kind == "sync" else Depends(acannot_commit)

    @app.task(name="task")
    def write(session: int = made) -> None: ...

    wire = wire_of(run(delivery("task")))
    assert (wire["error_type"], wire["message"]) == ("ConnectionError", "commit failed")
    assert seen == []  # the outer one is given the error, at its yield


def test_a_generator_that_swallows_the_error_does_not_save_the_job(app: App, run: Run) -> None:
    def swallows() -> Iterator[int]:
        try:
            yield 1
        except LookupError:
            seen.append("swallowed")

    @app.task(name="task")
    async def fails(n: int = Depends(swallows)) -> None:
        raise LookupError

    assert wire_of(run(delivery("task")))["error_type"] == "LookupError"
    assert seen == ["swallowed"]


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_failing_dependency_fails_the_job_and_closes_what_is_open(
    app: App, run: Run, kind: str
) -> None:
    async def afails(g: str = Depends(generator)) -> None:
        raise LookupError("no database")

    def fails(g: str = Depends(generator)) -> None:
        raise LookupError("no database")

    made = Depends(fails) if kind == "sync" else Depends(afails)

    @app.task(name="task")
    def never(n: Any = made) -> None:
        seen.append("task")

    assert wire_of(run(delivery("task")))["message"] == "no database"
    assert seen == ["plain", "generator opens", "generator rolls back", "generator closes"]


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_generator_that_yields_twice_is_an_error(app: App, run: Run, kind: str) -> None:
    def twice() -> Iterator[int]:
        yield 1
        yield 2

    async def atwice() -> AsyncIterator[int]:
        yield 1
        yield 2

    @app.task(name="task")
    def uses(n: int = Depends(twice) if kind == "sync" else Depends(atwice)) -> None: ...

    assert "yielded twice" in wire_of(run(delivery("task")))["message"]


def test_a_dependency_may_take_what_the_lifespan_yielded(app: App, run: Run) -> None:
    async def pool(resources: dict[str, str]) -> str:
        return resources["pool"]

    @app.task(name="task")
    def uses(pool: str = Depends(pool)) -> str:
        return pool

    assert result_of(run(delivery("task"), resources={"pool": "P"})) == "P"


def test_dependencies_stand_inside_the_middleware(app: App, run: Run) -> None:
    @app.middleware
    async def layer(job: Any, call_next: Any) -> Any:
        seen.append("in")
        result = await call_next(job)
        seen.append("out")
        return result

    @app.task(name="task")
    def uses(g: str = Depends(generator)) -> None:
        seen.append("task")

    run(delivery("task"))
    assert seen == ["in", "plain", "generator opens", "task", "generator closes", "out"]
