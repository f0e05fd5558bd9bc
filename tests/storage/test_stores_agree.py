"""Random histories: every store and a plain dict say the same after every batch."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from tenure_storage import memory_store
from tenure_storage.memory_store import MemoryStore
from tenure_storage.store import JOBS, Batch, Store
from tests.storage.sample import open_journaled_small, open_small

KEYS = st.binary(min_size=1, max_size=3)
CHANGES = st.dictionaries(KEYS, st.one_of(st.none(), st.binary(max_size=40)), max_size=30)
SCANS = st.tuples(
    st.binary(max_size=3), st.binary(max_size=3), st.integers(0, 9), st.integers(0, 99)
)


def expected(
    rows: dict[bytes, bytes], after: bytes, until: bytes, limit: int, bytes_max: int
) -> list[tuple[bytes, bytes]]:
    found: list[tuple[bytes, bytes]] = []
    for key in sorted(rows):
        if after < key <= until and len(found) < limit:
            if sum(len(value) for _, value in found) > bytes_max:
                break
            found.append((key, rows[key]))
    return found


@settings(max_examples=40, deadline=None)
@given(history=st.lists(st.tuples(CHANGES, st.lists(SCANS, max_size=3)), max_size=8))
def test_every_history_reads_the_same_in_every_store(
    history: list[tuple[dict[bytes, bytes | None], list[tuple[bytes, bytes, int, int]]]],
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        stores: list[Store] = [
            MemoryStore(),
            open_small(Path(directory) / "lmdb"),
            open_journaled_small(Path(directory) / "journaled"),
        ]
        rows: dict[bytes, bytes] = {}
        for number, (changes, scans) in enumerate(history):
            made = Batch(number)
            made.tables[JOBS].update(changes)
            for key, value in changes.items():
                if value is None:
                    rows.pop(key, None)
                else:
                    rows[key] = value
            for store in stores:
                store.commit(made)
                assert store.count(JOBS) == len(rows)
                assert store.scan(JOBS, b"", b"\xff" * 4, 1 << 30, 1 << 30) == sorted(rows.items())
                for after, until, limit, bytes_max in scans:
                    assert store.scan(JOBS, after, until, limit, bytes_max) == expected(
                        rows, after, until, limit, bytes_max
                    )
                wanted = list(changes)
                assert store.get_many(JOBS, wanted) == [rows.get(key) for key in wanted]
        for store in stores:
            store.close()


@settings(max_examples=60, deadline=None)
@given(history=st.lists(st.tuples(st.booleans(), st.integers(0, 60)), max_size=300))
def test_memory_blocks_split_and_empty_without_losing_order(
    history: list[tuple[bool, int]],
) -> None:
    before, memory_store._BLOCK_KEYS_MAX = memory_store._BLOCK_KEYS_MAX, 4
    try:
        table, rows = memory_store._SortedTable(), {}
        for is_put, number in history:
            key = number.to_bytes(2, "big")
            if is_put:
                table.put(key, b"v")
                rows[key] = b"v"
            else:
                table.delete(key)
                rows.pop(key, None)
            assert [k for block in table.blocks for k in block] == sorted(rows)
            assert table.lasts == [block[-1] for block in table.blocks]
            assert all(len(block) <= 4 for block in table.blocks)
            assert table.value_bytes == 3 * len(rows)
    finally:
        memory_store._BLOCK_KEYS_MAX = before
