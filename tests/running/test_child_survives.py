"""Whatever user code does, its job ends, and what runs beside it does not notice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tenure.packing import pack
from tenure_protocol.limits import CHECKPOINT_BYTES_MAX
from tests.running.child_process import Child
from tests.running.jobs import row

APP = """
import asyncio, os, sys, threading
from dataclasses import dataclass
from tenure import App, current_job

app = App("tenure://localhost:1", name="shop")

class Odd(BaseException):
    pass

class Unspeakable(Exception):
    def __str__(self):
        raise Odd("no text")

@dataclass
class Part:
    kind: str
    def __post_init__(self):
        raise {"odd": Odd, "cancelled": asyncio.CancelledError, "interrupt": KeyboardInterrupt,
               "exit": SystemExit}[self.kind]("made so")

def throw(kind):
    raise {"odd": Odd, "unspeakable": Unspeakable, "exit": SystemExit,
           "interrupt": KeyboardInterrupt, "cancelled": asyncio.CancelledError,
           "generator": GeneratorExit}[kind]()

@app.task
def raises(kind: str) -> None:
    throw(kind)

@app.task
async def araises(kind: str) -> None:
    throw(kind)

@app.task
def takes(part: Part) -> None:
    pass

@app.task
async def atakes(part: Part) -> None:
    pass

@app.task
def add(x: int) -> int:
    return x + 1

@app.task
def counts_far() -> None:
    current_job().progress(1)
    current_job().progress(10**30, 10**31)

@app.task
def saves(size: int) -> None:
    current_job().set_checkpoint("all of it", b"x" * size)

@app.task
def forks() -> None:
    if os.fork():
        os.wait()
    else:
        current_job().progress(1, 2, "from the copy")

@app.task
def no_more_threads(after: int) -> None:
    def start(self):
        raise RuntimeError("can't start new thread")
    threading.Thread.start = start

@app.on("job.dead")
def page(event):
    sys.exit(3)

@app.on("job.dead")
async def apage(event):
    sys.exit(4)
"""

ROLES = ["host", "single"]


@pytest.fixture(params=ROLES)
def child(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    with Child(tmp_path, APP, request.param) as child:
        child.ready()
        yield child


def goes_on(child: Child) -> None:
    key = child.run("add", x=1)
    assert child.done(key)[0] == 0, child.errors()


def test_whatever_is_raised_the_job_fails_with_it_and_the_process_goes_on(child: Child) -> None:
    for kind in ("odd", "unspeakable", "exit", "interrupt", "cancelled", "generator"):
        for task in ("raises", "araises"):
            code, told = child.done(child.run(task, kind=kind))
            assert (code, told["dead"]) == (1, False), (kind, task)
            assert told["error_type"]
    goes_on(child)


def test_arguments_that_cannot_be_made_fail_their_own_job_only(child: Child) -> None:
    for kind in ("odd", "cancelled", "interrupt", "exit"):
        for task in ("takes", "atakes"):
            keys = child.run_all([(task, {"part": {"kind": kind}}), ("add", {"x": 1})])
            ends = [child.expect("done") for _ in keys]
            assert sorted((key, code) for key, code, _ in ends) == [(keys[0], 1), (keys[1], 0)]


def test_a_payload_that_no_map_can_hold_is_refused(child: Child) -> None:
    delivery = row("add", x=1)
    delivery[5] = pack(["add", b"\x81\x91\x01\x02", None, 1])  # {[1]: 2}
    child.send(["run", [[100, delivery]]])
    code, told = child.done(100)
    assert (code, told["dead"]) == (1, True)
    goes_on(child)


def test_numbers_beyond_64_bits_travel_as_floats(child: Child) -> None:
    key = child.run("counts_far")
    assert child.expect("progress") == [key, 1, None, None]
    assert child.expect("progress") == [key, 1e30, 1e31, None]
    assert child.done(key)[0] == 0
    goes_on(child)


def test_a_checkpoint_that_is_too_long_does_not_leave_the_process(child: Child) -> None:
    code, told = child.done(child.run("saves", size=CHECKPOINT_BYTES_MAX + 1))
    assert code == 1
    assert "limit" in told["message"]
    goes_on(child)


def test_the_copy_of_a_process_that_a_job_forks_says_nothing_and_runs_nothing(
    tmp_path: Path,
) -> None:
    with Child(tmp_path, APP, "single") as child:
        child.ready()
        assert child.done(child.run("forks")) == (0, None)
        for _ in range(3):
            goes_on(child)


def test_a_hook_that_exits_takes_no_job_along(child: Child) -> None:
    child.send(["event", "job.dead", {"id": "x", "task": "t"}])
    child.wait_for_errors("SystemExit", times=2)
    goes_on(child)


def test_a_job_for_which_there_is_no_thread_goes_back(tmp_path: Path) -> None:
    with Child(tmp_path, APP, "host") as child:
        child.ready()
        first, *_ = child.run_all([("no_more_threads", {"after": 1})] + [("add", {"x": 1})] * 3)
        ends = {key: code for key, code, _ in (child.expect("done") for _ in range(4))}
        assert ends[first] == 0
        keys = child.run_all([("add", {"x": 1})] * 20)
        ends = {key: code for key, code, _ in (child.expect("done") for _ in keys)}
        assert set(ends.values()) <= {0, 2}
        assert 2 in ends.values()
