"""Opens an image as a start of the broker does, and tells what is in it."""

from __future__ import annotations

import hashlib
import os
import pickle
import shutil
import time
import traceback
from pathlib import Path
from typing import Any, NamedTuple

from tenure_protocol.body import decode_body
from tenure_protocol.ids import encode_id
from tenure_protocol.wire import pack, unpack
from tenure_server.engine import Engine, EngineLimits, Now
from tenure_storage.backup import restore
from tenure_storage.environment import DATA_NAME
from tenure_storage.journaled_store import open_journaled
from tenure_storage.memory_store import MemoryStore
from tenure_storage.store import TABLES, Store, StoreError
from tenure_storage.verify import verify
from tests.power.promises import ANY_ATTEMPT, Found, State, key_of

STATES = ("ready", "scheduled", "retrying", "leased", "dead", "succeeded", "cancelled", "expired")
WAITING = ("ready", "scheduled", "retrying")
MAX_BYTES = 64 << 20
LAST = b"\xff" * 511

Rows = list[list[tuple[bytes, bytes]]]


class Seen(NamedTuple):
    """What an image holds."""

    jobs: Found
    backups: dict[str, Found]
    """Complete backups, by name."""
    restored: Found | None
    """The restored directory, if there is a store in it."""
    faults: list[str]
    """What is wrong with it whatever was promised."""


def look(root: Path, scratch: Path, where: str) -> Seen:
    """What the image below `root` holds, its data directory being `where` in it.

    `scratch` is a directory that may be filled.
    """
    faults: list[str] = []
    data = root / where
    jobs = _store(data, faults) or {}
    backups = {}
    places = sorted(data.glob("backups/[!.]*")) if data.is_dir() else []
    for number, place in enumerate(places):
        made = scratch / f"of-backup-{number}"
        try:
            restore(place, made)
        except StoreError as error:
            faults.append(f"the backup {place.name} is there and not whole: {error}")
            continue
        backups[place.name] = _store(made, faults) or {}
        shutil.rmtree(made)
    restored = root / "far" / "restored"
    there = (restored / DATA_NAME).exists()
    return Seen(jobs, backups, _store(restored, faults) if there else None, faults)


def look_apart(root: Path, scratch: Path, where: str) -> Seen:
    """`look` in a process of its own: LMDB may end a process that opens a bad file."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.close(reading)
            with os.fdopen(writing, "wb") as pipe:
                pickle.dump(look(root, scratch, where), pipe)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        data = pipe.read()
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code != 0:
        return Seen({}, {}, None, [f"who opens it ends with {code}"])
    seen: Seen = pickle.loads(data)
    return seen


def _store(path: Path, faults: list[str]) -> Found | None:
    """What recovery makes of a data directory: sound, and the same at the second time."""
    try:
        if (path / DATA_NAME).exists():
            _sound(path, faults, "before its recovery")
        rows, jobs = _opened(path, faults)
        _sound(path, faults, "after its recovery")
        again, _ = _opened(path, faults, jobs=False)
    except StoreError as error:
        faults.append(f"{path.name} cannot be opened: {error}")
        return None
    if again != rows:
        faults.append(f"the second recovery of {path.name} is not the first")
    return jobs


def _sound(path: Path, faults: list[str], when: str) -> None:
    try:
        report = verify(path)
    except StoreError as error:
        # A store of an older format is upgraded by its opening and verified then.
        if "verifies format" not in str(error):
            faults.append(f"{path.name} cannot be verified {when}: {error}")
        return
    faults += [
        f"{path.name} is not sound {when}: {finding.kind} {finding.what}"
        for finding in report.errors[:3]
    ]


def _opened(path: Path, faults: list[str], *, jobs: bool = True) -> tuple[Rows, Found]:
    store = open_journaled(path, max_bytes=MAX_BYTES)
    try:
        rows = [store.scan(table, b"", LAST, 1 << 30, 1 << 40) for table in range(len(TABLES))]
        return rows, jobs_in(store, faults) if jobs else {}
    finally:
        store.close()


# ---- through the engine ---------------------------------------------------------------------


def jobs_in(store: Store, faults: list[str]) -> Found:
    """Every job that the engine finds in a store, by the key in its payload."""
    now = Now(time.time_ns() // 1_000_000, time.monotonic_ns() // 1_000_000)
    engine = Engine(
        store,
        limits=EngineLimits(),
        now=now,
        random=lambda: 0.5,
        new_id=lambda count: b"i" * count,
        volatile=MemoryStore(),
    )
    session = engine.open_session(None, "power", "nowhere", now)

    def call(op: str, args: object) -> Any:
        engine.execute(session, 1, op, unpack(pack(args)), now)
        replies = engine.take_instant()
        while engine.seal(now) is not None:
            replies += engine.announce(now)
        if len(replies) != 1 or replies[0].status != 0:
            raise StoreError(f"the engine answers {op} {args} with {replies}")
        return unpack(pack(replies[0].body))

    found: Found = {}
    for queue in call("queue.list", {"limit": 1000})["queues"]:
        counts: dict[str, int] = dict.fromkeys(STATES, 0)
        for state in STATES:
            cursor = None
            while True:
                args = {"queue": queue["name"], "state": state, "limit": 1000, "cursor": cursor}
                page = call("peek", args)
                for job in page["jobs"]:
                    counts[state] += 1
                    _note(found, job, faults)
                cursor = page["cursor"]
                if cursor is None:
                    break
        _compare_counts(queue, counts, faults)
    return found


def _note(found: Found, job: dict[str, Any], faults: list[str]) -> None:
    payload = decode_body(job["body"]).payload
    key = key_of(payload) if b"|" in payload[:64] else f"id:{encode_id(job['id'])}"
    name = job["state"]
    if key.startswith("id:"):
        # A job of the fixture: its bytes are part of what it is.
        name = f"{name}:{hashlib.sha256(job['body']).hexdigest()[:16]}"
    if key in found:
        faults.append(f"{key} is there twice, as {found[key].name} and as {name}")
    found[key] = State(name, job["attempt"] if job["state"] == "leased" else ANY_ATTEMPT)


def _compare_counts(queue: dict[str, Any], counts: dict[str, int], faults: list[str]) -> None:
    told = queue["counts"]
    # Which of them are ready is a matter of the time of looking.
    groups = [WAITING, *([state] for state in STATES if state not in WAITING)]
    for group in groups:
        said, there = (sum(of[state] for state in group) for of in (told, counts))
        if said != there:
            name = "/".join(group)
            faults.append(f"queue {queue['name']} counts {said} {name} jobs and has {there}")
