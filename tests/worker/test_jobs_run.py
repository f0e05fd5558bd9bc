"""Jobs run where they should, in every kind of pool."""

from __future__ import annotations

import json
import signal
import socket
import time
from pathlib import Path

import pytest

from tenure import Client
from tests.support.broker_process import BrokerProcess
from tests.worker import sample_app
from tests.worker.conftest import StartWorker
from tests.worker.processes import WorkerProcess, eventually, lines_of


def where(result: object) -> tuple[int, int, bool]:
    assert isinstance(result, list)
    n, pid, in_main_thread = result
    return n, pid, in_main_thread


def test_each_task_runs_in_the_executor_it_asks_for(client: Client, start: StartWorker) -> None:
    worker = start("-c", "4")
    n, host, in_main = where(sample_app.on_loop.enqueue(1).result())
    assert (n, in_main) == (1, True)
    n, pid, in_main = where(sample_app.in_thread.enqueue(2).result())
    assert (n, pid, in_main) == (2, host, False)
    n, single, in_main = where(sample_app.in_process.enqueue(3).result())
    assert (n, in_main) == (3, True)
    assert where(sample_app.in_process.enqueue(4).result())[1] == single, "it is kept"
    alone = {where(sample_app.isolated.enqueue(5).result())[1] for _ in range(3)}
    assert len(alone) == 3, "a fresh process for each"
    assert len({worker.pid, host, single, *alone}) == 6, "user code never runs in the worker"


@pytest.mark.parametrize("kind", ["async", "thread", "process"])
def test_a_pool_of_each_kind_runs_all_tasks(kind: str, client: Client, start: StartWorker) -> None:
    start("--pool", kind, "-c", "2")
    tasks = [sample_app.on_loop, sample_app.in_thread, sample_app.in_process, sample_app.isolated]
    handles = [task.enqueue(n) for n in range(5) for task in tasks]
    assert [where(handle.result())[0] for handle in handles] == [n for n in range(5) for _ in tasks]


def test_pools_with_their_own_queues_do_not_share_processes(
    client: Client, start: StartWorker
) -> None:
    start("--pool", "io=async:4:web", "--pool", "cpu=process:1:thumbs")
    web = where(sample_app.in_thread.using(queue="web").enqueue(1).result())
    thumbs = where(sample_app.in_thread.using(queue="thumbs").enqueue(2).result())
    assert web[1] != thumbs[1]
    assert (web[2], thumbs[2]) == (False, True)


def test_prefetched_jobs_run_too(client: Client, start: StartWorker, tmp_path: Path) -> None:
    start("--pool", "process", "-c", "2", "--prefetch", "16")
    path = tmp_path / "noted"
    sample_app.app.enqueue_many(sample_app.count.s(str(path), str(n)) for n in range(500))
    eventually(lambda: len(lines_of(path)) >= 500)
    assert sorted(map(int, lines_of(path))) == list(range(500))


@pytest.mark.parametrize("kind", ["thread", "process"])
def test_large_results_arrive_whole(kind: str, client: Client, start: StartWorker) -> None:
    worker = start("--pool", kind, "-c", "4")
    handles = [sample_app.big.enqueue(1_000_000) for _ in range(20)]
    assert [len(handle.result()) for handle in handles] == [1_000_000] * 20
    assert "a child died" not in worker.log


@pytest.mark.parametrize("kind", ["async", "process"])
def test_an_idle_worker_uses_no_measurable_cpu(
    kind: str, client: Client, start: StartWorker
) -> None:
    worker = start("--pool", kind, "-c", "2")
    sample_app.in_thread.enqueue(1).result()
    pids = [worker.pid, *worker.children()]
    began_s, before_s = time.monotonic(), sum(map(cpu_seconds, pids))
    eventually(lambda: time.monotonic() - began_s >= 2)
    used = (sum(map(cpu_seconds, pids)) - before_s) / (time.monotonic() - began_s)
    assert used < 0.2, "something spins"  # a spinning process would use all of a core


def cpu_seconds(pid: int) -> float:
    """What all threads of a process have used."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def test_progress_and_log_lines_are_seen_from_outside(client: Client, start: StartWorker) -> None:
    start()
    handle = sample_app.tells.enqueue(3)
    handle.result()
    info = client.get(handle.id)
    assert info.progress is not None
    assert (info.progress.n, info.progress.total, info.progress.message) == (3, 3, "telling")
    assert [line for line in info.log if "line 2" in line]


def test_hooks_are_told_how_jobs_end(client: Client, start: StartWorker, tmp_path: Path) -> None:
    path = tmp_path / "hooks"
    start(TENURE_TEST_HOOKS=str(path))
    sample_app.too_long.enqueue(str(tmp_path / "never"))
    eventually(lambda: lines_of(path) == ["job.dead too_long"])


def test_burst_ends_with_0_when_the_queues_are_empty(
    broker: BrokerProcess, client: Client, tmp_path: Path
) -> None:
    handle = sample_app.enqueues.enqueue(5)  # each enqueues the next one
    with WorkerProcess(broker.url, tmp_path, "--burst") as worker:
        assert worker.wait() == 0
    assert handle.status() == "succeeded"
    assert client.queue("work").jobs == 0


def test_an_app_that_does_not_import_ends_the_worker_with_the_error(
    broker: BrokerProcess, tmp_path: Path
) -> None:
    (tmp_path / "torn.py").write_text("import this_is_not_there\n")
    with WorkerProcess(broker.url, tmp_path, app="torn:app", app_dir=tmp_path) as worker:
        assert worker.wait() == 78
        assert "this_is_not_there" in worker.log


def ask(port: int, path: str) -> tuple[int, dict[str, object]]:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        data = b""
        while chunk := sock.recv(65_536):
            data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


def test_readyz_does_not_invent_a_time_before_the_broker_was_there(tmp_path: Path) -> None:
    words = ("--health", "127.0.0.1:0")
    with WorkerProcess("tenure://127.0.0.1:1", tmp_path, *words) as worker:
        eventually(lambda: "/readyz" in worker.log)
        port = int(worker.log.split("/readyz")[0].rpartition(":")[2])
        status, told = ask(port, "/readyz")
        assert (status, told["broker_heard_ms_ago"]) == (503, None)


def test_readyz_says_whether_jobs_are_being_taken(
    broker: BrokerProcess, client: Client, start: StartWorker, tmp_path: Path
) -> None:
    worker = start("-c", "1", "--health", "127.0.0.1:0")
    port = int(worker.log.split("/readyz")[0].rpartition(":")[2])
    assert ask(port, "/livez")[0] == 200
    assert ask(port, "/readyz")[0] == 200
    gate = tmp_path / "gate"
    handle = sample_app.gate.enqueue(str(gate))
    eventually(lambda: lines_of(f"{gate}.begun"))
    status, told = ask(port, "/readyz")
    assert (status, told["busy"]) == (200, 1), "every slot is busy: that is as it should be"
    gate.touch()
    handle.result()
    client.tell_worker(worker.name, "quiet")
    eventually(lambda: ask(port, "/readyz")[0] == 503)
    assert ask(port, "/readyz")[1]["state"] == "quiet"
    client.tell_worker(worker.name, "resume")
    eventually(lambda: ask(port, "/readyz")[0] == 200)
    broker.stop()
    eventually(lambda: ask(port, "/readyz")[0] == 503)
    assert ask(port, "/livez")[0] == 200
    broker.start()
    eventually(lambda: ask(port, "/readyz")[0] == 200)
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0
