"""What the broker shows, compared with the ledger and with itself, while everybody holds still."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tenure import Client, JobInfo
from tenure.errors import JobNotFound, QueueNotFound
from tests.soak.ledger import Job, Ledger

STATES = (
    "scheduled",
    "ready",
    "leased",
    "retrying",
    "succeeded",
    "dead",
    "cancelled",
    "expired",
)
UNFINISHED = STATES[:4]
OWN_PREFIX = "churn."
"""Queues whose jobs only their keeper knows: their counts are compared, their jobs are not."""

LATE_MS_MAX = 15_000
"""How long after its time a job may still be called scheduled, retrying or leased."""

STILL_TRIES = 20


@dataclass(slots=True)
class Shown:
    """Everything the broker lists: id -> job info, and what it counts."""

    jobs: dict[str, JobInfo] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    """Queues that did not hold still long enough to be compared."""


def look(client: Client) -> Shown:
    """Lists every queue, and compares its counts with what it lists."""
    shown = Shown()
    for queue in sorted(queue.name for queue in client.queues()):
        for _ in range(STILL_TRIES):
            try:
                listed, faults = _look_once(client, queue)
            except QueueNotFound:
                break
            if listed is not None:
                if not queue.startswith(OWN_PREFIX):
                    shown.jobs.update(listed)
                shown.faults += faults
                break
            time.sleep(0.1)
        else:
            shown.unread.append(queue)
    return shown


def _look_once(client: Client, queue: str) -> tuple[dict[str, JobInfo] | None, list[str]]:
    """The jobs of a queue, and how they differ from its counts; None if something moved."""
    before = client.queue(queue)
    listed: dict[str, JobInfo] = {}
    faults: list[str] = []
    counts: Counter[str] = Counter()
    for state in STATES:
        for info in _all_pages(client, queue, state):
            counts[state] += 1
            if info.id in listed:
                faults.append(f"{info.id} of {queue} is listed as {listed[info.id].state}, {state}")
            listed[info.id] = info
    after = client.queue(queue)
    if (before.counts, before.totals) != (after.counts, after.totals):
        return None, []
    for state in STATES:
        if counts[state] != before.counts[state]:
            what = f"{queue} counts {before.counts[state]} {state} jobs and lists {counts[state]}"
            faults.append(what)
    unfinished = sum(counts[state] for state in UNFINISHED)
    if unfinished != before.jobs:
        faults.append(f"{queue} has {before.jobs} unfinished jobs and lists {unfinished}")
    return listed, faults


def _all_pages(client: Client, queue: str, state: str) -> Iterable[JobInfo]:
    cursor = None
    while True:
        page = client.peek(queue, state, limit=1_000, cursor=cursor, bodies=False)
        yield from page.jobs
        cursor = page.cursor
        if cursor is None:
            return


def reconcile(ledger: Ledger, shown: Shown, client: Client, now: float, wall_ms: float) -> None:
    """Every job of the ledger has its place in the broker, and the other way round.

    The trails are read to their ends, nobody works, and `shown` was taken after that. `now` is
    of the trails' clock, `wall_ms` of the broker's.
    """
    for fault in shown.faults:
        ledger.blame("counts equal contents", fault)
    for queue in shown.unread:
        ledger.counts["queues that did not hold still"] += 1
        if not queue.startswith(OWN_PREFIX):
            ledger.counts["audits cut short"] += 1
            return
    _name_the_unknown(ledger, shown, client)
    for job_id, info in shown.jobs.items():
        _check_listed(ledger, ledger.by_id.get(job_id), info, now, wall_ms)
    for job in ledger.open_jobs():
        if job.id is None:
            # The broker does not list it: the enqueue of unknown outcome was not done.
            if not job.unanswered:
                ledger.drop(job)
                ledger.counts["unknown and not done"] += 1
        elif job.id not in shown.jobs:
            _check_missing(ledger, job, now, wall_ms)
    ledger.counts["audits"] += 1
    ledger.counts["jobs audited"] += len(shown.jobs)


def _name_the_unknown(ledger: Ledger, shown: Shown, client: Client) -> None:
    """Finds out which of the enqueues of unknown outcome were done."""
    for job_id, info in shown.jobs.items():
        if job_id in ledger.by_id:
            continue
        try:
            headers: Mapping[str, object] = client.get(job_id).headers or {}
        except JobNotFound:
            continue
        job = ledger.jobs.get(str(headers.get("k")))
        if job is None:
            if info.state in UNFINISHED or info.state == "dead":
                what = f"{headers.get('k')} ({job_id}) is {info.state}"
                ledger.blame("nothing from nowhere", f"{what}; it was never sent or has ended")
        elif job.id is None:
            job.id = job_id
            ledger.by_id[job_id] = job
            ledger.counts["unknown and done"] += 1
        else:
            ledger.blame("no doubles", f"{job.key} is stored as {job.id} and as {job_id}")


def _check_listed(
    ledger: Ledger, job: Job | None, info: JobInfo, now: float, wall_ms: float
) -> None:
    _check_late(ledger, info, wall_ms)
    if job is None:
        return
    told = f"{job.key} ({info.id})"
    if info.queue != job.queue:
        ledger.blame("nothing from nowhere", f"{told} is in {info.queue}, sent to {job.queue}")
    if job.over is not None:
        if info.state in UNFINISHED or info.state != job.how:
            what = f"{told} is {info.state}, and was confirmed as {job.how}"
            ledger.blame("no confirmed end undone", what)
    elif info.state == "succeeded":
        if not job.may_be_over:
            ledger.blame("nothing from nowhere", f"{told} succeeded, and nobody acked it")
        ledger.end(job, now, "succeeded")
    elif info.state == "expired":
        if job.expires_ms is None or wall_ms < job.expires_ms - LATE_MS_MAX:
            ledger.blame("nothing dropped", f"{told} expired before its time")
        ledger.end(job, now, "expired")
    elif info.state == "cancelled":
        if not job.may_be_over:
            ledger.blame("nothing dropped", f"{told} is cancelled, and nobody asked for it")
        ledger.end(job, now, "cancelled")
    elif info.state == "dead":
        if not info.attempt:
            ledger.blame("nothing dropped", f"{told} is dead, and was never delivered")
        job.buried = True
    elif job.buried and info.state in UNFINISHED and info.failures + info.timeouts + info.lost:
        ledger.blame("nothing dropped", f"{told} was dead, and is {info.state} without a replay")


def _check_late(ledger: Ledger, info: JobInfo, wall_ms: float) -> None:
    late_ms = 0.0
    if info.state in ("scheduled", "retrying"):
        late_ms = wall_ms - info.ready_at_ms
    elif info.state == "leased" and info.leased_until_ms is not None:
        late_ms = wall_ms - info.leased_until_ms
    if late_ms > LATE_MS_MAX:
        ledger.blame("nothing stuck", f"{info.id} is {info.state}, {late_ms:.0f} ms after its time")


def _check_missing(ledger: Ledger, job: Job, now: float, wall_ms: float) -> None:
    """A job that the broker does not have: it must have had a way out."""
    if job.may_be_over:
        ledger.end(job, now, f"{job.may_be_over} (seen later)")
    elif job.expires_ms is not None and job.expires_ms <= wall_ms:
        ledger.end(job, now, "expired")
    else:
        dead = "dead" if job.buried else f"delivered {job.attempts} times"
        ledger.blame("nothing lost", f"{job.key} ({job.id}) of {job.queue}, {dead}, is gone")
        ledger.end(job, now, "lost")
