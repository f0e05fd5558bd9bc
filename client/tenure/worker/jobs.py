"""The jobs that are here: from their row to the settler, whatever happens in between."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from tenure.worker import crashes, endings, pipe
from tenure.worker.children import Child
from tenure.worker.deadlines import FAIL_AFTER_MS, STUCK_AFTER_MS, Deadlines, Stage
from tenure.worker.heartbeat import Heartbeat
from tenure.worker.held import Held
from tenure.worker.log import Log
from tenure.worker.pipe import HOST
from tenure.worker.pool import Pool

DUMP_MS = 100
"""How long a process at its hard limit has to write its stacks before it is killed."""


ALONE_DELAY_MS = 1_000
"""When a job comes again that is to run alone, and found too many others here that are, too."""


class Settles(Protocol):
    """Takes what became of jobs."""

    def ack(self, held: Held, result: bytes | None) -> None:
        """Done."""
        ...

    def fail(self, held: Held, told: dict[str, Any]) -> None:
        """Failed."""
        ...

    def release(self, held: Held, delay_ms: int | None, reason: str | None) -> None:
        """Given back."""
        ...


class Jobs:
    """Every job that this worker holds. Time comes in as an argument.

    `later` calls a function after so many milliseconds; `stuck` is told of a host whose job
    does not end, `lost` of a job whose lease is, `noted` of what a job says while it runs.
    """

    def __init__(
        self,
        settler: Settles,
        heartbeat: Heartbeat,
        log: Log,
        *,
        now: Callable[[], int],
        later: Callable[[int, Callable[[], None]], object],
        stuck: Callable[[Child], None],
        lost: Callable[[Held], None],
        noted: Callable[[Held, list[Any]], None],
    ) -> None:
        self.held: dict[int, Held] = {}
        self.deadlines = Deadlines()
        self.tasks: Mapping[str, Mapping[str, Any]] = {}
        """What the manifest says of each task."""
        self.done = 0
        self.failed = 0
        self._settler = settler
        self._heartbeat = heartbeat
        self._log = log
        self._now = now
        self._later = later
        self._stuck = stuck
        self._lost = lost
        self._noted = noted
        self._overdue: dict[int, Held] = {}
        self._next_key = 1

    def leases(self) -> list[list[Any]]:
        """[id, attempt] of every job that is here."""
        return [[held.id, held.attempt] for held in self.held.values()]

    # -- in -----------------------------------------------------------------------------

    def take(self, pool: Pool, rows: Iterable[list[Any]], now_ms: int) -> None:
        """Jobs came: give them to the children of their pool."""
        heartbeat, tasks, held_jobs = self._heartbeat, self.tasks, self.held
        main = pool.main
        for_main: list[Held] = []
        lease_ms, renew_at_ms = -1, 0
        for row in rows:
            if row[3] != lease_ms:
                lease_ms = row[3]
                renew_at_ms = heartbeat.took(lease_ms, now_ms)
            key = self._next_key
            self._next_key = key + 1
            held = Held(key, row, pool, renew_at_ms)
            held_jobs[key] = held
            pool.slots.held += 1
            crew = pool.route(held, tasks.get(held.task))
            if held.alone and crew.crowded:
                # If this worker dies too, one that waits here is suspected again for nothing.
                self._settler.release(held, ALONE_DELAY_MS, endings.ALONE_REASON)
                self._over(held)
                self._vacate(held)
            elif crew is main:
                for_main.append(held)
            else:
                crew.put([held])
        if for_main:
            main.put(for_main)

    def give_back(self, pool: Pool, rows: Iterable[list[Any]], reason: str) -> None:
        """Jobs came that are not to run here."""
        for row in rows:
            self._settler.release(Held(0, row, pool, 0), None, reason)

    def begun(self, jobs: list[Held]) -> None:
        """Jobs begin to run in their child."""
        now_ms, tasks = self._now(), self.tasks
        for held in jobs:
            held.started_ms = now_ms
            limit_ms = held.limit_ms
            if limit_ms is None:
                task = tasks.get(held.task)
                limit_ms = held.limit_ms = None if task is None else task.get("timeout_ms")
            if limit_ms:
                self.deadlines.arm(held.key, now_ms + limit_ms)
            if held.asked_to_stop is not None:
                self._stop_running(held, held.asked_to_stop)

    def said(self, held: Held, message: list[Any]) -> None:
        """What a job says while it runs: progress, log lines, a checkpoint."""
        self._noted(held, message)

    # -- out ----------------------------------------------------------------------------

    def ended(self, child: Child, key: int, code: int, data: Any) -> None:
        """A child says what became of a job."""
        held = child.jobs.pop(key, None)
        if held is None:
            return
        child.served += 1
        if not held.over:
            if code == pipe.SUCCEEDED:
                self.done += 1
                self._settler.ack(held, data)
            elif code == pipe.FAILED:
                self.failed += 1
                self._settler.fail(held, data)
            else:
                self._settler.release(held, data[0], data[1])
            self._over(held)
        elif self._overdue.pop(key, None) is not None:
            self.deadlines.disarm(key)
        self._vacate(held)

    def _over(self, held: Held) -> None:
        held.over = True
        self.held.pop(held.key, None)
        if held.limit_ms is not None:
            self.deadlines.disarm(held.key)

    def _vacate(self, held: Held) -> None:
        if held.in_slot:
            held.in_slot = False
            held.pool.slots.held -= 1

    def _fail(self, held: Held, told: dict[str, Any]) -> None:
        self.failed += 1
        self._settler.fail(held, told)
        self._over(held)

    def lease_lost(self, held: Held) -> None:
        """Somebody else may have this job by now: stop it, and drop what comes of it."""
        if not held.over:
            self._lost(held)
            self.stop(held, pipe.LEASE_LOST)

    # -- stopping one -------------------------------------------------------------------

    def stop(self, held: Held, why: str) -> None:
        """A job is cancelled, its lease is lost, or the worker's patience is at its end."""
        if held.over or held.asked_to_stop == why:
            return
        held.asked_to_stop = why
        if held.child is None:
            self._drop_waiting(held, why)
        elif held.started_ms:
            self._stop_running(held, why)
        # Else it was sent ahead of its turn: `begun` sees to it.

    def _drop_waiting(self, held: Held, why: str) -> None:
        for crew in held.pool.crews:
            if held in crew.waiting:
                crew.waiting.remove(held)
        self._settle_stopped(held, why, None)
        self._vacate(held)

    def _stop_running(self, held: Held, why: str) -> None:
        child = held.child
        assert child is not None
        if child.role == HOST:
            child.send([pipe.CANCEL, held.key, why])
            if why == pipe.LEASE_LOST:
                self._over(held)
                # It runs on if it does not hear: then its slot must not wait for it for ever.
                self._overdue[held.key] = held
                self.deadlines.arm(held.key, self._now() + STUCK_AFTER_MS, Stage.STUCK)
        elif why == pipe.TIMEOUT:
            child.doomed = f"{held.task} ran into its hard limit"
            child.dump_stacks()
            self._later(DUMP_MS, lambda: child.kill(child.doomed))
        else:
            child.kill(f"{held.task}: {why}")

    def _settle_stopped(self, held: Held, why: str, child: Child | None) -> None:
        """Say of a job that does not run any more, because we stopped it, what is true."""
        if why == pipe.SHUTDOWN:
            self._settler.release(held, None, endings.SHUTDOWN_REASON)
        elif why == pipe.TIMEOUT:
            self.failed += 1
            stacks = "" if child is None else child.last_lines
            self._settler.fail(held, endings.timeout_map(held.limit_ms, stacks))
        elif why == pipe.CANCELLED:
            self._settler.fail(held, endings.cancelled_map(ran=child is not None))
        self._over(held)

    def release_waiting(self, pools: Iterable[Pool]) -> None:
        """Give back all jobs that have not begun."""
        for pool in pools:
            for crew in pool.crews:
                waiting = list(crew.waiting)
                crew.waiting.clear()
                for held in waiting:
                    self._settler.release(held, None, endings.SHUTDOWN_REASON)
                    self._over(held)
                    self._vacate(held)

    # -- limits -------------------------------------------------------------------------

    def tick(self, now_ms: int) -> None:
        """Jobs that are at, or past, their hard limits."""
        for key, stage in self.deadlines.due(now_ms):
            held = self.held.get(key) or self._overdue.pop(key, None)
            if held is None or held.child is None:
                continue
            if held.child.role != HOST:
                self.stop(held, pipe.TIMEOUT)
            else:
                self._past_limit(held, held.child, stage, now_ms)

    def _past_limit(self, held: Held, child: Child, stage: Stage, now_ms: int) -> None:
        limit_ms = held.limit_ms or 0
        if stage == Stage.LIMIT:
            self.stop(held, pipe.TIMEOUT)
            self.deadlines.arm(held.key, now_ms + FAIL_AFTER_MS, Stage.FAIL)
        elif stage == Stage.FAIL:
            self._log.warning(
                "a job is past its hard limit and does not stop",
                task=held.task, job=held.name, limit_ms=limit_ms,
            )  # fmt: skip
            self._fail(held, endings.timeout_map(limit_ms, ""))
            self._overdue[held.key] = held
            stuck_ms = now_ms + STUCK_AFTER_MS - FAIL_AFTER_MS
            self.deadlines.arm(held.key, stuck_ms, Stage.STUCK)
        elif held.key in child.jobs:
            child.stuck.add(held.key)
            self._vacate(held)
            self._log.error(
                "a job is stuck: its process is replaced",
                task=held.task, job=held.name, pid=child.pid,
            )  # fmt: skip
            self._stuck(child)

    # -- children -----------------------------------------------------------------------

    def lost_child(self, child: Child) -> None:
        """A child is dead, after its crew was told."""
        jobs = list(child.jobs.values())
        child.jobs.clear()
        for held in jobs:
            self.deadlines.disarm(held.key)
            self._overdue.pop(held.key, None)
            held.child = None
            held.started_ms = 0
        if child.doomed is not None:
            self._after_our_kill(child, jobs)
        else:
            self._after_a_crash(child, jobs)

    def _after_our_kill(self, child: Child, jobs: list[Held]) -> None:
        unharmed: list[Held] = []
        for held in jobs:
            if held.over:
                self._vacate(held)
            elif held.asked_to_stop is not None:
                self._settle_stopped(held, held.asked_to_stop, child)
                self._vacate(held)
            else:
                unharmed.append(held)
        self._again(unharmed)

    def _after_a_crash(self, child: Child, jobs: list[Held]) -> None:
        judged = crashes.verdict(child.role, jobs)
        guilty = judged.guilty
        assert child.returncode is not None
        if jobs:
            self._log.error(
                "a child died",
                pid=child.pid, how=crashes.how_it_ended(child.returncode), jobs=len(jobs),
                task=None if guilty is None else guilty.task,
                job=None if guilty is None else guilty.name,
            )  # fmt: skip
        if guilty is not None:
            if not guilty.over:
                self._fail(guilty, crashes.crash_map(child.returncode, child.last_lines))
            self._vacate(guilty)
        for held in judged.suspects:
            held.alone = True
        self._again([*judged.suspects, *judged.unstarted])

    def _again(self, jobs: list[Held]) -> None:
        """Jobs whose process is gone, through no proven fault of theirs, run in another."""
        for held in reversed(jobs):
            if held.over:
                self._vacate(held)
            elif held.asked_to_stop is not None:
                self._settle_stopped(held, held.asked_to_stop, None)
                self._vacate(held)
            else:
                crew = held.pool.route(held, self.tasks.get(held.task))
                crew.put_first([held])
