"""`tenure queue`: the queues of the broker, and what they hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tenure.cli.commands import Group, session_of
from tenure.cli.completion import queue_names
from tenure.cli.errors import CliError, Exit
from tenure.cli.fields import queue_fields
from tenure.cli.human import NOTHING, count, duration, many, moment, rate, size
from tenure.cli.jobtable import draw_jobs, page_record, some_jobs
from tenure.cli.render import (
    Column,
    confirm,
    done,
    note,
    pairs,
    put,
    show,
    state,
    styled,
    table,
)
from tenure.cli.settings import MEMORY_NOTE, parse_settings, settings_help, show_settings
from tenure.core.admin import STATES
from tenure.errors import QueueExists

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from tenure.info import QueueInfo

_SETTINGS_EPILOG = f"""\
\b
Settings (name=value):
{settings_help()}

\b
Retry policies:
  exponential:1s,4,1h   1s, 4s, 16s, … up to 1h
  fixed:30s             always 30s
  steps:5s,1m,10m       one after the other; also sets max_attempts, unless it is given
  Each may end in ,jitter=0.2: pauses vary by up to that share.
"""

queue_argument = click.argument("queue", shell_complete=queue_names)
yes_option = click.option("-y", "--yes", is_flag=True, help="Do not ask.")


@click.group(cls=Group)
def queue() -> None:
    """List, create, set, pause, purge and delete queues."""


@queue.command("ls")
@click.argument("prefix", required=False, shell_complete=queue_names)
@click.pass_context
def list_queues(context: click.Context, prefix: str | None) -> None:
    """List all queues, or those that begin with PREFIX."""
    session = session_of(context)
    with session.broker() as client:
        infos = list(client.queues(prefix=prefix))

    def draw(screen: Console) -> None:
        if infos:
            put(screen, queues_table(screen, infos))
        else:
            note(session, "no queues yet: the first enqueue makes one")

    show(session, {"queues": [queue_fields(info) for info in infos]}, draw, items="queues")


def queues_table(screen: Console, infos: list[QueueInfo]) -> Table:
    """One line for each queue; how they are kept only where one is not on disk."""
    memory = any(info.durability == "memory" for info in infos)
    columns = [
        Column("QUEUE", whole=True),
        Column("STATE", whole=True),
        Column("READY", right=True),
        Column("DELAYED", right=True, spare=2),
        Column("RETRYING", right=True, spare=4),
        Column("LEASED", right=True),
        Column("DEAD", right=True),
        Column("OLDEST", right=True, spare=1),
        Column("IN/S", right=True, spare=3),
        Column("OUT/S", right=True, spare=3),
        Column("DRAIN", right=True, spare=5),
        Column("WAITING", right=True, spare=6),
    ]
    if memory:
        columns.append(Column("DURABILITY", whole=True))
    return table(screen, columns, [_queue_row(info)[: len(columns)] for info in infos])


def _queue_row(info: QueueInfo) -> list[str | Text]:
    counts, rates = info.counts, info.rates
    dead = counts.get("dead", 0)
    memory = info.durability == "memory"
    return [
        info.name,
        state("paused" if info.paused else "running"),
        *(count(counts.get(name, 0)) for name in ("ready", "scheduled", "retrying", "leased")),
        styled(count(dead), "red" if dead else ""),
        duration(info.oldest_ready_age_ms),
        rate(rates.get("enqueued", 0.0)),
        rate(rates.get("ended", 0.0)),
        drain_time(info),
        count(info.waiting_reserves),
        styled(MEMORY_NOTE if memory else "disk", "yellow" if memory else ""),
    ]


def drain_time(info: QueueInfo) -> str:
    """How long the backlog lasts at the present pace; "grows" when it does not get shorter."""
    backlog = info.counts.get("ready", 0)
    if not backlog or info.paused:
        return NOTHING
    if info.rates.get("enqueued", 0.0) > info.rates.get("ended", 0.0):
        return "grows"
    return NOTHING if info.backlog_seconds is None else duration(info.backlog_seconds * 1000)


@queue.command("get")
@queue_argument
@click.pass_context
def get_queue(context: click.Context, queue: str) -> None:
    """Show one queue: settings, counts, pace, totals."""
    session = session_of(context)
    with session.broker() as client:
        info = client.queue(queue)
    show(session, queue_fields(info), lambda screen: draw_queue(screen, info))


def draw_queue(screen: Console, info: QueueInfo) -> None:
    """All about one queue."""
    counts = {name: number for name, number in info.counts.items() if number}
    shown = ", ".join(f"{count(number)} {name}" for name, number in counts.items())
    totals = ", ".join(f"{count(n)} {name}" for name, n in info.totals.items() if n)
    put(
        screen,
        pairs(
            [
                ("Queue", f"{info.name} ({'paused' if info.paused else 'running'})"),
                ("Jobs", shown or "none"),
                ("Size", f"{size(info.bytes)} in {many(info.jobs, 'unfinished job')}"),
                ("Oldest ready", duration(info.oldest_ready_age_ms)),
                ("Pace", _pace(info)),
                ("Waiting", many(info.waiting_reserves, "worker request")),
                ("Since start", totals or "nothing yet"),
                ("Created", moment(info.created_at_ms)),
            ]
        ),
    )
    put(screen, styled("Settings", "bold"))
    put(screen, pairs((f"  {name}", value) for name, value in show_settings(info.settings)))


def _pace(info: QueueInfo) -> str:
    rates = info.rates
    text = f"in {rate(rates.get('enqueued', 0.0))}/s, out {rate(rates.get('ended', 0.0))}/s"
    return f"{text}; backlog: {drain_time(info)}"


@queue.command("create", epilog=_SETTINGS_EPILOG)
@queue_argument
@click.argument("settings", nargs=-1, metavar="[NAME=VALUE]...")
@click.pass_context
def create_queue(context: click.Context, queue: str, settings: tuple[str, ...]) -> None:
    """Create a queue; what is not given gets the broker's default.

    Doing it again with the same settings is fine; with others it is a conflict (exit 5).
    """
    session = session_of(context)
    wanted = parse_settings(settings)
    with session.broker() as client:
        try:
            info = client.create_queue(queue, **wanted)
        except QueueExists as error:
            # The broker names its own operation, which nobody types.
            raise CliError(
                f'queue "{queue}" exists with other settings;'
                f" tenure queue set {queue} NAME=VALUE changes them",
                Exit.CONFLICT, error.code,
            ) from error  # fmt: skip
    kept = f" ({MEMORY_NOTE})" if info.durability == "memory" else ""
    done(session, f'queue "{queue}" exists with these settings{kept}', queue_fields(info))


@queue.command("set", epilog=_SETTINGS_EPILOG)
@queue_argument
@click.argument("settings", nargs=-1, required=True, metavar="NAME=VALUE...")
@click.pass_context
def set_queue(context: click.Context, queue: str, settings: tuple[str, ...]) -> None:
    """Change settings of a queue; the others stay.

    Jobs that are waiting already keep what they were enqueued with.
    """
    session = session_of(context)
    wanted = parse_settings(settings)
    with session.broker() as client:
        info = client.configure_queue(queue, **wanted)
    shown = dict(show_settings(info.settings))
    changed = ", ".join(f"{name}={shown.get(name, '?')}" for name in wanted)
    done(session, f'queue "{queue}": {changed}', queue_fields(info))


@queue.command("pause")
@queue_argument
@click.pass_context
def pause_queue(context: click.Context, queue: str) -> None:
    """Deliver no more jobs of a queue. Enqueues go on, leased jobs can be finished."""
    session = session_of(context)
    with session.broker() as client:
        info = client.pause_queue(queue)
    done(session, f'queue "{queue}" is paused', queue_fields(info))


@queue.command("resume")
@queue_argument
@click.pass_context
def resume_queue(context: click.Context, queue: str) -> None:
    """Deliver jobs of a paused queue again."""
    session = session_of(context)
    with session.broker() as client:
        info = client.resume_queue(queue)
    done(session, f'queue "{queue}" is running', queue_fields(info))


@queue.command("purge")
@queue_argument
@yes_option
@click.pass_context
def purge_queue(context: click.Context, queue: str, yes: bool) -> None:
    """Drop all waiting jobs: ready, scheduled and retrying ones.

    Leased jobs stay, and dead ones: see tenure dlq purge.
    """
    session = session_of(context)
    with session.broker() as client:
        if not yes:
            counts = client.queue(queue).counts
            waiting = sum(counts.get(name, 0) for name in ("ready", "scheduled", "retrying"))
            confirm(session, f'Drop {many(waiting, "waiting job")} of "{queue}" for good?', yes=yes)
        purged = client.purge_queue(queue)
    done(session, f'dropped {many(purged, "job")} of "{queue}"', {"queue": queue, "purged": purged})


@queue.command("rm")
@queue_argument
@click.option("--force", is_flag=True, help="Delete it with the jobs it holds.")
@yes_option
@click.pass_context
def delete_queue(context: click.Context, queue: str, force: bool, yes: bool) -> None:
    """Delete a queue. One that holds jobs is only deleted with --force (exit 5 otherwise)."""
    session = session_of(context)
    with session.broker() as client:
        if force and not yes:
            info = client.queue(queue)
            held = info.jobs + info.counts.get("dead", 0)
            if held:
                confirm(session, f'Delete "{queue}" with {many(held, "job")} for good?', yes=yes)
        jobs = client.delete_queue(queue, force=force)
    lost = f" and {many(jobs, 'job')}" if jobs else ""
    done(session, f'deleted queue "{queue}"{lost}', {"queue": queue, "deleted": True, "jobs": jobs})


@queue.command("peek")
@queue_argument
@click.option(
    "-s", "--state", "which", type=click.Choice(STATES), default="ready", show_default=True
)
@click.option("-n", "--limit", type=click.IntRange(1), default=10, show_default=True, metavar="N")
@click.pass_context
def peek_queue(context: click.Context, queue: str, which: str, limit: int) -> None:
    """Look at the next jobs of a queue, with their payloads, without taking them."""
    session = session_of(context)
    with session.broker() as client:
        page = some_jobs(
            lambda most, after: client.peek(queue, which, limit=most, cursor=after), limit, None
        )
    show(
        session,
        page_record(page),
        lambda screen: draw_jobs(session, screen, page, payloads=True),
        items="jobs",
    )
