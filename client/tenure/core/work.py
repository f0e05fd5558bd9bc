"""The life of a job as commands: reserve, ack, fail, release, extend, note, wait, get, cancel."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

from tenure.codecs import encode_result
from tenure.core.bodies import Encoding
from tenure.core.command import Command
from tenure.core.failure import clean_text, failure_map
from tenure.info import JobInfo, job_info
from tenure.jobs import Lease, LeasedJob, Outcome
from tenure.options import lease_to_ms, wait_to_ms
from tenure.packing import pack
from tenure_protocol.durations import Duration, duration_ms
from tenure_protocol.errors import error_from_wire
from tenure_protocol.ids import decode_id
from tenure_protocol.limits import (
    ERROR_MESSAGE_CHARS_MAX,
    JOBS_PER_REQUEST_MAX,
    LOG_LINE_CHARS_MAX,
    LOG_LINES_KEPT,
    PROGRESS_MESSAGE_CHARS_MAX,
    QUEUES_PER_RESERVE_MAX,
)
from tenure_protocol.names import check_queue_name

Queues = str | Sequence[str] | Mapping[str, int]
"""A queue; several, the first one first; or several with weights."""

WallClock = Callable[[], int]
"""Milliseconds since 1970, by this machine."""

_ROW_ITEMS = 8


def reserve(
    queues: Queues,
    max_jobs: int,
    wait: Duration,
    lease: Duration | None,
    *,
    auto_ack: bool,
    wall_ms: WallClock,
) -> Command[list[LeasedJob]]:
    """Lease up to `max_jobs` jobs. A reply that comes too late is given back."""
    names = _queues(queues)
    _check_count(max_jobs, "max_jobs")
    lease_ms = None if lease is None else lease_to_ms(lease)
    wait_ms = wait_to_ms(wait, "wait")

    def args(left_ms: int) -> bytes:
        return pack([names, max_jobs, left_ms, lease_ms, auto_ack or None])

    def read(rows: Any) -> list[LeasedJob]:
        now_ms = wall_ms()
        return [LeasedJob(row, now_ms) for row in _read_rows(rows)]

    late = None if auto_ack else _give_back
    return Command("reserve", args, read, repeat=not auto_ack, wait_ms=wait_ms, late=late)


def reserve_rows(names: Queues, max_jobs: int, wait_ms: int) -> Command[list[list[Any]]]:
    """Lease up to `max_jobs` jobs, as the rows that travel: for workers.

    Not sent again when the connection broke after it had left: a worker first says which
    leases it knows of (`fleet.keep`). A reply that comes too late is given back.
    """
    queues = _queues(names)
    _check_count(max_jobs, "max_jobs")

    def args(left_ms: int) -> bytes:
        return pack([queues, max_jobs, left_ms])

    return Command("reserve", args, _read_rows, wait_ms=wait_ms, late=_give_back)


def _read_rows(rows: Any) -> list[list[Any]]:
    for row in rows:
        if len(row) < _ROW_ITEMS:
            raise ValueError("a job of a reserve has eight parts")
    return list(rows)


def _queues(queues: Queues) -> list[Any]:
    if isinstance(queues, str):
        return [check_queue_name(queues)]
    names: list[Any] = [check_queue_name(name) for name in queues]
    if not 1 <= len(names) <= QUEUES_PER_RESERVE_MAX:
        raise ValueError(f"queues must name 1 to {QUEUES_PER_RESERVE_MAX}, not {len(names)}")
    if not isinstance(queues, Mapping):
        return names
    for name, weight in queues.items():
        if isinstance(weight, bool) or not isinstance(weight, int) or not 1 <= weight <= 1000:
            raise ValueError(f"queues: the weight of {name} must be 1 to 1000, not {weight!r}")
    return [[name, queues[name]] for name in names]


def _check_count(count: int, name: str) -> None:
    if isinstance(count, bool) or not isinstance(count, int):
        raise TypeError(f"{name} must be a whole number, not {type(count).__name__}")
    if not 1 <= count <= JOBS_PER_REQUEST_MAX:
        raise ValueError(f"{name} must be 1 to {JOBS_PER_REQUEST_MAX}, not {count}")


def _give_back(rows: Any) -> Command[Any] | None:
    # Somebody stopped waiting for these jobs. Held on, they would be late by a whole lease.
    if not rows:
        return None
    args = pack([[[row[0], row[1]] for row in rows]])
    return Command("release", args, lambda result: result, repeat=True)


# -- settling: one or many ----------------------------------------------------------


def leases_of(jobs: Lease | Iterable[Lease]) -> list[Lease]:
    """One or many as a list. Raises `ValueError` for more than a request may hold."""
    many = [jobs] if is_one(jobs) else list(cast("Iterable[Lease]", jobs))
    if len(many) > JOBS_PER_REQUEST_MAX:
        raise ValueError(f"at most {JOBS_PER_REQUEST_MAX} jobs at once, not {len(many)}")
    return cast("list[Lease]", many)


def is_one(jobs: object) -> bool:
    """Whether `jobs` is one lease: a `LeasedJob`, or a tuple of id and attempt."""
    return isinstance(jobs, LeasedJob) or (
        isinstance(jobs, tuple)
        and len(jobs) == 2
        and isinstance(jobs[0], str)
        and isinstance(jobs[1], int)
    )


def lease_key(lease: Lease) -> list[Any]:
    """The id and attempt of a lease as they travel."""
    if isinstance(lease, LeasedJob):
        return [lease.id_bytes, lease.attempt]
    if is_one(lease):
        return [decode_id(lease[0]), lease[1]]
    raise TypeError(f"jobs must be leased jobs or tuples (id, attempt), not {lease!r:.80}")


def _settle(op: str, items: list[Any]) -> Command[list[Outcome]]:
    count = len(items)
    return Command(op, pack([items]), lambda result: read_outcomes(result, count), repeat=True)


def settle_raw(op: str, items: list[list[Any]]) -> Command[list[Any]]:
    """An operation on leases (ack, fail, release, extend, note) with items and outcomes raw.

    For workers, which carry what their children made without looking into it. Safe to repeat.
    """
    count = len(items)

    def read(result: Any) -> list[Any]:
        if len(result) != count:
            raise ValueError(f"the broker answered {count} items with {len(result)} outcomes")
        return list(result)

    return Command(op, pack([items]), read, repeat=True)


def ack(
    jobs: Lease | Iterable[Lease],
    result: object,
    results: Iterable[object] | None,
    encoding: Encoding,
) -> Command[list[Outcome]]:
    """Finished: `result` for each, or one of `results` for each."""
    many = leases_of(jobs)
    given = [result] * len(many) if results is None else list(results)
    if len(given) != len(many):
        raise ValueError(f"results has {len(given)} items for {len(many)} jobs")
    items: list[Any] = []
    shared = _encode(result, encoding) if results is None else None
    for lease, value in zip(many, given, strict=True):
        data = shared if results is None else _encode(value, encoding)
        items.append(lease_key(lease) if data is None else [*lease_key(lease), data])
    return _settle("ack", items)


def _encode(value: object, encoding: Encoding) -> bytes | None:
    return encode_result(value, encoding.codec, encoding.compress_over_bytes)


def fail(
    jobs: Lease | Iterable[Lease],
    error: BaseException | str,
    *,
    retry_in: Duration | None,
    dead: bool,
    kind: str,
    traceback: str | None,
) -> Command[list[Outcome]]:
    """Failed: try again by the policy, or after `retry_in`, or not at all."""
    told = failure_map(error, dead=dead, kind=kind, traceback=traceback)
    told["retry_in_ms"] = None if retry_in is None else duration_ms(retry_in, "retry_in")
    return _settle("fail", [[*lease_key(lease), told] for lease in leases_of(jobs)])


def release(
    jobs: Lease | Iterable[Lease], delay: Duration | None, reason: str | None
) -> Command[list[Outcome]]:
    """Given back unharmed; `reason` is for the history."""
    delay_ms = None if delay is None else duration_ms(delay, "delay")
    rest: list[Any] = [] if delay_ms is None else [delay_ms]
    if reason is not None:
        rest = [delay_ms, clean_text(reason[:ERROR_MESSAGE_CHARS_MAX])]
    return _settle("release", [[*lease_key(lease), *rest] for lease in leases_of(jobs)])


def extend(
    jobs: Lease | Iterable[Lease], lease: Duration | None, wall_ms: WallClock
) -> Command[list[Outcome]]:
    """The lease begins anew; jobs whose extend is done note it."""
    many = leases_of(jobs)
    lease_ms = None if lease is None else lease_to_ms(lease)
    rest = [] if lease_ms is None else [lease_ms]
    command = _settle("extend", [[*lease_key(held), *rest] for held in many])

    def read(result: Any) -> list[Outcome]:
        outcomes = read_outcomes(result, len(many))
        now_ms = wall_ms()
        for held, outcome in zip(many, outcomes, strict=True):
            if outcome.ok and isinstance(held, LeasedJob):
                held.extended(now_ms, lease_ms)
        return outcomes

    command.read = read
    return command


Progress = tuple[float, float | None, str | None] | tuple[float, float | None] | tuple[float]
"""How far a job is: so many, of how many if that is known, and what it does just now."""


def note(
    job: Lease, *, checkpoint: bytes | None, progress: Progress | None, log: Iterable[str]
) -> Command[list[Outcome]]:
    """What a running job wants known: its checkpoint, its progress, lines of its log."""
    told: dict[str, Any] = {}
    if checkpoint is not None:
        if not isinstance(checkpoint, bytes):
            raise TypeError(f"checkpoint must be bytes, not {type(checkpoint).__name__}")
        told["checkpoint"] = checkpoint
    if progress is not None:
        padded: list[Any] = [*progress, None, None]
        n, total, message = padded[:3]
        text = None if message is None else clean_text(message[:PROGRESS_MESSAGE_CHARS_MAX])
        told["progress"] = [n, total, text]
    if isinstance(log, str):
        raise TypeError("log must be several lines, not one text: write [line]")
    lines = [clean_text(line[:LOG_LINE_CHARS_MAX]) for line in log][-LOG_LINES_KEPT:]
    if lines:
        told["log"] = lines
    return _settle("note", [[*lease_key(job), told]])


_DONE = Outcome(ok=True)


def read_outcomes(result: Any, count: int) -> list[Outcome]:
    """The outcomes of a request about `count` items."""
    outcomes = [_outcome(item) for item in result]
    if len(outcomes) != count:
        raise ValueError(f"the broker answered {count} items with {len(outcomes)} outcomes")
    return outcomes


def _outcome(item: Any) -> Outcome:
    if item == 0:
        return _DONE
    if item[0] == 0:
        return Outcome(ok=True, info=dict(item[1]))
    return Outcome(ok=False, error=error_from_wire(item[1:]))


def only(outcomes: list[Outcome]) -> Mapping[str, Any]:
    """What the broker says about the only one. Raises its refusal."""
    outcome = outcomes[0]
    if outcome.error is not None:
        raise outcome.error
    return outcome.info


# -- one job by its id ---------------------------------------------------------------


def wait(job_id: str, timeout: Duration) -> Command[JobInfo]:
    """The job once it has ended, or as it is when the time is over."""
    raw = decode_id(job_id)
    wait_ms = wait_to_ms(timeout, "timeout")
    return Command(
        "wait", lambda left_ms: pack([raw, left_ms]), job_info, repeat=True, wait_ms=wait_ms
    )


def get(job_id: str) -> Command[JobInfo]:
    """A job by its id."""
    return Command("get", pack([decode_id(job_id)]), job_info, repeat=True)


def cancel(job_ids: str | Iterable[str]) -> Command[list[Outcome]]:
    """Cancel jobs; for a leased one its worker is asked to stop."""
    many = [job_ids] if isinstance(job_ids, str) else list(job_ids)
    return _settle("cancel", [decode_id(job_id) for job_id in many])
