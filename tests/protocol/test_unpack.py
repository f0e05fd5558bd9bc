"""What a frame may hold: one plain value, and no more memory than it is worth."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import msgpack
import pytest

from tenure_protocol import wire
from tenure_protocol.errors import ProtocolViolation
from tenure_protocol.limits import (
    FRAME_BYTES_MAX,
    FRAME_KEYS_MAX,
    FRAME_VALUES_MAX,
    NESTING_MAX,
)
from tenure_protocol.structure import CONTAINER_VALUES, check_structure
from tenure_protocol.wire import pack, unpack

MIB = 1024 * 1024
SIZES = [100, 3_000, 100_000, 3 * MIB]
"""Lengths of frames that are decoded each in its own way; see `wire`."""


def array(count: int) -> bytes:
    """The head of an array of `count` items."""
    return b"\xdd" + count.to_bytes(4, "big")


def mapping(count: int) -> bytes:
    """The head of a map of `count` pairs."""
    return b"\xdf" + count.to_bytes(4, "big")


def beside(size: int, data: bytes) -> bytes:
    """An array of filling and the value in `data`, of about `size` bytes."""
    return b"\x92" + pack(b"f" * max(0, size - len(data))) + data


def peak_bytes(work: Callable[[], object]) -> int:
    """The most memory that `work` held at a time, beyond what was there."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def refused(data: bytes) -> str:
    """Why `data` is refused. Anything but a `ProtocolViolation` fails the test."""
    with pytest.raises(ProtocolViolation) as caught:
        unpack(data)
    assert caught.value.code == "MALFORMED_FRAME"
    return caught.value.message


# ---- plain values --------------------------------------------------------------------------

PLAIN: list[Any] = [
    None, True, False, 0, 1, -1, 127, 128, -32, -33, 255, 256, 65_535, 65_536, 2**32, 2**63, 2**64 - 1,
    -(2**63), 0.0, 1.5, "", "a", "ü", "x" * 31, "x" * 32, "x" * 70_000, b"", b"\xff", b"x" * 256,
    b"x" * 70_000, [], {}, [[]], {"a": {"b": []}}, list(range(20)), {str(i): i for i in range(20)},
    [0] * 70_000,
]  # fmt: skip


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("value", PLAIN, ids=lambda value: repr(value)[:20])
def test_every_plain_value_is_read_back_in_a_frame_of_any_length(value: object, size: int) -> None:
    assert unpack(beside(size, pack(value)))[1] == value


def test_text_and_bytes_are_not_taken_for_each_other() -> None:
    assert unpack(pack(["a", b"a"])) == ["a", b"a"]
    assert [type(part) for part in unpack(pack(["a", b"a"]))] == [str, bytes]


def test_a_frame_of_the_longest_length_with_large_payloads_is_read() -> None:
    value = [1, "enqueue", ["q", [b"x" * MIB] * 15]]

    assert unpack(pack(value)) == value


# ---- what is no value of the protocol ------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "data",
    [
        bytes.fromhex("d4 05 00"),
        bytes.fromhex("d6 ff 00000001"),
        bytes.fromhex("d7 ff 0000000000000001"),
        bytes.fromhex("c7 0c ff 00000000 0000000000000001"),
        bytes.fromhex("c7 00 05"),
        bytes.fromhex("c7 00 ff"),
        bytes.fromhex("c8 0000 05"),
        bytes.fromhex("c9 00000000 05"),
        bytes.fromhex("d8 05") + b"x" * 16,
        bytes.fromhex("c9 ffffffff 05"),
    ],
    ids=["fixext1", "timestamp32", "timestamp64", "timestamp96", "empty", "empty timestamp",
         "empty ext16", "empty ext32", "fixext16", "long ext32"],
)  # fmt: skip
def test_extension_types_and_timestamps_are_refused(data: bytes, size: int) -> None:
    refused(beside(size, data))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "data",
    [
        b"\x81\xc4\x01a\xc0",
        b"\x81\x01\xc0",
        b"\x81\xc0\xc0",
        b"\x81\xca\0\0\0\0\xc0",
        b"\x81\x90\xc0",
    ],
    ids=["bytes", "number", "nil", "float", "array"],
)
def test_map_keys_that_are_not_text_are_refused(data: bytes, size: int) -> None:
    refused(beside(size, data))


@pytest.mark.parametrize("size", SIZES)
def test_of_a_key_that_comes_twice_the_last_one_counts(size: int) -> None:
    assert unpack(beside(size, b"\x82\xa1a\x01\xa1a\x02"))[1] == {"a": 2}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("text", [b"\xa1\xff", b"\xa2\xc3\x28", b"\xa3\xed\xa0\x80"])
def test_text_that_is_not_utf8_is_refused(text: bytes, size: int) -> None:
    refused(beside(size, text))


@pytest.mark.parametrize("size", SIZES)
def test_the_byte_that_begins_no_value_is_refused(size: int) -> None:
    refused(beside(size, b"\xc1"))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("rest", [b"\xc0", b"\x90", b"\xdd", b"\0" * 100])
def test_bytes_after_the_value_are_refused(rest: bytes, size: int) -> None:
    refused(beside(size, b"\xc0") + rest)


def test_nothing_is_no_value() -> None:
    refused(b"")


CUT = pack([1, "x", {"a": [1.5, b"bin", "text" * 10, 2**40, -5, [None] * 20]}, b"y" * 300])


@pytest.mark.parametrize("size", SIZES)
def test_a_value_cut_at_any_byte_is_refused(size: int) -> None:
    whole = beside(size, CUT)
    assert unpack(whole)[1] == unpack(CUT)
    for missing in range(1, len(CUT) + 1):
        refused(whole[:-missing])


# ---- bombs ---------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("opener", [b"\x91", b"\x81\xa1k"], ids=["arrays", "maps"])
def test_nesting_passes_at_the_limit_and_is_refused_one_level_deeper(
    opener: bytes, size: int
) -> None:
    # `beside` is one level, and many small arrays keep the frame out of the shortest way.
    many = b"\xdc\x00\x40" + b"\x90" * 64
    deepest = opener * (NESTING_MAX - 1) + b"\xc0"

    unpack(beside(size, deepest))
    unpack(b"\x93" + many + beside(size, opener * (NESTING_MAX - 2) + b"\xc0") + b"\xc0")

    refused(beside(size, opener + deepest))
    refused(b"\x93" + many + beside(size, deepest) + b"\xc0")


@pytest.mark.parametrize("levels", [33, 500, 1_023, 1_025, 2_000, 100_000, 3 * MIB])
@pytest.mark.parametrize("opener", [b"\x91", b"\x81\xa0"], ids=["arrays", "maps"])
def test_deep_nesting_is_refused_however_deep(opener: bytes, levels: int) -> None:
    refused(opener * levels + b"\xc0")
    refused(opener * levels)


def test_depth_is_seen_on_any_branch() -> None:
    deep: object = None
    for _ in range(NESTING_MAX):
        deep = [deep]
    flat: list[object] = [[1, {"a": 2}] for _ in range(100)]

    for place in (0, 50, 100):
        refused(pack([*flat[:place], deep, *flat[place:]]))
        refused(pack([*flat[:place], {"a": 1, "b": deep}, *flat[place:]]))


def bomb_arrays(size: int) -> bytes:
    return array(size - 5) + b"\x90" * (size - 5)


def bomb_maps(size: int) -> bytes:
    return array(size - 5) + b"\x80" * (size - 5)


def bomb_announced(size: int) -> bytes:
    """Arrays that say they are as long as the frame, each in the one before."""
    return array(size - 6) * 1_000 + b"\xc0" * (size - 5_000)


def bomb_announced_maps(size: int) -> bytes:
    return (mapping(size // 2 - 10) + b"\xa0") * 800 + b"\xc0" * (size - 4_800)


def bomb_numbers(size: int) -> bytes:
    """Numbers too small to be shared: two bytes become forty."""
    count = (size - 5) // 2
    return array(count) + b"\xd0\x80" * count


def bomb_texts(size: int) -> bytes:
    count = (size - 5) // 3
    return array(count) + b"\xa2ab" * count


def bomb_keys(size: int) -> bytes:
    count = (size - 5) // 5
    keys = b"".join(
        b"\xa3" + bytes((i >> 14 & 127, i >> 7 & 127, i & 127)) + b"\xc0" for i in range(count)
    )
    return mapping(count) + keys


BOMBS: list[Callable[[int], bytes]] = [
    bomb_arrays, bomb_maps, bomb_announced, bomb_announced_maps, bomb_numbers, bomb_texts, bomb_keys,
]  # fmt: skip


@pytest.mark.parametrize("bomb", BOMBS)
def test_the_longest_bomb_is_refused_without_being_built(bomb: Callable[[int], bytes]) -> None:
    data = bomb(FRAME_BYTES_MAX)

    assert peak_bytes(lambda: refused(data)) < 1 * MIB


@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.parametrize("size", [60_000, 250_000, 2 * MIB])
def test_a_shorter_bomb_takes_some_tens_of_megabytes_at_most(
    bomb: Callable[[int], bytes], size: int
) -> None:
    data = bomb(size)

    def read() -> None:
        try:
            unpack(data)
        except ProtocolViolation:
            return

    assert peak_bytes(read) < min(64 * MIB, 4 * MIB + 80 * size)


@pytest.mark.parametrize("size", [1_024, 4_096, 2 * MIB, FRAME_BYTES_MAX])
@pytest.mark.parametrize(
    "head",
    [b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff",
     b"\xdc\xff\xff", b"\xde\xff\xff", b"\xda\xff\xff", b"\xc5\xff\xff"],
    ids=["array32", "map32", "str32", "bin32", "array16", "map16", "str16", "bin16"],
)  # fmt: skip
def test_a_huge_declared_length_is_refused_and_nothing_is_set_aside_for_it(
    head: bytes, size: int
) -> None:
    data = head + b"\xc0" * (100 if head[0] in (0xDC, 0xDE, 0xDA, 0xC5) else size - 5)

    assert peak_bytes(lambda: refused(data)) < 2 * size + 1 * MIB


def test_many_announced_arrays_in_a_strangers_frame_cost_next_to_nothing() -> None:
    data = (b"\xdc\x0f\xff" * 1_023 + b"\xc0" * 1_100)[:4_096]

    assert peak_bytes(lambda: refused(data)) < 200_000


@pytest.mark.parametrize("long", [False, True], ids=["counted", "walked"])
def test_as_many_values_as_allowed_pass_and_one_more_is_refused(long: bool) -> None:
    filling = pack(b"f" * (3 * MIB if long else 10))

    def frame(values: int) -> bytes:
        # [filling, [a million times nil], [[], [], ...]]: three arrays and the empty ones.
        empty = 20_000
        nils = values - 3 * CONTAINER_VALUES - 3 - empty * (CONTAINER_VALUES + 1)
        return (
            b"\x93" + filling + array(nils) + b"\xc0" * nils + array(empty) + b"\x90" * empty
        )  # fmt: skip

    assert len(unpack(frame(FRAME_VALUES_MAX))[2]) == 20_000
    assert str(FRAME_VALUES_MAX) in refused(frame(FRAME_VALUES_MAX + 1))


@pytest.mark.parametrize("long", [False, True], ids=["counted", "walked"])
@pytest.mark.parametrize("maps", [1, 1_024], ids=["one map", "many maps"])
def test_as_many_keys_as_allowed_pass_and_one_more_is_refused(maps: int, long: bool) -> None:
    filling = pack(b"f" * (3 * MIB if long else 10))
    each = FRAME_KEYS_MAX // maps
    full = (mapping(each) + b"".join(pack(f"{i:x}") + b"\xc0" for i in range(each))) * maps

    def frame(more: int) -> bytes:
        one_more = mapping(each + more) + b"".join(
            pack(f"{i:x}") + b"\xc0" for i in range(each + more)
        )
        return b"\x92" + filling + array(maps) + full[len(full) // maps :] + one_more

    assert len(unpack(frame(0))[1]) == maps
    assert str(FRAME_KEYS_MAX) in refused(frame(1))


def test_the_walk_and_the_decoder_agree_what_is_whole() -> None:
    short = [pack(value) for value in PLAIN]
    for data in (CUT, pack({"a": [{}]}), *(one for one in short if len(one) < 300)):
        check_structure(data)
        for end in range(len(data)):
            with pytest.raises(ProtocolViolation):
                check_structure(data[:end])
        with pytest.raises(ProtocolViolation):
            check_structure(data + b"\0")


def test_a_value_of_every_first_byte_is_walked_as_it_is_decoded() -> None:
    for head in range(256):
        for size in range(1, 40):
            data = (bytes([head]) + b"\x01" * size)[:size]
            try:
                msgpack.unpackb(data, strict_map_key=False)
                whole = True
            except (ValueError, msgpack.exceptions.UnpackException):
                whole = False
            if head in (*range(0xC7, 0xCA), *range(0xD4, 0xD9)):
                whole = False
            try:
                check_structure(data)
                walked = True
            except ProtocolViolation:
                walked = False
            # Keys and UTF-8 are not the walk's business; with filling of ones neither matters.
            assert walked == whole, data.hex()


# ---- packing -------------------------------------------------------------------------------


def test_a_packer_goes_on_after_a_value_it_could_not_pack() -> None:
    packer = wire.new_packer()
    with pytest.raises(TypeError):
        packer([1, 2, object()])

    assert unpack(packer([3])) == [3]


def test_packers_are_separate() -> None:
    assert wire.new_packer() is not wire.new_packer()
