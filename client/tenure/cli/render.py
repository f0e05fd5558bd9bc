"""Printing: tables for people, JSON for programs, notes beside the results.

Results go to stdout, everything else to stderr. Text from outside is made safe here, and
reaches Rich as `Text`, never as markup.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import click

from tenure.cli.errors import CliError, Exit
from tenure.cli.human import safe
from tenure.cli.session import Session

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table
    from rich.text import Text

_WIDTH_WITHOUT_TERMINAL = 4_000
_GAP = 2

STATE_STYLES = {
    "running": "green",
    "paused": "yellow",
    "ready": "cyan",
    "leased": "blue",
    "scheduled": "magenta",
    "retrying": "yellow",
    "succeeded": "green",
    "dead": "red",
    "cancelled": "bright_black",
    "expired": "bright_black",
    "warning": "yellow",
}
"""The colour of each state."""


class Column(NamedTuple):
    """A column of a table.

    `whole` ones are never cut, numbers (`right`) neither: a cut number is a wrong one. Where
    the terminal is too narrow, columns with the highest `spare` are left out first; 0: never.
    """

    title: str
    right: bool = False
    whole: bool = False
    spare: int = 0


Cells: TypeAlias = "Sequence[str | Text]"
"""A row of a table."""


def to_json(value: object, *, indent: int | None = None) -> str:
    """JSON that neither breaks a line nor drives a terminal."""
    text = json.dumps(value, ensure_ascii=False, indent=indent, default=str)
    if text.replace("\n", "").isprintable():
        return text
    return json.dumps(value, indent=indent, default=str)


def show(
    session: Session,
    record: Mapping[str, object],
    draw: Callable[[Console], None],
    *,
    items: str | None = None,
) -> None:
    """Print `record` as JSON, or `draw` it for people.

    With `items`, NDJSON prints one line for each element of `record[items]`.
    """
    if session.format == "table":
        draw(console(session))
    else:
        _print_json(session, record, items)


def show_text(
    session: Session,
    record: Mapping[str, object],
    lines: Sequence[str],
    *,
    items: str | None = None,
) -> None:
    """Print `record` as JSON, or plain `lines` for people. Rich is not needed for that."""
    if session.format == "table":
        for line in lines:
            click.echo(safe(line))
    else:
        _print_json(session, record, items)


def done(session: Session, sentence: str, record: Mapping[str, object]) -> None:
    """Tell that something was done: a sentence for people, `record` for programs."""
    show_text(session, record, [] if session.quiet else [sentence])


def _print_json(session: Session, record: Mapping[str, object], items: str | None) -> None:
    if session.format == "json":
        click.echo(to_json(record, indent=2))
        return
    rows = record[items] if items else [record]
    assert isinstance(rows, list)
    for row in rows:
        click.echo(to_json(row))


def note(session: Session, sentence: str) -> None:
    """A remark on stderr; `--quiet` leaves it out."""
    if not session.quiet:
        click.echo(safe(sentence), err=True)


def console(session: Session, *, stderr: bool = False) -> Console:
    """A Rich console for stdout (or stderr) with the session's settings."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    return Console(
        file=stream,
        width=None if stream.isatty() else _WIDTH_WITHOUT_TERMINAL,
        no_color=True if session.no_color else None,
        markup=False,
        highlight=False,
        emoji=False,
    )


def put(screen: Console, renderable: RenderableType) -> None:
    """Print; in a pipe without the blanks that only fill up a line."""
    if screen.is_terminal:
        screen.print(renderable)
        return
    with screen.capture() as captured:
        screen.print(renderable, soft_wrap=isinstance(renderable, str))
    for line in captured.get().splitlines():
        click.echo(line.rstrip())


def table(screen: Console, columns: Sequence[Column], rows: Iterable[Cells]) -> Table:
    """A plain table that fits the screen: titles, no lines, columns two blanks apart."""
    from rich.table import Table

    cells = [[styled(c) if isinstance(c, str) else c for c in row] for row in rows]
    widths = [
        max([len(column.title), *(row[place].cell_len for row in cells)])
        for place, column in enumerate(columns)
    ]
    kept = _fitting(columns, widths, screen.width)
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for place in kept:
        column = columns[place]
        made.add_column(
            column.title,
            justify="right" if column.right else "left",
            no_wrap=True,
            overflow="ellipsis",
            min_width=widths[place] if column.whole or column.right else None,
        )
    for row in cells:
        made.add_row(*(row[place] for place in kept))
    return made


def _fitting(columns: Sequence[Column], widths: Sequence[int], width: int) -> list[int]:
    """The places of the columns to show."""
    kept = list(range(len(columns)))
    while sum(widths[place] + _GAP for place in kept) - _GAP > width:
        spared = max(kept, key=lambda place: columns[place].spare)
        if not columns[spared].spare:
            break
        kept.remove(spared)
    return kept


def pairs(rows: Iterable[tuple[str, str]]) -> Table:
    """Names on the left, values on the right."""
    from rich.table import Table

    made = Table.grid(padding=(0, 2, 0, 0))
    made.add_column(style="bold", no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in rows:
        made.add_row(name, styled(value))
    return made


def styled(text: str, style: str = "") -> Text:
    """Text made safe, in a style."""
    from rich.text import Text

    return Text(safe(text), style=style)


def state(name: str) -> Text:
    """A state in its colour."""
    return styled(name, STATE_STYLES.get(name.split(",")[0], ""))


def confirm(session: Session, question: str, *, yes: bool) -> None:
    """Go on only if a person agrees, or `--yes` was given.

    Raises `CliError`: without a terminal nobody can be asked; with a no, nothing was done.
    """
    if yes:
        return
    if not session.is_interactive():
        raise CliError(
            f"nobody can be asked without a terminal ({question}); pass -y to go ahead", Exit.USAGE
        )
    if not click.confirm(safe(question), default=False, err=True):
        raise CliError("not confirmed; nothing was done", Exit.FAILED)
