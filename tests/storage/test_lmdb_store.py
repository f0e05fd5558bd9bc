"""The durable store: what is on the disk, who may open it, and what happens when a write fails."""

from __future__ import annotations

import os
import resource
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tenure_storage import format as store_format
from tenure_storage import lock, writer
from tenure_storage.environment import LmdbError, Transaction, open_environment
from tenure_storage.format import Upgrade, UpgradeTables
from tenure_storage.keys import place_of
from tenure_storage.layout import sealed_map
from tenure_storage.lmdb_store import LmdbStore, open_lmdb
from tenure_storage.lock import DirectoryLock
from tenure_storage.store import FORMAT, JOBS, META, STATES, StoreError
from tests.storage.sample import LINE, MIB, NOW, batch, jobs_batch, open_small

LAST = b"\xff" * 17
OnDone = Callable[[BaseException | None], None]


class Gate:
    """Holds commits back until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached, self.opened = threading.Event(), threading.Event()
        commit = writer.commit_transaction

        def gated(txn: Transaction) -> None:
            self.reached.set()
            assert self.opened.wait(30)
            commit(txn)

        monkeypatch.setattr(writer, "commit_transaction", gated)


class Outcome:
    """Collects what `on_done` was told."""

    def __init__(self) -> None:
        self.told: list[BaseException | None] = []
        self._event = threading.Event()

    def __call__(self, error: BaseException | None) -> None:
        self.told.append(error)
        self._event.set()

    def wait(self) -> BaseException | None:
        assert self._event.wait(30), "nothing was confirmed"
        return self.told[0]


# ---- what is on the disk ---------------------------------------------------------------


def test_what_was_committed_is_there_after_opening_again(tmp_path: Path) -> None:
    store = open_small(tmp_path)
    store.commit(batch((JOBS, b"a", b"one"), (STATES, b"b", b"two")))
    store.commit(batch((JOBS, b"c", b"three")))
    store.close()

    store = open_small(tmp_path)
    assert store.scan(JOBS, b"", LAST, 9) == [(b"a", b"one"), (b"c", b"three")]
    assert store.get(STATES, b"b") == b"two"
    store.close()


def test_closing_waits_for_the_commit_in_flight(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, outcome = Gate(monkeypatch), Outcome()
    store = open_small(tmp_path)
    store.submit(jobs_batch(0, 10), outcome)
    assert gate.reached.wait(30)
    closing = threading.Thread(target=store.close)
    closing.start()
    assert outcome.told == []
    gate.opened.set()
    closing.join(30)

    assert outcome.told == [None]
    store = open_small(tmp_path)
    assert store.count(JOBS) == 10
    store.close()


def test_nobody_sees_a_batch_before_its_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_small(tmp_path)
    store.commit(batch((JOBS, b"a", b"old")))
    gate, outcome = Gate(monkeypatch), Outcome()
    store.submit(batch((JOBS, b"a", b"new"), (JOBS, b"b", b"new")), outcome)
    assert gate.reached.wait(30)

    assert store.get(JOBS, b"a") == b"old"
    assert store.get_many(JOBS, [b"a", b"b"]) == [b"old", None]
    assert store.scan(JOBS, b"", LAST, 9) == [(b"a", b"old")]
    assert store.count(JOBS) == 1
    assert store.sizes().entries[JOBS] == 1
    gate.opened.set()
    assert outcome.wait() is None
    assert store.scan(JOBS, b"", LAST, 9) == [(b"a", b"new"), (b"b", b"new")]
    assert store.sizes().entries[JOBS] == 2
    store.close()


def test_a_second_batch_is_refused_while_one_is_being_committed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, outcome = Gate(monkeypatch), Outcome()
    store = open_small(tmp_path)
    store.submit(jobs_batch(0, 1), outcome)
    with pytest.raises(StoreError, match="one at a time"):
        store.submit(jobs_batch(1, 1), outcome)
    gate.opened.set()

    assert outcome.wait() is None
    assert store.count(JOBS) == 1
    store.close()


def test_files_are_for_their_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "new" / "data"
    open_small(path).close()

    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    names = {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in path.iterdir()}
    assert names == {"data.mdb": 0o600, "lock.mdb": 0o600, "tenure.lock": 0o600}


def test_no_reader_stays_behind(tmp_path: Path) -> None:
    store = open_small(tmp_path)
    store.commit(jobs_batch(0, 100))
    for limit in (1, 50, 1000):
        store.scan(JOBS, b"", LAST, limit)
        store.get_many(JOBS, [b"x"])
    for round_number in range(30):
        store.commit(jobs_batch(0, 100, number=round_number))
    size = store.sizes().file_bytes
    for round_number in range(100):
        store.commit(jobs_batch(0, 100, number=round_number))

    assert store.sizes().file_bytes <= size + 16 * 4096
    store.close()


def test_an_interrupted_first_start_is_started_over(tmp_path: Path) -> None:
    (tmp_path / "creating").mkdir()
    (tmp_path / "creating" / "data.mdb").write_bytes(b"half a page")

    store = open_small(tmp_path)
    store.commit(jobs_batch(0, 1))
    assert not (tmp_path / "creating").exists()
    store.close()


CHILD = """
import sys
from pathlib import Path
from tests.storage.sample import jobs_batch, open_small
store = open_small(Path(sys.argv[1]))
size, number = int(sys.argv[2]), 0
while True:
    store.commit(jobs_batch(number * size, size, number=number))
    number += 1
    print(number, flush=True)
"""


def run_child(code: str, *args: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )


def output(child: subprocess.Popen[str]) -> tuple[str, str]:
    """What a child printed until its end; none is left behind."""
    try:
        return child.communicate(timeout=60)
    finally:
        child.kill()
        child.wait()


@pytest.mark.parametrize(("size", "commits"), [(1, 40), (1, 7), (500, 12), (5_000, 3)])
def test_a_killed_process_loses_nothing_it_reported_and_halves_no_batch(
    tmp_path: Path, size: int, commits: int
) -> None:
    child = run_child(CHILD, tmp_path, size)
    assert child.stdout is not None
    for _ in range(commits):
        assert child.stdout.readline(), child.communicate()[1]
    os.kill(child.pid, signal.SIGKILL)
    rest = child.communicate(timeout=30)[0].split()
    reported = int(rest[-1]) if rest else commits

    store = open_small(tmp_path)
    found = store.scan(JOBS, b"", LAST, 1 << 30, 1 << 40)
    assert len(found) % size == 0
    assert len(found) // size in (reported, reported + 1)
    assert [key for key, _ in found] == [place_of(LINE, 128, NOW, i) for i in range(len(found))]
    store.commit(jobs_batch(1 << 30, 1))
    store.close()


# ---- who may open it -------------------------------------------------------------------


def test_a_second_opener_is_refused_and_told_who_has_it(tmp_path: Path) -> None:
    child = run_child(CHILD, tmp_path, 1)
    assert child.stdout is not None
    assert child.stdout.readline()

    with pytest.raises(StoreError, match=f"in use by process {child.pid}"):
        open_small(tmp_path)
    os.kill(child.pid, signal.SIGKILL)
    child.communicate(timeout=30)
    open_small(tmp_path).close()


def test_the_lock_ends_with_close_and_is_kept_by_a_refused_opener(tmp_path: Path) -> None:
    store = open_small(tmp_path)
    for _ in range(2):
        with pytest.raises(StoreError, match=f"in use by process {os.getpid()}"):
            open_small(tmp_path)
    store.close()

    with DirectoryLock(tmp_path), pytest.raises(StoreError, match="in use by process"):
        open_small(tmp_path)
    open_small(tmp_path).close()


def test_a_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "file_system_kind", lambda _: "nfs4")

    with pytest.raises(StoreError, match=r"network file system \(nfs4\)"):
        open_small(tmp_path)


def test_a_missing_store_is_not_created_unless_asked(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no store"):
        open_lmdb(tmp_path / "none", max_bytes=MIB, create=False)

    assert not (tmp_path / "none").exists()


def test_a_failed_open_lets_go_of_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_small(tmp_path).close()
    with monkeypatch.context() as patch:
        patch.setattr(store_format, "engine_version", lambda: (1, 0, 3))
        with pytest.raises(StoreError):
            open_small(tmp_path)

    open_small(tmp_path).close()


def test_a_process_that_forgets_to_close_still_ends(tmp_path: Path) -> None:
    code = CHILD.replace("while True:", "if True:").replace("number += 1", "number = 1")
    child = run_child(code, tmp_path, 3)

    assert child.communicate(timeout=30)[0] == "1\n"
    assert child.returncode == 0


# ---- formats ---------------------------------------------------------------------------


def rewrite_format(path: Path, value: object) -> None:
    store = open_small(path)
    store.commit(batch((META, b"format", sealed_map(b"format", value))))
    store.close()


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    rewrite_format(tmp_path, {"format": FORMAT + 1, "lmdb": [0, 9, 36], "created_at_ms": 1})

    with pytest.raises(StoreError, match=f"format {FORMAT + 1}, .* up to {FORMAT}: .* newer"):
        open_small(tmp_path)


def test_another_lmdb_is_refused_and_both_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rewrite_format(tmp_path, {"format": FORMAT, "lmdb": [0, 9, 24], "created_at_ms": 1})
    open_small(tmp_path).close()
    monkeypatch.setattr(store_format, "engine_version", lambda: (1, 0, 3))

    with pytest.raises(StoreError, match=r"LMDB 0\.9\.24, .* has LMDB 1\.0\.3"):
        open_small(tmp_path)


def test_a_damaged_format_row_is_told(tmp_path: Path) -> None:
    store = open_small(tmp_path)
    store.commit(batch((META, b"format", b"1234nonsense")))
    store.close()

    with pytest.raises(StoreError, match=r"format row .* is damaged"):
        open_small(tmp_path)


def test_somebody_elses_lmdb_database_is_left_alone(tmp_path: Path) -> None:
    env = open_environment(tmp_path, map_bytes=MIB)
    with env.begin(write=True) as txn:
        txn.put(b"their", b"row")
    env.close()

    with pytest.raises(StoreError, match="not a Tenure store"):
        open_small(tmp_path)


def first_step(tables: UpgradeTables) -> None:
    tables.put(JOBS, b"a", b"1")


def second_step(tables: UpgradeTables) -> None:
    for key, value in list(tables.rows(JOBS)):
        tables.put(JOBS, key + b"b", value + b"2")
        tables.delete(JOBS, key)
    assert tables.get(JOBS, b"a") is None


def no_step(tables: UpgradeTables) -> None:
    assert tables.get(META, b"format") is not None


def test_an_older_format_is_upgraded_in_steps_and_opens_from_then_on(tmp_path: Path) -> None:
    rewrite_format(tmp_path, {"format": FORMAT - 2, "lmdb": [0, 9, 36], "created_at_ms": 77})
    steps = {FORMAT - 2: first_step, FORMAT - 1: second_step}
    store = open_lmdb(tmp_path, max_bytes=MIB, upgrades=steps)

    assert store.scan(JOBS, b"", LAST, 9) == [(b"ab", b"12")]
    store.close()
    store = open_small(tmp_path)
    assert store.count(JOBS) == 1
    store.close()


def test_a_failed_upgrade_leaves_the_store_as_it_was(tmp_path: Path) -> None:
    rewrite_format(tmp_path, {"format": FORMAT - 2, "lmdb": [0, 9, 36], "created_at_ms": 77})
    step = {FORMAT - 2: first_step}
    with pytest.raises(StoreError, match="no longer reads"):
        open_lmdb(tmp_path, max_bytes=MIB, upgrades=step)

    noop: dict[int, Upgrade] = {FORMAT - 2: no_step, FORMAT - 1: no_step}
    store = open_lmdb(tmp_path, max_bytes=MIB, upgrades=noop)
    assert store.count(JOBS) == 0
    store.close()


# ---- damaged files ---------------------------------------------------------------------


@pytest.fixture
def closed(tmp_path: Path) -> Path:
    store = open_small(tmp_path)
    store.commit(jobs_batch(0, 2000))
    store.close()
    return tmp_path


@pytest.mark.parametrize("left", [0, 100, 4096, 5000, 8192, 100_000, -4096, -1])
def test_a_file_that_was_cut_short_is_refused_in_a_sentence(closed: Path, left: int) -> None:
    data = closed / "data.mdb"
    os.truncate(data, left if left >= 0 else data.stat().st_size + left)

    with pytest.raises(StoreError, match="is cut short"):
        open_small(closed)


def test_a_file_of_something_else_is_refused(closed: Path) -> None:
    (closed / "data.mdb").write_bytes(b"something else" * 1000)

    with pytest.raises(StoreError, match="not an LMDB data file"):
        open_small(closed)


@pytest.mark.parametrize(("at", "what"), [(24, "LMDB 1.0"), (16, "format 7")])
def test_another_data_format_of_lmdb_is_refused(closed: Path, at: int, what: str) -> None:
    magic, data = (0xBEEFC0DE).to_bytes(4, sys.byteorder), closed / "data.mdb"
    head = bytearray(4096)
    head[at : at + 4] = magic
    head[at + 4 : at + 8] = (7).to_bytes(4, sys.byteorder)
    data.write_bytes(bytes(head) + data.read_bytes()[4096:])

    with pytest.raises(StoreError, match=what):
        open_small(closed)


def test_a_file_that_lacks_only_free_pages_is_sound(tmp_path: Path) -> None:
    store = open_small(tmp_path)
    value = b"v" * 100_000
    store.commit(batch(*((JOBS, bytes([i]), value) for i in range(1, 250))))
    store.commit(batch((JOBS, b"\xff\xff", b"kept")))
    store.commit(batch(*((JOBS, bytes([i]), None) for i in range(1, 250))))
    # What follows takes pages that were freed above, so the end of the file is free.
    for number in range(4):
        store.commit(batch((JOBS, b"\xff\xff", b"kept"), number=number))
    store.close()
    data = tmp_path / "data.mdb"
    os.truncate(data, data.stat().st_size - 50 * 4096)

    store = open_small(tmp_path)
    assert store.scan(JOBS, b"", LAST, 9) == [(b"\xff\xff", b"kept")]
    store.close()


# ---- writes that fail ------------------------------------------------------------------


def test_a_full_map_grows_and_keeps_the_whole_batch(tmp_path: Path) -> None:
    store = open_small(tmp_path, map_bytes=256 * 1024)
    store.commit(jobs_batch(0, 100))
    before = store.sizes().map_bytes
    store.commit(jobs_batch(100, 20_000, number=2))

    assert store.sizes().map_bytes > 16 * before
    assert store.count(JOBS) == 20_100
    assert len(store.scan(JOBS, b"", LAST, 1 << 20, 1 << 30)) == 20_100
    store.close()
    store = open_small(tmp_path, map_bytes=256 * 1024)
    assert store.count(JOBS) == 20_100
    store.close()


def test_a_store_that_fills_up_in_small_steps_never_meets_a_full_map(tmp_path: Path) -> None:
    store = open_small(tmp_path, map_bytes=128 * 1024)
    for number in range(200):
        store.commit(jobs_batch(number * 50, 50, number=number))

    assert store.count(JOBS) == 10_000
    assert store.sizes().map_bytes >= 2 * store.sizes().file_bytes * 9 // 10
    store.close()


def test_a_map_that_cannot_grow_latches_and_confirms_nothing(tmp_path: Path) -> None:
    code = """
import resource, sys
from pathlib import Path
from tenure_storage.store import StoreError
from tests.storage.sample import jobs_batch, open_small
store = open_small(Path(sys.argv[1]), map_bytes=64 << 20)
store.commit(jobs_batch(0, 10))
batch = jobs_batch(10, 3000, value=b"v" * 25_000)
used = int(Path("/proc/self/statm").read_text().split()[0]) * 4096
resource.setrlimit(resource.RLIMIT_AS, (used + (120 << 20), used + (120 << 20)))
told = []
store.submit(batch, told.append)
print(type(told[0]).__name__)
try:
    store.count(0)
except StoreError:
    print("unreadable")
try:
    store.submit(jobs_batch(10, 1), told.append)
except StoreError as error:
    print("refused", len(told))
store.close()
"""
    out, errors = output(run_child(code, tmp_path))

    assert out.split() == ["StoreError", "unreadable", "refused", "1"], errors
    store = open_small(tmp_path)
    assert store.count(JOBS) == 10
    store.close()


def latched(store: LmdbStore) -> bool:
    with pytest.raises(StoreError, match="can no longer be written"):
        store.submit(jobs_batch(5000, 1), lambda _: None)
    return True


def test_a_failed_commit_is_told_and_is_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_small(tmp_path)
    store.commit(jobs_batch(0, 5))

    def fail(txn: Transaction) -> None:
        raise LmdbError("fdatasync: Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(writer, "commit_transaction", fail)
        outcome = Outcome()
        store.submit(jobs_batch(5, 5), outcome)
        assert isinstance(outcome.wait(), LmdbError)

    assert latched(store)
    with pytest.raises(StoreError, match="can no longer be written"):
        store.commit(jobs_batch(5, 5))
    assert store.count(JOBS) == 5
    assert outcome.told == [outcome.told[0]]
    store.close()
    store = open_small(tmp_path)
    assert store.count(JOBS) == 5
    store.close()


def test_a_disk_that_refuses_to_write_confirms_nothing_and_keeps_what_was_confirmed(
    tmp_path: Path,
) -> None:
    code = """
import resource, signal, sys
from pathlib import Path
from tenure_storage.store import StoreError
from tests.storage.sample import jobs_batch, open_small
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = open_small(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 20, 2 << 20))
number = 0
while True:
    try:
        store.commit(jobs_batch(number * 1000, 1000, number=number))
    except Exception as error:
        print(number, type(error).__name__)
        break
    number += 1
try:
    store.commit(jobs_batch(0, 1))
except StoreError as error:
    print("latched")
store.close()
"""
    out, errors = output(run_child(code, tmp_path))
    words = out.split()

    assert words[2:] == ["latched"], errors
    store = open_small(tmp_path)
    assert int(words[0]) > 3
    assert store.count(JOBS) == int(words[0]) * 1000
    store.close()


def test_a_batch_that_cannot_be_filled_latches(tmp_path: Path) -> None:
    store = open_small(tmp_path)
    outcome = Outcome()
    store.submit(batch((JOBS, b"k" * 600, b"too long a key"), (JOBS, b"a", b"x")), outcome)

    assert isinstance(outcome.wait(), LmdbError)
    assert latched(store)
    assert store.count(JOBS) == 0
    store.close()


def test_a_confirmation_that_nobody_hears_is_the_last(tmp_path: Path) -> None:
    store = open_small(tmp_path)
    heard = threading.Event()

    def deaf(_: BaseException | None) -> None:
        heard.set()
        raise RuntimeError("the loop is closed")

    store.submit(jobs_batch(0, 1), deaf)
    assert heard.wait(30)
    # The latch falls just after `deaf` has raised.
    deadline = time.monotonic() + 30
    while store._writer.failure is None and time.monotonic() < deadline:
        os.sched_yield()

    assert latched(store)
    assert store.count(JOBS) == 1
    store.close()


def test_too_little_address_space_is_explained(tmp_path: Path) -> None:
    open_small(tmp_path).close()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * 4096
    resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 30), hard))
    try:
        with pytest.raises(StoreError, match="address space"):
            open_lmdb(tmp_path, max_bytes=1 << 36)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def test_a_read_that_lmdb_refuses_is_a_store_error(tmp_path: Path) -> None:
    store = open_small(tmp_path)
    with pytest.raises(StoreError, match="cannot read the store"):
        store.get(JOBS, b"")
    store.close()
