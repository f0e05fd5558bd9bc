"""Processes that stand still for longer than leases: SIGSTOP, as a debugger, a full host, a swap."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tenure import Client
from tests.support.broker_process import BrokerProcess
from tests.worker import sample_app
from tests.worker.processes import WorkerProcess, eventually, lines_of, using_url

LEASE_S = 1.0


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[BrokerProcess]:
    with BrokerProcess(tmp_path) as process:
        yield process


@pytest.fixture
def client(broker: BrokerProcess) -> Iterator[Client]:
    with using_url(broker.url), Client(broker.url) as client:
        yield client
        sample_app.app.close()


def stand_still(pid: int, leases: float) -> None:
    """Stops a process for so many leases."""
    os.kill(pid, signal.SIGSTOP)
    # Time itself is what is tested: nothing happens that could be waited for.
    threading.Event().wait(leases * LEASE_S)
    os.kill(pid, signal.SIGCONT)


@pytest.mark.slow
@pytest.mark.parametrize("pauses", [(3.0,), (3.0, 1.5)], ids=["once", "again at once"])
def test_a_broker_that_stood_still_takes_no_job_from_workers_that_lived_on(
    pauses: tuple[float, ...], broker: BrokerProcess, client: Client, tmp_path: Path
) -> None:
    gates = [tmp_path / f"gate{number}" for number in range(6)]
    tasks = [sample_app.agate, sample_app.gate, sample_app.process_gate] * 2
    with (
        WorkerProcess(broker.url, tmp_path, name="one").ready() as one,
        WorkerProcess(broker.url, tmp_path, name="two").ready() as two,
    ):
        handles = [
            task.using(lease="1s").enqueue(str(gate))
            for task, gate in zip(tasks, gates, strict=True)
        ]
        for gate in gates:
            eventually(lambda gate=gate: lines_of(f"{gate}.begun"))  # type: ignore[misc]
        for leases in pauses:
            stand_still(broker.pid, leases)
            assert client.ping() >= 0
        # Whoever would be given a job again has the time to begin it.
        threading.Event().wait(LEASE_S)
        for gate in gates:
            gate.touch()
        assert [handle.result() for handle in handles] == ["through"] * len(gates)
        assert "a lease is lost" not in one.log + two.log
    for handle, gate in zip(handles, gates, strict=True):
        info = client.get(handle.id)
        assert (info.attempt, info.lost) == (1, 0)
        assert lines_of(f"{gate}.begun") == ["1"], "it ran once"
    assert client.queue("work").totals["lost"] == 0


@pytest.mark.slow
def test_a_worker_that_stood_still_loses_its_jobs_and_its_late_ack_changes_nothing(
    broker: BrokerProcess, client: Client, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    with WorkerProcess(broker.url, tmp_path, name="first").ready() as first:
        handle = sample_app.gate.using(lease="1s").enqueue(str(gate))
        eventually(lambda: lines_of(f"{gate}.begun"))
        first.signal(signal.SIGSTOP)
        try:
            gate.touch()  # The child is done, and its parent does not hear of it.
            with WorkerProcess(broker.url, tmp_path, name="second").ready():
                assert handle.result() == "through"
        finally:
            first.signal(signal.SIGCONT)
        eventually(lambda: "LEASE_LOST" in first.log or "a lease is lost" in first.log)
        assert sample_app.in_thread.enqueue(1).result()[0] == 1, "it works on"
    info = client.get(handle.id)
    history = [(each.worker, each.outcome) for each in info.history]
    # The reserve that the first one had waiting may be served once more while it stands still.
    lost = len(history) - 1
    assert 1 <= lost <= 2
    assert history == [("first", "lost")] * lost + [("second", "succeeded")]
    assert (info.state, info.lost, info.attempt) == ("succeeded", lost, lost + 1)
