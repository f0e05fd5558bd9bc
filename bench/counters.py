"""How many jobs each process of a crowd has made and taken, in one small shared file.

Each process writes its own eight bytes, so no lock is needed; a reader may be a few jobs late.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SLOTS = 64
_WORD_BYTES = 8


class Counters:
    """The numbers of all producers and consumers."""

    def __init__(self, words: memoryview) -> None:
        self._words = words

    def set_made(self, slot: int, count: int) -> None:
        """Producer `slot` has made `count` jobs so far."""
        self._words[slot] = count

    def set_taken(self, slot: int, count: int) -> None:
        """Consumer `slot` has taken `count` jobs so far."""
        self._words[SLOTS + slot] = count

    def ahead(self) -> int:
        """How many jobs were made and not yet taken."""
        return int(sum(self._words[:SLOTS]) - sum(self._words[SLOTS:]))


def create_counters(path: Path) -> None:
    """A new file with all counts at zero."""
    path.write_bytes(bytes(2 * SLOTS * _WORD_BYTES))


@contextmanager
def open_counters(path: str) -> Iterator[Counters]:
    """The counters in `path`, shared with every other process that opened them."""
    with Path(path).open("r+b") as file, mmap.mmap(file.fileno(), 0) as shared:
        view = memoryview(shared)
        words = view.cast("Q")
        try:
            yield Counters(words)
        finally:
            words.release()
            view.release()
