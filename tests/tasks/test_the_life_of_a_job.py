"""What the words of a task mean over the days of a job's life: the real broker, in virtual time."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tenure import App, Permanent, Retry, RetryLater, Snooze, TaskExpired, TaskFailed, current_job
from tenure.testing import TestBroker

app = App(name="life")
calls: list[str] = []
trouble: list[Exception] = []


@pytest.fixture(autouse=True)
def _fresh() -> None:
    calls.clear()
    trouble.clear()


@app.task(retry=Retry.steps(["1m", "1h"], jitter=0), result_ttl="1d")
def bill(number: int) -> str:
    calls.append(f"bill {number}, attempt {current_job().attempt}")
    if trouble:
        raise trouble.pop(0)
    return f"billed {number}"


@app.task(unique="report-{day}")
def report(day: str) -> None:
    calls.append(f"report {day}")


@app.task(expires="10m")
def offer(to: str) -> None:
    calls.append(f"offer {to}")


@app.task(priority="low")
def sweep() -> None:
    calls.append("sweep")


@app.task(priority="critical")
def alarm() -> None:
    calls.append("alarm")


def test_a_job_that_fails_comes_back_by_its_policy_until_it_succeeds(tenure: TestBroker) -> None:
    trouble.extend([OSError("down"), OSError("still down")])
    handle = bill.enqueue(7)

    assert tenure.run_until_idle() == 1
    tenure.advance("59s")
    assert tenure.run_until_idle() == 0
    tenure.advance("1s")
    assert tenure.run_until_idle() == 1
    tenure.advance("1h")
    assert tenure.run_until_idle() == 1

    assert handle.result() == "billed 7"
    info = handle.info()
    assert (info.failures, info.attempt) == (2, 3)
    assert [past.message for past in info.history] == ["down", "still down", ""]


def test_a_job_whose_attempts_are_used_up_is_dead_with_its_last_error(tenure: TestBroker) -> None:
    trouble.extend(OSError(f"number {n}") for n in range(9))
    handle = bill.enqueue(7)
    for _ in range(9):
        tenure.run_until_idle()
        tenure.advance("1h")

    assert len(calls) == 3
    with pytest.raises(TaskFailed, match="number 2"):
        handle.result()
    assert handle.info().reason == "attempts"


def test_a_job_that_can_never_succeed_is_dead_at_once(tenure: TestBroker) -> None:
    trouble.append(Permanent("no such customer"))
    handle = bill.enqueue(7)
    tenure.run_until_idle()

    with pytest.raises(TaskFailed, match="no such customer"):
        handle.result()
    assert handle.info().reason == "asked"


@pytest.mark.parametrize("postponed", [Snooze("7d"), RetryLater("7d", "closed for the holidays")])
def test_to_wait_uses_up_no_attempt_however_often(tenure: TestBroker, postponed: Exception) -> None:
    trouble.extend([postponed] * 20)
    handle = bill.enqueue(7)
    for _ in range(20):
        assert tenure.run_until_idle() == 1
        tenure.advance(timedelta(days=7))
    tenure.run_until_idle()

    assert handle.result() == "billed 7"
    info = handle.info()
    assert (info.released, info.failures, info.attempt) == (20, 0, 21)
    assert info.history[0].message == (str(postponed) or "Snooze")


def test_a_worker_that_dies_is_not_the_fault_of_the_job_but_counts(tenure: TestBroker) -> None:
    handle = bill.enqueue(7)
    tenure.kill_worker_after(jobs=1)
    tenure.run_until_idle()
    assert tenure.run_until_idle() == 0
    tenure.advance("30s")
    tenure.run_until_idle()

    assert calls == ["bill 7, attempt 1", "bill 7, attempt 2"]
    assert (handle.info().lost, handle.info().failures) == (1, 0)


def test_a_job_whose_process_dies_three_times_is_poison(tenure: TestBroker) -> None:
    handle = bill.enqueue(7)
    for _ in range(3):
        tenure.crash_next(bill)
        tenure.run_until_idle()
        tenure.advance("1h")
    tenure.run_until_idle()

    assert calls == []
    assert (handle.status(), handle.info().reason) == ("dead", "poison")


def test_a_unique_name_holds_until_the_job_has_ended(tenure: TestBroker) -> None:
    first, second = report.enqueue("monday"), report.enqueue("monday")
    other = report.enqueue("tuesday")
    assert (second.id, second.existing, first.existing) == (first.id, True, False)
    assert other.id != first.id
    tenure.run_until_idle()

    assert report.enqueue("monday").id != first.id
    tenure.run_until_idle()
    assert sorted(calls) == ["report monday", "report monday", "report tuesday"]


def test_what_has_not_begun_in_time_never_runs(tenure: TestBroker) -> None:
    soon, late = offer.enqueue("ada"), offer.using(expires="1h").enqueue("grace")
    tenure.advance("11m")
    tenure.run_until_idle()

    assert calls == ["offer grace"]
    with pytest.raises(TaskExpired):
        soon.result()
    assert tenure.jobs(offer)[1].state == "succeeded"
    assert late.id == tenure.jobs(offer)[1].id


def test_what_is_urgent_runs_first_and_what_is_later_waits(tenure: TestBroker) -> None:
    sweep.using(delay="1d").enqueue()
    sweep.enqueue()
    offer.enqueue("ada")
    alarm.enqueue()
    tenure.run_until_idle()
    assert calls == ["alarm", "offer ada", "sweep"]

    tenure.advance("1d")
    tenure.run_until_idle()
    assert calls == ["alarm", "offer ada", "sweep", "sweep"]


def test_a_broker_that_restarts_forgets_nothing(tenure: TestBroker) -> None:
    handle = bill.using(delay="1h").enqueue(7)
    bill.enqueue(8)
    tenure.restart()
    assert tenure.run_until_idle() == 1
    tenure.restart()
    tenure.advance("1h")
    tenure.run_until_idle()

    assert handle.result() == "billed 7"


def test_an_ack_whose_answer_is_lost_counts_once(tenure: TestBroker) -> None:
    handle = bill.enqueue(7)
    tenure.lose_next_ack()
    tenure.run_until_idle()
    tenure.advance("1d")
    tenure.run_until_idle()

    assert calls == ["bill 7, attempt 1"]
    assert tenure.jobs(bill)[0].result() == "billed 7"
    assert handle.id == tenure.jobs(bill)[0].id
