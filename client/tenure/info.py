"""What the broker tells about jobs, queues, dead letters, chores and itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from tenure.codecs import decode_result, decode_value
from tenure.jobs import parse_body
from tenure.options import datetime_of
from tenure_protocol.body import Body, HeaderValue
from tenure_protocol.ids import encode_id

ENDED_STATES = frozenset({"succeeded", "dead", "cancelled", "expired"})
"""The states that a job does not leave by itself."""


class Progress(NamedTuple):
    """How far a job is: `n` of `total` if that is known, what it does, and since when."""

    n: float
    total: float | None
    message: str | None
    at_ms: int


class AttemptRecord(NamedTuple):
    """One attempt in the history of a job. Times are the broker's, in ms since 1970."""

    attempt: int
    started_at_ms: int
    ended_at_ms: int
    worker: str
    outcome: str
    error_type: str | None
    message: str | None
    traceback: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobInfo:
    """All that the broker knows of a job. Times are the broker's, in ms since 1970.

    `task`, `headers` and `payload` come out of the body at their use and raise `PayloadError`
    when that cannot be read; without a body (a listing that left them out) they are None.
    """

    id: str
    queue: str
    state: str
    body_bytes: bytes | None = field(repr=False)
    priority: int
    ready_at_ms: int
    enqueued_at_ms: int
    expires_at_ms: int | None
    origin: str
    attempt: int
    max_attempts: int
    lease_ms: int
    failures: int
    timeouts: int
    lost: int
    released: int
    unique: str | None
    worker: str | None
    leased_until_ms: int | None
    cancel_asked: bool
    history: tuple[AttemptRecord, ...] = field(repr=False)
    result_bytes: bytes | None = field(repr=False)
    ended_at_ms: int | None
    reason: str | None
    durability: str
    progress: Progress | None = None
    log: tuple[str, ...] = field(default=(), repr=False)
    checkpoint: bytes | None = field(default=None, repr=False)

    @property
    def ended(self) -> bool:
        """Whether the job has ended: succeeded, dead, cancelled or expired."""
        return self.state in ENDED_STATES

    @property
    def body(self) -> Body | None:
        """Task, payload, headers and codec as they travelled. Raises `PayloadError`."""
        return None if self.body_bytes is None else parse_body(self.body_bytes, self.id)

    @property
    def task(self) -> str | None:
        """The task's name. Raises `PayloadError`."""
        body = self.body
        return None if body is None else body.task

    @property
    def headers(self) -> Mapping[str, HeaderValue] | None:
        """The headers, empty if there are none. Raises `PayloadError`."""
        body = self.body
        return None if body is None else body.headers or {}

    @property
    def payload(self) -> Any:
        """The payload, decoded. Raises `PayloadError`."""
        body = self.body
        return None if body is None else decode_value(body.payload, body.codec, self.id)

    @property
    def result(self) -> Any:
        """The result, decoded; None if there is none or it is not kept. Raises `PayloadError`."""
        return decode_result(self.result_bytes, self.id)

    @property
    def enqueued_at(self) -> datetime:
        """When the broker took the job."""
        return datetime_of(self.enqueued_at_ms)

    @property
    def ready_at(self) -> datetime:
        """From when the job may be delivered."""
        return datetime_of(self.ready_at_ms)

    @property
    def ended_at(self) -> datetime | None:
        """When the job ended, if it has."""
        return None if self.ended_at_ms is None else datetime_of(self.ended_at_ms)

    @property
    def error_type(self) -> str | None:
        """The type of the last error, if there was one."""
        return next((past.error_type for past in reversed(self.history) if past.error_type), None)

    @property
    def error_message(self) -> str | None:
        """The message of the last error, if there was one."""
        return next((past.message for past in reversed(self.history) if past.error_type), None)


class JobPage(NamedTuple):
    """Some jobs, and where to go on: None at the end. A page may be empty and not the last."""

    jobs: list[JobInfo]
    cursor: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueInfo:
    """A queue: its settings as they are stored, how many jobs are in which state, and its pace.

    `counts` has one number for each state, `rates` are per second over the last ten seconds,
    `totals` count since the broker started.
    """

    name: str
    settings: Mapping[str, Any]
    created_at_ms: int
    counts: Mapping[str, int]
    jobs: int
    bytes: int
    oldest_ready_age_ms: int | None
    waiting_reserves: int
    rates: Mapping[str, float]
    backlog_seconds: float | None
    totals: Mapping[str, int]

    @property
    def paused(self) -> bool:
        """Whether no job is delivered until the queue is resumed."""
        return bool(self.settings.get("paused"))

    @property
    def durability(self) -> str:
        """`disk`, or `memory` for jobs that may be lost."""
        return str(self.settings.get("durability"))


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadGroup:
    """Dead jobs that died of the same: how many, and the id of one. Times in ms since 1970."""

    task: str
    error_type: str
    reason: str
    count: int
    first_at_ms: int
    last_at_ms: int
    example: str


class DeadGroups(NamedTuple):
    """The groups of a queue's dead jobs; not `complete` when there were too many to look at."""

    groups: list[DeadGroup]
    complete: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Chore:
    """Work that the broker does in the background. `state` is running, finished or cancelled."""

    chore: int
    kind: str
    queue: str | None
    done: int
    skipped: int
    limit: int | None
    rate: float | None
    state: str
    started_at_ms: int


class Backup(NamedTuple):
    """A finished backup: where it is on the broker's disk, its size, and how long it took."""

    path: str
    bytes: int
    ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerInfo:
    """The broker at the other end, as it introduced itself."""

    server: str
    protocol: int
    session: str
    resumed: bool
    features: tuple[str, ...]
    idle_timeout_ms: int
    frame_bytes_max: int
    payload_bytes_max: int
    jobs_per_request_max: int
    result_bytes_max: int
    wait_ms_max: int


def job_info(wire: dict[str, Any]) -> JobInfo:
    """A job info map as a `JobInfo`."""
    return JobInfo(
        id=encode_id(wire["id"]),
        queue=wire["queue"],
        state=wire["state"],
        body_bytes=wire.get("body"),
        priority=wire.get("priority", 0),
        ready_at_ms=wire.get("ready_at_ms") or 0,
        enqueued_at_ms=wire.get("enqueued_at_ms") or 0,
        expires_at_ms=wire.get("expires_at_ms"),
        origin=wire.get("origin") or "",
        attempt=wire.get("attempt", 0),
        max_attempts=wire.get("max_attempts", 0),
        lease_ms=wire.get("lease_ms", 0),
        failures=wire.get("failures", 0),
        timeouts=wire.get("timeouts", 0),
        lost=wire.get("lost", 0),
        released=wire.get("released", 0),
        unique=wire.get("unique"),
        worker=wire.get("worker"),
        leased_until_ms=wire.get("leased_until_ms"),
        cancel_asked=bool(wire.get("cancel_asked")),
        history=tuple(AttemptRecord(*past[:8]) for past in wire.get("history") or ()),
        result_bytes=wire.get("result"),
        ended_at_ms=wire.get("ended_at_ms"),
        reason=wire.get("reason"),
        durability=wire.get("durability") or "disk",
        progress=None if wire.get("progress") is None else Progress(*wire["progress"][:4]),
        log=tuple(wire.get("log") or ()),
        checkpoint=wire.get("checkpoint"),
    )


def queue_info(wire: dict[str, Any]) -> QueueInfo:
    """A queue info map as a `QueueInfo`."""
    return QueueInfo(
        name=wire["name"],
        settings=wire["settings"],
        created_at_ms=wire.get("created_at_ms", 0),
        counts=wire.get("counts") or {},
        jobs=wire.get("jobs", 0),
        bytes=wire.get("bytes", 0),
        oldest_ready_age_ms=wire.get("oldest_ready_age_ms"),
        waiting_reserves=wire.get("waiting_reserves", 0),
        rates=wire.get("rates") or {},
        backlog_seconds=wire.get("backlog_seconds"),
        totals=wire.get("totals") or {},
    )


def dead_group(wire: dict[str, Any]) -> DeadGroup:
    """A group of dead jobs."""
    return DeadGroup(
        task=wire["task"],
        error_type=wire.get("error_type") or "",
        reason=wire.get("reason") or "",
        count=wire["count"],
        first_at_ms=wire.get("first_at_ms", 0),
        last_at_ms=wire.get("last_at_ms", 0),
        example=encode_id(wire["example"]),
    )


def chore_info(wire: dict[str, Any]) -> Chore:
    """A chore map as a `Chore`."""
    return Chore(
        chore=wire["chore"],
        kind=wire["kind"],
        queue=wire.get("queue"),
        done=wire.get("done", 0),
        skipped=wire.get("skipped", 0),
        limit=wire.get("limit"),
        rate=wire.get("rate"),
        state=wire["state"],
        started_at_ms=wire.get("started_at_ms", 0),
    )
