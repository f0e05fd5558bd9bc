"""A worker that stops loses no job and uses up no attempt."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest

from tenure import Client
from tests.support.broker_process import BrokerProcess
from tests.worker import sample_app
from tests.worker.conftest import StartWorker
from tests.worker.processes import WorkerProcess, eventually, is_gone, lines_of

ROUNDS = int(os.environ.pop("TENURE_ROLLING_ROUNDS", "3"))


def test_term_lets_running_jobs_finish(client: Client, start: StartWorker, tmp_path: Path) -> None:
    worker = start("-c", "4")
    gates = [tmp_path / f"gate{n}" for n in range(3)]
    tasks = [sample_app.gate, sample_app.agate, sample_app.process_gate]
    handles = [task.enqueue(str(gate)) for task, gate in zip(tasks, gates, strict=True)]
    for gate in gates:
        eventually(lambda gate=gate: lines_of(f"{gate}.begun"))  # type: ignore[misc]
    worker.signal(signal.SIGTERM)
    eventually(lambda: "stopping" in worker.log)
    late = sample_app.in_thread.enqueue(9)
    for gate in gates:
        gate.touch()
    assert worker.wait() == 0
    assert "connected" not in worker.log.partition("stopping")[2], "it looks like a new beginning"
    assert [client.get(handle.id).state for handle in handles] == ["succeeded"] * 3
    info = client.get(late.id)
    assert (info.state, info.failures, info.lost, info.timeouts) == ("ready", 0, 0, 0)


def test_jobs_that_outlast_the_grace_period_go_back_without_using_an_attempt(
    client: Client, start: StartWorker, tmp_path: Path
) -> None:
    worker = start("-c", "4", "--grace", "200ms")
    tasks = [sample_app.gate, sample_app.agate, sample_app.process_gate]
    gates = [tmp_path / f"gate{n}" for n in range(3)]
    handles = [task.enqueue(str(gate)) for task, gate in zip(tasks, gates, strict=True)]
    for gate in gates:
        eventually(lambda gate=gate: lines_of(f"{gate}.begun"))  # type: ignore[misc]
    children = worker.children()
    assert worker.stop() == 0
    assert all(map(is_gone, children))
    for handle in handles:
        info = client.get(handle.id)
        assert (info.state, info.failures, info.lost, info.timeouts) == ("ready", 0, 0, 0)
        assert info.released == 1
        assert info.history[-1].message == "worker shutdown"


def test_a_second_signal_ends_it_now(client: Client, start: StartWorker, tmp_path: Path) -> None:
    worker = start("-c", "4", "--grace", "1h")
    gate = tmp_path / "gate"
    handle = sample_app.gate.enqueue(str(gate))
    eventually(lambda: lines_of(f"{gate}.begun"))
    worker.signal(signal.SIGTERM)
    eventually(lambda: "stopping" in worker.log)
    worker.signal(signal.SIGTERM)
    assert worker.wait(20) == 0
    info = client.get(handle.id)
    assert (info.state, info.failures, info.lost, info.released) == ("ready", 0, 0, 1)


def test_jobs_that_wait_in_the_worker_go_back_at_once(
    client: Client, start: StartWorker, tmp_path: Path
) -> None:
    worker = start("--pool", "process", "-c", "1", "--prefetch", "5")
    gate = tmp_path / "gate"
    first = sample_app.gate.enqueue(str(gate))
    eventually(lambda: lines_of(f"{gate}.begun"))
    others = [sample_app.in_thread.enqueue(n) for n in range(5)]
    eventually(lambda: [other.status() for other in others] == ["leased"] * 5)
    worker.signal(signal.SIGTERM)
    eventually(lambda: [other.status() for other in others] == ["ready"] * 5)
    assert first.status() == "leased"
    gate.touch()
    assert worker.wait() == 0
    assert first.status() == "succeeded"
    assert [client.get(other.id).lost for other in others] == [0] * 5


@pytest.mark.slow
@pytest.mark.timeout(120 + 40 * ROUNDS)
def test_rolling_restarts_under_load_lose_nothing_and_use_up_no_attempt(
    broker: BrokerProcess, client: Client, tmp_path: Path
) -> None:
    words = [("-c", "8"), ("--pool", "process", "-c", "2", "--prefetch", "4")]
    path = tmp_path / "noted"
    enqueued = 0

    def enqueue_some() -> None:
        nonlocal enqueued
        tasks = [sample_app.count, sample_app.acount]
        sample_app.app.enqueue_many(
            tasks[n % 2].s(str(path), str(enqueued + n), 0.01) for n in range(100)
        )
        enqueued += 100

    enqueue_some()
    worker = WorkerProcess(broker.url, tmp_path, *words[0], name="w0").ready()
    for number in range(1, ROUNDS + 1):
        enqueue_some()
        following = WorkerProcess(broker.url, tmp_path, *words[number % 2], name=f"w{number}")
        with worker:
            following.ready()
            assert worker.stop() == 0
        worker = following
    with worker:
        eventually(lambda: client.queue("work").jobs == 0)
        assert worker.stop() == 0
    assert sorted(map(int, lines_of(path))) == list(range(enqueued)), "each of them once"
    totals = client.queue("work").totals
    assert totals["succeeded"] == enqueued
    assert (totals["failed"], totals["lost"], totals["timeouts"]) == (0, 0, 0)


def test_it_can_be_told_to_be_quiet_to_go_on_and_to_stop(
    client: Client, start: StartWorker
) -> None:
    worker = start()
    assert client.tell_worker(worker.name, "quiet") == 1
    eventually(lambda: client.worker(worker.name).state == "quiet")
    job = sample_app.in_thread.enqueue(1)
    eventually(lambda: job.status() == "ready")
    client.tell_worker(worker.name, "resume")
    assert job.result()[0] == 1
    client.tell_worker(worker.name, "stop")
    assert worker.wait() == 0


def test_the_broker_lists_it_with_what_it_does(
    client: Client, start: StartWorker, tmp_path: Path
) -> None:
    worker = start("-c", "3")
    gate = tmp_path / "gate"
    job = sample_app.gate.enqueue(str(gate))
    eventually(lambda: lines_of(f"{gate}.begun"))
    client.tell_worker(worker.name, "quiet")  # it tells of itself at every change
    eventually(lambda: client.worker(worker.name).busy == 1)
    info = client.worker(worker.name)
    assert (info.name, info.pid, info.queues) == (worker.name, worker.pid, ("work",))
    assert (info.concurrency, info.slots, info.busy) == (3, 3, 1)
    assert info.rss_bytes > 1_000_000
    assert [running.id for running in info.jobs] == [job.id]
    gate.touch()
    job.result()


def test_it_tells_the_stacks_of_its_children_even_when_one_holds_the_interpreter_lock(
    client: Client, start: StartWorker, tmp_path: Path
) -> None:
    worker = start()
    gate = tmp_path / "gate"
    handle = sample_app.gate.enqueue(str(gate))
    eventually(lambda: lines_of(f"{gate}.begun"))
    text = client.worker_stacks(worker.name, "20s")
    assert "wait_for" in text
    assert handle.id in text
    gate.touch()
    handle.result()
    job = sample_app.holds_the_gil.enqueue(str(tmp_path / "gil"), 4.0)
    eventually(lambda: lines_of(f"{tmp_path / 'gil'}.begun"))
    assert "holds_the_gil" in client.worker_stacks(worker.name, "20s")
    assert job.result() == "held"


def test_usr2_writes_slots_and_stacks(client: Client, start: StartWorker, tmp_path: Path) -> None:
    worker = start()
    gate = tmp_path / "gate"
    handle = sample_app.gate.enqueue(str(gate))
    eventually(lambda: lines_of(f"{gate}.begun"))
    worker.signal(signal.SIGUSR2)
    eventually(lambda: re.search(r"pool main \(async\): 1 held, 31 free", worker.log))
    eventually(lambda: "wait_for" in worker.log)
    assert handle.id in worker.log
    gate.touch()
    handle.result()
