"""A job's body: what the producer encodes once, the broker stores, and the worker decodes.

    [task: str, payload: bin, headers: map | nil, codec: uint]

The broker checks a body when it arrives and hands on the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple, TypeGuard

import msgpack

from tenure_protocol.errors import BadRequest, PayloadTooLarge
from tenure_protocol.limits import HEADERS_BYTES_MAX, HEADERS_MAX, TASK_BYTES_MAX
from tenure_protocol.wire import pack

RAW, MSGPACK, JSON = 0, 1, 2
"""Codecs of a payload. The broker keeps the number and never looks inside."""

ZSTD = 0x10
"""Added to a codec when the payload is compressed with zstd."""

_AROUND_BYTES_MAX = HEADERS_BYTES_MAX + 2 * 1024
"""More than the longest task name, the most headers and all heads take beside a payload."""

_HEADERS_DECODED_MAX = 16 * HEADERS_MAX
"""A body with more headers than this is not decoded to be told how many it has."""

_PLAIN_VALUE_BYTES = 8
"""What a header value counts that is neither text nor bytes."""

HeaderValue = str | bytes | int | float | bool | None


class Body(NamedTuple):
    """A decoded body."""

    task: str
    payload: bytes
    headers: dict[str, HeaderValue] | None
    codec: int


def encode_body(
    task: str,
    payload: bytes,
    headers: Mapping[str, HeaderValue] | None,
    codec: int,
) -> bytes:
    """A body as bytes. Not thread-safe, like `wire.pack`."""
    return pack([task, payload, headers or None, codec])


def decode_body(data: bytes) -> Body:
    """The parts of a body that the broker handed on. Raises `BadRequest` if it is not one."""
    kinds: list[type] = []

    def once(value: object) -> object:
        # A body holds one array, itself, and one map, its headers: what holds more is refused
        # as soon as the second is there, before it takes memory and time.
        if type(value) in kinds:
            raise ValueError("arrays and maps cannot be in each other")
        kinds.append(type(value))
        return value

    try:
        value = msgpack.unpackb(
            data,
            strict_map_key=True,
            max_array_len=4,
            max_map_len=_HEADERS_DECODED_MAX,
            max_ext_len=0,
            ext_hook=_refuse_extension,
            list_hook=once,
            object_hook=once,
        )
        task, payload, headers, codec = value
    except (ValueError, TypeError, RecursionError, msgpack.exceptions.UnpackException) as error:
        raise BadRequest(
            f"a job's body must be msgpack [task, payload, headers, codec]: {error}"[:200]
        ) from error
    if type(value) is not list or type(task) is not str or not task:
        raise BadRequest(
            "a job's body must start with its task name, a text of 1 character or more"
        )
    if type(payload) is not bytes:
        raise BadRequest(f"a payload must be bytes (msgpack bin), not {type(payload).__name__}")
    if headers is not None and type(headers) is not dict:
        raise BadRequest(f"headers must be a map or nil, not {type(headers).__name__}")
    if type(codec) is not int or not 0 <= codec <= 255:
        raise BadRequest("a codec must be a number from 0 to 255")
    return Body(task, payload, headers, codec)


def check_body(data: object, payload_bytes_max: int) -> bytes:
    """Refuse a body that is wrong or over a limit. The broker runs this on every job.

    Returns the beginning of the body if it says that the rest is right (see `is_like`), or nothing.
    Raises `BadRequest` for a wrong shape and `PayloadTooLarge` for a limit passed.
    """
    if type(data) is not bytes:
        raise BadRequest(f"a job's body must be bytes (msgpack bin), not {type(data).__name__}")
    head = _plain_head(data, payload_bytes_max)
    if head:
        return head
    if len(data) > payload_bytes_max + _AROUND_BYTES_MAX:
        raise PayloadTooLarge(
            f"the body has {len(data)} bytes; the limit of its payload is {payload_bytes_max}",
            details={"bytes": len(data), "limit": payload_bytes_max},
        )
    task, payload, headers, _ = decode_body(data)
    if len(task.encode()) > TASK_BYTES_MAX:
        raise BadRequest(f"the task name is longer than {TASK_BYTES_MAX} bytes")
    if len(payload) > payload_bytes_max:
        raise PayloadTooLarge(
            f"the payload has {len(payload)} bytes; the limit is {payload_bytes_max}",
            details={"bytes": len(payload), "limit": payload_bytes_max},
        )
    if headers is not None:
        _check_headers(headers, len(data) - len(payload))
    return b""


def is_like(data: object, head: bytes, length: int) -> TypeGuard[bytes]:
    """Whether a body is right because one of the same length and beginning was.

    `head` is what `check_body` returned for that one. It names the task and tells the payload's
    length; what follows the payload has two bytes. The bodies of one request mostly are alike.
    """
    return (
        type(data) is bytes
        and len(data) == length
        and data.startswith(head)
        and data[-2] == 0xC0
        and data[-1] < 0x80
    )


def _plain_head(data: bytes, payload_bytes_max: int) -> bytes:
    """What stands before the payload in a right body of the common shape; nothing in any other.

    Common: a task name of up to 31 bytes, a payload below 64 KiB, no headers, a codec below
    128. Read off the bytes, because decoding takes three times as long (PROTOCOL.md, "Jobs").
    """
    try:
        at = data[1] - 0x9E  # a short text, 0xA0 + its length, ends here
        if data[0] != 0x94 or not 2 < at <= 33:
            return b""
        data[2:at].decode()
        size, start = data[at + 1], at + 2
        if data[at] == 0xC5:
            size, start = size << 8 | data[start], start + 1
        elif data[at] != 0xC4:
            return b""
        end = start + size
        plain = (
            size <= payload_bytes_max
            and len(data) == end + 2
            and data[end] == 0xC0
            and data[-1] < 0x80
        )
        return data[:start] if plain else b""
    except (IndexError, UnicodeDecodeError):
        return b""


def _check_headers(headers: dict[str, HeaderValue], encoded_bytes: int) -> None:
    if len(headers) > HEADERS_MAX:
        raise PayloadTooLarge(f"a job has {len(headers)} headers; the limit is {HEADERS_MAX}")
    for name, value in headers.items():
        if type(name) is not str:
            raise BadRequest("header names must be text")
        if type(value) is float and not math.isfinite(value):
            raise BadRequest(f"header {name[:40]!r} must be a finite number, not {value}")
    if encoded_bytes <= HEADERS_BYTES_MAX - HEADERS_MAX * _PLAIN_VALUE_BYTES:
        return  # even if every value counts for more than its encoding takes
    total = sum(_size(name) + _size(value) for name, value in headers.items())
    if total > HEADERS_BYTES_MAX:
        raise PayloadTooLarge(f"the headers have {total} bytes; the limit is {HEADERS_BYTES_MAX}")


def _size(value: HeaderValue) -> int:
    if isinstance(value, str):
        return len(value.encode())
    return len(value) if isinstance(value, bytes) else _PLAIN_VALUE_BYTES


def _refuse_extension(code: int, data: bytes) -> object:
    raise ValueError(f"extension type {code} is not part of the protocol")
