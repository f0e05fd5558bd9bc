"""Verification of what names things: queues and their lines, chores, meta."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tenure_storage.findings import Findings, View, key_text
from tenure_storage.layout import Damaged, opened_map
from tenure_storage.store import CHORES, META, QUEUES

MEMORY_LINES_FROM = 1 << 31
"""Lines from here on are those of memory queues; their jobs are never on disk."""

CHORE_KINDS = frozenset({"sweep_line", "sweep_queue", "replay", "purge_dead"})


@dataclass(slots=True)
class Lines:
    """Which lines and queues there are."""

    queue_of: dict[int, int] = field(default_factory=dict)
    """Line in use -> queue number."""
    numbers: set[int] = field(default_factory=set)
    retired: set[int] = field(default_factory=set)
    """Lines that are being swept."""
    swept: set[int] = field(default_factory=set)
    """Numbers of queues of which something is being swept."""


def opened_value(view_key: bytes, row: bytes) -> Any:
    """The value of a map row; None if the row is damaged or does not hold msgpack."""
    try:
        return opened_map(view_key, row)
    except (Damaged, ValueError, TypeError):  # TypeError: a map in the place of a key
        return None


def check_queues(view: View, findings: Findings, lines: Lines) -> None:
    """Numbers, names and lines are each used once, and rows say what they must."""
    names: dict[bytes, int] = {}
    for key, row in view.rows(QUEUES):
        text, number = key_text(QUEUES, key), int.from_bytes(key[:4], "big")
        if number in lines.numbers:
            findings.error("queue", "queues", text, "its number is used twice")
        if key[4:] in names:
            other = names[key[4:]]
            findings.error("queue", "queues", text, f"queue {other} has the same name")
        lines.numbers.add(number)
        names[key[4:]] = number
        fields = opened_value(key, row)
        if fields is None:
            findings.error("damaged", "queues", text, "the row is damaged")
            continue
        if not isinstance(fields, dict) or not isinstance(fields.get("settings"), dict):
            findings.error("queue", "queues", text, "the row lacks its settings")
            continue
        line = fields.get("line")
        if isinstance(line, int) and line >= MEMORY_LINES_FROM:
            # Every start gives memory queues new lines: what the row says is an earlier start's.
            continue
        if not isinstance(line, int) or line in lines.queue_of:
            findings.error("queue", "queues", text, f"its line {line} is not its own")
            continue
        lines.queue_of[line] = number


def check_chores(view: View, findings: Findings, lines: Lines) -> None:
    """Chores are of a known kind, and no line in use is being swept."""
    for key, row in view.rows(CHORES):
        text = key_text(CHORES, key)
        fields: Any = opened_value(key, row)
        if fields is None:
            findings.error("damaged", "chores", text, "the row is damaged")
            continue
        kind = fields.get("kind") if isinstance(fields, dict) else None
        if not isinstance(kind, str) or kind not in CHORE_KINDS:
            findings.error("chore", "chores", text, f"its kind {kind!r} is not known")
            continue
        if not isinstance(fields.get("queue"), int) or not isinstance(fields.get("line", 0), int):
            findings.error("chore", "chores", text, "it does not say of which queue or line")
            continue
        if kind.startswith("sweep"):
            lines.swept.add(fields["queue"])
        if kind == "sweep_line":
            lines.retired.add(fields.get("line", 0))
            if fields.get("line", 0) in lines.queue_of:
                findings.error("chore", "chores", text, "it sweeps a line that is in use")


def check_meta(
    view: View,
    findings: Findings,
    lines: Lines,
    ended: dict[int, list[int]],
    *,
    empty: bool,
) -> None:
    """The batch row is there, and the tallies are those of `ended`."""
    tallies: dict[int, list[int]] = {}
    for key, row in view.rows(META):
        value = opened_value(key, row)
        text = key_text(META, key)
        if key.startswith(b"tally:"):
            text = f"tally of queue {int.from_bytes(key[6:], 'big')}"
        if value is None:
            findings.error("damaged", "meta", text, "the row is damaged")
        elif key.startswith(b"tally:"):
            tallies[int.from_bytes(key[6:], "big")] = list(value)
        elif key == b"batch" and not _is_batch(value):
            findings.error("meta", "meta", text, "it is not three numbers")
    if not empty and view.get(META, b"batch") is None:
        findings.error("meta", "meta", "batch", "the row is missing")
    for number in sorted(tallies.keys() | ended.keys()):
        told, there = tallies.get(number, [0] * 4), ended.get(number, [0] * 4)
        if number not in lines.numbers:
            if number not in lines.swept:
                what = "rows of a queue that does not exist"
                findings.error("tally", "meta", f"tally of queue {number}", what)
        elif told != there:
            what = f"it says {told}, and there are {there} (dead, succeeded, cancelled, expired)"
            findings.error("tally", "meta", f"tally of queue {number}", what)


def _is_batch(value: Any) -> bool:
    return isinstance(value, list) and len(value) >= 3 and all(isinstance(n, int) for n in value)
