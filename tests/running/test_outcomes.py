"""Whatever a task does, its job has an outcome: result, failure or release, in every executor."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest

from tenure import App
from tenure.codecs import decode_result
from tenure.retry import Retry
from tenure.running.outcome import Failed, Outcome, Released, Succeeded
from tenure.tasks.control import Permanent, RetryLater, Snooze, SoftTimeout
from tests.running.conftest import Run
from tests.running.jobs import delivery


@pytest.fixture(params=["def", "async def"])
def raising(request: pytest.FixtureRequest, app: App) -> Any:
    """Makes a task `fail` that raises the error it is given."""

    def make(error: BaseException, **options: Any) -> None:
        if request.param == "def":

            @app.task(name="fail", **options)
            def fail() -> None:
                raise error
        else:

            @app.task(name="fail", **options)
            async def afail() -> None:
                await asyncio.sleep(0)
                raise error

    return make


def wire_of(outcome: Outcome) -> dict[str, Any]:
    assert isinstance(outcome, Failed)
    return outcome.wire


def result_of(outcome: Outcome) -> Any:
    assert isinstance(outcome, Succeeded)
    return decode_result(outcome.result, "job")


def test_what_a_task_returns_is_its_result(app: App, run: Run) -> None:
    @app.task
    def add(x: int, y: int = 0) -> int:
        return x + y

    @app.task
    async def aadd(x: int, y: int = 0) -> int:
        await asyncio.sleep(0)
        return x + y

    assert result_of(run(delivery("add", x=1, y=2))) == 3
    assert result_of(run(delivery("aadd", x=1))) == 1


def test_none_is_no_result(app: App, run: Run) -> None:
    @app.task
    def nothing() -> None: ...

    assert run(delivery("nothing")) == Succeeded(None)


def test_an_error_fails_the_job_with_the_users_own_frames(run: Run, raising: Any) -> None:
    raising(ValueError("no such address"))
    wire = wire_of(run(delivery("fail")))
    assert wire["error_type"] == "ValueError"
    assert wire["message"] == "no such address"
    assert (wire["dead"], wire["kind"]) == (False, "failed")
    assert "raise error" in wire["traceback"]
    assert "tenure/running" not in wire["traceback"]


def test_permanent_is_dead_at_once(run: Run, raising: Any) -> None:
    raising(Permanent("bad address"))
    wire = wire_of(run(delivery("fail")))
    assert wire["dead"]
    assert wire["message"] == "bad address"


@pytest.mark.parametrize("kind", [RetryLater, Snooze])
def test_retry_later_and_snooze_give_the_job_back(run: Run, raising: Any, kind: Any) -> None:
    raising(kind("5m", "rate limit"))
    assert run(delivery("fail")) == Released(300_000, "rate limit")


def test_a_release_always_has_a_reason(run: Run, raising: Any) -> None:
    raising(Snooze("1s"))
    assert run(delivery("fail")) == Released(1_000, "Snooze")


@pytest.mark.parametrize("error", [SystemExit(3), GeneratorExit(), MemoryError()])
def test_no_exception_gets_out(run: Run, raising: Any, error: BaseException) -> None:
    raising(error)
    assert wire_of(run(delivery("fail")))["error_type"] == type(error).__name__


def test_a_def_task_may_even_raise_stop_iteration(app: App, run: Run) -> None:
    @app.task
    def fail() -> None:
        raise StopIteration

    assert wire_of(run(delivery("fail")))["error_type"] == "StopIteration"


def test_a_cancellation_that_nobody_asked_for_is_a_failure(app: App, run: Run) -> None:
    @app.task
    async def waits_for_something_cancelled() -> None:
        future = asyncio.get_running_loop().create_future()
        future.cancel()
        await future

    wire = wire_of(run(delivery("waits_for_something_cancelled")))
    assert wire["error_type"] == "asyncio.exceptions.CancelledError"
    assert not wire["dead"]


def test_only_errors_that_the_policy_allows_are_tried_again(run: Run, raising: Any) -> None:
    raising(KeyError("x"), retry=Retry(on=(OSError,)))
    assert wire_of(run(delivery("fail")))["dead"]


def test_what_is_in_on_is_tried_again(run: Run, raising: Any) -> None:
    raising(ConnectionError("x"), retry=Retry(on=(OSError,)))
    assert not wire_of(run(delivery("fail")))["dead"]


def test_what_is_in_never_on_is_not(run: Run, raising: Any) -> None:
    raising(FileNotFoundError("x"), retry=Retry(on=(OSError,), never_on=(FileNotFoundError,)))
    assert wire_of(run(delivery("fail")))["dead"]


def test_a_soft_timeout_that_is_let_through_counts_as_timeout(run: Run, raising: Any) -> None:
    raising(SoftTimeout("late"))
    assert wire_of(run(delivery("fail")))["kind"] == "timeout"


def test_an_exception_that_cannot_be_shown_fails_its_job_all_the_same(app: App, run: Run) -> None:
    class Unspeakable(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

    @app.task
    def fail() -> None:
        raise Unspeakable

    assert "cannot be shown" in wire_of(run(delivery("fail")))["message"]


def test_endless_recursion_is_a_failure_with_a_bounded_traceback(app: App, run: Run) -> None:
    @app.task
    def deep(n: int) -> int:
        return deep(n + 1) + 1

    wire = wire_of(run(delivery("deep", n=0)))
    assert wire["error_type"] == "RecursionError"
    assert len(wire["traceback"]) <= 16_384
    assert sys.getrecursionlimit() > 0
