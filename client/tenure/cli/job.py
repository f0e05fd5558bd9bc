"""`tenure job`: single jobs, by their id."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from tenure.cli.commands import Group, duration_option, session_of
from tenure.cli.errors import CliError, Exit, exit_code_of
from tenure.cli.fields import job_fields
from tenure.cli.jobtable import (
    checked_id,
    cursor_option,
    draw_job,
    draw_jobs,
    last_error,
    limit_option,
    note_cursor,
    page_record,
    some_jobs,
)
from tenure.cli.queue import queue_argument
from tenure.cli.render import note, show, show_text
from tenure.cli.session import Session
from tenure.core.admin import STATES

if TYPE_CHECKING:
    from rich.console import Console

    from tenure.client import Client
    from tenure.info import JobInfo

_WAIT_SLICE_S = 600.0


@click.group(cls=Group)
def job() -> None:
    """Look at jobs, wait for them, cancel them."""


@job.command("get")
@click.argument("job_id", type=checked_id, metavar="ID")
@click.pass_context
def get_job(context: click.Context, job_id: str) -> None:
    """Show everything about one job: payload, counters, history, last traceback."""
    session = session_of(context)
    with session.broker() as client:
        info = client.get(job_id)
    show(session, job_fields(info), lambda screen: draw_job(screen, info, traceback=True))


@job.command("ls")
@queue_argument
@click.option("-s", "--state", type=click.Choice(STATES), default="ready", show_default=True)
@limit_option
@cursor_option
@click.pass_context
def list_jobs(
    context: click.Context, queue: str, state: str, limit: int, cursor: bytes | None
) -> None:
    """List the jobs of a queue in one state, in their order."""
    session = session_of(context)
    with session.broker() as client:
        page = some_jobs(
            lambda most, after: client.peek(queue, state, limit=most, cursor=after), limit, cursor
        )
    show(
        session,
        page_record(page),
        lambda screen: draw_jobs(session, screen, page, payloads=False),
        items="jobs",
    )
    note_cursor(session, page)


@job.command("cancel")
@click.argument("job_ids", type=checked_id, metavar="ID...", nargs=-1, required=True)
@click.pass_context
def cancel_jobs(context: click.Context, job_ids: tuple[str, ...]) -> None:
    """Cancel jobs. A job that a worker holds is asked to stop: its worker hears of it.

    With several ids each is told; the exit code is 3 when some could not be cancelled.
    """
    session = session_of(context)
    with session.broker() as client:
        outcomes = client.cancel(list(job_ids))
    rows: list[dict[str, object]] = []
    for job_id, outcome in zip(job_ids, outcomes, strict=True):
        told: dict[str, object] = {"id": job_id, "ok": outcome.ok, **outcome.info}
        if outcome.error is not None:
            told["error"] = {"code": outcome.error.code, "message": outcome.error.message}
        rows.append(told)
    lines = [f"{row['id']}  {_cancelled(row)}" for row in rows if row["ok"]]
    show_text(session, {"jobs": rows}, [] if session.quiet else lines, items="jobs")
    end_with_failures([(o.error, job_id) for job_id, o in zip(job_ids, outcomes, strict=True)])


def _cancelled(row: dict[str, object]) -> str:
    return "its worker is asked to stop" if row.get("asked") else "cancelled"


def end_with_failures(results: list[tuple[Exception | None, str]]) -> None:
    """Raises `CliError` when some of many failed: partial success, or the code of the only cause."""
    failed = [(error, what) for error, what in results if error is not None]
    if not failed:
        return
    lines = [f"{what}: {error}" for error, what in failed]
    for line in lines[:-1]:
        click.echo(f"error: {line}", err=True)
    if len(failed) < len(results):
        raise CliError(lines[-1], Exit.PARTIAL)
    codes = {exit_code_of(error) or Exit.INTERNAL for error, _ in failed}
    raise CliError(lines[-1], codes.pop() if len(codes) == 1 else Exit.FAILED)


@job.command("wait")
@click.argument("job_ids", type=checked_id, metavar="ID...", nargs=-1, required=True)
@click.option("--max-wait", metavar="TIME", help="Give up after so long (exit 75); default: never.")
@click.pass_context
def wait_for_jobs(context: click.Context, job_ids: tuple[str, ...], max_wait: str | None) -> None:
    """Wait until jobs have ended, and show how.

    Exit code 0 when all succeeded, 1 when one did not, 75 when the time was over. A job that
    ended is only found while it is kept (the queue's retention, or the DLQ).
    """
    session = session_of(context)
    limit_ms = duration_option("--max-wait", max_wait)
    deadline = None if limit_ms is None else time.monotonic() + limit_ms / 1000
    with session.broker(patient=True) as client:
        infos = [wait_until_ended(client, job_id, deadline) for job_id in job_ids]
    show(
        session,
        {"jobs": [job_fields(info) for info in infos]},
        lambda screen: _draw_jobs(screen, infos),
        items="jobs",
    )
    end_with_states(session, infos)


def _draw_jobs(screen: Console, infos: list[JobInfo]) -> None:
    for info in infos:
        draw_job(screen, info, traceback=True)


def wait_until_ended(client: Client, job_id: str, deadline: float | None) -> JobInfo:
    """The job once it has ended, or as it is at `deadline` (of the monotonic clock, seconds)."""
    while True:
        left_s = _WAIT_SLICE_S if deadline is None else deadline - time.monotonic()
        info = client.wait(job_id, timeout=max(0.0, min(left_s, _WAIT_SLICE_S)))
        if info.ended or (deadline is not None and time.monotonic() >= deadline):
            return info


def end_with_states(session: Session, infos: list[JobInfo]) -> None:
    """Raises `CliError` unless all jobs succeeded."""
    pending = [info for info in infos if not info.ended]
    failed = [info for info in infos if info.ended and info.state != "succeeded"]
    for info in [*failed, *pending][1:]:
        note(session, f"job {info.id} is {info.state}")
    if failed:
        why = f": {last_error(failed[0])}" if failed[0].error_type else ""
        raise CliError(f"job {failed[0].id} ended {failed[0].state}{why}", Exit.FAILED)
    if pending:
        raise CliError(
            f"job {pending[0].id} has not ended in time; it is {pending[0].state}", Exit.TEMPORARY
        )
