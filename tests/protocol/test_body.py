"""A job's body: what is taken, what is refused, and with which code."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from tenure_protocol.body import Body, check_body, decode_body, encode_body
from tenure_protocol.errors import BadRequest, PayloadTooLarge
from tenure_protocol.limits import (
    HEADERS_BYTES_MAX,
    HEADERS_MAX,
    PAYLOAD_BYTES_MAX,
    TASK_BYTES_MAX,
)
from tenure_protocol.wire import pack


def body(
    task: object = "t", payload: object = b"p", headers: object = None, codec: object = 0
) -> bytes:
    return pack([task, payload, headers, codec])


def check(data: object, payload_bytes_max: int = PAYLOAD_BYTES_MAX) -> None:
    check_body(data, payload_bytes_max)


@pytest.mark.parametrize(
    "task", ["t", "x" * 31, "x" * 32, "ü" * 15, "ü" * 16, "x" * 255, "日" * 85]
)
@pytest.mark.parametrize("size", [0, 1, 255, 256, 65_535, 65_536, PAYLOAD_BYTES_MAX])
@pytest.mark.parametrize("codec", [0, 127, 128, 255])
@pytest.mark.parametrize("headers", [None, {"a": 1}])
def test_a_right_body_is_taken_and_read_back(
    task: str, size: int, codec: int, headers: Any
) -> None:
    payload = b"p" * size
    data = encode_body(task, payload, headers, codec)

    check(data)

    assert decode_body(data) == Body(task, payload, headers, codec)


def test_no_headers_and_an_empty_map_are_encoded_alike() -> None:
    assert encode_body("t", b"", {}, 0) == encode_body("t", b"", None, 0)


def test_other_widths_of_msgpack_are_taken_too() -> None:
    check(b"\xdc\x00\x04\xd9\x01t\xc6\x00\x00\x00\x01p\xc0\xcc\x01")
    check(b"\xdd\x00\x00\x00\x04\xda\x00\x01t\xc5\x00\x01p\xde\x00\x00\xcd\x00\x01")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc0",
        b"\x94",
        pack("four"),
        pack([]),
        pack(["t", b"p", None]),
        pack(["t", b"p", None, 0, 0]),
        pack({"a": 1, "b": 2, "c": 3, "d": 4}),
        body(task=b"t"),
        body(task=""),
        body(task=None),
        body(payload="p"),
        body(payload=None),
        body(payload=[]),
        body(headers=[]),
        body(headers="h"),
        body(headers=0),
        body(codec=-1),
        body(codec=256),
        body(codec=1.0),
        body(codec=True),
        body(codec=None),
        body() + b"\0",
        body()[:-1],
        b"\x94\xa1\xff\xc4\x01p\xc0\x00",
        b"\x94\xa1t\xc4\x01p\xd4\x05\x00\x00",
        b"\x94\xa1t\xc4\x01p\xd6\xff\x00\x00\x00\x01\x00",
        b"\x94\xa1t\xc4\x01p\xc7\x00\x05\x00",
        b"\x94\xa1t\xc4\x01p\xc0\xc7\x00\x05",
    ],
    ids=lambda data: data[:12].hex() or "nothing",
)
def test_a_body_of_another_shape_is_a_bad_request(data: bytes) -> None:
    with pytest.raises(BadRequest):
        check(data)
    with pytest.raises(BadRequest):
        decode_body(data)


@pytest.mark.parametrize("data", [None, "text", 5, [], bytearray(body()), ["t", b"p", None, 0]])
def test_a_body_that_is_not_bytes_is_a_bad_request(data: object) -> None:
    with pytest.raises(BadRequest, match="must be bytes"):
        check(data)


@pytest.mark.parametrize("end", range(len(body(headers={"a": [1.5, b"x"][0]}))))
def test_a_body_cut_at_any_byte_is_a_bad_request(end: int) -> None:
    with pytest.raises(BadRequest):
        check(body(headers={"a": 1.5})[:end])


# ---- limits --------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [0, 1, 100, 255, 256, 65_535, 65_536, PAYLOAD_BYTES_MAX])
@pytest.mark.parametrize("headers", [None, {"a": 1}])
def test_a_payload_passes_at_the_limit_and_is_too_large_one_byte_past_it(
    limit: int, headers: object
) -> None:
    check(body(payload=b"p" * limit, headers=headers), limit)

    with pytest.raises(PayloadTooLarge) as caught:
        check(body(payload=b"p" * (limit + 1), headers=headers), limit)

    assert caught.value.details == {"bytes": limit + 1, "limit": limit}
    assert str(limit) in caught.value.message


def test_a_body_far_over_the_limit_is_refused_without_being_decoded() -> None:
    data = body(payload=b"p" * 10_000_000)
    tracemalloc.start()
    try:
        with pytest.raises(PayloadTooLarge):
            check(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < 100_000


@pytest.mark.parametrize("letter", ["x", "ü", "日", "😀"])
def test_a_task_name_passes_at_the_limit_and_is_refused_past_it(letter: str) -> None:
    width = len(letter.encode())
    most = TASK_BYTES_MAX // width

    check(body(task=letter * most + "x" * (TASK_BYTES_MAX - most * width)))

    with pytest.raises(BadRequest, match="task name"):
        check(body(task=letter * most + "x" * (TASK_BYTES_MAX + 1 - most * width)))


def test_as_many_headers_as_allowed_pass_and_one_more_is_too_large() -> None:
    check(body(headers={str(number): None for number in range(HEADERS_MAX)}))

    with pytest.raises(PayloadTooLarge, match="65 headers"):
        check(body(headers={str(number): None for number in range(HEADERS_MAX + 1)}))
    with pytest.raises(PayloadTooLarge, match="1024 headers"):
        check(body(headers={str(number): None for number in range(1_024)}))
    with pytest.raises(BadRequest):
        check(body(headers={str(number): None for number in range(1_025)}))


@pytest.mark.parametrize(
    ("letter", "width"),
    [("x", 1), (b"x", 1), ("ü", 2), ("日", 3)],
    ids=["text", "bytes", "ü", "日"],
)
def test_headers_pass_at_the_limit_of_their_bytes_and_are_too_large_past_it(
    letter: Any, width: int
) -> None:
    room = HEADERS_BYTES_MAX - len("name") - len("pad")
    value = letter * (room // width)
    headers = {"name": value, "pad": b"x" * (room % width)}

    check(body(headers=headers))

    with pytest.raises(PayloadTooLarge, match="headers"):
        check(body(headers={**headers, "pad": b"x" * (room % width + 1)}))


def test_header_names_count_in_bytes_and_plain_values_as_eight() -> None:
    room = HEADERS_BYTES_MAX - 2 - 8
    check(body(headers={"ü": 5, "n": "x" * (room - 1)}))

    with pytest.raises(PayloadTooLarge):
        check(body(headers={"ü": 5, "n": "x" * room}))


@pytest.mark.parametrize(
    "value", ["", "ü", b"", b"\0", 0, -1, 2**63, -(2**63), 1.5, -0.0, True, False, None]
)
def test_every_plain_value_can_be_a_header(value: Any) -> None:
    data = encode_body("t", b"p", {"h": value}, 0)

    check(data)

    assert decode_body(data).headers == {"h": value}


@pytest.mark.parametrize("value", [[], {}, [1], {"a": 1}, [[[[]]]]], ids=repr)
def test_arrays_and_maps_cannot_be_headers(value: object) -> None:
    with pytest.raises(BadRequest):
        check(body(headers={"h": value}))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_headers_must_be_finite(value: float) -> None:
    with pytest.raises(BadRequest, match="finite"):
        check(body(headers={"h": value}))


@pytest.mark.parametrize("name", [b"h", 1, None])
def test_header_names_must_be_text(name: object) -> None:
    with pytest.raises(BadRequest):
        check(body(headers={name: 1}))


def test_of_a_header_that_comes_twice_the_last_one_counts() -> None:
    data = b"\x94\xa1t\xc4\x01p\x82\xa1a\x01\xa1a\x02\x00"

    check(data)

    assert decode_body(data).headers == {"a": 2}


# ---- bombs ---------------------------------------------------------------------------------

MIB = 1024 * 1024
START = b"\x94\xa1t\xc4\x01p"


def distinct(count: int) -> bytes:
    """`count` pairs of a map, of five bytes each."""
    return b"".join(
        b"\xa3" + bytes((i >> 14 & 127, i >> 7 & 127, i & 127)) + b"\xc0" for i in range(count)
    )


BOMBS = {
    "array of arrays": START + b"\xdd" + MIB.to_bytes(4, "big") + b"\x90" * MIB + b"\0",
    "arrays of four": START + b"\x94\x90\x90\x90" * (MIB // 4) + b"\0",
    "arrays of bodies": b"\x94\x94\xa1t\xc4\x00\xc0\x00" * (MIB // 8),
    "map of arrays": START
    + b"\xdf"
    + (MIB // 2).to_bytes(4, "big")
    + b"\xa0\x90" * (MIB // 2)
    + b"\0",
    "map of maps": START + b"\xde\xff\xff" + b"\xa0\x80" * (MIB // 2) + b"\0",
    "nested maps": START + b"\xdf\x00\x0f\xff\xff\xa0" * (MIB // 6),
    "nested arrays": b"\x94" * MIB,
    "huge map": START + b"\xdf" + (200_000).to_bytes(4, "big") + distinct(200_000) + b"\0",
    "announced array": b"\xdd\xff\xff\xff\xff" + b"\xc0" * MIB,
    "announced text": b"\x94\xdb\xff\xff\xff\xff" + b"x" * MIB,
    "announced payload": b"\x94\xa1t\xc6\xff\xff\xff\xff" + b"x" * MIB,
}


@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.parametrize("look", [check, decode_body])
def test_a_body_that_is_a_bomb_is_refused_before_it_takes_more_memory_than_it_has_bytes(
    name: str, look: Callable[[bytes], object]
) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(BadRequest):
            look(BOMBS[name])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < 1.5 * MIB
