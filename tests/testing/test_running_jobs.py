"""`run_until_idle` runs what is ready, as a worker would, and nothing else."""

from __future__ import annotations

import pytest

from tenure import App, Permanent, Retry, TaskFailed
from tenure.testing import TestBroker

app = App("tenure://nowhere.invalid")
ran: list[str] = []


@pytest.fixture(autouse=True)
def _nothing_ran() -> None:
    ran.clear()


@app.task
def plain(name: str) -> None:
    """A `def`."""
    ran.append(name)


@app.task
async def coroutine(name: str) -> None:
    """An `async def`."""
    ran.append(name)


@app.task
def first(name: str) -> None:
    """Enqueues another one."""
    ran.append("first")
    plain.enqueue(name)


@app.task(retry=Retry.fixed(0, max_attempts=3))
def fails_twice(seen: str) -> None:
    """Works the third time."""
    ran.append(seen)
    if len(ran) < 3:
        raise ValueError(f"try {len(ran)}")


@app.task(retry=Retry.fixed("1m", max_attempts=2))
async def always_fails() -> None:
    """Never works."""
    ran.append("tried")
    raise RuntimeError("no luck")


@app.task
def hopeless() -> None:
    """Dead at once."""
    raise Permanent("it will never work")


@app.task
def again() -> None:
    """Enqueues itself."""
    again.enqueue()


def test_nothing_runs_by_itself(tenure: TestBroker) -> None:
    plain.enqueue("a")
    assert ran == []
    assert tenure.jobs()[0].state == "ready"


def test_sync_and_async_tasks_run_and_are_counted(tenure: TestBroker) -> None:
    plain.enqueue("a")
    coroutine.enqueue("b")
    assert tenure.run_until_idle() == 2
    assert ran == ["a", "b"]
    assert tenure.run_until_idle() == 0


def test_one_job_at_a_time(tenure: TestBroker) -> None:
    plain.enqueue("a")
    plain.enqueue("b")
    assert tenure.run_one() is True
    assert ran == ["a"]
    assert tenure.run_one() is True
    assert tenure.run_one() is False


def test_jobs_that_jobs_enqueue_run_too(tenure: TestBroker) -> None:
    first.enqueue("second")
    assert tenure.run_until_idle() == 2
    assert ran == ["first", "second"]
    tenure.assert_enqueued(plain, "second")


def test_retries_that_are_due_now_run(tenure: TestBroker) -> None:
    fails_twice.enqueue("x")
    assert tenure.run_until_idle() == 3
    [job] = tenure.jobs()
    assert job.state == "succeeded"
    assert job.info.failures == 2


def test_retries_that_are_due_later_wait(tenure: TestBroker) -> None:
    always_fails.enqueue()
    assert tenure.run_until_idle() == 1
    [job] = tenure.jobs()
    assert job.state == "retrying"
    assert job.info.error_message == "no luck"
    tenure.advance("2m")
    assert tenure.run_until_idle() == 1
    assert job.state == "dead"
    assert len(job.info.history) == 2


def test_a_permanent_failure_is_dead_at_once(tenure: TestBroker) -> None:
    hopeless.enqueue()
    tenure.run_until_idle()
    [job] = tenure.jobs(state="dead")
    with pytest.raises(TaskFailed, match="it will never work"):
        job.result()


def test_errors_are_raised_when_the_test_wants_them(tenure: TestBroker) -> None:
    always_fails.enqueue()
    with pytest.raises(TaskFailed, match="no luck") as caught:
        tenure.run_until_idle(raise_errors=True)
    assert caught.value.error_type == "RuntimeError"
    assert "test_running_jobs.py" in (caught.value.traceback or "")


def test_a_job_of_an_unknown_task_fails_and_says_what_there_is(tenure: TestBroker) -> None:
    tenure.attach(app)
    tenure.client.enqueue("default", "plane", {"name": "x"}, max_attempts=1)
    tenure.run_until_idle()
    [job] = tenure.jobs("plane")
    assert job.state == "dead"
    assert "plain" in (job.info.error_message or "")


def test_without_an_app_it_says_what_to_do(tenure: TestBroker) -> None:
    tenure.client.enqueue("default", "plain", {"name": "x"})
    with pytest.raises(LookupError, match=r"attach\(app\)"):
        tenure.run_until_idle()
    assert tenure.jobs()[0].state == "ready"
    tenure.attach(app)
    assert tenure.run_until_idle() == 1


def test_a_task_without_end_is_stopped(tenure: TestBroker) -> None:
    again.enqueue()
    with pytest.raises(RuntimeError, match="still ready after 50 runs"):
        tenure.run_until_idle(max_jobs=50)


def test_queues_take_turns(tenure: TestBroker) -> None:
    for name in ("a", "b"):
        for number in range(2):
            plain.using(queue=f"queue-{name}").enqueue(f"{name}{number}")
    tenure.run_until_idle()
    assert ran == ["a0", "b0", "a1", "b1"]


def test_every_app_of_the_process_is_connected(tenure: TestBroker) -> None:
    other = App("tenure://elsewhere.invalid", name="other")

    @other.task
    def shout(name: str) -> None:
        ran.append(name.upper())

    plain.enqueue("a")
    shout.enqueue("b")
    tenure.run_until_idle()
    assert sorted(ran) == ["B", "a"]
