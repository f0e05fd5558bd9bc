"""Verification finds what is wrong, says where, and finds nothing wrong with a sound store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tenure_protocol.ids import encode_id
from tenure_protocol.wire import pack
from tenure_storage.environment import open_environment
from tenure_storage.keys import (
    due_key,
    ended_key,
    lane_key,
    note_key,
    place_of,
    queue_key,
    slot_key,
    unique_key,
)
from tenure_storage.layout import (
    HAS_UNIQUE,
    IN_JOBS,
    Damaged,
    LaneRow,
    opened,
    pack_lane,
    pack_producer,
    pack_record,
    pack_state,
    sealed,
    sealed_map,
)
from tenure_storage.lease_layout import LeaseRow, bundle_head, pack_bundle, pack_lease
from tenure_storage.lock import DirectoryLock
from tenure_storage.store import (
    CHORES,
    DAMAGED,
    DEAD,
    DUE,
    FINISHED,
    FORMAT,
    JOBS,
    LANES,
    LEASES,
    META,
    NOTES,
    PRODUCERS,
    QUEUES,
    STATES,
    UNIQUE,
    StoreError,
)
from tenure_storage.verify import Report, info, verify
from tenure_storage.verify_lines import MEMORY_LINES_FROM
from tests.storage import sample
from tests.storage.sample import batch, open_small, sound_batch, sound_rows

Row = tuple[int, bytes, bytes | None]


def stored(path: Path, *changes: Row) -> Path:
    store = open_small(path)
    store.commit(sound_batch())
    store.commit(batch(*changes))
    store.close()
    return path


def test_a_sound_store_has_no_findings(tmp_path: Path) -> None:
    report = verify(stored(tmp_path))

    assert report.errors == ()
    assert report.notes == ()
    assert report.sound
    assert report.rows["jobs"] == 5
    assert sum(report.rows.values()) == len(sound_rows()) + 1


def test_an_empty_store_is_sound(tmp_path: Path) -> None:
    open_small(tmp_path).close()

    assert verify(tmp_path).sound


def lease(**changes: Any) -> bytes:
    made = LeaseRow(
        sample.LEASED,
        sample.LEASED,
        1,
        30_000,
        sample.NOW,
        size_of(sample.LEASED),
        b"session8",
        b"w",
    )
    return pack_lease(slot_key(4), made._replace(**changes))


def bundle(slot: int, *ids: bytes) -> bytes:
    head = bundle_head(30_000, sample.NOW, b"session8", b"worker")
    return pack_bundle(slot_key(slot), head, list(ids))


def size_of(place: bytes) -> int:
    return len(sound_rows()[JOBS, place])


def lane_row(**changes: Any) -> bytes:
    sizes = [size_of(place) for place in (sample.READY, sample.NAMED, sample.MOVED_TO)]
    row = LaneRow(3, 2, 1, sum(sizes), sample.MARK)._replace(**changes)
    return pack_lane(sample.LANE, row)


def job(place: bytes, **fields: Any) -> bytes:
    return pack_record(place, sample.record(**fields))


TALLY = b"tally:" + sample.QUEUE.to_bytes(4, "big")
QUEUE_KEY = queue_key(sample.QUEUE, "emails")
UNIQUE_KEY = unique_key(sample.QUEUE, "only-one")
NOBODYS = place_of(77, 128, sample.NOW, 50)
MEMORY = place_of(1 << 31, 128, sample.NOW, 50)
OTHER_LANE = place_of(sample.LINE, 3, sample.NOW, 51)
GONE = place_of(sample.LINE, 128, sample.NOW, 52)

PLANTED: dict[str, tuple[list[Row], str, str, str]] = {
    # name: (changes, kind, part of the key, part of what is said)
    "job without owner": ([(JOBS, NOBODYS, job(NOBODYS))], "job", encode_id(NOBODYS), "line 77"),
    "memory job on disk": ([(JOBS, MEMORY, job(MEMORY))], "job", encode_id(MEMORY), "memory"),
    "job key too short": ([(JOBS, b"short", b"1234")], "job", "short", "5 bytes"),
    "record damaged": (
        [(JOBS, sample.READY, b"\0" * size_of(sample.READY))],
        "damaged",
        encode_id(sample.READY),
        "record",
    ),
    "record under a wrong key": (
        [(JOBS, sample.READY, sound_rows()[JOBS, sample.LEASED])],
        "damaged",
        encode_id(sample.READY),
        "record",
    ),
    "record empty": (
        [(JOBS, sample.READY, sealed(sample.READY, b""))],
        "damaged",
        encode_id(sample.READY),
        "record",
    ),
    "moved without state": (
        [(STATES, sample.BORN, None)],
        "job",
        encode_id(sample.BORN),
        "no state row",
    ),
    "waiting miscounted": (
        [(LANES, sample.LANE, lane_row(waiting=4))],
        "lane",
        "line 5, priority 128",
        "4 waiting",
    ),
    "beyond miscounted": ([(LANES, sample.LANE, lane_row(beyond=1))], "lane", "line 5", "1 of"),
    "retrying miscounted": ([(LANES, sample.LANE, lane_row(retrying=0))], "lane", "line 5", "0 re"),
    "bytes miscounted": ([(LANES, sample.LANE, lane_row(bytes=1))], "lane", "line 5", "1 bytes"),
    "lane without row": (
        [(JOBS, OTHER_LANE, job(OTHER_LANE))],
        "lane",
        "line 5, priority 3",
        "no row counts",
    ),
    "lane of nobody": (
        [(LANES, lane_key(77, 1), pack_lane(lane_key(77, 1), LaneRow(0, 0, 0, 0, sample.MARK)))],
        "lane",
        "line 77",
        "no queue",
    ),
    "lane damaged": (
        [(LANES, lane_key(5, 9), b"junk")],
        "damaged",
        "line 5, priority 9",
        "damaged",
    ),
    "lease without job": (
        [(LEASES, slot_key(4), lease(id=GONE, place=GONE))],
        "lease",
        "4",
        "not in line",
    ),
    "lease of another job": (
        [(LEASES, slot_key(3), None), (LEASES, slot_key(4), lease(id=GONE))],
        "lease",
        "4",
        "another job",
    ),
    "note of nobody": (
        [(NOTES, note_key(GONE, 0), sealed_map(note_key(GONE, 0), {}))],
        "note",
        f"{encode_id(GONE)}, progress and log",
        "no state row",
    ),
    "note that its state row does not know": (
        [(NOTES, note_key(sample.BORN, 1), sealed_map(note_key(sample.BORN, 1), b""))],
        "note",
        f"{encode_id(sample.BORN)}, checkpoint",
        "no state row",
    ),
    "note of no kind": (
        [(NOTES, note_key(sample.DIED, 7), sealed_map(note_key(sample.DIED, 7), {}))],
        "note",
        encode_id(sample.DIED),
        "none of a note",
    ),
    "note damaged": (
        [(NOTES, note_key(sample.DIED, 0), b"junk")],
        "damaged",
        f"{encode_id(sample.DIED)}, progress and log",
        "damaged",
    ),
    "leased twice": ([(LEASES, slot_key(4), lease())], "lease", "4", "leased twice"),
    "lease with a wrong size": (
        [(LEASES, slot_key(3), None), (LEASES, slot_key(4), lease(size=1))],
        "lease",
        "4",
        "counts 1 bytes",
    ),
    "leased twice, through a row of several": (
        [(LEASES, slot_key(n), bundle(n, sample.READY, GONE)) for n in (4, 6)],
        "lease",
        "6",
        "leased twice",
    ),
    "row of leases that have all ended": (
        [(LEASES, slot_key(4), bundle(4, GONE, sample.LEASED, sample.NAMED))],
        "lease",
        "4",
        "none of its jobs is leased",
    ),
    "lease damaged": ([(LEASES, slot_key(4), b"junk")], "damaged", "4", "damaged"),
    "state without job": (
        [(STATES, GONE, pack_state(GONE, sample.state(IN_JOBS, GONE)))],
        "state",
        encode_id(GONE),
        "not in jobs",
    ),
    "state of another job": (
        [(STATES, GONE, pack_state(GONE, sample.state(IN_JOBS, sample.READY)))],
        "state",
        encode_id(GONE),
        "another job",
    ),
    "state of another dead job": (
        [(STATES, GONE, pack_state(GONE, sample.state(1, sample.DEAD_KEY)))],
        "state",
        encode_id(GONE),
        "another job",
    ),
    "state in no table": (
        [(STATES, GONE, pack_state(GONE, sample.state(9, GONE)))],
        "state",
        encode_id(GONE),
        "unknown",
    ),
    "state damaged": ([(STATES, GONE, b"junk")], "damaged", encode_id(GONE), "damaged"),
    "dead without its state": (
        [(STATES, sample.DIED, None)],
        "ended",
        "queue 1",
        encode_id(sample.DIED),
    ),
    "dead damaged": ([(DEAD, sample.DEAD_KEY, b"1234junk")], "damaged", "queue 1", "entry"),
    "finished without its state": (
        [(STATES, sample.ENDED, None)],
        "ended",
        "queue 1",
        encode_id(sample.ENDED),
    ),
    "finished in an unknown way": (
        [
            (
                FINISHED,
                sample.FINISHED_KEY,
                sealed_map(sample.FINISHED_KEY, {"id": sample.ENDED, "end": "exploded"}),
            )
        ],
        "ended",
        "queue 1",
        "exploded",
    ),
    "tally wrong": (
        [(META, TALLY, sealed_map(TALLY, [2, 1, 0, 0]))],
        "tally",
        "queue 1",
        "[2, 1, 0, 0]",
    ),
    "tally missing": ([(META, TALLY, None)], "tally", "queue 1", "[0, 0, 0, 0]"),
    "tally damaged": ([(META, TALLY, b"1234junk")], "damaged", "tally of queue 1", "damaged"),
    "dead of no queue": (
        [(DEAD, ended_key(9, 1, 1), sealed_map(ended_key(9, 1, 1), {"id": GONE}))],
        "tally",
        "queue 9",
        "does not exist",
    ),
    "unique of a job that is gone": (
        [(UNIQUE, unique_key(1, "x"), sealed(unique_key(1, "x"), GONE))],
        "unique",
        "'x'",
        encode_id(GONE),
    ),
    "unique of a job with another name": (
        [(UNIQUE, unique_key(1, "x"), sealed(unique_key(1, "x"), sample.NAMED))],
        "unique",
        "'x'",
        "'only-one'",
    ),
    "unique of no queue": (
        [(UNIQUE, unique_key(9, "x"), sealed(unique_key(9, "x"), sample.NAMED))],
        "unique",
        "queue 9",
        "does not exist",
    ),
    "unique damaged": ([(UNIQUE, unique_key(1, "x"), b"junk")], "damaged", "'x'", "damaged"),
    "due damaged": (
        [(DUE, due_key(5, sample.NAMED), b"junk")],
        "damaged",
        encode_id(sample.NAMED),
        "damaged",
    ),
    "producer in a wrong slot": (
        [(PRODUCERS, b"q" * 18, pack_producer(b"q" * 18, 1, 1, b""))],
        "producer",
        "slot 29041",
        "request 1",
    ),
    "producer damaged": ([(PRODUCERS, b"q" * 18, b"junk")], "damaged", "slot 29041", "damaged"),
    "queue damaged": ([(QUEUES, queue_key(2, "b"), b"1234junk")], "damaged", "'b'", "damaged"),
    "queue without settings": (
        [(QUEUES, queue_key(2, "b"), sealed_map(queue_key(2, "b"), {"line": 8}))],
        "queue",
        "'b'",
        "settings",
    ),
    "two queues on a line": (
        [
            (
                QUEUES,
                queue_key(2, "b"),
                sealed_map(queue_key(2, "b"), {"line": sample.LINE, "settings": {}}),
            )
        ],
        "queue",
        "'b'",
        "line 5",
    ),
    "two queues of a name": (
        [
            (
                QUEUES,
                queue_key(2, "emails"),
                sealed_map(queue_key(2, "emails"), {"line": 8, "settings": {}}),
            )
        ],
        "queue",
        "queue 2",
        "same name",
    ),
    "two queues of a number": (
        [
            (
                QUEUES,
                queue_key(1, "b"),
                sealed_map(queue_key(1, "b"), {"line": 8, "settings": {}}),
            )
        ],
        "queue",
        "queue 1",
        "used twice",
    ),
    "chore damaged": ([(CHORES, slot_key(2), b"1234junk")], "damaged", "2", "damaged"),
    "chore unknown": (
        [(CHORES, slot_key(2), sealed_map(slot_key(2), {"kind": "dance"}))],
        "chore",
        "2",
        "dance",
    ),
    "chore of nothing": (
        [(CHORES, slot_key(2), sealed_map(slot_key(2), {"kind": "sweep_line"}))],
        "chore",
        "2",
        "which queue",
    ),
    "line in use swept": (
        [
            (
                CHORES,
                slot_key(2),
                sealed_map(slot_key(2), {"kind": "sweep_line", "line": sample.LINE, "queue": 1}),
            )
        ],
        "chore",
        "2",
        "in use",
    ),
    "batch missing": ([(META, b"batch", None)], "meta", "batch", "missing"),
    "batch of nonsense": (
        [(META, b"batch", sealed_map(b"batch", ["x"]))],
        "meta",
        "batch",
        "three numbers",
    ),
}


@pytest.mark.parametrize("name", PLANTED)
def test_every_planted_fault_is_found_and_located(tmp_path: Path, name: str) -> None:
    changes, kind, key, what = PLANTED[name]
    report = verify(stored(tmp_path, *changes))

    assert not report.sound
    found = [f for f in report.errors if f.kind == kind and key in f.key and what in f.what]
    assert found, report.errors
    assert report.error_counts[kind] >= 1


HARMLESS: dict[str, tuple[list[Row], str]] = {
    "a due row of a job that ended": (
        [(DUE, due_key(5, GONE), sealed(due_key(5, GONE), b"x"))],
        "stale due row",
    ),
    "a row that was set aside": (
        [(DAMAGED, bytes([JOBS]) + GONE, b"what was found")],
        "set aside",
    ),
    "a name that is not taken": ([(UNIQUE, UNIQUE_KEY, None)], "no unique row"),
    "an expiry that is not due": (
        [(DUE, due_key(sample.NOW + 99_000, sample.NAMED), None)],
        "no due row",
    ),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_what_breaks_nothing_is_noted(tmp_path: Path, name: str) -> None:
    changes, kind = HARMLESS[name]
    report = verify(stored(tmp_path, *changes))

    assert report.sound
    assert report.note_counts == {kind: 1}
    assert encode_id(GONE) in report.notes[0].key or encode_id(sample.NAMED) in (
        report.notes[0].key
    )


RETIRED_GONE = place_of(sample.RETIRED_LINE, 128, sample.NOW, 60)
SWEPT_JOB = place_of(sample.RETIRED_LINE, 128, sample.NOW, 61)


@pytest.mark.parametrize(
    "changes",
    [
        [(STATES, RETIRED_GONE, pack_state(RETIRED_GONE, sample.state(IN_JOBS, RETIRED_GONE)))],
        [(UNIQUE, unique_key(1, "y"), sealed(unique_key(1, "y"), RETIRED_GONE))],
        [
            (JOBS, SWEPT_JOB, job(SWEPT_JOB, flags=HAS_UNIQUE, unique="z")),
            (UNIQUE, unique_key(1, "z"), sealed(unique_key(1, "z"), SWEPT_JOB)),
        ],
    ],
    ids=["state", "name", "job with a name"],
)
def test_what_a_sweep_has_yet_to_delete_is_no_fault(tmp_path: Path, changes: list[Row]) -> None:
    assert verify(stored(tmp_path, *changes)).errors == ()


def test_a_deleted_queue_that_is_being_swept_is_no_fault(tmp_path: Path) -> None:
    lines = [(5, 2), (6, 3)]
    chores: list[Row] = [
        (
            CHORES,
            slot_key(number),
            sealed_map(slot_key(number), {"kind": "sweep_line", "line": line, "queue": 1}),
        )
        for line, number in lines
    ]
    sweep = sealed_map(slot_key(4), {"kind": "sweep_queue", "queue": 1})
    gone: list[Row] = [
        (QUEUES, QUEUE_KEY, None),
        (META, TALLY, None),
        (LANES, sample.LANE, None),
        (LEASES, slot_key(3), None),
        (DEAD, sample.DEAD_KEY, None),
    ]

    assert verify(stored(tmp_path, *chores, (CHORES, slot_key(4), sweep), *gone)).errors == ()


def test_memory_queues_of_one_line_are_no_fault(tmp_path: Path) -> None:
    rows: list[Row] = [
        (
            QUEUES,
            queue_key(number, name),
            sealed_map(queue_key(number, name), {"line": MEMORY_LINES_FROM, "settings": {}}),
        )
        for number, name in ((2, "b"), (3, "c"))
    ]

    assert verify(stored(tmp_path, *rows)).errors == ()


def flip(path: Path, place: bytes) -> None:
    """Flips one bit of the stored body of a job, in the file."""
    data = (path / "data.mdb").read_bytes()
    at = data.rindex(place)
    body = data.index(b"the body", at)
    changed = data[:body] + bytes([data[body] ^ 1]) + data[body + 1 :]
    (path / "data.mdb").write_bytes(changed)


def test_a_flipped_bit_in_the_file_is_found(tmp_path: Path) -> None:
    stored(tmp_path)
    flip(tmp_path, sample.READY)

    report = verify(tmp_path)
    assert report.error_counts == {"damaged": 1}
    assert encode_id(sample.READY) in report.errors[0].key
    store = open_small(tmp_path)
    row = store.get(JOBS, sample.READY)
    assert row is not None
    with pytest.raises(Damaged):
        opened(sample.READY, row)
    store.close()


def test_damaged_pages_are_found_before_they_are_followed(tmp_path: Path) -> None:
    pytest.importorskip("lmdb.verify")
    store = open_small(tmp_path)
    store.commit(sound_batch())
    store.commit(sample.jobs_batch(100, 5000))
    store.close()
    data = bytearray((tmp_path / "data.mdb").read_bytes())
    for page in range(20, 30):
        data[page * 4096 + 8 : page * 4096 + 64] = b"\xee" * 56
    (tmp_path / "data.mdb").write_bytes(data)

    report = verify(tmp_path)
    assert not report.sound
    assert report.error_counts["page"] >= 1


def test_without_a_page_checker_the_rows_are_still_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(_: str) -> None:
        raise ImportError

    monkeypatch.setattr("tenure_storage.verify.importlib.import_module", missing)
    report = verify(stored(tmp_path, (META, TALLY, None)))

    assert report.error_counts == {"tally": 1}
    assert report.note_counts == {"page": 1}


def test_many_findings_are_counted_and_the_first_thousand_told(tmp_path: Path) -> None:
    places = [place_of(77, 1, sample.NOW, seq) for seq in range(1500)]
    report = verify(stored(tmp_path, *((JOBS, place, job(place)) for place in places)))

    assert report.error_counts == {"job": 1500}
    assert len(report.errors) == 1000


@pytest.mark.parametrize("tool", [verify, info])
def test_the_tools_refuse_a_store_in_use_or_missing(
    tmp_path: Path, tool: Callable[[Path], Report | dict[str, object]]
) -> None:
    with pytest.raises(StoreError, match="there is no store"):
        tool(tmp_path)
    stored(tmp_path)
    with DirectoryLock(tmp_path), pytest.raises(StoreError, match="in use by process"):
        tool(tmp_path)


def test_a_note_that_is_gone_is_worth_knowing(tmp_path: Path) -> None:
    rows = [(NOTES, note_key(sample.DIED, kind), None) for kind in (0, 1)]
    report = verify(stored(tmp_path, *rows))

    assert report.sound
    [note] = report.notes
    assert (note.kind, note.key) == ("no notes", f"job {encode_id(sample.DIED)}")


def test_verification_changes_nothing(tmp_path: Path) -> None:
    stored(tmp_path)
    before = (tmp_path / "data.mdb").read_bytes()
    verify(tmp_path)
    info(tmp_path)

    assert (tmp_path / "data.mdb").read_bytes() == before


def test_info_says_what_a_store_is_and_holds(tmp_path: Path) -> None:
    told = info(stored(tmp_path))

    assert told["format"] == FORMAT
    assert told["queues"] == ["emails"]
    assert told["entries"]["jobs"] == 5
    assert told["batch"] == 1
    assert told["clock_ms"] == sample.NOW
    assert told["created_at_ms"] > sample.NOW
    assert 0 < told["used_bytes"] <= told["file_bytes"]


def test_info_of_a_foreign_database_is_refused(tmp_path: Path) -> None:
    env = open_environment(tmp_path, map_bytes=1 << 20)
    with env.begin(write=True) as txn:
        txn.put(b"a", b"b")
    env.close()

    with pytest.raises(StoreError, match="not a Tenure store"):
        info(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"\x81\x80\x01",
        pack({"kind": [], "queue": 1}),
        pack({"kind": {}, "queue": 1}),
        pack(["kind"]),
    ],
    ids=["a map as a key", "a kind that is an array", "a kind that is a map", "no map"],
)
def test_a_chore_that_is_whole_and_makes_no_sense_is_a_finding(
    content: bytes, tmp_path: Path
) -> None:
    row = sealed(slot_key(9), content)

    report = verify(stored(tmp_path, (CHORES, slot_key(9), row)))

    assert [error.table for error in report.errors] == ["chores"]
