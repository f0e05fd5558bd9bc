"""A worker whose app has no tasks takes nobody's jobs: it says what is missing and ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from tenure import Client
from tests.support.broker_process import BrokerProcess
from tests.worker.processes import WorkerProcess, eventually

EMPTY = """\
from tenure import App

app = App(queue="{queue}")
"""
TASK = """
@app.task
def {name}() -> None: ...
"""


def app_in(directory: Path, text: str) -> Path:
    path = directory / "app"
    path.mkdir(exist_ok=True)
    (path / "shop.py").write_text(text)
    return path


@pytest.mark.parametrize("words", [[], ["-q", "default"]])
def test_it_is_refused_and_jobs_of_others_stay_where_they_are(
    words: list[str], broker: BrokerProcess, client: Client, tmp_path: Path
) -> None:
    job = client.enqueue("default", "of_another_app", {}, max_attempts=1)
    directory = app_in(tmp_path, EMPTY.format(queue="own"))
    with WorkerProcess(broker.url, tmp_path, *words, app="shop:app", app_dir=directory) as worker:
        assert worker.wait() == 78
    assert "the app shop:app has no tasks" in worker.log
    assert "imports=" in worker.log
    assert "Traceback" not in worker.log
    assert client.get(job).state == "ready"


def test_with_reload_it_waits_for_the_first_task(
    broker: BrokerProcess, client: Client, tmp_path: Path
) -> None:
    empty = EMPTY.format(queue="own")
    directory = app_in(tmp_path, empty)
    with WorkerProcess(
        broker.url, tmp_path, "--reload", app="shop:app", app_dir=directory
    ) as worker:
        eventually(lambda: "has no tasks" in worker.log)
        assert "the worker starts" not in worker.log
        app_in(tmp_path, empty + TASK.format(name="first"))
        worker.ready()
        [shown] = client.workers()
        assert list(shown.queues) == ["own"]


def test_the_first_line_names_the_tasks(broker: BrokerProcess, tmp_path: Path) -> None:
    tasks = "".join(TASK.format(name=f"task_{n:02}") for n in range(20))
    directory = app_in(tmp_path, EMPTY.format(queue="own") + tasks)
    with WorkerProcess(broker.url, tmp_path, app="shop:app", app_dir=directory) as worker:
        worker.ready()
        [line] = [line for line in worker.log.splitlines() if "the worker starts" in line]
        assert 'tasks="20: task_00, task_01, ' in line
        assert "task_19" not in line
