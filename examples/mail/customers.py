"""The list of customers, in SQLite: who is to have a letter, who has one, who cannot get one."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

BUSY_S = 30


class Customer(NamedTuple):
    """Somebody on the list."""

    address: str
    name: str


class Customers:
    """The list, opened by one thread of one program."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def add(self, customers: Iterable[Customer]) -> None:
        """Puts people on the list."""
        with self._connection:
            self._connection.execute(
                "CREATE TABLE IF NOT EXISTS customers (address TEXT PRIMARY KEY, name TEXT NOT NULL,"
                " welcomed INTEGER NOT NULL DEFAULT 0, unreachable TEXT)"
            )
            self._connection.executemany(
                "INSERT INTO customers (address, name) VALUES (?, ?)", customers
            )

    def without_letter(self) -> list[Customer]:
        """Who has no letter and could get one, in the order in which they came."""
        rows = self._connection.execute(
            "SELECT address, name FROM customers WHERE NOT welcomed AND unreachable IS NULL"
            " ORDER BY rowid"
        )
        return [Customer(*row) for row in rows]

    def is_welcomed(self, address: str) -> bool:
        """Whether this customer has the letter."""
        found = self._connection.execute(
            "SELECT welcomed FROM customers WHERE address = ?", (address,)
        ).fetchone()
        return found is not None and bool(found[0])

    def note_welcomed(self, address: str) -> None:
        """This customer has the letter. Waits while somebody else writes."""
        with self._connection:
            self._connection.execute(
                "UPDATE customers SET welcomed = 1 WHERE address = ?", (address,)
            )

    def note_unreachable(self, address: str, why: str) -> None:
        """No letter will ever reach this customer."""
        with self._connection:
            self._connection.execute(
                "UPDATE customers SET unreachable = ? WHERE address = ?", (why, address)
            )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else can write meanwhile, as during an export or a migration."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            self._connection.rollback()


@contextmanager
def open_customers(path: Path) -> Iterator[Customers]:
    """The list in the file at `path`."""
    with closing(sqlite3.connect(path, timeout=BUSY_S)) as connection:
        yield Customers(connection)
