"""What a verification finds, and how rows and keys are named in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Protocol

from tenure_protocol.ids import encode_id
from tenure_storage.store import (
    CHORES,
    DEAD,
    DUE,
    FINISHED,
    JOBS,
    LANES,
    LEASES,
    NOTES,
    PRODUCERS,
    QUEUES,
    STATES,
    UNIQUE,
)

FINDINGS_MAX: Final = 1_000
"""How many findings are kept in full; the others are counted."""


class View(Protocol):
    """One committed state of a store."""

    def get(self, table: int, key: bytes) -> bytes | None:
        """The row of a key, or None."""
        ...

    def rows(self, table: int) -> Iterator[tuple[bytes, bytes]]:
        """Every row of a table, in key order."""
        ...


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, or worth knowing."""

    kind: str
    table: str
    key: str
    """The key, readable: job ids as clients write them."""
    what: str


@dataclass(slots=True)
class Findings:
    """Findings as they are collected."""

    errors: list[Finding] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)
    error_counts: Counter[str] = field(default_factory=Counter)
    note_counts: Counter[str] = field(default_factory=Counter)

    def error(self, kind: str, table: str, key: str, what: str) -> None:
        """Something is wrong."""
        self.error_counts[kind] += 1
        if len(self.errors) < FINDINGS_MAX:
            self.errors.append(Finding(kind, table, key, what))

    def note(self, kind: str, table: str, key: str, what: str) -> None:
        """Something is worth knowing."""
        self.note_counts[kind] += 1
        if len(self.notes) < FINDINGS_MAX:
            self.notes.append(Finding(kind, table, key, what))


def key_text(table: int, key: bytes) -> str:
    """A key as a person can read it, and use it with `tenure`."""
    number = str(int.from_bytes(key[:4], "big"))
    if table in (JOBS, STATES) and len(key) == 16:
        return f"job {encode_id(key)}"
    if table in (DEAD, FINISHED) and len(key) == 15:
        at_ms, seq = int.from_bytes(key[4:10], "big"), int.from_bytes(key[10:], "big")
        return f"queue {number}, {at_ms} ms, number {seq}"
    if table == NOTES and len(key) == 17:
        return f"job {encode_id(key[:16])}, {'checkpoint' if key[16] else 'progress and log'}"
    if table == DUE and len(key) == 22:
        return f"job {encode_id(key[6:])} at {int.from_bytes(key[:6], 'big')} ms"
    if table in (QUEUES, UNIQUE) and len(key) > 4:
        return f"queue {number}, {key[4:].decode('utf-8', 'backslashreplace')!r}"
    if table == LANES and len(key) == 5:
        return f"line {number}, priority {key[4]}"
    if table in (LEASES, CHORES) and len(key) == 4:
        return number
    if table == PRODUCERS and len(key) == 18:
        return f"producer {key[:16].hex()}, slot {int.from_bytes(key[16:], 'big')}"
    return key.decode("ascii") if key.isascii() and key.decode().isprintable() else key.hex()
