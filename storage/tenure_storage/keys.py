"""Keys: where everything in the store stands. Format 2.

Keys are big-endian, so their order is the order of their numbers. A job's key is its place in
line, and the order of places is the order of delivery:

    line u32 | priority u8 | ready_at u48 (ms) | seq u40
"""

from __future__ import annotations

import struct

from tenure_protocol.limits import SEQUENCES_REMEMBERED

_U32 = struct.Struct(">I")

SEQ_MAX = (1 << 40) - 1
"""The last sequence number before it starts again."""

TIME_MAX = (1 << 48) - 1
"""The last moment a key can hold, in milliseconds since 1970."""

PRODUCER_SLOTS = SEQUENCES_REMEMBERED
"""How many of its last requests are remembered of each producer."""

MARK_ZERO = bytes(11)


def place_prefix(line: int, priority: int, ready_at_ms: int) -> bytes:
    """The first 11 bytes of a place."""
    return line.to_bytes(4, "big") + priority.to_bytes(1, "big") + ready_at_ms.to_bytes(6, "big")


def place_of(line: int, priority: int, ready_at_ms: int, seq: int) -> bytes:
    """A job's place in line."""
    return place_prefix(line, priority, ready_at_ms) + seq.to_bytes(5, "big")


def line_of(place: bytes) -> int:
    """The line a place belongs to."""
    return int.from_bytes(place[:4], "big")


def priority_of(place: bytes) -> int:
    """The priority of a place."""
    return place[4]


def ready_at_of(place: bytes) -> int:
    """When a job in this place may be delivered, in milliseconds since 1970."""
    return int.from_bytes(place[5:11], "big")


def lane_key(line: int, priority: int) -> bytes:
    """The key of a lane's row, and the first five bytes of every place in the lane."""
    return line.to_bytes(4, "big") + priority.to_bytes(1, "big")


def slot_key(slot: int) -> bytes:
    """The key of a lease row."""
    return _U32.pack(slot)


def ended_key(queue_number: int, at_ms: int, seq: int) -> bytes:
    """The key of a dead entry, by when it died; also the first 15 bytes of a finished one's."""
    return _U32.pack(queue_number) + at_ms.to_bytes(6, "big") + seq.to_bytes(5, "big")


def finished_key(queue_number: int, forget_at_ms: int, seq: int, end: int) -> bytes:
    """The key of a finished entry, by when it is forgotten. `end` is its place in the tally
    (1 succeeded, 2 cancelled, 3 expired, 0 dead): it stays countable when its row is damaged."""
    return ended_key(queue_number, forget_at_ms, seq) + end.to_bytes(1, "big")


def due_key(at_ms: int, job_id: bytes) -> bytes:
    """The key of a due row."""
    return at_ms.to_bytes(6, "big") + job_id


def unique_key(queue_number: int, name: str) -> bytes:
    """The key of a unique name."""
    return _U32.pack(queue_number) + name.encode()


NOTED, CHECKPOINT = 0, 1
"""The kinds of notes: progress and log, which change often, and the checkpoint, which is long."""


def note_key(job_id: bytes, kind: int) -> bytes:
    """The key of a note of a job."""
    return job_id + kind.to_bytes(1, "big")


def queue_key(queue_number: int, name: str) -> bytes:
    """The key of a queue's row."""
    return _U32.pack(queue_number) + name.encode()


def producer_key(producer: bytes, sequence: int) -> bytes:
    """The key of the slot that remembers this request."""
    return producer + (sequence % PRODUCER_SLOTS).to_bytes(2, "big")
