"""Children that are dying, do not start, or do not end: no job pays for it, no slot is lost."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from tenure import Client
from tenure.settings import mono_ms
from tenure.worker import crew as crews
from tenure.worker import pipe, staff
from tenure.worker.children import Child
from tenure.worker.crew import RESTART_PAUSE_MS_MIN
from tenure.worker.deadlines import STUCK_AFTER_MS
from tenure.worker.jobs import ALONE_DELAY_MS
from tenure.worker.log import Log, Output
from tenure.worker.main import new_loop
from tenure.worker.options import WorkerOptions
from tenure.worker.specs import PoolSpec
from tenure.worker.staff import Staff
from tenure.worker.supervisor import Worker
from tests.worker import sample_app
from tests.worker.conftest import StartWorker
from tests.worker.processes import eventually, is_gone, lines_of
from tests.worker.test_jobs_and_crews import PaperChild, Place

# -- dying children get no jobs ---------------------------------------------------------------


@pytest.mark.parametrize("kind", ["async", "process"])
@pytest.mark.parametrize("how", ["its pipe is closed", "it is about to be killed"])
def test_a_job_is_not_given_to_a_child_that_is_dying(kind: str, how: str) -> None:
    place = Place(kind, 1).ready()
    [child] = place.started
    if how == "its pipe is closed":
        child.hung_up = True
    else:
        child.doomed = "its last job ran into its hard limit"
    place.take(1)
    assert child.jobs == {}
    place.pool.count()
    assert place.pool.slots.free == 0, "and none is asked for"
    place.die(child)
    place.pool.fill(mono_ms() + RESTART_PAUSE_MS_MIN)
    place.ready()
    assert list(place.where().values()) == [[1]]
    assert place.settled.said == []


async def test_what_is_told_to_a_child_whose_pipe_is_closed_is_dropped(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("raise RuntimeError('no')")
    hung_up = asyncio.Event()

    class Owner:
        def said(self, child: Child, messages: list[list[Any]]) -> None:
            pass

        def hung_up(self, child: Child) -> None:
            child.send([pipe.STOP])
            hung_up.set()

        def ended(self, child: Child) -> None:
            child.send([pipe.STOP])

    child = Child("single", Owner(), lambda data: None)
    child.start(["--app", "broken:app", "--app-dir", str(tmp_path)])
    await child.wait()
    assert hung_up.is_set()
    assert not child.fit
    child.send([pipe.STOP])
    watch = child._watch
    assert watch is not None
    assert watch.exception() is None


def test_that_holds_on_uvloop_too(tmp_path: Path) -> None:
    with asyncio.Runner(loop_factory=new_loop()) as runner:
        runner.run(test_what_is_told_to_a_child_whose_pipe_is_closed_is_dropped(tmp_path))


# -- children that do not start -----------------------------------------------------------------


def test_when_the_system_starts_no_process_it_is_tried_again_and_no_job_is_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place = Place("process", 1).ready()
    place.take(1)
    [child] = place.started

    def refuse(role: str) -> Child:
        raise OSError("Resource temporarily unavailable")

    start = place.pool.main._start
    place.pool.main._start = refuse
    place.jobs.deadlines.disarm(1)
    place.die(child)
    assert place.settled.said == [("fail", 1, "WorkerCrashed")]
    assert place.pool.slots.held == 0
    alarm_ms = place.pool.main.alarm_ms
    assert alarm_ms is not None
    assert alarm_ms >= mono_ms() + RESTART_PAUSE_MS_MIN // 2, "not at once: nothing spins"
    place.pool.main._start = start
    place.pool.fill(alarm_ms)
    place.ready()
    place.take(2)
    assert list(place.where().values()) == [[2]]


def test_the_pause_grows_for_children_that_say_hello_and_die(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place = Place("process", 1).ready()
    now_ms = mono_ms()
    monkeypatch.setattr(crews, "mono_ms", lambda: now_ms)
    pauses: list[int] = []
    for _ in range(4):
        place.die(place.started[-1])
        alarm_ms = place.pool.main.alarm_ms
        assert alarm_ms is not None
        pauses.append(alarm_ms)
        place.pool.fill(alarm_ms)
        place.ready()
    spans = [alarm_ms - pauses[0] for alarm_ms in pauses]
    assert spans[3] > spans[2] > spans[1] > 0


# -- leases that are lost, jobs that run alone --------------------------------------------------


def test_a_job_that_does_not_hear_that_its_lease_is_lost_does_not_keep_its_slot() -> None:
    place = Place().ready()
    [host] = place.started
    place.take(1, task="limited")
    [held] = place.jobs.held.values()
    place.jobs.lease_lost(held)
    assert place.pool.slots.free == 3, "it still runs"
    place.pass_ms(STUCK_AFTER_MS)
    assert place.pool.slots.free == 4
    assert place.stuck == [host]


def test_one_that_ends_after_its_lease_was_lost_leaves_nothing_behind() -> None:
    place = Place().ready()
    [host] = place.started
    place.take(1, 2)
    for held in list(place.jobs.held.values()):
        place.jobs.lease_lost(held)
    place.end(host)
    place.die(host)
    place.pass_ms(STUCK_AFTER_MS)
    assert place.stuck == []
    assert place.settled.said == []
    assert len(place.jobs.deadlines) == 0
    assert place.jobs._overdue == {}
    assert place.pool.slots.held == 0


def test_jobs_that_are_to_run_alone_do_not_gather_in_one_worker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    place = Place(size=8).ready()
    place.take(*range(1, 7), lost=1)
    assert [said[:2] for said in place.settled.said] == [("release", n) for n in (3, 4, 5, 6)]
    assert ALONE_DELAY_MS > 0
    place.take(7)
    assert len(place.settled.said) == 4, "others are not concerned"
    assert place.pool.slots.held == 3


# -- the staff ---------------------------------------------------------------------------------


class StaffChild(PaperChild):
    def __init__(self, role: Any, owner: Any, stderr: Any) -> None:
        super().__init__(role)
        made.append(self)

    def start(self, arguments: list[str]) -> None:
        pass

    def pretend(self, to: Staff, *message: Any) -> None:
        to.said(cast(Child, self), [list(message)])

    def end(self, of: Staff, returncode: int) -> None:
        self.returncode, self.state = returncode, "dead"
        of.ended(cast(Child, self))


made: list[StaffChild] = []
MANIFEST: dict[str, Any] = {"tasks": {}, "queues": ["q"], "hooks": []}


class NoWork:
    def __getattr__(self, name: str) -> Any:
        return lambda *args: None


def options(**more: Any) -> WorkerOptions:
    pools = (PoolSpec("main", "async", 4, None, 0),)
    return WorkerOptions(app="a:app", name="w", pools=pools, **more)


def quiet_log() -> tuple[Output, Log]:
    output = Output(os.open(os.devnull, os.O_WRONLY))
    return output, Log(output, "json", colour=False, clock=lambda: 0)


@contextmanager
def of_paper(monkeypatch: pytest.MonkeyPatch, **more: Any) -> Iterator[Staff]:
    made.clear()
    monkeypatch.setattr(staff, "Child", StaffChild)
    output, log = quiet_log()
    one = Staff(options(**more), cast(staff.Work, NoWork()), output, log, changed=lambda: None)
    one.fill(mono_ms())
    yield one


async def test_files_that_change_while_children_restart_are_not_missed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with of_paper(monkeypatch, reload=True) as one:
        [old] = made
        old.pretend(one, pipe.HELLO, MANIFEST)
        for _ in range(3):
            one.replace_all()
        first, second, third = made[1:]
        for child in (first, second):
            assert child.killed
            child.end(one, -9)
        assert not third.killed
        third.pretend(one, pipe.HELLO, MANIFEST)
        assert old.left, "the one with the code of before"
        assert one.pools["main"].main.ready == [cast(Child, third)]


async def test_a_child_that_does_not_end_when_it_has_no_jobs_is_killed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(staff, "END_S", 0.0)
    with of_paper(monkeypatch) as one:
        [old] = made
        old.pretend(one, pipe.HELLO, MANIFEST)
        one.replace_all()
        made[1].pretend(one, pipe.HELLO, MANIFEST)
        assert old.left
        assert not old.killed
        await asyncio.get_running_loop().create_task(asyncio.sleep(0.001))
        assert old.killed
        assert not made[1].killed


async def test_a_child_that_is_killed_from_outside_while_it_starts_does_not_end_the_worker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with of_paper(monkeypatch) as one:
        made[0].end(one, -signal.SIGKILL)
        assert not one.first.done()
        one.fill(one.alarm_ms)
        made[1].end(one, 3)
        assert one.first.done()


async def test_a_worker_whose_app_does_not_start_waits_without_turning_round_and_round() -> None:
    worker = Worker(options(reload=True), *quiet_log())
    for crew in worker.staff.pools["main"].crews:
        crew.wait_for_change()
    worker._turn()
    assert worker._alarm_ms > mono_ms() + 60_000
    assert worker._alarm is not None
    worker._alarm.cancel()


# -- real ones ------------------------------------------------------------------------------------


def test_text_in_the_pipe_ends_the_process_and_does_not_wait_for_more(
    client: Client, start: StartWorker
) -> None:
    start("-c", "2")
    job = sample_app.writes_into_the_pipe.using(max_attempts=1).enqueue()
    eventually(lambda: client.get(job.id).history, 20)
    assert client.get(job.id).history[-1].outcome == "crashed"
    assert sample_app.in_thread.enqueue(1).result()[0] == 1


def test_what_children_have_started_ends_when_the_worker_is_killed(
    client: Client, start: StartWorker, tmp_path: Path
) -> None:
    worker = start("-c", "2")
    path = tmp_path / "pids"
    sample_app.starts_a_program.enqueue(str(path))
    eventually(lambda: lines_of(path))
    pid = int(lines_of(path)[0])
    assert not is_gone(pid)
    worker.process.kill()
    eventually(lambda: is_gone(pid))
