"""In eager mode a task runs where it is enqueued, through the same checks, and nothing is sent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tenure import App, ArgumentError, Depends, RetryLater, TaskFailed, current_job
from tests.tasks.shop import Item


@pytest.fixture
def app() -> App:
    made = App("tenure://127.0.0.1:1")
    made.eager = True
    return made


def test_the_handle_has_the_result(app: App) -> None:
    @app.task
    def double(item: Item) -> Item:
        return Item(item.name * 2, item.price)

    handle = double.enqueue(Item("a", 1.5))

    assert handle.result() == Item("aa", 1.5)
    assert handle.status() == "succeeded"
    assert handle.cancel() == "succeeded"
    assert handle.task == "double"
    assert handle.info().payload == {"item": {"name": "a", "price": 1.5, "tags": []}}


def test_a_failure_is_that_of_a_job(app: App) -> None:
    @app.task
    def fail() -> None:
        raise ValueError("no ink")

    handle = fail.delay()

    with pytest.raises(TaskFailed, match="ValueError: no ink") as caught:
        handle.result()
    assert "fail" in (caught.value.traceback or "")
    assert handle.status() == "dead"


def test_arguments_are_checked_first(app: App) -> None:
    @app.task
    def double(x: int) -> int:
        raise AssertionError("this must not run")

    with pytest.raises(ArgumentError):
        double.enqueue("a")  # type: ignore[arg-type]


def test_an_async_task_runs_too(app: App) -> None:
    @app.task
    async def double(x: int) -> int:
        return 2 * x

    assert double.enqueue(2).result() == 4


async def test_a_task_runs_beside_a_loop_that_is_running(app: App) -> None:
    @app.task
    async def double(x: int) -> int:
        return 2 * x

    @app.task
    def triple(x: int) -> int:
        return 3 * x

    assert double.enqueue(2).result() == 4
    assert triple.enqueue(2).result() == 6
    assert await (await double.aenqueue(2)).result() == 4
    assert await (await triple.aenqueue(2)).result() == 6
    assert [h.id for h in await app.aenqueue_many([double.s(1)])]


def test_the_job_has_what_a_worker_would_give_it(app: App) -> None:
    @app.lifespan
    async def resources() -> AsyncIterator[dict[str, int]]:
        yield {"rate": 3}

    def rate(resources: Any) -> int:
        found: int = resources["rate"]
        return found

    @app.task(headers={"a": 1})
    def price(x: int, rate: int = Depends(rate)) -> list[Any]:
        job = current_job()
        job.progress(1, total=2)
        return [x * rate, job.task, dict(job.headers), job.attempt]

    assert price.enqueue(2).result() == [6, "price", {"a": 1}, 1]


def test_a_job_that_asks_to_run_later_has_no_later(app: App) -> None:
    @app.task
    def later() -> None:
        raise RetryLater("5m", "too many requests")

    with pytest.raises(TaskFailed, match="too many requests"):
        later.enqueue().result()


def test_it_can_be_for_a_block_only() -> None:
    app = App("tenure://127.0.0.1:1")

    @app.task
    def double(x: int) -> int:
        return 2 * x

    with app.eager_mode():
        assert app.is_eager
        assert [h.result() for h in app.enqueue_many(double.s(i) for i in range(3))] == [0, 2, 4]
    assert not app.is_eager
