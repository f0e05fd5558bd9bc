"""Middleware stands around every job, in the order in which it was added, sync or async."""

from __future__ import annotations

import asyncio
import itertools
import threading
from contextvars import ContextVar
from typing import Any

import pytest

from tenure import App
from tenure.running.control import JobControl
from tenure.running.current import CurrentJob
from tenure.running.outcome import Succeeded
from tenure.running.port import NoPort
from tenure.running.runner import Runner
from tests.running.conftest import Run
from tests.running.jobs import delivery
from tests.running.test_outcomes import result_of, wire_of

KINDS = list(itertools.product(["sync", "async"], repeat=3))


def add_middleware(app: App, name: str, kind: str, seen: list[str]) -> None:
    if kind == "sync":

        def layer(job: CurrentJob, call_next: Any) -> Any:
            seen.append(f"{name} in")
            result = call_next(job)
            seen.append(f"{name} out {result}")
            return result + 1

        app.middleware(layer)
    else:

        async def alayer(job: CurrentJob, call_next: Any) -> Any:
            seen.append(f"{name} in")
            await asyncio.sleep(0)
            result = await call_next(job)
            seen.append(f"{name} out {result}")
            return result + 1

        app.middleware(alayer)


@pytest.mark.parametrize("kinds", KINDS, ids=" ".join)
def test_layers_of_any_kind_nest_around_any_task(
    app: App, run: Run, kinds: tuple[str, str, str]
) -> None:
    seen: list[str] = []
    first, second, task = kinds
    add_middleware(app, "first", first, seen)
    add_middleware(app, "second", second, seen)
    if task == "sync":

        @app.task(name="task")
        def sync_task(n: int) -> int:
            seen.append("task")
            return n
    else:

        @app.task(name="task")
        async def async_task(n: int) -> int:
            await asyncio.sleep(0)
            seen.append("task")
            return n

    assert result_of(run(delivery("task", n=5))) == 7
    assert seen == ["first in", "second in", "task", "second out 5", "first out 6"]


@pytest.mark.parametrize("kinds", KINDS, ids=" ".join)
def test_errors_pass_through_layers_of_any_kind(
    app: App, run: Run, kinds: tuple[str, str, str]
) -> None:
    seen: list[str] = []
    first, second, task = kinds
    add_middleware(app, "first", first, seen)
    add_middleware(app, "second", second, seen)
    if task == "sync":

        @app.task(name="task")
        def sync_task() -> None:
            raise LookupError("gone")
    else:

        @app.task(name="task")
        async def async_task() -> None:
            raise LookupError("gone")

    assert wire_of(run(delivery("task")))["error_type"] == "LookupError"
    assert seen == ["first in", "second in"]


@pytest.mark.parametrize("kinds", KINDS, ids=" ".join)
def test_what_a_layer_puts_into_the_context_is_there_inside(
    app: App, run: Run, kinds: tuple[str, str, str]
) -> None:
    tenant: ContextVar[str] = ContextVar("tenant", default="nobody")
    first, second, task = kinds

    def layer(job: CurrentJob, call_next: Any) -> Any:
        tenant.set("acme")
        return call_next(job)

    async def alayer(job: CurrentJob, call_next: Any) -> Any:
        tenant.set("acme")
        return await call_next(job)

    app.middleware(layer if first == "sync" else alayer)
    add_middleware(app, "second", second, [])
    seen = []
    if task == "sync":

        @app.task(name="task")
        def sync_task() -> int:
            seen.append(tenant.get())
            return 0
    else:

        @app.task(name="task")
        async def async_task() -> int:
            seen.append(tenant.get())
            return 0

    run(delivery("task"))
    assert seen == ["acme"]
    assert tenant.get() == "nobody"


def test_a_layer_may_answer_without_the_task(app: App, run: Run) -> None:
    @app.middleware
    async def cached(job: CurrentJob, call_next: Any) -> Any:
        return 42

    @app.task
    def task() -> int:
        raise AssertionError("never called")

    assert result_of(run(delivery("task"))) == 42


def test_a_layer_may_turn_an_error_into_a_result(app: App, run: Run) -> None:
    @app.middleware
    def tolerant(job: CurrentJob, call_next: Any) -> Any:
        try:
            return call_next(job)
        except LookupError:
            return None

    @app.task
    async def task() -> None:
        raise LookupError

    assert run(delivery("task")) == Succeeded(None)


def test_an_error_of_a_layer_is_the_jobs(app: App, run: Run) -> None:
    @app.middleware
    async def strict(job: CurrentJob, call_next: Any) -> Any:
        await call_next(job)
        raise PermissionError(f"no {job.task}")

    @app.task
    def task() -> None: ...

    assert wire_of(run(delivery("task")))["message"] == "no task"


def test_an_async_layer_may_limit_how_long_a_def_task_is_waited_for(
    app: App, loop: asyncio.AbstractEventLoop
) -> None:
    given_up = threading.Event()

    @app.middleware
    async def impatient(job: CurrentJob, call_next: Any) -> Any:
        try:
            async with asyncio.timeout(0.01):
                return await call_next(job)
        finally:
            given_up.set()

    @app.task
    def slow() -> None:
        assert given_up.wait(30)

    outcome = Runner(app, loop=loop).run_blocking(delivery("slow"), NoPort(), JobControl())
    assert wire_of(outcome)["error_type"] == "TimeoutError"


def test_the_def_task_runs_in_the_thread_that_was_given_to_it(
    app: App, loop: asyncio.AbstractEventLoop
) -> None:
    threads = []

    @app.middleware
    async def layer(job: CurrentJob, call_next: Any) -> Any:
        threads.append(threading.get_ident())
        return await call_next(job)

    @app.task
    def task() -> None:
        threads.append(threading.get_ident())

    Runner(app, loop=loop).run_blocking(delivery("task"), NoPort(), JobControl())
    assert threads[1] == threading.get_ident()
    assert threads[0] != threading.get_ident()
