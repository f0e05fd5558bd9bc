"""What goes wrong in production goes wrong in a test when it is asked to."""

from __future__ import annotations

import pytest

from tenure import App, Retry, StoreFull, TaskFailed, current_job
from tenure.testing import TestBroker

app = App("tenure://nowhere.invalid", result_ttl="1h", lease="30s")
ran: list[str] = []


@pytest.fixture(autouse=True)
def _nothing_ran() -> None:
    ran.clear()


@app.task
def work(name: str) -> str:
    """Leaves a trace."""
    ran.append(name)
    return name


@app.task(retry=Retry.fixed(0))
def fragile() -> None:
    """Its process dies, if it is told to."""
    ran.append("fragile")


@app.task
def charge_and_mail() -> None:
    """Two steps that must be done once each."""
    job = current_job()
    with job.checkpoint("charged") as done:
        if not done:
            ran.append("charged")
    with job.checkpoint("mailed") as done:
        if not done:
            ran.append("mailed")


@app.task
async def acharge_and_mail() -> None:
    """The same as a coroutine."""
    job = current_job()
    async with job.checkpoint("charged") as done:
        if not done:
            ran.append("charged")
    async with job.checkpoint("mailed") as done:
        if not done:
            ran.append("mailed")


def test_a_killed_workers_job_comes_back_when_its_lease_has_run_out(tenure: TestBroker) -> None:
    handle = work.enqueue("a")
    work.enqueue("b")
    work.enqueue("c")
    tenure.kill_worker_after(jobs=2)
    assert tenure.run_until_idle() == 3
    assert ran == ["a", "b", "c"]
    assert handle.status() == "succeeded"
    [b] = tenure.jobs(state="leased")
    assert b.args == {"name": "b"}
    tenure.advance("1m")
    assert tenure.run_until_idle() == 1
    assert ran == ["a", "b", "c", "b"]
    assert b.state == "succeeded"
    assert b.info.attempt == 2
    assert b.info.lost == 1


@pytest.mark.parametrize("task", [charge_and_mail, acharge_and_mail])
def test_a_worker_killed_between_two_checkpoints_has_done_the_first(
    tenure: TestBroker, task: object
) -> None:
    chosen = charge_and_mail if task is charge_and_mail else acharge_and_mail
    chosen.enqueue()
    tenure.kill_worker_after(jobs=1, checkpoints=1)
    tenure.run_until_idle()
    assert ran == ["charged"]
    tenure.advance("1m")
    tenure.run_until_idle()
    assert ran == ["charged", "mailed"]
    assert tenure.jobs()[0].state == "succeeded"


def test_a_crash_is_told_and_tried_again(tenure: TestBroker) -> None:
    fragile.enqueue()
    tenure.crash_next(fragile)
    assert tenure.run_until_idle() == 2
    assert ran == ["fragile"]
    [job] = tenure.jobs()
    assert job.state == "succeeded"


def test_the_third_crash_is_poison(tenure: TestBroker) -> None:
    handle = fragile.enqueue()
    for _ in range(3):
        tenure.crash_next(fragile)
    assert tenure.run_until_idle() == 3
    assert ran == []
    [job] = tenure.jobs()
    assert job.state == "dead"
    assert job.info.reason == "poison"
    assert [past.outcome for past in job.info.history] == ["crashed"] * 3
    with pytest.raises(TaskFailed, match="WorkerCrashed: killed by signal 9"):
        handle.result()


def test_an_ack_whose_confirmation_is_lost_counts_once(tenure: TestBroker) -> None:
    handle = work.enqueue("a")
    tenure.lose_next_ack()
    assert tenure.run_until_idle() == 1
    tenure.advance("10m")
    assert tenure.run_until_idle() == 0
    assert ran == ["a"]
    assert handle.result() == "a"


def test_a_restart_of_the_broker_loses_nothing(tenure: TestBroker) -> None:
    waiting = work.enqueue("waiting")
    held = work.using(queue="held").enqueue("held")
    tenure.client.reserve("held")
    tenure.advance("20s")
    tenure.restart()
    assert tenure.run_until_idle() == 1
    assert waiting.result() == "waiting"
    # Its lease began anew with the broker.
    tenure.advance("20s")
    assert held.status() == "leased"
    tenure.advance("20s")
    assert tenure.run_until_idle() == 1
    assert held.result() == "held"


def test_a_job_outlives_a_restart_of_the_broker_in_its_midst(tenure: TestBroker) -> None:
    @app.task(name="restarts")
    def restarts() -> int:
        tenure.restart()
        return 7

    handle = restarts.enqueue()
    assert tenure.run_until_idle() == 1
    assert handle.result() == 7


def test_a_full_store_refuses_enqueues_and_nothing_else(tenure: TestBroker) -> None:
    handle = work.enqueue("a")
    tenure.fill_store()
    with pytest.raises(StoreFull):
        work.enqueue("b")
    assert tenure.run_until_idle() == 1
    assert handle.result() == "a"
    tenure.restart()
    with pytest.raises(StoreFull):
        work.enqueue("b")
    tenure.unfill_store()
    work.enqueue("b")
    assert tenure.run_until_idle() == 1


def test_numbers_that_make_no_sense_are_refused(tenure: TestBroker) -> None:
    with pytest.raises(ValueError, match="1 or more"):
        tenure.kill_worker_after(jobs=0)
