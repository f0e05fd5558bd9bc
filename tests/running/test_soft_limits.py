"""The soft limit raises `SoftTimeout` inside the task, in every executor."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from typing import Any

import pytest

from tenure import App
from tenure.running.control import JobControl
from tenure.running.outcome import Outcome, Succeeded
from tenure.running.port import NoPort
from tenure.running.runner import Runner
from tenure.tasks.control import SoftTimeout
from tests.running.jobs import delivery
from tests.running.test_outcomes import result_of, wire_of

FOREVER_S = 60


def on_a_loop(app: App, **options: Any) -> Outcome:
    job = delivery("task", **options)
    return asyncio.run(Runner(app).run(job, NoPort(), JobControl()))


def in_main_thread(app: App, **options: Any) -> Outcome:
    return Runner(app).run_blocking(delivery("task", **options), NoPort(), JobControl())


def in_thread(app: App, **options: Any) -> Outcome:
    outcomes: list[Outcome] = []
    thread = threading.Thread(target=lambda: outcomes.append(in_main_thread(app, **options)))
    thread.start()
    thread.join()
    return outcomes[0]


def burn() -> None:
    """Python code that does not end."""
    end = time.monotonic() + FOREVER_S
    while time.monotonic() < end:
        pass


def test_an_async_task_gets_it_where_it_awaits_and_may_clean_up(app: App) -> None:
    @app.task(soft_timeout="10ms")
    async def task() -> str:
        try:
            await asyncio.Event().wait()
        except SoftTimeout as error:
            await asyncio.sleep(0)
            return f"cleaned up: {error}"
        return "never"

    assert result_of(on_a_loop(app)) == "cleaned up: the soft limit of 0.01 s is over"


def test_let_through_it_fails_the_job_as_a_timeout(app: App) -> None:
    @app.task(soft_timeout="10ms")
    async def task() -> None:
        await asyncio.Event().wait()

    wire = wire_of(on_a_loop(app))
    assert (wire["kind"], wire["dead"]) == ("timeout", False)
    assert wire["error_type"] == "tenure.tasks.control.SoftTimeout"


def test_what_the_task_awaits_is_cancelled(app: App) -> None:
    ended = []

    async def child() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("child")

    @app.task(soft_timeout="10ms")
    async def task() -> str:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(child())
                group.create_task(child())
        except SoftTimeout:
            return f"{len(ended)} ended"
        return "never"

    assert result_of(on_a_loop(app)) == "2 ended"


def test_afterwards_the_task_can_be_cancelled_and_use_timeouts_as_ever(app: App) -> None:
    @app.task(soft_timeout="10ms")
    async def task() -> str:
        try:
            await asyncio.Event().wait()
        except SoftTimeout:
            try:
                async with asyncio.timeout(0.01):
                    await asyncio.Event().wait()
            except TimeoutError:
                return "timed out again"
        return "never"

    assert result_of(on_a_loop(app)) == "timed out again"


@pytest.mark.parametrize("where", [in_main_thread, in_thread, on_a_loop])
def test_a_def_task_gets_it_while_it_computes(app: App, where: Any) -> None:
    @app.task(soft_timeout="10ms")
    def task() -> str:
        try:
            burn()
        except SoftTimeout:
            return "cleaned up"
        return "never"

    assert result_of(where(app)) == "cleaned up"


@pytest.mark.parametrize("where", [in_main_thread, in_thread, on_a_loop])
def test_a_def_task_that_lets_it_through_fails_as_a_timeout(app: App, where: Any) -> None:
    @app.task(soft_timeout="10ms")
    def task() -> None:
        burn()

    assert wire_of(where(app))["kind"] == "timeout"


def test_in_a_main_thread_it_interrupts_a_system_call(app: App) -> None:
    @app.task(soft_timeout="10ms")
    def task() -> None:
        time.sleep(FOREVER_S)

    assert wire_of(in_main_thread(app))["kind"] == "timeout"


def test_the_main_threads_other_alarm_is_put_back(app: App) -> None:
    @app.task(soft_timeout="1m")
    def task() -> None: ...

    def mine(*_: object) -> None: ...

    before, timer = signal.signal(signal.SIGALRM, mine), signal.setitimer(signal.ITIMER_REAL, 50)
    try:
        in_main_thread(app)
        assert signal.getsignal(signal.SIGALRM) is mine
        assert 40 < signal.getitimer(signal.ITIMER_REAL)[0] <= 50
    finally:
        signal.setitimer(signal.ITIMER_REAL, *timer)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("where", [in_main_thread, in_thread, on_a_loop])
def test_the_job_may_have_a_limit_of_its_own(app: App, where: Any) -> None:
    @app.task
    def task() -> None:
        burn()

    assert wire_of(where(app, headers={"tenure.soft_timeout_ms": 10}))["kind"] == "timeout"


@pytest.mark.parametrize("where", ["main thread", "thread"])
def test_a_limit_never_hits_anything_but_its_own_job(app: App, where: str) -> None:
    @app.task(soft_timeout="1ms")
    def task(seconds: float) -> None:
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            pass

    outcomes = []

    def run() -> None:
        runner = Runner(app)
        # However the limit and the end of a job fall together.
        for n in range(200):
            job = delivery("task", seconds=0.0009 + n * 1e-6)
            outcomes.append(runner.run_blocking(job, NoPort(), JobControl()))

    if where == "main thread":
        run()
    else:
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    assert len(outcomes) == 200
    assert all(isinstance(o, Succeeded) or wire_of(o)["kind"] == "timeout" for o in outcomes)
