"""A worker and the tasks it runs talk to one and the same broker, and say so when it is not there."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tenure import Client
from tests.support.broker_process import BrokerProcess
from tests.worker.processes import WorkerProcess, eventually

APP = """\
from tenure import App

app = App({url})

@app.task(queue="one", result_ttl="1h")
def first() -> str:
    return second.enqueue().id

@app.task(queue="two", result_ttl="1h")
def second() -> None: ...
"""
NOWHERE = "tenure://127.0.0.1:1"


def app_in(directory: Path, url: str = "") -> Path:
    path = directory / "app"
    path.mkdir()
    (path / "shop.py").write_text(APP.format(url=repr(url) if url else ""))
    return path


@pytest.mark.parametrize("how", ["--url", "the app's own", "TENURE_URL"])
def test_what_a_task_enqueues_goes_where_its_worker_gets_jobs(
    how: str, broker: BrokerProcess, client: Client, tmp_path: Path
) -> None:
    own = {"--url": NOWHERE, "the app's own": broker.url, "TENURE_URL": ""}[how]
    words = ["--url", broker.url] if how == "--url" else []
    environment = broker.url if how == "TENURE_URL" else NOWHERE
    with WorkerProcess(
        environment, tmp_path, *words, app="shop:app", app_dir=app_in(tmp_path, own)
    ) as worker:
        worker.ready()
        result = client.wait(client.enqueue("one", "first", {}, retention="1h"), "30s").result
        assert isinstance(result, str)
        assert client.wait(result, "30s").state == "succeeded"


def test_queues_that_nobody_weighed_share_alike(
    broker: BrokerProcess, client: Client, tmp_path: Path
) -> None:
    with WorkerProcess(broker.url, tmp_path, app="shop:app", app_dir=app_in(tmp_path)) as worker:
        worker.ready()
        [shown] = client.workers()
        assert sorted(shown.queues) == ["one", "two"]
        [pool] = client.worker(shown.id).pools
        assert pool["queues"] == "one=1,two=1"


def test_a_worker_without_a_broker_says_why(tmp_path: Path) -> None:
    with WorkerProcess(NOWHERE, tmp_path, app="shop:app", app_dir=app_in(tmp_path)) as worker:
        eventually(lambda: "the broker does not answer" in worker.log)
        assert "127.0.0.1:1" in worker.log


def test_a_health_port_that_is_taken_is_one_line(broker: BrokerProcess, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        directory = app_in(tmp_path)
        with WorkerProcess(
            broker.url, tmp_path, "--health", f"127.0.0.1:{port}", app="shop:app", app_dir=directory
        ) as worker:
            assert worker.wait() == 69
        assert "health checks cannot be served" in worker.log
        assert "Traceback" not in worker.log
