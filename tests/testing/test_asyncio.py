"""The same for asyncio: jobs run on the test's own loop."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta

import pytest

from tenure import App, ResultTimeout
from tenure.testing import TestBroker

app = App("tenure://nowhere.invalid", result_ttl="1h")
threads: list[str] = []


@app.task
async def double(number: int) -> int:
    """On the loop."""
    await asyncio.sleep(0)
    return 2 * number


@app.task
def where() -> None:
    """In a thread."""
    threads.append(threading.current_thread().name)


@app.task
async def nested(number: int) -> int:
    """Enqueues another one."""
    handle = await double.aenqueue(number)
    with pytest.raises(ResultTimeout):
        await handle.result("10s")
    return number


async def test_jobs_are_enqueued_and_run(tenure: TestBroker) -> None:
    handle = await double.aenqueue(21)
    tenure.assert_enqueued(double, 21)
    assert await tenure.arun_until_idle() == 1
    assert await handle.result() == 42


async def test_many_enqueue_at_once(tenure: TestBroker) -> None:
    handles = await asyncio.gather(*(double.aenqueue(n) for n in range(300)))
    assert await tenure.arun_until_idle() == 300
    assert [await handle.result() for handle in handles] == [2 * n for n in range(300)]


async def test_a_def_task_runs_in_a_thread_as_in_a_worker(tenure: TestBroker) -> None:
    threads.clear()
    await where.aenqueue()
    assert await tenure.arun_one() is True
    assert await tenure.arun_one() is False
    assert threads != [threading.current_thread().name]


async def test_a_result_is_awaited_while_another_task_runs_the_jobs(tenure: TestBroker) -> None:
    before = tenure.now
    handle = await double.aenqueue(1)
    result, runs = await asyncio.gather(handle.result(), tenure.arun_until_idle())
    assert (result, runs) == (2, 1)
    assert tenure.now == before


async def test_a_job_that_nobody_runs_times_out_at_once(tenure: TestBroker) -> None:
    before = tenure.now
    handle = await double.aenqueue(1)
    with pytest.raises(ResultTimeout, match="run_until_idle"):
        await handle.result("1m")
    # What the call itself takes of real time is taken off its minute.
    assert timedelta(seconds=50) < tenure.now - before <= timedelta(minutes=1)


async def test_a_job_that_waits_for_another_one_is_not_stuck(tenure: TestBroker) -> None:
    handle = await nested.aenqueue(5)
    assert await tenure.arun_until_idle() == 2
    assert await handle.result() == 5


async def test_the_blocking_methods_say_which_to_await(tenure: TestBroker) -> None:
    await double.aenqueue(1)
    with pytest.raises(RuntimeError, match="await arun_until_idle"):
        tenure.run_until_idle()
    assert tenure.jobs()[0].state == "ready"


async def test_a_running_job_is_cancelled(tenure: TestBroker) -> None:
    begun = asyncio.Event()
    cancelled: list[bool] = []

    @app.task(name="endless")
    async def endless() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    handle = await endless.aenqueue()
    run = asyncio.create_task(tenure.arun_until_idle())
    await begun.wait()
    assert await handle.cancel() == "leased"
    assert await run == 1
    assert cancelled == [True]
    assert await handle.status() == "cancelled"


async def test_a_run_that_is_cancelled_gives_its_job_back(tenure: TestBroker) -> None:
    begun = asyncio.Event()

    @app.task(name="stuck")
    async def stuck() -> None:
        begun.set()
        await asyncio.Event().wait()

    handle = await stuck.aenqueue()
    run = asyncio.create_task(tenure.arun_until_idle())
    await begun.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert await handle.status() == "ready"
