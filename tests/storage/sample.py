"""A small sound store with a row of every kind, and batches to write it."""

from __future__ import annotations

from pathlib import Path

from tenure_storage.journaled_store import JournaledStore, open_journaled
from tenure_storage.keys import (
    CHECKPOINT,
    NOTED,
    due_key,
    ended_key,
    lane_key,
    note_key,
    place_of,
    producer_key,
    queue_key,
    slot_key,
    unique_key,
)
from tenure_storage.layout import (
    HAS_DUE,
    HAS_NOTES,
    HAS_STATE,
    HAS_UNIQUE,
    IN_DEAD,
    IN_FINISHED,
    IN_JOBS,
    MOVED,
    RETRYING,
    LaneRow,
    Record,
    StateRow,
    pack_extras,
    pack_lane,
    pack_producer,
    pack_record,
    pack_state,
    sealed,
    sealed_map,
)
from tenure_storage.lease_layout import LeaseRow, pack_lease
from tenure_storage.lmdb_store import LmdbStore, open_lmdb
from tenure_storage.store import (
    CHORES,
    DEAD,
    DUE,
    FINISHED,
    JOBS,
    LANES,
    LEASES,
    META,
    NOTES,
    PRODUCERS,
    QUEUES,
    STATES,
    UNIQUE,
    Batch,
)

MIB = 1 << 20
LINE, RETIRED_LINE, QUEUE = 5, 6, 1
NOW = 1_700_000_000_000

READY = place_of(LINE, 128, NOW, 1)
LEASED = place_of(LINE, 128, NOW, 2)
NAMED = place_of(LINE, 128, NOW + 50_000, 3)
BORN = place_of(LINE, 128, NOW, 4)
MOVED_TO = place_of(LINE, 128, NOW + 90_000, 5)
DIED = place_of(LINE, 128, NOW, 6)
ENDED = place_of(LINE, 128, NOW, 7)
ORPHAN = place_of(RETIRED_LINE, 128, NOW, 8)
DEAD_KEY = ended_key(QUEUE, NOW, 9)
FINISHED_KEY = ended_key(QUEUE, NOW + 1000, 10)
LANE = lane_key(LINE, 128)
MARK = NOW.to_bytes(6, "big") + b"\xff" * 5


def record(
    *, flags: int = 0, job_id: bytes | None = None, unique: str | None = None, expires: int = 0
) -> Record:
    extras = pack_extras({"unique": unique} if unique else {})
    return Record(flags, 3, 30_000, NOW, expires, job_id, b"me@here", extras, b"the body")


def state(where: int, place: bytes) -> StateRow:
    return StateRow(where, place, 2, 1, 0, 0, 0, 0, b"")


def batch(*rows: tuple[int, bytes, bytes | None], number: int = 1) -> Batch:
    made = Batch(number)
    for table, key, value in rows:
        made.tables[table][key] = value
    return made


def jobs_batch(first: int, count: int, *, number: int = 1, value: bytes = b"v" * 160) -> Batch:
    made = Batch(number)
    for seq in range(first, first + count):
        made.tables[JOBS][place_of(LINE, 128, NOW, seq)] = value
    return made


def sound_rows() -> dict[tuple[int, bytes], bytes]:
    """Every row of a sound store, by (table, key)."""
    jobs = {
        READY: record(),
        LEASED: record(),
        NAMED: record(flags=HAS_UNIQUE | HAS_DUE, unique="only-one", expires=NOW + 99_000),
        MOVED_TO: record(flags=MOVED | RETRYING | HAS_STATE, job_id=BORN),
        ORPHAN: record(),
    }
    rows = {(JOBS, place): pack_record(place, made) for place, made in jobs.items()}
    waiting = [rows[JOBS, place] for place in (READY, NAMED, MOVED_TO)]
    lane = LaneRow(3, 2, 1, sum(map(len, waiting)), MARK)
    slot, unique = slot_key(3), unique_key(QUEUE, "only-one")
    lease = LeaseRow(
        LEASED, LEASED, 1, 30_000, NOW, len(rows[JOBS, LEASED]), b"session8", b"worker"
    )
    due, queue = due_key(NOW + 99_000, NAMED), queue_key(QUEUE, "emails")
    producer = producer_key(b"p" * 16, 300)
    noted, saved = note_key(DIED, NOTED), note_key(DIED, CHECKPOINT)
    chore, tally = slot_key(1), b"tally:" + QUEUE.to_bytes(4, "big")
    rows |= {
        (LEASES, slot): pack_lease(slot, lease),
        (STATES, BORN): pack_state(BORN, state(IN_JOBS, MOVED_TO)),
        (STATES, DIED): pack_state(DIED, state(IN_DEAD, DEAD_KEY)._replace(flags=HAS_NOTES)),
        (NOTES, noted): sealed_map(noted, {"log": ["a line"], "progress": [1, 2, "a", NOW]}),
        (NOTES, saved): sealed_map(saved, b"checkpoint"),
        (STATES, ENDED): pack_state(ENDED, state(IN_FINISHED, FINISHED_KEY)),
        (DEAD, DEAD_KEY): sealed_map(DEAD_KEY, {"id": DIED, "reason": "attempts"}),
        (FINISHED, FINISHED_KEY): sealed_map(FINISHED_KEY, {"id": ENDED, "end": "succeeded"}),
        (DUE, due): sealed(due, b"x"),
        (UNIQUE, unique): sealed(unique, NAMED),
        (PRODUCERS, producer): pack_producer(producer, 300, NOW, b"reply"),
        (QUEUES, queue): sealed_map(queue, {"line": LINE, "created_at_ms": NOW, "settings": {}}),
        (LANES, LANE): pack_lane(LANE, lane),
        (META, b"batch"): sealed_map(b"batch", [1, 11, NOW]),
        (META, tally): sealed_map(tally, [1, 1, 0, 0]),
        (CHORES, chore): sealed_map(
            chore, {"kind": "sweep_line", "line": RETIRED_LINE, "queue": QUEUE, "cursor": b""}
        ),
    }
    return rows


def sound_batch() -> Batch:
    return batch(*((table, key, value) for (table, key), value in sound_rows().items()))


def open_journaled_small(path: Path) -> JournaledStore:
    return open_journaled(path, max_bytes=64 * MIB)


def open_small(path: Path, *, map_bytes: int | None = None) -> LmdbStore:
    return open_lmdb(path, max_bytes=64 * MIB, map_bytes=map_bytes)
