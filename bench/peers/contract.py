"""What a peer's client has to offer, so that one client process can load them all alike.

The modules in `drivers` that implement it run in `.venv-peers`, where the peers' client
libraries are (Tenure's own runs in `.venv`).
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

QUEUE = "bench"
HOST = "127.0.0.1"
BATCH_JOBS = 1_000
"""Jobs of one request where a peer can take many."""

WAIT_SECONDS = 0.5
"""How long a take waits for a job at an empty queue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A server to connect to, and what for.

    `mode` is the peer's mode. `role` is "put", "take-one" or "take-many": some protocols have
    to know before the first job.
    """

    driver: str
    mode: str
    port: int
    role: str


class Driver(Protocol):
    """One client with one connection. Sync libraries block inside: each has its own process.

    Every put returns when the server has confirmed; every take reserves and acknowledges, and
    returns how many jobs that were.
    """

    async def connect(self) -> None:
        """Connects, and makes the queue if there is none. Raises anything if it cannot yet."""
        ...

    async def put(self, body: bytes) -> None:
        """One job."""
        ...

    async def put_many(self, bodies: Sequence[bytes]) -> None:
        """A batch, in the way that is best for its size."""
        ...

    async def put_all(self, bodies: Iterator[bytes]) -> None:
        """All there are, in the fastest way that confirms every job."""
        ...

    async def take(self) -> int:
        """At most one job; waits for it up to `WAIT_SECONDS`."""
        ...

    async def take_many(self, count: int) -> int:
        """At most `count` jobs; waits for the first."""
        ...

    async def take_all(self, count: int) -> int:
        """`count` jobs in the fastest way; returns when the server has applied all acks."""
        ...

    async def close(self) -> None:
        """Hangs up."""
        ...


def chunks(bodies: Iterable[bytes], size: int = BATCH_JOBS) -> Iterator[list[bytes]]:
    """Lists of up to `size` bodies."""
    rest = iter(bodies)
    while chunk := list(islice(rest, size)):
        yield chunk


async def take_in_batches(driver: Driver, count: int, size: int = BATCH_JOBS) -> int:
    """`take_many` until `count` jobs are done."""
    done = 0
    while done < count:
        done += await driver.take_many(min(size, count - done))
    return done


def library(name: str) -> Any:
    """A peer's client library. It is not in `.venv`, so no checker can look into it."""
    return importlib.import_module(name)
