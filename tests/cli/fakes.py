"""A broker that is only its answers, and a way to run the command line against it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, cast

from click.testing import CliRunner, Result

from tenure.cli.app import cli
from tenure.cli.session import Session
from tenure.client import Client
from tenure.fleet import WorkerInfo, worker_info
from tenure.info import (
    AttemptRecord,
    Backup,
    Chore,
    DeadGroup,
    DeadGroups,
    JobInfo,
    JobPage,
    QueueInfo,
)
from tenure.jobs import Enqueued, NewJob, Outcome, enqueued
from tenure_protocol.body import MSGPACK, encode_body
from tenure_protocol.errors import JobNotFound, QueueNotFound, WorkerNotFound
from tenure_protocol.ids import encode_id
from tenure_protocol.wire import pack

NOW_MS = 1_795_000_000_000
STATES = ("ready", "scheduled", "retrying", "leased", "dead", "succeeded", "cancelled", "expired")


def job_id(number: int) -> str:
    return encode_id(number.to_bytes(16, "big"))


def make_queue(name: str, *, settings: dict[str, Any] | None = None, **counts: int) -> QueueInfo:
    return QueueInfo(
        name=name,
        settings={
            "lease_ms": 30_000,
            "max_attempts": 5,
            "retry": ["exponential", 1000, 4.0, 3_600_000, 0.2],
            "priority": 128,
            "max_jobs": 0,
            "max_bytes": 0,
            "retention_ms": 0,
            "ended_retention_ms": 86_400_000,
            "dead_retention_ms": 0,
            "dlq": True,
            "poison_after": 3,
            "durability": "disk",
            "paused": False,
            **(settings or {}),
        },
        created_at_ms=NOW_MS - 86_400_000,
        counts={state: counts.get(state, 0) for state in STATES},
        jobs=sum(counts.get(state, 0) for state in STATES[:4]),
        bytes=1_258_291,
        oldest_ready_age_ms=130_000 if counts.get("ready") else None,
        waiting_reserves=0,
        rates={"enqueued": 210.0, "leased": 195.0, "ended": 195.2},
        backlog_seconds=6.5,
        totals={"enqueued": 12_345, "succeeded": 11_000},
    )


def make_job(
    number: int,
    *,
    task: str = "send_email",
    payload: object = None,
    body: bytes | None = None,
    **fields: Any,
) -> JobInfo:
    job = JobInfo(
        id=job_id(number),
        queue="mail",
        state="ready",
        body_bytes=encode_body(task, pack(payload), None, MSGPACK) if body is None else body,
        priority=128,
        ready_at_ms=NOW_MS,
        enqueued_at_ms=NOW_MS,
        expires_at_ms=None,
        origin="web@10.0.0.7:50123",
        attempt=0,
        max_attempts=5,
        lease_ms=30_000,
        failures=0,
        timeouts=0,
        lost=0,
        released=0,
        unique=None,
        worker=None,
        leased_until_ms=None,
        cancel_asked=False,
        history=(),
        result_bytes=None,
        ended_at_ms=None,
        reason=None,
        durability="disk",
    )
    return replace(job, **fields)


def make_dead_job(number: int, error_type: str = "TimeoutError", **fields: Any) -> JobInfo:
    past = AttemptRecord(
        attempt=5,
        started_at_ms=NOW_MS,
        ended_at_ms=NOW_MS + 1_200,
        worker="web-3/812",
        outcome="failed",
        error_type=error_type,
        message="Connection unexpectedly closed",
        traceback=f'Traceback:\n  File "mail.py", line 3\n{error_type}',
    )
    given = {"state": "dead", "reason": "attempts", "failures": 5, "attempt": 5, **fields}
    return make_job(number, history=(past,), ended_at_ms=NOW_MS + 1_200, **given)


@dataclass
class FakeClient:
    """Answers like `tenure.Client` from what the test put in; keeps what it was asked."""

    queue_infos: list[QueueInfo] = field(default_factory=list)
    jobs: list[JobInfo] = field(default_factory=list)
    groups: DeadGroups = field(default_factory=lambda: DeadGroups([], complete=True))
    chore_looks: list[Chore] = field(default_factory=list)
    stats_fields: dict[str, Any] = field(default_factory=dict)
    worker_infos: list[WorkerInfo] = field(default_factory=list)
    error: Exception | None = None
    taken: int | None = None
    """How many jobs `enqueue_many` takes in all before it raises `error`; None: all."""
    page_jobs_max: int = 1_000
    calls: list[tuple[Any, ...]] = field(default_factory=list)
    enqueued: list[NewJob] = field(default_factory=list)
    server: None = None
    closed: bool = False

    def _asked(self, *call: Any) -> None:
        self.calls.append(call)
        if self.error is not None and self.taken is None:
            raise self.error

    def asked_for(self, operation: str) -> list[tuple[Any, ...]]:
        return [call[1:] for call in self.calls if call[0] == operation]

    def close(self) -> None:
        self.closed = True

    def ping(self) -> float:
        self._asked("ping")
        return 0.001

    def stats(self) -> dict[str, Any]:
        self._asked("stats")
        return {
            "server": "tenure 0.1.0",
            "started_at_ms": NOW_MS - 11_520_000,
            "now_ms": NOW_MS,
            "queues": len(self.queue_infos),
            "connections": 12,
            "sessions": 10,
            "leases": 32,
            "waiting_reserves": 4,
            "jobs": sum(info.jobs for info in self.queue_infos),
            "store": {"used_bytes": 1 << 30, "max_bytes": 20 << 30, "full": False},
            "commit": {"batches": 9, "p50_us": 400, "p99_us": 2_100},
            "damaged": 0,
            "draining": False,
            **self.stats_fields,
        }

    def queues(self, prefix: str | None = None) -> list[QueueInfo]:
        self.calls.append(("queues", prefix))
        return [info for info in self.queue_infos if info.name.startswith(prefix or "")]

    def queue(self, queue: str) -> QueueInfo:
        self._asked("queue", queue)
        for info in self.queue_infos:
            if info.name == queue:
                return info
        raise QueueNotFound(f"there is no queue {queue!r}")

    def create_queue(self, queue: str, **settings: Any) -> QueueInfo:
        self._asked("create_queue", queue, settings)
        return make_queue(queue, settings={"durability": settings.get("durability", "disk")})

    def configure_queue(self, queue: str, **settings: Any) -> QueueInfo:
        self._asked("configure_queue", queue, settings)
        return self.queue(queue)

    def pause_queue(self, queue: str) -> QueueInfo:
        self._asked("pause_queue", queue)
        return self.queue(queue)

    def resume_queue(self, queue: str) -> QueueInfo:
        self._asked("resume_queue", queue)
        return self.queue(queue)

    def purge_queue(self, queue: str) -> int:
        self._asked("purge_queue", queue)
        return 3

    def delete_queue(self, queue: str, *, force: bool = False) -> int:
        self._asked("delete_queue", queue, force)
        return 7

    def _page(self, jobs: list[JobInfo], limit: int, cursor: bytes | None) -> JobPage:
        start = int.from_bytes(cursor or b"", "big")
        end = start + min(limit, self.page_jobs_max)
        return JobPage(jobs[start:end], end.to_bytes(2, "big") if end < len(jobs) else None)

    def peek(
        self,
        queue: str,
        state: str = "ready",
        *,
        limit: int = 100,
        cursor: bytes | None = None,
        bodies: bool = True,
    ) -> JobPage:
        self._asked("peek", queue, state, limit)
        self.queue(queue)
        found = [job for job in self.jobs if job.queue == queue and job.state == state]
        return self._page(found, limit, cursor)

    def dead_jobs(
        self,
        queue: str,
        *,
        limit: int = 100,
        cursor: bytes | None = None,
        bodies: bool = True,
        **matching: Any,
    ) -> JobPage:
        self._asked("dead_jobs", queue, matching)
        wanted = matching.get("error_type")
        found = [job for job in self.jobs if job.state == "dead"]
        found = [job for job in found if wanted is None or job.error_type == wanted]
        return self._page(found, limit, cursor)

    def dead_groups(self, queue: str) -> DeadGroups:
        self._asked("dead_groups", queue)
        return self.groups

    def get(self, job_id: str) -> JobInfo:
        self._asked("get", job_id)
        for job in self.jobs:
            if job.id == job_id:
                return job
        raise JobNotFound(f"there is no job {job_id}")

    def wait(self, job_id: str, timeout: float = 60) -> JobInfo:
        self._asked("wait", job_id, timeout)
        return self.get(job_id)

    def cancel(self, job_ids: Iterable[str]) -> list[Outcome]:
        self._asked("cancel", list(job_ids))
        known = {job.id for job in self.jobs}
        return [_outcome(each, each in known, {"state": "cancelled"}) for each in job_ids]

    def _by_id_or_chore(
        self, operation: str, queue: str, ids: list[str] | None, options: dict[str, Any]
    ) -> list[Outcome] | int:
        self._asked(operation, queue, ids, options)
        if ids is None:
            return 7
        dead = {job.id for job in self.jobs if job.state == "dead"}
        return [_outcome(each, each in dead, {}) for each in ids]

    def replay(
        self, queue: str, ids: list[str] | None = None, **options: Any
    ) -> list[Outcome] | int:
        return self._by_id_or_chore("replay", queue, ids, options)

    def purge_dead(
        self, queue: str, ids: list[str] | None = None, **options: Any
    ) -> list[Outcome] | int:
        return self._by_id_or_chore("purge_dead", queue, ids, options)

    def chore(self, chore: int) -> Chore:
        self._asked("chore", chore)
        return self.chore_looks.pop(0) if len(self.chore_looks) > 1 else self.chore_looks[0]

    def chores(self) -> list[Chore]:
        return self.chore_looks

    def cancel_chore(self, chore: int) -> Chore:
        self._asked("cancel_chore", chore)
        return replace(self.chore_looks[0], state="cancelled")

    def workers(self) -> list[WorkerInfo]:
        return self.worker_infos

    def worker(self, worker: str) -> WorkerInfo:
        self._asked("worker", worker)
        for info in self.worker_infos:
            if worker in (info.id, info.name):
                return info
        raise WorkerNotFound(f"there is no worker {worker!r}")

    def tell_worker(self, worker: str, do: str) -> int:
        self._asked("tell_worker", worker, do)
        self.worker(worker)
        return sum(worker in (info.id, info.name) for info in self.worker_infos)

    def worker_stacks(self, worker: str, timeout: float) -> str:
        self._asked("worker_stacks", worker, timeout)
        self.worker(worker)
        return "Thread 1:\n  line 5 \x1b[31m"

    def enqueue(self, queue: str, task: str, payload: Any = None, **options: Any) -> Enqueued:
        self._asked("enqueue", queue, task, payload, options)
        return enqueued(job_id(1), existing=options.get("unique") == "taken")

    def enqueue_many(self, queue: str, jobs: Iterable[NewJob]) -> list[str]:
        from tenure.errors import PartlyEnqueued

        many = list(jobs)
        self._asked("enqueue_many", queue, len(many))
        room = len(many) if self.taken is None else max(0, self.taken - len(self.enqueued))
        stored = many[:room]
        first = len(self.enqueued)
        self.enqueued += stored
        ids: list[str] = [job_id(first + place + 1) for place in range(len(stored))]
        if self.error is not None and room < len(many):
            if not stored:
                raise self.error
            padded = [*ids, *[None] * (len(many) - room)]
            raise PartlyEnqueued("partly", padded) from self.error
        return ids

    def drain(self, *, off: bool = False) -> bool:
        self._asked("drain", off)
        return not off

    def backup(self, name: str | None = None, *, timeout: Any = "10m") -> Backup:
        self._asked("backup", name)
        return Backup(f"/var/lib/tenure/backups/{name}", 3 << 20, 1_500)


def _outcome(each: str, ok: bool, info: dict[str, Any]) -> Outcome:
    if ok:
        return Outcome(ok=True, info=info)
    return Outcome(ok=False, error=JobNotFound(f"there is no job {each}"))


def make_worker(number: int, **fields: Any) -> WorkerInfo:
    told = {
        "worker": f"00000{number}",
        "name": "mailer",
        "host": "web-3",
        "pid": 812,
        "version": "0.2.0",
        "app": "shop:app",
        "queues": ["mail", "bulk"],
        "pools": [{"name": "main", "kind": "async"}],
        "started_at_ms": NOW_MS - 3_600_000,
        "state": "consuming",
        "busy": 1,
        "slots": 32,
        "rss_bytes": 50 << 20,
        "ready": True,
        "jobs": [[(7).to_bytes(16, "big"), 2, "send_email", "mail", NOW_MS - 5_000, "main"]],
        "done": 1_234,
        "failed": 2,
        "children": [{"pid": 813, "rss_bytes": 9}],
        "client": "web",
        "registered_at_ms": NOW_MS,
        "seen_at_ms": NOW_MS,
        **fields,
    }
    return worker_info(told)


def make_chore(**fields: Any) -> Chore:
    given = {
        "chore": 7,
        "kind": "replay",
        "queue": "mail",
        "done": 12,
        "skipped": 0,
        "limit": None,
        "rate": 50.0,
        "state": "finished",
        "started_at_ms": NOW_MS,
    }
    return Chore(**{**given, **fields})


def make_group(count: int, error_type: str) -> DeadGroup:
    return DeadGroup(
        task="send_email",
        error_type=error_type,
        reason="attempts",
        count=count,
        first_at_ms=NOW_MS - 3_600_000,
        last_at_ms=NOW_MS - 60_000,
        example=job_id(9),
    )


def run(
    *words: str,
    client: FakeClient | None = None,
    interactive: bool = False,
    stdin: str | bytes | None = None,
    env: dict[str, str | None] | None = None,
) -> Result:
    """Run `tenure words…` against a fake broker."""
    fake = FakeClient() if client is None else client
    session = Session(
        open_client=lambda _url, _timeout_s, _patient: cast(Client, fake),
        is_interactive=lambda: interactive,
    )
    surroundings = {"TENURE_URL": None, "TENURE_OUTPUT": None, "TENURE_DEBUG": None, **(env or {})}
    return CliRunner().invoke(
        cli, list(words), obj=session, input=stdin, env=surroundings, prog_name="tenure"
    )
