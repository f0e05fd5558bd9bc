"""What the ledger knows of a job, of its deliveries, and of the request that brought it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Lease:
    """One delivery that left the broker."""

    attempt: int
    session: bytes
    left_us: int
    floor_us: int
    """The lease began no earlier: the batch before was sealed then."""
    lease_ms: int
    hold_until_us: int
    life: int
    asked: list[str] = field(default_factory=list[str])
    """Settlements that arrived for it."""
    asked_wall_ms: int = 0
    done: str = ""
    """The settlement that was confirmed."""
    given_back: bool = False
    ends_by_us: int = 0
    """It ends no later, unless somebody extends it."""
    row: int = 0
    """Its place in the reply."""
    crashed: bool = False
    """Its failure was told to be a crash, and confirmed."""


@dataclass(slots=True)
class Job:
    """One job that somebody sent."""

    key: bytes
    queue: str
    body: bytes
    options: dict[str, Any]
    sent_us: int
    sent_wall_ms: int
    id: bytes = b""
    confirmed_us: int = 0
    refused: bool = False
    arrivals: int = 1
    arrived_us: int = 0
    joined: bool = False
    """Its unique name was held: it is no job of its own."""
    due_wall_ms: int = 0
    """When it was asked to be due, or 0 once it was: it does not wait for its time again."""
    leases: list[Lease] = field(default_factory=list[Lease])
    ended: str = ""
    asked: set[str] = field(default_factory=set[str])
    """What may have ended it: cancel, purge, replay, purge_dead, auto_ack."""
    request: tuple[bytes, int] = (b"", 0)
    """The producer and the sequence that brought it."""
    to_be_cancelled: bool = False
    """A cancel was confirmed while somebody held it: nobody is to get it again."""
    retry_floor_ms: int = 0
    """After a confirmed failure or release: not before this time."""

    @property
    def plain(self) -> bool:
        """Whether it waits for nothing but its turn."""
        names = ("delay_ms", "run_at_ms", "expires_in_ms", "expires_at_ms", "unique")
        return self.arrivals == 1 and not any(self.options.get(name) for name in names)


@dataclass(slots=True)
class Request:
    """One enqueue request, which may arrive several times."""

    content: tuple[Any, ...]
    jobs: list[Job]
