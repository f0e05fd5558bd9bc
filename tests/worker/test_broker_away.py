"""The broker restarts, or is away: running jobs go on, acks arrive, consumption resumes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tenure import Client
from tests.support.broker_process import BrokerProcess
from tests.worker import sample_app
from tests.worker.conftest import StartWorker
from tests.worker.processes import eventually, lines_of


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[BrokerProcess]:
    """One that keeps its data."""
    with BrokerProcess(tmp_path) as process:
        yield process


@pytest.mark.parametrize("kill", [True, False])
def test_running_jobs_go_on_while_the_broker_restarts_and_new_ones_come(
    kill: bool, broker: BrokerProcess, client: Client, start: StartWorker, tmp_path: Path
) -> None:
    start()
    gates = [tmp_path / f"gate{n}" for n in range(2)]
    handles = [task.enqueue(str(gate)) for task, gate in
               zip([sample_app.agate, sample_app.process_gate], gates, strict=True)]  # fmt: skip
    for gate in gates:
        eventually(lambda gate=gate: lines_of(f"{gate}.begun"))  # type: ignore[misc]
    if kill:
        broker.kill()
    else:
        broker.stop()
    gates[0].touch()  # ends while the broker is away
    broker.start()
    gates[1].touch()
    for handle in handles:
        assert handle.result() == "through"
        info = client.get(handle.id)
        assert [attempt.outcome for attempt in info.history] == ["succeeded"]
        assert info.attempt == 1
    assert sample_app.in_thread.enqueue(1).result()[0] == 1


@pytest.mark.slow
def test_acks_are_kept_while_the_broker_is_away_for_longer_than_requests_wait(
    broker: BrokerProcess, client: Client, start: StartWorker, tmp_path: Path
) -> None:
    worker = start()
    path = tmp_path / "noted"
    handles = [sample_app.acount.enqueue(str(path), str(n), 1.0) for n in range(20)]
    eventually(lambda: [handle.status() for handle in handles] == ["leased"] * 20)
    broker.kill()
    eventually(lambda: len(lines_of(path)) == 20)
    # Requests time out after ten seconds; the health file goes when nothing is heard for thirty.
    eventually(lambda: not worker.health_file.exists())
    broker.start()
    for handle in handles:
        eventually(lambda handle=handle: handle.status() == "succeeded")  # type: ignore[misc]
    assert sorted(map(int, lines_of(path))) == list(range(20)), "each of them once"
    assert sample_app.in_thread.enqueue(1).result()[0] == 1
    eventually(lambda: worker.health_file.exists())


def test_deliveries_that_the_broker_had_begun_when_it_died_are_not_lost_for_a_lease(
    broker: BrokerProcess, client: Client, start: StartWorker, tmp_path: Path
) -> None:
    start("-c", "4")
    path = tmp_path / "noted"
    for number in range(5):
        sample_app.app.enqueue_many(
            sample_app.acount.s(str(path), str(number * 100 + n), 0.005) for n in range(100)
        )
        broker.restart(kill=True)
    eventually(lambda: client.queue("work").jobs == 0)
    assert {int(line) for line in lines_of(path)} == set(range(500))
    assert client.queue("work").totals["lost"] == 0


def test_a_worker_may_start_before_its_broker(
    broker: BrokerProcess, client: Client, tmp_path: Path
) -> None:
    from tests.worker.processes import WorkerProcess

    broker.stop()
    with WorkerProcess(broker.url, tmp_path) as worker:
        eventually(lambda: "the worker starts" in worker.log)
        broker.start()
        assert sample_app.in_thread.enqueue(1).result()[0] == 1
