"""Values and bytes that something may not expect, and right ones with something wrong in them."""

from __future__ import annotations

import math
from typing import Any

from tests.fuzz.choices import Choices

NUMBERS: list[Any] = [
    0, 1, -1, 2, 7, 99, 100, 101, 255, 256, 1_000, 1_001, 10_000, 10_001, 65_535, 65_536, 3_600_000,
    3_600_001, 43_200_000, 43_200_001, 2**31, 2**32 - 1, 2**32, 2**40, 2**48 - 1, 2**48, 2**53, 2**63 - 1,
    2**63, 2**64 - 1, -(2**31), -(2**63),
]  # fmt: skip
FLOATS: list[Any] = [
    0.0, -0.0, 0.5, 1.0, 1.5, -1.0, 1e9, 1e308, -1e308, 5e-324, math.inf, -math.inf, math.nan,
]  # fmt: skip
TEXTS: list[Any] = [
    "", "a", "q", "*", "a*", "\0", "é", "\U0001f600", "x" * 128, "x" * 129, "x" * 255, "é" * 128, "é" * 200,
    "\U0001f600" * 128, "\u202e", "../..", "nil", "ready", "memory", "failed", "quiet", "A" * 4_097,
]  # fmt: skip
BLOBS: list[Any] = [
    b"", b"\0", b"x", bytes(8), bytes(15), bytes(16), b"\xff" * 16, bytes(17), b"x" * 300, b"\xc1" * 70,
    b"\x94\xa1t\xc4\x01x\xc0\x00", b"\x94\xa1t\xc4\x01x\x81\xa1h\xcb\x7f\xf8\0\0\0\0\0\0\x00",
]  # fmt: skip
HEADS = [
    b"\xc1", b"\xc0", b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff",
    b"\xc6\xff\xff\xff\xff", b"\xdc\xff\xff", b"\xde\xff\xff", b"\xda\xff\xff", b"\xc5\xff\xff", b"\xd9\xff",
    b"\xc4\xff", b"\xdd\0\0\0\x01", b"\xdf\0\0\0\x01", b"\x90", b"\x80", b"\x91", b"\x81", b"\x9f", b"\x8f",
    b"\xd4\x01\0", b"\xd6\xff\0\0\0\0", b"\xc7\0\x05", b"\xc9\0\0\0\0\xff", b"\xa1\xff", b"\xa3\xed\xa0\x80",
    b"\xcb\x7f\xf8\0\0\0\0\0\0", b"\xcb\xff\xf0\0\0\0\0\0\0", b"\xca\x7f\x80\0\0", b"\xcf" + b"\xff" * 8,
    b"\xd3\x80" + bytes(7), b"\xd0\x80", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\0\0\0\x01", b"\0\x10\0\0",
]  # fmt: skip
"""Beginnings of values (and of frames) that announce much, little, or what is not allowed."""


def odd(choices: Choices, depth: int = 0) -> Any:
    """A value of any type."""
    kind = choices.below(9 if depth < 4 else 6)
    if kind == 0:
        return choices.pick([None, True, False])
    if kind == 1:
        return choices.pick(NUMBERS)
    if kind == 2:
        return choices.pick(FLOATS)
    if kind == 3:
        return choices.pick(TEXTS)
    if kind == 4:
        return choices.pick(BLOBS)
    if kind == 5:
        return choices.take(choices.below(40))
    if kind == 6:
        return [odd(choices, depth + 1) for _ in range(choices.below(5))]
    if kind == 7:
        return {choices.pick(TEXTS): odd(choices, depth + 1) for _ in range(choices.below(4))}
    return large(choices)


def large(choices: Choices) -> Any:
    """A value that is deep, wide or long."""
    kind, size = choices.below(6), choices.pick([10, 31, 32, 33, 70, 300])
    if kind < 2:
        value: Any = None
        for _ in range(size):
            value = [value] if kind else {"k": value}
        return value
    if kind == 2:
        return {f"k{number}": number for number in range(size)}
    if kind == 3:
        return [[] for _ in range(size)]
    if kind == 4:
        return ["x"] * size
    return b"x" * (size * 100)


def damaged(choices: Choices, value: Any) -> Any:
    """A copy of a value with something in it replaced, left out, added or swapped."""
    if isinstance(value, list) and value and choices.chance(75):
        items = list(value)
        at = choices.below(len(items))
        what = choices.below(6)
        if what == 0:
            del items[at]
        elif what == 1:
            items.insert(at, odd(choices))
        elif what == 2:
            other = choices.below(len(items))
            items[at], items[other] = items[other], items[at]
        elif what == 3:
            items.append(items[at])
        else:
            items[at] = damaged(choices, items[at])
        return items
    if isinstance(value, dict) and value and choices.chance(75):
        pairs = dict(value)
        key = choices.pick(sorted(pairs))
        what = choices.below(4)
        if what == 0:
            del pairs[key]
        elif what == 1:
            pairs[choices.pick(TEXTS)] = odd(choices)
        else:
            pairs[key] = damaged(choices, pairs[key])
        return pairs
    if isinstance(value, bytes) and value and choices.chance(60):
        return damaged_bytes(choices, value)
    if type(value) is int and choices.chance(50):
        changed = value + choices.pick([1, -1, 2**16, 2**32, -(2**32)])
        return max(-(2**63), min(changed, 2**64 - 1))
    return odd(choices)


def damaged_bytes(choices: Choices, data: bytes, changes_max: int = 3) -> bytes:
    """Bytes with bits flipped, and parts cut, doubled, put in or overwritten."""
    for _ in range(1 + choices.below(changes_max)):
        at = choices.below(len(data) + 1)
        what = choices.below(8)
        if what < 2 and at < len(data):
            changed = data[at] ^ (1 << choices.below(8))
            data = data[:at] + bytes((changed,)) + data[at + 1 :]
        elif what == 2:
            data = data[:at]
        elif what == 3:
            data = data[:at] + choices.pick(HEADS) + data[at:]
        elif what == 4:
            head = choices.pick(HEADS)
            data = data[:at] + head + data[at + len(head) :]
        elif what == 5:
            end = at + choices.below(16)
            data = data[:at] + data[end:]
        elif what == 6:
            end = at + choices.below(64)
            data = data[:end] + data[at:]
        else:
            data = data[:at] + choices.take(1 + choices.below(8)) + data[at:]
    return data
