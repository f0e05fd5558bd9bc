"""No descriptor is left: in the broker, in a worker, in a client. Everybody else is served, and nothing spins."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tenure import Client
from tenure.errors import BackupFailed
from tests.crash.limits import cpu_s, descriptors, limited
from tests.support.broker_process import BrokerProcess
from tests.worker import sample_app
from tests.worker.processes import WorkerProcess, eventually, using_url

ROOT = Path(__file__).resolve().parents[2]
SPARE = 3
MORE = 40
LOOKED_AT_S = 1.0


@pytest.fixture(params=["uvloop", "asyncio"])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BrokerProcess]:
    environment = {}
    if request.param == "asyncio":
        (tmp_path / "without").mkdir()
        (tmp_path / "without" / "uvloop.py").write_text("raise ImportError('not here')\n")
        environment["PYTHONPATH"] = str(tmp_path / "without")
    with BrokerProcess(tmp_path, environment=environment) as process:
        assert ("uvloop is not installed" in process.log) == (request.param == "asyncio")
        yield process


def connected(url: str, count: int) -> list[socket.socket]:
    """So many connections that say nothing; the system accepts them, the broker may not."""
    host, port = url.removeprefix("tenure://").split(":")
    return [socket.create_connection((host, int(port)), timeout=10) for _ in range(count)]


def idle_share(pid: int) -> float:
    """The share of a processor that it uses while it is left alone."""
    before = cpu_s(pid)
    threading.Event().wait(LOOKED_AT_S)
    return (cpu_s(pid) - before) / LOOKED_AT_S


def test_a_broker_without_descriptors_serves_who_is_connected_and_later_everybody(
    broker: BrokerProcess,
) -> None:
    with Client(broker.url) as client:
        ids = [client.enqueue("work", "before")]
        open_now = descriptors(broker.pid)
        with limited(broker.pid, resource.RLIMIT_NOFILE, open_now + SPARE):
            others = connected(broker.url, MORE)
            eventually(lambda: descriptors(broker.pid) >= open_now + SPARE - 1)
            ids += [client.enqueue("work", "meanwhile") for _ in range(20)]
            assert idle_share(broker.pid) < 0.5, "it does not try over and over"
            jobs = client.reserve("work", max_jobs=100)
            assert [job.id for job in jobs] == ids
            client.ack(jobs)
            assert descriptors(broker.pid) <= open_now + SPARE
            for each in others:
                each.close()
            # Still under the limit: those who left made room.
            with Client(broker.url, timeout="20s", connect_timeout="20s") as another:
                assert another.enqueue("work", "after")
        assert client.queue("work").jobs == 1
    assert broker.stop() == 0


@pytest.mark.parametrize("broker", ["uvloop"], indirect=True)
def test_a_backup_without_descriptors_is_refused_and_leaves_nothing(
    broker: BrokerProcess,
) -> None:
    backups = broker.data_dir / "backups"
    with Client(broker.url) as client:
        client.enqueue("work", "before")
        open_now = descriptors(broker.pid)
        refused = 0
        # At every number that is too small, one after the other.
        while not (backups / "b").exists():
            with limited(broker.pid, resource.RLIMIT_NOFILE, open_now + refused):
                try:
                    client.backup("b")
                except BackupFailed:
                    refused += 1
                    assert not list(backups.glob("*"))
                    assert descriptors(broker.pid) == open_now
                    client.enqueue("work", "meanwhile")
        assert refused > 0
        assert [path.name for path in backups.iterdir()] == ["b"]


@pytest.mark.slow
def test_a_worker_without_descriptors_waits_until_there_are_some(tmp_path: Path) -> None:
    with (
        BrokerProcess(tmp_path) as broker,
        using_url(broker.url),
        WorkerProcess(broker.url, tmp_path, "--pool", "process", "-c", "1").ready() as worker,
    ):
        first = sample_app.in_process.enqueue(1).result()
        with limited(worker.pid, resource.RLIMIT_NOFILE, 4):
            assert sample_app.in_process.enqueue(1).result()[1] == first[1]
            [child] = worker.children()
            os.kill(child, signal.SIGKILL)
            broker.restart(kill=True)
            handle = sample_app.in_process.enqueue(2)
            eventually(lambda: "a child cannot be started" in worker.log)
            eventually(lambda: "the connection is lost" in worker.log)
            assert idle_share(worker.pid) < 0.5, "it does not try over and over"
            assert worker.process.poll() is None
        assert handle.result()[0] == 2
        assert worker.stop() == 0
        sample_app.app.close()


CLIENT = """
import resource, sys
from tenure import Client
from tenure.errors import TenureError

client = Client(sys.argv[1], timeout="5s", connect_timeout="1s")
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
try:
    client.enqueue("work", "too early")
except TenureError as error:
    print(type(error).__name__, flush=True)
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
print(client.enqueue("work", "now"), flush=True)
client.close()
"""


def test_a_client_without_descriptors_is_told_and_works_when_there_are_some(
    tmp_path: Path,
) -> None:
    with BrokerProcess(tmp_path) as broker:
        done = subprocess.run(
            [sys.executable, "-c", CLIENT, broker.url],
            cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        told, job_id = done.stdout.split()
        assert told in ("CannotConnect", "RequestTimeout"), done.stdout
        with Client(broker.url) as client:
            assert client.get(job_id).task == "now"
            assert client.queue("work").jobs == 1
