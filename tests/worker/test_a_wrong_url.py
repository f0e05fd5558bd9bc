"""A URL that names no broker is one line that says where it comes from; the exit code is 78."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.processes import tenure
from tests.worker.processes import WorkerProcess

APP = """\
from tenure import App

app = App({url})

@app.task
def work() -> None: ...
"""
GOOD = "tenure://127.0.0.1:1"


def app_in(directory: Path, url: str = "") -> Path:
    path = directory / "app"
    path.mkdir()
    (path / "shop.py").write_text(APP.format(url=url))
    return path


@pytest.mark.parametrize("word", ["foo", "redis://x", "tenure://a:port"])
def test_on_the_command_line(word: str, tmp_path: Path) -> None:
    directory = app_in(tmp_path)
    with WorkerProcess(GOOD, tmp_path, "--url", word, app="shop:app", app_dir=directory) as worker:
        assert worker.wait() == 78
    assert worker.log.startswith(f"error: --url {word!r} ")
    assert worker.log.count("\n") == 1
    done = tenure(GOOD, "status", "--url", word)
    assert (done.returncode, done.stderr) == (78, worker.log), "as every other command"


def test_in_the_environment(tmp_path: Path) -> None:
    directory = app_in(tmp_path)
    with WorkerProcess("redis://x", tmp_path, app="shop:app", app_dir=directory) as worker:
        assert worker.wait() == 78
    assert "TENURE_URL 'redis://x' is not a broker's URL" in worker.log
    assert "tenure://127.0.0.1:7733" in worker.log
    assert worker.log.count("\n") == 1


def test_in_the_code(tmp_path: Path) -> None:
    directory = app_in(tmp_path, '"redis://x"')
    with WorkerProcess(GOOD, tmp_path, app="shop:app", app_dir=directory) as worker:
        assert worker.wait() == 78
    assert "url 'redis://x' is not a broker's URL" in worker.log
    assert "shop.py" in worker.log


def test_what_the_app_says_comes_before_the_environment(tmp_path: Path) -> None:
    directory = app_in(tmp_path, f'"{GOOD}"')
    with WorkerProcess(
        "redis://x", tmp_path, "--burst", app="shop:app", app_dir=directory
    ) as worker:
        while "the worker starts" not in worker.log:
            assert worker.process.poll() is None, worker.log
