"""The values that cross the engine's border."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from tenure_protocol import limits
from tenure_storage.store import Batch


class Now(NamedTuple):
    """The time, as the shell's clock reads it. Leases run on `mono_ms`, schedules on `wall_ms`."""

    wall_ms: int
    mono_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineLimits:
    """What the engine will hold at most, and how it treats queues nobody created."""

    leases_max: int = 500_000
    queues_max: int = 10_000
    waiting_max: int = 20_000
    window_bytes_max: int = 4 * 1024 * 1024
    payload_bytes_max: int = limits.PAYLOAD_BYTES_MAX
    result_bytes_max: int = limits.RESULT_BYTES_MAX
    jobs_per_request_max: int = limits.JOBS_PER_REQUEST_MAX
    reply_bytes_max: int = limits.FRAME_BYTES_MAX // 2
    producer_rows_max: int = 1_000_000
    producer_ttl_ms: int = 24 * 3_600_000
    auto_create_queues: bool = True
    queue_defaults: Mapping[str, object] = field(default_factory=dict[str, object])


class Session:
    """One connection's identity. `link` belongs to the shell; the engine never looks at it."""

    __slots__ = ("address", "id", "link", "name", "origin", "resumed", "turns", "waits", "worker")

    def __init__(self, session_id: bytes, name: str, address: str, resumed: bool) -> None:
        self.id = session_id
        self.name = name
        self.address = address
        self.resumed = resumed
        self.link: object = None
        self.origin = f"{name}@{address}".encode()[:255]
        self.worker = name.encode()[:255]
        self.waits: dict[int, object] = {}
        self.turns: dict[str, float] = {}

    def __repr__(self) -> str:
        return f"<Session {self.name} {self.address} waits={len(self.waits)}>"


class Reply(NamedTuple):
    """What goes back to a session: `[request_id, status, body]` on the wire."""

    session: Session
    request_id: int
    status: int
    body: object


@dataclass(slots=True)
class Sealed:
    """A batch to make durable, and the replies that may leave once it is."""

    batch: Batch
    replies: list[Reply]


class Event(NamedTuple):
    """Something an operator should know. `level` is info, warning or error."""

    level: str
    name: str
    fields: dict[str, object]
