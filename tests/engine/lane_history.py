"""Random histories of the engine against a plain model of what a queue is.

The model keeps every job in a dict and sorts when asked; it knows nothing of windows,
horizons or counts. Commits are late on purpose: a batch is sealed, lands in the store and
is announced at three different moments, and a crash may come between any two.

Two things of the engine's inside are part of the model, because they decide in which
batch a job may be given again: a job put back for the first time is rewritten in place
(and waits for the announcement), later ones are not; and a wall clock that steps back by
less than `CLOCK_SLACK_MS` is held.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any

from tenure_server.engine.core import CLOCK_SLACK_MS
from tenure_server.engine.types import Reply
from tenure_storage.store import JOBS, LANES, LEASES, STATES
from tests.engine.lane_jobs import QUEUES, Job, Model, changed_nothing, collapsed, done, told
from tests.support.world import WALL_MS, World

SECOND = 1_000
LEASE_MS = 30 * SECOND
PURGE_WEIGHT = 0.5
ROW_BYTES_MAX = 400
"""No job of a history takes more in a window."""


class History:
    """One random history. `run` raises AssertionError where engine and model part."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        budget = self.random.choice([300, 700, 1_500, 4_000])
        self.world = World(seed=seed, window_bytes_max=budget)
        self.budget = budget
        self.steady = seed % 2 == 0
        """Whether the wall clock never makes a large step back, so that counts are exact."""
        self.depth = self.random.choice([1, 1, 3])
        self.model = Model(clock_ms=WALL_MS)
        self.order = 0
        self.expected: dict[int, Callable[[Any], None]] = {}
        self.settings = {
            "retry": ["fixed", 0, 0.0],
            "poison_after": 0,
            "max_attempts": 1_000,
            "ended_retention_ms": 0,
            "lease_ms": LEASE_MS,
        }
        for queue in QUEUES:
            self.world.create(queue, **self.settings)
        self.forget_batches()
        self.durable = copy.deepcopy(self.model)
        self.sealed: list[Model] = []

    # ---- time and commits ----------------------------------------------------------------

    def forget_batches(self) -> None:
        self.open_batch, self.announced = 1, 0

    @property
    def now_ms(self) -> int:
        return self.model.clock_ms

    def step_clock(self) -> None:
        """Time passes, or the wall clock is set."""
        world, rng = self.world, self.random
        passed = rng.choice([0, 0, 1, 1, 3, 20]) * SECOND
        world.mono_ms += passed
        world.wall_ms += passed
        if rng.random() < 0.1:
            world.wall_ms -= rng.choice([1, 5] if self.steady else [1, 5, 40]) * SECOND
        if self.steady:
            world.wall_ms = max(world.wall_ms, self.model.clock_ms - CLOCK_SLACK_MS)
        self.read_clock()
        for _ in range(100):
            if not world.tick_if_due():
                return
            self.run_out()
        raise AssertionError("the engine's alarm never stops")

    def read_clock(self) -> None:
        wall_ms = self.world.wall_ms
        held = 0 <= self.model.clock_ms - wall_ms <= CLOCK_SLACK_MS
        self.model.clock_ms = self.model.clock_ms if held else wall_ms

    def run_out(self) -> None:
        """Leases whose time is over; those that end together may come back in any order."""
        over: dict[int, list[Job]] = {}
        for job in self.model.jobs:
            if job.leased_until_ms is not None and job.leased_until_ms <= self.world.mono_ms:
                over.setdefault(job.leased_until_ms, []).append(job)
        for until_ms in sorted(over):
            first = self.order + 1
            for job in over[until_ms]:
                job.used += 1
                self.put_back(job)
                if job.order > first:
                    job.order = first

    def seal(self) -> None:
        if len(self.world.flying) >= self.depth:
            return
        sealed = self.world.seal()
        if sealed is None:
            return
        for reply in sealed.replies:
            self.check(reply)
        self.sealed.append(copy.deepcopy(self.model))
        self.open_batch += 1

    def land(self) -> None:
        if self.world.land():
            self.durable = self.sealed.pop(0)

    def announce(self) -> None:
        known = set(self.world.replies)
        if self.world.announce():
            self.announced += 1
            for request in self.world.replies.keys() - known:
                self.check(self.world.replies[request])

    def crash(self) -> None:
        world = self.world
        world.mono_ms = self.random.choice([0, world.mono_ms, 10**9])
        world.store.reset_counters()
        world.crash()
        assert world.store.rows_scanned[JOBS] == 0, "the restart read jobs"
        self.expected.clear()
        self.sealed.clear()
        self.model = copy.deepcopy(self.durable)
        self.forget_batches()
        self.read_clock()
        for job in self.model.jobs:
            job.batch = 0
            if job.leased_until_ms is not None:
                job.leased_until_ms = world.mono_ms + LEASE_MS

    # ---- what happens to a job -----------------------------------------------------------

    def move(self, job: Job, ready_at_ms: int, *, retrying: bool) -> None:
        self.order += 1
        job.ready_at_ms, job.order, job.batch = ready_at_ms, self.order, self.open_batch
        job.line = self.model.lines[job.queue]
        job.leased_until_ms, job.moved, job.retrying = None, True, retrying

    def put_back(self, job: Job) -> None:
        if job.cancel_asked:
            self.model.jobs.remove(job)
        elif job.line != self.model.lines[job.queue] or job.ready_at_ms > self.now_ms:
            self.move(job, min(job.ready_at_ms, self.now_ms), retrying=False)
        else:
            job.leased_until_ms = None
            if not job.moved or job.retrying:
                job.batch, job.moved, job.retrying = self.open_batch, True, False

    # ---- requests ------------------------------------------------------------------------

    def send(self, op: str, args: object, expect: Callable[[Any], None]) -> None:
        """Executes a request whose result must satisfy `expect` when it comes."""
        request = self.world.send(op, args)
        self.expected[request] = expect
        if request in self.world.replies:
            self.check(self.world.replies[request])

    def check(self, reply: Reply) -> None:
        assert reply.status == 0, reply.body
        expect = self.expected.pop(reply.request_id, None)
        if expect is not None:
            expect(reply.body)

    def enqueue(self) -> None:
        rng = self.random
        queue = rng.choice(QUEUES)
        count, priority = rng.choice([1, 1, 3, 10]), rng.choice([0, 128])
        delay_ms = rng.choice([0, 0, 0, 1, 2, 5, 30]) * SECOND
        jobs = []
        for _ in range(count):
            self.order += 1
            at_ms, line = self.now_ms + delay_ms, self.model.lines[queue]
            jobs.append(Job(queue, priority, at_ms, self.order, line, self.open_batch))
        self.model.jobs += jobs

        def learn(result: Any) -> None:
            assert len(result[0]) == count
            for job, job_id in zip(jobs, result[0], strict=True):
                job.id = job_id

        args = self.world.enqueue_args(queue, count, priority=priority, delay_ms=delay_ms)
        self.send("enqueue", args, learn)

    def reserve(self) -> None:
        queue, most = self.random.choice(QUEUES), self.random.randint(1, 4)
        ready = sorted(
            (
                job
                for job in self.model.jobs
                if job.queue == queue
                and job.waits
                and job.batch <= self.announced
                and job.ready_at_ms <= self.now_ms
            ),
            key=lambda job: job.place,
        )
        while most < len(ready) and ready[most - 1].place == ready[most].place:
            most += 1
        ready = ready[:most]
        wanted = []
        for job in ready:
            job.attempt += 1
            job.leased_until_ms = self.world.mono_ms + LEASE_MS
            wanted.append((job.place, job.id, job.attempt, job.used))
        wanted.sort()

        def compare(result: Any) -> None:
            places = {job_id: place for place, job_id, _, _ in wanted}
            got = [(places.get(row[0]), row[0], row[1], row[7]) for row in result]
            # Jobs that tie for a place may leave in any order among themselves.
            order = [place for place, *_ in got]
            assert order == [place for place, *_ in wanted], f"reserved {got}, not {wanted}"
            assert sorted(got) == wanted, f"reserved {got}, not {wanted}"

        self.send("reserve", [[queue], most, 0], compare)

    def settle(self) -> None:
        leased = [job for job in self.model.jobs if job.leased_until_ms is not None and job.id]
        if not leased:
            return
        job = self.random.choice(leased)
        op = self.random.choices(
            ["ack", "release", "snooze", "fail", "kill", "extend"], [4, 4, 1, 2, 1, 1]
        )[0]
        if self.random.random() < 0.15:
            refused = [job.id, job.attempt + self.random.choice([-1, 1])]
            name = {"snooze": "release", "kill": "fail"}.get(op, op)
            self.send(name, [[refused]], changed_nothing)
            return
        getattr(self, op)(job)

    def ack(self, job: Job) -> None:
        self.model.jobs.remove(job)
        self.send("ack", [[[job.id, job.attempt]]], done)

    def release(self, job: Job) -> None:
        attempt = job.attempt
        self.put_back(job)
        self.send("release", [[[job.id, attempt]]], done)

    def snooze(self, job: Job) -> None:
        delay_ms = self.random.choice([1, 5, 30]) * SECOND
        if job.cancel_asked:
            self.model.jobs.remove(job)
        else:
            self.move(job, self.now_ms + delay_ms, retrying=False)
        self.send("release", [[[job.id, job.attempt, delay_ms]]], done)

    def fail(self, job: Job) -> None:
        delay_ms = self.random.choice([0, 0, 1, 5, 30]) * SECOND
        state = "cancelled" if job.cancel_asked else "retrying"
        job.used += 1
        if job.cancel_asked:
            self.model.jobs.remove(job)
        else:
            self.move(job, self.now_ms + delay_ms, retrying=True)
        item = [job.id, job.attempt, {"retry_in_ms": delay_ms}]
        self.send("fail", [[item]], told(state))

    def kill(self, job: Job) -> None:
        state = "cancelled" if job.cancel_asked else "dead"
        if job.cancel_asked:
            self.model.jobs.remove(job)
        else:
            job.dead, job.leased_until_ms = True, None
        self.send("fail", [[[job.id, job.attempt, {"dead": True}]]], told(state))

    def extend(self, job: Job) -> None:
        job.leased_until_ms = self.world.mono_ms + LEASE_MS
        self.send("extend", [[[job.id, job.attempt]]], lambda result: None)

    def replay(self) -> None:
        dead = [job for job in self.model.jobs if job.dead]
        if dead:
            self.revive(self.random.choice(dead))

    def revive(self, job: Job) -> None:
        job.dead, job.used = False, 0
        self.move(job, self.now_ms, retrying=False)

        def compare(result: Any) -> None:
            assert result["outcomes"] == [0], result

        self.send("dlq.replay", {"queue": job.queue, "ids": [job.id]}, compare)

    def cancel(self) -> None:
        known = [job for job in self.model.jobs if job.id and not job.dead]
        if not known:
            return
        job = self.random.choice(known)
        state = "cancelled" if job.waits else "leased"
        if job.waits:
            self.model.jobs.remove(job)
        else:
            job.cancel_asked = True
        self.send("cancel", [[job.id]], told(state))

    def purge(self) -> None:
        queue = self.random.choice(QUEUES)
        dropped = [job for job in self.model.jobs if job.queue == queue and job.waits]
        self.model.jobs = [job for job in self.model.jobs if job not in dropped]
        self.model.lines[queue] += 1

        def compare(result: Any) -> None:
            assert result["purged"] == len(dropped), result

        self.send("queue.purge", {"queue": queue}, compare)

    def count(self) -> None:
        queue = self.random.choice(QUEUES)
        wanted: dict[str, int] = dict.fromkeys(
            ("ready", "scheduled", "retrying", "leased", "dead"), 0
        )
        for job in self.model.jobs:
            if job.queue == queue:
                wanted[self.state(job)] += 1

        def compare(result: Any) -> None:
            got = {state: result["counts"][state] for state in wanted}
            if not self.steady:
                got, want = collapsed(got), collapsed(wanted)
                assert got == want, f"counted {got}, not {want}"
            assert not self.steady or got == wanted, f"counted {got}, not {wanted}"

        self.send("queue.get", {"queue": queue}, compare)

    def state(self, job: Job) -> str:
        if job.dead or not job.waits:
            return "dead" if job.dead else "leased"
        if job.ready_at_ms <= self.now_ms:
            return "ready"
        return "retrying" if job.retrying else "scheduled"

    # ---- the whole -----------------------------------------------------------------------

    def run(self, steps: int = 220) -> None:
        """The history, then everything that is left comes out once and leaves nothing."""
        self.play(steps)
        self.drain()

    def play(self, steps: int) -> None:
        """The history alone."""
        actions = [
            (self.enqueue, 6), (self.reserve, 6), (self.settle, 9), (self.replay, 1),
            (self.cancel, 1), (self.purge, PURGE_WEIGHT), (self.count, 3), (self.step_clock, 6),
            (self.seal, 5), (self.land, 5), (self.announce, 5), (self.crash, 0.4),
        ]  # fmt: skip
        names, weights = zip(*actions, strict=True)
        for action in self.random.choices(names, weights, k=steps):
            action()
            window = self.world.engine.stats(self.world.now)["window_bytes"]
            assert isinstance(window, int)
            assert 0 <= window <= self.budget + ROW_BYTES_MAX * 12, window

    def settle_commits(self) -> None:
        self.depth = 1_000
        self.seal()
        while self.world.flying:
            self.land()
            self.announce()
            self.seal()
        assert not self.expected, f"{len(self.expected)} requests have no reply"

    def drain(self) -> None:
        world = self.world
        self.settle_commits()
        for job in [job for job in self.model.jobs if job.dead]:
            self.revive(job)
        self.settle_commits()
        for ms in (100_000 * SECOND, 1, 1):
            world.pass_time(ms)
            self.read_clock()
            self.run_out()
        wanted = sorted(job.id for job in self.model.jobs)
        got: list[bytes] = []
        for queue in QUEUES:
            while jobs := world.reserve(queue, 7):
                got += [job.id for job in jobs]
                assert world.call("ack", [[[job.id, job.attempt] for job in jobs]])
        assert sorted(got) == wanted, f"{len(got)} of {len(wanted)} came out"
        world.live(5 * SECOND)
        for queue in QUEUES:
            info = world.queue(queue)
            assert (info["jobs"], info["bytes"], world.counts(queue)) == (0, 0, {}), info
        left = {table: world.store.count(table) for table in (JOBS, LEASES, STATES, LANES)}
        assert not any(left.values()), f"rows left behind: {left}"
