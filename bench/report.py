"""The table, the result file, and the comparison of two result files."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from bench.rows import Row, Summary

OTHER_CPU_PERCENT_MAX = 30.0
"""What others may use of a core beside an undisturbed row; the kernel's own sync work is in it."""

HEADINGS = (
    "row",
    "median",
    "lowest .. highest",
    "aim",
    "met",
    "p50 / p99 ms",
    "CPU us/job broker client",
    "CPU % broker client other",
    "fdatasync us append p50/p99",
    "overwrite",
    "loop M/s",
)


def table(summaries: Sequence[Summary]) -> str:
    """All rows as text, followed by their further figures."""
    cells = [HEADINGS, *(_cells(summary) for summary in summaries)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(HEADINGS))]
    lines = [_line(row, widths) for row in cells]
    lines.insert(1, "  ".join("-" * width for width in widths))
    more = [
        f"{summary.name}: " + ", ".join(f"{key} {_number(v)}" for key, v in summary.extras.items())
        for summary in summaries
        if summary.extras
    ]
    return "\n".join([*lines, "", *more]) + "\n"


def disturbed(summary: Summary) -> bool:
    """Whether others used so much CPU that the row says little."""
    other = summary.other_cpu_percent
    return other is not None and other > OTHER_CPU_PERCENT_MAX


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = [
        cell.ljust(width) if column in (0, 3, 4) else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "  ".join([first, *rest]).rstrip()


def _cells(summary: Summary) -> tuple[str, ...]:
    disk = summary.disk
    spread = f"{_number(summary.low)} .. {_number(summary.high)}" if summary.rounds > 1 else ""
    return (
        summary.name,
        f"{_number(summary.value)} {summary.unit:<6}",
        spread,
        summary.aim,
        {True: "yes", False: "NO", None: ""}[summary.met],
        _milliseconds(summary.p50_us, summary.p99_us),
        _cpu_us(summary),
        _percents(summary),
        f"{disk.append_p50_us:.0f} / {disk.append_p99_us:.0f}",
        f"{disk.overwrite_p50_us:.0f} / {disk.overwrite_p99_us:.0f}",
        f"{summary.loop_millions_per_s:.0f}",
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.1f}"


def _milliseconds(p50_us: float | None, p99_us: float | None) -> str:
    if p50_us is None or p99_us is None:
        return ""
    return f"{p50_us / 1e3:.3f} / {p99_us / 1e3:.3f}"


def _cpu_us(summary: Summary) -> str:
    broker, clients = summary.broker_us_per_job, summary.clients_us_per_job
    return "" if broker is None or clients is None else f"{broker:9.1f} {clients:9.1f}"


def _percents(summary: Summary) -> str:
    values = (
        summary.broker_cpu_percent,
        summary.clients_cpu_percent,
        summary.other_cpu_percent,
    )
    if None in values:
        return ""
    return " ".join(f"{value:5.0f}" for value in values) + ("~" if disturbed(summary) else " ")


def result(
    machine: Mapping[str, object],
    settings: Mapping[str, object],
    rounds: Sequence[Sequence[Row]],
    summaries: Sequence[Summary],
) -> dict[str, object]:
    """Everything of a run, ready for JSON."""
    return {
        "format": 1,
        "at": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "machine": dict(machine),
        "settings": dict(settings),
        "summaries": [asdict(summary) for summary in summaries],
        "rounds": [[asdict(row) for row in rows] for rows in rounds],
    }


def save(path: Path, run: Mapping[str, object]) -> None:
    """Writes a result file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(run, indent=1) + "\n")


def comparison(old: Mapping[str, object], summaries: Sequence[Summary]) -> str:
    """Each row beside the same row of an older result file, with the ratio new / old.

    The ratio of the disk's own latency stands beside it: if that moved, so may the row have.
    Raises `ValueError` when `old` is no result file.
    """
    rows = old.get("summaries")
    if not isinstance(rows, list):
        raise ValueError("no result file: it has no summaries")
    before = {row["name"]: row for row in rows}
    lines = [f"{'row':<28} {'old':>14} {'new':>14}  unit    new/old  fdatasync  loop"]
    for new in summaries:
        if (was := before.get(new.name)) is None:
            lines.append(f"{new.name:<28} {'-':>14} {_number(new.value):>14}  {new.unit}")
            continue
        lines.append(
            f"{new.name:<28} {_number(was['value']):>14} {_number(new.value):>14}  {new.unit:<6}"
            f" {_ratio(new.value, was['value']):>8}"
            f" {_ratio(new.disk.append_p50_us, was['disk']['append_p50_us']):>10}"
            f" {_ratio(new.loop_millions_per_s, was['loop_millions_per_s']):>5}"
        )
    return "\n".join(lines) + "\n"


def _ratio(new: float, old: float) -> str:
    return f"{new / old:.2f}" if old else "-"
