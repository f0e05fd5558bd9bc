"""Where jobs go, what becomes of them, and who takes whose place: with children made of paper."""

from __future__ import annotations

from typing import Any, cast

import msgpack
import pytest

from tenure.settings import mono_ms
from tenure.worker import pipe
from tenure.worker.children import Child
from tenure.worker.crew import Crew
from tenure.worker.deadlines import FAIL_AFTER_MS, STUCK_AFTER_MS
from tenure.worker.heartbeat import Heartbeat
from tenure.worker.held import Held
from tenure.worker.jobs import Jobs
from tenure.worker.log import Log, Output
from tenure.worker.pipe import Role
from tenure.worker.pool import Pool
from tenure.worker.specs import PoolSpec


class PaperChild:
    """Keeps what it is told; dies when it is killed."""

    pids = iter(range(10_000, 100_000))

    def __init__(self, role: Role) -> None:
        self.role = role
        self.pid = next(self.pids)
        self.state = "starting"
        self.jobs: dict[int, Held] = {}
        self.stuck: set[int] = set()
        self.manifest: dict[str, Any] = {}
        self.served = 0
        self.started_ms = mono_ms()
        self.turn_ms = 0
        self.quick = False
        self.doomed: str | None = None
        self.broken = False
        self.successor: Child | None = None
        self.returncode: int | None = None
        self.last_lines = "last lines"
        self.told: list[list[Any]] = []
        self.left = self.killed = self.dumped = False
        self.hung_up = False

    @property
    def fit(self) -> bool:
        return self.doomed is None and not self.hung_up

    def run(self, jobs: list[Held]) -> None:
        for held in jobs:
            held.child = cast(Child, self)
            self.jobs[held.key] = held

    def send(self, message: list[Any]) -> None:
        self.told.append(message)

    def leave(self) -> None:
        self.state = "leaving"
        self.left = True

    def kill(self, why: str | None) -> None:
        self.doomed = self.doomed or why
        self.killed = True

    def dump_stacks(self) -> None:
        self.dumped = True


class Settled:
    """What was said of jobs."""

    def __init__(self) -> None:
        self.said: list[tuple[str, int, Any]] = []

    def ack(self, held: Held, result: bytes | None) -> None:
        self.said.append(("ack", held.id[0], result))

    def fail(self, held: Held, told: dict[str, Any]) -> None:
        self.said.append(("fail", held.id[0], told["error_type"]))

    def release(self, held: Held, delay_ms: int | None, reason: str | None) -> None:
        self.said.append(("release", held.id[0], reason))


class Place:
    """A pool of paper children, the jobs in it, and a clock."""

    def __init__(self, kind: Any = "async", size: int = 4, prefetch: int = 0) -> None:
        self.now_ms = 1_000
        self.started: list[PaperChild] = []
        self.settled = Settled()
        self.later: list[Any] = []
        self.stuck: list[PaperChild] = []
        self.lost: list[int] = []
        log = Log(Output(2), "json", colour=False, clock=lambda: 0)
        log._output.write = lambda data: None  # type: ignore[method-assign]
        self.jobs = Jobs(
            self.settled, Heartbeat(5_000), log,
            now=lambda: self.now_ms,
            later=lambda pause_ms, f: self.later.append(f),
            stuck=lambda child: self.stuck.append(cast(PaperChild, child)),
            lost=lambda held: self.lost.append(held.id[0]),
            noted=lambda held, message: None,
        )  # fmt: skip
        self.jobs.tasks = {
            "plain": {"executor": None},
            "process": {"executor": "process"},
            "isolated": {"executor": "isolated"},
            "limited": {"executor": None, "timeout_ms": 500},
        }
        spec = PoolSpec("main", kind, size, None, prefetch)
        self.pool = Pool(spec, self._start, self.jobs.begun)
        self.pool.fill(0)

    def _start(self, pool: Pool, role: Role) -> Child:
        child = PaperChild(role)
        self.started.append(child)
        return cast(Child, child)

    def ready(self) -> Place:
        """All that were started say hello."""
        for child in self.started:
            crew = self.pool.crew_of(cast(Child, child))
            if cast(Child, child) in crew.starting:
                crew.came(cast(Child, child))
                crew.deal()
        self.pool.count()
        return self

    def take(self, *numbers: int, task: str = "plain", lost: int = 0) -> None:
        rows: list[list[Any]] = []
        for number in numbers:
            body = msgpack.packb([task, b"", None, 1])
            row: list[Any] = [bytes([number]) * 16, 1, "q", 30_000, 0, body, 5, 0]
            rows.append([*row, {"lost": lost}] if lost else row)
        self.jobs.take(self.pool, rows, self.now_ms)

    def end(self, child: PaperChild, code: int = pipe.SUCCEEDED, data: Any = None) -> None:
        """The first job of a child ends."""
        self.jobs.ended(cast(Child, child), next(iter(child.jobs)), code, data)
        crew = self.pool.crew_of(cast(Child, child))
        if child.role != "host":
            crew.took_turn(cast(Child, child))
        crew.deal()

    def die(self, child: PaperChild, returncode: int = -9) -> None:
        child.returncode = returncode
        child.state = "dead"
        self.pool.crew_of(cast(Child, child)).gone(cast(Child, child), mono_ms())
        self.jobs.lost_child(cast(Child, child))
        self.pool.count()

    def pass_ms(self, pause_ms: int) -> None:
        self.now_ms += pause_ms
        self.jobs.tick(self.now_ms)

    def of(self, role: Role) -> list[PaperChild]:
        return [child for child in self.started if child.role == role and child.state != "dead"]

    def where(self) -> dict[int, list[int]]:
        """The jobs of each child."""
        return {
            child.pid: [held.id[0] for held in child.jobs.values()]
            for child in self.started
            if child.jobs
        }


def test_a_host_takes_all_jobs_and_gives_their_places_back_one_by_one() -> None:
    place = Place().ready()
    [host] = place.started
    assert place.pool.slots.free == 4
    place.take(1, 2, 3)
    assert place.where() == {host.pid: [1, 2, 3]}
    assert place.pool.slots.free == 1
    place.end(host, data=b"r")
    place.end(host, pipe.FAILED, {"error_type": "E"})
    place.end(host, pipe.RELEASED, [500, "snooze"])
    assert place.settled.said == [("ack", 1, b"r"), ("fail", 2, "E"), ("release", 3, "snooze")]
    assert place.pool.slots.free == 4
    assert place.jobs.held == {}


def test_nothing_is_asked_for_before_a_child_is_ready() -> None:
    place = Place()
    assert place.pool.slots.free == 0
    place.ready()
    assert place.pool.slots.free == 4
    place.die(place.started[0])
    assert place.pool.slots.free == 0


def test_tasks_go_where_their_executor_says() -> None:
    place = Place().ready()
    place.take(1)
    place.take(2, task="process")
    place.take(3, task="isolated")
    place.take(4, task="nobody knows it")
    place.ready()
    [host], [single] = place.of("host"), place.of("single")
    assert place.where()[host.pid] == [1, 4]
    assert place.where()[single.pid] == [2]
    assert [3] in [place.where().get(child.pid) for child in place.of("isolated")]


def test_after_its_first_isolated_job_a_spare_is_kept_ready() -> None:
    place = Place().ready()
    place.take(1, task="isolated")
    place.ready()
    assert len(place.of("isolated")) == 2
    place.ready()
    place.take(2, task="isolated")
    busy = [child for child in place.of("isolated") if child.jobs]
    assert len(busy) == 2, "the second one began at once"


def test_a_job_that_was_lost_before_runs_in_a_process_of_its_own() -> None:
    place = Place().ready()
    place.take(1, lost=1)
    place.ready()
    assert [1] in [place.where().get(child.pid) for child in place.of("isolated")]


def test_a_single_gets_its_next_job_when_the_last_has_ended() -> None:
    place = Place("process", 2).ready()
    first, second = place.started
    place.take(1, 2)
    assert place.where() == {first.pid: [1], second.pid: [2]}
    assert place.pool.slots.free == 0
    place.end(second)
    assert place.pool.slots.free == 1
    place.take(3)
    assert place.where() == {first.pid: [1], second.pid: [3]}


def test_prefetched_jobs_wait_here_until_jobs_prove_to_be_short() -> None:
    place = Place("process", 1, prefetch=3).ready()
    [single] = place.started
    assert place.pool.slots.free == 4
    place.take(1, 2, 3, 4)
    assert place.where() == {single.pid: [1]}
    single.turn_ms = mono_ms() - 1_000
    place.end(single)
    assert place.where() == {single.pid: [2]}, "it took a second: nothing is sent ahead"
    single.turn_ms = mono_ms()
    place.end(single)
    assert place.where() == {single.pid: [3, 4]}, "it took no time"


@pytest.mark.parametrize("kind", ["async", "thread"])
def test_a_host_runs_no_more_jobs_at_a_time_than_it_has_slots_however_many_wait(kind: str) -> None:
    place = Place(kind, 2, prefetch=2).ready()
    [host] = place.started
    assert place.pool.slots.free == 6
    place.take(1, 2, 3)
    place.take(4, 5, 6)
    assert place.where() == {host.pid: [1, 2]}
    place.end(host)
    assert place.where() == {host.pid: [2, 3]}
    place.end(host)
    place.take(7)
    assert place.where() == {host.pid: [3, 4]}, "those that waited go first"


def test_a_stuck_job_that_is_settled_takes_no_slot_of_its_host() -> None:
    place = Place("thread", 1, prefetch=1).ready()
    [host] = place.started
    place.take(1, task="limited")
    place.pass_ms(500)
    place.pass_ms(FAIL_AFTER_MS)
    place.pass_ms(STUCK_AFTER_MS)
    assert place.stuck == [host]
    place.take(2)
    assert place.where() == {host.pid: [1, 2]}


def test_when_a_host_dies_its_jobs_run_again_alone_with_the_same_lease() -> None:
    place = Place().ready()
    [host] = place.of("host")
    place.take(1, 2, 3)
    place.die(host)
    place.ready()
    assert place.settled.said == []
    assert len(place.jobs.leases()) == 3
    while place.jobs.held:
        place.ready()
        for child in place.of("isolated"):
            if child.jobs:
                assert len(child.jobs) == 1
                number = next(iter(child.jobs.values())).id[0]
                if number == 2:
                    place.die(child)
                else:
                    place.end(child)
                    place.die(child, 0)
    assert sorted(place.settled.said) == [
        ("ack", 1, None),
        ("ack", 3, None),
        ("fail", 2, "WorkerCrashed"),
    ]
    assert place.pool.slots.held == 0


def test_when_a_single_dies_only_the_job_whose_turn_it_was_fails() -> None:
    place = Place("process", 1, prefetch=3).ready()
    [single] = place.started
    single.quick = True
    place.take(1, 2, 3)
    place.die(single)
    assert place.settled.said == [("fail", 1, "WorkerCrashed")]
    place.ready()
    [other] = place.of("single")
    assert place.where() == {other.pid: [2]}
    assert place.pool.slots.held == 2


def test_a_process_at_its_hard_limit_tells_its_stacks_and_is_killed() -> None:
    place = Place("process", 1).ready()
    [single] = place.started
    place.take(1, task="limited")
    place.pass_ms(499)
    assert not single.dumped
    place.pass_ms(1)
    assert single.dumped
    assert not single.killed
    place.later.pop()()
    assert single.killed
    place.die(single)
    assert place.settled.said == [("fail", 1, "HardTimeout")]
    assert place.pool.slots.held == 0


def test_a_job_of_a_host_at_its_hard_limit_may_say_so_itself() -> None:
    place = Place().ready()
    [host] = place.started
    place.take(1, task="limited")
    place.pass_ms(500)
    assert host.told == [["cancel", 1, "timeout"]]
    place.end(host, pipe.FAILED, {"error_type": "TimeLimit"})
    assert place.settled.said == [("fail", 1, "TimeLimit")]
    place.pass_ms(60_000)
    assert place.stuck == []
    assert len(place.settled.said) == 1


def test_a_job_of_a_host_that_does_not_end_fails_then_counts_as_stuck() -> None:
    place = Place().ready()
    [host] = place.started
    place.take(1, task="limited")
    place.take(2)
    place.pass_ms(500)
    place.pass_ms(FAIL_AFTER_MS)
    assert place.settled.said == [("fail", 1, "HardTimeout")]
    assert place.pool.slots.held == 2, "its thread still runs"
    place.pass_ms(STUCK_AFTER_MS)
    assert place.stuck == [host]
    assert place.pool.slots.held == 1
    place.end(host)  # it ends after all: too late
    assert place.settled.said == [("fail", 1, "HardTimeout")]
    assert place.pool.slots.held == 1


def test_a_cancelled_job_that_waits_never_begins() -> None:
    place = Place("process", 1, prefetch=3).ready()
    place.take(1, 2)
    waiting = next(held for held in place.jobs.held.values() if held.child is None)
    place.jobs.stop(waiting, pipe.CANCELLED)
    assert place.settled.said == [("fail", 2, "Cancelled")]
    assert place.pool.slots.held == 1
    place.end(place.started[0])
    assert place.where() == {}


@pytest.mark.parametrize(
    ("why", "said"),
    [
        (pipe.CANCELLED, [("fail", 1, "Cancelled")]),
        (pipe.LEASE_LOST, []),
        (pipe.SHUTDOWN, [("release", 1, "worker shutdown")]),
    ],
)
def test_a_job_in_a_process_is_stopped_with_its_process(why: str, said: list[Any]) -> None:
    place = Place("process", 1).ready()
    [single] = place.started
    place.take(1)
    [held] = place.jobs.held.values()
    place.jobs.stop(held, why)
    assert single.killed
    assert place.settled.said == [], "nobody else may have it before it is dead"
    place.die(single)
    assert place.settled.said == said
    assert place.pool.slots.held == 0
    assert len(place.of("single")) == 1, "another takes its place"


def test_a_job_sent_ahead_of_its_turn_is_stopped_when_its_turn_comes() -> None:
    place = Place("process", 1, prefetch=3).ready()
    [single] = place.started
    single.quick = True
    place.take(1)
    place.take(2)
    second = list(place.jobs.held.values())[1]
    place.jobs.stop(second, pipe.CANCELLED)
    assert not single.killed
    place.end(single)
    assert single.killed
    place.die(single)
    assert place.settled.said == [("ack", 1, None), ("fail", 2, "Cancelled")]


def test_what_comes_of_a_lost_lease_is_dropped() -> None:
    place = Place().ready()
    [host] = place.started
    place.take(1)
    [held] = place.jobs.held.values()
    place.jobs.lease_lost(held)
    assert place.lost == [1]
    assert host.told == [["cancel", 1, "lease_lost"]]
    assert place.jobs.leases() == [], "it is not extended any more"
    assert place.pool.slots.held == 1, "its handler still runs"
    place.end(host, data=b"late")
    assert place.settled.said == []
    assert place.pool.slots.held == 0


def test_when_the_worker_ends_jobs_that_have_not_begun_go_back() -> None:
    place = Place("process", 1, prefetch=3).ready()
    place.take(1, 2, 3)
    place.jobs.release_waiting([place.pool])
    assert place.settled.said == [("release", n, "worker shutdown") for n in (2, 3)]
    assert place.pool.slots.held == 1


def test_a_child_is_replaced_without_a_gap() -> None:
    place = Place().ready()
    [old] = place.started
    crew = place.pool.main
    assert crew.replace(cast(Child, old))
    assert not crew.replace(cast(Child, old)), "once"
    place.take(1)
    assert place.where() == {old.pid: [1]}
    assert not old.left
    place.ready()
    new = place.started[1]
    assert old.left
    place.take(2)
    assert place.where() == {old.pid: [1], new.pid: [2]}
    place.end(old)
    place.die(old, 0)
    assert crew.children == [cast(Child, new)]


def test_a_successor_that_does_not_start_leaves_the_old_one_at_work() -> None:
    place = Place().ready()
    [old] = place.started
    crew = place.pool.main
    crew.replace(cast(Child, old))
    broken = place.started[1]
    broken.broken = True
    place.die(broken, 1)
    assert crew.ready == [cast(Child, old)]
    assert not crew.replace(cast(Child, old)), "not again at once"
    place.take(1)
    assert place.where() == {old.pid: [1]}


def test_children_that_die_at_their_start_are_started_again_after_longer_and_longer_pauses() -> (
    None
):
    begun: list[list[Held]] = []
    started: list[PaperChild] = []

    def start(role: Role) -> Child:
        started.append(PaperChild(role))
        return cast(Child, started[-1])

    crew = Crew("host", floor=1, most=1, ahead=0, start=start, begun=begun.append)
    now_ms = mono_ms()
    crew.fill(now_ms)
    pauses = []
    for _ in range(10):
        crew.gone(cast(Child, started[-1]), now_ms)
        alarm_ms = crew.alarm_ms
        assert alarm_ms is not None
        pauses.append(alarm_ms - now_ms)
        count = len(started)
        crew.fill(alarm_ms - 1)
        assert len(started) == count
        now_ms = alarm_ms
        crew.fill(now_ms)
        assert len(started) == count + 1
    assert pauses == sorted(pauses)
    assert pauses[0] == 100
    assert pauses[-1] == 15_000
    crew.close()
    assert crew.alarm_ms is None
    assert started[-1].killed
