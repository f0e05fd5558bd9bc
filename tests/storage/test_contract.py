"""What every store promises, asked of each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tenure_storage.keys import place_of
from tenure_storage.memory_store import MemoryStore
from tenure_storage.store import DEAD, JOBS, LANES, META, TABLES, Batch, Store, StoreError
from tests.storage.sample import batch, open_journaled_small, open_small

LAST = b"\xff" * 20


@pytest.fixture(params=["lmdb", "memory", "journaled"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    makers: dict[str, Callable[[Path], Store]] = {
        "lmdb": open_small,
        "memory": lambda _: MemoryStore(),
        "journaled": open_journaled_small,
    }
    made = makers[request.param](tmp_path / "data")
    yield made
    made.close()


def put(store: Store, *keys: bytes, value: bytes = b"v") -> None:
    store.commit(batch(*((JOBS, key, value) for key in keys)))


def keys(store: Store, after: bytes = b"", until: bytes = LAST, limit: int = 1000) -> list[bytes]:
    return [key for key, _ in store.scan(JOBS, after, until, limit)]


def test_rows_come_in_key_order_whatever_order_they_were_written_in(store: Store) -> None:
    put(store, b"c", b"a")
    put(store, b"d", b"b")

    assert keys(store) == [b"a", b"b", b"c", b"d"]


def test_places_sort_as_jobs_are_delivered(store: Store) -> None:
    soon, later = place_of(1, 0, 10, 9), place_of(1, 0, 11, 1)
    low, other_line = place_of(1, 200, 1, 1), place_of(2, 0, 0, 0)
    put(store, other_line, low, later, soon)

    assert keys(store) == [soon, later, low, other_line]


def test_a_scan_starts_after_its_start_and_includes_its_end(store: Store) -> None:
    put(store, b"a", b"b", b"c", b"d")

    assert keys(store, b"a", b"c") == [b"b", b"c"]
    assert keys(store, b"aa", b"cc") == [b"b", b"c"]
    assert keys(store, b"b", b"b") == []
    assert keys(store, b"d") == []
    assert keys(store, b"e", b"f") == []


def test_a_scan_gives_no_more_rows_than_its_limit(store: Store) -> None:
    put(store, b"a", b"b", b"c")

    assert keys(store, limit=2) == [b"a", b"b"]
    assert keys(store, limit=3) == [b"a", b"b", b"c"]
    assert keys(store, limit=0) == []


def test_a_scan_ends_with_the_row_that_exceeds_its_bytes(store: Store) -> None:
    put(store, b"a", b"b", b"c", value=b"x" * 100)

    def found(bytes_max: int) -> int:
        return len(store.scan(JOBS, b"", LAST, 10, bytes_max))

    assert found(0) == 1
    assert found(99) == 1
    assert found(100) == 2
    assert found(1000) == 3


def test_a_read_gives_the_value_or_none(store: Store) -> None:
    put(store, b"a", value=b"one")

    assert store.get(JOBS, b"a") == b"one"
    assert store.get(JOBS, b"b") is None
    assert store.get(DEAD, b"a") is None
    assert store.get_many(JOBS, [b"b", b"a", b"a", b"c"]) == [None, b"one", b"one", None]
    assert store.get_many(JOBS, []) == []


def test_a_later_value_replaces_an_earlier_one(store: Store) -> None:
    put(store, b"a", value=b"one")
    put(store, b"a", value=b"a longer two")

    assert store.scan(JOBS, b"", LAST, 10) == [(b"a", b"a longer two")]
    assert store.count(JOBS) == 1


def test_a_deleted_row_is_gone_and_deleting_it_again_is_harmless(store: Store) -> None:
    put(store, b"a", b"b")
    store.commit(batch((JOBS, b"a", None), (JOBS, b"never", None)))
    store.commit(batch((JOBS, b"a", None)))

    assert keys(store) == [b"b"]
    assert store.get(JOBS, b"a") is None
    assert store.count(JOBS) == 1


def test_the_last_word_on_a_key_wins_within_a_batch(store: Store) -> None:
    put(store, b"a")
    made = Batch(2)
    made.tables[JOBS][b"a"] = None
    made.tables[JOBS][b"a"] = b"back"
    made.tables[JOBS][b"b"] = b"there"
    made.tables[JOBS][b"b"] = None
    store.commit(made)

    assert store.scan(JOBS, b"", LAST, 10) == [(b"a", b"back")]


def test_a_batch_may_be_applied_twice(store: Store) -> None:
    put(store, b"a", b"b")
    made = batch((JOBS, b"a", None), (JOBS, b"c", b"new"), (META, b"batch", b"7"))
    store.commit(made)
    once = keys(store)
    store.commit(made)

    assert keys(store) == once == [b"b", b"c"]


def test_tables_do_not_mix(store: Store) -> None:
    store.commit(batch(*((table, b"key", bytes([table + 1])) for table in range(len(TABLES)))))

    values = [store.get(table, b"key") for table in range(len(TABLES))]
    assert values == [bytes([table + 1]) for table in range(len(TABLES))]


def test_counts_and_sizes_follow_what_is_written(store: Store) -> None:
    before = store.sizes()
    store.commit(batch(*((LANES, i.to_bytes(4, "big"), b"x" * 1000) for i in range(1000))))
    full = store.sizes()
    store.commit(batch(*((LANES, i.to_bytes(4, "big"), None) for i in range(999))))
    after = store.sizes()

    assert (before.entries[LANES], full.entries[LANES], after.entries[LANES]) == (0, 1000, 1)
    assert store.count(LANES) == 1
    assert full.used_bytes >= before.used_bytes + 1_000_000
    assert after.used_bytes < full.used_bytes - 900_000


@pytest.mark.parametrize("size", [0, 1, 2_000, 5_000, 1_000_000, 20_000_000])
def test_values_of_every_size_come_back_whole(store: Store, size: int) -> None:
    value = bytes(range(256)) * (size // 256) + b"z" * (size % 256)
    put(store, b"key", value=value)

    assert store.get(JOBS, b"key") == value
    assert store.scan(JOBS, b"", LAST, 1) == [(b"key", value)]


def test_an_empty_batch_is_confirmed(store: Store) -> None:
    store.commit(Batch(1))

    assert sum(store.sizes().entries[:META]) == 0


def test_a_closed_store_refuses_to_be_used_and_can_be_closed_again(store: Store) -> None:
    store.close()
    store.close()

    with pytest.raises(StoreError, match="closed"):
        store.get(JOBS, b"a")
    with pytest.raises(StoreError, match="closed"):
        store.scan(JOBS, b"", LAST, 1)
    with pytest.raises(StoreError, match="closed"):
        store.submit(Batch(1), lambda _: None)
    with pytest.raises(StoreError, match="closed"):
        store.sizes()


def test_the_memory_store_counts_what_was_asked_of_it() -> None:
    store = MemoryStore()
    put(store, b"a", b"b", b"c")
    store.scan(JOBS, b"", LAST, 2)
    store.get(JOBS, b"a")

    assert (store.reads, store.rows_scanned) == (2, 2)
