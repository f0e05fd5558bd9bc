"""`--reload` and `tenure dev`: files change, and the worker follows."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tenure import Client
from tests.support.broker_process import BrokerProcess
from tests.worker.processes import WorkerProcess, eventually, is_gone, lines_of

APP = """\
from tenure import App

app = App(queue="work", result_ttl="1h")

@app.task
def says() -> str:
    return {word!r}
"""

_times = iter(range(1_000_000_000, 2_000_000_000))


def write(path: Path, text: str) -> None:
    """Write a file, with a time of its own: two writes within one tick are two changes."""
    path.write_text(text)
    at_ns = next(_times) * 10**9
    os.utime(path, ns=(at_ns, at_ns))


def said(client: Client) -> object:
    job = client.enqueue("work", "says", {}, retention="1h")
    return client.wait(job, "30s").result


@pytest.fixture
def package(tmp_path: Path) -> Path:
    path = tmp_path / "app"
    path.mkdir()
    write(path / "shop.py", APP.format(word="one"))
    return path


def says(client: Client, word: str) -> bool:
    return word.encode() in str(said(client)).encode()


def test_a_changed_file_is_loaded_and_a_broken_one_waits_for_the_next_change(
    broker: BrokerProcess, client: Client, tmp_path: Path, package: Path
) -> None:
    with WorkerProcess(broker.url, tmp_path, "--reload", app="shop:app", app_dir=package) as worker:
        worker.ready()
        assert says(client, "one")
        write(package / "shop.py", APP.format(word="two"))
        eventually(lambda: says(client, "two"))
        write(package / "shop.py", "this is no Python\n")
        eventually(lambda: "SyntaxError" in worker.log)
        assert says(client, "two"), "what there was goes on"
        write(package / "shop.py", APP.format(word="three"))
        eventually(lambda: says(client, "three"))
        assert worker.stop() == 0


def test_with_reload_an_app_that_is_broken_at_the_start_is_waited_for(
    broker: BrokerProcess, client: Client, tmp_path: Path, package: Path
) -> None:
    write(package / "shop.py", "import nothing_of_the_kind\n")
    with WorkerProcess(broker.url, tmp_path, "--reload", app="shop:app", app_dir=package) as worker:
        eventually(lambda: "nothing_of_the_kind" in worker.log)
        write(package / "shop.py", APP.format(word="mended"))
        worker.ready()
        assert says(client, "mended")
        assert worker.stop() == 0


DEV = "from tenure.cli.dev import dev; dev(prog_name='tenure dev')"


def test_dev_runs_a_broker_and_a_worker_and_ctrl_c_ends_both(tmp_path: Path, package: Path) -> None:
    log = tmp_path / "dev.log"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TENURE_")}
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-c", DEV, "shop:app", "--listen", "127.0.0.1:0",
             "--app-dir", str(package)],
            stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=kept, process_group=0,
        )  # fmt: skip
    try:
        eventually(lambda: "worker |" in log.read_text() and "connected" in log.read_text())
        text = log.read_text()
        url = text.split("TENURE_URL=")[1].split()[0]
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        assert len(children) == 2
        with Client(url) as client:
            assert says(client, "one")
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
        assert all(is_gone(int(pid)) for pid in children)
        lines = [line.partition("|")[0].strip() for line in lines_of(log)]
        assert {"broker", "worker", "dev"} <= set(lines)
        assert max(n for n, line in enumerate(lines) if line == "worker") < max(
            n for n, line in enumerate(lines) if line == "broker"
        ), "the worker first"
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
