"""Who enqueued a job can see what becomes of it, and gets the result as the task's own type."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any
from urllib.request import urlopen

import pytest

from tenure import (
    App,
    AsyncJobHandle,
    JobHandle,
    JobNotFound,
    LeasedJob,
    ResultNotKept,
    ResultTimeout,
    TaskCancelled,
    TaskExpired,
    TaskFailed,
)
from tests.client.both import AsyncDriver, InThread
from tests.support.broker_process import BrokerProcess
from tests.tasks.conftest import MakeApp
from tests.tasks.shop import Item

UNKNOWN_ID = "0" * 26
SECONDS_MAX = 30


class AsyncHandle:
    """An `AsyncJobHandle` on a loop in another thread, called as if it would block."""

    def __init__(self, handle: AsyncJobHandle[Any], loop: asyncio.AbstractEventLoop) -> None:
        self._handle = handle
        self._loop = loop

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._handle, name)
        if not asyncio.iscoroutinefunction(member):
            return member

        def call(*args: Any, **options: Any) -> Any:
            running = asyncio.run_coroutine_threadsafe(member(*args, **options), self._loop)
            return running.result(SECONDS_MAX)

        return call


Handle = Callable[[JobHandle[Any]], Any]


@pytest.fixture(params=["JobHandle", "AsyncJobHandle"])
def of(request: pytest.FixtureRequest, app: App) -> Iterator[Handle]:
    """The handle under test, blocking or asynchronous, for the same job."""
    if request.param == "JobHandle":
        yield lambda handle: handle
        return
    with AsyncDriver("tenure://127.0.0.1:1") as driver:
        loop = driver.loop

        def make(handle: JobHandle[Any]) -> AsyncHandle:
            task = app.tasks.get(handle.task or "")
            return AsyncHandle(AsyncJobHandle(app, handle.id, task), loop)

        yield make
        asyncio.run_coroutine_threadsafe(app.aclose(), loop).result(SECONDS_MAX)


@pytest.fixture
def work(app: App) -> Any:
    @app.task(result_ttl="1h")
    def work(item: Item) -> Item:
        raise AssertionError("the tests do the work")

    return work


def take(app: App) -> LeasedJob:
    """The next job of the app's queue, as a worker gets it."""
    (job,) = app.client.reserve(app.defaults.queue, wait="10s")
    return job


PEN = Item("pen", 1.5)
PLAIN = {"name": "pen", "price": 1.5, "tags": []}


def test_the_result_is_what_the_task_says_it_returns(app: App, work: Any, of: Handle) -> None:
    handle = of(work.enqueue(PEN))
    app.client.ack(take(app), PLAIN)

    assert handle.result("10s") == PEN
    assert handle.status() == "succeeded"
    assert handle.info().ended


def test_who_waits_gets_a_result_that_nobody_keeps(
    app: App, work: Any, of: Handle, broker: BrokerProcess
) -> None:
    handle = of(work.using(result_ttl=0).enqueue(PEN))
    waits = InThread(handle.result, SECONDS_MAX)
    job = take(app)
    until_somebody_waits(broker)
    app.client.ack(job, PLAIN)

    assert waits.result() == PEN


def until_somebody_waits(broker: BrokerProcess) -> None:
    assert broker.http is not None
    url = f"http://{broker.http[0]}:{broker.http[1]}/metrics"
    pause = threading.Event()
    for _ in range(3_000):
        with urlopen(url, timeout=SECONDS_MAX) as answer:
            figures = answer.read().decode()
        if re.search(r"^tenure_waiting_requests [1-9]", figures, re.MULTILINE):
            return
        pause.wait(0.01)
    raise AssertionError("nobody waits for the result")


def test_a_result_that_was_not_kept_is_told_so(app: App, work: Any, of: Handle) -> None:
    handle = of(work.using(result_ttl=0).enqueue(PEN))
    app.client.ack(take(app), PLAIN)

    with pytest.raises(ResultNotKept, match="Give the task a result_ttl"):
        handle.result()
    assert handle.status() == "unknown"
    with pytest.raises(JobNotFound):
        handle.info()
    with pytest.raises(JobNotFound):
        handle.cancel()


def test_a_failure_comes_with_the_traceback_of_the_worker(app: App, work: Any, of: Handle) -> None:
    handle = of(work.enqueue(PEN))
    app.client.fail(take(app), ValueError("no ink"), dead=True, traceback="Traceback: line 1\n")

    with pytest.raises(TaskFailed) as caught:
        handle.result("10s")
    error = caught.value
    assert (error.error_type, error.message) == ("ValueError", "no ink")
    assert error.job_id == handle.id
    assert str(error) == (
        f"job {handle.id} failed: ValueError: no ink\n\nIn the worker:\nTraceback: line 1"
    )
    assert handle.status() == "dead"


def test_a_waiting_job_is_cancelled_at_once(work: Any, of: Handle) -> None:
    handle = of(work.enqueue(PEN))

    assert handle.cancel() == "cancelled"
    assert handle.cancel() == "cancelled"
    with pytest.raises(TaskCancelled, match="was cancelled"):
        handle.result()


def test_the_worker_of_a_running_job_is_asked(app: App, work: Any, of: Handle) -> None:
    handle = of(work.enqueue(PEN))
    job = take(app)

    assert handle.cancel() == "leased"
    assert handle.info().cancel_asked
    app.client.ack(job, PLAIN)
    assert handle.cancel() == "succeeded"


def test_a_job_that_expired_is_told_so(app: App, work: Any, of: Handle) -> None:
    handle = of(work.using(expires="1ms").enqueue(PEN))

    with pytest.raises(TaskExpired, match="was not started before it expired"):
        handle.result(SECONDS_MAX)


def test_a_job_that_does_not_end_in_time_is_told_with_its_state(work: Any, of: Handle) -> None:
    handle = of(work.using(delay="1h").enqueue(PEN))

    with pytest.raises(ResultTimeout, match="has not ended after 10ms: it is scheduled") as caught:
        handle.result("10ms")
    assert caught.value.state == "scheduled"
    assert isinstance(caught.value, TimeoutError)
    with pytest.raises(ResultTimeout):
        handle.result(0)


def test_nothing_is_a_result_too(app: App, of: Handle) -> None:
    @app.task(result_ttl="1h")
    def quiet() -> None: ...

    handle = of(quiet.enqueue())
    app.client.ack(take(app))

    assert handle.result() is None


def test_progress_is_shown(app: App, work: Any, of: Handle) -> None:
    handle = of(work.enqueue(PEN))
    assert handle.progress() is None
    app.client.note(take(app), progress=(3, 10, "resized"))

    progress = handle.progress()
    assert (progress.n, progress.total, progress.message) == (3, 10, "resized")


def test_a_handle_is_made_of_an_id_again(app: App, work: Any) -> None:
    job_id = work.enqueue(PEN).id
    app.client.ack(take(app), PLAIN)
    handle = app.job(job_id)

    assert handle.task is None
    assert handle.result() == PEN
    assert repr(handle) == f"<JobHandle {job_id}>"


async def test_a_handle_is_made_of_an_id_again_for_asyncio(app: App, work: Any) -> None:
    job_id = work.enqueue(PEN).id
    app.client.ack(take(app), PLAIN)

    assert await app.ajob(job_id).result() == PEN
    await app.aclose()


def test_a_job_of_an_unknown_task_has_its_plain_result(app: App, make_app: MakeApp) -> None:
    queue = app.defaults.queue
    job_id = app.client.enqueue(queue, "elsewhere", {"a": 1}, retention="1h")
    app.client.ack(take(app), PLAIN)

    assert app.job(job_id).result() == PLAIN


def test_an_id_that_never_was_is_told_so(app: App) -> None:
    handle = app.job(UNKNOWN_ID)

    assert handle.status() == "unknown"
    with pytest.raises(ResultNotKept, match="or never was"):
        handle.result()
