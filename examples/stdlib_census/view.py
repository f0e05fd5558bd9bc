"""What is shown: progress on the way, live on a terminal and as plain lines elsewhere; findings at the end."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from examples.stdlib_census.analyse import Findings
from examples.stdlib_census.ledger import DeadLetter, Sum

LINE_EVERY_S = 1.0
LONGEST_SHOWN = 8
DEAD_SHOWN = 20


class View:
    """The progress of the work, as a context manager."""

    def __init__(self, console: Console, total: int) -> None:
        self._console = console
        self._total = total
        self._live: Progress | None = None
        self._bar: TaskID | None = None
        self._line_at = 0.0

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live = Progress(
                TextColumn("[bold]files"), BarColumn(), TextColumn("{task.completed}/{task.total}"),
                TextColumn("{task.fields[counts]}"), TimeElapsedColumn(), console=self._console,
            )  # fmt: skip
            self._bar = self._live.add_task("files", total=self._total, counts="")
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def event(self, text: str) -> None:
        """Something happened that deserves a line."""
        self._console.print(f"  {text}", highlight=False, soft_wrap=True)

    def progress(self, counts: Mapping[str, int]) -> None:
        """The queue's counts by state, as the broker tells them."""
        ended = counts["succeeded"] + counts["dead"]
        shown = "  ".join(
            f"{state} {counts[state]:,}"
            for state in ("ready", "leased", "retrying", "succeeded", "dead")
            if counts[state]
        )
        if self._live is not None and self._bar is not None:
            self._live.update(self._bar, completed=ended, counts=shown)
        elif time.monotonic() >= self._line_at:
            self._line_at = time.monotonic() + LINE_EVERY_S
            self._console.print(
                f"  {ended}/{self._total}  {shown}", highlight=False, soft_wrap=True
            )


def show_findings(console: Console, results: list[Findings]) -> None:
    """What the census found out."""
    table = Table(title="The standard library", title_justify="left", show_header=False)
    for name, value in (
        ("files with a result", len(results)),
        ("lines", sum(found["lines"] for found in results)),
        ("functions", sum(found["functions"] for found in results)),
        ("classes", sum(found["classes"] for found in results)),
    ):
        table.add_row(name, f"{value:,}")
    oddities: Counter[str] = Counter()
    for found in results:
        oddities.update(found["oddities"])
    for oddity, count in oddities.most_common():
        table.add_row(oddity, f"{count:,}")
    console.print(table)

    table = Table("lines", "function", "file", title="Longest functions", title_justify="left")
    for found in sorted(results, key=lambda each: -each["longest_lines"])[:LONGEST_SHOWN]:
        table.add_row(f"{found['longest_lines']:,}", found["longest"], found["path"])
    console.print(table)


def show_dead(console: Console, dead: list[DeadLetter]) -> None:
    """The dead letters: files that are not Python of this version."""
    table = Table(title=f"Dead letters: {len(dead)}", title_justify="left")
    table.add_column("file", overflow="fold")
    table.add_column("error")
    for letter in sorted(dead, key=lambda each: each.path)[:DEAD_SHOWN]:
        table.add_row(letter.path, letter.error)
    console.print(table)
    if len(dead) > DEAD_SHOWN:
        console.print(f"  and {len(dead) - DEAD_SHOWN} more")


def show_sum(console: Console, total: Sum, redelivered: int, deliveries: int) -> None:
    """The account, line by line, and the verdict."""
    table = Table(title="The sum", title_justify="left", show_header=False)
    for name, value in (
        ("files enqueued", total.files),
        ("results", total.results),
        ("dead letters", total.dead),
        ("missing", len(total.missing)),
        ("ended twice", len(total.doubled)),
        ("never enqueued", len(total.strange)),
        ("dead for no reason", len(total.wrongly_dead)),
        ("bytes on disk", total.bytes_on_disk),
        ("bytes processed", total.bytes_processed),
        ("deliveries", deliveries),
        ("delivered more than once", redelivered),
    ):
        table.add_row(name, f"{value:,}")
    console.print(table)
    for name, paths in (
        ("missing", total.missing),
        ("ended twice", total.doubled),
        ("never enqueued", total.strange),
        ("dead for no reason", total.wrongly_dead),
    ):
        for path in paths[:DEAD_SHOWN]:
            console.print(f"  {name}: {path}", highlight=False, soft_wrap=True)
