"""The journal: what was confirmed by it is there after any end of the process."""

from __future__ import annotations

import errno
import os
import random
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lmdb
import pytest

from tenure_storage import journal as journal_module
from tenure_storage import journaled_store, writer
from tenure_storage.backup import backup_to, restore
from tenure_storage.direct import BLOCK_BYTES
from tenure_storage.journal import JOURNAL_NAME, Journal, open_journal
from tenure_storage.journaled_store import RECORD_ROWS_MAX, JournaledStore
from tenure_storage.store import JOBS, META, STATES, Batch, StoreError, StoreUnwritable
from tenure_storage.verify import verify
from tests.storage.sample import (
    batch,
    jobs_batch,
    open_journaled_small,
    open_small,
    sound_batch,
)
from tests.support.syncs import replace_syncs

LAST = b"\xff" * 20
NEVER_MS = 1 << 40


@pytest.fixture(autouse=True)
def _small_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "JOURNAL_BYTES", 64 * BLOCK_BYTES)


@pytest.fixture
def lazy(monkeypatch: pytest.MonkeyPatch) -> None:
    """LMDB is left behind as long as the journal has room."""
    monkeypatch.setattr(journaled_store, "BEHIND_MS_MAX", NEVER_MS)
    monkeypatch.setattr(journaled_store, "BEHIND_ROWS_MAX", NEVER_MS)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[JournaledStore]:
    made = open_journaled_small(tmp_path / "data")
    yield made
    made.close()


def image(store: JournaledStore, tmp_path: Path, name: str = "image") -> Path:
    """The data directory as a process that is killed now would leave it."""
    copy = tmp_path / name
    shutil.copytree(store.path, copy)
    return copy


def put(store: JournaledStore, *keys: bytes, value: bytes = b"v") -> None:
    store.commit(batch(*((JOBS, key, value) for key in keys)))


def rows_of(path: Path, table: int = JOBS) -> dict[bytes, bytes]:
    store = open_journaled_small(path)
    found = dict(store.scan(table, b"", LAST, 1 << 30, 1 << 30))
    store.close()
    return found


def records(path: Path) -> list[int]:
    """Where the records of a journal begin, in the order of their numbers."""
    data = path.read_bytes()
    starts = [at for at in range(0, len(data), BLOCK_BYTES) if data[at : at + 8] == b"TNR-JNL1"]
    return sorted(starts, key=lambda at: data[at + 16 : at + 24])


# ---- what a killed process leaves -----------------------------------------------------------


@pytest.mark.usefixtures("lazy")
def test_what_was_confirmed_is_there_after_a_kill(store: JournaledStore, tmp_path: Path) -> None:
    put(store, b"a", b"b")
    store.commit(batch((JOBS, b"a", None), (STATES, b"s", b"1")))

    copy = image(store, tmp_path)

    assert rows_of(copy) == {b"b": b"v"}
    assert rows_of(copy, STATES) == {b"s": b"1"}


@pytest.mark.usefixtures("lazy")
def test_a_confirmation_costs_one_sync(
    store: JournaledStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    syncs: list[object] = []
    commits: list[object] = []
    replace_syncs(monkeypatch, syncs.append)
    monkeypatch.setattr(writer, "commit_transaction", commits.append)

    for number in range(5):
        put(store, bytes([number + 1]))

    assert (len(syncs), len(commits)) == (5, 0)
    monkeypatch.undo()


@pytest.mark.usefixtures("lazy")
def test_a_record_that_was_being_written_is_as_if_never_sent(
    store: JournaledStore, tmp_path: Path
) -> None:
    for number in range(1, 6):
        put(store, bytes([number]), value=bytes(6000))
    for torn in range(0, 6100, 512):
        copy = image(store, tmp_path, f"torn-{torn}")
        last = records(copy / JOURNAL_NAME)[-1]
        with (copy / JOURNAL_NAME).open("r+b") as file:
            file.seek(last + torn)
            file.write(b"\xa5" * 16)

        assert set(rows_of(copy)) == {bytes([number]) for number in range(1, 5)}


@pytest.mark.usefixtures("lazy")
def test_a_confirmed_record_that_is_damaged_is_not_passed_over(
    store: JournaledStore, tmp_path: Path
) -> None:
    for number in range(1, 4):
        put(store, bytes([number]))
    copy = image(store, tmp_path)
    second = records(copy / JOURNAL_NAME)[1]
    with (copy / JOURNAL_NAME).open("r+b") as file:
        file.seek(second + 34)
        file.write(b"\xa5" * 4)

    with pytest.raises(StoreError, match=r"record 2 is missing, and 1 later ones are there"):
        open_journaled_small(copy)


@pytest.mark.usefixtures("lazy")
def test_a_start_that_is_killed_can_be_repeated(store: JournaledStore, tmp_path: Path) -> None:
    put(store, b"a", b"b")
    copy = image(store, tmp_path)
    first = open_journaled_small(copy)
    again = image(first, tmp_path, "again")
    first.close()

    assert set(rows_of(again)) == {b"a", b"b"}


def test_any_history_of_batches_and_kills_keeps_what_was_confirmed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small and large batches, a ring that wraps, LMDB at any distance behind, kills anywhere."""
    monkeypatch.setattr(journal_module, "JOURNAL_BYTES", 8 * BLOCK_BYTES)
    monkeypatch.setattr(journaled_store, "BEHIND_MS_MAX", NEVER_MS)
    for seed in range(12):
        chance = random.Random(seed)
        store = open_journaled_small(tmp_path / f"{seed}-0")
        rows: dict[bytes, bytes] = {}
        for step in range(120):
            monkeypatch.setattr(journaled_store, "BEHIND_ROWS_MAX", chance.choice([1, 5, 40, 9999]))
            many = RECORD_ROWS_MAX + 1 if chance.random() < 0.04 else chance.randint(0, 12)
            changes: dict[bytes, bytes | None] = {}
            for _ in range(many):
                key = chance.randrange(1, 2000 if many > 12 else 40).to_bytes(2, "big")
                gone = chance.random() < 0.4
                changes[key] = None if gone else chance.randbytes(chance.choice([0, 9, 900]))
            made = Batch(step)
            made.tables[JOBS].update(changes)
            store.commit(made)
            for key, value in changes.items():
                if value is None:
                    rows.pop(key, None)
                else:
                    rows[key] = value
            if chance.random() < 0.1:
                dead, copy = store, image(store, tmp_path, f"{seed}-{step + 1}")
                dead.close()
                store = open_journaled_small(copy)
            if chance.random() < 0.3:
                assert dict(store.scan(JOBS, b"", LAST, 1 << 30, 1 << 30)) == rows
                assert store.count(JOBS) == len(rows)
        store.close()
        assert rows_of(store.path) == rows


@pytest.mark.usefixtures("lazy")
def test_records_of_any_length_are_read_as_they_were_written(
    store: JournaledStore, tmp_path: Path
) -> None:
    chance = random.Random(7)
    rows = {
        blocks.to_bytes(1, "big") + bytes([more]): chance.randbytes(blocks * 4095 - 60 + more)
        for blocks in (1, 2, 3)
        for more in range(0, 40, 3)
    }
    for key, value in rows.items():
        if store._journal.half_full:
            store.flush()
        put(store, key, value=value)

    assert rows_of(image(store, tmp_path)) == rows


@pytest.mark.usefixtures("lazy")
@pytest.mark.parametrize("own", [True, False])
def test_nothing_that_is_stored_is_taken_for_a_record(
    own: bool, store: JournaledStore, tmp_path: Path
) -> None:
    maker = store._journal if own else Journal(-1, tmp_path, 1, 0)
    forged = maker.record(1 << 40, b"") + bytes(4)
    for offset in range(len(forged)):
        put(store, b"k", value=bytes(offset) + forged * 250)
        if store._journal.half_full:
            store.flush()
    put(store, b"k", value=b"v")

    assert rows_of(image(store, tmp_path)) == {b"k": b"v"}


# ---- an end in order ------------------------------------------------------------------------


def test_after_an_end_in_order_the_journal_has_nothing_to_add(
    store: JournaledStore, tmp_path: Path
) -> None:
    put(store, b"a")
    store.close()
    copy = image(store, tmp_path)
    (copy / JOURNAL_NAME).unlink()

    assert set(rows_of(copy)) == {b"a"}


@pytest.mark.usefixtures("lazy")
def test_a_journal_that_is_missing_after_a_kill_is_an_error_until_somebody_accepts_it(
    store: JournaledStore, tmp_path: Path
) -> None:
    put(store, b"a")
    copy = image(store, tmp_path)
    (copy / JOURNAL_NAME).unlink()

    with pytest.raises(StoreError, match="journal is missing, and the store was not closed"):
        open_journaled_small(copy)
    (copy / JOURNAL_NAME).touch()
    assert rows_of(copy) == {}


@pytest.mark.usefixtures("lazy")
def test_the_journal_of_another_store_is_refused(store: JournaledStore, tmp_path: Path) -> None:
    put(store, b"a")
    other = open_journaled_small(tmp_path / "other")
    other.close()
    shutil.copy(store.path / JOURNAL_NAME, other.path / JOURNAL_NAME)

    with pytest.raises(StoreError, match="not the one that this store was written with"):
        open_journaled_small(other.path)


@pytest.mark.usefixtures("lazy")
def test_a_journal_whose_loss_was_accepted_cannot_come_back(
    store: JournaledStore, tmp_path: Path
) -> None:
    put(store, b"a", value=b"old")
    put(store, b"b", value=b"old")
    copy = image(store, tmp_path)
    lost = (copy / JOURNAL_NAME).rename(tmp_path / "lost")
    (copy / JOURNAL_NAME).touch()
    again = open_journaled_small(copy)
    put(again, b"b", value=b"new")
    killed = image(again, tmp_path, "killed")
    again.close()
    assert rows_of(killed) == {b"b": b"new"}
    shutil.copy(lost, killed / JOURNAL_NAME)

    with pytest.raises(StoreError, match="not the one that this store was written with"):
        open_journaled_small(killed)


def test_a_journal_that_was_cut_is_refused(store: JournaledStore) -> None:
    store.close()
    os.truncate(store.path / JOURNAL_NAME, BLOCK_BYTES + 1)

    with pytest.raises(StoreError, match="cut short"):
        open_journaled_small(store.path)


@pytest.mark.usefixtures("lazy")
def test_a_journal_that_lost_whole_blocks_is_refused(store: JournaledStore, tmp_path: Path) -> None:
    store.commit(sound_batch())
    store.flush()
    for number in range(1, 9):
        put(store, bytes([number]))
    copy = image(store, tmp_path)
    os.truncate(copy / JOURNAL_NAME, 4 * BLOCK_BYTES)

    errors = [found.what for found in verify(copy).errors if found.kind == "journal"]
    assert len(errors) == 1
    assert "cut short" in errors[0]
    with pytest.raises(StoreError, match="cut short"):
        open_journaled_small(copy)


@pytest.mark.usefixtures("lazy")
def test_a_disk_that_takes_nothing_at_a_start_is_told_and_loses_nothing(
    store: JournaledStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, b"a")
    copy = image(store, tmp_path)

    def full(_: object) -> None:
        raise lmdb.DiskError("mdb_txn_commit: No space left on device")

    monkeypatch.setattr(writer, "commit_transaction", full)
    with pytest.raises(StoreUnwritable, match=r"No space left .* keeps what was confirmed"):
        open_journaled_small(copy)
    monkeypatch.undo()
    assert set(rows_of(copy)) == {b"a"}


@pytest.mark.usefixtures("lazy")
def test_a_backup_holds_what_only_the_journal_had(store: JournaledStore, tmp_path: Path) -> None:
    put(store, b"a")
    store.flush()
    backup_to(store, tmp_path / "backup")
    restore(tmp_path / "backup", tmp_path / "restored")

    assert set(rows_of(tmp_path / "restored")) == {b"a"}


@pytest.mark.usefixtures("lazy")
def test_a_verification_tells_what_the_journal_still_holds_and_whether_it_is_sound(
    store: JournaledStore, tmp_path: Path
) -> None:
    store.commit(sound_batch())
    store.flush()
    put(store, b"a")
    put(store, b"b")

    def journal_of(copy: Path) -> tuple[list[str], list[str]]:
        report = verify(copy)
        return (
            [found.what for found in report.notes if found.kind == "journal"],
            [found.what for found in report.errors if found.kind == "journal"],
        )

    copy = image(store, tmp_path)
    assert journal_of(copy) == (["it holds 2 confirmed changes that the next start applies"], [])
    second = records(copy / JOURNAL_NAME)[1]
    with (copy / JOURNAL_NAME).open("r+b") as file:
        file.seek(second + 34)
        file.write(b"\xa5" * 4)
    notes, errors = journal_of(copy)
    assert (notes, len(errors)) == ([], 1)
    assert "is damaged: record" in errors[0]
    (copy / JOURNAL_NAME).unlink()
    assert journal_of(copy) == ([], ["the file is missing after an unclean end"])


# ---- when something fails -------------------------------------------------------------------


def failing(_: object) -> None:
    raise OSError(5, "Input/output error")


@pytest.mark.parametrize("what", ["journal", "lmdb"])
def test_after_an_error_of_the_disk_nothing_more_is_confirmed_and_nothing_is_lost(
    what: str, store: JournaledStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journaled_store, "BEHIND_ROWS_MAX", 1 if what == "lmdb" else NEVER_MS)
    monkeypatch.setattr(journaled_store, "BEHIND_MS_MAX", NEVER_MS)
    put(store, b"a")
    store.flush()
    if what == "lmdb":
        monkeypatch.setattr(writer, "commit_transaction", failing)
        put(store, b"b")
        with pytest.raises(StoreError, match="Input/output"):
            store.flush()
    else:
        replace_syncs(monkeypatch, failing)
        with pytest.raises(OSError, match="Input/output"):
            put(store, b"b")

    with pytest.raises(StoreError, match=r"can no longer be written: .*Input/output"):
        put(store, b"c")
    store.close()
    monkeypatch.undo()
    found = set(rows_of(store.path))
    assert b"a" in found
    assert b"c" not in found
    # Confirmed by the journal it must be there; refused by it, it may be.
    assert b"b" in found or what == "journal"


@pytest.mark.parametrize("step", [1024, 1000])
def test_a_write_that_the_kernel_cuts_short_goes_on(
    step: int, store: JournaledStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In whole sectors it can go on past the page cache; else it begins anew, through it.
    whole = os.pwrite

    def short(handle: int, data: bytes, at: int) -> int:
        return whole(handle, memoryview(data)[:step], at)

    monkeypatch.setattr(os, "pwrite", short)
    put(store, b"a", value=bytes(5000))
    monkeypatch.undo()

    assert rows_of(image(store, tmp_path)) == {b"a": bytes(5000)}


def test_where_there_are_no_direct_writes_a_record_goes_through_the_page_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = os.open

    def without(path: str, flags: int, *others: Any, **named: Any) -> int:
        if flags & os.O_DIRECT:
            raise OSError(errno.EINVAL, "Invalid argument")
        return opened(path, flags, *others, **named)

    monkeypatch.setattr(os, "open", without)
    store = open_journaled_small(tmp_path / "other")
    put(store, b"a", value=bytes(5000))
    monkeypatch.undo()

    assert rows_of(image(store, tmp_path)) == {b"a": bytes(5000)}
    store.close()


def test_a_key_that_lmdb_cannot_take_is_refused_before_it_is_confirmed(
    store: JournaledStore,
) -> None:
    for key in (b"", b"k" * 512):
        with pytest.raises(StoreError):
            put(store, key)
    store.close()
    assert rows_of(store.path) == {}


def test_a_caller_that_cannot_be_told_latches_the_store(store: JournaledStore) -> None:
    told = threading.Event()

    def deaf(_: BaseException | None) -> None:
        told.set()
        raise RuntimeError("nobody listens")

    store.submit(jobs_batch(0, 1), deaf)
    told.wait()

    def put_until_refused() -> None:
        while True:
            put(store, b"a")

    with pytest.raises(StoreError, match="nobody listens"):
        put_until_refused()


# ---- the ring -------------------------------------------------------------------------------


def test_records_never_share_a_block_and_never_touch_what_lmdb_has_not(tmp_path: Path) -> None:
    ring = open_journal(tmp_path, None)
    chance = random.Random(5)
    live: dict[int, range] = {}
    oldest = 1
    wrapped = refused = 0
    for number in range(1, 4000):
        size = chance.choice([1, 60, 4060, 5000, 20_000])
        start = ring.place(number, size)
        if start is None:
            refused += 1
            oldest = number if not live else min(number, oldest + chance.randint(1, len(live)))
            ring.free(oldest - 1)
            live = {n: blocks for n, blocks in live.items() if n >= oldest}
            continue
        wrapped += start == 0
        end = start + len(ring.record(number, bytes(size)))
        blocks = range(start // BLOCK_BYTES, -(-end // BLOCK_BYTES))
        assert start % BLOCK_BYTES == 0
        assert end <= journal_module.JOURNAL_BYTES
        assert not {block for other in live.values() for block in other} & set(blocks)
        live[number] = blocks
    assert wrapped > 20
    assert refused > 20
    ring.close()


def test_a_record_as_long_as_the_journal_fits_and_one_more_byte_does_not(tmp_path: Path) -> None:
    ring = open_journal(tmp_path, None)
    most = journal_module.JOURNAL_BYTES - 31 - 64

    assert ring.place(1, most + 1) is None
    assert ring.place(1, most) == 0
    assert ring.half_full
    ring.free(1)
    assert not ring.half_full
    ring.close()


def test_a_new_journal_has_no_records(tmp_path: Path) -> None:
    ring = open_journal(tmp_path, None)
    assert ring.read_after(0) == []
    ring.close()


def test_the_row_that_says_what_lmdb_has_is_checked(store: JournaledStore) -> None:
    store.close()
    inner = open_small(store.path)
    inner.commit(batch((META, b"journal", b"not a row")))
    inner.close()

    with pytest.raises(StoreError, match=r"journal row .* is damaged"):
        open_journaled_small(store.path)
