"""Backups, restores and compactions: whole or refused, never in between."""

from __future__ import annotations

import fcntl
import json
import os
import threading
from pathlib import Path

import pytest

from tenure_storage import backup as backup_module
from tenure_storage.backup import MANIFEST_NAME, backup_to, read_manifest, restore
from tenure_storage.compact import compact
from tenure_storage.layout import sealed_map
from tenure_storage.lock import DirectoryLock
from tenure_storage.store import JOBS, META, Batch, StoreError
from tenure_storage.verify import verify
from tests.storage.sample import (
    MIB,
    batch,
    jobs_batch,
    open_journaled_small,
    open_small,
    sound_batch,
)

LAST = b"\xff" * 17


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A backup of a sound store."""
    store = open_journaled_small(tmp_path / "data")
    store.commit(sound_batch())
    store.flush()
    backup_to(store, tmp_path / "backup")
    store.close()
    return tmp_path / "backup"


def numbered(number: int) -> Batch:
    made = jobs_batch(number * 200, 200, number=number)
    made.tables[META][b"batch"] = sealed_map(b"batch", [number, 0, 0])
    return made


def test_a_backup_taken_while_commits_go_on_is_one_committed_state(tmp_path: Path) -> None:
    store = open_journaled_small(tmp_path / "data")
    for number in range(50):
        store.commit(numbered(number))
    store.flush()
    thread = threading.Thread(target=backup_to, args=(store, tmp_path / "backup"))
    thread.start()
    number = 50
    while thread.is_alive() or number < 60:
        store.commit(numbered(number))
        number += 1
    thread.join()
    store.close()

    restore(tmp_path / "backup", tmp_path / "restored")
    copied = open_small(tmp_path / "restored")
    count = copied.count(JOBS)
    assert count % 200 == 0
    assert 50 * 200 <= count <= number * 200
    last = sealed_map(b"batch", [count // 200 - 1, 0, 0])
    assert copied.get(META, b"batch") == last
    assert len(copied.scan(JOBS, b"", LAST, 1 << 20, 1 << 30)) == count
    copied.close()


def test_a_restored_store_verifies_and_can_be_written(saved: Path, tmp_path: Path) -> None:
    manifest = restore(saved, tmp_path / "restored")

    assert verify(tmp_path / "restored").errors == ()
    store = open_small(tmp_path / "restored")
    assert store.count(JOBS) == 5
    store.commit(jobs_batch(100, 1))
    store.close()
    assert manifest == read_manifest(saved)
    assert manifest.bytes == (saved / "data.mdb").stat().st_size


def test_a_backup_never_writes_over_another(saved: Path, tmp_path: Path) -> None:
    store = open_journaled_small(tmp_path / "data")
    with pytest.raises(StoreError, match="exists already"):
        backup_to(store, saved)
    store.close()

    assert restore(saved, tmp_path / "restored").bytes > 0


def test_a_backup_that_fails_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, text: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(backup_module, "_write_synced", full)
    store = open_journaled_small(tmp_path / "data")
    with pytest.raises(StoreError, match="No space left"):
        backup_to(store, tmp_path / "backups" / "one")
    store.commit(jobs_batch(0, 1))
    store.close()

    assert list((tmp_path / "backups").iterdir()) == []


def test_the_next_backup_removes_what_a_killed_one_left_and_nothing_that_is_being_written(
    tmp_path: Path,
) -> None:
    backups = tmp_path / "backups"
    for name in (".old.partial-17", ".two.partial-1", ".somebodys.partial-18"):
        (backups / name).mkdir(parents=True)
        (backups / name / "data.mdb").write_bytes(b"half")
    at_work = os.open(backups / ".somebodys.partial-18", os.O_RDONLY)
    fcntl.flock(at_work, fcntl.LOCK_EX)
    store = open_journaled_small(tmp_path / "data")
    backup_to(store, backups / "two")
    store.close()
    os.close(at_work)

    assert sorted(path.name for path in backups.iterdir()) == [".somebodys.partial-18", "two"]
    assert restore(backups / "two", tmp_path / "restored").bytes > 0


def test_a_backup_where_locks_do_not_work_is_made_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_journaled_small(tmp_path / "data")

    def refused(*_: object) -> None:
        raise OSError(9, "Bad file descriptor")

    monkeypatch.setattr(fcntl, "flock", refused)
    backup_to(store, tmp_path / "backup")
    monkeypatch.undo()
    store.close()

    assert restore(tmp_path / "backup", tmp_path / "restored").bytes > 0


def test_a_backup_of_a_closed_store_is_refused(tmp_path: Path) -> None:
    store = open_journaled_small(tmp_path / "data")
    store.close()

    with pytest.raises(StoreError, match="closed"):
        backup_to(store, tmp_path / "backup")
    assert not (tmp_path / "backup").exists()


@pytest.mark.parametrize("damage", ["flip", "cut", "longer"])
def test_a_damaged_backup_is_refused_and_leaves_no_store(
    saved: Path, tmp_path: Path, damage: str
) -> None:
    data = bytearray((saved / "data.mdb").read_bytes())
    if damage == "flip":
        data[len(data) // 2] ^= 1
    elif damage == "cut":
        del data[-4096:]
    else:
        data += b"\0" * 4096
    (saved / "data.mdb").write_bytes(data)

    told = "does not have the checksum" if damage == "flip" else f"has {len(data)} bytes, and"
    with pytest.raises(StoreError, match=f"is damaged: its data file {told}"):
        restore(saved, tmp_path / "restored")
    assert not list((tmp_path / "restored").glob("data*"))


def test_a_directory_that_is_no_backup_is_refused(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="not a backup"):
        restore(tmp_path / "data", tmp_path / "restored")
    (saved / MANIFEST_NAME).write_text("{")
    with pytest.raises(StoreError, match="cannot be read"):
        restore(saved, tmp_path / "restored")


def test_a_backup_of_a_newer_format_is_refused(saved: Path, tmp_path: Path) -> None:
    fields = json.loads((saved / MANIFEST_NAME).read_text())
    (saved / MANIFEST_NAME).write_text(json.dumps(fields | {"format": 99}))

    with pytest.raises(StoreError, match="format 99"):
        restore(saved, tmp_path / "restored")


def test_a_restore_never_touches_a_store(saved: Path, tmp_path: Path) -> None:
    before = (tmp_path / "data" / "data.mdb").read_bytes()
    with pytest.raises(StoreError, match="not empty"):
        restore(saved, tmp_path / "data")

    assert (tmp_path / "data" / "data.mdb").read_bytes() == before


def test_a_restore_that_was_killed_is_done_over(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "restored").mkdir()
    (tmp_path / "restored" / "data.mdb.restoring").write_bytes(b"half")
    (tmp_path / "restored" / "journal").touch()
    (tmp_path / "restored" / "tenure.lock").write_text("17\n")
    restore(saved, tmp_path / "restored")

    assert verify(tmp_path / "restored").errors == ()
    assert not (tmp_path / "restored" / "data.mdb.restoring").exists()


def test_no_power_cut_leaves_a_restored_data_file_without_its_journal(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "restored"
    durable: list[set[str]] = []

    def synced(directory: Path) -> None:
        if directory == target:
            durable.append({entry.name for entry in target.iterdir()})

    monkeypatch.setattr(backup_module, "sync_directory", synced)
    restore(saved, target)

    [first, *_] = [names for names in durable if "data.mdb" in names]
    before = durable[: durable.index(first)]
    assert any("journal" in names for names in before)


def test_a_restore_into_a_directory_in_use_is_refused(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "restored").mkdir()
    with DirectoryLock(tmp_path / "restored"), pytest.raises(StoreError, match="in use"):
        restore(saved, tmp_path / "restored")


def test_compaction_gives_back_what_was_deleted(tmp_path: Path) -> None:
    store = open_small(tmp_path)
    store.commit(sound_batch())
    kept = store.scan(JOBS, b"", LAST, 10)
    rows = [(JOBS, b"\0" + number.to_bytes(4, "big")) for number in range(20_000)]
    store.commit(batch(*((table, key, b"x" * 200) for table, key in rows)))
    store.commit(batch(*((table, key, None) for table, key in rows)))
    store.close()
    before, after = compact(tmp_path)

    assert before > 4 * MIB
    assert after < MIB
    assert (tmp_path / "data.mdb").stat().st_size == after
    assert verify(tmp_path).errors == ()
    store = open_small(tmp_path)
    assert store.scan(JOBS, b"", LAST, 10) == kept
    store.commit(jobs_batch(0, 10))
    store.close()


def test_a_compaction_cut_short_before_is_done_over(tmp_path: Path) -> None:
    store = open_small(tmp_path)
    store.commit(jobs_batch(0, 10))
    store.close()
    (tmp_path / "data.mdb.compacting").write_bytes(b"half")
    compact(tmp_path)

    assert not (tmp_path / "data.mdb.compacting").exists()
    store = open_small(tmp_path)
    assert store.count(JOBS) == 10
    store.close()


def test_a_start_removes_what_a_compaction_cut_short_left(tmp_path: Path) -> None:
    open_small(tmp_path).close()
    (tmp_path / "data.mdb.compacting").write_bytes(b"half")
    open_small(tmp_path).close()

    assert not (tmp_path / "data.mdb.compacting").exists()


def test_compaction_refuses_a_store_in_use_or_missing(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no store"):
        compact(tmp_path)
    store = open_small(tmp_path)
    with pytest.raises(StoreError, match="in use by process"):
        compact(tmp_path)
    store.close()
