"""`tenure workers`: who works for this broker, and what they are told."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from tenure.cli.commands import Group, duration_option, session_of
from tenure.cli.fields import worker_fields
from tenure.cli.human import NOTHING, ago, count, duration, many, moment, safe_lines, size
from tenure.cli.job import end_with_failures
from tenure.cli.render import (
    Cells,
    Column,
    note,
    pairs,
    put,
    show,
    show_text,
    state,
    styled,
    table,
)
from tenure.errors import BrokerError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from tenure.core.fleet import Order
    from tenure.fleet import WorkerInfo

worker_argument = click.argument("worker", metavar="WORKER")
workers_argument = click.argument("names", metavar="WORKER...", nargs=-1, required=True)


@click.group(cls=Group)
def workers() -> None:
    """The workers of this broker: look at them, quiet, resume or stop them.

    WORKER is the id or the name of a worker. A name may be that of several; `quiet`, `resume`
    and `stop` then tell them all.
    """


@workers.command("ls")
@click.pass_context
def list_workers(context: click.Context) -> None:
    """List the connected workers, and those lost within the last minute."""
    session = session_of(context)
    with session.broker() as client:
        found = client.workers()

    def draw(screen: Console) -> None:
        if not found:
            note(session, "no workers")
            return
        now_ms = int(time.time() * 1000)
        columns = (
            Column("WORKER", whole=True),
            Column("NAME"),
            Column("STATE"),
            Column("BUSY", right=True),
            Column("QUEUES"),
            Column("DONE", right=True, spare=1),
            Column("FAILED", right=True, spare=2),
            Column("RSS", right=True, spare=4),
            Column("VERSION", spare=5),
            Column("SEEN", right=True, spare=3),
        )
        put(screen, table(screen, columns, [_row(each, now_ms) for each in found]))

    show(session, {"workers": [worker_fields(each) for each in found]}, draw, items="workers")


def _row(each: WorkerInfo, now_ms: int) -> Cells:
    return [
        each.id,
        each.name,
        state(_state(each)),
        f"{each.busy}/{each.slots}",
        ",".join(each.queues) or NOTHING,
        count(each.done),
        count(each.failed),
        size(each.rss_bytes) if each.rss_bytes else NOTHING,
        each.version or NOTHING,
        ago(each.seen_at_ms, now_ms),
    ]


def _state(each: WorkerInfo) -> str:
    return each.state or NOTHING


@workers.command("get")
@worker_argument
@click.pass_context
def get_worker(context: click.Context, worker: str) -> None:
    """Show one worker: its pools, its processes and the jobs it runs."""
    session = session_of(context)
    with session.broker() as client:
        found = client.worker(worker)
    show(session, worker_fields(found), lambda screen: _draw(screen, found))


def _draw(screen: Console, each: WorkerInfo) -> None:
    now_ms = int(time.time() * 1000)
    head = styled(f"{each.id}  {each.name}  ", "bold")
    put(screen, head.append(state(_state(each))))
    put(screen, pairs(_facts(each, now_ms)))
    for title, maps in (("Pools", each.pools), ("Processes", each.children)):
        if maps:
            put(screen, styled(title, "bold"))
        for one in maps:
            told = "  ".join(_told(name, value) for name, value in one.items())
            put(screen, styled(f"  {told}"))
    if not each.jobs:
        return
    columns = (
        Column("JOB", whole=True),
        Column("ATTEMPT", right=True),
        Column("TASK"),
        Column("QUEUE"),
        Column("POOL", spare=2),
        Column("STARTED", spare=1),
    )
    rows: list[Cells] = [
        [job.id, str(job.attempt), job.task, job.queue, job.pool, ago(job.started_at_ms, now_ms)]
        for job in each.jobs
    ]
    put(screen, table(screen, columns, rows))


def _told(name: str, value: Any) -> str:
    """One fact in units for people."""
    if isinstance(value, int):
        if name.endswith("_bytes"):
            return f"{name.removesuffix('_bytes')} {size(value)}"
        if name.endswith("_ms"):
            return f"{name.removesuffix('_ms')} {duration(value)}"
    return f"{name} {value}"


def _facts(each: WorkerInfo, now_ms: int) -> Iterator[tuple[str, str]]:
    yield "App", each.app or NOTHING
    yield "Process", f"{each.pid} on {each.host or NOTHING}, version {each.version or NOTHING}"
    yield "Queues", ", ".join(each.queues) or NOTHING
    yield "Busy", f"{each.busy} of {many(each.slots, 'slot')}"
    yield "Jobs", f"{count(each.done)} done, {count(each.failed)} failed"
    yield "Memory", size(each.rss_bytes) if each.rss_bytes else NOTHING
    yield "Started", f"{moment(each.started_at_ms)} ({ago(each.started_at_ms, now_ms)})"
    yield "Seen", f"{moment(each.seen_at_ms)} ({ago(each.seen_at_ms, now_ms)})"


# ---- telling ----------------------------------------------------------------------------


@workers.command("quiet")
@workers_argument
@click.pass_context
def quiet_workers(context: click.Context, names: tuple[str, ...]) -> None:
    """Let workers take no new jobs; what they run goes on."""
    _tell(context, names, "quiet")


@workers.command("resume")
@workers_argument
@click.pass_context
def resume_workers(context: click.Context, names: tuple[str, ...]) -> None:
    """Let quiet workers take jobs again."""
    _tell(context, names, "resume")


@workers.command("stop")
@workers_argument
@click.pass_context
def stop_workers(context: click.Context, names: tuple[str, ...]) -> None:
    """Let workers finish what they run, and end; as a SIGTERM would."""
    _tell(context, names, "stop")


def _tell(context: click.Context, names: tuple[str, ...], do: Order) -> None:
    session = session_of(context)
    rows: list[dict[str, object]] = []
    results: list[tuple[Exception | None, str]] = []
    with session.broker() as client:
        for name in names:
            try:
                told = client.tell_worker(name, do)
            except BrokerError as error:
                rows.append({"worker": name, "told": 0, "code": error.code})
                results.append((error, name))
            else:
                rows.append({"worker": name, "told": told})
                results.append((None, name))
    lines = [f"{row['worker']}: told to {do}" for row in rows if row["told"]]
    show_text(session, {"workers": rows}, [] if session.quiet else lines, items="workers")
    end_with_failures(results)


@workers.command("stacks")
@worker_argument
@click.option(
    "--max-wait", default="10s", show_default=True, metavar="TIME", help="Give up after so long."
)
@click.pass_context
def show_stacks(context: click.Context, worker: str, max_wait: str) -> None:
    """Show what every thread and task of a worker does just now."""
    session = session_of(context)
    wait_ms = duration_option("--max-wait", max_wait) or 0
    with session.broker(patient=True) as client:
        text = client.worker_stacks(worker, wait_ms / 1000)
    show_text(session, {"worker": worker, "stacks": text}, safe_lines(text))
