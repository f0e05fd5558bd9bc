"""The tables of the section: medians of the rounds, with the smallest and the largest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.peers.frameworks.catalog import ENQUEUES, FRAMEWORKS, Framework
from bench.peers.frameworks.rounds import SECTION
from bench.peers.results import TENURE, Note, Results, Row
from bench.stats import median

AHEAD_AIM = 5.0
"""How many times as many jobs per second Tenure shall do as every other framework."""

NOISE_PERCENT = 30.0
"""Of one core, used by others: figures taken in more than that are marked."""

SPEEDS = ("enqueue", "enqueue-many", "process")


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """The rounds of one figure together."""

    value: float
    low: float
    high: float
    disturbed: bool
    rounds: int


def section(results: Results) -> str:
    """The section in Markdown; "" when nothing of it was measured."""
    rows = [row for row in results.rows if row.section == SECTION]
    notes = [note for note in results.notes if note.section == SECTION]
    if not rows and not notes:
        return ""
    shown = [one for one in FRAMEWORKS if _of(rows, one)]
    parts = [
        "## Task frameworks",
        "Jobs per second: median (least to most) of the rounds. `x` is how many times as many "
        "Tenure does, arranged alike; `~` marks figures in whose time other programs used more "
        f"than {NOISE_PERCENT:.0f} % of a core.",
        _speeds(rows, shown),
        _costs(rows, shown),
        _syncs(rows, shown),
        _behind(rows, shown),
        _how(shown),
        _notes(notes),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def figure(rows: Iterable[Row], framework: Framework, name: str, extra: str = "") -> Figure | None:
    """What the rounds say of one row, or of something beside its value; None: not measured."""
    found = [row for row in _of(rows, framework) if row.row == name]
    if not found:
        return None
    values = [float(row.extra[extra]) if extra else row.value for row in found]
    noise = [float(row.extra.get("alien_cpu_percent", 0.0)) for row in found]
    return Figure(
        value=median(values),
        low=min(values),
        high=max(values),
        disturbed=max(noise) > NOISE_PERCENT,
        rounds=len(found),
    )


def ahead(rows: Sequence[Row], framework: Framework, name: str) -> float | None:
    """How many times as many jobs per second Tenure does as `framework`, arranged alike.

    None for Tenure itself, and where one of the two was not measured.
    """
    like = framework.like if name == "process" else framework.like and ENQUEUES
    ours = next((o for o in FRAMEWORKS if o.peer == TENURE and o.mode == like), None)
    if ours is None:
        return None
    mine, theirs = figure(rows, ours, name), figure(rows, framework, name)
    return mine.value / theirs.value if mine and theirs and theirs.value else None


def _of(rows: Iterable[Row], framework: Framework) -> list[Row]:
    return [row for row in rows if (row.peer, row.mode) == (framework.peer, framework.mode)]


def _speeds(rows: Sequence[Row], shown: Sequence[Framework]) -> str:
    heads = ["framework", "broker", "a confirmation is"]
    for name in ("enqueue one by one", "enqueue many", "process"):
        heads += [f"{name} /s", "x"]
    lines = []
    for one in shown:
        cells = [one.name, one.broker, _durability(rows, one)]
        for name in SPEEDS:
            factor = ahead(rows, one, name)
            cells += [_cell(figure(rows, one, name)), f"{factor:.1f}" if factor else ""]
        lines.append(cells)
    return _table(heads, lines)


def _costs(rows: Sequence[Row], shown: Sequence[Framework]) -> str:
    heads = [
        "framework",
        "arranged like",
        "jobs processed",
        "worker CPU us/job",
        "broker CPU us/job",
    ]
    heads += ["idle p50 ms", "idle p99 ms", "idle jobs"]
    lines = [
        [
            one.name,
            f"tenure-{one.like}" if one.like else "",
            _plain(figure(rows, one, "process", "jobs")),
            _plain(figure(rows, one, "process", "worker_cpu_us_per_job")),
            _plain(figure(rows, one, "process", "broker_cpu_us_per_job")),
            _cell(figure(rows, one, "idle")),
            _plain(figure(rows, one, "idle", "p99_ms")),
            _plain(figure(rows, one, "idle", "jobs")),
        ]
        for one in shown
    ]
    return _table(heads, lines)


def _syncs(rows: Sequence[Row], shown: Sequence[Framework]) -> str:
    lines = []
    for one in shown:
        enqueued, processed = figure(rows, one, "syncs-enqueue"), figure(rows, one, "syncs-process")
        if enqueued or processed:
            lines.append([one.name, _durability(rows, one), _plain(enqueued), _plain(processed)])
    if not lines:
        return ""
    heads = ["framework", "a confirmation is", "syncs per job enqueued", "syncs per job processed"]
    return "Syncs of the disk that strace saw, in a pass of its own:\n\n" + _table(heads, lines)


def _behind(rows: Sequence[Row], shown: Sequence[Framework]) -> str:
    missed = []
    for one in shown:
        for name in SPEEDS:
            factor = ahead(rows, one, name)
            if factor is not None and factor < AHEAD_AIM:
                missed.append(f"- {name}, {one.name}: {factor:.1f} times")
    if not missed:
        return ""
    return f"Where Tenure is not {AHEAD_AIM:.0f} times ahead:\n\n" + "\n".join(missed)


def _how(shown: Sequence[Framework]) -> str:
    return "\n".join(
        f"- {one.name}: `{' '.join(_short(word) for word in one.worker)}`; {one.how}"
        for one in shown
    )


def _short(word: str) -> str:
    return word.rpartition("/")[2] if word.startswith("/") else word


def _notes(notes: Sequence[Note]) -> str:
    kinds = {"missing": "Not measured", "failed": "Failed"}
    lines = []
    for note in notes:
        if note.kind in kinds:
            line = f"- {kinds[note.kind]}: {note.peer}-{note.mode}: {note.text.splitlines()[0]}"
            lines.append(line)
    return "\n".join(dict.fromkeys(lines))


def _durability(rows: Sequence[Row], framework: Framework) -> str:
    return _of(rows, framework)[0].durability


def _cell(found: Figure | None) -> str:
    if found is None:
        return "-"
    mark = "~" if found.disturbed else ""
    if found.rounds == 1:
        return f"{mark}{_number(found.value)}"
    return f"{mark}{_number(found.value)} ({_number(found.low)} to {_number(found.high)})"


def _plain(found: Figure | None) -> str:
    return _number(found.value) if found else "-"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _table(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = [heads, ["---"] * len(heads), *lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
