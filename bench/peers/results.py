"""One figure of one peer in one round, as a line of JSON: what all parts of a comparison share.

A run appends to one file as it goes, so that a broken run keeps what it has, and several
programs (brokers, frameworks) can add to the same comparison.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

FSYNC = "fsync"
"""Durability: a confirmation waits for a sync of the disk. Other words are the peer's own."""

TENURE = "tenure"
"""The `peer` of Tenure's own rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure. `section` and `row` say what was measured, `peer` and `mode` on whom.

    `durability` is `FSYNC`, or a word for what a confirmation means instead ("snapshots",
    "memory", ...). `unit` ends in "/s" where more is better; everything else is a cost.
    `round` counts from 1. `extra` has further figures by name with unit, for instance
    `p50_us`, `p99_us`, `server_cpu_percent`, `alien_cpu_percent`.
    """

    section: str
    row: str
    peer: str
    mode: str
    durability: str
    round: int
    value: float
    unit: str
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """Something to read beside the figures.

    `kind` is "how" (how the peer was run, and its version), "missing" (why it was not
    measured, and what would get it), "failed" (what went wrong on the way), or "machine"
    (without peer).
    """

    section: str
    kind: str
    text: str
    peer: str = ""
    mode: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """All that one file, or several, have."""

    rows: list[Row] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)


def append(path: Path, *records: Row | Note) -> None:
    """Adds records to a file of JSON lines, which is made if there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as lines:
        for record in records:
            what = "row" if isinstance(record, Row) else "note"
            lines.write(json.dumps({what: asdict(record)}) + "\n")


def load(paths: Sequence[Path]) -> Results:
    """All records of these files, in order. Raises `ValueError` naming the bad line."""
    results = Results()
    for path in paths:
        for number, line in enumerate(path.read_text().splitlines(), 1):
            try:
                _add(results, json.loads(line))
            except (KeyError, TypeError, ValueError) as error:
                raise ValueError(f"{path}:{number}: no record: {error}") from error
    return results


def _add(results: Results, record: Mapping[str, Any]) -> None:
    if "row" in record:
        results.rows.append(Row(**record["row"]))
    else:
        results.notes.append(Note(**record["note"]))


def label(peer: str, mode: str) -> str:
    """How a peer is called in tables and charts."""
    return f"{peer} {mode}".strip()


def more_is_better(unit: str) -> bool:
    """Whether a larger value is the better one: rates are, costs and latencies are not."""
    return unit.endswith("/s")
