"""Jobs on the screen: listings, and one job with everything about it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import click

from tenure.cli.fields import job_fields
from tenure.cli.human import NOTHING, ago, count, duration, many, moment, safe_lines, size
from tenure.cli.render import Cells, Column, note, pairs, put, state, styled, table, to_json
from tenure.cli.session import Session
from tenure.cli.settings import MEMORY_NOTE
from tenure.errors import PayloadError
from tenure.info import AttemptRecord, JobInfo, JobPage, Progress
from tenure_protocol.ids import decode_id
from tenure_protocol.limits import PAGE_ITEMS_MAX

if TYPE_CHECKING:
    from rich.console import Console

_PAYLOAD_CHARS_MAX = 200
_MESSAGE_CHARS_MAX = 120

FetchPage = Callable[[int, bytes | None], JobPage]
"""Asks the broker for a page: how many jobs at most, and from where."""


def checked_id(text: str) -> str:
    """A job id of the command line; anything else is refused before the broker is asked."""
    try:
        decode_id(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    return text.lower()


def cursor_bytes(text: str) -> bytes:
    """Where a listing goes on, as an earlier one printed it."""
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is not a cursor: use one that a listing printed"
        ) from None


limit_option = click.option(
    "-n",
    "--limit",
    type=click.IntRange(1),
    default=20,
    show_default=True,
    metavar="N",
    help="How many jobs at most.",
)
cursor_option = click.option(
    "--cursor", type=cursor_bytes, metavar="CURSOR", help="Go on where an earlier listing ended."
)


def all_jobs(fetch: FetchPage) -> Iterator[JobInfo]:
    """Every job there is, page by page."""
    cursor: bytes | None = None
    while True:
        page = fetch(PAGE_ITEMS_MAX, cursor)
        yield from page.jobs
        cursor = page.cursor
        if cursor is None:
            return


def some_jobs(fetch: FetchPage, limit: int, cursor: bytes | None) -> JobPage:
    """`limit` jobs, unless there are fewer: a page of the broker may hold less than asked for."""
    jobs: list[JobInfo] = []
    while len(jobs) < limit:
        page = fetch(min(limit - len(jobs), PAGE_ITEMS_MAX), cursor)
        jobs += page.jobs
        cursor = page.cursor
        if cursor is None:
            break
    # The broker does not look beyond a page that is full: there may be nothing more.
    if cursor is not None and not (more := fetch(1, cursor)).jobs and more.cursor is None:
        cursor = None
    return JobPage(jobs, cursor)


def page_record(page: JobPage) -> dict[str, object]:
    """A page as JSON."""
    cursor = None if page.cursor is None else page.cursor.hex()
    return {"jobs": [job_fields(job) for job in page.jobs], "cursor": cursor}


def note_cursor(session: Session, page: JobPage) -> None:
    """Say that there is more, and how to get it."""
    if page.cursor is not None and session.format != "json":
        note(session, f"more: --cursor {page.cursor.hex()}")


def draw_jobs(session: Session, screen: Console, page: JobPage, *, payloads: bool) -> None:
    """A line for each job."""
    if not page.jobs:
        note(session, "no jobs in that state")
        return
    if page.jobs[0].durability == "memory":
        note(session, MEMORY_NOTE)
    now_ms = int(time.time() * 1000)
    columns = [
        Column("ID", whole=True),
        Column("TASK"),
        Column("STATE"),
        Column("PRIO", right=True, spare=3),
        Column("USED", right=True, spare=1),
        Column("ENQUEUED", right=True, spare=2),
        Column("WHEN"),
        Column("PAYLOAD" if payloads else "LAST ERROR"),
    ]
    rows: list[Cells] = [
        [
            job.id,
            task_of(job),
            state(job.state),
            str(job.priority),
            f"{used(job)}/{job.max_attempts}",
            ago(job.enqueued_at_ms, now_ms),
            when(job, now_ms),
            payload_text(job, _PAYLOAD_CHARS_MAX) if payloads else last_error(job),
        ]
        for job in page.jobs
    ]
    put(screen, table(screen, columns, rows))


def used(job: JobInfo) -> int:
    """How many attempts are used up."""
    return job.failures + job.timeouts + job.lost


def task_of(job: JobInfo) -> str:
    """The task's name; a dash when the listing left it out or it cannot be read."""
    try:
        return job.task or NOTHING
    except PayloadError:
        return "(unreadable)"


def when(job: JobInfo, now_ms: int) -> str:
    """The time that matters in the job's state."""
    match job.state:
        case "scheduled" | "retrying":
            return f"due {ago(job.ready_at_ms, now_ms)}"
        case "leased":
            return f"lease ends {ago(job.leased_until_ms, now_ms)}"
        case "ready":
            return f"ready {ago(job.ready_at_ms, now_ms)}"
    return f"{job.state} {ago(job.ended_at_ms, now_ms)}"


def payload_text(job: JobInfo, chars_max: int) -> str:
    """The payload on one line."""
    fields = job_fields(job)
    if "payload_error" in fields:
        return f"({fields['payload_error']})"
    text = to_json(fields["payload"])
    return text if len(text) <= chars_max else text[: chars_max - 1] + "…"


def last_error(job: JobInfo) -> str:
    """The last error on one line; a dash if there was none."""
    if not job.error_type:
        return NOTHING
    message = (job.error_message or "").splitlines()
    return f"{job.error_type}: {message[0][:_MESSAGE_CHARS_MAX]}" if message else job.error_type


def draw_job(screen: Console, job: JobInfo, *, traceback: bool) -> None:
    """One job: what it is, where it stands, what happened to it."""
    now_ms = int(time.time() * 1000)
    head = styled(f"{job.id}  {task_of(job)}  ", "bold")
    put(screen, head.append(state(job.state)).append(f" {_why(job)}".rstrip()))
    put(screen, pairs(_facts(job, now_ms)))
    if job.log:
        put(screen, styled("Log (its last lines)", "bold"))
        for line in job.log:
            for text in safe_lines(line):
                put(screen, styled(f"  {text}"))
    if job.history:
        put(screen, styled("History (newest first)", "bold"))
        for past in reversed(job.history):
            _draw_attempt(screen, past, traceback=traceback and past is job.history[-1])


def _why(job: JobInfo) -> str:
    if job.state == "dead":
        times = many(used(job), "attempt")
        return f"({job.reason or 'unknown reason'}; used up {times})"
    return f"({job.reason})" if job.reason else ""


def _facts(job: JobInfo, now_ms: int) -> Iterator[tuple[str, str]]:
    memory = f", {MEMORY_NOTE}" if job.durability == "memory" else ""
    yield "Queue", f"{job.queue} (priority {job.priority}{memory})"
    yield "Enqueued", f"{moment(job.enqueued_at_ms)} ({ago(job.enqueued_at_ms, now_ms)})"
    yield "By", job.origin or NOTHING
    yield "When", when(job, now_ms)
    if job.worker and job.state == "leased":
        yield "Worker", job.worker + (" (asked to cancel)" if job.cancel_asked else "")
    causes = (("failed", job.failures), ("timed out", job.timeouts), ("lost", job.lost))
    told = ", ".join(f"{count(number)} {cause}" for cause, number in causes if number)
    yield (
        "Attempts",
        f"{used(job)} of {job.max_attempts} used"
        + (f" ({told})" if told else "")
        + f"; {many(job.attempt, 'delivery').replace('deliverys', 'deliveries')}"
        + (f", {count(job.released)} given back" if job.released else ""),
    )
    yield "Lease", duration(job.lease_ms)
    if job.progress is not None:
        yield "Progress", _progress_text(job.progress, now_ms)
    if job.checkpoint is not None:
        yield "Checkpoint", size(len(job.checkpoint))
    if job.expires_at_ms is not None:
        yield "Expires", f"{moment(job.expires_at_ms)} ({ago(job.expires_at_ms, now_ms)})"
    if job.unique is not None:
        yield "Unique", job.unique
    fields = job_fields(job)
    if fields["headers"]:
        yield "Headers", to_json(fields["headers"])
    yield "Payload", payload_text(job, 4_000)
    if "result_error" in fields:
        yield "Result", f"({fields['result_error']})"
    elif fields["result"] is not None:
        yield "Result", to_json(fields["result"])


def _progress_text(progress: Progress, now_ms: int) -> str:
    n, total, message, at_ms = progress
    text = f"{n:,}"
    if total is not None:
        text += f" of {total:,}" + (f" ({n / total:.0%})" if total > 0 else "")
    if message:
        text += f": {message}"
    return f"{text} ({ago(at_ms, now_ms)})"


def _draw_attempt(screen: Console, past: AttemptRecord, *, traceback: bool) -> None:
    took = duration(past.ended_at_ms - past.started_at_ms)
    line = f"  {past.attempt:>3}  {moment(past.started_at_ms)}  {took:>7}  {past.outcome}"
    if past.worker:
        line += f"  by {past.worker}"
    put(screen, styled(line))
    if past.error_type:
        message = " ".join(safe_lines(past.message or ""))
        put(screen, styled(f"       {past.error_type}: {message}", "red"))
    elif past.message:
        put(screen, styled(f"       {' '.join(safe_lines(past.message))}"))
    if traceback and past.traceback:
        for text in safe_lines(past.traceback):
            put(screen, styled(f"       {text}", "bright_black"))
