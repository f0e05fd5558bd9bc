"""Results: of jobs that have run, and of those that nobody ran."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import pytest

from tenure import App, ResultNotKept, ResultTimeout, TaskCancelled, TaskFailed
from tenure.testing import TestBroker

app = App("tenure://nowhere.invalid", result_ttl="1h")


@dataclass
class Total:
    """A result with a type."""

    cents: int


@app.task
def add(a: int, b: int) -> Total:
    """Adds."""
    return Total(a + b)


@app.task(max_attempts=1)
def fails() -> None:
    """Fails."""
    raise KeyError("missing")


def test_a_result_is_there_after_the_run_with_its_type(tenure: TestBroker) -> None:
    handle = add.enqueue(1, 2)
    tenure.run_until_idle()
    assert handle.result() == Total(3)


def test_a_job_that_nobody_ran_has_no_result_and_says_what_to_do(tenure: TestBroker) -> None:
    before = tenure.now
    handle = add.enqueue(1, 2)
    with pytest.raises(ResultTimeout, match=r"is ready: .* call run_until_idle\(\)") as caught:
        handle.result(timeout="1m")
    assert caught.value.state == "ready"
    assert tenure.now - before == timedelta(minutes=1)


def test_a_result_that_is_not_kept_is_missing_as_in_production(tenure: TestBroker) -> None:
    handle = add.using(result_ttl=0).enqueue(1, 2)
    tenure.run_until_idle()
    with pytest.raises(ResultNotKept):
        handle.result()


def test_the_test_sees_a_result_that_is_not_kept(tenure: TestBroker) -> None:
    add.using(result_ttl=0).enqueue(1, 2)
    tenure.run_until_idle()
    [job] = tenure.jobs(add)
    assert job.result() == Total(3)
    assert job.args == {"a": 1, "b": 2}


def test_a_failure_shows_the_traceback_of_the_task(tenure: TestBroker) -> None:
    handle = fails.enqueue()
    tenure.run_until_idle()
    for ask in (handle.result, tenure.jobs()[0].result):
        with pytest.raises(TaskFailed, match="KeyError") as caught:
            ask()
        assert 'raise KeyError("missing")' in str(caught.value)


def test_a_cancelled_job_has_no_result(tenure: TestBroker) -> None:
    handle = add.enqueue(1, 2)
    assert handle.cancel() == "cancelled"
    assert tenure.run_until_idle() == 0
    for ask in (handle.result, tenure.jobs()[0].result):
        with pytest.raises(TaskCancelled):
            ask()


def test_a_purged_job_is_gone(tenure: TestBroker) -> None:
    add.enqueue(1, 2)
    tenure.client.purge_queue("default")
    [job] = tenure.jobs()
    assert job.state == "gone"
    with pytest.raises(ResultNotKept, match="purged"):
        job.result()
