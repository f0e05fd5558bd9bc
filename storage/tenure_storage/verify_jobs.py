"""Verification of the backlog: leases, jobs, and the counts of lanes."""

from __future__ import annotations

import struct
from typing import Any

import msgpack

from tenure_storage.findings import Findings, View, key_text
from tenure_storage.keys import due_key, lane_key, line_of, unique_key
from tenure_storage.layout import (
    HAS_DUE,
    HAS_STATE,
    HAS_UNIQUE,
    IN_JOBS,
    MOVED,
    RETRYING,
    Damaged,
    LaneRow,
    Record,
    intact,
    unpack_lane,
    unpack_record,
    unpack_state,
)
from tenure_storage.lease_layout import BundleRow, LeaseRow, has_past, unpack_lease
from tenure_storage.store import DUE, JOBS, LANES, LEASES, STATES, UNIQUE
from tenure_storage.verify_lines import MEMORY_LINES_FROM, Lines


def read_record(key: bytes, row: bytes) -> Record | None:
    """The record in a row; None if it is damaged or cannot be taken apart."""
    if not intact(key, row):
        return None
    try:
        record = unpack_record(row)
        extras: Any = msgpack.unpackb(record.extras) if record.extras else {}
    except (struct.error, ValueError):
        return None
    return record if isinstance(extras, dict) and record.id != b"" else None


def unique_of(record: Record) -> str | None:
    """The unique name that a record holds."""
    if not record.flags & HAS_UNIQUE or not record.extras:
        return None
    name = msgpack.unpackb(record.extras).get("unique")
    return name if isinstance(name, str) else None


def check_leases(view: View, findings: Findings, lines: Lines) -> set[bytes]:
    """Every lease is of a job that is there, under its id, and of no other lease's. The places."""
    places: set[bytes] = set()
    bundles: list[tuple[str, BundleRow]] = []
    for key, row in view.rows(LEASES):
        slot = key_text(LEASES, key)
        try:
            lease = unpack_lease(key, row)
        except (Damaged, struct.error):
            findings.error("damaged", "leases", slot, "the row is damaged")
            continue
        if isinstance(lease, BundleRow):
            bundles.append((slot, lease))
        else:
            _check_lease(view, findings, slot, lease, places)
    own = frozenset(places)
    for slot, bundle in bundles:
        _check_bundle(view, findings, slot, bundle, own, places)
    return places


def _check_lease(
    view: View, findings: Findings, slot: str, lease: LeaseRow, places: set[bytes]
) -> None:
    job = key_text(JOBS, lease.id)
    if lease.place in places:
        findings.error("lease", "leases", slot, f"{job} is leased twice")
    places.add(lease.place)
    found = view.get(JOBS, lease.place)
    if found is None:
        findings.error("lease", "leases", slot, f"{job} is not in line where the lease says")
        return
    record = read_record(lease.place, found)
    if record is not None and (record.id or lease.place) != lease.id:
        findings.error("lease", "leases", slot, f"another job is in the place of {job}")
    if lease.size != len(found):
        what = f"it counts {lease.size} bytes, and {job} has {len(found)}"
        findings.error("lease", "leases", slot, what)


def _check_bundle(
    view: View,
    findings: Findings,
    slot: str,
    bundle: BundleRow,
    own: frozenset[bytes],
    places: set[bytes],
) -> None:
    """Some of the jobs of a row may have ended since, or have a row of their own; not all."""
    leased = 0
    for job_id in bundle.ids:
        found = view.get(JOBS, job_id)
        if found is None or job_id in own or has_past(view.get, job_id, found):
            continue
        leased += 1
        if job_id in places:
            findings.error("lease", "leases", slot, f"{key_text(JOBS, job_id)} is leased twice")
        places.add(job_id)
    if not leased:
        findings.error("lease", "leases", slot, "none of its jobs is leased")


def check_jobs(
    view: View, findings: Findings, lines: Lines, leased: set[bytes]
) -> dict[bytes, LaneRow]:
    """Every job is whole, in a line that somebody owns. What waits in each lane, counted."""
    lanes: dict[bytes, LaneRow] = {}
    for place, row in view.rows(JOBS):
        text, line = key_text(JOBS, place), line_of(place)
        if len(place) != 16:
            findings.error("job", "jobs", text, f"the key has {len(place)} bytes")
            continue
        if line >= MEMORY_LINES_FROM:
            findings.error("job", "jobs", text, f"it is in line {line}, of a memory queue")
        elif line not in lines.queue_of and line not in lines.retired:
            findings.error("job", "jobs", text, f"no queue owns its line {line}")
        record = read_record(place, row)
        if record is None:
            findings.error("damaged", "jobs", text, f"the record of {len(row)} bytes is damaged")
        else:
            _check_links(view, findings, lines, place, record)
        if line in lines.queue_of and place not in leased:
            _count(view, lanes, place, row)
    return lanes


def _check_links(
    view: View, findings: Findings, lines: Lines, place: bytes, record: Record
) -> None:
    job_id = record.id or place
    text = key_text(JOBS, job_id)
    if record.flags & (MOVED | HAS_STATE):
        row = view.get(STATES, job_id)
        if row is None:
            if record.flags & MOVED:
                findings.error("job", "jobs", text, "it has moved, and no state row says where to")
        elif intact(job_id, row):
            state = unpack_state(job_id, row)
            if (state.where, state.place) != (IN_JOBS, place):
                findings.error("job", "jobs", text, "it is in line, but its state row is not of it")
    number = lines.queue_of.get(line_of(place))
    if number is None:
        return
    if record.flags & HAS_DUE and view.get(DUE, due_key(record.expires_at_ms, job_id)) is None:
        findings.note("no due row", "jobs", text, "it will not expire by itself")
    name = unique_of(record)
    if name is not None and view.get(UNIQUE, unique_key(number, name)) is None:
        findings.note("no unique row", "jobs", text, f"its name {name!r} is not taken")


def _count(view: View, lanes: dict[bytes, LaneRow], place: bytes, row: bytes) -> None:
    key = lane_key(line_of(place), place[4])
    lane = lanes.get(key)
    if lane is None:
        lane = LaneRow(0, 0, 0, 0, _mark(view, key))
    beyond = place[5:] > lane.mark
    lanes[key] = lane._replace(
        waiting=lane.waiting + 1,
        beyond=lane.beyond + beyond,
        retrying=lane.retrying + (beyond and len(row) > 4 and bool(row[4] & RETRYING)),
        bytes=lane.bytes + len(row),
    )


def _mark(view: View, key: bytes) -> bytes:
    row = view.get(LANES, key)
    return unpack_lane(key, row).mark if row is not None and intact(key, row) else b""


def check_lanes(
    view: View, findings: Findings, lines: Lines, counted: dict[bytes, LaneRow]
) -> None:
    """The rows of lanes say what was counted, and only lanes with jobs have one."""
    seen: set[bytes] = set()
    for key, row in view.rows(LANES):
        text = key_text(LANES, key)
        seen.add(key)
        try:
            lane = unpack_lane(key, row)
        except (Damaged, struct.error):
            findings.error("damaged", "lanes", text, "the row is damaged")
            continue
        if int.from_bytes(key[:4], "big") not in lines.queue_of:
            findings.error("lane", "lanes", text, "no queue owns its line")
            continue
        there = counted.get(key, LaneRow(0, 0, 0, 0, lane.mark))
        if lane != there:
            what = f"it says {_counts(lane)}, and there are {_counts(there)}"
            findings.error("lane", "lanes", text, what)
    for key in sorted(counted.keys() - seen):
        what = f"no row counts its {counted[key].waiting} waiting jobs"
        findings.error("lane", "lanes", key_text(LANES, key), what)


def _counts(lane: LaneRow) -> str:
    return (
        f"{lane.waiting} waiting, {lane.beyond} of them later, {lane.retrying} retrying, "
        f"{lane.bytes} bytes"
    )
