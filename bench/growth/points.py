"""What is measured: the points of each axis, and how much work is done at each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

CHUNK = 1_000
CHUNK_BYTES_MAX = 1_000_000

SPEEDS = ("one-by-one", "batch-enqueue", "batch-take")
"""What is measured at every point."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A broker with so many jobs waiting, used in such a way."""

    axis: str
    size: int
    backlog: int = 0
    queues: int = 1
    payload_bytes: int = 100
    connections: int = 1
    chunk_jobs: int = CHUNK

    @property
    def name(self) -> str:
        """What its rows begin with."""
        return f"{self.axis}-{self.size}"

    @property
    def chunk(self) -> int:
        """Jobs in one request, of about a megabyte at most."""
        return max(1, min(self.chunk_jobs, CHUNK_BYTES_MAX // self.payload_bytes))


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """The points, and how much work a measurement is.

    A round has so many `turns`. In each `singles` jobs go one by one, at least `singles_each` for
    every connection and one for every queue. Batches have `batch_jobs` jobs, at least one request
    of every connection and for every queue, but no more than `batch_bytes` in all.
    """

    axes: Mapping[str, tuple[Point, ...]]
    turns: int
    singles: int
    singles_each: int
    batch_jobs: int
    batch_bytes: int
    disk_samples: int

    def singles_of(self, point: Point) -> int:
        """Jobs that go one by one."""
        large = point.payload_bytes * self.singles > self.batch_bytes
        singles = self.singles // 4 if large else self.singles
        return max(singles, self.singles_each * point.connections, point.queues)

    def batch_of(self, point: Point) -> int:
        """Jobs that go in batches; the same number from every connection."""
        requests = max(point.connections, point.queues)
        wanted = max(self.batch_jobs, requests * point.chunk)
        jobs = min(wanted, self.batch_bytes // point.payload_bytes)
        return max(jobs // point.connections, 1) * point.connections


def backlogs(*sizes: int) -> tuple[Point, ...]:
    """So many jobs of 100 bytes waiting in one queue."""
    return tuple(Point(axis="backlog", size=size, backlog=size) for size in sizes)


def queues(*sizes: int) -> tuple[Point, ...]:
    """Used in turn; a request is for one queue, so that it has fewer jobs at both points."""
    return tuple(Point(axis="queues", size=size, queues=size, chunk_jobs=100) for size in sizes)


def payloads(*sizes: int) -> tuple[Point, ...]:
    """Bytes of each job."""
    return tuple(Point(axis="payload", size=size, payload_bytes=size) for size in sizes)


def connections(*sizes: int) -> tuple[Point, ...]:
    """Connections of one client process, at work at the same time."""
    return tuple(
        Point(axis="connections", size=size, connections=size, chunk_jobs=100) for size in sizes
    )


AXES = ("backlog", "queues", "payload", "connections")

FULL = Scale(
    axes={
        "backlog": backlogs(0, 10**4, 10**6, 10**7),
        "queues": queues(1, 1_000),
        "payload": payloads(100, 1_000, 10_000, 100_000),
        "connections": connections(1, 10, 100, 1_000),
    },
    turns=10,
    singles=400,
    singles_each=5,
    batch_jobs=20_000,
    batch_bytes=20_000_000,
    disk_samples=200,
)

QUICK = Scale(
    axes={
        "backlog": backlogs(0, 2_000),
        "queues": queues(1, 20),
        "payload": payloads(100, 10_000),
        "connections": connections(1, 10),
    },
    turns=2,
    singles=20,
    singles_each=2,
    batch_jobs=200,
    batch_bytes=1_000_000,
    disk_samples=10,
)
