"""A progress bar on stderr, where there is a terminal to show it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple

import click

from tenure.cli.human import safe
from tenure.cli.render import console, styled
from tenure.cli.session import Session


class Progress(NamedTuple):
    """A bar, or nothing that behaves like one."""

    advance: Callable[[int, str], None]
    """Takes how much is done, and a text to show beside the bar."""
    say: Callable[[str], None]
    """Prints a line on stderr without spoiling the bar."""


def _say_plainly(text: str) -> None:
    click.echo(safe(text), err=True)


@contextlib.contextmanager
def progress(session: Session, label: str, total: int | None) -> Iterator[Progress]:
    """A bar for the length of a `with`: on a terminal, unless `--quiet` or lines go to stdout."""
    lines_on_screen = session.format == "ndjson" and sys.stdout.isatty()
    if session.quiet or lines_on_screen or not sys.stderr.isatty():
        yield Progress(lambda _done, _text: None, _say_plainly)
        return
    from rich import progress as rich

    columns = (
        rich.TextColumn("{task.description}"),
        rich.BarColumn(),
        rich.TextColumn("{task.fields[text]}"),
        rich.TimeRemainingColumn(),
    )
    screen = console(session, stderr=True)
    # Rich would send what is printed on stdout to the bar's stream, past a pipe.
    with rich.Progress(*columns, console=screen, transient=True, redirect_stdout=False) as bar:
        task = bar.add_task(label, total=total, text="")
        yield Progress(
            lambda done, text: bar.update(task, completed=done, text=text),
            lambda text: screen.print(styled(text)),
        )
