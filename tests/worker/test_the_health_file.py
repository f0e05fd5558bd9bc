"""A health file that cannot be written does not go unnoticed: its probe would call the worker dead."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.broker_process import BrokerProcess
from tests.worker.processes import WorkerProcess, eventually


@pytest.mark.parametrize("where", ["nowhere/ready", "."])
def test_at_the_start_it_is_refused(where: str, tmp_path: Path) -> None:
    path = tmp_path / where
    with WorkerProcess("tenure://127.0.0.1:1", tmp_path, "--health-file", str(path)) as worker:
        assert worker.wait() == 78
    assert f'--health-file "{path}" cannot be written: ' in worker.log
    assert worker.log.count("\n") == 1


def test_later_it_is_a_warning_and_jobs_go_on(broker: BrokerProcess, tmp_path: Path) -> None:
    directory = tmp_path / "run"
    directory.mkdir()
    words = ("--health-file", str(directory / "ready"))
    with WorkerProcess(broker.url, tmp_path, *words) as worker:
        eventually((directory / "ready").exists)
        shutil.rmtree(directory)
        eventually(lambda: "the health file cannot be written" in worker.log)
        assert worker.process.poll() is None
        directory.mkdir()
        eventually(lambda: "the health file can be written again" in worker.log)
        assert worker.log.count("cannot be written") == 1
        assert worker.stop() == 0
