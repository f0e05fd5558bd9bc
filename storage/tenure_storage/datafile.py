"""A look at the data file before LMDB maps it.

LMDB does not check that the file is as long as its pages say. Touching a page that is not
there ends the process with SIGBUS, which no Python code can catch: so a file that was cut
short is found here, and told in a sentence.

Layout read here (LMDB 0.9, 64 bit, native byte order): two meta pages, the newer of which
counts. Page: number u64, pad u16, flags u16, lower u16, upper u16, then u16 offsets of nodes.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from tenure_storage.store import StoreError

_MAGIC = 0xBEEFC0DE
_PAGE_HEAD = struct.Struct("=QHHHH")
_META = struct.Struct("=II8xQ")  # magic, version, (address), map size
_DB = struct.Struct("=IHHQQQQQ")  # pad, flags, depth, branch, leaf, overflow, entries, root
_TAIL = struct.Struct("=QQ")  # last page, transaction
_NODE = struct.Struct("=HHHH")  # low, high, flags, key size
_NO_PAGE = (1 << 64) - 1
_BRANCH, _LEAF = 1, 2
_BIG = 1
_DEPTH_MAX = 32

DATA_VERSION = 1
"""The data format of LMDB 0.9, as its meta pages name it."""


class Meta(NamedTuple):
    """What a meta page says."""

    page_bytes: int
    last_page: int
    transaction: int
    free_root: int
    map_bytes: int


def check_data_file(path: Path) -> Meta:
    """Whether the data file can be opened without harm; its newer meta page.

    Raises `StoreError` if it is no LMDB file, of another format, or cut short.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        meta = _newest_meta(file, path, size)
        needed = (meta.last_page + 1) * meta.page_bytes
        if size < needed and not _tail_is_free(file, size, meta):
            raise StoreError(
                f"{path} is cut short: it has {size} bytes and needs {needed}; "
                "restore it from a backup"
            )
        return meta


def _newest_meta(file: BinaryIO, path: Path, size: int) -> Meta:
    first = _read_meta(file, path, 0)
    if size < 2 * first.page_bytes:
        raise StoreError(
            f"{path} is cut short: it has {size} bytes, less than its two meta pages; "
            "restore it from a backup"
        )
    second = _read_meta(file, path, first.page_bytes)
    return max(first, second, key=lambda meta: meta.transaction)


def _read_meta(file: BinaryIO, path: Path, at: int) -> Meta:
    file.seek(at)
    page = file.read(256)
    if len(page) < 256:
        raise StoreError(
            f"{path} is cut short: its meta page is not whole; restore it from a backup"
        )
    magic, version, map_bytes = _META.unpack_from(page, 16)
    if magic != _MAGIC:
        if struct.unpack_from("=I", page, 24)[0] == _MAGIC:
            raise StoreError(
                f"{path} is in the data format of LMDB 1.0, and this Tenure uses that of "
                "LMDB 0.9: restore a backup made with LMDB 0.9"
            )
        raise StoreError(f"{path} is not an LMDB data file of this kind of machine, or is damaged")
    if version != DATA_VERSION:
        raise StoreError(
            f"{path} is in LMDB data format {version}, and this Tenure uses format "
            f"{DATA_VERSION} (LMDB 0.9)"
        )
    base = 16 + _META.size
    page_bytes, *_, free_root = _DB.unpack_from(page, base)
    last_page, transaction = _TAIL.unpack_from(page, base + 2 * _DB.size)
    if page_bytes not in (512 << shift for shift in range(8)):
        raise StoreError(f"{path} is damaged: its page size cannot be {page_bytes}")
    return Meta(page_bytes, last_page, transaction, free_root, map_bytes)


# ---- pages that were never written ------------------------------------------------------
#
# A page that a transaction took and gave back may never have been written, so a sound file
# can be shorter than its last page. Then every missing page is in LMDB's list of free ones.


def _tail_is_free(file: BinaryIO, size: int, meta: Meta) -> bool:
    missing = set(range(size // meta.page_bytes, meta.last_page + 1))
    if len(missing) > 1 << 20:
        return False
    try:
        for page in _free_pages(file, meta, meta.free_root, 0):
            missing.discard(page)
    except (EOFError, struct.error):
        return False
    return not missing


def _page(file: BinaryIO, meta: Meta, number: int, count: int = 1) -> bytes:
    file.seek(number * meta.page_bytes)
    page = file.read(count * meta.page_bytes)
    if len(page) < count * meta.page_bytes:
        raise EOFError(f"page {number} is not in the file")
    return page


def _free_pages(file: BinaryIO, meta: Meta, number: int, depth: int) -> Iterator[int]:
    if number == _NO_PAGE:
        return
    page = _page(file, meta, number)
    _, _, flags, lower, _ = _PAGE_HEAD.unpack_from(page)
    if depth > _DEPTH_MAX or not flags & (_BRANCH | _LEAF):
        raise EOFError(f"page {number} is not part of the list of free pages")
    for index in range((lower - _PAGE_HEAD.size) // 2):
        (at,) = struct.unpack_from("=H", page, _PAGE_HEAD.size + 2 * index)
        low, high, node_flags, key_bytes = _NODE.unpack_from(page, at)
        if flags & _BRANCH:
            child = low | high << 16 | node_flags << 32
            yield from _free_pages(file, meta, child, depth + 1)
            continue
        start = at + _NODE.size + key_bytes
        value = page[start : start + (low | high << 16)]
        if node_flags & _BIG:
            (first,) = struct.unpack_from("=Q", page, start)
            length = (low | high << 16) + _PAGE_HEAD.size
            extent = _page(file, meta, first, -(-length // meta.page_bytes))
            value = extent[_PAGE_HEAD.size : length]
        (count,) = struct.unpack_from("=Q", value)
        yield from struct.unpack_from(f"={count}Q", value, 8)
