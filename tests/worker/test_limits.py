"""Soft and hard limits, cancels and lost leases, in every executor."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tenure import Client
from tests.support.broker_process import BrokerProcess
from tests.worker import sample_app
from tests.worker.conftest import StartWorker
from tests.worker.processes import eventually, lines_of

# Taken out of the environment: a broker refuses variables that look like settings of its own.
GIL_SECONDS = float(os.environ.pop("TENURE_GIL_SECONDS", "4"))


@pytest.mark.parametrize(
    "task", ["too_long", "too_long_async", "too_long_process", "too_long_isolated"]
)
def test_a_hard_limit_ends_the_job_as_timed_out(
    task: str, client: Client, start: StartWorker, tmp_path: Path
) -> None:
    start()
    path = tmp_path / "never"
    job = getattr(sample_app, task).enqueue(str(path))
    eventually(lambda: client.get(job.id).state == "dead")
    info = client.get(job.id)
    assert [attempt.outcome for attempt in info.history] == ["timeout"]
    assert len(lines_of(f"{path}.begun")) == 1
    assert task in (info.history[-1].traceback or ""), "it says what the job was doing"
    assert sample_app.in_thread.enqueue(1).result()[0] == 1


def test_a_thread_that_does_not_end_at_its_hard_limit_fails_and_its_process_is_replaced(
    client: Client, start: StartWorker, tmp_path: Path
) -> None:
    worker = start("-c", "2")
    gate = tmp_path / "gate"
    neighbour = sample_app.gate.enqueue(str(gate))
    eventually(lambda: lines_of(f"{gate}.begun"))
    host = sample_app.in_thread.enqueue(0).result()[1]
    job = sample_app.stuck.enqueue(str(tmp_path / "never"))
    eventually(lambda: client.get(job.id).state == "dead")
    assert [attempt.outcome for attempt in client.get(job.id).history] == ["timeout"]
    eventually(lambda: "a job is stuck" in worker.log)
    eventually(lambda: sample_app.in_thread.enqueue(1).result()[1] != host)
    gate.touch()
    assert neighbour.result() == "through", "the others finish where they are"
    eventually(lambda: host not in worker.children())


@pytest.mark.parametrize("task", ["soft_async", "soft_thread", "soft_process"])
def test_a_soft_limit_is_an_exception_in_the_task(
    task: str, client: Client, start: StartWorker
) -> None:
    start()
    job = getattr(sample_app, task).enqueue()
    eventually(lambda: client.get(job.id).state == "dead")
    assert "SoftTimeout" in (client.get(job.id).history[-1].error_type or "")


@pytest.mark.parametrize("task", ["agate", "watches"])
def test_a_running_job_that_is_cancelled_hears_of_it(
    task: str, client: Client, start: StartWorker, tmp_path: Path
) -> None:
    start("--heartbeat", "100ms")
    path = tmp_path / "never"
    job = getattr(sample_app, task).enqueue(str(path))
    eventually(lambda: lines_of(f"{path}.begun"))
    assert job.cancel() == "leased"
    eventually(lambda: client.get(job.id).state == "cancelled")
    assert lines_of(f"{path}.cancelled") == ["1"]


def test_a_job_in_a_process_that_is_cancelled_is_killed(
    client: Client, start: StartWorker, tmp_path: Path
) -> None:
    start("--heartbeat", "100ms")
    path = tmp_path / "never"
    job = sample_app.process_gate.enqueue(str(path))
    eventually(lambda: lines_of(f"{path}.begun"))
    job.cancel()
    eventually(lambda: client.get(job.id).state == "cancelled")
    assert sample_app.in_process.enqueue(1).result()[0] == 1


@pytest.mark.timeout(120 + 2 * GIL_SECONDS)
@pytest.mark.parametrize("task", ["holds_the_gil", "process_holds_the_gil"])
def test_a_task_that_holds_the_interpreter_lock_keeps_its_lease(
    task: str, client: Client, start: StartWorker, tmp_path: Path
) -> None:
    start()
    path = tmp_path / "gil"
    job = getattr(sample_app, task).enqueue(str(path), GIL_SECONDS)
    assert job.result(GIL_SECONDS + 60) == "held"
    assert [attempt.outcome for attempt in client.get(job.id).history] == ["succeeded"]
    assert lines_of(f"{path}.begun") == ["1"]


@pytest.mark.parametrize("task", ["agate", "watches", "process_gate"])
def test_a_lost_lease_stops_the_handler_and_its_late_result_is_refused(
    task: str, broker: BrokerProcess, client: Client, start: StartWorker, tmp_path: Path
) -> None:
    worker = start("--heartbeat", "100ms")
    path = tmp_path / "gate"
    job = getattr(sample_app, task).enqueue(str(path))
    eventually(lambda: lines_of(f"{path}.begun"))
    held = client.get(job.id)
    client.tell_worker(worker.name, "quiet")
    # Somebody releases the lease behind the worker's back: it is not the worker's any more.
    client.release((held.id, held.attempt), delay="1h")
    eventually(lambda: "a lease is lost" in worker.log)
    if task != "process_gate":
        eventually(lambda: lines_of(f"{path}.cancelled") == ["1"])
    client.tell_worker(worker.name, "resume")
    assert sample_app.in_process.enqueue(1).result()[0] == 1
    assert client.get(job.id).state == "scheduled", "what the handler did counts for nothing"
