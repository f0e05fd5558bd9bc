"""`tenure chore`: what the broker does in the background, such as a mass replay."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from tenure.cli.commands import Group, session_of
from tenure.cli.errors import CliError, Exit
from tenure.cli.fields import chore_fields
from tenure.cli.human import NOTHING, count, many, moment, rate
from tenure.cli.progress import progress
from tenure.cli.render import Cells, Column, done, note, pairs, put, show, state, table
from tenure.cli.session import Session
from tenure_protocol.errors import ChoreNotFound

if TYPE_CHECKING:
    from rich.console import Console

    from tenure.client import Client
    from tenure.info import Chore

POLL_S = 0.2
"""How often a followed chore is asked for."""


@click.group(cls=Group)
def chore() -> None:
    """Background work of the broker: follow it, cancel it."""


@chore.command("ls")
@click.pass_context
def list_chores(context: click.Context) -> None:
    """List what is running, and what has finished since the broker started."""
    session = session_of(context)
    with session.broker() as client:
        chores = client.chores()

    def draw(screen: Console) -> None:
        if not chores:
            note(session, "no chores")
            return
        columns = (
            Column("CHORE", right=True),
            Column("KIND"),
            Column("QUEUE"),
            Column("STATE"),
            *(Column(title, right=True) for title in ("DONE", "SKIPPED", "LIMIT", "RATE")),
            Column("STARTED"),
        )
        put(screen, table(screen, columns, [_row(each) for each in chores]))

    show(session, {"chores": [chore_fields(each) for each in chores]}, draw, items="chores")


def _row(each: Chore) -> Cells:
    return [
        str(each.chore),
        each.kind,
        each.queue or NOTHING,
        state(each.state),
        count(each.done),
        count(each.skipped),
        NOTHING if each.limit is None else count(each.limit),
        NOTHING if each.rate is None else f"{rate(each.rate)}/s",
        moment(each.started_at_ms),
    ]


@chore.command("get")
@click.argument("number", type=click.IntRange(0), metavar="CHORE")
@click.option("-f", "--follow", is_flag=True, help="Wait for its end.")
@click.pass_context
def get_chore(context: click.Context, number: int, follow: bool) -> None:
    """Show one chore; with --follow, once it has ended."""
    session = session_of(context)
    with session.broker(patient=follow) as client:
        found = follow_chore(session, client, number, None) if follow else client.chore(number)
    show(session, chore_fields(found), lambda screen: _draw(screen, found))


@chore.command("cancel")
@click.argument("number", type=click.IntRange(0), metavar="CHORE")
@click.pass_context
def cancel_chore(context: click.Context, number: int) -> None:
    """Stop a chore where it is. What it has done stays done."""
    session = session_of(context)
    with session.broker() as client:
        found = client.cancel_chore(number)
    done(session, f"chore {number} is {found.state}; {count(found.done)} done", chore_fields(found))


def _draw(screen: Console, each: Chore) -> None:
    facts = [
        ("Chore", f"{each.chore} ({each.kind})"),
        ("Queue", each.queue or NOTHING),
        ("State", each.state),
        ("Done", count(each.done)),
        ("Skipped", count(each.skipped)),
        ("Limit", NOTHING if each.limit is None else count(each.limit)),
        ("Rate", NOTHING if each.rate is None else f"{rate(each.rate)}/s"),
        ("Started", moment(each.started_at_ms)),
    ]
    put(screen, pairs(facts))


def follow_chore(session: Session, client: Client, number: int, expected: int | None) -> Chore:
    """The chore once it has ended, with a progress bar on a terminal.

    Ctrl-C stops the following, not the chore.
    """
    try:
        with progress(session, f"chore {number}", expected) as bar:
            found: Chore | None = None
            while True:
                try:
                    found = client.chore(number)
                except ChoreNotFound as error:
                    if found is None:
                        raise
                    # Running chores survive a restart, the memory of ended ones does not.
                    raise CliError(
                        f"chore {number} has ended, but the broker was restarted meanwhile and"
                        f" no longer knows its count (it had done {count(found.done)})",
                        Exit.TEMPORARY,
                    ) from error
                bar.advance(found.done + found.skipped, many(found.done, "job"))
                if found.state != "running":
                    return found
                time.sleep(POLL_S)
    except KeyboardInterrupt:
        note(session, f"the chore goes on; stop it with: tenure chore cancel {number}")
        raise
