"""The whole engine against a plain model: hypothesis looks for a history where they part.

Every rule does something through the engine's door, tells the model, and afterwards all
counts, all listings and every single job must be what the model says. Half-done commits
and crashes are rules too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from tests.engine.plain_model import (
    DEAD,
    ENDED,
    LEASE_MS,
    LEASED,
    WAITING,
    JobModel,
    Model,
    QueueModel,
)
from tests.support.world import MONO_MS, WALL_MS, World

SECOND_MS, HOUR_MS = 1_000, 3_600_000
queues = st.sampled_from(["disk", "kept", "fast"])
delays = st.sampled_from([0, 0, 0, 1, 1_000, 45_000, 2 * HOUR_MS])
crashes = st.sampled_from(["no", "no", "no", "no", "before landing", "after landing"])
Apply = Callable[[Any], None]


def has_leased(machine: Any) -> bool:
    """Whether a worker holds a job."""
    return machine.pick(0, LEASED) is not None


def has_dead(machine: Any) -> bool:
    """Whether there is a dead letter."""
    return machine.pick(0, DEAD) is not None


class Broker(RuleBasedStateMachine):
    """Engine and model, side by side."""

    @initialize(seed=st.integers(0, 1000), window=st.sampled_from([300, 2_000, 1 << 20]))
    def begin(self, seed: int, window: int) -> None:
        self.world = World(seed=seed, window_bytes_max=window)
        self.model = Model(wall_ms=WALL_MS, mono_ms=MONO_MS)
        self.sent: list[tuple[list[object], Any]] = []
        self.add_queue("disk", QueueModel(retry_ms=7_000))
        self.add_queue("kept", QueueModel(retention_ms=HOUR_MS, retry_ms=45_000, max_jobs=12))
        self.add_queue("fast", QueueModel(durability="memory", retry_ms=1_000))
        self.batches, self.durable_clock_ms = self.world.batches, WALL_MS

    def add_queue(self, name: str, queue: QueueModel) -> None:
        self.model.queues[name] = queue
        self.world.create(
            name,
            durability=queue.durability,
            retention_ms=queue.retention_ms,
            ended_retention_ms=HOUR_MS,
            max_jobs=queue.max_jobs,
            retry=["fixed", queue.retry_ms, 0.0],
        )

    # ---- doing -----------------------------------------------------------------------------

    def do(self, op: str, args: object, apply: Apply, crash: str = "no") -> None:
        """Carries out a request and tells the model, unless a crash comes before it counts."""
        world = self.world
        request = world.send(op, args)
        if crash == "no":
            world.turn()
            apply(world.result(request))
            self.note_commits()
            return
        sealed = world.seal()
        if crash == "after landing" or world.answered(request):
            if sealed is not None:
                world.land()
                self.note_commits()
            bodies = {r.request_id: r.body for r in (sealed.replies if sealed else [])}
            body = world.result(request) if world.answered(request) else bodies[request]
            apply(body)
        self.restart()

    def note_commits(self) -> None:
        """The broker's clock is as durable as the last batch that landed."""
        if self.world.batches > self.batches:
            self.durable_clock_ms = self.model.wall_ms
        self.batches = self.world.batches

    def restart(self) -> None:
        self.world.mono_ms += 1_000_000
        self.world.crash()
        # Its worker comes back with the same session, and holds what it held.
        self.world.open("worker", resume=True)
        self.batches, self.model.wall_ms = self.world.batches, self.durable_clock_ms
        self.model.restart(self.world.mono_ms)
        self.world.turn()
        self.model.read_clocks(self.world.wall_ms, self.world.mono_ms)
        self.note_commits()

    def pick(self, index: int, *states: str) -> JobModel | None:
        found = [job for job in self.model.jobs.values() if job.state in states]
        return found[index % len(found)] if found else None

    # ---- rules -----------------------------------------------------------------------------

    @rule(
        queue=queues, count=st.integers(1, 4), priority=st.sampled_from([0, 128, 255]),
        delay_ms=delays, max_attempts=st.integers(1, 4), crash=crashes,
        unique=st.sampled_from([None, None, None, "u1", "u2"]),
        expires_ms=st.sampled_from([None, None, 500, 50_000, 3 * HOUR_MS]), take=st.integers(0, 4),
    )  # fmt: skip
    def enqueue(
        self, queue: str, count: int, priority: int, delay_ms: int, max_attempts: int, crash: str,
        unique: str | None, expires_ms: int | None, take: int,
    ) -> None:  # fmt: skip
        model, limit = self.model, self.model.queues[queue].max_jobs
        held = model.holder(queue, unique) if unique else None
        if unique is not None:
            count = 1
        unfinished = sum(job.queue == queue and job.unfinished for job in model.jobs.values())
        if held is None and limit and unfinished + count > limit:
            return
        options: dict[str, Any] = {
            "priority": priority, "delay_ms": delay_ms, "max_attempts": max_attempts,
            "unique": unique, "expires_in_ms": expires_ms,
        }  # fmt: skip
        given = {name: value for name, value in options.items() if value is not None}
        identity: dict[str, Any] = {"producer": bytes(16), "sequence": len(self.sent) + 1}
        args = self.world.enqueue_args(queue, count, **given, **identity)

        def apply(result: Any) -> None:
            ids, existing = result
            if self.model.queues[queue].durability == "disk":
                self.sent.append((args, [list(ids), existing]))
            else:
                self.sent.append(([], None))
            assert (held is not None) == (existing is not None)
            if held is not None:
                assert list(ids) == [held.id]
                return
            expires_at_ms = None if expires_ms is None else model.wall_ms + expires_ms
            at_ms = model.wall_ms + delay_ms
            for job_id in ids:
                model.add(job_id, queue, priority, at_ms, max_attempts, unique, expires_at_ms)

        self.do("enqueue", args, apply, crash)
        if take:
            self.take([queue], take)

    @precondition(lambda self: self.sent)
    @rule(index=st.integers(0, 50))
    def repeat_an_enqueue(self, index: int) -> None:
        args, reply = self.sent[index % len(self.sent)]
        if not args:
            return

        def apply(result: Any) -> None:
            assert result == reply

        self.do("enqueue", args, apply)

    @rule(
        wanted=st.lists(queues, min_size=1, max_size=3, unique=True), most=st.integers(1, 6),
        auto_ack=st.sampled_from([False, False, False, True]), crash=crashes,
    )  # fmt: skip
    def reserve(self, wanted: list[str], most: int, auto_ack: bool, crash: str) -> None:
        self.take(wanted, most, auto_ack, crash)

    def take(self, wanted: list[str], most: int, auto_ack: bool = False, crash: str = "no") -> None:
        model = self.model
        ready = model.ready(wanted)[:most]

        def apply(result: Any) -> None:
            got = [(row[0], row[1], row[2], *row[7:]) for row in result]
            assert got == [
                (job.id, job.attempt + 1, job.queue, job.used, *([job.past] if job.past else []))
                for job in ready
            ]
            for job in ready:
                job.attempt += 1
                model.lease(job)
                if auto_ack:
                    model.end(job, "succeeded")

        self.do("reserve", [wanted, most, 0, LEASE_MS, auto_ack], apply, crash)

    @rule(queue=queues, count=st.integers(1, 3), most=st.integers(1, 3), crash=crashes)
    def hand_over_in_one_batch(self, queue: str, count: int, most: int, crash: str) -> None:
        model, world = self.model, self.world
        if model.ready([queue]) or model.queues[queue].paused or model.queues[queue].max_jobs:
            return
        waiting = world.send_reserve(queue, most, wait_ms=60_000, lease_ms=LEASE_MS)
        world.turn()
        ids: list[bytes] = []

        def apply(result: Any) -> None:
            ids.extend(result[0])
            for job_id in ids:
                model.add(job_id, queue, 128, model.wall_ms, 5, None, None)
            for job_id in ids[:most]:
                model.jobs[job_id].attempt = 1
                model.lease(model.jobs[job_id])

        self.do("enqueue", world.enqueue_args(queue, count), apply, crash)
        if crash == "no":
            got = [(job.id, job.attempt) for job in world.jobs_of(waiting)]
            assert got == [(job_id, 1) for job_id in ids[:most]]

    @precondition(has_leased)
    @rule(index=st.integers(0, 50), result=st.sampled_from([None, b"", b"done"]), crash=crashes)
    def ack(self, index: int, result: bytes | None, crash: str) -> None:
        job = self.pick(index, LEASED)
        if job is None:
            return

        def apply(outcomes: Any) -> None:
            assert list(outcomes) == [0]
            job.history = min(20, job.history + 1)
            self.model.end(job, "succeeded", result)

        self.do("ack", [[[job.id, job.attempt, result]]], apply, crash)

    @precondition(has_leased)
    @rule(
        index=st.integers(0, 50), kind=st.sampled_from(["failed", "timeout", "crashed"]),
        retry_in_ms=st.sampled_from([None, None, 1_000, 0]), crash=crashes,
        dead=st.sampled_from([False, False, True]),
    )  # fmt: skip
    def fail(self, index: int, kind: str, retry_in_ms: int | None, dead: bool, crash: str) -> None:
        job = self.pick(index, LEASED)
        if job is None:
            return

        def apply(outcomes: Any) -> None:
            state = self.model.fail(job, kind, retry_in_ms, dead)
            assert outcomes[0][1]["state"] == state

        details = {"kind": kind, "retry_in_ms": retry_in_ms, "dead": dead}
        self.do("fail", [[[job.id, job.attempt, details]]], apply, crash)

    @precondition(has_leased)
    @rule(index=st.integers(0, 50), delay_ms=delays, crash=crashes)
    def release(self, index: int, delay_ms: int, crash: str) -> None:
        job = self.pick(index, LEASED)
        if job is None:
            return

        def apply(outcomes: Any) -> None:
            assert list(outcomes) == [0]
            self.model.release(job, delay_ms)

        self.do("release", [[[job.id, job.attempt, delay_ms]]], apply, crash)

    @precondition(has_leased)
    @rule(
        index=st.integers(0, 50), crash=crashes, then=st.sampled_from(["", "", "release", "ack"]),
        told=st.fixed_dictionaries({}, optional={
            "checkpoint": st.binary(max_size=3), "log": st.lists(st.just("line"), max_size=15),
            "progress": st.tuples(st.integers(0, 9), st.none(), st.none()).map(list),
        }),
    )  # fmt: skip
    def note(self, index: int, told: dict[str, Any], crash: str, then: str) -> None:
        job = self.pick(index, LEASED)
        if job is None:
            return

        def apply(outcomes: Any) -> None:
            assert list(outcomes) == [0]
            self.model.note(job, told)

        # What follows in the same batch must meet the note.
        if then and crash == "no":
            request = self.world.send("note", [[[job.id, job.attempt, told]]])
            then_request = self.world.send(then, [[[job.id, job.attempt]]])
            self.world.turn()
            apply(self.world.result(request))
            assert self.world.result(then_request) == [0]
            if then == "ack":
                job.history = min(20, job.history + 1)
                self.model.end(job, "succeeded")
            else:
                self.model.release(job, 0)
            self.note_commits()
        else:
            self.do("note", [[[job.id, job.attempt, told]]], apply, crash)

    @precondition(has_leased)
    @rule(keep=st.sets(st.integers(0, 5)))
    def keep_some_leases(self, keep: set[int]) -> None:
        held = [job for job in self.model.jobs.values() if job.state == LEASED]
        kept = [job for place, job in enumerate(held) if place in keep]
        given_back = [job for job in held if job not in kept]

        def apply(result: Any) -> None:
            assert result == {"released": len(given_back)}
            # Those that end first go back first, those of disk queues before all others.
            given_back.sort(key=lambda job: (job.leased_until_ms, job.lease_order))
            for durability in ("disk", "memory"):
                for job in given_back:
                    if self.model.queues[job.queue].durability == durability:
                        self.model.release(job, 0)

        self.do("keep", [[[job.id, job.attempt] for job in kept]], apply)

    @precondition(has_leased)
    @rule(index=st.integers(0, 50))
    def extend(self, index: int) -> None:
        job = self.pick(index, LEASED)
        if job is None:
            return

        def apply(outcomes: Any) -> None:
            assert list(outcomes) == [[0, {"cancel": True}] if job.cancel_asked else 0]
            self.model.lease(job)

        self.do("extend", [[[job.id, job.attempt]]], apply)

    @precondition(has_leased)
    @rule(
        index=st.integers(0, 50), op=st.sampled_from(["ack", "fail", "release", "extend", "note"])
    )
    def settle_a_stale_attempt(self, index: int, op: str) -> None:
        job = self.pick(index, LEASED)
        if job is None:
            return

        def apply(outcomes: Any) -> None:
            assert outcomes[0][:2] == [1, "LEASE_LOST"]

        self.do(op, [[[job.id, job.attempt + 1]]], apply)

    @rule(index=st.integers(0, 50), crash=crashes)
    def cancel(self, index: int, crash: str) -> None:
        job = self.pick(index, WAITING, LEASED, DEAD, *ENDED)
        if job is None:
            return

        def apply(outcomes: Any) -> None:
            if job.state == WAITING:
                assert outcomes[0][:2] == [0, {"state": "cancelled"}]
                self.model.end(job, "cancelled")
            elif job.state == LEASED:
                assert outcomes[0][:2] == [0, {"state": "leased", "asked": True}]
                job.cancel_asked = True
            else:
                assert outcomes[0][:2] == [1, "JOB_NOT_FOUND"]

        self.do("cancel", [[job.id]], apply, crash)

    @precondition(has_dead)
    @rule(index=st.integers(0, 50), crash=crashes)
    def replay(self, index: int, crash: str) -> None:
        job = self.pick(index, DEAD)
        if job is None:
            return

        def apply(result: Any) -> None:
            [outcome] = result["outcomes"]
            assert (outcome == 0) == self.model.replay(job), outcome

        self.do("dlq.replay", {"queue": job.queue, "ids": [job.id]}, apply, crash)

    @rule(queue=queues, crash=crashes, really=st.integers(0, 3))
    def purge(self, queue: str, crash: str, really: int) -> None:
        if really:
            return

        def apply(result: Any) -> None:
            assert result == {"purged": self.model.purge(queue)}

        self.do("queue.purge", {"queue": queue}, apply, crash)

    @rule(queue=queues, really=st.integers(0, 3))
    def pause_or_resume(self, queue: str, really: int) -> None:
        pause = not self.model.queues[queue].paused
        if pause and really:
            return

        def apply(result: Any) -> None:
            assert result["settings"]["paused"] is pause
            self.model.queues[queue].paused = pause

        self.do("queue.pause" if pause else "queue.resume", {"queue": queue}, apply)

    @rule(ms=st.sampled_from([1, SECOND_MS, LEASE_MS - 1, LEASE_MS, 50_000, HOUR_MS]))
    def time_passes(self, ms: int) -> None:
        end_ms = self.world.mono_ms + ms
        while True:
            wait_ms = self.model.next_event_ms()
            left_ms = end_ms - self.world.mono_ms
            step_ms = left_ms if wait_ms is None else min(left_ms, wait_ms)
            self.world.pass_time(step_ms)
            self.model.read_clocks(self.world.wall_ms, self.world.mono_ms)
            self.note_commits()
            if step_ms == left_ms:
                return

    @rule(ms=st.sampled_from([-5_000, -100, 100, 5_000, 2 * HOUR_MS]))
    def the_wall_clock_is_set(self, ms: int) -> None:
        slack_ms = 10_000
        self.world.wall_ms = max(self.world.wall_ms + ms, self.model.wall_ms - slack_ms)
        self.world.turn()
        self.model.read_clocks(self.world.wall_ms, self.world.mono_ms)
        self.note_commits()

    @rule()
    def the_broker_is_killed(self) -> None:
        self.restart()

    # ---- what must be true -----------------------------------------------------------------

    @invariant()
    def counts_are_what_the_model_counts(self) -> None:
        for queue in self.model.queues:
            assert self.world.counts(queue) == self.model.counts(queue), queue
            self.note_commits()

    @invariant()
    def every_job_is_as_the_model_says(self) -> None:
        for job in self.model.jobs.values():
            info, wanted = self.world.get(job.id), self.model.info(job)
            assert {name: info[name] for name in wanted} == wanted
            assert len(info["history"]) == job.history

    def teardown(self) -> None:
        for queue in self.model.queues:
            for state in ("ready", "scheduled", "retrying", "leased", "dead", *ENDED):
                shown = {job["id"] for job in self.world.peek(queue, state, limit=3)}
                assert shown == {
                    job.id
                    for job in self.model.jobs.values()
                    if job.queue == queue and self.model.shown(job) == state
                }, (queue, state)
