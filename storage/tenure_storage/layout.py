"""Keys and rows: how everything in the store is written. Format 3.

Keys are big-endian, so their order is the order of their numbers. Every row starts with
a checksum over its key and its content:

    crc32 u32 | content

A damaged row is thereby found when it is read, also when it sits under a wrong key.

To change a layout: raise `store.FORMAT`, keep the old decoder, upgrade at open, and add a
data directory of the old format to the tests.
"""

from __future__ import annotations

import builtins
import struct
from typing import Any, NamedTuple
from zlib import crc32

import msgpack

_U32 = struct.Struct(">I")
_pack: Any = msgpack.Packer(use_bin_type=True, autoreset=True).pack


class Damaged(Exception):
    """A row does not match its checksum."""


# ---- checksums -------------------------------------------------------------------------


def sealed(key: bytes, content: bytes) -> bytes:
    """`content` as a row of `key`."""
    return crc32(content, crc32(key)).to_bytes(4, "big") + content


def opened(key: bytes, row: bytes) -> bytes:
    """The content of a row. Raises `Damaged` if it is not what was written under `key`."""
    content = row[4:]
    if crc32(content, crc32(key)).to_bytes(4, "big") != row[:4]:
        raise Damaged(f"a row of {len(row)} bytes does not match its checksum")
    return content


def intact(key: bytes, row: bytes) -> bool:
    """Whether a row is what was written under `key`."""
    return crc32(row[4:], crc32(key)).to_bytes(4, "big") == row[:4]


def sealed_map(key: bytes, value: object) -> bytes:
    """A row that holds one msgpack value (for rows that are rare and may grow)."""
    return sealed(key, _pack(value))


def opened_map(key: bytes, row: bytes) -> Any:
    """The value of a `sealed_map` row. Raises `Damaged`."""
    return msgpack.unpackb(opened(key, row), strict_map_key=False)


# ---- job records -----------------------------------------------------------------------
#
#   crc u32 | flags u8 | origin_len u8 | max_attempts u16 | extras_len u16 | lease_ms u32
#   | enqueued_at u48 | expires_at u48 | id 16, if MOVED | origin | extras | body
#
# A zero in max_attempts, lease_ms or expires_at means "as the queue says".

MOVED = 1
"""The record is no longer where it was born; it carries its id."""
RETRYING = 2
"""The job waits for another attempt, not for its first."""
HAS_UNIQUE = 4
"""The job holds a unique name (in its extras)."""
HAS_DUE = 8
"""A `due` row points to the job: it expires."""
HAS_STATE = 16
"""A `states` row exists, or may exist, for the job."""

_HEAD = struct.Struct(">BBHHIHIHI")
HEAD_BYTES = 4 + _HEAD.size

read_head = _HEAD.unpack_from
"""flags, origin_len, max_attempts, extras_len, lease_ms, then both times in two parts each: the
fixed part of a record row from offset 4, for loops that cannot afford `unpack_record`."""


class Record(NamedTuple):
    """A job's record, taken apart."""

    flags: int
    max_attempts: int
    lease_ms: int
    enqueued_at_ms: int
    expires_at_ms: int
    id: bytes | None
    """The birth key, if the record has moved."""
    origin: bytes
    """Who submitted it: client name and address."""
    extras: bytes
    """A msgpack map of rare options (unique, retry, retention_ms); empty for none."""
    body: bytes
    """As the producer encoded it."""


def record_tail(
    flags: int,
    max_attempts: int,
    lease_ms: int,
    enqueued_at_ms: int,
    expires_at_ms: int,
    origin: bytes,
    extras: bytes,
) -> bytes:
    """The content of a record that has not moved, up to its body: the same for many jobs of a request."""
    head = _HEAD.pack(
        flags,
        len(origin),
        max_attempts,
        len(extras),
        lease_ms,
        enqueued_at_ms >> 32,
        enqueued_at_ms & 0xFFFFFFFF,
        expires_at_ms >> 32,
        expires_at_ms & 0xFFFFFFFF,
    )
    return head + origin + extras


def pack_record(place: bytes, record: Record) -> bytes:
    """The row of `record` under `place`."""
    head = _HEAD.pack(
        record.flags,
        len(record.origin),
        record.max_attempts,
        len(record.extras),
        record.lease_ms,
        record.enqueued_at_ms >> 32,
        record.enqueued_at_ms & 0xFFFFFFFF,
        record.expires_at_ms >> 32,
        record.expires_at_ms & 0xFFFFFFFF,
    )
    assert (record.id is not None) == bool(record.flags & MOVED)
    return sealed(place, head + (record.id or b"") + record.origin + record.extras + record.body)


def unpack_record(row: bytes) -> Record:
    """The record in a row whose checksum was checked."""
    flags, origin_len, attempts, extras_len, lease_ms, e_hi, e_lo, x_hi, x_lo = _HEAD.unpack_from(
        row, 4
    )
    at = HEAD_BYTES
    job_id = None
    if flags & MOVED:
        job_id = row[at : at + 16]
        at += 16
    origin_end = at + origin_len
    extras_end = origin_end + extras_len
    return Record(
        flags,
        attempts,
        lease_ms,
        e_hi << 32 | e_lo,
        x_hi << 32 | x_lo,
        job_id,
        row[at:origin_end],
        row[origin_end:extras_end],
        row[extras_end:],
    )


def record_flags(row: bytes) -> int:
    """The flags of a record, without taking it apart."""
    return row[4]


def extras_of(record: Record) -> dict[str, Any]:
    """The rare options of a record."""
    return msgpack.unpackb(record.extras) if record.extras else {}


def pack_extras(extras: dict[str, Any]) -> bytes:
    """Rare options as bytes; none are no bytes."""
    packed: bytes = _pack(extras) if extras else b""
    return packed


# ---- states ----------------------------------------------------------------------------
#
#   where u8 | place | attempt u32 | failures u16 | timeouts u16 | lost u16 | released u16
#   | flags u8 | history (msgpack list)

IN_JOBS, IN_DEAD, IN_FINISHED = 0, 1, 2
"""Which table a state's place is a key of."""

CANCEL_ASKED = 1
"""Somebody cancelled the job while a worker held it."""
HAS_NOTES = 2
"""There may be rows of the job in `notes`."""

_STATE = struct.Struct(">BBIHHHHB")


class StateRow(NamedTuple):
    """What is remembered of a job beside its record. `history`: a list of attempts, see `AttemptRow`."""

    where: int
    place: bytes
    attempt: int
    failures: int
    timeouts: int
    lost: int
    released: int
    flags: int
    history: bytes


class AttemptRow(NamedTuple):
    """One attempt in a job's history; stored as a msgpack list in this order."""

    attempt: int
    started_at_ms: int
    ended_at_ms: int
    worker: str
    outcome: str
    """failed, timeout, crashed, lost, released, dead, ..."""
    error_type: str
    message: str
    traceback: str


def pack_state(key: bytes, state: StateRow) -> bytes:
    """A state's row under `key`."""
    head = _STATE.pack(
        state.where,
        len(state.place),
        state.attempt,
        min(state.failures, 0xFFFF),
        min(state.timeouts, 0xFFFF),
        min(state.lost, 0xFFFF),
        min(state.released, 0xFFFF),
        state.flags,
    )
    return sealed(key, head + state.place + state.history)


def unpack_state(key: bytes, row: bytes) -> StateRow:
    """The state in a row. Raises `Damaged`."""
    return parse_state(opened(key, row))


def parse_state(content: bytes) -> StateRow:
    """The state in a row's content, which dead and finished entries keep."""
    where, place_len, attempt, failures, timeouts, lost, released, flags = _STATE.unpack_from(
        content
    )
    end = _STATE.size + place_len
    return StateRow(
        where,
        content[_STATE.size : end],
        attempt,
        failures,
        timeouts,
        lost,
        released,
        flags,
        content[end:],
    )


def pack_history(attempts: list[AttemptRow]) -> bytes:
    """A history as bytes; none is no bytes."""
    packed: bytes = _pack([list(a) for a in attempts]) if attempts else b""
    return packed


def unpack_history(history: bytes) -> list[AttemptRow]:
    """The attempts of a history, oldest first."""
    return [AttemptRow(*row) for row in msgpack.unpackb(history)] if history else []


# ---- lanes -----------------------------------------------------------------------------
#
#   waiting u64 | beyond u64 | retrying u64 | bytes u64 | mark 11 (ready_at u48, seq u40)

_LANE = struct.Struct(">QQQQ11s")


class LaneRow(NamedTuple):
    """The counts of a lane: waiting jobs, those of them beyond the mark, and of those the retrying ones."""

    waiting: int
    beyond: int
    retrying: int
    bytes: int
    mark: builtins.bytes
    """ready_at and seq up to which jobs count as ready."""


def pack_lane(key: bytes, lane: LaneRow) -> bytes:
    """A lane's row under `key`."""
    return sealed(key, _LANE.pack(*lane))


def unpack_lane(key: bytes, row: bytes) -> LaneRow:
    """The lane in a row. Raises `Damaged`."""
    return LaneRow(*_LANE.unpack(opened(key, row)))


# ---- the other tables ------------------------------------------------------------------


_PRODUCER = struct.Struct(">QQ")


class ProducerRow(NamedTuple):
    """What is needed to repeat the reply to an enqueue request."""

    sequence: int
    now_ms: int
    reply: bytes
    """msgpack [[[first id, count], ...], existing]: ids come in runs with numbers in a row."""


def pack_producer(key: bytes, sequence: int, now_ms: int, reply: bytes) -> bytes:
    """A producer's row under `key`; see `ProducerRow`."""
    return sealed(key, _PRODUCER.pack(sequence, now_ms) + reply)


def unpack_producer(key: bytes, row: bytes) -> ProducerRow:
    """The producer row. Raises `Damaged`."""
    content = opened(key, row)
    return ProducerRow._make((*_PRODUCER.unpack_from(content), content[_PRODUCER.size :]))
