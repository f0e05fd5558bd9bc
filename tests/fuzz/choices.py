"""Decisions taken from bytes: the same bytes, the same decisions, whoever made the bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Choices:
    """Reads decisions off an input. When it is spent, every decision is the first one."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def spent(self) -> bool:
        """Whether the input has been used up."""
        return self._at >= len(self._data)

    def take(self, count: int) -> bytes:
        """The next `count` bytes, zeros where the input has ended."""
        taken = self._data[self._at : self._at + count]
        self._at += count
        return taken.ljust(count, b"\0")

    def rest(self) -> bytes:
        """Everything that is left."""
        left, self._at = self._data[self._at :], len(self._data)
        return left

    def below(self, count: int) -> int:
        """A number from 0 to `count` - 1."""
        if count <= 1:
            return 0
        width = 1 if count <= 1 << 8 else 2 if count <= 1 << 16 else 4
        return int.from_bytes(self.take(width), "big") % count

    def pick(self, of: Sequence[T]) -> T:
        """One of several."""
        return of[self.below(len(of))]

    def chance(self, percent: int) -> bool:
        """Yes in so many of a hundred cases; no when the input is spent."""
        return self.below(100) >= 100 - percent
