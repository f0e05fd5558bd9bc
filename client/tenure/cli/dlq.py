"""`tenure dlq`: dead jobs of a queue: inspect, group, replay, purge."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from tenure.cli.chore import follow_chore
from tenure.cli.commands import Group, duration_option, session_of, usage_checked
from tenure.cli.deadmatch import why_none
from tenure.cli.errors import CliError, Exit
from tenure.cli.fields import chore_fields, group_fields, job_fields
from tenure.cli.human import NOTHING, ago, count, duration, many, parse_rate, rate
from tenure.cli.job import end_with_failures
from tenure.cli.jobtable import (
    all_jobs,
    checked_id,
    cursor_option,
    draw_job,
    draw_jobs,
    limit_option,
    note_cursor,
    page_record,
    some_jobs,
)
from tenure.cli.queue import queue_argument, yes_option
from tenure.cli.render import Column, confirm, done, note, put, show, show_text, table
from tenure.cli.session import Session
from tenure.options import DeadFilter

if TYPE_CHECKING:
    from rich.console import Console

    from tenure.client import Client
    from tenure.jobs import Outcome

_FILTER_EPILOG = """\
\b
Filters (all that are given must hold):
  --error TimeoutError   the last error's type in full, as tenure dlq groups shows it:
                         tenure.errors.ArgumentError; 'smtplib.*' is a prefix
  --task 'mail.*'        the task's name, or a prefix
  --older 1d             died more than a day ago
  --newer 6h             died in the last six hours
"""


@click.group(cls=Group)
def dlq() -> None:
    """Dead jobs: inspect, group by cause, replay, purge.

    A job is dead when its attempts are used up, or when a worker said that trying again is
    no use. It keeps its payload and the history of every attempt.
    """


def filter_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--error, --task, --older and --newer, as the one argument `matching`."""

    @functools.wraps(command)
    def with_matching(*args: Any, **kwargs: Any) -> Any:
        error, task = kwargs.pop("error"), kwargs.pop("task")
        older_ms = duration_option("--older", kwargs.pop("older"))
        newer_ms = duration_option("--newer", kwargs.pop("newer"))
        matching: DeadFilter = {}
        if error is not None:
            matching["error_type"] = error
        if task is not None:
            matching["task"] = task
        if older_ms is not None:
            matching["older_than"] = older_ms / 1000
        if newer_ms is not None:
            matching["newer_than"] = newer_ms / 1000
        return command(*args, matching=matching, **kwargs)

    for option in (
        click.option("--newer", metavar="TIME", help="Died in the last TIME."),
        click.option("--older", metavar="TIME", help="Died longer than TIME ago."),
        click.option("--task", metavar="NAME", help="The task; a prefix if it ends in *."),
        click.option("--error", metavar="TYPE", help="The error type; a prefix if it ends in *."),
    ):
        option(with_matching)
    return with_matching


@dlq.command("ls", epilog=_FILTER_EPILOG)
@click.argument("queue", required=False)
@filter_options
@limit_option
@cursor_option
@click.pass_context
def list_dead(
    context: click.Context,
    queue: str | None,
    matching: DeadFilter,
    limit: int,
    cursor: bytes | None,
) -> None:
    """List the dead jobs of QUEUE; without QUEUE, the queues that have any."""
    session = session_of(context)
    if queue is None:
        if matching or cursor:
            raise click.UsageError("filters and --cursor need a QUEUE")
        _list_queues(session)
        return
    with session.broker() as client:
        page = some_jobs(
            lambda most, after: client.dead_jobs(queue, limit=most, cursor=after, **matching),
            limit,
            cursor,
        )
        nothing = "" if page.jobs else why_none(client, queue, matching)

    def draw(screen: Console) -> None:
        if page.jobs:
            draw_jobs(session, screen, page, payloads=False)

    show(session, page_record(page), draw, items="jobs")
    if nothing:
        note(session, nothing)
    note_cursor(session, page)


def _list_queues(session: Session) -> None:
    with session.broker() as client:
        infos = [info for info in client.queues() if info.counts.get("dead", 0)]
    rows: list[dict[str, object]] = [
        {"queue": info.name, "dead": info.counts["dead"]} for info in infos
    ]

    def draw(screen: Console) -> None:
        if not rows:
            note(session, "no dead jobs")
            return
        columns = (Column("QUEUE", whole=True), Column("DEAD", right=True))
        put(
            screen,
            table(screen, columns, [[info.name, count(info.counts["dead"])] for info in infos]),
        )

    show(session, {"queues": rows}, draw, items="queues")


@dlq.command("groups")
@queue_argument
@click.pass_context
def list_groups(context: click.Context, queue: str) -> None:
    """Group the dead jobs of a queue by task, error type and reason."""
    session = session_of(context)
    with session.broker() as client:
        now_ms = int(client.stats()["now_ms"])
        found = client.dead_groups(queue)

    def draw(screen: Console) -> None:
        if not found.groups:
            note(session, "no dead jobs")
            return
        columns = (
            Column("COUNT", right=True),
            Column("TASK"),
            Column("ERROR"),
            Column("REASON"),
            Column("FIRST"),
            Column("LAST"),
            Column("EXAMPLE", whole=True),
        )
        rows = [
            [
                count(group.count),
                group.task,
                group.error_type or NOTHING,
                group.reason,
                ago(group.first_at_ms, now_ms),
                ago(group.last_at_ms, now_ms),
                group.example,
            ]
            for group in sorted(found.groups, key=lambda group: -group.count)
        ]
        put(screen, table(screen, columns, rows))

    record = {
        "groups": [group_fields(group) for group in found.groups],
        "complete": found.complete,
    }
    show(session, record, draw, items="groups")
    if not found.complete:
        note(session, "there are more dead jobs than were looked at; the counts are lower bounds")


@dlq.command("get")
@click.argument("job_id", type=checked_id, metavar="ID")
@click.pass_context
def get_dead(context: click.Context, job_id: str) -> None:
    """Show a dead job: payload, every attempt, the last traceback."""
    session = session_of(context)
    with session.broker() as client:
        info = client.get(job_id)
    if info.state != "dead":
        raise CliError(f"job {job_id} is not dead: it is {info.state}", Exit.NOT_FOUND)
    show(session, job_fields(info), lambda screen: draw_job(screen, info, traceback=True))
    if session.format == "table":
        note(session, f"next: tenure dlq replay {info.queue} {job_id}")


@dlq.command("replay", epilog=_FILTER_EPILOG)
@queue_argument
@click.argument("job_ids", type=checked_id, metavar="[ID]...", nargs=-1)
@filter_options
@click.option("--all", "everything", is_flag=True, help="All dead jobs of the queue.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="At most N jobs.")
@click.option("--rate", "pace", metavar="N/s", help="So many a second, such as 50/s or 300/m.")
@click.option("--dry-run", is_flag=True, help="Only count.")
@click.option("--detach", is_flag=True, help="Do not wait for the end; see tenure chore.")
@yes_option
@click.pass_context
def replay(
    context: click.Context,
    queue: str,
    job_ids: tuple[str, ...],
    matching: DeadFilter,
    everything: bool,
    limit: int | None,
    pace: str | None,
    dry_run: bool,
    detach: bool,
    yes: bool,
) -> None:
    """Send dead jobs back to their queue, by id or by filter.

    A replayed job keeps its id and history; its attempts are counted anew. Replays by
    filter run in the broker, survive its restart, and can be followed and cancelled.
    """
    session = session_of(context)
    _check_choice(job_ids, matching, everything)
    if job_ids and (limit or pace or detach):
        raise click.UsageError("--limit, --rate and --detach go with a filter or --all")
    per_second = None if pace is None else float(usage_checked(parse_rate, pace))
    with session.broker(patient=not job_ids) as client:
        if job_ids:
            _by_ids(session, client, queue, job_ids, "replay", dry_run=dry_run)
            return
        found, total = _count(session, client, queue, matching)
        wanted = found if limit is None else min(found, limit)
        text = _plan("replay", queue, wanted, total, per_second)
        if dry_run:
            _show_plan(session, queue, "replay", text, wanted, total)
            return
        confirm(session, f"{text[0].upper()}{text[1:]}. Go ahead?", yes=yes)
        number = client.replay(queue, limit=limit, rate=per_second, **matching)
        _end_chore(session, client, number, wanted, detach=detach)


@dlq.command("purge", epilog=_FILTER_EPILOG)
@queue_argument
@click.argument("job_ids", type=checked_id, metavar="[ID]...", nargs=-1)
@filter_options
@click.option("--all", "everything", is_flag=True, help="All dead jobs of the queue.")
@click.option("--dry-run", is_flag=True, help="Only count.")
@click.option("--detach", is_flag=True, help="Do not wait for the end; see tenure chore.")
@yes_option
@click.pass_context
def purge(
    context: click.Context,
    queue: str,
    job_ids: tuple[str, ...],
    matching: DeadFilter,
    everything: bool,
    dry_run: bool,
    detach: bool,
    yes: bool,
) -> None:
    """Delete dead jobs for good, by id or by filter."""
    session = session_of(context)
    _check_choice(job_ids, matching, everything)
    if job_ids and detach:
        raise click.UsageError("--detach goes with a filter or --all")
    with session.broker(patient=not job_ids) as client:
        if job_ids:
            if not dry_run:
                question = f'Delete {many(len(job_ids), "dead job")} of "{queue}" for good?'
                confirm(session, question, yes=yes)
            _by_ids(session, client, queue, job_ids, "purge", dry_run=dry_run)
            return
        found, total = _count(session, client, queue, matching)
        text = _plan("delete", queue, found, total, None)
        if dry_run:
            _show_plan(session, queue, "purge", text, found, total)
            return
        confirm(session, f"{text[0].upper()}{text[1:]}, for good. Go ahead?", yes=yes)
        number = client.purge_dead(queue, **matching)
        _end_chore(session, client, number, found, detach=detach)


def _check_choice(job_ids: tuple[str, ...], matching: DeadFilter, everything: bool) -> None:
    if bool(job_ids) + bool(matching) + everything != 1:
        raise click.UsageError("say which dead jobs: ids, or filters, or --all")


def _count(session: Session, client: Client, queue: str, matching: DeadFilter) -> tuple[int, int]:
    """How many dead jobs match, and how many there are."""
    total = int(client.queue(queue).counts.get("dead", 0))
    if not matching:
        return total, total
    jobs = all_jobs(
        lambda most, after: client.dead_jobs(
            queue, limit=most, cursor=after, bodies=False, **matching
        )
    )
    found = sum(1 for _ in jobs)
    if total and not found:
        note(session, why_none(client, queue, matching))
    return found, total


def _plan(verb: str, queue: str, found: int, total: int, per_second: float | None) -> str:
    text = f'{verb} {count(found)} of {many(total, "dead job")} of "{queue}"'
    if per_second is None:
        return text
    return f"{text}; about {duration(found / per_second * 1000)} at {rate(per_second)}/s"


def _show_plan(session: Session, queue: str, verb: str, text: str, found: int, total: int) -> None:
    record = {"queue": queue, "operation": verb, "dry_run": True, "jobs": found, "dead": total}
    show_text(session, record, [f"would {text}"])


def _by_ids(
    session: Session,
    client: Client,
    queue: str,
    job_ids: tuple[str, ...],
    verb: str,
    *,
    dry_run: bool,
) -> None:
    if dry_run:
        states = {job_id: client.get(job_id).state for job_id in job_ids}
        dead = sum(1 for state in states.values() if state == "dead")
        text = f'{verb} {count(dead)} of {many(len(job_ids), "job")} named, in "{queue}"'
        _show_plan(session, queue, verb, text, dead, len(job_ids))
        return
    act: Callable[[str, list[str]], list[Outcome]]
    act = client.replay if verb == "replay" else client.purge_dead
    outcomes = act(queue, list(job_ids))
    good = sum(1 for outcome in outcomes if outcome.ok)
    word = "replayed" if verb == "replay" else "deleted"
    rows = [
        {"id": job_id, "ok": outcome.ok, "error": outcome.error and outcome.error.code}
        for job_id, outcome in zip(job_ids, outcomes, strict=True)
    ]
    record = {"queue": queue, "jobs": rows}
    sentence = f"{word} {many(good, 'job')}"
    show_text(session, record, [sentence] if good and not session.quiet else [])
    end_with_failures([(o.error, job_id) for job_id, o in zip(job_ids, outcomes, strict=True)])


def _end_chore(
    session: Session, client: Client, number: int, expected: int, *, detach: bool
) -> None:
    if detach:
        chore = client.chore(number)
        done(
            session,
            f"running as chore {number}; follow it with: tenure chore get {number} --follow",
            chore_fields(chore),
        )
        return
    chore = follow_chore(session, client, number, expected)
    skipped = f", {count(chore.skipped)} skipped" if chore.skipped else ""
    word = "replayed" if chore.kind == "replay" else "deleted"
    done(session, f"{word} {many(chore.done, 'job')}{skipped}", chore_fields(chore))
    if chore.state == "cancelled":
        raise CliError(f"chore {number} was cancelled", Exit.PARTIAL)
    if chore.skipped:
        raise CliError(f"{many(chore.skipped, 'job')} could not be done", Exit.PARTIAL)
