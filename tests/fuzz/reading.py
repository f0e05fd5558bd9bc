"""What PROTOCOL.md says of bytes, written down once more and as plainly as possible.

Slow on purpose: no C, no tricks, one byte after the other. The fuzzer holds the broker's own
decoder, which is none of that, against it.
"""

from __future__ import annotations

import struct
from typing import Any

from tenure_protocol.limits import FRAME_KEYS_MAX, FRAME_VALUES_MAX, NESTING_MAX

CONTAINER_VALUES = 16


class Refused(Exception):
    """The bytes are no value of the protocol."""


class Reading:
    """One body, read from its first byte to its last."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._values = FRAME_VALUES_MAX
        self._keys = FRAME_KEYS_MAX

    def value(self) -> Any:
        """The one value that the bytes are. Raises `Refused`."""
        value = self._value(0)
        if self._at != len(self._data):
            raise Refused("something follows")
        return value

    def _take(self, count: int) -> bytes:
        taken = self._data[self._at : self._at + count]
        if len(taken) != count:
            raise Refused("it ends too early")
        self._at += count
        return taken

    def _number(self, count: int) -> int:
        return int.from_bytes(self._take(count), "big")

    def _value(self, depth: int) -> Any:
        head = self._number(1)
        if head < 0x80:
            return head
        if head >= 0xE0:
            return head - 256
        if head < 0x90:
            return self._map(head & 15, depth)
        if head < 0xA0:
            return self._array(head & 15, depth)
        if head < 0xC0:
            return self._text(head & 31)
        if head in (0xC0, 0xC2, 0xC3):
            return {0xC0: None, 0xC2: False, 0xC3: True}[head]
        if 0xC4 <= head <= 0xC6:
            return self._take(self._number(1 << (head - 0xC4)))
        if head == 0xCA:
            return struct.unpack(">f", self._take(4))[0]
        if head == 0xCB:
            return struct.unpack(">d", self._take(8))[0]
        if 0xCC <= head <= 0xCF:
            return self._number(1 << (head - 0xCC))
        if 0xD0 <= head <= 0xD3:
            return int.from_bytes(self._take(1 << (head - 0xD0)), "big", signed=True)
        if 0xD9 <= head <= 0xDB:
            return self._text(self._number(1 << (head - 0xD9)))
        if head in (0xDC, 0xDD):
            return self._array(self._number(2 if head == 0xDC else 4), depth)
        if head in (0xDE, 0xDF):
            return self._map(self._number(2 if head == 0xDE else 4), depth)
        raise Refused(f"no value begins with {head:#x}")

    def _text(self, count: int) -> str:
        try:
            return self._take(count).decode("utf-8", "strict")
        except UnicodeDecodeError as error:
            raise Refused("no UTF-8") from error

    def _open(self, values: int, depth: int) -> None:
        self._values -= CONTAINER_VALUES + values
        if self._values < 0 or depth + 1 > NESTING_MAX:
            raise Refused("too many values, or too deep")

    def _array(self, count: int, depth: int) -> list[Any]:
        self._open(count, depth)
        return [self._value(depth + 1) for _ in range(count)]

    def _map(self, count: int, depth: int) -> dict[str, Any]:
        self._open(2 * count, depth)
        self._keys -= count
        if self._keys < 0:
            raise Refused("too many keys")
        pairs: dict[str, Any] = {}
        for _ in range(count):
            key = self._value(depth + 1)
            if type(key) is not str:
                raise Refused("a key that is no text")
            pairs[key] = self._value(depth + 1)
        return pairs
