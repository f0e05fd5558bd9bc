"""A child that dies fails its own job only, and the guilty one is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from tenure import Client
from tenure.info import JobInfo
from tests.worker import sample_app
from tests.worker.conftest import StartWorker
from tests.worker.processes import eventually, lines_of


def crashed(client: Client, job_id: str, times: int = 1) -> JobInfo:
    def so_often() -> bool:
        outcomes = [attempt.outcome for attempt in client.get(job_id).history]
        return outcomes.count("crashed") >= times

    eventually(so_often)
    return client.get(job_id)


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("exit", "exit status 3"),
        ("kill", "killed by signal 9 (SIGKILL)"),
        ("segfault", "killed by signal 11 (SIGSEGV)"),
    ],
)
def test_a_process_that_dies_fails_its_job_with_the_signal_and_its_last_lines(
    how: str, told: str, client: Client, start: StartWorker
) -> None:
    start("--pool", "process", "-c", "1")
    job = sample_app.dies.using(max_attempts=1).enqueue(how)
    info = crashed(client, job.id)
    assert info.state == "dead"
    assert (info.history[-1].error_type, info.history[-1].message) == ("WorkerCrashed", told)
    assert "these are my last lines" in (info.history[-1].traceback or "")
    assert sample_app.in_thread.enqueue(1).result()[0] == 1, "another child has taken its place"


def test_jobs_that_shared_a_host_run_again_alone_and_only_the_guilty_one_fails(
    client: Client, start: StartWorker, tmp_path: Path
) -> None:
    worker = start("-c", "4")
    gates = [tmp_path / f"gate{n}" for n in range(2)]
    innocent = [sample_app.gate.enqueue(str(gate)) for gate in gates]
    fuse = tmp_path / "fuse"
    guilty = sample_app.dies_in_thread.using(max_attempts=1).enqueue("kill", str(fuse))
    for path in (*gates, fuse):
        eventually(lambda path=path: lines_of(f"{path}.begun"))  # type: ignore[misc]
    fuse.touch()
    eventually(lambda: "a child died" in worker.log)
    for gate in gates:
        gate.touch()
    assert [handle.result() for handle in innocent] == ["through", "through"]
    for handle in innocent:
        info = client.get(handle.id)
        assert info.attempt == 1, "the same lease, no attempt used up"
        assert [attempt.outcome for attempt in info.history] == ["succeeded"]
    info = crashed(client, guilty.id)
    assert info.state == "dead"
    assert [attempt.outcome for attempt in info.history] == ["crashed"]
    assert len(lines_of(f"{fuse}.begun")) == 2, "once with the others, once alone"


def test_a_job_that_kills_its_process_three_times_is_poison(
    client: Client, start: StartWorker
) -> None:
    from tenure import Retry

    client.create_queue("work", retry=Retry.fixed("10ms"))
    start()
    job = sample_app.dies_in_thread.enqueue("kill")
    info = crashed(client, job.id, 3)
    assert (info.state, info.reason, info.lost) == ("dead", "poison", 3)


def test_a_child_of_a_process_pool_that_dies_takes_no_waiting_job_with_it(
    client: Client, start: StartWorker, tmp_path: Path
) -> None:
    start("--pool", "process", "-c", "1", "--prefetch", "16")
    path = tmp_path / "noted"
    calls = [sample_app.count.s(str(path), str(n)) for n in range(30)]
    handles = sample_app.app.enqueue_many(calls[:15])
    job = sample_app.dies.using(max_attempts=1).enqueue("kill")
    handles += sample_app.app.enqueue_many(calls[15:])
    for handle in handles:
        handle.result()
        assert client.get(handle.id).attempt == 1
    assert sorted(map(int, lines_of(path))) == list(range(30)), "each of them once"
    assert client.get(job.id).state == "dead"


def test_children_are_replaced_after_so_many_jobs(client: Client, start: StartWorker) -> None:
    worker = start("--pool", "process", "-c", "1", "--max-jobs-per-child", "5")
    seen: list[int] = []
    eventually(
        lambda: seen.append(sample_app.in_thread.enqueue(1).result()[1]) or len(set(seen)) >= 3  # type: ignore[func-returns-value,arg-type]
    )
    assert "it has run" in worker.log
    assert "a child died" not in worker.log


def test_children_are_replaced_above_a_memory_limit(client: Client, start: StartWorker) -> None:
    worker = start("--max-rss", "150MB", "-c", "2")
    big = sample_app.eats.enqueue(200).result()
    eventually(lambda: sample_app.in_thread.enqueue(1).result()[1] != big)
    assert "more than" in worker.log


def test_children_are_replaced_by_age_and_no_job_waits_for_it(
    client: Client, start: StartWorker, tmp_path: Path
) -> None:
    worker = start("--max-age", "1s")
    gate = tmp_path / "gate"
    running = sample_app.gate.enqueue(str(gate))
    eventually(lambda: lines_of(f"{gate}.begun"))
    pids: set[int] = set()

    def another() -> bool:
        pids.add(sample_app.in_thread.enqueue(1).result("5s")[1])  # type: ignore[arg-type]
        return len(pids) >= 2

    eventually(another)
    gate.touch()
    assert running.result() == "through", "the old one finishes what it has"
    assert "old" in worker.log
