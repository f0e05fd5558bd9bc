"""Jobs, leases and outcomes as they travel between a test and the engine."""

from __future__ import annotations

from typing import Any, NamedTuple

from tenure_protocol.body import RAW, decode_body, encode_body
from tenure_protocol.errors import error_from_wire


class Leased(NamedTuple):
    """A job as `reserve` hands it out."""

    id: bytes
    attempt: int
    queue: str
    lease_ms: int
    enqueued_at_ms: int
    body: bytes
    max_attempts: int
    used: int

    @property
    def payload(self) -> bytes:
        """The producer's bytes."""
        return decode_body(self.body).payload


Token = Leased | tuple[bytes, int]
"""What ack, fail, release and extend need: an id and an attempt come first."""

Job = bytes | tuple[bytes, dict[str, Any]]
"""A payload, or a payload and options of its own."""


def body(payload: bytes = b"payload", task: str = "task") -> bytes:
    """A job's body as a client encodes it."""
    return encode_body(task, payload, None, RAW)


def unwrapped(outcome: Any) -> dict[str, Any]:
    """The information in a per-item outcome. Raises the refusal it holds."""
    match outcome:
        case 0:
            return {}
        case [0, dict(info)]:
            return info
        case [1, *error]:
            raise error_from_wire(error)
        case _:
            raise AssertionError(f"not an outcome: {outcome!r}")
