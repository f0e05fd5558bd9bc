"""Verification of what points to jobs: states, ended entries, names, expiries, producers."""

from __future__ import annotations

import struct

from tenure_storage.findings import Findings, View, key_text
from tenure_storage.keys import CHECKPOINT, NOTED, PRODUCER_SLOTS, line_of, note_key
from tenure_storage.layout import (
    HAS_NOTES,
    IN_DEAD,
    IN_FINISHED,
    IN_JOBS,
    Damaged,
    StateRow,
    intact,
    opened,
    unpack_history,
    unpack_producer,
    unpack_state,
)
from tenure_storage.store import (
    DEAD,
    DUE,
    FINISHED,
    JOBS,
    NOTES,
    PRODUCERS,
    STATES,
    TABLES,
    UNIQUE,
)
from tenure_storage.verify_jobs import read_record, unique_of
from tenure_storage.verify_lines import Lines, opened_value

_TABLE_OF = {IN_JOBS: JOBS, IN_DEAD: DEAD, IN_FINISHED: FINISHED}
_TALLY_OF = {"dead": 0, "succeeded": 1, "cancelled": 2, "expired": 3}


def read_state(key: bytes, row: bytes) -> StateRow | None:
    """The state in a row; None if it is damaged or cannot be taken apart."""
    try:
        state = unpack_state(key, row)
        unpack_history(state.history)
    except (Damaged, struct.error, ValueError, TypeError):
        return None
    return state


def check_states(view: View, findings: Findings, lines: Lines) -> None:
    """Every state row's place is there, and holds this job."""
    for job_id, row in view.rows(STATES):
        text = key_text(STATES, job_id)
        state = read_state(job_id, row)
        if state is None:
            findings.error("damaged", "states", text, "the row is damaged")
            continue
        if state.flags & HAS_NOTES and not _has_notes(view, job_id):
            findings.note("no notes", "states", text, "what it noted is gone")
        table = _TABLE_OF.get(state.where)
        if table is None:
            findings.error("state", "states", text, f"it is in a table {state.where}, unknown")
            continue
        found = view.get(table, state.place)
        if found is None:
            if not _being_swept(state, lines):
                findings.error(
                    "state", "states", text, f"the job is not in {TABLES[table]} where it says"
                )
        elif table == JOBS:
            record = read_record(state.place, found)
            if record is not None and (record.id or state.place) != job_id:
                findings.error("state", "states", text, "another job is in its place")
        else:
            entry = opened_value(state.place, found)
            if isinstance(entry, dict) and entry.get("id") != job_id:
                findings.error("state", "states", text, "another job is in its place")


def _has_notes(view: View, job_id: bytes) -> bool:
    return any(view.get(NOTES, note_key(job_id, kind)) is not None for kind in (NOTED, CHECKPOINT))


def check_notes(view: View, findings: Findings) -> None:
    """Every note is whole, and of a job whose state row tells of it."""
    for key, row in view.rows(NOTES):
        text, job_id = key_text(NOTES, key), key[:16]
        if len(key) != 17 or key[16] not in (NOTED, CHECKPOINT):
            findings.error("note", "notes", text, "the key is none of a note")
            continue
        if opened_value(key, row) is None:
            findings.error("damaged", "notes", text, "the row is damaged")
        state_row = view.get(STATES, job_id)
        state = None if state_row is None else read_state(job_id, state_row)
        if state_row is None or (state is not None and not state.flags & HAS_NOTES):
            findings.error("note", "notes", text, "no state row tells of it")


def _being_swept(state: StateRow, lines: Lines) -> bool:
    number = line_of(state.place)
    return number in (lines.retired if state.where == IN_JOBS else lines.swept)


def check_ended(view: View, findings: Findings, lines: Lines) -> dict[int, list[int]]:
    """Dead and finished entries are whole and found by their id. How many there are by queue:
    dead, succeeded, cancelled, expired."""
    tallies: dict[int, list[int]] = {}
    for table, where in ((DEAD, IN_DEAD), (FINISHED, IN_FINISHED)):
        name = TABLES[table]
        for key, row in view.rows(table):
            text, number = key_text(table, key), line_of(key)
            tally = tallies.setdefault(number, [0, 0, 0, 0])
            entry = opened_value(key, row)
            if not isinstance(entry, dict) or not isinstance(entry.get("id"), bytes):
                findings.error("damaged", name, text, "the entry is damaged")
                # The broker takes it out of its queue's tally when it sets it aside.
                if table == DEAD:
                    tally[0] += 1
                continue
            end = _TALLY_OF.get("dead" if table == DEAD else str(entry.get("end")))
            if end is None:
                findings.error("ended", name, text, f"it ended as {entry.get('end')!r}, unknown")
            else:
                tally[end] += 1
            job_id = entry["id"]
            state_row = view.get(STATES, job_id)
            state = None if state_row is None else read_state(job_id, state_row)
            if state_row is None or (
                state is not None and (state.where, state.place) != (where, key)
            ):
                what = f"{key_text(STATES, job_id)} is not found by its id"
                findings.error("ended", name, text, what)
    return tallies


def check_unique(view: View, findings: Findings, lines: Lines) -> None:
    """Every unique name is held by an unfinished job of its queue, which has that name."""
    for key, row in view.rows(UNIQUE):
        text, number = key_text(UNIQUE, key), line_of(key)
        try:
            job_id = opened(key, row)
        except Damaged:
            findings.error("damaged", "unique", text, "the row is damaged")
            continue
        if number not in lines.numbers:
            if number not in lines.swept:
                findings.error("unique", "unique", text, "its queue does not exist")
            continue
        job = key_text(JOBS, job_id)
        place, found = _find_job(view, job_id)
        if found is None:
            if line_of(place) not in lines.retired:
                findings.error("unique", "unique", text, f"its holder {job} is not in line")
            continue
        record = read_record(place, found)
        if record is None or line_of(place) in lines.retired:
            continue
        name = unique_of(record)
        if (name or "").encode() != key[4:]:
            findings.error("unique", "unique", text, f"{job} has the name {name!r}")
        elif lines.queue_of.get(line_of(place)) != number:
            findings.error("unique", "unique", text, f"{job} is in another queue")


def _find_job(view: View, job_id: bytes) -> tuple[bytes, bytes | None]:
    found = view.get(JOBS, job_id)
    if found is not None:
        return job_id, found
    row = view.get(STATES, job_id)
    state = read_state(job_id, row) if row is not None else None
    if state is None or state.where != IN_JOBS:
        return job_id, None
    return state.place, view.get(JOBS, state.place)


def check_due(view: View, findings: Findings) -> None:
    """Due rows are whole; one whose job is gone is harmless and only noted."""
    for key, row in view.rows(DUE):
        text = key_text(DUE, key)
        if len(key) != 22 or not intact(key, row):
            findings.error("damaged", "due", text, "the row is damaged")
        elif _find_job(view, key[6:])[1] is None:
            findings.note("stale due row", "due", text, "the job has ended already")


def check_producers(view: View, findings: Findings) -> None:
    """What is remembered of producers is whole and in its slot."""
    for key, row in view.rows(PRODUCERS):
        text = key_text(PRODUCERS, key)
        try:
            remembered = unpack_producer(key, row)
        except (Damaged, struct.error):
            findings.error("damaged", "producers", text, "the row is damaged")
            continue
        if key[16:] != (remembered.sequence % PRODUCER_SLOTS).to_bytes(2, "big"):
            what = f"request {remembered.sequence} does not belong in this slot"
            findings.error("producer", "producers", text, what)
