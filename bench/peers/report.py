"""The result files: JSON with everything, Markdown to be read, SVG to be seen."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from bench.peers import backlog, rates, results, syncs
from bench.peers.frameworks.report import section as frameworks_section
from bench.peers.frameworks.rounds import SECTION as FRAMEWORKS
from bench.peers.results import FSYNC, TENURE, Note, Results, label
from bench.peers.summary import (
    AGAINST_DURABLE,
    ALIEN_CPU_PERCENT_MAX,
    WITHOUT_VERDICT,
    Cell,
    Verdict,
    summarise,
    verdicts,
)

TITLES = {
    "A": "Brokers: jobs in and out",
    "B": "Brokers: a long backlog",
    "S": "Is durable durable: syncs that the server really made",
    "machine": "The machine, before each round",
}
ROW_TITLES = {rates.SECTION: rates.ROWS, backlog.SECTION: backlog.ROWS}

REMARKS = {
    backlog.SECTION: "beanstalkd and NATS are filled with fewer syncs and started again as "
    "stated. PostgreSQL's memory is a fixed block that all of its processes share, so its figure "
    "does not count.",
    syncs.SECTION: "Traced in a pass of its own, which no clock sees. What a server does behind "
    "its confirmations (Tenure's store, RabbitMQ's segments, Redis once a second) is in it.",
}
OTHER_REPORTS = {FRAMEWORKS: frameworks_section}
"""Sections that another part of the package writes itself."""


def write_report(out: Path, name: str, lines: Sequence[Path]) -> list[Path]:
    """Writes the files of a comparison from its JSON lines; returns their paths."""
    found = results.load(lines)
    cells = summarise(found.rows)
    out.mkdir(parents=True, exist_ok=True)
    whole, page = out / f"{name}.json", out / f"{name}.md"
    whole.write_text(json.dumps(_whole(found, cells), indent=1) + "\n")
    charts = draw(out, name, cells)
    page.write_text(markdown(found, cells, [chart.name for chart in charts]))
    return [whole, page, *charts]


def _whole(found: Results, cells: Sequence[Cell]) -> dict[str, object]:
    return {
        "format": 1,
        "at": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "machine": _machine(found.notes),
        "verdicts": [
            {
                "section": one.tenure.section,
                "row": one.tenure.row,
                "tenure": one.tenure.value,
                "best": one.best.label,
                "best_value": one.best.value,
                "unit": one.tenure.unit,
                "ratio": one.ratio,
                "best_records": one.best_records and one.best_records.label,
                "ratio_records": one.ratio_records,
                "lost": one.lost,
            }
            for one in verdicts(cells)
        ],
        "cells": [asdict(cell) for cell in cells],
        "notes": [asdict(note) for note in found.notes],
        "rows": [asdict(row) for row in found.rows],
    }


def _machine(notes: Sequence[Note]) -> dict[str, object]:
    for note in notes:
        if note.kind == "machine":
            machine: dict[str, object] = json.loads(note.text)
            return machine
    return {}


def draw(out: Path, name: str, cells: Sequence[Cell]) -> list[Path]:
    """One bar chart per section and unit; none where the chart module's library is missing."""
    try:
        from bench.charts import bars
    except ImportError:
        return []
    groups: dict[tuple[str, str], dict[str, dict[str, float]]] = {}
    for cell in cells:
        if cell.section != "machine" and cell.value > 0:
            group = groups.setdefault((cell.section, cell.unit), {})
            group.setdefault(cell.row, {})[cell.label] = cell.value
    made = []
    for (section, unit), group in groups.items():
        path = out / f"{name}-{section}-{_word(unit)}.svg"
        bars(path, f"{_title(section)} ({unit})", group, ylabel=unit, log_y=True)
        made.append(path)
    return made


def _word(unit: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in unit)


def markdown(found: Results, cells: Sequence[Cell], charts: Sequence[str] = ()) -> str:
    """The page."""
    parts = ["# Tenure beside its peers", _heading(found), _verdict_text(verdicts(cells))]
    for section in dict.fromkeys(cell.section for cell in cells):
        if section in OTHER_REPORTS:
            parts.append(OTHER_REPORTS[section](found))
            parts += [f"![{chart}]({chart})" for chart in charts if f"-{section}-" in chart]
            continue
        inside = [cell for cell in cells if cell.section == section]
        parts += [f"## {_title(section)}", REMARKS.get(section, ""), _table(section, inside)]
        parts += [f"![{chart}]({chart})" for chart in charts if f"-{section}-" in chart]
        if section == rates.SECTION:
            parts += ["### One job at a time: p50 / p99 in us", _latencies(inside)]
            parts += ["### CPU of the server, % of a core", _processors(inside)]
    notes = [note for note in found.notes if note.section not in OTHER_REPORTS]
    parts += ["## How each one was run", _notes(notes, "how")]
    parts += ["## Not measured", _notes(notes, "missing") or "Every peer was there."]
    if failed := _notes(notes, "failed"):
        parts += ["## What went wrong on the way", failed]
    return "\n\n".join(part for part in parts if part) + "\n"


def _heading(found: Results) -> str:
    machine = _machine(found.notes)
    # Counted, for a run may have been added to.
    looks = Counter((row.section, row.row, row.peer, row.mode) for row in found.rows)
    rounds = max(looks.values(), default=0)
    where = ""
    if machine:
        where = (
            f"{machine['cpu']}, {machine['cores']} cores, {machine['filesystem']}, "
            f"Linux {machine['kernel']}, Python {machine['python']}. "
        )
    return (
        f"{where}At most {rounds} round(s); in each round every row is run on one peer after the other, "
        "all other servers stopped meanwhile. Figures are medians (smallest - largest). "
        "Clients are Python processes for all, over loopback; payloads have 100 bytes. "
        f"`~`: others used over {ALIEN_CPU_PERCENT_MAX:.0f} % of a core meanwhile (the kernel's "
        "own syncing is in that), so the figure says little."
    )


def _verdict_text(found: Sequence[Verdict]) -> str:
    if not found:
        return "Nothing to compare: Tenure, or its peers, were not measured."
    lost = [one for one in found if one.lost]
    text = "**Tenure is ahead in every row.**"
    if lost:
        rows = "; ".join(
            f"{_row_title(one.tenure)}: {_number(one.tenure.value)} against "
            f"{_number(one.best.value)} {one.best.unit} ({one.best.label}"
            + (
                "; bare strings, Tenure is ahead of every queue of job records)"
                if one.lost_to_bare
                else ")"
            )
            for one in lost
        )
        text = f"**Rows that Tenure loses, {len(lost)} of {len(found)}:** {rows}."
    header = ["row", "Tenure", "unit", "best peer", "its figure", "ratio"]
    header += ["best with job records", "ratio to that"]
    lines = [
        [
            _row_title(one.tenure),
            _marked(one.tenure),
            one.tenure.unit,
            one.best.label,
            _marked(one.best),
            _ratio_text(one.ratio) + (" **lost**" if one.lost else ""),
            one.best_records.label if one.best_records else "-",
            _ratio_text(one.ratio_records),
        ]
        for one in found
    ]
    note = (
        "The best peer is the best of those that sync before they confirm. Ratio: how many times "
        "better Tenure is; above 1 it is ahead. Redis and Valkey lists hold bare strings, without "
        "ids, leases or attempts; list-script acknowledges a batch as a whole."
    )
    return "\n\n".join([text, _grid(header, lines), note])


def _ratio_text(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.2f}"


def _table(section: str, cells: Sequence[Cell]) -> str:
    """A line per peer, Tenure first; the best equal of each row in bold."""
    rows = list(dict.fromkeys(cell.row for cell in cells))
    units = {cell.row: cell.unit for cell in cells}
    best = {one.best.row: one.best.label for one in verdicts(cells)}
    by_peer: dict[tuple[str, str, str], dict[str, Cell]] = {}
    for cell in sorted(cells, key=_order):
        by_peer.setdefault((cell.peer, cell.mode, cell.durability), {})[cell.row] = cell
    if section in WITHOUT_VERDICT and not any(cell.peer for cell in cells):
        lines = [[cell.row, _spread(cell), cell.unit] for cell in cells]
        return _grid(["", "median (smallest - largest)", "unit"], lines)
    header = ["peer", "a confirmation means", *(f"{row}<br>{units[row]}" for row in rows)]
    lines = []
    for (peer, mode, durability), line in by_peer.items():
        who = label(peer, mode)
        texts = [_spread(line[row]) if row in line else "-" for row in rows]
        bold = [best.get(row) == who for row in rows]
        texts = [f"**{text}**" if one else text for text, one in zip(texts, bold, strict=True)]
        lines.append([who, durability, *texts])
    legend = [f"- {row}: {ROW_TITLES[section][row]}" for row in rows if _has_title(section, row)]
    return "\n\n".join(text for text in (_grid(header, lines), "\n".join(legend)) if text)


def _order(cell: Cell) -> tuple[bool, bool]:
    """Tenure first, then who syncs; the rest as they were run."""
    return cell.durability != FSYNC and cell.section in AGAINST_DURABLE, cell.peer != TENURE


def _latencies(cells: Sequence[Cell]) -> str:
    return _by_row(
        [cell for cell in cells if "p50_us" in cell.extra],
        lambda cell: f"{_number(cell.extra['p50_us'])} / {_number(cell.extra['p99_us'])}",
    )


def _processors(cells: Sequence[Cell]) -> str:
    return _by_row(cells, lambda cell: _number(cell.extra.get("server_cpu_percent", 0.0)))


def _by_row(cells: Sequence[Cell], text: Callable[[Cell], str]) -> str:
    rows = list(dict.fromkeys(cell.row for cell in cells))
    by_peer: dict[str, dict[str, str]] = {}
    for cell in sorted(cells, key=_order):
        by_peer.setdefault(cell.label, {})[cell.row] = text(cell)
    lines = [[who, *(line.get(row, "-") for row in rows)] for who, line in by_peer.items()]
    return _grid(["peer", *rows], lines)


def _notes(notes: Sequence[Note], kind: str) -> str:
    chosen = dict.fromkeys(
        f"- {label(note.peer, note.mode) or 'all'}: {' '.join(note.text.split())}"
        for note in notes
        if note.kind == kind
    )
    return "\n".join(chosen)


def _grid(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = ["---"] * len(header)
    return "\n".join("| " + " | ".join(line) + " |" for line in (header, rule, *lines))


def _spread(cell: Cell) -> str:
    if cell.rounds == 1:
        return _marked(cell)
    return f"{_marked(cell)} ({_number(cell.low)} - {_number(cell.high)})"


def _marked(cell: Cell) -> str:
    return ("~" if cell.disturbed else "") + _number(cell.value)


def _number(value: float) -> str:
    size = abs(value)
    return f"{value:,.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"


def _title(section: str) -> str:
    return TITLES.get(section, section)


def _has_title(section: str, row: str) -> bool:
    return row in ROW_TITLES.get(section, {})


def _row_title(cell: Cell) -> str:
    if not _has_title(cell.section, cell.row):
        return cell.row
    return f"{cell.row}, {ROW_TITLES[cell.section][cell.row]}"
