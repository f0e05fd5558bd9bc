"""A job that this worker holds, and what of its body the worker has to know."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgpack

from tenure_protocol.ids import encode_id

if TYPE_CHECKING:
    from tenure.worker.children import Child
    from tenure.worker.pool import Pool

TIMEOUT_HEADER = "tenure.timeout_ms"
"""The header with which an enqueue sets the hard limit of its job."""

_RESERVED = b"tenure."


class Held:
    """A leased job on its way through this worker, from its row to the broker's last word.

    - `child`: where it was sent; None while it waits.
    - `over`: it was told to the broker, or its lease is lost: what its child still says of it
      does not count.
    - `in_slot`: it takes one of the places of its pool.
    - `alone`: it is suspected of having killed a process, or has been lost before.
    - `started_ms`: when it began to run, by the clock that only goes forward; 0: it has not.
    """

    __slots__ = (
        "alone",
        "asked_to_stop",
        "attempt",
        "child",
        "id",
        "in_slot",
        "key",
        "lease_ms",
        "limit_ms",
        "over",
        "pool",
        "renew_at_ms",
        "row",
        "started_ms",
        "task",
    )

    def __init__(self, key: int, row: list[Any], pool: Pool, renew_at_ms: int) -> None:
        self.key = key
        self.row = row
        self.id: bytes = row[0]
        self.attempt: int = row[1]
        self.lease_ms: int = row[3]
        self.pool = pool
        self.renew_at_ms = renew_at_ms
        self.task, self.limit_ms = peek(row[5])
        self.child: Child | None = None
        self.over = False
        self.in_slot = True
        self.alone = len(row) > 8 and bool(row[8]) and row[8].get("lost", 0) > 0
        self.asked_to_stop: str | None = None
        self.started_ms = 0

    @property
    def queue(self) -> str:
        """Where it came from."""
        queue: str = self.row[2]
        return queue

    @property
    def name(self) -> str:
        """The id as people write it."""
        return encode_id(self.id)


def peek(body: bytes) -> tuple[str, int | None]:
    """The task's name and the job's own hard limit; ("", None) for what is no body.

    Only the first bytes are looked at, unless the job has a header of ours: it is done for
    every job, and the payload may be long.
    """
    try:
        if _RESERVED in body:
            task, _, headers, _ = msgpack.unpackb(body)
            limit = headers.get(TIMEOUT_HEADER) if type(headers) is dict else None
            return str(task), limit if type(limit) is int and limit > 0 else None
        mark = body[1]
        if 0xA0 <= mark <= 0xBF:
            start, end = 2, mark - 0x9E
        elif mark == 0xD9:
            start, end = 3, 3 + body[2]
        else:
            start, end = 4, 4 + int.from_bytes(body[2:4], "big")
        return body[start:end].decode(), None
    except (ValueError, TypeError, IndexError, msgpack.exceptions.UnpackException):
        return "", None
