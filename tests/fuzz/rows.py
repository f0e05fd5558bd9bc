"""What the disk gives back: damaged rows, damaged journals, and rows that are whole and wrong."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zlib import crc32

from tenure_protocol.wire import pack
from tenure_storage.direct import BLOCK_BYTES
from tenure_storage.journal import Journal, unpack_journal_row
from tenure_storage.layout import (
    Damaged,
    LaneRow,
    Record,
    StateRow,
    intact,
    opened,
    opened_map,
    pack_lane,
    pack_producer,
    pack_record,
    pack_state,
    sealed,
    sealed_map,
    unpack_lane,
    unpack_producer,
    unpack_state,
)
from tenure_storage.lease_layout import LeaseRow, bundle_head, pack_bundle, pack_lease, unpack_lease
from tenure_storage.memory_store import MemoryStore
from tenure_storage.store import TABLES, Batch, StoreError
from tenure_storage.verify_jobs import read_record
from tests.fuzz.choices import Choices
from tests.fuzz.values import damaged, damaged_bytes, odd
from tests.fuzz.world import Fault
from tests.support.store_view import verified

ID = bytes(range(16))
BLOCKS = 16


def _right_row(choices: Choices) -> tuple[bytes, bytes, Callable[[bytes, bytes], Any]]:
    """A key, its row, and what reads it."""
    kind = choices.below(8)
    some = choices.take(choices.below(20))
    number = choices.below(1 << 16)
    if kind == 0:
        lease = LeaseRow(
            ID, some[:1].ljust(16, b"p"), number, 30_000, number, 99, bytes(8), some[:9]
        )
        return b"\0\0\0\1", pack_lease(b"\0\0\0\1", lease), unpack_lease
    if kind == 7:
        head, ids = bundle_head(30_000, number, bytes(8), some[:9]), [ID] * choices.below(9)
        return b"\0\0\0\1", pack_bundle(b"\0\0\0\1", head, ids), unpack_lease
    if kind == 1:
        state = StateRow(choices.below(3), ID, number, 1, 2, 3, 4, 1, some)
        return ID, pack_state(ID, state), unpack_state
    if kind == 2:
        return b"lane5", pack_lane(b"lane5", LaneRow(number, 1, 0, 9, bytes(11))), unpack_lane
    if kind == 3:
        key = ID + b"\0\1"
        return key, pack_producer(key, number, number, some), unpack_producer
    if kind == 4:
        record = Record(0, 5, number, number, 0, None, some, b"", some)
        return ID, pack_record(ID, record), _read_record
    if kind == 5:
        return b"journal", sealed_map(b"journal", [number, number, number]), _journal_row
    return b"map", sealed_map(b"map", odd(choices)), opened_map


def _read_record(key: bytes, row: bytes) -> object:
    if not intact(key, row):
        raise Damaged("damaged")
    return read_record(key, row)


def _journal_row(key: bytes, row: bytes) -> object:
    return unpack_journal_row(row)


def rows(data: bytes) -> None:
    """A row with anything changed in it, or under another key, is found damaged."""
    choices = Choices(data)
    key, row, read = _right_row(choices)
    before = repr(read(key, row))
    wrong_row = damaged_bytes(choices, row) if choices.chance(80) else row
    wrong_key = damaged_bytes(choices, key) if choices.chance(20) else key
    if read is _journal_row:
        wrong_key = key  # it has only one
    try:
        after = repr(read(wrong_key, wrong_row))
    except Damaged:
        if (wrong_key, wrong_row) == (key, row):
            raise Fault(f"a row that is whole is called damaged: {row.hex()}") from None
        return
    if (wrong_key, wrong_row) != (key, row):
        raise Fault(f"a damaged row is believed: {row.hex()}, {wrong_row.hex()}")
    if after != before:
        raise Fault("a row is read in two ways")


def journals(data: bytes) -> None:
    """Of a damaged journal come the first records as they were written, or an error; never others."""
    choices = Choices(data)
    journal_id, first = 7, 1 + choices.below(9)
    handle = os.memfd_create("journal")
    try:
        os.ftruncate(handle, BLOCKS * BLOCK_BYTES)
        journal = Journal(handle, Path("journal"), journal_id, BLOCKS * BLOCK_BYTES)
        written = _write(choices, journal, first)
        image = os.pread(handle, BLOCKS * BLOCK_BYTES, 0)
        os.pwrite(handle, _damage(choices, image), 0)
        try:
            found = journal.read_after(first - 1)
        except StoreError as error:
            if not str(error):
                raise Fault("a journal was refused without a reason") from error
            return
        if found != written[: len(found)]:
            raise Fault(f"a journal gave records {[number for number, _ in found]}, not as written")
    finally:
        os.close(handle)


def _write(choices: Choices, journal: Journal, first: int) -> list[tuple[int, bytes]]:
    written: list[tuple[int, bytes]] = []
    for number in range(first, first + choices.below(7)):
        size = choices.pick([0, 1, 40, 4_000, 4_056, 4_057, 4_096, 9_000, 20_000])
        content = (choices.take(8) * (size // 8 + 1))[:size]
        start = journal.place(number, len(content))
        if start is None:
            break
        journal.write(start, journal.record(number, content))
        written.append((number, content))
    return written


def _damage(choices: Choices, image: bytes) -> bytes:
    data = bytearray(image)
    for _ in range(choices.below(5)):
        block = choices.below(BLOCKS) * BLOCK_BYTES
        what = choices.below(6)
        at = block + choices.pick([0, 1, 8, 16, 24, 28, 32, choices.below(BLOCK_BYTES)])
        if what == 0:
            data[block : block + BLOCK_BYTES] = bytes(BLOCK_BYTES)
        elif what == 1:
            data[at] ^= 1 << choices.below(8)
        elif what == 2:
            data[at : at + 4] = choices.pick([b"\xff" * 4, bytes(4), b"TNR-"])
        elif what == 3:
            other = choices.below(BLOCKS) * BLOCK_BYTES
            data[block : block + BLOCK_BYTES] = image[other : other + BLOCK_BYTES]
        elif what == 4:
            data[at : block + BLOCK_BYTES] = bytes(block + BLOCK_BYTES - at)
        else:
            head = struct.pack(
                ">8sQQII",
                b"TNR-JNL1",
                choices.pick([7, 8]),
                choices.below(20),
                choices.below(1 << 32),
                0,
            )
            data[block : block + len(head)] = head
    return bytes(data[: BLOCKS * BLOCK_BYTES])


KEY_BYTES = [16, 4, 16, 15, 16, 22, 6, 18, 6, 5, 5, 4, 17, 17]
"""How long the keys of each table usually are."""


def wrong_stores(data: bytes) -> None:
    """`tenure store verify` has a finding for whatever is in a store, and does not break."""
    choices = Choices(data)
    store = MemoryStore()
    batch = Batch(1)
    for _ in range(1 + choices.below(12)):
        table = choices.below(len(TABLES))
        key = choices.take(1 + choices.below(3) if choices.chance(10) else KEY_BYTES[table])
        content = choices.pick([b"", choices.take(choices.below(60)), pack(odd(choices))])
        if choices.chance(60):
            _, row, _ = _right_row(choices)
            content = damaged_bytes(choices, row[4:]) if choices.chance(50) else row[4:]
        if choices.chance(20):
            content = pack(
                damaged(
                    choices, {"settings": {}, "line": 1, "kind": "sweep_line", "queue": 1, "id": ID}
                )
            )
        batch.tables[table][key] = sealed(key, content) if choices.chance(90) else content
    store.commit(batch)
    verified(store)
    crc32(opened(b"k", sealed(b"k", data)))


def seeds() -> list[bytes]:
    """Inputs to begin with."""
    return [b"", bytes(60), bytes(range(120)), b"\x05\x02\x07" * 40]
