"""What a run of kills came to: counts, recovery times, and what was found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

COLUMNS = ("phase", "rounds", "kills", "confirmed", "done", "delivered", "again", "verified",
           "back p50", "p99", "max ms", "broken")  # fmt: skip


@dataclass(slots=True)
class Figures:
    """Of one phase. `violations` must be empty."""

    phase: str
    rounds: int = 0
    kills: int = 0
    verified: int = 0
    """How often the store was verified, each time right after a kill."""
    counts: Counter[str] = field(default_factory=Counter)
    recovered_s: list[float] = field(default_factory=list)
    """From the start of a process after a kill until it listened."""
    violations: list[str] = field(default_factory=list)

    def blame(self, promise: str, what: str) -> None:
        """Notes a broken promise."""
        self.violations.append(f"{promise}: {what}")

    def told(self) -> str:
        """Everything counted, in one line."""
        return ", ".join(f"{name} {count}" for name, count in sorted(self.counts.items()))

    def row(self) -> list[str]:
        """The line of the summary."""
        counts = self.counts
        done = counts["ack"] + counts["done"]
        numbers = (self.rounds, self.kills, counts["confirmed"], done, counts["deliveries"],
                   counts["redeliveries"], self.verified)  # fmt: skip
        times = [
            f"{1000 * percentile(self.recovered_s, share):.0f}" if self.recovered_s else "-"
            for share in (0.5, 0.99, 1.0)
        ]
        return [self.phase, *map(str, numbers), *times, str(len(self.violations))]


def percentile(values: Iterable[float], share: float) -> float:
    """The value that so large a share of the values does not exceed; 0.0 if there are none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def summary(figures: Sequence[Figures]) -> str:
    """All phases as a table, with a line of sums."""
    rows = [list(COLUMNS), *(each.row() for each in figures)]
    if len(figures) > 1:
        total = Figures("all")
        for each in figures:
            total.rounds += each.rounds
            total.kills += each.kills
            total.verified += each.verified
            total.counts += each.counts
            total.recovered_s += each.recovered_s
            total.violations += each.violations
        rows.append(total.row())
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
