"""Stopping a job that runs: what it sees, and what becomes of it."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

from tenure import App, current_job
from tenure.running.control import JobControl
from tenure.running.outcome import Failed, Outcome, Released, Succeeded
from tenure.running.port import NoPort
from tenure.running.runner import Runner
from tests.running.conftest import Run
from tests.running.jobs import delivery
from tests.running.test_outcomes import wire_of

REASONS = ["cancelled", "shutdown", "timeout", "lease_lost"]


def check(why: str, outcome: Outcome) -> None:
    if why == "shutdown":
        assert outcome == Released(None, "worker shutdown")
        return
    wire = wire_of(outcome)
    assert not wire["dead"]
    if why == "timeout":
        assert (wire["error_type"], wire["kind"]) == ("HardTimeout", "timeout")
    elif why == "cancelled":
        assert (wire["error_type"], wire["kind"]) == ("Cancelled", "failed")


@pytest.mark.parametrize("why", REASONS)
async def test_an_async_task_is_cancelled_where_it_awaits(app: App, why: Any) -> None:
    running = asyncio.Event()
    seen = []

    @app.task
    async def task() -> None:
        running.set()
        try:
            await asyncio.Event().wait()
        finally:
            seen.append(current_job().cancelled)

    control = JobControl()
    job = asyncio.create_task(Runner(app).run(delivery("task"), NoPort(), control))
    await running.wait()
    # From another thread, as it comes.
    await asyncio.to_thread(control.cancel, why)
    check(why, await job)
    assert seen == [True]
    assert job.cancelling() == 0


@pytest.mark.parametrize("why", REASONS)
def test_a_job_that_was_stopped_before_it_began_does_not_run(app: App, run: Run, why: Any) -> None:
    @app.task
    def task() -> None:
        raise AssertionError("never called")

    control = JobControl()
    control.cancel(why)
    check(why, run(delivery("task"), control=control))


@pytest.mark.parametrize("why", REASONS)
def test_a_def_task_sees_it_and_stops_itself(app: App, run: Run, why: Any) -> None:
    control = JobControl()

    @app.task
    def task() -> None:
        job = current_job()
        assert not job.cancelled
        job.raise_if_cancelled()
        control.cancel(why)
        assert job.cancelled
        job.raise_if_cancelled()

    check(why, run(delivery("task"), control=control))


@pytest.mark.parametrize("why", ["timeout", "lease_lost"])
def test_a_def_task_that_does_not_look_is_stopped_when_it_would_do_harm(
    app: App, run: Run, why: Any
) -> None:
    control = JobControl()

    @app.task
    def task() -> None:
        threading.Thread(target=control.cancel, args=(why,)).start()
        end = time.monotonic() + 60
        while time.monotonic() < end:
            pass

    check(why, run(delivery("task"), control=control))


def test_a_def_task_that_goes_on_to_its_end_has_succeeded(app: App, run: Run) -> None:
    control = JobControl()

    @app.task
    def task() -> None:
        control.cancel("cancelled")

    assert run(delivery("task"), control=control) == Succeeded(None)


def test_it_reaches_an_async_task_inside_layers_of_another_kind(app: App, run: Run) -> None:
    control = JobControl()

    @app.middleware
    def layer(job: Any, call_next: Any) -> Any:
        return call_next(job)

    @app.middleware
    async def alayer(job: Any, call_next: Any) -> Any:
        return await call_next(job)

    @app.task
    async def task() -> None:
        control.cancel("cancelled")
        await asyncio.Event().wait()

    check("cancelled", run(delivery("task"), control=control))


def test_after_a_shutdown_no_error_uses_up_an_attempt(app: App, run: Run) -> None:
    control = JobControl()

    @app.task
    async def task() -> None:
        control.cancel("shutdown")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise ConnectionError("torn down in the middle") from None

    assert run(delivery("task"), control=control) == Released(None, "worker shutdown")


def test_what_a_cancelled_job_raises_while_it_stops_is_told(app: App, run: Run) -> None:
    control = JobControl()

    @app.task
    async def task() -> None:
        control.cancel("cancelled")
        try:
            await asyncio.Event().wait()
        finally:
            raise ConnectionError("cannot roll back")

    assert wire_of(run(delivery("task"), control=control))["message"] == "cannot roll back"


async def test_a_cancellation_of_the_caller_is_the_callers(app: App) -> None:
    running = asyncio.Event()

    @app.task
    async def task() -> None:
        running.set()
        await asyncio.Event().wait()

    job = asyncio.create_task(Runner(app).run(delivery("task"), NoPort(), JobControl()))
    await running.wait()
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job


async def test_a_cancel_that_comes_too_late_hits_nobody(app: App) -> None:
    @app.task
    async def task() -> None: ...

    control = JobControl()
    outcome = await Runner(app).run(delivery("task"), NoPort(), control)
    control.cancel("cancelled")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not isinstance(outcome, Failed)
