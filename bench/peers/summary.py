"""Figures of several rounds put together, and who is ahead."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bench.peers.results import FSYNC, TENURE, Row, label, more_is_better
from bench.stats import median

ALIEN_CPU_PERCENT_MAX = 30.0
"""What others may use of a core beside an undisturbed figure; the kernel's syncing is in it."""

AGAINST_DURABLE = frozenset({"A", "B"})
"""Sections where only peers that sync before they confirm are Tenure's equals."""

WITHOUT_VERDICT = frozenset({"S", "machine", "frameworks"})
"""Sections that say how, not who is ahead; frameworks are compared arrangement by arrangement."""

BARE = frozenset({"redis list", "redis list-script", "valkey list"})
"""Durable peers that hold bare strings: no ids, no leases, no attempts. They count, and a row
that only they win is told apart from one that a queue of job records wins."""

NOT_ALIKE = {
    ("B", "memory"): frozenset({"postgres"}),
    ("B", "private memory"): frozenset({"postgres"}),
}
"""Figures that mean something else: PostgreSQL's cache is a fixed block of shared memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One row of one peer over all rounds. `extra` has the medians of the further numbers."""

    section: str
    row: str
    peer: str
    mode: str
    durability: str
    value: float
    low: float
    high: float
    rounds: int
    unit: str
    extra: Mapping[str, float]

    @property
    def label(self) -> str:
        """The peer's name in tables."""
        return label(self.peer, self.mode)

    @property
    def disturbed(self) -> bool:
        """Whether others used so much CPU that the figure says little."""
        return self.extra.get("alien_cpu_percent", 0.0) > ALIEN_CPU_PERCENT_MAX


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Tenure's durable figure of a row beside that of its best equal.

    `ratio` is how many times better Tenure is (above 1: ahead), whichever direction is the
    better one; `None` when there is nothing to divide by. `best_records` is the best of those
    that keep job records.
    """

    tenure: Cell
    best: Cell
    best_records: Cell | None

    @property
    def ratio(self) -> float | None:
        """To the best of all."""
        return _ratio(self.tenure, self.best)

    @property
    def ratio_records(self) -> float | None:
        """To the best that keeps job records."""
        return None if self.best_records is None else _ratio(self.tenure, self.best_records)

    @property
    def lost(self) -> bool:
        """Whether the best equal is ahead of Tenure, or level."""
        if self.ratio is not None:
            return self.ratio <= 1
        more = more_is_better(self.best.unit)
        return (self.best.value > self.tenure.value) == more

    @property
    def lost_to_bare(self) -> bool:
        """Whether only bare strings are ahead."""
        return self.lost and self.ratio_records is not None and self.ratio_records > 1


def summarise(rows: Iterable[Row]) -> list[Cell]:
    """A cell per section, row and peer, in the order of first appearance."""
    same: dict[tuple[str, str, str, str], list[Row]] = {}
    for row in rows:
        same.setdefault((row.section, row.row, row.peer, row.mode), []).append(row)
    return [_cell(group) for group in same.values()]


def verdicts(cells: Sequence[Cell]) -> list[Verdict]:
    """One per row that Tenure and at least one of its equals have."""
    found: list[Verdict] = []
    for tenure in cells:
        if tenure.peer != TENURE or not _is_tenure_proper(tenure, cells):
            continue
        equals = [cell for cell in cells if _is_equal(tenure, cell)]
        if equals and tenure.section not in WITHOUT_VERDICT:
            pick = max if more_is_better(tenure.unit) else min
            records = [cell for cell in equals if cell.label not in BARE]
            found.append(
                Verdict(
                    tenure=tenure,
                    best=pick(equals, key=lambda cell: cell.value),
                    best_records=pick(records, key=lambda cell: cell.value, default=None),
                )
            )
    return found


def _is_tenure_proper(cell: Cell, cells: Sequence[Cell]) -> bool:
    """Tenure's own best durable mode in this row: a queue without syncs proves nothing."""
    if cell.durability != FSYNC:
        return False
    pick = max if more_is_better(cell.unit) else min
    modes = [
        one
        for one in cells
        if (one.section, one.row, one.peer, one.durability)
        == (cell.section, cell.row, TENURE, FSYNC)
    ]
    return pick(modes, key=lambda one: one.value) is cell


def _is_equal(tenure: Cell, cell: Cell) -> bool:
    same = (cell.section, cell.row) == (tenure.section, tenure.row) and cell.peer != TENURE
    if not same or cell.peer in NOT_ALIKE.get((cell.section, cell.row), frozenset()):
        return False
    return cell.durability == FSYNC or cell.section not in AGAINST_DURABLE


def _ratio(tenure: Cell, best: Cell) -> float | None:
    above, below = tenure.value, best.value
    if not more_is_better(tenure.unit):
        above, below = below, above
    return above / below if above > 0 and below > 0 else None


def _cell(rows: list[Row]) -> Cell:
    first, values = rows[0], [row.value for row in rows]
    return Cell(
        section=first.section,
        row=first.row,
        peer=first.peer,
        mode=first.mode,
        durability=first.durability,
        value=median(values),
        low=min(values),
        high=max(values),
        rounds=len(rows),
        unit=first.unit,
        extra=_extra([row.extra for row in rows]),
    )


def _extra(extras: Sequence[Mapping[str, object]]) -> dict[str, float]:
    numbers: dict[str, list[float]] = {}
    for extra in extras:
        for key, value in extra.items():
            if isinstance(value, int | float):
                numbers.setdefault(key, []).append(value)
    return {key: median(values) for key, values in numbers.items()}
