"""What the broker promises, as plain Python: a dict of jobs, sorted when asked.

`Model` is told what was confirmed and when time passed; it says what must be true now.
It shares nothing with the engine. Times are milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

WAITING, LEASED, DEAD = "waiting", "leased", "dead"
ENDED = ("succeeded", "cancelled", "expired")
LEASE_MS = 30_000
POISON_AFTER = 3
ENDED_RETENTION_MS = 3_600_000
CLOCK_SLACK_MS = 10_000


@dataclass(slots=True)
class QueueModel:
    """A queue's settings that the histories vary."""

    durability: str = "disk"
    retention_ms: int = 0
    retry_ms: int = 0
    max_jobs: int = 0
    paused: bool = False
    purges: int = 0


@dataclass(slots=True)
class JobModel:
    """A job and everything that can be asked of it."""

    id: bytes
    queue: str
    priority: int
    ready_at_ms: int
    order: int
    max_attempts: int
    unique: str | None
    expires_at_ms: int | None
    state: str = WAITING
    attempt: int = 0
    failures: int = 0
    timeouts: int = 0
    lost: int = 0
    released: int = 0
    history: int = 0
    retrying: bool = False
    cancel_asked: bool = False
    leased_until_ms: int = 0
    lease_order: int = 0
    purges: int = 0
    """How often its queue had been purged when it came, or came back."""
    forget_at_ms: int = 0
    result: bytes | None = None
    reason: str | None = None
    progress: list[Any] | None = None
    log: list[str] = field(default_factory=list)
    checkpoint: bytes | None = None

    @property
    def past(self) -> dict[str, Any]:
        """What a delivery tells of earlier ones."""
        told = {"lost": self.lost or None, "checkpoint": self.checkpoint}
        return {name: value for name, value in told.items() if value is not None}

    @property
    def used(self) -> int:
        """Attempts used up."""
        return self.failures + self.timeouts + self.lost

    @property
    def unfinished(self) -> bool:
        """Whether it may still run."""
        return self.state in (WAITING, LEASED)


@dataclass(slots=True)
class Model:
    """All jobs of all queues. `wall_ms` never steps back by little, as the broker's does not."""

    wall_ms: int
    mono_ms: int
    queues: dict[str, QueueModel] = field(default_factory=dict)
    jobs: dict[bytes, JobModel] = field(default_factory=dict)
    order: int = 0

    # ---- time ----------------------------------------------------------------------------

    def read_clocks(self, wall_ms: int, mono_ms: int) -> None:
        """Takes the time, then does what it brings."""
        if not 0 <= self.wall_ms - wall_ms <= CLOCK_SLACK_MS:
            self.wall_ms = wall_ms
        self.mono_ms = mono_ms
        leased = [job for job in self.jobs.values() if job.state == LEASED]
        for job in sorted(leased, key=lambda job: (job.leased_until_ms, job.lease_order)):
            if job.leased_until_ms <= mono_ms:
                self.lose(job)
        for job in list(self.jobs.values()):
            if job.state == WAITING:
                self.expire_if_due(job)
        for job in list(self.jobs.values()):
            if job.state in ENDED and job.forget_at_ms <= self.wall_ms:
                del self.jobs[job.id]

    def expire_if_due(self, job: JobModel) -> None:
        if job.expires_at_ms is not None and job.expires_at_ms <= self.wall_ms and not job.used:
            self.end(job, "expired")

    def next_event_ms(self) -> int | None:
        """How long until time brings something, or None."""
        waits: list[int] = []
        for job in self.jobs.values():
            if job.state == LEASED:
                waits.append(job.leased_until_ms - self.mono_ms)
            elif job.state == WAITING and job.expires_at_ms is not None and not job.used:
                waits.append(job.expires_at_ms - self.wall_ms)
            elif job.state in ENDED:
                waits.append(job.forget_at_ms - self.wall_ms)
        return max(0, min(waits)) if waits else None

    # ---- what happens to a job -------------------------------------------------------------

    def end(self, job: JobModel, state: str, result: bytes | None = None) -> None:
        """It ends; kept for a while, or gone."""
        keep_ms = ENDED_RETENTION_MS
        if state == "succeeded":
            keep_ms = self.queues[job.queue].retention_ms
        if not keep_ms:
            del self.jobs[job.id]
            return
        job.state, job.result, job.forget_at_ms = state, result, self.wall_ms + keep_ms

    def die_or(self, job: JobModel) -> bool:
        """Buries a job whose attempts are used up. Whether it did."""
        if job.lost >= POISON_AFTER:
            job.state, job.reason = DEAD, "poison"
        elif job.used >= job.max_attempts:
            job.state, job.reason = DEAD, "attempts"
        return job.state == DEAD

    def close_attempt(self, job: JobModel) -> bool:
        """The lease is over. Whether that ends a job that somebody called off."""
        job.history = min(20, job.history + 1)
        job.state = WAITING
        if job.cancel_asked:
            self.end(job, "cancelled")
            return True
        return False

    def lose(self, job: JobModel) -> None:
        job.lost += 1
        if not self.close_attempt(job) and not self.die_or(job):
            self.put_back(job)

    def add(
        self,
        job_id: bytes,
        queue: str,
        priority: int,
        ready_at_ms: int,
        max_attempts: int,
        unique: str | None,
        expires_at_ms: int | None,
    ) -> None:
        """A new job."""
        assert job_id not in self.jobs
        self.order += 1
        job = JobModel(
            job_id, queue, priority, ready_at_ms, self.order, max_attempts, unique, expires_at_ms
        )
        job.purges = self.queues[queue].purges
        self.jobs[job_id] = job

    def lease(self, job: JobModel) -> None:
        """A worker has it, from now on."""
        self.order += 1
        until_ms = self.mono_ms + LEASE_MS
        if (job.state, job.leased_until_ms) != (LEASED, until_ms):
            job.lease_order = self.order
        job.state, job.leased_until_ms = LEASED, until_ms

    def put_back(self, job: JobModel) -> None:
        """It waits in its old place; or, if that was purged meanwhile, in a new one like it."""
        if job.purges != self.queues[job.queue].purges:
            self.move(job, job.ready_at_ms, retrying=False)
        job.retrying = False

    def purge(self, queue: str) -> int:
        """All that waits is gone. How many that were."""
        gone = [j for j in self.jobs.values() if j.queue == queue and j.state == WAITING]
        for job in gone:
            del self.jobs[job.id]
        self.queues[queue].purges += 1
        return len(gone)

    def move(self, job: JobModel, ready_at_ms: int, *, retrying: bool) -> None:
        job.purges = self.queues[job.queue].purges
        self.order += 1
        job.state, job.order, job.ready_at_ms = WAITING, self.order, ready_at_ms
        job.retrying = retrying

    def release(self, job: JobModel, delay_ms: int) -> None:
        job.released += 1
        if self.close_attempt(job):
            return
        if delay_ms:
            self.move(job, self.wall_ms + delay_ms, retrying=False)
        else:
            self.put_back(job)
        self.expire_if_due(job)

    def fail(self, job: JobModel, kind: str, retry_in_ms: int | None, dead: bool) -> str:
        """The state that the answer tells."""
        if kind == "timeout":
            job.timeouts += 1
        elif kind == "crashed":
            job.lost += 1
        else:
            job.failures += 1
        if self.close_attempt(job):
            return "cancelled"
        if dead:
            job.state, job.reason = DEAD, "asked"
            return DEAD
        if self.die_or(job):
            return DEAD
        pause_ms = self.queues[job.queue].retry_ms if retry_in_ms is None else retry_in_ms
        self.move(job, self.wall_ms + pause_ms, retrying=True)
        return "retrying"

    def note(self, job: JobModel, told: dict[str, Any]) -> None:
        job.checkpoint = told.get("checkpoint", job.checkpoint)
        if "progress" in told:
            job.progress = [*told["progress"], self.wall_ms]
        job.log = [*job.log, *told.get("log", [])][-20:]

    def replay(self, job: JobModel) -> bool:
        """Whether it could be: its name must be free."""
        if job.unique is not None and self.holder(job.queue, job.unique) is not None:
            return False
        job.failures = job.timeouts = job.lost = job.released = 0
        job.cancel_asked, job.expires_at_ms, job.reason = False, None, None
        self.move(job, self.wall_ms, retrying=False)
        return True

    def restart(self, mono_ms: int) -> None:
        """The broker was killed and started: what was in memory is gone, leases run in full."""
        self.mono_ms = mono_ms
        for job in list(self.jobs.values()):
            if self.queues[job.queue].durability == "memory":
                del self.jobs[job.id]
            elif job.state == LEASED:
                job.leased_until_ms = mono_ms + LEASE_MS

    # ---- what must be true -----------------------------------------------------------------

    def holder(self, queue: str, unique: str) -> JobModel | None:
        """The unfinished job under a unique name."""
        for job in self.jobs.values():
            if job.queue == queue and job.unique == unique and job.unfinished:
                return job
        return None

    def ready(self, queues: list[str]) -> list[JobModel]:
        """What a reserve on these queues gets, in order."""
        return sorted(
            (
                job
                for job in self.jobs.values()
                if job.queue in queues
                and job.state == WAITING
                and job.ready_at_ms <= self.wall_ms
                and not self.queues[job.queue].paused
            ),
            key=lambda job: (queues.index(job.queue), job.priority, job.ready_at_ms, job.order),
        )

    def shown(self, job: JobModel) -> str:
        """The state as the broker names it."""
        if job.state != WAITING:
            return job.state
        if job.ready_at_ms <= self.wall_ms:
            return "ready"
        return "retrying" if job.retrying else "scheduled"

    def counts(self, queue: str) -> dict[str, int]:
        """Jobs of a queue by state, states without any left out."""
        found: dict[str, int] = {}
        for job in self.jobs.values():
            if job.queue == queue:
                found[self.shown(job)] = found.get(self.shown(job), 0) + 1
        return found

    def info(self, job: JobModel) -> dict[str, Any]:
        """What `get` must show, of the fields that the model knows."""
        return {
            "id": job.id,
            "queue": job.queue,
            "state": self.shown(job),
            "priority": job.priority,
            "attempt": job.attempt,
            "max_attempts": job.max_attempts,
            "failures": job.failures,
            "timeouts": job.timeouts,
            "lost": job.lost,
            "released": job.released,
            "unique": job.unique,
            "result": job.result,
            "progress": job.progress,
            "log": job.log,
            "checkpoint": job.checkpoint,
            "durability": self.queues[job.queue].durability,
            **({"ready_at_ms": job.ready_at_ms} if job.unfinished else {}),
            **({"reason": job.reason} if job.state == DEAD else {}),
        }
