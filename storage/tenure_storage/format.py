"""The format of a store: written at its creation, checked at every open, upgraded in one step.

Two formats matter: that of our keys and rows (`store.FORMAT`), and that of LMDB's file, of
which 0.9 and 1.0 cannot read each other's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tenure_storage.environment import (
    Environment,
    LmdbError,
    Table,
    TableMissing,
    Transaction,
    engine_version,
    store_error,
)
from tenure_storage.layout import Damaged, opened_map, sealed_map
from tenure_storage.store import FORMAT, META, TABLES, StoreError, StoreUnwritable

FORMAT_KEY = b"format"
"""The key of the format row in the meta table."""


@dataclass(frozen=True, slots=True)
class StoreFormat:
    """What the format row says."""

    number: int
    lmdb: tuple[int, ...]
    created_at_ms: int


@dataclass(frozen=True, slots=True)
class UpgradeTables:
    """The tables of a store during an upgrade, within its one transaction."""

    txn: Transaction
    tables: tuple[Table, ...]

    def rows(self, table: int) -> Iterator[tuple[bytes, bytes]]:
        """Every row of a table in key order; rows put meanwhile may or may not be among them."""
        with self.txn.cursor(self.tables[table]) as cursor:
            yield from cursor

    def get(self, table: int, key: bytes) -> bytes | None:
        """The row of a key, or None."""
        return self.txn.get(key, db=self.tables[table])

    def put(self, table: int, key: bytes, value: bytes) -> None:
        """Writes a row."""
        self.txn.put(key, value, db=self.tables[table])

    def delete(self, table: int, key: bytes) -> None:
        """Removes a row, if it is there."""
        self.txn.delete(key, db=self.tables[table])


Upgrade = Callable[[UpgradeTables], None]
"""Rewrites every row of one format in the next."""


def _to_2(tables: UpgradeTables) -> None:
    """Format 2 has one more table, `notes`, which is made when the tables are opened."""


def _to_3(tables: UpgradeTables) -> None:
    """Format 3 has rows that hold several leases; those of one lease are as they were."""


UPGRADES: dict[int, Upgrade] = {1: _to_2, 2: _to_3}
"""By the format they start from."""


def format_row(format_number: int, created_at_ms: int) -> bytes:
    """The format row of a store written by this process."""
    return sealed_map(
        FORMAT_KEY,
        {
            "format": format_number,
            "lmdb": list(engine_version()),
            "created_at_ms": created_at_ms,
        },
    )


def read_format(env: Environment, path: Path) -> StoreFormat:
    """The format of an open environment. Raises `StoreError` if it is not a store of ours."""
    try:
        table = env.open_db(TABLES[META].encode(), create=False)
        with env.begin() as txn:
            row = txn.get(FORMAT_KEY, db=table)
    except TableMissing as error:
        raise StoreError(f"{path} is an LMDB database, but not a Tenure store") from error
    except LmdbError as error:
        problem = f"cannot read the format of the store in {path}: {error}"
        raise store_error(error, problem) from error
    if row is None:
        raise StoreError(f"{path} is an LMDB database, but not a Tenure store")
    try:
        value: Any = opened_map(FORMAT_KEY, row)
        return StoreFormat(
            int(value["format"]), tuple(map(int, value["lmdb"])), int(value["created_at_ms"])
        )
    except (Damaged, KeyError, TypeError, ValueError) as error:
        raise StoreError(
            f"the format row of the store in {path} is damaged; restore it from a backup"
        ) from error


def check_format(found: StoreFormat, path: Path) -> None:
    """Raises `StoreError` if this code or this LMDB cannot use a store of format `found`."""
    if found.number > FORMAT:
        raise StoreError(
            f"the store in {path} has format {found.number}, and this Tenure knows formats up to "
            f"{FORMAT}: it was written by a newer Tenure; use that one, or restore a backup"
        )
    engine = engine_version()
    if found.lmdb[:2] != engine[:2]:
        raise StoreError(
            f"the store in {path} was written with LMDB {_version(found.lmdb)}, and this Python "
            f"has LMDB {_version(engine)}, which keeps its files differently: install an lmdb "
            f"package with LMDB {found.lmdb[0]}.{found.lmdb[1]}"
        )


def upgrade(
    env: Environment,
    tables: tuple[Table, ...],
    found: StoreFormat,
    *,
    upgrades: Mapping[int, Upgrade],
    target: int = FORMAT,
) -> None:
    """Brings a store from format `found` to `target`, step by step, in one transaction.

    Whatever goes wrong, the store stays as it was. Raises `StoreError` when a step is missing.
    """
    if found.number == target:
        return
    try:
        with env.begin(write=True) as txn:
            handle = UpgradeTables(txn, tables)
            for number in range(found.number, target):
                step = upgrades.get(number)
                if step is None:
                    raise StoreError(
                        f"the store has format {number}, which this Tenure no longer reads: open "
                        "it once with an earlier Tenure"
                    )
                step(handle)
            handle.put(META, FORMAT_KEY, format_row(target, found.created_at_ms))
    except LmdbError as error:
        raise StoreUnwritable(
            f"cannot upgrade the store in {env.path()}: {error}; it stays as it was"
        ) from error


def _version(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
