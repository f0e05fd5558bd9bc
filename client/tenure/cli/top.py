"""`tenure top`: the queues, live."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

import click

from tenure.cli.commands import Command, duration_option, session_of
from tenure.cli.errors import CliError, Exit
from tenure.cli.fields import plain, queue_fields
from tenure.cli.human import rate
from tenure.cli.queue import queues_table
from tenure.cli.render import console, pairs, put, styled, to_json
from tenure.cli.session import Session
from tenure.cli.status import busiest, overview, warnings
from tenure_protocol.errors import TenureError

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from tenure.client import Client
    from tenure.info import QueueInfo

INTERVAL_MS_MIN = 100
_WARNINGS_SHOWN_MAX = 5
_LINES_BESIDE_QUEUES = 14


@click.command(cls=Command)
@click.option("--interval", default="1s", show_default=True, metavar="TIME", help="Between looks.")
@click.option("-n", "--iterations", type=click.IntRange(1), metavar="N", help="End after N looks.")
@click.argument("prefix", required=False)
@click.pass_context
def top(context: click.Context, interval: str, iterations: int | None, prefix: str | None) -> None:
    """Watch the queues (or those that begin with PREFIX) until Ctrl-C.

    On a terminal the screen is redrawn; in a pipe, and as JSON, one look follows the other.
    A broker that is away for a moment is waited for.
    """
    session = session_of(context)
    interval_ms = duration_option("--interval", interval) or 0
    if interval_ms < INTERVAL_MS_MIN:
        raise CliError(f"--interval must be at least {INTERVAL_MS_MIN}ms", Exit.USAGE)
    with session.broker(patient=True) as client:
        if session.format != "table" or not sys.stdout.isatty():
            _print_looks(session, client, prefix, interval_ms, iterations)
        else:
            _watch(session, client, prefix, interval_ms, iterations)


def _look(client: Client, prefix: str | None) -> tuple[dict[str, Any], list[QueueInfo]]:
    return client.stats(), client.queues(prefix=prefix)


def _print_looks(
    session: Session, client: Client, prefix: str | None, interval_ms: int, iterations: int | None
) -> None:
    looks = 0
    while True:
        stats, infos = _look(client, prefix)
        if session.format == "table":
            screen = console(session)
            put(screen, _picture(session, screen, stats, infos, len(infos)))
        else:
            record = {"stats": plain(stats), "queues": [queue_fields(info) for info in infos]}
            click.echo(to_json(record))
        sys.stdout.flush()
        looks += 1
        if iterations is not None and looks >= iterations:
            return
        time.sleep(interval_ms / 1000)


def _watch(
    session: Session, client: Client, prefix: str | None, interval_ms: int, iterations: int | None
) -> None:
    from rich.live import Live

    screen = console(session)
    stats, infos = _look(client, prefix)
    looks = 1
    with Live(console=screen, screen=True, auto_refresh=False) as live:
        while True:
            room = max(3, screen.height - _LINES_BESIDE_QUEUES)
            live.update(_picture(session, screen, stats, infos, room), refresh=True)
            if iterations is not None and looks >= iterations:
                return
            time.sleep(interval_ms / 1000)
            looks += 1
            try:
                stats, infos = _look(client, prefix)
            except (TenureError, TimeoutError) as error:
                live.update(styled(f"no answer, trying again: {error}", "red"), refresh=True)


def _picture(
    session: Session,
    screen: Console,
    stats: dict[str, Any],
    infos: list[QueueInfo],
    room: int,
) -> RenderableType:
    from rich.console import Group

    total_in = sum(info.rates.get("enqueued", 0.0) for info in infos)
    total_out = sum(info.rates.get("ended", 0.0) for info in infos)
    pace = ("Pace", f"in {rate(total_in)}/s, out {rate(total_out)}/s")
    parts: list[RenderableType] = [pairs([*overview(session.broker_url, stats), pace])]
    parts += [styled(""), queues_table(screen, busiest(infos, room))]
    if len(infos) > room:
        parts.append(styled(f"… and {len(infos) - room} more queues", "bright_black"))
    found = list(warnings(stats, infos))[:_WARNINGS_SHOWN_MAX]
    parts += [styled(""), *(styled(f"! {warning}", "yellow") for warning in found)]
    return Group(*parts)
