"""Deliveries as the broker would send them, and a port that remembers what it was told."""

from __future__ import annotations

import threading
from typing import Any

from tenure.packing import pack
from tenure.running.delivery import Delivery, from_row
from tenure.running.port import SaveDone
from tenure_protocol.ids import decode_id

JOB_ID = "0000003001kdvdna0000000019"


def row(
    task: str, /, *, headers: dict[str, Any] | None = None, extra: dict[str, Any] | None = None,
    **arguments: Any,
) -> list[Any]:  # fmt: skip
    """A delivery's row: attempt 1 of 5, from the queue `mail`."""
    body = pack([task, pack(arguments), headers, 1])
    plain = [decode_id(JOB_ID), 1, "mail", 30_000, 1_700_000_000_000, body, 5, 0]
    return plain if extra is None else [*plain, extra]


def delivery(
    task: str, /, *, headers: dict[str, Any] | None = None, extra: dict[str, Any] | None = None,
    **arguments: Any,
) -> Delivery:  # fmt: skip
    """The same, read."""
    return from_row(row(task, headers=headers, extra=extra, **arguments))


class RememberingPort:
    """Says that every checkpoint is kept, unless it is told to refuse."""

    def __init__(self, refusal: BaseException | None = None) -> None:
        self.refusal = refusal
        self.told: list[tuple[float, float | None, str | None]] = []
        self.lines: list[str] = []
        self.saved: list[bytes] = []

    def progress(self, n: float, total: float | None, message: str | None) -> None:
        self.told.append((n, total, message))

    def log(self, line: str) -> None:
        self.lines.append(line)

    def save(self, data: bytes, done: SaveDone) -> None:
        self.saved.append(data)
        # From another thread, as a real answer comes.
        threading.Thread(target=done, args=(self.refusal,)).start()
