"""Is this store sound? Every page, every row's checksum, and every rule between rows.

Offline and read-only. A store larger than memory can be verified: rows are read in key order
and looked up by key. What is held is one entry per queue, lane, chore and lease.
"""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tenure_storage.datafile import check_data_file
from tenure_storage.environment import (
    DATA_NAME,
    Environment,
    LmdbError,
    Table,
    Transaction,
    open_environment,
    open_tables,
)
from tenure_storage.findings import Finding, Findings, key_text
from tenure_storage.format import StoreFormat, check_format, read_format
from tenure_storage.journal import JOURNAL_KEY
from tenure_storage.layout import Damaged, opened_map
from tenure_storage.lock import DirectoryLock
from tenure_storage.store import (
    DAMAGED,
    FORMAT,
    META,
    QUEUES,
    TABLES,
    TABLES_OF_FORMAT,
    StoreError,
)
from tenure_storage.verify_journal import check_journal
from tenure_storage.verify_rows import check_rows


@dataclass(frozen=True, slots=True)
class Report:
    """What a verification found."""

    rows: dict[str, int]
    """Rows looked at, by table."""
    errors: tuple[Finding, ...]
    """Broken rules and damaged rows; the first thousand."""
    notes: tuple[Finding, ...]
    """What a person may want to know but breaks nothing, such as rows set aside earlier."""
    error_counts: dict[str, int] = field(default_factory=dict)
    """All errors, by kind."""
    note_counts: dict[str, int] = field(default_factory=dict)
    """All notes, by kind."""

    @property
    def sound(self) -> bool:
        """Whether there are no errors."""
        return not self.error_counts


@dataclass(frozen=True, slots=True)
class View:
    """One committed state of a store, for reading."""

    txn: Transaction
    tables: tuple[Table, ...]

    def get(self, table: int, key: bytes) -> bytes | None:
        """The row of a key, or None."""
        return self.txn.get(key, db=self.tables[table]) if key else None

    def rows(self, table: int) -> Iterator[tuple[bytes, bytes]]:
        """Every row of a table, in key order."""
        with self.txn.cursor(self.tables[table]) as cursor:
            yield from cursor


def verify(path: Path) -> Report:
    """Verifies the store in the data directory `path`, which no broker may be using.

    Raises `StoreError` when it cannot be opened at all.
    """
    findings = Findings()
    with DirectoryLock(_existing(path)):
        check_data_file(path / DATA_NAME)
        _check_pages(path, findings)
        if findings.error_counts["page"]:
            # Damaged pages can end the process that follows them.
            return _report(findings, Counter())
        env, found = _open(path)
        try:
            if found.number != FORMAT:
                raise StoreError(
                    f"the store in {path} has format {found.number}, and this Tenure verifies "
                    f"format {FORMAT}: open it once with `tenure server` to upgrade it"
                )
            tables = open_tables(env, create=False)
            with env.begin() as txn:
                rows = _check_all(View(txn, tables), findings)
                row = txn.get(JOURNAL_KEY, db=tables[META])
            check_journal(row, path, findings)
        except LmdbError as error:
            raise StoreError(f"cannot read the store in {path}: {error}") from error
        finally:
            env.close()
    return _report(findings, rows)


def info(path: Path) -> dict[str, Any]:
    """What the store in the data directory `path` is and holds, for a person or a script.

    Quick: no rows are read but a few. Raises `StoreError`.
    """
    with DirectoryLock(_existing(path)):
        check_data_file(path / DATA_NAME)
        env, found = _open(path)
        try:
            count = TABLES_OF_FORMAT[found.number]
            tables = open_tables(env, create=False, count=count)
            with env.begin() as txn:
                stats = [txn.stat(table) for table in tables]
                queues = [key[4:].decode() for key, _ in View(txn, tables).rows(QUEUES)]
                batch = _batch(txn.get(b"batch", db=tables[META]))
            page_bytes, last_page = env.stat()["psize"], env.info()["last_pgno"]
        except LmdbError as error:
            raise StoreError(f"cannot read the store in {path}: {error}") from error
        finally:
            env.close()
    pages = 3 + sum(s["branch_pages"] + s["leaf_pages"] + s["overflow_pages"] for s in stats)
    return {
        "path": str(path),
        "format": found.number,
        "lmdb": ".".join(map(str, found.lmdb)),
        "created_at_ms": found.created_at_ms,
        "batch": batch[0],
        "clock_ms": batch[2],
        "file_bytes": (path / DATA_NAME).stat().st_size,
        "used_bytes": pages * page_bytes,
        "free_bytes": max(0, last_page + 1 - pages) * page_bytes,
        "queues": sorted(queues),
        "entries": {name: stat["entries"] for name, stat in zip(TABLES, stats, strict=False)},
    }


def _existing(path: Path) -> Path:
    if not (path / DATA_NAME).exists():
        raise StoreError(f"there is no store in {path}")
    return path


def _open(path: Path) -> tuple[Environment, StoreFormat]:
    size = (path / DATA_NAME).stat().st_size
    env = open_environment(path, map_bytes=max(size, 1 << 20), readonly=True)
    try:
        found = read_format(env, path)
        check_format(found, path)
    except BaseException:
        env.close()
        raise
    return env, found


def _batch(row: bytes | None) -> list[Any]:
    try:
        return list(opened_map(b"batch", row)) if row is not None else [None] * 3
    except Damaged:
        return [None] * 3


def _check_pages(path: Path, findings: Findings) -> None:
    try:
        checker: Any = importlib.import_module("lmdb.verify")
    except ImportError:
        findings.note("page", "", "", "this lmdb package cannot check pages; rows are checked")
        return
    try:
        problems = checker.verify(str(path))
    except checker.VerifyError as error:
        problems = [str(error)]
    for problem in problems:
        findings.error("page", "", "", problem)


def _check_all(view: View, findings: Findings) -> Counter[str]:
    rows: Counter[str] = Counter()
    for name, table in zip(TABLES, view.tables, strict=True):
        rows[name] = view.txn.stat(table)["entries"]
    check_rows(view, findings, empty=not sum(rows.values()) - rows["meta"])
    for key, row in view.rows(DAMAGED):
        came_from = TABLES[key[0]] if key[0] < len(TABLES) else f"table {key[0]}"
        text = key_text(key[0], key[1:])
        findings.note("set aside", came_from, text, f"was found damaged ({len(row)} bytes)")
    return rows


def _report(findings: Findings, rows: Counter[str]) -> Report:
    return Report(
        dict(rows),
        tuple(findings.errors),
        tuple(findings.notes),
        dict(findings.error_counts),
        dict(findings.note_counts),
    )
