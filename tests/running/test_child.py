"""The real child process: what it says, in which order, and how it ends."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tenure.codecs import decode_result
from tests.running.child_process import Child
from tests.running.jobs import JOB_ID, row

APP = """
import asyncio, os, signal, subprocess, sys, threading, time
from pathlib import Path
from tenure import App, Depends, current_job

app = App("tenure://localhost:1", name="shop")

def mark(text):
    with Path("marks.txt").open("a") as file:
        file.write(text + "\\n")

@app.lifespan
async def resources():
    mark("opened")
    yield {"thread": threading.get_ident()}
    mark("closed")

@app.task(queue="mail", timeout="30s")
async def aadd(x: int, y: int = 0) -> int:
    await asyncio.sleep(0)
    return x + y

@app.task(executor="process")
def add(x: int, y: int = 0) -> int:
    return x + y

@app.task
def fail() -> None:
    raise LookupError("gone")

@app.task
async def forever() -> None:
    current_job().progress(1, 2, "waiting")
    await asyncio.Event().wait()

@app.task
def looks() -> None:
    job = current_job()
    job.progress(1, 2, "looking")
    while True:
        job.raise_if_cancelled()
        time.sleep(0.001)

@app.task
def exits(status: int) -> None:
    os._exit(status)

@app.task
def steps() -> str:
    with current_job().checkpoint("first") as done:
        pass
    return "kept"

@app.task
async def asteps() -> str:
    async with current_job().checkpoint("first") as done:
        pass
    return "kept"

@app.task
def holds_the_gil() -> None:
    import ctypes
    ctypes.PyDLL(None).system(b"echo in C code >&2; read line")

@app.task
def spins() -> None:
    current_job().progress(1, None, "spinning")
    while True:
        pass

@app.task
async def blocks_the_loop() -> None:
    current_job().progress(1, None, "blocking")
    while True:
        pass

@app.task
async def cancels_itself() -> None:
    asyncio.current_task().cancel()
    await asyncio.sleep(0)

@app.task
def large(size: int) -> str:
    print("large", file=sys.stderr, flush=True)
    return "x" * size

@app.task
def thread() -> bool:
    return threading.current_thread() is threading.main_thread()

@app.task
def loop_inside() -> int:
    async def one() -> int:
        return 1
    return asyncio.run(one())

@app.on("job.dead")
async def page(event):
    mark(f"dead {event.task}")

@app.on("job.dead")
def page_too(event):
    mark(f"dead too {event.message}")
"""

ROLES = pytest.mark.parametrize("role", ["host", "single", "isolated"])
STAYING = pytest.mark.parametrize("role", ["host", "single"])


def marks(directory: Path) -> list[str]:
    return (directory / "marks.txt").read_text().split("\n")[:-1]


def result(done: tuple[int, Any]) -> Any:
    code, data = done
    assert code == 0, data
    return decode_result(data, "job")


@ROLES
def test_it_says_what_the_app_is(tmp_path: Path, role: str) -> None:
    with Child(tmp_path, APP, role) as child:
        manifest = child.ready()
        assert manifest["pid"] == child.process.pid
        assert (manifest["app"], manifest["url"]) == ("jobs:app", "tenure://localhost:1")
        assert manifest["tasks"]["aadd"] == {
            "executor": None, "is_async": True, "timeout_ms": 30_000, "soft_timeout_ms": None,
        }  # fmt: skip
        assert manifest["tasks"]["add"]["executor"] == "process"
        assert manifest["queues"] == ["default", "mail"]
        assert manifest["hooks"] == ["job.dead"]
        assert marks(tmp_path) == ["opened"]


@pytest.mark.parametrize(
    ("source", "app", "error_type", "told"),
    [
        ("import nothing_of_this_name", "jobs:app", "ModuleNotFoundError", "nothing_of_this_name"),
        ("def f(:", "jobs:app", "SyntaxError", "invalid syntax"),
        ("raise SystemExit(3)", "jobs:app", "SystemExit", "3"),
        ("x = 1", "jobs:app", "tenure.errors.ImportFailed", "jobs has no 'app'"),
        ("app = 1", "jobs:app", "tenure.errors.ImportFailed", "is no App but a int"),
        ("", "jobz:app", "tenure.errors.ImportFailed", "there is no module 'jobz' in "),
        (
            "from tenure import App\napp = App(imports=['jobs_of_mail'])",
            "jobs:app", "tenure.errors.ImportFailed", "jobs_of_mail",
        ),
    ],
)  # fmt: skip
def test_an_app_that_cannot_be_imported_is_told_and_the_process_ends(
    tmp_path: Path, source: str, app: str, error_type: str, told: str
) -> None:
    with Child(tmp_path, source, app=app) as child:
        said, message, traceback = child.expect("broken")
        assert said == error_type
        assert told in message
        assert "tenure/running" not in traceback
        assert child.exit_status() == 1


@ROLES
def test_resources_that_cannot_be_opened_are_told_and_the_process_ends(
    tmp_path: Path, role: str
) -> None:
    source = (
        "from tenure import App\napp = App()\n@app.task\ndef t(): ...\n"
        "@app.lifespan\ndef f():\n    1 / 0\n    yield\n"
    )
    with Child(tmp_path, source, role) as child:
        assert child.expect("broken")[:2] == ["ZeroDivisionError", "division by zero"]
        assert child.exit_status() == 1


@STAYING
def test_it_runs_jobs_of_both_kinds(tmp_path: Path, role: str) -> None:
    with Child(tmp_path, APP, role) as child:
        child.ready()
        assert result(child.done(child.run("aadd", x=1, y=2))) == 3
        assert result(child.done(child.run("add", x=1, y=2))) == 3
        assert result(child.done(child.run("loop_inside"))) == 1
        assert result(child.done(child.run("thread"))) == (role == "single")
        code, wire = child.done(child.run("fail"))
        assert (code, wire["error_type"], wire["message"]) == (1, "LookupError", "gone")
        code, wire = child.done(child.run("nothing"))
        assert wire["error_type"] == "tenure.errors.UnknownTask"
        code, wire = child.done(child.run("cancels_itself"))
        assert wire["error_type"] == "asyncio.exceptions.CancelledError"


def test_a_single_runs_them_one_after_another_and_tells_each_before_the_next(
    tmp_path: Path,
) -> None:
    with Child(tmp_path, APP, "single") as child:
        child.ready()
        jobs: list[tuple[str, dict[str, Any]]] = [("add", {"x": n}) for n in range(20)]
        jobs += [("aadd", {"x": n}) for n in range(20)]
        jobs += [("exits", {"status": 3}), ("add", {"x": 1})]
        *good, guilty, innocent = child.run_all(jobs)
        assert [child.done(key)[0] for key in good] == [0] * 40
        with pytest.raises(EOFError):
            child.next()
        assert child.exit_status() == 3
        assert guilty < innocent


def test_a_host_runs_them_at_the_same_time(tmp_path: Path) -> None:
    with Child(tmp_path, APP, "host") as child:
        child.ready()
        waiting = child.run_all([("forever", {}), ("looks", {})])
        assert {child.expect("progress")[0] for _ in waiting} == set(waiting)
        assert result(child.done(child.run("aadd", x=1))) == 1
        assert result(child.done(child.run("add", x=2))) == 2


def test_an_isolated_one_ends_after_one_job(tmp_path: Path) -> None:
    with Child(tmp_path, APP, "isolated") as child:
        child.ready()
        assert result(child.done(child.run("add", x=1, y=2))) == 3
        assert child.exit_status() == 0
        assert marks(tmp_path) == ["opened", "closed"]


@pytest.mark.parametrize("task", ["forever", "looks"])
@ROLES
def test_a_job_that_is_cancelled_ends(tmp_path: Path, role: str, task: str) -> None:
    with Child(tmp_path, APP, role) as child:
        child.ready()
        key = child.run(task)
        child.expect("progress")
        child.send(["cancel", key, "cancelled"])
        code, wire = child.done(key)
        assert (code, wire["error_type"]) == (1, "Cancelled")


def test_a_shutdown_gives_the_job_back(tmp_path: Path) -> None:
    with Child(tmp_path, APP, "host") as child:
        child.ready()
        key = child.run("forever")
        child.expect("progress")
        child.send(["cancel", key, "shutdown"])
        assert child.done(key) == (2, [None, "worker shutdown"])


@pytest.mark.parametrize("task", ["steps", "asteps"])
@ROLES
def test_a_checkpoint_waits_until_it_is_kept(tmp_path: Path, role: str, task: str) -> None:
    with Child(tmp_path, APP, role) as child:
        child.ready()
        key = child.run(task)
        said, number, _ = child.expect("checkpoint")
        assert said == key
        child.send(["saved", key, number, None])
        assert result(child.done(key)) == "kept"


@pytest.mark.parametrize("task", ["steps", "asteps"])
@STAYING
def test_a_checkpoint_that_was_refused_fails_the_job(tmp_path: Path, role: str, task: str) -> None:
    with Child(tmp_path, APP, role) as child:
        child.ready()
        key = child.run(task)
        _, number, _ = child.expect("checkpoint")
        child.send(["saved", key, number, "LEASE_LOST"])
        assert "LEASE_LOST" in child.done(key)[1]["message"]
        assert result(child.done(child.run("add", x=1))) == 1


@STAYING
def test_told_to_stop_it_finishes_and_closes_its_resources(tmp_path: Path, role: str) -> None:
    with Child(tmp_path, APP, role) as child:
        child.ready()
        keys = child.run_all([("add", {"x": 1}), ("aadd", {"x": 1})])
        child.send(["stop"])
        assert {child.expect("done")[0] for _ in keys} == set(keys)
        assert child.exit_status() == 0
        assert marks(tmp_path) == ["opened", "closed"]


@STAYING
def test_an_idle_one_stops_at_once(tmp_path: Path, role: str) -> None:
    with Child(tmp_path, APP, role) as child:
        child.ready()
        child.send(["stop"])
        assert child.exit_status() == 0


@STAYING
def test_a_parent_that_is_slow_to_read_is_waited_for(tmp_path: Path, role: str) -> None:
    with Child(tmp_path, APP, role) as child:
        child.ready()
        keys = child.run_all([("large", {"size": 1_000_000})] * 5)
        child.wait_for_errors("large")

        assert sorted(child.expect("done")[0] for _ in keys) == keys


@STAYING
def test_an_idle_one_waits_for_its_parent_and_does_not_ask_again_and_again(
    tmp_path: Path, role: str
) -> None:
    with Child(tmp_path, APP, role) as child:
        child.ready()
        child.done(child.run("aadd", x=1))

        assert not child.pipe_flags() & os.O_NONBLOCK


@pytest.mark.parametrize("task", [None, "forever", "spins", "looks"])
@ROLES
def test_without_its_parent_it_ends_whatever_runs(
    tmp_path: Path, role: str, task: str | None
) -> None:
    with Child(tmp_path, APP, role) as child:
        child.ready()
        if task is not None:
            child.run(task)
            child.expect("progress")
        child.hang_up()
        assert child.exit_status() == 75


@ROLES
def test_signals_are_left_to_the_parent(tmp_path: Path, role: str) -> None:
    with Child(tmp_path, APP, role) as child:
        child.ready()
        child.signal(signal.SIGTERM)
        child.signal(signal.SIGINT)
        assert result(child.done(child.run("add", x=1))) == 1


@STAYING
def test_a_process_that_exits_takes_its_job_with_it(tmp_path: Path, role: str) -> None:
    with Child(tmp_path, APP, role) as child:
        child.ready()
        child.run("exits", status=7)
        with pytest.raises(EOFError):
            child.next()
        assert child.exit_status() == 7


@ROLES
def test_sigusr2_shows_stacks_even_while_c_code_holds_the_interpreter(
    tmp_path: Path, role: str
) -> None:
    with Child(tmp_path, APP, role) as child:
        child.ready()
        child.run("holds_the_gil")
        # A call through PyDLL keeps the lock, here until our end of its stdin is closed.
        child.wait_for_errors("in C code")
        child.signal(signal.SIGUSR2)
        child.wait_for_errors("in holds_the_gil")


@pytest.mark.parametrize("task", ["forever", "spins", "blocks_the_loop"])
@ROLES
def test_it_tells_its_stacks_whatever_runs(tmp_path: Path, role: str, task: str) -> None:
    with Child(tmp_path, APP, role) as child:
        child.ready()
        child.run(task)
        child.expect("progress")
        child.send(["stacks", 42])
        token, text = child.expect("stacks")
        assert token == 42
        assert f"job {JOB_ID} of {task}, for " in text
        assert f"in {task}" in text


@STAYING
def test_it_runs_the_hooks_of_what_became_of_jobs(tmp_path: Path, role: str) -> None:
    with Child(tmp_path, APP, role) as child:
        child.ready()
        child.send(["event", "job.dead", {"id": b"\0" * 16, "task": "add", "message": "no"}])
        child.send(["stop"])
        assert child.exit_status() == 0
        assert marks(tmp_path)[1:-1] == ["dead add", "dead too no"]


def test_it_tells_which_files_were_imported(tmp_path: Path) -> None:
    (tmp_path / "prices.py").write_text("VAT = 0.19\n")
    source = APP + "\n@app.task\ndef price() -> None:\n    import prices\n"
    with Child(tmp_path, source, "single", "--watch") as child:
        (files,) = child.expect("files")
        assert str(tmp_path / "jobs.py") in files
        child.ready()
        key = child.run("price")
        child.done(key)
        (files,) = child.expect("files")
        assert str(tmp_path / "prices.py") in files


def test_it_tells_the_file_that_does_not_even_parse(tmp_path: Path) -> None:
    with Child(tmp_path, "def f(:", "single", "--watch") as child:
        (files,) = child.expect("files")
        assert str(tmp_path / "jobs.py") in files
        child.expect("broken")


def test_lines_of_logging_name_the_job(tmp_path: Path) -> None:
    source = APP + "\n@app.task\ndef logs() -> None:\n"
    source += "    import logging; logging.getLogger('mine').info('hello')\n"
    with Child(tmp_path, source, "host") as child:
        child.ready()
        child.done(child.run("logs"))
        child.wait_for_errors(f"mine [logs {JOB_ID}] hello")


@STAYING
def test_programs_that_a_task_starts_can_be_terminated(tmp_path: Path, role: str) -> None:
    source = APP + (
        "\n@app.task\ndef program() -> int:\n"
        "    started = subprocess.Popen(['sleep', '60'])\n"
        "    started.terminate()\n"
        "    return started.wait()\n"
    )
    with Child(tmp_path, source, role) as child:
        child.ready()
        assert result(child.done(child.run("program"))) == -signal.SIGTERM


def test_a_job_that_blocks_the_loop_keeps_few_of_those_that_came_with_it_waiting(
    tmp_path: Path,
) -> None:
    with Child(tmp_path, APP) as child:
        child.ready()
        keys = child.run_all([*[("aadd", {"x": 1})] * 99, ("blocks_the_loop", {})])
        told = set()
        for _ in range(64):
            key, code, _ = child.expect("done")
            assert code == 0
            told.add(key)
        assert told <= set(keys[:99])


def test_a_job_that_came_with_many_is_cancelled_before_its_turn(tmp_path: Path) -> None:
    with Child(tmp_path, APP) as child:
        child.ready()
        items = [[key, row("aadd", x=1)] for key in range(1, 100)]
        child.send(["run", [*items, [100, row("forever")]]], ["cancel", 100, "cancelled"])
        messages = [child.next() for _ in range(100)]
        assert {message[0] for message in messages} == {"done"}, "it would have told its progress"
        (last,) = [message for message in messages if message[1] == 100]
        assert last[2] == 1
        assert last[3]["error_type"] == "Cancelled"
        assert sum(message[2] == 0 for message in messages) == 99
